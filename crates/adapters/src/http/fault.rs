//! The faults that the edge answers itself, in the shape of the dialect whose prefix the path has.
//!
//! Owns the error bodies for what goes wrong before, around or instead of a handler. It must not know any dialect's fields
//! nor any business refusal: those are the dialects' own.

use std::borrow::Cow;

use axum::body::Body;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::context::{Dialect, FullUri, RequestId, shown_request_id};
use super::json::SyntaxError;

/// Which part of a request a [`Fault::BadRequest`] speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The body.
    Body,
    /// A segment of the path.
    Path,
    /// A query parameter.
    Query,
    /// A header.
    Header,
}

impl Place {
    fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// What went wrong before, around or instead of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No route has this path: 404.
    NotFound,
    /// The path is known, the method is not: 405.
    MethodNotAllowed {
        /// The methods that the path knows; `None` where the router sets `Allow` itself.
        allow: Option<HeaderValue>,
    },
    /// The body is larger than the route takes: 413.
    PayloadTooLarge,
    /// The body is not JSON by its `Content-Type`, or it is compressed: 415.
    UnsupportedMediaType,
    /// The body did not arrive in time: 408.
    BodyTimeout,
    /// The body is no JSON document by the strict rules: 400, crm 422.
    Malformed(SyntaxError),
    /// One part of the request cannot be read: 400, crm 422.
    BadRequest {
        /// Where.
        place: Place,
        /// The name of the segment, parameter or header; empty where the whole body is meant.
        name: Cow<'static, str>,
        /// What is wrong, for the caller; no values.
        message: Cow<'static, str>,
    },
    /// The request line or a header cannot be read, or the length of the body has two meanings: 400.
    MalformedHead,
    /// The URI is longer than the limit: 414.
    UriTooLong,
    /// The header block is larger than the limit: 431.
    HeadersTooLarge,
    /// More requests are in flight than the service takes: 503, safe to retry.
    Overloaded,
    /// The request took longer than its deadline: 503.
    Timeout,
    /// A fault of ours: 500, fixed text.
    Internal,
}

impl Fault {
    /// The HTTP status in the dialect.
    #[must_use]
    pub fn status(&self, dialect: Dialect) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(_) | Self::BadRequest { .. } => match dialect {
                Dialect::Crm => StatusCode::UNPROCESSABLE_ENTITY,
                Dialect::Lms | Dialect::Publisher => StatusCode::BAD_REQUEST,
            },
            Self::MalformedHead => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Overloaded | Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The text of the fault, the same for all dialects where they leave the words to us.
    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed { .. } => "Method Not Allowed",
            Self::PayloadTooLarge => "the request body is too large",
            Self::UnsupportedMediaType => "must be application/json, in UTF-8 and not compressed",
            Self::BodyTimeout => "the request body did not arrive in time",
            Self::Malformed(error) => return Cow::Owned(error.to_string()),
            Self::BadRequest { message, .. } => message,
            Self::MalformedHead => "the request head cannot be read",
            Self::UriTooLong => "the URI is too long",
            Self::HeadersTooLarge => "the request headers are too large",
            Self::Overloaded => "the service is overloaded, try again",
            Self::Timeout => "the request took too long, try again",
            Self::Internal => "Internal Server Error",
        })
    }

    /// What the fault is about, where a dialect's error body names a field.
    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::PayloadTooLarge | Self::BodyTimeout | Self::Malformed(_) => Some("body".into()),
            Self::UnsupportedMediaType => Some("Content-Type".into()),
            Self::UriTooLong => Some("uri".into()),
            Self::HeadersTooLarge | Self::MalformedHead => Some("headers".into()),
            Self::BadRequest { place, name, .. } if name.is_empty() => Some(place.as_str().into()),
            Self::BadRequest { name, .. } => Some(Cow::Borrowed(name)),
            Self::NotFound | Self::MethodNotAllowed { .. } | Self::Overloaded | Self::Timeout | Self::Internal => None,
        }
    }
}

/// Answers a fault in the dialect's shape. `request_id` is what the body shows, where it shows one.
#[must_use]
pub fn fault_response(dialect: Dialect, fault: &Fault, request_id: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body_of(dialect, fault, request_id)));
    *response.status_mut() = fault.status(dialect);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if matches!(fault, Fault::Overloaded | Fault::Timeout) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Fault::MethodNotAllowed { allow: Some(allow) } = fault {
        headers.insert(ALLOW, allow.clone());
    }
    response
}

fn body_of(dialect: Dialect, fault: &Fault, request_id: &str) -> Vec<u8> {
    match dialect {
        Dialect::Lms => lms_body(fault, request_id),
        Dialect::Crm => crm_body(fault, request_id),
        Dialect::Publisher => publisher_body(fault, request_id),
    }
}

