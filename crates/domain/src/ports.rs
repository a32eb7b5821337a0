//! What the domain needs of the world. Reads take many keys and commits take many units, so that one round trip can
//! serve many callers; absence is never an error. No driver type and no transaction crosses a port.

use std::error::Error as StdError;

use async_trait::async_trait;
use thiserror::Error;

use crate::account::{Account, AccountId};
use crate::company::{Company, CompanyId};
use crate::facets::Source;
use crate::loan::{Loan, LoanStatus, Score};
use crate::record::RecordEvent;
use crate::webhook::{
    DeliveryQuery, DeliveryRecord, DueDelivery, Replay, Replayed, Settlement, WebhookEndpoint, WebhookId,
};
use crate::{
    Audit, ClosureReasonId, CompanyNumber, Customer, CustomerEvent, CustomerId, Date, EmailAddress, ExternalId, LoanId,
    Moment, OfficeId, OfficeName, OrganizationId, Receipt, ReceiptKey, Sequence, Status, Timestamp, Unit, Version,
};

/// What lies beneath a fault; logged once at the edge, never shown to a client.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why a store could not answer.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store cannot be reached or is overloaded; a retry may help and is safe.
    #[error("the store is unavailable")]
    Unavailable(#[source] Cause),
    /// A stored record breaks the rules of the domain.
    #[error("corrupt record {id} in {table}.{column}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column or rule.
        column: &'static str,
        /// The record's number.
        id: i64,
    },
    /// Anything else: a fault of the program or its schema.
    #[error("the store failed")]
    Fault(#[source] Cause),
}

/// Why a unit of work was not committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The customer is no longer at the version that the unit expects or found, or is gone.
    #[error("customer {0} has changed meanwhile")]
    VersionConflict(CustomerId),
    /// An account, loan, company or webhook endpoint is no longer as the unit expects or found it, its customer's loans are
    /// not, or the organization has as many endpoints as it may.
    #[error("a record has changed meanwhile")]
    RecordConflict,
    /// Another customer of the organization has the external id of this one.
    #[error("the external id of customer {0} is taken")]
    ExternalIdTaken(CustomerId),
    /// The organization does not exist, or has no office of the number that this customer names.
    #[error("customer {0} names an office that its organization lacks")]
    UnknownOffice(CustomerId),
    /// Another request has committed under the same idempotency key.
    #[error("the idempotency key is taken")]
    ReceiptTaken,
    /// The connection was lost while committing: the unit is wholly there or wholly absent, and only its receipt
    /// can tell.
    #[error("the outcome of the commit is unknown")]
    Unknown(#[source] Cause),
    /// The store could not answer; nothing was committed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a caller names a customer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// By number.
    Id(CustomerId),
    /// By the caller's own key.
    ExternalId(ExternalId),
}

/// A customer's name across organizations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomerKey {
    /// The tenant.
    pub organization: OrganizationId,
    /// The customer within it.
    pub selector: Selector,
}

/// What a batch names, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchKeys {
    /// Customers.
    pub customers: Vec<ExternalId>,
    /// Accounts.
    pub accounts: Vec<AccountId>,
    /// Customers, whether or not they are there, all of whose accounts are wanted.
    pub holders: Vec<ExternalId>,
}

/// What is there of a batch, in the order of its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    /// The customers.
    pub customers: Vec<Option<Customer>>,
    /// The accounts.
    pub accounts: Vec<Option<Account>>,
    /// The accounts that each of the holders holds, by id.
    pub held: Vec<Vec<Account>>,
}

/// By what a list is ordered; ties are broken by id, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortKey {
    /// The number.
    Id,
    /// The folded display name ([`crate::search::fold`]), by code points.
    DisplayName,
    /// The submission date.
    SubmittedDate,
    /// The activation date; customers without one come last in both directions.
    ActivationDate,
    /// The instant of creation.
    CreatedAt,
    /// The instant of the last change.
    UpdatedAt,
    /// The e-mail address, by code points; customers without one come last in both directions.
    Email,
}

