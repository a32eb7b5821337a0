//! Everything in memory, behind one lock: the reference that the other stores agree with, and a store for engineers
//! who want none. Owns nothing durable; must not know any schema or wire form.

mod credentials;
mod customers;
mod directory;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use custodia_domain::ports::{ApiKey, PartnerAccount, RecordedEvent};
use custodia_domain::{
    ClosureReasonId, Customer, CustomerId, ExternalId, OfficeId, OfficeName, OrganizationId, Receipt, ReceiptKey,
};

/// Keeps customers, organizations and credentials until it is dropped.
///
/// Every call takes the one lock, does its work and gives it back: a commit is over when it is answered.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

/// All that is kept.
#[derive(Debug, Default)]
struct State {
    organizations: BTreeMap<OrganizationId, Organization>,
    api_keys: Vec<ApiKey>,
    accounts: BTreeMap<String, PartnerAccount>,
}

/// What belongs to one organization.
#[derive(Debug)]
struct Organization {
    name: String,
    default_office: OfficeId,
    offices: BTreeMap<OfficeId, OfficeName>,
    closure_reasons: BTreeMap<ClosureReasonId, String>,
    next_customer: i64,
    customers: BTreeMap<CustomerId, Customer>,
    external_ids: BTreeMap<ExternalId, CustomerId>,
    /// In the order of their sequences, which begin at 1.
    events: Vec<RecordedEvent>,
    /// Per customer, deleted ones included: where its events are, by version.
    histories: BTreeMap<CustomerId, Vec<usize>>,
    receipts: BTreeMap<ReceiptKey, Receipt>,
}

impl MemoryStore {
    /// A store that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state, to this caller alone. A panic of another caller is no reason to stop: no call leaves the state
    /// half changed, since each checks first and changes then.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
