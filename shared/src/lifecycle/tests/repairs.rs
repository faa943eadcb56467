//! Tests of a beater's decisions about unfinished jobs, and about messages that SQS has moved to a dead-letter queue.

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Returns the repair of a record at an instant.
fn done(record: &Record, now: Timestamp) -> Repair {
    repair(record, None, "beater", now)
}

fn written(record: &Record, now: Timestamp) -> Record {
    match done(record, now) {
        Repair::Write(next) => *next,
        other => panic!("nothing is written of {record:?}: {other:?}"),
    }
}

/// Returns a job that was claimed directly from the due index, so that its message may be gone.
fn claimed_from_the_index() -> Record {
    granted(decided(&scheduled(at(0)), at(0)))
}

#[test]
fn a_job_that_goes_on_by_itself_is_left_alone() {
    let due = scheduled(at(HOUR));
    let held = Record { lease_until: Some(at(100 * DAY).as_millisecond()), ..claimed_from_the_index() };
    for (record, now) in [
        (running(), at(DAY)),
        (waiting(), at(DAY)),
        (due.clone(), at(2 * DAY)),
        (sent(&due), at(DAY)),
        (held, at(99 * DAY)),
        (claimed_from_the_index(), at(15 * 60)),
        (dead_lettered(&failed_for_good()), at(99 * DAY)),
    ] {
        assert_eq!(done(&record, now), Repair::Nothing, "{record:?}");
    }
}

/// Returns a job that was claimed directly from the due index and failed, and whose process ended before it sent the dead letter.
fn owes_a_dead_letter() -> Record {
    ended(&claimed_from_the_index(), FollowUp::GiveUp).0
}

#[test]
fn an_owed_dead_letter_keeps_its_message_and_is_sent_by_a_beater() {
    let failed = owes_a_dead_letter();
    assert_eq!(failed.dlq, Some(Dlq::Pending));
    assert_eq!(failed.envelope.as_deref(), Some("as sent"));
    assert_eq!(done(&failed, at(10 + 15 * 60)), Repair::Nothing, "its worker may be about to send it");
    assert_eq!(done(&failed, at(11 + 15 * 60)), Repair::Send);
    assert_eq!(left(decided(&failed, at(DAY))), Ending::Failed, "the worker makes the dead letter");
    assert_eq!(dead_lettered(&failed).envelope, None, "the dead letter has it now");
    assert_eq!(done(&dead_lettered(&failed), at(DAY)), Repair::Nothing);
}

#[test]
fn an_owed_dead_letter_without_a_message_needs_a_person() {
    assert_eq!(done(&failed_for_good(), at(DAY)), Repair::Nothing, "its message makes the dead letter");
    assert_eq!(done(&failed_for_good(), at(2 * DAY)), Repair::Overdue);
    let lost = written(&running(), at(16 * DAY));
    assert_eq!(done(&lost, at(30 * DAY)), Repair::Nothing);
    assert_eq!(lost.error.expect("a reason").kind.as_str(), "lost");
}

#[test]
fn a_retried_job_has_its_new_message_though_a_dead_letter_is_owed() {
    let anew = Request { body: "with other arguments".into(), ..request() };
    let next = retry(&owes_a_dead_letter(), &anew, "operator", at(60)).expect("it has ended");
    assert_eq!(next.dlq, None);
    assert_eq!(next.envelope.as_deref(), Some("with other arguments"));
}

/// Returns the decision about an unreadable message of a job with this record.
fn refused(record: &Record, now: Timestamp) -> Decision {
    refuse(Some(record), &Request { name: String::new(), ..request() }, &Ending::Rejected, &failure("rejected"), "next", now)
}

#[test]
fn a_message_that_cannot_be_run_ends_the_live_record_of_its_job() {
    let due = scheduled(at(HOUR));
    for record in [due.clone(), sent(&due), waiting(), Record { state: State::Queued, ..waiting() }] {
        let (next, ending) = closed(refused(&record, at(2 * HOUR)));
        assert_eq!(ending, Ending::Rejected, "{record:?}");
        assert_eq!(next.state, State::Failed, "{record:?}");
        assert_eq!(next.dlq, Some(Dlq::Pending), "{record:?}");
        assert_eq!(next.error.as_ref().map(|error| error.kind.as_str()), Some("rejected"));
        assert_eq!(next.envelope.as_ref(), record.envelope.as_ref(), "it costs no attempt");
        assert_eq!(next.attempts, record.attempts, "it costs no attempt");
        assert!(next.purge_at >= Some(at(2 * HOUR).as_second() + REMEMBERED), "remembered for long enough");
        assert_eq!(left(refused(&next, at(3 * HOUR))), Ending::Failed, "its dead letter is owed");
        assert_eq!(left(refused(&dead_lettered(&next), at(3 * HOUR))), Ending::Rejected, "it stays as it ended");
    }
}

