//! The authenticator over the deployment's own keys, its credential store and, where configured, an outside issuer.
//!
//! Owns what a credential comes to and for how long that is remembered. It must not know a dialect, nor how a store keeps what
//! it is asked for.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use custodia_domain::ports::{Clock, CredentialStore, Directory, Scope, StoreError};
use custodia_domain::{Actor, Timestamp};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::http::auth::{AuthError, Authenticator, Principal, Session, Sessions};
use crate::tokens::{
    ExpiringCache, FailureLimit, Grant, OutsideKeys, PasswordError, Passwords, Refused, SessionGrant, SigningKeys,
    TokenOwner, Verifier, hash_api_key,
};

/// How many API keys are remembered.
const REMEMBERED: usize = 10_000;
/// Microseconds for which an API key is remembered: so long a revoked one may live on.
const REMEMBERED_FOR: i64 = 2_000_000;
/// How many times as many failures an address may have over all accounts: it may belong to a whole office.
const ACCOUNTS_OF_AN_ADDRESS: u32 = 10;
/// The most bytes of an account's e-mail address.
const LONGEST_EMAIL: usize = 254;

/// Where credentials are kept and by what they are limited.
pub struct IdentityParts {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Knows which organizations there are.
    pub directory: Arc<dyn Directory>,
    /// Keeps API keys and accounts.
    pub credentials: Arc<dyn CredentialStore>,
    /// Our own keys.
    pub signing: Arc<SigningKeys>,
    /// Another issuer whose tokens are accepted.
    pub outside: Option<OutsideKeys>,
    /// Checks passwords.
    pub passwords: Passwords,
    /// Failed passwords a minute for an account and address; 0 is no limit.
    pub login_failures: u32,
}

/// Tells who a credential belongs to.
pub struct Identity {
    clock: Arc<dyn Clock>,
    directory: Arc<dyn Directory>,
    credentials: Arc<dyn CredentialStore>,
    signing: Arc<SigningKeys>,
    verifier: Verifier,
    passwords: Passwords,
    failures: FailureLimit,
    strangers: FailureLimit,
    keys: ExpiringCache<[u8; 32], Principal>,
}

impl Identity {
    /// An authenticator with nothing remembered.
    #[must_use]
    pub fn new(parts: IdentityParts) -> Self {
        Self {
            clock: parts.clock,
            directory: parts.directory,
            credentials: parts.credentials,
            verifier: Verifier::new(Arc::clone(&parts.signing), parts.outside),
            signing: parts.signing,
            passwords: parts.passwords,
            failures: FailureLimit::new(parts.login_failures),
            strangers: FailureLimit::new(parts.login_failures.saturating_mul(ACCOUNTS_OF_AN_ADDRESS)),
            keys: ExpiringCache::new(REMEMBERED),
        }
    }

    /// Counts a login that begins: for the account and address, and for the address.
    fn begin(&self, email: &str, peer: IpAddr, now: Timestamp) -> Result<Attempt, AuthError> {
        let attempt = Attempt { account: hash(email, peer), address: hash("", peer) };
        let now = now.microseconds();
        let throttled = |retry_after| AuthError::Throttled { retry_after };
        self.strangers.begin(attempt.address, now).map_err(throttled)?;
        self.failures.begin(attempt.account, now).map_err(|retry_after| {
            self.strangers.forgive(attempt.address);
            throttled(retry_after)
        })?;
        Ok(attempt)
    }

    fn forgive(&self, attempt: &Attempt) {
        self.failures.forgive(attempt.account);
        self.strangers.forgive(attempt.address);
    }
}

/// What a login is counted by.
struct Attempt {
    account: [u8; 32],
    address: [u8; 32],
}

