//! Deliveries of webhooks and the leases under which they are made. Must not know how endpoints are written.
//!
//! What is enqueued, settled or replayed first locks the organization's lease row, so that one transaction after the
//! other moves the heads of lanes; none of them locks the organization's own row, and so none waits for those who
//! commit. Each statement after that lock sees what all before it have done.

use std::collections::{HashMap, HashSet};

use custodia_domain::ports::LogEntry;
use custodia_domain::webhook::{
    Attempt, DeliveryQuery, DeliveryRecord, DeliveryState, DeliveryStatus, DueDelivery, EventName, FailureKind, Replay,
    Replayed, Settlement, WebhookId,
};
use custodia_domain::{CustomerId, OrganizationId, Sequence, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::columns::SqlInstant;
use super::customers::{ReadFailure, Reader};
use super::events::{self, event_columns};

/// The leases that may be taken, and of whom something is to be done. There is one row for each organization with
/// webhooks: few, and read along their key.
pub(super) const CLAIMABLE: &str = "
    select l.organization_id
    from webhook_leases l join organizations o on o.id = l.organization_id
    where (l.owner is null or l.ends_at <= $1) and l.organization_id <> all($3)
        and exists (select 1 from webhook_endpoints w
            where w.organization_id = l.organization_id and w.deleted_at is null and w.disabled_at is null
                and (w.position < o.next_sequence
                    or (select d.sequence from webhook_deliveries d
                        where d.organization_id = w.organization_id and d.endpoint_id = w.id and d.is_head
                            and d.at <= $1
                        order by d.at, d.sequence
                        limit 1) is not null))
    order by l.ends_at nulls first, l.organization_id
    limit $2";

pub(super) const CLAIM: &str = "
    update webhook_leases l set owner = $2, ends_at = $4
    where l.organization_id = $1 and (l.owner is null or l.ends_at <= $3)";

const RENEW: &str = "update webhook_leases l set ends_at = $3 where l.organization_id = $1 and l.owner = $2";

/// The instant stays: it tells since when nobody has had it.
const RELEASE: &str = "update webhook_leases l set owner = null where l.organization_id = $1 and l.owner = $2";

const LOCK: &str = "select l.owner from webhook_leases l where l.organization_id = $1 for no key update";

/// The lane of an event, behind its endpoint: alone it leads to few rows, and no index of an endpoint's deliveries serves
/// as well, whatever the planner knows of the tables.
macro_rules! lane {
    ($endpoint:literal) => {
        concat!(
            $endpoint,
            " || ' ' || case when c.customer_id is null then 's' || c.subject else 'c' || c.customer_id end"
        )
    };
}

/// Reads the events after each endpoint's position, at most `$3`, and the organization's last sequence by one look at
/// the database: an event is there, or the sequence does not tell of it yet.
pub(super) const ENQUEUE: &str = concat!(
    "with wanting as materialized (
        select w.id, w.position, w.kinds, o.next_sequence
        from organizations o join webhook_endpoints w on w.organization_id = o.id
        where o.id = $1 and w.deleted_at is null and w.disabled_at is null and w.position < o.next_sequence
    ), seen as materialized (
        select t.id, v.sequence, v.lane, cardinality(t.kinds) = 0 or v.kind = any(t.kinds) as is_wanted
        from wanting t cross join lateral (
            select c.sequence, c.kind, ",
    lane!("t.id"),
    " as lane
            from customer_events c
            where c.organization_id = $1 and c.stream = 0 and c.sequence > t.position
            order by c.sequence
            limit $2) v
    ), reached as (
        select t.id, t.next_sequence,
            case when count(s.sequence) < $2 then t.next_sequence else max(s.sequence) end as position
        from wanting t left join seen s on s.id = t.id
        group by t.id, t.next_sequence
    ), moved as (
        update webhook_endpoints w set position = r.position
        from reached r
        where w.organization_id = $1 and w.id = r.id and w.position < r.position
        returning r.position < r.next_sequence as has_more
    ), queued as (
        insert into webhook_deliveries (organization_id, endpoint_id, sequence, lane, state, at, attempts, is_head)
        select $1, s.id, s.sequence, s.lane, 'pending', $3, 0,
            row_number() over (partition by s.lane order by s.sequence) = 1
                and (select d.sequence from webhook_deliveries d
                    where d.organization_id = $1 and d.lane = s.lane and d.state = 'pending'
                    order by d.sequence
                    limit 1) is null
        from seen s
        where s.is_wanted
    )
    select coalesce(bool_or(moved.has_more), false) from moved"
);

