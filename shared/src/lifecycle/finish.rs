//! Decides about the ending of an attempt.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    ending::Ending,
    key::without_limit,
    transition::{cancelled, failed, finished, remember, too_often, unfinished, without_message},
};
use crate::{
    Policy,
    clock::after,
    job_error::FollowUp,
    record::{Dlq, Failure, Record, State},
};

/// The outcome of an attempt's body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The body returned this output.
    Success(Value),
    /// The body failed and requests this next step.
    Failure(Failure, FollowUp),
}

/// Decides the ending of an attempt, given its record while it ran.
pub(crate) fn finish(running: &Record, outcome: Outcome, policy: &Policy, jitter: f64, now: Timestamp) -> (Record, Ending) {
    let running = without_limit(Record { lease_until: None, ..unfinished(running.clone()) });
    let (failure, next) = match outcome {
        Outcome::Success(output) => return (succeeded(running, output, policy, now), Ending::Succeeded),
        Outcome::Failure(failure, next) => (failure, next),
    };
    if running.cancel_requested || next == FollowUp::Cancel {
        let cancelled = Record { error: Some(failure), ..cancelled(running) };
        return (finished(cancelled, policy, now), Ending::Cancelled);
    }
    match next {
        FollowUp::Retry(wait) if running.attempts < running.max_attempts => {
            let wait = wait.unwrap_or_else(|| policy.backoff.delay(running.attempts, jitter));
            retried(running, failure, after(now, wait))
        }
        FollowUp::Snooze(wait) if running.snoozes < policy.max_snoozes && running.runs < policy.max_runs => {
            snoozed(running, after(now, wait))
        }
        FollowUp::Resume if running.runs < policy.max_runs => (given_back(running), Ending::Interrupted),
        FollowUp::Snooze(_) if running.runs < policy.max_runs => {
            gave_up(running, too_often("max_snoozes", policy.max_snoozes, now), policy, now)
        }
        FollowUp::Return => (Record { runs: running.runs.saturating_sub(1), ..given_back(running) }, Ending::NotStarted),
        FollowUp::Snooze(_) | FollowUp::Resume => gave_up(running, too_often("max_runs", policy.max_runs, now), policy, now),
        FollowUp::Retry(_) | FollowUp::GiveUp | FollowUp::Cancel => gave_up(running, failure, policy, now),
    }
}

fn succeeded(running: Record, output: Value, policy: &Policy, now: Timestamp) -> Record {
    let result = (policy.keep_result && !output.is_null()).then_some(output);
    let done = Record { state: State::Succeeded, result, error: None, checkpoint: None, ..running };
    finished(done, policy, now)
}

fn retried(running: Record, failure: Failure, at: Timestamp) -> (Record, Ending) {
    let next = remember(running, failure.clone());
    let next = Record { state: State::Retrying, error: Some(failure), run_at: Some(at), ..next };
    (next, Ending::Retried(at))
}

fn snoozed(running: Record, at: Timestamp) -> (Record, Ending) {
    let snoozes = running.snoozes.saturating_add(1);
    (Record { snoozes, run_at: Some(at), ..given_back(running) }, Ending::Snoozed(at))
}

/// Returns the record of an attempt that does not count. It keeps the generation, because writes are conditional on it.
fn given_back(running: Record) -> Record {
    Record { state: State::Queued, attempts: running.attempts.saturating_sub(1), ..running }
}

fn gave_up(running: Record, failure: Failure, policy: &Policy, now: Timestamp) -> (Record, Ending) {
    let remembered = remember(running, failure.clone());
    (finished(failed(remembered, failure), policy, now), Ending::Failed)
}

/// Marks the dead letter of a failed job as sent.
pub(crate) fn dead_lettered(failed: &Record) -> Record {
    Record { dlq: Some(Dlq::Sent), ..without_message(failed.clone()) }
}
