//! Lists of customers as statements, assembled here alone from fixed fragments. Must not know rows.

use custodia_domain::ports::{
    Boundary, CustomerFilter, CustomerQuery, Direction, SortKey, SortValue, StoreError, Window,
};
use custodia_domain::{Date, OrganizationId};
use sqlx::{QueryBuilder, Sqlite};

use super::rows::customer_columns;

/// Up to so many words are intersected by one subselect each; more of them in one grouped subselect, which keeps
/// the statement's size fixed.
const WORDS_IN_FULL: usize = 8;

/// The statements that answer a query, in the order of their rows; the second is needed where the first gives too
/// few.
pub(super) fn rows(query: &CustomerQuery) -> Result<Vec<QueryBuilder<Sqlite>>, StoreError> {
    let limit = i64::from(query.limit) + 1;
    let first = match &query.window {
        Window::Page { offset } => {
            let mut statement = select(query);
            order(&mut statement, query);
            limit_to(&mut statement, limit);
            statement.push(" offset ").push_bind(i64::try_from(*offset).unwrap_or(i64::MAX));
            return Ok(vec![statement]);
        }
        Window::After(None) => {
            let mut statement = select(query);
            order(&mut statement, query);
            limit_to(&mut statement, limit);
            return Ok(vec![statement]);
        }
        Window::After(Some(place)) => place,
    };
    let parts = after(query, first)?.into_iter().map(|mut statement| {
        order(&mut statement, query);
        limit_to(&mut statement, limit);
        statement
    });
    Ok(parts.collect())
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
    let mut statement =
        QueryBuilder::new(concat!("select ", customer_columns!(), " from customers where organization_id = "));
    statement.push_bind(query.organization.get());
    // The unary plus keeps the planner from taking the index of the filter and sorting a whole organization: it is
    // to walk along the order that is asked for.
    let plain = if query.sort == SortKey::Id { "" } else { "+" };
    restrict(&mut statement, query.organization, &query.filter, plain);
    statement
}

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
    statement.push(" and word >= wanted.value ->> 0 and (word < wanted.value ->> 1 or wanted.value ->> 1 is null)");
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
    let id = place.id.get();
    let days = |date: &Date| i64::from(date.days_since_epoch());
    let mut statement = select(query);
    match (query.sort, &place.value) {
        (SortKey::Id, SortValue::Id) => {
            statement.push(" and id").push(beyond).push_bind(id);
        }
        (SortKey::DisplayName, SortValue::Name(name)) => {
            statement.push(" and (sort_name, id)").push(beyond).push("(").push_bind(name.clone());
            statement.push(", ").push_bind(id).push(")");
        }
        (SortKey::SubmittedDate, SortValue::Date(Some(date))) => {
            statement.push(" and (submitted_on, id)").push(beyond).push("(").push_bind(days(date));
            statement.push(", ").push_bind(id).push(")");
        }
        (SortKey::ActivationDate, SortValue::Date(Some(date))) => {
            statement.push(" and (activated_on, id)").push(beyond).push("(").push_bind(days(date));
            statement.push(", ").push_bind(id).push(")");
            // Those without a date follow all that have one: a range of their own, which an OR would turn into a
            // walk from the very first row.
            let mut undated = select(query);
            undated.push(" and activated_on is null");
            return Ok(vec![statement, undated]);
        }
        (SortKey::ActivationDate, SortValue::Date(None)) => {
            statement.push(" and activated_on is null and id").push(beyond).push_bind(id);
        }
        (SortKey::Id | SortKey::DisplayName | SortKey::SubmittedDate | SortKey::ActivationDate, _) => {
            return Err(StoreError::Fault("a place of another order than the list's".into()));
        }
    }
    Ok(vec![statement])
}

fn order(statement: &mut QueryBuilder<Sqlite>, query: &CustomerQuery) {
    statement.push(match (query.sort, query.direction) {
        (SortKey::Id, Direction::Ascending) => " order by id",
        (SortKey::Id, Direction::Descending) => " order by id desc",
        (SortKey::DisplayName, Direction::Ascending) => " order by sort_name, id",
        (SortKey::DisplayName, Direction::Descending) => " order by sort_name desc, id desc",
        (SortKey::SubmittedDate, Direction::Ascending) => " order by submitted_on, id",
        (SortKey::SubmittedDate, Direction::Descending) => " order by submitted_on desc, id desc",
        (SortKey::ActivationDate, Direction::Ascending) => " order by activated_on nulls last, id",
        (SortKey::ActivationDate, Direction::Descending) => " order by activated_on desc nulls last, id desc",
    });
}

fn limit_to(statement: &mut QueryBuilder<Sqlite>, limit: i64) {
    statement.push(" limit ").push_bind(limit);
}

#[cfg(test)]
mod tests {
    use custodia_domain::{CustomerId, Status};

    use super::*;

    fn query(sort: SortKey, direction: Direction, window: Window, filter: CustomerFilter) -> CustomerQuery {
        CustomerQuery { organization: OrganizationId::FIRST, filter, sort, direction, window, limit: 20 }
    }

    fn tails(query: &CustomerQuery) -> Vec<String> {
        let sql = rows(query).unwrap().into_iter().map(|statement| statement.sql().as_str().to_owned());
        sql.map(|sql| sql.split_once(" where ").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn fragments_add_up_to_whole_statements() {
        let filter = CustomerFilter {
            status: Some(Status::Active),
            office: Some(custodia_domain::OfficeId::FIRST),
            words: vec!["ada".into()],
        };
        let page = query(SortKey::Id, Direction::Ascending, Window::Page { offset: 40 }, filter);
        assert_eq!(
            tails(&page),
            [concat!(
                "organization_id = ? and status = ? and office_id = ? and id in (select customer_id from ",
                "customer_words where organization_id = ? and word >= ? and word < ?) order by id limit ? offset ?"
            )]
        );
        let place =
            Boundary { value: SortValue::Date(Some(Date::parse("2026-01-01").unwrap())), id: CustomerId::FIRST };
        let walk = Window::After(Some(place));
        assert_eq!(
            tails(&query(SortKey::ActivationDate, Direction::Descending, walk, CustomerFilter::default())),
            [
                concat!(
                    "organization_id = ? and (activated_on, id) < (?, ?) ",
                    "order by activated_on desc nulls last, id desc limit ?"
                ),
                concat!(
                    "organization_id = ? and activated_on is null ",
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
