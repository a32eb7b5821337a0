//! The use cases: look up the receipt, load, command, commit. Owns their order and the bounded retry of version
//! conflicts; must not know any wire form, which reaches it as a function that renders an answer.

mod feed;
mod history;
mod intake;
mod loans;
mod programme;
mod put;
mod webhooks;

use std::sync::Arc;

use thiserror::Error;

pub use feed::{FEED_SCAN, FeedPage, FeedQuery, read_feed};
pub use history::{AsOf, HistoryPage};
pub use loans::{LoanOwner, LoanView, Scorecard};
pub use programme::{AccountDraft, AccountPut, CardDraft, EnrolledView, Lacking, Programme, ProgrammeItem};
pub use put::{Beginnings, Effect, PutView, Upsert};

use crate::account::{AccountChange, AccountRule};
use crate::company::Company;
use crate::loan::{LoanChange, LoanRefusal, ScoreChange};
use crate::ports::{
    AccountStore, Clock, CommitError, Counter, CustomerKey, CustomerPage, CustomerQuery, CustomerStore, Directory,
    IdSource, LoanBook, Office, Offices, ScoringEngine, Selector, StoreError, WebhookStore, Window,
};
use crate::unit::{Basis, CompanyChange, WebhookChange};
use crate::webhook::WebhookRefusal;
use crate::{
    Actor, Answer, Audit, Blocker, ClosingTerms, CommandError, Customer, CustomerChange, CustomerId, CustomerPatch,
    Date, ExternalId, Field, Fingerprint, Invalid, Moment, NamePatch, NewCustomer, OfficeId, OrganizationId, Receipt,
    ReceiptKey, Refusal, RequestId, Rule, Status, Transition, Unit, Version,
};

/// How often a command is tried again after another request changed the same customer between load and commit.
const ATTEMPTS: usize = 16;

/// An idempotency key that a request bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key as the caller wrote it, without quotes.
    pub text: Box<str>,
    /// Its scope and text, hashed.
    pub receipt: ReceiptKey,
    /// What the request is.
    pub fingerprint: Fingerprint,
}

/// Which version of a customer a caller wants to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Whichever there is.
    #[default]
    None,
    /// Any, but it has to exist (`If-Match: *`).
    Exists,
    /// None: it must not exist yet (`If-None-Match: *`).
    Absent,
    /// That one alone.
    Version(Version),
}

impl Precondition {
    /// Whether it is met by a record at that version; `None` where there is no such record.
    ///
    /// # Errors
    /// [`OperationError::PreconditionFailed`] with that version.
    pub fn check(self, current: Option<Version>) -> Result<(), OperationError> {
        let holds = match self {
            Self::None => true,
            Self::Exists => current.is_some(),
            Self::Absent => current.is_none(),
            Self::Version(wanted) => current == Some(wanted),
        };
        if holds { Ok(()) } else { Err(OperationError::PreconditionFailed { current }) }
    }
}

/// Who asks, for whom, and under which conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant.
    pub organization: OrganizationId,
    /// Who asks.
    pub actor: Actor,
    /// The request's id.
    pub request_id: RequestId,
    /// The request's idempotency key.
    pub key: Option<Key>,
    /// The version it wants to change.
    pub precondition: Precondition,
    /// Why, in the caller's words.
    pub reason: Option<Box<str>>,
}

