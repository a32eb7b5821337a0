//! Clients that write whatever happens, and a ledger of what they were told.
//!
//! Each client notes what it is about to ask (INTENT), then what was acknowledged (ACK) or refused for good (FAIL). What
//! has neither is unknown: it may have taken effect or not. Who proves something later has the ledger alone.
//!
//! It owns the mix of requests and the ledger. It must not look into any database.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Answer, Server};

/// How many clients write at the same time.
pub const CLIENTS: usize = 8;
/// The pause of a client that was refused for now, or not answered at all.
const PAUSE: Duration = Duration::from_millis(5);

/// A request that can be sent again with its key, and what it comes to however often it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its idempotency key, which no other operation has.
    pub key: String,
    method: String,
    path: String,
    body: Value,
    if_match: Option<String>,
    /// Whether it is sent in a session of the publisher's dialect.
    in_session: bool,
    /// The status that it is answered with for good.
    pub expected: u16,
    /// How many events it makes; none where it is refused.
    pub events: u64,
    /// The external ids of the customers that are there when it is done.
    pub touches: Vec<String>,
}

impl Operation {
    fn new(key: String, method: &Method, path: impl Into<String>, body: Value) -> Self {
        Self {
            key,
            method: method.to_string(),
            path: path.into(),
            body,
            if_match: None,
            in_session: false,
            expected: 200,
            events: 1,
            touches: Vec::new(),
        }
    }

    fn touching(mut self, customer: impl Into<String>) -> Self {
        self.touches.push(customer.into());
        self
    }

    fn refused(mut self, status: u16) -> Self {
        (self.expected, self.events) = (status, 0);
        self
    }

    fn to_json(&self) -> Value {
        json!({"note": "INTENT", "key": self.key, "method": self.method, "path": self.path, "body": self.body,
            "ifMatch": self.if_match, "inSession": self.in_session, "expected": self.expected, "events": self.events,
            "touches": self.touches})
    }

    fn from_json(note: &Value) -> Option<Self> {
        let text = |name: &str| note[name].as_str().map(str::to_owned);
        Some(Self {
            key: text("key")?,
            method: text("method")?,
            path: text("path")?,
            body: note["body"].clone(),
            if_match: text("ifMatch"),
            in_session: note["inSession"].as_bool()?,
            expected: u16::try_from(note["expected"].as_u64()?).ok()?,
            events: note["events"].as_u64()?,
            touches: note["touches"].as_array()?.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        })
    }
}

/// What the client of that number does in its step of that number: creations, changes of its own record and of one that all
/// of them change, batches, deletions, and what has to be refused.
#[must_use]
pub fn operation(client: usize, step: u64) -> Operation {
    let (key, own) = (format!("c{client}-{step}"), format!("c{client}"));
    let (customers, record) = ("/v1/customers", format!("/v1/customers/external/c{client}"));
    let mobile = json!({"mobileNo": format!("+2557{client}{step:07}")});
    let create = |id: &str| Operation::new(key.clone(), &Method::POST, customers, json!({"externalId": id}));
    match step % 10 {
        0 if step == 0 => create(&own).touching(own),
        0 => create(&key).touching(key),
        1 => {
            // Nobody else changes this record, so its version is known; a repetition is a replay although it has moved on.
            let current = format!("\"{}\"", 1 + 2 * (step / 10));
            let change = Operation::new(key, &Method::PUT, record, mobile).touching(own);
            Operation { if_match: Some(current), ..change }
        }
        2 => {
            let email = json!({"emailAddress": format!("{key}@example.com")});
            Operation::new(key, &Method::PUT, format!("{record}?upsert=true"), email).touching(own)
        }
        3 => {
            let body = json!({"name": "Ada Lovelace", "email": format!("{key}@example.com"), "source": "test"});
            Operation { expected: 201, ..Operation::new(key, &Method::POST, "/external/v1/customers", body) }
        }
        4 => {
            let hot = format!("{customers}/external/{HOT}");
            Operation::new(key, &Method::PUT, hot, mobile).touching(HOT)
        }
        5 => create(&own).refused(409),
        6 => {
            let stale = Operation::new(key, &Method::PUT, record, mobile).refused(412);
            Operation { if_match: Some("\"999999\"".to_owned()), ..stale }
        }
        7 => {
            let (left, right) = (format!("{key}-l"), format!("{key}-r"));
            let body = json!({"customers": [enrolled(&left), enrolled(&right)]});
            let batch = Operation::new(key, &Method::POST, "/v2/data/customers", body).touching(left).touching(right);
            // Two customers, and an account and a card with each.
            Operation { in_session: true, events: BATCH_EVENTS, ..batch }
        }
        8 => {
            let body = json!({"officeId": 1, "fullname": "Zoe Quick", "mobileNo": "1", "active": false,
                "externalId": key});
            Operation::new(key, &Method::POST, customers, body)
        }
        _ => {
            let pending = format!("{customers}/external/c{client}-{}", step - 1);
            Operation::new(key, &Method::DELETE, pending, Value::Null)
        }
    }
}

