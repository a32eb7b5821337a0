//! How values and events are written with serde: texts as strings, ids as numbers, dates and instants as RFC 3339.
//! Reading goes through `parse`, so that no invalid value can be read.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::{Change, CustomerEvent, EventKind, Field, FieldKind, Value};
use crate::{
    ClosureReasonId, CustomerId, Date, EmailAddress, ExternalId, FullName, GenderId, LegalFormId, MobileNumber,
    NamePart, OfficeId, OfficeName, OrganizationId, Sequence, Status, Timestamp, Version,
};

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        as_text!(@read $name, |text: &str| Self::parse(text).map_err(|error| error.to_string()));
    )*};
    (@read $name:ty, $parse:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<Self, String> = $parse;
                parse(&text).map_err(D::Error::custom)
            }
        }
    };
}

macro_rules! as_displayed {
    ($($name:ty: $parse:expr),* $(,)?) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        as_text!(@read $name, $parse);
    )*};
}

macro_rules! as_number {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i64(self.get())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(i64::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(ExternalId, NamePart, FullName, MobileNumber, OfficeName, EmailAddress);
as_number!(OrganizationId, OfficeId, CustomerId, GenderId, LegalFormId, ClosureReasonId, Version, Sequence);
as_displayed!(
    Date: |text| Self::parse(text).map_err(|error| error.to_string()),
    Timestamp: |text| Self::parse(text).map_err(|error| error.to_string()),
    Status: |text| Self::from_label(text).ok_or_else(|| "no status".to_owned()),
);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Date(date) => date.serialize(serializer),
            Self::Instant(instant) => instant.serialize(serializer),
            Self::List(items) => items.serialize(serializer),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Plain {
    Integer(i64),
    Text(Box<str>),
    List(Box<[Box<str>]>),
}

impl Plain {
    fn of_kind(self, kind: FieldKind) -> Option<Value> {
        match (kind, self) {
            (FieldKind::Text, Self::Text(text)) => Some(Value::Text(text)),
            (FieldKind::Integer, Self::Integer(number)) => Some(Value::Integer(number)),
            (FieldKind::Date, Self::Text(text)) => Date::parse(&text).ok().map(Value::Date),
            (FieldKind::Instant, Self::Text(text)) => Timestamp::parse(&text).ok().map(Value::Instant),
            (FieldKind::List, Self::List(items)) => Some(Value::List(items)),
            _ => None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    r#type: &'static str,
    customer_id: CustomerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a ExternalId>,
    version: Version,
    at: Timestamp,
    changed: Vec<WrittenChange<'a>>,
}

#[derive(Serialize)]
struct WrittenChange<'a> {
    field: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Read {
    r#type: String,
    customer_id: CustomerId,
    external_id: Option<ExternalId>,
    version: Version,
    at: Timestamp,
    changed: Vec<ReadChange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadChange {
    field: String,
    from: Option<Plain>,
    to: Option<Plain>,
}

impl Serialize for CustomerEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let changed = self
            .changes()
            .iter()
            .map(|Change { field, from, to }| WrittenChange {
                field: field.name(),
                from: from.as_ref(),
                to: to.as_ref(),
            })
            .collect();
        let written = Written {
            r#type: self.kind().name(),
            customer_id: self.customer(),
            external_id: self.external_id(),
            version: self.version(),
            at: self.at(),
            changed,
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CustomerEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(deserializer)?;
        let kind = EventKind::from_name(&read.r#type).ok_or_else(|| D::Error::custom("no type of event"))?;
        let side = |field: Field, plain: Option<Plain>| match plain {
            None => Ok(None),
            Some(plain) => {
                plain.of_kind(field.kind()).map(Some).ok_or_else(|| D::Error::custom("a value of the wrong kind"))
            }
        };
        let mut changes = Vec::with_capacity(read.changed.len());
        for change in read.changed {
            let field = Field::from_name(&change.field).ok_or_else(|| D::Error::custom("no field of a customer"))?;
            changes.push(Change { field, from: side(field, change.from)?, to: side(field, change.to)? });
        }
        Ok(Self::rehydrate(kind, read.customer_id, read.external_id, read.version, read.at, changes))
    }
}
