//! The loop that delivers what is due: which organizations are worked on, and for how long.
//!
//! Owns the leases and the turns. It must not know SQL nor HTTP: it works through the ports and a [`Courier`]. No store
//! call is open while something is sent. The schedule follows the clock port alone, so that it can be walked through
//! under a clock that stands still; only waiting is done by the machine's own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custodia_domain::ports::{Clock, IdSource, StoreError, WebhookStore};
use custodia_domain::registry::{Caller, OperationError, Precondition, Registry};
use custodia_domain::webhook::{DisableCause, WebhookEndpoint, WebhookId};
use custodia_domain::{Actor, Answer, OrganizationId, RequestId, Timestamp, Version};
use tokio::sync::Semaphore;
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sender::Courier;
use super::work::{CAUTION, Work};
use crate::arrivals::Arrivals;

/// The counter of attempts, by `outcome`: `delivered`, or why not.
pub const ATTEMPTS_TOTAL: &str = "webhook_attempts_total";
/// The histogram of seconds that an attempt took, by `outcome`.
pub const ATTEMPT_SECONDS: &str = "webhook_attempt_duration_seconds";
/// The gauge of attempts under way.
pub const IN_FLIGHT: &str = "webhook_attempts_in_flight";

/// The counter of deliveries that were given up.
pub const PARKED_TOTAL: &str = "webhook_deliveries_parked_total";
/// The gauge of organizations that this process works on.
pub const IN_WORK: &str = "webhook_organizations_in_work";

/// How much is done at once, and how often is looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Attempts under way at once, over all organizations; at least 1. Default 64.
    pub concurrency: usize,
    /// Attempts under way at once to one endpoint; at least 1. Default 8.
    pub per_endpoint: usize,
    /// Organizations worked on at once, at least 1. Default 32.
    pub organizations: u16,
    /// How long an organization is worked on while so many are that there is no room for others; and how often one of
    /// several is handed to whatever other process has room for it. Default 10 s.
    pub turn: Duration,
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
            turn: Duration::from_secs(10),
            look_every: Duration::from_secs(1),
            gather: Duration::from_millis(50),
            lease: Duration::from_secs(30),
        }
    }
}

impl Pace {
    /// Attempts under way at once of one organization: a quarter of all, so that none can take all.
    #[must_use]
    pub fn per_organization(&self) -> usize {
        (self.concurrency / 4).max(1)
    }

    /// Attempts under way at once to endpoints that did not answer the last time, over all organizations: half of all,
    /// so that those who wait for nothing never fill it.
    #[must_use]
    pub fn to_silent(&self) -> usize {
        (self.concurrency / 2).max(1)
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
    pub(super) parts: DispatcherParts,
    pub(super) pace: Pace,
    pub(super) owner: u128,
    /// One for each attempt under way.
    pub(super) slots: Arc<Semaphore>,
    /// One more for each that goes to an endpoint which did not answer the last time.
    pub(super) silent_slots: Arc<Semaphore>,
    /// The endpoints that did not answer the last time, of the organizations that are not worked on.
    silent: Mutex<HashMap<OrganizationId, HashSet<WebhookId>>>,
}

/// How the work on one organization ended.
pub(super) struct Ended {
    /// When the next delivery of the organization is due.
    next_due: Option<Timestamp>,
}

impl Dispatcher {
    /// A dispatcher; nothing is done before it is run.
    #[must_use]
    pub fn new(parts: DispatcherParts, pace: Pace) -> Arc<Self> {
        let slots = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        let (all, to_silent) = (slots(pace.concurrency), slots(pace.to_silent()));
        let owner = parts.ids.random();
        Arc::new(Self { owner, parts, pace, slots: all, silent_slots: to_silent, silent: Mutex::default() })
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
            self.renew(&roster, now).await;
            self.take_up(&mut roster, now, &stop).await;
            // Whoever was due and could be had is taken up; the others are found by the next look.
            roster.due_next.retain(|_, at| *at > now);
            metrics::gauge!(IN_WORK).set(f64::from(roster.count()));
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
        self.drain(roster).await;
    }

    /// Waits for the work that goes on, and keeps its leases meanwhile.
    async fn drain(&self, mut roster: Roster) {
        while roster.count() > 0 {
            self.renew(&roster, self.now()).await;
            let _ = tokio::time::timeout(self.pace.look_every, roster.one_ended()).await;
        }
        metrics::gauge!(IN_WORK).set(0.0);
    }

