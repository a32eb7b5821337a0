//! The unit of work as a value: what one operation commits, wholly or not at all. Must not know how a store
//! keeps it.

use std::collections::BTreeMap;

use crate::account::{Account, AccountChange, AccountId};
use crate::company::Company;
use crate::loan::{LoanChange, ScoreChange};
use crate::record::RecordEvent;
use crate::webhook::{WebhookEndpoint, WebhookId};
use crate::{Customer, CustomerEvent, CustomerId, EventKind, Moment, OrganizationId, Timestamp, Version};

/// Who did something: a credential's name for itself, such as `key:3` or `token:partner-1`; never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor(Box<str>);

impl Actor {
    /// The actor of that name, cut to 200 characters.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.chars().filter(|c| !c.is_control()).take(200).collect::<String>().into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of the request that caused a change, 1 to 64 characters of `[A-Za-z0-9._-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The id, if it has the right form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who caused a unit's changes, by which request and why; written into each of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Who.
    pub actor: Actor,
    /// By which request.
    pub request_id: RequestId,
    /// The caller's idempotency key, 1 to 255 visible ASCII characters.
    pub idempotency_key: Option<Box<str>>,
    /// Why, in the caller's words.
    pub reason: Option<Box<str>>,
}

/// The scope and text of an idempotency key, hashed: organization, credential, method, route and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiptKey(pub [u8; 32]);

/// A hash over everything that makes two requests the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// An answer as it was given, byte for byte. The domain neither reads nor writes what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code, 100 to 599.
    pub status: u16,
    /// Header names and values that belong to the answer, content type and `ETag` included.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a keyed request was answered; kept in the transaction of its change, and given again on a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The key.
    pub key: ReceiptKey,
    /// What the request was.
    pub fingerprint: Fingerprint,
    /// When it was answered.
    pub at: Timestamp,
    /// The answer.
    pub answer: Answer,
}

/// The change of one customer: its state after, and the events that led there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerChange {
    events: Vec<CustomerEvent>,
    after: Option<Customer>,
}

impl CustomerChange {
    /// The customer as those events left it, oldest first. Events come from the aggregate's commands alone, so that
    /// no state is stored without one.
    ///
    /// # Panics
    /// When there is no event, or the last one is of another customer or version: a fault of the program.
    #[must_use]
    pub fn kept(after: Customer, events: Vec<CustomerEvent>) -> Self {
        let last = events.last().expect("a change has an event");
        assert!(
            last.customer() == after.id() && last.version() == after.version(),
            "the last event leads to the state"
        );
        Self { events, after: Some(after) }
    }

    /// The customer that a deletion took out.
    #[must_use]
    pub fn gone(deletion: CustomerEvent) -> Self {
        Self { events: vec![deletion], after: None }
    }

    /// The customer.
    #[must_use]
    pub fn customer(&self) -> CustomerId {
        self.events[0].customer()
    }

    /// The version that the store has to hold for the change to apply; `None` when it creates the record.
    #[must_use]
    pub fn expects(&self) -> Option<Version> {
        self.events[0].version().previous()
    }

    /// The state to store; `None` for a deletion.
    #[must_use]
    pub const fn after(&self) -> Option<&Customer> {
        self.after.as_ref()
    }

    /// Which loans the store must not hold for the change to apply: open ones keep a customer from being closed, any
    /// from being deleted.
    #[must_use]
    pub fn forbids(&self) -> ForbiddenLoans {
        let last = self.events.last().map(CustomerEvent::kind);
        match last {
            Some(EventKind::Deleted) => ForbiddenLoans::Any,
            _ if self.events.iter().any(|event| event.kind() == EventKind::Closed) => ForbiddenLoans::Open,
            _ => ForbiddenLoans::None,
        }
    }

    /// What happened, oldest first; at least one.
    #[must_use]
    pub fn events(&self) -> &[CustomerEvent] {
        &self.events
    }
}