#[async_trait]
impl Authenticator for Identity {
    async fn bearer(&self, token: &str) -> Result<Principal, AuthError> {
        if hash_api_key(token).is_some() {
            return self.api_key(token).await;
        }
        let now = self.clock.now().at;
        if let Some(owner) = self.verifier.remembered(token, now) {
            return Ok(principal(&owner));
        }
        let verified = self.verifier.verify(token, now).await.map_err(|refused| match refused {
            Refused::NotAccepted => AuthError::Unauthenticated,
            Refused::Unavailable(cause) => AuthError::Unavailable(StoreError::Unavailable(cause)),
        })?;
        if self.directory.offices(verified.owner.organization).await?.is_none() {
            return Err(AuthError::Unauthenticated);
        }
        self.verifier.remember(&verified);
        Ok(principal(&verified.owner))
    }

    async fn api_key(&self, key: &str) -> Result<Principal, AuthError> {
        let hash = hash_api_key(key).ok_or(AuthError::Unauthenticated)?;
        let now = self.clock.now().at;
        if let Some(principal) = self.keys.get(&hash, now.microseconds()) {
            return Ok(principal);
        }
        let found = self.credentials.api_keys(&[hash]).await?.into_iter().next().flatten();
        let found = found.filter(|key| bool::from(key.hash.ct_eq(&hash)));
        let found = found.filter(|key| key.revoked_at.is_none_or(|since| now < since));
        let found = found.ok_or(AuthError::Unauthenticated)?;
        let name = format!("key:{}", found.id);
        let principal = Principal {
            organization: found.organization,
            actor: Actor::new(&name),
            scope: found.scope,
            credential: name.into(),
        };
        self.keys.put(hash, principal.clone(), now.microseconds().saturating_add(REMEMBERED_FOR));
        Ok(principal)
    }

    async fn password(&self, email: &str, password: &str, peer: IpAddr) -> Result<String, AuthError> {
        let now = self.clock.now().at;
        let attempt = self.begin(email, peer, now)?;
        let account = if can_be_email(email) { self.credentials.account(email).await } else { Ok(None) };
        let account = account.inspect_err(|_| self.forgive(&attempt))?;
        let hash = account.as_ref().map(|account| account.password_hash.as_str());
        match (self.passwords.matches(password, hash).await, account) {
            (Ok(true), Some(account)) => {
                self.forgive(&attempt);
                let subject = format!("partner-{}", account.id);
                let grant = Grant { organization: account.organization, subject, scope: Scope::Write };
                Ok(self.signing.issue(&grant, now))
            }
            (Ok(_), _) => Err(AuthError::Unauthenticated),
            (Err(PasswordError::Busy | PasswordError::Length), _) => {
                self.forgive(&attempt);
                Err(AuthError::Throttled { retry_after: 1 })
            }
        }
    }

    fn jwks(&self) -> String {
        self.signing.jwks().to_owned()
    }
}

#[async_trait]
impl Sessions for Identity {
    fn issue(&self, session: &Session) -> String {
        let grant = SessionGrant {
            organization: session.principal.organization,
            subject: session.principal.credential.as_ref().to_owned(),
            access: session.principal.scope,
            institution: session.institution,
            customer: session.customer.clone(),
        };
        self.signing.issue_session(&grant, self.clock.now().at)
    }

    async fn session(&self, token: &str) -> Result<Session, AuthError> {
        let grant = self.signing.session(token, self.clock.now().at).ok_or(AuthError::Unauthenticated)?;
        let principal = Principal {
            organization: grant.organization,
            actor: Actor::new(&grant.subject),
            scope: grant.access,
            credential: grant.subject.into(),
        };
        Ok(Session { principal, institution: grant.institution, customer: grant.customer })
    }
}

fn principal(owner: &TokenOwner) -> Principal {
    Principal {
        organization: owner.organization,
        actor: Actor::new(&owner.name),
        scope: owner.scope,
        credential: owner.name.as_ref().into(),
    }
}

/// Whether a store may be asked for it: no database text holds a NUL, and no address is endless.
fn can_be_email(text: &str) -> bool {
    text.len() <= LONGEST_EMAIL && !text.chars().any(char::is_control)
}

