//! The OpenAPI document of this dialect: what every operation shares, said once.
//!
//! Owns the security schemes, the common headers and error responses, and the copies under the second address prefix. What
//! is particular to an operation stands at its handler.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Ref, RefOr, ResponseBuilder};

use super::schema;
use crate::http::documented::{
    RETRY_AFTER, SharedError, THROTTLED, bear_replayed, bear_request_id, idempotency_key, if_match, if_none_match,
    operations, parameter, reason, request_id, text, text_header,
};

const BY_ID: &str = "/v1/customers/{customer_id}";
const BY_EXTERNAL_ID: &str = "/v1/customers/external/{customer_external_id}";
const LOAN_BY_ID: &str = "/v1/loans/{loan_id}";
const LOAN_BY_EXTERNAL_ID: &str = "/v1/loans/external/{loan_external_id}";

const WEBHOOKS: &str = "/v1/webhook-endpoints";
const WEBHOOK: &str = "/v1/webhook-endpoints/{endpoint_id}";

/// Path parameters that bear an external id, with what they name.
const EXTERNAL_IDS: [(&str, &str); 3] = [
    ("customer_external_id", "The customer's externalId, percent-encoded"),
    ("loan_external_id", "The loan's externalId, percent-encoded"),
    ("externalId", "The customer's externalId, percent-encoded; it need not exist"),
];

/// Path parameters that bear an id, with what they name.
const IDS: [(&str, &str); 2] =
    [("customer_id", "The customer's id, a positive integer"), ("loan_id", "The loan's id, a positive integer")];

/// Whether a path names one record that has versions.
fn names_one(path: &str) -> bool {
    [BY_ID, LOAN_BY_ID, LOAN_BY_EXTERNAL_ID, WEBHOOK].iter().any(|prefix| path.starts_with(prefix))
}

/// What the routes are added to.
#[derive(OpenApi)]
#[openapi(
    info(title = "Custodia", description = "The customer system of record for lenders.", version = "1"),
    components(schemas(
        schema::Error,
        schema::CustomerOrder,
        schema::Included,
        schema::UpsertCustomer,
        schema::CustomerStatus,
        schema::LoanOrder,
        schema::LoanStatus,
        schema::SortOrder
    )),
    tags(
        (name = "Customers", description = "Borrower records. Both address prefixes answer the same, byte for byte."),
        (name = "Loans", description = "Positions as the lender's engine reports them. An open one keeps its customer from being closed."),
        (name = "Credit", description = "Scores as an engine reports them, beside what a customer owes."),
        (name = "Events", description = "What was committed, in order: nothing is ever skipped."),
        (name = "Webhooks", description = "Events as they come, sent to endpoints of yours by Standard Webhooks 1.0: signed, at least once, and a customer's in order."),
        (name = "Authorization", description = "Tokens and their keys.")
    )
)]
struct Base;

/// The document before any route.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// Adds what all operations share, and the second address prefix.
pub(super) fn complete(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    let scheme = |kind| SecurityScheme::Http(Http::new(kind));
    components.add_security_scheme("bearer", scheme(HttpAuthScheme::Bearer));
    components.add_security_scheme("basic", scheme(HttpAuthScheme::Basic));
    for error in ERRORS {
        components.responses.insert(error.name.to_owned(), RefOr::T(error.response("lms.Error")));
    }
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            finish(path, method, operation);
        }
    }
    let copies: Vec<_> = document.paths.paths.iter().filter_map(|(path, item)| copy_of(path, item)).collect();
    for (path, mut copy) in copies {
        if let Some(put) = copy.put.as_mut().filter(|_| path == BY_EXTERNAL_ID) {
            describe_upsert(put);
        }
        let item = document.paths.paths.entry(path).or_default();
        for (slot, copied) in [
            (&mut item.get, copy.get),
            (&mut item.put, copy.put),
            (&mut item.post, copy.post),
            (&mut item.delete, copy.delete),
        ] {
            *slot = slot.take().or(copied);
        }
    }
}

const ERRORS: [SharedError; 14] = [
    SharedError::new("400", "lms.InvalidArgument", "A part of the request is wrong; every problem is told at once"),
    SharedError::new("401", "lms.Unauthenticated", "The credential is missing or not accepted")
        .with(&[("WWW-Authenticate", "The scheme that the route wants")]),
    SharedError::new("403", "lms.PermissionDenied", "The credential may not change anything"),
    SharedError::new("404", "lms.NotFound", "There is no such record in the organization"),
    SharedError::new("408", "lms.BodyTimeout", "The body did not arrive in time"),
    SharedError::new(
        "409",
        "lms.Aborted",
        "The record's state does not allow it, the externalId is taken, or a concurrent change won",
    )
    .with(&[RETRY_AFTER]),
    SharedError::new(
        "412",
        "lms.PreconditionFailed",
        "`If-Match` names another version, or `If-None-Match: *` finds one",
    )
    .with(&[("ETag", "The version that the customer is at")]),
    SharedError::new("413", "lms.PayloadTooLarge", "The body is larger than 1 MiB"),
    SharedError::new("414", "lms.UriTooLong", "The path and query are too long"),
    SharedError::new("415", "lms.UnsupportedMediaType", "The body is not application/json, or compressed"),
    SharedError::new("429", "lms.ResourceExhausted", "Too many requests").with(&THROTTLED),
    SharedError::new("431", "lms.HeadersTooLarge", "The headers are too large"),
    SharedError::new("500", "lms.Internal", "A fault of ours; the message names the request id alone"),
    SharedError::new("503", "lms.Unavailable", "Overload, or the database is away; safe to retry").with(&[RETRY_AFTER]),
];

