//! Our own signing keys: PEM files, key ids, tokens made with them and the public key set. Must not know accounts, nor decide
//! whether a token is accepted.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use custodia_domain::ports::Scope;
use custodia_domain::{OrganizationId, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::Serialize;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

/// The role without which no token is accepted.
pub(super) const ROLE: &str = "ADMIN";
/// The most bytes of a key file.
const FILE_LIMIT: u64 = 64 << 10;
/// The fewest bytes of an RSA modulus: 2048 bits.
const MODULUS: usize = 256;
/// What PKCS #8 has before the 32 bytes of an Ed25519 key (RFC 8410 section 7).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why a signing key is not used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the signing key file cannot be used: {0}")]
    File(#[source] io::Error),
    /// Others than its owner may read or write the file.
    #[error("the signing key file can be read or written by others than its owner (mode {0:03o}): chmod 600 it")]
    Exposed(u32),
    /// The file holds no private key that we can sign with.
    #[error("the signing key file holds no usable key: an Ed25519 or RSA private key in PEM (PKCS #8) is needed")]
    Unusable,
    /// An RSA key of fewer than 2048 bits, or otherwise unsafe to sign with.
    #[error("the signing key is too short or unsafe: RSA keys have 2048 to 8192 bits")]
    Weak,
}

/// A new Ed25519 private key: PKCS #8 in PEM.
///
/// # Panics
/// When the operating system has no randomness.
#[must_use]
pub fn generate_key() -> Zeroizing<String> {
    let mut der = Zeroizing::new([0; 48]);
    der[..16].copy_from_slice(&ED25519_PKCS8);
    OsRng.try_fill_bytes(&mut der[16..]).expect("the operating system gives random bytes");
    let body = Zeroizing::new(STANDARD.encode(*der));
    Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *body))
}

/// What a token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The tenant.
    pub organization: OrganizationId,
    /// The bearer's name for itself in the history, such as `partner-1`; never a secret nor personal data.
    pub subject: String,
    /// What it may do.
    pub scope: Scope,
}

#[derive(Serialize)]
struct OwnClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    roles: [&'static str; 1],
    org: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

/// A key that signatures are checked with, and the one algorithm it is for.
#[derive(Clone)]
pub(super) struct CheckingKey {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of our own tokens: the first one signs, every one checks. Several make a change of keys possible.
pub struct SigningKeys {
    signing: EncodingKey,
    checking: Vec<CheckingKey>,
    issuer: String,
    life: Duration,
    jwks: String,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("issuer", &self.issuer).field("life", &self.life).finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// Reads a PEM file of one or more private keys that nobody but its owner may read.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path, issuer: &str, life: Duration) -> Result<Self, KeyError> {
        let mut file = std::fs::File::open(path).map_err(KeyError::File)?;
        let metadata = file.metadata().map_err(KeyError::File)?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed(mode));
        }
        if !metadata.is_file() || metadata.len() > FILE_LIMIT {
            return Err(KeyError::Unusable);
        }
        let mut pem = Zeroizing::new(String::new());
        file.read_to_string(&mut pem).map_err(KeyError::File)?;
        Self::from_pem(&pem, issuer, life)
    }

    /// Writes a new key to a file that must not exist yet, readable by its owner alone.
    ///
    /// # Errors
    /// [`KeyError::File`].
    pub fn create(path: &Path) -> Result<(), KeyError> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(KeyError::File)?;
        file.write_all(generate_key().as_bytes()).map_err(KeyError::File)?;
        file.sync_all().map_err(KeyError::File)
    }

    /// The keys of a PEM text.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &str, issuer: &str, life: Duration) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for block in blocks(pem) {
            keys.push(one_key(block)?);
        }
        if keys.is_empty() {
            return Err(KeyError::Unusable);
        }
        let jwks = serde_json::json!({ "keys": keys.iter().map(|(_, _, jwk)| jwk).collect::<Vec<_>>() }).to_string();
        let signing = keys[0].0.clone();
        let checking = keys.into_iter().map(|(_, checking, _)| checking).collect();
        Ok(Self { signing, checking, issuer: issuer.to_owned(), life, jwks })
    }

    /// A new token that begins now.
    ///
    /// # Panics
    /// Never: the key was tried when it was read.
    #[must_use]
    pub fn issue(&self, grant: &Grant, now: Timestamp) -> String {
        let iat = now.microseconds().div_euclid(1_000_000);
        let claims = OwnClaims {
            iss: &self.issuer,
            sub: &grant.subject,
            iat,
            exp: iat.saturating_add(i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX)),
            roles: [ROLE],
            org: grant.organization.get(),
            scope: (grant.scope == Scope::Read).then_some("read"),
        };
        self.sign(&claims)
    }

    /// The claims as a token of ours.
    pub(super) fn sign<C: Serialize>(&self, claims: &C) -> String {
        let first = &self.checking[0];
        let mut header = Header::new(first.algorithm);
        header.kid = Some(first.id.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).expect("the key was tried when it was read")
    }

    /// The public keys: a JSON Web Key Set (RFC 7517 section 5).
    #[must_use]
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// A secret of the deployment for another purpose, such as the MAC of cursors: the same wherever the same key signs, and of no
    /// use to find the key.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.signing.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The `iss` of our own tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn find(&self, id: &str) -> Option<&CheckingKey> {
        self.checking.iter().find(|key| key.id == id)
    }
}

