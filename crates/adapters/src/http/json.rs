//! Strict JSON: what every dialect reads its bodies with.
//!
//! Owns the syntax rules that `serde_json` alone does not hold (no duplicate keys, no NUL, bounded nesting, nothing after the
//! document) and a reader that tells which members of an object nobody asked for. It must not know any dialect: it reports
//! kinds, offsets and member names, and the dialects word their own errors.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserializer, Serialize, Serializer};

/// How many arrays and objects may be open at once.
pub const MAX_DEPTH: usize = 32;

/// From this many members on, duplicate keys are looked for by hash instead of by scanning.
const SCAN_LIMIT: usize = 16;

/// A JSON value that passed the strict rules: every string is free of NUL, every object free of duplicate keys.
///
/// `Debug` names only the shape: a body holds personal data, which must not reach a log by way of `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number written without fraction and exponent that fits 64 signed bits.
    Integer(i64),
    /// Any other number, as the shortest text that reads back to the same double (or to the same unsigned 64-bit integer).
    Number(String),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, its members in the order of the document.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The boolean, where this is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The integer, where this is one that fits 64 signed bits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// The string, where this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(value) = self { Some(value) } else { None }
    }

    /// The items, where this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Json]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The members in document order, where this is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&[(String, Json)]> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// The JSON name of this value's type: `null`, `boolean`, `integer`, `number`, `string`, `array` or `object`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Json({})", self.type_name())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Number(text) => serialize_number(text, serializer),
            Self::String(value) => serializer.serialize_str(value),
            Self::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(item)?;
                }
                sequence.end()
            }
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn serialize_number<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(value) = text.parse::<u64>() {
        serializer.serialize_u64(value)
    } else if let Ok(value) = text.parse::<f64>() {
        serializer.serialize_f64(value)
    } else {
        serializer.serialize_str(text)
    }
}

/// What is wrong with a document that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyntaxKind {
    /// There is no document: nothing, or white space alone.
    Empty,
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// A character that the grammar does not allow there.
    Malformed,
    /// The document ends too early.
    Incomplete,
    /// An object names a member twice.
    DuplicateKey,
    /// Something other than white space follows the document.
    TrailingData,
    /// A string or a member name holds U+0000.
    NulCharacter,
    /// More than [`MAX_DEPTH`] arrays and objects are open at once.
    TooDeep,
    /// A number that no double can hold.
    NumberOutOfRange,
}

impl SyntaxKind {
    /// A fixed text for the kind, without any part of the document.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Empty => "Expecting value",
            Self::InvalidUtf8 => "Invalid UTF-8",
            Self::Malformed => "Malformed JSON",
            Self::Incomplete => "Unexpected end of JSON",
            Self::DuplicateKey => "Duplicate key",
            Self::TrailingData => "Extra data",
            Self::NulCharacter => "NUL character in string",
            Self::TooDeep => "Nesting deeper than 32",
            Self::NumberOutOfRange => "Number out of range",
        }
    }
}

/// A document that was refused, with the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} at byte {offset}", kind.message())]
pub struct SyntaxError {
    /// What is wrong.
    pub kind: SyntaxKind,
    /// Where it was noticed: bytes from the start of the document, from 0, at most its length.
    pub offset: usize,
}

/// Reads one document under the strict rules.
///
/// # Errors
/// [`SyntaxError`] for the first fault: see [`SyntaxKind`].
pub fn parse(bytes: &[u8]) -> Result<Json, SyntaxError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| SyntaxError { kind: SyntaxKind::InvalidUtf8, offset: error.valid_up_to() })?;
    if text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        return Err(SyntaxError { kind: SyntaxKind::Empty, offset: 0 });
    }
    let refused = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Seed { depth: 0, refused: &refused };
    let value = seed.deserialize(&mut deserializer).map_err(|error| located(text, &error, refused.get()))?;
    deserializer.end().map_err(|error| located(text, &error, Some(SyntaxKind::TrailingData)))?;
    Ok(value)
}

