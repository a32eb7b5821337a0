//! A request on its way to a handler: credential, scope, size and media type are decided when it is extracted; whatever
//! is wrong with its syntax and fields is gathered, and told together by [`Call::ready`].
//!
//! Owns that order. It must not know any route's fields.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use custodia_domain::ports::Scope;
use custodia_domain::registry::{Caller, Precondition};
use custodia_domain::{ExternalId, RequestId};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::Publisher;
use super::error::{Ids, Problems, Refused};
use crate::http::auth::{AuthError, Principal, Session};
use crate::http::body::{collect, policy, require_json};
use crate::http::context::{self, Dialect, PUBLISHER_REQUEST_ID_HEADER, publisher_request_id, shown_request_id};
use crate::http::credential::{of_header, of_scheme};
use crate::http::fault::Fault;
use crate::http::idempotency::{IDEMPOTENCY_KEY, key_of};
use crate::http::json::{self, Json};
use crate::http::query::{Query, QueryFault, path_param};
use crate::http::rate;
use crate::http::reason::{REASON, reason_of};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-cdlx-session-token");

/// A request whose credential is accepted.
pub(super) struct Call {
    pub(super) principal: Principal,
    pub(super) ids: Ids,
    pub(super) parts: Parts,
    pub(super) query: Query,
    /// `None` where there is none, or where it could not be read: then a problem says so.
    pub(super) body: Option<Json>,
    pub(super) problems: Problems,
}

/// A request that starts a session: the institution proves itself.
pub(super) struct Start(pub(super) Call);

/// A request that sends the institution's data, in its session.
pub(super) struct Data(pub(super) Call);

/// A request that reads the profile of its session's customer. Its body, if it has one, is not read.
pub(super) struct OfCustomer(pub(super) Call, pub(super) ExternalId);

impl FromRequest<Publisher> for Start {
    type Rejection = Refused;

    async fn from_request(request: Request, publisher: &Publisher) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let ids = ids_of(&parts);
        let principal = institution(publisher, &parts.headers).await;
        let principal = principal.map_err(|error| Refused::credential(&error, &ids))?;
        Ok(Self(Call::admitted(principal, ids, parts)?.with(body).await?))
    }
}

impl FromRequest<Publisher> for Data {
    type Rejection = Refused;

    async fn from_request(request: Request, publisher: &Publisher) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let ids = ids_of(&parts);
        let session = session(publisher, &parts.headers).await.map_err(|error| Refused::credential(&error, &ids))?;
        if !session.institution || session.principal.scope < Scope::Write {
            return Err(Refused::forbidden(&ids));
        }
        Ok(Self(Call::admitted(session.principal, ids, parts)?.with(body).await?))
    }
}

impl FromRequest<Publisher> for OfCustomer {
    type Rejection = Refused;

    async fn from_request(request: Request, publisher: &Publisher) -> Result<Self, Refused> {
        let (parts, _) = request.into_parts();
        let ids = ids_of(&parts);
        let session = session(publisher, &parts.headers).await.map_err(|error| Refused::credential(&error, &ids))?;
        let customer = session.customer.ok_or_else(|| Refused::forbidden(&ids))?;
        Ok(Self(Call::admitted(session.principal, ids, parts)?, customer))
    }
}

fn ids_of(parts: &Parts) -> Ids {
    let id = parts.extensions.get::<context::RequestId>().cloned();
    let id = id.unwrap_or_else(|| context::RequestId::of_headers(&parts.headers));
    let shown = shown_request_id(Dialect::Publisher, &parts.headers, &id);
    let request = RequestId::parse(id.as_str());
    Ids { request: request.expect("the edge and the domain agree on the form of a request id"), shown: shown.into() }
}

