//! The built `custodia` binary: where it is, and its command line run to an end.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};

/// The binary of the same build as the running test: `target/<profile>/custodia`.
///
/// # Errors
/// It is not built.
pub fn path() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("the test does not know its own path")?;
    let folder = test.parent().and_then(Path::parent).context("the test is in no target folder")?;
    let binary = folder.join("custodia");
    ensure!(
        binary.is_file(),
        "{} is not built: run scripts/test, or `cargo build --all-features` before the tests",
        binary.display()
    );
    Ok(binary)
}

/// The binary as a command that inherits no setting from the environment of the tests.
///
/// # Errors
/// It is not built.
pub fn command(settings: &[(String, String)], folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(path()?);
    command.env_clear().envs(settings.iter().map(|(key, value)| (key, value))).current_dir(folder);
    Ok(command)
}

/// Runs a verb of the command line to its end, with this standard input.
///
/// # Errors
/// The binary is not built or cannot be started.
pub fn run(settings: &[(String, String)], folder: &Path, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
    let mut child = command(settings, folder)?
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A verb that reads nothing may have ended already: that is its right.
        let _ = stdin.write_all(input.as_bytes());
    }
    Ok(child.wait_with_output()?)
}

/// What a verb of the command line prints on standard output, trimmed.
///
/// # Errors
/// It fails; the error has its arguments and what it wrote on standard error.
pub fn printed(
    settings: &[(String, String)],
    folder: &Path,
    arguments: &[&str],
    input: &str,
) -> anyhow::Result<String> {
    let output = run(settings, folder, arguments, input)?;
    ensure!(
        output.status.success(),
        "custodia {} failed, {}: {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
