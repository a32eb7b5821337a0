//! One customer read, changed and deleted; versions and keys.

use custodia_domain::CustomerId;
use custodia_domain::ports::Selector;

use super::*;

#[tokio::test]
async fn a_change_keeps_sets_and_clears() {
    let kit = Kit::new().await;
    let company = kit.company("Acme").await;
    let created = kit.create(&json!({"city": "Accra", "ip": "::1", "company_id": company["company_id"]})).await;
    kit.clock.set(Timestamp::parse("2025-11-28T10:00:00Z").unwrap());
    let reply = kit
        .patch("/customers/1", &json!({"name": "Alice J", "city": null, "latitude": "07.50", "ip": "10.0.0.1"}))
        .await;
    let mut expected = created.clone();
    expected["name"] = json!("Alice J");
    expected["city"] = Value::Null;
    expected["latitude"] = json!("07.50");
    expected["ip"] = json!("10.0.0.1");
    expected["time_updated"] = json!("2025-11-28T10:00:00.000Z");
    assert_eq!(reply.ok(), expected);
    assert_eq!(reply.header("etag"), Some("\"2\""));
    let left = kit.patch("/customers/1", &json!({"company_id": null, "country": ""})).await.ok();
    assert_eq!((&left["company_id"], &left["company_name"]), (&Value::Null, &Value::Null));
    let joined = kit.patch("/customers/1", &json!({"company_id": company["company_id"]})).await.ok();
    assert_eq!((&joined["company_id"], &joined["company_name"]), (&company["id"], &json!("Acme")));
    let unknown = kit.patch("/customers/1", &json!({"company_id": "CMP-00000000"})).await;
    assert_eq!(unknown.problems(), ["value_error body/company_id"]);
}

#[tokio::test]
async fn a_change_of_nothing_makes_no_version() {
    let kit = Kit::new().await;
    let created = kit.create(&json!({})).await;
    kit.clock.set(Timestamp::parse("2025-11-28T10:00:00Z").unwrap());
    for body in
        [json!({}), json!({"name": "Alice Johnson", "is_active": true}), json!({"is_active": null, "city": null})]
    {
        let reply = kit.patch("/customers/1", &body).await;
        assert_eq!(reply.ok(), created, "{body}");
        assert_eq!(reply.header("etag"), Some("\"1\""));
    }
}

#[tokio::test]
async fn a_reason_stands_in_the_history_and_is_refused_where_it_cannot_be_read() {
    let kit = Kit::new().await;
    kit.create(&json!({})).await;
    let body = r#"{"city":"Kumasi"}"#;
    kit.ask("PATCH", "/customers/1", &[("Custodia-Reason", "%C3%BCber phone")], body).await.ok();
    let customer = Selector::Id(CustomerId::FIRST);
    let history = kit.registry.history(OrganizationId::FIRST, customer, None, 10).await.unwrap().unwrap();
    let reasons: Vec<_> = history.events.iter().map(|recorded| recorded.audit.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("über phone"), None]);
    let bad = kit.ask("PATCH", "/customers/1", &[("Custodia-Reason", "%")], body).await;
    assert_eq!(bad.problems(), ["value_error header/Custodia-Reason"]);
}

#[tokio::test]
async fn what_is_needed_cannot_be_cleared() {
    let kit = Kit::new().await;
    kit.create(&json!({})).await;
    let reply = kit.patch("/customers/1", &json!({"name": null, "email": null, "source": null})).await;
    assert_eq!(reply.problems(), ["string_type body/name", "string_type body/email", "string_type body/source"]);
}

#[tokio::test]
async fn a_pending_customer_is_activated_and_an_active_one_is_not_closed() {
    let kit = Kit::new().await;
    kit.create(&json!({"is_active": false})).await;
    let reply = kit.patch("/customers/1", &json!({"is_active": true, "city": "Accra"})).await;
    assert_eq!(reply.ok()["is_active"], true);
    assert_eq!(reply.ok()["city"], "Accra");
    let refused = kit.patch("/customers/1", &json!({"is_active": false, "city": "Kumasi"})).await;
    assert_eq!(refused.detail(409), "Not possible: the customer is Active.");
    assert_eq!(kit.get("/customers/1").await.ok()["city"], "Accra", "a refused change changes nothing");
}

#[tokio::test]
async fn only_a_pending_customer_is_deleted() {
    let kit = Kit::new().await;
    kit.create(&json!({"is_active": false})).await;
    kit.create(&json!({})).await;
    let gone = kit.ask("DELETE", "/customers/1", &[], "").await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    assert_eq!(kit.get("/customers/1").await.detail(404), "Not Found");
    assert_eq!(kit.ask("DELETE", "/customers/1", &[], "").await.detail(404), "Not Found");
    assert_eq!(kit.ask("DELETE", "/customers/2", &[], "").await.detail(409), "Not possible: the customer is Active.");
    assert_eq!(kit.ask("DELETE", "/customers/2", &[], "{\"zz\":1}").await.problems(), ["extra_forbidden body/zz"]);
}

