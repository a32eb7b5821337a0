//! Customers, their events and receipts in memory. Owns the plainest form of the rules of
//! [`CustomerStore`]; must not know any other store.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use async_trait::async_trait;
use custodia_domain::account::Account;
use custodia_domain::loan::LoanCounts;
use custodia_domain::ports::{
    AccountStore, BatchKeys, Boundary, CommitError, Committed, Counter, CustomerKey, CustomerPage, CustomerQuery,
    CustomerStore, Direction, EventQuery, LogEntry, LoggedEvent, Met, RecordedEvent, Selector, SortValue, StoreError,
    Window,
};
use custodia_domain::unit::{Basis, ForbiddenLoans};
use custodia_domain::{
    Audit, Customer, CustomerChange, CustomerId, ExternalId, OrganizationId, Receipt, ReceiptKey, Sequence, Status,
    Timestamp, Unit, Version, search,
};

use super::records::Staged;
use super::{MemoryStore, Organization, State};

#[async_trait]
impl CustomerStore for MemoryStore {
    async fn find(&self, keys: &[CustomerKey]) -> Result<Vec<Option<Customer>>, StoreError> {
        let state = self.lock();
        Ok(keys.iter().map(|key| find(&state, key).cloned()).collect())
    }

    async fn meet(&self, organization: OrganizationId, batch: &BatchKeys) -> Result<Met, StoreError> {
        let key = |id: &ExternalId| CustomerKey { organization, selector: Selector::ExternalId(id.clone()) };
        Ok(Met {
            customers: self.find(&batch.customers.iter().map(key).collect::<Vec<_>>()).await?,
            accounts: self.accounts(organization, &batch.accounts).await?,
            held: self.held_by(organization, &batch.holders).await?,
        })
    }

    async fn list(&self, query: &CustomerQuery) -> Result<CustomerPage, StoreError> {
        Ok(list(&self.lock(), query))
    }

    async fn commit(&self, units: Vec<Unit>) -> Vec<Result<Committed, CommitError>> {
        let mut state = self.lock();
        units.into_iter().map(|unit| commit(&mut state, unit)).collect()
    }

    async fn receipts(
        &self,
        organization: OrganizationId,
        keys: &[ReceiptKey],
    ) -> Result<Vec<Option<Receipt>>, StoreError> {
        let state = self.lock();
        let organization = state.organizations.get(&organization);
        Ok(keys.iter().map(|key| organization.and_then(|kept| kept.receipts.get(key)).cloned()).collect())
    }

