//! One try to hand a message over, by HTTP.
//!
//! Owns the limits of a try and what its end is called. It must not know when a try is made, nor what follows from it.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use custodia_domain::webhook::FailureKind;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Response};
use tokio::time::Instant;

use super::address::{CheckedNames, EndpointUrl, NameError, SystemNames};
use super::message::Message;

/// How long a try may take in all, from the resolving of the name to the head of the answer.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How much of an answer's body is read, for the connection to be used again; it is never looked at.
const BODY_LIMIT: usize = 64 << 10;
/// How long that may take.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// How we name ourselves.
const AGENT: &str = "Custodia-Webhooks/1";

/// What a try came to. Says nothing of what the endpoint wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The status of the answer; `None` where none came.
    pub status: Option<u16>,
    /// Why the try failed; `None` where the endpoint took the message.
    pub failure: Option<FailureKind>,
    /// How long the endpoint wants to be left alone.
    pub retry_after: Option<Duration>,
    /// How long the try took.
    pub took: Duration,
}

/// Hands messages over.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Tries once to hand a message over.
    async fn carry(&self, message: &Message) -> Reply;
}

/// Hands messages over by HTTP: straight, without a proxy, to addresses that were checked, and following no redirect.
///
/// It is set up with the first message: a machine without certificates of authorities can serve, and sends nothing.
pub struct HttpSender {
    client: OnceLock<Client>,
    names: CheckedNames,
    insecure: bool,
    patience: Duration,
}

impl HttpSender {
    /// A sender; with `insecure`, which is for development alone, it calls http and every address.
    #[must_use]
    pub fn new(insecure: bool) -> Self {
        Self::resolving(CheckedNames::new(Arc::new(SystemNames), insecure), insecure, PATIENCE)
    }

    const fn resolving(names: CheckedNames, insecure: bool, patience: Duration) -> Self {
        Self { client: OnceLock::new(), names, insecure, patience }
    }

    fn client(&self) -> Result<&Client, FailureKind> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .https_only(!self.insecure)
            .dns_resolver(self.names.clone())
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30))
            .build();
        match built {
            Ok(client) => Ok(self.client.get_or_init(|| client)),
            Err(error) => {
                tracing::error!(%error, cause = error.source(), "webhooks cannot be sent: TLS cannot be set up");
                Err(FailureKind::Tls)
            }
        }
    }

    async fn post(&self, message: &Message) -> Result<Response, FailureKind> {
        // Addresses in numbers pass by the resolver, so they are checked here.
        let url = EndpointUrl::parse(&message.url, self.insecure).map_err(|_| FailureKind::Address)?;
        let request = self
            .client()?
            .post(url.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", &message.signature)
            .body(message.body.clone());
        request.send().await.map_err(|error| kind_of(&error))
    }
}

#[async_trait]
impl Courier for HttpSender {
    async fn carry(&self, message: &Message) -> Reply {
        let started = Instant::now();
        let answered = tokio::time::timeout(self.patience, self.post(message)).await;
        let took = started.elapsed();
        match answered.unwrap_or(Err(FailureKind::Timeout)) {
            Ok(response) => {
                let status = response.status();
                let retry_after = retry_after(response.headers(), message.timestamp);
                let _ = tokio::time::timeout(BODY_PATIENCE, pass_over(response)).await;
                Reply { status: Some(status.as_u16()), failure: judge(status), retry_after, took }
            }
            Err(failure) => Reply { status: None, failure: Some(failure), retry_after: None, took },
        }
    }
}

/// Why an answer of that status is a failure.
fn judge(status: StatusCode) -> Option<FailureKind> {
    match status {
        StatusCode::GONE => Some(FailureKind::Gone),
        _ if status.is_success() => None,
        _ if status.is_redirection() => Some(FailureKind::Redirect),
        _ => Some(FailureKind::Status),
    }
}

/// Reads a body as far as it is short, and forgets it.
async fn pass_over(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > BODY_LIMIT {
            return;
        }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3); `now` is in seconds.
fn retry_after(headers: &HeaderMap, now: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_secs(u64::try_from(now).ok()?);
    at.checked_sub(now)
}

