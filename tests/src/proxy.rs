//! A way to a service, or to its database, on which things go wrong: connections break at random bytes or exactly behind a
//! commit, fall silent, are refused, or lead elsewhere.
//!
//! It owns the bytes between two sockets, and of PostgreSQL's protocol as much as tells where a commit begins and ends. It
//! must not know any contract or table.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What a statement that commits by itself has in it: every one moves the counters of its organization.
const COMMITTING: &[u8] = b"next_sequence = o.next_sequence";
/// The number that a client asks for TLS with, in the place of a protocol's version.
const TLS_REQUEST: u32 = 80_877_103;

/// How connections are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As they come.
    #[default]
    Open,
    /// Accepted, and then nothing: nothing more passes either way, on old connections either, until the mode changes.
    Silent,
    /// Closed as soon as they are accepted; those that are there are left alone.
    Refusing,
}

/// A moment in the life of a commit on its way to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has come from the client and was not forwarded.
    Before,
    /// It was forwarded whole; nothing of the answer is carried back.
    Sent,
    /// The server has begun to answer; nothing of that is carried back.
    Answered,
}

/// A listening proxy; it ends, and its connections with it, with this value.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<String>,
    control: watch::Sender<Control>,
    /// A snare that the next commit runs into.
    snare: Mutex<Option<(Moment, oneshot::Sender<Caught>)>>,
    way: Way,
    cut: AtomicU64,
}

/// What is carried.
#[derive(Debug)]
enum Way {
    Bytes,
    /// Bytes, up to where the dice fall.
    Broken(Mutex<u64>),
    /// The messages of PostgreSQL's clients, each whole.
    Messages,
}

#[derive(Debug, Clone, Copy, Default)]
struct Control {
    mode: Mode,
    /// Connections with a lower number than this are closed.
    cut_below: u64,
    /// Connections with a lower number than this carry nothing any more, and are not closed either.
    stranded_below: u64,
    /// The number of the next connection.
    next: u64,
}

/// A connection that a [`Moment`] has come for. It is closed when this is dropped.
#[derive(Debug)]
pub struct Caught {
    _release: oneshot::Sender<()>,
}

/// What will be caught.
#[derive(Debug)]
pub struct Snare(oneshot::Receiver<Caught>);

impl Snare {
    /// Waits until a commit comes to that moment. Its connection stands still from then on, and closes when what is
    /// returned is dropped.
    ///
    /// # Panics
    /// The proxy is gone.
    pub async fn caught(self) -> Caught {
        self.0.await.expect("the proxy is there")
    }
}

/// What becomes of one connection: after how many bytes it breaks, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Fate {
    towards: Option<u64>,
    back: Option<u64>,
}

