//! Tests of the effect of each ending on the attempt, the record and the message.

use proptest::prelude::*;

use super::*;

#[test]
fn an_unrecorded_attempt_writes_every_ending_but_success_and_not_started() {
    let ends = |next| finish(&running(), Outcome::Failure(failure("error"), next), &policy(), 0.5, at(10)).1;
    for next in [FollowUp::Retry(None), FollowUp::GiveUp, FollowUp::Snooze(secs(60)), FollowUp::Cancel, FollowUp::Resume] {
        assert!(ends(next).is_trouble(), "{next:?}");
    }
    let succeeded = finish(&running(), Outcome::Success("done".into()), &policy(), 0.5, at(10)).1;
    assert!(!succeeded.is_trouble() && !ends(FollowUp::Return).is_trouble());
}

#[test]
fn every_ending_has_one_fate_for_its_message() {
    let later = at(70);
    let table = [
        (Ending::Succeeded, Fate::Delete),
        (Ending::Retried(later), Fate::Wait(later)),
        (Ending::Failed, Fate::DeadLetter),
        (Ending::Snoozed(later), Fate::Wait(later)),
        (Ending::Interrupted, Fate::Now),
        (Ending::NotStarted, Fate::Backoff),
        (Ending::Held, Fate::Now),
        (Ending::Early(later), Fate::Wait(later)),
        (Ending::Busy(later), Fate::WaitAndBackoff(later)),
        (Ending::LeaseLost, Fate::Leave),
        (Ending::Duplicate, Fate::Delete),
        (Ending::Cancelled, Fate::Delete),
        (Ending::Expired, Fate::Delete),
        (Ending::Foreign, Fate::DeadLetter),
        (Ending::Rejected, Fate::DeadLetter),
        (Ending::Parked, Fate::LongBackoff),
        (Ending::Skipped, Fate::Delete),
    ];
    let words = [
        "succeeded",
        "retried",
        "failed",
        "snoozed",
        "interrupted",
        "not_started",
        "held",
        "early",
        "busy",
        "lease_lost",
        "duplicate",
        "cancelled",
        "expired",
        "foreign",
        "rejected",
        "parked",
        "skipped",
    ];
    assert_eq!(table.each_ref().map(|(ending, _)| ending.as_str()), words, "as logs have it");
    for (ending, fate) in table {
        assert_eq!(ending.fate(), fate, "{}", ending.as_str());
    }
}

fn success(running: &Record, output: &str) -> Record {
    let (record, ending) = finish(running, Outcome::Success(output.into()), &policy(), 0.0, at(10));
    assert_eq!(ending, Ending::Succeeded);
    record
}

#[test]
fn a_job_that_succeeds_keeps_its_result_and_no_error() {
    let second = Record { error: Some(failure("error")), checkpoint: Some("half".into()), ..granted(decided(&waiting(), at(70))) };
    let record = success(&second, "done");
    assert_eq!(record.state, State::Succeeded);
    assert_eq!(record.result, Some("done".into()));
    assert_eq!(record.error, None);
    assert_eq!(record.checkpoint, None);
    assert_eq!(record.dlq, None);
    assert_eq!(record.attempts, 2);
    assert_eq!(record.generation, 2);
    assert_eq!(record.owner.as_deref(), Some("next"));
    assert_eq!(record.history.len(), 1, "the failed attempt before is remembered");
    assert_terminal(&success(&second, "done"), at(10));
}

#[test]
fn a_result_that_is_not_kept_leaves_the_record() {
    let (record, _) = finish(&running(), Outcome::Success("done".into()), &policy().drop_result(), 0.0, at(10));
    assert_eq!(record.state, State::Succeeded);
    assert_eq!(record.result, None);
    assert!(record.purge_at.is_some());
}

