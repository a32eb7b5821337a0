//! How an event of the log goes onto the wire, the same in feeds, histories and webhooks.
//!
//! Owns the members' names and order, and the form of event ids. It must not know who asked for an event, nor how it is
//! stored.

use std::fmt;

use custodia_domain::ports::{LogEntry, LoggedEvent, RecordedEvent};
use custodia_domain::record::{NamedChange, RecordEvent, RecordKind};
use custodia_domain::{
    Audit, Change, CustomerEvent, CustomerId, EventKind, OrganizationId, Sequence, Timestamp, Value,
};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

/// The names of all types of events, in the order of their documentation.
pub fn types() -> impl Iterator<Item = &'static str> {
    let customers = EventKind::ALL.into_iter().map(EventKind::name);
    customers.chain(RecordKind::ALL.into_iter().map(RecordKind::name))
}

/// The type of that name, as stores know it.
#[must_use]
pub fn type_named(name: &str) -> Option<&'static str> {
    types().find(|known| *known == name)
}

/// What an event id begins with.
const PREFIX: &str = "evt_";

/// The id of an event, unique across organizations and the same wherever the event is shown: `evt_<organization>_<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The tenant whose event it is.
    pub organization: OrganizationId,
    /// The event's place in the organization's order of commits.
    pub sequence: Sequence,
}

impl EventId {
    /// The id that a text names; `None` for every other text, and for every other way to write the same numbers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (organization, sequence) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let organization = OrganizationId::parse(organization.parse().ok()?).ok()?;
        let id = Self { organization, sequence: Sequence::parse(sequence.parse().ok()?).ok()? };
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_{}", self.organization, self.sequence)
    }
}

/// An event as it goes onto the wire. Values that are not there are left out, but for `externalId`: where the customer
/// has none it is `null`, so that a reader need not guess whether it was looked up.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventBody<'a> {
    #[serde(serialize_with = "shown")]
    id: EventId,
    sequence: i64,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_if_there")]
    customer_id: Option<CustomerId>,
    external_id: Option<&'a str>,
    version: i64,
    #[serde(serialize_with = "shown")]
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
    changed: Changed<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> EventBody<'a> {
    /// The whole event: `changed` holds each changed field with its value before (`from`) and after (`to`), either left
    /// out where there was or is none.
    #[must_use]
    pub fn full(organization: OrganizationId, entry: &'a LogEntry) -> Self {
        Self::of_logged(organization, entry, Form::Full)
    }

    /// What happened to what, and nothing that anybody wrote: ids, the version, and in `changed` the names of the changed
    /// fields. Without actor, key and reason.
    #[must_use]
    pub fn thin(organization: OrganizationId, entry: &'a LogEntry) -> Self {
        Self::of_logged(organization, entry, Form::Thin)
    }

    /// The whole event of a customer, as [`full`](Self::full) shows it.
    #[must_use]
    pub fn of_customer(organization: OrganizationId, recorded: &'a RecordedEvent) -> Self {
        Self::customer(
            EventId { organization, sequence: recorded.sequence },
            &recorded.event,
            &recorded.audit,
            Form::Full,
        )
    }

    /// The event's id.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// The name of the event's type, such as `customer.created`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.r#type
    }

    /// When it happened.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    fn of_logged(organization: OrganizationId, entry: &'a LogEntry, form: Form) -> Self {
        let id = EventId { organization, sequence: entry.sequence };
        match &entry.event {
            LoggedEvent::Customer(event) => Self::customer(id, event, &entry.audit, form),
            LoggedEvent::Record(event) => Self::record(id, event, &entry.audit, form),
        }
    }

    fn customer(id: EventId, event: &'a CustomerEvent, audit: &'a Audit, form: Form) -> Self {
        Self {
            id,
            sequence: id.sequence.get(),
            r#type: event.kind().name(),
            subject: None,
            customer_id: Some(event.customer()),
            external_id: event.external_id().map(custodia_domain::ExternalId::as_str),
            version: event.version().get(),
            at: event.at(),
            actor: form.tells(audit.actor.as_str()),
            request_id: audit.request_id.as_str(),
            idempotency_key: audit.idempotency_key.as_deref().and_then(|key| form.tells(key)),
            changed: Changed { form, changes: Changes::Customer(event.changes()) },
            reason: audit.reason.as_deref().and_then(|reason| form.tells(reason)),
        }
    }

    fn record(id: EventId, event: &'a RecordEvent, audit: &'a Audit, form: Form) -> Self {
        Self {
            id,
            sequence: id.sequence.get(),
            r#type: event.kind.name(),
            subject: Some(&event.subject),
            customer_id: event.customer,
            external_id: event.external_id.as_ref().map(custodia_domain::ExternalId::as_str),
            version: event.version.get(),
            at: event.at,
            actor: form.tells(audit.actor.as_str()),
            request_id: audit.request_id.as_str(),
            idempotency_key: audit.idempotency_key.as_deref().and_then(|key| form.tells(key)),
            changed: Changed { form, changes: Changes::Record(&event.changes) },
            reason: audit.reason.as_deref().and_then(|reason| form.tells(reason)),
        }
    }
}

