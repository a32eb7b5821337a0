//! The dispatcher over the memory store, under a clock that stands still, with a courier that answers as it is told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use custodia_domain::ports::{Clock, CustomerStore, Directory, IdSource, WebhookStore};
use custodia_domain::registry::{Caller, OfficeChoice, OperationError, Ports, Precondition, Registry};
use custodia_domain::webhook::{
    DELAYS, DeliveryQuery, DeliveryRecord, DeliveryStatus, DisableCause, EndpointStatus, EventName, FailureKind,
    NewWebhook, PayloadForm, WebhookEndpoint, WebhookId, WebhookPatch, WebhookUrl,
};
use custodia_domain::{
    Actor, Answer, CustomerPatch, ExternalId, MobileNumber, Name, NewCustomer, OfficeId, OrganizationId, Patch,
    RequestId, Timestamp,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Courier, Dispatcher, DispatcherParts, Message, Pace, Reply};
use crate::arrivals::{AnnouncedStore, Arrivals};
use crate::clock::FixedClock;
use crate::ids::BlockIds;
use crate::memory::MemoryStore;

/// What the courier was given, and what it answers.
#[derive(Default)]
pub(super) struct Letters {
    carried: Mutex<Vec<(String, Value)>>,
    answers: Mutex<Vec<Reply>>,
    ever: Mutex<Option<Reply>>,
}

pub(super) const TAKEN: Reply =
    Reply { status: Some(204), failure: None, retry_after: None, took: Duration::from_millis(3) };

pub(super) fn failed(failure: FailureKind) -> Reply {
    Reply { status: None, failure: Some(failure), ..TAKEN }
}

#[async_trait]
impl Courier for Letters {
    async fn carry(&self, message: &Message) -> Reply {
        let body = serde_json::from_slice(&message.body).unwrap();
        self.carried.lock().unwrap().push((message.id.clone(), body));
        let mut answers = self.answers.lock().unwrap();
        if answers.is_empty() { self.ever.lock().unwrap().unwrap_or(TAKEN) } else { answers.remove(0) }
    }
}

impl Letters {
    pub(super) fn answer(&self, answers: &[Reply]) {
        self.answers.lock().unwrap().extend_from_slice(answers);
    }

    /// The ids carried since the last call.
    pub(super) fn taken(&self) -> Vec<String> {
        self.carried.lock().unwrap().drain(..).map(|(id, _)| id).collect()
    }
}

#[derive(Clone)]
pub(super) struct Kit {
    pub(super) store: Arc<MemoryStore>,
    pub(super) registry: Registry,
    pub(super) clock: Arc<FixedClock>,
    pub(super) letters: Arc<Letters>,
    pub(super) parts: DispatcherParts,
    /// Whose endpoints and customers are made.
    organization: OrganizationId,
}

pub(super) fn caller() -> Caller {
    Caller {
        organization: OrganizationId::FIRST,
        actor: Actor::new("test"),
        request_id: RequestId::parse("r-1").unwrap(),
        key: None,
        precondition: Precondition::None,
        reason: None,
    }
}

pub(super) fn done<T>(result: Result<&T, &OperationError>) -> Answer {
    assert!(result.is_ok(), "{:?}", result.err());
    Answer { status: 200, headers: Vec::new(), body: Vec::new() }
}