/// The record that all clients change, and the key under which it is made.
const HOT: &str = "hot";
/// How many requests were answered for good beside those of the clients.
pub const PREPARING: u64 = 1;
/// The events of a batch of two customers with an account and a card each.
pub const BATCH_EVENTS: u64 = 6;

fn enrolled(id: &str) -> Value {
    let account = format!("{id}-account");
    json!({"sourceCustomerId": id, "organizationId": "50004", "postalCode": "78753", "country": "US",
        "customerCreationDate": "2017-01-01T08:00:00Z", "enrollmentStartDate": "2023-01-01T08:00:00Z",
        "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET",
        "accounts": [{"sourceAccountId": account, "sourceCustomerIds": [id], "primarySourceCustomerId": id,
            "status": "OPEN", "type": "DDA", "sourcePortfolioId": "rewards",
            "accountOpenDate": "2018-05-12T20:30:00Z", "accountCloseDate": null,
            "cards": [{"sourceAccountId": account, "sourceCustomerId": id, "last4": "2345", "iin": "123456",
                "cardType": "CREDIT", "status": "OPEN", "networkIdentifier": 3,
                "openDate": "2023-01-01T08:00:00Z"}]}]})
}

/// Where the service is at the moment, and by what it lets clients in.
#[derive(Debug, Clone)]
pub struct Place {
    client: Client,
    base: String,
    token: String,
    session: String,
}

impl Place {
    /// Where a running server is.
    ///
    /// # Panics
    /// It gives no session.
    pub async fn of(server: &Server) -> Self {
        let token = server.token().to_owned();
        let session = server.publisher_session().await;
        let place = Self { client: server.client().clone(), base: server.url(""), token, session };
        // The record that all clients change is made before any of them writes, once for good.
        let hot = Operation::new(HOT.to_owned(), &Method::POST, "/v1/customers", json!({"externalId": HOT}));
        let _ = place.send(&hot).await.expect("a running server answers").expect(200);
        place
    }

    /// The same by way of another `host:port`, with a connection for each request.
    #[must_use]
    pub fn by_way_of(&self, address: &str) -> Self {
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_mins(1)).build();
        let client = client.expect("a client can be made");
        Self { client, base: format!("http://{address}"), ..self.clone() }
    }

    /// Sends an operation.
    ///
    /// # Errors
    /// No answer comes.
    pub async fn send(&self, operation: &Operation) -> reqwest::Result<Answer> {
        let method = Method::from_bytes(operation.method.as_bytes()).expect("it was a method");
        let request = self.client.request(method, format!("{}{}", self.base, operation.path));
        let request = if operation.in_session {
            request.header("X-CDLX-Session-Token", &self.session)
        } else {
            request.bearer_auth(&self.token)
        };
        let request = request.header("Idempotency-Key", &operation.key);
        let request = operation.if_match.iter().fold(request, |request, tag| request.header("If-Match", tag));
        Answer::to(if operation.body.is_null() { request } else { request.json(&operation.body) }).await
    }

    /// `GET` with the bearer token.
    ///
    /// # Errors
    /// No answer comes.
    pub async fn get(&self, path: &str) -> reqwest::Result<Answer> {
        Answer::to(self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token)).await
    }
}

/// Whether an answer asks to come again: then nobody knows whether the request took effect. It has to say when.
///
/// # Panics
/// It is a fault of the service, or does not say when.
fn asks_again(answer: &Answer) -> bool {
    assert_ne!(answer.status, 500, "a fault of the service: {}", answer.text);
    let again = answer.status >= 500 || answer.status == 429 || answer.header("retry-after").is_some();
    assert!(!again || answer.header("retry-after").is_some(), "{} without Retry-After", answer.status);
    again
}

/// What the clients were told, on disk before anything else happens.
#[derive(Debug)]
pub struct Ledger {
    file: Mutex<File>,
    path: PathBuf,
}

/// What is in a ledger: operations with what they were told.
#[derive(Debug, Default)]
pub struct Noted {
    /// Acknowledged, or refused for good.
    pub settled: Vec<Operation>,
    /// Neither.
    pub unknown: Vec<Operation>,
}

impl Ledger {
    /// A new one in that folder.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn within(folder: &Path) -> Self {
        let path = folder.join("ledger");
        let file = OpenOptions::new().create_new(true).append(true).open(&path).expect("a ledger can be made");
        Self { file: Mutex::new(file), path }
    }

    fn note(&self, note: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{note}\n").as_bytes()).expect("a ledger can be written");
        file.sync_data().expect("a ledger can be synced");
    }

    /// Notes that an unknown operation is settled now.
    pub fn settle(&self, operation: &Operation) {
        self.note(&json!({"note": "ACK", "key": operation.key}));
    }

    /// Where it ends, in bytes.
    ///
    /// # Panics
    /// It is gone.
    #[must_use]
    pub fn end(&self) -> u64 {
        std::fs::metadata(&self.path).expect("the ledger is there").len()
    }

    /// What stands in it behind that byte.
    ///
    /// # Panics
    /// It cannot be read.
    #[must_use]
    pub fn read(&self, from: u64) -> Noted {
        let mut file = File::open(&self.path).expect("the ledger is there");
        file.seek(SeekFrom::Start(from)).expect("the ledger is as long as it was");
        let mut open: Vec<Operation> = Vec::new();
        let mut noted = Noted::default();
        for line in BufReader::new(file).lines() {
            let note: Value = serde_json::from_str(&line.expect("the ledger is text")).expect("a note is JSON");
            if note["note"] == "INTENT" {
                open.push(Operation::from_json(&note).expect("an intent is an operation"));
            } else {
                let at = open.iter().position(|operation| note["key"] == operation.key.as_str());
                noted.settled.push(open.swap_remove(at.expect("what is settled was intended")));
            }
        }
        noted.unknown = open;
        noted
    }
}

