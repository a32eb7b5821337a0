//! Idempotency keys, and what a client reads when the store fails.

use std::sync::Arc;

use custodia_domain::ports::{CommitError, MockCustomerStore, StoreError};
use serde_json::json;

use super::{Kit, Reply, request};
use crate::memory::MemoryStore;

const CREATE: &str = r#"{"externalId":"ada"}"#;

async fn keyed(kit: &Kit, key: &str, method: &str, path: &str, body: &str) -> Reply {
    kit.ask(method, path, &[("Idempotency-Key", key)], body).await
}

#[track_caller]
fn assert_replayed(first: &Reply, again: &Reply) {
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    assert_eq!(first.header("etag"), again.header("etag"));
    assert_eq!(first.header("content-type"), again.header("content-type"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.header("idempotent-replayed"), None);
}

#[tokio::test]
async fn a_retry_under_the_same_key_is_answered_as_before() {
    let kit = Kit::new().await;
    let first = keyed(&kit, "k1", "POST", "/v1/customers", CREATE).await;
    first.ok();
    assert_replayed(&first, &keyed(&kit, "\"k1\"", "POST", "/v1/customers", " { \"externalId\" : \"ada\" } ").await);
    kit.put("/v1/customers/1", r#"{"mobileNo":"1"}"#).await.ok();
    assert_replayed(&first, &keyed(&kit, "k1", "POST", "/v1/customers", CREATE).await);
    assert_eq!(kit.get("/v1/customers").await.ok()["total"], 1);
}

#[tokio::test]
async fn a_replay_does_not_fail_because_the_version_moved_on() {
    let kit = Kit::new().await;
    kit.partner("ada").await;
    let headers = [("Idempotency-Key", "k1"), ("If-Match", "\"1\"")];
    let first = kit.ask("PUT", "/v1/customers/1", &headers, r#"{"mobileNo":"1"}"#).await;
    first.ok();
    assert_replayed(&first, &kit.ask("PUT", "/v1/customers/1", &headers, r#"{"mobileNo":"1"}"#).await);
}

#[tokio::test]
async fn a_deletion_is_answered_again_although_nothing_is_left() {
    let kit = Kit::new().await;
    kit.pending().await;
    let first = keyed(&kit, "k1", "DELETE", "/v1/customers/1", "").await;
    assert_eq!(first.status, 200);
    assert_replayed(&first, &keyed(&kit, "k1", "DELETE", "/v1/customers/1", "").await);
    assert_eq!(keyed(&kit, "k2", "DELETE", "/v1/customers/1", "").await.code(404), "not_found");
}

#[tokio::test]
async fn refusals_decided_on_state_are_kept_and_syntax_is_not() {
    let kit = Kit::new().await;
    let missing = keyed(&kit, "k1", "PUT", "/v1/customers/1", r#"{"mobileNo":"1"}"#).await;
    assert_eq!(missing.code(404), "not_found");
    kit.partner("ada").await;
    assert_replayed(&missing, &keyed(&kit, "k1", "PUT", "/v1/customers/1", r#"{"mobileNo":"1"}"#).await);
    let taken = keyed(&kit, "k2", "POST", "/v1/customers", CREATE).await;
    assert_eq!(taken.code(409), "aborted");
    kit.put("/v1/customers/1", r#"{"externalId":"b"}"#).await.ok();
    assert_replayed(&taken, &keyed(&kit, "k2", "POST", "/v1/customers", CREATE).await);
    assert_eq!(keyed(&kit, "k3", "POST", "/v1/customers", "{}").await.code(400), "invalid_argument");
    keyed(&kit, "k3", "POST", "/v1/customers", r#"{"externalId":"c"}"#).await.ok();
}

#[tokio::test]
async fn a_key_used_for_another_request_is_an_invalid_argument_that_names_the_header() {
    let kit = Kit::new().await;
    keyed(&kit, "k1", "POST", "/v1/customers", CREATE).await.ok();
    let reply = keyed(&kit, "k1", "POST", "/v1/customers", r#"{"externalId":"b"}"#).await;
    assert_eq!(reply.problems(), ["Idempotency-Key: was used for another request"]);
    let put = keyed(&kit, "k1", "PUT", "/v1/customers/1", r#"{"mobileNo":"1"}"#).await;
    put.ok();
    let other_path = keyed(&kit, "k1", "PUT", "/v1/customers/2", r#"{"mobileNo":"1"}"#).await;
    assert_eq!(other_path.fields(), ["Idempotency-Key"]);
}

#[tokio::test]
async fn another_credential_has_keys_of_its_own() {
    let kit = Kit::new().await;
    keyed(&kit, "k1", "POST", "/v1/customers", CREATE).await.ok();
    for credential in ["Bearer second", "Bearer foreign"] {
        let headers = [("Idempotency-Key", "k1"), ("Authorization", credential)];
        let reply = kit.ask("POST", "/v1/customers", &headers, r#"{"externalId":"b"}"#).await;
        assert_eq!((reply.status, reply.header("idempotent-replayed")), (200, None), "{credential}");
    }
}

#[tokio::test]
async fn a_malformed_key_is_told_with_the_other_problems() {
    let kit = Kit::new().await;
    let reply = keyed(&kit, "a b", "POST", "/v1/customers", "{}").await;
    assert_eq!(reply.fields(), ["Idempotency-Key", "externalId"]);
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    assert_eq!(
        kit.ask("POST", "/v1/customers", &twice, CREATE).await.problems(),
        ["Idempotency-Key: must be given once"]
    );
}

fn failing(commit: fn() -> CommitError) -> Kit {
    let mut customers = MockCustomerStore::new();
    customers.expect_receipts().returning(|_, keys| Ok(vec![None; keys.len()]));
    customers.expect_reserve().returning(|_, _, _| Ok(Some(1)));
    customers.expect_find().returning(|_| Err(StoreError::Fault("select secret".into())));
    customers.expect_commit().returning(move |units| units.iter().map(|_| Err(commit())).collect());
    let store = Arc::new(MemoryStore::new());
    Kit { app: Kit::over(Arc::new(customers), store.clone(), &store), store, arrivals: Arc::default() }
}

async fn with_organization(kit: Kit) -> Kit {
    use custodia_domain::ports::Directory as _;
    let at = custodia_domain::Timestamp::parse("2026-05-25T09:30:00Z").unwrap();
    kit.store.add_organization("First", at).await.unwrap();
    kit
}

#[tokio::test]
async fn a_fault_says_nothing_but_the_request_id() {
    let kit = with_organization(failing(|| CommitError::Store(StoreError::Fault("insert secret".into())))).await;
    let headers = [("X-Request-Id", "req-7")];
    for reply in [
        kit.ask("GET", "/v1/customers/1", &headers, "").await,
        kit.ask("POST", "/v1/customers", &headers, CREATE).await,
        kit.ask("PUT", "/v1/customers/1", &headers, r#"{"mobileNo":"1"}"#).await,
    ] {
        assert_eq!(reply.code(500), "internal");
        assert_eq!(reply.json(), json!({"code": "internal", "message": "request id req-7"}));
        assert_eq!(reply.header("x-request-id"), Some("req-7"));
    }
}

#[tokio::test]
async fn a_store_that_is_away_asks_to_retry() {
    let kit = with_organization(failing(|| CommitError::Store(StoreError::Unavailable("secret".into())))).await;
    let reply = kit.post("/v1/customers", CREATE).await;
    assert_eq!((reply.code(503).as_str(), reply.header("retry-after")), ("unavailable", Some("1")));
    assert!(!reply.text.contains("secret"));
}

#[tokio::test]
async fn an_unknown_outcome_is_safe_to_retry_under_a_key_alone() {
    let kit = with_organization(failing(|| CommitError::Unknown("gone".into()))).await;
    let reply = keyed(&kit, "k1", "POST", "/v1/customers", CREATE).await;
    assert_eq!((reply.code(503).as_str(), reply.header("retry-after")), ("unavailable", Some("1")));
    assert_eq!(kit.post("/v1/customers", CREATE).await.code(500), "internal");
}

#[tokio::test]
async fn a_change_that_others_always_overtake_is_aborted() {
    let kit = with_organization(failing(|| CommitError::ReceiptTaken)).await;
    let reply = kit.send(request("POST", "/v1/customers", &[("Idempotency-Key", "k")], CREATE)).await;
    assert_eq!((reply.code(409).as_str(), reply.header("retry-after")), ("aborted", Some("1")));
}
