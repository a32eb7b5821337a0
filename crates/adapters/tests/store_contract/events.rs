//! `CustomerStore::events` and `CustomerStore::history`.

use std::sync::Arc;

use custodia_domain::ports::{EventQuery, RecordedEvent};
use custodia_domain::{
    Actor, Audit, Customer, CustomerChange, EventKind, NewCustomer, OrganizationId, RequestId, Sequence, Unit, Version,
};
use futures::future::join_all;

use crate::support::{
    Stage, activate, audit, call_at, call_it, changed, close, created, day, events_of, known_as, moment, named, number,
    person, unit,
};

fn told(events: &[RecordedEvent]) -> Vec<(i64, &'static str)> {
    events.iter().map(|recorded| (recorded.event.customer().get(), recorded.event.kind().name())).collect()
}

/// One customer that lives to the end, one that is deleted.
async fn lives(stage: &Stage, organization: OrganizationId) {
    let ada = stage.create(organization, known_as("Ada", "ext-1")).await;
    let eve = stage.create_named(organization, "Eve").await;
    let ada = stage.change(ada, call_at("1")).await;
    let ada = stage.change(ada, activate("2026-05-22")).await;
    stage.delete(eve).await;
    stage.change(ada, close("2026-05-22")).await;
}

async fn events_come_in_the_order_of_their_commits(stage: Stage) {
    let organization = stage.organization().await;
    lives(&stage, organization).await;
    let feed = stage.feed(organization).await;
    let wanted = [
        (1, "customer.created"),
        (2, "customer.created"),
        (1, "customer.updated"),
        (1, "customer.activated"),
        (2, "customer.deleted"),
        (1, "customer.closed"),
    ];
    assert_eq!(told(&feed), wanted);
    assert!(feed.is_sorted_by(|left, right| left.sequence < right.sequence));
}

async fn a_reader_may_stop_at_a_sequence(stage: Stage) {
    let organization = stage.organization().await;
    lives(&stage, organization).await;
    let feed = stage.feed(organization).await;
    let (after, through) = (Some(feed[1].sequence), Some(feed[4].sequence));
    let part = stage.picked(&EventQuery { after, through, ..events_of(organization) }).await;
    assert_eq!(part, feed[2..5]);
    let named = EventQuery { through, kinds: vec!["customer.activated", "customer.closed"], ..events_of(organization) };
    assert_eq!(stage.picked(&named).await, feed[3..4]);
    let of_one = EventQuery { customer: Some(number(1)), through, ..events_of(organization) };
    assert_eq!(told(&stage.picked(&of_one).await).len(), 3);
}

async fn the_last_sequence_of_each_organization_is_known(stage: Stage) {
    let (mine, empty) = (stage.organization().await, stage.organization().await);
    lives(&stage, mine).await;
    let last = stage.feed(mine).await.last().map(|recorded| recorded.sequence);
    assert!(last.is_some());
    let unknown = OrganizationId::parse(i64::MAX).unwrap();
    let asked = stage.customers().last_sequences(&[empty, mine, unknown, mine]).await.unwrap();
    assert_eq!(asked, [None, last, None, last]);
}

async fn a_reader_goes_on_after_the_last_sequence_it_has_seen(stage: Stage) {
    let organization = stage.organization().await;
    lives(&stage, organization).await;
    let whole = stage.feed(organization).await;
    let mut seen: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = seen.last().map(|recorded| recorded.sequence);
        let part = stage.picked(&EventQuery { after, limit: 4, ..events_of(organization) }).await;
        assert!(part.len() <= 4);
        if part.is_empty() {
            break;
        }
        seen.extend(part);
    }
    assert_eq!(seen, whole);
    let beyond = EventQuery { after: Some(Sequence::parse(i64::MAX).unwrap()), ..events_of(organization) };
    assert!(stage.picked(&beyond).await.is_empty());
}

