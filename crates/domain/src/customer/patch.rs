//! Partial changes of a customer's details. Must not know how absence and null are written on any wire.

use super::{CustomerSnapshot, Invalid, Name, NamePatch, Rule};
use crate::facets::{AcquisitionPatch, Enrolment};
use crate::{Date, EmailAddress, ExternalId, Field, MobileNumber, NamePart};

/// What becomes of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Patch<T> {
    /// Leave it.
    #[default]
    Keep,
    /// Remove it.
    Clear,
    /// Set it.
    Set(T),
}

impl<T: Clone> Patch<T> {
    /// Applies it to a value that may be absent.
    pub fn apply(&self, slot: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *slot = None,
            Self::Set(value) => *slot = Some(value.clone()),
        }
    }
}

/// The details that an update may change; the default changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CustomerPatch {
    /// A new external id.
    pub external_id: Option<ExternalId>,
    /// A change of name.
    pub name: NamePatch,
    /// The contact number.
    pub mobile: Patch<MobileNumber>,
    /// The e-mail address.
    pub email: Patch<EmailAddress>,
    /// The date of birth.
    pub born: Patch<Date>,
    /// How it was won.
    pub acquisition: AcquisitionPatch,
    /// Its part in the rewards programme, replaced whole.
    pub enrolment: Option<Enrolment>,
}

impl CustomerPatch {
    /// The rules that the patch breaks whatever customer it meets.
    #[must_use]
    pub fn problems(&self, today: Date) -> Vec<Invalid> {
        let mut problems = self.enrolment.as_ref().map(|enrolment| enrolment.problems(today)).unwrap_or_default();
        if matches!(self.born, Patch::Set(born) if born > today) {
            problems.push(Invalid { field: Field::DateOfBirth, rule: Rule::InFuture });
        }
        problems
    }

    pub(crate) fn apply(&self, state: &mut CustomerSnapshot) -> Result<(), Vec<Invalid>> {
        if let Some(external_id) = &self.external_id {
            state.external_id = Some(external_id.clone());
        }
        self.mobile.apply(&mut state.mobile);
        self.email.apply(&mut state.email);
        self.born.apply(&mut state.born);
        self.acquisition.apply(&mut state.acquisition);
        if let Some(enrolment) = &self.enrolment {
            state.enrolment = Some(enrolment.clone());
        }
        state.name = match &self.name {
            NamePatch::Keep => return Ok(()),
            NamePatch::Full(name) => Name::Full(name.clone()),
            // The parts that are shown already: who sends back what it has read does not mean to set a name.
            NamePatch::Parts { first: Some(first), middle: Patch::Keep | Patch::Clear, last: Some(last) }
                if state.name == Name::FollowsExternalId
                    && state.external_id.as_ref().map(ExternalId::as_str) == Some(first.as_str())
                    && last.as_str() == Name::MIRRORED_LAST_NAME =>
            {
                return Ok(());
            }
            NamePatch::Parts { first, middle, last } => renamed(&state.name, first.as_ref(), middle, last.as_ref())?,
        };
        Ok(())
    }
}

fn renamed(
    present: &Name,
    first: Option<&NamePart>,
    middle: &Patch<NamePart>,
    last: Option<&NamePart>,
) -> Result<Name, Vec<Invalid>> {
    let (old_first, mut new_middle, old_last) = match present {
        Name::Person { first, middle, last } => (Some(first), middle.clone(), Some(last)),
        Name::Full(_) | Name::FollowsExternalId => (None, None, None),
    };
    middle.apply(&mut new_middle);
    // Clearing a middle name that is not there asks for nothing.
    if first.is_none() && last.is_none() && old_first.is_none() && new_middle.is_none() {
        return Ok(present.clone());
    }
    match (first.or(old_first), last.or(old_last)) {
        (Some(first), Some(last)) => Ok(Name::Person { first: first.clone(), middle: new_middle, last: last.clone() }),
        (first, last) => {
            let missing = [(Field::FirstName, first.is_none()), (Field::LastName, last.is_none())];
            Err(missing
                .into_iter()
                .filter(|(_, absent)| *absent)
                .map(|(field, _)| Invalid { field, rule: Rule::Required })
                .collect())
        }
    }
}
