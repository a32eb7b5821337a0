//! Deliveries of webhooks in SQLite, and the leases under which they are made. What is enqueued, settled or replayed is
//! so by the one writer, and therefore one after the other. Must not know how endpoints are written.

use std::collections::HashMap;

use async_trait::async_trait;
use custodia_domain::ports::{LogEntry, StoreError, WebhookStore};
use custodia_domain::webhook::{
    Attempt, DeliveryQuery, DeliveryRecord, DeliveryStatus, DueDelivery, EventName, FailureKind, Replay, Replayed,
    Settlement, WebhookEndpoint, WebhookId,
};
use custodia_domain::{OrganizationId, Sequence, Timestamp};
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::error::store_error;
use super::rows::{self, Fields, event_columns};

/// The leases that may be taken, and of whom something is to be done. There is one row for each organization with
/// webhooks.
pub(super) const SELECT_CLAIMABLE: &str = "select l.organization_id
    from webhook_leases l join organizations o on o.id = l.organization_id
    where (l.owner is null or l.ends_at <= ?1) and l.organization_id not in (select value from json_each(?3))
        and exists (select 1 from webhook_endpoints w
            where w.organization_id = l.organization_id and w.deleted_at is null and w.disabled_at is null
                and (w.position < o.next_sequence - 1
                    or exists (select 1 from webhook_deliveries d
                        where d.organization_id = w.organization_id and d.endpoint_id = w.id and d.is_head = 1
                            and d.at <= ?1)))
    order by l.ends_at nulls first, l.organization_id
    limit ?2";
const CLAIM: &str = "update webhook_leases set owner = ?2, ends_at = ?4
    where organization_id = ?1 and (owner is null or ends_at <= ?3)";
const RENEW: &str = "update webhook_leases set ends_at = ?3 where organization_id = ?1 and owner = ?2";
// The instant stays: it tells since when nobody has had it.
const RELEASE: &str = "update webhook_leases set owner = null where organization_id = ?1 and owner = ?2";
const IS_OWNER: &str = "select 1 from webhook_leases where organization_id = ?1 and owner = ?2";

/// The lane of an event.
macro_rules! lane {
    () => {
        "case when customer_id is null then 's' || subject else 'c' || customer_id end"
    };
}

const SELECT_BEHIND: &str = "select w.id, w.position, o.next_sequence - 1
    from organizations o join webhook_endpoints w on w.organization_id = o.id
    where o.id = ?1 and w.deleted_at is null and w.disabled_at is null and w.position < o.next_sequence - 1";
pub(super) const SELECT_REACHED: &str = "select count(*), max(sequence)
    from (select sequence from customer_events
        where organization_id = ?1 and stream = 0 and sequence > ?2 order by sequence limit ?3)";
pub(super) const ENQUEUE: &str = concat!(
    "insert into webhook_deliveries (organization_id, endpoint_id, sequence, lane, state, at, attempts, is_head)
    select ?1, ?2, s.sequence, s.lane, 'pending', ?5, 0,
        row_number() over (partition by s.lane order by s.sequence) = 1
            and not exists (select 1 from webhook_deliveries d
                where d.organization_id = ?1 and d.endpoint_id = ?2 and d.lane = s.lane and d.state = 'pending')
    from (
        select sequence, kind, ",
    lane!(),
    " as lane from customer_events
        where organization_id = ?1 and stream = 0 and sequence > ?3 and sequence <= ?4) s
    join webhook_endpoints w on w.organization_id = ?1 and w.id = ?2
    where w.kinds = '[]' or s.kind in (select value from json_each(w.kinds))"
);
const MOVE: &str = "update webhook_endpoints set position = ?3 where organization_id = ?1 and id = ?2";

const SELECT_ENABLED: &str = "select id from webhook_endpoints
    where organization_id = ?1 and deleted_at is null and disabled_at is null";
pub(super) const SELECT_HEADS: &str = "select sequence, at, attempts from webhook_deliveries
    where organization_id = ?1 and endpoint_id = ?2 and is_head = 1 and at <= ?3 order by at, sequence limit ?4";
const SELECT_EVENTS: &str = concat!(
    "select ",
    event_columns!(),
    " from customer_events where organization_id = ?1 and stream = 0 and sequence in (select value from json_each(?2))"
);

