//! Customers as rows: how they are found and listed, and how a row becomes a customer again. Must not know how they
//! are written.

use std::collections::HashMap;

use custodia_domain::ports::{
    CustomerFilter, CustomerKey, CustomerPage, CustomerQuery, Direction, Selector, SortKey, SortValue, StoreError,
    Window,
};
use custodia_domain::{
    ClientType, ClosureReasonId, Customer, CustomerId, CustomerSnapshot, EmailAddress, ExternalId, FullName, GenderId,
    LegalFormId, MobileNumber, NamePart, OfficeId, OrganizationId, Status, Version,
};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe, Decode, PgConnection, Postgres, Row as _, Type};

use super::columns::{SqlDate, SqlInstant, prefix_query};
use super::fault::Failure;

/// The columns of a customer, in the order in which [`customer`] reads them.
macro_rules! customer_columns {
    () => {
        "c.organization_id, c.id, c.version, c.external_id, c.office_id, c.status, c.submitted_on, c.activated_on, \
         c.closed_on, c.closure_reason_id, c.first_name, c.middle_name, c.last_name, c.full_name, c.mobile_no, \
         c.email, c.born_on, c.gender_id, c.client_type_id, c.legal_form_id, c.created_at, c.updated_at"
    };
}

/// The place of the column after those of a customer.
const AFTER_CUSTOMER: usize = 22;

const FIND_IDS: &str =
    concat!("select ", customer_columns!(), " from customers c where c.organization_id = $1 and c.id = any($2)");

const FIND_EXTERNAL_IDS: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers c where c.organization_id = $1 and c.external_id = any($2)"
);

const FIND_IDS_OF_MANY: &str = concat!(
    "select ",
    customer_columns!(),
    " from unnest($1::bigint[], $2::bigint[]) as k (organization_id, id)
      join customers c on c.organization_id = k.organization_id and c.id = k.id"
);

const FIND_EXTERNAL_IDS_OF_MANY: &str = concat!(
    "select ",
    customer_columns!(),
    " from unnest($1::bigint[], $2::text[]) as k (organization_id, external_id)
      join customers c on c.organization_id = k.organization_id and c.external_id = k.external_id"
);

/// The customers of those keys, in their order.
pub(super) async fn find(
    session: &mut PgConnection,
    keys: &[CustomerKey],
) -> Result<Vec<Option<Customer>>, ReadFailure> {
    let mut wanted = Wanted::default();
    for (place, key) in keys.iter().enumerate() {
        match &key.selector {
            Selector::Id(id) => wanted.ids.entry((key.organization, *id)).or_default().push(place),
            Selector::ExternalId(id) => {
                wanted.external_ids.entry((key.organization, id.as_str())).or_default().push(place);
            }
        }
    }
    let mut found = vec![None; keys.len()];
    if !wanted.ids.is_empty() {
        for row in wanted.rows_by_id(session).await? {
            let customer = customer(&row)?;
            put(&mut found, wanted.ids.get(&(customer.organization(), customer.id())), customer);
        }
    }
    if !wanted.external_ids.is_empty() {
        for row in wanted.rows_by_external_id(session).await? {
            let customer = customer(&row)?;
            let external_id: &str = row.try_get_unchecked(3)?;
            let places = wanted.external_ids.get(&(customer.organization(), external_id));
            put(&mut found, places, customer);
        }
    }
    Ok(found)
}

/// The distinct keys, and where in the answer each belongs.
#[derive(Default)]
struct Wanted<'a> {
    ids: HashMap<(OrganizationId, CustomerId), Vec<usize>>,
    external_ids: HashMap<(OrganizationId, &'a str), Vec<usize>>,
}

impl Wanted<'_> {
    async fn rows_by_id(&self, session: &mut PgConnection) -> Result<Vec<PgRow>, sqlx::Error> {
        let organizations: Vec<i64> = self.ids.keys().map(|(organization, _)| organization.get()).collect();
        let ids: Vec<i64> = self.ids.keys().map(|(_, id)| id.get()).collect();
        let statement = match only(&organizations) {
            Some(organization) => sqlx::query(FIND_IDS).bind(organization),
            None => sqlx::query(FIND_IDS_OF_MANY).bind(organizations),
        };
        statement.bind(ids).fetch_all(session).await
    }

    async fn rows_by_external_id(&self, session: &mut PgConnection) -> Result<Vec<PgRow>, sqlx::Error> {
        let organizations: Vec<i64> = self.external_ids.keys().map(|(organization, _)| organization.get()).collect();
        let external_ids: Vec<&str> = self.external_ids.keys().map(|(_, id)| *id).collect();
        let statement = match only(&organizations) {
            Some(organization) => sqlx::query(FIND_EXTERNAL_IDS).bind(organization),
            None => sqlx::query(FIND_EXTERNAL_IDS_OF_MANY).bind(organizations),
        };
        statement.bind(external_ids).fetch_all(session).await
    }
}

