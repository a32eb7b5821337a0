//! The arrays of accounts, one element per account, and of their holders, one per holder of one account, as they are
//! bound to the statements that write them. Must not know those statements.

use custodia_domain::account::AccountChange;
use custodia_domain::{Timestamp, Version};

use super::columns::SqlInstant;
use super::statements::Bound;
use crate::cards;

#[derive(Default)]
pub(super) struct AccountRows<'a> {
    id: Vec<&'a str>,
    version: Vec<i64>,
    primary_holder: Vec<&'a str>,
    status: Vec<&'static str>,
    kind: Vec<&'static str>,
    portfolio: Vec<&'a str>,
    opened_at: Vec<SqlInstant>,
    closed_at: Vec<Option<SqlInstant>>,
    cards: Vec<String>,
    updated_at: Vec<SqlInstant>,
    expected: Vec<i64>,
    held: Vec<&'a str>,
    holder: Vec<&'a str>,
}

impl<'a> AccountRows<'a> {
    pub(super) fn of(changes: &'a [AccountChange], at: Timestamp) -> Self {
        let mut rows = Self::default();
        for change in changes {
            rows.push(change, at);
        }
        rows
    }

    /// Adds an account that changes at that instant.
    pub(super) fn push(&mut self, change: &'a AccountChange, at: Timestamp) {
        let (account, details) = (change.after(), change.after().details());
        self.id.push(account.id().as_str());
        self.version.push(account.version().get());
        self.primary_holder.push(details.primary.as_str());
        self.status.push(details.status.label());
        self.kind.push(details.kind.label());
        self.portfolio.push(details.portfolio.as_str());
        self.opened_at.push(SqlInstant(details.opened));
        self.closed_at.push(details.closed.map(SqlInstant));
        self.cards.push(cards::encode(account.cards()));
        self.updated_at.push(SqlInstant(at));
        self.expected.push(change.expects().map_or(0, Version::get));
        for holder in &details.holders {
            self.held.push(account.id().as_str());
            self.holder.push(holder.as_str());
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// Binds accounts that are all new, in twelve arrays.
    pub(super) fn bind_new_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        self.bind_own_to(statement).bind(&self.updated_at).bind(&self.held).bind(&self.holder)
    }

    /// Binds accounts with the versions expected of them, in thirteen arrays and their number.
    pub(super) fn bind_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        let count = i64::try_from(self.id.len()).expect("memory holds fewer than 2^63 rows");
        let statement = self.bind_own_to(statement).bind(&self.updated_at).bind(&self.expected);
        statement.bind(&self.held).bind(&self.holder).bind(count)
    }

    fn bind_own_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        statement
            .bind(&self.id)
            .bind(&self.version)
            .bind(&self.primary_holder)
            .bind(&self.status)
            .bind(&self.kind)
            .bind(&self.portfolio)
            .bind(&self.opened_at)
            .bind(&self.closed_at)
            .bind(&self.cards)
    }
}
