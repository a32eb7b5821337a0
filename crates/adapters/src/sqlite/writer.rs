//! The one writer: a task that owns the only connection that writes. Owns transactions and group commit; must not
//! know what is written, but which units may share statements.
//!
//! Work that has gathered while the last transaction was being made durable goes into the next one together, each
//! piece in a savepoint of its own, except that units which only create customers share statements. Once work is in the queue nobody can cancel it: a caller that goes away loses the
//! answer, not the change.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use custodia_domain::Unit;
use custodia_domain::ports::{CommitError, Committed, StoreError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::error::{Closed, Code, WriteError, is_passing, store_error};
use super::{creations, unit};

/// How many pieces of work go into one transaction at most.
const BATCH: usize = 256;
/// How many pieces of work wait at most; further callers wait for a place.
const QUEUE: usize = 1024;

/// Half a transaction that is shorter than twice this is not waited for: a timer is not as exact.
const WORTH_WAITING: Duration = Duration::from_micros(500);
/// How long a transaction waits for more work at most.
const LONGEST_WAIT: Duration = Duration::from_millis(5);

/// What a piece of work came to: done, or refused for a reason of its own and undone.
pub(super) type Verdict<T, R> = Result<Result<T, R>, StoreError>;

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    task: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Work(Box<dyn Work>),
    Close,
}

/// Work with its caller.
#[async_trait]
trait Work: Send {
    /// Does it within its savepoint; `false` where it has to be undone.
    async fn apply(&mut self, connection: &mut SqliteConnection) -> bool;

    /// The unit, if it may share statements with its neighbours.
    fn creation(&self) -> Option<&Unit> {
        None
    }

    /// Its unit was written together with its neighbours.
    fn applied(&mut self, _committed: Committed) {}

    /// Tells the caller what became of it.
    fn answer(self: Box<Self>, fate: &Fate);
}

/// What became of a transaction.
enum Fate {
    Durable,
    RolledBack(Arc<sqlx::Error>),
    Unknown(Arc<sqlx::Error>),
}

struct Task<F, T, R> {
    work: Option<F>,
    verdict: Option<Verdict<T, R>>,
    caller: oneshot::Sender<Result<Result<T, R>, WriteError>>,
}

#[async_trait]
impl<F, T, R> Work for Task<F, T, R>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Verdict<T, R>> + Send,
    T: Send,
    R: Send,
{
    async fn apply(&mut self, connection: &mut SqliteConnection) -> bool {
        let work = self.work.take().expect("work is applied once");
        let ended = AssertUnwindSafe(work(connection)).catch_unwind().await;
        self.judge(ended)
    }

    fn answer(self: Box<Self>, fate: &Fate) {
        Self::answer(*self, fate);
    }
}

impl<F, T, R> Task<F, T, R> {
    /// Takes what the work ended with; `false` where it has to be undone.
    fn judge(&mut self, ended: std::thread::Result<Verdict<T, R>>) -> bool {
        let verdict = ended.unwrap_or_else(|_| Err(StoreError::Fault("a unit of work panicked".into())));
        let keep = matches!(verdict, Ok(Ok(_)));
        self.verdict = Some(verdict);
        keep
    }

    fn answer(self, fate: &Fate) {
        let answer = match (self.verdict, fate) {
            (Some(Err(error)), _) => Err(error.into()),
            (Some(Ok(verdict)), Fate::Durable) => Ok(verdict),
            (Some(Ok(Ok(_))), Fate::Unknown(cause)) => Err(WriteError::Unknown(Box::new(Arc::clone(cause)))),
            // A refusal too: what it was refused for may have been a neighbour's work that is gone as well.
            (Some(Ok(_)) | None, Fate::RolledBack(cause) | Fate::Unknown(cause)) => {
                let cause = Box::new(Arc::clone(cause));
                Err(WriteError::Store(if is_passing(cause.as_ref()) {
                    StoreError::Unavailable(cause)
                } else {
                    StoreError::Fault(cause)
                }))
            }
            (None, Fate::Durable) => unreachable!("every piece of work of a durable transaction was applied"),
        };
        // A caller that has gone needs no answer.
        let _ = self.caller.send(answer);
    }
}

