//! Batches of customers: created, sent again, replaced and refused.

use custodia_domain::ports::Selector;
use custodia_domain::{ExternalId, Status};
use serde_json::{Value, json};

use super::*;

const SEED: &str = r#"{
    "customers": [
        {
            "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
            "sourceParentCustomerId": "2e052a88-6ae1-4501-b9db-e78afa73c0e3",
            "organizationId": "50004",
            "postalCode": "78753",
            "country": "US",
            "customerCreationDate": "2017-01-01T08:00:00Z",
            "enrollmentStartDate": "2023-01-01T08:00:00Z",
            "enrollmentEndDate": "2023-01-01T08:00:00Z",
            "enrollmentOptInStatus": "ACTIVE",
            "alertOptInStatus": ["ALL"],
            "targetingIndicator": "TARGET",
            "accounts": [
                {
                    "sourceAccountId": "42c57311-25f9-4501-b9db-e78afa73c0e3",
                    "sourceCustomerIds": [
                        "afa2r21-25f9-4501-b9db-e78afa73c0e3", "2e052a88-6ae1-4b78-8d96-f3a037402567"
                    ],
                    "primarySourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
                    "status": "OPEN",
                    "type": "DDA",
                    "sourcePortfolioId": "76afcd28-b494-4b29-b7f2-3eb614a92f97",
                    "accountOpenDate": "2018-05-12T20:30:00Z",
                    "accountCloseDate": null,
                    "cards": [
                        {
                            "sourceAccountId": "42c57311-25f9-4501-b9db-e78afa73c0e3",
                            "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
                            "last4": "2345",
                            "iin": "123456",
                            "cardType": "CREDIT",
                            "status": "OPEN",
                            "networkIdentifier": "3",
                            "openDate": "2023-01-01T08:00:00Z",
                            "closeDate": null
                        }
                    ]
                }
            ]
        }
    ]
}"#;

#[tokio::test]
async fn the_published_example_is_taken_as_printed_and_read_back() {
    let kit = Kit::new().await;
    let reply = kit.ask("POST", CUSTOMERS, &[], SEED).await;
    let body = reply.ok();
    assert_eq!(body.as_object().unwrap().len(), 1);
    assert_eq!(body["requestId"].as_str().unwrap().len(), 36);
    let mut expected: Value = serde_json::from_str::<Value>(SEED).unwrap()["customers"][0].clone();
    expected["accounts"][0]["cards"][0]["networkIdentifier"] = json!(3);
    expected["portfolios"] = json!([{"sourcePortfolioId": "76afcd28-b494-4b29-b7f2-3eb614a92f97",
        "portfolioName": "76afcd28-b494-4b29-b7f2-3eb614a92f97", "rewardCurrencyUnit": "Cash"}]);
    assert_eq!(kit.profile("afa2r21-25f9-4501-b9db-e78afa73c0e3").await, expected);
    assert_eq!(kit.events().await, ["customer.created", "account.created", "card.created"]);
}

#[tokio::test]
async fn a_created_customer_is_active_since_its_creation_and_named_after_its_id() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada"), with(customer("bob"), "/customerCreationDate", json!("2020-03-01T01:00:00+05:00"))])
        .await;
    for (id, since) in [("ada", "2017-01-01"), ("bob", "2020-02-29")] {
        let selector = Selector::ExternalId(ExternalId::parse(id).unwrap());
        let view = kit.registry.get(organization(1), selector).await.unwrap().unwrap();
        assert_eq!(view.customer.status(), Status::Active);
        assert_eq!(view.customer.activated_on().unwrap().to_string(), since);
        assert_eq!(view.customer.first_name(), Some(id));
        assert_eq!(view.office.name.as_str(), "Head Office");
    }
}

#[tokio::test]
async fn a_batch_that_is_sent_again_changes_nothing() {
    let kit = Kit::new().await;
    let ada = with(customer("ada"), "/accounts/0/sourceCustomerIds", json!(["ada", "bob"]));
    kit.create(&[ada.clone(), customer("bob")]).await;
    let events = kit.events().await;
    kit.create(&[ada.clone(), customer("bob")]).await;
    // The same content in other words.
    let same = with(ada, "/customerCreationDate", json!("2017-01-01T10:00:00+02:00"));
    let same = with(same, "/alertOptInStatus", json!(["EXPIRING", "NEW", "NEW"]));
    let same = with(same, "/accounts/0/sourceCustomerIds", json!(["bob", "ada"]));
    let same = with(same, "/accounts/0/cards/0/networkIdentifier", json!("3"));
    kit.create(&[without(same, "/enrollmentEndDate")]).await;
    assert_eq!(kit.events().await, events);
}

