//! A request on its way to a handler: credential, scope, size and media type are decided when it is extracted; whatever
//! is wrong with its syntax and fields is gathered, and told together by [`Call::ready`].
//!
//! Owns that order. It must not know any route's fields.

use axum::extract::{FromRequest, MatchedPath, Request};
use custodia_domain::ports::Scope;
use custodia_domain::registry::{Caller, Key, Precondition};
use custodia_domain::{Answer, RequestId, Version};
use http::header::{AUTHORIZATION, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, Method};

use super::Lms;
use super::error::{Problems, Refused};
use crate::http::auth::Principal;
use crate::http::body::{read_request, require_json};
use crate::http::context::{self, Dialect, FullUri};
use crate::http::fault::Fault;
use crate::http::idempotency::{Asked, IDEMPOTENCY_KEY, key_text};
use crate::http::json::{self, Json};
use crate::http::query::{Query, QueryFault};
use crate::http::rate;

/// A request whose credential is accepted.
pub(super) struct Call {
    pub(super) principal: Principal,
    pub(super) request_id: RequestId,
    pub(super) parts: Parts,
    pub(super) query: Query,
    /// `None` where there is none, or where it could not be read: then a problem says so.
    pub(super) body: Option<Json>,
    pub(super) problems: Problems,
}

/// A request that only looks. Its body, if it has one, is not read.
pub(super) struct Read(pub(super) Call);

/// A request that changes something; its credential may.
pub(super) struct Write(pub(super) Call);

impl FromRequest<Lms> for Read {
    type Rejection = Refused;

    async fn from_request(request: Request, lms: &Lms) -> Result<Self, Refused> {
        let (parts, _) = request.into_parts();
        let request_id = request_id(&parts);
        let principal = authenticate(lms, &parts.headers, &request_id).await?;
        admit(&principal, &request_id)?;
        Ok(Self(Call::new(principal, request_id, parts)))
    }
}

impl FromRequest<Lms> for Write {
    type Rejection = Refused;

    async fn from_request(request: Request, lms: &Lms) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let request_id = request_id(&parts);
        let principal = authenticate(lms, &parts.headers, &request_id).await?;
        if principal.scope < Scope::Write {
            return Err(Refused::forbidden());
        }
        admit(&principal, &request_id)?;
        let (parts, bytes) = read_request(Request::from_parts(parts, body)).await;
        let mut call = Call::new(principal, request_id, parts);
        call.read_body(bytes)?;
        Ok(Self(call))
    }
}

async fn authenticate(lms: &Lms, headers: &HeaderMap, request_id: &RequestId) -> Result<Principal, Refused> {
    let token = credential(headers, "Bearer").ok_or_else(|| Refused::unauthenticated("Bearer"))?;
    let principal = lms.authenticator.bearer(token).await;
    principal.map_err(|error| Refused::credential(&error, "Bearer", request_id))
}

fn admit(principal: &Principal, request_id: &RequestId) -> Result<(), Refused> {
    rate::admit(principal).map_err(|error| Refused::credential(&error, "Bearer", request_id))
}

/// What follows the scheme in the one `Authorization` header.
pub(super) fn credential<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let (named, credential) = sent.next()?.to_str().ok()?.split_once(' ')?;
    let credential = credential.trim_matches(' ');
    (named.eq_ignore_ascii_case(scheme) && sent.next().is_none() && !credential.is_empty()).then_some(credential)
}

/// The id that the edge gave the request.
pub(super) fn request_id(parts: &Parts) -> RequestId {
    let id = parts.extensions.get::<context::RequestId>().cloned();
    let id = id.unwrap_or_else(|| context::RequestId::of_headers(&parts.headers));
    RequestId::parse(id.as_str()).expect("the edge and the domain agree on the form of a request id")
}

impl Call {
    fn new(principal: Principal, request_id: RequestId, parts: Parts) -> Self {
        let query = Query::parse(parts.uri.query());
        Self { principal, request_id, parts, query, body: None, problems: Problems::default() }
    }

    fn read_body(&mut self, bytes: Result<bytes::Bytes, Fault>) -> Result<(), Refused> {
        let refused = |fault| Refused::Fault(fault, self.request_id.clone());
        let bytes = bytes.map_err(refused)?;
        if bytes.is_empty() && self.parts.method == Method::DELETE {
            return Ok(());
        }
        require_json(&self.parts.headers).map_err(refused)?;
        match json::parse(&bytes) {
            Ok(document) if document.as_object().is_some() => self.body = Some(document),
            Ok(_) => self.problems.add("body", "must be a JSON object"),
            Err(error) => self.problems.add("body", error.to_string()),
        }
        Ok(())
    }

