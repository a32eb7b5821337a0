//! Events and receipts as rows: how they are read again, and how old receipts go. Must not know how they are written.

use std::collections::HashMap;
use std::fmt::Write as _;

use custodia_domain::ports::{EventQuery, LogEntry, LoggedEvent, RecordedEvent};
use custodia_domain::record::{RecordEvent, RecordKind};
use custodia_domain::{
    Actor, Answer, Audit, CustomerEvent, CustomerId, EventKind, ExternalId, Fingerprint, OrganizationId, Receipt,
    ReceiptKey, RequestId, Sequence, Timestamp, Version,
};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe, PgConnection, Row as _};

use super::columns::SqlInstant;
use super::customers::{ReadFailure, Reader};
use super::fault::Failure;
use crate::changes;

/// The columns of an event, in the order in which [`recorded`] reads them.
macro_rules! event_columns {
    () => {
        "e.sequence, e.customer_id, e.version, e.kind, e.external_id, e.at, e.actor, e.request_id, \
         e.idempotency_key, e.reason, e.changed::text, e.subject"
    };
}
pub(super) use event_columns;

/// A limit is part of the statement's text; a few sizes bound the number of texts.
const LIMITS: [u16; 6] = [1, 10, 50, 100, 200, 500];

fn rounded(limit: u16) -> u16 {
    LIMITS.into_iter().find(|size| *size >= limit).unwrap_or(limit)
}

/// Each receipt is looked up by its key, as customers are.
pub(super) const RECEIPTS: &str = "
    select f.key, f.fingerprint, f.at, f.status, f.headers, f.body
    from unnest($2::bytea[]) as k (key) cross join lateral (
        select r.key, r.fingerprint, r.at, r.status, r.headers::text, r.body
        from receipts r where r.organization_id = $1 and r.key = k.key offset 0) f";

const ORGANIZATIONS_WITH_OLD_RECEIPTS: &str = "
    select o.id
    from organizations o
    where exists (select 1 from receipts r where r.organization_id = o.id and r.at < $1)
    order by o.id";

const PURGE: &str = "
    delete from receipts r
    where r.organization_id = $1
        and r.key in (select old.key from receipts old
            where old.organization_id = $1 and old.at < $2 order by old.at limit $3)
        and r.at < $2";

/// The events that match, oldest first.
pub(super) async fn events(session: &mut PgConnection, query: &EventQuery) -> Result<Vec<LogEntry>, ReadFailure> {
    let (sql, arguments) = statement(query);
    let rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(session).await?;
    rows.iter().take(usize::from(query.limit)).map(entry).collect()
}

/// A customer's own events and those of its records have an index each, and so are two walks.
fn statement(query: &EventQuery) -> (String, PgArguments) {
    let mut arguments = PgArguments::default();
    let encoded = "numbers and texts are always encoded";
    let written = "a text takes any text";
    arguments.add(query.organization.get()).expect(encoded);
    arguments.add(query.after.map_or(0, Sequence::get)).expect(encoded);
    arguments.add(query.through.map_or(i64::MAX, Sequence::get)).expect(encoded);
    let mut sql = String::from(concat!(
        "select ",
        event_columns!(),
        " from customer_events e where e.organization_id = $1 and e.stream = 0 and e.sequence > $2 and e.sequence <= $3"
    ));
    let mut bound = 3;
    if let Some(customer) = query.customer {
        bound += 1;
        write!(sql, " and e.customer_id = ${bound}").expect(written);
        arguments.add(customer.get()).expect(encoded);
    }
    if !query.kinds.is_empty() {
        bound += 1;
        write!(sql, " and e.kind = any(${bound})").expect(written);
        arguments.add(query.kinds.clone()).expect(encoded);
    }
    let order = format!("order by e.sequence limit {}", rounded(query.limit));
    if query.customer.is_some() {
        let limit = rounded(query.limit);
        // A customer's own events are in the order of its versions, which is that of their index.
        let own = format!("({sql} and e.subject is null order by e.version limit {limit})");
        let records = format!("({sql} and e.subject is not null {order})");
        let sql = format!(concat!("select ", event_columns!(), " from ({} union all {}) e {}"), own, records, order);
        return (sql, arguments);
    }
    write!(sql, " {order}").expect(written);
    (sql, arguments)
}

/// The last sequence of each organization, in their order; the key's index has it at its end.
pub(super) const LAST_SEQUENCES: &str = "
    select (select e.sequence from customer_events e
        where e.organization_id = o.id and e.stream = 0 order by e.sequence desc limit 1)
    from unnest($1::bigint[]) with ordinality as o (id, place)
    order by o.place";

/// The sequences of those organizations' last events, in their order.
pub(super) async fn last_sequences(
    session: &mut PgConnection,
    organizations: &[OrganizationId],
) -> Result<Vec<Option<Sequence>>, ReadFailure> {
    let wanted: Vec<i64> = organizations.iter().map(|organization| organization.get()).collect();
    let rows = sqlx::query(LAST_SEQUENCES).bind(wanted).fetch_all(session).await?;
    let last = |(row, organization): (&PgRow, &OrganizationId)| {
        let read = Reader { row, table: "customer_events", id: organization.get() };
        read.optional(0, "sequence", |number| Sequence::parse(number).ok())
    };
    rows.iter().zip(organizations).map(last).collect()
}

