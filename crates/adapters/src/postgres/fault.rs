//! What a driver's error means for the work that met it. Owns the reading of SQLSTATEs; must not know any statement.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use custodia_domain::ports::{Cause, CommitError, StoreError};

/// What an error says about the work in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing was applied, and the same again may succeed at once: serialization failure, deadlock, outdated plan.
    Again,
    /// Nothing was applied; the server is busy, going down or read-only.
    Unavailable,
    /// The connection broke. What was in flight may have been applied.
    Lost,
    /// The server did not answer at all. What was in flight may have been applied.
    Silent,
    /// A constraint was violated; nothing was applied.
    Violation,
    /// A fault of the program, its schema or its data; nothing was applied.
    Fault,
}

/// A driver's error without the values that it may speak of: those belong in no log.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    cause: SqlError,
}

/// What may be told of a driver's error.
#[derive(Debug, Clone)]
pub(super) struct SqlError(Arc<str>);

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SqlError {}

impl SqlError {
    pub(super) fn new(error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(reported) = error else {
            return Self(error.to_string().into());
        };
        let state = reported.code().unwrap_or_default();
        let mut text = format!("SQLSTATE {state}");
        if let Some(constraint) = reported.constraint() {
            text.push_str(", constraint ");
            text.push_str(constraint);
        }
        // Classes 22 and 23 speak of the values they refuse.
        if !state.starts_with("22") && !state.starts_with("23") {
            text.push_str(": ");
            text.push_str(reported.message());
        }
        Self(text.into())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self { kind: kind(&error), cause: SqlError::new(&error) }
    }
}

impl Failure {
    /// A fault of the program.
    pub(super) fn fault(text: &str) -> Self {
        Self { kind: Kind::Fault, cause: SqlError(text.into()) }
    }

    /// The server did not answer.
    pub(super) fn silent() -> Self {
        Self { kind: Kind::Silent, cause: SqlError("the server does not answer".into()) }
    }

    /// The server cannot serve now.
    pub(super) fn unavailable(text: &str) -> Self {
        Self { kind: Kind::Unavailable, cause: SqlError(text.into()) }
    }

    /// The same, met where nothing can have been applied: before anything was sent, or within a transaction that
    /// was never told to commit.
    pub(super) fn before_commit(mut self) -> Self {
        self.kind = match self.kind {
            Kind::Lost | Kind::Silent => Kind::Unavailable,
            other => other,
        };
        self
    }

    /// Whether the same may succeed on another session, for work that may be done twice.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Again | Kind::Lost)
    }

    pub(super) fn cause(self) -> Cause {
        Box::new(self.cause)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Again | Kind::Unavailable | Kind::Lost | Kind::Silent => Self::Unavailable(failure.cause()),
            Kind::Violation | Kind::Fault => Self::Fault(failure.cause()),
        }
    }
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Lost | Kind::Silent => Self::Unknown(failure.cause()),
            Kind::Again | Kind::Unavailable | Kind::Violation | Kind::Fault => Self::Store(failure.into()),
        }
    }
}

fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(reported) => kind_of_state(&reported.code().unwrap_or_default()),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Kind::Lost,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Kind::Unavailable,
        _ => Kind::Fault,
    }
}

fn kind_of_state(state: &str) -> Kind {
    match state {
        // Serialization failure and deadlock; a plan that a migration made obsolete.
        "40001" | "40P01" | "0A000" => Kind::Again,
        // The outcome is unknown by definition (08007, 40003), or the server went down under the statement and cannot
        // tell whether its commit was on disk by then (57P01, 57P02).
        "40003" | "57P01" | "57P02" => Kind::Lost,
        // Read-only (a replica after a failover), lock timeout, a database that takes no connections.
        "25006" | "55P03" | "55000" => Kind::Unavailable,
        _ => match state.get(..2) {
            Some("08") => Kind::Lost,
            Some("23") => Kind::Violation,
            // Out of resources; cancelled, or the server is starting.
            Some("53" | "57") => Kind::Unavailable,
            _ => Kind::Fault,
        },
    }
}

/// The pause before another attempt: doubled each time from 2 ms, up to 64 ms, each a random part of it.
pub(super) async fn pause(attempt: u32) {
    use std::hash::{BuildHasher as _, RandomState};
    let limit: u64 = 2_000 << attempt.min(5);
    let microseconds = limit / 2 + RandomState::new().hash_one(attempt) % (limit / 2);
    tokio::time::sleep(Duration::from_micros(microseconds)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_connection_leaves_the_outcome_unknown() {
        for (state, expected) in [
            ("40001", Kind::Again),
            ("40P01", Kind::Again),
            ("25006", Kind::Unavailable),
            ("57014", Kind::Unavailable),
            ("57P03", Kind::Unavailable),
            ("53300", Kind::Unavailable),
            ("55000", Kind::Unavailable),
            ("57P01", Kind::Lost),
            ("08006", Kind::Lost),
            ("08007", Kind::Lost),
            ("40003", Kind::Lost),
            ("23505", Kind::Violation),
            ("22021", Kind::Fault),
            ("42P01", Kind::Fault),
            ("", Kind::Fault),
        ] {
            assert_eq!(kind_of_state(state), expected, "{state}");
        }
        let lost = Failure::from(sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
        assert!(matches!(CommitError::from(lost.clone()), CommitError::Unknown(_)));
        assert!(matches!(CommitError::from(lost.before_commit()), CommitError::Store(StoreError::Unavailable(_))));
    }
}
