//! The statements that write customers, and new accounts beside them, each with its events and receipts in one round trip, and the arrays bound to
//! them. Must not know which units share a statement.
//!
//! Each of them begins by moving the counters in the organization's row. That row's lock puts an organization's
//! commits in the order of their sequences, and since everything that writes takes it first, no deadlock is possible.
//!
//! Where rows are joined with what is bound, a condition that all of them meet, such as `t.version > 0`, speaks to the
//! planner: it takes them to be few then, and looks each up by its key. Until somebody has counted the rows, it takes
//! every organization to be smaller still, and would read all of it instead.

use custodia_domain::account::AccountChange;
use custodia_domain::ports::CommitError;
use custodia_domain::record::RecordEvent;
use custodia_domain::unit::{Basis, ForbiddenLoans};
use custodia_domain::{
    Audit, Customer, CustomerChange, CustomerEvent, CustomerId, ExternalId, Name, NamePart, OrganizationId, Receipt,
    Sequence, Timestamp, Unit, search,
};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row as _};

use super::columns::{SqlDate, SqlInstant, SqlWords};
use super::fault::Failure;
use super::holdings::AccountRows;
use crate::changes;

/// `$1` is the organization, `$2` the number of events. Then come the events and the receipts, and what the statement
/// itself is about. A CTE that changes data runs to its end whether or not anybody reads it; each reads `moved`, so
/// that none begins before the organization's row is locked.
macro_rules! moved {
    ($count:literal) => {
        concat!(
            "with moved as (
                update organizations o
                set next_sequence = o.next_sequence + $2, customer_count = o.customer_count + ",
            $count,
            " where o.id = $1
                returning o.next_sequence - $2 as base
            )"
        )
    };
}

/// The events, in order, where the condition holds.
macro_rules! told {
    ($condition:literal) => {
        concat!(
            "told as (
                insert into customer_events (organization_id, stream, sequence, customer_id, version, kind,
                    external_id, at, actor, request_id, idempotency_key, reason, changed)
                select $1, 0, moved.base + e.place, e.customer_id, e.version, e.kind, e.external_id, e.at, e.actor,
                    e.request_id, e.idempotency_key, e.reason, e.changed::json
                from moved cross join unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[],
                    $8::text[], $9::text[], $10::text[], $11::text[], $12::text[]) with ordinality
                    as e (customer_id, version, kind, external_id, at, actor, request_id, idempotency_key, reason,
                        changed, place)
                where ",
            $condition,
            ")"
        )
    };
}

/// The receipts where the condition holds.
macro_rules! kept {
    ($condition:literal) => {
        concat!(
            "kept as (
                insert into receipts (organization_id, key, fingerprint, at, status, headers, body)
                select $1, r.key, r.fingerprint, r.at, r.status, r.headers::json, r.body
                from moved cross join unnest($13::bigint[], $14::bytea[], $15::bytea[], $16::timestamptz[],
                    $17::smallint[], $18::text[], $19::bytea[])
                    as r (customer_id, key, fingerprint, at, status, headers, body)
                where ",
            $condition,
            ")"
        )
    };
}

/// The events, in order, each with its subject where it has one, which is bound as the array named.
macro_rules! told_of_records {
    ($subjects:literal) => {
        concat!(
            "told as (
                insert into customer_events (organization_id, stream, sequence, subject, customer_id, version, kind,
                    external_id, at, actor, request_id, idempotency_key, reason, changed)
                select $1, 0, moved.base + e.place, e.subject, e.customer_id, e.version, e.kind, e.external_id, e.at,
                    e.actor, e.request_id, e.idempotency_key, e.reason, e.changed::json
                from moved cross join unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[],
                    $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], ",
            $subjects,
            ") with ordinality
                    as e (customer_id, version, kind, external_id, at, actor, request_id, idempotency_key, reason,
                        changed, subject, place)
            )"
        )
    };
}

pub(super) use {kept, moved, told_of_records};

