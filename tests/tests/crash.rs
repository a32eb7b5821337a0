//! What the service has acknowledged survives `kill -9`, of itself and of its database, and a request without an answer can
//! be sent again.
//!
//! Eight clients write, and note on disk what they ask and what they are told, until the process is killed under them: at
//! any moment, or at a named point. After the restart everything is proved from their ledger; see `proof`.
//!
//! A run has ten kills of each kind; `just crash N` has N.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use custodia_tests::points::{self, POINT, PRELOAD};
use custodia_tests::postgres::address_of;
use custodia_tests::proof::Proof;
use custodia_tests::proxy::{Caught, Moment, Proxy};
use custodia_tests::workload::{Ledger, Load, Place, Writer, writers};
use custodia_tests::{Backend, Cluster, Options, Server, both, rounds};

/// A service that is killed again and again, and what was noted of it.
struct Campaign {
    server: Server,
    ledger: Arc<Ledger>,
    proof: Proof,
    writers: Vec<Writer>,
    began: Instant,
    name: &'static str,
}

impl Campaign {
    fn new(name: &'static str, server: Server) -> Self {
        let ledger = Arc::new(Ledger::within(server.folder()));
        Self { server, ledger, proof: Proof::default(), writers: writers(), began: Instant::now(), name }
    }

    async fn load(&mut self) -> Load {
        Load::begin(&Place::of(&self.server).await, &self.ledger, std::mem::take(&mut self.writers))
    }

    /// Kills the service under its load, and proves what is there when it is back. What holds up its database is let go
    /// once it is dead.
    async fn kill<T>(&mut self, load: Load, held: T, kill: usize) {
        load.stop();
        self.server.kill9();
        drop(held);
        self.writers = load.end().await;
        self.server.restart().await;
        self.verify(kill).await;
    }

    /// Proves that nothing is lost.
    async fn verify(&mut self, kill: usize) {
        self.proof.verify(&self.server, &self.ledger).await;
        if (kill + 1).is_multiple_of(10) {
            let (seconds, figures) = (self.began.elapsed().as_secs(), self.proof.figures);
            eprintln!("{}: {} kills, {figures}, 0 lost, {seconds} s", self.name, kill + 1);
        }
    }

    /// Something must have been in flight for the kills to prove anything.
    fn end(&self) {
        let figures = self.proof.figures;
        assert!(figures.acknowledged > 50, "{figures}");
        assert!(figures.unknown_done + figures.unknown_absent > 5, "{figures}");
    }
}

/// Another moment each time, counted in answers: from the first few to well into the run.
fn moment(kill: usize) -> u64 {
    5 + (kill as u64).wrapping_mul(6_364_136_223_846_793_005) / 7 % 97
}

both! {
    async fn kills_at_any_moment_lose_nothing_acknowledged_and_repeat_nothing(server: Server) {
        let mut campaign = Campaign::new("any moment", server);
        for kill in 0..rounds(10) {
            let load = campaign.load().await;
            load.settled(moment(kill)).await;
            campaign.kill(load, (), kill).await;
        }
        campaign.end();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just crash"]
async fn kills_at_every_step_to_the_disk_lose_nothing_on_sqlite() {
    let preload = Options::default().setting(PRELOAD, points::library());
    let mut campaign = Campaign::new("SQLite, named points", Server::start(Backend::Sqlite, preload).await);
    for kill in 0..rounds(12) {
        let point = points::ON_SQLITE[kill % points::ON_SQLITE.len()];
        // The start and what is asked before the load are answered as well.
        let before = match point {
            "wal-write" => 500,
            "answer" => 150,
            _ => 40,
        };
        campaign.server.set(POINT, format!("{point}:{}", before + moment(kill)));
        campaign.server.restart().await;
        let load = campaign.load().await;
        let status = campaign.server.ended().await;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "killed at {point}");
        campaign.writers = load.end().await;
        campaign.server.set(POINT, "");
        campaign.server.restart().await;
        campaign.verify(kill).await;
    }
    campaign.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just crash"]
async fn kills_before_within_and_behind_a_commit_lose_nothing_on_postgres() {
    let address = address_of(&custodia_tests::postgres::server_url().unwrap());
    let proxy = Proxy::before_postgres(&address).await;
    let options = Options::default().by_way_of(proxy.address());
    let mut campaign = Campaign::new("PostgreSQL, named points", Server::start(Backend::Postgres, options).await);
    for kill in 0..rounds(12) {
        let point = [Moment::Before, Moment::Sent, Moment::Answered][kill % 3];
        let load = campaign.load().await;
        load.settled(moment(kill)).await;
        let caught: Caught = proxy.snare(point).caught().await;
        campaign.kill(load, caught, kill).await;
    }
    campaign.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just crash"]
async fn kills_of_postgres_itself_lose_nothing_and_need_no_restart_of_the_service() {
    let cluster = Cluster::start("");
    let server = Server::start(Backend::Postgres, Options::default().on(&cluster.url())).await;
    let mut campaign = Campaign::new("PostgreSQL killed", server);
    for kill in 0..rounds(9) {
        let load = campaign.load().await;
        load.settled(moment(kill)).await;
        match kill % 3 {
            0 => cluster.kill9_a_backend(),
            1 => {
                cluster.stop_immediately();
                cluster.start_again();
            }
            _ => {
                cluster.kill9();
                cluster.start_again();
            }
        }
        let answered = load.count();
        let back = Instant::now();
        load.settled(answered + 20).await;
        assert!(back.elapsed() < Duration::from_secs(5), "it took {:?} to recover", back.elapsed());
        campaign.writers = load.end().await;
        campaign.verify(kill).await;
    }
    assert!(campaign.proof.figures.acknowledged > 50, "{}", campaign.proof.figures);
}
