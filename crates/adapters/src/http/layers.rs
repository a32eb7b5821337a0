//! The middleware of every route, as one layer.
//!
//! Owns request ids, the span and the metrics of a request, size limits of the head, load shedding, the whole-request deadline,
//! the panic catch and the headers that every response has. It must not read bodies, check credentials or know a route: those
//! come later, in the dialects.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures::FutureExt;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use metrics::{Counter, Gauge, Histogram};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{Instrument, Span};

use super::context::{BodyPolicy, Dialect, FullUri, REQUEST_ID_HEADER, RequestId, shown_request_id, under};
use super::fault::{Fault, answer, fault_response};

/// The counter of answered requests, by `method`, `route` and `status`.
pub const REQUESTS_TOTAL: &str = "http_requests_total";
/// The histogram of seconds until a response was ready, by `method`, `route` and `status`.
pub const REQUEST_SECONDS: &str = "http_request_duration_seconds";
/// The gauge of requests that are being handled.
pub const IN_FLIGHT: &str = "http_requests_in_flight";

/// Where a route differs from the limits of the rest. A rule holds for paths that are under `prefix` (by whole segments) and
/// end with `suffix`; an empty one matches all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// The first segments of the path, such as `/v2`.
    pub prefix: String,
    /// The end of the path, such as `/bulk`.
    pub suffix: String,
    /// The most bytes of a body, where it differs.
    pub body_limit: Option<usize>,
    /// The whole-request deadline, where it differs.
    pub deadline: Option<Duration>,
    /// Whether requests count towards, and are refused by, the limit of requests in flight. False for probes and long polls.
    pub counted: bool,
}

impl RouteRule {
    /// A rule for everything under `prefix` that changes nothing yet.
    #[must_use]
    pub fn under(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), suffix: String::new(), body_limit: None, deadline: None, counted: true }
    }

    fn matches(&self, path: &str) -> bool {
        (self.prefix.is_empty() || under(path, &self.prefix)) && path.ends_with(&self.suffix)
    }
}

/// The limits of one wrapped router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// Requests handled at once; one more is answered 503 at once. At least 1. Default 512.
    pub max_in_flight: usize,
    /// From the head of a request to its response; then 503. Default 30 s.
    pub request_deadline: Duration,
    /// From the first read of a body to its end; then 408. Default 10 s.
    pub body_deadline: Duration,
    /// The most bytes of a body; then 413. Default 1 MiB.
    pub body_limit: usize,
    /// The most bytes of path and query; then 414. Default 8 KiB.
    pub max_uri: usize,
    /// The most bytes of request line and headers; then 431. Default 16 KiB.
    pub max_header_block: usize,
    /// Exceptions by path; of several rules that match, the first that sets a value decides it.
    pub rules: Vec<RouteRule>,
}

impl Default for HttpLimits {
    fn default() -> Self {
        let large = |prefix: &str, suffix: &str| RouteRule {
            suffix: suffix.to_owned(),
            body_limit: Some(4 << 20),
            ..RouteRule::under(prefix)
        };
        let uncounted = |path: &str| RouteRule { counted: false, ..RouteRule::under(path) };
        Self {
            max_in_flight: 512,
            request_deadline: Duration::from_secs(30),
            body_deadline: Duration::from_secs(10),
            body_limit: 1 << 20,
            max_uri: 8 << 10,
            max_header_block: 16 << 10,
            rules: vec![
                large("/v2", ""),
                large("/external/v1", "/bulk"),
                large("/external/v1", "/bulk-create"),
                uncounted("/livez"),
                uncounted("/readyz"),
                uncounted("/metrics"),
                RouteRule { suffix: "/ping".to_owned(), ..uncounted("/v1/webhook-endpoints") },
                RouteRule { deadline: Some(Duration::from_secs(45)), ..uncounted("/v1/events") },
            ],
        }
    }
}

/// What the rules come to for one path.
struct Decided {
    body: BodyPolicy,
    deadline: Duration,
    counted: bool,
}

