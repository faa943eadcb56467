//! The built command against the real stack. Its JSON output is checked against its schema.

mod deploy;
mod dev;
mod doctor;
mod environments;
mod jobs;
mod letters;
mod mcp;
mod queues;
mod release;
mod stats;
mod tail;
mod ui;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};

use crate::{function::program, world::World};

const SCHEMA: &str = include_str!("../../../../cli/output.schema.json");

/// The outcome of a run of the command.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The name of the command in the schema.
    name: String,
    status: i32,
    printed: String,
    pub(crate) said: String,
}

impl Ran {
    fn of(args: &[&str], output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it prints UTF-8");
        let words =
            if ["schedule", "dlq", "limit", "queue", "function"].contains(&args.first().copied().unwrap_or_default()) { 2 } else { 1 };
        let name = args.iter().take(words).copied().collect::<Vec<_>>().join(" ");
        Self { name, status: output.status.code().unwrap_or(-1), printed: text(&output.stdout), said: text(&output.stderr) }
    }

    /// Runs the command with more variables, such as another key.
    pub(crate) fn with(world: &World, variables: &[(&'static str, String)], args: &[&str]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, value));
        Self::of(args, &command(world).envs(variables).args(args).output().expect("the command starts"))
    }

    /// Returns the output of a run whose answer is yes.
    #[track_caller]
    pub(crate) fn yes(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.printed, self.said);
        self.printed
    }

    /// Returns the output of a run whose answer is no.
    #[track_caller]
    pub(crate) fn no(self) -> String {
        assert_eq!(self.status, 1, "{}{}", self.printed, self.said);
        self.printed + &self.said
    }

    /// Returns true if the answer is yes or no.
    pub(crate) fn is_answered(&self) -> bool {
        self.status == 0 || self.status == 1
    }

    /// Returns true if AWS refused a part of it.
    pub(crate) fn is_refused(&self) -> bool {
        ["not authorized", "not checked", "cannot be read", "cannot read"].iter().any(|sign| self.said.contains(sign))
    }

    /// Returns the error of a run that failed.
    #[track_caller]
    pub(crate) fn error(self) -> String {
        assert_eq!(self.status, 2, "{}", self.said);
        assert_eq!(self.printed, "", "{}", self.said);
        self.said
    }

    /// Returns the output as JSON, one value a line, and checks each against its schema.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        assert!(self.status < 2, "{}", self.said);
        let mut schema: Value = serde_json::from_str(SCHEMA).expect("a schema is JSON");
        assert!(schema["$defs"][&self.name].is_object(), "the schema knows {}", self.name);
        schema["$ref"] = json!(format!("#/$defs/{}", self.name.replace(' ', "%20")));
        let schema = jsonschema::validator_for(&schema).expect("a schema");
        let values: Vec<Value> = self.printed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        for value in &values {
            schema.validate(value).unwrap_or_else(|error| panic!("{error} at {} in {value}", error.instance_path()));
        }
        values
    }
}

fn command(world: &World) -> Command {
    let mut command = Command::new(program("sqjobs"));
    command.envs(world.variables()).stdin(Stdio::null());
    command
}

pub(crate) fn sqjobs(world: &World, args: &[&str]) -> Ran {
    Ran::of(args, &command(world).args(args).output().expect("the command starts"))
}

/// Runs the command in the environment with this prefix, without a table.
fn in_environment(world: &World, prefix: &str, args: &[&str]) -> Ran {
    let mut command = command(world);
    command.env_remove("SQJOBS_TABLE").env("SQJOBS_PREFIX", prefix);
    Ran::of(args, &command.args(args).output().expect("the command starts"))
}

/// Runs the command without credentials.
fn alone(args: &[&str]) -> Ran {
    Ran::of(args, &Command::new(program("sqjobs")).args(args).output().expect("it starts"))
}

fn args(world: &World, orders: &Value) -> String {
    world.probe("", orders)["args"].to_string()
}

/// Runs the command with a text on its standard input.
pub(crate) fn piped(world: &World, args: &[&str], input: &str) -> Ran {
    Ran::of(args, &piped_to(command(world).args(args), input))
}

/// Runs a program with a text on its standard input.
pub(crate) fn piped_to(program: &mut Command, input: &str) -> Output {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its standard input is a pipe");
    let input = input.to_owned();
    let writing = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("no panic").ok();
    output
}
