//! The loop that delivers what is due: claim organizations, enqueue their events, send, settle.
//!
//! Owns when that is done and how much of it at once. It must not know SQL nor HTTP: it works through the ports and a
//! [`Courier`]. No store call is open while something is sent. The schedule follows the clock port alone, so that it can
//! be walked through under a clock that stands still; only waiting is done by the machine's own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use custodia_domain::ports::{Clock, IdSource, StoreError, WebhookStore};
use custodia_domain::registry::{Caller, Precondition, Registry};
use custodia_domain::webhook::{
    Attempt, AttemptOutcome, DisableCause, DueDelivery, Settlement, WebhookEndpoint, WebhookId, after_attempt,
};
use custodia_domain::{Actor, Answer, OrganizationId, RequestId, Sequence, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::sender::{Courier, Reply};
use crate::arrivals::Arrivals;

/// The counter of attempts, by `outcome`: `delivered`, or why not.
pub const ATTEMPTS_TOTAL: &str = "webhook_attempts_total";
/// The histogram of seconds that an attempt took, by `outcome`.
pub const ATTEMPT_SECONDS: &str = "webhook_attempt_duration_seconds";
/// The gauge of attempts under way.
pub const IN_FLIGHT: &str = "webhook_attempts_in_flight";

/// How many events per endpoint are enqueued in one transaction.
const ENQUEUED_AT_ONCE: u16 = 500;
/// How many such transactions follow one another before something is sent.
const ENQUEUED_IN_A_ROW: usize = 10;
/// How many due deliveries are looked at, at once.
const LOOKED_AT: u16 = 200;
/// How much of a lease has to be left for a new attempt to begin: more than an attempt takes.
const CAUTION: Duration = Duration::from_secs(20);

/// How much is done at once, and how often is looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Attempts under way at once, over all organizations; at least 1. Default 64.
    pub concurrency: usize,
    /// Attempts under way at once to one endpoint; at least 1. Default 8.
    pub per_endpoint: usize,
    /// Organizations worked on at once, at least 1. Default 32.
    pub organizations: u16,
    /// How often the store is asked for work that no commit of this process has told of. Default 1 s.
    pub look_every: Duration,
    /// How long commits are gathered before the store is asked for the work that they made. Default 50 ms.
    pub gather: Duration,
    /// How long a lease lasts that is not renewed: what a killed instance held is taken over after it. Default 30 s.
    pub lease: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: 64,
            per_endpoint: 8,
            organizations: 32,
            look_every: Duration::from_secs(1),
            gather: Duration::from_millis(50),
            lease: Duration::from_secs(30),
        }
    }
}

/// What a dispatcher works with.
#[derive(Clone)]
pub struct DispatcherParts {
    /// Endpoints and deliveries.
    pub webhooks: Arc<dyn WebhookStore>,
    /// The use cases, by which an endpoint that is gone is disabled.
    pub registry: Registry,
    /// The time of the schedule.
    pub clock: Arc<dyn Clock>,
    /// Random bits: the owner of leases, and jitter.
    pub ids: Arc<dyn IdSource>,
    /// By whom messages travel.
    pub courier: Arc<dyn Courier>,
    /// News of commits of this process.
    pub arrivals: Arc<Arrivals>,
}

/// Delivers what is due, together with any number of dispatchers of other processes.
pub struct Dispatcher {
    parts: DispatcherParts,
    pace: Pace,
    owner: u128,
    slots: Arc<Semaphore>,
}

/// How the work on one organization ended.
struct Ended {
    /// When the next delivery of the organization is due.
    next_due: Option<Timestamp>,
}

