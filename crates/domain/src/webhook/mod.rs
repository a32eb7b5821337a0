//! Webhook endpoints: to whom an organization's events are sent, which of them and in what form. Owns their rules and
//! events, and in `delivery` what becomes of each delivery. Must not know HTTP, signatures or how anything is stored.

mod delivery;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

pub use delivery::{
    Attempt, AttemptOutcome, DELAYS, DeliveryQuery, DeliveryRecord, DeliveryState, DeliveryStatus, DueDelivery,
    FailureKind, LONGEST_RETRY_AFTER, Replay, Replayed, Settlement, after_attempt,
};

use crate::customer::Impossible;
use crate::facets::labels;
use crate::record::{NamedChange, RecordEvent, RecordKind};
use crate::value::{TextError, checked, text};
use crate::{EventKind, Moment, OrganizationId, Outcome, Patch, Sequence, Timestamp, Value, Version};

/// How many endpoints an organization may have. Stores hold it too, where two creations race.
pub const ENDPOINTS_LIMIT: usize = 50;

text!(
    /// Where events are sent: 1 to 2048 code points without control characters or white space at its ends. That it is
    /// a URL, and of a kind that may be called, the edge checks.
    WebhookUrl, 2048, trimmed: false
);
text!(
    /// What an endpoint is for, in its owner's words: 1 to 500 code points.
    WebhookDescription, 500, trimmed: true
);
labels!(
    /// How much of an event is sent.
    PayloadForm {
        /// Ids, version and the names of changed fields.
        Thin = "thin",
        /// The whole event.
        Full = "full",
    }
);
labels!(
    /// Why an endpoint is disabled.
    DisableCause {
        /// It answered 410.
        Gone = "gone",
        /// Its owner wanted it.
        Requested = "requested",
    }
);

/// An endpoint's id: `we_` and 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(u128);

/// A text that is no endpoint's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be we_ and 32 lower-case hexadecimal digits")]
pub struct WebhookIdError;

impl WebhookId {
    /// A new id from random bits.
    #[must_use]
    pub const fn from_random(random: u128) -> Self {
        Self(random)
    }

    /// Reads an id, letter for letter.
    ///
    /// # Errors
    /// [`WebhookIdError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, WebhookIdError> {
        let digits = text.strip_prefix("we_").ok_or(WebhookIdError)?;
        let right = digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(digits, 16).map_err(|_| WebhookIdError);
        if right { number.map(Self) } else { Err(WebhookIdError) }
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "we_{:032x}", self.0)
    }
}

/// What an endpoint's signatures are made with. Shown once, when it is made; never in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret([u8; 32]);

impl WebhookSecret {
    /// The secret of those bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new secret from random bits.
    #[must_use]
    pub fn from_random(first: u128, second: u128) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&first.to_be_bytes());
        bytes[16..].copy_from_slice(&second.to_be_bytes());
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// The name of a kind of event, such as `customer.created`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName(&'static str);

/// A text that names no kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be the name of an event type")]
pub struct EventNameError;

impl EventName {
    /// Every name: those of customers' events, then those of other records'.
    pub fn all() -> impl Iterator<Item = Self> {
        let customers = EventKind::ALL.into_iter().map(EventKind::name);
        customers.chain(RecordKind::ALL.into_iter().map(RecordKind::name)).map(Self)
    }

    /// The name, if there are such events.
    ///
    /// # Errors
    /// [`EventNameError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, EventNameError> {
        Self::all().find(|name| name.0 == text).ok_or(EventNameError)
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Whether an endpoint is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointStatus {
    /// It is.
    Enabled,
    /// It is not: nothing is enqueued for it, and what is enqueued waits.
    Disabled {
        /// Since when.
        since: Timestamp,
        /// Why.
        cause: DisableCause,
    },
}

impl EndpointStatus {
    /// `enabled` or `disabled`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled { .. } => "disabled",
        }
    }
}

/// The secret before the present one, which signs too until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: WebhookSecret,
    /// Until when.
    pub until: Timestamp,
}

