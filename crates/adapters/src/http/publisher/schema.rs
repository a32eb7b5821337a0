//! The dialect's documented objects: what clients send and read, member by member.
//!
//! Owns names, types, limits and examples in the document. It must not be used to read or to write a body.

use serde::Serialize;
use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::http::openapi::with_property;

/// A batch of customers.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"customers": [{
    "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
    "sourceParentCustomerId": "2e052a88-6ae1-4501-b9db-e78afa73c0e3",
    "organizationId": "50004", "postalCode": "78753", "country": "US",
    "customerCreationDate": "2017-01-01T08:00:00Z", "enrollmentStartDate": "2023-01-01T08:00:00Z",
    "enrollmentEndDate": "2023-01-01T08:00:00Z", "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"],
    "targetingIndicator": "TARGET",
    "accounts": [{
        "sourceAccountId": "42c57311-25f9-4501-b9db-e78afa73c0e3",
        "sourceCustomerIds": ["afa2r21-25f9-4501-b9db-e78afa73c0e3", "2e052a88-6ae1-4b78-8d96-f3a037402567"],
        "primarySourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
        "status": "OPEN", "type": "DDA", "sourcePortfolioId": "76afcd28-b494-4b29-b7f2-3eb614a92f97",
        "accountOpenDate": "2018-05-12T20:30:00Z", "accountCloseDate": null,
        "cards": [{
            "sourceAccountId": "42c57311-25f9-4501-b9db-e78afa73c0e3",
            "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
            "last4": "2345", "iin": "123456", "cardType": "CREDIT", "status": "OPEN", "networkIdentifier": "3",
            "openDate": "2023-01-01T08:00:00Z", "closeDate": null}]}]}]}))]
pub struct CustomerBatch {
    /// The customers; each `sourceCustomerId` once.
    #[schema(min_items = 1, max_items = 50)]
    pub customers: Vec<ProgrammeCustomer>,
}

/// A batch of customers that are there.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"customers": [{
    "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
    "expectedVersion": 1,
    "organizationId": "50004", "postalCode": "78753", "country": "US",
    "customerCreationDate": "2017-01-01T08:00:00Z", "enrollmentStartDate": "2023-01-01T08:00:00Z",
    "enrollmentEndDate": null, "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"],
    "targetingIndicator": "TARGET",
    "accounts": [{
        "sourceAccountId": "42c57311-25f9-4501-b9db-e78afa73c0e3", "expectedVersion": 1,
        "sourceCustomerIds": ["afa2r21-25f9-4501-b9db-e78afa73c0e3", "2e052a88-6ae1-4b78-8d96-f3a037402567"],
        "primarySourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
        "status": "OPEN", "type": "DDA", "sourcePortfolioId": "76afcd28-b494-4b29-b7f2-3eb614a92f97",
        "accountOpenDate": "2018-05-12T20:30:00Z", "accountCloseDate": null,
        "cards": [{
            "sourceAccountId": "42c57311-25f9-4501-b9db-e78afa73c0e3",
            "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3",
            "last4": "2345", "iin": "123456", "cardType": "CREDIT", "status": "OPEN", "networkIdentifier": "3",
            "openDate": "2023-01-01T08:00:00Z", "closeDate": null}]}]}]}))]
pub struct CustomerReplacementBatch {
    /// The customers; each `sourceCustomerId` once.
    #[schema(min_items = 1, max_items = 50)]
    pub customers: Vec<ReplacedCustomer>,
}

/// A [`ProgrammeCustomer`] that may say which version it expects.
#[derive(Serialize)]
pub struct ReplacedCustomer(pub ProgrammeCustomer);

impl PartialSchema for ReplacedCustomer {
    fn schema() -> RefOr<Schema> {
        let account = ArrayBuilder::new()
            .items(Ref::from_schema_name(ReplacedAccount::name()))
            .max_items(Some(200))
            .description(Some("Its accounts: it is one of the holders of each."));
        let schema = with_property(ProgrammeCustomer::schema(), "accounts", Schema::Array(account.build()), false);
        with_property(schema, "expectedVersion", expected_version("customer"), false)
    }
}

