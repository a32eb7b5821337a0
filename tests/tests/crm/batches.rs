//! Batches of customers: their order, their limits, and all or nothing.

use std::collections::BTreeSet;

use custodia_tests::{Answer, both};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{CUSTOMERS, PREFIXES, acme, detail, get, person, post, told, with};

const BULK: &str = "/external/v1/customers/bulk";

both! {
    async fn a_batch_is_taken_in_its_order_or_not_at_all(server: Server) {
        for (turn, prefix) in PREFIXES.into_iter().enumerate() {
            let path = format!("{prefix}/customers/bulk");
            let people: Vec<Value> = (0..100).map(|at| person(&format!("Person {at:03}"))).collect();
            let created = post(&server, &path, json!({"customers": people})).await.expect(201).json;
            let members: Vec<&String> = created.as_object().unwrap().keys().collect();
            assert_eq!(members, ["created", "customers"]);
            assert_eq!(created["created"], 100);
            let listed = created["customers"].as_array().unwrap();
            assert_eq!(listed.len(), 100);
            assert!(listed.iter().zip(&people).all(|(one, sent)| one["name"] == sent["name"]));
            let ids: BTreeSet<&str> = listed.iter().map(|one| one["customer_id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), 100);
            for at in [0, 57, 99] {
                let read = get(&server, &format!("{prefix}/customers/{}", listed[at]["id"])).await.expect(200).json;
                assert_eq!(read, listed[at], "an item is what a single create answers");
            }
            let mut bad = people.clone();
            bad[3]["email"] = json!("nobody");
            bad[7].as_object_mut().unwrap().remove("name");
            bad[9]["nickname"] = json!("x");
            let refused = post(&server, &path, json!({"customers": bad})).await;
            assert_eq!(
                told(&refused),
                [
                    "value_error body/customers/3/email",
                    "missing body/customers/7/name",
                    "extra_forbidden body/customers/9/nickname",
                ]
            );
            assert_eq!(refused.json["detail"][0]["loc"], json!(["body", "customers", 3, "email"]), "the place is a number");
            let mut many = people.clone();
            many.push(person("One More"));
            assert_eq!(told(&post(&server, &path, json!({"customers": many})).await), ["too_long body/customers"]);
            assert_eq!(told(&post(&server, &path, json!({"customers": []})).await), ["too_short body/customers"]);
            let total = get(&server, CUSTOMERS).await.expect(200).json["total"].clone();
            assert_eq!(total, 100 * (turn + 1));
        }
    }

    async fn every_problem_of_every_item_is_told_at_once_in_the_order_of_the_request(server: Server) {
        let company = acme(&server).await;
        let body = json!({"customers": [
            {"name": 1, "email": "a@b", "source": "", "is_active": "perhaps", "ip": "1.2.3", "zz": 1},
            person("Fine"),
            with(person("Known"), "company_id", company["company_id"].clone()),
            with(person("Unknown"), "company_id", json!("CMP-00000000")),
            7,
            null,
            {"name": "x".repeat(201), "source": "web"},
            with(with(person("Far"), "latitude", json!("91")), "longitude", json!(5)),
        ], "dry_run": true});
        let expected = [
            "string_type body/customers/0/name",
            "value_error body/customers/0/email",
            "string_too_short body/customers/0/source",
            "value_error body/customers/0/ip",
            "bool_parsing body/customers/0/is_active",
            "extra_forbidden body/customers/0/zz",
            "value_error body/customers/3/company_id",
            "model_attributes_type body/customers/4",
            "model_attributes_type body/customers/5",
            "string_too_long body/customers/6/name",
            "missing body/customers/6/email",
            "value_error body/customers/7/latitude",
            "string_type body/customers/7/longitude",
            "extra_forbidden body/dry_run",
        ];
        let found: BTreeSet<String> = told(&post(&server, BULK, body).await).into_iter().collect();
        assert_eq!(found, expected.into_iter().map(str::to_owned).collect());
        assert_eq!(get(&server, CUSTOMERS).await.expect(200).json["total"], 0);
    }

    async fn a_batch_that_is_no_list_is_told_so(server: Server) {
        for (body, problem) in [
            (json!({}), "missing body/customers"),
            (json!({"customers": null}), "missing body/customers"),
            (json!({"customers": {}}), "list_type body/customers"),
            (json!({"customers": "many"}), "list_type body/customers"),
            (json!([person("Alice")]), "model_attributes_type body"),
        ] {
            assert_eq!(told(&post(&server, BULK, body.clone()).await), [problem], "{body}");
        }
        let many: Vec<Value> = (0..101).map(|_| json!({})).collect();
        let answer = post(&server, BULK, json!({"customers": many})).await;
        let entry = &answer.json["detail"][0];
        assert_eq!(entry["msg"], "List should have at most 100 items after validation, not 101");
        assert_eq!(entry["ctx"], json!({"field_type": "List", "max_length": 100, "actual_length": 101}));
        assert_eq!(told(&answer).len(), 1, "beyond its limit a list is not read");
    }

    async fn a_batch_may_have_four_mebibytes_and_a_single_customer_one(server: Server) {
        let padded = |size: usize, body: &Value| {
            let text = body.to_string();
            format!("{}{text}", " ".repeat(size - text.len()))
        };
        let (one, many) = (person("Alice"), json!({"customers": [person("Bob")]}));
        let companies = json!({"companies": [{"company_name": "Acme", "company_status": "active"}]});
        let company = json!({"company_name": "Acme", "company_status": "active"});
        for (path, body, limit, status) in [
            ("/customers", &one, 1 << 20, 201),
            ("/customers/bulk", &many, 4 << 20, 201),
            ("/customer/company/create", &company, 1 << 20, 201),
            ("/customer/company/bulk-create", &companies, 4 << 20, 200),
        ] {
            for prefix in PREFIXES {
                for (size, status) in [(limit, status), (limit + 1, 413)] {
                    let request = server.request(Method::POST, &format!("{prefix}{path}"));
                    let request = request.header("x-api-key", server.api_key()).header("content-type", "application/json");
                    let answer = Answer::to(request.body(padded(size, body))).await.unwrap();
                    if status == 413 {
                        assert_eq!(detail(&answer, 413), "the request body is too large");
                    } else {
                        let _ = answer.expect(status);
                    }
                }
            }
        }
    }
}
