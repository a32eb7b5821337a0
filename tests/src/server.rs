//! The service as a process: prepared by its own command line, started, spoken to, stopped and killed.

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::postgres::{self, TestDatabase};
use crate::raw::RawConnection;
use crate::{Answer, binary};

/// How long a start or a stop may take on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a condition outside this process is looked at while waiting for it.
const LOOK_AGAIN: Duration = Duration::from_millis(15);

/// The database that a server runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file in the server's folder.
    Sqlite,
    /// A database of its own on the PostgreSQL server of the tests.
    Postgres,
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    settings: Vec<(String, String)>,
    unprepared: bool,
    database: Option<String>,
    road: Option<String>,
}

impl Options {
    /// With one more setting, `CUSTODIA_...`; a later one of the same name wins.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// On an empty database, without a signing key: what a first start sees.
    #[must_use]
    pub fn unprepared(mut self) -> Self {
        self.unprepared = true;
        self
    }

    /// On that empty PostgreSQL database, which nobody shares and nobody drops.
    #[must_use]
    pub fn on(mut self, url: &str) -> Self {
        self.database = Some(url.to_owned());
        self
    }

    /// Reaching its PostgreSQL server by that `host:port`, a proxy; its command line goes there straight.
    #[must_use]
    pub fn by_way_of(mut self, address: &str) -> Self {
        self.road = Some(address.to_owned());
        self
    }
}

/// What a client of one organization has.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The organization's id, as the command line prints it.
    pub organization: String,
    /// A bearer token.
    pub token: String,
    /// An API key.
    pub api_key: String,
    /// The e-mail address of its account.
    pub email: String,
    /// The password of its account.
    pub password: String,
}

/// A started `custodia` on data of its own; killed, and its data deleted, with this value.
#[derive(Debug)]
pub struct Server {
    process: Option<Child>,
    base: String,
    client: Client,
    settings: Vec<(String, String)>,
    credentials: Credentials,
    starts: u32,
    folder: TempDir,
    // Dropped after the process: the last field but one goes last but one.
    database: Option<TestDatabase>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    /// It does not get ready; the message has what it wrote.
    pub async fn start(backend: Backend, options: Options) -> Self {
        Self::try_start(backend, options).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready; the error has what it wrote.
    pub async fn try_start(backend: Backend, options: Options) -> anyhow::Result<Self> {
        let Options { settings: extra, unprepared, database: own, road } = options;
        let folder = tempfile::Builder::new().prefix("custodia-server.").tempdir()?;
        let (database, mut settings, credentials) = if let Some(url) = own {
            let (settings, credentials) = prepare(folder.path(), &url)?;
            (None, settings, credentials)
        } else if unprepared {
            let database = match backend {
                Backend::Sqlite => None,
                Backend::Postgres => Some(postgres::try_database(None).await?),
            };
            let settings = vec![(DATABASE_URL.to_owned(), database_url(folder.path(), database.as_ref()))];
            (database, settings, Credentials::default())
        } else {
            prepared(backend).await?.unpack(folder.path()).await?
        };
        settings.push(("CUSTODIA_LISTEN".to_owned(), "127.0.0.1:0".to_owned()));
        if let Some(road) = road {
            let url = settings.iter().find(|(name, _)| name == DATABASE_URL).map(|(_, url)| url.clone());
            let url = postgres::with_address(&url.context("a database has a URL")?, &road);
            settings.push((DATABASE_URL.to_owned(), url));
        }
        settings.extend(extra);
        let client =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build()?;
        let mut server =
            Self { process: None, base: String::new(), client, settings, credentials, starts: 0, folder, database };
        server.launch().await?;
        Ok(server)
    }

    /// The URL of a path that begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Its `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// What a client of the first organization has.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// A bearer token of the first organization.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.credentials.token
    }

