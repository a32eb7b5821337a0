//! News of committed events: who waits for an organization's next event is woken when it is there.
//!
//! Owns the waiting: commits of this process are told by [`AnnouncedStore`] at once, those of other processes are found
//! by one query at a modest pace, for all organizations that somebody waits for together. It must not know what the
//! events are, nor who waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use custodia_domain::ports::{
    BatchKeys, CommitError, Committed, Counter, CustomerKey, CustomerPage, CustomerQuery, CustomerStore, EventQuery,
    LogEntry, Met, RecordedEvent, StoreError,
};
use custodia_domain::{Customer, CustomerId, OrganizationId, Receipt, ReceiptKey, Sequence, Timestamp, Unit, Version};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the store is asked for commits of other processes, while somebody waits.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

type Last = Option<Sequence>;

/// Tells who waits that an organization has new events.
pub struct Arrivals {
    waited_for: Mutex<HashMap<OrganizationId, watch::Sender<Last>>>,
    /// Somebody waits for an organization that nobody waited for.
    begun: Notify,
    /// Something was committed by this process, whatever it was.
    committed: watch::Sender<u64>,
    closing: CancellationToken,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            waited_for: Mutex::default(),
            begun: Notify::new(),
            committed: watch::Sender::new(0),
            closing: CancellationToken::new(),
        }
    }
}

impl Arrivals {
    /// The organization has an event of that sequence, committed.
    pub fn announce(&self, organization: OrganizationId, sequence: Sequence) {
        self.tell(organization, Some(sequence));
        self.committed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Watches an organization. To be called before the store is read: what is committed later is told.
    #[must_use]
    pub fn watch(&self, organization: OrganizationId) -> Watcher {
        let news = match self.lock().entry(organization) {
            std::collections::hash_map::Entry::Occupied(there) => there.get().subscribe(),
            std::collections::hash_map::Entry::Vacant(free) => {
                self.begun.notify_one();
                free.insert(watch::Sender::new(None)).subscribe()
            }
        };
        Watcher { news, closing: self.closing.clone() }
    }

    /// Changes whenever this process has committed an event of whichever organization.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// Nobody waits any longer, neither now nor later: the service stops.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Looks for commits of other processes until the service stops: at that pace while somebody waits, else not at all.
    /// One query serves all who wait.
    pub async fn look(&self, store: &dyn CustomerStore, every: Duration) {
        let looking = async {
            loop {
                let begun = self.begun.notified();
                let organizations = self.still_waited_for();
                if organizations.is_empty() {
                    begun.await;
                    continue;
                }
                match store.last_sequences(&organizations).await {
                    Ok(found) => {
                        organizations.into_iter().zip(found).for_each(|(organization, last)| {
                            self.tell(organization, last);
                        });
                    }
                    // Who waits asks the store again at the end of its patience, and tells its caller.
                    Err(error) => tracing::debug!(%error, "could not look for events of other processes"),
                }
                tokio::time::sleep(every).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = self.closing.cancelled() => {}
        }
    }

    /// How many wait at the moment, over all organizations.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().values().map(watch::Sender::receiver_count).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrganizationId, watch::Sender<Last>>> {
        self.waited_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, organization: OrganizationId, last: Last) {
        if let Some(news) = self.lock().get(&organization) {
            news.send_if_modified(|known| {
                let is_new = last > *known;
                *known = last.max(*known);
                is_new
            });
        }
    }

    /// The organizations that somebody waits for; forgets the others.
    fn still_waited_for(&self) -> Vec<OrganizationId> {
        let mut waited_for = self.lock();
        waited_for.retain(|_, news| news.receiver_count() > 0);
        waited_for.keys().copied().collect()
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There are events after the given one.
    Arrived,
    /// Nothing came in time.
    InVain,
    /// The service stops.
    Closing,
}

/// Waits for one organization's events.
pub struct Watcher {
    news: watch::Receiver<Last>,
    closing: CancellationToken,
}

impl Watcher {
    /// Waits until the organization has an event after `seen`, at most until `deadline`. Safe to drop at any time.
    pub async fn after(&mut self, seen: Option<Sequence>, deadline: Instant) -> Waited {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Waited::Closing,
            told = self.news.wait_for(|last| *last > seen) => {
                if told.is_ok() { Waited::Arrived } else { Waited::InVain }
            }
            () = tokio::time::sleep_until(deadline) => Waited::InVain,
        }
    }

    /// Waits until the organization has an event after all that it was told to have; without end where none comes.
    pub async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Rests for so long, or until the service stops.
    pub async fn rest(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.closing.cancelled()).await;
    }
}

/// A store whose commits are announced as soon as they are durable; everything else is passed on.
pub struct AnnouncedStore {
    inner: Arc<dyn CustomerStore>,
    arrivals: Arc<Arrivals>,
}

impl AnnouncedStore {
    /// Announces the commits of that store there.
    #[must_use]
    pub fn new(inner: Arc<dyn CustomerStore>, arrivals: Arc<Arrivals>) -> Self {
        Self { inner, arrivals }
    }
}

#[async_trait]
impl CustomerStore for AnnouncedStore {
    async fn find(&self, keys: &[CustomerKey]) -> Result<Vec<Option<Customer>>, StoreError> {
        self.inner.find(keys).await
    }

