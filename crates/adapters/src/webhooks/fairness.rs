//! That nobody's endpoints hold up others: the running dispatcher under a paused time, with receivers that never answer.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use custodia_domain::OrganizationId;
use custodia_domain::ports::{Clock as _, Directory as _, MockWebhookStore, WebhookStore};
use custodia_domain::webhook::{DisableCause, EndpointStatus, FailureKind, PayloadForm, WebhookPatch};
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::tests::{Kit, TAKEN, caller, done, failed};
use super::{Courier, Dispatcher, DispatcherParts, Message, Pace, Reply};
use crate::memory::MemoryStore;

/// How long a receiver that never answers is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Receivers, of which some never answer; by the organization, which the ids of messages name.
#[derive(Default)]
struct Receivers {
    dead: HashSet<OrganizationId>,
    /// How many came to each.
    got: Mutex<HashMap<OrganizationId, usize>>,
    /// How many are under way to each, and the most there were at once.
    open: Mutex<HashMap<OrganizationId, (usize, usize)>>,
}

impl Receivers {
    fn dead(organizations: &[OrganizationId]) -> Arc<Self> {
        Arc::new(Self { dead: organizations.iter().copied().collect(), ..Self::default() })
    }

    fn got(&self, organization: OrganizationId) -> usize {
        self.got.lock().unwrap().get(&organization).copied().unwrap_or_default()
    }

    /// The most there were at once since the last call.
    fn peak(&self, organization: OrganizationId) -> usize {
        let mut open = self.open.lock().unwrap();
        let (now, peak) = open.entry(organization).or_default();
        std::mem::replace(peak, *now)
    }
}

#[async_trait]
impl Courier for Receivers {
    async fn carry(&self, message: &Message) -> Reply {
        let organization = message.id.split('_').nth(1).unwrap().parse().unwrap();
        let organization = OrganizationId::parse(organization).unwrap();
        {
            let mut open = self.open.lock().unwrap();
            let (now, peak) = open.entry(organization).or_default();
            *now += 1;
            *peak = (*peak).max(*now);
        }
        let is_dead = self.dead.contains(&organization);
        if is_dead {
            tokio::time::sleep(PATIENCE).await;
        }
        self.open.lock().unwrap().entry(organization).or_default().0 -= 1;
        *self.got.lock().unwrap().entry(organization).or_default() += 1;
        if is_dead { failed(FailureKind::Timeout) } else { TAKEN }
    }
}

impl Kit {
    /// Another organization with endpoints and customers.
    async fn lender(&self, endpoints: usize, customers: usize) -> OrganizationId {
        let organization = self.store.add_organization("Lender", self.clock.now().at).await.unwrap();
        let here = self.of(organization);
        for _ in 0..endpoints {
            here.endpoint(&["customer.created"], PayloadForm::Thin).await;
        }
        for number in 0..customers {
            here.customer(&format!("c{number}")).await;
        }
        organization
    }

    /// Runs a dispatcher while something else is done.
    async fn run<T>(&self, parts: DispatcherParts, pace: Pace, meanwhile: impl Future<Output = T>) -> T {
        let stop = CancellationToken::new();
        let running = tokio::spawn(Dispatcher::new(parts, pace).run(stop.clone()));
        let done = meanwhile.await;
        stop.cancel();
        running.await.unwrap();
        done
    }

    fn sending_to(&self, receivers: &Arc<Receivers>) -> DispatcherParts {
        DispatcherParts { courier: receivers.clone(), ..self.parts.clone() }
    }
}

/// How often a store was asked.
#[derive(Default)]
struct Asked {
    claims: AtomicUsize,
    renewals: AtomicUsize,
    enqueues: AtomicUsize,
}

/// The store, which counts what it is asked.
fn counted(store: &Arc<MemoryStore>, asked: &Arc<Asked>) -> Arc<dyn WebhookStore> {
    macro_rules! pass_on {
        ($mock:ident, $($expect:ident $call:ident ($($argument:ident),*) $counter:expr;)*) => {$(
            let (inner, asks) = (store.clone(), Arc::clone(asked));
            $mock.$expect().returning(move |$($argument),*| {
                let counter: fn(&Asked) -> Option<&AtomicUsize> = $counter;
                if let Some(counter) = counter(&asks) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                inner.$call($($argument),*).now_or_never().expect("this store never waits")
            });
        )*};
    }
    let mut mock = MockWebhookStore::new();
    pass_on!(mock,
        expect_endpoints endpoints(organization) |_| None;
        expect_endpoint endpoint(organization, id) |_| None;
        expect_claim claim(owner, now, until, limit, except) |asked| Some(&asked.claims);
        expect_renew renew(owner, organizations, until) |asked| Some(&asked.renewals);
        expect_release release(owner, organization) |_| None;
        expect_enqueue enqueue(organization, owner, now, limit) |asked| Some(&asked.enqueues);
        expect_due due(organization, now, each, limit) |_| None;
        expect_settle settle(organization, owner, settlements) |_| None;
        expect_next_due next_due(organization) |_| None;
    );
    Arc::new(mock)
}

