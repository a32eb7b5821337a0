//! One customer: created, read, changed, activated, closed, deleted.
//!
//! Owns the handlers and their documentation; each is the same under both address prefixes. It must not hold a rule.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use custodia_domain::Field;
use custodia_domain::registry::Command;
use http::StatusCode;

use super::call::{Call, Read, Write};
use super::error::{Problems, Refused, refusal};
use super::forms::{self, Creation};
use super::history::{self, Showing};
use super::upsert::{self, Wish};
use super::view::{Render, customer_answer, gone, put_answer, rendered, transitions_answer};
use super::{Lms, schema};
use crate::http::conditional::{etag, is_known};
use crate::http::idempotency::respond;
use crate::http::json::Json;

/// Create a customer
///
/// Two forms, told apart by the body. A body with no member but `externalId` is the partner form: the customer is Active
/// from today, and its name mirrors the external id. Any other member makes it the full form.
#[utoipa::path(post, path = "/v1/customers", operation_id = "createCustomer", tag = "Customers",
    request_body(content = schema::CreateCustomer, examples(
        ("partner" = (summary = "Partner form", value = json!({"externalId": "ext-ada-001"}))),
        ("full" = (summary = "Full form", value = json!({"officeId": 1, "legalFormId": 1, "firstname": "Ada",
            "lastname": "Lovelace", "mobileNo": "+255700000000", "emailAddress": "ada@example.com",
            "externalId": "ext-ada-001", "active": true, "activationDate": "2026-05-22"}))))),
    responses((status = 200, description = "The customer as it was created", body = schema::Customer)))]
pub(super) async fn create(State(lms): State<Lms>, Write(mut call): Write) -> Result<Response, Refused> {
    let creation = Creation::read(call.body.as_ref(), &mut call.problems);
    if let Some(creation) = &creation
        && !call.problems.is_empty()
    {
        let draft = creation.draft(lms.registry.now());
        let broken = lms.registry.problems_of_new(call.principal.organization, creation.office, &draft).await;
        let mut broken = broken.map_err(|error| Refused::store(&error, &call.request_id))?;
        broken.retain(|invalid| invalid.field != Field::ExternalId);
        call.problems.add_rules(&broken);
    }
    let (caller, creation) = call.ready(creation)?;
    let created = lms.registry.create(
        &caller,
        creation.office,
        |moment| creation.draft(moment),
        |result| rendered(result, customer_answer, &caller),
    );
    Ok(respond(created.await))
}

/// Read a customer
///
/// As it is, or with `asOf` as it was at a version or an instant: 404 before its creation, after its deletion and for a
/// version that it has not come to. `include=allowedTransitions` adds what can be done to it now.
#[utoipa::path(get, path = "/v1/customers/{customer_id}", operation_id = "getCustomer", tag = "Customers",
    params(schema::GetCustomer),
    responses((status = 200, description = "The customer", body = schema::ShownCustomer)))]
pub(super) async fn get(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let selector = call.selector();
    let showing = Showing::read(&mut call.query, &mut call.problems);
    let headers = call.parts.headers.clone();
    let (caller, selector) = call.ready(selector)?;
    let found = history::found(&lms, caller.organization, selector, showing).await;
    let found = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    let view = found.ok_or_else(Refused::not_found)?;
    if showing == Showing::WithTransitions {
        // Loans come and go without a version of their customer: what is known of it may be old.
        return Ok(respond(transitions_answer(&view)));
    }
    let version = view.customer.version();
    if is_known(&headers, version) {
        return Ok((StatusCode::NOT_MODIFIED, [("etag", etag(version).1.into_string())]).into_response());
    }
    Ok(respond(customer_answer(&view)))
}

