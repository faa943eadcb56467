//! The workspace of a user, outside this repository, with the lines of the README, built in the release profile; and the same with traces.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    cli::{piped_to, sqjobs},
    function::{Function, house_variables},
    stack::{self, succeed, target},
    world::World,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ABORT: &str = "outside-abort";
const UNWIND: &str = "outside-unwind";
/// Has traces, and reports to Sentry. In this repository's own workspace, all functions of the tests would get these features, and so would the benches.
pub(crate) const TRACED: &str = "outside-traced";
/// The same program as a second function.
pub(crate) const TRACED_BEATER: &str = "outside-traced-beater";
/// The crates of the traces turn on this feature below `tokio`. With it, both programs use one build of all other crates.
const SHARED_BUILD: &str = "\n[build-dependencies]\nsyn = { version = \"3\", features = [\"visit-mut\"] }\n";
/// Settings that make the build fast; an optimized build takes minutes.
const BUILD: [(&str, &str); 2] = [("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")];
const SETTINGS: &str = r#"
[package.metadata.sqjobs]
queues = ["orders", "urgent"]
example = { name = "order", args = { pieces = 6 } }
"#;
const WARNING: &str = "this program was built with `panic = ";

/// A package name that a dependency of the library also has.
const PACKAGE: &str = "digest";

/// Builds the program of a user's workspace, with the profile of the README or without a panic setting.
pub(crate) fn program(name: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let name = if name == TRACED_BEATER { TRACED } else { name };
    let folder = folder_of(name);
    fs::create_dir_all(folder.join("src")).expect("the build folder can be written");
    let lines = readme_lines().replace("../sqjobs/shared", &format!("{ROOT}/shared"));
    let (package, lines, panic) = match name {
        ABORT => (ABORT, lines.replace("panic = \"unwind\"\n", ""), Some("abort")),
        TRACED => (TRACED, with_traces(&lines), None),
        _ => (PACKAGE, lines + SHARED_BUILD, None),
    };
    let source: &[u8] =
        if name == TRACED { include_bytes!("../../fixtures/traced.rs") } else { include_bytes!("../../fixtures/outside.rs") };
    // Without its own workspace, cargo would use the workspace above the build folder.
    let manifest = format!("[package]\nname = \"{package}\"\nedition = \"2024\"\n{SETTINGS}\n[workspace]\n\n{lines}");
    write(&folder.join("Cargo.toml"), manifest.as_bytes());
    write(&folder.join("src/main.rs"), source);
    // Use the dependency versions that are already downloaded.
    fs::copy(format!("{ROOT}/Cargo.lock"), folder.join("Cargo.lock")).expect("the build folder can be written");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--offline"]).current_dir(&folder).envs(BUILD);
    cargo.env("CARGO_TARGET_DIR", build_folder());
    house_variables(&mut cargo);
    // `cargo lambda build --release` sets this if the profile does not.
    cargo.envs(panic.map(|panic| ("CARGO_PROFILE_RELEASE_PANIC", panic)));
    succeed(&mut cargo);
    build_folder().join("release").join(package)
}

/// Returns the lines of a `Cargo.toml` with the features `otel` and `sentry`, and with a clock that tests can set.
fn with_traces(lines: &str) -> String {
    let line = lines.lines().find(|line| line.starts_with("sqjobs = ")).expect("the README has the library");
    let traced = line.replace(" }", ", features = [\"otel\", \"sentry\", \"test-clock\"] }");
    let sentry = "sentry = { version = \"0.49\", default-features = false, features = [\"ureq\"] }";
    lines.replace(line, &format!("{traced}\n{sentry}\ntracing = \"0.1\""))
}

fn folder_of(name: &str) -> PathBuf {
    target().join("outside").join(name)
}

/// Returns the target folder of both builds.
fn build_folder() -> PathBuf {
    folder_of("target")
}

/// Runs a command in the workspace with `panic = "unwind"`, with its build and the installed stack.
pub(crate) fn in_workspace(mut command: Command) -> Command {
    program(UNWIND);
    let target = build_folder();
    symlink(stack::folder(""), target.join("local-stack"))
        .or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
        .expect("the build folder can be written");
    command.current_dir(folder_of(UNWIND)).envs(BUILD).env("CARGO_TARGET_DIR", target);
    command
}

