//! Webhooks from outside: a receiver gets what happened, signed, at least once, and a customer's events in order, through
//! failures, rotations, kills and a second instance.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use custodia_tests::receiver::{Received, Receiver};
use custodia_tests::{Answer, Backend, Credentials, Options, Server, both};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/v1/webhook-endpoints";

/// Sends to receivers on this machine.
async fn insecure(backend: Backend) -> Server {
    Server::start(backend, Options::default().setting("CUSTODIA_WEBHOOK_INSECURE", "true")).await
}

async fn endpoint(server: &Server, body: Value) -> Value {
    server.post(PATH, body).await.expect(200).json
}

fn one(endpoint: &Value) -> String {
    format!("{PATH}/{}", endpoint["id"].as_str().unwrap())
}

fn secret(endpoint: &Value) -> &str {
    endpoint["secret"].as_str().unwrap()
}

async fn customer(server: &Server, external_id: &str) {
    let _ = server.post("/v1/customers", json!({"externalId": external_id})).await.expect(200);
}

async fn call(server: &Server, external_id: &str, number: usize) {
    let path = format!("/v1/customers/external/{external_id}");
    let _ = server.put(&path, json!({"mobileNo": format!("+2557{number:08}")})).await.expect(200);
}

/// The deliveries of an endpoint once they are as wanted.
async fn deliveries(server: &Server, endpoint: &Value, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let answer = server.get(&format!("{}/deliveries?limit=100", one(endpoint))).await.expect(200);
        let items = answer.json["items"].as_array().unwrap().clone();
        if wanted(&items) {
            return items;
        }
        assert!(Instant::now() < deadline, "the deliveries stay {items:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// For each customer the versions in the order in which they were first taken.
fn versions(taken: &[Received]) -> BTreeMap<String, Vec<u64>> {
    let mut versions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in taken {
        let seen = versions.entry(message.customer().to_owned()).or_default();
        if !seen.contains(&message.version()) {
            seen.push(message.version());
        }
    }
    versions
}

both! {
    async fn events_arrive_signed_in_the_wanted_form(backend: Backend) {
        let (server, receiver) = (insecure(backend).await, Receiver::willing().await);
        let full = json!({"url": receiver.url("/full"), "payload": "full", "types": ["customer.created"]});
        let full = endpoint(&server, full).await;
        let thin = endpoint(&server, json!({"url": receiver.url("/thin"), "types": ["customer.updated"]})).await;
        customer(&server, "ada").await;
        call(&server, "ada", 1).await;
        let mut taken = receiver.taken(2).await;
        taken.sort_by(|first, second| first.path.cmp(&second.path));
        let [created, updated] = &taken[..] else { panic!("{taken:?}") };
        assert!(created.is_signed_by(secret(&full)) && !created.is_signed_by(secret(&thin)));
        assert!(updated.is_signed_by(secret(&thin)) && !updated.is_signed_by(secret(&full)));
        assert_eq!(created.headers["content-type"], "application/json");
        let feed = server.get("/v1/events?types=customer.created,customer.updated").await.expect(200).json;
        let (first, second) = (&feed["events"][0], &feed["events"][1]);
        assert_eq!((&created.json["data"], created.id()), (first, first["id"].as_str().unwrap()));
        assert_eq!((&created.json["type"], &created.json["timestamp"]), (&json!("customer.created"), &first["at"]));
        assert_eq!(updated.json["data"]["changed"], json!(["mobileNo"]));
        assert_eq!((updated.id(), updated.version()), (second["id"].as_str().unwrap(), 2));
        let text = String::from_utf8_lossy(&updated.body).into_owned();
        assert!(!text.contains("+25570000001"), "a thin message shows no value");
        let log = deliveries(&server, &full, |items| items.iter().all(|one| one["state"] == "delivered")).await;
        assert_eq!((log.len(), &log[0]["event"], &log[0]["attempts"][0]["status"]), (1, &first["id"], &json!(204)));
        let written = server.written();
        assert!(!written.contains("whsec_") && !written.contains("/full"), "{written}");
    }

    async fn while_a_secret_is_rotated_both_sign(backend: Backend) {
        let (server, receiver) = (insecure(backend).await, Receiver::willing().await);
        let before = endpoint(&server, json!({"url": receiver.url("/"), "types": ["customer.created"]})).await;
        let after = server.post(&format!("{}/rotate", one(&before)), json!({})).await.expect(200).json;
        customer(&server, "ada").await;
        let taken = receiver.taken(1).await;
        assert!(taken[0].is_signed_by(secret(&before)) && taken[0].is_signed_by(secret(&after)));
        let last = server.post(&format!("{}/rotate", one(&before)), json!({"overlapSeconds": 0})).await.expect(200).json;
        customer(&server, "eve").await;
        let taken = receiver.taken(2).await;
        assert!(taken[1].is_signed_by(secret(&last)));
        assert!(!taken[1].is_signed_by(secret(&after)) && !taken[1].is_signed_by(secret(&before)));
    }

    async fn what_fails_is_tried_again_under_the_same_id(backend: Backend) {
        let server = insecure(backend).await;
        let seen = Mutex::new(HashSet::new());
        let receiver = Receiver::answering(move |message| {
            if seen.lock().unwrap().insert(message.id().to_owned()) { 500 } else { 200 }
        })
        .await;
        let made = endpoint(&server, json!({"url": receiver.url("/"), "types": ["customer.created"]})).await;
        customer(&server, "ada").await;
        let all = receiver.until(|all| all.len() >= 2).await;
        assert_eq!((all[0].id(), all[0].answered, all[1].answered), (all[1].id(), 500, 200));
        assert!(all[1].is_signed_by(secret(&made)));
        let log = deliveries(&server, &made, |items| items[0]["state"] == "delivered").await;
        let attempts: Vec<_> = log[0]["attempts"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
        assert_eq!(attempts, [500, 200]);
        assert_eq!((&log[0]["attempts"][0]["failure"], log[0]["attempts"][1].get("failure")), (&json!("status"), None));
    }

    async fn gone_is_gone_and_a_redirect_leads_nowhere(backend: Backend) {
        let (server, elsewhere) = (insecure(backend).await, Receiver::willing().await);
        let target = elsewhere.url("/stolen");
        let receiver = Receiver::reacting(move |message| match message.path.as_str() {
            "/gone" => (410, String::new()),
            _ => (307, format!("location: {target}\r\n")),
        })
        .await;
        let gone = endpoint(&server, json!({"url": receiver.url("/gone"), "types": ["customer.created"]})).await;
        let moved = endpoint(&server, json!({"url": receiver.url("/moved"), "types": ["customer.created"]})).await;
        customer(&server, "ada").await;
        let log = deliveries(&server, &moved, |items| items.iter().any(|one| one["attempts"][0]["failure"] == "redirect")).await;
        assert_eq!((&log[0]["state"], &log[0]["attempts"][0]["status"]), (&json!("pending"), &json!(307)));
        let log = deliveries(&server, &gone, |items| items.iter().any(|one| one["state"] == "parked")).await;
        assert_eq!(log[0]["attempts"][0]["failure"], "gone");
        let deadline = Instant::now() + Duration::from_mins(1);
        while server.get(&one(&gone)).await.expect(200).json["enabled"] == true {
            assert!(Instant::now() < deadline, "it stays enabled");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(server.get(&one(&gone)).await.expect(200).json["disabledReason"], "gone");
        assert!(elsewhere.received().is_empty());
        assert!(receiver.received().iter().filter(|one| one.path == "/gone").count() == 1);
    }

    async fn a_receiver_that_fails_now_and_then_sees_each_customers_versions_ascend(backend: Backend) {
        const CUSTOMERS: usize = 6;
        const CHANGES: usize = 3;
        let server = insecure(backend).await;
        let seen = Mutex::new(HashSet::new());
        let receiver = Receiver::answering(move |message| {
            // One in three fails, once; which ones is as good as random.
            let first = seen.lock().unwrap().insert(message.id().to_owned());
            let unlucky = message.id().bytes().map(usize::from).sum::<usize>().is_multiple_of(3);
            if first && unlucky { 503 } else { 200 }
        })
        .await;
        let types = json!(["customer.created", "customer.updated"]);
        let made = endpoint(&server, json!({"url": receiver.url("/"), "types": types})).await;
        for customer_number in 0..CUSTOMERS {
            customer(&server, &format!("c{customer_number}")).await;
        }
        for change in 0..CHANGES {
            for customer_number in 0..CUSTOMERS {
                call(&server, &format!("c{customer_number}"), change).await;
            }
        }
        let whole = CUSTOMERS * (CHANGES + 1);
        let complete = |all: &[Received]| {
            let taken: Vec<_> = all.iter().filter(|one| one.is_taken()).cloned().collect();
            versions(&taken).values().map(Vec::len).sum::<usize>() >= whole
        };
        let all = receiver.until(complete).await;
        assert!(all.iter().any(|one| !one.is_taken()), "nothing ever failed");
        let taken: Vec<_> = all.into_iter().filter(Received::is_taken).collect();
        for (customer, versions) in versions(&taken) {
            assert!(versions.is_sorted(), "{customer}: {versions:?}");
        }
        assert!(taken.iter().all(|one| one.is_signed_by(secret(&made))));
    }

    async fn pings_and_replays_are_sent_by_request_and_by_command(backend: Backend) {
        let (server, receiver) = (insecure(backend).await, Receiver::willing().await);
        let made = endpoint(&server, json!({"url": receiver.url("/"), "types": ["customer.created"]})).await;
        let id = made["id"].as_str().unwrap();
        let organization = server.credentials().organization.clone();
        let told = server.post(&format!("{}/ping", one(&made)), json!({})).await.expect(200).json;
        assert_eq!((&told["delivered"], &told["status"]), (&json!(true), &json!(204)));
        assert_eq!(server.cli(&["webhook", "ping", "--organization", &organization, id], ""), "delivered, answered 204");
        let pings = receiver.received();
        assert_eq!(pings.len(), 2);
        assert!(pings.iter().all(|one| one.json["type"] == "webhook.ping" && one.is_signed_by(secret(&made))));
        let listed = server.cli(&["webhook", "list", "--organization", &organization], "");
        assert_eq!(listed, format!("{id}\tenabled\tthin\t{}", receiver.url("/")));

        customer(&server, "ada").await;
        customer(&server, "eve").await;
        let ids: Vec<_> = receiver.taken(4).await[2..].iter().map(|one| one.id().to_owned()).collect();
        deliveries(&server, &made, |items| items.len() == 2 && items.iter().all(|one| one["state"] == "delivered")).await;
        let replay = server.post(&format!("{}/replay", one(&made)), json!({"event": ids[0]})).await.expect(200).json;
        assert_eq!(replay, json!({"count": 1}));
        assert_eq!(receiver.taken(5).await[4].id(), ids[0]);
        deliveries(&server, &made, |items| items.iter().all(|one| one["state"] == "delivered")).await;
        let count = server.cli(&["webhook", "replay", "--organization", &organization, id, "--from", "1"], "");
        assert_eq!(count, "2");
        let again: HashSet<_> = receiver.taken(7).await[5..].iter().map(|one| one.id().to_owned()).collect();
        assert_eq!(again, ids.into_iter().collect());
    }

    async fn a_kill_loses_no_delivery(backend: Backend) {
        let mut server = insecure(backend).await;
        let receiver = Receiver::willing().await;
        let types = json!(["customer.created", "customer.updated"]);
        let _ = endpoint(&server, json!({"url": receiver.url("/"), "types": types})).await;
        for round in 0..3 {
            for number in 0..10 {
                customer(&server, &format!("r{round}-{number}")).await;
                call(&server, &format!("r{round}-{number}"), number).await;
            }
            server.kill9();
            server.restart().await;
        }
        let complete = |all: &[Received]| versions(all).values().map(Vec::len).sum::<usize>() >= 60;
        let all = receiver.until(complete).await;
        assert!(versions(&all).values().all(|versions| *versions == [1, 2]));
    }

    async fn what_is_not_public_is_refused_when_it_is_registered_and_when_it_is_called(server: Server) {
        for url in ["http://example.com/", "https://127.0.0.1/", "https://2130706433/", "https://[::ffff:10.0.0.1]/",
            "https://localhost/", "https://user:secret@example.com/", "file:///etc/passwd", "https://169.254.169.254/"] {
            let refused = server.post(PATH, json!({"url": url})).await.expect(400);
            assert!(refused.problems()[0].starts_with("url: ") && !refused.text.contains("secret"), "{}", refused.text);
        }
        // A name is resolved when it is called; this one is this machine's wherever it is asked for.
        let made = endpoint(&server, json!({"url": "https://hooks.localhost.invalid/"})).await;
        let told = server.post(&format!("{}/ping", one(&made)), json!({})).await.expect(200).json;
        assert_eq!((&told["delivered"], &told["failure"]), (&json!(false), &json!("name")));
    }
}

/// Sends as another organization.
async fn send(server: &Server, credentials: &Credentials, method: Method, path: &str, body: Value) -> Answer {
    let request = server.request(method, path).bearer_auth(&credentials.token).json(&body);
    Answer::to(request).await.unwrap().expect(200)
}

/// How many attempts an instance has made.
async fn attempts(server: &Server) -> f64 {
    let metrics = server.get("/metrics").await.text;
    let lines = metrics.lines().filter(|line| line.starts_with("webhook_attempts_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_shares_the_work_and_takes_over_what_a_killed_one_leaves() {
    const ORGANIZATIONS: usize = 6;
    const EACH: usize = 20;
    let mut first = insecure(Backend::Postgres).await;
    let second = first.beside().await;
    let receiver = Receiver::willing().await;
    let organizations: Vec<_> =
        (0..ORGANIZATIONS).map(|number| first.organization(&format!("Lender {number}"))).collect();
    let types = json!(["customer.created", "customer.updated"]);
    for credentials in &organizations {
        let body = json!({"url": receiver.url(&format!("/{}", credentials.organization)), "types": types});
        send(&first, credentials, Method::POST, PATH, body).await;
    }
    for number in 0..EACH {
        if number == EACH / 2 {
            let began = Instant::now();
            while attempts(&first).await == 0.0 || attempts(&second).await == 0.0 {
                assert!(began.elapsed() < Duration::from_mins(1), "one instance does all the work");
                for credentials in &organizations {
                    let body = json!({"mobileNo": format!("+2557{:08}", began.elapsed().as_micros())});
                    let request =
                        second.request(Method::PUT, "/v1/customers/external/c0").bearer_auth(&credentials.token);
                    let _ = Answer::to(request.json(&body)).await;
                }
            }
            first.kill9();
        }
        for credentials in &organizations {
            let name = format!("c{number}");
            send(&second, credentials, Method::POST, "/v1/customers", json!({"externalId": name})).await;
            let path = format!("/v1/customers/external/{name}");
            send(&second, credentials, Method::PUT, &path, json!({"mobileNo": "+255700000001"})).await;
        }
    }
    let wanted = ORGANIZATIONS * EACH;
    let by_organization = |all: &[Received]| {
        let mut versions: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
        for message in all {
            let seen = versions.entry((message.path.clone(), message.customer().to_owned())).or_default();
            if !seen.contains(&message.version()) {
                seen.push(message.version());
            }
        }
        versions
    };
    let complete = |all: &[Received]| {
        let versions = by_organization(all);
        versions.len() == wanted && versions.values().all(|versions| versions.len() >= 2)
    };
    let all = receiver.until(complete).await;
    for (customer, versions) in by_organization(&all) {
        assert!(versions.is_sorted(), "{customer:?}: {versions:?}");
    }
}
