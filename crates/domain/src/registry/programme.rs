//! The use cases of the rewards programme: batches of customers with their accounts and cards, all or nothing. Owns
//! how a batch meets what is stored; must not know any wire form.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Caller, Changes, Command, ItemProblem, ItemProblemKind, ItemRefusal, Operation, OperationError, Plan, Registry,
    StaleItem, apply,
};
use crate::account::{
    ACCOUNTS_LIMIT, Account, AccountChange, AccountDetails, AccountId, AccountKind, AccountRule, AccountStatus,
    BrokenRule, Card, CardKey, CardKind, CardStatus, Identifier, Iin, Last4, Network, is_card_number, numbered,
};
use crate::facets::Enrolment;
use crate::ports::{BatchKeys, CustomerKey, Portfolio, Selector, StoreError};
use crate::unit::Basis;
use crate::{
    Answer, Customer, CustomerChange, CustomerPatch, ExternalId, Field, Invalid, Moment, Name, NewCustomer, OfficeId,
    OrganizationId, Patch, Rule, Timestamp, Transition, Version,
};

/// A card as a batch names it: what is left out stays as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardDraft {
    /// Which card of the account.
    pub key: CardKey,
    /// Its issuer.
    pub iin: Option<Iin>,
    /// Its kind.
    pub kind: Option<CardKind>,
    /// Where it stands.
    pub status: Option<CardStatus>,
    /// Its network.
    pub network: Option<Network>,
    /// When it was opened.
    pub opened: Option<Timestamp>,
    /// When it was closed.
    pub closed: Patch<Timestamp>,
}

impl CardDraft {
    /// The key of that holder's card.
    #[must_use]
    pub const fn key_of(holder: ExternalId, last4: Last4) -> CardKey {
        CardKey { holder, last4 }
    }

    /// The card that this makes of what is stored.
    ///
    /// # Errors
    /// The wire names of the members that a new card needs and this lacks.
    pub fn complete(&self, stored: Option<&Card>) -> Result<Card, Vec<&'static str>> {
        let mut missing = Vec::new();
        let mut closed = stored.and_then(|card| card.closed);
        self.closed.apply(&mut closed);
        let iin = self.iin.clone().or_else(|| stored.map(|card| card.iin.clone()));
        let kind = self.kind.or_else(|| stored.map(|card| card.kind));
        let status = self.status.or_else(|| stored.map(|card| card.status));
        let network = self.network.or_else(|| stored.map(|card| card.network));
        let opened = self.opened.or_else(|| stored.map(|card| card.opened));
        let iin = needed(iin, "iin", &mut missing);
        let kind = needed(kind, "cardType", &mut missing);
        let status = needed(status, "status", &mut missing);
        let network = needed(network, "networkIdentifier", &mut missing);
        let opened = needed(opened, "openDate", &mut missing);
        match (iin, kind, status, network, opened) {
            (Some(iin), Some(kind), Some(status), Some(network), Some(opened)) => {
                Ok(Card { iin, kind, status, network, opened, closed })
            }
            _ => Err(missing),
        }
    }
}

fn needed<T>(value: Option<T>, name: &'static str, missing: &mut Vec<&'static str>) -> Option<T> {
    if value.is_none() {
        missing.push(name);
    }
    value
}

/// An account as a batch names it: what is left out stays as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountDraft {
    /// Which account.
    pub id: AccountId,
    /// The version that the account has to be at; `None` for any, or none.
    pub expected: Option<Version>,
    /// Its holders.
    pub holders: Option<BTreeSet<ExternalId>>,
    /// The first among them.
    pub primary: Option<ExternalId>,
    /// Where it stands.
    pub status: Option<AccountStatus>,
    /// Its kind.
    pub kind: Option<AccountKind>,
    /// Its portfolio.
    pub portfolio: Option<ExternalId>,
    /// When it was opened.
    pub opened: Option<Timestamp>,
    /// When it was closed.
    pub closed: Patch<Timestamp>,
}

impl AccountDraft {
    /// The account as it is stored: a draft that changes nothing of its own values.
    #[must_use]
    pub const fn untouched(id: AccountId) -> Self {
        Self {
            id,
            expected: None,
            holders: None,
            primary: None,
            status: None,
            kind: None,
            portfolio: None,
            opened: None,
            closed: Patch::Keep,
        }
    }

