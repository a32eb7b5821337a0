//! Everything in memory, behind one lock: the reference that the other stores agree with, and a store for engineers
//! who want none. Owns nothing durable; must not know any schema or wire form.

mod credentials;
mod customers;
mod directory;
mod records;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use custodia_domain::account::{Account, AccountId};
use custodia_domain::company::Company;
use custodia_domain::loan::{Loan, Score};
use custodia_domain::ports::{ApiKey, LogEntry, PartnerAccount, Portfolio};
use custodia_domain::{
    ClosureReasonId, CompanyNumber, Customer, CustomerId, ExternalId, LoanId, OfficeId, OfficeName, OrganizationId,
    Receipt, ReceiptKey,
};

use webhooks::Webhooks;

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
    portfolios: BTreeMap<ExternalId, Portfolio>,
    next_customer: i64,
    next_company: i64,
    next_loan: i64,
    customers: BTreeMap<CustomerId, Customer>,
    external_ids: BTreeMap<ExternalId, CustomerId>,
    /// In the order of their sequences, which begin at 1.
    events: Vec<LogEntry>,
    /// Per customer, deleted ones included: where its own events are, by version.
    histories: BTreeMap<CustomerId, Vec<usize>>,
    receipts: BTreeMap<ReceiptKey, Receipt>,
    companies: BTreeMap<CompanyNumber, Company>,
    accounts: BTreeMap<AccountId, Account>,
    holders: BTreeMap<ExternalId, BTreeSet<AccountId>>,
    loans: BTreeMap<LoanId, Loan>,
    loan_ids: BTreeMap<ExternalId, LoanId>,
    scores: BTreeMap<ExternalId, Score>,
    webhooks: Webhooks,
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