impl ToSchema for ReplacedCustomer {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ProgrammeCustomer::schemas(schemas);
        schemas.push((ReplacedAccount::name().into_owned(), ReplacedAccount::schema()));
        ReplacedAccount::schemas(schemas);
    }
}

/// A [`ProgrammeAccount`] that may say which version it expects.
#[derive(Serialize)]
pub struct ReplacedAccount(pub ProgrammeAccount);

impl PartialSchema for ReplacedAccount {
    fn schema() -> RefOr<Schema> {
        with_property(ProgrammeAccount::schema(), "expectedVersion", expected_version("account"), false)
    }
}

impl ToSchema for ReplacedAccount {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ProgrammeAccount::schemas(schemas);
    }
}

fn expected_version(of: &str) -> Schema {
    let description = format!("The version that the {of} has to be at; otherwise the whole batch is refused, 412.");
    let types = SchemaType::from_iter([Type::Integer, Type::Null]);
    ObjectBuilder::new().schema_type(types).minimum(Some(1)).description(Some(description)).build().into()
}

/// A batch of accounts, or of changes of them.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"accounts": [{"sourceAccountId": "42c57311-25f9-4501-b9db-e78afa73c0e3", "status": "CLOSED",
    "accountCloseDate": "2026-05-01T12:00:00Z"}]}))]
pub struct AccountBatch {
    /// The accounts; each `sourceAccountId` once.
    #[schema(min_items = 1, max_items = 50)]
    pub accounts: Vec<AccountChange>,
}

/// A batch of cards, or of changes of them.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"cards": [{"sourceAccountId": "42c57311-25f9-4501-b9db-e78afa73c0e3",
    "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3", "last4": "2345", "status": "CLOSED",
    "closeDate": "2026-05-01T12:00:00Z"}]}))]
pub struct CardBatch {
    /// The cards; each `sourceCustomerId` and `last4` once.
    #[schema(min_items = 1, max_items = 50)]
    pub cards: Vec<CardChange>,
}

/// A customer of the programme. Times are ISO-8601 with an offset; a plain date is its midnight in UTC.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgrammeCustomer {
    /// The institution's own id of the customer.
    #[schema(min_length = 1, max_length = 128)]
    pub source_customer_id: String,
    /// The customer above it.
    #[schema(min_length = 1, max_length = 128)]
    pub source_parent_customer_id: Option<String>,
    /// The subsidiary of the institution.
    #[schema(min_length = 1, max_length = 120)]
    pub organization_id: String,
    /// The postal code.
    #[schema(min_length = 1, max_length = 20)]
    pub postal_code: String,
    /// The country: an assigned ISO 3166-1 alpha-2 code.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub country: String,
    /// Since when it is the institution's customer; not in the future.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub customer_creation_date: String,
    /// When its enrolment begins.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub enrollment_start_date: String,
    /// When its enrolment ends; not before it begins.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub enrollment_end_date: Option<String>,
    /// Whether it takes part.
    pub enrollment_opt_in_status: EnrollmentOptInStatus,
    /// What it wants to be told of.
    #[schema(max_items = 100)]
    pub alert_opt_in_status: Vec<AlertOptInStatus>,
    /// Whether offers may be aimed at it.
    pub targeting_indicator: TargetingIndicator,
    /// What it may redeem.
    pub redemption_eligibility: Option<RedemptionEligibility>,
    /// Its accounts: it is one of the holders of each.
    #[schema(max_items = 200)]
    pub accounts: Vec<ProgrammeAccount>,
}

