//! API keys: how one looks, and by what it is kept. Must not know who owns one.

use std::fmt;

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What every key begins with, so that people and scanners recognise one.
const PREFIX: &str = "cst_";
/// Hexadecimal digits of 32 random bytes.
const SECRET: usize = 64;
/// Hexadecimal digits of the checksum.
const CHECKSUM: usize = 8;

/// A new API key: `cst_`, 64 hexadecimal digits of 32 random bytes, 8 of a checksum over all before. Shown once.
pub struct ApiKeyText(Zeroizing<String>);

impl ApiKeyText {
    /// A new key from the operating system's random source.
    ///
    /// # Panics
    /// When the operating system has no randomness: nothing safe can be done then.
    #[must_use]
    pub fn generate() -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        OsRng.try_fill_bytes(&mut *secret).expect("the operating system gives random bytes");
        let mut text = Zeroizing::new(format!("{PREFIX}{}", hex::encode(*secret)));
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self(text)
    }

    /// The key as its owner gets it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// By what it is kept.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for ApiKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyText(redacted)")
    }
}

/// SHA-256 of a text that has the form of a key, its checksum included; `None` spares a look-up of what cannot be one.
#[must_use]
pub fn hash_api_key(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix(PREFIX)?;
    let formed = digits.len() == SECRET + CHECKSUM
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let (body, sum) = text.split_at_checked(PREFIX.len() + SECRET)?;
    (formed && checksum(body) == sum).then(|| Sha256::digest(text.as_bytes()).into())
}

/// Catches a key that was mistyped or cut; it is no secret and no proof.
fn checksum(body: &str) -> String {
    hex::encode(&Sha256::digest(body.as_bytes())[..CHECKSUM / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_known_by_its_hash_and_no_two_are_equal() {
        let (one, other) = (ApiKeyText::generate(), ApiKeyText::generate());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), 76);
        assert_eq!(hash_api_key(one.expose()), Some(one.hash()));
        assert_eq!(format!("{one:?}"), "ApiKeyText(redacted)");
    }

    #[test]
    fn what_is_cut_changed_or_of_another_form_is_no_key() {
        let key = ApiKeyText::generate();
        let text = key.expose();
        let changed = if text.ends_with('0') { format!("{}1", &text[..75]) } else { format!("{}0", &text[..75]) };
        for wrong in [
            "",
            "cst_",
            "x",
            &text[..75],
            &changed,
            &text.to_uppercase(),
            &format!("{text}0"),
            &format!(" {text}"),
            "cst_é",
        ] {
            assert_eq!(hash_api_key(wrong), None, "{wrong}");
        }
    }
}
