//! Customers as rows: how they are found, and how a row becomes a customer again. Must not know how they
//! are written.

use std::collections::HashMap;

use custodia_domain::loan::LoanCounts;
use custodia_domain::ports::{CustomerKey, Selector, StoreError};
use custodia_domain::{
    ClientType, ClosureReasonId, Customer, CustomerId, CustomerSnapshot, EmailAddress, ExternalId, FullName, GenderId,
    LegalFormId, MobileNumber, NamePart, OfficeId, OrganizationId, Status, Version,
};
use sqlx::postgres::PgRow;
use sqlx::{Decode, PgConnection, Postgres, Row as _, Type};

use super::columns::{SqlDate, SqlInstant};
use super::fault::Failure;
use crate::changes;

/// The columns of a customer, in the order in which [`customer`] reads them.
macro_rules! customer_columns {
    () => {
        "c.organization_id, c.id, c.version, c.external_id, c.office_id, c.status, c.submitted_on, c.activated_on, \
         c.closed_on, c.closure_reason_id, c.first_name, c.middle_name, c.last_name, c.full_name, c.mobile_no, \
         c.email, c.born_on, c.gender_id, c.client_type_id, c.legal_form_id, c.created_at, c.updated_at, \
         c.facets::text, c.open_loans, c.loan_count"
    };
}
pub(super) use customer_columns;

/// The place of the column after those of a customer.
pub(super) const AFTER_CUSTOMER: usize = 25;

/// Each customer is looked up by its key, whatever the planner knows of the table: until somebody has counted the rows,
/// it takes every organization to be small, and would read all of it instead.
pub(super) const FIND_IDS: &str = concat!(
    "select ",
    customer_columns!(),
    " from unnest($2::bigint[]) as k (id) cross join lateral (select ",
    customer_columns!(),
    " from customers c where c.organization_id = $1 and c.id = k.id offset 0) c"
);

pub(super) const FIND_EXTERNAL_IDS: &str = concat!(
    "select ",
    customer_columns!(),
    " from unnest($2::text[]) as k (external_id) cross join lateral (select ",
    customer_columns!(),
    " from customers c where c.organization_id = $1 and c.external_id = k.external_id offset 0) c"
);

const FIND_IDS_OF_MANY: &str = concat!(
    "select ",
    customer_columns!(),
    " from unnest($1::bigint[], $2::bigint[]) as k (organization_id, id)
      join customers c on c.organization_id = k.organization_id and c.id = k.id"
);

const FIND_EXTERNAL_IDS_OF_MANY: &str = concat!(
    "select ",
    customer_columns!(),
    " from unnest($1::bigint[], $2::text[]) as k (organization_id, external_id)
      join customers c on c.organization_id = k.organization_id and c.external_id = k.external_id"
);

/// The customers of those keys, in their order.
pub(super) async fn find(
    session: &mut PgConnection,
    keys: &[CustomerKey],
) -> Result<Vec<Option<Customer>>, ReadFailure> {
    let mut wanted = Wanted::default();
    for (place, key) in keys.iter().enumerate() {
        match &key.selector {
            Selector::Id(id) => wanted.ids.entry((key.organization, *id)).or_default().push(place),
            Selector::ExternalId(id) => {
                wanted.external_ids.entry((key.organization, id.as_str())).or_default().push(place);
            }
        }
    }
    let mut found = vec![None; keys.len()];
    if !wanted.ids.is_empty() {
        for row in wanted.rows_by_id(session).await? {
            let customer = customer(&row)?;
            put(&mut found, wanted.ids.get(&(customer.organization(), customer.id())), customer);
        }
    }
    if !wanted.external_ids.is_empty() {
        for row in wanted.rows_by_external_id(session).await? {
            let customer = customer(&row)?;
            let external_id: &str = row.try_get_unchecked(3)?;
            let places = wanted.external_ids.get(&(customer.organization(), external_id));
            put(&mut found, places, customer);
        }
    }
    Ok(found)
}

/// The distinct keys, and where in the answer each belongs.
#[derive(Default)]
struct Wanted<'a> {
    ids: HashMap<(OrganizationId, CustomerId), Vec<usize>>,
    external_ids: HashMap<(OrganizationId, &'a str), Vec<usize>>,
}

impl Wanted<'_> {
    async fn rows_by_id(&self, session: &mut PgConnection) -> Result<Vec<PgRow>, sqlx::Error> {
        let organizations: Vec<i64> = self.ids.keys().map(|(organization, _)| organization.get()).collect();
        let ids: Vec<i64> = self.ids.keys().map(|(_, id)| id.get()).collect();
        let statement = match only(&organizations) {
            Some(organization) => sqlx::query(FIND_IDS).bind(organization),
            None => sqlx::query(FIND_IDS_OF_MANY).bind(organizations),
        };
        statement.bind(ids).fetch_all(session).await
    }

    async fn rows_by_external_id(&self, session: &mut PgConnection) -> Result<Vec<PgRow>, sqlx::Error> {
        let organizations: Vec<i64> = self.external_ids.keys().map(|(organization, _)| organization.get()).collect();
        let external_ids: Vec<&str> = self.external_ids.keys().map(|(_, id)| *id).collect();
        let statement = match only(&organizations) {
            Some(organization) => sqlx::query(FIND_EXTERNAL_IDS).bind(organization),
            None => sqlx::query(FIND_EXTERNAL_IDS_OF_MANY).bind(organizations),
        };
        statement.bind(external_ids).fetch_all(session).await
    }
}