    /// The values that this makes of what is stored.
    ///
    /// # Errors
    /// The wire names of the members that a new account needs and this lacks.
    pub fn complete(&self, stored: Option<&AccountDetails>) -> Result<AccountDetails, Vec<&'static str>> {
        let mut missing = Vec::new();
        let mut closed = stored.and_then(|details| details.closed);
        self.closed.apply(&mut closed);
        let holders = self.holders.clone().or_else(|| stored.map(|details| details.holders.clone()));
        let primary = self.primary.clone().or_else(|| stored.map(|details| details.primary.clone()));
        let status = self.status.or_else(|| stored.map(|details| details.status));
        let kind = self.kind.or_else(|| stored.map(|details| details.kind));
        let portfolio = self.portfolio.clone().or_else(|| stored.map(|details| details.portfolio.clone()));
        let opened = self.opened.or_else(|| stored.map(|details| details.opened));
        let holders = needed(holders, "sourceCustomerIds", &mut missing);
        let primary = needed(primary, "primarySourceCustomerId", &mut missing);
        let status = needed(status, "status", &mut missing);
        let kind = needed(kind, "type", &mut missing);
        let portfolio = needed(portfolio, "sourcePortfolioId", &mut missing);
        let opened = needed(opened, "accountOpenDate", &mut missing);
        match (holders, primary, status, kind, portfolio, opened) {
            (Some(holders), Some(primary), Some(status), Some(kind), Some(portfolio), Some(opened)) => {
                Ok(AccountDetails { holders, primary, status, kind, portfolio, opened, closed })
            }
            _ => Err(missing),
        }
    }
}

/// An account with those of its cards that a batch names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPut {
    /// The account.
    pub account: AccountDraft,
    /// The cards.
    pub cards: Vec<CardDraft>,
}

/// A customer of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgrammeItem {
    /// Its external id; distinct within the batch.
    pub customer: ExternalId,
    /// The version that the customer has to be at; `None` for any.
    pub expected: Option<Version>,
    /// Its part in the programme.
    pub enrolment: Enrolment,
    /// Its accounts.
    pub accounts: Vec<AccountPut>,
}

/// What a batch asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Programme {
    /// Customers that do not exist, or exist with the same content.
    Create(Vec<ProgrammeItem>),
    /// Customers that exist: their own values are replaced, the accounts and cards named are created or updated.
    Replace(Vec<ProgrammeItem>),
    /// Accounts to create or update; with `holder`, that customer's, which has to exist.
    Accounts {
        /// The customer that the path names.
        holder: Option<ExternalId>,
        /// The accounts.
        accounts: Vec<AccountPut>,
    },
    /// Cards to create or update, of an account that exists and that the customer holds.
    Cards {
        /// The customer.
        holder: ExternalId,
        /// The account.
        account: AccountId,
        /// The cards.
        cards: Vec<CardDraft>,
    },
}

/// The members, by their wire names, that drafts leave out although the records are new; in the order of the drafts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Of each account.
    pub accounts: Vec<Vec<&'static str>>,
    /// Of each card.
    pub cards: Vec<Vec<&'static str>>,
}

/// A customer of the programme with its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledView {
    /// The customer.
    pub customer: Customer,
    /// Its accounts, by id.
    pub accounts: Vec<Account>,
    /// The organization's portfolios.
    pub portfolios: Vec<Portfolio>,
}

/// Where a batch names an account.
struct Touch {
    item: usize,
    path: Vec<usize>,
    cards: Vec<CardKey>,
}

/// Who is above a customer of a batch.
struct Above {
    /// The item that says so; `None` where it is stored.
    item: Option<usize>,
    customer: ExternalId,
    parent: ExternalId,
}

impl Above {
    /// As the items say; without items, as the customers have it.
    fn all(programme: &Programme, found: &[Option<Customer>]) -> Vec<Self> {
        match programme {
            Programme::Create(items) | Programme::Replace(items) => {
                let of_item = |(at, item): (usize, &ProgrammeItem)| {
                    let parent = item.enrolment.parent.clone()?;
                    Some(Self { item: Some(at), customer: item.customer.clone(), parent })
                };
                items.iter().enumerate().filter_map(of_item).collect()
            }
            Programme::Accounts { .. } | Programme::Cards { .. } => {
                found.iter().flatten().filter_map(Self::stored).collect()
            }
        }
    }