#[tokio::test]
async fn a_customer_with_other_content_refuses_the_whole_batch_and_each_is_named() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada"), customer("bob")]).await;
    let events = kit.events().await;
    let changed = [
        with(customer("ada"), "/postalCode", json!("1")),
        with(customer("ada"), "/accounts", json!([])),
        with(customer("ada"), "/accounts/0/status", json!("FRAUD")),
        with(customer("ada"), "/accounts/0/cards", json!([])),
        with(customer("ada"), "/accounts/0/cards/0/iin", json!("654321")),
        with(customer("ada"), "/accounts/0/cards/0/last4", json!("9999")),
        with(customer("ada"), "/accounts/1", account("another", "ada")),
    ];
    for other in changed {
        let bob = with(customer("bob"), "/redemptionEligibility", json!("NONE"));
        let problems = kit.post(&batch(&[customer("eve"), other, bob])).await.refused(409, "ConflictException");
        assert_eq!(
            problems,
            [
                "customers[1].sourceCustomerId: the customer \"ada\" exists with other content",
                "customers[2].sourceCustomerId: the customer \"bob\" exists with other content",
            ]
        );
    }
    assert_eq!(kit.events().await, events);
}

#[tokio::test]
async fn the_holders_of_a_joint_account_may_come_one_after_the_other() {
    let kit = Kit::new().await;
    let joint = |cards: Value| {
        let joint = with(account("joint", "ada"), "/sourceCustomerIds", json!(["ada", "bob"]));
        with(joint, "/cards", cards)
    };
    let ada = with(customer("ada"), "/accounts/0", joint(json!([card("joint", "ada", "1111")])));
    let bob = with(customer("bob"), "/accounts/0", joint(json!([card("joint", "bob", "1111")])));
    kit.create(std::slice::from_ref(&ada)).await;
    kit.create(std::slice::from_ref(&bob)).await;
    assert_eq!(kit.profile("ada").await["accounts"][0]["cards"].as_array().unwrap().len(), 2);
    let events = kit.events().await;
    kit.create(std::slice::from_ref(&ada)).await;
    kit.create(&[bob, ada.clone()]).await;
    assert_eq!(kit.events().await, events);
    let eve = with(joint(json!([])), "/sourceCustomerIds", json!(["ada", "eve"]));
    let eve = with(customer("eve"), "/accounts/0", eve);
    let problems = kit.post(&batch(std::slice::from_ref(&eve))).await.refused(409, "ConflictException");
    assert_eq!(problems, ["customers[0].accounts[0].sourceAccountId: the account \"joint\" exists with other content"]);
    let problems = kit.post(&batch(&[ada, eve])).await.problems();
    assert_eq!(problems, ["customers[1].accounts[0].sourceAccountId: contradicts customers[0].accounts[0]"]);
}

