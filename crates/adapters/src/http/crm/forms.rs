//! The bodies that clients send, read into what the use cases take.
//!
//! Owns their members. It must not decide anything about a customer: the domain does.

use std::collections::{BTreeMap, BTreeSet};

use custodia_domain::company::{CompanyDetails, CompanyId, CompanyName, CompanyStatus, crockford};
use custodia_domain::facets::{Acquisition, AcquisitionPatch, Coordinate, CoordinateError, FreeText, Source};
use custodia_domain::ports::{CompanyKey, StoreError};
use custodia_domain::registry::{Command, Registry};
use custodia_domain::{
    CompanyNumber, CustomerPatch, EmailAddress, ExternalId, FullName, MobileNumber, Moment, Name, NamePatch,
    NewCustomer, OfficeId, OrganizationId, Patch,
};

use super::email;
use super::fields::{Fields, boolean, free, parsed, text};
use super::problem::{Kind, Loc, Problems};
use crate::http::json::Json;

/// The most items of a batch.
const MOST_ITEMS: usize = 100;
/// Characters of a public id after `CUS-`.
const ID_CHARACTERS: u32 = 12;

/// What a public id of a company stands for, in one organization.
pub(super) type Companies = BTreeMap<String, CompanyNumber>;

/// A company that a body names by its public id.
pub(super) struct Named {
    id: String,
    loc: Loc,
}

impl Named {
    fn number(&self, companies: &Companies, problems: &mut Problems) -> Option<CompanyNumber> {
        let number = companies.get(&self.id).copied();
        if number.is_none() {
            let unknown = Kind::value("there is no such company");
            problems.add(self.loc.clone(), &unknown, &Json::String(self.id.clone()));
        }
        number
    }
}

/// The companies that bodies name, looked up at once.
///
/// # Errors
/// [`StoreError`] when the store cannot answer.
pub(super) async fn look_up<'a>(
    registry: &Registry,
    organization: OrganizationId,
    named: impl Iterator<Item = &'a Named>,
) -> Result<Companies, StoreError> {
    let ids: BTreeSet<&str> = named.map(|company| company.id.as_str()).collect();
    let keys: Vec<_> = ids.into_iter().filter_map(|id| CompanyId::parse(id).ok()).map(CompanyKey::Id).collect();
    let found = registry.companies(organization, &keys).await?;
    Ok(found.into_iter().flatten().map(|company| (company.id.as_str().to_owned(), company.number)).collect())
}

/// A customer to be created.
#[derive(Clone)]
pub(super) struct Draft {
    name: FullName,
    email: EmailAddress,
    mobile: Option<MobileNumber>,
    acquisition: Acquisition,
    active: bool,
}

impl Draft {
    /// What is to be created at that moment, with a public id of those random bits.
    pub(super) fn customer(&self, moment: Moment, random: u128) -> NewCustomer {
        let id = format!("CUS-{}", crockford(random, ID_CHARACTERS));
        NewCustomer {
            external_id: Some(ExternalId::parse(&id).expect("letters and digits are an external id")),
            mobile: self.mobile.clone(),
            email: Some(self.email.clone()),
            activated: self.active.then_some(moment.today),
            acquisition: self.acquisition.clone(),
            ..NewCustomer::named(OfficeId::FIRST, Name::Full(self.name.clone()))
        }
    }
}

/// What one create body says: the draft as far as it can be read, and the company it names.
pub(super) struct Creation {
    draft: Option<Draft>,
    pub(super) company: Option<Named>,
}

impl Creation {
    /// Reads the body of one customer.
    pub(super) fn read(body: &Json, loc: Loc, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(body, loc, problems)?;
        let name = fields.needed("name", |value| parsed(value, FullName::parse));
        let email = fields.needed("email", email_address);
        let source = fields.needed("source", |value| parsed(value, Source::parse));
        let mobile = fields.optional("whatsapp_number", |value| phone(value).map(Some));
        let mut acquisition = Acquisition {
            source,
            ip: fields.optional("ip", |value| address(value).map(Some)),
            city: fields.optional("city", free_text),
            country: fields.optional("country", free_text),
            location: fields.optional("location", free_text),
            ..Acquisition::EMPTY
        };
        acquisition.latitude = fields.optional("latitude", |value| degrees(value, Coordinate::latitude).map(Some));
        acquisition.longitude = fields.optional("longitude", |value| degrees(value, Coordinate::longitude).map(Some));
        let id = fields.optional("company_id", |value| text(value).map(|id| Some(id.to_owned())));
        let company = id.map(|id| Named { id, loc: fields.loc("company_id") });
        let active = fields.optional("is_active", |value| boolean(value).map(Some)).unwrap_or(true);
        fields.finish();
        let draft = name.zip(email).map(|(name, email)| Draft { name, email, mobile, acquisition, active });
        Some(Self { draft, company })
    }

    /// The draft with its company; a problem where there is no such company.
    pub(super) fn complete(self, companies: &Companies, problems: &mut Problems) -> Option<Draft> {
        let number = self.company.map(|named| named.number(companies, problems));
        let mut draft = self.draft?;
        draft.acquisition.company = number.flatten();
        Some(draft)
    }
}

/// Reads the body of a batch of customers: what each item says.
pub(super) fn customers(body: &Json, problems: &mut Problems) -> Option<Vec<Creation>> {
    batch(body, "customers", problems, Creation::read)
}

/// Reads the body of a batch of companies.
pub(super) fn companies(body: &Json, problems: &mut Problems) -> Option<Vec<CompanyDetails>> {
    batch(body, "companies", problems, company)
}

