//! Tests of the decision about a delivery.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_new_job_starts_its_first_attempt() {
    let first = running();
    assert_eq!(first.state, State::Running);
    assert_eq!(first.attempts, 1);
    assert_eq!(first.generation, 1);
    assert_eq!(first.runs, 1);
    assert_eq!(first.owner.as_deref(), Some("first"));
    assert_eq!(first.lease_until, Some(at(30).as_millisecond()));
    assert_eq!(first.started_at, Some(at(0)));
    assert_eq!(first.enqueued_at, Some(at(-5)));
    assert_eq!(first.max_attempts, 3);
    assert_eq!(first.tags, request().tags);
    assert_eq!(first.parent_id, request().parent_id);
    assert_eq!(first.purge_at, None);
    assert_eq!(first.envelope, None);
}

#[test]
fn only_the_first_receive_of_an_unmarked_message_starts_unrecorded() {
    let on_trouble = policy().recording(Recording::OnTrouble);
    for (receives, has_record, starts) in [(1, false, true), (2, false, false), (0, false, false), (1, true, false), (2, true, false)] {
        assert_eq!(starts_unrecorded(&on_trouble, receives, has_record), starts, "{receives}, {has_record}");
        assert!(!starts_unrecorded(&policy(), receives, has_record), "a job is always recorded unless its policy says otherwise");
    }
}

#[test]
fn a_record_written_on_trouble_holds_the_message_if_that_is_not_large() {
    let on_trouble = policy().recording(Recording::OnTrouble);
    let attributes: BTreeMap<_, _> = [("tenant".to_owned(), "seven".to_owned())].into();
    let asks = Request { message_group: Some("g".into()), message_attributes: attributes.clone(), ..request() };
    let first = granted(decide(None, &asks, &on_trouble, &claim("first"), at(0)));
    assert_eq!(first.envelope.as_deref(), Some("as sent"));
    assert_eq!(first.message_group.as_deref(), Some("g"));
    assert_eq!(first.message_attributes, attributes);
    assert_eq!(first.digest, asks.digest);
    let largest = |bytes: usize| Request { body: "x".repeat(bytes - 11), ..asks.clone() };
    let kept = |asks: &Request| granted(decide(None, asks, &on_trouble, &claim("first"), at(0))).envelope.is_some();
    assert!(kept(&largest(KEPT_BYTES)) && !kept(&largest(KEPT_BYTES + 1)));
    let filed = Record { envelope: Some("as filed".into()), ..scheduled(at(0)) };
    let taken = granted(decide(Some(&filed), &asks, &on_trouble, &claim("next"), at(0)));
    assert_eq!(taken.envelope.as_deref(), Some("as filed"), "the record wins");
}

#[test]
fn the_message_may_ask_for_other_attempts_than_the_policy() {
    let asks = Request { max_attempts: Some(9), ..request() };
    assert_eq!(granted(decide(None, &asks, &policy(), &claim("first"), at(0))).max_attempts, 9);
}

#[test]
fn a_waiting_job_starts_its_next_attempt_under_the_next_generation() {
    for state in [State::Queued, State::Retrying, State::Scheduled] {
        let seen = Record { state, ..waiting() };
        let next = granted(decided(&seen, at(70)));
        assert_eq!(next.state, State::Running, "{state:?}");
        assert_eq!(next.attempts, 2, "{state:?}");
        assert_eq!(next.generation, 2, "{state:?}");
        assert_eq!(next.runs, 2, "{state:?}");
        assert_eq!(next.owner.as_deref(), Some("next"));
        assert_eq!(next.lease_until, Some(at(100).as_millisecond()));
        assert_eq!(next.started_at, Some(at(70)));
        assert_eq!(next.run_at, None);
        assert_eq!(next.due, None);
        assert_eq!(next.history, seen.history);
    }
}

#[test]
fn a_job_that_waits_is_no_suspect() {
    assert!(matches!(decided(&waiting(), at(70)), Decision::Run { suspect: false, .. }));
}

