//! The log of all that happened in an organization, customers and the records beside them.

use std::collections::BTreeSet;

use custodia_adapters::changes::encode_named;
use custodia_domain::account::{Account, AccountDetails, AccountKind, AccountStatus};
use custodia_domain::company::{Company, CompanyDetails, CompanyId, CompanyName, CompanyStatus};
use custodia_domain::loan::{Amount, CurrencyCode, Loan, LoanPosition, LoanStatus, Score, ScoreChange};
use custodia_domain::ports::{EventQuery, LogEntry, LoggedEvent};
use custodia_domain::record::RecordEvent;
use custodia_domain::unit::CompanyChange;
use custodia_domain::{CompanyNumber, LoanId, OrganizationId, Unit, Value};

use crate::support::{Stage, at, audit, call_at, created, day, events_of, external, known_as, moment, number, unit};

/// A unit with a change of every kind, and its record events in the order of the log.
fn one_of_each(organization: OrganizationId, id: i64) -> (Unit, Vec<RecordEvent>) {
    let (ada, creation) = created(organization, number(id), known_as("Ada", &format!("c-{id}")));
    let details = AccountDetails {
        holders: BTreeSet::from([external("c-1"), external("c-2")]),
        primary: external("c-1"),
        status: AccountStatus::Closed,
        kind: AccountKind::Savings,
        portfolio: external("p"),
        opened: at(0),
        closed: Some(at(1)),
    };
    let account = Account::put(None, organization, external(&format!("a-{id}")), details, [], moment(1));
    let company = Company {
        organization,
        number: CompanyNumber::parse(id).unwrap(),
        id: CompanyId::from_random(id.unsigned_abs().into()),
        details: CompanyDetails {
            name: CompanyName::parse("Firm").unwrap(),
            status: CompanyStatus::Active,
            description: None,
            industry: None,
            website: None,
            phone: None,
            address: None,
        },
    };
    let values = [
        ("status", Value::Text(LoanStatus::Rejected.label().into())),
        ("principal", Value::Text(Amount::default().to_string().into())),
        ("currencyCode", Value::Text(CurrencyCode::parse("PLN").unwrap().as_str().into())),
        ("expectedDisbursementDate", Value::Date(day("2026-07-01"))),
    ];
    let position =
        LoanPosition::from_values(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value));
    let loan_id = LoanId::parse(id).unwrap();
    let loan = Loan::report(None, loan_id, external(&format!("l-{id}")), &ada, position.unwrap(), moment(1));
    let whole = Unit {
        accounts: vec![account.unwrap().applied().unwrap()],
        companies: vec![CompanyChange::created(company, moment(1))],
        loans: vec![loan.unwrap().applied().unwrap()],
        webhooks: Vec::new(),
        scores: vec![ScoreChange::reported(external("c-1"), None, Score::UNKNOWN, moment(1))],
        ..unit(organization, vec![creation])
    };
    let mut events = vec![whole.companies[0].event().clone()];
    events.extend(whole.accounts[0].events().iter().cloned());
    events.extend([whole.loans[0].event().clone(), whole.scores[0].event().clone()]);
    (whole, events)
}

fn names(log: &[LogEntry]) -> Vec<&'static str> {
    let name = |entry: &LogEntry| match &entry.event {
        LoggedEvent::Customer(event) => event.kind().name(),
        LoggedEvent::Record(event) => event.kind.name(),
    };
    log.iter().map(name).collect()
}

/// An event as it is told: values that are written alike are alike.
fn told(event: &RecordEvent) -> (RecordEvent, serde_json::Value) {
    (RecordEvent { changes: Vec::new(), ..event.clone() }, serde_json::from_str(&encode_named(&event.changes)).unwrap())
}

async fn events_of_a_unit_are_logged_in_the_order_of_its_parts(stage: Stage) {
    let organization = stage.organization().await;
    let (whole, events) = one_of_each(organization, 1);
    let committed = stage.commit(whole).await.unwrap();
    let log = stage.log(organization).await;
    let expected = ["customer.created", "company.created", "account.created", "loan.created", "score.reported"];
    assert_eq!(names(&log), expected);
    assert_eq!(committed.last_sequence, log.last().map(|entry| entry.sequence));
    assert!(log.is_sorted_by(|left, right| left.sequence < right.sequence));
    assert!(log.iter().all(|entry| entry.audit == audit()));
    let records: Vec<_> = log
        .iter()
        .filter_map(|entry| match &entry.event {
            LoggedEvent::Record(event) => Some(told(event)),
            LoggedEvent::Customer(_) => None,
        })
        .collect();
    assert_eq!(records, events.iter().map(told).collect::<Vec<_>>());
}

async fn the_log_is_read_by_name_by_customer_and_from_a_place(stage: Stage) {
    let (organization, other) = (stage.organization().await, stage.organization().await);
    stage.commit(one_of_each(organization, 1).0).await.unwrap();
    stage.commit(one_of_each(organization, 2).0).await.unwrap();
    stage.commit(one_of_each(other, 1).0).await.unwrap();
    let ada = stage.find(organization, number(1)).await.unwrap();
    stage.change(ada, call_at("1")).await;
    let all = stage.log(organization).await;
    assert_eq!(all.len(), 11);
    let read = async |query: EventQuery| stage.store.events(&query).await.unwrap();
    let named = EventQuery { kinds: vec!["loan.created", "customer.updated"], ..events_of(organization) };
    assert_eq!(names(&read(named).await), ["loan.created", "loan.created", "customer.updated"]);
    let of_one = EventQuery { customer: Some(number(1)), ..events_of(organization) };
    assert_eq!(names(&read(of_one.clone()).await), ["customer.created", "loan.created", "customer.updated"]);
    let later = EventQuery { after: Some(all[0].sequence), limit: 1, ..of_one.clone() };
    assert_eq!(names(&read(later).await), ["loan.created"]);
    let last = EventQuery { after: Some(all[3].sequence), ..of_one.clone() };
    assert_eq!(names(&read(last).await), ["customer.updated"]);
    let of_one_named = EventQuery { kinds: vec!["loan.created"], ..of_one };
    assert_eq!(names(&read(of_one_named).await), ["loan.created"]);
    let rest = EventQuery { after: Some(all[4].sequence), limit: 2, ..events_of(organization) };
    assert_eq!(read(rest).await, all[5..7]);
}

async fn the_history_of_a_customer_is_its_own_events_alone(stage: Stage) {
    let organization = stage.organization().await;
    stage.commit(one_of_each(organization, 1).0).await.unwrap();
    let ada = stage.find(organization, number(1)).await.unwrap();
    stage.change(ada, call_at("1")).await;
    let history = stage.store.history(organization, number(1), None, 10).await.unwrap();
    assert_eq!(history.iter().map(|recorded| recorded.event.version().get()).collect::<Vec<_>>(), [2, 1]);
    let first = stage.store.history(organization, number(1), Some(history[0].event.version()), 10).await.unwrap();
    assert_eq!(first, history[1..]);
}

async fn records_of_an_organization_that_there_is_not_are_refused(stage: Stage) {
    let nowhere = OrganizationId::parse(77).unwrap();
    let whole = Unit { customers: Vec::new(), ..one_of_each(nowhere, 1).0 };
    assert!(stage.commit(whole).await.is_err());
    assert!(stage.log(nowhere).await.is_empty());
}

on_every_store! {
    events_of_a_unit_are_logged_in_the_order_of_its_parts,
    the_log_is_read_by_name_by_customer_and_from_a_place,
    the_history_of_a_customer_is_its_own_events_alone,
    records_of_an_organization_that_there_is_not_are_refused,
}
