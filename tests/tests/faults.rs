//! What goes wrong between the service and its database, or within that, one thing at a time while eight clients write.
//!
//! Under every fault: `/readyz` says so within two seconds where nothing can be done; whoever is refused is told within the
//! time of a request, and when to come again; the service is back within five seconds of its database, without a restart; its
//! memory stays what it was; and what the clients were told holds, see `proof`.
//!
//! `just faults N` has each of them N times.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use custodia_tests::outage::Outage;
use custodia_tests::points::{self, FULL, PRELOAD, UNSYNCABLE};
use custodia_tests::postgres::{address_of, server_url};
use custodia_tests::proof::Proof;
use custodia_tests::proxy::{Mode, Moment, Proxy};
use custodia_tests::workload::{Ledger, Load, Place, Writer, writers};
use custodia_tests::{Answer, Backend, Cluster, Options, Server, both, rounds};
use reqwest::Method;
use sqlx::{Connection as _, Executor as _, PgConnection};

/// How soon `/readyz` has to know.
const NOTICED: Duration = Duration::from_secs(2);
/// How soon writes have to be answered again.
const RECOVERED: Duration = Duration::from_secs(5);
/// The longest that a refusal may take: the deadline of a request, and what a loaded machine adds.
const REFUSED: Duration = Duration::from_secs(31);
/// How long a fault lasts behind the moment at which it was noticed.
const LASTS: Duration = Duration::from_secs(2);
/// The most memory that the process may have, in KiB.
const MEMORY: u64 = 300 << 10;

/// A service under load, to which things happen.
struct Trial {
    server: Server,
    ledger: Arc<Ledger>,
    proof: Proof,
    writers: Vec<Writer>,
    load: Option<Load>,
}

impl Trial {
    fn of(server: Server) -> Self {
        let ledger = Arc::new(Ledger::within(server.folder()));
        Self { server, ledger, proof: Proof::default(), writers: writers(), load: None }
    }

    /// Has the clients write, and waits until they do.
    async fn begin(&mut self) {
        self.begin_at(Place::of(&self.server).await).await;
    }

    async fn begin_at(&mut self, place: Place) {
        let load = Load::begin(&place, &self.ledger, std::mem::take(&mut self.writers));
        load.settled(30).await;
        self.load = Some(load);
    }

    /// Waits until the service says that it can do nothing, and some more.
    async fn notices(&self) {
        self.server.wait_ready(false, NOTICED).await;
        tokio::time::sleep(LASTS).await;
        assert!(!is_ready(&self.server).await, "ready, and its database is not");
    }

    fn load(&self) -> &Load {
        self.load.as_ref().expect("the clients write")
    }

    /// Waits until the clients are answered again, and proves what they were told.
    async fn recovers(&mut self) {
        let began = Instant::now();
        let load = self.load.take().expect("the clients write");
        load.settled(load.count() + 20).await;
        let took = began.elapsed();
        assert!(took < RECOVERED, "it took {took:?} to recover");
        self.server.wait_ready(true, RECOVERED.saturating_sub(took)).await;
        let refusal = load.slowest_refusal();
        assert!(refusal < REFUSED, "a refusal took {refusal:?}");
        self.writers = load.end().await;
        let memory = memory(self.server.pid());
        assert!(memory < MEMORY, "{memory} KiB");
        self.proof.verify(&self.server, &self.ledger).await;
        eprintln!(
            "recovered after {took:?}, slowest refusal {refusal:?}, {} MiB, {}",
            memory >> 10,
            self.proof.figures
        );
    }
}

async fn is_ready(server: &Server) -> bool {
    Answer::to(server.request(Method::GET, "/readyz")).await.is_ok_and(|answer| answer.status == 200)
}

/// What a process holds in memory, in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A service whose database is reached through a proxy.
async fn behind_a_proxy() -> (Trial, Proxy) {
    let proxy = Proxy::before_postgres(&address_of(&server_url().unwrap())).await;
    let options = Options::default().by_way_of(proxy.address());
    (Trial::of(Server::start(Backend::Postgres, options).await), proxy)
}

