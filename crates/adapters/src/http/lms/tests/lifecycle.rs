//! Activate, close and delete, in every state; conditional requests on them.

use custodia_domain::ports::Directory as _;
use custodia_domain::{ClosureReasonId, OrganizationId, Timestamp};
use serde_json::json;

use super::Kit;

const ACTIVATE: &str = r#"{"activationDate":"2026-05-22"}"#;
const CLOSE: &str = r#"{"closureDate":"2026-05-25","closureReasonId":17}"#;

impl Kit {
    /// Ada at `/v1/customers/1`, in that state.
    async fn ada(state: &str) -> Self {
        let kit = Self::new().await;
        kit.pending().await;
        if state != "Pending" {
            kit.post("/v1/customers/1/activate", ACTIVATE).await.ok();
        }
        if state == "Closed" {
            kit.post("/v1/customers/1/close", CLOSE).await.ok();
        }
        assert_eq!(kit.get("/v1/customers/1").await.ok()["status"], state);
        kit
    }
}

#[tokio::test]
async fn a_pending_customer_is_activated() {
    let kit = Kit::ada("Pending").await;
    let reply = kit.post("/v1/customers/external/ada/activate", ACTIVATE).await;
    let ada = reply.ok();
    assert_eq!((&ada["status"], &ada["active"]), (&json!("Active"), &json!(true)));
    assert_eq!((&ada["activationDate"], &ada["version"]), (&json!("2026-05-22"), &json!(2)));
    assert_eq!(reply.header("etag"), Some("\"2\""));
    assert_eq!(kit.get("/v1/customers/1").await.text, reply.text);
}