/// Upwards or downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// Which customers a list holds: those that meet every criterion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CustomerFilter {
    /// Of that status.
    pub status: Option<Status>,
    /// Of that office.
    pub office: Option<OfficeId>,
    /// Found by every one of these folded words ([`crate::search::query_words`]).
    pub words: Vec<String>,
    /// Active (`true`), or Pending or Closed (`false`).
    pub active: Option<bool>,
    /// Won by that channel.
    pub source: Option<Source>,
    /// Associated with that company.
    pub company: Option<CompanyNumber>,
}

impl CustomerFilter {
    /// Whether every customer of the organization meets it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// The sort value of the last row that a walk has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SortValue {
    /// For [`SortKey::Id`]: the boundary's id says it all.
    Id,
    /// For [`SortKey::DisplayName`]: the folded name.
    Name(String),
    /// For the dates; `None` for a customer that has none.
    Date(Option<Date>),
    /// For the instants.
    Instant(Timestamp),
    /// For [`SortKey::Email`]; `None` for a customer that has none.
    Email(Option<EmailAddress>),
}

/// A place between two rows of an ordered list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Boundary {
    /// The sort value of the row before the place.
    pub value: SortValue,
    /// Its id.
    pub id: CustomerId,
}

impl Boundary {
    /// The place right after that customer.
    #[must_use]
    pub fn after(customer: &Customer, sort: SortKey) -> Self {
        let value = match sort {
            SortKey::Id => SortValue::Id,
            SortKey::DisplayName => SortValue::Name(crate::search::fold(&customer.display_name())),
            SortKey::SubmittedDate => SortValue::Date(Some(customer.submitted_on())),
            SortKey::ActivationDate => SortValue::Date(customer.activated_on()),
            SortKey::CreatedAt => SortValue::Instant(customer.created_at()),
            SortKey::UpdatedAt => SortValue::Instant(customer.updated_at()),
            SortKey::Email => SortValue::Email(customer.email().cloned()),
        };
        Self { value, id: customer.id() }
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Window {
    /// The rows after so many, with the total of all that match.
    Page {
        /// Rows to pass over.
        offset: u64,
    },
    /// The rows after a place; from the beginning where there is none. Its cost does not grow with depth.
    After(Option<Boundary>),
}

/// A list of customers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomerQuery {
    /// The tenant.
    pub organization: OrganizationId,
    /// Which customers.
    pub filter: CustomerFilter,
    /// By what they are ordered.
    pub sort: SortKey,
    /// Upwards or downwards.
    pub direction: Direction,
    /// Which part of them.
    pub window: Window,
    /// The greatest number of rows, 1 to 100.
    pub limit: u8,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerPage {
    /// The rows, in order.
    pub customers: Vec<Customer>,
    /// How many match in all; there for [`Window::Page`] alone.
    pub total: Option<u64>,
    /// Whether rows follow the last one.
    pub more: bool,
}

/// What an organization's event log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedEvent {
    /// A customer's.
    Customer(CustomerEvent),
    /// Another record's.
    Record(RecordEvent),
}

/// An event of the log with its circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place in the organization's order of commits.
    pub sequence: Sequence,
    /// What happened.
    pub event: LoggedEvent,
    /// Who, by which request and why.
    pub audit: Audit,
}

/// A customer's event with its circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its place in the organization's order of commits.
    pub sequence: Sequence,
    /// What happened.
    pub event: CustomerEvent,
    /// Who, by which request and why.
    pub audit: Audit,
}

/// Which events of an organization are wanted, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// The tenant.
    pub organization: OrganizationId,
    /// Only events after this one.
    pub after: Option<Sequence>,
    /// Only events up to this one; it bounds what is looked through for few matches.
    pub through: Option<Sequence>,
    /// Only events of these names, such as `customer.created`; all where empty.
    pub kinds: Vec<&'static str>,
    /// Only this customer's.
    pub customer: Option<CustomerId>,
    /// The greatest number of events, 1 to 500.
    pub limit: u16,
}

/// Numbers that an organization counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Customer numbers.
    Customers,
    /// Company numbers.
    Companies,
    /// Loan numbers.
    Loans,
}

