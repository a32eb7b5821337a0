//! The use cases of the rewards programme: batches of customers with their accounts and cards, all or nothing. Owns
//! how a batch meets what is stored; must not know any wire form.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Caller, Changes, Command, ItemProblem, ItemProblemKind, ItemRefusal, Operation, OperationError, Plan, Registry,
    apply,
};
use crate::account::{
    ACCOUNTS_LIMIT, Account, AccountDetails, AccountId, AccountKind, AccountStatus, Card, CardKey, CardKind,
    CardStatus, Iin, Last4, Network,
};
use crate::facets::Enrolment;
use crate::ports::{CustomerKey, Portfolio, Selector, StoreError};
use crate::{
    Answer, Customer, CustomerChange, CustomerPatch, ExternalId, Moment, Name, NewCustomer, OrganizationId, Patch,
    Timestamp, Transition,
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

    fn complete(&self, stored: Option<&Card>) -> Result<Card, Vec<&'static str>> {
        let mut missing = Vec::new();
        let mut closed = stored.and_then(|card| card.closed);
        self.closed.apply(&mut closed);
        let iin = self.iin.clone().or_else(|| stored.map(|card| card.iin.clone()));
        let kind = self.kind.or_else(|| stored.map(|card| card.kind));
        let status = self.status.or_else(|| stored.map(|card| card.status));
        let network = self.network.or_else(|| stored.map(|card| card.network));
        let opened = self.opened.or_else(|| stored.map(|card| card.opened));
        let card = (|| {
            Some(Card {
                iin: needed(iin, "iin", &mut missing)?,
                kind: needed(kind, "cardType", &mut missing)?,
                status: needed(status, "status", &mut missing)?,
                network: needed(network, "networkIdentifier", &mut missing)?,
                opened: needed(opened, "openDate", &mut missing)?,
                closed,
            })
        })();
        card.ok_or(missing)
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
            holders: None,
            primary: None,
            status: None,
            kind: None,
            portfolio: None,
            opened: None,
            closed: Patch::Keep,
        }
    }

    fn complete(&self, stored: Option<&AccountDetails>) -> Result<AccountDetails, Vec<&'static str>> {
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

/// The accounts that a batch touches, as stored and as the batch leaves them.
struct Workspace {
    stored: BTreeMap<AccountId, Account>,
    working: BTreeMap<AccountId, (AccountDetails, BTreeMap<CardKey, Card>)>,
    /// The first item that touched an account: where its problems are reported.
    touched: BTreeMap<AccountId, (usize, Vec<usize>)>,
    problems: Vec<ItemProblem>,
    conflicts: Vec<ItemRefusal>,
}

impl Workspace {
    async fn load(
        registry: &Registry,
        organization: OrganizationId,
        ids: BTreeSet<AccountId>,
    ) -> Result<Self, StoreError> {
        let ids: Vec<_> = ids.into_iter().collect();
        let found =
            if ids.is_empty() { Vec::new() } else { registry.ports.accounts.accounts(organization, &ids).await? };
        let stored: BTreeMap<_, _> =
            found.into_iter().flatten().map(|account| (account.id().clone(), account)).collect();
        let own = |account: &Account| (account.details().clone(), account.cards().clone());
        let working = stored.iter().map(|(id, account)| (id.clone(), own(account))).collect();
        Ok(Self { stored, working, touched: BTreeMap::new(), problems: Vec::new(), conflicts: Vec::new() })
    }

    /// Puts one account of the batch. With `only_new`, an account or card that is there must have the same content.
    fn put(&mut self, item: usize, path: &[usize], put: &AccountPut, only_new: bool) {
        let id = &put.account.id;
        self.touched.entry(id.clone()).or_insert_with(|| (item, path.to_vec()));
        let present = self.working.get(id);
        let details = match put.account.complete(present.map(|(details, _)| details)) {
            Ok(details) => details,
            Err(missing) => return self.require(item, path, missing),
        };
        let mut cards = present.map(|(_, cards)| cards.clone()).unwrap_or_default();
        let mut conflict = only_new && present.is_some_and(|(before, _)| *before != details);
        let mut incomplete = Vec::new();
        for (place, draft) in put.cards.iter().enumerate() {
            match draft.complete(cards.get(&draft.key)) {
                Ok(card) => {
                    conflict |= only_new && cards.get(&draft.key).is_some_and(|before| *before != card);
                    cards.insert(draft.key.clone(), card);
                }
                Err(missing) => incomplete.push((place, missing)),
            }
        }
        for (place, missing) in incomplete {
            self.require(item, &[path, &[place]].concat(), missing);
        }
        if conflict {
            self.conflicts.push(ItemRefusal { item, id: id.clone(), account: true });
        }
        self.working.insert(id.clone(), (details, cards));
    }

    fn require(&mut self, item: usize, path: &[usize], missing: Vec<&'static str>) {
        let problem = |name| ItemProblem { item, path: path.to_vec(), kind: ItemProblemKind::Required(name) };
        self.problems.extend(missing.into_iter().map(problem));
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
        let holders: Vec<_> = gained.keys().cloned().collect();
        if holders.is_empty() {
            return Ok(());
        }
        let held = registry.ports.accounts.held_by(organization, &holders).await?;
        for (holder, held) in holders.iter().zip(held) {
            let more = &gained[holder];
            if held.len() + more.len() > ACCOUNTS_LIMIT {
                let (item, path) = self.touched.get(&more[0]).cloned().unwrap_or_default();
                self.problems.push(ItemProblem { item, path, kind: ItemProblemKind::TooManyAccounts });
            }
        }
        Ok(())
    }