#[test]
fn a_job_does_not_start_before_its_time() {
    let due = waiting();
    assert_eq!(left(decided(&due, ms(69_999))), Ending::Early(at(70)));
    granted(decided(&due, at(70)));
    let new = Request { run_at: Some(at(70)), ..request() };
    assert_eq!(left(decide(None, &new, &policy(), &claim("first"), ms(69_999))), Ending::Early(at(70)));
    granted(decide(None, &new, &policy(), &claim("first"), at(70)));
}

#[test]
fn what_an_envelope_asks_for_is_in_the_request() {
    let mut envelope = Envelope::new("greet", serde_json::json!([1]));
    (envelope.run_at, envelope.expires_at, envelope.max_attempts) = (Some(at(5)), Some(at(9)), Some(2));
    (envelope.parent_id, envelope.root_id) = (Some("job-0".into()), Some("job-00".into()));
    envelope.tags = vec!["a label".into()];
    envelope.meta = [("tenant".to_owned(), 7.into())].into_iter().collect();
    let expected = Request {
        name: "greet".into(),
        run_at: Some(at(5)),
        expires_at: Some(at(9)),
        max_attempts: Some(2),
        tags: vec!["a label".into()],
        meta: envelope.meta.clone(),
        parent_id: Some("job-0".into()),
        root_id: Some("job-00".into()),
        digest: Some(envelope.digest()),
        body: "as sent".into(),
        max_blocked: Duration::from_hours(30 * 24),
        ..Request::default()
    };
    assert_eq!(Request::of(envelope, "as sent".into()), expected);
}

#[test]
fn a_record_has_the_digest_of_the_arguments_with_which_the_job_runs() {
    let digest = |args: u8| Some(Envelope::new("greet", args.into()).digest());
    let asked = |args: u8| Request { digest: digest(args), ..request() };
    let claimed = |seen: Option<&Record>, args: u8| granted(decide(seen, &asked(args), &policy(), &claim("next"), at(70)));
    let first = claimed(None, 1);
    assert_eq!(first.digest, digest(1));
    let waits = Record { state: State::Retrying, lease_until: None, ..first.clone() };
    assert_eq!(claimed(Some(&waits), 2).digest, digest(2), "the message has the arguments");
    let filed = filed(None, &asked(1), &policy(), "filer", at(70));
    assert_eq!(claimed(Some(&filed), 2).digest, digest(1), "the record has the arguments");
    let ended = Record { state: State::Succeeded, ..first };
    assert!(has_other_arguments(&ended, &asked(2)) && !has_other_arguments(&ended, &asked(1)));
    assert!(!has_other_arguments(&Record { digest: None, ..ended }, &asked(2)), "nothing is known of an older record");
}

#[test]
fn a_new_record_has_what_its_message_asks_for() {
    let asked = Request {
        run_at: Some(at(-1)),
        max_attempts: Some(9),
        meta: [("tenant".to_owned(), 7.into())].into_iter().collect(),
        root_id: Some("job-00".into()),
        dead: Some(4),
        ..request()
    };
    let expected = Record {
        id: "job-1".into(),
        name: "greet".into(),
        queue: "mail".into(),
        state: State::Queued,
        max_attempts: 9,
        generation: 4,
        enqueued_at: Some(at(-5)),
        run_at: Some(at(-1)),
        tags: vec!["a label".into()],
        meta: asked.meta.clone(),
        parent_id: Some("job-0".into()),
        root_id: Some("job-00".into()),
        ..Record::default()
    };
    assert_eq!(created(&asked, &policy()), expected);
    assert_eq!(created(&request(), &policy()).max_attempts, 3, "the policy's");
}

