//! The feed from outside: nothing committed is ever skipped, whoever writes and however often the service is killed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use custodia_tests::binary;
use custodia_tests::postgres::database;
use custodia_tests::{Answer, Backend, Options, Server, both};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::sync::{Notify, watch};

type Lines = std::io::Lines<BufReader<std::process::ChildStdout>>;

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

    async fn send(&self, method: Method, path: &str, key: &str, body: &Value) -> reqwest::Result<Answer> {
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        Answer::to(request.header("Idempotency-Key", key).json(body)).await
    }

    async fn page(&self, query: &str) -> reqwest::Result<Answer> {
        Answer::to(self.client.get(format!("{}/v1/events?{query}", self.base)).bearer_auth(&self.token)).await
    }
}

/// The whole feed, read anew.
async fn whole(service: &Service) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = service.page(&format!("limit=500&after={cursor}")).await.unwrap().expect(200).json;
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        page["nextCursor"].as_str().unwrap().clone_into(&mut cursor);
        if page["more"] == false {
            return events;
        }
    }
}

/// Follows the feed, wherever the service is, until it has seen everything that there is when `done` is told.
async fn follow(mut place: watch::Receiver<Option<Service>>, mut done: watch::Receiver<bool>) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let is_over = *done.borrow_and_update();
        let service = place.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        let wait = if is_over { 0 } else { 2 };
        // Killed under the reader: it asks the next one for the same place.
        let Ok(answer) = service.page(&format!("limit=50&wait={wait}&after={cursor}")).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let page = answer.expect(200).json;
        let events = page["events"].as_array().unwrap();
        seen.extend(events.iter().cloned());
        page["nextCursor"].as_str().unwrap().clone_into(&mut cursor);
        if is_over && page["more"] == false {
            return seen;
        }
    }
}

/// Changes customers of its own until the service is gone; the request without an answer is sent again next time.
struct Writer {
    number: usize,
    steps: usize,
}

impl Writer {
    fn request(&self) -> (Method, String, Value) {
        let (number, step) = (self.number, self.steps);
        let name = format!("w{number}-{}", step / 4);
        match step % 4 {
            0 => (Method::POST, "/v1/customers".into(), json!({"externalId": name})),
            change => {
                let mobile = format!("+2557{number:02}{step:05}{change}");
                (Method::PUT, format!("/v1/customers/external/{name}"), json!({"mobileNo": mobile}))
            }
        }
    }

    async fn write(
        mut self,
        service: Service,
        acknowledged: Arc<AtomicUsize>,
        enough: Arc<Notify>,
        limit: usize,
    ) -> Self {
        loop {
            let (method, path, body) = self.request();
            let key = format!("w{}-{}", self.number, self.steps);
            let Ok(answer) = service.send(method, &path, &key, &body).await else { return self };
            if answer.status == 503 {
                continue;
            }
            assert_eq!(answer.status, 200, "{}", answer.text);
            self.steps += 1;
            if acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == limit {
                enough.notify_one();
            }
        }
    }
}

/// Waits for a line on a thread of its own.
async fn next_line(mut lines: Lines) -> (Value, Lines) {
    let (line, lines) = tokio::task::spawn_blocking(move || (lines.next(), lines)).await.unwrap();
    (serde_json::from_str(&line.unwrap().unwrap()).unwrap(), lines)
}

fn assert_in_order(events: &[Value]) {
    let sequences: Vec<_> = events.iter().map(|event| event["sequence"].as_i64().unwrap()).collect();
    assert!(sequences.is_sorted_by(|one, next| one < next), "sequences do not ascend");
    let mut versions: BTreeMap<&str, i64> = BTreeMap::new();
    for event in events {
        let last = versions.entry(event["customerId"].as_str().unwrap()).or_default();
        assert_eq!(event["version"], *last + 1, "a version is missing or twice: {event}");
        *last += 1;
    }
}

