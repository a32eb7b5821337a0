//! The model: two organizations as plain maps, and the steps that lead from one state to the next. Knows the rules of
//! a commit in their shortest form; must not know any store.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use custodia_domain::ports::{CustomerFilter, Direction, SortKey};
use custodia_domain::{
    ClosingTerms, ClosureReasonId, Customer, CustomerChange, CustomerEvent, CustomerId, CustomerPatch, MobileNumber,
    NewCustomer, OfficeId, OrganizationId, Outcome, Patch, Receipt, Status, Timestamp, Unit, search,
};
use proptest::prelude::{BoxedStrategy, Just, Strategy as _, any, prop_oneof};
use proptest::{option, sample, strategy::Union};
use proptest_state_machine::ReferenceStateMachine;

use crate::support::{at, created, day, external, moment, named, number, receipt, unit};

/// How many idempotency keys the steps draw from.
pub const KEYS: u8 = 6;

const EXTERNAL_IDS: [&str; 6] = ["a", "A", "e\u{301}", "\u{e9}", "100%", "x y"];
const NAMES: [&str; 6] = ["Ada Lovelace", "ada", "Łódź", "Ada-Maria", "Bob", "Émile 7"];
const MOBILES: [&str; 3] = ["555-01", "+48 22", "1"];
const WORDS: [&str; 6] = ["ada", "a", "lodz", "555", "%", "000000001"];

/// The numbers that a fresh store gives to its two organizations.
pub type Organizations = [OrganizationId; 2];

/// What one organization holds.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub customers: BTreeMap<CustomerId, Customer>,
    /// The state before the last change: what a caller with a stale version believes.
    stale: BTreeMap<CustomerId, Customer>,
    pub events: Vec<CustomerEvent>,
    /// How many events each customer has had, deleted ones included.
    pub histories: BTreeMap<CustomerId, usize>,
    pub receipts: BTreeMap<u8, Timestamp>,
}

/// Everything, with what the last step asked for and has to come to.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub registries: [Registry; 2],
    pub last: Option<(Unit, Expected)>,
    pub purged: u64,
    clock: i64,
}

/// What a commit has to come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Kept,
    /// One of these; which of several is the store's to choose.
    Refused(Vec<Refused>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Version,
    ExternalId,
    Office,
    Receipt,
}

#[derive(Debug, Clone, Copy)]
pub struct List {
    pub organization: usize,
    pub sort: SortKey,
    pub direction: Direction,
    pub status: Option<Status>,
    pub word: Option<&'static str>,
    pub limit: u8,
}