/// The one value that all of them are.
fn only(values: &[i64]) -> Option<i64> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}

fn put(found: &mut [Option<Customer>], places: Option<&Vec<usize>>, customer: Customer) {
    if let Some((last, others)) = places.and_then(|places| places.split_last()) {
        for place in others {
            found[*place] = Some(customer.clone());
        }
        found[*last] = Some(customer);
    }
}

/// One page of a list.
pub(super) async fn list(session: &mut PgConnection, query: &CustomerQuery) -> Result<CustomerPage, ReadFailure> {
    let limit = usize::from(query.limit);
    let list = ListStatement::of(query);
    let rows = match list {
        Some(list) => {
            let statement = sqlx::query_with(AssertSqlSafe(list.sql), list.arguments);
            statement.persistent(list.is_repeated).fetch_all(&mut *session).await?
        }
        None => Vec::new(),
    };
    let total = match (&query.window, rows.first()) {
        (Window::After(_), _) => None,
        (Window::Page { .. }, Some(row)) => Some(row.try_get::<i64, _>(AFTER_CUSTOMER)?),
        (Window::Page { .. }, None) => Some(count(session, query).await?),
    };
    let customers = rows.iter().take(limit).map(customer).collect::<Result<_, _>>()?;
    Ok(CustomerPage {
        customers,
        total: total.map(|total| u64::try_from(total).unwrap_or(0)),
        more: rows.len() > limit,
    })
}

/// How many rows match, where no row can tell.
async fn count(session: &mut PgConnection, query: &CustomerQuery) -> Result<i64, ReadFailure> {
    let mut conditions = Conditions::of(query.organization, &query.filter);
    let sql = format!("select {}", conditions.total(&query.filter));
    let arguments = std::mem::take(&mut conditions.arguments);
    let counted: Option<i64> = sqlx::query_scalar_with(AssertSqlSafe(sql), arguments).fetch_one(&mut *session).await?;
    Ok(counted.unwrap_or(0))
}

/// One row more than asked for tells whether more follow. A limit is part of the statement's text, so that its plan is
/// made for it; a few sizes bound the number of texts.
const LIMITS: [u8; 7] = [1, 10, 20, 25, 50, 75, 100];

fn rounded(limit: u8) -> u8 {
    LIMITS.into_iter().find(|size| *size >= limit).unwrap_or(limit) + 1
}

/// What every row of a list meets, and the values bound to it.
struct Conditions {
    sql: String,
    arguments: PgArguments,
    bound: usize,
}

impl Conditions {
    fn of(organization: OrganizationId, filter: &CustomerFilter) -> Self {
        let mut conditions = Self { sql: String::new(), arguments: PgArguments::default(), bound: 0 };
        conditions.push("c.organization_id = ", organization.get());
        if let Some(status) = filter.status {
            conditions.push(" and c.status = ", status.label());
        }
        if let Some(office) = filter.office {
            conditions.push(" and c.office_id = ", office.get());
        }
        if let Some(query) = prefix_query(organization, &filter.words) {
            conditions.push(" and c.search @@ ", query);
            conditions.sql.push_str("::tsquery");
        }
        conditions
    }

    fn push<'v>(&mut self, fragment: &str, value: impl sqlx::Encode<'v, Postgres> + Type<Postgres>) {
        let place = self.bind(value);
        self.sql.push_str(fragment);
        self.sql.push_str(&place);
    }

    fn bind<'v>(&mut self, value: impl sqlx::Encode<'v, Postgres> + Type<Postgres>) -> String {
        self.arguments.add(value).expect("numbers, dates and texts are always encoded");
        self.bound += 1;
        format!("${}", self.bound)
    }

    /// The expression of the total: counted row by row only where a criterion leaves rows out.
    fn total(&self, filter: &CustomerFilter) -> String {
        if filter.is_open() {
            "(select o.customer_count from organizations o where o.id = $1)".to_owned()
        } else {
            format!("(select count(*) from customers c where {})", self.sql)
        }
    }
}

/// The statement of one page.
struct ListStatement {
    sql: String,
    arguments: PgArguments,
    /// Whether its text will come again, so that its plan is worth keeping.
    is_repeated: bool,
}

