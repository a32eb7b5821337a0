//! The log: structured, on standard error. It must not know what is logged; that nothing personal is, each place sees to itself.

use std::io::IsTerminal as _;

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
    Ok(())
}
