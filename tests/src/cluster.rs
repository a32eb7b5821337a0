//! PostgreSQL servers of a test's own, to be killed, stopped, filled up and promoted. The tests' common server, which others
//! use at the same time, is for none of that.
//!
//! It owns making, starting and harming servers. It must not know any table.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use crate::postgres::random;

/// How long a server may take to start, stop or copy itself on a loaded machine.
const PATIENCE: &str = "60";
/// How often the state of another process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What holds for every server here: a commit is with the operating system before it is acknowledged, so that no kill of a
/// process loses it; syncing it to the disk as well would only take time.
const CONFIGURATION: &str = "listen_addresses = '127.0.0.1'\nmax_connections = 60\ntimezone = 'UTC'\nfsync = off\n\
    synchronous_commit = local\nshared_buffers = 16MB\nwal_level = replica\nhot_standby = on\nrestart_after_crash = on\n";

/// A PostgreSQL server; stopped, and its data deleted, with this value.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    owner: Option<&'static str>,
    port: u16,
    password: String,
    // Last: the server is stopped before its data is deleted.
    folder: TempDir,
}

impl Cluster {
    /// A new server with these further lines of configuration.
    ///
    /// # Panics
    /// There is no PostgreSQL, or it does not start.
    #[must_use]
    pub fn start(configuration: &str) -> Self {
        Self::try_start(configuration).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn try_start(configuration: &str) -> anyhow::Result<Self> {
        let mut cluster = Self::empty(format!("{:016x}", random()))?;
        let password_file = cluster.folder.path().join("password");
        fs::write(&password_file, &cluster.password)?;
        cluster.hand_over()?;
        let mut initdb = cluster.program("initdb");
        initdb.args(["--username=custodia", "--encoding=UTF8", "--locale=C", "--auth=password", "--no-sync"]);
        initdb.arg(format!("--pwfile={}", password_file.display())).arg("-D").arg(cluster.data());
        run(initdb)?;
        let file = cluster.data().join("postgresql.conf");
        let settings = fs::read_to_string(&file)? + CONFIGURATION + configuration + "\n";
        fs::write(&file, settings)?;
        let hba = cluster.data().join("pg_hba.conf");
        let rules = fs::read_to_string(&hba)? + "host replication custodia 127.0.0.1/32 password\n";
        fs::write(&hba, rules)?;
        cluster.find_port_and_start()?;
        Ok(cluster)
    }

    /// A new server that follows this one, and takes no writes until it is promoted.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn standby(&self) -> Self {
        self.try_standby().unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn try_standby(&self) -> anyhow::Result<Self> {
        let mut standby = Self::empty(self.password.clone())?;
        standby.hand_over()?;
        let mut backup = standby.program("pg_basebackup");
        backup.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync", "-D"]);
        backup.arg(standby.data()).arg("-d").arg(self.url());
        run(backup)?;
        standby.find_port_and_start()?;
        Ok(standby)
    }

    fn empty(password: String) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("custodia-cluster.").tempdir()?;
        // PostgreSQL refuses to run as root.
        let is_root = fs::metadata(folder.path())?.uid() == 0;
        Ok(Self { programs: programs()?, owner: is_root.then_some("postgres"), port: 0, password, folder })
    }

    /// Gives the folder to whom the server runs as.
    fn hand_over(&self) -> anyhow::Result<()> {
        let Some(owner) = self.owner else { return Ok(()) };
        let mut chown = Command::new("chown");
        chown.arg("-R").arg(owner).arg(self.folder.path());
        run(chown)
    }

