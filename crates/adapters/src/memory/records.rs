//! Accounts, companies, loans and scores in memory: how a unit may change them, and how they are read. Must not know
//! any other store.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use custodia_domain::account::{Account, AccountChange, AccountId};
use custodia_domain::company::Company;
use custodia_domain::loan::{Amount, Loan, LoanChange, Score};
use custodia_domain::ports::{
    AccountStore, CommitError, CompanyKey, Direction, LoanBook, LoanPage, LoanQuery, LoanSelector, LoanSort,
    LoanTotals, ScoringEngine, StoreError,
};
use custodia_domain::unit::CompanyChange;
use custodia_domain::{Customer, CustomerId, ExternalId, OrganizationId, Status, Unit};

use super::{MemoryStore, Organization};

/// The customers that a unit touches, as it leaves them; `None` where it deletes one.
pub(super) type Staged = BTreeMap<CustomerId, Option<Customer>>;

impl Organization {
    /// Whether every change of the unit but those of its customers may be kept; moves the customers' counts of loans.
    pub(super) fn permit_records(&self, unit: &Unit, staged: &mut Staged) -> Result<(), CommitError> {
        let mut strangers = unit.companies.iter().map(|change| change.company().organization);
        let strangers = strangers.any(|organization| organization != unit.organization)
            || unit.accounts.iter().any(|change| change.after().organization() != unit.organization)
            || unit.loans.iter().any(|change| change.after().organization != unit.organization);
        if strangers {
            return Err(StoreError::Fault("a record of another organization than its unit".into()).into());
        }
        let (mut numbers, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for company in unit.companies.iter().map(CompanyChange::company) {
            let is_new = self.company(&CompanyKey::Number(company.number)).is_none()
                && self.company(&CompanyKey::Id(company.id.clone())).is_none()
                && numbers.insert(company.number)
                && ids.insert(&company.id);
            if !is_new {
                return Err(CommitError::RecordConflict);
            }
        }
        for change in &unit.accounts {
            if self.accounts.get(change.after().id()).map(Account::version) != change.expects() {
                return Err(CommitError::RecordConflict);
            }
        }
        let (mut numbers, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for change in &unit.loans {
            let loan = change.after();
            let is_once = numbers.insert(loan.id) && ids.insert(&loan.external_id);
            if !is_once || !self.is_as_expected(change) {
                return Err(CommitError::RecordConflict);
            }
            let touched = staged.get(&loan.customer).map(Option::as_ref);
            let owner = touched.unwrap_or_else(|| self.customers.get(&loan.customer));
            let owner = owner.ok_or(CommitError::RecordConflict)?;
            let is_fit = owner.loans() == change.counts_before()
                && (!change.needs_active_customer() || owner.status() == Status::Active);
            if !is_fit {
                return Err(CommitError::RecordConflict);
            }
            let mut state = owner.snapshot().clone();
            state.loans = change.counts_after();
            let owner = Customer::rehydrate(state).expect("counts that follow from sound ones are sound");
            staged.insert(loan.customer, Some(owner));
        }
        Ok(())
    }

    fn is_as_expected(&self, change: &LoanChange) -> bool {
        let loan = change.after();
        match (self.loans.get(&loan.id), change.expects()) {
            (None, None) => !self.loan_ids.contains_key(&loan.external_id),
            (Some(stored), Some(version)) => {
                stored.version == version && stored.external_id == loan.external_id && stored.customer == loan.customer
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    pub(super) fn keep_company(&mut self, change: &CompanyChange) {
        let company = change.company();
        self.companies.insert(company.number, company.clone());
    }

    pub(super) fn keep_account(&mut self, change: &AccountChange) {
        let account = change.after();
        if let Some(before) = self.accounts.insert(account.id().clone(), account.clone()) {
            for holder in &before.details().holders {
                self.holders.entry(holder.clone()).or_default().remove(before.id());
            }
        }
        for holder in &account.details().holders {
            self.holders.entry(holder.clone()).or_default().insert(account.id().clone());
        }
    }

    pub(super) fn keep_loan(&mut self, change: &LoanChange) {
        let loan = change.after();
        self.loan_ids.insert(loan.external_id.clone(), loan.id);
        self.loans.insert(loan.id, loan.clone());
    }

    /// The company of that name.
    pub(super) fn company(&self, key: &CompanyKey) -> Option<&Company> {
        match key {
            CompanyKey::Number(number) => self.companies.get(number),
            CompanyKey::Id(id) => self.companies.values().find(|company| company.id == *id),
        }
    }

    fn loan(&self, selector: &LoanSelector) -> Option<&Loan> {
        let id = match selector {
            LoanSelector::Id(id) => id,
            LoanSelector::ExternalId(external_id) => self.loan_ids.get(external_id)?,
        };
        self.loans.get(id)
    }
}

#[async_trait]
impl AccountStore for MemoryStore {
    async fn accounts(
        &self,
        organization: OrganizationId,
        ids: &[AccountId],
    ) -> Result<Vec<Option<Account>>, StoreError> {
        let state = self.lock();
        let kept = state.organizations.get(&organization);
        Ok(ids.iter().map(|id| kept?.accounts.get(id).cloned()).collect())
    }

    async fn held_by(
        &self,
        organization: OrganizationId,
        holders: &[ExternalId],
    ) -> Result<Vec<Vec<Account>>, StoreError> {
        let state = self.lock();
        let Some(kept) = state.organizations.get(&organization) else {
            return Ok(vec![Vec::new(); holders.len()]);
        };
        let held = |holder| kept.holders.get(holder).into_iter().flatten().map(|id| kept.accounts[id].clone());
        Ok(holders.iter().map(|holder| held(holder).collect()).collect())
    }
}

#[async_trait]
impl LoanBook for MemoryStore {
    async fn loans(
        &self,
        organization: OrganizationId,
        selectors: &[LoanSelector],
    ) -> Result<Vec<Option<Loan>>, StoreError> {
        let state = self.lock();
        let kept = state.organizations.get(&organization);
        Ok(selectors.iter().map(|selector| kept?.loan(selector).cloned()).collect())
    }

    async fn list_loans(&self, query: &LoanQuery) -> Result<LoanPage, StoreError> {
        let state = self.lock();
        let all = state.organizations.get(&query.organization).into_iter().flat_map(|kept| kept.loans.values());
        let meets = |loan: &&Loan| {
            query.customer.is_none_or(|customer| loan.customer == customer)
                && query.status.is_none_or(|status| loan.position.status == status)
        };
        let mut loans: Vec<&Loan> = all.filter(meets).collect();
        loans.sort_by(|left, right| order(left, right, query));
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let page = loans.iter().skip(offset).take(usize::from(query.limit)).map(|loan| (*loan).clone());
        Ok(LoanPage { loans: page.collect(), total: loans.len() as u64 })
    }

    async fn totals(
        &self,
        organization: OrganizationId,
        customers: &[CustomerId],
    ) -> Result<Vec<LoanTotals>, StoreError> {
        let state = self.lock();
        let mut totals: BTreeMap<CustomerId, LoanTotals> = BTreeMap::new();
        let millionths = |amount: Option<Amount>| amount.map_or(0, |amount| i128::from(amount.millionths()));
        for loan in state.organizations.get(&organization).into_iter().flat_map(|kept| kept.loans.values()) {
            let sums = totals.entry(loan.customer).or_default();
            sums.outstanding += millionths(loan.position.total_outstanding);
            sums.paid += millionths(loan.position.total_paid);
        }
        Ok(customers.iter().map(|customer| totals.get(customer).copied().unwrap_or_default()).collect())
    }
}

/// The order of two loans: by value, then by id, both in that direction; no date comes last in either.
fn order(left: &Loan, right: &Loan, query: &LoanQuery) -> Ordering {
    let directed = |ordering: Ordering| match query.direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    };
    let by_value = match query.sort {
        LoanSort::Id => Ordering::Equal,
        LoanSort::Principal => directed(left.position.principal.cmp(&right.position.principal)),
        LoanSort::ExpectedDisbursement => {
            match (left.position.expected_disbursement, right.position.expected_disbursement) {
                (Some(left), Some(right)) => directed(left.cmp(&right)),
                (left, right) => left.is_none().cmp(&right.is_none()),
            }
        }
    };
    by_value.then_with(|| directed(left.id.cmp(&right.id)))
}

#[async_trait]
impl ScoringEngine for MemoryStore {
    async fn scores(&self, organization: OrganizationId, ids: &[ExternalId]) -> Result<Vec<Option<Score>>, StoreError> {
        let state = self.lock();
        let kept = state.organizations.get(&organization);
        Ok(ids.iter().map(|id| kept?.scores.get(id).copied()).collect())
    }
}
