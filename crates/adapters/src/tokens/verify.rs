//! Whether a bearer token is genuine, in force and meant for us. Must not know HTTP nor stores.
//!
//! The algorithm comes from the key that the token names, never from the token: a header can only agree with it or be refused.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use custodia_domain::ports::{Cause, Scope};
use custodia_domain::{OrganizationId, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::cache::ExpiringCache;
use super::outside::{JwksError, OutsideKeys};
use super::signing::{CheckingKey, ROLE, SigningKeys};

/// The most bytes of a token.
pub(super) const LONGEST: usize = 8 << 10;
/// The most characters of a subject.
const LONGEST_SUBJECT: usize = 150;
/// How many verified tokens are remembered: a signature costs some 50 µs, a hash 2.
const REMEMBERED: usize = 10_000;
/// Seconds for which a token of an outside issuer is remembered at most: its keys may be withdrawn.
const OUTSIDE_REMEMBERED: i64 = 300;
/// Seconds by which the clock of an outside issuer may run ahead of ours.
const SKEW: i64 = 30;
/// Header members that carry or name a key: we choose keys ourselves. `crit` demands what we do not do.
const REFUSED_HEADERS: [&str; 6] = ["jwk", "jku", "x5u", "x5c", "crit", "zip"];

/// Why no owner is named.
#[derive(Debug, Error)]
pub enum Refused {
    /// The token is malformed, forged, not in force, not meant for us, or lacks the role.
    #[error("the token is not accepted")]
    NotAccepted,
    /// The keys of the outside issuer cannot be fetched.
    #[error("the keys of the outside issuer cannot be fetched")]
    Unavailable(#[source] Cause),
}

/// Who a genuine token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOwner {
    /// The tenant that the token names; whether it exists is for the caller to find out.
    pub organization: OrganizationId,
    /// The subject, told apart by issuer: `token:` for ours, `outside:` for another's.
    pub name: Arc<str>,
    /// What it may do.
    pub scope: Scope,
}

/// Checks bearer tokens against our own keys and, where configured, those of one outside issuer.
#[derive(Debug)]
pub struct Verifier {
    own: Arc<SigningKeys>,
    outside: Option<OutsideKeys>,
    seen: ExpiringCache<[u8; 32], TokenOwner>,
}

impl Verifier {
    /// A verifier with nothing remembered.
    #[must_use]
    pub fn new(own: Arc<SigningKeys>, outside: Option<OutsideKeys>) -> Self {
        Self { own, outside, seen: ExpiringCache::new(REMEMBERED) }
    }

    /// The owner of a token that was verified before and is still in force.
    #[must_use]
    pub fn remembered(&self, token: &str, now: Timestamp) -> Option<TokenOwner> {
        (token.len() <= LONGEST).then(|| self.seen.get(&digest(token), seconds(now))).flatten()
    }

    /// The owner of a token.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, Refused> {
        if token.len() > LONGEST {
            return Err(Refused::NotAccepted);
        }
        let parts = Parts::split(token).ok_or(Refused::NotAccepted)?;
        let now = seconds(now);
        let (issuer, key) = self.key(&parts, now).await?;
        if !parts.is_signed_by(&key) {
            return Err(Refused::NotAccepted);
        }
        let claims = parts.claims().ok_or(Refused::NotAccepted)?;
        let (owner, until) = issuer.accept(&claims, now).ok_or(Refused::NotAccepted)?;
        Ok(Verified { owner, until, digest: digest(token) })
    }

    /// Remembers a verified token, once its tenant is known to exist.
    pub fn remember(&self, verified: &Verified) {
        self.seen.put(verified.digest, verified.owner.clone(), verified.until);
    }

    /// The key that the token names, with the demands of whoever it belongs to.
    async fn key(&self, parts: &Parts<'_>, now: i64) -> Result<(Issuer<'_>, Cow<'_, CheckingKey>), Refused> {
        if let Some(key) = self.own.find(&parts.key_id) {
            return Ok((Issuer::Own(&self.own), Cow::Borrowed(key)));
        }
        let outside = self.outside.as_ref().ok_or(Refused::NotAccepted)?;
        match outside.key(&parts.key_id, now).await {
            Ok(Some(key)) => Ok((Issuer::Outside(outside), Cow::Owned(key))),
            Ok(None) => Err(Refused::NotAccepted),
            Err(error @ JwksError::Unreachable(_)) => Err(Refused::Unavailable(Box::new(error))),
            Err(error @ JwksError::Unusable) => Err(Refused::Unavailable(Box::new(error))),
        }
    }
}

