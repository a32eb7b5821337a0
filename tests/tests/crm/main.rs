//! The crm dialect on a running server, sentence by sentence of its contract: the published fields, batches, lists, changes,
//! companies, and what it answers to requests that it refuses.
//!
//! What every dialect shares (malformed documents, tenants, scopes, idempotency) is tested over all operations elsewhere.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod batches;
mod changes;
mod companies;
mod customers;
mod faults;
mod lists;
mod problems;

use custodia_tests::{Answer, Server};
use reqwest::Method;
use serde_json::{Value, json};

const PREFIXES: [&str; 2] = ["/external/v1", "/external/v1/external/v1"];
const CUSTOMERS: &str = "/external/v1/customers";
const COMPANY: &str = "/external/v1/customer/company";

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

/// The body with another value of one member.
fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

async fn create(server: &Server, body: Value) -> Value {
    post(server, CUSTOMERS, body).await.expect(201).json
}

async fn acme(server: &Server) -> Value {
    let body = json!({"company_name": "Acme", "company_status": "active"});
    post(server, &format!("{COMPANY}/create"), body).await.expect(201).json
}

/// Where a customer is read and changed.
fn path_of(customer: &Value) -> String {
    format!("{CUSTOMERS}/{}", customer["customer_id"].as_str().unwrap())
}

/// `type loc` of every entry, in order; each has exactly the members that a form library expects.
#[track_caller]
fn told(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.json.as_object().unwrap().len(), 1, "{}", answer.text);
    let entries = answer.json["detail"].as_array().unwrap();
    let shown = |entry: &Value| {
        let allowed = ["type", "loc", "msg", "input", "ctx"];
        assert!(entry.as_object().unwrap().keys().all(|name| allowed.contains(&name.as_str())), "{entry}");
        assert!(!entry["msg"].as_str().unwrap().is_empty());
        let loc = entry["loc"].as_array().unwrap().iter();
        let loc: Vec<_> = loc.map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned)).collect();
        format!("{} {}", entry["type"].as_str().unwrap(), loc.join("/"))
    };
    entries.iter().map(shown).collect()
}

/// A refusal whose `detail` is a text, and that text.
#[track_caller]
fn detail(answer: &Answer, status: u16) -> &str {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.json.as_object().map(serde_json::Map::len), Some(1), "{}", answer.text);
    assert!(answer.header("x-request-id").is_some());
    answer.json["detail"].as_str().unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}
