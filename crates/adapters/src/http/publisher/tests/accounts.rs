//! Accounts and cards: created, changed in part, and held to their limits.

use serde_json::json;

use super::*;

const OF_ADA: &str = "/v2/data/customers/ada/accounts";
const CARDS: &str = "/v2/data/customers/ada/accounts/ada-acc/cards";

fn accounts(all: &[Value]) -> Value {
    json!({ "accounts": all })
}

fn cards(all: &[Value]) -> Value {
    json!({ "cards": all })
}

#[tokio::test]
async fn an_account_is_created_whole_and_changed_in_part() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    for path in [ACCOUNTS, OF_ADA] {
        let id = path.replace('/', "-");
        kit.put(path, &accounts(&[without(account(&id, "ada"), "/cards")])).await.ok();
        kit.put(path, &accounts(&[json!({"sourceAccountId": id, "status": "FRAUD"})])).await.ok();
        let closed = json!({"sourceAccountId": id, "status": "CLOSED", "accountCloseDate": "2024-01-01"});
        kit.put(path, &accounts(std::slice::from_ref(&closed))).await.ok();
        let events = kit.events().await;
        kit.put(path, &accounts(&[closed])).await.ok();
        assert_eq!(kit.events().await, events);
        let profile = kit.profile("ada").await;
        let shown = profile["accounts"].as_array().unwrap().iter().find(|one| one["sourceAccountId"] == *id).unwrap();
        assert_eq!((&shown["status"], &shown["type"]), (&json!("CLOSED"), &json!("DDA")));
        assert_eq!(shown["accountCloseDate"], "2024-01-01T00:00:00Z");
        let problems = kit.put(path, &accounts(&[json!({"sourceAccountId": id, "status": "OPEN"})])).await.problems();
        assert_eq!(problems, ["accounts[0].accountCloseDate: must be null unless status is CLOSED"]);
        let open = json!({"sourceAccountId": id, "status": "OPEN", "accountCloseDate": null});
        kit.put(path, &accounts(&[open])).await.ok();
    }
}

#[tokio::test]
async fn a_new_account_needs_every_required_member_and_says_so_at_once() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let events = kit.events().await;
    let bare = json!({"sourceAccountId": "new", "cards": [
        {"sourceAccountId": "new", "sourceCustomerId": "ada", "last4": "1111"}]});
    let known = json!({"sourceAccountId": "ada-acc", "status": "FRAUD"});
    assert_eq!(
        kit.put(ACCOUNTS, &accounts(&[known, bare])).await.problems(),
        [
            "accounts[1].sourceCustomerIds: required",
            "accounts[1].primarySourceCustomerId: required",
            "accounts[1].status: required",
            "accounts[1].type: required",
            "accounts[1].sourcePortfolioId: required",
            "accounts[1].accountOpenDate: required",
            "accounts[1].cards[0].iin: required",
            "accounts[1].cards[0].cardType: required",
            "accounts[1].cards[0].status: required",
            "accounts[1].cards[0].networkIdentifier: required",
            "accounts[1].cards[0].openDate: required",
        ]
    );
    assert_eq!(kit.events().await, events);
    let null = json!({"sourceAccountId": "ada-acc", "status": null});
    assert_eq!(kit.put(ACCOUNTS, &accounts(&[null])).await.problems(), ["accounts[0].status: must not be null"]);
}

