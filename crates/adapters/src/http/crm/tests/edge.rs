//! Credentials, prefixes, and the faults that have one text.

use super::*;
use crate::clock::FixedClock;
use custodia_domain::ports::MockCustomerStore;

const UNAUTHORIZED: &str = "Unauthorized - API Key required.";

#[tokio::test]
async fn both_prefixes_answer_the_same() {
    let kit = Kit::new().await;
    kit.create(&json!({})).await;
    kit.company("Acme").await;
    for (method, path, body) in [
        ("GET", "/customers/1", ""),
        ("GET", "/customers?sort_by=name", ""),
        ("GET", "/customer/company", ""),
        ("GET", "/customer/company/1", ""),
        ("PATCH", "/customers/1", "{}"),
        ("DELETE", "/customers/1", ""),
        ("POST", "/customers", "{}"),
        ("POST", "/customers/bulk", "[]"),
        ("POST", "/customer/company/create", "{"),
        ("POST", "/customer/company/bulk-create", "{\"companies\":5}"),
        ("PUT", "/customers/1", ""),
        ("GET", "/nowhere", ""),
    ] {
        let once = kit.ask(method, &format!("/external/v1{path}"), &[], body).await;
        let twice = kit.ask(method, &format!("/external/v1/external/v1{path}"), &[], body).await;
        assert_eq!((once.status, &once.text), (twice.status, &twice.text), "{method} {path}");
        assert_eq!((once.header("etag"), once.header("allow")), (twice.header("etag"), twice.header("allow")));
    }
}

#[tokio::test]
async fn a_key_or_a_bearer_token_is_needed() {
    let kit = Kit::new().await;
    for (name, value) in [
        ("x-api-key", ""),
        ("x-api-key", "wrong-key"),
        ("authorization", "write-key"),
        ("authorization", "Bearer wrong"),
        ("authorization", "Basic write-key"),
        ("x-api-key", "Bearer write-key"),
    ] {
        for (method, path) in [
            ("GET", "/customers"),
            ("POST", "/customers"),
            ("DELETE", "/customers/%FF"),
            ("GET", "/customer/company/1"),
        ] {
            let reply = kit.ask(method, path, &[(name, value)], "").await;
            assert_eq!(reply.detail(401), UNAUTHORIZED, "{name}: {value}");
        }
    }
    for (name, value) in
        [("x-api-key", "write-key"), ("authorization", "Bearer write-token"), ("authorization", "bearer write-key")]
    {
        kit.ask("GET", "/customers", &[(name, value)], "").await.ok();
    }
    let both = [("x-api-key", "wrong-key"), ("authorization", "Bearer write-token")];
    assert_eq!(kit.ask("GET", "/customers", &both, "").await.status, 401, "the key decides");
}

#[tokio::test]
async fn a_credential_that_may_only_read_changes_nothing() {
    let kit = Kit::new().await;
    kit.create(&json!({})).await;
    let key = [("x-api-key", "read-key")];
    kit.ask("GET", "/customers/1", &key, "").await.ok();
    for (method, path) in [
        ("POST", "/customers"),
        ("POST", "/customers/bulk"),
        ("PATCH", "/customers/1"),
        ("DELETE", "/customers/1"),
        ("POST", "/customer/company/create"),
        ("POST", "/customer/company/bulk-create"),
    ] {
        let reply = kit.ask(method, path, &key, "not json").await;
        assert_eq!(reply.detail(403), "Forbidden - this credential may not change anything.", "{method} {path}");
    }
}

#[tokio::test]
async fn other_faults_have_one_text() {
    let kit = Kit::new().await;
    assert_eq!(kit.get("/nowhere").await.detail(404), "Not Found");
    let method = kit.ask("PUT", "/customers/1", &[], "").await;
    assert_eq!(method.detail(405), "Method Not Allowed");
    let allowed = method.header("allow").unwrap();
    assert!(["GET", "PATCH", "DELETE"].iter().all(|method| allowed.contains(method)), "{allowed}");
    kit.ask("POST", "/customers", &[("content-type", "text/plain")], "{}").await.detail(415);
    let throttled = kit.ask("GET", "/customers", &[("x-api-key", "throttled-key")], "").await;
    assert_eq!((throttled.detail(429).as_str(), throttled.header("retry-after")), ("Too Many Requests", Some("7")));
    let away = kit.ask("GET", "/customers", &[("x-api-key", "away-key")], "").await;
    assert_eq!(
        (away.detail(503).as_str(), away.header("retry-after")),
        ("The service is not available, try again.", Some("1"))
    );
}

#[tokio::test]
async fn a_fault_of_the_store_tells_the_request_id_alone() {
    let store = Arc::new(MemoryStore::new());
    let at = Timestamp::parse(NOW).unwrap();
    store.add_organization("First", at).await.unwrap();
    let mut broken = MockCustomerStore::new();
    broken.expect_find().returning(|_| Err(StoreError::Fault("select * from customers".into())));
    broken.expect_list().returning(|_| Err(StoreError::Corrupt { table: "customers", column: "name", id: 1 }));
    let kit = Kit::over(Arc::new(broken), &store, Arc::new(FixedClock::at(at)));
    for path in ["/customers/1", "/customers"] {
        let reply = kit.ask("GET", path, &[("x-request-id", "r-7")], "").await;
        assert_eq!(reply.detail(500), "Internal Server Error (request id r-7)");
        assert_eq!(reply.header("x-request-id"), Some("r-7"));
    }
}

#[tokio::test]
async fn no_answer_repeats_a_credential() {
    let kit = Kit::new().await;
    let body = r#"{"name":"write-key","email":"write-key","source":5,"write-key":"x","api_key":"other secret"}"#;
    for (method, path) in [
        ("POST", "/customers?token=other+secret&zz=write-key"),
        ("POST", "/customers/bulk"),
        ("PATCH", "/customers/write-key%0A"),
    ] {
        let reply = kit.ask(method, path, &[("Idempotency-Key", "write-key write-key")], body).await;
        assert_eq!(reply.status, 422);
        assert!(!reply.text.contains("write-key") && !reply.text.contains("other secret"), "{}", reply.text);
    }
}
