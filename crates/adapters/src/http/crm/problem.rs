//! One thing that is wrong with a request, as Pydantic v2 writes it: `type`, `loc`, `msg`, `input`, `ctx`.
//!
//! Owns those words, and that no answer repeats a credential or what was sent of a person. It must not know any route's
//! fields, but for the names of those that tell nothing of anybody.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::http::json::Json;

/// What a new API key of ours begins with; the secret follows in hexadecimal digits.
const KEY_PREFIX: &str = "cst_";
/// From so many characters on, a presented credential is looked for in what would be repeated.
const TELLING: usize = 4;

/// The members and parameters whose values tell nothing of a person. What was sent under any other name, a mistyped one
/// included, is not repeated.
const IMPERSONAL: &[&str] = &[
    "company_id",
    "company_status",
    "customer_id",
    "is_active",
    "page",
    "page_size",
    "sort_by",
    "sort_order",
    "source",
];

/// One step to the place of a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Step {
    /// The part of the request, or a member, parameter, segment or header.
    Name(Cow<'static, str>),
    /// The place of an item in a list, or of a character in a body.
    Index(usize),
}

impl From<&'static str> for Step {
    fn from(name: &'static str) -> Self {
        Self::Name(Cow::Borrowed(name))
    }
}

impl From<String> for Step {
    fn from(name: String) -> Self {
        Self::Name(Cow::Owned(name))
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The place of a problem: the part of the request first.
pub(super) type Loc = Vec<Step>;

/// Which rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// It must be there.
    Missing,
    /// Not an object.
    NoObject,
    /// Not a list.
    NoList,
    /// A list without so many items.
    ListTooShort { least: usize, found: usize },
    /// A list with more items than that.
    ListTooLong { most: usize, found: usize },
    /// Not a string.
    NoText,
    /// Fewer characters than that.
    TooShort(usize),
    /// More characters than that.
    TooLong(usize),
    /// Neither a boolean nor a number or text.
    NoBoolean,
    /// A number or text that says neither yes nor no.
    UnclearBoolean,
    /// A text that is no integer.
    NoInteger,
    /// Less than that.
    Below(i64),
    /// More than that.
    Above(i64),
    /// None of the allowed words, which stand here as they are told.
    NoChoice(&'static str),
    /// Nobody asked for it.
    Extra,
    /// No valid e-mail address; why.
    Email(String),
    /// Another rule of the value.
    Value(Cow<'static, str>),
    /// No JSON; why.
    Syntax(&'static str),
}

impl Kind {
    /// The rule that is broken, in our own words.
    pub(super) fn value(words: impl Into<Cow<'static, str>>) -> Self {
        Self::Value(words.into())
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NoObject => "model_attributes_type",
            Self::NoList => "list_type",
            Self::ListTooShort { .. } => "too_short",
            Self::ListTooLong { .. } => "too_long",
            Self::NoText => "string_type",
            Self::TooShort(_) => "string_too_short",
            Self::TooLong(_) => "string_too_long",
            Self::NoBoolean => "bool_type",
            Self::UnclearBoolean => "bool_parsing",
            Self::NoInteger => "int_parsing",
            Self::Below(_) => "greater_than_equal",
            Self::Above(_) => "less_than_equal",
            Self::NoChoice(_) => "enum",
            Self::Extra => "extra_forbidden",
            Self::Email(_) | Self::Value(_) => "value_error",
            Self::Syntax(_) => "json_invalid",
        }
    }

    fn message(&self) -> Cow<'static, str> {
        let count = |number: &usize, one: &str| if *number == 1 { one.to_owned() } else { format!("{one}s") };
        Cow::Borrowed(match self {
            Self::Missing => "Field required",
            Self::NoObject => "Input should be a valid dictionary or object to extract fields from",
            Self::NoList => "Input should be a valid list",
            Self::ListTooShort { least, found } => {
                let items = count(least, "item");
                return format!("List should have at least {least} {items} after validation, not {found}").into();
            }
            Self::ListTooLong { most, found } => {
                let items = count(most, "item");
                return format!("List should have at most {most} {items} after validation, not {found}").into();
            }
            Self::NoText => "Input should be a valid string",
            Self::TooShort(least) => {
                return format!("String should have at least {least} {}", count(least, "character")).into();
            }
            Self::TooLong(most) => {
                return format!("String should have at most {most} {}", count(most, "character")).into();
            }
            Self::NoBoolean => "Input should be a valid boolean",
            Self::UnclearBoolean => "Input should be a valid boolean, unable to interpret input",
            Self::NoInteger => "Input should be a valid integer, unable to parse string as an integer",
            Self::Below(least) => return format!("Input should be greater than or equal to {least}").into(),
            Self::Above(most) => return format!("Input should be less than or equal to {most}").into(),
            Self::NoChoice(choices) => return format!("Input should be {choices}").into(),
            Self::Extra => "Extra inputs are not permitted",
            Self::Email(reason) => return format!("value is not a valid email address: {reason}").into(),
            Self::Value(words) => return format!("Value error, {words}").into(),
            Self::Syntax(_) => "JSON decode error",
        })
    }

    fn context(&self) -> Option<serde_json::Value> {
        Some(match self {
            Self::ListTooShort { least, found } => {
                json!({"field_type": "List", "min_length": least, "actual_length": found})
            }
            Self::ListTooLong { most, found } => {
                json!({"field_type": "List", "max_length": most, "actual_length": found})
            }
            Self::TooShort(least) => json!({"min_length": least}),
            Self::TooLong(most) => json!({"max_length": most}),
            Self::Below(least) => json!({"ge": least}),
            Self::Above(most) => json!({"le": most}),
            Self::NoChoice(choices) => json!({"expected": choices}),
            Self::Email(reason) => json!({"reason": reason}),
            Self::Value(_) => json!({"error": {}}),
            Self::Syntax(reason) => json!({"error": reason}),
            Self::Missing
            | Self::NoObject
            | Self::NoList
            | Self::NoText
            | Self::NoBoolean
            | Self::UnclearBoolean
            | Self::NoInteger
            | Self::Extra => return None,
        })
    }
}

/// One problem; documented as [`schema::CrmProblem`](super::schema::CrmProblem).
#[derive(Serialize)]
struct Problem {
    r#type: &'static str,
    loc: Loc,
    msg: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<serde_json::Value>,
}

/// Everything that is wrong with a request; serializes as the list that `detail` is.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    /// The credential of the request, which no input may repeat.
    secret: Zeroizing<String>,
}

impl Problems {
    /// None yet, of a request with that credential.
    pub(super) fn of(secret: Zeroizing<String>) -> Self {
        Self { found: Vec::new(), secret }
    }

