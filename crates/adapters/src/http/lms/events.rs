//! The feed of an organization's events: everything that was committed, in order, page by page, with a wait for the next.
//!
//! Owns the parameters, the cursor and the waiting. It must not know how events are stored or written down.
//!
//! A request that waits is outside the limit of requests in flight, and has a deadline of its own (see
//! [`HttpLimits`](crate::http::HttpLimits)): it costs a connection and no work. What does cost work, reading a page, is
//! bounded here instead: [`READS_AT_ONCE`] pages are read at once, and further readers wait for their turn.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use custodia_domain::ports::StoreError;
use custodia_domain::registry::{FeedPage, FeedQuery};
use custodia_domain::{CustomerId, OrganizationId, Sequence};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::call::{Call, Read, json_answer};
use super::error::{Problems, Refused};
use super::selector::parse_id;
use super::{Lms, schema};
use crate::arrivals::{Arrivals, Waited};
use crate::event_json::{EventBody, type_named};
use crate::http::cursor::{CursorKey, Walk};
use crate::http::idempotency::respond;
use crate::http::query::Query;

const ROUTE: &str = "/v1/events";
const DEFAULT_LIMIT: u16 = 100;
const MOST_EVENTS: u16 = 500;
const LONGEST_WAIT: u16 = 30;

/// How many pages are read at once, over all readers.
const READS_AT_ONCE: usize = 64;

/// How long a reader rests that was woken for events it does not want: it must not ask at every commit.
const REST: Duration = Duration::from_millis(100);

/// How many unknown types are told by name, and how much of a name: an answer should not outgrow the question.
const MOST_UNKNOWN: usize = 20;
const LONGEST_NAME: usize = 64;

/// What the readers of the feed share.
#[derive(Clone)]
pub(super) struct Feed {
    arrivals: Arc<Arrivals>,
    reads: Arc<Semaphore>,
}

impl Feed {
    pub(super) fn new(arrivals: Arc<Arrivals>) -> Self {
        Self { arrivals, reads: Arc::new(Semaphore::new(READS_AT_ONCE)) }
    }
}

/// Documented as [`schema::EventPage`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageBody<'a> {
    events: Vec<EventBody<'a>>,
    next_cursor: &'a str,
    more: bool,
}

/// Where a reader goes on.
#[derive(Clone, Copy)]
enum Start {
    After(Option<Sequence>),
    Now,
}

/// What a client asks of the feed.
struct Wanted {
    start: Start,
    kinds: Vec<&'static str>,
    customer: Option<CustomerId>,
    limit: u16,
    wait: Duration,
}

/// Follow the events
///
/// Every change of the organization's records, in the order of the commits: nothing committed is ever skipped, and a
/// customer's versions ascend without a gap. Read a page, do what it asks for, keep `nextCursor`, and read on from there.
/// With `wait` an answer comes as soon as there is an event, or empty when the time is over.
#[utoipa::path(get, path = "/v1/events", operation_id = "listEvents", tag = "Events", params(schema::ListEvents),
    responses((status = 200, description = "A page of events, which may be empty", body = schema::EventPage)))]
pub(super) async fn list(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let wanted = Wanted::read(&mut call, &lms.cursors);
    let (caller, wanted) = call.ready(Some(wanted))?;
    let page = wanted.follow(&lms, caller.organization).await;
    let page = page.map_err(|error| Refused::store(&error, &caller.request_id))?;
    Ok(answer(&lms.cursors, caller.organization, &page))
}

impl Wanted {
    /// Reads the query. Where problems are noted, what could not be read has its default.
    fn read(call: &mut Call, cursors: &CursorKey) -> Self {
        let organization = call.principal.organization;
        let (query, problems) = (&mut call.query, &mut call.problems);
        let start = match query.take("after") {
            None | Some("") => Start::After(None),
            Some("now") => Start::Now,
            Some(cursor) => open(cursors, organization, cursor).unwrap_or_else(|| {
                problems.add("after", "is neither `now` nor a cursor of this organization's events");
                Start::Now
            }),
        };
        let customer = query.take("customerId").map(|text| {
            let id = parse_id(text);
            if id.is_none() {
                problems.add("customerId", "must be a positive integer");
            }
            id
        });
        Self {
            start,
            kinds: read_types(query, problems),
            customer: customer.flatten(),
            limit: read_within(query, problems, "limit", (1, DEFAULT_LIMIT, MOST_EVENTS)),
            wait: Duration::from_secs(read_within(query, problems, "wait", (0, 0, LONGEST_WAIT)).into()),
        }
    }

