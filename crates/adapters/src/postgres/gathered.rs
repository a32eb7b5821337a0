//! What callers ask for at the same time, asked together: customers by name, units of work, receipts, API keys. Owns how
//! many go together and what becomes of the others when one of them cannot be answered. Must not know a statement.
//!
//! An organization has one call of each kind under way, and the next as soon as it returns: a full statement costs less
//! than two half ones, and a unit's commit is everybody's. A second one begins where the first has stalled.

use std::hash::Hash;
use std::time::Duration;

use custodia_domain::ports::{ApiKey, CommitError, Committed, CustomerKey, StoreError};
use custodia_domain::{Customer, OrganizationId, Receipt, ReceiptKey, Unit};
use futures::future::BoxFuture;
use sqlx::PgConnection;
use tokio_util::task::TaskTracker;

use super::customers::ReadFailure;
use super::fault::{Failure, Kind};
use super::pool::Sessions;
use super::statistics::{self, Given};
use super::{commit, credentials, customers, events, read};
use crate::coalescing::{Coalescer, Limits};

/// Reads that share a statement.
const READS: Limits = Limits {
    batch: 128,
    places: 4_096,
    lanes: 4,
    stalled: Duration::from_millis(50),
    gathers_after: Duration::from_millis(2),
};
/// Units that share a statement, and a commit: where the disk is slow, as few commits as can be.
const UNITS: Limits = Limits {
    batch: 256,
    places: 4_096,
    lanes: 4,
    stalled: Duration::from_millis(250),
    gathers_after: Duration::from_millis(1),
};

type Found<T> = Result<Option<T>, ReadFailure>;
type Verdict = Result<Committed, CommitError>;
/// Reads what one call asks for: its key, and the questions.
type Work<K, Q, T> =
    for<'s> fn(&'s mut PgConnection, &'s (K, Vec<Q>)) -> BoxFuture<'s, Result<Vec<Option<T>>, ReadFailure>>;

/// The doors of the store at which callers gather.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    customers: Coalescer<OrganizationId, CustomerKey, Found<Customer>>,
    units: Coalescer<OrganizationId, Unit, Verdict>,
    receipts: Coalescer<OrganizationId, ReceiptKey, Found<Receipt>>,
    api_keys: Coalescer<(), [u8; 32], Found<ApiKey>>,
}

impl Gathered {
    pub(super) fn new(sessions: &Sessions, tasks: &TaskTracker) -> Self {
        Self {
            customers: reads(sessions, tasks, |session, (_, keys)| Box::pin(customers::find(session, keys))),
            units: units(sessions, tasks),
            receipts: reads(sessions, tasks, |session, (organization, keys)| {
                Box::pin(events::receipts(session, *organization, keys))
            }),
            api_keys: reads(sessions, tasks, |session, ((), hashes)| Box::pin(credentials::api_keys(session, hashes))),
        }
    }

    /// The customers of those keys, in their order.
    pub(super) async fn find(&self, keys: &[CustomerKey]) -> Result<Vec<Option<Customer>>, StoreError> {
        all(&self.customers, keys.iter().map(|key| (key.organization, key.clone())).collect()).await
    }

    /// Commits each unit by itself; the verdicts are in the units' order.
    pub(super) async fn commit(&self, units: Vec<Unit>) -> Vec<Verdict> {
        let units = units.into_iter().map(|unit| (unit.organization, unit)).collect();
        // What a call had done before it panicked, nobody knows.
        let unknown = || Err(CommitError::Unknown(panicked().cause()));
        self.units.ask_all(units).await.into_iter().map(|verdict| verdict.unwrap_or_else(unknown)).collect()
    }

    /// The receipts of those keys, in their order.
    pub(super) async fn receipts(
        &self,
        organization: OrganizationId,
        keys: &[ReceiptKey],
    ) -> Result<Vec<Option<Receipt>>, StoreError> {
        all(&self.receipts, keys.iter().map(|key| (organization, *key)).collect()).await
    }

    /// The API keys of those hashes, in their order.
    pub(super) async fn api_keys(&self, hashes: &[[u8; 32]]) -> Result<Vec<Option<ApiKey>>, StoreError> {
        all(&self.api_keys, hashes.iter().map(|hash| ((), *hash)).collect()).await
    }
}

fn panicked() -> Failure {
    Failure::fault("a task of the store panicked")
}

async fn all<K, Q, T>(questions: &Coalescer<K, Q, Found<T>>, wanted: Vec<(K, Q)>) -> Result<Vec<Option<T>>, StoreError>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    T: Send + 'static,
{
    let found = questions.ask_all(wanted).await.into_iter();
    found.map(|found| found.unwrap_or_else(|| Err(panicked().into())).map_err(StoreError::from)).collect()
}

/// Units that are committed together, each with a verdict of its own.
fn units(sessions: &Sessions, tasks: &TaskTracker) -> Coalescer<OrganizationId, Unit, Verdict> {
    let (sessions, chores, given) = (sessions.clone(), tasks.clone(), Given::default());
    Coalescer::new(UNITS, tasks.clone(), move |_, units: Vec<Unit>| -> BoxFuture<'static, Vec<Verdict>> {
        if given.add(units.len()) {
            let sessions = sessions.clone();
            chores.spawn(async move { statistics::refresh(&sessions).await });
        }
        let sessions = sessions.clone();
        Box::pin(async move { commit::commit(&sessions, units).await })
    })
}

/// Questions that are answered by one statement.
fn reads<K, Q, T>(sessions: &Sessions, tasks: &TaskTracker, work: Work<K, Q, T>) -> Coalescer<K, Q, Found<T>>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + Sync + 'static,
    T: Send + 'static,
{
    let sessions = sessions.clone();
    Coalescer::new(READS, tasks.clone(), move |key, questions| {
        let sessions = sessions.clone();
        Box::pin(async move { answered(&sessions, key, questions, work).await })
    })
}

/// The answers to the questions of a call; where one of them cannot be answered, to each apart.
async fn answered<K, Q, T>(sessions: &Sessions, key: K, questions: Vec<Q>, work: Work<K, Q, T>) -> Vec<Found<T>>
where
    K: Clone + Send + Sync,
    Q: Send + Sync,
    T: Send,
{
    let count = questions.len();
    let asked = (key, questions);
    let failure = match read(sessions, &asked, &work).await {
        Ok(found) => return found.into_iter().map(Ok).collect(),
        Err(failure) => failure,
    };
    let is_of_one = match &failure {
        ReadFailure::Corrupt { .. } => true,
        ReadFailure::Failed(failure) => failure.kind == Kind::Fault,
    };
    if count == 1 || !is_of_one {
        return (0..count).map(|_| Err(failure.clone())).collect();
    }
    let (key, questions) = asked;
    let mut answers = Vec::with_capacity(count);
    for question in questions {
        let alone = read(sessions, &(key.clone(), vec![question]), &work).await;
        answers.push(alone.map(|found| found.into_iter().next().flatten()));
    }
    answers
}
