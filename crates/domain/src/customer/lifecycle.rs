//! The lifecycle Pending → Active → Closed: one table, total over state and command. Must not know what else a
//! customer is made of.

use std::fmt;

use thiserror::Error;

use crate::loan::LoanCounts;
use crate::{ClosureReasonId, Date, Field};

/// Where a customer stands, with what belongs to each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// Applied, not yet active.
    Pending,
    /// May hold loans.
    Active {
        /// The activation date.
        since: Date,
    },
    /// Ended for good.
    Closed {
        /// The activation date.
        since: Date,
        /// The closure date.
        on: Date,
        /// The closure reason.
        reason: ClosureReasonId,
    },
}

/// The name of a lifecycle state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Applied, not yet active.
    Pending,
    /// May hold loans.
    Active,
    /// Ended for good.
    Closed,
}

impl Status {
    /// Every status, in the order of a customer's life.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Active, Self::Closed];

    /// The label used on the wire and in stores: `Pending`, `Active`, `Closed`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Closed => "Closed",
        }
    }

    /// The status of that label, letter for letter.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.label() == label)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A command whose possibility depends on the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// Pending to Active.
    Activate,
    /// Active to Closed.
    Close,
    /// Change of details.
    Update,
    /// Out of the register.
    Delete,
    /// A new open loan.
    OpenLoan,
}

impl Transition {
    /// Every command.
    pub const ALL: [Self; 5] = [Self::Activate, Self::Close, Self::Update, Self::Delete, Self::OpenLoan];

    /// The name by which callers know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Close => "close",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::OpenLoan => "openLoan",
        }
    }

    /// The rule that a command's date keeps whatever the customer's state: an activation is not in the future. A
    /// service checks it before it loads anything.
    ///
    /// # Errors
    /// [`Invalid`] names the field and the rule.
    pub fn check_date(self, on: Date, today: Date) -> Result<(), Invalid> {
        match self {
            Self::Activate if on > today => Err(Invalid { field: Field::Activation, rule: Rule::InFuture }),
            Self::Activate | Self::Close | Self::Update | Self::Delete | Self::OpenLoan => Ok(()),
        }
    }
}

/// When and why a customer is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClosingTerms {
    /// The closure date; one in the future takes effect at once.
    pub on: Date,
    /// The closure reason.
    pub reason: ClosureReasonId,
}

/// One thing that stands in a command's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blocker {
    /// The state does not allow the command.
    State,
    /// That many loans are open.
    OpenLoans(u32),
    /// That many loans exist, open or not.
    Loans(u32),
}

impl Blocker {
    /// The name by which callers know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::OpenLoans(_) => "openLoans",
            Self::Loans(_) => "loans",
        }
    }

    /// How many records stand in the way; `None` where it is no record.
    #[must_use]
    pub const fn count(self) -> Option<u32> {
        match self {
            Self::State => None,
            Self::OpenLoans(count) | Self::Loans(count) => Some(count),
        }
    }
}

/// A command that the customer's state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not possible for a customer that is {status}")]
pub struct Refusal {
    /// The state.
    pub status: Status,
    /// Everything that stands in the way; at least one.
    pub blockers: Vec<Blocker>,
}

/// A rule that a field breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It must be given.
    Required,
    /// It may not be later than today.
    InFuture,
    /// It may not be before the submission date.
    BeforeSubmission,
    /// It may not be before the activation date.
    BeforeActivation,
    /// A whole name excludes name parts.
    ExcludedByFullName,
    /// It names nothing that the organization has.
    Unknown,
    /// It may not be before the start of the enrolment.
    BeforeEnrolment,
}

/// One field of a command that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Invalid {
    /// The field.
    pub field: Field,
    /// The rule.
    pub rule: Rule,
}

/// Why a command did nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The command itself is wrong; every problem is named.
    #[error("the command is invalid")]
    Invalid(Vec<Invalid>),
    /// The command is right, but not in this state.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<Invalid> for CommandError {
    fn from(problem: Invalid) -> Self {
        Self::Invalid(vec![problem])
    }
}

impl Lifecycle {
    pub(crate) const fn status(self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Active { .. } => Status::Active,
            Self::Closed { .. } => Status::Closed,
        }
    }

    /// The table of states and commands.
    pub(crate) fn permit(self, transition: Transition, loans: LoanCounts) -> Result<(), Refusal> {
        let status = self.status();
        let state_allows = match (status, transition) {
            (Status::Pending, Transition::Activate | Transition::Update | Transition::Delete)
            | (Status::Active, Transition::Close | Transition::Update | Transition::OpenLoan) => true,
            (Status::Pending, Transition::Close | Transition::OpenLoan)
            | (Status::Active, Transition::Activate | Transition::Delete)
            | (
                Status::Closed,
                Transition::Activate
                | Transition::Close
                | Transition::Update
                | Transition::Delete
                | Transition::OpenLoan,
            ) => false,
        };
        let by_loans = match transition {
            Transition::Close if loans.open > 0 => Some(Blocker::OpenLoans(loans.open)),
            Transition::Delete if loans.total > 0 => Some(Blocker::Loans(loans.total)),
            Transition::Activate
            | Transition::Close
            | Transition::Update
            | Transition::Delete
            | Transition::OpenLoan => None,
        };
        let blockers: Vec<_> = (!state_allows).then_some(Blocker::State).into_iter().chain(by_loans).collect();
        if blockers.is_empty() { Ok(()) } else { Err(Refusal { status, blockers }) }
    }
}
