//! Why a caller changes something, in its own words: the `Custodia-Reason` header, the same for every dialect.
//!
//! Owns its syntax. It must not know what is changed nor how a dialect words a refusal.

use http::{HeaderMap, Method};
use thiserror::Error;

use super::query::decode;

/// The header's name, as clients write it.
pub const REASON: &str = "Custodia-Reason";

/// The most characters of a reason.
const LIMIT: usize = 200;

/// A header that holds no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be given once, as 1 to 200 characters of visible ASCII or percent-encoded UTF-8")]
pub struct ReasonError;

/// The reason that a request gives; none for one that only reads.
///
/// # Errors
/// [`ReasonError`] for more than one header, or one that is empty, too long, malformed, or has control characters.
pub fn reason_of(method: &Method, headers: &HeaderMap) -> Result<Option<Box<str>>, ReasonError> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(None);
    }
    let mut sent = headers.get_all(REASON).iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    let raw = value.to_str().map_err(|_| ReasonError)?;
    let text = decode(raw).map_err(|_| ReasonError)?;
    let told = (1..=LIMIT).contains(&text.chars().count()) && !text.trim().is_empty();
    if sent.next().is_some() || !told || text.chars().any(char::is_control) {
        Err(ReasonError)
    } else {
        Ok(Some(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn sent(values: &[&str]) -> Result<Option<Box<str>>, ReasonError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(REASON, HeaderValue::from_str(value).unwrap());
        }
        reason_of(&Method::PUT, &headers)
    }

    #[test]
    fn a_reason_is_ascii_or_percent_encoded() {
        assert_eq!(sent(&[]), Ok(None));
        assert_eq!(sent(&["asked by the customer, #7"]), Ok(Some("asked by the customer, #7".into())));
        assert_eq!(sent(&["%C5%82%20100%25+"]), Ok(Some("ł 100%+".into())));
        let longest = "%F0%9F%A6%80".repeat(200);
        assert_eq!(sent(&[&longest]), Ok(Some("🦀".repeat(200).into())));
    }

    #[test]
    fn anything_else_is_refused() {
        let too_long = "x".repeat(201);
        for bad in ["", "%", "100%", "%zz", "%ff", "%00", "%0A", "%20%20", &too_long] {
            assert_eq!(sent(&[bad]), Err(ReasonError), "{bad}");
        }
        assert_eq!(sent(&["a", "a"]), Err(ReasonError));
        let mut latin = HeaderMap::new();
        latin.insert(REASON, HeaderValue::from_bytes(b"\xe9").unwrap());
        assert_eq!(reason_of(&Method::PUT, &latin), Err(ReasonError));
        assert_eq!(reason_of(&Method::GET, &latin), Ok(None));
    }
}
