//! The verbs over credentials: accounts, API keys, tokens and signing keys. A secret is printed once, and nowhere else.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgMatches, Command};
use custodia_adapters::tokens::{ApiKeyText, Grant, Passwords, SigningKeys, generate_key};
use custodia_domain::EmailAddress;
use custodia_domain::ports::{ApiKey, Clock as _, Scope};
use zeroize::Zeroizing;

use super::{name_of, not_added, organization_argument, organization_of, required, text};
use crate::bootstrap;
use crate::config::Config;
use crate::stores::Stores;

/// The most bytes that are read as a password.
const LONGEST_PASSWORD: u64 = 4_096;

pub(super) fn account() -> Command {
    Command::new("account")
        .about("Partner accounts, which may ask for tokens: create")
        .subcommand_required(true)
        .subcommand(
            Command::new("create")
                .about("Adds an account; its password is read from standard input. Prints its number")
                .arg(organization_argument())
                .arg(Arg::new("email").long("email").value_name("ADDRESS").required(true).help("Its e-mail address")),
        )
}

pub(super) fn api_key() -> Command {
    Command::new("api-key")
        .about("API keys: create, list, revoke")
        .subcommand_required(true)
        .subcommand(
            Command::new("create")
                .about("Adds a key and prints it, once: only its hash is kept")
                .arg(organization_argument())
                .arg(Arg::new("name").long("name").value_name("NAME").required(true).help("What its owner calls it"))
                .arg(scope_argument()),
        )
        .subcommand(
            Command::new("list")
                .about("Prints number, name, scope and state of each, separated by tabs")
                .arg(organization_argument()),
        )
        .subcommand(
            Command::new("revoke").about("Refuses a key from now on").arg(organization_argument()).arg(required(
                "KEY",
                "KEY",
                "The key's number, as `list` prints it",
            )),
        )
}

pub(super) fn token() -> Command {
    Command::new("token")
        .about("Prints a bearer token")
        .arg(organization_argument())
        .arg(
            Arg::new("subject")
                .long("subject")
                .value_name("NAME")
                .default_value("cli")
                .help("Its bearer's name in the history"),
        )
        .arg(scope_argument())
}

pub(super) fn keygen_command() -> Command {
    Command::new("keygen")
        .about("Prints a new private signing key, or writes it to a file of mode 0600")
        .arg(Arg::new("file").long("file").value_name("FILE").help("A file that does not exist yet"))
}

fn scope_argument() -> Arg {
    Arg::new("scope")
        .long("scope")
        .value_name("SCOPE")
        .default_value("write")
        .value_parser(["read", "write"])
        .help("What it may do")
}

/// A new signing key: its text, or nothing where it went to a file.
pub(super) fn keygen(matches: &ArgMatches) -> anyhow::Result<Zeroizing<String>> {
    match matches.get_one::<String>("file") {
        Some(path) => {
            SigningKeys::create(Path::new(path))?;
            Ok(Zeroizing::default())
        }
        None => Ok(generate_key()),
    }
}

pub(super) async fn run(verb: &str, matches: &ArgMatches, config: &Config, stores: &Stores) -> anyhow::Result<String> {
    if verb == "token" {
        return issue(matches, config, stores).await;
    }
    let (action, matches) = matches.subcommand().context("a verb is required")?;
    match (verb, action) {
        ("account", _) => create_account(matches, config, stores).await,
        (_, "create") => create_key(matches, config, stores).await,
        (_, "revoke") => revoke_key(matches, config, stores).await,
        (_, _) => {
            let keys = stores.credentials.list_api_keys(organization_of(matches)?).await?;
            Ok(keys.iter().map(described).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn scope_of(matches: &ArgMatches) -> Scope {
    if text(matches, "scope") == "read" { Scope::Read } else { Scope::Write }
}

async fn issue(matches: &ArgMatches, config: &Config, stores: &Stores) -> anyhow::Result<String> {
    let organization = organization_of(matches)?;
    let known = stores.directory.offices(organization).await?.is_some();
    ensure!(known, "there is no such organization");
    let subject = name_of(matches, "subject")?;
    ensure!(subject.chars().count() <= 100, "--subject: must have at most 100 characters");
    let grant = Grant { organization, subject: subject.to_owned(), scope: scope_of(matches) };
    Ok(bootstrap::signing_keys(config)?.issue(&grant, config.clock.now().at))
}

async fn create_key(matches: &ArgMatches, config: &Config, stores: &Stores) -> anyhow::Result<String> {
    let (name, key) = (name_of(matches, "name")?, ApiKeyText::generate());
    let organization = organization_of(matches)?;
    let now = config.clock.now().at;
    let added = stores.credentials.add_api_key(organization, name, key.hash(), scope_of(matches), now).await;
    added.map_err(|error| not_added(error, "that key"))?;
    Ok(key.expose().to_owned())
}

async fn revoke_key(matches: &ArgMatches, config: &Config, stores: &Stores) -> anyhow::Result<String> {
    let id: i64 =
        text(matches, "KEY").parse().ok().context("KEY: must be a key's number, as `api-key list` prints it")?;
    let now = config.clock.now().at;
    let revoked = stores.credentials.revoke_api_key(organization_of(matches)?, id, now).await?;
    ensure!(revoked, "there is no such key in that organization");
    Ok(String::new())
}

fn described(key: &ApiKey) -> String {
    let scope = match key.scope {
        Scope::Read => "read",
        Scope::Write => "write",
    };
    let state = key.revoked_at.map_or_else(|| "active".to_owned(), |at| format!("revoked {at}"));
    format!("{}\t{}\t{scope}\t{state}", key.id, key.name)
}

async fn create_account(matches: &ArgMatches, config: &Config, stores: &Stores) -> anyhow::Result<String> {
    let organization = organization_of(matches)?;
    let email = EmailAddress::parse(text(matches, "email")).context("--email")?;
    let password = read_password()?;
    let hash = Passwords::new(1).hash(&password).await?;
    let now = config.clock.now().at;
    let added = stores.credentials.add_account(organization, email.as_str(), &hash, now).await;
    Ok(added.map_err(|error| not_added(error, "an account of that address"))?.to_string())
}

/// The first line of standard input, and nothing after it.
fn read_password() -> anyhow::Result<Zeroizing<String>> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let _ = write!(std::io::stderr(), "Password (shown as you type): ");
        let mut line = Zeroizing::new(String::new());
        input.read_line(&mut line).context("cannot read the password")?;
        return Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    input.lock().take(LONGEST_PASSWORD).read_to_string(&mut text).context("cannot read the password")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        bail!("no password on standard input");
    }
    ensure!(!line.contains(['\r', '\n']), "standard input has more than one line; it is the password and nothing else");
    Ok(Zeroizing::new(line.to_owned()))
}
