//! Rows into values of the domain, strictly: what no command could have written is corrupt. Must not know queries
//! beyond their columns.

use std::fmt;

use custodia_domain::loan::LoanCounts;
use custodia_domain::ports::{LogEntry, LoggedEvent, RecordedEvent, StoreError};
use custodia_domain::record::{RecordEvent, RecordKind};
use custodia_domain::{
    Actor, Answer, Audit, ClientType, ClosureReasonId, Customer, CustomerEvent, CustomerId, CustomerSnapshot, Date,
    EmailAddress, EventKind, ExternalId, Fingerprint, FullName, GenderId, LegalFormId, MobileNumber, NamePart,
    OfficeId, OrganizationId, Receipt, ReceiptKey, RequestId, Sequence, Status, Timestamp, Version,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};

use crate::changes;

/// The columns of a customer, in the order in which [`customer`] reads them.
macro_rules! customer_columns {
    () => {
        "id, organization_id, version, external_id, office_id, status, submitted_on, activated_on, closed_on, \
         closure_reason_id, first_name, middle_name, last_name, full_name, mobile_no, email, born_on, gender_id, \
         client_type_id, legal_form_id, facets, open_loans, loan_count, \
         created_at, updated_at"
    };
}

/// The columns of an event, in the order in which [`event`] reads them.
macro_rules! event_columns {
    () => {
        "sequence, subject, customer_id, version, kind, external_id, at, actor, request_id, idempotency_key, \
         reason, changed"
    };
}

/// The columns of a receipt, in the order in which [`receipt`] reads them.
macro_rules! receipt_columns {
    () => {
        "key, fingerprint, at, status, headers, body"
    };
}

pub(super) use {customer_columns, event_columns, receipt_columns};

/// Reads a row's columns one after the other.
pub(super) struct Fields<'r> {
    row: &'r SqliteRow,
    table: &'static str,
    columns: &'static str,
    first: usize,
    next: usize,
    id: i64,
}

impl<'r> Fields<'r> {
    /// The row's columns from the first on, which names the record where it is a number; `columns` is their list, for
    /// errors.
    pub(super) fn of(row: &'r SqliteRow, table: &'static str, columns: &'static str) -> Self {
        Self { row, table, columns, first: 0, next: 0, id: 0 }
    }

    /// As [`Fields::of`], from the first column after those of another list.
    pub(super) fn after(row: &'r SqliteRow, table: &'static str, columns: &'static str, passed: &str) -> Self {
        Self { first: passed.split(", ").count(), ..Self::of(row, table, columns) }
    }

    /// The column that was read last cannot be so.
    fn corrupt(&self) -> StoreError {
        let column = self.columns.split(", ").nth(self.next.saturating_sub(1)).unwrap_or("row");
        self.corrupt_by(column)
    }

    pub(super) fn corrupt_by(&self, rule: &'static str) -> StoreError {
        StoreError::Corrupt { table: self.table, column: rule, id: self.id }
    }

    /// The next column as it is.
    pub(super) fn raw<T: Decode<'r, Sqlite> + Type<Sqlite>>(&mut self) -> Result<T, StoreError> {
        let at = self.first + self.next;
        self.next += 1;
        self.row.try_get(at).map_err(|_| self.corrupt())
    }

    /// The next column, a number, as what it stands for.
    pub(super) fn number<T, E>(&mut self, parse: impl FnOnce(i64) -> Result<T, E>) -> Result<T, StoreError> {
        let number = self.raw()?;
        if self.next == 1 {
            self.id = number;
        }
        parse(number).map_err(|_| self.corrupt())
    }

    pub(super) fn optional_number<T, E>(
        &mut self,
        parse: impl FnOnce(i64) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        let number: Option<i64> = self.raw()?;
        number.map(parse).transpose().map_err(|_| self.corrupt())
    }

    /// The next column, a text, as what it stands for.
    pub(super) fn text<T, E>(&mut self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, StoreError> {
        let text: &str = self.raw()?;
        parse(text).map_err(|_| self.corrupt())
    }

    pub(super) fn optional_text<T, E>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<&str> = self.raw()?;
        text.map(parse).transpose().map_err(|_| self.corrupt())
    }

    /// The next column, 32 bytes.
    pub(super) fn hash(&mut self) -> Result<[u8; 32], StoreError> {
        let bytes: &[u8] = self.raw()?;
        bytes.try_into().map_err(|_| self.corrupt())
    }
}

fn date(days: i64) -> Result<Date, impl fmt::Debug> {
    i32::try_from(days).map_err(|_| ()).and_then(|days| Date::from_days_since_epoch(days).map_err(|_| ()))
}

