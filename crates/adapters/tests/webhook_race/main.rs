//! Dispatchers against writers on one database: owners that fail, vanish with their leases and take over those of
//! others, while commits go on. Whatever happens, everything is delivered, and in order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use custodia_adapters::sqlite::{SqliteOptions, SqliteStore};
use custodia_domain::ports::{EventQuery, LogEntry, LoggedEvent};
use custodia_domain::unit::WebhookChange;
use custodia_domain::webhook::{
    Attempt, AttemptOutcome, DeliveryState, DueDelivery, EventName, FailureKind, NewWebhook, PayloadForm, Settlement,
    WebhookEndpoint, WebhookId, WebhookSecret, WebhookUrl,
};
use custodia_domain::{OrganizationId, Sequence, Unit};

use support::{Stage, at, call_at, events_of, moment, postgres_at, postgres_schema, unit};

#[path = "../support/mod.rs"]
mod support;

const WRITERS: usize = 4;
const ROUNDS: usize = 20;
const OWNERS: u64 = 3;
/// How many ticks of the shared clock a lease lasts: fewer than an owner may take over one turn.
const LEASE: i64 = 6;

/// A small generator of numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

type Key = (WebhookId, Sequence);

/// What the endpoints got, and what the store was told of it.
#[derive(Default)]
struct Ledger {
    /// In the order in which it came.
    got: Vec<(WebhookId, LogEntry)>,
    settled: BTreeSet<Key>,
}

/// What all tasks share.
struct Race {
    organization: OrganizationId,
    endpoints: Vec<WebhookEndpoint>,
    ticks: AtomicI64,
    all_written: AtomicBool,
    ledger: Mutex<Ledger>,
}

impl Race {
    async fn begin(stage: &Stage) -> Arc<Self> {
        let organization = stage.organization().await;
        let mut endpoints = Vec::new();
        for (number, kinds) in [(1, &[][..]), (2, &["customer.updated", "customer.created"][..])] {
            let new = NewWebhook {
                url: WebhookUrl::parse("https://example.com").unwrap(),
                kinds: kinds.iter().map(|kind| EventName::parse(kind).unwrap()).collect(),
                form: PayloadForm::Full,
                description: None,
            };
            let (id, secret) = (WebhookId::from_random(number), WebhookSecret::from_bytes([1; 32]));
            let (endpoint, event) = WebhookEndpoint::create(organization, id, secret, new, moment(0));
            let webhooks = vec![WebhookChange::kept(endpoint, event)];
            stage.commit(Unit { webhooks, ..unit(organization, Vec::new()) }).await.unwrap();
            endpoints.push(stage.store.endpoint(organization, id).await.unwrap().unwrap());
        }
        Arc::new(Self {
            organization,
            endpoints,
            ticks: AtomicI64::new(0),
            all_written: AtomicBool::new(false),
            ledger: Mutex::default(),
        })
    }

