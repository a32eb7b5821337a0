//! The OpenAPI document against what the dialect does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Kit, KnownCredentials};
use crate::http::cursor::CursorKey;
use crate::http::lms::{Lms, router};
use crate::ids::BlockIds;
use crate::memory::MemoryStore;

fn document() -> Value {
    use std::sync::Arc;
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(crate::clock::SystemClock::utc());
    let ids = Arc::new(BlockIds::new(store.clone()));
    let registry = custodia_domain::registry::Registry::new(custodia_domain::registry::Ports {
        customers: store.clone(),
        directory: store.clone(),
        accounts: store.clone(),
        loans: store.clone(),
        scores: store.clone(),
        webhooks: store,
        clock,
        ids,
    });
    let lms =
        Lms::new(registry, Arc::new(KnownCredentials), CursorKey::new([7; 32]), Arc::default(), super::outbound());
    serde_json::to_value(router(lms).get_openapi()).unwrap()
}

fn statuses(document: &Value, path: &str, method: &str) -> BTreeSet<String> {
    document["paths"][path][method]["responses"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_operation_stands_in_the_document_under_both_prefixes() {
    let document = document();
    let mut found: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        found.extend(item.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    let (id, external) = ("/v1/customers/{customer_id}", "/v1/customers/external/{customer_external_id}");
    let mut expected = vec![
        "get /.well-known/jwks.json".to_owned(),
        "get /v1/auth/token".into(),
        "get /v1/customers".into(),
        "post /v1/customers".into(),
        "get /v1/events".into(),
        "post /v1/webhook-endpoints".into(),
        "get /v1/webhook-endpoints".into(),
        "get /v1/webhook-endpoints/{endpoint_id}".into(),
        "patch /v1/webhook-endpoints/{endpoint_id}".into(),
        "delete /v1/webhook-endpoints/{endpoint_id}".into(),
        "post /v1/webhook-endpoints/{endpoint_id}/rotate".into(),
        "post /v1/webhook-endpoints/{endpoint_id}/ping".into(),
        "post /v1/webhook-endpoints/{endpoint_id}/replay".into(),
        "get /v1/webhook-endpoints/{endpoint_id}/deliveries".into(),
        "get /v1/loans".into(),
        "get /v1/loans/{loan_id}".into(),
        "get /v1/loans/external/{loan_external_id}".into(),
        "put /v1/loans/external/{loan_external_id}".into(),
        "get /v1/credit-scorecard/{externalId}".into(),
        "put /v1/credit-scores/{externalId}".into(),
    ];
    for prefix in [id, external] {
        expected.extend(["get", "put", "delete"].map(|method| format!("{method} {prefix}")));
        expected.push(format!("get {prefix}/history"));
        expected.extend(["activate", "close"].map(|verb| format!("post {prefix}/{verb}")));
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let ids: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| &operation["operationId"])
        .collect();
    assert_eq!(ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), ids.len(), "ids are unique");
}

#[test]
fn both_prefixes_are_documented_alike_but_for_the_path_parameter() {
    let document = document();
    let operations =
        [("", "get"), ("", "put"), ("", "delete"), ("/activate", "post"), ("/close", "post"), ("/history", "get")];
    for (suffix, method) in operations {
        let by_id = format!("/v1/customers/{{customer_id}}{suffix}");
        let by_external_id = format!("/v1/customers/external/{{customer_external_id}}{suffix}");
        assert_eq!(statuses(&document, &by_id, method), statuses(&document, &by_external_id, method));
        let names = |path: &str| -> Vec<String> {
            let parameters = document["paths"][path][method]["parameters"].as_array().unwrap();
            parameters.iter().map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
        };
        let mut renamed: Vec<_> =
            names(&by_id).iter().map(|name| name.replace("customer_id", "customer_external_id")).collect();
        if method == "put" {
            // A customer can be created by a name alone that its caller gives it.
            renamed.extend(["upsert".to_owned(), "Prefer".to_owned()]);
        }
        assert_eq!(renamed, names(&by_external_id));
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => references.push(target.clone()),
                    _ => collect(member, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_answer_that_can_occur_is_documented() {
    let document = document();
    let all = |statuses: &str| statuses.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(
        statuses(&document, "/v1/customers", "post"),
        all("200 400 401 403 408 409 413 414 415 429 431 500 503")
    );
    assert_eq!(statuses(&document, "/v1/customers", "get"), all("200 400 401 414 429 431 500 503"));
    let one = "/v1/customers/{customer_id}";
    assert_eq!(statuses(&document, one, "get"), all("200 304 400 401 404 414 429 431 500 503"));
    let change = all("200 400 401 403 404 408 409 412 413 414 415 429 431 500 503");
    for (path, method) in [(one.to_owned(), "put"), (one.to_owned(), "delete"), (format!("{one}/close"), "post")] {
        assert_eq!(statuses(&document, &path, method), change);
    }
}

#[tokio::test]
async fn a_customer_with_every_value_has_the_documented_members_in_their_order() {
    let kit = Kit::new().await;
    let body = r#"{"officeId":1,"firstname":"Ada","middlename":"K","lastname":"L","mobileNo":"1","emailAddress":"a@b.example",
        "externalId":"ada","genderId":1,"clientTypeId":1,"legalFormId":1,"dateOfBirth":"1815-12-10","active":true,
        "activationDate":"2026-05-22"}"#;
    kit.post("/v1/customers", body).await.ok();
    let closed = kit.post("/v1/customers/1/close", r#"{"closureDate":"2026-05-25","closureReasonId":1}"#).await.ok();
    let shown: BTreeSet<_> = closed.as_object().unwrap().keys().cloned().collect();
    let document = document();
    let schema = &document["components"]["schemas"]["lms.Customer"];
    let documented: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(shown, documented);
    assert_eq!(schema["additionalProperties"], false);
    let required: BTreeSet<_> =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let always = "accountNo active displayName id officeId officeName status submittedDate version";
    assert_eq!(required, always.split(' ').collect());
}

#[tokio::test]
async fn what_can_be_done_is_shown_as_it_is_documented() {
    let kit = Kit::new().await;
    kit.partner("ada").await;
    let shown = kit.get("/v1/customers/1?include=allowedTransitions").await.ok();
    let document = document();
    let schemas = &document["components"]["schemas"];
    let plain = schemas["lms.Customer"]["properties"].as_object().unwrap();
    let with = schemas["lms.CustomerWithTransitions"]["properties"].as_object().unwrap();
    let more: Vec<_> = with.keys().filter(|name| !plain.contains_key(*name)).collect();
    assert_eq!(more, ["allowedTransitions"]);
    let commands = schemas["lms.TransitionName"]["enum"].as_array().unwrap();
    let told = shown["allowedTransitions"].as_array().unwrap();
    assert_eq!(told.iter().map(|one| &one["command"]).collect::<Vec<_>>(), commands.iter().collect::<Vec<_>>());
}

#[test]
fn optional_members_of_answers_are_absent_and_never_null() {
    let document = document();
    for (name, property) in document["components"]["schemas"]["lms.Customer"]["properties"].as_object().unwrap() {
        assert!(!property["type"].is_array(), "{name}: {property}");
    }
}

#[test]
fn its_components_bear_the_dialects_name_so_that_documents_can_be_merged() {
    let document = document();
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(name.starts_with("lms."), "{kind} {name}");
        }
    }
}

#[test]
fn the_document_names_its_credentials() {
    let document = document();
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert_eq!(document["paths"]["/v1/auth/token"]["get"]["security"], serde_json::json!([{"basic": []}]));
    assert_eq!(document["paths"]["/v1/customers"]["get"]["security"], serde_json::json!([{"bearer": []}]));
    assert_eq!(document["paths"]["/.well-known/jwks.json"]["get"]["security"], serde_json::json!([{}]));
}
