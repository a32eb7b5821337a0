//! The refusals that are one text: who asks, for what, how often, and of a service that cannot answer.

use custodia_tests::outage::{self, Outage};
use custodia_tests::{Answer, Options, Server, both};
use reqwest::Method;
use serde_json::json;

use crate::{COMPANY, CUSTOMERS, PREFIXES, create, detail, get, path_of, person, post, told};

both! {
    async fn without_a_key_every_path_asks_for_one(server: Server) {
        let path = path_of(&create(&server, person("Alice")).await).replace("/external/v1", "");
        for prefix in PREFIXES {
            for (method, path) in [
                (Method::POST, "/customers"), (Method::POST, "/customers/bulk"), (Method::GET, "/customers"),
                (Method::GET, &path), (Method::PATCH, &path), (Method::DELETE, &path),
                (Method::POST, "/customer/company/create"), (Method::POST, "/customer/company/bulk-create"),
                (Method::GET, "/customer/company"), (Method::GET, "/customer/company/CMP-00000000"),
            ] {
                for key in [None, Some(""), Some("nothing"), Some(server.token())] {
                    let request = server.request(method.clone(), &format!("{prefix}{path}"));
                    let request = key.into_iter().fold(request, |request, key| request.header("x-api-key", key));
                    let answer = Answer::to(request).await.unwrap();
                    assert_eq!(detail(&answer, 401), "Unauthorized - API Key required.", "{method} {path}");
                }
            }
        }
    }

    async fn single_faults_have_one_text_each(server: Server) {
        for prefix in PREFIXES {
            for path in ["/nothing", "/customers/1/2", "/customer", ""] {
                assert_eq!(detail(&get(&server, &format!("{prefix}{path}")).await, 404), "Not Found", "{path}");
            }
            for (method, path, allowed) in [
                (Method::DELETE, "/customers", &["GET", "POST"][..]), (Method::PUT, "/customers/1", &["GET", "PATCH", "DELETE"]),
                (Method::DELETE, "/customer/company/create", &["POST"]), (Method::PUT, "/customer/company", &["GET"]),
            ] {
                let request = server.request(method, &format!("{prefix}{path}"));
                let answer = Answer::to(request.header("x-api-key", server.api_key())).await.unwrap();
                assert_eq!(detail(&answer, 405), "Method Not Allowed");
                let allow = answer.header("allow").unwrap();
                assert!(allowed.iter().all(|method| allow.contains(method)), "{allow}");
            }
            for media_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
                let request = server.request(Method::POST, &format!("{prefix}/customers")).header("x-api-key", server.api_key());
                let request = if media_type.is_empty() { request } else { request.header("content-type", media_type) };
                let answer = Answer::to(request.body("{}")).await.unwrap();
                assert_eq!(detail(&answer, 415), "must be application/json, in UTF-8 and not compressed");
            }
        }
        let read_only = server.cli(&["api-key", "create", "--organization", &server.credentials().organization, "--name",
            "looks", "--scope", "read"], "");
        let request = server.request(Method::POST, CUSTOMERS).header("x-api-key", &read_only).json(&person("Alice"));
        detail(&Answer::to(request).await.unwrap(), 403);
        let request = server.request(Method::GET, CUSTOMERS).header("x-api-key", &read_only);
        let _ = Answer::to(request).await.unwrap().expect(200);
    }

    async fn too_many_requests_are_told_when_to_come_again(backend: Backend) {
        let server = Server::start(backend, Options::default().setting("CUSTODIA_RATE_LIMIT", "2")).await;
        let mut answer = get(&server, CUSTOMERS).await.expect(200);
        // A new minute may begin in between.
        for _ in 0..6 {
            if answer.status == 200 {
                answer = get(&server, CUSTOMERS).await;
            }
        }
        assert_eq!(detail(&answer, 429), "Too Many Requests");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }

    async fn a_database_that_is_away_is_503_and_back_again(server: Server) {
        let _ = create(&server, person("Alice")).await;
        let outage = Outage::begin(&server).await;
        for (path, body) in [
            (CUSTOMERS.to_owned(), person("Bob")),
            (format!("{COMPANY}/create"), json!({"company_name": "Acme", "company_status": "active"})),
        ] {
            let answer = post(&server, &path, body).await;
            assert_eq!(detail(&answer, 503), "The service is not available, try again.");
            assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
        }
        outage.end().await;
        server.wait_ready(true, std::time::Duration::from_mins(1)).await;
        let _ = create(&server, person("Bob")).await;
        assert_eq!(get(&server, CUSTOMERS).await.expect(200).json["total"], 2, "what was refused was not written");
    }

    async fn a_fault_of_ours_tells_the_request_id_and_nothing_else(server: Server) {
        let path = path_of(&create(&server, person("Alice")).await);
        outage::run(&server, "alter table customers rename to customers_away").await;
        for (method, path) in [(Method::GET, path.as_str()), (Method::GET, CUSTOMERS), (Method::POST, CUSTOMERS)] {
            let request = server.request(method.clone(), path).header("x-api-key", server.api_key());
            let request = request.header("x-request-id", "one-of-ours");
            let request = if method == Method::POST { request.json(&person("Bob")) } else { request };
            let answer = Answer::to(request).await.unwrap();
            assert_eq!(detail(&answer, 500), "Internal Server Error (request id one-of-ours)", "{method} {path}");
            assert_eq!(answer.header("x-request-id"), Some("one-of-ours"));
        }
        outage::run(&server, "alter table customers_away rename to customers").await;
        let _ = get(&server, &path).await.expect(200);
    }

    async fn of_two_faults_the_earlier_one_is_told(server: Server) {
        let active = create(&server, person("Alice")).await;
        let (path, key) = (path_of(&active), server.api_key());
        let read_only = server.cli(&["api-key", "create", "--organization", &server.credentials().organization, "--name",
            "looks", "--scope", "read"], "");
        let json = ("content-type", "application/json");
        for (method, path, headers, body, status) in [
            (Method::PUT, path.as_str(), vec![], "", 405),
            (Method::PATCH, &path, vec![("content-type", "text/plain")], "{", 401),
            (Method::PATCH, &path, vec![("x-api-key", read_only.as_str()), ("content-type", "text/plain")], "{", 403),
            (Method::PATCH, &path, vec![("x-api-key", key), ("content-type", "text/plain")], "{", 415),
            (Method::PATCH, "/external/v1/customers/999", vec![("x-api-key", key), json], "{\"city\":7}", 422),
            (Method::PATCH, "/external/v1/customers/999", vec![("x-api-key", key), json, ("if-match", "\"7\"")], "{}", 404),
            (Method::PATCH, &path, vec![("x-api-key", key), json, ("if-match", "\"7\"")], "{\"is_active\":false}", 412),
            (Method::PATCH, &path, vec![("x-api-key", key), json, ("if-match", "\"1\"")], "{\"is_active\":false}", 409),
            (Method::DELETE, &path, vec![("x-api-key", key), ("if-match", "\"7\"")], "", 412),
            (Method::DELETE, &path, vec![("x-api-key", key), ("if-match", "*")], "", 409),
        ] {
            let request = server.request(method.clone(), path).body(body.to_owned());
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let answer = Answer::to(request).await.unwrap();
            assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.text);
            if status == 412 {
                assert_eq!(answer.header("etag"), Some("\"1\""));
            }
        }
        assert_eq!(get(&server, &path).await.expect(200).json, active);
    }

    async fn a_key_is_answered_once_and_refused_for_another_request(server: Server) {
        let send = async |path: &str, name: &str| {
            let request = server.request(Method::POST, path).header("x-api-key", server.api_key());
            Answer::to(request.header("Idempotency-Key", "key-1").json(&person(name))).await.unwrap()
        };
        let first = send(CUSTOMERS, "Alice").await.expect(201);
        let again = send("/external/v1/external/v1/customers", "Alice").await.expect(201);
        assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, Some("true")));
        let other = send(CUSTOMERS, "Bob").await;
        assert_eq!(told(&other), ["value_error header/Idempotency-Key"]);
        assert_eq!(get(&server, CUSTOMERS).await.expect(200).json["total"], 1);
    }
}