/// What a new endpoint is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Where events are sent.
    pub url: WebhookUrl,
    /// Which kinds of events; all where empty.
    pub kinds: BTreeSet<EventName>,
    /// How much of them.
    pub form: PayloadForm,
    /// What it is for.
    pub description: Option<WebhookDescription>,
}

/// A partial change of an endpoint; the default changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookPatch {
    /// Where events are sent.
    pub url: Option<WebhookUrl>,
    /// Which kinds of events; all where empty.
    pub kinds: Option<BTreeSet<EventName>>,
    /// How much of them.
    pub form: Option<PayloadForm>,
    /// Whether it is sent to; `true` enables it again whatever disabled it.
    pub enabled: Option<bool>,
    /// What it is for.
    pub description: Patch<WebhookDescription>,
}

/// An endpoint as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSnapshot {
    /// The tenant.
    pub organization: OrganizationId,
    /// Its id.
    pub id: WebhookId,
    /// Where events are sent.
    pub url: WebhookUrl,
    /// Which kinds of events; all where empty.
    pub kinds: BTreeSet<EventName>,
    /// How much of them.
    pub form: PayloadForm,
    /// What it is for.
    pub description: Option<WebhookDescription>,
    /// What signs.
    pub secret: WebhookSecret,
    /// What signs too, for a while.
    pub previous: Option<PreviousSecret>,
    /// Whether it is sent to.
    pub status: EndpointStatus,
    /// How many changes it has had.
    pub version: Version,
    /// When it came into being.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Up to which event deliveries are enqueued: at first the event of its own creation. The store alone moves it;
    /// no change of the endpoint does. `None` before it is stored.
    pub position: Option<Sequence>,
}

/// To whom an organization's events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEndpoint {
    state: WebhookSnapshot,
}

/// Why an endpoint cannot be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WebhookRefusal {
    /// The organization has [`ENDPOINTS_LIMIT`] already.
    #[error("an organization has at most {ENDPOINTS_LIMIT} webhook endpoints")]
    TooMany,
}

impl WebhookEndpoint {
    /// Creates an endpoint.
    #[must_use]
    pub fn create(
        organization: OrganizationId,
        id: WebhookId,
        secret: WebhookSecret,
        new: NewWebhook,
        moment: Moment,
    ) -> (Self, RecordEvent) {
        let NewWebhook { url, kinds, form, description } = new;
        let endpoint = Self {
            state: WebhookSnapshot {
                organization,
                id,
                url,
                kinds,
                form,
                description,
                secret,
                previous: None,
                status: EndpointStatus::Enabled,
                version: Version::FIRST,
                created_at: moment.at,
                updated_at: moment.at,
                position: None,
            },
        };
        let event = endpoint.event(RecordKind::WebhookCreated, NamedChange::between(Vec::new(), endpoint.values()));
        (endpoint, event)
    }

    /// The endpoint that a store kept.
    ///
    /// # Errors
    /// [`Impossible`] for a state that no command reaches.
    pub fn rehydrate(state: WebhookSnapshot) -> Result<Self, Impossible> {
        let since = match state.status {
            EndpointStatus::Enabled => state.created_at,
            EndpointStatus::Disabled { since, .. } => since,
        };
        if state.updated_at < state.created_at || since < state.created_at || since > state.updated_at {
            return Err(Impossible("times out of order"));
        }
        Ok(Self { state })
    }

    /// Changes what the patch names.
    pub fn update(&mut self, patch: &WebhookPatch, moment: Moment) -> Outcome<RecordEvent> {
        let mut after = self.state.clone();
        if let Some(url) = &patch.url {
            after.url = url.clone();
        }
        if let Some(kinds) = &patch.kinds {
            after.kinds.clone_from(kinds);
        }
        if let Some(form) = patch.form {
            after.form = form;
        }
        patch.description.apply(&mut after.description);
        match (patch.enabled, after.status) {
            (Some(true), EndpointStatus::Disabled { .. }) => after.status = EndpointStatus::Enabled,
            (Some(false), EndpointStatus::Enabled) => {
                after.status = EndpointStatus::Disabled { since: moment.at, cause: DisableCause::Requested };
            }
            (Some(true), EndpointStatus::Enabled)
            | (Some(false), EndpointStatus::Disabled { .. })
            | (None, EndpointStatus::Enabled | EndpointStatus::Disabled { .. }) => {}
        }
        self.become_state(after, moment)
    }

