//! Decides about messages that SQS has moved to a dead-letter queue.

use jiff::Timestamp;

use super::{
    give_up::given_up,
    identity::{id_in_use, is_awaited, is_of, with_dependents},
    lease::free_from,
    request::Request,
    transition::{UNKNOWN, created},
};
use crate::record::{Dlq, Failure, Record, State};

/// The decision about a message that SQS has moved to a dead-letter queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Abandoned {
    /// Delete the message: its job has ended, or its record holds the message.
    Delete,
    /// Leave the message unchanged: its job may be running, or the message already contains the reason.
    Leave,
    /// Add this reason to the message, and mark the record as dead-lettered if it is failed.
    Explain(Failure),
    /// Write this record. Then add the reason to the message if the job is now failed, or else delete the message.
    End(Box<Record>),
}

/// Decides about a message that was received too often, given the stored record of its id. `owner` is a new token. `flaw` is the reason
/// why the message is unreadable, if it is.
pub(crate) fn abandoned(seen: Option<&Record>, request: &Request, flaw: Option<Failure>, owner: &str, now: Timestamp) -> Abandoned {
    let reason = "SQS moved its message to the dead-letter queue, because it was received too often without an ending";
    let failure = flaw.unwrap_or_else(|| Failure::new("redriven", reason.into(), now));
    let end = |seen: &Record| Abandoned::End(Box::new(given_up(seen, failure.clone(), owner, now)));
    let Some(seen) = seen else {
        let is_known = !request.name.is_empty() && !request.queue.is_empty();
        return if is_known { end(&created(request, &UNKNOWN)) } else { Abandoned::Explain(failure) };
    };
    if !is_of(seen, request) {
        return Abandoned::Explain(id_in_use(seen, now));
    }
    let seen = &*with_dependents(seen, request);
    match seen.state {
        _ if is_awaited(seen) => end(&Record { dependents: seen.dependents.clone(), ..created(request, &UNKNOWN) }),
        State::Failed if seen.dlq == Some(Dlq::Pending) => Abandoned::Explain(seen.error.clone().unwrap_or(failure)),
        // The message was redriven before and already has the reason.
        State::Failed if request.dead == Some(seen.generation) => Abandoned::Leave,
        state if state.is_terminal() => Abandoned::Delete,
        State::Scheduled | State::Blocked if seen.envelope.is_some() => Abandoned::Delete,
        State::Running if now <= free_from(seen) => Abandoned::Leave,
        _ => end(seen),
    }
}
