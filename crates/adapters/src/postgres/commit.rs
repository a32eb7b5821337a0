//! How units of work become statements: which of them may share one, and what each is answered. Must not know any
//! column.
//!
//! Units of one organization that create customers and accounts share a statement, and so do those that change one
//! customer each; every other unit has a transaction of its own, with one statement for each kind of record in it. A constraint that
//! one unit violates refuses its whole statement: the units that are to blame are then found by asking, and the rest
//! is tried again.

use std::collections::{BTreeMap, HashMap, HashSet};

use custodia_domain::account::AccountId;
use custodia_domain::ports::{CommitError, Committed, StoreError};
use custodia_domain::unit::{ForbiddenLoans, WebhookChange};
use custodia_domain::{
    Customer, CustomerChange, CustomerId, ExternalId, Field, OrganizationId, Receipt, ReceiptKey, Sequence, Unit, Value,
};
use futures::StreamExt as _;
use sqlx::Connection as _;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use super::fault::{Failure, Kind, pause};
use super::pool::Sessions;
use super::records;
use super::statements::{self, Finding, LOCK, Writing};

type Verdict = Result<Committed, CommitError>;

/// A unit and its place in the call.
type Placed = (usize, Unit);

/// How many organizations' units are written at the same time.
const LANES: usize = 8;
/// How many units share a statement at most.
const SHARED: usize = 500;
/// How often a statement is tried again after another caller's came between.
const ATTEMPTS: u32 = 6;

/// Commits each unit by itself; the verdicts are in the units' order.
pub(super) async fn commit(sessions: &Sessions, units: Vec<Unit>) -> Vec<Verdict> {
    let count = units.len();
    let mut groups: BTreeMap<OrganizationId, Vec<Placed>> = BTreeMap::new();
    for (place, unit) in units.into_iter().enumerate() {
        groups.entry(unit.organization).or_default().push((place, unit));
    }
    let lanes = groups.into_iter().map(|(organization, units)| commit_group(sessions, organization, units));
    let mut verdicts: Vec<Option<Verdict>> = std::iter::repeat_with(|| None).take(count).collect();
    let mut answered = futures::stream::iter(lanes).buffer_unordered(LANES);
    while let Some(group) = answered.next().await {
        for (place, verdict) in group {
            verdicts[place] = Some(verdict);
        }
    }
    verdicts.into_iter().map(|verdict| verdict.expect("every unit is answered")).collect()
}

/// The units of one organization, wave after wave.
async fn commit_group(sessions: &Sessions, organization: OrganizationId, units: Vec<Placed>) -> Vec<(usize, Verdict)> {
    let mut answers = Answers { verdicts: Vec::with_capacity(units.len()) };
    let lane = Lane { sessions, organization };
    let mut left = units;
    while !left.is_empty() {
        let wave;
        (wave, left) = Wave::take(left, &mut answers);
        lane.create(wave.creations, &mut answers).await;
        lane.change(wave.changes, &mut answers).await;
        lane.keep(wave.receipts, &mut answers).await;
        for unit in wave.others {
            lane.alone(unit, &mut answers).await;
        }
        // Creations that waited for another one of the same external id: all but one are refused at once. Nothing that
        // is left can free what they want, as a change might.
        let only_adds = |(_, unit): &Placed| matches!(shape(unit), Shape::Creation | Shape::Receipt);
        if !left.is_empty() && left.iter().all(only_adds) {
            left = lane.sift(left, &mut answers).await.unwrap_or_default();
        }
    }
    answers.verdicts
}

/// The verdicts given so far.
struct Answers {
    verdicts: Vec<(usize, Verdict)>,
}

impl Answers {
    fn give(&mut self, place: usize, verdict: Verdict) {
        self.verdicts.push((place, verdict));
    }

    fn fail_all(&mut self, units: Vec<Placed>, failure: &Failure) {
        for (place, _) in units {
            self.give(place, Err(failure.clone().into()));
        }
    }
}

/// What statement a unit can be part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Creates customers and accounts and does nothing else.
    Creation,
    /// Changes one customer.
    Change,
    /// Keeps a receipt.
    Receipt,
    /// Anything else.
    Other,
}

