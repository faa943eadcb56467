//! Decides about messages that cannot be run.

use jiff::Timestamp;

use super::{claim::Decision, ending::Ending, give_up::given_up, identity::is_of, lease::free_from, request::Request};
use crate::record::{Dlq, Failure, Record, State};

/// Decides about a message that cannot be run, given the stored record of its id. `ending` is the ending of a message without a record:
/// rejected or parked. `owner` is a new token.
///
/// A message of a cancelled job is discarded. A rejected message ends an unfinished record as `failed` with this failure, because no
/// other message would end it. A parked message leaves the record to another worker.
pub(crate) fn refuse(seen: Option<&Record>, request: &Request, ending: &Ending, failure: Failure, owner: &str, now: Timestamp) -> Decision {
    // The name in an unreadable message is unknown.
    let is_its = |seen: &&Record| is_of(seen, request) || request.name.is_empty() && seen.queue == request.queue;
    let Some(seen) = seen.filter(is_its) else { return Decision::Leave(ending.clone()) };
    match seen.state {
        State::Cancelled => Decision::Leave(Ending::Duplicate),
        _ if *ending != Ending::Rejected => Decision::Leave(ending.clone()),
        State::Failed if seen.dlq == Some(Dlq::Pending) => Decision::Leave(Ending::Failed),
        state if state.is_terminal() => Decision::Leave(Ending::Rejected),
        // A worker of another version may be running the job.
        State::Running if now <= free_from(seen) => Decision::Leave(Ending::Busy(free_from(seen))),
        _ => {
            let next = given_up(seen, failure, owner, now);
            let ending = if next.state == State::Failed { Ending::Rejected } else { Ending::Cancelled };
            Decision::End { next: Box::new(next), ending }
        }
    }
}
