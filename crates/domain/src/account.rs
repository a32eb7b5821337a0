//! An account with its cards: an aggregate of its own, tied to its holders by their external ids, whether or not
//! they exist yet. Must not know the customer aggregate.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::facets::labels;
use crate::record::{NamedChange, RecordEvent, RecordKind};
use crate::{ExternalId, Moment, OrganizationId, Outcome, Timestamp, Value, Version};

/// The caller's own key of an account; the same rules as for a customer's.
pub type AccountId = ExternalId;

/// The most cards an account may have.
pub const CARDS_LIMIT: usize = 200;

/// The most accounts a customer may hold.
pub const ACCOUNTS_LIMIT: usize = 200;

/// The most holders an account may have.
pub const HOLDERS_LIMIT: usize = 200;

labels!(
    /// Where an account stands.
    AccountStatus {
        /// In use.
        Open = "OPEN",
        /// Ended.
        Closed = "CLOSED",
        /// Contested.
        Dispute = "DISPUTE",
        /// Suspected of fraud.
        Fraud = "FRAUD",
    }
);
labels!(
    /// What kind of account it is.
    AccountKind {
        /// Prepaid.
        Prepaid = "PPD",
        /// Money market.
        MoneyMarket = "MMA",
        /// Credit card.
        CreditCard = "CRD",
        /// Demand deposit.
        DemandDeposit = "DDA",
        /// Savings.
        Savings = "SAV",
        /// Small business credit card.
        BusinessCreditCard = "SBCRD",
        /// Small business demand deposit.
        BusinessDemandDeposit = "SBDDA",
        /// Small business savings.
        BusinessSavings = "SBS",
    }
);
labels!(
    /// What kind of card it is.
    CardKind {
        /// Paid later.
        Credit = "CREDIT",
        /// Paid at once.
        Debit = "DEBIT",
        /// Paid before.
        Prepaid = "PREPAID",
    }
);
labels!(
    /// Where a card stands.
    CardStatus {
        /// In use.
        Open = "OPEN",
        /// Ended.
        Closed = "CLOSED",
    }
);

/// Why a text or number is not a value of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CardValueError {
    /// Not the last four digits of a card number.
    #[error("must be 4 digits")]
    Last4,
    /// Not an issuer identification number.
    #[error("must be 6 or 8 digits")]
    Iin,
    /// Not a network's number.
    #[error("must be 3, 4, 5 or 6")]
    Network,
}

macro_rules! digits {
    ($(#[$doc:meta])* $name:ident, $lengths:pat, $error:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Accepts ASCII digits of the right number.
            ///
            /// # Errors
            /// [`CardValueError`] otherwise.
            pub fn parse(text: &str) -> Result<Self, CardValueError> {
                let right = matches!(text.len(), $lengths) && text.bytes().all(|byte| byte.is_ascii_digit());
                if right { Ok(Self(text.into())) } else { Err($error) }
            }

            /// The digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

digits!(
    /// The last four digits of a card number.
    Last4, 4, CardValueError::Last4
);
digits!(
    /// The first six or eight digits of a card number: its issuer.
    Iin, 6 | 8, CardValueError::Iin
);

/// A card network: 3, 4, 5 or 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(u8);

impl Network {
    /// Accepts 3 to 6.
    ///
    /// # Errors
    /// [`CardValueError::Network`] for every other number.
    pub fn parse(number: i64) -> Result<Self, CardValueError> {
        match u8::try_from(number) {
            Ok(number @ 3..=6) => Ok(Self(number)),
            _ => Err(CardValueError::Network),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// What tells the cards of an account apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardKey {
    /// Whose card it is.
    pub holder: ExternalId,
    /// The last digits of its number.
    pub last4: Last4,
}

/// A card; its number is never known whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Card {
    /// Its issuer.
    pub iin: Iin,
    /// Its kind.
    pub kind: CardKind,
    /// Where it stands.
    pub status: CardStatus,
    /// Its network.
    pub network: Network,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it was closed; there exactly when it is closed.
    pub closed: Option<Timestamp>,
}

/// An account's own values, without its cards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountDetails {
    /// Its holders, in the order of their ids; at least the primary one.
    pub holders: BTreeSet<ExternalId>,
    /// The first among its holders.
    pub primary: ExternalId,
    /// Where it stands.
    pub status: AccountStatus,
    /// Its kind.
    pub kind: AccountKind,
    /// The portfolio it belongs to.
    pub portfolio: ExternalId,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it was closed; there exactly when it is closed.
    pub closed: Option<Timestamp>,
}

/// An identifier that stands beside a card, and so must not be the card's whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identifier {
    /// Of the account.
    Account,
    /// Of one of its holders.
    Holder,
    /// Of its primary holder.
    Primary,
    /// Of its portfolio.
    Portfolio,
    /// Of the customer above its holder.
    Parent,
}

impl Identifier {
    /// The member that callers know it by.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Account => "sourceAccountId",
            Self::Holder => "sourceCustomerIds",
            Self::Primary => "primarySourceCustomerId",
            Self::Portfolio => "sourcePortfolioId",
            Self::Parent => "sourceParentCustomerId",
        }
    }
}

