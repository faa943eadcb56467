//! Decides about a job that finds a key full: it waits, or it ends.

use jiff::Timestamp;

use super::{
    dependency::owed,
    key::{Needed, has_turn, key_name, waiting_list, without_limit},
    request::Request,
    transition::{cancelled, failed, finished, unfinished, with_message},
};
use crate::{
    Policy,
    clock::after,
    envelope::{OnConflict, excerpt},
    names::shard,
    record::{Failure, Record, State},
};

/// Blocks a job until it gets a key, or until a rate allows its start. `claimed` is the record with which it would have started. `owner` is
/// a new token.
pub(crate) fn waiting(
    claimed: &Record,
    started_at: Option<Timestamp>,
    key: &str,
    request: &Request,
    owner: &str,
    now: Timestamp,
) -> Record {
    let mut dependencies = claimed.dependencies.clone().unwrap_or_default();
    // The turn of the job in a rate has come, and it keeps that turn and the end of its wait.
    let is_turn = has_turn(claimed);
    let until = dependencies.until.filter(|_| is_turn).unwrap_or_else(|| after(now, request.max_blocked));
    (dependencies.met, dependencies.until, dependencies.run_at) = (true, Some(until), None);
    let base = with_message(without_limit(claimed.clone()), request);
    Record {
        state: State::Blocked,
        attempts: base.attempts.saturating_sub(1),
        runs: base.runs.saturating_sub(1),
        generation: base.generation.saturating_sub(1),
        started_at,
        lease_until: None,
        owner: Some(owner.to_owned()),
        blocked_on: [key.to_owned()].into(),
        dependencies: Some(dependencies),
        run_at: Some(request.expires_at.map_or(until, |at| at.min(until))),
        due: Some(shard(&base.id)),
        listed: Some(waiting_list(key)),
        listed_at: Some(base.enqueued_at.unwrap_or(now)),
        ..unfinished(base)
    }
}

/// Ends a job whose unique key another job holds. `replaced`: that job has the arguments of this one, or later ones.
pub(crate) fn in_conflict(job: &Record, key: &Needed, holder: &str, replaced: bool, policy: &Policy, now: Timestamp) -> Record {
    let consequence = if replaced { ", and has the arguments of this one or later ones" } else { "" };
    let reason = format!("job {} holds {}{consequence}", excerpt(holder), key_name(&key.id));
    let failure = Failure::new("unique", reason, now);
    let ended = match key.on_conflict {
        OnConflict::Drop | OnConflict::Replace => Record { error: Some(failure), ..cancelled(job.clone()) },
        OnConflict::Fail => failed(job.clone(), failure),
    };
    owed(finished(ended, policy, now), now)
}
