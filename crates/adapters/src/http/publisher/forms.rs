//! The bodies that clients send, read into batches.
//!
//! Owns their members and which belong together. It must not decide anything that only stored state can tell: the domain does.

use std::collections::{BTreeMap, BTreeSet};

use custodia_domain::account::{
    ACCOUNTS_LIMIT, AccountId, AccountKind, AccountRule, AccountStatus, CARDS_LIMIT, CardKey, CardKind, CardStatus,
    CardValueError, HOLDERS_LIMIT, Iin, Last4, Network, is_number_of,
};
use custodia_domain::customer::Rule;
use custodia_domain::facets::{Alert, CountryCode, Enrolment, OptIn, PostalCode, Redemption, Subsidiary, Targeting};
use custodia_domain::ports::StoreError;
use custodia_domain::registry::{AccountDraft, AccountPut, CardDraft, ProgrammeItem, Registry};
use custodia_domain::{ExternalId, OrganizationId, Patch, Timestamp, Version};

use super::error::{EXPECTED_VERSION, Problems, rule_text};
use super::fields::{CARD_NUMBER, Fields, Form, id, one_of, text, time};
use crate::http::json::Json;

/// The most items of a batch.
const BATCH: usize = 50;

/// What a batch has named so far, with where, and when it is read.
struct Batch {
    now: Timestamp,
    form: Form,
    /// Whether its items may say which version they expect.
    replaces: bool,
    customers: BTreeMap<ExternalId, String>,
    accounts: BTreeMap<AccountId, (String, AccountDraft)>,
    cards: BTreeMap<(AccountId, CardKey), (String, CardDraft)>,
}

impl Batch {
    fn new(now: Timestamp, form: Form) -> Self {
        let (customers, accounts, cards) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { now, form, replaces: true, customers, accounts, cards }
    }
}

/// What a batch names, as far as it can be read, and where.
#[derive(Default)]
pub(super) struct Named {
    places: Vec<String>,
    accounts: Vec<AccountDraft>,
    card_places: Vec<String>,
    cards: Vec<(AccountId, CardDraft)>,
}

impl Named {
    fn by(batch: Batch) -> Self {
        let (places, accounts) = batch.accounts.into_values().unzip();
        let cards = batch.cards.into_iter().map(|((account, _), (place, draft))| (place, (account, draft)));
        let (card_places, cards) = cards.unzip();
        Self { places, accounts, card_places, cards }
    }

    /// Adds what new records lack to the problems that a request has already.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub(super) async fn tell_lacking(
        &self,
        registry: &Registry,
        organization: OrganizationId,
        problems: &mut Problems,
    ) -> Result<(), StoreError> {
        if problems.is_empty() {
            return Ok(());
        }
        let lacking = registry.lacking(organization, &self.accounts, &self.cards).await?;
        let told = problems.places();
        let accounts = self.places.iter().zip(lacking.accounts);
        for (place, names) in accounts.chain(self.card_places.iter().zip(lacking.cards)) {
            let missing = names.into_iter().map(|name| format!("{place}.{name}")).filter(|at| !told.contains(at));
            missing.for_each(|at| problems.add(at, rule_text(Rule::Required)));
        }
        Ok(())
    }
}

/// Whether a batch creates what it carries or replaces it: only what is there has a version to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    Create,
    Replace,
}

