//! Webhook endpoints and their deliveries.

use std::time::Duration;

use custodia_domain::company::{Company, CompanyDetails, CompanyId, CompanyName, CompanyStatus};
use custodia_domain::loan::{Score, ScoreChange};
use custodia_domain::ports::CommitError;
use custodia_domain::unit::{CompanyChange, WebhookChange};
use custodia_domain::webhook::{
    Attempt, DeliveryQuery, DeliveryRecord, DeliveryState, DeliveryStatus, DisableCause, DueDelivery, ENDPOINTS_LIMIT,
    EventName, FailureKind, NewWebhook, PayloadForm, Replay, Replayed, Settlement, WebhookDescription, WebhookEndpoint,
    WebhookId, WebhookPatch, WebhookSecret, WebhookSnapshot, WebhookUrl,
};
use custodia_domain::{CompanyNumber, Customer, OrganizationId, Patch, Sequence, Timestamp, Unit, Version};

use super::support::{Stage, at, call_at, created, external, moment, named, receipt, unit};

const ANN: u128 = 1;
const BOB: u128 = u128::MAX;

on_every_store!(
    a_creation_a_change_a_rotation_and_a_deletion_are_each_one_unit_with_its_event,
    a_change_of_another_version_is_refused_and_leaves_nothing,
    an_organization_has_at_most_so_many_endpoints_even_where_creations_race,
    endpoints_are_read_by_their_creation_and_as_they_were_written,
    a_lease_is_its_owners_until_it_ends_and_can_be_taken_then,
    only_organizations_with_something_to_do_are_claimed,
    a_claim_takes_those_first_that_waited_longest,
    a_stale_owner_neither_enqueues_nor_settles,
    a_new_endpoint_gets_what_follows_its_creation,
    only_wanted_kinds_are_enqueued,
    enqueueing_in_small_steps_skips_nothing_and_repeats_nothing,
    owners_that_race_enqueue_everything_once_while_commits_go_on,
    a_delivery_is_due_at_its_instant_and_not_before,
    of_one_customer_only_the_first_pending_delivery_is_due,
    events_without_a_customer_are_ordered_by_their_subject,
    endpoints_take_turns_within_a_limit,
    a_settlement_applies_once_and_is_logged,
    a_disabled_endpoint_waits_and_goes_on_where_it_stood,
    a_deleted_endpoint_leaves_nothing_behind,
    one_event_is_replayed_and_holds_back_those_after_it,
    a_range_is_replayed_with_what_was_never_enqueued,
    a_long_range_is_replayed_in_parts,
    the_next_instant_is_that_of_the_first_delivery_that_may_be_tried,
    what_ended_long_ago_is_purged_in_batches,
    deliveries_are_read_newest_first_by_status_and_page,
    organizations_never_see_one_anothers,
);

/// An organization with its owner's lease.
struct Desk {
    stage: Stage,
    organization: OrganizationId,
}

impl Desk {
    async fn set(stage: Stage) -> Self {
        let organization = stage.organization().await;
        Self { stage, organization }
    }

    /// A new endpoint for those kinds.
    async fn hook(&self, number: u128, kinds: &[&str]) -> WebhookEndpoint {
        let (endpoint, change) = hook(self.organization, number, kinds);
        self.keep(change).await.unwrap();
        self.endpoint(endpoint.id()).await.unwrap()
    }

    async fn keep(&self, change: WebhookChange) -> Result<(), CommitError> {
        self.stage.commit(hooking(self.organization, vec![change])).await.map(drop)
    }

    async fn endpoint(&self, id: WebhookId) -> Option<WebhookEndpoint> {
        self.stage.store.endpoint(self.organization, id).await.unwrap()
    }

    async fn patch(&self, id: WebhookId, patch: &WebhookPatch) {
        let mut endpoint = self.endpoint(id).await.unwrap();
        let event = endpoint.update(patch, moment(60)).applied().unwrap();
        self.keep(WebhookChange::kept(endpoint, event)).await.unwrap();
    }

    async fn enable(&self, id: WebhookId, enabled: bool) {
        self.patch(id, &WebhookPatch { enabled: Some(enabled), ..WebhookPatch::default() }).await;
    }

    async fn delete(&self, id: WebhookId) {
        let endpoint = self.endpoint(id).await.unwrap();
        self.keep(WebhookChange::gone(endpoint, moment(70))).await.unwrap();
    }

    async fn claim(&self, owner: u128, now: i64) -> bool {
        let claimed = self.stage.store.claim(owner, at(now), at(now + 30), 100, &[]).await.unwrap();
        claimed.contains(&self.organization)
    }

    /// Whether the lease can be taken by one who gives back what it has before.
    async fn claim_anew(&self, owner: u128, now: i64) -> bool {
        self.stage.webhooks().release(owner, self.organization).await.unwrap();
        self.claim(owner, now).await
    }

    async fn renew(&self, owner: u128, until: i64) -> bool {
        let renewed = self.stage.store.renew(owner, &[self.organization], at(until)).await.unwrap();
        renewed == [self.organization]
    }

    /// Takes the lease and enqueues all there is.
    async fn enqueue(&self, now: i64) {
        let _ = self.renew(ANN, now + 30).await || self.claim(ANN, now).await;
        while self.stage.store.enqueue(self.organization, ANN, at(now), 100).await.unwrap() {}
    }

    async fn due(&self, now: i64) -> Vec<DueDelivery> {
        self.stage.store.due(self.organization, at(now), 100, 100).await.unwrap()
    }