#[test]
fn a_message_that_cannot_be_run_leaves_a_running_job_alone() {
    assert!(matches!(left(refused(&running(), at(30))), Ending::Busy(_)), "a worker of another version may run it");
    let (next, _) = closed(refused(&running(), at(36)));
    assert_eq!(next.history.last().map(|past| past.kind.as_str()), Some("killed"), "it died");
    let (next, ending) = closed(refused(&Record { cancel_requested: true, ..running() }, at(36)));
    assert_eq!(next.state, State::Cancelled);
    assert_eq!(ending, Ending::Cancelled);
}

#[test]
fn a_message_of_a_cancelled_job_that_cannot_be_run_is_discarded() {
    let unseen = cancel(None, &Request { id: request().id, ..Request::default() }, &policy(), at(0)).expect("it has not ended");
    let waited = Record { state: State::Cancelled, ..waiting() };
    for (ending, kind) in [(Ending::Rejected, "rejected"), (Ending::Parked, "parked")] {
        let end = |record: &Record| left(refuse(Some(record), &request(), &ending, &failure(kind), "next", at(HOUR)));
        assert_eq!([end(&unseen), end(&waited)], [Ending::Duplicate, Ending::Duplicate], "{kind}");
        assert_eq!(end(&Record { name: "other".into(), ..waited.clone() }), ending, "the record of another job says nothing");
    }
    for record in [waiting(), running(), failed_for_good()] {
        let parked = refuse(Some(&record), &request(), &Ending::Parked, &failure("parked"), "next", at(HOUR));
        assert_eq!(left(parked), Ending::Parked, "another worker may know the job");
    }
}

#[test]
fn a_message_that_cannot_be_run_ends_no_job_but_its_own() {
    let other = Record { queue: "elsewhere".into(), ..waiting() };
    assert_eq!(left(refused(&other, at(HOUR))), Ending::Rejected);
    let named = Request { name: "other".into(), ..request() };
    assert_eq!(left(refuse(Some(&waiting()), &named, &Ending::Rejected, &failure("parked"), "next", at(HOUR))), Ending::Rejected);
}

#[test]
fn a_rejected_job_without_a_record_gets_a_failed_one() {
    let refused = |request: &Request, ending: &Ending| refuse(None, request, ending, &failure("rejected"), "next", at(HOUR));
    let (failed, ending) = closed(refused(&request(), &Ending::Rejected));
    assert_eq!(failed.state, State::Failed);
    assert_eq!(&*failed.name, "greet");
    assert_eq!(&*failed.queue, "mail");
    assert_eq!(ending, Ending::Rejected);
    assert_eq!(left(refused(&request(), &Ending::Parked)), Ending::Parked, "another worker may know the job");
    let nameless = Request { id: String::new(), ..request() };
    assert_eq!(left(refused(&nameless, &Ending::Rejected)), Ending::Rejected, "no job can wait for an id that no producer gave");
    let awaited = awaited("job-1", "job-2", "dependent", at(0));
    let (ended, _) = closed(refuse(Some(&awaited), &request(), &Ending::Rejected, &failure("rejected"), "next", at(HOUR)));
    assert_eq!(ended.state, State::Failed, "its record says which job it is");
    assert_eq!(&*ended.name, "greet", "its record says which job it is");
    assert!(ended.dependents.contains("job-2") && ended.due.is_some());
}

#[test]
fn a_message_that_can_be_run_replaces_the_record_of_a_rejected_one() {
    let rejected = Request { name: "other".into(), ..request() };
    for kind in ["rejected", "parked", "contract", "unstorable", "reserved_priority"] {
        let (failed, _) = closed(refuse(None, &rejected, &Ending::Rejected, &failure(kind), "refused", at(0)));
        let failed = Record { dependents: ["job-2".to_owned()].into(), ..failed };
        for record in [dead_lettered(&failed), failed] {
            let run = granted(decided(&record, at(HOUR)));
            assert_eq!(&*run.name, "greet", "{kind}");
            assert_eq!(run.generation, 1, "{kind}");
            assert_eq!(run.dlq, None, "{kind}");
            assert_eq!(run.dependents.len(), 1, "{kind}");
        }
    }
    let ended = failed_for_good();
    assert_eq!(left(decided(&dead_lettered(&ended), at(HOUR))), Ending::Duplicate, "an attempt has started");
}

