//! The loan positions that a lender's engine reports, because they decide whether a customer may be closed; and the
//! credit scores beside them. Must not compute anything that a loan engine computes.

use std::fmt;

use thiserror::Error;

use crate::facets::labels;
use crate::record::{NamedChange, RecordEvent, RecordKind};
use crate::value::{TextError, checked, text};
use crate::{CustomerId, Date, ExternalId, LoanId, Moment, OrganizationId, Outcome, Value, Version};

text!(
    /// A loan's account number or the name of its product: 1 to 100 code points.
    LoanText, 100, trimmed: true
);

/// An amount of money or a rate: 0 to 999,999,999,999.999999, exact to six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(i64);

/// Why a number is no [`Amount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AmountError {
    /// Not a plain decimal number.
    #[error("must be a decimal number")]
    Shape,
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// More than the type holds, or more than six decimals.
    #[error("must be below 1000000000000 and have at most 6 decimals")]
    OutOfRange,
}

impl Amount {
    const SCALE: i64 = 1_000_000;

    /// Reads a decimal number without exponent, such as `1500` or `12.50`.
    ///
    /// # Errors
    /// [`AmountError`] names what is wrong.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let decimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !decimal(whole) || !decimal(fraction) {
            return Err(AmountError::Shape);
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        if whole.len() > 12 || fraction.len() > 6 {
            return Err(if negative { AmountError::Negative } else { AmountError::OutOfRange });
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| AmountError::OutOfRange)? };
        let millionths: i64 = format!("{fraction:0<6}").parse().map_err(|_| AmountError::OutOfRange)?;
        let amount = whole * Self::SCALE + millionths;
        if negative && amount > 0 { Err(AmountError::Negative) } else { Ok(Self(amount)) }
    }

    /// The amount of so many millionths.
    ///
    /// # Errors
    /// [`AmountError`] outside the range.
    pub const fn from_millionths(millionths: i64) -> Result<Self, AmountError> {
        match millionths {
            ..0 => Err(AmountError::Negative),
            0..1_000_000_000_000_000_000 => Ok(Self(millionths)),
            _ => Err(AmountError::OutOfRange),
        }
    }

    /// The amount in millionths.
    #[must_use]
    pub const fn millionths(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Amount {
    /// As short as it is exact: `1500`, `12.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&millionths_to_text(self.0.into()))
    }
}

/// A number of millionths as a decimal number, as short as it is exact; for sums that pass an [`Amount`]'s range.
#[must_use]
pub fn millionths_to_text(millionths: i128) -> String {
    let (whole, fraction) = (millionths / 1_000_000, (millionths % 1_000_000).unsigned_abs());
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{fraction:06}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// A currency by its three capital letters (ISO 4217 form).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CurrencyCode([u8; 3]);

/// A text that has not the form of a currency code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be three capital letters")]
pub struct CurrencyCodeError;

impl CurrencyCode {
    /// `XXX`: no currency (ISO 4217).
    pub const NONE: Self = Self(*b"XXX");

    /// Accepts three capital ASCII letters.
    ///
    /// # Errors
    /// [`CurrencyCodeError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, CurrencyCodeError> {
        match text.as_bytes() {
            [a, b, c] if [a, b, c].into_iter().all(u8::is_ascii_uppercase) => Ok(Self([*a, *b, *c])),
            _ => Err(CurrencyCodeError),
        }
    }

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters")
    }
}

labels!(
    /// Where a loan stands.
    LoanStatus {
        /// Applied for.
        Submitted = "Submitted and pending approval",
        /// Granted, not paid out.
        Approved = "Approved",
        /// Paid out.
        Active = "Active",
        /// Paid back more than was owed.
        Overpaid = "Overpaid",
        /// The applicant changed its mind.
        Withdrawn = "Withdrawn by applicant",
        /// Not granted.
        Rejected = "Rejected",
        /// Paid back.
        Repaid = "Closed (obligations met)",
        /// Given up.
        WrittenOff = "Closed (written off)",
    }
);

impl LoanStatus {
    /// Whether a loan that stands so keeps its customer from being closed.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Submitted | Self::Approved | Self::Active | Self::Overpaid => true,
            Self::Withdrawn | Self::Rejected | Self::Repaid | Self::WrittenOff => false,
        }
    }

    /// The status of that label, whatever its case.
    #[must_use]
    pub fn from_label_in_any_case(label: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.label().eq_ignore_ascii_case(label))
    }
}