    async fn due_sequences(&self, now: i64) -> Vec<i64> {
        self.due(now).await.iter().map(|due| due.entry.sequence.get()).collect()
    }

    async fn settle(&self, owner: u128, settlement: Settlement) -> bool {
        self.stage.store.settle(self.organization, owner, &[settlement]).await.unwrap()[0]
    }

    async fn deliver(&self, endpoint: WebhookId, number: i64, second: i64) -> bool {
        self.settle(ANN, delivered(endpoint, number, 0, second)).await
    }

    async fn records(&self, endpoint: WebhookId) -> Vec<DeliveryRecord> {
        self.stage.store.deliveries(&page(self.organization, endpoint)).await.unwrap()
    }

    async fn sequences(&self, endpoint: WebhookId) -> Vec<i64> {
        let mut sequences: Vec<i64> = self.records(endpoint).await.iter().map(|one| one.sequence.get()).collect();
        sequences.reverse();
        sequences
    }

    async fn customer(&self, name: &str) -> Customer {
        self.stage.create_named(self.organization, name).await
    }

    async fn replay(&self, endpoint: WebhookId, from: i64, to: i64, now: i64) -> Option<Replayed> {
        let (organization, from, to) = (self.organization, sequence(from), sequence(to));
        self.stage.store.replay(&Replay { organization, endpoint, from, to, now: at(now) }).await.unwrap()
    }
}

fn sequence(number: i64) -> Sequence {
    Sequence::parse(number).unwrap()
}

fn hook(organization: OrganizationId, number: u128, kinds: &[&str]) -> (WebhookEndpoint, WebhookChange) {
    let new = NewWebhook {
        url: WebhookUrl::parse("https://example.com/hook?a='b'").unwrap(),
        kinds: kinds.iter().map(|kind| EventName::parse(kind).unwrap()).collect(),
        form: PayloadForm::Full,
        description: WebhookDescription::parse("łedger, \"main\"").ok(),
    };
    let (id, secret) = (WebhookId::from_random(number), WebhookSecret::from_bytes([7; 32]));
    let (endpoint, event) = WebhookEndpoint::create(organization, id, secret, new, moment(1));
    (endpoint.clone(), WebhookChange::kept(endpoint, event))
}

fn hooking(organization: OrganizationId, webhooks: Vec<WebhookChange>) -> Unit {
    Unit { webhooks, ..unit(organization, Vec::new()) }
}

fn page(organization: OrganizationId, endpoint: WebhookId) -> DeliveryQuery {
    DeliveryQuery { organization, endpoint, status: None, before: None, limit: 100 }
}

fn attempt(second: i64, failure: Option<FailureKind>) -> Attempt {
    Attempt { at: at(second), duration_ms: 12, status: failure.is_none().then_some(204), failure }
}

fn delivered(endpoint: WebhookId, number: i64, attempts_before: u16, second: i64) -> Settlement {
    let (attempt, next) = (attempt(second, None), DeliveryState::Delivered { at: at(second) });
    Settlement { endpoint, sequence: sequence(number), attempts_before, attempt, next }
}

fn failed(endpoint: WebhookId, number: i64, attempts_before: u16, second: i64, next: DeliveryState) -> Settlement {
    let attempt = attempt(second, Some(FailureKind::Timeout));
    Settlement { endpoint, sequence: sequence(number), attempts_before, attempt, next }
}

const fn pending(at: Timestamp) -> DeliveryState {
    DeliveryState::Pending { next_at: at }
}

fn is_conflict<T>(outcome: &Result<T, CommitError>) -> bool {
    matches!(outcome, Err(CommitError::RecordConflict))
}

/// The endpoint as the store is to answer it.
fn at_position(endpoint: &WebhookEndpoint, position: i64) -> WebhookEndpoint {
    let state = WebhookSnapshot { position: Some(sequence(position)), ..endpoint.snapshot().clone() };
    WebhookEndpoint::rehydrate(state).unwrap()
}

async fn a_creation_a_change_a_rotation_and_a_deletion_are_each_one_unit_with_its_event(stage: Stage) {
    let desk = Desk::set(stage).await;
    let organization = desk.organization;
    let (mut endpoint, creation) = hook(organization, 9, &["customer.created"]);
    let id = endpoint.id();
    let kept = Unit { receipt: Some(receipt(1, 1)), ..hooking(organization, vec![creation]) };
    let committed = desk.stage.commit(kept.clone()).await.unwrap();
    assert_eq!(committed.last_sequence, Some(sequence(1)));
    assert_eq!(desk.endpoint(id).await, Some(at_position(&endpoint, 1)));
    assert!(matches!(desk.stage.commit(kept).await, Err(CommitError::ReceiptTaken)));

    let patch = WebhookPatch {
        kinds: Some([].into()),
        form: Some(PayloadForm::Thin),
        enabled: Some(false),
        description: Patch::Clear,
        ..WebhookPatch::default()
    };
    let event = endpoint.update(&patch, moment(2)).applied().unwrap();
    desk.keep(WebhookChange::kept(endpoint.clone(), event)).await.unwrap();
    assert_eq!(desk.endpoint(id).await, Some(at_position(&endpoint, 1)), "a change does not move the position");

    let secret = WebhookSecret::from_bytes([8; 32]);
    let event = endpoint.rotate(secret, Duration::from_mins(1), moment(3)).applied().unwrap();
    desk.keep(WebhookChange::kept(endpoint.clone(), event)).await.unwrap();
    assert_eq!(desk.endpoint(id).await, Some(at_position(&endpoint, 1)));

    let gone = WebhookChange::gone(endpoint.clone(), moment(4));
    let kept = Unit { receipt: Some(receipt(2, 4)), ..hooking(organization, vec![gone.clone()]) };
    desk.stage.commit(kept).await.unwrap();
    assert_eq!(desk.endpoint(id).await, None);
    assert!(desk.stage.store.endpoints(organization).await.unwrap().is_empty());
    assert!(is_conflict(&desk.keep(gone).await), "it is gone already");

    let log = desk.stage.log(organization).await;
    let told: Vec<_> = log.iter().map(|entry| entry.event.name()).collect();
    assert_eq!(
        told,
        [
            "webhook_endpoint.created",
            "webhook_endpoint.updated",
            "webhook_endpoint.updated",
            "webhook_endpoint.deleted"
        ]
    );
    let found = desk.stage.store.receipts(organization, &[receipt(1, 1).key, receipt(2, 4).key]).await.unwrap();
    assert!(found.iter().all(Option::is_some));
}