#[test]
fn a_job_that_died_without_its_message_is_filed_anew_and_remembers_it() {
    let next = written(&claimed_from_the_index(), at(16 * 60));
    assert_eq!(next.state, State::Scheduled);
    assert_eq!(next.run_at, Some(at(16 * 60)));
    assert_eq!(next.due.as_deref(), Some(&*shard("job-1")));
    assert_eq!(next.envelope.as_deref(), Some("as sent"));
    assert_eq!(next.owner.as_deref(), Some("beater"));
    assert_eq!(next.lease_until, None);
    assert_eq!(next.attempts, 1);
    assert_eq!(next.generation, 1);
    assert_eq!(next.history.last().map(|past| (past.generation, past.kind.as_str())), Some((1, "killed")));
    let again = decided(&next, at(16 * 60));
    assert!(matches!(again, Decision::Run { suspect: true, .. }), "it may kill the next process too: {again:?}");
}

#[test]
fn a_job_without_a_message_that_died_in_its_last_attempt_fails_as_killed() {
    let next = written(&Record { attempts: 3, ..claimed_from_the_index() }, at(16 * 60));
    let (record, ending) = closed(decided(&next, at(16 * 60)));
    assert_eq!(ending, Ending::Failed);
    assert_eq!(record.error.map(|error| error.kind).as_deref(), Some("killed"));
}

#[test]
fn a_job_that_was_called_off_before_it_died_is_cancelled() {
    let next = written(&Record { cancel_requested: true, ..claimed_from_the_index() }, at(16 * 60));
    assert_eq!(next.state, State::Cancelled);
    assert_eq!(next.attempts, 1);
    assert_eq!(next.history.len(), 1);
}

#[test]
fn what_holds_its_message_and_is_not_taken_up_is_filed_anew() {
    let retrying = ended(&claimed_from_the_index(), FollowUp::Retry(None)).0;
    let queued = sent(&scheduled(at(0)));
    for (record, patience) in [(retrying, 16 * 60 + 70), (queued, DAY + 1)] {
        assert_eq!(done(&record, at(patience / 2)), Repair::Nothing);
        let next = written(&record, at(patience));
        assert_eq!(next.state, State::Scheduled, "{record:?}");
        assert_eq!(next.run_at, Some(at(patience)), "{record:?}");
        assert_eq!(next.history, record.history);
    }
}

#[test]
fn what_waits_outside_of_the_index_is_put_into_it() {
    let without_shard = Record { due: None, ..scheduled(at(DAY)) };
    let next = written(&without_shard, at(0));
    assert_eq!(next.due, scheduled(at(DAY)).due);
    assert_eq!(next.run_at, Some(at(DAY)));
    let without_time = Record { run_at: None, ..scheduled(at(DAY)) };
    assert_eq!(written(&without_time, at(5)).run_at, Some(at(5)));
}

#[test]
fn what_has_expired_in_the_index_does_not_wait_for_its_time() {
    let waits = scheduled(at(30 * DAY));
    assert_eq!(repair(&waits, Some(at(DAY)), "beater", at(DAY - 1)), Repair::Nothing);
    let Repair::Write(next) = repair(&waits, Some(at(DAY)), "beater", at(DAY)) else { panic!("it has expired") };
    assert_eq!(next.state, State::Expired);
    assert_eq!(next.due, None);
    assert_eq!(next.envelope, None);
    assert_eq!(next.owner.as_deref(), Some("beater"), "a token of which no write knows");
}

#[test]
fn a_job_without_its_message_is_overdue_in_a_day_and_lost_in_fifteen() {
    for record in [running(), waiting()] {
        assert_eq!(done(&record, at(DAY + 100)), Repair::Overdue, "{record:?}");
        assert_eq!(done(&record, at(15 * DAY)), Repair::Overdue, "{record:?}");
        let next = written(&record, at(15 * DAY + 100));
        assert_eq!(next.state, State::Failed);
        assert_eq!(next.dlq, Some(Dlq::Pending));
        assert_eq!(next.attempts, 1);
        assert_eq!(next.owner.as_deref(), Some("beater"));
        assert_eq!(next.error.map(|error| error.kind).as_deref(), Some("lost"));
        assert_eq!(next.history.len(), 1);
    }
    let due = Record { run_at: Some(at(0)), ..waiting() };
    assert_eq!(done(&due, at(DAY)), Repair::Nothing, "after a day, and not in it");
    assert_eq!(done(&due, ms(1000 * DAY + 1)), Repair::Overdue, "after a day, and not in it");
    let timeless = Record { state: State::Queued, ..Record::default() };
    assert_eq!(done(&timeless, at(99 * DAY)), Repair::Nothing, "nobody knows how late it is");
}

