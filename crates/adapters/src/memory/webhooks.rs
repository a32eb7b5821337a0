//! Webhook endpoints and deliveries in memory. Owns the plainest form of the rules of [`WebhookStore`]; must not know any
//! other store.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use custodia_domain::ports::{CommitError, StoreError, WebhookStore};
use custodia_domain::unit::WebhookChange;
use custodia_domain::webhook::{
    Attempt, DeliveryQuery, DeliveryRecord, DeliveryState, DueDelivery, ENDPOINTS_LIMIT, EventName, Replay, Replayed,
    Settlement, WebhookEndpoint, WebhookId, WebhookSnapshot,
};
use custodia_domain::{OrganizationId, Sequence, Timestamp, Unit};

use super::{MemoryStore, Organization};

/// What an organization keeps of webhooks.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    endpoints: BTreeMap<WebhookId, WebhookEndpoint>,
    deliveries: BTreeMap<WebhookId, BTreeMap<Sequence, Delivery>>,
    lease: Lease,
}

/// Who enqueues and settles; the instant stays when the lease is given back, and tells since when nobody does.
#[derive(Debug, Default)]
struct Lease {
    owner: Option<u128>,
    until: Option<Timestamp>,
}

#[derive(Debug)]
struct Delivery {
    state: DeliveryState,
    attempts: u16,
    log: Vec<Attempt>,
}

impl Delivery {
    const fn new(now: Timestamp) -> Self {
        Self { state: DeliveryState::Pending { next_at: now }, attempts: 0, log: Vec::new() }
    }

    fn is_over_before(&self, instant: Timestamp) -> bool {
        match self.state {
            DeliveryState::Pending { .. } => false,
            DeliveryState::Delivered { at } | DeliveryState::Parked { at } => at < instant,
        }
    }
}

impl Organization {
    /// Whether the unit's changes of endpoints may be kept.
    pub(super) fn permit_webhooks(&self, unit: &Unit) -> Result<(), CommitError> {
        let mut count = self.webhooks.endpoints.len();
        let mut ids = BTreeSet::new();
        for change in &unit.webhooks {
            if change.organization() != unit.organization {
                return Err(StoreError::Fault("an endpoint of another organization than its unit".into()).into());
            }
            let stored = self.webhooks.endpoints.get(&change.id()).map(WebhookEndpoint::version);
            if stored != change.expects() || !ids.insert(change.id()) {
                return Err(CommitError::RecordConflict);
            }
            count += usize::from(stored.is_none());
            if stored.is_none() && count > ENDPOINTS_LIMIT {
                return Err(CommitError::RecordConflict);
            }
        }
        Ok(())
    }

    /// Keeps a change whose event has that sequence.
    pub(super) fn keep_webhook(&mut self, change: &WebhookChange, sequence: Sequence) {
        let Webhooks { endpoints, deliveries, .. } = &mut self.webhooks;
        let Some(after) = change.after() else {
            endpoints.remove(&change.id());
            deliveries.remove(&change.id());
            return;
        };
        let before = endpoints.get(&change.id());
        let position = before.map_or(Some(sequence), WebhookEndpoint::position);
        endpoints.insert(change.id(), at_position(after, position));
    }

    fn last_sequence(&self) -> Option<Sequence> {
        self.events.last().map(|entry| entry.sequence)
    }

    /// The first pending delivery of each lane of an endpoint, with its instant.
    fn heads(&self, endpoint: WebhookId) -> Vec<(Timestamp, Sequence)> {
        let mut lanes = BTreeSet::new();
        let mut heads = Vec::new();
        for (sequence, delivery) in self.webhooks.deliveries.get(&endpoint).into_iter().flatten() {
            if let DeliveryState::Pending { next_at } = delivery.state
                && lanes.insert(self.entry(*sequence).event.lane())
            {
                heads.push((next_at, *sequence));
            }
        }
        heads.sort();
        heads
    }

    fn enabled(&self) -> impl Iterator<Item = &WebhookEndpoint> {
        self.webhooks.endpoints.values().filter(|endpoint| endpoint.is_enabled())
    }

    /// Due deliveries of enabled endpoints, the endpoints taking turns.
    fn due(&self, now: Timestamp, each: u16) -> Vec<(WebhookId, Sequence)> {
        let mut due = Vec::new();
        for endpoint in self.enabled() {
            let heads = self.heads(endpoint.id()).into_iter().take_while(|(next_at, _)| *next_at <= now);
            let heads = heads.take(usize::from(each));
            due.extend(heads.enumerate().map(|(turn, (at, sequence))| (turn, at, sequence, endpoint.id())));
        }
        due.sort();
        due.into_iter().map(|(_, _, sequence, endpoint)| (endpoint, sequence)).collect()
    }

