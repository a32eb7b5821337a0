//! One customer, three views: what each dialect creates is read and changed through every other.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use custodia_tests::{Answer, Server, both};
use reqwest::Method;
use serde_json::{Value, json};

async fn crm(server: &Server, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = server.request(method, &format!("/external/v1{path}")).header("x-api-key", server.api_key());
    let request = body.into_iter().fold(request, |request, body| request.json(&body));
    Answer::to(request).await.expect("a running server answers")
}

async fn publish(server: &Server, method: Method, id: &str, accounts: Value) -> Answer {
    let body = json!({"customers": [{
        "sourceCustomerId": id, "organizationId": "north", "postalCode": "10115", "country": "DE",
        "customerCreationDate": "2026-01-05T08:00:00Z", "enrollmentStartDate": "2026-01-05T08:00:00Z",
        "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET",
        "accounts": accounts,
    }]});
    let session = server.publisher_session().await;
    let request = server.request(method, "/v2/data/customers").header("X-CDLX-Session-Token", session);
    Answer::to(request.json(&body)).await.expect("a running server answers")
}

fn account(id: &str, holder: &str) -> Value {
    json!({"sourceAccountId": id, "sourceCustomerIds": [holder], "primarySourceCustomerId": holder, "status": "OPEN",
        "type": "SAV", "sourcePortfolioId": "rewards", "accountOpenDate": "2026-01-05T08:00:00Z"})
}

async fn profile(server: &Server, id: &str) -> Answer {
    let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": id});
    let request = server.request(Method::POST, "/v2/session/startSession").header("x-api-key", server.api_key());
    let started = Answer::to(request.json(&wanted)).await.unwrap();
    let Some(token) = started.json["sessionToken"].as_str() else { return started };
    let request = server.request(Method::GET, "/v2/customerProfile/getCustomerProfile");
    Answer::to(request.header("X-CDLX-Session-Token", token)).await.unwrap()
}

/// What lms and crm read of one customer, by external id and by number, after they were seen to agree.
async fn views(server: &Server, external: &str) -> (Value, Value) {
    let lms = server.get(&format!("/v1/customers/external/{external}")).await.expect(200).json;
    let id = lms["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/customers/{id}")).await.expect(200).json, lms);
    let seen = crm(server, Method::GET, &format!("/customers/{external}"), None).await.expect(200).json;
    assert_eq!(crm(server, Method::GET, &format!("/customers/{id}"), None).await.expect(200).json, seen);
    assert_eq!(seen["id"].to_string(), id);
    assert_eq!((&lms["externalId"], &seen["customer_id"]), (&json!(external), &json!(external)));
    assert_eq!(lms["displayName"], seen["name"]);
    assert_eq!(lms.get("emailAddress").unwrap_or(&Value::Null), &seen["email"]);
    assert_eq!(lms.get("mobileNo").unwrap_or(&Value::Null), &seen["whatsapp_number"]);
    assert_eq!(lms["active"], seen["is_active"]);
    (lms, seen)
}

