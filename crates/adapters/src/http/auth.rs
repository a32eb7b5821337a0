//! Who asks: what a credential comes to, and the port by which the edge finds out.
//!
//! Owns the words that the dialects share about credentials. It must not know how a token is signed, how a key is kept or
//! how any dialect words a refusal.

use std::net::IpAddr;

use async_trait::async_trait;
use custodia_domain::ports::{Scope, StoreError};
use custodia_domain::{Actor, ExternalId, OrganizationId};
use thiserror::Error;

use super::rate;

/// Who asks. A credential belongs to exactly one organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The tenant whose records alone it can see.
    pub organization: OrganizationId,
    /// Its name in the history; never a secret.
    pub actor: Actor,
    /// What it may do.
    pub scope: Scope,
    /// What tells this credential from every other one of its organization, such as `key:3` or `token:partner-1`: the
    /// scope of its idempotency keys and of its rate limit. Never a secret.
    pub credential: Box<str>,
}

/// Why a credential was not accepted.
#[derive(Debug, Error)]
pub enum AuthError {
    /// It is unknown, malformed, expired, revoked, of another issuer or without the role it needs.
    #[error("the credential is not accepted")]
    Unauthenticated,
    /// Too many failures for this account and address, or too many requests.
    #[error("too many attempts")]
    Throttled {
        /// Seconds until another attempt may be made; at least 1.
        retry_after: u32,
    },
    /// The store that keeps the credentials cannot answer.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

/// Tells who a credential belongs to.
///
/// Implementations MUST compare secrets in constant time and take as long for an account that does not exist as for a wrong
/// password.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// The owner of a bearer token: a JWT with the role that the service needs, or an API key.
    ///
    /// # Errors
    /// [`AuthError`].
    async fn bearer(&self, token: &str) -> Result<Principal, AuthError>;

    /// The owner of an API key.
    ///
    /// # Errors
    /// [`AuthError`].
    async fn api_key(&self, key: &str) -> Result<Principal, AuthError>;

    /// A new JWT for a partner account that names itself by e-mail address and password, from that address.
    ///
    /// # Errors
    /// [`AuthError`]; wrong passwords and unknown accounts are one and the same.
    async fn password(&self, email: &str, password: &str, peer: IpAddr) -> Result<String, AuthError>;

    /// The public keys of our own tokens: a JSON Web Key Set (RFC 7517 section 5).
    fn jwks(&self) -> String;
}

/// Why a caller is not let in.
#[derive(Debug, Error)]
pub enum Denied {
    /// Its credential is not accepted, or has asked too often.
    #[error(transparent)]
    Credential(#[from] AuthError),
    /// Its credential may not do that much.
    #[error("the credential may not do this")]
    Forbidden,
}

/// What is decided of a caller before anything else of its request is looked at, in this order: its credential is accepted,
/// may do what is needed, and has not asked too often.
///
/// # Errors
/// [`Denied`] names the first of them that does not hold.
pub async fn admitted(
    proof: impl Future<Output = Result<Principal, AuthError>> + Send,
    needed: Scope,
) -> Result<Principal, Denied> {
    let principal = proof.await?;
    if principal.scope < needed {
        return Err(Denied::Forbidden);
    }
    rate::admit(&principal)?;
    Ok(principal)
}

/// What a session is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who started it: what it changes is theirs, and its idempotency keys and rate are counted with theirs.
    pub principal: Principal,
    /// Whether it may send the institution's data.
    pub institution: bool,
    /// The customer whose profile it may read.
    pub customer: Option<ExternalId>,
}

/// Starts sessions and recognises them.
///
/// Implementations MUST NOT accept a session's token as a bearer token, nor a bearer token as a session's.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// A token that stands for the session for one hour from now.
    fn issue(&self, session: &Session) -> String;

    /// The session that a token stands for.
    ///
    /// # Errors
    /// [`AuthError::Unauthenticated`] where it stands for none, or its hour is over; [`AuthError::Unavailable`].
    async fn session(&self, token: &str) -> Result<Session, AuthError>;
}