    /// As that customer has it.
    fn stored(customer: &Customer) -> Option<Self> {
        let parent = customer.enrolment()?.parent.clone()?;
        Some(Self { item: None, customer: customer.external_id()?.clone(), parent })
    }
}

/// The accounts that a batch touches, as stored and as the batch leaves them.
struct Workspace {
    stored: BTreeMap<AccountId, Account>,
    /// The accounts of those holders of whom they were read.
    held: BTreeMap<ExternalId, Vec<Account>>,
    /// What was decided on and is not changed; what is, too, until the end.
    basis: Basis,
    working: BTreeMap<AccountId, (AccountDetails, BTreeMap<CardKey, Card>)>,
    /// Where the batch names each account, in its order: there its problems are reported.
    touched: BTreeMap<AccountId, Vec<Touch>>,
    stale: Vec<StaleItem>,
    problems: Vec<ItemProblem>,
    conflicts: Vec<ItemRefusal>,
}

/// How an account of a batch is put.
#[derive(Clone, Copy)]
struct Terms<'a> {
    /// The customer under which it is sent: one of its holders.
    holder: Option<&'a ExternalId>,
    /// Whether an account or card that is there must have the same content.
    only_new: bool,
}

impl Workspace {
    fn of(accounts: Vec<Option<Account>>, held: BTreeMap<ExternalId, Vec<Account>>) -> Self {
        let stored: BTreeMap<_, _> =
            accounts.into_iter().flatten().map(|account| (account.id().clone(), account)).collect();
        let mut basis = Basis::default();
        for account in stored.values() {
            basis.add_account(account);
        }
        let own = |account: &Account| (account.details().clone(), account.cards().clone());
        let working = stored.iter().map(|(id, account)| (id.clone(), own(account))).collect();
        let (touched, stale) = (BTreeMap::new(), Vec::new());
        Self { stored, held, basis, working, touched, stale, problems: Vec::new(), conflicts: Vec::new() }
    }