#[derive(Debug, Clone, Copy)]
pub enum Action {
    Mobile(&'static str),
    ExternalId(&'static str),
    Activate,
    Close,
    Delete,
}

#[derive(Debug, Clone)]
pub enum Step {
    Create {
        organization: usize,
        name: &'static str,
        external_id: Option<&'static str>,
        active: bool,
        office: i64,
        /// The number of a customer that is or was there, instead of a new one.
        reuse: Option<sample::Index>,
        key: Option<u8>,
    },
    Command {
        organization: usize,
        customer: sample::Index,
        action: Action,
        stale: bool,
        key: Option<u8>,
    },
    List(List),
    Purge {
        before: i64,
    },
    Reopen,
}

fn creation() -> BoxedStrategy<Step> {
    let office = prop_oneof![20 => Just(1_i64), 1 => Just(2)];
    let reuse = prop_oneof![15 => Just(None), 1 => any::<sample::Index>().prop_map(Some)];
    let key = option::weighted(0.3, 0..KEYS);
    let external_id = option::of(sample::select(&EXTERNAL_IDS[..]));
    (0..2_usize, sample::select(&NAMES[..]), external_id, any::<bool>(), office, reuse, key)
        .prop_map(|(organization, name, external_id, active, office, reuse, key)| Step::Create {
            organization,
            name,
            external_id,
            active,
            office,
            reuse,
            key,
        })
        .boxed()
}

fn command() -> BoxedStrategy<Step> {
    let action = prop_oneof![
        3 => sample::select(&MOBILES[..]).prop_map(Action::Mobile),
        2 => sample::select(&EXTERNAL_IDS[..]).prop_map(Action::ExternalId),
        2 => Just(Action::Activate),
        1 => Just(Action::Close),
        2 => Just(Action::Delete),
    ];
    let stale = prop_oneof![4 => Just(false), 1 => Just(true)];
    (0..2_usize, any::<sample::Index>(), action, stale, option::weighted(0.3, 0..KEYS))
        .prop_map(|(organization, customer, action, stale, key)| Step::Command {
            organization,
            customer,
            action,
            stale,
            key,
        })
        .boxed()
}

fn list() -> BoxedStrategy<Step> {
    let sorts = [SortKey::Id, SortKey::DisplayName, SortKey::SubmittedDate, SortKey::ActivationDate];
    let directions = [Direction::Ascending, Direction::Descending];
    let status = option::of(sample::select(&Status::ALL[..]));
    let word = option::of(sample::select(&WORDS[..]));
    (0..2_usize, sample::select(sorts.to_vec()), sample::select(directions.to_vec()), status, word, 1..8_u8)
        .prop_map(|(organization, sort, direction, status, word, limit)| {
            Step::List(List { organization, sort, direction, status, word, limit })
        })
        .boxed()
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        Union::new_weighted(vec![
            (6, creation()),
            (8, command()),
            (2, list()),
            (1, (0..60_i64).prop_map(|before| Step::Purge { before }).boxed()),
            (1, Just(Step::Reopen).boxed()),
        ])
        .boxed()
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        model.clock += 1;
        model.last = None;
        let proposed = match step {
            Step::Create { .. } => Some(model.creation(step)),
            Step::Command { .. } => model.command(step),
            Step::Purge { before } => {
                model.purge(at(*before));
                None
            }
            Step::List(_) | Step::Reopen => None,
        };
        if let Some(unit) = proposed {
            let registry = &mut model.registries[usize::from(unit.organization != OrganizationId::FIRST)];
            let expected = registry.judge(&unit);
            if expected == Expected::Kept {
                registry.keep(&unit);
            }
            model.last = Some((unit, expected));
        }
        model
    }
}

fn organization(index: usize) -> OrganizationId {
    OrganizationId::parse(i64::try_from(index).unwrap() + 1).unwrap()
}

impl Model {
    pub fn registry(&self, organization: OrganizationId) -> &Registry {
        &self.registries[usize::from(organization != OrganizationId::FIRST)]
    }

    fn unit(&self, index: usize, change: CustomerChange, key: Option<u8>) -> Unit {
        let kept = key.map(|key| Receipt { at: at(self.clock), ..receipt(key, 0) });
        Unit { receipt: kept, ..unit(organization(index), vec![change]) }
    }

    fn creation(&self, step: &Step) -> Unit {
        let Step::Create { organization: index, name, external_id, active, office, reuse, key } = step else {
            unreachable!("a creation")
        };
        let taken: Vec<CustomerId> = self.registries[*index].histories.keys().copied().collect();
        let fresh = number(taken.last().map_or(1, |last| last.get() + 1));
        let id = match reuse {
            Some(pick) if !taken.is_empty() => *pick.get(&taken),
            _ => fresh,
        };
        let new = NewCustomer {
            external_id: external_id.map(external),
            office: OfficeId::parse(*office).unwrap(),
            submitted: Some(day(if self.clock % 2 == 0 { "2026-01-01" } else { "2026-02-01" })),
            activated: active.then(|| day("2026-03-01")),
            ..named(name)
        };
        self.unit(*index, created(organization(*index), id, new).1, *key)
    }

    /// The unit of a command; `None` where there is no customer, or it refuses by itself.
    fn command(&self, step: &Step) -> Option<Unit> {
        let Step::Command { organization: index, customer, action, stale, key } = step else {
            unreachable!("a command")
        };
        let registry = &self.registries[*index];
        let known = if *stale { &registry.stale } else { &registry.customers };
        if known.is_empty() {
            return None;
        }
        let known: Vec<&Customer> = known.values().collect();
        let mut customer = (*customer.get(&known)).clone();
        let now = moment(self.clock);
        let patch = match action {
            Action::Delete => {
                let change = CustomerChange::gone(customer.delete(now).ok()?);
                return Some(self.unit(*index, change, *key));
            }
            Action::Activate | Action::Close => CustomerPatch::default(),
            Action::Mobile(text) => {
                CustomerPatch { mobile: Patch::Set(MobileNumber::parse(text).unwrap()), ..CustomerPatch::default() }
            }
            Action::ExternalId(text) => CustomerPatch { external_id: Some(external(text)), ..CustomerPatch::default() },
        };
        let terms = ClosingTerms { on: day("2026-06-01"), reason: ClosureReasonId::parse(1).unwrap() };
        let outcome = match action {
            Action::Activate => customer.activate(day("2026-04-01"), now),
            Action::Close => customer.close(terms, now),
            Action::Mobile(_) | Action::ExternalId(_) | Action::Delete => customer.update(&patch, now),
        };
        match outcome.ok()? {
            Outcome::Applied(event) => Some(self.unit(*index, CustomerChange::kept(customer, vec![event]), *key)),
            Outcome::Unchanged => None,
        }
    }

