//! Reading the members of a body: every problem is noted, and reading goes on.
//!
//! Owns the types of members and the words about them. It must not know which members a body has.

use std::fmt::Display;

use custodia_domain::loan::Amount;
use custodia_domain::{Date, Patch};

use super::error::Problems;
use crate::http::json::{Json, ObjectReader};

/// The text of a member that must be there and is not.
const REQUIRED: &str = "required";

/// How many unknown members are told by name: an answer should not outgrow the question.
const MOST_UNKNOWN: usize = 100;

/// The members of one body.
pub(super) struct Fields<'a> {
    reader: ObjectReader<'a>,
    problems: &'a mut Problems,
}

impl<'a> Fields<'a> {
    /// The members of an object; `None` where there is no body, or it is no object, which a problem says already.
    pub(super) fn of(body: Option<&'a Json>, problems: &'a mut Problems) -> Option<Self> {
        Some(Self { reader: ObjectReader::new(body?)?, problems })
    }

    pub(super) fn problem(&mut self, name: &'static str, error: impl Display) {
        self.problems.add(name, error.to_string());
    }

    pub(super) fn len(&self) -> usize {
        self.reader.len()
    }

    /// Whether the member is there and not `null`, without reading it.
    pub(super) fn has(&mut self, name: &'static str) -> bool {
        self.reader.take_present(name).is_some()
    }

    /// A text under the rules of its type; `null` is absent.
    pub(super) fn text<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.reader.take_present(name)?;
        self.read(name, text_of(value, parse))
    }

    /// A date `YYYY-MM-DD`; `null` is absent.
    pub(super) fn date(&mut self, name: &'static str) -> Option<Date> {
        self.text(name, Date::parse)
    }

    /// A positive integer or its decimal form in a string; `null` is absent.
    pub(super) fn id<T, E: Display>(&mut self, name: &'static str, parse: impl Fn(i64) -> Result<T, E>) -> Option<T> {
        let value = self.reader.take_present(name)?;
        let read = match integer_of(value) {
            Ok(number) => parse(number).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_owned()),
        };
        self.read(name, read)
    }

    /// An exact decimal number, or its form in a string; `null` is absent.
    pub(super) fn amount(&mut self, name: &'static str) -> Option<Amount> {
        let value = self.reader.take_present(name)?;
        self.read(name, amount_of(value))
    }

    /// `true` or `false`; `null` is absent.
    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let value = self.reader.take_present(name)?;
        self.read(name, value.as_bool().ok_or_else(|| "must be true or false".to_owned()))
    }

    /// Whatever the member is; `null` is absent.
    pub(super) fn any<T>(&mut self, name: &'static str, read: impl Fn(&Json) -> Result<T, String>) -> Option<T> {
        let value = self.reader.take_present(name)?;
        self.read(name, read(value))
    }

    /// A member that must be there: notes it where it is absent.
    pub(super) fn require(&mut self, name: &'static str) {
        if !self.has(name) {
            self.problem(name, REQUIRED);
        }
    }

    /// A change of a value that may be cleared by `null`.
    pub(super) fn patch<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Patch<T> {
        match self.reader.take(name) {
            None => Patch::Keep,
            Some(Json::Null) => Patch::Clear,
            Some(value) => self.read(name, text_of(value, parse)).map_or(Patch::Keep, Patch::Set),
        }
    }

    /// A new value for what cannot be cleared.
    pub(super) fn set<T, E: Display>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let value = self.reader.take(name)?;
        if value.is_null() {
            self.problem(name, "must not be null");
            return None;
        }
        self.read(name, text_of(value, parse))
    }

    /// Notes every member that nobody asked for.
    pub(super) fn finish(self) {
        let mut unknown = self.reader.unknown();
        for name in unknown.by_ref().take(MOST_UNKNOWN) {
            self.problems.add(name.to_owned(), "unknown field");
        }
        let rest = unknown.count();
        if rest > 0 {
            self.problems.add("body", format!("has {rest} more unknown fields"));
        }
    }

    fn read<T>(&mut self, name: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|error| self.problem(name, error)).ok()
    }
}

fn text_of<T, E: Display>(value: &Json, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, String> {
    let text = value.as_str().ok_or("must be a string")?;
    parse(text).map_err(|error| error.to_string())
}

/// The most significant digits that a JSON number keeps on its way through a double.
const EXACT_DIGITS: usize = 15;

fn amount_of(value: &Json) -> Result<Amount, String> {
    let parse = |text: &str| Amount::parse(text).map_err(|error| error.to_string());
    match value {
        Json::Integer(number) => parse(&number.to_string()),
        Json::Number(text) => {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            if digits.trim_start_matches('0').trim_end_matches('0').len() > EXACT_DIGITS {
                return Err("must be sent as a string when it has more than 15 digits".to_owned());
            }
            // A whole number is shown with a fraction of zero; one too large or small for that, with an exponent.
            parse(text).map_err(|_| "must be below 1000000000000 and have at most 6 decimals".to_owned())
        }
        Json::String(text) => parse(text),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => Err("must be a number".to_owned()),
    }
}

fn integer_of(value: &Json) -> Result<i64, &'static str> {
    const WANTED: &str = "must be an integer";
    match value {
        Json::Integer(number) => Ok(*number),
        Json::String(text) if !text.starts_with('+') => text.parse().map_err(|_| WANTED),
        Json::String(_) | Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            Err(WANTED)
        }
    }
}
