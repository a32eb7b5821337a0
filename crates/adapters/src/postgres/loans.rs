//! Loan positions and credit scores as rows: how they are found, listed and summed up. Must not know how they are
//! written.

use std::collections::HashMap;
use std::fmt::Write as _;

use custodia_domain::loan::{Amount, Grade, Loan, LoanPosition, Score};
use custodia_domain::ports::{Direction, LoanPage, LoanQuery, LoanSelector, LoanSort, LoanTotals};
use custodia_domain::{CustomerId, ExternalId, LoanId, OrganizationId, Version};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe, PgConnection, Row as _};

use super::customers::{ReadFailure, Reader};
use crate::changes;

/// The columns of a loan, in the order in which [`loan`] reads them.
macro_rules! loan_columns {
    () => {
        "l.id, l.external_id, l.customer_id, l.version, l.position"
    };
}

/// Each loan is looked up by its key, whatever the planner knows of the tables: until somebody has counted the rows, it
/// takes every organization to be small, and would read all of it instead.
pub(super) const LOANS: &str = concat!(
    "select ",
    loan_columns!(),
    " from unnest($2::bigint[]) as k (id) cross join lateral (select ",
    loan_columns!(),
    " from loans l where l.organization_id = $1 and l.id = k.id offset 0) l
    union all
    select ",
    loan_columns!(),
    " from unnest($3::text[]) as k (external_id) cross join lateral (select ",
    loan_columns!(),
    " from loans l where l.organization_id = $1 and l.external_id = k.external_id offset 0) l"
);

/// A sum of many amounts passes the range of any integer that the server has.
pub(super) const TOTALS: &str = "
    select k.id, s.outstanding::text, s.paid::text
    from unnest($2::bigint[]) as k (id) cross join lateral (
        select coalesce(sum(l.total_outstanding), 0) as outstanding, coalesce(sum(l.total_paid), 0) as paid
        from loans l
        where l.organization_id = $1 and l.customer_id = k.id) s";

pub(super) const SCORES: &str = "
    select s.external_id, s.grade, s.score, s.credit_limit
    from unnest($2::text[]) as k (external_id) cross join lateral (
        select c.external_id, c.grade, c.score, c.credit_limit
        from credit_scores c where c.organization_id = $1 and c.external_id = k.external_id offset 0) s";

/// The loans of those names, in their order.
pub(super) async fn loans(
    session: &mut PgConnection,
    organization: OrganizationId,
    selectors: &[LoanSelector],
) -> Result<Vec<Option<Loan>>, ReadFailure> {
    let (mut ids, mut external_ids) = (Vec::new(), Vec::new());
    for selector in selectors {
        match selector {
            LoanSelector::Id(id) => ids.push(id.get()),
            LoanSelector::ExternalId(id) => external_ids.push(id.as_str()),
        }
    }
    let rows = sqlx::query(LOANS).bind(organization.get()).bind(ids).bind(external_ids).fetch_all(session).await?;
    let found = rows.iter().map(|row| loan(organization, row)).collect::<Result<Vec<_>, _>>()?;
    let of_selector = |selector: &LoanSelector| {
        let is_it = |loan: &&Loan| match selector {
            LoanSelector::Id(id) => loan.id == *id,
            LoanSelector::ExternalId(id) => loan.external_id == *id,
        };
        found.iter().find(is_it).cloned()
    };
    Ok(selectors.iter().map(of_selector).collect())
}

/// One page of loans.
pub(super) async fn list(session: &mut PgConnection, query: &LoanQuery) -> Result<LoanPage, ReadFailure> {
    let (conditions, arguments) = conditions(query);
    let count = format!("select count(*) from loans l where {conditions}");
    let total: i64 = sqlx::query_scalar_with(AssertSqlSafe(count), arguments.clone()).fetch_one(&mut *session).await?;
    let sql = page(query, &conditions);
    // An offset is part of the text, as the limit is: only first pages come again.
    let statement = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(query.offset == 0);
    let rows = statement.fetch_all(session).await?;
    let loans = rows.iter().map(|row| loan(query.organization, row)).collect::<Result<_, _>>()?;
    Ok(LoanPage { loans, total: u64::try_from(total).unwrap_or(0) })
}

fn conditions(query: &LoanQuery) -> (String, PgArguments) {
    let encoded = "numbers and texts are always encoded";
    let mut arguments = PgArguments::default();
    let mut sql = String::from("l.organization_id = $1");
    arguments.add(query.organization.get()).expect(encoded);
    let mut bound = 1;
    if let Some(customer) = query.customer {
        bound += 1;
        let _ = write!(sql, " and l.customer_id = ${bound}");
        arguments.add(customer.get()).expect(encoded);
    }
    if let Some(status) = query.status {
        bound += 1;
        let _ = write!(sql, " and l.status = ${bound}");
        arguments.add(status.label()).expect(encoded);
    }
    (sql, arguments)
}

