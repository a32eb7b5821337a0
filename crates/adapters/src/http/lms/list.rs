//! Lists of customers: by page with a total, by cursor, or one customer by its external id.
//!
//! Owns the parameters and the envelopes. It must not know how a store finds rows.

use axum::extract::State;
use axum::response::Response;
use custodia_domain::ports::{Boundary, CustomerFilter, CustomerQuery, Direction, Selector, SortKey, Window};
use custodia_domain::registry::{CustomerView, ListError, ViewPage};
use custodia_domain::search::{finds, query_words};
use custodia_domain::{Answer, ExternalId, OfficeId, OrganizationId, Status};
use http::header::LINK;
use http::{HeaderValue, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::call::{Call, Read, json_answer};
use super::error::{Problems, Refused};
use super::view::{USUAL_SIZE, write_customer};
use super::{Lms, schema};
use crate::http::cursor::{CursorKey, Place, Walk, filter_hash};
use crate::http::idempotency::respond;
use crate::http::json_object::Object;
use crate::http::query::Query;

const ROUTE: &str = "/v1/customers";
pub(super) const DEFAULT_ROWS: i64 = 10;
const MOST_ROWS: i64 = 100;
const MOST_SEARCH_CHARACTERS: usize = 256;
const MOST_SEARCH_WORDS: usize = 16;

/// Which part of a list is wanted.
enum Part {
    /// The page of that number, from 1.
    Page(u64),
    /// What follows that place, or the beginning.
    Walk(Option<Boundary>),
}

/// What a client asks of the list.
struct Wanted {
    filter: CustomerFilter,
    external_id: Option<ExternalId>,
    filter_hash: [u8; 32],
    sort: SortKey,
    direction: Direction,
    rows: u8,
    part: Part,
    /// The query without its cursor, for the link to the next page.
    others: String,
}

/// List customers
///
/// By page with a total (`page`, `rows`), or by cursor (`after`, `rows`), whose cost does not grow with depth. At most
/// 100,000 rows, unless the deployment says otherwise, may lie before a page; a deeper one that is not past the end is
/// refused. With `externalId` at most one customer.
#[utoipa::path(get, path = "/v1/customers", operation_id = "listCustomers", tag = "Customers",
    params(schema::ListCustomers),
    responses((status = 200, description = "A page, or with `after` a step of a walk", body = schema::CustomerList,
        headers(("Link" = String, description = "The next step of a walk, `rel=\"next\"`; absent on the last one")))))]
pub(super) async fn list(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let wanted = Wanted::read(&mut call, &lms.cursors);
    let uri = call.parts.uri.clone();
    let (caller, wanted) = call.ready(Some(wanted))?;
    let found = wanted.find(&lms, caller.organization).await;
    let found = found.map_err(|error| Refused::list(&error, &caller.request_id))?;
    Ok(wanted.answer(&lms.cursors, caller.organization, &found, &uri))
}

impl Wanted {
    /// Reads the query. Where problems are noted, what could not be read has its default.
    fn read(call: &mut Call, cursors: &CursorKey) -> Self {
        let organization = call.principal.organization;
        let (query, problems) = (&mut call.query, &mut call.problems);
        let (filter, external_id) = read_filter(query, problems);
        let filter_hash = hash(&filter, external_id.as_ref());
        let order = (
            read_choice(
                query,
                problems,
                "orderBy",
                sort_of,
                "must be id, displayName, submittedDate or activationDate",
            ),
            read_choice(query, problems, "sortOrder", direction_of, "must be ASC or DESC"),
        );
        let rows = read_rows(query, problems, DEFAULT_ROWS);
        let after = query.take("after").map(str::to_owned);
        let given_page = query.take("page").is_some();
        let page = read_number(query, problems, "page", 1);
        let mut wanted = Self {
            filter,
            external_id,
            filter_hash,
            sort: order.0.unwrap_or(SortKey::Id),
            direction: order.1.unwrap_or(Direction::Ascending),
            rows,
            part: Part::Walk(None),
            others: others(query),
        };
        match after {
            Some(_) if given_page => problems.add("page", "must not be given beside after"),
            Some(cursor) if cursor.is_empty() => {}
            Some(cursor) => match cursors.open_place(&wanted.walk(organization), &cursor) {
                Ok(place) => wanted.continue_at(place, order, problems),
                Err(error) => problems.add("after", error.to_string()),
            },
            None if page < 1 => problems.add("page", "page value too small, must be larger than 0"),
            None => wanted.part = Part::Page(page.unsigned_abs()),
        }
        wanted
    }