#[tokio::test]
async fn every_problem_of_a_batch_is_told_at_once_with_its_path() {
    let kit = Kit::new().await;
    let ada = with(customer("ada"), "/accounts/1", account("second", "ada"));
    let ada = with(ada, "/accounts/1/cards/0/last4", json!("234"));
    let ada = with(ada, "/accounts/1/cards/0/iin", json!("1234567"));
    let ada = with(ada, "/accounts/1/cards/0/networkIdentifier", json!(7));
    let ada = with(ada, "/accounts/1/cards/0/sourceAccountId", json!("first"));
    let ada = with(ada, "/accounts/1/cards/0/sourceCustomerId", json!("eve"));
    let ada = with(ada, "/accounts/1/type", json!("dda"));
    let ada = with(ada, "/accounts/0/status", json!("CLOSED"));
    let ada = with(ada, "/accounts/0/primarySourceCustomerId", json!("bob"));
    let ada = with(ada, "/accounts/0/cards/0/closeDate", json!("2024-01-01"));
    let ada = with(ada, "/country", json!("UK"));
    let ada = with(ada, "/postalCode", json!(78753));
    let ada = with(ada, "/alertOptInStatus", json!(["ALL", "SOME"]));
    let ada = with(ada, "/customerCreationDate", json!("2026-05-25T09:30:01Z"));
    let ada = with(ada, "/enrollmentEndDate", json!("2022-12-31"));
    let ada = with(ada, "/nickname", json!("Countess"));
    let bob = without(without(customer("bob"), "/accounts"), "/targetingIndicator");
    let body = with(batch(&[ada, bob, json!([])]), "/extra", json!(1));
    let mut problems = kit.post(&body).await.problems();
    problems.sort();
    assert_eq!(
        problems,
        [
            "customers[0].accounts[0].accountCloseDate: required when status is CLOSED",
            "customers[0].accounts[0].cards[0].closeDate: must be null unless status is CLOSED",
            "customers[0].accounts[0].primarySourceCustomerId: must be one of sourceCustomerIds",
            "customers[0].accounts[1].cards[0].iin: must be 6 or 8 digits",
            "customers[0].accounts[1].cards[0].last4: must be 4 digits",
            "customers[0].accounts[1].cards[0].networkIdentifier: must be 3, 4, 5 or 6",
            "customers[0].accounts[1].cards[0].sourceAccountId: must be the account's",
            "customers[0].accounts[1].cards[0].sourceCustomerId: must be one of the account's sourceCustomerIds",
            "customers[0].accounts[1].type: must be one of PPD, MMA, CRD, DDA, SAV, SBCRD, SBDDA, SBS",
            "customers[0].alertOptInStatus[1]: must be one of ALL, NEW, ACTIVATED, EXPIRING, REDEMPTION, CLOSE_THE_LOOP, \
             MISSED_OPPORTUNITY",
            "customers[0].country: must be an assigned ISO 3166-1 alpha-2 code",
            "customers[0].customerCreationDate: must not be in the future",
            "customers[0].enrollmentEndDate: must not be before enrollmentStartDate",
            "customers[0].nickname: unknown field",
            "customers[0].postalCode: must be a string",
            "customers[1].accounts: required",
            "customers[1].targetingIndicator: required",
            "customers[2]: must be an object",
            "extra: unknown field",
        ]
    );
    assert!(kit.events().await.is_empty());
}

#[tokio::test]
async fn every_required_member_is_required() {
    let kit = Kit::new().await;
    let required = [
        "sourceCustomerId",
        "organizationId",
        "postalCode",
        "country",
        "customerCreationDate",
        "enrollmentStartDate",
        "enrollmentOptInStatus",
        "alertOptInStatus",
        "targetingIndicator",
        "accounts",
        "accounts/0/sourceAccountId",
        "accounts/0/sourceCustomerIds",
        "accounts/0/primarySourceCustomerId",
        "accounts/0/status",
        "accounts/0/type",
        "accounts/0/sourcePortfolioId",
        "accounts/0/accountOpenDate",
        "accounts/0/cards/0/sourceAccountId",
        "accounts/0/cards/0/sourceCustomerId",
        "accounts/0/cards/0/last4",
        "accounts/0/cards/0/iin",
        "accounts/0/cards/0/cardType",
        "accounts/0/cards/0/status",
        "accounts/0/cards/0/networkIdentifier",
        "accounts/0/cards/0/openDate",
    ];
    for member in required {
        let pointer = format!("/{member}");
        let path = member.replace("/0", "[0]").replace('/', ".");
        for body in [without(customer("ada"), &pointer), with(customer("ada"), &pointer, json!(null))] {
            let problems = kit.post(&batch(&[body])).await.problems();
            assert_eq!(problems, [format!("customers[0].{path}: required")]);
        }
    }
    let optional =
        ["enrollmentEndDate", "accounts/0/cards", "accounts/0/accountCloseDate", "accounts/0/cards/0/closeDate"];
    for (at, member) in optional.into_iter().enumerate() {
        let body = without(customer(&format!("c{at}")), &format!("/{member}"));
        kit.create(&[body]).await;
    }
}

#[tokio::test]
async fn a_whole_card_number_is_refused_and_never_repeated() {
    const NUMBER: &str = "4111111111111111";
    let kit = Kit::new().await;
    for member in ["organizationId", "postalCode"] {
        let body = with(customer("ada"), &format!("/{member}"), json!(NUMBER));
        let reply = kit.post(&batch(&[body])).await;
        assert_eq!(reply.problems(), [format!("customers[0].{member}: must not be a whole card number")]);
    }
    for member in ["last4", "iin", "cardType", "status", "networkIdentifier", "openDate", "closeDate", NUMBER] {
        let body = with(customer("ada"), &format!("/accounts/0/cards/0/{member}"), json!(NUMBER));
        let reply = kit.post(&batch(&[body])).await;
        assert_eq!(reply.problems().len(), 1, "{member}");
        assert!(!reply.text.contains(NUMBER), "{}", reply.text);
    }
    // As an identifier it is a card number only where the card says so.
    let named = with(customer(NUMBER), "/accounts/0/cards/0/last4", json!("1111"));
    let reply = kit.post(&batch(&[with(named.clone(), "/accounts/0/cards/0/iin", json!("411111"))])).await;
    assert!(!reply.text.contains(NUMBER), "{}", reply.text);
    assert!(reply.problems().contains(&"customers[0].sourceCustomerId: must not be a whole card number".to_owned()));
    kit.create(std::slice::from_ref(&named)).await;
    let reply = kit.post(&batch(&[with(named, "/postalCode", json!("1"))])).await;
    assert_eq!(reply.refused(409, "ConflictException").len(), 1);
    assert!(!reply.text.contains(NUMBER), "{}", reply.text);
}