    /// An API key of the first organization.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.credentials.api_key
    }

    /// A client without proxy, redirects or cookies.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The folder of the process: its database, where it is SQLite, its signing key and what it wrote.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The settings that the process was started with.
    #[must_use]
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// The URL of its database, straight and past any proxy.
    ///
    /// # Panics
    /// Never: it has one.
    #[must_use]
    pub fn database_url(&self) -> &str {
        let mut settings = self.settings.iter();
        settings.find(|(name, _)| name == DATABASE_URL).map(|(_, url)| url).expect("a server has a database")
    }

    /// Starts with this setting from the next start on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.push((name.to_owned(), value.into()));
    }

    /// The process id.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the server runs").id()
    }

    /// The database on the PostgreSQL server of the tests, where it runs on one.
    #[must_use]
    pub fn database(&self) -> Option<&TestDatabase> {
        self.database.as_ref()
    }

    /// A request without any credential.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends a request with the bearer token of the first organization, and a JSON body where one is given.
    ///
    /// # Panics
    /// No answer comes.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, path).bearer_auth(self.token());
        let request = body.into_iter().fold(request, |request, body| request.json(&body));
        Answer::to(request).await.expect("a running server answers")
    }

    /// `GET` with the bearer token.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// `POST` with the bearer token.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT` with the bearer token.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// `PATCH` with the bearer token.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE` with the bearer token.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// How many customers the first organization has: the total of the unfiltered list.
    ///
    /// # Panics
    /// The list is not answered.
    pub async fn total(&self) -> u64 {
        self.get("/v1/customers?rows=1").await.expect(200).json["total"].as_u64().expect("a total is a number")
    }

    /// A publisher session token with the scope `api:institution`.
    ///
    /// # Panics
    /// None is given.
    pub async fn publisher_session(&self) -> String {
        let request = self
            .request(Method::POST, "/v2/session/startSession")
            .header("x-api-key", self.api_key())
            .json(&json!({"scopes": ["api:institution"]}));
        let answer = Answer::to(request).await.expect("a running server answers").expect(200);
        answer.json["sessionToken"].as_str().expect("a session has a token").to_owned()
    }

    /// A plain connection, for what no client library sends.
    ///
    /// # Panics
    /// The server does not listen.
    pub async fn connect(&self) -> RawConnection {
        RawConnection::open(self.address()).await.expect("a running server accepts")
    }

    /// Sends these bytes on a new connection; the answer, or `None` when the connection is closed without one.
    ///
    /// # Panics
    /// What comes back is no HTTP.
    pub async fn raw(&self, bytes: &[u8]) -> Option<Answer> {
        let mut connection = self.connect().await;
        // A server may answer and close before it has read everything.
        let _ = connection.send(bytes).await;
        connection.answer().await.expect("HTTP/1.1 or an end")
    }

    /// What a verb of the command line prints when it is run on the server's data.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn cli(&self, arguments: &[&str], input: &str) -> String {
        let straight = [(DATABASE_URL.to_owned(), self.database_url().to_owned())];
        let settings = [&self.settings[..], &straight].concat();
        binary::printed(&settings, self.folder(), arguments, input).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// One more organization, made by the command line.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn organization(&self, name: &str) -> Credentials {
        organization(&self.settings, self.folder(), name).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The memory of the process that is its own, in bytes.
    ///
    /// # Panics
    /// The process is not running.
    #[must_use]
    pub fn memory(&self) -> usize {
        let process = self.process.as_ref().expect("the server runs");
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("a process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its memory is told");
        1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kilobytes")
    }

    /// Everything the process wrote, on standard output and standard error, since the first start.
    #[must_use]
    pub fn written(&self) -> String {
        (1..=self.starts).map(|start| written(self.folder(), start)).collect()
    }

    /// Kills the process with SIGKILL, as a power cut would, and waits until it is gone.
    ///
    /// # Panics
    /// It is not running.
    pub fn kill9(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        process.kill().expect("our own process can be killed");
        process.wait().expect("our own process can be waited for");
    }

    /// Asks the process to stop (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// It is not running, or does not stop within a minute.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`, ...
    ///
    /// # Panics
    /// The process is not running.
    pub fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("the server runs");
        let status = Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "the server runs");
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// It is not running, or does not stop within a minute.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let process = self.process.as_mut().expect("the server runs");
            if let Some(status) = process.try_wait().expect("our own process can be waited for") {
                self.process = None;
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not stop: {}", self.written());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Starts the process again on the same data, at another port; one that still runs is killed first.
    ///
    /// # Panics
    /// It does not get ready.
    pub async fn restart(&mut self) {
        if self.process.is_some() {
            self.kill9();
        }
        self.launch().await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Another instance on the same database.
    ///
    /// # Panics
    /// It does not get ready.
    pub async fn beside(&self) -> Self {
        let folder = tempfile::Builder::new().prefix("custodia-server.").tempdir().expect("there is room for a folder");
        let mut server = Self {
            process: None,
            base: String::new(),
            client: self.client.clone(),
            settings: self.settings.clone(),
            credentials: self.credentials.clone(),
            starts: 0,
            folder,
            database: None,
        };
        server.launch().await.unwrap_or_else(|error| panic!("{error:#}"));
        server
    }

    /// Waits until `/readyz` answers 200 (or, for false, anything else or nothing).
    ///
    /// # Panics
    /// It does not come to that within this time.
    pub async fn wait_ready(&self, ready: bool, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.is_ready().await != ready {
            assert!(Instant::now() < deadline, "readyz did not become {ready}: {}", self.written());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let request = self.request(Method::GET, "/readyz").timeout(Duration::from_secs(5));
        request.send().await.is_ok_and(|response| response.status() == 200)
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        self.starts += 1;
        let (output, errors) = written_paths(self.folder(), self.starts);
        let process = binary::command(&self.settings, self.folder())?
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(File::create(output)?)
            .stderr(File::create(errors)?)
            .spawn()?;
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let written = written(self.folder(), self.starts);
            if let Some(base) = listening(&written) {
                base.clone_into(&mut self.base);
                if self.is_ready().await {
                    return Ok(());
                }
            }
            let process = self.process.as_mut().context("the process was just started")?;
            if let Some(status) = process.try_wait()? {
                self.process = None;
                bail!("the server ended at its start, {status}: {written}");
            }
            ensure!(Instant::now() < deadline, "the server does not get ready: {written}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill9();
        }
        if std::thread::panicking() {
            eprintln!("--- what the server wrote ---\n{}", self.written());
        }
    }
}

/// A database that the command line has prepared, kept to be copied: preparing takes longer than most tests.
#[derive(Debug)]
struct Prepared {
    credentials: Credentials,
    /// Every file of the folder: the signing key and, on SQLite, the database.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Nobody drops it: statics live as long as the test process, and this database as long as its server.
    template: Option<TestDatabase>,
}

impl Prepared {
    async fn make(backend: Backend) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let template = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(postgres::try_database(None).await?),
        };
        let path = folder.path();
        let (_, credentials) = prepare(path, &database_url(path, template.as_ref()))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            files.push((entry.file_name().into(), fs::read(entry.path())?));
        }
        Ok(Self { credentials, files, template })
    }

    async fn unpack(
        &self,
        folder: &Path,
    ) -> anyhow::Result<(Option<TestDatabase>, Vec<(String, String)>, Credentials)> {
        for (name, content) in &self.files {
            write_private(&folder.join(name), content)?;
        }
        let database = match &self.template {
            Some(template) => Some(postgres::try_database(Some(template)).await?),
            None => None,
        };
        let settings = prepared_settings(folder, &database_url(folder, database.as_ref()));
        Ok((database, settings, self.credentials.clone()))
    }
}

