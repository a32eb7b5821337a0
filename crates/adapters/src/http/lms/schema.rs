//! The documented forms of this dialect's bodies and parameters, for the OpenAPI document alone.
//!
//! Owns words, limits and examples. It must not be used to read or write anything: the tests compare it with what is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::http::openapi::with_property;

/// A customer.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::Customer)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "42", "accountNo": "000000042", "externalId": "ext-ada-001", "status": "Active", "active": true,
    "officeId": "1", "officeName": "Head Office", "firstname": "Ada", "lastname": "Lovelace",
    "displayName": "Ada Lovelace", "mobileNo": "+255700000000", "emailAddress": "ada@example.com",
    "activationDate": "2026-05-22", "submittedDate": "2026-05-22", "version": 1}))]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// The id: opaque, unique within the organization.
    #[schema(min_length = 1)]
    pub id: String,
    /// The account number given at creation: the id, zero-padded to 9 digits.
    #[schema(pattern = "^[0-9]{9,}$")]
    pub account_no: String,
    /// The caller's own id of the customer.
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    pub external_id: Option<String>,
    /// Where the customer stands.
    pub status: CustomerStatus,
    /// Whether the customer is Active and can hold loans.
    pub active: bool,
    /// The id of the office (branch) the customer belongs to.
    pub office_id: String,
    /// The name of that office.
    pub office_name: String,
    /// The first name.
    #[schema(nullable = false)]
    pub firstname: Option<String>,
    /// The middle name.
    #[schema(nullable = false)]
    pub middlename: Option<String>,
    /// The last name.
    #[schema(nullable = false)]
    pub lastname: Option<String>,
    /// The whole name, or its parts joined by one space.
    pub display_name: String,
    /// The contact number.
    #[schema(nullable = false)]
    pub mobile_no: Option<String>,
    /// The e-mail address.
    #[schema(nullable = false)]
    pub email_address: Option<String>,
    /// The date of birth.
    #[schema(nullable = false, format = Date)]
    pub date_of_birth: Option<String>,
    /// Since when the customer is or was Active; absent before.
    #[schema(nullable = false, format = Date)]
    pub activation_date: Option<String>,
    /// When the customer applied.
    #[schema(format = Date)]
    pub submitted_date: String,
    /// 1 person, 2 entity.
    #[schema(nullable = false, pattern = "^[12]$")]
    pub client_type_id: Option<String>,
    /// The code of the legal form.
    #[schema(nullable = false)]
    pub legal_form_id: Option<String>,
    /// The code for gender.
    #[schema(nullable = false)]
    pub gender_id: Option<String>,
    /// When the customer was closed; absent before.
    #[schema(nullable = false, format = Date)]
    pub closure_date: Option<String>,
    /// Why the customer was closed; absent before.
    #[schema(nullable = false)]
    pub closure_reason_id: Option<String>,
    /// How many changes the record has had; also its `ETag`.
    #[schema(minimum = 1)]
    pub version: i64,
}

/// A customer as it is shown: with what can be done to it where that was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::ShownCustomer)]
#[serde(untagged)]
pub enum ShownCustomer {
    /// As it is or was.
    Plain(Box<Customer>),
    /// With `include=allowedTransitions`.
    WithTransitions(Box<CustomerWithTransitions>),
}

/// A customer with what can be done to it now: a [`Customer`] with one more member.
#[derive(Serialize)]
pub struct CustomerWithTransitions(pub Customer);

impl PartialSchema for CustomerWithTransitions {
    fn schema() -> RefOr<Schema> {
        let transition = Ref::from_schema_name(AllowedTransition::name());
        let all = ArrayBuilder::new().items(transition).description(Some("Every command of a customer's life."));
        with_property(Customer::schema(), "allowedTransitions", Schema::Array(all.build()), true)
    }
}

impl ToSchema for CustomerWithTransitions {
    fn name() -> Cow<'static, str> {
        "lms.CustomerWithTransitions".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Customer::schemas(schemas);
        schemas.push((AllowedTransition::name().into_owned(), AllowedTransition::schema()));
        AllowedTransition::schemas(schemas);
    }
}

/// Whether a command is possible now.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::AllowedTransition)]
#[serde(deny_unknown_fields)]
pub struct AllowedTransition {
    /// The command.
    pub command: TransitionName,
    /// Whether it is possible, its own values apart.
    pub allowed: bool,
    /// Everything that stands in its way; empty where it is possible.
    pub blockers: Vec<TransitionBlocker>,
}

/// A command of a customer's life.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::TransitionName)]
#[serde(rename_all = "camelCase")]
pub enum TransitionName {
    /// Pending to Active.
    Activate,
    /// Active to Closed.
    Close,
    /// A change of details.
    Update,
    /// Out of the register.
    Delete,
    /// A new open loan.
    OpenLoan,
}

