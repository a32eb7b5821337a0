//! The aggregate root and its commands. Owns every rule about one customer's life; must not know of other
//! customers, of stores or of any wire form.

mod lifecycle;
mod name;
mod patch;
mod snapshot;

use thiserror::Error;

pub(crate) use lifecycle::Lifecycle;
pub use lifecycle::{Blocker, ClosingTerms, CommandError, Invalid, Refusal, Rule, Status, Transition};
pub use name::{Name, NamePatch};
pub use patch::{CustomerPatch, Patch};
pub use snapshot::CustomerSnapshot;

use crate::event::Field;
use crate::facets::{Acquisition, Enrolment};
use crate::loan::LoanCounts;
use crate::{
    AccountNo, ClientType, CustomerEvent, CustomerId, Date, EmailAddress, EventKind, ExternalId, GenderId, LegalFormId,
    MobileNumber, OfficeId, OrganizationId, Timestamp, Version,
};

/// The time of one operation: taken once, used by everything in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// The calendar date at that instant in the deployment's zone.
    pub today: Date,
}

/// What a command did.
#[must_use = "an applied command's event has to be committed"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<E> {
    /// The aggregate changed; the event tells how.
    Applied(E),
    /// What was asked for already holds; nothing changed.
    Unchanged,
}

impl<E> Outcome<E> {
    /// The event of an applied command.
    #[must_use]
    pub fn applied(self) -> Option<E> {
        match self {
            Self::Applied(event) => Some(event),
            Self::Unchanged => None,
        }
    }
}

/// A stored or replayed state that no sequence of commands reaches; the text names the broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("impossible customer: {0}")]
pub struct Impossible(pub &'static str);

/// What a new customer is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCustomer {
    /// The caller's own key.
    pub external_id: Option<ExternalId>,
    /// The office it belongs to.
    pub office: OfficeId,
    /// Its name.
    pub name: Name,
    /// Its contact number.
    pub mobile: Option<MobileNumber>,
    /// Its e-mail address.
    pub email: Option<EmailAddress>,
    /// Its date of birth.
    pub born: Option<Date>,
    /// Code for gender.
    pub gender: Option<GenderId>,
    /// Person or entity.
    pub client_type: Option<ClientType>,
    /// Code for the legal form.
    pub legal_form: Option<LegalFormId>,
    /// When it applied; default: today, or the activation date where that is earlier.
    pub submitted: Option<Date>,
    /// Since when it is Active; `None` creates it Pending.
    pub activated: Option<Date>,
    /// How it was won.
    pub acquisition: Acquisition,
    /// Its part in the rewards programme.
    pub enrolment: Option<Enrolment>,
}

impl NewCustomer {
    /// A Pending customer of that office and name, with nothing else known.
    #[must_use]
    pub const fn named(office: OfficeId, name: Name) -> Self {
        Self {
            external_id: None,
            office,
            name,
            mobile: None,
            email: None,
            born: None,
            gender: None,
            client_type: None,
            legal_form: None,
            submitted: None,
            activated: None,
            acquisition: Acquisition::EMPTY,
            enrolment: None,
        }
    }

    /// Every broken rule about its dates and name, as of that date.
    #[must_use]
    pub fn problems(&self, today: Date) -> Vec<Invalid> {
        let mut problems = Vec::new();
        let dates =
            [(Field::Submitted, self.submitted), (Field::Activation, self.activated), (Field::DateOfBirth, self.born)];
        for (field, date) in dates {
            if date.is_some_and(|date| date > today) {
                problems.push(Invalid { field, rule: Rule::InFuture });
            }
        }
        if let (Some(submitted), Some(activated)) = (self.submitted, self.activated)
            && activated < submitted
        {
            problems.push(Invalid { field: Field::Activation, rule: Rule::BeforeSubmission });
        }
        problems.extend(self.enrolment.as_ref().into_iter().flat_map(|enrolment| enrolment.problems(today)));
        if self.name == Name::FollowsExternalId && self.external_id.is_none() {
            problems.push(Invalid { field: Field::ExternalId, rule: Rule::Required });
        }
        problems
    }
}

/// A customer of a lender: private state, changed by commands alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    // Apart, since a customer is handed on many times from its row to its answer.
    state: Box<CustomerSnapshot>,
}

