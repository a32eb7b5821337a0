//! The rules of the house hold on this source tree, and each check notices what it is there for.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use custodia_tests::architecture::{
    adapter_faults, adapters_dependency_faults, domain_dependency_faults, domain_faults, migration_faults, packages,
    paths,
};
use serde_json::{Value, json};

const DIALECTS: [&str; 3] = ["crm", "lms", "publisher"];
const NONE: [&str; 0] = [];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust source below a folder except tests, as (path relative to the folder, text).
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                if !name.split('/').any(|part| part == "tests" || part == "tests.rs") {
                    found.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    found
}

/// The modules under `http` that speak a dialect.
fn dialects(adapters: &Path) -> Vec<&'static str> {
    DIALECTS.into_iter().filter(|dialect| adapters.join("http").join(dialect).is_dir()).collect()
}

fn names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(root().join("migrations").join(folder)).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// What cargo prints.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).arg("--locked").current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The packages that a package needs to run.
fn reached(package: &str) -> BTreeSet<String> {
    packages(&cargo(&["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--target", "all"]))
}

#[test]
fn the_domain_reaches_no_io_and_its_optional_dependencies_are_values_and_tests() {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).unwrap();
    let manifests = metadata["packages"].as_array().unwrap();
    let domain = manifests.iter().find(|package| package["name"] == "custodia-domain").unwrap();
    let reached = reached("custodia-domain");
    assert!(reached.contains("jiff") && reached.contains("thiserror"), "nothing seen: {reached:?}");
    assert_eq!(domain_dependency_faults(&reached, domain), NONE);
}

#[test]
fn the_adapters_reach_the_domain_and_not_the_app() {
    let reached = reached("custodia-adapters");
    assert!(reached.contains("custodia-domain") && reached.contains("mio"), "nothing seen: {reached:?}");
    assert_eq!(adapters_dependency_faults(&reached), NONE);
}

#[test]
fn the_domain_reads_no_clock_and_reaches_nothing_outside_the_process() {
    let sources = sources(&root().join("crates/domain/src"));
    assert!(sources.len() > 1, "no sources found");
    let faults: Vec<String> = sources.iter().flat_map(|(path, text)| domain_faults(path, text)).collect();
    assert_eq!(faults, NONE);
}

#[test]
fn dialects_stores_and_http_know_the_domain_but_not_each_other() {
    let folder = root().join("crates/adapters/src");
    let (sources, dialects) = (sources(&folder), dialects(&folder));
    assert!(sources.len() > 1, "no sources found");
    let faults: Vec<String> = sources.iter().flat_map(|(path, text)| adapter_faults(path, text, &dialects)).collect();
    assert_eq!(faults, NONE);
}

#[test]
fn both_databases_have_the_same_migrations() {
    assert_eq!(migration_faults(&names("postgres"), &names("sqlite")), NONE);
}

#[test]
fn a_migration_in_one_folder_only_is_noticed() {
    let both = BTreeSet::from(["0001_customers.sql".to_owned()]);
    let more = BTreeSet::from(["0001_customers.sql".to_owned(), "0002_loans.sql".to_owned()]);
    assert_eq!(migration_faults(&both, &both), NONE);
    assert_eq!(migration_faults(&both, &more), ["only one folder has 0002_loans.sql"]);
    assert_eq!(migration_faults(&BTreeSet::new(), &BTreeSet::new()), ["there are no migrations"]);
}

#[test]
fn a_forbidden_crate_is_noticed_however_far_away() {
    let reached = packages("custodia-domain v0.1.0 (/x)\nmiddle v1.0.0\ntokio v1.0.0 (*)\n");
    let manifest = json!({"dependencies": [
        {"name": "middle", "kind": null, "optional": false},
        {"name": "proptest", "kind": null, "optional": true},
        {"name": "log", "kind": null, "optional": true},
        {"name": "rand", "kind": "dev", "optional": false},
    ]});
    assert_eq!(
        domain_dependency_faults(&reached, &manifest),
        ["the domain reaches tokio", "the domain has the optional dependency log"]
    );
    assert_eq!(adapters_dependency_faults(&reached), NONE);
    assert_eq!(adapters_dependency_faults(&packages("custodia v0.1.0 (/x)")), ["the adapters reach the app"]);
}

#[test]
fn a_dialect_that_imports_another_one_is_noticed_in_every_spelling() {
    for source in [
        "use crate::http::lms::Error;",
        "use crate::{clock, http::{problem, lms}};",
        "use super::super::lms;",
        "fn f() { super::lms::answer() }",
        "pub use super::{self, lms as other};",
    ] {
        assert_eq!(adapter_faults("http/crm/customers.rs", source, &DIALECTS).len(), 1, "{source}");
        assert_eq!(adapter_faults("http/crm.rs", source, &DIALECTS).len(), 1, "{source}");
        assert_eq!(adapter_faults("http/mod.rs", source, &DIALECTS), NONE, "the wiring may know them all");
    }
    for source in [
        "// use crate::http::lms;\n/* super::lms */ use crate::http::crm::Error;",
        r##"const A: &str = "super::lms"; const B: &str = r#"" super::lms::x"#;"##,
        "fn f() {}\n#[cfg(test)]\nmod tests { use crate::http::lms; }",
        "let lms = 1; Dialect::Lms;",
    ] {
        assert_eq!(adapter_faults("http/crm/customers.rs", source, &DIALECTS), NONE, "{source}");
    }
}

#[test]
fn a_store_that_knows_http_and_http_that_knows_a_store_are_noticed() {
    for source in ["use crate::http::Problem;", "use crate::{clock, http};", "use super::super::http::x;"] {
        assert_eq!(adapter_faults("postgres/customers.rs", source, &DIALECTS).len(), 1, "{source}");
    }
    assert_eq!(adapter_faults("postgres/customers.rs", "use http::StatusCode;", &DIALECTS), NONE);
    assert_eq!(adapter_faults("http/lms/a.rs", "fn f() { crate::sqlite::open() }", &DIALECTS).len(), 1);
    assert_eq!(adapter_faults("http/lms/a.rs", "use crate::memory::MemoryStore;", &DIALECTS).len(), 1);
    assert_eq!(adapter_faults("http/lms/a.rs", "use std::memory;", &DIALECTS), NONE);
}

#[test]
fn a_wall_clock_is_noticed_outside_the_clock() {
    let source = "use jiff::Timestamp; fn f() { let now = Timestamp::now(); }";
    assert_eq!(adapter_faults("sqlite/mod.rs", source, &DIALECTS).len(), 1);
    assert_eq!(adapter_faults("clock.rs", source, &DIALECTS), NONE);
    assert_eq!(domain_faults("customer.rs", "let at = std::time::SystemTime::now();").len(), 1);
    assert_eq!(domain_faults("customer.rs", "let at = clock.now(); MyTimestamp::now_of(x);"), NONE);
    assert_eq!(domain_faults("customer.rs", "use std::{collections::BTreeMap, env};").len(), 1);
}

#[test]
fn groups_of_a_use_are_written_out() {
    assert_eq!(paths("use a::{b, c::{d, e as f}, g::*};"), ["a::b", "a::c::d", "a::c::e", "a::g::*"]);
    assert_eq!(paths("let x: Vec<a::B<'a>> = c::d::<e::F>('\\'', ':');"), ["a::B", "c::d", "e::F"]);
}