#[tokio::test(start_paused = true)]
async fn as_many_organizations_at_dead_endpoints_as_are_worked_on_do_not_stop_another() {
    let kit = Kit::new().await;
    let dead = [kit.lender(1, 60).await, kit.lender(1, 60).await, kit.lender(1, 60).await];
    let healthy = kit.lender(1, 5).await;
    let receivers = Receivers::dead(&dead);
    let pace = Pace { organizations: 2, ..Pace::default() };
    let wait = tokio::time::sleep(Duration::from_mins(1));
    kit.run(kit.sending_to(&receivers), pace, wait).await;
    assert_eq!(receivers.got(healthy), 5);
    assert!(dead.iter().all(|organization| receivers.got(*organization) > 0), "all come to their turn");
}

#[tokio::test(start_paused = true)]
async fn an_organization_never_has_more_than_a_quarter_of_the_slots() {
    let kit = Kit::new().await;
    let (dead, healthy) = (kit.lender(8, 20).await, kit.lender(1, 40).await);
    let receivers = Receivers::dead(&[dead]);
    let pace = Pace { concurrency: 16, ..Pace::default() };
    let wait = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        (receivers.got(healthy), receivers.peak(dead))
    };
    let (got, peak) = kit.run(kit.sending_to(&receivers), pace, wait).await;
    assert_eq!((got, peak), (40, 4));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_did_not_answer_gets_one_attempt_at_a_time() {
    let kit = Kit::new().await;
    let dead = kit.lender(1, 40).await;
    let receivers = Receivers::dead(&[dead]);
    let wait = async {
        tokio::time::sleep(PATIENCE + Duration::from_millis(500)).await;
        let first = receivers.peak(dead);
        tokio::time::sleep(PATIENCE + PATIENCE).await;
        receivers.peak(dead);
        tokio::time::sleep(PATIENCE + PATIENCE).await;
        (first, receivers.peak(dead))
    };
    let peaks = kit.run(kit.sending_to(&receivers), Pace::default(), wait).await;
    assert_eq!(peaks, (8, 1));
}

#[tokio::test(start_paused = true)]
async fn half_of_the_slots_are_never_for_endpoints_that_did_not_answer() {
    let kit = Kit::new().await;
    let dead = [kit.lender(3, 40).await, kit.lender(3, 40).await, kit.lender(3, 40).await];
    let receivers = Receivers::dead(&dead);
    let pace = Pace { concurrency: 12, ..Pace::default() };
    let wait = async {
        tokio::time::sleep(PATIENCE * 3).await;
        let healthy = kit.lender(1, 100).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        receivers.got(healthy)
    };
    let got = kit.run(kit.sending_to(&receivers), pace, wait).await;
    assert_eq!(got, 100);
}

#[tokio::test(start_paused = true)]
async fn commits_of_others_do_not_drive_the_work_on_an_organization() {
    let kit = Kit::new().await;
    let (dead, other) = (kit.lender(1, 1).await, kit.lender(0, 0).await);
    let receivers = Receivers::dead(&[dead]);
    let asked = Arc::new(Asked::default());
    let parts = DispatcherParts { webhooks: counted(&kit.store, &asked), ..kit.sending_to(&receivers) };
    let here = kit.of(other);
    let wait = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        asked.enqueues.store(0, Ordering::Relaxed);
        for number in 0..200 {
            here.customer(&format!("o{number}")).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        asked.enqueues.load(Ordering::Relaxed)
    };
    let enqueues = kit.run(parts, Pace::default(), wait).await;
    assert!(enqueues <= 3, "{enqueues} for 200 commits of another within two seconds");
}

