//! What is kept beside customers, in one transaction with them, while several programs write.

use std::sync::Arc;

use custodia_domain::account::{
    Account, AccountChange, AccountDetails, AccountKind, AccountStatus, Card, CardKey, CardKind, CardStatus, Iin,
    Last4, Network,
};
use custodia_domain::company::{Company, CompanyDetails, CompanyId, CompanyName, CompanyStatus};
use custodia_domain::loan::{
    Amount, CurrencyCode, Grade, Loan, LoanChange, LoanCounts, LoanPosition, LoanStatus, Score, ScoreChange,
};
use custodia_domain::ports::{
    CommitError, CompanyKey, CustomerFilter, Direction, EventQuery, LoanQuery, LoanSelector, LoanSort, LoanTotals,
    LoggedEvent, SortKey, Window,
};
use custodia_domain::unit::CompanyChange;
use custodia_domain::{
    CompanyNumber, Customer, CustomerChange, ExternalId, LoanId, OrganizationId, Outcome, Status, Unit,
};

use crate::races::programs;
use crate::support::{
    Stage, activate, at, call_at, changed, close, created, day, events_of, external, ids, keyed, mirrored, moment,
    named, number, postgres, query, unit,
};

fn applied<T>(outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Applied(change) => change,
        Outcome::Unchanged => panic!("the change of a test changes something"),
    }
}

fn details(holders: &[&str]) -> AccountDetails {
    AccountDetails {
        holders: holders.iter().map(|holder| external(holder)).collect(),
        primary: external(holders[0]),
        status: AccountStatus::Open,
        kind: AccountKind::CreditCard,
        portfolio: external("gold"),
        opened: at(0),
        closed: None,
    }
}

fn card(holder: &str, last4: &str) -> (CardKey, Card) {
    let card = Card {
        iin: Iin::parse("411111").unwrap(),
        kind: CardKind::Credit,
        status: CardStatus::Open,
        network: Network::parse(4).unwrap(),
        opened: at(0),
        closed: None,
    };
    (CardKey { holder: external(holder), last4: Last4::parse(last4).unwrap() }, card)
}

fn put(organization: OrganizationId, stored: Option<&Account>, id: &str, holders: &[&str]) -> AccountChange {
    let cards = [card(holders[0], "1234")];
    applied(Account::put(stored, organization, external(id), details(holders), cards, moment(2)).unwrap())
}

fn position(status: LoanStatus, principal: &str) -> LoanPosition {
    LoanPosition {
        status,
        principal: Amount::parse(principal).unwrap(),
        currency: CurrencyCode::parse("PLN").unwrap(),
        account_no: None,
        product_id: Some(7),
        product_name: None,
        approved_principal: None,
        term_frequency: Some(12),
        number_of_repayments: None,
        interest_rate_per_period: None,
        principal_disbursed: None,
        principal_paid: None,
        principal_outstanding: None,
        interest_charged: None,
        total_outstanding: Some(Amount::parse(principal).unwrap()),
        total_paid: None,
        next_due_date: Some(day("2027-01-01")),
        next_due_amount: None,
        expected_disbursement: None,
    }
}

fn report(stored: Option<&Loan>, id: i64, owner: &Customer, position: LoanPosition) -> LoanChange {
    let external_id = external(&format!("loan-{id}"));
    applied(Loan::report(stored, LoanId::parse(id).unwrap(), external_id, owner, position, moment(3)).unwrap())
}

fn lending(organization: OrganizationId, loans: Vec<LoanChange>) -> Unit {
    Unit { loans, ..unit(organization, Vec::new()) }
}

async fn active(stage: &Stage, organization: OrganizationId, external_id: &str) -> Customer {
    let customer = stage.create(organization, mirrored(external_id)).await;
    stage.change(customer, activate("2026-05-22")).await
}

async fn kinds(stage: &Stage, query: &EventQuery) -> Vec<&'static str> {
    let log = stage.store.events(query).await.unwrap();
    let name = |event: &LoggedEvent| match event {
        LoggedEvent::Customer(event) => event.kind().name(),
        LoggedEvent::Record(event) => event.kind.name(),
    };
    log.iter().map(|entry| name(&entry.event)).collect()
}

