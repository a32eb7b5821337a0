//! A JSON object written member by member into bytes, for the answers that are given most often: no tree, and no
//! escaping where there is nothing to escape. It must not know whose members they are.

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

/// An object that is being written. Nothing is written of members that are absent.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    has_members: bool,
}

impl<'o> Object<'o> {
    /// Begins an object behind whatever was written before.
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, has_members: false }
    }

    /// Ends it.
    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        let out = self.member(name);
        #[expect(clippy::needless_bitwise_bool, reason = "a pass without an early exit is done for many bytes at once")]
        let is_plain = value.bytes().fold(true, |is_plain, b| is_plain & (b >= b' ') & (b != b'"') & (b != b'\\'));
        if is_plain {
            out.push(b'"');
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        } else {
            serde_json::to_writer(out, value).expect("a text is JSON");
        }
    }

    /// A text, if there is one.
    pub(super) fn optional_text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// What is shown as a text without anything to escape, such as an id or a date.
    pub(super) fn shown(&mut self, name: &'static str, value: impl Display) {
        write!(self.member(name), "\"{value}\"").expect("memory takes what is written");
    }

    /// The same, if it is there.
    pub(super) fn optional_shown(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.shown(name, value);
        }
    }

    /// A number or a truth value.
    pub(super) fn bare(&mut self, name: &'static str, value: impl Display) {
        write!(self.member(name), "{value}").expect("memory takes what is written");
    }

    /// Any other value.
    pub(super) fn value(&mut self, name: &'static str, value: &impl Serialize) {
        serde_json::to_writer(self.member(name), value).expect("the value is JSON");
    }

    /// An array of objects.
    pub(super) fn objects<T>(&mut self, name: &'static str, items: &[T], write: impl Fn(&T, &mut Object<'_>)) {
        let out = self.member(name);
        out.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let mut object = Object::begin(out);
            write(item, &mut object);
            object.end();
        }
        out.push(b']');
    }

    fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        if self.has_members {
            self.out.push(b',');
        }
        self.has_members = true;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_are_written_in_their_order_and_absent_ones_left_out() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "x\"y\n");
        object.optional_text("b", None);
        object.shown("c", 42);
        object.optional_shown("d", None::<i64>);
        object.bare("e", true);
        object.objects("f", &[1, 2], |number, item| item.bare("n", number));
        object.objects("g", &[0; 0], |_, _| ());
        object.value("h", &["z"]);
        object.end();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, r#"{"a":"x\"y\n","c":"42","e":true,"f":[{"n":1},{"n":2}],"g":[],"h":["z"]}"#);
    }

    proptest! {
        #[test]
        fn every_text_is_written_as_serde_writes_it(text in ".{0,40}|[\\x00-\\x7f]{0,40}") {
            let mut out = Vec::new();
            let mut object = Object::begin(&mut out);
            object.text("t", &text);
            object.end();
            prop_assert_eq!(out, serde_json::to_vec(&serde_json::json!({"t": text})).unwrap());
        }
    }
}
