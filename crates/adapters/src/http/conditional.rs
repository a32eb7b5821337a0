//! Entity tags and conditional requests (RFC 9110 section 13), the same for every dialect.
//!
//! Owns the syntax of `If-Match` and `If-None-Match` and what a tag says. It must not know what a version belongs to nor how a
//! dialect words a refusal.

use custodia_domain::Version;
use custodia_domain::registry::Precondition;
use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use thiserror::Error;

/// An `If-Match` that is neither `*` nor one entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be * or one entity tag such as \"3\"")]
pub struct TagError;

/// The `ETag` of a version, as a header of an answer: strong, its number in quotes.
#[must_use]
pub fn etag(version: Version) -> (Box<str>, Box<str>) {
    ("etag".into(), format!("\"{version}\"").into())
}

/// Whether a GET may be answered with 304: its `If-None-Match` names the version (weak comparison) or `*`.
#[must_use]
pub fn is_known(headers: &HeaderMap, version: Version) -> bool {
    let current = version.to_string();
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|tag| {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(&current)
    })
}

/// What the `If-Match` of a request wants. A tag that we never gave names no version: it is refused like an old one.
///
/// # Errors
/// [`TagError`] for more than one header or tag, or a malformed one.
pub fn precondition(headers: &HeaderMap) -> Result<Precondition, TagError> {
    let mut sent = headers.get_all(IF_MATCH).iter();
    let Some(value) = sent.next() else {
        return Ok(Precondition::None);
    };
    let tag = value.to_str().map_err(|_| TagError)?.trim();
    if sent.next().is_some() {
        return Err(TagError);
    }
    if tag == "*" {
        return Ok(Precondition::Exists);
    }
    let (weak, quoted) = tag.strip_prefix("W/").map_or((false, tag), |rest| (true, rest));
    let opaque = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(TagError)?;
    if opaque.contains('"') {
        return Err(TagError);
    }
    // A weak tag never matches (RFC 9110 section 13.1.1).
    let canonical = !weak && !opaque.starts_with('0') && opaque.bytes().all(|byte| byte.is_ascii_digit());
    let number = opaque.parse().ok().filter(|_| canonical).and_then(|number| Version::parse(number).ok());
    let never = || Version::parse(i64::MAX).expect("the greatest number is positive");
    Ok(Precondition::Version(number.unwrap_or_else(never)))
}

/// An `If-None-Match` of a put that is not `*`, or beside an `If-Match`: a put goes on only where nothing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be * and stand without If-Match")]
pub struct AbsenceError;

/// Whether a put may only create: its `If-None-Match` is `*`.
///
/// # Errors
/// [`AbsenceError`] for anything else, and where the request has an `If-Match` as well.
pub fn wants_absence(headers: &HeaderMap) -> Result<bool, AbsenceError> {
    let mut sent = headers.get_all(IF_NONE_MATCH).iter();
    let Some(value) = sent.next() else {
        return Ok(false);
    };
    let any = value.to_str().is_ok_and(|tag| tag.trim() == "*");
    if any && sent.next().is_none() && !headers.contains_key(IF_MATCH) { Ok(true) } else { Err(AbsenceError) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn sent(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn if_match_names_a_version_any_or_none() {
        let three = Precondition::Version(Version::parse(3).unwrap());
        let never = Precondition::Version(Version::parse(i64::MAX).unwrap());
        assert_eq!(precondition(&sent(&IF_MATCH, &[])), Ok(Precondition::None));
        assert_eq!(precondition(&sent(&IF_MATCH, &["*"])), Ok(Precondition::Exists));
        assert_eq!(precondition(&sent(&IF_MATCH, &["\"3\""])), Ok(three));
        for foreign in ["\"03\"", "W/\"3\"", "\"x\"", "\"\"", "\"99999999999999999999\""] {
            assert_eq!(precondition(&sent(&IF_MATCH, &[foreign])), Ok(never), "{foreign}");
        }
        for bad in ["3", "", "\"3", "\"3\", \"4\"", "\"", "w/\"3\""] {
            assert_eq!(precondition(&sent(&IF_MATCH, &[bad])), Err(TagError), "{bad}");
        }
        assert_eq!(precondition(&sent(&IF_MATCH, &["\"3\"", "\"3\""])), Err(TagError));
    }

    #[test]
    fn a_put_takes_if_none_match_for_creation_alone() {
        assert_eq!(wants_absence(&sent(&IF_NONE_MATCH, &[])), Ok(false));
        assert_eq!(wants_absence(&sent(&IF_NONE_MATCH, &["*"])), Ok(true));
        for bad in [&["\"3\""][..], &["*", "*"], &["*, \"3\""], &[""]] {
            assert_eq!(wants_absence(&sent(&IF_NONE_MATCH, bad)), Err(AbsenceError), "{bad:?}");
        }
        let mut both = sent(&IF_NONE_MATCH, &["*"]);
        both.insert(IF_MATCH, HeaderValue::from_static("*"));
        assert_eq!(wants_absence(&both), Err(AbsenceError));
    }

    #[test]
    fn if_none_match_compares_weakly_and_takes_lists() {
        let version = Version::parse(3).unwrap();
        for known in [&["*"][..], &["\"3\""], &["W/\"3\""], &["\"1\", \"3\""], &["\"1\"", "\"3\""]] {
            assert!(is_known(&sent(&IF_NONE_MATCH, known), version), "{known:?}");
        }
        for unknown in [&[][..], &["\"4\""], &["3"], &["\"33\""]] {
            assert!(!is_known(&sent(&IF_NONE_MATCH, unknown), version), "{unknown:?}");
        }
    }
}
