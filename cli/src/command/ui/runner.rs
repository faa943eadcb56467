//! Runs commands for the page, and keeps what they print.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Parser as _;
use futures_util::future::LocalBoxFuture;
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedSender, unbounded_channel},
    },
    task::spawn_local,
    time::timeout,
};

use super::form::Parameters;
use crate::{
    args::Args,
    aws::Aws,
    command,
    failure::Failure,
    meter::Meter,
    output::{PRINTED, Printed, first_line},
    shell::shell,
};

/// Maximum time of a command that a view waits for.
const PATIENCE: Duration = Duration::from_mins(1);
/// Number of runs that are kept to be shown.
const KEPT: usize = 100;

/// Starts commands.
pub(super) struct Runner {
    starts: UnboundedSender<Arc<Run>>,
    count: AtomicU64,
    runs: Mutex<Vec<Arc<Run>>>,
}

/// A command that runs or has run.
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) words: Vec<String>,
    /// The form that asked for it, and the view to return to.
    pub(super) form: Parameters,
    pub(super) back: String,
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

impl Runner {
    /// Starts the task that runs commands. It needs a `LocalSet`, because commands are not `Send`.
    pub(super) fn start(aws: Aws) -> Self {
        let (starts, mut wanted) = unbounded_channel::<Arc<Run>>();
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
        Self { starts, count: AtomicU64::new(0), runs: Mutex::default() }
    }

    fn begin(&self, words: Vec<String>, form: Parameters, back: String) -> Arc<Run> {
        let run = Arc::new(Run {
            number: self.count.fetch_add(1, Ordering::Relaxed),
            words,
            form,
            back,
            printed: Printed::default(),
            meter: Meter::default(),
            outcome: OnceLock::new(),
            has_ended: Notify::new(),
            is_stopped: Notify::new(),
        });
        self.starts.send(Arc::clone(&run)).ok();
        run
    }

    /// Runs a command for a view. It goes on if the reader leaves the view: if it stopped while it reads dead letters, they would stay hidden.
    pub(super) async fn run(&self, words: Vec<String>) -> Arc<Run> {
        let run = self.begin(words, Parameters::new(), String::new());
        if timeout(PATIENCE, run.ended()).await.is_err() {
            run.stop();
            run.ended().await;
        }
        run
    }

    /// Starts a command that the user has asked for, and keeps it to be shown.
    pub(super) fn keep(&self, words: Vec<String>, form: Parameters, back: String) -> Arc<Run> {
        let run = self.begin(words, form, back);
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = (runs.len() + 1).saturating_sub(KEPT);
        let ended: Vec<_> = runs.iter().filter(|run| run.outcome().is_some()).take(excess).map(|run| run.number).collect();
        runs.retain(|run| !ended.contains(&run.number));
        runs.push(Arc::clone(&run));
        run
    }

    pub(super) fn find(&self, number: u64) -> Option<Arc<Run>> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().find(|run| run.number == number).cloned()
    }
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
            // The other lines are about the command line.
            Err(error) => return Outcome::Error(first_line(error.to_string().trim_start_matches("error: "))),
        };
        match Box::pin(command::run(args, Some(aws))).await {
            Ok(true) => Outcome::Yes,
            Ok(false) => Outcome::No,
            Err(Failure::BrokenPipe) => Outcome::Error("the output is closed".into()),
            Err(Failure::Message(message)) => Outcome::Error(message),
        }
    })
}

/// Returns the command line for a shell.
pub(super) fn line(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| shell(word)).collect();
    format!("sqjobs {}", words.join(" "))
}
