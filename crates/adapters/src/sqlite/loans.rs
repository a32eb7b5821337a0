//! Loan positions and credit scores in SQLite: how they are written within a unit, and how they are read. Of
//! customers it knows the counts of loans alone.

use std::collections::HashMap;

use async_trait::async_trait;
use custodia_domain::loan::{Amount, Grade, Loan, LoanChange, LoanPosition, Score, ScoreChange};
use custodia_domain::ports::{
    CommitError, Direction, LoanBook, LoanPage, LoanQuery, LoanSelector, LoanSort, LoanTotals, ScoringEngine,
    StoreError,
};
use custodia_domain::{CustomerId, Date, ExternalId, LoanId, OrganizationId, Status, Unit, Version};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::SqliteStore;
use super::error::{is_unique_violation, store_error};
use super::rows::Fields;
use super::unit::Stop;
use crate::changes;

/// The columns of a loan, in the order in which [`loan`] reads them.
macro_rules! loan_columns {
    () => {
        "id, organization_id, external_id, customer_id, version, position"
    };
}

const MOVE_COUNTS: &str = "update customers set open_loans = ?5, loan_count = ?6
    where organization_id = ?1 and id = ?2 and open_loans = ?3 and loan_count = ?4 and (?7 is null or status = ?7)";
const INSERT: &str = "insert into loans (organization_id, id, version, external_id, customer_id, status, principal,
        total_outstanding, total_paid, expected_disbursement_on, position, updated_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    on conflict (organization_id, id) do nothing";
const UPDATE: &str = "update loans
    set version = ?3, status = ?6, principal = ?7, total_outstanding = ?8, total_paid = ?9,
        expected_disbursement_on = ?10, position = ?11, updated_at = ?12
    where organization_id = ?1 and id = ?2 and external_id = ?4 and customer_id = ?5 and version = ?13";
const KEEP_SCORE: &str =
    "insert into credit_scores (organization_id, external_id, grade, score, credit_limit, updated_at)
    values (?1, ?2, ?3, ?4, ?5, ?6)
    on conflict (organization_id, external_id) do update
    set grade = excluded.grade, score = excluded.score, credit_limit = excluded.credit_limit,
        updated_at = excluded.updated_at";
pub(super) const SELECT: &str = concat!(
    "select ",
    loan_columns!(),
    " from loans where organization_id = ?1 and id in (select value from json_each(?2))",
    " union select ",
    loan_columns!(),
    " from loans indexed by loans_external_id where organization_id = ?1 and external_id in (select value from json_each(?3))"
);
// In two parts, whole units and millionths: the sum of the millionths alone may pass 2^63.
pub(super) const SELECT_TOTALS: &str = "select customer_id,
        coalesce(sum(total_outstanding / 1000000), 0), coalesce(sum(total_outstanding % 1000000), 0),
        coalesce(sum(total_paid / 1000000), 0), coalesce(sum(total_paid % 1000000), 0)
    from loans indexed by loans_by_customer where organization_id = ?1 and customer_id in (select value from json_each(?2))
    group by customer_id";
const SELECT_SCORES: &str = "select external_id, grade, score, credit_limit from credit_scores
    where organization_id = ?1 and external_id in (select value from json_each(?2))";

/// Puts the state after a change in the place of the one before, and moves its customer's counts, if both are as the
/// change expects.
pub(super) async fn keep(connection: &mut SqliteConnection, unit: &Unit, change: &LoanChange) -> Result<(), Stop> {
    let loan = change.after();
    if loan.organization != unit.organization {
        return Err(Stop::Failed(StoreError::Fault("a loan of another organization than its unit".into())));
    }
    let (before, after) = (change.counts_before(), change.counts_after());
    let moved = sqlx::query(MOVE_COUNTS)
        .bind(unit.organization.get())
        .bind(loan.customer.get())
        .bind(i64::from(before.open))
        .bind(i64::from(before.total))
        .bind(i64::from(after.open))
        .bind(i64::from(after.total))
        .bind(change.needs_active_customer().then(|| Status::Active.label()));
    let conflict = || Stop::Refused(CommitError::RecordConflict);
    if moved.execute(&mut *connection).await?.rows_affected() == 0 {
        return Err(conflict());
    }
    let written = match change.expects() {
        None => bind(INSERT, unit, loan),
        Some(version) => bind(UPDATE, unit, loan).bind(version.get()),
    };
    match written.execute(connection).await {
        Ok(written) if written.rows_affected() == 1 => Ok(()),
        Ok(_) => Err(conflict()),
        // Another loan has the external id.
        Err(error) if is_unique_violation(&error) => Err(conflict()),
        Err(error) => Err(error.into()),
    }
}

