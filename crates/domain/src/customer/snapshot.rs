//! A customer's whole state as plain values, for stores and events. Owns the rules that tie them together; must
//! not know any schema.

use std::collections::BTreeMap;

use super::{Impossible, Lifecycle, Name, Status};
use crate::event::{Field, Value};
use crate::facets::{self, Acquisition, Enrolment};
use crate::loan::LoanCounts;
use crate::{
    ClientType, ClosureReasonId, CustomerId, Date, EmailAddress, ExternalId, FullName, GenderId, LegalFormId,
    MobileNumber, NamePart, OfficeId, OrganizationId, Timestamp, Version,
};

/// Everything a customer is, as values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerSnapshot {
    /// The tenant.
    pub organization: OrganizationId,
    /// The number within the tenant.
    pub id: CustomerId,
    /// How many changes it has had.
    pub version: Version,
    /// The caller's own key.
    pub external_id: Option<ExternalId>,
    /// The office.
    pub office: OfficeId,
    /// The state; see [`CustomerSnapshot::set_lifecycle`].
    pub(crate) lifecycle: Lifecycle,
    /// When it applied.
    pub submitted: Date,
    /// The name.
    pub name: Name,
    /// The contact number.
    pub mobile: Option<MobileNumber>,
    /// The e-mail address.
    pub email: Option<EmailAddress>,
    /// The date of birth.
    pub born: Option<Date>,
    /// Code for gender.
    pub gender: Option<GenderId>,
    /// Person or entity.
    pub client_type: Option<ClientType>,
    /// Code for the legal form.
    pub legal_form: Option<LegalFormId>,
    /// How it was won.
    pub acquisition: Acquisition,
    /// Its part in the rewards programme.
    pub enrolment: Option<Enrolment>,
    /// How many loans it has, as its store counts them.
    pub loans: LoanCounts,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
}

impl CustomerSnapshot {
    /// A Pending snapshot of a customer called after its external id; a store sets the rest.
    #[must_use]
    pub fn pending(
        organization: OrganizationId,
        id: CustomerId,
        version: Version,
        office: OfficeId,
        submitted: Date,
        at: Timestamp,
    ) -> Self {
        Self {
            organization,
            id,
            version,
            external_id: None,
            office,
            lifecycle: Lifecycle::Pending,
            submitted,
            name: Name::FollowsExternalId,
            mobile: None,
            email: None,
            born: None,
            gender: None,
            client_type: None,
            legal_form: None,
            acquisition: Acquisition::default(),
            enrolment: None,
            loans: LoanCounts::default(),
            created_at: at,
            updated_at: at,
        }
    }

    /// Sets the state from nullable columns.
    ///
    /// # Errors
    /// [`Impossible`] unless the columns name exactly one state.
    pub fn set_lifecycle(
        &mut self,
        status: Status,
        activated: Option<Date>,
        closed: Option<Date>,
        reason: Option<ClosureReasonId>,
    ) -> Result<(), Impossible> {
        self.lifecycle = match (status, activated, closed, reason) {
            (Status::Pending, None, None, None) => Lifecycle::Pending,
            (Status::Active, Some(since), None, None) => Lifecycle::Active { since },
            (Status::Closed, Some(since), Some(on), Some(reason)) => Lifecycle::Closed { since, on, reason },
            (Status::Pending | Status::Active | Status::Closed, ..) => {
                return Err(Impossible("status and its dates"));
            }
        };
        Ok(())
    }

