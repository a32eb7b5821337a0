//! The ports of the domain on PostgreSQL. Owns the schema in `migrations/postgres` and every statement on it; must not
//! know HTTP or any other store.
//!
//! Every call runs in a task of its own, which a caller that goes away cannot cut short: a statement that was sent is
//! always read to its end, and no session is left within a transaction. [`PostgresStore::close`] waits for them.

mod accounts;
mod columns;
mod commit;
mod credentials;
mod customers;
mod deliveries;
mod directory;
mod events;
mod fault;
mod gathered;
mod holdings;
mod lists;
mod loans;
mod migrate;
#[cfg(test)]
mod plans;
mod pool;
#[cfg(test)]
mod pool_faults;
mod records;
mod statements;
mod statistics;
mod webhooks;

use std::time::Duration;

use async_trait::async_trait;
use custodia_domain::account::{Account, AccountId};
use custodia_domain::company::Company;
use custodia_domain::loan::{Loan, Score};
use custodia_domain::ports::{
    AccountStore, AddError, ApiKey, BatchKeys, CommitError, Committed, CompanyKey, Counter, CredentialStore,
    CustomerKey, CustomerPage, CustomerQuery, CustomerStore, Directory, EventQuery, LoanBook, LoanPage, LoanQuery,
    LoanSelector, LoanTotals, LogEntry, Met, Offices, PartnerAccount, Portfolio, RecordedEvent, Scope, ScoringEngine,
    StoreError, WebhookStore,
};
use custodia_domain::webhook::{
    DeliveryQuery, DeliveryRecord, DueDelivery, Replay, Replayed, Settlement, WebhookEndpoint, WebhookId,
};
use custodia_domain::{
    ClosureReasonId, Customer, CustomerId, ExternalId, OfficeId, OfficeName, OrganizationId, Receipt, ReceiptKey,
    Sequence, Timestamp, Unit, Version,
};
use futures::future::BoxFuture;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio_util::task::TaskTracker;
use tracing::instrument;

pub use migrate::MigrateError;
pub use pool::{ConnectError, PostgresOptions};

use customers::ReadFailure;
use fault::{Failure, pause};
use gathered::Gathered;
use pool::Sessions;

/// How long [`CustomerStore::check`] waits for an answer.
const CHECK: Duration = Duration::from_secs(1);
/// How often a read is tried, each time on another connection.
const READS: u32 = 4;

/// The statements that take numbers from a counter and give them back; its column is part of their text.
macro_rules! counting {
    ($column:literal) => {
        (
            concat!(
                "update organizations o set ",
                $column,
                " = o.",
                $column,
                " + $2 where o.id = $1 returning o.",
                $column,
                " - $2"
            ),
            concat!("update organizations o set ", $column, " = $2 where o.id = $1 and o.", $column, " = $3"),
        )
    };
}

const fn counting(counter: Counter) -> (&'static str, &'static str) {
    match counter {
        Counter::Customers => counting!("next_customer_id"),
        Counter::Companies => counting!("next_company_id"),
        Counter::Loans => counting!("next_loan_id"),
    }
}

const IS_WRITABLE: &str = "select not pg_is_in_recovery() and current_setting('default_transaction_read_only') = 'off'";

/// Keeps everything in a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    sessions: Sessions,
    connect: PgConnectOptions,
    tasks: TaskTracker,
    gathered: Gathered,
}