/// One thing that stands in the way of a command.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::TransitionBlocker)]
#[serde(deny_unknown_fields)]
pub struct TransitionBlocker {
    /// What it is.
    pub code: BlockerCode,
    /// The same for people.
    pub message: String,
    /// How many loans stand in the way; absent where the status does.
    #[schema(nullable = false, minimum = 1)]
    pub count: Option<i64>,
}

/// What can stand in the way of a command.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::BlockerCode)]
#[serde(rename_all = "camelCase")]
pub enum BlockerCode {
    /// The customer's status.
    State,
    /// Open loans.
    OpenLoans,
    /// Loans, open or not.
    Loans,
}

/// How a customer is shown.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct GetCustomer {
    /// As it was: right after the change that made it this version, or at that instant (RFC 3339). Its office is named as
    /// it is now.
    #[param(pattern = "^([0-9]*[1-9][0-9]*|[0-9]{4}-[0-9]{2}-[0-9]{2}T.+)$")]
    pub as_of: Option<String>,
    /// `allowedTransitions` adds what can be done to it now, and what blocks the rest. Not beside `asOf`.
    pub include: Option<Included>,
}

/// What can be shown beside a customer.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::Included)]
#[serde(rename_all = "camelCase")]
pub enum Included {
    /// What can be done to it now.
    AllowedTransitions,
}

/// The parameters of a history.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct ListHistory {
    /// The most events of a page.
    #[param(minimum = 1, maximum = 100, default = 50)]
    pub rows: Option<i64>,
    /// Where to go on: the `next` of the page before. Empty or absent to begin.
    pub after: Option<String>,
}

/// A page of a history.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CustomerHistory)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomerHistory {
    /// Events, newest first. Those of a customer that has been deleted since tell no changes and no reasons.
    #[schema(max_items = 100)]
    pub items: Vec<Event>,
    /// The most events of a page, as asked for.
    #[schema(minimum = 1, maximum = 100)]
    pub rows_per_page: i64,
    /// Where to go on; absent on the last page.
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// The label of a status.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CustomerStatus)]
pub enum CustomerStatus {
    /// Applied, not yet active.
    Pending,
    /// May hold loans.
    Active,
    /// Ended for good.
    Closed,
}

/// A code, as an integer or its decimal form in a string.
#[derive(Serialize)]
pub struct Code(pub i64);

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let integer = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^0*[1-9][0-9]{0,17}$"));
        OneOfBuilder::new()
            .description(Some("A code, as an integer or its decimal form in a string."))
            .item(integer)
            .item(text)
            .into()
    }
}

impl ToSchema for Code {
    fn name() -> Cow<'static, str> {
        "lms.Code".into()
    }
}

/// 1 for a person, 2 for an entity; as an integer or in a string.
#[derive(Serialize)]
pub struct ClientTypeCode(pub i64);

impl PartialSchema for ClientTypeCode {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("1 for a person, 2 for an entity; as an integer or in a string."))
            .enum_values(Some([json!(1), json!(2), json!("1"), json!("2")]))
            .into()
    }
}

impl ToSchema for ClientTypeCode {
    fn name() -> Cow<'static, str> {
        "lms.ClientTypeCode".into()
    }
}

/// Either form of a new customer; they are told apart by the body having any member but `externalId`.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CreateCustomer)]
#[serde(untagged)]
pub enum CreateCustomer {
    /// Active from today, named after its external id.
    Partner(CreatePartnerCustomer),
    /// With everything that is known.
    Full(Box<CreateFullCustomer>),
}

/// The partner form of a new customer.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CreatePartnerCustomer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreatePartnerCustomer {
    /// The caller's own id of the customer, unique within the organization.
    #[schema(min_length = 1, max_length = 128)]
    pub external_id: String,
}

