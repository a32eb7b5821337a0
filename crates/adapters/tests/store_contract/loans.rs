//! Loans, their customers' counts, and credit scores.

use std::sync::Arc;

use custodia_domain::loan::{
    Amount, CurrencyCode, Grade, Loan, LoanChange, LoanCounts, LoanPosition, LoanStatus, LoanText, Score, ScoreChange,
};
use custodia_domain::ports::{CommitError, Direction, LoanQuery, LoanSelector, LoanSort, LoanTotals};
use custodia_domain::{Customer, CustomerChange, LoanId, OrganizationId, Outcome, Unit};

use crate::support::{Stage, activate, call_at, changed, close, created, day, external, moment, named, number, unit};

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn position(status: LoanStatus, principal: &str) -> LoanPosition {
    LoanPosition {
        status,
        principal: amount(principal),
        currency: CurrencyCode::parse("GHS").unwrap(),
        account_no: None,
        product_id: None,
        product_name: None,
        approved_principal: None,
        term_frequency: None,
        number_of_repayments: None,
        interest_rate_per_period: None,
        principal_disbursed: None,
        principal_paid: None,
        principal_outstanding: None,
        interest_charged: None,
        total_outstanding: None,
        total_paid: None,
        next_due_date: None,
        next_due_amount: None,
        expected_disbursement: None,
    }
}

/// A position with every value.
fn whole_position() -> LoanPosition {
    LoanPosition {
        account_no: Some(LoanText::parse("00\"1").unwrap()),
        product_id: Some(i64::MAX),
        product_name: Some(LoanText::parse("Ünï").unwrap()),
        approved_principal: Some(amount("999999999999.999999")),
        term_frequency: Some(u32::MAX),
        number_of_repayments: Some(0),
        interest_rate_per_period: Some(amount("2.5")),
        principal_disbursed: Some(amount("1")),
        principal_paid: Some(amount("0")),
        principal_outstanding: Some(amount("0.000001")),
        interest_charged: Some(amount("3")),
        total_outstanding: Some(amount("4.5")),
        total_paid: Some(amount("6")),
        next_due_date: Some(day("2026-07-01")),
        next_due_amount: Some(amount("7")),
        expected_disbursement: Some(day("0001-01-01")),
        ..position(LoanStatus::Active, "999999999999.999999")
    }
}

fn report(stored: Option<&Loan>, id: i64, key: &str, owner: &Customer, position: LoanPosition) -> LoanChange {
    let id = LoanId::parse(id).unwrap();
    match Loan::report(stored, id, external(key), owner, position, moment(8)).unwrap() {
        Outcome::Applied(change) => change,
        Outcome::Unchanged => panic!("the report of a test changes something"),
    }
}

fn with_loans(organization: OrganizationId, loans: Vec<LoanChange>) -> Unit {
    Unit { loans, ..unit(organization, Vec::new()) }
}

async fn active_customer(stage: &Stage, organization: OrganizationId) -> Customer {
    let customer = stage.create_named(organization, "Ada").await;
    stage.change(customer, activate("2026-05-22")).await
}

/// The customer as it is stored now.
async fn fresh(stage: &Stage, customer: &Customer) -> Customer {
    stage.find(customer.organization(), customer.id()).await.unwrap()
}

/// Reports a loan of the customer as it is stored now, and answers the loan.
async fn keep(stage: &Stage, stored: Option<&Loan>, id: i64, owner: &Customer, position: LoanPosition) -> Loan {
    let owner = fresh(stage, owner).await;
    let change = report(stored, id, &format!("l-{id}"), &owner, position);
    let loan = change.after().clone();
    stage.commit(with_loans(owner.organization(), vec![change])).await.unwrap();
    loan
}

fn refused<T: std::fmt::Debug>(verdict: &Result<T, CommitError>) {
    assert!(matches!(verdict, Err(CommitError::RecordConflict)), "{verdict:?}");
}

async fn a_loan_comes_back_value_for_value(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    let ada = active_customer(&stage, organization).await;
    let whole = keep(&stage, None, 1, &ada, whole_position()).await;
    let bare = keep(&stage, None, 2, &ada, position(LoanStatus::Rejected, "0")).await;
    let selectors = [
        LoanSelector::ExternalId(external("l-2")),
        LoanSelector::Id(LoanId::parse(9).unwrap()),
        LoanSelector::Id(whole.id),
        LoanSelector::ExternalId(external("none")),
        LoanSelector::Id(bare.id),
    ];
    let found = stage.store.loans(organization, &selectors).await.unwrap();
    assert_eq!(found, [Some(bare.clone()), None, Some(whole.clone()), None, Some(bare.clone())]);
    assert!(stage.store.loans(other, &selectors).await.unwrap().iter().all(Option::is_none));
    let moved = keep(&stage, Some(&whole), 1, &ada, position(LoanStatus::Repaid, "5")).await;
    assert_eq!(stage.store.loans(organization, &selectors[2..3]).await.unwrap(), [Some(moved)]);
}

