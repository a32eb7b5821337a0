//! What the service has acknowledged survives `kill -9`, and a request without an answer can be sent again.
//!
//! Eight callers write to records of their own until the process is killed under them. Each notes what was acknowledged and
//! the one request that got no answer. After the restart every acknowledged write must be there, and the request without an
//! answer, sent again with its key, must take effect exactly once whether or not it had been committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use custodia_tests::{Answer, Server, both};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::Notify;

const KILLS: usize = 10;
const CALLERS: usize = 8;

/// A request that can be sent again.
#[derive(Clone)]
struct Request {
    method: Method,
    path: String,
    key: String,
    body: Value,
}

/// One caller's account of what the service has told it.
struct Caller {
    record: String,
    /// The version of its record that was acknowledged last; 0 before the record is there.
    version: u64,
    /// How many other customers were acknowledged.
    others: u64,
    steps: u64,
    unanswered: Option<Request>,
}

impl Caller {
    fn new(number: usize) -> Self {
        Self { record: format!("caller-{number}"), version: 0, others: 0, steps: 0, unanswered: None }
    }

    /// The next request: an update of its record and a new customer in turn.
    fn next(&mut self) -> Request {
        self.steps += 1;
        let key = format!("{}-{}", self.record, self.steps);
        let record = format!("/v1/customers/external/{}", self.record);
        match self.version {
            0 => Request {
                method: Method::POST,
                path: "/v1/customers".into(),
                body: json!({"externalId": self.record}),
                key,
            },
            _ if self.steps.is_multiple_of(2) => {
                Request { method: Method::PUT, path: record, body: json!({"mobileNo": key}), key }
            }
            _ => Request { method: Method::POST, path: "/v1/customers".into(), body: json!({"externalId": key}), key },
        }
    }

    /// Notes an acknowledged request, and checks that it took effect exactly once.
    fn acknowledged(&mut self, request: &Request, answer: &Answer) {
        assert_eq!(answer.status, 200, "{} {}: {}", request.method, request.path, answer.text);
        let version = answer.json["version"].as_u64().unwrap_or_default();
        if answer.json["externalId"] == self.record.as_str() {
            assert_eq!(version, self.version + 1, "an update was lost or made twice: {}", answer.text);
            self.version = version;
        } else {
            assert_eq!(version, 1, "{}", answer.text);
            self.others += 1;
        }
    }

    /// Writes until the service is gone.
    async fn write(
        mut self,
        service: Service,
        acknowledgements: Arc<AtomicUsize>,
        enough: Arc<Notify>,
        limit: usize,
    ) -> Self {
        loop {
            let request = self.next();
            if let Ok(answer) = service.send(&request).await {
                self.acknowledged(&request, &answer);
                if acknowledgements.fetch_add(1, Ordering::Relaxed) + 1 == limit {
                    enough.notify_one();
                }
            } else {
                self.unanswered = Some(request);
                return self;
            }
        }
    }

    /// Compares its account with what the restarted service has, and sends the request without an answer again.
    async fn verify(&mut self, service: &Service) {
        let record = format!("/v1/customers/external/{}", self.record);
        if self.version > 0 {
            let version = service.get(&record).await.expect(200).json["version"].as_u64();
            let pending = self.unanswered.as_ref().is_some_and(|request| request.method == Method::PUT);
            let allowed = [Some(self.version), Some(self.version + u64::from(pending))];
            assert!(allowed.contains(&version), "{version:?} of {} is none of {allowed:?}", self.record);
        }
        if let Some(request) = self.unanswered.take() {
            let answer = service.send(&request).await.expect("the restarted service answers");
            self.acknowledged(&request, &answer);
        }
        let now = service.get(&record).await.expect(200);
        assert_eq!(now.json["version"], self.version, "{}", now.text);
    }
}

/// Where the service is at the moment.
#[derive(Clone)]
struct Service {
    client: Client,
    base: String,
    token: String,
}

impl Service {
    fn of(server: &Server) -> Self {
        Self { client: server.client().clone(), base: server.url(""), token: server.token().to_owned() }
    }

    async fn send(&self, request: &Request) -> reqwest::Result<Answer> {
        let Request { method, path, key, body } = request;
        let url = format!("{}{path}", self.base);
        let request = self.client.request(method.clone(), url).bearer_auth(&self.token);
        Answer::to(request.header("Idempotency-Key", key).json(body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        Answer::to(request).await.expect("the restarted service answers")
    }
}

both! {
    async fn ten_kills_lose_nothing_acknowledged_and_repeat_nothing(mut server: Server) {
        let mut callers: Vec<Caller> = (0..CALLERS).map(Caller::new).collect();
        for kill in 0..KILLS {
            let (count, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            // Another moment each time, counted in acknowledgements: from the first few to well into the run.
            let limit = 10 + kill * 37 % 101;
            let writing: Vec<_> = callers
                .drain(..)
                .map(|caller| tokio::spawn(caller.write(Service::of(&server), count.clone(), enough.clone(), limit)))
                .collect();
            enough.notified().await;
            server.kill9();
            for writer in writing {
                callers.push(writer.await.unwrap());
            }
            server.restart().await;
            let service = Service::of(&server);
            for caller in &mut callers {
                caller.verify(&service).await;
            }
        }
        let expected: u64 = callers.iter().map(|caller| 1 + caller.others).sum();
        assert_eq!(server.get("/v1/customers?rows=1").await.expect(200).json["total"], expected);
    }
}
