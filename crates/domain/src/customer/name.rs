//! A customer's name in its three forms. Must not know how a name is written on any wire.

use crate::{ExternalId, FullName, NamePart};

/// What a customer is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// A name in parts.
    Person {
        /// The first name.
        first: NamePart,
        /// The middle name.
        middle: Option<NamePart>,
        /// The last name.
        last: NamePart,
    },
    /// A whole name, split nowhere.
    Full(FullName),
    /// No name of its own: it is called after its external id.
    FollowsExternalId,
}

impl Name {
    /// The last name of a customer that is called after its external id.
    pub const MIRRORED_LAST_NAME: &'static str = "Customer";

    pub(crate) fn display(&self, external_id: Option<&ExternalId>) -> String {
        match self {
            Self::Person { first, middle, last } => {
                let parts = [Some(first.as_str()), middle.as_ref().map(NamePart::as_str), Some(last.as_str())];
                let mut display = String::with_capacity(parts.iter().flatten().map(|part| part.len() + 1).sum());
                for part in parts.into_iter().flatten() {
                    if !display.is_empty() {
                        display.push(' ');
                    }
                    display.push_str(part);
                }
                display
            }
            Self::Full(name) => name.as_str().to_owned(),
            Self::FollowsExternalId => {
                let id = external_id.map_or("", ExternalId::as_str);
                format!("{id} {}", Self::MIRRORED_LAST_NAME)
            }
        }
    }
}

/// A change of name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub enum NamePatch {
    /// Leave it.
    #[default]
    Keep,
    /// Replace it by a whole name.
    Full(FullName),
    /// Change parts of it; a customer that has no parts needs the first and the last.
    Parts {
        /// The new first name.
        first: Option<NamePart>,
        /// What becomes of the middle name.
        middle: super::Patch<NamePart>,
        /// The new last name.
        last: Option<NamePart>,
    },
}
