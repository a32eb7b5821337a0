//! What the black-box tests stand on: the built binary as a process, databases to run it on, and answers to look at.
//!
//! It owns starting, stopping and talking to `custodia` from outside. It knows the command line, the settings and
//! HTTP; it must not know any crate of the service: what these tests see is what a client sees.

pub mod answer;
pub mod architecture;
pub mod binary;
pub mod calendar;
pub mod cluster;

pub mod endpoints;
pub mod outage;
pub mod points;
pub mod postgres;
pub mod proof;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod server;
pub mod tour;
pub mod workload;

pub use answer::Answer;
pub use calendar::day;
pub use cluster::Cluster;
pub use proxy::Proxy;

pub use raw::encoded;
pub use server::{Backend, Credentials, Options, Server};

/// Expands each test into `sqlite::name` and `postgres::name`, so that no database is left out of a run.
///
/// A test takes a [`Server`] that is started and has an organization with credentials, or the [`Backend`] alone where
/// it starts the server itself with its own [`Options`]:
///
/// ```text
/// both! {
///     async fn a_created_customer_is_found_again(server: Server) { ... }
///     async fn the_rate_limit_holds(backend: Backend) { ... }
/// }
/// ```
///
/// Once for each test file; the test package needs nothing else in scope.
#[macro_export]
macro_rules! both {
    ($($(#[$attribute:meta])* async fn $name:ident($($argument:ident)+ : $kind:ident) $body:block)+) => {
        $($(#[$attribute])*
        #[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
        async fn $name($($argument)+: $crate::$kind) $body)+

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::both!(@given $kind, Sqlite)).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::both!(@given $kind, Postgres)).await;
            })+
        }
    };
    (@given Server, $backend:ident) => {
        $crate::Server::start($crate::Backend::$backend, $crate::Options::default()).await
    };
    (@given Backend, $backend:ident) => {
        $crate::Backend::$backend
    };
}

/// The setting that makes a test longer: how often it does what it does.
pub const ROUNDS: &str = "CUSTODIA_TEST_ROUNDS";

/// How often a test does what it does: as often as it says, or as [`ROUNDS`] says for a longer run.
///
/// # Panics
/// [`ROUNDS`] is no number.
#[must_use]
pub fn rounds(short: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "a setting of the tests, which the service does not know")]
    let set = std::env::var(ROUNDS);
    set.map_or(short, |rounds| rounds.parse().expect("the number of rounds is a number"))
}