/// The customers' rows, as they are to be.
macro_rules! rows {
    ($more_types:literal, $more_names:literal) => {
        concat!(
            "unnest($20::bigint[], $21::bigint[], $22::text[], $23::bigint[], $24::text[], $25::date[], $26::date[],
                $27::date[], $28::bigint[], $29::text[], $30::text[], $31::text[], $32::text[], $33::text[],
                $34::text[], $35::text[], $36::date[], $37::bigint[], $38::smallint[], $39::bigint[],
                $40::timestamptz[], $41::timestamptz[], $42::tsvector[], $43::text[], $44::bigint[], $45::text[]",
            $more_types,
            ") as t (id, version, external_id, office_id, status, submitted_on, activated_on, closed_on,
                closure_reason_id, first_name, middle_name, last_name, full_name, sort_name, mobile_no, email,
                born_on, gender_id, client_type_id, legal_form_id, created_at, updated_at, search, source,
                company_id, facets",
            $more_names,
            ")"
        )
    };
}

/// Creates customers: all of them, or none where one violates a constraint. An office that is not there is null, which
/// violates one.
macro_rules! made {
    () => {
        concat!(
            moved!("cardinality($20::bigint[])"),
            ", made as (
                insert into customers (organization_id, id, version, external_id, office_id, status, submitted_on,
                    activated_on, closed_on, closure_reason_id, first_name, middle_name, last_name, full_name,
                    sort_name, mobile_no, email, born_on, gender_id, client_type_id, legal_form_id, created_at,
                    updated_at, search, source, company_id, facets, open_loans, loan_count)
                select $1, t.id, t.version, t.external_id,
                    (select f.id from offices f where f.organization_id = $1 and f.id = t.office_id), t.status,
                    t.submitted_on, t.activated_on, t.closed_on, t.closure_reason_id, t.first_name, t.middle_name,
                    t.last_name, t.full_name, t.sort_name, t.mobile_no, t.email, t.born_on, t.gender_id,
                    t.client_type_id, t.legal_form_id, t.created_at, t.updated_at, t.search, t.source, t.company_id,
                    t.facets::json, 0, 0
                from moved cross join ",
            rows!("", ""),
            ")"
        )
    };
}

const CREATE: &str =
    concat!(made!(), ", ", told!("true"), ", ", kept!("true"), " select moved.base, $20::bigint[] from moved");

/// Creates customers and accounts: all of them, or none where one is there already.
const ENROL: &str = concat!(
    made!(),
    ", opened as (
        insert into accounts (organization_id, id, version, primary_holder, status, kind, portfolio, opened_at,
            closed_at, cards, updated_at)
        select $1, t.id, t.version, t.primary_holder, t.status, t.kind, t.portfolio, t.opened_at, t.closed_at, t.cards,
            t.updated_at
        from moved cross join unnest($47::text[], $48::bigint[], $49::text[], $50::text[], $51::text[], $52::text[],
            $53::timestamptz[], $54::timestamptz[], $55::text[], $56::timestamptz[])
            as t (id, version, primary_holder, status, kind, portfolio, opened_at, closed_at, cards, updated_at)
    ), held as (
        insert into account_holders (organization_id, holder, account_id)
        select $1, k.holder, k.account_id
        from moved cross join unnest($57::text[], $58::text[]) as k (account_id, holder)
    ), ",
    told_of_records!("$46::text[]"),
    ", ",
    kept!("true"),
    " select moved.base, $20::bigint[] from moved"
);

/// Changes customers that are at the version expected of them and, where they are closed, have no open loan; events
/// and receipts of the others are left out. The conditions are the update's own: a row that another transaction changes
/// meanwhile is looked at again.
pub(super) const CHANGE: &str = concat!(
    moved!("0"),
    ", applied as (
        update customers c
        set version = t.version, external_id = t.external_id, office_id = t.office_id, status = t.status,
            submitted_on = t.submitted_on, activated_on = t.activated_on, closed_on = t.closed_on,
            closure_reason_id = t.closure_reason_id, first_name = t.first_name, middle_name = t.middle_name,
            last_name = t.last_name, full_name = t.full_name, sort_name = t.sort_name, mobile_no = t.mobile_no,
            email = t.email, born_on = t.born_on, gender_id = t.gender_id, client_type_id = t.client_type_id,
            legal_form_id = t.legal_form_id, created_at = t.created_at, updated_at = t.updated_at,
            search = t.search, source = t.source, company_id = t.company_id, facets = t.facets::json
        from moved cross join ",
    rows!(", $46::bigint[], $47::boolean[]", ", expected, closes"),
    " where c.organization_id = $1 and c.id = t.id and c.version = t.expected
            and t.version > 0 and t.expected > 0 and (c.open_loans = 0 or not t.closes)
        returning c.id
    ), ",
    // In parentheses, and asked whether it is true, the membership is looked up in a hash table; as a join it would
    // compare every pair.
    told!("(e.customer_id in (select applied.id from applied)) is true"),
    ", ",
    kept!("(r.customer_id in (select applied.id from applied)) is true"),
    " select moved.base, array(select applied.id from applied) from moved"
);

