//! The `crm` dialect: the intake API under `/external/v1`, and the same again under `/external/v1/external/v1`.
//!
//! Owns its routes, bodies, answers, error shape and documentation. It must not know another dialect, nor how anything is
//! stored: it speaks to the use cases alone.

mod call;
mod companies;
mod customers;
mod document;
mod email;
mod error;
mod fields;
mod forms;
mod json_fault;
mod list;
mod problem;
mod view;

pub mod schema;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::routing::{get, post};
use custodia_domain::registry::Registry;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Authenticator;

/// The prefix of every route; the public pages show it both once and twice.
const PREFIX: &str = "/external/v1";

/// What the dialect's handlers work with.
#[derive(Clone)]
pub struct Crm {
    registry: Registry,
    authenticator: Arc<dyn Authenticator>,
}

impl Crm {
    /// The dialect over those use cases and credentials.
    #[must_use]
    pub fn new(registry: Registry, authenticator: Arc<dyn Authenticator>) -> Self {
        Self { registry, authenticator }
    }
}

/// The routes of the dialect with their documentation. It sets no fallback: [`wrap`](super::wrap) does, once for all.
pub fn router(crm: Crm) -> OpenApiRouter {
    let mut router = OpenApiRouter::with_openapi(document::base())
        .routes(routes!(customers::create, list::customers))
        .routes(routes!(customers::create_many))
        .routes(routes!(customers::get, customers::patch, customers::delete))
        .routes(routes!(companies::create))
        .routes(routes!(companies::create_many))
        .routes(routes!(list::companies))
        .routes(routes!(companies::get));
    for prefix in [PREFIX, "/external/v1/external/v1"] {
        // A customer may be called `bulk`.
        let one = get(customers::get).patch(customers::patch).delete(customers::delete);
        router = router.route(&format!("{prefix}/customers/bulk"), one.clone());
        if prefix == PREFIX {
            continue;
        }
        // The same handlers under the other prefix; the document's copies of them are made by `complete`.
        router = router
            .route(&format!("{prefix}/customers"), post(customers::create).get(list::customers))
            .route(&format!("{prefix}/customers/bulk"), post(customers::create_many))
            .route(&format!("{prefix}/customers/{{customer_id}}"), one)
            .route(&format!("{prefix}/customer/company/create"), post(companies::create))
            .route(&format!("{prefix}/customer/company/bulk-create"), post(companies::create_many))
            .route(&format!("{prefix}/customer/company"), get(list::companies))
            .route(&format!("{prefix}/customer/company/{{company_id}}"), get(companies::get));
    }
    let mut router = router.with_state(crm);
    document::complete(router.get_openapi_mut());
    router
}
