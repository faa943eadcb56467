//! Decisions of a beater about jobs that no message brings back, and about messages that SQS itself has given up.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Decision, Ending, LONG, Request, cancelled, created, failed, filed, finished, free_from, id_in_use, is_of, remember, shard, was_killed,
};
use crate::{
    Policy,
    clock::after,
    record::{Dlq, Failure, Record, State},
};

/// How long past its time a job is that a person should see. A message that is out of sight comes back within 12 hours.
const OVERDUE: Duration = Duration::from_hours(24);
/// How long past its time a job is whose message is gone for sure: a queue keeps one for 14 days at most.
const GONE: Duration = Duration::from_hours(15 * 24);

/// The kind of a job whose message is gone, and of whose message there is no copy.
const LOST: &str = "lost";

/// The repair of a record that is unfinished, or whose dead letter is owed.
#[derive(Debug, Clone, PartialEq)]
pub enum Repair {
    /// Nothing: all is as it should be.
    Nothing,
    /// A person's attention. It is late, and only its message can bring it back, which may still come.
    Overdue,
    /// Send its message again: the worker that receives it makes the owed dead letter.
    Send,
    /// Write this record: filed anew, since its message is gone and the record has a copy; or ended.
    Write(Box<Record>),
}

/// Decides what to do about a record that is unfinished, or whose dead letter is owed. `expires_at` is that of its envelope,
/// `owner` a fresh token.
pub fn repair(seen: &Record, expires_at: Option<Timestamp>, owner: &str, now: Timestamp) -> Repair {
    if seen.state == State::Failed && seen.dlq == Some(Dlq::Pending) {
        return owed(seen, now);
    }
    if seen.state.is_terminal() || seen.state == State::Blocked {
        return Repair::Nothing;
    }
    let since = since(seen);
    let is_past = |wait: Duration| since.is_some_and(|since| after(since, wait) < now);
    if seen.envelope.is_none() {
        return match seen.state {
            // The index holds what nobody can send.
            State::Scheduled if is_past(LONG) => lost(seen, owner, now),
            _ if is_past(GONE) => lost(seen, owner, now),
            _ if is_past(OVERDUE) => Repair::Overdue,
            _ => Repair::Nothing,
        };
    }
    let ended = |record| Repair::Write(Box::new(finished(Record { owner: Some(owner.into()), ..record }, &Policy::new(), now)));
    let again = |seen: Record, at: Timestamp| {
        let request = Request { id: seen.id.clone(), ..Request::default() };
        Repair::Write(Box::new(filed(Some(&seen), &request, &Policy::new(), owner, at)))
    };
    match seen.state {
        State::Scheduled if expires_at.is_some_and(|at| at <= now) => ended(Record { state: State::Expired, ..seen.clone() }),
        State::Scheduled if seen.run_at.is_none() || seen.due.as_ref() != Some(&shard(&seen.id)) => {
            again(seen.clone(), seen.run_at.unwrap_or(now))
        }
        // Claimed straight from the due index, it may have been so by a message that was deleted at that moment.
        State::Running if is_past(LONG) => {
            let lapsed = lapsed(seen, now);
            if seen.cancel_requested { ended(cancelled(lapsed)) } else { again(lapsed, now) }
        }
        State::Retrying if is_past(LONG) => again(seen.clone(), now),
        // What was sent is in a queue, which may be long.
        State::Queued if is_past(OVERDUE) => again(seen.clone(), now),
        _ => Repair::Nothing,
    }
}

/// Decides about a dead letter that is owed. The process that failed the job ended before it could send it.
fn owed(failed: &Record, now: Timestamp) -> Repair {
    let is_past = |wait: Duration| since(failed).is_some_and(|since| after(since, wait) < now);
    match &failed.envelope {
        Some(_) if is_past(LONG) => Repair::Send,
        // Its message makes the dead letter; without it nothing is left to make one of.
        None if is_past(OVERDUE) && failed.error.as_ref().is_none_or(|error| error.kind != LOST) => Repair::Overdue,
        _ => Repair::Nothing,
    }
}

/// Since when it could have been taken up.
fn since(seen: &Record) -> Option<Timestamp> {
    match seen.state {
        State::Failed => seen.finished_at,
        State::Running => Some(free_from(seen)),
        _ => seen.run_at.or(seen.started_at).or(seen.enqueued_at),
    }
}

