//! API keys and partner accounts as rows. Must not know how a secret is checked.

use std::collections::HashMap;

use custodia_domain::ports::{AddError, ApiKey, PartnerAccount, Scope};
use custodia_domain::{OrganizationId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::columns::SqlInstant;
use super::customers::{ReadFailure, Reader};
use super::directory::{is_raced, organization_exists, stored};
use super::fault::{Failure, pause};

/// How often a number that another caller took at the same time is followed by the next one.
const ATTEMPTS: u32 = 20;

const ADD_API_KEY: &str = "
    insert into api_keys (id, organization_id, name, hash, scope, created_at)
    select coalesce(max(k.id), 0) + 1, $1, $2, $3, $4, $5 from api_keys k
    returning id";

const API_KEY_OF_HASH: &str = "select exists (select 1 from api_keys k where k.hash = $1)";

const API_KEYS: &str = "
    select k.id, k.organization_id, k.name, k.hash, k.scope, k.revoked_at
    from api_keys k
    where k.hash = any($1)";

const LIST_API_KEYS: &str = "
    select k.id, k.organization_id, k.name, k.hash, k.scope, k.revoked_at
    from api_keys k
    where k.organization_id = $1
    order by k.id";

/// A key that is revoked already keeps its instant.
const REVOKE_API_KEY: &str = "
    update api_keys k set revoked_at = coalesce(k.revoked_at, $3)
    where k.organization_id = $1 and k.id = $2";

const ADD_ACCOUNT: &str = "
    insert into partner_accounts (id, organization_id, email, password_hash, created_at)
    select coalesce(max(a.id), 0) + 1, $1, $2, $3, $4 from partner_accounts a
    returning id";

const ACCOUNT_EXISTS: &str = "select exists (select 1 from partner_accounts a where a.email = $1)";

const ACCOUNT: &str = "
    select a.id, a.organization_id, a.password_hash
    from partner_accounts a
    where a.email = $1";

const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Write => "write",
    }
}

fn scope_of_name(name: &str) -> Option<Scope> {
    [Scope::Read, Scope::Write].into_iter().find(|scope| scope_name(*scope) == name)
}

pub(super) async fn add_api_key(
    session: &mut PgConnection,
    organization: OrganizationId,
    name: &str,
    hash: [u8; 32],
    scope: Scope,
    at: Timestamp,
) -> Result<i64, AddError> {
    for attempt in 0..ATTEMPTS {
        let added = sqlx::query_scalar(ADD_API_KEY)
            .bind(organization.get())
            .bind(name)
            .bind(hash.as_slice())
            .bind(scope_name(scope))
            .bind(SqlInstant(at))
            .fetch_one(&mut *session)
            .await
            .map_err(Failure::from);
        match added {
            Ok(id) => return Ok(id),
            Err(failure) if is_raced(&failure) => {
                refused(session, organization, API_KEY_OF_HASH, hash.as_slice()).await?;
                pause(attempt).await;
            }
            Err(failure) => return Err(AddError::Store(failure.into())),
        }
    }
    Err(AddError::Store(Failure::unavailable("keys are added faster than one can follow").into()))
}

/// Tells a refusal that will stay from a number that another caller took at the same time.
async fn refused<'q, V>(
    session: &mut PgConnection,
    organization: OrganizationId,
    taken: &'static str,
    value: V,
) -> Result<(), AddError>
where
    V: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + 'q,
{
    if !organization_exists(session, organization).await.map_err(stored)? {
        return Err(AddError::NoOrganization);
    }
    let taken: bool = sqlx::query_scalar(taken).bind(value).fetch_one(session).await.map_err(stored)?;
    if taken { Err(AddError::Taken) } else { Ok(()) }
}

pub(super) async fn api_keys(
    session: &mut PgConnection,
    hashes: &[[u8; 32]],
) -> Result<Vec<Option<ApiKey>>, ReadFailure> {
    let wanted: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
    let rows = sqlx::query(API_KEYS).bind(wanted).fetch_all(session).await?;
    let found: HashMap<[u8; 32], ApiKey> =
        rows.iter().map(|row| api_key(row).map(|key| (key.hash, key))).collect::<Result<_, _>>()?;
    Ok(hashes.iter().map(|hash| found.get(hash).cloned()).collect())
}

pub(super) async fn list_api_keys(
    session: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Vec<ApiKey>, ReadFailure> {
    let rows = sqlx::query(LIST_API_KEYS).bind(organization.get()).fetch_all(session).await?;
    rows.iter().map(api_key).collect()
}

fn api_key(row: &PgRow) -> Result<ApiKey, ReadFailure> {
    let id: i64 = row.try_get_unchecked(0)?;
    let read = Reader { row, table: "api_keys", id };
    Ok(ApiKey {
        id,
        organization: read.parsed(1, "organization_id", |id| OrganizationId::parse(id).ok())?,
        name: read.get(2)?,
        hash: read.parsed(3, "hash", |bytes: &[u8]| bytes.try_into().ok())?,
        scope: read.parsed(4, "scope", scope_of_name)?,
        revoked_at: read.get::<Option<SqlInstant>>(5)?.map(|instant| instant.0),
    })
}

pub(super) async fn revoke_api_key(
    session: &mut PgConnection,
    organization: OrganizationId,
    id: i64,
    at: Timestamp,
) -> Result<bool, Failure> {
    let done =
        sqlx::query(REVOKE_API_KEY).bind(organization.get()).bind(id).bind(SqlInstant(at)).execute(session).await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn add_account(
    session: &mut PgConnection,
    organization: OrganizationId,
    email: &str,
    password_hash: &str,
    at: Timestamp,
) -> Result<i64, AddError> {
    let email = email.to_lowercase();
    for attempt in 0..ATTEMPTS {
        let added = sqlx::query_scalar(ADD_ACCOUNT)
            .bind(organization.get())
            .bind(email.as_str())
            .bind(password_hash)
            .bind(SqlInstant(at))
            .fetch_one(&mut *session)
            .await
            .map_err(Failure::from);
        match added {
            Ok(id) => return Ok(id),
            Err(failure) if is_raced(&failure) => {
                refused(session, organization, ACCOUNT_EXISTS, email.as_str()).await?;
                pause(attempt).await;
            }
            Err(failure) => return Err(AddError::Store(failure.into())),
        }
    }
    Err(AddError::Store(Failure::unavailable("accounts are added faster than one can follow").into()))
}

pub(super) async fn account(session: &mut PgConnection, email: &str) -> Result<Option<PartnerAccount>, ReadFailure> {
    let row = sqlx::query(ACCOUNT).bind(email.to_lowercase()).fetch_optional(session).await?;
    row.as_ref()
        .map(|row| {
            let id: i64 = row.try_get_unchecked(0)?;
            let read = Reader { row, table: "partner_accounts", id };
            Ok(PartnerAccount {
                id,
                organization: read.parsed(1, "organization_id", |id| OrganizationId::parse(id).ok())?,
                password_hash: read.get(2)?,
            })
        })
        .transpose()
}
