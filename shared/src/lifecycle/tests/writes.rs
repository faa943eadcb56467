//! Tests of repeated and late writes, which change nothing, and of lost answers, which the record resolves.

use super::*;

/// Returns the writes of a job that goes through every event once, each based on the previous one.
fn life() -> Vec<(&'static str, Write)> {
    let mut life = Vec::new();
    let mut stands: Option<Record> = None;
    let mut then = |what: &'static str, change: &dyn Fn(Option<&Record>) -> Record| {
        let next = change(stands.as_ref());
        life.push((what, write(stands.as_ref(), next.clone())));
        stands = Some(next);
    };
    let claims = |owner: &'static str, seconds: i64| {
        move |seen: Option<&Record>| granted(decide(seen, &request(), &policy(), &claim(owner), at(seconds)))
    };
    let ends = |next: FollowUp| move |seen: Option<&Record>| ended(seen.expect("a record"), next).0;
    let renews = |seconds: i64| move |seen: Option<&Record>| renewed(seen.expect("a record"), LEASE, at(seconds));
    then("a filing", &|seen| filed_as("filer", seen, at(-5000)));
    then("a move", &|seen| filed_as("mover", seen, at(-4000)));
    then("a mark of a sent job", &|seen| sent(seen.expect("a record")));
    then("a filing of a sent job", &|seen| filed_as("filer again", seen, at(-3000)));
    then("another mark of a sent job", &|seen| sent(seen.expect("a record")));
    then("a claim", &claims("one", 0));
    then("a renewal", &renews(0));
    then("a renewal in the same millisecond", &renews(0));
    then("a snooze", &ends(FollowUp::Snooze(secs(1))));
    then("a claim after a snooze", &claims("two", 70));
    then("a retry", &ends(FollowUp::Retry(None)));
    then("a claim after a retry", &claims("three", 140));
    then("a claim after a kill", &claims("four", 300));
    then("a failure", &ends(FollowUp::GiveUp));
    then("a mark of a dead letter", &|seen| dead_lettered(seen.expect("a record")));
    then("a claim after a redrive", &|seen| {
        let redriven = Request { dead: seen.map(|seen| seen.generation), ..request() };
        granted(decide(seen, &redriven, &policy(), &claim("five"), at(400)))
    });
    then("an interrupt", &ends(FollowUp::Resume));
    then("a claim after an interrupt", &claims("six", 500));
    then("a request to cancel", &|seen| cancel(seen, &request(), &policy(), at(501)).expect("it has not ended"));
    then("a renewal of a cancelled attempt", &renews(502));
    then("a success", &|seen| finish(seen.expect("a record"), Outcome::Success(Value::Null), &policy(), 0.0, at(503)).0);
    life
}

#[test]
fn a_repeated_write_is_refused_by_the_version_of_the_next_write() {
    let life = life();
    let mut table = Table::default();
    for (place, (what, write)) in life.iter().enumerate() {
        assert!(table.make(write), "{what} follows from what stands");
        for (earlier, again) in &life[..=place] {
            assert!(!table.make(again), "{earlier} was made again after {what}");
        }
    }
}

#[test]
fn a_version_tells_records_apart_by_each_of_its_fields() {
    let seen = running();
    let others = [
        Record { generation: 2, ..seen.clone() },
        Record { owner: Some("another".into()), ..seen.clone() },
        Record { state: State::Queued, ..seen.clone() },
        Record { lease_until: seen.lease_until.map(|until| until + 1), ..seen.clone() },
        Record { dlq: Some(Dlq::Sent), ..seen.clone() },
        Record { cancel_requested: true, ..seen.clone() },
    ];
    for other in others {
        let mut table = Table(Some(other));
        assert!(!table.make(&write(Some(&seen), seen.clone())), "{:?}", table.0);
    }
}