#[test]
fn an_attempt_that_fails_counts_and_waits_for_the_next_one() {
    let (record, ending) = ended(&running(), FollowUp::Retry(None));
    assert_eq!(ending, Ending::Retried(at(70)));
    assert_eq!(record.state, State::Retrying);
    assert_eq!(record.run_at, Some(at(70)));
    assert_eq!(record.lease_until, None);
    assert_eq!(record.purge_at, None);
    assert_eq!(record.dlq, None);
    assert_eq!(record.attempts, 1);
    assert_eq!(record.generation, 1);
    assert_eq!(record.runs, 1);
    assert_eq!(record.error, Some(failure("error")));
    let Failure { kind, message, at: ended_at } = failure("error");
    assert_eq!(record.history, [Past { generation: 1, started_at: Some(at(0)), kind, message, at: ended_at }]);
}

#[test]
fn an_attempt_may_ask_for_its_own_wait() {
    assert_eq!(ended(&running(), FollowUp::Retry(Some(secs(5)))).1, Ending::Retried(at(15)));
    assert_eq!(ended(&running(), FollowUp::Retry(Some(Duration::MAX))).1, Ending::Retried(Timestamp::MAX));
}

#[test]
fn the_wait_grows_with_the_budget_used_and_not_with_what_was_given_back() {
    let doubling = policy().backoff(Backoff::exponential(secs(10), secs(1000)));
    let second = Record { attempts: 2, generation: 50, runs: 50, ..running() };
    let (_, ending) = finish(&second, Outcome::Failure(failure("error"), FollowUp::Retry(None)), &doubling, 1.0, at(10));
    assert_eq!(ending, Ending::Retried(at(30)));
}

#[test]
fn the_last_attempt_and_a_fatal_error_fail_the_job_and_owe_a_dead_letter() {
    let last = Record { attempts: 3, generation: 5, ..running() };
    for (running, next) in [(&last, FollowUp::Retry(None)), (&last, FollowUp::Retry(Some(secs(5)))), (&running(), FollowUp::GiveUp)] {
        let (record, ending) = ended(running, next);
        assert_eq!(ending, Ending::Failed);
        assert_eq!(record.state, State::Failed);
        assert_eq!(record.dlq, Some(Dlq::Pending));
        assert_eq!(record.attempts, running.attempts);
        assert_eq!(record.generation, running.generation);
        assert_eq!(record.error, Some(failure("error")));
        assert_eq!(record.history.last().map(|past| past.generation), Some(running.generation));
        assert_terminal(&record, at(10));
    }
}

#[test]
fn what_has_failed_is_listed_under_its_shard_until_it_is_taken_up_again() {
    let dead = failed_for_good();
    let number = scheduled(at(0)).due.expect("it is in the index").replace("due#", "");
    assert_eq!(dead.listed.as_deref(), Some(&*format!("failed#{number}")));
    assert_eq!(dead.listed_at, Some(at(10)));
    let copy = Request { dead: Some(dead.generation), ..request() };
    let redriven = granted(decide(Some(&dead), &copy, &policy(), &claim("next"), at(20)));
    let again = retry(&dead, &request(), "again", at(20)).expect("it has ended");
    for taken_up in [redriven, again] {
        assert_eq!(taken_up.listed, None);
        assert_eq!(taken_up.listed_at, None);
    }
    let (done, _) = finish(&running(), Outcome::Success(6.into()), &policy(), 1.0, at(10));
    assert_eq!(done.listed, None, "only what needs a person");
    assert_eq!(done.listed_at, None, "only what needs a person");
}

#[test]
fn what_was_given_back_costs_no_attempt_and_no_generation() {
    let second = granted(decided(&waiting(), at(70)));
    for (next, run_at, snoozes) in [(FollowUp::Snooze(secs(20)), Some(at(30)), 1), (FollowUp::Resume, None, 0)] {
        let (record, ending) = ended(&second, next);
        assert_eq!(ending, run_at.map_or(Ending::Interrupted, Ending::Snoozed));
        assert_eq!(record.state, State::Queued);
        assert_eq!(record.run_at, run_at);
        assert_eq!(record.snoozes, snoozes);
        assert_eq!(record.attempts, 1);
        assert_eq!(record.generation, 2);
        assert_eq!(record.runs, 2);
        assert_eq!(record.lease_until, None);
        assert_eq!(record.purge_at, None);
        assert_eq!(record.history, second.history, "it is no failure");
        let again = granted(decided(&record, at(30)));
        assert_eq!(again.attempts, 2);
        assert_eq!(again.generation, 3);
        assert_eq!(again.runs, 3);
    }
}