/// Each endpoint's first deliveries, taking turns.
pub(super) const DUE: &str = concat!(
    "select ",
    event_columns!(),
    ", x.endpoint_id, x.attempts
    from (
        select v.endpoint_id, v.sequence, v.attempts, v.at, v.turn
        from webhook_endpoints w cross join lateral (
            select h.endpoint_id, h.sequence, h.attempts, h.at, row_number() over (order by h.at, h.sequence) as turn
            from (
                select d.endpoint_id, d.sequence, d.attempts, d.at
                from webhook_deliveries d
                where d.organization_id = $1 and d.endpoint_id = w.id and d.is_head and d.at <= $2
                order by d.at, d.sequence
                limit $4) h) v
        where w.organization_id = $1 and w.deleted_at is null and w.disabled_at is null
        order by v.turn, v.at, v.sequence, v.endpoint_id
        limit $3) x
    cross join lateral (
        select c.sequence, c.customer_id, c.version, c.kind, c.external_id, c.at, c.actor, c.request_id,
            c.idempotency_key, c.reason, c.changed, c.subject
        from customer_events c
        where c.organization_id = $1 and c.stream = 0 and c.sequence = x.sequence offset 0) e
    order by x.turn, x.at, x.sequence, x.endpoint_id"
);

pub(super) const NEXT_DUE: &str = "
    select min(v.at)
    from webhook_endpoints w cross join lateral (
        select d.at
        from webhook_deliveries d
        where d.organization_id = $1 and d.endpoint_id = w.id and d.is_head
        order by d.at, d.sequence
        limit 1) v
    where w.organization_id = $1 and w.deleted_at is null and w.disabled_at is null";

/// Settles deliveries that are as expected, and adds their attempts to the log. Under the lease's lock nobody else changes
/// or removes a delivery, so that each of those found is written over: an insertion that always meets its row finds it by
/// its key, whatever the planner knows of the tables. The same holds below.
pub(super) const SETTLE: &str = "
    with meant as materialized (
        select t.place, t.endpoint_id, t.sequence, t.attempts, t.state, t.state_at, t.at, t.duration_ms, t.status,
            t.failure, f.lane, f.is_head
        from unnest($2::bigint[], $3::text[], $4::bigint[], $5::smallint[], $6::text[], $7::timestamptz[],
            $8::timestamptz[], $9::bigint[], $10::smallint[], $11::text[])
            as t (place, endpoint_id, sequence, attempts, state, state_at, at, duration_ms, status, failure)
        cross join lateral (
            select d.lane, d.state, d.attempts, d.is_head
            from webhook_deliveries d
            where d.organization_id = $1 and d.endpoint_id = t.endpoint_id and d.sequence = t.sequence offset 0) f
        cross join lateral (
            select w.id
            from webhook_endpoints w
            where w.organization_id = $1 and w.id = t.endpoint_id and w.deleted_at is null offset 0) e
        where f.state = 'pending' and f.attempts = t.attempts
    ), settled as (
        insert into webhook_deliveries (organization_id, endpoint_id, sequence, lane, state, at, attempts, is_head)
        select $1, m.endpoint_id, m.sequence, m.lane, m.state, m.state_at, m.attempts + 1,
            m.is_head and m.state = 'pending'
        from meant m
        on conflict (organization_id, endpoint_id, sequence) do update
        set state = excluded.state, at = excluded.at, attempts = excluded.attempts, is_head = excluded.is_head
    ), logged as (
        insert into webhook_attempts (organization_id, endpoint_id, sequence, number, at, duration_ms, status, failure)
        select $1, m.endpoint_id, m.sequence,
            (select coalesce(max(a.number), 0) + 1 from webhook_attempts a
                where a.organization_id = $1 and a.endpoint_id = m.endpoint_id and a.sequence = m.sequence),
            m.at, m.duration_ms, m.status, m.failure
        from meant m
    )
    select m.place, m.lane, m.state = 'pending' from meant m";

