//! The HTTP edge: everything between a socket and a dialect's handlers.
//!
//! Owns the accept loop, the middleware that every route has, strict reading of paths, queries and bodies, and the faults that
//! are answered before or instead of a handler. A dialect is a plain axum `Router`; all of them are merged and then passed
//! through [`wrap`] once. Nothing here may know a customer, a store or a dialect's fields: of a dialect it knows the path
//! prefix and the shape of an error body.

pub mod auth;
pub mod body;
pub mod conditional;
mod connection;
pub mod context;
pub mod credential;
pub mod crm;
pub mod cursor;
mod docs;
mod documented;
#[cfg(test)]
mod exchange;
pub mod fault;
pub mod fault_log;
mod head_scan;
pub mod idempotency;
pub mod json;
mod json_object;
pub mod layers;
pub mod lms;
pub mod openapi;
pub mod ops;
mod proxies;
pub mod publisher;
pub mod query;
pub mod rate;
pub mod reason;
pub mod server;

pub use axum::Router;
pub use context::{Dialect, Peer, RequestId};
pub use fault::{Fault, Place, answer, fault_response};
pub use layers::{HttpLimits, RouteRule, wrap};
pub use proxies::{NoNetworks, TrustedProxies};
pub use server::{Drained, ServerLimits, serve};
