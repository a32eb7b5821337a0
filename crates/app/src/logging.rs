//! The log: structured, on standard error. It must not know what is logged; that nothing personal is, each place sees to itself.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Begins to log as configured. To be called once.
///
/// # Errors
/// The level is none.
pub fn begin(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&config.log_level).context("--log-level: must be a level such as info")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    match config.log_format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is logged where it happened. Its message is a text of the program only where nothing was formatted into it: what was,
/// may be somebody's name.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(formatted)");
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    tracing::error!(place, text, "panicked");
}
