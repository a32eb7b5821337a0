//! What must hold whatever happened, proved from the ledger of the clients, the database itself and HTTP.
//!
//! It owns the invariants as statements and comparisons. It must not know how the trouble came about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::Server;
use crate::workload::{Ledger, Operation, PREPARING, Place};

/// What is never to be found, with the statement that counts it; `$org` is the organization.
const NEVER: [(&str, &str); 9] = [
    (
        "a customer whose version is not the number of its events",
        "select count(*) from customers c where c.organization_id = $org and c.version <>
            (select count(*) from customer_events e where e.organization_id = $org and e.customer_id = c.id
                and e.subject is null)",
    ),
    (
        "versions with a gap or a repetition",
        "select count(*) from (select customer_id from customer_events where organization_id = $org and subject is null
            group by customer_id having count(*) <> max(version) or min(version) <> 1
                or count(distinct version) <> count(*)) as wrong",
    ),
    (
        "versions that are not in the order of the log",
        "select count(*) from customer_events e join customer_events f on f.organization_id = e.organization_id
            and f.customer_id = e.customer_id and f.version = e.version + 1 and f.subject is null
            where e.organization_id = $org and e.subject is null and f.sequence <= e.sequence",
    ),
    (
        "events of a customer that is not there and was not deleted",
        "select count(*) from (select customer_id from customer_events where organization_id = $org and subject is null
            group by customer_id having max(case when kind = 'customer.deleted' then 1 else 0 end) = 0) as alive
            where not exists (select 1 from customers c where c.organization_id = $org and c.id = alive.customer_id)",
    ),
    (
        "a deleted customer that is there",
        "select count(*) from customers c where c.organization_id = $org and exists (select 1 from customer_events e
            where e.organization_id = $org and e.customer_id = c.id and e.kind = 'customer.deleted')",
    ),
    (
        "an external id that two customers have",
        "select count(*) from (select external_id from customers where organization_id = $org
            and external_id is not null group by external_id having count(*) > 1) as twice",
    ),
    (
        "a count of customers that is not theirs",
        "select count(*) from organizations o where o.id = $org and o.customer_count <>
            (select count(*) from customers c where c.organization_id = $org)",
    ),
    (
        "a counter behind its numbers",
        "select count(*) from organizations o where o.id = $org and (
            o.next_sequence < (select coalesce(max(sequence), 0) from customer_events e where e.organization_id = $org)
            or o.next_customer_id <= (select coalesce(max(c.id), 0) from customers c where c.organization_id = $org))",
    ),
    (
        "two tries of one operation that both took effect",
        "select count(*) from (select idempotency_key from customer_events where organization_id = $org
            and idempotency_key is not null group by idempotency_key having count(distinct request_id) > 1) as twice",
    ),
];

/// An event as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
struct Logged {
    sequence: i64,
    customer_id: Option<i64>,
    version: i64,
    subject: Option<String>,
    idempotency_key: Option<String>,
    request_id: String,
}

/// The database, looked into past the service.
enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    async fn open(url: &str) -> sqlx::Result<Self> {
        Ok(match url.strip_prefix("sqlite://") {
            Some(path) => {
                Self::Sqlite(SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await?)
            }
            None => Self::Postgres(PgConnection::connect(url).await?),
        })
    }

    async fn number(&mut self, statement: &str) -> sqlx::Result<i64> {
        let statement = AssertSqlSafe(statement.to_owned());
        match self {
            Self::Sqlite(file) => sqlx::query_scalar(statement).fetch_one(file).await,
            Self::Postgres(session) => sqlx::query_scalar(statement).fetch_one(session).await,
        }
    }

    async fn events(&mut self, organization: &str, after: i64) -> sqlx::Result<Vec<Logged>> {
        let statement = AssertSqlSafe(format!(
            "select sequence, customer_id, version, subject, idempotency_key, request_id from customer_events
             where organization_id = {organization} and sequence > {after} order by sequence"
        ));
        match self {
            Self::Sqlite(file) => sqlx::query_as(statement).fetch_all(file).await,
            Self::Postgres(session) => sqlx::query_as(statement).fetch_all(session).await,
        }
    }
}

