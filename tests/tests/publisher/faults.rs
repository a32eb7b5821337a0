//! Every row of the table of errors, provoked over the wire.

use custodia_tests::outage::{self, Outage};
use custodia_tests::{Answer, Options, Server, both};
use reqwest::Method;
use serde_json::json;

use crate::{CUSTOMERS, Institution, PROFILE, batch, customer, problems, profile, refused, start, with};

both! {
    async fn every_error_has_its_type_and_title(server: Server) {
        let institution = Institution::of(&server).await;
        let _ = institution.post(&batch(&[customer("ada")])).await.expect(200);
        for body in ["", "[]", "{", "\"x\"", "{} {}", "{\"customers\":[],\"customers\":[]}", "{\"a\":\"\\u0000\"}"] {
            let answer = institution.send(Method::POST, CUSTOMERS, body).await;
            let problems = refused(&answer, 400, "HttpMessageNotReadable", "Request could not be parsed");
            assert!(problems.len() == 1, "{body}: {problems:?}");
        }
        assert_eq!(problems(&institution.post(&json!({"customers": 1})).await), ["customers: must be an array"]);
        let nobody = Institution { server: &server, session: "nothing".to_owned() };
        let answer = nobody.post(&batch(&[customer("bob")])).await;
        refused(&answer, 401, "SessionValidationException", "Session expired or invalid");
        let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": "ada"});
        let session = start(&server, &wanted).await.expect(200).json["sessionToken"].as_str().unwrap().to_owned();
        let answer = Institution { server: &server, session }.post(&batch(&[customer("bob")])).await;
        refused(&answer, 403, "AccessDeniedException", "Access denied");
        let answer = institution.put(CUSTOMERS, &batch(&[customer("eve")])).await;
        refused(&answer, 404, "ResourceNotFoundException", "Resource not found");
        let answer = institution.send(Method::GET, "/v2/data/nothing", "").await;
        refused(&answer, 404, "ResourceNotFoundException", "Resource not found");
        let answer = institution.send(Method::DELETE, CUSTOMERS, "").await;
        refused(&answer, 405, "MethodNotAllowedException", "Method not allowed");
        assert!(answer.header("allow").unwrap().contains("PUT"));
        let changed = with(customer("ada"), "/postalCode", json!("1"));
        refused(&institution.post(&batch(&[changed])).await, 409, "ConflictException", "Conflict");
        let large = json!({"customers": "x".repeat(4 << 20)});
        refused(&institution.post(&large).await, 413, "PayloadTooLargeException", "Payload too large");
        let request = server.request(Method::POST, CUSTOMERS).header("X-CDLX-Session-Token", &institution.session);
        let answer = Answer::to(request.header("content-type", "text/plain").body("{}")).await.unwrap();
        refused(&answer, 415, "UnsupportedMediaTypeException", "Unsupported media type");
    }

    async fn a_body_of_4_mebibytes_is_read_and_one_byte_more_is_not(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada")]).await;
        let account = "/v2/data/customers/ada/accounts/ada-account/cards";
        for (method, path, array) in [
            (Method::POST, CUSTOMERS, "customers"), (Method::PUT, CUSTOMERS, "customers"),
            (Method::PUT, "/v2/data/accounts", "accounts"), (Method::PUT, "/v2/data/customers/ada/accounts", "accounts"),
            (Method::PUT, account, "cards"),
        ] {
            let body = |length: usize| {
                let body = format!("{{\"{array}\":[]}}");
                format!("{body}{}", " ".repeat(length - body.len()))
            };
            let read = institution.send(method.clone(), path, &body(4 << 20)).await;
            assert_eq!(problems(&read).len(), 1, "{method} {path}: {}", read.text);
            let larger = institution.send(method, path, &body((4 << 20) + 1)).await;
            refused(&larger, 413, "PayloadTooLargeException", "Payload too large");
        }
    }

    async fn too_many_requests_are_told_when_to_come_again(backend: Backend) {
        let server = Server::start(backend, Options::default().setting("CUSTODIA_RATE_LIMIT", "2")).await;
        let wanted = json!({"scopes": ["api:institution"]});
        let _ = start(&server, &wanted).await.expect(200);
        let _ = start(&server, &wanted).await.expect(200);
        let mut answer = start(&server, &wanted).await;
        // A new minute may have begun in between.
        for _ in 0..3 {
            if answer.status == 200 {
                answer = start(&server, &wanted).await;
            }
        }
        refused(&answer, 429, "ThrottlingException", "Too many requests");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }

    async fn a_database_that_is_away_is_503_and_the_batch_can_be_sent_again(server: Server) {
        let institution = Institution::of(&server).await;
        let outage = Outage::begin(&server).await;
        let answer = institution.post(&batch(&[customer("ada")])).await;
        refused(&answer, 503, "ServiceUnavailableException", "Service unavailable");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
        outage.end().await;
        server.wait_ready(true, std::time::Duration::from_mins(1)).await;
        institution.create(&[customer("ada")]).await;
        assert_eq!(server.total().await, 1);
    }

    async fn a_fault_of_ours_is_500_and_tells_nothing_of_it(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada")]).await;
        let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": "ada"});
        let session = start(&server, &wanted).await.expect(200).json["sessionToken"].as_str().unwrap().to_owned();
        let own = Institution { server: &server, session };
        outage::run(&server, "alter table customers rename to customers_away").await;
        for answer in [
            institution.post(&batch(&[customer("bob")])).await,
            institution.put(CUSTOMERS, &batch(&[customer("ada")])).await,
            own.send(Method::GET, PROFILE, "").await,
            start(&server, &wanted).await,
        ] {
            assert!(refused(&answer, 500, "InternalServerError", "Internal Server Error").is_empty(), "{}", answer.text);
        }
        outage::run(&server, "alter table customers_away rename to customers").await;
        assert_eq!(profile(&server, "ada").await["sourceCustomerId"], "ada");
        let _ = server.get("/v1/customers/external/bob").await.expect(404);
    }

    async fn of_two_faults_the_earlier_one_is_told(server: Server) {
        let institution = Institution::of(&server).await;
        institution.create(&[customer("ada")]).await;
        let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": "ada"});
        let own = start(&server, &wanted).await.expect(200).json["sessionToken"].as_str().unwrap().to_owned();
        let whole = |all: &[serde_json::Value]| batch(all).to_string();
        let changed = with(customer("ada"), "/postalCode", json!("1"));
        let mistyped = with(customer("eve"), "/country", json!("UK"));
        let (plain, typed) = ("text/plain", "application/json");
        for (method, session, media_type, body, status) in [
            (Method::PATCH, "", plain, "{".to_owned(), 405),
            (Method::POST, "nothing", plain, "{".to_owned(), 401),
            (Method::POST, &own, plain, "{".to_owned(), 403),
            (Method::POST, &institution.session, plain, "{".to_owned(), 415),
            (Method::POST, &institution.session, typed, whole(&[changed.clone(), mistyped.clone()]), 400),
            (Method::PUT, &institution.session, typed, whole(&[customer("eve"), mistyped]), 400),
            (Method::PUT, &institution.session, typed, whole(&[changed.clone(), customer("eve")]), 404),
            (Method::POST, &institution.session, typed, whole(&[changed, customer("eve")]), 409),
        ] {
            let request = server.request(method.clone(), CUSTOMERS).header("X-CDLX-Session-Token", session);
            let answer = Answer::to(request.header("content-type", media_type).body(body)).await.unwrap();
            assert_eq!(answer.status, status, "{method}: {}", answer.text);
        }
        assert_eq!(profile(&server, "ada").await["postalCode"], "78753");
    }

    async fn a_key_is_answered_once_and_refused_for_another_request(server: Server) {
        let institution = Institution::of(&server).await;
        let send = async |id: &str| {
            let request = server.request(Method::POST, CUSTOMERS).header("X-CDLX-Session-Token", &institution.session);
            Answer::to(request.header("Idempotency-Key", "key-1").json(&batch(&[customer(id)]))).await.unwrap()
        };
        let first = send("ada").await.expect(200);
        let again = send("ada").await.expect(200);
        assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, Some("true")));
        assert_eq!(problems(&send("bob").await), ["Idempotency-Key: was used for another request"]);
        assert_eq!(server.total().await, 1);
    }
}