/// The one value that all of them are.
fn only(values: &[i64]) -> Option<i64> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}

fn put(found: &mut [Option<Customer>], places: Option<&Vec<usize>>, customer: Customer) {
    if let Some((last, others)) = places.and_then(|places| places.split_last()) {
        for place in others {
            found[*place] = Some(customer.clone());
        }
        found[*last] = Some(customer);
    }
}

/// Why a row could not be read.
#[derive(Debug, Clone)]
pub(super) enum ReadFailure {
    Failed(Failure),
    Corrupt { table: &'static str, column: &'static str, id: i64 },
}

impl From<sqlx::Error> for ReadFailure {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failure> for ReadFailure {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<ReadFailure> for StoreError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Failed(failure) => failure.into(),
            ReadFailure::Corrupt { table, column, id } => Self::Corrupt { table, column, id },
        }
    }
}

/// One row of a table, read by position.
pub(super) struct Reader<'r> {
    pub(super) row: &'r PgRow,
    pub(super) table: &'static str,
    pub(super) id: i64,
}

impl<'r> Reader<'r> {
    /// The value at that position.
    pub(super) fn get<T: Decode<'r, Postgres> + Type<Postgres>>(&self, place: usize) -> Result<T, ReadFailure> {
        // The types are those of the schema: comparing them again for every value of every row tells nothing.
        Ok(self.row.try_get_unchecked(place)?)
    }

    /// The value at that position, as the domain knows it.
    pub(super) fn parsed<S: Decode<'r, Postgres> + Type<Postgres>, T>(
        &self,
        place: usize,
        column: &'static str,
        parse: impl FnOnce(S) -> Option<T>,
    ) -> Result<T, ReadFailure> {
        parse(self.get(place)?).ok_or_else(|| self.corrupt(column))
    }

    /// The same, where the column may be null.
    pub(super) fn optional<S: Decode<'r, Postgres> + Type<Postgres>, T>(
        &self,
        place: usize,
        column: &'static str,
        parse: impl FnOnce(S) -> Option<T>,
    ) -> Result<Option<T>, ReadFailure> {
        match self.get::<Option<S>>(place)? {
            None => Ok(None),
            Some(value) => parse(value).map(Some).ok_or_else(|| self.corrupt(column)),
        }
    }

    pub(super) const fn corrupt(&self, column: &'static str) -> ReadFailure {
        ReadFailure::Corrupt { table: self.table, column, id: self.id }
    }
}

/// The customer that a row holds, its columns being [`customer_columns`].
pub(super) fn customer(row: &PgRow) -> Result<Customer, ReadFailure> {
    let id: i64 = row.try_get_unchecked(1)?;
    let read = Reader { row, table: "customers", id };
    let organization = read.parsed(0, "organization_id", |id| OrganizationId::parse(id).ok())?;
    let customer_id = CustomerId::parse(id).map_err(|_| read.corrupt("id"))?;
    let version = read.parsed(2, "version", |version| Version::parse(version).ok())?;
    let office = read.parsed(4, "office_id", |id| OfficeId::parse(id).ok())?;
    let submitted = read.get::<SqlDate>(6)?.0;
    let created_at = read.get::<SqlInstant>(20)?.0;
    let mut state = CustomerSnapshot::pending(organization, customer_id, version, office, submitted, created_at);
    state.external_id = read.optional(3, "external_id", |text| ExternalId::parse(text).ok())?;
    let status = read.parsed(5, "status", Status::from_label)?;
    let date = |place| read.get::<Option<SqlDate>>(place).map(|date| date.map(|date| date.0));
    let reason = read.optional(9, "closure_reason_id", |id| ClosureReasonId::parse(id).ok())?;
    state.set_lifecycle(status, date(7)?, date(8)?, reason).map_err(|_| read.corrupt("status"))?;
    let part = |place, column| read.optional(place, column, |text| NamePart::parse(text).ok());
    let full = read.optional(13, "full_name", |text| FullName::parse(text).ok())?;
    state
        .set_name(part(10, "first_name")?, part(11, "middle_name")?, part(12, "last_name")?, full)
        .map_err(|_| read.corrupt("full_name"))?;
    state.mobile = read.optional(14, "mobile_no", |text| MobileNumber::parse(text).ok())?;
    state.email = read.optional(15, "email", |text| EmailAddress::parse(text).ok())?;
    state.born = date(16)?;
    state.gender = read.optional(17, "gender_id", |id| GenderId::parse(id).ok())?;
    state.client_type = read.optional(18, "client_type_id", |code: i16| ClientType::from_code(code.into()))?;
    state.legal_form = read.optional(19, "legal_form_id", |id| LegalFormId::parse(id).ok())?;
    state.updated_at = read.get::<SqlInstant>(21)?.0;
    if let Some(values) = read.optional(22, "facets", changes::decode_values)? {
        state.set_facets(&values).map_err(|_| read.corrupt("facets"))?;
    }
    let count = |place, column| read.parsed(place, column, |count: i64| u32::try_from(count).ok());
    state.loans = LoanCounts { open: count(23, "open_loans")?, total: count(24, "loan_count")? };
    Customer::rehydrate(state).map_err(|impossible| read.corrupt(impossible.0))
}