/// Change a customer's details
///
/// Members left out stay as they are; `null` clears `middlename`, `mobileNo`, `emailAddress` and `dateOfBirth`. `fullname`
/// replaces the name parts. Pending and Active customers only. What is as it is to be makes no version: `Custodia-Outcome`
/// tells `updated` from `unchanged`.
///
/// Under `/v1/customers/external/...` with `Prefer: upsert` or `upsert=true` it is an upsert: where there is no such customer
/// it is created, by the members of either form of creation, `externalId` being that of the path. Of one that is there, the
/// members that no update changes (`officeId`, `active` and the like) have to be as they are.
#[utoipa::path(put, path = "/v1/customers/{customer_id}", operation_id = "updateCustomer", tag = "Customers",
    request_body(content = schema::UpdateCustomer,
        example = json!({"externalId": "ext-ada-002", "mobileNo": "+255711111111", "middlename": null})),
    responses((status = 200, description = "The customer as it is now", body = schema::Customer)))]
pub(super) async fn put(State(lms): State<Lms>, Write(mut call): Write) -> Result<Response, Refused> {
    let selector = call.selector();
    if let Some(wish) = Wish::of(&mut call, selector.as_ref()) {
        return upsert::put(&lms, call, wish, selector).await;
    }
    let patch = forms::update(call.body.as_ref(), &mut call.problems);
    if let Some(patch) = &patch
        && !call.problems.is_empty()
    {
        call.problems.add_rules(&patch.problems(lms.registry.now().today));
    }
    let (caller, (selector, patch)) = call.ready(selector.zip(patch))?;
    let put = lms.registry.put(&caller, &selector, patch, |result| match result {
        Ok(put) => put_answer(put),
        Err(error) => refusal(error, &caller.request_id, caller.key.is_some()),
    });
    Ok(respond(put.await))
}

/// Delete a Pending customer
#[utoipa::path(delete, path = "/v1/customers/{customer_id}", operation_id = "deleteCustomer", tag = "Customers",
    responses((status = 200, description = "The customer is gone, and its externalId free again; the body is empty")))]
pub(super) async fn delete(State(lms): State<Lms>, Write(mut call): Write) -> Result<Response, Refused> {
    let command = forms::deletion(call.body.as_ref(), &mut call.problems);
    change(&lms, call, Some(command), gone).await
}

/// Activate a Pending customer
#[utoipa::path(post, path = "/v1/customers/{customer_id}/activate", operation_id = "activateCustomer", tag = "Customers",
    request_body(content = schema::ActivateCustomer, example = json!({"activationDate": "2026-05-22"})),
    responses((status = 200, description = "The customer, Active", body = schema::Customer)))]
pub(super) async fn activate(State(lms): State<Lms>, Write(call): Write) -> Result<Response, Refused> {
    with_body(&lms, call, forms::activation).await
}

/// Close an Active customer
///
/// For good: the record stays readable, and its externalId stays taken. A date in the future takes effect at once.
#[utoipa::path(post, path = "/v1/customers/{customer_id}/close", operation_id = "closeCustomer", tag = "Customers",
    request_body(content = schema::CloseCustomer, example = json!({"closureDate": "2026-06-30", "closureReasonId": 17})),
    responses((status = 200, description = "The customer, Closed", body = schema::Customer)))]
pub(super) async fn close(State(lms): State<Lms>, Write(call): Write) -> Result<Response, Refused> {
    with_body(&lms, call, forms::closure).await
}

async fn with_body(
    lms: &Lms,
    mut call: Call,
    read: fn(Option<&Json>, &mut Problems) -> Option<Command>,
) -> Result<Response, Refused> {
    let command = read(call.body.as_ref(), &mut call.problems);
    change(lms, call, command, customer_answer).await
}

async fn change(lms: &Lms, mut call: Call, command: Option<Command>, done: Render) -> Result<Response, Refused> {
    let selector = call.selector();
    let (caller, (selector, command)) = call.ready(selector.zip(command))?;
    let changed = lms.registry.command(&caller, &selector, &command, |result| rendered(result, done, &caller));
    Ok(respond(changed.await))
}
