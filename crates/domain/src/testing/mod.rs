//! Strategies for every value, command and command sequence, and the invariants of a customer's life as functions:
//! for the property tests of this crate and of every crate that keeps customers. Must not know a store.

mod invariants;
mod strategies;

pub use invariants::{
    Model, Violation, applies_once_per_version, events_tell_the_whole_state, follows_the_table, model_agrees,
    refusal_changes_nothing, replay_rebuilds,
};
pub use strategies::{
    Life, account_details, account_draft, account_put, acquisition, acquisition_patch, caller_command, card,
    card_draft, card_key, client_type, closing_terms, command_sequence, customer, customer_patch, date, date_near,
    email_address, enrolment, external_id, full_name, id, mobile_number, moment, name, name_part, name_patch,
    new_customer, programme_item, timestamp,
};
