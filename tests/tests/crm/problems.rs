//! Validation errors as Pydantic writes them: each kind, its place and its words, in a body, in a batch, and of a body that
//! is no JSON.

use custodia_tests::{Answer, both};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{CUSTOMERS, PREFIXES, get, patch, path_of, person, post, told, with};

/// A member, a wrong value, and the `type`, `msg` and `ctx` of its entry.
type Row = (&'static str, Value, &'static str, &'static str, Value);

fn rows() -> Vec<Row> {
    let text = "Input should be a valid string";
    let long = "String should have at most 200 characters";
    let value = || json!({"error": {}});
    let mut rows: Vec<Row> = vec![
        ("name", json!(""), "string_too_short", "String should have at least 1 character", json!({"min_length": 1})),
        ("name", json!("x".repeat(201)), "string_too_long", long, json!({"max_length": 200})),
        ("source", json!(""), "string_too_short", "String should have at least 1 character", json!({"min_length": 1})),
        (
            "source",
            json!("x".repeat(65)),
            "string_too_long",
            "String should have at most 64 characters",
            json!({"max_length": 64}),
        ),
        (
            "email",
            json!("nobody"),
            "value_error",
            "value is not a valid email address: An email address must have an @-sign.",
            json!({"reason": "An email address must have an @-sign."}),
        ),
        (
            "email",
            json!("a@b"),
            "value_error",
            "value is not a valid email address: The part after the @-sign is not valid. It should have a period.",
            json!({"reason": "The part after the @-sign is not valid. It should have a period."}),
        ),
        (
            "email",
            json!("@example.com"),
            "value_error",
            "value is not a valid email address: There must be something before the @-sign.",
            json!({"reason": "There must be something before the @-sign."}),
        ),
        (
            "is_active",
            json!("perhaps"),
            "bool_parsing",
            "Input should be a valid boolean, unable to interpret input",
            json!(null),
        ),
        ("is_active", json!({}), "bool_type", "Input should be a valid boolean", json!(null)),
        ("company_id", json!("CMP-00000000"), "value_error", "Value error, there is no such company", value()),
        ("nickname", json!("x"), "extra_forbidden", "Extra inputs are not permitted", json!(null)),
        ("nickname", json!(null), "extra_forbidden", "Extra inputs are not permitted", json!(null)),
        ("customer_id", json!("mine"), "extra_forbidden", "Extra inputs are not permitted", json!(null)),
    ];
    for member in [
        "name",
        "email",
        "source",
        "whatsapp_number",
        "ip",
        "city",
        "country",
        "location",
        "latitude",
        "longitude",
        "company_id",
    ] {
        rows.extend(
            [json!(1), json!(true), json!([]), json!({})]
                .map(|wrong| (member, wrong, "string_type", text, json!(null))),
        );
    }
    for member in ["city", "country", "location"] {
        rows.push((member, json!("x".repeat(201)), "string_too_long", long, json!({"max_length": 200})));
    }
    let phone = "Value error, must be 6 to 15 digits with an optional leading +";
    for wrong in ["12345", "1234567890123456", "+12345", "12 34 56", "12ab56", "++123456", ""] {
        rows.push(("whatsapp_number", json!(wrong), "value_error", phone, value()));
    }
    for wrong in ["300.1.1.1", "1.2.3", "localhost", "1.2.3.4/8", "[::1]", ":::"] {
        rows.push(("ip", json!(wrong), "value_error", "Value error, must be an IPv4 or IPv6 address", value()));
    }
    for wrong in ["90.0001", "-91", "1000"] {
        rows.push(("latitude", json!(wrong), "value_error", "Value error, must lie between -90 and 90", value()));
    }
    for wrong in ["180.1", "-181"] {
        rows.push(("longitude", json!(wrong), "value_error", "Value error, must lie between -180 and 180", value()));
    }
    for wrong in ["east", "", "1,5", "1e1", "NaN", "5."] {
        rows.push(("longitude", json!(wrong), "value_error", "Value error, must be a decimal number", value()));
    }
    rows
}

/// What was sent of a person is not repeated.
fn is_shown(member: &str, input: &Value) -> bool {
    let is_impersonal = ["company_id", "customer_id", "is_active", "source"].contains(&member);
    match input {
        Value::Null | Value::Bool(_) => true,
        Value::String(text) => text.is_empty() || is_impersonal,
        Value::Number(_) => is_impersonal,
        Value::Array(items) => items.iter().all(|item| is_shown(member, item)),
        Value::Object(members) => members.is_empty(),
    }
}

#[track_caller]
fn is_entry(answer: &Answer, loc: &Value, row: &Row) {
    let (member, input, kind, message, context) = row;
    assert_eq!(answer.status, 422, "{member} {input}: {}", answer.text);
    let mut expected = json!({"type": kind, "loc": loc, "msg": message});
    if is_shown(member, input) {
        expected["input"] = input.clone();
    }
    if !context.is_null() {
        expected["ctx"] = context.clone();
    }
    assert_eq!(answer.json, json!({"detail": [expected]}), "{member} {input}");
}

both! {
    async fn each_wrong_value_is_told_with_its_place_and_words(server: Server) {
        let path = path_of(&crate::create(&server, person("Alice")).await);
        for row in &rows() {
            let (member, wrong) = (row.0, &row.1);
            let body = with(person("Bob"), member, wrong.clone());
            is_entry(&post(&server, CUSTOMERS, body.clone()).await, &json!(["body", member]), row);
            let many = json!({"customers": [person("A"), person("B"), person("C"), body]});
            let answer = post(&server, &format!("{CUSTOMERS}/bulk"), many).await;
            is_entry(&answer, &json!(["body", "customers", 3, member]), row);
            is_entry(&patch(&server, &path, json!({member: wrong})).await, &json!(["body", member]), row);
        }
        let listed = get(&server, CUSTOMERS).await.expect(200).json;
        assert_eq!(listed["total"], 1);
    }

    async fn an_address_of_255_characters_is_too_long(server: Server) {
        let domain = ["b".repeat(63), "c".repeat(63), "d".repeat(54)].join(".");
        let long = format!("{}@{domain}.example", "a".repeat(64));
        assert_eq!(long.len(), 255);
        let answer = post(&server, CUSTOMERS, with(person("Alice"), "email", json!(long))).await;
        assert_eq!(told(&answer), ["value_error body/email"]);
        assert!(answer.json["detail"][0]["msg"].as_str().unwrap().starts_with("value is not a valid email address: "));
    }

    async fn what_is_missing_is_told_and_nothing_of_the_person(server: Server) {
        let answer = post(&server, CUSTOMERS, json!({"city": "Accra", "email": "ada"})).await;
        assert_eq!(told(&answer), ["missing body/name", "value_error body/email", "missing body/source"]);
        assert!(!answer.text.contains("Accra") && !answer.text.contains("\"ada\""), "{}", answer.text);
        let answer = post(&server, CUSTOMERS, json!({"is_active": true})).await;
        let entry = |member: &str| json!({"type": "missing", "loc": ["body", member], "msg": "Field required", "input": {"is_active": true}});
        assert_eq!(answer.json, json!({"detail": [entry("name"), entry("email"), entry("source")]}));
    }

    async fn a_body_that_is_no_json_object_is_told_as_fastapi_does(server: Server) {
        for prefix in PREFIXES {
            for (body, kind, loc, message) in [
                ("{\"name\": ", "json_invalid", json!(["body", 9]), "JSON decode error"),
                ("{'name': 1}", "json_invalid", json!(["body", 1]), "JSON decode error"),
                ("{\"näme\": x}", "json_invalid", json!(["body", 9]), "JSON decode error"),
                ("[]", "model_attributes_type", json!(["body"]),
                    "Input should be a valid dictionary or object to extract fields from"),
                ("\"text\"", "model_attributes_type", json!(["body"]),
                    "Input should be a valid dictionary or object to extract fields from"),
                ("", "missing", json!(["body"]), "Field required"),
            ] {
                let request = server.request(Method::POST, &format!("{prefix}/customers")).header("x-api-key", server.api_key());
                let answer = Answer::to(request.header("content-type", "application/json").body(body)).await.unwrap();
                assert_eq!(answer.status, 422, "{body}");
                let entries = answer.json["detail"].as_array().unwrap();
                assert_eq!(entries.len(), 1);
                assert_eq!((&entries[0]["type"], &entries[0]["loc"], &entries[0]["msg"]), (&json!(kind), &loc, &json!(message)));
                if kind == "json_invalid" {
                    assert_eq!(entries[0]["input"], json!({}));
                    assert!(entries[0]["ctx"]["error"].is_string(), "{}", answer.text);
                }
            }
        }
        assert_eq!(get(&server, CUSTOMERS).await.expect(200).json["total"], 0);
    }

    async fn no_entry_repeats_a_credential(server: Server) {
        let key = server.api_key();
        let body = json!({"name": true, "email": key, "source": key, "api_key": "another secret", "password": "hunter2", key: 1});
        let answer = post(&server, &format!("{CUSTOMERS}?token=another+secret&zz={key}"), body).await;
        assert!(told(&answer).len() >= 5, "{}", answer.text);
        for secret in [key, "another secret", "hunter2"] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
            assert!(!server.written().contains(secret));
        }
        let entries = answer.json["detail"].as_array().unwrap();
        assert!(entries.iter().any(|entry| entry.get("input").is_none()));
        assert!(entries.iter().any(|entry| entry["input"] == true), "what is no secret is shown");
    }
}
