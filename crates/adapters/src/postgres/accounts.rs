//! Accounts with their cards as rows: how they are found, alone and with the customers of a batch. Must not know how they are
//! written.

use std::collections::{BTreeSet, HashMap};

use custodia_domain::account::{Account, AccountDetails, AccountId, AccountKind, AccountStatus};
use custodia_domain::ports::{BatchKeys, Met};
use custodia_domain::{Customer, ExternalId, OrganizationId, Version};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::columns::SqlInstant;
use super::customers::{AFTER_CUSTOMER, ReadFailure, Reader, customer, customer_columns};
use crate::cards;

/// The columns of an account, in the order in which [`account`] reads them.
macro_rules! account_columns {
    () => {
        "a.id, a.version, a.primary_holder, a.status, a.kind, a.portfolio, a.opened_at, a.closed_at, a.cards, \
         array(select h.holder from account_holders h where h.organization_id = $1 and h.account_id = a.id) as holders"
    };
}

/// Nulls in the place of a customer's columns.
macro_rules! no_customer {
    () => {
        "null::bigint, null::bigint, null::bigint, null::text, null::bigint, null::text, null::date, null::date, \
         null::date, null::bigint, null::text, null::text, null::text, null::text, null::text, \
         null::text, null::date, null::bigint, null::smallint, null::bigint, null::timestamptz, null::timestamptz, \
         null::text, null::bigint, null::bigint"
    };
}

/// How many columns an account has.
const AFTER_ACCOUNT: usize = 10;

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

/// A row of each kind: a customer, then its account's columns null; an account that was asked for, or that is held, its
/// customer's columns null.
pub(super) const MEET: &str = concat!(
    "select ",
    customer_columns!(),
    ", null::text, null::bigint, null::text, null::text, null::text, null::text, null::timestamptz, null::timestamptz,
        null::text, null::text[], 0
    from unnest($2::text[]) as k (external_id) cross join lateral (select ",
    customer_columns!(),
    " from customers c where c.organization_id = $1 and c.external_id = k.external_id offset 0) c
    union all
    select ",
    no_customer!(),
    ", f.id, f.version, f.primary_holder, f.status, f.kind, f.portfolio, f.opened_at, f.closed_at, f.cards, f.holders, 1
    from unnest($3::text[]) as k (id) cross join lateral (select ",
    account_columns!(),
    " from accounts a where a.organization_id = $1 and a.id = k.id offset 0) f
    union all
    select ",
    no_customer!(),
    ", f.id, f.version, f.primary_holder, f.status, f.kind, f.portfolio, f.opened_at, f.closed_at, f.cards, f.holders, 2
    from (
        select distinct h.account_id
        from unnest($4::text[]) as k (holder) cross join lateral (select m.account_id
            from account_holders m where m.organization_id = $1 and m.holder = k.holder offset 0) h
    ) held cross join lateral (select ",
    account_columns!(),
    " from accounts a where a.organization_id = $1 and a.id = held.account_id offset 0) f"
);

/// What is there of a batch.
pub(super) async fn meet(
    session: &mut PgConnection,
    organization: OrganizationId,
    batch: &BatchKeys,
) -> Result<Met, ReadFailure> {
    let wanted = [&batch.customers, &batch.accounts, &batch.holders];
    let [customers, accounts, holders] = wanted.map(|ids| ids.iter().map(ExternalId::as_str).collect::<Vec<_>>());
    let statement = sqlx::query(MEET).bind(organization.get()).bind(customers).bind(accounts).bind(holders);
    let rows = statement.fetch_all(session).await?;
    let mut customers: HashMap<ExternalId, Customer> = HashMap::new();
    let mut accounts: HashMap<AccountId, Account> = HashMap::new();
    let mut held = Vec::new();
    for row in &rows {
        match row.try_get_unchecked::<i32, _>(AFTER_CUSTOMER + AFTER_ACCOUNT)? {
            0 => {
                let customer = customer(row)?;
                customers.extend(customer.external_id().cloned().map(|id| (id, customer)));
            }
            1 => {
                let account = account(organization, row, AFTER_CUSTOMER)?;
                accounts.insert(account.id().clone(), account);
            }
            _ => held.push(account(organization, row, AFTER_CUSTOMER)?),
        }
    }
    held.sort_by(|left, right| left.id().cmp(right.id()));
    Ok(Met {
        customers: batch.customers.iter().map(|id| customers.remove(id)).collect(),
        accounts: batch.accounts.iter().map(|id| accounts.remove(id)).collect(),
        held: by_holder(&held, &batch.holders),
    })
}

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
        .map(|row| account(organization, row, 0).map(|account| (account.id().clone(), account)))
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
    let found = rows.iter().map(|row| account(organization, row, 0)).collect::<Result<Vec<_>, _>>()?;
    Ok(by_holder(&found, holders))
}

/// Those of the accounts that each of the holders holds.
fn by_holder(accounts: &[Account], holders: &[ExternalId]) -> Vec<Vec<Account>> {
    let mut held: HashMap<&ExternalId, Vec<&Account>> = HashMap::new();
    for account in accounts {
        for holder in &account.details().holders {
            held.entry(holder).or_default().push(account);
        }
    }
    let of_holder = |holder: &ExternalId| held.get(holder).map(|accounts| accounts.iter().copied().cloned().collect());
    holders.iter().map(|holder| of_holder(holder).unwrap_or_default()).collect()
}

/// The account that a row holds, its columns from that place on being [`account_columns`].
fn account(organization: OrganizationId, row: &PgRow, first: usize) -> Result<Account, ReadFailure> {
    let read = Reader { row, table: "accounts", id: organization.get() };
    let external = |place, column| read.parsed(first + place, column, |text| ExternalId::parse(text).ok());
    let holders = |texts: Vec<String>| texts.iter().map(|text| ExternalId::parse(text).ok()).collect();
    let details = AccountDetails {
        holders: read.parsed::<Vec<String>, BTreeSet<ExternalId>>(first + 9, "holder", holders)?,
        primary: external(2, "primary_holder")?,
        status: read.parsed(first + 3, "status", AccountStatus::from_label)?,
        kind: read.parsed(first + 4, "kind", AccountKind::from_label)?,
        portfolio: external(5, "portfolio")?,
        opened: read.get::<SqlInstant>(first + 6)?.0,
        closed: read.get::<Option<SqlInstant>>(first + 7)?.map(|instant| instant.0),
    };
    let version = read.parsed(first + 1, "version", |version| Version::parse(version).ok())?;
    let cards = read.parsed(first + 8, "cards", cards::decode)?;
    Account::rehydrate(organization, external(0, "id")?, version, details, cards).map_err(|_| read.corrupt("cards"))
}
