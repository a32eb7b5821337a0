//! What the OpenAPI documents of the dialects have in common: the operations of a path, parameters and headers that are text,
//! and error responses that operations refer to.
//!
//! Owns those forms and the headers that every dialect has. It must not know any dialect's paths, statuses or error bodies.

use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, Ref, RefOr, Required, Response, ResponseBuilder};

/// The header of an answer that asks for another try later.
pub(super) const RETRY_AFTER: (&str, &str) = ("Retry-After", "Seconds until another try");

/// The headers of an answer to one request too many.
pub(super) const THROTTLED: [(&str, &str); 3] = [
    RETRY_AFTER,
    ("RateLimit-Policy", "The quota of the credential: `\"default\";q=requests;w=seconds`"),
    ("RateLimit", "What is left of it: `\"default\";r=requests;t=seconds until the next, or until all of it`"),
];

const REQUEST_ID: &str = "The caller's `X-Request-Id` where it is usable, else a new one";

/// An error response that operations refer to.
pub(super) struct SharedError {
    /// The status, three digits.
    pub(super) status: &'static str,
    /// The name in the document's components.
    pub(super) name: &'static str,
    description: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

impl SharedError {
    /// One without headers of its own.
    pub(super) const fn new(status: &'static str, name: &'static str, description: &'static str) -> Self {
        Self { status, name, description, headers: &[] }
    }

    /// The same with headers: their names and what they mean.
    pub(super) const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    /// The response, whose body has that schema.
    pub(super) fn response(&self, schema: &str) -> Response {
        let content = Content::new(Some(Ref::from_schema_name(schema)));
        let mut response =
            ResponseBuilder::new().description(self.description).content("application/json", content).build();
        for (name, description) in self.headers {
            response.headers.insert((*name).to_owned(), RefOr::T(text_header(description)));
        }
        bear_request_id(&mut response);
        response
    }

    /// Lets an operation answer so.
    pub(super) fn add_to(&self, operation: &mut Operation) {
        let reference = RefOr::Ref(Ref::from_response_name(self.name));
        operation.responses.responses.insert(self.status.to_owned(), reference);
    }
}

/// The operations of a path with their methods.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let slots = [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("PATCH", &mut item.patch),
        ("DELETE", &mut item.delete),
    ];
    slots.into_iter().filter_map(|(method, slot)| Some((method, slot.as_mut()?)))
}

/// Notes the header that every response has.
pub(super) fn bear_request_id(response: &mut Response) {
    response.headers.insert("X-Request-Id".to_owned(), RefOr::T(text_header(REQUEST_ID)));
}

/// Notes the header by which a repeated answer is known.
pub(super) fn bear_replayed(response: &mut Response) {
    let header = text_header("`true` where the answer is the one that the same request got before");
    response.headers.insert("Idempotent-Replayed".to_owned(), RefOr::T(header));
}

/// A parameter; one of the path is required.
pub(super) fn parameter(name: &str, place: ParameterIn, description: &str, schema: ObjectBuilder) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema.build()))
        .build()
}

/// `Idempotency-Key`, of a request that changes something.
pub(super) fn idempotency_key() -> Parameter {
    let description = "Names the request: sent again under the same key it is answered as before, and not done again";
    parameter("Idempotency-Key", ParameterIn::Header, description, text().pattern(Some("^[!#-~][!-~]{0,254}$")))
}

/// `Custodia-Reason`, of a request that changes something.
pub(super) fn reason() -> Parameter {
    let description =
        "Why, as the history is to tell it: 1 to 200 characters, others than visible ASCII percent-encoded";
    parameter("Custodia-Reason", ParameterIn::Header, description, text().pattern(Some("^[ -~]+$")))
}

/// `If-Match`, of a request that changes one record.
pub(super) fn if_match() -> Parameter {
    let description = "The version that is to be changed, as its `ETag`; `*` for any";
    parameter("If-Match", ParameterIn::Header, description, text().pattern(Some("^(\\*|\"[0-9A-Za-z]+\")$")))
}

/// `If-None-Match`, of a request that reads one record.
pub(super) fn if_none_match() -> Parameter {
    parameter("If-None-Match", ParameterIn::Header, "Versions that the caller has, as their `ETag`s", text())
}

/// `X-Request-Id`, of every request. One that is not usable is no fault of the request, so the schema takes any.
pub(super) fn request_id(description: &str) -> Parameter {
    let description =
        format!("{description}: 1 to 64 of `A-Z a-z 0-9 . _ -`; in place of another one stands a new one");
    parameter("X-Request-Id", ParameterIn::Header, &description, text())
}

/// The schema of a text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A header that is a text.
pub(super) fn text_header(description: &str) -> Header {
    let mut header = Header::new(Schema::from(text().build()));
    header.description = Some(description.to_owned());
    header
}