const DATABASE_URL: &str = "CUSTODIA_DATABASE_URL";
const SIGNING_KEY: &str = "signing-key.pem";

async fn prepared(backend: Backend) -> anyhow::Result<&'static Prepared> {
    static SQLITE: OnceCell<Prepared> = OnceCell::const_new();
    static POSTGRES: OnceCell<Prepared> = OnceCell::const_new();
    let cell = match backend {
        Backend::Sqlite => &SQLITE,
        Backend::Postgres => &POSTGRES,
    };
    cell.get_or_try_init(|| Prepared::make(backend)).await
}

/// An organization with every credential a client can have.
fn organization(settings: &[(String, String)], folder: &Path, name: &str) -> anyhow::Result<Credentials> {
    let run = |arguments: &[&str], input: &str| binary::printed(settings, folder, arguments, input);
    let id = run(&["organization", "create", name], "")?;
    let email = format!("partner-{id}@example.com");
    let password = "correct horse battery staple".to_owned();
    run(&["account", "create", "--organization", &id, "--email", &email], &format!("{password}\n"))?;
    Ok(Credentials {
        token: run(&["token", "--organization", &id], "")?,
        api_key: run(&["api-key", "create", "--organization", &id, "--name", "tests"], "")?,
        organization: id,
        email,
        password,
    })
}

/// Brings an empty database to its schema, with an organization and what a client of it has. The signing key comes into the
/// folder.
fn prepare(folder: &Path, url: &str) -> anyhow::Result<(Vec<(String, String)>, Credentials)> {
    let key = binary::printed(&[], folder, &["keygen"], "")?;
    write_private(&folder.join(SIGNING_KEY), key.as_bytes())?;
    let settings = prepared_settings(folder, url);
    binary::printed(&settings, folder, &["migrate"], "")?;
    let credentials = organization(&settings, folder, "Test Lender")?;
    Ok((settings, credentials))
}

fn database_url(folder: &Path, database: Option<&TestDatabase>) -> String {
    database.map_or_else(
        || format!("sqlite://{}", folder.join("custodia.db").display()),
        |database| database.url().to_owned(),
    )
}

fn prepared_settings(folder: &Path, url: &str) -> Vec<(String, String)> {
    let key = folder.join(SIGNING_KEY).display().to_string();
    vec![(DATABASE_URL.to_owned(), url.to_owned()), ("CUSTODIA_SIGNING_KEY_FILE".to_owned(), key)]
}

/// Writes a file that only its owner can read, as the service demands of its key.
fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    std::io::Write::write_all(&mut file, content)?;
    Ok(())
}

fn written_paths(folder: &Path, start: u32) -> (PathBuf, PathBuf) {
    (folder.join(format!("stdout.{start}")), folder.join(format!("stderr.{start}")))
}

fn written(folder: &Path, start: u32) -> String {
    let (output, errors) = written_paths(folder, start);
    let read = |path| fs::read(path).map_or(String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    read(output) + &read(errors)
}

/// The base URL that a started server has written, once the whole line is there.
fn listening(written: &str) -> Option<&str> {
    const SIGN: &str = "listening on ";
    let after = &written[written.find(SIGN)? + SIGN.len()..];
    let end = after.find(|character: char| character.is_whitespace() || character == '"')?;
    after[..end].starts_with("http://").then_some(&after[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_whole_line_only() {
        assert_eq!(listening("listening on http://127.0.0.1:80"), None);
        assert_eq!(listening("x\nlistening on http://127.0.0.1:8080\n"), Some("http://127.0.0.1:8080"));
        assert_eq!(listening("{\"message\":\"listening on http://127.0.0.1:1\"}"), Some("http://127.0.0.1:1"));
        assert_eq!(listening("listening on nothing\n"), None);
    }
}
