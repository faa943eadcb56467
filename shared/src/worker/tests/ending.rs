//! The endings of attempts, their records, and the returned messages.

use super::*;
use crate::Backoff;

/// Creates the error of a failing attempt.
type Fails = fn() -> JobError;

/// Returns a world after one delivery of a job that fails with `error`.
async fn failing(policy: Policy, error: Fails) -> TestWorker {
    let world = TestWorker::with(policy, move |_| std::future::ready(Err(error())));
    world.deliver("a").await;
    world
}

#[tokio::test(start_paused = true)]
async fn one_failing_job_costs_its_nine_neighbours_nothing() {
    let world =
        TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| if attempt.id() == "d" { Err("no".into()) } else { Ok(Value::Null) });
    let report = world.handle(TEN.map(message)).await;
    assert_eq!(report.failures, returned(&["d"]));
    let ids: Vec<_> = TEN.into_iter().filter(|id| *id != "d").collect();
    assert_eq!(world.states(&ids), [State::Succeeded; 9]);
    assert_eq!(world.state("d"), State::Retrying);
    assert_eq!(world.record("d").attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn permanent_failures_are_logged_as_errors() {
    let log = Log::capture();
    let world = TestWorker::with(
        Policy::new().max_attempts(2),
        async |attempt: Arc<Attempt>| {
            if attempt.id() == "good" { Ok(Value::Null) } else { Err("no".into()) }
        },
    );
    world.handle([message("good"), message("bad")]).await;
    world.clock.advance(seconds(3600));
    let unknown = with_body("parked", json!({"name": "unknown", "id": "parked"}));
    world.handle([again("bad"), unknown, with_body("garbage", "not json")]).await;
    let logged = |message: &str| {
        let mut levels: Vec<_> = log.events(message).iter().map(|event| format!("{} {}", event["level"], event["outcome"])).collect();
        levels.sort_unstable();
        levels
    };
    assert_eq!(logged("job ended"), [r#""ERROR" "failed""#, r#""INFO" "succeeded""#, r#""WARN" "retried""#]);
    assert_eq!(logged("message not run"), [r#""ERROR" "rejected""#, r#""WARN" "parked""#]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_one_attempt_of_one_job() {
    let world = TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| {
        assert!(attempt.id() != "d", "{} is unlucky", attempt.id());
        Ok(Value::Null)
    });
    let report = world.handle(TEN.map(message)).await;
    assert_eq!(report.failures, returned(&["d"]));
    let record = world.record("d");
    let failure = record.error.expect("an error");
    assert_eq!(record.state, State::Retrying);
    assert_eq!(record.attempts, 1);
    assert_eq!(failure.kind.as_str(), "panic");
    assert_eq!(failure.message.as_str(), "d is unlucky");
}

#[tokio::test(start_paused = true)]
async fn the_record_contains_the_kind_and_the_message_of_an_error() {
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot read the answer")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let cases: [(Fails, &str, &str); 4] = [
        (|| Outer("x".parse::<u8>().expect_err("no number")).into(), "error", "cannot read the answer: invalid digit found in string"),
        (|| JobError::from("slow down").kind("throttled"), "throttled", "slow down"),
        (|| JobError::fatal("no such user"), "fatal", "no such user"),
        (|| JobError::fatal("no such user").kind("gone"), "gone", "no such user"),
    ];
    for (error, kind, text) in cases {
        let world = failing(Policy::new(), error).await;
        let record = world.record("a");
        let failure = record.error.expect("an error");
        assert_eq!(failure.kind.as_str(), kind);
        assert_eq!(failure.message.as_str(), text);
        assert_eq!(failure.at, Some(world.clock.now()));
        assert_eq!(record.history[0].generation, 1, "and the history remembers it");
        assert_eq!(record.history[0].message, failure.message, "and the history remembers it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_waits_for_its_backoff() {
    let policy = Policy::new().backoff(Backoff::exponential(seconds(100), seconds(1000)));
    let world = failing(policy, || "no".into()).await;
    assert!(world.queue.visibility("a").is_some_and(|wait| (50..=100).contains(&wait)), "{:?}", world.queue.calls());
    world.clock.advance(seconds(100));
    world.handle([again("a")]).await;
    assert!(world.queue.visibility("a").is_some_and(|wait| (100..=200).contains(&wait)), "{:?}", world.queue.calls());
    assert_eq!(world.record("a").attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_over_fifteen_minutes_leaves_the_queue_for_the_record() {
    for error in [(|| JobError::retry_in(seconds(2000), "later")) as Fails, || JobError::snooze(seconds(2000))] {
        let world = TestWorker::with(Policy::new(), move |_| std::future::ready(Err(error())));
        assert_eq!(world.deliver("a").await.failures, returned(&[]), "the message goes");
        let record = world.record("a");
        assert_eq!(record.state, State::Scheduled);
        assert_eq!(record.run_at, Some(crate::clock::after(world.clock.now(), seconds(2000))));
        assert_eq!(record.envelope, Some(message("a").body));
        assert!(record.due.is_some());
        assert_eq!(world.queue.visibility("a"), None);
        assert_eq!(world.handle([again("a")]).await.failures, returned(&[]), "nor is it needed if it comes again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_long_before_its_time_is_filed_and_deleted() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    let body = json!({"name": "probe", "id": "a", "run_at": "2026-05-07T12:00:00Z"}).to_string();
    assert_eq!(world.handle([with_body("a", &body)]).await.failures, returned(&[]));
    let record = world.record("a");
    assert_eq!(record.state, State::Scheduled);
    assert_eq!(record.attempts, 0);
    assert_eq!(record.envelope, Some(body));
    assert_eq!(record.run_at, "2026-05-07T12:00:00Z".parse().ok());
}

#[tokio::test(start_paused = true)]
async fn a_message_too_large_for_a_record_waits_in_the_queue() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::retry_in(seconds(2000), "later")));
    let body = |run_at: &str| json!({"name": "probe", "id": "a", "run_at": run_at, "args": "x".repeat(500_000)});
    let report = world.handle([with_body("a", body("2026-05-07T12:00:00Z"))]).await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(world.queue.visibility("a"), Some(900));
    let report = world.handle([with_body("a", body("2026-05-04T12:00:00Z"))]).await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(world.queue.visibility("a"), Some(900));
    assert_eq!(world.state("a"), State::Retrying);
    assert_eq!(world.record("a").attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_on_a_fifo_queue_comes_back_in_hops_that_cost_nothing() {
    let world = TestWorker::with(Policy::new(), |_| std::future::ready(Err(JobError::retry_in(seconds(2000), "later"))));
    world.handle([grouped("a", "g")]).await;
    let again = |id| Message { receives: 2, ..grouped(id, "g") };
    let waiting = world.record("a");
    let mut waits = vec![world.queue.visibility("a").expect("a wait")];
    for _ in 0..2 {
        world.clock.advance(seconds(900));
        world.handle([again("a")]).await;
        waits.push(world.queue.visibility("a").expect("a wait"));
        assert_eq!(world.record("a"), waiting, "untouched");
    }
    assert_eq!(waits, [900, 900, 200]);
    world.clock.advance(seconds(200));
    world.handle([again("a")]).await;
    assert_eq!(world.record("a").attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_can_set_the_wait_before_its_retry() {
    let world = failing(Policy::new(), || JobError::retry_in(seconds(77), "later")).await;
    assert_eq!(world.queue.visibility("a"), Some(77));
    assert_eq!(world.record("a").run_at, Some(crate::clock::after(world.clock.now(), seconds(77))));
}

#[tokio::test(start_paused = true)]
async fn a_snooze_does_not_count_as_an_attempt() {
    let world = failing(Policy::new(), || JobError::snooze(seconds(30))).await;
    let record = world.record("a");
    assert_eq!(record.state, State::Queued);
    assert_eq!(record.attempts, 0);
    assert_eq!(record.snoozes, 1);
    assert_eq!(record.generation, 1);
    assert_eq!(record.error, None);
    assert_eq!(record.history.len(), 0);
    assert_eq!(world.queue.visibility("a"), Some(30));
}

#[tokio::test(start_paused = true)]
async fn snoozes_have_their_own_limit() {
    let world = failing(Policy::new().max_attempts(1).max_snoozes(2), || JobError::snooze(seconds(30))).await;
    for _ in 0..2 {
        world.clock.advance(seconds(30));
        world.handle([again("a")]).await;
    }
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.record("a").error.expect("an error").kind.as_str(), "max_snoozes");
}

#[tokio::test(start_paused = true)]
async fn a_job_may_call_itself_off() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::cancel("no longer wanted")));
    let report = world.deliver("a").await;
    assert!(report.failures.is_empty());
    let record = world.record("a");
    assert_eq!(record.state, State::Cancelled);
    assert_eq!(record.error.expect("a reason").message.as_str(), "no longer wanted");
    assert_eq!(world.queue.messages(DLQ).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_result_too_large_for_the_table_fails_the_job_without_another_run() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(1.into()));
    world.store.on_write(|write| write.next.result.is_some(), .., StoreFault::Invalid);
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.record("a").error.expect("an error").kind.as_str(), "result");
    assert_eq!(world.queue.messages(DLQ).len(), 1);
    assert_eq!(world.store.writes().iter().flatten().filter(|write| is_finish(write)).count(), 2, "a refused write is not repeated");
}

#[tokio::test(start_paused = true)]
async fn a_message_may_shorten_the_budget_and_the_time_of_its_job() {
    let world = TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| {
        assert_eq!(attempt.max_attempts(), 1);
        assert_eq!(attempt.remaining(), seconds(2));
        sleep(seconds(3)).await;
        Ok(Value::Null)
    });
    world.handle([with_body("a", json!({"name": "probe", "id": "a", "max_attempts": 1, "timeout_s": 2.0}))]).await;
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.record("a").error.expect("an error").kind.as_str(), "timeout");
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_message_wins_over_that_of_its_job() {
    for policy in [1, 10].map(seconds) {
        let world = TestWorker::with(Policy::new().timeout(policy), async |attempt: Arc<Attempt>| {
            assert_eq!(attempt.remaining(), seconds(2));
            Ok(Value::Null)
        });
        world.handle([with_body("a", json!({"name": "probe", "id": "a", "timeout_s": 2.0}))]).await;
        assert_eq!(world.state("a"), State::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_counted_as_waiting_for_its_first_attempt_only() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::retry_in(seconds(70), "no")));
    let engine = world.engine();
    for delivery in [message("a"), again("a")] {
        engine.handle(vec![delivery], &world.invocation()).await;
        world.clock.advance(seconds(70));
    }
    let tally = engine.counter.next(Instant::now()).expect("both are counted").tally;
    assert_eq!(tally.run.count, 2);
    assert_eq!(tally.wait.count, 1);
    assert_eq!(tally.last_waited_ms, 2000);
}

#[tokio::test(start_paused = true)]
async fn the_log_of_an_ending_contains_its_times_in_milliseconds() {
    let log = Log::capture();
    let world = TestWorker::with(Policy::new(), async |_| {
        sleep(seconds(3)).await;
        Ok(Value::Null)
    });
    world.deliver("a").await;
    let ended = log.events("job ended").remove(0);
    assert_eq!(ended["run_ms"], 3000);
    assert_eq!(ended["waited_ms"], 2000);
}

#[tokio::test(start_paused = true)]
async fn deliveries_without_an_attempt_are_counted_by_kind() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    let args = |id: &str, args: u8| with_body(id, json!({"name": "probe", "id": id, "args": args}));
    world.handle(["same", "other"].map(|id| args(id, 1))).await;
    let engine = world.engine();
    let unknown = with_body("unknown", json!({"name": "unknown", "id": "unknown"}));
    let messages = vec![args("same", 1), args("other", 2), unknown, with_body("garbage", "not json")];
    engine.handle(messages, &world.invocation()).await;
    let tally = engine.counter.next(Instant::now()).expect("they are counted").tally;
    assert_eq!(tally.endings, [("duplicate".into(), 2), ("parked".into(), 1), ("rejected".into(), 1)].into());
    assert_eq!(tally.kinds, [("other_arguments".into(), 1), ("rejected".into(), 1)].into());
    let seen = [("parked", "unknown"), ("other_arguments", "other"), ("other_arguments", "same")].map(|(kind, id)| tally.saw(kind, id));
    assert_eq!(seen, [Some(true), Some(true), Some(false)]);
}

#[tokio::test(start_paused = true)]
async fn a_returned_message_of_two_days_is_sent_anew() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::retry_in(seconds(70), "later")));
    let old = |sent_at: &str, message: Message| Message {
        sent_at: sent_at.parse().ok(),
        attributes: [("tenant".into(), "7".into())].into(),
        group: Some("group".into()),
        ..message
    };
    assert_eq!(world.handle([old("2026-05-02T12:00:01Z", message("a"))]).await.failures, returned(&["a"]));
    assert_eq!(world.handle([old("2026-05-02T12:00:00Z", grouped("b", "group"))]).await.failures, returned(&["b"]), "it keeps its order");
    assert_eq!(world.queue.messages(QUEUE), []);
    assert_eq!(world.handle([old("2026-05-02T12:00:00Z", message("c"))]).await.failures, returned(&[]));
    let anew = world.queue.messages(QUEUE).remove(0);
    assert_eq!(anew.body, message("c").body);
    assert_eq!(anew.group.as_deref(), Some("group"));
    assert_eq!(anew.attributes, [("tenant".into(), "7".into()), ("sqjobs.id".into(), "c".into())].into());
    assert_eq!(world.queue.next_visible(QUEUE), Some(crate::clock::after(world.clock.now(), seconds(70))));
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_rounded_up_to_whole_seconds() {
    for (millis, visibility) in [(1000, 1), (1001, 2), (1999, 2), (2000, 2)] {
        let world =
            TestWorker::with(Policy::new(), move |_| std::future::ready(Err(JobError::retry_in(Duration::from_millis(millis), "later"))));
        world.deliver("a").await;
        assert_eq!(world.queue.visibility("a"), Some(visibility), "{millis} ms");
    }
}