async fn a_customers_counts_follow_its_loans_and_nothing_else(stage: Stage) {
    let organization = stage.organization().await;
    let ada = active_customer(&stage, organization).await;
    let one = keep(&stage, None, 1, &ada, position(LoanStatus::Active, "1")).await;
    keep(&stage, None, 2, &ada, position(LoanStatus::Submitted, "1")).await;
    keep(&stage, None, 3, &ada, position(LoanStatus::Rejected, "1")).await;
    let counted = fresh(&stage, &ada).await;
    assert_eq!(counted.loans(), LoanCounts { open: 2, total: 3 });
    assert_eq!(counted.version(), ada.version(), "a loan is no change of its customer");
    // What this customer was read with knows of no loan; its change keeps them counted all the same.
    stage.change(ada.clone(), call_at("1")).await;
    assert_eq!(fresh(&stage, &ada).await.loans(), LoanCounts { open: 2, total: 3 });
    keep(&stage, Some(&one), 1, &ada, position(LoanStatus::WrittenOff, "1")).await;
    assert_eq!(fresh(&stage, &ada).await.loans(), LoanCounts { open: 1, total: 3 });
    let listed = stage.list(&crate::support::page(organization, 0)).await;
    assert_eq!(listed.customers[0].loans(), LoanCounts { open: 1, total: 3 });
}

async fn a_loan_that_is_not_as_expected_refuses_its_unit(stage: Stage) {
    let organization = stage.organization().await;
    let ada = active_customer(&stage, organization).await;
    let stale = keep(&stage, None, 1, &ada, position(LoanStatus::Active, "1")).await;
    let current = keep(&stage, Some(&stale), 1, &ada, position(LoanStatus::Active, "2")).await;
    let owner = fresh(&stage, &ada).await;
    let changes = [
        report(Some(&stale), 1, "l-1", &owner, position(LoanStatus::Active, "3")),
        report(None, 1, "l-9", &owner, position(LoanStatus::Active, "3")),
        report(None, 9, "l-1", &owner, position(LoanStatus::Active, "3")),
    ];
    for change in changes {
        refused(&stage.commit(with_loans(organization, vec![change])).await);
    }
    let selector = [LoanSelector::Id(current.id)];
    assert_eq!(stage.store.loans(organization, &selector).await.unwrap(), [Some(current)]);
    assert_eq!(fresh(&stage, &ada).await.loans(), LoanCounts { open: 1, total: 1 });
}

async fn counts_that_are_not_as_expected_refuse_a_loan(stage: Stage) {
    let organization = stage.organization().await;
    let ada = active_customer(&stage, organization).await;
    let loan = keep(&stage, None, 1, &ada, position(LoanStatus::Active, "1")).await;
    let late = report(None, 2, "l-2", &ada, position(LoanStatus::Rejected, "1"));
    refused(&stage.commit(with_loans(organization, vec![late])).await);
    // The customer was read before the loan was there, the loan after: its counts cannot even be reckoned.
    let mixed = report(Some(&loan), 1, "l-1", &ada, position(LoanStatus::Repaid, "1"));
    refused(&stage.commit(with_loans(organization, vec![mixed])).await);
    assert_eq!(fresh(&stage, &ada).await.loans(), LoanCounts { open: 1, total: 1 });
}

async fn an_open_loan_keeps_its_customer_from_being_closed(stage: Stage) {
    let organization = stage.organization().await;
    let before = active_customer(&stage, organization).await;
    let loan = keep(&stage, None, 1, &before, position(LoanStatus::Active, "1")).await;
    let verdict = stage.commit(unit(organization, vec![changed(before.clone(), close("2026-05-22"))])).await;
    assert!(matches!(&verdict, Err(CommitError::VersionConflict(id)) if *id == before.id()), "{verdict:?}");
    keep(&stage, Some(&loan), 1, &before, position(LoanStatus::Repaid, "1")).await;
    stage.commit(unit(organization, vec![changed(before, close("2026-05-22"))])).await.unwrap();
}

async fn any_loan_keeps_its_customer_from_being_deleted(stage: Stage) {
    let organization = stage.organization().await;
    let pending = stage.create_named(organization, "Ada").await;
    keep(&stage, None, 1, &pending, position(LoanStatus::Rejected, "1")).await;
    let gone = CustomerChange::gone(pending.clone().delete(moment(9)).unwrap());
    let verdict = stage.commit(unit(organization, vec![gone])).await;
    assert!(matches!(&verdict, Err(CommitError::VersionConflict(id)) if *id == pending.id()), "{verdict:?}");
    assert_eq!(stage.total(organization).await, 1);
}

