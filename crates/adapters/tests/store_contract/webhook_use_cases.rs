//! The use cases of webhook endpoints on each store: receipts, versions, limits.

use std::sync::Arc;
use std::time::Duration;

use custodia_adapters::clock::FixedClock;
use custodia_adapters::ids::BlockIds;
use custodia_domain::registry::{Caller, Key, OperationError, Ports, Precondition, Registry};
use custodia_domain::webhook::{
    DeliveryQuery, DisableCause, ENDPOINTS_LIMIT, EndpointStatus, NewWebhook, PayloadForm, Replayed, WebhookEndpoint,
    WebhookId, WebhookPatch, WebhookUrl,
};
use custodia_domain::{Actor, Answer, Fingerprint, OrganizationId, RequestId, Sequence, Version};

use super::support::{Stage, at, key};

on_every_store!(
    a_creation_is_answered_again_under_its_key_and_tells_one_event,
    only_the_version_that_was_named_is_changed,
    one_endpoint_too_many_is_refused_and_the_refusal_is_kept,
    a_secret_is_rotated_with_an_overlap_and_an_endpoint_is_disabled_once,
    what_is_deleted_is_there_no_more,
    a_replay_under_a_key_happens_once,
);

struct Desk {
    stage: Stage,
    registry: Registry,
    organization: OrganizationId,
}

impl Desk {
    async fn set(stage: Stage) -> Self {
        let organization = stage.organization().await;
        let store = &stage.store;
        let registry = Registry::new(Ports {
            customers: stage.customers(),
            directory: Arc::clone(store) as _,
            accounts: Arc::clone(store) as _,
            loans: Arc::clone(store) as _,
            scores: Arc::clone(store) as _,
            webhooks: stage.webhooks(),
            clock: Arc::new(FixedClock::at(at(5))),
            ids: Arc::new(BlockIds::new(stage.customers())),
        });
        Self { stage, registry, organization }
    }

    fn caller(&self) -> Caller {
        Caller {
            organization: self.organization,
            actor: Actor::new("key:1"),
            request_id: RequestId::parse("r-1").unwrap(),
            key: None,
            precondition: Precondition::None,
            reason: None,
        }
    }

    fn keyed(&self, byte: u8) -> Caller {
        let key = Key { text: "k".into(), receipt: key(byte), fingerprint: Fingerprint([byte; 32]) };
        Caller { key: Some(key), ..self.caller() }
    }

    async fn create(&self, caller: &Caller) -> Answer {
        self.registry.create_webhook(caller, &new(), shown).await
    }

    async fn created(&self) -> WebhookId {
        assert_eq!(self.create(&self.caller()).await.status, 200);
        self.registry.webhooks(self.organization).await.unwrap().last().unwrap().id()
    }

    async fn events(&self) -> usize {
        self.stage.log(self.organization).await.len()
    }

    async fn found(&self, id: WebhookId) -> WebhookEndpoint {
        self.registry.webhook(self.organization, id).await.unwrap().unwrap()
    }
}

fn new() -> NewWebhook {
    NewWebhook {
        url: WebhookUrl::parse("https://example.com").unwrap(),
        kinds: [].into(),
        form: PayloadForm::Thin,
        description: None,
    }
}

/// An answer that tells the endpoint's version, or the refusal.
fn shown(result: Result<&WebhookEndpoint, &OperationError>) -> Answer {
    let (status, body) = match result {
        Ok(endpoint) => (200, format!("{} {:?}", endpoint.version(), endpoint.secret().bytes())),
        Err(error) => (refusal(error), error.to_string()),
    };
    Answer { status, headers: Vec::new(), body: body.into_bytes() }
}

fn replayed(result: Result<&Replayed, &OperationError>) -> Answer {
    let (status, body) = match result {
        Ok(replayed) => (200, replayed.count.to_string()),
        Err(error) => (refusal(error), error.to_string()),
    };
    Answer { status, headers: Vec::new(), body: body.into_bytes() }
}

const fn refusal(error: &OperationError) -> u16 {
    match error {
        OperationError::NotFound => 404,
        OperationError::PreconditionFailed { .. } => 412,
        OperationError::Webhook(_) => 409,
        _ => 500,
    }
}

async fn a_creation_is_answered_again_under_its_key_and_tells_one_event(stage: Stage) {
    let desk = Desk::set(stage).await;
    let first = desk.create(&desk.keyed(1)).await;
    let again = desk.create(&desk.keyed(1)).await;
    assert_eq!((first.status, &first.body), (200, &again.body), "the same secret");
    assert!(again.headers.iter().any(|(name, _)| &**name == "idempotent-replayed"));
    assert_eq!(desk.registry.webhooks(desk.organization).await.unwrap().len(), 1);
    assert_eq!(desk.events().await, 1);
    let other = desk.create(&desk.keyed(2)).await;
    assert_ne!(other.body, first.body, "each has a secret of its own");
}

