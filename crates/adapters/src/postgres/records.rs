//! The statements that write companies, accounts, loans, scores and webhook endpoints, each with its events in one round trip. They run
//! within a transaction that is rolled back where one of them leaves something out. Must not know how they are read.
//!
//! Like those of customers, each begins by moving the counters in the organization's row: see [`super::statements`].

use std::collections::HashMap;

use custodia_domain::account::AccountChange;
use custodia_domain::loan::{Amount, LoanChange, LoanCounts, ScoreChange};
use custodia_domain::record::RecordEvent;
use custodia_domain::unit::{CompanyChange, WebhookChange};
use custodia_domain::webhook::ENDPOINTS_LIMIT;
use custodia_domain::{Audit, CustomerId, ExternalId, Receipt, Sequence, Unit, Version};
use sqlx::{PgConnection, Row as _};

use super::columns::{SqlDate, SqlInstant};
use super::fault::Failure;
use super::holdings::AccountRows;
use super::statements::{Bound, EventRows, LOCK, ReceiptRows, Written, kept, moved, told_of_records};
use super::webhooks::EndpointRows;
use crate::changes;

/// The events, in order, each with its subject, and the receipts.
macro_rules! told_and_kept {
    () => {
        concat!(told_of_records!("$20::text[]"), ", ", kept!("true"))
    };
}

/// Creates companies.
const FOUND: &str = concat!(
    moved!("0"),
    ", made as (
        insert into companies (organization_id, number, company_id, name, status, description, industry, website,
            phone, address, created_at)
        select $1, t.number, t.company_id, t.name, t.status, t.description, t.industry, t.website, t.phone, t.address,
            $31
        from moved cross join unnest($21::bigint[], $22::text[], $23::text[], $24::text[], $25::text[], $26::text[],
            $27::text[], $28::text[], $29::text[]) with ordinality
            as t (number, company_id, name, status, description, industry, website, phone, address, place)
        order by t.place
        on conflict do nothing
        returning number
    ), ",
    told_and_kept!(),
    " select moved.base, (select count(*) from made) = $30 from moved"
);

/// Creates accounts, and changes those that are at the version expected of them. Holders that an account has no more
/// go, new ones come; the others stay as they are.
pub(super) const HOLD: &str = concat!(
    moved!("0"),
    ", made as (
        insert into accounts (organization_id, id, version, primary_holder, status, kind, portfolio, opened_at,
            closed_at, cards, updated_at)
        select $1, t.id, t.version, t.primary_holder, t.status, t.kind, t.portfolio, t.opened_at, t.closed_at, t.cards,
            t.updated_at
        from moved cross join unnest($21::text[], $22::bigint[], $23::text[], $24::text[], $25::text[], $26::text[],
            $27::timestamptz[], $28::timestamptz[], $29::text[], $30::timestamptz[], $31::bigint[])
            as t (id, version, primary_holder, status, kind, portfolio, opened_at, closed_at, cards, updated_at,
                expected)
        where t.expected = 0
        on conflict do nothing
        returning id
    ), changed as (
        update accounts a
        set version = t.version, primary_holder = t.primary_holder, status = t.status, kind = t.kind,
            portfolio = t.portfolio, opened_at = t.opened_at, closed_at = t.closed_at, cards = t.cards,
            updated_at = t.updated_at
        from moved cross join unnest($21::text[], $22::bigint[], $23::text[], $24::text[], $25::text[], $26::text[],
            $27::timestamptz[], $28::timestamptz[], $29::text[], $30::timestamptz[], $31::bigint[])
            as t (id, version, primary_holder, status, kind, portfolio, opened_at, closed_at, cards, updated_at,
                expected)
        where a.organization_id = $1 and a.id = t.id and a.version = t.expected and t.version > 0 and t.expected > 0
        returning a.id
    ), gone as (
        delete from account_holders h
        using moved cross join unnest($21::text[], $22::bigint[], $31::bigint[]) as t (id, version, expected)
        where h.organization_id = $1 and h.account_id = t.id and t.version > 0 and t.expected > 0
            and ((h.account_id, h.holder) in (select k.account_id, k.holder
                from unnest($32::text[], $33::text[]) as k (account_id, holder))) is not true
    ), come as (
        insert into account_holders (organization_id, holder, account_id)
        select $1, k.holder, k.account_id
        from moved cross join unnest($32::text[], $33::text[]) as k (account_id, holder)
        on conflict do nothing
    ), ",
    told_and_kept!(),
    " select moved.base, (select count(*) from made) + (select count(*) from changed) = $34 from moved"
);