/// The full form of a new customer. `firstname` and `lastname`, or `fullname`; an explicit `null` is an absent member.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CreateFullCustomer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateFullCustomer {
    /// The office the customer belongs to.
    pub office_id: Code,
    /// The first name.
    #[schema(min_length = 1, max_length = 100)]
    pub firstname: Option<String>,
    /// The middle name.
    #[schema(min_length = 1, max_length = 100)]
    pub middlename: Option<String>,
    /// The last name.
    #[schema(min_length = 1, max_length = 100)]
    pub lastname: Option<String>,
    /// The whole name, instead of its parts.
    #[schema(min_length = 1, max_length = 200)]
    pub fullname: Option<String>,
    /// The contact number.
    #[schema(min_length = 1, max_length = 50)]
    pub mobile_no: Option<String>,
    /// The e-mail address.
    #[schema(format = Email, max_length = 254)]
    pub email_address: Option<String>,
    /// The caller's own id of the customer, unique within the organization.
    #[schema(min_length = 1, max_length = 128)]
    pub external_id: Option<String>,
    /// The code for gender.
    pub gender_id: Option<Code>,
    /// 1 person, 2 entity.
    pub client_type_id: Option<ClientTypeCode>,
    /// The code of the legal form.
    pub legal_form_id: Option<Code>,
    /// The date of birth; not in the future.
    #[schema(format = Date)]
    pub date_of_birth: Option<String>,
    /// Whether the customer is Active at once.
    pub active: bool,
    /// Since when; required when `active` is true, refused when it is false. Not in the future, not before the
    /// submission.
    #[schema(format = Date)]
    pub activation_date: Option<String>,
    /// When the customer applied. Default: today, or the activation date where that is earlier.
    #[schema(format = Date)]
    pub submitted_date: Option<String>,
}

/// A change of details: at least one member. What is left out stays as it is.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::UpdateCustomer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct UpdateCustomer {
    /// A new external id.
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    pub external_id: Option<String>,
    /// The first name.
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub firstname: Option<String>,
    /// The middle name; `null` clears it.
    #[schema(min_length = 1, max_length = 100)]
    pub middlename: Option<String>,
    /// The last name.
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub lastname: Option<String>,
    /// The whole name; it replaces the parts.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    pub fullname: Option<String>,
    /// The contact number; `null` clears it.
    #[schema(min_length = 1, max_length = 50)]
    pub mobile_no: Option<String>,
    /// The e-mail address; `null` clears it.
    #[schema(format = Email, max_length = 254)]
    pub email_address: Option<String>,
    /// The date of birth, not in the future; `null` clears it.
    #[schema(format = Date)]
    pub date_of_birth: Option<String>,
}

/// An upsert. Without any member but `externalId` it creates by the partner form, with any by the full form, which then has
/// to be whole. Of a customer that is there, what is left out stays as it is, and what no update changes has to be so already.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::UpsertCustomer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpsertCustomer {
    /// That of the path; for a customer that is there, another is its new one.
    #[schema(nullable = false, min_length = 1, max_length = 128)]
    pub external_id: Option<String>,
    /// The first name.
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub firstname: Option<String>,
    /// The middle name; `null` clears it.
    #[schema(min_length = 1, max_length = 100)]
    pub middlename: Option<String>,
    /// The last name.
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub lastname: Option<String>,
    /// The whole name; it replaces the parts.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    pub fullname: Option<String>,
    /// The contact number; `null` clears it.
    #[schema(min_length = 1, max_length = 50)]
    pub mobile_no: Option<String>,
    /// The e-mail address; `null` clears it.
    #[schema(format = Email, max_length = 254)]
    pub email_address: Option<String>,
    /// The date of birth, not in the future; `null` clears it.
    #[schema(format = Date)]
    pub date_of_birth: Option<String>,
    /// The office; no update changes it.
    pub office_id: Option<Code>,
    /// The code for gender; no update changes it.
    pub gender_id: Option<Code>,
    /// 1 person, 2 entity; no update changes it.
    pub client_type_id: Option<ClientTypeCode>,
    /// The code of the legal form; no update changes it.
    pub legal_form_id: Option<Code>,
    /// Whether the customer is Active; no update changes it.
    pub active: Option<bool>,
    /// Since when the customer is Active; no update changes it.
    #[schema(format = Date)]
    pub activation_date: Option<String>,
    /// When the customer applied; no update changes it.
    #[schema(format = Date)]
    pub submitted_date: Option<String>,
}

/// An activation.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::ActivateCustomer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivateCustomer {
    /// Since when: not before the submission, not in the future.
    #[schema(format = Date)]
    pub activation_date: String,
}

/// A closure.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CloseCustomer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloseCustomer {
    /// When: not before the activation; a date in the future takes effect at once.
    #[schema(format = Date)]
    pub closure_date: String,
    /// Why: one of the organization's reasons, where it has listed any.
    pub closure_reason_id: Code,
}

/// The parameters of the list.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct ListCustomers {
    /// The page, from 1. Not beside `after`.
    #[param(minimum = 1, default = 1)]
    pub page: Option<i64>,
    /// The most rows of a page.
    #[param(minimum = 1, maximum = 100, default = 10)]
    pub rows: Option<i64>,
    /// By what the rows are ordered; ties are broken by id, in the same direction.
    pub order_by: Option<CustomerOrder>,
    /// Upwards (default) or downwards.
    pub sort_order: Option<SortOrder>,
    /// The one customer with that external id, or none.
    #[param(min_length = 1, max_length = 128)]
    pub external_id: Option<String>,
    /// Of that status alone.
    pub status: Option<CustomerStatus>,
    /// Of that office alone.
    #[param(minimum = 1)]
    pub office_id: Option<i64>,
    /// Every word of it is the beginning of a word of the display name, or of the mobile number, the e-mail address or the
    /// account number; case and accents do not count. At most 16 words.
    #[param(max_length = 256)]
    pub q: Option<String>,
    /// Walks by cursor: empty to begin, then each `next`. The order and the filters of a walk do not change.
    pub after: Option<String>,
}

