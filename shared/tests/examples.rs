//! Each example runs, and prints what its first lines say.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Returns the lines that an example says it prints: the `text` block of its documentation.
fn promised(source: &str) -> Vec<&str> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    lines.skip_while(|line| *line != "```text").skip(1).take_while(|line| *line != "```").collect()
}

/// Cargo builds the examples of a package before its tests, into the folder beside `deps`.
fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    test.ancestors().nth(2).expect("the folder of the profile").join("examples").join(name)
}

#[test]
fn each_example_prints_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("an example").path();
        let source = fs::read_to_string(&path).expect("its source");
        let name = path.file_stem().and_then(|name| name.to_str()).expect("its name");
        let output = Command::new(program(name)).output().expect("it starts");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).expect("text");
        assert_eq!(printed.lines().collect::<Vec<_>>(), promised(&source), "{name}");
        assert!(!printed.is_empty(), "{name}");
        count += 1;
    }
    assert_eq!(count, 7);
}