    /// The next page with an event, or what there is when the wait is over.
    async fn follow(self, lms: &Lms, organization: OrganizationId) -> Result<FeedPage, StoreError> {
        let deadline = Instant::now() + self.wait;
        // Before anything is read: what is committed between a read and the wait is told.
        let mut watcher = (!self.wait.is_zero()).then(|| lms.feed.arrivals.watch(organization));
        let after = match self.start {
            Start::After(after) => after,
            Start::Now => lms.registry.last_sequence(organization).await?,
        };
        let mut query =
            FeedQuery { organization, after, kinds: self.kinds, customer: self.customer, limit: self.limit };
        let mut woken = false;
        loop {
            let page = lms.read_feed(&query).await?;
            let Some(watcher) = watcher.as_mut().filter(|_| page.entries.is_empty() && !page.more) else {
                return Ok(page);
            };
            if woken {
                watcher.rest(REST.min(deadline.saturating_duration_since(Instant::now()))).await;
            }
            if watcher.after(page.looked_through, deadline).await != Waited::Arrived {
                return Ok(page);
            }
            woken = true;
            query.after = page.looked_through;
        }
    }
}

impl Lms {
    async fn read_feed(&self, query: &FeedQuery) -> Result<FeedPage, StoreError> {
        let _turn = self.feed.reads.acquire().await.expect("the semaphore is never closed");
        self.registry.feed(query).await
    }
}

fn answer(cursors: &CursorKey, organization: OrganizationId, page: &FeedPage) -> Response {
    let next_cursor = seal(cursors, organization, page.looked_through);
    let events = page.entries.iter().map(|entry| EventBody::full(organization, entry)).collect();
    let body = PageBody { events, next_cursor: &next_cursor, more: page.more };
    respond(json_answer(serde_json::to_vec(&body).expect("events are text and numbers")))
}

/// A cursor is bound to the organization and to no filter: a reader may change what it wants and go on.
const fn walk(organization: OrganizationId) -> Walk<'static> {
    Walk { route: ROUTE, organization, filter: [0; 32] }
}

fn seal(cursors: &CursorKey, organization: OrganizationId, place: Option<Sequence>) -> String {
    cursors.seal(&walk(organization), &place.map_or(0, Sequence::get).to_be_bytes())
}

/// The place that a cursor names; `None` for every other text.
fn open(cursors: &CursorKey, organization: OrganizationId, cursor: &str) -> Option<Start> {
    let payload = cursors.open(&walk(organization), cursor).ok()?;
    match i64::from_be_bytes(payload.try_into().ok()?) {
        0 => Some(Start::After(None)),
        place => Sequence::parse(place).ok().map(|place| Start::After(Some(place))),
    }
}

fn read_types(query: &mut Query, problems: &mut Problems) -> Vec<&'static str> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for name in query.take("types").into_iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()) {
        match type_named(name) {
            Some(kind) if !known.contains(&kind) => known.push(kind),
            Some(_) => {}
            None => unknown.push(shown(name)),
        }
    }
    if !unknown.is_empty() {
        unknown.truncate(MOST_UNKNOWN);
        problems.add("types", format!("unknown: {}", unknown.join(", ")));
    }
    known
}

/// A name as far as it can be one.
fn shown(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect()
}

/// A whole number from the least to the greatest of the bounds, or the one between them where none is given.
pub(super) fn read_within(
    query: &mut Query,
    problems: &mut Problems,
    name: &'static str,
    bounds: (u16, u16, u16),
) -> u16 {
    let (least, default, greatest) = bounds;
    let Some(text) = query.take(name) else {
        return default;
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (least..=greatest).contains(number));
    number.unwrap_or_else(|| {
        problems.add(name, format!("must be a whole number from {least} to {greatest}"));
        default
    })
}
