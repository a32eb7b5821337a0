//! Changes by `PUT`: customers replaced, accounts and cards created or updated by their ids.

use std::collections::BTreeSet;

use custodia_tests::both;
use serde_json::{Value, json};

use crate::{
    ACCOUNTS, CUSTOMERS, Institution, account, account_of, batch, card, customer, paths, problems, profile, refused,
    with, without,
};

fn accounts(all: &[Value]) -> Value {
    json!({"accounts": all})
}

fn cards(all: &[Value]) -> Value {
    json!({"cards": all})
}

both! {
    async fn putting_customers_replaces_their_values_and_keeps_other_accounts(server: Server) {
        let institution = Institution::of(&server).await;
        let ada = with(customer("ada"), "/redemptionEligibility", json!("ALL"));
        let ada = with(ada, "/enrollmentEndDate", json!("2030-01-01"));
        let ada = with(ada, "/accounts", json!([account("ada-account", "ada"), account("second", "ada")]));
        let _ = institution.post(&batch(&[ada])).await.expect(200);
        let changed = with(customer("ada"), "/postalCode", json!("10115"));
        let changed = with(changed, "/accounts/0/cards/0/last4", json!("9999"));
        let _ = institution.put(CUSTOMERS, &batch(std::slice::from_ref(&changed))).await.expect(200);
        let read = profile(&server, "ada").await;
        assert_eq!((&read["postalCode"], &read["enrollmentEndDate"]), (&json!("10115"), &json!(null)));
        assert!(read.get("redemptionEligibility").is_none_or(Value::is_null));
        let accounts = read["accounts"].as_array().unwrap();
        let cards: Vec<usize> = accounts.iter().map(|it| it["cards"].as_array().unwrap().len()).collect();
        assert_eq!(cards, [2, 1], "{read}");
        let answer = institution.put(CUSTOMERS, &batch(&[with(changed, "/postalCode", json!("2")), customer("eve")])).await;
        let told = refused(&answer, 404, "ResourceNotFoundException", "Resource not found");
        assert!(told.len() == 1 && told[0].starts_with("customers[1].") && told[0].contains("eve"), "{told:?}");
        assert_eq!(profile(&server, "ada").await["postalCode"], "10115");
        let _ = server.post("/v1/customers", json!({"externalId": "lms-only"})).await.expect(200);
        let _ = institution.put(CUSTOMERS, &batch(&[customer("lms-only")])).await.expect(200);
        assert_eq!(profile(&server, "lms-only").await["sourceCustomerId"], "lms-only");
    }

    async fn accounts_and_cards_are_put_by_their_ids(server: Server) {
        let institution = Institution::of(&server).await;
        let _ = institution.post(&batch(&[customer("ada"), customer("bob")])).await.expect(200);
        let accounts = |all: Value| json!({"accounts": all});
        let closed = json!({"sourceAccountId": "ada-account", "status": "CLOSED", "accountCloseDate": "2024-01-01"});
        let body = accounts(json!([closed, account("third", "ada")]));
        let _ = institution.put("/v2/data/accounts", &body).await.expect(200);
        let _ = institution.put("/v2/data/customers/ada/accounts", &accounts(json!([account("fourth", "ada")]))).await.expect(200);
        let answer = institution.put("/v2/data/customers/ada/accounts", &accounts(json!([account("fifth", "bob")]))).await;
        assert!(problems(&answer)[0].starts_with("accounts[0].sourceCustomerIds: "), "{}", answer.text);
        let answer = institution.put("/v2/data/customers/eve/accounts", &accounts(json!([account("sixth", "eve")]))).await;
        refused(&answer, 404, "ResourceNotFoundException", "Resource not found");
        let half = json!({"sourceAccountId": "seventh", "status": "OPEN"});
        assert!(problems(&institution.put("/v2/data/accounts", &accounts(json!([half]))).await).len() >= 4);
        let bad = json!({"sourceAccountId": "seventh", "status": "BAD"});
        let told = problems(&institution.put("/v2/data/accounts", &accounts(json!([bad]))).await);
        assert_eq!(told, ["accounts[0].status: must be one of OPEN, CLOSED, DISPUTE, FRAUD",
            "accounts[0].sourceCustomerIds: required", "accounts[0].primarySourceCustomerId: required",
            "accounts[0].type: required", "accounts[0].sourcePortfolioId: required",
            "accounts[0].accountOpenDate: required"]);
        let path = "/v2/data/customers/ada/accounts/third/cards";
        let key = json!({"sourceAccountId": "third", "sourceCustomerId": "ada", "last4": "2345", "cardType": "PREPAID"});
        let _ = institution.put(path, &json!({"cards": [key, card("third", "ada", "0001")]})).await.expect(200);
        let answer = institution.put("/v2/data/customers/bob/accounts/third/cards", &json!({"cards": [card("third", "bob", "1")]})).await;
        assert!(answer.status == 400 || answer.status == 404, "{}", answer.text);
        let read = profile(&server, "ada").await;
        let ids: Vec<&str> =
            read["accounts"].as_array().unwrap().iter().map(|it| it["sourceAccountId"].as_str().unwrap()).collect();
        assert_eq!(BTreeSet::from_iter(ids), BTreeSet::from(["ada-account", "third", "fourth"]));
        let find = |id: &str| read["accounts"].as_array().unwrap().iter().find(|it| it["sourceAccountId"] == id).unwrap();
        assert_eq!(find("ada-account")["accountCloseDate"], "2024-01-01T00:00:00Z");
        assert_eq!(find("ada-account")["cards"].as_array().unwrap().len(), 1);
        let cards = find("third")["cards"].as_array().unwrap();
        assert_eq!((&cards[0]["last4"], &cards[1]["cardType"]), (&json!("0001"), &json!("PREPAID")));
    }

    async fn every_own_value_is_replaced_and_an_optional_one_left_out_is_cleared(server: Server) {
        let institution = Institution::of(&server).await;
        let full = [
            ("/sourceParentCustomerId", json!("parent")), ("/enrollmentEndDate", json!("2030-01-01T00:00:00Z")),
            ("/redemptionEligibility", json!("ALL")),
        ];
        let ada = full.into_iter().fold(customer("ada"), |ada, (pointer, value)| with(ada, pointer, value));
        institution.create(std::slice::from_ref(&ada)).await;
        let other = [
            ("/organizationId", json!("60005")), ("/postalCode", json!("10115")), ("/country", json!("DE")),
            ("/customerCreationDate", json!("2016-01-01T08:00:00Z")), ("/enrollmentStartDate", json!("2022-01-01T08:00:00Z")),
            ("/enrollmentOptInStatus", json!("ACTIVE")), ("/alertOptInStatus", json!(["NEW"])),
            ("/targetingIndicator", json!("DO_NOT_TARGET")), ("/accounts", json!([])),
        ];
        let changed = other.clone().into_iter().fold(customer("ada"), |ada, (pointer, value)| with(ada, pointer, value));
        let _ = institution.put(CUSTOMERS, &batch(std::slice::from_ref(&changed))).await.expect(200);
        let read = profile(&server, "ada").await;
        for (pointer, value) in other.iter().filter(|(pointer, _)| *pointer != "/accounts") {
            assert_eq!(read.pointer(pointer), Some(value), "{pointer}");
        }
        for gone in ["sourceParentCustomerId", "enrollmentEndDate", "redemptionEligibility"] {
            assert!(read.get(gone).is_none_or(Value::is_null), "{gone}");
        }
        assert_eq!(read["accounts"].as_array().unwrap().len(), 1, "an account left out stays");
        let seen = server.get("/v1/customers/external/ada").await.expect(200).json;
        assert_eq!((&seen["status"], &seen["activationDate"]), (&json!("Active"), &json!("2017-01-01")), "nor does it move");
        let before = seen["version"].clone();
        let _ = institution.put(CUSTOMERS, &batch(&[changed])).await.expect(200);
        let seen = server.get("/v1/customers/external/ada").await.expect(200).json;
        assert_eq!(seen["version"], before, "the same again changes nothing");
        for required in ["postalCode", "accounts", "alertOptInStatus"] {
            let answer = institution.put(CUSTOMERS, &batch(&[without(customer("ada"), &format!("/{required}"))])).await;
            assert_eq!(paths(&answer), [format!("customers[0].{required}")]);
        }
    }

    async fn unknown_and_closed_customers_are_each_named_and_nothing_is_changed(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada"), customer("bob"), customer("cem")]).await;
        let changed = |id: &str| with(customer(id), "/postalCode", json!("99"));
        let answer = institution.put(CUSTOMERS, &batch(&[changed("eve"), changed("ada"), changed("zoe")])).await;
        let told = refused(&answer, 404, "ResourceNotFoundException", "Resource not found");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("customers[0].sourceCustomerId: ") && told[0].contains("eve"), "{told:?}");
        assert!(told[1].starts_with("customers[2].sourceCustomerId: ") && told[1].contains("zoe"), "{told:?}");
        for id in ["bob", "cem"] {
            let close = json!({"closureDate": "2026-01-01", "closureReasonId": 1});
            let _ = server.post(&format!("/v1/customers/external/{id}/close"), close).await.expect(200);
        }
        let answer = institution.put(CUSTOMERS, &batch(&[changed("bob"), changed("ada"), changed("cem")])).await;
        let told = refused(&answer, 409, "ConflictException", "Conflict");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("customers[0]") && told[0].contains("bob"), "{told:?}");
        assert!(told[1].contains("customers[2]") && told[1].contains("cem"), "{told:?}");
        assert_eq!(profile(&server, "ada").await["postalCode"], "78753");
    }

    async fn a_customer_of_another_dialect_is_enrolled_by_being_put(server: Server) {
        let institution = Institution::of(&server).await;
        let _ = server.post("/v1/customers", json!({"officeId": 1, "fullname": "Grace Hopper", "active": false,
            "externalId": "by-lms"})).await.expect(200);
        let _ = institution.put(CUSTOMERS, &batch(&[customer("by-lms")])).await.expect(200);
        assert_eq!(profile(&server, "by-lms").await["accounts"][0]["sourceAccountId"], "by-lms-account");
        let seen = server.get("/v1/customers/external/by-lms").await.expect(200).json;
        assert_eq!((&seen["displayName"], &seen["status"]), (&json!("Grace Hopper"), &json!("Pending")), "nothing else moves");
    }

    async fn a_new_account_needs_every_member_but_cards_and_a_known_one_only_what_changes(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada")]).await;
        for path in [ACCOUNTS, "/v2/data/customers/ada/accounts"] {
            let id = path.len().to_string();
            for member in ["sourceCustomerIds", "primarySourceCustomerId", "status", "type", "sourcePortfolioId", "accountOpenDate"] {
                let half = without(account(&id, "ada"), &format!("/{member}"));
                let answer = institution.put(path, &accounts(&[account("fine", "ada"), half])).await;
                assert_eq!(paths(&answer), [format!("accounts[1].{member}")]);
                let answer = institution.put(path, &accounts(&[with(account(&id, "ada"), &format!("/{member}"), json!(null))])).await;
                assert_eq!(paths(&answer), [format!("accounts[0].{member}")]);
            }
            assert_eq!(paths(&institution.put(path, &accounts(&[json!({})])).await), ["accounts[0].sourceAccountId"]);
            let _ = institution.put(path, &accounts(&[without(account(&id, "ada"), "/cards")])).await.expect(200);
            for (member, value) in [
                ("status", json!("DISPUTE")), ("type", json!("SBS")), ("sourcePortfolioId", json!("other")),
                ("accountOpenDate", json!("2019-01-01T00:00:00Z")), ("sourceCustomerIds", json!(["ada", "eve"])),
                ("primarySourceCustomerId", json!("eve")),
            ] {
                let before = account_of(&profile(&server, "ada").await, &id).clone();
                let change = json!({"sourceAccountId": id, member: value});
                let _ = institution.put(path, &accounts(&[change])).await.expect(200);
                let read = profile(&server, "ada").await;
                let now = account_of(&read, &id);
                let mut expected = with(before, &format!("/{member}"), value);
                // Holders are a set; they are shown with the primary one first.
                expected["sourceCustomerIds"] = now["sourceCustomerIds"].clone();
                assert_eq!(*now, expected, "{member}");
            }
            let closed = json!({"sourceAccountId": id, "status": "CLOSED", "accountCloseDate": "2024-01-01"});
            let _ = institution.put(path, &accounts(&[closed])).await.expect(200);
            assert_eq!(account_of(&profile(&server, "ada").await, &id)["accountCloseDate"], "2024-01-01T00:00:00Z");
            let open = json!({"sourceAccountId": id, "status": "OPEN"});
            assert_eq!(paths(&institution.put(path, &accounts(&[open])).await), ["accounts[0].accountCloseDate"]);
            let open = json!({"sourceAccountId": id, "status": "OPEN", "accountCloseDate": null});
            let _ = institution.put(path, &accounts(&[open])).await.expect(200);
        }
        for (body, path) in [
            (json!({}), "accounts"), (json!({"accounts": []}), "accounts"), (json!({"accounts": "x"}), "accounts"),
            (json!({"accounts": [account("a", "ada")], "zz": 1}), "zz"), (accounts(&vec![account("a", "ada"); 51]), "accounts"),
            (accounts(&[account("a", "ada"), account("a", "ada")]), "accounts[1].sourceAccountId"),
            (accounts(&[with(account("a", "ada"), "/nickname", json!(1))]), "accounts[0].nickname"),
        ] {
            assert!(paths(&institution.put(ACCOUNTS, &body).await).contains(&path.to_owned()), "{path}");
        }
        let fifty: Vec<Value> = (0..50).map(|at| account(&format!("of-{at}"), "ada")).collect();
        let _ = institution.put(ACCOUNTS, &accounts(&fifty)).await.expect(200);
    }

    async fn the_customer_of_a_path_exists_and_holds_what_is_put(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada"), customer("a/b%c")]).await;
        let answer = institution.put("/v2/data/customers/ada/accounts", &accounts(&[account("x", "bob")])).await;
        assert_eq!(paths(&answer), ["accounts[0].sourceCustomerIds", "accounts[0].cards[0].sourceCustomerId"][..1]);
        let encoded = "/v2/data/customers/a%2Fb%25c/accounts";
        let _ = institution.put(encoded, &accounts(&[account("of/b", "a/b%c")])).await.expect(200);
        let _ = institution.put(&format!("{encoded}/of%2Fb/cards"), &cards(&[card("of/b", "a/b%c", "7777")])).await.expect(200);
        assert_eq!(account_of(&profile(&server, "a/b%c").await, "of/b")["cards"].as_array().unwrap().len(), 2);
        for (path, body) in [
            ("/v2/data/customers/eve/accounts", accounts(&[account("x", "eve")])),
            ("/v2/data/customers/eve/accounts/ada-account/cards", cards(&[card("ada-account", "eve", "1111")])),
            ("/v2/data/customers/ada/accounts/nothing/cards", cards(&[card("nothing", "ada", "1111")])),
            ("/v2/data/customers/ada/accounts/of%2Fb/cards", cards(&[card("of/b", "ada", "1111")])),
        ] {
            let answer = institution.put(path, &body).await;
            let told = refused(&answer, 404, "ResourceNotFoundException", "Resource not found");
            assert_eq!(told.len(), 1, "{path}: {told:?}");
        }
        for path in ["/v2/data/customers/%FF/accounts", "/v2/data/customers/%20/accounts"] {
            assert_eq!(paths(&institution.put(path, &accounts(&[account("x", "ada")])).await)[0], "sourceCustomerId");
        }
    }

    async fn a_new_card_needs_every_member_and_a_known_one_its_key_and_what_changes(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada")]).await;
        let path = "/v2/data/customers/ada/accounts/ada-account/cards";
        let new = || card("ada-account", "ada", "7777");
        for member in ["sourceAccountId", "sourceCustomerId", "last4", "iin", "cardType", "status", "networkIdentifier", "openDate"] {
            for half in [without(new(), &format!("/{member}")), with(new(), &format!("/{member}"), json!(null))] {
                let answer = institution.put(path, &cards(&[card("ada-account", "ada", "1111"), half])).await;
                assert_eq!(paths(&answer), [format!("cards[1].{member}")]);
            }
        }
        let _ = institution.put(path, &cards(&[new()])).await.expect(200);
        let find = async || {
            let read = profile(&server, "ada").await;
            let all = account_of(&read, "ada-account")["cards"].as_array().unwrap().clone();
            all.into_iter().find(|card| card["last4"] == "7777").unwrap()
        };
        for (member, value) in [
            ("iin", json!("87654321")), ("cardType", json!("PREPAID")), ("networkIdentifier", json!(6)),
            ("openDate", json!("2022-01-01T00:00:00Z")),
        ] {
            let expected = with(find().await, &format!("/{member}"), value.clone());
            let change = json!({"sourceAccountId": "ada-account", "sourceCustomerId": "ada", "last4": "7777", member: value});
            let _ = institution.put(path, &cards(&[change])).await.expect(200);
            assert_eq!(find().await, expected, "{member}");
        }
        let closed = json!({"sourceAccountId": "ada-account", "sourceCustomerId": "ada", "last4": "7777", "status": "CLOSED"});
        assert_eq!(paths(&institution.put(path, &cards(std::slice::from_ref(&closed))).await), ["cards[0].closeDate"]);
        let _ = institution.put(path, &cards(&[with(closed, "/closeDate", json!("2024-02-03"))])).await.expect(200);
        assert_eq!(find().await["closeDate"], "2024-02-03T00:00:00Z");
        for (body, at) in [
            (json!({}), "cards"), (cards(&[]), "cards"), (cards(&vec![new(); 51]), "cards"),
            (cards(&[new(), new()]), "cards[1].last4"), (cards(&[with(new(), "/cvv", json!("1"))]), "cards[0].cvv"),
            (cards(&[card("another", "ada", "1111")]), "cards[0].sourceAccountId"),
            (cards(&[card("ada-account", "bob", "1111")]), "cards[0].sourceCustomerId"),
        ] {
            assert_eq!(paths(&institution.put(path, &body).await), [at]);
        }
    }
}
