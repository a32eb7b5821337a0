//! Companies: created one by one and in batches, listed, read, and named by customers.

use std::collections::BTreeSet;

use custodia_tests::{Answer, both};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{COMPANY, CUSTOMERS, PREFIXES, acme, create, detail, get, person, post, told, with};

fn whole() -> Value {
    json!({
        "company_name": "Acme", "company_status": "active", "description": "Anvils", "industry": "Tools",
        "website": "https://acme.example.com/a?b=c#d", "phone": "+255 700 000 001", "address": "1 Desert Road",
    })
}

fn bare(name: &str) -> Value {
    json!({"company_name": name, "company_status": "inactive"})
}

both! {
    async fn a_company_is_created_and_read_by_either_id(server: Server) {
        for prefix in PREFIXES {
            let base = format!("{prefix}/customer/company");
            let created = post(&server, &format!("{base}/create"), whole()).await.expect(201).json;
            for (member, value) in whole().as_object().unwrap() {
                assert_eq!(&created[member], value, "{member}");
            }
            assert_eq!(created.as_object().unwrap().len(), 9);
            let public = created["company_id"].as_str().unwrap();
            let crockford = |c: char| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(c);
            assert!(public.len() == 12 && public.starts_with("CMP-") && public[4..].chars().all(crockford), "{created}");
            assert!(created["id"].is_i64());
            for id in [public.to_owned(), created["id"].to_string()] {
                for prefix in PREFIXES {
                    let read = get(&server, &format!("{prefix}/customer/company/{id}")).await.expect(200).json;
                    assert_eq!(read, created);
                }
            }
            let small = post(&server, &format!("{base}/create"), bare("B")).await.expect(201).json;
            for member in ["description", "industry", "website", "phone", "address"] {
                assert!(small.as_object().unwrap().contains_key(member) && small[member].is_null(), "{member}");
            }
            for absent in ["CMP-00000000", "999999", "0", "cmp", "a%2Fb"] {
                assert_eq!(detail(&get(&server, &format!("{base}/{absent}")).await, 404), "Not Found");
            }
        }
    }

    async fn a_batch_of_companies_is_answered_by_a_sentence_and_taken_whole(server: Server) {
        for (turn, prefix) in PREFIXES.into_iter().enumerate() {
            let path = format!("{prefix}/customer/company/bulk-create");
            let many: Vec<Value> = (0..100).map(|at| bare(&format!("C{at}"))).collect();
            let answer = post(&server, &path, json!({"companies": many})).await.expect(200);
            assert_eq!(answer.text, "\"Companies successfully created.\"");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let mut more = many.clone();
            more.push(bare("one more"));
            assert_eq!(told(&post(&server, &path, json!({"companies": more})).await), ["too_long body/companies"]);
            assert_eq!(told(&post(&server, &path, json!({"companies": []})).await), ["too_short body/companies"]);
            let bad = json!({"companies": [
                bare("Fine"),
                {"company_name": "", "company_status": "asleep", "website": "nowhere", "zz": null},
                {},
                [],
            ]});
            let found: BTreeSet<String> = told(&post(&server, &path, bad).await).into_iter().collect();
            let expected = [
                "string_too_short body/companies/1/company_name",
                "enum body/companies/1/company_status",
                "value_error body/companies/1/website",
                "extra_forbidden body/companies/1/zz",
                "missing body/companies/2/company_name",
                "missing body/companies/2/company_status",
                "model_attributes_type body/companies/3",
            ];
            assert_eq!(found, expected.into_iter().map(str::to_owned).collect());
            let total = get(&server, COMPANY).await.expect(200).json["total"].clone();
            assert_eq!(total, 100 * (turn + 1), "a refused batch writes nothing");
        }
        let listed = get(&server, &format!("{COMPANY}?page_size=100")).await.expect(200).json;
        let ids: BTreeSet<&str> = listed["data"].as_array().unwrap().iter().map(|one| one["company_id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert_eq!(listed["data"][57]["company_name"], "C57");
    }

    async fn companies_are_listed_by_page_like_customers(server: Server) {
        let empty = get(&server, COMPANY).await.expect(200).json;
        let expected = json!({"data": [], "total": 0, "page": 1, "page_size": 20, "total_pages": 0, "has_next": false,
            "has_previous": false});
        assert_eq!(empty, expected);
        let many: Vec<Value> = (0..5).map(|at| bare(&format!("C{at}"))).collect();
        let _ = post(&server, &format!("{COMPANY}/bulk-create"), json!({"companies": many})).await.expect(200);
        for prefix in PREFIXES {
            let path = format!("{prefix}/customer/company");
            let mut walked = Vec::new();
            for (page, next) in [(1, true), (2, true), (3, false)] {
                let answer = get(&server, &format!("{path}?page_size=2&page={page}")).await.expect(200).json;
                assert_eq!((&answer["total"], &answer["total_pages"]), (&json!(5), &json!(3)));
                assert_eq!((&answer["has_next"], &answer["has_previous"]), (&json!(next), &json!(page > 1)));
                for one in answer["data"].as_array().unwrap() {
                    let read = get(&server, &format!("{path}/{}", one["company_id"].as_str().unwrap())).await;
                    assert_eq!(read.expect(200).json, *one);
                    walked.push(one["company_name"].as_str().unwrap().to_owned());
                }
            }
            assert_eq!(walked, ["C0", "C1", "C2", "C3", "C4"]);
            for (query, problem) in [
                ("page=0", "greater_than_equal query/page"), ("page_size=101", "less_than_equal query/page_size"),
                ("page=x", "int_parsing query/page"), ("search=x", "extra_forbidden query/search"),
            ] {
                assert_eq!(told(&get(&server, &format!("{path}?{query}")).await), [problem]);
            }
        }
    }

    async fn every_member_of_a_company_is_held_to_its_rule(server: Server) {
        let long = "é".repeat(201);
        for (member, value, problem) in [
            ("company_name", json!(1), "string_type"), ("company_name", json!(""), "string_too_short"),
            ("company_name", json!(long), "string_too_long"), ("company_name", json!(null), "missing"),
            ("company_status", json!("asleep"), "enum"), ("company_status", json!("Active"), "enum"),
            ("company_status", json!(true), "enum"), ("company_status", json!(null), "missing"),
            ("description", json!(5), "string_type"), ("description", json!(long), "string_too_long"),
            ("industry", json!([]), "string_type"), ("industry", json!(long), "string_too_long"),
            ("phone", json!({}), "string_type"), ("phone", json!(long), "string_too_long"),
            ("address", json!(false), "string_type"), ("address", json!(long), "string_too_long"),
            ("website", json!(7), "string_type"), ("website", json!("acme.example.com"), "value_error"),
            ("website", json!("ftp://acme.example.com"), "value_error"), ("website", json!("https://"), "value_error"),
            ("website", json!("javascript:alert(1)"), "value_error"), ("id", json!(1), "extra_forbidden"),
            ("company_id", json!("CMP-00000000"), "extra_forbidden"),
        ] {
            let answer = post(&server, &format!("{COMPANY}/create"), with(whole(), member, value.clone())).await;
            assert_eq!(told(&answer), [format!("{problem} body/{member}")], "{member}: {value}");
        }
        let answer = post(&server, &format!("{COMPANY}/create"), with(whole(), "company_status", json!("asleep"))).await;
        assert_eq!(answer.json["detail"][0]["msg"], "Input should be 'active' or 'inactive'");
        assert_eq!(get(&server, COMPANY).await.expect(200).json["total"], 0);
        let name = "é".repeat(200);
        let kept = post(&server, &format!("{COMPANY}/create"), with(whole(), "company_name", json!(name))).await.expect(201);
        assert_eq!(kept.json["company_name"], name);
        for path in [COMPANY.to_owned(), format!("{COMPANY}/CMP-00000000")] {
            let answer = Answer::to(server.request(Method::GET, &path)).await.unwrap();
            assert_eq!(detail(&answer, 401), "Unauthorized - API Key required.");
        }
        let answer = Answer::to(server.request(Method::POST, &format!("{COMPANY}/create")).json(&whole())).await.unwrap();
        assert_eq!(detail(&answer, 401), "Unauthorized - API Key required.");
    }

    async fn a_customer_names_its_company_by_the_public_id_alone(server: Server) {
        let company = acme(&server).await;
        let created = create(&server, with(person("Alice"), "company_id", company["company_id"].clone())).await;
        assert_eq!((&created["company_id"], &created["company_name"]), (&company["id"], &json!("Acme")));
        for unknown in [json!("CMP-00000000"), json!("CMP-A9B8"), json!(company["id"].to_string()), json!("nothing")] {
            let answer = post(&server, CUSTOMERS, with(person("Bob"), "company_id", unknown.clone())).await;
            assert_eq!(told(&answer), ["value_error body/company_id"], "{unknown}");
            assert_eq!(answer.json["detail"][0]["input"], unknown);
        }
        let answer = post(&server, CUSTOMERS, with(person("Bob"), "company_id", company["id"].clone())).await;
        assert_eq!(told(&answer), ["string_type body/company_id"]);
        let elsewhere = server.organization("Elsewhere");
        let request = server.request(Method::POST, CUSTOMERS).header("x-api-key", &elsewhere.api_key);
        let body = with(person("Eve"), "company_id", company["company_id"].clone());
        let answer = Answer::to(request.json(&body)).await.unwrap();
        assert_eq!(told(&answer), ["value_error body/company_id"], "another organization's company is none");
    }
}