fn shape(unit: &Unit) -> Shape {
    let is_new = |change: &CustomerChange| change.expects().is_none() && change.after().is_some();
    match unit.customers.as_slice() {
        _ if records::has_others(unit) || !unit.basis.is_empty() => Shape::Other,
        [] if unit.accounts.is_empty() => Shape::Receipt,
        [only] if unit.accounts.is_empty() && !is_new(only) && only.after().is_some() => Shape::Change,
        all if all.iter().all(is_new) && unit.accounts.iter().all(|change| change.expects().is_none()) => {
            Shape::Creation
        }
        _ => Shape::Other,
    }
}

/// Units that have nothing in common, so that it does not matter which of them is written first.
#[derive(Default)]
struct Wave {
    creations: Vec<Placed>,
    changes: Vec<Placed>,
    receipts: Vec<Placed>,
    others: Vec<Placed>,
}

impl Wave {
    /// The units that need not wait for one before them, and the others. Answers those that do nothing, or cannot be.
    fn take(units: Vec<Placed>, answers: &mut Answers) -> (Self, Vec<Placed>) {
        let mut wave = Self::default();
        let mut later = Vec::new();
        let mut touched = Touched::default();
        for (place, unit) in units {
            let does_nothing = unit.customers.is_empty() && unit.receipt.is_none() && !records::has_records(&unit);
            if does_nothing && unit.basis.is_empty() {
                answers.give(place, Ok(Committed { last_sequence: None }));
                continue;
            }
            if names_another_organization(&unit) {
                let fault = Failure::fault("a record of another organization than its unit");
                answers.give(place, Err(fault.into()));
                continue;
            }
            // A unit that is put off is touched as well: what follows it must not overtake it.
            let is_free = touched.add(&unit);
            let line = match shape(&unit) {
                Shape::Creation => &mut wave.creations,
                Shape::Change => &mut wave.changes,
                Shape::Receipt => &mut wave.receipts,
                Shape::Other => &mut wave.others,
            };
            if is_free && line.len() < SHARED {
                line.push((place, unit));
            } else {
                later.push((place, unit));
            }
        }
        (wave, later)
    }
}

fn names_another_organization(unit: &Unit) -> bool {
    let customers = unit.customers.iter().filter_map(CustomerChange::after).map(Customer::organization);
    let accounts = unit.accounts.iter().map(|change| change.after().organization());
    let companies = unit.companies.iter().map(|change| change.company().organization);
    let loans = unit.loans.iter().map(|change| change.after().organization);
    let webhooks = unit.webhooks.iter().map(WebhookChange::organization);
    let all = customers.chain(accounts).chain(companies).chain(loans).chain(webhooks);
    all.into_iter().any(|organization| organization != unit.organization)
}

/// What the units of a wave touch.
#[derive(Default)]
struct Touched {
    customers: HashSet<CustomerId>,
    external_ids: HashSet<Box<str>>,
    receipts: HashSet<ReceiptKey>,
    accounts: HashSet<AccountId>,
    /// Whether a unit with records beside customers is put off: those after it wait for it.
    records_wait: bool,
}

impl Touched {
    /// Adds what the unit touches; `false` where an earlier unit touches some of it.
    fn add(&mut self, unit: &Unit) -> bool {
        let mut is_free = unit.receipt.as_ref().is_none_or(|receipt| self.receipts.insert(receipt.key));
        let mut own = HashSet::new();
        let mut own_customers = HashSet::new();
        for loan in &unit.loans {
            let customer = loan.after().customer;
            if own_customers.insert(customer) {
                is_free &= self.customers.insert(customer);
            }
        }
        for change in &unit.customers {
            if own_customers.insert(change.customer()) {
                is_free &= self.customers.insert(change.customer());
            }
            for external_id in external_ids(change) {
                // One unit may pass an external id from one customer to another.
                if own.insert(external_id) {
                    is_free &= self.external_ids.insert(external_id.into());
                }
            }
        }
        for id in unit.basis.customers.keys() {
            if own_customers.insert(*id) {
                is_free &= self.customers.insert(*id);
            }
        }
        for id in unit.basis.accounts.keys() {
            is_free &= self.accounts.insert(id.clone());
        }
        for change in &unit.accounts {
            is_free &= self.accounts.insert(change.after().id().clone());
        }
        if records::has_records(unit) {
            is_free &= !self.records_wait;
            self.records_wait |= !is_free;
        }
        is_free
    }
}