async fn kinds_and_customers_are_picked_out(stage: Stage) {
    let organization = stage.organization().await;
    lives(&stage, organization).await;
    let feed = stage.feed(organization).await;
    let cases = [
        (vec![EventKind::Created], None, vec![0, 1]),
        (vec![EventKind::Closed, EventKind::Deleted], None, vec![4, 5]),
        (vec![], Some(2), vec![1, 4]),
        (vec![EventKind::Created, EventKind::Closed], Some(1), vec![0, 5]),
        (vec![], Some(99), vec![]),
    ];
    for (kinds, customer, wanted) in cases {
        let kinds = kinds.into_iter().map(EventKind::name).collect();
        let query = EventQuery { kinds, customer: customer.map(number), ..events_of(organization) };
        let picked = stage.picked(&query).await;
        assert_eq!(picked, wanted.iter().map(|at: &usize| feed[*at].clone()).collect::<Vec<_>>(), "{query:?}");
    }
    let query =
        EventQuery { after: Some(feed[0].sequence), customer: Some(number(1)), limit: 2, ..events_of(organization) };
    assert_eq!(stage.picked(&query).await, [feed[2].clone(), feed[3].clone()]);
}

async fn an_event_comes_back_with_its_changes_and_circumstances(stage: Stage) {
    let organization = stage.organization().await;
    let new = NewCustomer {
        name: person("Ada", Some("\u{1F980} \"quoted\" \\"), "O'Brien"),
        born: Some(day("0001-01-01")),
        ..known_as("x", "ext/ü")
    };
    let (ada, change) = created(organization, number(1), new);
    let told = Audit {
        actor: Actor::new("token:partner-1"),
        request_id: RequestId::parse("a").unwrap(),
        idempotency_key: Some("key \"1\"".into()),
        reason: Some("Ünicode, on\u{a0}request".into()),
    };
    let event = change.events()[0].clone();
    stage.commit(Unit { audit: told.clone(), ..unit(organization, vec![change]) }).await.unwrap();
    let change = changed(ada, call_it("ext/2"));
    let second = change.events()[0].clone();
    stage.commit(unit(organization, vec![change])).await.unwrap();
    let feed = stage.feed(organization).await;
    assert_eq!((&feed[0].event, &feed[0].audit), (&event, &told));
    assert_eq!((&feed[1].event, &feed[1].audit), (&second, &audit()));
}

async fn events_rebuild_the_customer_that_is_stored(stage: Stage) {
    let organization = stage.organization().await;
    lives(&stage, organization).await;
    let of = |customer| EventQuery { customer: Some(number(customer)), ..events_of(organization) };
    let events = |recorded: Vec<RecordedEvent>| recorded.into_iter().map(|recorded| recorded.event).collect::<Vec<_>>();
    let ada = events(stage.picked(&of(1)).await);
    let stored = stage.find(organization, number(1)).await;
    assert_eq!(Customer::replay(organization, &ada).unwrap(), stored);
    let eve = events(stage.picked(&of(2)).await);
    assert_eq!(Customer::replay(organization, &eve).unwrap(), None);
    assert!(eve[1].changes().is_empty(), "a deletion bears no personal data");
}

async fn a_history_is_newest_first_and_outlives_its_customer(stage: Stage) {
    let organization = stage.organization().await;
    lives(&stage, organization).await;
    let history = async |customer, before: Option<i64>, limit| {
        let before = before.map(|version| Version::parse(version).unwrap());
        let recorded = stage.store.history(organization, number(customer), before, limit).await.unwrap();
        recorded.iter().map(|recorded| recorded.event.version().get()).collect::<Vec<_>>()
    };
    assert_eq!(history(1, None, 500).await, [4, 3, 2, 1]);
    assert_eq!(history(1, Some(4), 2).await, [3, 2]);
    assert_eq!(history(1, Some(2), 2).await, [1]);
    assert!(history(1, Some(1), 2).await.is_empty());
    assert_eq!(history(2, None, 1).await, [2]);
    assert!(history(3, None, 10).await.is_empty());
    let mut newest_first = stage.store.history(organization, number(1), None, 500).await.unwrap();
    newest_first.reverse();
    let query = EventQuery { customer: Some(number(1)), ..events_of(organization) };
    assert_eq!(newest_first, stage.picked(&query).await);
}