impl Dispatcher {
    /// A dispatcher; nothing is done before it is run.
    #[must_use]
    pub fn new(parts: DispatcherParts, pace: Pace) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(pace.concurrency.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Self { owner: parts.ids.random(), parts, pace, slots })
    }

    /// Works until `stop`: then starts nothing more, waits for the attempts under way, settles them and gives its leases
    /// back. It is woken by commits of this process and when a delivery is due that it knows of, and looks by itself at
    /// the pace for everything else.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut commits = self.parts.arrivals.commits();
        let mut roster = Roster::default();
        while !stop.is_cancelled() {
            commits.mark_unchanged();
            let now = self.now();
            let until = now.later_by(self.pace.lease);
            match self.parts.webhooks.claim(self.owner, now, until, self.pace.organizations.max(1)).await {
                Ok(claimed) => claimed.into_iter().for_each(|one| roster.take_up(&self, one, until, &stop)),
                Err(error) => tracing::warn!(%error, "webhooks: the store cannot be asked for work"),
            }
            let wait = self.wait_for(roster.due_next.values().min().copied());
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
                _ = commits.changed() => {}
                () = roster.one_ended() => {}
            }
            // Commits and ends come in swarms: one question to the store serves them all.
            let _ = tokio::time::timeout(self.pace.gather, stop.cancelled()).await;
            roster.note_ended();
        }
        while roster.workers.join_next().await.is_some() {}
    }

    /// Does what there is to do now, and answers when the next delivery is due that it knows of: what a test under a
    /// clock of its own uses instead of [`run`](Self::run).
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn pass(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.now();
        let until = now.later_by(self.pace.lease);
        let claimed = self.parts.webhooks.claim(self.owner, now, until, self.pace.organizations.max(1)).await?;
        let mut next: Option<Timestamp> = None;
        for organization in claimed {
            let lease = AtomicI64::new(until.microseconds());
            let ended = self.work(organization, &lease, &CancellationToken::new()).await;
            next = [next, ended.next_due].into_iter().flatten().min();
        }
        Ok(next)
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now().at
    }

    fn wait_for(&self, next: Option<Timestamp>) -> Duration {
        let Some(next) = next else {
            return self.pace.look_every;
        };
        let ahead = next.microseconds().saturating_sub(self.now().microseconds()).max(0).unsigned_abs();
        Duration::from_micros(ahead).max(Duration::from_millis(1)).min(self.pace.look_every)
    }

    async fn work(&self, organization: OrganizationId, lease: &AtomicI64, stop: &CancellationToken) -> Ended {
        let mut work = Work { dispatcher: self, organization, flights: JoinSet::new(), flying: HashMap::new() };
        if let Err(error) = work.run(lease, stop).await {
            tracing::warn!(%error, organization = organization.get(), "webhooks: the work stopped short");
            let _ = tokio::time::timeout(self.pace.look_every, stop.cancelled()).await;
        }
        // What is still under way is not settled any more, and will be tried again.
        work.flights.shutdown().await;
        let next_due = self.parts.webhooks.next_due(organization).await.unwrap_or_default();
        if let Err(error) = self.parts.webhooks.release(self.owner, organization).await {
            tracing::warn!(%error, organization = organization.get(), "webhooks: a lease ends by time alone");
        }
        Ended { next_due }
    }

    /// Notes that nobody is at an endpoint any more.
    async fn disable(&self, organization: OrganizationId, endpoint: WebhookId) {
        let request = format!("webhooks-{:032x}", self.parts.ids.random());
        let caller = Caller {
            organization,
            actor: Actor::new("webhooks"),
            request_id: RequestId::parse(&request).expect("letters, digits and a hyphen are an id"),
            key: None,
            precondition: Precondition::None,
            reason: Some("the endpoint answered 410".into()),
        };
        let render = |result: Result<&WebhookEndpoint, &custodia_domain::registry::OperationError>| {
            if let Err(error) = result {
                tracing::warn!(%error, "webhooks: an endpoint that is gone could not be disabled");
            }
            Answer { status: 200, headers: Vec::new(), body: Vec::new() }
        };
        let _ = self.parts.registry.disable_webhook(&caller, endpoint, DisableCause::Gone, render).await;
    }
}

