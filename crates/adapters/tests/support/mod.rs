//! Stores to test, fresh for each test, and the units of work that the tests put into them. Knows every engine; must
//! not know what a test expects.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is how a test fails")]
#![allow(clippy::unused_async, reason = "every kind of stage is made by the same call")]

use std::collections::BTreeSet;
use std::sync::Arc;

use custodia_adapters::memory::MemoryStore;
use custodia_adapters::postgres::{PostgresOptions, PostgresStore};
use custodia_adapters::sqlite::{SqliteOptions, SqliteStore};
use custodia_domain::facets::{
    Acquisition, Alert, Coordinate, CountryCode, Enrolment, FreeText, OptIn, PostalCode, Redemption, Source,
    Subsidiary, Targeting,
};
use custodia_domain::ports::{
    AccountStore, CommitError, Committed, Counter, CredentialStore, CustomerFilter, CustomerKey, CustomerPage,
    CustomerQuery, CustomerStore, Direction, Directory, EventQuery, LoanBook, LogEntry, LoggedEvent, RecordedEvent,
    ScoringEngine, Selector, SortKey, WebhookStore, Window,
};
use custodia_domain::{
    Actor, Answer, Audit, Basis, ClosingTerms, ClosureReasonId, CompanyNumber, Customer, CustomerChange, CustomerEvent,
    CustomerId, CustomerPatch, Date, ExternalId, Fingerprint, FullName, Moment, Name, NamePart, NewCustomer, OfficeId,
    OrganizationId, Outcome, Patch, Receipt, ReceiptKey, RequestId, Timestamp, Unit,
};

/// All that a store does.
pub trait Store:
    CustomerStore + Directory + CredentialStore + AccountStore + LoanBook + ScoringEngine + WebhookStore
{
}

impl<T: CustomerStore + Directory + CredentialStore + AccountStore + LoanBook + ScoringEngine + WebhookStore> Store
    for T
{
}

/// Where a store keeps its things, and what removes them afterwards.
enum Home {
    Memory,
    Sqlite(tempfile::TempDir),
    Postgres(String),
}

/// One store of one test.
pub struct Stage {
    pub store: Arc<dyn Store>,
    home: Home,
}

/// A fresh store in memory.
pub async fn memory() -> Stage {
    Stage { store: Arc::new(MemoryStore::new()), home: Home::Memory }
}

/// A fresh SQLite file.
pub async fn sqlite() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteOptions::at(folder.path().join("test.db"))).await.unwrap();
    Stage { store: Arc::new(store), home: Home::Sqlite(folder) }
}

/// A fresh schema of the server that `scripts/with-postgres` starts.
pub async fn postgres() -> Stage {
    let url = postgres_schema().await;
    Stage { store: Arc::new(postgres_at(&url).await), home: Home::Postgres(url) }
}

/// The migrated store at that URL.
pub async fn postgres_at(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url, PostgresOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// The URL of the tests' PostgreSQL server.
pub fn postgres_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "the tests' server is named by the environment")]
    std::env::var("CUSTODIA_TEST_POSTGRES_URL")
        .expect("CUSTODIA_TEST_POSTGRES_URL names a PostgreSQL server: run `scripts/with-postgres cargo test`")
}

/// The URL of an empty schema of that server, in which nobody else is.
pub async fn postgres_schema() -> String {
    use sqlx::{AssertSqlSafe, Connection as _};
    static SCHEMAS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = SCHEMAS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("test_{}_{number}", std::process::id());
    let url = postgres_url();
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    // A process of an earlier run may have had the same number.
    let sql = format!("drop schema if exists {name} cascade; create schema {name}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}application_name={name}&options[search_path]={name}")
}

impl Stage {
    /// A stage around one of several stores on the same database.
    pub fn over(store: impl Store + 'static) -> Self {
        Self { store: Arc::new(store), home: Home::Memory }
    }

    /// Opens the same store anew, as another process would; memory has nothing to open.
    pub async fn reopen(&mut self) {
        match &self.home {
            Home::Memory => {}
            Home::Sqlite(folder) => {
                let options = SqliteOptions::at(folder.path().join("test.db"));
                self.store = Arc::new(SqliteStore::open(options).await.unwrap());
            }
            Home::Postgres(url) => self.store = Arc::new(postgres_at(url).await),
        }
    }

    pub fn customers(&self) -> Arc<dyn CustomerStore> {
        Arc::clone(&self.store) as Arc<dyn CustomerStore>
    }

    pub fn webhooks(&self) -> Arc<dyn WebhookStore> {
        Arc::clone(&self.store) as Arc<dyn WebhookStore>
    }

    /// A new organization with office 1.
    pub async fn organization(&self) -> OrganizationId {
        self.store.add_organization("Lender", at(0)).await.unwrap()
    }

    /// The next free customer number.
    pub async fn id(&self, organization: OrganizationId) -> CustomerId {
        let first = self.store.reserve(organization, Counter::Customers, 1).await.unwrap();
        CustomerId::parse(first.unwrap()).unwrap()
    }

