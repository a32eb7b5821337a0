//! The dialect's error bodies, and the one mapping from what an operation refuses to what the client reads.
//!
//! Owns types, titles, statuses and words. It must not know any route.

use std::collections::HashSet;
use std::fmt::Display;

use axum::response::{IntoResponse, Response};
use custodia_domain::account::{AccountRule, Identifier, is_card_number};
use custodia_domain::customer::Rule;
use custodia_domain::ports::StoreError;
use custodia_domain::registry::{ItemProblem, ItemProblemKind, ItemRefusal, OperationError, StaleItem};
use custodia_domain::{Answer, ExternalId, Field, RequestId};
use http::StatusCode;
use serde::Serialize;

use crate::http::auth::AuthError;
use crate::http::context::Dialect;
use crate::http::fault::{Fault, fault_response};
use crate::http::fault_log::log_chain;
use crate::http::idempotency::{IDEMPOTENCY_KEY, respond};

/// The most problems that one answer tells: an answer is not to outgrow its request.
const MOST_PROBLEMS: usize = 10_000;

/// The ids of one request.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    /// As the history and the log know it.
    pub(super) request: RequestId,
    /// As bodies show it.
    pub(super) shown: Box<str>,
}

/// A kind of error: its status, type and title.
#[derive(Clone, Copy)]
struct Kind(StatusCode, &'static str, &'static str);

