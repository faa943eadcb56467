//! Runs all inputs that fuzzing found interesting.

use std::{fs, path::Path};

use sqjobs_tests::fuzz::TARGETS;

#[test]
fn the_saved_corpus_of_the_fuzzers_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in TARGETS {
        let folder = corpus.join(name);
        let inputs: Vec<_> = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten().collect();
        assert!(inputs.len() > 5, "{name} has a corpus");
        for input in inputs {
            target(&fs::read(input.path()).expect("a file can be read"));
        }
    }
}
