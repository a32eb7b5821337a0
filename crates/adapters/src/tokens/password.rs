//! Passwords of partner accounts: argon2id, off the runtime's own threads, a few at a time. Must not know accounts.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

/// Fewest and most bytes of a password. The upper bound keeps a login from being work for hours.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=1_024;
/// How long a login waits for its turn before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the password of an account that does not exist is checked against: nobody knows a password for it.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm8gc3VjaCBhY2NvdW50IQ$Mc4FsFr4rsKJbpKDEEQ2ql6P0Dq4h5WoZcvsL9EV4Kk";

/// Why a password cannot be hashed or checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// It is too short or too long.
    #[error("a password has 8 to 1024 bytes")]
    Length,
    /// More are being checked than the machine can take.
    #[error("too many passwords are being checked")]
    Busy,
}

/// Hashes and checks passwords, a few at a time: each takes 19 MiB and some 20 ms of a core.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    /// So many at once, at least one.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once.clamp(1, 64))) }
    }

    /// The PHC string of a new password, with a random salt.
    ///
    /// # Errors
    /// [`PasswordError`].
    ///
    /// # Panics
    /// When the operating system has no randomness.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        if !LENGTH.contains(&password.len()) {
            return Err(PasswordError::Length);
        }
        let password = Zeroizing::new(password.as_bytes().to_vec());
        self.take_turn(move || {
            let hash = Argon2::default().hash_password(&password);
            hash.expect("argon2 hashes any password of this length with a salt of its own").to_string()
        })
        .await
    }

    /// Whether the password is the one of that PHC string. It takes as long without one, and is false then.
    ///
    /// # Errors
    /// [`PasswordError::Busy`].
    pub async fn matches(&self, password: &str, hash: Option<&str>) -> Result<bool, PasswordError> {
        let known = hash.is_some();
        let fits = password.len() <= *LENGTH.end();
        let password = Zeroizing::new(if fits { password.as_bytes().to_vec() } else { Vec::new() });
        let hash = hash.unwrap_or(NOBODY).to_owned();
        let equal = self.take_turn(move || Argon2::default().verify_password(&password, hash.as_str()).is_ok()).await?;
        Ok(equal && known && fits)
    }

    async fn take_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_| PasswordError::Busy)?.expect("the semaphore is never closed");
        let done = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        Ok(done.await.expect("hashing neither panics nor is cancelled"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn the_right_password_matches_and_no_other() {
        let passwords = Passwords::new(2);
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert_ne!(passwords.hash("correct horse").await.unwrap(), hash, "salted");
        assert_eq!(passwords.matches("correct horse", Some(&hash)).await, Ok(true));
        for wrong in ["correct horsf", "", "correct horse ", &"x".repeat(5_000)] {
            assert_eq!(passwords.matches(wrong, Some(&hash)).await, Ok(false), "{wrong}");
        }
        assert_eq!(passwords.matches("correct horse", Some("not a hash")).await, Ok(false));
    }

    #[tokio::test]
    async fn an_account_that_does_not_exist_costs_a_hash_too() {
        let passwords = Passwords::new(1);
        let hash = passwords.hash("correct horse").await.unwrap();
        let timed = async |hash: Option<&str>| {
            let started = Instant::now();
            assert_eq!(passwords.matches("wrong password", hash).await, Ok(false));
            started.elapsed()
        };
        let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            known = known.min(timed(Some(&hash)).await);
            unknown = unknown.min(timed(None).await);
        }
        assert!(unknown * 3 > known, "{unknown:?} against {known:?}");
        assert!(known * 3 > unknown, "{unknown:?} against {known:?}");
    }

    #[tokio::test]
    async fn a_password_has_eight_to_1024_bytes() {
        let passwords = Passwords::new(1);
        for wrong in [String::new(), "x".repeat(7), "x".repeat(1_025)] {
            assert_eq!(passwords.hash(&wrong).await, Err(PasswordError::Length));
        }
        for right in ["x".repeat(8), "x".repeat(1_024)] {
            assert!(passwords.hash(&right).await.is_ok());
        }
    }
}
