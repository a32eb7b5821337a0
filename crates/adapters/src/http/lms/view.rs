//! The customer object as this dialect shows it: members in the contract's order, absent values left out.
//!
//! Owns that form. It must not know how a customer was found.

use std::fmt::Display;

use custodia_domain::customer::{Blocker, Refusal, Transition};
use custodia_domain::registry::{CustomerView, OperationError, PutView};
use custodia_domain::{Answer, ClosureReasonId, CustomerId, Date, ExternalId, GenderId, LegalFormId, OfficeId};
use serde::{Serialize, Serializer};

use super::call::json_answer;
use super::error::blocker_text;
use crate::http::conditional::etag;

/// A value that is shown as its text.
pub(super) struct Shown<T>(pub(super) T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Written as it goes onto the wire; documented as [`schema::Customer`](super::schema::Customer).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomerBody<'a> {
    id: Shown<CustomerId>,
    account_no: Shown<custodia_domain::AccountNo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    status: &'static str,
    active: bool,
    office_id: Shown<OfficeId>,
    office_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    firstname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    middlename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lastname: Option<&'a str>,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mobile_no: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date_of_birth: Option<Shown<Date>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_date: Option<Shown<Date>>,
    submitted_date: Shown<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_type_id: Option<Shown<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    legal_form_id: Option<Shown<LegalFormId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gender_id: Option<Shown<GenderId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closure_date: Option<Shown<Date>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closure_reason_id: Option<Shown<ClosureReasonId>>,
    version: i64,
}

impl<'a> From<&'a CustomerView> for CustomerBody<'a> {
    fn from(view: &'a CustomerView) -> Self {
        let customer = &view.customer;
        let state = customer.snapshot();
        let closing = customer.closing();
        Self {
            id: Shown(customer.id()),
            account_no: Shown(customer.account_no()),
            external_id: customer.external_id().map(ExternalId::as_str),
            status: customer.status().label(),
            active: customer.status() == custodia_domain::Status::Active,
            office_id: Shown(view.office.id),
            office_name: view.office.name.as_str(),
            firstname: customer.first_name(),
            middlename: customer.middle_name(),
            lastname: customer.last_name(),
            display_name: customer.display_name(),
            mobile_no: customer.mobile().map(custodia_domain::MobileNumber::as_str),
            email_address: customer.email().map(custodia_domain::EmailAddress::as_str),
            date_of_birth: customer.born().map(Shown),
            activation_date: customer.activated_on().map(Shown),
            submitted_date: Shown(customer.submitted_on()),
            client_type_id: state.client_type.map(|kind| Shown(kind.code())),
            legal_form_id: state.legal_form.map(Shown),
            gender_id: state.gender.map(Shown),
            closure_date: closing.map(|terms| Shown(terms.on)),
            closure_reason_id: closing.map(|terms| Shown(terms.reason)),
            version: customer.version().get(),
        }
    }
}

/// The answer that shows one customer.
pub(super) fn customer_answer(view: &CustomerView) -> Answer {
    let mut body = Vec::with_capacity(512);
    serde_json::to_writer(&mut body, &CustomerBody::from(view)).expect("a customer's values are text");
    let mut answer = json_answer(body);
    answer.headers.push(etag(view.customer.version()));
    answer
}

/// The answer to a put: the customer, and what became of it.
pub(super) fn put_answer(put: &PutView) -> Answer {
    let mut answer = customer_answer(&put.view);
    answer.headers.push(("custodia-outcome".into(), put.effect.name().into()));
    answer
}

/// A customer with what can be done to it now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithTransitions<'a> {
    #[serde(flatten)]
    customer: CustomerBody<'a>,
    allowed_transitions: Vec<TransitionBody>,
}

#[derive(Serialize)]
struct TransitionBody {
    command: &'static str,
    allowed: bool,
    blockers: Vec<BlockerBody>,
}

#[derive(Serialize)]
struct BlockerBody {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

impl TransitionBody {
    fn of((transition, permission): (Transition, Result<(), Refusal>)) -> Self {
        let blockers = match permission {
            Ok(()) => Vec::new(),
            Err(Refusal { status, blockers }) => {
                let body = |blocker: Blocker| BlockerBody {
                    code: blocker.name(),
                    message: blocker_text(status, blocker),
                    count: blocker.count(),
                };
                blockers.into_iter().map(body).collect()
            }
        };
        Self { command: transition.name(), allowed: blockers.is_empty(), blockers }
    }
}

/// The answer that shows one customer and, of every command, whether it is possible and what stands in its way.
pub(super) fn transitions_answer(view: &CustomerView) -> Answer {
    let allowed_transitions = view.customer.transitions().into_iter().map(TransitionBody::of).collect();
    let body = WithTransitions { customer: CustomerBody::from(view), allowed_transitions };
    let mut answer = json_answer(serde_json::to_vec(&body).expect("a customer's values are text"));
    answer.headers.push(etag(view.customer.version()));
    answer
}

/// What an operation answers when it is done.
pub(super) type Render = fn(&CustomerView) -> Answer;

/// The answer to a deletion: nothing is left to show.
pub(super) fn gone(_: &CustomerView) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: Vec::new() }
}

/// Turns an operation's result into the dialect's answer.
pub(super) fn rendered(
    result: Result<&CustomerView, &OperationError>,
    done: Render,
    caller: &custodia_domain::registry::Caller,
) -> Answer {
    match result {
        Ok(view) => done(view),
        Err(error) => super::error::refusal(error, &caller.request_id, caller.key.is_some()),
    }
}
