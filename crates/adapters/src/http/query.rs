//! Strict reading of paths and queries.
//!
//! Owns percent-decoding (to UTF-8, no NUL, no stray `%`) and the bookkeeping of query parameters. It must not know any
//! dialect: it says which parameter is wrong and how, and the dialects word their own errors.

use axum::extract::MatchedPath;
use http::request::Parts;

use super::context::FullUri;

/// Why a piece of a path or query could not be decoded. Never holds the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A `%` that two hexadecimal digits do not follow.
    #[error("invalid percent-encoding")]
    Percent,
    /// The decoded bytes are not UTF-8.
    #[error("not valid UTF-8")]
    Utf8,
    /// The decoded text holds U+0000.
    #[error("contains a NUL character")]
    Nul,
    /// The path has no such segment.
    #[error("missing")]
    Missing,
}

/// Decodes one percent-encoded piece; `+` stays a plus sign.
///
/// # Errors
/// [`DecodeError`] other than `Missing`.
pub fn decode(raw: &str) -> Result<String, DecodeError> {
    let bytes = raw.as_bytes();
    let stray = bytes.iter().enumerate().any(|(at, byte)| {
        *byte == b'%'
            && !(bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit)
                && bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit))
    });
    if stray {
        return Err(DecodeError::Percent);
    }
    let decoded = percent_encoding::percent_decode(bytes).decode_utf8().map_err(|_| DecodeError::Utf8)?;
    if decoded.contains('\0') {
        return Err(DecodeError::Nul);
    }
    Ok(decoded.into_owned())
}

/// Decodes the `index`-th segment (from 0) of a raw path: `/v1/customers/a%2Fb` has `v1`, `customers` and `a/b`.
///
/// # Errors
/// [`DecodeError`]; `Missing` where the path has fewer segments.
pub fn path_segment(raw_uri_path: &str, index: usize) -> Result<String, DecodeError> {
    let path = raw_uri_path.strip_prefix('/').unwrap_or(raw_uri_path);
    path.split('/').nth(index).ok_or(DecodeError::Missing).and_then(decode)
}

/// Decodes the segment that the route template calls `{name}`, from the raw path: axum's own `Path` would answer an invalid
/// encoding in its own words. Works in nested routers too.
///
/// # Errors
/// [`DecodeError`]; `Missing` where the template has no such name.
pub fn path_param(parts: &Parts, name: &str) -> Result<String, DecodeError> {
    let template = parts.extensions.get::<MatchedPath>().ok_or(DecodeError::Missing)?;
    let index = template
        .as_str()
        .trim_start_matches('/')
        .split('/')
        .position(|segment| segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) == Some(name))
        .ok_or(DecodeError::Missing)?;
    let uri = parts.extensions.get::<FullUri>().map_or(&parts.uri, |full| &full.0);
    path_segment(uri.path(), index)
}

/// What is wrong with one query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryFault {
    /// Its name or its value does not decode.
    Undecodable(DecodeError),
    /// It is given more than once.
    Duplicate,
    /// Nobody asked for it.
    Unknown,
}

/// One query parameter that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryProblem {
    /// Its decoded name, or the raw one where that does not decode.
    pub name: String,
    /// What is wrong.
    pub fault: QueryFault,
}

struct Parameter {
    name: String,
    value: String,
    fault: Option<QueryFault>,
    taken: bool,
}

/// The parameters of a query, handed out by name; whatever was not asked for is a problem at the end.
///
/// `Debug` is not derived: values may be personal data.
pub struct Query {
    parameters: Vec<Parameter>,
}

