//! A unit of work as statements, within the writer's savepoint. Owns which violation means which refusal; must not
//! know of other units or of transactions.

use std::collections::BTreeSet;

use custodia_domain::facets::Source;
use custodia_domain::ports::{CommitError, Committed, StoreError};
use custodia_domain::record::RecordEvent;
use custodia_domain::unit::ForbiddenLoans;
use custodia_domain::{
    Audit, ClientType, ClosureReasonId, CompanyNumber, Customer, CustomerChange, CustomerEvent, CustomerId, Date,
    EmailAddress, ExternalId, FullName, GenderId, LegalFormId, MobileNumber, Name, NamePart, OrganizationId, Receipt,
    Sequence, Timestamp, Unit, Version, search,
};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Row as _, Sqlite, SqliteConnection};

use super::error::{is_foreign_key_violation, is_unique_violation, store_error};
use super::rows::{self, customer_columns};
use super::writer::Verdict;
use super::{accounts, companies, loans, webhooks};
use crate::changes;

/// The stream of the feed; others may follow where one organization outgrows one order of commits.
const STREAM: i64 = 0;

pub(super) const MOVE_COUNTERS: &str = "update organizations
    set next_sequence = next_sequence + ?2, customer_count = customer_count + ?3
    where id = ?1
    returning next_sequence - ?2";
const INSERT_RECEIPT: &str = "insert into receipts (organization_id, key, fingerprint, at, status, headers, body)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    on conflict (organization_id, key) do nothing";
const SELECT_BEFORE: &str =
    concat!("select ", customer_columns!(), " from customers where organization_id = ?1 and id = ?2");
/// The first of the customers `[id, version]` that is not at that version.
const SELECT_CHANGED_CUSTOMER: &str = "select found.value ->> 0 from json_each(?2) found
    where not exists (select 1 from customers
        where organization_id = ?1 and id = found.value ->> 0 and version = found.value ->> 1)
    limit 1";
/// The same of accounts.
const SELECT_CHANGED_ACCOUNT: &str = "select 1 from json_each(?2) found
    where not exists (select 1 from accounts
        where organization_id = ?1 and id = found.value ->> 0 and version = found.value ->> 1)
    limit 1";
const INSERT_CUSTOMER: &str = "insert into customers (organization_id, id, version, external_id, office_id, status,
        submitted_on, activated_on, closed_on, closure_reason_id, first_name, middle_name, last_name, full_name,
        sort_name, mobile_no, email, born_on, gender_id, client_type_id, legal_form_id, source,
        company_id, facets, created_at, updated_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
        ?24, ?25, ?26)
    on conflict (organization_id, id) do nothing";
// Without the counts of loans: what the change knows of them may be older than its version of the customer.
const UPDATE_CUSTOMER: &str = "update customers
    set version = ?3, external_id = ?4, office_id = ?5, status = ?6, submitted_on = ?7, activated_on = ?8,
        closed_on = ?9, closure_reason_id = ?10, first_name = ?11, middle_name = ?12, last_name = ?13,
        full_name = ?14, sort_name = ?15, mobile_no = ?16, email = ?17, born_on = ?18, gender_id = ?19,
        client_type_id = ?20, legal_form_id = ?21, source = ?22, company_id = ?23, facets = ?24, created_at = ?25,
        updated_at = ?26
    where organization_id = ?1 and id = ?2";
const DELETE_CUSTOMER: &str = "delete from customers where organization_id = ?1 and id = ?2";
const INSERT_WORDS: &str = "insert into customer_words (organization_id, word, customer_id)
    select ?1, value, ?2 from json_each(?3)";
const DELETE_WORDS: &str = "delete from customer_words
    where organization_id = ?1 and customer_id = ?2 and word in (select value from json_each(?3))";
/// Empties what the log tells of a customer so far. Whoever holds the file may find it in free pages for a while.
pub(super) const ERASE_EVENTS: &str = "update customer_events set changed = '{}', reason = null
    where organization_id = ?1 and customer_id = ?2 and subject is null";
const INSERT_EVENT: &str =
    "insert into customer_events (organization_id, stream, sequence, subject, customer_id, version,
        kind, external_id, at, actor, request_id, idempotency_key, reason, changed)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// Why a unit ends early: refused by the store's rules, or by the database.
pub(super) enum Stop {
    Refused(CommitError),
    Failed(StoreError),
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(store_error(error))
    }
}