async fn a_change_of_another_version_is_refused_and_leaves_nothing(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(9, &[]).await;
    let id = endpoint.id();
    let (_, again) = hook(desk.organization, 9, &[]);
    assert!(is_conflict(&desk.keep(again).await), "there is one of that id");
    let mut stale = endpoint.clone();
    desk.enable(id, false).await;
    let event = stale.disable(DisableCause::Gone, moment(4)).applied().unwrap();
    let change = WebhookChange::kept(stale.clone(), event);
    let refused = Unit { receipt: Some(receipt(1, 1)), ..hooking(desk.organization, vec![change]) };
    assert!(is_conflict(&desk.stage.commit(refused).await));
    assert!(is_conflict(&desk.keep(WebhookChange::gone(endpoint, moment(5))).await));
    let (_, stranger) = hook(desk.organization, 77, &[]);
    let gone = WebhookChange::gone(stranger.after().unwrap().clone(), moment(5));
    assert!(is_conflict(&desk.keep(gone).await), "there is none of that id");
    let kept = desk.endpoint(id).await.unwrap();
    assert_eq!(kept.version(), Version::FIRST.next());
    assert_eq!(desk.stage.log(desk.organization).await.len(), 2, "refused units tell nothing");
    let found = desk.stage.store.receipts(desk.organization, &[receipt(1, 1).key]).await.unwrap();
    assert_eq!(found, [None]);
}

async fn an_organization_has_at_most_so_many_endpoints_even_where_creations_race(stage: Stage) {
    let desk = Desk::set(stage).await;
    let organization = desk.organization;
    let all = (1..ENDPOINTS_LIMIT as u128).map(|number| hook(organization, number, &[]).1);
    desk.stage.commit(hooking(organization, all.collect())).await.unwrap();
    let one = |number| desk.keep(hook(organization, number, &[]).1);
    let (left, right) = tokio::join!(one(1000), one(1001));
    let kept = usize::from(left.is_ok()) + usize::from(right.is_ok());
    assert_eq!(kept, 1, "{left:?} {right:?}");
    assert!(is_conflict(&left) || is_conflict(&right));
    assert_eq!(desk.stage.store.endpoints(organization).await.unwrap().len(), ENDPOINTS_LIMIT);
    desk.delete(WebhookId::from_random(1)).await;
    one(1002).await.unwrap();
    assert!(is_conflict(&one(1003).await));
    let other = desk.stage.organization().await;
    desk.stage.commit(hooking(other, vec![hook(other, 1, &[]).1])).await.unwrap();
}

async fn endpoints_are_read_by_their_creation_and_as_they_were_written(stage: Stage) {
    let mut desk = Desk::set(stage).await;
    let first = desk.hook(30, &["loan.created", "customer.updated"]).await;
    let second = desk.hook(20, &[]).await;
    let (_, change) = hook(desk.organization, 10, &[]);
    let later = {
        let new = NewWebhook {
            url: WebhookUrl::parse(&"ü".repeat(2048)).unwrap(),
            kinds: EventName::all().collect(),
            form: PayloadForm::Thin,
            description: None,
        };
        let (id, secret) = (WebhookId::from_random(5), WebhookSecret::from_bytes([0; 32]));
        WebhookEndpoint::create(desk.organization, id, secret, new, moment(2))
    };
    desk.keep(change).await.unwrap();
    desk.keep(WebhookChange::kept(later.0.clone(), later.1)).await.unwrap();
    desk.stage.reopen().await;
    let all = desk.stage.store.endpoints(desk.organization).await.unwrap();
    let ids: Vec<_> = all.iter().map(WebhookEndpoint::id).collect();
    assert_eq!(ids, [10, 20, 30, 5].map(WebhookId::from_random), "by their creation, then by id");
    assert_eq!((&all[2], &all[1], &all[3]), (&first, &second, &at_position(&later.0, 4)));
}

async fn a_lease_is_its_owners_until_it_ends_and_can_be_taken_then(stage: Stage) {
    let desk = Desk::set(stage).await;
    desk.hook(9, &[]).await;
    desk.customer("Ada").await;
    assert!(desk.claim(ANN, 0).await, "it is free");
    assert!(!desk.claim(BOB, 1).await, "it is another's");
    assert!(!desk.claim(ANN, 1).await, "nor is it claimed twice");
    assert!(desk.renew(ANN, 40).await);
    assert!(!desk.renew(BOB, 50).await, "it is another's");
    assert!(!desk.claim(BOB, 39).await);
    assert!(desk.claim(BOB, 40).await, "it is over at that instant");
    assert!(!desk.claim(ANN, 41).await);
    assert!(!desk.renew(ANN, 80).await, "it was taken over");
    desk.stage.webhooks().release(ANN, desk.organization).await.unwrap();
    assert!(!desk.claim(ANN, 42).await, "only the owner gives it back");
    desk.stage.webhooks().release(BOB, desk.organization).await.unwrap();
    assert!(desk.claim(ANN, 43).await);
    let claims = (100..116_u128).map(|owner| desk.claim(owner, 80));
    let taken = futures::future::join_all(claims).await.into_iter().filter(|claimed| *claimed).count();
    assert_eq!(taken, 1, "of many who come at once one gets it");
}