/// Whether an operation can answer so.
fn concerns(error: &SharedError, path: &str, method: &str) -> bool {
    let open = path == "/.well-known/jwks.json";
    let one = names_one(path);
    let writes = method != "GET";
    match error.status {
        "401" | "429" => !open,
        "400" => !open,
        "403" | "408" | "413" | "415" | "409" => writes,
        "404" => one,
        "412" => writes && one,
        _ => true,
    }
}

fn finish(path: &str, method: &str, operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            bear_request_id(response);
            if shows_version(path, method) {
                let header = text_header("The record's version, in quotes: `\"3\"`");
                response.headers.insert("ETag".to_owned(), RefOr::T(header));
            }
            if path == BY_ID && method == "PUT" {
                let header = text_header("What became of the customer: `created`, `updated` or `unchanged`");
                response.headers.insert("Custodia-Outcome".to_owned(), RefOr::T(header));
            }
            if method != "GET" {
                bear_replayed(response);
            }
        }
    }
    if [BY_ID, LOAN_BY_ID, WEBHOOK].contains(&path) && method == "GET" {
        let response = ResponseBuilder::new().description("`If-None-Match` names the present version").build();
        operation.responses.responses.insert("304".to_owned(), RefOr::T(response));
    }
    for error in ERRORS.iter().filter(|error| concerns(error, path, method)) {
        error.add_to(operation);
    }
    operation.security.get_or_insert_with(|| vec![SecurityRequirement::new("bearer", [""; 0])]);
    let parameters = operation.parameters.get_or_insert_default();
    parameters.extend(shared_parameters(path, method).into_iter().map(RefOr::T));
}

fn shows_version(path: &str, method: &str) -> bool {
    let shows_other = ["/history", "/ping", "/replay", "/deliveries"].iter().any(|end| path.ends_with(end));
    names_one(path) && method != "DELETE" && !shows_other
        || ["/v1/customers", WEBHOOKS].contains(&path) && method == "POST"
}

fn shared_parameters(path: &str, method: &str) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for (name, description) in IDS.iter().filter(|(name, _)| path.contains(&format!("{{{name}}}"))) {
        let id = text().pattern(Some("^[0-9]*[1-9][0-9]*$"));
        parameters.push(parameter(name, ParameterIn::Path, description, id));
    }
    for (name, description) in EXTERNAL_IDS.iter().filter(|(name, _)| path.contains(&format!("{{{name}}}"))) {
        parameters.push(parameter(name, ParameterIn::Path, description, external_id()));
    }
    if path.starts_with(WEBHOOK) {
        let id = text().pattern(Some("^we_[0-9a-f]{32}$"));
        parameters.push(parameter("endpoint_id", ParameterIn::Path, "The endpoint's id", id));
    }
    if method != "GET" {
        parameters.push(idempotency_key());
        if names_one(path) {
            parameters.push(if_match());
        }
        if names_one(path) && method == "PUT" {
            let description = "`*`: only where there is no such record yet; without `If-Match`";
            let none = text().enum_values(Some(["*"]));
            parameters.push(parameter("If-None-Match", ParameterIn::Header, description, none));
        }
        parameters.push(reason());
    } else if [BY_ID, LOAN_BY_ID, WEBHOOK].contains(&path) {
        parameters.push(if_none_match());
    }
    parameters.push(request_id("The caller's id of the request"));
    parameters
}

/// The same operations under the other prefix.
fn copy_of(path: &str, item: &PathItem) -> Option<(String, PathItem)> {
    let prefixes = [(BY_ID, BY_EXTERNAL_ID), (LOAN_BY_ID, LOAN_BY_EXTERNAL_ID)];
    let (rest, other) = prefixes.into_iter().find_map(|(own, other)| Some((path.strip_prefix(own)?, other)))?;
    let mut copy = item.clone();
    for (_, operation) in operations(&mut copy) {
        if let Some(id) = &mut operation.operation_id {
            id.push_str("ByExternalId");
        }
        for shared in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(shared) = shared
                && IDS.iter().any(|(name, _)| *name == shared.name)
            {
                let named = EXTERNAL_IDS.iter().find(|(name, _)| other.contains(name));
                let (name, description) = named.expect("every other prefix bears an external id");
                *shared = parameter(name, ParameterIn::Path, description, external_id());
            }
        }
    }
    Some((format!("{other}{rest}"), copy))
}

/// What a put can do under the external id alone.
fn describe_upsert(put: &mut Operation) {
    let parameters = put.parameters.get_or_insert_default();
    let wanted = ObjectBuilder::new().schema_type(Type::Boolean).default(Some(false.into()));
    let description = "Whether the customer is created where there is none";
    parameters.push(RefOr::T(parameter("upsert", ParameterIn::Query, description, wanted)));
    let description = "`upsert`, alone or among other preferences, asks for the same (RFC 7240)";
    parameters.push(RefOr::T(parameter("Prefer", ParameterIn::Header, description, text())));
    for response in put.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let header = text_header("`upsert` where `Prefer` asked for it");
            response.headers.insert("Preference-Applied".to_owned(), RefOr::T(header));
        }
    }
    if let Some(RefOr::T(body)) = &mut put.request_body {
        for content in body.content.values_mut() {
            let forms = AnyOfBuilder::new()
                .item(Ref::from_schema_name("lms.UpdateCustomer"))
                .item(Ref::from_schema_name("lms.UpsertCustomer"));
            if let RefOr::T(content) = content {
                content.schema = Some(RefOr::T(Schema::AnyOf(forms.build())));
            }
        }
    }
}

fn external_id() -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(128))
}
