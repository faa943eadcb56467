//! A function that is started outside Lambda runs the messages on its standard input.

use std::{
    fs::File,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{cli::piped_to, effects::Effects, function::program};

const FAILED: Option<i32> = Some(1);
const REJECTED: Option<i32> = Some(2);

/// Returns the line of a job of the probe that acts by `orders`.
fn line(effects: &Effects, name: &str, id: &str, orders: &Value) -> String {
    let mut args = orders.clone();
    args["effects"] = json!(effects.file());
    json!({"name": name, "id": id, "args": args}).to_string()
}

fn run(lines: &[String]) -> Output {
    piped_to(Command::new(program("probe")).env_clear(), &lines.join("\n"))
}

/// Returns the ids and states of the printed records.
fn ended(output: &Output) -> Vec<(String, String)> {
    let printed = str::from_utf8(&output.stdout).expect("text").lines();
    let records = printed.map(|line| serde_json::from_str::<Value>(line).expect("a record"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    records.map(|record| (text(&record["id"]), text(&record["state"]))).collect()
}

fn said(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("text")
}

#[test]
fn eager_mode_prints_each_record_once_and_in_the_order_of_its_input() {
    let effects = Effects::new();
    let mut lines = vec![line(&effects, "probe", "retried", &json!({"act": "fail", "until": 2})), String::new()];
    lines.extend((0..12).map(|count| line(&effects, "quiet", &format!("quiet-{count}"), &json!({}))));
    let output = run(&lines);
    let mut expected = vec!["retried".to_owned()];
    expected.extend((0..12).map(|count| format!("quiet-{count}")));
    assert_eq!(ended(&output), expected.into_iter().map(|id| (id, "succeeded".to_owned())).collect::<Vec<_>>());
    assert_eq!(said(&output), "");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(effects.runs_of("retried").len(), 2);
}

#[test]
fn eager_mode_runs_a_repeated_job_once_and_rejects_other_arguments() {
    let effects = Effects::new();
    let job = |orders| line(&effects, "probe", "a", &orders);
    let output = run(&[job(json!({})), job(json!({}))]);
    assert_eq!(ended(&output), [("a".to_owned(), "succeeded".to_owned())]);
    assert_eq!(said(&output), "line 2: id a is already used in line 1; a duplicate does not run\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(effects.runs_of("a").len(), 1);
    let output = run(&[String::new(), job(json!({})), job(json!({"until": 7}))]);
    let reason = "id a is already used in line 2 with other arguments; only the first job with each id runs";
    assert!(said(&output).contains(&format!("line 3: {reason}\n")), "{}", said(&output));
    assert_eq!(ended(&output), [("a".to_owned(), "succeeded".to_owned())]);
    assert_eq!(output.status.code(), REJECTED);
}

#[test]
fn the_exit_status_of_eager_mode_tells_a_failure_from_a_rejected_line() {
    let effects = Effects::new();
    let good = line(&effects, "probe", "good", &json!({}));
    let failing = line(&effects, "probe", "failing", &json!({"act": "fatal"}));
    let output = run(&[failing.clone(), good.clone()]);
    assert_eq!(ended(&output), [("failing", "failed"), ("good", "succeeded")].map(|(id, state)| (id.to_owned(), state.to_owned())));
    assert_eq!(said(&output), "", "its record already contains the failure");
    assert_eq!(output.status.code(), FAILED);
    let output = run(&["garbage".to_owned(), good, failing]);
    assert_eq!(ended(&output), [("good", "succeeded"), ("failing", "failed")].map(|(id, state)| (id.to_owned(), state.to_owned())));
    assert!(said(&output).lines().any(|line| line.starts_with("line 1: body: it is not JSON")), "{}", said(&output));
    assert_eq!(output.status.code(), REJECTED);
}

#[test]
fn eager_mode_reports_a_job_that_stays_blocked() {
    let effects = Effects::new();
    let mut job: Value = serde_json::from_str(&line(&effects, "probe", "a", &json!({}))).expect("JSON");
    job["depends_on"] = json!(["nothere"]);
    let output = run(&[job.to_string()]);
    assert_eq!(ended(&output), [("a".to_owned(), "blocked".to_owned())]);
    assert_eq!(said(&output), "job a stays blocked: it waits for \"nothere\"\n");
    assert_eq!(output.status.code(), FAILED);
}

#[test]
fn eager_mode_prints_a_job_that_waits_for_a_later_line_after_its_end() {
    let effects = Effects::new();
    let mut waits: Value = serde_json::from_str(&line(&effects, "quiet", "waits", &json!({}))).expect("JSON");
    waits["depends_on"] = json!(["quiet-11"]);
    let mut lines = vec![waits.to_string()];
    lines.extend((0..12).map(|count| line(&effects, "quiet", &format!("quiet-{count}"), &json!({}))));
    let output = run(&lines);
    assert!(ended(&output).contains(&("waits".to_owned(), "succeeded".to_owned())), "{:?}", ended(&output));
    assert_eq!((said(&output), output.status.code()), ("", Some(0)));
}

#[test]
fn eager_mode_names_a_rejected_job_of_a_workflow() {
    let effects = Effects::new();
    let mut workflow: Value = serde_json::from_str(&line(&effects, "probe", "whole", &json!({}))).expect("JSON");
    workflow["jobs"] = json!([{"name": "probe", "id": "part", "args": {"act": 1}}]);
    let output = run(&[workflow.to_string()]);
    assert!(said(&output).starts_with("job whole/part: args.act: "), "{}", said(&output));
    assert!(said(&output).ends_with("job whole stays blocked: it waits for \"whole/part\"\n"), "{}", said(&output));
    assert_eq!(output.status.code(), REJECTED);
}

#[test]
fn eager_mode_warns_of_a_misspelled_field() {
    let effects = Effects::new();
    let mut job: Value = serde_json::from_str(&line(&effects, "probe", "a", &json!({}))).expect("JSON");
    job["depend_on"] = json!(["b"]);
    let output = run(&[job.to_string()]);
    assert_eq!(ended(&output), [("a".to_owned(), "succeeded".to_owned())]);
    assert!(said(&output).contains("of the message is ignored: perhaps depends_on is meant"), "{}", said(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn eager_mode_ends_at_input_that_cannot_be_read() {
    let folder = File::open("/").expect("the root folder");
    let output = Command::new(program("probe")).env_clear().stdin(folder).output().expect("it starts");
    assert!(said(&output).starts_with("line 1: "), "{}", said(&output));
    assert_eq!(said(&output).lines().count(), 1);
    assert_eq!(output.status.code(), REJECTED);
}