/// One client, between two runs of the service.
#[derive(Debug)]
pub struct Writer {
    number: usize,
    step: u64,
}

/// All clients, before their first step.
#[must_use]
pub fn writers() -> Vec<Writer> {
    (0..CLIENTS).map(|number| Writer { number, step: 0 }).collect()
}

/// What the clients are seen to do from outside.
#[derive(Debug, Default)]
struct Seen {
    stopped: AtomicBool,
    /// The longest that a request took which was told to come again, in microseconds.
    slowest_refusal: AtomicU64,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    tasks: Vec<JoinHandle<Writer>>,
    seen: Arc<Seen>,
    settled: watch::Receiver<u64>,
}

impl Load {
    /// Has the clients write until they are told to end.
    #[must_use]
    pub fn begin(place: &Place, ledger: &Arc<Ledger>, writers: Vec<Writer>) -> Self {
        let (seen, (told, settled)) = (Arc::new(Seen::default()), watch::channel(0));
        let told = Arc::new(told);
        let tasks = writers.into_iter().map(|writer| {
            let (place, ledger) = (place.clone(), Arc::clone(ledger));
            tokio::spawn(write(writer, place, ledger, Arc::clone(&seen), Arc::clone(&told)))
        });
        Self { tasks: tasks.collect(), seen, settled }
    }

    /// Waits until so many operations of this load were answered for good.
    ///
    /// # Panics
    /// They are not within a minute.
    pub async fn settled(&self, wanted: u64) {
        let mut settled = self.settled.clone();
        let coming = async { settled.wait_for(|settled| *settled >= wanted).await.map(|_| ()) };
        let come = tokio::time::timeout(Duration::from_mins(1), coming).await;
        assert!(matches!(come, Ok(Ok(()))), "only {} of {wanted} operations were answered", *self.settled.borrow());
    }

    /// How many operations of this load were answered for good.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.settled.borrow()
    }

    /// The longest time after which a request was told to come again.
    #[must_use]
    pub fn slowest_refusal(&self) -> Duration {
        Duration::from_micros(self.seen.slowest_refusal.load(Ordering::Relaxed))
    }

    /// From now on nobody begins anything, and whoever is not answered gives up.
    pub fn stop(&self) {
        self.seen.stopped.store(true, Ordering::Relaxed);
    }

    /// Stops the clients and waits for them.
    ///
    /// # Panics
    /// One of them was answered what nobody may be answered.
    pub async fn end(self) -> Vec<Writer> {
        self.stop();
        let mut writers = Vec::new();
        for task in self.tasks {
            writers.push(task.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())));
        }
        writers
    }
}

async fn write(
    mut writer: Writer,
    place: Place,
    ledger: Arc<Ledger>,
    seen: Arc<Seen>,
    told: Arc<watch::Sender<u64>>,
) -> Writer {
    while !seen.stopped.load(Ordering::Relaxed) {
        let operation = operation(writer.number, writer.step);
        writer.step += 1;
        ledger.note(&operation.to_json());
        while !attempt(&operation, &place, &ledger, &seen).await {
            if seen.stopped.load(Ordering::Relaxed) {
                return writer;
            }
            tokio::time::sleep(PAUSE).await;
        }
        told.send_modify(|settled| *settled += 1);
    }
    writer
}

/// Sends an operation; whether it was answered for good.
async fn attempt(operation: &Operation, place: &Place, ledger: &Ledger, seen: &Seen) -> bool {
    let began = Instant::now();
    let Ok(answer) = place.send(operation).await else { return false };
    if asks_again(&answer) {
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        seen.slowest_refusal.fetch_max(took, Ordering::Relaxed);
        return false;
    }
    assert_eq!(answer.status, operation.expected, "{operation:?}: {}", answer.text);
    let note = if operation.events > 0 { "ACK" } else { "FAIL" };
    ledger.note(&json!({"note": note, "key": operation.key, "status": answer.status}));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_answer_in_the_ledger_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::within(folder.path());
        let operations: Vec<Operation> = (0..12).map(|step| operation(0, step)).collect();
        for operation in &operations[..2] {
            ledger.note(&operation.to_json());
        }
        ledger.settle(&operations[1]);
        let (noted, end) = (ledger.read(0), ledger.end());
        assert_eq!((&noted.settled[..], &noted.unknown[..]), (&operations[1..2], &operations[..1]));
        ledger.note(&operations[7].to_json());
        assert_eq!(ledger.read(end).unknown, operations[7..8]);
    }
}
