//! Decides about requests of a client: to cancel, move or retry a job.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    dependency::owed,
    filing::filed,
    identity::{is_awaited, with_dependents},
    request::Request,
    transition::{UNKNOWN, cancelled, created, finished, redriven, remember, without_message},
};
use crate::{
    Envelope, Policy, Priority,
    clock::after,
    record::{Dependencies, Failure, Record, State},
};

/// Cancels a job: ends a waiting job, and marks a running one. Returns `None` if the job has already ended.
pub(crate) fn cancel(seen: Option<&Record>, request: &Request, policy: &Policy, now: Timestamp) -> Option<Record> {
    let Some(seen) = seen else {
        return Some(finished(cancelled(created(request, policy)), policy, now));
    };
    match seen.state {
        state if state.is_terminal() => None,
        State::Running => Some(Record { cancel_requested: true, ..seen.clone() }),
        _ => Some(owed(finished(cancelled(seen.clone()), policy, now), now)),
    }
}

/// Completes a job that no worker or client has seen, such as an approval that a person gives: it succeeds with this result. Returns
/// `None` for any other job. `owner` is a new token.
pub(crate) fn completed(seen: Option<&Record>, id: &str, result: &Value, owner: &str, now: Timestamp) -> Option<Record> {
    let request = Request { id: id.to_owned(), sent_at: Some(now), ..Request::default() };
    let seen = match seen {
        None => created(&request, &UNKNOWN),
        Some(seen) if is_awaited(seen) => seen.clone(),
        Some(_) => return None,
    };
    let result = (!result.is_null()).then(|| result.clone());
    let succeeded = Record { state: State::Succeeded, result, owner: Some(owner.into()), ..seen };
    Some(owed(finished(succeeded, &UNKNOWN, now), now))
}

/// Changes the run time of a waiting job whose record holds its message. Returns `None` for any other job. `owner` is a new token.
pub(crate) fn moved(seen: &Record, owner: &str, run_at: Timestamp) -> Option<Record> {
    let waits = matches!(seen.state, State::Scheduled | State::Queued | State::Retrying) && seen.envelope.is_some();
    let request = Request { id: seen.id.clone(), ..Request::default() };
    waits.then(|| filed(Some(seen), &request, &UNKNOWN, owner, run_at))
}

/// Changes the queue of a waiting job whose record holds its message to that of a priority. Returns `None` for any other job. `owner` is a
/// new token.
pub(crate) fn prioritized(seen: &Record, owner: &str, priority: Priority, now: Timestamp) -> Option<Record> {
    let body = seen.envelope.as_ref().filter(|_| !seen.state.is_terminal() && seen.state != State::Running)?;
    let mut envelope = Envelope::parse(body).ok()?;
    envelope.priority = priority;
    let job = Record { queue: priority.queue(&seen.queue), envelope: Some(envelope.to_body()), ..seen.clone() };
    if job.state == State::Blocked {
        // It is sent to its queue when its wait ends.
        return Some(Record { owner: Some(owner.into()), ..job });
    }
    moved(&job, owner, seen.run_at.unwrap_or(now))
}

/// Runs an ended job again: files it with this message, and keeps its ending in the history. Returns `None` if the job has not ended.
/// `owner` is a new token.
pub(crate) fn retry(seen: &Record, request: &Request, owner: &str, now: Timestamp) -> Option<Record> {
    if !seen.state.is_terminal() {
        return None;
    }
    let again = Record {
        name: request.name.clone(), // empty in the record of a job that was cancelled before a worker saw it
        queue: request.queue.clone(),
        max_attempts: request.max_attempts.unwrap_or(seen.max_attempts),
        tags: if request.tags.is_empty() { seen.tags.clone() } else { request.tags.clone() },
        meta: if request.meta.is_empty() { seen.meta.clone() } else { request.meta.clone() },
        dependencies: dependencies(seen, request, now),
        dependents: with_dependents(seen, request).dependents.clone(),
        result: None,
        error: None,
        progress: None,
        checkpoint: None,
        ..without_message(redriven(&remember_ending(seen.clone())))
    };
    Some(filed(Some(&again), request, &UNKNOWN, owner, request.run_at.unwrap_or(now)))
}

/// Returns the dependencies of a job that runs again: those of the request, or else its own. If they were never met, the job waits for them,
/// for as long as the producer allows.
fn dependencies(seen: &Record, request: &Request, now: Timestamp) -> Option<Box<Dependencies>> {
    let dependencies = request.dependencies.clone().or_else(|| seen.dependencies.clone())?;
    let from = request.run_at.map_or(now, |at| at.max(now));
    let until = if dependencies.met { dependencies.until } else { Some(after(from, request.max_blocked)) };
    Some(Box::new(Dependencies { until, ..*dependencies }))
}

/// Adds the ending of a job to its history, unless the history already has its last failed attempt.
fn remember_ending(ended: Record) -> Record {
    let failure = ended.error.clone().unwrap_or_default();
    let kind = if ended.state == State::Failed { failure.kind } else { ended.state.as_str().to_owned() };
    if ended.history.last().is_some_and(|last| (last.generation, &last.kind) == (ended.generation, &kind)) {
        return ended;
    }
    let at = ended.finished_at;
    remember(ended, Failure { kind, message: failure.message, at })
}
