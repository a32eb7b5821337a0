//! Opaque cursors of list walks, the same for every dialect.
//!
//! Owns their form: base64url of a payload and a 16-byte MAC, which also covers the route, the organization and the filter
//! of the walk, so that a cursor is good for nothing else. It must not know any dialect nor how a store walks.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use custodia_domain::ports::{Boundary, Direction, SortKey, SortValue};
use custodia_domain::{CustomerId, Date, EmailAddress, OrganizationId, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use zeroize::Zeroizing;

/// The form of the payload; another form gets another number, so that old cursors are refused instead of misread.
const FORM: u8 = 1;

/// Bytes of the MAC that a cursor carries.
const MAC_LENGTH: usize = 16;

/// A text that is no cursor of the walk it is used for: forged, cut short, or of another list, filter or organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not a cursor of this list with these filters")]
pub struct CursorError;

/// Which walk a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk<'a> {
    /// The route's template.
    pub route: &'a str,
    /// The tenant.
    pub organization: OrganizationId,
    /// [`filter_hash`] of everything that decides which rows the walk has.
    pub filter: [u8; 32],
}

/// A hash over the parts of a filter, each with its length: no two lists of parts run together.
#[must_use]
pub fn filter_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// Where a walk over customers stands, with the order that it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// By what the walk is ordered.
    pub sort: SortKey,
    /// Upwards or downwards.
    pub direction: Direction,
    /// The last row it has seen.
    pub boundary: Boundary,
}

/// The deployment's key for cursors: all its instances share it.
#[derive(Clone)]
pub struct CursorKey(Arc<Zeroizing<[u8; 32]>>);

impl CursorKey {
    /// The key of those 32 random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(secret)))
    }

    /// The cursor of a place in a walk over customers.
    #[must_use]
    pub fn seal_place(&self, walk: &Walk<'_>, place: &Place) -> String {
        self.seal(walk, &place.to_bytes())
    }

    /// The place that a cursor of that walk names.
    ///
    /// # Errors
    /// [`CursorError`] for everything else.
    pub fn open_place(&self, walk: &Walk<'_>, cursor: &str) -> Result<Place, CursorError> {
        Place::from_bytes(&self.open(walk, cursor)?).ok_or(CursorError)
    }

    /// A cursor with that payload.
    #[must_use]
    pub fn seal(&self, walk: &Walk<'_>, payload: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(1 + payload.len() + MAC_LENGTH);
        bytes.push(FORM);
        bytes.extend_from_slice(payload);
        let mac = self.mac(walk, &bytes);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The payload of a cursor of that walk.
    ///
    /// # Errors
    /// [`CursorError`] for everything else.
    pub fn open(&self, walk: &Walk<'_>, cursor: &str) -> Result<Vec<u8>, CursorError> {
        let mut bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| CursorError)?;
        let at = bytes.len().checked_sub(MAC_LENGTH).ok_or(CursorError)?;
        let sent = bytes.split_off(at);
        let genuine: bool = self.mac(walk, &bytes).ct_eq(sent.as_slice()).into();
        if !genuine || bytes.first() != Some(&FORM) {
            return Err(CursorError);
        }
        bytes.remove(0);
        Ok(bytes)
    }

    fn mac(&self, walk: &Walk<'_>, bytes: &[u8]) -> [u8; MAC_LENGTH] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("HMAC takes a key of any length");
        mac.update(&(walk.route.len() as u64).to_be_bytes());
        mac.update(walk.route.as_bytes());
        mac.update(&walk.organization.get().to_be_bytes());
        mac.update(&walk.filter);
        mac.update(bytes);
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        whole[..MAC_LENGTH].try_into().expect("16 of 32 bytes")
    }
}

