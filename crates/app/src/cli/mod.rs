//! The command line: which verbs there are, and what each prints. A verb prints its result alone, so that scripts can use it.
//! It must not know how anything is stored or served.

mod credentials;
mod directory;
mod events;
mod webhook;

use std::ffi::OsString;
use std::io::Write as _;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};
use custodia_domain::OrganizationId;
use custodia_domain::ports::AddError;
use tokio::runtime::Runtime;

use crate::config::{self, Config};
use crate::stores::Stores;
use crate::{logging, routes, serve};

/// Runs what the command line asks for.
///
/// # Errors
/// It could not be done; the error says why in one line.
pub fn run(arguments: Vec<OsString>) -> anyhow::Result<()> {
    config::refuse_unknown_variables(std::env::vars_os().map(|(name, _)| name))?;
    let file = config::read_file(&arguments)?;
    let matches = match command().args(config::arguments(&file)).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(help) if matches!(help.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return help.print().context("cannot print");
        }
        Err(error) => anyhow::bail!("{}; see custodia --help", first_line(&error)),
    };
    match matches.subcommand() {
        Some(("keygen", matches)) => return print(&credentials::keygen(matches)?),
        Some(("openapi", _)) => return print(&routes::document()?),
        _ => {}
    }
    let (verb, own) = matches.subcommand().unwrap_or(("serve", &matches));
    let config = Config::of(deepest(own))?;
    logging::begin(&config)?;
    let runtime = Runtime::new().context("cannot start the runtime")?;
    match verb {
        "serve" => runtime.block_on(serve::serve(&config)),
        _ => print(&runtime.block_on(administer(verb, own, &config))?),
    }
}

/// The matches of the innermost verb: there the settings are complete, whichever side of the verbs they stand on.
fn deepest(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| deepest(inner))
}

fn command() -> Command {
    Command::new("custodia")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The customer system of record for lenders. Without a command it serves.")
        .after_help("A setting is a flag, an environment variable or a line in custodia.toml; the first of them that is there wins.")
        .disable_help_subcommand(true)
        .subcommand(Command::new("serve").about("Serves; migrates the database first, unless told not to"))
        .subcommand(Command::new("migrate").about("Brings the database to the current schema"))
        .subcommand(directory::organization())
        .subcommand(directory::office())
        .subcommand(directory::closure_reason())
        .subcommand(directory::portfolio())
        .subcommand(events::events())
        .subcommand(webhook::webhook())
        .subcommand(credentials::account())
        .subcommand(credentials::api_key())
        .subcommand(credentials::token())
        .subcommand(credentials::keygen_command())
        .subcommand(Command::new("openapi").about("Prints the OpenAPI document"))
}

async fn administer(verb: &str, matches: &ArgMatches, config: &Config) -> anyhow::Result<String> {
    if verb == "migrate" {
        let stores = Stores::open(config, true).await?;
        stores.close().await;
        return Ok(String::new());
    }
    let stores = Stores::open(config, false).await?;
    let result = match verb {
        "events" => events::run(matches, &stores).await,
        "webhook" => webhook::run(matches, config, &stores).await,
        "account" | "api-key" | "token" => credentials::run(verb, matches, config, &stores).await,
        _ => directory::run(verb, matches, config, &stores).await,
    };
    stores.close().await;
    result
}

/// Prints a verb's result, if it has one.
fn print(text: &str) -> anyhow::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", text.trim_end()).and_then(|()| output.flush()).context("cannot write to standard output")
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

/// `--organization ID`.
fn organization_argument() -> Arg {
    Arg::new("organization").long("organization").value_name("ID").required(true).help("The organization's number")
}

fn required(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).required(true).help(help)
}

fn text<'m>(matches: &'m ArgMatches, name: &str) -> &'m str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

fn organization_of(matches: &ArgMatches) -> anyhow::Result<OrganizationId> {
    let number = text(matches, "organization").parse().ok().and_then(|number| OrganizationId::parse(number).ok());
    number.context("--organization: must be a positive whole number")
}

/// What could not be added, in the words of the command line.
fn not_added(error: AddError, what: &str) -> anyhow::Error {
    match error {
        AddError::NoOrganization => anyhow::anyhow!("there is no such organization"),
        AddError::Taken => anyhow::anyhow!("{what} exists already"),
        AddError::Store(error) => anyhow::Error::new(error),
    }
}

/// A name of 1 to 200 characters without control characters.
fn name_of<'m>(matches: &'m ArgMatches, name: &str) -> anyhow::Result<&'m str> {
    let text = text(matches, name).trim();
    let fits = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    anyhow::ensure!(fits, "{name}: must have 1 to 200 characters");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_adapters::tokens::generate_key;
    use std::collections::BTreeMap;

    #[test]
    fn the_command_line_is_well_formed() {
        command().args(config::arguments(&BTreeMap::new())).debug_assert();
    }

    #[test]
    fn a_mistake_is_told_in_one_line() {
        for arguments in [&["custodia", "office", "create"][..], &["custodia", "srve"], &["custodia", "--nothing"]] {
            let error = command().try_get_matches_from(arguments).unwrap_err();
            let line = first_line(&error);
            assert!(!line.is_empty() && !line.contains('\n') && !line.starts_with("error"), "{line}");
        }
    }

    #[test]
    fn a_new_key_is_printed_whole() {
        assert!(generate_key().ends_with("-----END PRIVATE KEY-----\n"));
    }
}
