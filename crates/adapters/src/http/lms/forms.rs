//! The bodies that clients send, read into commands.
//!
//! Owns their members and which belong together. It must not decide anything about a customer: the domain does.

use custodia_domain::registry::{Beginnings, Command, OfficeChoice};
use custodia_domain::{
    ClientType, ClosingTerms, ClosureReasonId, CustomerPatch, Date, EmailAddress, ExternalId, FullName, GenderId,
    LegalFormId, MobileNumber, Moment, Name, NamePart, NamePatch, NewCustomer, OfficeId, Patch, Rule,
};

use super::error::{Problems, rule_text};
use super::fields::Fields;
use crate::http::json::Json;

/// The members of a whole name that `fullname` excludes.
const NAME_PARTS: [&str; 3] = ["firstname", "middlename", "lastname"];

/// A customer to be created, in either form.
pub(super) struct Creation {
    /// Its office.
    pub(super) office: OfficeChoice,
    /// Whether it is Active from the day of its creation (the partner form).
    active_today: bool,
    new: NewCustomer,
}

impl Creation {
    /// Reads either form. Where problems are noted, what could not be read is absent from the draft.
    pub(super) fn read(body: Option<&Json>, problems: &mut Problems) -> Option<Self> {
        Self::read_as(body, None, problems)
    }

    /// Reads either form of a customer that has been given its external id already: the body may repeat it.
    pub(super) fn read_as(body: Option<&Json>, given: Option<&ExternalId>, problems: &mut Problems) -> Option<Self> {
        let members = body?.as_object()?;
        let whole = members.iter().any(|(name, value)| name != "externalId" && !value.is_null());
        let mut fields = Fields::of(body, problems)?;
        let external_id = fields.text("externalId", ExternalId::parse);
        if given.is_some() && external_id.is_some() && external_id.as_ref() != given {
            fields.problem("externalId", "must be that of the path");
        }
        if given.is_none() && !whole {
            fields.require("externalId");
        }
        let external_id = given.cloned().or(external_id);
        Some(if whole { Self::read_full(fields, external_id) } else { Self::read_partner(fields, external_id) })
    }

    /// What is to be created at that moment.
    pub(super) fn draft(&self, moment: Moment) -> NewCustomer {
        let activated = if self.active_today { Some(moment.today) } else { self.new.activated };
        NewCustomer { activated, ..self.new.clone() }
    }

    fn read_partner(mut fields: Fields<'_>, external_id: Option<ExternalId>) -> Self {
        // A null member is an absent one, but only if it has a name that we know.
        for name in FULL_FORM {
            fields.has(name);
        }
        fields.finish();
        let new = NewCustomer { external_id, ..NewCustomer::named(OfficeId::FIRST, Name::FollowsExternalId) };
        Self { office: OfficeChoice::Default, active_today: true, new }
    }

    fn read_full(mut fields: Fields<'_>, external_id: Option<ExternalId>) -> Self {
        fields.require("officeId");
        let office = fields.id("officeId", OfficeId::parse);
        let name = read_name(&mut fields);
        let new = NewCustomer {
            external_id,
            mobile: fields.text("mobileNo", MobileNumber::parse),
            email: fields.text("emailAddress", EmailAddress::parse),
            gender: fields.id("genderId", GenderId::parse),
            client_type: read_client_type(&mut fields),
            legal_form: fields.id("legalFormId", LegalFormId::parse),
            born: fields.date("dateOfBirth"),
            activated: read_activation(&mut fields),
            submitted: fields.date("submittedDate"),
            ..NewCustomer::named(OfficeId::FIRST, name.unwrap_or(Name::FollowsExternalId))
        };
        fields.finish();
        Self { office: office.map_or(OfficeChoice::Default, OfficeChoice::Given), active_today: false, new }
    }
}

/// Every member of the full form but `externalId`.
const FULL_FORM: [&str; 14] = [
    "officeId",
    "firstname",
    "middlename",
    "lastname",
    "fullname",
    "mobileNo",
    "emailAddress",
    "genderId",
    "clientTypeId",
    "legalFormId",
    "dateOfBirth",
    "active",
    "activationDate",
    "submittedDate",
];

fn read_client_type(fields: &mut Fields<'_>) -> Option<ClientType> {
    fields.id("clientTypeId", |code| ClientType::from_code(code).ok_or("must be 1 (Person) or 2 (Entity)"))
}