#[tokio::test]
async fn an_activation_date_is_required_and_within_its_bounds() {
    let kit = Kit::ada("Pending").await;
    let path = "/v1/customers/1/activate";
    for (body, problem) in [
        ("{}", "activationDate: required"),
        (r#"{"activationDate":null}"#, "activationDate: required"),
        (r#"{"activationDate":"2026-05-19"}"#, "activationDate: must not be before the submission date"),
        (r#"{"activationDate":"2026-05-26"}"#, "activationDate: must not be in the future"),
        (r#"{"activationDate":"2026-02-30"}"#, "activationDate: is not a date of the calendar"),
        (r#"{"activationDate":20260522}"#, "activationDate: must be a string"),
    ] {
        assert_eq!(kit.post(path, body).await.problems(), [problem], "{body}");
    }
    let reply = kit.post(path, r#"{"activationDate":"x","reason":"y"}"#).await;
    assert_eq!(reply.fields(), ["activationDate", "reason"]);
    for bound in ["2026-05-20", "2026-05-25"] {
        let kit = Kit::ada("Pending").await;
        kit.post(path, &json!({ "activationDate": bound }).to_string()).await.ok();
    }
}

#[tokio::test]
async fn an_active_customer_is_closed() {
    let kit = Kit::ada("Active").await;
    let reply = kit.post("/v1/customers/1/close", CLOSE).await;
    let ada = reply.ok();
    assert_eq!((&ada["status"], &ada["active"]), (&json!("Closed"), &json!(false)));
    assert_eq!((&ada["closureDate"], &ada["closureReasonId"]), (&json!("2026-05-25"), &json!("17")));
    assert_eq!((&ada["activationDate"], &ada["version"]), (&json!("2026-05-22"), &json!(3)));
    assert_eq!(kit.get("/v1/customers/external/ada").await.text, reply.text);
    assert_eq!(kit.post("/v1/customers", r#"{"externalId":"ada"}"#).await.code(409), "aborted", "its id stays taken");
}

#[tokio::test]
async fn a_closure_wants_a_date_and_a_reason() {
    let kit = Kit::ada("Active").await;
    let path = "/v1/customers/1/close";
    assert_eq!(kit.post(path, "{}").await.problems(), ["closureDate: required", "closureReasonId: required"]);
    for (body, field) in [
        (r#"{"closureDate":"2026-05-21","closureReasonId":17}"#, "closureDate"),
        (r#"{"closureDate":"2026-5-21","closureReasonId":17}"#, "closureDate"),
        (r#"{"closureDate":"2026-05-25","closureReasonId":0}"#, "closureReasonId"),
        (r#"{"closureDate":"2026-05-25","closureReasonId":-1}"#, "closureReasonId"),
        (r#"{"closureDate":"2026-05-25","closureReasonId":"x"}"#, "closureReasonId"),
        (r#"{"closureDate":"2026-05-25","closureReasonId":17,"note":"x"}"#, "note"),
    ] {
        assert_eq!(kit.post(path, body).await.fields(), [field], "{body}");
    }
    let early = kit.post(path, r#"{"closureDate":"2026-05-21","closureReasonId":17}"#).await;
    assert_eq!(early.problems(), ["closureDate: must not be before the activation date"]);
    let as_string = r#"{"closureDate":"2026-05-22","closureReasonId":"17"}"#;
    assert_eq!(kit.post(path, as_string).await.ok()["closureReasonId"], "17");
}

#[tokio::test]
async fn a_closure_date_in_the_future_takes_effect_at_once() {
    let kit = Kit::ada("Active").await;
    let closed = kit.post("/v1/customers/1/close", r#"{"closureDate":"2027-01-01","closureReasonId":1}"#).await.ok();
    assert_eq!((&closed["status"], &closed["closureDate"]), (&json!("Closed"), &json!("2027-01-01")));
}

#[tokio::test]
async fn a_closure_reason_is_one_of_the_list_once_there_is_one() {
    let kit = Kit::ada("Active").await;
    let at = Timestamp::parse("2026-05-25T09:30:00Z").unwrap();
    let reason = ClosureReasonId::parse(17).unwrap();
    kit.store.add_closure_reason(OrganizationId::FIRST, reason, "Moved away", at).await.unwrap();
    let other = r#"{"closureDate":"2026-05-25","closureReasonId":18}"#;
    assert_eq!(kit.post("/v1/customers/1/close", other).await.problems(), ["closureReasonId: unknown"]);
    kit.post("/v1/customers/1/close", CLOSE).await.ok();
}

#[tokio::test]
async fn what_the_state_does_not_allow_is_aborted() {
    for (state, method, path, body) in [
        ("Active", "POST", "/activate", ACTIVATE),
        ("Closed", "POST", "/activate", ACTIVATE),
        ("Pending", "POST", "/close", CLOSE),
        ("Closed", "POST", "/close", CLOSE),
        ("Active", "DELETE", "", ""),
        ("Closed", "DELETE", "", ""),
        ("Closed", "PUT", "", r#"{"mobileNo":"1"}"#),
    ] {
        let kit = Kit::ada(state).await;
        let before = kit.get("/v1/customers/1").await.text;
        let reply = kit.ask(method, &format!("/v1/customers/1{path}"), &[], body).await;
        assert_eq!(reply.code(409), "aborted", "{state} {method} {path}");
        assert_eq!(reply.json()["message"], format!("not possible: the customer is {state}"));
        assert_eq!(kit.get("/v1/customers/1").await.text, before);
    }
}

#[tokio::test]
async fn a_pending_customer_is_deleted_and_its_external_id_free_again() {
    let kit = Kit::ada("Pending").await;
    let reply = kit.delete("/v1/customers/external/ada").await;
    assert_eq!((reply.status, reply.text.as_str()), (200, ""));
    assert_eq!(kit.get("/v1/customers/1").await.code(404), "not_found");
    assert_eq!(kit.delete("/v1/customers/external/ada").await.code(404), "not_found");
    let again = kit.pending().await;
    assert_ne!(again["id"], "1", "a number is given once");
}

#[tokio::test]
async fn a_deletion_has_no_members() {
    let kit = Kit::ada("Pending").await;
    let json = [("Content-Type", "application/json")];
    let reply = kit.ask("DELETE", "/v1/customers/1", &json, r#"{"reason":"x"}"#).await;
    assert_eq!(reply.problems(), ["reason: unknown field"]);
    assert_eq!(kit.ask("DELETE", "/v1/customers/1", &json, "{}").await.status, 200);
}

#[tokio::test]
async fn another_version_than_the_one_wanted_fails_the_precondition() {
    for (method, path, body) in
        [("POST", "/activate", ACTIVATE), ("PUT", "", r#"{"mobileNo":"1"}"#), ("DELETE", "", "")]
    {
        for wanted in
            ["\"2\"", "\"01\"", "W/\"1\"", "\"x\"", "\"\"", "\"9223372036854775807\"", "\"99999999999999999999\""]
        {
            let kit = Kit::ada("Pending").await;
            let path = format!("/v1/customers/1{path}");
            let reply = kit.ask(method, &path, &[("If-Match", wanted)], body).await;
            assert_eq!(reply.code(412), "failed_precondition", "{method} {wanted}");
            assert_eq!(reply.header("etag"), Some("\"1\""));
            assert_eq!(kit.get("/v1/customers/1").await.ok()["version"], 1);
        }
        for wanted in ["\"1\"", "*"] {
            let kit = Kit::ada("Pending").await;
            let path = format!("/v1/customers/1{path}");
            assert_eq!(kit.ask(method, &path, &[("If-Match", wanted)], body).await.status, 200, "{method} {wanted}");
        }
    }
}

#[tokio::test]
async fn a_malformed_precondition_is_an_invalid_argument() {
    let kit = Kit::ada("Pending").await;
    for wanted in ["1", "\"1", "\"1\", \"2\"", "W/1", "**"] {
        let reply = kit.ask("PUT", "/v1/customers/1", &[("If-Match", wanted)], r#"{"mobileNo":"1"}"#).await;
        assert_eq!(reply.fields(), ["If-Match"], "{wanted}");
    }
    let twice = [("If-Match", "\"1\""), ("If-Match", "\"2\"")];
    assert_eq!(kit.ask("DELETE", "/v1/customers/1", &twice, "").await.fields(), ["If-Match"]);
}

#[tokio::test]
async fn syntax_is_decided_before_existence_before_the_version_before_the_state() {
    let kit = Kit::ada("Closed").await;
    let old = [("If-Match", "\"1\"")];
    assert_eq!(kit.ask("POST", "/v1/customers/9/close", &old, "{}").await.code(400), "invalid_argument");
    assert_eq!(kit.ask("POST", "/v1/customers/9/close", &old, CLOSE).await.code(404), "not_found");
    assert_eq!(kit.ask("POST", "/v1/customers/1/close", &old, CLOSE).await.code(412), "failed_precondition");
    assert_eq!(kit.post("/v1/customers/1/close", CLOSE).await.code(409), "aborted");
    let future = r#"{"activationDate":"2026-05-26"}"#;
    assert_eq!(kit.post("/v1/customers/9/activate", future).await.code(400), "invalid_argument");
}