    async fn meet(&self, organization: OrganizationId, batch: &BatchKeys) -> Result<Met, StoreError> {
        self.inner.meet(organization, batch).await
    }

    async fn list(&self, query: &CustomerQuery) -> Result<CustomerPage, StoreError> {
        self.inner.list(query).await
    }

    async fn commit(&self, units: Vec<Unit>) -> Vec<Result<Committed, CommitError>> {
        let organizations: Vec<_> = units.iter().map(|unit| unit.organization).collect();
        let verdicts = self.inner.commit(units).await;
        for (organization, verdict) in organizations.into_iter().zip(&verdicts) {
            if let Ok(Committed { last_sequence: Some(sequence) }) = verdict {
                self.arrivals.announce(organization, *sequence);
            }
        }
        verdicts
    }

    async fn receipts(
        &self,
        organization: OrganizationId,
        keys: &[ReceiptKey],
    ) -> Result<Vec<Option<Receipt>>, StoreError> {
        self.inner.receipts(organization, keys).await
    }

    async fn purge_receipts(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.inner.purge_receipts(before, limit).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<LogEntry>, StoreError> {
        self.inner.events(query).await
    }

    async fn last_sequences(&self, organizations: &[OrganizationId]) -> Result<Vec<Option<Sequence>>, StoreError> {
        self.inner.last_sequences(organizations).await
    }

    async fn history(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
        before: Option<Version>,
        limit: u16,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.inner.history(organization, customer, before, limit).await
    }

    async fn reserve(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: u32,
    ) -> Result<Option<i64>, StoreError> {
        self.inner.reserve(organization, counter, count).await
    }

    async fn release(
        &self,
        organization: OrganizationId,
        counter: Counter,
        first: i64,
        next: i64,
    ) -> Result<(), StoreError> {
        self.inner.release(organization, counter, first, next).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }
}

#[cfg(test)]
mod tests {
    use custodia_domain::ports::MockCustomerStore;

    use super::*;

    fn sequence(number: i64) -> Sequence {
        Sequence::parse(number).unwrap()
    }

    fn never() -> Instant {
        Instant::now() + Duration::from_hours(1)
    }

    #[tokio::test]
    async fn who_watched_before_an_announcement_is_told_of_it() {
        let arrivals = Arrivals::default();
        let (mine, other) = (OrganizationId::FIRST, OrganizationId::parse(2).unwrap());
        let mut watcher = arrivals.watch(mine);
        arrivals.announce(mine, sequence(5));
        arrivals.announce(mine, sequence(4));
        assert_eq!(watcher.after(None, never()).await, Waited::Arrived);
        assert_eq!(watcher.after(Some(sequence(4)), never()).await, Waited::Arrived);
        arrivals.announce(other, sequence(9));
        assert_eq!(watcher.after(Some(sequence(5)), Instant::now()).await, Waited::InVain);
    }

    #[tokio::test]
    async fn the_end_of_the_service_ends_every_wait() {
        let arrivals = Arrivals::default();
        let mut watcher = arrivals.watch(OrganizationId::FIRST);
        let (waited, ()) = tokio::join!(watcher.after(None, never()), async { arrivals.close() });
        assert_eq!(waited, Waited::Closing);
        let mut late = arrivals.watch(OrganizationId::FIRST);
        assert_eq!(late.after(None, never()).await, Waited::Closing);
    }

    #[tokio::test]
    async fn commits_of_others_are_found_by_one_query_for_all_who_wait() {
        let mut store = MockCustomerStore::new();
        let mut asked = 0;
        store.expect_last_sequences().returning(move |organizations| {
            asked += 1;
            assert_eq!(organizations, [OrganizationId::FIRST]);
            Ok(vec![(asked == 3).then(|| sequence(7))])
        });
        let arrivals = Arc::new(Arrivals::default());
        let looking = tokio::spawn({
            let arrivals = Arc::clone(&arrivals);
            async move { arrivals.look(&store, Duration::from_millis(1)).await }
        });
        let mut watchers: Vec<_> = (0..50).map(|_| arrivals.watch(OrganizationId::FIRST)).collect();
        for watcher in &mut watchers {
            assert_eq!(watcher.after(Some(sequence(6)), never()).await, Waited::Arrived);
        }
        drop(watchers);
        assert!(arrivals.still_waited_for().is_empty());
        arrivals.close();
        looking.await.unwrap();
    }

    #[tokio::test]
    async fn a_store_that_cannot_answer_is_asked_again() {
        let mut store = MockCustomerStore::new();
        let mut asked = 0;
        store.expect_last_sequences().returning(move |_| {
            asked += 1;
            if asked == 1 { Err(StoreError::Unavailable("away".into())) } else { Ok(vec![Some(sequence(1))]) }
        });
        let arrivals = Arrivals::default();
        let mut watcher = arrivals.watch(OrganizationId::FIRST);
        tokio::select! {
            () = arrivals.look(&store, Duration::from_millis(1)) => unreachable!("it looks until the end"),
            waited = watcher.after(None, never()) => assert_eq!(waited, Waited::Arrived),
        }
    }
}
