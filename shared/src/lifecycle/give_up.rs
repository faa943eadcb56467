//! Ends jobs that get no further attempt.

use jiff::Timestamp;

use super::{
    dependency::owed,
    lease::was_killed,
    transition::{cancelled, failed, finished, remember},
};
use crate::{
    Policy,
    record::{Failure, Record, State},
};

/// Adds the killed attempt of a running job to its history, and removes the lease. The caller sets a new owner token.
pub(super) fn lapsed(seen: &Record, now: Timestamp) -> Record {
    let killed = was_killed(now);
    Record { lease_until: None, error: Some(killed.clone()), ..remember(seen.clone(), killed) }
}

pub(super) fn given_up(seen: &Record, failure: Failure, owner: &str, now: Timestamp) -> Record {
    let seen = if seen.state == State::Running { lapsed(seen, now) } else { seen.clone() };
    let ended = if seen.cancel_requested { cancelled(seen) } else { failed(seen, failure) };
    owed(finished(Record { owner: Some(owner.into()), ..ended }, &Policy::new(), now), now)
}
