//! A customer's history, the customer as it was, and what can be done to it.

use serde_json::{Value, json};

use super::Kit;

const ADA: &str = "/v1/customers/external/ada";

/// Ada, Pending, then with a contact number, then Active, then Closed: four versions.
async fn lived() -> Kit {
    let kit = Kit::new().await;
    kit.pending().await;
    let because = [("Custodia-Reason", "asked%20by phone \u{21}"), ("Idempotency-Key", "k-1")];
    kit.ask("PUT", ADA, &because, r#"{"mobileNo":"1"}"#).await.ok();
    kit.post(&format!("{ADA}/activate"), r#"{"activationDate":"2026-05-21"}"#).await.ok();
    kit.post(&format!("{ADA}/close"), r#"{"closureDate":"2026-05-25","closureReasonId":4}"#).await.ok();
    kit
}

fn kinds(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_history_tells_every_change_newest_first() {
    let kit = lived().await;
    let page = kit.get(&format!("{ADA}/history")).await;
    assert_eq!(page.header("link"), None);
    let page = page.ok();
    assert_eq!(kinds(&page), ["customer.closed", "customer.activated", "customer.updated", "customer.created"]);
    assert_eq!((&page["rowsPerPage"], page.get("next")), (&json!(50), None));
    let update = &page["items"][2];
    assert_eq!(update["changed"], json!({"mobileNo": {"to": "1"}}));
    assert_eq!((&update["reason"], &update["idempotencyKey"]), (&json!("asked by phone !"), &json!("k-1")));
    assert_eq!((&update["version"], &update["actor"]), (&json!(2), &json!("write")));
    assert_eq!((&update["customerId"], &update["externalId"]), (&json!("1"), &json!("ada")));
    assert_eq!(kit.get("/v1/customers/1/history").await.ok(), page);
}

#[tokio::test]
async fn a_history_is_walked_by_cursor() {
    let kit = lived().await;
    let mut seen = Vec::new();
    let mut path = format!("{ADA}/history?rows=2");
    for round in 0..2 {
        let reply = kit.get(&path).await;
        let page = reply.ok();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["version"].as_i64().unwrap()));
        let next = page.get("next").map(|next| next.as_str().unwrap().to_owned());
        assert_eq!(next.is_some(), round == 0);
        let link = reply.header("link").map(str::to_owned);
        assert_eq!(link.is_some(), round == 0);
        if let Some(link) = link {
            path = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
            assert_eq!(path, format!("{ADA}/history?rows=2&after={}", next.unwrap()));
        }
    }
    assert_eq!(seen, [4, 3, 2, 1]);
}

#[tokio::test]
async fn the_parameters_of_a_history_are_checked() {
    let kit = lived().await;
    kit.partner("eve").await;
    kit.put("/v1/customers/external/eve", r#"{"mobileNo":"1"}"#).await.ok();
    let next = kit.get("/v1/customers/2/history?rows=1").await.ok()["next"].as_str().unwrap().to_owned();
    assert_eq!(kit.get(&format!("{ADA}/history?after={next}")).await.fields(), ["after"], "another customer's");
    for (query, fields) in [
        ("rows=0", vec!["page"]),
        ("rows=101", vec!["page"]),
        ("after=x&page=2", vec!["after", "page"]),
        ("limit=1", vec!["limit"]),
    ] {
        assert_eq!(kit.get(&format!("{ADA}/history?{query}")).await.fields(), fields, "{query}");
    }
    for absent in ["/v1/customers/99/history", "/v1/customers/external/nobody/history"] {
        assert_eq!(kit.get(absent).await.code(404), "not_found");
    }
    let foreign = kit.ask("GET", "/v1/customers/1/history", &[("Authorization", "Bearer foreign")], "").await;
    assert_eq!(foreign.code(404), "not_found");
}

#[tokio::test]
async fn a_deleted_customers_history_stays_under_its_number_and_tells_nothing_of_it() {
    let kit = Kit::new().await;
    kit.pending().await;
    kit.put(ADA, r#"{"mobileNo":"+255700000000"}"#).await.ok();
    let deleted = kit.ask("DELETE", ADA, &[("Custodia-Reason", "the law")], "").await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    let page = kit.get("/v1/customers/1/history").await;
    assert_eq!(kinds(&page.ok()), ["customer.deleted", "customer.updated", "customer.created"]);
    assert!(page.ok()["items"].as_array().unwrap().iter().all(|item| item["changed"] == json!({})));
    for personal in ["Lovelace", "+255700000000"] {
        assert!(!page.text.contains(personal));
    }
    assert_eq!(page.ok()["items"][0]["reason"], "the law");
    assert_eq!(kit.get(&format!("{ADA}/history")).await.code(404), "not_found");
    for as_of in ["1", "2", "3", "2026-05-25T09:30:00Z"] {
        assert_eq!(kit.get(&format!("/v1/customers/1?asOf={as_of}")).await.code(404), "not_found");
    }
}

#[tokio::test]
async fn a_customer_is_shown_as_it_was_at_a_version_and_at_an_instant() {
    let kit = Kit::new().await;
    let first = kit.pending().await;
    let second = kit.put(ADA, r#"{"mobileNo":"1"}"#).await.ok();
    let third = kit.put(ADA, r#"{"externalId":"ada-2","firstname":"A"}"#).await.ok();
    let now = "/v1/customers/external/ada-2";
    for (version, was) in [("1", &first), ("02", &second), ("3", &third)] {
        let reply = kit.get(&format!("{now}?asOf={version}")).await;
        assert_eq!(&reply.ok(), was);
        let tag = format!("\"{}\"", was["version"]);
        assert_eq!(reply.header("etag"), Some(tag.as_str()));
        let known = kit.ask("GET", &format!("{now}?asOf={version}"), &[("If-None-Match", &tag)], "").await;
        assert_eq!(known.status, 304);
    }
    for (at, was) in [
        ("2026-05-25T09:30:00Z", Some(&third)),
        ("2026-05-25T09%3A29%3A59.999999Z", None),
        ("9999-01-01T00:00:00Z", Some(&third)),
    ] {
        let reply = kit.get(&format!("/v1/customers/1?asOf={at}")).await;
        match was {
            Some(was) => assert_eq!(&reply.ok(), was),
            None => assert_eq!(reply.code(404), "not_found"),
        }
    }
    for version in ["4", "9223372036854775808"] {
        assert_eq!(kit.get(&format!("{now}?asOf={version}")).await.code(404), "not_found");
    }
    for bad in ["", "0", "-1", "x", "2026-05-25", "2026-02-30T00:00:00Z", "2026-05-25T09:30:00"] {
        assert_eq!(kit.get(&format!("{now}?asOf={bad}")).await.fields(), ["asOf"], "{bad}");
    }
}

#[tokio::test]
async fn a_history_longer_than_a_page_of_the_store_is_replayed_whole() {
    let kit = Kit::new().await;
    kit.partner("ada").await;
    for number in 2..=1_003 {
        kit.put(ADA, &format!("{{\"mobileNo\":\"{number}\"}}")).await.ok();
    }
    for version in [1, 2, 500, 501, 502, 1_000, 1_003] {
        let was = kit.get(&format!("{ADA}?asOf={version}")).await.ok();
        assert_eq!(was["version"], version);
        assert_eq!(was.get("mobileNo"), (version > 1).then(|| json!(version.to_string())).as_ref());
    }
}

#[tokio::test]
async fn what_can_be_done_and_what_blocks_the_rest_is_told_at_once() {
    let kit = Kit::new().await;
    kit.pending().await;
    let allowed = async |path: &str| {
        let reply = kit.get(&format!("{path}?include=allowedTransitions")).await;
        assert!(reply.header("etag").is_some());
        let shown = reply.ok();
        let mut plain = shown.clone();
        let all = plain.as_object_mut().unwrap().remove("allowedTransitions").unwrap();
        assert_eq!(plain, kit.get(path).await.ok());
        all.as_array().unwrap().clone()
    };
    let told = |all: &[Value]| {
        let one = |it: &Value| (it["command"].as_str().unwrap().to_owned(), it["allowed"].as_bool().unwrap());
        all.iter()
            .filter(|it| it["allowed"] == json!(it["blockers"].as_array().unwrap().is_empty()))
            .map(one)
            .collect::<Vec<_>>()
    };
    let named = |allowed: [bool; 5]| {
        ["activate", "close", "update", "delete", "openLoan"]
            .map(str::to_owned)
            .into_iter()
            .zip(allowed)
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&allowed(ADA).await), named([true, false, true, true, false]));
    kit.post(&format!("{ADA}/activate"), r#"{"activationDate":"2026-05-21"}"#).await.ok();
    assert_eq!(told(&allowed(ADA).await), named([false, true, true, false, true]));
    for loan in ["l-1", "l-2"] {
        let body = r#"{"customerId":1,"status":"Active","principal":1,"currencyCode":"TZS"}"#;
        kit.put(&format!("/v1/loans/external/{loan}"), body).await.ok();
    }
    let with_loans = allowed(ADA).await;
    assert_eq!(told(&with_loans), named([false, false, true, false, true]));
    let close = json!([{"code": "openLoans", "message": "the customer has 2 open loans", "count": 2}]);
    assert_eq!(with_loans[1]["blockers"], close);
    let delete = json!([{"code": "state", "message": "the customer is Active"},
        {"code": "loans", "message": "the customer has 2 loans", "count": 2}]);
    assert_eq!(with_loans[3]["blockers"], delete);
}

#[tokio::test]
async fn what_is_included_is_checked() {
    let kit = lived().await;
    for (query, fields) in [
        ("include=x", vec!["include"]),
        ("include=", vec!["include"]),
        ("include=allowedTransitions&asOf=1", vec!["include"]),
        ("include=x&y=1", vec!["include", "y"]),
        ("asOf=x&y=1", vec!["asOf", "y"]),
    ] {
        assert_eq!(kit.get(&format!("{ADA}?{query}")).await.fields(), fields, "{query}");
    }
    // Loans come and go without a version of their customer.
    let known = [("If-None-Match", "*")];
    assert_eq!(kit.ask("GET", &format!("{ADA}?include=allowedTransitions"), &known, "").await.status, 200);
}

#[tokio::test]
async fn a_reason_is_refused_where_it_cannot_be_read() {
    let kit = lived().await;
    for bad in ["%", "%0A", &"x".repeat(201)] {
        let reply = kit.ask("PUT", ADA, &[("Custodia-Reason", bad)], r#"{"mobileNo":"2"}"#).await;
        assert_eq!(reply.fields(), ["Custodia-Reason"]);
    }
    assert_eq!(kit.ask("GET", ADA, &[("Custodia-Reason", "%")], "").await.status, 200, "it changes nothing");
}