/// The first pending delivery of each of those lanes is its head.
pub(super) const PROMOTE: &str = "
    insert into webhook_deliveries as d
        (organization_id, endpoint_id, sequence, lane, state, at, attempts, is_head)
    select $1, f.endpoint_id, f.sequence, t.lane, 'pending', f.at, f.attempts, true
    from unnest($2::text[]) as t (lane) cross join lateral (
        select p.endpoint_id, p.sequence, p.at, p.attempts
        from webhook_deliveries p
        where p.organization_id = $1 and p.lane = t.lane and p.state = 'pending'
        order by p.sequence
        limit 1) f
    on conflict (organization_id, endpoint_id, sequence) do update set is_head = true where not d.is_head";

/// What was the head of those lanes before, if anything, is so no more.
pub(super) const DEMOTE: &str = "
    insert into webhook_deliveries
        (organization_id, endpoint_id, sequence, lane, state, at, attempts, is_head)
    select $1, f.endpoint_id, f.sequence, t.lane, 'pending', f.at, f.attempts, false
    from unnest($2::text[]) as t (lane) cross join lateral (
        select p.endpoint_id, p.sequence, p.at, p.attempts
        from webhook_deliveries p
        where p.organization_id = $1 and p.lane = t.lane and p.state = 'pending' and p.is_head is not false
        order by p.sequence
        limit 1) f
    on conflict (organization_id, endpoint_id, sequence) do update set is_head = false";

/// Makes deliveries of the wanted events of a range pending, those that are not there included.
pub(super) const REPLAY: &str = concat!(
    "with meant as materialized (
        select c.sequence, ",
    lane!("$2"),
    " as lane
        from webhook_endpoints w join customer_events c
            on c.organization_id = $1 and c.stream = 0 and c.sequence >= $3 and c.sequence <= $4
        where w.organization_id = $1 and w.id = $2 and (cardinality(w.kinds) = 0 or c.kind = any(w.kinds))
        order by c.sequence
        limit $6
    )
    insert into webhook_deliveries as d
        (organization_id, endpoint_id, sequence, lane, state, at, attempts, is_head)
    select $1, $2, m.sequence, m.lane, 'pending', $5, 0, false from meant m
    on conflict (organization_id, endpoint_id, sequence) do update
    set state = 'pending', at = excluded.at, attempts = 0
    returning d.sequence, d.lane"
);

const POSITION: &str = "
    select w.position from webhook_endpoints w where w.organization_id = $1 and w.id = $2 and w.deleted_at is null
    for key share";

/// The page first, its events then.
macro_rules! deliveries {
    ($condition:literal) => {
        concat!(
            "select x.sequence, x.state, x.at, x.attempts, c.kind, c.customer_id
            from (
                select d.sequence, d.state, d.at, d.attempts
                from webhook_deliveries d
                where d.organization_id = $1 and d.endpoint_id = $2 and d.sequence < $3",
            $condition,
            "   and exists (select 1 from webhook_endpoints w
                    where w.organization_id = $1 and w.id = $2 and w.deleted_at is null)
                order by d.sequence desc
                limit $4) x
            cross join lateral (
                select e.kind, e.customer_id from customer_events e
                where e.organization_id = $1 and e.stream = 0 and e.sequence = x.sequence offset 0) c
            order by x.sequence desc"
        )
    };
}