/// A rule between the values of an account or card that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum AccountRule {
    /// The primary holder is not among the holders.
    #[error("must be one of sourceCustomerIds")]
    PrimaryNotHolder,
    /// A closed one without a date of closing.
    #[error("required when status is CLOSED")]
    ClosedWithoutDate,
    /// A date of closing on one that is not closed.
    #[error("must be null unless status is CLOSED")]
    DateWithoutClosed,
    /// Closed before it was opened.
    #[error("must not be before it was opened")]
    ClosedBeforeOpened,
    /// The customer under which the account was sent is not among its holders.
    #[error("must name the customer")]
    CustomerNotHolder,
    /// More holders than an account may have.
    #[error("an account has at most 200 holders")]
    TooManyHolders,
    /// A card of somebody who does not hold the account.
    #[error("must be one of the account's sourceCustomerIds")]
    CardOfStranger,
    /// More cards than an account may have.
    #[error("an account has at most 200 cards")]
    TooManyCards,
    /// An identifier is the whole number of one of the account's cards.
    #[error("must not be a whole card number")]
    CardNumber(Identifier),
}

/// A rule that does not hold, and of which card of the account; of the account itself where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRule {
    /// The card.
    pub card: Option<CardKey>,
    /// The rule.
    pub rule: AccountRule,
}

/// The closing rule that accounts and cards share.
#[must_use]
pub fn closing_rule(is_closed: bool, opened: Timestamp, closed: Option<Timestamp>) -> Option<AccountRule> {
    match (is_closed, closed) {
        (true, None) => Some(AccountRule::ClosedWithoutDate),
        (false, Some(_)) => Some(AccountRule::DateWithoutClosed),
        (true, Some(closed)) if closed < opened => Some(AccountRule::ClosedBeforeOpened),
        (true, Some(_)) | (false, None) => None,
    }
}

impl Card {
    /// The rule that its own values break.
    #[must_use]
    pub fn broken_rule(&self) -> Option<AccountRule> {
        closing_rule(self.status == CardStatus::Closed, self.opened, self.closed)
    }
}

impl AccountDetails {
    /// The rules that its own values break.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<AccountRule> {
        let primary = (!self.holders.contains(&self.primary)).then_some(AccountRule::PrimaryNotHolder);
        let many = (self.holders.len() > HOLDERS_LIMIT).then_some(AccountRule::TooManyHolders);
        let closing = closing_rule(self.status == AccountStatus::Closed, self.opened, self.closed);
        primary.into_iter().chain(many).chain(closing).collect()
    }
}

/// An account with its cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    organization: OrganizationId,
    id: AccountId,
    version: Version,
    details: AccountDetails,
    cards: BTreeMap<CardKey, Card>,
}

/// A change of an account: its state after, and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountChange {
    after: Account,
    expects: Option<Version>,
    events: Vec<RecordEvent>,
}

impl AccountChange {
    /// The state to store.
    #[must_use]
    pub const fn after(&self) -> &Account {
        &self.after
    }

    /// The version that the store has to hold; `None` when it creates the account.
    #[must_use]
    pub const fn expects(&self) -> Option<Version> {
        self.expects
    }

    /// What happened: the account's own event first, then its cards'.
    #[must_use]
    pub fn events(&self) -> &[RecordEvent] {
        &self.events
    }
}

impl Account {
    /// An account as a store kept it.
    ///
    /// # Errors
    /// [`AccountRule`] that the values break.
    pub fn rehydrate(
        organization: OrganizationId,
        id: AccountId,
        version: Version,
        details: AccountDetails,
        cards: BTreeMap<CardKey, Card>,
    ) -> Result<Self, AccountRule> {
        let account = Self { organization, id, version, details, cards };
        account.check().into_iter().next().map_or(Ok(account), |broken| Err(broken.rule))
    }