#[tokio::test(start_paused = true)]
async fn a_retry_whose_endpoint_was_deleted_is_not_asked_for_again_and_again() {
    let kit = Kit::new().await;
    let endpoint = kit.endpoint(&["customer.created"], PayloadForm::Thin).await;
    kit.customer("ada").await;
    kit.letters.answer(&[failed(FailureKind::Connect)]);
    let asked = Arc::new(Asked::default());
    let parts = DispatcherParts { webhooks: counted(&kit.store, &asked), ..kit.parts.clone() };
    let wait = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(kit.letters.taken().len(), 1);
        kit.registry.delete_webhook(&caller(), endpoint, done).await;
        kit.clock.advance(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(2)).await;
        asked.claims.store(0, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_mins(1)).await;
        asked.claims.load(Ordering::Relaxed)
    };
    let claims = kit.run(parts, Pace::default(), wait).await;
    assert!(claims <= 61, "{claims} within a minute in which there was nothing to do");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_comes_when_the_lease_is_nearly_over_is_not_used() {
    let kit = Kit::new().await;
    kit.endpoint(&["customer.created"], PayloadForm::Thin).await;
    kit.customer("ada").await;
    let dispatcher = Dispatcher::new(kit.parts.clone(), Pace { concurrency: 1, ..Pace::default() });
    let slot = Arc::clone(&dispatcher.slots).acquire_owned().await.unwrap();
    let now = kit.clock.now().at;
    let until = now.later_by(Duration::from_secs(30));
    kit.store.claim(dispatcher.owner, now, until, 1, &[]).await.unwrap();
    let (lease, stop) = (AtomicI64::new(until.microseconds()), CancellationToken::new());
    let others = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        kit.clock.advance(Duration::from_secs(15));
        drop(slot);
    };
    tokio::join!(dispatcher.work(OrganizationId::FIRST, &lease, &stop), others);
    assert!(kit.letters.taken().is_empty());
    dispatcher.pass().await.unwrap();
    assert_eq!(kit.letters.taken().len(), 1, "under a new lease it is");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_while_it_is_worked_under_and_renewed_now_and_then() {
    let kit = Kit::new().await;
    let dead = kit.lender(1, 40).await;
    let receivers = Receivers::dead(&[dead]);
    let asked = Arc::new(Asked::default());
    let parts = DispatcherParts { webhooks: counted(&kit.store, &asked), ..kit.sending_to(&receivers) };
    let wait = async {
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            kit.clock.advance(Duration::from_secs(1));
            let now = kit.clock.now().at;
            assert!(kit.store.claim(7, now, now, 9, &[]).await.unwrap().is_empty(), "another one takes it");
        }
        asked.renewals.load(Ordering::Relaxed)
    };
    let renewals = kit.run(parts, Pace::default(), wait).await;
    assert!((10..=21).contains(&renewals), "{renewals} within 100 seconds");
    assert!(receivers.got(dead) > 10);
}

#[tokio::test(start_paused = true)]
async fn of_several_organizations_that_never_pause_each_is_offered_to_others_in_turn_but_a_sole_one_is_kept() {
    let another_had = |others: u16| async move {
        let kit = Kit::new().await;
        let mut dead = Vec::new();
        for _ in 0..others {
            dead.push(kit.lender(1, 40).await);
        }
        let receivers = Receivers::dead(&dead);
        let mut had = HashSet::new();
        let wait = async {
            for _ in 0..120 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                kit.clock.advance(Duration::from_secs(1));
                let now = kit.clock.now().at;
                let claimed = kit.store.claim(7, now, now.later_by(Duration::from_secs(1)), 1, &[]).await.unwrap();
                for organization in &claimed {
                    kit.store.release(7, *organization).await.unwrap();
                }
                had.extend(claimed);
            }
        };
        kit.run(kit.sending_to(&receivers), Pace::default(), wait).await;
        had.len()
    };
    assert_eq!(another_had(3).await, 3);
    assert_eq!(another_had(1).await, 0);
}

#[tokio::test]
async fn an_endpoint_that_was_changed_since_it_answered_410_stays_enabled() {
    let kit = Kit::new().await;
    let endpoint = kit.endpoint(&[], PayloadForm::Thin).await;
    let sent_to = kit.store.endpoint(OrganizationId::FIRST, endpoint).await.unwrap().unwrap().version();
    let patch = WebhookPatch { form: Some(PayloadForm::Full), ..WebhookPatch::default() };
    kit.registry.update_webhook(&caller(), endpoint, &patch, done).await;
    let dispatcher = kit.dispatcher();
    dispatcher.disable(OrganizationId::FIRST, endpoint, sent_to).await;
    assert_eq!(kit.status(endpoint).await, EndpointStatus::Enabled);
    dispatcher.disable(OrganizationId::FIRST, endpoint, sent_to.next()).await;
    assert!(matches!(kit.status(endpoint).await, EndpointStatus::Disabled { cause: DisableCause::Gone, .. }));
}

/// Breaks off whatever it is given.
struct Clumsy;

#[async_trait]
impl Courier for Clumsy {
    async fn carry(&self, _: &Message) -> Reply {
        panic!("it was dropped")
    }
}

#[tokio::test]
async fn an_attempt_that_breaks_off_is_settled_as_one_that_failed() {
    let kit = Kit::new().await;
    let endpoint = kit.endpoint(&[], PayloadForm::Thin).await;
    kit.customer("ada").await;
    let parts = DispatcherParts { courier: Arc::new(Clumsy), ..kit.parts.clone() };
    let next = Dispatcher::new(parts, Pace::default()).pass().await.unwrap();
    assert!(next > Some(kit.clock.now().at), "by the schedule");
    assert_eq!(kit.log(endpoint).await[0].log[0].failure, Some(FailureKind::Protocol));
}