#[test]
fn a_lost_answer_is_known_by_looking() {
    let life = life();
    let mut table = Table::default();
    for (place, (what, write)) in life.iter().enumerate() {
        assert_eq!(table.resolve(write), Resolution::Open, "before {what}");
        assert!(table.make(write));
        assert_eq!(table.resolve(write), Resolution::Ours, "after {what}");
        for (earlier, write) in &life[..place] {
            let refused = Resolution::Refused(table.0.clone().map(Box::new));
            assert_eq!(table.resolve(write), refused, "{earlier} after {what}");
        }
    }
}

#[test]
fn of_two_writes_from_the_same_record_the_second_is_refused() {
    let (waits, runs, failed) = (waiting(), running(), failed_for_good());
    let too_late = Request { expires_at: Some(at(1)), ..request() };
    let claims = |seen: Option<&Record>, owner: &str| granted(decide(seen, &request(), &policy(), &claim(owner), at(70)));
    let expired = |seen: Option<&Record>, owner: &str| closed(decide(seen, &too_late, &policy(), &claim(owner), at(70))).0;
    let table = vec![
        (None, claims(None, "a"), claims(None, "b")),
        (None, expired(None, "a"), expired(None, "b")),
        (None, cancel(None, &request(), &policy(), at(70)).expect("not ended"), claims(None, "b")),
        (Some(&waits), claims(Some(&waits), "a"), claims(Some(&waits), "b")),
        (Some(&waits), expired(Some(&waits), "a"), expired(Some(&waits), "b")),
        (Some(&runs), ended(&runs, FollowUp::GiveUp).0, claims(Some(&runs), "b")),
        (Some(&runs), claims(Some(&runs), "b"), ended(&runs, FollowUp::GiveUp).0),
        (Some(&runs), renewed(&runs, LEASE, at(20)), claims(Some(&runs), "b")),
        (Some(&runs), claims(Some(&runs), "b"), renewed(&runs, LEASE, at(20))),
        (Some(&runs), cancel(Some(&runs), &request(), &policy(), at(5)).expect("not ended"), ended(&runs, FollowUp::Retry(None)).0),
        (Some(&failed), dead_lettered(&failed), Record { owner: Some("b".into()), ..failed.clone() }),
    ];
    for (seen, first, second) in table {
        let mut stands = Table(seen.cloned());
        assert!(stands.make(&write(seen, first.clone())));
        assert!(!stands.make(&write(seen, second.clone())), "{:?} after {:?}", second.state, first.state);
        assert_eq!(stands.resolve(&write(seen, second)), Resolution::Refused(Some(Box::new(first))));
    }
}

#[test]
fn a_last_attempt_killed_while_it_records_its_failure_fails_the_job_once() {
    let last = Record { attempts: 3, ..running() };
    let taker = write(Some(&last), closed(decided(&last, at(40))).0);
    let owner = write(Some(&last), ended(&last, FollowUp::Retry(None)).0);
    let mut table = Table(Some(last));
    assert!(table.make(&taker));
    assert!(!table.make(&owner));
    assert!(matches!(table.resolve(&owner), Resolution::Refused(_)), "both are failed, but not by the same hand");
}

#[test]
fn a_record_that_was_purged_refuses_what_would_replace_it() {
    let update = write(Some(&waiting()), granted(decided(&waiting(), at(70))));
    let mut table = Table::default();
    assert!(!table.make(&update));
    assert_eq!(table.resolve(&update), Resolution::Refused(None));
}

#[test]
fn a_sent_mark_is_refused_once_the_job_was_claimed_moved_or_cancelled() {
    let due = filed_as("filer", None, at(50));
    let mark = write(Some(&due), sent(&due));
    let claimed = granted(decided(&due, at(50)));
    let moved = filed_as("mover", Some(&due), at(500));
    let called_off = cancel(Some(&due), &request(), &policy(), at(40)).expect("not ended");
    for first in [claimed, moved, called_off] {
        let mut table = Table(Some(due.clone()));
        assert!(table.make(&write(Some(&due), first)));
        assert!(!table.make(&mark));
    }
}
