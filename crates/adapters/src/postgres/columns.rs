//! How values cross the wire to and from PostgreSQL: dates, instants and search words in the server's own binary
//! form. Must not know any statement.

use custodia_domain::{Customer, Date, OrganizationId, Timestamp, search};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROSECONDS: i64 = 10_957 * 86_400_000_000;

const DATE: Oid = Oid(1082);
const DATE_ARRAY: Oid = Oid(1182);
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);
const TSVECTOR: Oid = Oid(3614);
const TSVECTOR_ARRAY: Oid = Oid(3643);

/// The greatest number of bytes of a search word with its organization: PostgreSQL's own limit for a lexeme is 2,046.
/// A longer word is cut in the index and in a query alike, so that it still finds itself.
const LEXEME_LIMIT: usize = 2_000;

/// A `date`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SqlDate(pub(super) Date);

impl Type<Postgres> for SqlDate {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(DATE)
    }
}

impl PgHasArrayType for SqlDate {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(DATE_ARRAY)
    }
}

impl Encode<'_, Postgres> for SqlDate {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&(self.0.days_since_epoch() - EPOCH_DAYS).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for SqlDate {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let days = i32::from_be_bytes(value.as_bytes()?.try_into()?);
        let days = days.checked_add(EPOCH_DAYS).ok_or("a date beyond the calendar")?;
        Ok(Self(Date::from_days_since_epoch(days)?))
    }
}

/// A `timestamptz`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SqlInstant(pub(super) Timestamp);

impl Type<Postgres> for SqlInstant {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for SqlInstant {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for SqlInstant {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&(self.0.microseconds() - EPOCH_MICROSECONDS).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for SqlInstant {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let microseconds = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        let microseconds = microseconds.checked_add(EPOCH_MICROSECONDS).ok_or("an instant beyond the calendar")?;
        Ok(Self(Timestamp::from_microseconds(microseconds)?))
    }
}

/// A `tsvector` of a customer's words, without positions.
#[derive(Debug, Clone)]
pub(super) struct SqlWords(Vec<u8>);

impl SqlWords {
    /// The words of that customer, each behind its organization's number: no organization's words lengthen the
    /// search of another one.
    pub(super) fn of(customer: &Customer) -> Self {
        let words = search::words_of(customer);
        let mut bytes = Vec::with_capacity(4 + words.len() * 24);
        bytes.extend_from_slice(&[0; 4]);
        let mut count: u32 = 0;
        let mut last = String::new();
        for word in words {
            let lexeme = lexeme(customer.organization(), &word);
            // In byte order already; only words that were cut can have become equal.
            if lexeme == last {
                continue;
            }
            bytes.extend_from_slice(lexeme.as_bytes());
            // The end of the text, and a count of zero positions.
            bytes.extend_from_slice(&[0, 0, 0]);
            count += 1;
            last = lexeme;
        }
        bytes[..4].copy_from_slice(&count.to_be_bytes());
        Self(bytes)
    }
}

impl Type<Postgres> for SqlWords {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TSVECTOR)
    }
}

impl PgHasArrayType for SqlWords {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TSVECTOR_ARRAY)
    }
}

impl Encode<'_, Postgres> for SqlWords {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

/// The text of a `tsquery` that matches customers of that organization in which each of the words begins one.
/// `None` where there is no word.
pub(super) fn prefix_query(organization: OrganizationId, words: &[String]) -> Option<String> {
    let mut query = String::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        if !query.is_empty() {
            query.push_str(" & ");
        }
        query.push('\'');
        for c in lexeme(organization, word).chars() {
            // Within quotes these two alone are special; each stands for itself when it is doubled.
            if c == '\'' || c == '\\' {
                query.push(c);
            }
            query.push(c);
        }
        query.push_str("':*");
    }
    (!query.is_empty()).then_some(query)
}

fn lexeme(organization: OrganizationId, word: &str) -> String {
    let mut lexeme = format!("{organization}/{word}");
    if lexeme.len() > LEXEME_LIMIT {
        lexeme.truncate(lexeme.floor_char_boundary(LEXEME_LIMIT));
    }
    lexeme
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_query_quotes_what_the_server_would_read_as_its_own() {
        let query = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            prefix_query(OrganizationId::FIRST, &words)
        };
        assert_eq!(query(&[]), None);
        assert_eq!(query(&[""]), None);
        assert_eq!(query(&["ada", "love"]).as_deref(), Some(r"'1/ada':* & '1/love':*"));
        assert_eq!(query(&[r"o'brien\ & !x:*"]).as_deref(), Some(r"'1/o''brien\\ & !x:*':*"));
        let long = "é".repeat(2_000);
        assert_eq!(query(&[&long]).unwrap().len(), LEXEME_LIMIT + "'':*".len());
    }
}
