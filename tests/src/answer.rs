//! One HTTP answer, read to its end.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An HTTP answer with its whole body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The body as JSON; `Null` where it is none.
    pub json: Value,
}

impl Answer {
    /// An answer of these parts.
    #[must_use]
    pub fn new(status: u16, headers: HeaderMap, body: &[u8]) -> Self {
        let json = serde_json::from_slice(body).unwrap_or(Value::Null);
        Self { status, headers, text: String::from_utf8_lossy(body).into_owned(), json }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection fails or the answer does not come in time.
    pub async fn to(request: reqwest::RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self::new(status, headers, &response.bytes().await?))
    }

    /// The one value of a header field, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The answer itself, if it has this status.
    ///
    /// # Panics
    /// It has another one; the message shows the body.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "the answer was: {}", self.text);
        self
    }

    /// Each problem of a validation error of the lms dialect, as `field: error`, in its order.
    ///
    /// # Panics
    /// The body has not exactly the two members of an error, or its message is no list of problems.
    #[must_use]
    #[track_caller]
    pub fn problems(&self) -> Vec<String> {
        assert_eq!(self.json["code"], "invalid_argument", "the answer was: {}", self.text);
        self.entries()
    }

    #[track_caller]
    fn entries(&self) -> Vec<String> {
        let members: Vec<&str> = self.json.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(members, ["code", "message"], "the answer was: {}", self.text);
        let message = self.json["message"].as_str().expect("a message is text");
        let entries: Vec<Value> = serde_json::from_str(message).expect("the message is itself a JSON array");
        let text =
            |entry: &Value, member: &str| entry[member].as_str().expect("an entry's members are text").to_owned();
        assert!(!entries.is_empty(), "a refusal names what is wrong");
        assert!(entries.iter().all(|entry| entry.as_object().is_some_and(|members| members.len() == 2)), "{message}");
        entries.iter().map(|entry| format!("{}: {}", text(entry, "field"), text(entry, "error"))).collect()
    }

    /// The code of an lms error that is no validation error.
    ///
    /// # Panics
    /// It has another status, the body has not exactly the two members of an error, or it is a 400 whose message is no
    /// list of problems.
    #[must_use]
    #[track_caller]
    pub fn code(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "the answer was: {}", self.text);
        let members = self.json.as_object().map_or(0, serde_json::Map::len);
        assert!(members == 2 && self.json["message"].is_string(), "the answer was: {}", self.text);
        if status == 400 {
            let _ = self.entries();
        }
        self.json["code"].as_str().expect("a code is text")
    }
}
