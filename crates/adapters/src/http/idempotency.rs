//! Idempotency keys, the same for every dialect.
//!
//! Owns the syntax of the `Idempotency-Key` header, what a key is scoped by, what makes two requests the same, and how a kept
//! answer is sent. It must not know any dialect's fields nor how receipts are stored.

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use custodia_domain::registry::Key;
use custodia_domain::{Answer, Fingerprint, OrganizationId, ReceiptKey};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::auth::Principal;
use super::context::{Dialect, FullUri};
use super::json::{self, Json};
use super::query::{self, Query};

/// The header's name, as clients write it.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The most characters of a key.
const LIMIT: usize = 255;

/// Why a request's key cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The header is there more than once.
    #[error("must be given once")]
    Repeated,
    /// The value is neither a key nor a quoted one.
    #[error("must be 1 to 255 visible ASCII characters, bare or in double quotes")]
    Syntax,
}

/// The key that a request bears: `"quoted"` (a structured field string, RFC 9651) or bare; both name the same key.
///
/// # Errors
/// [`KeyError`] for more than one header or a malformed one.
pub fn key_text(headers: &HeaderMap) -> Result<Option<Box<str>>, KeyError> {
    let mut sent = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        return Err(KeyError::Repeated);
    }
    let text = value.to_str().map_err(|_| KeyError::Syntax)?;
    let key = if text.starts_with('"') { unquote(text).ok_or(KeyError::Syntax)? } else { text.to_owned() };
    let valid = (1..=LIMIT).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { Ok(Some(key.into())) } else { Err(KeyError::Syntax) }
}

fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut key = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => key.push(rest.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            '"' => return None,
            _ => key.push(c),
        }
    }
    // A closing quote that is itself escaped closes nothing.
    (text.len() >= 2).then_some(key)
}

/// The key of a request, with its scope and its fingerprint; `None` where it bears none, or only reads.
///
/// # Errors
/// [`KeyError`] for more than one header or a malformed one.
pub fn key_of(
    parts: &Parts,
    principal: &Principal,
    dialect: Dialect,
    query: &Query,
    body: Option<&Json>,
) -> Result<Option<Key>, KeyError> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(None);
    }
    let asked = Asked {
        organization: principal.organization,
        credential: &principal.credential,
        dialect,
        method: &parts.method,
        route: parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str),
        path: parts.extensions.get::<FullUri>().map_or(parts.uri.path(), |full| full.0.path()),
        query,
        body,
    };
    Ok(key_text(&parts.headers)?.map(|text| asked.key(text)))
}

/// Everything that scopes a key and tells one request from another.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The tenant.
    pub organization: OrganizationId,
    /// The credential, as [`Principal`] names it.
    pub credential: &'a str,
    /// The dialect.
    pub dialect: Dialect,
    /// The method.
    pub method: &'a Method,
    /// The route's template, such as `/v1/customers/{customer_id}`.
    pub route: &'a str,
    /// The raw path of the request.
    pub path: &'a str,
    /// The query.
    pub query: &'a Query,
    /// The body; `None` where there is none.
    pub body: Option<&'a Json>,
}

impl Asked<'_> {
    /// The key of that text, in its scope, with the fingerprint of the request.
    #[must_use]
    pub fn key(&self, text: Box<str>) -> Key {
        let mut scope = Fields::new(b"idempotency scope 1");
        scope.add(&self.organization.get().to_be_bytes());
        for part in [self.credential, self.method.as_str(), self.route, &text] {
            scope.add(part.as_bytes());
        }
        Key { text, receipt: ReceiptKey(scope.finish()), fingerprint: Fingerprint(self.fingerprint()) }
    }

    fn fingerprint(&self) -> [u8; 32] {
        let dialect: &[u8] = match self.dialect {
            Dialect::Lms => b"lms",
            Dialect::Crm => b"crm",
            Dialect::Publisher => b"publisher",
        };
        let mut fields = Fields::new(b"request fingerprint 1");
        fields.add(dialect);
        fields.add(self.method.as_str().as_bytes());
        fields.add(self.route.as_bytes());
        let segments: Vec<&str> = self.path.split('/').collect();
        fields.count(segments.len());
        for segment in segments {
            // `%2f` and `%2F` are the same path.
            fields.add(query::decode(segment).as_deref().unwrap_or(segment).as_bytes());
        }
        let pairs = self.query.sorted_pairs();
        fields.count(pairs.len());
        for (name, value) in pairs {
            fields.add(name.as_bytes());
            fields.add(value.as_bytes());
        }
        fields.add(&self.body.map(json::canonical).unwrap_or_default());
        fields.finish()
    }
}

