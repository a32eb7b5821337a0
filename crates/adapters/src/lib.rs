//! The ports of `custodia-domain` implemented, and the HTTP dialects over its use cases. Stores, dialects and
//! credentials know the domain and not one another.

pub mod arrivals;
pub mod cards;
pub mod changes;
pub mod clock;
pub mod coalescing;
pub mod directory_cache;
pub mod event_json;
pub mod http;
pub mod identity;
pub mod ids;
pub mod memory;
pub mod postgres;
pub mod sqlite;
pub mod tokens;
pub mod webhooks;

/// The name of the office that every organization begins with.
const HEAD_OFFICE: &str = "Head Office";