#[test]
fn an_attempt_that_was_claimed_too_late_to_start_costs_nothing_at_all() {
    let second = Record { run_at: None, ..granted(decided(&waiting(), at(70))) };
    let (record, ending) = ended(&second, FollowUp::Return);
    assert_eq!(ending, Ending::NotStarted);
    assert_eq!(record.state, State::Queued);
    assert_eq!(record.run_at, None);
    assert_eq!(record.attempts, 1);
    assert_eq!(record.runs, 1);
    assert_eq!(record.snoozes, 0);
    assert_eq!(record.generation, 2, "but its generation stays");
    assert_eq!(record.history, second.history, "but its generation stays");
}

#[test]
fn an_interrupted_job_keeps_its_checkpoint() {
    let halfway = Record { checkpoint: Some("half".into()), ..running() };
    let resumed = granted(decided(&ended(&halfway, FollowUp::Resume).0, at(11)));
    assert_eq!(resumed.checkpoint, Some("half".into()));
}

#[test]
fn a_job_that_uses_up_a_cap_of_the_policy_fails() {
    let snoozed_often = Record { snoozes: 100, ..running() };
    let ran_often = Record { runs: 1000, ..running() };
    let table = [
        (&snoozed_often, FollowUp::Snooze(secs(1)), "max_snoozes"),
        (&ran_often, FollowUp::Snooze(secs(1)), "max_runs"),
        (&ran_often, FollowUp::Resume, "max_runs"),
    ];
    for (running, next, kind) in table {
        let (record, ending) = ended(running, next);
        assert_eq!(ending, Ending::Failed);
        assert_eq!(record.state, State::Failed);
        assert_eq!(record.dlq, Some(Dlq::Pending));
        assert_eq!(record.error.as_ref().map(|error| error.kind.as_str()), Some(kind));
        assert_eq!(record.attempts, 1);
        assert_eq!(record.snoozes, running.snoozes);
        assert_eq!(record.history.len(), 1);
        assert_terminal(&record, at(10));
    }
    let below = Record { snoozes: 99, runs: 999, ..running() };
    assert_eq!(ended(&below, FollowUp::Snooze(secs(1))).1, Ending::Snoozed(at(11)));
    assert_eq!(ended(&below, FollowUp::Resume).1, Ending::Interrupted);
}

#[test]
fn a_job_may_call_itself_off() {
    let (record, ending) = ended(&running(), FollowUp::Cancel);
    assert_eq!(ending, Ending::Cancelled);
    assert_eq!(record.state, State::Cancelled);
    assert_eq!(record.dlq, None);
    assert_eq!(record.history.len(), 0);
    assert_eq!(record.error, Some(failure("error")), "the reason");
    assert_terminal(&record, at(10));
}

#[test]
fn a_job_called_off_while_it_runs_may_still_succeed_and_else_is_cancelled() {
    let flagged = cancel(Some(&running()), &request(), &policy(), at(5)).expect("it has not ended");
    assert!(flagged.cancel_requested && flagged.state == State::Running);
    assert_eq!(flagged.attempts, 1, "it still runs");
    assert_eq!(flagged.lease_until, running().lease_until, "it still runs");
    assert_eq!(flagged.purge_at, None, "it still runs");
    assert_eq!(success(&flagged, "done").state, State::Succeeded);
    for next in [FollowUp::Retry(None), FollowUp::GiveUp, FollowUp::Snooze(secs(1)), FollowUp::Cancel, FollowUp::Resume, FollowUp::Return] {
        let (record, ending) = ended(&flagged, next);
        assert_eq!(ending, Ending::Cancelled, "{next:?}");
        assert_eq!(record.state, State::Cancelled, "{next:?}");
        assert!(!record.cancel_requested, "{next:?}");
        assert_eq!(record.dlq, None);
        assert_eq!(record.error.as_ref(), Some(&failure("error")));
        assert_terminal(&record, at(10));
    }
}

