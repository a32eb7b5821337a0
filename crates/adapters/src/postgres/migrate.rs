//! The schema: brings a database to the version that this program knows, and tells whether it is there. Must not know
//! what the tables mean.

use sqlx::migrate::{MigrateError as DriverError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgPool};
use thiserror::Error;

use super::fault::{Failure, SqlError};
use custodia_domain::ports::Cause;

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Why a database is not at the version that this program knows.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// A newer program has migrated it.
    #[error("the database's schema is at version {found}, this program knows versions up to {known} only")]
    Newer {
        /// The database's version.
        found: i64,
        /// The greatest that this program knows.
        known: i64,
    },
    /// It has not been migrated yet; met only where the program was told not to.
    #[error("the database's schema is at version {found}, this program needs version {known}: run `custodia migrate`")]
    Older {
        /// The database's version; 0 when it has none of the tables.
        found: i64,
        /// The greatest that this program knows.
        known: i64,
    },
    /// A step differs from what this program has under the same number.
    #[error("version {0} of the database's schema is not the one that this program knows")]
    Foreign(i64),
    /// The server cannot be reached, or a step failed.
    #[error("the migration failed")]
    Failed(#[source] Cause),
}

impl From<sqlx::Error> for MigrateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(Failure::from(error).cause())
    }
}

/// Brings the schema up to date, on a connection of its own without time limits. Programs that start at once take
/// turns by an advisory lock, and all but the first find nothing to do.
pub(super) async fn run(options: &PgConnectOptions) -> Result<(), MigrateError> {
    let mut connection = options.connect().await?;
    let known = known();
    let found = version(&mut connection).await?;
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    // The boxed form spares callers from a future that names the driver's lifetimes.
    let outcome = Box::pin(MIGRATOR.run_direct(None, &mut connection, false)).await;
    // Closing the session also gives back the lock where a step failed.
    let closed = connection.close().await;
    match outcome {
        Ok(()) => Ok(closed?),
        // Another program with a newer schema came between.
        Err(DriverError::VersionMissing(found)) if found > known => Err(MigrateError::Newer { found, known }),
        Err(DriverError::VersionMissing(version) | DriverError::VersionMismatch(version)) => {
            Err(MigrateError::Foreign(version))
        }
        Err(DriverError::Execute(error) | DriverError::ExecuteMigration(error, _)) => {
            Err(MigrateError::Failed(Box::new(SqlError::new(&error))))
        }
        Err(other) => Err(MigrateError::Failed(other.into())),
    }
}

/// Whether the schema is the one that this program knows.
pub(super) async fn verify(pool: &PgPool) -> Result<(), MigrateError> {
    let known = known();
    let mut connection = pool.acquire().await?;
    let found = version(&mut connection).await?;
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(MigrateError::Older { found, known }),
        std::cmp::Ordering::Greater => Err(MigrateError::Newer { found, known }),
    }
}

fn known() -> i64 {
    MIGRATOR.iter().map(|step| step.version).max().unwrap_or(0)
}

/// The greatest version that was applied; 0 in a database without any.
async fn version(connection: &mut sqlx::PgConnection) -> Result<i64, sqlx::Error> {
    let migrated: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut *connection).await?;
    if !migrated {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations").fetch_one(connection).await
}
