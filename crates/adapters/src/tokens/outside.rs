//! The keys of an outside issuer: fetched from its JWKS URL, kept, and fetched again for a key that is not known, though not
//! more often than configured. Must not know what a token says.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use custodia_domain::ports::Cause;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use reqwest::{Client, Url};
use serde_json::Value;
use thiserror::Error;

use super::signing::CheckingKey;

/// The most bytes of a key set.
const BODY_LIMIT: usize = 256 << 10;
/// The most keys that are kept of one.
const KEY_LIMIT: usize = 100;
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Seconds after which a key set is fetched again though every key in it is known: keys are withdrawn, too.
const STALE: i64 = 3_600;

/// An issuer outside this deployment whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideIssuer {
    /// Its `iss`.
    pub name: String,
    /// Where it publishes its keys: https, or http on this machine.
    pub jwks_url: String,
    /// What its tokens' `aud` has to name; anything where `None`.
    pub audience: Option<String>,
    /// The claim that holds the organization's number.
    pub organization_claim: String,
    /// The algorithms that its keys may be for.
    pub algorithms: Vec<Algorithm>,
    /// The least time between two fetches.
    pub refresh: Duration,
}

/// Why the keys of an outside issuer are not known.
#[derive(Debug, Error)]
pub enum JwksError {
    /// They cannot be fetched.
    #[error("the key set cannot be fetched")]
    Unreachable(#[source] Cause),
    /// What was fetched is no key set, or the URL is none that we fetch from.
    #[error("there is no usable key set at that URL")]
    Unusable,
}

/// The keys of an outside issuer.
pub struct OutsideKeys {
    issuer: OutsideIssuer,
    url: Url,
    client: Client,
    known: Mutex<Known>,
    /// Held while fetching: whoever needs what is not known waits, whoever has a known key does not.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Arc<HashMap<String, CheckingKey>>,
    /// When the keys were fetched, and when a fetch was last tried, in seconds.
    fetched: Option<i64>,
    tried: Option<i64>,
}

impl Known {
    fn fresh(&self, id: &str, now: i64) -> Option<CheckingKey> {
        self.fetched.filter(|at| now - at < STALE).and_then(|_| self.keys.get(id).cloned())
    }
}

impl fmt::Debug for OutsideKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutsideKeys").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl OutsideKeys {
    /// The keys of that issuer; nothing is fetched yet.
    ///
    /// # Errors
    /// [`JwksError`]: the URL is neither https nor on this machine, or TLS cannot be set up.
    pub fn new(issuer: OutsideIssuer) -> Result<Self, JwksError> {
        let url = Url::parse(&issuer.jwks_url).map_err(|_| JwksError::Unusable)?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_this_machine(&url)) {
            return Err(JwksError::Unusable);
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .build()
            .map_err(|error| JwksError::Unreachable(Box::new(error)))?;
        Ok(Self { issuer, url, client, known: Mutex::default(), fetching: tokio::sync::Mutex::default() })
    }

    pub(super) fn issuer(&self) -> &OutsideIssuer {
        &self.issuer
    }

    /// The key of that id. `now` is in seconds.
    pub(super) async fn key(&self, id: &str, now: i64) -> Result<Option<CheckingKey>, JwksError> {
        if let Some(key) = self.known().fresh(id, now) {
            return Ok(Some(key));
        }
        let _fetching = self.fetching.lock().await;
        let known = self.known();
        if let Some(key) = known.fresh(id, now) {
            return Ok(Some(key));
        }
        let refresh = i64::try_from(self.issuer.refresh.as_secs()).unwrap_or(i64::MAX);
        if known.tried.is_none_or(|at| now - at >= refresh) {
            let fetched = self.fetch().await;
            let mut known = self.lock();
            known.tried = Some(now);
            match fetched {
                Ok(keys) => {
                    known.keys = Arc::new(keys);
                    known.fetched = Some(now);
                }
                // The keys of before serve on; without any, nobody can tell whether the token is genuine.
                Err(error) if known.fetched.is_none() => return Err(error),
                Err(error) => tracing::warn!(%error, "the keys of the outside issuer could not be fetched again"),
            }
        }
        let known = self.known();
        if known.fetched.is_none() {
            return Err(JwksError::Unreachable("the last fetch failed a moment ago".into()));
        }
        Ok(known.keys.get(id).cloned())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> Known {
        self.lock().clone()
    }

    async fn fetch(&self) -> Result<HashMap<String, CheckingKey>, JwksError> {
        let unreachable = |error: reqwest::Error| JwksError::Unreachable(Box::new(error.without_url()));
        let mut response = self.client.get(self.url.clone()).send().await.map_err(unreachable)?;
        if response.status() != 200 {
            return Err(JwksError::Unusable);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(JwksError::Unusable);
            }
            body.extend_from_slice(&chunk);
        }
        let set: Value = serde_json::from_slice(&body).map_err(|_| JwksError::Unusable)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(JwksError::Unusable)?;
        Ok(keys.iter().take(KEY_LIMIT).filter_map(|key| self.usable(key)).map(|key| (key.id.clone(), key)).collect())
    }

