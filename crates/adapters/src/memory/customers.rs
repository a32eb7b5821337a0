//! Customers, their events and receipts in memory. Owns the plainest form of the rules of
//! [`CustomerStore`]; must not know any other store.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use async_trait::async_trait;
use custodia_domain::ports::{
    Boundary, CommitError, Committed, Counter, CustomerKey, CustomerPage, CustomerQuery, CustomerStore, Direction,
    EventQuery, RecordedEvent, Selector, SortValue, StoreError, Window,
};
use custodia_domain::{
    Customer, CustomerChange, CustomerId, ExternalId, OrganizationId, Receipt, ReceiptKey, Sequence, Timestamp, Unit,
    Version, search,
};

use super::{MemoryStore, Organization, State};

#[async_trait]
impl CustomerStore for MemoryStore {
    async fn find(&self, keys: &[CustomerKey]) -> Result<Vec<Option<Customer>>, StoreError> {
        let state = self.lock();
        Ok(keys.iter().map(|key| find(&state, key).cloned()).collect())
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

    async fn events(&self, query: &EventQuery) -> Result<Vec<RecordedEvent>, StoreError> {
        let state = self.lock();
        let Some(organization) = state.organizations.get(&query.organization) else {
            return Ok(Vec::new());
        };
        let wanted = |recorded: &&RecordedEvent| {
            query.after.is_none_or(|after| recorded.sequence > after)
                && (query.kinds.is_empty() || query.kinds.contains(&recorded.event.kind()))
                && query.customer.is_none_or(|customer| recorded.event.customer() == customer)
        };
        Ok(organization.events.iter().filter(wanted).take(usize::from(query.limit)).cloned().collect())
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
        let newest_first = places.rev().map(|place| &organization.events[*place]);
        let wanted = newest_first.filter(|recorded| before.is_none_or(|before| recorded.event.version() < before));
        Ok(wanted.take(usize::from(limit)).cloned().collect())
    }

    async fn reserve(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: u32,
    ) -> Result<Option<i64>, StoreError> {
        let Counter::Customers = counter;
        let mut state = self.lock();
        Ok(state.organizations.get_mut(&organization).map(|organization| {
            let first = organization.next_customer;
            organization.next_customer += i64::from(count);
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
        let Counter::Customers = counter;
        if let Some(organization) = self.lock().organizations.get_mut(&organization)
            && organization.next_customer == next
        {
            organization.next_customer = first;
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

/// The order of two rows: by value, then by id, both in that direction; no date comes last in either.
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
        _ => Ordering::Equal,
    };
    by_value.then_with(|| directed(left.id.cmp(&right.id)))
}

/// Checks the whole unit, then applies it: a refused one has changed nothing.
fn commit(state: &mut State, unit: Unit) -> Result<Committed, CommitError> {
    let Some(organization) = state.organizations.get_mut(&unit.organization) else {
        return Err(unit.customers.first().map_or_else(
            || StoreError::Fault("a receipt for an organization that does not exist".into()).into(),
            |change| CommitError::UnknownOffice(change.customer()),
        ));
    };
    organization.permit(&unit)?;
    let Unit { customers, receipt, audit, .. } = unit;
    let mut last_sequence = None;
    for change in customers {
        organization.keep(&change);
        for event in change.events() {
            let place = organization.events.len();
            let sequence = i64::try_from(place + 1).ok().and_then(|number| Sequence::parse(number).ok());
            let sequence = sequence.expect("memory holds fewer than 2^63 events");
            last_sequence = Some(sequence);
            organization.histories.entry(event.customer()).or_default().push(place);
            organization.events.push(RecordedEvent { sequence, event: event.clone(), audit: audit.clone() });
        }
    }
    if let Some(receipt) = receipt {
        organization.receipts.insert(receipt.key, receipt);
    }
    Ok(Committed { last_sequence })
}

impl Organization {
    /// Whether every change of the unit, and its receipt, may be kept.
    fn permit(&self, unit: &Unit) -> Result<(), CommitError> {
        if unit.receipt.as_ref().is_some_and(|receipt| self.receipts.contains_key(&receipt.key)) {
            return Err(CommitError::ReceiptTaken);
        }
        // What the changes before one in the same unit did to external ids.
        let mut owners: BTreeMap<&ExternalId, Option<CustomerId>> = BTreeMap::new();
        for change in &unit.customers {
            let id = change.customer();
            let stored = self.customers.get(&id);
            let version_holds = match change.expects() {
                // A number is never used again, not even after a deletion: its events are still there.
                None => !self.histories.contains_key(&id),
                expected => stored.map(Customer::version) == expected,
            };
            if !version_holds {
                return Err(CommitError::VersionConflict(id));
            }
            let after = change.after();
            if after.is_some_and(|after| after.organization() != unit.organization) {
                return Err(StoreError::Fault("a customer of another organization than its unit".into()).into());
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
        }
        Ok(())
    }

    /// Puts the state after a change in the place of the one before.
    fn keep(&mut self, change: &CustomerChange) {
        let before = self.customers.remove(&change.customer());
        if let Some(external_id) = before.as_ref().and_then(Customer::external_id)
            && self.external_ids.get(external_id) == Some(&change.customer())
        {
            self.external_ids.remove(external_id);
        }
        if let Some(after) = change.after() {
            if let Some(external_id) = after.external_id() {
                self.external_ids.insert(external_id.clone(), after.id());
            }
            self.customers.insert(after.id(), after.clone());
        }
    }
}