/// How many loans a customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct LoanCounts {
    /// Open ones.
    pub open: u32,
    /// All.
    pub total: u32,
}

/// What the engine reports of a loan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoanPosition {
    /// Where it stands.
    pub status: LoanStatus,
    /// What was applied for.
    pub principal: Amount,
    /// In which currency.
    pub currency: CurrencyCode,
    /// The loan's account number.
    pub account_no: Option<LoanText>,
    /// The product's number.
    pub product_id: Option<i64>,
    /// The product's name.
    pub product_name: Option<LoanText>,
    /// What was granted.
    pub approved_principal: Option<Amount>,
    /// How long it runs, in units of the product.
    pub term_frequency: Option<u32>,
    /// In how many instalments it is paid back.
    pub number_of_repayments: Option<u32>,
    /// The interest of one period, in percent.
    pub interest_rate_per_period: Option<Amount>,
    /// What was paid out.
    pub principal_disbursed: Option<Amount>,
    /// What was paid back.
    pub principal_paid: Option<Amount>,
    /// What is left of the principal.
    pub principal_outstanding: Option<Amount>,
    /// The interest charged.
    pub interest_charged: Option<Amount>,
    /// All that is owed.
    pub total_outstanding: Option<Amount>,
    /// All that was paid.
    pub total_paid: Option<Amount>,
    /// When the next instalment is due.
    pub next_due_date: Option<Date>,
    /// How much is due then.
    pub next_due_amount: Option<Amount>,
    /// When it is to be paid out.
    pub expected_disbursement: Option<Date>,
}

/// A loan as it was last reported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Loan {
    /// The tenant.
    pub organization: OrganizationId,
    /// Its number within the organization.
    pub id: LoanId,
    /// The engine's own key.
    pub external_id: ExternalId,
    /// Whose loan it is; for good.
    pub customer: CustomerId,
    /// How many changes it has had.
    pub version: Version,
    /// What was reported.
    pub position: LoanPosition,
}

/// A change of a loan, and what the store has to hold of its customer for it to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoanChange {
    after: Loan,
    expects: Option<Version>,
    counts: LoanCounts,
    was_open: bool,
    event: RecordEvent,
}

impl LoanChange {
    /// The state to store.
    #[must_use]
    pub const fn after(&self) -> &Loan {
        &self.after
    }

    /// The version that the store has to hold; `None` when it is a new loan.
    #[must_use]
    pub const fn expects(&self) -> Option<Version> {
        self.expects
    }

    /// How many loans the customer has to have, by the store, for the change to apply.
    #[must_use]
    pub const fn counts_before(&self) -> LoanCounts {
        self.counts
    }

    /// How many it has afterwards.
    #[must_use]
    pub fn counts_after(&self) -> LoanCounts {
        // Counts read at another instant than the loan may know of no open one; such a change never applies.
        let open = (self.counts.open + u32::from(self.after.position.status.is_open()))
            .saturating_sub(u32::from(self.was_open));
        LoanCounts { open, total: self.counts.total + u32::from(self.expects.is_none()) }
    }

    /// Whether the store has to hold its customer as Active for the change to apply: it opens the loan.
    #[must_use]
    pub const fn needs_active_customer(&self) -> bool {
        self.after.position.status.is_open() && !self.was_open
    }

    /// What happened.
    #[must_use]
    pub const fn event(&self) -> &RecordEvent {
        &self.event
    }
}

/// Why a position cannot be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LoanRefusal {
    /// A new open loan needs an Active customer.
    #[error("an open loan needs an Active customer")]
    CustomerNotActive,
    /// A known loan that has ended is reopened for an Active customer alone: a closed one's never is.
    #[error("a loan that has ended is reopened only for an Active customer")]
    NotReopened,
    /// A loan never moves to another customer.
    #[error("the loan belongs to another customer")]
    OtherCustomer,
}

