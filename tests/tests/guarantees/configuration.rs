//! Errors of a function that lacks a setting or runs in an unsupported environment.

use std::process::Command;

/// Returns the single sentence of a function that refuses to start.
fn refusal(variables: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_probe"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .env("AWS_LAMBDA_FUNCTION_NAME", "probe")
        .env("AWS_REGION", "us-east-1")
        .env("SQJOBS_TABLE", "jobs")
        .envs(variables.iter().copied())
        .output()
        .expect("the probe starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it goes on: {said}");
    assert_eq!(said.lines().count(), 1, "it says more than one sentence: {said}");
    assert!(!said.contains("panicked"), "it panics: {said}");
    said
}

#[test]
fn a_missing_variable_is_named_in_one_sentence() {
    let said = refusal(&[]);
    assert!(said.contains("SQJOBS_QUEUE_URL"), "it does not say what is missing: {said}");
}

#[test]
fn a_switch_that_is_neither_on_nor_off_is_refused() {
    let said = refusal(&[("SQJOBS_METRICS", "yes")]);
    assert!(said.contains("SQJOBS_METRICS is \"yes\"; set it to on or off, or not at all"), "{said}");
}

#[test]
fn several_invocations_in_one_process_are_refused() {
    let settings = [("SQJOBS_QUEUE_URL", "http://127.0.0.1:9/1/q"), ("SQJOBS_DLQ_URL", "http://127.0.0.1:9/1/q-dlq")];
    let said = refusal(&[&settings[..], &[("AWS_LAMBDA_MAX_CONCURRENCY", "16")]].concat());
    assert!(said.contains("set PerExecutionEnvironmentMaxConcurrency to 1"), "{said}");
}