/// Keeps customers, their events and the receipts of requests.
///
/// An adapter MUST:
/// - scope every read and write by organization: what belongs to another one is absent;
/// - commit each unit wholly or not at all, and answer only when it is durable;
/// - refuse a change whose expected version is not the stored one ([`CommitError::VersionConflict`]), one that
///   creates a customer whose external id another one has ([`CommitError::ExternalIdTaken`]), one whose office is
///   unknown ([`CommitError::UnknownOffice`]), and a receipt whose key is taken ([`CommitError::ReceiptTaken`]);
///   one refused unit never affects its neighbours in the same call;
/// - refuse a unit whose [`Basis`](crate::unit::Basis) does not hold: a customer or an account that is at another version, or
///   is gone ([`CommitError::VersionConflict`], [`CommitError::RecordConflict`]); nobody changes it before the unit is
///   committed;
/// - give the events of each organization ascending sequences in the order of their commits, so that a reader of
///   `sequence > last` skips nothing;
/// - forget what the log tells of a customer in the commit that deletes it: the changes ([`CustomerEvent::erased`]) and the
///   reasons of its earlier events are emptied; their kinds, versions, sequences, instants, actors and external ids stay,
///   and so does the deletion's own reason;
/// - answer reads in the order of their keys, each with its own result;
/// - let every read that begins after a commit was answered see that commit.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CustomerStore: Send + Sync {
    /// The customers of those keys, in their order; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn find(&self, keys: &[CustomerKey]) -> Result<Vec<Option<Customer>>, StoreError>;

    /// The customers and accounts that a batch meets; those of one call need not be of one instant.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn meet(&self, organization: OrganizationId, batch: &BatchKeys) -> Result<Met, StoreError>;

    /// One page of a list.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn list(&self, query: &CustomerQuery) -> Result<CustomerPage, StoreError>;

    /// Commits each unit by itself; the verdicts are in the units' order.
    async fn commit(&self, units: Vec<Unit>) -> Vec<Result<Committed, CommitError>>;

    /// The receipts of those keys of one organization, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn receipts(
        &self,
        organization: OrganizationId,
        keys: &[ReceiptKey],
    ) -> Result<Vec<Option<Receipt>>, StoreError>;

    /// Removes receipts older than that instant, at most `limit` of them; answers how many went.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn purge_receipts(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// The events that match, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn events(&self, query: &EventQuery) -> Result<Vec<LogEntry>, StoreError>;

    /// The sequences of those organizations' last events, in their order; `None` where there is no event. Every event
    /// up to an answered sequence is committed: none appears there later.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn last_sequences(&self, organizations: &[OrganizationId]) -> Result<Vec<Option<Sequence>>, StoreError>;

    /// The events of one customer with versions below `before` (all where `None`), newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn history(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
        before: Option<Version>,
        limit: u16,
    ) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Takes `count` (1 or more) consecutive numbers from an organization's counter and answers the first: no other
    /// caller ever gets them. `None` where the organization does not exist.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn reserve(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: u32,
    ) -> Result<Option<i64>, StoreError>;

    /// Gives back the numbers from `first` on if nobody has reserved after them (the counter still stands at
    /// `next`); otherwise does nothing, which leaves a harmless gap.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn release(
        &self,
        organization: OrganizationId,
        counter: Counter,
        first: i64,
        next: i64,
    ) -> Result<(), StoreError>;

    /// Whether the store can serve now, writes included.
    ///
    /// # Errors
    /// [`StoreError`] says why not.
    async fn check(&self) -> Result<(), StoreError>;
}

/// What a commit adds to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The sequence of the unit's last event; `None` for a unit without events.
    pub last_sequence: Option<Sequence>,
}

/// A branch of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Office {
    /// Its number.
    pub id: OfficeId,
    /// Its name.
    pub name: OfficeName,
}

