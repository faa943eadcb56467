//! Runs commands in this process, and keeps what they print. The page of `sqjobs ui` and the tools of `sqjobs mcp` use it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use clap::Parser as _;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedSender, unbounded_channel},
    },
    task::spawn_local,
    time::timeout,
};

use crate::{
    args::Args,
    aws::Aws,
    command,
    failure::Failure,
    meter::Meter,
    output::{PRINTED, Printed},
    place::Place,
    shell::shell,
};

/// Maximum time of a command whose end is awaited.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts commands.
pub(super) struct Runner {
    starts: UnboundedSender<Arc<Run>>,
    place: Place,
}

/// A command that runs or has run.
pub(super) struct Run {
    pub(super) words: Vec<String>,
    pub(super) printed: Printed,
    pub(super) meter: Meter,
    outcome: OnceLock<Outcome>,
    has_ended: Notify,
    is_stopped: Notify,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Yes,
    No,
    Error(String),
    Stopped,
}

/// The answers of a command that can print JSON.
pub(super) struct Look {
    /// Each line of its JSON.
    pub(super) rows: Vec<Value>,
    pub(super) notes: Vec<String>,
    pub(super) error: Option<String>,
    /// True if the answer of the command is no.
    pub(super) is_no: bool,
    /// The command, without `--json`.
    pub(super) words: Vec<String>,
    pub(super) cost: String,
}

impl Runner {
    /// Starts the task that runs commands. It needs a `LocalSet`, because commands are not `Send`.
    pub(super) fn start(aws: Aws) -> Self {
        let (place, (starts, mut wanted)) = (aws.place.clone(), unbounded_channel::<Arc<Run>>());
        spawn_local(async move {
            while let Some(run) = wanted.recv().await {
                let (aws, own) = (Aws { meter: run.meter.clone(), ..aws.clone() }, Arc::clone(&run));
                // A task of its own, so that a panic ends the command alone.
                let mut command = spawn_local(async move { PRINTED.scope(own.printed.clone(), execute(&own.words, &aws)).await });
                spawn_local(async move {
                    let outcome = tokio::select! {
                        outcome = &mut command => outcome.unwrap_or_else(|error| Outcome::Error(format!("the command has crashed: {error}"))),
                        () = run.is_stopped.notified() => Outcome::Stopped,
                    };
                    command.abort();
                    run.outcome.set(outcome).ok();
                    run.has_ended.notify_waiters();
                });
            }
        });
        Self { starts, place }
    }

    /// Starts a command.
    pub(super) fn begin(&self, words: Vec<String>) -> Arc<Run> {
        let run = Arc::new(Run {
            words,
            printed: Printed::default(),
            meter: Meter::default(),
            outcome: OnceLock::new(),
            has_ended: Notify::new(),
            is_stopped: Notify::new(),
        });
        self.starts.send(Arc::clone(&run)).ok();
        run
    }

    /// Runs a command to its end. It goes on if nobody waits for it any more: if it stopped while it reads dead letters, they would stay hidden.
    pub(super) async fn run(&self, words: Vec<String>) -> Arc<Run> {
        let run = self.begin(words);
        if timeout(PATIENCE, run.ended()).await.is_err() {
            run.stop();
            run.ended().await;
        }
        run
    }

    /// Runs a command that can print JSON.
    pub(super) async fn look(&self, words: Vec<String>) -> Look {
        let mut with_json = words.clone();
        // No option follows `--`, because an id or a name may begin with a dash.
        with_json.insert(end_of_options(&words), "--json".into());
        let run = self.run(with_json).await;
        let lines = run.printed.lines();
        let error = match run.outcome() {
            Some(Outcome::Error(error)) => Some(error.clone()),
            Some(Outcome::Stopped) => Some("it took longer than a minute, and was stopped".to_owned()),
            _ => None,
        };
        Look {
            rows: lines.answers.iter().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            notes: lines.notes,
            error,
            is_no: run.outcome() == Some(&Outcome::No),
            words,
            cost: run.meter.to_string(),
        }
    }

    /// Returns a command line with the options of this system.
    pub(super) fn line(&self, words: &[String]) -> String {
        let (mut words, end) = (words.to_vec(), end_of_options(words));
        words.splice(end..end, self.place.option_words());
        line(&words)
    }
}

/// Returns the index after the options of a command.
pub(super) fn end_of_options(words: &[String]) -> usize {
    words.iter().position(|word| word == "--").unwrap_or(words.len())
}

impl Run {
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Ends the command. A request that is under way may still be carried out.
    pub(super) fn stop(&self) {
        self.is_stopped.notify_one();
    }

    async fn ended(&self) {
        let ended = self.has_ended.notified();
        if self.outcome.get().is_none() {
            ended.await;
        }
    }
}

/// Runs the command with these words. The type of the future is named, because this command is one of those that it may run.
fn execute<'a>(words: &'a [String], aws: &'a Aws) -> LocalBoxFuture<'a, Outcome> {
    Box::pin(async move {
        let words = ["sqjobs"].into_iter().chain(words.iter().map(String::as_str));
        let args = match Args::try_parse_from(words) {
            Ok(args) => args,
            Err(error) => return Outcome::Error(flaw(&error)),
        };
        match Box::pin(command::run(args, Some(aws))).await {
            Ok(true) => Outcome::Yes,
            Ok(false) => Outcome::No,
            Err(Failure::BrokenPipe) => Outcome::Error("the output is closed".into()),
            Err(Failure::Message(message)) => Outcome::Error(message),
        }
    })
}

/// Returns what is wrong with a command line, in one line. The paragraphs after the first are about its use.
fn flaw(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.trim_start_matches("error: ").lines().take_while(|line| !line.is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Returns the command line for a shell.
pub(super) fn line(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| shell(word)).collect();
    format!("sqjobs {}", words.join(" "))
}