    /// The change from what is stored (nothing, for a new account) to those values and cards: cards named are put,
    /// the others stay. Only here is an identifier refused as a card's number: what is stored is what it is.
    ///
    /// # Errors
    /// Every rule that the result breaks.
    pub fn put(
        stored: Option<&Self>,
        organization: OrganizationId,
        id: AccountId,
        details: AccountDetails,
        cards: impl IntoIterator<Item = (CardKey, Card)>,
        moment: Moment,
    ) -> Result<Outcome<AccountChange>, Vec<BrokenRule>> {
        let mut all = stored.map(|account| account.cards.clone()).unwrap_or_default();
        all.extend(cards);
        let version = stored.map_or(Version::FIRST, |account| account.version.next());
        let after = Self { organization, id, version, details, cards: all };
        let broken = after.check();
        if !broken.is_empty() {
            return Err(broken);
        }
        if stored.is_some_and(|before| before.details == after.details && before.cards == after.cards) {
            return Ok(Outcome::Unchanged);
        }
        let numbers = after.numbers();
        if !numbers.is_empty() {
            return Err(numbers);
        }
        let events = after.events_since(stored, moment);
        Ok(Outcome::Applied(AccountChange { expects: stored.map(|account| account.version), after, events }))
    }

    fn check(&self) -> Vec<BrokenRule> {
        let many = (self.cards.len() > CARDS_LIMIT).then_some(AccountRule::TooManyCards);
        let own = self.details.broken_rules().into_iter().chain(many).map(|rule| BrokenRule { card: None, rule });
        let of_cards = self.cards.iter().flat_map(|(key, card)| {
            let stranger = (!self.details.holders.contains(&key.holder)).then_some(AccountRule::CardOfStranger);
            let rules = stranger.into_iter().chain(card.broken_rule());
            rules.map(|rule| BrokenRule { card: Some(key.clone()), rule })
        });
        own.chain(of_cards).collect()
    }

    /// The identifiers that are the whole number of one of its cards, whichever of the two was there first.
    fn numbers(&self) -> Vec<BrokenRule> {
        let AccountDetails { holders, primary, portfolio, .. } = &self.details;
        let own = [(Identifier::Account, &self.id), (Identifier::Primary, primary), (Identifier::Portfolio, portfolio)];
        let all = own.into_iter().chain(holders.iter().map(|holder| (Identifier::Holder, holder)));
        all.flat_map(|(identifier, id)| {
            let rule = AccountRule::CardNumber(identifier);
            numbered(&self.cards, id).map(move |key| BrokenRule { card: Some(key.clone()), rule })
        })
        .collect()
    }

    fn events_since(&self, before: Option<&Self>, moment: Moment) -> Vec<RecordEvent> {
        let event = |kind, changes| RecordEvent {
            kind,
            subject: self.id.as_str().into(),
            customer: None,
            external_id: Some(self.details.primary.clone()),
            version: self.version,
            at: moment.at,
            changes,
        };
        let mut events = Vec::new();
        let own = NamedChange::between(
            before.map(|account| account.details.values()).unwrap_or_default(),
            self.details.values(),
        );
        let kind = if before.is_some() { RecordKind::AccountUpdated } else { RecordKind::AccountCreated };
        if !own.is_empty() {
            events.push(event(kind, own));
        }
        for (key, card) in &self.cards {
            let old = before.and_then(|account| account.cards.get(key));
            if old == Some(card) {
                continue;
            }
            let kind = if old.is_some() { RecordKind::CardUpdated } else { RecordKind::CardCreated };
            let old = old.map(|card| card.values(key)).unwrap_or_default();
            events.push(event(kind, NamedChange::between(old, card.values(key))));
        }
        events
    }

    /// The tenant it belongs to.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The caller's own key.
    #[must_use]
    pub const fn id(&self) -> &AccountId {
        &self.id
    }

    /// How many changes it has had.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Its own values.
    #[must_use]
    pub const fn details(&self) -> &AccountDetails {
        &self.details
    }

