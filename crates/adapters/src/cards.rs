//! How the cards of an account are written down, the same in every store: a JSON array, instants as microseconds
//! since 1970-01-01T00:00:00Z. Must not know SQL or HTTP.

use std::collections::BTreeMap;

use custodia_domain::account::{Card, CardKey, CardKind, CardStatus, Iin, Last4, Network};
use custodia_domain::{ExternalId, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'t> {
    #[serde(borrow)]
    holder: std::borrow::Cow<'t, str>,
    last4: &'t str,
    iin: &'t str,
    kind: &'t str,
    status: &'t str,
    network: u8,
    opened: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<i64>,
}

impl<'t> Written<'t> {
    fn of(key: &'t CardKey, card: &'t Card) -> Self {
        Self {
            holder: key.holder.as_str().into(),
            last4: key.last4.as_str(),
            iin: card.iin.as_str(),
            kind: card.kind.label(),
            status: card.status.label(),
            network: card.network.get(),
            opened: card.opened.microseconds(),
            closed: card.closed.map(Timestamp::microseconds),
        }
    }

    fn read(&self) -> Option<(CardKey, Card)> {
        let key = CardKey { holder: ExternalId::parse(&self.holder).ok()?, last4: Last4::parse(self.last4).ok()? };
        let card = Card {
            iin: Iin::parse(self.iin).ok()?,
            kind: CardKind::from_label(self.kind)?,
            status: CardStatus::from_label(self.status)?,
            network: Network::parse(self.network.into()).ok()?,
            opened: Timestamp::from_microseconds(self.opened).ok()?,
            closed: self.closed.map(Timestamp::from_microseconds).transpose().ok()?,
        };
        Some((key, card))
    }
}

/// The cards as JSON text.
///
/// # Panics
/// Never: texts and numbers are always JSON.
#[must_use]
pub fn encode(cards: &BTreeMap<CardKey, Card>) -> String {
    let written: Vec<_> = cards.iter().map(|(key, card)| Written::of(key, card)).collect();
    serde_json::to_string(&written).expect("texts and numbers are JSON")
}

/// The cards that a text of [`encode`] holds; `None` for any other text.
#[must_use]
pub fn decode(text: &str) -> Option<BTreeMap<CardKey, Card>> {
    let written: Vec<Written<'_>> = serde_json::from_str(text).ok()?;
    let cards = written.iter().map(Written::read).collect::<Option<BTreeMap<_, _>>>()?;
    (cards.len() == written.len()).then_some(cards)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards() -> BTreeMap<CardKey, Card> {
        let key =
            |holder, last4| CardKey { holder: ExternalId::parse(holder).unwrap(), last4: Last4::parse(last4).unwrap() };
        let opened = Timestamp::parse("2017-01-01T08:00:00.000001Z").unwrap();
        let open = Card {
            iin: Iin::parse("41234567").unwrap(),
            kind: CardKind::Credit,
            status: CardStatus::Open,
            network: Network::parse(4).unwrap(),
            opened,
            closed: None,
        };
        let closed = Card { status: CardStatus::Closed, closed: Some(opened), ..open.clone() };
        BTreeMap::from([(key("ünï \"1\"\\", "0000"), open), (key("c-1", "0042"), closed)])
    }

    #[test]
    fn cards_go_there_and_back() {
        assert_eq!(decode(&encode(&cards())), Some(cards()));
        assert_eq!(decode("[]"), Some(BTreeMap::new()));
    }

    #[test]
    fn what_is_no_card_is_not_decoded() {
        let whole = encode(&cards());
        for broken in [
            String::new(),
            "{}".to_owned(),
            whole.replace("OPEN", "open"),
            whole.replace("\"network\":4", "\"network\":7"),
            whole.replace("0042", "042"),
            whole.replace("\"iin\"", "\"number\""),
            format!("[{0},{0}]", &whole[1..=whole.find('}').unwrap()]),
        ] {
            assert_eq!(decode(&broken), None, "{broken}");
        }
    }
}
