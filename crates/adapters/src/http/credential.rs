//! Where a request carries its credential.
//!
//! Owns the reading of `Authorization` and of headers that are a secret by themselves. It must not know what a credential is
//! worth: [`Authenticator`](super::auth::Authenticator) does.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

/// What follows the scheme in the one `Authorization` header; `None` where there is none, more than one, or another scheme.
#[must_use]
pub fn of_scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (named, credential) = of_header(headers, &AUTHORIZATION)?.split_once(' ')?;
    let credential = credential.trim_matches(' ');
    (named.eq_ignore_ascii_case(scheme) && !credential.is_empty()).then_some(credential)
}

/// The value of a header that is a credential by itself; `None` where it is absent, empty, sent twice or no visible text.
#[must_use]
pub fn of_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut sent = headers.get_all(name).iter();
    let credential = sent.next()?.to_str().ok()?;
    (sent.next().is_none() && !credential.is_empty()).then_some(credential)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn sent(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_scheme_is_read_in_any_case_from_the_one_header() {
        assert_eq!(of_scheme(&sent(&["Bearer abc"]), "Bearer"), Some("abc"));
        assert_eq!(of_scheme(&sent(&["bEARER   abc "]), "Bearer"), Some("abc"));
        for bad in [&[][..], &["Bearer"], &["Bearer "], &["Basic abc"], &["abc"], &["Bearer a", "Bearer a"]] {
            assert_eq!(of_scheme(&sent(bad), "Bearer"), None, "{bad:?}");
        }
        assert_eq!(of_header(&sent(&["k", "k"]), &AUTHORIZATION), None);
        assert_eq!(of_header(&sent(&[""]), &AUTHORIZATION), None);
    }
}