/// Every external id that a change sets or frees.
fn external_ids(change: &CustomerChange) -> impl Iterator<Item = &str> {
    change.events().iter().flat_map(|event| {
        let moved = event.changes().iter().filter(|change| change.field == Field::ExternalId);
        let sides = moved.flat_map(|change| [change.from.as_ref(), change.to.as_ref()]).flatten();
        let texts = sides.filter_map(|value| match value {
            Value::Text(text) => Some(&**text),
            Value::Integer(_) | Value::Date(_) | Value::Instant(_) | Value::List(_) => None,
        });
        let freed = event.external_id().filter(|_| event.changes().is_empty()).map(ExternalId::as_str);
        texts.chain(freed)
    })
}

/// The statements of one organization, one after the other.
struct Lane<'a> {
    sessions: &'a Sessions,
    organization: OrganizationId,
}

impl Lane<'_> {
    /// Units that create customers and accounts, by one statement.
    async fn create(&self, units: Vec<Placed>, answers: &mut Answers) {
        self.share(units, answers, Shape::Creation).await;
    }

    /// Units that change one customer each, by one statement.
    async fn change(&self, units: Vec<Placed>, answers: &mut Answers) {
        self.share(units, answers, Shape::Change).await;
    }

    async fn share(&self, mut units: Vec<Placed>, answers: &mut Answers, shape: Shape) {
        for attempt in 0..ATTEMPTS {
            if units.is_empty() {
                return;
            }
            let failure = match self.try_shared(&units, shape).await {
                Ok(verdicts) => {
                    for ((place, _), verdict) in units.into_iter().zip(verdicts) {
                        answers.give(place, verdict);
                    }
                    return;
                }
                Err(failure) => failure,
            };
            match failure.kind {
                Kind::Again => pause(attempt).await,
                Kind::Violation => {
                    let before = units.len();
                    units = match self.sift(units, answers).await {
                        Some(rest) => rest,
                        None => return,
                    };
                    if units.len() == before {
                        // Nobody is to blame now: whoever was in the way has gone again, or a check failed.
                        break;
                    }
                }
                // Something in one unit cannot be stored; apart, the others can.
                Kind::Fault if units.len() > 1 => break,
                Kind::Unavailable | Kind::Lost | Kind::Silent | Kind::Fault => {
                    return answers.fail_all(units, &failure);
                }
            }
        }
        for unit in units {
            self.alone(unit, answers).await;
        }
    }

    async fn try_shared(&self, units: &[Placed], shape: Shape) -> Result<Vec<Verdict>, Failure> {
        let mut writing = Writing::new(self.organization);
        let mut places = Vec::with_capacity(units.len());
        for (_, unit) in units {
            let mut last = 0;
            for change in &unit.customers {
                last = writing.add(change, &unit.audit);
            }
            for change in &unit.accounts {
                last = writing.open(change, unit.at, &unit.audit);
            }
            if let Some(receipt) = &unit.receipt {
                writing.keep(receipt, unit.customers.first());
            }
            places.push(last);
        }
        let mut session = self.sessions.acquire().await?;
        let written = self.sessions.patiently(async {
            match shape {
                Shape::Creation => writing.create(&mut session).await,
                Shape::Change | Shape::Receipt | Shape::Other => writing.change(&mut session).await,
            }
        });
        let written = written.await;
        self.sessions.settle(session, written.as_ref().err());
        let Some(written) = written? else {
            return Ok(units.iter().map(|(_, unit)| Err(no_organization(unit))).collect());
        };
        let applied: HashSet<i64> = written.applied.iter().copied().collect();
        let verdicts = units.iter().zip(places).map(|((_, unit), place)| {
            match unit.customers.iter().find(|change| !applied.contains(&change.customer().get())) {
                Some(refused) => Err(CommitError::VersionConflict(refused.customer())),
                None => Ok(Committed { last_sequence: written.sequence(place) }),
            }
        });
        Ok(verdicts.collect())
    }

    /// Answers the units that cannot be committed, and gives back the others; `None` where the database could not
    /// tell, and all are answered.
    async fn sift(&self, units: Vec<Placed>, answers: &mut Answers) -> Option<Vec<Placed>> {
        let findings = async {
            let mut session = self.sessions.acquire().await?;
            let asked: Vec<&Unit> = units.iter().map(|(_, unit)| unit).collect();
            let asking = statements::judge(&mut session, self.organization, &asked);
            let found = self.sessions.patiently(asking).await;
            self.sessions.settle(session, found.as_ref().err());
            found
        };
        let findings = match findings.await {
            Ok(findings) => findings,
            Err(failure) => {
                answers.fail_all(units, &failure.before_commit());
                return None;
            }
        };
        let mut rest = Vec::with_capacity(units.len());
        for ((place, unit), findings) in units.into_iter().zip(findings) {
            match refusal(&unit, &findings) {
                Some(refusal) => answers.give(place, Err(refusal)),
                None => rest.push((place, unit)),
            }
        }
        Some(rest)
    }

    /// Units that keep a receipt alone, by one statement.
    async fn keep(&self, units: Vec<Placed>, answers: &mut Answers) {
        if units.is_empty() {
            return;
        }
        for attempt in 0.. {
            let receipts: Vec<&Receipt> = units.iter().filter_map(|(_, unit)| unit.receipt.as_ref()).collect();
            let kept = async {
                let mut session = self.sessions.acquire().await?;
                let keeping = statements::keep(&mut session, self.organization, &receipts);
                let kept = self.sessions.patiently(keeping).await;
                self.sessions.settle(session, kept.as_ref().err());
                kept
            };
            let kept = match kept.await {
                Err(failure) if failure.kind == Kind::Again && attempt < ATTEMPTS => {
                    pause(attempt).await;
                    continue;
                }
                Err(failure) => return answers.fail_all(units, &failure),
                Ok(kept) => kept,
            };
            for (index, (place, unit)) in units.into_iter().enumerate() {
                let verdict = match kept.as_ref().map(|kept| kept[index]) {
                    Some(true) => Ok(Committed { last_sequence: None }),
                    Some(false) => Err(CommitError::ReceiptTaken),
                    None => Err(no_organization(&unit)),
                };
                answers.give(place, verdict);
            }
            return;
        }
    }

    /// One unit in a transaction of its own. Most are as they should be, and are written at once; what is in the way
    /// of the others is asked for the second time, under the organization's lock.
    async fn alone(&self, (place, unit): Placed, answers: &mut Answers) {
        let mut attempt = 0;
        let mut is_judged = false;
        let verdict = loop {
            match self.try_alone(&unit, is_judged).await {
                Err(failure) if failure.kind == Kind::Again && attempt < ATTEMPTS => {
                    pause(attempt).await;
                    attempt += 1;
                }
                Err(failure) if failure.kind == Kind::Violation && !is_judged => is_judged = true,
                Err(failure) => break Err(failure.into()),
                Ok(None) => is_judged = true,
                Ok(Some(verdict)) => break verdict,
            }
        };
        answers.give(place, verdict);
    }

    /// `None` where something was in the way, and nobody has asked what; nothing is written then.
    async fn try_alone(&self, unit: &Unit, is_judged: bool) -> Result<Option<Verdict>, Failure> {
        let mut session = self.sessions.acquire().await?;
        let written = self.sessions.patiently(self.write_alone(&mut session, unit, is_judged)).await;
        self.sessions.settle(session, written.as_ref().err());
        written
    }

    async fn write_alone(
        &self,
        session: &mut PoolConnection<Postgres>,
        unit: &Unit,
        is_judged: bool,
    ) -> Result<Option<Verdict>, Failure> {
        let early = |error: sqlx::Error| Failure::from(error).before_commit();
        let mut transaction = session.begin().await.map_err(early)?;
        let refusal = if is_judged { self.judge_alone(&mut transaction, unit).await? } else { None };
        let written = match refusal {
            Some(refusal) => Err(Some(refusal)),
            None => match write_runs(&mut transaction, unit).await {
                Ok(Ran::Whole(last_sequence)) => match statements::changed(&mut transaction, unit).await {
                    Ok(None) => Ok(Committed { last_sequence }),
                    Ok(refusal) => Err(refusal),
                    Err(failure) => return Err(failure.before_commit()),
                },
                Ok(_) if !is_judged => Err(None),
                Ok(Ran::RecordsDiffer) => Err(Some(CommitError::RecordConflict)),
                Ok(Ran::CustomersDiffer) => {
                    return Err(Failure::fault("a customer changed under the organization's lock"));
                }
                Err(failure) => return Err(failure.before_commit()),
            },
        };
        match written {
            Ok(committed) => {
                transaction.commit().await?;
                Ok(Some(Ok(committed)))
            }
            Err(refusal) => {
                transaction.rollback().await.map_err(early)?;
                Ok(refusal.map(Err))
            }
        }
    }

    /// What refuses a unit; until the transaction ends, nothing changes any more.
    async fn judge_alone(
        &self,
        transaction: &mut sqlx::PgConnection,
        unit: &Unit,
    ) -> Result<Option<CommitError>, Failure> {
        let early = |error: sqlx::Error| Failure::from(error).before_commit();
        let locked: Option<i64> = sqlx::query_scalar(LOCK)
            .bind(self.organization.get())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(early)?;
        if locked.is_none() {
            return Ok(Some(no_organization(unit)));
        }
        let findings =
            statements::judge(transaction, self.organization, &[unit]).await.map_err(Failure::before_commit)?;
        Ok(refusal(unit, findings.first().map_or(&[], Vec::as_slice)))
    }
}

