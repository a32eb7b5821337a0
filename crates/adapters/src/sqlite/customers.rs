//! Customers, their events and receipts in SQLite. Owns the statements that read them.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use custodia_domain::ports::{
    AccountStore, BatchKeys, CommitError, Committed, Counter, CustomerKey, CustomerPage, CustomerQuery, CustomerStore,
    EventQuery, LogEntry, Met, RecordedEvent, Selector, StoreError, Window,
};
use custodia_domain::{
    Customer, CustomerId, ExternalId, OrganizationId, Receipt, ReceiptKey, Sequence, Timestamp, Unit, Version,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::error::{Closed, WriteError, store_error};
use super::rows::{self, customer_columns, event_columns, receipt_columns};
use super::writer::failed;
use super::{SqliteStore, list};

// A JSON array stands for any number of keys: one text for all, and no limit of bound values to run into.
const SELECT_BY_ID: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers where organization_id = ?1 and id in (select value from json_each(?2))"
);
// With its index named: the planner, which knows nothing of how many rows there are, would rather read them all.
pub(super) const SELECT_BY_EXTERNAL_ID: &str = concat!(
    "select ",
    customer_columns!(),
    " from customers indexed by customers_external_id where organization_id = ?1 and external_id in (select value from json_each(?2))"
);
const SELECT_RECEIPTS: &str = concat!(
    "select ",
    receipt_columns!(),
    " from receipts where organization_id = ?1 and key in (select unhex(value) from json_each(?2))"
);
const PURGE_RECEIPTS: &str = "delete from receipts
    where rowid in (select rowid from receipts where at < ?1 order by at limit ?2)";
const SELECT_EVENTS: &str = concat!(
    "select ",
    event_columns!(),
    " from customer_events where organization_id = ?1 and stream = 0 and sequence > ?2 and sequence <= ?5",
    " and (?3 is null or kind in (select value from json_each(?3))) order by sequence limit ?4"
);
// Two ranges of their own indexes, merged: a customer's versions and sequences ascend together; the plus makes the
// planner take the index of versions. The other records' are found by sequence.
pub(super) const SELECT_EVENTS_OF_CUSTOMER: &str = concat!(
    "select * from (select ",
    event_columns!(),
    " from customer_events where organization_id = ?1 and customer_id = ?6 and subject is null and +stream = 0",
    " and +sequence > ?2 and +sequence <= ?5 and (?3 is null or kind in (select value from json_each(?3))) order by version limit ?4)",
    " union all select * from (select ",
    event_columns!(),
    " from customer_events where organization_id = ?1 and customer_id = ?6 and subject is not null and stream = 0",
    " and sequence > ?2 and sequence <= ?5 and (?3 is null or kind in (select value from json_each(?3))) order by sequence limit ?4)",
    " order by sequence limit ?4"
);
const SELECT_LAST_SEQUENCES: &str = "select (select max(sequence) from customer_events
    where organization_id = wanted.value and stream = 0) from json_each(?1) wanted order by wanted.key";
pub(super) const SELECT_HISTORY: &str = concat!(
    "select ",
    event_columns!(),
    " from customer_events where organization_id = ?1 and customer_id = ?2 and subject is null and version < ?3",
    " order by version desc limit ?4"
);
const RESERVE_CUSTOMERS: &str = "update organizations set next_customer_id = next_customer_id + ?2 where id = ?1
    returning next_customer_id - ?2";
const RESERVE_COMPANIES: &str = "update organizations set next_company_id = next_company_id + ?2 where id = ?1
    returning next_company_id - ?2";
const RESERVE_LOANS: &str = "update organizations set next_loan_id = next_loan_id + ?2 where id = ?1
    returning next_loan_id - ?2";
const RELEASE_CUSTOMERS: &str =
    "update organizations set next_customer_id = ?2 where id = ?1 and next_customer_id = ?3";
const RELEASE_COMPANIES: &str = "update organizations set next_company_id = ?2 where id = ?1 and next_company_id = ?3";
const RELEASE_LOANS: &str = "update organizations set next_loan_id = ?2 where id = ?1 and next_loan_id = ?3";
/// Writes one page: what shows that the disk still takes writes.
const TOUCH: &str = "pragma user_version = 1";

/// The keys of one organization, each once.
#[derive(Default)]
struct Wanted<'k> {
    ids: Vec<i64>,
    external_ids: Vec<&'k str>,
}