#[tokio::test]
async fn what_a_new_record_lacks_is_told_beside_what_is_wrong() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let events = kit.events().await;
    let bad = json!({"sourceAccountId": "new", "status": "BAD", "sourceCustomerIds": ["ada", ""], "cards": [
        {"sourceAccountId": "new", "sourceCustomerId": "ada", "last4": "1111", "iin": "1"},
        {"sourceAccountId": "new", "sourceCustomerId": "ada"}]});
    let known = json!({"sourceAccountId": "ada-acc", "type": null, "cards": [
        {"sourceAccountId": "ada-acc", "sourceCustomerId": "ada", "last4": "2345", "iin": "1"}]});
    for path in [ACCOUNTS, OF_ADA] {
        let mut told = kit.put(path, &accounts(&[bad.clone(), known.clone()])).await.problems();
        told.sort();
        let mut expected = [
            "accounts[0].accountOpenDate: required",
            "accounts[0].cards[0].cardType: required",
            "accounts[0].cards[0].iin: must be 6 or 8 digits",
            "accounts[0].cards[0].networkIdentifier: required",
            "accounts[0].cards[0].openDate: required",
            "accounts[0].cards[0].status: required",
            "accounts[0].cards[1].last4: required",
            "accounts[0].primarySourceCustomerId: required",
            "accounts[0].sourceCustomerIds[1]: must not be empty",
            "accounts[0].sourcePortfolioId: required",
            "accounts[0].status: must be one of OPEN, CLOSED, DISPUTE, FRAUD",
            "accounts[0].type: required",
            "accounts[1].cards[0].iin: must be 6 or 8 digits",
            "accounts[1].type: must not be null",
        ];
        expected.sort_unstable();
        assert_eq!(told, expected);
    }
    let key =
        |last4: &str| json!({"sourceAccountId": "ada-acc", "sourceCustomerId": "ada", "last4": last4, "iin": "1"});
    let told = kit.put(CARDS, &cards(&[key("2345"), key("7777")])).await.problems();
    let [first, second] = [0, 1].map(|at| format!("cards[{at}].iin: must be 6 or 8 digits"));
    let missing = ["cardType", "status", "networkIdentifier", "openDate"].map(|it| format!("cards[1].{it}: required"));
    assert_eq!(told, [&[first, second][..], &missing].concat());
    assert_eq!(kit.events().await, events);
}

#[tokio::test]
async fn the_customer_of_the_path_exists_and_holds_the_accounts() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada"), customer("b/ö%b")]).await;
    let missing = kit.put("/v2/data/customers/eve/accounts", &accounts(&[account("new", "eve")])).await;
    assert_eq!(missing.refused(404, "ResourceNotFoundException"), ["sourceCustomerId: there is no customer \"eve\""]);
    let of_bob = "/v2/data/customers/b%2F%C3%B6%25b/accounts";
    kit.put(of_bob, &accounts(&[account("new", "b/ö%b")])).await.ok();
    assert_eq!(kit.profile("b/ö%b").await["accounts"].as_array().unwrap().len(), 2);
    let told = ["accounts[0].sourceCustomerIds: must name the customer"];
    assert_eq!(kit.put(of_bob, &accounts(&[account("other", "ada")])).await.problems(), told);
    let stored = json!({"sourceAccountId": "ada-acc", "status": "FRAUD"});
    assert_eq!(kit.put(of_bob, &accounts(&[stored])).await.problems(), told);
    let broken = kit.put("/v2/data/customers/%ff/accounts", &accounts(&[account("new", "ada")])).await;
    assert_eq!(broken.problems(), ["sourceCustomerId: not valid UTF-8"]);
}