/// Why an operation did nothing.
#[derive(Debug, Error)]
pub enum OperationError {
    /// The command breaks rules; every problem is named.
    #[error("the request is invalid")]
    Invalid(Vec<Invalid>),
    /// There is no such customer in the caller's organization.
    #[error("there is no such customer")]
    NotFound,
    /// The record is at another version than the caller wants to change, or is there or not though the caller wants it
    /// otherwise.
    #[error("the record is not at the version that the caller wants to change")]
    PreconditionFailed {
        /// The version it is at; `None` where there is no such record.
        current: Option<Version>,
    },
    /// The customer's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another customer has the external id.
    #[error("a customer with the same external id exists")]
    ExternalIdTaken,
    /// The request fits a customer that is there but not one that is not, or the reverse; its sender knows why.
    #[error("the request does not fit what is there")]
    Unfit {
        /// Whether the customer is there.
        exists: bool,
    },
    /// No update changes these fields, and they are not as the request has them.
    #[error("fields that no update changes are otherwise")]
    Unchangeable(Vec<Field>),
    /// Items of a batch break rules; each names its place and what is wrong there.
    #[error("the batch is invalid")]
    InvalidItems(Vec<ItemProblem>),
    /// Items of a batch name what does not exist, or exists with other content.
    #[error("items of the batch cannot be applied")]
    RefusedItems {
        /// Whether they are absent; otherwise they are there with other content or in another state.
        absent: bool,
        /// The items.
        items: Vec<ItemRefusal>,
    },
    /// Items of a batch are at other versions than the caller wants to change.
    #[error("items of the batch have changed")]
    StaleItems(Vec<StaleItem>),
    /// The customer's state or the loan's owner forbids the position.
    #[error(transparent)]
    Loan(#[from] LoanRefusal),
    /// The organization's webhook endpoints forbid it.
    #[error(transparent)]
    Webhook(#[from] WebhookRefusal),
    /// Other requests changed the customer faster than this one could follow.
    #[error("a concurrent change won")]
    Contended,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The connection to the store was lost at the commit; a retry with the same key tells what became of it.
    #[error("the outcome is unknown")]
    Unknown(#[source] crate::ports::Cause),
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OperationError {
    /// Whether the refusal was decided on stored state, and is therefore kept for retries under the same key.
    const fn is_kept(&self) -> bool {
        match self {
            Self::NotFound
            | Self::PreconditionFailed { .. }
            | Self::Refused(_)
            | Self::ExternalIdTaken
            | Self::Unchangeable(_)
            | Self::RefusedItems { .. }
            | Self::StaleItems(_)
            | Self::Loan(_)
            | Self::Webhook(_) => true,
            Self::Invalid(_)
            | Self::Unfit { .. }
            | Self::InvalidItems(_)
            | Self::Contended
            | Self::KeyReused
            | Self::Unknown(_)
            | Self::Store(_) => false,
        }
    }
}

/// What is wrong with one item of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemProblem {
    /// Which item, from 0.
    pub item: usize,
    /// Which of the item's accounts or cards, from 0: `[account]` or `[account, card]`; empty for the item itself.
    pub path: Vec<usize>,
    /// What is wrong.
    pub kind: ItemProblemKind,
}

/// What can be wrong with an item of a batch that only stored state can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemProblemKind {
    /// A rule about a customer.
    Customer(Invalid),
    /// A rule about an account.
    Account(AccountRule),
    /// A rule about the card that the path ends with.
    Card(AccountRule),
    /// A member that a new record needs, by its wire name.
    Required(&'static str),
    /// The customer would hold more accounts than one may.
    TooManyAccounts,
    /// The customer above it is named by the whole number of one of the customer's cards.
    ParentIsCardNumber,
}

/// One item of a batch that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRefusal {
    /// Which item, from 0.
    pub item: usize,
    /// Which of the item's accounts, from 0; empty for the item itself.
    pub path: Vec<usize>,
    /// The external id of the customer or account that it is about.
    pub id: ExternalId,
    /// Whether it is about an account rather than a customer.
    pub account: bool,
}

/// One item of a batch that is not at the version that the caller wants to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleItem {
    /// Which item, from 0.
    pub item: usize,
    /// Which of the item's accounts, from 0; empty for the item itself.
    pub path: Vec<usize>,
    /// The version it is at; `None` where there is no such record.
    pub current: Option<Version>,
}

impl From<CommandError> for OperationError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Invalid(problems) => Self::Invalid(problems),
            CommandError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// A customer with what its views show beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerView {
    /// The customer.
    pub customer: Customer,
    /// Its office.
    pub office: Office,
    /// The company it is associated with.
    pub company: Option<Company>,
}

/// A page of views; see [`CustomerPage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewPage {
    /// The rows, in order.
    pub views: Vec<CustomerView>,
    /// How many match in all.
    pub total: Option<u64>,
    /// Whether rows follow.
    pub more: bool,
}

/// How many rows a page may have before it, unless a registry says otherwise: a store reads and drops every one of them.
pub const DEEPEST_PAGE: u64 = 100_000;

/// Why there is no such part of a list.
#[derive(Debug, Error)]
pub enum ListError {
    /// More rows lie before the page than may; a walk ([`Window::After`]) goes as deep as there are rows.
    #[error("the page lies too deep: at most {0} rows may lie before it")]
    TooDeep(u64),
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a caller wants done to one customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Pending to Active.
    Activate(Date),
    /// Active to Closed.
    Close(ClosingTerms),
    /// A change of details.
    Update(CustomerPatch),
    /// A change of details, then the activity that the caller wants: `true` activates a Pending customer today,
    /// `false` is refused for an Active one, since closing needs a date and a reason.
    Amend {
        /// The details.
        patch: CustomerPatch,
        /// The activity; `None` leaves it.
        active: Option<bool>,
    },
    /// Out of the register.
    Delete,
}

