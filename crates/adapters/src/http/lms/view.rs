//! The customer object as this dialect shows it: members in the contract's order, absent values left out.
//!
//! Owns that form. It must not know how a customer was found.

use std::fmt::Display;

use custodia_domain::customer::{Blocker, Refusal, Transition};
use custodia_domain::registry::{CustomerView, OperationError, PutView};
use custodia_domain::{Answer, ClientType, EmailAddress, ExternalId, MobileNumber, Status};
use serde::{Serialize, Serializer};

use super::call::json_answer;
use super::error::blocker_text;
use crate::http::conditional::etag;
use crate::http::json_object::Object;

/// A value that is shown as its text.
pub(super) struct Shown<T>(pub(super) T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// About how many bytes a customer takes.
pub(super) const USUAL_SIZE: usize = 512;

/// Writes a customer's members as they go onto the wire; documented as [`schema::Customer`](super::schema::Customer).
pub(super) fn write_customer(view: &CustomerView, object: &mut Object<'_>) {
    let customer = &view.customer;
    let state = customer.snapshot();
    let closing = customer.closing();
    object.shown("id", customer.id());
    object.shown("accountNo", customer.account_no());
    object.optional_text("externalId", customer.external_id().map(ExternalId::as_str));
    object.text("status", customer.status().label());
    object.bare("active", customer.status() == Status::Active);
    object.shown("officeId", view.office.id);
    object.text("officeName", view.office.name.as_str());
    object.optional_text("firstname", customer.first_name());
    object.optional_text("middlename", customer.middle_name());
    object.optional_text("lastname", customer.last_name());
    object.text("displayName", &customer.display_name());
    object.optional_text("mobileNo", customer.mobile().map(MobileNumber::as_str));
    object.optional_text("emailAddress", customer.email().map(EmailAddress::as_str));
    object.optional_shown("dateOfBirth", customer.born());
    object.optional_shown("activationDate", customer.activated_on());
    object.shown("submittedDate", customer.submitted_on());
    object.optional_shown("clientTypeId", state.client_type.map(ClientType::code));
    object.optional_shown("legalFormId", state.legal_form);
    object.optional_shown("genderId", state.gender);
    object.optional_shown("closureDate", closing.map(|terms| terms.on));
    object.optional_shown("closureReasonId", closing.map(|terms| terms.reason));
    object.bare("version", customer.version());
}

/// The answer that shows one customer.
pub(super) fn customer_answer(view: &CustomerView) -> Answer {
    let mut body = Vec::with_capacity(USUAL_SIZE);
    let mut object = Object::begin(&mut body);
    write_customer(view, &mut object);
    object.end();
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

/// What can be done to a customer now.
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
    let transitions: Vec<TransitionBody> = view.customer.transitions().into_iter().map(TransitionBody::of).collect();
    let mut body = Vec::with_capacity(2 * USUAL_SIZE);
    let mut object = Object::begin(&mut body);
    write_customer(view, &mut object);
    object.value("allowedTransitions", &transitions);
    object.end();
    let mut answer = json_answer(body);
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