/// Why reference data or a credential could not be added.
#[derive(Debug, Error)]
pub enum AddError {
    /// The organization does not exist.
    #[error("there is no such organization")]
    NoOrganization,
    /// There is one of that name, code or address already.
    #[error("there is one already")]
    Taken,
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Organizations, their offices and their reference data.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Directory: Send + Sync {
    /// Adds an organization with office 1 `Head Office` as its default office; answers its id, one more than the
    /// greatest.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn add_organization(&self, name: &str, at: Timestamp) -> Result<OrganizationId, StoreError>;

    /// The organizations' ids and names, by id.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn organizations(&self) -> Result<Vec<(OrganizationId, String)>, StoreError>;

    /// Adds an office; answers its number, one more than the organization's greatest.
    ///
    /// # Errors
    /// [`AddError`] says why not.
    async fn add_office(
        &self,
        organization: OrganizationId,
        name: &OfficeName,
        at: Timestamp,
    ) -> Result<OfficeId, AddError>;

    /// Every office of an organization, by number; the default one is named beside them. `None` where there is no
    /// such organization.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn offices(&self, organization: OrganizationId) -> Result<Option<Offices>, StoreError>;

    /// Makes that office the default for customers created without one; `false` where there is no such office.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn set_default_office(&self, organization: OrganizationId, office: OfficeId) -> Result<bool, StoreError>;

    /// Adds a closure reason.
    ///
    /// # Errors
    /// [`AddError`] says why not.
    async fn add_closure_reason(
        &self,
        organization: OrganizationId,
        reason: ClosureReasonId,
        label: &str,
        at: Timestamp,
    ) -> Result<(), AddError>;

    /// The organization's closure reasons by code; while there is none, any code is accepted.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn closure_reasons(&self, organization: OrganizationId)
    -> Result<Vec<(ClosureReasonId, String)>, StoreError>;

    /// The companies of those names, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn companies(
        &self,
        organization: OrganizationId,
        keys: &[CompanyKey],
    ) -> Result<Vec<Option<Company>>, StoreError>;

    /// The companies of an organization by number, `limit` of them after the first `offset`, and how many there are.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn list_companies(
        &self,
        organization: OrganizationId,
        offset: u64,
        limit: u8,
    ) -> Result<(Vec<Company>, u64), StoreError>;

    /// Adds a portfolio.
    ///
    /// # Errors
    /// [`AddError`] says why not.
    async fn add_portfolio(
        &self,
        organization: OrganizationId,
        portfolio: &Portfolio,
        at: Timestamp,
    ) -> Result<(), AddError>;

    /// The organization's portfolios, by id.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn portfolios(&self, organization: OrganizationId) -> Result<Vec<Portfolio>, StoreError>;
}

/// How a caller names a company.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CompanyKey {
    /// By number.
    Number(CompanyNumber),
    /// By public id.
    Id(CompanyId),
}

/// A portfolio that accounts belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Portfolio {
    /// The institution's own key of it.
    pub id: ExternalId,
    /// What it is called.
    pub name: Box<str>,
    /// In what its rewards are counted.
    pub reward_unit: Box<str>,
}

/// Keeps accounts with their cards; they are written by [`CustomerStore::commit`].
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// The accounts of those ids, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn accounts(
        &self,
        organization: OrganizationId,
        ids: &[AccountId],
    ) -> Result<Vec<Option<Account>>, StoreError>;

    /// The accounts that each of those customers holds, by id.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn held_by(
        &self,
        organization: OrganizationId,
        holders: &[ExternalId],
    ) -> Result<Vec<Vec<Account>>, StoreError>;
}

/// How a caller names a loan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LoanSelector {
    /// By number.
    Id(LoanId),
    /// By the engine's own key.
    ExternalId(ExternalId),
}

/// By what a list of loans is ordered; ties are broken by id, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoanSort {
    /// The number.
    Id,
    /// The principal.
    Principal,
    /// When it is to be paid out; loans without that date come last in both directions.
    ExpectedDisbursement,
}

/// Which loans are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoanQuery {
    /// The tenant.
    pub organization: OrganizationId,
    /// Only this customer's.
    pub customer: Option<CustomerId>,
    /// Only those that stand so.
    pub status: Option<LoanStatus>,
    /// By what they are ordered.
    pub sort: LoanSort,
    /// Upwards or downwards.
    pub direction: Direction,
    /// Rows to pass over.
    pub offset: u64,
    /// The greatest number of rows, 1 to 100.
    pub limit: u8,
}

/// One page of loans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoanPage {
    /// The rows, in order.
    pub loans: Vec<Loan>,
    /// How many match in all.
    pub total: u64,
}

/// Sums over all loans of a customer, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoanTotals {
    /// All that is owed.
    pub outstanding: i128,
    /// All that was paid.
    pub paid: i128,
}

