//! `CustomerStore::receipts` and `CustomerStore::purge_receipts`.

use custodia_domain::{Answer, OrganizationId, Receipt, ReceiptKey, Unit};

use crate::support::{Stage, at, key, keyed, receipt, unit};

async fn keep(stage: &Stage, organization: OrganizationId, receipt: Receipt) {
    stage.commit(Unit { receipt: Some(receipt), ..unit(organization, Vec::new()) }).await.unwrap();
}

async fn a_receipt_comes_back_byte_for_byte(stage: Stage) {
    let organization = stage.organization().await;
    let bare = Receipt { answer: Answer { status: 599, headers: Vec::new(), body: Vec::new() }, ..receipt(2, 3) };
    let large = Receipt {
        answer: Answer { status: 100, body: (0..=255).cycle().take(300_000).collect(), ..receipt(0, 0).answer },
        ..receipt(3, 4)
    };
    for kept in [receipt(1, 1), bare, large] {
        keep(&stage, organization, kept.clone()).await;
        assert_eq!(stage.store.receipts(organization, &[kept.key]).await.unwrap(), [Some(kept)]);
    }
}

async fn receipts_are_answered_in_the_order_of_their_keys(stage: Stage) {
    let organization = stage.organization().await;
    for byte in [1, 2, 3] {
        keep(&stage, organization, receipt(byte, 1)).await;
    }
    let found = stage.store.receipts(organization, &[3, 9, 1, 3].map(key)).await.unwrap();
    assert_eq!(found, [Some(receipt(3, 1)), None, Some(receipt(1, 1)), Some(receipt(3, 1))]);
    assert!(stage.store.receipts(organization, &[]).await.unwrap().is_empty());
}

async fn a_thousand_receipts_are_asked_for_at_once(stage: Stage) {
    let organization = stage.organization().await;
    let many = |number: u16| {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        ReceiptKey(bytes)
    };
    let units = (0..500).map(|number| Unit {
        receipt: Some(Receipt { key: many(number * 2), ..receipt(0, 1) }),
        ..unit(organization, Vec::new())
    });
    assert!(stage.store.commit(units.collect()).await.iter().all(Result::is_ok));
    let keys: Vec<_> = (0..1000).map(many).collect();
    let found = stage.store.receipts(organization, &keys).await.unwrap();
    let wanted = |at: usize| at.is_multiple_of(2).then(|| keys[at]);
    assert_eq!(found.len(), 1000);
    assert!(found.iter().enumerate().all(|(at, found)| found.as_ref().map(|kept| kept.key) == wanted(at)));
}

async fn a_receipt_of_another_organization_is_absent(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    keep(&stage, theirs, receipt(1, 1)).await;
    assert_eq!(stage.store.receipts(mine, &[key(1)]).await.unwrap(), [None]);
    let nowhere = OrganizationId::parse(99).unwrap();
    assert_eq!(stage.store.receipts(nowhere, &[key(1)]).await.unwrap(), [None]);
}

async fn receipts_older_than_an_instant_are_purged(stage: Stage) {
    let organizations = [stage.organization().await, stage.organization().await];
    for organization in organizations {
        for (byte, second) in [(1, 10), (2, 20), (3, 30)] {
            keep(&stage, organization, receipt(byte, second)).await;
        }
    }
    assert_eq!(stage.store.purge_receipts(at(20), 100).await.unwrap(), 2, "not the one of that very instant");
    for organization in organizations {
        let left = stage.store.receipts(organization, &[1, 2, 3].map(key)).await.unwrap();
        assert_eq!(left, [None, Some(receipt(2, 20)), Some(receipt(3, 30))]);
    }
    assert_eq!(stage.store.purge_receipts(at(20), 100).await.unwrap(), 0);
}

async fn a_purge_takes_no_more_than_it_may(stage: Stage) {
    let organization = stage.organization().await;
    for byte in 1..=5 {
        keep(&stage, organization, receipt(byte, 1)).await;
    }
    assert_eq!(stage.store.purge_receipts(at(9), 0).await.unwrap(), 0);
    assert_eq!(stage.store.purge_receipts(at(9), 2).await.unwrap(), 2);
    assert_eq!(stage.store.purge_receipts(at(9), 2).await.unwrap(), 2);
    assert_eq!(stage.store.purge_receipts(at(9), 2).await.unwrap(), 1);
}

async fn a_purged_key_is_free_again(stage: Stage) {
    let organization = stage.organization().await;
    stage.commit(keyed(organization, Vec::new(), 1)).await.unwrap();
    stage.store.purge_receipts(at(9), 10).await.unwrap();
    stage.commit(keyed(organization, Vec::new(), 1)).await.unwrap();
}

on_every_store! {
    a_receipt_comes_back_byte_for_byte,
    receipts_are_answered_in_the_order_of_their_keys,
    a_thousand_receipts_are_asked_for_at_once,
    a_receipt_of_another_organization_is_absent,
    receipts_older_than_an_instant_are_purged,
    a_purge_takes_no_more_than_it_may,
    a_purged_key_is_free_again,
}
