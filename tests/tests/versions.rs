//! Versions as a client has them: upserts that many send at once, conditions that refuse what is old, histories, and
//! customers as they were.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use custodia_tests::{Answer, Server, both, encoded};
use reqwest::Method;
use serde_json::{Value, json};

/// Callers that put the same customer at the same time.
const CALLERS: usize = 64;

/// Puts the same body from many callers at the same time; how often each outcome came.
async fn upsert_at_once(server: &Server, path: &str, body: &Value) -> (usize, usize, usize) {
    let calls: Vec<_> = (0..CALLERS)
        .map(|number| {
            let request = server.request(Method::PUT, path).bearer_auth(server.token()).json(body);
            // Every other one has a key of its own.
            let keys = (number % 2 == 0).then(|| format!("{}-{number}", path.rsplit('/').next().unwrap_or_default()));
            let request = keys.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
            tokio::spawn(Answer::to(request.header("Prefer", "upsert")))
        })
        .collect();
    let mut outcomes = (0, 0, 0);
    for call in calls {
        let answer = call.await.unwrap().unwrap().expect(200);
        assert_eq!(answer.header("preference-applied"), Some("upsert"));
        match answer.header("custodia-outcome") {
            Some("created") => outcomes.0 += 1,
            Some("updated") => outcomes.1 += 1,
            Some("unchanged") => outcomes.2 += 1,
            other => panic!("{other:?}"),
        }
    }
    outcomes
}

async fn versions(server: &Server, path: &str) -> Vec<i64> {
    let mut versions = Vec::new();
    let mut next = format!("{path}/history?rows=3");
    loop {
        let page = server.get(&next).await.expect(200);
        versions.extend(page.json["items"].as_array().unwrap().iter().map(|item| item["version"].as_i64().unwrap()));
        match page.header("link") {
            Some(link) => link.trim_start_matches('<').split('>').next().unwrap().clone_into(&mut next),
            None => return versions,
        }
    }
}

async fn asked(server: &Server, method: Method, path: &str, header: (&str, &str), body: Option<Value>) -> Answer {
    let request = server.request(method, path).bearer_auth(server.token()).header(header.0, header.1);
    let request = body.into_iter().fold(request, |request, body| request.json(&body));
    Answer::to(request).await.unwrap()
}

fn full() -> Value {
    json!({"officeId": 1, "firstname": "Ada", "lastname": "Lovelace", "active": false})
}

fn enrolled(id: &str, version: Option<i64>) -> Value {
    json!({
        "sourceCustomerId": id, "organizationId": "north", "postalCode": "10115", "country": "DE",
        "customerCreationDate": "2026-01-05T08:00:00Z", "enrollmentStartDate": "2026-01-05T08:00:00Z",
        "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET", "accounts": [],
        "expectedVersion": version,
    })
}