#[async_trait]
impl CustomerStore for SqliteStore {
    async fn find(&self, keys: &[CustomerKey]) -> Result<Vec<Option<Customer>>, StoreError> {
        let mut wanted: BTreeMap<OrganizationId, Wanted<'_>> = BTreeMap::new();
        for key in keys {
            let wanted = wanted.entry(key.organization).or_default();
            match &key.selector {
                Selector::Id(id) => wanted.ids.push(id.get()),
                Selector::ExternalId(external_id) => wanted.external_ids.push(external_id.as_str()),
            }
        }
        let mut by_id: HashMap<(OrganizationId, CustomerId), Customer> = HashMap::new();
        let mut ids: HashMap<(OrganizationId, ExternalId), CustomerId> = HashMap::new();
        for (organization, Wanted { ids: numbers, external_ids }) in wanted {
            let numbers = self.select_customers(SELECT_BY_ID, organization, &numbers).await?;
            let externals = self.select_customers(SELECT_BY_EXTERNAL_ID, organization, &external_ids).await?;
            for customer in numbers.into_iter().chain(externals) {
                if let Some(external_id) = customer.external_id() {
                    ids.insert((organization, external_id.clone()), customer.id());
                }
                by_id.insert((organization, customer.id()), customer);
            }
        }
        let find = |key: &CustomerKey| match &key.selector {
            Selector::Id(id) => by_id.get(&(key.organization, *id)).cloned(),
            Selector::ExternalId(external_id) => {
                let id = ids.get(&(key.organization, external_id.clone()))?;
                by_id.get(&(key.organization, *id)).cloned()
            }
        };
        Ok(keys.iter().map(find).collect())
    }

    async fn meet(&self, organization: OrganizationId, batch: &BatchKeys) -> Result<Met, StoreError> {
        let key = |id: &ExternalId| CustomerKey { organization, selector: Selector::ExternalId(id.clone()) };
        Ok(Met {
            customers: self.find(&batch.customers.iter().map(key).collect::<Vec<_>>()).await?,
            accounts: self.accounts(organization, &batch.accounts).await?,
            held: self.held_by(organization, &batch.holders).await?,
        })
    }

    async fn list(&self, query: &CustomerQuery) -> Result<CustomerPage, StoreError> {
        let limit = usize::from(query.limit);
        let total = match query.window {
            Window::After(_) => None,
            Window::Page { .. } => {
                let mut statement = list::total(query.organization, &query.filter);
                let row = statement.build().fetch_optional(&self.readers).await.map_err(store_error)?;
                let count: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(store_error)?;
                Some(u64::try_from(count).unwrap_or_default())
            }
        };
        let mut customers = Vec::with_capacity(limit + 1);
        for mut statement in list::rows(query)? {
            if customers.len() <= limit {
                let rows = statement.build().fetch_all(&self.readers).await.map_err(store_error)?;
                for row in &rows {
                    customers.push(rows::customer(row)?);
                }
            }
        }
        let more = customers.len() > limit;
        customers.truncate(limit);
        Ok(CustomerPage { customers, total, more })
    }

    async fn commit(&self, units: Vec<Unit>) -> Vec<Result<Committed, CommitError>> {
        let mut answers = Vec::with_capacity(units.len());
        for unit in units {
            answers.push(self.writer.enqueue_unit(unit).await);
        }
        let mut verdicts = Vec::with_capacity(answers.len());
        for answer in answers {
            verdicts.push(match answer {
                Err(Closed) => Err(StoreError::Unavailable(Closed.into()).into()),
                Ok(answer) => match answer.await {
                    Ok(Ok(verdict)) => verdict,
                    Ok(Err(WriteError::Store(error))) => Err(error.into()),
                    Ok(Err(WriteError::Unknown(cause))) => Err(CommitError::Unknown(cause)),
                    Err(_) => Err(CommitError::Unknown(Closed.into())),
                },
            });
        }
        verdicts
    }

