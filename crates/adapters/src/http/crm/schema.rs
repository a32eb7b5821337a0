//! The documented forms of this dialect's bodies and parameters, for the OpenAPI document alone.
//!
//! Owns words, limits and examples. It must not be used to read or write anything: the tests compare it with what is.

use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// A customer. Every member is there; what is not known is `null`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": 42, "customer_id": "CUS-7ZK3M9Q0W2XA", "name": "Alice Johnson", "email": "alice@example.com",
    "whatsapp_number": "2348000000000", "source": "web", "ip": "192.168.1.1", "city": "Accra", "country": "Ghana",
    "location": "Spintex Road", "latitude": "5.6037", "longitude": "0.1870", "is_active": true, "company_id": 7,
    "company_name": "Acme Trading", "organization_id": 1, "time_created": "2025-11-27T09:32:08.249Z",
    "time_updated": "2025-11-27T09:32:08.249Z"}))]
pub struct CrmCustomer {
    /// The id within the organization, the same in every dialect.
    #[schema(minimum = 1)]
    pub id: i64,
    /// The public id: `CUS-` and 12 characters for customers created here, else the id that another dialect gave.
    pub customer_id: Option<String>,
    /// The whole name.
    pub name: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// The contact number.
    pub whatsapp_number: Option<String>,
    /// By which channel the customer was won.
    pub source: Option<String>,
    /// The customer's IP address.
    pub ip: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// The country.
    pub country: Option<String>,
    /// A general description of the place.
    pub location: Option<String>,
    /// Degrees north, digit for digit as given.
    pub latitude: Option<String>,
    /// Degrees east, digit for digit as given.
    pub longitude: Option<String>,
    /// True for Active customers, false for Pending and Closed ones.
    pub is_active: bool,
    /// The integer id of the company that the customer is associated with.
    pub company_id: Option<i64>,
    /// The name of that company.
    pub company_name: Option<String>,
    /// The organization that the customer belongs to.
    pub organization_id: i64,
    /// When the record was made, in UTC to the millisecond.
    #[schema(format = DateTime)]
    pub time_created: String,
    /// When the record last changed, in UTC to the millisecond.
    #[schema(format = DateTime)]
    pub time_updated: String,
}

/// Yes or no, or a word or number for it.
#[derive(Serialize)]
pub struct LaxBoolean(pub bool);

impl PartialSchema for LaxBoolean {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).description(Some(
            "`1`, `0`, `on`, `off`, `t`, `f`, `true`, `false`, `y`, `n`, `yes` or `no`, in any case",
        ));
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(1));
        OneOfBuilder::new()
            .description(Some("Yes or no."))
            .item(ObjectBuilder::new().schema_type(Type::Boolean))
            .item(text)
            .item(number)
            .item(ObjectBuilder::new().schema_type(Type::Null))
            .into()
    }
}

impl ToSchema for LaxBoolean {}

/// A new customer; an explicit `null` is an absent member.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmCreateCustomer {
    /// The full name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// The e-mail address; need not be unique.
    #[schema(format = Email, max_length = 254)]
    pub email: String,
    /// By which channel the customer was won, such as `web`, `api` or `whatsapp`.
    #[schema(min_length = 1, max_length = 64)]
    pub source: String,
    /// 6 to 15 digits with an optional leading `+`.
    #[schema(pattern = "^\\+?[0-9]{6,15}$")]
    pub whatsapp_number: Option<String>,
    /// An IPv4 or IPv6 address.
    pub ip: Option<String>,
    /// The city.
    #[schema(max_length = 200)]
    pub city: Option<String>,
    /// The country.
    #[schema(max_length = 200)]
    pub country: Option<String>,
    /// A general description of the place.
    #[schema(max_length = 200)]
    pub location: Option<String>,
    /// A decimal number from -90 to 90.
    #[schema(pattern = "^[+-]?[0-9]+(\\.[0-9]+)?$", max_length = 40)]
    pub latitude: Option<String>,
    /// A decimal number from -180 to 180.
    #[schema(pattern = "^[+-]?[0-9]+(\\.[0-9]+)?$", max_length = 40)]
    pub longitude: Option<String>,
    /// The public id of a company of the organization.
    pub company_id: Option<String>,
    /// Whether the customer is Active from today (the default) or Pending.
    #[schema(required = false)]
    pub is_active: LaxBoolean,
}