    fn has_work(&self, now: Timestamp) -> bool {
        let last = self.last_sequence();
        self.enabled().any(|endpoint| endpoint.position() < last) || !self.due(now, 1).is_empty()
    }

    fn entry(&self, sequence: Sequence) -> &custodia_domain::ports::LogEntry {
        let place = usize::try_from(sequence.get() - 1).expect("sequences begin at 1");
        &self.events[place]
    }

    fn enqueue(&mut self, now: Timestamp, limit: u16) -> bool {
        let last = self.last_sequence();
        let Webhooks { endpoints, deliveries, .. } = &mut self.webhooks;
        let mut more = false;
        for endpoint in endpoints.values_mut().filter(|endpoint| endpoint.is_enabled()) {
            let after = endpoint.position();
            let first = self.events.partition_point(|entry| Some(entry.sequence) <= after);
            let seen = &self.events[first..self.events.len().min(first + usize::from(limit))];
            let queue = deliveries.entry(endpoint.id()).or_default();
            for entry in seen.iter().filter(|entry| endpoint.wants(entry.event.name())) {
                queue.entry(entry.sequence).or_insert(Delivery::new(now));
            }
            if let Some(reached) = seen.last() {
                *endpoint = at_position(endpoint, Some(reached.sequence));
            }
            more |= endpoint.position() < last;
        }
        more
    }

    fn settle(&mut self, settlement: &Settlement) -> bool {
        let Settlement { endpoint, sequence, attempts_before, attempt, next } = settlement;
        let queue = self.webhooks.deliveries.get_mut(endpoint);
        let Some(delivery) = queue.and_then(|queue| queue.get_mut(sequence)) else { return false };
        let is_pending = matches!(delivery.state, DeliveryState::Pending { .. });
        if !is_pending || delivery.attempts != *attempts_before {
            return false;
        }
        delivery.state = *next;
        delivery.attempts += 1;
        delivery.log.push(*attempt);
        true
    }

    fn replay(&mut self, replay: &Replay) -> Option<Replayed> {
        let endpoint = self.webhooks.endpoints.get(&replay.endpoint)?;
        let to = Some(replay.to).min(endpoint.position());
        let is_meant = |entry: &&custodia_domain::ports::LogEntry| {
            entry.sequence >= replay.from && Some(entry.sequence) <= to && endpoint.wants(entry.event.name())
        };
        let limit = usize::from(Replay::LIMIT);
        let sequences: Vec<_> = self.events.iter().filter(is_meant).take(limit).map(|entry| entry.sequence).collect();
        let queue = self.webhooks.deliveries.entry(replay.endpoint).or_default();
        for sequence in &sequences {
            let delivery = queue.entry(*sequence).or_insert(Delivery::new(replay.now));
            delivery.state = DeliveryState::Pending { next_at: replay.now };
            delivery.attempts = 0;
        }
        let cut_after = sequences.last().copied().filter(|_| sequences.len() == limit);
        Some(Replayed { count: sequences.len() as u64, cut_after })
    }

    fn record(&self, sequence: Sequence, delivery: &Delivery) -> DeliveryRecord {
        let event = &self.entry(sequence).event;
        DeliveryRecord {
            sequence,
            kind: EventName::parse(event.name()).expect("every event has a name"),
            customer: event.customer(),
            state: delivery.state,
            attempts: delivery.attempts,
            log: delivery.log.clone(),
        }
    }
}

fn at_position(endpoint: &WebhookEndpoint, position: Option<Sequence>) -> WebhookEndpoint {
    let state = WebhookSnapshot { position, ..endpoint.snapshot().clone() };
    WebhookEndpoint::rehydrate(state).expect("a sound endpoint is sound at every position")
}

impl MemoryStore {
    /// Does something to an organization whose lease is that owner's.
    fn as_owner<T>(
        &self,
        organization: OrganizationId,
        owner: u128,
        work: impl FnOnce(&mut Organization) -> T,
    ) -> Option<T> {
        let mut state = self.lock();
        let kept = state.organizations.get_mut(&organization)?;
        (kept.webhooks.lease.owner == Some(owner)).then(|| work(kept))
    }

    /// Asks an organization something; the default where there is none.
    fn ask<T: Default>(&self, organization: OrganizationId, question: impl FnOnce(&Organization) -> T) -> T {
        self.lock().organizations.get(&organization).map(question).unwrap_or_default()
    }
}

