//! What is wrong with a document that is no JSON, in the words of Python's `json` module, which clients of such services
//! know: `Expecting value` and its kin, with the place counted in characters.
//!
//! Owns those words. It must not decide what is refused: the strict reader has refused the document already, sometimes for
//! reasons that Python does not know.

use crate::http::json::{SyntaxError, SyntaxKind};

/// The place in characters, and what was expected there.
type Told = (usize, &'static str);

const VALUE: &str = "Expecting value";

/// Tells why a refused document is no JSON.
pub(super) fn told(bytes: &[u8], error: SyntaxError) -> Told {
    let characters = |prefix: &[u8]| String::from_utf8_lossy(prefix).chars().count();
    let ours = || (characters(bytes.get(..error.offset).unwrap_or(bytes)), error.kind.message());
    match error.kind {
        SyntaxKind::Empty | SyntaxKind::Malformed | SyntaxKind::Incomplete | SyntaxKind::TrailingData => {
            let text: Vec<char> = String::from_utf8_lossy(bytes).chars().collect();
            Scan { text: &text, at: 0 }.document().err().unwrap_or_else(ours)
        }
        SyntaxKind::InvalidUtf8
        | SyntaxKind::DuplicateKey
        | SyntaxKind::NulCharacter
        | SyntaxKind::TooDeep
        | SyntaxKind::NumberOutOfRange => ours(),
    }
}

struct Scan<'a> {
    text: &'a [char],
    at: usize,
}

impl Scan<'_> {
    fn document(mut self) -> Result<(), Told> {
        self.space();
        self.value(0)?;
        self.space();
        if self.at < self.text.len() { Err((self.at, "Extra data")) } else { Ok(()) }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<(), Told> {
        let start = self.at;
        match self.peek() {
            Some('"') => self.string(),
            // The strict reader stops before any depth that could matter here.
            Some('{') if depth < 64 => self.object(depth),
            Some('[') if depth < 64 => self.array(depth),
            Some('-' | '0'..='9') => self.number(),
            _ => {
                let rest = &self.text[start..];
                let word = ["null", "true", "false"]
                    .into_iter()
                    .find(|word| word.chars().enumerate().all(|(place, letter)| rest.get(place) == Some(&letter)));
                self.at += word.ok_or((start, VALUE))?.len();
                Ok(())
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Told> {
        self.at += 1;
        self.space();
        if self.eat('}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some('"') {
                return Err((self.at, "Expecting property name enclosed in double quotes"));
            }
            self.string()?;
            self.space();
            if !self.eat(':') {
                return Err((self.at, "Expecting ':' delimiter"));
            }
            self.space();
            self.value(depth + 1)?;
            self.space();
            if self.eat('}') {
                return Ok(());
            }
            self.comma()?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Told> {
        self.at += 1;
        self.space();
        if self.eat(']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            if self.eat(']') {
                return Ok(());
            }
            self.comma()?;
        }
    }

    fn comma(&mut self) -> Result<(), Told> {
        if !self.eat(',') {
            return Err((self.at, "Expecting ',' delimiter"));
        }
        self.space();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Told> {
        let open = self.at;
        let unterminated = (open, "Unterminated string starting at");
        self.at += 1;
        loop {
            let place = self.at;
            let letter = self.peek().ok_or(unterminated)?;
            self.at += 1;
            match letter {
                '"' => return Ok(()),
                '\\' => {
                    let escaped = self.peek().ok_or(unterminated)?;
                    self.at += 1;
                    match escaped {
                        '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {}
                        'u' if self.hexadecimal() => {}
                        'u' => return Err((place + 1, "Invalid \\uXXXX escape")),
                        _ => return Err((place, "Invalid \\escape")),
                    }
                }
                '\0'..='\u{1f}' => return Err((place, "Invalid control character at")),
                _ => {}
            }
        }
    }

    fn hexadecimal(&mut self) -> bool {
        let digits = self.text.get(self.at..self.at + 4);
        let right = digits.is_some_and(|digits| digits.iter().all(char::is_ascii_hexdigit));
        self.at += if right { 4 } else { 0 };
        right
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|letter| letter.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// As much of a number as there is: what follows it is somebody else's fault.
    fn number(&mut self) -> Result<(), Told> {
        let start = self.at;
        self.eat('-');
        if !self.eat('0') && self.digits() == 0 {
            return Err((start, VALUE));
        }
        let whole = self.at;
        if self.eat('.') && self.digits() == 0 {
            self.at = whole;
            return Ok(());
        }
        let mantissa = self.at;
        if self.eat('e') || self.eat('E') {
            if !self.eat('-') {
                self.eat('+');
            }
            if self.digits() == 0 {
                self.at = mantissa;
            }
        }
        Ok(())
    }
}
