//! Lists of customers as statements, assembled here alone from fixed fragments. Must not know rows.

use custodia_domain::ports::{
    Boundary, CustomerFilter, CustomerQuery, Direction, SortKey, SortValue, StoreError, Window,
};
use custodia_domain::{Date, OrganizationId, Status};
use sqlx::{QueryBuilder, Sqlite};

use super::rows::customer_columns;

/// Up to so many words are intersected by one subselect each; more of them in one grouped subselect, which keeps
/// the statement's size fixed.
const WORDS_IN_FULL: usize = 8;

/// The statements that answer a query, in the order of their rows; the second is needed where the first gives too
/// few.
pub(super) fn rows(query: &CustomerQuery) -> Result<Vec<QueryBuilder<Sqlite>>, StoreError> {
    let parts = match &query.window {
        Window::Page { offset } => return Ok(vec![page(query, *offset)]),
        Window::After(None) => vec![select(query)],
        Window::After(Some(place)) => after(query, place)?,
    };
    let limited = parts.into_iter().map(|mut statement| {
        order(&mut statement, query, plain(query));
        statement.push(" limit ").push_bind(limit(query));
        statement
    });
    Ok(limited.collect())
}

/// One row more than is wanted: it tells whether rows follow.
fn limit(query: &CustomerQuery) -> i64 {
    i64::from(query.limit) + 1
}

/// The rows after so many. The numbers are found first, in the index alone where there is no filter: the rows passed
/// over are never read.
fn page(query: &CustomerQuery, offset: u64) -> QueryBuilder<Sqlite> {
    let mut statement =
        QueryBuilder::new(concat!("select ", customer_columns!(), " from customers where organization_id = "));
    statement.push_bind(query.organization.get()).push(" and id in (select id from ");
    restrict_rows(&mut statement, query);
    order(&mut statement, query, plain(query));
    statement.push(" limit ").push_bind(limit(query));
    statement.push(" offset ").push_bind(i64::try_from(offset).unwrap_or(i64::MAX)).push(")");
    order(&mut statement, query, "+");
    statement
}

/// The statement that counts what meets the filter.
pub(super) fn total(organization: OrganizationId, filter: &CustomerFilter) -> QueryBuilder<Sqlite> {
    if filter.is_open() {
        let mut statement = QueryBuilder::new("select customer_count from organizations where id = ");
        statement.push_bind(organization.get());
        return statement;
    }
    let mut statement = QueryBuilder::new("select count(*) from customers where organization_id = ");
    statement.push_bind(organization.get());
    restrict(&mut statement, organization, filter, "");
    statement
}

fn select(query: &CustomerQuery) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new(concat!("select ", customer_columns!(), " from "));
    restrict_rows(&mut statement, query);
    statement
}

/// The rows that meet the filter, without order.
fn restrict_rows(statement: &mut QueryBuilder<Sqlite>, query: &CustomerQuery) {
    let filter = &query.filter;
    // In the order of numbers the filter's own index is a walk along them; the planner, which knows nothing of how
    // many rows there are, would rather pass over all the others.
    statement.push(if query.sort == SortKey::Id && filter.words.is_empty() { narrowest(filter) } else { "customers" });
    statement.push(" where organization_id = ").push_bind(query.organization.get());
    let walk_in_order = if query.sort == SortKey::Id { "" } else { "+" };
    restrict(statement, query.organization, filter, walk_in_order);
}

/// The customers by the index of the criterion that leaves the fewest of them, as far as one can tell.
fn narrowest(filter: &CustomerFilter) -> &'static str {
    if filter.company.is_some() {
        "customers indexed by customers_by_company"
    } else if filter.office.is_some() {
        "customers indexed by customers_by_office"
    } else if filter.source.is_some() {
        "customers indexed by customers_by_source"
    } else if filter.status.is_some() || filter.active == Some(true) {
        "customers indexed by customers_by_status"
    } else {
        "customers"
    }
}

/// What stands before the column of the order. The unary plus takes its index out of the planner's sight: those whom
/// a search finds are few, and are read by their numbers and sorted rather than met on a walk along everybody.
fn plain(query: &CustomerQuery) -> &'static str {
    if query.filter.words.is_empty() { "" } else { "+" }
}