/// Creates loans, and changes those that are at the version expected of them, where their customers' rows count the
/// loans that are expected and are Active if need be; moves the counts. The conditions are the updates' own: a row
/// that another transaction changes meanwhile is looked at again.
pub(super) const LEND: &str = concat!(
    moved!("0"),
    ", counted as (
        update customers c
        set open_loans = t.open_after, loan_count = t.total_after
        from moved cross join unnest($32::bigint[], $33::bigint[], $34::bigint[], $35::bigint[], $36::bigint[],
            $37::boolean[]) as t (id, open_before, total_before, open_after, total_after, needs_active)
        where c.organization_id = $1 and c.id = t.id and t.id > 0 and t.total_after > 0
            and c.open_loans = t.open_before and c.loan_count = t.total_before and (c.status = 'Active' or not t.needs_active)
        returning c.id
    ), made as (
        insert into loans (organization_id, id, external_id, customer_id, version, status, principal,
            total_outstanding, total_paid, expected_disbursement_on, position, updated_at)
        select $1, t.id, t.external_id, t.customer_id, t.version, t.status, t.principal, t.total_outstanding,
            t.total_paid, t.expected_disbursement_on, t.position, $40
        from moved cross join unnest($21::bigint[], $22::text[], $23::bigint[], $24::bigint[], $25::text[],
            $26::bigint[], $27::bigint[], $28::bigint[], $29::date[], $30::text[], $31::bigint[])
            as t (id, external_id, customer_id, version, status, principal, total_outstanding, total_paid,
                expected_disbursement_on, position, expected)
        where t.expected = 0 and (t.customer_id in (select counted.id from counted)) is true
        on conflict do nothing
        returning id
    ), changed as (
        update loans l
        set version = t.version, status = t.status, principal = t.principal,
            total_outstanding = t.total_outstanding, total_paid = t.total_paid,
            expected_disbursement_on = t.expected_disbursement_on, position = t.position, updated_at = $40
        from moved cross join unnest($21::bigint[], $22::text[], $23::bigint[], $24::bigint[], $25::text[],
            $26::bigint[], $27::bigint[], $28::bigint[], $29::date[], $30::text[], $31::bigint[])
            as t (id, external_id, customer_id, version, status, principal, total_outstanding, total_paid,
                expected_disbursement_on, position, expected)
        where l.organization_id = $1 and l.id = t.id and l.version = t.expected and l.external_id = t.external_id
            and l.customer_id = t.customer_id and t.version > 0 and t.expected > 0
        returning l.id
    ), ",
    told_and_kept!(),
    " select moved.base, (select count(*) from made) + (select count(*) from changed) = $38
        and (select count(*) from counted) = $39
    from moved"
);

/// Keeps scores.
const RATE: &str = concat!(
    moved!("0"),
    ", rated as (
        insert into credit_scores (organization_id, external_id, grade, score, credit_limit, updated_at)
        select $1, t.external_id, t.grade, t.score, t.credit_limit, $25
        from moved cross join unnest($21::text[], $22::text[], $23::smallint[], $24::bigint[])
            as t (external_id, grade, score, credit_limit)
        on conflict (organization_id, external_id) do update
        set grade = excluded.grade, score = excluded.score, credit_limit = excluded.credit_limit,
            updated_at = excluded.updated_at
    ), ",
    told_and_kept!(),
    " select moved.base, true from moved"
);

