//! One connection's socket, guarded: what hyper does not cut by itself.
//!
//! Owns the time limits of a connection between requests, of a request head and of a reader that does not read, the answer to a
//! head that hyper refuses, and the lingering close. It must not know any route.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::context::{Dialect, RequestId};
use super::fault::{Fault, bare_answer};
use super::head_scan::HeadScan;

/// A stalled writer has made progress once this many bytes went out; less than that does not buy a slow reader more time.
const PROGRESS: usize = 16 << 10;

/// How much of an unread body is swallowed so that the client can read its answer.
const LINGER_BYTES: usize = 8 << 20;

/// The time limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From accepting, or from its first byte, to the end of a head.
    pub(super) head: Duration,
    /// From the end of a response to the first byte of the next head.
    pub(super) idle: Duration,
    /// For a write to make progress.
    pub(super) write: Duration,
    /// For a client to stop sending after its answer.
    pub(super) linger: Duration,
}

/// What the socket and the service of one connection tell each other.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// A request is being handled or its response is being produced.
    busy: AtomicBool,
    /// Requests begun so far.
    requests: AtomicU64,
    /// The last request's body has not been read to its end.
    body_open: AtomicBool,
    /// Everything is answered and written, and the next request has not begun.
    resting: AtomicBool,
}

impl Activity {
    /// Marks the begin of a request; it is over when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, has_body: bool) -> Busy {
        self.body_open.store(has_body, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.store(true, Ordering::Release);
        Busy(self.clone())
    }

    /// Whether the last request's body has not been read to its end.
    pub(super) fn is_body_open(&self) -> bool {
        self.body_open.load(Ordering::Relaxed)
    }

    /// Ready once the connection has rested for that long, more or less.
    pub(super) async fn rested(&self, long: Duration) {
        loop {
            let requests = self.requests.load(Ordering::Relaxed);
            tokio::time::sleep(long).await;
            let resting = self.resting.load(Ordering::Relaxed) && !self.is_body_open();
            if resting && self.requests.load(Ordering::Relaxed) == requests {
                return;
            }
        }
    }
}

