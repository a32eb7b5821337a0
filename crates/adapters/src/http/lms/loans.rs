//! Loan positions as the lender's engine reports them: reported, read, listed.
//!
//! Owns the members of a loan on the wire. It must not know which positions keep a customer from being closed.

use std::fmt::Display;

use axum::extract::{MatchedPath, State};
use axum::response::{IntoResponse, Response};
use custodia_domain::loan::{Amount, CurrencyCode, LoanPosition, LoanStatus, LoanText};
use custodia_domain::ports::{LoanQuery, LoanSelector, LoanSort, Selector};
use custodia_domain::registry::{LoanOwner, LoanView, OperationError};
use custodia_domain::{Answer, CustomerId, Date, ExternalId, LoanId};
use http::StatusCode;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::call::{Call, Read, Write, json_answer};
use super::error::{Problems, Refused, refusal};
use super::fields::Fields;
use super::list::{DEFAULT_ROWS, direction_of, read_choice, read_number, read_rows};
use super::selector::parse_id;
use super::view::Shown;
use super::{Lms, schema};
use crate::http::conditional::{etag, is_known};
use crate::http::idempotency::respond;
use crate::http::json::Json;
use crate::http::query::path_param;

const BY_EXTERNAL_ID: &str = "loan_external_id";

/// An exact decimal number as a JSON number.
pub(super) struct Money(pub(super) String);

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.0.clone()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

fn money(amount: Amount) -> Money {
    Money(amount.to_string())
}

/// Written as it goes onto the wire; documented as [`schema::Loan`](super::schema::Loan).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoanBody<'a> {
    id: Shown<LoanId>,
    account_no: String,
    external_id: &'a str,
    customer_id: Shown<CustomerId>,
    customer_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    loan_product_id: Option<Shown<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loan_product_name: Option<&'a str>,
    status: &'static str,
    principal: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_principal: Option<Money>,
    currency_code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    term_frequency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_of_repayments: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interest_rate_per_period: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_disbursed: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_paid: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_outstanding: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interest_charged: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_outstanding: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_paid: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due_date: Option<Shown<Date>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due_amount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_disbursement_date: Option<Shown<Date>>,
}

impl<'a> From<&'a LoanView> for LoanBody<'a> {
    fn from(view: &'a LoanView) -> Self {
        let (loan, position) = (&view.loan, &view.loan.position);
        let numbered = || format!("{:09}", loan.id.get());
        Self {
            id: Shown(loan.id),
            account_no: position.account_no.as_ref().map_or_else(numbered, |text| text.as_str().to_owned()),
            external_id: loan.external_id.as_str(),
            customer_id: Shown(loan.customer),
            customer_name: &view.customer_name,
            loan_product_id: position.product_id.map(Shown),
            loan_product_name: position.product_name.as_ref().map(LoanText::as_str),
            status: position.status.label(),
            principal: money(position.principal),
            approved_principal: position.approved_principal.map(money),
            currency_code: position.currency.as_str(),
            term_frequency: position.term_frequency,
            number_of_repayments: position.number_of_repayments,
            interest_rate_per_period: position.interest_rate_per_period.map(money),
            principal_disbursed: position.principal_disbursed.map(money),
            principal_paid: position.principal_paid.map(money),
            principal_outstanding: position.principal_outstanding.map(money),
            interest_charged: position.interest_charged.map(money),
            total_outstanding: position.total_outstanding.map(money),
            total_paid: position.total_paid.map(money),
            next_due_date: position.next_due_date.map(Shown),
            next_due_amount: position.next_due_amount.map(money),
            expected_disbursement_date: position.expected_disbursement.map(Shown),
        }
    }
}

fn loan_answer(view: &LoanView) -> Answer {
    let mut answer = json_answer(serde_json::to_vec(&LoanBody::from(view)).expect("a loan is text and numbers"));
    answer.headers.push(etag(view.loan.version));
    answer
}

/// A page with the number of all that match.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageBody<'a> {
    items: Vec<LoanBody<'a>>,
    total: u64,
    page: u64,
    rows_per_page: u8,
}

/// List loans
///
/// An unknown customer has no loans: the page is empty.
#[utoipa::path(get, path = "/v1/loans", operation_id = "listLoans", tag = "Loans", params(schema::ListLoans),
    responses((status = 200, description = "A page", body = schema::LoanPage)))]