#[tokio::test]
async fn a_batch_has_1_to_50_customers_each_named_once() {
    let kit = Kit::new().await;
    let many = |count: usize| (0..count).map(|at| customer(&format!("c{at}"))).collect::<Vec<_>>();
    assert_eq!(kit.post(&batch(&[])).await.problems(), ["customers: must have 1 to 50 items"]);
    assert_eq!(kit.post(&batch(&many(51))).await.problems(), ["customers: must have at most 50 items"]);
    assert_eq!(kit.post(&json!({})).await.problems(), ["customers: required"]);
    assert_eq!(kit.post(&json!({"customers": {}})).await.problems(), ["customers: must be an array"]);
    kit.post(&batch(&many(50))).await.ok();
    for method in ["POST", "PUT"] {
        let twice = batch(&[customer("ada"), customer("ada")]).to_string();
        let problems = kit.ask(method, CUSTOMERS, &[], &twice).await.problems();
        assert!(problems.contains(&"customers[1].sourceCustomerId: is named by customers[0] already".to_owned()));
    }
}

#[tokio::test]
async fn an_account_or_card_stands_once_in_its_array() {
    let kit = Kit::new().await;
    let twice = with(customer("ada"), "/accounts", json!([account("a", "ada"), account("a", "ada")]));
    assert!(kit.post(&batch(&[twice])).await.problems().contains(
        &"customers[0].accounts[1].sourceAccountId: is named by customers[0].accounts[0] already".to_owned()
    ));
    let cards = json!([card("ada-acc", "ada", "1111"), card("ada-acc", "ada", "1111")]);
    let twice = with(customer("ada"), "/accounts/0/cards", cards);
    assert_eq!(
        kit.post(&batch(&[twice])).await.problems(),
        ["customers[0].accounts[0].cards[1].last4: is named by customers[0].accounts[0].cards[0] already"]
    );
}

#[tokio::test]
async fn a_body_that_is_no_json_object_cannot_be_read() {
    let kit = Kit::new().await;
    for body in ["[]", "\"x\"", "{", "{\"customers\":[],\"customers\":[]}", "{\"a\":\"\\u0000\"}", "{} {}"] {
        let reply = kit.ask("POST", CUSTOMERS, &[], body).await;
        let problems = reply.refused(400, "HttpMessageNotReadable");
        assert_eq!(reply.json()["title"], "Request could not be parsed");
        assert!(problems[0].starts_with("body: "), "{problems:?}");
    }
    let reply = kit.ask("POST", CUSTOMERS, &[("Content-Type", "text/plain")], "{}").await;
    assert!(reply.refused(415, "UnsupportedMediaTypeException").is_empty());
    let large = format!("{{\"customers\":\"{}\"}}", "x".repeat(4 << 20));
    assert!(kit.ask("POST", CUSTOMERS, &[], &large).await.refused(413, "PayloadTooLargeException").is_empty());
    let reply = kit.ask("POST", "/v2/data/customers?dry=1", &[], &batch(&[customer("ada")]).to_string()).await;
    assert_eq!(reply.problems(), ["dry: unknown parameter"]);
}