#[test]
fn a_wait_of_over_fifteen_minutes_is_filed_unless_the_queue_is_fifo() {
    let until = |seconds| Record { run_at: Some(at(seconds)), ..waiting() };
    assert_eq!(left(decided(&until(900), at(0))), Ending::Early(at(900)), "a queue can delay that");
    let (filed, ending) = closed(decided(&until(901), at(0)));
    assert_eq!(filed.state, State::Scheduled);
    assert_eq!(filed.envelope.as_deref(), Some("as sent"));
    assert_eq!(ending, Ending::Early(at(901)));
    assert_eq!(filed.owner.as_deref(), Some("next"), "a token of its own");
    assert_eq!(left(decided(&filed, at(0))), Ending::Early(at(901)), "the index holds it already");
    assert!(is_filed(&filed, at(0)) && !is_filed(&filed, at(1)) && !is_filed(&until(901), at(0)));
    let ordered = Request { queue: "mail.fifo".into(), ..request() };
    let head = Record { queue: "mail.fifo".into(), ..until(901) };
    assert_eq!(left(decide(Some(&head), &ordered, &policy(), &claim("next"), at(0))), Ending::Early(at(901)));
}

#[test]
fn what_an_attempt_leaves_waiting_for_long_is_filed_and_nothing_else() {
    let waits = |state, seconds| Record { state, run_at: Some(at(seconds)), ..waiting() };
    for state in [State::Queued, State::Retrying] {
        let filed = put_off(waits(state, 901), &request(), &policy(), at(0));
        assert_eq!(filed.state, State::Scheduled);
        assert_eq!(filed.owner.as_deref(), Some("first"));
        assert_eq!(filed.run_at, Some(at(901)));
        let soon = waits(state, 900);
        assert_eq!(put_off(soon.clone(), &request(), &policy(), at(0)), soon);
        let nobodys = Record { owner: None, ..waits(state, 901) };
        assert_eq!(put_off(nobodys.clone(), &request(), &policy(), at(0)), nobodys);
        let ordered = Record { queue: "mail.fifo".into(), ..waits(state, 901) };
        assert_eq!(put_off(ordered.clone(), &request(), &policy(), at(0)), ordered);
    }
    let ended = Record { run_at: Some(at(901)), ..failed_for_good() };
    assert_eq!(put_off(ended.clone(), &request(), &policy(), at(0)), ended);
}

#[test]
fn the_time_in_a_due_record_wins_over_the_message() {
    let message = Request { run_at: Some(at(100)), ..request() };
    let decide_at = |moved_to, now| decide(Some(&scheduled(moved_to)), &message, &policy(), &claim("next"), now);
    assert_eq!(left(decide_at(at(200), at(100))), Ending::Early(at(200)), "moved to later");
    granted(decide_at(at(50), at(50)));
    let sent_early = sent(&scheduled(at(200)));
    assert_eq!(left(decide(Some(&sent_early), &message, &policy(), &claim("next"), at(100))), Ending::Early(at(200)), "already sent");
}

#[test]
fn a_due_job_is_claimed_straight_from_the_index() {
    let next = granted(decided(&scheduled(at(50)), at(50)));
    assert_eq!(next.state, State::Running);
    assert_eq!(next.attempts, 1);
    assert_eq!(next.generation, 1);
    assert_eq!(next.due, None, "and is out of it");
    assert_eq!(next.run_at, None, "and is out of it");
}

#[test]
fn the_envelope_of_a_job_that_was_filed_stays_until_it_ends() {
    assert_eq!(granted(decided(&scheduled(at(50)), at(50))).envelope.as_deref(), Some("as sent"), "not sent yet");
    let sent_once = granted(decided(&sent(&scheduled(at(50))), at(50)));
    assert_eq!(sent_once.envelope.as_deref(), Some("as sent"), "its message may be one that was to be deleted");
    let done = finish(&sent_once, Outcome::Success("done".into()), &policy(), 0.5, at(60)).0;
    assert_eq!(done.envelope, None);
    let changed = sent(&Record { envelope: Some("with other arguments".into()), ..scheduled(at(50)) });
    let next = granted(decided(&changed, at(50)));
    assert_eq!(next.envelope.as_deref(), Some("with other arguments"));
    let again = granted(decided(&ended(&next, FollowUp::Retry(None)).0, at(70)));
    assert_eq!(again.envelope.as_deref(), Some("with other arguments"), "for every attempt");
}

