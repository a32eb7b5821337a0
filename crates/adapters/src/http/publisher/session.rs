//! Sessions: the institution proves itself once and gets a token for an hour.
//!
//! Owns what a session may be started for. It must not know how tokens are made.

use axum::extract::State;
use axum::response::Response;
use custodia_domain::facets::{OptIn, Subsidiary};
use custodia_domain::{ExternalId, OrganizationId};
use serde::Serialize;

use super::call::Start;
use super::data::json_answer;
use super::error::{Ids, Problems, Refused};
use super::fields::{Fields, Form, id, text};
use super::{Publisher, schema};
use crate::http::auth::Session;
use crate::http::idempotency::respond;
use crate::http::json::Json;

const INSTITUTION: &str = "api:institution";
const CUSTOMER: &str = "api:customer";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Started<'a> {
    session_token: String,
    request_id: &'a str,
}

/// What a session is wanted for.
struct Wanted {
    institution: bool,
    customer: Option<ExternalId>,
}

/// Start a session
///
/// With an API key or a bearer token. The token that it answers is sent as `X-CDLX-Session-Token` and lives for one hour.
/// `api:institution` is for the data endpoints, `api:customer` for the profile of one customer, who has to be enrolled and to
/// have an account. The answer is a secret: it is not kept for an `Idempotency-Key`.
#[utoipa::path(post, path = "/v2/session/startSession", operation_id = "startSession", tag = "Sessions",
    security(("apiKey" = []), ("bearer" = [])),
    params(("X-CDLX-Institution-Id" = Option<String>, Header, description = "The institution, as its own systems call it")),
    request_body(content = schema::StartSession, examples(
        ("institution" = (summary = "For the data endpoints", value = json!({"scopes": ["api:institution"]}))),
        ("customer" = (summary = "For a customer's profile", value = json!({"scopes": ["api:customer"],
            "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3"}))))),
    responses((status = 200, description = "The session", body = schema::SessionStarted)))]
pub(super) async fn start(State(publisher): State<Publisher>, Start(mut call): Start) -> Result<Response, Refused> {
    let wanted = read(call.body.as_ref(), &mut call.problems);
    let principal = call.principal.clone();
    let (caller, ids, wanted) = call.ready(wanted)?;
    if let Some(customer) = &wanted.customer {
        admit(&publisher, caller.organization, customer, &ids).await?;
    }
    let session = Session { principal, institution: wanted.institution, customer: wanted.customer };
    let session_token = publisher.sessions.issue(&session);
    Ok(respond(json_answer(&Started { session_token, request_id: &ids.shown })))
}

fn read(body: Option<&Json>, problems: &mut Problems) -> Option<Wanted> {
    let mut fields = Fields::of(body?, String::new(), Form::Whole, problems)?;
    let scopes = fields.required_array("scopes", 1, 2);
    let mut named = [false; 2];
    for (at, item) in scopes.iter().enumerate() {
        match [INSTITUTION, CUSTOMER].iter().position(|scope| item.as_str() == Some(scope)) {
            Some(scope) => named[scope] = true,
            None => fields.problem(&format!("scopes[{at}]"), "must be api:institution or api:customer"),
        }
    }
    let [institution, of_customer] = named;
    let customer = fields.optional("sourceCustomerId", id);
    let given = fields.is_there("sourceCustomerId");
    if of_customer && !given {
        fields.problem("sourceCustomerId", "required with the scope api:customer");
    }
    if institution && !of_customer && given {
        fields.problem("sourceCustomerId", "must not be given without the scope api:customer");
    }
    fields.optional("organizationId", text(Subsidiary::parse));
    fields.finish();
    Some(Wanted { institution, customer: if of_customer { Some(customer?) } else { None } })
}

/// Only a customer that takes part and has an account has a session.
async fn admit(
    publisher: &Publisher,
    organization: OrganizationId,
    customer: &ExternalId,
    ids: &Ids,
) -> Result<(), Refused> {
    let found = publisher.registry.enrolled(organization, customer).await;
    let view = found.map_err(|error| Refused::store(&error, ids))?.ok_or_else(|| Refused::not_found(ids))?;
    if view.customer.enrolment().is_none_or(|enrolment| enrolment.opt_in == OptIn::Inactive) {
        return Err(Refused::titled("User is not enrolled in the program and should not receive events", ids));
    }
    if view.accounts.is_empty() {
        return Err(Refused::titled("User has no accounts", ids));
    }
    Ok(())
}
