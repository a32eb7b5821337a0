//! Customers: created one by one and in batches, read, changed, deleted.
//!
//! Owns the handlers and their documentation; each is the same under both prefixes. It must not hold a rule.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use custodia_domain::ports::Selector;
use custodia_domain::registry::{Command, OfficeChoice};
use custodia_domain::{CustomerId, ExternalId};
use http::StatusCode;

use super::call::{Call, Read, Write};
use super::error::Refused;
use super::fields::broken;
use super::forms::{self, Amendment, Creation, Draft, look_up};
use super::problem::Kind;
use super::view::{customer_answer, customers_answer, gone, rendered};
use super::{Crm, schema};
use crate::http::conditional::{etag, is_known};
use crate::http::idempotency::respond;
use crate::http::json::Json;
use crate::http::query::decode;

/// The member that a batch of customers is in.
const LIST: &str = "customers";

/// Create a customer
#[utoipa::path(post, path = "/external/v1/customers", operation_id = "createCrmCustomer", tag = "CRM intake",
    request_body(content = schema::CrmCreateCustomer, example = json!({"name": "Alice Johnson",
        "email": "alice@example.com", "source": "web", "whatsapp_number": "2348000000000", "ip": "192.168.1.1",
        "city": "Accra", "country": "Ghana", "location": "Spintex Road", "latitude": "5.6037", "longitude": "0.1870",
        "is_active": true, "company_id": "CMP-A9B8C7D6"})),
    responses((status = 201, description = "The customer as it was created", body = schema::CrmCustomer)))]
pub(super) async fn create(State(crm): State<Crm>, Write(mut call): Write) -> Result<Response, Refused> {
    let creation = call.body.as_ref().and_then(|body| Creation::read(body, vec!["body".into()], &mut call.problems));
    let mut drafts = complete(&crm, &mut call, creation.into_iter().collect()).await?;
    let (caller, draft) = call.ready(drafts.pop())?;
    let created = crm.registry.create(
        &caller,
        OfficeChoice::Default,
        |moment| draft.customer(moment, crm.registry.random()),
        |result| rendered(result, |view| customer_answer(201, view), &caller, LIST),
    );
    Ok(respond(created.await))
}

/// Create up to 100 customers, all or none
#[utoipa::path(post, path = "/external/v1/customers/bulk", operation_id = "createCrmCustomers", tag = "CRM intake",
    request_body(content = schema::CrmCreateCustomers, example = json!({"customers": [
        {"name": "Alice Johnson", "email": "alice@example.com", "source": "web"},
        {"name": "Kofi Mensah", "email": "kofi@example.com", "source": "whatsapp", "is_active": false}]})),
    responses((status = 201, description = "The customers in the order of the request",
        body = schema::CrmCreatedCustomers)))]
pub(super) async fn create_many(State(crm): State<Crm>, Write(mut call): Write) -> Result<Response, Refused> {
    let creations = call.body.as_ref().and_then(|body| forms::customers(body, &mut call.problems));
    let drafts = complete(&crm, &mut call, creations.unwrap_or_default()).await?;
    let (caller, drafts) = call.ready(Some(drafts))?;
    let created = crm.registry.create_many(
        &caller,
        |moment| drafts.iter().map(|draft| draft.customer(moment, crm.registry.random())).collect(),
        |result| rendered(result, |views| customers_answer(views), &caller, LIST),
    );
    Ok(respond(created.await))
}

/// Read a customer
///
/// By its integer id where the path has digits alone, else by its public id.
#[utoipa::path(get, path = "/external/v1/customers/{customer_id}", operation_id = "getCrmCustomer", tag = "CRM intake",
    responses((status = 200, description = "The customer", body = schema::CrmCustomer)))]
pub(super) async fn get(State(crm): State<Crm>, Read(mut call): Read) -> Result<Response, Refused> {
    let selector = call.selector();
    let headers = call.parts.headers.clone();
    let (caller, selector) = call.ready(selector)?;
    let found = crm.registry.get(caller.organization, selector).await;
    let found = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    let view = found.ok_or_else(Refused::not_found)?;
    let version = view.customer.version();
    if is_known(&headers, version) {
        return Ok((StatusCode::NOT_MODIFIED, [("etag", etag(version).1.into_string())]).into_response());
    }
    Ok(respond(customer_answer(200, &view)))
}