    /// Gives it a new secret; the present one signs too for so long. The one before that is forgotten.
    pub fn rotate(&mut self, secret: WebhookSecret, overlap: Duration, moment: Moment) -> Outcome<RecordEvent> {
        let mut after = self.state.clone();
        let before = std::mem::replace(&mut after.secret, secret);
        after.previous = Some(PreviousSecret { secret: before, until: moment.at.later_by(overlap) });
        self.become_state(after, moment)
    }

    /// Ends sending to it: unchanged where it is disabled already, whatever for.
    pub fn disable(&mut self, cause: DisableCause, moment: Moment) -> Outcome<RecordEvent> {
        match self.state.status {
            EndpointStatus::Disabled { .. } => Outcome::Unchanged,
            EndpointStatus::Enabled => {
                let mut after = self.state.clone();
                after.status = EndpointStatus::Disabled { since: moment.at, cause };
                self.become_state(after, moment)
            }
        }
    }

    /// Takes it out. The event says no more than that.
    #[must_use]
    pub fn delete(mut self, moment: Moment) -> RecordEvent {
        self.state.version = self.state.version.next();
        self.state.updated_at = moment.at.max(self.state.updated_at);
        self.event(RecordKind::WebhookDeleted, Vec::new())
    }

    fn become_state(&mut self, mut after: WebhookSnapshot, moment: Moment) -> Outcome<RecordEvent> {
        if after == self.state {
            return Outcome::Unchanged;
        }
        after.version = after.version.next();
        // A clock that was set back makes no change happen before the one it follows.
        after.updated_at = moment.at.max(self.state.updated_at);
        if let EndpointStatus::Disabled { since, .. } = &mut after.status {
            *since = (*since).max(self.state.created_at);
        }
        let before = self.values();
        self.state = after;
        let changes = NamedChange::between(before, self.values());
        Outcome::Applied(self.event(RecordKind::WebhookUpdated, changes))
    }

    fn event(&self, kind: RecordKind, changes: Vec<NamedChange>) -> RecordEvent {
        RecordEvent {
            kind,
            subject: self.state.id.to_string().into(),
            customer: None,
            external_id: None,
            version: self.state.version,
            at: self.state.updated_at,
            changes,
        }
    }

    /// What its events tell, by name: all but the secrets.
    fn values(&self) -> Vec<(&'static str, Value)> {
        let state = &self.state;
        let text = |text: &str| Value::Text(text.into());
        let kinds = state.kinds.iter().map(|kind| kind.as_str().into()).collect();
        let mut values = vec![
            ("url", text(state.url.as_str())),
            ("types", Value::List(kinds)),
            ("payload", text(state.form.label())),
            ("status", text(state.status.label())),
        ];
        if let EndpointStatus::Disabled { cause, .. } = state.status {
            values.push(("disabledReason", text(cause.label())));
        }
        if let Some(description) = &state.description {
            values.push(("description", text(description.as_str())));
        }
        if let Some(previous) = &state.previous {
            values.push(("previousSecretExpiresAt", Value::Instant(previous.until)));
        }
        values
    }

    /// Whether it is sent events of that kind.
    #[must_use]
    pub fn wants(&self, kind: &str) -> bool {
        self.state.kinds.is_empty() || self.state.kinds.iter().any(|wanted| wanted.as_str() == kind)
    }

