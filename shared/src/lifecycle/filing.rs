//! Filed jobs: jobs with a long wait. The record holds the message, and the due index lists the job.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    identity::digest,
    request::Request,
    transition::{UNKNOWN, created, unblocked, unfinished, with_message},
};
use crate::{
    Policy,
    clock::after,
    names::{is_fifo, shard},
    record::{Record, State},
};

/// Maximum wait in a queue. A job with a longer wait is filed in the due index, unless it is on a FIFO queue and would lose its order.
pub(crate) const LONG: Duration = Duration::from_mins(15);

/// Returns `true` if the wait is so long that the job is filed. On a FIFO queue, the message stays in its order instead.
pub(super) fn waits_long(record: &Record, now: Timestamp) -> bool {
    !is_fifo(&record.queue) && record.run_at.is_some_and(|at| at > after(now, LONG))
}

/// Returns `true` if the due index holds the job, so that its message is not needed.
pub(crate) fn is_filed(record: &Record, now: Timestamp) -> bool {
    record.state == State::Scheduled && waits_long(record, now)
}

/// Files a job in the due index, or changes its run time there. The record holds its message until `run_at`. `owner` is a new token, so
/// that a late write of [`sent`] for an earlier filing cannot undo the change.
pub(crate) fn filed(seen: Option<&Record>, request: &Request, policy: &Policy, owner: &str, run_at: Timestamp) -> Record {
    let base = seen.cloned().unwrap_or_else(|| created(request, policy));
    let digest = digest(&base, request);
    let base = with_message(base, request);
    Record {
        digest,
        state: State::Scheduled,
        run_at: Some(run_at),
        due: Some(shard(&request.id)),
        owner: Some(owner.into()),
        ..unfinished(base)
    }
}

/// Returns the first record of a job whose message is sent later. The due index lists it until then. `owner` is a new token.
pub(crate) fn unsent(request: &Request, owner: &str, now: Timestamp) -> Record {
    let run_at = request.run_at.map_or(now, |at| at.max(now));
    let mut job = filed(None, request, &UNKNOWN, owner, run_at);
    if let Some(dependencies) = &mut job.dependencies {
        dependencies.until = Some(after(run_at, request.max_blocked)); // its message does not say it
    }
    job
}

/// Files a job that must wait long for its next attempt. Returns any other record unchanged.
pub(crate) fn put_off(next: Record, request: &Request, policy: &Policy, now: Timestamp) -> Record {
    match (next.state, next.run_at, next.owner.clone()) {
        // The token of the claim is new enough, because nothing was filed with it before.
        (State::Queued | State::Retrying, Some(at), Some(owner)) if waits_long(&next, now) => {
            filed(Some(&next), request, policy, &owner, at)
        }
        _ => next,
    }
}

/// Returns `true` if the record holds the message of a waiting job in place of a queue. A delivery of the job may then be a late copy of
/// its deleted message.
pub(crate) fn is_kept(record: &Record) -> bool {
    matches!(record.state, State::Scheduled | State::Blocked) && record.due.is_some()
}

/// Returns `true` if the message of a filed job is due by `until`.
pub(crate) fn is_sendable(record: &Record, until: Timestamp) -> bool {
    record.state == State::Scheduled && record.envelope.is_some() && record.run_at.is_some_and(|at| at <= until)
}

/// Marks the message of a due or released job as sent.
pub(crate) fn sent(waiting: &Record, now: Timestamp) -> Record {
    if waiting.state != State::Blocked {
        return Record { state: State::Queued, due: None, ..waiting.clone() };
    }
    let released = unblocked(waiting.clone(), now);
    // Two processes may mark a job that was handed a key, at different times: the records differ, and so must their versions.
    let until = released.held.iter().filter(|(key, place)| waiting.held.get(*key) != Some(*place)).find_map(|(_, place)| place.until);
    let owner = match (&released.owner, until) {
        (Some(owner), Some(until)) => Some(format!("{owner}-{until}")),
        (owner, _) => owner.clone(),
    };
    Record { state: State::Queued, due: None, owner, ..released }
}
