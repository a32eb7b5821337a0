//! A running server's database, worked upon from outside: made unusable for a while, or broken.
//!
//! It owns what only a test does to a database. It must not know any contract, and of the tables only the names it is given.

use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::Server;
use crate::postgres;

/// A database that takes no writes until this ends: on PostgreSQL nobody can connect to it and everybody is disconnected; a
/// SQLite file is locked by another writer.
#[derive(Debug)]
pub struct Outage(Kind);

#[derive(Debug)]
enum Kind {
    Locked(SqliteConnection),
    Closed { database: String },
}

impl Outage {
    /// Begins one under a running server.
    ///
    /// # Panics
    /// The database does not answer.
    pub async fn begin(server: &Server) -> Self {
        Self::try_begin(server).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn try_begin(server: &Server) -> anyhow::Result<Self> {
        let Some(database) = server.database() else {
            let mut connection = file(server).await?;
            connection.execute("begin immediate").await.context("the lock is free")?;
            return Ok(Self(Kind::Locked(connection)));
        };
        let database = database.name().to_owned();
        postgres::administer(format!("alter database {database} with allow_connections false")).await?;
        let disconnect = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'");
        postgres::administer(disconnect).await?;
        Ok(Self(Kind::Closed { database }))
    }

    /// Ends it.
    ///
    /// # Panics
    /// The database does not answer.
    pub async fn end(self) {
        let ended = match self.0 {
            Kind::Locked(connection) => connection.close().await.map_err(Into::into),
            Kind::Closed { database } => {
                postgres::administer(format!("alter database {database} with allow_connections true")).await
            }
        };
        ended.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// Runs one statement on a running server's database.
///
/// # Panics
/// The database refuses it.
pub async fn run(server: &Server, statement: &str) {
    try_run(server, statement).await.unwrap_or_else(|error| panic!("{statement}: {error:#}"));
}

async fn try_run(server: &Server, statement: &str) -> anyhow::Result<()> {
    // Only tests come here, with statements of their own.
    let statement = AssertSqlSafe(statement.to_owned());
    let _: u64 = match server.database() {
        None => file(server).await?.execute(statement).await?.rows_affected(),
        Some(database) => PgConnection::connect(database.url()).await?.execute(statement).await?.rows_affected(),
    };
    Ok(())
}

async fn file(server: &Server) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(server.folder().join("custodia.db"));
    Ok(SqliteConnection::connect_with(&options).await?)
}