pub(super) async fn list(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let wanted = read_list(&mut call);
    let (caller, (query, owner, page)) = call.ready(Some(wanted))?;
    let found = lms.registry.list_loans(&query, owner).await;
    let (views, total) = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    let items = views.iter().map(LoanBody::from).collect();
    let body = PageBody { items, total, page, rows_per_page: query.limit };
    Ok(respond(json_answer(serde_json::to_vec(&body).expect("loans are text and numbers"))))
}

fn read_list(call: &mut Call) -> (LoanQuery, Option<LoanOwner>, u64) {
    let organization = call.principal.organization;
    let (query, problems) = (&mut call.query, &mut call.problems);
    let status = "must be one of the eight labels of a loan's status";
    let status = read_choice(query, problems, "status", LoanStatus::from_label_in_any_case, status);
    let order = "must be id, principal or expectedDisbursementDate";
    let sort = read_choice(query, problems, "orderBy", sort_of, order).unwrap_or(LoanSort::Id);
    let direction = read_choice(query, problems, "sortOrder", direction_of, "must be ASC or DESC");
    let id = read_choice(query, problems, "customerId", parse_id, "must be a positive integer").map(Selector::Id);
    let external = query.take("customerExternalId").map(ExternalId::parse);
    let external = match external {
        Some(Err(error)) => {
            problems.add("customerExternalId", error.to_string());
            None
        }
        Some(Ok(external)) => Some(Selector::ExternalId(external)),
        None => None,
    };
    if id.is_some() && external.is_some() {
        problems.add("customerExternalId", "must not be given beside customerId");
    }
    let rows = read_rows(query, problems, DEFAULT_ROWS);
    let page = read_number(query, problems, "page", 1);
    if page < 1 {
        problems.add("page", "page value too small, must be larger than 0");
    }
    let (limit, page) = (rows, page.unsigned_abs());
    let offset = page.saturating_sub(1).saturating_mul(u64::from(limit)).min(i64::MAX.unsigned_abs());
    let direction = direction.unwrap_or(custodia_domain::ports::Direction::Ascending);
    let query = LoanQuery { organization, customer: None, status, sort, direction, offset, limit };
    (query, id.or(external), page)
}

fn sort_of(name: &str) -> Option<LoanSort> {
    match name {
        "id" => Some(LoanSort::Id),
        "principal" => Some(LoanSort::Principal),
        "expectedDisbursementDate" => Some(LoanSort::ExpectedDisbursement),
        _ => None,
    }
}

/// Read a loan
#[utoipa::path(get, path = "/v1/loans/{loan_id}", operation_id = "getLoan", tag = "Loans",
    responses((status = 200, description = "The loan", body = schema::Loan)))]
pub(super) async fn get(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let selector = selector(&mut call);
    let headers = call.parts.headers.clone();
    let (caller, selector) = call.ready(selector)?;
    let found = lms.registry.loan(caller.organization, selector).await;
    let found = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    let view = found.ok_or_else(|| Refused::absent("there is no such loan"))?;
    if is_known(&headers, view.loan.version) {
        return Ok((StatusCode::NOT_MODIFIED, [("etag", etag(view.loan.version).1.into_string())]).into_response());
    }
    Ok(respond(loan_answer(&view)))
}

fn selector(call: &mut Call) -> Option<LoanSelector> {
    let external =
        call.parts.extensions.get::<MatchedPath>().is_some_and(|path| path.as_str().contains(BY_EXTERNAL_ID));
    if external {
        return external_id(call, BY_EXTERNAL_ID).map(LoanSelector::ExternalId);
    }
    let id = path_param(&call.parts, "loan_id").ok().and_then(|text| parse_id(&text));
    let Some(id) = id.and_then(|id| LoanId::parse(id.get()).ok()) else {
        call.problems.add("loan_id", "must be a positive integer");
        return None;
    };
    Some(LoanSelector::Id(id))
}

/// The external id that the path bears under that name.
pub(super) fn external_id(call: &mut Call, name: &'static str) -> Option<ExternalId> {
    let parsed = path_param(&call.parts, name).map_err(|error| error.to_string());
    let parsed = parsed.and_then(|text| ExternalId::parse(&text).map_err(|error| error.to_string()));
    parsed.map_err(|error| call.problems.add(name, error)).ok()
}

