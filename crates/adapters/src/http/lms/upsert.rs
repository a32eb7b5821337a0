//! `PUT /v1/customers/external/{id}` that creates the customer where there is none.
//!
//! Owns how a client asks for that, and which problems of a body count: one that creates needs other members than one that
//! changes. It must not hold a rule about customers.

use axum::response::Response;
use custodia_domain::customer::CustomerPatch;
use custodia_domain::ports::Selector;
use custodia_domain::registry::{Beginnings, OperationError, Upsert};
use custodia_domain::{ExternalId, Field, Moment};
use http::HeaderMap;

use super::Lms;
use super::call::Call;
use super::error::{Problems, Refused, refusal};
use super::forms::{self, Creation};
use super::view::put_answer;
use crate::http::idempotency::respond;

/// The preference and the parameter that ask for it.
const UPSERT: &str = "upsert";

/// How a client asks for an upsert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// By the header, which the answer then confirms (RFC 7240).
    preferred: bool,
}

impl Wish {
    /// What the request asks for; `None` for a plain update. The preference means nothing where the customer is named by
    /// number, the parameter is a mistake there.
    pub(super) fn of(call: &mut Call, selector: Option<&Selector>) -> Option<Self> {
        let by_number = matches!(selector, Some(Selector::Id(_)));
        let asked = call.query.take(UPSERT).map(str::to_owned);
        let asked = match asked.as_deref() {
            None | Some("false") => false,
            Some("true") if by_number => {
                call.problems.add(UPSERT, "names a customer by its external id alone");
                false
            }
            Some("true") => true,
            Some(_) => {
                call.problems.add(UPSERT, "must be true or false");
                false
            }
        };
        let preferred = !by_number && prefers_upsert(&call.parts.headers);
        (asked || preferred).then_some(Self { preferred })
    }
}

/// Whether `Prefer` names the preference, alone or among others. What else it names is not known here, and so passed over.
fn prefers_upsert(headers: &HeaderMap) -> bool {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|preference| {
        let token = preference.split(';').next().unwrap_or_default();
        let (name, value) = token.split_once('=').unwrap_or((token, ""));
        name.trim().eq_ignore_ascii_case(UPSERT) && matches!(value.trim(), "" | "\"\"" | "true")
    })
}

/// A body read twice: as one that creates and as one that changes.
struct Readings {
    creation: Option<Creation>,
    update: Option<(CustomerPatch, Beginnings)>,
    /// What is wrong where there is no such customer.
    absent: Problems,
    /// What is wrong where there is one.
    present: Problems,
}

impl Readings {
    fn of(call: &Call, external_id: &ExternalId) -> Self {
        let (mut absent, mut present) = (Problems::default(), Problems::default());
        let creation = Creation::read_as(call.body.as_ref(), Some(external_id), &mut absent);
        let update = forms::update_or_begin(call.body.as_ref(), &mut present);
        Self { creation, update, absent, present }
    }

    /// Adds the rules that a reading breaks whose members are wrong already; the others are checked where they are done.
    async fn complete(&mut self, lms: &Lms, call: &Call, now: Moment) -> Result<(), Refused> {
        if let Some(creation) = self.creation.as_ref().filter(|_| !self.absent.is_empty()) {
            let draft = creation.draft(now);
            let broken = lms.registry.problems_of_new(call.principal.organization, creation.office, &draft).await;
            let mut broken = broken.map_err(|error| Refused::store(&error, &call.request_id))?;
            broken.retain(|invalid| invalid.field != Field::ExternalId);
            self.absent.add_rules(&broken);
        }
        if let Some((patch, _)) = self.update.as_ref().filter(|_| !self.present.is_empty()) {
            self.present.add_rules(&patch.problems(now.today));
        }
        Ok(())
    }

    const fn problems(&self, exists: bool) -> &Problems {
        if exists { &self.present } else { &self.absent }
    }
}

/// Creates the customer or changes it.
pub(super) async fn put(
    lms: &Lms,
    mut call: Call,
    wish: Wish,
    selector: Option<Selector>,
) -> Result<Response, Refused> {
    let Some(Selector::ExternalId(external_id)) = selector else {
        return Err(call.ready::<()>(None).map_or_else(|refused| refused, |_| Refused::not_found()));
    };
    let mut readings = Readings::of(&call, &external_id);
    readings.complete(lms, &call, lms.registry.now()).await?;
    call.examine();
    if !call.problems.is_empty() || !readings.absent.is_empty() && !readings.present.is_empty() {
        // Which of the body's problems are told depends on whether the customer is there.
        let selector = Selector::ExternalId(external_id.clone());
        let found = lms.registry.get(call.principal.organization, selector).await;
        let found = found.map_err(|error| Refused::store(&error, &call.request_id))?;
        call.problems.join(readings.problems(found.is_some()));
    }
    let (caller, ()) = call.ready(Some(()))?;
    let creation = readings.creation.as_ref().filter(|_| readings.absent.is_empty());
    let upsert = Upsert {
        external_id: &external_id,
        creation: creation.map(|creation| (creation.office, |moment| creation.draft(moment))),
        update: readings.update.clone().filter(|_| readings.present.is_empty()),
    };
    let done = lms.registry.upsert(&caller, &upsert, |result| match result {
        Ok(put) => {
            let mut answer = put_answer(put);
            answer.headers.extend(wish.preferred.then(|| ("preference-applied".into(), UPSERT.into())));
            answer
        }
        Err(OperationError::Unfit { exists }) => readings.problems(*exists).answer(),
        Err(error) => refusal(error, &caller.request_id, caller.key.is_some()),
    });
    Ok(respond(done.await))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn prefers(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("prefer", HeaderValue::from_str(line).unwrap());
        }
        prefers_upsert(&headers)
    }

    #[test]
    fn the_preference_is_found_among_others() {
        for yes in
            [&["upsert"][..], &["UPSERT"], &["respond-async, upsert;x=1"], &["wait=10", " upsert "], &["upsert=\"\""]]
        {
            assert!(prefers(yes), "{yes:?}");
        }
        for no in [&[][..], &[""], &["upserts"], &["return=upsert"], &["upsert=false"], &["x;upsert"]] {
            assert!(!prefers(no), "{no:?}");
        }
    }
}
