//! Accounts, their cards and their holders.

use std::collections::BTreeSet;

use custodia_domain::account::{
    Account, AccountChange, AccountDetails, AccountKind, AccountStatus, Card, CardKey, CardKind, CardStatus, Iin,
    Last4, Network,
};
use custodia_domain::ports::{BatchKeys, CommitError, Met};
use custodia_domain::{Basis, Customer, CustomerChange, ExternalId, OrganizationId, Outcome, Unit};

use crate::support::{Stage, at, created, external, key, keyed, mirrored, moment, named, number, receipt, unit};

fn details(holders: &[&str]) -> AccountDetails {
    AccountDetails {
        holders: holders.iter().map(|id| external(id)).collect(),
        primary: external(holders[0]),
        status: AccountStatus::Open,
        kind: AccountKind::CreditCard,
        portfolio: external("p-1"),
        opened: at(-100),
        closed: None,
    }
}

fn card(holder: &str, last4: &str) -> (CardKey, Card) {
    let key = CardKey { holder: external(holder), last4: Last4::parse(last4).unwrap() };
    let card = Card {
        iin: Iin::parse("412345").unwrap(),
        kind: CardKind::Debit,
        status: CardStatus::Closed,
        network: Network::parse(5).unwrap(),
        opened: at(-90),
        closed: Some(at(-1)),
    };
    (key, card)
}

fn put(
    stored: Option<&Account>,
    organization: OrganizationId,
    id: &str,
    details: AccountDetails,
    cards: &[(&str, &str)],
) -> AccountChange {
    let cards = cards.iter().map(|(holder, last4)| card(holder, last4));
    match Account::put(stored, organization, external(id), details, cards, moment(2)).unwrap() {
        Outcome::Applied(change) => change,
        Outcome::Unchanged => panic!("the put of a test changes something"),
    }
}

fn with_accounts(organization: OrganizationId, accounts: Vec<AccountChange>) -> Unit {
    Unit { accounts, ..unit(organization, Vec::new()) }
}

/// Puts an account and answers it as it was put.
async fn keep(
    stage: &Stage,
    stored: Option<&Account>,
    organization: OrganizationId,
    id: &str,
    details: AccountDetails,
    cards: &[(&str, &str)],
) -> Account {
    let change = put(stored, organization, id, details, cards);
    let account = change.after().clone();
    stage.commit(with_accounts(organization, vec![change])).await.unwrap();
    account
}

async fn account(stage: &Stage, organization: OrganizationId, id: &str) -> Option<Account> {
    stage.store.accounts(organization, &[external(id)]).await.unwrap().remove(0)
}

async fn held(stage: &Stage, organization: OrganizationId, holder: &str) -> Vec<String> {
    let held = stage.store.held_by(organization, &[external(holder)]).await.unwrap().remove(0);
    held.iter().map(|account| account.id().as_str().to_owned()).collect()
}

async fn an_account_comes_back_value_for_value(stage: Stage) {
    let organization = stage.organization().await;
    let closed =
        AccountDetails { status: AccountStatus::Closed, closed: Some(at(3)), ..details(&["ünï \"1\"", "b"]) };
    let kept = keep(&stage, None, organization, "a'\\1", closed, &[("b", "0042"), ("ünï \"1\"", "9999")]).await;
    assert_eq!(account(&stage, organization, "a'\\1").await.as_ref(), Some(&kept));
    let again = keep(&stage, Some(&kept), organization, "a'\\1", details(&["b", "ünï \"1\""]), &[("b", "0043")]).await;
    assert_eq!((again.version().get(), again.cards().len()), (2, 3));
    assert_eq!(account(&stage, organization, "a'\\1").await, Some(again));
}

async fn accounts_are_answered_in_the_order_of_their_ids(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    let one = keep(&stage, None, organization, "one", details(&["a"]), &[]).await;
    let two = keep(&stage, None, organization, "two", details(&["a"]), &[]).await;
    let ids: Vec<ExternalId> = ["two", "none", "one", "two"].into_iter().map(external).collect();
    let found = stage.store.accounts(organization, &ids).await.unwrap();
    assert_eq!(found, [Some(two.clone()), None, Some(one), Some(two)]);
    assert_eq!(stage.store.accounts(other, &ids[..1]).await.unwrap(), [None]);
    assert!(stage.store.accounts(organization, &[]).await.unwrap().is_empty());
}