/// A whole answer in bytes, for a head that never became a request; the connection closes after it.
pub(super) fn bare_answer(dialect: Dialect, fault: &Fault, request_id: &RequestId) -> Vec<u8> {
    let body = body_of(dialect, fault, request_id.as_str());
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
         x-request-id: {}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n",
        fault.status(dialect),
        body.len(),
        request_id.as_str(),
    );
    [head.into_bytes(), body].concat()
}

/// Answers a fault of the request that `parts` belong to, with its dialect and its id.
#[must_use]
pub fn answer(parts: &Parts, fault: &Fault) -> Response<Body> {
    let uri = parts.extensions.get::<FullUri>().map_or(&parts.uri, |full| &full.0);
    let dialect = Dialect::of_path(uri.path());
    let id = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(RequestId::random);
    fault_response(dialect, fault, &shown_request_id(dialect, &parts.headers, &id))
}

fn to_json<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).expect("an error body has string keys and serializes into memory")
}

#[derive(Serialize)]
struct LmsError<'a> {
    code: &'a str,
    message: Cow<'a, str>,
}

#[derive(Serialize)]
struct LmsProblem<'a> {
    field: Cow<'a, str>,
    error: Cow<'a, str>,
}

fn lms_body(fault: &Fault, request_id: &str) -> Vec<u8> {
    let code = match fault {
        Fault::NotFound => "not_found",
        Fault::MethodNotAllowed { .. } => "unimplemented",
        Fault::PayloadTooLarge
        | Fault::UnsupportedMediaType
        | Fault::BodyTimeout
        | Fault::Malformed(_)
        | Fault::BadRequest { .. }
        | Fault::MalformedHead
        | Fault::UriTooLong
        | Fault::HeadersTooLarge => "invalid_argument",
        Fault::Overloaded | Fault::Timeout => "unavailable",
        Fault::Internal => "internal",
    };
    let message = match fault.field() {
        Some(field) => {
            let entries = to_json(&[LmsProblem { field, error: fault.text() }]);
            String::from_utf8(entries).expect("serde_json writes UTF-8").into()
        }
        None if *fault == Fault::Internal => Cow::Owned(format!("request id {request_id}")),
        None => fault.text(),
    };
    to_json(&LmsError { code, message })
}

#[derive(Serialize)]
struct CrmError<T> {
    detail: T,
}

#[derive(Serialize)]
struct CrmProblem<'a> {
    r#type: &'a str,
    loc: Vec<CrmStep<'a>>,
    msg: Cow<'a, str>,
    input: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<CrmContext>,
}

