//! HTTP by hand: what no client library would send, and exactly the bytes that come back.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Answer;

/// How long an answer may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A plain connection to the server.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawConnection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, received: Vec::new() })
    }

    /// Sends these bytes as they are.
    ///
    /// # Errors
    /// The server has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(())
    }

    /// The next answer; `None` when the server closes the connection without one.
    ///
    /// # Errors
    /// What comes is no HTTP/1.1 answer, or nothing comes for a minute.
    pub async fn answer(&mut self) -> anyhow::Result<Option<Answer>> {
        tokio::time::timeout(PATIENCE, self.read_answer()).await.context("no answer for a minute")?
    }

    /// Reads until the server closes the connection, and says whether it did within the given time.
    pub async fn is_closed_within(&mut self, patience: Duration) -> bool {
        tokio::time::timeout(patience, async { while self.receive().await.unwrap_or(false) {} }).await.is_ok()
    }

    async fn read_answer(&mut self) -> anyhow::Result<Option<Answer>> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at;
            }
            if !self.receive().await? {
                if self.received.is_empty() {
                    return Ok(None);
                }
                bail!("the connection was closed within the header");
            }
        };
        let head: Vec<u8> = self.received.drain(..end + 4).collect();
        let (status, headers) = parse_head(&head[..end])?;
        if (100..200).contains(&status) {
            return Box::pin(self.read_answer()).await;
        }
        let body = self.read_body(&headers).await?;
        Ok(Some(Answer::new(status, headers, &body)))
    }

    async fn read_body(&mut self, headers: &HeaderMap) -> anyhow::Result<Vec<u8>> {
        if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
            return self.read_chunks().await;
        }
        let length = headers.get("content-length").map(|value| value.to_str().map(str::parse::<usize>));
        match length {
            Some(length) => self.take(length??).await,
            None => Ok(Vec::new()),
        }
    }

    async fn read_chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line().await?;
            let size = usize::from_str_radix(line.trim(), 16).context("no chunk size")?;
            let chunk = self.take(size).await?;
            self.take(2).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    async fn take_line(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(at) = find(&self.received, b"\r\n") {
                let line = self.received.drain(..at + 2).collect();
                return Ok(String::from_utf8(line)?);
            }
            if !self.receive().await? {
                bail!("the connection was closed within a line");
            }
        }
    }

    async fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.received.len() < length {
            if !self.receive().await? {
                bail!("the connection was closed within the body");
            }
        }
        Ok(self.received.drain(..length).collect())
    }

    /// Receives some bytes; false at the end of the stream.
    async fn receive(&mut self) -> anyhow::Result<bool> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A text as one segment of a path or one value of a query: every byte but letters, digits and `-_~` is encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])));
        }
    }
    out
}

/// Status and header fields of an answer without its empty line.
fn parse_head(head: &[u8]) -> anyhow::Result<(u16, HeaderMap)> {
    let head = std::str::from_utf8(head).context("the header is not ASCII")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3))
        .context("no status line of HTTP/1.1")?
        .parse()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').context("a header field without a colon")?;
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value.trim())?);
    }
    Ok((status, headers))
}

/// Where the pattern begins.
fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The answers to be read from a server that sends these bytes and closes the connection.
    async fn answers(bytes: &'static [u8]) -> anyhow::Result<Vec<Answer>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            stream.write_all(bytes).await
        });
        let mut connection = RawConnection::open(&address).await?;
        let mut answers = Vec::new();
        while let Some(answer) = connection.answer().await? {
            answers.push(answer);
        }
        server.await??;
        Ok(answers)
    }

    #[tokio::test]
    async fn answers_with_a_length_and_in_chunks_are_read_one_after_the_other() {
        let answers = answers(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue\
              HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n",
        )
        .await
        .unwrap();
        assert_eq!(answers.len(), 2);
        assert_eq!((answers[0].status, &answers[0].json), (200, &true.into()));
        assert_eq!((answers[1].status, answers[1].text.as_str()), (404, "[1]"));
    }

    #[tokio::test]
    async fn an_answer_cut_short_is_an_error() {
        assert!(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntrue").await.is_err());
        assert!(answers(b"HTTP/1.1 200 OK\r\nContent").await.is_err());
    }
}