    /// Its URL, for a user who may do everything.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://custodia:{}@{}/postgres", self.password, self.address())
    }

    /// Its `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts it again, once it was stopped or killed, and waits until it takes connections.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&self) {
        self.try_start_again().unwrap_or_else(|error| panic!("{error:#}: {}", self.log()));
    }

    fn try_start_again(&self) -> anyhow::Result<()> {
        let mut start = self.program("pg_ctl");
        start.arg("-D").arg(self.data()).arg("-l").arg(self.folder.path().join("log"));
        start.arg("-o").arg(format!("-p {} -k {}", self.port, self.folder.path().display()));
        start.args(["-w", "-t", PATIENCE, "start"]);
        run(start)
    }

    /// A port is tried, not reserved: somebody may take it between the look and the start, so more than one is tried.
    fn find_port_and_start(&mut self) -> anyhow::Result<()> {
        let mut tried = Ok(());
        for _ in 0..8 {
            self.port = 32_100 + u16::try_from(random() % 20_000).unwrap_or_default();
            tried = self.try_start_again();
            if tried.is_ok() {
                return Ok(());
            }
        }
        tried.context(self.log())
    }

    /// Stops it as a crash would, without a checkpoint and without a word to its clients.
    ///
    /// # Panics
    /// It does not run.
    pub fn stop_immediately(&self) {
        self.stop("immediate");
    }

    fn stop(&self, mode: &str) {
        let mut stop = self.program("pg_ctl");
        stop.arg("-D").arg(self.data()).args(["-m", mode, "-w", "-t", PATIENCE, "stop"]);
        run(stop).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Kills its first process with SIGKILL, and waits until the others, which notice, are gone as well.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill9(&self) {
        let all = [&self.children()[..], &[self.pid()][..]].concat();
        signal("KILL", &[self.pid()]);
        let deadline = Instant::now() + Duration::from_mins(1);
        while all.iter().any(|process| is_alive(*process)) {
            assert!(Instant::now() < deadline, "children outlive the server");
            std::thread::sleep(LOOK_AGAIN);
        }
        // Where nobody buries the dead, its successor would take it for alive.
        fs::remove_file(self.data().join("postmaster.pid")).expect("a killed server leaves its file");
        let lock = self.folder.path().join(format!(".s.PGSQL.{}.lock", self.port));
        fs::remove_file(lock).expect("a killed server leaves the lock of its socket");
    }

    /// Kills one of the processes that serve clients with SIGKILL: the server ends all others and recovers by itself.
    ///
    /// # Panics
    /// It does not run, or has no client.
    pub fn kill9_a_backend(&self) {
        let children = self.children().into_iter();
        let mut backends = children.filter(|child| {
            let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.contains("127.0.0.1")
        });
        signal("KILL", &[backends.next().expect("a client is connected")]);
    }

    /// Stops every process of it where it stands; connections stay, and are accepted by the system, and nothing is answered.
    ///
    /// # Panics
    /// It does not run.
    pub fn freeze(&self) {
        signal("STOP", &[&[self.pid()][..], &self.children()[..]].concat());
    }

    /// Lets every process of it go on.
    ///
    /// # Panics
    /// It does not run.
    pub fn thaw(&self) {
        signal("CONT", &[&self.children()[..], &[self.pid()][..]].concat());
    }

    /// Makes a standby take writes.
    ///
    /// # Panics
    /// It is none.
    pub fn promote(&self) {
        let mut promote = self.program("pg_ctl");
        promote.arg("-D").arg(self.data()).args(["-w", "-t", PATIENCE, "promote"]);
        run(promote).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Runs a statement.
    ///
    /// # Panics
    /// The server refuses it.
    pub async fn run(&self, statement: &str) {
        let ran = async {
            let mut session = PgConnection::connect(&self.url()).await?;
            session.execute(AssertSqlSafe(statement.to_owned())).await?;
            session.close().await
        };
        ran.await.unwrap_or_else(|error: sqlx::Error| panic!("{statement}: {error}"));
    }

    /// The first process.
    fn pid(&self) -> u32 {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).expect("the server runs");
        file.lines().next().and_then(|line| line.trim().parse().ok()).expect("its first line is a process id")
    }

    /// The processes that the first one started.
    fn children(&self) -> Vec<u32> {
        let parent = self.pid().to_string();
        let processes = fs::read_dir("/proc").expect("there is /proc").filter_map(Result::ok);
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name, in parentheses, come the state and the parent.
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            rest.split_whitespace().nth(1) == Some(parent.as_str())
        })
        .collect()
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match self.owner {
            Some(owner) => {
                let mut command = Command::new("runuser");
                command.args(["-u", owner, "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.thaw();
                self.stop_immediately();
            }));
        }
    }
}

/// Where the server's programs are; Debian keeps them out of PATH, one folder for each version: the newest is taken.
fn programs() -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok) {
        let bin = entry.path().join("bin");
        if let Some(version) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && bin.join("initdb").is_file()
        {
            found.push((version, bin));
        }
    }
    if let Some((_, bin)) = found.into_iter().max() {
        return Ok(bin);
    }
    let output = Command::new("pg_config").arg("--bindir").output().context("no PostgreSQL server found (initdb)")?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// Whether a process is there and not merely unburied.
fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Sends a signal by its name.
fn signal(name: &str, processes: &[u32]) {
    let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
    // One may end while we count them; the first one's state is what matters.
    let _ = Command::new("kill").arg(format!("-{name}")).args(&processes).stderr(Stdio::null()).status();
}

fn run(mut command: Command) -> anyhow::Result<()> {
    // Files, not pipes: a started server keeps what it was given open.
    let output = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        use std::io::{Read as _, Seek as _};
        let (mut output, mut text) = (output, String::new());
        output.rewind()?;
        output.read_to_string(&mut text)?;
        bail!("{command:?}: {text}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_standby_follows_and_takes_over_and_a_killed_server_starts_again() {
        let first = Cluster::start("");
        first.run("create table kept (a integer)").await;
        let second = first.standby();
        first.kill9();
        second.promote();
        second.run("insert into kept values (1)").await;
        first.start_again();
        first.run("insert into kept values (1)").await;
        first.stop_immediately();
        first.start_again();
        first.freeze();
        first.thaw();
        first.run("insert into kept values (2)").await;
    }
}
