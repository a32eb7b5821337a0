//! Migrations: taken in turns, and never backwards.

use custodia_adapters::postgres::{MigrateError, PostgresOptions, PostgresStore};
use sqlx::{Connection as _, PgConnection};

use crate::support::{postgres_at, postgres_schema};

async fn open(url: &str) -> PostgresStore {
    PostgresStore::connect(url, PostgresOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_start_at_once_take_turns() {
    let url = postgres_schema().await;
    let migrations = (0..8).map(|_| async { open(&url).await.migrate().await });
    for outcome in futures::future::join_all(migrations).await {
        outcome.unwrap();
    }
    open(&url).await.verify_schema().await.unwrap();
}

#[tokio::test]
async fn a_database_that_was_never_migrated_is_older() {
    let url = postgres_schema().await;
    let error = open(&url).await.verify_schema().await.expect_err("there is no table yet");
    assert!(matches!(error, MigrateError::Older { found: 0, .. }), "{error}");
}

#[tokio::test]
async fn a_schema_from_the_future_is_neither_used_nor_migrated() {
    let url = postgres_schema().await;
    let store = postgres_at(&url).await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query(
        "insert into _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
         values (9000, 'later', current_timestamp, true, '', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    for outcome in [store.verify_schema().await, store.migrate().await] {
        assert!(matches!(outcome, Err(MigrateError::Newer { found: 9000, .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_step_that_was_changed_after_it_was_applied_is_foreign() {
    let url = postgres_schema().await;
    let store = postgres_at(&url).await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("update _sqlx_migrations set checksum = ''").execute(&mut connection).await.unwrap();
    let outcome = store.migrate().await;
    assert!(matches!(outcome, Err(MigrateError::Foreign(1))), "{outcome:?}");
}

#[test]
fn both_engines_have_the_same_steps() {
    let steps = |engine: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(engine);
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert!(!steps("postgres").is_empty());
    assert_eq!(steps("postgres"), steps("sqlite"));
}