impl Kit {
    pub(super) async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(FixedClock::at(Timestamp::parse("2026-05-25T09:30:00Z").unwrap()));
        store.add_organization("Lender", clock.now().at).await.unwrap();
        let arrivals = Arc::new(Arrivals::default());
        let customers: Arc<dyn CustomerStore> = Arc::new(AnnouncedStore::new(store.clone(), arrivals.clone()));
        let ids: Arc<dyn IdSource> = Arc::new(BlockIds::new(customers.clone()));
        let registry = Registry::new(Ports {
            customers,
            directory: store.clone(),
            accounts: store.clone(),
            loans: store.clone(),
            scores: store.clone(),
            webhooks: store.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
        });
        let letters = Arc::new(Letters::default());
        let parts = DispatcherParts {
            webhooks: store.clone(),
            registry: registry.clone(),
            clock: clock.clone(),
            ids,
            courier: letters.clone(),
            arrivals,
        };
        Self { store, registry, clock, letters, parts, organization: OrganizationId::FIRST }
    }

    /// The same, for another organization.
    pub(super) fn of(&self, organization: OrganizationId) -> Self {
        Self { organization, ..self.clone() }
    }

    fn caller(&self) -> Caller {
        Caller { organization: self.organization, ..caller() }
    }

    pub(super) async fn endpoint(&self, kinds: &[&str], form: PayloadForm) -> WebhookId {
        let new = NewWebhook {
            url: WebhookUrl::parse("https://example.com/hooks").unwrap(),
            kinds: kinds.iter().map(|kind| EventName::parse(kind).unwrap()).collect::<BTreeSet<_>>(),
            form,
            description: None,
        };
        let made = Mutex::new(None);
        let note = |result: Result<&WebhookEndpoint, &OperationError>| {
            *made.lock().unwrap() = result.ok().map(WebhookEndpoint::id);
            done(result)
        };
        self.registry.create_webhook(&self.caller(), &new, note).await;
        made.into_inner().unwrap().unwrap()
    }

    pub(super) async fn customer(&self, external_id: &str) {
        let id = ExternalId::parse(external_id).unwrap();
        let draft = |_| NewCustomer {
            external_id: Some(id.clone()),
            ..NewCustomer::named(OfficeId::FIRST, Name::FollowsExternalId)
        };
        self.registry.create(&self.caller(), OfficeChoice::Default, draft, done).await;
    }

    pub(super) async fn call(&self, external_id: &str, number: &str) {
        let selector = custodia_domain::ports::Selector::ExternalId(ExternalId::parse(external_id).unwrap());
        let mobile = Patch::Set(MobileNumber::parse(number).unwrap());
        let patch = CustomerPatch { mobile, ..CustomerPatch::default() };
        let command = custodia_domain::registry::Command::Update(patch);
        self.registry.command(&caller(), &selector, &command, done).await;
    }

    pub(super) fn dispatcher(&self) -> Arc<Dispatcher> {
        Dispatcher::new(self.parts.clone(), Pace::default())
    }

    pub(super) async fn log(&self, endpoint: WebhookId) -> Vec<DeliveryRecord> {
        let organization = OrganizationId::FIRST;
        let query = DeliveryQuery { organization, endpoint, status: None, before: None, limit: 100 };
        self.store.deliveries(&query).await.unwrap()
    }

    pub(super) async fn status(&self, endpoint: WebhookId) -> EndpointStatus {
        self.store.endpoint(OrganizationId::FIRST, endpoint).await.unwrap().unwrap().status()
    }
}

#[tokio::test]
async fn wanted_events_are_sent_once_in_the_wanted_form() {
    let kit = Kit::new().await;
    kit.endpoint(&["customer.created"], PayloadForm::Full).await;
    kit.endpoint(&["customer.updated"], PayloadForm::Thin).await;
    kit.customer("ada").await;
    kit.call("ada", "+255700000000").await;
    let dispatcher = kit.dispatcher();
    assert_eq!(dispatcher.pass().await.unwrap(), None);
    let mut carried = kit.letters.carried.lock().unwrap().clone();
    carried.sort_by(|one, other| one.0.cmp(&other.0));
    let [(created_id, created), (updated_id, updated)] = &carried[..] else { panic!("{carried:?}") };
    assert_eq!((created_id.as_str(), updated_id.as_str()), ("evt_1_3", "evt_1_4"));
    assert_eq!((&created["type"], &created["timestamp"]), (&"customer.created".into(), &created["data"]["at"]));
    assert_eq!(created["data"]["id"], "evt_1_3");
    assert_eq!(created["data"]["changed"]["externalId"]["to"], "ada");
    assert_eq!(updated["data"]["changed"], serde_json::json!(["mobileNo"]));
    kit.letters.taken();
    dispatcher.pass().await.unwrap();
    assert_eq!(kit.letters.taken(), [""; 0]);
}