/// Writes the unit. The savepoint around it undoes what a refused one has written.
pub(super) async fn apply(connection: &mut SqliteConnection, unit: &Unit) -> Verdict<Committed, CommitError> {
    match write(connection, unit).await {
        Ok(committed) => Ok(Ok(committed)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

async fn write(connection: &mut SqliteConnection, unit: &Unit) -> Result<Committed, Stop> {
    let next = move_counters(connection, unit).await?;
    let mut log = Log { unit, next, last: None };
    if let Some(receipt) = &unit.receipt {
        keep_receipt(connection, unit.organization, receipt).await?;
    }
    if !unit.basis.is_empty() {
        check_basis(connection, unit).await?;
    }
    for change in &unit.customers {
        keep(connection, unit.organization, change).await?;
        for event in change.events() {
            log.write_customer_event(connection, event).await?;
        }
    }
    for change in &unit.companies {
        companies::keep(connection, unit, change).await?;
        log.write_record_event(connection, change.event()).await?;
    }
    for change in &unit.accounts {
        accounts::keep(connection, unit, change).await?;
        for event in change.events() {
            log.write_record_event(connection, event).await?;
        }
    }
    for change in &unit.loans {
        loans::keep(connection, unit, change).await?;
        log.write_record_event(connection, change.event()).await?;
    }
    for change in &unit.scores {
        loans::keep_score(connection, unit, change).await?;
        log.write_record_event(connection, change.event()).await?;
    }
    for change in &unit.webhooks {
        webhooks::keep(connection, unit, change, log.next).await?;
        log.write_record_event(connection, change.event()).await?;
    }
    Ok(Committed { last_sequence: log.last })
}

/// Takes the unit's sequences and counts its customers; answers its first sequence.
async fn move_counters(connection: &mut SqliteConnection, unit: &Unit) -> Result<i64, Stop> {
    let events = unit.customers.iter().map(|change| change.events().len()).sum::<usize>()
        + unit.accounts.iter().map(|change| change.events().len()).sum::<usize>()
        + unit.companies.len()
        + unit.loans.len()
        + unit.scores.len()
        + unit.webhooks.len();
    let more: i64 = unit
        .customers
        .iter()
        .map(|change| i64::from(change.expects().is_none()) - i64::from(change.after().is_none()))
        .sum();
    let events = i64::try_from(events).expect("a unit has fewer than 2^63 events");
    let moved = sqlx::query(MOVE_COUNTERS).bind(unit.organization.get()).bind(events).bind(more);
    // A conflicting unit counts a customer that is not there; it is refused below, and undone.
    match moved.fetch_optional(connection).await? {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(unit.customers.first().map_or_else(
            || Stop::Failed(StoreError::Fault("a unit for an organization that does not exist".into())),
            |change| Stop::Refused(CommitError::UnknownOffice(change.customer())),
        )),
    }
}

async fn keep_receipt(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    receipt: &Receipt,
) -> Result<(), Stop> {
    let inserted = bind_receipt(sqlx::query(INSERT_RECEIPT), organization, receipt).execute(connection).await?;
    if inserted.rows_affected() == 0 { Err(Stop::Refused(CommitError::ReceiptTaken)) } else { Ok(()) }
}

/// Binds every column of a receipt, in the order of its table.
pub(super) fn bind_receipt<'q>(
    statement: Query<'q, Sqlite, SqliteArguments>,
    organization: OrganizationId,
    receipt: &'q Receipt,
) -> Query<'q, Sqlite, SqliteArguments> {
    let headers = serde_json::to_string(&receipt.answer.headers).expect("pairs of texts are JSON");
    statement
        .bind(organization.get())
        .bind(&receipt.key.0[..])
        .bind(&receipt.fingerprint.0[..])
        .bind(receipt.at.microseconds())
        .bind(i64::from(receipt.answer.status))
        .bind(headers)
        .bind(&receipt.answer.body)
}

/// Refuses the unit where something that it was decided on is not as it was.
async fn check_basis(connection: &mut SqliteConnection, unit: &Unit) -> Result<(), Stop> {
    let customers: Vec<_> = unit.basis.customers.iter().map(|(id, version)| (id.get(), version.get())).collect();
    let accounts: Vec<_> = unit.basis.accounts.iter().map(|(id, version)| (id.as_str(), version.get())).collect();
    if !customers.is_empty() {
        let customers = serde_json::to_string(&customers).expect("pairs of numbers are JSON");
        let selected = sqlx::query(SELECT_CHANGED_CUSTOMER).bind(unit.organization.get()).bind(customers);
        if let Some(row) = selected.fetch_optional(&mut *connection).await? {
            let id = CustomerId::parse(row.try_get(0)?).expect("a customer's number was bound");
            return Err(Stop::Refused(CommitError::VersionConflict(id)));
        }
    }
    if !accounts.is_empty() {
        let accounts = serde_json::to_string(&accounts).expect("pairs of a text and a number are JSON");
        let selected = sqlx::query(SELECT_CHANGED_ACCOUNT).bind(unit.organization.get()).bind(accounts);
        if selected.fetch_optional(&mut *connection).await?.is_some() {
            return Err(Stop::Refused(CommitError::RecordConflict));
        }
    }
    Ok(())
}

/// Puts the state after a change in the place of the one before, if that is the one that the change expects.
async fn keep(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    change: &CustomerChange,
) -> Result<(), Stop> {
    let id = change.customer();
    if change.after().is_some_and(|after| after.organization() != organization) {
        return Err(Stop::Failed(StoreError::Fault("a customer of another organization than its unit".into())));
    }
    let conflict = || Stop::Refused(CommitError::VersionConflict(id));
    let before = if change.expects().is_none() {
        None
    } else {
        let selected = sqlx::query(SELECT_BEFORE).bind(organization.get()).bind(id.get());
        let row = selected.fetch_optional(&mut *connection).await?.ok_or_else(conflict)?;
        let before = rows::customer(&row).map_err(Stop::Failed)?;
        if Some(before.version()) != change.expects() {
            return Err(conflict());
        }
        let counts = before.loans();
        let is_forbidden = match change.forbids() {
            ForbiddenLoans::None => false,
            ForbiddenLoans::Open => counts.open > 0,
            ForbiddenLoans::Any => counts.total > 0,
        };
        if is_forbidden {
            return Err(conflict());
        }
        Some(before)
    };
    let statement = match (change.after(), &before) {
        (Some(after), None) => bind_customer(sqlx::query(INSERT_CUSTOMER), after),
        (Some(after), Some(_)) => bind_customer(sqlx::query(UPDATE_CUSTOMER), after),
        (None, _) => sqlx::query(DELETE_CUSTOMER).bind(organization.get()).bind(id.get()),
    };
    match statement.execute(&mut *connection).await {
        Ok(written) if written.rows_affected() == 1 => {}
        Ok(_) => return Err(conflict()),
        // The primary key is handled above: the only other unique index is the external id's, the only foreign key
        // that of the office.
        Err(error) if is_unique_violation(&error) => return Err(Stop::Refused(CommitError::ExternalIdTaken(id))),
        Err(error) if is_foreign_key_violation(&error) => return Err(Stop::Refused(CommitError::UnknownOffice(id))),
        Err(error) => return Err(error.into()),
    }
    if change.after().is_none() {
        sqlx::query(ERASE_EVENTS).bind(organization.get()).bind(id.get()).execute(&mut *connection).await?;
    }
    keep_words(connection, organization, change, before.as_ref()).await
}

/// Binds every column, in the order in which both statements number them.
pub(super) fn bind_customer<'q>(
    statement: Query<'q, Sqlite, SqliteArguments>,
    customer: &'q Customer,
) -> Query<'q, Sqlite, SqliteArguments> {
    let state = customer.snapshot();
    let days = |date: Date| i64::from(date.days_since_epoch());
    let (first, middle, last, full) = match customer.name() {
        Name::Person { first, middle, last } => (Some(first), middle.as_ref(), Some(last), None),
        Name::Full(full) => (None, None, None, Some(full)),
        Name::FollowsExternalId => (None, None, None, None),
    };
    let closing = customer.closing();
    let (acquisition, facets) = (customer.acquisition(), state.facet_values());
    statement
        .bind(customer.organization().get())
        .bind(customer.id().get())
        .bind(customer.version().get())
        .bind(customer.external_id().map(ExternalId::as_str))
        .bind(customer.office().get())
        .bind(customer.status().label())
        .bind(days(customer.submitted_on()))
        .bind(customer.activated_on().map(days))
        .bind(closing.map(|terms| days(terms.on)))
        .bind(closing.map(|terms| ClosureReasonId::get(terms.reason)))
        .bind(first.map(NamePart::as_str))
        .bind(middle.map(NamePart::as_str))
        .bind(last.map(NamePart::as_str))
        .bind(full.map(FullName::as_str))
        .bind(search::fold(&customer.display_name()))
        .bind(customer.mobile().map(MobileNumber::as_str))
        .bind(customer.email().map(EmailAddress::as_str))
        .bind(customer.born().map(days))
        .bind(state.gender.map(GenderId::get))
        .bind(state.client_type.map(ClientType::code))
        .bind(state.legal_form.map(LegalFormId::get))
        .bind(acquisition.source.as_ref().map(Source::as_str))
        .bind(acquisition.company.map(CompanyNumber::get))
        .bind((!facets.is_empty()).then(|| changes::encode_values(&facets)))
        .bind(customer.created_at().microseconds())
        .bind(customer.updated_at().microseconds())
}

