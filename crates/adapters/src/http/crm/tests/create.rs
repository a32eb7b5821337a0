//! Customers created one by one and in batches.

use super::*;

#[tokio::test]
async fn a_created_customer_is_returned_with_every_member() {
    let kit = Kit::new().await;
    let company = kit.company("Acme Trading").await;
    let body = json!({"name": "Alice Johnson", "email": "alice@example.com", "source": "web",
        "whatsapp_number": "2348000000000", "ip": "192.168.1.1", "city": "Accra", "country": "Ghana",
        "location": "Spintex Road", "latitude": "5.6037", "longitude": "0.1870", "is_active": true,
        "company_id": company["company_id"]});
    let reply = kit.post("/customers", &body).await;
    let created = reply.json_of(201);
    assert_eq!(reply.header("etag"), Some("\"1\""));
    let mut expected = body.clone();
    expected["id"] = json!(1);
    expected["customer_id"] = created["customer_id"].clone();
    expected["company_id"] = company["id"].clone();
    expected["company_name"] = json!("Acme Trading");
    expected["organization_id"] = json!(1);
    expected["time_created"] = json!("2025-11-27T09:32:08.249Z");
    expected["time_updated"] = json!("2025-11-27T09:32:08.249Z");
    assert_eq!(created, expected);
    let id = created["customer_id"].as_str().unwrap();
    let code = id.strip_prefix("CUS-").unwrap();
    assert_eq!(code.len(), 12);
    assert!(code.bytes().all(|byte| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&byte)), "{id}");
    assert_eq!(kit.get("/customers/1").await.ok(), created);
    assert_eq!(kit.get(&format!("/customers/{id}")).await.ok(), created);
}

#[tokio::test]
async fn what_is_absent_null_or_blank_is_null() {
    let kit = Kit::new().await;
    let nothing = json!({"whatsapp_number": null, "ip": null, "city": "", "country": "  ", "location": null,
        "latitude": null, "longitude": null, "company_id": null, "is_active": null});
    for members in [json!({}), nothing] {
        let created = kit.create(&members).await;
        assert_eq!(created.as_object().unwrap().len(), 18);
        assert_eq!(created["is_active"], true);
        for name in [
            "whatsapp_number",
            "ip",
            "city",
            "country",
            "location",
            "latitude",
            "longitude",
            "company_id",
            "company_name",
        ] {
            assert_eq!(created[name], Value::Null, "{name}");
        }
    }
}

#[tokio::test]
async fn a_null_that_is_needed_is_missing() {
    let kit = Kit::new().await;
    let reply = kit.post("/customers", &json!({"name": null, "email": null, "source": null})).await;
    assert_eq!(reply.problems(), ["missing body/name", "missing body/email", "missing body/source"]);
    assert_eq!(kit.post("/customers/bulk", &json!({"customers": null})).await.problems(), ["missing body/customers"]);
}

#[tokio::test]
async fn an_inactive_customer_is_pending_and_activity_is_read_laxly() {
    let kit = Kit::new().await;
    for (sent, shown) in [(json!("off"), false), (json!(0), false), (json!("YES"), true), (json!(1.0), true)] {
        assert_eq!(kit.create(&json!({"is_active": sent})).await["is_active"], shown);
    }
}

#[tokio::test]
async fn an_unknown_company_is_told_beside_everything_else() {
    let kit = Kit::new().await;
    kit.company("Acme").await;
    for id in ["CMP-00000000", "CMP-A9B8", "1", "", "x"] {
        let reply = kit.post("/customers", &alice(&json!({"company_id": id, "zz": 1}))).await;
        assert_eq!(reply.problems(), ["extra_forbidden body/zz", "value_error body/company_id"], "{id}");
    }
    let foreign = kit
        .ask(
            "POST",
            "/customer/company/create",
            &[("x-api-key", "foreign-key")],
            r#"{"company_name":"Other","company_status":"active"}"#,
        )
        .await
        .json_of(201);
    let reply = kit.post("/customers", &alice(&json!({"company_id": foreign["company_id"]}))).await;
    assert_eq!(reply.problems(), ["value_error body/company_id"], "the company of another organization is none");
}

#[tokio::test]
async fn control_characters_and_odd_addresses_are_value_errors() {
    let kit = Kit::new().await;
    for (name, value) in
        [("name", "A\u{7}"), ("city", "A\nB"), ("source", "a\tb"), ("latitude", "1e1"), ("ip", "1.2.3.4:5")]
    {
        let reply = kit.post("/customers", &alice(&json!({ name: value }))).await;
        assert_eq!(reply.problems(), [format!("value_error body/{name}")]);
    }
    let named = kit.post("/customers", &alice(&json!({"email": "Alice <alice@example.com>"}))).await;
    assert_eq!(named.problems(), ["value_error body/email"]);
}

#[tokio::test]
async fn a_batch_is_created_whole_and_in_order() {
    let kit = Kit::new().await;
    let company = kit.company("Acme").await;
    let items: Vec<_> = (0..100)
        .map(|n| alice(&json!({"name": format!("N{n}"), "company_id": if n % 2 == 0 { company["company_id"].clone() } else { Value::Null }})))
        .collect();
    let created = kit.post("/customers/bulk", &json!({"customers": items})).await.json_of(201);
    assert_eq!(created["created"], 100);
    let customers = created["customers"].as_array().unwrap();
    assert_eq!(customers.len(), 100);
    let mut ids = std::collections::BTreeSet::new();
    for (n, customer) in customers.iter().enumerate() {
        assert_eq!(customer["name"], format!("N{n}"));
        assert_eq!(customer["company_name"], if n % 2 == 0 { json!("Acme") } else { Value::Null });
        ids.insert(customer["customer_id"].as_str().unwrap().to_owned());
        assert_eq!(kit.get(&format!("/customers/{}", customer["id"])).await.ok(), *customer);
    }
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn one_bad_item_refuses_the_batch_with_every_problem_of_every_item() {
    let kit = Kit::new().await;
    let items = json!({"customers": [alice(&json!({})), alice(&json!({"email": "x", "company_id": "CMP-00000000"})),
        {"name": "B", "zz": 1}, 5], "yy": 2});
    assert_eq!(
        kit.post("/customers/bulk", &items).await.problems(),
        [
            "value_error body/customers/1/email",
            "missing body/customers/2/email",
            "missing body/customers/2/source",
            "extra_forbidden body/customers/2/zz",
            "model_attributes_type body/customers/3",
            "extra_forbidden body/yy",
            "value_error body/customers/1/company_id",
        ]
    );
    assert_eq!(kit.get("/customers").await.ok()["total"], 0);
}

#[tokio::test]
async fn a_batch_may_have_four_mebibytes_and_a_customer_one() {
    let kit = Kit::new().await;
    let padded = |length: usize| format!("{{\"customers\":[{}]{}}}", alice(&json!({})), " ".repeat(length));
    assert_eq!(kit.ask("POST", "/customers/bulk", &[], &padded(3 << 20)).await.status, 201);
    assert_eq!(
        kit.ask("POST", "/customers/bulk", &[], &padded(4 << 20)).await.detail(413),
        "the request body is too large"
    );
    let one = format!("{}{}", alice(&json!({})), " ".repeat(1 << 20));
    kit.ask("POST", "/customers", &[], &one).await.detail(413);
    let doubled = "/external/v1/external/v1/customers/bulk";
    assert_eq!(kit.ask("POST", doubled, &[], &padded(3 << 20)).await.status, 201);
}
