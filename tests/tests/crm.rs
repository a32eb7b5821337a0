//! The crm dialect on a running server: the published fields, batches, lists, changes, companies and its validation errors.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use custodia_tests::{Answer, Server, both};
use reqwest::Method;
use serde_json::{Value, json};

const PREFIXES: [&str; 2] = ["/external/v1", "/external/v1/external/v1"];

async fn ask(server: &Server, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = server.request(method, path).header("x-api-key", server.api_key());
    let request = body.into_iter().fold(request, |request, body| request.json(&body));
    Answer::to(request).await.expect("a running server answers")
}

async fn get(server: &Server, path: &str) -> Answer {
    ask(server, Method::GET, path, None).await
}

async fn post(server: &Server, path: &str, body: Value) -> Answer {
    ask(server, Method::POST, path, Some(body)).await
}

async fn patch(server: &Server, path: &str, body: Value) -> Answer {
    ask(server, Method::PATCH, path, Some(body)).await
}

fn person(name: &str) -> Value {
    json!({"name": name, "email": format!("{}@example.com", name.to_lowercase().replace(' ', ".")), "source": "web"})
}

/// `type loc` of every entry, in order; each has exactly the members that a form library expects.
#[track_caller]
fn problems(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 422, "{}", answer.text);
    let entries = answer.json["detail"].as_array().unwrap();
    let shown = |entry: &Value| {
        let allowed = BTreeSet::from(["type", "loc", "msg", "input", "ctx", "url"]);
        assert!(entry.as_object().unwrap().keys().all(|name| allowed.contains(name.as_str())), "{entry}");
        assert!(!entry["msg"].as_str().unwrap().is_empty());
        let loc = entry["loc"].as_array().unwrap().iter();
        let loc: Vec<_> = loc.map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned)).collect();
        format!("{} {}", entry["type"].as_str().unwrap(), loc.join("/"))
    };
    entries.iter().map(shown).collect()
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