#[test]
fn a_job_called_off_before_it_was_seen_leaves_a_tombstone() {
    let tombstone = cancel(None, &request(), &policy(), at(5)).expect("it has not ended");
    assert_eq!(tombstone.state, State::Cancelled);
    assert_eq!(tombstone.attempts, 0);
    assert_eq!(tombstone.generation, 0);
    assert_terminal(&tombstone, at(5));
    assert_eq!(left(decided(&tombstone, at(6))), Ending::Duplicate, "its message starts nothing");
}

#[test]
fn a_waiting_job_is_called_off_at_once() {
    let blocked = Record { state: State::Blocked, ..waiting() };
    for seen in [waiting(), ended(&running(), FollowUp::Resume).0, scheduled(at(500)), blocked] {
        let record = cancel(Some(&seen), &request(), &policy(), at(20)).expect("it has not ended");
        assert_eq!(record.state, State::Cancelled);
        assert_eq!(record.attempts, seen.attempts);
        assert_eq!(record.generation, seen.generation);
        assert_terminal(&record, at(20));
    }
}

#[test]
fn a_job_that_has_ended_is_not_called_off() {
    for state in [State::Succeeded, State::Failed, State::Cancelled, State::Expired] {
        let seen = Record { state, ..failed_for_good() };
        assert_eq!(cancel(Some(&seen), &request(), &policy(), at(20)), None);
    }
}

#[test]
fn a_filed_job_holds_its_message_until_it_was_claimed() {
    let new = scheduled(at(5000));
    assert_eq!(new.state, State::Scheduled);
    assert_eq!(new.run_at, Some(at(5000)));
    assert_eq!(new.envelope.as_deref(), Some("as sent"));
    assert_eq!(new.attempts, 0);
    assert_eq!(new.generation, 0);
    assert_eq!(new.lease_until, None);
    assert_eq!(new.purge_at, None);
    let sent = sent(&new);
    assert_eq!(sent.state, State::Queued, "out of the index");
    assert_eq!(sent.due.as_deref(), None, "out of the index");
    assert_eq!(sent.run_at, Some(at(5000)), "out of the index");
    assert_eq!(sent.envelope, new.envelope);
}

#[test]
fn a_job_that_is_filed_again_keeps_its_attempts_and_its_changed_arguments() {
    let changed = Record { envelope: Some("with other arguments".into()), ..waiting() };
    let filed = filed(Some(&changed), &request(), &policy(), "filer", at(5000));
    assert_eq!(filed.state, State::Scheduled);
    assert_eq!(filed.attempts, 1);
    assert_eq!(filed.generation, 1);
    assert_eq!(filed.runs, 1);
    assert_eq!(filed.envelope.as_deref(), Some("with other arguments"));
    assert_eq!(filed.history.len(), 1);
}

#[test]
fn a_job_that_waits_is_moved_only_if_its_record_holds_its_message() {
    for seen in [scheduled(at(5000)), sent(&scheduled(at(5000))), Record { state: State::Retrying, ..scheduled(at(5000)) }] {
        let moved = moved(&seen, "mover", at(9000)).expect("it waits");
        assert_eq!(
            moved,
            Record { state: State::Scheduled, run_at: Some(at(9000)), owner: Some("mover".into()), due: scheduled(at(0)).due, ..seen }
        );
    }
    let without = Record { envelope: None, ..scheduled(at(5000)) };
    let running = Record { envelope: Some("as sent".into()), ..running() };
    for seen in [without, running, failed_for_good()] {
        assert_eq!(moved(&seen, "mover", at(9000)), None, "{:?}", seen.state);
    }
}

