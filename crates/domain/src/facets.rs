//! What the intake (crm) and the programme (publisher) know of a customer beside its core: two optional facets, each
//! a plain value that only its own dialect reads and writes whole. Must not know the lifecycle.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::event::{Field, Value};
use crate::value::{TextError, checked, text};
use crate::{CompanyNumber, Date, ExternalId, Impossible, Invalid, Patch, Rule, Timestamp};

text!(
    /// How a customer was won, such as `web` or `api`: 1 to 64 code points.
    Source, 64, trimmed: true
);
text!(
    /// Free text of an intake: 1 to 200 code points.
    FreeText, 200, trimmed: true
);
text!(
    /// A postal code: 1 to 20 code points.
    PostalCode, 20, trimmed: true
);
text!(
    /// A subsidiary of the institution: 1 to 120 code points.
    Subsidiary, 120, trimmed: true
);

/// Why a text is not a [`Coordinate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CoordinateError {
    /// Not a decimal number.
    #[error("must be a decimal number")]
    Shape,
    /// Beyond the pole or the antimeridian.
    #[error("must lie between -{limit} and {limit}")]
    OutOfRange {
        /// 90 for latitudes, 180 for longitudes.
        limit: u8,
    },
}

/// A latitude or longitude in degrees, kept digit for digit as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Coordinate(Box<str>);

impl Coordinate {
    /// A latitude: a decimal number from -90 to 90 of at most 40 characters.
    ///
    /// # Errors
    /// [`CoordinateError`] names what is wrong.
    pub fn latitude(text: &str) -> Result<Self, CoordinateError> {
        Self::within(text, 90)
    }

    /// A longitude: a decimal number from -180 to 180 of at most 40 characters.
    ///
    /// # Errors
    /// [`CoordinateError`] names what is wrong.
    pub fn longitude(text: &str) -> Result<Self, CoordinateError> {
        Self::within(text, 180)
    }

    fn within(text: &str, limit: u8) -> Result<Self, CoordinateError> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let decimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() > 40 || !decimal(whole) || !decimal(fraction) {
            return Err(CoordinateError::Shape);
        }
        let whole = whole.trim_start_matches('0');
        let degrees: u32 = if whole.len() > 3 { u32::MAX } else { whole.parse().unwrap_or(0) };
        let beyond = fraction.bytes().any(|byte| byte != b'0');
        if degrees > u32::from(limit) || (degrees == u32::from(limit) && beyond) {
            return Err(CoordinateError::OutOfRange { limit });
        }
        Ok(Self(text.into()))
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a customer came: what an intake records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Acquisition {
    /// By which channel.
    pub source: Option<Source>,
    /// From which address.
    pub ip: Option<IpAddr>,
    /// The city.
    pub city: Option<FreeText>,
    /// The country, in free text.
    pub country: Option<FreeText>,
    /// A general description of the place.
    pub location: Option<FreeText>,
    /// Degrees north.
    pub latitude: Option<Coordinate>,
    /// Degrees east.
    pub longitude: Option<Coordinate>,
    /// The company it is associated with.
    pub company: Option<CompanyNumber>,
}

impl Acquisition {
    /// Nothing known.
    pub const EMPTY: Self = Self {
        source: None,
        ip: None,
        city: None,
        country: None,
        location: None,
        latitude: None,
        longitude: None,
        company: None,
    };
}

/// A partial change of an acquisition; the default changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcquisitionPatch {
    /// By which channel.
    pub source: Patch<Source>,
    /// From which address.
    pub ip: Patch<IpAddr>,
    /// The city.
    pub city: Patch<FreeText>,
    /// The country.
    pub country: Patch<FreeText>,
    /// The place.
    pub location: Patch<FreeText>,
    /// Degrees north.
    pub latitude: Patch<Coordinate>,
    /// Degrees east.
    pub longitude: Patch<Coordinate>,
    /// The company.
    pub company: Patch<CompanyNumber>,
}