/// What has been proved so far.
#[derive(Debug, Default)]
pub struct Proof {
    /// The URL of the database, where it is another one than the server was started on.
    database: Option<String>,
    /// Where the ledger was read up to.
    noted: u64,
    /// Where the feed was read up to.
    cursor: String,
    sequence: i64,
    /// The last version of each customer that the feed told of.
    versions: BTreeMap<i64, i64>,
    /// What came of it.
    pub figures: Figures,
}

/// Operations, counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Requests that were refused for good.
    pub refused: u64,
    /// Requests without an answer that had taken effect.
    pub unknown_done: u64,
    /// Requests without an answer that had not.
    pub unknown_absent: u64,
    /// Events in the log.
    pub events: u64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { acknowledged, refused, unknown_done, unknown_absent, events } = self;
        let unknown = unknown_done + unknown_absent;
        write!(
            f,
            "{acknowledged} acknowledged, {refused} refused, {unknown} unknown ({unknown_done} had taken effect), \
             {events} events"
        )
    }
}

impl Proof {
    /// A proof from that database, which took the place of the one that the server was started on.
    #[must_use]
    pub fn of(url: &str) -> Self {
        Self { database: Some(url.to_owned()), ..Self::default() }
    }

    /// Proves everything that the clients have noted since the last time, on a server that answers: nothing acknowledged is
    /// lost, nothing refused has left a trace, what is unknown is whole or absent and is done once when it is sent again.
    ///
    /// # Panics
    /// Something does not hold; the message names it.
    pub async fn verify(&mut self, server: &Server, ledger: &Ledger) {
        let place = Place::of(server).await;
        let organization = server.credentials().organization.clone();
        let url = self.database.as_deref().unwrap_or(server.database_url());
        let mut database = Database::open(url).await.expect("the database answers");
        let noted = ledger.read(self.noted);
        let before = database.events(&organization, self.sequence).await.expect("the log is read");
        self.whole_or_absent(&noted.settled, &noted.unknown, &before);
        for operation in &noted.unknown {
            let committed = before.iter().any(|event| event.idempotency_key.as_deref() == Some(&operation.key));
            resend(operation, &place, committed).await;
            ledger.settle(operation);
        }
        let events = database.events(&organization, self.sequence).await.expect("the log is read");
        let all: Vec<Operation> = noted.settled.into_iter().chain(noted.unknown).collect();
        done_once(&all, &events);
        self.holds(&mut database, &organization, &place).await;
        self.told(&events, &place).await;
        shown(&all, &place).await;
        // Behind what was noted just now: it is proved already.
        self.noted = ledger.end();
    }

    /// That what was acknowledged is there, what was refused is not, and what is unknown is there as a whole or not at all.
    fn whole_or_absent(&mut self, settled: &[Operation], unknown: &[Operation], events: &[Logged]) {
        let counts = counted(events);
        for operation in settled {
            let found = counts.get(operation.key.as_str()).copied().unwrap_or_default();
            assert_eq!(found, operation.events, "of what was answered: {operation:?}");
            if operation.events > 0 { self.figures.acknowledged += 1 } else { self.figures.refused += 1 }
        }
        for operation in unknown {
            let found = counts.get(operation.key.as_str()).copied().unwrap_or_default();
            assert!([0, operation.events].contains(&found), "{found} events of what is unknown: {operation:?}");
            if found > 0 { self.figures.unknown_done += 1 } else { self.figures.unknown_absent += 1 }
        }
    }

    /// That nothing is in the database which never may be, and that every answer for good has its receipt.
    async fn holds(&self, database: &mut Database, organization: &str, place: &Place) {
        for (what, statement) in NEVER {
            let found = database.number(&statement.replace("$org", organization)).await.expect("it is counted");
            assert_eq!(found, 0, "{what}");
        }
        let Figures { acknowledged, refused, unknown_done, unknown_absent, .. } = self.figures;
        let receipts = format!("select count(*) from receipts where organization_id = {organization}");
        let receipts = database.number(&receipts).await.expect("they are counted");
        let answered = PREPARING + acknowledged + refused + unknown_done + unknown_absent;
        assert_eq!(u64::try_from(receipts), Ok(answered), "receipts and answers for good");
        let total = place.get("/v1/customers?rows=1").await.expect("it answers").expect(200).json["total"].as_i64();
        let stored = format!("select count(*) from customers where organization_id = {organization}");
        assert_eq!(total, database.number(&stored).await.ok(), "the total of the list");
    }

