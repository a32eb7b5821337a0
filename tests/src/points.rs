//! Points within the service at which it is killed, and faults of its disk: a library preloaded into the binary as it is.
//!
//! It owns building that library from `points.c`, which says what there is. It must not know the binary: nothing in the
//! service is there for this.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, ensure};

use crate::binary;
use crate::postgres::random;

/// The variable that has a library preloaded.
pub const PRELOAD: &str = "LD_PRELOAD";
/// The variable that names a point and its time: `answer:7`.
pub const POINT: &str = "CUSTODIA_TEST_POINT";
/// The variable that names a file: while it exists, the disk is full.
pub const FULL: &str = "CUSTODIA_TEST_FULL";
/// The variable that names a file: while it exists, nothing can be synced.
pub const UNSYNCABLE: &str = "CUSTODIA_TEST_UNSYNCABLE";

/// Every point that a service on SQLite comes to.
pub const ON_SQLITE: [&str; 4] = ["wal-write", "wal-sync", "wal-synced", "answer"];

/// The library, built once for each test process by the C compiler that building the service needs as well.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn library() -> String {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| build().unwrap_or_else(|error| panic!("{error:#}")).display().to_string()).clone()
}

fn build() -> anyhow::Result<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/points.c");
    let folder = binary::path()?.with_file_name("custodia-points");
    std::fs::create_dir_all(&folder)?;
    // Several test processes may build it at once: each puts a whole file in the place of the last one's.
    let (fresh, library) = (folder.join(format!("{:016x}.so", random())), folder.join("points.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&fresh).arg(source).arg("-ldl");
    let output = compiler.output().context("there is no C compiler")?;
    ensure!(output.status.success(), "points.c: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&fresh, &library)?;
    Ok(library)
}