impl AcquisitionPatch {
    pub(crate) fn apply(&self, to: &mut Acquisition) {
        self.source.apply(&mut to.source);
        self.ip.apply(&mut to.ip);
        self.city.apply(&mut to.city);
        self.country.apply(&mut to.country);
        self.location.apply(&mut to.location);
        self.latitude.apply(&mut to.latitude);
        self.longitude.apply(&mut to.longitude);
        self.company.apply(&mut to.company);
    }
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label on the wire and in stores.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// The one of that label, letter for letter.
            #[must_use]
            pub fn from_label(label: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.label() == label)
            }
        }
    };
}
pub(crate) use labels;

labels!(
    /// Whether a customer takes part in the programme.
    OptIn {
        /// It does.
        Active = "ACTIVE",
        /// It does not.
        Inactive = "INACTIVE",
    }
);
labels!(
    /// What a customer wants to be told of.
    Alert {
        /// Everything.
        All = "ALL",
        /// New offers.
        New = "NEW",
        /// Offers it has activated.
        Activated = "ACTIVATED",
        /// Offers about to end.
        Expiring = "EXPIRING",
        /// Redemptions.
        Redemption = "REDEMPTION",
        /// What became of an offer.
        CloseTheLoop = "CLOSE_THE_LOOP",
        /// What it has missed.
        MissedOpportunity = "MISSED_OPPORTUNITY",
    }
);
labels!(
    /// Whether offers may be aimed at a customer.
    Targeting {
        /// They may.
        Target = "TARGET",
        /// They may not.
        DoNotTarget = "DO_NOT_TARGET",
    }
);
labels!(
    /// Which rewards a customer may redeem.
    Redemption {
        /// All.
        All = "ALL",
        /// None.
        None = "NONE",
    }
);

/// An assigned ISO 3166-1 alpha-2 country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryCode([u8; 2]);

/// A text that is no assigned country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an assigned ISO 3166-1 alpha-2 code")]
pub struct CountryCodeError;

/// The officially assigned codes of ISO 3166-1, in order.
const COUNTRIES: &str = "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW";

impl CountryCode {
    /// Accepts two capital letters that ISO 3166-1 assigns.
    ///
    /// # Errors
    /// [`CountryCodeError`] for every other text.
    pub fn parse(text: &str) -> Result<Self, CountryCodeError> {
        let found = COUNTRIES.as_bytes().chunks_exact(2).find(|code| *code == text.as_bytes());
        found.map(|code| Self([code[0], code[1]])).ok_or(CountryCodeError)
    }

    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two ASCII letters")
    }
}

/// A customer's part in the rewards programme.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Enrolment {
    /// The customer above it.
    pub parent: Option<ExternalId>,
    /// The subsidiary it belongs to.
    pub subsidiary: Subsidiary,
    /// Where it lives.
    pub postal_code: PostalCode,
    /// Where it lives.
    pub country: CountryCode,
    /// Since when it is the institution's customer.
    pub customer_since: Timestamp,
    /// When its enrolment begins.
    pub starts: Timestamp,
    /// When its enrolment ends; not before it begins.
    pub ends: Option<Timestamp>,
    /// Whether it takes part.
    pub opt_in: OptIn,
    /// What it wants to be told of.
    pub alerts: BTreeSet<Alert>,
    /// Whether offers may be aimed at it.
    pub targeting: Targeting,
    /// What it may redeem.
    pub redemption: Option<Redemption>,
}

impl Enrolment {
    /// The rules that its values break: it does not end before it begins, and nobody is a customer since tomorrow.
    #[must_use]
    pub fn problems(&self, today: Date) -> Vec<Invalid> {
        let early = self.ends.is_some_and(|ends| ends < self.starts);
        // Some zone is a day behind UTC: the instant itself is compared by the use cases, which know it.
        let late = self.customer_since.date_utc().days_since_epoch() > today.days_since_epoch().saturating_add(1);
        let problems = [
            (late, Invalid { field: Field::CustomerSince, rule: Rule::InFuture }),
            (early, Invalid { field: Field::EnrolmentEnd, rule: Rule::BeforeEnrolment }),
        ];
        problems.into_iter().filter(|(broken, _)| *broken).map(|(_, problem)| problem).collect()
    }
}