/// The institution that an API key or a bearer token proves; where a key is sent, it alone counts.
async fn institution(publisher: &Publisher, headers: &HeaderMap) -> Result<Principal, AuthError> {
    if headers.contains_key(&API_KEY) {
        let key = of_header(headers, &API_KEY).ok_or(AuthError::Unauthenticated)?;
        return publisher.authenticator.api_key(key).await;
    }
    let token = of_scheme(headers, "Bearer").ok_or(AuthError::Unauthenticated)?;
    publisher.authenticator.bearer(token).await
}

async fn session(publisher: &Publisher, headers: &HeaderMap) -> Result<Session, AuthError> {
    let token = of_header(headers, &SESSION_TOKEN).ok_or(AuthError::Unauthenticated)?;
    publisher.sessions.session(token).await
}

impl Call {
    fn admitted(principal: Principal, ids: Ids, parts: Parts) -> Result<Self, Refused> {
        rate::admit(&principal).map_err(|error| Refused::credential(&error, &ids))?;
        let query = Query::parse(parts.uri.query());
        Ok(Self { principal, ids, parts, query, body: None, problems: Problems::default() })
    }

    async fn with(mut self, body: Body) -> Result<Self, Refused> {
        let bytes = collect(body, policy(&self.parts)).await;
        self.read_body(bytes)?;
        Ok(self)
    }

    fn read_body(&mut self, bytes: Result<bytes::Bytes, Fault>) -> Result<(), Refused> {
        let refused = |fault| Refused::Fault(fault, self.ids.shown.clone());
        let bytes = bytes.map_err(refused)?;
        require_json(&self.parts.headers).map_err(refused)?;
        match json::parse(&bytes) {
            Ok(document) if document.as_object().is_some() => self.body = Some(document),
            Ok(_) => self.problems.unreadable("must be a JSON object"),
            Err(error) => self.problems.unreadable(error.to_string()),
        }
        Ok(())
    }

    /// The id that the path names; `None`, and a problem, where it is none.
    pub(super) fn path_id(&mut self, name: &'static str) -> Option<ExternalId> {
        let text = path_param(&self.parts, name).map_err(|error| error.to_string());
        let id = text.and_then(|text| ExternalId::parse(&text).map_err(|error| error.to_string()));
        id.map_err(|error| self.problems.add(name, error)).ok()
    }

    /// The whole request is read: what was wanted of it, if nothing is wrong with it, and who asks.
    ///
    /// # Errors
    /// [`Refused`] with every problem that was found, those of the query and of the headers included.
    pub(super) fn ready<T>(mut self, wanted: Option<T>) -> Result<(Caller, Ids, T), Refused> {
        for problem in self.query.problems() {
            let error = match problem.fault {
                QueryFault::Undecodable(error) => error.to_string(),
                QueryFault::Duplicate => "must be given once".to_owned(),
                QueryFault::Unknown => "unknown parameter".to_owned(),
            };
            self.problems.add_named(&problem.name, error);
        }
        let headers = &self.parts.headers;
        if headers.contains_key(PUBLISHER_REQUEST_ID_HEADER) && publisher_request_id(headers).is_none() {
            self.problems.add("X-CDLX-Request-Id", "must be given once, as 1 to 128 visible ASCII characters");
        }
        let key = key_of(&self.parts, &self.principal, Dialect::Publisher, &self.query, self.body.as_ref());
        let key = key.unwrap_or_else(|error| {
            self.problems.add(IDEMPOTENCY_KEY, error);
            None
        });
        let reason = reason_of(&self.parts.method, &self.parts.headers).unwrap_or_else(|error| {
            self.problems.add(REASON, error);
            None
        });
        match wanted {
            Some(wanted) if self.problems.is_empty() => {
                let caller = Caller {
                    organization: self.principal.organization,
                    actor: self.principal.actor,
                    request_id: self.ids.request.clone(),
                    key,
                    precondition: Precondition::None,
                    reason,
                };
                Ok((caller, self.ids, wanted))
            }
            _ => Err(Refused::invalid(&self.problems, &self.ids)),
        }
    }
}
