//! A company that customers are associated with. Must not know customers.

use thiserror::Error;

use crate::facets::{FreeText, labels};
use crate::record::{NamedChange, RecordEvent, RecordKind};
use crate::value::{TextError, checked, text};
use crate::{CompanyNumber, Moment, OrganizationId, Value, Version};

text!(
    /// A company's name: 1 to 200 code points.
    CompanyName, 200, trimmed: true
);
labels!(
    /// Whether a company is in business.
    CompanyStatus {
        /// It is.
        Active = "active",
        /// It is not.
        Inactive = "inactive",
    }
);

/// A company's public id: `CMP-` and 8 characters of Crockford's base 32.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompanyId(Box<str>);

/// A text that is no company id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be CMP- and 8 characters")]
pub struct CompanyIdError;

/// Crockford's base 32: no I, L, O, U.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// So many characters of Crockford's base 32 from random bits (5 for each, at most 25 characters).
#[must_use]
pub fn crockford(random: u128, characters: u32) -> String {
    (0..characters).map(|place| char::from(CROCKFORD[(random >> (5 * place) & 31) as usize])).collect()
}

impl CompanyId {
    /// A new id from random bits.
    #[must_use]
    pub fn from_random(random: u128) -> Self {
        Self(format!("CMP-{}", crockford(random, 8)).into())
    }

    /// Reads an id, letter for letter.
    ///
    /// # Errors
    /// [`CompanyIdError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, CompanyIdError> {
        let code = text.strip_prefix("CMP-").ok_or(CompanyIdError)?;
        let right = code.len() == 8 && code.bytes().all(|byte| CROCKFORD.contains(&byte));
        if right { Ok(Self(text.into())) } else { Err(CompanyIdError) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a new company is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CompanyDetails {
    /// Its name.
    pub name: CompanyName,
    /// Whether it is in business.
    pub status: CompanyStatus,
    /// What it does.
    pub description: Option<FreeText>,
    /// In which industry.
    pub industry: Option<FreeText>,
    /// Its website, checked by the caller to be a URL.
    pub website: Option<FreeText>,
    /// Its phone number.
    pub phone: Option<FreeText>,
    /// Its address.
    pub address: Option<FreeText>,
}

/// A company.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Company {
    /// The tenant.
    pub organization: OrganizationId,
    /// Its number within the organization.
    pub number: CompanyNumber,
    /// Its public id.
    pub id: CompanyId,
    /// What it is made of.
    pub details: CompanyDetails,
}

impl Company {
    /// The event of its creation.
    #[must_use]
    pub fn created(&self, moment: Moment) -> RecordEvent {
        let details = &self.details;
        let text = |text: &str| Value::Text(text.into());
        let mut values =
            vec![("company_name", text(details.name.as_str())), ("company_status", text(details.status.label()))];
        let optional = [
            ("description", &details.description),
            ("industry", &details.industry),
            ("website", &details.website),
            ("phone", &details.phone),
            ("address", &details.address),
        ];
        values.extend(optional.into_iter().filter_map(|(name, value)| Some((name, text(value.as_ref()?.as_str())))));
        RecordEvent {
            kind: RecordKind::CompanyCreated,
            subject: self.id.as_str().into(),
            customer: None,
            external_id: None,
            version: Version::FIRST,
            at: moment.at,
            changes: NamedChange::between(Vec::new(), values),
        }
    }
}
