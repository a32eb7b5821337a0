//! Measures the real binary beside the database's own benchmark: the same work, in turns, round after round of one run,
//! since machines differ and change. Owns which cells there are and what is printed; must not know how any of it is started.
//!
//! `just bench` starts it within a private PostgreSQL with its default settings, fsync included.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

mod load;
mod overload;
mod postgres;
mod process;
mod service;
mod sqlite;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command, value_parser};

use load::{Kind, Load};
use postgres::{Database, Yardstick};
use service::Service;
use table::{Cell, Round, Table};

/// What is measured: which work, at how many connections, beside which yardstick, and the least ratio that is wanted.
struct Plan {
    name: &'static str,
    kind: Kind,
    connections: u32,
    beside: Yardstick,
    wanted: Option<f64>,
}

const PLANS: &[Plan] = &[
    plan("create", Kind::Create, 32, Yardstick::Create, Some(1.5)),
    plan("create", Kind::Create, 128, Yardstick::Create, Some(2.2)),
    plan("create", Kind::Create, 1, Yardstick::Create, None),
    plan("get", Kind::Get, 32, Yardstick::Get, Some(1.3)),
    plan("get", Kind::Get, 128, Yardstick::Get, Some(1.9)),
    plan("get-external", Kind::External, 32, Yardstick::External, Some(1.3)),
    plan("get-external", Kind::External, 128, Yardstick::External, Some(1.9)),
    plan("list-50", Kind::List, 32, Yardstick::List, Some(0.6)),
    plan("publisher-50", Kind::Publisher, 1, Yardstick::Batch, Some(0.8)),
    plan("publisher-50", Kind::Publisher, 8, Yardstick::Batch, Some(0.8)),
    plan("publisher-50-own-tables", Kind::Publisher, 1, Yardstick::OwnBatch, None),
    plan("crm-bulk-50", Kind::Bulk, 8, Yardstick::Batch, None),
];

const fn plan(name: &'static str, kind: Kind, connections: u32, beside: Yardstick, wanted: Option<f64>) -> Plan {
    Plan { name, kind, connections, beside, wanted }
}

fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").default_value(default).value_parser(value_parser!(u32)).help(help)
    };
    Command::new("custodia-bench")
        .about("Measures the service beside pgbench on the same work. Start it by `just bench`.")
        .arg(number("seconds", "5", "Seconds of each measurement"))
        .arg(number("rounds", "5", "How often each cell is measured; medians are shown"))
        .arg(number("rows", "100000", "Customers that are there before"))
        .arg(
            Arg::new("binary")
                .long("binary")
                .default_value("target/release/custodia")
                .value_parser(value_parser!(PathBuf))
                .help("The service to measure"),
        )
        .arg(Arg::new("cells").long("cells").value_delimiter(',').num_args(1..).help(
            "Only cells whose name begins with one of these, such as create or create/32; `sqlite`, `growth` and `overload` are cells too",
        ))
}

/// What was asked for.
struct Asked {
    seconds: u32,
    rounds: u32,
    rows: u32,
    binary: PathBuf,
    cells: Vec<String>,
}

impl Asked {
    fn of(matches: &ArgMatches) -> Self {
        let number = |name| *matches.get_one::<u32>(name).expect("it has a default");
        Self {
            seconds: number("seconds").max(1),
            rounds: number("rounds").max(1),
            rows: number("rows").max(1_000),
            binary: matches.get_one::<PathBuf>("binary").expect("it has a default").clone(),
            cells: matches.get_many::<String>("cells").map(|cells| cells.cloned().collect()).unwrap_or_default(),
        }
    }

