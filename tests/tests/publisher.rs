//! The publisher dialect on a running server: the published sample, sessions, batches, retries, many senders at once.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::sync::Arc;

use custodia_tests::{Answer, Options, Server, both};
use reqwest::Method;
use serde_json::{Value, json};

const CUSTOMERS: &str = "/v2/data/customers";
const PROFILE: &str = "/v2/customerProfile/getCustomerProfile";
const START: &str = "/v2/session/startSession";
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

/// An institution's client in its session.
struct Institution<'s> {
    server: &'s Server,
    session: String,
}

impl<'s> Institution<'s> {
    async fn of(server: &'s Server) -> Self {
        Self { server, session: server.publisher_session().await }
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = self.server.request(method, path).header("X-CDLX-Session-Token", &self.session);
        let request = request.header("content-type", "application/json").body(body.to_owned());
        Answer::to(request).await.expect("a running server answers")
    }

    async fn post(&self, body: &Value) -> Answer {
        self.send(Method::POST, CUSTOMERS, &body.to_string()).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &body.to_string()).await
    }
}

async fn start(server: &Server, body: &Value) -> Answer {
    let request = server.request(Method::POST, START).header("x-api-key", server.api_key()).json(body);
    Answer::to(request).await.expect("a running server answers")
}

async fn profile(server: &Server, customer: &str) -> Value {
    let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": customer});
    let started = start(server, &wanted).await.expect(200);
    let token = started.json["sessionToken"].as_str().unwrap();
    let request = server.request(Method::GET, PROFILE).header("X-CDLX-Session-Token", token);
    Answer::to(request).await.unwrap().expect(200).json
}

fn card(account: &str, holder: &str, last4: &str) -> Value {
    json!({"sourceAccountId": account, "sourceCustomerId": holder, "last4": last4, "iin": "123456",
        "cardType": "CREDIT", "status": "OPEN", "networkIdentifier": 3, "openDate": "2023-01-01T08:00:00Z"})
}

fn account(id: &str, holder: &str) -> Value {
    json!({"sourceAccountId": id, "sourceCustomerIds": [holder], "primarySourceCustomerId": holder, "status": "OPEN",
        "type": "DDA", "sourcePortfolioId": "rewards", "accountOpenDate": "2018-05-12T20:30:00Z",
        "accountCloseDate": null, "cards": [card(id, holder, "2345")]})
}

fn customer(id: &str) -> Value {
    json!({"sourceCustomerId": id, "organizationId": "50004", "postalCode": "78753", "country": "US",
        "customerCreationDate": "2017-01-01T08:00:00Z", "enrollmentStartDate": "2023-01-01T08:00:00Z",
        "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET",
        "accounts": [account(&format!("{id}-account"), id)]})
}

fn batch(customers: &[Value]) -> Value {
    json!({"customers": customers})
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[member] = new;
    value
}