    /// Prolongs the leases that would soon be too short for a new attempt, and stops the work whose lease another has.
    async fn renew(&self, roster: &Roster, now: Timestamp) {
        let soon = now.later_by(CAUTION + self.pace.lease.saturating_sub(CAUTION) / 2).microseconds();
        let ending: Vec<_> = roster.turns.iter().filter(|(_, turn)| turn.ends_by(soon)).map(|(id, _)| *id).collect();
        if ending.is_empty() {
            return;
        }
        let until = now.later_by(self.pace.lease);
        match self.parts.webhooks.renew(self.owner, &ending, until).await {
            Ok(renewed) => ending.iter().for_each(|one| roster.prolong(*one, renewed.contains(one).then_some(until))),
            Err(error) => tracing::warn!(%error, "webhooks: leases could not be renewed"),
        }
    }

    /// Begins to work on as many organizations more as there is room for; makes room where there is none. Work that never
    /// pauses would stay with one process for ever: now and then one organization of several is offered to the others,
    /// for longer than they take to look.
    async fn take_up(self: &Arc<Self>, roster: &mut Roster, now: Timestamp, stop: &CancellationToken) {
        let room = self.pace.organizations.max(1).saturating_sub(roster.count());
        if room == 0 {
            roster.end_turns(self.pace.turn);
            return;
        }
        roster.hand_over_one(self.pace.turn);
        let resting = roster.resting(self.pace.look_every.mul_f64(1.5));
        let until = now.later_by(self.pace.lease);
        match self.parts.webhooks.claim(self.owner, now, until, room, &resting).await {
            Ok(claimed) => claimed.into_iter().for_each(|one| roster.take_up(self, one, until, stop)),
            Err(error) => tracing::warn!(%error, "webhooks: the store cannot be asked for work"),
        }
    }

    /// Does what there is to do now, and answers when the next delivery is due that it knows of: what a test under a
    /// clock of its own uses instead of [`run`](Self::run).
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn pass(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.now();
        let until = now.later_by(self.pace.lease);
        let claimed = self.parts.webhooks.claim(self.owner, now, until, self.pace.organizations.max(1), &[]).await?;
        let mut next: Option<Timestamp> = None;
        for organization in claimed {
            let lease = AtomicI64::new(until.microseconds());
            let ended = self.work(organization, &lease, &CancellationToken::new()).await;
            next = [next, ended.next_due].into_iter().flatten().min();
        }
        Ok(next)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.parts.clock.now().at
    }

    fn wait_for(&self, next: Option<Timestamp>) -> Duration {
        let Some(next) = next else {
            return self.pace.look_every;
        };
        let ahead = next.microseconds().saturating_sub(self.now().microseconds()).max(0).unsigned_abs();
        Duration::from_micros(ahead).max(Duration::from_millis(1)).min(self.pace.look_every)
    }

    pub(super) async fn work(
        &self,
        organization: OrganizationId,
        lease: &AtomicI64,
        stop: &CancellationToken,
    ) -> Ended {
        let silent = self.silent().remove(&organization).unwrap_or_default();
        let mut work = Work::begin(self, organization, lease, stop, silent);
        if let Err(error) = work.run().await {
            tracing::warn!(%error, organization = organization.get(), "webhooks: the work stopped short");
            let _ = tokio::time::timeout(self.pace.look_every, stop.cancelled()).await;
        }
        // What is still under way is not settled any more, and will be tried again.
        let silent = work.end().await;
        if !silent.is_empty() {
            self.silent().insert(organization, silent);
        }
        let next_due = self.parts.webhooks.next_due(organization).await.unwrap_or_default();
        if let Err(error) = self.parts.webhooks.release(self.owner, organization).await {
            tracing::warn!(%error, organization = organization.get(), "webhooks: a lease ends by time alone");
        }
        Ended { next_due }
    }

