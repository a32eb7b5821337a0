//! The lists of customers and of companies: by page, with a total.
//!
//! Owns their parameters and the envelope of a page. It must not know how a list is stored.

use axum::extract::State;
use axum::response::Response;
use custodia_domain::OrganizationId;
use custodia_domain::facets::Source;
use custodia_domain::ports::{CompanyKey, CustomerFilter, CustomerQuery, Direction, SortKey, Window};
use custodia_domain::registry::{ListError, Registry, ViewPage};
use custodia_domain::search::query_words;
use serde::Serialize;

use super::call::Read;
use super::companies::keys_of;
use super::error::Refused;
use super::fields::{boolean_of, broken};
use super::problem::{Kind, Problems};
use super::view::{CompanyBody, CustomerBody, json_answer};
use super::{Crm, schema};
use crate::http::idempotency::respond;
use crate::http::json::Json;
use crate::http::query::Query;

const MOST_ROWS: i64 = 100;
const MOST_SEARCH_CHARACTERS: usize = 256;
const MOST_SEARCH_WORDS: usize = 16;

/// One page.
#[derive(Serialize)]
struct PageBody<T> {
    data: Vec<T>,
    total: u64,
    page: u64,
    page_size: u8,
    total_pages: u64,
    has_next: bool,
    has_previous: bool,
}

/// Which page is wanted.
#[derive(Clone, Copy)]
struct Page {
    number: u64,
    size: u8,
}

impl Page {
    fn read(query: &mut Query, problems: &mut Problems) -> Option<Self> {
        let number = parameter(query, problems, "page", |text| integer(text, 1, i64::MAX));
        let size = parameter(query, problems, "page_size", |text| integer(text, 1, MOST_ROWS));
        let (number, size) = (number.ok()?.unwrap_or(1), size.ok()?.unwrap_or(20));
        Some(Self { number: number.unsigned_abs(), size: u8::try_from(size).ok()? })
    }

    fn offset(self) -> u64 {
        (self.number - 1).saturating_mul(u64::from(self.size)).min(i64::MAX.unsigned_abs())
    }

    /// The page numbers end where so many rows lie before a page.
    fn too_deep(self, rows: u64) -> Refused {
        let last = i64::try_from(rows / u64::from(self.size) + 1).unwrap_or(i64::MAX);
        let mut problems = Problems::default();
        let input = Json::String(self.number.to_string());
        problems.add(vec!["query".into(), "page".into()], &Kind::Above(last), &input);
        Refused::invalid(problems)
    }

    fn body<T>(self, data: Vec<T>, total: u64) -> PageBody<T> {
        let total_pages = total.div_ceil(u64::from(self.size));
        PageBody {
            data,
            total,
            page: self.number,
            page_size: self.size,
            total_pages,
            has_next: self.number < total_pages,
            has_previous: self.number > 1,
        }
    }
}

/// What a client asks of the list of customers.
struct Wanted {
    page: Page,
    filter: CustomerFilter,
    /// The company of the filter as the client names it; empty where no company can be called so.
    company: Option<Vec<CompanyKey>>,
    sort: SortKey,
    direction: Direction,
}

/// List customers
///
/// Customers that came by another dialect are listed too; what they lack is `null`. At most 100,000 rows, unless the
/// deployment says otherwise, may lie before a page; a deeper one that is not past the end is refused.
#[utoipa::path(get, path = "/external/v1/customers", operation_id = "listCrmCustomers", tag = "CRM intake",
    params(schema::ListCrmCustomers),
    responses((status = 200, description = "A page", body = schema::CrmCustomerPage)))]
pub(super) async fn customers(State(crm): State<Crm>, Read(mut call): Read) -> Result<Response, Refused> {
    let wanted = Wanted::read(&mut call.query, &mut call.problems);
    let (caller, wanted) = call.ready(wanted)?;
    let page = wanted.page;
    let found = wanted.find(&crm.registry, caller.organization).await.map_err(|error| match error {
        ListError::TooDeep(rows) => page.too_deep(rows),
        ListError::Store(error) => Refused::store(&error, &caller.request_id),
    })?;
    let rows = found.views.iter().map(CustomerBody::from).collect();
    Ok(respond(json_answer(200, &page.body(rows, found.total.unwrap_or_default()))))
}

/// List companies
#[utoipa::path(get, path = "/external/v1/customer/company", operation_id = "listCompanies", tag = "CRM intake",
    params(schema::ListCompanies),
    responses((status = 200, description = "A page, oldest first", body = schema::CrmCompanyPage)))]
