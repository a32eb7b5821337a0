//! Databases on the PostgreSQL server that the tests were given.
//!
//! It never passes over a missing server: a test that needs one fails and says which command provides it.

use std::hash::{BuildHasher as _, Hasher as _};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// The setting that names the server: a URL whose user may create databases.
pub const VARIABLE: &str = "CUSTODIA_TEST_POSTGRES_URL";

/// A database of its own for one test, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    /// Best effort: a database that stays goes with its server.
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        // A runtime cannot be entered from within another one, so the statement has a thread of its own.
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(administer(statement))
        })
        .join();
    }
}

/// A fresh, empty database.
///
/// # Panics
/// [`VARIABLE`] is not set, or its server does not let us create databases.
pub async fn database() -> TestDatabase {
    try_database(None).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A fresh database: empty, or a copy of another one to which nobody is connected.
///
/// # Errors
/// [`VARIABLE`] is not set, or its server does not let us create databases.
pub async fn try_database(template: Option<&TestDatabase>) -> anyhow::Result<TestDatabase> {
    let server = server_url()?;
    let name = format!("custodia_test_{:016x}", random());
    let template = template.map_or(String::new(), |template| format!(" template {}", template.name));
    administer(format!("create database {name}{template}")).await?;
    Ok(TestDatabase { url: with_database(&server, &name), name })
}

/// The URL of the server that the tests were given.
///
/// # Errors
/// [`VARIABLE`] is not set.
pub fn server_url() -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "this is where the tests read their one setting")]
    std::env::var(VARIABLE).with_context(|| {
        format!(
            "{VARIABLE} is not set, and PostgreSQL is never left out: run `scripts/test`, or `scripts/with-postgres cargo test`"
        )
    })
}

/// Runs one statement on the server's maintenance database.
pub(crate) async fn administer(statement: String) -> anyhow::Result<()> {
    let mut connection =
        PgConnection::connect(&server_url()?).await.context("the PostgreSQL server of the tests does not answer")?;
    connection.execute(AssertSqlSafe(statement)).await?;
    connection.close().await?;
    Ok(())
}

/// The same URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let authority = address.find("://").map_or(0, |at| at + 3);
    let end = address[authority..].find('/').map_or(address.len(), |at| authority + at);
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    format!("{}/{name}{query}", &address[..end])
}

/// The same URL with another `host:port`.
pub(crate) fn with_address(url: &str, address: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let begin = url[begin..].find('@').map_or(begin, |at| begin + at + 1);
    let end = url[begin..].find(['/', '?']).map_or(url.len(), |at| begin + at);
    format!("{}{address}{}", &url[..begin], &url[end..])
}

/// The `host:port` of a URL.
///
/// # Panics
/// It has none.
#[must_use]
pub fn address_of(url: &str) -> String {
    let rest = &url[url.find("://").map_or(0, |at| at + 3)..];
    let authority = rest.split(['/', '?']).next().expect("a split has a first part");
    let address = authority.rsplit('@').next().expect("a split has a last part");
    assert!(address.contains(':'), "the URL has no port");
    address.to_owned()
}

/// A number that another process running the same test will not have.
pub(crate) fn random() -> u64 {
    // The standard library keys its hash maps with random numbers; nothing secret depends on this one.
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced_and_the_rest_kept() {
        assert_eq!(with_database("postgres://u:p@h:1/postgres", "x"), "postgres://u:p@h:1/x");
        assert_eq!(with_database("postgres://u:p@h:1", "x"), "postgres://u:p@h:1/x");
        assert_eq!(with_database("postgres://h/a?sslmode=disable", "x"), "postgres://h/x?sslmode=disable");
    }

    #[test]
    fn the_address_of_a_url_is_found_and_replaced() {
        assert_eq!(address_of("postgres://u:p@h:1/x?a=b@c"), "h:1");
        assert_eq!(with_address("postgres://u:p@h:1/x", "i:2"), "postgres://u:p@i:2/x");
        assert_eq!(with_address("postgres://h:1?a=b", "i:2"), "postgres://i:2?a=b");
    }

    #[tokio::test]
    async fn two_databases_of_a_run_share_nothing() {
        let (first, second) = (database().await, database().await);
        let mut connection = PgConnection::connect(first.url()).await.unwrap();
        connection.execute("create table only_here (a integer)").await.unwrap();
        let mut other = PgConnection::connect(second.url()).await.unwrap();
        assert!(other.execute("select a from only_here").await.is_err());
    }

    #[tokio::test]
    async fn a_database_is_gone_when_its_test_has_ended() {
        let database = database().await;
        let url = database.url().to_owned();
        drop(database);
        assert!(PgConnection::connect(&url).await.is_err());
    }
}
