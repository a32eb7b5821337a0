//! `CredentialStore`.

use custodia_domain::OrganizationId;
use custodia_domain::ports::{AddError, ApiKey, PartnerAccount, Scope};

use crate::support::{Stage, at};

fn nowhere() -> OrganizationId {
    OrganizationId::parse(99).unwrap()
}

async fn add(stage: &Stage, organization: OrganizationId, byte: u8, scope: Scope) -> i64 {
    stage.store.add_api_key(organization, "laptop", [byte; 32], scope, at(0)).await.unwrap()
}

async fn api_keys_are_found_by_their_hashes_in_order(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    let first = stage.store.add_api_key(mine, "Ünï 'x'", [1; 32], Scope::Read, at(0)).await.unwrap();
    let second = add(&stage, theirs, 2, Scope::Write).await;
    let key = |id, organization, name: &str, byte, scope| {
        Some(ApiKey { id, organization, name: name.to_owned(), hash: [byte; 32], scope, revoked_at: None })
    };
    let found = stage.store.api_keys(&[[2; 32], [9; 32], [1; 32], [2; 32]]).await.unwrap();
    let theirs = key(second, theirs, "laptop", 2, Scope::Write);
    assert_eq!(found, [theirs.clone(), None, key(first, mine, "Ünï 'x'", 1, Scope::Read), theirs]);
    assert!(stage.store.api_keys(&[]).await.unwrap().is_empty());
}

async fn api_keys_are_numbered_across_organizations_and_listed_within_one(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    for (byte, organization) in [(3, mine), (1, theirs), (2, mine)] {
        add(&stage, organization, byte, Scope::Read).await;
    }
    let listed = stage.store.list_api_keys(mine).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|key| (key.id, key.hash[0])).collect();
    assert_eq!(ids, [(1, 3), (3, 2)]);
    assert_eq!(stage.store.list_api_keys(theirs).await.unwrap().len(), 1);
    assert!(stage.store.list_api_keys(nowhere()).await.unwrap().is_empty());
}

async fn an_api_key_needs_a_hash_of_its_own_and_an_organization(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    add(&stage, mine, 1, Scope::Read).await;
    let taken = stage.store.add_api_key(theirs, "other", [1; 32], Scope::Write, at(0)).await;
    assert!(matches!(taken, Err(AddError::Taken)), "{taken:?}");
    let lost = stage.store.add_api_key(nowhere(), "other", [2; 32], Scope::Write, at(0)).await;
    assert!(matches!(lost, Err(AddError::NoOrganization)), "{lost:?}");
    assert_eq!(stage.store.api_keys(&[[2; 32]]).await.unwrap(), [None]);
}

async fn a_revoked_key_says_since_when(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    let id = add(&stage, mine, 1, Scope::Read).await;
    assert!(!stage.store.revoke_api_key(theirs, id, at(5)).await.unwrap(), "another organization's");
    assert!(!stage.store.revoke_api_key(mine, id + 1, at(5)).await.unwrap(), "there is none");
    assert_eq!(stage.store.api_keys(&[[1; 32]]).await.unwrap()[0].as_ref().unwrap().revoked_at, None);
    assert!(stage.store.revoke_api_key(mine, id, at(5)).await.unwrap());
    assert!(stage.store.revoke_api_key(mine, id, at(9)).await.unwrap(), "again");
    let revoked = stage.store.api_keys(&[[1; 32]]).await.unwrap().remove(0).unwrap();
    assert_eq!(revoked.revoked_at, Some(at(5)), "the first time counts");
    assert_eq!(stage.store.list_api_keys(mine).await.unwrap(), [revoked]);
}

async fn accounts_are_found_by_their_address_in_any_case(stage: Stage) {
    let organization = stage.organization().await;
    let id = stage.store.add_account(organization, "Partner@Example.COM", "$argon2id$1", at(0)).await.unwrap();
    let account = PartnerAccount { id, organization, password_hash: "$argon2id$1".into() };
    for email in ["partner@example.com", "PARTNER@EXAMPLE.com", "Partner@Example.COM"] {
        assert_eq!(stage.store.account(email).await.unwrap().as_ref(), Some(&account), "{email}");
    }
    for email in ["", "partner", "partner@example.co", "%@example.com", "p_rtner@example.com"] {
        assert_eq!(stage.store.account(email).await.unwrap(), None, "{email}");
    }
}

async fn an_account_needs_an_address_of_its_own_and_an_organization(stage: Stage) {
    let (mine, theirs) = (stage.organization().await, stage.organization().await);
    assert_eq!(stage.store.add_account(mine, "a@example.com", "1", at(0)).await.unwrap(), 1);
    let taken = stage.store.add_account(theirs, "A@example.com", "2", at(0)).await;
    assert!(matches!(taken, Err(AddError::Taken)), "{taken:?}");
    let lost = stage.store.add_account(nowhere(), "b@example.com", "2", at(0)).await;
    assert!(matches!(lost, Err(AddError::NoOrganization)), "{lost:?}");
    assert_eq!(stage.store.add_account(theirs, "b@example.com", "2", at(0)).await.unwrap(), 2);
    assert_eq!(stage.store.account("a@example.com").await.unwrap().unwrap().organization, mine);
}

on_every_store! {
    api_keys_are_found_by_their_hashes_in_order,
    api_keys_are_numbered_across_organizations_and_listed_within_one,
    an_api_key_needs_a_hash_of_its_own_and_an_organization,
    a_revoked_key_says_since_when,
    accounts_are_found_by_their_address_in_any_case,
    an_account_needs_an_address_of_its_own_and_an_organization,
}