/// Reads a batch of whole customers.
pub(super) fn customers(
    body: Option<&Json>,
    terms: Terms,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<Vec<ProgrammeItem>> {
    let mut batch = Batch { replaces: terms == Terms::Replace, ..Batch::new(now, Form::Whole) };
    let mut fields = Fields::of(body?, String::new(), Form::Whole, problems)?;
    let items = fields.required_array("customers", 1, BATCH);
    let read = items.iter().enumerate().map(|(at, item)| {
        let path = format!("customers[{at}]");
        customer(item, &path, &mut batch, fields.problems)
    });
    let read: Vec<_> = read.collect();
    fields.finish();
    read.into_iter().collect()
}

/// Reads a batch of accounts, or of changes of them; with `holder`, that customer's. What it names is known even where the
/// whole of it cannot be read.
pub(super) fn accounts(
    body: Option<&Json>,
    holder: Option<&ExternalId>,
    now: Timestamp,
    problems: &mut Problems,
) -> (Option<Vec<AccountPut>>, Named) {
    let mut batch = Batch::new(now, Form::Changes);
    let fields = body.and_then(|body| Fields::of(body, String::new(), Form::Whole, problems));
    let Some(mut fields) = fields else { return (None, Named::default()) };
    let items = fields.required_array("accounts", 1, BATCH);
    let read = items.iter().enumerate().map(|(at, item)| {
        let path = format!("accounts[{at}]");
        account(item, &path, holder, &mut batch, fields.problems)
    });
    let read: Vec<_> = read.collect();
    fields.finish();
    (read.into_iter().collect(), Named::by(batch))
}

/// Reads a batch of cards of one account, or of changes of them; like [`accounts`].
pub(super) fn cards(
    body: Option<&Json>,
    account: Option<&AccountId>,
    now: Timestamp,
    problems: &mut Problems,
) -> (Option<Vec<CardDraft>>, Named) {
    let mut batch = Batch::new(now, Form::Changes);
    let fields = body.and_then(|body| Fields::of(body, String::new(), Form::Whole, problems));
    let Some(mut fields) = fields else { return (None, Named::default()) };
    let items = fields.required_array("cards", 1, BATCH);
    let read = items.iter().enumerate().map(|(at, item)| {
        let path = format!("cards[{at}]");
        card(item, &path, Owner { account, holders: None }, &mut batch, fields.problems)
    });
    let read: Vec<_> = read.collect();
    fields.finish();
    (read.into_iter().collect(), Named::by(batch))
}

fn customer(value: &Json, path: &str, batch: &mut Batch, problems: &mut Problems) -> Option<ProgrammeItem> {
    let mut fields = Fields::of(value, path.to_owned(), batch.form, problems)?;
    let customer = fields.key("sourceCustomerId", id);
    if let Some(customer) = &customer {
        let before = batch.customers.entry(customer.clone()).or_insert_with(|| path.to_owned());
        if *before != path {
            fields.problem("sourceCustomerId", format_args!("is named by {before} already"));
        }
    }
    let expected = expected(&mut fields, batch);
    let parent = fields.optional("sourceParentCustomerId", id);
    let enrolment = enrolment(&mut fields, parent.clone(), batch.now);
    let items = fields.required_array("accounts", 0, ACCOUNTS_LIMIT);
    let read = items.iter().enumerate().map(|(at, item)| {
        let path = format!("{path}.accounts[{at}]");
        account(item, &path, customer.as_ref(), batch, fields.problems)
    });
    let accounts: Vec<_> = read.collect();
    let cards: Vec<_> = accounts.iter().flatten().flat_map(|put| &put.cards).collect();
    let named = [("sourceCustomerId", &customer), ("sourceParentCustomerId", &parent)];
    refuse_numbers(&mut fields, named.into_iter().filter_map(|(name, id)| Some((name, id.as_ref()?))), &cards);
    fields.finish();
    let accounts = accounts.into_iter().collect::<Option<_>>();
    Some(ProgrammeItem { customer: customer?, expected, enrolment: enrolment?, accounts: accounts? })
}

/// The version that an item has to be at.
fn expected(fields: &mut Fields<'_, '_>, batch: &Batch) -> Option<Version> {
    let read = |value: &Json| {
        let number = value.as_i64().and_then(|number| Version::parse(number).ok());
        number.ok_or_else(|| "must be a positive integer".to_owned())
    };
    if batch.replaces { fields.optional(EXPECTED_VERSION, read) } else { None }
}

fn enrolment(fields: &mut Fields<'_, '_>, parent: Option<ExternalId>, now: Timestamp) -> Option<Enrolment> {
    let subsidiary = fields.required("organizationId", text(Subsidiary::parse));
    let postal_code = fields.required("postalCode", text(PostalCode::parse));
    let country = fields.required("country", text(CountryCode::parse));
    let customer_since = fields.required("customerCreationDate", time);
    if customer_since.is_some_and(|since| since > now) {
        fields.problem("customerCreationDate", rule_text(Rule::InFuture));
    }
    let starts = fields.required("enrollmentStartDate", time);
    let ends = fields.optional("enrollmentEndDate", time);
    if starts.zip(ends).is_some_and(|(starts, ends)| ends < starts) {
        fields.problem("enrollmentEndDate", rule_text(Rule::BeforeEnrolment));
    }
    let opt_in = fields.required("enrollmentOptInStatus", one_of(OptIn::ALL, OptIn::label));
    let alerts = alerts(fields);
    let targeting = fields.required("targetingIndicator", one_of(Targeting::ALL, Targeting::label));
    let redemption = fields.optional("redemptionEligibility", one_of(Redemption::ALL, Redemption::label));
    Some(Enrolment {
        parent,
        subsidiary: subsidiary?,
        postal_code: postal_code?,
        country: country?,
        customer_since: customer_since?,
        starts: starts?,
        ends,
        opt_in: opt_in?,
        alerts,
        targeting: targeting?,
        redemption,
    })
}

fn alerts(fields: &mut Fields<'_, '_>) -> BTreeSet<Alert> {
    let read = one_of(Alert::ALL, Alert::label);
    let mut alerts = BTreeSet::new();
    for (at, item) in fields.required_array("alertOptInStatus", 0, 100).iter().enumerate() {
        match read(item) {
            Ok(alert) => drop(alerts.insert(alert)),
            Err(error) => fields.problem(&format!("alertOptInStatus[{at}]"), error),
        }
    }
    alerts
}

fn account(
    value: &Json,
    path: &str,
    customer: Option<&ExternalId>,
    batch: &mut Batch,
    problems: &mut Problems,
) -> Option<AccountPut> {
    let mut fields = Fields::of(value, path.to_owned(), batch.form, problems)?;
    let account = fields.key("sourceAccountId", id);
    let expected = expected(&mut fields, batch);
    let holders = holders(&mut fields);
    if let (Some(holders), Some(customer)) = (&holders, customer)
        && !holders.contains(customer)
    {
        fields.problem("sourceCustomerIds", AccountRule::CustomerNotHolder);
    }
    let primary = fields.required("primarySourceCustomerId", id);
    if let (Some(holders), Some(primary)) = (&holders, &primary)
        && !holders.contains(primary)
    {
        fields.problem("primarySourceCustomerId", AccountRule::PrimaryNotHolder);
    }
    let status = fields.required("status", one_of(AccountStatus::ALL, AccountStatus::label));
    let kind = fields.required("type", one_of(AccountKind::ALL, AccountKind::label));
    let portfolio = fields.required("sourcePortfolioId", id);
    let opened = fields.required("accountOpenDate", time);
    let closed = fields.closing("accountCloseDate");
    check_closing(&mut fields, "accountCloseDate", status.map(|it| it == AccountStatus::Closed), opened, &closed);
    let owner = Owner { account: account.as_ref(), holders: holders.as_ref() };
    let items = fields.array("cards", CARDS_LIMIT);
    let read = items.iter().enumerate().map(|(at, item)| {
        let path = format!("{path}.cards[{at}]");
        card(item, &path, owner, batch, fields.problems)
    });
    let cards: Vec<_> = read.collect();
    let ids = [("primarySourceCustomerId", &primary), ("sourcePortfolioId", &portfolio), ("sourceAccountId", &account)];
    let ids = ids.into_iter().filter_map(|(name, id)| Some((name, id.as_ref()?)));
    let ids = ids.chain(holders.iter().flatten().map(|id| ("sourceCustomerIds", id)));
    refuse_numbers(&mut fields, ids, &cards.iter().flatten().collect::<Vec<_>>());
    let draft = AccountDraft { id: account?, expected, holders, primary, status, kind, portfolio, opened, closed };
    note_account(&mut fields, path, &draft, batch);
    fields.finish();
    Some(AccountPut { account: draft, cards: cards.into_iter().collect::<Option<_>>()? })
}

fn holders(fields: &mut Fields<'_, '_>) -> Option<BTreeSet<ExternalId>> {
    let name = "sourceCustomerIds";
    // A change may leave it out; where it is there, it is a required array.
    fields.required(name, |value| value.as_array().map(|_| ()).ok_or_else(|| "must be an array".to_owned()))?;
    let items = fields.required_array(name, 1, HOLDERS_LIMIT);
    let mut holders = BTreeSet::new();
    let mut whole = !items.is_empty();
    for (at, item) in items.iter().enumerate() {
        match id(item) {
            Ok(holder) => drop(holders.insert(holder)),
            Err(error) => {
                whole = false;
                fields.problem(&format!("{name}[{at}]"), error);
            }
        }
    }
    whole.then_some(holders)
}

/// The account that a card is sent under, as far as it could be read.
#[derive(Clone, Copy)]
struct Owner<'a> {
    account: Option<&'a AccountId>,
    /// Its holders, where the request names them.
    holders: Option<&'a BTreeSet<ExternalId>>,
}