/// By what a list is ordered.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CustomerOrder)]
#[serde(rename_all = "camelCase")]
pub enum CustomerOrder {
    /// The id.
    Id,
    /// The display name, without regard to case and accents.
    DisplayName,
    /// The submission date.
    SubmittedDate,
    /// The activation date; customers without one come last.
    ActivationDate,
}

/// In which direction a list is ordered.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::SortOrder)]
#[serde(rename_all = "UPPERCASE")]
pub enum SortOrder {
    /// Smallest first.
    Asc,
    /// Greatest first.
    Desc,
}

/// What a list answers.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CustomerList)]
#[serde(untagged)]
pub enum CustomerList {
    /// Without `after`.
    Page(CustomerPage),
    /// With `after`.
    Walk(CustomerWalk),
}

/// A page of customers.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CustomerPage)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomerPage {
    /// The rows; none past the end.
    #[schema(max_items = 100)]
    pub items: Vec<Customer>,
    /// How many match in all.
    #[schema(minimum = 0)]
    pub total: i64,
    /// The page that was asked for.
    #[schema(minimum = 1)]
    pub page: i64,
    /// The most rows of a page.
    #[schema(minimum = 1, maximum = 100)]
    pub rows_per_page: i64,
}

/// A step of a walk over customers.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CustomerWalk)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomerWalk {
    /// The rows.
    #[schema(max_items = 100)]
    pub items: Vec<Customer>,
    /// The most rows of a step.
    #[schema(minimum = 1, maximum = 100)]
    pub rows_per_page: i64,
    /// The cursor of the next step; absent on the last one.
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// A bearer token.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::Token)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The JWT, to be sent as `Authorization: Bearer <token>`.
    pub token: String,
}

/// A JSON Web Key Set (RFC 7517).
#[derive(Serialize, ToSchema)]
#[schema(as = lms::KeySet)]
pub struct KeySet {
    /// The public keys.
    #[schema(value_type = Vec<Object>)]
    pub keys: Vec<serde_json::Value>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::Error)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"code": "invalid_argument",
    "message": "[{\"field\":\"officeId\",\"error\":\"required\"}]"}))]
pub struct Error {
    /// The kind.
    pub code: ErrorCode,
    /// For `invalid_argument` a JSON array in a string, one `{"field","error"}` for each problem; else a text for people.
    pub message: String,
}

/// The kinds of errors.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::ErrorCode)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400, 413, 415: something in the request is wrong.
    InvalidArgument,
    /// 400, 412: the request does not fit the present state.
    FailedPrecondition,
    /// 401.
    Unauthenticated,
    /// 403.
    PermissionDenied,
    /// 404.
    NotFound,
    /// 405.
    Unimplemented,
    /// 409.
    Aborted,
    /// 429.
    ResourceExhausted,
    /// 500.
    Internal,
    /// 503.
    Unavailable,
}

/// A loan as it was last reported.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::Loan)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Loan {
    /// The id: opaque, unique within the organization.
    pub id: String,
    /// The account number that was reported, or the id zero-padded to 9 digits.
    pub account_no: String,
    /// The engine's own id of the loan.
    #[schema(min_length = 1, max_length = 128)]
    pub external_id: String,
    /// Whose loan it is.
    pub customer_id: String,
    /// What that customer is called.
    pub customer_name: String,
    /// The product's id.
    #[schema(nullable = false)]
    pub loan_product_id: Option<String>,
    /// The product's name.
    #[schema(nullable = false)]
    pub loan_product_name: Option<String>,
    /// Where it stands.
    pub status: LoanStatus,
    /// What was applied for.
    pub principal: f64,
    /// What was granted.
    #[schema(nullable = false)]
    pub approved_principal: Option<f64>,
    /// The currency.
    #[schema(pattern = "^[A-Z]{3}$")]
    pub currency_code: String,
    /// How long it runs, in units of the product.
    #[schema(nullable = false)]
    pub term_frequency: Option<u32>,
    /// In how many instalments it is paid back.
    #[schema(nullable = false)]
    pub number_of_repayments: Option<u32>,
    /// The interest of one period, in percent.
    #[schema(nullable = false)]
    pub interest_rate_per_period: Option<f64>,
    /// What was paid out.
    #[schema(nullable = false)]
    pub principal_disbursed: Option<f64>,
    /// What was paid back.
    #[schema(nullable = false)]
    pub principal_paid: Option<f64>,
    /// What is left of the principal.
    #[schema(nullable = false)]
    pub principal_outstanding: Option<f64>,
    /// The interest charged.
    #[schema(nullable = false)]
    pub interest_charged: Option<f64>,
    /// All that is owed.
    #[schema(nullable = false)]
    pub total_outstanding: Option<f64>,
    /// All that was paid.
    #[schema(nullable = false)]
    pub total_paid: Option<f64>,
    /// When the next instalment is due.
    #[schema(nullable = false, format = Date)]
    pub next_due_date: Option<String>,
    /// How much is due then.
    #[schema(nullable = false)]
    pub next_due_amount: Option<f64>,
    /// When it is to be paid out.
    #[schema(nullable = false, format = Date)]
    pub expected_disbursement_date: Option<String>,
}

