//! The documentation against what is.

use super::*;

#[tokio::test]
async fn every_route_is_documented_under_both_prefixes_with_examples() {
    let kit = Kit::new().await;
    let crm = Crm::new(kit.registry.clone(), Arc::new(KnownCredentials));
    let document = serde_json::to_value(router(crm).get_openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 14);
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in paths {
        assert!(path.starts_with("/external/v1/"), "{path}");
        assert!(paths.contains_key(&path.replacen("/external/v1/external/v1", "/external/v1", 1)), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
            let responses = operation["responses"].as_object().unwrap();
            for status in ["401", "422", "429", "500", "503"] {
                assert!(responses.contains_key(status), "{method} {path} {status}");
            }
            if matches!(method.as_str(), "post" | "patch") {
                assert!(operation["requestBody"]["content"]["application/json"]["example"].is_object(), "{path}");
            }
        }
    }
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn documented_members_are_those_of_the_answers() {
    let kit = Kit::new().await;
    let company = kit.company("Acme").await;
    let customer = kit.create(&json!({"company_id": company["company_id"]})).await;
    let page = kit.get("/customers").await.ok();
    let crm = Crm::new(kit.registry.clone(), Arc::new(KnownCredentials));
    let document = serde_json::to_value(router(crm).get_openapi()).unwrap();
    for (name, shown) in [("CrmCustomer", customer), ("CrmCompany", company), ("CrmCustomerPage", page)] {
        let form = &document["components"]["schemas"][name];
        let keys =
            |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(&form["properties"]), keys(&shown), "{name}");
        if form["example"].is_object() {
            assert_eq!(keys(&form["example"]), keys(&shown), "{name}");
        }
    }
}