/// Change a customer
///
/// Members left out stay as they are; `null` clears an optional one. `is_active: true` activates a Pending customer from
/// today; `false` is refused for an Active one. An empty object changes nothing.
#[utoipa::path(patch, path = "/external/v1/customers/{customer_id}", operation_id = "changeCrmCustomer",
    tag = "CRM intake",
    request_body(content = schema::CrmChangeCustomer,
        example = json!({"city": "Kumasi", "whatsapp_number": null, "is_active": true})),
    responses((status = 200, description = "The customer as it is now", body = schema::CrmCustomer)))]
pub(super) async fn patch(State(crm): State<Crm>, Write(mut call): Write) -> Result<Response, Refused> {
    let command = match call.body.as_ref().and_then(|body| Amendment::read(body, &mut call.problems)) {
        Some(amendment) => {
            let companies = look_up(&crm.registry, call.principal.organization, amendment.named().into_iter()).await;
            let companies = companies.map_err(|error| Refused::store(&error, &call.request_id))?;
            Some(amendment.complete(&companies, &mut call.problems))
        }
        None => None,
    };
    change(&crm, call, command).await
}

/// Delete a Pending customer
#[utoipa::path(delete, path = "/external/v1/customers/{customer_id}", operation_id = "deleteCrmCustomer",
    tag = "CRM intake",
    responses((status = 204, description = "The customer is gone, and its public id free again")))]
pub(super) async fn delete(State(crm): State<Crm>, Write(mut call): Write) -> Result<Response, Refused> {
    let command = forms::deletion(call.body.as_ref(), &mut call.problems);
    change(&crm, call, Some(command)).await
}

async fn change(crm: &Crm, mut call: Call, command: Option<Command>) -> Result<Response, Refused> {
    let selector = call.selector();
    let (caller, (selector, command)) = call.ready(selector.zip(command))?;
    let deletes = command == Command::Delete;
    let changed = crm.registry.command(&caller, &selector, &command, |result| {
        rendered(result, |view| if deletes { gone() } else { customer_answer(200, view) }, &caller, LIST)
    });
    Ok(respond(changed.await))
}

/// The drafts with the companies that they name, looked up at once.
async fn complete(crm: &Crm, call: &mut Call, creations: Vec<Creation>) -> Result<Vec<Draft>, Refused> {
    let named = creations.iter().filter_map(|creation| creation.company.as_ref());
    let companies = look_up(&crm.registry, call.principal.organization, named).await;
    let companies = companies.map_err(|error| Refused::store(&error, &call.request_id))?;
    Ok(creations.into_iter().filter_map(|creation| creation.complete(&companies, &mut call.problems)).collect())
}

impl Call {
    /// The customer that the path names; `None`, and a problem, where it cannot be read.
    fn selector(&mut self) -> Option<Selector> {
        let raw = self.raw_path().rsplit('/').next().unwrap_or_default().to_owned();
        let read = match decode(&raw) {
            Err(error) => Err((Kind::value(error.to_string()), Json::Null)),
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Selector::Id(number(&text))),
            Ok(text) => match ExternalId::parse(&text) {
                Ok(id) => Ok(Selector::ExternalId(id)),
                Err(error) => Err((broken(error), Json::String(text))),
            },
        };
        let loc = || vec!["path".into(), "customer_id".into()];
        read.map_err(|(kind, input)| self.problems.add(loc(), &kind, &input)).ok()
    }
}

/// The number that digits write. One that cannot be becomes the greatest there is, which nobody has.
fn number(digits: &str) -> CustomerId {
    let number = digits.parse().ok().and_then(|number| CustomerId::parse(number).ok());
    number.unwrap_or_else(|| CustomerId::parse(i64::MAX).expect("the greatest number is positive"))
}
