//! What was: a customer's events, and the customer as it was at one of them. Must not know any wire form.

use super::{CustomerView, Registry};
use crate::ports::{RecordedEvent, Selector, StoreError};
use crate::{Customer, CustomerEvent, CustomerId, OrganizationId, Timestamp, Version};

/// How many events are read at a time; a history may have any number.
const PAGE: u16 = 500;

/// A moment in a customer's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsOf {
    /// Right after the change that made it this version.
    Version(Version),
    /// At that instant.
    Instant(Timestamp),
}

/// One page of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// Whose history it is.
    pub customer: CustomerId,
    /// Its events, newest first.
    pub events: Vec<RecordedEvent>,
    /// Whether older ones follow.
    pub more: bool,
}

impl Registry {
    /// A page of a customer's events with versions below `before` (all where `None`), newest first, at most `limit`
    /// of them. The history of a deleted customer stays under its number, without what it told of the customer; `None`
    /// where there never was one of that number, or is none of that external id now.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn history(
        &self,
        organization: OrganizationId,
        selector: Selector,
        before: Option<Version>,
        limit: u8,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let customer = match selector {
            Selector::Id(id) => id,
            Selector::ExternalId(_) => match self.find(organization, selector).await? {
                Some(customer) => customer.id(),
                None => return Ok(None),
            },
        };
        let wanted = u16::from(limit) + 1;
        let mut events = self.ports.customers.history(organization, customer, before, wanted).await?;
        if events.is_empty() && before.is_none() {
            return Ok(None);
        }
        let more = events.len() > usize::from(limit);
        events.truncate(usize::from(limit));
        Ok(Some(HistoryPage { customer, events, more }))
    }

    /// A customer as it was, in its office and company as they are now; `None` where there is none of that name now, or it
    /// was not there yet, or has not come so far.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn as_of(
        &self,
        organization: OrganizationId,
        selector: Selector,
        as_of: AsOf,
    ) -> Result<Option<CustomerView>, StoreError> {
        let Some(now) = self.find(organization, selector).await? else {
            return Ok(None);
        };
        let events = match as_of {
            AsOf::Version(version) if version > now.version() => return Ok(None),
            AsOf::Version(version) => self.events_until(organization, now.id(), Some(version.next())).await?,
            AsOf::Instant(at) => {
                let mut events = self.events_until(organization, now.id(), None).await?;
                let later = events.iter().position(|event| event.at() > at);
                events.truncate(later.unwrap_or(events.len()));
                events
            }
        };
        let corrupt = |rule: crate::Impossible| StoreError::Corrupt {
            table: "customer_events",
            column: rule.0,
            id: now.id().get(),
        };
        match Customer::replay(organization, &events).map_err(corrupt)? {
            Some(customer) => self.viewed(customer).await.map(Some),
            None => Ok(None),
        }
    }

    /// Every event of a customer with a version below `before`, oldest first.
    async fn events_until(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
        before: Option<Version>,
    ) -> Result<Vec<CustomerEvent>, StoreError> {
        let mut newest_first = Vec::new();
        let mut before = before;
        loop {
            let page = self.ports.customers.history(organization, customer, before, PAGE).await?;
            let is_last = page.len() < usize::from(PAGE);
            before = page.last().map(|recorded| recorded.event.version());
            newest_first.extend(page.into_iter().map(|recorded| recorded.event));
            if is_last {
                break;
            }
        }
        newest_first.reverse();
        Ok(newest_first)
    }
}
