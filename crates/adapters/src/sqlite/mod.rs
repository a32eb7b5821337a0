//! The store in one SQLite file: one writer, readers beside it. Owns how the file is opened and migrated; its
//! modules own the statements. Must not know HTTP or the other stores.

mod accounts;
mod companies;
mod creations;
mod credentials;
mod customers;
mod deliveries;
mod directory;
mod error;
mod list;
mod loans;
mod migrate;
#[cfg(test)]
mod plans;
mod rows;
mod unit;
mod webhooks;
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
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unmade(path, error)),
        _ => Ok(()),
    }
}

/// Why a file could not be made.
fn unmade(path: &Path, error: io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::NoFolder(path),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly(path),
        io::ErrorKind::StorageFull => OpenError::DiskFull(path),
        _ => OpenError::Failed { path, source: error.into() },
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use custodia_domain::ports::{
        CommitError, Committed, CustomerFilter, CustomerQuery, CustomerStore as _, Direction, Directory as _, SortKey,
        Window,
    };
    use custodia_domain::{
        Actor, Answer, Audit, Basis, Customer, CustomerChange, CustomerId, ExternalId, Fingerprint, FullName, Moment,
        Name, NewCustomer, OfficeId, OrganizationId, Receipt, ReceiptKey, RequestId, Status, Timestamp, Unit,
    };
    use sqlx::{Execute as _, Row as _};
    use tokio::sync::oneshot;

    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            key: ReceiptKey([1; 32]),
            fingerprint: Fingerprint([2; 32]),
            at: Timestamp::from_microseconds(1).unwrap(),
            answer: Answer { status: 200, headers: vec![], body: b"{}".to_vec() },
        }
    }

    struct Fresh {
        store: Arc<SqliteStore>,
        organization: OrganizationId,
        folder: tempfile::TempDir,
    }

    impl Fresh {
        async fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(SqliteOptions::at(folder.path().join("test.db"))).await.unwrap();
            let organization =
                store.add_organization("Lender", Timestamp::from_microseconds(0).unwrap()).await.unwrap();
            Self { store: Arc::new(store), organization, folder }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("test.db")
        }

        fn creation(&self, id: i64) -> Unit {
            let name = Name::Full(FullName::parse("Ada Secret").unwrap());
            self.creation_of(id, NewCustomer::named(OfficeId::FIRST, name))
        }

        fn creation_called(&self, id: i64, external_id: &str) -> Unit {
            let new = NewCustomer::named(OfficeId::FIRST, Name::FollowsExternalId);
            self.creation_of(id, NewCustomer { external_id: ExternalId::parse(external_id).ok(), ..new })
        }

        fn creation_of(&self, id: i64, new: NewCustomer) -> Unit {
            let at = Timestamp::from_microseconds(1).unwrap();
            let moment = Moment { at, today: at.date_utc() };
            let (customer, event) =
                Customer::open(self.organization, CustomerId::parse(id).unwrap(), new, moment).unwrap();
            Unit {
                organization: self.organization,
                at,
                audit: Audit {
                    actor: Actor::new("test"),
                    request_id: RequestId::parse("r").unwrap(),
                    idempotency_key: None,
                    reason: None,
                },
                customers: vec![CustomerChange::kept(customer, vec![event])],
                accounts: Vec::new(),
                companies: Vec::new(),
                loans: Vec::new(),
                scores: Vec::new(),
                webhooks: Vec::new(),
                basis: Basis::default(),
                receipt: None,
            }
        }

        async fn commit(&self, unit: Unit) -> Result<(), CommitError> {
            self.store.commit(vec![unit]).await.remove(0).map(|_| ())
        }

        async fn count(&self) -> i64 {
            let row = sqlx::query("select count(*) from customers").fetch_one(&self.store.readers).await.unwrap();
            row.get(0)
        }

        /// Work that keeps the writer busy until it is told to go on.
        async fn hold(&self) -> oneshot::Sender<()> {
            let (go_on, told) = oneshot::channel::<()>();
            let (begun, has_begun) = oneshot::channel::<()>();
            let work = self.store.writer.enqueue(move |_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    told.await.unwrap();
                    Ok(Ok::<(), Infallible>(()))
                })
            });
            drop(work.await.unwrap());
            has_begun.await.unwrap();
            go_on
        }
    }

    #[tokio::test]
    async fn what_has_gathered_is_committed_together_and_answered_after_the_commit() {
        let fresh = Fresh::open().await;
        let go_on = fresh.hold().await;
        let answers = tokio::spawn({
            let store = Arc::clone(&fresh.store);
            let units = (1..=20).map(|id| fresh.creation(id)).collect();
            async move { store.commit(units).await }
        });
        // The last of the group looks at what readers see while the others' work is done, but not committed.
        let readers = fresh.store.readers.clone();
        while fresh.store.writer.waiting() < 20 {
            tokio::task::yield_now().await;
        }
        let seen = fresh.store.writer.enqueue(move |connection| {
            Box::pin(async move {
                let count = "select count(*) from customers";
                let within: i64 = sqlx::query(count).fetch_one(connection).await.unwrap().get(0);
                let outside: i64 = sqlx::query(count).fetch_one(&readers).await.unwrap().get(0);
                Ok(Ok::<_, Infallible>((within, outside)))
            })
        });
        let seen = seen.await.unwrap();
        go_on.send(()).unwrap();
        let Ok(counts) = seen.await.unwrap().unwrap();
        assert_eq!(counts, (20, 0), "one transaction holds them all");
        assert!(answers.await.unwrap().iter().all(Result::is_ok));
        assert_eq!(fresh.count().await, 20);
    }

    #[tokio::test]
    async fn creations_that_fit_share_statements_and_the_others_are_left_out() {
        let fresh = Fresh::open().await;
        fresh.commit(fresh.creation_called(1, "taken")).await.unwrap();
        let nowhere = NewCustomer {
            external_id: ExternalId::parse("e").ok(),
            ..NewCustomer::named(OfficeId::parse(9).unwrap(), Name::FollowsExternalId)
        };
        let many = Unit {
            customers: (100..200).flat_map(|id| fresh.creation(id).customers).collect(),
            ..fresh.creation(0x1000)
        };
        let receipted = |id| Unit { receipt: Some(receipt()), ..fresh.creation(id) };
        let units = [
            fresh.creation_called(2, "a"),
            fresh.creation_called(3, "taken"),
            fresh.creation_called(4, "a"),
            fresh.creation_called(1, "b"),
            fresh.creation_of(5, nowhere),
            receipted(6),
            receipted(7),
            many,
            fresh.creation_called(2, "c"),
            fresh.creation_called(8, "c"),
        ];
        let kept = fresh.store.writer.run(move |connection| {
            Box::pin(async move {
                assert!(units.iter().all(creations::is_creation));
                let kept = creations::keep(connection, &units.each_ref()).await.unwrap();
                let sequences = |committed: Option<Committed>| committed.map(|kept| kept.last_sequence.unwrap().get());
                Ok(Ok::<_, Infallible>(kept.into_iter().map(sequences).collect::<Vec<_>>()))
            })
        });
        let Ok(kept) = kept.await.unwrap();
        let expected = [Some(2), None, None, None, None, Some(3), None, Some(103), None, None];
        assert_eq!(kept, expected, "the last one wants what the one before it would have taken");
        assert_eq!(fresh.count().await, 103);
        let organization = fresh.organization;
        let ada = CustomerQuery {
            organization,
            filter: CustomerFilter { words: vec!["ada".into()], ..CustomerFilter::default() },
            sort: SortKey::Id,
            direction: Direction::Ascending,
            window: Window::Page { offset: 0 },
            limit: 100,
        };
        assert_eq!(fresh.store.list(&ada).await.unwrap().total, Some(101), "their words are there too");
    }

    #[tokio::test]
    async fn gathered_creations_are_refused_each_for_its_own_reason() {
        let fresh = Fresh::open().await;
        let go_on = fresh.hold().await;
        let receipted = |id| Unit { receipt: Some(receipt()), ..fresh.creation(id) };
        let units = vec![
            fresh.creation_called(1, "a"),
            fresh.creation_called(2, "a"),
            receipted(3),
            fresh.creation_called(3, "b"),
            receipted(4),
            fresh.creation_called(5, "b"),
        ];
        let answers = tokio::spawn({
            let store = Arc::clone(&fresh.store);
            async move { store.commit(units).await }
        });
        while fresh.store.writer.waiting() < 6 {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
        let answers = answers.await.unwrap();
        let id = |number| CustomerId::parse(number).unwrap();
        assert!(matches!(&answers[1], Err(CommitError::ExternalIdTaken(of)) if *of == id(2)), "{answers:?}");
        assert!(matches!(&answers[3], Err(CommitError::VersionConflict(of)) if *of == id(3)), "{answers:?}");
        assert!(matches!(&answers[4], Err(CommitError::ReceiptTaken)), "{answers:?}");
        assert!(answers[0].is_ok() && answers[2].is_ok() && answers[5].is_ok(), "{answers:?}");
        assert_eq!(fresh.count().await, 3);
    }

    #[tokio::test]
    async fn work_that_panics_is_undone_and_its_neighbours_are_kept() {
        let fresh = Fresh::open().await;
        let go_on = fresh.hold().await;
        let mut answers = Vec::new();
        for id in 1..=3 {
            let unit = fresh.creation(id);
            let work = fresh.store.writer.enqueue(move |connection| {
                Box::pin(async move {
                    let verdict = unit::apply(connection, &unit).await;
                    assert!(id != 2, "the second one panics after it has written");
                    verdict
                })
            });
            answers.push(work.await.unwrap());
        }
        go_on.send(()).unwrap();
        let mut kept = Vec::new();
        for answer in answers {
            kept.push(answer.await.unwrap().is_ok());
        }
        assert_eq!(kept, [true, false, true]);
        assert_eq!(fresh.count().await, 2);
        fresh.commit(fresh.creation(2)).await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_that_fails_as_a_whole_answers_no_refusal_either() {
        let fresh = Fresh::open().await;
        let go_on = fresh.hold().await;
        let twice = [fresh.creation(1), fresh.creation(1)];
        let answers = tokio::spawn({
            let store = Arc::clone(&fresh.store);
            async move { store.commit(twice.into()).await }
        });
        while fresh.store.writer.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        let breaks = fresh.store.writer.enqueue(|connection| {
            Box::pin(async move {
                let ended = sqlx::query("rollback").execute(connection).await;
                ended.map_or_else(writer::failed, |_| Ok(Ok::<(), Infallible>(())))
            })
        });
        let breaks = breaks.await.unwrap();
        go_on.send(()).unwrap();
        assert!(breaks.await.unwrap().is_err());
        let answers = answers.await.unwrap();
        assert!(answers.iter().all(|answer| matches!(answer, Err(CommitError::Store(_)))), "{answers:?}");
        assert_eq!(fresh.count().await, 0);
        fresh.commit(fresh.creation(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_does_not_take_its_work_along() {
        let fresh = Fresh::open().await;
        let go_on = fresh.hold().await;
        let caller = tokio::spawn({
            let (store, unit) = (Arc::clone(&fresh.store), fresh.creation(1));
            async move { store.commit(vec![unit]).await }
        });
        while fresh.store.writer.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        go_on.send(()).unwrap();
        fresh.commit(fresh.creation(2)).await.unwrap();
        assert_eq!(fresh.count().await, 2);
    }

    #[tokio::test]
    async fn closing_finishes_what_was_accepted_and_refuses_the_rest() {
        let fresh = Fresh::open().await;
        let go_on = fresh.hold().await;
        let accepted = tokio::spawn({
            let (store, unit) = (Arc::clone(&fresh.store), fresh.creation(1));
            async move { store.commit(vec![unit]).await.remove(0) }
        });
        while fresh.store.writer.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
        fresh.store.close().await;
        accepted.await.unwrap().unwrap();
        let late = fresh.commit(fresh.creation(2)).await;
        assert!(matches!(late, Err(CommitError::Store(StoreError::Unavailable(_)))), "{late:?}");
        assert!(matches!(fresh.store.check().await, Err(StoreError::Unavailable(_))));
        fresh.store.close().await;
        assert!(!fresh.path().with_extension("db-wal").exists(), "the log is taken in");
    }

    #[tokio::test]
    async fn a_full_disk_refuses_writes_until_there_is_room() {
        let fresh = Fresh::open().await;
        fresh.commit(fresh.creation(1)).await.unwrap();
        fill(&fresh.store).await;
        let large = Receipt {
            key: ReceiptKey([1; 32]),
            fingerprint: Fingerprint([2; 32]),
            at: Timestamp::from_microseconds(1).unwrap(),
            answer: Answer { status: 200, headers: Vec::new(), body: vec![7; 1 << 20] },
        };
        let refused = fresh.commit(Unit { receipt: Some(large.clone()), ..fresh.creation(2) }).await;
        assert!(matches!(refused, Err(CommitError::Store(StoreError::Unavailable(_)))), "{refused:?}");
        assert_eq!(fresh.count().await, 1, "nothing of it is there");
        // The writer has connected anew, which lifts the limit: there is room again.
        fresh.commit(Unit { receipt: Some(large), ..fresh.creation(2) }).await.unwrap();
        fresh.store.check().await.unwrap();
    }

    /// Lets the file grow no further than it is, for the connection that the writer has now.
    async fn fill(store: &SqliteStore) {
        store
            .write(|connection| {
                Box::pin(async move {
                    let limit = sqlx::query("pragma max_page_count = 1").fetch_one(connection).await;
                    limit.map_or_else(writer::failed, |_| Ok(Ok(())))
                })
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_lock_that_another_process_keeps_makes_the_store_unavailable_for_that_long() {
        let fresh = Fresh::open().await;
        let mut other = SqliteConnectOptions::new().filename(fresh.path()).connect().await.unwrap();
        sqlx::query("begin immediate").execute(&mut other).await.unwrap();
        let refused = fresh.commit(fresh.creation(1)).await;
        assert!(matches!(refused, Err(CommitError::Store(StoreError::Unavailable(_)))), "{refused:?}");
        assert_eq!(fresh.count().await, 0, "readers do not wait for it");
        sqlx::query("rollback").execute(&mut other).await.unwrap();
        fresh.commit(fresh.creation(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_broken_record_is_named_without_what_it_holds() {
        let fresh = Fresh::open().await;
        fresh.commit(fresh.creation(7)).await.unwrap();
        let mut other = SqliteConnectOptions::new().filename(fresh.path()).connect().await.unwrap();
        for (broken, column) in [
            ("update customers set email = 'secret-at-nowhere'", "email"),
            ("update customers set email = null, born_on = 1234567890123", "born_on"),
            ("update customers set born_on = null, status = 'Secret'", "status"),
            ("update customers set status = 'Active'", "status and its dates"),
        ] {
            sqlx::query("pragma ignore_check_constraints = on").execute(&mut other).await.unwrap();
            sqlx::query(broken).execute(&mut other).await.unwrap();
            let error = fresh.store.find(&[key_of(&fresh, 7)]).await.unwrap_err();
            assert_eq!(error.to_string(), format!("corrupt record 7 in customers.{column}"));
            assert!(!format!("{error:?}").to_lowercase().contains("secret"));
        }
    }

    fn key_of(fresh: &Fresh, id: i64) -> custodia_domain::ports::CustomerKey {
        custodia_domain::ports::CustomerKey {
            organization: fresh.organization,
            selector: custodia_domain::ports::Selector::Id(CustomerId::parse(id).unwrap()),
        }
    }

    /// How SQLite goes about a list: one line for each step.
    async fn plan(fresh: &Fresh, query: &CustomerQuery) -> Vec<String> {
        let mut steps = Vec::new();
        for mut statement in list::rows(query).unwrap() {
            let sql = format!("explain query plan {}", statement.build().sql().as_str());
            let plan = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&fresh.store.readers).await.unwrap();
            steps.extend(plan.iter().map(|step| step.get::<String, _>(3)));
        }
        steps
    }

    #[tokio::test]
    async fn every_list_walks_along_an_index_and_every_search_reads_whom_it_finds() {
        let fresh = Fresh::open().await;
        let status = CustomerFilter { status: Some(Status::Active), ..CustomerFilter::default() };
        let office = CustomerFilter { office: Some(OfficeId::FIRST), ..CustomerFilter::default() };
        let words = CustomerFilter { words: vec!["ada".into(), "lo".into()], ..status.clone() };
        let many = CustomerFilter { words: vec!["x".into(); 9], ..CustomerFilter::default() };
        let dates = [SortKey::SubmittedDate, SortKey::ActivationDate, SortKey::CreatedAt, SortKey::UpdatedAt];
        for sort in [SortKey::Id, SortKey::DisplayName, SortKey::Email].into_iter().chain(dates) {
            for direction in [Direction::Ascending, Direction::Descending] {
                for filter in [&CustomerFilter::default(), &status, &office, &words, &many] {
                    let (organization, filter) = (fresh.organization, filter.clone());
                    let window = Window::After(None);
                    let query = CustomerQuery { organization, filter, sort, direction, window, limit: 20 };
                    let steps = plan(&fresh, &query).await;
                    let of_customers: Vec<_> = steps.iter().filter(|step| step.contains(" customers ")).collect();
                    let expected = match (query.filter.words.is_empty(), sort, query.filter.is_open()) {
                        (false, _, _) => "SEARCH customers USING PRIMARY KEY (organization_id=? AND id=?)",
                        (true, SortKey::Id, true) => "SEARCH customers USING PRIMARY KEY (organization_id=?)",
                        (true, SortKey::Id, false) => "SEARCH customers USING INDEX customers_by_",
                        (true, SortKey::DisplayName, _) => "SEARCH customers USING INDEX customers_by_name",
                        (true, SortKey::SubmittedDate, _) => "SEARCH customers USING INDEX customers_by_submission",
                        (true, SortKey::ActivationDate, _) => "SEARCH customers USING INDEX customers_by_activation",
                        (true, SortKey::CreatedAt, _) => "SEARCH customers USING INDEX customers_by_creation",
                        (true, SortKey::UpdatedAt, _) => "SEARCH customers USING INDEX customers_by_change",
                        (true, SortKey::Email, _) => "SEARCH customers USING INDEX customers_by_email",
                    };
                    assert!(of_customers.iter().all(|step| step.starts_with(expected)), "{query:?} {steps:?}");
                    let sorts = steps.iter().any(|step| step.ends_with("FOR ORDER BY"));
                    assert!(!sorts || !query.filter.words.is_empty(), "{query:?} {steps:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn the_rows_that_a_page_passes_over_are_not_read() {
        let fresh = Fresh::open().await;
        for sort in [SortKey::DisplayName, SortKey::SubmittedDate, SortKey::ActivationDate] {
            let query = CustomerQuery {
                organization: fresh.organization,
                filter: CustomerFilter::default(),
                sort,
                direction: Direction::Ascending,
                window: Window::Page { offset: 1000 },
                limit: 20,
            };
            let steps = plan(&fresh, &query).await;
            assert_eq!(steps[0], "SEARCH customers USING PRIMARY KEY (organization_id=? AND id=?)", "{steps:?}");
            assert!(steps.iter().any(|step| step.contains("USING COVERING INDEX")), "{steps:?}");
        }
    }

    async fn refused(path: &Path) -> OpenError {
        SqliteStore::open(SqliteOptions::at(path)).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_file_that_cannot_serve_is_refused_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/test.db");
        assert!(matches!(refused(&missing).await, OpenError::NoFolder(path) if path == missing));
        let text = folder.path().join("notes.txt");
        std::fs::write(&text, "not a database, and long enough to be told apart from an empty one".repeat(100))
            .unwrap();
        assert!(matches!(refused(&text).await, OpenError::NotADatabase(path) if path == text));
        assert!(std::fs::read_to_string(&text).unwrap().starts_with("not a database"), "and is left alone");
        assert!(matches!(refused(folder.path()).await, OpenError::ReadOnly(_)));
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(unmade(&text, denied), OpenError::ReadOnly(_)));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(unmade(&text, full), OpenError::DiskFull(_)));
    }

    #[tokio::test]
    async fn a_schema_of_another_program_is_refused() {
        let fresh = Fresh::open().await;
        fresh.store.close().await;
        let mut other = SqliteConnectOptions::new().filename(fresh.path()).connect().await.unwrap();
        let newer = "insert into schema_migrations values (99, 'later', x'00', 0)";
        sqlx::query(newer).execute(&mut other).await.unwrap();
        let error = refused(&fresh.path()).await;
        let OpenError::Migrate { source, .. } = error else { panic!("{error:?}") };
        assert!(matches!(source, MigrateError::Newer { found: 99, known: 2 }), "{source:?}");
        sqlx::query("delete from schema_migrations where version = 99").execute(&mut other).await.unwrap();
        sqlx::query("update schema_migrations set checksum = x'00'").execute(&mut other).await.unwrap();
        let error = refused(&fresh.path()).await;
        assert!(matches!(error, OpenError::Migrate { source: MigrateError::Changed { version: 1 }, .. }), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_that_open_a_new_file_at_once_all_find_it_migrated() {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("test.db");
            let opening = (0..8).map(|_| tokio::spawn(SqliteStore::open(SqliteOptions::at(&path))));
            for opened in futures::future::join_all(opening).await {
                let store = opened.unwrap().unwrap();
                store.check().await.unwrap();
            }
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_new_file_and_its_log_are_readable_by_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let fresh = Fresh::open().await;
        for file in [fresh.path(), fresh.path().with_extension("db-wal")] {
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
    }

    #[tokio::test]
    async fn the_organization_leads_every_key_of_what_belongs_to_it() {
        let fresh = Fresh::open().await;
        let keys = "select m.name, i.name, (select name from pragma_index_info(i.name) where seqno = 0)
            from sqlite_schema m join pragma_index_list(m.name) i
            where m.type = 'table' and m.name not in ('organizations', 'api_keys', 'partner_accounts')";
        let mut led = 0;
        for row in sqlx::query(keys).fetch_all(&fresh.store.readers).await.unwrap() {
            let (table, index, first): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            // The purge of receipts goes over all organizations.
            assert!(first == "organization_id" || index == "receipts_by_age", "{table}.{index} begins with {first}");
            led += 1;
        }
        assert!(led >= 10, "{led} indexes were seen");
    }
}