/// A hash over fields, each with its length: no two lists of fields run together.
struct Fields(Sha256);

impl Fields {
    fn new(purpose: &[u8]) -> Self {
        let mut fields = Self(Sha256::new());
        fields.add(purpose);
        fields
    }

    fn count(&mut self, number: usize) {
        self.0.update((number as u64).to_be_bytes());
    }

    fn add(&mut self, field: &[u8]) {
        self.count(field.len());
        self.0.update(field);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Sends an answer, byte for byte; headers that HTTP does not allow are left out.
#[must_use]
pub fn respond(answer: Answer) -> Response {
    let Answer { status, headers, body } = answer;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(&*name), HeaderValue::try_from(&*value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn quoted_and_bare_name_the_same_key() {
        assert_eq!(key_text(&sent(&["\"k-1\""])), Ok(Some("k-1".into())));
        assert_eq!(key_text(&sent(&["k-1"])), Ok(Some("k-1".into())));
        assert_eq!(key_text(&sent(&[r#""a\"\\b""#])), Ok(Some(r#"a"\b"#.into())));
        assert_eq!(key_text(&sent(&[])), Ok(None));
        let longest = "k".repeat(255);
        assert_eq!(key_text(&sent(&[&longest])), Ok(Some(longest.clone().into())));
    }

    #[test]
    fn two_headers_and_malformed_ones_are_refused() {
        assert_eq!(key_text(&sent(&["a", "a"])), Err(KeyError::Repeated));
        let too_long = "k".repeat(256);
        for bad in ["", "\"\"", "\"", "\"a", "\"a\\\"", "a b", "\"a b\"", "\"a\";x=1", "\"a\"b\"", "\"\\a\"", &too_long]
        {
            assert_eq!(key_text(&sent(&[bad])), Err(KeyError::Syntax), "{bad}");
        }
        let mut latin = HeaderMap::new();
        latin.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(b"\xe9").unwrap());
        assert_eq!(key_text(&latin), Err(KeyError::Syntax));
    }

    fn key_of(change: impl FnOnce(&mut Asked<'_>)) -> Key {
        let query = Query::parse(Some("b=2&a=1"));
        let body = json::parse(br#"{"b":1,"a":"x"}"#).unwrap();
        let mut asked = Asked {
            organization: OrganizationId::FIRST,
            credential: "key:1",
            dialect: Dialect::Lms,
            method: &Method::PUT,
            route: "/v1/customers/{customer_id}",
            path: "/v1/customers/a%2fb",
            query: &query,
            body: Some(&body),
        };
        change(&mut asked);
        asked.key("k".into())
    }

    #[test]
    fn the_same_request_written_differently_has_the_same_fingerprint() {
        let first = key_of(|_| ());
        let query = Query::parse(Some("a=%31&b=2"));
        let body = json::parse(b"{ \"a\" : \"\\u0078\", \"b\" : 1 }").unwrap();
        let again = {
            let mut asked = Asked {
                organization: OrganizationId::FIRST,
                credential: "key:1",
                dialect: Dialect::Lms,
                method: &Method::PUT,
                route: "/v1/customers/{customer_id}",
                path: "/v1/customers/a%2Fb",
                query: &query,
                body: Some(&body),
            };
            asked.query = &query;
            asked.key("k".into())
        };
        assert_eq!(first, again);
    }

    #[test]
    fn organization_credential_method_and_route_scope_a_key() {
        let first = key_of(|_| ());
        let others = [
            key_of(|asked| asked.organization = OrganizationId::parse(2).unwrap()),
            key_of(|asked| asked.credential = "key:2"),
            key_of(|asked| asked.method = &Method::DELETE),
            key_of(|asked| asked.route = "/v1/customers"),
        ];
        for other in others {
            assert_ne!(first.receipt, other.receipt);
        }
        let elsewhere = key_of(|asked| asked.path = "/v1/customers/a/b");
        let bodiless = key_of(|asked| asked.body = None);
        for other in [elsewhere, bodiless] {
            assert_eq!(first.receipt, other.receipt);
            assert_ne!(first.fingerprint, other.fingerprint);
        }
    }
}
