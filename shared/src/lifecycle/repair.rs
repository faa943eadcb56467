//! Decides about jobs without a message.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    dependency::{blocked_too_long, owed},
    filing::{LONG, filed},
    give_up::{given_up, lapsed},
    lease::free_from,
    node::GONE,
    request::Request,
    transition::{cancelled, finished},
};
use crate::{
    Policy,
    clock::after,
    names::is_shard,
    record::{Dlq, Failure, Record, State},
};

/// Delay after which an operator should look at a job. An invisible message becomes visible within 12 hours.
const OVERDUE: Duration = Duration::from_hours(24);

/// The kind of failure of a job whose message is gone without a copy.
const LOST: &str = "lost";

/// The repair of a record that is unfinished or whose dead letter is still to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Repair {
    /// Nothing to do.
    Nothing,
    /// Report the job to an operator. It is late. Only its message can start it, and that message may still arrive.
    Overdue,
    /// Examine its dependencies again.
    Dependencies,
    /// Send its message again. The worker that receives it sends the dead letter.
    Send,
    /// Write this record. It is ended, or filed again because its message is gone and the record has a copy.
    Write(Box<Record>),
}

/// Decides about a record that is unfinished or whose dead letter is still to be sent. `expires_at` comes from its envelope. `owner` is a
/// new token.
pub(crate) fn repair(seen: &Record, expires_at: Option<Timestamp>, owner: &str, now: Timestamp) -> Repair {
    if seen.state == State::Failed && seen.dlq == Some(Dlq::Pending) {
        return dead_letter(seen, now);
    }
    if seen.state.is_terminal() {
        return Repair::Nothing;
    }
    let since = since(seen);
    let is_past = |wait: Duration| since.is_some_and(|since| after(since, wait) < now);
    let ended = |record| Repair::Write(Box::new(owed(finished(Record { owner: Some(owner.into()), ..record }, &Policy::new(), now), now)));
    if seen.state == State::Blocked {
        let is_expired = expires_at.is_some_and(|at| at <= now);
        return match blocked_too_long(seen, owner, now) {
            _ if is_expired => ended(Record { state: State::Expired, ..seen.clone() }),
            Some(failed) => Repair::Write(Box::new(failed)),
            None if is_past(LONG) => Repair::Dependencies,
            None => Repair::Nothing,
        };
    }
    if seen.envelope.is_none() {
        return match seen.state {
            // The due index lists the job, but the job cannot be sent without its message.
            State::Scheduled if is_past(LONG) => lost(seen, owner, now),
            _ if is_past(GONE) => lost(seen, owner, now),
            _ if is_past(OVERDUE) => Repair::Overdue,
            _ => Repair::Nothing,
        };
    }
    let again = |seen: Record, at: Timestamp| {
        let request = Request { id: seen.id.clone(), ..Request::default() };
        Repair::Write(Box::new(filed(Some(&seen), &request, &Policy::new(), owner, at)))
    };
    match seen.state {
        State::Scheduled if expires_at.is_some_and(|at| at <= now) => ended(Record { state: State::Expired, ..seen.clone() }),
        State::Scheduled if seen.run_at.is_none() || !seen.due.as_deref().is_some_and(is_shard) => {
            again(seen.clone(), seen.run_at.unwrap_or(now))
        }
        // The message that started this attempt may be gone. For example, an earlier delivery may have filed the job and then deleted
        // the message.
        State::Running if is_past(LONG) => {
            let lapsed = lapsed(seen, now);
            if seen.cancel_requested { ended(cancelled(lapsed)) } else { again(lapsed, now) }
        }
        State::Retrying if is_past(LONG) => again(seen.clone(), now),
        // Its message was sent and is in a queue, which may be long.
        State::Queued if is_past(OVERDUE) => again(seen.clone(), now),
        _ => Repair::Nothing,
    }
}

/// Decides about a dead letter that is still to be sent. The process that recorded the failure ended before it could send it.
fn dead_letter(failed: &Record, now: Timestamp) -> Repair {
    let is_past = |wait: Duration| since(failed).is_some_and(|since| after(since, wait) < now);
    match &failed.envelope {
        Some(_) if is_past(LONG) => Repair::Send,
        // The dead letter is a copy of the message, so it cannot be sent without the message.
        None if is_past(OVERDUE) && failed.error.as_ref().is_none_or(|error| error.kind != LOST) => Repair::Overdue,
        _ => Repair::Nothing,
    }
}

/// Returns the instant since which a worker could have run the job or sent its dead letter.
fn since(seen: &Record) -> Option<Timestamp> {
    match seen.state {
        State::Failed => seen.finished_at,
        State::Running => Some(free_from(seen)),
        // `run_at` does not count here, because it may be much later than the end of the dependencies.
        State::Blocked => seen.enqueued_at,
        _ => seen.run_at.or(seen.started_at).or(seen.enqueued_at),
    }
}

fn lost(seen: &Record, owner: &str, now: Timestamp) -> Repair {
    let reason = "its message is gone, and the record has no copy of it; enqueue it again with another id";
    Repair::Write(Box::new(given_up(seen, Failure::new(LOST, reason.into(), now), owner, now)))
}
