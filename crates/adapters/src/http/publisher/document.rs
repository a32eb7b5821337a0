//! The OpenAPI document of this dialect: what every operation shares, said once.
//!
//! Owns the security schemes, the common headers and error responses. What is particular to an operation stands at its handler.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, RefOr};

use super::schema;
use crate::http::documented::{
    RETRY_AFTER, SharedError, THROTTLED, bear_replayed, bear_request_id, idempotency_key, operations, parameter,
    reason, request_id, text,
};

/// What the routes are added to.
#[derive(OpenApi)]
#[openapi(
    info(title = "Custodia", description = "The customer system of record for lenders.", version = "1"),
    components(schemas(schema::PublisherError)),
    security(("session" = [])),
    tags(
        (name = "Sessions", description = "A session token for an hour."),
        (name = "Programme data", description = "Customers with their accounts and cards, in batches of up to 50."),
        (name = "Customer profile", description = "What a session's customer may read of itself.")
    )
)]
struct Base;

/// The document before any route.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// Adds what all operations share.
pub(super) fn complete(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    let header = |name: &str| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name)));
    components.add_security_scheme("session", header("X-CDLX-Session-Token"));
    components.add_security_scheme("apiKey", header("x-api-key"));
    components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    for error in ERRORS {
        components.responses.insert(error.name.to_owned(), RefOr::T(error.response("PublisherError")));
    }
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            finish(path, method, operation);
        }
    }
}

const ERRORS: [SharedError; 14] = [
    SharedError::new(
        "400",
        "PublisherBadRequest",
        "`HttpMessageNotReadable` for a body that is no JSON object, else `ValidationException`; every problem is told at \
         once. A session is refused so to a customer who takes no part in the programme or has no accounts",
    ),
    SharedError::new("401", "PublisherNoSession", "The session or credential is missing, over or not accepted")
        .with(&[("WWW-Authenticate", "How a session is started")]),
    SharedError::new(
        "403",
        "PublisherAccessDenied",
        "The session is not for this, or its credential may not change anything",
    ),
    SharedError::new("404", "PublisherNotFound", "A customer or account that the request names does not exist"),
    SharedError::new("408", "PublisherBodyTimeout", "The body did not arrive in time"),
    SharedError::new(
        "409",
        "PublisherConflict",
        "A customer or account stands against the batch, or a concurrent change won",
    )
    .with(&[RETRY_AFTER]),
    SharedError::new(
        "412",
        "PublisherPreconditionFailed",
        "Items have another version than their `expectedVersion`; each is named with the current one",
    ),
    SharedError::new("413", "PublisherPayloadTooLarge", "The body is larger than 4 MiB"),
    SharedError::new("414", "PublisherUriTooLong", "The path and query are too long"),
    SharedError::new("415", "PublisherUnsupportedMediaType", "The body is not application/json, or compressed"),
    SharedError::new("429", "PublisherTooManyRequests", "Too many requests").with(&THROTTLED),
    SharedError::new("431", "PublisherHeadersTooLarge", "The headers are too large"),
    SharedError::new("500", "PublisherInternal", "A fault of ours"),
    SharedError::new("503", "PublisherUnavailable", "Overload, or the database is away; safe to retry")
        .with(&[RETRY_AFTER]),
];

/// Whether an operation can answer so.
fn concerns(error: &SharedError, path: &str, method: &str) -> bool {
    let starts = path.ends_with("/startSession");
    let creates = method == "POST" && !starts;
    match error.status {
        "403" => !starts,
        "404" => !creates,
        "408" | "413" | "415" => method != "GET",
        "412" => method == "PUT" && !path.ends_with("/cards"),
        "409" => method != "GET" && !starts,
        _ => true,
    }
}

fn finish(path: &str, method: &str, operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            bear_request_id(response);
            if path.starts_with("/v2/data") {
                bear_replayed(response);
            }
        }
    }
    for error in ERRORS.iter().filter(|error| concerns(error, path, method)) {
        error.add_to(operation);
    }
    let parameters = operation.parameters.get_or_insert_default();
    parameters.extend(shared_parameters(path, method).into_iter().map(RefOr::T));
}

fn shared_parameters(path: &str, method: &str) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for (name, of) in [("sourceCustomerId", "customer"), ("sourceAccountId", "account")] {
        if path.contains(&format!("{{{name}}}")) {
            let description = format!("The institution's own id of the {of}, percent-encoded");
            let id = text().min_length(Some(1)).max_length(Some(128));
            parameters.push(parameter(name, ParameterIn::Path, &description, id));
        }
    }
    if method != "GET" {
        parameters.push(idempotency_key());
        parameters.push(reason());
    }
    let own = text().pattern(Some("^[!-~]{1,128}$"));
    let description = "The caller's id of the request, which the body of the answer shows";
    parameters.push(parameter("X-CDLX-Request-Id", ParameterIn::Header, description, own));
    parameters.push(request_id("The id of the request in logs and history"));
    parameters
}