/// Keeps loan positions; they are written by [`CustomerStore::commit`].
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait LoanBook: Send + Sync {
    /// The loans of those names, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn loans(
        &self,
        organization: OrganizationId,
        selectors: &[LoanSelector],
    ) -> Result<Vec<Option<Loan>>, StoreError>;

    /// One page of loans.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn list_loans(&self, query: &LoanQuery) -> Result<LoanPage, StoreError>;

    /// The sums over the loans of each of those customers, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn totals(
        &self,
        organization: OrganizationId,
        customers: &[CustomerId],
    ) -> Result<Vec<LoanTotals>, StoreError>;
}

/// Keeps webhook endpoints and what is to be delivered to them; endpoints are written by [`CustomerStore::commit`].
///
/// Whoever enqueues and settles an organization's deliveries holds its lease: one owner at a time, which names itself by
/// a random number. An owner that is gone loses the lease by time, and another one takes it over.
///
/// An adapter MUST:
/// - scope everything by organization, as [`CustomerStore`] does;
/// - give a new endpoint the sequence of its own creation as its position, and keep the position through every change;
/// - refuse a creation where the organization has [`crate::webhook::ENDPOINTS_LIMIT`] endpoints, and a change of an
///   endpoint at another version ([`CommitError::RecordConflict`] for both);
/// - keep nothing of a deleted endpoint that any of these calls would answer;
/// - answer a claim, an enqueueing and a settlement only when it is durable, and do each wholly or not at all.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// The endpoints of an organization, by their creation, then by id.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn endpoints(&self, organization: OrganizationId) -> Result<Vec<WebhookEndpoint>, StoreError>;

    /// One endpoint.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn endpoint(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<WebhookEndpoint>, StoreError>;

    /// Takes the leases of at most `limit` organizations until `until`, and answers them: those that have something to
    /// enqueue for an enabled endpoint or a delivery due at `now`, and whose lease is free or over at `now`, but for those
    /// in `except`, which are left to others. What the owner holds is not among them; it is [renewed](Self::renew). Those
    /// come first that nobody ever had, then those whose last lease ended first, so that all come to their turn. Each lease
    /// is taken by a compare-and-set of its own.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer; leases that were taken before that end by time.
    async fn claim(
        &self,
        owner: u128,
        now: Timestamp,
        until: Timestamp,
        limit: u16,
        except: &[OrganizationId],
    ) -> Result<Vec<OrganizationId>, StoreError>;

    /// Prolongs leases until `until`, and answers those that are the owner's; one that is over but that nobody took
    /// still is.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer; some may be prolonged then.
    async fn renew(
        &self,
        owner: u128,
        organizations: &[OrganizationId],
        until: Timestamp,
    ) -> Result<Vec<OrganizationId>, StoreError>;

    /// Gives a lease back, if it is the owner's.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn release(&self, owner: u128, organization: OrganizationId) -> Result<(), StoreError>;

    /// Enqueues, in one transaction, a delivery of each wanted event after the position of each enabled endpoint, due
    /// at `now`, and moves the positions. It looks at no more than `limit` (at least 1) events per endpoint; answers
    /// whether there are more. No event is skipped and none enqueued twice, whatever is committed meanwhile. Does
    /// nothing and answers `false` where the lease is not the owner's; one that is over but that nobody took still is.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn enqueue(
        &self,
        organization: OrganizationId,
        owner: u128,
        now: Timestamp,
        limit: u16,
    ) -> Result<bool, StoreError>;

    /// Deliveries that are due, of enabled endpoints, at most `each` of one endpoint and `limit` (1 to 500) in all: the
    /// endpoints take turns, each by the instants of its deliveries. Of one endpoint and one [lane](LoggedEvent::lane) only the first pending delivery is
    /// ever due, so that a later one waits until it is delivered or parked.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn due(
        &self,
        organization: OrganizationId,
        now: Timestamp,
        each: u16,
        limit: u16,
    ) -> Result<Vec<DueDelivery>, StoreError>;

    /// Writes down, in one transaction, what became of attempts: each where the lease is the owner's, the endpoint is
    /// still there, and the delivery is pending with just so many attempts before. Answers which of them were; the
    /// others change nothing. The attempt goes into the delivery's log. Each delivery is settled at most once a call.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn settle(
        &self,
        organization: OrganizationId,
        owner: u128,
        settlements: &[Settlement],
    ) -> Result<Vec<bool>, StoreError>;

    /// The instant at which the next delivery of an enabled endpoint is due; `None` where none is pending.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn next_due(&self, organization: OrganizationId) -> Result<Option<Timestamp>, StoreError>;

    /// The deliveries that match with their logs, newest event first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// Makes the deliveries of the wanted events in a range pending again with no attempts, oldest first; adds those
    /// that are not there, such as of events before the endpoint. Leaves alone what is after the endpoint's position.
    /// A replayed delivery holds back later ones of its lane as any other. `None` where there is no such endpoint.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn replay(&self, replay: &Replay) -> Result<Option<Replayed>, StoreError>;

    /// Removes deliveries that ended before that instant and those of deleted endpoints, at most `limit` of them;
    /// answers how many went.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn purge_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// Says how creditworthy customers are.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ScoringEngine: Send + Sync {
    /// The scores of those external ids, in their order; `None` where nothing is known.
    ///
    /// # Errors
    /// [`StoreError`] when the engine cannot answer.
    async fn scores(&self, organization: OrganizationId, ids: &[ExternalId]) -> Result<Vec<Option<Score>>, StoreError>;
}