async fn an_open_loan_needs_a_customer_that_is_still_active(stage: Stage) {
    let organization = stage.organization().await;
    let before = active_customer(&stage, organization).await;
    let opening = report(None, 1, "l-1", &before, position(LoanStatus::Active, "1"));
    stage.change(before.clone(), close("2026-05-22")).await;
    refused(&stage.commit(with_loans(organization, vec![opening])).await);
    let harmless = report(None, 1, "l-1", &before, position(LoanStatus::Repaid, "1"));
    stage.commit(with_loans(organization, vec![harmless])).await.unwrap();
    let gone = stage.create_named(organization, "Eve").await;
    let late = report(None, 2, "l-2", &gone, position(LoanStatus::Rejected, "1"));
    stage.delete(gone).await;
    refused(&stage.commit(with_loans(organization, vec![late])).await);
}

async fn a_unit_that_deletes_a_customer_cannot_lend_to_it(stage: Stage) {
    let organization = stage.organization().await;
    let pending = stage.create_named(organization, "Ada").await;
    let gone = CustomerChange::gone(pending.clone().delete(moment(9)).unwrap());
    let loan = report(None, 1, "l-1", &pending, position(LoanStatus::Rejected, "1"));
    refused(&stage.commit(Unit { loans: vec![loan], ..unit(organization, vec![gone]) }).await);
    assert_eq!(stage.find(organization, pending.id()).await, Some(pending));
}

async fn of_closing_and_lending_at_once_one_is_kept(stage: Stage) {
    let organization = stage.organization().await;
    for round in 1..=20 {
        let ada = active_customer(&stage, organization).await;
        let loan = report(None, round, &format!("l-{round}"), &ada, position(LoanStatus::Active, "1"));
        let units =
            [unit(organization, vec![changed(ada.clone(), close("2026-05-22"))]), with_loans(organization, vec![loan])];
        let races = units.map(|unit| {
            let store = Arc::clone(&stage.store);
            tokio::spawn(async move { store.commit(vec![unit]).await.remove(0) })
        });
        let mut kept = Vec::new();
        for race in races {
            kept.push(race.await.unwrap().is_ok());
        }
        let stored = fresh(&stage, &ada).await;
        assert_eq!(kept.iter().filter(|kept| **kept).count(), 1, "{kept:?}");
        assert_eq!(stored.loans().open, u32::from(kept[1]), "{kept:?}");
        assert_eq!(stored.closing().is_some(), kept[0], "{kept:?}");
    }
}

async fn of_many_who_lend_to_a_customer_at_once_none_is_miscounted(stage: Stage) {
    let organization = stage.organization().await;
    let ada = active_customer(&stage, organization).await;
    let races = (1..=20).map(|id| {
        let store = Arc::clone(&stage.store);
        let loan = report(None, id, &format!("l-{id}"), &ada, position(LoanStatus::Active, "1"));
        let unit = with_loans(organization, vec![loan]);
        tokio::spawn(async move { store.commit(vec![unit]).await.remove(0) })
    });
    let verdicts: Vec<_> = futures::future::join_all(races).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_ok()).count(), 1);
    assert_eq!(fresh(&stage, &ada).await.loans(), LoanCounts { open: 1, total: 1 });
}

async fn a_new_customer_and_its_loan_are_one_unit(stage: Stage) {
    let organization = stage.organization().await;
    let (ada, creation) = created(organization, number(7), named("Ada"));
    let loan = report(None, 1, "l-1", &ada, position(LoanStatus::Rejected, "1"));
    stage.commit(Unit { loans: vec![loan], ..unit(organization, vec![creation]) }).await.unwrap();
    assert_eq!(fresh(&stage, &ada).await.loans(), LoanCounts { open: 0, total: 1 });
}

