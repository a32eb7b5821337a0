//! What happened to a customer, field by field. Owns the names of fields and their kinds of value; must not know
//! how an event is written down.

use crate::customer::{CustomerSnapshot, Impossible};
use crate::{Customer, CustomerId, Date, ExternalId, Moment, Timestamp, Version};

/// What kind of change an event records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// The customer came into being.
    Created,
    /// Fields changed; the lifecycle did not.
    Updated,
    /// Pending became Active.
    Activated,
    /// Active became Closed.
    Closed,
    /// The record is gone; the event bears no personal data.
    Deleted,
}

impl EventKind {
    /// Every kind, in the order of a customer's life.
    pub const ALL: [Self; 5] = [Self::Created, Self::Updated, Self::Activated, Self::Closed, Self::Deleted];

    /// The name by which feeds and stores know it, such as `customer.created`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "customer.created",
            Self::Updated => "customer.updated",
            Self::Activated => "customer.activated",
            Self::Closed => "customer.closed",
            Self::Deleted => "customer.deleted",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The value of one field in an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Any text.
    Text(Box<str>),
    /// Any whole number.
    Integer(i64),
    /// A calendar date.
    Date(Date),
    /// An instant.
    Instant(Timestamp),
    /// Some texts.
    List(Box<[Box<str>]>),
}

/// Which kind of [`Value`] a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// [`Value::Text`].
    Text,
    /// [`Value::Integer`].
    Integer,
    /// [`Value::Date`].
    Date,
    /// [`Value::Instant`].
    Instant,
    /// [`Value::List`].
    List,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal: $kind:ident,)*) => {
        /// One recorded field of a customer. The names are those of the `lms` dialect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $($(#[$doc])* $variant,)*
        }

        impl Field {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name by which events and refusals know it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind of value it has.
            #[must_use]
            pub const fn kind(self) -> FieldKind {
                match self { $(Self::$variant => FieldKind::$kind,)* }
            }
        }
    };
}

fields! {
    /// The caller's own key.
    ExternalId = "externalId": Text,
    /// Pending, Active or Closed.
    Status = "status": Text,
    /// The office's number.
    Office = "officeId": Integer,
    /// The first name.
    FirstName = "firstname": Text,
    /// The middle name.
    MiddleName = "middlename": Text,
    /// The last name.
    LastName = "lastname": Text,
    /// The whole name of a customer whose name is not split.
    FullName = "fullname": Text,
    /// The contact number.
    MobileNo = "mobileNo": Text,
    /// The e-mail address.
    Email = "emailAddress": Text,
    /// The date of birth.
    DateOfBirth = "dateOfBirth": Date,
    /// The code for gender.
    Gender = "genderId": Integer,
    /// 1 person, 2 entity.
    ClientType = "clientTypeId": Integer,
    /// The code for the legal form.
    LegalForm = "legalFormId": Integer,
    /// When the customer applied.
    Submitted = "submittedDate": Date,
    /// Since when the customer is or was Active.
    Activation = "activationDate": Date,
    /// When the customer was closed.
    Closure = "closureDate": Date,
    /// Why the customer was closed.
    ClosureReason = "closureReasonId": Integer,
    /// By which channel it was won.
    Source = "source": Text,
    /// From which address it came.
    Ip = "ip": Text,
    /// Its city.
    City = "city": Text,
    /// Its country, in free text.
    Country = "country": Text,
    /// Where it is.
    Location = "location": Text,
    /// Degrees north.
    Latitude = "latitude": Text,
    /// Degrees east.
    Longitude = "longitude": Text,
    /// The number of its company.
    Company = "companyId": Integer,
    /// The customer above it in the programme.
    Parent = "sourceParentCustomerId": Text,
    /// The subsidiary of the institution.
    Subsidiary = "subsidiaryId": Text,
    /// Its postal code.
    PostalCode = "postalCode": Text,
    /// Its country's code.
    CountryCode = "countryCode": Text,
    /// Since when it is the institution's customer.
    CustomerSince = "customerCreationDate": Instant,
    /// When its enrolment begins.
    EnrolmentStart = "enrollmentStartDate": Instant,
    /// When its enrolment ends.
    EnrolmentEnd = "enrollmentEndDate": Instant,
    /// Whether it takes part.
    OptIn = "enrollmentOptInStatus": Text,
    /// What it wants to be told of.
    Alerts = "alertOptInStatus": List,
    /// Whether offers may be aimed at it.
    Targeting = "targetingIndicator": Text,
    /// What it may redeem.
    Redemption = "redemptionEligibility": Text,
}