/// A job whose attempt died, taken from it; whoever writes that has a token of its own.
fn lapsed(seen: &Record, now: Timestamp) -> Record {
    let killed = was_killed(now);
    Record { lease_until: None, error: Some(killed.clone()), ..remember(seen.clone(), killed) }
}

fn lost(seen: &Record, owner: &str, now: Timestamp) -> Repair {
    let reason = "its message is gone, and the record has no copy of it; enqueue it again under another id";
    Repair::Write(Box::new(given_up(seen, Failure::new(LOST, reason.into(), now), owner, now)))
}

fn given_up(seen: &Record, failure: Failure, owner: &str, now: Timestamp) -> Record {
    let seen = if seen.state == State::Running { lapsed(seen, now) } else { seen.clone() };
    let ended = if seen.cancel_requested { cancelled(seen) } else { failed(seen, failure) };
    finished(Record { owner: Some(owner.into()), ..ended }, &Policy::new(), now)
}

/// Decides about a message of which no attempt can be made, given the record of its id as it is stored and a fresh token. `ending` is
/// that of a message without a record: rejected, or parked.
///
/// A message of a cancelled job is discarded. A rejected message ends a live record as `failed` with this failure: no other message
/// would end it. A parked message leaves it to another worker.
pub fn refuse(seen: Option<&Record>, request: &Request, ending: &Ending, failure: Failure, owner: &str, now: Timestamp) -> Decision {
    // The name of a message that cannot be read is not known.
    let is_its = |seen: &&Record| is_of(seen, request) || request.name.is_empty() && seen.queue == request.queue;
    let Some(seen) = seen.filter(is_its) else { return Decision::Leave(ending.clone()) };
    match seen.state {
        State::Cancelled => Decision::Leave(Ending::Duplicate),
        _ if *ending != Ending::Rejected => Decision::Leave(ending.clone()),
        State::Failed if seen.dlq == Some(Dlq::Pending) => Decision::Leave(Ending::Failed),
        state if state.is_terminal() => Decision::Leave(Ending::Rejected),
        // A worker of another version may run it.
        State::Running if now <= free_from(seen) => Decision::Leave(Ending::Busy(free_from(seen))),
        _ => {
            let next = given_up(seen, failure, owner, now);
            let ending = if next.state == State::Failed { Ending::Rejected } else { Ending::Cancelled };
            Decision::End { next: Box::new(next), ending }
        }
    }
}

/// What becomes of a message that SQS itself has moved to a dead-letter queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Abandoned {
    /// Its job has ended, or the due index holds it: it goes.
    Delete,
    /// Its job may be running, or it tells the reason already.
    Leave,
    /// It is given this reason, and its record the mark, if that has failed.
    Explain(Failure),
    /// Write this. If the job has failed so, then the same; else it goes.
    End(Box<Record>),
}

/// Decides about a message that was received too often, given the record of its id as it is stored and a fresh token. `flaw`
/// says why the message cannot be read, if so.
pub fn abandoned(seen: Option<&Record>, request: &Request, flaw: Option<Failure>, owner: &str, now: Timestamp) -> Abandoned {
    let reason = "SQS moved its message to the dead-letter queue, since it was received too often without an end";
    let failure = flaw.unwrap_or_else(|| Failure::new("redriven", reason.into(), now));
    let end = |seen: &Record| Abandoned::End(Box::new(given_up(seen, failure.clone(), owner, now)));
    let Some(seen) = seen else {
        let is_known = !request.name.is_empty() && !request.queue.is_empty();
        return if is_known { end(&created(request, &Policy::new())) } else { Abandoned::Explain(failure) };
    };
    if !is_of(seen, request) {
        return Abandoned::Explain(id_in_use(seen, now));
    }
    match seen.state {
        State::Failed if seen.dlq == Some(Dlq::Pending) => Abandoned::Explain(seen.error.clone().unwrap_or(failure)),
        // It was redriven, and has the reason with it.
        State::Failed if request.dead == Some(seen.generation) => Abandoned::Leave,
        state if state.is_terminal() => Abandoned::Delete,
        State::Scheduled if seen.envelope.is_some() => Abandoned::Delete,
        State::Running if now <= free_from(seen) => Abandoned::Leave,
        _ => end(seen),
    }
}
