//! Items that say which version they expect, and why a batch was sent.

use super::*;

const STALE: &str = "PreconditionFailedException";

#[tokio::test]
async fn a_stale_item_refuses_the_whole_batch_and_names_the_current_version() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada"), customer("eve"), customer("zoe")]).await;
    kit.put(CUSTOMERS, &batch(&[with(customer("eve"), "/postalCode", json!("1"))])).await.ok();
    let before = kit.events().await;
    let expecting = |id: &str, version: i64| with(customer(id), "/expectedVersion", json!(version));
    let nested = with(customer("zoe"), "/accounts/0/expectedVersion", json!(7));
    let items = [with(expecting("ada", 1), "/postalCode", json!("2")), expecting("eve", 1), nested];
    let refused = kit.put(CUSTOMERS, &batch(&items)).await;
    assert_eq!(
        refused.refused(412, STALE),
        [
            "customers[1].expectedVersion: the current version is 2",
            "customers[2].accounts[0].expectedVersion: the current version is 1",
        ]
    );
    assert_eq!(refused.json()["title"], "Precondition failed");
    assert_eq!(kit.events().await, before, "nothing changed");
    let items = [with(expecting("ada", 1), "/postalCode", json!("2")), expecting("eve", 2), customer("zoe")];
    kit.put(CUSTOMERS, &batch(&items)).await.ok();
}

#[tokio::test]
async fn a_stale_account_refuses_the_whole_batch_too() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let change = |id: &str, version: i64| json!({"sourceAccountId": id, "expectedVersion": version, "status": "FRAUD"});
    let body = |items: &[Value]| json!({ "accounts": items });
    let refused = kit
        .put(ACCOUNTS, &body(&[change("ada-acc", 2), with(account("new", "ada"), "/expectedVersion", json!(1))]))
        .await;
    assert_eq!(
        refused.refused(412, STALE),
        [
            "accounts[0].expectedVersion: the current version is 1",
            "accounts[1].expectedVersion: there is no such account"
        ]
    );
    kit.put(ACCOUNTS, &body(&[change("ada-acc", 1)])).await.ok();
    let path = format!("{CUSTOMERS}/ada/accounts");
    assert_eq!(kit.put(&path, &body(&[change("ada-acc", 1)])).await.refused(412, STALE).len(), 1);
    kit.put(&path, &body(&[change("ada-acc", 2)])).await.ok();
}

#[tokio::test]
async fn a_refused_batch_is_answered_so_again_under_its_key() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let body = batch(&[with(customer("ada"), "/expectedVersion", json!(2))]).to_string();
    let key = [("Idempotency-Key", "k-1")];
    let first = kit.ask("PUT", CUSTOMERS, &key, &body).await;
    kit.put(CUSTOMERS, &batch(&[with(customer("ada"), "/postalCode", json!("1"))])).await.ok();
    let second = kit.ask("PUT", CUSTOMERS, &key, &body).await;
    assert_eq!((first.status, second.status, &first.text), (412, 412, &second.text));
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn only_what_is_replaced_has_a_version_to_expect() {
    let kit = Kit::new().await;
    let expecting = with(customer("ada"), "/expectedVersion", json!(1));
    assert_eq!(
        kit.post(&batch(std::slice::from_ref(&expecting))).await.problems(),
        ["customers[0].expectedVersion: unknown field"]
    );
    let card = json!({"cards": [with(card("a", "ada", "1234"), "/expectedVersion", json!(1))]});
    let problems = kit.put(&format!("{CUSTOMERS}/ada/accounts/a/cards"), &card).await.problems();
    assert_eq!(problems, ["cards[0].expectedVersion: unknown field"]);
    for bad in [json!(0), json!(-1), json!("1"), json!(1.5), json!(true)] {
        let body = batch(&[with(customer("ada"), "/expectedVersion", bad)]);
        let problems = kit.put(CUSTOMERS, &body).await.problems();
        assert_eq!(problems, ["customers[0].expectedVersion: must be a positive integer"]);
    }
    let unknown = kit.put(CUSTOMERS, &batch(&[expecting])).await;
    assert_eq!(unknown.refused(404, "ResourceNotFoundException").len(), 1);
    kit.create(&[customer("ada")]).await;
    kit.put(CUSTOMERS, &batch(&[with(customer("ada"), "/expectedVersion", Value::Null)])).await.ok();
}

#[tokio::test]
async fn a_reason_stands_in_every_event_of_its_batch() {
    let kit = Kit::new().await;
    let because = [("Custodia-Reason", "migration %E2%84%96 7")];
    kit.ask("POST", CUSTOMERS, &because, &batch(&[customer("ada")]).to_string()).await.ok();
    let organization = organization(1);
    let query = EventQuery { organization, after: None, through: None, kinds: Vec::new(), customer: None, limit: 500 };
    let entries = kit.store.events(&query).await.unwrap();
    assert!(entries.len() > 1 && entries.iter().all(|entry| entry.audit.reason.as_deref() == Some("migration № 7")));
    let bad = kit.ask("POST", CUSTOMERS, &[("Custodia-Reason", "%")], &batch(&[customer("ada")]).to_string()).await;
    assert!(bad.problems()[0].starts_with("Custodia-Reason: "));
}