#[test]
fn a_retry_files_an_ended_job_with_all_attempts_and_without_its_error() {
    let called_off =
        cancel(None, &Request { name: String::new(), queue: String::new(), ..request() }, &policy(), at(0)).expect("a tombstone");
    let (done, _) = finish(&running(), Outcome::Success(6.into()), &policy(), 1.0, at(10));
    for seen in [failed_for_good(), done, called_off] {
        let again = retry(&seen, &request(), "again", at(20)).expect("it has ended");
        let used = Record { progress: Some(1.into()), checkpoint: Some(2.into()), snoozes: 3, ..seen.clone() };
        assert_eq!(retry(&used, &request(), "again", at(20)), Some(again.clone()), "whatever it has left");
        assert_eq!(again.state, State::Scheduled);
        assert_eq!(again.run_at, Some(at(20)));
        assert_eq!(again.envelope.as_deref(), Some("as sent"));
        assert_eq!(again.name.as_str(), "greet");
        assert_eq!(again.queue.as_str(), "mail");
        assert_eq!(again.max_attempts, seen.max_attempts);
        assert_eq!(again.attempts, 0);
        assert_eq!(again.runs, 0);
        assert_eq!(again.result, None);
        assert_eq!(again.error, None);
        assert_eq!(again.dlq, None);
        assert_eq!(again.finished_at, None);
        assert_eq!(again.purge_at, None);
        assert_eq!(again.generation, seen.generation, "the generation goes on");
        assert_eq!(again.owner.as_deref(), Some("again"), "the generation goes on");
        assert_eq!(granted(decided(&again, at(20))).generation, seen.generation + 1);
    }
    let later = Request { run_at: Some(at(5000)), max_attempts: Some(7), ..request() };
    let again = retry(&failed_for_good(), &later, "again", at(20)).expect("it has ended");
    assert_eq!(again.run_at, Some(at(5000)));
    assert_eq!(again.max_attempts, 7);
}

#[test]
fn a_job_that_is_run_again_keeps_each_ending_in_its_history() {
    let endings = |seen: &Record| {
        let again = retry(seen, &request(), "again", at(20)).expect("it has ended");
        again.history.into_iter().map(|past| (past.generation, past.kind, past.at)).collect::<Vec<_>>()
    };
    let (done, _) = finish(&running(), Outcome::Success(6.into()), &policy(), 1.0, at(10));
    assert_eq!(endings(&done), [(1, "succeeded".to_owned(), Some(at(10)))]);
    let cancelled = cancel(Some(&scheduled(at(5000))), &request(), &policy(), at(9)).expect("it waits");
    assert_eq!(endings(&cancelled), [(0, "cancelled".to_owned(), Some(at(9)))]);
    assert_eq!(endings(&failed_for_good()), [(1, "error".to_owned(), Some(at(10)))], "the failed attempt is there already");
    let rejected = Record { error: Some(Failure { kind: "rejected".into(), ..failure("error") }), ..failed_for_good() };
    assert_eq!(endings(&rejected).len(), 2);
}

#[test]
fn what_goes_on_is_not_run_a_second_time() {
    for seen in [running(), waiting(), scheduled(at(5000)), announced(&request()), Record { state: State::Blocked, ..running() }] {
        assert_eq!(retry(&seen, &request(), "again", at(20)), None);
    }
}

#[test]
fn a_copy_in_the_dead_letter_queue_does_not_run_beside_what_was_run_again() {
    let dead = failed_for_good();
    let copy = Request { dead: Some(dead.generation), ..request() };
    let again = sent(&retry(&dead, &request(), "again", at(20)).expect("it has ended"));
    let by_copy = decide(Some(&again), &copy, &policy(), &claim("by the copy"), at(21));
    let run = granted(by_copy);
    assert!(matches!(left(decided(&run, at(22))), Ending::Busy(_)), "one of both runs");
    let (done, _) = finish(&run, Outcome::Success(6.into()), &policy(), 1.0, at(23));
    assert_eq!(left(decided(&done, at(24))), Ending::Duplicate);
}

#[test]
fn a_job_that_was_announced_has_the_budget_of_its_policy() {
    let seen = announced(&request());
    assert_eq!(seen.state, State::Queued);
    assert_eq!(seen.attempts, 0);
    assert_eq!(seen.generation, 0);
    assert_eq!(seen.purge_at, None);
    assert_eq!(granted(decided(&seen, at(0))).max_attempts, policy().max_attempts);
    let own = announced(&Request { max_attempts: Some(9), ..request() });
    assert_eq!(granted(decided(&own, at(0))).max_attempts, 9);
}