/// Where a loan stands. The first four are open.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::LoanStatus)]
pub enum LoanStatus {
    /// Applied for.
    #[serde(rename = "Submitted and pending approval")]
    Submitted,
    /// Granted, not paid out.
    Approved,
    /// Paid out.
    Active,
    /// Paid back more than was owed.
    Overpaid,
    /// The applicant changed its mind.
    #[serde(rename = "Withdrawn by applicant")]
    Withdrawn,
    /// Not granted.
    Rejected,
    /// Paid back.
    #[serde(rename = "Closed (obligations met)")]
    Repaid,
    /// Given up.
    #[serde(rename = "Closed (written off)")]
    WrittenOff,
}

/// A page of loans.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::LoanPage)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoanPage {
    /// The rows; none past the end.
    #[schema(max_items = 100)]
    pub items: Vec<Loan>,
    /// How many match in all.
    #[schema(minimum = 0)]
    pub total: i64,
    /// The page that was asked for.
    #[schema(minimum = 1)]
    pub page: i64,
    /// The most rows of a page.
    #[schema(minimum = 1, maximum = 100)]
    pub rows_per_page: i64,
}

/// The parameters of the list of loans.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct ListLoans {
    /// The page, from 1.
    #[param(minimum = 1, default = 1)]
    pub page: Option<i64>,
    /// The most rows of a page.
    #[param(minimum = 1, maximum = 100, default = 10)]
    pub rows: Option<i64>,
    /// By what the rows are ordered; ties are broken by id, in the same direction.
    pub order_by: Option<LoanOrder>,
    /// Upwards (default) or downwards.
    pub sort_order: Option<SortOrder>,
    /// Of that customer alone. Not beside `customerExternalId`.
    #[param(pattern = "^[0-9]*[1-9][0-9]*$")]
    pub customer_id: Option<String>,
    /// Of the customer with that external id alone.
    #[param(min_length = 1, max_length = 128)]
    pub customer_external_id: Option<String>,
    /// Of that status alone; case does not count.
    pub status: Option<LoanStatus>,
}

/// By what a list of loans is ordered.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::LoanOrder)]
#[serde(rename_all = "camelCase")]
pub enum LoanOrder {
    /// The id.
    Id,
    /// The principal.
    Principal,
    /// When it is to be paid out; loans without that date come last.
    ExpectedDisbursementDate,
}

/// A loan's position, whole. Exactly one of `customerId` and `customerExternalId`.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::ReportLoan)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportLoan {
    /// Whose loan it is, by id.
    pub customer_id: Option<Code>,
    /// Whose loan it is, by external id.
    #[schema(min_length = 1, max_length = 128)]
    pub customer_external_id: Option<String>,
    /// Where it stands.
    pub status: LoanStatus,
    /// What was applied for: an exact decimal number, at most 6 decimals.
    pub principal: Decimal,
    /// The currency.
    #[schema(pattern = "^[A-Z]{3}$")]
    pub currency_code: String,
    /// The loan's account number.
    #[schema(min_length = 1, max_length = 100)]
    pub account_no: Option<String>,
    /// The product's id.
    pub loan_product_id: Option<Code>,
    /// The product's name.
    #[schema(min_length = 1, max_length = 100)]
    pub loan_product_name: Option<String>,
    /// What was granted.
    pub approved_principal: Option<Decimal>,
    /// How long it runs, in units of the product.
    pub term_frequency: Option<u32>,
    /// In how many instalments it is paid back.
    pub number_of_repayments: Option<u32>,
    /// The interest of one period, in percent.
    pub interest_rate_per_period: Option<Decimal>,
    /// What was paid out.
    pub principal_disbursed: Option<Decimal>,
    /// What was paid back.
    pub principal_paid: Option<Decimal>,
    /// What is left of the principal.
    pub principal_outstanding: Option<Decimal>,
    /// The interest charged.
    pub interest_charged: Option<Decimal>,
    /// All that is owed.
    pub total_outstanding: Option<Decimal>,
    /// All that was paid.
    pub total_paid: Option<Decimal>,
    /// When the next instalment is due.
    #[schema(format = Date)]
    pub next_due_date: Option<String>,
    /// How much is due then.
    pub next_due_amount: Option<Decimal>,
    /// When it is to be paid out.
    #[schema(format = Date)]
    pub expected_disbursement_date: Option<String>,
}

