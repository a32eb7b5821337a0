//! Accounts with their cards as rows: how they are found. Must not know how they are written.

use std::collections::{BTreeSet, HashMap};

use custodia_domain::account::{Account, AccountDetails, AccountId, AccountKind, AccountStatus};
use custodia_domain::{ExternalId, OrganizationId, Version};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::columns::SqlInstant;
use super::customers::{ReadFailure, Reader};
use crate::cards;

/// The columns of an account, in the order in which [`account`] reads them.
macro_rules! account_columns {
    () => {
        "a.id, a.version, a.primary_holder, a.status, a.kind, a.portfolio, a.opened_at, a.closed_at, a.cards, \
         array(select h.holder from account_holders h where h.organization_id = $1 and h.account_id = a.id) as holders"
    };
}

/// Each account is looked up by its key: see [`super::loans`].
pub(super) const ACCOUNTS: &str = concat!(
    "select f.id, f.version, f.primary_holder, f.status, f.kind, f.portfolio, f.opened_at, f.closed_at, f.cards, f.holders
    from unnest($2::text[]) as k (id) cross join lateral (select ",
    account_columns!(),
    " from accounts a where a.organization_id = $1 and a.id = k.id offset 0) f"
);

/// Each account once, however many of the holders hold it.
pub(super) const HELD: &str = concat!(
    "select f.id, f.version, f.primary_holder, f.status, f.kind, f.portfolio, f.opened_at, f.closed_at, f.cards, f.holders
    from (
        select distinct h.account_id
        from unnest($2::text[]) as k (holder) cross join lateral (select m.account_id
            from account_holders m where m.organization_id = $1 and m.holder = k.holder offset 0) h
    ) held cross join lateral (select ",
    account_columns!(),
    " from accounts a where a.organization_id = $1 and a.id = held.account_id offset 0) f
    order by f.id"
);

/// The accounts of those ids, in their order.
pub(super) async fn accounts(
    session: &mut PgConnection,
    organization: OrganizationId,
    ids: &[AccountId],
) -> Result<Vec<Option<Account>>, ReadFailure> {
    let wanted: Vec<&str> = ids.iter().map(ExternalId::as_str).collect();
    let rows = sqlx::query(ACCOUNTS).bind(organization.get()).bind(wanted).fetch_all(session).await?;
    let found = rows
        .iter()
        .map(|row| account(organization, row).map(|account| (account.id().clone(), account)))
        .collect::<Result<HashMap<_, _>, _>>()?;
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// The accounts that each of those customers holds, by id.
pub(super) async fn held_by(
    session: &mut PgConnection,
    organization: OrganizationId,
    holders: &[ExternalId],
) -> Result<Vec<Vec<Account>>, ReadFailure> {
    let wanted: Vec<&str> = holders.iter().map(ExternalId::as_str).collect();
    let rows = sqlx::query(HELD).bind(organization.get()).bind(wanted).fetch_all(session).await?;
    let found = rows.iter().map(|row| account(organization, row)).collect::<Result<Vec<_>, _>>()?;
    let mut held: HashMap<&ExternalId, Vec<&Account>> = HashMap::new();
    for account in &found {
        for holder in &account.details().holders {
            held.entry(holder).or_default().push(account);
        }
    }
    let of_holder = |holder: &ExternalId| held.get(holder).map(|accounts| accounts.iter().copied().cloned().collect());
    Ok(holders.iter().map(|holder| of_holder(holder).unwrap_or_default()).collect())
}

/// The account that a row holds, its columns being [`account_columns`].
fn account(organization: OrganizationId, row: &PgRow) -> Result<Account, ReadFailure> {
    let read = Reader { row, table: "accounts", id: organization.get() };
    let external = |place, column| read.parsed(place, column, |text| ExternalId::parse(text).ok());
    let holders = |texts: Vec<String>| texts.iter().map(|text| ExternalId::parse(text).ok()).collect();
    let details = AccountDetails {
        holders: read.parsed::<Vec<String>, BTreeSet<ExternalId>>(9, "holder", holders)?,
        primary: external(2, "primary_holder")?,
        status: read.parsed(3, "status", AccountStatus::from_label)?,
        kind: read.parsed(4, "kind", AccountKind::from_label)?,
        portfolio: external(5, "portfolio")?,
        opened: read.get::<SqlInstant>(6)?.0,
        closed: read.get::<Option<SqlInstant>>(7)?.map(|instant| instant.0),
    };
    let version = read.parsed(1, "version", |version| Version::parse(version).ok())?;
    let cards = read.parsed(8, "cards", cards::decode)?;
    Account::rehydrate(organization, external(0, "id")?, version, details, cards).map_err(|_| read.corrupt("cards"))
}
