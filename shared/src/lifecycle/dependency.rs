//! Decides about jobs that wait for other jobs: when they are blocked, and what the ending of a dependency changes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    filing::{filed, waits_long},
    identity::digest,
    key::key_name,
    node::{MAX_BLOCKED, is_job, is_node, kept_until},
    request::Request,
    transition::{UNKNOWN, created, failed, finished, starts_at, unblocked, unfinished, with_message},
};
use crate::{
    clock::after,
    envelope::{Otherwise, When, excerpt},
    names::shard,
    record::{Dependencies, Failure, Record, State},
};

/// A member of `blocked_on` of a job that waits for a failure. It stays until one dependency has failed, so that the successes of all
/// others do not release the job. It is no valid id.
const FAILURE: &str = "\u{1f}failure";

/// The states of a job that has not ended.
const LIVE: &[State] = &[State::Scheduled, State::Blocked, State::Queued, State::Running, State::Retrying];
/// The states of a job that may still succeed, if necessary by a retry.
const NOT_SUCCEEDED: &[State] =
    &[State::Scheduled, State::Blocked, State::Queued, State::Running, State::Retrying, State::Failed, State::Cancelled, State::Expired];

/// Returns `true` if a job must be blocked before it can start.
pub(super) fn must_wait(seen: &Record) -> bool {
    seen.state != State::Blocked && seen.dependencies.as_ref().is_some_and(|dependencies| !dependencies.met)
}

/// Blocks a job until its dependencies have ended. `owner` is a new token, so that a late write for an earlier wait changes nothing. The due
/// index lists the job under the end of its wait. So a beater ends the job on time, and blocked jobs can be listed.
pub(super) fn blocked(seen: &Record, request: &Request, owner: &str, now: Timestamp) -> Record {
    let mut dependencies = seen.dependencies.clone().unwrap_or_default();
    // If a retry sent this message, the retry has already set `until`, because the message does not say how long the job may wait.
    let until = *dependencies.until.get_or_insert_with(|| after(now, request.max_blocked));
    dependencies.run_at = seen.run_at;
    let sentinel = (dependencies.when == When::Failed).then(|| FAILURE.to_owned());
    let base = with_message(seen.clone(), request);
    Record {
        digest: digest(seen, request),
        state: State::Blocked,
        blocked_on: dependencies.ids.iter().cloned().chain(sentinel).collect(),
        dependencies: Some(dependencies),
        owner: Some(owner.into()),
        run_at: Some(request.expires_at.map_or(until, |at| at.min(until))),
        due: Some(shard(&seen.id)),
        ..unfinished(base)
    }
}

/// Returns the jobs and nodes that block a job, without the sentinel.
pub fn unmet(blocked: &Record) -> impl Iterator<Item = &String> {
    blocked.blocked_on.iter().filter(|id| *id != FAILURE)
}

/// Returns the states of a dependency in which it can still release the job. A dependency in any other state counts as ended.
pub(crate) fn waits_for(blocked: &Record) -> &'static [State] {
    match blocked.dependencies.as_deref() {
        Some(Dependencies { when: When::Succeeded, otherwise: Otherwise::Hold, .. }) => NOT_SUCCEEDED,
        _ => LIVE,
    }
}

/// Returns the record that a dependent writes for a job without a record. It is used until the job's own message arrives. `owner` is a new
/// token, which distinguishes this record from one that another dependent writes for the same job.
pub(crate) fn awaited(id: &str, dependent: &str, owner: &str, now: Timestamp) -> Record {
    let request = Request { id: id.to_owned(), sent_at: Some(now), ..Request::default() };
    // The table deletes a page after this time. A beater then registers the jobs again that still wait.
    let purge_at = (!is_job(id)).then(|| kept_until(MAX_BLOCKED, now));
    Record { dependents: [dependent.to_owned()].into(), owner: Some(owner.into()), purge_at, ..created(&request, &UNKNOWN) }
}

/// The consequence of an ended dependency for a blocked job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// These dependencies no longer block it.
    Remove(BTreeSet<String>),
    /// The job stays blocked until the dependency is retried and succeeds.
    Hold,
    /// The job ends with this record.
    End(Box<Record>),
}

/// Decides what an ended dependency changes for a blocked job or node. `owner` is a new token.
pub(crate) fn effect(blocked: &Record, ended: &Record, owner: &str, now: Timestamp) -> Effect {
    let (when, otherwise) = blocked.dependencies.as_deref().map_or_else(Default::default, |it| (it.when, it.otherwise));
    let end = || {
        // The reason of a node names the job that did not succeed.
        let told = ended.error.as_ref().filter(|_| is_node(&ended.id)).map(|error| error.message.clone());
        let reason =
            told.unwrap_or_else(|| format!("the job {}, which had to succeed first, is {}", excerpt(&ended.id), ended.state.as_str()));
        Effect::End(Box::new(not_run(blocked, Failure::new("dependency", reason, now), owner, now)))
    };
    match (when, otherwise) {
        _ if ended.state == State::Succeeded => Effect::Remove([ended.id.clone()].into()),
        // The end of the node tells its parent of the failure.
        (When::Failed, _) if is_node(&blocked.id) => end(),
        (When::Failed, _) => Effect::Remove(blocked.blocked_on.clone()),
        (When::Ended, _) => Effect::Remove([ended.id.clone()].into()),
        (When::Succeeded, Otherwise::Hold) => Effect::Hold,
        (When::Succeeded, Otherwise::Cancel) => end(),
    }
}

