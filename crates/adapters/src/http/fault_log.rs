//! The one place where a fault's whole chain is told.
//!
//! Owns that line of the log. It must not know what the client reads instead.

use std::error::Error as StdError;

/// Logs a fault with everything that lies beneath it. Causes come from stores and name no personal data.
pub fn log_chain(error: &dyn StdError) {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain.push_str(": ");
        chain.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(error = chain, "operation failed");
}