/// Loans without an expected disbursement come last in both directions, which no index gives both ways: those with and
/// those without are two walks, each in the order of its index.
fn page(query: &LoanQuery, conditions: &str) -> String {
    let direction = match query.direction {
        Direction::Ascending => "asc",
        Direction::Descending => "desc",
    };
    let (limit, offset) = (query.limit, query.offset);
    let one_walk = |order: &str| {
        format!(
            concat!("select ", loan_columns!(), " from loans l where {} order by {} limit {} offset {}"),
            conditions, order, limit, offset
        )
    };
    match query.sort {
        LoanSort::Id => one_walk(&format!("l.id {direction}")),
        LoanSort::Principal => one_walk(&format!("l.principal {direction}, l.id {direction}")),
        LoanSort::ExpectedDisbursement => {
            let reach = offset.saturating_add(limit.into());
            let column = "l.expected_disbursement_on";
            let walk = |which: &str, order: &str| {
                format!(
                    concat!("(select ", loan_columns!(), ", {} from loans l where {} and {} {} order by {} limit {})"),
                    column, conditions, column, which, order, reach
                )
            };
            let with = walk("is not null", &format!("{column} {direction}, l.id {direction}"));
            let without = walk("is null", &format!("l.id {direction}"));
            format!(
                concat!(
                    "select ",
                    loan_columns!(),
                    " from ({} union all {}) l order by {} {} nulls last, l.id {} limit {} offset {}"
                ),
                with, without, column, direction, direction, limit, offset
            )
        }
    }
}

/// The sums over the loans of each of those customers, in their order.
pub(super) async fn totals(
    session: &mut PgConnection,
    organization: OrganizationId,
    customers: &[CustomerId],
) -> Result<Vec<LoanTotals>, ReadFailure> {
    let wanted: Vec<i64> = customers.iter().map(|customer| customer.get()).collect();
    let rows = sqlx::query(TOTALS).bind(organization.get()).bind(wanted).fetch_all(session).await?;
    let sums = rows.iter().map(|row| {
        let customer: i64 = row.try_get_unchecked(0)?;
        let read = Reader { row, table: "loans", id: customer };
        let sum = |place, column| read.parsed(place, column, |text: &str| text.parse().ok());
        Ok((customer, LoanTotals { outstanding: sum(1, "total_outstanding")?, paid: sum(2, "total_paid")? }))
    });
    let sums = sums.collect::<Result<HashMap<i64, LoanTotals>, ReadFailure>>()?;
    Ok(customers.iter().map(|customer| sums.get(&customer.get()).copied().unwrap_or_default()).collect())
}

/// The scores of those external ids, in their order.
pub(super) async fn scores(
    session: &mut PgConnection,
    organization: OrganizationId,
    ids: &[ExternalId],
) -> Result<Vec<Option<Score>>, ReadFailure> {
    let wanted: Vec<&str> = ids.iter().map(ExternalId::as_str).collect();
    let rows = sqlx::query(SCORES).bind(organization.get()).bind(wanted).fetch_all(session).await?;
    let mut found: HashMap<&str, Score> = HashMap::new();
    for row in &rows {
        let read = Reader { row, table: "credit_scores", id: organization.get() };
        let score = Score {
            grade: read.parsed(1, "grade", Grade::from_label)?,
            score: read.parsed(2, "score", |score: i16| u16::try_from(score).ok())?,
            limit: read.parsed(3, "credit_limit", |limit| Amount::from_millionths(limit).ok())?,
        };
        found.insert(read.get(0)?, score);
    }
    Ok(ids.iter().map(|id| found.get(id.as_str()).copied()).collect())
}

/// The loan that a row holds, its columns being [`loan_columns`].
fn loan(organization: OrganizationId, row: &PgRow) -> Result<Loan, ReadFailure> {
    let id: i64 = row.try_get_unchecked(0)?;
    let read = Reader { row, table: "loans", id };
    let position = |text: &str| {
        let values = changes::decode_named_values(text)?;
        LoanPosition::from_values(|name| values.get(name))
    };
    Ok(Loan {
        organization,
        id: LoanId::parse(id).map_err(|_| read.corrupt("id"))?,
        external_id: read.parsed(1, "external_id", |text| ExternalId::parse(text).ok())?,
        customer: read.parsed(2, "customer_id", |id| CustomerId::parse(id).ok())?,
        version: read.parsed(3, "version", |version| Version::parse(version).ok())?,
        position: read.parsed(4, "position", position)?,
    })
}