    fn tick(&self) -> i64 {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    async fn write(self: Arc<Self>, stage: Arc<Stage>) {
        let mut ada = stage.create_named(self.organization, "Ada").await;
        let mut bob = stage.create_named(self.organization, "Bob").await;
        for round in 0..ROUNDS {
            let number = ["1", "2"][round % 2];
            ada = stage.change(ada, call_at(number)).await;
            if round % 3 == 0 {
                bob = stage.change(bob, call_at(["1", "2"][round / 3 % 2])).await;
            }
        }
    }

    /// Whether all that was written is delivered.
    async fn is_over(&self, stage: &Stage) -> bool {
        if !self.all_written.load(Ordering::Acquire) {
            return false;
        }
        let last = log(stage, self.organization).await.last().map(|entry| entry.sequence);
        let endpoints = stage.store.endpoints(self.organization).await.unwrap();
        endpoints.iter().all(|endpoint| endpoint.position() >= last)
            && stage.store.next_due(self.organization).await.unwrap().is_none()
    }

    async fn dispatch(self: Arc<Self>, stage: Arc<Stage>, number: u64) {
        let mut dice = Dice(number * 77);
        let owner = u128::from(number);
        let mut has_died = false;
        while !self.is_over(&stage).await {
            let now = self.tick();
            let claimed = stage.store.claim(owner, at(now), at(now + LEASE), 10, &[]).await.unwrap();
            let renewed = stage.store.renew(owner, &[self.organization], at(now + LEASE)).await.unwrap();
            if claimed.is_empty() && renewed.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            stage.store.enqueue(self.organization, owner, at(now), 7).await.unwrap();
            let settled_before = self.ledger.lock().unwrap().settled.clone();
            let due = stage.store.due(self.organization, at(now), 16, 16).await.unwrap();
            let mut settlements = Vec::new();
            for delivery in due {
                let key = (delivery.endpoint, delivery.entry.sequence);
                assert!(!settled_before.contains(&key), "{key:?} was settled, and is due again");
                settlements.push(self.attempt(&delivery, &mut dice));
                if dice.roll(4) == 0 {
                    // The others come to their turn, and time passes.
                    tokio::task::yield_now().await;
                }
            }
            // Now and then an owner dies with its lease and all that it knows: for the first time once it has delivered.
            let has_delivered = settlements.iter().any(|one| matches!(one.next, DeliveryState::Delivered { .. }));
            if dice.roll(8) == 0 || (has_delivered && !has_died) {
                has_died |= has_delivered;
                continue;
            }
            let verdicts = stage.store.settle(self.organization, owner, &settlements).await.unwrap();
            self.note(&settlements, &verdicts);
            if dice.roll(3) == 0 {
                stage.webhooks().release(owner, self.organization).await.unwrap();
            }
        }
    }

    /// Takes note of what the store says was delivered.
    fn note(&self, settlements: &[Settlement], verdicts: &[bool]) {
        let mut ledger = self.ledger.lock().unwrap();
        for (settlement, applied) in settlements.iter().zip(verdicts) {
            let is_over = matches!(settlement.next, DeliveryState::Delivered { .. });
            if *applied && is_over {
                let key = (settlement.endpoint, settlement.sequence);
                assert!(ledger.settled.insert(key), "{key:?} was settled twice");
            }
        }
    }

    /// Sends, which fails every fourth time.
    fn attempt(&self, delivery: &DueDelivery, dice: &mut Dice) -> Settlement {
        let now = at(self.tick());
        let failure = (dice.roll(4) == 0).then_some(FailureKind::Timeout);
        if failure.is_none() {
            self.ledger.lock().unwrap().got.push((delivery.endpoint, delivery.entry.clone()));
        }
        let attempt = Attempt { at: now, duration_ms: 1, status: None, failure };
        let next = match attempt.outcome() {
            AttemptOutcome::Delivered => DeliveryState::Delivered { at: now },
            AttemptOutcome::Failed | AttemptOutcome::Gone => {
                DeliveryState::Pending { next_at: at(self.tick() + i64::try_from(dice.roll(9)).unwrap()) }
            }
        };
        Settlement {
            endpoint: delivery.endpoint,
            sequence: delivery.entry.sequence,
            attempts_before: delivery.attempts,
            attempt,
            next,
        }
    }

    /// That each endpoint got each event that it wants, and those of each customer in the order of their versions, apart
    /// from what came again.
    async fn check(&self, stage: &Stage) {
        let log = log(stage, self.organization).await;
        let ledger = self.ledger.lock().unwrap();
        for endpoint in &self.endpoints {
            let mut seen = BTreeSet::new();
            let mut versions = BTreeMap::new();
            for (_, entry) in ledger.got.iter().filter(|(to, _)| *to == endpoint.id()) {
                if !seen.insert(entry.sequence) {
                    continue;
                }
                if let LoggedEvent::Customer(event) = &entry.event {
                    let before = versions.insert(event.customer(), event.version().get()).unwrap_or(0);
                    assert_eq!(event.version().get(), before + 1, "of {} at {}", event.customer(), entry.sequence);
                }
            }
            let wanted = |entry: &&LogEntry| {
                Some(entry.sequence) > endpoint.snapshot().position && endpoint.wants(entry.event.name())
            };
            let expected: BTreeSet<_> = log.iter().filter(wanted).map(|entry| entry.sequence).collect();
            assert_eq!(seen, expected, "{}", endpoint.id());
            let settled = ledger.settled.iter().filter(|(to, _)| *to == endpoint.id()).count();
            assert_eq!(settled, expected.len(), "each is settled once");
        }
        assert!(ledger.got.len() > ledger.settled.len(), "what the dead had delivered came twice");
    }
}

/// Every event of the organization.
async fn log(stage: &Stage, organization: OrganizationId) -> Vec<LogEntry> {
    let mut all: Vec<LogEntry> = Vec::new();
    loop {
        let after = all.last().map(|entry| entry.sequence);
        let page = stage.store.events(&EventQuery { after, ..events_of(organization) }).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Writers on the first store, and each owner on one of its own.
async fn race(stages: Vec<Arc<Stage>>) {
    let race = Race::begin(&stages[0]).await;
    let owners: Vec<_> = (1..=OWNERS)
        .map(|owner| {
            let stage = Arc::clone(&stages[usize::try_from(owner).unwrap() % stages.len()]);
            tokio::spawn(Arc::clone(&race).dispatch(stage, owner))
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(Arc::clone(&race).write(Arc::clone(&stages[0])))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    race.all_written.store(true, Ordering::Release);
    for owner in owners {
        owner.await.unwrap();
    }
    race.check(&stages[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_everything_is_delivered_in_order_whoever_fails() {
    race(vec![Arc::new(support::memory().await)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_everything_is_delivered_in_order_whoever_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut stages = Vec::new();
    for _ in 0..4 {
        let store = SqliteStore::open(SqliteOptions::at(folder.path().join("test.db"))).await.unwrap();
        stages.push(Arc::new(Stage::over(store)));
    }
    race(stages).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_everything_is_delivered_in_order_whoever_fails() {
    let url = postgres_schema().await;
    let mut stages = Vec::new();
    for _ in 0..4 {
        stages.push(Arc::new(Stage::over(postgres_at(&url).await)));
    }
    race(stages).await;
}