/// Adds the criteria; `plain` before a column keeps the planner from its index.
fn restrict(
    statement: &mut QueryBuilder<Sqlite>,
    organization: OrganizationId,
    filter: &CustomerFilter,
    plain: &'static str,
) {
    if let Some(status) = filter.status {
        statement.push(" and ").push(plain).push("status = ").push_bind(status.label());
    }
    if let Some(office) = filter.office {
        statement.push(" and ").push(plain).push("office_id = ").push_bind(office.get());
    }
    match filter.active {
        Some(true) => {
            statement.push(" and ").push(plain).push("status = ").push_bind(Status::Active.label());
        }
        // Always off the index of states: two ranges of it are in no order.
        Some(false) => {
            statement.push(" and +status <> ").push_bind(Status::Active.label());
        }
        None => {}
    }
    if let Some(source) = &filter.source {
        statement.push(" and ").push(plain).push("source = ").push_bind(source.as_str().to_owned());
    }
    if let Some(company) = filter.company {
        statement.push(" and ").push(plain).push("company_id = ").push_bind(company.get());
    }
    if filter.words.len() <= WORDS_IN_FULL {
        for word in &filter.words {
            statement.push(" and id in (select customer_id from customer_words where organization_id = ");
            statement.push_bind(organization.get());
            statement.push(" and word >= ").push_bind(word.clone());
            if let Some(end) = end_of_prefix(word) {
                statement.push(" and word < ").push_bind(end);
            }
            statement.push(")");
        }
        return;
    }
    let ranges: Vec<_> = filter.words.iter().map(|word| (word, end_of_prefix(word))).collect();
    let ranges = serde_json::to_string(&ranges).expect("pairs of texts are JSON");
    statement.push(" and id in (select customer_id from json_each(").push_bind(ranges);
    statement.push(") as wanted cross join customer_words where organization_id = ").push_bind(organization.get());
    // Every text comes before every blob.
    statement.push(" and word >= wanted.value ->> 0 and word < coalesce(wanted.value ->> 1, x'ff')");
    statement.push(" group by customer_id having count(distinct wanted.key) = ");
    statement.push_bind(i64::try_from(filter.words.len()).unwrap_or(i64::MAX)).push(")");
}

/// The smallest text after all that begin with this one, by code points; `None` where every later text does.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        // The code points between these two are no characters.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}

/// The statements, still without order and limit, for the rows after a place.
fn after(query: &CustomerQuery, place: &Boundary) -> Result<Vec<QueryBuilder<Sqlite>>, StoreError> {
    let beyond = match query.direction {
        Direction::Ascending => " > ",
        Direction::Descending => " < ",
    };
    let (id, plain) = (place.id.get(), plain(query));
    let days = |date: &Date| i64::from(date.days_since_epoch());
    let mut statement = select(query);
    match (query.sort, &place.value) {
        (SortKey::Id, SortValue::Id) => {
            statement.push(" and id").push(beyond).push_bind(id);
        }
        (SortKey::DisplayName, SortValue::Name(name)) => {
            statement.push(" and (").push(plain).push("sort_name, id)").push(beyond).push("(").push_bind(name.clone());
            statement.push(", ").push_bind(id).push(")");
        }
        (SortKey::SubmittedDate, SortValue::Date(Some(date))) => {
            statement.push(" and (").push(plain).push("submitted_on, id)").push(beyond).push("(").push_bind(days(date));
            statement.push(", ").push_bind(id).push(")");
        }
        (SortKey::ActivationDate, SortValue::Date(Some(date))) => {
            statement.push(" and (").push(plain).push("activated_on, id)").push(beyond).push("(").push_bind(days(date));
            statement.push(", ").push_bind(id).push(")");
            // Those without a date follow all that have one: a range of their own, which an OR would turn into a
            // walk from the very first row.
            let mut undated = select(query);
            undated.push(" and ").push(plain).push("activated_on is null");
            return Ok(vec![statement, undated]);
        }
        (SortKey::ActivationDate, SortValue::Date(None)) => {
            statement.push(" and ").push(plain).push("activated_on is null and id").push(beyond).push_bind(id);
        }
        (SortKey::CreatedAt, SortValue::Instant(instant)) => {
            statement.push(" and (").push(plain).push("created_at, id)").push(beyond).push("(");
            statement.push_bind(instant.microseconds()).push(", ").push_bind(id).push(")");
        }
        (SortKey::UpdatedAt, SortValue::Instant(instant)) => {
            statement.push(" and (").push(plain).push("updated_at, id)").push(beyond).push("(");
            statement.push_bind(instant.microseconds()).push(", ").push_bind(id).push(")");
        }
        (SortKey::Email, SortValue::Email(Some(email))) => {
            statement.push(" and (").push(plain).push("email, id)").push(beyond).push("(");
            statement.push_bind(email.as_str().to_owned()).push(", ").push_bind(id).push(")");
            let mut without = select(query);
            without.push(" and ").push(plain).push("email is null");
            return Ok(vec![statement, without]);
        }
        (SortKey::Email, SortValue::Email(None)) => {
            statement.push(" and ").push(plain).push("email is null and id").push(beyond).push_bind(id);
        }
        (
            SortKey::Id
            | SortKey::DisplayName
            | SortKey::SubmittedDate
            | SortKey::ActivationDate
            | SortKey::CreatedAt
            | SortKey::UpdatedAt
            | SortKey::Email,
            _,
        ) => {
            return Err(StoreError::Fault("a place of another order than the list's".into()));
        }
    }
    Ok(vec![statement])
}

