//! Decides about a delivery: to run its job, to end it, or to leave it alone.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    dependency::{blocked, must_wait},
    ending::Ending,
    filing::{filed, is_filed, waits_long},
    identity::{digest, is_of, is_unclaimed, noted, with_dependents},
    lease::{KILLED, free_from, was_killed},
    request::Request,
    transition::{cancelled, created, failed, finished, redriven, remember, too_often, unblocked, unfinished, with_message},
};
use crate::{
    Policy, Recording,
    clock::after,
    names::is_fifo,
    record::{Dlq, Failure, Record, State},
};

/// Maximum size of a message that a record [written on trouble](Recording::OnTrouble) stores. It leaves room for the other attributes.
pub(super) const KEPT_BYTES: usize = 100_000;

/// The claim that a worker would make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// A random token, new for each claim.
    pub(crate) owner: String,
    /// The length of the lease.
    pub(crate) lease: Duration,
}

/// The decision about a delivery.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// Write this record; if that succeeds, run the job.
    Run {
        /// The record, in state `running`.
        next: Box<Record>,
        /// `true` if the last attempt was killed. The job must then run alone.
        suspect: bool,
    },
    /// Write this record; if that succeeds, the delivery has this ending. If the ending is `Blocked` or `Duplicate`, decide again.
    End {
        /// The record: it has ended, is blocked, or is filed because the delivery is early; or it has the added dependents of a duplicate.
        next: Box<Record>,
        /// The ending.
        ending: Ending,
    },
    /// Write nothing.
    Leave(Ending),
}

/// Returns `true` if a delivery runs its attempt without a claim in the table. `receives` counts the receives of its message, including
/// this one. `has_record` is `true` if the message says that its job has a record.
pub(crate) fn starts_unrecorded(policy: &Policy, receives: u32, has_record: bool) -> bool {
    match policy.recording {
        Recording::Always => false,
        Recording::OnTrouble => receives == 1 && !has_record,
    }
}

/// Decides about a delivery, given the stored record of its id.
pub(crate) fn decide(seen: Option<&Record>, request: &Request, policy: &Policy, claim: &Claim, now: Timestamp) -> Decision {
    let Some(seen) = seen else {
        return start(created(request, policy), request, policy, claim, now);
    };
    let lacking = noted(seen, request, &claim.owner);
    let seen = &*with_dependents(seen, request);
    if is_unclaimed(seen) {
        let dependents = seen.dependents.clone();
        return start(Record { dependents, ..created(request, policy) }, request, policy, claim, now);
    }
    if !is_of(seen, request) {
        return Decision::Leave(Ending::Foreign);
    }
    if let Some(next) = lacking {
        return Decision::End { next: Box::new(next), ending: Ending::Duplicate };
    }
    match seen.state {
        State::Failed if request.dead == Some(seen.generation) => {
            start(budgeted(&redriven(seen), request, policy), request, policy, claim, now)
        }
        State::Failed if seen.dlq == Some(Dlq::Pending) => Decision::Leave(Ending::Failed),
        state if state.is_terminal() => Decision::Leave(Ending::Duplicate),
        State::Running => take_over(seen, request, policy, claim, now),
        State::Blocked if !seen.blocked_on.is_empty() => Decision::Leave(Ending::Blocked),
        _ => start(budgeted(seen, request, policy), request, policy, claim, now),
    }
}

/// Adds the maximum number of attempts to a record from a client, since a client does not know the job's policy. If the job has never run
/// and its record has no dependencies, adds those of the message.
fn budgeted(seen: &Record, request: &Request, policy: &Policy) -> Record {
    let max_attempts = if seen.max_attempts == 0 { request.max_attempts.unwrap_or(policy.max_attempts) } else { seen.max_attempts };
    let dependencies = seen.dependencies.clone().or_else(|| request.dependencies.clone().filter(|_| seen.generation == 0));
    Record { max_attempts, dependencies, ..seen.clone() }
}

