//! What always holds of a customer, as functions that name what is violated. A foreign store's tests call them on
//! what the store gives back.

use std::collections::BTreeMap;
use std::fmt;

use crate::loan::LoanCounts;
use crate::registry::Command;
use crate::{
    Blocker, CommandError, Customer, CustomerEvent, Date, EventKind, Field, Moment, Outcome, Status, Transition, Value,
};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation(what())) }
}

/// Versions are 1..n without gap or repeat, the first event creates, only the last one deletes, and time does not
/// go back. Events tell changes, unless they were erased together with a deletion.
///
/// # Errors
/// [`Violation`] names the first event that breaks the rule.
pub fn applies_once_per_version(events: &[CustomerEvent]) -> Result<(), Violation> {
    let deleted = events.last().is_some_and(|last| last.kind() == EventKind::Deleted);
    let erased = deleted && events.iter().all(|event| event.changes().is_empty());
    for (position, event) in events.iter().enumerate() {
        let version = i64::try_from(position).unwrap_or(i64::MAX) + 1;
        ensure(event.version().get() == version, || format!("event {position} has version {}", event.version()))?;
        ensure((event.kind() == EventKind::Created) == (position == 0), || {
            format!("event {position} is {:?}", event.kind())
        })?;
        let deletes = event.kind() == EventKind::Deleted;
        ensure(!deletes || position + 1 == events.len(), || format!("event {position} deletes, and others follow"))?;
        ensure(erased || deletes == event.changes().is_empty(), || {
            format!("event {position} has {} changes", event.changes().len())
        })?;
        ensure(event.changes().iter().all(|change| change.from != change.to), || {
            format!("event {position} changes nothing")
        })?;
    }
    Ok(())
}

/// Replaying the events gives the stored customer, or nothing after a deletion.
///
/// # Errors
/// [`Violation`] when it does not.
pub fn replay_rebuilds(events: &[CustomerEvent], stored: Option<&Customer>) -> Result<(), Violation> {
    let Some(organization) =
        stored.map(Customer::organization).or_else(|| events.first().map(|_| crate::OrganizationId::FIRST))
    else {
        return ensure(stored.is_none(), || "a customer without events".into());
    };
    let replayed = Customer::replay(organization, events).map_err(|error| Violation(error.to_string()))?;
    ensure(replayed.as_ref() == stored, || {
        format!(
            "the replay ends at {:?}, the store at {:?}",
            replayed.as_ref().map(Customer::version),
            stored.map(Customer::version)
        )
    })
}

/// Every value of the state is what the events last said of it.
///
/// # Errors
/// [`Violation`] names the field that differs.
pub fn events_tell_the_whole_state(events: &[CustomerEvent], stored: &Customer) -> Result<(), Violation> {
    let mut told: BTreeMap<Field, Value> = BTreeMap::new();
    for change in events.iter().flat_map(CustomerEvent::changes) {
        ensure(told.get(&change.field) == change.from.as_ref(), || {
            format!("{} did not hold what the event says", change.field.name())
        })?;
        match &change.to {
            Some(value) => told.insert(change.field, value.clone()),
            None => told.remove(&change.field),
        };
    }
    for &field in Field::ALL {
        ensure(told.get(&field).cloned() == stored.snapshot().value_of(field), || format!("{} differs", field.name()))?;
    }
    Ok(())
}

/// What a command may do is what the lifecycle table says, in every cell.
///
/// # Errors
/// [`Violation`] names the cell.
pub fn follows_the_table(customer: &Customer) -> Result<(), Violation> {
    for transition in Transition::ALL {
        for loans in [LoanCounts::default(), LoanCounts { open: 0, total: 2 }, LoanCounts { open: 1, total: 3 }] {
            let mut state = customer.snapshot().clone();
            state.loans = loans;
            let customer = Customer::rehydrate(state).map_err(|error| Violation(error.to_string()))?;
            let expected = blockers(customer.status(), transition, loans);
            let found = customer.permit(transition).err().map(|refusal| refusal.blockers).unwrap_or_default();
            ensure(found == expected, || format!("{} × {transition:?} with {loans:?}: {found:?}", customer.status()))?;
        }
    }
    Ok(())
}

