//! One document and one router out of those of the dialects.
//!
//! Owns the document's title and licence, the operator's routes in it, and the routes `/openapi.json` and `/docs` by which it is
//! read. It must not know what a dialect documents.

use std::future::{Ready, ready};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderName, HeaderValue};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, License, ObjectBuilder, OpenApi, OpenApiBuilder, OpenApiVersion,
    PathsBuilder, RefOr, ResponseBuilder, Schema, Type, tag::TagBuilder,
};
use utoipa_axum::router::OpenApiRouter;

use super::docs;

const TAG: &str = "Operation";

/// The operator's routes, which need no credential: path, what it is for, media type, what 200 means, whether it may be 503.
const OPEN: [(&str, &str, &str, &str, bool); 5] = [
    ("/livez", "Whether the process runs", "text/plain", "It does", false),
    ("/readyz", "Whether the service can do its work", "text/plain", "It can", true),
    ("/metrics", "Metrics in the text format of Prometheus", "text/plain", "Every metric", false),
    ("/openapi.json", "This document", "application/json", "OpenAPI 3.1", false),
    ("/docs", "This document, rendered for people", "text/html", "One page", false),
];

/// The routes of all dialects with the document that describes them.
#[derive(Debug)]
pub struct Documented {
    /// The routes, `/openapi.json` and `/docs` included. The operator's probes are documented, yet mounted by whoever listens.
    pub router: Router,
    /// The document: JSON, indented, with a line feed at its end.
    pub document: String,
}

/// Merges the dialects. Each keeps its own demands of a credential, whatever the others demand.
///
/// # Panics
/// When two dialects give one name to different schemas or responses, or one path to different routes: a fault of the program
/// that every start and every test finds.
#[must_use]
pub fn assemble(dialects: impl IntoIterator<Item = OpenApiRouter>) -> Documented {
    let mut whole = OpenApiRouter::with_openapi(base());
    for mut dialect in dialects {
        secure_each(dialect.get_openapi_mut());
        check_names(whole.get_openapi(), dialect.get_openapi());
        whole = whole.merge(dialect);
    }
    let (router, document) = whole.split_for_parts();
    let value = serde_json::to_value(&document).expect("a document has string keys");
    let text = serde_json::to_string_pretty(&document).expect("a document has string keys") + "\n";
    let (json, page) = (Bytes::from(text.clone()), docs::render(&value));
    let html = Bytes::from(page.html);
    let policy = HeaderValue::from_str(&page.policy).expect("a policy is visible ASCII");
    let router = router
        .route(
            "/openapi.json",
            get(move || served(&json, &[(CONTENT_TYPE, HeaderValue::from_static("application/json"))])),
        )
        .route(
            "/docs",
            get(move || {
                let media = HeaderValue::from_static("text/html; charset=utf-8");
                let referrer = HeaderValue::from_static("no-referrer");
                served(
                    &html,
                    &[(CONTENT_TYPE, media), (CONTENT_SECURITY_POLICY, policy.clone()), (REFERRER_POLICY, referrer)],
                )
            }),
        );
    Documented { router, document: text }
}

/// An object's schema with one more property.
pub(crate) fn with_property(
    schema: RefOr<Schema>,
    name: &str,
    property: impl Into<RefOr<Schema>>,
    required: bool,
) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            object.properties.insert(name.to_owned(), property.into());
            object.required.extend(required.then(|| name.to_owned()));
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}

fn served(body: &Bytes, headers: &[(HeaderName, HeaderValue)]) -> Ready<Response> {
    let mut response = Response::new(Body::from(body.clone()));
    response.headers_mut().extend(headers.iter().cloned());
    ready(response)
}