fn batch<T>(
    body: &Json,
    name: &'static str,
    problems: &mut Problems,
    read: impl Fn(&Json, Loc, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    let mut fields = Fields::of(body, vec!["body".into()], problems)?;
    let items = fields.list(name, MOST_ITEMS);
    let mut read_items = Vec::with_capacity(items.map_or(0, <[Json]>::len));
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let mut loc = fields.loc(name);
        loc.push(index.into());
        read_items.extend(read(item, loc, fields.problems()));
    }
    fields.finish();
    Some(read_items)
}

/// Reads the body of one company.
pub(super) fn company(body: &Json, loc: Loc, problems: &mut Problems) -> Option<CompanyDetails> {
    let mut fields = Fields::of(body, loc, problems)?;
    let name = fields.needed("company_name", |value| parsed(value, CompanyName::parse));
    let status = fields.needed("company_status", company_status);
    let description = fields.optional("description", free_text);
    let industry = fields.optional("industry", free_text);
    let website = fields.optional("website", website);
    let phone = fields.optional("phone", free_text);
    let address = fields.optional("address", free_text);
    fields.finish();
    Some(CompanyDetails { name: name?, status: status?, description, industry, website, phone, address })
}

/// What a change of a customer says, but for the company that it names.
pub(super) struct Amendment {
    patch: CustomerPatch,
    active: Option<bool>,
    pub(super) company: Patch<Named>,
}

impl Amendment {
    /// Reads a change; members left out stay as they are.
    pub(super) fn read(body: &Json, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(body, vec!["body".into()], problems)?;
        let name = fields.set("name", |value| parsed(value, FullName::parse));
        let email = fields.set("email", email_address);
        let source = fields.set("source", |value| parsed(value, Source::parse));
        let mobile = fields.patch("whatsapp_number", |value| phone(value).map(Some));
        let acquisition = AcquisitionPatch {
            source: source.map_or(Patch::Keep, Patch::Set),
            ip: fields.patch("ip", |value| address(value).map(Some)),
            city: fields.patch("city", free_text),
            country: fields.patch("country", free_text),
            location: fields.patch("location", free_text),
            latitude: fields.patch("latitude", |value| degrees(value, Coordinate::latitude).map(Some)),
            longitude: fields.patch("longitude", |value| degrees(value, Coordinate::longitude).map(Some)),
            company: Patch::Keep,
        };
        let company = match fields.patch("company_id", |value| text(value).map(|id| Some(id.to_owned()))) {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(id) => Patch::Set(Named { id, loc: fields.loc("company_id") }),
        };
        let active = fields.optional("is_active", |value| boolean(value).map(Some));
        fields.finish();
        let patch = CustomerPatch {
            name: name.map_or(NamePatch::Keep, NamePatch::Full),
            mobile,
            email: email.map_or(Patch::Keep, Patch::Set),
            acquisition,
            ..CustomerPatch::default()
        };
        Some(Self { patch, active, company })
    }

    /// The company that the change names.
    pub(super) fn named(&self) -> Option<&Named> {
        match &self.company {
            Patch::Set(named) => Some(named),
            Patch::Keep | Patch::Clear => None,
        }
    }

    /// The command with its company; a problem where there is no such company.
    pub(super) fn complete(self, companies: &Companies, problems: &mut Problems) -> Command {
        let mut patch = self.patch;
        patch.acquisition.company = match self.company {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(named) => named.number(companies, problems).map_or(Patch::Keep, Patch::Set),
        };
        Command::Amend { patch, active: self.active }
    }
}

/// Reads the body of a deletion: it has no members.
pub(super) fn deletion(body: Option<&Json>, problems: &mut Problems) -> Command {
    if let Some(fields) = body.and_then(|body| Fields::of(body, vec!["body".into()], problems)) {
        fields.finish();
    }
    Command::Delete
}

fn email_address(value: &Json) -> Result<EmailAddress, Kind> {
    email::parse(text(value)?).map_err(Kind::Email)
}

fn free_text(value: &Json) -> Result<Option<FreeText>, Kind> {
    free(value, FreeText::parse)
}

fn phone(value: &Json) -> Result<MobileNumber, Kind> {
    let text = text(value)?;
    let digits = text.strip_prefix('+').unwrap_or(text);
    let shaped = (6..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let shape = || Kind::value("must be 6 to 15 digits with an optional leading +");
    MobileNumber::parse(text).ok().filter(|_| shaped).ok_or_else(shape)
}

fn address(value: &Json) -> Result<std::net::IpAddr, Kind> {
    text(value)?.parse().map_err(|_| Kind::value("must be an IPv4 or IPv6 address"))
}

fn degrees(value: &Json, parse: impl Fn(&str) -> Result<Coordinate, CoordinateError>) -> Result<Coordinate, Kind> {
    parse(text(value)?).map_err(|error| Kind::value(error.to_string()))
}

fn company_status(value: &Json) -> Result<CompanyStatus, Kind> {
    let status = value.as_str().and_then(CompanyStatus::from_label);
    status.ok_or(Kind::NoChoice("'active' or 'inactive'"))
}

/// A web address with a host and no credentials in it.
fn website(value: &Json) -> Result<Option<FreeText>, Kind> {
    let Some(text) = free_text(value)? else {
        return Ok(None);
    };
    let web = url::Url::parse(text.as_str()).is_ok_and(|url| {
        let plain = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && plain
    });
    let spaced = text.as_str().contains(char::is_whitespace);
    if web && !spaced { Ok(Some(text)) } else { Err(Kind::value("must be an http or https URL")) }
}
