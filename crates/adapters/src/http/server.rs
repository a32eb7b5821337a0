//! The accept loop.
//!
//! Owns sockets: how many there are, how long a silent, slow or deaf one is kept, and how the service stops. It must not know
//! any route: it is given a `Router`. axum's own loop never times out a silent connection, so it is not used.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service;

use super::connection::{Activity, Guarded, Patience, RequestBody, ResponseBody};
use super::context::Peer;
use super::proxies::TrustedProxies;

/// The gauge of open connections.
pub const CONNECTIONS: &str = "http_connections_open";

/// How long the loop waits after the system refused to accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// After how much rest a connection's buffers are given back: hyper keeps 16 KiB for each, and thousands rest at a time.
const REST: Duration = Duration::from_secs(1);

/// hyper's own limit between two heads. Ours are tighter; hyper counts the time in which a slow client still reads its response.
const BACKSTOP: Duration = Duration::from_mins(15);

/// The limits of one listener and its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections open at once; further ones wait in the system's queue. At least 1. Default 16,384.
    pub max_connections: usize,
    /// From accepting a connection, or from the first byte of a later request, to the end of the request's head. Default 10 s.
    pub head_deadline: Duration,
    /// From the end of a response to the first byte of the next request. Default 75 s.
    pub idle_deadline: Duration,
    /// How long a response may wait for a client that does not read. Default 20 s.
    pub write_stall: Duration,
    /// How long a client may go on sending after it was answered and before it is cut. Default 2 s.
    pub linger: Duration,
    /// How long requests in flight may take to finish once the service is told to stop. Default 25 s.
    pub drain_deadline: Duration,
    /// The size of the read buffer in bytes, at least 8 KiB, and so the largest head that is read at all. It is above what
    /// [`HttpLimits`](super::HttpLimits) accepts, so that these answer first. Default 64 KiB.
    pub read_buffer: usize,
    /// Whose word on the client's address is taken. Default nobody's.
    pub trusted_proxies: TrustedProxies,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            head_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_secs(75),
            write_stall: Duration::from_secs(20),
            linger: Duration::from_secs(2),
            drain_deadline: Duration::from_secs(25),
            read_buffer: 64 << 10,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

/// How a stopped listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open at the deadline and were cut.
    pub cut: usize,
}

/// Serves `router` on `listener` until `stop` is ready; then accepts nothing more, lets what is in flight finish and cuts what
/// is left at the deadline. Every request carries its [`Peer`] in its extensions. Dropping the future cuts everything at once.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &ServerLimits,
    stop: impl Future<Output = ()>,
) -> Drained {
    let slots = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let (stopping, watched) = watch::channel(false);
    let shared = Arc::new(Shared {
        router,
        http: http(limits),
        patience: patience(limits),
        trusted_proxies: limits.trusted_proxies.clone(),
    });
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
            (stream, peer, slot) = accept(&listener, &slots) => {
                connections.spawn(converse(stream, peer, shared.clone(), watched.clone(), slot));
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    drain(connections, limits.drain_deadline).await
}

async fn drain(mut connections: JoinSet<()>, deadline: Duration) -> Drained {
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(deadline, finish).await.is_ok() {
        return Drained { cut: 0 };
    }
    let cut = connections.len();
    tracing::warn!(connections = cut, "connections cut at the drain deadline");
    connections.shutdown().await;
    Drained { cut }
}

/// Waits for a free slot, then for a connection. Safe to drop: nothing is lost.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, SocketAddr, Slot) {
    let permit = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return (stream, peer, Slot::new(permit));
            }
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// An open connection, counted.
struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!(CONNECTIONS).increment(1.0);
        Self { _permit: permit }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS).decrement(1.0);
    }
}

struct Shared {
    router: Router,
    http: http1::Builder,
    patience: Patience,
    trusted_proxies: TrustedProxies,
}

fn http(limits: &ServerLimits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_deadline.max(limits.idle_deadline).max(BACKSTOP))
        .keep_alive(true)
        .half_close(false)
        .max_buf_size(limits.read_buffer.max(8 << 10));
    http
}

fn patience(limits: &ServerLimits) -> Patience {
    Patience {
        head: limits.head_deadline,
        idle: limits.idle_deadline,
        write: limits.write_stall,
        linger: limits.linger,
    }
}