async fn only_organizations_with_something_to_do_are_claimed(stage: Stage) {
    let desk = Desk::set(stage).await;
    desk.customer("Ada").await;
    assert!(!desk.claim_anew(ANN, 0).await, "nobody listens");
    let endpoint = desk.hook(9, &["customer.created"]).await.id();
    assert!(!desk.claim_anew(ANN, 0).await, "nothing has happened since");
    desk.customer("Bob").await;
    assert!(desk.claim_anew(ANN, 0).await, "an event to look at");
    desk.enqueue(1).await;
    assert!(desk.claim_anew(ANN, 2).await, "a delivery is due");
    let later = failed(endpoint, 3, 0, 3, pending(at(50)));
    assert!(desk.settle(ANN, later).await);
    assert!(!desk.claim_anew(ANN, 49).await, "not yet due");
    assert!(desk.claim_anew(ANN, 50).await);
    desk.enable(endpoint, false).await;
    assert!(!desk.claim_anew(ANN, 51).await, "disabled");
    desk.enable(endpoint, true).await;
    assert!(desk.claim_anew(ANN, 52).await);
    assert!(desk.settle(ANN, delivered(endpoint, 3, 1, 53)).await);
    desk.enqueue(54).await;
    assert!(!desk.claim_anew(ANN, 55).await, "all is done; its own changes were not wanted");
    desk.customer("Cleo").await;
    desk.delete(endpoint).await;
    assert!(!desk.claim_anew(ANN, 56).await, "deleted");
}

async fn a_claim_takes_those_first_that_waited_longest(stage: Stage) {
    let mut all = Vec::new();
    for _ in 0..3 {
        let organization = stage.organization().await;
        stage.commit(hooking(organization, vec![hook(organization, 1, &[]).1])).await.unwrap();
        stage.create_named(organization, "Ada").await;
        all.push(organization);
    }
    let claim = |owner, now: i64, limit| stage.store.claim(owner, at(now), at(now + 10), limit, &[]);
    assert_eq!(claim(ANN, 0, 2).await.unwrap(), all[..2], "by id where nobody has had any");
    assert_eq!(claim(BOB, 1, 2).await.unwrap(), all[2..]);
    assert_eq!(claim(BOB, 10, 1).await.unwrap(), all[..1], "one that is over");
    for organization in &all {
        stage.webhooks().release(ANN, *organization).await.unwrap();
        stage.webhooks().release(BOB, *organization).await.unwrap();
    }
    assert_eq!(claim(ANN, 11, 1).await.unwrap(), [all[1]], "whose lease ended first, given back or not");
    let claimed = stage.store.claim(ANN, at(12), at(22), 9, &[all[2]]).await.unwrap();
    assert_eq!(claimed, [all[0]], "not what it holds, nor what it leaves to others");
    assert_eq!(claim(BOB, 12, 9).await.unwrap(), [all[2]]);
}

async fn a_stale_owner_neither_enqueues_nor_settles(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(9, &[]).await.id();
    desk.customer("Ada").await;
    let store = &desk.stage.store;
    assert!(!store.enqueue(desk.organization, ANN, at(0), 10).await.unwrap(), "without a lease");
    assert!(desk.sequences(endpoint).await.is_empty());
    desk.enqueue(0).await;
    desk.customer("Bob").await;
    assert!(desk.claim(BOB, 30).await);
    assert!(!store.enqueue(desk.organization, ANN, at(31), 1).await.unwrap());
    assert_eq!(desk.sequences(endpoint).await, [2], "nothing more than before");
    assert!(!desk.settle(ANN, delivered(endpoint, 2, 0, 31)).await);
    assert_eq!(desk.due_sequences(31).await, [2]);
    assert!(desk.settle(BOB, delivered(endpoint, 2, 0, 32)).await, "who has it does");
    assert!(!store.enqueue(desk.organization, BOB, at(99), 10).await.unwrap());
    assert_eq!(desk.sequences(endpoint).await, [2, 3], "a lease that is over is still its owner's until it is taken");
    desk.stage.webhooks().release(BOB, desk.organization).await.unwrap();
    assert!(!desk.settle(BOB, delivered(endpoint, 3, 0, 100)).await, "not once it is given back");
}

async fn a_new_endpoint_gets_what_follows_its_creation(stage: Stage) {
    let desk = Desk::set(stage).await;
    desk.customer("Ada").await;
    let first = desk.hook(1, &[]).await;
    assert_eq!(first.position(), Some(sequence(2)));
    desk.customer("Bob").await;
    let second = desk.hook(2, &[]).await;
    desk.customer("Cleo").await;
    desk.enqueue(1).await;
    assert_eq!(desk.sequences(first.id()).await, [3, 4, 5], "another endpoint's creation is an event as any");
    assert_eq!(desk.sequences(second.id()).await, [5]);
    assert_eq!(desk.endpoint(first.id()).await.unwrap().position(), Some(sequence(5)));
}