pub(super) const DELIVERIES: &str = deliveries!("");
pub(super) const DELIVERIES_OF_STATE: &str = deliveries!(" and d.state = $5 ");

pub(super) const LOG: &str = "
    select a.sequence, a.at, a.duration_ms, a.status, a.failure
    from unnest($3::bigint[]) as k (sequence) cross join lateral (
        select l.sequence, l.number, l.at, l.duration_ms, l.status, l.failure
        from webhook_attempts l
        where l.organization_id = $1 and l.endpoint_id = $2 and l.sequence = k.sequence offset 0) a
    order by a.sequence, a.number";

/// The organizations of which something may be removed.
const WITH_OLD: &str = "
    select l.organization_id
    from webhook_leases l
    where exists (select 1 from webhook_deliveries d
            where d.organization_id = l.organization_id and d.state <> 'pending' and d.at < $1)
        or exists (select 1 from webhook_endpoints w
            where w.organization_id = l.organization_id and w.deleted_at is not null)
    order by l.organization_id";

pub(super) const PURGE: &str = "
    with old as materialized (
        (select d.endpoint_id, d.sequence
            from webhook_deliveries d
            where d.organization_id = $1 and d.state <> 'pending' and d.at < $2
            order by d.at
            limit $3)
        union
        (select v.endpoint_id, v.sequence
            from webhook_endpoints w cross join lateral (
                select d.endpoint_id, d.sequence
                from webhook_deliveries d
                where d.organization_id = $1 and d.endpoint_id = w.id
                order by d.sequence
                limit $3) v
            where w.organization_id = $1 and w.deleted_at is not null)
        limit $3
    ), forgotten as (
        delete from webhook_attempts a
        using old
        where a.organization_id = $1 and a.endpoint_id = old.endpoint_id and a.sequence = old.sequence
            and old.sequence > 0
    )
    delete from webhook_deliveries d
    using old
    where d.organization_id = $1 and d.endpoint_id = old.endpoint_id and d.sequence = old.sequence
        and old.sequence > 0";

const PURGE_ENDPOINTS: &str = "
    delete from webhook_endpoints w
    where w.organization_id = $1 and w.deleted_at is not null
        and not exists (select 1 from webhook_deliveries d where d.organization_id = $1 and d.endpoint_id = w.id)";

/// Who wants leases, and until when.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) owner: u128,
    pub(super) now: Timestamp,
    pub(super) until: Timestamp,
    pub(super) limit: u16,
    pub(super) except: Vec<i64>,
}

/// Takes leases, each by a statement of its own.
pub(super) async fn claim(session: &mut PgConnection, claim: &Claim) -> Result<Vec<OrganizationId>, ReadFailure> {
    let owner = claim.owner.to_be_bytes();
    let rows = sqlx::query(CLAIMABLE)
        .bind(SqlInstant(claim.now))
        .bind(i64::from(claim.limit))
        .bind(&claim.except)
        .fetch_all(&mut *session)
        .await?;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = row.try_get_unchecked(0)?;
        let taken = sqlx::query(CLAIM)
            .bind(id)
            .bind(owner.as_slice())
            .bind(SqlInstant(claim.now))
            .bind(SqlInstant(claim.until))
            .execute(&mut *session)
            .await?;
        if taken.rows_affected() == 1 {
            let read = Reader { row, table: "webhook_leases", id };
            claimed.push(OrganizationId::parse(id).map_err(|_| read.corrupt("organization_id"))?);
        }
    }
    Ok(claimed)
}

