//! Accounts with their cards and holders in SQLite: how they are written within a unit, and how they are read. Must
//! not know customers.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use custodia_domain::account::{Account, AccountChange, AccountDetails, AccountId, AccountKind, AccountStatus};
use custodia_domain::ports::{AccountStore, CommitError, StoreError};
use custodia_domain::{ExternalId, OrganizationId, Timestamp, Unit, Version};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Sqlite, SqliteConnection};

use super::SqliteStore;
use super::error::store_error;
use super::rows::Fields;
use super::unit::Stop;
use crate::cards;

/// The columns of an account, in the order in which [`account`] reads them.
macro_rules! account_columns {
    () => {
        "accounts.id, accounts.organization_id, accounts.version, accounts.primary_holder, accounts.status, \
         accounts.kind, accounts.portfolio, accounts.opened_at, accounts.closed_at, accounts.cards, \
         (select json_group_array(held.holder) from account_holders held \
          where held.organization_id = accounts.organization_id and held.account_id = accounts.id)"
    };
}

const COLUMN_NAMES: &str =
    "id, organization_id, version, primary_holder, status, kind, portfolio, opened_at, closed_at, cards, holders";

const INSERT: &str = "insert into accounts (organization_id, id, version, primary_holder, status, kind, portfolio,
        opened_at, closed_at, cards, updated_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    on conflict (organization_id, id) do nothing";
const UPDATE: &str = "update accounts
    set version = ?3, primary_holder = ?4, status = ?5, kind = ?6, portfolio = ?7, opened_at = ?8, closed_at = ?9,
        cards = ?10, updated_at = ?11
    where organization_id = ?1 and id = ?2 and version = ?12";
const DELETE_HOLDERS: &str = "delete from account_holders
    where organization_id = ?1 and account_id = ?2 and holder not in (select value from json_each(?3))";
const INSERT_HOLDERS: &str = "insert into account_holders (organization_id, holder, account_id)
    select ?1, value, ?2 from json_each(?3) where true
    on conflict do nothing";
const SELECT: &str = concat!(
    "select ",
    account_columns!(),
    " from accounts where accounts.organization_id = ?1 and accounts.id in (select value from json_each(?2))"
);
pub(super) const SELECT_HELD: &str = concat!(
    "select ",
    account_columns!(),
    ", account_holders.holder from account_holders",
    " join accounts on accounts.organization_id = account_holders.organization_id",
    " and accounts.id = account_holders.account_id",
    " where account_holders.organization_id = ?1",
    " and account_holders.holder in (select value from json_each(?2)) order by accounts.id"
);

/// Puts the state after a change in the place of the one before, if that is the one that the change expects.
pub(super) async fn keep(connection: &mut SqliteConnection, unit: &Unit, change: &AccountChange) -> Result<(), Stop> {
    let account = change.after();
    if account.organization() != unit.organization {
        return Err(Stop::Failed(StoreError::Fault("an account of another organization than its unit".into())));
    }
    let written = match change.expects() {
        None => bind(INSERT, account, unit.at),
        Some(version) => bind(UPDATE, account, unit.at).bind(version.get()),
    };
    if written.execute(&mut *connection).await?.rows_affected() == 0 {
        return Err(Stop::Refused(CommitError::RecordConflict));
    }
    let holders: Vec<&str> = account.details().holders.iter().map(ExternalId::as_str).collect();
    let holders = serde_json::to_string(&holders).expect("a list of texts is JSON");
    let statements: &[&'static str] =
        if change.expects().is_some() { &[DELETE_HOLDERS, INSERT_HOLDERS] } else { &[INSERT_HOLDERS] };
    for statement in statements {
        let changed = sqlx::query(*statement).bind(account.organization().get()).bind(account.id().as_str());
        changed.bind(&holders).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Binds every column, in the order in which both statements number them.
fn bind(
    statement: &'static str,
    account: &Account,
    at: Timestamp,
) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    let details = account.details();
    sqlx::query(statement)
        .bind(account.organization().get())
        .bind(account.id().as_str().to_owned())
        .bind(account.version().get())
        .bind(details.primary.as_str().to_owned())
        .bind(details.status.label())
        .bind(details.kind.label())
        .bind(details.portfolio.as_str().to_owned())
        .bind(details.opened.microseconds())
        .bind(details.closed.map(Timestamp::microseconds))
        .bind(cards::encode(account.cards()))
        .bind(at.microseconds())
}

/// The account of a row of [`account_columns`].
fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    let mut fields = Fields::of(row, "accounts", COLUMN_NAMES);
    let id = fields.text(AccountId::parse)?;
    let organization = fields.number(OrganizationId::parse)?;
    let version = fields.number(Version::parse)?;
    let primary = fields.text(ExternalId::parse)?;
    let status = fields.text(|label| AccountStatus::from_label(label).ok_or(()))?;
    let kind = fields.text(|label| AccountKind::from_label(label).ok_or(()))?;
    let portfolio = fields.text(ExternalId::parse)?;
    let opened = fields.number(Timestamp::from_microseconds)?;
    let closed = fields.optional_number(Timestamp::from_microseconds)?;
    let cards = fields.text(|text| cards::decode(text).ok_or(()))?;
    let holders = fields.text(|text| {
        let holders: Vec<String> = serde_json::from_str(text).map_err(|_| ())?;
        holders.iter().map(|id| ExternalId::parse(id).map_err(|_| ())).collect::<Result<BTreeSet<_>, _>>()
    })?;
    let details = AccountDetails { holders, primary, status, kind, portfolio, opened, closed };
    Account::rehydrate(organization, id, version, details, cards).map_err(|_| fields.corrupt_by("rules of an account"))
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn accounts(
        &self,
        organization: OrganizationId,
        ids: &[AccountId],
    ) -> Result<Vec<Option<Account>>, StoreError> {
        let rows = self.select_by_texts(SELECT, organization, ids).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let account = account(row)?;
            found.insert(account.id().clone(), account);
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn held_by(
        &self,
        organization: OrganizationId,
        holders: &[ExternalId],
    ) -> Result<Vec<Vec<Account>>, StoreError> {
        let rows = self.select_by_texts(SELECT_HELD, organization, holders).await?;
        let mut held: HashMap<ExternalId, Vec<Account>> = HashMap::new();
        for row in &rows {
            let mut fields = Fields::after(row, "account_holders", "holder", COLUMN_NAMES);
            held.entry(fields.text(ExternalId::parse)?).or_default().push(account(row)?);
        }
        Ok(holders.iter().map(|holder| held.get(holder).cloned().unwrap_or_default()).collect())
    }
}

impl SqliteStore {
    /// The rows of a statement whose second parameter is a JSON array of those texts.
    pub(super) async fn select_by_texts(
        &self,
        statement: &'static str,
        organization: OrganizationId,
        keys: &[ExternalId],
    ) -> Result<Vec<SqliteRow>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<&str> = keys.iter().map(ExternalId::as_str).collect();
        let keys = serde_json::to_string(&keys).expect("a list of texts is JSON");
        let selected = sqlx::query(statement).bind(organization.get()).bind(keys);
        selected.fetch_all(&self.readers).await.map_err(store_error)
    }
}