#[derive(Serialize)]
struct CrmContext {
    error: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CrmStep<'a> {
    Name(&'a str),
    Offset(usize),
}

fn crm_body(fault: &Fault, request_id: &str) -> Vec<u8> {
    let problem = match fault {
        Fault::Malformed(error) => CrmProblem {
            r#type: "json_invalid",
            loc: vec![CrmStep::Name("body"), CrmStep::Offset(error.offset)],
            msg: "JSON decode error".into(),
            input: serde_json::json!({}),
            ctx: Some(CrmContext { error: error.kind.message() }),
        },
        Fault::BadRequest { place, name, message } => CrmProblem {
            r#type: "value_error",
            loc: [place.as_str(), name].into_iter().filter(|step| !step.is_empty()).map(CrmStep::Name).collect(),
            msg: format!("Value error, {message}").into(),
            input: serde_json::Value::Null,
            ctx: None,
        },
        Fault::Internal => {
            let detail = format!("Internal Server Error (request id {request_id})");
            return to_json(&CrmError { detail });
        }
        Fault::NotFound
        | Fault::MethodNotAllowed { .. }
        | Fault::PayloadTooLarge
        | Fault::UnsupportedMediaType
        | Fault::BodyTimeout
        | Fault::MalformedHead
        | Fault::UriTooLong
        | Fault::HeadersTooLarge
        | Fault::Overloaded
        | Fault::Timeout => {
            return to_json(&CrmError { detail: fault.text() });
        }
    };
    to_json(&CrmError { detail: [problem] })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublisherError<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    validation_errors: Vec<String>,
    request_id: &'a str,
}

fn publisher_body(fault: &Fault, request_id: &str) -> Vec<u8> {
    let (kind, title) = match fault {
        Fault::NotFound => ("ResourceNotFoundException", "Resource not found"),
        Fault::MethodNotAllowed { .. } => ("MethodNotAllowedException", "Method not allowed"),
        Fault::PayloadTooLarge => ("PayloadTooLargeException", "Payload too large"),
        Fault::UnsupportedMediaType => ("UnsupportedMediaTypeException", "Unsupported media type"),
        Fault::BodyTimeout => ("RequestTimeoutException", "Request timeout"),
        Fault::Malformed(_) | Fault::MalformedHead => ("HttpMessageNotReadable", "Request could not be parsed"),
        Fault::BadRequest { place: Place::Body, name, .. } if name.is_empty() => {
            ("HttpMessageNotReadable", "Request could not be parsed")
        }
        Fault::BadRequest { .. } => ("ValidationException", "Bad request"),
        Fault::UriTooLong => ("UriTooLongException", "URI too long"),
        Fault::HeadersTooLarge => ("HeadersTooLargeException", "Request header fields too large"),
        Fault::Overloaded | Fault::Timeout => ("ServiceUnavailableException", "Service unavailable"),
        Fault::Internal => ("InternalServerError", "Internal Server Error"),
    };
    let validation_errors = match fault.field() {
        Some(field) if matches!(fault, Fault::Malformed(_) | Fault::BadRequest { .. }) => {
            vec![format!("{field}: {}", fault.text())]
        }
        _ => Vec::new(),
    };
    to_json(&PublisherError {
        r#type: kind,
        title,
        status: fault.status(Dialect::Publisher).as_u16(),
        validation_errors,
        request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json::SyntaxKind;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    async fn shown(dialect: Dialect, fault: Fault) -> (u16, Value) {
        let response = fault_response(dialect, &fault, "r-1");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    fn malformed() -> Fault {
        Fault::Malformed(SyntaxError { kind: SyntaxKind::Malformed, offset: 7 })
    }

    fn bad_path() -> Fault {
        Fault::BadRequest { place: Place::Path, name: "customer_id".into(), message: "not valid UTF-8".into() }
    }

    #[tokio::test]
    async fn lms_faults_have_code_and_message_alone() {
        assert_eq!(
            shown(Dialect::Lms, Fault::NotFound).await,
            (404, json!({"code": "not_found", "message": "Not Found"}))
        );
        let (status, body) = shown(Dialect::Lms, Fault::MethodNotAllowed { allow: None }).await;
        assert_eq!((status, &body["code"]), (405, &json!("unimplemented")));
        for (fault, status, field) in [
            (Fault::PayloadTooLarge, 413, "body"),
            (Fault::UnsupportedMediaType, 415, "Content-Type"),
            (malformed(), 400, "body"),
            (bad_path(), 400, "customer_id"),
        ] {
            let (sent, body) = shown(Dialect::Lms, fault).await;
            assert_eq!((sent, &body["code"]), (status, &json!("invalid_argument")));
            let entries: Value = serde_json::from_str(body["message"].as_str().unwrap()).unwrap();
            assert_eq!(entries.as_array().unwrap().len(), 1);
            assert_eq!(entries[0]["field"], field);
        }
        assert_eq!(shown(Dialect::Lms, Fault::Overloaded).await.1["code"], "unavailable");
        assert_eq!(
            shown(Dialect::Lms, Fault::Internal).await,
            (500, json!({"code": "internal", "message": "request id r-1"}))
        );
    }

    #[tokio::test]
    async fn crm_faults_have_a_detail() {
        assert_eq!(shown(Dialect::Crm, Fault::NotFound).await, (404, json!({"detail": "Not Found"})));
        assert_eq!(
            shown(Dialect::Crm, malformed()).await,
            (
                422,
                json!({"detail": [{"type": "json_invalid", "loc": ["body", 7], "msg": "JSON decode error",
                    "input": {}, "ctx": {"error": "Malformed JSON"}}]})
            )
        );
        let (status, body) = shown(Dialect::Crm, bad_path()).await;
        assert_eq!((status, &body["detail"][0]["loc"]), (422, &json!(["path", "customer_id"])));
        assert!(shown(Dialect::Crm, Fault::Overloaded).await.1["detail"].is_string());
    }

    #[tokio::test]
    async fn publisher_faults_have_five_members() {
        assert_eq!(
            shown(Dialect::Publisher, Fault::PayloadTooLarge).await,
            (
                413,
                json!({"type": "PayloadTooLargeException", "title": "Payload too large", "status": 413,
                    "validationErrors": [], "requestId": "r-1"})
            )
        );
        let (status, body) = shown(Dialect::Publisher, malformed()).await;
        assert_eq!((status, &body["type"]), (400, &json!("HttpMessageNotReadable")));
        let (_, body) = shown(Dialect::Publisher, bad_path()).await;
        assert_eq!(body["validationErrors"], json!(["customer_id: not valid UTF-8"]));
    }

    #[test]
    fn overload_asks_to_retry_and_405_carries_allow() {
        for dialect in [Dialect::Lms, Dialect::Crm, Dialect::Publisher] {
            assert_eq!(fault_response(dialect, &Fault::Overloaded, "r").headers()[RETRY_AFTER], "1");
            let allow = Some(HeaderValue::from_static("GET,HEAD"));
            assert_eq!(fault_response(dialect, &Fault::MethodNotAllowed { allow }, "r").headers()[ALLOW], "GET,HEAD");
        }
    }
}