/// A genuine token's owner, and until when it may be remembered.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The owner.
    pub owner: TokenOwner,
    until: i64,
    digest: [u8; 32],
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

pub(super) fn seconds(now: Timestamp) -> i64 {
    now.microseconds().div_euclid(1_000_000)
}

/// A token in its parts; nothing in it is believed yet.
pub(super) struct Parts<'t> {
    signed: &'t str,
    payload: &'t str,
    signature: &'t str,
    algorithm: String,
    pub(super) key_id: String,
}

impl<'t> Parts<'t> {
    pub(super) fn split(token: &'t str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if signature.is_empty() || payload.contains('.') {
            return None;
        }
        let header = object(header)?;
        if REFUSED_HEADERS.iter().any(|name| header.contains_key(*name)) {
            return None;
        }
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self { signed, payload, signature, algorithm: text("alg")?, key_id: text("kid")? })
    }

    pub(super) fn is_signed_by(&self, key: &CheckingKey) -> bool {
        let agreed = self.algorithm.parse() == Ok(key.algorithm);
        agreed
            && jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), &key.key, key.algorithm)
                .is_ok_and(|genuine| genuine)
    }

    pub(super) fn claims(&self) -> Option<Map<String, Value>> {
        object(self.payload)
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// Whose key it was: what the claims have to say.
enum Issuer<'v> {
    Own(&'v SigningKeys),
    Outside(&'v OutsideKeys),
}

impl Issuer<'_> {
    /// The owner that the claims name, and until when (seconds) they may be remembered.
    fn accept(&self, claims: &Map<String, Value>, now: i64) -> Option<(TokenOwner, i64)> {
        let (issuer, audience, organization, skew, prefix) = match self {
            Self::Own(keys) => (keys.issuer(), None, "org", 0, "token"),
            Self::Outside(keys) => {
                let issuer = keys.issuer();
                (&*issuer.name, issuer.audience.as_deref(), &*issuer.organization_claim, SKEW, "outside")
            }
        };
        let ends = instant(claims.get("exp")?)?;
        let begins = claims.get("nbf").map_or(Some(now), instant)?;
        let named = claims.get("iss")?.as_str()? == issuer;
        let meant = match (audience, claims.get("aud")) {
            (Some(wanted), Some(named)) => is_or_holds(named, wanted),
            (Some(_), None) => false,
            // Our own tokens have no audience: one that names another service is not for us.
            (None, named) => named.is_none() || matches!(self, Self::Outside(_)),
        };
        let admin = claims.get("roles")?.as_array()?.iter().any(|role| role == ROLE);
        if !(named && meant && admin && now < ends && begins <= now.saturating_add(skew)) {
            return None;
        }
        let subject = claims.get("sub")?.as_str().filter(|text| is_subject(text))?;
        let owner = TokenOwner {
            organization: organization_of(claims.get(organization)?)?,
            name: format!("{prefix}:{subject}").into(),
            scope: scope_of(claims.get("scope"))?,
        };
        let until = match self {
            Self::Own(_) => ends,
            Self::Outside(_) => ends.min(now.saturating_add(OUTSIDE_REMEMBERED)),
        };
        Some((owner, until))
    }
}

fn is_or_holds(claim: &Value, wanted: &str) -> bool {
    claim == wanted || claim.as_array().is_some_and(|items| items.iter().any(|item| item == wanted))
}

pub(super) fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= LONGEST_SUBJECT && !text.chars().any(char::is_control)
}

/// A `NumericDate` (RFC 7519 section 2) in whole seconds; a string is none.
pub(super) fn instant(value: &Value) -> Option<i64> {
    if let Some(whole) = value.as_i64() {
        return Some(whole);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a conversion from f64 saturates, and any end is as good there"
    )]
    value.as_f64().map(|fraction| fraction.floor() as i64)
}