/// The organizations that are worked on, and when others are due.
#[derive(Default)]
struct Roster {
    workers: JoinSet<Ended>,
    tasks: HashMap<task::Id, OrganizationId>,
    /// Until when each organization's lease lasts, in microseconds since 1970.
    leases: HashMap<OrganizationId, Arc<AtomicI64>>,
    due_next: BTreeMap<OrganizationId, Timestamp>,
}

impl Roster {
    /// Begins to work on a claimed organization, or tells who does already that its lease was renewed.
    fn take_up(
        &mut self,
        dispatcher: &Arc<Dispatcher>,
        organization: OrganizationId,
        until: Timestamp,
        stop: &CancellationToken,
    ) {
        self.due_next.remove(&organization);
        if let Some(lease) = self.leases.get(&organization) {
            lease.store(until.microseconds(), Ordering::Relaxed);
            return;
        }
        let lease = Arc::new(AtomicI64::new(until.microseconds()));
        self.leases.insert(organization, Arc::clone(&lease));
        let (worker, stop) = (Arc::clone(dispatcher), stop.clone());
        let work = self.workers.spawn(async move { worker.work(organization, &lease, &stop).await });
        self.tasks.insert(work.id(), organization);
    }

    /// Waits until the work on some organization has ended; without end where none is worked on.
    async fn one_ended(&mut self) {
        match self.workers.join_next_with_id().await {
            Some(ended) => self.note(ended),
            None => std::future::pending().await,
        }
    }

    fn note_ended(&mut self) {
        while let Some(ended) = self.workers.try_join_next_with_id() {
            self.note(ended);
        }
    }

    fn note(&mut self, ended: Result<(task::Id, Ended), task::JoinError>) {
        let (task, next_due) = match ended {
            Ok((task, ended)) => (task, ended.next_due),
            Err(error) => {
                tracing::error!(panicked = error.is_panic(), "webhooks: the work on an organization broke off");
                (error.id(), None)
            }
        };
        if let Some(organization) = self.tasks.remove(&task) {
            self.leases.remove(&organization);
            self.due_next.extend(next_due.map(|next| (organization, next)));
        }
    }
}

/// An attempt that is over.
struct Landed {
    endpoint: WebhookId,
    sequence: Sequence,
    attempts: u16,
    began: Timestamp,
    reply: Reply,
}

/// The work on one organization while its lease is held.
struct Work<'d> {
    dispatcher: &'d Dispatcher,
    organization: OrganizationId,
    flights: JoinSet<Landed>,
    flying: HashMap<WebhookId, HashSet<Sequence>>,
}

