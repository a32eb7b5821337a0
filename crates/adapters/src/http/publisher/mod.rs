//! The `publisher` dialect: batch ingest of customers with their accounts and cards, under `/v2`.
//!
//! Owns its routes, bodies, answers, error shape and documentation. It must not know another dialect, nor how anything is
//! stored: it speaks to the use cases alone.

mod call;
mod data;
mod document;
mod error;
mod fields;
mod forms;
mod instant;
mod profile;
mod session;

pub mod schema;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use custodia_domain::registry::Registry;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Authenticator, Sessions};

/// What the dialect's handlers work with.
#[derive(Clone)]
pub struct Publisher {
    registry: Registry,
    authenticator: Arc<dyn Authenticator>,
    sessions: Arc<dyn Sessions>,
}

impl Publisher {
    /// The dialect over those use cases, credentials and sessions.
    #[must_use]
    pub fn new(registry: Registry, authenticator: Arc<dyn Authenticator>, sessions: Arc<dyn Sessions>) -> Self {
        Self { registry, authenticator, sessions }
    }
}

/// The routes of the dialect with their documentation. It sets no fallback: [`wrap`](super::wrap) does, once for all.
pub fn router(publisher: Publisher) -> OpenApiRouter {
    let mut router = OpenApiRouter::with_openapi(document::base())
        .routes(routes!(session::start))
        .routes(routes!(data::create_customers, data::replace_customers))
        .routes(routes!(data::put_accounts))
        .routes(routes!(data::put_accounts_of))
        .routes(routes!(data::put_cards))
        .routes(routes!(profile::get))
        .with_state(publisher);
    document::complete(router.get_openapi_mut());
    router
}
