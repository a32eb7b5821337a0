//! The store in one SQLite file: one writer, readers beside it. Owns how the file is opened and migrated; its
//! modules own the statements. Must not know HTTP or the other stores.

mod credentials;
mod customers;
mod directory;
mod error;
mod list;
mod migrate;
mod rows;
mod unit;
mod writer;

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use custodia_domain::ports::StoreError;
use futures::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection};
use thiserror::Error;

pub use migrate::MigrateError;

use error::Code;
use writer::{Verdict, Writer};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a reader waits for a free connection.
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two attempts to open a file that another process is setting up.
const OPENING_PAUSE: Duration = Duration::from_millis(20);

/// How a file is used.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; made if there is none, readable by its owner alone.
    pub path: PathBuf,
    /// How many connections read, at least 1.
    pub readers: u32,
}

impl SqliteOptions {
    /// That file, with a reader for each processor, 2 to 8 of them.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
        Self { path: path.into(), readers: u32::try_from(processors).unwrap_or(2) }
    }
}

/// Why a file cannot serve as the store.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder is not there or cannot be entered.
    #[error("the folder of the database {} does not exist or cannot be entered", .0.display())]
    NoFolder(PathBuf),
    /// The file or its folder cannot be written; SQLite needs both.
    #[error("the database {} cannot be written: check the permissions of the file and of its folder", .0.display())]
    ReadOnly(PathBuf),
    /// The file holds something else.
    #[error("{} is not an SQLite database", .0.display())]
    NotADatabase(PathBuf),
    /// There is no room.
    #[error("the disk of the database {} is full", .0.display())]
    DiskFull(PathBuf),
    /// Another process holds the file.
    #[error("the database {} is locked by another process", .0.display())]
    Locked(PathBuf),
    /// The schema is not this program's.
    #[error("the database {} cannot be migrated", .path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: MigrateError,
    },
    /// Anything else.
    #[error("the database {} cannot be opened", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
}

/// The store in an SQLite file.
///
/// Every write goes through one task, which groups what has gathered into one transaction; readers never wait for
/// it. Several processes may use the same file, as the command line does beside a server.
#[derive(Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way.
    pub async fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let path = options.path;
        make_private(&path)?;
        let writing = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", "-16000")
            .pragma("temp_store", "memory")
            .pragma("journal_size_limit", "67108864");
        let mut connection = connect(&writing).await.map_err(|error| opening(&path, error))?;
        migrate::migrate(&mut connection).await.map_err(|error| migrating(&path, error))?;
        let reading = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(256)
            .pragma("cache_size", "-16000")
            .pragma("temp_store", "memory");
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .acquire_timeout(READER_TIMEOUT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(reading);
        Ok(Self { readers, writer: Writer::start(connection, writing) })
    }

    /// Finishes the writes that were accepted and closes the file. Calls after it answer that the store is
    /// unavailable.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Has something written that the store's rules never refuse.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Verdict<T, Infallible>> + Send + 'static,
        T: Send + 'static,
    {
        let Ok(done) = self.writer.run(work).await?;
        Ok(done)
    }
}

/// Makes an empty file that its owner alone may read: it will hold personal data. SQLite gives the same permissions
/// to the files that it makes beside it.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Err(OpenError::NoFolder(path.to_owned())),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Err(OpenError::ReadOnly(path.to_owned()))
            }
            io::ErrorKind::StorageFull => Err(OpenError::DiskFull(path.to_owned())),
            _ => Err(OpenError::Failed { path: path.to_owned(), source: error.into() }),
        },
    }
}

/// Connects. The change to WAL does not wait for other processes by itself, so two that start at once on a new file
/// have to try again.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let begun = Instant::now();
    loop {
        match options.connect().await {
            Err(error) if Code::of(&error) == Some(Code::Busy) && begun.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(OPENING_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

fn opening(path: &Path, error: sqlx::Error) -> OpenError {
    let path = path.to_owned();
    match Code::of(&error) {
        Some(Code::NotADatabase) => OpenError::NotADatabase(path),
        Some(Code::ReadOnly | Code::CannotOpen) => OpenError::ReadOnly(path),
        Some(Code::Full) => OpenError::DiskFull(path),
        Some(Code::Busy | Code::Locked) => OpenError::Locked(path),
        _ => OpenError::Failed { path, source: error },
    }
}

fn migrating(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::Failed(error) if !matches!(Code::of(&error), None | Some(Code::Other)) => opening(path, error),
        error => OpenError::Migrate { path: path.to_owned(), source: error },
    }
}
