//! The program outside of Lambda: messages in, records out, and an exit status for scripts.

use std::{
    fs::File,
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn adder(input: Stdio) -> Command {
    let mut adder = Command::new(env!("CARGO_BIN_EXE_adder"));
    adder.env_remove("AWS_LAMBDA_RUNTIME_API").stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    adder
}

fn run(input: &[u8]) -> (Vec<Value>, Vec<String>, Option<i32>) {
    let mut running = adder(Stdio::piped()).spawn().expect("it starts");
    running.stdin.take().expect("it is piped").write_all(input).expect("it reads");
    report(running.wait_with_output().expect("it ends"))
}

fn report(output: Output) -> (Vec<Value>, Vec<String>, Option<i32>) {
    let lines = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect::<Vec<_>>();
    let records = lines(output.stdout).iter().map(|line| serde_json::from_str(line).expect("a record")).collect();
    (records, lines(output.stderr), output.status.code())
}

#[test]
fn a_job_that_succeeds_prints_its_record_and_ends_with_0() {
    let (records, errors, status) = run(b"{\"name\": \"adder\", \"args\": [1, 2, 3]}\n");
    assert_eq!(records[0]["state"].as_str(), Some("succeeded"));
    assert_eq!(records[0]["result"].as_i64(), Some(6));
    assert_eq!(records.len(), 1);
    assert_eq!(errors.len(), 0);
    assert_eq!(status, Some(0));
}

#[test]
fn a_job_that_fails_ends_with_1() {
    let (records, _, status) = run(b"{\"name\": \"adder\", \"args\": [9223372036854775807, 1]}");
    assert_eq!(records[0]["state"].as_str(), Some("failed"));
    assert_eq!(records[0]["error"]["kind"].as_str(), Some("fatal"));
    assert_eq!(status, Some(1));
}

#[test]
fn a_wrong_line_is_named_and_the_rest_goes_on_and_ends_with_2() {
    let input = b"not json\r\n\r\n{\"name\": \"adder\", \"args\": \"x\"}\r\n\xff\r\n{\"name\": \"nobody\"}\r\n{\"name\": \"adder\", \"args\": [4]}\r\n";
    let (records, mut errors, status) = run(input);
    errors.sort();
    assert_eq!(records[0]["result"].as_i64(), Some(4));
    assert_eq!(errors.iter().map(|error| &error[..7]).collect::<Vec<_>>(), ["line 1:", "line 3:", "line 4:", "line 5:"], "{errors:?}");
    assert_eq!(records.len(), 1);
    assert_eq!(status, Some(2));
}

#[test]
fn a_line_with_a_used_id_is_reported_and_does_not_run() {
    let line = |args: &str| format!("{{\"name\": \"adder\", \"id\": \"a\", \"args\": {args}}}\n");
    let (records, errors, status) = run((line("[1]") + &line("[1]")).as_bytes());
    assert_eq!(errors, ["line 2: id a is already used in line 1; a duplicate does not run"]);
    assert_eq!(records.len(), 1);
    assert_eq!(status, Some(0));
    let (records, errors, status) = run((line("[1]") + &line("[2]")).as_bytes());
    assert_eq!(errors, ["line 2: id a is already used in line 1 with other arguments; only the first job with each id runs"]);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["result"].as_i64(), Some(1));
    assert_eq!(status, Some(2));
}

#[test]
fn an_input_that_cannot_be_read_ends_the_run() {
    let folder = File::open(env!("CARGO_MANIFEST_DIR")).expect("a folder");
    let (records, errors, status) = report(adder(folder.into()).output().expect("it ends"));
    assert_eq!(records.len(), 0, "{errors:?}");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(status, Some(2), "{errors:?}");
}
