//! Which store the database URL means, opened as the ports of the domain. Beyond this module nobody knows which one it is.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use custodia_adapters::memory::MemoryStore;
use custodia_adapters::postgres::{PostgresOptions, PostgresStore};
use custodia_adapters::sqlite::{SqliteOptions, SqliteStore};
use custodia_domain::ports::{
    AccountStore, CredentialStore, CustomerStore, Directory, LoanBook, ScoringEngine, WebhookStore,
};

use crate::config::Config;

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it ends with the process.
    Memory,
    /// In that file.
    Sqlite(PathBuf),
    /// On a server.
    Postgres,
}

impl Place {
    /// What the URL means.
    ///
    /// # Errors
    /// It is none that we know; the error does not show it.
    pub fn of(url: &str) -> anyhow::Result<Self> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.contains(['?', '#']) || path.starts_with(':') {
                bail!("the database URL is malformed; for SQLite it has the form sqlite://FILE");
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        match url {
            "memory:" => Ok(Self::Memory),
            _ if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(Self::Postgres),
            _ => bail!("the database URL begins neither with sqlite:// nor with postgres://"),
        }
    }
}

/// The open store, as the ports that it implements.
pub struct Stores {
    /// Customers, their events and receipts.
    pub customers: Arc<dyn CustomerStore>,
    /// Organizations and their reference data.
    pub directory: Arc<dyn Directory>,
    /// API keys and accounts.
    pub credentials: Arc<dyn CredentialStore>,
    /// Accounts with cards.
    pub accounts: Arc<dyn AccountStore>,
    /// Loan positions.
    pub loans: Arc<dyn LoanBook>,
    /// Credit scores: the built-in engine knows what was reported.
    pub scores: Arc<dyn ScoringEngine>,
    /// Webhook endpoints and their deliveries.
    pub webhooks: Arc<dyn WebhookStore>,
    engine: Engine,
}

/// What has to be closed at the end.
enum Engine {
    Memory,
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PostgresStore>),
}

impl Stores {
    /// Opens the store, makes an SQLite file where there is none, and brings the schema up to date: all where told to. An
    /// SQLite file that is there is always brought up to date.
    ///
    /// # Errors
    /// It cannot be opened, or its schema is not the one that this program knows.
    pub async fn open(config: &Config, migrate: bool) -> anyhow::Result<Self> {
        match Place::of(config.database_url())? {
            Place::Memory => Ok(Self::memory()),
            Place::Sqlite(path) => {
                // A mistyped name must not become a second, empty database.
                if !migrate && !path.exists() {
                    bail!(
                        "there is no database {}: `custodia migrate` makes one, and so does a first start",
                        path.display()
                    );
                }
                let store = Arc::new(SqliteStore::open(SqliteOptions::at(path)).await?);
                Ok(Self { engine: Engine::Sqlite(Arc::clone(&store)), ..Self::over(&store) })
            }
            Place::Postgres => {
                let options =
                    PostgresOptions { max_connections: config.database_connections, ..PostgresOptions::default() };
                let store = PostgresStore::connect(config.database_url(), options).await?;
                if migrate {
                    store.migrate().await?;
                } else {
                    store.verify_schema().await?;
                }
                let store = Arc::new(store);
                Ok(Self { engine: Engine::Postgres(Arc::clone(&store)), ..Self::over(&store) })
            }
        }
    }

    /// A store that holds nothing and ends with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self::over(&Arc::new(MemoryStore::new()))
    }

    fn over<S>(store: &Arc<S>) -> Self
    where
        S: CustomerStore
            + Directory
            + CredentialStore
            + AccountStore
            + LoanBook
            + ScoringEngine
            + WebhookStore
            + 'static,
    {
        Self {
            customers: Arc::clone(store) as _,
            directory: Arc::clone(store) as _,
            credentials: Arc::clone(store) as _,
            accounts: Arc::clone(store) as _,
            loans: Arc::clone(store) as _,
            scores: Arc::clone(store) as _,
            webhooks: Arc::clone(store) as _,
            engine: Engine::Memory,
        }
    }

    /// Finishes what is under way and closes the connections.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Memory => {}
            Engine::Sqlite(store) => store.close().await,
            Engine::Postgres(store) => store.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_one_place_or_is_refused_without_being_shown() {
        let file = |path: &str| Place::Sqlite(PathBuf::from(path));
        assert_eq!(Place::of("sqlite://custodia.db").unwrap(), file("custodia.db"));
        assert_eq!(Place::of("sqlite:///var/lib/custodia.db").unwrap(), file("/var/lib/custodia.db"));
        assert_eq!(Place::of("sqlite:custodia.db").unwrap(), file("custodia.db"));
        assert_eq!(Place::of("postgres://u:p@h/d").unwrap(), Place::Postgres);
        assert_eq!(Place::of("memory:").unwrap(), Place::Memory);
        for url in
            ["", "secret", "mysql://u:secret@h/d", "sqlite:", "sqlite://", "sqlite::memory:", "sqlite://secret?mode=ro"]
        {
            let error = Place::of(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
