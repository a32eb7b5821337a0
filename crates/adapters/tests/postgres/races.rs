//! Several programs on one database at once, each with its own connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use custodia_domain::ports::{CommitError, Committed, Counter, LoggedEvent};
use custodia_domain::{CustomerChange, CustomerId, OrganizationId, Unit};

use crate::support::{
    Stage, at, call_at, call_it, changed, created, events_of, keyed, known_as, mirrored, named, number, postgres_at,
    postgres_schema, unit,
};

/// Several programs on one database.
pub async fn programs(count: usize) -> Vec<Arc<Stage>> {
    let url = postgres_schema().await;
    let mut programs = Vec::new();
    for _ in 0..count {
        programs.push(Arc::new(Stage::over(postgres_at(&url).await)));
    }
    programs
}

/// Commits each batch in a task of its own, spread over the programs, all at once.
async fn commit_at_once(programs: &[Arc<Stage>], batches: Vec<Vec<Unit>>) -> Vec<Result<Committed, CommitError>> {
    let tasks: Vec<_> = batches
        .into_iter()
        .enumerate()
        .map(|(index, batch)| {
            let program = Arc::clone(&programs[index % programs.len()]);
            tokio::spawn(async move { program.store.commit(batch).await })
        })
        .collect();
    let mut verdicts = Vec::new();
    for task in tasks {
        verdicts.extend(task.await.unwrap());
    }
    verdicts
}