impl Customer {
    /// Brings a customer into being, Active where an activation date is given, else Pending.
    ///
    /// # Errors
    /// [`CommandError::Invalid`] with every broken rule about its dates and name.
    pub fn open(
        organization: OrganizationId,
        id: CustomerId,
        new: NewCustomer,
        moment: Moment,
    ) -> Result<(Self, CustomerEvent), CommandError> {
        let problems = new.problems(moment.today);
        if !problems.is_empty() {
            return Err(CommandError::Invalid(problems));
        }
        let default_submission = new.activated.map_or(moment.today, |activated| activated.min(moment.today));
        let state = CustomerSnapshot {
            organization,
            id,
            version: Version::FIRST,
            external_id: new.external_id,
            office: new.office,
            lifecycle: new.activated.map_or(Lifecycle::Pending, |since| Lifecycle::Active { since }),
            submitted: new.submitted.unwrap_or(default_submission),
            name: new.name,
            mobile: new.mobile,
            email: new.email,
            born: new.born,
            gender: new.gender,
            client_type: new.client_type,
            legal_form: new.legal_form,
            acquisition: new.acquisition,
            enrolment: new.enrolment,
            loans: LoanCounts::default(),
            created_at: moment.at,
            updated_at: moment.at,
        };
        let event = CustomerEvent::record(EventKind::Created, None, &state, moment);
        Ok((Self { state: Box::new(state) }, event))
    }

    /// A customer as a store kept it.
    ///
    /// # Errors
    /// [`Impossible`] for a combination that no command reaches.
    pub fn rehydrate(state: CustomerSnapshot) -> Result<Self, Impossible> {
        state.check()?;
        Ok(Self { state: Box::new(state) })
    }

    /// Pending becomes Active since that date, which is not before the submission and not after today.
    ///
    /// # Errors
    /// [`CommandError::Invalid`] for the date, [`CommandError::Refused`] unless Pending.
    pub fn activate(&mut self, on: Date, moment: Moment) -> Result<Outcome<CustomerEvent>, CommandError> {
        Transition::Activate.check_date(on, moment.today)?;
        self.permit(Transition::Activate)?;
        if on < self.state.submitted {
            return Err(Invalid { field: Field::Activation, rule: Rule::BeforeSubmission }.into());
        }
        Ok(self.apply(EventKind::Activated, moment, |state| state.lifecycle = Lifecycle::Active { since: on }))
    }

    /// Active becomes Closed. The date is not before the activation; one in the future takes effect at once.
    ///
    /// # Errors
    /// [`CommandError::Refused`] unless Active without open loans, [`CommandError::Invalid`] for the date.
    pub fn close(&mut self, terms: ClosingTerms, moment: Moment) -> Result<Outcome<CustomerEvent>, CommandError> {
        self.permit(Transition::Close)?;
        let Lifecycle::Active { since } = self.state.lifecycle else {
            unreachable!("closing is permitted to Active customers alone")
        };
        if terms.on < since {
            return Err(Invalid { field: Field::Closure, rule: Rule::BeforeActivation }.into());
        }
        Ok(self.apply(EventKind::Closed, moment, |state| {
            state.lifecycle = Lifecycle::Closed { since, on: terms.on, reason: terms.reason };
        }))
    }

    /// Changes what the patch names; values equal to the present ones make no event.
    ///
    /// # Errors
    /// [`CommandError::Invalid`] for the result as a whole, [`CommandError::Refused`] when Closed.
    pub fn update(&mut self, patch: &CustomerPatch, moment: Moment) -> Result<Outcome<CustomerEvent>, CommandError> {
        let early = patch.problems(moment.today);
        if !early.is_empty() {
            return Err(CommandError::Invalid(early));
        }
        self.permit(Transition::Update)?;
        match self.patched(patch).map_err(CommandError::Invalid)? {
            Some(next) => Ok(self.apply(EventKind::Updated, moment, |state| *state = next)),
            None => Ok(Outcome::Unchanged),
        }
    }

    /// Whether everything that the patch asks for holds already. The state does not matter: asking a Closed customer for
    /// what it is changes nothing.
    #[must_use]
    pub fn holds(&self, patch: &CustomerPatch) -> bool {
        self.patched(patch) == Ok(None)
    }

    /// The state that the patch makes of this one, where it differs.
    fn patched(&self, patch: &CustomerPatch) -> Result<Option<CustomerSnapshot>, Vec<Invalid>> {
        let mut next = self.snapshot().clone();
        patch.apply(&mut next)?;
        Ok((next != *self.state).then_some(next))
    }

    /// Takes a Pending customer without loans out of the register.
    ///
    /// # Errors
    /// [`CommandError::Refused`] unless Pending without loans.
    pub fn delete(mut self, moment: Moment) -> Result<CustomerEvent, CommandError> {
        self.permit(Transition::Delete)?;
        match self.apply(EventKind::Deleted, moment, |_| ()) {
            Outcome::Applied(event) => Ok(event),
            Outcome::Unchanged => unreachable!("a deletion always applies"),
        }
    }

    /// Whether a command is possible now.
    ///
    /// # Errors
    /// [`Refusal`] with the state and every blocker at once: open loans block the closing, any loans the deletion.
    pub fn permit(&self, transition: Transition) -> Result<(), Refusal> {
        self.state.lifecycle.permit(transition, self.state.loans)
    }

