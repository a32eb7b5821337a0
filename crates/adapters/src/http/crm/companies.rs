//! Companies: created one by one and in batches, read.
//!
//! Owns the handlers and their documentation; each is the same under both prefixes. It must not hold a rule.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use custodia_domain::company::CompanyId;
use custodia_domain::ports::CompanyKey;
use custodia_domain::{CompanyNumber, Version};
use http::StatusCode;

use super::call::{Call, Read, Write};
use super::error::Refused;
use super::forms;
use super::problem::Kind;
use super::view::{company_answer, json_answer, rendered};
use super::{Crm, schema};
use crate::http::conditional::{etag, is_known};
use crate::http::idempotency::respond;
use crate::http::json::Json;
use crate::http::query::decode;

/// The member that a batch of companies is in.
const LIST: &str = "companies";
/// The whole answer to a batch.
const CREATED: &str = "Companies successfully created.";

/// Create a company
#[utoipa::path(post, path = "/external/v1/customer/company/create", operation_id = "createCompany", tag = "CRM intake",
    request_body(content = schema::CrmCreateCompany, example = json!({"company_name": "Acme Trading",
        "company_status": "active", "industry": "Retail", "website": "https://acme.example"})),
    responses((status = 201, description = "The company", body = schema::CrmCompany)))]
pub(super) async fn create(State(crm): State<Crm>, Write(mut call): Write) -> Result<Response, Refused> {
    let details = call.body.as_ref().and_then(|body| forms::company(body, vec!["body".into()], &mut call.problems));
    let (caller, details) = call.ready(details)?;
    let founded = crm.registry.found_companies(&caller, vec![details], |result| {
        let done = |companies: &Vec<_>| company_answer(201, companies.first().expect("one was founded"));
        rendered(result, done, &caller, LIST)
    });
    Ok(respond(founded.await))
}

/// Create up to 100 companies, all or none
#[utoipa::path(post, path = "/external/v1/customer/company/bulk-create", operation_id = "createCompanies",
    tag = "CRM intake",
    request_body(content = schema::CrmCreateCompanies, example = json!({"companies": [
        {"company_name": "Acme Trading", "company_status": "active"}]})),
    responses((status = 200, description = "They are there", body = String, content_type = "application/json",
        example = json!("Companies successfully created."))))]
pub(super) async fn create_many(State(crm): State<Crm>, Write(mut call): Write) -> Result<Response, Refused> {
    let details = call.body.as_ref().and_then(|body| forms::companies(body, &mut call.problems));
    let (caller, details) = call.ready(details)?;
    let founded = crm
        .registry
        .found_companies(&caller, details, |result| rendered(result, |_| json_answer(200, &CREATED), &caller, LIST));
    Ok(respond(founded.await))
}

/// Read a company
///
/// By its integer id where the path has digits alone, else by its public id.
#[utoipa::path(get, path = "/external/v1/customer/company/{company_id}", operation_id = "getCompany",
    tag = "CRM intake",
    responses((status = 200, description = "The company", body = schema::CrmCompany)))]
pub(super) async fn get(State(crm): State<Crm>, Read(mut call): Read) -> Result<Response, Refused> {
    let keys = call.company_keys();
    let headers = call.parts.headers.clone();
    let (caller, keys) = call.ready(keys)?;
    let found = crm.registry.companies(caller.organization, &keys).await;
    let found = found.map_err(|error| Refused::store(&error, &caller.request_id))?;
    let company = found.into_iter().next().flatten().ok_or_else(Refused::not_found)?;
    if is_known(&headers, Version::FIRST) {
        return Ok((StatusCode::NOT_MODIFIED, [("etag", etag(Version::FIRST).1.into_string())]).into_response());
    }
    Ok(respond(company_answer(200, &company)))
}

/// The company that a client means: digits are its number. Empty where no company can be called so.
pub(super) fn keys_of(text: &str) -> Vec<CompanyKey> {
    let key = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok().and_then(|number| CompanyNumber::parse(number).ok()).map(CompanyKey::Number)
    } else {
        CompanyId::parse(text).ok().map(CompanyKey::Id)
    };
    key.into_iter().collect()
}

impl Call {
    /// The company that the path means; `None`, and a problem, where it cannot be read.
    fn company_keys(&mut self) -> Option<Vec<CompanyKey>> {
        let raw = self.raw_path().rsplit('/').next().unwrap_or_default().to_owned();
        let undecodable = |error: crate::http::query::DecodeError| {
            let loc = vec!["path".into(), "company_id".into()];
            self.problems.add(loc, &Kind::value(error.to_string()), &Json::Null);
        };
        decode(&raw).map(|text| keys_of(&text)).map_err(undecodable).ok()
    }
}