    /// The changes, unless something stands against them.
    fn changes(
        mut self,
        organization: OrganizationId,
        moment: Moment,
    ) -> Result<Vec<crate::account::AccountChange>, OperationError> {
        let mut changes = Vec::new();
        for (id, (details, cards)) in self.working {
            let stored = self.stored.get(&id);
            match Account::put(stored, organization, id.clone(), details, cards, moment) {
                Ok(outcome) => changes.extend(outcome.applied()),
                Err(rules) => {
                    let (item, path) = self.touched.get(&id).cloned().unwrap_or_default();
                    let problem = |rule| ItemProblem { item, path: path.clone(), kind: ItemProblemKind::Account(rule) };
                    self.problems.extend(rules.into_iter().map(problem));
                }
            }
        }
        if !self.problems.is_empty() {
            return Err(OperationError::InvalidItems(self.problems));
        }
        if !self.conflicts.is_empty() {
            return Err(OperationError::RefusedItems { absent: false, items: self.conflicts });
        }
        Ok(changes)
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

    async fn plan(&self, registry: &Registry, caller: &Caller, moment: Moment) -> Result<Plan<()>, OperationError> {
        let organization = caller.organization;
        let names = self.0.customers();
        let key = |id: &ExternalId| CustomerKey { organization, selector: Selector::ExternalId(id.clone()) };
        let keys: Vec<_> = names.iter().map(key).collect();
        let found = if keys.is_empty() { Vec::new() } else { registry.ports.customers.find(&keys).await? };
        let mut workspace = Workspace::load(registry, organization, self.0.account_ids()).await?;
        let customers = match self.0 {
            Programme::Create(items) => create(registry, organization, items, found, &mut workspace, moment).await?,
            Programme::Replace(items) => replace(items, found, &mut workspace, moment)?,
            Programme::Accounts { holder, accounts } => {
                require_all(holder.as_slice(), &found)?;
                for (item, put) in accounts.iter().enumerate() {
                    workspace.put(item, &[], put, false);
                }
                Vec::new()
            }
            Programme::Cards { holder, account, cards } => {
                require_all(std::slice::from_ref(holder), &found)?;
                let held =
                    workspace.stored.get(account).is_some_and(|account| account.details().holders.contains(holder));
                if !held {
                    let refusal = ItemRefusal { item: 0, id: account.clone(), account: true };
                    return Err(OperationError::RefusedItems { absent: true, items: vec![refusal] });
                }
                let account = AccountDraft::untouched(account.clone());
                workspace.put(0, &[], &AccountPut { account, cards: cards.clone() }, false);
                Vec::new()
            }
        };
        workspace.check_holdings(registry, organization).await?;
        let accounts = workspace.changes(organization, moment)?;
        Ok(Plan { changes: Changes { customers, accounts, ..Changes::default() }, shown: () })
    }
}

/// Everything named has to exist.
fn require_all(names: &[ExternalId], found: &[Option<Customer>]) -> Result<(), OperationError> {
    let absent = names.iter().zip(found).enumerate().filter(|(_, (_, customer))| customer.is_none());
    let items: Vec<_> = absent.map(|(item, (id, _))| ItemRefusal { item, id: id.clone(), account: false }).collect();
    if items.is_empty() { Ok(()) } else { Err(OperationError::RefusedItems { absent: true, items }) }
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
    let mut changes = Vec::new();
    for (at, (item, found)) in items.iter().zip(found).enumerate() {
        match found {
            Some(customer) if customer.enrolment() == Some(&item.enrolment) => {}
            Some(_) => workspace.conflicts.push(ItemRefusal { item: at, id: item.customer.clone(), account: false }),
            None => {
                let since = item.enrolment.customer_since.date_utc();
                let draft = NewCustomer {
                    external_id: Some(item.customer.clone()),
                    activated: Some(since),
                    submitted: Some(since),
                    enrolment: Some(item.enrolment.clone()),
                    ..NewCustomer::named(office, Name::FollowsExternalId)
                };
                let problems = draft.problems(moment.today);
                let problem =
                    |invalid| ItemProblem { item: at, path: Vec::new(), kind: ItemProblemKind::Customer(invalid) };
                if problems.is_empty() {
                    let id = ids.next().expect("one number for each new customer");
                    let (customer, event) = Customer::open(organization, id, draft, moment)?;
                    changes.push(CustomerChange::kept(customer, vec![event]));
                } else {
                    workspace.problems.extend(problems.into_iter().map(problem));
                }
            }
        }
        for (place, put) in item.accounts.iter().enumerate() {
            workspace.put(at, &[place], put, true);
        }
    }
    Ok(changes)
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
        if customer.permit(Transition::Update).is_err() {
            workspace.conflicts.push(ItemRefusal { item: at, id: item.customer.clone(), account: false });
            continue;
        }
        let patch = CustomerPatch { enrolment: Some(item.enrolment.clone()), ..CustomerPatch::default() };
        let problems = patch.problems(moment.today);
        let problem = |invalid| ItemProblem { item: at, path: Vec::new(), kind: ItemProblemKind::Customer(invalid) };
        if problems.is_empty() {
            changes.extend(apply(customer, &Command::Update(patch), moment)?.0);
        } else {
            workspace.problems.extend(problems.into_iter().map(problem));
        }
        for (place, put) in item.accounts.iter().enumerate() {
            workspace.put(at, &[place], put, false);
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
