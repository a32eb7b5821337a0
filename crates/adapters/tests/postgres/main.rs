//! What PostgreSQL alone can do wrong: several programs on one database, a server that goes away, and a schema that
//! has to stay distributable.

mod faults;
mod migrations;
mod races;
mod schema;
#[path = "../support/mod.rs"]
mod support;
