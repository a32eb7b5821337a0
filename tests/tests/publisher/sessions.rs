//! Sessions, the profile that they open, and the request id that every answer bears.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use custodia_tests::{Answer, both};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    CUSTOMERS, Institution, PROFILE, START, account, batch, customer, paths, problems, profile, refused, start, with,
};

both! {
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

    async fn a_listed_portfolio_is_shown_by_its_name(server: Server) {
        let organization = server.credentials().organization.as_str();
        let _ = server.cli(&["portfolio", "add", "--organization", organization, "rewards", "Gold Rewards", "Points"], "");
        let _ = Institution::of(&server).await.post(&batch(&[customer("ada")])).await.expect(200);
        let listed = json!([{"sourcePortfolioId": "rewards", "portfolioName": "Gold Rewards", "rewardCurrencyUnit": "Points"}]);
        assert_eq!(profile(&server, "ada").await["portfolios"], listed);
    }

    async fn a_session_lives_for_an_hour_and_may_have_both_scopes(server: Server) {
        Institution::of(&server).await.create(&[customer("ada")]).await;
        let wanted = json!({"scopes": ["api:institution", "api:customer"], "sourceCustomerId": "ada"});
        let answer = start(&server, &wanted).await.expect(200);
        let session = answer.json["sessionToken"].as_str().unwrap().to_owned();
        let claims = URL_SAFE_NO_PAD.decode(session.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
        let both = Institution { server: &server, session };
        both.create(&[customer("bob")]).await;
        let read = both.send(Method::GET, PROFILE, "").await.expect(200).json;
        assert_eq!(read["sourceCustomerId"], "ada");
        for (body, path) in [
            (json!({"scopes": "api:institution"}), "scopes"),
            (json!({"scopes": [7]}), "scopes[0]"),
            (json!({"scopes": ["api:institution"], "sourceCustomerId": "ada"}), "sourceCustomerId"),
            (json!({"scopes": ["api:customer"], "sourceCustomerId": ""}), "sourceCustomerId"),
            (json!({"scopes": ["api:institution"], "organizationId": "x".repeat(121)}), "organizationId"),
            (json!({"scopes": ["api:institution"], "organizationId": 7}), "organizationId"),
        ] {
            assert_eq!(paths(&start(&server, &body).await), [path], "{body}");
        }
        let _ = start(&server, &json!({"scopes": ["api:institution"], "organizationId": "x".repeat(120)})).await.expect(200);
    }

    async fn each_scope_opens_its_own_paths_alone(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada")]).await;
        refused(&institution.send(Method::GET, PROFILE, "").await, 403, "AccessDeniedException", "Access denied");
        let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": "ada"});
        let session = start(&server, &wanted).await.expect(200).json["sessionToken"].as_str().unwrap().to_owned();
        let own = Institution { server: &server, session };
        for (method, path) in [
            (Method::POST, CUSTOMERS), (Method::PUT, CUSTOMERS), (Method::PUT, "/v2/data/accounts"),
            (Method::PUT, "/v2/data/customers/ada/accounts"),
            (Method::PUT, "/v2/data/customers/ada/accounts/ada-account/cards"),
        ] {
            let answer = own.send(method, path, &batch(&[customer("bob")]).to_string()).await;
            refused(&answer, 403, "AccessDeniedException", "Access denied");
        }
        for headers in [
            vec![], vec![("x-api-key", server.api_key())], vec![("authorization", server.token())],
            vec![("X-CDLX-Session-Token", server.api_key())], vec![("X-CDLX-Session-Token", server.token())],
        ] {
            let request = headers.into_iter().fold(server.request(Method::GET, PROFILE), |request, (name, value)| {
                request.header(name, value)
            });
            let answer = Answer::to(request).await.unwrap();
            refused(&answer, 401, "SessionValidationException", "Session expired or invalid");
        }
        let answer = Answer::to(server.request(Method::POST, START).json(&json!({"scopes": ["api:institution"]}))).await.unwrap();
        refused(&answer, 401, "SessionValidationException", "Session expired or invalid");
    }

    async fn the_profile_shows_the_customer_with_the_portfolios_of_its_accounts(server: Server) {
        let organization = server.credentials().organization.as_str();
        for (id, name, unit) in [("b-gold", "Gold", "Points"), ("unused", "Unused", "Miles")] {
            let _ = server.cli(&["portfolio", "add", "--organization", organization, id, name, unit], "");
        }
        let gold = with(account("one", "ada"), "/sourcePortfolioId", json!("b-gold"));
        let plain = with(account("two", "ada"), "/sourcePortfolioId", json!("a-plain"));
        let again = with(account("three", "ada"), "/sourcePortfolioId", json!("b-gold"));
        let ada = with(customer("ada"), "/accounts", json!([gold, plain, again]));
        Institution::of(&server).await.create(&[ada, customer("bob")]).await;
        let read = profile(&server, "ada").await;
        assert_eq!(read["portfolios"], json!([
            {"sourcePortfolioId": "a-plain", "portfolioName": "a-plain", "rewardCurrencyUnit": "Cash"},
            {"sourcePortfolioId": "b-gold", "portfolioName": "Gold", "rewardCurrencyUnit": "Points"},
        ]));
        let accounts: BTreeSet<&str> =
            read["accounts"].as_array().unwrap().iter().map(|one| one["sourceAccountId"].as_str().unwrap()).collect();
        assert_eq!(accounts, BTreeSet::from(["one", "two", "three"]), "nobody else's");
        assert_eq!(read["requestId"].as_str().unwrap().len(), 36);
    }

    async fn refusals_bear_the_request_id_too(server: Server) {
        let institution = Institution::of(&server).await;
        for (method, path, session, status) in [
            (Method::POST, CUSTOMERS, institution.session.as_str(), 400), (Method::POST, CUSTOMERS, "nothing", 401),
            (Method::GET, PROFILE, &institution.session, 403), (Method::GET, "/v2/nothing", "", 404),
            (Method::DELETE, CUSTOMERS, &institution.session, 405),
        ] {
            let request = server.request(method, path).header("X-CDLX-Session-Token", session);
            let request = request.header("X-CDLX-Request-Id", "mine/1").json(&json!({}));
            let answer = Answer::to(request).await.unwrap().expect(status);
            assert_eq!(answer.json["requestId"], "mine/1", "{status}");
            let request = server.request(Method::DELETE, path);
            let fresh = Answer::to(request).await.unwrap().json["requestId"].as_str().unwrap().to_owned();
            assert_eq!(fresh.len(), 36, "a UUID");
        }
    }
}
