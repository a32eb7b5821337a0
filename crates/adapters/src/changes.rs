//! How an event's changes are written down, the same in every store and on every wire:
//! `{"field":{"from":…,"to":…}}`, a missing side left out. Must not know SQL or HTTP.

use std::collections::BTreeMap;

use custodia_domain::record::NamedChange;
use custodia_domain::{Change, Date, Field, FieldKind, Timestamp, Value};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

/// A value on its way into a text, without a tree in between: a batch writes thousands.
struct Written<'v>(&'v Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Integer(number) => serializer.serialize_i64(*number),
            Value::Date(date) => serializer.collect_str(date),
            Value::Instant(instant) => serializer.collect_str(instant),
            Value::List(items) => serializer.collect_seq(items.iter().map(|item| &**item)),
        }
    }
}

/// The sides of a change.
#[derive(Serialize)]
struct Sides<'v> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Written<'v>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Written<'v>>,
}

impl<'v> Sides<'v> {
    fn of(from: Option<&'v Value>, to: Option<&'v Value>) -> Self {
        Self { from: from.map(Written), to: to.map(Written) }
    }
}

/// An object of those members as text.
fn object<'n, V: Serialize>(members: impl Iterator<Item = (&'n str, V)>) -> String {
    let mut text = Vec::with_capacity(512);
    let written = serde_json::Serializer::new(&mut text).collect_map(members);
    written.expect("names, texts and numbers are JSON");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// The changes as JSON text.
#[must_use]
pub fn encode(changes: &[Change]) -> String {
    object(changes.iter().map(|change| (change.field.name(), Sides::of(change.from.as_ref(), change.to.as_ref()))))
}

/// The changes that a text of [`encode`] holds, in the order of [`Field::ALL`]; `None` for any other text.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<Change>> {
    let object: Map<String, Json> = serde_json::from_str(text).ok()?;
    let mut changes = object.iter().map(|(name, sides)| change(name, sides)).collect::<Option<Vec<_>>>()?;
    changes.sort_by_key(|change| change.field);
    Some(changes)
}

/// The changes of a record beside the customers as JSON text.
#[must_use]
pub fn encode_named(changes: &[NamedChange]) -> String {
    object(changes.iter().map(|change| (&*change.name, Sides::of(change.from.as_ref(), change.to.as_ref()))))
}

/// The changes that a text of [`encode_named`] holds, by name; dates and instants come back as texts. `None` for any
/// other text.
#[must_use]
pub fn decode_named(text: &str) -> Option<Vec<NamedChange>> {
    let object: Map<String, Json> = serde_json::from_str(text).ok()?;
    let side = |sides: &Json, name: &str| match sides.get(name) {
        None => Some(None),
        Some(json) => plain_value(json).map(Some),
    };
    let change = |(name, sides): (&String, &Json)| {
        Some(NamedChange { name: name.as_str().into(), from: side(sides, "from")?, to: side(sides, "to")? })
    };
    object.iter().map(change).collect()
}

/// Field values as JSON text.
#[must_use]
pub fn encode_values(values: &BTreeMap<Field, Value>) -> String {
    object(values.iter().map(|(field, value)| (field.name(), Written(value))))
}

/// The field values that a text of [`encode_values`] holds; `None` for any other text.
#[must_use]
pub fn decode_values(text: &str) -> Option<BTreeMap<Field, Value>> {
    let object: Map<String, Json> = serde_json::from_str(text).ok()?;
    let entry = |(name, json): (&String, &Json)| {
        let field = Field::from_name(name)?;
        Some((field, value(field, json)?))
    };
    object.iter().map(entry).collect()
}

/// Named values as JSON text.
#[must_use]
pub fn encode_named_values(values: &[(&'static str, Value)]) -> String {
    object(values.iter().map(|(name, value)| (*name, Written(value))))
}

/// The named values that a text of [`encode_named_values`] holds; dates and instants come back as texts. `None` for
/// any other text.
#[must_use]
pub fn decode_named_values(text: &str) -> Option<BTreeMap<String, Value>> {
    let object: Map<String, Json> = serde_json::from_str(text).ok()?;
    object.into_iter().map(|(name, json)| Some((name, plain_value(&json)?))).collect()
}

fn change(name: &str, sides: &Json) -> Option<Change> {
    let field = Field::from_name(name)?;
    let side = |name: &str| match sides.get(name) {
        None => Some(None),
        Some(json) => value(field, json).map(Some),
    };
    let change = Change { field, from: side("from")?, to: side("to")? };
    (change.from != change.to).then_some(change)
}

fn value(field: Field, json: &Json) -> Option<Value> {
    match field.kind() {
        FieldKind::Text => Some(Value::Text(json.as_str()?.into())),
        FieldKind::Integer => json.as_i64().map(Value::Integer),
        FieldKind::Date => Date::parse(json.as_str()?).ok().map(Value::Date),
        FieldKind::Instant => Timestamp::parse(json.as_str()?).ok().map(Value::Instant),
        FieldKind::List => list(json),
    }
}

fn list(json: &Json) -> Option<Value> {
    json.as_array()?.iter().map(|item| item.as_str().map(Into::into)).collect::<Option<_>>().map(Value::List)
}

fn plain_value(json: &Json) -> Option<Value> {
    match json {
        Json::String(text) => Some(Value::Text(text.as_str().into())),
        Json::Number(number) => number.as_i64().map(Value::Integer),
        Json::Array(_) => list(json),
        Json::Null | Json::Bool(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_every_kind_go_there_and_back() {
        let changes = vec![
            Change { field: Field::ExternalId, from: None, to: Some(Value::Text("ünï \"1\"".into())) },
            Change { field: Field::Office, from: Some(Value::Integer(1)), to: Some(Value::Integer(2)) },
            Change { field: Field::DateOfBirth, from: Date::parse("1815-12-10").ok().map(Value::Date), to: None },
        ];
        assert_eq!(decode(&encode(&changes)), Some(changes));
        assert_eq!(decode("{}"), Some(vec![]));
    }

    #[test]
    fn named_changes_and_values_go_there_and_back() {
        let list = Value::List(["a".into(), "b".into()].into());
        let changes = vec![NamedChange { name: "sourceCustomerIds".into(), from: None, to: Some(list.clone()) }];
        assert_eq!(decode_named(&encode_named(&changes)), Some(changes));
        let values = [("loanProductId", Value::Integer(7)), ("principal", Value::Text("12.5".into()))];
        let read = decode_named_values(&encode_named_values(&values)).unwrap();
        assert_eq!(read, values.map(|(name, value)| (name.to_owned(), value)).into());
        let instant = Value::Instant(Timestamp::parse("2017-01-01T08:00:00.000001Z").unwrap());
        let values = BTreeMap::from([(Field::CustomerSince, instant), (Field::Alerts, list)]);
        assert_eq!(decode_values(&encode_values(&values)), Some(values));
    }

    #[test]
    fn what_no_event_says_is_not_decoded() {
        for text in [
            "",
            "[]",
            r#"{"shoeSize":{"to":1}}"#,
            r#"{"officeId":{"to":"1"}}"#,
            r#"{"dateOfBirth":{"to":"1"}}"#,
            r#"{"officeId":{}}"#,
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
