//! Gives a job that has not started the arguments of a later job with the same unique key.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{filing::filed, key::waits_for_key, request::Request, transition::UNKNOWN};
use crate::{
    envelope::Envelope,
    record::{Record, State},
};

/// The outcome of a replacement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Replacement {
    /// Replace the stored record by this one.
    Write(Box<Record>),
    /// The job has these arguments already, or later ones.
    Done,
    /// The job has started or ended, waits for other jobs, or has another name or queue. It keeps its arguments.
    Refused,
}

/// Gives the arguments, tags, data and run time of `by` to a job that has not started. `owner` is a new token, so that a claim of the old
/// arguments is refused.
///
/// The later of two enqueues wins, so a step that is repeated after a crash does not restore earlier arguments.
pub(crate) fn replaced(job: &Record, by: &Record, owner: &str, now: Timestamp) -> Replacement {
    let waits_for_key = waits_for_key(job).is_some();
    let is_waiting = matches!(job.state, State::Scheduled | State::Queued) || waits_for_key;
    if !is_waiting || job.generation > 0 || job.cancel_requested || (&job.name, &job.queue) != (&by.name, &by.queue) {
        return Replacement::Refused;
    }
    let has_dependencies = |job: &Record| job.dependencies.as_ref().is_some_and(|dependencies| !dependencies.ids.is_empty());
    if has_dependencies(job) || has_dependencies(by) {
        return Replacement::Refused;
    }
    let (Some(own), Some(other)) = (read(job), read(by)) else { return Replacement::Refused };
    if job.id == by.id || job.enqueued_at > by.enqueued_at {
        return Replacement::Done;
    }
    let run_at = by.run_at.unwrap_or(now);
    if own.expires_at.is_some_and(|expires_at| expires_at <= run_at) {
        return Replacement::Refused; // it would expire before it runs
    }
    let envelope = Envelope { args: other.args, kwargs: other.kwargs, tags: other.tags, meta: other.meta, ..own };
    let next = Record {
        envelope: Some(envelope.to_body()),
        digest: by.digest,
        tags: by.tags.clone(),
        meta: by.meta.clone(),
        enqueued_at: by.enqueued_at,
        owner: Some(owner.to_owned()),
        blocked_on: BTreeSet::new(),
        ..job.clone()
    };
    // A message that comes earlier waits until the run time.
    if job.state == State::Queued && job.run_at.is_none_or(|at| at <= run_at) {
        return Replacement::Write(Box::new(Record { run_at: Some(run_at), ..next }));
    }
    let request = Request { id: job.id.clone(), ..Request::default() };
    Replacement::Write(Box::new(filed(Some(&next), &request, &UNKNOWN, owner, run_at)))
}

/// Reads the message in a record.
fn read(job: &Record) -> Option<Envelope> {
    Envelope::parse(job.envelope.as_ref()?).ok().filter(|envelope| envelope.jobs.is_empty())
}
