//! What the service does beside answering requests: metrics' upkeep, removing what is too old, looking for events of other
//! processes, and sending webhooks. It must not know any route or statement.

use std::sync::Arc;
use std::time::Duration;

use custodia_adapters::arrivals::{Arrivals, LOOK_EVERY};
use custodia_adapters::webhooks::{Dispatcher, DispatcherParts, Outbound, Pace};
use custodia_domain::Timestamp;
use custodia_domain::ports::{Clock, CustomerStore, IdSource, StoreError, WebhookStore};
use custodia_domain::registry::Registry;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::stores::Stores;

/// How often what is too old is removed.
const PURGE_EVERY: Duration = Duration::from_mins(10);
/// How much of it is removed at once.
const PURGE_BATCH: u32 = 1_000;

/// What the chores are done with.
pub struct Chores<'s> {
    pub config: &'s Config,
    pub stores: &'s Stores,
    pub registry: &'s Registry,
    pub arrivals: &'s Arc<Arrivals>,
    pub outbound: &'s Outbound,
}

/// Chores under way.
pub struct Running {
    /// Tells the sending of webhooks to start nothing more.
    pub stop: CancellationToken,
    dispatch: Option<JoinHandle<()>>,
    rest: JoinSet<()>,
}

impl Chores<'_> {
    /// Begins all of them; `upkeep` is that of the metrics.
    pub fn begin(self, ids: Arc<dyn IdSource>, upkeep: impl Future<Output = ()> + Send + 'static) -> Running {
        let Self { config, stores, .. } = self;
        let stop = CancellationToken::new();
        let mut rest = JoinSet::new();
        rest.spawn(upkeep);
        rest.spawn(look(Arc::clone(self.arrivals), Arc::clone(&stores.customers)));
        let receipts = Receipts(Arc::clone(&stores.customers));
        rest.spawn(purge(receipts, config.clock.clone(), config.receipt_retention));
        let deliveries = Deliveries(Arc::clone(&stores.webhooks));
        rest.spawn(purge(deliveries, config.clock.clone(), config.webhook_retention));
        let dispatch = config.webhook_dispatch.then(|| tokio::spawn(self.dispatcher(ids).run(stop.clone())));
        Running { stop, dispatch, rest }
    }

    fn dispatcher(&self, ids: Arc<dyn IdSource>) -> Arc<Dispatcher> {
        let parts = DispatcherParts {
            webhooks: Arc::clone(&self.stores.webhooks),
            registry: self.registry.clone(),
            clock: Arc::new(self.config.clock.clone()),
            ids,
            courier: Arc::clone(&self.outbound.courier),
            arrivals: Arc::clone(self.arrivals),
        };
        Dispatcher::new(parts, Pace { concurrency: self.config.webhook_concurrency, ..Pace::default() })
    }
}

impl Running {
    /// Waits until the webhooks under way are settled, which takes no longer than one of them may, and ends the rest.
    pub async fn end(mut self) {
        self.stop.cancel();
        if let Some(dispatch) = self.dispatch.take()
            && dispatch.await.is_err()
        {
            tracing::error!("the sending of webhooks had broken off");
        }
        self.rest.shutdown().await;
    }
}

/// Finds what other processes commit, for those who wait for it.
async fn look(arrivals: Arc<Arrivals>, customers: Arc<dyn CustomerStore>) {
    arrivals.look(&*customers, LOOK_EVERY).await;
}

/// Something that is removed when it is too old.
trait Aging: Send + Sync {
    /// What it is, for the log.
    const WHAT: &'static str;

    /// Removes some of what is older than that instant; answers how much went.
    fn remove(&self, before: Timestamp) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Receipts, once nobody may ask for them any more.
struct Receipts(Arc<dyn CustomerStore>);

impl Aging for Receipts {
    const WHAT: &'static str = "receipts";

    async fn remove(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.0.purge_receipts(before, PURGE_BATCH).await
    }
}

/// Deliveries that ended, and those of endpoints that are gone.
struct Deliveries(Arc<dyn WebhookStore>);

impl Aging for Deliveries {
    const WHAT: &'static str = "webhook deliveries";

    async fn remove(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.0.purge_deliveries(before, PURGE_BATCH).await
    }
}

/// Removes what is too old, in small batches. Never returns.
async fn purge<A: Aging>(aging: A, clock: impl Clock, retention: Duration) {
    let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
    let mut beat = tokio::time::interval(PURGE_EVERY);
    loop {
        beat.tick().await;
        let Ok(before) = Timestamp::from_microseconds(clock.now().at.microseconds().saturating_sub(retention)) else {
            continue;
        };
        loop {
            match aging.remove(before).await {
                Ok(gone) if gone >= u64::from(PURGE_BATCH) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, what = A::WHAT, "what is too old could not be removed");
                    break;
                }
            }
        }
    }
}