async fn a_deletion_leaves_nothing_of_its_customer_in_the_log(stage: Stage) {
    let (organization, theirs) = (stage.organization().await, stage.organization().await);
    let because = |reason: &str| Audit { reason: Some(reason.into()), ..audit() };
    let (eve, creation) = created(organization, stage.id(organization).await, known_as("Eve", "ext-eve"));
    let audit = because("asked by eve@example.com");
    stage.commit(Unit { audit, ..unit(organization, vec![creation]) }).await.unwrap();
    let eve = stage.change(eve, call_at("1")).await;
    let ada = stage.create(organization, known_as("Ada", "ext-ada")).await;
    stage.create(theirs, known_as("Eve", "ext-eve")).await;
    let before = (stage.feed(organization).await, stage.feed(theirs).await);

    let stale = CustomerChange::gone(changed_back(&eve).delete(moment(8)).unwrap());
    assert!(stage.commit(unit(organization, vec![stale])).await.is_err());
    assert_eq!(
        (stage.feed(organization).await, stage.feed(theirs).await),
        before,
        "nothing is gone: nothing is erased"
    );

    let gone = CustomerChange::gone(eve.delete(moment(9)).unwrap());
    stage.commit(Unit { audit: because("the law"), ..unit(organization, vec![gone]) }).await.unwrap();
    let after = stage.feed(organization).await;
    assert_eq!(after.len(), 4);
    for (event, was) in after.iter().zip(&before.0) {
        let is_hers = event.event.customer() == number(1);
        let left = if is_hers { was.event.clone().erased() } else { was.event.clone() };
        assert_eq!((event.sequence, &event.event), (was.sequence, &left));
        let reason = was.audit.reason.clone().filter(|_| !is_hers);
        assert_eq!(event.audit, Audit { reason, ..was.audit.clone() });
    }
    assert_eq!((after[3].event.kind(), after[3].audit.reason.as_deref()), (EventKind::Deleted, Some("the law")));
    assert_eq!(stage.feed(theirs).await, before.1);
    assert_eq!(stage.find(organization, ada.id()).await, Some(ada));

    let history = stage.store.history(organization, number(1), None, 10).await.unwrap();
    let mut events: Vec<_> = history.into_iter().map(|recorded| recorded.event).collect();
    events.reverse();
    for length in 1..=events.len() {
        assert_eq!(Customer::replay(organization, &events[..length]), Ok(None), "nothing is left to rebuild");
    }
}

/// A customer as it was a version before.
fn changed_back(customer: &Customer) -> Customer {
    let mut state = customer.snapshot().clone();
    state.version = state.version.previous().unwrap();
    Customer::rehydrate(state).unwrap()
}

async fn a_deletion_among_others_erases_its_own_customer_alone(stage: Stage) {
    let organization = stage.organization().await;
    let (ada, eve) =
        (stage.create_named(organization, "Ada").await, stage.create(organization, known_as("Eve", "ext-1")).await);
    let (zoe, creation) = created(organization, number(3), known_as("Zoe", "ext-1"));
    let changes = vec![CustomerChange::gone(eve.delete(moment(9)).unwrap()), changed(ada, call_at("1")), creation];
    stage.commit(unit(organization, changes)).await.unwrap();
    let bare = |recorded: &RecordedEvent| (recorded.event.customer().get(), recorded.event.changes().is_empty());
    let told: Vec<_> = stage.feed(organization).await.iter().map(bare).collect();
    assert_eq!(told, [(1, false), (2, true), (2, true), (1, false), (3, false)]);
    assert_eq!(stage.find(organization, zoe.id()).await, Some(zoe));
}