#[test]
fn a_job_is_left_alone_until_its_lease_and_the_skew_margin_are_over() {
    let held = running();
    for now in [at(0), at(30), at(35)] {
        let ending = left(decided(&held, now));
        assert_eq!(ending, Ending::Busy(at(35)));
    }
    granted(decided(&held, ms(35_001)));
}

#[test]
fn a_killed_attempt_is_in_the_history_and_the_next_one_is_a_suspect() {
    let Decision::Run { next, suspect } = decided(&running(), at(40)) else { panic!("not granted") };
    assert!(suspect);
    assert_eq!(next.attempts, 2, "it was counted at its claim");
    assert_eq!(next.generation, 2, "it was counted at its claim");
    assert_eq!(next.runs, 2, "it was counted at its claim");
    let [killed] = &next.history[..] else { panic!("one attempt was killed: {:?}", next.history) };
    assert_eq!(killed.generation, 1);
    assert_eq!(killed.started_at, Some(at(0)));
    assert_eq!(killed.kind.as_str(), "killed");
    assert_eq!(killed.at, Some(at(40)));
    assert_eq!(next.error.as_ref().map(|error| (&error.kind, &error.message)), Some((&killed.kind, &killed.message)));
}

#[test]
fn a_job_killed_in_its_last_attempt_fails_as_killed() {
    let last = Record { attempts: 3, generation: 4, ..running() };
    let (record, ending) = closed(decided(&last, at(40)));
    assert_eq!(ending, Ending::Failed);
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.dlq, Some(Dlq::Pending));
    assert_eq!(record.attempts, 3, "the leftover is fenced off");
    assert_eq!(record.generation, 4, "the leftover is fenced off");
    assert_eq!(record.owner.as_deref(), Some("next"), "the leftover is fenced off");
    assert_eq!(record.error.map(|error| error.kind).as_deref(), Some("killed"));
    assert_eq!(record.history.iter().map(|past| past.generation).collect::<Vec<_>>(), [4]);
    assert_terminal(&closed(decided(&last, at(40))).0, at(40));
}

#[test]
fn a_job_killed_in_its_last_run_fails_as_killed() {
    let last = Record { attempts: 1, runs: 1000, ..running() };
    let (record, ending) = closed(decided(&last, at(40)));
    assert_eq!(ending, Ending::Failed);
    assert_eq!(record.error.map(|error| error.kind).as_deref(), Some("killed"));
}

#[test]
fn a_killed_job_that_was_called_off_is_cancelled() {
    let flagged = Record { cancel_requested: true, ..running() };
    let (record, ending) = closed(decided(&flagged, at(40)));
    assert_eq!(ending, Ending::Cancelled);
    assert_eq!(record.state, State::Cancelled);
    assert_eq!(record.dlq, None);
    assert!(!record.cancel_requested);
    assert_eq!(record.history.len(), 1);
    assert_terminal(&record, at(40));
}

#[test]
fn a_job_past_its_time_expires_even_if_it_is_not_due() {
    let late = Request { expires_at: Some(at(60)), run_at: Some(at(500)), ..request() };
    for seen in [None, Some(&waiting()), Some(&scheduled(at(500)))] {
        let decide_at = |now| decide(seen, &late, &policy(), &claim("next"), now);
        assert!(!matches!(decide_at(ms(59_999)), Decision::End { .. }), "not before");
        let (record, ending) = closed(decide_at(at(60)));
        assert_eq!(ending, Ending::Expired);
        assert_eq!(record.state, State::Expired);
        assert_eq!(record.dlq, None);
        assert_eq!(record.attempts, seen.map_or(0, |seen| seen.attempts), "and costs nothing");
        assert_terminal(&record, at(60));
    }
}