both! {
    async fn what_each_dialect_creates_is_read_alike_through_all(server: Server) {
        let full = json!({"officeId": 1, "firstname": "Ada", "middlename": "K", "lastname": "Lovelace", "externalId": "by-lms",
            "emailAddress": "ada@example.com", "mobileNo": "255700000001", "active": true, "activationDate": "2026-01-05"});
        let _ = server.post("/v1/customers", full).await.expect(200);
        let body = json!({"name": "Alan Turing", "email": "alan@example.com", "source": "web",
            "whatsapp_number": "+255700000002", "is_active": false});
        let created = crm(&server, Method::POST, "/customers", Some(body)).await.expect(201).json;
        let by_crm = created["customer_id"].as_str().unwrap().to_owned();
        let _ = publish(&server, Method::POST, "by-publisher", json!([account("acc", "by-publisher")])).await.expect(200);

        let (lms, seen) = views(&server, "by-lms").await;
        assert_eq!((&seen["name"], &lms["status"]), (&json!("Ada K Lovelace"), &json!("Active")));
        let (lms, seen) = views(&server, &by_crm).await;
        assert_eq!((&lms["status"], &lms["officeName"]), (&json!("Pending"), &json!("Head Office")));
        assert_eq!(seen, created);
        let (lms, seen) = views(&server, "by-publisher").await;
        assert_eq!((&lms["activationDate"], &seen["source"]), (&json!("2026-01-05"), &json!(null)));
        assert_eq!(profile(&server, "by-publisher").await.expect(200).json["sourceCustomerId"], "by-publisher");

        for id in ["by-lms", by_crm.as_str()] {
            assert_eq!(profile(&server, id).await.status, 400, "it takes no part yet");
            assert_eq!(publish(&server, Method::POST, id, json!([])).await.status, 409);
        }
        let _ = publish(&server, Method::PUT, "by-lms", json!([account("acc-2", "by-lms")])).await.expect(200);
        assert_eq!(profile(&server, "by-lms").await.expect(200).json["sourceCustomerId"], "by-lms");
        assert_eq!(views(&server, "by-lms").await.1["name"], "Ada K Lovelace");
        let listed = server.get("/v1/customers?orderBy=id").await.expect(200).json;
        let counted = crm(&server, Method::GET, "/customers?sort_by=id&sort_order=asc", None).await.expect(200).json;
        assert_eq!((&listed["total"], &counted["total"]), (&json!(3), &json!(3)));
    }

    async fn a_change_through_one_dialect_is_seen_by_the_others(server: Server) {
        let body = json!({"name": "Alan Turing", "email": "alan@example.com", "source": "web", "is_active": false, "city": "Accra"});
        let created = crm(&server, Method::POST, "/customers", Some(body)).await.expect(201).json;
        let id = created["customer_id"].as_str().unwrap();
        let path = format!("/v1/customers/external/{id}");
        let change = json!({"firstname": "Alan", "lastname": "Mathison", "emailAddress": "am@example.com", "mobileNo": "255700000009"});
        let _ = server.put(&path, change).await.expect(200);
        let (_, seen) = views(&server, id).await;
        assert_eq!((&seen["name"], &seen["city"]), (&json!("Alan Mathison"), &json!("Accra")));
        assert_eq!((&seen["email"], &seen["whatsapp_number"]), (&json!("am@example.com"), &json!("255700000009")));

        let change = json!({"name": "Alan M. Turing", "whatsapp_number": null, "is_active": true});
        let _ = crm(&server, Method::PATCH, &format!("/customers/{id}"), Some(change)).await.expect(200);
        let (lms, _) = views(&server, id).await;
        assert_eq!((&lms["displayName"], &lms["status"]), (&json!("Alan M. Turing"), &json!("Active")));
        assert!(lms.get("mobileNo").is_none() && lms.get("firstname").is_none(), "{lms}");

        let before = lms["version"].clone();
        let _ = publish(&server, Method::PUT, id, json!([])).await.expect(200);
        let (lms, seen) = views(&server, id).await;
        assert_eq!((&seen["name"], &seen["city"]), (&json!("Alan M. Turing"), &json!("Accra")));
        assert_ne!(lms["version"], before, "to take part is a change");
    }

    async fn a_customer_closed_by_lms_is_closed_in_every_dialect(server: Server) {
        let _ = publish(&server, Method::POST, "ada", json!([account("acc", "ada")])).await.expect(200);
        let close = json!({"closureDate": "2026-02-01", "closureReasonId": 1});
        let _ = server.post("/v1/customers/external/ada/close", close).await.expect(200);
        let (lms, seen) = views(&server, "ada").await;
        assert_eq!((&lms["status"], &seen["is_active"]), (&json!("Closed"), &json!(false)));
        let inactive = crm(&server, Method::GET, "/customers?is_active=false", None).await.expect(200).json;
        assert_eq!(inactive["data"][0]["customer_id"], "ada");
        for change in [json!({"city": "Accra"}), json!({"is_active": true})] {
            assert_eq!(crm(&server, Method::PATCH, "/customers/ada", Some(change)).await.status, 409);
        }
        assert_eq!(crm(&server, Method::DELETE, "/customers/ada", None).await.status, 409);
        let changed = publish(&server, Method::PUT, "ada", json!([account("another", "ada")])).await;
        assert_eq!(changed.status, 409, "{}", changed.text);
        assert_eq!(server.put("/v1/customers/external/ada", json!({"mobileNo": "1"})).await.status, 409);
        assert_eq!(server.post("/v1/customers", json!({"externalId": "ada"})).await.status, 409);
    }

    async fn the_history_tells_what_every_dialect_did_and_agrees_with_each_of_their_views(server: Server) {
        let body = json!({"name": "Alan Turing", "email": "alan@example.com", "source": "web", "is_active": false});
        let created = crm(&server, Method::POST, "/customers", Some(body)).await.expect(201).json;
        let id = created["customer_id"].as_str().unwrap();
        let (external, number) = (format!("/v1/customers/external/{id}"), format!("/v1/customers/{}", created["id"]));
        let mut states = vec![views(&server, id).await.0];
        let _ = crm(&server, Method::PATCH, &format!("/customers/{id}"), Some(json!({"is_active": true}))).await.expect(200);
        states.push(views(&server, id).await.0);
        let _ = server.put(&external, json!({"emailAddress": "am@example.com"})).await.expect(200);
        states.push(views(&server, id).await.0);
        let _ = publish(&server, Method::PUT, id, json!([account("acc", id)])).await.expect(200);
        assert_eq!(profile(&server, id).await.expect(200).json["postalCode"], "10115");
        states.push(views(&server, id).await.0);
        let close = json!({"closureDate": "2099-02-01", "closureReasonId": 1});
        let _ = server.post(&format!("{external}/close"), close).await.expect(200);
        states.push(views(&server, id).await.0);

        let told = server.get(&format!("{external}/history")).await.expect(200);
        assert_eq!(server.get(&format!("{number}/history")).await.expect(200).text, told.text);
        let events = told.json["items"].as_array().unwrap();
        let kinds: Vec<_> = events.iter().rev().map(|event| event["type"].as_str().unwrap()).collect();
        let updated = "customer.updated";
        assert_eq!(kinds, ["customer.created", "customer.activated", updated, updated, "customer.closed"]);
        for (event, state) in events.iter().rev().zip(&states) {
            assert_eq!((&event["version"], &event["externalId"]), (&state["version"], &json!(id)));
            let then = server.get(&format!("{external}?asOf={}", state["version"])).await.expect(200).json;
            assert_eq!(then, *state);
        }
        let changed = |at: usize| &events[events.len() - 1 - at]["changed"];
        assert_eq!(changed(2)["emailAddress"], json!({"from": "alan@example.com", "to": "am@example.com"}));
        assert_eq!(changed(3)["postalCode"], json!({"to": "10115"}), "{}", changed(3));
        assert_eq!(crm(&server, Method::GET, &format!("/customers/{id}"), None).await.json["email"], "am@example.com");
    }

    async fn a_customer_deleted_through_one_dialect_is_gone_from_all(server: Server) {
        let body = json!({"name": "Alan", "email": "alan@example.com", "source": "web", "is_active": false});
        for by_lms in [true, false] {
            let created = crm(&server, Method::POST, "/customers", Some(body.clone())).await.expect(201).json;
            let id = created["customer_id"].as_str().unwrap();
            let (lms, other) = (format!("/v1/customers/external/{id}"), format!("/customers/{id}"));
            if by_lms {
                let _ = server.delete(&lms).await.expect(200);
            } else {
                let _ = crm(&server, Method::DELETE, &other, None).await.expect(204);
            }
            let _ = server.get(&lms).await.expect(404);
            let _ = crm(&server, Method::GET, &other, None).await.expect(404);
            assert_eq!(publish(&server, Method::PUT, id, json!([])).await.status, 404);
        }
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 0);
    }

    async fn an_external_id_of_any_form_is_one_customer_everywhere(server: Server) {
        for (id, encoded) in [("a/b%c", "a%2Fb%25c"), ("Ünï 7", "%C3%9Cn%C3%AF%207"), ("external", "external")] {
            let _ = publish(&server, Method::POST, id, json!([account(&format!("of {id}"), id)])).await.expect(200);
            let lms = server.get(&format!("/v1/customers/external/{encoded}")).await.expect(200).json;
            assert_eq!(lms["externalId"], id);
            let seen = crm(&server, Method::GET, &format!("/customers/{encoded}"), None).await.expect(200).json;
            assert_eq!(seen["customer_id"], id);
            let read = profile(&server, id).await.expect(200).json;
            assert_eq!(read["accounts"][0]["sourceAccountId"], format!("of {id}"));
        }
    }
}
