//! Webhook endpoints: registered, read, changed, tried, and what became of the deliveries to them.
//!
//! Owns the members of an endpoint and of a delivery on the wire. It must not know how anything is sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use custodia_domain::registry::{Caller, OperationError};
use custodia_domain::webhook::{
    Attempt, DeliveryQuery, DeliveryRecord, DeliveryState, DeliveryStatus, EndpointStatus, EventName, NewWebhook,
    PayloadForm, Replayed, WebhookDescription, WebhookEndpoint, WebhookId, WebhookPatch, WebhookUrl,
};
use custodia_domain::{Answer, CustomerId, OrganizationId, Sequence, Timestamp};
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::call::{BareWrite, Call, Read, Write, json_answer};
use super::error::{Problems, Refused, absent, refusal};
use super::events::read_within;
use super::fields::Fields;
use super::list::{linked, others, read_choice};
use super::view::Shown;
use super::{Lms, schema};
use crate::event_json::EventId;
use crate::http::conditional::{etag, is_known};
use crate::http::cursor::{Walk, filter_hash};
use crate::http::idempotency::respond;
use crate::http::json::Json;
use crate::http::query::path_param;
use crate::webhooks::{EndpointUrl, Message, Outbound, Reply, secret_text};

const DELIVERIES: &str = "/v1/webhook-endpoints/{endpoint_id}/deliveries";
const ID: &str = "endpoint_id";
const ABSENT: &str = "there is no such webhook endpoint";

/// How long a replaced secret signs too, unless said otherwise, and at most: a day and a week, in seconds.
const OVERLAP: i64 = 86_400;
const LONGEST_OVERLAP: i64 = 7 * 86_400;

/// How many endpoints are tried at once, over all callers: a try may take 15 s, and is outside the limit of requests in
/// flight.
const PINGS_AT_ONCE: usize = 32;

/// What the handlers need to call endpoints.
#[derive(Clone)]
pub(super) struct Hooks {
    outbound: Outbound,
    pings: Arc<Semaphore>,
}

impl Hooks {
    pub(super) fn new(outbound: Outbound) -> Self {
        Self { outbound, pings: Arc::new(Semaphore::new(PINGS_AT_ONCE)) }
    }
}

/// Documented as [`schema::WebhookEndpoint`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointBody<'a> {
    id: Shown<WebhookId>,
    url: &'a str,
    types: Vec<&'static str>,
    payload: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<Shown<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_expires_at: Option<Shown<Timestamp>>,
    version: i64,
    created_at: Shown<Timestamp>,
    updated_at: Shown<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

impl<'a> From<&'a WebhookEndpoint> for EndpointBody<'a> {
    fn from(endpoint: &'a WebhookEndpoint) -> Self {
        let (reason, since) = match endpoint.status() {
            EndpointStatus::Enabled => (None, None),
            EndpointStatus::Disabled { since, cause } => (Some(cause.label()), Some(Shown(since))),
        };
        Self {
            id: Shown(endpoint.id()),
            url: endpoint.url().as_str(),
            types: endpoint.kinds().iter().map(|kind| kind.as_str()).collect(),
            payload: endpoint.form().label(),
            description: endpoint.description().map(WebhookDescription::as_str),
            enabled: endpoint.is_enabled(),
            disabled_reason: reason,
            disabled_at: since,
            previous_secret_expires_at: endpoint.previous().map(|previous| Shown(previous.until)),
            version: endpoint.version().get(),
            created_at: Shown(endpoint.created_at()),
            updated_at: Shown(endpoint.updated_at()),
            secret: None,
        }
    }
}

fn endpoint_answer(endpoint: &WebhookEndpoint) -> Answer {
    with_version(&EndpointBody::from(endpoint), endpoint)
}

/// The one answer that shows the secret.
fn revealing_answer(endpoint: &WebhookEndpoint) -> Answer {
    let secret = secret_text(endpoint.secret());
    with_version(&EndpointBody { secret: Some(&secret), ..EndpointBody::from(endpoint) }, endpoint)
}

fn with_version(body: &EndpointBody<'_>, endpoint: &WebhookEndpoint) -> Answer {
    let mut answer = written(body);
    answer.headers.push(etag(endpoint.version()));
    answer
}

fn written(body: &impl Serialize) -> Answer {
    json_answer(serde_json::to_vec(body).expect("a body is text and numbers"))
}