    fn purge(&mut self, before: Timestamp) {
        let count = |registries: &[Registry; 2]| registries.iter().map(|kept| kept.receipts.len() as u64).sum::<u64>();
        let kept = count(&self.registries);
        for registry in &mut self.registries {
            registry.receipts.retain(|_, kept_at| *kept_at >= before);
        }
        self.purged = kept - count(&self.registries);
    }
}

impl Registry {
    fn judge(&self, unit: &Unit) -> Expected {
        let change = &unit.customers[0];
        let id = change.customer();
        let version_holds = match change.expects() {
            None => !self.histories.contains_key(&id),
            expected => self.customers.get(&id).map(Customer::version) == expected,
        };
        let wanted = change.after().and_then(Customer::external_id);
        let taken =
            wanted.is_some() && self.customers.values().any(|other| other.id() != id && other.external_id() == wanted);
        let lost = change.after().is_some_and(|after| after.office() != OfficeId::FIRST);
        let used = unit.receipt.as_ref().is_some_and(|receipt| self.receipts.contains_key(&receipt.key.0[0]));
        let reasons = [
            (!version_holds, Refused::Version),
            (taken, Refused::ExternalId),
            (lost, Refused::Office),
            (used, Refused::Receipt),
        ];
        let reasons: Vec<Refused> = reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect();
        if reasons.is_empty() { Expected::Kept } else { Expected::Refused(reasons) }
    }

    fn keep(&mut self, unit: &Unit) {
        let change = &unit.customers[0];
        let id = change.customer();
        let before = match change.after() {
            Some(after) => self.customers.insert(id, after.clone()),
            None => self.customers.remove(&id),
        };
        if let Some(before) = before {
            self.stale.insert(id, before);
        }
        if change.after().is_none() {
            for event in self.events.iter_mut().filter(|event| event.customer() == id) {
                *event = event.clone().erased();
            }
        }
        self.events.extend(change.events().iter().cloned());
        *self.histories.entry(id).or_default() += change.events().len();
        if let Some(receipt) = &unit.receipt {
            self.receipts.insert(receipt.key.0[0], receipt.at);
        }
    }

    /// The customers of a list, in its order.
    pub fn list(&self, filter: &CustomerFilter, sort: SortKey, direction: Direction) -> Vec<Customer> {
        let meets = |customer: &&Customer| {
            filter.status.is_none_or(|status| customer.status() == status) && search::finds(customer, &filter.words)
        };
        let mut rows: Vec<Customer> = self.customers.values().filter(meets).cloned().collect();
        let value = |left: &Customer, right: &Customer| match sort {
            SortKey::Id => Ordering::Equal,
            SortKey::DisplayName => search::fold(&left.display_name()).cmp(&search::fold(&right.display_name())),
            SortKey::SubmittedDate => left.submitted_on().cmp(&right.submitted_on()),
            SortKey::ActivationDate => left.activated_on().cmp(&right.activated_on()),
            SortKey::CreatedAt => left.created_at().cmp(&right.created_at()),
            SortKey::UpdatedAt => left.updated_at().cmp(&right.updated_at()),
            SortKey::Email => left.email().cmp(&right.email()),
        };
        rows.sort_by(|left, right| value(left, right).then(left.id().cmp(&right.id())));
        if direction == Direction::Descending {
            rows.reverse();
        }
        // Stable: those without a value go last, in the order that they have among themselves.
        match sort {
            SortKey::ActivationDate => rows.sort_by_key(|customer| customer.activated_on().is_none()),
            SortKey::Email => rows.sort_by_key(|customer| customer.email().is_none()),
            SortKey::Id | SortKey::DisplayName | SortKey::SubmittedDate | SortKey::CreatedAt | SortKey::UpdatedAt => {}
        }
        rows
    }
}