/// An amount of money or a rate: an exact decimal number, or its form in a string.
#[derive(Serialize)]
pub struct Decimal(pub f64);

impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new()
            .schema_type(Type::Number)
            .minimum(Some(0))
            .exclusive_maximum(Some(1_000_000_000_000_i64));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]{1,12}(\\.[0-9]{1,6})?$"));
        OneOfBuilder::new()
            .description(Some("An exact decimal number with at most 6 decimals, or its form in a string."))
            .item(number)
            .item(text)
            .into()
    }
}

impl ToSchema for Decimal {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("lms.Decimal")
    }
}

/// A credit score.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::ReportScore)]
#[serde(deny_unknown_fields)]
pub struct ReportScore {
    /// How creditworthy.
    pub grade: Grade,
    /// How creditworthy, from 0 to 1000.
    #[schema(minimum = 0, maximum = 1000)]
    pub score: i64,
    /// Up to how much.
    pub limit: Decimal,
}

/// How creditworthy a customer is; `XX` where nobody has said.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::Grade)]
pub enum Grade {
    /// Best.
    A,
    /// Good.
    B,
    /// Fair.
    C,
    /// Not graded.
    XX,
}

/// How creditworthy a customer is, and what it owes.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::Scorecard)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scorecard {
    /// Whose.
    pub external_id: String,
    /// How creditworthy.
    pub halopesa_grade: Grade,
    /// From 0 to 1000.
    #[schema(minimum = 0, maximum = 1000)]
    pub final_credit_score: i64,
    /// Up to how much.
    pub final_credit_limit: f64,
    /// What is owed over all loans.
    pub total_outstanding: f64,
    /// What was paid over all loans.
    pub total_paid: f64,
    /// The limit while nothing is owed, else 0.
    pub available_credit_limit: f64,
    /// The month of the answer, `YYYY-MM`.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}$")]
    pub execution_period: String,
}

/// The parameters of the feed.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct ListEvents {
    /// Where to go on: the `nextCursor` of an earlier answer, or `now` for what is committed from now on. Without it the
    /// feed begins with the organization's first event. A cursor belongs to the organization and to no filter: `types`
    /// and `customerId` may change from one request to the next.
    pub after: Option<String>,
    /// Only events of these types, by commas. One that is unknown is refused.
    #[param(example = "customer.created,customer.updated")]
    pub types: Option<String>,
    /// Only this customer's.
    #[param(pattern = "^[0-9]*[1-9][0-9]*$")]
    pub customer_id: Option<String>,
    /// How many seconds to wait for an event where there is none yet; an answer comes as soon as there is one.
    #[param(minimum = 0, maximum = 30, default = 0)]
    pub wait: Option<i64>,
    /// The most events of a page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<i64>,
}

/// A page of the feed.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::EventPage)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventPage {
    /// The events, in the order of their commits.
    pub events: Vec<Event>,
    /// Where to go on after this page; there also where the page is empty. Keep it with what the events have led to.
    pub next_cursor: String,
    /// Whether there is more after `nextCursor` already. It may be of types that are not wanted: a page may be empty and
    /// have more after it, since a read looks through 5,000 events at most.
    pub more: bool,
}

/// A committed change. An optional member that has no value is left out.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::Event)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "id": "evt_1_7", "sequence": 7, "type": "customer.updated", "customerId": "42", "externalId": "ext-ada-001",
    "version": 3, "at": "2026-05-22T09:30:00Z", "actor": "key:3", "requestId": "r-1", "idempotencyKey": "k-1",
    "changed": {"mobileNo": {"from": "+255700000000", "to": "+255711111111"}}}))]
