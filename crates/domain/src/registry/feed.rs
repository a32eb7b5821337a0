//! The feed of an organization's events: what one read of it holds, and how far it looked. Must not know how a reader
//! keeps its place.

use super::Registry;
use crate::ports::{CustomerStore, EventQuery, LogEntry, StoreError};
use crate::{CustomerId, OrganizationId, Sequence};

/// How many sequences one read looks through at most: a reader of rare kinds gets on by steps of so many, and no single
/// read goes through the whole log.
pub const FEED_SCAN: i64 = 5_000;

/// What a reader wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedQuery {
    /// The tenant.
    pub organization: OrganizationId,
    /// Only events after this one; from the beginning where `None`.
    pub after: Option<Sequence>,
    /// Only events of these names, such as `customer.created`; all where empty.
    pub kinds: Vec<&'static str>,
    /// Only this customer's.
    pub customer: Option<CustomerId>,
    /// The greatest number of events, 1 to 500.
    pub limit: u16,
}

/// One read of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// The events, oldest first.
    pub entries: Vec<LogEntry>,
    /// Up to where the read has looked: the place to go on after. `None` at the beginning of an empty log.
    pub looked_through: Option<Sequence>,
    /// Whether events follow there, wanted or not.
    pub more: bool,
}

/// Reads on in a feed. Nothing that is committed is ever passed over: the end of the log is taken first, and every event
/// up to it is committed.
///
/// # Errors
/// [`StoreError`] when the store cannot answer.
pub async fn read_feed(store: &dyn CustomerStore, query: &FeedQuery) -> Result<FeedPage, StoreError> {
    let last = store.last_sequences(&[query.organization]).await?.into_iter().next().flatten();
    let Some(last) = last.filter(|last| query.after.is_none_or(|after| *last > after)) else {
        return Ok(FeedPage { entries: Vec::new(), looked_through: query.after, more: false });
    };
    let through = if query.kinds.is_empty() || query.customer.is_some() { last } else { bounded(query.after, last) };
    let wanted = EventQuery {
        organization: query.organization,
        after: query.after,
        through: Some(through),
        kinds: query.kinds.clone(),
        customer: query.customer,
        limit: query.limit,
    };
    let entries = store.events(&wanted).await?;
    let is_full = entries.len() >= usize::from(query.limit);
    let looked_through = entries.last().filter(|_| is_full).map_or(through, |entry| entry.sequence);
    Ok(FeedPage { entries, looked_through: Some(looked_through), more: looked_through < last })
}

fn bounded(after: Option<Sequence>, last: Sequence) -> Sequence {
    let bound = after.map_or(0, Sequence::get).saturating_add(FEED_SCAN);
    Sequence::parse(bound).map_or(last, |bound| bound.min(last))
}

impl Registry {
    /// Reads on in a feed; see [`read_feed`].
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn feed(&self, query: &FeedQuery) -> Result<FeedPage, StoreError> {
        read_feed(&*self.ports.customers, query).await
    }

    /// The sequence of an organization's last event; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn last_sequence(&self, organization: OrganizationId) -> Result<Option<Sequence>, StoreError> {
        Ok(self.ports.customers.last_sequences(&[organization]).await?.into_iter().next().flatten())
    }
}