/// Report a loan's position
///
/// Creates or replaces it whole: members left out are not known any more. A new open loan needs an Active customer; a closed
/// customer's loan is never reopened; a loan never moves to another customer.
#[utoipa::path(put, path = "/v1/loans/external/{loan_external_id}", operation_id = "reportLoan", tag = "Loans",
    request_body(content = schema::ReportLoan, example = json!({"customerExternalId": "ext-ada-001", "status": "Active",
        "principal": 1500, "currencyCode": "TZS", "totalOutstanding": 1200.5})),
    responses((status = 200, description = "The loan as it is now", body = schema::Loan)))]
pub(super) async fn report(State(lms): State<Lms>, Write(mut call): Write) -> Result<Response, Refused> {
    let id = external_id(&mut call, BY_EXTERNAL_ID);
    let report = read_report(call.body.as_ref(), &mut call.problems);
    let wanted = id.zip(report.and_then(|(owner, position)| owner.zip(position)));
    let (caller, (id, (owner, position))) = call.ready(wanted)?;
    let reported = lms.registry.report_loan(&caller, &id, &owner, &position, |result| match result {
        Ok(view) => loan_answer(view),
        Err(error) => refused(error, &caller),
    });
    Ok(respond(reported.await))
}

fn refused(error: &OperationError, caller: &custodia_domain::registry::Caller) -> Answer {
    refusal(error, &caller.request_id, caller.key.is_some())
}

fn read_report(body: Option<&Json>, problems: &mut Problems) -> Option<(Option<LoanOwner>, Option<LoanPosition>)> {
    let mut fields = Fields::of(body, problems)?;
    let owner = read_owner(&mut fields);
    for required in ["status", "principal", "currencyCode"] {
        fields.require(required);
    }
    let status = fields.text("status", |text| {
        LoanStatus::from_label_in_any_case(text).ok_or("must be one of the eight labels of a loan's status")
    });
    let principal = fields.amount("principal");
    let currency = fields.text("currencyCode", CurrencyCode::parse);
    let position = LoanPosition {
        status: status.unwrap_or(LoanStatus::Submitted),
        principal: principal.unwrap_or_default(),
        currency: currency.unwrap_or(CurrencyCode::NONE),
        account_no: fields.text("accountNo", LoanText::parse),
        product_id: fields.id("loanProductId", positive),
        product_name: fields.text("loanProductName", LoanText::parse),
        approved_principal: fields.amount("approvedPrincipal"),
        term_frequency: fields.id("termFrequency", count),
        number_of_repayments: fields.id("numberOfRepayments", count),
        interest_rate_per_period: fields.amount("interestRatePerPeriod"),
        principal_disbursed: fields.amount("principalDisbursed"),
        principal_paid: fields.amount("principalPaid"),
        principal_outstanding: fields.amount("principalOutstanding"),
        interest_charged: fields.amount("interestCharged"),
        total_outstanding: fields.amount("totalOutstanding"),
        total_paid: fields.amount("totalPaid"),
        next_due_date: fields.date("nextDueDate"),
        next_due_amount: fields.amount("nextDueAmount"),
        expected_disbursement: fields.date("expectedDisbursementDate"),
    };
    fields.finish();
    let whole = status.is_some() && principal.is_some() && currency.is_some();
    Some((owner, whole.then_some(position)))
}

fn read_owner(fields: &mut Fields<'_>) -> Option<LoanOwner> {
    let given = [fields.has("customerId"), fields.has("customerExternalId")];
    let id = fields.id("customerId", CustomerId::parse).map(Selector::Id);
    let external = fields.text("customerExternalId", ExternalId::parse).map(Selector::ExternalId);
    match given {
        [false, false] => fields.problem("customerId", "required, or customerExternalId"),
        [true, true] => fields.problem("customerExternalId", "must not be given beside customerId"),
        [true, false] | [false, true] => {}
    }
    id.or(external)
}

fn positive(number: i64) -> Result<i64, impl Display> {
    if number > 0 { Ok(number) } else { Err("must be a positive integer") }
}

fn count(number: i64) -> Result<u32, impl Display> {
    u32::try_from(number).map_err(|_| "must be an integer from 0 to 4294967295")
}
