//! The dialect through its router, over the memory store, real sessions and a clock that the tests move. Owns the kit of
//! these tests.

mod accounts;
mod customers;
mod document;
mod sessions;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use custodia_domain::ports::{
    CredentialStore as _, CustomerStore as _, Directory as _, EventQuery, LoggedEvent, Scope,
};
use custodia_domain::registry::{Caller, OfficeChoice, Ports, Precondition, Registry};
use custodia_domain::{Actor, Answer, ExternalId, Name, NewCustomer, OfficeId, OrganizationId, RequestId, Timestamp};
use http::Request;
use serde_json::{Value, json};

use super::{Publisher, router};
use crate::clock::FixedClock;
use crate::http::{HttpLimits, exchange, wrap};
use crate::identity::{Identity, IdentityParts};
use crate::ids::BlockIds;
use crate::memory::MemoryStore;
use crate::tokens::{ApiKeyText, Grant, Passwords, SigningKeys, generate_key};

const CUSTOMERS: &str = "/v2/data/customers";
const ACCOUNTS: &str = "/v2/data/accounts";
const PROFILE: &str = "/v2/customerProfile/getCustomerProfile";
const START: &str = "/v2/session/startSession";

/// The dialect with two organizations. It is 2026-05-25T09:30:00Z.
struct Kit {
    app: Router,
    store: Arc<MemoryStore>,
    clock: Arc<FixedClock>,
    registry: Registry,
    signing: Arc<SigningKeys>,
    /// Keys of the first organization that may write and read, of it that may read alone, and of the second one.
    keys: [ApiKeyText; 3],
    /// A session of the first organization for its data.
    token: String,
}

fn now() -> Timestamp {
    Timestamp::parse("2026-05-25T09:30:00Z").unwrap()
}

fn organization(number: i64) -> OrganizationId {
    OrganizationId::parse(number).unwrap()
}

impl Kit {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(FixedClock::at(now()));
        for name in ["First", "Second"] {
            store.add_organization(name, now()).await.unwrap();
        }
        let keys = [(1, Scope::Write), (1, Scope::Read), (2, Scope::Write)];
        let mut texts = Vec::new();
        for (number, (owner, scope)) in keys.into_iter().enumerate() {
            let key = ApiKeyText::generate();
            let name = format!("key {number}");
            store.add_api_key(organization(owner), &name, key.hash(), scope, now()).await.unwrap();
            texts.push(key);
        }
        let signing = SigningKeys::from_pem(&generate_key(), "custodia", Duration::from_hours(9)).unwrap();
        let signing = Arc::new(signing);
        let identity = Arc::new(Identity::new(IdentityParts {
            clock: clock.clone(),
            directory: store.clone(),
            credentials: store.clone(),
            signing: signing.clone(),
            outside: None,
            passwords: Passwords::new(1),
            login_failures: 0,
        }));
        let registry = Registry::new(Ports {
            customers: store.clone(),
            directory: store.clone(),
            accounts: store.clone(),
            loans: store.clone(),
            scores: store.clone(),
            webhooks: store.clone(),
            clock: clock.clone(),
            ids: Arc::new(BlockIds::new(store.clone())),
        });
        let publisher = Publisher::new(registry.clone(), identity.clone(), identity);
        let app = wrap(router(publisher).into(), &HttpLimits::default());
        let keys = texts.try_into().unwrap_or_else(|_| panic!("three keys"));
        let mut kit = Self { app, store, clock, registry, signing, keys, token: String::new() };
        kit.token = kit.session(0, &json!({"scopes": ["api:institution"]})).await;
        kit
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        Reply::to(&self.app, request).await
    }

    /// Sends in the session for data unless another credential is named, with a body where there is one.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let credentials = [("X-CDLX-Session-Token", self.token.as_str()), ("x-api-key", ""), ("authorization", "")];
        self.send(exchange::request(method, path, &credentials, headers, body)).await
    }

    async fn post(&self, body: &Value) -> Reply {
        self.ask("POST", CUSTOMERS, &[], &body.to_string()).await
    }

    async fn put(&self, path: &str, body: &Value) -> Reply {
        self.ask("PUT", path, &[], &body.to_string()).await
    }

    /// Creates customers that nothing stands against.
    async fn create(&self, customers: &[Value]) {
        self.post(&batch(customers)).await.ok();
    }

    async fn start(&self, key: usize, body: &Value) -> Reply {
        self.ask("POST", START, &[("x-api-key", self.keys[key].expose())], &body.to_string()).await
    }

    async fn session(&self, key: usize, body: &Value) -> String {
        self.start(key, body).await.ok()["sessionToken"].as_str().unwrap().to_owned()
    }

    /// The profile of a customer, without the request id.
    async fn profile(&self, customer: &str) -> Value {
        let token = self.session(0, &json!({"scopes": ["api:customer"], "sourceCustomerId": customer})).await;
        let reply = self.ask("GET", PROFILE, &[("X-CDLX-Session-Token", &token)], "").await;
        let mut profile = reply.ok();
        profile.as_object_mut().unwrap().remove("requestId").unwrap();
        profile
    }

    /// The names of all events of the first organization.
    async fn events(&self) -> Vec<&'static str> {
        let organization = organization(1);
        let query =
            EventQuery { organization, after: None, through: None, kinds: Vec::new(), customer: None, limit: 500 };
        let entries = self.store.events(&query).await.unwrap();
        let name = |event: &LoggedEvent| match event {
            LoggedEvent::Customer(event) => event.kind().name(),
            LoggedEvent::Record(event) => event.kind.name(),
        };
        entries.iter().map(|entry| name(&entry.event)).collect()
    }

    /// A customer of the second dialect: Active, without a part in the programme.
    async fn stranger(&self, id: &str) {
        let new = NewCustomer {
            external_id: Some(ExternalId::parse(id).unwrap()),
            ..NewCustomer::named(OfficeId::FIRST, Name::FollowsExternalId)
        };
        let caller = Caller {
            organization: organization(1),
            actor: Actor::new("test"),
            request_id: RequestId::parse("r").unwrap(),
            key: None,
            precondition: Precondition::None,
            reason: None,
        };
        let render = |result: Result<&_, &_>| Answer {
            status: if result.is_ok() { 200 } else { 500 },
            headers: Vec::new(),
            body: Vec::new(),
        };
        let answer = self.registry.create(&caller, OfficeChoice::Default, |_| new.clone(), render).await;
        assert_eq!(answer.status, 200);
    }
}