    fn silent(&self) -> MutexGuard<'_, HashMap<OrganizationId, HashSet<WebhookId>>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that nobody is at an endpoint any more, unless it was changed since that version was sent to: who answered
    /// may be another than it leads to now.
    pub(super) async fn disable(&self, organization: OrganizationId, endpoint: WebhookId, version: Version) {
        let request = format!("webhooks-{:032x}", self.parts.ids.random());
        let caller = Caller {
            organization,
            actor: Actor::new("webhooks"),
            request_id: RequestId::parse(&request).expect("letters, digits and a hyphen are an id"),
            key: None,
            precondition: Precondition::Version(version),
            reason: Some("the endpoint answered 410".into()),
        };
        let render = |result: Result<&WebhookEndpoint, &OperationError>| {
            match result {
                Ok(_) => {}
                Err(OperationError::PreconditionFailed { .. } | OperationError::NotFound) => {
                    tracing::debug!("webhooks: an endpoint was changed before it could be disabled");
                }
                Err(error) => tracing::warn!(%error, "webhooks: an endpoint that is gone could not be disabled"),
            }
            Answer { status: 200, headers: Vec::new(), body: Vec::new() }
        };
        let _ = self.parts.registry.disable_webhook(&caller, endpoint, DisableCause::Gone, render).await;
    }
}

/// The work on one organization, as the roster knows it.
struct Turn {
    /// Until when the lease lasts, in microseconds since 1970.
    lease: Arc<AtomicI64>,
    began: Instant,
    end: CancellationToken,
}

impl Turn {
    fn ends_by(&self, instant: i64) -> bool {
        self.lease.load(Ordering::Relaxed) <= instant
    }
}

/// The organizations that are worked on, and when others are due.
#[derive(Default)]
struct Roster {
    workers: JoinSet<Ended>,
    tasks: HashMap<task::Id, OrganizationId>,
    turns: HashMap<OrganizationId, Turn>,
    due_next: BTreeMap<OrganizationId, Timestamp>,
    offered: Option<Offer>,
}

/// The organization that was offered to other processes the last time.
struct Offer {
    organization: OrganizationId,
    at: Instant,
    /// When the work on it had ended.
    since: Option<Instant>,
}

impl Roster {
    /// How many organizations are worked on.
    fn count(&self) -> u16 {
        u16::try_from(self.turns.len()).unwrap_or(u16::MAX)
    }

    /// Begins to work on a claimed organization, or tells who does already until when.
    fn take_up(
        &mut self,
        dispatcher: &Arc<Dispatcher>,
        organization: OrganizationId,
        until: Timestamp,
        stop: &CancellationToken,
    ) {
        self.due_next.remove(&organization);
        if self.turns.contains_key(&organization) {
            self.prolong(organization, Some(until));
            return;
        }
        let lease = Arc::new(AtomicI64::new(until.microseconds()));
        let turn = Turn { lease: Arc::clone(&lease), began: Instant::now(), end: stop.child_token() };
        let (worker, end) = (Arc::clone(dispatcher), turn.end.clone());
        self.turns.insert(organization, turn);
        let work = self.workers.spawn(async move { worker.work(organization, &lease, &end).await });
        self.tasks.insert(work.id(), organization);
    }

    /// Tells who works on an organization until when its lease lasts; `None` where another one has it.
    fn prolong(&self, organization: OrganizationId, until: Option<Timestamp>) {
        match (self.turns.get(&organization), until) {
            (Some(turn), Some(until)) => turn.lease.store(until.microseconds(), Ordering::Relaxed),
            (Some(turn), None) => turn.end.cancel(),
            (None, _) => {}
        }
    }

    /// Ends the work that has gone on for so long: what is under way is settled, nothing more begins.
    fn end_turns(&self, length: Duration) {
        self.turns.values().filter(|turn| turn.began.elapsed() >= length).for_each(|turn| turn.end.cancel());
    }

    /// Ends the longest turn if it and the last offer are that old, and it is not the only one: a sole organization would
    /// only wander from process to process.
    fn hand_over_one(&mut self, every: Duration) {
        if self.turns.len() < 2 || self.offered.as_ref().is_some_and(|offer| offer.at.elapsed() < every) {
            return;
        }
        let Some((id, turn)) = self.turns.iter().min_by_key(|(_, turn)| turn.began) else {
            return;
        };
        if turn.began.elapsed() >= every {
            turn.end.cancel();
            self.offered = Some(Offer { organization: *id, at: Instant::now(), since: None });
        }
    }

    /// The organization that is offered to others, for so long.
    fn resting(&self, length: Duration) -> Vec<OrganizationId> {
        let rests = |offer: &&Offer| offer.since.is_none_or(|since| since.elapsed() < length);
        self.offered.iter().filter(rests).map(|offer| offer.organization).collect()
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
            self.turns.remove(&organization);
            if let Some(offer) = self.offered.as_mut().filter(|offer| offer.organization == organization) {
                offer.since.get_or_insert_with(Instant::now);
            }
            self.due_next.extend(next_due.map(|next| (organization, next)));
        }
    }
}
