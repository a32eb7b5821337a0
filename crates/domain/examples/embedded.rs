//! The crate inside another service: a store of its own behind the port, a fixed clock, and a customer's whole
//! life. Run it with `cargo run -p custodia-domain --example embedded`.

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use custodia_domain::account::{Account, AccountId};
use custodia_domain::company::Company;
use custodia_domain::loan::{Loan, Score};
use custodia_domain::ports::{
    AccountStore, AddError, BatchKeys, Clock, CommitError, Committed, CompanyKey, Counter, CustomerKey, CustomerPage,
    CustomerQuery, CustomerStore, Directory, EventQuery, IdSource, LoanBook, LoanPage, LoanQuery, LoanSelector,
    LoanTotals, LogEntry, LoggedEvent, Met, Office, Offices, Portfolio, RecordedEvent, ScoringEngine, Selector,
    StoreError, WebhookStore,
};
use custodia_domain::registry::{Caller, Command, OfficeChoice, OperationError, Ports, Precondition, Registry};
use custodia_domain::webhook::{
    DeliveryQuery, DeliveryRecord, DueDelivery, Replay, Replayed, Settlement, WebhookEndpoint, WebhookId,
};
use custodia_domain::{
    Actor, Answer, ClosingTerms, ClosureReasonId, Customer, CustomerId, Date, ExternalId, Moment, Name, NewCustomer,
    OfficeId, OfficeName, OrganizationId, Receipt, ReceiptKey, RequestId, Sequence, Timestamp, Unit, Version,
};

/// One organization's customers in a map: the least that serves the use cases below.
#[derive(Default)]
struct OneOrganization(Mutex<(BTreeMap<CustomerId, Customer>, Vec<RecordedEvent>)>);

impl OneOrganization {
    fn apply(&self, unit: &Unit) -> Result<Committed, CommitError> {
        let mut state = self.0.lock().expect("no holder panics");
        let (customers, events) = &mut *state;
        for change in &unit.customers {
            let id = change.customer();
            if customers.get(&id).map(Customer::version) != change.expects() {
                return Err(CommitError::VersionConflict(id));
            }
            let same = |other: &&Customer| other.id() != id && other.external_id().is_some();
            let taken = change.after().and_then(Customer::external_id);
            if taken.is_some() && customers.values().filter(same).any(|other| other.external_id() == taken) {
                return Err(CommitError::ExternalIdTaken(id));
            }
        }
        for change in &unit.customers {
            match change.after() {
                Some(customer) => customers.insert(change.customer(), customer.clone()),
                None => customers.remove(&change.customer()),
            };
            for event in change.events() {
                let sequence = Sequence::parse(i64::try_from(events.len()).expect("few") + 1).expect("positive");
                events.push(RecordedEvent { sequence, event: event.clone(), audit: unit.audit.clone() });
            }
        }
        Ok(Committed { last_sequence: events.last().map(|event| event.sequence) })
    }
}

#[async_trait]
impl CustomerStore for OneOrganization {
    async fn find(&self, keys: &[CustomerKey]) -> Result<Vec<Option<Customer>>, StoreError> {
        let state = self.0.lock().expect("no holder panics");
        let named = |key: &CustomerKey, customer: &&Customer| match &key.selector {
            Selector::Id(id) => customer.id() == *id,
            Selector::ExternalId(external) => customer.external_id() == Some(external),
        };
        Ok(keys.iter().map(|key| state.0.values().find(|customer| named(key, customer)).cloned()).collect())
    }

    async fn meet(&self, organization: OrganizationId, batch: &BatchKeys) -> Result<Met, StoreError> {
        let key = |id: &ExternalId| CustomerKey { organization, selector: Selector::ExternalId(id.clone()) };
        let customers = self.find(&batch.customers.iter().map(key).collect::<Vec<_>>()).await?;
        let (accounts, held) = (vec![None; batch.accounts.len()], vec![Vec::new(); batch.holders.len()]);
        Ok(Met { customers, accounts, held })
    }

    async fn list(&self, query: &CustomerQuery) -> Result<CustomerPage, StoreError> {
        let customers: Vec<_> =
            self.0.lock().expect("no holder panics").0.values().take(query.limit.into()).cloned().collect();
        Ok(CustomerPage { total: Some(customers.len() as u64), customers, more: false })
    }

    async fn commit(&self, units: Vec<Unit>) -> Vec<Result<Committed, CommitError>> {
        units.iter().map(|unit| self.apply(unit)).collect()
    }

    async fn receipts(&self, _: OrganizationId, keys: &[ReceiptKey]) -> Result<Vec<Option<Receipt>>, StoreError> {
        Ok(vec![None; keys.len()])
    }