/// What became of a unit's statements.
enum Ran {
    /// All is written; the last event's sequence.
    Whole(Option<Sequence>),
    /// A customer is not as the unit expects it.
    CustomersDiffer,
    /// A record is not.
    RecordsDiffer,
}

/// Writes a unit's changes: its customers in their order, those of the same kind that follow one another by one
/// statement, then its records.
async fn write_runs(transaction: &mut sqlx::PgConnection, unit: &Unit) -> Result<Ran, Failure> {
    let has_records = records::has_records(unit);
    if unit.customers.is_empty() && !has_records {
        let receipts: Vec<&Receipt> = unit.receipt.iter().collect();
        return match statements::keep(transaction, unit.organization, &receipts).await? {
            Some(kept) if kept.iter().all(|kept| *kept) => Ok(Ran::Whole(None)),
            _ => Ok(Ran::CustomersDiffer),
        };
    }
    let kind = |change: &CustomerChange| (change.expects().is_some(), change.after().is_some());
    let mut last_sequence = None;
    let mut receipt = unit.receipt.as_ref();
    for run in unit.customers.chunk_by(|left, right| kind(left) == kind(right)) {
        let mut writing = Writing::new(unit.organization);
        let mut place = 0;
        for change in run {
            place = writing.add(change, &unit.audit);
        }
        if let Some(receipt) = receipt.take() {
            writing.keep(receipt, run.first());
        }
        let written = match kind(&run[0]) {
            (false, true) => writing.create(transaction).await?,
            (true, true) => writing.change(transaction).await?,
            (_, false) => writing.remove(transaction).await?,
        };
        match written.filter(|written| written.applied.len() == run.len()) {
            Some(written) => last_sequence = written.sequence(place),
            None => return Ok(Ran::CustomersDiffer),
        }
    }
    if has_records {
        return Ok(match records::write(transaction, unit, receipt).await? {
            Some(last) => Ran::Whole(Some(last)),
            None => Ran::RecordsDiffer,
        });
    }
    Ok(Ran::Whole(last_sequence))
}