/// The fields that facets have, in the order of [`Field::ALL`].
pub(crate) const FACET_FIELDS: &[Field] = &[
    Field::Source,
    Field::Ip,
    Field::City,
    Field::Country,
    Field::Location,
    Field::Latitude,
    Field::Longitude,
    Field::Company,
    Field::Parent,
    Field::Subsidiary,
    Field::PostalCode,
    Field::CountryCode,
    Field::CustomerSince,
    Field::EnrolmentStart,
    Field::EnrolmentEnd,
    Field::OptIn,
    Field::Alerts,
    Field::Targeting,
    Field::Redemption,
];

fn label(text: &str) -> Value {
    Value::Text(text.into())
}

/// The value of one facet's field.
#[expect(clippy::wildcard_enum_match_arm, reason = "the core's fields never come here; a test covers FACET_FIELDS")]
pub(crate) fn value_of(acquisition: &Acquisition, enrolment: Option<&Enrolment>, field: Field) -> Option<Value> {
    let a = acquisition;
    let free = |text: &Option<FreeText>| text.as_ref().map(|text| label(text.as_str()));
    match field {
        Field::Source => a.source.as_ref().map(|source| label(source.as_str())),
        Field::Ip => a.ip.map(|ip| label(&ip.to_string())),
        Field::City => free(&a.city),
        Field::Country => free(&a.country),
        Field::Location => free(&a.location),
        Field::Latitude => a.latitude.as_ref().map(|degrees| label(degrees.as_str())),
        Field::Longitude => a.longitude.as_ref().map(|degrees| label(degrees.as_str())),
        Field::Company => a.company.map(|company| Value::Integer(company.get())),
        other => enrolment.and_then(|enrolment| enrolled_value_of(enrolment, other)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other fields are not the enrolment's")]
fn enrolled_value_of(e: &Enrolment, field: Field) -> Option<Value> {
    match field {
        Field::Parent => e.parent.as_ref().map(|id| label(id.as_str())),
        Field::Subsidiary => Some(label(e.subsidiary.as_str())),
        Field::PostalCode => Some(label(e.postal_code.as_str())),
        Field::CountryCode => Some(label(e.country.as_str())),
        Field::CustomerSince => Some(Value::Instant(e.customer_since)),
        Field::EnrolmentStart => Some(Value::Instant(e.starts)),
        Field::EnrolmentEnd => e.ends.map(Value::Instant),
        Field::OptIn => Some(label(e.opt_in.label())),
        Field::Alerts => Some(Value::List(e.alerts.iter().map(|alert| alert.label().into()).collect())),
        Field::Targeting => Some(label(e.targeting.label())),
        Field::Redemption => e.redemption.map(|which| label(which.label())),
        _ => None,
    }
}

/// Rebuilds both facets from their values.
pub(crate) fn from_values(values: &BTreeMap<Field, Value>) -> Result<(Acquisition, Option<Enrolment>), Impossible> {
    let read = Values(values);
    let free = |field| read.text(field, |text| FreeText::parse(text).ok());
    let acquisition = Acquisition {
        source: read.text(Field::Source, |text| Source::parse(text).ok())?,
        ip: read.text(Field::Ip, |text| text.parse().ok())?,
        city: free(Field::City)?,
        country: free(Field::Country)?,
        location: free(Field::Location)?,
        latitude: read.text(Field::Latitude, |text| Coordinate::latitude(text).ok())?,
        longitude: read.text(Field::Longitude, |text| Coordinate::longitude(text).ok())?,
        company: read.integer(Field::Company, |id| CompanyNumber::parse(id).ok())?,
    };
    let enrolled =
        FACET_FIELDS.iter().skip_while(|field| **field != Field::Parent).any(|field| values.contains_key(field));
    let enrolment = if enrolled { Some(enrolment(&read)?) } else { None };
    Ok((acquisition, enrolment))
}

fn enrolment(read: &Values<'_>) -> Result<Enrolment, Impossible> {
    fn needed<T>(value: Option<T>) -> Result<T, Impossible> {
        value.ok_or(Impossible("half an enrolment"))
    }
    let alerts = read.list(Field::Alerts)?.unwrap_or_default();
    Ok(Enrolment {
        parent: read.text(Field::Parent, |text| ExternalId::parse(text).ok())?,
        subsidiary: needed(read.text(Field::Subsidiary, |text| Subsidiary::parse(text).ok())?)?,
        postal_code: needed(read.text(Field::PostalCode, |text| PostalCode::parse(text).ok())?)?,
        country: needed(read.text(Field::CountryCode, |text| CountryCode::parse(text).ok())?)?,
        customer_since: needed(read.instant(Field::CustomerSince)?)?,
        starts: needed(read.instant(Field::EnrolmentStart)?)?,
        ends: read.instant(Field::EnrolmentEnd)?,
        opt_in: needed(read.text(Field::OptIn, OptIn::from_label)?)?,
        alerts: alerts
            .iter()
            .map(|text| Alert::from_label(text).ok_or(Impossible("alert")))
            .collect::<Result<_, _>>()?,
        targeting: needed(read.text(Field::Targeting, Targeting::from_label)?)?,
        redemption: read.text(Field::Redemption, Redemption::from_label)?,
    })
}

/// Typed reading of a map of values.
pub(crate) struct Values<'a>(pub &'a BTreeMap<Field, Value>);

impl Values<'_> {
    pub(crate) fn text<T>(&self, field: Field, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Impossible> {
        match self.0.get(&field) {
            None => Ok(None),
            Some(Value::Text(text)) => parse(text).map(Some).ok_or(Impossible(field.name())),
            Some(_) => Err(Impossible(field.name())),
        }
    }

    pub(crate) fn integer<T>(
        &self,
        field: Field,
        parse: impl FnOnce(i64) -> Option<T>,
    ) -> Result<Option<T>, Impossible> {
        match self.0.get(&field) {
            None => Ok(None),
            Some(Value::Integer(number)) => parse(*number).map(Some).ok_or(Impossible(field.name())),
            Some(_) => Err(Impossible(field.name())),
        }
    }

    pub(crate) fn date(&self, field: Field) -> Result<Option<Date>, Impossible> {
        match self.0.get(&field) {
            None => Ok(None),
            Some(Value::Date(date)) => Ok(Some(*date)),
            Some(_) => Err(Impossible(field.name())),
        }
    }

    fn instant(&self, field: Field) -> Result<Option<Timestamp>, Impossible> {
        match self.0.get(&field) {
            None => Ok(None),
            Some(Value::Instant(instant)) => Ok(Some(*instant)),
            Some(_) => Err(Impossible(field.name())),
        }
    }

    fn list(&self, field: Field) -> Result<Option<&[Box<str>]>, Impossible> {
        match self.0.get(&field) {
            None => Ok(None),
            Some(Value::List(items)) => Ok(Some(items)),
            Some(_) => Err(Impossible(field.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_kept_digit_for_digit_within_their_range() {
        for text in ["5.6037", "0.1870", "-90", "+90.000", "007.50"] {
            assert_eq!(Coordinate::latitude(text).unwrap().as_str(), text);
        }
        assert_eq!(Coordinate::latitude("90.0001"), Err(CoordinateError::OutOfRange { limit: 90 }));
        assert_eq!(Coordinate::longitude("1800"), Err(CoordinateError::OutOfRange { limit: 180 }));
        for text in ["", ".", "5.", ".5", "1e2", "NaN", "5,6", " 5", "--5"] {
            assert_eq!(Coordinate::latitude(text), Err(CoordinateError::Shape), "{text:?}");
        }
    }

    #[test]
    fn every_assigned_country_code_is_there_once_and_no_other() {
        let codes: BTreeSet<_> = COUNTRIES.as_bytes().chunks(2).collect();
        assert_eq!((codes.len(), COUNTRIES.len()), (249, 498));
        assert_eq!(CountryCode::parse("US").unwrap().as_str(), "US");
        for text in ["us", "XX", "UK", "EU", "USA", "", "DA"] {
            assert_eq!(CountryCode::parse(text), Err(CountryCodeError), "{text}");
        }
    }
}
