//! The built binary as a service on SQLite: its first and second start, its listeners, its limits and its end.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

/// A running service; killed with this value.
struct Service {
    process: Child,
    address: String,
    output: Option<JoinHandle<String>>,
    log: Option<JoinHandle<String>>,
}

impl Service {
    fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_custodia"))
            .env_clear()
            .env("CUSTODIA_LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = process.stdout.take().unwrap();
        let output = std::thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            text
        });
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on http://") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the service ended at its start");
        }
        let address = line.split("http://").nth(1).unwrap().trim_end_matches(['\n', '"', '}']).to_owned();
        let address = address.split('"').next().unwrap().to_owned();
        let log = std::thread::spawn(move || {
            let mut text = line;
            log.read_to_string(&mut text).unwrap();
            text
        });
        Self { process, address, output: Some(output), log: Some(log) }
    }

    /// Tells it to stop; what it wrote on standard output and to its log.
    fn stop(mut self, signal: &str) -> (String, String) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        (self.output.take().unwrap().join().unwrap(), self.log.take().unwrap().join().unwrap())
    }

    /// The whole answer to a request without a body.
    fn ask(&self, target: &str, headers: &str) -> String {
        ask(&self.address, target, headers)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(address: &str, target: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn run(folder: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_custodia"))
        .env_clear()
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_first_start_shows_credentials_and_the_second_is_quiet_and_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let first = Service::start(folder.path(), &[]);
    assert!(first.ask("/readyz", "").starts_with("HTTP/1.1 200"));
    let (shown, log) = first.stop("-TERM");
    let after = |sign: &str| shown.split(sign).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let (token, key) = (after("Bearer token: "), after("API key: "));
    assert!(shown.lines().any(|line| line.starts_with("curl ")), "{shown}");
    assert!(!log.contains(&token) && !log.contains(&key), "credentials are no matter of the log");
    let second = Service::start(folder.path(), &[]);
    for credential in [&token, &key] {
        let answer = second.ask("/v1/customers", &format!("Authorization: Bearer {credential}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let (shown, _) = second.stop("-INT");
    assert_eq!(shown, "");
    assert_eq!(run(folder.path(), &["organization", "list"], ""), "1\tDefault");
    assert_eq!(run(folder.path(), &["office", "list", "--organization", "1"], ""), "1\tHead Office\t*");
}

#[test]
fn the_operators_routes_are_on_their_own_listener_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let service = Service::start(folder.path(), &[("CUSTODIA_OPS_LISTEN", &free)]);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert!(service.ask(path, "").starts_with("HTTP/1.1 404"), "{path}");
        assert!(ask(&free, path, "").starts_with("HTTP/1.1 200"), "{path}");
    }
    assert!(ask(&free, "/v1/customers", "").starts_with("HTTP/1.1 404"));
    for path in ["/openapi.json", "/docs"] {
        assert!(service.ask(path, "").starts_with("HTTP/1.1 200"), "{path}");
    }
    service.stop("-TERM");
}

#[test]
fn requests_are_limited_for_each_credential_where_the_deployment_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[("CUSTODIA_RATE_LIMIT", "2")]);
    let key = |name: &str| run(folder.path(), &["api-key", "create", "--organization", "1", "--name", name], "");
    let (one, other) = (key("one"), key("other"));
    let list = |key: &str| service.ask("/v1/customers", &format!("Authorization: Bearer {key}\r\n"));
    let first = list(&one).to_lowercase();
    assert!(first.starts_with("http/1.1 200") && first.contains("ratelimit-policy: \"default\";q=2;w=60"), "{first}");
    assert!(first.contains("ratelimit: \"default\";r=1;t=30"), "{first}");
    assert!(list(&one).starts_with("HTTP/1.1 200"));
    let third = list(&one);
    assert!(third.starts_with("HTTP/1.1 429") && third.contains("resource_exhausted"), "{third}");
    assert!(third.to_lowercase().contains("retry-after: "), "{third}");
    assert!(list(&other).starts_with("HTTP/1.1 200"));
    assert!(list("cst_nobody").starts_with("HTTP/1.1 401"));
    service.stop("-TERM");
}

#[test]
fn failed_passwords_are_limited_for_an_account_and_address() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[("CUSTODIA_LOGIN_FAILURES", "2")]);
    let create = ["account", "create", "--organization", "1", "--email", "ada@example.com"];
    assert_eq!(run(folder.path(), &create, "correct horse\n"), "1");
    // ada@example.com with `wrong password`, then with `correct horse`.
    let login = |basic: &str| service.ask("/v1/auth/token", &format!("Authorization: Basic {basic}\r\n"));
    let (wrong, right) = ("YWRhQGV4YW1wbGUuY29tOndyb25nIHBhc3N3b3Jk", "YWRhQGV4YW1wbGUuY29tOmNvcnJlY3QgaG9yc2U=");
    assert!(login(right).starts_with("HTTP/1.1 200"));
    for _ in 0..2 {
        assert!(login(wrong).starts_with("HTTP/1.1 401"));
    }
    assert!(login(right).starts_with("HTTP/1.1 429"), "even the right one, until the minute is over");
    service.stop("-TERM");
}

#[test]
fn the_log_is_json_where_it_is_wanted_and_has_no_credential() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[("CUSTODIA_LOG_FORMAT", "json"), ("CUSTODIA_LOG_LEVEL", "debug")]);
    let answer = service.ask("/v1/customers?externalId=secret-name", "Authorization: Bearer secret.token.text\r\n");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let (_, log) = service.stop("-TERM");
    assert!(log.lines().count() > 2);
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object()), "{line}");
    }
    for secret in ["secret.token", "secret-name", "BEGIN PRIVATE", "cst_"] {
        assert!(!log.contains(secret), "the log has {secret}");
    }
}

#[test]
fn an_exposed_signing_key_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    Service::start(folder.path(), &[]).stop("-TERM");
    let key = folder.path().join("custodia.signing-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_custodia"))
        .env_clear()
        .env("CUSTODIA_LISTEN", "127.0.0.1:0")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
}
