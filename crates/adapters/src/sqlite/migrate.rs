//! Brings a database to the schema of this program. Owns the order of the steps and the record of those done; must
//! not know what is in the tables.

use custodia_domain::ports::Clock as _;
use sha2::{Digest as _, Sha256};
use sqlx::{Row as _, SqliteConnection};
use thiserror::Error;

use crate::clock::SystemClock;

/// One step of the schema. A step that has been released is never changed.
struct Step {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

/// Every step, in order; the same names as those of PostgreSQL.
const STEPS: &[Step] = &[
    Step { version: 1, name: "registry", sql: include_str!("../../../../migrations/sqlite/0001_registry.sql") },
    Step { version: 2, name: "webhooks", sql: include_str!("../../../../migrations/sqlite/0002_webhooks.sql") },
];

const CREATE_RECORD: &str = "create table if not exists schema_migrations (
    version integer not null primary key,
    name text not null,
    checksum blob not null,
    applied_at integer not null
) strict";
const SELECT_DONE: &str = "select version, checksum from schema_migrations order by version";
const INSERT_DONE: &str = "insert into schema_migrations (version, name, checksum, applied_at) values (?1, ?2, ?3, ?4)";

/// Why a database could not be brought to this program's schema.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// A newer program has migrated the database: this one would misread it.
    #[error("the database has schema version {found}, but this program knows only {known}: run the newer program")]
    Newer {
        /// The greatest version in the database.
        found: i64,
        /// The greatest version that this program knows.
        known: i64,
    },
    /// A step was done with another text than this program's.
    #[error("step {version} of the schema is not the one that this database was migrated with")]
    Changed {
        /// The step.
        version: i64,
    },
    /// A statement failed; nothing was changed.
    #[error("the migration failed")]
    Failed(#[from] sqlx::Error),
}

/// Does the missing steps in one transaction, which other processes wait for: whoever comes second finds them done.
///
/// # Errors
/// [`MigrateError`]; the database is then as it was.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    sqlx::query("begin immediate").execute(&mut *connection).await?;
    let migrated = do_steps(connection).await;
    let end = if migrated.is_ok() { "commit" } else { "rollback" };
    let ended = sqlx::query(end).execute(connection).await;
    migrated?;
    ended?;
    Ok(())
}

async fn do_steps(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    sqlx::query(CREATE_RECORD).execute(&mut *connection).await?;
    let done = sqlx::query(SELECT_DONE).fetch_all(&mut *connection).await?;
    let known = STEPS.last().map_or(0, |step| step.version);
    let found: i64 = done.last().map_or(Ok(0), |row| row.try_get(0))?;
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    for step in STEPS {
        let checksum = Sha256::digest(step.sql.as_bytes());
        let recorded = done.iter().find(|row| row.try_get::<i64, _>(0).ok() == Some(step.version));
        if let Some(recorded) = recorded {
            if recorded.try_get::<&[u8], _>(1)? != checksum.as_slice() {
                return Err(MigrateError::Changed { version: step.version });
            }
            continue;
        }
        sqlx::raw_sql(step.sql).execute(&mut *connection).await?;
        let insert = sqlx::query(INSERT_DONE).bind(step.version).bind(step.name).bind(checksum.as_slice());
        insert.bind(SystemClock::utc().now().at.microseconds()).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_a_step() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/sqlite");
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = entries.collect();
        files.sort();
        let steps: Vec<String> = STEPS.iter().map(|step| format!("{:04}_{}.sql", step.version, step.name)).collect();
        assert_eq!(files, steps);
        assert!(STEPS.iter().zip(1..).all(|(step, version)| step.version == version), "versions without gaps");
    }
}
