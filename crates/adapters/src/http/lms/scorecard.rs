//! Credit scores: reported by an engine, and read beside what the customer owes.
//!
//! Owns the members of a scorecard. It must not know how a score is made.

use axum::extract::State;
use axum::response::Response;
use custodia_domain::Answer;
use custodia_domain::loan::{Grade, Score, millionths_to_text};
use custodia_domain::registry::Scorecard;
use serde::Serialize;

use super::call::{Read, Write, json_answer};
use super::error::{Problems, Refused, refusal};
use super::fields::Fields;
use super::loans::{Money, external_id};
use super::{Lms, schema};
use crate::http::idempotency::respond;
use crate::http::json::Json;

const EXTERNAL_ID: &str = "externalId";

/// Written as it goes onto the wire; documented as [`schema::Scorecard`](super::schema::Scorecard).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScorecardBody<'a> {
    external_id: &'a str,
    halopesa_grade: &'static str,
    final_credit_score: u16,
    final_credit_limit: Money,
    total_outstanding: Money,
    total_paid: Money,
    available_credit_limit: Money,
    execution_period: String,
}

fn scorecard_answer(card: &Scorecard) -> Answer {
    let limit = card.score.limit.to_string();
    let available = if card.totals.outstanding == 0 { limit.clone() } else { "0".to_owned() };
    let (year, month, _) = card.at.today.ymd();
    let body = ScorecardBody {
        external_id: card.external_id.as_str(),
        halopesa_grade: card.score.grade.label(),
        final_credit_score: card.score.score,
        final_credit_limit: Money(limit),
        total_outstanding: Money(millionths_to_text(card.totals.outstanding)),
        total_paid: Money(millionths_to_text(card.totals.paid)),
        available_credit_limit: Money(available),
        execution_period: format!("{year:04}-{month:02}"),
    };
    json_answer(serde_json::to_vec(&body).expect("a scorecard is text and numbers"))
}

/// Read a credit scorecard
///
/// Totals are sums over all the customer's loans. An unknown customer has grade `XX`, score 100 and limit 0.
#[utoipa::path(get, path = "/v1/credit-scorecard/{externalId}", operation_id = "getScorecard", tag = "Credit",
    responses((status = 200, description = "The scorecard", body = schema::Scorecard)))]
pub(super) async fn get(State(lms): State<Lms>, Read(mut call): Read) -> Result<Response, Refused> {
    let id = external_id(&mut call, EXTERNAL_ID);
    let (caller, id) = call.ready(id)?;
    let card = lms.registry.scorecard(caller.organization, &id).await;
    let card = card.map_err(|error| Refused::store(&error, &caller.request_id))?;
    Ok(respond(scorecard_answer(&card)))
}

/// Report a credit score
///
/// For any external id, whether or not a customer has it yet.
#[utoipa::path(put, path = "/v1/credit-scores/{externalId}", operation_id = "reportScore", tag = "Credit",
    request_body(content = schema::ReportScore, example = json!({"grade": "A", "score": 720, "limit": 2500})),
    responses((status = 200, description = "The scorecard as it is now", body = schema::Scorecard)))]
pub(super) async fn report(State(lms): State<Lms>, Write(mut call): Write) -> Result<Response, Refused> {
    let id = external_id(&mut call, EXTERNAL_ID);
    let score = read_score(call.body.as_ref(), &mut call.problems);
    let (caller, (id, score)) = call.ready(id.zip(score))?;
    let reported = lms.registry.report_score(&caller, &id, score, |result| match result {
        Ok(card) => scorecard_answer(card),
        Err(error) => refusal(error, &caller.request_id, caller.key.is_some()),
    });
    Ok(respond(reported.await))
}

fn read_score(body: Option<&Json>, problems: &mut Problems) -> Option<Score> {
    let mut fields = Fields::of(body, problems)?;
    for required in ["grade", "score", "limit"] {
        fields.require(required);
    }
    let grade = fields.text("grade", |text| Grade::from_label(text).ok_or("must be A, B, C or XX"));
    let score = fields.id("score", |number| match u16::try_from(number) {
        Ok(score @ 0..=1000) => Ok(score),
        _ => Err("must be an integer from 0 to 1000"),
    });
    let limit = fields.amount("limit");
    fields.finish();
    Some(Score { grade: grade?, score: score?, limit: limit? })
}