impl Work<'_> {
    /// Until there is nothing left to do now, or something speaks against going on.
    async fn run(&mut self, lease: &AtomicI64, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut commits = self.dispatcher.parts.arrivals.commits();
        loop {
            let mut ended = stop.is_cancelled() || self.is_nearly_over(lease);
            if !ended {
                commits.mark_unchanged();
                self.enqueue().await?;
                ended = !self.start(stop).await?;
            }
            let landed = self.wait(stop, &mut commits, ended).await;
            if landed.is_empty() && self.flights.is_empty() {
                return Ok(());
            }
            self.settle(landed).await?;
        }
    }

    /// Whether a new attempt could end after the lease: the store has not renewed it for long.
    fn is_nearly_over(&self, lease: &AtomicI64) -> bool {
        self.dispatcher.now().later_by(CAUTION).microseconds() > lease.load(Ordering::Relaxed)
    }

    async fn enqueue(&self) -> Result<(), StoreError> {
        let Dispatcher { parts, owner, .. } = self.dispatcher;
        for _ in 0..ENQUEUED_IN_A_ROW {
            let now = self.dispatcher.now();
            if !parts.webhooks.enqueue(self.organization, *owner, now, ENQUEUED_AT_ONCE).await? {
                break;
            }
        }
        Ok(())
    }

    /// Starts attempts, as many as there is room for. `false` where nothing is under way and nothing was started.
    async fn start(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let parts = &self.dispatcher.parts;
        let due = parts.webhooks.due(self.organization, self.dispatcher.now(), LOOKED_AT).await?;
        let waiting: Vec<_> = due.into_iter().filter(|one| !self.flies(one)).collect();
        if waiting.is_empty() {
            return Ok(!self.flights.is_empty());
        }
        // Read anew each time: a secret that was rotated signs from now on.
        let endpoints = parts.webhooks.endpoints(self.organization).await?;
        for delivery in waiting {
            let Some(endpoint) = endpoints.iter().find(|one| one.id() == delivery.endpoint && one.is_enabled()) else {
                continue;
            };
            if self.flying.get(&delivery.endpoint).map_or(0, HashSet::len) >= self.dispatcher.pace.per_endpoint.max(1) {
                continue;
            }
            let Some(slot) = self.slot(stop).await else {
                break;
            };
            self.launch(endpoint, delivery, slot);
        }
        Ok(!self.flights.is_empty())
    }

    /// Room for one attempt more; waits for it only while this organization has nothing under way.
    async fn slot(&self, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let slots = Arc::clone(&self.dispatcher.slots);
        if !self.flights.is_empty() {
            return slots.try_acquire_owned().ok();
        }
        tokio::select! {
            slot = slots.acquire_owned() => slot.ok(),
            () = stop.cancelled() => None,
        }
    }

    fn flies(&self, delivery: &DueDelivery) -> bool {
        self.flying.get(&delivery.endpoint).is_some_and(|flying| flying.contains(&delivery.entry.sequence))
    }

    fn launch(&mut self, endpoint: &WebhookEndpoint, delivery: DueDelivery, slot: OwnedSemaphorePermit) {
        let DueDelivery { endpoint: id, entry, attempts } = delivery;
        let (began, sequence) = (self.dispatcher.now(), entry.sequence);
        let message = Message::of_event(endpoint, &entry, began);
        let courier = Arc::clone(&self.dispatcher.parts.courier);
        self.flying.entry(id).or_default().insert(sequence);
        self.flights.spawn(async move {
            let _slot = slot;
            let _counted = Counted::begin();
            let reply = courier.carry(&message).await;
            Landed { endpoint: id, sequence, attempts, began, reply }
        });
    }

    /// Waits until something has landed, was committed, or is to stop; answers all that has landed.
    async fn wait(&mut self, stop: &CancellationToken, commits: &mut watch::Receiver<u64>, ended: bool) -> Vec<Landed> {
        let mut landed = Vec::new();
        tokio::select! {
            one = self.flights.join_next() => landed.extend(one.and_then(Result::ok)),
            () = stop.cancelled(), if !ended => {}
            _ = commits.changed(), if !ended => {}
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
        for (one, is_settled) in landed.iter().zip(settled) {
            if let Some(flying) = self.flying.get_mut(&one.endpoint) {
                flying.remove(&one.sequence);
            }
            if !is_settled {
                tracing::debug!("webhooks: an attempt was settled by nobody: its delivery is another's, or gone");
            }
        }
        let mut gone: Vec<_> = settlements
            .iter()
            .filter(|settlement| settlement.attempt.outcome() == AttemptOutcome::Gone)
            .map(|settlement| settlement.endpoint)
            .collect();
        gone.sort_unstable();
        gone.dedup();
        for endpoint in gone {
            self.dispatcher.disable(self.organization, endpoint).await;
        }
        Ok(())
    }

    fn judge(&self, landed: &Landed) -> Settlement {
        let Landed { endpoint, sequence, attempts, began, reply } = *landed;
        let outcome = reply.failure.map_or("delivered", custodia_domain::webhook::FailureKind::label);
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