    /// Adds one. `input` is what was found there; it is left out where it would repeat a credential, or tell something of a
    /// person.
    pub(super) fn add(&mut self, loc: Loc, kind: &Kind, input: &Json) {
        let name = loc.iter().rev().find_map(|step| match step {
            Step::Name(name) => Some(&**name),
            Step::Index(_) => None,
        });
        let is_hidden = name.is_some_and(names_secret) || self.tells(input) || is_personal(name, input);
        let input = (!is_hidden).then(|| input.clone());
        let loc = loc.into_iter().map(|step| self.shown(step)).collect();
        let (r#type, msg, ctx) = (kind.name(), kind.message(), kind.context());
        self.found.push(Problem { r#type, loc, msg, input, ctx });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems in the order of a request: path, query, headers, body.
    pub(super) fn sorted(mut self) -> impl Serialize {
        self.found.sort_by_key(|problem| {
            let part = |name: &'static str| problem.loc.first() == Some(&Step::from(name));
            ["path", "query", "header", "body"].into_iter().position(part)
        });
        std::mem::take(&mut self.found)
    }

    fn shown(&self, step: Step) -> Step {
        match step {
            Step::Name(name) if self.is_secret(&name) => Step::from("(credential)"),
            Step::Name(_) | Step::Index(_) => step,
        }
    }

    fn tells(&self, input: &Json) -> bool {
        match input {
            Json::String(text) => self.is_secret(text),
            Json::Array(items) => items.iter().any(|item| self.tells(item)),
            Json::Object(members) => {
                members.iter().any(|(name, value)| names_secret(name) || self.is_secret(name) || self.tells(value))
            }
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Number(_) => false,
        }
    }

    fn is_secret(&self, text: &str) -> bool {
        let own = self.secret.len() >= TELLING && text.contains(self.secret.as_str());
        own || text.split(KEY_PREFIX).skip(1).any(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            digits >= 32
        })
    }
}

/// Whether a value of that name can tell something of a person.
fn is_personal(name: Option<&str>, input: &Json) -> bool {
    match input {
        Json::Null | Json::Bool(_) => false,
        Json::String(text) if text.is_empty() => false,
        Json::String(_) | Json::Integer(_) | Json::Number(_) => !name.is_some_and(|name| IMPERSONAL.contains(&name)),
        Json::Array(items) => items.iter().any(|item| is_personal(name, item)),
        Json::Object(members) => {
            members.iter().any(|(name, value)| !IMPERSONAL.contains(&&**name) || is_personal(Some(name), value))
        }
    }
}

/// Whether a member, parameter or header of that name holds a credential by its name.
fn names_secret(name: &str) -> bool {
    let letters: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    ["apikey", "authorization", "password", "passwd", "secret", "token", "credential", "bearer"]
        .into_iter()
        .any(|word| letters.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json::parse;

    fn shown(body: &str, loc: &[&'static str]) -> serde_json::Value {
        let mut problems = Problems::of(Zeroizing::new("hunter2secret".to_owned()));
        let loc = loc.iter().map(|name| Step::from(*name)).collect();
        problems.add(loc, &Kind::Extra, &parse(body.as_bytes()).unwrap());
        serde_json::to_value(problems.sorted()).unwrap()[0].clone()
    }

    #[test]
    fn an_input_that_would_repeat_a_credential_is_left_out() {
        let key = format!("\"cst_{}\"", "0a".repeat(36));
        for body in
            ["\"hunter2secret\"", "[{\"a\":\"my hunter2secret\"}]", "{\"hunter2secret\":1}", "{\"apiKey\":1}", &key]
        {
            assert!(shown(body, &["body", "source"]).get("input").is_none(), "{body}");
        }
        assert!(shown("1", &["query", "x-api-key"]).get("input").is_none());
        assert_eq!(shown("1", &["body", "hunter2secret"])["loc"], json!(["body", "(credential)"]));
        for body in ["\"cst_ x\"", "null", "{\"source\":1}", "\"hunter\""] {
            assert!(shown(body, &["body", "source"]).get("input").is_some(), "{body}");
        }
    }

    #[test]
    fn an_input_that_would_tell_something_of_a_person_is_left_out() {
        for (name, body) in [
            ("email", "\"ada\""),
            ("whatsapp_number", "255700000000"),
            ("emial", "\"ada@example.com\""),
            ("source", "[{\"name\":\"Ada\"}]"),
            ("source", "{\"Ada Lovelace\":null}"),
            ("body", "{\"source\":\"web\",\"city\":\"Accra\"}"),
        ] {
            assert!(shown(body, &["body", name]).get("input").is_none(), "{name} {body}");
        }
        for (name, body) in [
            ("email", "null"),
            ("name", "\"\""),
            ("name", "[]"),
            ("source", "7"),
            ("page", "\"0\""),
            ("body", "{\"source\":\"web\",\"is_active\":true}"),
        ] {
            assert!(shown(body, &["body", name]).get("input").is_some(), "{name} {body}");
        }
    }
}
