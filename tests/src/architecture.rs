//! The rules of the house, each a function over what it looks at, so that it can be tried on something that breaks it.
//!
//! It owns which part may know which. What it looks at is handed in: what cargo says
//! of the dependencies, and sources as text.

use std::collections::BTreeSet;

use serde_json::Value;

/// What the domain must not reach, by any road: I/O, runtimes, logging, the clock of the machine, randomness.
const NOT_IN_THE_DOMAIN: [&str; 24] = [
    "axum",
    "chrono",
    "custodia",
    "custodia-adapters",
    "fastrand",
    "getrandom",
    "http",
    "hyper",
    "log",
    "metrics",
    "mio",
    "rand",
    "rand_core",
    "reqwest",
    "rustix",
    "rustls",
    "serde_json",
    "socket2",
    "sqlx",
    "tokio",
    "tower",
    "tracing",
    "utoipa",
    "uuid",
];

/// Optional dependencies of the domain: values for other services' wire formats, and what only tests switch on.
const OPTIONAL_IN_THE_DOMAIN: [&str; 3] = ["mockall", "proptest", "serde"];

/// The stores: modules of the adapters crate.
const STORES: [&str; 3] = ["memory", "postgres", "sqlite"];

/// Every way to ask the machine for the time.
const WALL_CLOCKS: [&str; 5] = ["SystemTime::now", "Timestamp::now", "Zoned::now", "Utc::now", "Local::now"];

/// Parts of the standard library that reach out of the process, or into its surroundings.
const SURROUNDINGS: [&str; 5] = ["env", "fs", "net", "process", "thread"];

/// The packages that `cargo tree --prefix none` names.
#[must_use]
pub fn packages(tree: &str) -> BTreeSet<String> {
    tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What the domain reaches and must not, and what it may switch on and must not; empty when all is well.
///
/// `reached` are the packages it needs to run, `manifest` its entry in `cargo metadata`.
#[must_use]
pub fn domain_dependency_faults(reached: &BTreeSet<String>, manifest: &Value) -> Vec<String> {
    let forbidden = NOT_IN_THE_DOMAIN
        .iter()
        .filter(|name| reached.contains(**name))
        .map(|name| format!("the domain reaches {name}"));
    let optional = manifest["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| dependency["kind"].is_null() && dependency["optional"] == true)
        .filter_map(|dependency| dependency["name"].as_str())
        .filter(|name| !OPTIONAL_IN_THE_DOMAIN.contains(name))
        .map(|name| format!("the domain has the optional dependency {name}"));
    forbidden.chain(optional).collect()
}

/// What the adapters reach and must not.
#[must_use]
pub fn adapters_dependency_faults(reached: &BTreeSet<String>) -> Vec<String> {
    let app = reached.contains("custodia");
    app.then(|| "the adapters reach the app".to_owned()).into_iter().collect()
}

/// What is wrong with one source file of the adapters; `path` is relative to `crates/adapters/src`, `dialects` names
/// the modules under `http` that are dialects.
#[must_use]
pub fn adapter_faults(path: &str, source: &str, dialects: &[&str]) -> Vec<String> {
    let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    let paths = paths(source);
    let mut faults = clock_faults(path, &paths);
    if STORES.contains(&parts[0]) {
        let importing = paths.iter().filter(|used| own_module(used) == Some("http"));
        faults.extend(importing.map(|used| format!("{path}: a store knows {used}")));
    }
    if parts[0] == "http" {
        let importing = paths.iter().filter(|used| own_module(used).is_some_and(|module| STORES.contains(&module)));
        faults.extend(importing.map(|used| format!("{path}: HTTP knows {used}")));
        if let Some(dialect) = parts.get(1).filter(|part| dialects.contains(part)) {
            let others: Vec<&&str> = dialects.iter().filter(|other| *other != dialect).collect();
            let importing = paths
                .iter()
                .filter(|used| used.contains("::") && used.split("::").any(|segment| others.contains(&&segment)));
            faults.extend(importing.map(|used| format!("{path}: a dialect knows {used}")));
        }
    }
    faults
}

/// What is wrong with one source file of the domain; `path` is relative to `crates/domain/src`.
#[must_use]
pub fn domain_faults(path: &str, source: &str) -> Vec<String> {
    let paths = paths(source);
    let mut faults = clock_faults(path, &paths);
    let reaching = paths.iter().filter(|used| {
        let mut segments = used.split("::");
        segments.next() == Some("std") && segments.next().is_some_and(|module| SURROUNDINGS.contains(&module))
    });
    faults.extend(reaching.map(|used| format!("{path}: the domain reaches {used}")));
    faults
}

/// The files that only one of the two folders has.
#[must_use]
pub fn migration_faults(postgres: &BTreeSet<String>, sqlite: &BTreeSet<String>) -> Vec<String> {
    let mut faults: Vec<String> =
        postgres.symmetric_difference(sqlite).map(|name| format!("only one folder has {name}")).collect();
    if postgres.is_empty() {
        faults.push("there are no migrations".to_owned());
    }
    faults
}

/// Every `a::b` path that a source names outside comments, strings and its test module, `use` groups written out.
#[must_use]
pub fn paths(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let tokens = tokens(code);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            at = use_tree(&tokens, at + 1, "", &mut paths);
        } else if is_word(&tokens[at]) {
            let (path, next) = path(&tokens, at);
            if path.contains("::") {
                paths.push(path);
            }
            at = next;
        } else {
            at += 1;
        }
    }
    paths
}