/// Removes customers that are at the version expected of them and have no loan, and empties what the log tells of them: the
/// rows that `told` adds are not there yet for `erased`. Right only where all of them are so: the caller makes sure of that
/// before, under the organization's lock.
pub(super) const REMOVE: &str = concat!(
    moved!("0 - cardinality($20::bigint[])"),
    ", applied as (
        delete from customers c
        using moved cross join unnest($20::bigint[], $21::bigint[]) as t (id, expected)
        where c.organization_id = $1 and c.id = t.id and c.version = t.expected and c.loan_count = 0
            and t.id > 0 and t.expected > 0
        returning c.id
    ), erased as (
        update customer_events e
        set changed = '{}'::json, reason = null
        from moved
        where e.organization_id = $1 and e.customer_id = any($20::bigint[]) and e.subject is null
    ), ",
    told!("true"),
    ", ",
    kept!("true"),
    " select moved.base, array(select applied.id from applied) from moved"
);

/// Keeps receipts of requests that changed nothing; answers the keys that were free.
const KEEP: &str = "
    with locked as (
        select o.id from organizations o where o.id = $1 for no key update
    ), kept as (
        insert into receipts (organization_id, key, fingerprint, at, status, headers, body)
        select locked.id, r.key, r.fingerprint, r.at, r.status, r.headers::json, r.body
        from locked cross join unnest($2::bytea[], $3::bytea[], $4::timestamptz[], $5::smallint[], $6::text[],
            $7::bytea[]) as r (key, fingerprint, at, status, headers, body)
        on conflict (organization_id, key) do nothing
        returning key
    )
    select array(select kept.key from kept) from locked";

/// What stands in the way of each change, as far as the database knows.
pub(super) const JUDGE: &str = "
    select
        (select c.version from customers c where c.organization_id = $1 and c.id = t.id),
        (select c.external_id from customers c where c.organization_id = $1 and c.id = t.id),
        (select c.id from customers c where c.organization_id = $1 and c.external_id = t.external_id),
        exists (select 1 from customer_events e
            where e.organization_id = $1 and e.customer_id = t.id and e.subject is null),
        exists (select 1 from offices f where f.organization_id = $1 and f.id = t.office_id),
        exists (select 1 from receipts r where r.organization_id = $1 and r.key = t.key),
        (select c.open_loans from customers c where c.organization_id = $1 and c.id = t.id),
        (select c.loan_count from customers c where c.organization_id = $1 and c.id = t.id)
    from unnest($2::bigint[], $3::text[], $4::bigint[], $5::bytea[]) with ordinality
        as t (id, external_id, office_id, key, place)
    order by t.place";

/// Which customer that a unit was decided on is not as it was, and whether an account is not. Right only where the
/// organization's row was locked by an earlier statement of the transaction: this one sees what was committed before.
pub(super) const CHANGED: &str = "
    select
        (select b.id from unnest($2::bigint[], $3::bigint[]) as b (id, version)
            left join lateral (select c.version from customers c where c.organization_id = $1 and c.id = b.id offset 0) f
                on true
            where f.version is distinct from b.version limit 1),
        exists (select 1 from unnest($4::text[], $5::bigint[]) as b (id, version)
            left join lateral (select a.version from accounts a where a.organization_id = $1 and a.id = b.id offset 0) f
                on true
            where f.version is distinct from b.version)";

/// Locks the organization's row until the transaction ends.
pub(super) const LOCK: &str = "select o.id from organizations o where o.id = $1 for no key update";

pub(super) type Bound<'q> = Query<'q, Postgres, PgArguments>;