#[tokio::test]
async fn digits_are_the_integer_id_and_anything_else_the_public_one() {
    let kit = Kit::new().await;
    for id in ["a/b", "100%", "bulk", "Ünï çødé", "7"] {
        kit.elsewhere(Some(id)).await;
    }
    for (path, id) in [
        ("a%2Fb", 1),
        ("a%2fb", 1),
        ("100%25", 2),
        ("bulk", 3),
        ("%62ulk", 3),
        ("%C3%9Cn%C3%AF%20%C3%A7%C3%B8d%C3%A9", 4),
        ("5", 5),
        ("0005", 5),
    ] {
        for prefix in ["/external/v1", "/external/v1/external/v1"] {
            let path = format!("{prefix}/customers/{path}");
            assert_eq!(kit.get(&path).await.ok()["id"], id, "{path}");
            assert_eq!(kit.patch(&path, &json!({})).await.ok()["id"], id, "{path}");
        }
    }
    for path in ["7", "0", "99999999999999999999999", "CUS-000000000000", "A%2Fb"] {
        assert_eq!(kit.get(&format!("/customers/{path}")).await.detail(404), "Not Found", "{path}");
        assert_eq!(kit.patch(&format!("/customers/{path}"), &json!({})).await.detail(404), "Not Found", "{path}");
    }
    let long = "x".repeat(129);
    for (path, kind) in [
        ("%FF", "value_error"),
        ("%zz", "value_error"),
        ("%00", "value_error"),
        ("a%0A", "value_error"),
        (&*long, "string_too_long"),
    ] {
        assert_eq!(
            kit.get(&format!("/customers/{path}")).await.problems(),
            [format!("{kind} path/customer_id")],
            "{path}"
        );
    }
    let reply = kit.ask("PATCH", "/customers/%FF?zz=1", &[("If-Match", "x")], "{\"name\":5}").await;
    assert_eq!(
        reply.problems(),
        [
            "value_error path/customer_id",
            "extra_forbidden query/zz",
            "value_error header/If-Match",
            "string_type body/name"
        ]
    );
}

#[tokio::test]
async fn a_customer_of_another_dialect_is_shown_with_nulls_and_can_be_changed() {
    let kit = Kit::new().await;
    let id = kit.elsewhere(None).await;
    let shown = kit.get(&format!("/customers/{id}")).await.ok();
    assert_eq!(shown["name"], "Ada Lovelace");
    assert_eq!(shown["whatsapp_number"], "+255 700 (ext. 5)");
    for name in ["customer_id", "email", "source", "ip", "company_id"] {
        assert_eq!(shown[name], Value::Null, "{name}");
    }
    let same = kit.patch(&format!("/customers/{id}"), &json!({"name": "Ada Lovelace"})).await;
    assert_eq!(same.header("etag"), Some("\"1\""), "who repeats the name does not drop its parts");
    let changed =
        kit.patch(&format!("/customers/{id}"), &json!({"email": "ada@example.com", "is_active": true})).await.ok();
    assert_eq!((&changed["email"], &changed["is_active"]), (&json!("ada@example.com"), &json!(true)));
    assert_eq!(changed["whatsapp_number"], "+255 700 (ext. 5)");
}

#[tokio::test]
async fn versions_guard_reads_and_changes() {
    let kit = Kit::new().await;
    kit.create(&json!({})).await;
    let known = kit.ask("GET", "/customers/1", &[("If-None-Match", "\"1\"")], "").await;
    assert_eq!((known.status, known.header("etag"), known.text.as_str()), (304, Some("\"1\""), ""));
    let body = r#"{"city":"Accra"}"#;
    assert_eq!(kit.ask("PATCH", "/customers/1", &[("If-Match", "\"1\"")], body).await.status, 200);
    let stale = kit.ask("PATCH", "/customers/1", &[("If-Match", "\"1\"")], body).await;
    assert_eq!(stale.detail(412), "The customer is at version 2.");
    assert_eq!(stale.header("etag"), Some("\"2\""));
    assert_eq!(kit.ask("DELETE", "/customers/1", &[("If-Match", "\"9\"")], "").await.status, 412);
    assert_eq!(kit.ask("PATCH", "/customers/9", &[("If-Match", "\"9\"")], body).await.status, 404);
    assert_eq!(kit.ask("PATCH", "/customers/1", &[("If-Match", "*")], body).await.status, 200);
}

#[tokio::test]
async fn a_key_repeats_the_answer_under_either_prefix_and_refuses_another_request() {
    let kit = Kit::new().await;
    let key = [("Idempotency-Key", "\"k-1\"")];
    let body = alice(&json!({})).to_string();
    let first = kit.ask("POST", "/customers", &key, &body).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    for path in ["/customers", "/external/v1/external/v1/customers"] {
        let again = kit.ask("POST", path, &key, &body).await;
        assert_eq!((again.status, &again.text, again.header("etag")), (201, &first.text, first.header("etag")));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
    assert_eq!(kit.get("/customers").await.ok()["total"], 1);
    let other = kit.ask("POST", "/customers", &key, &alice(&json!({"city": "Accra"})).to_string()).await;
    assert_eq!(other.problems(), ["value_error header/Idempotency-Key"]);
    let theirs = [("Idempotency-Key", "k-1"), ("x-api-key", "second-key")];
    assert_eq!(kit.ask("POST", "/customers", &theirs, &body).await.json_of(201)["id"], 2);
    let bulk = json!({"customers": [alice(&json!({}))]}).to_string();
    let first = kit.ask("POST", "/customers/bulk", &key, &bulk).await;
    let again = kit.ask("POST", "/customers/bulk", &key, &bulk).await;
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    let bad = kit.ask("POST", "/customers", &[("Idempotency-Key", "a b")], &body).await;
    assert_eq!(bad.problems(), ["value_error header/Idempotency-Key"]);
    let missing = [("Idempotency-Key", "k-2")];
    assert_eq!(kit.ask("DELETE", "/customers/77", &missing, "").await.status, 404);
    assert_eq!(kit.ask("DELETE", "/customers/77", &missing, "").await.header("idempotent-replayed"), Some("true"));
}
