//! The lease: its renewal, its loss, and the effect of a cancel flag.

use super::*;
use crate::clock::until;

/// Creates a job that runs for `time` and logs its drop.
fn taking(policy: Policy, time: Duration) -> (TestWorker, Journal) {
    struct Dropped(Journal, Instant);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.note(self.1.elapsed().as_secs().to_string());
        }
    }
    let journal = Journal::default();
    let drops = journal.clone();
    let world = TestWorker::with(policy, move |_| {
        let dropped = Dropped(drops.clone(), Instant::now());
        async move {
            let _dropped = dropped;
            sleep(time).await;
            Ok(Value::Null)
        }
    });
    (world, journal)
}

/// Changes the store after this time.
fn later(world: &TestWorker, time: Duration, act: impl FnOnce(FaultyStore) + Send + 'static) {
    let store = world.store.clone();
    tokio::spawn(async move {
        sleep(time).await;
        act(store);
    });
}

fn cancel(store: &FaultyStore) {
    store.change("a", |record| record.cancel_requested = true);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_extends_the_lease_and_makes_the_message_outlast_it() {
    let (world, _) = taking(Policy::new().lease(seconds(30)), seconds(25));
    world.tick();
    let started = world.clock.now();
    world.deliver("a").await;
    let renewals = world.store.writes().into_iter().flatten().filter(is_renewal);
    let leases: Vec<_> =
        renewals.map(|write| until(started, crate::clock::from_millis(write.next.lease_until.expect("a lease"))).as_secs()).collect();
    assert!(matches!(leases[..], [39..=40, 49..=50]), "{leases:?}");
    assert_eq!(&world.queue.calls()[..2], &[Call::Visibility(vec![(receipt_of("a"), 41)]), Call::Visibility(vec![(receipt_of("a"), 41)])]);
    assert_eq!(world.state("a"), State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_invocation_causes_no_renewal() {
    let (world, _) = taking(Policy::new(), seconds(600));
    assert_eq!(world.lasting(seconds(15)).deliver("a").await.failures, returned(&["a"]));
    let (world, _) = taking(Policy::new().lease(seconds(60)), seconds(600));
    let world = world.lasting(seconds(15));
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.store.writes().iter().flatten().filter(|write| is_renewal(write)).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_body_of_an_abandoned_batch_is_stopped() {
    let (world, drops) = taking(Policy::new(), seconds(60));
    assert!(tokio::time::timeout(seconds(5), world.deliver("a")).await.is_err());
    sleep(seconds(1)).await;
    assert_eq!(drops.all(), ["5"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_repeated_after_a_tenth_of_the_lease() {
    let (world, _) = taking(Policy::new().lease(seconds(30)), seconds(60));
    world.store.on_write(is_renewal, .., StoreFault::Invalid);
    let started = Instant::now();
    world.deliver("a").await;
    let requests = world.store.requests().into_iter().filter(|request| request.writes.iter().any(is_renewal));
    let times: Vec<_> = requests.map(|request| (request.at - started).as_secs()).collect();
    assert_eq!(times, [10, 13, 16, 19, 22, 25, 28]);
}

#[tokio::test(start_paused = true)]
async fn progress_of_a_failed_renewal_is_written_with_the_next() {
    let world = TestWorker::with(Policy::new().lease(seconds(30)), async |attempt: Arc<Attempt>| {
        attempt.progress("half");
        sleep(seconds(60)).await;
        Ok(Value::Null)
    });
    world.tick();
    world.store.on_write(is_renewal, 0..1, StoreFault::Invalid);
    assert!(world.deliver("a").await.failures.is_empty());
    let renewals = world.store.writes().into_iter().flatten().filter(is_renewal);
    let progress: Vec<_> = renewals.take(2).map(|write| write.next.progress.clone()).collect();
    assert_eq!(progress, [Some("half".into()), Some("half".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_finished_message_stays_invisible_until_its_slow_neighbour_ends() {
    let world = TestWorker::with(Policy::new().lease(seconds(30)), async |attempt: Arc<Attempt>| {
        sleep(seconds(if attempt.id() == "a" { 15 } else { 100 })).await;
        Ok(Value::Null)
    });
    let started = Instant::now();
    world.handle(["a", "b"].map(message)).await;
    let waits = world.queue.timed().into_iter().filter_map(|(at, call)| match call {
        Call::Visibility(changes) if changes[0].0 == receipt_of("a") => Some(((at - started).as_secs(), changes[0].1)),
        _ => None,
    });
    let waits: Vec<_> = waits.collect();
    assert!(matches!(waits[..], [(10, 41), (15, 889..=890)]), "the invocation lasts 885 s more, and the clocks may differ by 5: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_checkpoints_often_is_renewed_all_the_same() {
    let world = TestWorker::with(Policy::new().lease(seconds(30)), async |attempt: Arc<Attempt>| {
        for step in 0..100 {
            sleep(seconds(1)).await;
            attempt.checkpoint(step).await?;
        }
        Ok(Value::Null)
    });
    world.deliver("a").await;
    let times: Vec<_> = world.queue.timed().into_iter().map(|(at, _)| at).collect();
    assert!(times.len() > 8 && times.windows(2).all(|pair| pair[1] - pair[0] < seconds(41)), "the message would be seen in between");
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_stored_when_it_returns() {
    let world = TestWorker::new();
    let store = world.store.clone();
    let world = world.and("probe", Policy::new(), move |attempt: Arc<Attempt>| {
        let store = store.clone();
        async move {
            attempt.progress("half");
            attempt.checkpoint(json!({"page": 4})).await?;
            let record = store.get(attempt.id()).expect("a record");
            assert_eq!(record.checkpoint, Some(json!({"page": 4})));
            assert_eq!(record.progress, Some("half".into()));
            Ok(Value::Null)
        }
    });
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.record("a").checkpoint, None, "of no more use");
}

#[tokio::test(start_paused = true)]
async fn progress_is_written_with_the_renewal() {
    let world = TestWorker::with(Policy::new().lease(seconds(30)), async |attempt: Arc<Attempt>| {
        attempt.progress(0.5);
        sleep(seconds(15)).await;
        Ok(Value::Null)
    });
    world.store.on_write(is_renewal, 0..1, StoreFault::Busy);
    world.deliver("a").await;
    assert_eq!(world.record("a").progress, Some(0.5.into()));
}

#[tokio::test(start_paused = true)]
async fn progress_that_no_renewal_wrote_is_written_with_the_ending() {
    let world = TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| {
        attempt.progress(1);
        Ok(Value::Null)
    });
    world.deliver("a").await;
    assert_eq!(world.record("a").progress, Some(1.into()));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_another_worker_took_is_stopped_and_nothing_is_written() {
    let (world, drops) = taking(Policy::new().lease(seconds(30)), seconds(60));
    let other = Record { generation: 2, ..held(&world, "a", seconds(300)) };
    let put = other.clone();
    later(&world, seconds(5), move |store| store.put(put));
    let report = world.deliver("a").await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(drops.all(), ["10"], "at the next renewal");
    assert_eq!(world.record("a"), other);
    assert_eq!(world.queue.calls(), [], "the message belongs to the other one");
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_job_another_worker_took_is_left_alone() {
    let (world, drops) = taking(Policy::new().lease(seconds(30)), seconds(60));
    let other = Record { generation: 2, ..held(&world, "a", seconds(300)) };
    later(&world, seconds(15), move |store| store.put(other));
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(drops.all(), ["20"]);
    assert_eq!(world.queue.calls(), [Call::Visibility(vec![(receipt_of("a"), 41)])], "that of the renewal");
}

#[tokio::test(start_paused = true)]
async fn a_finish_changes_nothing_once_another_worker_has_the_job() {
    let (world, _) = taking(Policy::new(), seconds(8));
    let other = Record { generation: 2, ..held(&world, "a", seconds(300)) };
    let put = other.clone();
    later(&world, seconds(5), move |store| store.put(put));
    let report = world.deliver("a").await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(world.record("a"), other);
    assert_eq!(world.queue.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_ends_the_attempt_in_time() {
    let (world, drops) = taking(Policy::new().lease(seconds(30)), seconds(60));
    world.store.on_write(is_renewal, .., StoreFault::Unknown);
    let report = world.deliver("a").await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(drops.all(), ["30"], "on the owner's own clock");
    assert_eq!(world.state("a"), State::Running, "nothing is written, nor asked of the queue");
    assert_eq!(world.queue.calls(), vec![], "nothing is written, nor asked of the queue");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_waited_until_the_lease_was_lost_is_not_sent() {
    let world = TestWorker::with(Policy::new().lease(seconds(3)), async |attempt: Arc<Attempt>| {
        let time = match attempt.id() {
            "b" => Duration::from_millis(500),
            "c" => Duration::from_millis(700),
            _ => seconds(60),
        };
        sleep(time).await;
        Ok(Value::Null)
    });
    // The maximum number of concurrent requests.
    world.store.on_write(is_finish, 0..2, StoreFault::Delay(seconds(10)));
    let report = world.handle(["a", "b", "c"].map(message)).await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(world.store.writes().iter().flatten().filter(|write| is_renewal(write)).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_finish_is_not_written_past_the_lease() {
    let (world, _) = taking(Policy::new().lease(seconds(3)), Duration::from_millis(1500));
    world.store.on_write(is_renewal, 0..1, StoreFault::Delay(seconds(5)));
    let report = world.deliver("a").await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(world.state("a"), State::Running);
    assert_eq!(world.store.writes().iter().flatten().filter(|write| is_finish(write)).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_finish_is_not_tried_again_past_the_lease() {
    let (world, _) = taking(Policy::new().lease(seconds(3)), Duration::from_millis(500));
    world.store.on_write(is_finish, 0..1, StoreFault::Delay(seconds(4)));
    world.store.on_write(is_finish, 0..1, StoreFault::Meanwhile(Arc::new(cancel)));
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.state("a"), State::Running);
}

/// A job that ends at once, and whose tear-down takes longer than its lease.
#[derive(serde::Serialize, serde::Deserialize)]
struct Slow;

impl crate::Arguments for Slow {
    const NAME: &'static str = "probe";
}

impl crate::Job for Slow {
    const POLICY: Policy = Policy::new().lease(Duration::from_secs(3));
    type Output = ();

    async fn run(&self, _: &crate::Context) -> Result<(), JobError> {
        Ok(())
    }

    async fn tear_down(&self, _: &crate::Context) -> Result<(), JobError> {
        sleep(seconds(4)).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_keeps_its_lease_while_it_is_torn_down() {
    let world = TestWorker { jobs: crate::Worker::new(()).job::<Slow>().jobs().clone(), ..TestWorker::new() };
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.state("a"), State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_while_a_job_is_torn_down_is_not_revived() {
    let world = TestWorker { jobs: crate::Worker::new(()).job::<Slow>().jobs().clone(), ..TestWorker::new() };
    world.store.on_write(is_renewal, 0..1, StoreFault::Unknown);
    world.store.on_write(is_renewal, 1..2, StoreFault::Delay(seconds(3)));
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.state("a"), State::Running);
    assert_eq!(world.store.writes().iter().flatten().filter(|write| is_renewal(write)).count(), 2, "and not renewed again");
}

#[tokio::test(start_paused = true)]
async fn a_tear_down_goes_on_after_its_lease_was_lost() {
    let world = TestWorker { jobs: crate::Worker::new(()).job::<Slow>().jobs().clone(), ..TestWorker::new() };
    world.store.on_write(is_renewal, .., StoreFault::Invalid);
    let started = Instant::now();
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(started.elapsed().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_was_lost_costs_nothing() {
    for unread in [0, 5] {
        let (world, _) = taking(Policy::new().lease(seconds(30)), seconds(60));
        world.tick();
        world.store.on_write(is_renewal, 0..1, StoreFault::LoseAnswer);
        world.store.on_read(0..unread, StoreFault::Unknown);
        assert!(world.deliver("a").await.failures.is_empty(), "even where {unread} looks fail");
        assert_eq!(world.state("a"), State::Succeeded);
        assert_eq!(world.record("a").attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_after_a_renewal_whose_answer_was_lost_is_saved() {
    let world = TestWorker::with(Policy::new().lease(seconds(30)), async |attempt: Arc<Attempt>| {
        sleep(Duration::from_millis(10_500)).await;
        attempt.checkpoint(3).await?;
        Err("no".into())
    });
    world.tick();
    world.store.on_write(is_renewal, 0..1, StoreFault::LoseAnswer);
    world.store.on_read(0..5, StoreFault::Unknown);
    world.deliver("a").await;
    assert_eq!(world.state("a"), State::Retrying);
    assert_eq!(world.record("a").checkpoint, Some(3.into()));
    assert_eq!(world.record("a").error.expect("an error").message, "no");
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_while_it_runs_stops_at_the_next_renewal() {
    let (world, drops) = taking(Policy::new().lease(seconds(30)), seconds(60));
    later(&world, seconds(5), |store| cancel(&store));
    let report = world.deliver("a").await;
    assert!(report.failures.is_empty());
    assert_eq!(drops.all(), ["10"]);
    assert_eq!(world.state("a"), State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_while_it_runs_stops_at_the_next_checkpoint() {
    let world = TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| {
        sleep(seconds(7)).await;
        attempt.checkpoint(1).await?;
        sleep(seconds(60)).await;
        Ok(Value::Null)
    });
    later(&world, seconds(5), |store| cancel(&store));
    let started = Instant::now();
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.state("a"), State::Cancelled);
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_success_wins_over_a_cancel_that_came_while_it_ran() {
    let (world, _) = taking(Policy::new(), seconds(7));
    later(&world, seconds(5), |store| cancel(&store));
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.state("a"), State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_win_over_a_cancel() {
    let world = TestWorker::with(Policy::new(), async |_| {
        sleep(seconds(7)).await;
        Err("no".into())
    });
    later(&world, seconds(5), |store| cancel(&store));
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.state("a"), State::Cancelled);
}
