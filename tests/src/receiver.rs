//! A receiver of webhooks as an integrator writes one: it listens, checks the signature with the crate of the specification,
//! and answers as the test wants it to.
//!
//! It owns HTTP as far as a webhook needs it. It must not know what the messages are about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a message may take to come on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// The path that it was sent to.
    pub path: String,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Its body as JSON.
    pub json: Value,
    /// What it was answered.
    pub answered: u16,
}

impl Received {
    /// Its `webhook-id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.headers.get("webhook-id").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether its signature is one by that secret, made a moment ago.
    #[must_use]
    pub fn is_signed_by(&self, secret: &str) -> bool {
        Webhook::new(secret).is_ok_and(|webhook| webhook.verify(&self.body, &self.headers).is_ok())
    }

    /// Whether it was taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.answered)
    }

    /// The version that its event tells of.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.json["data"]["version"].as_u64().unwrap_or_default()
    }

    /// The external id of the customer that its event is about.
    #[must_use]
    pub fn customer(&self) -> &str {
        self.json["data"]["externalId"].as_str().unwrap_or_default()
    }
}

type React = dyn Fn(&Received) -> (u16, String) + Send + Sync;

/// A receiver, until it is dropped.
pub struct Receiver {
    address: String,
    messages: Arc<Mutex<Vec<Received>>>,
    count: watch::Receiver<usize>,
    listening: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Receiver {
    /// Takes everything.
    pub async fn willing() -> Self {
        Self::answering(|_| 204).await
    }

    /// Answers each message with that status.
    pub async fn answering(status: impl Fn(&Received) -> u16 + Send + Sync + 'static) -> Self {
        Self::reacting(move |message| (status(message), String::new())).await
    }

    /// Answers each message with that status and further header lines.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn reacting(react: impl Fn(&Received) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let (told, count) = watch::channel(0);
        let (kept, react, told): (_, Arc<React>, _) = (Arc::clone(&messages), Arc::new(react), Arc::new(told));
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, react, told) = (Arc::clone(&kept), Arc::clone(&react), Arc::clone(&told));
                tokio::spawn(async move { converse(stream, &kept, &*react, &told).await });
            }
        });
        Self { address, messages, count, listening }
    }

    /// The URL of a path that begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that came, in the order of its coming.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what came is enough.
    ///
    /// # Panics
    /// It is not within a minute and a half.
    pub async fn until(&self, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut count = self.count.clone();
        let coming = async {
            loop {
                count.mark_unchanged();
                let received = self.received();
                if enough(&received) {
                    return received;
                }
                let _ = count.changed().await;
            }
        };
        let come = tokio::time::timeout(PATIENCE, coming).await;
        come.unwrap_or_else(|_| panic!("only {} messages came", self.received().len()))
    }

    /// Waits until so many were taken.
    pub async fn taken(&self, wanted: usize) -> Vec<Received> {
        let taken = |all: &[Received]| all.iter().filter(|one| one.is_taken()).count();
        self.until(|all| taken(all) >= wanted).await.into_iter().filter(Received::is_taken).collect()
    }
}

/// Reads and answers requests until the sender hangs up.
async fn converse(stream: TcpStream, kept: &Mutex<Vec<Received>>, react: &React, told: &watch::Sender<usize>) {
    let mut stream = BufReader::new(stream);
    while let Some(mut message) = read(&mut stream).await {
        let (status, more) = react(&message);
        message.answered = status;
        let answer = format!("HTTP/1.1 {status} Told\r\ncontent-length: 0\r\n{more}\r\n");
        // Noted before it is answered: what the sender knows of, the test knows of.
        let count = {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(message);
            kept.len()
        };
        let written = stream.get_mut().write_all(answer.as_bytes()).await;
        told.send_replace(count);
        if written.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.trim()).ok()?);
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Received { path, headers, body, json, answered: 0 })
}
