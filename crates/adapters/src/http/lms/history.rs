//! What was: a customer's history, and the customer as it was.
//!
//! Owns their parameters and the history's envelope. It must not know how events are kept nor how they are written down.

use axum::extract::State;
use axum::response::Response;
use custodia_domain::ports::Selector;
use custodia_domain::registry::{AsOf, HistoryPage};
use custodia_domain::{CustomerId, OrganizationId, Timestamp, Version};
use serde::Serialize;

use super::call::{Call, Read, json_answer};
use super::error::{Problems, Refused};
use super::list::{linked, others, read_rows};
use super::{Lms, schema};
use crate::event_json::EventBody;
use crate::http::cursor::{CursorKey, Walk, filter_hash};
use crate::http::query::Query;

const ROUTE: &str = "/v1/customers/{customer_id}/history";
const DEFAULT_ROWS: i64 = 50;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HistoryBody<'a> {
    items: Vec<EventBody<'a>>,
    rows_per_page: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

/// Read a customer's history
///
/// Its events, newest first. Of a deleted customer they stay under its id, without what they told of it.
#[utoipa::path(get, path = "/v1/customers/{customer_id}/history", operation_id = "getCustomerHistory", tag = "Customers",
    params(schema::ListHistory),
    responses((status = 200, description = "A page of events", body = schema::CustomerHistory,
        headers(("Link" = String, description = "The next page, `rel=\"next\"`; absent on the last one")))))]
pub(super) async fn list(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let selector = call.selector();
    let rows = read_rows(&mut call.query, &mut call.problems, DEFAULT_ROWS);
    let after = call.query.take("after").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
    let place = after.and_then(|cursor| place_of(&lms.cursors, &mut call, &cursor));
    let (others, uri) = (others(&call.query), call.parts.uri.clone());
    let (caller, selector) = call.ready(selector)?;
    let (customer, before) = place.unzip();
    let found = lms.registry.history(caller.organization, selector.clone(), before, rows).await;
    let page = found.map_err(|error| Refused::store(&error, &caller.request_id))?.ok_or_else(Refused::not_found)?;
    if customer.is_some_and(|customer| customer != page.customer) {
        let mut problems = Problems::default();
        problems.add("after", "is not a cursor of this list with these filters");
        return Err(Refused::invalid(&problems));
    }
    let next = next(&lms.cursors, caller.organization, &page);
    let items = page.events.iter().map(|event| EventBody::of_customer(caller.organization, event)).collect();
    let body = HistoryBody { items, rows_per_page: rows, next: next.as_deref() };
    let answer = json_answer(serde_json::to_vec(&body).expect("events are text and numbers"));
    Ok(linked(answer, uri.path(), &others, next.as_deref()))
}

fn walk(organization: OrganizationId) -> Walk<'static> {
    Walk { route: ROUTE, organization, filter: filter_hash([]) }
}

/// The cursor after a page: whose history it is, and the last version told.
fn next(cursors: &CursorKey, organization: OrganizationId, page: &HistoryPage) -> Option<String> {
    let last = page.events.last().filter(|_| page.more)?.event.version();
    let payload = [page.customer.get().to_be_bytes(), last.get().to_be_bytes()].concat();
    Some(cursors.seal(&walk(organization), &payload))
}

fn place_of(cursors: &CursorKey, call: &mut Call, cursor: &str) -> Option<(CustomerId, Version)> {
    let opened = cursors.open(&walk(call.principal.organization), cursor);
    let opened = opened.map_err(|error| call.problems.add("after", error.to_string())).ok()?;
    let (customer, version) = opened.split_first_chunk::<8>()?;
    let customer = CustomerId::parse(i64::from_be_bytes(*customer)).ok()?;
    Some((customer, Version::parse(i64::from_be_bytes(version.try_into().ok()?)).ok()?))
}

/// How a customer is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// As it is now.
    Now,
    /// As it is now, with what can be done to it.
    WithTransitions,
    /// As it was.
    AsOf(AsOf),
}

impl Showing {
    /// Reads `asOf` and `include`.
    pub(super) fn read(query: &mut Query, problems: &mut Problems) -> Self {
        let as_of = query.take("asOf").map(read_as_of);
        let include = query.take("include").map(str::to_owned);
        match include.as_deref() {
            None | Some("allowedTransitions") => {}
            Some(_) => problems.add("include", "must be allowedTransitions"),
        }
        match as_of {
            Some(_) if include.is_some() => {
                problems.add("include", "must not be given beside asOf");
                Self::Now
            }
            Some(None) => {
                problems.add("asOf", "must be a version or an RFC 3339 date-time such as 2026-05-22T09:30:00Z");
                Self::Now
            }
            Some(Some(as_of)) => Self::AsOf(as_of),
            None if include.is_some() => Self::WithTransitions,
            None => Self::Now,
        }
    }
}

/// A version, which is digits, or an instant. A number too large for a version is the greatest, which nobody has.
fn read_as_of(text: &str) -> Option<AsOf> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Version::parse(text.parse().unwrap_or(i64::MAX)).ok().map(AsOf::Version);
    }
    Timestamp::parse(text).ok().map(AsOf::Instant)
}

/// The customer in the state that is to be shown.
pub(super) async fn found(
    lms: &Lms,
    organization: OrganizationId,
    selector: Selector,
    showing: Showing,
) -> Result<Option<custodia_domain::registry::CustomerView>, custodia_domain::ports::StoreError> {
    match showing {
        Showing::Now | Showing::WithTransitions => lms.registry.get(organization, selector).await,
        Showing::AsOf(as_of) => lms.registry.as_of(organization, selector, as_of).await,
    }
}
