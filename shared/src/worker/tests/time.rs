//! Attempts that run out of time.

use std::future::pending;

use super::*;

fn kind(world: &TestWorker, id: &str) -> String {
    world.record(id).error.expect("an error").kind
}

fn reason(world: &TestWorker, id: &str) -> String {
    world.record(id).error.expect("an error").message
}

#[tokio::test(start_paused = true)]
async fn an_attempt_over_the_timeout_of_its_policy_is_stopped_and_counts() {
    let world = TestWorker::with(Policy::new().timeout(seconds(10)), async |_| pending().await);
    let started = Instant::now();
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert!((seconds(10)..seconds(11)).contains(&started.elapsed()));
    assert_eq!(world.state("a"), State::Retrying);
    assert_eq!(world.record("a").attempts, 1);
    assert_eq!(kind(&world, "a"), "timeout");
    assert_eq!(reason(&world, "a"), "the attempt took longer than its timeout");
}

#[tokio::test(start_paused = true)]
async fn running_jobs_are_recorded_before_the_invocation_ends() {
    for time in [1, 3, 10, 60, 900].map(seconds) {
        let world = TestWorker::with(Policy::new(), async |_| pending().await).lasting(time);
        let started = Instant::now();
        assert_eq!(world.handle(TEN.map(message)).await.failures, returned(&TEN));
        assert!(started.elapsed() < time, "{:?} of {time:?}", started.elapsed());
        assert_eq!(world.states(&TEN), vec![State::Retrying; 10]);
        assert_eq!(kind(&world, "a"), "deadline");
        assert_eq!(reason(&world, "a"), "the invocation ended before the attempt did");
        assert_eq!(world.record("a").attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_newer_checkpoint_the_deadline_costs_no_attempt() {
    let journal = Journal::default();
    let seen = journal.clone();
    let world = TestWorker::with(Policy::new(), move |attempt: Arc<Attempt>| {
        let seen = seen.clone();
        async move {
            let last = attempt.last_checkpoint::<u32>()?;
            seen.note(format!("{last:?}"));
            if last.is_none() {
                attempt.checkpoint(3).await?;
            }
            pending().await
        }
    });
    let world = world.lasting(seconds(60));
    world.deliver("a").await;
    let record = world.record("a");
    assert_eq!(record.state, State::Queued);
    assert_eq!(record.attempts, 0);
    assert_eq!(record.runs, 1);
    assert_eq!(record.checkpoint, Some(3.into()));
    assert_eq!(world.queue.visibility("a"), Some(0), "it goes on at once");
    world.handle([again("a")]).await;
    assert_eq!(journal.all(), ["None", "Some(3)"]);
    assert_eq!(world.state("a"), State::Retrying, "no step forward is an attempt used");
    assert_eq!(world.record("a").attempts, 1, "no step forward is an attempt used");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_interrupted_at_its_next_safe_point_once_the_invocation_ends() {
    let world = TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| {
        for step in 0.. {
            sleep(Duration::from_millis(300)).await;
            attempt.checkpoint(step).await?;
        }
        Ok(Value::Null)
    });
    let world = world.lasting(seconds(60));
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.state("a"), State::Queued);
    assert_eq!(world.record("a").attempts, 0);
    assert!(world.record("a").checkpoint.is_some_and(|step| step.as_u64() > Some(100)));
}

#[tokio::test(start_paused = true)]
async fn a_job_can_see_its_remaining_time() {
    let world = TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| {
        assert!(!attempt.is_stopping());
        attempt.stopping().await;
        assert!(attempt.is_stopping() && attempt.remaining() > Duration::from_millis(500), "{:?}", attempt.remaining());
        Ok("in time".into())
    });
    let world = world.lasting(seconds(60));
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.record("a").result, Some("in time".into()));
}

#[tokio::test(start_paused = true)]
async fn a_job_without_time_to_run_is_not_started() {
    let world = TestWorker::with(Policy::new().timeout(seconds(60)).concurrency(1), async |_| {
        sleep(seconds(50)).await;
        Ok(Value::Null)
    });
    let world = world.lasting(seconds(100));
    let started = Instant::now();
    assert_eq!(world.handle(["a", "b"].map(message)).await.failures, returned(&["b"]));
    assert!(started.elapsed() < seconds(51));
    assert!(world.store.get("b").is_none(), "untouched");
    assert!(world.queue.visibility("b").is_some_and(|wait| (1..=2).contains(&wait)));
}

#[tokio::test(start_paused = true)]
async fn a_free_slot_starts_no_job_without_time() {
    let world = TestWorker::with(Policy::new().timeout(seconds(60)), async |_| {
        sleep(seconds(50)).await;
        Ok(Value::Null)
    });
    let world = world.lasting(seconds(100));
    let report = world.handle(["a", "b", "c"].map(|id| grouped(id, "group"))).await;
    assert_eq!(report.failures, returned(&["b", "c"]));
    assert!(world.store.get("b").is_none() && world.store.get("c").is_none(), "untouched");
    assert_eq!(world.queue.visibility("c"), Some(0), "held behind it");
}

#[tokio::test(start_paused = true)]
async fn returns_without_an_attempt_wait_longer_each_time() {
    for (receives, waits) in [(1, 1..=2), (2, 2..=4), (5, 16..=32), (50, 30..=60)] {
        let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
        world.store.on_all(StoreFault::Unknown);
        world.handle([Message { receives, ..message("a") }]).await;
        assert!(world.queue.visibility("a").is_some_and(|wait| waits.contains(&wait)), "{receives}: {:?}", world.queue.calls());
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_longer_than_its_invocation_starts_at_its_beginning() {
    let world = TestWorker::with(Policy::new().timeout(seconds(3600)), async |_| Ok(Value::Null)).lasting(seconds(30));
    assert!(world.handle(TEN.map(message)).await.failures.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_hold_the_answer_past_the_end() {
    for on in [is_claim as fn(&Write) -> bool, is_finish] {
        let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null)).lasting(seconds(20));
        world.store.on_write(move |write| write.next.id == "a" && on(write), .., StoreFault::Delay(seconds(3600)));
        let started = Instant::now();
        let report = world.handle([message("a")]).await;
        assert_eq!(report.failures, returned(&["a"]));
        assert!(started.elapsed() < seconds(20), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_less_than_a_second_early_waits_in_the_function() {
    let world = TestWorker::with(Policy::new(), async |_| Ok(Value::Null));
    world.tick();
    let due = crate::clock::after(world.clock.now(), seconds(1));
    let report = world.handle([with_body("a", json!({"name": "probe", "id": "a", "run_at": due}))]).await;
    assert_eq!(report.failures, returned(&[]));
    assert_eq!(world.state("a"), State::Succeeded);
    assert_eq!(world.record("a").started_at, Some(due));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_after_a_checkpoint_costs_an_attempt() {
    let world = TestWorker::with(Policy::new().timeout(seconds(10)), async |attempt: Arc<Attempt>| {
        attempt.checkpoint(3).await?;
        pending().await
    });
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.state("a"), State::Retrying);
    assert_eq!(world.record("a").attempts, 1);
    assert_eq!(kind(&world, "a"), "timeout");
}