/// What became of a statement.
pub(super) struct Written {
    /// The sequence before that of the first event.
    pub(super) base: i64,
    /// The customers that were written.
    pub(super) applied: Vec<i64>,
}

impl Written {
    /// The sequence of the event at that place, counted from 1; `None` for place 0.
    pub(super) fn sequence(&self, place: usize) -> Option<Sequence> {
        let place = i64::try_from(place).ok().filter(|place| *place > 0)?;
        Sequence::parse(self.base.checked_add(place)?).ok()
    }
}

/// Changes that one statement writes: all creations, all changes or all deletions.
pub(super) struct Writing<'a> {
    organization: OrganizationId,
    changes: Vec<&'a CustomerChange>,
    accounts: AccountRows<'a>,
    events: EventRows<'a>,
    /// Of each event, where it is of a record.
    subjects: Vec<Option<&'a str>>,
    receipts: ReceiptRows<'a>,
}

impl<'a> Writing<'a> {
    pub(super) fn new(organization: OrganizationId) -> Self {
        Self {
            organization,
            changes: Vec::new(),
            accounts: AccountRows::default(),
            events: EventRows::default(),
            subjects: Vec::new(),
            receipts: ReceiptRows::default(),
        }
    }

    /// Adds a change; answers the place of its last event.
    pub(super) fn add(&mut self, change: &'a CustomerChange, audit: &'a Audit) -> usize {
        self.changes.push(change);
        for event in change.events() {
            self.events.push(event, audit);
            self.subjects.push(None);
        }
        self.subjects.len()
    }

    /// Adds the creation of an account at that instant; answers the place of its last event.
    pub(super) fn open(&mut self, change: &'a AccountChange, at: Timestamp, audit: &'a Audit) -> usize {
        self.accounts.push(change, at);
        for event in change.events() {
            self.events.push_record(event, audit);
            self.subjects.push(Some(&event.subject));
        }
        self.subjects.len()
    }

    /// Adds a receipt, kept only if that change is applied, where there is one.
    pub(super) fn keep(&mut self, receipt: &'a Receipt, with: Option<&CustomerChange>) {
        self.receipts.push(receipt, with.map_or(0, |change| change.customer().get()));
    }

    /// Creates the customers and accounts; `None` where there is no such organization.
    pub(super) async fn create(&self, session: &mut PgConnection) -> Result<Option<Written>, Failure> {
        let rows = CustomerRows::of(self.changes.iter().filter_map(|change| change.after()));
        if self.accounts.is_empty() {
            let statement = rows.bind_to(self.bind_to(sqlx::query(CREATE)));
            return self.run(statement, session).await;
        }
        let statement = rows.bind_to(self.bind_to(sqlx::query(ENROL))).bind(&self.subjects);
        self.run(self.accounts.bind_new_to(statement), session).await
    }

    /// Changes the customers.
    pub(super) async fn change(&self, session: &mut PgConnection) -> Result<Option<Written>, Failure> {
        let rows = CustomerRows::of(self.changes.iter().filter_map(|change| change.after()));
        let closes: Vec<bool> = self.changes.iter().map(|change| change.forbids() != ForbiddenLoans::None).collect();
        let statement = rows.bind_to(self.bind_to(sqlx::query(CHANGE))).bind(self.expected()).bind(closes);
        self.run(statement, session).await
    }

    /// Removes the customers.
    pub(super) async fn remove(&self, session: &mut PgConnection) -> Result<Option<Written>, Failure> {
        let ids: Vec<i64> = self.changes.iter().map(|change| change.customer().get()).collect();
        let statement = self.bind_to(sqlx::query(REMOVE)).bind(ids).bind(self.expected());
        self.run(statement, session).await
    }

    fn expected(&self) -> Vec<i64> {
        self.changes.iter().map(|change| change.expects().map_or(0, custodia_domain::Version::get)).collect()
    }

    fn bind_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        let statement = statement.bind(self.organization.get()).bind(self.events.count());
        self.receipts.bind_with_customers(self.events.bind_to(statement))
    }

    async fn run(&self, statement: Bound<'_>, session: &mut PgConnection) -> Result<Option<Written>, Failure> {
        let rows = statement.fetch_all(session).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Written { base: row.try_get(0)?, applied: row.try_get(1)? }))
    }
}