/// An organization's offices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offices {
    /// Where customers go that are created without an office.
    pub default: OfficeId,
    /// All of them, by number.
    pub all: Vec<Office>,
}

impl Offices {
    /// The office of that number.
    #[must_use]
    pub fn get(&self, id: OfficeId) -> Option<&Office> {
        self.all.iter().find(|office| office.id == id)
    }
}

/// What a credential may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read.
    Read,
    /// Read and change.
    Write,
}

/// An API key as it is kept: its secret is known by its SHA-256 alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its number across all organizations.
    pub id: i64,
    /// The tenant it belongs to.
    pub organization: OrganizationId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What it may do.
    pub scope: Scope,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
}

/// A partner account that may ask for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartnerAccount {
    /// Its number across all organizations.
    pub id: i64,
    /// The tenant it belongs to.
    pub organization: OrganizationId,
    /// The password's PHC string.
    pub password_hash: String,
}

/// Keeps credentials. Keys and e-mail addresses are unique across organizations: a caller is known before its tenant is.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// Adds an API key; answers its number.
    ///
    /// # Errors
    /// [`AddError`] says why not.
    async fn add_api_key(
        &self,
        organization: OrganizationId,
        name: &str,
        hash: [u8; 32],
        scope: Scope,
        at: Timestamp,
    ) -> Result<i64, AddError>;

    /// The API keys of those hashes, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn api_keys(&self, hashes: &[[u8; 32]]) -> Result<Vec<Option<ApiKey>>, StoreError>;

    /// The API keys of an organization, by number.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn list_api_keys(&self, organization: OrganizationId) -> Result<Vec<ApiKey>, StoreError>;

    /// Revokes an API key; `false` where the organization has none of that number.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn revoke_api_key(&self, organization: OrganizationId, id: i64, at: Timestamp) -> Result<bool, StoreError>;

    /// Adds a partner account; `email` is compared in lower case. Answers its number.
    ///
    /// # Errors
    /// [`AddError`] says why not.
    async fn add_account(
        &self,
        organization: OrganizationId,
        email: &str,
        password_hash: &str,
        at: Timestamp,
    ) -> Result<i64, AddError>;

    /// The partner account of that e-mail address.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    async fn account(&self, email: &str) -> Result<Option<PartnerAccount>, StoreError>;
}

/// Tells the time.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Clock: Send + Sync {
    /// The instant, and the date at it in the deployment's zone. Called once per operation.
    fn now(&self) -> Moment;
}

/// Gives new ids.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait IdSource: Send + Sync {
    /// So many numbers of an organization's counter, ascending, never given before. Empty where there is no such
    /// organization.
    ///
    /// # Errors
    /// [`StoreError`] when the store behind it cannot answer.
    async fn numbers(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: usize,
    ) -> Result<Vec<i64>, StoreError>;

    /// 128 random bits, fit for a secret.
    fn random(&self) -> u128;
}