/// Binds every column, in the order in which both statements number them.
fn bind(statement: &'static str, unit: &Unit, loan: &Loan) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    let position = &loan.position;
    sqlx::query(statement)
        .bind(loan.organization.get())
        .bind(loan.id.get())
        .bind(loan.version.get())
        .bind(loan.external_id.as_str().to_owned())
        .bind(loan.customer.get())
        .bind(position.status.label())
        .bind(position.principal.millionths())
        .bind(position.total_outstanding.map(Amount::millionths))
        .bind(position.total_paid.map(Amount::millionths))
        .bind(position.expected_disbursement.map(|date: Date| i64::from(date.days_since_epoch())))
        .bind(changes::encode_named_values(&position.values()))
        .bind(unit.at.microseconds())
}

/// Keeps the score in the place of an earlier one.
pub(super) async fn keep_score(
    connection: &mut SqliteConnection,
    unit: &Unit,
    change: &ScoreChange,
) -> Result<(), Stop> {
    let score = change.score();
    let kept = sqlx::query(KEEP_SCORE)
        .bind(unit.organization.get())
        .bind(change.external_id().as_str())
        .bind(score.grade.label())
        .bind(i64::from(score.score))
        .bind(score.limit.millionths())
        .bind(unit.at.microseconds());
    kept.execute(connection).await?;
    Ok(())
}

/// The loan of a row of [`loan_columns`].
fn loan(row: &SqliteRow) -> Result<Loan, StoreError> {
    let mut fields = Fields::of(row, "loans", loan_columns!());
    let id = fields.number(LoanId::parse)?;
    Ok(Loan {
        id,
        organization: fields.number(OrganizationId::parse)?,
        external_id: fields.text(ExternalId::parse)?,
        customer: fields.number(CustomerId::parse)?,
        version: fields.number(Version::parse)?,
        position: fields.text(|text| {
            let values = changes::decode_named_values(text).ok_or(())?;
            LoanPosition::from_values(|name| values.get(name)).ok_or(())
        })?,
    })
}

/// Pushes the table and the conditions of a query. The index that leaves the fewest rows is named: the planner, which
/// knows nothing of how many there are, would rather pass over all the others.
fn restrict(statement: &mut QueryBuilder<Sqlite>, query: &LoanQuery, is_in_order: bool) {
    let by_status = query.status.is_some() && !(is_in_order && query.sort != LoanSort::Id);
    statement.push(match query.customer {
        Some(_) => "loans indexed by loans_by_customer",
        None if by_status => "loans indexed by loans_by_status",
        None => "loans",
    });
    statement.push(" where organization_id = ").push_bind(query.organization.get());
    if let Some(customer) = query.customer {
        statement.push(" and customer_id = ").push_bind(customer.get());
    }
    if let Some(status) = query.status {
        let plain = if by_status && query.customer.is_none() { "" } else { "+" };
        statement.push(" and ").push(plain).push("status = ").push_bind(status.label());
    }
}

/// The statement for one page.
pub(super) fn page(query: &LoanQuery) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new(concat!("select ", loan_columns!(), " from "));
    restrict(&mut statement, query, true);
    statement.push(match (query.sort, query.direction) {
        (LoanSort::Id, Direction::Ascending) => " order by id",
        (LoanSort::Id, Direction::Descending) => " order by id desc",
        (LoanSort::Principal, Direction::Ascending) => " order by principal, id",
        (LoanSort::Principal, Direction::Descending) => " order by principal desc, id desc",
        (LoanSort::ExpectedDisbursement, Direction::Ascending) => " order by expected_disbursement_on nulls last, id",
        (LoanSort::ExpectedDisbursement, Direction::Descending) => {
            " order by expected_disbursement_on desc nulls last, id desc"
        }
    });
    statement.push(" limit ").push_bind(i64::from(query.limit));
    statement.push(" offset ").push_bind(i64::try_from(query.offset).unwrap_or(i64::MAX));
    statement
}