impl PostgresStore {
    /// Opens the database of that URL and asks it one thing. The schema is left as it is; see
    /// [`PostgresStore::migrate`].
    ///
    /// # Errors
    /// [`ConnectError`] says what is wrong with the URL, the server or the database, and never shows the password.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, ConnectError> {
        let connect = pool::parse(url)?;
        pool::probe(&connect, options.acquire_timeout).await?;
        let sessions = Sessions::new(pool::pool(connect.clone(), &options), &options);
        let tasks = TaskTracker::new();
        let gathered = Gathered::new(&sessions, &tasks);
        Ok(Self { sessions, connect, tasks, gathered })
    }

    /// Brings the schema to the version that this program knows. Safe when several programs do it at once.
    ///
    /// # Errors
    /// [`MigrateError::Newer`] for a database that a newer program has migrated; see the others.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        migrate::run(&self.connect).await
    }

    /// Checks that the schema is at the version that this program knows, and changes nothing.
    ///
    /// # Errors
    /// [`MigrateError::Older`] or [`MigrateError::Newer`] where it is not.
    pub async fn verify_schema(&self) -> Result<(), MigrateError> {
        migrate::verify(&self.sessions.pool).await
    }

    /// Finishes every call that has begun, and closes the connections. No call may follow.
    pub async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.sessions.close().await;
    }

    /// Runs work to its end in a task of its own.
    async fn detached<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Failure> {
        self.tasks.spawn(work).await.map_err(|_| Failure::fault("a task of the store panicked"))
    }

    /// Does something that may be done twice: again on another connection, where one broke.
    async fn read<Q, T, W>(&self, query: Q, work: W) -> Result<T, StoreError>
    where
        Q: Send + Sync + 'static,
        T: Send + 'static,
        W: for<'s> Fn(&'s mut PgConnection, &'s Q) -> BoxFuture<'s, Result<T, ReadFailure>> + Send + Sync + 'static,
    {
        let sessions = self.sessions.clone();
        let read = self.detached(async move { read(&sessions, &query, &work).await });
        read.await.map_err(StoreError::from)?.map_err(StoreError::from)
    }

    /// Does something once.
    async fn write<Q, T, E, W>(&self, values: Q, work: W) -> Result<T, E>
    where
        Q: Send + Sync + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'s> Fn(&'s mut PgConnection, &'s Q) -> BoxFuture<'s, Result<T, E>> + Send + Sync + 'static,
    {
        let sessions = self.sessions.clone();
        let written = self.detached(async move {
            let mut session = sessions.acquire().await.map_err(StoreError::from)?;
            match sessions.patiently::<_, Failure>(async { Ok(work(&mut session, &values).await) }).await {
                Ok(outcome) => outcome,
                Err(silence) => {
                    sessions.settle(session, Some(&silence));
                    Err(StoreError::from(silence).into())
                }
            }
        });
        written.await.map_err(|failure| E::from(failure.into()))?
    }
}