/// The customer of a row of [`customer_columns`].
pub(super) fn customer(row: &SqliteRow) -> Result<Customer, StoreError> {
    let mut fields = Fields::of(row, "customers", customer_columns!());
    let id = fields.number(CustomerId::parse)?;
    let organization = fields.number(OrganizationId::parse)?;
    let version = fields.number(Version::parse)?;
    let external_id = fields.optional_text(ExternalId::parse)?;
    let office = fields.number(OfficeId::parse)?;
    let status = fields.text(|label| Status::from_label(label).ok_or(()))?;
    let submitted = fields.number(date)?;
    let (activated, closed) = (fields.optional_number(date)?, fields.optional_number(date)?);
    let reason = fields.optional_number(ClosureReasonId::parse)?;
    let (first, middle, last) = (
        fields.optional_text(NamePart::parse)?,
        fields.optional_text(NamePart::parse)?,
        fields.optional_text(NamePart::parse)?,
    );
    let full = fields.optional_text(FullName::parse)?;
    let mobile = fields.optional_text(MobileNumber::parse)?;
    let email = fields.optional_text(EmailAddress::parse)?;
    let born = fields.optional_number(date)?;
    let gender = fields.optional_number(GenderId::parse)?;
    let client_type = fields.optional_number(|code| ClientType::from_code(code).ok_or(()))?;
    let legal_form = fields.optional_number(LegalFormId::parse)?;
    let facets = fields.optional_text(|text| changes::decode_values(text).ok_or(()))?.unwrap_or_default();
    let loans = LoanCounts { open: fields.number(u32::try_from)?, total: fields.number(u32::try_from)? };
    let created_at = fields.number(Timestamp::from_microseconds)?;
    let mut state = CustomerSnapshot::pending(organization, id, version, office, submitted, created_at);
    state.external_id = external_id;
    state.mobile = mobile;
    state.email = email;
    state.born = born;
    state.gender = gender;
    state.client_type = client_type;
    state.legal_form = legal_form;
    state.loans = loans;
    state.updated_at = fields.number(Timestamp::from_microseconds)?;
    let shaped = state.set_lifecycle(status, activated, closed, reason).and_then(|()| {
        state.set_name(first, middle, last, full)?;
        state.set_facets(&facets)?;
        Customer::rehydrate(state)
    });
    shaped.map_err(|impossible| fields.corrupt_by(impossible.0))
}

/// The event of a row of [`event_columns`]: of a record where it has a subject, otherwise of a customer.
pub(super) fn entry(row: &SqliteRow) -> Result<LogEntry, StoreError> {
    let mut fields = Fields::of(row, "customer_events", event_columns!());
    let sequence = fields.number(Sequence::parse)?;
    let subject = fields.raw::<Option<&str>>()?;
    let customer = fields.optional_number(CustomerId::parse)?;
    let version = fields.number(Version::parse)?;
    let kind: &str = fields.raw()?;
    let external_id = fields.optional_text(ExternalId::parse)?;
    let at = fields.number(Timestamp::from_microseconds)?;
    let audit = Audit {
        actor: Actor::new(fields.raw()?),
        request_id: fields.text(|text| RequestId::parse(text).ok_or(()))?,
        idempotency_key: fields.raw::<Option<&str>>()?.map(Into::into),
        reason: fields.raw::<Option<&str>>()?.map(Into::into),
    };
    let event = if let Some(subject) = subject {
        LoggedEvent::Record(RecordEvent {
            kind: RecordKind::from_name(kind).ok_or_else(|| fields.corrupt_by("kind"))?,
            subject: subject.into(),
            customer,
            external_id,
            version,
            at,
            changes: fields.text(|text| changes::decode_named(text).ok_or(()))?,
        })
    } else {
        let kind = EventKind::from_name(kind).ok_or_else(|| fields.corrupt_by("kind"))?;
        let customer = customer.ok_or_else(|| fields.corrupt_by("customer_id"))?;
        let changed = fields.text(|text| changes::decode(text).ok_or(()))?;
        LoggedEvent::Customer(CustomerEvent::rehydrate(kind, customer, external_id, version, at, changed))
    };
    Ok(LogEntry { sequence, event, audit })
}

/// The customer's event of a row of [`event_columns`].
pub(super) fn event(row: &SqliteRow) -> Result<RecordedEvent, StoreError> {
    let LogEntry { sequence, event, audit } = entry(row)?;
    match event {
        LoggedEvent::Customer(event) => Ok(RecordedEvent { sequence, event, audit }),
        LoggedEvent::Record(_) => {
            Err(StoreError::Corrupt { table: "customer_events", column: "subject", id: sequence.get() })
        }
    }
}

/// The receipt of a row of [`receipt_columns`].
pub(super) fn receipt(row: &SqliteRow) -> Result<Receipt, StoreError> {
    let mut fields = Fields::of(row, "receipts", receipt_columns!());
    Ok(Receipt {
        key: ReceiptKey(fields.hash()?),
        fingerprint: Fingerprint(fields.hash()?),
        at: fields.number(Timestamp::from_microseconds)?,
        answer: Answer {
            status: fields.number(u16::try_from)?,
            headers: fields.text(|text| serde_json::from_str::<Vec<(Box<str>, Box<str>)>>(text))?,
            body: fields.raw()?,
        },
    })
}
