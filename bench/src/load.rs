//! The load: `wrk` with the script beside this package, and what it says afterwards.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::service::Service;

/// What is asked of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A customer in the partner form.
    Create,
    /// A customer by number.
    Get,
    /// A customer by external id.
    External,
    /// Fifty customers behind a cursor.
    List,
    /// Fifty customers by name, behind the cursor of a walk that has come far.
    DeepCursor,
    /// The page by name that lies in the middle, or as deep as pages go.
    DeepPage,
    /// Customers by the beginning of a name.
    Name,
    /// Customers by e-mail address.
    Email,
    /// Customers by telephone number.
    Phone,
    /// Fifty customers, each with an account and a card.
    Publisher,
    /// Fifty customers of the intake.
    Bulk,
}

impl Kind {
    /// What reports call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get by id",
            Self::External => "get by external id",
            Self::List => "list, 50 behind a cursor",
            Self::DeepCursor => "list, 50 behind a deep cursor",
            Self::DeepPage => "list, a deep page of 50",
            Self::Name => "search by name",
            Self::Email => "search by e-mail",
            Self::Phone => "search by phone",
            Self::Publisher => "publisher batch of 50",
            Self::Bulk => "crm bulk of 50",
        }
    }

    /// The script's name of it.
    const fn script(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::External => "external",
            Self::List | Self::DeepCursor => "list",
            Self::DeepPage => "page",
            Self::Name | Self::Email | Self::Phone => "search",
            Self::Publisher => "publisher",
            Self::Bulk => "bulk",
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Answered requests.
    pub requests: u32,
    /// Those answered by an error, or not at all.
    pub failed: u32,
    /// Answered requests a second.
    pub per_second: f64,
    /// Half of the requests took at most so long.
    pub p50: Duration,
    /// Of a hundred, ninety-nine took at most so long.
    pub p99: Duration,
}

/// A load on one service.
pub struct Load<'s> {
    service: &'s Service,
    rows: u32,
    seconds: u32,
    cursor: String,
}

static RUNS: AtomicU32 = AtomicU32::new(0);

impl<'s> Load<'s> {
    /// A load of so many seconds on a service that holds so many customers.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn new(service: &'s Service, rows: u32, seconds: u32) -> anyhow::Result<Self> {
        let mut load = Self { service, rows, seconds, cursor: String::new() };
        if rows >= 1_000 {
            load.cursor = load.cursor_after(1, "id").await?;
        }
        Ok(load)
    }

    /// The cursor behind so many steps of a hundred customers.
    async fn cursor_after(&self, steps: u32, order: &str) -> anyhow::Result<String> {
        let (client, mut after) = (reqwest::Client::new(), String::new());
        for _ in 0..steps {
            let url = format!("{}/v1/customers?rows=100&orderBy={order}&after={after}", self.service.base());
            let answer = client.get(url).bearer_auth(self.service.token()).send().await?.error_for_status()?;
            let body: serde_json::Value = answer.json().await?;
            body["next"].as_str().context("no further page")?.clone_into(&mut after);
        }
        Ok(after)
    }

    /// Goes on behind the first tenth of the names, or behind 100,000 of them.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn walk_far(&mut self) -> anyhow::Result<()> {
        self.cursor = self.cursor_after((self.rows / 1_000).min(1_000), "displayName").await?;
        Ok(())
    }

    /// Runs it over so many connections.
    ///
    /// # Errors
    /// `wrk` is not there, or does not say what we ask it to.
    pub fn run(&self, kind: Kind, connections: u32) -> anyhow::Result<Measured> {
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let query = match kind {
            Kind::Name => format!("surname{}", self.rows / 2),
            Kind::Email => format!("user{}%40example.com", self.rows / 2),
            Kind::Phone => format!("2557{:08}", self.rows / 2),
            Kind::DeepPage => (self.rows / 2).min(100_000).div_euclid(50).to_string(),
            _ => String::new(),
        };
        let output = Command::new("wrk")
            .args(["-t", &connections.min(2).to_string(), "-c", &connections.to_string()])
            .args(["-d", &format!("{}s", self.seconds), "-s", concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/load.lua")])
            .arg(self.service.base())
            .env("BENCH_KIND", kind.script())
            .env("BENCH_TOKEN", self.service.token())
            .env("BENCH_SESSION", self.service.session())
            .env("BENCH_ROWS", self.rows.to_string())
            .env("BENCH_RUN", format!("run{run}"))
            .env("BENCH_CURSOR", &self.cursor)
            .env("BENCH_QUERY", query)
            .output()
            .context("wrk cannot be started: install Debian's package `wrk`")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("RESULT "));
        line.and_then(read).with_context(|| format!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn read(line: &str) -> Option<Measured> {
    let mut numbers = line.split_whitespace().map(str::parse::<f64>);
    let mut next = || numbers.next()?.ok();
    let (requests, microseconds, failed) = (next()?, next()?, next()?);
    let (p50, p99) = (next()?, next()?);
    let whole = |number: f64| format!("{number:.0}").parse().ok();
    Some(Measured {
        requests: whole(requests)?,
        failed: whole(failed)?,
        per_second: requests * 1e6 / microseconds,
        p50: Duration::from_secs_f64(p50 / 1e6),
        p99: Duration::from_secs_f64(p99 / 1e6),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let measured = read("1000 2000000 3 1500 9000").unwrap();
        assert_eq!((measured.requests, measured.failed), (1_000, 3));
        assert!((measured.per_second - 500.0).abs() < 1e-9);
        assert_eq!((measured.p50, measured.p99), (Duration::from_micros(1_500), Duration::from_millis(9)));
        assert!(read("1000 2000000").is_none() && read("a b c d e").is_none());
    }
}