/// That a refusal has the five members and those values.
#[track_caller]
fn refused(answer: &Answer, status: u16, kind: &str, title: &str) -> Vec<String> {
    assert_eq!(answer.status, status, "{}", answer.text);
    let members: BTreeSet<&str> = answer.json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["type", "title", "status", "validationErrors", "requestId"]));
    assert_eq!((&answer.json["type"], &answer.json["title"]), (&json!(kind), &json!(title)));
    assert_eq!(answer.json["status"], status);
    assert!(!answer.json["requestId"].as_str().unwrap().is_empty());
    let problems = answer.json["validationErrors"].as_array().unwrap();
    problems.iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn problems(answer: &Answer) -> Vec<String> {
    refused(answer, 400, "ValidationException", "Bad request")
}

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

    async fn a_listed_portfolio_is_shown_by_its_name(server: Server) {
        let organization = server.credentials().organization.as_str();
        let _ = server.cli(&["portfolio", "add", "--organization", organization, "rewards", "Gold Rewards", "Points"], "");
        let _ = Institution::of(&server).await.post(&batch(&[customer("ada")])).await.expect(200);
        let listed = json!([{"sourcePortfolioId": "rewards", "portfolioName": "Gold Rewards", "rewardCurrencyUnit": "Points"}]);
        assert_eq!(profile(&server, "ada").await["portfolios"], listed);
    }

    async fn a_session_is_started_by_the_rules(server: Server) {
        let institution = Institution::of(&server).await;
        let inactive = with(customer("away"), "/enrollmentOptInStatus", json!("INACTIVE"));
        let bare = with(customer("bare"), "/accounts", json!([]));
        let _ = institution.post(&batch(&[customer("ada"), inactive, bare])).await.expect(200);
        let _ = server.post("/v1/customers", json!({"externalId": "lms-only"})).await.expect(200);
        let of = |id: &str| json!({"scopes": ["api:customer"], "sourceCustomerId": id});
        let started = start(&server, &of("ada")).await.expect(200);
        let members: BTreeSet<&str> = started.json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["requestId", "sessionToken"]));
        let away = "User is not enrolled in the program and should not receive events";
        refused(&start(&server, &of("away")).await, 400, "ValidationException", away);
        refused(&start(&server, &of("lms-only")).await, 400, "ValidationException", away);
        refused(&start(&server, &of("bare")).await, 400, "ValidationException", "User has no accounts");
        refused(&start(&server, &of("eve")).await, 404, "ResourceNotFoundException", "Resource not found");
        for (body, path) in [
            (json!({}), "scopes: "),
            (json!({"scopes": []}), "scopes: "),
            (json!({"scopes": ["api:everything"]}), "scopes[0]: "),
            (json!({"scopes": ["api:customer"]}), "sourceCustomerId: "),
            (json!({"scopes": ["api:institution"], "hours": 2}), "hours: "),
        ] {
            let problems = problems(&start(&server, &body).await);
            assert!(problems.len() == 1 && problems[0].starts_with(path), "{problems:?}");
        }
        let body = json!({"scopes": ["api:institution"], "organizationId": "50004"});
        let request = server.request(Method::POST, START).bearer_auth(server.token()).json(&body);
        let by_bearer = Answer::to(request.header("X-CDLX-Institution-Id", "north")).await.unwrap().expect(200);
        let session = by_bearer.json["sessionToken"].as_str().unwrap().to_owned();
        let by_bearer = Institution { server: &server, session };
        let _ = by_bearer.post(&batch(&[customer("bob")])).await.expect(200);
    }

    async fn the_answer_bears_the_request_id_that_was_sent(server: Server) {
        let session = server.publisher_session().await;
        let send = async |id: &str| {
            let request = server.request(Method::POST, CUSTOMERS).header("X-CDLX-Session-Token", &session);
            Answer::to(request.header("X-CDLX-Request-Id", id).json(&batch(&[customer("ada")]))).await.unwrap()
        };
        assert_eq!(send("380052b4/3a64").await.expect(200).json, json!({"requestId": "380052b4/3a64"}));
        assert_eq!(send(&"x".repeat(128)).await.expect(200).json["requestId"], "x".repeat(128));
        for bad in ["", "a b", &"x".repeat(129)] {
            assert!(problems(&send(bad).await)[0].starts_with("X-CDLX-Request-Id: "), "{bad:?}");
        }
    }

    async fn every_error_has_its_type_and_title(server: Server) {
        let institution = Institution::of(&server).await;
        let _ = institution.post(&batch(&[customer("ada")])).await.expect(200);
        for body in ["", "[]", "{", "\"x\"", "{} {}", "{\"customers\":[],\"customers\":[]}", "{\"a\":\"\\u0000\"}"] {
            let answer = institution.send(Method::POST, CUSTOMERS, body).await;
            let problems = refused(&answer, 400, "HttpMessageNotReadable", "Request could not be parsed");
            assert!(problems.len() == 1, "{body}: {problems:?}");
        }
        assert_eq!(problems(&institution.post(&json!({"customers": 1})).await), ["customers: must be an array"]);
        let nobody = Institution { server: &server, session: "nothing".to_owned() };
        let answer = nobody.post(&batch(&[customer("bob")])).await;
        refused(&answer, 401, "SessionValidationException", "Session expired or invalid");
        let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": "ada"});
        let session = start(&server, &wanted).await.expect(200).json["sessionToken"].as_str().unwrap().to_owned();
        let answer = Institution { server: &server, session }.post(&batch(&[customer("bob")])).await;
        refused(&answer, 403, "AccessDeniedException", "Access denied");
        let answer = institution.put(CUSTOMERS, &batch(&[customer("eve")])).await;
        refused(&answer, 404, "ResourceNotFoundException", "Resource not found");
        let answer = institution.send(Method::GET, "/v2/data/nothing", "").await;
        refused(&answer, 404, "ResourceNotFoundException", "Resource not found");
        let answer = institution.send(Method::DELETE, CUSTOMERS, "").await;
        refused(&answer, 405, "MethodNotAllowedException", "Method not allowed");
        assert!(answer.header("allow").unwrap().contains("PUT"));
        let changed = with(customer("ada"), "/postalCode", json!("1"));
        refused(&institution.post(&batch(&[changed])).await, 409, "ConflictException", "Conflict");
        let large = json!({"customers": "x".repeat(4 << 20)});
        refused(&institution.post(&large).await, 413, "PayloadTooLargeException", "Payload too large");
        let request = server.request(Method::POST, CUSTOMERS).header("X-CDLX-Session-Token", &institution.session);
        let answer = Answer::to(request.header("content-type", "text/plain").body("{}")).await.unwrap();
        refused(&answer, 415, "UnsupportedMediaTypeException", "Unsupported media type");
    }

    async fn too_many_requests_are_told_when_to_come_again(backend: Backend) {
        let server = Server::start(backend, Options::default().setting("CUSTODIA_RATE_LIMIT", "2")).await;
        let wanted = json!({"scopes": ["api:institution"]});
        let _ = start(&server, &wanted).await.expect(200);
        let _ = start(&server, &wanted).await.expect(200);
        let mut answer = start(&server, &wanted).await;
        // A new minute may have begun in between.
        for _ in 0..3 {
            if answer.status == 200 {
                answer = start(&server, &wanted).await;
            }
        }
        refused(&answer, 429, "ThrottlingException", "Too many requests");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
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

    async fn senders_of_overlapping_batches_lose_nothing(server: Server) {
        const SENDERS: usize = 64;
        const PEOPLE: usize = 60;
        let server = Arc::new(server);
        let session = server.publisher_session().await;
        // Each customer shares an account with the next, and each batch begins elsewhere and goes another way round.
        let name = |at: usize| format!("p{:02}", at % PEOPLE);
        let person = move |at: usize| {
            let (own, next) = (name(at), name(at + 1));
            let joint = |first: usize| {
                let id = format!("joint-{}", name(first));
                let holders = json!([name(first), name(first + 1)]);
                let joint = with(account(&id, &name(first)), "/sourceCustomerIds", holders);
                with(joint, "/cards", json!([card(&id, &name(first), "1111"), card(&id, &name(first + 1), "2222")]))
            };
            let accounts = json!([account(&format!("own-{own}"), &own), joint(at), joint(at + PEOPLE - 1)]);
            assert_ne!(own, next);
            with(customer(&own), "/accounts", accounts)
        };
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (server, session) = (Arc::clone(&server), session.clone());
                let mut people: Vec<Value> = (0..10).map(|step| person(sender * 7 + step)).collect();
                if sender % 2 == 1 {
                    people.reverse();
                }
                tokio::spawn(async move {
                    let method = if sender % 8 == 7 { Method::PUT } else { Method::POST };
                    let institution = Institution { server: &server, session };
                    let answer = institution.send(method.clone(), CUSTOMERS, &batch(&people).to_string()).await;
                    (method, people, answer)
                })
            })
            .collect();
        let mut accepted = BTreeSet::new();
        for sender in senders {
            let (method, people, answer) = sender.await.unwrap();
            let ids = people.iter().map(|person| person["sourceCustomerId"].as_str().unwrap().to_owned());
            match answer.status {
                200 => accepted.extend(ids),
                // It may have come before those whom it replaces.
                404 if method == Method::PUT => {}
                status => panic!("{status}: {}", answer.text),
            }
        }
        assert_eq!(accepted.len(), PEOPLE);
        assert_eq!(server.get("/v1/customers?rows=1").await.expect(200).json["total"], PEOPLE);
        for (at, id) in accepted.iter().enumerate() {
            let seen = server.get(&format!("/v1/customers/external/{id}")).await.expect(200).json;
            assert_eq!((&seen["status"], &seen["version"]), (&json!("Active"), &json!(1)), "{id}");
            let read = profile(&server, id).await;
            let accounts: Vec<&str> =
                read["accounts"].as_array().unwrap().iter().map(|it| it["sourceAccountId"].as_str().unwrap()).collect();
            let expected = [format!("own-{id}"), format!("joint-{id}"), format!("joint-{}", name(at + PEOPLE - 1))];
            assert_eq!(accounts.len(), 3, "{id}: {accounts:?}");
            assert!(expected.iter().all(|one| accounts.contains(&one.as_str())), "{id}: {accounts:?}");
            let cards = |it: &Value| it["cards"].as_array().unwrap().len();
            assert_eq!(read["accounts"].as_array().unwrap().iter().map(cards).sum::<usize>(), 5, "{id}");
        }
    }

    async fn customers_that_move_accounts_to_and_fro_at_once_keep_one_holder(server: Server) {
        let server = Arc::new(server);
        let session = server.publisher_session().await;
        let institution = Institution { server: &server, session: session.clone() };
        let people: Vec<Value> = ["a", "b"].map(|id| with(customer(id), "/accounts/0/cards", json!([]))).to_vec();
        let _ = institution.post(&batch(&people)).await.expect(200);
        let movers: Vec<_> = (0..32)
            .map(|mover| {
                let (server, session) = (Arc::clone(&server), session.clone());
                tokio::spawn(async move {
                    let holder = ["a", "b"][mover % 2];
                    let moved = |id: &str| {
                        json!({"sourceAccountId": id, "sourceCustomerIds": [holder], "primarySourceCustomerId": holder})
                    };
                    let mut all = vec![moved("a-account"), moved("b-account")];
                    if mover % 4 > 1 {
                        all.reverse();
                    }
                    let institution = Institution { server: &server, session };
                    institution.put("/v2/data/accounts", &json!({"accounts": all})).await
                })
            })
            .collect();
        for mover in movers {
            let answer = mover.await.unwrap();
            assert!(answer.status == 200 || answer.status == 409, "{}", answer.text);
        }
        let mut held = Vec::new();
        for id in ["a", "b"] {
            let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": id});
            if start(&server, &wanted).await.status == 200 {
                held.push(profile(&server, id).await["accounts"].as_array().unwrap().len());
            }
        }
        assert_eq!(held, [2], "both accounts were always moved together");
    }
}