/// A change of a customer. What is left out stays as it is; `null` clears an optional member.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmChangeCustomer {
    /// The full name.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// The e-mail address.
    #[schema(nullable = false, format = Email, max_length = 254)]
    pub email: Option<String>,
    /// By which channel the customer was won.
    #[schema(nullable = false, min_length = 1, max_length = 64)]
    pub source: Option<String>,
    /// 6 to 15 digits with an optional leading `+`.
    #[schema(pattern = "^\\+?[0-9]{6,15}$")]
    pub whatsapp_number: Option<String>,
    /// An IPv4 or IPv6 address.
    pub ip: Option<String>,
    /// The city.
    #[schema(max_length = 200)]
    pub city: Option<String>,
    /// The country.
    #[schema(max_length = 200)]
    pub country: Option<String>,
    /// A general description of the place.
    #[schema(max_length = 200)]
    pub location: Option<String>,
    /// A decimal number from -90 to 90.
    #[schema(max_length = 40)]
    pub latitude: Option<String>,
    /// A decimal number from -180 to 180.
    #[schema(max_length = 40)]
    pub longitude: Option<String>,
    /// The public id of a company of the organization.
    pub company_id: Option<String>,
    /// `true` activates a Pending customer; `false` is refused for an Active one.
    #[schema(required = false)]
    pub is_active: LaxBoolean,
}

/// A batch of new customers.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmCreateCustomers {
    /// The customers.
    #[schema(min_items = 1, max_items = 100)]
    pub customers: Vec<CrmCreateCustomer>,
}

/// The customers of a batch.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmCreatedCustomers {
    /// How many.
    pub created: u8,
    /// They, in the order of the request.
    pub customers: Vec<CrmCustomer>,
}

/// One page of customers.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmCustomerPage {
    /// The customers of the page.
    pub data: Vec<CrmCustomer>,
    /// How many match in all.
    pub total: u64,
    /// The number of the page.
    pub page: u64,
    /// The most customers of a page.
    pub page_size: u8,
    /// How many pages there are; 0 when nothing matches.
    pub total_pages: u64,
    /// Whether pages follow.
    pub has_next: bool,
    /// Whether pages precede.
    pub has_previous: bool,
}

/// Whether a company is in business.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CrmCompanyStatus {
    /// It is.
    Active,
    /// It is not.
    Inactive,
}

/// A new company; an explicit `null` is an absent member.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmCreateCompany {
    /// Its name.
    #[schema(min_length = 1, max_length = 200)]
    pub company_name: String,
    /// Whether it is in business.
    pub company_status: CrmCompanyStatus,
    /// What it does.
    #[schema(max_length = 200)]
    pub description: Option<String>,
    /// In which industry.
    #[schema(max_length = 200)]
    pub industry: Option<String>,
    /// Its website, an http or https URL; empty for none.
    #[schema(max_length = 200)]
    pub website: Option<String>,
    /// Its phone number.
    #[schema(max_length = 200)]
    pub phone: Option<String>,
    /// Its address.
    #[schema(max_length = 200)]
    pub address: Option<String>,
}

/// A batch of new companies.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmCreateCompanies {
    /// The companies.
    #[schema(min_items = 1, max_items = 100)]
    pub companies: Vec<CrmCreateCompany>,
}

/// A company. Every member is there; what is not known is `null`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": 7, "company_id": "CMP-A9B8C7D6", "company_name": "Acme Trading", "company_status": "active",
    "description": null, "industry": "Retail", "website": "https://acme.example", "phone": null, "address": null}))]
