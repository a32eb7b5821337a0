//! How the two address prefixes name a customer. Must not know what is done to it.

use axum::extract::MatchedPath;
use custodia_domain::ports::Selector;
use custodia_domain::{CustomerId, ExternalId};

use super::call::Call;
use crate::http::query::path_param;

const BY_ID: &str = "customer_id";
const BY_EXTERNAL_ID: &str = "customer_external_id";

impl Call {
    /// The customer that the path names; `None`, and a problem, where it names none.
    pub(super) fn selector(&mut self) -> Option<Selector> {
        let external =
            self.parts.extensions.get::<MatchedPath>().is_some_and(|path| path.as_str().contains(BY_EXTERNAL_ID));
        let name = if external { BY_EXTERNAL_ID } else { BY_ID };
        let parsed = path_param(&self.parts, name).map_err(|error| error.to_string()).and_then(|text| {
            if external {
                ExternalId::parse(&text).map(Selector::ExternalId).map_err(|error| error.to_string())
            } else {
                parse_id(&text).map(Selector::Id).ok_or_else(|| "must be a positive integer".to_owned())
            }
        });
        parsed.map_err(|error| self.problems.add(name, error)).ok()
    }
}

/// A positive integer in digits. One too large to exist becomes the greatest there is, which nobody has.
pub(super) fn parse_id(text: &str) -> Option<CustomerId> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let positive = text.bytes().any(|byte| byte != b'0');
    (digits && positive).then(|| CustomerId::parse(text.parse().unwrap_or(i64::MAX)).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_positive_integer_and_one_too_large_is_nobodys() {
        assert_eq!(parse_id("42").unwrap().get(), 42);
        assert_eq!(parse_id("9223372036854775808").unwrap().get(), i64::MAX);
        for bad in ["", "0", "000", "-1", "+1", "1.0", "x", " 1", "１"] {
            assert_eq!(parse_id(bad), None, "{bad:?}");
        }
    }
}
