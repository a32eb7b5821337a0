//! What was, through the use cases: at every version of a random history, the customer as it was equals what was stored.

use std::sync::{Arc, Mutex};

use custodia_adapters::ids::BlockIds;
use custodia_adapters::memory::MemoryStore;
use custodia_domain::ports::{Clock, Selector};
use custodia_domain::registry::{AsOf, Caller, OfficeChoice, Ports, Precondition, Registry};
use custodia_domain::testing as any;
use custodia_domain::{
    Actor, Answer, Customer, Moment, NewCustomer, OfficeId, OrganizationId, RequestId, Timestamp, Version,
};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::support::{Stage, moment};

/// How many histories.
const LIVES: usize = 24;

/// Tells what it was told.
struct Told(Mutex<Moment>);

impl Clock for Told {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }
}

fn registry(stage: &Stage, clock: &Arc<Told>) -> Registry {
    let store = &stage.store;
    Registry::new(Ports {
        customers: stage.customers(),
        directory: Arc::clone(store) as _,
        accounts: Arc::clone(store) as _,
        loans: Arc::clone(store) as _,
        scores: Arc::clone(store) as _,
        webhooks: Arc::new(MemoryStore::new()),
        clock: Arc::clone(clock) as _,
        ids: Arc::new(BlockIds::new(stage.customers())),
    })
}

fn caller(organization: OrganizationId) -> Caller {
    Caller {
        organization,
        actor: Actor::new("key:3"),
        request_id: RequestId::parse("r-1").unwrap(),
        key: None,
        precondition: Precondition::None,
        reason: None,
    }
}

/// What created that customer.
fn draft(customer: &Customer) -> NewCustomer {
    let state = customer.snapshot().clone();
    NewCustomer {
        external_id: state.external_id,
        office: OfficeId::FIRST,
        activated: customer.activated_on(),
        submitted: Some(state.submitted),
        name: state.name,
        mobile: state.mobile,
        email: state.email,
        born: state.born,
        gender: state.gender,
        client_type: state.client_type,
        legal_form: state.legal_form,
        acquisition: state.acquisition,
        enrolment: state.enrolment,
    }
}

fn status(code: u16) -> Answer {
    Answer { status: code, headers: Vec::new(), body: Vec::new() }
}

/// Lives a random life; every state that was stored, the last one being `None` after a deletion.
async fn live(
    stage: &Stage,
    registry: &Registry,
    clock: &Told,
    caller: &Caller,
    runner: &mut TestRunner,
) -> Vec<Option<Customer>> {
    let ((customer, _), commands) = (any::customer(), any::command_sequence(24)).new_tree(runner).unwrap().current();
    let born = Moment { at: customer.created_at(), today: customer.created_at().date_utc() };
    *clock.0.lock().unwrap() = born;
    let id = Mutex::new(None);
    let created = registry.create(
        caller,
        OfficeChoice::Given(OfficeId::FIRST),
        |_| draft(&customer),
        |result| {
            *id.lock().unwrap() = Some(result.unwrap().customer.id());
            status(200)
        },
    );
    created.await;
    let id = id.into_inner().unwrap().unwrap();
    let mut states = vec![stage.find(caller.organization, id).await];
    for (command, now) in commands {
        *clock.0.lock().unwrap() = now;
        let by_id = Selector::Id(id);
        let answer =
            registry.command(caller, &by_id, &command, |result| status(if result.is_ok() { 200 } else { 409 })).await;
        let stored = stage.find(caller.organization, id).await;
        if answer.status == 200 && states.last() != Some(&stored) {
            states.push(stored);
        }
    }
    states
}

async fn the_customer_as_it_was_equals_what_was_stored_at_every_version(stage: Stage) {
    let organization = stage.organization().await;
    let clock = Arc::new(Told(Mutex::new(moment(0))));
    let registry = registry(&stage, &clock);
    let caller = caller(organization);
    let mut runner = TestRunner::deterministic();
    for _ in 0..LIVES {
        let states = live(&stage, &registry, &clock, &caller, &mut runner).await;
        let alive: Vec<&Customer> = states.iter().flatten().collect();
        let selector = Selector::Id(alive[0].id());
        let as_of = async |as_of| {
            registry.as_of(organization, selector.clone(), as_of).await.unwrap().map(|view| view.customer)
        };
        let deleted = states.last().unwrap().is_none();
        for (number, state) in (1..).zip(&alive) {
            let shown = as_of(AsOf::Version(Version::parse(number).unwrap())).await;
            assert_eq!(shown.as_ref(), (!deleted).then_some(*state));
            let at = state.updated_at();
            let shown = as_of(AsOf::Instant(at)).await;
            let then = alive.iter().rfind(|state| state.updated_at() <= at);
            assert_eq!(shown.as_ref(), then.copied().filter(|_| !deleted));
        }
        let before = Timestamp::from_microseconds(alive[0].created_at().microseconds() - 1).unwrap();
        assert_eq!(as_of(AsOf::Instant(before)).await, None);
        assert_eq!(as_of(AsOf::Version(alive.last().unwrap().version().next())).await, None);
        // What its external id was is free for the next one.
        if let Some(customer) = states.last().unwrap() {
            let patch = custodia_domain::CustomerPatch {
                external_id: Some(crate::support::external(&format!("past-{}", customer.id()))),
                ..Default::default()
            };
            let command = custodia_domain::registry::Command::Update(patch);
            let _ = registry.command(&caller, &selector, &command, |_| status(200)).await;
        }
    }
}

on_every_store! {
    the_customer_as_it_was_equals_what_was_stored_at_every_version,
}
