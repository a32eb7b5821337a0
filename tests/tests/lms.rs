//! The customers of the loan-management API as a client of the running binary sees them: every row of its contract, and
//! its public examples as they are printed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;

use custodia_tests::{Answer, Server, both, day, encoded};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

const CUSTOMERS: &str = "/v1/customers";

fn by_external_id(external_id: &str) -> String {
    format!("{CUSTOMERS}/external/{}", encoded(external_id))
}

async fn answer(request: RequestBuilder) -> Answer {
    Answer::to(request).await.expect("a running server answers")
}

/// A request with the token and a body that is sent as it is.
fn written(server: &Server, method: Method, path: &str, body: &str) -> RequestBuilder {
    let request = server.request(method, path).bearer_auth(server.token());
    request.header("Content-Type", "application/json").body(body.to_owned())
}

async fn partner(server: &Server, external_id: &str) -> Value {
    server.post(CUSTOMERS, json!({"externalId": external_id})).await.expect(200).json
}

/// A Pending customer with names and every detail.
async fn applicant(server: &Server, external_id: &str) -> Value {
    let body = json!({
        "officeId": 1, "firstname": "Ada", "middlename": "King", "lastname": "Lovelace", "mobileNo": "+255700000000",
        "emailAddress": "ada@example.com", "externalId": external_id, "dateOfBirth": "1990-12-10", "active": false,
        "submittedDate": "2026-01-05",
    });
    server.post(CUSTOMERS, body).await.expect(200).json
}

/// The display names of a page's items.
fn names(answer: &Answer) -> Vec<&str> {
    items(answer).iter().map(|item| item["displayName"].as_str().unwrap()).collect()
}

fn items(answer: &Answer) -> &[Value] {
    answer.json["items"].as_array().unwrap()
}