/// What an operation answers; its refusals speak of endpoints.
fn rendered<T>(result: Result<&T, &OperationError>, done: impl Fn(&T) -> Answer, caller: &Caller) -> Answer {
    match result {
        Ok(shown) => done(shown),
        Err(OperationError::NotFound) => absent(ABSENT),
        Err(error) => refusal(error, &caller.request_id, caller.key.is_some()),
    }
}

#[derive(Serialize)]
struct ListBody<'a> {
    items: Vec<EndpointBody<'a>>,
}

/// Register an endpoint
///
/// It is sent the events that follow its registration. The answer shows its secret, which is never shown again; rotate it
/// to get another one.
#[utoipa::path(post, path = "/v1/webhook-endpoints", operation_id = "createWebhookEndpoint", tag = "Webhooks",
    request_body(content = schema::CreateWebhookEndpoint, example = json!({"url": "https://example.com/hooks",
        "types": ["customer.created", "customer.closed"], "payload": "thin"})),
    responses((status = 200, description = "The endpoint with its secret", body = schema::WebhookEndpoint)))]
pub(super) async fn create(State(lms): State<Lms>, Write(mut call): Write) -> Result<Response, Refused> {
    let new = read_new(call.body.as_ref(), lms.hooks.outbound.insecure, &mut call.problems);
    let (caller, new) = call.ready(new)?;
    let created =
        lms.registry.create_webhook(&caller, &new, |result| rendered(result, revealing_answer, &caller)).await;
    Ok(respond(created))
}

/// List the endpoints
///
/// All of the organization's, at most 50, by their registration.
#[utoipa::path(get, path = "/v1/webhook-endpoints", operation_id = "listWebhookEndpoints", tag = "Webhooks",
    responses((status = 200, description = "The endpoints", body = schema::WebhookEndpointList)))]
pub(super) async fn list(State(lms): State<Lms>, Read(call): Read) -> Result<Response, Refused> {
    let (caller, ()) = call.ready(Some(()))?;
    let found = lms.registry.webhooks(caller.organization).await;
    let found = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    Ok(respond(written(&ListBody { items: found.iter().map(EndpointBody::from).collect() })))
}

/// Read an endpoint
#[utoipa::path(get, path = "/v1/webhook-endpoints/{endpoint_id}", operation_id = "getWebhookEndpoint", tag = "Webhooks",
    responses((status = 200, description = "The endpoint", body = schema::WebhookEndpoint)))]
pub(super) async fn get(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let id = read_id(&mut call);
    let headers = call.parts.headers.clone();
    let (caller, id) = call.ready(id)?;
    let found = lms.registry.webhook(caller.organization, id).await;
    let found = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    let endpoint = found.ok_or_else(|| Refused::absent(ABSENT))?;
    let version = endpoint.version();
    if is_known(&headers, version) {
        return Ok((StatusCode::NOT_MODIFIED, [("etag", etag(version).1.into_string())]).into_response());
    }
    Ok(respond(endpoint_answer(&endpoint)))
}

/// Change an endpoint
///
/// Members left out stay as they are. What is enqueued already is sent as it was wanted then. An endpoint that is enabled
/// again is sent all that happened meanwhile, but not what was parked before, such as what it answered with 410: replay that.
#[utoipa::path(patch, path = "/v1/webhook-endpoints/{endpoint_id}", operation_id = "updateWebhookEndpoint",
    tag = "Webhooks", request_body(content = schema::UpdateWebhookEndpoint, example = json!({"enabled": false})),
    responses((status = 200, description = "The endpoint as it is now", body = schema::WebhookEndpoint)))]
pub(super) async fn patch(State(lms): State<Lms>, Write(mut call): Write) -> Result<Response, Refused> {
    let patch = read_patch(call.body.as_ref(), lms.hooks.outbound.insecure, &mut call.problems);
    let id = read_id(&mut call);
    let (caller, (id, patch)) = call.ready(id.zip(patch))?;
    let changed =
        lms.registry.update_webhook(&caller, id, &patch, |result| rendered(result, endpoint_answer, &caller)).await;
    Ok(respond(changed))
}

/// Delete an endpoint
///
/// What is enqueued for it is not sent any more.
#[utoipa::path(delete, path = "/v1/webhook-endpoints/{endpoint_id}", operation_id = "deleteWebhookEndpoint",
    tag = "Webhooks", responses((status = 200, description = "The endpoint is gone; the body is empty")))]