    /// Takes up a walk: it keeps its order, and one given beside it has to be the same.
    fn continue_at(&mut self, place: Place, given: (Option<SortKey>, Option<Direction>), problems: &mut Problems) {
        const DIFFERS: &str = "differs from the order that the cursor keeps";
        if given.0.is_some_and(|sort| sort != place.sort) {
            problems.add("orderBy", DIFFERS);
        }
        if given.1.is_some_and(|direction| direction != place.direction) {
            problems.add("sortOrder", DIFFERS);
        }
        self.sort = place.sort;
        self.direction = place.direction;
        self.part = Part::Walk(Some(place.boundary));
    }

    const fn walk(&self, organization: OrganizationId) -> Walk<'_> {
        Walk { route: ROUTE, organization, filter: self.filter_hash }
    }

    async fn find(&self, lms: &Lms, organization: OrganizationId) -> Result<ViewPage, ListError> {
        if let Some(external_id) = &self.external_id {
            let found = lms.registry.get(organization, Selector::ExternalId(external_id.clone())).await?;
            return Ok(self.point(found.filter(|view| meets(view, &self.filter))));
        }
        let window = match &self.part {
            Part::Page(page) => {
                let offset = (page - 1).saturating_mul(u64::from(self.rows));
                Window::Page { offset: offset.min(i64::MAX.unsigned_abs()) }
            }
            Part::Walk(boundary) => Window::After(boundary.clone()),
        };
        let query = CustomerQuery {
            organization,
            filter: self.filter.clone(),
            sort: self.sort,
            direction: self.direction,
            window,
            limit: self.rows,
        };
        lms.registry.list(&query).await
    }

    /// The list of at most one customer.
    fn point(&self, found: Option<CustomerView>) -> ViewPage {
        let total = u64::from(found.is_some());
        let shown = match self.part {
            Part::Page(page) => page == 1,
            Part::Walk(_) => true,
        };
        ViewPage { views: found.into_iter().filter(|_| shown).collect(), total: Some(total), more: false }
    }

    fn answer(&self, cursors: &CursorKey, organization: OrganizationId, found: &ViewPage, uri: &Uri) -> Response {
        let mut body = Vec::with_capacity(64 + found.views.len() * USUAL_SIZE);
        let mut object = Object::begin(&mut body);
        object.objects("items", &found.views, write_customer);
        let page = match self.part {
            Part::Page(page) => page,
            Part::Walk(_) => {
                let last = found.views.last().filter(|_| found.more);
                let next = last.map(|view| {
                    let boundary = Boundary::after(&view.customer, self.sort);
                    let place = Place { sort: self.sort, direction: self.direction, boundary };
                    cursors.seal_place(&self.walk(organization), &place)
                });
                object.bare("rowsPerPage", self.rows);
                object.optional_text("next", next.as_deref());
                object.end();
                return linked(json_answer(body), uri.path(), &self.others, next.as_deref());
            }
        };
        object.bare("total", found.total.unwrap_or_default());
        object.bare("page", page);
        object.bare("rowsPerPage", self.rows);
        object.end();
        respond(json_answer(body))
    }
}