/// What a command in bash writes, with `BASE` and `TOKEN` set; its success is part of what it says.
async fn bash(server: &Server, script: &str) -> (bool, String) {
    let (script, base, token) = (script.to_owned(), server.url(""), server.token().to_owned());
    let run = move || Command::new("bash").args(["-c", &script]).envs([("BASE", base), ("TOKEN", token)]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// The JSON that a printed command gets.
async fn printed(server: &Server, script: &str) -> Value {
    let (success, output) = bash(server, script).await;
    assert!(success, "{script}\n{output}");
    serde_json::from_str(&output).unwrap_or_else(|_| panic!("no JSON: {output}"))
}

/// Customers to be listed: four full ones in two states, and one of the partner form.
async fn register(server: &Server) {
    for (external_id, name, submitted, activated, mail) in [
        ("r-1", "Zoë Ångström", "2026-01-05", Some("2026-03-01"), Some("zoe@example.com")),
        ("r-2", "adam Smith", "2026-01-04", None, None),
        ("r-3", "Bo Smithers", "2026-01-05", Some("2026-02-01"), Some("bo@mail.example")),
        ("r-4", "Émile O'Neil", "2026-01-06", None, None),
    ] {
        let mut body = json!({"officeId": 1, "fullname": name, "externalId": external_id, "submittedDate": submitted,
            "active": activated.is_some(), "activationDate": activated, "emailAddress": mail});
        if external_id == "r-2" {
            body["mobileNo"] = json!("+255711222333");
        }
        let _ = server.post(CUSTOMERS, body).await.expect(200);
    }
    partner(server, "mirror").await;
}

both! {
    async fn the_partner_form_creates_an_active_customer_named_after_its_external_id(server: Server) {
        let before = day(0);
        let created = server.post(CUSTOMERS, json!({"externalId": "ext-ada-001"})).await.expect(200);
        let today = created.json["submittedDate"].as_str().unwrap().to_owned();
        assert!(today == before || today == day(0), "{today}");
        assert_eq!(created.json, json!({
            "id": "1", "accountNo": "000000001", "externalId": "ext-ada-001", "status": "Active", "active": true,
            "officeId": "1", "officeName": "Head Office", "firstname": "ext-ada-001", "lastname": "Customer",
            "displayName": "ext-ada-001 Customer", "activationDate": today, "submittedDate": today, "version": 1,
        }));
        assert_eq!(created.header("content-type"), Some("application/json"));
        assert_eq!(created.header("etag"), Some("\"1\""));
        assert!(created.header("x-request-id").is_some());
        assert_eq!(created.header("cache-control"), Some("no-store"));
        assert_eq!(created.header("x-content-type-options"), Some("nosniff"));
    }

    async fn the_partner_form_wants_an_external_id(server: Server) {
        let required = ["externalId: required"];
        assert_eq!(server.post(CUSTOMERS, json!({})).await.expect(400).problems(), required);
        assert_eq!(server.post(CUSTOMERS, json!({"externalId": null})).await.expect(400).problems(), required);
        for wrong in [json!(""), json!(" "), json!(" a"), json!("a\u{a0}"), json!("a\tb"), json!(1), json!(["a"])] {
            let refused = server.post(CUSTOMERS, json!({"externalId": wrong})).await.expect(400).problems();
            assert!(refused.len() == 1 && refused[0].starts_with("externalId: "), "{wrong}: {refused:?}");
        }
        assert_eq!(server.total().await, 0);
    }

    async fn the_full_form_keeps_every_member(server: Server) {
        let body = json!({
            "officeId": "1", "firstname": "Ada", "middlename": "King", "lastname": "Lovelace",
            "mobileNo": "+255700000000", "emailAddress": "ada@example.com", "externalId": "ext-ada-001", "genderId": 22,
            "clientTypeId": 1, "legalFormId": "1", "dateOfBirth": "1990-12-10", "active": true,
            "activationDate": "2026-05-22", "submittedDate": "2026-05-20",
        });
        let created = server.post(CUSTOMERS, body).await.expect(200);
        assert_eq!(created.json, json!({
            "id": "1", "accountNo": "000000001", "externalId": "ext-ada-001", "status": "Active", "active": true,
            "officeId": "1", "officeName": "Head Office", "firstname": "Ada", "middlename": "King",
            "lastname": "Lovelace", "displayName": "Ada King Lovelace", "mobileNo": "+255700000000",
            "emailAddress": "ada@example.com", "dateOfBirth": "1990-12-10", "activationDate": "2026-05-22",
            "submittedDate": "2026-05-20", "clientTypeId": "1", "legalFormId": "1", "genderId": "22", "version": 1,
        }));
        let entity = json!({"officeId": 1, "fullname": "Analytical Engines Ltd", "clientTypeId": "2", "active": false,
            "mobileNo": null, "activationDate": null});
        let pending = server.post(CUSTOMERS, entity).await.expect(200).json;
        let submitted = pending["submittedDate"].clone();
        assert_eq!(pending, json!({
            "id": "2", "accountNo": "000000002", "status": "Pending", "active": false, "officeId": "1",
            "officeName": "Head Office", "displayName": "Analytical Engines Ltd", "submittedDate": submitted,
            "clientTypeId": "2", "version": 1,
        }));
    }

    async fn a_submission_defaults_to_an_earlier_activation(server: Server) {
        let body = |activation: &str| json!({"officeId": 1, "fullname": "Ada", "active": true, "activationDate": activation});
        let created = server.post(CUSTOMERS, body("2026-05-22")).await.expect(200).json;
        assert_eq!(created["submittedDate"], "2026-05-22");
    }

    async fn an_external_id_that_looks_like_a_part_of_a_path_is_one_customer_all_the_same(server: Server) {
        // A client that follows the URL standard resolves dots away, encoded or not: these bytes are sent as they stand.
        let ask = async |method: &str, path: &str, body: &str| {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n", server.token());
            let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            server.raw(format!("{head}{rest}").as_bytes()).await.expect("an answer")
        };
        for id in [".", "..", "history", "activate", "close", "external"] {
            let body = json!({"officeId": 1, "fullname": "Ada", "active": false, "externalId": id});
            let created = server.post(CUSTOMERS, body).await.expect(200);
            let (number, today) = (&created.json["id"], &created.json["submittedDate"]);
            for encoded in [id.to_owned(), id.replace('.', "%2E"), id.replace('.', "%2e")] {
                let path = format!("/v1/customers/external/{encoded}");
                assert_eq!(ask("GET", &path, "").await.expect(200).text, created.text, "{path}");
                let history = ask("GET", &format!("{path}/history"), "").await.expect(200);
                assert_eq!(history.json["items"][0]["externalId"], id, "{path}");
            }
            let path = format!("/v1/customers/external/{}", id.replace('.', "%2E"));
            assert_eq!(ask("PUT", &path, r#"{"mobileNo":"1"}"#).await.expect(200).json["id"], *number, "{path}");
            let day = json!({"activationDate": today}).to_string();
            assert_eq!(ask("POST", &format!("{path}/activate"), &day).await.expect(200).json["status"], "Active", "{path}");
            let terms = json!({"closureDate": today, "closureReasonId": 1}).to_string();
            assert_eq!(ask("POST", &format!("{path}/close"), &terms).await.expect(200).json["status"], "Closed", "{path}");
            assert_eq!(ask("POST", &path, "{}").await.status, 405, "{path} is a customer, no command");
        }
        assert_eq!(server.total().await, 6);
    }

    async fn all_problems_of_the_full_form_are_told_at_once(server: Server) {
        let refused = server.post(CUSTOMERS, json!({"mobileNo": "1", "active": true})).await.expect(400);
        assert_eq!(refused.problems(), [
            "officeId: required", "firstname: required", "lastname: required",
            "activationDate: required when active=true",
        ]);
        let tomorrow = day(2);
        let body = json!({"officeId": "x", "firstname": "A\u{7}", "middlename": "m".repeat(101), "lastname": "",
            "mobileNo": "1".repeat(51), "emailAddress": "nobody", "externalId": "x".repeat(129), "genderId": 0,
            "clientTypeId": 3, "legalFormId": 1.5, "dateOfBirth": tomorrow, "active": "yes",
            "activationDate": "2026-02-30", "submittedDate": tomorrow, "favouriteColour": "red"});
        let told = server.post(CUSTOMERS, body).await.expect(400).problems();
        for field in ["officeId", "firstname", "middlename", "lastname", "mobileNo", "emailAddress", "externalId",
            "genderId", "clientTypeId", "legalFormId", "dateOfBirth", "active", "activationDate", "submittedDate",
            "favouriteColour"]
        {
            let of_it = told.iter().filter(|problem| problem.starts_with(&format!("{field}: "))).count();
            assert_eq!(of_it, 1, "{field} in {told:?}");
        }
        assert_eq!(told.len(), 15, "{told:?}");
        assert_eq!(server.total().await, 0);
    }

    async fn the_rules_of_the_full_form_hold_one_by_one(server: Server) {
        let whole = json!({"officeId": 1, "firstname": "Ada", "lastname": "Lovelace", "active": true,
            "activationDate": "2026-05-22"});
        let future = day(2);
        for (changed, field) in [
            (json!({"officeId": null}), "officeId"),
            (json!({"officeId": 99}), "officeId"),
            (json!({"officeId": 9_223_372_036_854_775_808_u64}), "officeId"),
            (json!({"firstname": null}), "firstname"),
            (json!({"fullname": "Ada Lovelace"}), "firstname"),
            (json!({"active": null}), "active"),
            (json!({"active": 1}), "active"),
            (json!({"activationDate": null}), "activationDate"),
            (json!({"active": false}), "activationDate"),
            (json!({"activationDate": future}), "activationDate"),
            (json!({"activationDate": "22-05-2026"}), "activationDate"),
            (json!({"activationDate": "2026-5-22"}), "activationDate"),
            (json!({"activationDate": "2026-05-22T00:00:00Z"}), "activationDate"),
            (json!({"activationDate": "2025-02-29"}), "activationDate"),
            (json!({"submittedDate": "2026-05-23"}), "activationDate"),
            (json!({"submittedDate": future}), "submittedDate"),
            (json!({"dateOfBirth": future}), "dateOfBirth"),
            (json!({"dateOfBirth": "1990-13-01"}), "dateOfBirth"),
            (json!({"emailAddress": "a b@example.com"}), "emailAddress"),
            (json!({"mobileNo": ""}), "mobileNo"),
            (json!({"status": "Active"}), "status"),
        ] {
            let mut body = whole.clone();
            body.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
            let told = server.post(CUSTOMERS, body).await.expect(400).problems();
            assert!(told.iter().any(|problem| problem.starts_with(&format!("{field}: "))), "{changed}: {told:?}");
        }
        assert_eq!(server.total().await, 0);
        for (first, full) in [("é".repeat(100), None), ("Ada".into(), Some("名".repeat(200)))] {
            let body = match full {
                Some(full) => json!({"officeId": 1, "fullname": full, "active": false}),
                None => json!({"officeId": 1, "firstname": first, "lastname": "L", "active": false}),
            };
            let _ = server.post(CUSTOMERS, body).await.expect(200);
        }
    }

    async fn an_external_id_is_given_once_whatever_the_form(server: Server) {
        partner(&server, "ext-1").await;
        let full = json!({"officeId": 1, "fullname": "Ada", "active": false, "externalId": "ext-1"});
        assert_eq!(server.post(CUSTOMERS, json!({"externalId": "ext-1"})).await.code(409), "aborted");
        assert_eq!(server.post(CUSTOMERS, full).await.code(409), "aborted");
        // Byte for byte: another case and another normal form are other ids.
        for other in ["EXT-1", "caf\u{e9}", "cafe\u{301}"] {
            partner(&server, other).await;
        }
        assert_eq!(server.total().await, 4);
    }

    async fn nobody_strangers_and_expired_tokens_are_unauthenticated(server: Server) {
        let created = partner(&server, "ext-1").await;
        let token = server.token();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
        let unsigned = format!("{}.", token.split('.').take(2).collect::<Vec<_>>().join("."));
        for path in [CUSTOMERS, "/v1/customers/1", "/v1/customers/external/ext-1", "/v1/loans"] {
            for credential in ["", "Bearer", "Bearer ", "Bearer nonsense", &format!("Bearer {forged}"),
                &format!("Bearer {unsigned}"), &format!("Basic {token}"), token, &format!("Bearer {token}x")]
            {
                let request = server.request(Method::GET, path);
                let request = if credential.is_empty() { request } else { request.header("Authorization", credential) };
                let refused = answer(request).await;
                assert_eq!(refused.code(401), "unauthenticated", "{path} with {credential}");
                assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
                assert!(!refused.text.contains(token));
            }
        }
        let _ = answer(server.request(Method::POST, CUSTOMERS).json(&json!({"externalId": "ext-2"}))).await.expect(401);
        let _ = answer(server.request(Method::DELETE, "/v1/customers/1")).await.expect(401);
        assert_eq!(server.get("/v1/customers/1").await.expect(200).json, created);
        assert_eq!(server.total().await, 1);
    }

    async fn unknown_routes_and_methods_are_told_apart(server: Server) {
        partner(&server, "ext-1").await;
        for path in ["/v1", "/v1/", "/v1/nothing", "/v1/customers/1/nothing", "/v1/customers/1/close/now"] {
            assert_eq!(server.get(path).await.code(404), "not_found", "{path}");
        }
        for (method, path, allowed) in [
            (Method::PUT, CUSTOMERS, ["GET", "POST"].as_slice()),
            (Method::DELETE, CUSTOMERS, &["GET", "POST"]),
            (Method::PATCH, "/v1/customers/1", &["GET", "PUT", "DELETE"]),
            (Method::POST, "/v1/customers/1", &["GET", "PUT", "DELETE"]),
            (Method::POST, "/v1/customers/external/ext-1", &["GET", "PUT", "DELETE"]),
            (Method::GET, "/v1/customers/1/close", &["POST"]),
            (Method::PUT, "/v1/customers/external/ext-1/activate", &["POST"]),
            (Method::POST, "/v1/loans", &["GET"]),
        ] {
            let refused = server.send(method.clone(), path, None).await;
            assert_eq!(refused.code(405), "unimplemented", "{method} {path}");
            let allow: Vec<&str> = refused.header("allow").expect("Allow").split(',').map(str::trim).collect();
            assert!(allowed.iter().all(|method| allow.contains(method)), "{method} {path}: {allow:?}");
            assert!(!allow.contains(&method.as_str()), "{method} {path}: {allow:?}");
        }
    }

    async fn another_version_than_the_one_wanted_is_a_failed_precondition(server: Server) {
        partner(&server, "ext-1").await;
        let change = |tag: &str| {
            answer(written(&server, Method::PUT, "/v1/customers/1", r#"{"mobileNo":"1"}"#).header("If-Match", tag))
        };
        let refused = change("\"7\"").await;
        assert_eq!(refused.code(412), "failed_precondition");
        assert_eq!(refused.header("etag"), Some("\"1\""));
        assert_eq!(change("W/\"1\"").await.code(412), "failed_precondition");
        let malformed = change("1").await.expect(400).problems();
        assert!(malformed[0].starts_with("If-Match: "), "{malformed:?}");
        assert_eq!(change("\"1\"").await.expect(200).header("etag"), Some("\"2\""));
        assert_eq!(change("*").await.expect(200).header("etag"), Some("\"2\""), "an unchanged customer keeps its version");
        for path in ["/v1/customers/1/close", "/v1/customers/1/activate"] {
            let body = if path.ends_with("close") {
                r#"{"closureDate":"2030-01-01","closureReasonId":1}"#
            } else {
                r#"{"activationDate":"2026-01-01"}"#
            };
            let refused = answer(written(&server, Method::POST, path, body).header("If-Match", "\"1\"")).await;
            assert_eq!(refused.code(412), "failed_precondition", "{path}");
        }
        let delete = server.request(Method::DELETE, "/v1/customers/1").bearer_auth(server.token());
        assert_eq!(answer(delete.header("If-Match", "\"1\"")).await.code(412), "failed_precondition");
        let known = server.request(Method::GET, "/v1/customers/1").bearer_auth(server.token());
        let known = answer(known.header("If-None-Match", "\"2\"")).await.expect(304);
        assert!(known.text.is_empty());
    }

    async fn too_large_bodies_and_other_media_types_have_one_entry(server: Server) {
        let large = format!("{{\"externalId\":\"{}\"}}", "x".repeat(1_100_000));
        let refused = answer(written(&server, Method::POST, CUSTOMERS, &large)).await.expect(413);
        let told = refused.problems();
        assert!(told.len() == 1 && told[0].starts_with("body: "), "{told:?}");
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "x"] {
            let request = server.request(Method::POST, CUSTOMERS).bearer_auth(server.token());
            let request = request.header("Content-Type", media_type).body(r#"{"externalId":"ext-1"}"#);
            let told = answer(request).await.expect(415).problems();
            assert!(told.len() == 1 && told[0].starts_with("Content-Type: "), "{media_type}: {told:?}");
        }
        let bare = server.request(Method::POST, CUSTOMERS).bearer_auth(server.token()).body(r#"{"externalId":"e"}"#);
        let _ = answer(bare).await.expect(415);
        let suffix = server.request(Method::POST, CUSTOMERS).bearer_auth(server.token());
        let suffix = suffix.header("Content-Type", "application/json; charset=utf-8").body(r#"{"externalId":"e"}"#);
        let _ = answer(suffix).await.expect(200);
        assert_eq!(server.total().await, 1);
    }

    async fn both_address_prefixes_answer_the_same_bytes(server: Server) {
        applicant(&server, "ext-1").await;
        let pair = async |method: Method, suffix: &str, body: Option<Value>| {
            let by_id = server.send(method.clone(), &format!("/v1/customers/1{suffix}"), body.clone()).await;
            let path = format!("{}{suffix}", by_external_id("ext-1"));
            (by_id, server.send(method, &path, body).await)
        };
        let same = |(by_id, by_external): &(Answer, Answer)| {
            assert_eq!((by_id.status, &by_id.text), (by_external.status, &by_external.text));
            assert_eq!(by_id.header("etag"), by_external.header("etag"));
        };
        same(&pair(Method::GET, "", None).await);
        same(&pair(Method::PUT, "", Some(json!({"mobileNo": "1"}))).await);
        same(&pair(Method::PUT, "", Some(json!({"status": "Closed"}))).await);
        same(&pair(Method::POST, "/activate", Some(json!({}))).await);
        same(&pair(Method::POST, "/close", Some(json!({"closureDate": "2026-06-30", "closureReasonId": 17}))).await);
        let activated = server.post("/v1/customers/1/activate", json!({"activationDate": "2026-01-06"})).await;
        let read = server.get(&by_external_id("ext-1")).await.expect(200);
        assert_eq!(activated.expect(200).text, read.text);
        same(&pair(Method::DELETE, "", None).await);
        let close = json!({"closureDate": "2026-06-30", "closureReasonId": 17});
        let closed = server.post(&format!("{}/close", by_external_id("ext-1")), close).await.expect(200);
        assert_eq!(closed.text, server.get("/v1/customers/1").await.expect(200).text);
        same(&pair(Method::POST, "/close", Some(json!({"closureDate": "2026-06-30", "closureReasonId": 17}))).await);
    }

    async fn every_external_id_goes_through_the_path_and_the_query(server: Server) {
        let longest = "名".repeat(128);
        let ids = ["x", "a/b", "/", "a//b/", "100%", "%2F", "%", "a b", "a+b", "a?b#c", "é", "e\u{301}", "😀", "..%2f..",
            "'; drop table customers; --", "\"quoted\\\"", "a&b=c", "close", "1", "external/1", &longest];
        for id in ids {
            let created = partner(&server, id).await;
            assert_eq!(created["externalId"], id);
            let read = server.get(&by_external_id(id)).await.expect(200);
            assert_eq!(read.json, created);
            let found = server.get(&format!("{CUSTOMERS}?externalId={}", encoded(id))).await.expect(200);
            assert_eq!(found.json, json!({"items": [created], "total": 1, "page": 1, "rowsPerPage": 10}));
            let changed = server.put(&by_external_id(id), json!({"mobileNo": "1"})).await.expect(200);
            assert_eq!(changed.json["version"], 2);
        }
        assert_eq!(server.total().await, u64::try_from(ids.len()).unwrap());
        for (id, raw) in [(".", "%2E"), ("..", "%2e%2e")] {
            partner(&server, id).await;
            // A client library resolves dots, encoded or not, before it sends them.
            let head = format!("GET {CUSTOMERS}/external/{raw} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
                server.token());
            assert_eq!(server.raw(head.as_bytes()).await.unwrap().expect(200).json["externalId"], id);
        }
    }

    async fn what_cannot_be_an_external_id_is_refused_in_the_path(server: Server) {
        let too_long = "x".repeat(129);
        for raw in [too_long.as_str(), "%20a", "a%0Ab", "%00", "%FF", "%C3", "%", "%zz", "a%E2%80%83"] {
            let head = format!("GET {CUSTOMERS}/external/{raw} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
                server.token());
            let told = server.raw(head.as_bytes()).await.unwrap().expect(400).problems();
            assert!(told.len() == 1 && told[0].starts_with("customer_external_id: "), "{raw}: {told:?}");
            let head = head.replace("/external/", "?externalId=");
            let told = server.raw(head.as_bytes()).await.unwrap().expect(400).problems();
            assert!(told.len() == 1 && told[0].starts_with("externalId: "), "{raw}: {told:?}");
        }
        let one_more = json!({"externalId": too_long});
        assert_eq!(server.post(CUSTOMERS, one_more).await.expect(400).problems(), [
            "externalId: must have at most 128 characters",
        ]);
    }

    async fn an_id_is_a_positive_integer_and_one_too_large_does_not_exist(server: Server) {
        partner(&server, "ext-1").await;
        for wrong in ["0", "-1", "+1", "1.0", "one", "%31x", "1e3", "%20"] {
            let told = server.get(&format!("{CUSTOMERS}/{wrong}")).await.expect(400).problems();
            assert_eq!(told, ["customer_id: must be a positive integer"], "{wrong}");
        }
        for absent in ["2", "9223372036854775807", "9223372036854775808", "99999999999999999999999999"] {
            assert_eq!(server.get(&format!("{CUSTOMERS}/{absent}")).await.code(404), "not_found", "{absent}");
        }
        for (method, suffix, body) in [
            (Method::GET, "", None),
            (Method::PUT, "", Some(json!({"mobileNo": "1"}))),
            (Method::DELETE, "", None),
            (Method::POST, "/activate", Some(json!({"activationDate": "2026-01-05"}))),
            (Method::POST, "/close", Some(json!({"closureDate": "2026-01-05", "closureReasonId": 1}))),
        ] {
            for path in [format!("{CUSTOMERS}/2{suffix}"), format!("{CUSTOMERS}/external/nobody{suffix}")] {
                assert_eq!(server.send(method.clone(), &path, body.clone()).await.code(404), "not_found", "{path}");
            }
        }
    }

    async fn a_list_is_paged_with_the_documented_envelope(server: Server) {
        let empty = server.get(CUSTOMERS).await.expect(200);
        assert_eq!(empty.json, json!({"items": [], "total": 0, "page": 1, "rowsPerPage": 10}));
        for number in 0..12 {
            partner(&server, &format!("ext-{number:02}")).await;
        }
        let first = server.get(CUSTOMERS).await.expect(200);
        assert_eq!((items(&first).len(), &first.json["total"], &first.json["rowsPerPage"]), (10, &json!(12), &json!(10)));
        assert_eq!(items(&first)[0], server.get("/v1/customers/1").await.expect(200).json);
        let second = server.get("/v1/customers?page=2").await.expect(200);
        assert_eq!((items(&second).len(), &second.json["page"]), (2, &json!(2)));
        let past = server.get("/v1/customers?page=9&rows=100").await.expect(200);
        assert_eq!(past.json, json!({"items": [], "total": 12, "page": 9, "rowsPerPage": 100}));
        let furthest = server.get("/v1/customers?page=9223372036854775807&rows=100").await.expect(200);
        assert_eq!(items(&furthest).len(), 0);
    }

    async fn paging_problems_are_told_in_the_documented_words(server: Server) {
        for (query, told) in [
            ("rows=101", "page: rows value too large, must be less than 100"),
            ("rows=1000000", "page: rows value too large, must be less than 100"),
            ("rows=0", "page: rows value too small, must be larger than 0"),
            ("rows=-5", "page: rows value too small, must be larger than 0"),
            ("page=0", "page: page value too small, must be larger than 0"),
            ("page=-1", "page: page value too small, must be larger than 0"),
        ] {
            assert_eq!(server.get(&format!("{CUSTOMERS}?{query}")).await.expect(400).problems(), [told], "{query}");
        }
        for query in ["page=x", "page=", "rows=ten", "rows=", "page=1.5", "rows=9223372036854775808"] {
            let told = server.get(&format!("{CUSTOMERS}?{query}")).await.expect(400).problems();
            assert!(told.len() == 1 && told[0].starts_with("page: page conversion: "), "{query}: {told:?}");
        }
        for (query, field) in [
            ("orderBy=name", "orderBy"), ("orderBy=", "orderBy"), ("sortOrder=asc", "sortOrder"), ("sortOrder=", "sortOrder"),
            ("externalId=", "externalId"), ("externalId=%20x", "externalId"), ("status=active", "status"),
            ("officeId=0", "officeId"), ("officeId=x", "officeId"), ("colour=red", "colour"), ("page=1&page=2", "page"),
            ("after=nonsense", "after"), ("after=&page=1", "page"), ("q=%FF", "q"),
        ] {
            let told = server.get(&format!("{CUSTOMERS}?{query}")).await.expect(400).problems();
            assert!(told.len() == 1 && told[0].starts_with(&format!("{field}: ")), "{query}: {told:?}");
        }
        let both = server.get("/v1/customers?rows=101&page=0&orderBy=x&colour=red").await.expect(400).problems();
        assert_eq!(both.len(), 4, "{both:?}");
        let _ = server.get("/v1/customers?rows=100").await.expect(200);
    }

    async fn a_list_is_ordered_both_ways_and_ties_go_with_it(server: Server) {
        register(&server).await;
        let order = async |query: &str| -> Vec<String> {
            let page = server.get(&format!("{CUSTOMERS}?{query}")).await.expect(200);
            items(&page).iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(order("").await, ["1", "2", "3", "4", "5"]);
        assert_eq!(order("sortOrder=DESC").await, ["5", "4", "3", "2", "1"]);
        assert_eq!(order("orderBy=submittedDate").await, ["2", "1", "3", "4", "5"]);
        assert_eq!(order("orderBy=submittedDate&sortOrder=DESC").await, ["5", "4", "3", "1", "2"]);
        let up = order("orderBy=displayName").await;
        let mut down = order("orderBy=displayName&sortOrder=DESC").await;
        down.reverse();
        assert_eq!((up.len(), up), (5, down));
        // Those without a date come last in either direction; among themselves they go with it.
        assert_eq!(order("orderBy=activationDate").await, ["3", "1", "5", "2", "4"]);
        assert_eq!(order("orderBy=activationDate&sortOrder=DESC").await, ["5", "1", "3", "4", "2"]);
        let dated = server.get("/v1/customers?orderBy=activationDate&status=Active").await.expect(200);
        assert_eq!(names(&dated), ["Bo Smithers", "Zoë Ångström", "mirror Customer"]);
    }

    async fn filters_narrow_the_list_and_its_total(server: Server) {
        register(&server).await;
        for (query, expected) in [
            ("status=Pending", ["adam Smith", "Émile O'Neil"].as_slice()),
            ("status=Active", &["Zoë Ångström", "Bo Smithers", "mirror Customer"]),
            ("status=Closed", &[]),
            ("officeId=1&status=Pending", &["adam Smith", "Émile O'Neil"]),
            ("officeId=2", &[]),
            ("q=smith", &["adam Smith", "Bo Smithers"]),
            ("q=SMITH%20ad", &["adam Smith"]),
            ("q=zoe%20ang", &["Zoë Ångström"]),
            ("q=mith", &[]),
            ("q=%2B2557112", &["adam Smith"]),
            ("q=bo%40mail", &["Bo Smithers"]),
            ("q=000000003", &["Bo Smithers"]),
            ("q=smith&status=Active", &["Bo Smithers"]),
            ("q=nobody", &[]),
            ("externalId=r-2", &["adam Smith"]),
            ("externalId=r-2&status=Active", &[]),
            ("externalId=R-2", &[]),
        ] {
            let page = server.get(&format!("{CUSTOMERS}?{query}")).await.expect(200);
            assert_eq!(names(&page), expected, "{query}");
            assert_eq!(page.json["total"], expected.len(), "{query}");
        }
    }

    async fn an_external_id_that_nobody_has_is_an_empty_page(server: Server) {
        let page = server.get("/v1/customers?externalId=nobody").await.expect(200);
        assert_eq!(page.json, json!({"items": [], "total": 0, "page": 1, "rowsPerPage": 10}));
    }

    async fn a_walk_meets_every_row_once_in_every_order(server: Server) {
        register(&server).await;
        for number in 0..6 {
            partner(&server, &format!("walk-{number}")).await;
        }
        for order in ["", "&sortOrder=DESC", "&orderBy=displayName", "&orderBy=displayName&sortOrder=DESC",
            "&orderBy=submittedDate&sortOrder=DESC", "&orderBy=activationDate", "&orderBy=activationDate&sortOrder=DESC"]
        {
            let page = server.get(&format!("{CUSTOMERS}?rows=100{order}")).await.expect(200);
            let mut query = format!("after=&rows=3{order}");
            let mut walked = Vec::new();
            loop {
                let step = server.get(&format!("{CUSTOMERS}?{query}")).await.expect(200);
                assert_eq!(step.json["rowsPerPage"], 3);
                assert!(step.json.get("total").is_none() && step.json.get("page").is_none(), "{}", step.text);
                walked.extend(items(&step).iter().cloned());
                let Some(next) = step.json["next"].as_str() else { break };
                let link = format!("after={next}>; rel=\"next\"");
                assert!(step.header("link").is_some_and(|header| header.ends_with(&link)), "{:?}", step.header("link"));
                query = format!("after={}&rows=3", encoded(next));
            }
            assert_eq!(json!(walked), page.json["items"], "{order}");
        }
        let step = server.get("/v1/customers?after=&rows=2&status=Active").await.expect(200);
        let cursor = encoded(step.json["next"].as_str().unwrap());
        for other in ["", "&status=Pending", "&status=Active&orderBy=displayName", "&status=Active&page=1"] {
            let _ = server.get(&format!("{CUSTOMERS}?after={cursor}{other}")).await.expect(400).problems();
        }
        let _ = server.get(&format!("{CUSTOMERS}?after={cursor}&status=Active")).await.expect(200);
    }

    async fn an_update_changes_what_it_names_and_null_clears_what_may_be_absent(server: Server) {
        let before = applicant(&server, "ext-1").await;
        let path = by_external_id("ext-1");
        let changed = server.put(&path, json!({"mobileNo": "2"})).await.expect(200).json;
        let mut expected = before.clone();
        expected["mobileNo"] = json!("2");
        expected["version"] = json!(2);
        assert_eq!(changed, expected);
        let nulls = json!({"middlename": null, "mobileNo": null, "emailAddress": null, "dateOfBirth": null});
        let cleared = server.put(&path, nulls).await.expect(200).json;
        for member in ["middlename", "mobileNo", "emailAddress", "dateOfBirth"] {
            assert!(cleared.get(member).is_none(), "{member}");
        }
        assert_eq!(cleared["displayName"], "Ada Lovelace");
        for member in ["externalId", "firstname", "lastname", "fullname"] {
            let told = server.put(&path, json!({member: null})).await.expect(400).problems();
            assert_eq!(told, [format!("{member}: must not be null")]);
        }
        assert_eq!(server.put(&path, json!({})).await.expect(400).problems(), ["body: must have at least one member"]);
        for member in ["status", "officeId", "accountNo", "id", "active", "activationDate", "submittedDate", "version"] {
            let told = server.put(&path, json!({member: "1"})).await.expect(400).problems();
            assert_eq!(told, [format!("{member}: unknown field")]);
        }
        assert_eq!(server.get(&path).await.expect(200).json, cleared);
    }

    async fn names_are_replaced_whole_or_in_parts(server: Server) {
        applicant(&server, "ext-1").await;
        let path = by_external_id("ext-1");
        let full = server.put(&path, json!({"fullname": "Countess of Lovelace"})).await.expect(200).json;
        assert_eq!(full["displayName"], "Countess of Lovelace");
        assert!(["firstname", "middlename", "lastname"].iter().all(|part| full.get(part).is_none()), "{full}");
        let told = server.put(&path, json!({"firstname": "Ada"})).await.expect(400).problems();
        assert_eq!(told, ["lastname: required"]);
        let parts = server.put(&path, json!({"firstname": "Ada", "lastname": "Byron"})).await.expect(200).json;
        assert_eq!((&parts["displayName"], &parts["firstname"]), (&json!("Ada Byron"), &json!("Ada")));
        let one = server.put(&path, json!({"lastname": "Lovelace"})).await.expect(200).json;
        assert_eq!(one["displayName"], "Ada Lovelace");
        let _ = server.put(&path, json!({"fullname": "A", "lastname": "B"})).await.expect(400).problems();
    }

    async fn a_mirrored_name_follows_its_external_id(server: Server) {
        partner(&server, "ext-1").await;
        let longest = "x".repeat(128);
        for id in ["ext-2", &longest] {
            let renamed = server.put("/v1/customers/1", json!({"externalId": id})).await.expect(200).json;
            assert_eq!(renamed["displayName"], format!("{id} Customer"));
            assert_eq!((&renamed["firstname"], &renamed["externalId"]), (&json!(id), &json!(id)));
        }
        assert_eq!(server.get(&by_external_id("ext-1")).await.code(404), "not_found");
        let same = server.put("/v1/customers/1", json!({"externalId": longest})).await.expect(200);
        assert_eq!(same.json["version"], 3, "the same value is no change");
        partner(&server, "ext-1").await;
        assert_eq!(server.put("/v1/customers/1", json!({"externalId": "ext-1"})).await.code(409), "aborted");
        let named = server.put("/v1/customers/1", json!({"firstname": "Ada", "lastname": "Lovelace"})).await.expect(200);
        assert_eq!(named.json["displayName"], "Ada Lovelace");
        let moved = server.put("/v1/customers/1", json!({"externalId": "ext-9"})).await.expect(200);
        assert_eq!(moved.json["displayName"], "Ada Lovelace");
    }

    async fn a_pending_customer_is_activated_once(server: Server) {
        applicant(&server, "ext-1").await;
        let path = "/v1/customers/1/activate";
        for (body, told) in [
            (json!({}), "activationDate: required"),
            (json!({"activationDate": "2026-01-04"}), "activationDate: must not be before the submission date"),
            (json!({"activationDate": day(2)}), "activationDate: must not be in the future"),
        ] {
            assert_eq!(server.post(path, body).await.expect(400).problems(), [told]);
        }
        let _ = server.post(path, json!({"activationDate": "2026-01-32"})).await.expect(400).problems();
        let _ = server.post(path, json!({"activationDate": "2026-01-06", "reason": 1})).await.expect(400).problems();
        let activated = server.post(path, json!({"activationDate": "2026-01-05"})).await.expect(200).json;
        assert_eq!((&activated["status"], &activated["active"]), (&json!("Active"), &json!(true)));
        assert_eq!((&activated["activationDate"], &activated["version"]), (&json!("2026-01-05"), &json!(2)));
        assert_eq!(server.post(path, json!({"activationDate": "2026-01-05"})).await.code(409), "aborted");
    }

    async fn an_active_customer_is_closed_for_good(server: Server) {
        applicant(&server, "ext-1").await;
        let path = "/v1/customers/1/close";
        let terms = json!({"closureDate": "2026-06-30", "closureReasonId": 17});
        assert_eq!(server.post(path, terms.clone()).await.code(409), "aborted", "Pending");
        let _ = server.post("/v1/customers/1/activate", json!({"activationDate": "2026-01-06"})).await.expect(200);
        assert_eq!(server.post(path, json!({})).await.expect(400).problems(), [
            "closureDate: required", "closureReasonId: required",
        ]);
        let early = json!({"closureDate": "2026-01-05", "closureReasonId": 17});
        assert_eq!(server.post(path, early).await.expect(400).problems(), [
            "closureDate: must not be before the activation date",
        ]);
        let told = server.post(path, json!({"closureDate": "30.06.2026", "closureReasonId": 0})).await.expect(400);
        assert_eq!(told.problems().len(), 2);
        let closed = server.post(path, terms.clone()).await.expect(200).json;
        assert_eq!((&closed["status"], &closed["active"]), (&json!("Closed"), &json!(false)));
        assert_eq!((&closed["closureDate"], &closed["closureReasonId"]), (&json!("2026-06-30"), &json!("17")));
        assert_eq!(closed["activationDate"], "2026-01-06");
        assert_eq!(server.post(path, terms).await.code(409), "aborted");
        let activate = json!({"activationDate": "2026-01-06"});
        assert_eq!(server.post("/v1/customers/1/activate", activate).await.code(409), "aborted");
        assert_eq!(server.put("/v1/customers/1", json!({"mobileNo": "1"})).await.code(409), "aborted");
        assert_eq!(server.delete("/v1/customers/1").await.code(409), "aborted");
        assert_eq!(server.get("/v1/customers/1").await.expect(200).json, closed);
        assert_eq!(server.post(CUSTOMERS, json!({"externalId": "ext-1"})).await.code(409), "aborted");
        partner(&server, "ext-2").await;
        let later = json!({"closureDate": day(400), "closureReasonId": "3"});
        assert_eq!(server.post(&format!("{}/close", by_external_id("ext-2")), later).await.expect(200).json["status"], "Closed");
    }

    async fn only_a_pending_customer_is_deleted_and_frees_its_external_id(server: Server) {
        applicant(&server, "ext-1").await;
        partner(&server, "ext-2").await;
        assert_eq!(server.delete("/v1/customers/2").await.code(409), "aborted");
        let gone = server.delete(&by_external_id("ext-1")).await.expect(200);
        assert_eq!(gone.text, "");
        assert_eq!(server.get("/v1/customers/1").await.code(404), "not_found");
        assert_eq!(server.delete("/v1/customers/1").await.code(404), "not_found");
        assert_eq!(server.total().await, 1);
        assert_eq!(partner(&server, "ext-1").await["id"], "3");
    }

    async fn another_organizations_customer_is_one_that_does_not_exist(server: Server) {
        partner(&server, "ext-1").await;
        let other = server.organization("Another Lender");
        let asks = async |method: Method, path: &str, body: Option<Value>| {
            let request = server.request(method, path).bearer_auth(&other.token);
            answer(body.into_iter().fold(request, |request, body| request.json(&body))).await
        };
        for path in ["/v1/customers/1", "/v1/customers/external/ext-1"] {
            let hidden = asks(Method::GET, path, None).await;
            assert_eq!(hidden.code(404), "not_found");
            assert_eq!(asks(Method::PUT, path, Some(json!({"mobileNo": "1"}))).await.code(404), "not_found");
            assert_eq!(asks(Method::DELETE, path, None).await.code(404), "not_found");
        }
        assert_eq!(asks(Method::GET, CUSTOMERS, None).await.expect(200).json["total"], 0);
        let own = asks(Method::POST, CUSTOMERS, Some(json!({"externalId": "ext-1"}))).await.expect(200);
        assert_eq!(own.json["id"], "1", "numbers are counted for each organization");
        assert_eq!(server.total().await, 1);
    }

    async fn the_commands_of_the_partner_page_work_as_printed(server: Server) {
        let schema = r#"curl --request POST \
  --url https://api-staging.bsa.ai/v1/customers \
  --header 'Authorization: Bearer <token>' \
  --header 'Content-Type: application/json' \
  --data '
{
  "externalId": "<string>"
}
'
"#;
        let (base, token) = (server.url(""), server.token());
        let created = printed(&server, &schema.replace("https://api-staging.bsa.ai", &base).replace("<token>", token)).await;
        assert_eq!((&created["externalId"], &created["status"]), (&json!("<string>"), &json!("Active")));
        for number in 2..42 {
            partner(&server, &format!("filler-{number}")).await;
        }
        let example = r#"curl -sf -X POST "$BASE/v1/customers" \
  -H "Authorization: Bearer $TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "externalId": "ext-ada-001"
  }'
"#;
        let created = printed(&server, example).await;
        let today = created["activationDate"].clone();
        assert_eq!(created, json!({
            "id": "42", "accountNo": "000000042", "externalId": "ext-ada-001", "status": "Active", "active": true,
            "officeId": "1", "officeName": "Head Office", "firstname": "ext-ada-001", "lastname": "Customer",
            "displayName": "ext-ada-001 Customer", "activationDate": today, "submittedDate": today, "version": 1,
        }));
        let (success, output) = bash(&server, example).await;
        assert!(!success && output.is_empty(), "a second customer of the same externalId: {output}");

        let by_external_id = printed(&server,
            r#"curl "$BASE/v1/customers/external/ext-ada-001" -H "Authorization: Bearer $TOKEN""#).await;
        let by_id = printed(&server, r#"curl "$BASE/v1/customers/42" -H "Authorization: Bearer $TOKEN""#).await;
        assert_eq!((&by_external_id, &by_id), (&created, &created));
        let lookup = server.get("/v1/customers?externalId=ext-ada-001").await.expect(200);
        assert_eq!(lookup.json["items"], json!([created]));
        let loans = server.get("/v1/loans?customerExternalId=ext-ada-001").await.expect(200);
        assert_eq!(loans.json, json!({"items": [], "total": 0, "page": 1, "rowsPerPage": 10}));
        let scorecard = server.get("/v1/credit-scorecard/ext-ada-001").await.expect(200);
        assert_eq!(scorecard.json["totalOutstanding"], 0);
    }

    async fn the_commands_of_the_full_page_work_as_printed(server: Server) {
        for number in 1..42 {
            partner(&server, &format!("filler-{number}")).await;
        }
        let example = r#"curl -sf -X POST "$BASE/v1/customers" \
  -H "Authorization: Bearer $TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "officeId": 1,
    "legalFormId": 1,
    "firstname": "Ada",
    "lastname": "Lovelace",
    "mobileNo": "+255700000000",
    "emailAddress": "ada@example.com",
    "externalId": "ext-ada-001",
    "active": true,
    "activationDate": "2026-05-22"
  }'
"#;
        let created = printed(&server, example).await;
        let documented = json!({
            "id": "42", "accountNo": "000000042", "status": "Active", "active": true, "officeId": "1", "firstname": "Ada",
            "lastname": "Lovelace", "displayName": "Ada Lovelace", "mobileNo": "+255700000000",
            "emailAddress": "ada@example.com", "externalId": "ext-ada-001", "activationDate": "2026-05-22",
        });
        for (member, value) in documented.as_object().unwrap() {
            assert_eq!(&created[member], value, "{member}");
        }
        let (success, _) = bash(&server, example).await;
        assert!(!success, "a second customer of the same externalId");

        // The page's schema, sent as it stands: placeholders are told one by one.
        let schema = r#"curl --request POST \
  --url https://api-dev.bsa.ai/v1/customers \
  --header 'Authorization: Bearer <token>' \
  --header 'Content-Type: application/json' \
  --data '
{
  "officeId": 123,
  "firstname": "<string>",
  "middlename": "<string>",
  "lastname": "<string>",
  "fullname": "<string>",
  "mobileNo": "<string>",
  "emailAddress": "<string>",
  "externalId": "<string>",
  "genderId": 123,
  "clientTypeId": 123,
  "legalFormId": 123,
  "active": true,
  "activationDate": "<string>",
  "submittedDate": "<string>"
}
'
"#;
        let (base, token) = (server.url(""), server.token());
        let refused = printed(&server, &schema.replace("https://api-dev.bsa.ai", &base).replace("<token>", token)).await;
        assert_eq!(refused["code"], "invalid_argument");
        let told: Value = serde_json::from_str(refused["message"].as_str().unwrap()).unwrap();
        let fields: Vec<&str> = told.as_array().unwrap().iter().map(|entry| entry["field"].as_str().unwrap()).collect();
        for field in ["officeId", "firstname", "middlename", "lastname", "emailAddress", "clientTypeId",
            "activationDate", "submittedDate"]
        {
            assert!(fields.contains(&field), "{field} in {told}");
        }
        assert_eq!(server.total().await, 42);
    }
}
