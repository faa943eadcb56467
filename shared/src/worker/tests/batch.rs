//! Interactions between the messages of a batch.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Creates a world in which each body logs its start and its end.
fn noting(policy: Policy) -> (TestWorker, Journal) {
    let journal = Journal::default();
    let runs = journal.clone();
    let world = TestWorker::with(policy, move |attempt: Arc<Attempt>| {
        let runs = runs.clone();
        async move {
            runs.note(format!("{} starts", attempt.id()));
            sleep(seconds(1)).await;
            runs.note(format!("{} ends", attempt.id()));
            if attempt.meta().contains_key("fatal") { Err(JobError::fatal("never")) } else { Ok(Value::Null) }
        }
    });
    (world, journal)
}

async fn most_at_once(policy: Policy, ceiling: usize) -> usize {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (now, most.clone());
    let mut world = TestWorker::with(policy, move |_| {
        let (now, most) = counts.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(seconds(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(Value::Null)
        }
    });
    world.max_concurrency = ceiling;
    assert!(world.handle(TEN.map(message)).await.failures.is_empty());
    most.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn no_more_jobs_run_at_a_time_than_their_policy_and_the_environment_allow() {
    assert_eq!(most_at_once(Policy::new(), usize::MAX).await, 10);
    assert_eq!(most_at_once(Policy::new().concurrency(3), usize::MAX).await, 3);
    assert_eq!(most_at_once(Policy::new().concurrency(3), 2).await, 2);
    assert_eq!(most_at_once(Policy::new().concurrency(usize::MAX), usize::MAX).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_job_twice_in_a_batch_runs_once_and_both_messages_are_done() {
    let (world, journal) = noting(Policy::new());
    let report = world.handle([message("a"), Message { id: "copy".into(), ..message("a") }]).await;
    assert!(report.failures.is_empty());
    assert_eq!(journal.all(), ["a starts", "a ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_in_a_batch_is_logged_and_other_arguments_warn() {
    let log = Log::capture();
    let (world, _) = noting(Policy::new());
    let copy = |id: &str, args: u8| Message { id: id.into(), ..with_body("a", json!({"name": "probe", "id": "a", "args": [args]})) };
    let engine = world.engine();
    assert!(engine.handle(vec![copy("first", 1), copy("same", 1), copy("other", 2)], &world.invocation()).await.failures.is_empty());
    let same = log.events("duplicate discarded");
    assert_eq!(same.len(), 1);
    assert_eq!(same[0]["level"], json!("INFO"));
    assert_eq!(same[0]["message_id"], json!("same"));
    let other = log.events("duplicate discarded; its arguments differ from those of the job");
    assert_eq!(other.len(), 1);
    assert_eq!(other[0]["level"], json!("WARN"));
    assert_eq!(other[0]["message_id"], json!("other"));
    let tally = engine.counter.next(Instant::now()).expect("they are counted").tally;
    assert_eq!(tally.endings["duplicate"], 2);
    assert_eq!(tally.kinds["other_arguments"], 1);
}

#[tokio::test(start_paused = true)]
async fn both_messages_of_a_retried_job_are_returned() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::retry_in(seconds(70), "no")));
    let copy = Message { id: "copy".into(), receipt: receipt_of("copy"), ..message("a") };
    let report = world.handle([message("a"), copy]).await;
    assert_eq!(report.failures, ["message-a", "copy"]);
    assert_eq!(world.queue.visibility("a"), Some(70));
    assert_eq!(world.queue.visibility("copy"), Some(70));
    assert_eq!(world.record("a").attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_with_two_messages_gets_one_dead_letter() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::fatal("no")));
    let report = world.handle([message("a"), Message { id: "copy".into(), ..message("a") }]).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.queue.messages(DLQ).len(), 1);
    world.queue.refuse_sends(true);
    let report = world.handle([message("b"), Message { id: "copy".into(), ..message("b") }]).await;
    assert_eq!(report.failures, ["message-b", "copy"]);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_message_does_not_hide_a_valid_one_with_its_id() {
    for flip in [false, true] {
        let (world, journal) = noting(Policy::new());
        let bad = Message { id: "bad".into(), ..with_body("a", json!({"name": "unknown", "id": "a"})) };
        let late = "2026-05-03T11:59:59Z".parse().expect("an instant");
        let dead = Message { id: "dead".into(), sent_at: Some(late), ..bad.clone() };
        let mut batch = vec![bad, dead, message("a")];
        if flip {
            batch.reverse();
        }
        assert_eq!(world.handle(batch).await.failures, ["bad"], "parked");
        assert_eq!(journal.all(), ["a starts", "a ends"]);
        assert_eq!(world.state("a"), State::Succeeded);
        assert_eq!(world.queue.messages(DLQ).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_of_another_name_is_no_duplicate_in_a_batch_either() {
    let (world, _) = noting(Policy::new());
    let world = world.and("other", Policy::new(), async |_| Ok(Value::Null));
    let other = Message { id: "other".into(), ..with_body("a", json!({"name": "other", "id": "a"})) };
    let report = world.handle([message("a"), other]).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.state("a"), State::Succeeded);
    assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.kind"], "id_in_use");
    assert!(world.store.writes().iter().all(|writes| writes.len() == 1), "no request has two writes for one key");
}

#[tokio::test(start_paused = true)]
async fn a_redriven_job_beside_its_own_duplicate_runs() {
    let (world, journal) = noting(Policy::new());
    world.store.put(Record { dlq: Some(crate::Dlq::Sent), ..ended(&world, "a", State::Failed) });
    let redriven = Message { id: "redriven".into(), attributes: [("sqjobs.dead".into(), "1".into())].into(), ..message("a") };
    assert!(world.handle([again("a"), redriven]).await.failures.is_empty());
    assert_eq!(world.state("a"), State::Succeeded);
    assert_eq!(journal.all().len(), 2);
}

/// Writes the record of a job whose process died during its last attempt.
fn killed(world: &TestWorker, id: &str) {
    world.store.put(held(world, id, seconds(0)));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_killed_last_time_starts_last_and_alone() {
    let (world, journal) = noting(Policy::new());
    killed(&world, "a");
    killed(&world, "b");
    world.clock.advance(seconds(6));
    let report = world.handle(["a", "c", "b", "d"].map(again)).await;
    assert!(report.failures.is_empty());
    assert_eq!(journal.all(), ["c starts", "d starts", "c ends", "d ends", "a starts", "a ends", "b starts", "b ends"]);
    let writes: Vec<_> = world
        .store
        .writes()
        .into_iter()
        .map(|writes| writes.into_iter().map(|write| (write.next.id.clone(), write.next.state)).collect::<Vec<_>>())
        .collect();
    let last = writes.iter().position(|writes| writes.contains(&("d".into(), State::Succeeded))).expect("d ended");
    let first = writes.iter().position(|writes| writes.contains(&("a".into(), State::Running))).expect("a started");
    assert!(last < first, "the others are recorded before");
    let record = world.record("a");
    assert_eq!(record.attempts, 2);
    assert_eq!(record.history[0].kind.as_str(), "killed");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_is_respected_for_the_margin_of_the_clocks() {
    let (world, journal) = noting(Policy::new());
    killed(&world, "a");
    world.clock.advance(seconds(5));
    assert_eq!(world.handle([again("a")]).await.failures, returned(&["a"]));
    assert_eq!(journal.all().len(), 0);
}
