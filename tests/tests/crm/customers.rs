//! One customer: the published fields, what each may be, how it is addressed, and what the other dialects see of it.

use std::collections::BTreeSet;

use custodia_tests::{both, day, encoded};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{COMPANY, CUSTOMERS, PREFIXES, acme, ask, create, detail, get, path_of, person, post, told, with};

/// Every member of an answer, as published.
const MEMBERS: [&str; 18] = [
    "id",
    "customer_id",
    "name",
    "email",
    "whatsapp_number",
    "source",
    "ip",
    "city",
    "country",
    "location",
    "latitude",
    "longitude",
    "is_active",
    "company_id",
    "company_name",
    "organization_id",
    "time_created",
    "time_updated",
];
/// Every optional member of a request.
const OPTIONAL: [&str; 9] =
    ["whatsapp_number", "ip", "city", "country", "location", "latitude", "longitude", "company_id", "is_active"];

/// The values of the published table, each as it stands there.
fn published() -> Value {
    json!({
        "name": "Alice Johnson", "email": "alice@example.com", "whatsapp_number": "2348000000000",
        "source": "web", "ip": "192.168.1.1", "city": "Accra", "country": "Ghana",
        "location": "Spintex Road", "latitude": "5.6037", "longitude": "0.1870", "is_active": true,
    })
}

/// Whether a text is a prefix and so many Crockford base-32 characters.
fn is_public_id(text: &str, prefix: &str, length: usize) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == length && rest.chars().all(|c| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(c))
    })
}

