//! Many callers at once: one effect for one key, one owner for one external id, no lost update, and nothing lost to those
//! who hang up.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use custodia_tests::raw::RawConnection;
use custodia_tests::{Answer, Server, both};
use reqwest::Method;
use serde_json::{Value, json};

const CALLERS: usize = 32;
/// Callers that want the same external id.
const RIVALS: usize = 200;
/// Requests whose client is gone before their answer.
const HANG_UPS: usize = 400;
/// Clients that stay and count what was acknowledged to them.
const PATIENT: usize = 4;

/// Sends the same request from many callers at the same time.
async fn at_once(
    server: &Server,
    callers: usize,
    method: Method,
    path: &str,
    key: Option<&str>,
    body: Value,
) -> Vec<Answer> {
    let calls: Vec<_> = (0..callers)
        .map(|_| {
            let request = server.request(method.clone(), path).bearer_auth(server.token()).json(&body);
            let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
            tokio::spawn(Answer::to(request))
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.expect("a call does not panic").expect("a running server answers"));
    }
    answers
}

/// A client that writes until it is told to stop: new customers, and changes of its own record in turn.
async fn write_patiently(
    client: reqwest::Client,
    base: String,
    token: String,
    name: String,
    stop: Arc<AtomicBool>,
) -> u64 {
    let record = format!("{base}/v1/customers/external/{name}");
    let create =
        |id: String| client.post(format!("{base}/v1/customers")).bearer_auth(&token).json(&json!({"externalId": id}));
    let _ = Answer::to(create(name.clone())).await.unwrap().expect(200);
    let mut steps = 0;
    while !stop.load(Ordering::Relaxed) {
        steps += 1;
        let created = Answer::to(create(format!("{name}-{steps}"))).await.unwrap().expect(200);
        assert_eq!(created.json["version"], 1);
        let change = client.put(&record).bearer_auth(&token).json(&json!({"mobileNo": steps.to_string()}));
        let changed = Answer::to(change).await.unwrap().expect(200);
        assert_eq!(changed.json["version"], steps + 1, "an acknowledged change of {name} is not there");
    }
    steps
}

/// Sends a part of a request, or the whole, and closes the connection: without waiting for an answer, but for one in
/// twenty, whose request has arrived whole for certain.
async fn hang_up(address: &str, request: &str, moment: usize, patient: bool) {
    let mut connection = RawConnection::open(address).await.unwrap();
    // Half of them are gone within the request, half after its last byte.
    let sent = if patient || moment.is_multiple_of(2) { request.len() } else { moment % request.len() };
    let _ = connection.send(&request.as_bytes()[..sent]).await;
    if patient {
        let _ = connection.answer().await;
    }
    for _ in 0..moment % 7 {
        tokio::task::yield_now().await;
    }
}

fn with_status(answers: &[Answer], status: u16) -> Vec<&Answer> {
    answers.iter().filter(|answer| answer.status == status).collect()
}

