//! What a function says that was deployed without what it needs.

use std::process::Command;

#[test]
fn a_missing_variable_is_named_in_one_sentence() {
    let output = Command::new(env!("CARGO_BIN_EXE_probe"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .env("AWS_LAMBDA_FUNCTION_NAME", "probe")
        .env("AWS_REGION", "us-east-1")
        .env("SQJOBS_TABLE", "jobs")
        .output()
        .expect("the probe starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it goes on without a queue: {said}");
    assert!(said.contains("SQJOBS_QUEUE_URL"), "it does not say what is missing: {said}");
    assert_eq!(said.lines().count(), 1, "it says more than one sentence: {said}");
    assert!(!said.contains("panicked"), "it panics: {said}");
}
