//! What the edge knows of a request and hands on in its extensions.
//!
//! Owns request ids, the dialect of a path, the peer's address and the body policy. It must not know what any route does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Uri};
use uuid::Uuid;

/// The header that carries the request id both ways.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// The header by which publisher clients name a request themselves.
pub const PUBLISHER_REQUEST_ID_HEADER: &str = "x-cdlx-request-id";

/// Which of the wire dialects a path belongs to; it decides the shape of an error body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The loan-management dialect, and whatever belongs to no other one.
    Lms,
    /// The CRM intake dialect, under `/external/v1`.
    Crm,
    /// The batch ingest dialect, under `/v2`.
    Publisher,
}

impl Dialect {
    /// The dialect whose prefix the path has, by whole segments: `/v2x` is not under `/v2`.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if under(path, "/v2") {
            Self::Publisher
        } else if under(path, "/external/v1") {
            Self::Crm
        } else {
            Self::Lms
        }
    }
}

/// Whether `path` is `prefix` or below it, by whole segments.
pub(super) fn under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

/// The id of a request: the caller's `X-Request-Id` where usable, else new. In the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes the caller's id where it matches `[A-Za-z0-9._-]{1,64}` and is sent once, else makes a new random UUID.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(REQUEST_ID_HEADER).iter();
        match (sent.next().and_then(|value| value.to_str().ok()), sent.next()) {
            (Some(id), None) if is_usable(id) => Self(id.into()),
            _ => Self::random(),
        }
    }

    /// A new random id.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "a request id is no part of an operation's input and is never stored as an identity"
    )]
    pub fn random() -> Self {
        // By the thread's own generator: `new_v4` asks the system each time.
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        Self((&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).into())
    }

    /// The id that the edge gave the request, as the use cases know it; of a request that the edge never saw, that of its
    /// headers.
    #[must_use]
    pub fn of_request(parts: &Parts) -> custodia_domain::RequestId {
        let id = parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::of_headers(&parts.headers));
        custodia_domain::RequestId::parse(id.as_str())
            .expect("the edge and the domain agree on the form of a request id")
    }

    /// The id as text: visible ASCII, at most 64 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_usable(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The id that an error body of the dialect shows: in the publisher dialect the caller's own where it is valid (1 to 128
/// visible ASCII characters), everywhere else the request id.
#[must_use]
pub fn shown_request_id(dialect: Dialect, headers: &HeaderMap, request_id: &RequestId) -> String {
    let own = (dialect == Dialect::Publisher).then(|| publisher_request_id(headers)).flatten();
    own.unwrap_or(request_id.as_str()).to_owned()
}

/// The publisher caller's own request id, where the header is there once and valid: 1 to 128 visible ASCII characters.
#[must_use]
pub fn publisher_request_id(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(PUBLISHER_REQUEST_ID_HEADER).iter();
    let own = sent.next()?.to_str().ok()?;
    let valid =
        sent.next().is_none() && (1..=128).contains(&own.len()) && own.bytes().all(|byte| byte.is_ascii_graphic());
    valid.then_some(own)
}

/// The client's address: the other end of the connection, or what a trusted proxy there says of it. In the extensions of every request that came through the accept loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The URI as the client sent it: nested routers see only a part. In the extensions of every request.
#[derive(Debug, Clone)]
pub struct FullUri(pub Uri);

/// How much of a body is read and how long that may take. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPolicy {
    /// The most bytes that are accepted.
    pub limit: usize,
    /// How long the whole body may take to arrive, from when it is first read.
    pub deadline: Duration,
}

impl Default for BodyPolicy {
    /// 1 MiB within 10 seconds.
    fn default() -> Self {
        Self { limit: 1 << 20, deadline: Duration::from_secs(10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_path_belongs_to_the_dialect_of_its_first_whole_segments() {
        let cases = [
            ("/v2", Dialect::Publisher),
            ("/v2/data/customers", Dialect::Publisher),
            ("/v2x", Dialect::Lms),
            ("/external/v1", Dialect::Crm),
            ("/external/v1/external/v1/customers", Dialect::Crm),
            ("/external/v10", Dialect::Lms),
            ("/external", Dialect::Lms),
            ("/v1/customers", Dialect::Lms),
            ("/", Dialect::Lms),
            ("*", Dialect::Lms),
        ];
        for (path, dialect) in cases {
            assert_eq!(Dialect::of_path(path), dialect, "{path}");
        }
    }

    fn with_id(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(REQUEST_ID_HEADER, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_usable_request_id_is_kept_and_any_other_replaced() {
        let longest = "a".repeat(64);
        for id in ["a", "A-b_c.9", &longest] {
            assert_eq!(RequestId::of_headers(&with_id(&[id])).as_str(), id);
        }
        let too_long = "a".repeat(65);
        for ids in [&[""][..], &["a b"], &["a/b"], &["a\u{e9}"], &[&too_long], &["a", "b"], &[]] {
            let made = RequestId::of_headers(&with_id(ids));
            assert_eq!(made.as_str().len(), 36, "{ids:?}");
        }
    }

    #[test]
    fn only_the_publisher_dialect_shows_the_callers_own_id() {
        let mut headers = HeaderMap::new();
        headers.insert(PUBLISHER_REQUEST_ID_HEADER, HeaderValue::from_static("abc/1"));
        let id = RequestId::random();
        assert_eq!(shown_request_id(Dialect::Publisher, &headers, &id), "abc/1");
        assert_eq!(shown_request_id(Dialect::Lms, &headers, &id), id.as_str());
        headers.insert(PUBLISHER_REQUEST_ID_HEADER, HeaderValue::from_static("with space"));
        assert_eq!(shown_request_id(Dialect::Publisher, &headers, &id), id.as_str());
    }
}
