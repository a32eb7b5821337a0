//! Batches of customers: the published sample, limits, all or nothing, and the same batch again.

use custodia_tests::both;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{CUSTOMERS, Institution, account, batch, card, customer, paths, problems, profile, refused, with};

const ADA: &str = "afa2r21-25f9-4501-b9db-e78afa73c0e3";

/// The request of the public page on creating customers, as it is printed there.
const PRINTED: &str = r#"{
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

both! {
    async fn the_printed_request_is_taken_and_read_back(server: Server) {
        let institution = Institution::of(&server).await;
        let answer = institution.send(Method::POST, CUSTOMERS, PRINTED).await.expect(200);
        let members: Vec<&String> = answer.json.as_object().unwrap().keys().collect();
        assert_eq!(members, ["requestId"]);
        assert_eq!(answer.json["requestId"].as_str().unwrap().len(), 36, "a UUID");
        let read = profile(&server, ADA).await;
        let sent: Value = serde_json::from_str(PRINTED).unwrap();
        for (member, value) in sent["customers"][0].as_object().unwrap().iter().filter(|(name, _)| *name != "accounts") {
            assert_eq!(&read[member], value, "{member}");
        }
        let (account, sent) = (&read["accounts"][0], &sent["customers"][0]["accounts"][0]);
        for (member, value) in sent.as_object().unwrap().iter().filter(|(name, _)| *name != "cards") {
            assert_eq!(&account[member], value, "{member}");
        }
        let (card, sent) = (&account["cards"][0], with(sent["cards"][0].clone(), "/networkIdentifier", json!(3)));
        assert_eq!(card, &sent);
        let portfolio = "76afcd28-b494-4b29-b7f2-3eb614a92f97";
        assert_eq!(
            read["portfolios"],
            json!([{"sourcePortfolioId": portfolio, "portfolioName": portfolio, "rewardCurrencyUnit": "Cash"}])
        );
        let seen = server.get(&format!("/v1/customers/external/{ADA}")).await.expect(200).json;
        assert_eq!((&seen["status"], &seen["activationDate"]), (&json!("Active"), &json!("2017-01-01")));
        assert_eq!(seen["displayName"], format!("{ADA} Customer"));
        assert_eq!(seen["officeId"], "1");
    }

    async fn one_bad_card_refuses_the_whole_batch_and_is_named(server: Server) {
        let institution = Institution::of(&server).await;
        let mut all: Vec<Value> = (0..50).map(|at| customer(&format!("c{at}"))).collect();
        all[37] = with(all[37].clone(), "/accounts/0/cards/0/last4", json!("4111111111111111"));
        let answer = institution.post(&batch(&all)).await;
        let problems = problems(&answer);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("customers[37].accounts[0].cards[0].last4: "), "{problems:?}");
        assert!(!answer.text.contains("4111111111111111"));
        assert!(!server.written().contains("4111111111111111"));
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 0);
        all[37] = customer("c37");
        let _ = institution.post(&batch(&all)).await.expect(200);
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 50);
        all.push(customer("c50"));
        let answer = institution.post(&batch(&all)).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }

    async fn every_problem_of_a_batch_is_told_at_once(server: Server) {
        let ada = with(customer("ada"), "/country", json!("UK"));
        let ada = with(ada, "/accounts/0/cards/0/iin", json!("1234567"));
        let ada = with(ada, "/accounts/0/status", json!("CLOSED"));
        let bob = with(customer("bob"), "/enrollmentEndDate", json!("2022-12-31"));
        let bob = with(bob, "/nickname", json!("B"));
        let mut told = problems(&Institution::of(&server).await.post(&batch(&[ada, bob, customer("ada")])).await);
        told.sort();
        let paths: Vec<&str> = told.iter().filter_map(|problem| Some(problem.split_once(": ")?.0)).collect();
        for path in [
            "customers[0].accounts[0].accountCloseDate",
            "customers[0].accounts[0].cards[0].iin",
            "customers[0].country",
            "customers[1].enrollmentEndDate",
            "customers[1].nickname",
            "customers[2].sourceCustomerId",
        ] {
            assert!(paths.contains(&path), "{path} is not in {told:?}");
        }
    }

    async fn a_batch_sent_again_is_accepted_and_leaves_one_copy(server: Server) {
        let institution = Institution::of(&server).await;
        let first = institution.send(Method::POST, CUSTOMERS, PRINTED).await.expect(200);
        let before = profile(&server, ADA).await;
        let version = server.get(&format!("/v1/customers/external/{ADA}")).await.expect(200).json["version"].clone();
        let again = institution.send(Method::POST, CUSTOMERS, PRINTED).await.expect(200);
        assert_ne!(first.json["requestId"], again.json["requestId"]);
        let same = PRINTED.replace("\"3\"", "3").replace("2018-05-12T20:30:00Z", "2018-05-12T22:30:00+02:00");
        let _ = institution.send(Method::POST, CUSTOMERS, &same).await.expect(200);
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 1);
        let mut after = profile(&server, ADA).await;
        after["requestId"] = before["requestId"].clone();
        assert_eq!(after, before);
        let seen = server.get(&format!("/v1/customers/external/{ADA}")).await.expect(200).json;
        assert_eq!(seen["version"], version);
    }

    async fn other_content_is_a_conflict_that_names_each_customer(server: Server) {
        let institution = Institution::of(&server).await;
        let _ = institution.post(&batch(&[customer("ada"), customer("bob")])).await.expect(200);
        let _ = server.post("/v1/customers", json!({"externalId": "lms-only"})).await.expect(200);
        let ada = with(customer("ada"), "/postalCode", json!("1"));
        let answer = institution.post(&batch(&[ada, customer("bob"), customer("lms-only"), customer("new")])).await;
        let told = refused(&answer, 409, "ConflictException", "Conflict");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("customers[0].") && told[0].contains("ada"), "{told:?}");
        assert!(told[1].starts_with("customers[2].") && told[1].contains("lms-only"), "{told:?}");
        let _ = server.get("/v1/customers/external/new").await.expect(404);
    }

    async fn a_batch_has_1_to_50_customers(server: Server) {
        let institution = Institution::of(&server).await;
        for body in [json!({}), json!({"customers": null}), json!({"customers": []}), json!({"customers": {}}),
            batch(&(0..51).map(|at| customer(&format!("c{at}"))).collect::<Vec<_>>())]
        {
            for method in [Method::POST, Method::PUT] {
                let answer = institution.send(method, CUSTOMERS, &body.to_string()).await;
                assert_eq!(paths(&answer), ["customers"], "{}", answer.text);
            }
        }
        let unknown = institution.post(&json!({"customers": [customer("ada")], "dryRun": true})).await;
        assert_eq!(paths(&unknown), ["dryRun"]);
        assert_eq!(server.total().await, 0);
    }

    async fn the_same_content_in_another_form_is_the_same_batch(server: Server) {
        let institution = Institution::of(&server).await;
        let joint = with(account("joint", "ada"), "/sourceCustomerIds", json!(["ada", "eve", "zoe"]));
        let joint = with(joint, "/cards", json!([card("joint", "ada", "1111"), card("joint", "eve", "2222")]));
        let ada = with(customer("ada"), "/accounts", json!([account("own", "ada"), joint]));
        let ada = with(ada, "/alertOptInStatus", json!(["NEW", "EXPIRING"]));
        institution.create(std::slice::from_ref(&ada)).await;
        let stored = profile(&server, "ada").await;
        let mut same = with(ada.clone(), "/alertOptInStatus", json!(["EXPIRING", "NEW", "NEW"]));
        same["accounts"].as_array_mut().unwrap().reverse();
        for (pointer, value) in [
            ("/customerCreationDate", json!("2017-01-01T10:00:00+02:00")),
            ("/enrollmentEndDate", json!(null)),
            ("/accounts/0/sourceCustomerIds", json!(["zoe", "ada", "eve", "ada"])),
            ("/accounts/0/cards", json!([card("joint", "eve", "2222"), card("joint", "ada", "1111")])),
            ("/accounts/0/cards/0/networkIdentifier", json!("3")),
            ("/accounts/0/cards/0/closeDate", json!(null)),
        ] {
            same = with(same, pointer, value);
        }
        institution.create(&[same]).await;
        let seen = server.get("/v1/customers/external/ada").await.expect(200).json;
        assert_eq!(seen["version"], 1);
        let again = profile(&server, "ada").await;
        assert_eq!(with(again, "/requestId", json!(0)), with(stored, "/requestId", json!(0)));
        for (pointer, value) in [
            ("/postalCode", json!("1")), ("/country", json!("CA")), ("/organizationId", json!("2")),
            ("/customerCreationDate", json!("2017-01-01T08:00:01Z")), ("/enrollmentStartDate", json!("2023-01-02")),
            ("/enrollmentEndDate", json!("2030-01-01")), ("/enrollmentOptInStatus", json!("INACTIVE")),
            ("/alertOptInStatus", json!(["NEW"])), ("/targetingIndicator", json!("DO_NOT_TARGET")),
            ("/sourceParentCustomerId", json!("p")), ("/redemptionEligibility", json!("NONE")),
            ("/accounts/0/status", json!("FRAUD")), ("/accounts/0/type", json!("SAV")),
            ("/accounts/0/sourcePortfolioId", json!("other")), ("/accounts/0/accountOpenDate", json!("2018-05-12")),
            ("/accounts/0/cards/0/iin", json!("12345678")), ("/accounts/0/cards/0/cardType", json!("DEBIT")),
            ("/accounts/0/cards/0/networkIdentifier", json!(4)), ("/accounts/0/cards", json!([])),
            ("/accounts", json!([])),
        ] {
            let answer = institution.post(&batch(&[with(ada.clone(), pointer, value)])).await;
            let told = refused(&answer, 409, "ConflictException", "Conflict");
            assert!(told.len() == 1 && told[0].starts_with("customers[0].") && told[0].contains("ada"), "{pointer}: {told:?}");
        }
    }

    async fn the_same_customer_twice_in_one_batch_is_refused(server: Server) {
        let institution = Institution::of(&server).await;
        for second in [customer("ada"), with(customer("ada"), "/postalCode", json!("1"))] {
            let answer = institution.post(&batch(&[customer("ada"), customer("bob"), second])).await;
            assert!(paths(&answer).contains(&"customers[2].sourceCustomerId".to_owned()), "{}", answer.text);
        }
        assert_eq!(server.total().await, 0);
    }

    async fn accounts_and_cards_may_be_empty_but_accounts_must_be_there(server: Server) {
        let institution = Institution::of(&server).await;
        let bare = with(customer("bare"), "/accounts", json!([]));
        let cardless = with(customer("cardless"), "/accounts/0/cards", json!([]));
        let mut absent = customer("absent");
        let _ = absent["accounts"][0].as_object_mut().unwrap().remove("cards");
        let null = with(customer("null"), "/accounts/0/cards", json!(null));
        institution.create(&[bare, cardless, absent, null]).await;
        assert_eq!(profile(&server, "absent").await["accounts"][0]["cards"], json!([]));
        let none = with(customer("none"), "/accounts", json!(null));
        assert_eq!(paths(&institution.post(&batch(&[none])).await), ["customers[0].accounts"]);
    }

    async fn a_customer_is_active_since_the_utc_date_of_its_creation_in_the_default_office(server: Server) {
        let organization = server.credentials().organization.as_str();
        let office = server.cli(&["office", "create", "--organization", organization, "Branch"], "");
        let _ = server.cli(&["office", "default", "--organization", organization, &office], "");
        let institution = Institution::of(&server).await;
        let late = with(customer("late"), "/customerCreationDate", json!("2017-01-01T23:30:00-08:30"));
        let away = with(customer("away"), "/enrollmentOptInStatus", json!("INACTIVE"));
        institution.create(&[late, away]).await;
        for (id, date) in [("late", "2017-01-02"), ("away", "2017-01-01")] {
            let seen = server.get(&format!("/v1/customers/external/{id}")).await.expect(200).json;
            assert_eq!((&seen["status"], &seen["activationDate"]), (&json!("Active"), &json!(date)), "{id}");
            assert_eq!((&seen["externalId"], &seen["officeId"]), (&json!(id), &json!(office)));
            assert_eq!(seen["displayName"], format!("{id} Customer"));
        }
    }
}