/// Keeps receipts alone; answers for each whether its key was free. `None` where there is no such organization.
pub(super) async fn keep(
    session: &mut PgConnection,
    organization: OrganizationId,
    receipts: &[&Receipt],
) -> Result<Option<Vec<bool>>, Failure> {
    let mut rows = ReceiptRows::default();
    for receipt in receipts {
        rows.push(receipt, 0);
    }
    let statement = rows.bind_to(sqlx::query(KEEP).bind(organization.get()));
    let answer = statement.fetch_all(session).await?;
    let Some(row) = answer.first() else {
        return Ok(None);
    };
    let kept: Vec<Vec<u8>> = row.try_get(0)?;
    Ok(Some(receipts.iter().map(|receipt| kept.iter().any(|key| *key == receipt.key.0)).collect()))
}

/// What refuses a unit for its basis; to be asked within the transaction that has written it.
pub(super) async fn changed(session: &mut PgConnection, unit: &Unit) -> Result<Option<CommitError>, Failure> {
    let Basis { customers, accounts } = &unit.basis;
    if unit.basis.is_empty() {
        return Ok(None);
    }
    let row = sqlx::query(CHANGED)
        .bind(unit.organization.get())
        .bind(customers.keys().map(|id| id.get()).collect::<Vec<_>>())
        .bind(customers.values().map(|version| version.get()).collect::<Vec<_>>())
        .bind(accounts.keys().map(ExternalId::as_str).collect::<Vec<_>>())
        .bind(accounts.values().map(|version| version.get()).collect::<Vec<_>>())
        .fetch_one(session)
        .await?;
    let customer: Option<i64> = row.try_get(0)?;
    let account: bool = row.try_get(1)?;
    let conflict = customer.and_then(|id| CustomerId::parse(id).ok()).map(CommitError::VersionConflict);
    Ok(conflict.or_else(|| account.then_some(CommitError::RecordConflict)))
}

/// What the database knows of one change.
#[derive(Debug, Default)]
pub(super) struct Finding {
    pub(super) version: Option<i64>,
    pub(super) external_id: Option<String>,
    pub(super) holder: Option<i64>,
    pub(super) was_there: bool,
    pub(super) office_exists: bool,
    pub(super) receipt_exists: bool,
    pub(super) open_loans: Option<i64>,
    pub(super) loan_count: Option<i64>,
}

/// What the database knows of the units: for each, one finding per change, or one for its receipt alone.
pub(super) async fn judge(
    session: &mut PgConnection,
    organization: OrganizationId,
    units: &[&Unit],
) -> Result<Vec<Vec<Finding>>, Failure> {
    let (mut ids, mut external_ids, mut offices, mut keys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for unit in units {
        let key = unit.receipt.as_ref().map(|receipt| receipt.key.0.as_slice());
        if unit.customers.is_empty() {
            ids.push(None);
            external_ids.push(None);
            offices.push(None);
            keys.push(key);
        }
        for change in &unit.customers {
            ids.push(Some(change.customer().get()));
            external_ids.push(change.after().and_then(Customer::external_id).map(custodia_domain::ExternalId::as_str));
            offices.push(change.after().map(|after| after.office().get()));
            keys.push(key);
        }
    }
    let statement = sqlx::query(JUDGE).bind(organization.get()).bind(ids).bind(external_ids).bind(offices).bind(keys);
    let rows = statement.fetch_all(session).await?;
    let findings = rows.iter().map(|row| {
        Ok(Finding {
            version: row.try_get(0)?,
            external_id: row.try_get(1)?,
            holder: row.try_get(2)?,
            was_there: row.try_get(3)?,
            office_exists: row.try_get(4)?,
            receipt_exists: row.try_get(5)?,
            open_loans: row.try_get(6)?,
            loan_count: row.try_get(7)?,
        })
    });
    let mut findings = findings.collect::<Result<Vec<_>, sqlx::Error>>()?.into_iter();
    Ok(units.iter().map(|unit| findings.by_ref().take(unit.customers.len().max(1)).collect()).collect())
}

/// The arrays of events, one element per row.
#[derive(Default)]
pub(super) struct EventRows<'a> {
    customer_id: Vec<Option<i64>>,
    version: Vec<i64>,
    kind: Vec<&'static str>,
    external_id: Vec<Option<&'a str>>,
    at: Vec<SqlInstant>,
    actor: Vec<&'a str>,
    request_id: Vec<&'a str>,
    idempotency_key: Vec<Option<&'a str>>,
    reason: Vec<Option<&'a str>>,
    changed: Vec<String>,
}