/// Prolongs leases, each by a statement of its own.
pub(super) async fn renew(
    session: &mut PgConnection,
    owner: u128,
    organizations: &[OrganizationId],
    until: Timestamp,
) -> Result<Vec<OrganizationId>, ReadFailure> {
    let owner = owner.to_be_bytes();
    let mut renewed = Vec::with_capacity(organizations.len());
    for organization in organizations {
        let renew = sqlx::query(RENEW).bind(organization.get()).bind(owner.as_slice()).bind(SqlInstant(until));
        if renew.execute(&mut *session).await?.rows_affected() == 1 {
            renewed.push(*organization);
        }
    }
    Ok(renewed)
}

/// Gives a lease back.
pub(super) async fn release(
    session: &mut PgConnection,
    owner: u128,
    organization: OrganizationId,
) -> Result<(), ReadFailure> {
    let owner = owner.to_be_bytes();
    sqlx::query(RELEASE).bind(organization.get()).bind(owner.as_slice()).execute(session).await?;
    Ok(())
}

/// Locks the lease until the transaction ends; answers its owner.
async fn lock(session: &mut PgConnection, organization: OrganizationId) -> Result<Option<u128>, ReadFailure> {
    let row = sqlx::query(LOCK).bind(organization.get()).fetch_optional(session).await?;
    let Some(row) = row else { return Ok(None) };
    let read = Reader { row: &row, table: "webhook_leases", id: organization.get() };
    read.optional(0, "owner", |bytes: &[u8]| bytes.try_into().ok().map(u128::from_be_bytes))
}

/// Who enqueues, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enqueueing {
    pub(super) organization: OrganizationId,
    pub(super) owner: u128,
    pub(super) now: Timestamp,
    pub(super) limit: u16,
}

/// Enqueues what follows the endpoints' positions; answers whether there is more.
pub(super) async fn enqueue(session: &mut PgConnection, work: &Enqueueing) -> Result<bool, ReadFailure> {
    let mut transaction = session.begin().await?;
    if lock(&mut transaction, work.organization).await? != Some(work.owner) {
        transaction.rollback().await?;
        return Ok(false);
    }
    let more: bool = sqlx::query_scalar(ENQUEUE)
        .bind(work.organization.get())
        .bind(i64::from(work.limit))
        .bind(SqlInstant(work.now))
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(more)
}

/// Deliveries that are due.
pub(super) async fn due(
    session: &mut PgConnection,
    organization: OrganizationId,
    now: Timestamp,
    each: u16,
    limit: u16,
) -> Result<Vec<DueDelivery>, ReadFailure> {
    let rows = sqlx::query(DUE)
        .bind(organization.get())
        .bind(SqlInstant(now))
        .bind(i64::from(limit))
        .bind(i64::from(each.min(limit)))
        .fetch_all(session)
        .await?;
    let delivery = |row: &PgRow| {
        let entry: LogEntry = events::entry(row)?;
        let read = Reader { row, table: "webhook_deliveries", id: entry.sequence.get() };
        Ok(DueDelivery {
            entry,
            endpoint: read.parsed(12, "endpoint_id", |id| WebhookId::parse(id).ok())?,
            attempts: read.parsed(13, "attempts", |attempts: i16| u16::try_from(attempts).ok())?,
        })
    };
    rows.iter().map(delivery).collect()
}

