//! The OpenAPI document of this dialect: what every operation shares, said once.
//!
//! Owns the security schemes, the common headers and error responses, and the copies under the second prefix. What is
//! particular to an operation stands at its handler.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, RefOr, ResponseBuilder};

use super::{PREFIX, schema};
use crate::http::documented::{
    RETRY_AFTER, SharedError, THROTTLED, bear_replayed, bear_request_id, idempotency_key, if_match, if_none_match,
    operations, parameter, reason, request_id, text, text_header,
};

/// What the routes are added to.
#[derive(OpenApi)]
#[openapi(
    info(title = "Custodia", description = "The customer system of record for lenders.", version = "1"),
    components(schemas(schema::CrmError, schema::CrmValidationError)),
    security(("apiKey" = []), ("bearer" = [])),
    tags((name = "CRM intake",
        description = "Customers and companies of an intake. Both prefixes answer the same, byte for byte."))
)]
struct Base;

/// The document before any route.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// Adds what all operations share, and the second prefix.
pub(super) fn complete(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    let key = ApiKey::Header(ApiKeyValue::new("x-api-key"));
    components.add_security_scheme("apiKey", SecurityScheme::ApiKey(key));
    components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    for error in ERRORS {
        let form = if error.status == "422" { "CrmValidationError" } else { "CrmError" };
        components.responses.insert(error.name.to_owned(), RefOr::T(error.response(form)));
    }
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            finish(path, method, operation);
        }
    }
    let copies: Vec<_> = document.paths.paths.iter().map(|(path, item)| copy_of(path, item)).collect();
    document.paths.paths.extend(copies);
}

const ERRORS: [SharedError; 13] = [
    SharedError::new("401", "CrmUnauthorized", "The credential is missing or not accepted")
        .with(&[("WWW-Authenticate", "The scheme that is taken beside `x-api-key`")]),
    SharedError::new("403", "CrmForbidden", "The credential may not change anything"),
    SharedError::new("404", "CrmNotFound", "There is none of that name in the organization"),
    SharedError::new("408", "CrmBodyTimeout", "The body did not arrive in time"),
    SharedError::new("409", "CrmConflict", "The customer's state does not allow it, or a concurrent change won")
        .with(&[RETRY_AFTER]),
    SharedError::new("412", "CrmPreconditionFailed", "`If-Match` names another version")
        .with(&[("ETag", "The version that the customer is at")]),
    SharedError::new("413", "CrmPayloadTooLarge", "The body is larger than 1 MiB, a batch than 4 MiB"),
    SharedError::new("414", "CrmUriTooLong", "The path and query are too long"),
    SharedError::new("415", "CrmUnsupportedMediaType", "The body is not application/json, or compressed"),
    SharedError::new("422", "CrmUnprocessable", "Parts of the request are wrong; every problem is told at once"),
    SharedError::new("429", "CrmTooManyRequests", "Too many requests").with(&THROTTLED),
    SharedError::new("500", "CrmInternal", "A fault of ours; the detail names the request id alone"),
    SharedError::new("503", "CrmUnavailable", "Overload, or the database is away; safe to retry").with(&[RETRY_AFTER]),
];

/// Whether an operation can answer so.
fn concerns(error: &SharedError, path: &str, method: &str) -> bool {
    let writes = method != "GET";
    match error.status {
        "403" | "408" | "409" | "413" | "415" => writes,
        "404" => path.ends_with('}'),
        "412" => writes && path.ends_with('}'),
        _ => true,
    }
}

fn finish(path: &str, method: &str, operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            bear_request_id(response);
            if shows_one(path, method, status) {
                let header = text_header("The version of the record, in quotes: `\"3\"`");
                response.headers.insert("ETag".to_owned(), RefOr::T(header));
            }
            if method != "GET" {
                bear_replayed(response);
            }
        }
    }
    if path.ends_with('}') && method == "GET" {
        let response = ResponseBuilder::new().description("`If-None-Match` names the present version").build();
        operation.responses.responses.insert("304".to_owned(), RefOr::T(response));
    }
    for error in ERRORS.iter().filter(|error| concerns(error, path, method)) {
        error.add_to(operation);
    }
    let parameters = operation.parameters.get_or_insert_default();
    parameters.extend(shared_parameters(path, method).into_iter().map(RefOr::T));
}

fn shows_one(path: &str, method: &str, status: &str) -> bool {
    let created = method == "POST" && status == "201" && !path.ends_with("/bulk");
    created || path.ends_with('}') && method != "DELETE"
}

fn shared_parameters(path: &str, method: &str) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    if path.ends_with("{customer_id}") {
        let id = text().min_length(Some(1)).max_length(Some(128));
        let description = "The customer's integer id or its public id, percent-encoded";
        parameters.push(parameter("customer_id", ParameterIn::Path, description, id));
    }
    if path.ends_with("{company_id}") {
        let description = "The company's integer id or its public id";
        parameters.push(parameter("company_id", ParameterIn::Path, description, text().min_length(Some(1))));
    }
    if method != "GET" {
        parameters.push(idempotency_key());
        parameters.push(reason());
        if path.ends_with('}') {
            parameters.push(if_match());
        }
    } else if path.ends_with('}') {
        parameters.push(if_none_match());
    }
    parameters.push(request_id("The caller's id of the request"));
    parameters
}

/// The same operations under the doubled prefix.
fn copy_of(path: &str, item: &PathItem) -> (String, PathItem) {
    let mut copy = item.clone();
    for (_, operation) in operations(&mut copy) {
        if let Some(id) = &mut operation.operation_id {
            id.push_str("UnderDoubledPrefix");
        }
    }
    (format!("{PREFIX}{path}"), copy)
}