pub(super) async fn companies(State(crm): State<Crm>, Read(mut call): Read) -> Result<Response, Refused> {
    let page = Page::read(&mut call.query, &mut call.problems);
    let (caller, page) = call.ready(page)?;
    let found = crm.registry.list_companies(caller.organization, page.offset(), page.size).await;
    let (companies, total) = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    let rows = companies.iter().map(CompanyBody::from).collect();
    Ok(respond(json_answer(200, &page.body(rows, total))))
}

impl Wanted {
    fn read(query: &mut Query, problems: &mut Problems) -> Option<Self> {
        let page = Page::read(query, problems);
        let words = parameter(query, problems, "search", words);
        let source = parameter(query, problems, "source", |text| Source::parse(text).map_err(broken));
        let company = parameter(query, problems, "company_id", |text| Ok(keys_of(text)));
        let active = parameter(query, problems, "is_active", boolean_of);
        let sort = parameter(query, problems, "sort_by", sort_of);
        let direction = parameter(query, problems, "sort_order", direction_of);
        let filter = CustomerFilter {
            words: words.ok()?.unwrap_or_default(),
            source: source.ok()?,
            active: active.ok()?,
            ..CustomerFilter::default()
        };
        Some(Self {
            page: page?,
            filter,
            company: company.ok()?,
            sort: sort.ok()?.unwrap_or(SortKey::CreatedAt),
            direction: direction.ok()?.unwrap_or(Direction::Descending),
        })
    }

    async fn find(mut self, registry: &Registry, organization: OrganizationId) -> Result<ViewPage, ListError> {
        if let Some(keys) = self.company {
            let found = registry.companies(organization, &keys).await?.into_iter().next().flatten();
            let Some(company) = found else {
                return Ok(ViewPage { views: Vec::new(), total: Some(0), more: false });
            };
            self.filter.company = Some(company.number);
        }
        let query = CustomerQuery {
            organization,
            filter: self.filter,
            sort: self.sort,
            direction: self.direction,
            window: Window::Page { offset: self.page.offset() },
            limit: self.page.size,
        };
        registry.list(&query).await
    }
}

/// What is wrong with a parameter is noted among the problems.
struct Noted;

/// Reads one parameter; `None` where it is not given.
fn parameter<T>(
    query: &mut Query,
    problems: &mut Problems,
    name: &'static str,
    read: impl Fn(&str) -> Result<T, Kind>,
) -> Result<Option<T>, Noted> {
    let Some(text) = query.take(name) else {
        return Ok(None);
    };
    read(text).map(Some).map_err(|kind| {
        problems.add(vec!["query".into(), name.into()], &kind, &Json::String(text.to_owned()));
        Noted
    })
}

/// An integer as Pydantic's lax mode reads one: a sign, digits with single `_` between, a fraction of zeros. One beyond 64 bits
/// is the nearest that has them.
fn integer(text: &str, least: i64, most: i64) -> Result<i64, Kind> {
    let text = text.trim();
    let (negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let whole = match unsigned.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return Err(Kind::NoInteger),
        None => unsigned,
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !whole.split('_').all(digits) {
        return Err(Kind::NoInteger);
    }
    let magnitude: i64 = whole.replace('_', "").parse().unwrap_or(i64::MAX);
    match if negative { -magnitude } else { magnitude } {
        number if number < least => Err(Kind::Below(least)),
        number if number > most => Err(Kind::Above(most)),
        number => Ok(number),
    }
}

fn words(text: &str) -> Result<Vec<String>, Kind> {
    if text.chars().count() > MOST_SEARCH_CHARACTERS {
        return Err(Kind::TooLong(MOST_SEARCH_CHARACTERS));
    }
    let words = query_words(text);
    if words.len() > MOST_SEARCH_WORDS {
        return Err(Kind::value(format!("must have at most {MOST_SEARCH_WORDS} words")));
    }
    Ok(words)
}

fn sort_of(name: &str) -> Result<SortKey, Kind> {
    match name {
        "time_created" => Ok(SortKey::CreatedAt),
        "time_updated" => Ok(SortKey::UpdatedAt),
        "name" => Ok(SortKey::DisplayName),
        "email" => Ok(SortKey::Email),
        "id" => Ok(SortKey::Id),
        _ => Err(Kind::NoChoice("'time_created', 'time_updated', 'name', 'email' or 'id'")),
    }
}

fn direction_of(name: &str) -> Result<Direction, Kind> {
    match name {
        "desc" => Ok(Direction::Descending),
        "asc" => Ok(Direction::Ascending),
        _ => Err(Kind::NoChoice("'desc' or 'asc'")),
    }
}
