//! Changes of records that the decisions share.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{key::with_handed_place, request::Request};
use crate::{
    Policy,
    clock::after,
    names::{failed_shard_name, shard_of},
    record::{Dependencies, Dlq, Failure, Past, Record, State},
};

/// Maximum number of entries in a record's history.
pub(super) const HISTORY: usize = 10;

/// The policy for a job whose own policy is unknown here. Its worker sets the maximum number of attempts.
pub(crate) const UNKNOWN: Policy = Policy { max_attempts: 0, ..Policy::new() };

/// Returns the record of an enqueued job that no worker has received yet.
pub(crate) fn announced(request: &Request) -> Record {
    created(request, &UNKNOWN)
}

/// Returns the first record of a job.
pub(crate) fn created(request: &Request, policy: &Policy) -> Record {
    Record {
        id: request.id.clone(),
        name: request.name.clone(),
        queue: request.queue.clone(),
        state: State::Queued,
        max_attempts: request.max_attempts.unwrap_or(policy.max_attempts),
        // If a message is redriven after its record was deleted, the generations continue from the one that failed.
        generation: request.dead.unwrap_or(0),
        digest: request.digest,
        enqueued_at: request.sent_at,
        run_at: request.run_at,
        tags: request.tags.clone(),
        meta: request.meta.clone(),
        parent_id: request.parent_id.clone(),
        root_id: request.root_id.clone(),
        dependencies: request.dependencies.clone(),
        dependents: request.dependents.clone(),
        ..Record::default()
    }
}

/// Clears the fields that only an ended job may have, even if an operator has set them. Otherwise the table would delete a job that
/// continues.
pub(super) fn unfinished(record: Record) -> Record {
    Record { finished_at: None, purge_at: None, listed: None, listed_at: None, ..record }
}

/// Reopens a failed record whose message came back from the dead-letter queue, with all attempts available again.
pub(super) fn redriven(seen: &Record) -> Record {
    Record { attempts: 0, runs: 0, snoozes: 0, ..reopened(seen) }
}

fn reopened(seen: &Record) -> Record {
    // If the job must wait again, its time to wait begins again.
    let again = |dependencies: &Dependencies| Box::new(Dependencies { until: None, ..dependencies.clone() });
    let (dlq, held) = (None, BTreeMap::new());
    Record { dlq, held, dependencies: seen.dependencies.as_deref().map(again), ..unfinished(seen.clone()) }
}

/// Adds a message to a record that holds none.
pub(crate) fn with_message(record: Record, request: &Request) -> Record {
    if record.envelope.is_some() {
        return record;
    }
    Record {
        envelope: Some(request.body.clone()),
        message_group: request.message_group.clone(),
        message_attributes: request.message_attributes.clone(),
        ..record
    }
}

/// Removes the message from a record. A failed record keeps its message until the dead letter is sent, in case no other copy is left.
pub(super) fn without_message(record: Record) -> Record {
    Record { envelope: None, message_group: None, message_attributes: BTreeMap::new(), ..record }
}

pub(super) fn remember(mut record: Record, failure: Failure) -> Record {
    let Failure { kind, message, at } = failure;
    record.history.push(Past { generation: record.generation, started_at: record.started_at, kind, message, at });
    let surplus = record.history.len().saturating_sub(HISTORY);
    record.history.drain(..surplus);
    record
}

pub(super) fn failed(seen: Record, failure: Failure) -> Record {
    Record {
        state: State::Failed,
        error: Some(failure),
        dlq: Some(Dlq::Pending),
        listed: Some(failed_shard_name(shard_of(&seen.id))),
        ..seen
    }
}

pub(super) fn cancelled(seen: Record) -> Record {
    Record { state: State::Cancelled, cancel_requested: false, ..seen }
}

/// Sets the fields that all terminal records share.
pub(super) fn finished(terminal: Record, policy: &Policy, now: Timestamp) -> Record {
    // A job that waited for a key was listed there.
    let listed = terminal.listed.clone().filter(|_| terminal.state == State::Failed);
    Record {
        finished_at: Some(now),
        held: BTreeMap::new(),
        listed_at: listed.as_ref().map(|_| now),
        listed,
        purge_at: Some(after(now, policy.retention).as_second()),
        lease_until: None,
        run_at: None,
        due: None,
        ..if terminal.dlq == Some(Dlq::Pending) { terminal } else { without_message(terminal) }
    }
}

/// Marks the conditions of a job as met, if it has any.
pub(super) fn met(record: Record) -> Record {
    let dependencies = record.dependencies.map(|dependencies| Box::new(Dependencies { met: true, ..*dependencies }));
    Record { dependencies, ..record }
}

/// Returns the instant before which a job does not start. The record of a blocked job keeps it among its dependencies.
pub fn starts_at(job: &Record) -> Option<Timestamp> {
    if job.state == State::Blocked { job.dependencies.as_ref()?.run_at } else { job.run_at }
}

/// Returns a blocked job after its wait: with its own run time, with the place that it was handed, and not in the due index.
pub(super) fn unblocked(blocked: Record, now: Timestamp) -> Record {
    let run_at = starts_at(&blocked);
    let mut job = met(Record { run_at, due: None, ..with_handed_place(blocked, now) });
    if let Some(dependencies) = &mut job.dependencies {
        dependencies.run_at = None;
    }
    job
}

pub(super) fn too_often(limit: &str, times: u32, now: Timestamp) -> Failure {
    Failure::new(limit, format!("the policy's {limit} of {times} is reached"), now)
}