/// A unit with its caller.
struct Commission {
    unit: Unit,
    task: Task<(), Committed, CommitError>,
}

#[async_trait]
impl Work for Commission {
    async fn apply(&mut self, connection: &mut SqliteConnection) -> bool {
        let ended = AssertUnwindSafe(unit::apply(connection, &self.unit)).catch_unwind().await;
        self.task.judge(ended)
    }

    fn creation(&self) -> Option<&Unit> {
        creations::is_creation(&self.unit).then_some(&self.unit)
    }

    fn applied(&mut self, committed: Committed) {
        self.task.verdict = Some(Ok(Ok(committed)));
    }

    fn answer(self: Box<Self>, fate: &Fate) {
        self.task.answer(fate);
    }
}

impl Writer {
    /// Starts the task with its connection; lost connections are made anew with the same options.
    pub(super) fn start(connection: SqliteConnection, options: SqliteConnectOptions) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let task = tokio::spawn(write(Some(connection), options, inbox));
        Self { queue, task: Mutex::new(Some(task)) }
    }

    /// Has the work done and made durable. The answer comes after the COMMIT.
    ///
    /// # Errors
    /// [`WriteError`] when it was not done, or nobody knows.
    pub(super) async fn run<T, R, F>(&self, work: F) -> Result<Result<T, R>, WriteError>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Verdict<T, R>> + Send + 'static,
        T: Send + 'static,
        R: Send + 'static,
    {
        let answer = self.enqueue(work).await.map_err(|Closed| StoreError::Unavailable(Closed.into()))?;
        answer.await.unwrap_or_else(|_| Err(WriteError::Unknown(Closed.into())))
    }

    /// Puts the work into the queue; its answer comes on the channel.
    pub(super) async fn enqueue<T, R, F>(
        &self,
        work: F,
    ) -> Result<oneshot::Receiver<Result<Result<T, R>, WriteError>>, Closed>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Verdict<T, R>> + Send + 'static,
        T: Send + 'static,
        R: Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let task = Task { work: Some(work), verdict: None, caller };
        self.queue.send(Message::Work(Box::new(task))).await.map_err(|_| Closed)?;
        Ok(answer)
    }

    /// Puts the unit into the queue, as [`Writer::enqueue`] does.
    pub(super) async fn enqueue_unit(
        &self,
        unit: Unit,
    ) -> Result<oneshot::Receiver<Result<Result<Committed, CommitError>, WriteError>>, Closed> {
        let (caller, answer) = oneshot::channel();
        let work = Commission { unit, task: Task { work: None, verdict: None, caller } };
        self.queue.send(Message::Work(Box::new(work))).await.map_err(|_| Closed)?;
        Ok(answer)
    }

    /// How many pieces of work are in the queue.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Finishes what is in the queue and closes the connection.
    pub(super) async fn close(&self) {
        // Fails where the task has ended already.
        let _ = self.queue.send(Message::Close).await;
        if let Some(task) = self.task.lock().await.take() {
            // A task that panicked has closed its connection by that.
            let _ = task.await;
        }
    }
}

async fn write(
    mut connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    mut inbox: mpsc::Receiver<Message>,
) {
    let mut messages = Vec::with_capacity(BATCH);
    let mut expected = Expected::default();
    while inbox.recv_many(&mut messages, BATCH).await > 0 {
        expected.gather(&mut inbox, &mut messages).await;
        let mut batch = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message {
                Message::Work(work) => batch.push(work),
                // What is already in the queue is still done; nothing more gets in.
                Message::Close => inbox.close(),
            }
        }
        if batch.is_empty() {
            continue;
        }
        let begun = Instant::now();
        let fate = transact(&mut connection, &options, &mut batch).await;
        expected = Expected { pieces: batch.len(), within: begun.elapsed() / 2 };
        if !matches!(fate, Fate::Durable) {
            // Whatever state the connection is in: closing it rolls back.
            connection = None;
        }
        for work in batch {
            work.answer(&fate);
        }
    }
    if let Some(connection) = connection {
        // A failure to close leaves the log for the next start to take in.
        let _ = connection.close().await;
    }
}

