//! The yardstick on SQLite: a customer and its event, one transaction for each, made durable as the service makes them.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::table::Beside;

const TABLES: &str = "
    create table if not exists customers (organization_id integer not null, id integer not null, version integer not null,
        external_id text not null, status text not null, submitted_on text not null, activated_on text not null,
        created_at integer not null, updated_at integer not null,
        primary key (organization_id, id), unique (organization_id, external_id)) without rowid;
    create table if not exists customer_events (organization_id integer not null, sequence integer not null,
        customer_id integer not null, version integer not null, kind text not null, external_id text not null,
        at integer not null, actor text not null, request_id text not null, changed text not null,
        primary key (organization_id, sequence)) without rowid;";

const CUSTOMER: &str =
    "insert into customers (organization_id, id, version, external_id, status, submitted_on, activated_on,
        created_at, updated_at)
    values (1, ?1, 1, ?2, 'Active', '2026-05-22', '2026-05-22', 1780000000000000, 1780000000000000)";

const EVENT: &str =
    "insert into customer_events (organization_id, sequence, customer_id, version, kind, external_id, at,
        actor, request_id, changed)
    values (1, ?1, ?1, 1, 'customer.created', ?2, 1780000000000000, 'token:bench', '0123456789abcdef',
        '{\"externalId\":{\"to\":\"x\"},\"status\":{\"to\":\"Active\"}}')";

/// Creates customers for so many seconds.
///
/// # Errors
/// The file cannot be written.
pub async fn one_by_one(file: &Path, seconds: u32) -> anyhow::Result<Beside> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await?;
    sqlx::raw_sql(TABLES).execute(&mut connection).await?;
    let mut last: i64 =
        sqlx::query_scalar("select coalesce(max(id), 0) from customers").fetch_one(&mut connection).await?;
    let began = Instant::now();
    let mut done = 0_u32;
    while began.elapsed() < Duration::from_secs(seconds.into()) {
        last += 1;
        let external_id = format!("yardstick-{last}");
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(CUSTOMER).bind(last).bind(&external_id).execute(&mut *transaction).await?;
        sqlx::query(EVENT).bind(last).bind(&external_id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        done += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(Beside { per_second: f64::from(done) / seconds, p50_ms: seconds * 1e3 / f64::from(done.max(1)), cpu: 0.0 })
}