/// When the next delivery is due.
pub(super) async fn next_due(
    session: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Option<Timestamp>, ReadFailure> {
    let next: Option<SqlInstant> = sqlx::query_scalar(NEXT_DUE).bind(organization.get()).fetch_one(session).await?;
    Ok(next.map(|next| next.0))
}

/// Attempts that an owner settles.
#[derive(Debug, Clone)]
pub(super) struct Settling {
    pub(super) organization: OrganizationId,
    pub(super) owner: u128,
    pub(super) settlements: Vec<Settlement>,
}

/// Settles what is as expected; answers for each whether it was.
pub(super) async fn settle(session: &mut PgConnection, work: &Settling) -> Result<Vec<bool>, ReadFailure> {
    let mut verdicts = vec![false; work.settlements.len()];
    let mut transaction = session.begin().await?;
    if lock(&mut transaction, work.organization).await? != Some(work.owner) {
        transaction.rollback().await?;
        return Ok(verdicts);
    }
    let organization = work.organization.get();
    let rows = bind(work).fetch_all(&mut *transaction).await?;
    let mut lanes: Vec<&str> = Vec::new();
    for row in &rows {
        let read = Reader { row, table: "webhook_deliveries", id: organization };
        let place: i64 = read.get(0)?;
        if let Some(verdict) = usize::try_from(place - 1).ok().and_then(|place| verdicts.get_mut(place)) {
            *verdict = true;
        }
        let goes_on: bool = read.get(2)?;
        if !goes_on {
            lanes.push(read.get(1)?);
        }
    }
    if !lanes.is_empty() {
        sqlx::query(PROMOTE).bind(organization).bind(lanes).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(verdicts)
}

/// Binds each delivery once, with its place from 1; what comes again could apply to nothing.
fn bind(work: &Settling) -> super::statements::Bound<'_> {
    let mut seen = HashSet::new();
    let first: Vec<(i64, &Settlement)> =
        (1..).zip(&work.settlements).filter(|(_, one)| seen.insert((one.endpoint, one.sequence))).collect();
    let all = || first.iter().map(|(_, one)| *one);
    let small = |number: u16| i16::try_from(number).unwrap_or(i16::MAX);
    sqlx::query(SETTLE)
        .bind(work.organization.get())
        .bind(first.iter().map(|(place, _)| *place).collect::<Vec<_>>())
        .bind(all().map(|one| one.endpoint.to_string()).collect::<Vec<_>>())
        .bind(all().map(|one| one.sequence.get()).collect::<Vec<_>>())
        .bind(all().map(|one| small(one.attempts_before)).collect::<Vec<_>>())
        .bind(all().map(|one| one.next.status().label()).collect::<Vec<_>>())
        .bind(all().map(|one| SqlInstant(one.next.at())).collect::<Vec<_>>())
        .bind(all().map(|one| SqlInstant(one.attempt.at)).collect::<Vec<_>>())
        .bind(all().map(|one| i64::from(one.attempt.duration_ms)).collect::<Vec<_>>())
        .bind(all().map(|one| one.attempt.status.map(small)).collect::<Vec<_>>())
        .bind(all().map(|one| one.attempt.failure.map(FailureKind::label)).collect::<Vec<_>>())
}

/// Makes deliveries pending again; `None` where there is no such endpoint.
pub(super) async fn replay(session: &mut PgConnection, replay: &Replay) -> Result<Option<Replayed>, ReadFailure> {
    let (organization, endpoint) = (replay.organization.get(), replay.endpoint.to_string());
    let mut transaction = session.begin().await?;
    lock(&mut transaction, replay.organization).await?;
    let position: Option<i64> =
        sqlx::query_scalar(POSITION).bind(organization).bind(&endpoint).fetch_optional(&mut *transaction).await?;
    let Some(position) = position else {
        transaction.rollback().await?;
        return Ok(None);
    };
    let rows = sqlx::query(REPLAY)
        .bind(organization)
        .bind(&endpoint)
        .bind(replay.from.get())
        .bind(replay.to.get().min(position))
        .bind(SqlInstant(replay.now))
        .bind(i64::from(Replay::LIMIT))
        .fetch_all(&mut *transaction)
        .await?;
    let mut last = None;
    let mut lanes: Vec<&str> = Vec::with_capacity(rows.len());
    for row in &rows {
        let read = Reader { row, table: "webhook_deliveries", id: organization };
        last = last.max(Some(read.parsed(0, "sequence", |number| Sequence::parse(number).ok())?));
        lanes.push(read.get(1)?);
    }
    lanes.sort_unstable();
    lanes.dedup();
    for statement in [DEMOTE, PROMOTE] {
        sqlx::query(statement).bind(organization).bind(&lanes).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    let is_cut = rows.len() == usize::from(Replay::LIMIT);
    Ok(Some(Replayed { count: rows.len() as u64, cut_after: last.filter(|_| is_cut) }))
}

/// A page of deliveries with their logs.
pub(super) async fn deliveries(
    session: &mut PgConnection,
    query: &DeliveryQuery,
) -> Result<Vec<DeliveryRecord>, ReadFailure> {
    let (organization, endpoint) = (query.organization.get(), query.endpoint.to_string());
    let sql = if query.status.is_some() { DELIVERIES_OF_STATE } else { DELIVERIES };
    let mut page = sqlx::query(sql)
        .bind(organization)
        .bind(&endpoint)
        .bind(query.before.map_or(i64::MAX, Sequence::get))
        .bind(i64::from(query.limit));
    if let Some(status) = query.status {
        page = page.bind(status.label());
    }
    let rows = page.fetch_all(&mut *session).await?;
    let mut records = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let sequences: Vec<i64> = records.iter().map(|record| record.sequence.get()).collect();
    let rows = sqlx::query(LOG).bind(organization).bind(&endpoint).bind(sequences).fetch_all(session).await?;
    let mut logs: HashMap<i64, Vec<Attempt>> = HashMap::new();
    for row in &rows {
        let sequence: i64 = row.try_get_unchecked(0)?;
        let read = Reader { row, table: "webhook_attempts", id: sequence };
        logs.entry(sequence).or_default().push(attempt(&read)?);
    }
    for record in &mut records {
        record.log = logs.remove(&record.sequence.get()).unwrap_or_default();
    }
    Ok(records)
}

fn record(row: &PgRow) -> Result<DeliveryRecord, ReadFailure> {
    let sequence: i64 = row.try_get_unchecked(0)?;
    let read = Reader { row, table: "webhook_deliveries", id: sequence };
    let status = read.parsed(1, "state", DeliveryStatus::from_label)?;
    let state: DeliveryState = status.at(read.get::<SqlInstant>(2)?.0);
    Ok(DeliveryRecord {
        sequence: Sequence::parse(sequence).map_err(|_| read.corrupt("sequence"))?,
        kind: read.parsed(4, "kind", |name| EventName::parse(name).ok())?,
        customer: read.optional(5, "customer_id", |id| CustomerId::parse(id).ok())?,
        state,
        attempts: read.parsed(3, "attempts", |attempts: i16| u16::try_from(attempts).ok())?,
        log: Vec::new(),
    })
}

fn attempt(read: &Reader<'_>) -> Result<Attempt, ReadFailure> {
    Ok(Attempt {
        at: read.get::<SqlInstant>(1)?.0,
        duration_ms: read.parsed(2, "duration_ms", |duration: i64| u32::try_from(duration).ok())?,
        status: read.optional(3, "status", |status: i16| u16::try_from(status).ok())?,
        failure: read.optional(4, "failure", FailureKind::from_label)?,
    })
}

/// Removes what is over, each organization's by a transaction of its own.
pub(super) async fn purge(session: &mut PgConnection, before: Timestamp, limit: u32) -> Result<u64, ReadFailure> {
    let organizations: Vec<i64> =
        sqlx::query_scalar(WITH_OLD).bind(SqlInstant(before)).fetch_all(&mut *session).await?;
    let mut gone = 0;
    for organization in organizations {
        let left = i64::from(limit) - i64::try_from(gone).unwrap_or(i64::MAX);
        if left <= 0 {
            break;
        }
        let mut transaction = session.begin().await?;
        sqlx::query(LOCK).bind(organization).execute(&mut *transaction).await?;
        let deleted = sqlx::query(PURGE)
            .bind(organization)
            .bind(SqlInstant(before))
            .bind(left)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(PURGE_ENDPOINTS).bind(organization).execute(&mut *transaction).await?;
        transaction.commit().await?;
        gone += deleted.rows_affected();
    }
    Ok(gone)
}