async fn an_account_is_found_by_each_of_its_present_holders(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    let joint = keep(&stage, None, organization, "z-joint", details(&["ada", "bob"]), &[]).await;
    keep(&stage, None, organization, "a-own", details(&["ada"]), &[]).await;
    keep(&stage, None, other, "elsewhere", details(&["ada"]), &[]).await;
    assert_eq!(held(&stage, organization, "ada").await, ["a-own", "z-joint"], "by id");
    assert_eq!(held(&stage, organization, "bob").await, ["z-joint"]);
    assert!(held(&stage, organization, "eve").await.is_empty());
    keep(&stage, Some(&joint), organization, "z-joint", details(&["eve", "ada"]), &[]).await;
    assert!(held(&stage, organization, "bob").await.is_empty(), "no longer a holder");
    let holders: Vec<ExternalId> = ["eve", "bob", "ada"].into_iter().map(external).collect();
    let all = stage.store.held_by(organization, &holders).await.unwrap();
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 2]);
    let holders: &BTreeSet<ExternalId> = &all[0][0].details().holders;
    assert_eq!(holders.len(), 2);
}

async fn an_account_that_is_not_as_expected_refuses_its_unit(stage: Stage) {
    let organization = stage.organization().await;
    let stale = keep(&stage, None, organization, "one", details(&["a"]), &[]).await;
    let current = keep(&stage, Some(&stale), organization, "one", details(&["a", "b"]), &[]).await;
    let changes = [
        put(None, organization, "one", details(&["c"]), &[]),
        put(Some(&stale), organization, "one", details(&["c"]), &[]),
    ];
    for change in changes {
        let creation = created(organization, number(500), named("Ada")).1;
        let broken = Unit { accounts: vec![change], ..unit(organization, vec![creation]) };
        let verdict = stage.commit(broken).await;
        assert!(matches!(verdict, Err(CommitError::RecordConflict)), "{verdict:?}");
    }
    let nowhere = put(Some(&stale), organization, "one", details(&["c"]), &[]);
    let other = stage.organization().await;
    assert!(stage.commit(with_accounts(other, vec![nowhere])).await.is_err(), "of another organization");
    assert_eq!(account(&stage, organization, "one").await, Some(current));
    assert!(held(&stage, organization, "c").await.is_empty());
    assert_eq!(stage.find(organization, number(500)).await, None);
    assert_eq!(stage.log(organization).await.len(), 2);
}

async fn fifty_customers_with_accounts_and_cards_are_one_unit(stage: Stage) {
    let organization = stage.organization().await;
    let customers = (1..=50).map(|id| created(organization, number(id), named("Ada")).1).collect();
    let account = |id: i64| {
        let holder = format!("c-{id}");
        let cards = [(&*holder, "0001"), (&*holder, "0002")];
        put(None, organization, &format!("a-{id}"), details(&[&holder]), &cards)
    };
    let whole = Unit { accounts: (1..=50).map(account).collect(), ..unit(organization, customers) };
    let committed = stage.commit(whole).await.unwrap();
    assert_eq!(committed.last_sequence.map(custodia_domain::Sequence::get), Some(200));
    assert_eq!(stage.total(organization).await, 50);
    assert_eq!(held(&stage, organization, "c-50").await, ["a-50"]);
}

/// A unit that was decided on that account at that version, and creates another one.
fn decided_on(organization: OrganizationId, account: &Account, new: &str) -> Unit {
    let mut basis = Basis::default();
    basis.add_account(account);
    Unit { basis, ..with_accounts(organization, vec![put(None, organization, new, details(&["n"]), &[])]) }
}

async fn a_unit_is_refused_where_an_account_that_it_found_has_changed(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    let stale = keep(&stage, None, organization, "one", details(&["a"]), &[]).await;
    let current = keep(&stage, Some(&stale), organization, "one", details(&["a", "b"]), &[]).await;
    let elsewhere = keep(&stage, None, other, "elsewhere", details(&["a"]), &[]).await;
    let creation = || vec![created(organization, number(500), named("Ada")).1];
    let change = put(Some(&current), organization, "one", details(&["c"]), &[]);
    for found in [&stale, &elsewhere] {
        let basis = decided_on(organization, found, "new").basis;
        let on = |unit: Unit| Unit { basis: basis.clone(), ..unit };
        let bare = on(unit(organization, Vec::new()));
        let refused = [
            decided_on(organization, found, "new"),
            on(unit(organization, creation())),
            on(keyed(organization, creation(), 1)),
            on(keyed(organization, Vec::new(), 1)),
            bare,
        ];
        let verdicts = stage.store.commit(refused.to_vec()).await;
        for verdict in verdicts {
            assert!(matches!(verdict, Err(CommitError::RecordConflict)), "{verdict:?}");
        }
    }
    assert_eq!(account(&stage, organization, "new").await, None);
    assert_eq!(stage.find(organization, number(500)).await, None);
    assert!(stage.store.receipts(organization, &[key(1)]).await.unwrap()[0].is_none());
    // It holds now, and the neighbours are as if they were alone.
    let units = vec![
        decided_on(organization, &stale, "new"),
        Unit { receipt: Some(receipt(1, 1)), ..decided_on(organization, &current, "new") },
        Unit { basis: decided_on(organization, &current, "x").basis, ..unit(organization, Vec::new()) },
        with_accounts(organization, vec![change]),
        decided_on(organization, &current, "too-late"),
    ];
    let verdicts: Vec<bool> = stage.store.commit(units).await.iter().map(Result::is_ok).collect();
    assert_eq!(verdicts, [false, true, true, true, false]);
    assert!(stage.store.receipts(organization, &[key(1)]).await.unwrap()[0].is_some());
    assert_eq!(stage.log(organization).await.len(), 4);
}

