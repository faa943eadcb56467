//! Decides about messages that cannot be run.

use jiff::Timestamp;

use super::{
    claim::Decision,
    ending::Ending,
    give_up::given_up,
    identity::{is_awaited, is_of, noted, with_dependents},
    lease::free_from,
    request::Request,
    transition::{UNKNOWN, created},
};
use crate::{
    envelope::are_of_one_function,
    record::{Dlq, Failure, Record, State},
};

/// Decides about a message that cannot be run, given the stored record of its id. `ending` is the ending of a message without a record:
/// rejected or parked. `owner` is a new token.
///
/// - The message of a cancelled job is discarded.
/// - A rejected message ends an unfinished record as `failed` with this failure, because no other message would end it. If there is no
///   record, it creates a failed one, so that jobs that wait for this id learn of its end. An empty id in the request forbids this.
/// - A parked message leaves the record to another worker.
///
/// If the record lacks dependents that the message names, the decision is to add them, with the ending `Duplicate`. Then decide again.
pub(crate) fn refuse(
    seen: Option<&Record>,
    request: &Request,
    ending: &Ending,
    failure: &Failure,
    owner: &str,
    now: Timestamp,
) -> Decision {
    // The name in an unreadable message is unknown.
    let is_its = |seen: &&Record| is_of(seen, request) || request.name.is_empty() && are_of_one_function(&seen.queue, &request.queue);
    let is_rejected = *ending == Ending::Rejected;
    let end = |seen: &Record| {
        let next = given_up(seen, failure.clone(), owner, now);
        let ending = if next.state == State::Failed { Ending::Rejected } else { Ending::Cancelled };
        Decision::End { next: Box::new(next), ending }
    };
    let Some(seen) = seen else {
        let is_recorded = is_rejected && !request.id.is_empty();
        return if is_recorded { end(&created(request, &UNKNOWN)) } else { Decision::Leave(ending.clone()) };
    };
    if !is_its(&seen) {
        return Decision::Leave(ending.clone());
    }
    if let Some(next) = noted(seen, request, owner) {
        return Decision::End { next: Box::new(next), ending: Ending::Duplicate };
    }
    let seen = &*with_dependents(seen, request);
    match seen.state {
        State::Cancelled => Decision::Leave(Ending::Duplicate),
        _ if !is_rejected => Decision::Leave(ending.clone()),
        _ if is_awaited(seen) => end(&Record { dependents: seen.dependents.clone(), ..created(request, &UNKNOWN) }),
        State::Failed if seen.dlq == Some(Dlq::Pending) => Decision::Leave(Ending::Failed),
        state if state.is_terminal() => Decision::Leave(Ending::Rejected),
        // A worker of another version may be running the job.
        State::Running if now <= free_from(seen) => Decision::Leave(Ending::Busy(free_from(seen))),
        _ => end(seen),
    }
}