/// A service on a PostgreSQL server of its own.
async fn on_its_own(configuration: &str) -> (Trial, Cluster) {
    let cluster = Cluster::start(configuration);
    let options = Options::default().on(&cluster.url());
    (Trial::of(Server::start(Backend::Postgres, options).await), cluster)
}

/// Ends every session of the service at the server.
async fn terminate(url: &str) {
    let mut session = PgConnection::connect(url).await.unwrap();
    let ended = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
    session.execute(ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn sessions_that_the_server_ends_are_made_anew() {
    let mut trial = Trial::of(Server::start(Backend::Postgres, Options::default()).await);
    for _ in 0..rounds(1) {
        trial.begin().await;
        for _ in 0..5 {
            terminate(trial.server.database_url()).await;
            trial.load().settled(trial.load().count() + 5).await;
        }
        trial.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_server_that_is_restarted_at_once_is_waited_for() {
    let (mut trial, cluster) = on_its_own("").await;
    for _ in 0..rounds(1) {
        trial.begin().await;
        cluster.stop_immediately();
        trial.notices().await;
        cluster.start_again();
        trial.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_server_that_stands_still_is_noticed_and_goes_on() {
    let (mut trial, cluster) = on_its_own("").await;
    for _ in 0..rounds(1) {
        trial.begin().await;
        cluster.freeze();
        trial.notices().await;
        cluster.thaw();
        trial.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn connections_cut_exactly_around_a_commit_leave_nothing_half_done() {
    let (mut trial, proxy) = behind_a_proxy().await;
    for _ in 0..rounds(1) {
        trial.begin().await;
        for moment in [Moment::Before, Moment::Sent, Moment::Answered].repeat(4) {
            drop(proxy.snare(moment).caught().await);
        }
        trial.recovers().await;
    }
    let figures = trial.proof.figures;
    assert!(
        figures.acknowledged > 10 && figures.refused + figures.unknown_done + figures.unknown_absent > 5,
        "{figures}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_server_that_refuses_connections_is_noticed_and_comes_back() {
    let (mut trial, proxy) = behind_a_proxy().await;
    for _ in 0..rounds(1) {
        trial.begin().await;
        proxy.set(Mode::Refusing);
        proxy.cut_all();
        trial.notices().await;
        proxy.set(Mode::Open);
        trial.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_peer_that_falls_silent_is_noticed_and_goes_on() {
    let (mut trial, proxy) = behind_a_proxy().await;
    for _ in 0..rounds(1) {
        trial.begin().await;
        proxy.set(Mode::Silent);
        trial.notices().await;
        proxy.set(Mode::Open);
        trial.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn connections_that_stay_silent_for_ever_are_given_up() {
    let (mut trial, proxy) = behind_a_proxy().await;
    for _ in 0..rounds(1) {
        trial.begin().await;
        proxy.set(Mode::Silent);
        trial.notices().await;
        proxy.strand_all();
        proxy.set(Mode::Open);
        trial.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_server_without_a_free_connection_is_noticed_and_comes_back() {
    let cluster = Cluster::start("");
    cluster.run("create role lender login password 'lender'").await;
    cluster.run("create database lender owner lender").await;
    let url = format!("postgres://lender:lender@{}/lender", cluster.address());
    let mut trial = Trial::of(Server::start(Backend::Postgres, Options::default().on(&url)).await);
    for _ in 0..rounds(1) {
        trial.begin().await;
        cluster.run("alter role lender connection limit 0").await;
        cluster.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'lender'").await;
        trial.notices().await;
        cluster.run("alter role lender connection limit -1").await;
        trial.recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_lock_that_somebody_holds_is_waited_for_and_no_longer_than_a_request_may_take() {
    let mut trial = Trial::of(Server::start(Backend::Postgres, Options::default()).await);
    let mut other = PgConnection::connect(trial.server.database_url()).await.unwrap();
    for _ in 0..rounds(1) {
        trial.begin().await;
        other.execute("begin; select id from organizations for update").await.unwrap();
        // Longer than the service waits for a lock.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(is_ready(&trial.server).await, "reads are served");
        other.execute("rollback").await.unwrap();
        trial.recovers().await;
    }
}

/// A file system in memory of so many MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("custodia-disk.").tempdir().unwrap().keep();
        let size = format!("size={mebibytes}m,mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        fs::remove_dir(&folder).unwrap();
        None
    }

    /// Leaves no room.
    fn fill(&self) {
        use std::io::Write as _;
        let mut balloon = fs::File::create(self.balloon()).unwrap();
        while balloon.write_all(&[0; 4_096]).is_ok() {}
    }

    fn balloon(&self) -> PathBuf {
        self.0.join("balloon")
    }

    fn make_room(&self) {
        fs::remove_file(self.balloon()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_full_disk_under_postgres_refuses_writes_and_loses_none() {
    let Some(disk) = SmallDisk::mount(160) else {
        // Only root mounts; the disk under SQLite is filled without that.
        eprintln!("not permitted to mount a small disk: a full disk under PostgreSQL is not tried");
        return;
    };
    let (mut trial, cluster) = on_its_own("wal_keep_size = 0\nmin_wal_size = 32MB\nmax_wal_size = 48MB").await;
    let tablespace = disk.0.join("space");
    fs::create_dir(&tablespace).unwrap();
    let _ = Command::new("chown").arg("postgres").arg(&tablespace).status();
    cluster.run(&format!("create tablespace small location '{}'", tablespace.display())).await;
    for _ in 0..rounds(1) {
        for table in ["customers", "customer_events", "receipts"] {
            cluster.run(&format!("alter table {table} set tablespace small")).await;
        }
        trial.begin().await;
        disk.fill();
        // It is full, once a table wants another page.
        let mut session = PgConnection::connect(&cluster.url()).await.unwrap();
        let mut size = 0_i64;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now: i64 = sqlx::query_scalar("select pg_total_relation_size('customer_events')")
                .fetch_one(&mut session)
                .await
                .unwrap();
            if now == size {
                break;
            }
            size = now;
        }
        disk.make_room();
        trial.recovers().await;
    }
}

/// A service on SQLite whose disk fails while that file exists.
async fn on_a_failing_disk(how: &str) -> (Trial, PathBuf) {
    let flags = tempfile::tempdir().unwrap().keep();
    let flag = flags.join("fails");
    let options = Options::default().setting(PRELOAD, points::library()).setting(how, flag.display().to_string());
    (Trial::of(Server::start(Backend::Sqlite, options).await), flag)
}

async fn the_disk_fails(how: &str) {
    let (mut trial, flag) = on_a_failing_disk(how).await;
    for _ in 0..rounds(1) {
        trial.begin().await;
        fs::write(&flag, "").unwrap();
        trial.notices().await;
        fs::remove_file(&flag).unwrap();
        trial.recovers().await;
    }
    fs::remove_dir(flag.parent().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_full_disk_under_sqlite_refuses_writes_and_loses_none() {
    the_disk_fails(FULL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_disk_that_cannot_be_synced_acknowledges_nothing_on_sqlite() {
    the_disk_fails(UNSYNCABLE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_locked_file_is_noticed_and_waited_for_on_sqlite() {
    let mut trial = Trial::of(Server::start(Backend::Sqlite, Options::default()).await);
    for _ in 0..rounds(1) {
        trial.begin().await;
        let outage = Outage::begin(&trial.server).await;
        trial.notices().await;
        outage.end().await;
        trial.recovers().await;
    }
}

both! {
    async fn clients_that_vanish_at_any_byte_leave_nothing_half_done(server: Server) {
        let proxy = Proxy::cutting(server.address()).await;
        let mut trial = Trial::of(server);
        for _ in 0..rounds(1) {
            let place = Place::of(&trial.server).await.by_way_of(proxy.address());
            trial.begin_at(place).await;
            trial.load().settled(200).await;
            trial.recovers().await;
        }
        assert!(proxy.cut() > 40, "the connections did break: {}", proxy.cut());
    }
}