/// The PEM blocks of a text, each with its first and last line.
fn blocks(pem: &str) -> impl Iterator<Item = &str> {
    const BEGIN: &str = "-----BEGIN ";
    let starts: Vec<usize> = pem.match_indices(BEGIN).map(|(at, _)| at).collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([pem.len()]).collect();
    starts.into_iter().zip(ends).map(|(from, to)| &pem[from..to])
}

fn one_key(pem: &str) -> Result<(EncodingKey, CheckingKey, Jwk), KeyError> {
    let (key, algorithm) = match EncodingKey::from_ed_pem(pem.as_bytes()) {
        Ok(key) => (key, Algorithm::EdDSA),
        Err(_) => (EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| KeyError::Unusable)?, Algorithm::RS256),
    };
    let mut jwk = Jwk::from_encoding_key(&key, algorithm).map_err(|_| match algorithm {
        Algorithm::RS256 => KeyError::Weak,
        _ => KeyError::Unusable,
    })?;
    if let AlgorithmParameters::RSA(parameters) = &jwk.algorithm {
        let modulus = URL_SAFE_NO_PAD.decode(&parameters.n).map_err(|_| KeyError::Unusable)?;
        if modulus.len() < MODULUS {
            return Err(KeyError::Weak);
        }
    }
    let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Unusable)?;
    jwk.common.key_id = Some(id.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    let checking = DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::Unusable)?;
    jsonwebtoken::crypto::sign(b"is it a key", &key, algorithm).map_err(|_| KeyError::Unusable)?;
    Ok((key, CheckingKey { id, algorithm, key: checking }, jwk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pem: &str) -> Result<SigningKeys, KeyError> {
        SigningKeys::from_pem(pem, "custodia", Duration::from_mins(1))
    }

    #[test]
    fn a_new_key_signs_and_its_public_half_is_published_under_its_thumbprint() {
        let keys = keys(&generate_key()).unwrap();
        let set: serde_json::Value = serde_json::from_str(keys.jwks()).unwrap();
        let key = &set["keys"][0];
        assert_eq!(key["kty"], "OKP");
        assert_eq!(key["crv"], "Ed25519");
        assert_eq!(key["alg"], "EdDSA");
        assert_eq!(key["use"], "sig");
        assert_eq!(key["kid"], keys.checking[0].id);
        assert_eq!(key["d"], serde_json::Value::Null, "the private half stays here");
        assert_eq!(key["kid"].as_str().unwrap().len(), 43);
    }

    #[test]
    fn the_key_id_of_the_example_of_rfc_8037_is_the_one_of_its_appendix() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let der = [&ED25519_PKCS8[..], &seed].concat();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
        assert_eq!(keys(&pem).unwrap().checking[0].id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_derived_secret_depends_on_the_key_and_the_purpose() {
        let (one, other) = (generate_key(), generate_key());
        let derive = |pem: &str, purpose| keys(pem).unwrap().derive(purpose);
        assert_eq!(derive(&one, "cursors"), derive(&one, "cursors"));
        assert_ne!(derive(&one, "cursors"), derive(&one, "other"));
        assert_ne!(derive(&one, "cursors"), derive(&other, "cursors"));
    }

    #[test]
    fn the_first_of_several_keys_signs_and_all_are_published() {
        let (old, new) = (generate_key(), generate_key());
        let both = keys(&format!("{}{}", *new, *old)).unwrap();
        assert_eq!(both.checking.len(), 2);
        assert_eq!(both.checking[0].id, keys(&new).unwrap().checking[0].id);
        assert_eq!(both.checking[1].id, keys(&old).unwrap().checking[0].id);
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        for text in ["", "x", "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n", public] {
            assert!(matches!(keys(text), Err(KeyError::Unusable)), "{text}");
        }
    }

    #[test]
    fn an_rsa_key_signs_and_a_short_one_is_refused() {
        assert!(keys(include_str!("testdata/rsa2048.pem")).unwrap().jwks().contains("\"RS256\""));
        assert!(matches!(keys(include_str!("testdata/rsa1024.pem")), Err(KeyError::Weak)));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_and_a_new_one_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        SigningKeys::create(&path).unwrap();
        assert!(matches!(SigningKeys::create(&path), Err(KeyError::File(_))), "never overwritten");
        let read = || SigningKeys::read(&path, "custodia", Duration::from_mins(1));
        read().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o777] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(), Err(KeyError::Exposed(found)) if found == mode));
        }
        let gone = SigningKeys::read(&folder.path().join("none"), "custodia", Duration::from_mins(1));
        assert!(matches!(gone, Err(KeyError::File(_))));
    }
}
