//! The connections: which URLs are accepted, how a session is set up, and how the pool is kept from handing out a
//! session in a state that another caller left behind. Must not know any table.

use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Postgres};
use thiserror::Error;

use super::fault::{Failure, Kind, SqlError};

/// How long a session may take to prove that it is clean, or alive.
const PROOF: Duration = Duration::from_secs(2);
/// How much longer than the server's own limit a client waits for it.
const GRACE: Duration = Duration::from_secs(2);
/// How long a connection may have been idle before it has to prove that it is alive. Under load none is.
const IDLE_TRUST: Duration = Duration::from_secs(1);

/// The URL's parameters that mean something to the driver; it would ignore any other one silently.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// How the connections are used. The default suits one instance of the service beside a server of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The greatest number of connections.
    pub max_connections: u32,
    /// How long a caller waits for a connection before the store is unavailable to it.
    pub acquire_timeout: Duration,
    /// After which the server cancels a statement.
    pub statement_timeout: Duration,
    /// After which the server gives up waiting for a lock.
    pub lock_timeout: Duration,
    /// After which the server ends a session that idles within a transaction.
    pub idle_in_transaction_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a store could not be opened. Neither the URL nor its password is ever in it.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The URL is not one that the driver reads.
    #[error("the database URL is malformed; it has the form postgres://user:password@host:port/database")]
    Malformed,
    /// The URL names several hosts.
    #[error("the database URL names several hosts; name one, such as that of a proxy which knows the primary")]
    ManyHosts,
    /// The URL has a parameter that would be ignored.
    #[error("the database URL has an unknown parameter `{0}`")]
    UnknownParameter(String),
    /// The server cannot be reached, or refuses the credentials.
    #[error("the database server cannot be reached: {0}")]
    Unreachable(String),
    /// The database cannot hold every text.
    #[error("the database's encoding is {0}; it has to be UTF8")]
    Encoding(String),
}

/// What the driver makes of a URL, if it means what it says.
///
/// # Errors
/// [`ConnectError`] for anything that the driver would read differently than it looks, or not at all.
pub(super) fn parse(url: &str) -> Result<PgConnectOptions, ConnectError> {
    let rest =
        url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")).ok_or(ConnectError::Malformed)?;
    if rest.contains('#') {
        return Err(ConnectError::Malformed);
    }
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let has_comma = |text: &str| text.contains(',') || text.to_ascii_lowercase().contains("%2c");
    if has_comma(host) {
        return Err(ConnectError::ManyHosts);
    }
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let known = PARAMETERS.contains(&name) || (name.starts_with("options[") && name.ends_with(']'));
        if !known {
            let shown = name.chars().filter(char::is_ascii_graphic).take(64).collect();
            return Err(ConnectError::UnknownParameter(shown));
        }
        if matches!(name, "host" | "hostaddr" | "port") && has_comma(value) {
            return Err(ConnectError::ManyHosts);
        }
    }
    let options = PgConnectOptions::from_str(url).map_err(|_| ConnectError::Malformed)?;
    Ok(options.disable_statement_logging())
}

/// A pool whose sessions are clean whenever they are handed out.
///
/// A call that is dropped while BEGIN is under way leaves its session within a transaction that nobody knows of: the
/// next caller's acknowledged write would be rolled back with it. And a connection that is dropped while its peer is
/// silent would keep its place in the pool for ever. One round trip after every release, off the request's path,
/// stops both. What is kept in [`Sessions`] is not released.
pub(super) fn pool(connect: PgConnectOptions, options: &PostgresOptions) -> PgPool {
    let setup = session_setup(options);
    PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .after_connect(move |session, _| {
            let setup = setup.clone();
            Box::pin(async move { session.execute(sqlx::raw_sql(AssertSqlSafe(setup))).await.map(drop) })
        })
        .before_acquire(|session, metadata| {
            Box::pin(async move { Ok(metadata.idle_for < IDLE_TRUST || is_alive(session).await) })
        })
        .after_release(|session, _| Box::pin(is_clean(session)))
        .connect_lazy_with(connect)
}

/// The pool, what was kept out of it, and how long a server may keep silent.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    pub(super) pool: PgPool,
    kept: Arc<Mutex<Kept>>,
    patience: Duration,
}

/// Sessions whose last work ended well, in tasks that nobody cuts short: they are clean, and need no proof of it while they
/// are fresh.
#[derive(Debug, Default)]
struct Kept {
    sessions: Vec<(Instant, PoolConnection<Postgres>)>,
    /// How many wait for the pool to give them one; nothing is kept from them.
    waiting: usize,
}

impl Drop for Kept {
    /// Whoever lets go of a store may be outside of any runtime, where the pool takes nothing back.
    fn drop(&mut self) {
        for (_, session) in self.sessions.drain(..) {
            drop(session.detach());
        }
    }
}

impl Sessions {
    pub(super) fn new(pool: PgPool, options: &PostgresOptions) -> Self {
        Self { pool, kept: Arc::default(), patience: options.statement_timeout.saturating_add(GRACE) }
    }

