//! `Directory`.

use std::sync::Arc;

use custodia_domain::ports::{AddError, Office};
use custodia_domain::{ClosureReasonId, OfficeId, OfficeName, OrganizationId};
use futures::future::join_all;

use crate::support::{Stage, at};

fn name(text: &str) -> OfficeName {
    OfficeName::parse(text).unwrap()
}

fn nowhere() -> OrganizationId {
    OrganizationId::parse(99).unwrap()
}

fn reason(code: i64) -> ClosureReasonId {
    ClosureReasonId::parse(code).unwrap()
}

async fn a_new_organization_has_its_head_office(stage: Stage) {
    let organization = stage.store.add_organization("Łódź & Sons", at(0)).await.unwrap();
    let offices = stage.store.offices(organization).await.unwrap().unwrap();
    assert_eq!(offices.default, OfficeId::FIRST);
    assert_eq!(offices.all, [Office { id: OfficeId::FIRST, name: name("Head Office") }]);
}

async fn organizations_are_numbered_and_listed_by_number(stage: Stage) {
    assert!(stage.store.organizations().await.unwrap().is_empty());
    let names = ["B", "A", "A", "Ünï'çødé"];
    for name in names {
        stage.store.add_organization(name, at(0)).await.unwrap();
    }
    let listed = stage.store.organizations().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|(id, name)| (id.get(), name.as_str())).collect();
    assert_eq!(listed, (1..).zip(names).collect::<Vec<_>>());
}

async fn organizations_added_at_once_have_numbers_of_their_own(stage: Stage) {
    let adding = (0..20).map(|_| {
        let store = Arc::clone(&stage.store);
        tokio::spawn(async move { store.add_organization("Lender", at(0)).await.unwrap() })
    });
    let mut numbers: Vec<_> = join_all(adding).await.into_iter().map(|id| id.unwrap().get()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
}

async fn offices_are_numbered_within_their_organization(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    assert_eq!(stage.store.add_office(mine, &name("North"), at(0)).await.unwrap().get(), 2);
    assert_eq!(stage.store.add_office(mine, &name("A-South"), at(0)).await.unwrap().get(), 3);
    assert_eq!(stage.store.add_office(theirs, &name("North"), at(0)).await.unwrap().get(), 2);
    let offices = stage.store.offices(mine).await.unwrap().unwrap();
    let listed: Vec<_> = offices.all.iter().map(|office| (office.id.get(), office.name.as_str())).collect();
    assert_eq!(listed, [(1, "Head Office"), (2, "North"), (3, "A-South")]);
    assert_eq!(stage.store.offices(theirs).await.unwrap().unwrap().all.len(), 2);
}

async fn an_office_needs_a_name_of_its_own_and_an_organization(stage: Stage) {
    let organization = stage.organization().await;
    let taken = stage.store.add_office(organization, &name("Head Office"), at(0)).await;
    assert!(matches!(taken, Err(AddError::Taken)), "{taken:?}");
    assert!(stage.store.add_office(organization, &name("head office"), at(0)).await.is_ok(), "byte for byte");
    let lost = stage.store.add_office(nowhere(), &name("North"), at(0)).await;
    assert!(matches!(lost, Err(AddError::NoOrganization)), "{lost:?}");
    assert_eq!(stage.store.offices(nowhere()).await.unwrap(), None);
}

async fn offices_added_at_once_have_numbers_of_their_own(stage: Stage) {
    let organization = stage.organization().await;
    let adding = (0..20).map(|number| {
        let store = Arc::clone(&stage.store);
        tokio::spawn(
            async move { store.add_office(organization, &name(&format!("Office {number}")), at(0)).await.unwrap() },
        )
    });
    let mut numbers: Vec<_> = join_all(adding).await.into_iter().map(|id| id.unwrap().get()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (2..=21).collect::<Vec<_>>());
}

async fn the_default_office_is_one_of_the_organizations_own(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    let north = stage.store.add_office(mine, &name("North"), at(0)).await.unwrap();
    assert!(stage.store.set_default_office(mine, north).await.unwrap());
    assert_eq!(stage.store.offices(mine).await.unwrap().unwrap().default, north);
    assert!(!stage.store.set_default_office(theirs, north).await.unwrap());
    assert!(!stage.store.set_default_office(nowhere(), OfficeId::FIRST).await.unwrap());
    assert_eq!(stage.store.offices(theirs).await.unwrap().unwrap().default, OfficeId::FIRST);
    assert!(stage.store.set_default_office(mine, OfficeId::FIRST).await.unwrap());
    assert_eq!(stage.store.offices(mine).await.unwrap().unwrap().default, OfficeId::FIRST);
}

async fn closure_reasons_are_listed_by_code(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    assert!(stage.store.closure_reasons(mine).await.unwrap().is_empty());
    for (code, label) in [(30, "Paid"), (4, "Moved"), (i64::MAX, "Other")] {
        stage.store.add_closure_reason(mine, reason(code), label, at(0)).await.unwrap();
    }
    stage.store.add_closure_reason(theirs, reason(4), "Elsewhere", at(0)).await.unwrap();
    let listed = stage.store.closure_reasons(mine).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|(code, label)| (code.get(), label.as_str())).collect();
    assert_eq!(listed, [(4, "Moved"), (30, "Paid"), (i64::MAX, "Other")]);
    assert_eq!(stage.store.closure_reasons(theirs).await.unwrap(), [(reason(4), "Elsewhere".to_owned())]);
    assert!(stage.store.closure_reasons(nowhere()).await.unwrap().is_empty());
}

async fn a_closure_reason_needs_a_code_of_its_own_and_an_organization(stage: Stage) {
    let organization = stage.organization().await;
    stage.store.add_closure_reason(organization, reason(4), "Moved", at(0)).await.unwrap();
    let taken = stage.store.add_closure_reason(organization, reason(4), "Paid", at(0)).await;
    assert!(matches!(taken, Err(AddError::Taken)), "{taken:?}");
    stage.store.add_closure_reason(organization, reason(5), "Moved", at(0)).await.unwrap();
    let lost = stage.store.add_closure_reason(nowhere(), reason(4), "Moved", at(0)).await;
    assert!(matches!(lost, Err(AddError::NoOrganization)), "{lost:?}");
    assert_eq!(stage.store.closure_reasons(organization).await.unwrap().len(), 2);
}

on_every_store! {
    a_new_organization_has_its_head_office,
    organizations_are_numbered_and_listed_by_number,
    organizations_added_at_once_have_numbers_of_their_own,
    offices_are_numbered_within_their_organization,
    an_office_needs_a_name_of_its_own_and_an_organization,
    offices_added_at_once_have_numbers_of_their_own,
    the_default_office_is_one_of_the_organizations_own,
    closure_reasons_are_listed_by_code,
    a_closure_reason_needs_a_code_of_its_own_and_an_organization,
}