    /// A key that may check signatures for us. Any other one in the set is somebody else's business.
    fn usable(&self, key: &Value) -> Option<CheckingKey> {
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        let id = jwk.common.key_id.clone()?;
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let algorithm = algorithm_of(&jwk)?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let fits = key.family() == algorithm.family() && algorithm.family() != AlgorithmFamily::Hmac;
        (signs && fits && self.issuer.algorithms.contains(&algorithm)).then_some(CheckingKey { id, algorithm, key })
    }
}

/// The one algorithm that a key is for: what it says itself, else what its type is mostly used with.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let declared = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string().parse().ok());
    match (&jwk.algorithm, declared) {
        (AlgorithmParameters::RSA(key), declared) => {
            let modulus = URL_SAFE_NO_PAD.decode(&key.n).ok()?;
            if modulus.len() < 256 {
                return None;
            }
            declared.unwrap_or(Some(Algorithm::RS256))
        }
        (AlgorithmParameters::OctetKeyPair(_), declared) => declared.unwrap_or(Some(Algorithm::EdDSA)),
        (AlgorithmParameters::EllipticCurve(key), declared) => match key.curve {
            EllipticCurve::P256 => declared.unwrap_or(Some(Algorithm::ES256)),
            EllipticCurve::P384 => declared.unwrap_or(Some(Algorithm::ES384)),
            _ => None,
        },
        _ => None,
    }
}

fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wiremock::matchers::method;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    fn issuer(url: &str) -> OutsideIssuer {
        OutsideIssuer {
            name: "https://issuer.example".to_owned(),
            jwks_url: url.to_owned(),
            audience: None,
            organization_claim: "org".to_owned(),
            algorithms: vec![Algorithm::EdDSA],
            refresh: Duration::from_secs(30),
        }
    }

    fn key(id: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    async fn serving(answer: ResponseTemplate) -> (MockServer, OutsideKeys) {
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(answer).mount(&server).await;
        let keys = OutsideKeys::new(issuer(&server.uri())).unwrap();
        (server, keys)
    }

    async fn fetches(server: &MockServer) -> usize {
        server.received_requests().await.unwrap().len()
    }

    #[tokio::test]
    async fn an_unknown_key_is_looked_for_again_but_not_more_often_than_configured() {
        let (server, keys) = serving(ResponseTemplate::new(200).set_body_json(json!({"keys": [key("a")]}))).await;
        assert!(keys.key("a", 1_000).await.unwrap().is_some());
        for _ in 0..5 {
            assert!(keys.key("b", 1_029).await.unwrap().is_none());
        }
        assert_eq!(fetches(&server).await, 1);
        assert!(keys.key("b", 1_030).await.unwrap().is_none());
        assert_eq!(fetches(&server).await, 2);
        assert!(keys.key("a", 1_030 + STALE).await.unwrap().is_some());
        assert_eq!(fetches(&server).await, 3, "a stale set is fetched again");
    }

    #[tokio::test]
    async fn known_keys_outlast_an_issuer_that_is_away() {
        let (server, keys) = serving(ResponseTemplate::new(200).set_body_json(json!({"keys": [key("a")]}))).await;
        assert!(keys.key("a", 1_000).await.unwrap().is_some());
        server.reset().await;
        Mock::given(method("GET")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
        assert!(keys.key("a", 1_000 + STALE).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn redirects_floods_and_other_documents_are_no_key_set() {
        let flood = json!({"keys": [key("a")], "more": "x".repeat(BODY_LIMIT)});
        for answer in [
            ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"),
            ResponseTemplate::new(404),
            ResponseTemplate::new(200).set_body_string("<html>"),
            ResponseTemplate::new(200).set_body_json(json!([])),
            ResponseTemplate::new(200).set_body_json(flood),
        ] {
            let (_server, keys) = serving(answer).await;
            assert!(keys.key("a", 1_000).await.is_err());
        }
    }

    #[tokio::test]
    async fn only_keys_of_a_listed_algorithm_that_sign_are_used() {
        let mut encrypts = key("enc");
        encrypts["use"] = json!("enc");
        let mut other = key("alg");
        other["alg"] = json!("HS256");
        let set = json!({"keys": [
            encrypts, other, {"kty": "oct", "kid": "oct", "k": "c2VjcmV0", "alg": "HS256"}, {"kty": "OKP"}, 1,
            {"kty": "RSA", "kid": "rsa", "n": "sXchxw", "e": "AQAB"}, key("a"),
        ]});
        let (_server, keys) = serving(ResponseTemplate::new(200).set_body_json(set)).await;
        for id in ["enc", "alg", "oct", "rsa"] {
            assert!(keys.key(id, 1_000).await.unwrap().is_none(), "{id}");
        }
        assert!(keys.key("a", 1_000).await.unwrap().is_some());
    }

    #[test]
    fn keys_are_fetched_over_tls_or_from_this_machine() {
        for url in
            ["http://example.com/jwks", "ftp://127.0.0.1/", "file:///etc/passwd", "jwks", "http://127.0.0.1.example/"]
        {
            assert!(matches!(OutsideKeys::new(issuer(url)), Err(JwksError::Unusable)), "{url}");
        }
        for url in ["https://example.com/jwks", "http://localhost:1/", "http://[::1]:1/", "http://127.0.0.1:1/"] {
            assert!(OutsideKeys::new(issuer(url)).is_ok(), "{url}");
        }
    }
}
