//! Rules that every decision about a record keeps, whatever the record holds.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    Failure, Policy, Record, State,
    lifecycle::{self, Claim, Decision, Ending, FollowUp, Outcome, Repair, Request},
};

/// Asks for every decision about a record, at several times. Fuzzing calls it with records that anyone might have written.
///
/// # Panics
///
/// When a decision breaks a rule.
pub fn check(record: &Record) {
    let mut request = Request {
        id: record.id.clone(),
        name: record.name.clone(),
        queue: record.queue.clone(),
        body: r#"{"name":"adder"}"#.into(),
        ..Request::default()
    };
    let claim = Claim { owner: "fuzz".into(), lease: Duration::from_secs(30) };
    let policy = Policy::new();
    for days in [0, 1, 400, 100_000] {
        let now = start() + Duration::from_hours(24 * days);
        for dead in [None, Some(record.generation)] {
            request.dead = dead;
            match lifecycle::decide(Some(record), &request, &policy, &claim, now) {
                Decision::Run { next, .. } => runs(record, &next, now),
                Decision::End { next, .. } => ends(record, &next),
                Decision::Leave(_) => {}
            }
            lifecycle::abandoned(Some(record), &request, None, "fuzz", now);
            for ending in [Ending::Rejected, Ending::Parked] {
                lifecycle::refuse(Some(record), &request, &ending, &Failure::default(), "fuzz", now);
            }
        }
        if let Repair::Write(next) = lifecycle::repair(record, None, "fuzz", now) {
            assert!(!record.state.is_terminal(), "what has ended is not repaired: {next:?}");
        }
        if let Some(next) = lifecycle::cancel(Some(record), &request, &policy, now) {
            assert!(next.cancel_requested || next.state == State::Cancelled);
        }
        lifecycle::is_filed(record, now);
    }
}

/// The first instant at which decisions are made.
fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_hours(56 * 8766)
}

fn runs(seen: &Record, next: &Record, now: Timestamp) {
    assert_eq!(next.state, State::Running);
    assert_eq!(next.owner.as_deref(), Some("fuzz"));
    assert!(next.attempts <= next.max_attempts, "{} attempts of {}", next.attempts, next.max_attempts);
    assert!(next.generation > seen.generation || seen.generation == u64::MAX, "generations grow");
    for how in
        [FollowUp::Retry(None), FollowUp::GiveUp, FollowUp::Snooze(Duration::MAX), FollowUp::Cancel, FollowUp::Resume, FollowUp::Return]
    {
        let (ended, _) = lifecycle::finish(next, Outcome::Failure(Failure::default(), how), &Policy::new(), 0.5, now);
        ends(next, &ended);
    }
}

fn ends(seen: &Record, next: &Record) {
    assert_eq!(next.purge_at.is_some(), next.state.is_terminal(), "only what has ended is purged");
    assert!(next.history.len() <= 10.max(seen.history.len()), "histories are bounded");
}