/// That the events are the committed changes, their sequences ascend, and the count is right.
async fn check_books(program: &Stage, organization: OrganizationId, customers: usize, events: usize) {
    assert_eq!(program.total(organization).await, customers as u64);
    let mut feed = Vec::new();
    let mut query = events_of(organization);
    loop {
        let page = program.store.events(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.after = Some(last.sequence);
        feed.extend(page);
    }
    assert_eq!(feed.len(), events);
    assert!(feed.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let versions: BTreeSet<_> = feed
        .iter()
        .map(|entry| match &entry.event {
            LoggedEvent::Customer(event) => (event.customer(), event.version()),
            LoggedEvent::Record(event) => panic!("a record's event: {:?}", event.kind),
        })
        .collect();
    assert_eq!(versions.len(), events, "each version is there once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_creations_of_one_external_id_one_wins() {
    let programs = programs(3).await;
    let organization = programs[0].organization().await;
    let batches = (1..=200).map(|id| {
        let wanted = created(organization, number(id), mirrored("ext-1")).1;
        let other = created(organization, number(1_000 + id), named("Ada")).1;
        vec![unit(organization, vec![wanted]), unit(organization, vec![other])]
    });
    let verdicts = commit_at_once(&programs, batches.collect()).await;
    let taken = verdicts.iter().filter(|verdict| matches!(verdict, Err(CommitError::ExternalIdTaken(_)))).count();
    let committed: BTreeSet<_> = verdicts.iter().flatten().map(|committed| committed.last_sequence).collect();
    assert_eq!((taken, committed.len()), (199, 201));
    check_books(&programs[0], organization, 201, 201).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_units_under_one_key_one_is_kept_and_the_others_leave_nothing() {
    let programs = programs(3).await;
    let organization = programs[0].organization().await;
    let ada = programs[0].create_named(organization, "Ada").await;
    let batches = (1..=100).map(|id| {
        let changes = match id % 3 {
            0 => vec![created(organization, number(100 + id), named("Grace")).1],
            1 => vec![changed(ada.clone(), call_at("555"))],
            _ => Vec::new(),
        };
        vec![keyed(organization, changes, 7)]
    });
    let verdicts = commit_at_once(&programs, batches.collect()).await;
    let committed: Vec<_> = verdicts.iter().flatten().collect();
    assert_eq!(committed.len(), 1);
    let refused = verdicts.iter().filter_map(|verdict| verdict.as_ref().err());
    for error in refused {
        // A change of Ada may lose to the one that was kept before its key is looked at.
        assert!(matches!(error, CommitError::ReceiptTaken | CommitError::VersionConflict(_)), "{error:?}");
    }
    let events = programs[0].feed(organization).await.len();
    let created = u64::from(programs[0].total(organization).await == 2);
    assert!(events <= 2 && created <= 1);
    assert_eq!(programs[0].feed(organization).await.len(), 1 + usize::from(committed[0].last_sequence.is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_changes_of_one_version_one_applies() {
    let programs = programs(3).await;
    let organization = programs[0].organization().await;
    let ada = programs[0].create_named(organization, "Ada").await;
    let grace = programs[0].create_named(organization, "Grace").await;
    let batches = (0..100).map(|index| {
        let change = changed(ada.clone(), call_at("555"));
        if index % 2 == 0 {
            return vec![unit(organization, vec![change])];
        }
        // The general way: two customers in one unit.
        vec![unit(organization, vec![changed(grace.clone(), call_at("556")), change])]
    });
    let verdicts = commit_at_once(&programs, batches.collect()).await;
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_ok()).count(), 1);
    assert!(
        verdicts
            .iter()
            .filter_map(|verdict| verdict.as_ref().err())
            .all(|error| { matches!(error, CommitError::VersionConflict(_)) })
    );
    let events = programs[0].feed(organization).await.len();
    check_books(&programs[0], organization, 2, events).await;
    assert!(events == 3 || events == 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_ids_that_cross_neither_deadlock_nor_double() {
    let programs = programs(2).await;
    let organization = programs[0].organization().await;
    let batches = (0..60).map(|index| {
        let mut units = Vec::new();
        for step in 0..10_i64 {
            // Half of the batches want the same names in the opposite order.
            let name = if index % 2 == 0 { step } else { 9 - step };
            let new = known_as("Ada", &format!("ext-{name}"));
            units.push(unit(organization, vec![created(organization, number(index * 10 + step + 1), new).1]));
        }
        units
    });
    let verdicts = commit_at_once(&programs, batches.collect()).await;
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_ok()).count(), 10);
    assert!(
        verdicts
            .iter()
            .filter_map(|verdict| verdict.as_ref().err())
            .all(|error| { matches!(error, CommitError::ExternalIdTaken(_)) })
    );
    check_books(&programs[0], organization, 10, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_of_one_call_may_build_on_one_another() {
    let programs = programs(1).await;
    let organization = programs[0].organization().await;
    let (ada, creation) = created(organization, number(1), mirrored("ext-1"));
    let mut renamed = ada.clone();
    let event = call_it("ext-2")(&mut renamed);
    let renaming = CustomerChange::kept(renamed.clone(), vec![event]);
    let deletion = CustomerChange::gone(renamed.delete(crate::support::moment(9)).unwrap());
    let heirs = [(2, "ext-1"), (3, "ext-2")].map(|(id, name)| created(organization, number(id), mirrored(name)).1);
    let changes = [creation, renaming, deletion].into_iter().chain(heirs);
    let units = changes.map(|change| unit(organization, vec![change])).collect();
    for verdict in programs[0].store.commit(units).await {
        verdict.unwrap();
    }
    check_books(&programs[0], organization, 2, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_feed_skips_nothing_while_programs_write() {
    const WRITERS: i64 = 8;
    const EACH: i64 = 40;
    let programs = programs(3).await;
    let organization = programs[0].organization().await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (program, done) = (Arc::clone(&programs[0]), Arc::clone(&done));
        tokio::spawn(async move {
            let mut query = events_of(organization);
            query.limit = 7;
            let mut seen = Vec::new();
            loop {
                let is_last = done.load(Ordering::SeqCst);
                let page = program.store.events(&query).await.unwrap();
                if page.is_empty() && is_last {
                    return seen;
                }
                query.after = page.last().map(|entry| entry.sequence).or(query.after);
                seen.extend(page.into_iter().filter_map(|entry| match entry.event {
                    LoggedEvent::Customer(event) => Some(event.customer()),
                    LoggedEvent::Record(_) => None,
                }));
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let program = Arc::clone(&programs[usize::try_from(writer).unwrap() % programs.len()]);
            tokio::spawn(async move {
                for step in 0..EACH {
                    let id = number(writer * EACH + step + 1);
                    // Some are refused, and leave gaps in the sequence.
                    let new = known_as("Ada", &format!("ext-{}", id.get() - id.get() % 4));
                    let wanted = created(organization, id, new).1;
                    let other = created(organization, number(id.get() + 10_000), named("Grace")).1;
                    let units = vec![unit(organization, vec![wanted]), unit(organization, vec![other])];
                    for verdict in program.store.commit(units).await {
                        assert!(matches!(verdict, Ok(_) | Err(CommitError::ExternalIdTaken(_))), "{verdict:?}");
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let seen = reader.await.unwrap();
    let distinct: BTreeSet<CustomerId> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len(), "nothing was read twice");
    let total = usize::try_from(programs[0].total(organization).await).unwrap();
    assert_eq!(seen.len(), total, "nothing was skipped");
    check_books(&programs[0], organization, total, total).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_given_once_whoever_asks() {
    let programs = programs(3).await;
    let organization = programs[0].organization().await;
    let tasks: Vec<_> = (0..60)
        .map(|index| {
            let program = Arc::clone(&programs[index % programs.len()]);
            tokio::spawn(async move {
                let first = program.store.reserve(organization, Counter::Customers, 3).await.unwrap().unwrap();
                if index % 2 == 1 {
                    return vec![first, first + 1, first + 2];
                }
                program.customers().release(organization, Counter::Customers, first + 1, first + 3).await.unwrap();
                vec![first]
            })
        })
        .collect();
    let mut given = Vec::new();
    for task in tasks {
        given.extend(task.await.unwrap());
    }
    let distinct: BTreeSet<i64> = given.iter().copied().collect();
    assert_eq!(distinct.len(), given.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_and_offices_added_at_once_get_numbers_of_their_own() {
    let programs = programs(2).await;
    let adding = (0..8).map(|index| programs[index % 2].store.add_organization("Lender", at(0)));
    let organizations: BTreeSet<_> = futures::future::join_all(adding).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(organizations.len(), 8);
    let organization = *organizations.first().unwrap();
    let names: Vec<_> =
        (0..8).map(|index| custodia_domain::OfficeName::parse(&format!("Office {index}")).unwrap()).collect();
    let adding =
        names.iter().enumerate().map(|(index, name)| programs[index % 2].store.add_office(organization, name, at(0)));
    let offices: BTreeSet<_> = futures::future::join_all(adding).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(offices.len(), 8);
}
