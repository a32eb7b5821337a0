//! The dialect through its router, over the memory store and a clock that stands still. Owns the kit of these tests.

mod addressing;
mod create;
mod credentials;
mod document;
mod events;
mod history;
mod lifecycle;
mod lists;
mod retries;
mod update;
mod upsert;
mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use custodia_domain::ports::{CustomerStore, Directory, Scope, StoreError};
use custodia_domain::registry::{Ports, Registry};
use custodia_domain::{Actor, OfficeName, OrganizationId, Timestamp};
use http::Request;
use serde_json::Value;

use super::{Lms, router};
use crate::arrivals::{AnnouncedStore, Arrivals};
use crate::clock::FixedClock;
use crate::http::auth::{AuthError, Authenticator, Principal};
use crate::http::cursor::CursorKey;
use crate::http::{HttpLimits, exchange, wrap};
use crate::ids::BlockIds;
use crate::memory::MemoryStore;
use crate::webhooks::{HttpSender, Outbound};

/// Knows the credentials that the tests use by what they are for.
struct KnownCredentials;

#[async_trait]
impl Authenticator for KnownCredentials {
    async fn bearer(&self, token: &str) -> Result<Principal, AuthError> {
        let (organization, scope) = match token {
            "write" | "second" => (1, Scope::Write),
            "read" => (1, Scope::Read),
            "foreign" => (2, Scope::Write),
            "throttled" => return Err(AuthError::Throttled { retry_after: 7 }),
            "away" => return Err(AuthError::Unavailable(StoreError::Unavailable("secret cause".into()))),
            _ => return Err(AuthError::Unauthenticated),
        };
        Ok(Principal {
            organization: OrganizationId::parse(organization).unwrap(),
            actor: Actor::new(token),
            scope,
            credential: token.into(),
        })
    }

    async fn api_key(&self, _: &str) -> Result<Principal, AuthError> {
        Err(AuthError::Unauthenticated)
    }

    async fn password(&self, email: &str, password: &str, _: IpAddr) -> Result<String, AuthError> {
        match (email, password) {
            ("ada@example.com", "s:ecret") => Ok("a.b.c".into()),
            ("busy@example.com", _) => Err(AuthError::Throttled { retry_after: 60 }),
            _ => Err(AuthError::Unauthenticated),
        }
    }

    fn jwks(&self) -> String {
        r#"{"keys":[{"kid":"1"}]}"#.into()
    }
}

/// The dialect with two organizations; the first has the offices 1 `Head Office` and 2 `Coast`. Today is 2026-05-25.
struct Kit {
    app: Router,
    store: Arc<MemoryStore>,
    arrivals: Arc<Arrivals>,
}

impl Kit {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let at = Timestamp::parse("2026-05-25T09:30:00Z").unwrap();
        for name in ["First", "Second"] {
            store.add_organization(name, at).await.unwrap();
        }
        store.add_office(OrganizationId::FIRST, &OfficeName::parse("Coast").unwrap(), at).await.unwrap();
        let arrivals = Arc::new(Arrivals::default());
        let announced = Arc::new(AnnouncedStore::new(store.clone(), arrivals.clone()));
        let app = Self::following(announced, store.clone(), &store, arrivals.clone());
        Self { app, store, arrivals }
    }

    fn over(customers: Arc<dyn CustomerStore>, directory: Arc<dyn Directory>, rest: &Arc<MemoryStore>) -> Router {
        Self::following(customers, directory, rest, Arc::default())
    }

    fn following(
        customers: Arc<dyn CustomerStore>,
        directory: Arc<dyn Directory>,
        rest: &Arc<MemoryStore>,
        arrivals: Arc<Arrivals>,
    ) -> Router {
        let clock = Arc::new(FixedClock::at(Timestamp::parse("2026-05-25T09:30:00Z").unwrap()));
        let ids = Arc::new(BlockIds::new(customers.clone()));
        let registry = Registry::new(Ports {
            customers,
            directory,
            accounts: rest.clone(),
            loans: rest.clone(),
            scores: rest.clone(),
            webhooks: rest.clone(),
            clock,
            ids,
        });
        let lms = Lms::new(registry, Arc::new(KnownCredentials), CursorKey::new([7; 32]), arrivals, outbound());
        wrap(router(lms).into(), &HttpLimits::default())
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        Reply::to(&self.app, request).await
    }

    /// Sends with the credential that may write, the given headers, and a body where there is one.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send(request(method, path, headers, body)).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        self.ask("POST", path, &[], body).await
    }

    async fn put(&self, path: &str, body: &str) -> Reply {
        self.ask("PUT", path, &[], body).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path, &[], "").await
    }

    /// Creates a customer by the partner form.
    async fn partner(&self, external_id: &str) -> Value {
        let body = serde_json::json!({ "externalId": external_id }).to_string();
        self.post("/v1/customers", &body).await.ok()
    }

    /// Creates the Pending customer Ada Lovelace, who applied on 2026-05-20, with the external id `ada`.
    async fn pending(&self) -> Value {
        let body = r#"{"officeId":1,"firstname":"Ada","lastname":"Lovelace","externalId":"ada","active":false,
            "submittedDate":"2026-05-20"}"#;
        self.post("/v1/customers", body).await.ok()
    }
}

/// Calls whatever endpoint there is.
fn outbound() -> Outbound {
    Outbound { courier: Arc::new(HttpSender::new(true)), insecure: true }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    exchange::request(method, path, &[("Authorization", "Bearer write")], headers, body)
}

/// A whole answer.
type Reply = exchange::Reply<Lms>;

impl Reply {
    #[track_caller]
    fn ok(&self) -> Value {
        self.json_of(200)
    }

    /// The code of an error with that status.
    #[track_caller]
    fn code(&self, status: u16) -> String {
        let body = self.json_of(status);
        let members: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "message"]);
        body["code"].as_str().unwrap().to_owned()
    }

    /// The entries of a 400, as `field: error`, sorted.
    #[track_caller]
    fn problems(&self) -> Vec<String> {
        assert_eq!(self.code(400), "invalid_argument");
        let entries: Value = serde_json::from_str(self.json()["message"].as_str().unwrap()).unwrap();
        let mut problems: Vec<String> = entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                assert_eq!(entry.as_object().unwrap().len(), 2);
                format!("{}: {}", entry["field"].as_str().unwrap(), entry["error"].as_str().unwrap())
            })
            .collect();
        problems.sort();
        problems
    }

    /// The fields of a 400, sorted.
    #[track_caller]
    fn fields(&self) -> Vec<String> {
        self.problems().iter().map(|problem| problem.split(": ").next().unwrap().to_owned()).collect()
    }
}
