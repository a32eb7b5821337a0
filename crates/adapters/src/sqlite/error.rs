//! What SQLite's result codes mean for the ports. Must not know statements.

use std::error::Error as StdError;
use std::fmt;

use custodia_domain::ports::{Cause, StoreError};

/// A primary result code of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Busy,
    Locked,
    NoMemory,
    ReadOnly,
    Interrupted,
    InputOutput,
    Full,
    CannotOpen,
    Protocol,
    NotADatabase,
    Other,
}

impl Code {
    /// The code of an error that came from SQLite itself.
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
        Some(match extended & 0xff {
            5 => Self::Busy,
            6 => Self::Locked,
            7 => Self::NoMemory,
            8 => Self::ReadOnly,
            9 => Self::Interrupted,
            10 => Self::InputOutput,
            13 => Self::Full,
            14 => Self::CannotOpen,
            15 => Self::Protocol,
            26 => Self::NotADatabase,
            _ => Self::Other,
        })
    }
}

/// Whether the error is a violation of a UNIQUE index other than the primary key's.
pub(super) fn is_unique_violation(error: &sqlx::Error) -> bool {
    extended_code(error) == Some(2067)
}

/// Whether the error is a violation of a foreign key.
pub(super) fn is_foreign_key_violation(error: &sqlx::Error) -> bool {
    extended_code(error) == Some(787)
}

fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// What an error of a statement means: another attempt may help, or it never will.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    if is_passing(&error) { StoreError::Unavailable(error.into()) } else { StoreError::Fault(error.into()) }
}

/// Whether the same statement may succeed later.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    match Code::of(error) {
        Some(Code::Other | Code::NotADatabase) => false,
        Some(_) => true,
        None => matches!(
            error,
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed
        ),
    }
}

/// The store was closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the SQLite store is closed")
    }
}

impl StdError for Closed {}

/// Why work for the writer was not done.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing was committed.
    Store(StoreError),
    /// The COMMIT failed halfway: only reading tells what became of it.
    Unknown(Cause),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => error,
            WriteError::Unknown(cause) => Self::Unavailable(cause),
        }
    }
}
