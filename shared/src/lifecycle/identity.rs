//! Checks that a message and a record with the same id belong to the same job.

use std::{borrow::Cow, collections::BTreeSet};

use jiff::Timestamp;

use super::{lease::SKEW, node::UNEXPANDED, request::Request};
use crate::{
    envelope::{Digest, Otherwise, When, are_of_one_function, excerpt},
    record::{Failure, Record, State},
};

/// The kind of a job whose record the store cannot hold.
pub(crate) const UNSTORABLE: &str = "unstorable";
/// The kinds of messages that are rejected before an attempt. Earlier versions wrote `reserved_priority`.
const REFUSALS: &[&str] = &["rejected", "parked", "contract", UNSTORABLE, UNEXPANDED, "reserved_priority"];

/// Returns `true` if a message belongs to the job with its id. It may have another priority. The record has no name if only a
/// cancellation, a completion or a dependent has written it.
pub(crate) fn is_of(seen: &Record, request: &Request) -> bool {
    seen.name.is_empty() || seen.name == request.name && are_of_one_function(&seen.queue, &request.queue)
}

/// Adds the dependents that a message names to the record of its job.
pub(crate) fn with_dependents<'a>(seen: &'a Record, request: &Request) -> Cow<'a, Record> {
    if request.dependents.is_subset(&seen.dependents) {
        return Cow::Borrowed(seen);
    }
    Cow::Owned(Record { dependents: seen.dependents.union(&request.dependents).cloned().collect(), ..seen.clone() })
}

/// Adds the dependents that the message of a job names to its record. Returns `None` if the record has them all, or if the job is running:
/// then its message is kept. `owner` is a new token.
///
/// The result must be written before the message is deleted. Otherwise, a retried job would not know these dependents.
pub(crate) fn noted(seen: &Record, request: &Request, owner: &str) -> Option<Record> {
    match with_dependents(seen, request) {
        Cow::Owned(next) if seen.state != State::Running => Some(Record { owner: Some(owner.to_owned()), ..next }),
        _ => None,
    }
}

/// Returns `true` for the record of a job that others wait for and that no worker or client has seen yet.
pub fn is_awaited(seen: &Record) -> bool {
    seen.name.is_empty() && seen.state == State::Queued
}

/// Returns `true` for a record that no job has claimed: other jobs wait for its id, or every message with its id was rejected. A valid
/// message replaces such a record, and keeps its dependents. So a rejected message never hides a valid message with the same id.
pub fn is_unclaimed(seen: &Record) -> bool {
    is_awaited(seen) || was_rejected(seen)
}

/// Returns `true` for the record of a job that has failed without an attempt, because its message was rejected.
fn was_rejected(seen: &Record) -> bool {
    let is_refusal = |error: &Failure| REFUSALS.contains(&&*error.kind);
    seen.state == State::Failed && seen.generation == 0 && seen.error.as_ref().is_some_and(is_refusal)
}

/// Returns the failure of a message that does not belong to the job with its id.
pub(crate) fn id_in_use(seen: &Record, now: Timestamp) -> Failure {
    let [id, name, queue] = [&seen.id, &seen.name, &seen.queue].map(|text| excerpt(text));
    let reason = format!("id {id} belongs to job {name} on queue {queue}; send this job with another id");
    Failure::new("id_in_use", reason, now)
}

/// Returns the failure of a workflow whose id belongs to another workflow or job with the same name.
pub(crate) fn other_workflow(id: &str, now: Timestamp) -> Failure {
    let reason = format!("id {} belongs to a workflow with other jobs or arguments; send this one with another id", excerpt(id));
    Failure::new("id_in_use", reason, now)
}

/// Returns the digest of the arguments that the job runs with: those in its record, or else those in the message.
pub(super) fn digest(seen: &Record, request: &Request) -> Option<Digest> {
    request.digest.filter(|_| seen.envelope.is_none()).or(seen.digest)
}

/// Returns `true` if a message has other arguments than the record of its job. Returns `false` if either is unknown.
pub(crate) fn has_other_arguments(seen: &Record, request: &Request) -> bool {
    seen.digest.is_some() && request.digest.is_some() && seen.digest != request.digest
}

/// Returns `true` if an earlier job with the same id has other arguments, another run time or other dependencies than the announced one.
pub(crate) fn differs(first: &Record, announced: &Record) -> bool {
    let has_other_arguments = first.digest.is_some() && first.digest != announced.digest;
    let asked = announced.dependencies.as_deref().cloned().unwrap_or_default();
    let has_other_dependencies = waits_for_other_jobs(first, &asked.ids, asked.when, asked.otherwise);
    !is_unclaimed(first) && (has_other_arguments || has_other_dependencies || waits_for_other_time(first, announced.run_at))
}

/// Returns `true` if a job waits, or has waited, for other jobs than these, or under other conditions.
pub fn waits_for_other_jobs(first: &Record, depends_on: &[String], when: When, otherwise: Otherwise) -> bool {
    let Some(own) = first.dependencies.as_deref() else { return !depends_on.is_empty() };
    let set = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
    (set(&own.ids), own.when, own.otherwise) != (set(depends_on), when, otherwise)
}

/// Returns `true` if a job that was not started yet waits for another time than `run_at`.
pub fn waits_for_other_time(first: &Record, run_at: Option<Timestamp>) -> bool {
    let waits = first.generation == 0 && matches!(first.state, State::Queued | State::Scheduled);
    let differs = match (first.run_at, run_at) {
        (Some(first), Some(asked)) => first.duration_since(asked).unsigned_abs() > SKEW,
        (first, asked) => first != asked,
    };
    waits && differs
}