/// An account of a customer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgrammeAccount {
    /// The institution's own id of the account.
    #[schema(min_length = 1, max_length = 128)]
    pub source_account_id: String,
    /// Its holders; those other than the customer need not exist yet.
    #[schema(min_items = 1, max_items = 200)]
    pub source_customer_ids: Vec<String>,
    /// The first among its holders.
    #[schema(min_length = 1, max_length = 128)]
    pub primary_source_customer_id: String,
    /// Where it stands.
    pub status: AccountStatus,
    /// What kind of account it is.
    pub r#type: AccountType,
    /// The portfolio it belongs to.
    #[schema(min_length = 1, max_length = 128)]
    pub source_portfolio_id: String,
    /// When it was opened.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub account_open_date: String,
    /// When it was closed: required when `status` is `CLOSED`, and `null` or absent otherwise.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub account_close_date: Option<String>,
    /// Its cards.
    #[schema(max_items = 200)]
    pub cards: Option<Vec<ProgrammeCard>>,
}

/// A card of an account. Its number is never sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgrammeCard {
    /// The account's id.
    #[schema(min_length = 1, max_length = 128)]
    pub source_account_id: String,
    /// Whose card it is: one of the account's holders.
    #[schema(min_length = 1, max_length = 128)]
    pub source_customer_id: String,
    /// The last digits of its number.
    #[schema(pattern = "^[0-9]{4}$")]
    pub last4: String,
    /// The first digits of its number: its issuer.
    #[schema(pattern = "^([0-9]{6}|[0-9]{8})$")]
    pub iin: String,
    /// What kind of card it is.
    pub card_type: CardType,
    /// Where it stands.
    pub status: CardStatus,
    /// Its network.
    pub network_identifier: NetworkIdentifier,
    /// When it was opened.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub open_date: String,
    /// When it was closed: required when `status` is `CLOSED`, and `null` or absent otherwise.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub close_date: Option<String>,
}

/// An account to create or to change. A new one needs every member but `cards` and `accountCloseDate`; of one that exists,
/// what is left out stays as it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountChange {
    /// The institution's own id of the account.
    #[schema(min_length = 1, max_length = 128)]
    pub source_account_id: String,
    /// The version that the account has to be at; otherwise the whole batch is refused, 412.
    #[schema(minimum = 1)]
    pub expected_version: Option<i64>,
    /// Its holders.
    #[schema(nullable = false, min_items = 1, max_items = 200)]
    pub source_customer_ids: Option<Vec<String>>,
    /// The first among its holders.
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    pub primary_source_customer_id: Option<String>,
    /// Where it stands.
    #[schema(nullable = false)]
    pub status: Option<AccountStatus>,
    /// What kind of account it is.
    #[schema(nullable = false)]
    pub r#type: Option<AccountType>,
    /// The portfolio it belongs to.
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    pub source_portfolio_id: Option<String>,
    /// When it was opened.
    #[schema(nullable = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub account_open_date: Option<String>,
    /// When it was closed; `null` clears it.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub account_close_date: Option<String>,
    /// Those of its cards that are created or changed; the others stay.
    #[schema(max_items = 200)]
    pub cards: Option<Vec<CardChange>>,
}

/// A card to create or to change. A new one needs every member but `closeDate`; of one that exists, what is left out stays as
/// it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CardChange {
    /// The account's id.
    #[schema(min_length = 1, max_length = 128)]
    pub source_account_id: String,
    /// Whose card it is: one of the account's holders.
    #[schema(min_length = 1, max_length = 128)]
    pub source_customer_id: String,
    /// The last digits of its number.
    #[schema(pattern = "^[0-9]{4}$")]
    pub last4: String,
    /// The first digits of its number: its issuer.
    #[schema(nullable = false, pattern = "^([0-9]{6}|[0-9]{8})$")]
    pub iin: Option<String>,
    /// What kind of card it is.
    #[schema(nullable = false)]
    pub card_type: Option<CardType>,
    /// Where it stands.
    #[schema(nullable = false)]
    pub status: Option<CardStatus>,
    /// Its network.
    #[schema(nullable = false)]
    pub network_identifier: Option<NetworkIdentifier>,
    /// When it was opened.
    #[schema(nullable = false, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub open_date: Option<String>,
    /// When it was closed; `null` clears it.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}")]
    pub close_date: Option<String>,
}

/// The number of a card network; as an integer or in a string.
#[derive(Serialize)]
pub struct NetworkIdentifier(pub i64);