pub(super) const SETTLE: &str = "update webhook_deliveries
    set state = ?5, at = ?6, attempts = attempts + 1, is_head = is_head and ?5 = 'pending'
    where organization_id = ?1 and endpoint_id = ?2 and sequence = ?3 and state = 'pending' and attempts = ?4
        and exists (select 1 from webhook_endpoints
            where organization_id = ?1 and id = ?2 and deleted_at is null)
    returning lane";
const INSERT_ATTEMPT: &str = "insert into webhook_attempts (organization_id, endpoint_id, sequence, number, at,
        duration_ms, status, failure)
    select ?1, ?2, ?3, coalesce(max(number), 0) + 1, ?4, ?5, ?6, ?7 from webhook_attempts
    where organization_id = ?1 and endpoint_id = ?2 and sequence = ?3";

/// Makes deliveries of the wanted events of a range pending, those that are not there included.
const REPLAY: &str = concat!(
    "insert into webhook_deliveries (organization_id, endpoint_id, sequence, lane, state, at, attempts, is_head)
    select ?1, ?2, c.sequence, ",
    lane!(),
    ", 'pending', ?5, 0, 0
    from webhook_endpoints w join customer_events c
        on c.organization_id = ?1 and c.stream = 0 and c.sequence >= ?3 and c.sequence <= min(?4, w.position)
    where w.organization_id = ?1 and w.id = ?2
        and (w.kinds = '[]' or c.kind in (select value from json_each(w.kinds)))
    order by c.sequence
    limit ?6
    on conflict (organization_id, endpoint_id, sequence) do update set state = 'pending', at = excluded.at, attempts = 0
    returning sequence, lane"
);
pub(super) const DEMOTE: &str = "update webhook_deliveries indexed by webhook_deliveries_by_lane set is_head = 0
    where organization_id = ?1 and endpoint_id = ?2 and lane in (select value from json_each(?3))
        and state = 'pending' and is_head = 1";
/// The first pending delivery of each of those lanes is its head.
pub(super) const PROMOTE: &str = "update webhook_deliveries set is_head = 1
    where organization_id = ?1 and endpoint_id = ?2 and sequence in (
        select (select min(p.sequence) from webhook_deliveries p
            where p.organization_id = ?1 and p.endpoint_id = ?2 and p.lane = lanes.value and p.state = 'pending')
        from json_each(?3) lanes)";

/// A page of deliveries of an endpoint that is there.
macro_rules! deliveries {
    ($index:literal, $condition:literal) => {
        concat!(
            "select sequence, state, at, attempts from webhook_deliveries",
            $index,
            " where organization_id = ?1 and endpoint_id = ?2 and sequence < ?3",
            $condition,
            " and exists (select 1 from webhook_endpoints where organization_id = ?1 and id = ?2 and deleted_at is null)
            order by sequence desc limit ?4"
        )
    };
}

pub(super) const SELECT_PAGE: &str = deliveries!("", "");
pub(super) const SELECT_PAGE_OF_STATE: &str = deliveries!(" indexed by webhook_deliveries_by_state", " and state = ?5");
const SELECT_LOG: &str = "select sequence, at, duration_ms, status, failure from webhook_attempts
    where organization_id = ?1 and endpoint_id = ?2 and sequence in (select value from json_each(?3))
    order by sequence, number";

const SELECT_ORGANIZATIONS: &str = "select organization_id from webhook_leases order by organization_id";
pub(super) const PURGE_OVER: &str = "delete from webhook_deliveries
    where (organization_id, endpoint_id, sequence) in (
        select organization_id, endpoint_id, sequence from webhook_deliveries
        where organization_id = ?1 and state <> 'pending' and at < ?2 order by at limit ?3)
    returning endpoint_id, sequence";
pub(super) const PURGE_DELETED: &str = "delete from webhook_deliveries
    where (organization_id, endpoint_id, sequence) in (
        select d.organization_id, d.endpoint_id, d.sequence
        from webhook_endpoints w cross join webhook_deliveries d
            on d.organization_id = w.organization_id and d.endpoint_id = w.id
        where w.organization_id = ?1 and w.deleted_at is not null limit ?2)
    returning endpoint_id, sequence";