    /// Reads what those customers hold, where that is not known yet.
    async fn read_held<'a>(
        &mut self,
        registry: &Registry,
        organization: OrganizationId,
        holders: impl Iterator<Item = &'a ExternalId>,
    ) -> Result<(), StoreError> {
        let unknown: BTreeSet<_> = holders.filter(|holder| !self.held.contains_key(*holder)).cloned().collect();
        if !unknown.is_empty() {
            let unknown: Vec<_> = unknown.into_iter().collect();
            let held = registry.ports.accounts.held_by(organization, &unknown).await?;
            self.held.extend(unknown.into_iter().zip(held));
        }
        Ok(())
    }

    fn held(&self, holder: &ExternalId) -> &[Account] {
        self.held.get(holder).map_or(&[], Vec::as_slice)
    }

    /// Puts one account of the batch.
    fn put(&mut self, item: usize, path: &[usize], put: &AccountPut, terms: Terms<'_>) {
        let id = &put.account.id;
        let current = self.stored.get(id).map(Account::version);
        if put.account.expected.is_some() && put.account.expected != current {
            self.stale.push(StaleItem { item, path: path.to_vec(), current });
        }
        let keys = put.cards.iter().map(|draft| draft.key.clone()).collect();
        self.touched.entry(id.clone()).or_default().push(Touch { item, path: path.to_vec(), cards: keys });
        let present = self.working.get(id);
        let mut missing = Vec::new();
        let details = put.account.complete(present.map(|(details, _)| details)).map_err(|names| {
            missing.push((path.to_vec(), names));
        });
        let mut cards = present.map(|(_, cards)| cards.clone()).unwrap_or_default();
        let before = present.map(|(details, _)| details);
        let mut conflict = terms.only_new && details.as_ref().is_ok_and(|after| before.is_some_and(|it| it != after));
        for (place, draft) in put.cards.iter().enumerate() {
            match draft.complete(cards.get(&draft.key)) {
                Ok(card) => {
                    conflict |= terms.only_new && cards.get(&draft.key).is_some_and(|before| *before != card);
                    cards.insert(draft.key.clone(), card);
                }
                Err(names) => missing.push(([path, &[place]].concat(), names)),
            }
        }
        for (path, names) in missing {
            let problem = |name| ItemProblem { item, path: path.clone(), kind: ItemProblemKind::Required(name) };
            self.problems.extend(names.into_iter().map(problem));
        }
        let Ok(details) = details else { return };
        if terms.holder.is_some_and(|holder| !details.holders.contains(holder)) {
            let kind = ItemProblemKind::Account(AccountRule::CustomerNotHolder);
            self.problems.push(ItemProblem { item, path: path.to_vec(), kind });
        }
        if conflict {
            self.conflicts.push(ItemRefusal { item, path: path.to_vec(), id: id.clone(), account: true });
        } else {
            self.working.insert(id.clone(), (details, cards));
        }
    }

    /// Where an account's problem is reported: at that card of it, where the batch names the card.
    fn place(&self, id: &AccountId, card: Option<&CardKey>) -> (usize, Vec<usize>, bool) {
        let touches = self.touched.get(id).map_or(&[][..], Vec::as_slice);
        let named = touches.iter().find_map(|touch| {
            let at = touch.cards.iter().position(|key| Some(key) == card)?;
            Some((touch.item, [&touch.path[..], &[at]].concat(), true))
        });
        let first = || touches.first().map(|touch| (touch.item, touch.path.clone(), false));
        named.or_else(first).unwrap_or_default()
    }

    /// Checks that nobody would hold more accounts than one may.
    async fn check_holdings(&mut self, registry: &Registry, organization: OrganizationId) -> Result<(), StoreError> {
        let new = |id: &AccountId, holder: &ExternalId| {
            !self.stored.get(id).is_some_and(|account| account.details().holders.contains(holder))
        };
        let mut gained: BTreeMap<ExternalId, Vec<AccountId>> = BTreeMap::new();
        for (id, (details, _)) in &self.working {
            for holder in details.holders.iter().filter(|holder| new(id, holder)) {
                gained.entry(holder.clone()).or_default().push(id.clone());
            }
        }
        self.read_held(registry, organization, gained.keys()).await?;
        for (holder, more) in &gained {
            let held = self.held(holder);
            let stays = |account: &&Account| {
                self.working.get(account.id()).is_none_or(|(details, _)| details.holders.contains(holder))
            };
            if held.iter().filter(stays).count() + more.len() > ACCOUNTS_LIMIT {
                let (item, path, _) = self.place(&more[0], None);
                self.problems.push(ItemProblem { item, path, kind: ItemProblemKind::TooManyAccounts });
            }
        }
        Ok(())
    }

    /// The holders of those accounts for which the batch has cards, but for the ones that it names.
    fn other_holders(&self, named: &[ExternalId]) -> Vec<ExternalId> {
        let with_cards = self.touched.iter().filter(|(_, touches)| touches.iter().any(|touch| !touch.cards.is_empty()));
        let accounts = with_cards.filter_map(|(id, _)| self.working.get(id));
        let named: BTreeSet<_> = named.iter().collect();
        let all: BTreeSet<_> =
            accounts.flat_map(|(details, _)| &details.holders).filter(|holder| !named.contains(holder)).collect();
        all.into_iter().cloned().collect()
    }

    /// Checks that no customer above another is named by the whole number of one of that other's cards.
    async fn check_parents(
        &mut self,
        registry: &Registry,
        organization: OrganizationId,
        parents: Vec<Above>,
    ) -> Result<(), StoreError> {
        let suspects: Vec<_> = parents.into_iter().filter(|it| is_card_number(it.parent.as_str())).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        self.read_held(registry, organization, suspects.iter().map(|it| &it.customer)).await?;
        for Above { item, customer, parent } in &suspects {
            let held = self.held.get(customer).map_or(&[][..], Vec::as_slice);
            for account in held {
                self.basis.add_account(account);
            }
            let worked = self.working.iter().filter(|(_, (details, _))| details.holders.contains(customer));
            let others = held.iter().filter(|account| !self.working.contains_key(account.id()));
            let all = worked.map(|(id, (_, cards))| (id, cards));
            let all = all.chain(others.map(|account| (account.id(), account.cards())));
            let cards = all.flat_map(|(id, cards)| numbered(cards, parent).map(move |key| (id, key)));
            let problems = cards.filter_map(|(id, key)| {
                if let Some(item) = *item {
                    let kind = ItemProblemKind::ParentIsCardNumber;
                    return Some(ItemProblem { item, path: Vec::new(), kind });
                }
                let (item, path, at_card) = self.place(id, Some(key));
                let kind = ItemProblemKind::Card(AccountRule::CardNumber(Identifier::Parent));
                at_card.then_some(ItemProblem { item, path, kind })
            });
            let problems: Vec<_> = problems.collect();
            self.problems.extend(problems);
        }
        Ok(())
    }

    /// The changes, unless something stands against them.
    fn changes(
        mut self,
        organization: OrganizationId,
        moment: Moment,
    ) -> Result<(Vec<AccountChange>, Basis), OperationError> {
        let mut changes = Vec::new();
        for (id, (details, cards)) in std::mem::take(&mut self.working) {
            let stored = self.stored.get(&id);
            match Account::put(stored, organization, id.clone(), details, cards, moment) {
                Ok(outcome) => {
                    if let Some(change) = outcome.applied() {
                        self.basis.accounts.remove(&id);
                        changes.push(change);
                    }
                }
                Err(broken) => {
                    let problems = broken.into_iter().map(|BrokenRule { card, rule }| {
                        let (item, path, at_card) = self.place(&id, card.as_ref());
                        let kind = if at_card { ItemProblemKind::Card(rule) } else { ItemProblemKind::Account(rule) };
                        ItemProblem { item, path, kind }
                    });
                    let problems: Vec<_> = problems.collect();
                    self.problems.extend(problems);
                }
            }
        }
        // What stands in the way of a stale item need not stand in the way of what its sender would send now.
        if !self.stale.is_empty() {
            return Err(OperationError::StaleItems(self.stale));
        }
        if !self.problems.is_empty() {
            return Err(OperationError::InvalidItems(self.problems));
        }
        if !self.conflicts.is_empty() {
            return Err(OperationError::RefusedItems { absent: false, items: self.conflicts });
        }
        Ok((changes, self.basis))
    }
}

