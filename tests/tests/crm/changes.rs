//! Changes of a customer: what a patch keeps, sets and clears, what its activity allows, and deletion.

use custodia_tests::{Answer, Server, both, day};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{CUSTOMERS, PREFIXES, acme, ask, create, detail, get, patch, path_of, person, post, told, with};

async fn pending(server: &Server, name: &str) -> Value {
    create(server, with(person(name), "is_active", json!(false))).await
}

async fn delete(server: &Server, path: &str) -> Answer {
    ask(server, Method::DELETE, path, None).await
}

/// What lms reads of the customer's version: it grows by one with each change.
async fn version(server: &Server, customer: &Value) -> Value {
    server.get(&format!("/v1/customers/{}", customer["id"])).await.expect(200).json["version"].clone()
}

both! {
    async fn a_patch_changes_what_it_names(server: Server) {
        for prefix in PREFIXES {
            let body = with(with(person("Alice"), "is_active", json!(false)), "city", json!("Accra"));
            let created = post(&server, &format!("{prefix}/customers"), body).await.expect(201).json;
            let path = format!("{prefix}/customers/{}", created["customer_id"].as_str().unwrap());
            let changed = patch(&server, &path, json!({"city": null, "latitude": "07.50", "name": "Alice J"})).await;
            let changed = changed.expect(200).json;
            assert_eq!((&changed["city"], &changed["latitude"]), (&json!(null), &json!("07.50")));
            assert_eq!((&changed["name"], &changed["email"]), (&json!("Alice J"), &created["email"]));
            let by_number = format!("{prefix}/customers/{}", created["id"]);
            assert_eq!(patch(&server, &by_number, json!({"name": "Alice"})).await.expect(200).json["name"], "Alice");
        }
    }

    async fn every_optional_member_is_set_kept_and_cleared_by_null(server: Server) {
        let company = acme(&server).await;
        let other = post(&server, "/external/v1/customer/company/create",
            json!({"company_name": "Other", "company_status": "inactive"})).await.expect(201).json;
        let created = create(&server, person("Alice")).await;
        let path = path_of(&created);
        let mut expected = created.clone();
        let mut at = 1;
        for (member, first, second) in [
            ("whatsapp_number", json!("2348000000000"), json!("+123456")),
            ("ip", json!("192.168.1.1"), json!("::1")),
            ("city", json!("Accra"), json!("Kumasi")),
            ("country", json!("Ghana"), json!("Togo")),
            ("location", json!("Spintex Road"), json!("Ring Road")),
            ("latitude", json!("5.6037"), json!("-05.60370")),
            ("longitude", json!("0.1870"), json!("180")),
            ("company_id", company["company_id"].clone(), other["company_id"].clone()),
        ] {
            for (place, value) in [&first, &second, &second, &Value::Null, &Value::Null, &first].into_iter().enumerate() {
                let changed = patch(&server, &path, json!({member: value})).await.expect(200).json;
                expected[member] = value.clone();
                if member == "company_id" {
                    let named = [&company, &other].into_iter().find(|company| company["company_id"] == *value);
                    expected[member] = named.map_or(Value::Null, |company| company["id"].clone());
                    expected["company_name"] = named.map_or(Value::Null, |company| company["company_name"].clone());
                }
                expected["time_updated"] = changed["time_updated"].clone();
                assert_eq!(changed, expected, "{member}");
                at += u64::from(place != 2 && place != 4);
                assert_eq!(version(&server, &created).await, at, "equal values change nothing");
            }
        }
        assert_eq!(get(&server, &path).await.expect(200).json, expected);
    }

    async fn an_empty_patch_changes_nothing(server: Server) {
        let created = create(&server, person("Alice")).await;
        for body in [json!({}), person("Alice"), json!({"is_active": true}), json!({"is_active": null}), json!({"city": null})] {
            assert_eq!(patch(&server, &path_of(&created), body.clone()).await.expect(200).json, created, "{body}");
            assert_eq!(version(&server, &created).await, 1, "{body}");
        }
    }

    async fn what_a_patch_gets_wrong_is_told_at_once_and_changes_nothing(server: Server) {
        let created = create(&server, person("Alice")).await;
        let body = json!({"name": null, "email": "nobody", "source": "", "whatsapp_number": "12", "ip": "x", "city": 7,
            "country": "x".repeat(201), "latitude": "91", "longitude": "east", "company_id": "CMP-00000000",
            "is_active": [], "zz": 1, "id": 7, "customer_id": "x", "organization_id": 1, "time_created": null});
        let mut found = told(&patch(&server, &path_of(&created), body).await);
        found.sort();
        let mut expected = vec![
            "string_type body/name", "value_error body/email", "string_too_short body/source",
            "value_error body/whatsapp_number", "value_error body/ip", "string_type body/city",
            "string_too_long body/country", "value_error body/latitude", "value_error body/longitude",
            "value_error body/company_id", "bool_type body/is_active", "extra_forbidden body/zz", "extra_forbidden body/id",
            "extra_forbidden body/customer_id", "extra_forbidden body/organization_id", "extra_forbidden body/time_created",
        ];
        expected.sort_unstable();
        assert_eq!(found, expected);
        for (member, kind) in [("name", "string_type"), ("email", "string_type"), ("source", "string_type")] {
            let answer = patch(&server, &path_of(&created), json!({member: null})).await;
            assert_eq!(told(&answer), [format!("{kind} body/{member}")], "what is required cannot be cleared");
        }
        assert_eq!(get(&server, &path_of(&created)).await.expect(200).json, created);
    }

    async fn activity_is_switched_on_but_never_off(server: Server) {
        for prefix in PREFIXES {
            let created = pending(&server, "Alice").await;
            let path = format!("{prefix}/customers/{}", created["customer_id"].as_str().unwrap());
            assert_eq!(patch(&server, &path, json!({"is_active": false})).await.expect(200).json, created, "it is Pending");
            let before = day(0);
            let active = patch(&server, &path, json!({"is_active": "yes", "city": "Kumasi"})).await.expect(200).json;
            assert_eq!((&active["is_active"], &active["city"]), (&json!(true), &json!("Kumasi")));
            let seen = server.get(&format!("/v1/customers/{}", created["id"])).await.expect(200).json;
            assert_eq!(seen["status"], "Active");
            assert!(seen["activationDate"] == before.as_str() || seen["activationDate"] == day(0).as_str(), "{seen}");
            for body in [json!({"is_active": false, "city": "Accra"}), json!({"is_active": "off"}), json!({"is_active": 0})] {
                assert!(detail(&patch(&server, &path, body).await, 409).contains("Active"));
            }
            assert_eq!(get(&server, &path).await.expect(200).json, active, "a refused patch changes nothing of it");
            let close = json!({"closureDate": day(0), "closureReasonId": 1});
            let _ = server.post(&format!("/v1/customers/{}/close", created["id"]), close).await.expect(200);
            assert_eq!(get(&server, &path).await.expect(200).json["is_active"], false);
            for body in [json!({"is_active": true}), json!({"city": "Accra"})] {
                assert!(detail(&patch(&server, &path, body).await, 409).contains("Closed"));
            }
        }
    }

    async fn only_a_pending_customer_is_deleted(server: Server) {
        for prefix in PREFIXES {
            let (first, second) = (pending(&server, "Alice").await, pending(&server, "Bob").await);
            let active = create(&server, person("Cem")).await;
            for (gone, id) in [(&first, first["customer_id"].as_str().unwrap().to_owned()), (&second, second["id"].to_string())] {
                let path = format!("{prefix}/customers/{id}");
                let answer = delete(&server, &path).await.expect(204);
                assert_eq!((answer.text.as_str(), answer.header("content-type")), ("", None));
                for method in [Method::GET, Method::DELETE] {
                    assert_eq!(detail(&ask(&server, method, &path, None).await, 404), "Not Found");
                }
                assert_eq!(detail(&patch(&server, &path, json!({})).await, 404), "Not Found");
                let search = format!("{CUSTOMERS}?search={}", gone["name"].as_str().unwrap());
                assert_eq!(get(&server, &search).await.expect(200).json["total"], 0);
            }
            let path = format!("{prefix}/customers/{}", active["customer_id"].as_str().unwrap());
            assert!(detail(&delete(&server, &path).await, 409).contains("Active"));
            let answer = ask(&server, Method::DELETE, &path, Some(json!({"reason": "x"}))).await;
            assert_eq!(told(&answer), ["extra_forbidden body/reason"]);
            assert_eq!(get(&server, &path).await.expect(200).json, active);
        }
    }
}
