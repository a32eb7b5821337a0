//! A request on its way to a handler: credential, scope, rate, size and media type are decided when it is extracted;
//! whatever is wrong with its syntax and fields is gathered, and told together by [`Call::ready`].
//!
//! Owns that order. It must not know any route's fields.

use axum::extract::{FromRequest, MatchedPath, Request};
use custodia_domain::RequestId;
use custodia_domain::ports::Scope;
use custodia_domain::registry::{Caller, Key, Precondition};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, Method};
use zeroize::Zeroizing;

use super::error::Refused;
use super::problem::{Kind, Problems};
use super::{Crm, PREFIX, json_fault};
use crate::http::auth::{Denied, Principal, admitted};
use crate::http::body::{collect, policy, require_json};
use crate::http::conditional::precondition;
use crate::http::context::{self, Dialect, FullUri};
use crate::http::credential::{of_header, of_scheme};
use crate::http::fault::Fault;
use crate::http::idempotency::{Asked, IDEMPOTENCY_KEY, key_text};
use crate::http::json::{self, Json};
use crate::http::query::{Query, QueryFault};
use crate::http::reason::{REASON, reason_of};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

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

impl FromRequest<Crm> for Read {
    type Rejection = Refused;

    async fn from_request(request: Request, crm: &Crm) -> Result<Self, Refused> {
        let (parts, _) = request.into_parts();
        Ok(Self(Call::admitted(crm, parts, Scope::Read).await?))
    }
}

impl FromRequest<Crm> for Write {
    type Rejection = Refused;

    async fn from_request(request: Request, crm: &Crm) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let mut call = Call::admitted(crm, parts, Scope::Write).await?;
        let bytes = collect(body, policy(&call.parts)).await;
        call.read_body(bytes)?;
        Ok(Self(call))
    }
}

impl Call {
    /// The request, if its credential is accepted, may do that much, and has not asked too often.
    async fn admitted(crm: &Crm, parts: Parts, needed: Scope) -> Result<Self, Refused> {
        let request_id = context::RequestId::of_request(&parts);
        let by_key = parts.headers.contains_key(&API_KEY);
        let secret = if by_key { of_header(&parts.headers, &API_KEY) } else { of_scheme(&parts.headers, "Bearer") };
        let secret = Zeroizing::new(secret.ok_or_else(Refused::unauthenticated)?.to_owned());
        let proof = if by_key { crm.authenticator.api_key(&secret) } else { crm.authenticator.bearer(&secret) };
        let principal = admitted(proof, needed).await.map_err(|denied| match denied {
            Denied::Credential(error) => Refused::credential(&error, &request_id),
            Denied::Forbidden => Refused::forbidden(),
        })?;
        let query = Query::parse(parts.uri.query());
        Ok(Self { principal, request_id, parts, query, body: None, problems: Problems::of(secret) })
    }

    fn read_body(&mut self, bytes: Result<bytes::Bytes, Fault>) -> Result<(), Refused> {
        let refused = |fault| Refused::Fault(fault, self.request_id.clone());
        let bytes = bytes.map_err(refused)?;
        if bytes.is_empty() && self.parts.method == Method::DELETE {
            return Ok(());
        }
        if !bytes.is_empty() || self.parts.headers.contains_key(CONTENT_TYPE) {
            require_json(&self.parts.headers).map_err(refused)?;
        }
        let body = || vec!["body".into()];
        if bytes.is_empty() {
            self.problems.add(body(), &Kind::Missing, &Json::Null);
            return Ok(());
        }
        match json::parse(&bytes) {
            Ok(document) if document.as_object().is_some() => self.body = Some(document),
            Ok(document) => self.problems.add(body(), &Kind::NoObject, &document),
            Err(error) => {
                let (at, message) = json_fault::told(&bytes, error);
                self.problems.add(vec!["body".into(), at.into()], &Kind::Syntax(message), &Json::Object(Vec::new()));
            }
        }
        Ok(())
    }

    /// The whole request is read: what was wanted of it, if nothing is wrong with it, and who asks.
    ///
    /// # Errors
    /// [`Refused`] with every problem that was found, those of the query and of the headers included.
    pub(super) fn ready<T>(mut self, wanted: Option<T>) -> Result<(Caller, T), Refused> {
        self.add_query_problems();
        let changes = !matches!(self.parts.method, Method::GET | Method::HEAD);
        let key = if changes { self.key() } else { None };
        let precondition = if changes { self.precondition() } else { Precondition::None };
        let reason = self.reason();
        match wanted {
            Some(wanted) if self.problems.is_empty() => {
                let caller = Caller {
                    organization: self.principal.organization,
                    actor: self.principal.actor,
                    request_id: self.request_id,
                    key,
                    precondition,
                    reason,
                };
                Ok((caller, wanted))
            }
            _ => Err(Refused::invalid(self.problems)),
        }
    }

    fn key(&mut self) -> Option<Key> {
        let text = key_text(&self.parts.headers).unwrap_or_else(|error| {
            self.header_problem(IDEMPOTENCY_KEY, error.to_string());
            None
        })?;
        let asked = Asked {
            organization: self.principal.organization,
            credential: &self.principal.credential,
            dialect: Dialect::Crm,
            method: &self.parts.method,
            route: once(self.parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str)),
            path: once(self.raw_path()),
            query: &self.query,
            body: self.body.as_ref(),
        };
        Some(asked.key(text))
    }

    fn precondition(&mut self) -> Precondition {
        precondition(&self.parts.headers).unwrap_or_else(|error| {
            self.header_problem("If-Match", error.to_string());
            Precondition::None
        })
    }

    fn reason(&mut self) -> Option<Box<str>> {
        reason_of(&self.parts.method, &self.parts.headers).unwrap_or_else(|error| {
            self.header_problem(REASON, error.to_string());
            None
        })
    }

    fn header_problem(&mut self, name: &'static str, error: String) {
        let sent = self.parts.headers.get(name).and_then(|value| value.to_str().ok());
        let input = sent.map_or(Json::Null, |text| Json::String(text.to_owned()));
        self.problems.add(vec!["header".into(), name.into()], &Kind::value(error), &input);
    }

    /// The path as the client wrote it.
    pub(super) fn raw_path(&self) -> &str {
        self.parts.extensions.get::<FullUri>().map_or(self.parts.uri.path(), |full| full.0.path())
    }

    fn add_query_problems(&mut self) {
        for problem in self.query.problems() {
            let sent = self.query.pairs().find(|(name, _)| *name == problem.name);
            let input = sent.map_or(Json::Null, |(_, value)| Json::String(value.to_owned()));
            let kind = match problem.fault {
                QueryFault::Undecodable(error) => Kind::value(error.to_string()),
                QueryFault::Duplicate => Kind::value("must be given once"),
                QueryFault::Unknown => Kind::Extra,
            };
            self.problems.add(vec!["query".into(), problem.name.into()], &kind, &input);
        }
    }
}

/// A path under the one prefix, whichever of both it has: they are the same route.
fn once(path: &str) -> &str {
    path.strip_prefix(PREFIX).filter(|rest| rest.starts_with(PREFIX)).unwrap_or(path)
}
