//! The values a customer is made of: each has one fallible `parse` and cannot exist unless it is valid.
//! Must not know where a value comes from or how it is stored.

use std::fmt;

use email_address::{EmailAddress as Parsed, Options};
use thiserror::Error;

/// Why a number is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a positive integer of at most 63 bits")]
pub struct IdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// The first one of its kind: 1.
            pub const FIRST: Self = Self(1);

            /// Accepts 1 to 2^63 - 1.
            ///
            /// # Errors
            /// [`IdError`] for zero and negative numbers.
            pub const fn parse(number: i64) -> Result<Self, IdError> {
                if number >= 1 { Ok(Self(number)) } else { Err(IdError) }
            }

            /// The number, 1 to 2^63 - 1.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// The tenant that a record belongs to; part of every key.
    OrganizationId
);
id!(
    /// A branch of an organization, numbered within it.
    OfficeId
);
id!(
    /// A customer's number, unique within its organization.
    CustomerId
);
id!(
    /// A code value for gender, given by the organization's reference data.
    GenderId
);
id!(
    /// A code value for a legal form, given by the organization's reference data.
    LegalFormId
);
id!(
    /// The code of the reason for which a customer was closed.
    ClosureReasonId
);
id!(
    /// A company's number within its organization.
    CompanyNumber
);
id!(
    /// A loan's number within its organization.
    LoanId
);
id!(
    /// How many changes a record has had: 1 when created, one more with every event.
    Version
);
id!(
    /// The place of an event in its organization's order of commits; ascending, with gaps.
    Sequence
);

impl Version {
    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The version before this one; `None` before the first.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        if self.0 > 1 { Some(Self(self.0 - 1)) } else { None }
    }
}

impl CustomerId {
    /// The human-readable account number that this id gives its customer.
    #[must_use]
    pub const fn account_no(self) -> AccountNo {
        AccountNo(self)
    }
}

/// A customer's account number: its id, zero-padded to 9 digits (longer ids in full).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountNo(CustomerId);

impl fmt::Display for AccountNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:09}", self.0.get())
    }
}

/// Why a text is not a valid value of its type; the text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextError {
    /// No characters, or white space alone.
    #[error("must not be empty")]
    Empty,
    /// More code points than the type allows.
    #[error("must have at most {limit} characters")]
    TooLong {
        /// The greatest number of Unicode code points allowed.
        limit: usize,
    },
    /// A character of Unicode category Cc.
    #[error("must not contain control characters")]
    Control,
    /// White space at the beginning or the end.
    #[error("must not begin or end with white space")]
    Surrounded,
}

/// Checks length in code points, control characters and surrounding white space.
pub(crate) fn checked(text: &str, limit: usize) -> Result<&str, TextError> {
    // Nearly every text is short, and printable ASCII.
    if let ([b'!'..=b'~', .., b'!'..=b'~'] | [b'!'..=b'~'], true) = (text.as_bytes(), text.len() <= limit)
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    {
        return Ok(text);
    }
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    // A code point takes at most four bytes: the count is only needed for texts that could be too long.
    if text.len() > limit && text.chars().count() > limit {
        return Err(TextError::TooLong { limit });
    }
    if text.chars().any(char::is_control) {
        return Err(TextError::Control);
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(TextError::Surrounded);
    }
    Ok(text)
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $limit:literal, trimmed: $trimmed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The greatest length, in Unicode code points.
            pub const LIMIT: usize = $limit;

            /// Accepts 1 to [`Self::LIMIT`] code points without control characters.
            ///
            /// # Errors
            /// [`TextError`] names the rule that is broken.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                let text = if $trimmed { text.trim() } else { text };
                checked(text, $limit).map(|text| Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use text;
text!(
    /// The caller's own key of a customer, unique within an organization and compared byte for byte: 1 to 128
    /// code points, no control characters, no surrounding white space (rejected, not trimmed).
    ExternalId, 128, trimmed: false
);
text!(
    /// A first, middle or last name: 1 to 100 code points; surrounding white space is trimmed.
    NamePart, 100, trimmed: true
);
text!(
    /// A whole name, for people and firms whose name is split nowhere: 1 to 200 code points; surrounding white
    /// space is trimmed.
    FullName, 200, trimmed: true
);
text!(
    /// A contact number as the caller writes it: 1 to 50 code points; surrounding white space is trimmed.
    MobileNumber, 50, trimmed: true
);
text!(
    /// The name of an office (branch): 1 to 100 code points.
    OfficeName, 100, trimmed: true
);

/// What is wrong with an external id; the same rules as every text.
pub type ExternalIdError = TextError;

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person of flesh and blood, or a firm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientType {
    /// Code 1.
    Person,
    /// Code 2.
    Entity,
}

impl ClientType {
    /// Accepts the codes 1 and 2; `None` for every other.
    #[must_use]
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Person),
            2 => Some(Self::Entity),
            _ => None,
        }
    }

    /// 1 for a person, 2 for an entity.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Person => 1,
            Self::Entity => 2,
        }
    }
}

/// An e-mail address of at most 254 characters (RFC 5321 section 4.5.3.1.3), kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(Box<str>);

