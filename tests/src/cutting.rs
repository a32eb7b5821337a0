//! A way to the service on which connections break: after so many bytes towards it, or so many back, at random and the same
//! in every run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A listening proxy; it ends with this value.
pub struct CuttingProxy {
    address: String,
    cut: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// What becomes of one connection: after how many bytes it breaks, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    towards: Option<u64>,
    back: Option<u64>,
}

impl CuttingProxy {
    /// A proxy before that address which cuts somewhat more than every third connection.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn before(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let cut = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, service.to_owned(), Arc::clone(&cut)));
        Self { address, cut, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many connections it has cut.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, service: String, cut: Arc<AtomicU64>) {
    let dice = std::sync::Mutex::new(0x9e37_79b9_7f4a_7c15_u64);
    while let Ok((client, _)) = listener.accept().await {
        let fate = fate(&mut dice.lock().unwrap_or_else(PoisonError::into_inner));
        let (service, cut) = (service.clone(), Arc::clone(&cut));
        tokio::spawn(async move {
            if let Ok(server) = TcpStream::connect(&service).await
                && carry(client, server, fate).await
            {
                cut.fetch_add(1, Ordering::Relaxed);
            }
        });
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

/// Carries bytes both ways; whether it cut the connection. A cut breaks both ways at once and leaves what was sent.
async fn carry(client: TcpStream, server: TcpStream, fate: Fate) -> bool {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        cut = copy(from_client, to_server, fate.towards) => cut,
        cut = copy(from_server, to_client, fate.back) => cut,
    }
}

/// Copies until the end or the limit; whether it was the limit.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, limit: Option<u64>) -> bool {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut buffer = [0; 4096];
    loop {
        if left == 0 {
            return true;
        }
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return false;
        };
        let sent = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        if to.write_all(&buffer[..sent]).await.is_err() {
            return false;
        }
        left -= sent as u64;
    }
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

    #[tokio::test]
    async fn what_is_within_the_limit_arrives_and_nothing_after_it() {
        let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(near.local_addr().unwrap()).await.unwrap();
        let server = TcpStream::connect(far.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = near.accept().await.unwrap();
        let (mut end, _) = far.accept().await.unwrap();
        let carried = tokio::spawn(carry(accepted, server, Fate { towards: Some(5), back: None }));
        client.write_all(b"hello, world").await.unwrap();
        let mut arrived = Vec::new();
        end.read_to_end(&mut arrived).await.unwrap();
        assert_eq!(arrived, b"hello");
        assert!(carried.await.unwrap());
    }
}
