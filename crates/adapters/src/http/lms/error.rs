//! The dialect's error bodies, and the one mapping from what an operation refuses to what the client reads.
//!
//! Owns codes, statuses and words. It must not know any route.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use custodia_domain::customer::{Blocker, Refusal, Rule};
use custodia_domain::loan::LoanRefusal;
use custodia_domain::ports::StoreError;
use custodia_domain::registry::{ListError, OperationError};
use custodia_domain::{Answer, Field, Invalid, RequestId, Status};
use http::StatusCode;
use serde::Serialize;

use crate::http::auth::AuthError;
use crate::http::conditional::etag;
use crate::http::context::Dialect;
use crate::http::fault::{Fault, fault_response};
use crate::http::fault_log::log_chain;
use crate::http::idempotency::{IDEMPOTENCY_KEY, respond};

/// The body of every error: two members.
#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// The member, parameter, path segment or header.
    pub(super) field: Cow<'static, str>,
    /// What is wrong with it; never its value.
    pub(super) error: Cow<'static, str>,
}

/// Everything that is wrong with a request.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, field: impl Into<Cow<'static, str>>, error: impl Into<Cow<'static, str>>) {
        self.0.push(Problem { field: field.into(), error: error.into() });
    }

    /// Adds what the domain found, but nothing on fields that are known to be wrong already.
    pub(super) fn add_rules(&mut self, broken: &[Invalid]) {
        for invalid in broken {
            let field = invalid.field.name();
            if !self.0.iter().any(|problem| problem.field == field) {
                self.add(field, rule_text(invalid.rule));
            }
        }
    }

    /// Adds what is not told yet.
    pub(super) fn join(&mut self, others: &Self) {
        for problem in &others.0 {
            if !self.0.contains(problem) {
                self.0.push(problem.clone());
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer that tells them.
    pub(super) fn answer(&self) -> Answer {
        self.answer_as("invalid_argument")
    }

    /// Every 400 tells its problems in this form, whatever its code.
    fn answer_as(&self, code: &str) -> Answer {
        let entries = serde_json::to_string(&self.0).expect("problems are text");
        plain(StatusCode::BAD_REQUEST, code, &entries)
    }
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
    pub(super) fn invalid(problems: &Problems) -> Self {
        Self::Answer(problems.answer())
    }

    /// What is wrong with a page is told under `page`, as everything about paging is.
    pub(super) fn list(error: &ListError, request_id: &RequestId) -> Self {
        match error {
            ListError::TooDeep(rows) => {
                let mut problems = Problems::default();
                problems.add("page", format!("page value too large, at most {rows} rows may lie before it: use after"));
                Self::invalid(&problems)
            }
            ListError::Store(error) => Self::store(error, request_id),
        }
    }

    pub(super) fn not_found() -> Self {
        Self::Answer(not_found())
    }

    /// 404 in these words.
    pub(super) fn absent(message: &str) -> Self {
        Self::Answer(absent(message))
    }

    /// 503: too much is going on.
    pub(super) fn busy() -> Self {
        Self::Answer(unavailable("the service is busy, try again"))
    }

    pub(super) fn forbidden() -> Self {
        let message = "this credential may not change anything";
        Self::Answer(plain(StatusCode::FORBIDDEN, "permission_denied", message))
    }

    /// 401 with the scheme that the route wants.
    pub(super) fn unauthenticated(scheme: &'static str) -> Self {
        let message = "a valid credential is required";
        let mut answer = plain(StatusCode::UNAUTHORIZED, "unauthenticated", message);
        answer.headers.push(("www-authenticate".into(), scheme.into()));
        Self::Answer(answer)
    }

    pub(super) fn credential(error: &AuthError, scheme: &'static str, request_id: &RequestId) -> Self {
        match error {
            AuthError::Unauthenticated => Self::unauthenticated(scheme),
            AuthError::Throttled { retry_after } => {
                let answer = plain(StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", "too many requests, try later");
                Self::Answer(retry(answer, *retry_after))
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
            Self::Fault(fault, request_id) => fault_response(Dialect::Lms, &fault, request_id.as_str()),
        }
    }
}

/// The answer to an operation that did nothing. `keyed` tells whether the request bears an idempotency key.
pub(super) fn refusal(error: &OperationError, request_id: &RequestId, keyed: bool) -> Answer {
    match error {
        OperationError::Invalid(broken) => {
            let mut problems = Problems::default();
            problems.add_rules(broken);
            problems.answer()
        }
        OperationError::NotFound => not_found(),
        OperationError::PreconditionFailed { current } => {
            let message = match current {
                Some(current) => format!("the record is at version {current}"),
                None => "there is no such record".to_owned(),
            };
            let mut answer = plain(StatusCode::PRECONDITION_FAILED, "failed_precondition", &message);
            answer.headers.extend(current.map(etag));
            answer
        }
        OperationError::Refused(refusal) => plain(StatusCode::CONFLICT, "aborted", &refusal_text(refusal)),
        OperationError::ExternalIdTaken => {
            plain(StatusCode::CONFLICT, "aborted", "a customer with the same externalId exists")
        }
        OperationError::Unchangeable(fields) => {
            let names: Vec<_> = fields.iter().map(|field| member(*field)).collect();
            let message =
                format!("not possible: no update changes {}, which differ from the request", names.join(", "));
            plain(StatusCode::CONFLICT, "aborted", &message)
        }
        OperationError::Loan(refusal @ LoanRefusal::CustomerNotActive) => {
            let mut problems = Problems::default();
            problems.add("status", refusal.to_string());
            problems.answer_as("failed_precondition")
        }
        OperationError::Loan(refusal) => plain(StatusCode::CONFLICT, "aborted", &refusal.to_string()),
        OperationError::Webhook(refusal) => plain(StatusCode::CONFLICT, "aborted", &refusal.to_string()),
        // No operation of this dialect is a batch, and who upserts tells what does not fit.
        OperationError::InvalidItems(_)
        | OperationError::RefusedItems { .. }
        | OperationError::StaleItems(_)
        | OperationError::Unfit { .. } => internal(request_id),
        OperationError::Contended => {
            retry(plain(StatusCode::CONFLICT, "aborted", "a concurrent change won, try again"), 1)
        }
        OperationError::KeyReused => {
            let mut problems = Problems::default();
            problems.add(IDEMPOTENCY_KEY, "was used for another request");
            problems.answer()
        }
        // Only with a key is a retry safe: it tells what became of the first try.
        OperationError::Unknown(_) if keyed => {
            log_chain(error);
            unavailable("the outcome is unknown, try again with the same Idempotency-Key")
        }
        OperationError::Unknown(_) => {
            log_chain(error);
            internal(request_id)
        }
        OperationError::Store(error) => store(error, request_id),
    }
}

/// The member by which a body says what no update changes.
fn member(field: Field) -> &'static str {
    if field == Field::Status { "active" } else { field.name() }
}

/// 404 in these words.
pub(super) fn absent(message: &str) -> Answer {
    plain(StatusCode::NOT_FOUND, "not_found", message)
}

/// What the client reads about a broken rule.
pub(super) const fn rule_text(rule: Rule) -> &'static str {
    match rule {
        Rule::Required => "required",
        Rule::InFuture => "must not be in the future",
        Rule::BeforeSubmission => "must not be before the submission date",
        Rule::BeforeActivation => "must not be before the activation date",
        Rule::ExcludedByFullName => "must not be given beside fullname",
        Rule::Unknown => "unknown",
        Rule::BeforeEnrolment => "must not be before the start of the enrolment",
    }
}

/// What the client reads about one thing that stands in the way of a command.
pub(super) fn blocker_text(status: Status, blocker: Blocker) -> String {
    match blocker {
        Blocker::State => format!("the customer is {status}"),
        Blocker::OpenLoans(count) => format!("the customer has {count} open loans"),
        Blocker::Loans(count) => format!("the customer has {count} loans"),
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    let mut parts = vec![format!("not possible: the customer is {}", refusal.status)];
    for blocker in &refusal.blockers {
        match blocker {
            Blocker::State => {}
            Blocker::OpenLoans(count) => parts.push(format!("has {count} open loans")),
            Blocker::Loans(count) => parts.push(format!("has {count} loans")),
        }
    }
    parts.join(" and ")
}

fn not_found() -> Answer {
    plain(StatusCode::NOT_FOUND, "not_found", "there is no such customer")
}

fn store(error: &StoreError, request_id: &RequestId) -> Answer {
    log_chain(error);
    match error {
        StoreError::Unavailable(_) => unavailable("the service is not available, try again"),
        StoreError::Corrupt { .. } | StoreError::Fault(_) => internal(request_id),
    }
}

fn unavailable(message: &str) -> Answer {
    retry(plain(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message), 1)
}

fn internal(request_id: &RequestId) -> Answer {
    let message = format!("request id {}", request_id.as_str());
    plain(StatusCode::INTERNAL_SERVER_ERROR, "internal", &message)
}

fn plain(status: StatusCode, code: &str, message: &str) -> Answer {
    let body = serde_json::to_vec(&Body { code, message }).expect("an error body is text");
    Answer { status: status.as_u16(), headers: vec![("content-type".into(), "application/json".into())], body }
}

fn retry(mut answer: Answer, seconds: u32) -> Answer {
    answer.headers.push(("retry-after".into(), seconds.to_string().into()));
    answer
}