both! {
    async fn of_64_callers_with_one_new_id_one_creates_and_63_find_it(server: Server) {
        let path = format!("/v1/customers/external/{}", encoded("ext/1"));
        for (name, body) in [("ext-1", json!({})), ("ext-2", full())] {
            let path = format!("/v1/customers/external/{name}");
            assert_eq!(upsert_at_once(&server, &path, &body).await, (1, 0, CALLERS - 1));
            assert_eq!(versions(&server, &path).await, [1], "one event");
        }
        let _ = asked(&server, Method::PUT, &path, ("Prefer", "upsert"), Some(json!({}))).await.expect(200);
        assert_eq!(server.get(&path).await.expect(200).json["externalId"], "ext/1");
        assert_eq!(server.total().await, 3);
    }

    async fn of_64_callers_with_one_change_one_makes_it(server: Server) {
        let path = "/v1/customers/external/ext-1";
        let _ = server.post("/v1/customers", json!({"externalId": "ext-1"})).await.expect(200);
        assert_eq!(upsert_at_once(&server, path, &json!({"mobileNo": "+255700000000"})).await, (0, 1, CALLERS - 1));
        assert_eq!(versions(&server, path).await, [2, 1]);
    }

    async fn what_is_old_is_refused_with_the_present_version_in_every_dialect(server: Server) {
        let path = "/v1/customers/external/ext-1";
        let _ = asked(&server, Method::PUT, &format!("{path}?upsert=true"), ("X-Test", "1"), Some(full())).await.expect(200);
        let _ = server.put(path, json!({"mobileNo": "+255700000000"})).await.expect(200);
        let crm = "/external/v1/customers/ext-1";
        let writes = [
            (Method::PUT, path.to_owned(), Some(json!({"mobileNo": "1"}))),
            (Method::PUT, format!("{path}?upsert=true"), Some(json!({"mobileNo": "1"}))),
            (Method::POST, format!("{path}/activate"), Some(json!({"activationDate": "2026-01-05"}))),
            (Method::POST, format!("{path}/close"), Some(json!({"closureDate": "2026-01-05", "closureReasonId": 1}))),
            (Method::DELETE, path.to_owned(), None),
            (Method::PATCH, crm.to_owned(), Some(json!({"name": "Grace"}))),
            (Method::DELETE, crm.to_owned(), None),
        ];
        for (method, path, body) in writes {
            let stale = asked(&server, method.clone(), &path, ("If-Match", "\"1\""), body).await.expect(412);
            assert_eq!(stale.header("etag"), Some("\"2\""), "{method} {path}");
        }
        let loan = "/v1/loans/external/loan-1";
        let position = |principal: i64| json!({"customerExternalId": "ext-1", "status": "Rejected", "principal": principal, "currencyCode": "TZS"});
        let _ = asked(&server, Method::PUT, loan, ("If-None-Match", "*"), Some(position(1))).await.expect(200);
        let _ = asked(&server, Method::PUT, loan, ("If-None-Match", "*"), Some(position(1))).await.expect(412);
        let _ = asked(&server, Method::PUT, loan, ("If-Match", "\"1\""), Some(position(2))).await.expect(200);
        let stale = asked(&server, Method::PUT, loan, ("If-Match", "\"1\""), Some(position(3))).await.expect(412);
        assert_eq!(stale.header("etag"), Some("\"2\""));
        assert_eq!(versions(&server, path).await, [2, 1]);
    }

    async fn a_stale_item_refuses_a_publishers_batch(server: Server) {
        let session = server.publisher_session().await;
        let send = async |method: Method, customers: Value| {
            let request = server.request(method, "/v2/data/customers").header("X-CDLX-Session-Token", &session);
            Answer::to(request.json(&json!({"customers": customers}))).await.unwrap()
        };
        let created = json!([enrolled("ext-1", None), enrolled("ext-2", None)]);
        let created: Vec<Value> = created.as_array().unwrap().iter().map(|item| {
            let mut item = item.clone();
            item.as_object_mut().unwrap().remove("expectedVersion");
            item
        }).collect();
        let _ = send(Method::POST, json!(created)).await.expect(200);
        let _ = server.put("/v1/customers/external/ext-2", json!({"mobileNo": "1"})).await.expect(200);
        let mut first = enrolled("ext-1", Some(1));
        first["postalCode"] = json!("20095");
        let stale = send(Method::PUT, json!([first, enrolled("ext-2", Some(1))])).await.expect(412);
        assert_eq!(stale.json["type"], "PreconditionFailedException");
        assert_eq!(stale.json["validationErrors"], json!(["customers[1].expectedVersion: the current version is 2"]));
        assert_eq!(versions(&server, "/v1/customers/external/ext-1").await, [1]);
        let _ = send(Method::PUT, json!([first, enrolled("ext-2", Some(2))])).await.expect(200);
        assert_eq!(versions(&server, "/v1/customers/external/ext-1").await, [2, 1]);
    }

    async fn a_customer_is_read_as_it_was_at_each_version_and_instant(server: Server) {
        let path = "/v1/customers/external/ext-1";
        let mut states = vec![asked(&server, Method::PUT, path, ("Prefer", "upsert"), Some(full())).await.expect(200)];
        for number in 1..=6 {
            states.push(server.put(path, json!({"mobileNo": number.to_string()})).await.expect(200));
        }
        states.push(server.post(&format!("{path}/activate"), json!({"activationDate": states[0].json["submittedDate"]})).await.expect(200));
        assert_eq!(versions(&server, path).await, [8, 7, 6, 5, 4, 3, 2, 1]);
        let history = server.get(&format!("{path}/history")).await.expect(200);
        for (state, event) in states.iter().zip(history.json["items"].as_array().unwrap().iter().rev()) {
            let at_version = server.get(&format!("{path}?asOf={}", state.json["version"])).await.expect(200);
            assert_eq!((&at_version.text, at_version.header("etag")), (&state.text, state.header("etag")));
            let at = event["at"].as_str().unwrap();
            let at_instant = server.get(&format!("{path}?asOf={}", encoded(at))).await.expect(200);
            let then = at_instant.json["version"].as_u64().unwrap();
            // Two changes in one microsecond would have one instant.
            assert!(then >= state.json["version"].as_u64().unwrap());
            assert_eq!(at_instant.text, states[usize::try_from(then).unwrap() - 1].text);
        }
        assert_eq!(server.get(&format!("{path}?asOf=9")).await.code(404), "not_found");
        assert_eq!(server.get(&format!("{path}?asOf=2020-01-01T00:00:00Z")).await.code(404), "not_found");
    }

    async fn a_deleted_customer_leaves_its_number_and_no_personal_data(server: Server) {
        let path = "/v1/customers/external/ext-1";
        let mut body = full();
        body["emailAddress"] = json!("ada@example.com");
        let because = ("Custodia-Reason", "asked%20by ada@example.com");
        let created = asked(&server, Method::PUT, &format!("{path}?upsert=true"), because, Some(body)).await.expect(200);
        let by_number = format!("/v1/customers/{}", created.json["id"].as_str().unwrap());
        let told = server.get(&format!("{path}/history")).await.expect(200);
        assert_eq!(told.json["items"][0]["reason"], "asked by ada@example.com");
        assert_eq!(told.json["items"][0]["changed"]["lastname"], json!({"to": "Lovelace"}));
        let _ = server.delete(path).await.expect(200);
        let left = server.get(&format!("{by_number}/history")).await.expect(200);
        let kinds: Vec<_> = left.json["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["customer.deleted", "customer.created"]);
        assert!(!left.text.contains("ada@example.com") && !left.text.contains("Lovelace"), "{}", left.text);
        let feed = server.get("/v1/events").await.expect(200);
        assert!(feed.text.contains("customer.created") && !feed.text.contains("ada@example.com"), "{}", feed.text);
        for gone in [format!("{path}/history"), by_number.clone(), format!("{by_number}?asOf=1")] {
            assert_eq!(server.get(&gone).await.code(404), "not_found");
        }
        // The name is free again, the number is not.
        let again = asked(&server, Method::PUT, path, ("Prefer", "upsert"), Some(full())).await.expect(200);
        assert_eq!(again.header("custodia-outcome"), Some("created"));
        assert_ne!(again.json["id"], created.json["id"]);
        assert_eq!(versions(&server, path).await, [1]);
    }
}