impl HttpLimits {
    fn decide(&self, path: &str) -> Decided {
        let (mut limit, mut deadline, mut counted) = (None, None, true);
        for rule in self.rules.iter().filter(|rule| rule.matches(path)) {
            limit = limit.or(rule.body_limit);
            deadline = deadline.or(rule.deadline);
            counted &= rule.counted;
        }
        Decided {
            body: BodyPolicy { limit: limit.unwrap_or(self.body_limit), deadline: self.body_deadline },
            deadline: deadline.unwrap_or(self.request_deadline),
            counted,
        }
    }

    fn head_fault(&self, request: &Request) -> Option<Fault> {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if target > self.max_uri {
            return Some(Fault::UriTooLong);
        }
        // The router takes an empty segment for a parameter, except at the end of a path: no route has one anywhere.
        if request.uri().path().contains("//") {
            return Some(Fault::NotFound);
        }
        let line = request.method().as_str().len() + target + " HTTP/1.1 \r\n\r\n".len();
        let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        (line + headers.sum::<usize>() > self.max_header_block).then_some(Fault::HeadersTooLarge)
    }
}

struct Edge {
    limits: HttpLimits,
    slots: Semaphore,
    counts: Counts,
    shedding: Shedding,
}

/// In the extensions of the answer to a request that was shed: it is counted, and not logged as a fault.
#[derive(Clone, Copy)]
struct WasShed;

/// Says that requests are shed, once a second at most: a line for each of them would cost more than its answer.
struct Shedding {
    since: Instant,
    /// The second, from 1, in which it was last said.
    said: AtomicU64,
}

impl Shedding {
    fn say(&self) {
        let second = self.since.elapsed().as_secs() + 1;
        if self.said.swap(second, Ordering::Relaxed) != second {
            tracing::warn!("overloaded: requests are shed");
        }
    }
}

/// Gives all routes of `router` the fallbacks (404, 405) and the middleware of the edge. Call it once, on the merged router of
/// all dialects; these must not set a fallback of their own.
pub fn wrap(router: Router, limits: &HttpLimits) -> Router {
    let edge = Arc::new(Edge {
        limits: limits.clone(),
        slots: Semaphore::new(limits.max_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
        counts: Counts::default(),
        shedding: Shedding { since: Instant::now(), said: AtomicU64::new(0) },
    });
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed).layer(from_fn_with_state(edge, around))
}

async fn not_found(request: Request) -> Response {
    answer(&request.into_parts().0, &Fault::NotFound)
}

async fn method_not_allowed(request: Request) -> Response {
    answer(&request.into_parts().0, &Fault::MethodNotAllowed { allow: None })
}

/// The part of a request's outcome that is known before it runs.
struct Asked {
    id: RequestId,
    method: &'static str,
    route: Option<MatchedPath>,
    started: Instant,
}

impl Asked {
    fn of(request: &Request) -> Self {
        Self {
            id: RequestId::of_headers(request.headers()),
            method: method_label(request.method()),
            route: request.extensions().get::<MatchedPath>().cloned(),
            started: Instant::now(),
        }
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or("unmatched", MatchedPath::as_str)
    }

    /// Of the highest level, so that whatever is logged within says which request it is about.
    fn span(&self) -> Span {
        tracing::error_span!("http.request", method = self.method, route = self.route(), request_id = self.id.as_str())
    }

    fn report(&self, counts: &Counts, response: &Response) {
        let elapsed = self.started.elapsed();
        let status = response.status();
        let duration_ms = elapsed.as_secs_f64() * 1_000.0;
        if response.extensions().get::<WasShed>().is_some() {
            tracing::debug!(status = status.as_u16(), duration_ms, "request shed");
        } else if status.is_server_error() {
            tracing::error!(status = status.as_u16(), duration_ms, "request failed");
        } else {
            tracing::debug!(status = status.as_u16(), duration_ms, "request answered");
        }
        counts.record(self, status, elapsed);
    }
}

/// The metrics of requests. Looking one up by its labels costs more than recording it, so each is looked up once.
#[derive(Default)]
struct Counts {
    in_flight: OnceLock<Gauge>,
    answered: RwLock<HashMap<String, Vec<Answered>>>,
}

/// The metrics of one route with one method and status.
#[derive(Clone)]
struct Answered {
    method: &'static str,
    status: StatusCode,
    total: Counter,
    seconds: Histogram,
}