/// The accounts and cards that a batch names, whoever sends them.
struct Carried(BTreeMap<AccountId, BTreeSet<CardKey>>);

impl Carried {
    fn by(items: &[ProgrammeItem]) -> Self {
        let mut all: BTreeMap<AccountId, BTreeSet<CardKey>> = BTreeMap::new();
        for put in items.iter().flat_map(|item| &item.accounts) {
            all.entry(put.account.id.clone()).or_default().extend(put.cards.iter().map(|draft| draft.key.clone()));
        }
        Self(all)
    }

    /// Whether a customer that exists has the content that an item gives it: nothing that the item carries differs from
    /// what is stored, and the batch leaves out none of its cards, nor an account of which it is the primary holder. What
    /// other holders have added to a joint account since is no part of its content.
    fn is_content_of(&self, item: &ProgrammeItem, customer: &Customer, held: &[Account]) -> bool {
        let same = item.accounts.iter().all(|put| {
            let Some(account) = held.iter().find(|account| *account.id() == put.account.id) else { return false };
            let same_card = |draft: &CardDraft| {
                let card = account.cards().get(&draft.key);
                card.is_some() && draft.complete(card).ok().as_ref() == card
            };
            put.account.complete(Some(account.details())).as_ref() == Ok(account.details())
                && put.cards.iter().all(same_card)
        });
        let whole = held.iter().all(|account| match self.0.get(account.id()) {
            Some(cards) => account.cards().keys().all(|key| key.holder != item.customer || cards.contains(key)),
            None => account.details().primary != item.customer,
        });
        customer.enrolment() == Some(&item.enrolment) && same && whole
    }
}

impl Programme {
    fn account_ids(&self) -> BTreeSet<AccountId> {
        match self {
            Self::Create(items) | Self::Replace(items) => {
                items.iter().flat_map(|item| &item.accounts).map(|put| put.account.id.clone()).collect()
            }
            Self::Accounts { accounts, .. } => accounts.iter().map(|put| put.account.id.clone()).collect(),
            Self::Cards { account, .. } => BTreeSet::from([account.clone()]),
        }
    }

    /// Those whose accounts are needed whatever is found: holders that a creation brings, or compares.
    fn holders(&self) -> Vec<ExternalId> {
        let Self::Create(items) = self else { return Vec::new() };
        let drafts = items.iter().flat_map(|item| &item.accounts).filter_map(|put| put.account.holders.as_ref());
        let all: BTreeSet<_> = items.iter().map(|item| &item.customer).chain(drafts.flatten()).collect();
        all.into_iter().cloned().collect()
    }

