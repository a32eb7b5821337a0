//! The use cases of an intake: many customers at once, and companies. Must not know any wire form.

use std::collections::{BTreeMap, BTreeSet};

use super::{Caller, Changes, CustomerView, ItemProblem, ItemProblemKind, Operation, OperationError, Plan, Registry};
use crate::company::{Company, CompanyDetails, CompanyId};
use crate::ports::{CompanyKey, Counter, StoreError};
use crate::unit::CompanyChange;
use crate::{Answer, CompanyNumber, Customer, CustomerChange, Moment, NewCustomer, OrganizationId};

struct Creations<D> {
    drafts: D,
}

impl<D: Fn(Moment) -> Vec<NewCustomer> + Send + Sync> Operation for Creations<D> {
    type Shown = Vec<CustomerView>;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<Self::Shown>, OperationError> {
        let drafts = (self.drafts)(moment);
        let offices = registry.offices(caller.organization).await?;
        let missing = || StoreError::Corrupt {
            table: "organizations",
            column: "default_office_id",
            id: caller.organization.get(),
        };
        let office = offices.get(offices.default).cloned().ok_or_else(missing)?;
        let problems: Vec<_> = drafts
            .iter()
            .enumerate()
            .flat_map(|(item, draft)| draft.problems(moment.today).into_iter().map(move |problem| (item, problem)))
            .map(|(item, problem)| ItemProblem { item, path: Vec::new(), kind: ItemProblemKind::Customer(problem) })
            .collect();
        if !problems.is_empty() {
            return Err(OperationError::InvalidItems(problems));
        }
        let ids = registry.customer_ids(caller.organization, drafts.len()).await?;
        let mut opened = Vec::with_capacity(drafts.len());
        let mut changes = Vec::with_capacity(drafts.len());
        for (mut new, id) in drafts.into_iter().zip(ids) {
            new.office = office.id;
            let (customer, event) = Customer::open(caller.organization, id, new, moment)?;
            changes.push(CustomerChange::kept(customer.clone(), vec![event]));
            opened.push(customer);
        }
        let companies = registry.companies_of(caller.organization, &opened).await?;
        let views = opened.into_iter().zip(companies);
        let shown =
            views.map(|(customer, company)| CustomerView { customer, office: office.clone(), company }).collect();
        Ok(Plan { changes: Changes::of_customers(changes), shown })
    }
}

struct Foundings {
    companies: Vec<CompanyDetails>,
}

impl Operation for Foundings {
    type Shown = Vec<Company>;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<Self::Shown>, OperationError> {
        let numbers = registry.numbers(caller.organization, Counter::Companies, self.companies.len()).await?;
        let shown: Vec<_> = self
            .companies
            .iter()
            .zip(numbers)
            .filter_map(|(details, number)| {
                Some(Company {
                    organization: caller.organization,
                    number: CompanyNumber::parse(number).ok()?,
                    id: CompanyId::from_random(registry.ports.ids.random()),
                    details: details.clone(),
                })
            })
            .collect();
        let companies = shown.iter().map(|company| CompanyChange::created(company.clone(), moment)).collect();
        Ok(Plan { changes: Changes { companies, ..Changes::default() }, shown })
    }
}

impl Registry {
    /// 128 random bits, fit for a public id.
    #[must_use]
    pub fn random(&self) -> u128 {
        self.ports.ids.random()
    }

    /// Creates many customers in the organization's default office, all or none.
    pub async fn create_many<D, R>(&self, caller: &Caller, drafts: D, render: R) -> Answer
    where
        D: Fn(Moment) -> Vec<NewCustomer> + Send + Sync,
        R: Fn(Result<&Vec<CustomerView>, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Creations { drafts }, render).await
    }

    /// Creates companies, all or none.
    pub async fn found_companies<R>(&self, caller: &Caller, companies: Vec<CompanyDetails>, render: R) -> Answer
    where
        R: Fn(Result<&Vec<Company>, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Foundings { companies }, render).await
    }

    /// The companies of those names, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn companies(
        &self,
        organization: OrganizationId,
        keys: &[CompanyKey],
    ) -> Result<Vec<Option<Company>>, StoreError> {
        if keys.is_empty() { Ok(Vec::new()) } else { self.ports.directory.companies(organization, keys).await }
    }

    /// The company of each of those customers, in their order; read at once, each company once.
    pub(super) async fn companies_of(
        &self,
        organization: OrganizationId,
        customers: &[Customer],
    ) -> Result<Vec<Option<Company>>, StoreError> {
        let number_of = |customer: &Customer| customer.snapshot().acquisition.company;
        let numbers: BTreeSet<_> = customers.iter().filter_map(number_of).collect();
        let keys: Vec<_> = numbers.into_iter().map(CompanyKey::Number).collect();
        let found = self.companies(organization, &keys).await?;
        let by_number: BTreeMap<_, _> = found.into_iter().flatten().map(|company| (company.number, company)).collect();
        Ok(customers.iter().map(|customer| by_number.get(&number_of(customer)?).cloned()).collect())
    }

    pub(super) async fn company_of(&self, customer: &Customer) -> Result<Option<Company>, StoreError> {
        let found = self.companies_of(customer.organization(), std::slice::from_ref(customer)).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// One page of companies by number, and how many there are.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn list_companies(
        &self,
        organization: OrganizationId,
        offset: u64,
        limit: u8,
    ) -> Result<(Vec<Company>, u64), StoreError> {
        self.ports.directory.list_companies(organization, offset, limit).await
    }
}