async fn only_the_version_that_was_named_is_changed(stage: Stage) {
    let desk = Desk::set(stage).await;
    let id = desk.created().await;
    let patch = WebhookPatch { form: Some(PayloadForm::Full), ..WebhookPatch::default() };
    let update = async |precondition| {
        let caller = Caller { precondition, ..desk.caller() };
        desk.registry.update_webhook(&caller, id, &patch, shown).await.status
    };
    assert_eq!(update(Precondition::Version(Version::FIRST.next())).await, 412);
    assert_eq!(update(Precondition::Version(Version::FIRST)).await, 200);
    assert_eq!(update(Precondition::Version(Version::FIRST)).await, 412);
    assert_eq!(update(Precondition::Exists).await, 200, "unchanged");
    assert_eq!((desk.found(id).await.version(), desk.events().await), (Version::FIRST.next(), 2));
    let nowhere = desk.registry.update_webhook(&desk.caller(), WebhookId::from_random(1), &patch, shown).await;
    assert_eq!(nowhere.status, 404);
}

async fn one_endpoint_too_many_is_refused_and_the_refusal_is_kept(stage: Stage) {
    let desk = Desk::set(stage).await;
    for _ in 0..ENDPOINTS_LIMIT {
        desk.created().await;
    }
    assert_eq!(desk.create(&desk.keyed(1)).await.status, 409);
    let gone = desk.registry.webhooks(desk.organization).await.unwrap()[0].id();
    assert_eq!(desk.registry.delete_webhook(&desk.caller(), gone, shown).await.status, 200);
    assert_eq!(desk.create(&desk.keyed(1)).await.status, 409, "as it was answered before");
    assert_eq!(desk.create(&desk.keyed(2)).await.status, 200);
}

async fn a_secret_is_rotated_with_an_overlap_and_an_endpoint_is_disabled_once(stage: Stage) {
    let desk = Desk::set(stage).await;
    let id = desk.created().await;
    let before = desk.found(id).await.secret().clone();
    let overlap = Duration::from_mins(1);
    assert_eq!(desk.registry.rotate_webhook(&desk.caller(), id, overlap, shown).await.status, 200);
    let endpoint = desk.found(id).await;
    let signing = |second| endpoint.secrets(at(second)).cloned().collect::<Vec<_>>();
    assert_eq!(signing(64), [endpoint.secret().clone(), before]);
    assert_eq!(signing(65), [endpoint.secret().clone()]);
    for _ in 0..2 {
        let answer = desk.registry.disable_webhook(&desk.caller(), id, DisableCause::Gone, shown).await;
        assert_eq!(answer.status, 200);
    }
    let disabled = EndpointStatus::Disabled { since: at(5), cause: DisableCause::Gone };
    assert_eq!((desk.found(id).await.status(), desk.events().await), (disabled, 3));
}

async fn what_is_deleted_is_there_no_more(stage: Stage) {
    let desk = Desk::set(stage).await;
    let id = desk.created().await;
    assert_eq!(desk.registry.delete_webhook(&desk.keyed(1), id, shown).await.status, 200);
    assert_eq!(desk.registry.delete_webhook(&desk.keyed(1), id, shown).await.status, 200, "answered again");
    assert_eq!(desk.registry.delete_webhook(&desk.caller(), id, shown).await.status, 404);
    let query = DeliveryQuery { organization: desk.organization, endpoint: id, status: None, before: None, limit: 10 };
    assert_eq!(desk.registry.deliveries(&query).await.unwrap(), None);
    assert_eq!(desk.events().await, 2);
}

async fn a_replay_under_a_key_happens_once(stage: Stage) {
    let desk = Desk::set(stage).await;
    desk.stage.create_named(desk.organization, "Ada").await;
    let id = desk.created().await;
    let replay = async |caller: Caller| {
        let (from, to) = (Sequence::FIRST, Sequence::parse(9).unwrap());
        let answer = desk.registry.replay_webhook(&caller, id, from, to, replayed).await;
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(replay(desk.keyed(1)).await, (200, "2".to_owned()), "its own creation is an event too");
    desk.stage.create_named(desk.organization, "Bob").await;
    let store = desk.stage.webhooks();
    store.claim(1, at(5), at(50), 1, &[]).await.unwrap();
    store.enqueue(desk.organization, 1, at(5), 10).await.unwrap();
    assert_eq!(replay(desk.keyed(1)).await, (200, "2".to_owned()), "as it was answered before");
    assert_eq!(replay(desk.caller()).await, (200, "3".to_owned()));
    let (caller, first) = (desk.caller(), Sequence::FIRST);
    let nowhere = desk.registry.replay_webhook(&caller, WebhookId::from_random(1), first, first, replayed).await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(desk.events().await, 3, "a replay is no event");
}
