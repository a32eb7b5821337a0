//! Organizations, offices, closure reasons, companies and portfolios as rows. Must not know customers.

use custodia_domain::company::{Company, CompanyDetails, CompanyId, CompanyName, CompanyStatus};
use custodia_domain::facets::FreeText;
use custodia_domain::ports::{AddError, CompanyKey, Office, Offices, Portfolio, StoreError};
use custodia_domain::{ClosureReasonId, CompanyNumber, ExternalId, OfficeId, OfficeName, OrganizationId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::columns::SqlInstant;
use super::customers::{ReadFailure, Reader};
use super::fault::{Failure, Kind, pause};
use crate::HEAD_OFFICE;

/// How often a number that another caller took at the same time is followed by the next one.
const ATTEMPTS: u32 = 20;

const ADD_ORGANIZATION: &str = "
    with added as (
        insert into organizations
            (id, name, default_office_id, next_customer_id, next_company_id, next_loan_id, next_sequence,
                customer_count, created_at)
        select coalesce(max(o.id), 0) + 1, $1, 1, 1, 1, 1, 0, 0, $3 from organizations o
        returning id
    ), office as (
        insert into offices (organization_id, id, name, created_at) select added.id, 1, $2, $3 from added
    )
    select id from added";

const ORGANIZATIONS: &str = "select o.id, o.name from organizations o order by o.id";

const ADD_OFFICE: &str = "
    insert into offices (organization_id, id, name, created_at)
    select o.id, (select coalesce(max(f.id), 0) + 1 from offices f where f.organization_id = $1), $2, $3
    from organizations o
    where o.id = $1
    returning id";

const OFFICE_OF_NAME: &str = "select f.id from offices f where f.organization_id = $1 and f.name = $2";

const OFFICES: &str = "
    select f.id, f.name, o.default_office_id
    from organizations o join offices f on f.organization_id = o.id
    where o.id = $1
    order by f.id";

const SET_DEFAULT_OFFICE: &str = "
    update organizations o set default_office_id = $2
    where o.id = $1 and exists (select 1 from offices f where f.organization_id = $1 and f.id = $2)";

const ADD_CLOSURE_REASON: &str = "
    insert into closure_reasons (organization_id, code, label, created_at)
    select o.id, $2, $3, $4 from organizations o where o.id = $1
    on conflict (organization_id, code) do nothing
    returning code";

const ORGANIZATION_EXISTS: &str = "select exists (select 1 from organizations o where o.id = $1)";

const CLOSURE_REASONS: &str =
    "select r.code, r.label from closure_reasons r where r.organization_id = $1 order by r.code";

/// The columns of a company, in the order in which [`company`] reads them.
macro_rules! company_columns {
    () => {
        "c.number, c.company_id, c.name, c.status, c.description, c.industry, c.website, c.phone, c.address"
    };
}

const COMPANIES: &str = concat!(
    "select ",
    company_columns!(),
    " from companies c where c.organization_id = $1 and c.number = any($2)
    union all
    select ",
    company_columns!(),
    " from companies c where c.organization_id = $1 and c.company_id = any($3)"
);

const LIST_COMPANIES: &str = concat!(
    "select ",
    company_columns!(),
    " from companies c where c.organization_id = $1 order by c.number limit $2 offset $3"
);

const COUNT_COMPANIES: &str = "select count(*) from companies c where c.organization_id = $1";

const ADD_PORTFOLIO: &str = "
    insert into portfolios (organization_id, id, name, reward_unit, created_at)
    select o.id, $2, $3, $4, $5 from organizations o where o.id = $1
    on conflict (organization_id, id) do nothing
    returning id";

const PORTFOLIOS: &str =
    "select p.id, p.name, p.reward_unit from portfolios p where p.organization_id = $1 order by p.id";

pub(super) async fn add_organization(
    session: &mut PgConnection,
    name: &str,
    at: Timestamp,
) -> Result<OrganizationId, StoreError> {
    for attempt in 0..ATTEMPTS {
        let added = sqlx::query_scalar(ADD_ORGANIZATION)
            .bind(name)
            .bind(HEAD_OFFICE)
            .bind(SqlInstant(at))
            .fetch_one(&mut *session)
            .await
            .map_err(Failure::from);
        match added {
            Ok(id) => return numbered(id, OrganizationId::parse(id).ok(), "organizations"),
            Err(failure) if is_raced(&failure) => pause(attempt).await,
            Err(failure) => return Err(failure.into()),
        }
    }
    Err(Failure::unavailable("organizations are added faster than one can follow").into())
}

pub(super) async fn organizations(session: &mut PgConnection) -> Result<Vec<(OrganizationId, String)>, ReadFailure> {
    let rows = sqlx::query(ORGANIZATIONS).fetch_all(session).await?;
    rows.iter()
        .map(|row| {
            let read = Reader { row, table: "organizations", id: row.try_get_unchecked(0)? };
            Ok((read.parsed(0, "id", |id| OrganizationId::parse(id).ok())?, read.get(1)?))
        })
        .collect()
}

pub(super) async fn add_office(
    session: &mut PgConnection,
    organization: OrganizationId,
    name: &OfficeName,
    at: Timestamp,
) -> Result<OfficeId, AddError> {
    for attempt in 0..ATTEMPTS {
        let added: Result<Option<i64>, Failure> = sqlx::query_scalar(ADD_OFFICE)
            .bind(organization.get())
            .bind(name.as_str())
            .bind(SqlInstant(at))
            .fetch_optional(&mut *session)
            .await
            .map_err(Failure::from);
        match added {
            Ok(Some(id)) => return Ok(numbered(id, OfficeId::parse(id).ok(), "offices")?),
            Ok(None) => return Err(AddError::NoOrganization),
            Err(failure) if is_raced(&failure) => {
                // Either the name is taken, or another office got the number.
                let taken: Option<i64> = sqlx::query_scalar(OFFICE_OF_NAME)
                    .bind(organization.get())
                    .bind(name.as_str())
                    .fetch_optional(&mut *session)
                    .await
                    .map_err(stored)?;
                if taken.is_some() {
                    return Err(AddError::Taken);
                }
                pause(attempt).await;
            }
            Err(failure) => return Err(AddError::Store(failure.into())),
        }
    }
    Err(AddError::Store(Failure::unavailable("offices are added faster than one can follow").into()))
}

pub(super) async fn offices(
    session: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Option<Offices>, ReadFailure> {
    let rows = sqlx::query(OFFICES).bind(organization.get()).fetch_all(session).await?;
    let mut offices: Option<Offices> = None;
    for row in &rows {
        let read = Reader { row, table: "offices", id: row.try_get_unchecked(0)? };
        let office = Office {
            id: read.parsed(0, "id", |id| OfficeId::parse(id).ok())?,
            name: read.parsed(1, "name", |name| OfficeName::parse(name).ok())?,
        };
        let default = read.parsed(2, "default_office_id", |id| OfficeId::parse(id).ok())?;
        offices.get_or_insert_with(|| Offices { default, all: Vec::with_capacity(rows.len()) }).all.push(office);
    }
    Ok(offices)
}

pub(super) async fn set_default_office(
    session: &mut PgConnection,
    organization: OrganizationId,
    office: OfficeId,
) -> Result<bool, Failure> {
    let done = sqlx::query(SET_DEFAULT_OFFICE).bind(organization.get()).bind(office.get()).execute(session).await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn add_closure_reason(
    session: &mut PgConnection,
    organization: OrganizationId,
    reason: ClosureReasonId,
    label: &str,
    at: Timestamp,
) -> Result<(), AddError> {
    let added: Option<i64> = sqlx::query_scalar(ADD_CLOSURE_REASON)
        .bind(organization.get())
        .bind(reason.get())
        .bind(label)
        .bind(SqlInstant(at))
        .fetch_optional(&mut *session)
        .await
        .map_err(stored)?;
    match added {
        Some(_) => Ok(()),
        None if organization_exists(session, organization).await.map_err(stored)? => Err(AddError::Taken),
        None => Err(AddError::NoOrganization),
    }
}

pub(super) async fn closure_reasons(
    session: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Vec<(ClosureReasonId, String)>, ReadFailure> {
    let rows = sqlx::query(CLOSURE_REASONS).bind(organization.get()).fetch_all(session).await?;
    rows.iter()
        .map(|row| {
            let read = Reader { row, table: "closure_reasons", id: row.try_get_unchecked(0)? };
            Ok((read.parsed(0, "code", |code| ClosureReasonId::parse(code).ok())?, read.get(1)?))
        })
        .collect()
}

/// The companies of those names, in their order.
pub(super) async fn companies(
    session: &mut PgConnection,
    organization: OrganizationId,
    keys: &[CompanyKey],
) -> Result<Vec<Option<Company>>, ReadFailure> {
    let (mut numbers, mut ids) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            CompanyKey::Number(number) => numbers.push(number.get()),
            CompanyKey::Id(id) => ids.push(id.as_str()),
        }
    }
    let rows = sqlx::query(COMPANIES).bind(organization.get()).bind(numbers).bind(ids).fetch_all(session).await?;
    let found = rows.iter().map(|row| company(organization, row)).collect::<Result<Vec<_>, _>>()?;
    let of_key = |key: &CompanyKey| {
        let is_it = |company: &&Company| match key {
            CompanyKey::Number(number) => company.number == *number,
            CompanyKey::Id(id) => company.id == *id,
        };
        found.iter().find(is_it).cloned()
    };
    Ok(keys.iter().map(of_key).collect())
}

/// The companies of an organization by number, some after others, and how many there are.
pub(super) async fn list_companies(
    session: &mut PgConnection,
    organization: OrganizationId,
    offset: u64,
    limit: u8,
) -> Result<(Vec<Company>, u64), ReadFailure> {
    let rows = sqlx::query(LIST_COMPANIES)
        .bind(organization.get())
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&mut *session)
        .await?;
    let total: i64 = sqlx::query_scalar(COUNT_COMPANIES).bind(organization.get()).fetch_one(session).await?;
    let companies = rows.iter().map(|row| company(organization, row)).collect::<Result<_, _>>()?;
    Ok((companies, u64::try_from(total).unwrap_or(0)))
}

/// The company that a row holds, its columns being [`company_columns`].
fn company(organization: OrganizationId, row: &PgRow) -> Result<Company, ReadFailure> {
    let read = Reader { row, table: "companies", id: row.try_get_unchecked(0)? };
    let free = |place, column| read.optional(place, column, |text| FreeText::parse(text).ok());
    Ok(Company {
        organization,
        number: read.parsed(0, "number", |number| CompanyNumber::parse(number).ok())?,
        id: read.parsed(1, "company_id", |id| CompanyId::parse(id).ok())?,
        details: CompanyDetails {
            name: read.parsed(2, "name", |name| CompanyName::parse(name).ok())?,
            status: read.parsed(3, "status", CompanyStatus::from_label)?,
            description: free(4, "description")?,
            industry: free(5, "industry")?,
            website: free(6, "website")?,
            phone: free(7, "phone")?,
            address: free(8, "address")?,
        },
    })
}

pub(super) async fn add_portfolio(
    session: &mut PgConnection,
    organization: OrganizationId,
    portfolio: &Portfolio,
    at: Timestamp,
) -> Result<(), AddError> {
    let added: Option<String> = sqlx::query_scalar(ADD_PORTFOLIO)
        .bind(organization.get())
        .bind(portfolio.id.as_str())
        .bind(&*portfolio.name)
        .bind(&*portfolio.reward_unit)
        .bind(SqlInstant(at))
        .fetch_optional(&mut *session)
        .await
        .map_err(stored)?;
    match added {
        Some(_) => Ok(()),
        None if organization_exists(session, organization).await.map_err(stored)? => Err(AddError::Taken),
        None => Err(AddError::NoOrganization),
    }
}

/// The organization's portfolios, by id.
pub(super) async fn portfolios(
    session: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Vec<Portfolio>, ReadFailure> {
    let rows = sqlx::query(PORTFOLIOS).bind(organization.get()).fetch_all(session).await?;
    rows.iter()
        .map(|row| {
            let read = Reader { row, table: "portfolios", id: organization.get() };
            Ok(Portfolio {
                id: read.parsed(0, "id", |id| ExternalId::parse(id).ok())?,
                name: read.get::<&str>(1)?.into(),
                reward_unit: read.get::<&str>(2)?.into(),
            })
        })
        .collect()
}

pub(super) async fn organization_exists(
    session: &mut PgConnection,
    organization: OrganizationId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(ORGANIZATION_EXISTS).bind(organization.get()).fetch_one(session).await
}

/// Whether another caller took the same number or name at the same time.
pub(super) fn is_raced(failure: &Failure) -> bool {
    matches!(failure.kind, Kind::Violation | Kind::Again)
}

/// A driver's error as a store's.
pub(super) fn stored(error: sqlx::Error) -> StoreError {
    Failure::from(error).into()
}

/// A number as the domain knows it.
fn numbered<T>(id: i64, parsed: Option<T>, table: &'static str) -> Result<T, StoreError> {
    parsed.ok_or(StoreError::Corrupt { table, column: "id", id })
}
