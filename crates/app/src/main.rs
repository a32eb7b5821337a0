//! The `custodia` binary: settings, wiring and the command line.

mod bootstrap;
mod chores;
mod cli;
mod config;
mod logging;
mod routes;
mod serve;
mod stores;

use std::io::Write as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(std::env::args_os().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(std::io::stderr(), "custodia: {line}");
            ExitCode::FAILURE
        }
    }
}