/// What a new customer's creator leaves to the organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfficeChoice {
    /// The organization's default office.
    Default,
    /// That one.
    Given(OfficeId),
}

/// What an operation changes.
#[derive(Default)]
struct Changes {
    customers: Vec<CustomerChange>,
    accounts: Vec<AccountChange>,
    companies: Vec<CompanyChange>,
    loans: Vec<LoanChange>,
    scores: Vec<ScoreChange>,
    webhooks: Vec<WebhookChange>,
    basis: Basis,
}

impl Changes {
    fn of_customers(customers: Vec<CustomerChange>) -> Self {
        Self { customers, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        let Self { customers, accounts, companies, loans, scores, webhooks, basis: _ } = self;
        let has_records = !(accounts.is_empty()
            && companies.is_empty()
            && loans.is_empty()
            && scores.is_empty()
            && webhooks.is_empty());
        customers.is_empty() && !has_records
    }
}

/// What an operation changes, and what its answer shows.
struct Plan<T> {
    changes: Changes,
    shown: T,
}

/// One use case: from the present state to what it changes. Planned anew when another request came between.
trait Operation: Sync {
    /// What its answer shows.
    type Shown;

    /// Whether an external id that another request took meanwhile is met by planning anew instead of by a refusal.
    const MEETS_TAKEN_IDS: bool = false;

    fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> impl Future<Output = Result<Plan<Self::Shown>, OperationError>> + Send;
}

struct Creation<D> {
    office: OfficeChoice,
    draft: D,
}

impl<D: Fn(Moment) -> NewCustomer + Send + Sync> Operation for Creation<D> {
    type Shown = CustomerView;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<CustomerView>, OperationError> {
        let mut new = (self.draft)(moment);
        let mut problems = new.problems(moment.today);
        let offices = registry.offices(caller.organization).await?;
        new.office = match self.office {
            OfficeChoice::Default => offices.default,
            OfficeChoice::Given(id) => id,
        };
        let found = offices.get(new.office).cloned();
        if found.is_none() {
            problems.push(Invalid { field: Field::Office, rule: Rule::Unknown });
        }
        let (Some(office), true) = (found, problems.is_empty()) else {
            return Err(OperationError::Invalid(problems));
        };
        let id = registry.customer_ids(caller.organization, 1).await?.into_iter().next().expect("one was asked for");
        let (customer, event) = Customer::open(caller.organization, id, new, moment)?;
        let change = CustomerChange::kept(customer.clone(), vec![event]);
        let company = registry.company_of(&customer).await?;
        Ok(Plan { changes: Changes::of_customers(vec![change]), shown: CustomerView { customer, office, company } })
    }
}

struct OnOne<'a> {
    selector: &'a Selector,
    command: &'a Command,
}

impl Operation for OnOne<'_> {
    type Shown = CustomerView;

    async fn plan(
        &self,
        registry: &Registry,
        caller: &Caller,
        moment: Moment,
    ) -> Result<Plan<CustomerView>, OperationError> {
        registry.check_before_loading(caller.organization, self.command, moment).await?;
        let before = registry.load(caller, self.selector).await?;
        let office = registry.office(&before).await?;
        let (changes, customer) = apply(before, self.command, moment)?;
        let company = registry.company_of(&customer).await?;
        Ok(Plan { changes: Changes::of_customers(changes), shown: CustomerView { customer, office, company } })
    }
}

/// All that the use cases need of the world.
#[derive(Clone)]
pub struct Ports {
    /// Keeps customers, events and receipts, and commits every unit of work.
    pub customers: Arc<dyn CustomerStore>,
    /// Organizations and their reference data.
    pub directory: Arc<dyn Directory>,
    /// Accounts with cards.
    pub accounts: Arc<dyn AccountStore>,
    /// Loan positions.
    pub loans: Arc<dyn LoanBook>,
    /// Credit scores.
    pub scores: Arc<dyn ScoringEngine>,
    /// Webhook endpoints and their deliveries.
    pub webhooks: Arc<dyn WebhookStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn IdSource>,
}

/// The use cases over the ports.
#[derive(Clone)]
pub struct Registry {
    ports: Arc<Ports>,
    deepest_page: u64,
}

