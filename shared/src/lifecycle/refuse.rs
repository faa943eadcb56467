//! Decides about messages of which no attempt can be made.

use jiff::Timestamp;

use super::{claim::Decision, ending::Ending, give_up::given_up, identity::is_of, lease::free_from, request::Request};
use crate::record::{Dlq, Failure, Record, State};

/// Decides about a message of which no attempt can be made, by the stored record of its id. `ending` is that of a message without a
/// record: rejected, or parked. `owner` is a fresh token.
///
/// A message of a cancelled job is discarded. A rejected message ends a live record as `failed` with this failure: no other message
/// would end it. A parked message leaves it to another worker.
pub(crate) fn refuse(seen: Option<&Record>, request: &Request, ending: &Ending, failure: Failure, owner: &str, now: Timestamp) -> Decision {
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