/// Writes a file only if its content differs, since cargo compares modification times.
fn write(file: &Path, content: &[u8]) {
    if fs::read(file).is_ok_and(|there| there == content) {
        return;
    }
    fs::write(file, content).expect("the build folder can be written");
}

/// Returns the lines that the README gives for a `Cargo.toml`.
fn readme_lines() -> String {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("there is a README");
    let lines = readme.split("```toml\n").nth(1).and_then(|block| block.split("```").next());
    lines.expect("the README has lines for a Cargo.toml").to_owned()
}

/// Runs jobs in eager mode. Returns their records and the rest of the output.
fn eagerly(name: &str, jobs: &[Value]) -> (Vec<Value>, String) {
    let lines = jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let output = piped_to(Command::new(program(name)).env_clear(), &lines);
    let printed = String::from_utf8(output.stdout).expect("text");
    (printed.lines().map(|line| serde_json::from_str(line).expect("a record")).collect(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn a_program_that_aborts_says_so_in_its_log_and_to_the_doctor() {
    let (records, said) = eagerly(ABORT, &[json!({"name": "order", "args": {"pieces": 6}})]);
    assert_eq!(records[0]["result"], json!({"total": 42, "reminder": "order", "signed": "order"}));
    assert!(said.contains("ERROR") && said.contains(WARNING) && said.contains("[profile.release]"), "{said}");
    let eager = Command::new(program(ABORT)).arg("eager").env_clear().stdin(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8(eager.stderr).expect("text");
    assert!(eager.status.success(), "the first use of it says so: {said}");
    assert_eq!(said.matches(WARNING).count(), 1, "the first use of it says so: {said}");

    World::setup().visibility_s(180).test(async |world| {
        let function = Function::outside(ABORT);
        let name = world.create_function_and_role(&function).await;
        sqjobs(world, &["queue", "create", "probes", "--function", &name]).yes();
        world.send(json!({"name": "order", "id": "first", "args": {"pieces": 6}})).await;
        world.record_in("first", "succeeded").await;
        world.drained().await;
        let printed = world.printed(&function).await;
        let warning = printed.iter().find(|line| line.contains(WARNING)).unwrap_or_else(|| panic!("{printed:#?}"));
        assert!(warning.contains(r#""level":"ERROR""#), "{warning}");
        let findings = sqjobs(world, &["doctor", "--json"]).json();
        let finding = findings.iter().find(|finding| finding["rule"] == "panic_abort").unwrap_or_else(|| panic!("{findings:#?}"));
        assert_eq!(finding["at"], "queue probes");
        assert!(finding["remedy"].as_str().is_some_and(|remedy| remedy.contains("[profile.release]")), "{finding}");
    });
}

#[test]
fn with_the_lines_of_the_readme_a_panic_costs_one_attempt_of_one_job() {
    let preview = Command::new(program(UNWIND)).arg("beater").env_clear().stdin(Stdio::null()).output().expect("it starts");
    assert!(String::from_utf8_lossy(&preview.stdout).starts_with("nightly: "), "{preview:?}");
    let order = |id: &str, panics: u32| json!({"name": "order", "id": id, "args": {"pieces": 6, "panics": panics}});
    let jobs = [order("before", 0), order("panics", 1), order("after", 0)];
    let (records, said) = eagerly(UNWIND, &jobs);
    let attempts: Vec<_> = records.iter().map(|record| (&record["state"], record["attempts"].as_u64())).collect();
    let succeeded = json!("succeeded");
    assert_eq!(attempts, [(&succeeded, Some(1)), (&succeeded, Some(2)), (&succeeded, Some(1))]);
    assert!(!said.contains(WARNING), "{said}");

    World::setup().test(async |world| {
        let function = Function::outside(UNWIND);
        world.deploy(&function).await;
        world.send_together(&jobs).await;
        for (id, attempts) in [("before", 1), ("panics", 2), ("after", 1)] {
            assert_eq!(world.record_in(id, "succeeded").await.attempts, attempts, "{id}");
        }
        let printed = world.printed(&function).await;
        assert!(!printed.iter().any(|line| line.contains(WARNING)), "{printed:#?}");
    });
}