/// Why a text is not an [`EmailAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EmailError {
    /// More than 254 characters.
    #[error("must have at most 254 characters")]
    TooLong,
    /// There is no `@` with something on both sides.
    #[error("must have an @-sign between a mailbox and a domain")]
    NoAt,
    /// The part before the `@` or the domain after it is malformed.
    #[error("must be a valid e-mail address")]
    Malformed,
}

impl EmailAddress {
    /// The greatest length, in characters.
    pub const LIMIT: usize = 254;

    /// Accepts an addr-spec with a domain of at least two labels: no display name, no quoted mailbox, no address
    /// literal.
    ///
    /// # Errors
    /// [`EmailError`] names what is wrong.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        if text.len() > Self::LIMIT && text.chars().count() > Self::LIMIT {
            return Err(EmailError::TooLong);
        }
        let Some((mailbox, domain)) = text.rsplit_once('@') else {
            return Err(EmailError::NoAt);
        };
        if mailbox.is_empty() || domain.is_empty() {
            return Err(EmailError::NoAt);
        }
        if is_plain(mailbox, domain) {
            return Ok(Self(text.into()));
        }
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        Parsed::parse_with_options(text, options).map_err(|_| EmailError::Malformed)?;
        let labels_hold = domain.split('.').all(|label| {
            let inner = |c: char| c.is_alphanumeric() || c == '-';
            !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        });
        let quoted_or_odd = mailbox.contains(['"', '@']) || text.chars().any(|c| c.is_control() || c.is_whitespace());
        if !labels_hold || quoted_or_odd {
            return Err(EmailError::Malformed);
        }
        Ok(Self(text.into()))
    }

    /// The address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether an address is of the most common form: words of ASCII letters, digits, `_`, `+` and `-` between dots, short enough
/// for every rule. Whatever is otherwise is looked at more closely.
fn is_plain(mailbox: &str, domain: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b));
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    mailbox.len() <= 64
        && domain.len() <= 180
        && domain.contains('.')
        && mailbox.split('.').all(is_word)
        && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_address_is_one_by_the_whole_rules_too() {
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        let words = ["a", "9", "ada-l", "-", "_x", "+", "A1+b"];
        let labels = ["a", "9", "xn--a-1", "EXAMPLE", "a-b"];
        for (first, second) in words.iter().flat_map(|first| words.iter().map(move |second| (first, second))) {
            for (left, right) in labels.iter().flat_map(|left| labels.iter().map(move |right| (left, right))) {
                for mailbox in [(*first).to_owned(), format!("{first}.{second}")] {
                    let domain = format!("{left}.{right}");
                    assert!(is_plain(&mailbox, &domain));
                    let text = format!("{mailbox}@{domain}");
                    assert!(Parsed::parse_with_options(&text, options).is_ok(), "{text}");
                }
            }
        }
        for (mailbox, domain) in [
            ("", "a.b"),
            (".a", "a.b"),
            ("a.", "a.b"),
            ("a..b", "a.b"),
            ("a b", "a.b"),
            ("\"a\"", "a.b"),
            ("é", "a.b"),
            ("a", "localhost"),
            ("a", "a..b"),
            ("a", ".a"),
            ("a", "a."),
            ("a", "-a.b"),
            ("a", "a-.b"),
            ("a", "a_b.c"),
        ] {
            assert!(!is_plain(mailbox, domain), "{mailbox}@{domain}");
        }
    }

    #[test]
    fn an_external_id_is_kept_byte_for_byte_or_refused() {
        for text in ["a", "a/b%2F", "Ünï çødé 名", &"é".repeat(128)] {
            assert_eq!(ExternalId::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(ExternalId::parse(""), Err(TextError::Empty));
        assert_eq!(ExternalId::parse(&"é".repeat(129)), Err(TextError::TooLong { limit: 128 }));
        assert_eq!(ExternalId::parse("a\u{85}b"), Err(TextError::Control));
        for text in [" a", "a ", "a\u{a0}", "\u{3000}a"] {
            assert_eq!(ExternalId::parse(text), Err(TextError::Surrounded), "{text:?}");
        }
    }

    #[test]
    fn an_account_number_has_nine_digits_or_the_whole_id() {
        assert_eq!(CustomerId::parse(42).unwrap().account_no().to_string(), "000000042");
        assert_eq!(CustomerId::parse(12_345_678_901).unwrap().account_no().to_string(), "12345678901");
    }

    #[test]
    fn ids_are_positive() {
        assert_eq!(CustomerId::parse(0), Err(IdError));
        assert_eq!(OfficeId::parse(-1), Err(IdError));
        assert_eq!(Version::FIRST.next().get(), 2);
        assert_eq!(Version::FIRST.previous(), None);
    }

    #[test]
    fn e_mail_addresses_are_checked_on_both_sides_of_the_at_sign() {
        for text in ["ada@example.com", "a.b+c@sub.example.co", "用户@例子.公司"] {
            assert!(EmailAddress::parse(text).is_ok(), "{text}");
        }
        for text in [
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "a b@example.com",
            "\"a\"@example.com",
            "Ada <ada@example.com>",
            "ada@-x.com",
            "ada@[127.0.0.1]",
            "a@b@example.com",
            "ada@example.com\n",
            "ada@exa mple.com",
            ".ada@example.com",
        ] {
            assert!(EmailAddress::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(250))), Err(EmailError::TooLong));
    }
}
