//! The `lms` dialect: the loan-management partner and back-office API under `/v1`.
//!
//! Owns its routes, bodies, answers, error shape and documentation. It must not know another dialect, nor how anything is
//! stored: it speaks to the use cases alone.

mod call;
mod customers;
mod document;
mod error;
mod events;
mod fields;
mod forms;
mod history;
mod list;
mod loans;
mod scorecard;
mod selector;
mod token;
mod upsert;
mod view;
mod webhooks;

pub mod schema;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::routing::{get, post};
use custodia_domain::registry::Registry;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Authenticator;
use super::cursor::CursorKey;
use crate::arrivals::Arrivals;
use crate::webhooks::Outbound;

/// What the dialect's handlers work with.
#[derive(Clone)]
pub struct Lms {
    registry: Registry,
    authenticator: Arc<dyn Authenticator>,
    cursors: CursorKey,
    feed: events::Feed,
    hooks: webhooks::Hooks,
}

impl Lms {
    /// The dialect over those use cases and credentials; `cursors` is the deployment's key, `arrivals` wakes
    /// the readers of the feed, and `outbound` is how endpoints of webhooks are called.
    #[must_use]
    pub fn new(
        registry: Registry,
        authenticator: Arc<dyn Authenticator>,
        cursors: CursorKey,
        arrivals: Arc<Arrivals>,
        outbound: Outbound,
    ) -> Self {
        let (feed, hooks) = (events::Feed::new(arrivals), webhooks::Hooks::new(outbound));
        Self { registry, authenticator, cursors, feed, hooks }
    }
}

/// The routes of the dialect with their documentation. It sets no fallback: [`wrap`](super::wrap) does, once for all.
pub fn router(lms: Lms) -> OpenApiRouter {
    let by_external_id = "/v1/customers/external/{customer_external_id}";
    let mut router = OpenApiRouter::with_openapi(document::base())
        .routes(routes!(customers::create, list::list))
        .routes(routes!(customers::get, customers::put, customers::delete))
        .routes(routes!(customers::activate))
        .routes(routes!(customers::close))
        .routes(routes!(history::list))
        .routes(routes!(loans::list))
        .routes(routes!(loans::get))
        .routes(routes!(loans::report))
        .routes(routes!(scorecard::get))
        .routes(routes!(scorecard::report))
        .routes(routes!(events::list))
        .routes(routes!(webhooks::create, webhooks::list))
        .routes(routes!(webhooks::get, webhooks::patch, webhooks::delete))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(webhooks::ping))
        .routes(routes!(webhooks::replay))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(token::token))
        .routes(routes!(token::jwks))
        // The same handlers under the other prefix; the document's copies of them are made by `complete`.
        .route(by_external_id, get(customers::get).put(customers::put).delete(customers::delete))
        .route(&format!("{by_external_id}/activate"), post(customers::activate))
        .route(&format!("{by_external_id}/close"), post(customers::close))
        .route(&format!("{by_external_id}/history"), get(history::list))
        .route("/v1/loans/external/{loan_external_id}", get(loans::get))
        .with_state(lms);
    document::complete(router.get_openapi_mut());
    router
}