both! {
    async fn a_customer_with_every_published_field_is_returned_with_them(server: Server) {
        for prefix in PREFIXES {
            let company = json!({"company_name": "Acme", "company_status": "active"});
            let company = post(&server, &format!("{prefix}/customer/company/create"), company).await.expect(201).json;
            let sent = json!({
                "name": "Alice Johnson", "email": "alice@example.com", "whatsapp_number": "2348000000000",
                "source": "web", "ip": "192.168.1.1", "city": "Accra", "country": "Ghana",
                "location": "Spintex Road", "latitude": "5.6037", "longitude": "0.1870", "is_active": true,
            });
            let mut body = sent.clone();
            body["company_id"] = company["company_id"].clone();
            let created = post(&server, &format!("{prefix}/customers"), body).await.expect(201).json;
            for (member, value) in sent.as_object().unwrap() {
                assert_eq!(&created[member], value, "{member}");
            }
            assert!(created["id"].is_i64());
            let public = created["customer_id"].as_str().unwrap();
            assert!(public.len() == 16 && public.starts_with("CUS-"), "{public}");
            let crockford = |c: char| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(c);
            assert!(public[4..].chars().all(crockford), "{public}");
            for time in ["time_created", "time_updated"] {
                let time = created[time].as_str().unwrap();
                assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
            }
            assert_eq!(created["organization_id"].to_string(), server.credentials().organization);
            assert_eq!(created["company_id"], company["id"]);
            assert_eq!(created["company_name"], "Acme");
            assert_eq!(created.as_object().unwrap().len(), 18);
            for prefix in PREFIXES {
                for id in [public.to_owned(), created["id"].to_string()] {
                    let read = get(&server, &format!("{prefix}/customers/{id}")).await.expect(200).json;
                    assert_eq!(read, created);
                }
            }
        }
    }

    async fn what_is_not_sent_is_null_and_a_customer_is_active_unless_said_otherwise(server: Server) {
        let created = post(&server, "/external/v1/customers", person("Alice")).await.expect(201).json;
        assert_eq!(created["is_active"], true);
        for member in
            ["whatsapp_number", "ip", "city", "country", "location", "latitude", "longitude", "company_id", "company_name"]
        {
            assert!(created.as_object().unwrap().contains_key(member) && created[member].is_null(), "{member}");
        }
        let mut body = person("Bob");
        body["is_active"] = json!("no");
        body["city"] = json!(null);
        let created = post(&server, "/external/v1/customers", body).await.expect(201).json;
        assert_eq!(created["is_active"], false);
    }

    async fn a_batch_is_taken_in_its_order_or_not_at_all(server: Server) {
        for (turn, prefix) in PREFIXES.into_iter().enumerate() {
            let path = format!("{prefix}/customers/bulk");
            let people: Vec<Value> = (0..100).map(|at| person(&format!("Person {at:03}"))).collect();
            let created = post(&server, &path, json!({"customers": people})).await.expect(201).json;
            assert_eq!(created["created"], 100);
            let listed = created["customers"].as_array().unwrap();
            assert!(listed.iter().zip(&people).all(|(one, sent)| one["name"] == sent["name"]));
            let ids: BTreeSet<&str> = listed.iter().map(|one| one["customer_id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), 100);
            let mut bad = people.clone();
            bad[3]["email"] = json!("nobody");
            bad[7].as_object_mut().unwrap().remove("name");
            bad[9]["nickname"] = json!("x");
            let refused = post(&server, &path, json!({"customers": bad})).await;
            assert_eq!(
                problems(&refused),
                [
                    "value_error body/customers/3/email",
                    "missing body/customers/7/name",
                    "extra_forbidden body/customers/9/nickname",
                ]
            );
            let mut many = people.clone();
            many.push(person("One More"));
            assert_eq!(problems(&post(&server, &path, json!({"customers": many})).await), ["too_long body/customers"]);
            assert_eq!(problems(&post(&server, &path, json!({"customers": []})).await), ["too_short body/customers"]);
            let total = get(&server, "/external/v1/customers").await.expect(200).json["total"].clone();
            assert_eq!(total, 100 * (turn + 1));
        }
    }

    async fn the_list_pages_filters_and_sorts(server: Server) {
        let company = json!({"company_name": "Acme", "company_status": "active"});
        let company = post(&server, "/external/v1/customer/company/create", company).await.expect(201).json;
        for (at, name) in ["Delta", "alpha", "Charlie", "Bravo"].into_iter().enumerate() {
            let mut body = person(name);
            if at == 0 {
                body["company_id"] = company["company_id"].clone();
                body["whatsapp_number"] = json!("+255700000001");
            }
            if at == 1 {
                body["is_active"] = json!(false);
                body["source"] = json!("api");
            }
            let _ = post(&server, "/external/v1/customers", body).await.expect(201);
        }
        let list = async |query: &str| get(&server, &format!("/external/v1/customers{query}")).await.expect(200).json;
        let newest = list("").await;
        assert_eq!(names(&newest), ["Bravo", "Charlie", "alpha", "Delta"]);
        let members: BTreeSet<&str> = newest.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = ["data", "total", "page", "page_size", "total_pages", "has_next", "has_previous"];
        assert_eq!(members, BTreeSet::from(expected));
        assert_eq!((&newest["page"], &newest["page_size"], &newest["total_pages"]), (&json!(1), &json!(20), &json!(1)));
        let second = list("?page=2&page_size=3&sort_by=id&sort_order=asc").await;
        assert_eq!(names(&second), ["Bravo"]);
        assert_eq!((&second["total"], &second["total_pages"]), (&json!(4), &json!(2)));
        assert_eq!((&second["has_next"], &second["has_previous"]), (&json!(false), &json!(true)));
        assert_eq!(names(&list("?is_active=false").await), ["alpha"]);
        assert_eq!(names(&list("?source=api").await), ["alpha"]);
        assert_eq!(names(&list("?search=char").await), ["Charlie"]);
        assert_eq!(names(&list("?search=delta@example.com").await), ["Delta"]);
        assert_eq!(names(&list("?search=%2B255700000001").await), ["Delta"]);
        for id in [company["company_id"].as_str().unwrap().to_owned(), company["id"].to_string()] {
            let of_company = list(&format!("?company_id={id}")).await;
            assert_eq!(names(&of_company), ["Delta"]);
            assert_eq!(of_company["data"][0]["company_name"], "Acme");
        }
        let none = list("?search=nobody").await;
        assert_eq!((&none["total"], &none["total_pages"], &none["data"]), (&json!(0), &json!(0), &json!([])));
        let by_email = list("?sort_by=email&sort_order=asc").await;
        assert_eq!(names(&by_email), ["alpha", "Bravo", "Charlie", "Delta"]);
        let elsewhere = get(&server, "/external/v1/external/v1/customers?sort_by=email&sort_order=asc").await.expect(200);
        assert_eq!(elsewhere.json, by_email);
        for (query, problem) in [
            ("?page=0", "greater_than_equal query/page"),
            ("?page=x", "int_parsing query/page"),
            ("?page_size=101", "less_than_equal query/page_size"),
            ("?page_size=0", "greater_than_equal query/page_size"),
            ("?is_active=perhaps", "bool_parsing query/is_active"),
            ("?nothing=1", "extra_forbidden query/nothing"),
        ] {
            assert_eq!(problems(&get(&server, &format!("/external/v1/customers{query}")).await), [problem], "{query}");
        }
        for query in ["?sort_by=colour", "?sort_order=up"] {
            assert_eq!(problems(&get(&server, &format!("/external/v1/customers{query}")).await).len(), 1, "{query}");
        }
    }

    async fn a_patch_changes_what_it_names(server: Server) {
        for prefix in PREFIXES {
            let mut body = person("Alice");
            body["is_active"] = json!(false);
            body["city"] = json!("Accra");
            let created = post(&server, &format!("{prefix}/customers"), body).await.expect(201).json;
            let path = format!("{prefix}/customers/{}", created["customer_id"].as_str().unwrap());
            assert_eq!(patch(&server, &path, json!({})).await.expect(200).json, created);
            let changed = patch(&server, &path, json!({"city": null, "latitude": "07.50", "name": "Alice J"})).await;
            let changed = changed.expect(200).json;
            assert_eq!((&changed["city"], &changed["latitude"]), (&json!(null), &json!("07.50")));
            assert_eq!((&changed["name"], &changed["email"]), (&json!("Alice J"), &created["email"]));
            let active = patch(&server, &path, json!({"is_active": true})).await.expect(200).json;
            assert_eq!(active["is_active"], true);
            let refused = patch(&server, &path, json!({"is_active": false, "city": "Kumasi"})).await.expect(409);
            assert!(refused.json["detail"].is_string(), "{}", refused.text);
            assert_eq!(get(&server, &path).await.expect(200).json, active);
            let refused = patch(&server, &path, json!({"name": null, "source": "", "zz": 1})).await;
            assert_eq!(
                problems(&refused),
                ["string_type body/name", "string_too_short body/source", "extra_forbidden body/zz"]
            );
        }
    }

    async fn only_a_pending_customer_is_deleted(server: Server) {
        for prefix in PREFIXES {
            let mut body = person("Alice");
            body["is_active"] = json!(false);
            let pending = post(&server, &format!("{prefix}/customers"), body).await.expect(201).json;
            let active = post(&server, &format!("{prefix}/customers"), person("Bob")).await.expect(201).json;
            let path = |of: &Value| format!("{prefix}/customers/{}", of["customer_id"].as_str().unwrap());
            let gone = ask(&server, Method::DELETE, &path(&pending), None).await.expect(204);
            assert_eq!(gone.text, "");
            let absent = get(&server, &path(&pending)).await.expect(404);
            assert_eq!(absent.json, json!({"detail": "Not Found"}));
            assert_eq!(ask(&server, Method::DELETE, &path(&pending), None).await.expect(404).json, absent.json);
            let refused = ask(&server, Method::DELETE, &path(&active), None).await.expect(409);
            assert!(refused.json["detail"].is_string());
            assert_eq!(get(&server, &path(&active)).await.expect(200).json, active);
        }
    }

    async fn companies_are_created_listed_and_read(server: Server) {
        for (turn, prefix) in PREFIXES.into_iter().enumerate() {
            let base = format!("{prefix}/customer/company");
            let sent = json!({
                "company_name": "Acme", "company_status": "active", "description": "Anvils", "industry": "Tools",
                "website": "https://acme.example.com", "phone": "+255700000001", "address": "1 Desert Road",
            });
            let created = post(&server, &format!("{base}/create"), sent.clone()).await.expect(201).json;
            for (member, value) in sent.as_object().unwrap() {
                assert_eq!(&created[member], value, "{member}");
            }
            let public = created["company_id"].as_str().unwrap();
            assert!(public.len() == 12 && public.starts_with("CMP-") && created["id"].is_i64(), "{created}");
            assert_eq!(get(&server, &format!("{base}/{public}")).await.expect(200).json, created);
            let many: Vec<Value> =
                (0..3).map(|at| json!({"company_name": format!("C{at}"), "company_status": "inactive"})).collect();
            let answer = post(&server, &format!("{base}/bulk-create"), json!({"companies": many})).await.expect(200);
            assert_eq!(answer.json, json!("Companies successfully created."));
            let bad = json!({"companies": [
                {"company_name": "Fine", "company_status": "active"},
                {"company_name": "", "company_status": "asleep", "website": "nowhere"},
            ]});
            let told = problems(&post(&server, &format!("{base}/bulk-create"), bad).await);
            let places: Vec<&str> = told.iter().map(|problem| problem.split_once(' ').unwrap().1).collect();
            for member in ["company_name", "company_status", "website"] {
                assert!(places.contains(&format!("body/companies/1/{member}").as_str()), "{told:?}");
            }
            let listed = get(&server, &format!("{base}?page_size=2")).await.expect(200).json;
            assert_eq!((&listed["total"], listed["data"].as_array().unwrap().len()), (&json!(4 * (turn + 1)), 2));
            assert_eq!(listed["has_next"], true);
            assert_eq!(get(&server, &format!("{base}/CMP-00000000")).await.expect(404).json, json!({"detail": "Not Found"}));
        }
        let mut body = person("Alice");
        body["company_id"] = json!("CMP-00000000");
        assert_eq!(problems(&post(&server, "/external/v1/customers", body).await), ["value_error body/company_id"]);
    }

    async fn bad_bodies_are_told_as_a_form_library_expects(server: Server) {
        let path = "/external/v1/customers";
        let empty = post(&server, path, json!({})).await;
        assert_eq!(problems(&empty), ["missing body/name", "missing body/email", "missing body/source"]);
        assert_eq!(
            empty.json["detail"][0],
            json!({"type": "missing", "loc": ["body", "name"], "msg": "Field required", "input": {}})
        );
        for (member, value, problem) in [
            ("name", json!(1), "string_type body/name"),
            ("name", json!(""), "string_too_short body/name"),
            ("name", json!("x".repeat(201)), "string_too_long body/name"),
            ("email", json!("nobody"), "value_error body/email"),
            ("source", json!("x".repeat(65)), "string_too_long body/source"),
            ("is_active", json!("perhaps"), "bool_parsing body/is_active"),
            ("is_active", json!({}), "bool_type body/is_active"),
            ("ip", json!("300.1.1.1"), "value_error body/ip"),
            ("whatsapp_number", json!("12ab"), "value_error body/whatsapp_number"),
            ("latitude", json!("91"), "value_error body/latitude"),
            ("longitude", json!("east"), "value_error body/longitude"),
            ("nickname", json!("x"), "extra_forbidden body/nickname"),
        ] {
            let mut body = person("Alice");
            body[member] = value;
            let answer = post(&server, path, body.clone()).await;
            assert_eq!(problems(&answer), [problem], "{body}");
            assert_eq!(answer.json["detail"][0]["input"], body[member]);
        }
        let mut wrong = person("Alice");
        wrong["email"] = json!("nobody");
        let told = post(&server, path, wrong).await.json["detail"][0]["msg"].clone();
        assert!(told.as_str().unwrap().starts_with("value is not a valid email address: "), "{told}");
        for prefix in PREFIXES {
            let request = server.request(Method::POST, &format!("{prefix}/customers")).header("x-api-key", server.api_key());
            let answer = Answer::to(request.header("content-type", "application/json").body("{\"name\": ")).await.unwrap();
            assert!(problems(&answer)[0].starts_with("json_invalid body/"), "{}", answer.text);
            let request = server.request(Method::POST, &format!("{prefix}/customers")).header("x-api-key", server.api_key());
            let answer = Answer::to(request.header("content-type", "text/plain").body("{}")).await.unwrap().expect(415);
            assert!(answer.json["detail"].is_string());
        }
        assert_eq!(get(&server, path).await.expect(200).json["total"], 0);
    }

    async fn a_bearer_token_is_accepted_too(server: Server) {
        let created = server.post("/external/v1/customers", person("Alice")).await.expect(201);
        let path = format!("/external/v1/customers/{}", created.json["id"]);
        assert_eq!(server.get(&path).await.expect(200).json, created.json);
    }
}
