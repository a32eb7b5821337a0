//! The commands of the README's tour work as they stand.

use std::fs;
use std::process::Command;

use custodia_tests::{both, tour};

both! {
    async fn every_command_of_the_tour_succeeds(server: Server) {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
        let commands = tour::commands(&readme);
        assert!(commands.len() >= 5, "the tour has only {} commands", commands.len());
        // One shell runs them all, so that a later one finds what an earlier one has set.
        let mut script = "set -euo pipefail\n".to_owned();
        for command in &commands {
            script.push_str("echo \"README.md:");
            script.push_str(&command.line.to_string());
            script.push_str("\" >&2\n");
            script.push_str(&command.text);
        }
        let (base, token, key) = (server.url(""), server.token().to_owned(), server.api_key().to_owned());
        let output = tokio::task::spawn_blocking(move || {
            Command::new("bash")
                .args(["-c", &script])
                .envs([("BASE", base), ("TOKEN", token), ("KEY", key)])
                .output()
                .unwrap()
        })
        .await
        .unwrap();
        assert!(
            output.status.success(),
            "the last command named here failed:\n{}{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
    }
}