impl ListStatement {
    /// `None` where no row can be in the page.
    ///
    /// Rows without an activation date come last in both directions, which no index gives both ways: those with and
    /// those without one are two walks, each in the order of its index.
    fn of(query: &CustomerQuery) -> Option<Self> {
        let mut conditions = Conditions::of(query.organization, &query.filter);
        let columns = match query.window {
            Window::Page { .. } => {
                format!(concat!(customer_columns!(), ", {} as total"), conditions.total(&query.filter))
            }
            Window::After(_) => customer_columns!().to_owned(),
        };
        let offset = match query.window {
            // PostgreSQL counts in 63 bits; no list is nearly as long.
            Window::Page { offset } => offset.min(1 << 62),
            Window::After(_) => 0,
        };
        let limit = u64::from(rounded(query.limit));
        let (after, boundary) = match &query.window {
            Window::After(Some(boundary)) => (true, Some(boundary)),
            Window::Page { .. } | Window::After(None) => (false, None),
        };
        let (comparison, direction) = match query.direction {
            Direction::Ascending => (">", "asc"),
            Direction::Descending => ("<", "desc"),
        };
        let column = match query.sort {
            SortKey::Id => None,
            SortKey::DisplayName => Some("sort_name"),
            SortKey::SubmittedDate => Some("submitted_on"),
            SortKey::ActivationDate => Some("activated_on"),
        };
        debug_assert!(boundary.is_some() == after, "a boundary belongs to a walk");
        let past_id = boundary.map(|place| conditions.bind(place.id.get()));
        let past_value = boundary.and_then(|place| match &place.value {
            SortValue::Id | SortValue::Date(None) => None,
            SortValue::Name(name) => Some(conditions.bind(name.as_str())),
            SortValue::Date(Some(date)) => Some(conditions.bind(SqlDate(*date))),
        });
        let walks = walks(query, column, past_id.as_deref(), past_value.as_deref(), comparison);
        let sql = assemble(&columns, &conditions.sql, &walks, column, direction, offset, limit)?;
        Some(Self { sql, arguments: conditions.arguments, is_repeated: offset == 0 })
    }
}

/// The conditions of each walk besides those that every row meets, and whether its rows have the sort column.
fn walks(
    query: &CustomerQuery,
    column: Option<&str>,
    past_id: Option<&str>,
    past_value: Option<&str>,
    comparison: &str,
) -> Vec<(String, bool)> {
    let past = match (column, past_id, past_value) {
        (_, None, _) => String::new(),
        (Some(column), Some(id), Some(value)) => format!(" and (c.{column}, c.id) {comparison} ({value}, {id})"),
        (_, Some(id), _) => format!(" and c.id {comparison} {id}"),
    };
    if query.sort != SortKey::ActivationDate {
        return vec![(past, true)];
    }
    let behind_dates = past_id.is_some() && past_value.is_none();
    let mut walks = Vec::with_capacity(2);
    // A status says which of the two walks can have rows; the other one would read everything to find none.
    if !behind_dates && query.filter.status != Some(Status::Pending) {
        walks.push((format!("{past} and c.activated_on is not null"), true));
    }
    if !matches!(query.filter.status, Some(Status::Active | Status::Closed)) {
        let past = if behind_dates { past.as_str() } else { "" };
        walks.push((format!("{past} and c.activated_on is null"), false));
    }
    walks
}

fn assemble(
    columns: &str,
    conditions: &str,
    walks: &[(String, bool)],
    column: Option<&str>,
    direction: &str,
    offset: u64,
    limit: u64,
) -> Option<String> {
    let order = |with_column: bool| match column.filter(|_| with_column) {
        Some(column) => format!("c.{column} {direction}, c.id {direction}"),
        None => format!("c.id {direction}"),
    };
    let offset_clause = if offset == 0 { String::new() } else { format!(" offset {offset}") };
    match walks {
        [] => None,
        [(past, with_column)] => Some(format!(
            "select {columns} from customers c where {conditions}{past} order by {} limit {limit}{offset_clause}",
            order(*with_column)
        )),
        _ => {
            let reach = limit.saturating_add(offset);
            let parts: Vec<String> = walks
                .iter()
                .map(|(past, with_column)| {
                    format!(
                        concat!("(select ", customer_columns!(), " from customers c where {}{} order by {} limit {})"),
                        conditions,
                        past,
                        order(*with_column),
                        reach
                    )
                })
                .collect();
            let column = column.unwrap_or("id");
            Some(format!(
                "select {columns} from ({}) c order by c.{column} {direction} nulls last, c.id {direction} \
                 limit {limit}{offset_clause}",
                parts.join(" union all ")
            ))
        }
    }
}