fn located(text: &str, error: &serde_json::Error, refused: Option<SyntaxKind>) -> SyntaxError {
    let kind = refused.unwrap_or_else(|| {
        if error.is_eof() {
            SyntaxKind::Incomplete
        } else if error.to_string().starts_with("number out of range") {
            SyntaxKind::NumberOutOfRange
        } else {
            SyntaxKind::Malformed
        }
    });
    let offset = if kind == SyntaxKind::Incomplete {
        text.len()
    } else {
        let line_start = match error.line() {
            0 | 1 => 0,
            line => text.match_indices('\n').nth(line - 2).map_or(0, |(at, _)| at + 1),
        };
        (line_start + error.column().saturating_sub(1)).min(text.len())
    };
    SyntaxError { kind, offset }
}

/// Builds one value. The reason of a refusal travels in the cell, because serde's errors carry text alone.
#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    refused: &'a Cell<Option<SyntaxKind>>,
}

impl Seed<'_> {
    fn refuse<E: serde::de::Error>(self, kind: SyntaxKind) -> E {
        self.refused.set(Some(kind));
        E::custom(kind.message())
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(SyntaxKind::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn text<E: serde::de::Error>(self, value: String) -> Result<String, E> {
        if value.contains('\0') {
            return Err(self.refuse(SyntaxKind::NulCharacter));
        }
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or_else(|_| Json::Number(value.to_string()), Json::Integer))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(format!("{value:?}")))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Json, E> {
        self.text(value.to_owned()).map(Json::String)
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Json, E> {
        self.text(value).map(Json::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let seed = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(seed)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let seed = self.deeper()?;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut hashed: HashSet<String> = HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            let key = seed.text(key)?;
            if is_duplicate(&members, &mut hashed, &key) {
                return Err(seed.refuse(SyntaxKind::DuplicateKey));
            }
            let value = access.next_value_seed(seed)?;
            members.push((key, value));
        }
        Ok(Json::Object(members))
    }
}

fn is_duplicate(members: &[(String, Json)], hashed: &mut HashSet<String>, key: &str) -> bool {
    if members.len() < SCAN_LIMIT {
        return members.iter().any(|(earlier, _)| earlier == key);
    }
    if hashed.is_empty() {
        hashed.extend(members.iter().map(|(earlier, _)| earlier.clone()));
    }
    !hashed.insert(key.to_owned())
}

/// The same value always as the same bytes: members sorted by name, no white space. Meant for fingerprints of requests.
#[must_use]
pub fn canonical(value: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Json::Number(text) => out.extend_from_slice(text.as_bytes()),
        Json::String(text) => write_string(text, out),
        Json::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Json::Object(members) => {
            let mut sorted: Vec<&(String, Json)> = members.iter().collect();
            sorted.sort_by(|left, right| left.0.cmp(&right.0));
            out.push(b'{');
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write_canonical(item, out);
            }
            out.push(b'}');
        }
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string always serializes into memory");
}

/// Hands out the members of one object by name and remembers which were asked for, so that the rest can be refused.
#[derive(Debug)]
pub struct ObjectReader<'a> {
    members: &'a [(String, Json)],
    taken: Vec<bool>,
}

impl<'a> ObjectReader<'a> {
    /// A reader over `value`, or `None` where that is no object.
    #[must_use]
    pub fn new(value: &'a Json) -> Option<Self> {
        let members = value.as_object()?;
        Some(Self { members, taken: vec![false; members.len()] })
    }

