# The recipes of the project; `just` lists them.
set shell := ["bash", "-euo", "pipefail", "-c"]

_default:
    @just --list --unsorted

# Starts the service on SQLite at 127.0.0.1:8080; arguments go to the command line (`just run --help`)
run *arguments:
    cargo run --release --locked -- {{ arguments }}

# Every test on every store; arguments go to `cargo test`
test *arguments:
    ./scripts/test {{ arguments }}

# Does it compile, tests included?
check:
    cargo check --workspace --all-targets --all-features --locked

# Formats the sources
fmt:
    cargo fmt --all

clippy:
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --locked

# Licences, banned crates, sources: what can be decided without a network
deny:
    cargo deny --all-features check licenses bans sources

# Known vulnerabilities of the dependencies; fetches the database of rustsec.org
advisories:
    cargo deny --all-features check advisories

# Measures the service beside pgbench in a private PostgreSQL (`just bench --help`); needs Debian's `wrk`
bench *arguments:
    cargo build --release --locked -p custodia -p custodia-bench
    scripts/with-postgres --durable target/release/custodia-bench {{ arguments }}

# Times the domain and the JSON edge in one process (`just criterion --help`); arguments go to criterion
criterion *arguments:
    cargo bench --locked -p custodia-domain --bench customers -- {{ arguments }}
    cargo bench --locked -p custodia-adapters --bench edge -- {{ arguments }}

# Three times what the service can do: what it still does, and how fast it sheds the rest
overload *arguments:
    cargo build --release --locked -p custodia -p custodia-bench
    scripts/with-postgres --durable target/release/custodia-bench --cells overload --rounds 1 --seconds 10 {{ arguments }}

# Idle connections, and the memory that they take
idle connections="10000":
    cargo build --locked -p custodia
    ulimit -n 65536 && CUSTODIA_TEST_IDLE_CONNECTIONS={{ connections }} \
        cargo test --locked -p custodia-tests --test limits idle -- --nocapture

# Tries every operation of /openapi.json: `just schemathesis 1000`; needs Python, and its package index the first time
schemathesis *arguments:
    scripts/schemathesis {{ arguments }}

# Fuzzes one decoder: `just fuzz json 600`; without a target it lists them
fuzz *arguments:
    scripts/fuzz {{ arguments }}

# Changes the domain line by line and names the changes that no test of it notices; needs `cargo install cargo-mutants`
mutants *arguments:
    PROPTEST_CASES=64 cargo mutants --package custodia-domain --test-package custodia-domain --jobs 1 {{ arguments }}

# Brings a database to the current schema; CUSTODIA_DATABASE_URL names it
migrate:
    cargo run --locked -- migrate

# Writes docs/openapi.json as the binary serves it
openapi:
    cargo run --locked -- openapi > docs/openapi.json

# Kills the service and its database N times in each way, and proves that nothing is lost
crash rounds="10":
    CUSTODIA_TEST_ROUNDS={{ rounds }} RUST_TEST_THREADS=2 ./scripts/test -p custodia-tests --test crash -- --include-ignored --nocapture

# Every fault between the service and its database N times
faults rounds="1":
    CUSTODIA_TEST_ROUNDS={{ rounds }} RUST_TEST_THREADS=2 ./scripts/test -p custodia-tests --test faults --test failover -- --include-ignored --nocapture

# What must hold before a change lands
ci:
    cargo fmt --all --check
    just clippy
    just doc
    just deny
    just test