#[async_trait]
impl LoanBook for SqliteStore {
    async fn loans(
        &self,
        organization: OrganizationId,
        selectors: &[LoanSelector],
    ) -> Result<Vec<Option<Loan>>, StoreError> {
        let (mut ids, mut external_ids) = (Vec::new(), Vec::new());
        for selector in selectors {
            match selector {
                LoanSelector::Id(id) => ids.push(id.get()),
                LoanSelector::ExternalId(external_id) => external_ids.push(external_id.as_str()),
            }
        }
        let ids = serde_json::to_string(&ids).expect("a list of numbers is JSON");
        let external_ids = serde_json::to_string(&external_ids).expect("a list of texts is JSON");
        let selected = sqlx::query(SELECT).bind(organization.get()).bind(ids).bind(external_ids);
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let found: Vec<Loan> = rows.iter().map(loan).collect::<Result<_, _>>()?;
        let find = |selector: &LoanSelector| {
            let is_meant = |loan: &&Loan| match selector {
                LoanSelector::Id(id) => loan.id == *id,
                LoanSelector::ExternalId(external_id) => loan.external_id == *external_id,
            };
            found.iter().find(is_meant).cloned()
        };
        Ok(selectors.iter().map(find).collect())
    }

    async fn list_loans(&self, query: &LoanQuery) -> Result<LoanPage, StoreError> {
        let mut count = QueryBuilder::new("select count(*) from ");
        restrict(&mut count, query, false);
        let counted = count.build().fetch_one(&self.readers).await;
        let total: i64 = counted.and_then(|row| row.try_get(0)).map_err(store_error)?;
        let rows = page(query).build().fetch_all(&self.readers).await.map_err(store_error)?;
        let loans = rows.iter().map(loan).collect::<Result<_, _>>()?;
        Ok(LoanPage { loans, total: u64::try_from(total).unwrap_or_default() })
    }

    async fn totals(
        &self,
        organization: OrganizationId,
        customers: &[CustomerId],
    ) -> Result<Vec<LoanTotals>, StoreError> {
        let ids: Vec<i64> = customers.iter().copied().map(CustomerId::get).collect();
        let ids = serde_json::to_string(&ids).expect("a list of numbers is JSON");
        let selected = sqlx::query(SELECT_TOTALS).bind(organization.get()).bind(ids);
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let mut totals = HashMap::with_capacity(rows.len());
        for row in &rows {
            let mut fields = Fields::of(row, "loans", "customer_id, total_outstanding, , total_paid, ");
            let customer = fields.number(CustomerId::parse)?;
            let mut sum = || -> Result<i128, StoreError> {
                Ok(i128::from(fields.raw::<i64>()?) * 1_000_000 + i128::from(fields.raw::<i64>()?))
            };
            totals.insert(customer, LoanTotals { outstanding: sum()?, paid: sum()? });
        }
        Ok(customers.iter().map(|customer| totals.get(customer).copied().unwrap_or_default()).collect())
    }
}

#[async_trait]
impl ScoringEngine for SqliteStore {
    async fn scores(&self, organization: OrganizationId, ids: &[ExternalId]) -> Result<Vec<Option<Score>>, StoreError> {
        let rows = self.select_by_texts(SELECT_SCORES, organization, ids).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let mut fields = Fields::of(row, "credit_scores", "external_id, grade, score, credit_limit");
            let external_id = fields.text(ExternalId::parse)?;
            let score = Score {
                grade: fields.text(|label| Grade::from_label(label).ok_or(()))?,
                score: fields.number(u16::try_from)?,
                limit: fields.number(Amount::from_millionths)?,
            };
            found.insert(external_id, score);
        }
        Ok(ids.iter().map(|id| found.get(id).copied()).collect())
    }
}