/// Brings the words by which the customer is found in line with its state.
async fn keep_words(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    change: &CustomerChange,
    before: Option<&Customer>,
) -> Result<(), Stop> {
    let old = before.map(search::words_of).unwrap_or_default();
    let new = change.after().map(search::words_of).unwrap_or_default();
    let differences: [(&'static str, BTreeSet<&String>); 2] =
        [(DELETE_WORDS, old.difference(&new).collect()), (INSERT_WORDS, new.difference(&old).collect())];
    for (statement, words) in differences {
        if !words.is_empty() {
            let words = serde_json::to_string(&words).expect("a set of texts is JSON");
            let changed = sqlx::query(statement).bind(organization.get()).bind(change.customer().get()).bind(words);
            changed.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// The events of a unit on their way into the log.
struct Log<'u> {
    unit: &'u Unit,
    next: i64,
    last: Option<Sequence>,
}

/// What is an event's own of its row.
pub(super) struct Line<'e> {
    subject: Option<&'e str>,
    customer: Option<CustomerId>,
    version: Version,
    kind: &'static str,
    external_id: Option<&'e ExternalId>,
    at: Timestamp,
    changed: String,
}

impl<'e> Line<'e> {
    /// The row of a customer's event.
    pub(super) fn of_customer(event: &'e CustomerEvent) -> Self {
        Self {
            subject: None,
            customer: Some(event.customer()),
            version: event.version(),
            kind: event.kind().name(),
            external_id: event.external_id(),
            at: event.at(),
            changed: changes::encode(event.changes()),
        }
    }
}

/// Binds every column of an event, in the order of its table.
pub(super) fn bind_event<'q>(
    statement: Query<'q, Sqlite, SqliteArguments>,
    unit: &'q Unit,
    sequence: i64,
    line: Line<'q>,
) -> Query<'q, Sqlite, SqliteArguments> {
    let Audit { actor, request_id, idempotency_key, reason } = &unit.audit;
    statement
        .bind(unit.organization.get())
        .bind(STREAM)
        .bind(sequence)
        .bind(line.subject)
        .bind(line.customer.map(CustomerId::get))
        .bind(line.version.get())
        .bind(line.kind)
        .bind(line.external_id.map(ExternalId::as_str))
        .bind(line.at.microseconds())
        .bind(actor.as_str())
        .bind(request_id.as_str())
        .bind(idempotency_key.as_deref())
        .bind(reason.as_deref())
        .bind(line.changed)
}

impl Log<'_> {
    async fn write_customer_event(
        &mut self,
        connection: &mut SqliteConnection,
        event: &CustomerEvent,
    ) -> Result<(), Stop> {
        match self.write(connection, Line::of_customer(event)).await {
            // The number belonged to a customer that is gone: its events are still there.
            Err(error) if is_unique_violation(&error) => {
                Err(Stop::Refused(CommitError::VersionConflict(event.customer())))
            }
            written => Ok(written?),
        }
    }

    async fn write_record_event(&mut self, connection: &mut SqliteConnection, event: &RecordEvent) -> Result<(), Stop> {
        let line = Line {
            subject: Some(&event.subject),
            customer: event.customer,
            version: event.version,
            kind: event.kind.name(),
            external_id: event.external_id.as_ref(),
            at: event.at,
            changed: changes::encode_named(&event.changes),
        };
        Ok(self.write(connection, line).await?)
    }

    async fn write(&mut self, connection: &mut SqliteConnection, line: Line<'_>) -> Result<(), sqlx::Error> {
        bind_event(sqlx::query(INSERT_EVENT), self.unit, self.next, line).execute(connection).await?;
        self.last = Sequence::parse(self.next).ok();
        self.next += 1;
        Ok(())
    }
}