fn base() -> OpenApi {
    let mut licence = License::new("MIT OR Apache-2.0");
    licence.identifier = Some("MIT OR Apache-2.0".to_owned());
    let info = InfoBuilder::new()
        .title("Custodia")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "The customer system of record for lenders: one customer register, several wire dialects over it.",
        ))
        .license(Some(licence))
        .build();
    let mut paths = PathsBuilder::new();
    for (path, summary, media, meaning, may_be_away) in OPEN {
        let content =
            ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String).build())).build();
        let content = if media == "application/json" { ContentBuilder::new().build() } else { content };
        let mut operation = OperationBuilder::new()
            .tag(TAG)
            .summary(Some(summary))
            .operation_id(Some(path.trim_start_matches('/').replace(".json", "")))
            .securities(Some(Vec::<SecurityRequirement>::new()))
            .response("200", ResponseBuilder::new().description(meaning).content(media, content));
        if may_be_away {
            let away = ResponseBuilder::new().description("Not now: it starts, stops, or its database is away");
            operation = operation.response("503", away);
        }
        paths = paths.path(path, PathItem::new(HttpMethod::Get, operation));
    }
    let tag = TagBuilder::new()
        .name(TAG)
        .description(Some("Probes, metrics and this document. No credential is needed."))
        .build();
    OpenApiBuilder::new()
        .openapi(OpenApiVersion::Version31)
        .info(info)
        .paths(paths)
        .components(Some(Components::new()))
        .tags(Some([tag]))
        .build()
}

/// Moves what a dialect demands of all its operations into each of them: the demands of others do not hold for them.
fn secure_each(document: &mut OpenApi) {
    let Some(shared) = document.security.take() else {
        return;
    };
    for item in document.paths.paths.values_mut() {
        let slots = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
            &mut item.head,
            &mut item.options,
        ];
        for operation in slots.into_iter().filter_map(Option::as_mut) {
            operation.security.get_or_insert_with(|| shared.clone());
        }
    }
}

fn check_names(whole: &OpenApi, dialect: &OpenApi) {
    let (Some(known), Some(new)) = (&whole.components, &dialect.components) else {
        return;
    };
    let schema =
        new.schemas.iter().find(|(name, schema)| known.schemas.get(*name).is_some_and(|other| other != *schema));
    assert!(schema.is_none(), "two dialects give one name to different schemas: {:?}", schema.map(|(name, _)| name));
    let response = new
        .responses
        .iter()
        .find(|(name, response)| known.responses.get(*name).is_some_and(|other| other != *response));
    assert!(
        response.is_none(),
        "two dialects give one name to different responses: {:?}",
        response.map(|(name, _)| name)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use tower::ServiceExt as _;
    use utoipa_axum::routes;

    #[utoipa::path(get, path = "/one", responses((status = 200, description = "One")))]
    async fn one() {}

    #[utoipa::path(get, path = "/two", security(()), responses((status = 200, description = "Two")))]
    async fn two() {}

    fn dialect() -> OpenApiRouter {
        let security = [SecurityRequirement::new("bearer", Vec::<String>::new())];
        let document = OpenApiBuilder::new().security(Some(security)).build();
        OpenApiRouter::with_openapi(document).routes(routes!(one)).routes(routes!(two))
    }

    #[test]
    fn the_document_is_ours_and_each_operation_keeps_its_demands() {
        let whole = assemble([dialect(), OpenApiRouter::default()]);
        let document: Value = serde_json::from_str(&whole.document).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["title"], "Custodia");
        assert_eq!(document["info"]["license"]["identifier"], "MIT OR Apache-2.0");
        assert_eq!(document["security"], Value::Null);
        assert_eq!(document["paths"]["/one"]["get"]["security"], serde_json::json!([{"bearer": []}]));
        assert_eq!(document["paths"]["/two"]["get"]["security"], serde_json::json!([{}]));
        assert_eq!(document["paths"]["/livez"]["get"]["security"], serde_json::json!([]));
    }

    #[tokio::test]
    async fn the_document_is_served_as_json_and_as_a_page_that_runs_nothing() {
        let whole = assemble([dialect()]);
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let (parts, body) = whole.router.clone().oneshot(request).await.unwrap().into_parts();
            (parts, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
        };
        let (parts, text) = ask("/openapi.json").await;
        assert_eq!(parts.headers["content-type"], "application/json");
        assert_eq!(text, whole.document);
        let (parts, text) = ask("/docs").await;
        let policy = parts.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(text.contains("/one") && text.contains("Custodia") && !text.contains("<script"));
    }
}