    /// Sets the name from nullable columns: parts, a whole name, or neither.
    ///
    /// # Errors
    /// [`Impossible`] for any other combination.
    pub fn set_name(
        &mut self,
        first: Option<NamePart>,
        middle: Option<NamePart>,
        last: Option<NamePart>,
        full: Option<FullName>,
    ) -> Result<(), Impossible> {
        self.name = match (first, middle, last, full) {
            (Some(first), middle, Some(last), None) => Name::Person { first, middle, last },
            (None, None, None, Some(full)) => Name::Full(full),
            (None, None, None, None) => Name::FollowsExternalId,
            _ => return Err(Impossible("name")),
        };
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), Impossible> {
        let holds = [
            (
                self.name != Name::FollowsExternalId || self.external_id.is_some(),
                "called after an external id it lacks",
            ),
            (self.updated_at >= self.created_at, "updated before it was created"),
            (self.loans.open <= self.loans.total, "more open loans than loans"),
            (
                self.enrolment
                    .as_ref()
                    .is_none_or(|enrolment| enrolment.ends.is_none_or(|ends| ends >= enrolment.starts)),
                "an enrolment that ends before it begins",
            ),
            (
                match self.lifecycle {
                    Lifecycle::Pending => true,
                    Lifecycle::Active { since } => since >= self.submitted,
                    Lifecycle::Closed { since, on, .. } => since >= self.submitted && on >= since,
                },
                "dates out of order",
            ),
        ];
        holds.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(Impossible(rule)))
    }

    /// The value of one field; `None` where it has none.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other field belongs to a facet, which has a match of its own"
    )]
    pub fn value_of(&self, field: Field) -> Option<Value> {
        let text = |text: &str| Value::Text(text.into());
        let parts = match &self.name {
            Name::Person { first, middle, last } => (Some(first), middle.as_ref(), Some(last)),
            Name::Full(_) | Name::FollowsExternalId => (None, None, None),
        };
        let (since, closing) = match self.lifecycle {
            Lifecycle::Pending => (None, None),
            Lifecycle::Active { since } => (Some(since), None),
            Lifecycle::Closed { since, on, reason } => (Some(since), Some((on, reason))),
        };
        match field {
            Field::ExternalId => self.external_id.as_ref().map(|id| text(id.as_str())),
            Field::Status => Some(text(self.lifecycle.status().label())),
            Field::Office => Some(Value::Integer(self.office.get())),
            Field::FirstName => parts.0.map(|part| text(part.as_str())),
            Field::MiddleName => parts.1.map(|part| text(part.as_str())),
            Field::LastName => parts.2.map(|part| text(part.as_str())),
            Field::FullName => match &self.name {
                Name::Full(name) => Some(text(name.as_str())),
                Name::Person { .. } | Name::FollowsExternalId => None,
            },
            Field::MobileNo => self.mobile.as_ref().map(|mobile| text(mobile.as_str())),
            Field::Email => self.email.as_ref().map(|email| text(email.as_str())),
            Field::DateOfBirth => self.born.map(Value::Date),
            Field::Gender => self.gender.map(|id| Value::Integer(id.get())),
            Field::ClientType => self.client_type.map(|kind| Value::Integer(kind.code())),
            Field::LegalForm => self.legal_form.map(|id| Value::Integer(id.get())),
            Field::Submitted => Some(Value::Date(self.submitted)),
            Field::Activation => since.map(Value::Date),
            Field::Closure => closing.map(|(on, _)| Value::Date(on)),
            Field::ClosureReason => closing.map(|(_, reason)| Value::Integer(reason.get())),
            facet => facets::value_of(&self.acquisition, self.enrolment.as_ref(), facet),
        }
    }

    pub(crate) fn from_values(
        organization: OrganizationId,
        id: CustomerId,
        version: Version,
        created_at: Timestamp,
        updated_at: Timestamp,
        values: &BTreeMap<Field, Value>,
    ) -> Result<Self, Impossible> {
        let read = facets::Values(values);
        let office = read.integer(Field::Office, |id| OfficeId::parse(id).ok())?.ok_or(Impossible("no office"))?;
        let submitted = read.date(Field::Submitted)?.ok_or(Impossible("no submission date"))?;
        let status = read.text(Field::Status, Status::from_label)?.ok_or(Impossible("no status"))?;
        let mut state = Self::pending(organization, id, version, office, submitted, created_at);
        state.updated_at = updated_at.max(created_at);
        let reason = read.integer(Field::ClosureReason, |id| ClosureReasonId::parse(id).ok())?;
        state.set_lifecycle(status, read.date(Field::Activation)?, read.date(Field::Closure)?, reason)?;
        let part = |field| read.text(field, |text| NamePart::parse(text).ok());
        let full = read.text(Field::FullName, |text| FullName::parse(text).ok())?;
        state.set_name(part(Field::FirstName)?, part(Field::MiddleName)?, part(Field::LastName)?, full)?;
        state.external_id = read.text(Field::ExternalId, |text| ExternalId::parse(text).ok())?;
        state.mobile = read.text(Field::MobileNo, |text| MobileNumber::parse(text).ok())?;
        state.email = read.text(Field::Email, |text| EmailAddress::parse(text).ok())?;
        state.born = read.date(Field::DateOfBirth)?;
        state.gender = read.integer(Field::Gender, |id| GenderId::parse(id).ok())?;
        state.client_type = read.integer(Field::ClientType, ClientType::from_code)?;
        state.legal_form = read.integer(Field::LegalForm, |id| LegalFormId::parse(id).ok())?;
        state.set_facets(values)?;
        Ok(state)
    }

    /// The values of both facets, for stores that keep them together; empty where there are none.
    #[must_use]
    pub fn facet_values(&self) -> BTreeMap<Field, Value> {
        let value = |field: &Field| Some((*field, self.value_of(*field)?));
        facets::FACET_FIELDS.iter().filter_map(value).collect()
    }

    /// Sets both facets from their values; other fields' are passed over.
    ///
    /// # Errors
    /// [`Impossible`] for values that no facet has.
    pub fn set_facets(&mut self, values: &BTreeMap<Field, Value>) -> Result<(), Impossible> {
        (self.acquisition, self.enrolment) = facets::from_values(values)?;
        Ok(())
    }
}
