//! Sessions, their scopes and their end, the profile, and the ids of requests.

use std::time::Duration;

use custodia_domain::ports::Portfolio;
use serde_json::json;

use super::*;

const INSTITUTION: &str = r#"{"scopes":["api:institution"]}"#;

#[tokio::test]
async fn a_key_or_a_bearer_token_starts_a_session_and_nothing_else_does() {
    let kit = Kit::new().await;
    let grant = Grant { organization: organization(1), subject: "cli".to_owned(), scope: Scope::Write };
    let bearer = format!("Bearer {}", kit.signing.issue(&grant, now()));
    let key = kit.keys[0].expose();
    for credential in [("x-api-key", key), ("Authorization", &bearer), ("Authorization", &format!("bearer {key}"))] {
        let body = kit.ask("POST", START, &[credential, ("X-CDLX-Institution-Id", "bank")], INSTITUTION).await.ok();
        assert_eq!(body.as_object().unwrap().len(), 2);
        assert_eq!(body["sessionToken"].as_str().unwrap().split('.').count(), 3);
    }
    let session = format!("Bearer {}", kit.token);
    let wrong = [("x-api-key", "cst_x"), ("Authorization", "Bearer x"), ("Authorization", &session)];
    let both = [("x-api-key", "cst_x"), ("Authorization", bearer.as_str())];
    for credential in
        [&[("X-CDLX-Session-Token", kit.token.as_str())][..], &wrong[..1], &wrong[1..2], &wrong[2..], &both]
    {
        let reply = kit.ask("POST", START, credential, INSTITUTION).await;
        assert!(reply.refused(401, "SessionValidationException").is_empty());
        assert_eq!(reply.json()["title"], "Session expired or invalid");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
}

#[tokio::test]
async fn what_a_session_is_wanted_for_is_said_exactly() {
    let kit = Kit::new().await;
    let cases = [
        (json!({}), "scopes: required"),
        (json!({"scopes": []}), "scopes: must have 1 to 2 items"),
        (json!({"scopes": "api:institution"}), "scopes: must be an array"),
        (json!({"scopes": ["api:all"]}), "scopes[0]: must be api:institution or api:customer"),
        (json!({"scopes": ["api:customer"]}), "sourceCustomerId: required with the scope api:customer"),
        (
            json!({"scopes": ["api:institution"], "sourceCustomerId": "ada"}),
            "sourceCustomerId: must not be given without the scope api:customer",
        ),
        (json!({"scopes": ["api:institution"], "scope": 1}), "scope: unknown field"),
        (json!({"scopes": ["api:institution"], "organizationId": 1}), "organizationId: must be a string"),
    ];
    for (body, told) in cases {
        assert_eq!(kit.start(0, &body).await.problems(), [told], "{body}");
    }
    kit.start(0, &json!({"scopes": ["api:institution"], "organizationId": "50004", "sourceCustomerId": null}))
        .await
        .ok();
}

#[tokio::test]
async fn only_a_customer_that_takes_part_and_has_accounts_has_a_session() {
    let kit = Kit::new().await;
    let inactive = with(customer("eve"), "/enrollmentOptInStatus", json!("INACTIVE"));
    kit.create(&[customer("ada"), with(customer("bob"), "/accounts", json!([])), inactive]).await;
    kit.stranger("zoe").await;
    let start = async |id: &str| kit.start(0, &json!({"scopes": ["api:customer"], "sourceCustomerId": id})).await;
    start("ada").await.ok();
    for (id, title) in [
        ("bob", "User has no accounts"),
        ("eve", "User is not enrolled in the program and should not receive events"),
        ("zoe", "User is not enrolled in the program and should not receive events"),
    ] {
        let reply = start(id).await;
        assert!(reply.refused(400, "ValidationException").is_empty());
        assert_eq!(reply.json()["title"], title);
    }
    start("none").await.refused(404, "ResourceNotFoundException");
    let foreign = kit.start(2, &json!({"scopes": ["api:customer"], "sourceCustomerId": "ada"})).await;
    assert_eq!(foreign.json()["validationErrors"], start("none").await.json()["validationErrors"]);
    foreign.refused(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_session_does_what_its_scopes_say_for_one_hour() {
    let kit = Kit::new().await;
    kit.create(&[customer("ada")]).await;
    let body = batch(&[customer("ada")]).to_string();
    let of_ada = json!({"scopes": ["api:customer"], "sourceCustomerId": "ada"});
    let profile = kit.session(0, &of_ada).await;
    let both = kit.session(0, &with(of_ada, "/scopes", json!(["api:customer", "api:institution"]))).await;
    let read_only = kit.session(1, &json!({"scopes": ["api:institution"]})).await;
    let status = async |method: &str, path: &str, token: &str| {
        let sent = if method == "GET" { "" } else { &body };
        let reply = kit.ask(method, path, &[("X-CDLX-Session-Token", token)], sent).await;
        match reply.status {
            200 => drop(reply.ok()),
            401 => assert!(reply.refused(401, "SessionValidationException").is_empty()),
            _ => assert!(reply.refused(403, "AccessDeniedException").is_empty()),
        }
        reply.status
    };
    let cases = [(&kit.token, 200, 403), (&profile, 403, 200), (&both, 200, 200), (&read_only, 403, 403)];
    for (token, data, read) in cases {
        assert_eq!(status("POST", CUSTOMERS, token).await, data);
        assert_eq!(status("GET", PROFILE, token).await, read);
    }
    kit.clock.advance(Duration::from_secs(3_599));
    assert_eq!(status("POST", CUSTOMERS, &both).await, 200);
    kit.clock.advance(Duration::from_secs(1));
    for token in [both.as_str(), kit.keys[0].expose(), "x"] {
        assert_eq!(status("POST", CUSTOMERS, token).await, 401);
        assert_eq!(status("GET", PROFILE, token).await, 401);
    }
    let key = kit.ask("POST", CUSTOMERS, &[("x-api-key", kit.keys[0].expose())], &body).await;
    key.refused(401, "SessionValidationException");
}

#[tokio::test]
async fn a_profile_shows_the_portfolios_that_its_accounts_name() {
    let kit = Kit::new().await;
    for (id, name, unit) in [("rewards", "Super Bank Rewards", "Points"), ("other", "Other", "Miles")] {
        let id = ExternalId::parse(id).unwrap();
        let portfolio = Portfolio { id, name: name.into(), reward_unit: unit.into() };
        kit.store.add_portfolio(organization(1), &portfolio, now()).await.unwrap();
    }
    let ada =
        with(customer("ada"), "/accounts/1", with(account("second", "ada"), "/sourcePortfolioId", json!("a-list")));
    kit.create(&[ada]).await;
    assert_eq!(
        kit.profile("ada").await["portfolios"],
        json!([
            {"sourcePortfolioId": "a-list", "portfolioName": "a-list", "rewardCurrencyUnit": "Cash"},
            {"sourcePortfolioId": "rewards", "portfolioName": "Super Bank Rewards", "rewardCurrencyUnit": "Points"},
        ])
    );
}

#[tokio::test]
async fn every_answer_names_the_request() {
    let kit = Kit::new().await;
    let longest = "x".repeat(128);
    for own in ["380052b4-3a64-4952-b640-ba696eb9f44b", "!a~/\"", &longest] {
        let named = [("X-CDLX-Request-Id", own)];
        let body = batch(&[customer("ada")]).to_string();
        assert_eq!(kit.ask("POST", CUSTOMERS, &named, &body).await.ok()["requestId"], own);
        for (method, path) in [("PUT", CUSTOMERS), ("DELETE", CUSTOMERS), ("GET", PROFILE), ("GET", "/v2/none")] {
            let reply = kit.ask(method, path, &named, "").await;
            assert_ne!(reply.status, 200);
            assert_eq!(reply.json()["requestId"], own, "{method} {path}");
        }
    }
    let new = kit.ask("PUT", CUSTOMERS, &[], "").await.json()["requestId"].as_str().unwrap().to_owned();
    assert_eq!(new.len(), 36);
    let too_long = "x".repeat(129);
    for bad in ["a b", &too_long] {
        let body = batch(&[customer("ada")]).to_string();
        let reply = kit.ask("POST", CUSTOMERS, &[("X-CDLX-Request-Id", bad)], &body).await;
        assert_eq!(reply.problems(), ["X-CDLX-Request-Id: must be given once, as 1 to 128 visible ASCII characters"]);
        assert_eq!(reply.json()["requestId"].as_str().unwrap().len(), 36);
    }
    let wrong = kit.ask("DELETE", CUSTOMERS, &[], "").await;
    assert!(wrong.refused(405, "MethodNotAllowedException").is_empty());
    kit.ask("GET", "/v2/none", &[], "").await.refused(404, "ResourceNotFoundException");
}