    async fn purge_receipts(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<LogEntry>, StoreError> {
        let state = self.0.lock().expect("no holder panics");
        let entry = |recorded: &RecordedEvent| LogEntry {
            sequence: recorded.sequence,
            event: LoggedEvent::Customer(recorded.event.clone()),
            audit: recorded.audit.clone(),
        };
        Ok(state.1.iter().take(query.limit.into()).map(entry).collect())
    }

    async fn last_sequences(&self, organizations: &[OrganizationId]) -> Result<Vec<Option<Sequence>>, StoreError> {
        let state = self.0.lock().expect("no holder panics");
        let last = state.1.last().map(|recorded| recorded.sequence);
        Ok(vec![last; organizations.len()])
    }

    async fn history(
        &self,
        _: OrganizationId,
        customer: CustomerId,
        _: Option<Version>,
        _: u16,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let state = self.0.lock().expect("no holder panics");
        Ok(state.1.iter().rev().filter(|recorded| recorded.event.customer() == customer).cloned().collect())
    }

    async fn reserve(&self, _: OrganizationId, _: Counter, _: u32) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    async fn release(&self, _: OrganizationId, _: Counter, _: i64, _: i64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// One office, and nothing that could be added.
struct OneOffice;

#[async_trait]
impl Directory for OneOffice {
    async fn add_organization(&self, _: &str, _: Timestamp) -> Result<OrganizationId, StoreError> {
        Ok(OrganizationId::FIRST)
    }

    async fn organizations(&self) -> Result<Vec<(OrganizationId, String)>, StoreError> {
        Ok(vec![(OrganizationId::FIRST, "Embedded".into())])
    }

    async fn add_office(&self, _: OrganizationId, _: &OfficeName, _: Timestamp) -> Result<OfficeId, AddError> {
        Err(AddError::Taken)
    }

    async fn offices(&self, _: OrganizationId) -> Result<Option<Offices>, StoreError> {
        let name = OfficeName::parse("Head Office").expect("a valid name");
        Ok(Some(Offices { default: OfficeId::FIRST, all: vec![Office { id: OfficeId::FIRST, name }] }))
    }

    async fn set_default_office(&self, _: OrganizationId, office: OfficeId) -> Result<bool, StoreError> {
        Ok(office == OfficeId::FIRST)
    }

    async fn add_closure_reason(
        &self,
        _: OrganizationId,
        _: ClosureReasonId,
        _: &str,
        _: Timestamp,
    ) -> Result<(), AddError> {
        Err(AddError::Taken)
    }

    async fn companies(&self, _: OrganizationId, keys: &[CompanyKey]) -> Result<Vec<Option<Company>>, StoreError> {
        Ok(vec![None; keys.len()])
    }

    async fn list_companies(&self, _: OrganizationId, _: u64, _: u8) -> Result<(Vec<Company>, u64), StoreError> {
        Ok((Vec::new(), 0))
    }

    async fn add_portfolio(&self, _: OrganizationId, _: &Portfolio, _: Timestamp) -> Result<(), AddError> {
        Err(AddError::Taken)
    }

    async fn portfolios(&self, _: OrganizationId) -> Result<Vec<Portfolio>, StoreError> {
        Ok(Vec::new())
    }

    async fn closure_reasons(&self, _: OrganizationId) -> Result<Vec<(ClosureReasonId, String)>, StoreError> {
        Ok(Vec::new())
    }
}

/// A service without accounts, loans or scores.
struct Nothing;

#[async_trait]
impl AccountStore for Nothing {
    async fn accounts(&self, _: OrganizationId, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        Ok(vec![None; ids.len()])
    }

    async fn held_by(&self, _: OrganizationId, holders: &[ExternalId]) -> Result<Vec<Vec<Account>>, StoreError> {
        Ok(vec![Vec::new(); holders.len()])
    }
}

#[async_trait]
impl LoanBook for Nothing {
    async fn loans(&self, _: OrganizationId, selectors: &[LoanSelector]) -> Result<Vec<Option<Loan>>, StoreError> {
        Ok(vec![None; selectors.len()])
    }

    async fn list_loans(&self, _: &LoanQuery) -> Result<LoanPage, StoreError> {
        Ok(LoanPage { loans: Vec::new(), total: 0 })
    }

    async fn totals(&self, _: OrganizationId, customers: &[CustomerId]) -> Result<Vec<LoanTotals>, StoreError> {
        Ok(vec![LoanTotals::default(); customers.len()])
    }
}

#[async_trait]
impl ScoringEngine for Nothing {
    async fn scores(&self, _: OrganizationId, ids: &[ExternalId]) -> Result<Vec<Option<Score>>, StoreError> {
        Ok(vec![None; ids.len()])
    }
}

#[async_trait]
impl WebhookStore for Nothing {
    async fn endpoints(&self, _: OrganizationId) -> Result<Vec<WebhookEndpoint>, StoreError> {
        Ok(Vec::new())
    }

    async fn endpoint(&self, _: OrganizationId, _: WebhookId) -> Result<Option<WebhookEndpoint>, StoreError> {
        Ok(None)
    }

    async fn claim(
        &self,
        _: u128,
        _: Timestamp,
        _: Timestamp,
        _: u16,
        _: &[OrganizationId],
    ) -> Result<Vec<OrganizationId>, StoreError> {
        Ok(Vec::new())
    }

    async fn renew(&self, _: u128, _: &[OrganizationId], _: Timestamp) -> Result<Vec<OrganizationId>, StoreError> {
        Ok(Vec::new())
    }

    async fn release(&self, _: u128, _: OrganizationId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn enqueue(&self, _: OrganizationId, _: u128, _: Timestamp, _: u16) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn due(&self, _: OrganizationId, _: Timestamp, _: u16, _: u16) -> Result<Vec<DueDelivery>, StoreError> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: OrganizationId, _: u128, all: &[Settlement]) -> Result<Vec<bool>, StoreError> {
        Ok(vec![false; all.len()])
    }

    async fn next_due(&self, _: OrganizationId) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn deliveries(&self, _: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn replay(&self, _: &Replay) -> Result<Option<Replayed>, StoreError> {
        Ok(None)
    }

    async fn purge_deliveries(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// Always the same day.
struct Fixed(Moment);

impl Clock for Fixed {
    fn now(&self) -> Moment {
        self.0
    }
}

/// 1, 2, 3, …
struct Counting(AtomicI64);

#[async_trait]
impl IdSource for Counting {
    async fn numbers(&self, _: OrganizationId, _: Counter, count: usize) -> Result<Vec<i64>, StoreError> {
        Ok((0..count).map(|_| self.0.fetch_add(1, Ordering::Relaxed)).collect())
    }

    fn random(&self) -> u128 {
        4
    }
}

/// What this service answers its own callers: a status and a line.
fn line(result: Result<&custodia_domain::registry::CustomerView, &OperationError>) -> Answer {
    let (status, text) = match result {
        Ok(view) => (
            200,
            format!(
                "{} is {} at version {}",
                view.customer.display_name(),
                view.customer.status(),
                view.customer.version()
            ),
        ),
        Err(error) => (409, error.to_string()),
    };
    Answer { status, headers: Vec::new(), body: text.into_bytes() }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let today = Date::parse("2026-05-22")?;
    let clock = Fixed(Moment { at: Timestamp::parse("2026-05-22T09:30:00Z")?, today });
    let store = Arc::new(OneOrganization::default());
    let registry = Registry::new(Ports {
        customers: store.clone(),
        directory: Arc::new(OneOffice),
        accounts: Arc::new(Nothing),
        loans: Arc::new(Nothing),
        scores: Arc::new(Nothing),
        webhooks: Arc::new(Nothing),
        clock: Arc::new(clock),
        ids: Arc::new(Counting(AtomicI64::new(1))),
    });
    let caller = Caller {
        organization: OrganizationId::FIRST,
        actor: Actor::new("embedded"),
        request_id: RequestId::parse("example-1").ok_or("a request id")?,
        key: None,
        precondition: Precondition::None,
        reason: None,
    };
    let external_id = ExternalId::parse("ext-ada-001")?;
    let draft = |_: Moment| NewCustomer {
        external_id: Some(external_id.clone()),
        ..NewCustomer::named(OfficeId::FIRST, Name::FollowsExternalId)
    };
    let selector = Selector::ExternalId(external_id.clone());
    let closing = Command::Close(ClosingTerms { on: today, reason: ClosureReasonId::FIRST });

    futures::executor::block_on(async {
        let mut answers = vec![registry.create(&caller, OfficeChoice::Default, draft, line).await];
        for command in [closing.clone(), Command::Activate(today), closing.clone(), closing] {
            answers.push(registry.command(&caller, &selector, &command, line).await);
        }
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 409, 200, 200, 409], "closing needs an Active customer, and is for good");
        for answer in &answers {
            println!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        let history = store.history(OrganizationId::FIRST, CustomerId::FIRST, None, 10).await?;
        for recorded in history.iter().rev() {
            println!("{} {}", recorded.sequence, recorded.event.kind().name());
        }
        Ok(())
    })
}
