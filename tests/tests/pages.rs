//! Pages end at a settable depth, since a database reads and drops whatever lies before a page; walks by cursor do not end.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use custodia_tests::{Answer, Backend, Options, Server, both};
use reqwest::Method;
use serde_json::{Value, json};

/// A server with pages that have at most 20 rows before them, and 25 customers, of which the last 5 were never active.
async fn shallow(backend: Backend) -> Server {
    let server = Server::start(backend, Options::default().setting("CUSTODIA_DEEPEST_PAGE", "20")).await;
    for number in 0..20 {
        let _ = server.post("/v1/customers", json!({"externalId": format!("c{number:02}")})).await.expect(200);
    }
    for number in 20..25 {
        let pending = json!({"officeId": 1, "fullname": format!("Pending {number}"), "active": false,
            "externalId": format!("c{number:02}")});
        let _ = server.post("/v1/customers", pending).await.expect(200);
    }
    server
}

async fn crm(server: &Server, query: &str) -> Answer {
    let path = format!("/external/v1/customers?{query}");
    Answer::to(server.request(Method::GET, &path).header("x-api-key", server.api_key())).await.unwrap()
}

fn names(answer: &Answer, member: &str, name: &str) -> Vec<String> {
    let rows = answer.json[member].as_array().unwrap().iter();
    rows.map(|row| row[name].as_str().unwrap().to_owned()).collect()
}

both! {
    async fn a_page_at_the_deepest_place_is_shown_and_one_past_it_is_refused(backend: Backend) {
        let server = shallow(backend).await;
        let last = server.get("/v1/customers?rows=5&page=5").await.expect(200);
        assert_eq!(names(&last, "items", "externalId"), ["c20", "c21", "c22", "c23", "c24"]);
        let deeper = server.get("/v1/customers?rows=3&page=8").await.expect(400);
        let told = "[{\"field\":\"page\",\"error\":\"page value too large, at most 20 rows may lie before it: use after\"}]";
        assert_eq!(deeper.json["message"], told);
        let last = crm(&server, "page_size=5&page=5&sort_by=id&sort_order=asc").await.expect(200);
        assert_eq!(names(&last, "data", "customer_id"), ["c20", "c21", "c22", "c23", "c24"]);
        let deeper = crm(&server, "page_size=3&page=8").await.expect(422);
        assert_eq!(deeper.json["detail"][0]["loc"], json!(["query", "page"]));
        assert_eq!(deeper.json["detail"][0]["ctx"], json!({"le": 7}));
    }

    async fn a_page_past_the_end_is_empty_however_deep(backend: Backend) {
        let server = shallow(backend).await;
        for page in ["6", "1000", "9223372036854775807"] {
            let past = server.get(&format!("/v1/customers?rows=5&page={page}")).await.expect(200);
            assert_eq!((&past.json["items"], &past.json["total"]), (&json!([]), &json!(25)), "{page}");
            let past = crm(&server, &format!("page_size=5&page={page}")).await.expect(200);
            assert_eq!((&past.json["data"], &past.json["total"]), (&json!([]), &json!(25)), "{page}");
        }
        let filtered = server.get("/v1/customers?status=Pending&rows=5&page=6").await.expect(200);
        assert_eq!((&filtered.json["items"], &filtered.json["total"]), (&json!([]), &json!(5)));
    }

    async fn a_deep_page_shows_what_a_walk_shows_there_in_every_order(backend: Backend) {
        let server = shallow(backend).await;
        for order in ["id", "displayName", "submittedDate", "activationDate"] {
            for direction in ["ASC", "DESC"] {
                let query = format!("rows=4&orderBy={order}&sortOrder={direction}");
                let (mut walked, mut after) = (Vec::new(), String::new());
                loop {
                    let step = server.get(&format!("/v1/customers?{query}&after={after}")).await.expect(200);
                    walked.extend(names(&step, "items", "externalId"));
                    let Some(next) = step.json.get("next").and_then(Value::as_str) else { break };
                    next.clone_into(&mut after);
                }
                let mut paged = Vec::new();
                for page in 1..=6 {
                    let page = server.get(&format!("/v1/customers?{query}&page={page}")).await.expect(200);
                    paged.extend(names(&page, "items", "externalId"));
                }
                assert_eq!((walked.len(), &walked[..24]), (25, &paged[..]), "{query}");
            }
        }
    }
}
