//! What is fuzzed: each decoder of what comes from outside, and the dialects as a whole through their routers.
//!
//! A target takes any bytes. It must not panic, and what a decoder has accepted must hold what the decoder promises: written
//! out and read again it is the same. Owns no corpus and no fuzzer.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use custodia_adapters::arrivals::Arrivals;
use custodia_adapters::clock::FixedClock;
use custodia_adapters::http::auth::{Principal, Session, Sessions as _};
use custodia_adapters::http::conditional::{is_known, precondition, wants_absence};
use custodia_adapters::http::context::RequestId;
use custodia_adapters::http::crm::{self, Crm};
use custodia_adapters::http::cursor::{CursorKey, Walk, filter_hash};
use custodia_adapters::http::idempotency::key_text;
use custodia_adapters::http::json;
use custodia_adapters::http::lms::{self, Lms};
use custodia_adapters::http::openapi::assemble;
use custodia_adapters::http::publisher::{self, Publisher};
use custodia_adapters::http::query::{Query, decode, path_segment};
use custodia_adapters::http::reason::reason_of;
use custodia_adapters::http::{HttpLimits, Router, TrustedProxies, wrap};
use custodia_adapters::identity::{Identity, IdentityParts};
use custodia_adapters::ids::BlockIds;
use custodia_adapters::memory::MemoryStore;
use custodia_adapters::tokens::{ApiKeyText, Passwords, SigningKeys, Verifier, generate_key};
use custodia_adapters::webhooks::address::EndpointUrl;
use custodia_adapters::webhooks::{HttpSender, Outbound};
use custodia_domain::account::{Iin, Last4};
use custodia_domain::company::CompanyId;
use custodia_domain::facets::{Coordinate, CountryCode};
use custodia_domain::loan::{Amount, CurrencyCode};
use custodia_domain::ports::{CredentialStore as _, Directory as _, Scope};
use custodia_domain::registry::{Ports, Registry};
use custodia_domain::{
    Actor, Date, EmailAddress, ExternalId, FullName, MobileNumber, NamePart, OfficeName, OrganizationId, Timestamp,
    Version,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use tower::ServiceExt as _;

/// A target's name, and what takes its inputs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name.
pub const TARGETS: &[Target] = &[
    ("lms", lms_requests),
    ("crm", crm_requests),
    ("publisher", publisher_requests),
    ("json", json_documents),
    ("query", queries),
    ("cursor", cursors),
    ("headers", headers),
    ("dates", dates),
    ("emails", emails),
    ("texts", texts),
    ("tokens", tokens),
    ("webhook-urls", webhook_urls),
    ("forwarded", forwarded),
];

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

fn lms_requests(data: &[u8]) {
    request(data, "/v1/");
}

fn crm_requests(data: &[u8]) {
    request(data, "/external/v1/");
}

fn publisher_requests(data: &[u8]) {
    request(data, "/v2/");
}

/// The service on the memory store, with one organization and credentials that are always sent.
struct Service {
    router: Router,
    key: String,
    session: String,
    requests: u32,
}

thread_local! {
    static SERVICE: RefCell<Option<Service>> = const { RefCell::new(None) };
}

/// After so many requests the records that they have left are dropped.
const FRESH: u32 = 2_000;

/// A request as text: the method and the target in the first line, then headers, then, after an empty line, the body.
fn request(data: &[u8], prefix: &str) {
    let Some(mut request) = read_request(data) else { return };
    // A ping leaves the process.
    if !request.uri().path().starts_with(prefix) || request.uri().path().ends_with("/ping") {
        return;
    }
    SERVICE.with_borrow_mut(|known| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime needs nothing from outside");
        let service = known.take().filter(|service| service.requests < FRESH);
        let mut service = service.unwrap_or_else(|| runtime.block_on(Service::start()));
        service.requests += 1;
        for (name, value) in [("x-api-key", &service.key), ("x-cdlx-session-token", &service.session)] {
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a credential is visible text"));
        }
        let bearer = HeaderValue::from_str(&format!("Bearer {}", service.key)).expect("a credential is visible text");
        request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
        request.headers_mut().entry(http::header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        let answer = runtime.block_on(async { service.router.clone().oneshot(request).await });
        let answer: Response = answer.unwrap_or_else(|never| match never {});
        assert_ne!(answer.status(), 500, "a fault of ours");
        assert_ne!(answer.status(), 401, "the credentials are good");
        assert!(answer.headers().contains_key("x-request-id"));
        *known = Some(service);
    });
}

fn read_request(data: &[u8]) -> Option<Request<Body>> {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = (text(&data[..end])?, data.get(end + 2..).unwrap_or_default());
    let mut lines = head.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target).body(Body::from(body.to_vec())).ok()?;
    *request.headers_mut() = read_headers(lines)?;
    Some(request)
}