    /// Commits one unit.
    pub async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        let mut verdicts = self.store.commit(vec![unit]).await;
        assert_eq!(verdicts.len(), 1);
        verdicts.remove(0)
    }

    /// Creates a customer and answers it.
    pub async fn create(&self, organization: OrganizationId, new: NewCustomer) -> Customer {
        let (customer, change) = created(organization, self.id(organization).await, new);
        self.commit(unit(organization, vec![change])).await.unwrap();
        customer
    }

    /// Creates a customer of that whole name.
    pub async fn create_named(&self, organization: OrganizationId, name: &str) -> Customer {
        self.create(organization, named(name)).await
    }

    /// Commits a command of a customer and answers its new state.
    pub async fn change(
        &self,
        mut customer: Customer,
        command: impl FnOnce(&mut Customer) -> CustomerEvent,
    ) -> Customer {
        let event = command(&mut customer);
        let change = CustomerChange::kept(customer.clone(), vec![event]);
        self.commit(unit(customer.organization(), vec![change])).await.unwrap();
        customer
    }

    /// Commits a deletion.
    pub async fn delete(&self, customer: Customer) {
        let organization = customer.organization();
        let change = CustomerChange::gone(customer.delete(moment(9)).unwrap());
        self.commit(unit(organization, vec![change])).await.unwrap();
    }

    /// The customer of that number.
    pub async fn find(&self, organization: OrganizationId, id: CustomerId) -> Option<Customer> {
        self.store.find(&[by_id(organization, id)]).await.unwrap().remove(0)
    }

    pub async fn list(&self, query: &CustomerQuery) -> CustomerPage {
        self.store.list(query).await.unwrap()
    }

    /// Every event of a customer of an organization.
    pub async fn feed(&self, organization: OrganizationId) -> Vec<RecordedEvent> {
        self.picked(&events_of(organization)).await
    }

    /// The events of customers among those that match.
    pub async fn picked(&self, query: &EventQuery) -> Vec<RecordedEvent> {
        let customers = |entry: LogEntry| match entry.event {
            LoggedEvent::Customer(event) => Some(RecordedEvent { sequence: entry.sequence, event, audit: entry.audit }),
            LoggedEvent::Record(_) => None,
        };
        self.store.events(query).await.unwrap().into_iter().filter_map(customers).collect()
    }

    /// Every event of an organization.
    pub async fn log(&self, organization: OrganizationId) -> Vec<LogEntry> {
        self.store.events(&events_of(organization)).await.unwrap()
    }

    /// How many customers the organization says it has.
    pub async fn total(&self, organization: OrganizationId) -> u64 {
        self.list(&page(organization, 0)).await.total.unwrap()
    }
}

/// An instant, so many seconds into the tests' day, with microseconds that are easily lost.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_microseconds(1_779_440_400_123_457 + second * 1_000_000).unwrap()
}

pub fn moment(second: i64) -> Moment {
    Moment { at: at(second), today: day("2026-05-22") }
}

pub fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

pub fn number(id: i64) -> CustomerId {
    CustomerId::parse(id).unwrap()
}

pub fn external(text: &str) -> ExternalId {
    ExternalId::parse(text).unwrap()
}

pub fn by_id(organization: OrganizationId, id: CustomerId) -> CustomerKey {
    CustomerKey { organization, selector: Selector::Id(id) }
}

pub fn by_external(organization: OrganizationId, text: &str) -> CustomerKey {
    CustomerKey { organization, selector: Selector::ExternalId(external(text)) }
}

/// A customer of that whole name.
pub fn named(name: &str) -> NewCustomer {
    NewCustomer::named(OfficeId::FIRST, Name::Full(FullName::parse(name).unwrap()))
}

/// A customer of that whole name and external id.
pub fn known_as(name: &str, external_id: &str) -> NewCustomer {
    NewCustomer { external_id: Some(external(external_id)), ..named(name) }
}

/// A customer named after its external id.
pub fn mirrored(external_id: &str) -> NewCustomer {
    NewCustomer {
        external_id: Some(external(external_id)),
        ..NewCustomer::named(OfficeId::FIRST, Name::FollowsExternalId)
    }
}

pub fn person(first: &str, middle: Option<&str>, last: &str) -> Name {
    let part = |text| NamePart::parse(text).unwrap();
    Name::Person { first: part(first), middle: middle.map(part), last: part(last) }
}

/// The customer and the change that creates it.
pub fn created(organization: OrganizationId, id: CustomerId, new: NewCustomer) -> (Customer, CustomerChange) {
    let (customer, event) = Customer::open(organization, id, new, moment(1)).unwrap();
    (customer.clone(), CustomerChange::kept(customer, vec![event]))
}

pub fn applied(outcome: Outcome<CustomerEvent>) -> CustomerEvent {
    match outcome {
        Outcome::Applied(event) => event,
        Outcome::Unchanged => panic!("the command of a test changes something"),
    }
}

/// A command that changes the contact number.
pub fn call_at(mobile: &'static str) -> impl FnOnce(&mut Customer) -> CustomerEvent {
    move |customer| {
        let mobile = Patch::Set(custodia_domain::MobileNumber::parse(mobile).unwrap());
        applied(customer.update(&CustomerPatch { mobile, ..CustomerPatch::default() }, moment(5)).unwrap())
    }
}