    fn customers(&self) -> Vec<ExternalId> {
        match self {
            Self::Create(items) | Self::Replace(items) => items.iter().map(|item| item.customer.clone()).collect(),
            Self::Accounts { holder, .. } => holder.iter().cloned().collect(),
            Self::Cards { holder, .. } => vec![holder.clone()],
        }
    }
}

struct Batch<'a>(&'a Programme);

impl Operation for Batch<'_> {
    type Shown = ();

    // Two requests that create the same batch at once: the later one finds what it asks for.
    const MEETS_TAKEN_IDS: bool = true;

    async fn plan(&self, registry: &Registry, caller: &Caller, moment: Moment) -> Result<Plan<()>, OperationError> {
        let organization = caller.organization;
        let (customers, holders) = (self.0.customers(), self.0.holders());
        let accounts = self.0.account_ids().into_iter().collect();
        let keys = BatchKeys { customers, accounts, holders };
        let met = registry.ports.customers.meet(organization, &keys).await?;
        let found = met.customers;
        let mut parents = Above::all(self.0, &found);
        let mut workspace = Workspace::of(met.accounts, keys.holders.into_iter().zip(met.held).collect());
        let customers = match self.0 {
            Programme::Create(items) => create(registry, organization, items, found, &mut workspace, moment).await?,
            Programme::Replace(items) => replace(items, found, &mut workspace, moment)?,
            Programme::Accounts { holder, accounts } => {
                require_all(holder.as_slice(), &found)?;
                found.iter().flatten().for_each(|customer| workspace.basis.add_customer(customer));
                for (item, put) in accounts.iter().enumerate() {
                    workspace.put(item, &[], put, Terms { holder: holder.as_ref(), only_new: false });
                }
                Vec::new()
            }
            Programme::Cards { holder, account, cards } => {
                require_all(std::slice::from_ref(holder), &found)?;
                found.iter().flatten().for_each(|customer| workspace.basis.add_customer(customer));
                let held =
                    workspace.stored.get(account).is_some_and(|account| account.details().holders.contains(holder));
                if !held {
                    let refusal = ItemRefusal { item: 0, path: Vec::new(), id: account.clone(), account: true };
                    return Err(OperationError::RefusedItems { absent: true, items: vec![refusal] });
                }
                let account = AccountDraft::untouched(account.clone());
                let terms = Terms { holder: None, only_new: false };
                workspace.put(0, &[], &AccountPut { account, cards: cards.clone() }, terms);
                Vec::new()
            }
        };
        workspace.check_holdings(registry, organization).await?;
        let others = workspace.other_holders(&keys.customers);
        parents.extend(stored_parents(registry, organization, &others, &mut workspace.basis).await?);
        workspace.check_parents(registry, organization, parents).await?;
        let (accounts, basis) = workspace.changes(organization, moment)?;
        Ok(Plan { changes: Changes { customers, accounts, basis, ..Changes::default() }, shown: () })
    }
}

/// Who is above those customers, as far as they are there.
async fn stored_parents(
    registry: &Registry,
    organization: OrganizationId,
    names: &[ExternalId],
    basis: &mut Basis,
) -> Result<Vec<Above>, StoreError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let key = |id: &ExternalId| CustomerKey { organization, selector: Selector::ExternalId(id.clone()) };
    let found = registry.ports.customers.find(&names.iter().map(key).collect::<Vec<_>>()).await?;
    found.iter().flatten().for_each(|customer| basis.add_customer(customer));
    Ok(found.iter().flatten().filter_map(Above::stored).collect())
}

/// Everything named has to exist.
fn require_all(names: &[ExternalId], found: &[Option<Customer>]) -> Result<(), OperationError> {
    let absent = names.iter().zip(found).enumerate().filter(|(_, (_, customer))| customer.is_none());
    let items: Vec<_> = absent.map(|(item, (id, _))| refused(item, id)).collect();
    if items.is_empty() { Ok(()) } else { Err(OperationError::RefusedItems { absent: true, items }) }
}

fn refused(item: usize, customer: &ExternalId) -> ItemRefusal {
    ItemRefusal { item, path: Vec::new(), id: customer.clone(), account: false }
}

