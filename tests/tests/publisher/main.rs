//! The publisher dialect on a running server, sentence by sentence of its contract: sessions, batches and what they may hold,
//! changes, the profile, refusals, and many senders at once.
//!
//! What every dialect shares (malformed documents, tenants, scopes, idempotency) is tested over all operations elsewhere.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod batches;
mod cards;
mod changes;
mod faults;
mod holders;
mod senders;
mod sessions;
mod values;

use std::collections::BTreeSet;

use custodia_tests::{Answer, Server};
use reqwest::Method;
use serde_json::{Value, json};

const CUSTOMERS: &str = "/v2/data/customers";
const ACCOUNTS: &str = "/v2/data/accounts";
const PROFILE: &str = "/v2/customerProfile/getCustomerProfile";
const START: &str = "/v2/session/startSession";

/// An institution's client in its session.
struct Institution<'s> {
    server: &'s Server,
    session: String,
}

impl<'s> Institution<'s> {
    async fn of(server: &'s Server) -> Self {
        Self { server, session: server.publisher_session().await }
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = self.server.request(method, path).header("X-CDLX-Session-Token", &self.session);
        let request = request.header("content-type", "application/json").body(body.to_owned());
        Answer::to(request).await.expect("a running server answers")
    }

    async fn post(&self, body: &Value) -> Answer {
        self.send(Method::POST, CUSTOMERS, &body.to_string()).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &body.to_string()).await
    }

    /// Creates customers that nothing stands against.
    async fn create(&self, customers: &[Value]) {
        let _ = self.post(&batch(customers)).await.expect(200);
    }
}

async fn start(server: &Server, body: &Value) -> Answer {
    let request = server.request(Method::POST, START).header("x-api-key", server.api_key()).json(body);
    Answer::to(request).await.expect("a running server answers")
}

async fn profile(server: &Server, customer: &str) -> Value {
    let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": customer});
    let started = start(server, &wanted).await.expect(200);
    let token = started.json["sessionToken"].as_str().unwrap();
    let request = server.request(Method::GET, PROFILE).header("X-CDLX-Session-Token", token);
    Answer::to(request).await.unwrap().expect(200).json
}

/// The account of that id in a profile.
#[track_caller]
fn account_of<'p>(profile: &'p Value, id: &str) -> &'p Value {
    profile["accounts"].as_array().unwrap().iter().find(|account| account["sourceAccountId"] == id).unwrap()
}

fn card(account: &str, holder: &str, last4: &str) -> Value {
    json!({"sourceAccountId": account, "sourceCustomerId": holder, "last4": last4, "iin": "123456",
        "cardType": "CREDIT", "status": "OPEN", "networkIdentifier": 3, "openDate": "2023-01-01T08:00:00Z"})
}

fn account(id: &str, holder: &str) -> Value {
    json!({"sourceAccountId": id, "sourceCustomerIds": [holder], "primarySourceCustomerId": holder, "status": "OPEN",
        "type": "DDA", "sourcePortfolioId": "rewards", "accountOpenDate": "2018-05-12T20:30:00Z",
        "accountCloseDate": null, "cards": [card(id, holder, "2345")]})
}

fn customer(id: &str) -> Value {
    json!({"sourceCustomerId": id, "organizationId": "50004", "postalCode": "78753", "country": "US",
        "customerCreationDate": "2017-01-01T08:00:00Z", "enrollmentStartDate": "2023-01-01T08:00:00Z",
        "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET",
        "accounts": [account(&format!("{id}-account"), id)]})
}

fn batch(customers: &[Value]) -> Value {
    json!({"customers": customers})
}

/// With another value at a JSON pointer.
fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[member] = new;
    value
}

/// Without the member at a JSON pointer.
fn without(mut value: Value, pointer: &str) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let _ = value.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member);
    value
}

/// That a refusal has the five members and those values; its problems.
#[track_caller]
fn refused(answer: &Answer, status: u16, kind: &str, title: &str) -> Vec<String> {
    assert_eq!(answer.status, status, "{}", answer.text);
    let members: BTreeSet<&str> = answer.json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["type", "title", "status", "validationErrors", "requestId"]));
    assert_eq!((&answer.json["type"], &answer.json["title"]), (&json!(kind), &json!(title)));
    assert_eq!(answer.json["status"], status);
    assert!(!answer.json["requestId"].as_str().unwrap().is_empty());
    let problems = answer.json["validationErrors"].as_array().unwrap();
    problems.iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn problems(answer: &Answer) -> Vec<String> {
    refused(answer, 400, "ValidationException", "Bad request")
}

/// The paths of the problems, in order.
#[track_caller]
fn paths(answer: &Answer) -> Vec<String> {
    problems(answer).iter().map(|problem| problem.split_once(": ").unwrap().0.to_owned()).collect()
}
