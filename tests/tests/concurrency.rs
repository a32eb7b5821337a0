//! Many callers at once: one effect for one key, one owner for one external id, no lost update.

use custodia_tests::{Answer, Server, both};
use reqwest::Method;
use serde_json::{Value, json};

const CALLERS: usize = 32;

/// Sends the same request from many callers at the same time.
async fn at_once(server: &Server, method: Method, path: &str, key: Option<&str>, body: Value) -> Vec<Answer> {
    let calls: Vec<_> = (0..CALLERS)
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

fn with_status(answers: &[Answer], status: u16) -> Vec<&Answer> {
    answers.iter().filter(|answer| answer.status == status).collect()
}

both! {
    async fn one_external_id_goes_to_one_of_many_callers(server: Server) {
        let answers = at_once(&server, Method::POST, "/v1/customers", None, json!({"externalId": "ext-1"})).await;
        assert_eq!(with_status(&answers, 200).len(), 1);
        let refused = with_status(&answers, 409);
        assert_eq!(refused.len(), CALLERS - 1);
        assert!(refused.iter().all(|answer| answer.json["code"] == "aborted"));
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 1);
    }

    async fn one_key_has_one_effect_however_often_it_is_sent_at_once(server: Server) {
        let body = json!({"externalId": "ext-1"});
        let answers = at_once(&server, Method::POST, "/v1/customers", Some("key-1"), body.clone()).await;
        let done = with_status(&answers, 200);
        let waiting = with_status(&answers, 409);
        assert!(!done.is_empty() && done.len() + waiting.len() == CALLERS, "{answers:?}");
        assert!(done.iter().all(|answer| answer.text == done[0].text), "two answers for one key");
        assert!(waiting.iter().all(|answer| answer.header("retry-after").is_some()), "{waiting:?}");
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 1);

        let again = at_once(&server, Method::POST, "/v1/customers", Some("key-1"), body).await;
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