/// What is likely to come soon after a transaction: those who are answered together come back together, and would
/// otherwise wait for a transaction with the first of them alone.
#[derive(Default)]
struct Expected {
    pieces: usize,
    within: Duration,
}

impl Expected {
    /// Waits a little for as many as were answered last, where there were several and their transaction took its time.
    async fn gather(&self, inbox: &mut mpsc::Receiver<Message>, messages: &mut Vec<Message>) {
        if self.within < WORTH_WAITING {
            return;
        }
        let all = async {
            while messages.len() < self.pieces && inbox.recv_many(messages, BATCH - messages.len()).await > 0 {}
        };
        // What has come is in the messages either way.
        let _ = tokio::time::timeout(self.within.min(LONGEST_WAIT), all).await;
    }
}

async fn transact(
    connection: &mut Option<SqliteConnection>,
    options: &SqliteConnectOptions,
    batch: &mut [Box<dyn Work>],
) -> Fate {
    let open = match connection {
        Some(open) => open,
        None => match options.connect().await {
            Ok(fresh) => connection.insert(fresh),
            Err(error) => return Fate::RolledBack(Arc::new(error)),
        },
    };
    if let Err(error) = apply_all(open, batch).await {
        return Fate::RolledBack(Arc::new(error));
    }
    match execute(open, "commit").await {
        Ok(()) => Fate::Durable,
        // A full disk or a lock: SQLite has not written the commit. Anything else may have reached the disk.
        Err(error) if matches!(Code::of(&error), Some(Code::Full | Code::Busy | Code::Locked)) => {
            Fate::RolledBack(Arc::new(error))
        }
        Err(error) => Fate::Unknown(Arc::new(error)),
    }
}

async fn apply_all(connection: &mut SqliteConnection, batch: &mut [Box<dyn Work>]) -> Result<(), sqlx::Error> {
    execute(connection, "begin immediate").await?;
    let mut rest = batch;
    while !rest.is_empty() {
        let creations = rest.iter().take_while(|work| work.creation().is_some()).count();
        let (now, later) = rest.split_at_mut(creations.max(1));
        let mut is_applied = Vec::new();
        if now.iter().filter_map(|work| work.creation()).map(|unit| unit.customers.len()).sum::<usize>() > 1 {
            is_applied = apply_together(connection, now).await?;
        }
        for (at, work) in now.iter_mut().enumerate() {
            if !is_applied.get(at).is_some_and(|is_applied| *is_applied) {
                apply(connection, work.as_mut()).await?;
            }
        }
        rest = later;
    }
    Ok(())
}

/// Applies creations by shared statements; answers which of them that was done with.
async fn apply_together(
    connection: &mut SqliteConnection,
    creations: &mut [Box<dyn Work>],
) -> Result<Vec<bool>, sqlx::Error> {
    let kept = {
        let units: Vec<&Unit> = creations.iter().filter_map(|work| work.creation()).collect();
        creations::keep(connection, &units).await?
    };
    let apply = |(work, committed): (&mut Box<dyn Work>, Option<Committed>)| {
        let is_applied = committed.is_some();
        if let Some(committed) = committed {
            work.applied(committed);
        }
        is_applied
    };
    Ok(creations.iter_mut().zip(kept).map(apply).collect())
}

async fn apply(connection: &mut SqliteConnection, work: &mut dyn Work) -> Result<(), sqlx::Error> {
    execute(connection, "savepoint work").await?;
    if !work.apply(connection).await {
        // Fails where SQLite has rolled the whole transaction back by itself, as it may on a full disk.
        execute(connection, "rollback to work").await?;
    }
    execute(connection, "release work").await
}

async fn execute(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(connection).await.map(|_| ())
}

/// A statement's error as a verdict.
pub(super) fn failed<T, R>(error: sqlx::Error) -> Verdict<T, R> {
    Err(store_error(error))
}
