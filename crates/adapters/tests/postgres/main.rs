//! What PostgreSQL alone can do wrong: several programs on one database, a server that goes away, and a schema that
//! has to stay distributable.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod faults;
mod migrations;
mod races;
mod records;
mod schema;
#[path = "../support/mod.rs"]
mod support;
mod webhooks;