/// Creates endpoints, as long as there are fewer than an organization may have; changes and deletes those that are at
/// the version expected of them. The position of a new one is the sequence of its own event.
pub(super) const HOOK: &str = concat!(
    moved!("0"),
    ", made as (
        insert into webhook_endpoints (organization_id, id, version, url, kinds, payload, description, secret,
            previous_secret, previous_until, disabled_at, disabled_because, position, created_at, updated_at)
        select $1, t.id, t.version, t.url, string_to_array(t.kinds, ','), t.payload, t.description, t.secret,
            t.previous_secret, t.previous_until, t.disabled_at, t.disabled_because, moved.base + t.place, t.changed_at,
            t.changed_at
        from moved cross join unnest($21::text[], $22::bigint[], $23::bigint[], $24::text[], $25::text[], $26::text[],
            $27::text[], $28::bytea[], $29::bytea[], $30::timestamptz[], $31::timestamptz[], $32::text[],
            $33::timestamptz[]) with ordinality
            as t (id, version, expected, url, kinds, payload, description, secret, previous_secret, previous_until,
                disabled_at, disabled_because, changed_at, place)
        where t.expected = 0
            and (select count(*) from webhook_endpoints w where w.organization_id = $1 and w.deleted_at is null)
                + t.place <= $35
        on conflict do nothing
        returning id
    ), leased as (
        insert into webhook_leases (organization_id)
        select $1 from moved
        on conflict do nothing
    ), changed as (
        update webhook_endpoints w
        set version = t.version, url = t.url, kinds = string_to_array(t.kinds, ','), payload = t.payload,
            description = t.description, secret = t.secret, previous_secret = t.previous_secret,
            previous_until = t.previous_until, disabled_at = t.disabled_at, disabled_because = t.disabled_because,
            updated_at = t.changed_at, deleted_at = case when t.is_deleted then t.changed_at end
        from moved cross join unnest($21::text[], $22::bigint[], $23::bigint[], $24::text[], $25::text[], $26::text[],
            $27::text[], $28::bytea[], $29::bytea[], $30::timestamptz[], $31::timestamptz[], $32::text[],
            $33::timestamptz[], $34::boolean[])
            as t (id, version, expected, url, kinds, payload, description, secret, previous_secret, previous_until,
                disabled_at, disabled_because, changed_at, is_deleted)
        where w.organization_id = $1 and w.id = t.id and w.version = t.expected and w.deleted_at is null
            and t.version > 0 and t.expected > 0
        returning w.id
    ), ",
    told_and_kept!(),
    " select moved.base, (select count(*) from made) + (select count(*) from changed) = $36 from moved"
);

/// Whether a unit changes anything beside customers.
pub(super) fn has_records(unit: &Unit) -> bool {
    !unit.accounts.is_empty() || has_others(unit)
}

/// Whether it has any but customers and accounts.
pub(super) fn has_others(unit: &Unit) -> bool {
    let is_untold = unit.companies.is_empty() && unit.loans.is_empty();
    !(is_untold && unit.scores.is_empty() && unit.webhooks.is_empty())
}

/// Writes a unit's records, each kind by one statement: companies, accounts, loans, scores, endpoints. The receipt is kept with
/// the first of them. Answers the last event's sequence; `None` where a record is not as the unit expects it, and what
/// was written has to be rolled back.
pub(super) async fn write(
    session: &mut PgConnection,
    unit: &Unit,
    receipt: Option<&Receipt>,
) -> Result<Option<Sequence>, Failure> {
    let mut told = Told { unit, receipt, last: None };
    let all_there = told.found(session).await?
        && told.hold(session).await?
        && told.lend(session).await?
        && told.rate(session).await?
        && told.hook(session).await?;
    Ok(told.last.filter(|_| all_there))
}

/// A unit whose records are being written.
struct Told<'a> {
    unit: &'a Unit,
    receipt: Option<&'a Receipt>,
    last: Option<Sequence>,
}

impl<'a> Told<'a> {
    /// The events of one statement, with the receipt if it is the first one.
    fn events(&mut self, events: impl Iterator<Item = &'a RecordEvent>) -> Events<'a> {
        let mut told = Events::default();
        for event in events {
            told.push(event, &self.unit.audit);
        }
        if let Some(receipt) = self.receipt.take() {
            told.receipts.push(receipt, 0);
        }
        told
    }

    /// Runs a statement; `false` where it left something out.
    async fn run(&mut self, statement: Bound<'_>, count: i64, session: &mut PgConnection) -> Result<bool, Failure> {
        let rows = statement.fetch_all(session).await?;
        let Some(row) = rows.first() else {
            return Ok(false);
        };
        let written = Written { base: row.try_get(0)?, applied: Vec::new() };
        self.last = written.sequence(usize::try_from(count).unwrap_or(0));
        Ok(row.try_get(1)?)
    }

    async fn found(&mut self, session: &mut PgConnection) -> Result<bool, Failure> {
        let changes = &self.unit.companies;
        if changes.is_empty() {
            return Ok(true);
        }
        let events = self.events(changes.iter().map(CompanyChange::event));
        let details = || changes.iter().map(|change| &change.company().details);
        let numbers: Vec<i64> = changes.iter().map(|change| change.company().number.get()).collect();
        let ids: Vec<&str> = changes.iter().map(|change| change.company().id.as_str()).collect();
        let free = |text: &'a Option<custodia_domain::facets::FreeText>| {
            text.as_ref().map(custodia_domain::facets::FreeText::as_str)
        };
        let statement = events
            .bind_to(sqlx::query(FOUND), self.unit)
            .bind(&numbers)
            .bind(&ids)
            .bind(details().map(|details| details.name.as_str()).collect::<Vec<_>>())
            .bind(details().map(|details| details.status.label()).collect::<Vec<_>>())
            .bind(details().map(|details| free(&details.description)).collect::<Vec<_>>())
            .bind(details().map(|details| free(&details.industry)).collect::<Vec<_>>())
            .bind(details().map(|details| free(&details.website)).collect::<Vec<_>>())
            .bind(details().map(|details| free(&details.phone)).collect::<Vec<_>>())
            .bind(details().map(|details| free(&details.address)).collect::<Vec<_>>())
            .bind(count(numbers.len()))
            .bind(SqlInstant(self.unit.at));
        self.run(statement, events.rows.count(), session).await
    }

