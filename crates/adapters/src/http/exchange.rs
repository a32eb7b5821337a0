//! One exchange with a dialect's router, for the tests of the dialects: a request as a client builds it, a whole answer.
//!
//! Owns those two forms. It must not know any dialect's credential or errors: each adds what it reads of its own answers.

use std::marker::PhantomData;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// A request with those headers, and with JSON as its media type where it has a body and names none. Of the credentials, headers
/// by which a caller proves itself, the first is sent unless another one is named. A header without a value is not sent.
pub(super) fn request(
    method: &str,
    path: &str,
    credentials: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    let named = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    if let Some((name, value)) = credentials.first()
        && !credentials.iter().any(|(name, _)| named(name))
    {
        request = request.header(*name, *value);
    }
    if !body.is_empty() && !named("content-type") {
        request = request.header("Content-Type", "application/json");
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

/// A whole answer of a dialect.
#[derive(Debug)]
pub(super) struct Reply<D> {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    dialect: PhantomData<D>,
}

impl<D> Reply<D> {
    /// The router's answer to a request.
    pub(super) async fn to(app: &Router, request: Request<Body>) -> Self {
        let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, text, dialect: PhantomData }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{} {}", self.status, self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    #[track_caller]
    pub(super) fn json_of(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}