#[test]
fn a_killed_job_past_its_time_expires_instead_of_running_again() {
    let late = Request { expires_at: Some(at(32)), ..request() };
    let (record, ending) = closed(decide(Some(&running()), &late, &policy(), &claim("next"), at(40)));
    assert_eq!(ending, Ending::Expired);
    assert_eq!(record.state, State::Expired);
    assert_eq!(record.history.len(), 1);
    assert_eq!(record.error.as_ref().map(|error| &*error.kind), Some("killed"));
    assert_terminal(&record, at(40));
}

#[test]
fn a_waiting_job_that_was_called_off_is_cancelled() {
    let flagged = Record { cancel_requested: true, ..waiting() };
    let (record, ending) = closed(decided(&flagged, at(20)));
    assert_eq!(ending, Ending::Cancelled);
    assert_eq!(record.state, State::Cancelled);
    assert_eq!(record.attempts, 1);
    assert_terminal(&record, at(20));
}

#[test]
fn a_job_that_was_called_off_by_its_id_alone_never_runs() {
    let unseen = Request { id: request().id, ..Request::default() };
    let tombstone = cancel(None, &unseen, &policy(), at(0)).expect("it has not ended");
    assert_eq!(left(decided(&tombstone, at(70))), Ending::Duplicate);
}

#[test]
fn a_job_without_an_attempt_left_does_not_start() {
    let spent = Record { attempts: 3, ..waiting() };
    let (record, ending) = closed(decided(&spent, at(70)));
    assert_eq!(ending, Ending::Failed);
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.dlq, Some(Dlq::Pending));
    assert_eq!(record.attempts, 3);
    assert_eq!(record.error.as_ref().map(|error| error.kind.as_str()), Some("exhausted"));
    assert_terminal(&record, at(70));
}

#[test]
fn a_job_without_a_run_left_does_not_start() {
    let (record, ending) = closed(decided(&Record { runs: 1000, ..waiting() }, at(70)));
    assert_eq!(ending, Ending::Failed);
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.runs, 1000);
    assert_eq!(record.error.map(|error| error.kind).as_deref(), Some("max_runs"));
    granted(decided(&Record { runs: 999, ..waiting() }, at(70)));
}

#[test]
fn a_delivery_of_a_job_that_has_ended_is_a_duplicate() {
    let failed = dead_lettered(&failed_for_good());
    let succeeded = finish(&running(), Outcome::Success(Value::Null), &policy(), 0.0, at(10)).0;
    let cancelled = ended(&running(), FollowUp::Cancel).0;
    let expired = Record { state: State::Expired, ..cancelled.clone() };
    for seen in [succeeded, failed, cancelled, expired] {
        assert_eq!(left(decided(&seen, at(20))), Ending::Duplicate, "{:?}", seen.state);
        let after_its_purge = at(20 * 86_400);
        assert_eq!(left(decided(&seen, after_its_purge)), Ending::Duplicate, "as long as it is there");
    }
}

#[test]
fn a_delivery_that_finds_the_dead_letter_owed_finishes_the_job() {
    let owed = failed_for_good();
    assert_eq!(left(decided(&owed, at(20))), Ending::Failed);
    assert_eq!(left(decided(&dead_lettered(&owed), at(20))), Ending::Duplicate);
}

#[test]
fn a_job_that_waits_for_others_is_not_started() {
    let blocked = Record { state: State::Blocked, blocked_on: ["a".to_owned()].into(), ..waiting() };
    assert_eq!(left(decided(&blocked, at(70))), Ending::Blocked);
    granted(decided(&Record { blocked_on: BTreeSet::new(), ..blocked }, at(70)));
}

