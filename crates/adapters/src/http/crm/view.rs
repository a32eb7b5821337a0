//! Customers and companies as this dialect shows them: every member is there, absent values are `null`.
//!
//! Owns those forms. It must not know how a record was found.

use custodia_domain::company::{Company, CompanyId};
use custodia_domain::facets::{Coordinate, FreeText, Source};
use custodia_domain::registry::{Caller, CustomerView, OperationError};
use custodia_domain::{Answer, EmailAddress, ExternalId, MobileNumber, Status, Timestamp, Version};
use serde::{Serialize, Serializer};

use crate::http::conditional::etag;

/// An instant to the millisecond in UTC.
struct Milliseconds(Timestamp);

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = self.0.microseconds().div_euclid(1000);
        let (seconds, fraction) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
        let (hour, minute, second) =
            (seconds.rem_euclid(86_400) / 3600, seconds.rem_euclid(3600) / 60, seconds.rem_euclid(60));
        let date = self.0.date_utc();
        serializer.collect_str(&format_args!("{date}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z"))
    }
}

/// Written as it goes onto the wire; documented as [`schema::CrmCustomer`](super::schema::CrmCustomer).
#[derive(Serialize)]
pub(super) struct CustomerBody<'a> {
    id: i64,
    customer_id: Option<&'a str>,
    name: String,
    email: Option<&'a str>,
    whatsapp_number: Option<&'a str>,
    source: Option<&'a str>,
    ip: Option<std::net::IpAddr>,
    city: Option<&'a str>,
    country: Option<&'a str>,
    location: Option<&'a str>,
    latitude: Option<&'a str>,
    longitude: Option<&'a str>,
    is_active: bool,
    company_id: Option<i64>,
    company_name: Option<&'a str>,
    organization_id: i64,
    time_created: Milliseconds,
    time_updated: Milliseconds,
}

impl<'a> From<&'a CustomerView> for CustomerBody<'a> {
    fn from(view: &'a CustomerView) -> Self {
        let customer = &view.customer;
        let won = &customer.snapshot().acquisition;
        let free = |text: &'a Option<FreeText>| text.as_ref().map(FreeText::as_str);
        Self {
            id: customer.id().get(),
            customer_id: customer.external_id().map(ExternalId::as_str),
            name: customer.display_name(),
            email: customer.email().map(EmailAddress::as_str),
            whatsapp_number: customer.mobile().map(MobileNumber::as_str),
            source: won.source.as_ref().map(Source::as_str),
            ip: won.ip,
            city: free(&won.city),
            country: free(&won.country),
            location: free(&won.location),
            latitude: won.latitude.as_ref().map(Coordinate::as_str),
            longitude: won.longitude.as_ref().map(Coordinate::as_str),
            is_active: customer.status() == Status::Active,
            company_id: won.company.map(custodia_domain::CompanyNumber::get),
            company_name: view.company.as_ref().map(|company| company.details.name.as_str()),
            organization_id: customer.organization().get(),
            time_created: Milliseconds(customer.created_at()),
            time_updated: Milliseconds(customer.updated_at()),
        }
    }
}

/// Documented as [`schema::CrmCompany`](super::schema::CrmCompany).
#[derive(Serialize)]
pub(super) struct CompanyBody<'a> {
    id: i64,
    company_id: &'a str,
    company_name: &'a str,
    company_status: &'static str,
    description: Option<&'a str>,
    industry: Option<&'a str>,
    website: Option<&'a str>,
    phone: Option<&'a str>,
    address: Option<&'a str>,
}

impl<'a> From<&'a Company> for CompanyBody<'a> {
    fn from(company: &'a Company) -> Self {
        let details = &company.details;
        let free = |text: &'a Option<FreeText>| text.as_ref().map(FreeText::as_str);
        Self {
            id: company.number.get(),
            company_id: CompanyId::as_str(&company.id),
            company_name: details.name.as_str(),
            company_status: details.status.label(),
            description: free(&details.description),
            industry: free(&details.industry),
            website: free(&details.website),
            phone: free(&details.phone),
            address: free(&details.address),
        }
    }
}

#[derive(Serialize)]
struct ManyBody<'a> {
    created: usize,
    customers: Vec<CustomerBody<'a>>,
}

/// An answer with a JSON body.
pub(super) fn json_answer(status: u16, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("a body has string keys");
    Answer { status, headers: vec![("content-type".into(), "application/json".into())], body }
}

/// The answer that shows one customer.
pub(super) fn customer_answer(status: u16, view: &CustomerView) -> Answer {
    let mut answer = json_answer(status, &CustomerBody::from(view));
    answer.headers.push(etag(view.customer.version()));
    answer
}

/// The answer that shows the customers of a batch.
pub(super) fn customers_answer(views: &[CustomerView]) -> Answer {
    let customers: Vec<_> = views.iter().map(CustomerBody::from).collect();
    json_answer(201, &ManyBody { created: customers.len(), customers })
}

/// The answer that shows one company. A company never changes: it stays at its first version.
pub(super) fn company_answer(status: u16, company: &Company) -> Answer {
    let mut answer = json_answer(status, &CompanyBody::from(company));
    answer.headers.push(etag(Version::FIRST));
    answer
}

/// The answer to a deletion: nothing is left to show.
pub(super) fn gone() -> Answer {
    Answer { status: 204, headers: Vec::new(), body: Vec::new() }
}

/// Turns an operation's result into the dialect's answer. `list` is the member that a batch is in.
pub(super) fn rendered<T>(
    result: Result<&T, &OperationError>,
    done: impl FnOnce(&T) -> Answer,
    caller: &Caller,
    list: &'static str,
) -> Answer {
    match result {
        Ok(shown) => done(shown),
        Err(error) => super::error::refusal(error, &caller.request_id, caller.key.is_some(), list),
    }
}
