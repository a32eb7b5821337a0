//! What always holds of accounts, cards and the changes that batches make of them, over random values.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use custodia_domain::account::{Account, AccountStatus, CardStatus, is_card_number};
use custodia_domain::testing as any;
use custodia_domain::{ExternalId, OrganizationId, Outcome, Patch, Version};
use proptest::collection::vec;
use proptest::prelude::*;

/// At least 1,024 cases each; `PROPTEST_CASES` raises the number for a long run.
fn config() -> ProptestConfig {
    let standard = ProptestConfig::default();
    ProptestConfig { cases: standard.cases.max(1024), failure_persistence: None, ..standard }
}

fn id() -> ExternalId {
    ExternalId::parse("account").unwrap()
}

/// The Luhn check as ISO/IEC 7812-1 annex B words it, from the left.
fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .chars()
        .enumerate()
        .map(|(at, digit)| {
            let doubled = (digits.len() - at).is_multiple_of(2);
            let digit = digit.to_digit(10).unwrap() * if doubled { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn exactly_what_keeps_every_rule_is_put(
        details in any::account_details(), cards in vec((any::card_key(), any::card()), 0..6), moment in any::moment(),
    ) {
        let all: BTreeMap<_, _> = cards.iter().cloned().collect();
        let closed = |is: bool, opened, at: Option<_>| is == at.is_some() && at.is_none_or(|at| at >= opened);
        let holds = details.holders.contains(&details.primary)
            && closed(details.status == AccountStatus::Closed, details.opened, details.closed)
            && all.iter().all(|(key, card)| {
                details.holders.contains(&key.holder)
                    && closed(card.status == CardStatus::Closed, card.opened, card.closed)
            });
        let put = Account::put(None, OrganizationId::FIRST, id(), details.clone(), cards, moment);
        prop_assert_eq!(put.is_ok(), holds);
        if let Ok(outcome) = put {
            let change = outcome.applied().expect("a new account is a change");
            prop_assert_eq!(change.after().details(), &details);
            prop_assert_eq!(change.after().cards(), &all);
            prop_assert_eq!((change.expects(), change.after().version()), (None, Version::FIRST));
            prop_assert_eq!(change.events().len(), 1 + all.len());
            let after = change.after();
            let back =
                Account::rehydrate(OrganizationId::FIRST, id(), after.version(), details, after.cards().clone());
            prop_assert_eq!(back.as_ref(), Ok(after));
        }
    }

    #[test]
    fn putting_the_same_again_changes_nothing_and_other_cards_stay(
        puts in vec((any::account_details(), vec((any::card_key(), any::card()), 0..4)), 1..6), moment in any::moment(),
    ) {
        let mut stored: Option<Account> = None;
        for (details, cards) in puts {
            let put = |stored: Option<&Account>| {
                Account::put(stored, OrganizationId::FIRST, id(), details.clone(), cards.clone(), moment)
            };
            let Ok(outcome) = put(stored.as_ref()) else { continue };
            if let Outcome::Applied(change) = outcome {
                let version = stored.as_ref().map(Account::version);
                prop_assert_eq!(change.expects(), version);
                prop_assert_eq!(change.after().version(), version.map_or(Version::FIRST, Version::next));
                prop_assert!(!change.events().is_empty());
                for (key, card) in stored.iter().flat_map(Account::cards) {
                    let named = cards.iter().any(|(other, _)| other == key);
                    prop_assert!(named || change.after().cards().get(key) == Some(card));
                }
                stored = Some(change.after().clone());
            }
            prop_assert_eq!(put(stored.as_ref()), Ok(Outcome::Unchanged));
        }
    }

    #[test]
    fn a_change_keeps_what_it_leaves_out(draft in any::account_draft(), stored in any::account_details()) {
        let after = draft.complete(Some(&stored)).expect("what is stored is whole");
        prop_assert_eq!(&after.holders, draft.holders.as_ref().unwrap_or(&stored.holders));
        prop_assert_eq!(&after.primary, draft.primary.as_ref().unwrap_or(&stored.primary));
        prop_assert_eq!(after.status, draft.status.unwrap_or(stored.status));
        prop_assert_eq!(after.kind, draft.kind.unwrap_or(stored.kind));
        prop_assert_eq!(&after.portfolio, draft.portfolio.as_ref().unwrap_or(&stored.portfolio));
        prop_assert_eq!(after.opened, draft.opened.unwrap_or(stored.opened));
        let closed = match draft.closed {
            Patch::Keep => stored.closed,
            Patch::Clear => None,
            Patch::Set(at) => Some(at),
        };
        prop_assert_eq!(after.closed, closed);
        prop_assert_eq!(draft.complete(Some(&after)), Ok(after), "twice is once");
    }

    #[test]
    fn a_new_record_names_each_member_that_it_lacks(put in any::account_put()) {
        let account = &put.account;
        let there = [
            (account.holders.is_some(), "sourceCustomerIds"), (account.primary.is_some(), "primarySourceCustomerId"),
            (account.status.is_some(), "status"), (account.kind.is_some(), "type"),
            (account.portfolio.is_some(), "sourcePortfolioId"), (account.opened.is_some(), "accountOpenDate"),
        ];
        let missing: Vec<_> = there.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect();
        prop_assert_eq!(account.complete(None).err().unwrap_or_default(), missing);
        for card in &put.cards {
            let there = [
                (card.iin.is_some(), "iin"), (card.kind.is_some(), "cardType"), (card.status.is_some(), "status"),
                (card.network.is_some(), "networkIdentifier"), (card.opened.is_some(), "openDate"),
            ];
            let missing: Vec<_> = there.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect();
            prop_assert_eq!(card.complete(None).err().unwrap_or_default(), missing);
        }
    }

    #[test]
    fn card_numbers_are_told_by_length_and_check_digit(digits in "[0-9]{10,21}", other in "[0-9]{11,18}[ -][0-9]") {
        prop_assert_eq!(is_card_number(&digits), (12..=19).contains(&digits.len()) && luhn(&digits));
        prop_assert!(!is_card_number(&other));
    }
}
