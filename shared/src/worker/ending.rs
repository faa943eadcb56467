//! Records, counts and logs the endings of deliveries.

use std::{borrow::Cow, mem, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Level;

use super::{
    batch::Batch,
    decode::{Decoded, Delivery},
    executor::Stored,
    ledger,
};
use crate::{
    clock::until,
    job::Hook,
    lifecycle::{self, Ending, Fate, FollowUp, Outcome},
    record::{Failure, Record, State},
    retry::jitter,
    stats::{OTHER_ARGUMENTS, Sample},
    store::{StoreError, Write, Written},
    telemetry::log_ending,
};

/// Maximum attempts to change a record that others change at the same time.
pub(super) const CLAIMS: usize = 5;

/// The end of a delivery.
#[derive(Debug, Clone)]
pub(crate) struct Settlement {
    pub(crate) ending: Ending,
    /// The reason for the dead-letter queue, if the message is copied there.
    pub(crate) reason: Option<Failure>,
    /// The record to mark once the dead-letter copy is made.
    pub(crate) record: Option<Arc<Record>>,
    /// `true` if the due index now stores the job in place of its message.
    pub(super) filed: bool,
    /// For a duplicate: the comparison of its arguments with those of the job.
    pub(super) repeat: Repeat,
    /// `true` for an ending that the table does not store.
    pub(crate) unwritten: bool,
    /// The ended job, if it has dependents that must be told.
    pub(super) ended: Option<Arc<Record>>,
    /// The places in keys that the job has given up: keys and entries.
    pub(super) freed: Vec<(String, String)>,
    /// `true` if the dependents could not be told: the message must come back.
    pub(super) unresolved: bool,
}

/// The comparison of a duplicate's arguments with those of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Same,
    OtherArguments,
}

impl From<Ending> for Settlement {
    fn from(ending: Ending) -> Self {
        let (filed, unwritten, unresolved) = (false, false, false);
        Self { ending, reason: None, record: None, filed, repeat: Repeat::Same, unwritten, ended: None, freed: Vec::new(), unresolved }
    }
}

impl Settlement {
    pub(super) fn because(ending: Ending, kind: &str, reason: impl Into<String>, batch: &Batch<'_>) -> Self {
        let reason = Failure::new(kind, reason.into(), batch.engine.clock.now());
        Self { reason: Some(reason), ..ending.into() }
    }

    /// Returns the ending of a job that has failed permanently; its record contains the reason.
    pub(super) fn failed(record: Arc<Record>) -> Self {
        Self { reason: record.error.clone(), record: Some(record), ..Ending::Failed.into() }
    }

    /// Returns `true` if the statistics must be written at once, because the doctor reports this ending. It reports messages that another
    /// version may be able to run, and discarded duplicates with other arguments.
    pub(crate) fn is_noted(&self) -> bool {
        self.repeat == Repeat::OtherArguments || self.ending == Ending::Parked
    }

    /// Returns `true` if other jobs must hear of this ending.
    pub(super) fn concerns_others(&self) -> bool {
        self.ended.is_some() || !self.freed.is_empty()
    }

    /// Returns the action for the message.
    pub(crate) fn fate(&self) -> Fate {
        if self.unresolved {
            return Fate::Backoff;
        }
        if self.filed { Fate::Delete } else { self.ending.fate() }
    }

    /// Notes the record of an ended job, if it has dependents.
    pub(super) fn with_dependents_of(self, record: &Arc<Record>) -> Self {
        let has_dependents = record.state.is_terminal() && !record.dependents.is_empty();
        Self { ended: has_dependents.then(|| Arc::clone(record)), ..self }
    }
}

impl Delivery {
    /// Gives back the places of a job, and tells the dependents of an ended one. Until they know, its message stays.
    pub(super) async fn resolve(&self, mut settlement: Settlement, batch: &Batch<'_>) -> Settlement {
        self.give_back(mem::take(&mut settlement.freed), batch).await;
        let Some(ended) = settlement.ended.take() else { return settlement };
        if let Err(error) = batch.links().resolve_ended(Record::clone(&ended)).await {
            tracing::error!(id = self.id, %error, "cannot tell the jobs that wait for this one; its message comes back");
            settlement.unresolved = true;
        }
        settlement
    }

