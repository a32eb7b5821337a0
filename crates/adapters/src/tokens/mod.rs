//! Credentials: signing keys, bearer tokens, outside issuers, API keys and passwords.
//!
//! Owns what a credential looks like and whether one is genuine. It must not know HTTP, nor how a store keeps what is known of
//! a credential. Secrets come from the operating system's random source; nothing here logs, and no error carries a credential.

mod api_key;
mod cache;
mod failures;
mod outside;
mod password;
mod session;
mod signing;
mod verify;

pub use api_key::{ApiKeyText, hash_api_key};
pub use cache::ExpiringCache;
pub use failures::FailureLimit;
pub use outside::{JwksError, OutsideIssuer, OutsideKeys};
pub use password::{PasswordError, Passwords};
pub use session::SessionGrant;
pub use signing::{Grant, KeyError, SigningKeys, generate_key};
pub use verify::{Refused, TokenOwner, Verified, Verifier};