/// A request that is being handled.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// A request body that tells when it was read to its end.
pub(super) struct RequestBody {
    pub(super) inner: Incoming,
    pub(super) activity: Arc<Activity>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if frame.is_none() || self.inner.is_end_stream() {
            self.activity.body_open.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response body that keeps its request busy until it is produced.
pub(super) struct ResponseBody {
    inner: Body,
    _busy: Busy,
}

impl ResponseBody {
    pub(super) fn new(inner: Body, busy: Busy) -> Self {
        Self { inner, _busy: busy }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A timer that is made when it is first needed.
#[derive(Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    set: bool,
}

impl Alarm {
    fn set(&mut self, after: Duration) {
        let deadline = Instant::now() + after;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => self.sleep = Some(Box::pin(sleep_until(deadline))),
        }
        self.set = true;
    }

    fn clear(&mut self) {
        self.set = false;
    }

    /// Ready once the time has passed; never where the alarm is not set.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) if self.set => sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

/// What a connection that handles no request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The first byte of the first head; the alarm covers the rest of that head.
    First,
    /// The first byte of a later head.
    Next,
    /// The end of a head.
    Rest,
}

/// The socket as hyper sees it.
pub(super) struct Guarded<S> {
    inner: S,
    patience: Patience,
    activity: Arc<Activity>,
    scan: HeadScan,
    awaited: Awaited,
    seen: u64,
    read_alarm: Alarm,
    write_alarm: Alarm,
    written: usize,
    /// A response of a handler may still be in hyper's buffer.
    answering: bool,
    /// What is written instead of hyper's own answer to a bad head, and how much of it is out.
    instead: Option<(Vec<u8>, usize)>,
    half_closed: bool,
    swallowed: usize,
    /// What was read before and has to be read again.
    given_back: Bytes,
}

impl Guarded<TcpStream> {
    /// Waits until there is something to read; false where the client took too long.
    pub(super) async fn is_called(&mut self) -> bool {
        if !self.given_back.is_empty() {
            return true;
        }
        let Self { inner, read_alarm, .. } = self;
        tokio::select! {
            biased;
            ready = inner.readable() => ready.is_ok(),
            () = std::future::poll_fn(|cx| read_alarm.poll(cx)) => false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    pub(super) fn new(inner: S, patience: Patience, activity: Arc<Activity>) -> Self {
        let mut read_alarm = Alarm::default();
        read_alarm.set(patience.head);
        Self {
            inner,
            patience,
            activity,
            scan: HeadScan::new(),
            awaited: Awaited::First,
            seen: 0,
            read_alarm,
            write_alarm: Alarm::default(),
            written: 0,
            answering: false,
            instead: None,
            half_closed: false,
            swallowed: 0,
            given_back: Bytes::new(),
        }
    }

    /// The same with bytes that were read already and come first.
    pub(super) fn giving_back(self, bytes: Bytes) -> Self {
        Self { given_back: bytes, ..self }
    }

    fn is_busy(&self) -> bool {
        self.activity.busy.load(Ordering::Acquire)
    }

    /// Whether nothing is handled and nothing waits to be written: the next word is the client's.
    fn is_quiet(&self) -> bool {
        !self.is_busy() && !self.answering
    }

    /// Notices requests that came and went since the last look, and starts to wait for the next one.
    fn follow(&mut self) {
        let requests = self.activity.requests.load(Ordering::Relaxed);
        if requests != self.seen {
            self.seen = requests;
            self.awaited = Awaited::Next;
            self.answering = true;
            self.read_alarm.clear();
        }
        if self.is_quiet() && self.awaited == Awaited::Next && !self.read_alarm.set {
            self.read_alarm.set(self.patience.idle);
        }
        self.activity.resting.store(self.is_quiet() && self.awaited != Awaited::Rest, Ordering::Relaxed);
    }

    fn poll_read_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_quiet() && self.read_alarm.poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Times a write that has to wait, and clears the time of one that makes progress.
    fn timed_write(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(count)) => {
                self.written += count;
                if self.written >= PROGRESS {
                    self.written = 0;
                    self.write_alarm.clear();
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if !self.write_alarm.set {
                    self.written = 0;
                    self.write_alarm.set(self.patience.write);
                }
                ready!(self.write_alarm.poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Whether what hyper writes now is its own answer to a head that it refused.
    fn is_hypers_own(&mut self) -> bool {
        self.follow();
        self.instead.is_some() || self.is_quiet()
    }

    /// Writes the dialect's answer in place of hyper's `theirs`, and says that all of that went out.
    fn poll_write_instead(&mut self, cx: &mut Context<'_>, theirs: &[u8], whole: usize) -> Poll<io::Result<usize>> {
        let (bytes, mut at) = self.instead.take().unwrap_or_else(|| {
            let fault = match theirs.get(9..12) {
                Some(b"431") => Fault::HeadersTooLarge,
                Some(b"414") => Fault::UriTooLong,
                _ => Fault::MalformedHead,
            };
            (bare_answer(Dialect::of_path(self.scan.target()), &fault, &RequestId::random()), 0)
        });
        while at < bytes.len() {
            let outcome = Pin::new(&mut self.inner).poll_write(cx, &bytes[at..]);
            match self.timed_write(cx, outcome) {
                Poll::Ready(Ok(count)) => at += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.instead = Some((bytes, at));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(whole))
    }

    /// Whether the client may still be sending what nobody will read: closing at once would reset the connection under the
    /// answer.
    fn must_linger(&self) -> bool {
        self.activity.is_body_open() || self.awaited == Awaited::Rest
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; 4096];
        while self.swallowed < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.swallowed += buffer.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return self.read_alarm.poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.follow();
        if !this.given_back.is_empty() {
            // The beginning of a head.
            if this.awaited == Awaited::Next {
                this.read_alarm.set(this.patience.head);
            }
            this.awaited = Awaited::Rest;
            this.activity.resting.store(false, Ordering::Relaxed);
            let count = this.given_back.len().min(buffer.remaining());
            buffer.put_slice(&this.given_back.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if Pin::new(&mut this.inner).poll_read(cx, buffer)?.is_pending() {
            return this.poll_read_alarm(cx);
        }
        let fresh = &mut buffer.filled_mut()[before..];
        if !fresh.is_empty() && !this.is_busy() {
            if this.awaited == Awaited::Next {
                this.read_alarm.set(this.patience.head);
            }
            this.awaited = Awaited::Rest;
            this.activity.resting.store(false, Ordering::Relaxed);
        }
        this.scan.feed(fresh);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_hypers_own() {
            return this.poll_write_instead(cx, bytes, bytes.len());
        }
        let outcome = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.timed_write(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_hypers_own() {
            let whole = slices.iter().map(|slice| slice.len()).sum();
            return this.poll_write_instead(cx, slices.first().map_or(&[], |slice| slice), whole);
        }
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.timed_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.follow();
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.write_alarm.clear();
        this.answering = this.is_busy();
        this.follow();
        // Registers the wake-up alone: hyper reads when it is woken, and learns there that the time has passed.
        let _ = this.poll_read_alarm(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.half_closed {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            this.half_closed = true;
            this.read_alarm.set(this.patience.linger);
        }
        if this.must_linger() { this.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}