/// Speaks HTTP on one connection until it ends.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
    slot: Slot,
) {
    let activity = Arc::new(Activity::default());
    let mut socket = Guarded::new(stream, shared.patience, activity.clone());
    let ended = loop {
        let called = tokio::select! {
            called = socket.is_called() => called,
            () = stopped(&mut stop) => false,
        };
        if !called {
            break Ok(());
        }
        let (known, active) = (shared.clone(), activity.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let client = known.trusted_proxies.client(peer, request.headers());
            respond(known.router.clone(), active.clone(), client, request)
        });
        let mut conversation = shared.http.serve_connection(TokioIo::new(socket), service);
        tokio::select! {
            ended = &mut conversation => break ended,
            () = stopped(&mut stop) => {
                std::pin::Pin::new(&mut conversation).graceful_shutdown();
                break conversation.await;
            }
            () = activity.rested(REST) => {}
        }
        let parts = conversation.into_parts();
        socket = parts.io.into_inner().giving_back(parts.read_buf);
    };
    if let Err(error) = ended {
        tracing::debug!(timeout = error.is_timeout(), parse = error.is_parse(), "connection ended early");
    }
    drop(slot);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the loop is gone, and that is a stop too.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

async fn respond(
    mut router: Router,
    activity: Arc<Activity>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let has_body = !request.body().is_end_stream();
    let busy = activity.begin(has_body);
    let read = activity.clone();
    let mut request =
        request.map(|inner| if has_body { Body::new(RequestBody { inner, activity: read }) } else { Body::empty() });
    request.extensions_mut().insert(Peer(peer));
    let mut response = router.call(request).await?;
    if activity.is_body_open() {
        // The connection ends with this answer: a client that is not told sends its next request into the end.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|inner| ResponseBody::new(inner, busy)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body::read_request;
    use crate::http::{HttpLimits, answer, wrap};
    use axum::extract::Extension;
    use axum::routing::{get, post};
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinHandle;

    const GET: &[u8] = b"GET /v1/ok HTTP/1.1\r\nHost: x\r\n\r\n";

    fn quick() -> ServerLimits {
        ServerLimits {
            head_deadline: Duration::from_millis(150),
            idle_deadline: Duration::from_millis(300),
            write_stall: Duration::from_millis(150),
            linger: Duration::from_millis(200),
            drain_deadline: Duration::from_secs(5),
            ..ServerLimits::default()
        }
    }

    async fn read(request: axum::extract::Request) -> axum::response::Response {
        let (parts, body) = read_request(request).await;
        match body {
            Ok(bytes) => axum::response::Response::new(Body::from(bytes.len().to_string())),
            Err(fault) => answer(&parts, &fault),
        }
    }

    struct Running {
        address: SocketAddr,
        stop: Option<oneshot::Sender<()>>,
        serving: JoinHandle<Drained>,
        entered: Arc<Notify>,
        release: Arc<Notify>,
    }

    impl Running {
        async fn start(limits: ServerLimits) -> Self {
            let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let held = {
                let (entered, release) = (entered.clone(), release.clone());
                move || async move {
                    entered.notify_one();
                    release.notified().await;
                    "done"
                }
            };
            let router = Router::new()
                .route("/v1/ok", get(|| async { "ok" }))
                .route("/v1/peer", get(|Extension(Peer(peer)): Extension<Peer>| async move { peer.to_string() }))
                .route("/v1/read", post(read))
                .route("/v1/ignored", post(|| async { "unread" }))
                .route("/v1/huge", get(|| async { vec![b'x'; 64 << 20] }))
                .route("/v1/held", get(held));
            let http = HttpLimits { body_deadline: Duration::from_millis(150), ..HttpLimits::default() };
            let router = wrap(router, &http);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            let serving = tokio::spawn(async move {
                serve(listener, router, &limits, async { stopped.await.unwrap_or_default() }).await
            });
            Self { address, stop: Some(stop), serving, entered, release }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn send(&self, bytes: &[u8]) -> TcpStream {
            let mut stream = self.connect().await;
            stream.write_all(bytes).await.unwrap();
            stream
        }

        fn stop(&mut self) {
            self.stop.take().unwrap().send(()).unwrap();
        }
    }

    async fn until_closed(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        tokio::time::timeout(Duration::from_secs(5), read).await.expect("the connection stayed open").unwrap();
        String::from_utf8(bytes).unwrap()
    }

    async fn one_answer(stream: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut piece = [0; 1024];
            let count = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut piece)).await.unwrap().unwrap();
            assert!(count > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed() {
        let server = Running::start(quick()).await;
        assert_eq!(until_closed(&mut server.connect().await).await, "");
    }

    #[tokio::test]
    async fn half_a_head_is_closed_even_when_its_bytes_keep_coming() {
        let server = Running::start(quick()).await;
        assert_eq!(until_closed(&mut server.send(b"GET / HTTP/1.1\r\nHo").await).await, "");
        let (mut reader, mut writer) = server.send(b"GET / HTTP/1.1\r\nX: ").await.into_split();
        let drip = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(10));
            while writer.write_all(b"a").await.is_ok() {
                beat.tick().await;
            }
        });
        let started = Instant::now();
        let _ = reader.read(&mut [0; 16]).await;
        assert!(started.elapsed() < Duration::from_secs(3));
        drip.abort();
    }

    #[tokio::test]
    async fn a_connection_is_kept_between_requests_and_closed_when_idle() {
        let server = Running::start(quick()).await;
        let mut stream = server.send(GET).await;
        one_answer(&mut stream, "ok").await;
        stream.write_all(GET).await.unwrap();
        one_answer(&mut stream, "ok").await;
        let idle = Instant::now();
        assert_eq!(until_closed(&mut stream).await, "");
        assert!(idle.elapsed() > Duration::from_millis(200));
    }

    #[tokio::test]
    async fn a_connection_that_has_rested_goes_on_where_it_was() {
        let limits =
            ServerLimits { head_deadline: Duration::from_secs(9), idle_deadline: Duration::from_secs(9), ..quick() };
        let server = Running::start(limits).await;
        let mut stream = server.connect().await;
        for rest in [Duration::ZERO, REST * 2, REST * 3] {
            tokio::time::sleep(rest).await;
            stream.write_all(GET).await.unwrap();
            one_answer(&mut stream, "ok").await;
        }
        // The beginning of the next request has come along with the last one.
        let (begun, rest) = GET.split_at(9);
        stream.write_all(&[GET, begun].concat()).await.unwrap();
        one_answer(&mut stream, "ok").await;
        tokio::time::sleep(REST * 3).await;
        stream.write_all(rest).await.unwrap();
        one_answer(&mut stream, "ok").await;
    }

    #[tokio::test]
    async fn half_a_later_head_is_closed_too() {
        let server = Running::start(ServerLimits { idle_deadline: Duration::from_mins(1), ..quick() }).await;
        let mut stream = server.send(GET).await;
        one_answer(&mut stream, "ok").await;
        stream.write_all(b"GET /v1").await.unwrap();
        assert_eq!(until_closed(&mut stream).await, "");
    }

    #[tokio::test]
    async fn a_slow_body_is_answered_408_and_closed() {
        let server = Running::start(quick()).await;
        let mut stream = server.send(b"POST /v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").await;
        assert!(until_closed(&mut stream).await.starts_with("HTTP/1.1 408 "));
    }

    #[tokio::test]
    async fn a_reader_that_never_reads_is_cut() {
        let mut server = Running::start(quick()).await;
        let stream = server.send(b"GET /v1/huge HTTP/1.1\r\nHost: x\r\n\r\n").await;
        stream.readable().await.unwrap();
        server.stop();
        assert_eq!(server.serving.await.unwrap(), Drained { cut: 0 });
        drop(stream);
    }

    #[tokio::test]
    async fn a_reader_that_reads_slowly_is_not_taken_for_an_idle_one() {
        let limits =
            ServerLimits { idle_deadline: Duration::from_millis(60), write_stall: Duration::from_secs(5), ..quick() };
        let server = Running::start(limits).await;
        let mut stream = server.send(b"GET /v1/huge HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let started = Instant::now();
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        let (mut piece, mut total) = (vec![0; 1 << 20], 0);
        while total < 64 << 20 {
            if started.elapsed() < Duration::from_millis(300) {
                beat.tick().await;
            }
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "closed after {total} bytes");
            total += count;
        }
        assert!(started.elapsed() > Duration::from_millis(120));
    }

    #[tokio::test]
    async fn a_reader_that_reads_gets_all_of_a_large_response() {
        let server = Running::start(quick()).await;
        let mut stream = server.send(b"GET /v1/huge HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(until_closed(&mut stream).await.len() > 64 << 20);
    }

    #[tokio::test]
    async fn stopping_finishes_what_is_in_flight_and_accepts_nothing_more() {
        let mut server = Running::start(quick()).await;
        let mut stream = server.send(b"GET /v1/held HTTP/1.1\r\nHost: x\r\n\r\n").await;
        server.entered.notified().await;
        server.stop();
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        server.release.notify_one();
        let answer = until_closed(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("done"));
        assert_eq!(server.serving.await.unwrap(), Drained { cut: 0 });
    }

    #[tokio::test]
    async fn stopping_closes_idle_connections_at_once() {
        let mut server = Running::start(ServerLimits { idle_deadline: Duration::from_mins(1), ..quick() }).await;
        let mut stream = server.send(GET).await;
        one_answer(&mut stream, "ok").await;
        server.stop();
        assert_eq!(until_closed(&mut stream).await, "");
        assert_eq!(server.serving.await.unwrap(), Drained { cut: 0 });
    }

    #[tokio::test]
    async fn what_is_not_finished_at_the_deadline_is_cut() {
        let mut server = Running::start(ServerLimits { drain_deadline: Duration::from_millis(50), ..quick() }).await;
        let mut stream = server.send(b"GET /v1/held HTTP/1.1\r\nHost: x\r\n\r\n").await;
        server.entered.notified().await;
        server.stop();
        assert_eq!(server.serving.await.unwrap(), Drained { cut: 1 });
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn a_connection_past_the_limit_waits_for_a_free_slot() {
        let server = Running::start(ServerLimits { max_connections: 1, ..quick() }).await;
        let first = server.connect().await;
        let mut second = server.send(GET).await;
        let mut byte = [0; 1];
        let early = tokio::time::timeout(Duration::from_millis(40), second.peek(&mut byte)).await;
        assert!(early.is_err());
        drop(first);
        one_answer(&mut second, "ok").await;
    }

    #[tokio::test]
    async fn the_peer_address_reaches_the_handler() {
        let server = Running::start(quick()).await;
        let mut stream = server.send(b"GET /v1/peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let own = stream.local_addr().unwrap().to_string();
        assert!(until_closed(&mut stream).await.ends_with(&own));
    }

    #[tokio::test]
    async fn a_body_past_the_limit_is_answered_before_the_connection_closes() {
        let server = Running::start(quick()).await;
        for path in ["/v1/read", "/v1/ignored"] {
            let (mut reader, mut writer) = server.connect().await.into_split();
            let size = 3 << 20;
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
            let sending = tokio::spawn(async move {
                writer.write_all(head.as_bytes()).await.unwrap();
                writer.write_all(&vec![b'x'; size]).await
            });
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).await.unwrap();
            let expected: &[u8] = if path == "/v1/read" { b"HTTP/1.1 413 " } else { b"HTTP/1.1 200 " };
            assert!(answer.starts_with(expected), "{path}");
            let told = String::from_utf8_lossy(&answer).to_ascii_lowercase().contains("\r\nconnection: close\r\n");
            assert!(told, "{path}: a client must not send its next request into a connection that ends");
            sending.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_head_that_cannot_be_read_is_answered_in_the_dialects_shape() {
        let server = Running::start(quick()).await;
        let oversized = format!("GET /v2/x HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100 << 10));
        let above = format!("GET /v2/x HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20 << 10));
        let uri = format!("GET /external/v1/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(9 << 10));
        let cases: [(&str, &str, &str); 11] = [
            ("GET /v1/ok HTTP/1.1\r\nHost x\r\n\r\n", "400", "\"code\":\"invalid_argument\""),
            ("GET /v1/ok HTTP/1.1\nHost: x\r\n\r\n", "400", "\"code\":"),
            ("GET /v1/ok HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "400", "\"code\":"),
            (
                "POST /external/v1/x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "400",
                "\"detail\":\"",
            ),
            (
                "POST /v2/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
                "400",
                "\"requestId\":",
            ),
            ("POST /v1/read HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "400", "\"code\":"),
            ("POST /v1/read HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400", "\"code\":"),
            ("rubbish\r\n\r\n", "400", "\"code\":"),
            (&oversized, "431", "\"requestId\":"),
            (&above, "431", "\"requestId\":"),
            (&uri, "414", "\"detail\":"),
        ];
        for (request, status, member) in cases {
            let shown = &request[..request.len().min(80)];
            let mut stream = server.send(request.as_bytes()).await;
            stream.shutdown().await.unwrap();
            let answer = until_closed(&mut stream).await.to_ascii_lowercase();
            assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{shown:?}: {answer}");
            assert!(answer.contains("\r\nx-request-id: "), "{shown:?}: {answer}");
            assert!(answer.contains(&member.to_ascii_lowercase()), "{shown:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn pipelined_requests_are_all_answered() {
        let server = Running::start(quick()).await;
        let mut stream = server.connect().await;
        let body = b"POST /v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na\nb";
        stream.write_all(&[GET, body, GET].concat()).await.unwrap();
        let mut text = String::new();
        while text.matches("HTTP/1.1 200 ").count() < 3 {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0);
            text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
    }
}