async fn loans_are_listed_by_filter_and_order(stage: Stage) {
    let organization = stage.organization().await;
    let (ada, eve) = (active_customer(&stage, organization).await, active_customer(&stage, organization).await);
    let due = |date: Option<&str>, position| LoanPosition { expected_disbursement: date.map(day), ..position };
    keep(&stage, None, 1, &ada, due(Some("2026-07-01"), position(LoanStatus::Active, "5"))).await;
    keep(&stage, None, 2, &eve, due(None, position(LoanStatus::Rejected, "10"))).await;
    keep(&stage, None, 3, &ada, due(Some("2026-06-01"), position(LoanStatus::Active, "5"))).await;
    keep(&stage, None, 4, &ada, due(None, position(LoanStatus::Repaid, "1"))).await;
    keep(&stage, None, 5, &eve, due(Some("2026-06-01"), position(LoanStatus::Active, "7"))).await;
    let (up, down) = (Direction::Ascending, Direction::Descending);
    let expected = [
        (None, None, LoanSort::Id, up, vec![1, 2, 3, 4, 5]),
        (None, None, LoanSort::Id, down, vec![5, 4, 3, 2, 1]),
        (None, None, LoanSort::Principal, up, vec![4, 1, 3, 5, 2]),
        (None, None, LoanSort::Principal, down, vec![2, 5, 3, 1, 4]),
        (None, None, LoanSort::ExpectedDisbursement, up, vec![3, 5, 1, 2, 4]),
        (None, None, LoanSort::ExpectedDisbursement, down, vec![1, 5, 3, 4, 2]),
        (Some(ada.id()), None, LoanSort::Principal, up, vec![4, 1, 3]),
        (None, Some(LoanStatus::Active), LoanSort::Principal, down, vec![5, 3, 1]),
        (None, Some(LoanStatus::Active), LoanSort::Id, up, vec![1, 3, 5]),
        (Some(eve.id()), Some(LoanStatus::Active), LoanSort::Id, up, vec![5]),
    ];
    for (customer, status, sort, direction, wanted) in expected {
        let mut query = LoanQuery { organization, customer, status, sort, direction, offset: 0, limit: 100 };
        let page = stage.store.list_loans(&query).await.unwrap();
        assert_eq!(page.loans.iter().map(|loan| loan.id.get()).collect::<Vec<_>>(), wanted, "{query:?}");
        (query.offset, query.limit) = (1, 1);
        let page = stage.store.list_loans(&query).await.unwrap();
        let second: Vec<i64> = wanted.iter().copied().skip(1).take(1).collect();
        assert_eq!(page.loans.iter().map(|loan| loan.id.get()).collect::<Vec<_>>(), second, "{query:?}");
        assert_eq!(page.total, wanted.len() as u64);
    }
}

async fn totals_are_exact_beyond_the_range_of_an_amount(stage: Stage) {
    let organization = stage.organization().await;
    let ada = active_customer(&stage, organization).await;
    let eve = active_customer(&stage, organization).await;
    let greatest = Some(amount("999999999999.999999"));
    for id in 1..=12 {
        let great = LoanPosition { total_outstanding: greatest, ..position(LoanStatus::Active, "1") };
        keep(&stage, None, id, &ada, great).await;
    }
    let paid = LoanPosition { total_paid: Some(amount("0.5")), ..position(LoanStatus::Repaid, "1") };
    keep(&stage, None, 13, &eve, paid).await;
    let totals = stage.store.totals(organization, &[eve.id(), number(99), ada.id()]).await.unwrap();
    let of = |outstanding, paid| LoanTotals { outstanding, paid };
    assert_eq!(totals, [of(0, 500_000), of(0, 0), of(12 * 999_999_999_999_999_999, 0)]);
}

async fn the_last_score_of_an_external_id_stands(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    let score = |score| Score { grade: Grade::B, score, limit: amount("1500.5") };
    let reported = |id: &str, before, after| ScoreChange::reported(external(id), before, after, moment(8));
    let first = vec![reported("a", None, score(1)), reported("b", None, score(2)), reported("a", None, score(1000))];
    stage.commit(Unit { scores: first, ..unit(organization, Vec::new()) }).await.unwrap();
    let ids = [external("b"), external("none"), external("a")];
    let found = stage.store.scores(organization, &ids).await.unwrap();
    assert_eq!(found, [Some(score(2)), None, Some(score(1000))]);
    let second = vec![reported("b", Some(score(2)), Score::UNKNOWN)];
    stage.commit(Unit { scores: second, ..unit(organization, Vec::new()) }).await.unwrap();
    assert_eq!(stage.store.scores(organization, &ids[..1]).await.unwrap(), [Some(Score::UNKNOWN)]);
    assert!(stage.store.scores(other, &ids).await.unwrap().iter().all(Option::is_none));
    assert_eq!(stage.log(organization).await.len(), 4);
}

on_every_store! {
    a_loan_comes_back_value_for_value,
    a_customers_counts_follow_its_loans_and_nothing_else,
    a_loan_that_is_not_as_expected_refuses_its_unit,
    counts_that_are_not_as_expected_refuse_a_loan,
    an_open_loan_keeps_its_customer_from_being_closed,
    any_loan_keeps_its_customer_from_being_deleted,
    an_open_loan_needs_a_customer_that_is_still_active,
    a_unit_that_deletes_a_customer_cannot_lend_to_it,
    of_closing_and_lending_at_once_one_is_kept,
    of_many_who_lend_to_a_customer_at_once_none_is_miscounted,
    a_new_customer_and_its_loan_are_one_unit,
    loans_are_listed_by_filter_and_order,
    totals_are_exact_beyond_the_range_of_an_amount,
    the_last_score_of_an_external_id_stands,
}
