//! Lists of customers: the statement of each page, assembled from fixed fragments. Must not know how a row becomes a
//! customer.
//!
//! A list without words walks an index in its order, from where the page begins until it is full. A list with words
//! collects those who are found by them first, whatever the order: how many there are cannot be told beforehand, and a
//! walk in search of the last one of a few would read everything.

use custodia_domain::ports::{CustomerFilter, CustomerPage, CustomerQuery, Direction, SortKey, SortValue, Window};
use custodia_domain::{OrganizationId, Status};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _, Type};

use super::columns::{SqlDate, SqlInstant, prefix_query};
use super::customers::{AFTER_CUSTOMER, ReadFailure, customer, customer_columns};

/// A session's plans are made for whichever values come. Where a status or an office leaves rows out, what is best
/// depends on how many: to walk the order until the page is full, or to sort the few that match.
const PLAN_FOR_THE_VALUES: &str = "begin read only; set local plan_cache_mode = force_custom_plan";

/// One page of a list.
pub(super) async fn list(session: &mut PgConnection, query: &CustomerQuery) -> Result<CustomerPage, ReadFailure> {
    if query.filter.is_open() || !query.filter.words.is_empty() {
        return page(session, query).await;
    }
    let mut transaction = session.begin_with(PLAN_FOR_THE_VALUES).await?;
    let page = page(&mut transaction, query).await?;
    transaction.commit().await?;
    Ok(page)
}