    /// The whole request is read: what was wanted of it, if nothing is wrong with it, and who asks.
    ///
    /// # Errors
    /// [`Refused`] with every problem that was found, those of the query and of the headers included.
    pub(super) fn ready<T>(mut self, wanted: Option<T>) -> Result<(Caller, T), Refused> {
        add_query_problems(&self.query, &mut self.problems);
        let key = self.key();
        let precondition = self.precondition();
        match wanted {
            Some(wanted) if self.problems.is_empty() => {
                let caller = Caller {
                    organization: self.principal.organization,
                    actor: self.principal.actor,
                    request_id: self.request_id,
                    key,
                    precondition,
                    reason: None,
                };
                Ok((caller, wanted))
            }
            _ => Err(Refused::invalid(&self.problems)),
        }
    }

    fn key(&mut self) -> Option<Key> {
        if matches!(self.parts.method, Method::GET | Method::HEAD) {
            return None;
        }
        let text = key_text(&self.parts.headers).unwrap_or_else(|error| {
            self.problems.add(IDEMPOTENCY_KEY, error.to_string());
            None
        })?;
        let asked = Asked {
            organization: self.principal.organization,
            credential: &self.principal.credential,
            dialect: Dialect::Lms,
            method: &self.parts.method,
            route: self.parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str),
            path: self.parts.extensions.get::<FullUri>().map_or(self.parts.uri.path(), |full| full.0.path()),
            query: &self.query,
            body: self.body.as_ref(),
        };
        Some(asked.key(text))
    }

    fn precondition(&mut self) -> Precondition {
        if matches!(self.parts.method, Method::GET | Method::HEAD) {
            return Precondition::None;
        }
        precondition(&self.parts.headers).unwrap_or_else(|error| {
            self.problems.add("If-Match", error);
            Precondition::None
        })
    }
}

/// Adds what is wrong with the parameters of a query that were or were not taken.
pub(super) fn add_query_problems(query: &Query, problems: &mut Problems) {
    for problem in query.problems() {
        let error = match problem.fault {
            QueryFault::Undecodable(error) => error.to_string().into(),
            QueryFault::Duplicate => "must be given once".into(),
            QueryFault::Unknown => std::borrow::Cow::Borrowed("unknown parameter"),
        };
        problems.add(problem.name, error);
    }
}

/// Whether a GET may be answered with 304: its `If-None-Match` names the version (weak comparison) or `*`.
pub(super) fn is_known(headers: &HeaderMap, version: Version) -> bool {
    let current = version.to_string();
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|tag| {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(&current)
    })
}

fn precondition(headers: &HeaderMap) -> Result<Precondition, &'static str> {
    const SYNTAX: &str = "must be * or one entity tag such as \"3\"";
    let mut sent = headers.get_all(IF_MATCH).iter();
    let Some(value) = sent.next() else {
        return Ok(Precondition::None);
    };
    let tag = value.to_str().map_err(|_| SYNTAX)?.trim();
    if sent.next().is_some() {
        return Err(SYNTAX);
    }
    if tag == "*" {
        return Ok(Precondition::Exists);
    }
    let (weak, quoted) = tag.strip_prefix("W/").map_or((false, tag), |rest| (true, rest));
    let opaque = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(SYNTAX)?;
    if opaque.contains('"') {
        return Err(SYNTAX);
    }
    // A tag that we never gave names no version: it is refused like an old one. A weak one never matches (RFC 9110 13.1.1).
    let canonical = !weak && !opaque.starts_with('0') && opaque.bytes().all(|byte| byte.is_ascii_digit());
    let number = opaque.parse().ok().filter(|_| canonical).and_then(|number| Version::parse(number).ok());
    let never = || Version::parse(i64::MAX).expect("the greatest number is positive");
    Ok(Precondition::Version(number.unwrap_or_else(never)))
}

/// An answer of the dialect: JSON with an entity tag where it shows one resource.
pub(super) fn json_answer(body: Vec<u8>) -> Answer {
    Answer { status: 200, headers: vec![("content-type".into(), "application/json".into())], body }
}
