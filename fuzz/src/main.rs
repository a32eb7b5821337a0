//! One program for all targets: `CUSTODIA_FUZZ_TARGET` names the one that is fuzzed. What they do is in `targets.rs`, which the
//! ordinary tests of the adapters run over the corpus.

#![no_main]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("CUSTODIA_FUZZ_TARGET").unwrap_or_default();
        let target = targets::TARGETS.iter().find(|(known, _)| *known == name);
        let names: Vec<&str> = targets::TARGETS.iter().map(|(known, _)| *known).collect();
        let (_, run) = target.unwrap_or_else(|| panic!("CUSTODIA_FUZZ_TARGET is one of {names:?}"));
        TARGET.get_or_init(|| *run);
    },
    |data: &[u8]| {
        TARGET.get().expect("the target is chosen at the start")(data);
    }
);