const PURGE_LOG: &str =
    "delete from webhook_attempts where organization_id = ?1 and endpoint_id = ?2 and sequence = ?3";
const PURGE_ENDPOINTS: &str = "delete from webhook_endpoints
    where organization_id = ?1 and deleted_at is not null and not exists (select 1 from webhook_deliveries d
        where d.organization_id = webhook_endpoints.organization_id and d.endpoint_id = webhook_endpoints.id)";

/// An owner as it is kept.
fn key(owner: u128) -> Vec<u8> {
    owner.to_be_bytes().to_vec()
}

async fn is_owner(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    owner: u128,
) -> Result<bool, sqlx::Error> {
    let selected = sqlx::query(IS_OWNER).bind(organization.get()).bind(key(owner));
    Ok(selected.fetch_optional(connection).await?.is_some())
}

/// Takes those leases that are still to be had.
async fn claim(
    connection: &mut SqliteConnection,
    organizations: Vec<OrganizationId>,
    owner: u128,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<OrganizationId>, sqlx::Error> {
    let mut claimed = Vec::with_capacity(organizations.len());
    for organization in organizations {
        let claim = sqlx::query(CLAIM)
            .bind(organization.get())
            .bind(key(owner))
            .bind(now.microseconds())
            .bind(until.microseconds());
        if claim.execute(&mut *connection).await?.rows_affected() == 1 {
            claimed.push(organization);
        }
    }
    Ok(claimed)
}

async fn renew(
    connection: &mut SqliteConnection,
    owner: u128,
    organizations: Vec<OrganizationId>,
    until: Timestamp,
) -> Result<Vec<OrganizationId>, sqlx::Error> {
    let mut renewed = Vec::with_capacity(organizations.len());
    for organization in organizations {
        let renew = sqlx::query(RENEW).bind(organization.get()).bind(key(owner)).bind(until.microseconds());
        if renew.execute(&mut *connection).await?.rows_affected() == 1 {
            renewed.push(organization);
        }
    }
    Ok(renewed)
}

async fn enqueue(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    now: Timestamp,
    limit: u16,
) -> Result<bool, sqlx::Error> {
    let behind = sqlx::query(SELECT_BEHIND).bind(organization.get()).fetch_all(&mut *connection).await?;
    let mut more = false;
    for row in behind {
        let (endpoint, position, last): (&str, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let looked = sqlx::query(SELECT_REACHED).bind(organization.get()).bind(position).bind(i64::from(limit));
        let looked = looked.fetch_one(&mut *connection).await?;
        let (count, reached): (i64, Option<i64>) = (looked.try_get(0)?, looked.try_get(1)?);
        let reached = reached.filter(|_| count >= i64::from(limit)).unwrap_or(last);
        let queue = sqlx::query(ENQUEUE)
            .bind(organization.get())
            .bind(endpoint)
            .bind(position)
            .bind(reached)
            .bind(now.microseconds());
        queue.execute(&mut *connection).await?;
        sqlx::query(MOVE).bind(organization.get()).bind(endpoint).bind(reached).execute(&mut *connection).await?;
        more |= reached < last;
    }
    Ok(more)
}

async fn settle(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    settlement: &Settlement,
) -> Result<bool, sqlx::Error> {
    let Settlement { endpoint, sequence, attempts_before, attempt, next } = settlement;
    let endpoint = endpoint.to_string();
    let settled = sqlx::query(SETTLE)
        .bind(organization.get())
        .bind(&endpoint)
        .bind(sequence.get())
        .bind(i64::from(*attempts_before))
        .bind(next.status().label())
        .bind(next.at().microseconds());
    let Some(row) = settled.fetch_optional(&mut *connection).await? else {
        return Ok(false);
    };
    let log = sqlx::query(INSERT_ATTEMPT)
        .bind(organization.get())
        .bind(&endpoint)
        .bind(sequence.get())
        .bind(attempt.at.microseconds())
        .bind(i64::from(attempt.duration_ms))
        .bind(attempt.status.map(i64::from))
        .bind(attempt.failure.map(FailureKind::label));
    log.execute(&mut *connection).await?;
    match next.status() {
        DeliveryStatus::Pending => {}
        DeliveryStatus::Delivered | DeliveryStatus::Parked => {
            let lanes = serde_json::json!([row.try_get::<&str, _>(0)?]).to_string();
            let promote = sqlx::query(PROMOTE).bind(organization.get()).bind(&endpoint).bind(lanes);
            promote.execute(connection).await?;
        }
    }
    Ok(true)
}

async fn replay(connection: &mut SqliteConnection, replay: &Replay) -> Result<Replayed, sqlx::Error> {
    let (organization, endpoint) = (replay.organization.get(), replay.endpoint.to_string());
    let replayed = sqlx::query(REPLAY)
        .bind(organization)
        .bind(&endpoint)
        .bind(replay.from.get())
        .bind(replay.to.get())
        .bind(replay.now.microseconds())
        .bind(i64::from(Replay::LIMIT));
    let rows = replayed.fetch_all(&mut *connection).await?;
    let mut last = None;
    let mut lanes = std::collections::BTreeSet::new();
    for row in &rows {
        last = last.max(Sequence::parse(row.try_get(0)?).ok());
        lanes.insert(row.try_get::<&str, _>(1)?);
    }
    let lanes = serde_json::to_string(&lanes).expect("a list of texts is JSON");
    for statement in [DEMOTE, PROMOTE] {
        sqlx::query(statement).bind(organization).bind(&endpoint).bind(&lanes).execute(&mut *connection).await?;
    }
    let is_cut = rows.len() == usize::from(Replay::LIMIT);
    Ok(Replayed { count: rows.len() as u64, cut_after: last.filter(|_| is_cut) })
}

async fn purge(connection: &mut SqliteConnection, before: Timestamp, limit: u32) -> Result<u64, sqlx::Error> {
    let organizations = sqlx::query(SELECT_ORGANIZATIONS).fetch_all(&mut *connection).await?;
    let mut left = i64::from(limit);
    for row in organizations {
        let organization: i64 = row.try_get(0)?;
        let over = sqlx::query(PURGE_OVER).bind(organization).bind(before.microseconds()).bind(left);
        let mut gone = over.fetch_all(&mut *connection).await?;
        left -= i64::try_from(gone.len()).unwrap_or(left);
        let deleted = sqlx::query(PURGE_DELETED).bind(organization).bind(left).fetch_all(&mut *connection).await?;
        left -= i64::try_from(deleted.len()).unwrap_or(left);
        gone.extend(deleted);
        for row in &gone {
            let (endpoint, sequence): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
            let forget = sqlx::query(PURGE_LOG).bind(organization).bind(endpoint).bind(sequence);
            forget.execute(&mut *connection).await?;
        }
        sqlx::query(PURGE_ENDPOINTS).bind(organization).execute(&mut *connection).await?;
    }
    Ok(u64::from(limit) - u64::try_from(left).unwrap_or_default())
}

impl SqliteStore {
    /// The events of those sequences.
    async fn events_at(
        &self,
        organization: OrganizationId,
        sequences: &[i64],
    ) -> Result<HashMap<Sequence, LogEntry>, StoreError> {
        let sequences = serde_json::to_string(sequences).expect("a list of numbers is JSON");
        let selected = sqlx::query(SELECT_EVENTS).bind(organization.get()).bind(sequences);
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(|row| rows::entry(row).map(|entry| (entry.sequence, entry))).collect()
    }

    async fn enabled(&self, organization: OrganizationId) -> Result<Vec<String>, StoreError> {
        let selected = sqlx::query(SELECT_ENABLED).bind(organization.get());
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(|row| row.try_get(0).map_err(store_error)).collect()
    }

    /// The first deliveries of an endpoint that are due by then: sequence, instant and attempts.
    async fn heads(
        &self,
        organization: OrganizationId,
        endpoint: &str,
        until: i64,
        limit: u16,
    ) -> Result<Vec<(Sequence, Timestamp, u16)>, StoreError> {
        let selected =
            sqlx::query(SELECT_HEADS).bind(organization.get()).bind(endpoint).bind(until).bind(i64::from(limit));
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let head = |row| {
            let mut fields = Fields::of(row, "webhook_deliveries", "sequence, at, attempts");
            let sequence = fields.number(Sequence::parse)?;
            let at = fields.number(Timestamp::from_microseconds)?;
            Ok((sequence, at, fields.number(u16::try_from)?))
        };
        rows.iter().map(head).collect()
    }

    async fn logs(
        &self,
        query: &DeliveryQuery,
        sequences: &[i64],
    ) -> Result<HashMap<Sequence, Vec<Attempt>>, StoreError> {
        let sequences = serde_json::to_string(sequences).expect("a list of numbers is JSON");
        let selected =
            sqlx::query(SELECT_LOG).bind(query.organization.get()).bind(query.endpoint.to_string()).bind(sequences);
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let mut logs: HashMap<Sequence, Vec<Attempt>> = HashMap::new();
        for row in &rows {
            let mut fields = Fields::of(row, "webhook_attempts", "sequence, at, duration_ms, status, failure");
            let sequence = fields.number(Sequence::parse)?;
            let attempt = Attempt {
                at: fields.number(Timestamp::from_microseconds)?,
                duration_ms: fields.number(u32::try_from)?,
                status: fields.optional_number(u16::try_from)?,
                failure: fields.optional_text(|label| FailureKind::from_label(label).ok_or(()))?,
            };
            logs.entry(sequence).or_default().push(attempt);
        }
        Ok(logs)
    }
}

#[async_trait]
impl WebhookStore for SqliteStore {
    async fn endpoints(&self, organization: OrganizationId) -> Result<Vec<WebhookEndpoint>, StoreError> {
        self.find_endpoints(organization).await
    }

    async fn endpoint(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<WebhookEndpoint>, StoreError> {
        self.find_endpoint(organization, id).await
    }

    async fn claim(
        &self,
        owner: u128,
        now: Timestamp,
        until: Timestamp,
        limit: u16,
        except: &[OrganizationId],
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let except: Vec<_> = except.iter().map(|one| one.get()).collect();
        let except = serde_json::to_string(&except).expect("a list of numbers is JSON");
        let selected = sqlx::query(SELECT_CLAIMABLE).bind(now.microseconds()).bind(i64::from(limit)).bind(except);
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let organization = |row| Fields::of(row, "webhook_leases", "organization_id").number(OrganizationId::parse);
        let organizations = rows.iter().map(organization).collect::<Result<Vec<_>, _>>()?;
        // Most of the time there is nothing to do, and the writer need not be asked.
        if organizations.is_empty() {
            return Ok(organizations);
        }
        self.write(move |connection| {
            Box::pin(
                async move { claim(connection, organizations, owner, now, until).await.map(Ok).map_err(store_error) },
            )
        })
        .await
    }

    async fn renew(
        &self,
        owner: u128,
        organizations: &[OrganizationId],
        until: Timestamp,
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let organizations = organizations.to_vec();
        self.write(move |connection| {
            Box::pin(async move { renew(connection, owner, organizations, until).await.map(Ok).map_err(store_error) })
        })
        .await
    }

    async fn release(&self, owner: u128, organization: OrganizationId) -> Result<(), StoreError> {
        self.write(move |connection| {
            Box::pin(async move {
                let release = sqlx::query(RELEASE).bind(organization.get()).bind(key(owner));
                release.execute(connection).await.map(|_| Ok(())).map_err(store_error)
            })
        })
        .await
    }

    async fn enqueue(
        &self,
        organization: OrganizationId,
        owner: u128,
        now: Timestamp,
        limit: u16,
    ) -> Result<bool, StoreError> {
        let behind = sqlx::query(SELECT_BEHIND).bind(organization.get()).fetch_optional(&self.readers).await;
        // Most of the time there is nothing to do, and the writer need not be asked.
        if behind.map_err(store_error)?.is_none() {
            return Ok(false);
        }
        self.write(move |connection| {
            Box::pin(async move {
                if !is_owner(connection, organization, owner).await.map_err(store_error)? {
                    return Ok(Ok(false));
                }
                enqueue(connection, organization, now, limit).await.map(Ok).map_err(store_error)
            })
        })
        .await
    }

    async fn due(
        &self,
        organization: OrganizationId,
        now: Timestamp,
        each: u16,
        limit: u16,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let mut due = Vec::new();
        for endpoint in self.enabled(organization).await? {
            let heads = self.heads(organization, &endpoint, now.microseconds(), each.min(limit)).await?;
            let id = WebhookId::parse(&endpoint).map_err(|_| StoreError::Corrupt {
                table: "webhook_endpoints",
                column: "id",
                id: organization.get(),
            })?;
            let turns = heads.into_iter().enumerate();
            due.extend(turns.map(|(turn, (sequence, at, attempts))| (turn, at, sequence, id, attempts)));
        }
        due.sort_unstable();
        due.truncate(usize::from(limit));
        let sequences: Vec<i64> = due.iter().map(|(_, _, sequence, ..)| sequence.get()).collect();
        let entries = self.events_at(organization, &sequences).await?;
        let delivery = |(_, _, sequence, endpoint, attempts)| {
            let entry = entries.get(&sequence).cloned().ok_or(StoreError::Corrupt {
                table: "webhook_deliveries",
                column: "sequence",
                id: sequence.get(),
            })?;
            Ok(DueDelivery { endpoint, entry, attempts })
        };
        due.into_iter().map(delivery).collect()
    }

    async fn settle(
        &self,
        organization: OrganizationId,
        owner: u128,
        settlements: &[Settlement],
    ) -> Result<Vec<bool>, StoreError> {
        let settlements = settlements.to_vec();
        self.write(move |connection| {
            Box::pin(async move {
                if !is_owner(connection, organization, owner).await.map_err(store_error)? {
                    return Ok(Ok(vec![false; settlements.len()]));
                }
                let mut verdicts = Vec::with_capacity(settlements.len());
                for settlement in &settlements {
                    verdicts.push(settle(connection, organization, settlement).await.map_err(store_error)?);
                }
                Ok(Ok(verdicts))
            })
        })
        .await
    }

    async fn next_due(&self, organization: OrganizationId) -> Result<Option<Timestamp>, StoreError> {
        let mut next = None;
        for endpoint in self.enabled(organization).await? {
            let first = self.heads(organization, &endpoint, i64::MAX, 1).await?;
            next = first.first().map(|(_, at, _)| *at).into_iter().chain(next).min();
        }
        Ok(next)
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        let text = if query.status.is_some() { SELECT_PAGE_OF_STATE } else { SELECT_PAGE };
        let mut selected = sqlx::query(text)
            .bind(query.organization.get())
            .bind(query.endpoint.to_string())
            .bind(query.before.map_or(i64::MAX, Sequence::get))
            .bind(i64::from(query.limit));
        if let Some(status) = query.status {
            selected = selected.bind(status.label());
        }
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let sequences: Vec<i64> =
            rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(store_error)?;
        let entries = self.events_at(query.organization, &sequences).await?;
        let mut logs = self.logs(query, &sequences).await?;
        let record = |row| {
            let mut fields = Fields::of(row, "webhook_deliveries", "sequence, state, at, attempts");
            let sequence = fields.number(Sequence::parse)?;
            let status = fields.text(|label| DeliveryStatus::from_label(label).ok_or(()))?;
            let state = status.at(fields.number(Timestamp::from_microseconds)?);
            let attempts = fields.number(u16::try_from)?;
            let event = entries.get(&sequence).map(|entry| &entry.event);
            let event = event.ok_or_else(|| fields.corrupt_by("sequence"))?;
            let kind = EventName::parse(event.name()).map_err(|_| fields.corrupt_by("sequence"))?;
            let log = logs.remove(&sequence).unwrap_or_default();
            Ok(DeliveryRecord { sequence, kind, customer: event.customer(), state, attempts, log })
        };
        rows.iter().map(record).collect()
    }

    async fn replay(&self, asked: &Replay) -> Result<Option<Replayed>, StoreError> {
        let asked = *asked;
        if self.find_endpoint(asked.organization, asked.endpoint).await?.is_none() {
            return Ok(None);
        }
        // Where the endpoint is deleted meanwhile, what is replayed to it goes with the rest.
        self.write(move |connection| {
            Box::pin(async move { replay(connection, &asked).await.map(|done| Ok(Some(done))).map_err(store_error) })
        })
        .await
    }

    async fn purge_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(move |connection| {
            Box::pin(async move { purge(connection, before, limit).await.map(Ok).map_err(store_error) })
        })
        .await
    }
}
