//! The OpenAPI document of this dialect: what every operation shares, said once.
//!
//! Owns the security schemes, the common headers and error responses, and the copies under the second prefix. What is
//! particular to an operation stands at its handler.

use utoipa::OpenApi;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Content, Ref, RefOr, Required, Response, ResponseBuilder};

use super::{PREFIX, schema};

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
        components.responses.insert(error.name.to_owned(), RefOr::T(error.response()));
    }
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            finish(path, method, operation);
        }
    }
    let copies: Vec<_> = document.paths.paths.iter().map(|(path, item)| copy_of(path, item)).collect();
    document.paths.paths.extend(copies);
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let slots =
        [("GET", &mut item.get), ("POST", &mut item.post), ("PATCH", &mut item.patch), ("DELETE", &mut item.delete)];
    slots.into_iter().filter_map(|(method, slot)| Some((method, slot.as_mut()?)))
}

/// An error response that operations refer to.
struct SharedError {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

const RETRY_AFTER: (&str, &str) = ("Retry-After", "Seconds until another try");

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
    SharedError::new("429", "CrmTooManyRequests", "Too many requests").with(&[RETRY_AFTER]),
    SharedError::new("500", "CrmInternal", "A fault of ours; the detail names the request id alone"),
    SharedError::new("503", "CrmUnavailable", "Overload, or the database is away; safe to retry").with(&[RETRY_AFTER]),
];

impl SharedError {
    const fn new(status: &'static str, name: &'static str, description: &'static str) -> Self {
        Self { status, name, description, headers: &[] }
    }

    const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    fn response(&self) -> Response {
        let form = if self.status == "422" { "CrmValidationError" } else { "CrmError" };
        let content = Content::new(Some(Ref::from_schema_name(form)));
        let mut response =
            ResponseBuilder::new().description(self.description).content("application/json", content).build();
        for (name, description) in self.headers {
            response.headers.insert((*name).to_owned(), RefOr::T(text_header(description)));
        }
        response.headers.insert("X-Request-Id".to_owned(), RefOr::T(text_header(REQUEST_ID)));
        response
    }

    /// Whether an operation can answer so.
    fn concerns(&self, path: &str, method: &str) -> bool {
        let writes = method != "GET";
        match self.status {
            "403" | "408" | "409" | "413" | "415" => writes,
            "404" => path.ends_with('}'),
            "412" => writes && path.ends_with('}'),
            _ => true,
        }
    }
}

const REQUEST_ID: &str = "The caller's `X-Request-Id` where it is usable, else a new one";

fn finish(path: &str, method: &str, operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            response.headers.insert("X-Request-Id".to_owned(), RefOr::T(text_header(REQUEST_ID)));
            if shows_one(path, method, status) {
                let header = text_header("The version of the record, in quotes: `\"3\"`");
                response.headers.insert("ETag".to_owned(), RefOr::T(header));
            }
            if method != "GET" {
                let header = text_header("`true` where the answer is the one that the same request got before");
                response.headers.insert("Idempotent-Replayed".to_owned(), RefOr::T(header));
            }
        }
    }
    if path.ends_with('}') && method == "GET" {
        let response = ResponseBuilder::new().description("`If-None-Match` names the present version").build();
        operation.responses.responses.insert("304".to_owned(), RefOr::T(response));
    }
    for error in ERRORS.iter().filter(|error| error.concerns(path, method)) {
        let reference = RefOr::Ref(Ref::from_response_name(error.name));
        operation.responses.responses.insert(error.status.to_owned(), reference);
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
    let mut add = |name: &str, place, description: &str, schema: ObjectBuilder| {
        let required = if place == ParameterIn::Path { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new().name(name).required(required).description(Some(description));
        parameters.push(parameter.parameter_in(place).schema(Some(schema.build())).build());
    };
    if path.ends_with("{customer_id}") {
        let id = text().min_length(Some(1)).max_length(Some(128));
        let description = "The customer's integer id or its public id, percent-encoded";
        add("customer_id", ParameterIn::Path, description, id);
    }
    if path.ends_with("{company_id}") {
        add("company_id", ParameterIn::Path, "The company's integer id or its public id", text().min_length(Some(1)));
    }
    if method != "GET" {
        let description =
            "Names the request: sent again under the same key it is answered as before, and not done again";
        let key = text().pattern(Some("^[!#-~][!-~]{0,254}$"));
        add("Idempotency-Key", ParameterIn::Header, description, key);
        if path.ends_with('}') {
            let description = "The version that is to be changed, as its `ETag`; `*` for any";
            let tag = text().pattern(Some("^(\\*|\"[0-9A-Za-z]+\")$"));
            add("If-Match", ParameterIn::Header, description, tag);
        }
    } else if path.ends_with('}') {
        add("If-None-Match", ParameterIn::Header, "Versions that the caller has, as their `ETag`s", text());
    }
    let id = text().pattern(Some("^[A-Za-z0-9._-]{1,64}$"));
    add("X-Request-Id", ParameterIn::Header, "The caller's id of the request", id);
    parameters
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn text_header(description: &str) -> Header {
    let mut header = Header::new(Schema::from(text().build()));
    header.description = Some(description.to_owned());
    header
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