async fn a_unit_is_refused_where_a_customer_that_it_found_has_changed(stage: Stage) {
    let organization = stage.organization().await;
    let (stale, creation) = created(organization, number(1), named("Ada"));
    stage.commit(unit(organization, vec![creation])).await.unwrap();
    let decided_on = |customer: &Customer, new: &str| {
        let mut basis = Basis::default();
        basis.add_customer(customer);
        Unit { basis, ..with_accounts(organization, vec![put(None, organization, new, details(&["n"]), &[])]) }
    };
    stage.commit(decided_on(&stale, "one")).await.unwrap();
    let mut current = stale.clone();
    let event = current.activate(stale.submitted_on(), moment(2)).unwrap().applied().unwrap();
    let change = CustomerChange::kept(current.clone(), vec![event]);
    stage.commit(unit(organization, vec![change])).await.unwrap();
    let absent = created(organization, number(2), named("Bob")).0;
    for found in [&stale, &absent] {
        let verdict = stage.commit(decided_on(found, "two")).await;
        assert!(matches!(verdict, Err(CommitError::VersionConflict(id)) if id == found.id()), "{verdict:?}");
    }
    assert_eq!(account(&stage, organization, "two").await, None);
    stage.commit(decided_on(&current, "two")).await.unwrap();
}

async fn of_two_units_that_change_what_the_other_one_found_one_is_refused(stage: Stage) {
    let organization = stage.organization().await;
    let first = keep(&stage, None, organization, "first", details(&["a"]), &[]).await;
    let second = keep(&stage, None, organization, "second", details(&["b"]), &[]).await;
    let mut accounts = [first, second];
    for round in 0..20 {
        let holder = format!("h-{round}");
        let unit_of = |changed: &Account, found: &Account| {
            let change = put(Some(changed), organization, changed.id().as_str(), details(&[&holder]), &[]);
            let mut basis = Basis::default();
            basis.add_account(found);
            Unit { basis, ..with_accounts(organization, vec![change]) }
        };
        let units = [unit_of(&accounts[0], &accounts[1]), unit_of(&accounts[1], &accounts[0])];
        let [left, right] = units.map(|unit| stage.commit(unit));
        let (left, right) = tokio::join!(left, right);
        let refused = [&left, &right].into_iter().filter(|it| matches!(it, Err(CommitError::RecordConflict))).count();
        assert_eq!((left.is_ok() ^ right.is_ok(), refused), (true, 1), "{left:?} {right:?}");
        for account in &mut accounts {
            *account = self::account(&stage, organization, account.id().as_str()).await.unwrap();
        }
    }
}

async fn a_batch_meets_what_is_there_in_the_order_of_its_keys(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    let (ada, creation) = created(organization, number(1), mirrored("ada"));
    stage.commit(unit(organization, vec![creation])).await.unwrap();
    let joint = keep(&stage, None, organization, "z-joint", details(&["ada", "bob"]), &[("bob", "0001")]).await;
    let own = keep(&stage, None, organization, "a-own", details(&["ada"]), &[]).await;
    let ids = |all: &[&str]| all.iter().map(|id| external(id)).collect::<Vec<_>>();
    let batch = BatchKeys {
        customers: ids(&["bob", "ada"]),
        accounts: ids(&["z-joint", "none"]),
        holders: ids(&["eve", "bob", "ada"]),
    };
    let met = stage.store.meet(organization, &batch).await.unwrap();
    assert_eq!(met.customers, [None, Some(ada)]);
    assert_eq!(met.accounts, [Some(joint.clone()), None]);
    assert_eq!(met.held, [vec![], vec![joint.clone()], vec![own, joint]]);
    let nothing = stage.store.meet(other, &batch).await.unwrap();
    assert_eq!(nothing, Met { customers: vec![None; 2], accounts: vec![None; 2], held: vec![Vec::new(); 3] });
    assert_eq!(stage.store.meet(organization, &BatchKeys::default()).await.unwrap(), Met::default());
}

on_every_store! {
    a_unit_is_refused_where_an_account_that_it_found_has_changed,
    a_unit_is_refused_where_a_customer_that_it_found_has_changed,
    of_two_units_that_change_what_the_other_one_found_one_is_refused,
    a_batch_meets_what_is_there_in_the_order_of_its_keys,
    an_account_comes_back_value_for_value,
    accounts_are_answered_in_the_order_of_their_ids,
    an_account_is_found_by_each_of_its_present_holders,
    an_account_that_is_not_as_expected_refuses_its_unit,
    fifty_customers_with_accounts_and_cards_are_one_unit,
}
