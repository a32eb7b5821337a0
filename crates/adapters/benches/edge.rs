//! What the JSON edge costs: bodies read, and requests answered through the routers over the memory store, without a
//! socket or a database. `just criterion` runs it.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use custodia_adapters::arrivals::Arrivals;
use custodia_adapters::clock::FixedClock;
use custodia_adapters::http::auth::{AuthError, Authenticator, Principal};
use custodia_adapters::http::cursor::CursorKey;
use custodia_adapters::http::{HttpLimits, json, lms, wrap};
use custodia_adapters::ids::BlockIds;
use custodia_adapters::memory::MemoryStore;
use custodia_adapters::webhooks::{HttpSender, Outbound};
use custodia_domain::ports::{Directory as _, Scope};
use custodia_domain::registry::{Ports, Registry};
use custodia_domain::{Actor, OrganizationId, Timestamp};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::json as tree;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// How many customers there are.
const CUSTOMERS: usize = 200;

/// Lets everybody in.
struct Everybody;

fn principal() -> Principal {
    Principal {
        organization: OrganizationId::FIRST,
        actor: Actor::new("bench"),
        scope: Scope::Write,
        credential: "bench".into(),
    }
}

#[async_trait]
impl Authenticator for Everybody {
    async fn bearer(&self, _: &str) -> Result<Principal, AuthError> {
        Ok(principal())
    }

    async fn api_key(&self, _: &str) -> Result<Principal, AuthError> {
        Ok(principal())
    }

    async fn password(&self, _: &str, _: &str, _: IpAddr) -> Result<String, AuthError> {
        Err(AuthError::Unauthenticated)
    }

    fn jwks(&self) -> String {
        String::new()
    }
}

async fn app() -> Router {
    let store = Arc::new(MemoryStore::new());
    let at = Timestamp::parse("2026-05-25T09:30:00Z").expect("an instant");
    store.add_organization("First", at).await.expect("memory takes it");
    let registry = Registry::new(Ports {
        customers: store.clone(),
        directory: store.clone(),
        accounts: store.clone(),
        loans: store.clone(),
        scores: store.clone(),
        webhooks: store.clone(),
        clock: Arc::new(FixedClock::at(at)),
        ids: Arc::new(BlockIds::new(store.clone())),
    });
    let outbound = Outbound { courier: Arc::new(HttpSender::new(true)), insecure: true };
    let cursors = CursorKey::new([7; 32]);
    let lms = lms::Lms::new(registry, Arc::new(Everybody), cursors, Arc::new(Arrivals::default()), outbound);
    let app = wrap(lms::router(lms).into(), &HttpLimits::default());
    for number in 0..CUSTOMERS {
        let (status, _) = exchange(app.clone(), request("POST", "/v1/customers", &lms_body(number))).await;
        assert_eq!(status, 200, "the customers are created");
    }
    app
}

fn request(method: &str, path: &str, body: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("Authorization", "Bearer bench");
    let request = if body.is_empty() { request } else { request.header("Content-Type", "application/json") };
    request.body(Body::from(body.to_owned())).expect("a request")
}

async fn exchange(app: Router, request: Request<Body>) -> (u16, usize) {
    let Ok(response) = app.oneshot(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, body.len())
}

fn lms_body(number: usize) -> String {
    tree!({
        "externalId": format!("bench-{number}"),
        "firstname": "Ada",
        "lastname": format!("Lovelace{number}"),
        "mobileNo": format!("+2557{number:08}"),
        "emailAddress": format!("ada{number}@example.com"),
        "dateOfBirth": "1990-12-10",
        "officeId": 1,
    })
    .to_string()
}

fn crm_body() -> String {
    tree!({
        "name": "Ada Lovelace", "email": "ada@example.com", "phone": "+255712000001", "source": "bench",
        "metadata": {"campaign": "spring", "tags": ["a", "b"], "score": 7},
    })
    .to_string()
}

fn publisher_body() -> String {
    let customer = |number: usize| {
        let id = format!("run-{number}");
        tree!({
            "sourceCustomerId": id, "organizationId": "north", "postalCode": "10115", "country": "DE",
            "customerCreationDate": "2026-01-05T08:00:00Z", "enrollmentStartDate": "2026-01-05T08:00:00Z",
            "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET",
            "accounts": [{
                "sourceAccountId": format!("a-{id}"), "sourceCustomerIds": [id], "primarySourceCustomerId": id,
                "status": "OPEN", "type": "CRD", "sourcePortfolioId": "p-1",
                "accountOpenDate": "2026-01-05T08:00:00Z",
                "cards": [{"sourceAccountId": format!("a-{id}"), "sourceCustomerId": id, "last4": "4242",
                    "iin": "424242", "cardType": "CREDIT", "status": "OPEN", "networkIdentifier": 4,
                    "openDate": "2026-01-05T08:00:00Z"}],
            }],
        })
    };
    tree!({"customers": (0..50).map(customer).collect::<Vec<_>>()}).to_string()
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, body) in
        [("lms create", lms_body(1)), ("crm create", crm_body()), ("publisher batch of 50", publisher_body())]
    {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bench| bench.iter(|| json::parse(black_box(body.as_bytes()))));
    }
    group.finish();
}

fn answering(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let app = runtime.block_on(app());
    let mut group = criterion.benchmark_group("answer");
    for (name, path) in [
        ("a customer", "/v1/customers/100"),
        ("a customer by external id", "/v1/customers/external/bench-100"),
        ("a list of 50 behind a cursor", "/v1/customers?rows=50&after="),
        ("a page of 50", "/v1/customers?rows=50&page=2"),
        ("no such customer", "/v1/customers/100000"),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| runtime.block_on(exchange(app.clone(), request("GET", path, ""))));
        });
    }
    let body = r#"{"externalId":" ","shoeSize":1}"#;
    group.bench_function("a refused create", |bench| {
        bench.iter(|| runtime.block_on(exchange(app.clone(), request("POST", "/v1/customers", body))));
    });
    group.finish();
}

criterion_group!(benches, decoding, answering);
criterion_main!(benches);