    /// Counts a delivery that has ended without an attempt.
    pub(super) fn counted(&self, settlement: Settlement, batch: &Batch<'_>) -> Settlement {
        let is_told = settlement.fate() == Fate::DeadLetter || matches!(settlement.ending, Ending::Parked);
        let kind = settlement.reason.as_ref().filter(|_| is_told).map(|reason| &*reason.kind);
        let kind = kind.or((settlement.repeat == Repeat::OtherArguments).then_some(OTHER_ARGUMENTS));
        let sample = Sample { ending: settlement.ending.as_str(), kind, id: Some(&self.id), ..Sample::default() };
        batch.engine.counter.count(&self.message.queue, batch.engine.clock.now(), &sample);
        settlement
    }

    /// Logs that this message is discarded as a duplicate of the job in `first`, or of an earlier message in its batch.
    pub(super) fn discard(&self, first: Option<&Record>, repeat: Repeat, batch: &Batch<'_>) -> Settlement {
        let (level, message) = match repeat {
            Repeat::Same => (Level::INFO, "duplicate discarded"),
            Repeat::OtherArguments => (Level::WARN, "duplicate discarded; its arguments differ from those of the job"),
        };
        log_ending!(
            level,
            id = self.id,
            outcome = Ending::Duplicate.as_str(),
            state = first.map(|first| first.state.as_str()),
            finished_at = first.and_then(|first| first.finished_at).map(tracing::field::display),
            message_id = self.message.id,
            request_id = batch.invocation.request_id,
            "{message}"
        );
        Settlement { repeat, ..Ending::Duplicate.into() }
    }

    pub(super) fn log(&self, record: &Record, settlement: &Settlement, failure: Option<&Failure>, run_ms: u64, batch: &Batch<'_>) {
        log_ending!(
            level(&settlement.ending),
            id = self.id,
            job = record.name,
            attempt = record.attempts,
            generation = record.generation,
            outcome = settlement.ending.as_str(),
            kind = failure.map(|failure| failure.kind.as_str()),
            error = failure.map(|failure| failure.message.as_str()),
            run_ms,
            waited_ms = record.enqueued_at.zip(record.started_at).map(|(sent, started)| millis(until(sent, started))),
            request_id = batch.invocation.request_id,
            "job ended"
        );
    }
}

