//! Accounts and those who hold them: holders that are not there yet, holders that go, and one account sent by several.

use custodia_tests::both;
use serde_json::json;

use crate::{ACCOUNTS, CUSTOMERS, Institution, account, account_of, batch, card, customer, problems, profile, with};

both! {
    async fn an_account_may_be_put_before_any_of_its_holders_is_there(server: Server) {
        let institution = Institution::of(&server).await;
        let joint = with(account("joint", "eve"), "/sourceCustomerIds", json!(["eve", "zoe"]));
        let _ = institution.put(ACCOUNTS, &json!({"accounts": [joint]})).await.expect(200);
        assert_eq!(server.total().await, 0, "no customer comes of it");
        for id in ["eve", "zoe"] {
            institution.create(&[with(customer(id), "/accounts", json!([]))]).await;
            assert_eq!(account_of(&profile(&server, id).await, "joint")["primarySourceCustomerId"], "eve");
        }
    }

    async fn a_card_within_an_account_is_changed_in_part_too(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada")]).await;
        let key = json!({"sourceAccountId": "ada-account", "sourceCustomerId": "ada", "last4": "2345", "cardType": "DEBIT"});
        let change = json!({"accounts": [{"sourceAccountId": "ada-account", "cards": [key]}]});
        for path in [ACCOUNTS, "/v2/data/customers/ada/accounts"] {
            let _ = institution.put(path, &change).await.expect(200);
        }
        let read = profile(&server, "ada").await;
        let expected = with(card("ada-account", "ada", "2345"), "/cardType", json!("DEBIT"));
        assert_eq!(account_of(&read, "ada-account")["cards"], json!([with(expected, "/closeDate", json!(null))]));
        let new = json!({"sourceAccountId": "ada-account", "sourceCustomerId": "ada", "last4": "9999", "cardType": "DEBIT"});
        let change = json!({"accounts": [{"sourceAccountId": "ada-account", "cards": [new]}]});
        let told = problems(&institution.put(ACCOUNTS, &change).await);
        let expected = ["iin", "status", "networkIdentifier", "openDate"].map(|it| format!("accounts[0].cards[0].{it}: required"));
        assert_eq!(told, expected);
    }

    async fn a_holder_with_a_card_stays_a_holder(server: Server) {
        let institution = Institution::of(&server).await;
        let joint = with(account("joint", "ada"), "/sourceCustomerIds", json!(["ada", "eve", "zoe"]));
        let joint = with(joint, "/cards", json!([card("joint", "ada", "1111"), card("joint", "eve", "2222")]));
        institution.create(&[with(customer("ada"), "/accounts", json!([joint]))]).await;
        let held_by = |holders: &[&str]| json!({"accounts": [{"sourceAccountId": "joint", "sourceCustomerIds": holders}]});
        for path in [ACCOUNTS, "/v2/data/customers/ada/accounts"] {
            let told = problems(&institution.put(path, &held_by(&["ada", "zoe"])).await);
            assert_eq!(told, ["accounts[0].sourceCustomerIds: must name the holders of the account's cards"]);
        }
        let _ = institution.put(ACCOUNTS, &held_by(&["ada", "eve"])).await.expect(200);
        let read = profile(&server, "ada").await;
        assert_eq!(account_of(&read, "joint")["sourceCustomerIds"], json!(["ada", "eve"]), "who has no card may go");
    }

    async fn an_account_under_two_customers_of_a_batch_is_one_account(server: Server) {
        let institution = Institution::of(&server).await;
        let joint = with(account("joint", "ada"), "/sourceCustomerIds", json!(["ada", "bob"]));
        let under = |id: &str, account: &serde_json::Value| with(customer(id), "/accounts", json!([account]));
        for (pointer, value, told) in [
            ("/status", json!("FRAUD"), "customers[1].accounts[0].sourceAccountId: contradicts customers[0].accounts[0]"),
            ("/cards/0/iin", json!("654321"), "customers[1].accounts[0].cards[0].last4: contradicts customers[0].accounts[0].cards[0]"),
        ] {
            let body = batch(&[under("ada", &joint), under("bob", &with(joint.clone(), pointer, value))]);
            assert_eq!(problems(&institution.post(&body).await), [told]);
        }
        assert_eq!(server.total().await, 0);
        let body = batch(&[under("ada", &joint), under("bob", &joint)]);
        let _ = institution.post(&body).await.expect(200);
        for id in ["ada", "bob"] {
            let read = profile(&server, id).await;
            assert_eq!(account_of(&read, "joint")["cards"].as_array().unwrap().len(), 1, "{id}");
        }
        let told = problems(&institution.put(CUSTOMERS, &batch(&[under("ada", &joint),
            under("bob", &with(joint.clone(), "/type", json!("SAV")))])).await);
        assert_eq!(told, ["customers[1].accounts[0].sourceAccountId: contradicts customers[0].accounts[0]"]);
        let _ = institution.put(CUSTOMERS, &body).await.expect(200);
    }
}
