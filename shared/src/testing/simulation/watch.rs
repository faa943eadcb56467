//! Logs all runs, independently of the records, and the states that the records had.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::keyed::SOURCE;
use crate::{
    Envelope, Failure, JobError, Policy, Record, State,
    attempt::Attempt,
    envelope::{Keys, Unreadable},
    job::{AnyJob, BoundJob, Hook},
    lifecycle::starts_unrecorded,
    queue::attribute::ID,
};

/// One run of a job.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) generation: u64,
    /// Start, as time since the beginning of the simulation.
    pub(super) started: Duration,
    /// End: it finished, was stopped, or died with its process.
    pub(super) ended: Duration,
    pub(super) succeeded: bool,
    /// The job from which its arguments come, if the message names one.
    pub(super) source: Option<String>,
    /// `true` if it started without a claim.
    pub(super) unrecorded: bool,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claim = if self.unrecorded { "no claim, or late claim" } else { "claim" };
        write!(f, "{claim} {} from {:?} to {:?}", self.generation, self.started, self.ended)
    }
}

/// A state that a record had from an instant on.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) id: String,
    pub(super) state: State,
    pub(super) at: Duration,
    /// The enqueue of its arguments.
    pub(super) enqueued_at: Option<Timestamp>,
}

/// A workflow that the operator has cancelled.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) ids: BTreeSet<String>,
    pub(super) at: Duration,
    /// The instant of the next retry of one of its jobs.
    pub(super) until: Option<Duration>,
}

/// Logs the runs of the jobs that it wraps, and what else happens to jobs.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    runs: Arc<Mutex<Vec<Run>>>,
    steps: Arc<Mutex<Vec<Step>>>,
    cancels: Arc<Mutex<BTreeSet<String>>>,
    retried: Arc<Mutex<BTreeSet<String>>>,
    stops: Arc<Mutex<Vec<Stop>>>,
    pub(super) since: Instant,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            runs: Arc::default(),
            steps: Arc::default(),
            cancels: Arc::default(),
            retried: Arc::default(),
            stops: Arc::default(),
            since: Instant::now(),
        }
    }
}

impl Watch {
    pub(super) fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the ids of the jobs that the operator has tried to cancel.
    pub(super) fn cancelled(&self) -> BTreeSet<String> {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the ids of the jobs that the operator has tried to retry.
    pub(super) fn retried(&self) -> BTreeSet<String> {
        self.retried.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs that a record was written.
    pub(super) fn wrote(&self, record: &Record) {
        // The record of an awaited job does not know its enqueue.
        let enqueued_at = record.enqueued_at.filter(|_| !record.name.is_empty());
        let step = Step { id: record.id.clone(), state: record.state, at: self.since.elapsed(), enqueued_at };
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// Returns the time since the last write of a record.
    pub(super) fn settled_for(&self, id: &str) -> Duration {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let last = steps.iter().rfind(|step| step.id == id).map_or(Duration::ZERO, |step| step.at);
        self.since.elapsed().saturating_sub(last)
    }

    /// Logs that the operator tries to cancel a job.
    pub(super) fn cancels(&self, id: &str) {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
    }

    /// Logs that the operator has cancelled a workflow with these jobs.
    pub(super) fn stopped(&self, ids: BTreeSet<String>) {
        let stop = Stop { ids, at: self.since.elapsed(), until: None };
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).push(stop);
    }

    /// Logs that the operator retries a job.
    pub(super) fn retries(&self, id: &str) {
        self.retried.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        for stop in stops.iter_mut().filter(|stop| stop.ids.contains(id)) {
            stop.until.get_or_insert(self.since.elapsed());
        }
    }

    pub(super) fn stops(&self) -> Vec<Stop> {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns `true` if a record was written as blocked.
    pub(super) fn was_blocked(&self, id: &str) -> bool {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.iter().any(|step| step.id == id && step.state == State::Blocked)
    }

    /// Returns `true` if a run has succeeded that the table may not know.
    pub(super) fn succeeded_unrecorded(&self, id: &str) -> bool {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().any(|run| run.id == id && run.succeeded && run.unrecorded)
    }

    pub(super) fn around(&self, job: &Arc<dyn AnyJob>) -> Arc<dyn AnyJob> {
        Arc::new(Watched { job: Arc::clone(job), watch: self.clone() })
    }

    fn start(&self, attempt: &Attempt, policy: &Policy, source: Option<String>) -> Running {
        let (id, generation, started) = (attempt.id().into(), attempt.generation(), self.since.elapsed());
        let message = attempt.message();
        let unrecorded = starts_unrecorded(policy, message.receives, message.attributes.contains_key(ID));
        Running { watch: self.clone(), run: Run { id, generation, started, ended: started, succeeded: false, source, unrecorded } }
    }
}

/// An active run. It is logged on drop, which also happens when its process dies.
struct Running {
    watch: Watch,
    run: Run,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.run.ended = self.watch.since.elapsed();
        self.watch.runs.lock().unwrap_or_else(PoisonError::into_inner).push(self.run.clone());
    }
}

struct Watched {
    job: Arc<dyn AnyJob>,
    watch: Watch,
}

impl AnyJob for Watched {
    fn name(&self) -> &'static str {
        self.job.name()
    }

    fn queue(&self) -> &'static str {
        self.job.queue()
    }

    fn aliases(&self) -> &'static [&'static str] {
        self.job.aliases()
    }

    fn policy(&self) -> &Policy {
        self.job.policy()
    }

    fn bind(&self, envelope: &Envelope) -> Result<Arc<dyn BoundJob>, Unreadable> {
        let source = envelope.meta.get(SOURCE).and_then(Value::as_str).map(str::to_owned);
        Ok(Arc::new(WatchedWork { work: self.job.bind(envelope)?, policy: *self.job.policy(), source, watch: self.watch.clone() }))
    }

    fn rejected(&self, reason: String) -> BoxFuture<'static, Result<(), JobError>> {
        self.job.rejected(reason)
    }

    fn report(&self, id: &str, failure: &Failure) -> BoxFuture<'static, Result<(), JobError>> {
        self.job.report(id, failure)
    }
}

struct WatchedWork {
    work: Arc<dyn BoundJob>,
    policy: Policy,
    source: Option<String>,
    watch: Watch,
}

impl BoundJob for WatchedWork {
    fn keys(&self) -> Keys {
        self.work.keys()
    }

    fn run(self: Arc<Self>, attempt: Arc<Attempt>) -> BoxFuture<'static, Result<Value, JobError>> {
        Box::pin(async move {
            let mut running = self.watch.start(&attempt, &self.policy, self.source.clone());
            let ended = Arc::clone(&self.work).run(attempt).await;
            running.run.succeeded = ended.is_ok();
            ended
        })
    }

    fn has(&self, hook: &Hook) -> bool {
        self.work.has(hook)
    }

    fn hook(self: Arc<Self>, attempt: Arc<Attempt>, hook: Hook) -> BoxFuture<'static, Result<(), JobError>> {
        Arc::clone(&self.work).hook(attempt, hook)
    }
}