const UNREADABLE: Kind = Kind(StatusCode::BAD_REQUEST, "HttpMessageNotReadable", "Request could not be parsed");
const INVALID: Kind = Kind(StatusCode::BAD_REQUEST, "ValidationException", "Bad request");
const NO_SESSION: Kind = Kind(StatusCode::UNAUTHORIZED, "SessionValidationException", "Session expired or invalid");
const FORBIDDEN: Kind = Kind(StatusCode::FORBIDDEN, "AccessDeniedException", "Access denied");
const NOT_FOUND: Kind = Kind(StatusCode::NOT_FOUND, "ResourceNotFoundException", "Resource not found");
const CONFLICT: Kind = Kind(StatusCode::CONFLICT, "ConflictException", "Conflict");
const STALE: Kind = Kind(StatusCode::PRECONDITION_FAILED, "PreconditionFailedException", "Precondition failed");
const THROTTLED: Kind = Kind(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", "Too many requests");
const UNAVAILABLE: Kind = Kind(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", "Service unavailable");
const INTERNAL: Kind = Kind(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "Internal Server Error");

/// The body of every error: five members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    validation_errors: &'a [String],
    request_id: &'a str,
}

fn answer(Kind(status, kind, title): Kind, problems: &[String], ids: &Ids) -> Answer {
    let status = status.as_u16();
    let body = Body { r#type: kind, title, status, validation_errors: problems, request_id: &ids.shown };
    let body = serde_json::to_vec(&body).expect("an error body is text");
    Answer { status, headers: vec![("content-type".into(), "application/json".into())], body }
}

fn retry(mut answer: Answer, seconds: u32) -> Answer {
    answer.headers.push(("retry-after".into(), seconds.to_string().into()));
    answer
}

/// Everything that is wrong with a request: one text for each problem, its path first.
#[derive(Debug, Default)]
pub(super) struct Problems {
    texts: Vec<String>,
    unreadable: bool,
}

impl Problems {
    /// Adds a problem of what is there at that path. Values are never repeated.
    pub(super) fn add(&mut self, path: impl Display, error: impl Display) {
        if self.texts.len() < MOST_PROBLEMS {
            self.texts.push(format!("{path}: {error}"));
        } else if self.texts.len() == MOST_PROBLEMS {
            self.texts.push("there are more problems, which are not told".to_owned());
        }
    }

    /// Adds a problem of what the caller has named itself. A card number is no name that is repeated.
    pub(super) fn add_named(&mut self, name: &str, error: impl Display) {
        self.add(masked(name), error);
    }

    /// Where there is a problem; for an item of a list of values also where the list is.
    pub(super) fn places(&self) -> HashSet<String> {
        let place = |text: &String| text.split_once(": ").map_or("", |(place, _)| place).to_owned();
        let places: Vec<String> = self.texts.iter().map(place).collect();
        let lists = places.iter().filter_map(|place| Some(place.strip_suffix(']')?.rsplit_once('[')?.0.to_owned()));
        let lists: Vec<String> = lists.collect();
        places.into_iter().chain(lists).collect()
    }

    /// The body is no JSON object.
    pub(super) fn unreadable(&mut self, error: impl Display) {
        self.unreadable = true;
        self.add("body", error);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// A name that the caller gave, unless it holds as many digits in a row as a card number has.
pub(super) fn masked(name: &str) -> &str {
    let digits = |part: &str| part.len() >= 12 && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = name.split(|c: char| !c.is_ascii_digit());
    if parts.any(digits) || name.chars().count() > 128 { "(a name that is not repeated)" } else { name }
}

/// Why a request was refused before or instead of an operation.
#[derive(Debug)]
pub(super) enum Refused {
    /// In the dialect's own words.
    Answer(Answer),
    /// In the edge's words, with the id that the body shows.
    Fault(Fault, Box<str>),
}

impl Refused {
    pub(super) fn invalid(problems: &Problems, ids: &Ids) -> Self {
        let kind = if problems.unreadable { UNREADABLE } else { INVALID };
        Self::Answer(answer(kind, &problems.texts, ids))
    }

    /// 400 with a title of its own.
    pub(super) fn titled(title: &'static str, ids: &Ids) -> Self {
        Self::Answer(answer(Kind(INVALID.0, INVALID.1, title), &[], ids))
    }

    pub(super) fn not_found(ids: &Ids) -> Self {
        let problem = "sourceCustomerId: there is no such customer".to_owned();
        Self::Answer(answer(NOT_FOUND, &[problem], ids))
    }

    pub(super) fn forbidden(ids: &Ids) -> Self {
        Self::Answer(answer(FORBIDDEN, &[], ids))
    }

    pub(super) fn credential(error: &AuthError, ids: &Ids) -> Self {
        match error {
            AuthError::Unauthenticated => {
                let mut answer = answer(NO_SESSION, &[], ids);
                answer.headers.push(("www-authenticate".into(), "Bearer".into()));
                Self::Answer(answer)
            }
            AuthError::Throttled { retry_after } => Self::Answer(retry(answer(THROTTLED, &[], ids), *retry_after)),
            AuthError::Unavailable(error) => Self::store(error, ids),
        }
    }

    pub(super) fn store(error: &StoreError, ids: &Ids) -> Self {
        Self::Answer(store(error, ids))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Answer(answer) => respond(answer),
            Self::Fault(fault, shown) => fault_response(Dialect::Publisher, &fault, &shown),
        }
    }
}

/// What the items of a batch are called, and why a customer or account of it is refused though it exists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Items {
    /// The array's member.
    pub(super) array: &'static str,
    /// What is said of a customer that stands against the batch.
    pub(super) conflict: &'static str,
}

impl Items {
    /// New customers.
    pub(super) const CREATED: Self = Self { array: "customers", conflict: "exists with other content" };
    /// Customers that exist.
    pub(super) const REPLACED: Self = Self { array: "customers", conflict: "is closed" };
    /// Accounts.
    pub(super) const ACCOUNTS: Self = Self { array: "accounts", conflict: "exists with other content" };
    /// Cards of one account.
    pub(super) const CARDS: Self = Self { array: "cards", conflict: "exists with other content" };

    /// Where an item's part stands, such as `customers[0].accounts[1].cards[0]`; empty for the account that a path names.
    fn path(self, item: usize, path: &[usize]) -> String {
        let inner: &[&str] = match self.array {
            "customers" => &["accounts", "cards"],
            "accounts" => &["cards"],
            _ => return path.first().map(|card| format!("cards[{card}]")).unwrap_or_default(),
        };
        let outer = format!("{}[{item}]", self.array);
        inner.iter().zip(path).fold(outer, |outer, (array, at)| format!("{outer}.{array}[{at}]"))
    }

    fn member(self, item: usize, path: &[usize], member: &str) -> String {
        let path = self.path(item, path);
        if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") }
    }

    fn problem(self, problem: &ItemProblem) -> String {
        let (member, error) = match &problem.kind {
            ItemProblemKind::Customer(invalid) => (customer_member(invalid.field), rule_text(invalid.rule).to_owned()),
            ItemProblemKind::Account(rule @ AccountRule::CardOfStranger) => {
                (account_member(*rule), "must name the holders of the account's cards".to_owned())
            }
            ItemProblemKind::Card(AccountRule::CardNumber(identifier)) => {
                let place = self.path(problem.item, &problem.path);
                return format!("{place}: {} must not be this card's whole number", identifier.member());
            }
            ItemProblemKind::ParentIsCardNumber => {
                let rule = AccountRule::CardNumber(Identifier::Parent);
                (account_member(rule), rule.to_string())
            }
            ItemProblemKind::Account(rule) => (account_member(*rule), rule.to_string()),
            ItemProblemKind::Card(rule) => (card_member(*rule), rule.to_string()),
            ItemProblemKind::Required(name) => (*name, "required".to_owned()),
            ItemProblemKind::TooManyAccounts => ("sourceCustomerIds", "a customer has at most 200 accounts".to_owned()),
        };
        format!("{}: {error}", self.member(problem.item, &problem.path, member))
    }

    fn stale(self, stale: &StaleItem) -> String {
        let place = self.member(stale.item, &stale.path, EXPECTED_VERSION);
        match stale.current {
            Some(current) => format!("{place}: the current version is {current}"),
            None => format!("{place}: there is no such account"),
        }
    }

    fn refusal(self, absent: bool, refusal: &ItemRefusal) -> String {
        let ItemRefusal { item, path, id, account } = refusal;
        let (member, noun) = if *account { ("sourceAccountId", "account") } else { ("sourceCustomerId", "customer") };
        // Without a customer of its own the item is one of the path's.
        let named = self.array == "customers" || (*account && self.array == "accounts");
        let place = if named { self.member(*item, path, member) } else { member.to_owned() };
        let name = quoted(id);
        match (absent, account) {
            (true, _) => format!("{place}: there is no {noun} {name}"),
            (false, true) => format!("{place}: the account {name} exists with other content"),
            (false, false) => format!("{place}: the customer {name} {}", self.conflict),
        }
    }
}

/// The member of an item that says at which version it has to be.
pub(super) const EXPECTED_VERSION: &str = "expectedVersion";

/// The id as it was sent; a card number is never repeated.
fn quoted(id: &ExternalId) -> String {
    if is_card_number(id.as_str()) { "of this id".to_owned() } else { format!("\"{id}\"") }
}

fn customer_member(field: Field) -> &'static str {
    // Since when a customer is Active comes from its creation.
    if matches!(field, Field::Activation | Field::Submitted) { Field::CustomerSince.name() } else { field.name() }
}

const fn account_member(rule: AccountRule) -> &'static str {
    match rule {
        AccountRule::PrimaryNotHolder => "primarySourceCustomerId",
        AccountRule::ClosedWithoutDate | AccountRule::DateWithoutClosed | AccountRule::ClosedBeforeOpened => {
            "accountCloseDate"
        }
        AccountRule::CustomerNotHolder | AccountRule::TooManyHolders | AccountRule::CardOfStranger => {
            "sourceCustomerIds"
        }
        AccountRule::TooManyCards => "cards",
        AccountRule::CardNumber(identifier) => identifier.member(),
    }
}