impl Query {
    /// Reads the raw query of a URI. `+` is a space, `a` is `a=`, empty pairs are skipped. Never fails: what is wrong is told by
    /// [`problems`](Self::problems), together with everything else.
    #[must_use]
    pub fn parse(raw: Option<&str>) -> Self {
        let mut parameters: Vec<Parameter> = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let mut parameter = match (decode_form(name), decode_form(value)) {
                (Ok(name), Ok(value)) => Parameter { name, value, fault: None, taken: false },
                (name, value) => {
                    let error = name.as_ref().err().or(value.as_ref().err()).copied().unwrap_or(DecodeError::Percent);
                    let name = name.unwrap_or_else(|_| pair.split_once('=').map_or(pair, |(name, _)| name).to_owned());
                    Parameter { name, value: String::new(), fault: Some(QueryFault::Undecodable(error)), taken: false }
                }
            };
            if parameter.fault.is_none() && parameters.iter().any(|earlier| earlier.name == parameter.name) {
                parameter.fault = Some(QueryFault::Duplicate);
            }
            parameters.push(parameter);
        }
        Self { parameters }
    }

    /// The first value of `name`, and marks the name as known. `None` where it is absent or does not decode.
    pub fn take(&mut self, name: &str) -> Option<&str> {
        for parameter in self.parameters.iter_mut().filter(|parameter| parameter.name == name) {
            parameter.taken = true;
        }
        self.parameters
            .iter()
            .find(|parameter| parameter.name == name && parameter.fault.is_none())
            .map(|parameter| parameter.value.as_str())
    }

    /// Everything that is wrong: parameters that do not decode or come twice, and those never taken; in the order of the query.
    #[must_use]
    pub fn problems(&self) -> Vec<QueryProblem> {
        let unknown = |parameter: &Parameter| {
            if parameter.taken { None } else { Some(QueryFault::Unknown) }
        };
        self.parameters
            .iter()
            .filter_map(|parameter| {
                let fault = parameter.fault.or_else(|| unknown(parameter))?;
                Some(QueryProblem { name: parameter.name.clone(), fault })
            })
            .collect()
    }

    /// All decoded pairs sorted by name and value, for fingerprints of requests.
    #[must_use]
    pub fn sorted_pairs(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<_> = self.pairs().collect();
        pairs.sort_unstable();
        pairs
    }

    /// The decoded pairs in the order of the query, without those that do not decode.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters
            .iter()
            .filter(|parameter| !matches!(parameter.fault, Some(QueryFault::Undecodable(_))))
            .map(|parameter| (parameter.name.as_str(), parameter.value.as_str()))
    }
}

fn decode_form(raw: &str) -> Result<String, DecodeError> {
    if raw.contains('+') { decode(&raw.replace('+', " ")) } else { decode(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    #[test]
    fn escaped_slashes_and_percents_stay_inside_their_segment() {
        let path = "/v1/customers/external/a%2Fb%25%20%C3%A9+/history";
        assert_eq!(path_segment(path, 3).unwrap(), "a/b% é+");
        assert_eq!(path_segment(path, 4).unwrap(), "history");
        assert_eq!(path_segment(path, 5), Err(DecodeError::Missing));
    }

    #[test]
    fn encodings_that_mean_nothing_are_refused() {
        for raw in ["%", "a%2", "%zz", "%2g", "100%"] {
            assert_eq!(decode(raw), Err(DecodeError::Percent), "{raw}");
        }
        for raw in ["%ff", "%C3", "%ED%A0%80", "%C0%AF"] {
            assert_eq!(decode(raw), Err(DecodeError::Utf8), "{raw}");
        }
        assert_eq!(decode("a%00b"), Err(DecodeError::Nul));
    }

    #[test]
    fn a_query_is_read_with_plus_as_space() {
        let mut query = Query::parse(Some("a=x+y&b=%2B&&c&d=1=2"));
        assert_eq!(query.take("a"), Some("x y"));
        assert_eq!(query.take("b"), Some("+"));
        assert_eq!(query.take("c"), Some(""));
        assert_eq!(query.take("d"), Some("1=2"));
        assert_eq!(query.take("e"), None);
        assert!(query.problems().is_empty());
    }

    #[test]
    fn unknown_repeated_and_undecodable_parameters_are_all_reported() {
        let mut query = Query::parse(Some("page=1&page=1&zzz=1&rows=%ff&b%zz=1"));
        assert_eq!(query.take("page"), Some("1"));
        assert_eq!(query.take("rows"), None);
        let problems: Vec<_> = query.problems().into_iter().map(|problem| (problem.name, problem.fault)).collect();
        assert_eq!(
            problems,
            [
                ("page".to_owned(), QueryFault::Duplicate),
                ("zzz".to_owned(), QueryFault::Unknown),
                ("rows".to_owned(), QueryFault::Undecodable(DecodeError::Utf8)),
                ("b%zz".to_owned(), QueryFault::Undecodable(DecodeError::Percent)),
            ]
        );
    }

    #[test]
    fn sorted_pairs_do_not_depend_on_the_order_sent() {
        assert_eq!(Query::parse(Some("b=2&a=1")).sorted_pairs(), Query::parse(Some("a=1&b=%32")).sorted_pairs());
    }

    proptest! {
        #[test]
        fn any_text_round_trips_through_a_path(text in "[^\u{0}]{1,40}") {
            let path = format!("/v1/x/{}/y", utf8_percent_encode(&text, NON_ALPHANUMERIC));
            prop_assert_eq!(path_segment(&path, 2).unwrap(), text);
        }

        #[test]
        fn any_query_is_read_without_panic(raw in "[ -~]{0,60}") {
            let _ = Query::parse(Some(&raw)).problems();
        }
    }
}