impl Registry {
    /// The use cases over those ports.
    #[must_use]
    pub fn new(ports: Ports) -> Self {
        Self { ports: Arc::new(ports), deepest_page: DEEPEST_PAGE }
    }

    /// The same with pages that have at most so many rows before them.
    #[must_use]
    pub const fn with_deepest_page(mut self, rows: u64) -> Self {
        self.deepest_page = rows;
        self
    }

    /// The time of an operation.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.ports.clock.now()
    }

    /// Creates a customer. The draft is made from the moment of the operation, so that "today" is one day throughout;
    /// its office is replaced by the default one where `office` says so.
    pub async fn create<D, R>(&self, caller: &Caller, office: OfficeChoice, draft: D, render: R) -> Answer
    where
        D: Fn(Moment) -> NewCustomer + Send + Sync,
        R: Fn(Result<&CustomerView, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Creation { office, draft }, render).await
    }

    /// What is wrong with a new customer as far as it can be told while other parts of the request cannot be read:
    /// broken rules about its dates, and an office that the organization lacks.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn problems_of_new(
        &self,
        organization: OrganizationId,
        office: OfficeChoice,
        new: &NewCustomer,
    ) -> Result<Vec<Invalid>, StoreError> {
        let mut problems = new.problems(self.ports.clock.now().today);
        if let OfficeChoice::Given(id) = office
            && self.offices(organization).await?.get(id).is_none()
        {
            problems.push(Invalid { field: Field::Office, rule: Rule::Unknown });
        }
        Ok(problems)
    }

    /// Does one thing to one customer.
    pub async fn command<R>(&self, caller: &Caller, selector: &Selector, command: &Command, render: R) -> Answer
    where
        R: Fn(Result<&CustomerView, &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &OnOne { selector, command }, render).await
    }

    /// One customer; `None` where the organization has none of that name.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn get(
        &self,
        organization: OrganizationId,
        selector: Selector,
    ) -> Result<Option<CustomerView>, StoreError> {
        match self.find(organization, selector).await? {
            Some(customer) => self.viewed(customer).await.map(Some),
            None => Ok(None),
        }
    }

    /// A customer with its office and company as they are now.
    async fn viewed(&self, customer: Customer) -> Result<CustomerView, StoreError> {
        let (office, company) = (self.office(&customer).await?, self.company_of(&customer).await?);
        Ok(CustomerView { customer, office, company })
    }

    /// One page of a list. A page past the end is empty, however deep it would lie.
    ///
    /// # Errors
    /// [`ListError`].
    pub async fn list(&self, query: &CustomerQuery) -> Result<ViewPage, ListError> {
        let page = match query.window {
            Window::Page { offset } if offset > self.deepest_page => self.past_the_end(query, offset).await?,
            Window::Page { .. } | Window::After(_) => self.ports.customers.list(query).await?,
        };
        let CustomerPage { customers, total, more } = page;
        let offices = self.offices(query.organization).await?;
        let companies = self.companies_of(query.organization, &customers).await?;
        let view = |(customer, company): (Customer, Option<Company>)| {
            let missing = || StoreError::Corrupt { table: "customers", column: "office_id", id: customer.id().get() };
            let office = offices.get(customer.office()).cloned().ok_or_else(missing)?;
            Ok(CustomerView { customer, office, company })
        };
        let views = customers.into_iter().zip(companies).map(view).collect::<Result<_, StoreError>>()?;
        Ok(ViewPage { views, total, more })
    }

    /// The empty page behind all rows, if so many lie before it; they are counted, and not read.
    async fn past_the_end(&self, query: &CustomerQuery, offset: u64) -> Result<CustomerPage, ListError> {
        let first = CustomerQuery { window: Window::Page { offset: 0 }, limit: 1, ..query.clone() };
        let total = self.ports.customers.list(&first).await?.total;
        if total.is_none_or(|total| total > offset) {
            return Err(ListError::TooDeep(self.deepest_page));
        }
        Ok(CustomerPage { customers: Vec::new(), total, more: false })
    }

    /// Receipt, plan, commit: the one way by which anything is written.
    async fn execute<O, R>(&self, caller: &Caller, operation: &O, render: R) -> Answer
    where
        O: Operation,
        R: Fn(Result<&O::Shown, &OperationError>) -> Answer,
    {
        for _ in 0..ATTEMPTS {
            match self.replay(caller).await {
                Ok(Some(answer)) => return answer,
                Ok(None) => {}
                Err(error) => return render(Err(&error)),
            }
            let moment = self.ports.clock.now();
            let (changes, answer) = match operation.plan(self, caller, moment).await {
                Ok(plan) => (plan.changes, render(Ok(&plan.shown))),
                Err(error) if error.is_kept() && caller.key.is_some() => (Changes::default(), render(Err(&error))),
                Err(error) => return render(Err(&error)),
            };
            if changes.is_empty() && caller.key.is_none() {
                return answer;
            }
            let refused = match self.commit(caller, moment, changes, &answer).await {
                Ok(()) => return answer,
                Err(CommitError::ReceiptTaken | CommitError::VersionConflict(_) | CommitError::RecordConflict) => {
                    continue;
                }
                Err(CommitError::ExternalIdTaken(_)) if O::MEETS_TAKEN_IDS => continue,
                Err(CommitError::ExternalIdTaken(_)) => OperationError::ExternalIdTaken,
                Err(CommitError::UnknownOffice(_)) => {
                    OperationError::Invalid(vec![Invalid { field: Field::Office, rule: Rule::Unknown }])
                }
                Err(CommitError::Unknown(cause)) => OperationError::Unknown(cause),
                Err(CommitError::Store(error)) => OperationError::Store(error),
            };
            let answer = render(Err(&refused));
            if !refused.is_kept() || caller.key.is_none() {
                return answer;
            }
            match self.commit(caller, moment, Changes::default(), &answer).await {
                Ok(()) => return answer,
                Err(CommitError::Store(error)) => {
                    return render(Err(&OperationError::Store(error)));
                }
                // Another request took the key meanwhile: its answer is the one to give.
                Err(_) => {}
            }
        }
        render(Err(&OperationError::Contended))
    }

    /// The answer that was given to this very request before.
    async fn replay(&self, caller: &Caller) -> Result<Option<Answer>, OperationError> {
        let Some(key) = &caller.key else {
            return Ok(None);
        };
        let found =
            self.ports.customers.receipts(caller.organization, &[key.receipt]).await?.into_iter().next().flatten();
        match found {
            None => Ok(None),
            Some(receipt) if receipt.fingerprint == key.fingerprint => {
                let mut answer = receipt.answer;
                answer.headers.push(("idempotent-replayed".into(), "true".into()));
                Ok(Some(answer))
            }
            Some(_) => Err(OperationError::KeyReused),
        }
    }

    async fn commit(
        &self,
        caller: &Caller,
        moment: Moment,
        changes: Changes,
        answer: &Answer,
    ) -> Result<(), CommitError> {
        let receipt = caller.key.as_ref().map(|key| Receipt {
            key: key.receipt,
            fingerprint: key.fingerprint,
            at: moment.at,
            answer: answer.clone(),
        });
        let audit = Audit {
            actor: caller.actor.clone(),
            request_id: caller.request_id.clone(),
            idempotency_key: caller.key.as_ref().map(|key| key.text.clone()),
            reason: caller.reason.clone(),
        };
        let Changes { customers, accounts, companies, loans, scores, webhooks, basis } = changes;
        let (organization, at) = (caller.organization, moment.at);
        let unit =
            Unit { organization, at, audit, customers, accounts, companies, loans, scores, webhooks, basis, receipt };
        let verdict = self.ports.customers.commit(vec![unit]).await.into_iter().next();
        verdict.expect("a store answers every unit").map(|_| ())
    }

    /// What can be refused without knowing the customer: it is refused whether or not there is one.
    async fn check_before_loading(
        &self,
        organization: OrganizationId,
        command: &Command,
        moment: Moment,
    ) -> Result<(), OperationError> {
        let problems = match command {
            Command::Activate(on) => Transition::Activate.check_date(*on, moment.today).err().into_iter().collect(),
            Command::Update(patch) | Command::Amend { patch, .. } => patch.problems(moment.today),
            Command::Close(terms) => {
                let listed = self.ports.directory.closure_reasons(organization).await?;
                let known = listed.is_empty() || listed.iter().any(|(code, _)| *code == terms.reason);
                if known { Vec::new() } else { vec![Invalid { field: Field::ClosureReason, rule: Rule::Unknown }] }
            }
            Command::Delete => Vec::new(),
        };
        if problems.is_empty() { Ok(()) } else { Err(OperationError::Invalid(problems)) }
    }

    async fn load(&self, caller: &Caller, selector: &Selector) -> Result<Customer, OperationError> {
        let customer = self.find(caller.organization, selector.clone()).await?.ok_or(OperationError::NotFound)?;
        caller.precondition.check(Some(customer.version()))?;
        Ok(customer)
    }

    async fn find(&self, organization: OrganizationId, selector: Selector) -> Result<Option<Customer>, StoreError> {
        let found = self.ports.customers.find(&[CustomerKey { organization, selector }]).await?;
        Ok(found.into_iter().next().flatten())
    }

    async fn offices(&self, organization: OrganizationId) -> Result<Offices, StoreError> {
        let missing = || StoreError::Corrupt { table: "organizations", column: "id", id: organization.get() };
        self.ports.directory.offices(organization).await?.ok_or_else(missing)
    }

    async fn office(&self, customer: &Customer) -> Result<Office, StoreError> {
        let offices = self.offices(customer.organization()).await?;
        let missing = || StoreError::Corrupt { table: "customers", column: "office_id", id: customer.id().get() };
        offices.get(customer.office()).cloned().ok_or_else(missing)
    }

    async fn customer_ids(&self, organization: OrganizationId, count: usize) -> Result<Vec<CustomerId>, StoreError> {
        let numbers = self.numbers(organization, Counter::Customers, count).await?;
        Ok(numbers.into_iter().filter_map(|number| CustomerId::parse(number).ok()).collect())
    }

    /// So many numbers, exactly.
    async fn numbers(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let numbers = self.ports.ids.numbers(organization, counter, count).await?;
        let missing = || StoreError::Corrupt { table: "organizations", column: "id", id: organization.get() };
        if numbers.len() == count { Ok(numbers) } else { Err(missing()) }
    }
}

