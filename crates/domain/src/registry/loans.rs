//! The use cases of loan positions and credit scores. Must not know any wire form.

use super::{Caller, Changes, Operation, OperationError, Plan, Precondition, Registry};
use crate::loan::{Loan, LoanPosition, Score, ScoreChange};
use crate::ports::{Counter, CustomerKey, LoanPage, LoanQuery, LoanSelector, LoanTotals, Selector, StoreError};
use crate::{Answer, Customer, ExternalId, LoanId, Moment, OrganizationId, Outcome};

/// How a report names the loan's customer.
pub type LoanOwner = Selector;

/// A loan with its customer's display name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoanView {
    /// The loan.
    pub loan: Loan,
    /// What its customer is called.
    pub customer_name: String,
}

/// How creditworthy a customer is, and what it owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scorecard {
    /// Whose.
    pub external_id: ExternalId,
    /// What the engine says.
    pub score: Score,
    /// Sums over all its loans.
    pub totals: LoanTotals,
    /// When it was asked for.
    pub at: Moment,
}

struct Report<'a> {
    external_id: &'a ExternalId,
    owner: &'a LoanOwner,
    position: &'a LoanPosition,
}

impl Operation for Report<'_> {
    type Shown = LoanView;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<LoanView>, OperationError> {
        let organization = caller.organization;
        let selector = LoanSelector::ExternalId(self.external_id.clone());
        let stored = registry.ports.loans.loans(organization, &[selector]).await?.into_iter().next().flatten();
        match (&stored, caller.precondition) {
            (None, Precondition::Version(_) | Precondition::Exists) => return Err(OperationError::NotFound),
            (stored, precondition) => precondition.check(stored.as_ref().map(|loan| loan.version))?,
        }
        let owner = registry.find(organization, self.owner.clone()).await?.ok_or(OperationError::NotFound)?;
        let id = match &stored {
            Some(loan) => loan.id,
            None => registry.loan_id(organization).await?,
        };
        let reported =
            Loan::report(stored.as_ref(), id, self.external_id.clone(), &owner, self.position.clone(), moment)?;
        let customer_name = owner.display_name();
        match (reported, stored) {
            (Outcome::Applied(change), _) => {
                let shown = LoanView { loan: change.after().clone(), customer_name };
                Ok(Plan { changes: Changes { loans: vec![change], ..Changes::default() }, shown })
            }
            (Outcome::Unchanged, Some(loan)) => {
                Ok(Plan { changes: Changes::default(), shown: LoanView { loan, customer_name } })
            }
            (Outcome::Unchanged, None) => unreachable!("a new loan is a change"),
        }
    }
}

struct Rating<'a> {
    external_id: &'a ExternalId,
    score: Score,
}

impl Operation for Rating<'_> {
    type Shown = Scorecard;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<Scorecard>, OperationError> {
        let mut shown = registry.scorecard(caller.organization, self.external_id).await?;
        let known = registry.ports.scores.scores(caller.organization, std::slice::from_ref(self.external_id)).await?;
        let before = known.into_iter().next().flatten();
        shown.score = self.score;
        let scores = if before == Some(self.score) {
            Vec::new()
        } else {
            vec![ScoreChange::reported(self.external_id.clone(), before, self.score, moment)]
        };
        Ok(Plan { changes: Changes { scores, ..Changes::default() }, shown })
    }
}

impl Registry {
    /// Creates or replaces a loan's position.
    pub async fn report_loan<R>(
        &self,
        caller: &Caller,
        external_id: &ExternalId,
        owner: &LoanOwner,
        position: &LoanPosition,
        render: R,
    ) -> Answer
    where
        R: Fn(Result<&LoanView, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Report { external_id, owner, position }, render).await
    }

    /// One loan; `None` where the organization has none of that name.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn loan(
        &self,
        organization: OrganizationId,
        selector: LoanSelector,
    ) -> Result<Option<LoanView>, StoreError> {
        let found = self.ports.loans.loans(organization, &[selector]).await?.into_iter().flatten().collect();
        Ok(self.named(organization, found).await?.into_iter().next())
    }

    /// One page of loans, and how many match in all. With `owner`, only that customer's: none where it does not exist.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn list_loans(
        &self,
        query: &LoanQuery,
        owner: Option<LoanOwner>,
    ) -> Result<(Vec<LoanView>, u64), StoreError> {
        let mut query = query.clone();
        if let Some(owner) = owner {
            let Some(customer) = self.find(query.organization, owner).await? else { return Ok((Vec::new(), 0)) };
            query.customer = Some(customer.id());
        }
        let LoanPage { loans, total } = self.ports.loans.list_loans(&query).await?;
        Ok((self.named(query.organization, loans).await?, total))
    }

    /// How creditworthy the customer of that external id is, whether or not there is one.
    ///
    /// # Errors
    /// [`StoreError`] when a store cannot answer.
    pub async fn scorecard(
        &self,
        organization: OrganizationId,
        external_id: &ExternalId,
    ) -> Result<Scorecard, StoreError> {
        let at = self.now();
        let scores = self.ports.scores.scores(organization, std::slice::from_ref(external_id)).await?;
        let score = scores.into_iter().next().flatten().unwrap_or(Score::UNKNOWN);
        let customer = self.find(organization, Selector::ExternalId(external_id.clone())).await?;
        let totals = match customer {
            Some(customer) => {
                self.ports.loans.totals(organization, &[customer.id()]).await?.into_iter().next().unwrap_or_default()
            }
            None => LoanTotals::default(),
        };
        Ok(Scorecard { external_id: external_id.clone(), score, totals, at })
    }

    /// Keeps a score for that external id, whether or not there is a customer of it.
    pub async fn report_score<R>(&self, caller: &Caller, external_id: &ExternalId, score: Score, render: R) -> Answer
    where
        R: Fn(Result<&Scorecard, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Rating { external_id, score }, render).await
    }

    async fn loan_id(&self, organization: OrganizationId) -> Result<LoanId, StoreError> {
        let number = self.numbers(organization, Counter::Loans, 1).await?[0];
        LoanId::parse(number).map_err(|_| StoreError::Corrupt {
            table: "organizations",
            column: "next_loan_id",
            id: organization.get(),
        })
    }

    async fn named(&self, organization: OrganizationId, loans: Vec<Loan>) -> Result<Vec<LoanView>, StoreError> {
        let key = |loan: &Loan| CustomerKey { organization, selector: Selector::Id(loan.customer) };
        let keys: Vec<_> = loans.iter().map(key).collect();
        let owners = if keys.is_empty() { Vec::new() } else { self.ports.customers.find(&keys).await? };
        let name = |owner: Option<Customer>| owner.map(|customer| customer.display_name()).unwrap_or_default();
        Ok(loans.into_iter().zip(owners).map(|(loan, owner)| LoanView { loan, customer_name: name(owner) }).collect())
    }
}