impl PartialSchema for NetworkIdentifier {
    fn schema() -> RefOr<Schema> {
        let all = [json!(3), json!(4), json!(5), json!(6), json!("3"), json!("4"), json!("5"), json!("6")];
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("The number of a card network; as an integer or in a string."))
            .enum_values(Some(all))
            .into()
    }
}

impl ToSchema for NetworkIdentifier {}

/// Whether a customer takes part in the programme.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EnrollmentOptInStatus {
    /// It does.
    Active,
    /// It does not.
    Inactive,
}

/// What a customer wants to be told of.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlertOptInStatus {
    /// Everything.
    All,
    /// New offers.
    New,
    /// Offers it has activated.
    Activated,
    /// Offers about to end.
    Expiring,
    /// Redemptions.
    Redemption,
    /// What became of an offer.
    CloseTheLoop,
    /// What it has missed.
    MissedOpportunity,
}

/// Whether offers may be aimed at a customer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TargetingIndicator {
    /// They may.
    Target,
    /// They may not.
    DoNotTarget,
}

/// What a customer may redeem.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RedemptionEligibility {
    /// All rewards.
    All,
    /// None.
    None,
}

/// Where an account stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountStatus {
    /// In use.
    Open,
    /// Ended.
    Closed,
    /// Contested.
    Dispute,
    /// Suspected of fraud.
    Fraud,
}

/// What kind of account it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum AccountType {
    /// Prepaid.
    Ppd,
    /// Money market.
    Mma,
    /// Credit card.
    Crd,
    /// Demand deposit.
    Dda,
    /// Savings.
    Sav,
    /// Small business credit card.
    Sbcrd,
    /// Small business demand deposit.
    Sbdda,
    /// Small business savings.
    Sbs,
}

/// What kind of card it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CardType {
    /// Paid later.
    Credit,
    /// Paid at once.
    Debit,
    /// Paid before.
    Prepaid,
}

/// Where a card stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CardStatus {
    /// In use.
    Open,
    /// Ended.
    Closed,
}

/// What a session is wanted for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartSession {
    /// One of them, or both.
    #[schema(min_items = 1, max_items = 2)]
    pub scopes: Vec<SessionScope>,
    /// The customer whose profile is to be read: required with `api:customer`.
    #[schema(min_length = 1, max_length = 128)]
    pub source_customer_id: Option<String>,
    /// The subsidiary of the institution.
    #[schema(min_length = 1, max_length = 120)]
    pub organization_id: Option<String>,
}

/// What a session may be used for.
#[derive(Serialize, ToSchema)]
pub enum SessionScope {
    /// The data endpoints.
    #[serde(rename = "api:institution")]
    Institution,
    /// The profile of one customer.
    #[serde(rename = "api:customer")]
    Customer,
}

/// A session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionStarted {
    /// The JWT, to be sent as `X-CDLX-Session-Token`; it lives for one hour.
    pub session_token: String,
    /// The id of the request.
    pub request_id: String,
}

/// The batch is taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"requestId": "380052b4-3a64-4952-b640-ba696eb9f44b"}))]
pub struct Accepted {
    /// The caller's `X-CDLX-Request-Id`, or a new UUID.
    #[schema(min_length = 1, max_length = 128)]
    pub request_id: String,
}

/// A customer of the programme with its accounts, as it is read.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "sourceCustomerId": "afa2r21-25f9-4501-b9db-e78afa73c0e3", "organizationId": "50004", "postalCode": "78753",
    "country": "US", "customerCreationDate": "2017-04-01T16:00:00Z", "enrollmentStartDate": "2021-10-01T08:00:00Z",
    "enrollmentEndDate": null, "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["NEW", "ACTIVATED"],
    "targetingIndicator": "TARGET",
    "portfolios": [{"sourcePortfolioId": "76afcd28-b494-4b29-b7f2-3eb614a92f97", "portfolioName": "Super Bank Rewards",
        "rewardCurrencyUnit": "Cash"}],
    "accounts": [], "requestId": "380052b4-3a64-4952-b640-ba696eb9f44b"}))]