fn invalid(item: usize, problems: Vec<Invalid>) -> impl Iterator<Item = ItemProblem> {
    let problem = move |invalid| ItemProblem { item, path: Vec::new(), kind: ItemProblemKind::Customer(invalid) };
    problems.into_iter().map(problem)
}

/// Nobody is a customer since a later instant, whatever day it is in the deployment's zone.
fn since_later(enrolment: &Enrolment, moment: Moment) -> Option<Invalid> {
    (enrolment.customer_since > moment.at).then_some(Invalid { field: Field::CustomerSince, rule: Rule::InFuture })
}

async fn create(
    registry: &Registry,
    organization: OrganizationId,
    items: &[ProgrammeItem],
    found: Vec<Option<Customer>>,
    workspace: &mut Workspace,
    moment: Moment,
) -> Result<Vec<CustomerChange>, OperationError> {
    let office = registry.offices(organization).await?.default;
    let new = found.iter().filter(|customer| customer.is_none()).count();
    let mut ids = if new == 0 { Vec::new() } else { registry.customer_ids(organization, new).await? }.into_iter();
    // Of no use where all of them are new, which most are.
    let carried = Carried::by(if new < items.len() { items } else { &[] });
    let mut changes = Vec::new();
    for (at, (item, found)) in items.iter().zip(found).enumerate() {
        if let Some(customer) = found {
            let held = workspace.held.get(&item.customer).map_or(&[][..], Vec::as_slice);
            if carried.is_content_of(item, &customer, held) {
                workspace.basis.add_customer(&customer);
                for account in held {
                    workspace.basis.add_account(account);
                }
            } else {
                workspace.conflicts.push(refused(at, &item.customer));
            }
            continue;
        }
        let draft = draft(item, office, moment);
        let mut problems = draft.problems(moment.today);
        if problems.is_empty() {
            problems.extend(since_later(&item.enrolment, moment));
        }
        if problems.is_empty() {
            let id = ids.next().expect("one number for each new customer");
            let (customer, event) = Customer::open(organization, id, draft, moment)?;
            changes.push(CustomerChange::kept(customer, vec![event]));
        } else {
            workspace.problems.extend(invalid(at, problems));
        }
        for (place, put) in item.accounts.iter().enumerate() {
            workspace.put(at, &[place], put, Terms { holder: Some(&item.customer), only_new: true });
        }
    }
    Ok(changes)
}

/// A customer that the programme brings: Active since it is the institution's customer, in the deployment's days.
fn draft(item: &ProgrammeItem, office: OfficeId, moment: Moment) -> NewCustomer {
    let since = item.enrolment.customer_since.date_utc();
    // West of Greenwich the UTC date of an instant that has passed may be tomorrow's.
    let since = if item.enrolment.customer_since <= moment.at { since.min(moment.today) } else { since };
    NewCustomer {
        external_id: Some(item.customer.clone()),
        activated: Some(since),
        submitted: Some(since),
        enrolment: Some(item.enrolment.clone()),
        ..NewCustomer::named(office, Name::FollowsExternalId)
    }
}

fn replace(
    items: &[ProgrammeItem],
    found: Vec<Option<Customer>>,
    workspace: &mut Workspace,
    moment: Moment,
) -> Result<Vec<CustomerChange>, OperationError> {
    let names: Vec<_> = items.iter().map(|item| item.customer.clone()).collect();
    require_all(&names, &found)?;
    let mut changes = Vec::new();
    for (at, (item, customer)) in items.iter().zip(found.into_iter().flatten()).enumerate() {
        if item.expected.is_some_and(|expected| expected != customer.version()) {
            workspace.stale.push(StaleItem { item: at, path: Vec::new(), current: Some(customer.version()) });
        }
        if customer.permit(Transition::Update).is_err() {
            workspace.conflicts.push(refused(at, &item.customer));
            continue;
        }
        let patch = CustomerPatch { enrolment: Some(item.enrolment.clone()), ..CustomerPatch::default() };
        let mut problems = patch.problems(moment.today);
        if problems.is_empty() {
            problems.extend(since_later(&item.enrolment, moment));
        }
        if problems.is_empty() {
            let (changed, customer) = apply(customer, &Command::Update(patch), moment)?;
            if changed.is_empty() {
                workspace.basis.add_customer(&customer);
            }
            changes.extend(changed);
        } else {
            workspace.problems.extend(invalid(at, problems));
        }
        for (place, put) in item.accounts.iter().enumerate() {
            workspace.put(at, &[place], put, Terms { holder: Some(&item.customer), only_new: false });
        }
    }
    Ok(changes)
}