/// Returns the ended record of a node whose members have all ended as required. Returns `None` for any other record.
pub(crate) fn closed(node: &Record) -> Option<Record> {
    let is_closed = is_node(&node.id) && node.state == State::Blocked && node.blocked_on.is_empty();
    is_closed.then(|| Record { state: State::Succeeded, ..node.clone() })
}

/// The state of a blocked job after a dependency was removed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    /// Other dependencies still block it, or its record is no longer in state `blocked`.
    Waits,
    /// It can be sent.
    Release,
    /// It waited for a failure, and every dependency has succeeded. It ends with this record.
    End(Box<Record>),
}

/// Decides about a blocked job after a dependency was removed. `owner` is a new token.
pub(crate) fn progress(job: &Record, owner: &str, now: Timestamp) -> Progress {
    if job.state != State::Blocked {
        return Progress::Waits;
    }
    if job.blocked_on.is_empty() {
        return Progress::Release;
    }
    if unmet(job).next().is_some() {
        return Progress::Waits;
    }
    let reason = "it runs only if a job that it depends on fails, and all of them succeeded";
    Progress::End(Box::new(not_run(job, Failure::new("not_needed", reason.into(), now), owner, now)))
}

/// Returns `true` if a job still waits for other jobs. A job that waits for a key has passed that.
pub(crate) fn waits_for_jobs(job: &Record) -> bool {
    job.state == State::Blocked && job.dependencies.as_ref().is_none_or(|dependencies| !dependencies.met)
}

/// Ends a blocked job without a run.
fn not_run(blocked: &Record, failure: Failure, owner: &str, now: Timestamp) -> Record {
    let ended = Record { state: State::Cancelled, error: Some(failure), owner: Some(owner.into()), ..blocked.clone() };
    owed(finished(ended, &UNKNOWN, now), now)
}

/// Fails a blocked job whose dependencies have not ended in time. Returns `None` before that time.
pub(super) fn blocked_too_long(blocked: &Record, owner: &str, now: Timestamp) -> Option<Record> {
    blocked.dependencies.as_ref()?.until.filter(|until| *until <= now)?;
    let reason = format!("it waited too long for {}", unmet_names(blocked));
    let ended = failed(Record { owner: Some(owner.into()), ..blocked.clone() }, Failure::new("blocked_too_long", reason, now));
    Some(owed(finished(ended, &UNKNOWN, now), now))
}

/// Names the jobs that block a job.
fn unmet_names(blocked: &Record) -> String {
    let (jobs, nodes): (Vec<_>, Vec<_>) = unmet(blocked).partition(|id| !is_node(id));
    let mut names: Vec<_> = jobs.into_iter().map(|id| key_name(id)).collect();
    if !nodes.is_empty() {
        names.push(format!("jobs of {} groups, which `sqjobs tree` shows", nodes.len()));
    }
    names.join(", ")
}

/// The way in which a released job continues.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Release {
    /// Send its message now.
    Send,
    /// Write this record: the due index holds the job until its run time.
    File(Box<Record>),
}

/// Decides about a blocked job without unmet dependencies. `owner` is a new token.
pub(crate) fn release(blocked: &Record, owner: &str, now: Timestamp) -> Release {
    let run_at = starts_at(blocked).unwrap_or(now);
    if waits_long(&unblocked(blocked.clone(), now), now) {
        Release::File(Box::new(put_back(blocked, owner, run_at, now)))
    } else {
        Release::Send
    }
}

/// Files a released job in the due index, so that a beater sends its message at `run_at`.
pub(crate) fn put_back(released: &Record, owner: &str, run_at: Timestamp, now: Timestamp) -> Record {
    let request = Request { id: released.id.clone(), ..Request::default() };
    filed(Some(&unblocked(released.clone(), now)), &request, &UNKNOWN, owner, run_at)
}

/// Lists an ended job with dependents in the due index until they know of its end. Returns any other record unchanged.
///
/// Only a job that may end without a message needs this. Any other job keeps its message until its dependents have been told.
pub(crate) fn owed(ended: Record, now: Timestamp) -> Record {
    // A node needs no entry: the job that ended the node keeps its own entry or message until the parent of the node has been told.
    if !ended.state.is_terminal() || ended.dependents.is_empty() || is_node(&ended.id) {
        return ended;
    }
    Record { due: Some(shard(&ended.id)), run_at: Some(now), ..ended }
}

/// Removes an ended job from the due index, after its dependents have been told of its end. Returns `None` for any other record.
pub(crate) fn settled(ended: &Record) -> Option<Record> {
    let is_owed = ended.state.is_terminal() && ended.due.is_some();
    is_owed.then(|| Record { due: None, run_at: None, ..ended.clone() })
}
