//! API keys and partner accounts in SQLite.

use std::collections::HashMap;
use std::convert::Infallible;

use async_trait::async_trait;
use custodia_domain::ports::{AddError, ApiKey, CredentialStore, PartnerAccount, Scope, StoreError};
use custodia_domain::{OrganizationId, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::error::store_error;
use super::rows::Fields;

macro_rules! key_columns {
    () => {
        "id, organization_id, name, hash, scope, revoked_at"
    };
}

const INSERT_KEY: &str = "insert into api_keys (id, organization_id, name, hash, scope, created_at)
    select coalesce(max(id), 0) + 1, ?1, ?2, ?3, ?4, ?5 from api_keys where true
    on conflict (hash) do nothing
    returning id";
const SELECT_KEYS: &str =
    concat!("select ", key_columns!(), " from api_keys where hash in (select unhex(value) from json_each(?1))");
const SELECT_KEYS_OF: &str =
    concat!("select ", key_columns!(), " from api_keys where organization_id = ?1 order by id");
const REVOKE_KEY: &str =
    "update api_keys set revoked_at = coalesce(revoked_at, ?3) where organization_id = ?1 and id = ?2";
const INSERT_ACCOUNT: &str = "insert into partner_accounts (id, organization_id, email, password_hash, created_at)
    select coalesce(max(id), 0) + 1, ?1, ?2, ?3, ?4 from partner_accounts where true
    on conflict (email) do nothing
    returning id";
const SELECT_ACCOUNT: &str = "select id, organization_id, password_hash from partner_accounts where email = ?1";

#[async_trait]
impl CredentialStore for SqliteStore {
    async fn add_api_key(
        &self,
        organization: OrganizationId,
        name: &str,
        hash: [u8; 32],
        scope: Scope,
        at: Timestamp,
    ) -> Result<i64, AddError> {
        let name = name.to_owned();
        self.add(move |connection| {
            Box::pin(async move {
                let insert = sqlx::query(INSERT_KEY).bind(organization.get()).bind(name).bind(&hash[..]);
                let insert = insert.bind(scope_label(scope)).bind(at.microseconds());
                insert.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()
            })
        })
        .await
    }

    async fn api_keys(&self, hashes: &[[u8; 32]]) -> Result<Vec<Option<ApiKey>>, StoreError> {
        let wanted: Vec<String> = hashes.iter().map(hex::encode).collect();
        let wanted = serde_json::to_string(&wanted).expect("a list of texts is JSON");
        let rows = sqlx::query(SELECT_KEYS).bind(wanted).fetch_all(&self.readers).await.map_err(store_error)?;
        let found: Vec<ApiKey> = rows.iter().map(api_key).collect::<Result<_, _>>()?;
        let found: HashMap<[u8; 32], ApiKey> = found.into_iter().map(|key| (key.hash, key)).collect();
        Ok(hashes.iter().map(|hash| found.get(hash).cloned()).collect())
    }

    async fn list_api_keys(&self, organization: OrganizationId) -> Result<Vec<ApiKey>, StoreError> {
        let selected = sqlx::query(SELECT_KEYS_OF).bind(organization.get());
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(api_key).collect()
    }

    async fn revoke_api_key(&self, organization: OrganizationId, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        self.write(move |connection| {
            Box::pin(async move {
                let revoke = sqlx::query(REVOKE_KEY).bind(organization.get()).bind(id).bind(at.microseconds());
                Ok(Ok(revoke.execute(connection).await.map_err(store_error)?.rows_affected() == 1))
            })
        })
        .await
    }

    async fn add_account(
        &self,
        organization: OrganizationId,
        email: &str,
        password_hash: &str,
        at: Timestamp,
    ) -> Result<i64, AddError> {
        let (email, password_hash) = (email.to_lowercase(), password_hash.to_owned());
        self.add(move |connection| {
            Box::pin(async move {
                let insert = sqlx::query(INSERT_ACCOUNT).bind(organization.get()).bind(email).bind(password_hash);
                let inserted = insert.bind(at.microseconds()).fetch_optional(connection).await;
                inserted?.map(|row| row.try_get(0)).transpose()
            })
        })
        .await
    }

    async fn account(&self, email: &str) -> Result<Option<PartnerAccount>, StoreError> {
        let selected = sqlx::query(SELECT_ACCOUNT).bind(email.to_lowercase());
        let row = selected.fetch_optional(&self.readers).await.map_err(store_error)?;
        let account = |row| {
            let mut fields = Fields::of(row, "partner_accounts", "id, organization_id, password_hash");
            let (id, organization) = (fields.number(Ok::<_, Infallible>)?, fields.number(OrganizationId::parse)?);
            Ok(PartnerAccount { id, organization, password_hash: fields.raw()? })
        };
        row.as_ref().map(account).transpose()
    }
}

const fn scope_label(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Write => "write",
    }
}

fn api_key(row: &SqliteRow) -> Result<ApiKey, StoreError> {
    let mut fields = Fields::of(row, "api_keys", key_columns!());
    Ok(ApiKey {
        id: fields.number(Ok::<_, Infallible>)?,
        organization: fields.number(OrganizationId::parse)?,
        name: fields.raw()?,
        hash: fields.hash()?,
        scope: fields.text(|label| {
            [Scope::Read, Scope::Write].into_iter().find(|scope| scope_label(*scope) == label).ok_or(())
        })?,
        revoked_at: fields.optional_number(Timestamp::from_microseconds)?,
    })
}