impl Registry {
    /// Applies a batch, all or nothing.
    pub async fn programme<R>(&self, caller: &Caller, programme: &Programme, render: R) -> Answer
    where
        R: Fn(Result<&(), &OperationError>) -> Answer + Send + Sync,
    {
        self.execute(caller, &Batch(programme), render).await
    }

    /// What drafts of a batch lack, as far as it can be told while other parts of the batch cannot be read.
    ///
    /// # Errors
    /// [`StoreError`] when a store cannot answer.
    pub async fn lacking(
        &self,
        organization: OrganizationId,
        accounts: &[AccountDraft],
        cards: &[(AccountId, CardDraft)],
    ) -> Result<Lacking, StoreError> {
        let ids = accounts.iter().map(|draft| &draft.id).chain(cards.iter().map(|(account, _)| account));
        let ids: BTreeSet<_> = ids.cloned().collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let found = if ids.is_empty() { Vec::new() } else { self.ports.accounts.accounts(organization, &ids).await? };
        let stored: BTreeMap<_, _> =
            found.into_iter().flatten().map(|account| (account.id().clone(), account)).collect();
        let of_account = |draft: &AccountDraft| {
            draft.complete(stored.get(&draft.id).map(Account::details)).err().unwrap_or_default()
        };
        let of_card = |(account, draft): &(AccountId, CardDraft)| {
            let card = stored.get(account).and_then(|account| account.cards().get(&draft.key));
            draft.complete(card).err().unwrap_or_default()
        };
        Ok(Lacking { accounts: accounts.iter().map(of_account).collect(), cards: cards.iter().map(of_card).collect() })
    }

    /// A customer with its accounts; `None` where the organization has none of that external id.
    ///
    /// # Errors
    /// [`StoreError`] when a store cannot answer.
    pub async fn enrolled(
        &self,
        organization: OrganizationId,
        id: &ExternalId,
    ) -> Result<Option<EnrolledView>, StoreError> {
        let Some(customer) = self.find(organization, Selector::ExternalId(id.clone())).await? else { return Ok(None) };
        let held = self.ports.accounts.held_by(organization, std::slice::from_ref(id)).await?;
        let portfolios = self.ports.directory.portfolios(organization).await?;
        Ok(Some(EnrolledView { customer, accounts: held.into_iter().next().unwrap_or_default(), portfolios }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Date;
    use crate::facets::{CountryCode, OptIn, PostalCode, Subsidiary, Targeting};

    fn item(since: &str) -> ProgrammeItem {
        let at = |text| Timestamp::parse(text).unwrap();
        let enrolment = Enrolment {
            parent: None,
            subsidiary: Subsidiary::parse("50004").unwrap(),
            postal_code: PostalCode::parse("78753").unwrap(),
            country: CountryCode::parse("US").unwrap(),
            customer_since: at(since),
            starts: at("2023-01-01T08:00:00Z"),
            ends: None,
            opt_in: OptIn::Active,
            alerts: BTreeSet::new(),
            targeting: Targeting::Target,
            redemption: None,
        };
        ProgrammeItem { customer: ExternalId::parse("ada").unwrap(), expected: None, enrolment, accounts: Vec::new() }
    }

    #[test]
    fn a_customer_since_an_hour_ago_is_one_in_every_zone() {
        let at = Timestamp::parse("2026-05-22T01:00:00Z").unwrap();
        for (today, since) in [("2026-05-21", "2026-05-21"), ("2026-05-22", "2026-05-22")] {
            let moment = Moment { at, today: Date::parse(today).unwrap() };
            let item = item("2026-05-22T00:00:00Z");
            let draft = draft(&item, OfficeId::FIRST, moment);
            assert_eq!(draft.problems(moment.today), []);
            assert_eq!(since_later(&item.enrolment, moment), None);
            assert_eq!(draft.activated.unwrap().to_string(), since);
            assert!(since_later(&self::item("2026-05-22T01:00:01Z").enrolment, moment).is_some());
        }
    }
}
