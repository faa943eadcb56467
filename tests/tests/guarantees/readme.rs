//! The README agrees with the tests.

use std::{collections::BTreeSet, fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn every_test_that_the_readme_names_exists() {
    let read = |file: &str| fs::read_to_string(Path::new(ROOT).join(file)).expect("there is a README and a guide");
    let readme = read("README.md") + &read("docs/deploy.md");
    let there = tests();
    let named: Vec<_> = readme.lines().filter(|line| line.starts_with('|')).flat_map(names).collect();
    assert!(named.len() > 20, "the README names its tests: {named:?}");
    for name in named {
        assert!(there.contains(name), "the README names {name}, which is no test");
    }
}

/// Returns the test names in a line of a table, such as `module::test`.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|name| name.contains("::") && !name.contains('('))
}

/// Returns every test as the name of its file and its own name.
fn tests() -> BTreeSet<String> {
    let ours = ["beater", "client", "lifecycle", "schedule", "worker"].map(|module| format!("shared/src/{module}/tests"));
    let folders = ours.into_iter().chain(["tests/tests/guarantees", "tests/tests/guarantees/cli"].map(str::to_owned));
    let files = folders.flat_map(|folder| fs::read_dir(Path::new(ROOT).join(folder)).into_iter().flatten().flatten());
    files.flat_map(|file| tests_of(&file.path())).collect()
}

fn tests_of(file: &Path) -> Vec<String> {
    let module = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let code = fs::read_to_string(file).unwrap_or_default();
    let functions = code.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
    functions.filter_map(|function| Some(format!("{module}::{}", function.split_once('(')?.0))).collect()
}
