//! What the document promises.

use serde_json::Value;

use super::*;

fn document() -> Value {
    let (clock, store) = (Arc::new(FixedClock::at(now())), Arc::new(MemoryStore::new()));
    let signing = SigningKeys::from_pem(&generate_key(), "custodia", Duration::from_hours(1)).unwrap();
    let identity = Arc::new(Identity::new(IdentityParts {
        clock: clock.clone(),
        directory: store.clone(),
        credentials: store.clone(),
        signing: Arc::new(signing),
        outside: None,
        passwords: Passwords::new(1),
        login_failures: 0,
    }));
    let registry = Registry::new(Ports {
        customers: store.clone(),
        directory: store.clone(),
        accounts: store.clone(),
        loans: store.clone(),
        scores: store.clone(),
        webhooks: store.clone(),
        clock,
        ids: Arc::new(BlockIds::new(store)),
    });
    serde_json::to_value(router(Publisher::new(registry, identity.clone(), identity)).get_openapi()).unwrap()
}

#[test]
fn every_operation_tells_its_errors_and_refers_to_what_is_there() {
    let document = document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            for status in ["200", "400", "401", "429", "500", "503"] {
                assert!(operation["responses"][status].is_object(), "{method} {path} {status}");
            }
        }
    }
    assert_eq!(operations, 7);
}

#[tokio::test]
async fn the_examples_of_the_document_are_taken() {
    let kit = Kit::new().await;
    let document = document();
    let example = |name: &str| document["components"]["schemas"][name]["example"].clone();
    kit.post(&example("CustomerBatch")).await.ok();
    kit.put(CUSTOMERS, &example("CustomerReplacementBatch")).await.ok();
    kit.put(ACCOUNTS, &example("AccountBatch")).await.ok();
    let card = example("CardBatch");
    let [customer, account] =
        ["sourceCustomerId", "sourceAccountId"].map(|name| card["cards"][0][name].as_str().unwrap());
    kit.put(&format!("/v2/data/customers/{customer}/accounts"), &example("AccountBatch")).await.ok();
    kit.put(&format!("/v2/data/customers/{customer}/accounts/{account}/cards"), &card).await.ok();
}
