//! The dialect through its router, over the memory store and a clock that is moved by hand. Owns the kit of these tests.

mod changes;
mod companies;
mod create;
mod document;
mod edge;
mod listing;
mod recorded;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use custodia_domain::ports::{CustomerStore, Directory, Scope, StoreError};
use custodia_domain::registry::{Caller, OfficeChoice, Ports, Precondition, Registry};
use custodia_domain::{
    Actor, Answer, ExternalId, MobileNumber, Name, NamePart, NewCustomer, OfficeId, OrganizationId, RequestId,
    Timestamp,
};
use http::Request;
use serde_json::{Value, json};

use super::{Crm, router};
use crate::clock::FixedClock;
use crate::http::auth::{AuthError, Authenticator, Principal};
use crate::http::{HttpLimits, exchange, wrap};
use crate::ids::BlockIds;
use crate::memory::MemoryStore;

const NOW: &str = "2025-11-27T09:32:08.249731Z";

/// Knows the credentials that the tests use by what they are for.
struct KnownCredentials;

fn principal(name: &str) -> Result<Principal, AuthError> {
    let (organization, scope) = match name {
        "write-key" | "second-key" | "write-token" => (1, Scope::Write),
        "read-key" => (1, Scope::Read),
        "foreign-key" => (2, Scope::Write),
        "throttled-key" => return Err(AuthError::Throttled { retry_after: 7 }),
        "away-key" => return Err(AuthError::Unavailable(StoreError::Unavailable("secret cause".into()))),
        _ => return Err(AuthError::Unauthenticated),
    };
    let organization = OrganizationId::parse(organization).unwrap();
    Ok(Principal { organization, actor: Actor::new(name), scope, credential: name.into() })
}

#[async_trait]
impl Authenticator for KnownCredentials {
    async fn bearer(&self, token: &str) -> Result<Principal, AuthError> {
        principal(token)
    }

    async fn api_key(&self, key: &str) -> Result<Principal, AuthError> {
        if key.ends_with("-key") { principal(key) } else { Err(AuthError::Unauthenticated) }
    }

    async fn password(&self, _: &str, _: &str, _: IpAddr) -> Result<String, AuthError> {
        Err(AuthError::Unauthenticated)
    }

    fn jwks(&self) -> String {
        String::new()
    }
}

/// The dialect with two organizations. Today is 2025-11-27.
struct Kit {
    app: Router,
    registry: Registry,
    clock: Arc<FixedClock>,
}

impl Kit {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let at = Timestamp::parse(NOW).unwrap();
        for name in ["First", "Second"] {
            store.add_organization(name, at).await.unwrap();
        }
        let clock = Arc::new(FixedClock::at(at));
        Self::over(store.clone(), &store, clock)
    }

    fn over(customers: Arc<dyn CustomerStore>, rest: &Arc<MemoryStore>, clock: Arc<FixedClock>) -> Self {
        let ids = Arc::new(BlockIds::new(customers.clone()));
        let registry = Registry::new(Ports {
            customers,
            directory: rest.clone(),
            accounts: rest.clone(),
            loans: rest.clone(),
            scores: rest.clone(),
            webhooks: rest.clone(),
            clock: clock.clone(),
            ids,
        });
        let crm = Crm::new(registry.clone(), Arc::new(KnownCredentials));
        let app = wrap(router(crm).into(), &HttpLimits::default());
        Self { app, registry, clock }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        Reply::to(&self.app, request).await
    }

    /// Sends with the credential that may write, the given headers, and a body where there is one. A path without a prefix
    /// gets the single one.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send(request(method, path, headers, body)).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, &[], &body.to_string()).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.ask("PATCH", path, &[], &body.to_string()).await
    }

    /// Creates Alice Johnson with those members beside or instead of the needed ones.
    async fn create(&self, members: &Value) -> Value {
        self.post("/customers", &alice(members)).await.json_of(201)
    }

    async fn company(&self, name: &str) -> Value {
        let body = json!({"company_name": name, "company_status": "active"});
        self.post("/customer/company/create", &body).await.json_of(201)
    }

    /// Creates a Pending customer as the lms dialect would: with name parts, a written mobile number, and nothing of an intake.
    async fn elsewhere(&self, external_id: Option<&str>) -> i64 {
        let part = |text| NamePart::parse(text).unwrap();
        let name = Name::Person { first: part("Ada"), middle: None, last: part("Lovelace") };
        let new = NewCustomer {
            external_id: external_id.map(|id| ExternalId::parse(id).unwrap()),
            mobile: Some(MobileNumber::parse("+255 700 (ext. 5)").unwrap()),
            ..NewCustomer::named(OfficeId::FIRST, name)
        };
        let caller = Caller {
            organization: OrganizationId::FIRST,
            actor: Actor::new("elsewhere"),
            request_id: RequestId::parse("r-1").unwrap(),
            key: None,
            precondition: Precondition::None,
            reason: None,
        };
        let answer = self.registry.create(
            &caller,
            OfficeChoice::Default,
            |_| new.clone(),
            |result| {
                let body = result.unwrap().customer.id().get().to_string().into_bytes();
                Answer { status: 200, headers: Vec::new(), body }
            },
        );
        String::from_utf8(answer.await.body).unwrap().parse().unwrap()
    }
}

fn alice(members: &Value) -> Value {
    let mut body = json!({"name": "Alice Johnson", "email": "alice@example.com", "source": "web"});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let path = if path.starts_with("/external") { path.to_owned() } else { format!("/external/v1{path}") };
    let credentials = [("x-api-key", "write-key"), ("authorization", "")];
    exchange::request(method, &path, &credentials, headers, body)
}

/// A whole answer.
type Reply = exchange::Reply<Crm>;

impl Reply {
    #[track_caller]
    fn ok(&self) -> Value {
        self.json_of(200)
    }

    /// The detail of an error with that status, which is one text.
    #[track_caller]
    fn detail(&self, status: u16) -> String {
        let body = self.json_of(status);
        assert_eq!(body.as_object().unwrap().len(), 1);
        body["detail"].as_str().unwrap().to_owned()
    }

    /// The entries of a 422, as `type loc/…`.
    #[track_caller]
    fn problems(&self) -> Vec<String> {
        let body = self.json_of(422);
        let entries = body["detail"].as_array().unwrap().iter();
        let step = |step: &Value| step.as_str().map_or_else(|| step.to_string(), str::to_owned);
        entries
            .map(|entry| {
                let loc: Vec<_> = entry["loc"].as_array().unwrap().iter().map(step).collect();
                format!("{} {}", entry["type"].as_str().unwrap(), loc.join("/"))
            })
            .collect()
    }
}