pub struct CustomerProfile {
    /// The institution's own id of the customer.
    pub source_customer_id: String,
    /// The customer above it; absent where there is none.
    #[schema(nullable = false)]
    pub source_parent_customer_id: Option<String>,
    /// The subsidiary of the institution.
    pub organization_id: String,
    /// The postal code.
    pub postal_code: String,
    /// The country: an ISO 3166-1 alpha-2 code.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub country: String,
    /// Since when it is the institution's customer.
    #[schema(format = DateTime)]
    pub customer_creation_date: String,
    /// When its enrolment begins.
    #[schema(format = DateTime)]
    pub enrollment_start_date: String,
    /// When its enrolment ends.
    #[schema(required, format = DateTime)]
    pub enrollment_end_date: Option<String>,
    /// Whether it takes part.
    pub enrollment_opt_in_status: EnrollmentOptInStatus,
    /// What it wants to be told of.
    pub alert_opt_in_status: Vec<AlertOptInStatus>,
    /// Whether offers may be aimed at it.
    pub targeting_indicator: TargetingIndicator,
    /// What it may redeem; absent where nothing is said of it.
    #[schema(nullable = false)]
    pub redemption_eligibility: Option<RedemptionEligibility>,
    /// The portfolios that its accounts name.
    pub portfolios: Vec<ProfilePortfolio>,
    /// The accounts that it holds.
    #[schema(max_items = 200)]
    pub accounts: Vec<ProfileAccount>,
    /// The id of the request.
    pub request_id: String,
}

/// A portfolio.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfilePortfolio {
    /// The institution's own id of it.
    pub source_portfolio_id: String,
    /// What it is called; its id, where the institution has not listed it.
    pub portfolio_name: String,
    /// In what its rewards are counted.
    pub reward_currency_unit: String,
}

/// An account, as it is read.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileAccount {
    /// The institution's own id of the account.
    pub source_account_id: String,
    /// Its holders, the primary one first.
    pub source_customer_ids: Vec<String>,
    /// The first among its holders.
    pub primary_source_customer_id: String,
    /// Where it stands.
    pub status: AccountStatus,
    /// What kind of account it is.
    pub r#type: AccountType,
    /// The portfolio it belongs to.
    pub source_portfolio_id: String,
    /// When it was opened.
    #[schema(format = DateTime)]
    pub account_open_date: String,
    /// When it was closed.
    #[schema(required, format = DateTime)]
    pub account_close_date: Option<String>,
    /// Its cards.
    #[schema(max_items = 200)]
    pub cards: Vec<ProfileCard>,
}

/// A card, as it is read.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileCard {
    /// The account's id.
    pub source_account_id: String,
    /// Whose card it is.
    pub source_customer_id: String,
    /// The last digits of its number.
    #[schema(pattern = "^[0-9]{4}$")]
    pub last4: String,
    /// The first digits of its number: its issuer.
    #[schema(pattern = "^([0-9]{6}|[0-9]{8})$")]
    pub iin: String,
    /// What kind of card it is.
    pub card_type: CardType,
    /// Where it stands.
    pub status: CardStatus,
    /// Its network.
    #[schema(minimum = 3, maximum = 6)]
    pub network_identifier: i64,
    /// When it was opened.
    #[schema(format = DateTime)]
    pub open_date: String,
    /// When it was closed.
    #[schema(required, format = DateTime)]
    pub close_date: Option<String>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"type": "ValidationException", "title": "Bad request", "status": 400,
    "validationErrors": ["customers[0].accounts[1].cards[0].last4: must be 4 digits"],
    "requestId": "380052b4-3a64-4952-b640-ba696eb9f44b"}))]
pub struct PublisherError {
    /// The kind.
    pub r#type: String,
    /// The kind, for people.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: i32,
    /// One text for each problem, its path first.
    pub validation_errors: Vec<String>,
    /// The id of the request.
    #[schema(min_length = 1, max_length = 128)]
    pub request_id: String,
}
