//! The verbs over webhook endpoints. They work on the store itself and send at once, whether or not a service runs.

use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Command};
use custodia_adapters::event_json::EventId;
use custodia_adapters::ids::BlockIds;
use custodia_adapters::webhooks::Message;
use custodia_domain::ports::{Clock as _, IdSource as _};
use custodia_domain::webhook::{EndpointStatus, Replay, WebhookEndpoint, WebhookId};
use custodia_domain::{OrganizationId, Sequence};

use super::{organization_argument, organization_of, required, text};
use crate::config::Config;
use crate::routes;
use crate::stores::Stores;

pub(super) fn webhook() -> Command {
    let endpoint = || required("ENDPOINT", "ENDPOINT", "The endpoint's id");
    let option = |name: &'static str, value, help| Arg::new(name).long(name).value_name(value).help(help);
    Command::new("webhook")
        .about("An organization's webhook endpoints: list, ping, replay")
        .subcommand_required(true)
        .subcommand(
            Command::new("list")
                .about("Prints id, state, payload and URL of each, separated by tabs")
                .arg(organization_argument()),
        )
        .subcommand(
            Command::new("ping")
                .about("Sends a signed message of type webhook.ping now; fails where the endpoint does not take it")
                .arg(organization_argument())
                .arg(endpoint()),
        )
        .subcommand(
            Command::new("replay")
                .about("Has events delivered once more, at most 10000 at a time; prints how many")
                .arg(organization_argument())
                .arg(endpoint())
                .arg(
                    option("event", "EVENT", "The id of one event")
                        .conflicts_with("from")
                        .required_unless_present("from"),
                )
                .arg(option("from", "SEQUENCE", "The sequence of the first event"))
                .arg(
                    option("to", "SEQUENCE", "The sequence of the last event; up to now where it is left out")
                        .requires("from"),
                ),
        )
}

pub(super) async fn run(matches: &ArgMatches, config: &Config, stores: &Stores) -> anyhow::Result<String> {
    let (action, matches) = matches.subcommand().context("a verb is required")?;
    let organization = organization_of(matches)?;
    match action {
        "list" => {
            let all = stores.webhooks.endpoints(organization).await?;
            Ok(all.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        "ping" => ping(organization, matches, config, stores).await,
        _ => replay(organization, matches, config, stores).await,
    }
}

fn line(endpoint: &WebhookEndpoint) -> String {
    let state = match endpoint.status() {
        EndpointStatus::Enabled => "enabled".to_owned(),
        EndpointStatus::Disabled { cause, .. } => format!("disabled: {}", cause.label()),
    };
    format!("{}\t{state}\t{}\t{}", endpoint.id(), endpoint.form().label(), endpoint.url().as_str())
}

fn id_of(matches: &ArgMatches) -> anyhow::Result<WebhookId> {
    WebhookId::parse(text(matches, "ENDPOINT")).map_err(|error| anyhow::anyhow!("ENDPOINT: {error}"))
}

async fn ping(
    organization: OrganizationId,
    matches: &ArgMatches,
    config: &Config,
    stores: &Stores,
) -> anyhow::Result<String> {
    let found = stores.webhooks.endpoint(organization, id_of(matches)?).await?;
    let endpoint = found.context("there is no such endpoint in that organization")?;
    let random = BlockIds::new(std::sync::Arc::clone(&stores.customers)).random();
    let message = Message::ping(&endpoint, random, config.clock.now().at);
    let reply = routes::outbound(config).courier.carry(&message).await;
    let status = reply.status.map_or(String::new(), |status| format!(", answered {status}"));
    match reply.failure {
        None => Ok(format!("delivered{status}")),
        Some(failure) => bail!("not delivered: {}{status}", failure.label()),
    }
}

async fn replay(
    organization: OrganizationId,
    matches: &ArgMatches,
    config: &Config,
    stores: &Stores,
) -> anyhow::Result<String> {
    let (from, to) = range(organization, matches)?;
    let replay = Replay { organization, endpoint: id_of(matches)?, from, to, now: config.clock.now().at };
    let replayed = stores.webhooks.replay(&replay).await?;
    let replayed = replayed.context("there is no such endpoint in that organization")?;
    let rest = replayed.cut_after.map_or(String::new(), |last| format!("\tgo on with --from {}", last.get() + 1));
    Ok(format!("{}{rest}", replayed.count))
}

fn range(organization: OrganizationId, matches: &ArgMatches) -> anyhow::Result<(Sequence, Sequence)> {
    let event = text(matches, "event");
    if !event.is_empty() {
        let id = EventId::parse(event).filter(|id| id.organization == organization);
        let sequence = id.context("--event: must be the id of an event of that organization")?.sequence;
        return Ok((sequence, sequence));
    }
    let number = |name: &str| {
        let parsed = text(matches, name).parse().ok().and_then(|number| Sequence::parse(number).ok());
        parsed.with_context(|| format!("--{name}: must be a positive whole number"))
    };
    let last = Sequence::parse(i64::MAX).context("the greatest number is positive")?;
    Ok((number("from")?, if text(matches, "to").is_empty() { last } else { number("to")? }))
}