    async fn purge_receipts(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let mut left = u64::from(limit);
        for organization in state.organizations.values_mut() {
            organization.receipts.retain(|_, receipt| {
                let goes = receipt.at < before && left > 0;
                left -= u64::from(goes);
                !goes
            });
        }
        Ok(u64::from(limit) - left)
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<LogEntry>, StoreError> {
        let state = self.lock();
        let Some(organization) = state.organizations.get(&query.organization) else {
            return Ok(Vec::new());
        };
        let wanted = |entry: &&LogEntry| {
            let (kind, customer) = match &entry.event {
                LoggedEvent::Customer(event) => (event.kind().name(), Some(event.customer())),
                LoggedEvent::Record(event) => (event.kind.name(), event.customer),
            };
            query.after.is_none_or(|after| entry.sequence > after)
                && query.through.is_none_or(|through| entry.sequence <= through)
                && (query.kinds.is_empty() || query.kinds.contains(&kind))
                && (query.customer.is_none() || query.customer == customer)
        };
        Ok(organization.events.iter().filter(wanted).take(usize::from(query.limit)).cloned().collect())
    }

    async fn last_sequences(&self, organizations: &[OrganizationId]) -> Result<Vec<Option<Sequence>>, StoreError> {
        let state = self.lock();
        let last = |id| state.organizations.get(id).and_then(|organization| organization.events.last());
        Ok(organizations.iter().map(|id| last(id).map(|entry| entry.sequence)).collect())
    }

    async fn history(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
        before: Option<Version>,
        limit: u16,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let state = self.lock();
        let Some(organization) = state.organizations.get(&organization) else {
            return Ok(Vec::new());
        };
        let places = organization.histories.get(&customer).into_iter().flatten();
        let newest_first = places.rev().filter_map(|place| recorded(&organization.events[*place]));
        let wanted = newest_first.filter(|recorded| before.is_none_or(|before| recorded.event.version() < before));
        Ok(wanted.take(usize::from(limit)).collect())
    }

    async fn reserve(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: u32,
    ) -> Result<Option<i64>, StoreError> {
        let mut state = self.lock();
        Ok(state.organizations.get_mut(&organization).map(|organization| {
            let next = organization.counter(counter);
            let first = *next;
            *next += i64::from(count);
            first
        }))
    }

    async fn release(
        &self,
        organization: OrganizationId,
        counter: Counter,
        first: i64,
        next: i64,
    ) -> Result<(), StoreError> {
        if let Some(organization) = self.lock().organizations.get_mut(&organization)
            && *organization.counter(counter) == next
        {
            *organization.counter(counter) = first;
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn find<'a>(state: &'a State, key: &CustomerKey) -> Option<&'a Customer> {
    let organization = state.organizations.get(&key.organization)?;
    let id = match &key.selector {
        Selector::Id(id) => id,
        Selector::ExternalId(external_id) => organization.external_ids.get(external_id)?,
    };
    organization.customers.get(id)
}

fn list(state: &State, query: &CustomerQuery) -> CustomerPage {
    let filter = &query.filter;
    let meets = |customer: &&Customer| {
        filter.status.is_none_or(|status| customer.status() == status)
            && filter.office.is_none_or(|office| customer.office() == office)
            && filter.active.is_none_or(|active| (customer.status() == Status::Active) == active)
            && (filter.source.is_none() || filter.source == customer.acquisition().source)
            && (filter.company.is_none() || filter.company == customer.acquisition().company)
            && search::finds(customer, &filter.words)
    };
    let customers = state.organizations.get(&query.organization).into_iter().flat_map(|kept| kept.customers.values());
    let mut rows: Vec<(Boundary, &Customer)> =
        customers.filter(meets).map(|customer| (Boundary::after(customer, query.sort), customer)).collect();
    rows.sort_by(|(left, _), (right, _)| order(left, right, query.direction));
    let matching = rows.len();
    let (first, total) = match &query.window {
        Window::Page { offset } => (usize::try_from(*offset).unwrap_or(usize::MAX), Some(matching as u64)),
        Window::After(None) => (0, None),
        Window::After(Some(place)) => {
            (rows.partition_point(|(row, _)| order(row, place, query.direction) != Ordering::Greater), None)
        }
    };
    let first = first.min(matching);
    let last = matching.min(first + usize::from(query.limit));
    CustomerPage {
        customers: rows[first..last].iter().map(|(_, customer)| (*customer).clone()).collect(),
        total,
        more: last < matching,
    }
}

/// The order of two rows: by value, then by id, both in that direction; no value comes last in either.
fn order(left: &Boundary, right: &Boundary, direction: Direction) -> Ordering {
    let directed = |ordering: Ordering| match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    };
    let by_value = match (&left.value, &right.value) {
        (SortValue::Name(left), SortValue::Name(right)) => directed(left.cmp(right)),
        (SortValue::Date(Some(left)), SortValue::Date(Some(right))) => directed(left.cmp(right)),
        (SortValue::Date(Some(_)), SortValue::Date(None)) => Ordering::Less,
        (SortValue::Date(None), SortValue::Date(Some(_))) => Ordering::Greater,
        (SortValue::Instant(left), SortValue::Instant(right)) => directed(left.cmp(right)),
        (SortValue::Email(Some(left)), SortValue::Email(Some(right))) => directed(left.as_str().cmp(right.as_str())),
        (SortValue::Email(left), SortValue::Email(right)) => left.is_none().cmp(&right.is_none()),
        _ => Ordering::Equal,
    };
    by_value.then_with(|| directed(left.id.cmp(&right.id)))
}

/// Checks the whole unit, then applies it: a refused one has changed nothing.
fn commit(state: &mut State, unit: Unit) -> Result<Committed, CommitError> {
    let Some(organization) = state.organizations.get_mut(&unit.organization) else {
        return Err(unit.customers.first().map_or_else(
            || StoreError::Fault("a unit for an organization that does not exist".into()).into(),
            |change| CommitError::UnknownOffice(change.customer()),
        ));
    };
    let mut staged = organization.permit(&unit)?;
    organization.permit_records(&unit, &mut staged)?;
    organization.permit_webhooks(&unit)?;
    organization.permit_basis(&unit.basis)?;
    let mut last_sequence = None;
    for change in &unit.customers {
        organization.keep(change, staged.remove(&change.customer()).flatten());
        if change.after().is_none() {
            organization.erase(change.customer());
        }
        for event in change.events() {
            organization.histories.entry(event.customer()).or_default().push(organization.events.len());
            last_sequence = Some(organization.log(LoggedEvent::Customer(event.clone()), &unit.audit));
        }
    }
    // Those whose loans alone have changed.
    organization.customers.extend(staged.into_iter().filter_map(|(id, customer)| Some((id, customer?))));
    let mut records = Vec::new();
    for change in &unit.companies {
        organization.keep_company(change);
        records.push(change.event());
    }
    for change in &unit.accounts {
        organization.keep_account(change);
        records.extend(change.events());
    }
    for change in &unit.loans {
        organization.keep_loan(change);
        records.push(change.event());
    }
    for change in &unit.scores {
        organization.scores.insert(change.external_id().clone(), change.score());
        records.push(change.event());
    }
    for event in records {
        last_sequence = Some(organization.log(LoggedEvent::Record(event.clone()), &unit.audit));
    }
    for change in &unit.webhooks {
        let sequence = organization.log(LoggedEvent::Record(change.event().clone()), &unit.audit);
        organization.keep_webhook(change, sequence);
        last_sequence = Some(sequence);
    }
    if let Some(receipt) = unit.receipt {
        organization.receipts.insert(receipt.key, receipt);
    }
    Ok(Committed { last_sequence })
}

fn recorded(entry: &LogEntry) -> Option<RecordedEvent> {
    match &entry.event {
        LoggedEvent::Customer(event) => {
            Some(RecordedEvent { sequence: entry.sequence, event: event.clone(), audit: entry.audit.clone() })
        }
        LoggedEvent::Record(_) => None,
    }
}

impl Organization {
    fn counter(&mut self, counter: Counter) -> &mut i64 {
        match counter {
            Counter::Customers => &mut self.next_customer,
            Counter::Companies => &mut self.next_company,
            Counter::Loans => &mut self.next_loan,
        }
    }

