//! A request on its way to a handler: credential, scope, size and media type are decided when it is extracted; whatever
//! is wrong with its syntax and fields is gathered, and told together by [`Call::ready`].
//!
//! Owns that order. It must not know any route's fields.

use axum::extract::{FromRequest, Request};
use custodia_domain::ports::Scope;
use custodia_domain::registry::{Caller, Key, Precondition};
use custodia_domain::{Answer, RequestId};
use http::Method;
use http::request::Parts;

use super::Lms;
use super::error::{Problems, Refused};
use crate::http::auth::{Denied, Principal, admitted};
use crate::http::body::{collect, policy, require_json};
use crate::http::conditional::{precondition, wants_absence};
use crate::http::context::{self, Dialect};
use crate::http::credential;
use crate::http::fault::Fault;
use crate::http::idempotency::{IDEMPOTENCY_KEY, key_of};
use crate::http::json::{self, Json};
use crate::http::query::{Query, QueryFault};
use crate::http::reason::{REASON, reason_of};

/// A request whose credential is accepted.
pub(super) struct Call {
    pub(super) principal: Principal,
    pub(super) request_id: RequestId,
    pub(super) parts: Parts,
    pub(super) query: Query,
    /// `None` where there is none, or where it could not be read: then a problem says so.
    pub(super) body: Option<Json>,
    pub(super) problems: Problems,
    examined: Option<Examined>,
}

/// What the headers of a request say, as far as they can be read.
struct Examined {
    key: Option<Key>,
    precondition: Precondition,
    reason: Option<Box<str>>,
}

/// A request that only looks. Its body, if it has one, is not read.
pub(super) struct Read(pub(super) Call);

/// A request that changes something; its credential may.
pub(super) struct Write(pub(super) Call);

/// The same with a body that may be missing, as that of a deletion may.
pub(super) struct BareWrite(pub(super) Call);

impl FromRequest<Lms> for Read {
    type Rejection = Refused;

    async fn from_request(request: Request, lms: &Lms) -> Result<Self, Refused> {
        let (parts, _) = request.into_parts();
        Ok(Self(Call::admitted(lms, parts, Scope::Read).await?))
    }
}

impl FromRequest<Lms> for Write {
    type Rejection = Refused;

    async fn from_request(request: Request, lms: &Lms) -> Result<Self, Refused> {
        let is_bare = request.method() == Method::DELETE;
        Ok(Self(Call::that_writes(request, lms, is_bare).await?))
    }
}

impl FromRequest<Lms> for BareWrite {
    type Rejection = Refused;

    async fn from_request(request: Request, lms: &Lms) -> Result<Self, Refused> {
        Ok(Self(Call::that_writes(request, lms, true).await?))
    }
}

impl Call {
    /// The request, if its credential is accepted, may do that much, and has not asked too often.
    async fn admitted(lms: &Lms, parts: Parts, needed: Scope) -> Result<Self, Refused> {
        let request_id = context::RequestId::of_request(&parts);
        let token =
            credential::of_scheme(&parts.headers, "Bearer").ok_or_else(|| Refused::unauthenticated("Bearer"))?;
        let principal = admitted(lms.authenticator.bearer(token), needed).await;
        let principal = principal.map_err(|denied| match denied {
            Denied::Credential(error) => Refused::credential(&error, "Bearer", &request_id),
            Denied::Forbidden => Refused::forbidden(),
        })?;
        Ok(Self::new(principal, request_id, parts))
    }

    fn new(principal: Principal, request_id: RequestId, parts: Parts) -> Self {
        let query = Query::parse(parts.uri.query());
        Self { principal, request_id, parts, query, body: None, problems: Problems::default(), examined: None }
    }

    async fn that_writes(request: Request, lms: &Lms, is_bare: bool) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let mut call = Self::admitted(lms, parts, Scope::Write).await?;
        let bytes = collect(body, policy(&call.parts)).await;
        call.read_body(bytes, is_bare)?;
        Ok(call)
    }

    fn read_body(&mut self, bytes: Result<bytes::Bytes, Fault>, is_bare: bool) -> Result<(), Refused> {
        let refused = |fault| Refused::Fault(fault, self.request_id.clone());
        let bytes = bytes.map_err(refused)?;
        if bytes.is_empty() && is_bare {
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
        self.examine();
        let Some(Examined { key, precondition, reason }) = self.examined else {
            unreachable!("it was examined right before")
        };
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
            _ => Err(Refused::invalid(&self.problems)),
        }
    }

    /// Notes what is wrong with the query and the headers, once; every parameter that the route knows is taken by then.
    pub(super) fn examine(&mut self) {
        if self.examined.is_none() {
            add_query_problems(&self.query, &mut self.problems);
            let (key, precondition, reason) = (self.key(), self.precondition(), self.reason());
            self.examined = Some(Examined { key, precondition, reason });
        }
    }

    fn key(&mut self) -> Option<Key> {
        let key = key_of(&self.parts, &self.principal, Dialect::Lms, &self.query, self.body.as_ref());
        key.unwrap_or_else(|error| {
            self.problems.add(IDEMPOTENCY_KEY, error.to_string());
            None
        })
    }

    fn precondition(&mut self) -> Precondition {
        if matches!(self.parts.method, Method::GET | Method::HEAD) {
            return Precondition::None;
        }
        if self.parts.method == Method::PUT {
            match wants_absence(&self.parts.headers) {
                Ok(true) => return Precondition::Absent,
                Ok(false) => {}
                Err(error) => self.problems.add("If-None-Match", error.to_string()),
            }
        }
        precondition(&self.parts.headers).unwrap_or_else(|error| {
            self.problems.add("If-Match", error.to_string());
            Precondition::None
        })
    }

    fn reason(&mut self) -> Option<Box<str>> {
        reason_of(&self.parts.method, &self.parts.headers).unwrap_or_else(|error| {
            self.problems.add(REASON, error.to_string());
            None
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

/// An answer of the dialect: JSON with an entity tag where it shows one resource.
pub(super) fn json_answer(body: Vec<u8>) -> Answer {
    Answer { status: 200, headers: vec![("content-type".into(), "application/json".into())], body }
}