fn read_filter(query: &mut Query, problems: &mut Problems) -> (CustomerFilter, Option<ExternalId>) {
    let external_id = query
        .take("externalId")
        .and_then(|text| ExternalId::parse(text).map_err(|error| problems.add("externalId", error.to_string())).ok());
    let status = read_choice(query, problems, "status", Status::from_label, "must be Pending, Active or Closed");
    let office = query.take("officeId").and_then(|text| {
        let id = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let office = id.and_then(|id| OfficeId::parse(id).ok());
        if office.is_none() {
            problems.add("officeId", "must be a positive integer");
        }
        office
    });
    let text = query.take("q").unwrap_or_default();
    let words = query_words(text);
    if text.chars().count() > MOST_SEARCH_CHARACTERS || words.len() > MOST_SEARCH_WORDS {
        problems
            .add("q", format!("must have at most {MOST_SEARCH_CHARACTERS} characters and {MOST_SEARCH_WORDS} words"));
    }
    (CustomerFilter { status, office, words, ..CustomerFilter::default() }, external_id)
}

pub(super) fn read_choice<T>(
    query: &mut Query,
    problems: &mut Problems,
    name: &'static str,
    choose: impl Fn(&str) -> Option<T>,
    wanted: &'static str,
) -> Option<T> {
    let chosen = choose(query.take(name)?);
    if chosen.is_none() {
        problems.add(name, wanted);
    }
    chosen
}

pub(super) fn read_rows(query: &mut Query, problems: &mut Problems, default: i64) -> u8 {
    let rows = read_number(query, problems, "rows", default);
    if rows > MOST_ROWS {
        problems.add("page", "rows value too large, must be less than 100");
    } else if rows < 1 {
        problems.add("page", "rows value too small, must be larger than 0");
    }
    u8::try_from(rows.clamp(1, MOST_ROWS)).expect("100 rows fit 8 bits")
}

/// A whole number; what is none is told under `page`, as everything about paging is.
pub(super) fn read_number(query: &mut Query, problems: &mut Problems, name: &'static str, default: i64) -> i64 {
    let Some(text) = query.take(name) else {
        return default;
    };
    text.parse().unwrap_or_else(|_| {
        problems.add("page", format!("page conversion: {name} is not a number"));
        default
    })
}

fn sort_of(name: &str) -> Option<SortKey> {
    match name {
        "id" => Some(SortKey::Id),
        "displayName" => Some(SortKey::DisplayName),
        "submittedDate" => Some(SortKey::SubmittedDate),
        "activationDate" => Some(SortKey::ActivationDate),
        _ => None,
    }
}

pub(super) fn direction_of(name: &str) -> Option<Direction> {
    match name {
        "ASC" => Some(Direction::Ascending),
        "DESC" => Some(Direction::Descending),
        _ => None,
    }
}

fn meets(view: &CustomerView, filter: &CustomerFilter) -> bool {
    filter.status.is_none_or(|status| status == view.customer.status())
        && filter.office.is_none_or(|office| office == view.customer.office())
        && finds(&view.customer, &filter.words)
}

fn hash(filter: &CustomerFilter, external_id: Option<&ExternalId>) -> [u8; 32] {
    let office = filter.office.map(|office| office.to_string()).unwrap_or_default();
    let fixed = [filter.status.map_or("", Status::label), &office, external_id.map_or("", ExternalId::as_str)];
    filter_hash(fixed.into_iter().chain(filter.words.iter().map(String::as_str)))
}

/// An answer with the link to the next page of its walk, where there is one.
pub(super) fn linked(answer: Answer, path: &str, others: &str, next: Option<&str>) -> Response {
    let mut response = respond(answer);
    let link = next.map(|next| format!("<{path}?{others}after={next}>; rel=\"next\""));
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// The query without its cursor, for the link to the next page.
pub(super) fn others(query: &Query) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let others = query.pairs().filter(|(name, _)| *name != "after");
    let pairs: Vec<String> = others.map(|(name, value)| format!("{}={}&", encode(name), encode(value))).collect();
    pairs.concat()
}