    /// Its cards.
    #[must_use]
    pub const fn cards(&self) -> &BTreeMap<CardKey, Card> {
        &self.cards
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

type NamedValues = Vec<(&'static str, Value)>;

impl AccountDetails {
    fn values(&self) -> NamedValues {
        let mut values = vec![
            ("sourceCustomerIds", Value::List(self.holders.iter().map(|id| id.as_str().into()).collect())),
            ("primarySourceCustomerId", text(self.primary.as_str())),
            ("status", text(self.status.label())),
            ("type", text(self.kind.label())),
            ("sourcePortfolioId", text(self.portfolio.as_str())),
            ("accountOpenDate", Value::Instant(self.opened)),
        ];
        values.extend(self.closed.map(|at| ("accountCloseDate", Value::Instant(at))));
        values
    }
}

impl Card {
    fn values(&self, key: &CardKey) -> NamedValues {
        let mut values = vec![
            ("sourceCustomerId", text(key.holder.as_str())),
            ("last4", text(key.last4.as_str())),
            ("iin", text(self.iin.as_str())),
            ("cardType", text(self.kind.label())),
            ("status", text(self.status.label())),
            ("networkIdentifier", Value::Integer(self.network.get().into())),
            ("openDate", Value::Instant(self.opened)),
        ];
        values.extend(self.closed.map(|at| ("closeDate", Value::Instant(at))));
        values
    }
}

/// Whether a text is a whole card number: 12 to 19 digits that pass the Luhn check (ISO/IEC 7812-1 annex B).
#[must_use]
pub fn is_card_number(text: &str) -> bool {
    if !(12..=19).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let sum: u32 = text
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            match place % 2 {
                0 => digit,
                _ if digit > 4 => digit * 2 - 9,
                _ => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether an identifier is the whole number of that very card: a card number that begins with its issuer and ends with
/// its last digits. Identifiers of digits alone are common, and one in ten passes the Luhn check by chance.
#[must_use]
pub fn is_number_of(identifier: &str, iin: &Iin, last4: &Last4) -> bool {
    is_card_number(identifier) && identifier.starts_with(iin.as_str()) && identifier.ends_with(last4.as_str())
}

/// Those of the cards whose whole number that identifier is.
pub(crate) fn numbered<'c>(cards: &'c BTreeMap<CardKey, Card>, id: &ExternalId) -> impl Iterator<Item = &'c CardKey> {
    // Few identifiers look like a card number at all: those that do not are compared with no card.
    let number = is_card_number(id.as_str()).then(|| id.clone());
    let is_of = move |(key, card): &(&CardKey, &Card)| {
        number.as_ref().is_some_and(|number| is_number_of(number.as_str(), &card.iin, &key.last4))
    };
    cards.iter().filter(is_of).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Date;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn id(text: &str) -> ExternalId {
        ExternalId::parse(text).unwrap()
    }

    fn moment() -> Moment {
        let at = at("2026-05-22T09:30:00Z");
        Moment { at, today: Date::parse("2026-05-22").unwrap() }
    }

    fn details() -> AccountDetails {
        AccountDetails {
            holders: BTreeSet::from([id("ada"), id("bob")]),
            primary: id("ada"),
            status: AccountStatus::Open,
            kind: AccountKind::DemandDeposit,
            portfolio: id("rewards"),
            opened: at("2018-05-12T20:30:00Z"),
            closed: None,
        }
    }

    fn card(holder: &str, last4: &str) -> (CardKey, Card) {
        let card = Card {
            iin: Iin::parse("123456").unwrap(),
            kind: CardKind::Credit,
            status: CardStatus::Open,
            network: Network::parse(3).unwrap(),
            opened: at("2023-01-01T08:00:00Z"),
            closed: None,
        };
        (CardKey { holder: id(holder), last4: Last4::parse(last4).unwrap() }, card)
    }

    fn put(
        stored: Option<&Account>,
        details: AccountDetails,
        cards: Vec<(CardKey, Card)>,
    ) -> Result<Outcome<AccountChange>, Vec<BrokenRule>> {
        Account::put(stored, OrganizationId::FIRST, id("acc"), details, cards, moment())
    }

    fn stored(details: AccountDetails, cards: Vec<(CardKey, Card)>) -> Account {
        put(None, details, cards).unwrap().applied().unwrap().after().clone()
    }

    fn rules(result: Result<Outcome<AccountChange>, Vec<BrokenRule>>) -> Vec<(Option<String>, AccountRule)> {
        let name = |card: Option<CardKey>| card.map(|key| key.last4.as_str().to_owned());
        result.unwrap_err().into_iter().map(|broken| (name(broken.card), broken.rule)).collect()
    }

    #[test]
    fn every_broken_rule_is_told_with_its_card() {
        let mut wrong = details();
        wrong.primary = id("eve");
        wrong.status = AccountStatus::Closed;
        let mut closed = card("ada", "1111");
        closed.1.closed = Some(at("2024-01-01T00:00:00Z"));
        let mut early = card("ada", "2222");
        early.1.status = CardStatus::Closed;
        early.1.closed = Some(at("2022-01-01T00:00:00Z"));
        assert_eq!(
            rules(put(None, wrong, vec![closed, early, card("eve", "3333")])),
            [
                (None, AccountRule::PrimaryNotHolder),
                (None, AccountRule::ClosedWithoutDate),
                (Some("1111".to_owned()), AccountRule::DateWithoutClosed),
                (Some("2222".to_owned()), AccountRule::ClosedBeforeOpened),
                (Some("3333".to_owned()), AccountRule::CardOfStranger),
            ]
        );
    }

    #[test]
    fn cards_that_are_not_named_stay_and_the_same_values_change_nothing() {
        let account = stored(details(), vec![card("ada", "1111"), card("bob", "1111")]);
        assert_eq!(account.version(), Version::FIRST);
        assert_eq!(put(Some(&account), details(), vec![card("bob", "1111")]).unwrap(), Outcome::Unchanged);
        let change = put(Some(&account), details(), vec![card("ada", "2222")]).unwrap().applied().unwrap();
        assert_eq!((change.after().cards().len(), change.after().version().get()), (3, 2));
        assert_eq!(change.expects(), Some(Version::FIRST));
        let kinds: Vec<_> = change.events().iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [RecordKind::CardCreated]);
    }

    #[test]
    fn a_holder_with_cards_cannot_be_left_out() {
        let account = stored(details(), vec![card("bob", "1111")]);
        let mut alone = details();
        alone.holders = BTreeSet::from([id("ada")]);
        assert_eq!(rules(put(Some(&account), alone, vec![])), [(Some("1111".to_owned()), AccountRule::CardOfStranger)]);
    }

    #[test]
    fn an_account_has_at_most_200_cards_and_200_holders() {
        let cards = |count: usize| (0..count).map(|n| card("ada", &format!("{n:04}"))).collect::<Vec<_>>();
        let full = stored(details(), cards(CARDS_LIMIT));
        assert_eq!(rules(put(Some(&full), details(), vec![card("ada", "9999")])), [(None, AccountRule::TooManyCards)]);
        assert_eq!(put(Some(&full), details(), cards(CARDS_LIMIT)).unwrap(), Outcome::Unchanged);
        let mut crowd = details();
        crowd.holders.extend((0..HOLDERS_LIMIT).map(|n| id(&format!("h{n}"))));
        assert_eq!(rules(put(None, crowd, vec![])), [(None, AccountRule::TooManyHolders)]);
    }

    #[test]
    fn a_card_number_has_12_to_19_digits_and_passes_the_luhn_check() {
        for number in ["4111111111111111", "378282246310005", "6304000000000000", "000000000000", "6011000990139424000"]
        {
            let luhn = number != "6011000990139424000";
            assert_eq!(is_card_number(number), luhn, "{number}");
        }
        for text in [
            "4111111111111112",
            "4111 1111 1111 1111",
            "18",
            "41111111111",
            "00000000000000000000",
            "",
            "４１１１１１１１１１１１",
        ] {
            assert!(!is_card_number(text), "{text}");
        }
    }

    #[test]
    fn an_identifier_is_a_cards_number_only_with_its_issuer_and_last_digits() {
        let (iin, last4) = (Iin::parse("411111").unwrap(), Last4::parse("1111").unwrap());
        assert!(is_number_of("4111111111111111", &iin, &last4));
        assert!(!is_number_of("4111111111111111", &Iin::parse("123456").unwrap(), &last4));
        assert!(!is_number_of("4111111111111111", &iin, &Last4::parse("2345").unwrap()));
    }

    #[test]
    fn no_identifier_of_an_account_is_the_number_of_a_card_that_it_has_or_gets() {
        let number = "4111111111111111";
        let (key, mut of_number) = card("ada", "1111");
        of_number.iin = Iin::parse("411111").unwrap();
        let account = stored(details(), vec![(key.clone(), of_number.clone())]);
        let told = |rule| [(Some("1111".to_owned()), AccountRule::CardNumber(rule))];
        let in_portfolio = AccountDetails { portfolio: id(number), ..details() };
        assert_eq!(rules(put(Some(&account), in_portfolio.clone(), vec![])), told(Identifier::Portfolio));
        let mut in_holders = details();
        in_holders.holders.insert(id(number));
        assert_eq!(rules(put(Some(&account), in_holders, vec![])), told(Identifier::Holder));
        let account = stored(in_portfolio.clone(), vec![card("ada", "1111")]);
        assert_eq!(put(Some(&account), in_portfolio.clone(), vec![]).unwrap(), Outcome::Unchanged);
        let refused = put(Some(&account), in_portfolio, vec![(key, of_number)]);
        assert_eq!(rules(refused), told(Identifier::Portfolio));
    }
}
