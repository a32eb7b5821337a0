//! The ports of `custodia-domain` implemented, and the HTTP dialects over its use cases. Stores, dialects and
//! credentials know the domain and not one another.

pub mod changes;
pub mod http;
