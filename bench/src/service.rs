//! The service under measurement: the real binary, started as an operator starts it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::process;

/// How long the service may take to answer its first request.
const START: Duration = Duration::from_secs(30);

/// A running service with one organization.
pub struct Service {
    child: Child,
    base: String,
    token: String,
    session: String,
}

impl Service {
    /// On a fresh PostgreSQL database.
    ///
    /// # Errors
    /// It does not start.
    pub async fn on_postgres(binary: &Path, url: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("custodia-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let key = folder.join("signing-key.pem");
        if !key.exists() {
            run(binary, &[], &["keygen", "--file", path(&key)?])?;
        }
        let settings = [("CUSTODIA_DATABASE_URL", url), ("CUSTODIA_SIGNING_KEY_FILE", path(&key)?)];
        run(binary, &settings, &["migrate"])?;
        run(binary, &settings, &["organization", "create", "Bench"])?;
        Self::start(binary, &settings).await
    }

    /// On a fresh SQLite file.
    ///
    /// # Errors
    /// It does not start.
    pub async fn on_sqlite(binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        let url = format!("sqlite://{}", folder.join("custodia.db").display());
        let key = folder.join("signing-key.pem");
        run(binary, &[], &["keygen", "--file", path(&key)?])?;
        let settings = [("CUSTODIA_DATABASE_URL", url.as_str()), ("CUSTODIA_SIGNING_KEY_FILE", path(&key)?)];
        run(binary, &settings, &["migrate"])?;
        run(binary, &settings, &["organization", "create", "Bench"])?;
        Self::start(binary, &settings).await
    }

    async fn start(binary: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let token = run(binary, settings, &["token", "--organization", "1"])?;
        let key = run(binary, settings, &["api-key", "create", "--organization", "1", "--name", "bench"])?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let base = format!("http://127.0.0.1:{port}");
        let child = Command::new(binary)
            .env("CUSTODIA_LISTEN", format!("127.0.0.1:{port}"))
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("the service does not start")?;
        let mut service = Self { child, base, token, session: String::new() };
        service.wait().await?;
        service.session = service.begin_session(&key).await?;
        Ok(service)
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let began = std::time::Instant::now();
        loop {
            ensure!(self.child.try_wait()?.is_none(), "the service has ended");
            if reqwest::get(format!("{}/readyz", self.base)).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            ensure!(began.elapsed() < START, "the service is not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn begin_session(&self, key: &str) -> anyhow::Result<String> {
        let request = reqwest::Client::new()
            .post(format!("{}/v2/session/startSession", self.base))
            .header("x-api-key", key)
            .json(&serde_json::json!({"scopes": ["api:institution"]}));
        let answer: serde_json::Value = request.send().await?.error_for_status()?.json().await?;
        Ok(answer["sessionToken"].as_str().context("no session was given")?.to_owned())
    }

    /// Where it listens.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A bearer token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A session of the batch ingest.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The processor time it has used.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu_of_family(self.child.id())
    }

    /// The memory that is its own, in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn memory(&self) -> anyhow::Result<u64> {
        process::memory_of(self.child.id())
    }

    /// Stops it as an operator does.
    ///
    /// # Errors
    /// It does not end well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(told.success(), "the service cannot be told to stop");
        let status = tokio::task::spawn_blocking(move || self.child.wait()).await??;
        ensure!(status.success(), "the service ended with {status}");
        Ok(())
    }
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is not UTF-8")
}

fn run(binary: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(binary)
        .args(arguments)
        .envs(settings.iter().copied())
        .output()
        .context("the service does not start")?;
    ensure!(
        output.status.success(),
        "custodia {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