    /// Whether it is sent to at all.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        matches!(self.state.status, EndpointStatus::Enabled)
    }

    /// What signs at that instant: its secret, then the one before while that holds too.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &WebhookSecret> {
        let previous = self.state.previous.as_ref().filter(|previous| now < previous.until);
        std::iter::once(&self.state.secret).chain(previous.map(|previous| &previous.secret))
    }

    /// All of it, for stores.
    #[must_use]
    pub const fn snapshot(&self) -> &WebhookSnapshot {
        &self.state
    }

    /// The tenant.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.state.organization
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> WebhookId {
        self.state.id
    }

    /// Where events are sent.
    #[must_use]
    pub const fn url(&self) -> &WebhookUrl {
        &self.state.url
    }

    /// Which kinds of events it is sent, in order; all where empty.
    #[must_use]
    pub const fn kinds(&self) -> &BTreeSet<EventName> {
        &self.state.kinds
    }

    /// How much of them.
    #[must_use]
    pub const fn form(&self) -> PayloadForm {
        self.state.form
    }

    /// What it is for.
    #[must_use]
    pub const fn description(&self) -> Option<&WebhookDescription> {
        self.state.description.as_ref()
    }

    /// What signs.
    #[must_use]
    pub const fn secret(&self) -> &WebhookSecret {
        &self.state.secret
    }

    /// What signs too, for a while.
    #[must_use]
    pub const fn previous(&self) -> Option<&PreviousSecret> {
        self.state.previous.as_ref()
    }

    /// Whether it is sent to.
    #[must_use]
    pub const fn status(&self) -> EndpointStatus {
        self.state.status
    }

    /// How many changes it has had.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.state.version
    }

    /// When it came into being.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.state.created_at
    }

    /// When it last changed.
    #[must_use]
    pub const fn updated_at(&self) -> Timestamp {
        self.state.updated_at
    }

    /// Up to which event deliveries are enqueued; `None` before it is stored.
    #[must_use]
    pub const fn position(&self) -> Option<Sequence> {
        self.state.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: i64) -> Moment {
        let at = Timestamp::from_microseconds(1_779_440_400_000_000 + second * 1_000_000).unwrap();
        Moment { at, today: at.date_utc() }
    }

    fn secret(byte: u8) -> WebhookSecret {
        WebhookSecret::from_bytes([byte; 32])
    }

    fn endpoint() -> (WebhookEndpoint, RecordEvent) {
        let new = NewWebhook {
            url: WebhookUrl::parse("https://example.com/hook").unwrap(),
            kinds: [EventName::parse("customer.created").unwrap()].into(),
            form: PayloadForm::Thin,
            description: None,
        };
        WebhookEndpoint::create(OrganizationId::FIRST, WebhookId::from_random(7), secret(1), new, moment(0))
    }

    fn names(event: &RecordEvent) -> Vec<&str> {
        event.changes.iter().map(|change| &*change.name).collect()
    }

    #[test]
    fn an_id_is_its_own_text_and_no_other() {
        let id = WebhookId::from_random(0xab);
        assert_eq!(id.to_string(), "we_000000000000000000000000000000ab");
        assert_eq!(WebhookId::parse(&id.to_string()), Ok(id));
        for text in [
            "",
            "we_",
            "000000000000000000000000000000ab",
            "we_0000000000000000000000000000000ab",
            "we_000000000000000000000000000000AB",
            "we_+00000000000000000000000000000ab",
            " we_000000000000000000000000000000ab",
        ] {
            assert_eq!(WebhookId::parse(text), Err(WebhookIdError), "{text}");
        }
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let (endpoint, event) = endpoint();
        let shown = format!("{endpoint:?} {event:?} {:?}", secret(1));
        assert!(!shown.contains("[1, 1") && shown.contains("WebhookSecret(..)"), "{shown}");
        assert_eq!(WebhookSecret::from_random(1, 2).bytes()[15], 1);
        assert_eq!(WebhookSecret::from_random(1, 2).bytes()[31], 2);
    }

    #[test]
    fn a_creation_tells_all_but_the_secret() {
        let (endpoint, event) = endpoint();
        assert_eq!((event.kind.name(), &*event.subject), ("webhook_endpoint.created", &*endpoint.id().to_string()));
        assert_eq!(names(&event), ["url", "types", "payload", "status"]);
        assert!(endpoint.wants("customer.created") && !endpoint.wants("customer.closed") && endpoint.is_enabled());
    }

    #[test]
    fn an_update_tells_what_it_changed_and_one_that_changes_nothing_is_none() {
        let (mut endpoint, _) = endpoint();
        assert_eq!(endpoint.update(&WebhookPatch::default(), moment(1)), Outcome::Unchanged);
        let same = WebhookPatch { form: Some(PayloadForm::Thin), enabled: Some(true), ..WebhookPatch::default() };
        assert_eq!(endpoint.update(&same, moment(1)), Outcome::Unchanged);
        assert_eq!(endpoint.version(), Version::FIRST);
        let patch = WebhookPatch {
            kinds: Some(BTreeSet::new()),
            enabled: Some(false),
            description: Patch::Set(WebhookDescription::parse(" for the ledger ").unwrap()),
            ..WebhookPatch::default()
        };
        let event = endpoint.update(&patch, moment(2)).applied().unwrap();
        assert_eq!(names(&event), ["types", "status", "disabledReason", "description"]);
        assert_eq!((event.version.get(), endpoint.version().get(), event.at), (2, 2, moment(2).at));
        assert!(endpoint.wants("customer.closed"), "no kinds are all kinds");
        let status = EndpointStatus::Disabled { since: moment(2).at, cause: DisableCause::Requested };
        assert_eq!(endpoint.status(), status);
        assert_eq!(endpoint.disable(DisableCause::Gone, moment(3)), Outcome::Unchanged);
        let enable = WebhookPatch { enabled: Some(true), ..WebhookPatch::default() };
        assert!(endpoint.update(&enable, moment(4)).applied().is_some() && endpoint.is_enabled());
    }

    #[test]
    fn both_secrets_sign_while_a_rotation_lasts() {
        let (mut endpoint, _) = endpoint();
        let event = endpoint.rotate(secret(2), Duration::from_mins(1), moment(10)).applied().unwrap();
        assert_eq!(names(&event), ["previousSecretExpiresAt"]);
        let signing = |second| endpoint.secrets(moment(second).at).map(|secret| secret.bytes()[0]).collect::<Vec<_>>();
        assert_eq!((signing(69), signing(70)), (vec![2, 1], vec![2]));
        let mut again = endpoint.clone();
        let _ = again.rotate(secret(3), Duration::ZERO, moment(11));
        assert_eq!(again.secrets(moment(11).at).count(), 1, "no overlap: the old one ends at once");
        assert_eq!(again.version().get(), 3);
    }

    #[test]
    fn a_deletion_is_a_change_that_tells_nothing() {
        let (endpoint, _) = endpoint();
        let event = endpoint.delete(moment(5));
        assert_eq!((event.kind.name(), event.version.get()), ("webhook_endpoint.deleted", 2));
        assert!(event.changes.is_empty());
    }

    #[test]
    fn what_no_command_reaches_is_not_rehydrated() {
        let (endpoint, _) = endpoint();
        let state = endpoint.snapshot().clone();
        assert_eq!(WebhookEndpoint::rehydrate(state.clone()), Ok(endpoint));
        let early = WebhookSnapshot { updated_at: moment(-1).at, ..state.clone() };
        assert!(WebhookEndpoint::rehydrate(early).is_err());
        let status = EndpointStatus::Disabled { since: moment(1).at, cause: DisableCause::Gone };
        assert!(WebhookEndpoint::rehydrate(WebhookSnapshot { status, ..state }).is_err());
    }

    #[test]
    fn every_event_has_a_name_that_can_be_asked_for() {
        assert_eq!(EventName::all().count(), EventKind::ALL.len() + RecordKind::ALL.len());
        for name in EventName::all() {
            assert_eq!(EventName::parse(name.as_str()), Ok(name));
        }
        assert_eq!(EventName::parse("customer.*"), Err(EventNameError));
    }
}