fn batch(organization: OrganizationId, first: i64, prefix: &str) -> Unit {
    let names: Vec<String> = (first..first + 50).map(|id| format!("{prefix}-{id}")).collect();
    let creations = (first..).zip(&names).map(|(id, name)| created(organization, number(id), mirrored(name)).1);
    let accounts = names.iter().map(|name| put(organization, None, &format!("a-{name}"), &[name, "shared"]));
    Unit { accounts: accounts.collect(), ..keyed(organization, creations.collect(), 1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_fifty_is_there_as_a_whole_or_not_at_all() {
    let stage = postgres().await;
    let organization = stage.organization().await;
    let kept = batch(organization, 1, "c");
    let committed = stage.commit(kept.clone()).await.unwrap();
    let log = stage.log(organization).await;
    assert_eq!(log.last().map(|entry| entry.sequence), committed.last_sequence);
    assert_eq!(log.len(), 150, "customers, accounts and cards");
    assert!(log[..50].iter().all(|entry| matches!(entry.event, LoggedEvent::Customer(_))));
    let logged: Vec<_> = log[50..].iter().map(|entry| entry.event.clone()).collect();
    let told: Vec<_> = kept.accounts.iter().flat_map(AccountChange::events).cloned().collect();
    assert_eq!(logged.len(), told.len());
    for (logged, told) in logged.into_iter().zip(told) {
        let LoggedEvent::Record(logged) = logged else { panic!("a customer's event among the records'") };
        assert_eq!((logged.kind, &logged.subject, logged.version), (told.kind, &told.subject, told.version));
        assert_eq!((logged.external_id, logged.customer, logged.at), (told.external_id, told.customer, told.at));
    }
    let ids: Vec<ExternalId> = kept.accounts.iter().rev().map(|change| change.after().id().clone()).collect();
    let found = stage.store.accounts(organization, &ids).await.unwrap();
    let after: Vec<_> = kept.accounts.iter().rev().map(|change| Some(change.after().clone())).collect();
    assert_eq!(found, after);
    let holders = [external("c-7"), external("shared"), external("nobody")];
    let held = stage.store.held_by(organization, &holders).await.unwrap();
    assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [1, 50, 0]);
    assert!(held[1].is_sorted_by_key(Account::id));

    // The same accounts for other customers: refused, and no customer stays.
    let mut again = batch(organization, 101, "d");
    again.receipt = None;
    again.accounts = kept.accounts.clone();
    let verdict = stage.commit(again).await;
    assert!(matches!(verdict, Err(CommitError::RecordConflict)), "{verdict:?}");
    let verdict = stage.commit(batch(organization, 201, "e")).await;
    assert!(matches!(verdict, Err(CommitError::ReceiptTaken)), "{verdict:?}");
    assert_eq!(stage.total(organization).await, 50);
    assert_eq!(stage.log(organization).await.len(), 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_of_an_account_come_and_go_with_its_version() {
    let stage = postgres().await;
    let organization = stage.organization().await;
    let first = put(organization, None, "a-1", &["ada", "bob"]);
    let commit = |accounts: Vec<AccountChange>| Unit { accounts, ..unit(organization, Vec::new()) };
    stage.commit(commit(vec![first.clone()])).await.unwrap();
    let second = put(organization, Some(first.after()), "a-1", &["ada", "eve"]);
    stage.commit(commit(vec![second.clone(), put(organization, None, "a-2", &["bob"])])).await.unwrap();
    let held = stage.store.held_by(organization, &[external("ada"), external("bob"), external("eve")]).await.unwrap();
    let held: Vec<Vec<&str>> =
        held.iter().map(|accounts| accounts.iter().map(|account| account.id().as_str()).collect()).collect();
    assert_eq!(held, [vec!["a-1"], vec!["a-2"], vec!["a-1"]]);
    let stale = put(organization, Some(first.after()), "a-1", &["ada", "zoe"]);
    let verdict = stage.commit(commit(vec![stale])).await;
    assert!(matches!(verdict, Err(CommitError::RecordConflict)), "{verdict:?}");
    let found = stage.store.accounts(organization, &[external("a-1")]).await.unwrap();
    assert_eq!(found, [Some(second.after().clone())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_closing_and_lending_at_once_one_is_kept() {
    const ROUNDS: i64 = 60;
    let programs = programs(2).await;
    let organization = programs[0].organization().await;
    let mut tasks = Vec::new();
    for round in 1..=ROUNDS {
        let customer = active(&programs[0], organization, &format!("c-{round}")).await;
        let closing = unit(organization, vec![changed(customer.clone(), close("2026-06-01"))]);
        let loan = report(None, round, &customer, position(LoanStatus::Active, "100"));
        let lending = lending(organization, vec![loan]);
        let (one, other) = if round % 2 == 0 { (closing, lending) } else { (lending, closing) };
        let both = [(0, one), (1, other)].map(|(program, unit)| {
            let program = Arc::clone(&programs[program]);
            tokio::spawn(async move { program.store.commit(vec![unit]).await.remove(0) })
        });
        tasks.push((customer, both));
    }
    for (customer, both) in tasks {
        let verdicts = futures::future::join_all(both).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(verdicts.iter().filter(|verdict| verdict.is_ok()).count(), 1, "{verdicts:?}");
        let refused = verdicts.iter().find_map(|verdict| verdict.as_ref().err()).unwrap();
        let stored = programs[0].find(organization, customer.id()).await.unwrap();
        match (stored.status(), stored.loans(), refused) {
            (Status::Closed, LoanCounts { open: 0, total: 0 }, CommitError::RecordConflict)
            | (Status::Active, LoanCounts { open: 1, total: 1 }, CommitError::VersionConflict(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_lend_to_one_customer_at_once_each_is_counted_or_refused() {
    let programs = programs(3).await;
    let organization = programs[0].organization().await;
    let customer = active(&programs[0], organization, "ada").await;
    let tasks = (1..=40).map(|id| {
        let program = Arc::clone(&programs[usize::try_from(id).unwrap() % 3]);
        let customer = customer.id();
        tokio::spawn(async move {
            loop {
                let owner = program.find(organization, customer).await.unwrap();
                let loan = report(None, id, &owner, position(LoanStatus::Approved, "10"));
                match program.store.commit(vec![lending(organization, vec![loan])]).await.remove(0) {
                    Ok(_) => return,
                    Err(CommitError::RecordConflict) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let stored = programs[0].find(organization, customer.id()).await.unwrap();
    assert_eq!(stored.loans(), LoanCounts { open: 40, total: 40 });
    assert_eq!(stored.version(), customer.version(), "loans are no change of the customer");
    let totals = programs[0].store.totals(organization, &[customer.id(), number(999)]).await.unwrap();
    assert_eq!(totals, [LoanTotals { outstanding: 400_000_000, paid: 0 }, LoanTotals::default()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_with_loans_is_neither_closed_nor_deleted_whatever_the_change_knows() {
    let stage = postgres().await;
    let organization = stage.organization().await;
    let before = active(&stage, organization, "ada").await;
    let loan = report(None, 1, &before, position(LoanStatus::Active, "100"));
    stage.commit(lending(organization, vec![loan.clone()])).await.unwrap();
    let closing = changed(before.clone(), close("2026-06-01"));
    let alone = unit(organization, vec![closing.clone()]);
    let beside = unit(organization, vec![created(organization, number(50), named("Eve")).1, closing]);
    for refused in [alone, beside] {
        let verdict = stage.commit(refused).await;
        assert!(matches!(verdict, Err(CommitError::VersionConflict(id)) if id == before.id()), "{verdict:?}");
    }
    let now = stage.find(organization, before.id()).await.unwrap();
    let repaid = report(Some(loan.after()), 1, &now, position(LoanStatus::Repaid, "100"));
    stage.commit(lending(organization, vec![repaid.clone()])).await.unwrap();
    let now = stage.find(organization, before.id()).await.unwrap();
    assert_eq!(now.loans(), LoanCounts { open: 0, total: 1 });
    // What was reported of an older position is refused, and so is a change of the same customer's older counts.
    for stale in [loan, repaid] {
        let verdict = stage.commit(lending(organization, vec![stale])).await;
        assert!(matches!(verdict, Err(CommitError::RecordConflict)), "{verdict:?}");
    }
    let closed = stage.change(now, close("2026-06-01")).await;
    assert_eq!(stage.find(organization, closed.id()).await.unwrap().loans().total, 1);
    let pending = stage.create(organization, mirrored("eve")).await;
    let loan = report(None, 2, &pending, position(LoanStatus::Rejected, "5"));
    stage.commit(lending(organization, vec![loan])).await.unwrap();
    let gone = CustomerChange::gone(pending.clone().delete(moment(9)).unwrap());
    let verdict = stage.commit(unit(organization, vec![gone])).await;
    assert!(matches!(verdict, Err(CommitError::VersionConflict(id)) if id == pending.id()), "{verdict:?}");
    let of_ada = EventQuery { customer: Some(before.id()), ..events_of(organization) };
    assert_eq!(
        kinds(&stage, &of_ada).await,
        ["customer.created", "customer.activated", "loan.created", "loan.updated", "customer.closed"]
    );
    assert_eq!(stage.store.history(organization, before.id(), None, 10).await.unwrap().len(), 3);
    let of_loans = EventQuery { kinds: vec!["loan.updated"], ..of_ada };
    assert_eq!(kinds(&stage, &of_loans).await, ["loan.updated"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loans_are_found_and_listed_with_missing_dates_last() {
    let stage = postgres().await;
    let organization = stage.organization().await;
    let ada = active(&stage, organization, "ada").await;
    let mut stored = Vec::new();
    for (id, principal, expected) in
        [(1, "30", None), (2, "10.5", Some("2026-03-01")), (3, "20", None), (4, "20", Some("2026-01-01"))]
    {
        let owner = stage.find(organization, ada.id()).await.unwrap();
        let status = if id == 3 { LoanStatus::Repaid } else { LoanStatus::Active };
        let position = LoanPosition { expected_disbursement: expected.map(day), ..position(status, principal) };
        let change = report(None, id, &owner, position);
        stage.commit(lending(organization, vec![change.clone()])).await.unwrap();
        stored.push(change.after().clone());
    }
    let keys = [LoanSelector::ExternalId(external("loan-2")), LoanSelector::Id(LoanId::parse(9).unwrap())];
    let found = stage.store.loans(organization, &keys).await.unwrap();
    assert_eq!(found, [Some(stored[1].clone()), None]);
    let (up, down) = (Direction::Ascending, Direction::Descending);
    let list = |sort, direction, status, offset| LoanQuery {
        organization,
        customer: None,
        status,
        sort,
        direction,
        offset,
        limit: 3,
    };
    for (query, total, expected) in [
        (list(LoanSort::Id, down, None, 0), 4, vec![4, 3, 2]),
        (list(LoanSort::Principal, up, None, 0), 4, vec![2, 3, 4]),
        (list(LoanSort::Principal, down, None, 1), 4, vec![4, 3, 2]),
        (list(LoanSort::ExpectedDisbursement, up, None, 0), 4, vec![4, 2, 1]),
        (list(LoanSort::ExpectedDisbursement, down, None, 1), 4, vec![4, 3, 1]),
        (list(LoanSort::ExpectedDisbursement, up, Some(LoanStatus::Active), 1), 3, vec![2, 1]),
    ] {
        let page = stage.store.list_loans(&query).await.unwrap();
        let ids: Vec<i64> = page.loans.iter().map(|loan| loan.id.get()).collect();
        assert_eq!((page.total, ids), (total, expected), "{query:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn companies_and_scores_are_kept_and_found() {
    let stage = postgres().await;
    let organization = stage.organization().await;
    let company = |number: i64, id: &str| Company {
        organization,
        number: CompanyNumber::parse(number).unwrap(),
        id: CompanyId::parse(id).unwrap(),
        details: CompanyDetails {
            name: CompanyName::parse("Łódź Sp. z o.o.").unwrap(),
            status: CompanyStatus::Active,
            description: None,
            industry: None,
            website: None,
            phone: None,
            address: None,
        },
    };
    let (one, two) = (company(1, "CMP-00000001"), company(2, "CMP-00000002"));
    let found = |companies: &[&Company]| {
        let companies = companies.iter().map(|company| CompanyChange::created((*company).clone(), moment(1)));
        Unit { companies: companies.collect(), ..unit(organization, Vec::new()) }
    };
    stage.commit(found(&[&one, &two])).await.unwrap();
    let verdict = stage.commit(found(&[&company(3, "CMP-00000003"), &company(4, "CMP-00000002")])).await;
    assert!(matches!(verdict, Err(CommitError::RecordConflict)), "{verdict:?}");
    let keys = [CompanyKey::Id(two.id.clone()), CompanyKey::Number(CompanyNumber::parse(3).unwrap())];
    assert_eq!(stage.store.companies(organization, &keys).await.unwrap(), [Some(two.clone()), None]);
    assert_eq!(stage.store.list_companies(organization, 1, 5).await.unwrap(), (vec![two], 2));
    let score = |score, limit: &str| Score { grade: Grade::A, score, limit: Amount::parse(limit).unwrap() };
    let report = |before, now| ScoreChange::reported(external("ada"), before, now, moment(2));
    let scores = vec![report(None, score(700, "10")), report(Some(score(700, "10")), score(710, "10"))];
    stage.commit(Unit { scores, ..unit(organization, Vec::new()) }).await.unwrap();
    let known = stage.store.scores(organization, &[external("eve"), external("ada")]).await.unwrap();
    assert_eq!(known, [None, Some(score(710, "10"))]);
    assert_eq!(
        kinds(&stage, &events_of(organization)).await,
        ["company.created", "company.created", "score.reported", "score.reported"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_may_lend_close_and_hold_in_its_order() {
    let stage = postgres().await;
    let organization = stage.organization().await;
    let ada = active(&stage, organization, "ada").await;
    let account = put(organization, None, "a-1", &["ada"]);
    let held = |change: AccountChange| Unit { accounts: vec![change], ..unit(organization, Vec::new()) };
    let next = put(organization, Some(account.after()), "a-1", &["ada", "eve"]);
    let units = vec![
        held(account),
        lending(organization, vec![report(None, 1, &ada, position(LoanStatus::Active, "1"))]),
        unit(organization, vec![changed(ada.clone(), close("2026-06-01"))]),
        held(next),
        unit(organization, vec![changed(ada.clone(), call_at("1"))]),
    ];
    let verdicts = stage.store.commit(units).await;
    let kept: Vec<bool> = verdicts.iter().map(Result::is_ok).collect();
    assert_eq!(kept, [true, true, false, true, true], "{verdicts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facets_come_back_and_customers_are_filtered_and_sorted_by_them() {
    use custodia_domain::facets::{Acquisition, Source};
    use custodia_domain::{EmailAddress, NewCustomer};
    let stage = postgres().await;
    let organization = stage.organization().await;
    let web = Source::parse("web").unwrap();
    let company = CompanyNumber::parse(3).unwrap();
    for (source, company, email) in [
        (Some(&web), Some(company), Some("b@example.com")),
        (Some(&web), None, None),
        (None, None, Some("B@example.com")),
    ] {
        let acquisition = Acquisition { source: source.cloned(), company, ..Acquisition::EMPTY };
        let email = email.map(|email| EmailAddress::parse(email).unwrap());
        let customer = stage.create(organization, NewCustomer { acquisition, email, ..named("Ada") }).await;
        assert_eq!(stage.find(organization, customer.id()).await, Some(customer));
    }
    let second = stage.find(organization, number(2)).await.unwrap();
    stage.change(second, activate("2026-05-22")).await;
    let filters = [
        (CustomerFilter { source: Some(web), ..CustomerFilter::default() }, vec![1, 2]),
        (CustomerFilter { company: Some(company), ..CustomerFilter::default() }, vec![1]),
        (CustomerFilter { active: Some(true), ..CustomerFilter::default() }, vec![2]),
        (CustomerFilter { active: Some(false), ..CustomerFilter::default() }, vec![1, 3]),
    ];
    for (filter, expected) in filters {
        for sort in [SortKey::Id, SortKey::CreatedAt] {
            let mut query = query(organization, sort, Direction::Ascending, Window::Page { offset: 0 });
            query.filter = filter.clone();
            assert_eq!(ids(&stage.list(&query).await), expected, "{query:?}");
        }
    }
    let (up, down) = (Direction::Ascending, Direction::Descending);
    for (sort, direction, expected) in [
        (SortKey::Email, up, [3, 1, 2]),
        (SortKey::Email, down, [1, 3, 2]),
        (SortKey::CreatedAt, down, [3, 2, 1]),
        (SortKey::UpdatedAt, up, [1, 3, 2]),
        (SortKey::ActivationDate, down, [2, 3, 1]),
    ] {
        let whole = query(organization, sort, direction, Window::Page { offset: 0 });
        assert_eq!(ids(&stage.list(&whole).await), expected, "{sort:?} {direction:?}");
        let mut walked = Vec::new();
        let mut window = Window::After(None);
        while let Some(last) = {
            let mut one = query(organization, sort, direction, window.clone());
            one.limit = 1;
            stage.list(&one).await.customers.pop()
        } {
            walked.push(last.id().get());
            window = Window::After(Some(custodia_domain::ports::Boundary::after(&last, sort)));
        }
        assert_eq!(walked, expected, "{sort:?} {direction:?}, one by one");
    }
}