fn card(value: &Json, path: &str, owner: Owner<'_>, batch: &mut Batch, problems: &mut Problems) -> Option<CardDraft> {
    let mut fields = Fields::of(value, path.to_owned(), batch.form, problems)?;
    let account = fields.key("sourceAccountId", id);
    if let (Some(account), Some(owner)) = (&account, owner.account)
        && account != owner
    {
        fields.problem("sourceAccountId", "must be the account's");
    }
    let holder = fields.key("sourceCustomerId", id);
    if let (Some(holder), Some(holders)) = (&holder, owner.holders)
        && !holders.contains(holder)
    {
        fields.problem("sourceCustomerId", AccountRule::CardOfStranger);
    }
    let last4 = fields.key("last4", text(Last4::parse));
    let iin = fields.required("iin", text(Iin::parse));
    let kind = fields.required("cardType", one_of(CardKind::ALL, CardKind::label));
    let status = fields.required("status", one_of(CardStatus::ALL, CardStatus::label));
    let network = fields.required("networkIdentifier", network);
    let opened = fields.required("openDate", time);
    let closed = fields.closing("closeDate");
    check_closing(&mut fields, "closeDate", status.map(|it| it == CardStatus::Closed), opened, &closed);
    if let (Some(iin), Some(last4)) = (&iin, &last4) {
        for (name, id) in [("sourceAccountId", &account), ("sourceCustomerId", &holder)] {
            if id.as_ref().is_some_and(|id| is_number_of(id.as_str(), iin, last4)) {
                fields.problem(name, CARD_NUMBER);
            }
        }
    }
    let key = holder.zip(last4).map(|(holder, last4)| CardKey { holder, last4 });
    let draft = key.map(|key| CardDraft { key, iin, kind, status, network, opened, closed });
    if let (Some(account), Some(draft)) = (account, &draft) {
        note_card(&mut fields, path, account, draft, batch);
    }
    fields.finish();
    draft
}