#[tokio::test]
async fn replacing_clears_what_is_left_out_and_keeps_other_accounts_and_cards() {
    let kit = Kit::new().await;
    let ada = with(customer("ada"), "/redemptionEligibility", json!("ALL"));
    let ada = with(ada, "/sourceParentCustomerId", json!("eve"));
    let ada = with(ada, "/enrollmentEndDate", json!("2030-01-01"));
    kit.create(&[with(ada, "/accounts/1", account("second", "ada"))]).await;
    let plain = with(customer("ada"), "/accounts/0/cards/0/last4", json!("9999"));
    let plain = with(plain, "/accounts/0/status", json!("DISPUTE"));
    kit.put(CUSTOMERS, &batch(std::slice::from_ref(&plain))).await.ok();
    let profile = kit.profile("ada").await;
    assert_eq!(profile["enrollmentEndDate"], json!(null));
    assert_eq!((profile.get("redemptionEligibility"), profile.get("sourceParentCustomerId")), (None, None));
    let accounts = profile["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 2);
    assert_eq!(accounts[0]["status"], "DISPUTE");
    assert_eq!(accounts[0]["cards"].as_array().unwrap().len(), 2);
    assert_eq!(accounts[1]["sourceAccountId"], "second");
    let events = kit.events().await;
    kit.put(CUSTOMERS, &batch(&[plain])).await.ok();
    assert_eq!(kit.events().await, events, "the same again changes nothing");
}

#[tokio::test]
async fn replacing_names_every_customer_that_does_not_exist_and_changes_nothing() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let events = kit.events().await;
    let ada = with(customer("ada"), "/postalCode", json!("1"));
    let problems = kit
        .put(CUSTOMERS, &batch(&[customer("x"), ada, customer("y")]))
        .await
        .refused(404, "ResourceNotFoundException");
    assert_eq!(
        problems,
        [
            "customers[0].sourceCustomerId: there is no customer \"x\"",
            "customers[2].sourceCustomerId: there is no customer \"y\"",
        ]
    );
    assert_eq!(kit.events().await, events);
}

#[tokio::test]
async fn a_customer_of_another_dialect_is_enrolled_by_replacing_it() {
    let kit = Kit::new().await;
    kit.stranger("ada").await;
    let reply = kit.post(&batch(&[customer("ada")])).await;
    assert_eq!(reply.refused(409, "ConflictException").len(), 1);
    kit.put(CUSTOMERS, &batch(&[customer("ada")])).await.ok();
    assert_eq!(kit.profile("ada").await["sourceCustomerId"], "ada");
}

#[tokio::test]
async fn organizations_never_meet() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let token = kit.session(2, &json!({"scopes": ["api:institution"]})).await;
    let foreign = [("X-CDLX-Session-Token", token.as_str())];
    let body = batch(&[with(customer("ada"), "/postalCode", json!("1"))]).to_string();
    kit.ask("PUT", CUSTOMERS, &foreign, &body).await.refused(404, "ResourceNotFoundException");
    kit.ask("POST", CUSTOMERS, &foreign, &body).await.ok();
    assert_eq!(kit.profile("ada").await["postalCode"], "78753");
}

#[tokio::test]
async fn a_key_answers_the_same_request_as_before_and_refuses_another() {
    let kit = Kit::new().await;
    let keyed = [("Idempotency-Key", "\"k1\""), ("X-CDLX-Request-Id", "first")];
    let body = batch(&[customer("ada")]).to_string();
    let first = kit.ask("POST", CUSTOMERS, &keyed, &body).await;
    assert_eq!(first.ok()["requestId"], "first");
    // In another session of the same credential.
    let token = kit.session(0, &json!({"scopes": ["api:institution"]})).await;
    let again = [("Idempotency-Key", "k1"), ("X-CDLX-Request-Id", "second"), ("X-CDLX-Session-Token", token.as_str())];
    let replayed = kit.ask("POST", CUSTOMERS, &again, &body).await;
    assert_eq!((replayed.text.as_str(), replayed.header("idempotent-replayed")), (first.text.as_str(), Some("true")));
    let other = kit.ask("POST", CUSTOMERS, &keyed, &batch(&[customer("bob")]).to_string()).await;
    assert_eq!(other.problems(), ["Idempotency-Key: was used for another request"]);
    let absent = [("Idempotency-Key", "k2")];
    let body = batch(&[customer("bob")]).to_string();
    let refused = kit.ask("PUT", CUSTOMERS, &absent, &body).await;
    refused.refused(404, "ResourceNotFoundException");
    kit.create(&[customer("bob")]).await;
    assert_eq!(kit.ask("PUT", CUSTOMERS, &absent, &body).await.text, refused.text);
    let bad = kit.ask("PUT", CUSTOMERS, &[("Idempotency-Key", "a b")], &body).await.problems();
    assert!(bad[0].starts_with("Idempotency-Key: "), "{bad:?}");
}

#[tokio::test]
async fn the_same_batch_at_once_is_created_once() {
    let kit = Arc::new(Kit::new().await);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let kit = Arc::clone(&kit);
            tokio::spawn(async move { kit.post(&batch(&[customer("ada"), customer("bob")])).await.ok() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(kit.events().await.iter().filter(|name| **name == "customer.created").count(), 2);
}