fn read_headers<'a>(lines: impl Iterator<Item = &'a str>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        headers.try_append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?).ok()?;
    }
    Some(headers)
}

impl Service {
    async fn start() -> Self {
        let now = Timestamp::parse("2026-05-25T09:30:00Z").expect("it is an instant");
        let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(FixedClock::at(now)));
        let organization = store.add_organization("Fuzzed", now).await.expect("the memory store takes it");
        let key = ApiKeyText::generate();
        let kept = store.add_api_key(organization, "fuzz", key.hash(), Scope::Write, now).await;
        kept.expect("the memory store takes it");
        let signing = SigningKeys::from_pem(&generate_key(), "custodia", Duration::from_hours(1));
        let identity = Arc::new(Identity::new(IdentityParts {
            clock: clock.clone(),
            directory: store.clone(),
            credentials: store.clone(),
            signing: Arc::new(signing.expect("a generated key is one")),
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
            clock,
            ids: Arc::new(BlockIds::new(store.clone())),
        });
        let outbound = Outbound { courier: Arc::new(HttpSender::new(false)), insecure: false };
        let lms = Lms::new(
            registry.clone(),
            identity.clone(),
            CursorKey::new([7; 32]),
            Arc::new(Arrivals::default()),
            outbound,
        );
        let dialects = assemble([
            lms::router(lms),
            crm::router(Crm::new(registry.clone(), identity.clone())),
            publisher::router(Publisher::new(registry, identity.clone(), identity.clone())),
        ]);
        let principal =
            Principal { organization, actor: Actor::new("fuzz"), scope: Scope::Write, credential: "fuzz".into() };
        let session = identity.issue(&Session { principal, institution: true, customer: None });
        let router = wrap(dialects.router, &HttpLimits::default());
        Self { router, key: key.expose().to_owned(), session, requests: 0 }
    }
}

fn json_documents(data: &[u8]) {
    let Ok(document) = json::parse(data) else { return };
    let canonical = json::canonical(&document);
    let again = json::parse(&canonical).expect("what is written canonically is a document");
    // The last digit of a fraction may change each time that it is read.
    if !canonical.iter().any(|byte| b".eE".contains(byte)) {
        assert_eq!(json::canonical(&again), canonical, "the canonical form is one");
    }
}

fn queries(data: &[u8]) {
    let Some(raw) = text(data) else { return };
    let _ = (decode(raw), path_segment(raw, 1));
    let mut query = Query::parse(Some(raw));
    let names: Vec<String> = query.pairs().map(|(name, _)| name.to_owned()).collect();
    for name in &names {
        let _ = query.take(name);
    }
    let _ = (query.problems(), query.sorted_pairs());
}

fn cursors(data: &[u8]) {
    let key = CursorKey::new([7; 32]);
    let walk = Walk { route: "/v1/customers", organization: OrganizationId::FIRST, filter: filter_hash(["a"]) };
    if let Some(cursor) = text(data) {
        assert!(key.open(&walk, cursor).is_err(), "a cursor is forged");
    }
    // Behind the seal.
    let sealed = key.seal(&walk, data);
    assert_eq!(key.open(&walk, &sealed).as_deref(), Ok(data));
    if let Ok(place) = key.open_place(&walk, &sealed) {
        assert_eq!(key.open_place(&walk, &key.seal_place(&walk, &place)), Ok(place));
    }
}

