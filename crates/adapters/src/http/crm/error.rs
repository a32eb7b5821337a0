//! The dialect's error bodies, and the one mapping from what an operation refuses to what the client reads.
//!
//! Owns statuses and words. It must not know any route.

use axum::response::{IntoResponse, Response};
use custodia_domain::customer::{Blocker, Refusal, Rule};
use custodia_domain::ports::StoreError;
use custodia_domain::registry::{ItemProblem, ItemProblemKind, OperationError};
use custodia_domain::{Answer, Field, Invalid, RequestId};
use http::StatusCode;
use serde::Serialize;

use super::problem::{Kind, Loc, Problems, Step};
use crate::http::auth::AuthError;
use crate::http::conditional::etag;
use crate::http::context::Dialect;
use crate::http::fault::{Fault, fault_response};
use crate::http::fault_log::log_chain;
use crate::http::idempotency::{IDEMPOTENCY_KEY, respond};
use crate::http::json::Json;

/// The body of every error.
#[derive(Serialize)]
struct Body<T> {
    detail: T,
}

/// Why a request was refused before or instead of an operation.
#[derive(Debug)]
pub(super) enum Refused {
    /// In the dialect's own words.
    Answer(Answer),
    /// In the edge's words, with the request's id.
    Fault(Fault, RequestId),
}

impl Refused {
    pub(super) fn invalid(problems: Problems) -> Self {
        Self::Answer(unprocessable(problems))
    }

    pub(super) fn not_found() -> Self {
        Self::Answer(not_found())
    }

    pub(super) fn forbidden() -> Self {
        Self::Answer(plain(StatusCode::FORBIDDEN, "Forbidden - this credential may not change anything."))
    }

    pub(super) fn unauthenticated() -> Self {
        let mut answer = plain(StatusCode::UNAUTHORIZED, "Unauthorized - API Key required.");
        answer.headers.push(("www-authenticate".into(), "Bearer".into()));
        Self::Answer(answer)
    }

