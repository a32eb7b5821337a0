//! `CustomerStore::find`.

use custodia_domain::OrganizationId;
use custodia_domain::ports::CustomerKey;

use crate::support::{Stage, by_external, by_id, created, known_as, mirrored, named, number, unit};

async fn answers_are_in_the_order_of_their_keys_with_gaps_and_repetitions(stage: Stage) {
    let organization = stage.organization().await;
    let ada = stage.create(organization, known_as("Ada", "ext-1")).await;
    let eve = stage.create(organization, known_as("Eve", "ext-2")).await;
    let keys = [
        by_external(organization, "ext-2"),
        by_id(organization, number(99)),
        by_id(organization, ada.id()),
        by_external(organization, "ext-9"),
        by_id(organization, eve.id()),
        by_id(organization, ada.id()),
        by_external(organization, "ext-1"),
    ];
    let (ada, eve) = (Some(ada), Some(eve));
    let wanted = [eve.clone(), None, ada.clone(), None, eve, ada.clone(), ada];
    assert_eq!(stage.store.find(&keys).await.unwrap(), wanted);
}

async fn no_keys_have_no_answers(stage: Stage) {
    assert!(stage.store.find(&[]).await.unwrap().is_empty());
}

async fn a_thousand_keys_of_two_organizations_are_answered_at_once(stage: Stage) {
    let organizations = [stage.organization().await, stage.organization().await];
    for organization in organizations {
        let one = |id: i64| created(organization, number(id), mirrored(&format!("ext-{id}"))).1;
        let units = (1..=250).map(|id| unit(organization, vec![one(id)])).collect();
        assert!(stage.store.commit(units).await.iter().all(Result::is_ok));
    }
    // Every second one is absent, and the organizations take turns.
    let key = |at: i64| -> CustomerKey {
        let organization = organizations[usize::try_from(at % 2).unwrap()];
        let id = at / 2 + 1;
        if at % 3 == 0 { by_external(organization, &format!("ext-{id}")) } else { by_id(organization, number(id)) }
    };
    let keys: Vec<_> = (0..1000).map(key).collect();
    let found = stage.store.find(&keys).await.unwrap();
    assert_eq!(found.len(), 1000);
    for (at, found) in (0..).zip(&found) {
        let id = at / 2 + 1;
        let wanted = (id <= 250).then(|| (organizations[usize::try_from(at % 2).unwrap()], number(id)));
        assert_eq!(found.as_ref().map(|customer| (customer.organization(), customer.id())), wanted, "key {at}");
    }
}

async fn what_belongs_to_another_organization_is_absent(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    stage.create(theirs, known_as("Ada", "ext-1")).await;
    let nowhere = OrganizationId::parse(99).unwrap();
    for organization in [mine, nowhere] {
        let keys = [by_id(organization, number(1)), by_external(organization, "ext-1")];
        assert_eq!(stage.store.find(&keys).await.unwrap(), [None, None]);
    }
}

async fn external_ids_with_the_marks_of_sql_and_json_are_plain_text(stage: Stage) {
    let organization = stage.organization().await;
    let texts = ["'; drop table customers; --", "\"]}", "\\u0041", "{\"a\":1}", "null", "1", "%", "_", "$1", "?1", ","];
    for text in texts {
        stage.create(organization, mirrored(text)).await;
    }
    let keys: Vec<_> = texts.iter().map(|text| by_external(organization, text)).collect();
    let found = stage.store.find(&keys).await.unwrap();
    let ids: Vec<_> = found.iter().map(|customer| customer.as_ref().unwrap().id().get()).collect();
    assert_eq!(ids, (1..=11).collect::<Vec<_>>());
}

async fn the_greatest_number_is_a_number_like_others(stage: Stage) {
    let organization = stage.organization().await;
    let (customer, change) = created(organization, number(i64::MAX), named("Last"));
    stage.commit(unit(organization, vec![change])).await.unwrap();
    assert_eq!(stage.find(organization, number(i64::MAX)).await, Some(customer));
    assert_eq!(stage.find(organization, number(i64::MAX - 1)).await, None);
}

on_every_store! {
    answers_are_in_the_order_of_their_keys_with_gaps_and_repetitions,
    no_keys_have_no_answers,
    a_thousand_keys_of_two_organizations_are_answered_at_once,
    what_belongs_to_another_organization_is_absent,
    external_ids_with_the_marks_of_sql_and_json_are_plain_text,
    the_greatest_number_is_a_number_like_others,
}
