//! Reading the members of a body: every problem is noted, and reading goes on.
//!
//! Owns the types of members. It must not know which members a body has.

use custodia_domain::{Patch, TextError};

use super::problem::{Kind, Loc, Problems};
use crate::http::json::{Json, ObjectReader};

/// The members of one object.
pub(super) struct Fields<'a> {
    reader: ObjectReader<'a>,
    whole: &'a Json,
    loc: Loc,
    problems: &'a mut Problems,
}

impl<'a> Fields<'a> {
    /// The members of the object at that place; `None`, and a problem, where it is no object.
    pub(super) fn of(whole: &'a Json, loc: Loc, problems: &'a mut Problems) -> Option<Self> {
        let Some(reader) = ObjectReader::new(whole) else {
            problems.add(loc, &Kind::NoObject, whole);
            return None;
        };
        Some(Self { reader, whole, loc, problems })
    }

    /// The place of a member.
    pub(super) fn loc(&self, name: &'static str) -> Loc {
        let mut loc = self.loc.clone();
        loc.push(name.into());
        loc
    }

    /// Where problems of what is below a member are noted.
    pub(super) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// A member that must be there; `null` is absent.
    pub(super) fn needed<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Json) -> Result<T, Kind>,
    ) -> Option<T> {
        let Some(value) = self.reader.take_present(name) else {
            let loc = self.loc(name);
            self.problems.add(loc, &Kind::Missing, self.whole);
            return None;
        };
        self.noted(name, value, read)
    }

    /// A member that may be there; `null` is absent. A value that says nothing is absent too.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Json) -> Result<Option<T>, Kind>,
    ) -> Option<T> {
        let value = self.reader.take_present(name)?;
        self.noted(name, value, read).flatten()
    }

    /// A new value for what cannot be cleared.
    pub(super) fn set<T>(&mut self, name: &'static str, read: impl FnOnce(&'a Json) -> Result<T, Kind>) -> Option<T> {
        let value = self.reader.take(name)?;
        self.noted(name, value, read)
    }

    /// A change of a value that may be cleared by `null`, or by a value that says nothing.
    pub(super) fn patch<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a Json) -> Result<Option<T>, Kind>,
    ) -> Patch<T> {
        match self.reader.take(name) {
            None => Patch::Keep,
            Some(Json::Null) => Patch::Clear,
            Some(value) => match self.noted(name, value, read) {
                None => Patch::Keep,
                Some(None) => Patch::Clear,
                Some(Some(value)) => Patch::Set(value),
            },
        }
    }

    /// The items of a list that must be there, `most` at most and one at least.
    pub(super) fn list(&mut self, name: &'static str, most: usize) -> Option<&'a [Json]> {
        self.needed(name, |value| {
            let items = value.as_array().ok_or(Kind::NoList)?;
            match items.len() {
                0 => Err(Kind::ListTooShort { least: 1, found: 0 }),
                found if found > most => Err(Kind::ListTooLong { most, found }),
                _ => Ok(items),
            }
        })
    }

    /// Notes every member that nobody asked for.
    pub(super) fn finish(self) {
        for (name, value) in self.reader.unknown_members() {
            let mut loc = self.loc.clone();
            loc.push(name.to_owned().into());
            self.problems.add(loc, &Kind::Extra, value);
        }
    }

    fn noted<T>(
        &mut self,
        name: &'static str,
        value: &'a Json,
        read: impl FnOnce(&'a Json) -> Result<T, Kind>,
    ) -> Option<T> {
        let read = read(value);
        read.map_err(|kind| {
            let loc = self.loc(name);
            self.problems.add(loc, &kind, value);
        })
        .ok()
    }
}

/// A text, without the white space around it.
pub(super) fn text(value: &Json) -> Result<&str, Kind> {
    value.as_str().map(str::trim).ok_or(Kind::NoText)
}

/// A text under the rules of its type.
pub(super) fn parsed<T>(value: &Json, parse: impl Fn(&str) -> Result<T, TextError>) -> Result<T, Kind> {
    parse(text(value)?).map_err(broken)
}

/// A text that may be empty, which says nothing.
pub(super) fn free<T>(value: &Json, parse: impl Fn(&str) -> Result<T, TextError>) -> Result<Option<T>, Kind> {
    if text(value)?.is_empty() { Ok(None) } else { parsed(value, parse).map(Some) }
}

/// The broken rule of a text.
pub(super) fn broken(error: TextError) -> Kind {
    match error {
        TextError::Empty => Kind::TooShort(1),
        TextError::TooLong { limit } => Kind::TooLong(limit),
        TextError::Control | TextError::Surrounded => Kind::value(error.to_string()),
    }
}

/// Yes or no, as Pydantic's lax mode reads it.
pub(super) fn boolean(value: &Json) -> Result<bool, Kind> {
    match value {
        Json::Bool(value) => Ok(*value),
        Json::Integer(0) => Ok(false),
        Json::Integer(1) => Ok(true),
        Json::Integer(_) => Err(Kind::UnclearBoolean),
        Json::String(text) => boolean_of(text),
        Json::Number(text) => match text.parse() {
            Ok(0.0) => Ok(false),
            Ok(1.0) => Ok(true),
            Ok(_) | Err(_) => Err(Kind::NoBoolean),
        },
        Json::Null | Json::Array(_) | Json::Object(_) => Err(Kind::NoBoolean),
    }
}

/// Yes or no in a word.
pub(super) fn boolean_of(word: &str) -> Result<bool, Kind> {
    let is_one_of = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    if is_one_of(&["1", "on", "t", "true", "y", "yes"]) {
        Ok(true)
    } else if is_one_of(&["0", "off", "f", "false", "n", "no"]) {
        Ok(false)
    } else {
        Err(Kind::UnclearBoolean)
    }
}
