//! The built binary from its command line: what each verb prints, and how a start fails.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Runs the binary in a folder, with these settings alone.
fn custodia(folder: &Path, settings: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_custodia"))
        .env_clear()
        .envs(settings.iter().copied())
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A verb that reads nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn printed(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = custodia(folder, &[], arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a run that has to fail says: one line on standard error, exit code 1, nothing on standard output.
fn refused(folder: &Path, settings: &[(&str, &str)], arguments: &[&str], input: &str) -> String {
    let output = custodia(folder, settings, arguments, input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(said.starts_with("custodia: ") && said.matches('\n').count() == 1, "{arguments:?}: {said}");
    said
}

/// A folder with a migrated database, an organization and a signing key.
fn prepared() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(printed(folder.path(), &["migrate"], ""), "");
    assert_eq!(printed(folder.path(), &["organization", "create", "Lender"], ""), "1\n");
    assert_eq!(printed(folder.path(), &["keygen", "--file", "custodia.signing-key.pem"], ""), "");
    folder
}

#[test]
fn reference_data_is_added_and_listed() {
    let folder = prepared();
    let run = |arguments: &[&str]| printed(folder.path(), arguments, "");
    assert_eq!(run(&["organization", "create", "Another"]), "2\n");
    assert_eq!(run(&["organization", "list"]), "1\tLender\n2\tAnother\n");
    assert_eq!(run(&["office", "create", "--organization", "1", "North"]), "2\n");
    assert_eq!(run(&["office", "default", "--organization", "1", "2"]), "");
    assert_eq!(run(&["office", "list", "--organization", "1"]), "1\tHead Office\n2\tNorth\t*\n");
    assert_eq!(run(&["closure-reason", "add", "--organization", "1", "7", "Moved away"]), "");
    assert_eq!(run(&["closure-reason", "list", "--organization", "1"]), "7\tMoved away\n");
}

#[test]
fn what_cannot_be_added_is_said_in_one_line() {
    let folder = prepared();
    let refused = |arguments: &[&str]| refused(folder.path(), &[], arguments, "");
    assert!(refused(&["office", "create", "--organization", "9", "North"]).contains("no such organization"));
    assert!(refused(&["office", "create", "--organization", "x", "North"]).contains("--organization"));
    assert!(refused(&["office", "create", "--organization", "1", ""]).contains("NAME"));
    assert!(refused(&["office", "default", "--organization", "1", "9"]).contains("no such office"));
    assert!(refused(&["closure-reason", "add", "--organization", "1", "0", "x"]).contains("CODE"));
    assert!(refused(&["api-key", "revoke", "--organization", "1", "9"]).contains("no such key"));
    assert!(refused(&["token", "--organization", "9"]).contains("no such organization"));
    assert!(refused(&["office"]).contains("custodia --help"));
    assert!(refused(&["srve"]).contains("srve"));
    assert!(refused(&["--listne", "x"]).contains("--listne"));
}

#[test]
fn an_api_key_is_shown_once_listed_without_its_secret_and_revoked() {
    let folder = prepared();
    let run = |arguments: &[&str]| printed(folder.path(), arguments, "");
    let key = run(&["api-key", "create", "--organization", "1", "--name", "intake", "--scope", "read"]);
    assert!(key.starts_with("cst_") && key.len() == 77, "{key}");
    assert_eq!(run(&["api-key", "list", "--organization", "1"]), "1\tintake\tread\tactive\n");
    assert_eq!(run(&["api-key", "revoke", "--organization", "1", "1"]), "");
    assert!(run(&["api-key", "list", "--organization", "1"]).contains("\trevoked 20"));
    for entry in fs::read_dir(folder.path()).unwrap() {
        let content = fs::read(entry.unwrap().path()).unwrap();
        let secret = key.trim().as_bytes();
        assert!(!content.windows(secret.len()).any(|part| part == secret), "the key itself is kept nowhere");
    }
}

#[test]
fn an_account_takes_its_password_from_standard_input_alone() {
    let folder = prepared();
    let create = ["account", "create", "--organization", "1", "--email", "ada@example.com"];
    for wrong in ["", "\n", "short\n", "two lines\nof text\n"] {
        refused(folder.path(), &[], &create, wrong);
    }
    assert_eq!(printed(folder.path(), &create, "correct horse\n"), "1\n");
    assert!(refused(folder.path(), &[], &create, "correct horse\n").contains("exists already"));
    let wrong = ["account", "create", "--organization", "1", "--email", "nobody"];
    assert!(refused(folder.path(), &[], &wrong, "correct horse\n").contains("--email"));
}

#[test]
fn a_token_needs_a_key_that_only_its_owner_can_read() {
    let folder = prepared();
    let token = printed(folder.path(), &["token", "--organization", "1"], "");
    assert_eq!(token.trim().split('.').count(), 3);
    let key = folder.path().join("custodia.signing-key.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(folder.path(), &[], &["token", "--organization", "1"], "").contains("chmod 600"));
    fs::remove_file(&key).unwrap();
    for verb in [&["token", "--organization", "1"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        assert!(refused(folder.path(), &[], verb, "").contains("custodia keygen"));
    }
    assert!(!key.exists(), "a key of a database that is in use is never made silently");
}

#[test]
fn a_start_that_cannot_be_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |settings: &[(&str, &str)]| {
        let free = ("CUSTODIA_LISTEN", "127.0.0.1:0");
        refused(folder.path(), &[&[free], settings].concat(), &["serve"], "")
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(serve(&[("CUSTODIA_LISTEN", &address)]).contains(&format!("cannot listen on {address}")));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made for a start that fails");
    for url in ["mysql://u:s3cret@h/d", "custodia.db", "sqlite://", "postgres://u:s3cret@h1,h2/d"] {
        let key = folder.path().join("key.pem");
        let _ = custodia(folder.path(), &[], &["keygen", "--file", "key.pem"], "");
        let said = serve(&[("CUSTODIA_DATABASE_URL", url), ("CUSTODIA_SIGNING_KEY_FILE", key.to_str().unwrap())]);
        assert!(said.contains("database URL") && !said.contains("s3cret"), "{said}");
    }
    assert!(serve(&[("CUSTODIA_DATABASE_URL", "sqlite://nowhere/custodia.db")]).contains("nowhere"));
    assert!(serve(&[("CUSTODIA_DATABASE_URL", "postgres://u@127.0.0.1:1/d")]).contains("custodia keygen"));
    let away =
        [("CUSTODIA_DATABASE_URL", "postgres://u:s3cret@127.0.0.1:1/d"), ("CUSTODIA_SIGNING_KEY_FILE", "key.pem")];
    let said = serve(&away);
    assert!(said.contains("cannot be reached") && !said.contains("s3cret"), "{said}");
    fs::write(folder.path().join("text.db"), "no database, but some text that is long enough to be read as one")
        .unwrap();
    assert!(serve(&[("CUSTODIA_DATABASE_URL", "sqlite://text.db")]).contains("text.db"));
    assert!(serve(&[("CUSTODIA_LISTNE", "x")]).contains("CUSTODIA_LISTNE"));
    assert!(serve(&[("CUSTODIA_CONFIG", "absent.toml")]).contains("absent.toml"));
    fs::write(folder.path().join("custodia.toml"), "listne = \"x\"\n").unwrap();
    assert!(serve(&[]).contains("listne"));
}

#[test]
fn the_verbs_do_not_make_a_database_by_a_mistyped_name() {
    let folder = tempfile::tempdir().unwrap();
    let setting = [("CUSTODIA_DATABASE_URL", "sqlite://custodai.db")];
    assert!(refused(folder.path(), &setting, &["organization", "list"], "").contains("custodai.db"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_setting_is_taken_from_flag_environment_and_file_in_that_order() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str| folder.path().join(name).exists();
    fs::write(folder.path().join("custodia.toml"), "database_url = \"sqlite://file.db\"\n").unwrap();
    let environment = [("CUSTODIA_DATABASE_URL", "sqlite://environment.db")];
    assert!(custodia(folder.path(), &[], &["migrate"], "").status.success());
    assert!(made("file.db") && !made("environment.db"));
    assert!(custodia(folder.path(), &environment, &["migrate"], "").status.success());
    assert!(made("environment.db") && !made("flag.db"));
    assert!(
        custodia(folder.path(), &environment, &["migrate", "--database-url", "sqlite://flag.db"], "").status.success()
    );
    assert!(made("flag.db"));
}

#[test]
fn version_and_document_are_printed_without_any_setting() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(printed(folder.path(), &["--version"], ""), format!("custodia {}\n", env!("CARGO_PKG_VERSION")));
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json")).unwrap();
    assert!(
        printed(folder.path(), &["openapi"], "") == committed,
        "docs/openapi.json is out of date: run `just openapi`"
    );
    assert!(printed(folder.path(), &["keygen"], "").starts_with("-----BEGIN PRIVATE KEY-----\n"));
}