    /// The member `name`, `null` included, and marks it as known. `None` where the object has none.
    pub fn take(&mut self, name: &str) -> Option<&'a Json> {
        let index = self.members.iter().position(|(key, _)| key == name)?;
        self.taken[index] = true;
        Some(&self.members[index].1)
    }

    /// Like [`take`](Self::take), with an explicit `null` counted as absent (the rule on every create).
    pub fn take_present(&mut self, name: &str) -> Option<&'a Json> {
        self.take(name).filter(|value| !value.is_null())
    }

    /// Whether the object has the member, without marking it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(key, _)| key == name)
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the object has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members that were never taken, in document order, with their values.
    pub fn unknown_members(&self) -> impl Iterator<Item = (&'a str, &'a Json)> + '_ {
        self.members
            .iter()
            .zip(&self.taken)
            .filter(|(_, taken)| !**taken)
            .map(|((key, value), _)| (key.as_str(), value))
    }

    /// The names of the members that were never taken, in document order.
    pub fn unknown(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.unknown_members().map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> (SyntaxKind, usize) {
        let error = parse(text.as_bytes()).unwrap_err();
        (error.kind, error.offset)
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let value = parse(br#" {"a":[null,true,-1,1.5,"x"],"b":{}} "#).unwrap();
        let expected = Json::Object(vec![
            (
                "a".into(),
                Json::Array(vec![
                    Json::Null,
                    Json::Bool(true),
                    Json::Integer(-1),
                    Json::Number("1.5".into()),
                    Json::String("x".into()),
                ]),
            ),
            ("b".into(), Json::Object(vec![])),
        ]);
        assert!(value == expected);
    }

    #[test]
    fn integers_beyond_64_signed_bits_are_numbers_but_not_integers() {
        assert!(parse(b"9223372036854775807").unwrap() == Json::Integer(i64::MAX));
        assert!(parse(b"9223372036854775808").unwrap() == Json::Number("9223372036854775808".into()));
        assert!(parse(b"1.0").unwrap() == Json::Number("1.0".into()));
        assert_eq!(refused("1e400").0, SyntaxKind::NumberOutOfRange);
    }

    #[test]
    fn an_empty_body_is_told_from_a_cut_one() {
        assert_eq!(refused(""), (SyntaxKind::Empty, 0));
        assert_eq!(refused(" \r\n"), (SyntaxKind::Empty, 0));
        assert_eq!(refused(r#"{"a":"#), (SyntaxKind::Incomplete, 5));
        assert_eq!(refused("[1,"), (SyntaxKind::Incomplete, 3));
    }

    #[test]
    fn malformed_text_is_refused_at_its_byte() {
        assert_eq!(refused(r#"{"a":}"#), (SyntaxKind::Malformed, 5));
        assert_eq!(refused("{\n\"a\":}"), (SyntaxKind::Malformed, 6));
        assert_eq!(refused("{'a':1}").0, SyntaxKind::Malformed);
        assert_eq!(refused("[1,]").0, SyntaxKind::Malformed);
        assert_eq!(refused("NaN").0, SyntaxKind::Malformed);
        assert_eq!(refused("\u{feff}{}").0, SyntaxKind::Malformed);
        assert_eq!(refused(r#""\ud800""#).0, SyntaxKind::Malformed);
        assert_eq!(refused("\"a\u{0}\"").0, SyntaxKind::Malformed);
    }

    #[test]
    fn invalid_utf8_is_refused_at_its_byte() {
        let error = parse(b"{\"a\":\"\xff\"}").unwrap_err();
        assert_eq!(error, SyntaxError { kind: SyntaxKind::InvalidUtf8, offset: 6 });
    }

    #[test]
    fn a_second_key_of_the_same_name_is_refused_however_it_is_written() {
        assert_eq!(refused(r#"{"a":1,"a":1}"#).0, SyntaxKind::DuplicateKey);
        assert_eq!(refused(r#"{"a":1,"\u0061":1}"#).0, SyntaxKind::DuplicateKey);
        assert_eq!(refused(r#"[{"b":{"a":1,"a":1}}]"#).0, SyntaxKind::DuplicateKey);
        assert!(parse(br#"{"a":1,"A":1,"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn a_duplicate_among_many_keys_is_found() {
        let keys: Vec<String> = (0..500).map(|n| format!("\"k{n}\":0")).collect();
        assert!(parse(format!("{{{}}}", keys.join(",")).as_bytes()).is_ok());
        for repeated in [0, 15, 16, 17, 499] {
            let text = format!("{{{},\"k{repeated}\":0}}", keys.join(","));
            assert_eq!(refused(&text).0, SyntaxKind::DuplicateKey);
        }
    }

    #[test]
    fn nothing_may_follow_the_document() {
        assert_eq!(refused("{} {}"), (SyntaxKind::TrailingData, 3));
        assert_eq!(refused("1 x").0, SyntaxKind::TrailingData);
        assert!(parse(b"{} \n").is_ok());
    }

    #[test]
    fn nul_is_refused_in_strings_and_in_keys() {
        assert_eq!(refused(r#"{"a":"x\u0000y"}"#).0, SyntaxKind::NulCharacter);
        assert_eq!(refused(r#"{"a\u0000":1}"#).0, SyntaxKind::NulCharacter);
    }

    #[test]
    fn nesting_is_accepted_up_to_32_and_no_further() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(32).as_bytes()).is_ok());
        assert_eq!(refused(&nested(33)).0, SyntaxKind::TooDeep);
        assert_eq!(refused(&"[".repeat(1_000_000)).0, SyntaxKind::TooDeep);
        assert_eq!(refused(&r#"{"a":"#.repeat(40)).0, SyntaxKind::TooDeep);
    }

    #[test]
    fn canonical_bytes_do_not_depend_on_order_or_white_space() {
        let left = parse(br#"{"b":[1, 2],"a":{"y":"\u00e9","x":null}}"#).unwrap();
        let right = parse("{ \"a\":{\"x\":null,\"y\":\"é\"},\"b\":[1,2] }".as_bytes()).unwrap();
        assert_eq!(canonical(&left), canonical(&right));
        assert_eq!(canonical(&left), "{\"a\":{\"x\":null,\"y\":\"é\"},\"b\":[1,2]}".as_bytes());
        assert_ne!(canonical(&left), canonical(&parse(br#"{"b":[2,1],"a":{"y":"\u00e9","x":null}}"#).unwrap()));
    }

    #[test]
    fn the_reader_names_the_members_that_nobody_took() {
        let value = parse(br#"{"a":1,"b":null,"c":3,"d":4}"#).unwrap();
        let mut reader = ObjectReader::new(&value).unwrap();
        assert_eq!(reader.take("a").and_then(Json::as_i64), Some(1));
        assert!(reader.take_present("b").is_none());
        assert!(reader.take("missing").is_none());
        assert_eq!(reader.unknown().collect::<Vec<_>>(), ["c", "d"]);
        assert!(ObjectReader::new(&Json::Null).is_none());
    }

    #[test]
    fn debug_shows_no_content() {
        let value = parse(br#"{"name":"Ada"}"#).unwrap();
        assert_eq!(format!("{value:?}"), "Json(object)");
    }

    proptest! {
        #[test]
        fn any_bytes_are_either_read_or_refused_within_the_document(bytes: Vec<u8>) {
            if let Err(error) = parse(&bytes) {
                prop_assert!(error.offset <= bytes.len());
            }
        }

        #[test]
        fn any_string_without_nul_survives(text in "[^\u{0}]{0,40}") {
            let bytes = serde_json::to_vec(&text).unwrap();
            prop_assert!(parse(&bytes).unwrap() == Json::String(text));
        }

        #[test]
        fn canonical_text_parses_to_the_same_canonical_text(keys in proptest::collection::hash_set("[a-z\"\\\\é]{0,3}", 0..20), number: i64) {
            let members = keys.into_iter().map(|key| (key, Json::Integer(number))).collect();
            let once = canonical(&Json::Object(members));
            prop_assert_eq!(canonical(&parse(&once).unwrap()), once);
        }
    }
}