impl<'a> EventRows<'a> {
    fn push(&mut self, event: &'a CustomerEvent, audit: &'a Audit) {
        self.customer_id.push(Some(event.customer().get()));
        self.version.push(event.version().get());
        self.kind.push(event.kind().name());
        self.external_id.push(event.external_id().map(custodia_domain::ExternalId::as_str));
        self.at.push(SqlInstant(event.at()));
        self.changed.push(changes::encode(event.changes()));
        self.push_audit(audit);
    }

    /// Adds the event of a record; its subject is bound elsewhere.
    pub(super) fn push_record(&mut self, event: &'a RecordEvent, audit: &'a Audit) {
        self.customer_id.push(event.customer.map(custodia_domain::CustomerId::get));
        self.version.push(event.version.get());
        self.kind.push(event.kind.name());
        self.external_id.push(event.external_id.as_ref().map(custodia_domain::ExternalId::as_str));
        self.at.push(SqlInstant(event.at));
        self.changed.push(changes::encode_named(&event.changes));
        self.push_audit(audit);
    }

    fn push_audit(&mut self, audit: &'a Audit) {
        self.actor.push(audit.actor.as_str());
        self.request_id.push(audit.request_id.as_str());
        self.idempotency_key.push(audit.idempotency_key.as_deref());
        self.reason.push(audit.reason.as_deref());
    }

    /// How many they are.
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.customer_id.len()).expect("memory holds fewer than 2^63 events")
    }

    /// Binds them as `$3` to `$12`.
    pub(super) fn bind_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        statement
            .bind(&self.customer_id)
            .bind(&self.version)
            .bind(&self.kind)
            .bind(&self.external_id)
            .bind(&self.at)
            .bind(&self.actor)
            .bind(&self.request_id)
            .bind(&self.idempotency_key)
            .bind(&self.reason)
            .bind(&self.changed)
    }
}

/// The arrays of receipts, one element per row.
#[derive(Default)]
pub(super) struct ReceiptRows<'a> {
    customer_id: Vec<i64>,
    key: Vec<&'a [u8]>,
    fingerprint: Vec<&'a [u8]>,
    at: Vec<SqlInstant>,
    status: Vec<i16>,
    headers: Vec<String>,
    body: Vec<&'a [u8]>,
}

impl<'a> ReceiptRows<'a> {
    pub(super) fn push(&mut self, receipt: &'a Receipt, customer: i64) {
        self.customer_id.push(customer);
        self.key.push(&receipt.key.0);
        self.fingerprint.push(&receipt.fingerprint.0);
        self.at.push(SqlInstant(receipt.at));
        self.status.push(i16::try_from(receipt.answer.status).expect("a status code has three digits"));
        let headers = serde_json::to_string(&receipt.answer.headers);
        self.headers.push(headers.expect("a list of pairs of texts has a JSON form"));
        self.body.push(&receipt.answer.body);
    }

    /// Binds them, and which customer's change each belongs to, as `$13` to `$19`.
    pub(super) fn bind_with_customers<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        self.bind_to(statement.bind(&self.customer_id))
    }

    fn bind_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        statement
            .bind(&self.key)
            .bind(&self.fingerprint)
            .bind(&self.at)
            .bind(&self.status)
            .bind(&self.headers)
            .bind(&self.body)
    }
}