/// How much of a change is shown.
#[derive(Clone, Copy)]
enum Form {
    Full,
    Thin,
}

impl Form {
    /// The text, where the form shows what somebody wrote.
    const fn tells(self, text: &str) -> Option<&str> {
        match self {
            Self::Full => Some(text),
            Self::Thin => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Changes<'a> {
    Customer(&'a [Change]),
    Record(&'a [NamedChange]),
}

impl<'a> Changes<'a> {
    fn sides(self) -> Vec<(&'a str, Sides<'a>)> {
        let sides = |from: &'a Option<Value>, to: &'a Option<Value>| Sides { from: from.as_ref(), to: to.as_ref() };
        match self {
            Self::Customer(all) => all.iter().map(|one| (one.field.name(), sides(&one.from, &one.to))).collect(),
            Self::Record(all) => all.iter().map(|one| (&*one.name, sides(&one.from, &one.to))).collect(),
        }
    }
}

struct Changed<'a> {
    form: Form,
    changes: Changes<'a>,
}

impl Serialize for Changed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sides = self.changes.sides();
        match self.form {
            Form::Full => {
                let mut map = serializer.serialize_map(Some(sides.len()))?;
                for (name, sides) in sides {
                    map.serialize_entry(name, &sides)?;
                }
                map.end()
            }
            Form::Thin => {
                let mut list = serializer.serialize_seq(Some(sides.len()))?;
                for (name, _) in sides {
                    list.serialize_element(name)?;
                }
                list.end()
            }
        }
    }
}

#[derive(Serialize)]
struct Sides<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a Value>,
}