async fn events_hold_one_organization_alone(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    lives(&stage, theirs).await;
    assert!(stage.feed(mine).await.is_empty());
    let query = EventQuery { customer: Some(number(1)), ..events_of(mine) };
    assert!(stage.picked(&query).await.is_empty());
    assert!(stage.store.history(mine, number(1), None, 10).await.unwrap().is_empty());
    let ada = stage.create_named(mine, "Ada").await;
    assert_eq!(told(&stage.feed(mine).await), [(ada.id().get(), "customer.created")]);
    assert_eq!(stage.feed(theirs).await.len(), 6);
}

async fn there_is_one_event_for_each_version(stage: Stage) {
    let organization = stage.organization().await;
    let mut customer = stage.create_named(organization, "Ada").await;
    for round in 0..10 {
        let stale = customer.clone();
        customer = stage.change(customer, call_at(if round % 2 == 0 { "1" } else { "2" })).await;
        let verdict = stage.commit(unit(organization, vec![changed(stale, activate("2026-05-22"))])).await;
        assert!(verdict.is_err());
    }
    let feed = stage.feed(organization).await;
    let versions: Vec<_> = feed.iter().map(|recorded| recorded.event.version().get()).collect();
    assert_eq!(versions, (1..=11).collect::<Vec<_>>());
}

/// Reads as a subscriber does, until it has seen so many.
async fn follow(stage: &Stage, organization: OrganizationId, count: usize) -> Vec<RecordedEvent> {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    while seen.len() < count {
        let after = seen.last().map(|recorded| recorded.sequence);
        seen.extend(stage.picked(&EventQuery { after, limit: 7, ..events_of(organization) }).await);
        tokio::task::yield_now().await;
    }
    seen
}

async fn a_reader_skips_nothing_while_eight_write(stage: Stage) {
    const WRITERS: i64 = 8;
    const ROUNDS: i64 = 25;
    let organization = stage.organization().await;
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&stage.store);
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let id = number(writer * ROUNDS + round + 1);
                let (customer, creation) = created(organization, id, named("Ada"));
                let deletion = CustomerChange::gone(customer.delete(moment(2)).unwrap());
                store.commit(vec![unit(organization, vec![creation])]).await.remove(0).unwrap();
                store.commit(vec![unit(organization, vec![deletion])]).await.remove(0).unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let count = usize::try_from(WRITERS * ROUNDS * 2).unwrap();
    let seen = follow(&stage, organization, count).await;
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    let mut whole = Vec::new();
    loop {
        let after = whole.last().map(|last: &RecordedEvent| last.sequence);
        let part = stage.picked(&EventQuery { after, ..events_of(organization) }).await;
        if part.is_empty() {
            break;
        }
        whole.extend(part);
    }
    // Who has read an event before its customer's deletion has read more of it.
    let place = |recorded: &RecordedEvent| (recorded.sequence, recorded.event.clone().erased());
    assert_eq!(seen.iter().map(place).collect::<Vec<_>>(), whole.iter().map(place).collect::<Vec<_>>());
    assert_eq!(seen.len(), count);
}

on_every_store! {
    events_come_in_the_order_of_their_commits,
    a_reader_goes_on_after_the_last_sequence_it_has_seen,
    a_reader_may_stop_at_a_sequence,
    the_last_sequence_of_each_organization_is_known,
    kinds_and_customers_are_picked_out,
    an_event_comes_back_with_its_changes_and_circumstances,
    events_rebuild_the_customer_that_is_stored,
    a_history_is_newest_first_and_outlives_its_customer,
    a_deletion_leaves_nothing_of_its_customer_in_the_log,
    a_deletion_among_others_erases_its_own_customer_alone,
    events_hold_one_organization_alone,
    there_is_one_event_for_each_version,
    a_reader_skips_nothing_while_eight_write,
}