#[tokio::test]
async fn a_failing_endpoint_is_tried_by_the_schedule_and_then_left_alone() {
    let kit = Kit::new().await;
    let endpoint = kit.endpoint(&[], PayloadForm::Thin).await;
    kit.customer("ada").await;
    *kit.letters.ever.lock().unwrap() = Some(failed(FailureKind::Connect));
    let dispatcher = kit.dispatcher();
    let mut last = kit.clock.now().at;
    for (number, delay) in DELAYS.iter().enumerate().skip(1) {
        let next = dispatcher.pass().await.unwrap().unwrap();
        assert_eq!(kit.letters.taken(), ["evt_1_2"], "try {number}");
        let wait = u64::try_from(next.microseconds() - last.microseconds()).unwrap();
        let least = u64::try_from(delay.as_micros()).unwrap();
        assert!((least..=least + least / 10).contains(&wait), "{wait} after try {number}");
        kit.clock.advance(Duration::from_micros(wait - 1));
        dispatcher.pass().await.unwrap();
        assert!(kit.letters.taken().is_empty(), "too early");
        kit.clock.set(next);
        last = next;
    }
    assert_eq!(dispatcher.pass().await.unwrap(), None);
    assert_eq!(kit.letters.taken(), ["evt_1_2"]);
    let log = kit.log(endpoint).await;
    assert_eq!((log[0].state.status(), log[0].log.len()), (DeliveryStatus::Parked, 10));
    kit.clock.advance(Duration::from_hours(1_000));
    dispatcher.pass().await.unwrap();
    assert!(kit.letters.taken().is_empty());
}

#[tokio::test]
async fn a_later_event_of_a_customer_waits_for_the_earlier_one_and_others_do_not() {
    let kit = Kit::new().await;
    let endpoint = kit.endpoint(&[], PayloadForm::Thin).await;
    kit.customer("ada").await;
    let dispatcher = kit.dispatcher();
    kit.letters.answer(&[failed(FailureKind::Timeout)]);
    dispatcher.pass().await.unwrap();
    kit.letters.taken();
    kit.call("ada", "+255700000000").await;
    kit.customer("eve").await;
    dispatcher.pass().await.unwrap();
    assert_eq!(kit.letters.taken(), ["evt_1_4"]);
    kit.clock.advance(Duration::from_secs(6));
    dispatcher.pass().await.unwrap();
    assert_eq!(kit.letters.taken(), ["evt_1_2", "evt_1_3"]);
    assert!(kit.log(endpoint).await.iter().all(|one| one.state.status() == DeliveryStatus::Delivered));
}

#[tokio::test]
async fn however_often_it_fails_each_customers_events_are_taken_in_order_and_none_is_lost() {
    const CUSTOMERS: usize = 12;
    let kit = Kit::new().await;
    let types = ["customer.created", "customer.updated"];
    let endpoint = kit.endpoint(&types, PayloadForm::Full).await;
    let dispatcher = kit.dispatcher();
    // A generator of its own: the same failures every time.
    let mut state = 0x2545_f491_u32;
    let mut chance = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % 10
    };
    for round in 0..8 {
        for number in 0..CUSTOMERS {
            let name = format!("c{number}");
            if round == 0 { kit.customer(&name).await } else { kit.call(&name, &format!("+2557000{round:05}")).await }
        }
        let luck: Vec<_> =
            (0..CUSTOMERS).map(|_| if chance() < 4 { failed(FailureKind::Protocol) } else { TAKEN }).collect();
        kit.letters.answer(&luck);
        dispatcher.pass().await.unwrap();
        kit.clock.advance(Duration::from_secs(6));
    }
    while let Some(next) = kit.store.next_due(OrganizationId::FIRST).await.unwrap() {
        kit.clock.set(next.max(kit.clock.now().at));
        dispatcher.pass().await.unwrap();
    }
    let log = kit.log(endpoint).await;
    assert_eq!(log.len(), 8 * CUSTOMERS);
    let mut ended: std::collections::BTreeMap<_, Vec<_>> = std::collections::BTreeMap::new();
    for record in log.iter().rev() {
        assert_eq!(record.state.status(), DeliveryStatus::Delivered);
        ended.entry(record.customer).or_default().push(record.state.at());
    }
    assert!(log.iter().any(|record| record.log.len() > 1), "nothing ever failed");
    assert!(ended.values().all(|instants| instants.is_sorted()));
}

