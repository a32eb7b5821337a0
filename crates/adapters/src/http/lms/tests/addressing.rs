//! The two address prefixes, and `GET` of one customer.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Kit;

fn by_external_id(id: &str) -> String {
    format!("/v1/customers/external/{}", utf8_percent_encode(id, NON_ALPHANUMERIC))
}

#[tokio::test]
async fn both_prefixes_answer_the_same_bytes() {
    let kit = Kit::new().await;
    let created = kit.post("/v1/customers", r#"{"externalId":"ext-ada-001"}"#).await;
    let by_id = kit.get("/v1/customers/1").await;
    let by_external_id = kit.get("/v1/customers/external/ext-ada-001").await;
    by_id.ok();
    assert_eq!((created.text, by_id.header("etag")), (by_id.text.clone(), by_external_id.header("etag")));
    assert_eq!(by_id.text, by_external_id.text);
}

#[tokio::test]
async fn every_allowed_external_id_round_trips_through_the_path() {
    let kit = Kit::new().await;
    let longest = "名".repeat(128);
    for id in [
        "a/b", "100%", "%2F", "a b", "a+b", "é", "a?b#c", "..", ".", "close", "activate", "external", "\"<>\\",
        &longest,
    ] {
        let created = kit.partner(id).await;
        let found = kit.get(&by_external_id(id)).await.ok();
        assert_eq!(found, created, "{id}");
        let terms = r#"{"closureDate":"2026-05-25","closureReasonId":1}"#;
        let closed = kit.post(&format!("{}/close", by_external_id(id)), terms).await.ok();
        assert_eq!(closed["externalId"], id);
    }
}

#[tokio::test]
async fn an_unknown_customer_is_not_found() {
    let kit = Kit::new().await;
    kit.partner("a").await;
    for path in ["/v1/customers/2", "/v1/customers/external/b", "/v1/customers/external/A"] {
        assert_eq!(kit.get(path).await.code(404), "not_found", "{path}");
    }
    for huge in ["9223372036854775807", "9223372036854775808", "99999999999999999999999999"] {
        assert_eq!(kit.get(&format!("/v1/customers/{huge}")).await.code(404), "not_found", "{huge}");
    }
}

#[tokio::test]
async fn an_id_that_is_no_positive_integer_is_an_invalid_argument() {
    let kit = Kit::new().await;
    for id in ["0", "-1", "x", "1.0", "1e3", "%31x", "external", "+1", "%20", "%EF%BC%91"] {
        let reply = kit.get(&format!("/v1/customers/{id}")).await;
        assert_eq!(reply.problems(), ["customer_id: must be a positive integer"], "{id}");
    }
}

#[tokio::test]
async fn a_path_that_does_not_decode_is_an_invalid_argument() {
    let kit = Kit::new().await;
    for (raw, error) in
        [("%ff", "not valid UTF-8"), ("%zz", "invalid percent-encoding"), ("%00", "contains a NUL character")]
    {
        let reply = kit.get(&format!("/v1/customers/external/{raw}")).await;
        assert_eq!(reply.problems(), [format!("customer_external_id: {error}")]);
    }
    let long = by_external_id(&"x".repeat(129));
    assert_eq!(kit.get(&long).await.problems(), ["customer_external_id: must have at most 128 characters"]);
    assert_eq!(kit.get("/v1/customers/external/%20a").await.fields(), ["customer_external_id"]);
}

#[tokio::test]
async fn another_organizations_customer_is_one_that_does_not_exist() {
    let kit = Kit::new().await;
    kit.pending().await;
    let foreign = [("Authorization", "Bearer foreign")];
    let elsewhere = kit.get("/v1/customers/77").await;
    for path in ["/v1/customers/1", "/v1/customers/external/ada"] {
        let terms = r#"{"closureDate":"2026-05-25","closureReasonId":1}"#;
        let tried = [
            kit.ask("GET", path, &foreign, "").await,
            kit.ask("PUT", path, &foreign, r#"{"mobileNo":"1"}"#).await,
            kit.ask("DELETE", path, &foreign, "").await,
            kit.ask("POST", &format!("{path}/activate"), &foreign, r#"{"activationDate":"2026-05-25"}"#).await,
            kit.ask("POST", &format!("{path}/close"), &foreign, terms).await,
        ];
        for reply in tried {
            assert_eq!((reply.code(404).as_str(), &reply.text), ("not_found", &elsewhere.text));
        }
    }
    kit.get("/v1/customers/1").await.ok();
}

#[tokio::test]
async fn unknown_and_repeated_parameters_are_refused() {
    let kit = Kit::new().await;
    kit.partner("a").await;
    assert_eq!(kit.get("/v1/customers/1?x=1&y").await.problems(), ["x: unknown parameter", "y: unknown parameter"]);
}

#[tokio::test]
async fn a_version_that_the_caller_has_is_not_sent_again() {
    let kit = Kit::new().await;
    kit.partner("a").await;
    for known in ["\"1\"", "W/\"1\"", "*", "\"0\", \"1\"", "\"x\" , W/\"1\""] {
        let reply = kit.ask("GET", "/v1/customers/1", &[("If-None-Match", known)], "").await;
        assert_eq!((reply.status, reply.text.as_str()), (304, ""), "{known}");
        assert_eq!(reply.header("etag"), Some("\"1\""));
    }
    for other in ["\"2\"", "1", "\"11\"", "", "\"\""] {
        kit.ask("GET", "/v1/customers/1", &[("If-None-Match", other)], "").await.ok();
    }
    kit.put("/v1/customers/1", r#"{"mobileNo":"1"}"#).await.ok();
    let reply = kit.ask("GET", "/v1/customers/1", &[("If-None-Match", "\"1\"")], "").await;
    assert_eq!((reply.status, reply.header("etag")), (200, Some("\"2\"")));
    let missing = kit.ask("GET", "/v1/customers/9", &[("If-None-Match", "*")], "").await;
    assert_eq!(missing.code(404), "not_found");
}

#[tokio::test]
async fn a_head_request_answers_without_a_body() {
    let kit = Kit::new().await;
    kit.partner("a").await;
    let reply = kit.ask("HEAD", "/v1/customers/1", &[], "").await;
    assert_eq!((reply.status, reply.text.as_str(), reply.header("etag")), (200, "", Some("\"1\"")));
}