impl Counts {
    fn record(&self, asked: &Asked, status: StatusCode, elapsed: Duration) {
        let answered = self.known(asked, status).unwrap_or_else(|| self.learn(asked, status));
        answered.total.increment(1);
        answered.seconds.record(elapsed.as_secs_f64());
    }

    fn known(&self, asked: &Asked, status: StatusCode) -> Option<Answered> {
        let answered = self.answered.read().unwrap_or_else(PoisonError::into_inner);
        let of_route = answered.get(asked.route())?;
        of_route.iter().find(|one| one.method == asked.method && one.status == status).cloned()
    }

    fn learn(&self, asked: &Asked, status: StatusCode) -> Answered {
        let labels = [
            metrics::Label::from_static_parts("method", asked.method),
            metrics::Label::new("route", asked.route().to_owned()),
            metrics::Label::new("status", status.as_str().to_owned()),
        ];
        let learnt = Answered {
            method: asked.method,
            status,
            total: metrics::counter!(REQUESTS_TOTAL, labels.iter()),
            seconds: metrics::histogram!(REQUEST_SECONDS, labels.iter()),
        };
        let mut answered = self.answered.write().unwrap_or_else(PoisonError::into_inner);
        answered.entry(asked.route().to_owned()).or_default().push(learnt.clone());
        learnt
    }

    fn in_flight(&self) -> &Gauge {
        self.in_flight.get_or_init(|| metrics::gauge!(IN_FLIGHT))
    }
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

async fn around(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let span = asked.span();
    async move {
        let mut response = edge.run(&asked.id, request, next).await;
        stamp(&mut response, &asked.id);
        asked.report(&edge.counts, &response);
        response
    }
    .instrument(span)
    .await
}

impl Edge {
    /// Decides whether the request may run, runs it, and turns whatever stops it into the dialect's answer.
    async fn run(&self, id: &RequestId, mut request: Request, next: Next) -> Response {
        let dialect = Dialect::of_path(request.uri().path());
        // The caller's own id is looked for before the request is handed on; ours is at hand whenever it is needed.
        let own = (dialect == Dialect::Publisher).then(|| shown_request_id(dialect, request.headers(), id));
        let refuse = |fault: Fault| fault_response(dialect, &fault, own.as_deref().unwrap_or(id.as_str()));
        if let Some(fault) = self.limits.head_fault(&request) {
            return refuse(fault);
        }
        let decided = self.limits.decide(request.uri().path());
        let Ok(_slot) = self.admit(decided.counted) else {
            self.shedding.say();
            let mut response = refuse(Fault::Overloaded);
            response.extensions_mut().insert(WasShed);
            return response;
        };
        let uri = request.uri().clone();
        let extensions = request.extensions_mut();
        extensions.insert(id.clone());
        extensions.insert(decided.body);
        extensions.insert(FullUri(uri));
        let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
        match tokio::time::timeout(decided.deadline, handled).await {
            Ok(Ok(response)) => response,
            Ok(Err(_panic)) => {
                tracing::error!("handler panicked");
                refuse(Fault::Internal)
            }
            Err(_elapsed) => {
                tracing::warn!("request deadline passed");
                refuse(Fault::Timeout)
            }
        }
    }

    fn admit(&self, counted: bool) -> Result<Slot<'_>, Shed> {
        let permit = if counted { Some(self.slots.try_acquire().map_err(|_| Shed)?) } else { None };
        self.counts.in_flight().increment(1.0);
        Ok(Slot { _permit: permit, counts: &self.counts })
    }
}

/// The service has as many requests in flight as it takes.
struct Shed;

/// A request in flight; gone also when the client hangs up and the handler is dropped.
struct Slot<'a> {
    _permit: Option<SemaphorePermit<'a>>,
    counts: &'a Counts,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.counts.in_flight().decrement(1.0);
    }
}

