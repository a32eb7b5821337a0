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
}