fn no_organization(unit: &Unit) -> CommitError {
    match unit.customers.first() {
        Some(change) => CommitError::UnknownOffice(change.customer()),
        None => StoreError::Fault("a unit of an organization that does not exist".into()).into(),
    }
}

/// What refuses a unit, if anything does: its receipt first, then its changes in their order, each as those before it
/// leave the external ids.
fn refusal(unit: &Unit, findings: &[Finding]) -> Option<CommitError> {
    if unit.receipt.is_some() && findings.iter().any(|finding| finding.receipt_exists) {
        return Some(CommitError::ReceiptTaken);
    }
    let mut owners: HashMap<&str, Option<i64>> = HashMap::new();
    for (change, finding) in unit.customers.iter().zip(findings) {
        let id = change.customer();
        let version_holds = match change.expects() {
            // A number is never used again, not even after a deletion: its events are still there.
            None => !finding.was_there && finding.version.is_none(),
            Some(expected) => finding.version == Some(expected.get()),
        };
        let forbidden_loans = match change.forbids() {
            ForbiddenLoans::None => None,
            ForbiddenLoans::Open => finding.open_loans,
            ForbiddenLoans::Any => finding.loan_count,
        };
        if !version_holds || forbidden_loans.is_some_and(|loans| loans > 0) {
            return Some(CommitError::VersionConflict(id));
        }
        if change.after().is_some() && !finding.office_exists {
            return Some(CommitError::UnknownOffice(id));
        }
        if let Some(before) = &finding.external_id {
            owners.insert(before, None);
        }
        if let Some(wanted) = change.after().and_then(|after| after.external_id()) {
            let owner = owners.get(wanted.as_str()).copied().unwrap_or(finding.holder);
            if owner.is_some_and(|owner| owner != id.get()) {
                return Some(CommitError::ExternalIdTaken(id));
            }
            owners.insert(wanted.as_str(), Some(id.get()));
        }
    }
    None
}