fn batch(customers: &[Value]) -> Value {
    json!({ "customers": customers })
}

/// A customer with one account, `<id>-acc`, and one card of it.
fn customer(id: &str) -> Value {
    json!({
        "sourceCustomerId": id,
        "organizationId": "50004",
        "postalCode": "78753",
        "country": "US",
        "customerCreationDate": "2017-01-01T08:00:00Z",
        "enrollmentStartDate": "2023-01-01T08:00:00Z",
        "enrollmentEndDate": null,
        "enrollmentOptInStatus": "ACTIVE",
        "alertOptInStatus": ["NEW", "EXPIRING"],
        "targetingIndicator": "TARGET",
        "accounts": [account(&format!("{id}-acc"), id)],
    })
}

fn account(id: &str, holder: &str) -> Value {
    json!({
        "sourceAccountId": id,
        "sourceCustomerIds": [holder],
        "primarySourceCustomerId": holder,
        "status": "OPEN",
        "type": "DDA",
        "sourcePortfolioId": "rewards",
        "accountOpenDate": "2018-05-12T20:30:00Z",
        "accountCloseDate": null,
        "cards": [card(id, holder, "2345")],
    })
}

fn card(account: &str, holder: &str, last4: &str) -> Value {
    json!({
        "sourceAccountId": account,
        "sourceCustomerId": holder,
        "last4": last4,
        "iin": "123456",
        "cardType": "CREDIT",
        "status": "OPEN",
        "networkIdentifier": 3,
        "openDate": "2023-01-01T08:00:00Z",
        "closeDate": null,
    })
}

/// The value with the one at that JSON pointer replaced; one past the end of an array is added.
fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Array(items) if name.parse() == Ok(items.len()) => items.push(new),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = new,
        object => object[name] = new,
    }
    value
}

/// The value without the member at that JSON pointer.
fn without(mut value: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    value
}

/// A whole answer.
type Reply = exchange::Reply<Publisher>;

impl Reply {
    #[track_caller]
    fn ok(&self) -> Value {
        let body = self.json_of(200);
        assert!(body["requestId"].is_string(), "{body}");
        body
    }

    /// The problems of an error of that status and type.
    #[track_caller]
    fn refused(&self, status: u16, kind: &str) -> Vec<String> {
        let body = self.json_of(status);
        let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["requestId", "status", "title", "type", "validationErrors"]);
        assert_eq!((&body["type"], &body["status"]), (&json!(kind), &json!(status)));
        body["validationErrors"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// The problems of a 400.
    #[track_caller]
    fn problems(&self) -> Vec<String> {
        let problems = self.refused(400, "ValidationException");
        assert_eq!(self.json()["title"], "Bad request");
        assert!(!problems.is_empty());
        problems
    }
}