/// An integer, or its digits in a string.
fn network(value: &Json) -> Result<Network, String> {
    let digits = |text: &str| {
        let number = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
        Network::parse(number.ok_or(CardValueError::Network)?)
    };
    match value {
        Json::Integer(number) => Network::parse(*number).map_err(|error| error.to_string()),
        Json::String(_) => text(digits)(value),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            Err("must be an integer or a string of digits".to_owned())
        }
    }
}

fn check_closing(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    is_closed: Option<bool>,
    opened: Option<Timestamp>,
    closed: &Patch<Timestamp>,
) {
    let broken = match (is_closed, closed) {
        (Some(true), Patch::Clear) => Some(AccountRule::ClosedWithoutDate),
        (Some(false), Patch::Set(_)) => Some(AccountRule::DateWithoutClosed),
        (_, Patch::Set(closed)) if opened.is_some_and(|opened| *closed < opened) => {
            Some(AccountRule::ClosedBeforeOpened)
        }
        _ => None,
    };
    if let Some(rule) = broken {
        fields.problem(name, rule);
    }
}

/// Refuses identifiers that are the whole number of one of those cards.
fn refuse_numbers<'a>(
    fields: &mut Fields<'_, '_>,
    ids: impl Iterator<Item = (&'static str, &'a ExternalId)>,
    cards: &[&CardDraft],
) {
    for (name, id) in ids {
        let is_number =
            |card: &CardDraft| card.iin.as_ref().is_some_and(|iin| is_number_of(id.as_str(), iin, &card.key.last4));
        if cards.iter().copied().any(is_number) {
            fields.problem(name, CARD_NUMBER);
        }
    }
}

/// Notes where an account stands; one may stand under several of its holders, but only with the same values.
fn note_account(fields: &mut Fields<'_, '_>, path: &str, draft: &AccountDraft, batch: &mut Batch) {
    match batch.accounts.get(&draft.id) {
        None => drop(batch.accounts.insert(draft.id.clone(), (path.to_owned(), draft.clone()))),
        Some((before, _)) if array_of(before) == array_of(path) => {
            fields.problem("sourceAccountId", format_args!("is named by {before} already"));
        }
        Some((before, other)) if other != draft => {
            fields.problem("sourceAccountId", format_args!("contradicts {before}"));
        }
        Some(_) => {}
    }
}

fn note_card(fields: &mut Fields<'_, '_>, path: &str, account: AccountId, draft: &CardDraft, batch: &mut Batch) {
    let key = (account, draft.key.clone());
    match batch.cards.get(&key) {
        None => drop(batch.cards.insert(key, (path.to_owned(), draft.clone()))),
        Some((before, _)) if array_of(before) == array_of(path) => {
            fields.problem("last4", format_args!("is named by {before} already"));
        }
        Some((before, other)) if other != draft => fields.problem("last4", format_args!("contradicts {before}")),
        Some(_) => {}
    }
}

/// The array that an item stands in.
fn array_of(path: &str) -> &str {
    path.rsplit_once('[').map_or("", |(array, _)| array)
}