    /// Every command with what stands in its way now, all of it at once: what [`Customer::permit`] says of each.
    pub fn transitions(&self) -> [(Transition, Result<(), Refusal>); Transition::ALL.len()] {
        Transition::ALL.map(|transition| (transition, self.permit(transition)))
    }

    fn apply(
        &mut self,
        kind: EventKind,
        moment: Moment,
        change: impl FnOnce(&mut CustomerSnapshot),
    ) -> Outcome<CustomerEvent> {
        let before = self.state.clone();
        change(&mut self.state);
        self.state.version = before.version.next();
        self.state.updated_at = moment.at.max(before.updated_at);
        Outcome::Applied(CustomerEvent::record(kind, Some(&before), &self.state, moment))
    }

    /// The name to show: the whole name, or its parts joined by one space, or `<externalId> Customer`.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.state.name.display(self.state.external_id.as_ref())
    }

    /// The first name, or the external id it follows; `None` for a whole name.
    #[must_use]
    pub fn first_name(&self) -> Option<&str> {
        match &self.state.name {
            Name::Person { first, .. } => Some(first.as_str()),
            Name::Full(_) => None,
            Name::FollowsExternalId => self.state.external_id.as_ref().map(ExternalId::as_str),
        }
    }

    /// The middle name.
    #[must_use]
    pub fn middle_name(&self) -> Option<&str> {
        match &self.state.name {
            Name::Person { middle, .. } => middle.as_ref().map(crate::NamePart::as_str),
            Name::Full(_) | Name::FollowsExternalId => None,
        }
    }

    /// The last name, or `Customer` where the name follows the external id; `None` for a whole name.
    #[must_use]
    pub fn last_name(&self) -> Option<&str> {
        match &self.state.name {
            Name::Person { last, .. } => Some(last.as_str()),
            Name::Full(_) => None,
            Name::FollowsExternalId => Some(Name::MIRRORED_LAST_NAME),
        }
    }

    /// Pending, Active or Closed.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.state.lifecycle.status()
    }

    /// Since when it is or was Active.
    #[must_use]
    pub const fn activated_on(&self) -> Option<Date> {
        match self.state.lifecycle {
            Lifecycle::Pending => None,
            Lifecycle::Active { since } | Lifecycle::Closed { since, .. } => Some(since),
        }
    }

    /// When and why it was closed.
    #[must_use]
    pub const fn closing(&self) -> Option<ClosingTerms> {
        match self.state.lifecycle {
            Lifecycle::Closed { on, reason, .. } => Some(ClosingTerms { on, reason }),
            Lifecycle::Pending | Lifecycle::Active { .. } => None,
        }
    }

    /// The whole state, for stores.
    #[must_use]
    pub const fn snapshot(&self) -> &CustomerSnapshot {
        &self.state
    }

    /// The tenant it belongs to.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.state.organization
    }

    /// Its number within the organization.
    #[must_use]
    pub const fn id(&self) -> CustomerId {
        self.state.id
    }

    /// Its account number.
    #[must_use]
    pub const fn account_no(&self) -> AccountNo {
        self.state.id.account_no()
    }

    /// How many changes it has had.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.state.version
    }

    /// The caller's own key.
    #[must_use]
    pub const fn external_id(&self) -> Option<&ExternalId> {
        self.state.external_id.as_ref()
    }

    /// The office it belongs to.
    #[must_use]
    pub const fn office(&self) -> OfficeId {
        self.state.office
    }

    /// The name as it is kept.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.state.name
    }

    /// The contact number.
    #[must_use]
    pub const fn mobile(&self) -> Option<&MobileNumber> {
        self.state.mobile.as_ref()
    }

    /// The e-mail address.
    #[must_use]
    pub const fn email(&self) -> Option<&EmailAddress> {
        self.state.email.as_ref()
    }

    /// The date of birth.
    #[must_use]
    pub const fn born(&self) -> Option<Date> {
        self.state.born
    }

    /// When it applied.
    #[must_use]
    pub const fn submitted_on(&self) -> Date {
        self.state.submitted
    }

    /// How it was won.
    #[must_use]
    pub const fn acquisition(&self) -> &Acquisition {
        &self.state.acquisition
    }

    /// Its part in the rewards programme.
    #[must_use]
    pub const fn enrolment(&self) -> Option<&Enrolment> {
        self.state.enrolment.as_ref()
    }

    /// How many loans it has.
    #[must_use]
    pub const fn loans(&self) -> LoanCounts {
        self.state.loans
    }

    /// When the record was made.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.state.created_at
    }

    /// When the record last changed.
    #[must_use]
    pub const fn updated_at(&self) -> Timestamp {
        self.state.updated_at
    }
}
