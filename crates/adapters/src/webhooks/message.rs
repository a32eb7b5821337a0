//! What is sent to an endpoint: headers and body of one message.
//!
//! Owns the body's envelope and the ids of messages. It must not know how a message travels.

use custodia_domain::Timestamp;
use custodia_domain::ports::LogEntry;
use custodia_domain::webhook::{PayloadForm, WebhookEndpoint, WebhookId};
use serde::Serialize;

use super::signature::sign;
use crate::event_json::EventBody;

/// The type of a message that is sent to try an endpoint.
pub const PING: &str = "webhook.ping";

/// A signed message to one endpoint. `Debug` is not derived: the body is personal data.
pub struct Message {
    /// Where it goes.
    pub url: String,
    /// `webhook-id`: the same on every try.
    pub id: String,
    /// `webhook-timestamp`: when this try was made, in seconds.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body: JSON.
    pub body: Vec<u8>,
}

/// The body of every message.
#[derive(Serialize)]
struct Envelope<'a, D> {
    r#type: &'a str,
    /// When it happened.
    timestamp: String,
    data: D,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PingData {
    endpoint_id: String,
}

impl Message {
    /// An event for an endpoint, tried at `now`. Its id is that of the event.
    #[must_use]
    pub fn of_event(endpoint: &WebhookEndpoint, entry: &LogEntry, now: Timestamp) -> Self {
        let organization = endpoint.organization();
        let data = match endpoint.form() {
            PayloadForm::Full => EventBody::full(organization, entry),
            PayloadForm::Thin => EventBody::thin(organization, entry),
        };
        let id = data.id().to_string();
        Self::new(endpoint, id, &Envelope { r#type: data.kind(), timestamp: data.at().to_string(), data }, now)
    }

    /// A message that says nothing; `random` makes its id.
    #[must_use]
    pub fn ping(endpoint: &WebhookEndpoint, random: u128, now: Timestamp) -> Self {
        let data = PingData { endpoint_id: shown(endpoint.id()) };
        let id = format!("ping_{random:032x}");
        Self::new(endpoint, id, &Envelope { r#type: PING, timestamp: now.to_string(), data }, now)
    }

    fn new<D: Serialize>(endpoint: &WebhookEndpoint, id: String, envelope: &Envelope<'_, D>, now: Timestamp) -> Self {
        let body = serde_json::to_vec(envelope).expect("a message is text and numbers");
        let timestamp = now.microseconds().div_euclid(1_000_000);
        let signature = sign(endpoint.secrets(now), &id, timestamp, &body);
        Self { url: endpoint.url().as_str().to_owned(), id, timestamp, signature, body }
    }
}

fn shown(id: WebhookId) -> String {
    id.to_string()
}
