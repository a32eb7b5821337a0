//! Who may ask, and what is decided before what. Also the token route.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Kit;

/// Every route with a body that it accepts.
const ROUTES: [(&str, &str, &str); 12] = [
    ("POST", "/v1/customers", r#"{"externalId":"b"}"#),
    ("GET", "/v1/customers", ""),
    ("GET", "/v1/customers/1", ""),
    ("PUT", "/v1/customers/1", r#"{"mobileNo":"1"}"#),
    ("DELETE", "/v1/customers/1", ""),
    ("POST", "/v1/customers/1/activate", r#"{"activationDate":"2026-05-25"}"#),
    ("POST", "/v1/customers/1/close", r#"{"closureDate":"2026-05-25","closureReasonId":1}"#),
    ("GET", "/v1/customers/external/a", ""),
    ("PUT", "/v1/customers/external/a", r#"{"mobileNo":"1"}"#),
    ("DELETE", "/v1/customers/external/a", ""),
    ("POST", "/v1/customers/external/a/activate", r#"{"activationDate":"2026-05-25"}"#),
    ("POST", "/v1/customers/external/a/close", r#"{"closureDate":"2026-05-25","closureReasonId":1}"#),
];

#[tokio::test]
async fn nobody_and_strangers_are_unauthenticated_on_every_route() {
    let kit = Kit::new().await;
    let texts = ["", "Bearer nobody", "Bearer", "Bearer ", "write", "Basic d3JpdGU=", "Bearer write extra"];
    for (method, path, body) in ROUTES {
        for credential in texts {
            let reply = kit.ask(method, path, &[("Authorization", credential)], body).await;
            assert_eq!(reply.code(401), "unauthenticated", "{method} {path} {credential:?}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
        let twice = [("Authorization", "Bearer write"), ("Authorization", "Bearer write")];
        assert_eq!(kit.ask(method, path, &twice, body).await.code(401), "unauthenticated");
    }
    assert_eq!(kit.get("/v1/customers").await.ok()["total"], 0, "nothing was done");
}

#[tokio::test]
async fn the_scheme_is_written_in_any_case() {
    let kit = Kit::new().await;
    for credential in ["bearer write", "BEARER write", "Bearer  write"] {
        kit.ask("GET", "/v1/customers", &[("Authorization", credential)], "").await.ok();
    }
}

#[tokio::test]
async fn a_credential_that_may_only_read_is_denied_every_change() {
    let kit = Kit::new().await;
    kit.partner("a").await;
    let reader = [("Authorization", "Bearer read")];
    for (method, path, body) in ROUTES {
        let reply = kit.ask(method, path, &reader, body).await;
        if method == "GET" {
            reply.ok();
        } else {
            assert_eq!(reply.code(403), "permission_denied", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn throttling_and_a_lost_store_tell_when_to_come_back() {
    let kit = Kit::new().await;
    let reply = kit.ask("GET", "/v1/customers", &[("Authorization", "Bearer throttled")], "").await;
    assert_eq!((reply.code(429).as_str(), reply.header("retry-after")), ("resource_exhausted", Some("7")));
    let reply = kit.ask("GET", "/v1/customers", &[("Authorization", "Bearer away")], "").await;
    assert_eq!((reply.code(503).as_str(), reply.header("retry-after")), ("unavailable", Some("1")));
    assert!(!reply.text.contains("secret"));
}

#[tokio::test]
async fn decisions_are_made_in_the_order_of_the_contract() {
    let kit = Kit::new().await;
    let stranger = ("Authorization", "Bearer nobody");
    let reader = ("Authorization", "Bearer read");
    let text = ("Content-Type", "text/plain");
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(kit.ask("GET", "/v1/customerz", &[stranger], "").await.code(404), "not_found");
    let reply = kit.ask("PATCH", "/v1/customers/1", &[stranger], "").await;
    assert_eq!(reply.code(405), "unimplemented");
    let allow: Vec<_> = reply.header("allow").unwrap().split(',').map(str::trim).collect();
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert!(allow.contains(&method), "{allow:?}");
    }
    assert_eq!(kit.ask("PUT", "/v1/customers/x", &[stranger, text], &large).await.code(401), "unauthenticated");
    assert_eq!(kit.ask("PUT", "/v1/customers/x", &[reader, text], &large).await.code(403), "permission_denied");
    assert_eq!(kit.ask("PUT", "/v1/customers/x", &[text], &large).await.code(413), "invalid_argument");
    assert_eq!(kit.ask("PUT", "/v1/customers/x", &[text], "{").await.code(415), "invalid_argument");
    assert_eq!(kit.put("/v1/customers/x?y=1", "{").await.fields(), ["body", "customer_id", "y"]);
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let kit = Kit::new().await;
    for (method, path, body) in ROUTES {
        let reply = kit.ask(method, path, &[("X-Request-Id", "r.1")], body).await;
        assert_eq!(reply.header("x-request-id"), Some("r.1"), "{method} {path}");
    }
    assert!(kit.get("/v1/customers").await.header("x-request-id").is_some());
}

fn basic(account: &str) -> String {
    format!("Basic {}", STANDARD.encode(account))
}

#[tokio::test]
async fn a_partner_account_gets_a_token() {
    let kit = Kit::new().await;
    let reply = kit.ask("GET", "/v1/auth/token", &[("Authorization", &basic("ada@example.com:s:ecret"))], "").await;
    reply.ok();
    assert_eq!(reply.text, r#"{"token":"a.b.c"}"#);
    let reply = kit.ask("GET", "/v1/auth/token?x=1", &[("Authorization", &basic("ada@example.com:s:ecret"))], "").await;
    assert_eq!(reply.problems(), ["x: unknown parameter"]);
}

#[tokio::test]
async fn wrong_accounts_are_unauthenticated_with_the_scheme_basic() {
    let kit = Kit::new().await;
    let wrong = basic("ada@example.com:wrong");
    for credential in
        ["", &wrong, &basic("eve@example.com:s:ecret"), &basic("nocolon"), "Basic ***", "Bearer write", "Basic /w=="]
    {
        let reply = kit.ask("GET", "/v1/auth/token", &[("Authorization", credential)], "").await;
        assert_eq!(reply.code(401), "unauthenticated", "{credential}");
        assert_eq!(reply.header("www-authenticate"), Some("Basic"));
    }
    let reply = kit.ask("GET", "/v1/auth/token", &[("Authorization", &basic("busy@example.com:x"))], "").await;
    assert_eq!((reply.code(429).as_str(), reply.header("retry-after")), ("resource_exhausted", Some("60")));
}

#[tokio::test]
async fn the_keys_are_there_for_everybody() {
    let kit = Kit::new().await;
    let reply = kit.ask("GET", "/.well-known/jwks.json", &[("Authorization", "")], "").await;
    assert_eq!(reply.ok()["keys"][0]["kid"], "1");
}