impl Proxy {
    /// A proxy before that `host:port`.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn before(service: &str) -> Self {
        Self::listen(service, Way::Bytes).await
    }

    /// A proxy before the PostgreSQL server at that `host:port`, in which commits can be caught.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn before_postgres(server: &str) -> Self {
        Self::listen(server, Way::Messages).await
    }

    /// A proxy which cuts somewhat more than every third connection: after so many bytes towards the service, or so many
    /// back, at random and the same in every run.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn cutting(service: &str) -> Self {
        Self::listen(service, Way::Broken(Mutex::new(0x9e37_79b9_7f4a_7c15))).await
    }

    async fn listen(service: &str, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let shared = Arc::new(Shared {
            target: Mutex::new(service.to_owned()),
            control: watch::Sender::default(),
            snare: Mutex::default(),
            way,
            cut: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// Where it listens: `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many connections it has cut at a random byte.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.control.borrow().next
    }

    /// Carries connections like that from now on.
    pub fn set(&self, mode: Mode) {
        self.shared.control.send_modify(|control| control.mode = mode);
    }

    /// Closes every connection that there is.
    pub fn cut_all(&self) {
        self.shared.control.send_modify(|control| control.cut_below = control.next);
    }

    /// Carries nothing more on any connection that there is, and closes none of them: what a host that vanished leaves.
    pub fn strand_all(&self) {
        self.shared.control.send_modify(|control| control.stranded_below = control.next);
    }

    /// Leads new connections to another `host:port`.
    pub fn lead_to(&self, service: &str) {
        service.clone_into(&mut lock(&self.shared.target));
    }

    /// Lays a snare for the next commit that comes to this moment; one that was laid before is taken up. Only a proxy
    /// before PostgreSQL catches any.
    #[must_use]
    pub fn snare(&self, moment: Moment) -> Snare {
        let (catch, caught) = oneshot::channel();
        *lock(&self.shared.snare) = Some((moment, catch));
        Snare(caught)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut number = 0;
        shared.control.send_modify(|control| {
            number = control.next;
            control.next += 1;
        });
        let fate = match &shared.way {
            Way::Broken(dice) => fate(&mut lock(dice)),
            Way::Bytes | Way::Messages => Fate::default(),
        };
        let connection = Connection::new(number, Arc::clone(&shared));
        tokio::spawn(connection.live(client, fate));
    }
}

/// The next number of a linear congruential generator; its upper half is random enough here.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A request has some 500 bytes, an answer some 800: the cuts fall before, within and behind both.
fn fate(dice: &mut u64) -> Fate {
    let (way, towards, back) = (next(dice) % 10, next(dice) % 700, next(dice) % 900);
    Fate { towards: (way < 2).then_some(towards), back: (way == 2 || way == 3).then_some(back) }
}

/// One connection through the proxy.
struct Connection {
    number: u64,
    shared: Arc<Shared>,
    control: watch::Receiver<Control>,
    /// Whether a commit was caught, so that nothing is carried back.
    stands: AtomicBool,
    /// Whether a commit was forwarded whose answer is to be caught.
    awaits_answer: AtomicBool,
}

impl Connection {
    fn new(number: u64, shared: Arc<Shared>) -> Self {
        let control = shared.control.subscribe();
        Self { number, shared, control, stands: AtomicBool::new(false), awaits_answer: AtomicBool::new(false) }
    }

    async fn live(self, client: TcpStream, fate: Fate) {
        let mut control = self.control.clone();
        let was_cut = tokio::select! {
            was_cut = self.carry(client, fate) => was_cut,
            _ = control.wait_for(|control| self.number < control.cut_below) => false,
        };
        if was_cut {
            self.shared.cut.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Carries bytes both ways; whether it cut the connection at a limit. A cut breaks both ways at once and leaves what
    /// was sent.
    async fn carry(&self, client: TcpStream, fate: Fate) -> bool {
        if self.control.borrow().mode == Mode::Refusing {
            return false;
        }
        self.may_pass().await;
        let target = lock(&self.shared.target).clone();
        let Ok(server) = TcpStream::connect(&target).await else { return false };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let towards = async {
            match self.shared.way {
                Way::Messages => self.forward(from_client, to_server).await,
                Way::Bytes | Way::Broken(_) => self.copy(from_client, to_server, fate.towards).await,
            }
        };
        tokio::select! {
            was_cut = towards => was_cut,
            was_cut = self.copy_back(from_server, to_client, fate.back) => was_cut,
        }
    }

    /// Waits as long as nothing passes.
    async fn may_pass(&self) {
        let passes = |control: &Control| control.mode != Mode::Silent && self.number >= control.stranded_below;
        // The sender lives as long as the connection, which holds it.
        let _ = self.control.clone().wait_for(passes).await;
    }

    /// Copies until the end or the limit; whether it was the limit.
    async fn copy(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, limit: Option<u64>) -> bool {
        let mut left = limit.unwrap_or(u64::MAX);
        let mut buffer = [0; 8_192];
        loop {
            if left == 0 {
                return true;
            }
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return false };
            self.may_pass().await;
            let sent = count.min(usize::try_from(left).unwrap_or(usize::MAX));
            if to.write_all(&buffer[..sent]).await.is_err() {
                return false;
            }
            left -= sent as u64;
        }
    }

    async fn copy_back(&self, from: OwnedReadHalf, to: OwnedWriteHalf, limit: Option<u64>) -> bool {
        if !matches!(self.shared.way, Way::Messages) {
            return self.copy(from, to, limit).await;
        }
        let (mut from, mut to) = (from, to);
        let mut buffer = [0; 8_192];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return false };
            self.may_pass().await;
            if self.stands.load(Ordering::Acquire) {
                return std::future::pending().await;
            }
            if self.awaits_answer.swap(false, Ordering::AcqRel)
                && let Some(catch) = self.sprung(Moment::Answered)
            {
                stand_still(catch).await;
                return false;
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return false;
            }
        }
    }

    /// Forwards a client's messages, each whole. Always `false`: it cuts nothing at a limit.
    async fn forward(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> bool {
        let (mut arrived, mut messages) = (Vec::new(), Messages::default());
        loop {
            let Ok(1..) = from.read_buf(&mut arrived).await else { return false };
            self.may_pass().await;
            let mut forwarded = 0;
            while let Some((length, edge)) = messages.next(&arrived[forwarded..]) {
                if edge.begins
                    && let Some(catch) = self.sprung(Moment::Before)
                {
                    let _ = to.write_all(&arrived[..forwarded]).await;
                    stand_still(catch).await;
                    return false;
                }
                forwarded += length;
                if edge.ends {
                    // Before the last byte goes out: the answer may be quicker than we are.
                    self.awaits_answer.store(true, Ordering::Release);
                    if let Some(catch) = self.sprung(Moment::Sent) {
                        self.stands.store(true, Ordering::Release);
                        let _ = to.write_all(&arrived[..forwarded]).await;
                        stand_still(catch).await;
                        return false;
                    }
                }
            }
            if to.write_all(&arrived[..forwarded]).await.is_err() {
                return false;
            }
            arrived.drain(..forwarded);
        }
    }

    /// Who waits in the snare for this moment, if one is laid.
    fn sprung(&self, moment: Moment) -> Option<oneshot::Sender<Caught>> {
        lock(&self.shared.snare).take_if(|(awaited, _)| *awaited == moment).map(|(_, catch)| catch)
    }
}

/// Tells that a commit was caught, and waits until it is let go.
async fn stand_still(catch: oneshot::Sender<Caught>) {
    let (release, released) = oneshot::channel();
    if catch.send(Caught { _release: release }).is_ok() {
        let _ = released.await;
    }
}

/// What a message of a client is to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Edge {
    begins: bool,
    ends: bool,
}