/// The table as it is written for people: each line a state, each column a command.
fn blockers(status: Status, transition: Transition, loans: LoanCounts) -> Vec<Blocker> {
    let columns = ["activate", "close", "update", "delete", "open a loan"];
    let row = match status {
        Status::Pending => ["yes", "no", "yes", "yes", "no"],
        Status::Active => ["no", "yes", "yes", "no", "yes"],
        Status::Closed => ["no", "no", "no", "no", "no"],
    };
    let column = match transition {
        Transition::Activate => "activate",
        Transition::Close => "close",
        Transition::Update => "update",
        Transition::Delete => "delete",
        Transition::OpenLoan => "open a loan",
    };
    let allowed = columns.iter().position(|name| *name == column).is_some_and(|at| row[at] == "yes");
    let mut blockers = Vec::new();
    if !allowed {
        blockers.push(Blocker::State);
    }
    if loans.open > 0 && column == "close" {
        blockers.push(Blocker::OpenLoans(loans.open));
    }
    if loans.total > 0 && column == "delete" {
        blockers.push(Blocker::Loans(loans.total));
    }
    blockers
}

/// A refused command leaves the customer as it was, to the last value.
///
/// # Errors
/// [`Violation`] when it does not.
pub fn refusal_changes_nothing(before: &Customer, command: &Command, moment: Moment) -> Result<(), Violation> {
    let mut after = before.clone();
    let outcome = match command {
        Command::Activate(on) => after.activate(*on, moment),
        Command::Close(terms) => after.close(*terms, moment),
        Command::Update(patch) | Command::Amend { patch, .. } => after.update(patch, moment),
        Command::Delete => return Ok(()),
    };
    match outcome {
        Err(_) | Ok(Outcome::Unchanged) => {
            ensure(after == *before, || "a command without effect changed the customer".into())
        }
        Ok(Outcome::Applied(event)) => {
            ensure(after.version() == before.version().next(), || "the version did not grow by one".into())?;
            ensure(event.version() == after.version() && event.at() == moment.at, || {
                "the event is of another change".into()
            })
        }
    }
}

/// The lifecycle alone, as simply as it can be told: the model that the aggregate is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Submitted then.
    Pending(Date),
    /// Active since then.
    Active(Date),
    /// For good.
    Closed,
    /// Out of the register.
    Gone,
}

impl Model {
    /// The model of a customer as it is.
    #[must_use]
    pub fn of(customer: &Customer) -> Self {
        match (customer.status(), customer.activated_on()) {
            (Status::Pending, _) => Self::Pending(customer.submitted_on()),
            (Status::Active, since) => Self::Active(since.unwrap_or(customer.submitted_on())),
            (Status::Closed, _) => Self::Closed,
        }
    }

    /// The state that a command leads to; `None` where it leads nowhere.
    #[must_use]
    pub fn after(self, command: &Command, today: Date) -> Option<Self> {
        match (self, command) {
            (Self::Pending(submitted), Command::Activate(on)) if *on >= submitted && *on <= today => {
                Some(Self::Active(*on))
            }
            (Self::Pending(_), Command::Delete) => Some(Self::Gone),
            (Self::Active(since), Command::Close(terms)) if terms.on >= since => Some(Self::Closed),
            _ => None,
        }
    }
}

/// A command leads the aggregate where it leads the model; updates lead nowhere.
///
/// # Errors
/// [`Violation`] when they part.
pub fn model_agrees(before: &Customer, command: &Command, moment: Moment) -> Result<(), Violation> {
    let expected = Model::of(before).after(command, moment.today);
    let mut after = before.clone();
    let found = match command {
        Command::Activate(on) => state_after(&after.activate(*on, moment), &after),
        Command::Close(terms) => state_after(&after.close(*terms, moment), &after),
        Command::Delete => before.clone().delete(moment).ok().map(|_| Model::Gone),
        Command::Update(patch) | Command::Amend { patch, .. } => {
            let outcome = after.update(patch, moment);
            ensure(outcome.is_err() || before.status() != Status::Closed, || "a closed customer was updated".into())?;
            return ensure(Model::of(&after) == Model::of(before), || "an update moved the lifecycle".into());
        }
    };
    ensure(found == expected, || format!("{:?} leads to {found:?}, the model to {expected:?}", Model::of(before)))
}

fn state_after(outcome: &Result<Outcome<CustomerEvent>, CommandError>, after: &Customer) -> Option<Model> {
    matches!(outcome, Ok(Outcome::Applied(_))).then(|| Model::of(after))
}