/// Why a row could not be read.
#[derive(Debug)]
pub(super) enum ReadFailure {
    Failed(Failure),
    Corrupt { table: &'static str, column: &'static str, id: i64 },
}

impl From<sqlx::Error> for ReadFailure {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failure> for ReadFailure {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<ReadFailure> for StoreError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Failed(failure) => failure.into(),
            ReadFailure::Corrupt { table, column, id } => Self::Corrupt { table, column, id },
        }
    }
}

/// One row of a table, read by position.
pub(super) struct Reader<'r> {
    pub(super) row: &'r PgRow,
    pub(super) table: &'static str,
    pub(super) id: i64,
}

impl<'r> Reader<'r> {
    /// The value at that position.
    pub(super) fn get<T: Decode<'r, Postgres> + Type<Postgres>>(&self, place: usize) -> Result<T, ReadFailure> {
        // The types are those of the schema: comparing them again for every value of every row tells nothing.
        Ok(self.row.try_get_unchecked(place)?)
    }

    /// The value at that position, as the domain knows it.
    pub(super) fn parsed<S: Decode<'r, Postgres> + Type<Postgres>, T>(
        &self,
        place: usize,
        column: &'static str,
        parse: impl FnOnce(S) -> Option<T>,
    ) -> Result<T, ReadFailure> {
        parse(self.get(place)?).ok_or_else(|| self.corrupt(column))
    }

    /// The same, where the column may be null.
    pub(super) fn optional<S: Decode<'r, Postgres> + Type<Postgres>, T>(
        &self,
        place: usize,
        column: &'static str,
        parse: impl FnOnce(S) -> Option<T>,
    ) -> Result<Option<T>, ReadFailure> {
        match self.get::<Option<S>>(place)? {
            None => Ok(None),
            Some(value) => parse(value).map(Some).ok_or_else(|| self.corrupt(column)),
        }
    }

    pub(super) const fn corrupt(&self, column: &'static str) -> ReadFailure {
        ReadFailure::Corrupt { table: self.table, column, id: self.id }
    }
}

/// The customer that a row holds, its columns being [`customer_columns`].
fn customer(row: &PgRow) -> Result<Customer, ReadFailure> {
    let id: i64 = row.try_get_unchecked(1)?;
    let read = Reader { row, table: "customers", id };
    let organization = read.parsed(0, "organization_id", |id| OrganizationId::parse(id).ok())?;
    let customer_id = CustomerId::parse(id).map_err(|_| read.corrupt("id"))?;
    let version = read.parsed(2, "version", |version| Version::parse(version).ok())?;
    let office = read.parsed(4, "office_id", |id| OfficeId::parse(id).ok())?;
    let submitted = read.get::<SqlDate>(6)?.0;
    let created_at = read.get::<SqlInstant>(20)?.0;
    let mut state = CustomerSnapshot::pending(organization, customer_id, version, office, submitted, created_at);
    state.external_id = read.optional(3, "external_id", |text| ExternalId::parse(text).ok())?;
    let status = read.parsed(5, "status", Status::from_label)?;
    let date = |place| read.get::<Option<SqlDate>>(place).map(|date| date.map(|date| date.0));
    let reason = read.optional(9, "closure_reason_id", |id| ClosureReasonId::parse(id).ok())?;
    state.set_lifecycle(status, date(7)?, date(8)?, reason).map_err(|_| read.corrupt("status"))?;
    let part = |place, column| read.optional(place, column, |text| NamePart::parse(text).ok());
    let full = read.optional(13, "full_name", |text| FullName::parse(text).ok())?;
    state
        .set_name(part(10, "first_name")?, part(11, "middle_name")?, part(12, "last_name")?, full)
        .map_err(|_| read.corrupt("full_name"))?;
    state.mobile = read.optional(14, "mobile_no", |text| MobileNumber::parse(text).ok())?;
    state.email = read.optional(15, "email", |text| EmailAddress::parse(text).ok())?;
    state.born = date(16)?;
    state.gender = read.optional(17, "gender_id", |id| GenderId::parse(id).ok())?;
    state.client_type = read.optional(18, "client_type_id", |code: i16| ClientType::from_code(code.into()))?;
    state.legal_form = read.optional(19, "legal_form_id", |id| LegalFormId::parse(id).ok())?;
    state.updated_at = read.get::<SqlInstant>(21)?.0;
    Customer::rehydrate(state).map_err(|impossible| read.corrupt(impossible.0))
}