fn read_name(fields: &mut Fields<'_>) -> Option<Name> {
    let first = fields.text("firstname", NamePart::parse);
    let middle = fields.text("middlename", NamePart::parse);
    let last = fields.text("lastname", NamePart::parse);
    if fields.has("fullname") {
        exclude_parts(fields);
        return fields.text("fullname", FullName::parse).map(Name::Full);
    }
    fields.require("firstname");
    fields.require("lastname");
    Some(Name::Person { first: first?, middle, last: last? })
}

fn exclude_parts(fields: &mut Fields<'_>) {
    for part in NAME_PARTS {
        if fields.has(part) {
            fields.problem(part, rule_text(Rule::ExcludedByFullName));
        }
    }
}

fn read_activation(fields: &mut Fields<'_>) -> Option<Date> {
    fields.require("active");
    let active = fields.boolean("active");
    match (active, fields.has("activationDate")) {
        (Some(true), false) => fields.problem("activationDate", "required when active=true"),
        (Some(false), true) => fields.problem("activationDate", "must not be given when active=false"),
        (Some(_) | None, _) => {}
    }
    fields.date("activationDate")
}

/// Reads an update. Where problems are noted, what could not be read is kept as it is.
pub(super) fn update(body: Option<&Json>, problems: &mut Problems) -> Option<CustomerPatch> {
    let mut fields = Fields::of(body, problems)?;
    if fields.len() == 0 {
        fields.problem("body", "must have at least one member");
    }
    let patch = read_patch(&mut fields);
    fields.finish();
    Some(patch)
}

/// Reads the body of an upsert as the update of a customer that is there: what changes, and what has to be true of it.
pub(super) fn update_or_begin(body: Option<&Json>, problems: &mut Problems) -> Option<(CustomerPatch, Beginnings)> {
    let mut fields = Fields::of(body, problems)?;
    let patch = read_patch(&mut fields);
    let beginnings = Beginnings {
        office: fields.id("officeId", OfficeId::parse),
        gender: fields.id("genderId", GenderId::parse),
        client_type: read_client_type(&mut fields),
        legal_form: fields.id("legalFormId", LegalFormId::parse),
        submitted: fields.date("submittedDate"),
        active: fields.boolean("active"),
        activated: fields.date("activationDate"),
    };
    fields.finish();
    Some((patch, beginnings))
}

fn read_patch(fields: &mut Fields<'_>) -> CustomerPatch {
    CustomerPatch {
        external_id: fields.set("externalId", ExternalId::parse),
        name: read_name_patch(fields),
        mobile: fields.patch("mobileNo", MobileNumber::parse),
        email: fields.patch("emailAddress", EmailAddress::parse),
        born: fields.patch("dateOfBirth", Date::parse),
        ..CustomerPatch::default()
    }
}

fn read_name_patch(fields: &mut Fields<'_>) -> NamePatch {
    let first = fields.set("firstname", NamePart::parse);
    let middle = fields.patch("middlename", NamePart::parse);
    let last = fields.set("lastname", NamePart::parse);
    let full = fields.set("fullname", FullName::parse);
    if fields.has("fullname") {
        exclude_parts(fields);
    }
    match (full, first, middle, last) {
        (Some(full), ..) => NamePatch::Full(full),
        (None, None, Patch::Keep, None) => NamePatch::Keep,
        (None, first, middle, last) => NamePatch::Parts { first, middle, last },
    }
}

/// Reads an activation.
pub(super) fn activation(body: Option<&Json>, problems: &mut Problems) -> Option<Command> {
    let mut fields = Fields::of(body, problems)?;
    fields.require("activationDate");
    let on = fields.date("activationDate");
    fields.finish();
    on.map(Command::Activate)
}

/// Reads a closure.
pub(super) fn closure(body: Option<&Json>, problems: &mut Problems) -> Option<Command> {
    let mut fields = Fields::of(body, problems)?;
    for name in ["closureDate", "closureReasonId"] {
        fields.require(name);
    }
    let on = fields.date("closureDate");
    let reason = fields.id("closureReasonId", ClosureReasonId::parse);
    fields.finish();
    Some(Command::Close(ClosingTerms { on: on?, reason: reason? }))
}

/// Reads a deletion: it has no members.
pub(super) fn deletion(body: Option<&Json>, problems: &mut Problems) -> Command {
    if let Some(fields) = Fields::of(body, problems) {
        fields.finish();
    }
    Command::Delete
}