fn headers(data: &[u8]) {
    let Some(headers) = text(data).and_then(|text| read_headers(text.lines())) else { return };
    let id = RequestId::of_headers(&headers);
    assert!((1..=64).contains(&id.as_str().len()) && id.as_str().is_ascii());
    if let Ok(Some(key)) = key_text(&headers) {
        assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    if let Ok(Some(reason)) = reason_of(&Method::PUT, &headers) {
        assert!((1..=200).contains(&reason.chars().count()) && !reason.chars().any(char::is_control));
    }
    let version = Version::parse(3).expect("3 is a version");
    let _ = (precondition(&headers), wants_absence(&headers), is_known(&headers, version));
}

fn dates(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(date) = Date::parse(text) {
        assert_eq!(Date::parse(&date.to_string()), Ok(date));
    }
    if let Ok(at) = Timestamp::parse(text) {
        assert_eq!(Timestamp::parse(&at.to_string()), Ok(at));
        assert_eq!(Timestamp::from_microseconds(at.microseconds()), Ok(at));
    }
}

fn emails(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(address) = EmailAddress::parse(text) {
        assert!(address.as_str().len() <= 4 * EmailAddress::LIMIT && address.as_str().contains('@'));
        assert_eq!(EmailAddress::parse(address.as_str()), Ok(address));
    }
}

fn texts(data: &[u8]) {
    macro_rules! same {
        ($text:expr, $($kind:ty),+) => {
            $(if let Ok(value) = <$kind>::parse($text) {
                assert!((1..=<$kind>::LIMIT).contains(&value.as_str().chars().count()));
                assert_eq!(<$kind>::parse(value.as_str()), Ok(value));
            })+
        };
    }
    let Some(text) = text(data) else { return };
    same!(text, ExternalId, NamePart, FullName, MobileNumber, OfficeName);
    let _ = (CompanyId::parse(text), CountryCode::parse(text), CurrencyCode::parse(text));
    let _ = (Last4::parse(text), Iin::parse(text), Coordinate::latitude(text), Coordinate::longitude(text));
    if let Ok(amount) = Amount::parse(text) {
        assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
    }
    let _ = custodia_domain::search::fold(text);
}

thread_local! {
    static VERIFIER: (Arc<SigningKeys>, Verifier) = {
        let keys = SigningKeys::from_pem(&generate_key(), "custodia", Duration::from_hours(1));
        let keys = Arc::new(keys.expect("a generated key is one"));
        (keys.clone(), Verifier::new(keys, None))
    };
}

/// A token as it is, or its head and its claims on two lines, unsigned.
fn tokens(data: &[u8]) {
    let Some(raw) = text(data) else { return };
    let now = Timestamp::parse("2026-05-25T09:30:00Z").expect("it is an instant");
    let encoded = raw.split_once('\n').map(|(head, claims)| format!("{}.{}.AAAA", base64(head), base64(claims)));
    let token = encoded.as_deref().unwrap_or(raw);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs nothing from outside");
    VERIFIER.with(|(keys, verifier)| {
        assert!(runtime.block_on(verifier.verify(token, now)).is_err(), "a token is forged");
        assert!(keys.session(token, now).is_none(), "a session is forged");
    });
}

/// Base64 in the alphabet of tokens, without padding (RFC 4648 section 5).
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            let index = bits >> (18 - 6 * place) & 63;
            encoded.push(char::from(ALPHABET[usize::try_from(index).expect("six bits")]));
        }
    }
    encoded
}

fn webhook_urls(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = EndpointUrl::parse(text, true);
    if let Ok(url) = EndpointUrl::parse(text, false) {
        let written = url.url().as_str();
        assert!(written.starts_with("https://") && !written.contains('@') && !written.contains('#'), "{written}");
        assert_eq!(EndpointUrl::parse(written, false).as_ref(), Ok(&url), "{written}");
    }
}

fn forwarded(data: &[u8]) {
    let Some((list, value)) = text(data).and_then(|text| text.split_once('\n')) else { return };
    let (Ok(proxies), Ok(value)) = (list.parse::<TrustedProxies>(), HeaderValue::from_str(value)) else { return };
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), value)]);
    let _ = proxies.client(([127, 0, 0, 1], 1).into(), &headers);
}