fn stamp(response: &mut Response, id: &RequestId) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), value);
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body::read_request;
    use crate::http::query::path_param;
    use axum::body::Body;
    use axum::routing::{get, post};
    use http::header::{ALLOW, RETRY_AFTER};
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tokio::sync::Notify;
    use tower::ServiceExt;

    async fn read(request: Request) -> Response {
        let (parts, body) = read_request(request).await;
        match body {
            Ok(bytes) => Response::new(Body::from(bytes.len().to_string())),
            Err(fault) => answer(&parts, &fault),
        }
    }

    async fn echo_id(request: Request) -> String {
        path_param(&request.into_parts().0, "id").unwrap_or_else(|error| error.to_string())
    }

    async fn panics() -> String {
        panic!("boom")
    }

    fn routes() -> Router {
        let nested = Router::new().route("/things/{id}/x", get(echo_id));
        let read = || post(read);
        Router::new()
            .route("/v1/things/{id}", get(echo_id))
            .route("/v1/read", read())
            .route("/external/v1/customers/bulk", read())
            .route("/external/v1/customers", read().get(echo_id))
            .route("/v2/read", read())
            .route("/v1/panic", get(panics))
            .route("/v2/panic", get(panics))
            .nest("/nested", nested)
    }

    fn small() -> HttpLimits {
        HttpLimits { request_deadline: Duration::from_millis(50), ..HttpLimits::default() }
    }

    async fn send(router: &Router, method: &str, uri: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }

    async fn ask(method: &str, uri: &str) -> Response {
        send(&wrap(routes(), &small()), method, uri, &[], vec![]).await
    }

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn json(response: Response) -> Value {
        serde_json::from_str(&text(response).await).unwrap()
    }

    #[tokio::test]
    async fn every_response_carries_the_request_id_and_the_safety_headers() {
        let router = wrap(routes(), &small());
        for uri in ["/v1/things/1", "/none", "/v1/panic"] {
            let response = send(&router, "GET", uri, &[("x-request-id", "abc.1")], vec![]).await;
            assert_eq!(response.headers()[REQUEST_ID_HEADER], "abc.1", "{uri}");
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            let response = send(&router, "GET", uri, &[("x-request-id", "a b")], vec![]).await;
            assert_eq!(response.headers()[REQUEST_ID_HEADER].len(), 36);
        }
    }

    #[tokio::test]
    async fn an_unknown_route_is_404_in_the_shape_of_its_prefix() {
        for (uri, member) in
            [("/v1/none", "code"), ("/", "code"), ("/external/v1/none", "detail"), ("/v2/none", "title")]
        {
            let response = ask("GET", uri).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND);
            assert!(json(response).await[member].is_string(), "{uri}");
        }
    }

    #[tokio::test]
    async fn another_method_on_a_known_route_is_405_with_allow() {
        for (uri, member, allow) in [
            ("/v1/things/1", "code", "GET,HEAD"),
            ("/nested/things/1/x", "code", "GET,HEAD"),
            ("/external/v1/customers", "detail", "GET,HEAD,POST"),
            ("/v2/read", "title", "POST"),
        ] {
            let response = ask("DELETE", uri).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            let mut sent: Vec<_> = response.headers()[ALLOW].to_str().unwrap().split(',').map(str::to_owned).collect();
            sent.sort();
            assert_eq!(sent.join(","), allow, "{uri}");
            assert!(json(response).await[member].is_string(), "{uri}");
        }
    }

    #[tokio::test]
    async fn head_is_get_without_the_body() {
        let response = ask("HEAD", "/v1/things/1").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, "");
    }

    #[tokio::test]
    async fn a_path_parameter_is_decoded_from_the_raw_path_even_in_a_nested_router() {
        assert_eq!(text(ask("GET", "/v1/things/a%2Fb%25%20%C3%A9").await).await, "a/b% é");
        assert_eq!(text(ask("GET", "/nested/things/a%2Fb/x").await).await, "a/b");
        assert_eq!(text(ask("GET", "/v1/things/%ff").await).await, "not valid UTF-8");
    }

    #[tokio::test]
    async fn a_panic_is_a_500_with_fixed_text() {
        let response = ask("GET", "/v1/panic").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let id = response.headers()[REQUEST_ID_HEADER].to_str().unwrap().to_owned();
        assert_eq!(
            json(response).await,
            serde_json::json!({"code": "internal", "message": format!("request id {id}")})
        );
        assert_eq!(json(ask("GET", "/v2/panic").await).await["type"], "InternalServerError");
    }

    #[tokio::test]
    async fn the_publisher_body_shows_the_callers_own_id() {
        let router = wrap(routes(), &small());
        let response = send(&router, "GET", "/v2/none", &[("x-cdlx-request-id", "own/1")], vec![]).await;
        assert_eq!(json(response).await["requestId"], "own/1");
        let response = send(&router, "GET", "/v2/none", &[("x-request-id", "mine")], vec![]).await;
        assert_eq!(json(response).await["requestId"], "mine");
    }

    #[tokio::test]
    async fn body_limits_hold_at_the_limit_by_path() {
        let router = wrap(routes(), &HttpLimits::default());
        let (one, four) = (1 << 20, 4 << 20);
        for (uri, limit) in [
            ("/v1/read", one),
            ("/external/v1/customers", one),
            ("/external/v1/customers/bulk", four),
            ("/v2/read", four),
        ] {
            let response = send(&router, "POST", uri, &[], vec![b'x'; limit]).await;
            assert_eq!(text(response).await, limit.to_string(), "{uri}");
            let response = send(&router, "POST", uri, &[], vec![b'x'; limit + 1]).await;
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{uri}");
        }
    }

    #[tokio::test]
    async fn a_uri_past_the_limit_is_414_and_a_header_block_431() {
        let router = wrap(routes(), &HttpLimits::default());
        let prefix = "/v1/things/";
        let at = format!("{prefix}{}", "a".repeat((8 << 10) - prefix.len()));
        assert_eq!(send(&router, "GET", &at, &[], vec![]).await.status(), StatusCode::OK);
        let past = send(&router, "GET", &format!("{at}a"), &[], vec![]).await;
        assert_eq!(past.status(), StatusCode::URI_TOO_LONG);
        assert_eq!(json(past).await["code"], "invalid_argument");

        let used = "GET /v1/things/1 HTTP/1.1\r\n\r\n".len() + "x-pad: \r\n".len();
        let pad = "a".repeat((16 << 10) - used);
        let response = send(&router, "GET", "/v1/things/1", &[("x-pad", &pad)], vec![]).await;
        assert_eq!(response.status(), StatusCode::OK);
        let pad = format!("{pad}a");
        let response = send(&router, "GET", "/v1/things/1", &[("x-pad", &pad)], vec![]).await;
        assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_request_past_its_deadline_is_503() {
        let router = Router::new().route("/v1/slow", get(std::future::pending::<String>));
        let response = send(&wrap(router, &small()), "GET", "/v1/slow", &[], vec![]).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(json(response).await["code"], "unavailable");
    }

    #[tokio::test]
    async fn one_request_too_many_is_shed_at_once_while_probes_still_answer() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (entered, release) = (entered.clone(), release.clone());
            move || async move {
                entered.notify_one();
                release.notified().await;
                "done"
            }
        };
        let router = Router::new().route("/v1/held", get(handler)).route("/livez", get(|| async { "ok" }));
        let router = wrap(router, &HttpLimits { max_in_flight: 1, ..HttpLimits::default() });
        let held = tokio::spawn({
            let router = router.clone();
            async move { send(&router, "GET", "/v1/held", &[], vec![]).await }
        });
        entered.notified().await;
        let shed = send(&router, "GET", "/v2/any", &[], vec![]).await;
        assert_eq!(shed.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(shed.headers()[RETRY_AFTER], "1");
        assert_eq!(json(shed).await["type"], "ServiceUnavailableException");
        assert_eq!(send(&router, "GET", "/livez", &[], vec![]).await.status(), StatusCode::OK);
        release.notify_one();
        assert_eq!(held.await.unwrap().status(), StatusCode::OK);
        assert_eq!(send(&router, "GET", "/none", &[], vec![]).await.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_first_rule_that_sets_a_value_decides_it() {
        let limits = HttpLimits::default();
        assert_eq!(limits.decide("/v1/customers").body.limit, 1 << 20);
        assert_eq!(limits.decide("/v2").body.limit, 4 << 20);
        assert_eq!(limits.decide("/v2x").body.limit, 1 << 20);
        assert!(!limits.decide("/metrics").counted);
        assert!(limits.decide("/v1/events").deadline > Duration::from_secs(30));
        assert!(!limits.decide("/v1/webhook-endpoints/we_1/ping").counted);
        assert!(limits.decide("/v1/webhook-endpoints/we_1/rotate").counted);
    }
}