    async fn hold(&mut self, session: &mut PgConnection) -> Result<bool, Failure> {
        let changes = &self.unit.accounts;
        if changes.is_empty() {
            return Ok(true);
        }
        let events = self.events(changes.iter().flat_map(AccountChange::events));
        let rows = AccountRows::of(changes, self.unit.at);
        let statement = rows.bind_to(events.bind_to(sqlx::query(HOLD), self.unit));
        self.run(statement, events.rows.count(), session).await
    }

    async fn lend(&mut self, session: &mut PgConnection) -> Result<bool, Failure> {
        let changes = &self.unit.loans;
        if changes.is_empty() {
            return Ok(true);
        }
        let Some(counts) = CountRows::of(changes) else {
            return Ok(false);
        };
        let events = self.events(changes.iter().map(LoanChange::event));
        let loans = LoanRows::of(changes);
        let statement = counts
            .bind_to(loans.bind_to(events.bind_to(sqlx::query(LEND), self.unit)))
            .bind(count(loans.id.len()))
            .bind(count(counts.customer.len()))
            .bind(SqlInstant(self.unit.at));
        self.run(statement, events.rows.count(), session).await
    }

    async fn rate(&mut self, session: &mut PgConnection) -> Result<bool, Failure> {
        let changes = &self.unit.scores;
        if changes.is_empty() {
            return Ok(true);
        }
        let events = self.events(changes.iter().map(ScoreChange::event));
        // A later report replaces an earlier one, and a statement may write a row only once.
        let last: HashMap<&ExternalId, _> = changes.iter().map(|one| (one.external_id(), one.score())).collect();
        let (ids, scores): (Vec<&str>, Vec<_>) = last.into_iter().map(|(id, score)| (id.as_str(), score)).unzip();
        let points = |score: u16| i16::try_from(score).expect("a score is at most 1000");
        let statement = events
            .bind_to(sqlx::query(RATE), self.unit)
            .bind(ids)
            .bind(scores.iter().map(|score| score.grade.label()).collect::<Vec<_>>())
            .bind(scores.iter().map(|score| points(score.score)).collect::<Vec<_>>())
            .bind(scores.iter().map(|score| score.limit.millionths()).collect::<Vec<_>>())
            .bind(SqlInstant(self.unit.at));
        self.run(statement, events.rows.count(), session).await
    }

    async fn hook(&mut self, session: &mut PgConnection) -> Result<bool, Failure> {
        let changes = &self.unit.webhooks;
        if changes.is_empty() {
            return Ok(true);
        }
        if changes.iter().any(|change| change.expects().is_none()) {
            // How many endpoints there are is counted by a statement that begins when nobody can add one any more.
            sqlx::query(LOCK).bind(self.unit.organization.get()).execute(&mut *session).await?;
        }
        let events = self.events(changes.iter().map(WebhookChange::event));
        let rows = EndpointRows::of(changes);
        let statement = rows
            .bind_to(events.bind_to(sqlx::query(HOOK), self.unit))
            .bind(count(ENDPOINTS_LIMIT))
            .bind(count(changes.len()));
        self.run(statement, events.rows.count(), session).await
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).expect("memory holds fewer than 2^63 rows")
}

fn expected(version: Option<Version>) -> i64 {
    version.map_or(0, Version::get)
}