/// The arrays of customers, one element per row.
#[derive(Default)]
struct CustomerRows<'a> {
    id: Vec<i64>,
    version: Vec<i64>,
    external_id: Vec<Option<&'a str>>,
    office_id: Vec<i64>,
    status: Vec<&'static str>,
    submitted_on: Vec<SqlDate>,
    activated_on: Vec<Option<SqlDate>>,
    closed_on: Vec<Option<SqlDate>>,
    closure_reason_id: Vec<Option<i64>>,
    first_name: Vec<Option<&'a str>>,
    middle_name: Vec<Option<&'a str>>,
    last_name: Vec<Option<&'a str>>,
    full_name: Vec<Option<&'a str>>,
    sort_name: Vec<String>,
    mobile_no: Vec<Option<&'a str>>,
    email: Vec<Option<&'a str>>,
    born_on: Vec<Option<SqlDate>>,
    gender_id: Vec<Option<i64>>,
    client_type_id: Vec<Option<i16>>,
    legal_form_id: Vec<Option<i64>>,
    created_at: Vec<SqlInstant>,
    updated_at: Vec<SqlInstant>,
    search: Vec<SqlWords>,
    source: Vec<Option<&'a str>>,
    company_id: Vec<Option<i64>>,
    facets: Vec<Option<String>>,
}

impl<'a> CustomerRows<'a> {
    fn of(customers: impl Iterator<Item = &'a Customer>) -> Self {
        let mut rows = Self::default();
        for customer in customers {
            rows.push(customer);
        }
        rows
    }

    fn push(&mut self, customer: &'a Customer) {
        let state = customer.snapshot();
        self.id.push(state.id.get());
        self.version.push(state.version.get());
        self.external_id.push(state.external_id.as_ref().map(custodia_domain::ExternalId::as_str));
        self.office_id.push(state.office.get());
        self.status.push(customer.status().label());
        self.submitted_on.push(SqlDate(state.submitted));
        self.activated_on.push(customer.activated_on().map(SqlDate));
        self.closed_on.push(customer.closing().map(|terms| SqlDate(terms.on)));
        self.closure_reason_id.push(customer.closing().map(|terms| terms.reason.get()));
        self.push_name(&state.name);
        self.sort_name.push(search::fold(&customer.display_name()));
        self.mobile_no.push(state.mobile.as_ref().map(custodia_domain::MobileNumber::as_str));
        self.email.push(state.email.as_ref().map(custodia_domain::EmailAddress::as_str));
        self.born_on.push(state.born.map(SqlDate));
        self.gender_id.push(state.gender.map(custodia_domain::GenderId::get));
        self.client_type_id.push(state.client_type.and_then(|kind| i16::try_from(kind.code()).ok()));
        self.legal_form_id.push(state.legal_form.map(custodia_domain::LegalFormId::get));
        self.created_at.push(SqlInstant(state.created_at));
        self.updated_at.push(SqlInstant(state.updated_at));
        self.search.push(SqlWords::of(customer));
        self.source.push(state.acquisition.source.as_ref().map(custodia_domain::facets::Source::as_str));
        self.company_id.push(state.acquisition.company.map(custodia_domain::CompanyNumber::get));
        let facets = state.facet_values();
        self.facets.push((!facets.is_empty()).then(|| changes::encode_values(&facets)));
    }

    fn push_name(&mut self, name: &'a Name) {
        let (first, middle, last, full) = match name {
            Name::Person { first, middle, last } => {
                (Some(first.as_str()), middle.as_ref().map(NamePart::as_str), Some(last.as_str()), None)
            }
            Name::Full(full) => (None, None, None, Some(full.as_str())),
            Name::FollowsExternalId => (None, None, None, None),
        };
        self.first_name.push(first);
        self.middle_name.push(middle);
        self.last_name.push(last);
        self.full_name.push(full);
    }

    fn bind_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        statement
            .bind(&self.id)
            .bind(&self.version)
            .bind(&self.external_id)
            .bind(&self.office_id)
            .bind(&self.status)
            .bind(&self.submitted_on)
            .bind(&self.activated_on)
            .bind(&self.closed_on)
            .bind(&self.closure_reason_id)
            .bind(&self.first_name)
            .bind(&self.middle_name)
            .bind(&self.last_name)
            .bind(&self.full_name)
            .bind(&self.sort_name)
            .bind(&self.mobile_no)
            .bind(&self.email)
            .bind(&self.born_on)
            .bind(&self.gender_id)
            .bind(&self.client_type_id)
            .bind(&self.legal_form_id)
            .bind(&self.created_at)
            .bind(&self.updated_at)
            .bind(&self.search)
            .bind(&self.source)
            .bind(&self.company_id)
            .bind(&self.facets)
    }
}
