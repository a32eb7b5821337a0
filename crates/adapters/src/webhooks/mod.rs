//! Sending events to webhook endpoints by the Standard Webhooks specification 1.0.
//!
//! Owns signatures, which addresses may be called, the sending itself, and the loop that works off what is due. It must
//! not know SQL, nor any dialect.

pub mod address;
pub mod dispatcher;
pub mod message;
pub mod sender;
pub mod signature;
mod work;

#[cfg(test)]
mod fairness;
#[cfg(test)]
mod tests;

pub use address::{AddressError, EndpointUrl};
pub use dispatcher::{Dispatcher, DispatcherParts, Pace};
pub use message::Message;
pub use sender::{Courier, HttpSender, Reply};
pub use signature::secret_text;

/// How endpoints are called by whoever calls them.
#[derive(Clone)]
pub struct Outbound {
    /// By whom messages travel.
    pub courier: std::sync::Arc<dyn Courier>,
    /// Whether http and every address are allowed: for development and tests alone.
    pub insecure: bool,
}