/// The organization's number, or its digits.
pub(super) fn organization_of(value: &Value) -> Option<OrganizationId> {
    let number = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    OrganizationId::parse(number).ok()
}

/// What the words of a `scope` claim (RFC 8693 section 4.2) allow: `read` without `write` allows reading alone.
pub(super) fn scope_of(value: Option<&Value>) -> Option<Scope> {
    let Some(value) = value else {
        return Some(Scope::Write);
    };
    let words: Vec<&str> = value.as_str()?.split(' ').collect();
    let read_only = words.contains(&"read") && !words.contains(&"write");
    Some(if read_only { Scope::Read } else { Scope::Write })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Grant, OutsideIssuer, generate_key};
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::json;
    use std::time::Duration;
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    const NOW: i64 = 1_800_000_000;

    fn now() -> Timestamp {
        Timestamp::from_microseconds(NOW * 1_000_000).unwrap()
    }

    fn own(pem: &str) -> Arc<SigningKeys> {
        Arc::new(SigningKeys::from_pem(pem, "custodia", Duration::from_hours(1)).unwrap())
    }

    fn grant(scope: Scope) -> Grant {
        Grant { organization: OrganizationId::parse(7).unwrap(), subject: "partner-1".to_owned(), scope }
    }

    /// A token of these parts, signed with this key whatever the header says.
    fn forge(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    fn claims() -> Value {
        json!({"iss": "custodia", "sub": "cli", "iat": NOW, "exp": NOW + 60, "roles": ["ADMIN"], "org": 7})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn without(name: &str) -> Value {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    async fn accepted(verifier: &Verifier, token: &str) -> Option<TokenOwner> {
        match verifier.verify(token, now()).await {
            Ok(verified) => Some(verified.owner),
            Err(Refused::NotAccepted) => None,
            Err(Refused::Unavailable(cause)) => panic!("{cause}"),
        }
    }

    #[tokio::test]
    async fn our_own_token_names_its_owner_until_it_ends() {
        let keys = own(&generate_key());
        let verifier = Verifier::new(Arc::clone(&keys), None);
        let token = keys.issue(&grant(Scope::Write), now());
        let verified = verifier.verify(&token, now()).await.unwrap();
        assert_eq!(verified.owner.organization.get(), 7);
        assert_eq!(&*verified.owner.name, "token:partner-1");
        assert_eq!(verified.owner.scope, Scope::Write);
        assert_eq!(verifier.remembered(&token, now()), None);
        verifier.remember(&verified);
        assert_eq!(verifier.remembered(&token, now()), Some(verified.owner));
        let end = Timestamp::from_microseconds((NOW + 3_600) * 1_000_000).unwrap();
        assert_eq!(verifier.remembered(&token, end), None);
        assert!(verifier.verify(&token, end).await.is_err());
        let read = keys.issue(&grant(Scope::Read), now());
        assert_eq!(accepted(&verifier, &read).await.unwrap().scope, Scope::Read);
    }

    #[tokio::test]
    async fn a_token_of_an_earlier_key_is_accepted_while_the_key_is_kept() {
        let (old, new) = (generate_key(), generate_key());
        let token = own(&old).issue(&grant(Scope::Write), now());
        assert!(accepted(&Verifier::new(own(&format!("{}{}", *new, *old)), None), &token).await.is_some());
        assert!(accepted(&Verifier::new(own(&new), None), &token).await.is_none());
    }

    #[tokio::test]
    async fn every_claim_that_is_missing_wrong_or_of_another_type_is_refused() {
        let pem = generate_key();
        let keys = own(&pem);
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
        let set: Value = serde_json::from_str(keys.jwks()).unwrap();
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": set["keys"][0]["kid"]});
        let verifier = Verifier::new(keys, None);
        let token = |claims: &Value| forge(&header, claims, &key, Algorithm::EdDSA);
        assert!(accepted(&verifier, &token(&claims())).await.is_some());
        for fine in
            [with("nbf", json!(NOW)), with("org", json!("7")), with("exp", json!(1.9e9)), with("more", json!({}))]
        {
            assert!(accepted(&verifier, &token(&fine)).await.is_some(), "{fine}");
        }
        for name in ["iss", "sub", "exp", "roles", "org"] {
            assert!(accepted(&verifier, &token(&without(name))).await.is_none(), "without {name}");
        }
        for wrong in [
            with("exp", json!((NOW + 60).to_string())),
            with("exp", json!(NOW)),
            with("exp", json!(NOW - 1)),
            with("exp", json!(null)),
            with("exp", json!(true)),
            with("nbf", json!(NOW + 1)),
            with("nbf", json!("0")),
            with("iss", json!("another")),
            with("iss", json!(["custodia"])),
            with("aud", json!("another")),
            with("roles", json!([])),
            with("roles", json!("ADMIN")),
            with("roles", json!(["admin", "USER"])),
            with("org", json!(0)),
            with("org", json!(-7)),
            with("org", json!("seven")),
            with("org", json!(7.5)),
            with("sub", json!("")),
            with("sub", json!(1)),
            with("sub", json!("a\u{7}b")),
            with("scope", json!(["read"])),
            json!([claims()]),
        ] {
            assert!(accepted(&verifier, &token(&wrong)).await.is_none(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn no_header_chooses_the_key_or_the_algorithm() {
        let pem = generate_key();
        let keys = own(&pem);
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
        let stranger = generate_key();
        let strange = EncodingKey::from_ed_pem(stranger.as_bytes()).unwrap();
        let set: Value = serde_json::from_str(keys.jwks()).unwrap();
        let public = &set["keys"][0];
        let kid = &public["kid"];
        let verifier = Verifier::new(Arc::clone(&keys), None);
        let x = URL_SAFE_NO_PAD.decode(public["x"].as_str().unwrap()).unwrap();
        let hostile = Value::String("x".repeat(3_000));
        let stranger_jwk: Value = serde_json::from_str(own(&stranger).jwks()).unwrap();
        let secrets = [EncodingKey::from_secret(&x), EncodingKey::from_secret(pem.as_bytes())];
        let mut forged: Vec<String> = secrets
            .iter()
            .map(|secret| forge(&json!({"alg": "HS256", "kid": kid}), &claims(), secret, Algorithm::HS256))
            .collect();
        for header in [
            json!({"alg": "RS256", "kid": kid}),
            json!({"alg": "none", "kid": kid}),
            json!({"alg": "eddsa", "kid": kid}),
            json!({"alg": ["EdDSA"], "kid": kid}),
            json!({"kid": kid}),
            json!({"alg": "EdDSA"}),
            json!({"alg": "EdDSA", "kid": 1}),
            json!({"alg": "EdDSA", "kid": "unknown"}),
            json!({"alg": "EdDSA", "kid": "../../etc/passwd"}),
            json!({"alg": "EdDSA", "kid": "' or 1=1 --"}),
            json!({"alg": "EdDSA", "kid": hostile}),
            json!({"alg": "EdDSA", "kid": kid, "crit": ["exp"]}),
            json!({"alg": "EdDSA", "kid": kid, "jwk": public}),
            json!({"alg": "EdDSA", "kid": kid, "jku": "https://example.com/jwks"}),
        ] {
            forged.push(forge(&header, &claims(), &key, Algorithm::EdDSA));
        }
        for header in [
            json!({"alg": "EdDSA", "kid": kid}),
            json!({"alg": "EdDSA", "jwk": stranger_jwk["keys"][0]}),
            json!({"alg": "EdDSA", "kid": kid, "jwk": stranger_jwk["keys"][0]}),
            json!({"alg": "EdDSA", "kid": stranger_jwk["keys"][0]["kid"]}),
        ] {
            forged.push(forge(&header, &claims(), &strange, Algorithm::EdDSA));
        }
        let good = forge(&json!({"alg": "EdDSA", "kid": kid}), &claims(), &key, Algorithm::EdDSA);
        assert!(accepted(&verifier, &good).await.is_some());
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": kid}).to_string());
        let payload = signed.split_once('.').unwrap().1;
        forged.extend([
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "a.b.c".to_owned(),
            signed.to_owned(),
            format!("{signed}."),
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            good[..good.len() - 4].to_owned(),
            good[..good.len() / 2].to_owned(),
            format!("{good}."),
            format!("{good}.{signature}"),
            format!(" {good}"),
            format!("{good}="),
            format!("{signed}.{}", "A".repeat(86)),
            format!("{good}{}", "A".repeat(9_000)),
        ]);
        for token in forged {
            assert!(accepted(&verifier, &token).await.is_none(), "{}", &token[..token.len().min(200)]);
        }
    }

    fn outside(base: &str, audience: Option<&str>) -> OutsideKeys {
        OutsideKeys::new(OutsideIssuer {
            name: "https://issuer.example".to_owned(),
            jwks_url: format!("{base}/jwks"),
            audience: audience.map(str::to_owned),
            organization_claim: "tenant".to_owned(),
            algorithms: vec![Algorithm::RS256],
            refresh: Duration::from_secs(30),
        })
        .unwrap()
    }

    fn rsa() -> (EncodingKey, Value) {
        let pem = include_str!("testdata/rsa2048.pem");
        let set: Value = serde_json::from_str(own(pem).jwks()).unwrap();
        (EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), set)
    }

    async fn publish(set: &Value) -> MockServer {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_json(set);
        Mock::given(method("GET")).and(path("/jwks")).respond_with(answer).mount(&server).await;
        server
    }

    fn outside_token(key: &EncodingKey, set: &Value, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = set["keys"][0]["kid"].as_str().map(str::to_owned);
        jsonwebtoken::encode(&header, claims, key).unwrap()
    }

    fn outside_claims() -> Value {
        json!({"iss": "https://issuer.example", "sub": "svc", "exp": NOW + 60, "roles": ["ADMIN"], "tenant": "3",
               "aud": ["other", "custodia"]})
    }

    #[tokio::test]
    async fn an_outside_issuer_is_trusted_for_its_own_name_audience_and_keys() {
        let (key, set) = rsa();
        let server = publish(&set).await;
        let verifier = Verifier::new(own(&generate_key()), Some(outside(&server.uri(), Some("custodia"))));
        let owner = accepted(&verifier, &outside_token(&key, &set, &outside_claims())).await.unwrap();
        assert_eq!((owner.organization.get(), &*owner.name), (3, "outside:svc"));
        for (name, value) in [
            ("iss", json!("custodia")),
            ("aud", json!("other")),
            ("aud", json!(null)),
            ("tenant", json!("acme")),
            ("roles", json!(["USER"])),
            ("exp", json!(NOW)),
            ("nbf", json!(NOW + SKEW + 1)),
        ] {
            let mut claims = outside_claims();
            claims[name] = value;
            assert!(accepted(&verifier, &outside_token(&key, &set, &claims)).await.is_none(), "{claims}");
        }
        let own_issuer = outside_token(&key, &set, &claims());
        assert!(accepted(&verifier, &own_issuer).await.is_none(), "an outside key does not sign for us");
    }

    #[tokio::test]
    async fn the_public_key_of_an_outside_issuer_is_no_shared_secret() {
        let (_, set) = rsa();
        let server = publish(&set).await;
        let verifier = Verifier::new(own(&generate_key()), Some(outside(&server.uri(), None)));
        let modulus = set["keys"][0]["n"].as_str().unwrap();
        let header = json!({"alg": "HS256", "kid": set["keys"][0]["kid"]});
        for secret in [modulus.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(modulus).unwrap()] {
            let token = forge(&header, &outside_claims(), &EncodingKey::from_secret(&secret), Algorithm::HS256);
            assert!(accepted(&verifier, &token).await.is_none());
        }
    }

    #[tokio::test]
    async fn an_issuer_that_cannot_be_reached_is_a_fault_and_no_refusal() {
        let (key, set) = rsa();
        let verifier = Verifier::new(own(&generate_key()), Some(outside("http://127.0.0.1:1", None)));
        let token = outside_token(&key, &set, &outside_claims());
        assert!(matches!(verifier.verify(&token, now()).await, Err(Refused::Unavailable(_))));
    }
}
