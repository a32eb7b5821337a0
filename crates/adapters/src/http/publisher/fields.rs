//! Reading the members of an object: every problem is noted with its path, and reading goes on.
//!
//! Owns the types of members and the words about them. It must not know which members an object has.

use std::fmt::Display;

use custodia_domain::account::is_card_number;
use custodia_domain::{ExternalId, Patch, Timestamp};

use super::error::{Problems, masked};
use super::instant;
use crate::http::json::{Json, ObjectReader};

/// How complete an object has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// With every required member; one that is left out or `null` has no value.
    Whole,
    /// With what changes; one that is left out stays as it is.
    Changes,
}

/// The members of one object.
pub(super) struct Fields<'j, 'p> {
    reader: ObjectReader<'j>,
    path: String,
    form: Form,
    pub(super) problems: &'p mut Problems,
}

impl<'j, 'p> Fields<'j, 'p> {
    /// The members of the object at that path; `None`, and a problem, where it is none.
    pub(super) fn of(value: &'j Json, path: String, form: Form, problems: &'p mut Problems) -> Option<Self> {
        let reader = ObjectReader::new(value);
        if reader.is_none() {
            problems.add(&path, "must be an object");
        }
        Some(Self { reader: reader?, path, form, problems })
    }

    /// Where a member stands.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn problem(&mut self, name: &str, error: impl Display) {
        let path = self.at(name);
        self.problems.add(path, error);
    }

    /// Whether the member is there and not `null`, whatever it holds.
    pub(super) fn is_there(&mut self, name: &str) -> bool {
        self.reader.take_present(name).is_some()
    }

    /// A member that may be absent or `null`.
    pub(super) fn optional<T>(&mut self, name: &'static str, read: impl Fn(&Json) -> Result<T, String>) -> Option<T> {
        let value = self.reader.take_present(name)?;
        self.noted(name, read(value))
    }

    /// A member without which the object says nothing.
    pub(super) fn key<T>(&mut self, name: &'static str, read: impl Fn(&Json) -> Result<T, String>) -> Option<T> {
        let Some(value) = self.reader.take_present(name) else {
            self.problem(name, "required");
            return None;
        };
        self.noted(name, read(value))
    }

    /// A member that the whole object has, and that changes can leave out but not clear.
    pub(super) fn required<T>(&mut self, name: &'static str, read: impl Fn(&Json) -> Result<T, String>) -> Option<T> {
        match (self.reader.take(name), self.form) {
            (None, Form::Changes) => None,
            (None | Some(Json::Null), Form::Whole) => {
                self.problem(name, "required");
                None
            }
            (Some(Json::Null), Form::Changes) => {
                self.problem(name, "must not be null");
                None
            }
            (Some(value), _) => self.noted(name, read(value)),
        }
    }

    /// An instant that may be cleared; the whole object clears it by leaving it out.
    pub(super) fn closing(&mut self, name: &'static str) -> Patch<Timestamp> {
        match (self.reader.take(name), self.form) {
            (None, Form::Changes) => Patch::Keep,
            (None, Form::Whole) | (Some(Json::Null), _) => Patch::Clear,
            (Some(value), _) => self.noted(name, time(value)).map_or(Patch::Keep, Patch::Set),
        }
    }

    /// The items of an array with at most that many; an absent one has none.
    pub(super) fn array(&mut self, name: &'static str, most: usize) -> &'j [Json] {
        match self.reader.take_present(name).map(Json::as_array) {
            None => &[],
            Some(None) => {
                self.problem(name, "must be an array");
                &[]
            }
            Some(Some(items)) if items.len() > most => {
                self.problem(name, format_args!("must have at most {most} items"));
                &[]
            }
            Some(Some(items)) => items,
        }
    }

    /// The items of an array that has to be there.
    pub(super) fn required_array(&mut self, name: &'static str, least: usize, most: usize) -> &'j [Json] {
        if self.reader.take_present(name).is_none() {
            self.problem(name, "required");
            return &[];
        }
        let items = self.array(name, most);
        let empty = self.reader.take_present(name).and_then(Json::as_array).is_some_and(<[Json]>::is_empty);
        if empty && least > 0 {
            self.problem(name, format_args!("must have {least} to {most} items"));
        }
        items
    }

    /// Notes every member that nobody asked for.
    pub(super) fn finish(self) {
        for name in self.reader.unknown() {
            let path = self.at(masked(name));
            self.problems.add(path, "unknown field");
        }
    }

    fn noted<T>(&mut self, name: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|error| self.problem(name, error)).ok()
    }
}

/// A string under the rules of its type, and no card number.
pub(super) fn text<T, E: Display>(parse: impl Fn(&str) -> Result<T, E>) -> impl Fn(&Json) -> Result<T, String> {
    move |value| {
        let text = value.as_str().ok_or("must be a string")?;
        if is_card_number(text.trim()) {
            return Err(CARD_NUMBER.to_owned());
        }
        parse(text).map_err(|error| error.to_string())
    }
}

/// What is said of a card number.
pub(super) const CARD_NUMBER: &str = "must not be a whole card number";

/// An identifier: it may look like a card number.
pub(super) fn id(value: &Json) -> Result<ExternalId, String> {
    let text = value.as_str().ok_or("must be a string")?;
    ExternalId::parse(text).map_err(|error| error.to_string())
}

/// An instant.
pub(super) fn time(value: &Json) -> Result<Timestamp, String> {
    text(instant::parse)(value)
}

/// One of some labels.
pub(super) fn one_of<T: Copy>(all: &'static [T], label: fn(T) -> &'static str) -> impl Fn(&Json) -> Result<T, String> {
    text(move |text: &str| {
        let found = all.iter().copied().find(|one| label(*one) == text);
        found.ok_or_else(|| {
            let labels: Vec<_> = all.iter().map(|one| label(*one)).collect();
            format!("must be one of {}", labels.join(", "))
        })
    })
}