#[test]
fn a_record_of_another_name_or_queue_is_foreign_whatever_its_state() {
    let called_off = cancel(Some(&waiting()), &request(), &policy(), at(20)).expect("it waits");
    for seen in [running(), waiting(), dead_lettered(&failed_for_good()), scheduled(at(5)), called_off] {
        let of_another_name = Record { name: "farewell".into(), ..seen.clone() };
        let of_another_queue = Record { queue: "post".into(), ..seen };
        assert_eq!(left(decided(&of_another_name, at(500))), Ending::Foreign);
        assert_eq!(left(decided(&of_another_queue, at(500))), Ending::Foreign);
    }
}

/// Returns the request of a message that came back from the dead-letter queue.
fn redriven_message(generation: u64) -> Request {
    Request { dead: Some(generation), ..request() }
}

#[test]
fn a_redriven_job_starts_over_and_its_generations_go_on() {
    let spent = Record { attempts: 3, generation: 7, runs: 6, snoozes: 2, ..failed_for_good() };
    for seen in [spent.clone(), dead_lettered(&spent)] {
        let next = granted(decide(Some(&seen), &redriven_message(7), &policy(), &claim("next"), at(20)));
        assert_eq!(next.attempts, 1);
        assert_eq!(next.runs, 1);
        assert_eq!(next.snoozes, 0);
        assert_eq!(next.generation, 8);
        assert_eq!(next.finished_at, None, "it is not to be forgotten any more");
        assert_eq!(next.purge_at, None, "it is not to be forgotten any more");
        assert_eq!(next.dlq, None, "it is not to be forgotten any more");
        assert_eq!(next.history, seen.history);
    }
}

#[test]
fn a_redriven_job_that_never_started_has_the_attempts_of_its_policy() {
    let moved = abandoned(None, &request(), None, "beater", at(10));
    let Abandoned::End(of_message) = moved else { panic!("{moved:?}") };
    let Abandoned::End(of_client) = abandoned(Some(&announced(&request())), &request(), None, "beater", at(10)) else { panic!("it ends") };
    for failed in [of_message, of_client] {
        let again = granted(decide(Some(&dead_lettered(&failed)), &redriven_message(0), &policy(), &claim("next"), at(20)));
        assert_eq!(again.attempts, 1);
        assert_eq!(again.max_attempts, policy().max_attempts);
    }
}

#[test]
fn a_redriven_job_that_waited_too_long_waits_again_from_now() {
    let dependencies = Some(Box::new(Dependencies { ids: vec!["a".into()], ..Dependencies::default() }));
    let asked = Request { dependencies, max_blocked: secs(60), ..request() };
    let (blocked, ending) = closed(decide(None, &asked, &policy(), &claim("first"), at(0)));
    assert_eq!(ending, Ending::Blocked);
    assert_eq!(blocked.state, State::Blocked);
    assert_eq!(repair(&blocked, None, "beater", at(59)), Repair::Nothing);
    let Repair::Write(failed) = repair(&blocked, None, "beater", at(70)) else { panic!("it waited too long") };
    assert_eq!(failed.error.as_ref().map(|error| &*error.message), Some("it waited too long for a"));
    let redriven = Request { dead: Some(0), max_blocked: secs(60), ..request() };
    let (again, ending) = closed(decide(Some(&dead_lettered(&failed)), &redriven, &policy(), &claim("next"), at(100)));
    assert_eq!(ending, Ending::Blocked);
    assert_eq!(again.dependencies.and_then(|it| it.until), Some(at(160)));
}