const fn card_member(rule: AccountRule) -> &'static str {
    match rule {
        AccountRule::ClosedWithoutDate | AccountRule::DateWithoutClosed | AccountRule::ClosedBeforeOpened => {
            "closeDate"
        }
        AccountRule::CardOfStranger
        | AccountRule::PrimaryNotHolder
        | AccountRule::CustomerNotHolder
        | AccountRule::TooManyHolders
        | AccountRule::TooManyCards => "sourceCustomerId",
        AccountRule::CardNumber(identifier) => identifier.member(),
    }
}

/// What the client reads about a broken rule of a customer.
pub(super) const fn rule_text(rule: Rule) -> &'static str {
    match rule {
        Rule::Required => "required",
        Rule::InFuture => "must not be in the future",
        Rule::BeforeEnrolment => "must not be before enrollmentStartDate",
        Rule::BeforeSubmission => "must not be before the submission date",
        Rule::BeforeActivation => "must not be before the activation date",
        Rule::ExcludedByFullName => "must not be given beside a whole name",
        Rule::Unknown => "unknown",
    }
}

/// The answer to an operation that did nothing. `keyed` tells whether the request bears an idempotency key.
pub(super) fn refusal(error: &OperationError, items: Items, ids: &Ids, keyed: bool) -> Answer {
    match error {
        OperationError::InvalidItems(found) => {
            let mut texts: Vec<_> = found.iter().map(|problem| items.problem(problem)).collect();
            // A date may break one rule under two names.
            let mut seen = HashSet::new();
            texts.retain(|text| seen.insert(text.clone()));
            answer(INVALID, &texts, ids)
        }
        OperationError::RefusedItems { absent, items: refused } => {
            let texts: Vec<_> = refused.iter().map(|refusal| items.refusal(*absent, refusal)).collect();
            answer(if *absent { NOT_FOUND } else { CONFLICT }, &texts, ids)
        }
        OperationError::StaleItems(stale) => {
            let texts: Vec<_> = stale.iter().map(|item| items.stale(item)).collect();
            answer(STALE, &texts, ids)
        }
        OperationError::KeyReused => {
            answer(INVALID, &[format!("{IDEMPOTENCY_KEY}: was used for another request")], ids)
        }
        OperationError::Contended => retry(answer(CONFLICT, &[], ids), 1),
        OperationError::Unknown(_) => {
            log_chain(error);
            // Only with a key is a retry safe: it tells what became of the first try.
            if keyed { unavailable(ids) } else { answer(INTERNAL, &[], ids) }
        }
        OperationError::Store(error) => store(error, ids),
        OperationError::NotFound => answer(NOT_FOUND, &[], ids),
        OperationError::Refused(_) | OperationError::ExternalIdTaken | OperationError::Webhook(_) => {
            answer(CONFLICT, &[], ids)
        }
        // No batch is planned so that it could be refused in these ways.
        OperationError::Invalid(_)
        | OperationError::PreconditionFailed { .. }
        | OperationError::Unfit { .. }
        | OperationError::Unchangeable(_)
        | OperationError::Loan(_) => {
            log_chain(error);
            answer(INTERNAL, &[], ids)
        }
    }
}

fn unavailable(ids: &Ids) -> Answer {
    retry(answer(UNAVAILABLE, &[], ids), 1)
}

fn store(error: &StoreError, ids: &Ids) -> Answer {
    log_chain(error);
    match error {
        StoreError::Unavailable(_) => unavailable(ids),
        StoreError::Corrupt { .. } | StoreError::Fault(_) => answer(INTERNAL, &[], ids),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_card_number_in_it_is_not_repeated() {
        for name in ["4111111111111111", "card4111111111111112", &"x".repeat(129)] {
            assert_eq!(masked(name), "(a name that is not repeated)");
        }
        for name in ["", "a", "12345678901", "ä-1234-5678-9012-3456"] {
            assert_eq!(masked(name), name);
        }
    }

    #[test]
    fn an_answer_tells_a_bounded_number_of_problems() {
        let mut problems = Problems::default();
        for at in 0..MOST_PROBLEMS + 10 {
            problems.add(format_args!("customers[{at}]"), "must be an object");
        }
        assert_eq!(problems.texts.len(), MOST_PROBLEMS + 1);
        assert_eq!(problems.texts[0], "customers[0]: must be an object");
    }
}