/// Follows the messages of a PostgreSQL client, as far as they tell of commits.
#[derive(Debug, Default)]
struct Messages {
    is_introduced: bool,
    /// The names of the prepared statements that commit by themselves.
    committing: Vec<Vec<u8>>,
    in_transaction: bool,
    commits: bool,
}

impl Messages {
    /// The length of the first message, if it is there whole, and what it is.
    fn next(&mut self, bytes: &[u8]) -> Option<(usize, Edge)> {
        // What introduces a client has no type before its length.
        let typed = usize::from(self.is_introduced);
        let length: [u8; 4] = bytes.get(typed..typed + 4)?.try_into().ok()?;
        let length = typed + usize::try_from(u32::from_be_bytes(length)).ok()?;
        let message = bytes.get(..length.max(typed + 4))?;
        if !self.is_introduced {
            self.is_introduced = message.get(4..8) != Some(&TLS_REQUEST.to_be_bytes()[..]);
            return Some((message.len(), Edge::default()));
        }
        Some((message.len(), self.judge(message[0], &message[5..])))
    }

    fn judge(&mut self, kind: u8, body: &[u8]) -> Edge {
        let mut texts = body.split(|byte| *byte == 0);
        match kind {
            b'P' => {
                let (name, text) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
                if contains(text, COMMITTING) {
                    self.committing.push(name.to_vec());
                }
                Edge::default()
            }
            b'B' => {
                let statement = texts.nth(1).unwrap_or_default();
                let begins = !self.in_transaction && self.committing.iter().any(|name| name == statement);
                self.commits |= begins;
                Edge { begins, ends: false }
            }
            b'S' => Edge { begins: false, ends: std::mem::take(&mut self.commits) },
            b'Q' => {
                let text = texts.next().unwrap_or_default();
                let commits = text == b"COMMIT";
                self.in_transaction = text == b"BEGIN";
                Edge { begins: commits, ends: commits }
            }
            _ => Edge::default(),
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fates_are_mixed_and_the_same_in_every_run() {
        let fates = || {
            let mut dice = 1;
            (0..1_000).map(|_| fate(&mut dice)).collect::<Vec<_>>()
        };
        let drawn = fates();
        assert_eq!(drawn, fates());
        let towards = drawn.iter().filter(|fate| fate.towards.is_some()).count();
        let back = drawn.iter().filter(|fate| fate.back.is_some()).count();
        assert!((100..300).contains(&towards) && (100..300).contains(&back), "{towards} {back}");
    }

    /// A listener, a proxy before it, a client through the proxy, and the listener's end of it.
    async fn through(proxy: impl AsyncFnOnce(&str) -> Proxy) -> (Proxy, TcpStream, TcpStream, TcpListener) {
        let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = proxy(&far.local_addr().unwrap().to_string()).await;
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (end, _) = far.accept().await.unwrap();
        (proxy, client, end, far)
    }

    #[tokio::test]
    async fn what_is_within_the_limit_arrives_and_nothing_after_it() {
        let (proxy, mut client, mut end, _far) = through(async |far| {
            let proxy = Proxy::cutting(far).await;
            // With these dice the first connection breaks on its way to the service.
            if let Way::Broken(dice) = &proxy.shared.way {
                let seed = (0..1_000_000).find(|seed| fate(&mut { *seed }).towards.is_some_and(|limit| limit < 100));
                *lock(dice) = seed.unwrap();
            }
            proxy
        })
        .await;
        let sent = [b'x'; 700];
        // It may be cut before it has taken everything.
        let _ = client.write_all(&sent).await;
        let mut arrived = Vec::new();
        end.read_to_end(&mut arrived).await.unwrap();
        assert!(arrived.len() < 100, "{}", arrived.len());
        while proxy.cut() == 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn silence_holds_back_what_comes_and_stranding_does_for_ever() {
        let (proxy, mut client, mut end, far) = through(Proxy::before).await;
        proxy.set(Mode::Silent);
        client.write_all(b"one").await.unwrap();
        let mut late = TcpStream::connect(proxy.address()).await.unwrap();
        late.write_all(b"two").await.unwrap();
        proxy.set(Mode::Open);
        let mut three = [0; 3];
        end.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"one");
        let (mut second, _) = far.accept().await.unwrap();
        second.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"two");
        proxy.strand_all();
        client.write_all(b"lost").await.unwrap();
        let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
        fresh.write_all(b"new").await.unwrap();
        let (mut third, _) = far.accept().await.unwrap();
        third.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"new");
        proxy.cut_all();
        assert_eq!(end.read(&mut three).await.unwrap(), 0, "nothing had come, and now it is closed");
        proxy.set(Mode::Refusing);
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!matches!(refused.read(&mut three).await, Ok(1..)));
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn a_commit_is_told_from_what_is_within_a_transaction() {
        let update = [&b"s1\0with moved as (update organizations o set "[..], COMMITTING, b" + $2)\0\0\0"].concat();
        let startup = [&8_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes()[..]].concat();
        let tls = [&8_u32.to_be_bytes()[..], &TLS_REQUEST.to_be_bytes()[..]].concat();
        let bytes = [
            tls,
            startup,
            message(b'P', &update),
            message(b'S', b""),
            message(b'B', b"\0s1\0"),
            message(b'E', b""),
            message(b'S', b""),
            message(b'Q', b"BEGIN\0"),
            message(b'B', b"\0s1\0"),
            message(b'S', b""),
            message(b'Q', b"COMMIT\0"),
            message(b'B', b"\0s2\0"),
            message(b'S', b""),
        ]
        .concat();
        let (mut messages, mut at, mut edges) = (Messages::default(), 0, Vec::new());
        assert_eq!(Messages::default().next(&bytes[..7]), None, "not whole");
        while let Some((length, edge)) = messages.next(&bytes[at..]) {
            at += length;
            edges.push(u8::from(edge.begins) + 2 * u8::from(edge.ends));
        }
        assert_eq!(at, bytes.len());
        assert_eq!(edges, [0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 3, 0, 0]);
    }
}
