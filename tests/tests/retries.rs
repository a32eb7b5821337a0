//! A client that sends every request again until it is answered, over connections that break anywhere, has each effect once.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};

use custodia_tests::{Answer, Proxy, Server, both};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const CLIENTS: u64 = 8;
const OPERATIONS: u64 = 2_000;

/// One operation, as it is sent however often.
struct Operation {
    method: Method,
    path: String,
    key: String,
    body: Value,
    expected: u16,
}

/// What a client does in turn: a customer under its own identifier, one of the intake, whose identifier the service gives, and
/// changes of a record of its own.
fn operation(client: u64, number: u64) -> Operation {
    let key = format!("client-{client}-{number}");
    let record = format!("/v1/customers/external/client-{client}");
    let (method, path, body, expected) = match number {
        0 => (Method::POST, "/v1/customers".to_owned(), json!({"externalId": format!("client-{client}")}), 200),
        _ => match number % 4 {
            0 => (Method::POST, "/v1/customers".to_owned(), json!({"externalId": key}), 200),
            1 => (
                Method::POST,
                "/external/v1/customers".to_owned(),
                json!({"name": "Ada Lovelace", "email": format!("{key}@example.com"), "source": "test"}),
                201,
            ),
            2 => (Method::PUT, record, json!({"mobileNo": format!("+2557{client}{number:07}")}), 200),
            _ => (
                Method::PUT,
                format!("{record}?upsert=true"),
                json!({"emailAddress": format!("{key}@example.com")}),
                200,
            ),
        },
    };
    Operation { method, path, key, body, expected }
}

/// Sends it until it is answered.
async fn insist(client: &Client, base: &str, token: &str, operation: &Operation) -> Answer {
    loop {
        let request = client.request(operation.method.clone(), format!("{base}{}", operation.path));
        let request = request.bearer_auth(token).header("Idempotency-Key", &operation.key).json(&operation.body);
        match Answer::to(request).await {
            Ok(answer) if answer.status >= 500 || answer.header("retry-after").is_some() => {}
            Ok(answer) => return answer.expect(operation.expected),
            Err(_) => {}
        }
    }
}

/// Every event of the organization.
async fn events(server: &Server) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/events?limit=500&after={cursor}")).await.expect(200);
        page.json["nextCursor"].as_str().unwrap().clone_into(&mut cursor);
        events.extend(page.json["events"].as_array().unwrap().iter().cloned());
        if page.json["more"] == false {
            return events;
        }
    }
}

both! {
    async fn whoever_retries_until_answered_has_each_effect_once(server: Server) {
        let proxy = Proxy::cutting(server.address()).await;
        let base = format!("http://{}", proxy.address());
        // Every request has a connection of its own, and so a fate of its own.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let clients: Vec<_> = (0..CLIENTS).map(|number| {
            let (client, base, token) = (client.clone(), base.clone(), server.token().to_owned());
            tokio::spawn(async move {
                let mut updates = 0;
                for step in 0..OPERATIONS / CLIENTS {
                    let operation = operation(number, step);
                    let answer = insist(&client, &base, &token, &operation).await;
                    if operation.method == Method::PUT {
                        updates += 1;
                        assert_eq!(answer.json["version"], updates + 1, "an update was lost or made twice");
                    }
                }
                updates
            })
        }).collect();
        let mut updates = 0;
        for client in clients {
            updates += client.await.unwrap();
        }
        assert!(proxy.cut() > OPERATIONS / 10, "the connections did break: {}", proxy.cut());
        assert_eq!(server.total().await, OPERATIONS - updates, "each creation made one customer");
        let mut requests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in events(&server).await {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            requests.entry(text("idempotencyKey")).or_default().insert(text("requestId"));
        }
        assert_eq!(requests.len() as u64, OPERATIONS, "every operation is in the log");
        let twice: Vec<_> = requests.iter().filter(|(_, requests)| requests.len() > 1).collect();
        assert!(twice.is_empty(), "two tries of one operation took effect: {twice:?}");
    }
}