pub struct CrmCompany {
    /// The id within the organization.
    #[schema(minimum = 1)]
    pub id: i64,
    /// The public id.
    #[schema(pattern = "^CMP-[0-9A-HJKMNP-TV-Z]{8}$")]
    pub company_id: String,
    /// Its name.
    pub company_name: String,
    /// Whether it is in business.
    pub company_status: CrmCompanyStatus,
    /// What it does.
    pub description: Option<String>,
    /// In which industry.
    pub industry: Option<String>,
    /// Its website.
    pub website: Option<String>,
    /// Its phone number.
    pub phone: Option<String>,
    /// Its address.
    pub address: Option<String>,
}

/// One page of companies.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmCompanyPage {
    /// The companies of the page.
    pub data: Vec<CrmCompany>,
    /// How many there are in all.
    pub total: u64,
    /// The number of the page.
    pub page: u64,
    /// The most companies of a page.
    pub page_size: u8,
    /// How many pages there are.
    pub total_pages: u64,
    /// Whether pages follow.
    pub has_next: bool,
    /// Whether pages precede.
    pub has_previous: bool,
}

/// An error in one text.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"detail": "Not Found"}))]
pub struct CrmError {
    /// What is wrong.
    pub detail: String,
}

/// Everything that is wrong with a request.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"detail": [{"type": "missing", "loc": ["body", "email"], "msg": "Field required",
    "input": {"name": "Alice Johnson", "source": "web"}}]}))]
pub struct CrmValidationError {
    /// One entry for each problem.
    #[schema(min_items = 1)]
    pub detail: Vec<CrmProblem>,
}

/// One problem, as Pydantic writes it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CrmProblem {
    /// The broken rule, such as `missing`, `string_type` or `value_error`.
    pub r#type: String,
    /// Where: the part of the request, then names of members and places in lists.
    pub loc: ProblemPlace,
    /// What is wrong, in words.
    pub msg: String,
    /// What was found there; left out where it would repeat a credential.
    #[schema(required = false)]
    pub input: Anything,
    /// The numbers and words of `msg`.
    #[schema(required = false)]
    pub ctx: Anything,
}

/// Any JSON value.
#[derive(Serialize)]
pub struct Anything(pub serde_json::Value);

impl PartialSchema for Anything {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some("Any JSON value.")).into()
    }
}

impl ToSchema for Anything {}

/// The place of a problem.
#[derive(Serialize)]
pub struct ProblemPlace(pub Vec<serde_json::Value>);

impl PartialSchema for ProblemPlace {
    fn schema() -> RefOr<Schema> {
        let step = OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::String))
            .item(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)));
        ArrayBuilder::new().description(Some("The place of a problem.")).items(step).min_items(Some(1)).into()
    }
}

impl ToSchema for ProblemPlace {}

/// The parameters of the list of customers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the derive alone")]
pub struct ListCrmCustomers {
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u64>,
    /// The most customers of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    page_size: Option<u8>,
    /// Words of a name, an e-mail address or a phone number; every one has to be found, case and accents do not count.
    #[param(max_length = 256)]
    search: Option<String>,
    /// By which channel the customers were won.
    #[param(min_length = 1, max_length = 64)]
    source: Option<String>,
    /// Associated with that company, by public or integer id.
    company_id: Option<String>,
    /// Active (`true`), or Pending or Closed (`false`).
    is_active: Option<bool>,
    /// By what the list is ordered; customers without a value come last, ties are broken by id.
    #[param(inline)]
    sort_by: Option<CrmSortBy>,
    /// Upwards or downwards.
    #[param(inline)]
    sort_order: Option<CrmSortOrder>,
}

/// By what a list of customers is ordered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(default = "time_created")]
pub enum CrmSortBy {
    /// When the record was made.
    TimeCreated,
    /// When it last changed.
    TimeUpdated,
    /// The name, without case and accents.
    Name,
    /// The e-mail address.
    Email,
    /// The id.
    Id,
}

/// Upwards or downwards.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(default = "desc")]
pub enum CrmSortOrder {
    /// Greatest first.
    Desc,
    /// Smallest first.
    Asc,
}

/// The parameters of the list of companies.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the derive alone")]
pub struct ListCompanies {
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u64>,
    /// The most companies of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    page_size: Option<u8>,
}