async fn page(session: &mut PgConnection, query: &CustomerQuery) -> Result<CustomerPage, ReadFailure> {
    let limit = usize::from(query.limit);
    let rows = match Statement::of(query) {
        Some(Statement { sql, arguments, is_repeated }) => {
            let statement = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(is_repeated);
            statement.fetch_all(&mut *session).await?
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
    let conditions = Conditions::of(query.organization, &query.filter);
    let sql = format!("select {}", conditions.total(&query.filter));
    let statement = sqlx::query_scalar_with(AssertSqlSafe(sql), conditions.arguments);
    let counted: Option<i64> = statement.fetch_one(session).await?;
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
    has_words: bool,
}

impl Conditions {
    fn of(organization: OrganizationId, filter: &CustomerFilter) -> Self {
        let mut conditions = Self { sql: String::new(), arguments: PgArguments::default(), bound: 0, has_words: false };
        conditions.push("c.organization_id = ", organization.get());
        if let Some(status) = filter.status {
            conditions.push(" and c.status = ", status.label());
        }
        if let Some(office) = filter.office {
            conditions.push(" and c.office_id = ", office.get());
        }
        match filter.active {
            Some(true) => conditions.sql.push_str(" and c.status = 'Active'"),
            Some(false) => conditions.sql.push_str(" and c.status <> 'Active'"),
            None => {}
        }
        if let Some(source) = &filter.source {
            conditions.push(" and c.source = ", source.as_str());
        }
        if let Some(company) = filter.company {
            conditions.push(" and c.company_id = ", company.get());
        }
        if let Some(query) = prefix_query(organization, &filter.words) {
            conditions.push(" and c.search @@ ", query);
            conditions.sql.push_str("::tsquery");
            conditions.has_words = true;
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
struct Statement {
    sql: String,
    arguments: PgArguments,
    /// Whether its text will come again, so that its plan is worth keeping.
    is_repeated: bool,
}

impl Statement {
    /// `None` where no row can be in the page.
    fn of(query: &CustomerQuery) -> Option<Self> {
        let mut conditions = Conditions::of(query.organization, &query.filter);
        let page = Page::of(query, &mut conditions);
        let sql = if conditions.has_words { page.collected(&conditions.sql) } else { page.walked(&conditions)? };
        Some(Self { sql, arguments: conditions.arguments, is_repeated: page.offset == 0 })
    }
}

/// The fragments of a page's statement.
struct Page<'a> {
    query: &'a CustomerQuery,
    /// The column that the rows are sorted by before their id.
    column: Option<&'static str>,
    comparison: &'static str,
    direction: &'static str,
    /// The boundary's id and sort value, where the rows after a boundary are wanted.
    past_id: Option<String>,
    past_value: Option<String>,
    offset: u64,
    limit: u8,
    has_total: bool,
}

impl<'a> Page<'a> {
    fn of(query: &'a CustomerQuery, conditions: &mut Conditions) -> Self {
        let (comparison, direction) = match query.direction {
            Direction::Ascending => (">", "asc"),
            Direction::Descending => ("<", "desc"),
        };
        let column = match query.sort {
            SortKey::Id => None,
            SortKey::DisplayName => Some("sort_name"),
            SortKey::SubmittedDate => Some("submitted_on"),
            SortKey::ActivationDate => Some("activated_on"),
            SortKey::CreatedAt => Some("created_at"),
            SortKey::UpdatedAt => Some("updated_at"),
            SortKey::Email => Some("email"),
        };
        let (offset, boundary) = match &query.window {
            // PostgreSQL counts in 63 bits; no list is nearly as long.
            Window::Page { offset } => ((*offset).min(1 << 62), None),
            Window::After(boundary) => (0, boundary.as_ref()),
        };
        let past_id = boundary.map(|place| conditions.bind(place.id.get()));
        let past_value = boundary.and_then(|place| match &place.value {
            SortValue::Id | SortValue::Date(None) | SortValue::Email(None) => None,
            SortValue::Name(name) => Some(conditions.bind(name.as_str())),
            SortValue::Date(Some(date)) => Some(conditions.bind(SqlDate(*date))),
            SortValue::Instant(instant) => Some(conditions.bind(SqlInstant(*instant))),
            SortValue::Email(Some(email)) => Some(conditions.bind(email.as_str())),
        });
        let has_total = matches!(query.window, Window::Page { .. });
        let limit = rounded(query.limit);
        Self { query, column, comparison, direction, past_id, past_value, offset, limit, has_total }
    }

    fn columns(&self, total: &str) -> String {
        if self.has_total {
            format!(concat!(customer_columns!(), ", {} as total"), total)
        } else {
            customer_columns!().to_owned()
        }
    }

    fn order(&self, table: &str, column: Option<&str>) -> String {
        let direction = self.direction;
        match column {
            Some(column) => format!("{table}.{column} {direction} nulls last, {table}.id {direction}"),
            None => format!("{table}.id {direction}"),
        }
    }

    fn window(&self) -> String {
        match self.offset {
            0 => format!("limit {}", self.limit),
            offset => format!("limit {} offset {offset}", self.limit),
        }
    }

    /// The page of a list that is collected before it is sorted.
    fn collected(&self, conditions: &str) -> String {
        let comparison = self.comparison;
        let past = match (self.column, &self.past_id, &self.past_value) {
            (_, None, _) => String::new(),
            (None, Some(id), _) => format!(" where f.id {comparison} {id}"),
            (Some(column), Some(id), Some(value)) => {
                format!(" where (f.{column}, f.id) {comparison} ({value}, {id}) or f.{column} is null")
            }
            (Some(column), Some(id), None) => format!(" where f.{column} is null and f.id {comparison} {id}"),
        };
        let own = self.column.map_or(String::new(), |column| format!(", c.{column}"));
        let kept = self.column.map_or(String::new(), |column| format!(", f.{column}"));
        format!(
            "with found as materialized (select c.id{own} from customers c where {conditions}) \
             select {} from (select f.id{kept} from found f{past} order by {} {}) p \
             join customers c on c.organization_id = $1 and c.id = p.id order by {}",
            self.columns("(select count(*) from found)"),
            self.order("f", self.column),
            self.window(),
            self.order("p", self.column),
        )
    }

    /// The page of a list that is walked in the order of an index; `None` where no row can be in it.
    ///
    /// Rows without an activation date or e-mail address come last in both directions, which no index gives both ways:
    /// those with and those without one are two walks, each in the order of its index.
    fn walked(&self, conditions: &Conditions) -> Option<String> {
        let columns = self.columns(&conditions.total(&self.query.filter));
        let own = self.column.map_or(String::new(), |column| format!(", c.{column}"));
        // What is passed over is passed over in the index; the rows of the page alone are read.
        if self.offset > 0 {
            return Some(format!(
                "select {columns} from ({}) p join customers c on c.organization_id = $1 and c.id = p.id order by {}",
                self.walk_of(&format!("c.id{own}"), &format!("c.id{own}"), &conditions.sql)?,
                self.order("p", self.column),
            ));
        }
        self.walk_of(&columns, customer_columns!(), &conditions.sql)
    }

    /// The walk that shows those columns, `read` in its parts.
    fn walk_of(&self, shown: &str, read: &str, conditions: &str) -> Option<String> {
        let walks = self.walks();
        match walks.as_slice() {
            [] => None,
            [walk] => Some(format!(
                "select {shown} from customers c where {conditions}{} order by {} {}",
                walk.past,
                walk.order,
                self.window()
            )),
            _ => {
                let reach = u64::from(self.limit).saturating_add(self.offset);
                let part = |Walk { past, order }: &Walk| {
                    format!("(select {read} from customers c where {conditions}{past} order by {order} limit {reach})")
                };
                let parts: Vec<String> = walks.iter().map(part).collect();
                Some(format!(
                    "select {shown} from ({}) c order by {} {}",
                    parts.join(" union all "),
                    self.order("c", self.column),
                    self.window()
                ))
            }
        }
    }

    fn walks(&self) -> Vec<Walk> {
        let (comparison, direction) = (self.comparison, self.direction);
        let past = match (self.column, &self.past_id, &self.past_value) {
            (_, None, _) => String::new(),
            (Some(column), Some(id), Some(value)) => format!(" and (c.{column}, c.id) {comparison} ({value}, {id})"),
            (_, Some(id), _) => format!(" and c.id {comparison} {id}"),
        };
        // Without `nulls last`, which an index does not give backwards, and no row needs here.
        let by_id = format!("c.id {direction}");
        let order = self.column.map_or(by_id.clone(), |column| format!("c.{column} {direction}, {by_id}"));
        let nullable = match self.query.sort {
            SortKey::ActivationDate => "activated_on",
            SortKey::Email => "email",
            SortKey::Id | SortKey::DisplayName | SortKey::SubmittedDate | SortKey::CreatedAt | SortKey::UpdatedAt => {
                return vec![Walk { past, order }];
            }
        };
        let behind_values = self.past_id.is_some() && self.past_value.is_none();
        let (may_have, may_lack) = self.sides();
        let mut walks = Vec::with_capacity(2);
        if may_have && !behind_values {
            walks.push(Walk { past: format!("{past} and c.{nullable} is not null"), order });
        }
        if may_lack {
            let past = if behind_values { past.as_str() } else { "" };
            walks.push(Walk { past: format!("{past} and c.{nullable} is null"), order: by_id });
        }
        walks
    }

    /// Whether rows that the filter leaves can have, and can lack, the value they are sorted by. A status says which of
    /// the two walks can have rows; the other one would read everything to find none.
    fn sides(&self) -> (bool, bool) {
        if self.query.sort != SortKey::ActivationDate {
            return (true, true);
        }
        let filter = &self.query.filter;
        let was_active = matches!(filter.status, Some(Status::Active | Status::Closed));
        (filter.status != Some(Status::Pending), !was_active && filter.active != Some(true))
    }
}

/// One walk along an index.
struct Walk {
    /// What its rows meet besides the conditions of every row.
    past: String,
    order: String,
}

#[cfg(test)]
mod tests {
    use custodia_domain::ports::Boundary;
    use custodia_domain::{CustomerId, Date, OfficeId};

    use super::*;

    fn query(sort: SortKey, direction: Direction, window: Window) -> CustomerQuery {
        let filter = CustomerFilter::default();
        CustomerQuery { organization: OrganizationId::FIRST, filter, sort, direction, window, limit: 30 }
    }

    /// The statement after its columns.
    fn tail(query: &CustomerQuery) -> String {
        let sql = Statement::of(query).unwrap().sql;
        sql.replace(customer_columns!(), "ROW")
    }

    #[test]
    fn a_list_without_words_walks_an_index() {
        assert_eq!(
            tail(&query(SortKey::Id, Direction::Ascending, Window::Page { offset: 0 })),
            "select ROW, (select o.customer_count from organizations o where o.id = $1) as total from customers c \
             where c.organization_id = $1 order by c.id asc limit 51"
        );
        let value = SortValue::Name("ada".into());
        let place = Boundary { value, id: CustomerId::FIRST };
        let mut walk = query(SortKey::DisplayName, Direction::Descending, Window::After(Some(place)));
        walk.filter.status = Some(Status::Active);
        walk.filter.office = Some(OfficeId::FIRST);
        assert_eq!(
            tail(&walk),
            "select ROW from customers c where c.organization_id = $1 and c.status = $2 and c.office_id = $3 \
             and (c.sort_name, c.id) < ($5, $4) order by c.sort_name desc, c.id desc limit 51"
        );
    }

    #[test]
    fn customers_without_an_activation_date_are_a_walk_of_their_own() {
        let after = |date: Option<&str>| {
            let value = SortValue::Date(date.map(|date| Date::parse(date).unwrap()));
            Window::After(Some(Boundary { value, id: CustomerId::FIRST }))
        };
        let mut walk = query(SortKey::ActivationDate, Direction::Descending, after(Some("2026-05-22")));
        assert_eq!(
            tail(&walk),
            "select ROW from ((select ROW from customers c where c.organization_id = $1 \
             and (c.activated_on, c.id) < ($3, $2) and c.activated_on is not null \
             order by c.activated_on desc, c.id desc limit 51) union all \
             (select ROW from customers c where c.organization_id = $1 and c.activated_on is null \
             order by c.id desc limit 51)) c order by c.activated_on desc nulls last, c.id desc limit 51"
        );
        walk.window = after(None);
        assert_eq!(
            tail(&walk),
            "select ROW from customers c where c.organization_id = $1 and c.id < $2 and c.activated_on is null \
             order by c.id desc limit 51"
        );
        walk.filter.status = Some(Status::Closed);
        assert!(Statement::of(&walk).is_none(), "a Closed customer has an activation date");
    }

    #[test]
    fn what_lies_before_a_page_is_passed_over_without_reading_its_rows() {
        let by_name = query(SortKey::DisplayName, Direction::Ascending, Window::Page { offset: 60 });
        assert_eq!(
            tail(&by_name),
            "select ROW, (select o.customer_count from organizations o where o.id = $1) as total \
             from (select c.id, c.sort_name from customers c where c.organization_id = $1 \
             order by c.sort_name asc, c.id asc limit 51 offset 60) p \
             join customers c on c.organization_id = $1 and c.id = p.id order by p.sort_name asc nulls last, p.id asc"
        );
    }

    #[test]
    fn a_list_with_words_is_collected_first() {
        let mut page = query(SortKey::SubmittedDate, Direction::Ascending, Window::Page { offset: 60 });
        page.filter.words = vec!["ada".into()];
        assert_eq!(
            tail(&page),
            "with found as materialized (select c.id, c.submitted_on from customers c where c.organization_id = $1 \
             and c.search @@ $2::tsquery) select ROW, (select count(*) from found) as total \
             from (select f.id, f.submitted_on from found f order by f.submitted_on asc nulls last, f.id asc \
             limit 51 offset 60) p join customers c on c.organization_id = $1 and c.id = p.id \
             order by p.submitted_on asc nulls last, p.id asc"
        );
    }
}
