//! Jobs that wait for long: their records hold their messages, and the due index finds them.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    identity::digest,
    request::Request,
    transition::{created, unfinished, with_message},
};
use crate::{
    Policy,
    clock::after,
    names::{is_fifo, shard},
    record::{Record, State},
};

/// The longest wait in a queue. A job that waits longer is filed in the due index, unless its order would be lost.
pub(crate) const LONG: Duration = Duration::from_mins(15);

/// Returns true if a job waits so long that it is filed. On a FIFO queue it keeps its place instead.
pub(super) fn waits_long(record: &Record, now: Timestamp) -> bool {
    !is_fifo(&record.queue) && record.run_at.is_some_and(|at| at > after(now, LONG))
}

/// Returns true if the due index holds a job, so that its message is not needed.
pub(crate) fn is_filed(record: &Record, now: Timestamp) -> bool {
    record.state == State::Scheduled && waits_long(record, now)
}

/// Files a job in the due index, or moves it there: the record holds its message until `run_at`. `owner` is a fresh token; without it,
/// a mark of an earlier filing would undo the move.
pub(crate) fn filed(seen: Option<&Record>, request: &Request, policy: &Policy, owner: &str, run_at: Timestamp) -> Record {
    let base = seen.cloned().unwrap_or_else(|| created(request, policy));
    let digest = digest(&base, request);
    let base = if base.envelope.is_some() { base } else { with_message(base, request) };
    Record {
        digest,
        state: State::Scheduled,
        run_at: Some(run_at),
        due: Some(shard(&request.id)),
        owner: Some(owner.into()),
        ..unfinished(base)
    }
}

/// Files the job of an attempt that leaves it waiting for long. Returns any other record unchanged.
pub(crate) fn put_off(next: Record, request: &Request, policy: &Policy, now: Timestamp) -> Record {
    match (next.state, next.run_at, next.owner.clone()) {
        // The token is fresh enough: before this claim, nothing was filed with it.
        (State::Queued | State::Retrying, Some(at), Some(owner)) if waits_long(&next, now) => {
            filed(Some(&next), request, policy, &owner, at)
        }
        _ => next,
    }
}

/// Returns true if the message of a filed job must be sent by `until`.
pub(crate) fn is_sendable(record: &Record, until: Timestamp) -> bool {
    record.state == State::Scheduled && record.envelope.is_some() && record.run_at.is_some_and(|at| at <= until)
}

/// Marks that the message of a due job was sent.
pub(crate) fn sent(scheduled: &Record) -> Record {
    Record { state: State::Queued, due: None, ..scheduled.clone() }
}