#[tokio::test]
async fn a_card_is_created_whole_and_changed_in_part() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let eight = with(card("ada-acc", "ada", "0001"), "/iin", json!("12345678"));
    kit.put(CARDS, &cards(&[eight])).await.ok();
    let key = |last4: &str| json!({"sourceAccountId": "ada-acc", "sourceCustomerId": "ada", "last4": last4});
    let closed = with(with(key("0001"), "/status", json!("CLOSED")), "/closeDate", json!("2024-01-01T00:00:00Z"));
    kit.put(CARDS, &cards(&[closed, with(key("2345"), "/networkIdentifier", json!("6"))])).await.ok();
    let profile = kit.profile("ada").await;
    let shown = &profile["accounts"][0]["cards"];
    assert_eq!(
        (&shown[0]["last4"], &shown[0]["status"], &shown[0]["iin"]),
        (&json!("0001"), &json!("CLOSED"), &json!("12345678"))
    );
    assert_eq!((&shown[1]["networkIdentifier"], &shown[1]["closeDate"]), (&json!(6), &json!(null)));
    let early = with(key("0001"), "/closeDate", json!("2020-01-01"));
    let new = key("7777");
    assert_eq!(
        kit.put(CARDS, &cards(&[early, with(new, "/status", json!("OPEN"))])).await.problems(),
        [
            "cards[1].iin: required",
            "cards[1].cardType: required",
            "cards[1].networkIdentifier: required",
            "cards[1].openDate: required",
            "cards[0].closeDate: must not be before it was opened",
        ]
    );
    let stray = with(card("ada-acc", "eve", "7777"), "/sourceAccountId", json!("other"));
    assert_eq!(kit.put(CARDS, &cards(&[stray])).await.problems(), ["cards[0].sourceAccountId: must be the account's"]);
    assert_eq!(
        kit.put(CARDS, &cards(&[card("ada-acc", "eve", "7777")])).await.problems(),
        ["cards[0].sourceCustomerId: must be one of the account's sourceCustomerIds"]
    );
}

#[tokio::test]
async fn cards_are_put_into_an_account_that_the_customer_holds() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada"), customer("bob")]).await;
    let ask = async |path: &str| {
        let account = path.split('/').nth(6).unwrap();
        let reply = kit.put(path, &cards(&[card(account, "ada", "1111")])).await;
        reply.refused(404, "ResourceNotFoundException")
    };
    assert_eq!(
        ask("/v2/data/customers/eve/accounts/ada-acc/cards").await,
        ["sourceCustomerId: there is no customer \"eve\""]
    );
    for path in ["/v2/data/customers/ada/accounts/none/cards", "/v2/data/customers/ada/accounts/bob-acc/cards"] {
        let account = path.split('/').nth(6).unwrap();
        assert_eq!(ask(path).await, [format!("sourceAccountId: there is no account \"{account}\"")]);
    }
}

#[tokio::test]
async fn an_account_has_at_most_200_cards_and_a_customer_200_accounts() {
    let kit = Kit::new().await;
    let all: Vec<_> = (0..200).map(|at| card("ada-acc", "ada", &format!("{at:04}"))).collect();
    kit.create(&[with(customer("ada"), "/accounts/0/cards", json!(all))]).await;
    assert_eq!(
        kit.put(CARDS, &cards(&[card("ada-acc", "ada", "9999")])).await.problems(),
        ["cards: an account has at most 200 cards"]
    );
    let more: Vec<_> = (0..201).map(|at| card("new", "ada", &format!("{at:04}"))).collect();
    let body = accounts(&[with(account("new", "ada"), "/cards", json!(more))]);
    assert_eq!(kit.put(ACCOUNTS, &body).await.problems(), ["accounts[0].cards: must have at most 200 items"]);
    let bare = |at: usize| without(account(&format!("more-{at:03}"), "ada"), "/cards");
    for from in [0, 50, 100, 150] {
        let many: Vec<_> = (from..from + 50).filter(|at| *at < 199).map(bare).collect();
        kit.put(OF_ADA, &accounts(&many)).await.ok();
    }
    assert_eq!(
        kit.put(ACCOUNTS, &accounts(&[bare(199)])).await.problems(),
        ["accounts[0].sourceCustomerIds: a customer has at most 200 accounts"]
    );
    // One goes, one comes.
    let given = with(bare(0), "/sourceCustomerIds", json!(["bob"]));
    let given = with(given, "/primarySourceCustomerId", json!("bob"));
    kit.put(ACCOUNTS, &accounts(&[given, bare(199)])).await.ok();
}

#[tokio::test]
async fn a_holder_with_cards_cannot_be_left_out() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let given = json!({"sourceAccountId": "ada-acc", "sourceCustomerIds": ["bob"], "primarySourceCustomerId": "bob"});
    assert_eq!(
        kit.put(ACCOUNTS, &accounts(&[given])).await.problems(),
        ["accounts[0].sourceCustomerIds: must name the holders of the account's cards"]
    );
}