impl Loan {
    /// The change from what is stored (nothing, for a loan that is new) to that position.
    ///
    /// # Errors
    /// [`LoanRefusal`] names the rule that forbids it.
    pub fn report(
        stored: Option<&Self>,
        id: LoanId,
        external_id: ExternalId,
        customer: &crate::Customer,
        position: LoanPosition,
        moment: Moment,
    ) -> Result<Outcome<LoanChange>, LoanRefusal> {
        if stored.is_some_and(|loan| loan.customer != customer.id()) {
            return Err(LoanRefusal::OtherCustomer);
        }
        let was_open = stored.is_some_and(|loan| loan.position.status.is_open());
        if position.status.is_open() && !was_open && customer.permit(crate::Transition::OpenLoan).is_err() {
            let new = stored.is_none();
            return Err(if new { LoanRefusal::CustomerNotActive } else { LoanRefusal::NotReopened });
        }
        if stored.is_some_and(|loan| loan.position == position) {
            return Ok(Outcome::Unchanged);
        }
        let version = stored.map_or(Version::FIRST, |loan| loan.version.next());
        let kind = if stored.is_some() { RecordKind::LoanUpdated } else { RecordKind::LoanCreated };
        let before = stored.map(|loan| loan.position.values()).unwrap_or_default();
        let event = RecordEvent {
            kind,
            subject: external_id.as_str().into(),
            customer: Some(customer.id()),
            external_id: customer.external_id().cloned(),
            version,
            at: moment.at,
            changes: NamedChange::between(before, position.values()),
        };
        let after =
            Self { organization: customer.organization(), id, external_id, customer: customer.id(), version, position };
        let expects = stored.map(|loan| loan.version);
        Ok(Outcome::Applied(LoanChange { after, expects, counts: customer.loans(), was_open, event }))
    }
}

impl LoanPosition {
    /// Its values under their wire names; amounts as decimal texts.
    #[must_use]
    pub fn values(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &str| Value::Text(text.into());
        let amount = |amount: Amount| Value::Text(amount.to_string().into());
        let mut values = vec![
            ("status", text(self.status.label())),
            ("principal", amount(self.principal)),
            ("currencyCode", text(self.currency.as_str())),
        ];
        let texts = [("accountNo", &self.account_no), ("loanProductName", &self.product_name)];
        values.extend(texts.into_iter().filter_map(|(name, value)| Some((name, text(value.as_ref()?.as_str())))));
        let integers = [
            ("loanProductId", self.product_id),
            ("termFrequency", self.term_frequency.map(i64::from)),
            ("numberOfRepayments", self.number_of_repayments.map(i64::from)),
        ];
        values.extend(integers.into_iter().filter_map(|(name, value)| Some((name, Value::Integer(value?)))));
        let amounts = [
            ("approvedPrincipal", self.approved_principal),
            ("interestRatePerPeriod", self.interest_rate_per_period),
            ("principalDisbursed", self.principal_disbursed),
            ("principalPaid", self.principal_paid),
            ("principalOutstanding", self.principal_outstanding),
            ("interestCharged", self.interest_charged),
            ("totalOutstanding", self.total_outstanding),
            ("totalPaid", self.total_paid),
            ("nextDueAmount", self.next_due_amount),
        ];
        values.extend(amounts.into_iter().filter_map(|(name, value)| Some((name, amount(value?)))));
        let dates = [("nextDueDate", self.next_due_date), ("expectedDisbursementDate", self.expected_disbursement)];
        values.extend(dates.into_iter().filter_map(|(name, value)| Some((name, Value::Date(value?)))));
        values
    }

    /// Rebuilds a position from the values that [`LoanPosition::values`] gives; `None` for any others.
    #[must_use]
    pub fn from_values<'a>(mut get: impl FnMut(&str) -> Option<&'a Value>) -> Option<Self> {
        let mut read = Reader { get: &mut get, sound: true };
        let position = Self {
            status: read.text("status", LoanStatus::from_label)?,
            principal: read.text("principal", |text| Amount::parse(text).ok())?,
            currency: read.text("currencyCode", |text| CurrencyCode::parse(text).ok())?,
            account_no: read.text("accountNo", |text| LoanText::parse(text).ok()),
            product_id: read.integer("loanProductId"),
            product_name: read.text("loanProductName", |text| LoanText::parse(text).ok()),
            approved_principal: read.amount("approvedPrincipal"),
            term_frequency: read.small("termFrequency"),
            number_of_repayments: read.small("numberOfRepayments"),
            interest_rate_per_period: read.amount("interestRatePerPeriod"),
            principal_disbursed: read.amount("principalDisbursed"),
            principal_paid: read.amount("principalPaid"),
            principal_outstanding: read.amount("principalOutstanding"),
            interest_charged: read.amount("interestCharged"),
            total_outstanding: read.amount("totalOutstanding"),
            total_paid: read.amount("totalPaid"),
            next_due_date: read.date("nextDueDate"),
            next_due_amount: read.amount("nextDueAmount"),
            expected_disbursement: read.date("expectedDisbursementDate"),
        };
        read.sound.then_some(position)
    }
}