/// Returns the log level of an ending: error for a permanent failure, warning for a retry.
pub(super) fn level(ending: &Ending) -> Level {
    match ending {
        Ending::Failed | Ending::Foreign | Ending::Rejected => Level::ERROR,
        Ending::Retried(_) | Ending::Expired | Ending::LeaseLost | Ending::Parked | Ending::Skipped => Level::WARN,
        Ending::Succeeded
        | Ending::Snoozed(_)
        | Ending::Interrupted
        | Ending::NotStarted
        | Ending::Held
        | Ending::Early(_)
        | Ending::Blocked
        | Ending::Busy(_)
        | Ending::Duplicate
        | Ending::Cancelled => Level::INFO,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Ends an attempt that ran without a record.
pub(super) fn unrecorded(running: &Record, outcome: Outcome, decoded: &Decoded, batch: &Batch<'_>) -> (Settlement, Option<Failure>) {
    let (record, ending) = lifecycle::finish(running, outcome, &decoded.policy, jitter(), batch.engine.clock.now());
    (Settlement { reason: record.error.clone(), ..ending.into() }, record.error)
}

/// Returns the hooks that an ending calls, in order.
pub(super) fn hooks_of(ending: &Ending, failure: Option<Failure>) -> Vec<Hook> {
    let failure = failure.unwrap_or_default();
    match ending {
        Ending::Succeeded => vec![Hook::Success],
        Ending::Retried(_) => {
            vec![Hook::Failure(failure.clone()), Hook::Retry(failure.clone()), Hook::Report { failure, is_permanent: false }]
        }
        Ending::Failed => {
            vec![Hook::Failure(failure.clone()), Hook::PermanentFailure(failure.clone()), Hook::Report { failure, is_permanent: true }]
        }
        _ => Vec::new(),
    }
}

/// An attempt whose ending must be recorded: its record, which may not be stored yet, and the progress that is not stored yet.
pub(super) struct Running {
    pub(super) record: Arc<Record>,
    pub(super) stored: Stored,
    pub(super) progress: Option<Value>,
    /// The run time of its body. `None` if no body ran, or if [`count`] has already counted the run.
    pub(super) ran: Option<Duration>,
    /// See [`Granted::is_owed`](super::executor::Granted::is_owed).
    pub(super) is_owed: bool,
    /// The trace of the attempt.
    pub(super) trace_id: Option<String>,
}

impl Running {
    /// Returns the record with the latest progress.
    fn whole(&self) -> Cow<'_, Record> {
        match &self.progress {
            None => Cow::Borrowed(&self.record),
            Some(progress) => Cow::Owned(Record { progress: Some(progress.clone()), ..Record::clone(&self.record) }),
        }
    }
}

/// Records the end of an attempt, if it still holds the lease.
pub(super) async fn end(
    mut running: Running,
    mut outcome: Outcome,
    decoded: &Decoded,
    held_until: Instant,
    mut body: Option<ledger::Running<'_>>,
    batch: &Batch<'_>,
) -> (Settlement, Option<Failure>) {
    let (mut fits, mut files) = (true, true);
    let mut counted = false;
    for _ in 0..CLAIMS {
        if Instant::now() >= held_until {
            break;
        }
        let now = batch.engine.clock.now();
        let (mut next, ending) = lifecycle::finish(&running.whole(), outcome.clone(), &decoded.policy, jitter(), now);
        if files {
            next = lifecycle::put_off(next, &decoded.request, &decoded.policy, now);
        }
        next.trace_id = running.trace_id.clone().or(next.trace_id);
        if running.is_owed {
            next = lifecycle::owed(next, now);
        }
        if !fits {
            (next.progress, next.checkpoint) = (None, None);
        }
        if !counted {
            count(&running, &next, &ending, decoded, now, batch);
            counted = true;
        }
        if running.stored == Stored::NotYet && running.progress.is_none() && !ending.is_trouble() {
            return (Settlement { unwritten: true, ..ending.into() }, None);
        }
        let next = Arc::new(next);
        let write = Write { next: Arc::clone(&next), seen: running.stored.seen(&running.record) };
        match batch.ledger.finish(write, body.take()).await {
            Ok(Written::Done) => {
                let (mut settlement, failure) = recorded(ending, &next);
                settlement.freed = lifecycle::freed(&running.record.held, &next.held);
                return (settlement, failure);
            }
            // A renewal or a cancel request was written in between.
            Ok(Written::Refused(Some(stored))) if stored.is_run_by(running.record.owner.as_deref()) => {
                (running.record, running.stored) = (Arc::from(stored), Stored::Yes);
            }
            Ok(Written::Refused(_)) => break,
            // Too large for the index: the message waits in the queue instead.
            Err(StoreError::Invalid(_)) if files && next.state == State::Scheduled => files = false,
            Err(StoreError::Invalid(reason)) => {
                batch.engine.counter.take_back(&running.record.queue, now, ending.as_str());
                (fits, counted, running.ran) = (false, false, None);
                let failure = Failure::new("result", format!("the result cannot be stored: {reason}"), now);
                outcome = Outcome::Failure(failure, FollowUp::GiveUp);
            }
            Err(error) => {
                tracing::error!(id = running.record.id, %error, "cannot record the ending of the attempt");
                break;
            }
        }
    }
    (Ending::LeaseLost.into(), None)
}

/// Counts an attempt before the request that records it, so that both are written together.
fn count(running: &Running, next: &Record, ending: &Ending, decoded: &Decoded, now: Timestamp, batch: &Batch<'_>) {
    let Running { record, ran, .. } = running;
    let kind = next.error.as_ref().filter(|_| matches!(ending, Ending::Failed | Ending::Retried(_))).map(|error| &*error.kind);
    let wait = waited(record, decoded).filter(|_| ran.is_some());
    batch.engine.counter.count(&record.queue, now, &Sample { ending: ending.as_str(), kind, id: None, run: *ran, wait });
}

/// Returns the wait of a job for its first attempt after it was enqueued or due, and the start of the attempt. The wait for other jobs says
/// nothing about the queue.
pub(super) fn waited(record: &Record, decoded: &Decoded) -> Option<(Duration, Timestamp)> {
    let due = record.enqueued_at.max(decoded.request.run_at);
    let is_first = record.generation == 1 && record.dependencies.is_none();
    due.zip(record.started_at).filter(|_| is_first).map(|(due, started)| (until(due, started), started))
}

fn recorded(ending: Ending, record: &Arc<Record>) -> (Settlement, Option<Failure>) {
    let failure = record.error.clone();
    let settlement = match ending {
        Ending::Failed => Settlement::failed(Arc::clone(record)),
        ending => Settlement { filed: record.state == State::Scheduled, ..ending.into() },
    };
    (settlement.with_dependents_of(record), failure)
}
