//! Companies created, listed and read.

use super::*;

#[tokio::test]
async fn a_company_is_created_and_read_by_either_id() {
    let kit = Kit::new().await;
    let body = json!({"company_name": "Acme", "company_status": "inactive", "description": "Sells anvils",
        "industry": "Retail", "website": "https://acme.example/shop?a=1", "phone": "+1 (555) 123", "address": "1 Road"});
    let reply = kit.post("/customer/company/create", &body).await;
    let created = reply.json_of(201);
    assert_eq!(reply.header("etag"), Some("\"1\""));
    let mut expected = body.clone();
    expected["id"] = json!(1);
    expected["company_id"] = created["company_id"].clone();
    assert_eq!(created, expected);
    let id = created["company_id"].as_str().unwrap();
    assert!(id.starts_with("CMP-") && id.len() == 12, "{id}");
    for path in ["1".to_owned(), id.to_owned(), id.replace('-', "%2D")] {
        assert_eq!(kit.get(&format!("/customer/company/{path}")).await.ok(), created);
    }
    let known = kit.ask("GET", "/customer/company/1", &[("If-None-Match", "*")], "").await;
    assert_eq!(known.status, 304);
    for path in ["2", "0", "CMP-00000000", "x", "99999999999999999999"] {
        assert_eq!(kit.get(&format!("/customer/company/{path}")).await.detail(404), "Not Found", "{path}");
    }
    assert_eq!(kit.get("/customer/company/%FF").await.problems(), ["value_error path/company_id"]);
    assert_eq!(kit.ask("GET", "/customer/company/1", &[("x-api-key", "foreign-key")], "").await.status, 404);
    let bare = kit.company("Bare").await;
    assert_eq!(bare["website"], Value::Null);
    assert_eq!(bare.as_object().unwrap().len(), 9);
}

#[tokio::test]
async fn a_website_is_a_web_address_without_credentials() {
    let kit = Kit::new().await;
    for website in [
        "acme",
        "ftp://acme.example",
        "https://",
        "http://a b.example",
        "https://user:pw@acme.example",
        "javascript:alert(1)",
    ] {
        let body = json!({"company_name": "Acme", "company_status": "active", "website": website});
        let reply = kit.post("/customer/company/create", &body).await;
        assert_eq!(reply.problems(), ["value_error body/website"], "{website}");
    }
}

#[tokio::test]
async fn a_batch_of_companies_is_answered_by_one_sentence_and_all_or_nothing() {
    let kit = Kit::new().await;
    let company = |name: &str| json!({"company_name": name, "company_status": "active"});
    let reply = kit.post("/customer/company/bulk-create", &json!({"companies": [company("A"), company("B")]})).await;
    assert_eq!(reply.ok(), json!("Companies successfully created."));
    assert_eq!(reply.text, "\"Companies successfully created.\"");
    let bad = json!({"companies": [company("C"), {"company_name": ""}]});
    assert_eq!(
        kit.post("/customer/company/bulk-create", &bad).await.problems(),
        ["string_too_short body/companies/1/company_name", "missing body/companies/1/company_status"]
    );
    let page = kit.get("/customer/company").await.ok();
    let names: Vec<_> = page["data"].as_array().unwrap().iter().map(|company| &company["company_name"]).collect();
    assert_eq!(names, ["A", "B"]);
}

#[tokio::test]
async fn companies_are_listed_by_page() {
    let kit = Kit::new().await;
    let companies: Vec<_> =
        (1..=5).map(|n| json!({"company_name": format!("C{n}"), "company_status": "active"})).collect();
    kit.post("/customer/company/bulk-create", &json!({"companies": companies})).await.ok();
    let page = kit.get("/customer/company?page=2&page_size=2").await.ok();
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    assert_eq!(page["data"][0]["company_name"], "C3");
    let mut envelope = page;
    envelope.as_object_mut().unwrap().remove("data");
    assert_eq!(
        envelope,
        json!({"total": 5, "page": 2, "page_size": 2, "total_pages": 3, "has_next": true, "has_previous": true})
    );
    let foreign = kit.ask("GET", "/customer/company", &[("x-api-key", "foreign-key")], "").await.ok();
    assert_eq!(foreign["total"], 0);
}

#[tokio::test]
async fn a_key_repeats_the_founding_of_a_company() {
    let kit = Kit::new().await;
    let body = r#"{"company_name":"Acme","company_status":"active"}"#;
    let first = kit.ask("POST", "/customer/company/create", &[("Idempotency-Key", "k")], body).await;
    let again = kit.ask("POST", "/customer/company/create", &[("Idempotency-Key", "k")], body).await;
    assert_eq!((first.json_of(201), again.header("idempotent-replayed")), (again.json_of(201), Some("true")));
    assert_eq!(kit.get("/customer/company").await.ok()["total"], 1);
}