#[async_trait]
impl WebhookStore for MemoryStore {
    async fn endpoints(&self, organization: OrganizationId) -> Result<Vec<WebhookEndpoint>, StoreError> {
        let mut endpoints: Vec<_> = self.ask(organization, |kept| kept.webhooks.endpoints.values().cloned().collect());
        endpoints.sort_by_key(|endpoint: &WebhookEndpoint| (endpoint.created_at(), endpoint.id()));
        Ok(endpoints)
    }

    async fn endpoint(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<WebhookEndpoint>, StoreError> {
        Ok(self.ask(organization, |kept| kept.webhooks.endpoints.get(&id).cloned()))
    }

    async fn claim(
        &self,
        owner: u128,
        now: Timestamp,
        until: Timestamp,
        limit: u16,
        except: &[OrganizationId],
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let mut state = self.lock();
        let is_free = |lease: &Lease| lease.owner.is_none() || lease.until.is_none_or(|until| until <= now);
        let mut waiting: Vec<_> = state
            .organizations
            .iter()
            .filter(|(id, kept)| is_free(&kept.webhooks.lease) && kept.has_work(now) && !except.contains(id))
            .map(|(id, kept)| (kept.webhooks.lease.until, *id))
            .collect();
        waiting.sort();
        let claimed: Vec<_> = waiting.into_iter().take(usize::from(limit)).map(|(_, id)| id).collect();
        for id in &claimed {
            if let Some(kept) = state.organizations.get_mut(id) {
                kept.webhooks.lease = Lease { owner: Some(owner), until: Some(until) };
            }
        }
        Ok(claimed)
    }

    async fn renew(
        &self,
        owner: u128,
        organizations: &[OrganizationId],
        until: Timestamp,
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let prolong = |kept: &mut Organization| kept.webhooks.lease.until = Some(until);
        let renewed = organizations.iter().filter(|id| self.as_owner(**id, owner, prolong).is_some());
        Ok(renewed.copied().collect())
    }

    async fn release(&self, owner: u128, organization: OrganizationId) -> Result<(), StoreError> {
        let _ = self.as_owner(organization, owner, |kept| kept.webhooks.lease.owner = None);
        Ok(())
    }

    async fn enqueue(
        &self,
        organization: OrganizationId,
        owner: u128,
        now: Timestamp,
        limit: u16,
    ) -> Result<bool, StoreError> {
        Ok(self.as_owner(organization, owner, |kept| kept.enqueue(now, limit)).unwrap_or_default())
    }

    async fn due(
        &self,
        organization: OrganizationId,
        now: Timestamp,
        each: u16,
        limit: u16,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        Ok(self.ask(organization, |kept| {
            let due = kept.due(now, each).into_iter().take(usize::from(limit));
            let delivery = |(endpoint, sequence)| DueDelivery {
                endpoint,
                entry: kept.entry(sequence).clone(),
                attempts: kept.webhooks.deliveries[&endpoint][&sequence].attempts,
            };
            due.map(delivery).collect()
        }))
    }

    async fn settle(
        &self,
        organization: OrganizationId,
        owner: u128,
        settlements: &[Settlement],
    ) -> Result<Vec<bool>, StoreError> {
        let settled = self.as_owner(organization, owner, |kept| {
            settlements.iter().map(|settlement| kept.settle(settlement)).collect()
        });
        Ok(settled.unwrap_or_else(|| vec![false; settlements.len()]))
    }

    async fn next_due(&self, organization: OrganizationId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.ask(organization, |kept| {
            kept.enabled().filter_map(|endpoint| kept.heads(endpoint.id()).first().map(|(at, _)| *at)).min()
        }))
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        Ok(self.ask(query.organization, |kept| {
            let all = kept.webhooks.deliveries.get(&query.endpoint).into_iter().flatten().rev();
            let meets = |(sequence, delivery): &(&Sequence, &Delivery)| {
                query.before.is_none_or(|before| **sequence < before)
                    && query.status.is_none_or(|status| delivery.state.status() == status)
            };
            let wanted = all.filter(meets).take(usize::from(query.limit));
            wanted.map(|(sequence, delivery)| kept.record(*sequence, delivery)).collect()
        }))
    }

    async fn replay(&self, replay: &Replay) -> Result<Option<Replayed>, StoreError> {
        let mut state = self.lock();
        Ok(state.organizations.get_mut(&replay.organization).and_then(|kept| kept.replay(replay)))
    }

    async fn purge_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let mut left = u64::from(limit);
        let queues = state.organizations.values_mut().flat_map(|kept| kept.webhooks.deliveries.values_mut());
        for queue in queues {
            queue.retain(|_, delivery| {
                let goes = left > 0 && delivery.is_over_before(before);
                left -= u64::from(goes);
                !goes
            });
        }
        Ok(u64::from(limit) - left)
    }
}