#[tokio::test]
async fn the_wish_to_be_left_alone_is_granted() {
    let kit = Kit::new().await;
    kit.endpoint(&[], PayloadForm::Thin).await;
    kit.customer("ada").await;
    let asked = Reply { retry_after: Some(Duration::from_mins(10)), ..failed(FailureKind::Status) };
    kit.letters.answer(&[Reply { status: Some(503), ..asked }]);
    let next = kit.dispatcher().pass().await.unwrap().unwrap();
    assert_eq!(next.microseconds() - kit.clock.now().at.microseconds(), 600_000_000);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_can_be_enabled_again() {
    let kit = Kit::new().await;
    let endpoint = kit.endpoint(&[], PayloadForm::Thin).await;
    kit.customer("ada").await;
    kit.letters.answer(&[Reply { status: Some(410), ..failed(FailureKind::Gone) }]);
    let dispatcher = kit.dispatcher();
    dispatcher.pass().await.unwrap();
    assert!(matches!(kit.status(endpoint).await, EndpointStatus::Disabled { cause: DisableCause::Gone, .. }));
    kit.letters.taken();
    kit.customer("eve").await;
    dispatcher.pass().await.unwrap();
    assert!(kit.letters.taken().is_empty());
    let patch = WebhookPatch { enabled: Some(true), ..WebhookPatch::default() };
    kit.registry.update_webhook(&caller(), endpoint, &patch, done).await;
    dispatcher.pass().await.unwrap();
    assert!(kit.letters.taken().contains(&"evt_1_4".to_owned()));
}

#[tokio::test]
async fn a_commit_wakes_the_loop_and_its_end_gives_the_lease_back() {
    let kit = Kit::new().await;
    kit.endpoint(&["customer.created"], PayloadForm::Thin).await;
    let pace = Pace { look_every: Duration::from_hours(1), ..Pace::default() };
    let stop = CancellationToken::new();
    let running = tokio::spawn(Dispatcher::new(kit.parts.clone(), pace).run(stop.clone()));
    while kit.letters.carried.lock().unwrap().is_empty() {
        // The first look may come after the commit, which would prove nothing: commit until it is told.
        kit.customer(&format!("c{}", kit.store.last_sequences(&[OrganizationId::FIRST]).await.unwrap()[0].unwrap()))
            .await;
        tokio::task::yield_now().await;
    }
    stop.cancel();
    running.await.unwrap();
    kit.customer("late").await;
    kit.letters.taken();
    // Another one can claim at once.
    kit.dispatcher().pass().await.unwrap();
    assert!(!kit.letters.taken().is_empty());
}

#[tokio::test]
async fn a_store_that_loses_the_lease_of_one_settles_for_the_other_alone() {
    let kit = Kit::new().await;
    let endpoint = kit.endpoint(&[], PayloadForm::Thin).await;
    kit.customer("ada").await;
    let (first, second) = (kit.dispatcher(), kit.dispatcher());
    let (one, other) = tokio::join!(first.pass(), second.pass());
    one.unwrap();
    other.unwrap();
    assert_eq!(kit.letters.taken(), ["evt_1_2"]);
    assert_eq!(kit.log(endpoint).await[0].log.len(), 1);
}