both! {
    async fn one_external_id_goes_to_one_of_many_callers(server: Server) {
        let body = json!({"externalId": "ext-1"});
        let answers = at_once(&server, RIVALS, Method::POST, "/v1/customers", None, body).await;
        assert_eq!(with_status(&answers, 200).len(), 1);
        let refused = with_status(&answers, 409);
        assert_eq!(refused.len(), RIVALS - 1);
        assert!(refused.iter().all(|answer| answer.json["code"] == "aborted"));
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 1);
    }

    async fn of_two_closings_one_wins_and_the_other_is_told(server: Server) {
        for round in 0..20 {
            let path = format!("/v1/customers/external/ext-{round}");
            let created = server.post("/v1/customers", json!({"externalId": format!("ext-{round}")})).await.expect(200);
            let close = |reason: u64| {
                let body = json!({"closureDate": created.json["activationDate"], "closureReasonId": reason});
                server.request(Method::POST, &format!("{path}/close")).bearer_auth(server.token()).json(&body)
            };
            let (left, right) = tokio::join!(Answer::to(close(1)), Answer::to(close(2)));
            let answers = [left.unwrap(), right.unwrap()];
            let (won, lost) = (with_status(&answers, 200), with_status(&answers, 409));
            assert_eq!((won.len(), lost.len()), (1, 1), "round {round}: {answers:?}");
            assert_eq!(lost[0].json["code"], "aborted");
            assert_eq!(server.get(&path).await.expect(200).json, won[0].json);
            assert_eq!(won[0].json["version"], 2);
        }
    }

    async fn who_hangs_up_takes_nothing_from_those_who_stay(mut server: Server) {
        let stop = Arc::new(AtomicBool::new(false));
        let patient: Vec<_> = (0..PATIENT)
            .map(|number| {
                let (client, base, token) = (server.client().clone(), server.url(""), server.token().to_owned());
                tokio::spawn(write_patiently(client, base, token, format!("patient-{number}"), stop.clone()))
            })
            .collect();
        let mut moment = 12_345_usize;
        for number in 0..HANG_UPS {
            // A fixed sequence without a pattern: a failure can be run again.
            moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let body = format!("{{\"externalId\":\"gone-{number}\"}}");
            let request = format!(
                "POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                server.token(),
                body.len()
            );
            hang_up(server.address(), &request, moment >> 33, number.is_multiple_of(20)).await;
        }
        stop.store(true, Ordering::Relaxed);
        let mut acknowledged = 0;
        for (number, client) in patient.into_iter().enumerate() {
            let steps = client.await.unwrap();
            let record = server.get(&format!("/v1/customers/external/patient-{number}")).await.expect(200);
            assert_eq!(record.json["version"], steps + 1);
            for step in 1..=steps {
                let _ = server.get(&format!("/v1/customers/external/patient-{number}-{step}")).await.expect(200);
            }
            acknowledged += steps + 1;
        }
        // A terminated service finishes what it has accepted: after that no request is under way any more.
        assert!(server.terminate().await.success());
        server.restart().await;
        let mut arrived = 0;
        for number in 0..HANG_UPS {
            let found = server.get(&format!("/v1/customers/external/gone-{number}")).await;
            assert!([200, 404].contains(&found.status), "{}", found.text);
            arrived += u64::from(found.status == 200);
        }
        assert_eq!(server.total().await, acknowledged + arrived, "a customer is counted that is not there, or the reverse");
        assert!(arrived > 0, "no request arrived whole: nothing was tried");
    }

    async fn one_key_has_one_effect_however_often_it_is_sent_at_once(server: Server) {
        let body = json!({"externalId": "ext-1"});
        let answers = at_once(&server, CALLERS, Method::POST, "/v1/customers", Some("key-1"), body.clone()).await;
        let done = with_status(&answers, 200);
        let waiting = with_status(&answers, 409);
        assert!(!done.is_empty() && done.len() + waiting.len() == CALLERS, "{answers:?}");
        assert!(done.iter().all(|answer| answer.text == done[0].text), "two answers for one key");
        assert!(waiting.iter().all(|answer| answer.header("retry-after").is_some()), "{waiting:?}");
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 1);

        let again = at_once(&server, CALLERS, Method::POST, "/v1/customers", Some("key-1"), body).await;
        for answer in again {
            assert_eq!((answer.status, answer.text.as_str()), (200, done[0].text.as_str()));
            assert_eq!(answer.header("idempotent-replayed"), Some("true"));
        }
    }

    async fn a_key_outlives_the_process(mut server: Server) {
        let call = |server: &Server| {
            let request = server.request(Method::POST, "/v1/customers").bearer_auth(server.token());
            Answer::to(request.header("Idempotency-Key", "key-1").json(&json!({"externalId": "ext-1"})))
        };
        let first = call(&server).await.unwrap().expect(200);
        assert_eq!(first.header("idempotent-replayed"), None);
        server.restart().await;
        let second = call(&server).await.unwrap().expect(200);
        assert_eq!(second.text, first.text);
        assert_eq!(second.header("etag"), first.header("etag"));
        assert_eq!(second.header("idempotent-replayed"), Some("true"));
    }

    async fn of_many_updates_of_one_version_one_wins_and_the_others_are_told(server: Server) {
        let _ = server.post("/v1/customers", json!({"externalId": "ext-1"})).await.expect(200);
        let calls: Vec<_> = (0..CALLERS)
            .map(|number| {
                let request = server.request(Method::PUT, "/v1/customers/external/ext-1").bearer_auth(server.token());
                let body = json!({"mobileNo": format!("+2557000000{number:02}")});
                tokio::spawn(Answer::to(request.header("If-Match", "\"1\"").json(&body)))
            })
            .collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap().unwrap());
        }
        let won = with_status(&answers, 200);
        assert_eq!((won.len(), with_status(&answers, 412).len()), (1, CALLERS - 1));
        let now = server.get("/v1/customers/external/ext-1").await.expect(200);
        assert_eq!(now.json, won[0].json);
        assert_eq!(now.json["version"], 2);
    }

    async fn concurrent_updates_without_a_version_are_all_applied(server: Server) {
        let _ = server.post("/v1/customers", json!({"externalId": "ext-1"})).await.expect(200);
        let calls: Vec<_> = (0..8)
            .map(|number| {
                let request = server.request(Method::PUT, "/v1/customers/external/ext-1").bearer_auth(server.token());
                tokio::spawn(Answer::to(request.json(&json!({"mobileNo": format!("+25570000000{number}")}))))
            })
            .collect();
        let mut versions = Vec::new();
        for call in calls {
            versions.push(call.await.unwrap().unwrap().expect(200).json["version"].as_u64().unwrap());
        }
        versions.sort_unstable();
        assert_eq!(versions, (2..10).collect::<Vec<_>>());
    }
}
