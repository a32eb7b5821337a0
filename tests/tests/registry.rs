//! One registry behind three dialects: what one writes, the others read and drive.

use custodia_tests::{Answer, Server, both};
use reqwest::Method;
use serde_json::{Value, json};

async fn crm(server: &Server, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = server.request(method, path).header("x-api-key", server.api_key());
    let request = body.into_iter().fold(request, |request, body| request.json(&body));
    Answer::to(request).await.expect("a running server answers")
}

async fn publish(server: &Server, body: Value) -> Answer {
    let session = server.publisher_session().await;
    let request = server.request(Method::POST, "/v2/data/customers").header("X-CDLX-Session-Token", session);
    Answer::to(request.json(&body)).await.expect("a running server answers")
}

fn enrolled(id: &str) -> Value {
    json!({"customers": [{
        "sourceCustomerId": id, "organizationId": "north", "postalCode": "10115", "country": "DE",
        "customerCreationDate": "2026-01-05T08:00:00Z", "enrollmentStartDate": "2026-01-05T08:00:00Z",
        "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET", "accounts": [],
    }]})
}

both! {
    async fn a_crm_customer_is_read_and_closed_through_lms(server: Server) {
        let body = json!({"name": "Alan Turing", "email": "alan@example.com", "source": "web", "whatsapp_number": "+255700000001"});
        let created = crm(&server, Method::POST, "/external/v1/customers", Some(body)).await.expect(201);
        let external = created.json["customer_id"].as_str().unwrap().to_owned();
        assert!(external.starts_with("CUS-") && external.len() == 16, "{external}");

        let path = format!("/v1/customers/external/{external}");
        let seen = server.get(&path).await.expect(200);
        assert_eq!(seen.json["id"], created.json["id"].to_string());
        assert_eq!(seen.json["displayName"], "Alan Turing");
        assert_eq!(seen.json["emailAddress"], "alan@example.com");
        assert_eq!(seen.json["mobileNo"], "+255700000001");
        assert_eq!(seen.json["status"], "Active");

        let today = seen.json["activationDate"].clone();
        let close = json!({"closureDate": today, "closureReasonId": 1});
        let _ = server.post(&format!("{path}/close"), close).await.expect(200);
        let after = crm(&server, Method::GET, &format!("/external/v1/customers/{external}"), None).await.expect(200);
        assert_eq!(after.json["is_active"], false);
    }

    async fn an_lms_customer_is_listed_by_crm_with_null_for_what_lms_does_not_have(server: Server) {
        let created = server.post("/v1/customers", json!({"externalId": "ext-ada-001"})).await.expect(200);
        let listed = crm(&server, Method::GET, "/external/v1/customers", None).await.expect(200);
        let item = &listed.json["data"][0];
        assert_eq!(item["id"].to_string(), created.json["id"].as_str().unwrap());
        assert_eq!(item["customer_id"], "ext-ada-001");
        assert_eq!(item["name"], created.json["displayName"]);
        assert!(item.as_object().unwrap().contains_key("email") && item["email"].is_null());
        let both_paths = crm(&server, Method::GET, "/external/v1/external/v1/customers", None).await.expect(200);
        assert_eq!(both_paths.json, listed.json);
    }

    async fn a_published_customer_is_named_after_its_id_until_another_dialect_names_it(server: Server) {
        let _ = publish(&server, enrolled("bank-1")).await.expect(200);
        let path = "/v1/customers/external/bank-1";
        let seen = server.get(path).await.expect(200);
        assert_eq!(seen.json["displayName"], "bank-1 Customer");
        assert_eq!(seen.json["activationDate"], "2026-01-05");
        let _ = server.put(path, json!({"fullname": "Grace Hopper"})).await.expect(200);
        let named = crm(&server, Method::GET, "/external/v1/customers/bank-1", None).await.expect(200);
        assert_eq!(named.json["name"], "Grace Hopper");
        let _ = publish(&server, enrolled("bank-1")).await.expect(200);
        assert_eq!(server.get(path).await.expect(200).json["displayName"], "Grace Hopper");
    }

    async fn an_external_id_is_taken_in_every_dialect(server: Server) {
        let _ = publish(&server, enrolled("shared-1")).await.expect(200);
        let refused = server.post("/v1/customers", json!({"externalId": "shared-1"})).await.expect(409);
        assert_eq!(refused.json["code"], "aborted");
    }

    async fn a_fault_is_told_in_the_shape_of_the_path_it_happened_on(server: Server) {
        let lms = Answer::to(server.request(Method::GET, "/v1/nothing")).await.unwrap().expect(404);
        assert_eq!(lms.json["code"], "not_found");
        let crm = Answer::to(server.request(Method::GET, "/external/v1/nothing")).await.unwrap().expect(404);
        assert_eq!(crm.json, json!({"detail": "Not Found"}));
        let publisher = Answer::to(server.request(Method::GET, "/v2/nothing")).await.unwrap().expect(404);
        assert_eq!(publisher.json["type"], "ResourceNotFoundException");
        for answer in [lms, crm, publisher] {
            assert!(answer.header("x-request-id").is_some());
        }
    }
}