/// Reads; again on another connection, where one broke.
async fn read<Q, T, W>(sessions: &Sessions, query: &Q, work: &W) -> Result<T, ReadFailure>
where
    W: for<'s> Fn(&'s mut PgConnection, &'s Q) -> BoxFuture<'s, Result<T, ReadFailure>>,
{
    let mut attempt = 0;
    loop {
        match on_session(sessions, query, work).await {
            Err(ReadFailure::Failed(failure)) if failure.may_pass() && attempt + 1 < READS => {
                pause(attempt).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Reads on a session of the pool.
async fn on_session<Q, T, W>(sessions: &Sessions, query: &Q, work: &W) -> Result<T, ReadFailure>
where
    W: for<'s> Fn(&'s mut PgConnection, &'s Q) -> BoxFuture<'s, Result<T, ReadFailure>>,
{
    let mut session = sessions.acquire().await?;
    let outcome = sessions.patiently(work(&mut session, query)).await;
    let failure = match &outcome {
        Err(ReadFailure::Failed(failure)) => Some(failure),
        Err(ReadFailure::Corrupt { .. }) | Ok(_) => None,
    };
    sessions.settle(session, failure);
    outcome
}

#[async_trait]
impl CustomerStore for PostgresStore {
    #[instrument(level = "debug", name = "store.find", skip_all, fields(keys = keys.len()))]
    async fn find(&self, keys: &[CustomerKey]) -> Result<Vec<Option<Customer>>, StoreError> {
        self.gathered.find(keys).await
    }

    #[instrument(level = "debug", name = "store.meet", skip_all, fields(keys = batch.customers.len()))]
    async fn meet(&self, organization: OrganizationId, batch: &BatchKeys) -> Result<Met, StoreError> {
        self.read((organization, batch.clone()), |session, (organization, batch)| {
            Box::pin(accounts::meet(session, *organization, batch))
        })
        .await
    }

    #[instrument(level = "debug", name = "store.list", skip_all)]
    async fn list(&self, query: &CustomerQuery) -> Result<CustomerPage, StoreError> {
        self.read(query.clone(), |session, query| Box::pin(lists::list(session, query))).await
    }

    #[instrument(level = "debug", name = "store.commit", skip_all, fields(units = units.len()))]
    async fn commit(&self, units: Vec<Unit>) -> Vec<Result<Committed, CommitError>> {
        self.gathered.commit(units).await
    }

    #[instrument(level = "debug", name = "store.receipts", skip_all, fields(keys = keys.len()))]
    async fn receipts(
        &self,
        organization: OrganizationId,
        keys: &[ReceiptKey],
    ) -> Result<Vec<Option<Receipt>>, StoreError> {
        self.gathered.receipts(organization, keys).await
    }

    #[instrument(level = "debug", name = "store.purge_receipts", skip_all)]
    async fn purge_receipts(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write((before, limit), |session, (before, limit)| {
            Box::pin(async { Ok(events::purge(session, *before, *limit).await?) })
        })
        .await
    }

    #[instrument(level = "debug", name = "store.events", skip_all)]
    async fn events(&self, query: &EventQuery) -> Result<Vec<LogEntry>, StoreError> {
        self.read(query.clone(), |session, query| Box::pin(events::events(session, query))).await
    }

    #[instrument(level = "debug", name = "store.last_sequences", skip_all)]
    async fn last_sequences(&self, organizations: &[OrganizationId]) -> Result<Vec<Option<Sequence>>, StoreError> {
        self.read(organizations.to_vec(), |session, organizations| {
            Box::pin(events::last_sequences(session, organizations))
        })
        .await
    }

    #[instrument(level = "debug", name = "store.history", skip_all)]
    async fn history(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
        before: Option<Version>,
        limit: u16,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read((organization, customer, before, limit), |session, (organization, customer, before, limit)| {
            Box::pin(events::history(session, *organization, *customer, *before, *limit))
        })
        .await
    }

    /// Numbers that a broken connection took along are lost, which is harmless: hence it may be done twice.
    #[instrument(level = "debug", name = "store.reserve", skip_all)]
    async fn reserve(
        &self,
        organization: OrganizationId,
        counter: Counter,
        count: u32,
    ) -> Result<Option<i64>, StoreError> {
        let (reserve, _) = counting(counter);
        self.read((organization, count), move |session, (organization, count)| {
            let statement = sqlx::query_scalar(reserve).bind(organization.get()).bind(i64::from(*count));
            Box::pin(async { Ok(statement.fetch_optional(session).await?) })
        })
        .await
    }

    /// Done once only: a repetition could meet the same number again after others had reserved up to it, and give
    /// theirs back.
    #[instrument(level = "debug", name = "store.release", skip_all)]
    async fn release(
        &self,
        organization: OrganizationId,
        counter: Counter,
        first: i64,
        next: i64,
    ) -> Result<(), StoreError> {
        let (_, release) = counting(counter);
        self.write((organization, first, next), move |session, (organization, first, next)| {
            let statement = sqlx::query(release).bind(organization.get()).bind(*first).bind(*next);
            Box::pin(async { statement.execute(session).await.map(drop).map_err(directory::stored) })
        })
        .await
    }

    #[instrument(level = "debug", name = "store.check", skip_all)]
    async fn check(&self) -> Result<(), StoreError> {
        let asked = self.read((), |session, ()| {
            Box::pin(async { Ok(sqlx::query_scalar::<_, bool>(IS_WRITABLE).fetch_one(session).await?) })
        });
        match tokio::time::timeout(CHECK, asked).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Failure::unavailable("the database is read-only").into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Failure::unavailable("the database does not answer in time").into()),
        }
    }
}

#[async_trait]
impl Directory for PostgresStore {
    async fn add_organization(&self, name: &str, at: Timestamp) -> Result<OrganizationId, StoreError> {
        self.write((name.to_owned(), at), |session, (name, at)| {
            Box::pin(directory::add_organization(session, name, *at))
        })
        .await
    }

    async fn organizations(&self) -> Result<Vec<(OrganizationId, String)>, StoreError> {
        self.read((), |session, ()| Box::pin(directory::organizations(session))).await
    }

    async fn add_office(
        &self,
        organization: OrganizationId,
        name: &OfficeName,
        at: Timestamp,
    ) -> Result<OfficeId, AddError> {
        self.write((organization, name.clone(), at), |session, (organization, name, at)| {
            Box::pin(directory::add_office(session, *organization, name, *at))
        })
        .await
    }

    async fn offices(&self, organization: OrganizationId) -> Result<Option<Offices>, StoreError> {
        self.read(organization, |session, organization| Box::pin(directory::offices(session, *organization))).await
    }

    async fn set_default_office(&self, organization: OrganizationId, office: OfficeId) -> Result<bool, StoreError> {
        self.write((organization, office), |session, (organization, office)| {
            Box::pin(async { Ok(directory::set_default_office(session, *organization, *office).await?) })
        })
        .await
    }

    async fn add_closure_reason(
        &self,
        organization: OrganizationId,
        reason: ClosureReasonId,
        label: &str,
        at: Timestamp,
    ) -> Result<(), AddError> {
        self.write((organization, reason, label.to_owned(), at), |session, (organization, reason, label, at)| {
            Box::pin(directory::add_closure_reason(session, *organization, *reason, label, *at))
        })
        .await
    }

    async fn closure_reasons(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<(ClosureReasonId, String)>, StoreError> {
        self.read(organization, |session, organization| Box::pin(directory::closure_reasons(session, *organization)))
            .await
    }

    async fn companies(
        &self,
        organization: OrganizationId,
        keys: &[CompanyKey],
    ) -> Result<Vec<Option<Company>>, StoreError> {
        self.read((organization, keys.to_vec()), |session, (organization, keys)| {
            Box::pin(directory::companies(session, *organization, keys))
        })
        .await
    }

    async fn list_companies(
        &self,
        organization: OrganizationId,
        offset: u64,
        limit: u8,
    ) -> Result<(Vec<Company>, u64), StoreError> {
        self.read((organization, offset, limit), |session, (organization, offset, limit)| {
            Box::pin(directory::list_companies(session, *organization, *offset, *limit))
        })
        .await
    }

    async fn add_portfolio(
        &self,
        organization: OrganizationId,
        portfolio: &Portfolio,
        at: Timestamp,
    ) -> Result<(), AddError> {
        self.write((organization, portfolio.clone(), at), |session, (organization, portfolio, at)| {
            Box::pin(directory::add_portfolio(session, *organization, portfolio, *at))
        })
        .await
    }

    async fn portfolios(&self, organization: OrganizationId) -> Result<Vec<Portfolio>, StoreError> {
        self.read(organization, |session, organization| Box::pin(directory::portfolios(session, *organization))).await
    }
}

#[async_trait]
impl AccountStore for PostgresStore {
    #[instrument(level = "debug", name = "store.accounts", skip_all, fields(keys = ids.len()))]
    async fn accounts(
        &self,
        organization: OrganizationId,
        ids: &[AccountId],
    ) -> Result<Vec<Option<Account>>, StoreError> {
        self.read((organization, ids.to_vec()), |session, (organization, ids)| {
            Box::pin(accounts::accounts(session, *organization, ids))
        })
        .await
    }

    #[instrument(level = "debug", name = "store.held_by", skip_all, fields(keys = holders.len()))]
    async fn held_by(
        &self,
        organization: OrganizationId,
        holders: &[ExternalId],
    ) -> Result<Vec<Vec<Account>>, StoreError> {
        self.read((organization, holders.to_vec()), |session, (organization, holders)| {
            Box::pin(accounts::held_by(session, *organization, holders))
        })
        .await
    }
}

#[async_trait]
impl LoanBook for PostgresStore {
    #[instrument(level = "debug", name = "store.loans", skip_all, fields(keys = selectors.len()))]
    async fn loans(
        &self,
        organization: OrganizationId,
        selectors: &[LoanSelector],
    ) -> Result<Vec<Option<Loan>>, StoreError> {
        self.read((organization, selectors.to_vec()), |session, (organization, selectors)| {
            Box::pin(loans::loans(session, *organization, selectors))
        })
        .await
    }

    #[instrument(level = "debug", name = "store.list_loans", skip_all)]
    async fn list_loans(&self, query: &LoanQuery) -> Result<LoanPage, StoreError> {
        self.read(query.clone(), |session, query| Box::pin(loans::list(session, query))).await
    }

    #[instrument(level = "debug", name = "store.totals", skip_all, fields(keys = customers.len()))]
    async fn totals(
        &self,
        organization: OrganizationId,
        customers: &[CustomerId],
    ) -> Result<Vec<LoanTotals>, StoreError> {
        self.read((organization, customers.to_vec()), |session, (organization, customers)| {
            Box::pin(loans::totals(session, *organization, customers))
        })
        .await
    }
}

#[async_trait]
impl ScoringEngine for PostgresStore {
    #[instrument(level = "debug", name = "store.scores", skip_all, fields(keys = ids.len()))]
    async fn scores(&self, organization: OrganizationId, ids: &[ExternalId]) -> Result<Vec<Option<Score>>, StoreError> {
        self.read((organization, ids.to_vec()), |session, (organization, ids)| {
            Box::pin(loans::scores(session, *organization, ids))
        })
        .await
    }
}

/// Each of these may be done twice: a claim renews, a replay begins anew, and what was enqueued or settled is so.
#[async_trait]
impl WebhookStore for PostgresStore {
    async fn endpoints(&self, organization: OrganizationId) -> Result<Vec<WebhookEndpoint>, StoreError> {
        self.read(organization, |session, organization| Box::pin(webhooks::endpoints(session, *organization))).await
    }

    async fn endpoint(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<WebhookEndpoint>, StoreError> {
        self.read((organization, id), |session, (organization, id)| {
            Box::pin(webhooks::find(session, *organization, *id))
        })
        .await
    }

    #[instrument(name = "store.claim", skip_all)]
    async fn claim(
        &self,
        owner: u128,
        now: Timestamp,
        until: Timestamp,
        limit: u16,
        except: &[OrganizationId],
    ) -> Result<Vec<OrganizationId>, StoreError> {
        let except = except.iter().map(|one| one.get()).collect();
        let claim = deliveries::Claim { owner, now, until, limit, except };
        self.read(claim, |session, claim| Box::pin(deliveries::claim(session, claim))).await
    }

    #[instrument(name = "store.renew", skip_all)]
    async fn renew(
        &self,
        owner: u128,
        organizations: &[OrganizationId],
        until: Timestamp,
    ) -> Result<Vec<OrganizationId>, StoreError> {
        self.read((owner, organizations.to_vec(), until), |session, (owner, organizations, until)| {
            Box::pin(deliveries::renew(session, *owner, organizations, *until))
        })
        .await
    }

    async fn release(&self, owner: u128, organization: OrganizationId) -> Result<(), StoreError> {
        self.read((owner, organization), |session, (owner, organization)| {
            Box::pin(deliveries::release(session, *owner, *organization))
        })
        .await
    }

    #[instrument(name = "store.enqueue", skip_all)]
    async fn enqueue(
        &self,
        organization: OrganizationId,
        owner: u128,
        now: Timestamp,
        limit: u16,
    ) -> Result<bool, StoreError> {
        let work = deliveries::Enqueueing { organization, owner, now, limit };
        self.read(work, |session, work| Box::pin(deliveries::enqueue(session, work))).await
    }

    #[instrument(name = "store.due", skip_all)]
    async fn due(
        &self,
        organization: OrganizationId,
        now: Timestamp,
        each: u16,
        limit: u16,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.read((organization, now, each, limit), |session, (organization, now, each, limit)| {
            Box::pin(deliveries::due(session, *organization, *now, *each, *limit))
        })
        .await
    }

    #[instrument(name = "store.settle", skip_all, fields(settlements = settlements.len()))]
    async fn settle(
        &self,
        organization: OrganizationId,
        owner: u128,
        settlements: &[Settlement],
    ) -> Result<Vec<bool>, StoreError> {
        let work = deliveries::Settling { organization, owner, settlements: settlements.to_vec() };
        self.read(work, |session, work| Box::pin(deliveries::settle(session, work))).await
    }

    async fn next_due(&self, organization: OrganizationId) -> Result<Option<Timestamp>, StoreError> {
        self.read(organization, |session, organization| Box::pin(deliveries::next_due(session, *organization))).await
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.read(query.clone(), |session, query| Box::pin(deliveries::deliveries(session, query))).await
    }

    #[instrument(name = "store.replay", skip_all)]
    async fn replay(&self, replay: &Replay) -> Result<Option<Replayed>, StoreError> {
        self.read(*replay, |session, replay| Box::pin(deliveries::replay(session, replay))).await
    }

    #[instrument(name = "store.purge_deliveries", skip_all)]
    async fn purge_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.read((before, limit), |session, (before, limit)| Box::pin(deliveries::purge(session, *before, *limit)))
            .await
    }
}

#[async_trait]
impl CredentialStore for PostgresStore {
    async fn add_api_key(
        &self,
        organization: OrganizationId,
        name: &str,
        hash: [u8; 32],
        scope: Scope,
        at: Timestamp,
    ) -> Result<i64, AddError> {
        self.write(
            (organization, name.to_owned(), hash, scope, at),
            |session, (organization, name, hash, scope, at)| {
                Box::pin(credentials::add_api_key(session, *organization, name, *hash, *scope, *at))
            },
        )
        .await
    }

    async fn api_keys(&self, hashes: &[[u8; 32]]) -> Result<Vec<Option<ApiKey>>, StoreError> {
        self.gathered.api_keys(hashes).await
    }

    async fn list_api_keys(&self, organization: OrganizationId) -> Result<Vec<ApiKey>, StoreError> {
        self.read(organization, |session, organization| Box::pin(credentials::list_api_keys(session, *organization)))
            .await
    }

    async fn revoke_api_key(&self, organization: OrganizationId, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        self.write((organization, id, at), |session, (organization, id, at)| {
            Box::pin(async { Ok(credentials::revoke_api_key(session, *organization, *id, *at).await?) })
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
        let values = (organization, email.to_owned(), password_hash.to_owned(), at);
        self.write(values, |session, (organization, email, password_hash, at)| {
            Box::pin(credentials::add_account(session, *organization, email, password_hash, *at))
        })
        .await
    }

    async fn account(&self, email: &str) -> Result<Option<PartnerAccount>, StoreError> {
        self.read(email.to_owned(), |session, email| Box::pin(credentials::account(session, email))).await
    }
}