    async fn receipts(
        &self,
        organization: OrganizationId,
        keys: &[ReceiptKey],
    ) -> Result<Vec<Option<Receipt>>, StoreError> {
        let wanted: Vec<String> = keys.iter().map(|key| hex::encode(key.0)).collect();
        let wanted = serde_json::to_string(&wanted).expect("a list of texts is JSON");
        let selected = sqlx::query(SELECT_RECEIPTS).bind(organization.get()).bind(wanted);
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let found: Vec<Receipt> = rows.iter().map(rows::receipt).collect::<Result<_, _>>()?;
        let found: HashMap<ReceiptKey, Receipt> = found.into_iter().map(|receipt| (receipt.key, receipt)).collect();
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn purge_receipts(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(move |connection| {
            Box::pin(async move {
                let purge = sqlx::query(PURGE_RECEIPTS).bind(before.microseconds()).bind(i64::from(limit));
                Ok(Ok(purge.execute(connection).await.map_err(store_error)?.rows_affected()))
            })
        })
        .await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<LogEntry>, StoreError> {
        let kinds = &query.kinds;
        let kinds = (!kinds.is_empty()).then(|| serde_json::to_string(kinds).expect("a list of texts is JSON"));
        let text = if query.customer.is_some() { SELECT_EVENTS_OF_CUSTOMER } else { SELECT_EVENTS };
        let mut selected = sqlx::query(text)
            .bind(query.organization.get())
            .bind(query.after.map_or(0, Sequence::get))
            .bind(kinds)
            .bind(i64::from(query.limit))
            .bind(query.through.map_or(i64::MAX, Sequence::get));
        if let Some(customer) = query.customer {
            selected = selected.bind(customer.get());
        }
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(rows::entry).collect()
    }

    async fn last_sequences(&self, organizations: &[OrganizationId]) -> Result<Vec<Option<Sequence>>, StoreError> {
        let numbers: Vec<i64> = organizations.iter().map(|organization| organization.get()).collect();
        let numbers = serde_json::to_string(&numbers).expect("a list of numbers is JSON");
        let rows = sqlx::query(SELECT_LAST_SEQUENCES).bind(numbers).fetch_all(&self.readers).await;
        let last = |(row, organization): (&SqliteRow, &OrganizationId)| {
            let number: Option<i64> = row.try_get(0).map_err(store_error)?;
            let corrupt =
                |_| StoreError::Corrupt { table: "customer_events", column: "sequence", id: organization.get() };
            number.map(|number| Sequence::parse(number).map_err(corrupt)).transpose()
        };
        rows.map_err(store_error)?.iter().zip(organizations).map(last).collect()
    }

    async fn history(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
        before: Option<Version>,
        limit: u16,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let selected = sqlx::query(SELECT_HISTORY)
            .bind(organization.get())
            .bind(customer.get())
            .bind(before.map_or(i64::MAX, Version::get))
            .bind(i64::from(limit));
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(rows::event).collect()
    }

    async fn reserve(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: u32,
    ) -> Result<Option<i64>, StoreError> {
        let statement = match counter {
            Counter::Customers => RESERVE_CUSTOMERS,
            Counter::Companies => RESERVE_COMPANIES,
            Counter::Loans => RESERVE_LOANS,
        };
        self.write(move |connection| {
            Box::pin(async move {
                let reserved = sqlx::query(statement).bind(organization.get()).bind(i64::from(count));
                let row = reserved.fetch_optional(connection).await.map_err(store_error)?;
                Ok(Ok(row.map(|row| row.try_get(0)).transpose().map_err(store_error)?))
            })
        })
        .await
    }

    async fn release(
        &self,
        organization: OrganizationId,
        counter: Counter,
        first: i64,
        next: i64,
    ) -> Result<(), StoreError> {
        let statement = match counter {
            Counter::Customers => RELEASE_CUSTOMERS,
            Counter::Companies => RELEASE_COMPANIES,
            Counter::Loans => RELEASE_LOANS,
        };
        self.write(move |connection| {
            Box::pin(async move {
                let released = sqlx::query(statement).bind(organization.get()).bind(first).bind(next);
                released.execute(connection).await.map_or_else(failed, |_| Ok(Ok(())))
            })
        })
        .await
    }

    async fn check(&self) -> Result<(), StoreError> {
        sqlx::query("select count(*) from schema_migrations").fetch_one(&self.readers).await.map_err(store_error)?;
        self.write(|connection| {
            Box::pin(async move { sqlx::query(TOUCH).execute(connection).await.map_or_else(failed, |_| Ok(Ok(()))) })
        })
        .await
    }
}

impl SqliteStore {
    async fn select_customers<K: serde::Serialize + Sync>(
        &self,
        text: &'static str,
        organization: OrganizationId,
        keys: &[K],
    ) -> Result<Vec<Customer>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = serde_json::to_string(keys).expect("a list of keys is JSON");
        let selected = sqlx::query(text).bind(organization.get()).bind(keys);
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(rows::customer).collect()
    }
}