/// Runs a command on a loaded customer: the changes to commit (none where it already holds) and the state to show.
fn apply(before: Customer, command: &Command, moment: Moment) -> Result<(Vec<CustomerChange>, Customer), CommandError> {
    let mut customer = before;
    let mut events = Vec::new();
    match command {
        Command::Activate(on) => events.extend(customer.activate(*on, moment)?.applied()),
        Command::Close(terms) => events.extend(customer.close(*terms, moment)?.applied()),
        Command::Update(patch) => events.extend(customer.update(patch, moment)?.applied()),
        Command::Amend { patch, active } => {
            let patch = without_known_name(patch, &customer);
            if patch != CustomerPatch::default() {
                events.extend(customer.update(&patch, moment)?.applied());
            }
            match (active, customer.status()) {
                (Some(true), Status::Pending) => events.extend(customer.activate(moment.today, moment)?.applied()),
                (Some(false), Status::Active) | (Some(true), Status::Closed) => {
                    return Err(Refusal { status: customer.status(), blockers: vec![Blocker::State] }.into());
                }
                (Some(true), Status::Active) | (Some(false), Status::Pending | Status::Closed) | (None, _) => {}
            }
        }
        Command::Delete => {
            let deletion = customer.clone().delete(moment)?;
            return Ok((vec![CustomerChange::gone(deletion)], customer));
        }
    }
    let changes = if events.is_empty() { Vec::new() } else { vec![CustomerChange::kept(customer.clone(), events)] };
    Ok((changes, customer))
}

/// The patch without a whole name that the customer already shows: who sees no name parts does not mean to drop them.
fn without_known_name(patch: &CustomerPatch, customer: &Customer) -> CustomerPatch {
    let mut patch = patch.clone();
    if matches!(&patch.name, NamePatch::Full(name) if name.as_str() == customer.display_name()) {
        patch.name = NamePatch::Keep;
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Handlers run on a runtime of several threads: the futures of the use cases have to be able to move.
    #[test]
    fn the_futures_of_the_use_cases_are_send() {
        fn check<F: Future + Send>(_: impl FnOnce() -> F) {}
        fn of(registry: &Registry, caller: &Caller, selector: &Selector, command: &Command) {
            let answer = || Answer { status: 200, headers: Vec::new(), body: Vec::new() };
            check(|| registry.command(caller, selector, command, |_| answer()));
            check(|| {
                registry.create(
                    caller,
                    OfficeChoice::Default,
                    |_| NewCustomer::named(OfficeId::FIRST, crate::Name::FollowsExternalId),
                    |_| answer(),
                )
            });
            check(|| registry.get(caller.organization, selector.clone()));
            check(|| registry.as_of(caller.organization, selector.clone(), AsOf::Version(Version::FIRST)));
        }
        let _ = of;
    }
}
