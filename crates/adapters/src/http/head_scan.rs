//! Refuses request heads whose end or length two parsers could see differently.
//!
//! hyper takes a bare LF for a line end, merges equal `Content-Length` headers and prefers `Transfer-Encoding` where both are
//! there. A proxy in front may decide otherwise, and then a body is read as another caller's request. This module watches the
//! bytes on their way to hyper and makes such a head unparsable, so that hyper itself answers 400 and closes. It owns no
//! parsing beyond line ends and these two names, and must not know what a request means.

/// How much of a line is kept: enough for `Content-Length` with any length, and for a path prefix.
const KEPT: usize = 64;

/// A byte that no request head may hold.
const POISON: u8 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a head, or before one.
    Head,
    /// In a body, with this many bytes to come.
    Body(u64),
    /// No longer able to tell where a head begins: after a chunked body, or after a refusal.
    Lost,
}

/// Follows the heads and bodies of one connection.
#[derive(Debug)]
pub(super) struct HeadScan {
    place: Place,
    line: [u8; KEPT],
    length: usize,
    lines: usize,
    first: Vec<u8>,
    after_cr: bool,
    content_length: Option<u64>,
    chunked: bool,
}

impl HeadScan {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Head,
            line: [0; KEPT],
            length: 0,
            lines: 0,
            first: Vec::new(),
            after_cr: false,
            content_length: None,
            chunked: false,
        }
    }

    /// The start of the target of the head that is being read or was read last, for the shape of an answer to a bad one.
    pub(super) fn target(&self) -> &str {
        let line = if self.first.is_empty() { self.kept() } else { &self.first };
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        std::str::from_utf8(path).unwrap_or_default()
    }

    /// Looks at the next bytes of the connection and spoils a head that must be refused.
    pub(super) fn feed(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Lost => return,
                Place::Body(left) => {
                    let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(left);
                    self.place = if here == left { Place::Head } else { Place::Body(left - here) };
                    at += usize::try_from(here).unwrap_or(bytes.len());
                }
                Place::Head => {
                    if self.step(bytes[at]) {
                        bytes[at] = POISON;
                        self.place = Place::Lost;
                    }
                    at += 1;
                }
            }
        }
    }

    /// Takes one byte of a head; true where the head must be refused.
    fn step(&mut self, byte: u8) -> bool {
        let ends_line = byte == b'\n';
        if ends_line && !self.after_cr {
            return true;
        }
        self.after_cr = byte == b'\r';
        match byte {
            b'\n' => self.end_line(),
            b'\r' => false,
            _ => {
                if let Some(slot) = self.line.get_mut(self.length) {
                    *slot = byte;
                }
                self.length += 1;
                false
            }
        }
    }

    fn end_line(&mut self) -> bool {
        let (empty, first) = (self.length == 0, self.lines == 0);
        if empty && first {
            return false;
        }
        if empty {
            self.end_head();
            return false;
        }
        if first {
            self.first.clear();
            let kept = self.length.min(KEPT);
            self.first.extend_from_slice(&self.line[..kept]);
        }
        let refused = !first && self.ambiguous();
        self.length = 0;
        self.lines += 1;
        refused
    }

    fn end_head(&mut self) {
        self.place = match self.content_length.take() {
            _ if self.chunked => Place::Lost,
            Some(length) if length > 0 => Place::Body(length),
            Some(_) | None => Place::Head,
        };
        self.lines = 0;
        self.length = 0;
    }

    /// Notes a header that decides the body's length; true where it contradicts or repeats an earlier one.
    fn ambiguous(&mut self) -> bool {
        let line = self.kept();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return false;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let whole = self.length <= KEPT;
            let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).filter(|_| whole);
            let repeated = self.content_length.is_some() || self.chunked;
            self.content_length = length;
            repeated || length.is_none()
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let repeated = self.content_length.is_some() || self.chunked;
            self.chunked = true;
            repeated
        } else {
            false
        }
    }

    fn kept(&self) -> &[u8] {
        &self.line[..self.length.min(KEPT)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spoiled(input: &str) -> bool {
        let mut bytes = input.as_bytes().to_vec();
        HeadScan::new().feed(&mut bytes);
        bytes != input.as_bytes()
    }

    #[test]
    fn heads_with_one_meaning_pass_untouched() {
        for input in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nbGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length:0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\n\n",
        ] {
            assert!(!spoiled(input), "{input:?}");
        }
    }

    #[test]
    fn heads_with_two_meanings_are_spoiled() {
        for input in [
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\n\r\n",
        ] {
            assert!(spoiled(input), "{input:?}");
        }
    }

    #[test]
    fn the_target_of_the_last_head_is_known() {
        let mut scan = HeadScan::new();
        scan.feed(&mut b"GET /v2/data?x=1 HTTP/1.1\r\n\r\n".to_vec());
        assert_eq!(scan.target(), "/v2/data");
        scan.feed(&mut b"GET /external/v1/customers HTTP/1.1\r\nHo".to_vec());
        assert_eq!(scan.target(), "/external/v1/customers");
    }

    proptest! {
        #[test]
        fn bodies_are_never_touched_however_the_bytes_are_cut(body in proptest::collection::vec(any::<u8>(), 1..200), cut in 1usize..40) {
            let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            let one = [head.as_bytes(), &body].concat();
            let mut bytes = [one.clone(), one.clone()].concat();
            let mut scan = HeadScan::new();
            for piece in bytes.chunks_mut(cut) {
                scan.feed(piece);
            }
            prop_assert_eq!(bytes, [one.clone(), one].concat());
        }
    }
}