fn shown<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn shown_if_there<T: fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use custodia_domain::{Actor, ExternalId, Field, RequestId, Version};
    use serde_json::json;

    use super::*;

    fn audit(full: bool) -> Audit {
        Audit {
            actor: Actor::new("key:3"),
            request_id: RequestId::parse("r-1").unwrap(),
            idempotency_key: full.then(|| "k-1".into()),
            reason: full.then(|| "as \"asked\"".into()),
        }
    }

    fn customer_entry() -> LogEntry {
        let at = Timestamp::parse("2026-05-22T09:30:00.000001Z").unwrap();
        let text = |text: &str| Some(Value::Text(text.into()));
        let changes = vec![
            Change { field: Field::Office, from: Some(Value::Integer(1)), to: Some(Value::Integer(2)) },
            Change { field: Field::Email, from: text("ada@example.com"), to: None },
            Change { field: Field::Alerts, from: None, to: Some(Value::List(["EMAIL".into()].into())) },
        ];
        let event = CustomerEvent::rehydrate(
            EventKind::Updated,
            CustomerId::parse(42).unwrap(),
            None,
            Version::parse(3).unwrap(),
            at,
            changes,
        );
        LogEntry { sequence: Sequence::parse(7).unwrap(), event: LoggedEvent::Customer(event), audit: audit(true) }
    }

    fn record_entry() -> LogEntry {
        let at = Timestamp::parse("2026-05-22T09:30:00Z").unwrap();
        let change = NamedChange { name: "principal".into(), from: None, to: Some(Value::Text("12.5".into())) };
        let event = RecordEvent {
            kind: RecordKind::LoanCreated,
            subject: "loan-1".into(),
            customer: None,
            external_id: Some(ExternalId::parse("ext-ada").unwrap()),
            version: Version::parse(1).unwrap(),
            at,
            changes: vec![change],
        };
        LogEntry { sequence: Sequence::parse(8).unwrap(), event: LoggedEvent::Record(event), audit: audit(false) }
    }

    fn written(body: &EventBody<'_>) -> String {
        serde_json::to_string(body).unwrap()
    }

    #[test]
    fn a_customers_event_is_written_whole_and_its_missing_external_id_as_null() {
        assert_eq!(
            written(&EventBody::full(OrganizationId::FIRST, &customer_entry())),
            concat!(
                r#"{"id":"evt_1_7","sequence":7,"type":"customer.updated","customerId":"42","externalId":null,"version":3,"#,
                r#""at":"2026-05-22T09:30:00.000001Z","actor":"key:3","requestId":"r-1","idempotencyKey":"k-1","#,
                r#""changed":{"officeId":{"from":1,"to":2},"emailAddress":{"from":"ada@example.com"},"#,
                r#""alertOptInStatus":{"to":["EMAIL"]}},"reason":"as \"asked\""}"#
            )
        );
    }

    #[test]
    fn a_records_event_names_its_subject_and_leaves_out_what_is_not_there() {
        let body = serde_json::to_value(EventBody::full(OrganizationId::FIRST, &record_entry())).unwrap();
        let wanted = json!({
            "id": "evt_1_8", "sequence": 8, "type": "loan.created", "subject": "loan-1", "externalId": "ext-ada",
            "version": 1, "at": "2026-05-22T09:30:00Z", "actor": "key:3", "requestId": "r-1",
            "changed": {"principal": {"to": "12.5"}},
        });
        assert_eq!(body, wanted);
    }

    #[test]
    fn the_thin_form_names_fields_and_shows_no_value() {
        for entry in [customer_entry(), record_entry()] {
            let full = serde_json::to_value(EventBody::full(OrganizationId::FIRST, &entry)).unwrap();
            let thin = serde_json::to_value(EventBody::thin(OrganizationId::FIRST, &entry)).unwrap();
            let names: Vec<_> = full["changed"].as_object().unwrap().keys().cloned().collect();
            let mut shown: Vec<_> =
                thin["changed"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
            shown.sort();
            assert_eq!(shown, names);
            let (mut full, mut thin) = (full, thin);
            for name in ["actor", "idempotencyKey", "reason"] {
                full.as_object_mut().unwrap().remove(name);
            }
            full["changed"] = json!(null);
            thin["changed"] = json!(null);
            assert_eq!(full, thin);
        }
    }

    #[test]
    fn a_history_shows_an_event_as_the_feed_does() {
        let entry = customer_entry();
        let LoggedEvent::Customer(event) = entry.event.clone() else { unreachable!("it is a customer's") };
        let recorded = RecordedEvent { sequence: entry.sequence, event, audit: entry.audit.clone() };
        assert_eq!(
            written(&EventBody::of_customer(OrganizationId::FIRST, &recorded)),
            written(&EventBody::full(OrganizationId::FIRST, &entry))
        );
    }

    #[test]
    fn an_event_id_is_read_in_one_form_alone() {
        let id = EventId { organization: OrganizationId::parse(3).unwrap(), sequence: Sequence::parse(70).unwrap() };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        for text in ["", "evt_3", "evt_3_", "evt_3_0", "evt_0_1", "evt_03_70", "evt_3_+70", "evt_3_70_1", "3_70"] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }
}
