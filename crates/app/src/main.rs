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
    keep_to_small_pages();
    match cli::run(std::env::args_os().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(std::io::stderr(), "custodia: {line}");
            ExitCode::FAILURE
        }
    }
}

/// A page of two megabytes holds memory that nobody asked for: where the system gives them out by itself, the service takes twice
/// as much as it uses. A system that refuses has its reasons.
#[cfg(target_os = "linux")]
fn keep_to_small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
fn keep_to_small_pages() {}