both! {
    async fn a_follower_sees_exactly_what_was_committed_through_twenty_kills(mut server: Server) {
        const KILLS: usize = 20;
        let (told, place) = watch::channel(Some(Service::of(&server)));
        let (finish, done) = watch::channel(false);
        let follower = tokio::spawn(follow(place, done));
        let mut writers: Vec<_> = (0..4).map(|number| Writer { number, steps: 0 }).collect();
        for kill in 0..KILLS {
            let (count, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let limit = 5 + kill * 37 % 41;
            let service = Service::of(&server);
            let writing: Vec<_> = writers
                .drain(..)
                .map(|writer| tokio::spawn(writer.write(service.clone(), count.clone(), enough.clone(), limit)))
                .collect();
            enough.notified().await;
            told.send_replace(None);
            server.kill9();
            for writer in writing {
                writers.push(writer.await.unwrap());
            }
            server.restart().await;
            told.send_replace(Some(Service::of(&server)));
        }
        let service = Service::of(&server);
        // The last request of each is sent once more: then what was acknowledged is all that there is.
        for writer in &mut writers {
            let (method, path, body) = writer.request();
            let key = format!("w{}-{}", writer.number, writer.steps);
            let _ = service.send(method, &path, &key, &body).await.unwrap().expect(200);
            writer.steps += 1;
        }
        finish.send_replace(true);
        let seen = follower.await.unwrap();
        assert_in_order(&seen);
        assert_eq!(seen.len(), writers.iter().map(|writer| writer.steps).sum::<usize>());
        assert_eq!(seen, whole(&service).await);
        for writer in &writers {
            let mut steps = seen.iter().filter(|event| event["externalId"].as_str().unwrap().starts_with(&format!("w{}-", writer.number)));
            let in_order = (0..writer.steps).all(|step| {
                let event = steps.next().unwrap();
                event["externalId"] == format!("w{}-{}", writer.number, step / 4).as_str()
                    && event["version"] == step % 4 + 1
            });
            assert!(in_order, "the feed of writer {} is not what it wrote", writer.number);
        }
    }

    async fn a_reader_beside_eight_writers_skips_nothing(server: Server) {
        const EACH: usize = 40;
        let service = Service::of(&server);
        let (_told, place) = watch::channel(Some(service.clone()));
        let (finish, done) = watch::channel(false);
        let follower = tokio::spawn(follow(place, done));
        let writers: Vec<_> = (0..8)
            .map(|number| {
                let service = service.clone();
                tokio::spawn(async move {
                    for step in 0..EACH {
                        let body = json!({"externalId": format!("r{number}-{step}")});
                        let key = format!("{number}-{step}");
                        let _ = service.send(Method::POST, "/v1/customers", &key, &body).await.unwrap().expect(200);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        finish.send_replace(true);
        let seen = follower.await.unwrap();
        assert_eq!(seen.len(), 8 * EACH);
        assert_in_order(&seen);
        assert_eq!(seen, whole(&service).await);
    }

    async fn the_end_of_the_service_ends_a_wait_with_an_empty_page(mut server: Server) {
        let service = Service::of(&server);
        let waiting = tokio::spawn(async move { service.page("wait=30").await });
        let deadline = Instant::now() + Duration::from_secs(30);
        // The request for the metrics is one, the reader is the other.
        while !server.get("/metrics").await.text.lines().any(|line| line == "http_requests_in_flight 2") {
            assert!(Instant::now() < deadline, "the reader does not wait");
        }
        let began = Instant::now();
        assert!(server.terminate().await.success());
        assert!(began.elapsed() < Duration::from_secs(20), "the service waited for its reader");
        let page = waiting.await.unwrap().unwrap().expect(200).json;
        assert_eq!((&page["events"], &page["more"]), (&json!([]), &json!(false)));
    }

    async fn the_command_follows_what_is_committed_while_it_runs(server: Server) {
        let _ = server.post("/v1/customers", json!({"externalId": "before"})).await.expect(200);
        let organization = server.credentials().organization.clone();
        let mut command = binary::command(server.settings(), server.folder()).unwrap();
        command.args(["events", "tail", "--organization", &organization, "--follow"]);
        let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
        let (first, lines) = next_line(lines).await;
        assert_eq!(first["externalId"], "before");
        let _ = server.post("/v1/customers", json!({"externalId": "after"})).await.expect(200);
        assert_eq!(next_line(lines).await.0["externalId"], "after");
        tail.kill().unwrap();
        tail.wait().unwrap();
    }

    async fn the_command_prints_the_feed_and_goes_on_where_it_ended(server: Server) {
        let organization = server.credentials().organization.clone();
        let tail = |more: &[&str]| {
            let text = server.cli(&[&["events", "tail", "--organization", &organization], more].concat(), "");
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        assert!(tail(&[]).is_empty());
        for name in ["one", "two"] {
            let _ = server.post("/v1/customers", json!({"externalId": name})).await.expect(200);
        }
        let _ = server.put("/v1/customers/external/two", json!({"mobileNo": "+255700000001"})).await.expect(200);
        let all = tail(&[]);
        assert_eq!(all, whole(&Service::of(&server)).await);
        assert_eq!(tail(&["--after", all[0]["id"].as_str().unwrap()]), all[1..]);
        assert_eq!(tail(&["--types", "customer.updated"]), all[2..]);
        assert!(tail(&["--after", "now"]).is_empty());
    }
}

async fn read_after(reader: &mut PgConnection, cursor: i64) -> Vec<(i64, String)> {
    let read = sqlx::query_as("select id, what from naive where id > $1 order by id").bind(cursor);
    read.fetch_all(reader).await.unwrap()
}

/// What the organization's order of commits is for: ids that are given before the commit, which every sequence of a database
/// does, come to be seen out of order, and a reader of `id > last` passes over the one that is committed late.
#[tokio::test]
async fn a_reader_of_ids_given_before_the_commit_skips_what_is_committed_late() {
    let database = database().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(PgConnection::connect(database.url()).await.unwrap());
    }
    let [slow, quick, reader] = &mut sessions[..] else { unreachable!("there are three") };
    slow.execute("create table naive (id bigint generated always as identity primary key, what text)").await.unwrap();
    let mut cursor = 0_i64;
    let mut seen: Vec<String> = Vec::new();
    let mut slow = slow.begin().await.unwrap();
    slow.execute("insert into naive (what) values ('slow')").await.unwrap();
    quick.execute("insert into naive (what) values ('quick')").await.unwrap();
    let rows = read_after(reader, cursor).await;
    cursor = rows.last().map_or(cursor, |row| row.0);
    seen.extend(rows.into_iter().map(|row| row.1));
    slow.commit().await.unwrap();
    seen.extend(read_after(reader, cursor).await.into_iter().map(|row| row.1));
    let stored: i64 = sqlx::query_scalar("select count(*) from naive").fetch_one(&mut *reader).await.unwrap();
    assert_eq!((stored, seen), (2, vec!["quick".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_one_instance_is_woken_by_a_commit_of_another() {
    let first = Server::start(Backend::Postgres, Options::default()).await;
    let second = first.beside().await;
    let reader = Service::of(&first);
    let waiting = tokio::spawn(async move { reader.page("wait=30").await });
    let began = Instant::now();
    let _ = second.post("/v1/customers", json!({"externalId": "elsewhere"})).await.expect(200);
    let page = waiting.await.unwrap().unwrap().expect(200).json;
    assert_eq!(page["events"][0]["externalId"], "elsewhere");
    assert!(began.elapsed() < Duration::from_secs(20), "it waited to the end");
}