pub(super) async fn delete(State(lms): State<Lms>, BareWrite(mut call): BareWrite) -> Result<Response, Refused> {
    no_members(&mut call);
    let id = read_id(&mut call);
    let (caller, id) = call.ready(id)?;
    let gone = |_: &WebhookEndpoint| Answer { status: 200, headers: Vec::new(), body: Vec::new() };
    Ok(respond(lms.registry.delete_webhook(&caller, id, |result| rendered(result, gone, &caller)).await))
}

/// Give an endpoint a new secret
///
/// The one before signs too for 24 hours, or for as long as is said: each message then bears two signatures. One that was
/// replaced earlier signs no longer.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{endpoint_id}/rotate", operation_id = "rotateWebhookSecret",
    tag = "Webhooks", request_body(content = Option<schema::RotateWebhookSecret>, example = json!({"overlapSeconds": 3600})),
    responses((status = 200, description = "The endpoint with its new secret",
        body = schema::WebhookEndpoint)))]
pub(super) async fn rotate(State(lms): State<Lms>, BareWrite(mut call): BareWrite) -> Result<Response, Refused> {
    let overlap = read_overlap(call.body.as_ref(), &mut call.problems);
    let id = read_id(&mut call);
    let (caller, id) = call.ready(id)?;
    let rotated =
        lms.registry.rotate_webhook(&caller, id, overlap, |result| rendered(result, revealing_answer, &caller)).await;
    Ok(respond(rotated))
}

/// Documented as [`schema::WebhookPing`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PingBody {
    delivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    duration_ms: u64,
}

/// Try an endpoint
///
/// Sends a signed message of type `webhook.ping` now, whether the endpoint is enabled or not, and tells what it answered.
/// Nothing is tried again, and nothing is noted.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{endpoint_id}/ping", operation_id = "pingWebhookEndpoint",
    tag = "Webhooks", responses((status = 200, description = "What came of it", body = schema::WebhookPing)))]
pub(super) async fn ping(State(lms): State<Lms>, BareWrite(mut call): BareWrite) -> Result<Response, Refused> {
    no_members(&mut call);
    let id = read_id(&mut call);
    let (caller, id) = call.ready(id)?;
    let _turn = lms.hooks.pings.try_acquire().map_err(|_| Refused::busy())?;
    let courier = &lms.hooks.outbound.courier;
    let send = |endpoint: WebhookEndpoint, random, moment: custodia_domain::Moment| async move {
        courier.carry(&Message::ping(&endpoint, random, moment.at)).await
    };
    let tell = |reply: &Reply| {
        let failure = reply.failure.map(custodia_domain::webhook::FailureKind::label);
        let duration_ms = u64::try_from(reply.took.as_millis()).unwrap_or(u64::MAX);
        written(&PingBody { delivered: failure.is_none(), status: reply.status, failure, duration_ms })
    };
    Ok(respond(lms.registry.ping_webhook(&caller, id, send, |result| rendered(result, tell, &caller)).await))
}

/// Documented as [`schema::WebhookReplay`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayBody {
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// What is to be delivered once more.
enum Range {
    Event(EventId),
    Sequences(Sequence, Sequence),
}

/// Deliver events once more
///
/// One event by its id, or all wanted ones from one sequence to another, at most 10,000 at a time; events before the
/// endpoint's registration too. They are sent soon, in order, under the ids that they always have.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{endpoint_id}/replay", operation_id = "replayWebhookEvents",
    tag = "Webhooks", request_body(content = schema::ReplayWebhookEvents, examples(
        ("one" = (summary = "One event", value = json!({"event": "evt_1_42"}))),
        ("range" = (summary = "A range", value = json!({"from": 40, "to": 60}))))),
    responses((status = 200, description = "How many deliveries are pending by it", body = schema::WebhookReplay)))]
pub(super) async fn replay(State(lms): State<Lms>, Write(mut call): Write) -> Result<Response, Refused> {
    let range = read_range(call.body.as_ref(), &mut call.problems);
    let id = read_id(&mut call);
    let (caller, (id, range)) = call.ready(id.zip(range))?;
    let (from, to) = match range {
        Range::Sequences(from, to) => (from, to),
        Range::Event(event) => {
            let last = lms.registry.last_sequence(caller.organization).await;
            let last = last.map_err(|error| Refused::store(&error, &caller.request_id))?;
            if event.organization != caller.organization || last.is_none_or(|last| event.sequence > last) {
                return Err(Refused::absent("there is no such event"));
            }
            (event.sequence, event.sequence)
        }
    };
    let tell = |replayed: &Replayed| {
        let next = replayed.cut_after.map(|last| last.get().saturating_add(1));
        written(&ReplayBody { count: replayed.count, next })
    };
    let replayed = lms.registry.replay_webhook(&caller, id, from, to, |result| rendered(result, tell, &caller)).await;
    Ok(respond(replayed))
}

