//! Webhook endpoints: their members, secrets, versions, tries, replays and deliveries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custodia_domain::OrganizationId;
use custodia_domain::ports::WebhookStore as _;
use custodia_domain::webhook::{Attempt, DeliveryState, FailureKind, Settlement};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Kit, request};

const PATH: &str = "/v1/webhook-endpoints";

impl Kit {
    async fn endpoint(&self, body: Value) -> Value {
        self.post(PATH, &body.to_string()).await.ok()
    }

    async fn simple(&self) -> String {
        let made = self.endpoint(json!({"url": "http://127.0.0.1:9/hooks"})).await;
        format!("{PATH}/{}", made["id"].as_str().unwrap())
    }
}

#[tokio::test]
async fn an_endpoint_is_registered_read_changed_and_deleted() {
    let kit = Kit::new().await;
    let body = json!({"url": "https://example.com/hooks", "types": ["customer.updated", "customer.created"],
        "description": "The ledger"});
    let reply = kit.post(PATH, &body.to_string()).await;
    assert_eq!(reply.header("etag"), Some("\"1\""));
    let made = reply.ok();
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
    let id = made["id"].as_str().unwrap();
    let wanted = json!({
        "id": id, "url": "https://example.com/hooks", "types": ["customer.created", "customer.updated"],
        "payload": "thin", "description": "The ledger", "enabled": true, "version": 1,
        "createdAt": "2026-05-25T09:30:00Z", "updatedAt": "2026-05-25T09:30:00Z", "secret": secret,
    });
    assert_eq!(made, wanted);
    let one = format!("{PATH}/{id}");
    let read = kit.get(&one).await.ok();
    assert!(read.get("secret").is_none());
    assert_eq!(kit.get(PATH).await.ok(), json!({"items": [read]}));
    assert_eq!(kit.ask("GET", &one, &[("If-None-Match", "\"1\"")], "").await.status, 304);

    let patch = json!({"types": [], "payload": "full", "description": null, "enabled": false});
    let changed = kit.ask("PATCH", &one, &[("If-Match", "\"1\"")], &patch.to_string()).await;
    assert_eq!(changed.header("etag"), Some("\"2\""));
    let changed = changed.ok();
    assert_eq!(
        (&changed["types"], &changed["payload"], &changed["enabled"]),
        (&json!([]), &json!("full"), &json!(false))
    );
    assert_eq!((&changed["disabledReason"], changed.get("description")), (&json!("requested"), None));
    let again = kit.ask("PATCH", &one, &[], &patch.to_string()).await.ok();
    assert_eq!(again["version"], 2);
    assert_eq!(
        kit.ask("PATCH", &one, &[("If-Match", "\"1\"")], r#"{"enabled":true}"#).await.code(412),
        "failed_precondition"
    );

    assert_eq!(kit.delete(&one).await.status, 200);
    for reply in [kit.get(&one).await, kit.delete(&one).await, kit.post(&format!("{one}/rotate"), "").await] {
        assert_eq!(reply.code(404), "not_found");
    }
    let events =
        kit.get("/v1/events?types=webhook_endpoint.created,webhook_endpoint.updated,webhook_endpoint.deleted").await;
    let text = events.text.clone();
    let kinds: Vec<_> = events.ok()["events"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["webhook_endpoint.created", "webhook_endpoint.updated", "webhook_endpoint.deleted"]);
    assert!(!text.contains("whsec") && !text.contains(secret.trim_start_matches("whsec_")));
}

#[tokio::test]
async fn everything_wrong_with_an_endpoint_is_told_at_once() {
    let kit = Kit::new().await;
    let body = json!({"url": "ftp://example.com", "types": ["customer.created", "shoe", 1], "payload": "fat",
        "description": "", "enabled": true});
    assert_eq!(kit.post(PATH, &body.to_string()).await.fields(), ["description", "enabled", "payload", "types", "url"]);
    assert_eq!(kit.post(PATH, "{}").await.problems(), ["url: required"]);
    let one = kit.simple().await;
    assert_eq!(kit.ask("PATCH", &one, &[], "{}").await.fields(), ["body"]);
    let body = json!({"url": null, "types": "all", "payload": 1, "enabled": "yes", "secret": "whsec_"});
    let fields = kit.ask("PATCH", &one, &[], &body.to_string()).await.fields();
    assert_eq!(fields, ["enabled", "payload", "secret", "types", "url"]);
    assert_eq!(kit.get(&format!("{PATH}/we_1")).await.fields(), ["endpoint_id"]);
    assert_eq!(kit.post(&format!("{one}/rotate"), r#"{"overlapSeconds":-1}"#).await.fields(), ["overlapSeconds"]);
    assert_eq!(kit.post(&format!("{one}/ping"), r#"{"a":1}"#).await.fields(), ["a"]);
    for (body, field) in [
        (json!({}), "event"),
        (json!({"event": "evt_1_1", "from": 1}), "from"),
        (json!({"event": "evt_1_1", "to": 1}), "to"),
        (json!({"event": "1"}), "event"),
        (json!({"from": 0}), "from"),
        (json!({"from": 3, "to": 2}), "to"),
    ] {
        assert_eq!(kit.post(&format!("{one}/replay"), &body.to_string()).await.fields(), [field], "{body}");
    }
    let wrong = kit.get(&format!("{one}/deliveries?state=lost&limit=0&after=x&page=1")).await.fields();
    assert_eq!(wrong, ["after", "limit", "page", "state"]);
}

#[tokio::test]
async fn another_organization_and_a_reader_are_kept_out() {
    let kit = Kit::new().await;
    let one = kit.simple().await;
    let none = format!("{PATH}/we_00000000000000000000000000000000");
    let as_who = |who: &str, method: &str, path: &str, body: &str| {
        let authorization = format!("Bearer {who}");
        kit.send(request(method, path, &[("Authorization", &authorization)], body))
    };
    for (method, end, body) in [
        ("GET", "", ""),
        ("PATCH", "", r#"{"enabled":false}"#),
        ("DELETE", "", ""),
        ("POST", "/rotate", ""),
        ("POST", "/ping", ""),
        ("POST", "/replay", r#"{"from":1}"#),
        ("GET", "/deliveries", ""),
    ] {
        let foreign = as_who("foreign", method, &format!("{one}{end}"), body).await;
        let random = kit.ask(method, &format!("{none}{end}"), &[], body).await;
        assert_eq!((foreign.status, &foreign.text), (404, &random.text), "{method} {end}");
        let reader = as_who("read", method, &format!("{one}{end}"), body).await.status;
        assert_eq!(reader, if method == "GET" { 200 } else { 403 }, "{method} {end}");
    }
    assert_eq!(as_who("foreign", "GET", PATH, "").await.ok(), json!({"items": []}));
}

#[tokio::test]
async fn a_retry_of_a_registration_is_answered_as_before() {
    let kit = Kit::new().await;
    let body = r#"{"url":"https://example.com/"}"#;
    let first = kit.ask("POST", PATH, &[("Idempotency-Key", "k-1")], body).await;
    let second = kit.ask("POST", PATH, &[("Idempotency-Key", "k-1")], body).await;
    assert_eq!((&first.text, second.header("idempotent-replayed")), (&second.text, Some("true")));
    assert_eq!(kit.get(PATH).await.ok()["items"].as_array().unwrap().len(), 1);
    for _ in 1..50 {
        kit.endpoint(json!({"url": "https://example.com/"})).await;
    }
    assert_eq!(kit.post(PATH, body).await.code(409), "aborted");
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_new_one_for_a_while() {
    let kit = Kit::new().await;
    let receiver = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(204)).mount(&receiver).await;
    let made = kit.endpoint(json!({"url": format!("{}/hooks", receiver.uri())})).await;
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let rotated = kit.post(&format!("{one}/rotate"), "").await.ok();
    assert_ne!(rotated["secret"], made["secret"]);
    assert_eq!((&rotated["version"], &rotated["previousSecretExpiresAt"]), (&json!(2), &json!("2026-05-26T09:30:00Z")));

    let pinged = kit.ask("POST", &format!("{one}/ping"), &[("Idempotency-Key", "p-1")], "").await.ok();
    assert_eq!((&pinged["delivered"], &pinged["status"]), (&json!(true), &json!(204)));
    let again = kit.ask("POST", &format!("{one}/ping"), &[("Idempotency-Key", "p-1")], "").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let received = receiver.received_requests().await.unwrap();
    let [ping] = &received[..] else { panic!("one ping was sent, and {} came", received.len()) };
    let body: Value = serde_json::from_slice(&ping.body).unwrap();
    assert_eq!((&body["type"], &body["data"]), (&json!("webhook.ping"), &json!({"endpointId": made["id"]})));
    // The clock of these tests stands still, so that a receiver's check of the time would fail: sign and compare.
    let header = |name: &str| ping.headers[name].to_str().unwrap().to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp").parse().unwrap());
    let signatures: Vec<String> = [&rotated, &made]
        .map(|shown| Webhook::new(shown["secret"].as_str().unwrap()).unwrap().sign(&id, timestamp, &ping.body).unwrap())
        .into();
    assert_eq!(header("webhook-signature"), signatures.join(" "));

    let at_once = kit.post(&format!("{one}/rotate"), r#"{"overlapSeconds":0}"#).await.ok();
    kit.post(&format!("{one}/ping"), "{}").await.ok();
    let last = receiver.received_requests().await.unwrap().pop().unwrap();
    assert!(!last.headers["webhook-signature"].to_str().unwrap().contains(' '), "{at_once}");
}

#[tokio::test]
async fn a_ping_tells_what_went_wrong_and_never_what_was_written() {
    let kit = Kit::new().await;
    let receiver = MockServer::start().await;
    let refusal = ResponseTemplate::new(500).set_body_string("secret of the receiver");
    Mock::given(method("POST")).respond_with(refusal).mount(&receiver).await;
    let made = kit.endpoint(json!({"url": receiver.uri()})).await;
    let reply = kit.post(&format!("{PATH}/{}/ping", made["id"].as_str().unwrap()), "").await;
    assert!(!reply.text.contains("secret"));
    let told = reply.ok();
    assert_eq!((&told["delivered"], &told["status"], &told["failure"]), (&json!(false), &json!(500), &json!("status")));
    let told = kit.post(&format!("{}/ping", kit.simple().await), "").await.ok();
    assert_eq!((told.get("status"), &told["failure"]), (None, &json!("connect")));
}

#[tokio::test]
async fn deliveries_are_shown_with_their_attempts_and_replayed() {
    let kit = Kit::new().await;
    let one = kit.simple().await;
    for id in ["a", "b", "c"] {
        kit.partner(id).await;
    }
    let (organization, at) =
        (OrganizationId::FIRST, custodia_domain::Timestamp::parse("2026-05-25T09:30:00Z").unwrap());
    let store = &kit.store;
    let claimed = store.claim(7, at, at.later_by(std::time::Duration::from_mins(1)), 10, &[]).await.unwrap();
    assert_eq!(claimed, [organization]);
    store.enqueue(organization, 7, at, 500).await.unwrap();
    let due = store.due(organization, at, 500, 500).await.unwrap();
    let settle = |place: usize, failure: Option<FailureKind>, next| Settlement {
        endpoint: due[place].endpoint,
        sequence: due[place].entry.sequence,
        attempts_before: 0,
        attempt: Attempt { at, duration_ms: 5, status: failure.is_none().then_some(200), failure },
        next,
    };
    let settled = [
        settle(0, None, DeliveryState::Delivered { at }),
        settle(1, Some(FailureKind::Timeout), DeliveryState::Parked { at }),
    ];
    assert_eq!(store.settle(organization, 7, &settled).await.unwrap(), [true, true]);

    let list = format!("{one}/deliveries");
    let all = kit.get(&list).await.ok();
    let states: Vec<_> = all["items"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "parked", "delivered"]);
    let parked = &all["items"][1];
    assert_eq!(
        *parked,
        json!({"event": "evt_1_3", "sequence": 3, "type": "customer.created", "customerId": "2", "state": "parked",
            "endedAt": "2026-05-25T09:30:00Z",
            "attempts": [{"at": "2026-05-25T09:30:00Z", "durationMs": 5, "failure": "timeout"}]})
    );
    assert_eq!(kit.get(&format!("{list}?state=parked")).await.ok()["items"], json!([parked]));
    let first = kit.get(&format!("{list}?limit=2")).await;
    let link = first.header("link").unwrap().to_owned();
    let page = first.ok();
    let next = page["next"].as_str().unwrap();
    assert_eq!(link, format!("<{list}?limit=2&after={next}>; rel=\"next\""));
    let rest = kit.get(&format!("{list}?limit=2&after={next}")).await.ok();
    assert_eq!((&rest["items"][0], rest.get("next")), (&all["items"][2], None));
    assert_eq!(kit.get(&format!("{list}?limit=2&state=parked&after={next}")).await.fields(), ["after"]);

    let replayed = kit.post(&format!("{one}/replay"), r#"{"event":"evt_1_3"}"#).await.ok();
    assert_eq!(replayed, json!({"count": 1}));
    assert_eq!(kit.get(&format!("{list}?state=pending")).await.ok()["items"].as_array().unwrap().len(), 2);
    assert_eq!(kit.post(&format!("{one}/replay"), r#"{"from":2,"to":2}"#).await.ok(), json!({"count": 1}));
    for event in ["evt_1_99", "evt_2_1"] {
        let reply = kit.post(&format!("{one}/replay"), &json!({"event": event}).to_string()).await;
        assert_eq!(reply.code(404), "not_found");
    }
}