/// The events of records with their subjects, and at most one receipt.
#[derive(Default)]
struct Events<'a> {
    rows: EventRows<'a>,
    subject: Vec<&'a str>,
    receipts: ReceiptRows<'a>,
}

impl<'a> Events<'a> {
    fn push(&mut self, event: &'a RecordEvent, audit: &'a Audit) {
        self.rows.push_record(event, audit);
        self.subject.push(&event.subject);
    }

    /// Binds `$1` to `$20`.
    fn bind_to<'q>(&'q self, statement: Bound<'q>, unit: &Unit) -> Bound<'q> {
        let statement = statement.bind(unit.organization.get()).bind(self.rows.count());
        self.receipts.bind_with_customers(self.rows.bind_to(statement)).bind(&self.subject)
    }
}

/// The arrays of loans, one element per loan.
#[derive(Default)]
struct LoanRows<'a> {
    id: Vec<i64>,
    external_id: Vec<&'a str>,
    customer: Vec<i64>,
    version: Vec<i64>,
    status: Vec<&'static str>,
    principal: Vec<i64>,
    total_outstanding: Vec<Option<i64>>,
    total_paid: Vec<Option<i64>>,
    expected_disbursement_on: Vec<Option<SqlDate>>,
    position: Vec<String>,
    expected: Vec<i64>,
}

impl<'a> LoanRows<'a> {
    fn of(changes: &'a [LoanChange]) -> Self {
        let mut rows = Self::default();
        for change in changes {
            let (loan, position) = (change.after(), &change.after().position);
            rows.id.push(loan.id.get());
            rows.external_id.push(loan.external_id.as_str());
            rows.customer.push(loan.customer.get());
            rows.version.push(loan.version.get());
            rows.status.push(position.status.label());
            rows.principal.push(position.principal.millionths());
            rows.total_outstanding.push(position.total_outstanding.map(Amount::millionths));
            rows.total_paid.push(position.total_paid.map(Amount::millionths));
            rows.expected_disbursement_on.push(position.expected_disbursement.map(SqlDate));
            rows.position.push(changes::encode_named_values(&position.values()));
            rows.expected.push(expected(change.expects()));
        }
        rows
    }

    /// Binds `$21` to `$31`.
    fn bind_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        statement
            .bind(&self.id)
            .bind(&self.external_id)
            .bind(&self.customer)
            .bind(&self.version)
            .bind(&self.status)
            .bind(&self.principal)
            .bind(&self.total_outstanding)
            .bind(&self.total_paid)
            .bind(&self.expected_disbursement_on)
            .bind(&self.position)
            .bind(&self.expected)
    }
}

/// The arrays of the customers whose loans change, one element per customer: the counts before the first change and
/// after the last.
#[derive(Default)]
struct CountRows {
    customer: Vec<i64>,
    open_before: Vec<i64>,
    total_before: Vec<i64>,
    open_after: Vec<i64>,
    total_after: Vec<i64>,
    needs_active: Vec<bool>,
}

impl CountRows {
    /// `None` where a change does not begin with what the one before it left.
    fn of(changes: &[LoanChange]) -> Option<Self> {
        let mut places: HashMap<CustomerId, usize> = HashMap::new();
        let mut rows: Vec<(CustomerId, LoanCounts, LoanCounts, bool)> = Vec::new();
        for change in changes {
            let customer = change.after().customer;
            let place = *places.entry(customer).or_insert(rows.len());
            let needs_active = change.needs_active_customer();
            match rows.get_mut(place) {
                Some((_, _, after, _)) if *after != change.counts_before() => return None,
                Some((_, _, after, active)) => {
                    *after = change.counts_after();
                    *active |= needs_active;
                }
                None => rows.push((customer, change.counts_before(), change.counts_after(), needs_active)),
            }
        }
        let mut columns = Self::default();
        for (customer, before, after, needs_active) in rows {
            columns.customer.push(customer.get());
            columns.open_before.push(before.open.into());
            columns.total_before.push(before.total.into());
            columns.open_after.push(after.open.into());
            columns.total_after.push(after.total.into());
            columns.needs_active.push(needs_active);
        }
        Some(columns)
    }

    /// Binds `$32` to `$37`.
    fn bind_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        statement
            .bind(&self.customer)
            .bind(&self.open_before)
            .bind(&self.total_before)
            .bind(&self.open_after)
            .bind(&self.total_after)
            .bind(&self.needs_active)
    }
}