pub struct Event {
    /// The id, the same wherever the event is shown: `evt_<organization>_<sequence>`.
    #[schema(pattern = "^evt_[0-9]+_[0-9]+$")]
    pub id: String,
    /// Its place in the organization's order of commits. It ascends, and may have gaps.
    #[schema(minimum = 1)]
    pub sequence: i64,
    /// What kind of change it was, such as `customer.created`. There will be more kinds.
    pub r#type: String,
    /// The own key of a record that is no customer: the external id of an account or loan, the id of a company.
    #[schema(nullable = false)]
    pub subject: Option<String>,
    /// The id of the customer that it is about.
    #[schema(nullable = false)]
    pub customer_id: Option<String>,
    /// That customer's external id after the change; `null` where it has none.
    #[schema(required = true)]
    pub external_id: Option<String>,
    /// The version of the record after the change. A customer's versions ascend without a gap.
    #[schema(minimum = 1)]
    pub version: i64,
    /// When it was decided.
    #[schema(format = DateTime)]
    pub at: String,
    /// Which credential did it.
    pub actor: String,
    /// By which request.
    pub request_id: String,
    /// The request's `Idempotency-Key`.
    #[schema(nullable = false)]
    pub idempotency_key: Option<String>,
    /// The changed fields by name, each with its value before (`from`) and after (`to`); a side that had or has no value
    /// is left out. Empty for a deletion.
    pub changed: BTreeMap<String, EventChange>,
    /// Why, in the words of who did it.
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// A changed field: a text, a number or a list of texts on each side.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::EventChange)]
#[serde(deny_unknown_fields)]
pub struct EventChange {
    /// The value before.
    #[schema(schema_with = changed_value, required = false)]
    pub from: Option<serde_json::Value>,
    /// The value after.
    #[schema(schema_with = changed_value, required = false)]
    pub to: Option<serde_json::Value>,
}

fn changed_value() -> Schema {
    let of = |kind: Type| ObjectBuilder::new().schema_type(kind);
    let list = ArrayBuilder::new().items(of(Type::String));
    OneOfBuilder::new().item(of(Type::String)).item(of(Type::Number)).item(of(Type::Boolean)).item(list).into()
}

/// How much of an event is sent.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookPayload)]
#[serde(rename_all = "camelCase")]
pub enum WebhookPayload {
    /// Ids, version and the names of the changed fields.
    Thin,
    /// The whole event.
    Full,
}

/// A new endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::CreateWebhookEndpoint)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateWebhookEndpoint {
    /// Where events are sent: https, at a public address, without credentials.
    #[schema(max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]?:")]
    pub url: String,
    /// Which types of events; all where it is empty or left out.
    pub types: Option<Vec<String>>,
    /// How much of them; `thin` where it is left out.
    pub payload: Option<WebhookPayload>,
    /// What it is for.
    #[schema(min_length = 1, max_length = 500)]
    pub description: Option<String>,
}

/// A change of an endpoint; members left out stay as they are.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::UpdateWebhookEndpoint)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateWebhookEndpoint {
    /// Where events are sent.
    #[schema(nullable = false, max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]?:")]
    pub url: Option<String>,
    /// Which types of events; all where it is empty.
    pub types: Option<Vec<String>>,
    /// How much of them.
    #[schema(nullable = false)]
    pub payload: Option<WebhookPayload>,
    /// What it is for; `null` clears it.
    #[schema(min_length = 1, max_length = 500)]
    pub description: Option<String>,
    /// Whether it is sent to. `true` enables it again, whatever disabled it.
    pub enabled: Option<bool>,
}

/// An endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookEndpoint)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"id": "we_0123456789abcdef0123456789abcdef", "url": "https://example.com/hooks",
    "types": ["customer.closed", "customer.created"], "payload": "thin", "enabled": true, "version": 1,
    "createdAt": "2026-05-22T09:30:00Z", "updatedAt": "2026-05-22T09:30:00Z"}))]
pub struct WebhookEndpoint {
    /// The id.
    #[schema(pattern = "^we_[0-9a-f]{32}$")]
    pub id: String,
    /// Where events are sent.
    pub url: String,
    /// Which types of events, sorted; all where it is empty.
    pub types: Vec<String>,
    /// How much of them.
    pub payload: WebhookPayload,
    /// What it is for.
    #[schema(nullable = false)]
    pub description: Option<String>,
    /// Whether it is sent to.
    pub enabled: bool,
    /// Why not: `gone` where it answered 410, `requested` where its owner wanted it.
    #[schema(nullable = false)]
    pub disabled_reason: Option<String>,
    /// Since when not.
    #[schema(nullable = false, format = DateTime)]
    pub disabled_at: Option<String>,
    /// Until when the secret before the present one signs too; may be past.
    #[schema(nullable = false, format = DateTime)]
    pub previous_secret_expires_at: Option<String>,
    /// How many changes it has had.
    #[schema(minimum = 1)]
    pub version: i64,
    /// When it was registered.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// The secret that its messages are signed with: `whsec_` and the base64 of 32 bytes. Shown by the answers to its
    /// registration and to a rotation alone.
    #[schema(nullable = false, pattern = "^whsec_[0-9A-Za-z+/]{43}=$")]
    pub secret: Option<String>,
}