    /// A session: a kept one where there is one, otherwise one of the pool.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, Failure> {
        let stale = {
            let mut kept = self.kept();
            match kept.sessions.pop() {
                Some((since, session)) if since.elapsed() < IDLE_TRUST => return Ok(session),
                // The others have waited longer: all of them go through the pool's proof.
                newest => {
                    kept.waiting += 1;
                    (newest, std::mem::take(&mut kept.sessions))
                }
            }
        };
        let _waiting = Waiting(self);
        drop(stale);
        // Nothing was sent yet that could have been applied.
        self.pool.acquire().await.map_err(|error| Failure::from(error).before_commit())
    }

    /// Takes a session back, or closes it where it is not to be used again.
    pub(super) fn settle(&self, mut session: PoolConnection<Postgres>, failure: Option<&Failure>) {
        match failure.map(|failure| failure.kind) {
            // Nobody waits for a farewell from a peer that has gone.
            Some(Kind::Lost | Kind::Silent) => drop(session.detach()),
            Some(Kind::Again | Kind::Unavailable) => session.close_on_drop(),
            // The pool asks it for a proof.
            Some(Kind::Violation | Kind::Fault) => {}
            None => {
                let mut kept = self.kept();
                if kept.waiting == 0 && !self.pool.is_closed() {
                    kept.sessions.push((Instant::now(), session));
                }
            }
        }
    }

    /// Closes every session, when those that work have come back.
    pub(super) async fn close(&self) {
        let closing = self.pool.close();
        drop(std::mem::take(&mut self.kept().sessions));
        closing.await;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the work comes to, if the server answers. It cancels a statement that takes too long by itself: one that
    /// does not even do that has gone silent, and what it was sent may have been applied or not.
    pub(super) async fn patiently<T, E: From<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match tokio::time::timeout(self.patience, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::silent().into()),
        }
    }
}

/// Somebody who waits for the pool.
struct Waiting<'a>(&'a Sessions);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.kept().waiting -= 1;
    }
}

/// `BEGIN; ROLLBACK` is silent on a clean session and ends a forgotten transaction on another one; its deadline bounds
/// a silent peer.
async fn is_clean(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let proof = session.execute(sqlx::raw_sql("BEGIN; ROLLBACK"));
    tokio::time::timeout(PROOF, proof).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    Ok(true)
}

async fn is_alive(session: &mut PgConnection) -> bool {
    let proof = session.execute(sqlx::raw_sql("select 1"));
    matches!(tokio::time::timeout(PROOF, proof).await, Ok(Ok(_)))
}

/// The settings of a session.
///
/// Plans are made once and for whichever values come: a statement that was prepared while a table was small has to be
/// right when it is not. Hence no sequential scan where an index will do, and no hash or merge join, nor a loop over
/// rows kept aside, which would read a whole table, or all of an organization's part of it, to meet a handful of keys.
pub(super) fn session_setup(options: &PostgresOptions) -> String {
    let milliseconds = |duration: Duration| duration.as_millis().max(1);
    format!(
        "set statement_timeout = {}; set lock_timeout = {}; set idle_in_transaction_session_timeout = {}; \
         set default_transaction_isolation = 'read committed'; set plan_cache_mode = force_generic_plan; \
         set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off; \
         set jit = off; set default_text_search_config = 'pg_catalog.simple'",
        milliseconds(options.statement_timeout),
        milliseconds(options.lock_timeout),
        milliseconds(options.idle_in_transaction_timeout),
    )
}

/// Whether the server is there and its database can hold every text.
pub(super) async fn probe(connect: &PgConnectOptions, limit: Duration) -> Result<(), ConnectError> {
    let ask = async {
        let mut connection = connect.connect().await?;
        let encoding: String =
            sqlx::query_scalar("select current_setting('server_encoding')").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(encoding)
    };
    let encoding = match tokio::time::timeout(limit, ask).await {
        Ok(Ok(encoding)) => encoding,
        Ok(Err(error)) => return Err(ConnectError::Unreachable(SqlError::new(&error).to_string())),
        Err(_) => return Err(ConnectError::Unreachable("no answer in time".into())),
    };
    if encoding == "UTF8" { Ok(()) } else { Err(ConnectError::Encoding(encoding)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_would_be_read_differently_than_it_looks_is_refused() {
        for url in [
            "postgres://u:p@h1,h2/db",
            "postgres://u:p@h1%2Ch2/db",
            "postgres://u:p@h1:5432,h2:5432/db",
            "postgres://u:p@/db?host=h1,h2",
        ] {
            assert!(matches!(parse(url), Err(ConnectError::ManyHosts)), "{url}");
        }
        for url in ["postgres://h/db?target_session_attrs=read-write", "postgres://h/db?sslmode=prefer&SSLMODE=x"] {
            assert!(matches!(parse(url), Err(ConnectError::UnknownParameter(_))), "{url}");
        }
        for url in ["mysql://h/db", "h/db", "postgres://h:port/db", "postgres://u:se#cret@h/db"] {
            assert!(matches!(parse(url), Err(ConnectError::Malformed)), "{url}");
        }
        for url in ["postgres://u:a,b@h/db", "postgresql://h/db?sslmode=require&application_name=x", "postgres:///db"] {
            assert!(parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn no_error_about_a_url_shows_its_password() {
        for url in ["postgres://u:secret@h1,h2/db", "postgres://u:secret@h/db?x=secret", "postgres://u:secret@h:x/db"] {
            let error = parse(url).expect_err("the URL is refused");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }
}
