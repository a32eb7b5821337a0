//! The work on one organization while its lease is held: enqueue its events, send what is due, settle.
//!
//! Owns which deliveries begin when, and how many at once. It must not know of other organizations, but for the slots
//! that all share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use custodia_domain::ports::StoreError;
use custodia_domain::webhook::{
    Attempt, AttemptOutcome, DeliveryStatus, DueDelivery, FailureKind, Settlement, WebhookEndpoint, WebhookId,
    after_attempt,
};
use custodia_domain::{OrganizationId, Sequence, Timestamp, Version};
use futures::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dispatcher::{ATTEMPT_SECONDS, ATTEMPTS_TOTAL, Dispatcher, IN_FLIGHT, PARKED_TOTAL};
use super::message::Message;
use super::sender::Reply;
use crate::arrivals::Watcher;

/// How many events per endpoint are enqueued in one transaction.
const ENQUEUED_AT_ONCE: u16 = 500;
/// How many such transactions follow one another before something is sent.
const ENQUEUED_IN_A_ROW: usize = 10;
/// How many due deliveries are looked at, at once.
const LOOKED_AT: u16 = 200;
/// How much of a lease has to be left for a new attempt to begin: more than an attempt takes.
pub(super) const CAUTION: Duration = Duration::from_secs(20);

/// An attempt that is over.
struct Landed {
    endpoint: WebhookId,
    /// That of the endpoint when the attempt began.
    version: Version,
    sequence: Sequence,
    attempts: u16,
    began: Timestamp,
    reply: Reply,
}

impl Landed {
    /// Whether nothing came back at all.
    const fn is_unanswered(&self) -> bool {
        self.reply.status.is_none() && self.reply.failure.is_some()
    }
}

/// Leave to make one attempt.
struct Slot {
    _of_all: OwnedSemaphorePermit,
    _of_silent: Option<OwnedSemaphorePermit>,
}

/// The work on one organization while its lease is held.
pub(super) struct Work<'d> {
    dispatcher: &'d Dispatcher,
    organization: OrganizationId,
    /// Until when it is held, in microseconds since 1970.
    lease: &'d AtomicI64,
    stop: &'d CancellationToken,
    news: Watcher,
    /// There may be something to enqueue.
    has_news: bool,
    enqueued_at: Instant,
    /// The endpoints that did not answer the last time: one attempt at once goes to each.
    silent: HashSet<WebhookId>,
    flights: JoinSet<Landed>,
    flying: HashMap<WebhookId, HashSet<Sequence>>,
}

impl<'d> Work<'d> {
    pub(super) fn begin(
        dispatcher: &'d Dispatcher,
        organization: OrganizationId,
        lease: &'d AtomicI64,
        stop: &'d CancellationToken,
        silent: HashSet<WebhookId>,
    ) -> Self {
        Self {
            dispatcher,
            organization,
            lease,
            stop,
            news: dispatcher.parts.arrivals.watch(organization),
            has_news: true,
            enqueued_at: Instant::now(),
            silent,
            flights: JoinSet::new(),
            flying: HashMap::new(),
        }
    }

    /// Until there is nothing left to do now, or something speaks against going on.
    pub(super) async fn run(&mut self) -> Result<(), StoreError> {
        loop {
            let mut ends = self.is_over();
            if !ends {
                self.enqueue().await?;
                self.start().await?;
                if self.flights.is_empty() && self.has_news {
                    continue;
                }
                ends = self.flights.is_empty();
            }
            let landed = self.wait(ends).await;
            if landed.is_empty() && self.flights.is_empty() {
                return Ok(());
            }
            self.settle(landed).await?;
        }
    }

    /// Drops what is still under way, which is settled by nobody and will be tried again; answers the endpoints that did
    /// not answer the last time.
    pub(super) async fn end(mut self) -> HashSet<WebhookId> {
        self.flights.shutdown().await;
        self.silent
    }

    /// Whether nothing more may begin: the work is to stop, or a new attempt could end after the lease.
    fn is_over(&self) -> bool {
        let ends = self.dispatcher.now().later_by(CAUTION).microseconds();
        self.stop.is_cancelled() || ends > self.lease.load(Ordering::Relaxed)
    }

