//! Events of the records beside customers: accounts, cards, loans, companies and webhook endpoints. They tell feeds what changed and
//! are never replayed. Must not know the aggregates.

use crate::{CustomerId, ExternalId, Timestamp, Value, Version};

/// What kind of change it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// An account came into being.
    AccountCreated,
    /// An account's own values changed.
    AccountUpdated,
    /// A card came into being.
    CardCreated,
    /// A card changed.
    CardUpdated,
    /// A loan was reported for the first time.
    LoanCreated,
    /// A loan's position changed.
    LoanUpdated,
    /// A company came into being.
    CompanyCreated,
    /// A credit score was reported.
    ScoreReported,
    /// A webhook endpoint came into being.
    WebhookCreated,
    /// A webhook endpoint changed.
    WebhookUpdated,
    /// A webhook endpoint is gone.
    WebhookDeleted,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::AccountCreated,
        Self::AccountUpdated,
        Self::CardCreated,
        Self::CardUpdated,
        Self::LoanCreated,
        Self::LoanUpdated,
        Self::CompanyCreated,
        Self::ScoreReported,
        Self::WebhookCreated,
        Self::WebhookUpdated,
        Self::WebhookDeleted,
    ];

    /// The name by which feeds and stores know it, such as `account.created`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountCreated => "account.created",
            Self::AccountUpdated => "account.updated",
            Self::CardCreated => "card.created",
            Self::CardUpdated => "card.updated",
            Self::LoanCreated => "loan.created",
            Self::LoanUpdated => "loan.updated",
            Self::CompanyCreated => "company.created",
            Self::ScoreReported => "score.reported",
            Self::WebhookCreated => "webhook_endpoint.created",
            Self::WebhookUpdated => "webhook_endpoint.updated",
            Self::WebhookDeleted => "webhook_endpoint.deleted",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One value that changed, under the name that the wire gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedChange {
    /// The name.
    pub name: Box<str>,
    /// The value before.
    pub from: Option<Value>,
    /// The value after.
    pub to: Option<Value>,
}

impl NamedChange {
    /// What differs between two sets of named values; names of both, in the order of the later set.
    #[must_use]
    pub fn between(before: Vec<(&'static str, Value)>, after: Vec<(&'static str, Value)>) -> Vec<Self> {
        let mut before = before;
        let mut changes = Vec::new();
        for (name, to) in after {
            let from = before.iter().position(|(old, _)| *old == name).map(|at| before.remove(at).1);
            if from.as_ref() != Some(&to) {
                changes.push(Self { name: name.into(), from, to: Some(to) });
            }
        }
        changes.extend(before.into_iter().map(|(name, from)| Self { name: name.into(), from: Some(from), to: None }));
        changes
    }
}

/// One committed change of a record beside the customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEvent {
    /// What kind of change it was.
    pub kind: RecordKind,
    /// The record's own key: the account's or loan's external id, the company's public id, the endpoint's id.
    pub subject: Box<str>,
    /// The customer it belongs to, where it is known by number.
    pub customer: Option<CustomerId>,
    /// The external id of the customer it belongs to.
    pub external_id: Option<ExternalId>,
    /// The record's version after the change.
    pub version: Version,
    /// When it was decided.
    pub at: Timestamp,
    /// What changed.
    pub changes: Vec<NamedChange>,
}