impl Field {
    /// The field of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }
}

/// One field that an event changed. At least one side is there, and the sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// The field.
    pub field: Field,
    /// Its value before; `None` when it had none.
    pub from: Option<Value>,
    /// Its value after; `None` when it has none.
    pub to: Option<Value>,
}

/// One committed change of a customer. Only the aggregate's commands make new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerEvent {
    kind: EventKind,
    customer: CustomerId,
    external_id: Option<ExternalId>,
    version: Version,
    at: Timestamp,
    changes: Vec<Change>,
}

impl CustomerEvent {
    pub(crate) fn record(
        kind: EventKind,
        before: Option<&CustomerSnapshot>,
        after: &CustomerSnapshot,
        moment: Moment,
    ) -> Self {
        let changes = match kind {
            EventKind::Deleted => Vec::new(),
            EventKind::Created | EventKind::Updated | EventKind::Activated | EventKind::Closed => {
                differences(before, after)
            }
        };
        Self {
            kind,
            customer: after.id,
            external_id: after.external_id.clone(),
            version: after.version,
            at: moment.at,
            changes,
        }
    }

    /// An event as a store kept it.
    #[must_use]
    pub fn rehydrate(
        kind: EventKind,
        customer: CustomerId,
        external_id: Option<ExternalId>,
        version: Version,
        at: Timestamp,
        changes: Vec<Change>,
    ) -> Self {
        Self { kind, customer, external_id, version, at, changes }
    }

    /// What kind of change it was.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        self.kind
    }

    /// The customer that changed.
    #[must_use]
    pub const fn customer(&self) -> CustomerId {
        self.customer
    }

    /// The customer's external id after the change.
    #[must_use]
    pub const fn external_id(&self) -> Option<&ExternalId> {
        self.external_id.as_ref()
    }

    /// The customer's version after the change.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// When it was decided.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The event without what it tells of the customer: what stays in the log when the customer is deleted.
    #[must_use]
    pub fn erased(self) -> Self {
        Self { changes: Vec::new(), ..self }
    }

    /// The fields that changed, in the order of [`Field::ALL`]; none for a deletion, nor for the events before one.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

fn differences(before: Option<&CustomerSnapshot>, after: &CustomerSnapshot) -> Vec<Change> {
    Field::ALL
        .iter()
        .filter_map(|&field| {
            let from = before.and_then(|snapshot| snapshot.value_of(field));
            let to = after.value_of(field);
            (from != to).then_some(Change { field, from, to })
        })
        .collect()
}

impl Customer {
    /// Rebuilds a customer from its events, first to last: the state at the last one's version. `None` when there
    /// are none, the last one is the deletion, or a deletion has erased them: then nothing is left to rebuild.
    ///
    /// # Errors
    /// [`Impossible`] when the events do not begin with the creation, skip a version, or add up to a state that no
    /// command reaches.
    pub fn replay(organization: crate::OrganizationId, events: &[CustomerEvent]) -> Result<Option<Self>, Impossible> {
        let Some(last) = events.last() else {
            return Ok(None);
        };
        let mut values = std::collections::BTreeMap::new();
        for (position, event) in events.iter().enumerate() {
            let expected = i64::try_from(position).unwrap_or(i64::MAX) + 1;
            let begins = (event.kind == EventKind::Created) == (position == 0);
            if event.version.get() != expected || event.customer != last.customer || !begins {
                return Err(Impossible("events out of order"));
            }
            for change in &event.changes {
                match &change.to {
                    Some(value) => values.insert(change.field, value.clone()),
                    None => values.remove(&change.field),
                };
            }
        }
        // A creation sets something, a status at least.
        let erased = events.first().is_some_and(|creation| creation.changes.is_empty());
        if last.kind == EventKind::Deleted || erased {
            return Ok(None);
        }
        let created_at = events.first().map_or(last.at, |first| first.at);
        let snapshot =
            CustomerSnapshot::from_values(organization, last.customer, last.version, created_at, last.at, &values)?;
        Self::rehydrate(snapshot).map(Some)
    }
}