#[test]
fn a_record_that_waits_for_its_time_without_a_message_is_lost() {
    let empty = Record { envelope: None, ..scheduled(at(0)) };
    assert_eq!(done(&empty, at(10 * 60)), Repair::Nothing);
    let next = written(&empty, at(16 * 60));
    assert_eq!(next.state, State::Failed);
    assert_eq!(next.due, None);
    assert_eq!(next.error.map(|error| error.kind).as_deref(), Some("lost"));
}

/// Returns the decision about the job's message in the dead-letter queue.
fn explained(seen: Option<&Record>, now: Timestamp) -> Abandoned {
    abandoned(seen, &request(), None, "beater", now)
}

#[test]
fn a_message_that_sqs_gave_up_fails_its_job() {
    for seen in [None, Some(running()), Some(waiting()), Some(sent(&scheduled(at(0))))] {
        let Abandoned::End(next) = explained(seen.as_ref(), at(100)) else { panic!("{seen:?} goes on") };
        assert_eq!(next.state, State::Failed);
        assert_eq!(next.dlq, Some(Dlq::Pending));
        assert_eq!(next.error.map(|error| error.kind).as_deref(), Some("redriven"));
        assert_eq!(next.name.as_str(), "greet");
        assert_eq!(next.queue.as_str(), "mail");
        let kinds: Vec<_> = next.history.iter().map(|past| past.kind.as_str()).collect();
        let expected: &[_] = match seen.map(|seen| seen.state) {
            Some(State::Running) => &["killed"],
            Some(State::Retrying) => &["error"],
            _ => &[],
        };
        assert_eq!(kinds, expected);
    }
}

#[test]
fn a_message_that_sqs_gave_up_is_deleted_if_its_job_ended_or_is_filed() {
    let done = finish(&running(), Outcome::Success("done".into()), &policy(), 0.5, at(10)).0;
    let dead = dead_lettered(&failed_for_good());
    for seen in [done, dead, scheduled(at(0))] {
        assert_eq!(explained(Some(&seen), at(100)), Abandoned::Delete, "{seen:?}");
    }
}

#[test]
fn a_message_that_sqs_gave_up_fails_a_waiting_job_without_a_copy_of_it() {
    let empty = Record { envelope: None, ..scheduled(at(DAY)) };
    assert!(matches!(explained(Some(&empty), at(10)), Abandoned::End(next) if next.state == State::Failed));
}

#[test]
fn a_message_that_sqs_gave_up_is_left_while_its_job_may_run() {
    assert_eq!(explained(Some(&running()), at(35)), Abandoned::Leave);
    assert!(matches!(explained(Some(&running()), ms(35_001)), Abandoned::End(_)));
}

#[test]
fn a_message_that_sqs_gave_up_tells_why_its_job_has_failed() {
    let failed = failed_for_good();
    assert_eq!(explained(Some(&failed), at(100)), Abandoned::Explain(failed.error.clone().expect("it has failed")));
    let foreign = Record { name: "other".into(), ..running() };
    assert!(matches!(explained(Some(&foreign), at(100)), Abandoned::Explain(reason) if reason.kind == "id_in_use"));
    let nameless = Request { name: String::new(), ..request() };
    assert!(matches!(abandoned(None, &nameless, None, "beater", at(100)), Abandoned::Explain(reason) if reason.kind == "redriven"));
}

#[test]
fn a_dead_letter_that_was_redriven_and_comes_back_untouched_stays() {
    let dead = dead_lettered(&failed_for_good());
    let redriven = Request { dead: Some(dead.generation), ..request() };
    assert_eq!(abandoned(Some(&dead), &redriven, None, "beater", at(100)), Abandoned::Leave);
}

#[test]
fn a_job_that_was_called_off_is_cancelled_where_sqs_gave_its_message_up() {
    let Abandoned::End(next) = explained(Some(&Record { cancel_requested: true, ..running() }), at(100)) else { panic!("it goes on") };
    assert_eq!(next.state, State::Cancelled);
}
