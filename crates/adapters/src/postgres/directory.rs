//! Organizations, offices and closure reasons as rows. Must not know customers.

use custodia_domain::ports::{AddError, Office, Offices, StoreError};
use custodia_domain::{ClosureReasonId, OfficeId, OfficeName, OrganizationId, Timestamp};
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
            (id, name, default_office_id, next_customer_id, next_sequence, customer_count, created_at)
        select coalesce(max(o.id), 0) + 1, $1, 1, 1, 0, 0, $3 from organizations o
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
