//! The OpenAPI document of this dialect: what every operation shares, said once.
//!
//! Owns the security schemes, the common headers and error responses. What is particular to an operation stands at its handler.

use utoipa::OpenApi;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Content, Ref, RefOr, Required, Response, ResponseBuilder};

use super::schema;

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
        components.responses.insert(error.name.to_owned(), RefOr::T(error.response()));
    }
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            finish(path, method, operation);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let slots = [("GET", &mut item.get), ("PUT", &mut item.put), ("POST", &mut item.post)];
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
    SharedError::new("413", "PublisherPayloadTooLarge", "The body is larger than 4 MiB"),
    SharedError::new("414", "PublisherUriTooLong", "The path and query are too long"),
    SharedError::new("415", "PublisherUnsupportedMediaType", "The body is not application/json, or compressed"),
    SharedError::new("429", "PublisherTooManyRequests", "Too many requests").with(&[RETRY_AFTER]),
    SharedError::new("431", "PublisherHeadersTooLarge", "The headers are too large"),
    SharedError::new("500", "PublisherInternal", "A fault of ours"),
    SharedError::new("503", "PublisherUnavailable", "Overload, or the database is away; safe to retry")
        .with(&[RETRY_AFTER]),
];

impl SharedError {
    const fn new(status: &'static str, name: &'static str, description: &'static str) -> Self {
        Self { status, name, description, headers: &[] }
    }

    const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    fn response(&self) -> Response {
        let content = Content::new(Some(Ref::from_schema_name("PublisherError")));
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
        let starts = path.ends_with("/startSession");
        let creates = method == "POST" && !starts;
        match self.status {
            "403" => !starts,
            "404" => !creates,
            "408" | "413" | "415" => method != "GET",
            "409" => method != "GET" && !starts,
            _ => true,
        }
    }
}

const REQUEST_ID: &str = "The caller's `X-Request-Id` where it is usable, else a new one";

fn finish(path: &str, method: &str, operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.headers.insert("X-Request-Id".to_owned(), RefOr::T(text_header(REQUEST_ID)));
            if path.starts_with("/v2/data") {
                let header = text_header("`true` where the answer is the one that the same request got before");
                response.headers.insert("Idempotent-Replayed".to_owned(), RefOr::T(header));
            }
        }
    }
    for error in ERRORS.iter().filter(|error| error.concerns(path, method)) {
        let reference = RefOr::Ref(Ref::from_response_name(error.name));
        operation.responses.responses.insert(error.status.to_owned(), reference);
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
        let description =
            "Names the request: sent again under the same key it is answered as before, and not done again";
        let key = text().pattern(Some("^[!#-~][!-~]{0,254}$"));
        parameters.push(parameter("Idempotency-Key", ParameterIn::Header, description, key));
    }
    let own = text().pattern(Some("^[!-~]{1,128}$"));
    let description = "The caller's id of the request, which the body of the answer shows";
    parameters.push(parameter("X-CDLX-Request-Id", ParameterIn::Header, description, own));
    let id = text().pattern(Some("^[A-Za-z0-9._-]{1,64}$"));
    parameters.push(parameter("X-Request-Id", ParameterIn::Header, "The id of the request in logs and history", id));
    parameters
}

fn parameter(name: &str, place: ParameterIn, description: &str, schema: ObjectBuilder) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema.build()))
        .build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn text_header(description: &str) -> Header {
    let mut header = Header::new(Schema::from(text().build()));
    header.description = Some(description.to_owned());
    header
}