    /// That the feed goes on where it ended, tells of every event in the order of the log, and of each customer's versions
    /// one after the other.
    async fn told(&mut self, events: &[Logged], place: &Place) {
        let mut told = Vec::new();
        loop {
            let path = format!("/v1/events?limit=500&after={}", self.cursor);
            let page = place.get(&path).await.expect("it answers").expect(200).json;
            page["nextCursor"].as_str().expect("a page has a cursor").clone_into(&mut self.cursor);
            told.extend(page["events"].as_array().expect("a page has events").iter().map(from_feed));
            if page["more"] == false {
                break;
            }
        }
        let logged = events.iter().map(|event| (event.sequence, event.version, event.idempotency_key.clone()));
        let logged: Vec<_> = logged.collect();
        assert_eq!(told, logged, "the feed and the log");
        for event in events.iter().filter(|event| event.subject.is_none()) {
            let customer = event.customer_id.expect("an event without a subject is a customer's");
            let last = self.versions.entry(customer).or_default();
            assert_eq!(event.version, *last + 1, "the versions of customer {customer}");
            *last = event.version;
        }
        self.sequence = events.last().map_or(self.sequence, |event| event.sequence);
        self.figures.events += events.len() as u64;
    }
}

fn from_feed(event: &Value) -> (i64, i64, Option<String>) {
    let number = |name: &str| event[name].as_i64().expect("an event has numbers");
    (number("sequence"), number("version"), event["idempotencyKey"].as_str().map(str::to_owned))
}

/// How many events each operation has.
fn counted(events: &[Logged]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for key in events.iter().filter_map(|event| event.idempotency_key.as_deref()) {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// Sends what is unknown again: it is a replay exactly where it had taken effect.
async fn resend(operation: &Operation, place: &Place, committed: bool) {
    let answer = loop {
        let answer = place.send(operation).await.expect("it answers");
        if answer.header("retry-after").is_none() {
            break answer;
        }
    };
    assert_eq!(answer.status, operation.expected, "{operation:?}: {}", answer.text);
    let replayed = answer.header("idempotent-replayed") == Some("true");
    // What was refused leaves no event by which we would know whether it had been answered.
    assert!(
        operation.events == 0 || replayed == committed,
        "replayed: {replayed}, committed: {committed}: {operation:?}"
    );
}

/// That every operation took effect once.
fn done_once(operations: &[Operation], events: &[Logged]) {
    let counts = counted(events);
    for operation in operations {
        let found = counts.get(operation.key.as_str()).copied().unwrap_or_default();
        assert_eq!(found, operation.events, "events of {operation:?}");
    }
    let mut requests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events {
        let key = event.idempotency_key.as_deref().expect("every client has keys");
        requests.entry(key).or_default().insert(&event.request_id);
    }
    let twice = requests.iter().find(|(_, requests)| requests.len() > 1);
    assert_eq!(twice, None, "two tries of one operation took effect");
}

/// That what was touched is shown, at the version that its history ends with.
async fn shown(operations: &[Operation], place: &Place) {
    let touched: BTreeSet<&str> =
        operations.iter().flat_map(|operation| operation.touches.iter().map(String::as_str)).collect();
    for id in touched {
        let path = format!("/v1/customers/external/{id}");
        let record = place.get(&path).await.expect("it answers");
        assert_eq!(record.status, 200, "{id}: {}", record.text);
        let version = record.json["version"].as_u64().expect("a record has a version");
        assert_eq!(record.header("etag"), Some(format!("\"{version}\"").as_str()));
        let history = place.get(&format!("{path}/history?rows=50")).await.expect("it answers").expect(200).json;
        let items = history["items"].as_array().expect("a history has items");
        let versions = items.iter().filter_map(|item| item["version"].as_u64());
        assert!(versions.eq((1..=version).rev().take(50)), "the history of {id} at {version}: {history}");
    }
}