both! {
    async fn a_customer_with_every_published_field_is_returned_with_them(server: Server) {
        for prefix in PREFIXES {
            let company = json!({"company_name": "Acme", "company_status": "active"});
            let company = post(&server, &format!("{prefix}/customer/company/create"), company).await.expect(201).json;
            assert!(is_public_id(company["company_id"].as_str().unwrap(), "CMP-", 8), "{company}");
            let sent = published();
            let body = with(sent.clone(), "company_id", company["company_id"].clone());
            let created = post(&server, &format!("{prefix}/customers"), body).await.expect(201).json;
            for (member, value) in sent.as_object().unwrap() {
                assert_eq!(&created[member], value, "{member}");
            }
            let members: BTreeSet<&str> = created.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(members, BTreeSet::from(MEMBERS));
            assert!(created["id"].is_i64());
            assert!(is_public_id(created["customer_id"].as_str().unwrap(), "CUS-", 12), "{created}");
            for time in ["time_created", "time_updated"] {
                let time = created[time].as_str().unwrap();
                assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
                assert!(time.starts_with(&day(0)) || time.starts_with(&day(-1)), "{time}");
            }
            assert_eq!(created["organization_id"].to_string(), server.credentials().organization);
            assert_eq!((&created["company_id"], &created["company_name"]), (&company["id"], &json!("Acme")));
            for prefix in PREFIXES {
                for id in [created["customer_id"].as_str().unwrap().to_owned(), created["id"].to_string()] {
                    assert_eq!(get(&server, &format!("{prefix}/customers/{id}")).await.expect(200).json, created);
                }
            }
        }
    }

    async fn what_is_not_sent_or_null_is_null_and_a_customer_is_active_unless_said_otherwise(server: Server) {
        let nulls = OPTIONAL.into_iter().fold(person("Bob"), |body, member| with(body, member, Value::Null));
        for body in [person("Alice"), nulls] {
            let created = create(&server, body).await;
            assert_eq!(created["is_active"], true);
            for member in OPTIONAL.iter().filter(|member| **member != "is_active").chain(&["company_name"]) {
                assert!(created.as_object().unwrap().contains_key(*member) && created[*member].is_null(), "{member}");
            }
        }
        let bare = post(&server, CUSTOMERS, json!({"name": null, "email": null, "source": null})).await;
        assert_eq!(told(&bare), ["missing body/name", "missing body/email", "missing body/source"]);
    }

    async fn an_active_customer_is_active_today_and_another_is_pending(server: Server) {
        for (active, status) in [(true, "Active"), (false, "Pending")] {
            let before = day(0);
            let created = create(&server, with(person("Alice de la Cruz"), "is_active", json!(active))).await;
            let seen = server.get(&format!("/v1/customers/{}", created["id"])).await.expect(200).json;
            assert_eq!((&seen["status"], &seen["officeId"]), (&json!(status), &json!("1")));
            assert_eq!((&seen["displayName"], seen.get("firstname")), (&json!("Alice de la Cruz"), None), "split nowhere");
            assert_eq!(seen["externalId"], created["customer_id"]);
            match seen.get("activationDate") {
                Some(date) => assert!(active && (*date == json!(before) || *date == json!(day(0))), "{date}"),
                None => assert!(!active),
            }
        }
    }

    async fn a_boolean_is_read_as_pydantic_reads_it(server: Server) {
        let yes = [json!(true), json!(1), json!(1.0), json!("1"), json!("on"), json!("t"), json!("true"), json!("y"),
            json!("yes"), json!("TRUE"), json!("True"), json!("Yes"), json!("oN")];
        let no = [json!(false), json!(0), json!(0.0), json!("0"), json!("off"), json!("f"), json!("false"), json!("n"),
            json!("no"), json!("FALSE"), json!("No")];
        let people: Vec<Value> =
            yes.iter().chain(&no).map(|value| with(person("Alice"), "is_active", value.clone())).collect();
        let created = post(&server, "/external/v1/customers/bulk", json!({"customers": people})).await.expect(201).json;
        for (place, one) in created["customers"].as_array().unwrap().iter().enumerate() {
            assert_eq!(one["is_active"], place < yes.len(), "{}", people[place]["is_active"]);
        }
        for (value, kind) in [
            (json!(2), "bool_parsing"), (json!(-1), "bool_parsing"), (json!(""), "bool_parsing"),
            (json!("perhaps"), "bool_parsing"), (json!(" true"), "bool_parsing"), (json!("10"), "bool_parsing"),
            (json!(1.5), "bool_type"), (json!([]), "bool_type"), (json!({}), "bool_type"), (json!([true]), "bool_type"),
        ] {
            let answer = post(&server, CUSTOMERS, with(person("Alice"), "is_active", value.clone())).await;
            assert_eq!(told(&answer), [format!("{kind} body/is_active")], "{value}");
        }
    }

    async fn values_at_the_edge_are_kept_digit_for_digit(server: Server) {
        let local = "a".repeat(64);
        let long = format!("{local}@{}.example", ["b".repeat(63), "c".repeat(63), "d".repeat(53)].join("."));
        assert_eq!(long.len(), 254);
        for (member, values) in [
            ("name", vec!["A".to_owned(), "é".repeat(200), "O'Brien-Łukasz 李".to_owned()]),
            ("email", vec![long, "a+b@example.co".to_owned(), "o'brien@sub.example.com".to_owned()]),
            ("source", vec!["s".to_owned(), "s".repeat(64)]),
            ("whatsapp_number", vec!["123456".to_owned(), "+123456789012345".to_owned(), "000000".to_owned()]),
            ("ip", vec!["0.0.0.0".to_owned(), "255.255.255.255".to_owned(), "::1".to_owned(), "2001:db8::1".to_owned()]),
            ("latitude", vec!["90".to_owned(), "-90.000".to_owned(), "05.6037000".to_owned(), "+1.0".to_owned()]),
            ("longitude", vec!["180.0".to_owned(), "-180".to_owned(), "0.1870".to_owned(), "-0.0".to_owned()]),
            ("city", vec!["x".to_owned(), "é".repeat(200)]),
            ("country", vec!["é".repeat(200)]),
            ("location", vec!["é".repeat(200)]),
        ] {
            for value in values {
                let created = create(&server, with(person("Alice"), member, json!(value))).await;
                assert_eq!(created[member], value, "{member}");
                assert_eq!(get(&server, &path_of(&created)).await.expect(200).json, created);
            }
        }
        let twice = [create(&server, person("Alice")).await, create(&server, person("Alice")).await];
        assert_eq!(twice[0]["email"], twice[1]["email"], "an address is not unique");
        assert_ne!(twice[0]["customer_id"], twice[1]["customer_id"]);
    }

    async fn digits_are_the_integer_id_and_anything_else_the_public_one(server: Server) {
        let created = create(&server, person("Alice")).await;
        for id in ["by lms", "a/b%c", "Ünï", "12a", "-1", "external"] {
            let made = server.post("/v1/customers", json!({"externalId": id})).await.expect(200).json;
            let seen = get(&server, &format!("{CUSTOMERS}/{}", encoded(id))).await.expect(200).json;
            assert_eq!((&seen["customer_id"], seen["id"].to_string().as_str()), (&json!(id), made["id"].as_str().unwrap()));
        }
        // An external id of digits alone is another customer's number.
        let _ = server.post("/v1/customers", json!({"externalId": created["id"].to_string()})).await.expect(200);
        let by_number = get(&server, &format!("{CUSTOMERS}/{}", created["id"])).await.expect(200).json;
        assert_eq!(by_number, created);
        for absent in ["CUS-000000000000", "999999", "0", "99999999999999999999", "cus-"] {
            for (method, body) in [(Method::GET, None), (Method::DELETE, None), (Method::PATCH, Some(json!({})))] {
                let answer = ask(&server, method, &format!("{CUSTOMERS}/{absent}"), body).await;
                assert_eq!(detail(&answer, 404), "Not Found", "{absent}");
            }
        }
        let lower = created["customer_id"].as_str().unwrap().to_lowercase();
        detail(&get(&server, &format!("{CUSTOMERS}/{lower}")).await, 404);
        for no_id in ["%FF", "%00", "a%20"] {
            assert_eq!(told(&get(&server, &format!("{CUSTOMERS}/{no_id}")).await), ["value_error path/customer_id"]);
        }
    }

    async fn a_bearer_token_of_the_organization_is_accepted_too(server: Server) {
        let created = server.post(CUSTOMERS, person("Alice")).await.expect(201);
        let path = format!("{CUSTOMERS}/{}", created.json["id"]);
        assert_eq!(server.get(&path).await.expect(200).json, created.json);
        assert_eq!(server.get(CUSTOMERS).await.expect(200).json["total"], 1);
        assert_eq!(server.get(COMPANY).await.expect(200).json["total"], 0);
        let _ = server.delete(&path).await.expect(409);
    }

    async fn both_prefixes_are_one_and_answer_the_same(server: Server) {
        let company = acme(&server).await;
        let of = company["company_id"].as_str().unwrap();
        let requests = [
            (Method::POST, "/customers".to_owned(), Some(with(published(), "company_id", json!(of)))),
            (Method::POST, "/customers".to_owned(), Some(json!({"name": 1, "zz": []}))),
            (Method::POST, "/customers/bulk".to_owned(), Some(json!({"customers": [person("Bob"), person("Eve")]}))),
            (Method::POST, "/customers/bulk".to_owned(), Some(json!({"customers": [{}, person("Eve"), {"name": ""}]}))),
            (Method::GET, "/customers?search=nobody&page_size=7".to_owned(), None),
            (Method::GET, "/customers?page=0&zz=1".to_owned(), None),
            (Method::GET, "/customers/CUS-000000000000".to_owned(), None),
            (Method::PATCH, "/customers/1".to_owned(), Some(json!({"is_active": false}))),
            (Method::PATCH, "/customers/1".to_owned(), Some(json!({"city": 7}))),
            (Method::DELETE, "/customers/1".to_owned(), None),
            (Method::PUT, "/customers/1".to_owned(), None),
            (Method::GET, "/nothing".to_owned(), None),
            (Method::POST, "/customer/company/create".to_owned(), Some(json!({"company_name": "A", "company_status": "inactive"}))),
            (Method::POST, "/customer/company/bulk-create".to_owned(), Some(json!({"companies": [{}]}))),
            (Method::GET, format!("/customer/company/{of}"), None),
            (Method::GET, "/customer/company?page_size=1&page=2000".to_owned(), None),
        ];
        for (method, path, body) in requests {
            let mut answers = Vec::new();
            for prefix in PREFIXES {
                let answer = ask(&server, method.clone(), &format!("{prefix}{path}"), body.clone()).await;
                let mut json = answer.json.clone();
                let made = json.get_mut("customers").and_then(Value::as_array_mut).map(std::mem::take);
                for one in &mut made.unwrap_or_else(|| vec![json.take()]) {
                    for member in ["id", "customer_id", "company_id", "time_created", "time_updated"] {
                        if let Some(value) = one.get_mut(member).filter(|_| answer.status == 201) {
                            *value = Value::Null;
                        }
                    }
                    answers.push((answer.status, one.clone(), answer.header("allow").map(str::to_owned)));
                }
            }
            let (first, second) = answers.split_at(answers.len() / 2);
            assert_eq!(first, second, "{method} {path}");
        }
    }
}