/// Readings of the wall clock outside the module that owns it.
fn clock_faults(path: &str, paths: &[String]) -> Vec<String> {
    let owner = path == "clock.rs" || path.starts_with("clock/");
    paths
        .iter()
        .filter(|used| !owner && WALL_CLOCKS.iter().any(|clock| ends_with_path(used, clock)))
        .map(|used| format!("{path}: reads the wall clock, {used}"))
        .collect()
}

fn ends_with_path(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with("::"))
}

/// The module of its own crate that a path leads into: `b` of `crate::b::c` and of `super::super::b`.
fn own_module(path: &str) -> Option<&str> {
    let mut segments = path.split("::").peekable();
    if !matches!(segments.peek(), Some(&("crate" | "super"))) {
        return None;
    }
    segments.find(|segment| !matches!(*segment, "crate" | "super" | "self"))
}

/// The tree of one `use`, from the token at `at`; answers where it ends.
fn use_tree(tokens: &[String], mut at: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    let mut current = prefix.to_owned();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = use_tree(tokens, at, &current, paths);
                    if tokens.get(at).is_some_and(|token| token == ",") {
                        at += 1;
                    }
                }
                at += 1;
                return at;
            }
            "," | "}" | ";" => break,
            "as" => at += 2,
            token => {
                current.push_str(token);
                at += 1;
            }
        }
    }
    if !current.is_empty() {
        paths.push(current);
    }
    at
}

/// The path that begins at a word, and where it ends.
fn path(tokens: &[String], mut at: usize) -> (String, usize) {
    let mut path = tokens[at].clone();
    at += 1;
    while tokens.get(at).is_some_and(|token| token == "::") && tokens.get(at + 1).is_some_and(|token| is_word(token)) {
        path.push_str("::");
        path.push_str(&tokens[at + 1]);
        at += 2;
    }
    (path, at)
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words, `::` and single signs; comments and the insides of strings and characters are left out.
fn tokens(code: &str) -> Vec<String> {
    let code: Vec<char> = code.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let (here, next) = (code[at], code.get(at + 1).copied().unwrap_or(' '));
        let after = match (here, next) {
            ('/', '/') => position(&code, at, |rest| rest[0] == '\n'),
            ('/', '*') => position(&code, at + 2, |rest| rest.starts_with(&['*', '/'])) + 2,
            ('r', '"' | '#') if raw_string(&code, at).is_some() => raw_string(&code, at).unwrap_or(at + 1),
            ('"', _) => string_end(&code, at),
            ('\'', '\\') => position(&code, at + 3, |rest| rest[0] == '\'') + 1,
            ('\'', _) if code.get(at + 2) == Some(&'\'') => at + 3,
            (':', ':') => {
                tokens.push("::".to_owned());
                at + 2
            }
            _ if here.is_alphanumeric() || here == '_' => {
                let end = position(&code, at, |rest| !(rest[0].is_alphanumeric() || rest[0] == '_'));
                tokens.push(code[at..end].iter().collect());
                end
            }
            _ => {
                if !here.is_whitespace() {
                    tokens.push(here.to_string());
                }
                at + 1
            }
        };
        at = after.max(at + 1);
    }
    tokens
}

/// The first place from `start` on where the rest of the code is like this; the end where there is none.
fn position(code: &[char], start: usize, is_it: impl Fn(&[char]) -> bool) -> usize {
    (start..code.len()).find(|at| is_it(&code[*at..])).unwrap_or(code.len())
}

fn string_end(code: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < code.len() && code[at] != '"' {
        at += if code[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Where the raw string that begins here ends; `None` where none begins (a raw identifier, a name ending in r).
fn raw_string(code: &[char], start: usize) -> Option<usize> {
    let hashes = code[start + 1..].iter().take_while(|sign| **sign == '#').count();
    if code.get(start + 1 + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    Some(position(code, start + 2 + hashes, |rest| rest.starts_with(&close)) + close.len())
}