/// What a request that got no answer failed for.
fn kind_of(error: &reqwest::Error) -> FailureKind {
    if error.is_timeout() {
        return FailureKind::Timeout;
    }
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        match error.downcast_ref::<NameError>() {
            Some(NameError::NotPublic) => return FailureKind::Address,
            Some(NameError::Unknown(_)) => return FailureKind::Name,
            None => {}
        }
        let within = error.downcast_ref::<io::Error>();
        // The TLS layer tells its refusals as data that is not valid.
        if within.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            return FailureKind::Tls;
        }
        // The source of a wrapped error is that of what it wraps: the wrapped one itself is got at from inside.
        cause = match within.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    if error.is_connect() { FailureKind::Connect } else { FailureKind::Protocol }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use wiremock::matchers::{header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::address::Names;
    use super::*;

    /// Every name is this machine's.
    struct Here;

    #[async_trait]
    impl Names for Here {
        async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Ok(vec![IpAddr::from([127, 0, 0, 1])])
        }
    }

    fn sender(insecure: bool) -> HttpSender {
        let names = CheckedNames::new(Arc::new(Here), insecure);
        HttpSender::resolving(names, insecure, Duration::from_secs(2))
    }

    fn message(url: &str) -> Message {
        let (id, signature) = ("evt_1_7".to_owned(), "v1,c2lnbmVk".to_owned());
        Message { url: url.to_owned(), id, timestamp: 1_779_440_400, signature, body: b"{\"a\":1}".to_vec() }
    }

    async fn told(template: ResponseTemplate) -> (MockServer, Reply) {
        let server = MockServer::start().await;
        Mock::given(method("POST")).and(path("/hooks")).respond_with(template).mount(&server).await;
        let reply = sender(true).carry(&message(&format!("{}/hooks", server.uri()))).await;
        (server, reply)
    }

    #[tokio::test]
    async fn a_message_arrives_with_its_headers_and_body() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/hooks"))
            .and(header("content-type", "application/json"))
            .and(header("webhook-id", "evt_1_7"))
            .and(header("webhook-timestamp", "1779440400"))
            .respond_with(ResponseTemplate::new(204))
            .mount(&server)
            .await;
        let reply = sender(true).carry(&message(&format!("{}/hooks", server.uri()))).await;
        assert_eq!((reply.status, reply.failure, reply.retry_after), (Some(204), None, None));
        let received = server.received_requests().await.unwrap();
        assert_eq!(received[0].headers["webhook-signature"], "v1,c2lnbmVk");
        assert_eq!(received[0].body, b"{\"a\":1}");
    }

    #[tokio::test]
    async fn only_2xx_is_a_success_and_each_failure_has_its_name() {
        for (status, failure) in [
            (200, None),
            (202, None),
            (299, None),
            (304, Some(FailureKind::Redirect)),
            (400, Some(FailureKind::Status)),
            (404, Some(FailureKind::Status)),
            (410, Some(FailureKind::Gone)),
            (429, Some(FailureKind::Status)),
            (500, Some(FailureKind::Status)),
        ] {
            let (_server, reply) = told(ResponseTemplate::new(status)).await;
            assert_eq!((reply.status, reply.failure), (Some(status), failure));
        }
    }

    #[tokio::test]
    async fn a_redirect_is_a_failure_and_not_followed() {
        let elsewhere = MockServer::start().await;
        let template = ResponseTemplate::new(307).insert_header("location", format!("{}/stolen", elsewhere.uri()));
        let (_server, reply) = told(template).await;
        assert_eq!((reply.status, reply.failure), (Some(307), Some(FailureKind::Redirect)));
        assert!(elsewhere.received_requests().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_wish_to_be_left_alone_is_read_in_both_forms() {
        let asked = |value: &'static str| async move {
            told(ResponseTemplate::new(503).insert_header("retry-after", value)).await.1.retry_after
        };
        assert_eq!(asked("120").await, Some(Duration::from_mins(2)));
        assert_eq!(asked("99999999999999999999").await, Some(Duration::from_secs(u64::MAX)));
        // The message's own time is 2026-05-22T09:00:00Z.
        assert_eq!(asked("Fri, 22 May 2026 09:01:00 GMT").await, Some(Duration::from_mins(1)));
        assert_eq!(asked("Fri, 22 May 2026 08:59:00 GMT").await, None);
        assert_eq!(asked("soon").await, None);
        assert_eq!(asked("-1").await, None);
    }

    #[tokio::test]
    async fn nothing_that_is_not_public_is_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let strict = sender(false);
        for url in [
            format!("https://127.0.0.1:{port}/"),
            format!("https://2130706433:{port}/"),
            format!("https://[::ffff:127.0.0.1]:{port}/"),
            format!("https://localhost:{port}/"),
            format!("https://rebound.example:{port}/"),
            format!("http://8.8.8.8:{port}/"),
            format!("https://user:secret@rebound.example:{port}/"),
        ] {
            let reply = strict.carry(&message(&url)).await;
            assert_eq!((reply.status, reply.failure), (None, Some(FailureKind::Address)), "{url}");
        }
        let accepted = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(accepted.is_err(), "somebody connected");
    }

    #[tokio::test]
    async fn what_gets_no_answer_says_how() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let talk = tokio::spawn(async move {
            // One that speaks no HTTP, one that speaks no TLS, one that hangs up, one that says nothing.
            for words in [Some(&b"SSH-2.0-x\r\n\r\n"[..]), Some(b"SSH-2.0-x\r\n\r\n"), Some(b""), None] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1];
                let _ = stream.read(&mut head).await;
                match words {
                    Some(words) => drop(stream.write_all(words).await),
                    None => drop(stream.read_to_end(&mut Vec::new()).await),
                }
            }
        });
        let quick = |scheme: &'static str| async move {
            sender(true).carry(&message(&format!("{scheme}://{address}/"))).await.failure
        };
        assert_eq!(quick("http").await, Some(FailureKind::Protocol));
        assert_eq!(quick("https").await, Some(FailureKind::Tls));
        assert_eq!(quick("http").await, Some(FailureKind::Protocol));
        assert_eq!(quick("http").await, Some(FailureKind::Timeout));
        talk.await.unwrap();
        assert_eq!(quick("http").await, Some(FailureKind::Connect));
    }

    #[tokio::test]
    async fn a_body_without_end_keeps_nobody_waiting() {
        let (_server, reply) = told(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; BODY_LIMIT * 4])).await;
        assert_eq!(reply.failure, None);
    }
}
