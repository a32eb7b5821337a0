//! The verbs over organizations and their reference data. They must not know credentials.

use anyhow::{Context as _, ensure};
use clap::{ArgMatches, Command};
use custodia_domain::ports::{Clock as _, Directory, Portfolio};
use custodia_domain::{ClosureReasonId, ExternalId, OfficeId, OfficeName, OrganizationId, Timestamp};

use super::{name_of, not_added, organization_argument, organization_of, required, text};
use crate::config::Config;
use crate::stores::Stores;

pub(super) fn organization() -> Command {
    Command::new("organization")
        .about("Organizations, the tenants: create, list")
        .subcommand_required(true)
        .subcommand(
            Command::new("create")
                .about("Adds an organization with office 1 `Head Office`; prints its number")
                .arg(required("NAME", "NAME", "What it is called")),
        )
        .subcommand(Command::new("list").about("Prints the number and the name of each, separated by a tab"))
}

pub(super) fn office() -> Command {
    Command::new("office")
        .about("An organization's offices: create, default, list")
        .subcommand_required(true)
        .subcommand(
            Command::new("create")
                .about("Adds an office; prints its number")
                .arg(organization_argument())
                .arg(required("NAME", "NAME", "What it is called")),
        )
        .subcommand(
            Command::new("default")
                .about("Makes an office the one that customers without an office go to")
                .arg(organization_argument())
                .arg(required("OFFICE", "OFFICE", "The office's number")),
        )
        .subcommand(
            Command::new("list")
                .about("Prints the number and the name of each, separated by a tab; `*` marks the default")
                .arg(organization_argument()),
        )
}

pub(super) fn closure_reason() -> Command {
    Command::new("closure-reason")
        .about("The reasons for which customers may be closed: add, list")
        .subcommand_required(true)
        .subcommand(
            Command::new("add")
                .about("Adds a reason; while an organization has none, any positive number is accepted")
                .arg(organization_argument())
                .arg(required("CODE", "CODE", "Its number"))
                .arg(required("LABEL", "LABEL", "What it says")),
        )
        .subcommand(
            Command::new("list")
                .about("Prints the code and the label of each, separated by a tab")
                .arg(organization_argument()),
        )
}

pub(super) fn portfolio() -> Command {
    Command::new("portfolio")
        .about("The portfolios of rewards that accounts belong to: add, list")
        .subcommand_required(true)
        .subcommand(
            Command::new("add")
                .about("Adds a portfolio; an account may name one that is not listed")
                .arg(organization_argument())
                .arg(required("SOURCE_ID", "SOURCE_ID", "The institution's own id of it"))
                .arg(required("NAME", "NAME", "What it is called"))
                .arg(required("REWARD_UNIT", "REWARD_UNIT", "In what its rewards are counted, such as Cash or Points")),
        )
        .subcommand(
            Command::new("list")
                .about("Prints the id, the name and the unit of each, separated by tabs")
                .arg(organization_argument()),
        )
}

pub(super) async fn run(verb: &str, matches: &ArgMatches, config: &Config, stores: &Stores) -> anyhow::Result<String> {
    let (action, matches) = matches.subcommand().context("a verb is required")?;
    let (directory, now) = (&*stores.directory, config.clock.now().at);
    match (verb, action) {
        ("organization", "create") => {
            let organization = directory.add_organization(name_of(matches, "NAME")?, now).await?;
            Ok(organization.to_string())
        }
        ("organization", _) => {
            let all = directory.organizations().await?;
            Ok(lines(all.into_iter().map(|(id, name)| format!("{id}\t{name}"))))
        }
        ("office", "create") => create_office(matches, directory, now).await,
        ("office", "default") => set_default_office(matches, directory).await,
        ("office", _) => list_offices(organization_of(matches)?, directory).await,
        ("portfolio", "add") => add_portfolio(matches, directory, now).await,
        ("portfolio", _) => {
            let all = directory.portfolios(organization_of(matches)?).await?;
            Ok(lines(all.iter().map(|one| format!("{}\t{}\t{}", one.id, one.name, one.reward_unit))))
        }
        (_, "add") => add_closure_reason(matches, directory, now).await,
        (_, _) => {
            let reasons = directory.closure_reasons(organization_of(matches)?).await?;
            Ok(lines(reasons.into_iter().map(|(code, label)| format!("{code}\t{label}"))))
        }
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

async fn create_office(matches: &ArgMatches, directory: &dyn Directory, now: Timestamp) -> anyhow::Result<String> {
    let name = OfficeName::parse(name_of(matches, "NAME")?).context("NAME")?;
    let added = directory.add_office(organization_of(matches)?, &name, now).await;
    Ok(added.map_err(|error| not_added(error, "an office of that name"))?.to_string())
}

async fn set_default_office(matches: &ArgMatches, directory: &dyn Directory) -> anyhow::Result<String> {
    let number = text(matches, "OFFICE").parse().ok().and_then(|number| OfficeId::parse(number).ok());
    let office = number.context("OFFICE: must be a positive whole number")?;
    let set = directory.set_default_office(organization_of(matches)?, office).await?;
    ensure!(set, "there is no such office in that organization");
    Ok(String::new())
}

async fn list_offices(organization: OrganizationId, directory: &dyn Directory) -> anyhow::Result<String> {
    let offices = directory.offices(organization).await?.context("there is no such organization")?;
    let mark = |id| if id == offices.default { "\t*" } else { "" };
    Ok(lines(offices.all.iter().map(|office| format!("{}\t{}{}", office.id, office.name.as_str(), mark(office.id)))))
}

async fn add_closure_reason(matches: &ArgMatches, directory: &dyn Directory, now: Timestamp) -> anyhow::Result<String> {
    let code = text(matches, "CODE").parse().ok().and_then(|code| ClosureReasonId::parse(code).ok());
    let code = code.context("CODE: must be a positive whole number")?;
    let added = directory.add_closure_reason(organization_of(matches)?, code, name_of(matches, "LABEL")?, now).await;
    added.map_err(|error| not_added(error, "a closure reason of that code"))?;
    Ok(String::new())
}

async fn add_portfolio(matches: &ArgMatches, directory: &dyn Directory, now: Timestamp) -> anyhow::Result<String> {
    let id = ExternalId::parse(text(matches, "SOURCE_ID")).map_err(|error| anyhow::anyhow!("SOURCE_ID: {error}"))?;
    let name = name_of(matches, "NAME")?.into();
    let portfolio = Portfolio { id, name, reward_unit: name_of(matches, "REWARD_UNIT")?.into() };
    let added = directory.add_portfolio(organization_of(matches)?, &portfolio, now).await;
    added.map_err(|error| not_added(error, "a portfolio of that id"))?;
    Ok(String::new())
}