fn order(statement: &mut QueryBuilder<Sqlite>, query: &CustomerQuery, plain: &'static str) {
    let (direction, column) = (
        match query.direction {
            Direction::Ascending => "",
            Direction::Descending => " desc",
        },
        match query.sort {
            SortKey::Id => None,
            SortKey::DisplayName => Some("sort_name"),
            SortKey::SubmittedDate => Some("submitted_on"),
            SortKey::ActivationDate => Some("activated_on"),
            SortKey::CreatedAt => Some("created_at"),
            SortKey::UpdatedAt => Some("updated_at"),
            SortKey::Email => Some("email"),
        },
    );
    statement.push(" order by ");
    if let Some(column) = column {
        statement.push(plain).push(column).push(direction);
        statement.push(match query.sort {
            SortKey::ActivationDate | SortKey::Email => " nulls last, ",
            SortKey::Id | SortKey::DisplayName | SortKey::SubmittedDate | SortKey::CreatedAt | SortKey::UpdatedAt => {
                ", "
            }
        });
    }
    statement.push("id").push(direction);
}

#[cfg(test)]
mod tests {
    use custodia_domain::CustomerId;

    use super::*;

    fn query(sort: SortKey, direction: Direction, window: Window, filter: CustomerFilter) -> CustomerQuery {
        CustomerQuery { organization: OrganizationId::FIRST, filter, sort, direction, window, limit: 20 }
    }

    fn tails(query: &CustomerQuery) -> Vec<String> {
        let sql = rows(query).unwrap().into_iter().map(|statement| statement.sql().as_str().to_owned());
        sql.map(|sql| sql.split_once(" from ").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn fragments_add_up_to_whole_statements() {
        let filter = CustomerFilter {
            status: Some(Status::Active),
            office: Some(custodia_domain::OfficeId::FIRST),
            words: vec!["ada".into()],
            ..CustomerFilter::default()
        };
        let page = query(SortKey::DisplayName, Direction::Ascending, Window::Page { offset: 40 }, filter);
        assert_eq!(
            tails(&page),
            [concat!(
                "customers where organization_id = ? and id in (select id from customers where organization_id = ? ",
                "and +status = ? and +office_id = ? and id in (select customer_id from customer_words ",
                "where organization_id = ? and word >= ? and word < ?) order by +sort_name, id limit ? offset ?) ",
                "order by +sort_name, id"
            )]
        );
        let place =
            Boundary { value: SortValue::Date(Some(Date::parse("2026-01-01").unwrap())), id: CustomerId::FIRST };
        let walk = Window::After(Some(place));
        assert_eq!(
            tails(&query(SortKey::ActivationDate, Direction::Descending, walk, CustomerFilter::default())),
            [
                concat!(
                    "customers where organization_id = ? and (activated_on, id) < (?, ?) ",
                    "order by activated_on desc nulls last, id desc limit ?"
                ),
                concat!(
                    "customers where organization_id = ? and activated_on is null ",
                    "order by activated_on desc nulls last, id desc limit ?"
                ),
            ]
        );
    }

    #[test]
    fn a_place_of_another_order_is_refused() {
        let place = Boundary { value: SortValue::Id, id: CustomerId::FIRST };
        let walk = Window::After(Some(place));
        let query = query(SortKey::DisplayName, Direction::Ascending, walk, CustomerFilter::default());
        assert!(rows(&query).is_err());
    }

    #[test]
    fn a_prefix_ends_before_the_next_text_of_its_length() {
        assert_eq!(end_of_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(end_of_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(end_of_prefix("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(end_of_prefix("\u{10ffff}"), None);
        assert_eq!(end_of_prefix(""), None);
    }
}