/// Starts a waiting job if it is due, neither cancelled nor expired, and has attempts left.
fn start(seen: Record, request: &Request, policy: &Policy, claim: &Claim, now: Timestamp) -> Decision {
    let owned = |seen: Record| Record { owner: Some(claim.owner.clone()), ..seen };
    if seen.cancel_requested {
        return end(cancelled(owned(seen)), Ending::Cancelled, policy, now);
    }
    if is_too_late(request, now) {
        let expired = Record { state: State::Expired, ..owned(seen) };
        return end(expired, Ending::Expired, policy, now);
    }
    // A blocked job at this point no longer waits for any job or key.
    let seen = if seen.state == State::Blocked { unblocked(seen, now) } else { seen };
    // A beater sends another message for a job in the due index. This one may be a late copy that nobody delivers again, so the job must
    // not leave the index yet.
    if let Some(due) = seen.run_at.filter(|due| *due > now && seen.state == State::Scheduled && seen.due.is_some()) {
        return early(&seen, request, policy, claim, due, now);
    }
    if must_wait(&seen) {
        return Decision::End { next: Box::new(blocked(&seen, request, &claim.owner, now)), ending: Ending::Blocked };
    }
    if let Some(due) = seen.run_at.filter(|due| *due > now) {
        return early(&seen, request, policy, claim, due, now);
    }
    if seen.attempts >= seen.max_attempts {
        let killed = seen.error.clone().filter(|error| error.kind == KILLED);
        let spent = killed.unwrap_or_else(|| Failure::new("exhausted", "no attempt is left".into(), now));
        return give_up(owned(seen), spent, policy, now);
    }
    if seen.runs >= policy.max_runs {
        return give_up(owned(seen), too_often("max_runs", policy.max_runs, now), policy, now);
    }
    let suspect = seen.history.last().is_some_and(|last| last.kind == KILLED);
    grant(seen, request, policy, claim, suspect, now)
}

/// Decides about a job that is not due yet. If its wait is long, its record replaces the message.
fn early(seen: &Record, request: &Request, policy: &Policy, claim: &Claim, due: Timestamp, now: Timestamp) -> Decision {
    // The record of a job with a unique key holds the key, so it must be written, unless it was. A FIFO queue keeps its order instead.
    let must_file = request.is_unique && seen.state != State::Scheduled && seen.held.is_empty() && !is_fifo(&seen.queue);
    if !(waits_long(seen, now) || must_file) || is_filed(seen, now) {
        return Decision::Leave(Ending::Early(due));
    }
    Decision::End { next: Box::new(filed(Some(seen), request, policy, &claim.owner, due)), ending: Ending::Early(due) }
}

/// Decides about a running job. It is taken over once its lease has certainly expired.
fn take_over(seen: &Record, request: &Request, policy: &Policy, claim: &Claim, now: Timestamp) -> Decision {
    let free = free_from(seen);
    if now <= free {
        return Decision::Leave(Ending::Busy(free));
    }
    let killed = was_killed(now);
    let seen = remember(seen.clone(), killed.clone());
    let owned = Record { owner: Some(claim.owner.clone()), ..seen };
    if owned.cancel_requested {
        return end(cancelled(owned), Ending::Cancelled, policy, now);
    }
    if owned.attempts >= owned.max_attempts || owned.runs >= policy.max_runs {
        return give_up(owned, killed, policy, now);
    }
    if is_too_late(request, now) {
        return end(Record { state: State::Expired, error: Some(killed), ..owned }, Ending::Expired, policy, now);
    }
    grant(Record { error: Some(killed), ..owned }, request, policy, claim, true, now)
}

fn is_too_late(request: &Request, now: Timestamp) -> bool {
    request.expires_at.is_some_and(|at| at <= now)
}

fn grant(seen: Record, request: &Request, policy: &Policy, claim: &Claim, suspect: bool, now: Timestamp) -> Decision {
    let digest = digest(&seen, request);
    // The record keeps a copy of the message, because another delivery of the message may run the job without a record and delete the
    // message.
    let keeps = policy.recording == Recording::OnTrouble && request.bytes() <= KEPT_BYTES;
    let seen = if keeps { with_message(seen, request) } else { seen };
    let next = Record {
        digest,
        state: State::Running,
        attempts: seen.attempts.saturating_add(1),
        generation: seen.generation.saturating_add(1),
        runs: seen.runs.saturating_add(1),
        owner: Some(claim.owner.clone()),
        lease_until: Some(after(now, claim.lease).as_millisecond()),
        started_at: Some(now),
        run_at: None,
        due: None,
        // If the job was filed, its record keeps the envelope until the job ends, because its message may already be deleted.
        ..unfinished(seen)
    };
    Decision::Run { next: Box::new(next), suspect }
}

/// Starts the lease of a claim that is not written yet at `now`.
pub(crate) fn lease_anew(claimed: &mut Record, claim: &Claim, now: Timestamp) {
    claimed.lease_until = Some(after(now, claim.lease).as_millisecond());
    claimed.started_at = Some(now);
}

fn end(next: Record, ending: Ending, policy: &Policy, now: Timestamp) -> Decision {
    Decision::End { next: Box::new(finished(next, policy, now)), ending }
}

fn give_up(seen: Record, failure: Failure, policy: &Policy, now: Timestamp) -> Decision {
    end(failed(seen, failure), Ending::Failed, policy, now)
}