#[test]
fn a_blocked_job_is_in_the_due_index_at_the_end_of_its_wait() {
    let dependencies = Some(Box::new(Dependencies { ids: vec!["a".into()], ..Dependencies::default() }));
    for (expires_at, ends) in [(None, 60), (Some(at(40)), 40), (Some(at(90)), 60)] {
        let asked = Request { dependencies: dependencies.clone(), max_blocked: secs(60), expires_at, run_at: Some(at(30)), ..request() };
        let (blocked, _) = closed(decide(None, &asked, &policy(), &claim("first"), at(0)));
        assert_eq!(blocked.run_at, Some(at(ends)));
        assert_eq!(blocked.due.as_deref(), Some(&*shard(&blocked.id)));
        assert_eq!(starts_at(&blocked), Some(at(30)));
        let ready = Record { blocked_on: [].into(), ..blocked };
        let sent = sent(&ready);
        assert_eq!(sent.run_at, Some(at(30)), "its own run time counts after the wait");
        assert_eq!(sent.due, None, "its own run time counts after the wait");
        let filed = put_back(&ready, "beater", at(30), at(30));
        assert_eq!(filed.state, State::Scheduled);
        assert_eq!(filed.run_at, Some(at(30)));
        assert_eq!(filed.dependencies.and_then(|it| it.run_at), None);
        assert_eq!(left(decided(&ready, at(1))), Ending::Early(at(30)), "its message came before the mark");
    }
    let long = Request { dependencies, run_at: Some(at(86_400)), ..request() };
    let (blocked, _) = closed(decide(None, &long, &policy(), &claim("first"), at(0)));
    let Release::File(filed) = release(&Record { blocked_on: [].into(), ..blocked }, "beater", at(1)) else { panic!("it is not due") };
    assert_eq!(filed.state, State::Scheduled);
    assert_eq!(filed.run_at, Some(at(86_400)));
}

#[test]
fn only_exactly_the_generation_that_failed_is_redriven() {
    let failed = dead_lettered(&Record { generation: 7, ..failed_for_good() });
    for other in [0, 6, 8] {
        let decision = decide(Some(&failed), &redriven_message(other), &policy(), &claim("next"), at(20));
        assert_eq!(left(decision), Ending::Duplicate, "{other}");
    }
    let owed = Record { dlq: Some(Dlq::Pending), ..failed };
    assert_eq!(left(decide(Some(&owed), &redriven_message(6), &policy(), &claim("next"), at(20))), Ending::Failed);
}

#[test]
fn only_a_failed_job_is_redriven() {
    for state in [State::Succeeded, State::Cancelled, State::Expired] {
        let seen = Record { state, dlq: None, ..failed_for_good() };
        assert_eq!(left(decide(Some(&seen), &redriven_message(1), &policy(), &claim("next"), at(20))), Ending::Duplicate);
    }
}

#[test]
fn a_second_copy_of_a_redriven_message_starts_nothing() {
    let failed = dead_lettered(&failed_for_good());
    let again = granted(decide(Some(&failed), &redriven_message(1), &policy(), &claim("next"), at(20)));
    let copy = |seen: &Record| left(decide(Some(seen), &redriven_message(1), &policy(), &claim("copy"), at(21)));
    assert_eq!(copy(&again), Ending::Busy(at(55)));
    assert_eq!(copy(&dead_lettered(&ended(&again, FollowUp::GiveUp).0)), Ending::Duplicate);
}

#[test]
fn a_job_redriven_after_its_record_was_purged_goes_on_counting() {
    let next = granted(decide(None, &redriven_message(7), &policy(), &claim("next"), at(20)));
    assert_eq!(next.attempts, 1);
    assert_eq!(next.generation, 8);
    assert_eq!(next.runs, 1);
}

#[test]
fn a_redriven_job_past_its_time_expires() {
    let late = Request { expires_at: Some(at(15)), ..redriven_message(1) };
    let (record, ending) = closed(decide(Some(&failed_for_good()), &late, &policy(), &claim("next"), at(20)));
    assert_eq!(ending, Ending::Expired);
    assert_eq!(record.dlq, None);
    assert_terminal(&record, at(20));
}

#[test]
fn counters_stop_at_their_ends_instead_of_overflowing() {
    let next = granted(decide(None, &redriven_message(u64::MAX), &policy(), &claim("next"), at(20)));
    assert_eq!(next.generation, u64::MAX);
    let forever = Claim { lease: Duration::MAX, ..claim("next") };
    let held = granted(decide(None, &request(), &policy(), &forever, at(20)));
    assert_eq!(left(decided(&held, at(20))), Ending::Busy(Timestamp::MAX));
}
