//! The institution's data: customers, accounts and cards, in batches that are taken wholly or not at all.
//!
//! Owns the handlers and their documentation. It must not hold a rule.

use axum::extract::State;
use axum::response::Response;
use custodia_domain::Answer;
use custodia_domain::registry::Programme;
use serde::Serialize;

use super::call::{Call, Data};
use super::error::{Items, Refused, refusal};
use super::forms::{Named, Terms};
use super::{Publisher, forms, schema};
use crate::http::idempotency::respond;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    request_id: &'a str,
}

/// Create customers
///
/// 1 to 50 customers with their accounts and cards, all or nothing. A customer that exists with the same content is accepted
/// unchanged, so that a batch can be sent again; with other content the batch is refused, 409, naming each. A new customer is
/// Active since its `customerCreationDate`.
#[utoipa::path(post, path = "/v2/data/customers", operation_id = "createCustomers", tag = "Programme data",
    request_body(content = schema::CustomerBatch), responses((status = 200, description = "All of them are there",
    body = schema::Accepted)))]
pub(super) async fn create_customers(
    State(publisher): State<Publisher>,
    Data(mut call): Data,
) -> Result<Response, Refused> {
    let items = forms::customers(call.body.as_ref(), Terms::Create, publisher.registry.now().at, &mut call.problems);
    run(&publisher, call, items.map(Programme::Create), Items::CREATED).await
}

/// Replace customers
///
/// The same body: it replaces the customers' own values, an optional one that is left out is cleared. The accounts and cards
/// that it carries are created or updated; those that it leaves out stay. A customer that came through another API is
/// enrolled by it. Customers that do not exist: 404, naming each.
#[utoipa::path(put, path = "/v2/data/customers", operation_id = "replaceCustomers", tag = "Programme data",
    request_body(content = schema::CustomerReplacementBatch), responses((status = 200, description = "All of them are as they were sent",
    body = schema::Accepted)))]
pub(super) async fn replace_customers(
    State(publisher): State<Publisher>,
    Data(mut call): Data,
) -> Result<Response, Refused> {
    let items = forms::customers(call.body.as_ref(), Terms::Replace, publisher.registry.now().at, &mut call.problems);
    run(&publisher, call, items.map(Programme::Replace), Items::REPLACED).await
}

/// Create or update accounts
///
/// By `sourceAccountId`, 1 to 50 of them, all or nothing. A new account needs every required member but `cards`; of one that
/// exists, what is left out stays as it is.
#[utoipa::path(put, path = "/v2/data/accounts", operation_id = "putAccounts", tag = "Programme data",
    request_body(content = schema::AccountBatch), responses((status = 200, description = "All of them are as they were sent",
    body = schema::Accepted)))]
pub(super) async fn put_accounts(
    State(publisher): State<Publisher>,
    Data(mut call): Data,
) -> Result<Response, Refused> {
    let now = publisher.registry.now().at;
    let (accounts, named) = forms::accounts(call.body.as_ref(), None, now, &mut call.problems);
    tell_lacking(&publisher, &mut call, &named).await?;
    let programme = accounts.map(|accounts| Programme::Accounts { holder: None, accounts });
    run(&publisher, call, programme, Items::ACCOUNTS).await
}

/// Create or update accounts of a customer
///
/// Like `PUT /v2/data/accounts`; the customer exists and is one of the accounts' holders.
#[utoipa::path(put, path = "/v2/data/customers/{sourceCustomerId}/accounts", operation_id = "putAccountsOfCustomer",
    tag = "Programme data", request_body(content = schema::AccountBatch), responses((status = 200,
    description = "All of them are as they were sent", body = schema::Accepted)))]
pub(super) async fn put_accounts_of(
    State(publisher): State<Publisher>,
    Data(mut call): Data,
) -> Result<Response, Refused> {
    let holder = call.path_id("sourceCustomerId");
    let now = publisher.registry.now().at;
    let (accounts, named) = forms::accounts(call.body.as_ref(), holder.as_ref(), now, &mut call.problems);
    tell_lacking(&publisher, &mut call, &named).await?;
    let programme = accounts.map(|accounts| Programme::Accounts { holder, accounts });
    run(&publisher, call, programme, Items::ACCOUNTS).await
}

/// Create or update cards of an account
///
/// By `sourceAccountId`, `sourceCustomerId` and `last4`, 1 to 50 of them, all or nothing. A new card needs every required
/// member; of one that exists, what is left out stays as it is.
#[utoipa::path(put, path = "/v2/data/customers/{sourceCustomerId}/accounts/{sourceAccountId}/cards",
    operation_id = "putCards", tag = "Programme data", request_body(content = schema::CardBatch),
    responses((status = 200, description = "All of them are as they were sent", body = schema::Accepted)))]
pub(super) async fn put_cards(State(publisher): State<Publisher>, Data(mut call): Data) -> Result<Response, Refused> {
    let (holder, account) = (call.path_id("sourceCustomerId"), call.path_id("sourceAccountId"));
    let now = publisher.registry.now().at;
    let (cards, named) = forms::cards(call.body.as_ref(), account.as_ref(), now, &mut call.problems);
    tell_lacking(&publisher, &mut call, &named).await?;
    let wanted = holder.zip(account).zip(cards);
    let programme = wanted.map(|((holder, account), cards)| Programme::Cards { holder, account, cards });
    run(&publisher, call, programme, Items::CARDS).await
}

/// A request with problems is told what its new records lack, too.
async fn tell_lacking(publisher: &Publisher, call: &mut Call, named: &Named) -> Result<(), Refused> {
    let told = named.tell_lacking(&publisher.registry, call.principal.organization, &mut call.problems).await;
    told.map_err(|error| Refused::store(&error, &call.ids))
}

async fn run(
    publisher: &Publisher,
    call: Call,
    programme: Option<Programme>,
    items: Items,
) -> Result<Response, Refused> {
    let (caller, ids, programme) = call.ready(programme)?;
    let done = publisher.registry.programme(&caller, &programme, |result| match result {
        Ok(()) => json_answer(&Accepted { request_id: &ids.shown }),
        Err(error) => refusal(error, items, &ids, caller.key.is_some()),
    });
    Ok(respond(done.await))
}

/// A success of the dialect.
pub(super) fn json_answer<T: Serialize>(body: &T) -> Answer {
    let body = serde_json::to_vec(body).expect("a body has string keys and serializes into memory");
    Answer { status: 200, headers: vec![("content-type".into(), "application/json".into())], body }
}