    pub(super) fn credential(error: &AuthError, request_id: &RequestId) -> Self {
        match error {
            AuthError::Unauthenticated => Self::unauthenticated(),
            AuthError::Throttled { retry_after } => {
                Self::Answer(retry(plain(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"), *retry_after))
            }
            AuthError::Unavailable(error) => Self::store(error, request_id),
        }
    }

    pub(super) fn store(error: &StoreError, request_id: &RequestId) -> Self {
        Self::Answer(store(error, request_id))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Answer(answer) => respond(answer),
            Self::Fault(fault, request_id) => fault_response(Dialect::Crm, &fault, request_id.as_str()),
        }
    }
}

/// The answer to an operation that did nothing. `keyed` tells whether the request bears an idempotency key, `list` is the
/// member that a batch is in.
pub(super) fn refusal(error: &OperationError, request_id: &RequestId, keyed: bool, list: &'static str) -> Answer {
    match error {
        OperationError::Invalid(broken) => {
            let mut problems = Problems::default();
            for invalid in broken {
                add_rule(&mut problems, vec!["body".into()], *invalid);
            }
            unprocessable(problems)
        }
        OperationError::InvalidItems(broken) => {
            let mut problems = Problems::default();
            for problem in broken {
                add_item(&mut problems, problem, list);
            }
            unprocessable(problems)
        }
        OperationError::NotFound => not_found(),
        OperationError::PreconditionFailed { current } => {
            let detail = match current {
                Some(current) => format!("The customer is at version {current}."),
                None => "There is no such customer.".to_owned(),
            };
            let mut answer = plain(StatusCode::PRECONDITION_FAILED, &detail);
            answer.headers.extend(current.map(etag));
            answer
        }
        OperationError::Refused(refusal) => plain(StatusCode::CONFLICT, &refusal_text(refusal)),
        OperationError::ExternalIdTaken => plain(StatusCode::CONFLICT, "A customer with the same customer_id exists."),
        OperationError::Loan(refusal) => plain(StatusCode::CONFLICT, &refusal.to_string()),
        OperationError::Webhook(refusal) => plain(StatusCode::CONFLICT, &refusal.to_string()),
        // No operation of this dialect names other records in a batch, or upserts.
        OperationError::RefusedItems { .. }
        | OperationError::StaleItems(_)
        | OperationError::Unfit { .. }
        | OperationError::Unchangeable(_) => {
            log_chain(error);
            internal(request_id)
        }
        OperationError::Contended => retry(plain(StatusCode::CONFLICT, "A concurrent change won, try again."), 1),
        OperationError::KeyReused => {
            let mut problems = Problems::default();
            let reused = Kind::value(format!("this {IDEMPOTENCY_KEY} was used for another request"));
            problems.add(vec!["header".into(), IDEMPOTENCY_KEY.into()], &reused, &Json::Null);
            unprocessable(problems)
        }
        // Only with a key is a retry safe: it tells what became of the first try.
        OperationError::Unknown(_) if keyed => {
            log_chain(error);
            unavailable("The outcome is unknown, try again with the same Idempotency-Key.")
        }
        OperationError::Unknown(_) => {
            log_chain(error);
            internal(request_id)
        }
        OperationError::Store(error) => store(error, request_id),
    }
}

fn add_item(problems: &mut Problems, problem: &ItemProblem, list: &'static str) {
    let loc = vec!["body".into(), list.into(), Step::from(problem.item)];
    match problem.kind {
        ItemProblemKind::Customer(invalid) => add_rule(problems, loc, invalid),
        ItemProblemKind::Account(_)
        | ItemProblemKind::Card(_)
        | ItemProblemKind::Required(_)
        | ItemProblemKind::TooManyAccounts
        | ItemProblemKind::ParentIsCardNumber => {
            problems.add(loc, &Kind::value("is not acceptable"), &Json::Null);
        }
    }
}

fn add_rule(problems: &mut Problems, mut loc: Loc, invalid: Invalid) {
    loc.push(wire_name(invalid.field).into());
    problems.add(loc, &Kind::value(rule_text(invalid.rule)), &Json::Null);
}

/// What this dialect calls a field.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other fields are none of this dialect's bodies")]
const fn wire_name(field: Field) -> &'static str {
    match field {
        Field::ExternalId => "customer_id",
        Field::FullName => "name",
        Field::MobileNo => "whatsapp_number",
        Field::Email => "email",
        Field::Company => "company_id",
        Field::Status | Field::Activation => "is_active",
        other => other.name(),
    }
}

const fn rule_text(rule: Rule) -> &'static str {
    match rule {
        Rule::Required => "is required",
        Rule::InFuture => "must not be in the future",
        Rule::BeforeSubmission => "must not be before the submission date",
        Rule::BeforeActivation => "must not be before the activation date",
        Rule::ExcludedByFullName => "must not be given beside a whole name",
        Rule::Unknown => "is unknown",
        Rule::BeforeEnrolment => "must not be before the start of the enrolment",
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    let loans = refusal.blockers.iter().map(|blocker| match blocker {
        Blocker::State => String::new(),
        Blocker::OpenLoans(count) => format!(" and has {count} open loans"),
        Blocker::Loans(count) => format!(" and has {count} loans"),
    });
    format!("Not possible: the customer is {}{}.", refusal.status, loans.collect::<Vec<_>>().concat())
}

fn unprocessable(problems: Problems) -> Answer {
    json(StatusCode::UNPROCESSABLE_ENTITY, &problems.sorted())
}

fn not_found() -> Answer {
    plain(StatusCode::NOT_FOUND, "Not Found")
}

fn store(error: &StoreError, request_id: &RequestId) -> Answer {
    log_chain(error);
    match error {
        StoreError::Unavailable(_) => unavailable("The service is not available, try again."),
        StoreError::Corrupt { .. } | StoreError::Fault(_) => internal(request_id),
    }
}

fn unavailable(detail: &str) -> Answer {
    retry(plain(StatusCode::SERVICE_UNAVAILABLE, detail), 1)
}

fn internal(request_id: &RequestId) -> Answer {
    let detail = format!("Internal Server Error (request id {})", request_id.as_str());
    plain(StatusCode::INTERNAL_SERVER_ERROR, &detail)
}

fn plain(status: StatusCode, detail: &str) -> Answer {
    json(status, &detail)
}

fn json(status: StatusCode, detail: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(&Body { detail }).expect("an error body has string keys");
    Answer { status: status.as_u16(), headers: vec![("content-type".into(), "application/json".into())], body }
}

fn retry(mut answer: Answer, seconds: u32) -> Answer {
    answer.headers.push(("retry-after".into(), seconds.to_string().into()));
    answer
}