/// The events of one customer below a version, newest first.
pub(super) async fn history(
    session: &mut PgConnection,
    organization: OrganizationId,
    customer: CustomerId,
    before: Option<Version>,
    limit: u16,
) -> Result<Vec<RecordedEvent>, ReadFailure> {
    let sql = format!(
        concat!(
            "select ",
            event_columns!(),
            " from customer_events e where e.organization_id = $1 and e.customer_id = $2 and e.subject is null \
             and e.version < $3 \
             order by e.version desc limit {}"
        ),
        rounded(limit)
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(organization.get())
        .bind(customer.get())
        .bind(before.map_or(i64::MAX, Version::get))
        .fetch_all(session)
        .await?;
    rows.iter().take(usize::from(limit)).map(recorded).collect()
}

/// The entry of the log that a row holds, its first columns being [`event_columns`].
pub(super) fn entry(row: &PgRow) -> Result<LogEntry, ReadFailure> {
    let subject: Option<&str> = row.try_get_unchecked(11)?;
    let Some(subject) = subject else {
        let RecordedEvent { sequence, event, audit } = recorded(row)?;
        return Ok(LogEntry { sequence, event: LoggedEvent::Customer(event), audit });
    };
    let read = reader(row)?;
    let event = RecordEvent {
        kind: read.parsed(3, "kind", RecordKind::from_name)?,
        subject: subject.into(),
        customer: read.optional(1, "customer_id", |id| CustomerId::parse(id).ok())?,
        external_id: read.optional(4, "external_id", |text| ExternalId::parse(text).ok())?,
        version: read.parsed(2, "version", |version| Version::parse(version).ok())?,
        at: read.get::<SqlInstant>(5)?.0,
        changes: read.parsed(10, "changed", changes::decode_named)?,
    };
    Ok(LogEntry { sequence: sequence(&read)?, event: LoggedEvent::Record(event), audit: audit(&read)? })
}

/// The customer's event that a row holds.
fn recorded(row: &PgRow) -> Result<RecordedEvent, ReadFailure> {
    let read = reader(row)?;
    let event = CustomerEvent::rehydrate(
        read.parsed(3, "kind", EventKind::from_name)?,
        read.parsed(1, "customer_id", |id| CustomerId::parse(id).ok())?,
        read.optional(4, "external_id", |text| ExternalId::parse(text).ok())?,
        read.parsed(2, "version", |version| Version::parse(version).ok())?,
        read.get::<SqlInstant>(5)?.0,
        read.parsed(10, "changed", changes::decode)?,
    );
    Ok(RecordedEvent { sequence: sequence(&read)?, event, audit: audit(&read)? })
}

fn reader(row: &PgRow) -> Result<Reader<'_>, ReadFailure> {
    Ok(Reader { row, table: "customer_events", id: row.try_get_unchecked(0)? })
}

fn sequence(read: &Reader<'_>) -> Result<Sequence, ReadFailure> {
    Sequence::parse(read.id).map_err(|_| read.corrupt("sequence"))
}

fn audit(read: &Reader<'_>) -> Result<Audit, ReadFailure> {
    Ok(Audit {
        actor: Actor::new(read.get(6)?),
        request_id: read.parsed(7, "request_id", RequestId::parse)?,
        idempotency_key: read.get::<Option<&str>>(8)?.map(Into::into),
        reason: read.get::<Option<&str>>(9)?.map(Into::into),
    })
}

/// The receipts of those keys, in their order.
pub(super) async fn receipts(
    session: &mut PgConnection,
    organization: OrganizationId,
    keys: &[ReceiptKey],
) -> Result<Vec<Option<Receipt>>, ReadFailure> {
    let wanted: Vec<&[u8]> = keys.iter().map(|key| key.0.as_slice()).collect();
    let rows = sqlx::query(RECEIPTS).bind(organization.get()).bind(wanted).fetch_all(session).await?;
    let found: HashMap<ReceiptKey, Receipt> = rows
        .iter()
        .map(|row| receipt(organization, row).map(|receipt| (receipt.key, receipt)))
        .collect::<Result<_, _>>()?;
    Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
}

fn receipt(organization: OrganizationId, row: &PgRow) -> Result<Receipt, ReadFailure> {
    let read = Reader { row, table: "receipts", id: organization.get() };
    let hash = |place, column| read.parsed(place, column, |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok());
    Ok(Receipt {
        key: ReceiptKey(hash(0, "key")?),
        fingerprint: Fingerprint(hash(1, "fingerprint")?),
        at: read.get::<SqlInstant>(2)?.0,
        answer: Answer {
            status: read.parsed(3, "status", |status: i16| u16::try_from(status).ok())?,
            headers: read.parsed(4, "headers", |text| serde_json::from_str(text).ok())?,
            body: read.get(5)?,
        },
    })
}

/// Removes receipts older than that instant, at most so many; each organization's by a transaction of its own.
pub(super) async fn purge(session: &mut PgConnection, before: Timestamp, limit: u32) -> Result<u64, Failure> {
    let organizations: Vec<i64> =
        sqlx::query_scalar(ORGANIZATIONS_WITH_OLD_RECEIPTS).bind(SqlInstant(before)).fetch_all(&mut *session).await?;
    let mut gone = 0;
    for organization in organizations {
        let left = i64::from(limit) - i64::try_from(gone).unwrap_or(i64::MAX);
        if left <= 0 {
            break;
        }
        let deleted =
            sqlx::query(PURGE).bind(organization).bind(SqlInstant(before)).bind(left).execute(&mut *session).await?;
        gone += deleted.rows_affected();
    }
    Ok(gone)
}