pub fn activate(on: &'static str) -> impl FnOnce(&mut Customer) -> CustomerEvent {
    move |customer| applied(customer.activate(day(on), moment(6)).unwrap())
}

pub fn close(on: &'static str) -> impl FnOnce(&mut Customer) -> CustomerEvent {
    move |customer| {
        let terms = ClosingTerms { on: day(on), reason: ClosureReasonId::parse(4).unwrap() };
        applied(customer.close(terms, moment(7)).unwrap())
    }
}

/// A command that changes the external id.
pub fn call_it(external_id: &'static str) -> impl FnOnce(&mut Customer) -> CustomerEvent {
    move |customer| {
        let patch = CustomerPatch { external_id: Some(external(external_id)), ..CustomerPatch::default() };
        applied(customer.update(&patch, moment(5)).unwrap())
    }
}

/// The change that a command makes of a customer, not yet committed.
pub fn changed(mut customer: Customer, command: impl FnOnce(&mut Customer) -> CustomerEvent) -> CustomerChange {
    let event = command(&mut customer);
    CustomerChange::kept(customer, vec![event])
}

pub fn audit() -> Audit {
    Audit {
        actor: Actor::new("key:3"),
        request_id: RequestId::parse("01J-request.7").unwrap(),
        idempotency_key: None,
        reason: None,
    }
}

pub fn unit(organization: OrganizationId, customers: Vec<CustomerChange>) -> Unit {
    Unit {
        organization,
        at: at(1),
        audit: audit(),
        customers,
        accounts: Vec::new(),
        companies: Vec::new(),
        loans: Vec::new(),
        scores: Vec::new(),
        webhooks: Vec::new(),
        basis: Basis::default(),
        receipt: None,
    }
}

/// A unit that keeps a receipt under a key made of that byte.
pub fn keyed(organization: OrganizationId, customers: Vec<CustomerChange>, key: u8) -> Unit {
    Unit { receipt: Some(receipt(key, 1)), ..unit(organization, customers) }
}

pub fn key(byte: u8) -> ReceiptKey {
    ReceiptKey([byte; 32])
}

pub fn receipt(byte: u8, second: i64) -> Receipt {
    Receipt {
        key: key(byte),
        fingerprint: Fingerprint([byte ^ 0xff; 32]),
        at: at(second),
        answer: Answer {
            status: 201,
            headers: vec![
                ("content-type".into(), "application/json".into()),
                ("etag".into(), "\"1\"".into()),
                ("etag".into(), "\\ \u{fc}".into()),
            ],
            body: vec![0, 0xff, b'{', b'}', b'\n'],
        },
    }
}

pub fn query(organization: OrganizationId, sort: SortKey, direction: Direction, window: Window) -> CustomerQuery {
    CustomerQuery { organization, filter: CustomerFilter::default(), sort, direction, window, limit: 100 }
}

/// A page by id.
pub fn page(organization: OrganizationId, offset: u64) -> CustomerQuery {
    query(organization, SortKey::Id, Direction::Ascending, Window::Page { offset })
}

/// A page of those who are found by that text, as a caller writes it.
pub fn search(organization: OrganizationId, text: &str) -> CustomerQuery {
    let filter = CustomerFilter { words: custodia_domain::search::query_words(text), ..CustomerFilter::default() };
    CustomerQuery { filter, ..page(organization, 0) }
}

pub fn ids(page: &CustomerPage) -> Vec<i64> {
    page.customers.iter().map(|customer| customer.id().get()).collect()
}

pub fn events_of(organization: OrganizationId) -> EventQuery {
    EventQuery { organization, after: None, through: None, kinds: Vec::new(), customer: None, limit: 500 }
}

/// An acquisition with every value, won by that channel and associated with that company.
pub fn acquisition(source: &str, company: Option<i64>) -> Acquisition {
    let free = |text| Some(FreeText::parse(text).unwrap());
    Acquisition {
        source: Some(Source::parse(source).unwrap()),
        ip: Some("2001:db8::1".parse().unwrap()),
        city: free("Łódź"),
        country: free("Poland"),
        location: free("somewhere \"near\" the river"),
        latitude: Some(Coordinate::latitude("51.7500").unwrap()),
        longitude: Some(Coordinate::longitude("+019.46").unwrap()),
        company: company.map(|number| CompanyNumber::parse(number).unwrap()),
    }
}

/// An enrolment with every value.
pub fn enrolment() -> Enrolment {
    Enrolment {
        parent: Some(external("parent-1")),
        subsidiary: Subsidiary::parse("North").unwrap(),
        postal_code: PostalCode::parse("90-001").unwrap(),
        country: CountryCode::parse("PL").unwrap(),
        customer_since: at(-5),
        starts: at(-4),
        ends: Some(at(400)),
        opt_in: OptIn::Active,
        alerts: BTreeSet::from([Alert::New, Alert::CloseTheLoop]),
        targeting: Targeting::DoNotTarget,
        redemption: Some(Redemption::All),
    }
}
