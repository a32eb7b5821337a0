//! What fuzzing has found worth keeping, run through the same targets: `fuzz/corpus/<target>/` and every start of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../../fuzz/src/targets.rs"]
mod targets;

use std::path::Path;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn every_target_has_a_corpus_and_passes_it_whole_and_cut_short() {
    for (name, target) in targets::TARGETS {
        let inputs = corpus(name);
        assert!(inputs.len() >= 3, "{name} has a corpus of {}", inputs.len());
        for input in inputs {
            target(&input);
            for end in [1, 4, 8].map(|part| input.len() * part / 9) {
                target(&input[..end]);
            }
        }
    }
}