impl Place {
    fn to_bytes(&self) -> Vec<u8> {
        let sort = match self.sort {
            SortKey::Id => 0,
            SortKey::DisplayName => 1,
            SortKey::SubmittedDate => 2,
            SortKey::ActivationDate => 3,
            SortKey::CreatedAt => 4,
            SortKey::UpdatedAt => 5,
            SortKey::Email => 6,
        };
        let direction = match self.direction {
            Direction::Ascending => 0,
            Direction::Descending => 1,
        };
        let mut bytes = vec![sort, direction];
        bytes.extend_from_slice(&self.boundary.id.get().to_be_bytes());
        match &self.boundary.value {
            SortValue::Id | SortValue::Date(None) | SortValue::Email(None) => {}
            SortValue::Name(name) => bytes.extend_from_slice(name.as_bytes()),
            SortValue::Date(Some(date)) => bytes.extend_from_slice(&date.days_since_epoch().to_be_bytes()),
            SortValue::Instant(instant) => bytes.extend_from_slice(&instant.microseconds().to_be_bytes()),
            SortValue::Email(Some(email)) => bytes.extend_from_slice(email.as_str().as_bytes()),
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[sort, direction], rest) = bytes.split_first_chunk::<2>()?;
        let (id, value) = rest.split_first_chunk::<8>()?;
        let id = CustomerId::parse(i64::from_be_bytes(*id)).ok()?;
        let date = || match value {
            [] => Some(None),
            days => Date::from_days_since_epoch(i32::from_be_bytes(days.try_into().ok()?)).ok().map(Some),
        };
        let instant = || Timestamp::from_microseconds(i64::from_be_bytes(value.try_into().ok()?)).ok();
        let email = || match value {
            [] => Some(None),
            text => EmailAddress::parse(std::str::from_utf8(text).ok()?).ok().map(Some),
        };
        let (sort, value) = match sort {
            0 => (SortKey::Id, SortValue::Id),
            1 => (SortKey::DisplayName, SortValue::Name(String::from_utf8(value.to_vec()).ok()?)),
            2 => (SortKey::SubmittedDate, SortValue::Date(date()?)),
            3 => (SortKey::ActivationDate, SortValue::Date(date()?)),
            4 => (SortKey::CreatedAt, SortValue::Instant(instant()?)),
            5 => (SortKey::UpdatedAt, SortValue::Instant(instant()?)),
            6 => (SortKey::Email, SortValue::Email(email()?)),
            _ => return None,
        };
        let direction = match direction {
            0 => Direction::Ascending,
            1 => Direction::Descending,
            _ => return None,
        };
        Some(Self { sort, direction, boundary: Boundary { value, id } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(organization: i64, filter: &str) -> Walk<'_> {
        Walk {
            route: "/v1/customers",
            organization: OrganizationId::parse(organization).unwrap(),
            filter: filter_hash([filter]),
        }
    }

    fn places() -> impl Strategy<Value = Place> {
        let value = prop_oneof![
            Just((SortKey::Id, SortValue::Id)),
            "\\PC{0,20}".prop_map(|name| (SortKey::DisplayName, SortValue::Name(name))),
            (-700_000..2_900_000)
                .prop_map(|days| Date::from_days_since_epoch(days).unwrap())
                .prop_map(|date| (SortKey::SubmittedDate, SortValue::Date(Some(date)))),
            Just((SortKey::ActivationDate, SortValue::Date(None))),
        ];
        (value, 1..i64::MAX, any::<bool>()).prop_map(|((sort, value), id, up)| Place {
            sort,
            direction: if up { Direction::Ascending } else { Direction::Descending },
            boundary: Boundary { value, id: CustomerId::parse(id).unwrap() },
        })
    }

    proptest! {
        #[test]
        fn a_cursor_names_the_place_it_was_made_from_and_is_fit_for_a_url(place in places()) {
            let key = CursorKey::new([7; 32]);
            let cursor = key.seal_place(&walk(1, "a"), &place);
            prop_assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(key.open_place(&walk(1, "a"), &cursor), Ok(place));
        }

        #[test]
        fn a_cursor_is_refused_anywhere_else_and_when_any_byte_is_changed(place in places(), at in any::<prop::sample::Index>()) {
            let key = CursorKey::new([7; 32]);
            let cursor = key.seal_place(&walk(1, "a"), &place);
            prop_assert_eq!(key.open_place(&walk(1, "b"), &cursor), Err(CursorError));
            prop_assert_eq!(key.open_place(&walk(2, "a"), &cursor), Err(CursorError));
            let other_route = Walk { route: "/v1/loans", ..walk(1, "a") };
            prop_assert_eq!(key.open_place(&other_route, &cursor), Err(CursorError));
            prop_assert_eq!(CursorKey::new([8; 32]).open_place(&walk(1, "a"), &cursor), Err(CursorError));
            let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert_eq!(key.open_place(&walk(1, "a"), &URL_SAFE_NO_PAD.encode(bytes)), Err(CursorError));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            prop_assert_eq!(CursorKey::new([7; 32]).open_place(&walk(1, "a"), &text), Err(CursorError));
        }
    }

    #[test]
    fn the_parts_of_a_filter_do_not_run_together() {
        assert_ne!(filter_hash(["ab", "c"]), filter_hash(["a", "bc"]));
        assert_ne!(filter_hash(["", "a"]), filter_hash(["a", ""]));
    }
}
