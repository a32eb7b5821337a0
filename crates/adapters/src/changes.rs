//! How an event's changes are written down, the same in every store and on every wire:
//! `{"field":{"from":…,"to":…}}`, a missing side left out. Must not know SQL or HTTP.

use custodia_domain::{Change, Date, Field, FieldKind, Value};
use serde_json::{Map, Value as Json};

/// The changes as a JSON object.
#[must_use]
pub fn to_json(changes: &[Change]) -> Json {
    let side = |value: &Value| match value {
        Value::Text(text) => Json::from(&**text),
        Value::Integer(number) => Json::from(*number),
        Value::Date(date) => Json::from(date.to_string()),
    };
    let object: Map<String, Json> = changes
        .iter()
        .map(|change| {
            let sides = [("from", &change.from), ("to", &change.to)];
            let sides: Map<String, Json> =
                sides.into_iter().filter_map(|(name, value)| Some((name.to_owned(), side(value.as_ref()?)))).collect();
            (change.field.name().to_owned(), Json::Object(sides))
        })
        .collect();
    Json::Object(object)
}

/// The changes as JSON text.
#[must_use]
pub fn encode(changes: &[Change]) -> String {
    to_json(changes).to_string()
}

/// The changes that a text of [`encode`] holds, in the order of [`Field::ALL`]; `None` for any other text.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<Change>> {
    let object: Map<String, Json> = serde_json::from_str(text).ok()?;
    let mut changes = object.iter().map(|(name, sides)| change(name, sides)).collect::<Option<Vec<_>>>()?;
    changes.sort_by_key(|change| change.field);
    Some(changes)
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
