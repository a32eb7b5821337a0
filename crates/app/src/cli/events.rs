//! The verb over an organization's events. It reads the store itself, so that it works while no service runs.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use custodia_adapters::event_json::{EventBody, EventId, type_named};
use custodia_domain::ports::CustomerStore;
use custodia_domain::registry::{FeedQuery, read_feed};
use custodia_domain::{OrganizationId, Sequence};

use super::{organization_argument, organization_of, text};
use crate::stores::Stores;

/// How often a follower looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn events() -> Command {
    let after = Arg::new("after").long("after").value_name("CURSOR");
    let types = Arg::new("types").long("types").value_name("TYPES");
    let follow = Arg::new("follow").long("follow").action(ArgAction::SetTrue);
    Command::new("events").about("An organization's events: tail").subcommand_required(true).subcommand(
        Command::new("tail")
            .about("Prints the events, oldest first, one JSON object a line")
            .arg(organization_argument())
            .arg(after.help("Begins after the event of that `id`, or `now`; with the first event where it is left out"))
            .arg(types.help("Only events of these types, by commas"))
            .arg(follow.help("Goes on with what is committed from then on, until it is told to stop")),
    )
}

pub(super) async fn run(matches: &ArgMatches, stores: &Stores) -> anyhow::Result<String> {
    let (_, matches) = matches.subcommand().context("a verb is required")?;
    let organization = organization_of(matches)?;
    let customers = &*stores.customers;
    let known = stores.directory.offices(organization).await?.is_some();
    ensure!(known, "there is no such organization");
    let query = FeedQuery {
        organization,
        after: place(text(matches, "after"), organization, customers).await?,
        kinds: kinds(text(matches, "types"))?,
        customer: None,
        limit: 500,
    };
    let stop = async {
        // A signal that cannot be caught ends the process as it ends every other.
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::select! {
        told = tell(query, matches.get_flag("follow"), customers) => told?,
        () = stop => {}
    }
    Ok(String::new())
}

/// Prints page after page, to the end of the log or, following, without end.
async fn tell(mut query: FeedQuery, follow: bool, customers: &dyn CustomerStore) -> anyhow::Result<()> {
    loop {
        let page = read_feed(customers, &query).await?;
        let mut lines = Vec::new();
        for entry in &page.entries {
            serde_json::to_writer(&mut lines, &EventBody::full(query.organization, entry))?;
            lines.push(b'\n');
        }
        if is_deaf(print(&lines))? {
            return Ok(());
        }
        query.after = page.looked_through;
        if !page.more {
            if !follow {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn print(lines: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(lines).and_then(|()| output.flush())
}

/// Whether whoever read the lines has had enough of them, which is no failure.
fn is_deaf(printed: io::Result<()>) -> anyhow::Result<bool> {
    match printed {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

async fn place(
    after: &str,
    organization: OrganizationId,
    customers: &dyn CustomerStore,
) -> anyhow::Result<Option<Sequence>> {
    match after {
        "" => Ok(None),
        "now" => Ok(customers.last_sequences(&[organization]).await?.into_iter().next().flatten()),
        id => {
            let id = EventId::parse(id).filter(|id| id.organization == organization);
            Ok(Some(id.context("--after: must be `now` or the id of an event of that organization")?.sequence))
        }
    }
}

fn kinds(names: &str) -> anyhow::Result<Vec<&'static str>> {
    let named = names.split(',').filter(|name| !name.is_empty());
    named.map(|name| type_named(name).with_context(|| format!("--types: there is no type {name}"))).collect()
}
