//! `CustomerStore::reserve` and `CustomerStore::release`, and the ids that come out of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use custodia_adapters::ids::BlockIds;
use custodia_domain::OrganizationId;
use custodia_domain::ports::{Counter, IdSource};
use futures::future::join_all;

use crate::support::Stage;

async fn reserve(stage: &Stage, organization: OrganizationId, count: u32) -> i64 {
    stage.store.reserve(organization, Counter::Customers, count).await.unwrap().unwrap()
}

async fn release(stage: &Stage, organization: OrganizationId, first: i64, next: i64) {
    stage.customers().release(organization, Counter::Customers, first, next).await.unwrap();
}

async fn ids(source: &BlockIds, organization: OrganizationId, count: usize) -> Vec<i64> {
    source.numbers(organization, Counter::Customers, count).await.unwrap()
}

async fn numbers_begin_at_one_and_go_on_from_call_to_call(stage: Stage) {
    let organization = stage.organization().await;
    assert_eq!(reserve(&stage, organization, 1).await, 1);
    assert_eq!(reserve(&stage, organization, 1000).await, 2);
    assert_eq!(reserve(&stage, organization, 1).await, 1002);
}

async fn no_number_is_given_twice(stage: Stage) {
    let organization = stage.organization().await;
    let callers = (0..40).map(|caller| {
        let store = Arc::clone(&stage.store);
        tokio::spawn(async move {
            let count = caller % 5 + 1;
            let first = store.reserve(organization, Counter::Customers, count).await.unwrap().unwrap();
            first..first + i64::from(count)
        })
    });
    let given: Vec<i64> = join_all(callers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
    assert_eq!(given.iter().max(), Some(&120), "and none is left out");
}

async fn an_organization_that_there_is_not_has_no_counter(stage: Stage) {
    let nowhere = OrganizationId::parse(99).unwrap();
    assert_eq!(stage.store.reserve(nowhere, Counter::Customers, 1).await.unwrap(), None);
    release(&stage, nowhere, 1, 2).await;
}

async fn each_organization_counts_for_itself(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    assert_eq!(reserve(&stage, mine, 50).await, 1);
    assert_eq!(reserve(&stage, theirs, 1).await, 1);
    release(&stage, theirs, 1, 51).await;
    assert_eq!(reserve(&stage, mine, 1).await, 51);
}

async fn numbers_given_back_in_time_are_given_again(stage: Stage) {
    let organization = stage.organization().await;
    let first = reserve(&stage, organization, 10).await;
    release(&stage, organization, first + 3, first + 10).await;
    assert_eq!(reserve(&stage, organization, 1).await, first + 3);
}

async fn numbers_given_back_too_late_leave_a_gap(stage: Stage) {
    let organization = stage.organization().await;
    reserve(&stage, organization, 10).await;
    assert_eq!(reserve(&stage, organization, 10).await, 11);
    release(&stage, organization, 3, 11).await;
    assert_eq!(reserve(&stage, organization, 1).await, 21);
}

async fn ids_ascend_without_gaps_across_blocks(stage: Stage) {
    let organization = stage.organization().await;
    let source = BlockIds::with_block(stage.customers(), 4);
    let mut given = Vec::new();
    for count in [1, 0, 2, 3, 1, 9, 4] {
        let some = ids(&source, organization, count).await;
        assert_eq!(some.len(), count);
        given.extend(some);
    }
    assert_eq!(given, (1..=20).collect::<Vec<_>>());
}

async fn ids_are_given_once_among_many_callers_and_sources(stage: Stage) {
    let organizations = [stage.organization().await, stage.organization().await];
    let sources = [3, 7].map(|block| Arc::new(BlockIds::with_block(stage.customers(), block)));
    let callers = (0..60_usize).map(|caller| {
        let (source, organization) = (Arc::clone(&sources[caller % 2]), organizations[caller / 2 % 2]);
        tokio::spawn(async move {
            let given = ids(&source, organization, caller % 6).await;
            assert!(given.is_sorted_by(|left, right| left < right));
            given.into_iter().map(|id| (organization, id)).collect::<Vec<_>>()
        })
    });
    let given: Vec<_> = join_all(callers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(given.len(), (0..60).map(|caller| caller % 6).sum::<usize>());
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
}

async fn an_organization_that_there_is_not_gets_no_ids(stage: Stage) {
    let source = BlockIds::new(stage.customers());
    assert!(ids(&source, OrganizationId::parse(99).unwrap(), 3).await.is_empty());
    source.close().await.unwrap();
}

async fn unused_ids_are_given_back_at_the_end(stage: Stage) {
    let organization = stage.organization().await;
    let source = BlockIds::new(stage.customers());
    assert_eq!(ids(&source, organization, 3).await, [1, 2, 3]);
    source.close().await.unwrap();
    assert_eq!(reserve(&stage, organization, 1).await, 4);
    assert_eq!(ids(&source, organization, 1).await, [5], "a late request reserves anew");
    source.close().await.unwrap();
    source.close().await.unwrap();
    assert_eq!(reserve(&stage, organization, 1).await, 6);
}

async fn unused_ids_stay_a_gap_when_another_process_has_gone_on(stage: Stage) {
    let organization = stage.organization().await;
    let (first, second) = (BlockIds::new(stage.customers()), BlockIds::new(stage.customers()));
    assert_eq!(ids(&first, organization, 1).await, [1]);
    assert_eq!(ids(&second, organization, 1).await, [33]);
    first.close().await.unwrap();
    assert_eq!(ids(&second, organization, 1).await, [34]);
    second.close().await.unwrap();
    assert_eq!(ids(&first, organization, 1).await, [35]);
}

async fn random_bits_do_not_repeat(stage: Stage) {
    let source = BlockIds::new(stage.customers());
    let drawn: BTreeSet<u128> = (0..1000).map(|_| source.random()).collect();
    assert_eq!(drawn.len(), 1000);
    let (ones, zeros) = drawn.iter().fold((0, u128::MAX), |(ones, zeros), bits| (ones | bits, zeros & bits));
    assert_eq!((ones, zeros), (u128::MAX, 0), "every bit is drawn both ways");
}

on_every_store! {
    numbers_begin_at_one_and_go_on_from_call_to_call,
    no_number_is_given_twice,
    an_organization_that_there_is_not_has_no_counter,
    each_organization_counts_for_itself,
    numbers_given_back_in_time_are_given_again,
    numbers_given_back_too_late_leave_a_gap,
    ids_ascend_without_gaps_across_blocks,
    ids_are_given_once_among_many_callers_and_sources,
    an_organization_that_there_is_not_gets_no_ids,
    unused_ids_are_given_back_at_the_end,
    unused_ids_stay_a_gap_when_another_process_has_gone_on,
    random_bits_do_not_repeat,
}