    /// Enqueues what was committed: when it was told of, and now and then for what others committed.
    async fn enqueue(&mut self) -> Result<(), StoreError> {
        let Dispatcher { parts, owner, pace, .. } = self.dispatcher;
        if !self.has_news && self.enqueued_at.elapsed() < pace.look_every {
            return Ok(());
        }
        self.enqueued_at = Instant::now();
        for _ in 0..ENQUEUED_IN_A_ROW {
            let now = self.dispatcher.now();
            self.has_news = parts.webhooks.enqueue(self.organization, *owner, now, ENQUEUED_AT_ONCE).await?;
            if !self.has_news {
                break;
            }
        }
        Ok(())
    }

    /// Starts attempts, as many as there is room for.
    async fn start(&mut self) -> Result<(), StoreError> {
        let Dispatcher { parts, pace, .. } = self.dispatcher;
        if self.flights.len() >= pace.per_organization() {
            return Ok(());
        }
        let each = u16::try_from(pace.per_endpoint.max(1)).unwrap_or(LOOKED_AT);
        let due = parts.webhooks.due(self.organization, self.dispatcher.now(), each, LOOKED_AT).await?;
        let mut waiting: Vec<_> = due.into_iter().filter(|one| !self.flies(one)).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        // Read anew each time: a secret that was rotated signs from now on.
        let endpoints = parts.webhooks.endpoints(self.organization).await?;
        self.silent.retain(|silent| endpoints.iter().any(|one| one.id() == *silent));
        waiting.sort_by_key(|one| self.silent.contains(&one.endpoint));
        for delivery in waiting {
            let Some(endpoint) = endpoints.iter().find(|one| one.id() == delivery.endpoint && one.is_enabled()) else {
                continue;
            };
            if !self.has_room_for(delivery.endpoint) {
                continue;
            }
            let Some(slot) = self.slot(self.silent.contains(&delivery.endpoint)).await else {
                break;
            };
            self.launch(endpoint, delivery, slot);
        }
        Ok(())
    }

    /// Whether an attempt more may go to an endpoint. Those that did not answer share half of the organization's room.
    fn has_room_for(&self, endpoint: WebhookId) -> bool {
        let pace = &self.dispatcher.pace;
        let flying = self.flying.get(&endpoint).map_or(0, HashSet::len);
        if self.flights.len() >= pace.per_organization() {
            return false;
        }
        if !self.silent.contains(&endpoint) {
            return flying < pace.per_endpoint.max(1);
        }
        let others = self.flying.iter().filter(|(id, flying)| !flying.is_empty() && self.silent.contains(id)).count();
        flying == 0 && others < (pace.per_organization() / 2).max(1)
    }

    /// Room for one attempt more; waits for it, in the order of asking, only while this organization has nothing under
    /// way. `None` where there is none, or where it came too late.
    async fn slot(&self, to_silent: bool) -> Option<Slot> {
        let slots = Arc::clone(&self.dispatcher.slots);
        let silent_slots = to_silent.then(|| Arc::clone(&self.dispatcher.silent_slots));
        let acquire = async move {
            let of_silent = match silent_slots {
                Some(slots) => Some(slots.acquire_owned().await.ok()?),
                None => None,
            };
            Some(Slot { _of_all: slots.acquire_owned().await.ok()?, _of_silent: of_silent })
        };
        if !self.flights.is_empty() {
            return acquire.now_or_never().flatten();
        }
        tokio::select! {
            slot = acquire => slot.filter(|_| !self.is_over()),
            () = self.stop.cancelled() => None,
        }
    }

    fn flies(&self, delivery: &DueDelivery) -> bool {
        self.flying.get(&delivery.endpoint).is_some_and(|flying| flying.contains(&delivery.entry.sequence))
    }