/// Which loans of its customer a change does not bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForbiddenLoans {
    /// It bears all.
    None,
    /// No open ones.
    Open,
    /// None at all.
    Any,
}

/// A company with the event of its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanyChange {
    company: Company,
    event: RecordEvent,
}

impl CompanyChange {
    /// The creation of that company.
    #[must_use]
    pub fn created(company: Company, moment: Moment) -> Self {
        Self { event: company.created(moment), company }
    }

    /// The company.
    #[must_use]
    pub const fn company(&self) -> &Company {
        &self.company
    }

    /// What happened.
    #[must_use]
    pub const fn event(&self) -> &RecordEvent {
        &self.event
    }
}

/// The change of one webhook endpoint: its state after, and the event that led there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookChange {
    organization: OrganizationId,
    id: WebhookId,
    after: Option<WebhookEndpoint>,
    event: RecordEvent,
}

impl WebhookChange {
    /// The endpoint as that event left it.
    ///
    /// # Panics
    /// When the event is of another endpoint or version: a fault of the program.
    #[must_use]
    pub fn kept(after: WebhookEndpoint, event: RecordEvent) -> Self {
        let is_its_own = *event.subject == *after.id().to_string() && event.version == after.version();
        assert!(is_its_own, "the event leads to the state");
        Self { organization: after.organization(), id: after.id(), after: Some(after), event }
    }

    /// The deletion of that endpoint.
    #[must_use]
    pub fn gone(before: WebhookEndpoint, moment: Moment) -> Self {
        Self { organization: before.organization(), id: before.id(), after: None, event: before.delete(moment) }
    }

    /// The tenant.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The endpoint.
    #[must_use]
    pub const fn id(&self) -> WebhookId {
        self.id
    }

    /// The version that the store has to hold for the change to apply; `None` when it creates the endpoint.
    #[must_use]
    pub fn expects(&self) -> Option<Version> {
        self.event.version.previous()
    }

    /// The state to store, but for its position; `None` for a deletion.
    #[must_use]
    pub const fn after(&self) -> Option<&WebhookEndpoint> {
        self.after.as_ref()
    }

    /// What happened.
    #[must_use]
    pub const fn event(&self) -> &RecordEvent {
        &self.event
    }
}

/// What a unit was decided on without changing it: customers and accounts that it found as they are to be, and the versions
/// at which they have to be still when it is committed. Two batches that each change what the other one found would else
/// end in a state that neither order of them leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Basis {
    /// The customers.
    pub customers: BTreeMap<CustomerId, Version>,
    /// The accounts.
    pub accounts: BTreeMap<AccountId, Version>,
}

impl Basis {
    /// Adds a customer; what was read first counts.
    pub fn add_customer(&mut self, customer: &Customer) {
        self.customers.entry(customer.id()).or_insert(customer.version());
    }

    /// Adds an account; what was read first counts.
    pub fn add_account(&mut self, account: &Account) {
        self.accounts.entry(account.id().clone()).or_insert(account.version());
    }

    /// Whether the unit was decided on what it changes alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.customers.is_empty() && self.accounts.is_empty()
    }
}

/// What one operation commits: wholly or not at all, independent of every other unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The tenant that every change belongs to.
    pub organization: OrganizationId,
    /// When it was decided.
    pub at: Timestamp,
    /// Who, by which request and why.
    pub audit: Audit,
    /// The customers that change; each at most once.
    pub customers: Vec<CustomerChange>,
    /// The accounts that change; each at most once.
    pub accounts: Vec<AccountChange>,
    /// The companies that come into being.
    pub companies: Vec<CompanyChange>,
    /// The loans that change; each at most once.
    pub loans: Vec<LoanChange>,
    /// The credit scores reported, by external id; a later one replaces an earlier one.
    pub scores: Vec<ScoreChange>,
    /// The webhook endpoints that change; each at most once.
    pub webhooks: Vec<WebhookChange>,
    /// What it was decided on besides; none of what it changes.
    pub basis: Basis,
    /// The answer to keep for retries.
    pub receipt: Option<Receipt>,
}