async fn only_wanted_kinds_are_enqueued(stage: Stage) {
    let desk = Desk::set(stage).await;
    let few = desk.hook(1, &["customer.updated", "score.reported"]).await.id();
    let all = desk.hook(2, &[]).await.id();
    let ada = desk.customer("Ada").await;
    desk.stage.change(ada, call_at("1")).await;
    desk.stage.commit(rating(&desk, "ada")).await.unwrap();
    desk.enqueue(1).await;
    assert_eq!(desk.sequences(few).await, [4, 5]);
    assert_eq!(desk.sequences(all).await, [3, 4, 5]);
    let records = desk.records(few).await;
    assert_eq!((records[0].kind.as_str(), records[0].customer), ("score.reported", None));
    assert_eq!(records[1].kind.as_str(), "customer.updated");
    assert!(records[1].customer.is_some());
    desk.patch(
        few,
        &WebhookPatch {
            kinds: Some([EventName::parse("customer.created").unwrap()].into()),
            ..WebhookPatch::default()
        },
    )
    .await;
    desk.customer("Bob").await;
    desk.enqueue(2).await;
    assert_eq!(desk.sequences(few).await, [4, 5, 7], "what was enqueued before stays");
}

fn rating(desk: &Desk, external_id: &str) -> Unit {
    let score = ScoreChange::reported(external(external_id), None, Score::UNKNOWN, moment(1));
    Unit { scores: vec![score], ..unit(desk.organization, Vec::new()) }
}

async fn enqueueing_in_small_steps_skips_nothing_and_repeats_nothing(stage: Stage) {
    let desk = Desk::set(stage).await;
    let all = desk.hook(1, &[]).await.id();
    for number in 0..7 {
        desk.customer(&format!("Ada {number}")).await;
    }
    let late = desk.hook(2, &["customer.created"]).await.id();
    desk.customer("Bob").await;
    desk.claim(ANN, 1).await;
    let mut steps = Vec::new();
    for _ in 0..5 {
        steps.push(desk.stage.store.enqueue(desk.organization, ANN, at(1), 4).await.unwrap());
    }
    assert_eq!(steps, [true, true, false, false, false]);
    assert_eq!(desk.sequences(all).await, (2..=10).collect::<Vec<_>>());
    assert_eq!(desk.sequences(late).await, [10]);
    let position = |endpoint: Option<WebhookEndpoint>| endpoint.unwrap().position();
    assert_eq!(position(desk.endpoint(all).await), Some(sequence(10)));
    assert_eq!(position(desk.endpoint(late).await), Some(sequence(10)));
}