    fn launch(&mut self, endpoint: &WebhookEndpoint, delivery: DueDelivery, slot: Slot) {
        let DueDelivery { endpoint: id, entry, attempts } = delivery;
        let (began, sequence, version) = (self.dispatcher.now(), entry.sequence, endpoint.version());
        let message = Message::of_event(endpoint, &entry, began);
        let courier = Arc::clone(&self.dispatcher.parts.courier);
        self.flying.entry(id).or_default().insert(sequence);
        self.flights.spawn(async move {
            let _slot = slot;
            let _counted = Counted::begin();
            let carried = AssertUnwindSafe(courier.carry(&message)).catch_unwind().await;
            let reply = carried.unwrap_or_else(|_| {
                tracing::error!("webhooks: an attempt broke off");
                Reply { status: None, failure: Some(FailureKind::Protocol), retry_after: None, took: Duration::ZERO }
            });
            Landed { endpoint: id, version, sequence, attempts, began, reply }
        });
    }

    /// Waits until something has landed, was committed, may be due, or is to stop; answers all that has landed.
    async fn wait(&mut self, ends: bool) -> Vec<Landed> {
        let pace = &self.dispatcher.pace;
        let mut landed = Vec::new();
        tokio::select! {
            one = self.flights.join_next() => landed.extend(one.and_then(Result::ok)),
            () = self.stop.cancelled(), if !ends => {}
            () = tokio::time::sleep(pace.look_every), if !ends => {}
            () = self.news.changed(), if !ends => {
                self.has_news = true;
                // Commits come in swarms.
                let _ = tokio::time::timeout(pace.gather, self.stop.cancelled()).await;
            }
        }
        while let Some(one) = self.flights.try_join_next() {
            landed.extend(one.ok());
        }
        landed
    }

    async fn settle(&mut self, landed: Vec<Landed>) -> Result<(), StoreError> {
        if landed.is_empty() {
            return Ok(());
        }
        let settlements: Vec<_> = landed.iter().map(|one| self.judge(one)).collect();
        let Dispatcher { parts, owner, .. } = self.dispatcher;
        let settled = parts.webhooks.settle(self.organization, *owner, &settlements).await?;
        let mut gone = BTreeMap::new();
        for ((one, settlement), is_settled) in landed.iter().zip(&settlements).zip(settled) {
            self.note(one);
            if !is_settled {
                tracing::debug!("webhooks: an attempt was settled by nobody: its delivery is another's, or gone");
            } else if settlement.next.status() == DeliveryStatus::Parked {
                metrics::counter!(PARKED_TOTAL).increment(1);
            }
            if settlement.attempt.outcome() == AttemptOutcome::Gone {
                let version = gone.entry(one.endpoint).or_insert(one.version);
                *version = one.version.max(*version);
            }
        }
        for (endpoint, version) in gone {
            self.dispatcher.disable(self.organization, endpoint, version).await;
        }
        Ok(())
    }

    /// Notes that an attempt is over, and whether its endpoint answered.
    fn note(&mut self, landed: &Landed) {
        if let Some(flying) = self.flying.get_mut(&landed.endpoint) {
            flying.remove(&landed.sequence);
        }
        if landed.is_unanswered() {
            self.silent.insert(landed.endpoint);
        } else {
            self.silent.remove(&landed.endpoint);
        }
    }

    fn judge(&self, landed: &Landed) -> Settlement {
        let Landed { endpoint, sequence, attempts, began, reply, .. } = *landed;
        let outcome = reply.failure.map_or("delivered", FailureKind::label);
        metrics::counter!(ATTEMPTS_TOTAL, "outcome" => outcome).increment(1);
        metrics::histogram!(ATTEMPT_SECONDS, "outcome" => outcome).record(reply.took.as_secs_f64());
        let duration_ms = u32::try_from(reply.took.as_millis()).unwrap_or(u32::MAX);
        let attempt = Attempt { at: began, duration_ms, status: reply.status, failure: reply.failure };
        let jitter = (self.dispatcher.parts.ids.random() & 0xffff) as u16;
        let next = after_attempt(attempts, attempt.outcome(), self.dispatcher.now(), reply.retry_after, jitter);
        Settlement { endpoint, sequence, attempts_before: attempts, attempt, next }
    }
}

/// An attempt under way, counted until it is over or dropped.
struct Counted;

impl Counted {
    fn begin() -> Self {
        metrics::gauge!(IN_FLIGHT).increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!(IN_FLIGHT).decrement(1.0);
    }
}