/// Reads named values, and remembers whether one had the wrong form.
struct Reader<'r, 'a> {
    get: &'r mut dyn FnMut(&str) -> Option<&'a Value>,
    sound: bool,
}

impl Reader<'_, '_> {
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = (self.get)(name)?;
        let read = read(value);
        self.sound &= read.is_some();
        read
    }

    fn text<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.read(name, |value| match value {
            Value::Text(text) => parse(text),
            Value::Integer(_) | Value::Date(_) | Value::Instant(_) | Value::List(_) => None,
        })
    }

    fn amount(&mut self, name: &str) -> Option<Amount> {
        self.text(name, |text| Amount::parse(text).ok())
    }

    fn integer(&mut self, name: &str) -> Option<i64> {
        self.read(name, |value| match value {
            Value::Integer(number) => Some(*number),
            Value::Text(_) | Value::Date(_) | Value::Instant(_) | Value::List(_) => None,
        })
    }

    fn small(&mut self, name: &str) -> Option<u32> {
        self.integer(name).and_then(|number| u32::try_from(number).ok())
    }

    fn date(&mut self, name: &str) -> Option<Date> {
        self.read(name, |value| match value {
            Value::Date(date) => Some(*date),
            // Stores write dates as texts; which texts are dates is for the reader of the field to say.
            Value::Text(text) => Date::parse(text).ok(),
            Value::Integer(_) | Value::Instant(_) | Value::List(_) => None,
        })
    }
}

labels!(
    /// How creditworthy a customer is.
    Grade {
        /// Best.
        A = "A",
        /// Good.
        B = "B",
        /// Fair.
        C = "C",
        /// Not graded.
        Ungraded = "XX",
    }
);

/// What a scoring engine says of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Score {
    /// How creditworthy.
    pub grade: Grade,
    /// 0 to 1000.
    pub score: u16,
    /// Up to how much.
    pub limit: Amount,
}

/// A reported score with its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreChange {
    external_id: ExternalId,
    score: Score,
    event: RecordEvent,
}

impl ScoreChange {
    /// The report of that score for that external id, whether or not a customer has it.
    #[must_use]
    pub fn reported(external_id: ExternalId, before: Option<Score>, score: Score, moment: Moment) -> Self {
        let event = RecordEvent {
            kind: RecordKind::ScoreReported,
            subject: external_id.as_str().into(),
            customer: None,
            external_id: Some(external_id.clone()),
            version: Version::FIRST,
            at: moment.at,
            changes: NamedChange::between(before.map(Score::values).unwrap_or_default(), score.values()),
        };
        Self { external_id, score, event }
    }

    /// Whose score it is.
    #[must_use]
    pub const fn external_id(&self) -> &ExternalId {
        &self.external_id
    }

    /// The score.
    #[must_use]
    pub const fn score(&self) -> Score {
        self.score
    }

    /// What happened.
    #[must_use]
    pub const fn event(&self) -> &RecordEvent {
        &self.event
    }
}

impl Score {
    fn values(self) -> Vec<(&'static str, Value)> {
        vec![
            ("grade", Value::Text(self.grade.label().into())),
            ("score", Value::Integer(self.score.into())),
            ("limit", Value::Text(self.limit.to_string().into())),
        ]
    }

    /// What is said of a customer that no score was reported for: `XX`, 100, 0.
    pub const UNKNOWN: Self = Self { grade: Grade::Ungraded, score: 100, limit: Amount(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_never_negative() {
        for (written, shown) in [
            ("0", "0"),
            ("1500", "1500"),
            ("12.50", "12.5"),
            ("0.000001", "0.000001"),
            ("-0", "0"),
            ("999999999999.999999", "999999999999.999999"),
        ] {
            assert_eq!(Amount::parse(written).unwrap().to_string(), shown);
        }
        assert_eq!(Amount::parse("-0.01"), Err(AmountError::Negative));
        for text in ["1000000000000", "0.0000001"] {
            assert_eq!(Amount::parse(text), Err(AmountError::OutOfRange));
        }
        for text in ["", ".", "1.", ".5", "1e3", "NaN", "1,5", "+1"] {
            assert_eq!(Amount::parse(text), Err(AmountError::Shape), "{text:?}");
        }
    }

    #[test]
    fn four_of_the_eight_labels_are_open() {
        assert_eq!(LoanStatus::ALL.iter().filter(|status| status.is_open()).count(), 4);
        assert_eq!(LoanStatus::from_label_in_any_case("closed (OBLIGATIONS met)"), Some(LoanStatus::Repaid));
    }
}
