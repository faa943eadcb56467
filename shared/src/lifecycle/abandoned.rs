//! Decides about messages that SQS itself has moved to a dead-letter queue.

use jiff::Timestamp;

use super::{
    give_up::given_up,
    identity::{id_in_use, is_of},
    lease::free_from,
    request::Request,
    transition::created,
};
use crate::{
    Policy,
    record::{Dlq, Failure, Record, State},
};

/// The decision about a message that SQS itself has moved to a dead-letter queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Abandoned {
    /// Delete the message: its job has ended, or the due index holds the job.
    Delete,
    /// Leave the message as it is: its job may be running, or it has its reason already.
    Leave,
    /// Add this reason to the message, and mark the record as dead-lettered if it is failed.
    Explain(Failure),
    /// Write this record. Then explain the message if the job is failed now; else delete it.
    End(Box<Record>),
}

/// Decides about a message that was received too often, by the stored record of its id. `owner` is a fresh token; `flaw` says why
/// the message cannot be read, if so.
pub(crate) fn abandoned(seen: Option<&Record>, request: &Request, flaw: Option<Failure>, owner: &str, now: Timestamp) -> Abandoned {
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