/// An organization's endpoints.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookEndpointList)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookEndpointList {
    /// The endpoints, by their registration.
    #[schema(max_items = 50)]
    pub items: Vec<WebhookEndpoint>,
}

/// How a secret is replaced.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::RotateWebhookSecret)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateWebhookSecret {
    /// For how many seconds the present secret signs too: at most a week.
    #[schema(minimum = 0, maximum = 604_800, default = 86_400)]
    pub overlap_seconds: Option<i64>,
}

/// What came of a try.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookPing)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookPing {
    /// Whether the endpoint took the message: it answered 2xx.
    pub delivered: bool,
    /// The status of its answer.
    #[schema(nullable = false, minimum = 100, maximum = 999)]
    pub status: Option<i64>,
    /// Why it did not take it.
    #[schema(nullable = false)]
    pub failure: Option<WebhookFailure>,
    /// How long it took, in milliseconds.
    #[schema(minimum = 0)]
    pub duration_ms: i64,
}

/// Why an attempt failed.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookFailure)]
#[serde(rename_all = "camelCase")]
pub enum WebhookFailure {
    /// The endpoint answered neither 2xx, 3xx nor 410.
    Status,
    /// It answered 410: it is disabled.
    Gone,
    /// It answered 3xx; redirects are not followed.
    Redirect,
    /// Its name has no address.
    Name,
    /// Its address is none that is called.
    Address,
    /// No connection came about.
    Connect,
    /// Its certificate is not trusted, or it speaks no TLS.
    Tls,
    /// It took more than 15 seconds.
    Timeout,
    /// The connection broke, or what came was no HTTP.
    Protocol,
}

/// Which events are to be delivered once more: `event`, or `from` and perhaps `to`.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::ReplayWebhookEvents)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplayWebhookEvents {
    /// The id of one event.
    #[schema(pattern = "^evt_[0-9]+_[0-9]+$")]
    pub event: Option<String>,
    /// The sequence of the first event.
    #[schema(minimum = 1)]
    pub from: Option<i64>,
    /// The sequence of the last event; up to now where it is left out.
    #[schema(minimum = 1)]
    pub to: Option<i64>,
}

/// What a replay did.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookReplay)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookReplay {
    /// How many deliveries are pending by it.
    #[schema(minimum = 0, maximum = 10_000)]
    pub count: i64,
    /// From which sequence to go on, where the range holds more.
    #[schema(nullable = false, minimum = 1)]
    pub next: Option<i64>,
}

/// The parameters of the list of deliveries.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct ListWebhookDeliveries {
    /// Only those that stand so.
    #[param(inline)]
    pub state: Option<WebhookDeliveryState>,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// The most deliveries of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<i64>,
}

/// Where a delivery stands.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookDeliveryState)]
#[serde(rename_all = "camelCase")]
pub enum WebhookDeliveryState {
    /// To be tried.
    Pending,
    /// Taken by the endpoint.
    Delivered,
    /// Given up; only a replay tries it again.
    Parked,
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookDeliveryList)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookDeliveryList {
    /// The deliveries, newest event first.
    pub items: Vec<WebhookDelivery>,
    /// Where to go on; absent where nothing follows.
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// An event on its way to an endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookDelivery)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookDelivery {
    /// The event's id, which is the message's `webhook-id`.
    pub event: String,
    /// Its sequence.
    #[schema(minimum = 1)]
    pub sequence: i64,
    /// Its type.
    pub r#type: String,
    /// The id of the customer that it is about.
    #[schema(nullable = false)]
    pub customer_id: Option<String>,
    /// Where it stands.
    pub state: WebhookDeliveryState,
    /// When it is tried next, while it is pending.
    #[schema(nullable = false, format = DateTime)]
    pub next_attempt_at: Option<String>,
    /// When it was delivered or parked.
    #[schema(nullable = false, format = DateTime)]
    pub ended_at: Option<String>,
    /// Every attempt, oldest first.
    pub attempts: Vec<WebhookAttempt>,
}

/// One attempt.
#[derive(Serialize, ToSchema)]
#[schema(as = lms::WebhookAttempt)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookAttempt {
    /// When it began.
    #[schema(format = DateTime)]
    pub at: String,
    /// How long it took, in milliseconds.
    #[schema(minimum = 0)]
    pub duration_ms: i64,
    /// The status of the answer.
    #[schema(nullable = false, minimum = 100, maximum = 999)]
    pub status: Option<i64>,
    /// Why it failed.
    #[schema(nullable = false)]
    pub failure: Option<WebhookFailure>,
}
