//! What the ports say a store does, sentence by sentence, on every store in the same run. A new store is added to
//! the macro and nowhere else.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

/// Makes of each function one test for each store.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::memory().await).await;
            })*
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::sqlite().await).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::postgres().await).await;
            })*
        }
    };
}

mod accounts;
mod as_of;
mod commit;
mod companies;
mod counters;
mod credentials;
mod directory;
mod events;
mod facets;
mod find;
mod list;
mod loans;
mod log;
mod receipts;
#[path = "../support/mod.rs"]
mod support;
mod webhook_use_cases;
mod webhooks;