    /// Adds an event to the log; answers its sequence.
    fn log(&mut self, event: LoggedEvent, audit: &Audit) -> Sequence {
        let number = i64::try_from(self.events.len() + 1).ok();
        let sequence = number.and_then(|number| Sequence::parse(number).ok());
        let sequence = sequence.expect("memory holds fewer than 2^63 events");
        self.events.push(LogEntry { sequence, event, audit: audit.clone() });
        sequence
    }

    /// Empties what the log tells of a customer so far.
    fn erase(&mut self, customer: CustomerId) {
        for place in self.histories.get(&customer).into_iter().flatten() {
            let entry = &mut self.events[*place];
            if let LoggedEvent::Customer(event) = &entry.event {
                entry.event = LoggedEvent::Customer(event.clone().erased());
            }
            entry.audit.reason = None;
        }
    }

    /// Whether every change of a customer, and the receipt, may be kept; answers the customers as the unit leaves
    /// them, their loans as they are counted here.
    fn permit(&self, unit: &Unit) -> Result<Staged, CommitError> {
        if unit.receipt.as_ref().is_some_and(|receipt| self.receipts.contains_key(&receipt.key)) {
            return Err(CommitError::ReceiptTaken);
        }
        let mut staged = Staged::new();
        // What the changes before one in the same unit did to external ids.
        let mut owners: BTreeMap<&ExternalId, Option<CustomerId>> = BTreeMap::new();
        for change in &unit.customers {
            let id = change.customer();
            let after = change.after();
            if after.is_some_and(|after| after.organization() != unit.organization) {
                return Err(StoreError::Fault("a customer of another organization than its unit".into()).into());
            }
            let stored = self.customers.get(&id);
            let loans = stored.map(Customer::loans).unwrap_or_default();
            if !self.holds_version(change) || is_forbidden(change.forbids(), loans) {
                return Err(CommitError::VersionConflict(id));
            }
            if let Some(before) = stored.and_then(Customer::external_id) {
                owners.insert(before, None);
            }
            if let Some(wanted) = after.and_then(Customer::external_id) {
                let owner = owners.get(wanted).copied().unwrap_or_else(|| self.external_ids.get(wanted).copied());
                if owner.is_some_and(|owner| owner != id) {
                    return Err(CommitError::ExternalIdTaken(id));
                }
                owners.insert(wanted, Some(id));
            }
            if after.is_some_and(|after| !self.offices.contains_key(&after.office())) {
                return Err(CommitError::UnknownOffice(id));
            }
            let kept = after.map(|after| {
                let mut state = after.snapshot().clone();
                state.loans = loans;
                Customer::rehydrate(state).expect("a sound state with sound counts is sound")
            });
            staged.insert(id, kept);
        }
        Ok(staged)
    }

    /// Whether all that the unit found is still as it was.
    fn permit_basis(&self, basis: &Basis) -> Result<(), CommitError> {
        for (id, version) in &basis.customers {
            if self.customers.get(id).map(Customer::version) != Some(*version) {
                return Err(CommitError::VersionConflict(*id));
            }
        }
        let holds = |(id, version): (_, &Version)| self.accounts.get(id).map(Account::version) == Some(*version);
        if basis.accounts.iter().all(holds) { Ok(()) } else { Err(CommitError::RecordConflict) }
    }

    fn holds_version(&self, change: &CustomerChange) -> bool {
        let id = change.customer();
        match change.expects() {
            // A number is never used again, not even after a deletion: its events are still there.
            None => !self.histories.contains_key(&id),
            expected => self.customers.get(&id).map(Customer::version) == expected,
        }
    }

    /// Puts the state after a change in the place of the one before.
    fn keep(&mut self, change: &CustomerChange, after: Option<Customer>) {
        let before = self.customers.remove(&change.customer());
        if let Some(external_id) = before.as_ref().and_then(Customer::external_id)
            && self.external_ids.get(external_id) == Some(&change.customer())
        {
            self.external_ids.remove(external_id);
        }
        if let Some(after) = after {
            if let Some(external_id) = after.external_id() {
                self.external_ids.insert(external_id.clone(), after.id());
            }
            self.customers.insert(after.id(), after);
        }
    }
}

fn is_forbidden(forbidden: ForbiddenLoans, loans: LoanCounts) -> bool {
    match forbidden {
        ForbiddenLoans::None => false,
        ForbiddenLoans::Open => loans.open > 0,
        ForbiddenLoans::Any => loans.total > 0,
    }
}