/// What failed passwords are counted by: the account as it is named, and the address; of an IPv6 address the network, since one
/// client has all of it.
fn hash(email: &str, peer: IpAddr) -> [u8; 32] {
    let mut hash = Sha256::new();
    match peer.to_canonical() {
        IpAddr::V4(address) => hash.update(address.octets()),
        IpAddr::V6(address) => hash.update(&address.octets()[..8]),
    }
    hash.update([0]);
    hash.update(email.to_lowercase().as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::tokens::{ApiKeyText, generate_key};
    use custodia_domain::{Date, Moment, OrganizationId};
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    const NOW: i64 = 1_800_000_000_000_000;
    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Moment {
            let at = Timestamp::from_microseconds(self.0.load(Ordering::SeqCst)).unwrap();
            Moment { at, today: Date::parse("2027-01-15").unwrap() }
        }
    }

    struct Stage {
        clock: Arc<Hands>,
        store: Arc<MemoryStore>,
        signing: Arc<SigningKeys>,
        organization: OrganizationId,
        identity: Identity,
    }

    fn at(microseconds: i64) -> Timestamp {
        Timestamp::from_microseconds(microseconds).unwrap()
    }

    async fn stage(login_failures: u32) -> Stage {
        let clock = Arc::new(Hands(AtomicI64::new(NOW)));
        let store = Arc::new(MemoryStore::new());
        let organization = store.add_organization("Lender", at(NOW)).await.unwrap();
        let life = Duration::from_hours(1);
        let signing = Arc::new(SigningKeys::from_pem(&generate_key(), "custodia", life).unwrap());
        let passwords = Passwords::new(2);
        let hash = passwords.hash("correct horse").await.unwrap();
        store.add_account(organization, "ada@example.com", &hash, at(NOW)).await.unwrap();
        let identity = Identity::new(IdentityParts {
            clock: Arc::clone(&clock) as _,
            directory: Arc::clone(&store) as _,
            credentials: Arc::clone(&store) as _,
            signing: Arc::clone(&signing),
            outside: None,
            passwords,
            login_failures,
        });
        Stage { clock, store, signing, organization, identity }
    }

    fn refused<T>(result: &Result<T, AuthError>) -> bool {
        matches!(result, Err(AuthError::Unauthenticated))
    }

    #[tokio::test]
    async fn a_password_gives_a_token_that_names_its_organization() {
        let stage = stage(30).await;
        let token = stage.identity.password("Ada@Example.com", "correct horse", PEER).await.unwrap();
        let owner = stage.identity.bearer(&token).await.unwrap();
        assert_eq!(owner.organization, stage.organization);
        assert_eq!(&*owner.credential, "token:partner-1");
        assert_eq!(owner.scope, Scope::Write);
        assert_eq!(stage.identity.bearer(&token).await.unwrap(), owner, "remembered");
        stage.clock.0.fetch_add(3_600_000_000, Ordering::SeqCst);
        assert!(refused(&stage.identity.bearer(&token).await), "remembered tokens end, too");
    }

    #[tokio::test]
    async fn wrong_passwords_and_unknown_accounts_are_one_and_the_same() {
        let stage = stage(30).await;
        for (email, password) in [
            ("ada@example.com", "wrong password"),
            ("ada@example.com", ""),
            ("bob@example.com", "correct horse"),
            ("", ""),
            ("a\0b", "correct horse"),
            (&"x".repeat(300), "correct horse"),
        ] {
            assert!(refused(&stage.identity.password(email, password, PEER).await), "{email}");
        }
    }

    #[tokio::test]
    async fn failed_passwords_are_limited_for_an_account_and_address() {
        let stage = stage(2).await;
        let ask = async |email: &str, password: &str, peer| stage.identity.password(email, password, peer).await;
        assert!(ask("ada@example.com", "correct horse", PEER).await.is_ok());
        for _ in 0..2 {
            assert!(refused(&ask("ADA@example.com", "wrong password", PEER).await));
        }
        let throttled = ask("ada@example.com", "correct horse", PEER).await;
        assert!(matches!(throttled, Err(AuthError::Throttled { retry_after: 60..=61 })), "{throttled:?}");
        assert!(ask("ada@example.com", "correct horse", IpAddr::V4(Ipv4Addr::LOCALHOST)).await.is_ok());
        assert!(refused(&ask("bob@example.com", "correct horse", PEER).await));
        stage.clock.0.fetch_add(60_000_000, Ordering::SeqCst);
        assert!(ask("ada@example.com", "correct horse", PEER).await.is_ok());
    }

    #[tokio::test]
    async fn an_address_that_tries_one_account_after_another_is_limited_too() {
        let stage = stage(1).await;
        for number in 0..ACCOUNTS_OF_AN_ADDRESS {
            let email = format!("{number}@example.com");
            assert!(refused(&stage.identity.password(&email, "wrong password", PEER).await));
        }
        let next = stage.identity.password("ada@example.com", "correct horse", PEER).await;
        assert!(matches!(next, Err(AuthError::Throttled { .. })), "{next:?}");
        let elsewhere = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(stage.identity.password("ada@example.com", "correct horse", elsewhere).await.is_ok());
    }

    #[test]
    fn an_ipv6_client_is_known_by_its_network() {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().into();
        assert_eq!(hash("a", address("2001:db8::1")), hash("A", address("2001:db8::ffff:2")));
        assert_ne!(hash("a", address("2001:db8::1")), hash("a", address("2001:db8:0:1::1")));
        assert_eq!(hash("a", address("::ffff:192.0.2.1")), hash("a", PEER));
    }

    #[tokio::test]
    async fn an_api_key_works_with_its_scope_until_it_is_revoked() {
        let stage = stage(30).await;
        let key = ApiKeyText::generate();
        let added = stage.store.add_api_key(stage.organization, "intake", key.hash(), Scope::Read, at(NOW)).await;
        let id = added.unwrap();
        for owner in [stage.identity.api_key(key.expose()).await, stage.identity.bearer(key.expose()).await] {
            let owner = owner.unwrap();
            assert_eq!((owner.organization, owner.scope), (stage.organization, Scope::Read));
            assert_eq!(&*owner.credential, format!("key:{id}"));
        }
        assert!(refused(&stage.identity.api_key(ApiKeyText::generate().expose()).await));
        assert!(refused(&stage.identity.api_key("cst_x").await));
        assert!(stage.store.revoke_api_key(stage.organization, id, at(NOW)).await.unwrap());
        stage.clock.0.fetch_add(REMEMBERED_FOR, Ordering::SeqCst);
        assert!(refused(&stage.identity.api_key(key.expose()).await));
        assert!(refused(&stage.identity.bearer(key.expose()).await));
    }

    #[tokio::test]
    async fn a_session_acts_for_the_credential_that_started_it_until_its_hour_is_over() {
        let stage = stage(30).await;
        let token = stage.identity.password("ada@example.com", "correct horse", PEER).await.unwrap();
        let principal = stage.identity.bearer(&token).await.unwrap();
        let session = Session { principal, institution: true, customer: None };
        let started = stage.identity.issue(&session);
        assert_eq!(stage.identity.session(&started).await.unwrap(), session);
        assert!(refused(&stage.identity.bearer(&started).await));
        assert!(refused(&stage.identity.session(&token).await));
        stage.clock.0.fetch_add(3_600_000_000, Ordering::SeqCst);
        assert!(refused(&stage.identity.session(&started).await));
    }

    #[tokio::test]
    async fn a_token_of_an_organization_that_does_not_exist_is_refused() {
        let stage = stage(30).await;
        let organization = OrganizationId::parse(stage.organization.get() + 1).unwrap();
        let grant = Grant { organization, subject: "cli".to_owned(), scope: Scope::Write };
        assert!(refused(&stage.identity.bearer(&stage.signing.issue(&grant, at(NOW))).await));
        let grant = Grant { organization: stage.organization, ..grant };
        assert!(stage.identity.bearer(&stage.signing.issue(&grant, at(NOW))).await.is_ok());
    }
}