    fn wants(&self, cell: &str) -> bool {
        self.cells.is_empty() && !["growth", "overload"].contains(&cell)
            || self.cells.iter().any(|wanted| cell.starts_with(wanted.as_str()))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let asked = Asked::of(&command().get_matches());
    anyhow::ensure!(
        asked.binary.exists(),
        "{} is not there: build it with `cargo build --release`",
        asked.binary.display()
    );
    let plans: Vec<&Plan> = PLANS.iter().filter(|plan| asked.wants(&label(plan))).collect();
    if !plans.is_empty() {
        on_postgres(&asked, &plans).await?;
    }
    if asked.wants("sqlite") {
        on_sqlite(&asked).await?;
    }
    if asked.wants("growth") {
        growth(&asked).await?;
    }
    if asked.wants("overload") {
        overload(&asked).await?;
    }
    Ok(())
}

fn label(plan: &Plan) -> String {
    format!("{}/{}", plan.name, plan.connections)
}

/// Every cell beside its yardstick, in turns.
async fn on_postgres(asked: &Asked, plans: &[&Plan]) -> anyhow::Result<()> {
    let database = Database::create("custodia_bench").await?;
    let service = Service::on_postgres(&asked.binary, database.url()).await?;
    eprintln!("seeding {} customers", asked.rows);
    database.seed(asked.rows).await?;
    database.prepare_yardsticks(asked.rows).await?;
    let load = Load::new(&service, asked.rows, asked.seconds).await?;
    let mut table = Table::default();
    for plan in plans {
        let mut cell = Cell::new(label(plan), plan.wanted);
        for round in 1..=asked.rounds {
            eprintln!("{} round {round} of {}", cell.name, asked.rounds);
            // Both begin with the same idle database.
            database.settle().await?;
            let beside = database.pgbench(plan.beside, plan.connections, asked.seconds)?;
            database.settle().await?;
            let before = (service.cpu()?, database.cpu()?);
            let measured = load.run(plan.kind, plan.connections)?;
            let after = (service.cpu()?, database.cpu()?);
            let each = |spent: Duration| spent.as_secs_f64() * 1e6 / f64::from(measured.requests.max(1));
            anyhow::ensure!(measured.failed == 0, "{} of {} requests failed", measured.failed, measured.requests);
            cell.rounds.push(Round {
                measured,
                beside,
                service_cpu: each(after.0.saturating_sub(before.0)),
                database_cpu: each(after.1.saturating_sub(before.1)),
                memory: service.memory()?,
            });
        }
        println!("{}", cell.line());
        table.cells.push(cell);
    }
    println!("\n{table}");
    service.stop().await
}

/// Creates on SQLite, beside one transaction for each row.
async fn on_sqlite(asked: &Asked) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let service = Service::on_sqlite(&asked.binary, folder.path()).await?;
    let load = Load::new(&service, 1, asked.seconds).await?;
    let mut table = Table::default();
    let mut cell = Cell::new("sqlite-create/32".to_owned(), Some(3.0));
    for round in 1..=asked.rounds {
        eprintln!("{} round {round} of {}", cell.name, asked.rounds);
        let beside = sqlite::one_by_one(&folder.path().join("yardstick.db"), asked.seconds).await?;
        let before = service.cpu()?;
        let measured = load.run(Kind::Create, 32)?;
        let spent = service.cpu()?.saturating_sub(before);
        anyhow::ensure!(measured.failed == 0, "{} of {} requests failed", measured.failed, measured.requests);
        let service_cpu = spent.as_secs_f64() * 1e6 / f64::from(measured.requests.max(1));
        cell.rounds.push(Round { measured, beside, service_cpu, database_cpu: 0.0, memory: service.memory()? });
    }
    table.cells.push(cell);
    println!("\n{table}");
    service.stop().await
}

/// Three times what the service can do.
async fn overload(asked: &Asked) -> anyhow::Result<()> {
    let database = Database::create("custodia_overload").await?;
    let service = Service::on_postgres(&asked.binary, database.url()).await?;
    for round in 1..=asked.rounds {
        let fared = overload::run(&service, asked.seconds).await?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "overload round {round}: capacity {:.0}/s, offered {:.0}/s, done {:.0}/s ({:.0} %) in {:.0} / {:.0} ms, \
             {} shed in {:.1} / {:.1} ms, memory {} to {} KiB",
            fared.capacity,
            fared.offered,
            fared.done,
            100.0 * fared.done / fared.capacity,
            ms(fared.done_in.0),
            ms(fared.done_in.1),
            fared.shed,
            ms(fared.shed_in.0),
            ms(fared.shed_in.1),
            fared.memory.0,
            fared.memory.1,
        );
    }
    service.stop().await
}

/// The same reads and creates at three sizes of the register.
async fn growth(asked: &Asked) -> anyhow::Result<()> {
    println!("customers | work | requests/s | p50 ms | p99 ms");
    for rows in [100_000, 1_000_000, 10_000_000] {
        if rows > asked.rows.max(1_000_000) {
            eprintln!("{rows} customers are left out: ask for them with --rows {rows}");
            continue;
        }
        let database = Database::create("custodia_growth").await?;
        let service = Service::on_postgres(&asked.binary, database.url()).await?;
        eprintln!("seeding {rows} customers");
        database.seed(rows).await?;
        let mut load = Load::new(&service, rows, asked.seconds).await?;
        for kind in [
            Kind::Get,
            Kind::External,
            Kind::List,
            Kind::DeepCursor,
            Kind::DeepPage,
            Kind::Name,
            Kind::Email,
            Kind::Phone,
            Kind::Create,
        ] {
            if kind == Kind::DeepCursor {
                load.walk_far().await?;
            }
            database.settle().await?;
            let measured = load.run(kind, 8)?;
            anyhow::ensure!(measured.failed == 0, "{} of {} requests failed", measured.failed, measured.requests);
            println!(
                "{rows} | {} | {:.0} | {:.2} | {:.2}",
                kind.name(),
                measured.per_second,
                measured.p50.as_secs_f64() * 1e3,
                measured.p99.as_secs_f64() * 1e3
            );
        }
        service.stop().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_a_cell_is_chosen_by_the_beginning_of_its_name() {
        command().debug_assert();
        let asked = |arguments: &[&str]| Asked::of(&command().get_matches_from(arguments));
        assert!(asked(&["bench"]).wants("get/32"));
        assert!(!asked(&["bench"]).wants("growth"), "it takes long and is asked for by name");
        let creates = asked(&["bench", "--cells", "create/32,growth"]);
        assert!(creates.wants("create/32") && creates.wants("growth") && !creates.wants("create/1"));
    }
}