#[test]
fn only_a_filed_job_that_holds_its_message_and_is_due_is_sent() {
    let filed = scheduled(at(50));
    assert!(is_sendable(&filed, at(50)) && is_sendable(&filed, at(51)));
    let others = [sent(&filed), Record { envelope: None, ..filed.clone() }, Record { run_at: None, ..filed.clone() }];
    assert!(others.iter().all(|other| !is_sendable(other, at(51))));
    assert!(!is_sendable(&filed, ms(49_999)));
}

#[test]
fn a_job_has_the_same_shard_in_every_version() {
    let shards = ["job-1", "job-2", ""].map(|id| scheduled_as(id).due.expect("it is in the index"));
    assert_eq!(shards, ["due#1", "due#2", "due#0"]);
}

#[test]
fn the_due_index_has_sixteen_shards() {
    let shards = (0..1000).map(|number| scheduled_as(&format!("job-{number}")).due.expect("it is in the index"));
    let shards: std::collections::BTreeSet<_> = shards.collect();
    assert_eq!(shards, (0..16).map(|number| format!("due#{number}")).collect());
}

fn scheduled_as(id: &str) -> Record {
    filed(None, &Request { id: id.into(), ..request() }, &policy(), "filer", at(5000))
}

#[test]
fn the_mark_of_a_dead_letter_changes_nothing_else() {
    let owed = failed_for_good();
    let marked = dead_lettered(&owed);
    assert_eq!(marked, Record { dlq: Some(Dlq::Sent), ..owed });
}

#[test]
fn a_record_remembers_the_last_ten_failed_attempts() {
    let mut record = running();
    for _ in 0..25 {
        record = granted(decided(&Record { max_attempts: 100, ..ended(&record, FollowUp::Retry(None)).0 }, at(500)));
    }
    assert_eq!(record.history.iter().map(|past| past.generation).collect::<Vec<_>>(), (16..=25).collect::<Vec<_>>());
}

#[test]
fn a_failure_is_cut_between_characters() {
    let long = Failure::new("error", "é".repeat(2000), at(0));
    assert_eq!(long.message.len(), 2000);
    assert_eq!(Failure::new("error", format!("x{}", "é".repeat(2000)), at(0)).message.len(), 1999);
    assert_eq!(Failure::new("é".repeat(64), String::new(), at(0)).kind.len(), 64);
    assert_eq!(Failure::new("", String::new(), at(0)).kind, "error");
}

proptest! {
    #[test]
    fn a_renewal_always_extends_the_lease(held in prop::option::of(any::<i64>()), now in -100_000_i64..100_000, lease in 0_u64..100_000) {
        let held = Record { lease_until: held.map(|held| held.min(i64::MAX - 1)), ..running() };
        let next = renewed(&held, Duration::from_millis(lease), ms(now));
        prop_assert!(next.lease_until > held.lease_until);
        prop_assert!(next.lease_until >= Some(ms(now).as_millisecond() + i64::try_from(lease).expect("small")));
        prop_assert_eq!(Record { lease_until: held.lease_until, ..next }, held);
    }
}

#[test]
fn a_record_learns_the_dependents_that_a_message_names() {
    let naming = Request { dependents: ["n".to_owned()].into(), ..request() };
    let tombstone = cancel(None, &request(), &policy(), at(0)).expect("it has no record");
    let again = retry(&tombstone, &naming, "again", at(20)).expect("it has ended");
    assert_eq!(again.dependents, naming.dependents);
    let blocked = Record { state: State::Blocked, blocked_on: ["a".to_owned()].into(), owner: Some("waits".into()), ..scheduled(at(0)) };
    for seen in [tombstone, blocked, scheduled(at(5000))] {
        let (noted, ending) = match decide(Some(&seen), &naming, &policy(), &claim("next"), at(10)) {
            Decision::End { next, ending } => (*next, ending),
            other => panic!("{other:?}"),
        };
        let expected = Record { dependents: naming.dependents.clone(), owner: Some("next".into()), ..seen };
        assert_eq!(noted, expected);
        assert_eq!(ending, Ending::Duplicate);
        assert!(matches!(decide(Some(&noted), &naming, &policy(), &claim("later"), at(10)), Decision::Leave(_)), "it is written once");
    }
}