async fn owners_that_race_enqueue_everything_once_while_commits_go_on(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &["customer.created"]).await.id();
    let desk = std::sync::Arc::new(desk);
    let writers = (0..4).map(|_| {
        let desk = std::sync::Arc::clone(&desk);
        tokio::spawn(async move {
            for _ in 0..15 {
                desk.customer("Ada").await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let owners = (0..3).map(|owner| {
        let desk = std::sync::Arc::clone(&desk);
        tokio::spawn(async move {
            // Each takes the lease from the other as soon as it can: none lasts.
            for round in 0..60 {
                let now = at(round);
                desk.stage.store.claim(owner, now, now, 10, &[]).await.unwrap();
                desk.stage.store.enqueue(desk.organization, owner, now, 3).await.unwrap();
            }
        })
    });
    let owners: Vec<_> = owners.collect();
    for task in writers.into_iter().chain(owners) {
        task.await.unwrap();
    }
    desk.enqueue(100).await;
    let log = desk.stage.log(desk.organization).await;
    let created: Vec<i64> =
        log.iter().filter(|entry| entry.event.name() == "customer.created").map(|entry| entry.sequence.get()).collect();
    assert_eq!(created.len(), 60);
    assert_eq!(desk.sequences(endpoint).await, created);
}

async fn a_delivery_is_due_at_its_instant_and_not_before(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    let ada = desk.customer("Ada").await;
    desk.enqueue(5).await;
    assert!(desk.due(4).await.is_empty());
    let due = desk.due(5).await;
    assert_eq!((due[0].endpoint, due[0].attempts), (endpoint, 0));
    assert_eq!(due[0].entry, desk.stage.log(desk.organization).await[1], "with the whole event");
    assert_eq!(due[0].entry.event.customer(), Some(ada.id()));
    assert!(desk.settle(ANN, failed(endpoint, 2, 0, 6, pending(at(11)))).await);
    assert!(desk.due(10).await.is_empty());
    assert_eq!(desk.due(11).await[0].attempts, 1);
}

async fn of_one_customer_only_the_first_pending_delivery_is_due(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    let ada = desk.customer("Ada").await;
    let ada = desk.stage.change(ada, call_at("1")).await;
    desk.customer("Bob").await;
    desk.enqueue(1).await;
    let other = desk.hook(2, &[]).await.id();
    desk.stage.change(ada, call_at("2")).await;
    desk.enqueue(2).await;
    // 2, 3 and 6 are Ada's, 4 is Bob's, 5 the other endpoint's creation.
    let due = |due: Vec<DueDelivery>, of| {
        let own = due.into_iter().filter(move |one| one.endpoint == of);
        own.map(|one| one.entry.sequence.get()).collect::<Vec<_>>()
    };
    assert_eq!(due(desk.due(2).await, endpoint), [2, 4, 5]);
    assert_eq!(due(desk.due(2).await, other), [6], "each endpoint has an order of its own");
    assert!(desk.settle(ANN, failed(endpoint, 2, 0, 3, pending(at(50)))).await);
    assert_eq!(due(desk.due(49).await, endpoint), [4, 5], "what waits holds back what follows");
    assert!(desk.settle(ANN, delivered(endpoint, 2, 1, 50)).await);
    assert_eq!(due(desk.due(50).await, endpoint), [3, 4, 5]);
    let parked = failed(endpoint, 3, 0, 51, DeliveryState::Parked { at: at(51) });
    assert!(desk.settle(ANN, parked).await);
    assert_eq!(due(desk.due(51).await, endpoint), [4, 5, 6], "what was given up holds nothing back");
    desk.customer("Cleo").await;
    desk.enqueue(52).await;
    assert_eq!(due(desk.due(52).await, endpoint), [4, 5, 6, 7]);
}

async fn events_without_a_customer_are_ordered_by_their_subject(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    desk.stage.commit(rating(&desk, "ada")).await.unwrap();
    desk.stage.commit(rating(&desk, "bob")).await.unwrap();
    desk.stage.commit(rating(&desk, "ada")).await.unwrap();
    let company = Company {
        organization: desk.organization,
        number: CompanyNumber::FIRST,
        id: CompanyId::parse("CMP-00000001").unwrap(),
        details: CompanyDetails {
            name: CompanyName::parse("Works").unwrap(),
            status: CompanyStatus::Active,
            description: None,
            industry: None,
            website: None,
            phone: None,
            address: None,
        },
    };
    let companies = vec![CompanyChange::created(company, moment(1))];
    desk.stage.commit(Unit { companies, ..unit(desk.organization, Vec::new()) }).await.unwrap();
    desk.enqueue(1).await;
    assert_eq!(desk.due_sequences(1).await, [2, 3, 5]);
    assert!(desk.deliver(endpoint, 2, 2).await);
    assert_eq!(desk.due_sequences(2).await, [3, 4, 5]);
}

async fn endpoints_take_turns_within_a_limit(stage: Stage) {
    let desk = Desk::set(stage).await;
    let busy = desk.hook(1, &[]).await.id();
    for number in 0..5 {
        desk.customer(&format!("Ada {number}")).await;
    }
    let quiet = desk.hook(2, &[]).await.id();
    desk.customer("Bob").await;
    desk.enqueue(1).await;
    let due = desk.stage.store.due(desk.organization, at(9), 3, 3).await.unwrap();
    let due: Vec<_> = due.iter().map(|one| (one.endpoint, one.entry.sequence.get())).collect();
    assert_eq!(due, [(busy, 2), (quiet, 8), (busy, 3)]);
    assert_eq!(desk.stage.store.due(desk.organization, at(9), 9, 1).await.unwrap().len(), 1);
    let due = desk.stage.store.due(desk.organization, at(9), 2, 9).await.unwrap();
    assert_eq!(due.len(), 3, "two of the busy one, and all of the quiet one");
}

async fn a_settlement_applies_once_and_is_logged(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    desk.customer("Ada").await;
    desk.customer("Bob").await;
    desk.enqueue(1).await;
    let first = failed(endpoint, 2, 0, 2, pending(at(7)));
    let elsewhere = Settlement { sequence: sequence(99), ..first };
    let nobodys = Settlement { endpoint: WebhookId::from_random(99), ..first };
    let several = [elsewhere, first, nobodys, delivered(endpoint, 3, 0, 2)];
    let settled = desk.stage.store.settle(desk.organization, ANN, &several).await.unwrap();
    assert_eq!(settled, [false, true, false, true]);
    assert!(!desk.settle(ANN, first).await, "it has had an attempt since");
    assert!(!desk.settle(ANN, delivered(endpoint, 3, 1, 3)).await, "what is delivered stays so");
    assert!(desk.settle(ANN, delivered(endpoint, 2, 1, 8)).await);
    assert_eq!(desk.stage.store.settle(desk.organization, ANN, &[]).await.unwrap(), Vec::<bool>::new());
    let records = desk.records(endpoint).await;
    assert_eq!((records[1].state, records[1].attempts), (DeliveryState::Delivered { at: at(8) }, 2));
    assert_eq!(records[1].log, [attempt(2, Some(FailureKind::Timeout)), attempt(8, None)]);
    assert_eq!(records[0].log, [attempt(2, None)]);
    assert!(desk.due(99).await.is_empty());
}

async fn a_disabled_endpoint_waits_and_goes_on_where_it_stood(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &["customer.created"]).await.id();
    let other = desk.hook(2, &["customer.created"]).await.id();
    desk.customer("Ada").await;
    desk.enqueue(1).await;
    desk.enable(endpoint, false).await;
    desk.customer("Bob").await;
    desk.enqueue(2).await;
    assert_eq!(desk.sequences(endpoint).await, [3], "nothing is enqueued for it");
    let due = desk.due(2).await;
    assert!(due.iter().all(|one| one.endpoint == other), "nor is anything due");
    assert_eq!(due.len(), 2);
    assert!(desk.deliver(endpoint, 3, 3).await, "what was under way is settled");
    desk.enable(endpoint, true).await;
    desk.enqueue(4).await;
    assert_eq!(desk.sequences(endpoint).await, [3, 5], "nothing was missed");
}

async fn a_deleted_endpoint_leaves_nothing_behind(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    desk.customer("Ada").await;
    desk.enqueue(1).await;
    desk.delete(endpoint).await;
    assert!(desk.due(9).await.is_empty());
    assert_eq!(desk.stage.store.next_due(desk.organization).await.unwrap(), None);
    assert!(!desk.deliver(endpoint, 2, 2).await);
    assert!(desk.records(endpoint).await.is_empty());
    assert_eq!(desk.replay(endpoint, 1, 9, 3).await, None);
    desk.stage.store.purge_deliveries(at(-999), 10).await.unwrap();
    assert_eq!(desk.stage.store.purge_deliveries(at(999), 10).await.unwrap(), 0, "it has gone");
    let other = desk.hook(2, &[]).await.id();
    desk.customer("Bob").await;
    desk.enqueue(4).await;
    assert_eq!(desk.sequences(other).await, [5]);
}

async fn one_event_is_replayed_and_holds_back_those_after_it(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    let ada = desk.customer("Ada").await;
    let ada = desk.stage.change(ada, call_at("1")).await;
    desk.stage.change(ada, call_at("2")).await;
    desk.enqueue(1).await;
    assert!(desk.settle(ANN, failed(endpoint, 2, 0, 2, DeliveryState::Parked { at: at(2) })).await);
    assert!(desk.deliver(endpoint, 3, 3).await);
    assert_eq!(desk.due_sequences(3).await, [4]);
    assert_eq!(desk.replay(endpoint, 2, 2, 4).await, Some(Replayed { count: 1, cut_after: None }));
    assert_eq!(desk.due_sequences(3).await, Vec::<i64>::new(), "due at its instant");
    assert_eq!(desk.due_sequences(4).await, [2], "the later one waits again");
    assert_eq!(desk.due(4).await[0].attempts, 0);
    assert!(desk.deliver(endpoint, 2, 5).await);
    assert_eq!(desk.due_sequences(5).await, [4]);
    let record = desk.records(endpoint).await.pop().unwrap();
    assert_eq!((record.sequence.get(), record.attempts), (2, 1));
    assert_eq!(record.log, [attempt(2, Some(FailureKind::Timeout)), attempt(5, None)], "the log goes on");
    assert_eq!(desk.replay(endpoint, 3, 3, 6).await, Some(Replayed { count: 1, cut_after: None }));
    assert_eq!(desk.due_sequences(6).await, [3], "a delivered one too");
    assert_eq!(desk.replay(endpoint, 3, 3, 7).await, Some(Replayed { count: 1, cut_after: None }));
    assert_eq!(desk.due_sequences(7).await, [3], "twice is once");
}

async fn a_range_is_replayed_with_what_was_never_enqueued(stage: Stage) {
    let desk = Desk::set(stage).await;
    desk.customer("Ada").await;
    desk.stage.commit(rating(&desk, "ada")).await.unwrap();
    let endpoint = desk.hook(1, &["customer.created"]).await.id();
    desk.customer("Bob").await;
    desk.customer("Cleo").await;
    desk.enqueue(1).await;
    for number in [4, 5] {
        assert!(desk.deliver(endpoint, number, 2).await);
    }
    desk.customer("Dora").await;
    assert_eq!(desk.replay(endpoint, 1, 4, 3).await, Some(Replayed { count: 2, cut_after: None }));
    assert_eq!(desk.due_sequences(3).await, [1, 4], "before the endpoint, but not what it does not want");
    assert_eq!(desk.replay(endpoint, 5, 99, 3).await, Some(Replayed { count: 1, cut_after: None }));
    assert_eq!(desk.sequences(endpoint).await, [1, 4, 5], "what is still to be enqueued is left to that");
    desk.enqueue(4).await;
    assert_eq!(desk.due_sequences(4).await, [1, 4, 5, 6]);
    assert_eq!(desk.replay(endpoint, 90, 99, 5).await, Some(Replayed { count: 0, cut_after: None }));
    assert_eq!(desk.replay(WebhookId::from_random(99), 1, 9, 5).await, None);
}

async fn a_long_range_is_replayed_in_parts(stage: Stage) {
    let desk = Desk::set(stage).await;
    let count = i64::from(Replay::LIMIT) + 5;
    let score = |number: i64| ScoreChange::reported(external(&format!("c-{number}")), None, Score::UNKNOWN, moment(1));
    let scores = (0..count).map(score).collect();
    desk.stage.commit(Unit { scores, ..unit(desk.organization, Vec::new()) }).await.unwrap();
    let endpoint = desk.hook(1, &[]).await.id();
    let part = desk.replay(endpoint, 1, count, 1).await.unwrap();
    let limit = i64::from(Replay::LIMIT);
    assert_eq!(part, Replayed { count: limit.unsigned_abs(), cut_after: Some(sequence(limit)) });
    let rest = desk.replay(endpoint, limit + 1, count, 1).await.unwrap();
    assert_eq!(rest, Replayed { count: 5, cut_after: None });
    assert_eq!(desk.due(1).await.len(), 100, "each is of another subject");
}

async fn the_next_instant_is_that_of_the_first_delivery_that_may_be_tried(stage: Stage) {
    let desk = Desk::set(stage).await;
    let next = || desk.stage.store.next_due(desk.organization);
    let one = desk.hook(1, &["customer.created", "customer.updated"]).await.id();
    assert_eq!(next().await.unwrap(), None);
    let ada = desk.customer("Ada").await;
    desk.stage.change(ada, call_at("1")).await;
    desk.customer("Bob").await;
    desk.enqueue(1).await;
    assert_eq!(next().await.unwrap(), Some(at(1)));
    assert!(desk.settle(ANN, failed(one, 2, 0, 2, pending(at(50)))).await);
    assert!(desk.settle(ANN, failed(one, 4, 0, 2, pending(at(40)))).await);
    assert_eq!(next().await.unwrap(), Some(at(40)), "the one behind the first of Ada's does not count");
    desk.enable(one, false).await;
    assert_eq!(next().await.unwrap(), None);
    desk.enable(one, true).await;
    for number in [2, 4] {
        assert!(desk.settle(ANN, delivered(one, number, 1, 51)).await);
    }
    assert_eq!(next().await.unwrap(), Some(at(1)), "now it does");
    assert!(desk.deliver(one, 3, 52).await);
    assert_eq!(next().await.unwrap(), None);
}

async fn what_ended_long_ago_is_purged_in_batches(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    for number in 0..5 {
        desk.customer(&format!("Ada {number}")).await;
    }
    desk.enqueue(1).await;
    for number in [2, 3, 4] {
        assert!(desk.deliver(endpoint, number, number).await);
    }
    let parked = failed(endpoint, 5, 0, 9, DeliveryState::Parked { at: at(9) });
    assert!(desk.settle(ANN, parked).await);
    let purge = |before, limit| desk.stage.store.purge_deliveries(at(before), limit);
    assert_eq!(purge(2, 100).await.unwrap(), 0, "none is older than that");
    assert_eq!(purge(9, 2).await.unwrap(), 2);
    assert_eq!(purge(9, 2).await.unwrap(), 1);
    assert_eq!(purge(9, 2).await.unwrap(), 0);
    assert_eq!(desk.sequences(endpoint).await, [5, 6]);
    assert_eq!(purge(99, 100).await.unwrap(), 1, "parked ones too; what is pending stays");
    assert_eq!(desk.sequences(endpoint).await, [6]);
    desk.enqueue(10).await;
    assert_eq!(desk.sequences(endpoint).await, [6], "and nothing comes back");
    assert_eq!(desk.replay(endpoint, 2, 2, 11).await, Some(Replayed { count: 1, cut_after: None }));
    assert_eq!(desk.records(endpoint).await[1].log, [], "the log went with it");
}

async fn deliveries_are_read_newest_first_by_status_and_page(stage: Stage) {
    use DeliveryStatus::{Delivered, Parked, Pending};
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    for number in 0..6 {
        desk.customer(&format!("Ada {number}")).await;
    }
    desk.enqueue(1).await;
    for number in [2, 5] {
        assert!(desk.deliver(endpoint, number, 2).await);
    }
    assert!(desk.settle(ANN, failed(endpoint, 4, 0, 3, DeliveryState::Parked { at: at(3) })).await);
    let read = |status, before: Option<i64>, limit| {
        let query = DeliveryQuery { status, before: before.map(sequence), limit, ..page(desk.organization, endpoint) };
        let store = std::sync::Arc::clone(&desk.stage.store);
        async move {
            let found = store.deliveries(&query).await.unwrap();
            found.into_iter().map(|one| (one.sequence.get(), one.state.status())).collect::<Vec<_>>()
        }
    };
    assert_eq!(read(None, None, 3).await, [(7, Pending), (6, Pending), (5, Delivered)]);
    assert_eq!(read(None, Some(5), 9).await, [(4, Parked), (3, Pending), (2, Delivered)]);
    assert_eq!(read(Some(Delivered), None, 9).await, [(5, Delivered), (2, Delivered)]);
    assert_eq!(read(Some(Delivered), Some(5), 9).await, [(2, Delivered)]);
    assert_eq!(read(Some(Parked), None, 9).await, [(4, Parked)]);
    assert_eq!(read(Some(Pending), None, 2).await, [(7, Pending), (6, Pending)]);
}

async fn organizations_never_see_one_anothers(stage: Stage) {
    let desk = Desk::set(stage).await;
    let endpoint = desk.hook(1, &[]).await.id();
    desk.customer("Ada").await;
    desk.enqueue(1).await;
    let other = desk.stage.organization().await;
    let store = &desk.stage.store;
    assert_eq!(store.endpoint(other, endpoint).await.unwrap(), None);
    assert!(store.endpoints(other).await.unwrap().is_empty());
    assert!(store.due(other, at(9), 100, 100).await.unwrap().is_empty());
    assert_eq!(store.next_due(other).await.unwrap(), None);
    assert!(store.deliveries(&page(other, endpoint)).await.unwrap().is_empty());
    assert!(!store.enqueue(other, ANN, at(9), 10).await.unwrap());
    assert_eq!(store.settle(other, ANN, &[delivered(endpoint, 2, 0, 2)]).await.unwrap(), [false]);
    let replay = Replay { organization: other, endpoint, from: sequence(1), to: sequence(9), now: at(9) };
    assert_eq!(store.replay(&replay).await.unwrap(), None);
    desk.stage.webhooks().release(ANN, other).await.unwrap();
    let (own, creation) = hook(other, 1, &[]);
    desk.stage.commit(hooking(other, vec![creation])).await.unwrap();
    let (_, change) = created(other, desk.stage.id(other).await, named("Eve"));
    desk.stage.commit(unit(other, vec![change])).await.unwrap();
    assert_eq!(desk.due_sequences(9).await, [2], "the same id in another organization is another endpoint");
    let gone = WebhookChange::gone(own, moment(3));
    desk.stage.commit(hooking(other, vec![gone])).await.unwrap();
    assert!(desk.endpoint(endpoint).await.is_some());
    let stranger = hook(other, 5, &[]).1;
    assert!(desk.stage.commit(hooking(desk.organization, vec![stranger])).await.is_err());
}