/// Documented as [`schema::WebhookDelivery`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryBody {
    event: Shown<EventId>,
    sequence: i64,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<Shown<CustomerId>>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Shown<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Shown<Timestamp>>,
    attempts: Vec<AttemptBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptBody {
    at: Shown<Timestamp>,
    duration_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
}

impl From<&Attempt> for AttemptBody {
    fn from(attempt: &Attempt) -> Self {
        Self {
            at: Shown(attempt.at),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            failure: attempt.failure.map(custodia_domain::webhook::FailureKind::label),
        }
    }
}

impl DeliveryBody {
    fn of(organization: OrganizationId, record: &DeliveryRecord) -> Self {
        let (next, ended) = match record.state {
            DeliveryState::Pending { next_at } => (Some(Shown(next_at)), None),
            DeliveryState::Delivered { at } | DeliveryState::Parked { at } => (None, Some(Shown(at))),
        };
        Self {
            event: Shown(EventId { organization, sequence: record.sequence }),
            sequence: record.sequence.get(),
            r#type: record.kind.as_str(),
            customer_id: record.customer.map(Shown),
            state: record.state.status().label(),
            next_attempt_at: next,
            ended_at: ended,
            attempts: record.log.iter().map(AttemptBody::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct DeliveriesBody<'a> {
    items: Vec<DeliveryBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

/// See what became of the deliveries
///
/// Newest event first, each with every attempt: when, how long, and what was answered or went wrong; never a body. What is
/// delivered or parked is kept for 30 days, unless the deployment says otherwise.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{endpoint_id}/deliveries", operation_id = "listWebhookDeliveries",
    tag = "Webhooks", params(schema::ListWebhookDeliveries),
    responses((status = 200, description = "A page of deliveries", body = schema::WebhookDeliveryList,
        headers(("Link" = String, description = "The next page, `rel=\"next\"`; absent on the last one")))))]
pub(super) async fn deliveries(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let wanted = read_id(&mut call).map(|endpoint| read_deliveries(&lms, &mut call, endpoint));
    let (others, uri) = (others(&call.query), call.parts.uri.clone());
    let (caller, wanted) = call.ready(wanted)?;
    let found = lms.registry.deliveries(&wanted).await;
    let found = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    let found = found.ok_or_else(|| Refused::absent(ABSENT))?;
    let last = found.last().filter(|_| found.len() >= usize::from(wanted.limit)).map(|record| record.sequence);
    let next = last.map(|last| lms.cursors.seal(&walk_of(&wanted), &last.get().to_be_bytes()));
    let items = found.iter().map(|record| DeliveryBody::of(wanted.organization, record)).collect();
    let answer = written(&DeliveriesBody { items, next: next.as_deref() });
    Ok(linked(answer, uri.path(), &others, next.as_deref()))
}

/// Which deliveries to an endpoint are wanted; problems say what cannot be read.
fn read_deliveries(lms: &Lms, call: &mut Call, endpoint: WebhookId) -> DeliveryQuery {
    let (query, problems) = (&mut call.query, &mut call.problems);
    let status = read_choice(query, problems, "state", status_of, "must be pending, delivered or parked");
    let limit = u8::try_from(read_within(query, problems, "limit", (1, 20, 100))).expect("100 fits 8 bits");
    let organization = call.principal.organization;
    let mut wanted = DeliveryQuery { organization, endpoint, status, before: None, limit };
    if let Some(cursor) = query.take("after").filter(|cursor| !cursor.is_empty()) {
        wanted.before = lms.cursors.open(&walk_of(&wanted), cursor).ok().and_then(|bytes| sequence_of(&bytes));
        if wanted.before.is_none() {
            problems.add("after", "is not a cursor of this list with these filters");
        }
    }
    wanted
}

/// The walk of that list, wherever it stands.
fn walk_of(wanted: &DeliveryQuery) -> Walk<'static> {
    let (endpoint, status) = (wanted.endpoint.to_string(), wanted.status.map_or("", DeliveryStatus::label));
    let filter = filter_hash([endpoint.as_str(), status]);
    Walk { route: DELIVERIES, organization: wanted.organization, filter }
}

fn sequence_of(bytes: &[u8]) -> Option<Sequence> {
    Sequence::parse(i64::from_be_bytes(bytes.try_into().ok()?)).ok()
}

fn status_of(label: &str) -> Option<DeliveryStatus> {
    DeliveryStatus::from_label(label)
}

/// The endpoint that the path names; `None`, and a problem, where it can name none.
fn read_id(call: &mut Call) -> Option<WebhookId> {
    let text = path_param(&call.parts, ID).map_err(|error| error.to_string());
    let id = text.and_then(|text| WebhookId::parse(&text).map_err(|error| error.to_string()));
    id.map_err(|error| call.problems.add(ID, error)).ok()
}

/// Notes every member of a body that needs none.
fn no_members(call: &mut Call) {
    if let Some(fields) = Fields::of(call.body.as_ref(), &mut call.problems) {
        fields.finish();
    }
}

fn read_new(body: Option<&Json>, insecure: bool, problems: &mut Problems) -> Option<NewWebhook> {
    let mut fields = Fields::of(body, problems)?;
    fields.require("url");
    let url = fields.text("url", |text| parse_url(text, insecure));
    let kinds = fields.any("types", read_kinds).unwrap_or_default();
    let form = fields.text("payload", parse_form).unwrap_or(PayloadForm::Thin);
    let description = fields.text("description", WebhookDescription::parse);
    fields.finish();
    Some(NewWebhook { url: url?, kinds, form, description })
}

fn read_patch(body: Option<&Json>, insecure: bool, problems: &mut Problems) -> Option<WebhookPatch> {
    let mut fields = Fields::of(body, problems)?;
    if fields.len() == 0 {
        fields.problem("body", "must have at least one member");
    }
    let patch = WebhookPatch {
        url: fields.set("url", |text| parse_url(text, insecure)),
        kinds: fields.any("types", read_kinds),
        form: fields.set("payload", parse_form),
        enabled: fields.boolean("enabled"),
        description: fields.patch("description", WebhookDescription::parse),
    };
    fields.finish();
    Some(patch)
}

fn read_overlap(body: Option<&Json>, problems: &mut Problems) -> Duration {
    let read = |value: &Json| match value.as_i64() {
        Some(seconds) if (0..=LONGEST_OVERLAP).contains(&seconds) => Ok(seconds),
        _ => Err(format!("must be a whole number from 0 to {LONGEST_OVERLAP}")),
    };
    let given = Fields::of(body, problems).and_then(|mut fields| {
        let given = fields.any("overlapSeconds", read);
        fields.finish();
        given
    });
    Duration::from_secs(given.unwrap_or(OVERLAP).unsigned_abs())
}

fn read_range(body: Option<&Json>, problems: &mut Problems) -> Option<Range> {
    let sequence = |value: &Json| {
        let parsed = value.as_i64().and_then(|number| Sequence::parse(number).ok());
        parsed.ok_or_else(|| "must be a positive whole number".to_owned())
    };
    let mut fields = Fields::of(body, problems)?;
    let given = ["event", "from", "to"].map(|name| fields.has(name));
    let event = fields.text("event", |text| EventId::parse(text).ok_or("must be the id of an event"));
    let (from, to) = (fields.any("from", sequence), fields.any("to", sequence));
    match given {
        [false, false, _] => fields.problem("event", "required, unless from is given"),
        [true, true, _] => fields.problem("from", "must not be given beside event"),
        [true, false, true] => fields.problem("to", "must not be given beside event"),
        [true, false, false] | [false, true, _] => {}
    }
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        fields.problem("to", "must not be before from");
    }
    fields.finish();
    let last = Sequence::parse(i64::MAX).expect("the greatest number is positive");
    event.map(Range::Event).or_else(|| from.map(|from| Range::Sequences(from, to.unwrap_or(last))))
}

fn parse_url(text: &str, insecure: bool) -> Result<WebhookUrl, String> {
    EndpointUrl::parse(text, insecure).map_err(|error| error.to_string())?;
    WebhookUrl::parse(text).map_err(|error| error.to_string())
}

fn parse_form(text: &str) -> Result<PayloadForm, &'static str> {
    PayloadForm::from_label(text).ok_or("must be thin or full")
}

fn read_kinds(value: &Json) -> Result<BTreeSet<EventName>, String> {
    let names = value.as_array().ok_or("must be an array of event types")?;
    let mut kinds = BTreeSet::new();
    let mut unknown = 0;
    for name in names {
        match name.as_str().and_then(|name| EventName::parse(name).ok()) {
            Some(kind) => drop(kinds.insert(kind)),
            None => unknown += 1,
        }
    }
    if unknown == 0 { Ok(kinds) } else { Err(format!("has {unknown} items that are no event type")) }
}
