//! The claim, and the effects of a failing store on a job.

use super::*;
use crate::{StoreFailure, lifecycle};

fn counting(policy: Policy) -> (TestWorker, Journal) {
    let journal = Journal::default();
    let runs = journal.clone();
    let world = TestWorker::with(policy, move |attempt| {
        runs.note(attempt.id());
        async { Ok(7.into()) }
    });
    (world, journal)
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_runs_the_job_once() {
    let (world, journal) = counting(Policy::new());
    world.store.on_write(is_claim, 0..1, StoreFault::LoseAnswer);
    let report = world.deliver("a").await;
    assert!(report.failures.is_empty());
    assert_eq!(journal.all(), ["a"]);
    let record = world.record("a");
    assert_eq!(record.state, State::Succeeded);
    assert_eq!(record.attempts, 1);
    assert_eq!(record.generation, 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_with_a_lost_answer_still_holds_after_a_cancel() {
    let (world, journal) = counting(Policy::new());
    world.store.on_write(is_claim, 0..1, StoreFault::LoseAnswer);
    world.store.on_read(0..1, StoreFault::Meanwhile(Arc::new(|store| store.change("a", |record| record.cancel_requested = true))));
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(journal.all(), ["a"], "and a success wins");
    assert_eq!(world.state("a"), State::Succeeded, "and a success wins");
}

#[tokio::test(start_paused = true)]
async fn a_finish_whose_answer_was_lost_succeeds_once() {
    let (world, journal) = counting(Policy::new());
    world.store.on_write(is_finish, 0..1, StoreFault::LoseAnswer);
    let report = world.deliver("a").await;
    assert!(report.failures.is_empty(), "the message is done with");
    assert_eq!(journal.all(), ["a"]);
    assert_eq!(world.state("a"), State::Succeeded);
    assert_eq!(world.record("a").result, Some(7.into()));
    assert_eq!(world.store.writes().iter().flatten().filter(|write| is_finish(write)).count(), 1, "and is not written again");
}

#[tokio::test(start_paused = true)]
async fn every_answer_of_a_batch_may_be_lost_once() {
    let (world, journal) = counting(Policy::new());
    world.store.on_write(is_claim, 0..10, StoreFault::LoseAnswer);
    world.store.on_write(is_finish, 0..10, StoreFault::LoseAnswer);
    world.store.on_read(0..1, StoreFault::Unknown);
    let report = world.handle(TEN.map(message)).await;
    assert!(report.failures.is_empty());
    let mut ran = journal.all();
    ran.sort();
    assert_eq!(ran, TEN);
    assert_eq!(world.states(&TEN), [State::Succeeded; 10]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_never_made_is_made_again() {
    let (world, journal) = counting(Policy::new());
    world.store.on_write(is_claim, 0..1, StoreFault::Unknown);
    world.store.on_write(is_finish, 0..1, StoreFault::Unknown);
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(journal.all(), ["a"]);
    assert_eq!(world.state("a"), State::Succeeded);
    assert_eq!(world.record("a").attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_store_is_asked_again() {
    let (world, journal) = counting(Policy::new());
    world.store.on_read(0..2, StoreFault::Busy);
    world.store.on_write(is_claim, 0..2, StoreFault::Busy);
    world.store.on_write(is_finish, 0..2, StoreFault::Busy);
    assert!(world.handle([again("a")]).await.failures.is_empty());
    assert_eq!(journal.all(), ["a"]);
    assert_eq!(world.record("a").attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_throttled_whole_is_made_again() {
    let (world, journal) = counting(Policy::new());
    world.store.on_write(|write| write.next.id == "a", 0..1, StoreFault::Whole);
    assert!(world.handle(TEN.map(message)).await.failures.is_empty());
    assert_eq!(journal.all().len(), 10);
    assert_eq!(world.states(&TEN), [State::Succeeded; 10]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_one_statement_does_not_affect_its_neighbours() {
    let (world, journal) = counting(Policy::new());
    world.store.on_write(|write| write.next.id == "c", .., StoreFault::Busy);
    let report = world.handle(TEN.map(message)).await;
    assert_eq!(report.failures, returned(&["c"]));
    assert_eq!(journal.all().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_retry_returns_the_message_untouched() {
    let (world, journal) = counting(Policy::new());
    world.store.on_all(StoreFault::Unknown);
    for delivery in [message("a"), again("b")] {
        let id = delivery.id.clone();
        assert_eq!(world.handle([delivery]).await.failures, [id]);
    }
    assert_eq!(journal.all(), [""; 0]);
    assert!(world.queue.visibility("a").is_some_and(|wait| (1..=60).contains(&wait)), "it waits a little");
    world.store.heal();
    assert!(world.store.get("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_run_runs_without_a_record() {
    let (world, journal) = counting(Policy::new().on_store_failure(StoreFailure::Run));
    world.store.on_all(StoreFault::Unknown);
    let report = world.handle([message("a"), again("b")]).await;
    assert!(report.failures.is_empty());
    let mut ran = journal.all();
    ran.sort();
    assert_eq!(ran, ["a", "b"], "a message that was received before is no exception");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_without_a_record_is_its_first_attempt() {
    let log = Log::capture();
    let (world, journal) = counting(Policy::new().on_store_failure(StoreFailure::Run));
    world.store.on_all(StoreFault::Unknown);
    world.deliver("a").await;
    assert_eq!(journal.all(), ["a"]);
    let ended = log.events("job ended").remove(0);
    assert_eq!(ended["attempt"], 1);
    assert_eq!(ended["waited_ms"], 2000);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_a_record_has_no_lease_to_lose() {
    let policy = Policy::new().lease(seconds(30)).on_store_failure(StoreFailure::Run);
    let world = TestWorker::with(policy, async |attempt: Arc<Attempt>| {
        attempt.stopping().await;
        Ok(Value::Null)
    });
    let world = world.lasting(seconds(60));
    world.store.on_all(StoreFault::Unknown);
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.store.writes().len(), 1, "the claim alone");
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_an_expired_job_does_not_run() {
    let (world, journal) = counting(Policy::new().on_store_failure(StoreFailure::Run));
    world.store.on_all(StoreFault::Unknown);
    let expired = with_body("a", json!({"name": "probe", "id": "a", "expires_at": "2026-05-04T11:59:59Z"}));
    assert_eq!(world.handle([expired]).await.failures, returned(&["a"]));
    assert_eq!(journal.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_a_job_that_runs_without_a_record_is_an_error() {
    let world = TestWorker::with(Policy::new().on_store_failure(StoreFailure::Run), async |attempt: Arc<Attempt>| {
        attempt.checkpoint(1).await?;
        Ok(Value::Null)
    });
    world.store.on_all(StoreFault::Unknown);
    let started = Instant::now();
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert!(started.elapsed() < seconds(10), "and does not wait for it: {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_record_a_failure_waits_and_a_fatal_one_is_a_dead_letter() {
    let world = TestWorker::with(Policy::new().on_store_failure(StoreFailure::Run), async |attempt: Arc<Attempt>| {
        Err(if attempt.id() == "a" { JobError::from("no") } else { JobError::fatal("never") })
    });
    world.store.on_all(StoreFault::Unknown);
    let report = world.handle(["a", "b"].map(message)).await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(world.queue.messages(DLQ).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_skip_drops_the_message() {
    let (world, journal) = counting(Policy::new().on_store_failure(StoreFailure::Skip));
    world.store.on_all(StoreFault::Unknown);
    let report = world.handle([message("a"), again("b")]).await;
    assert!(report.failures.is_empty());
    assert_eq!(journal.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_claim_goes_by_the_record_that_the_refusal_shows() {
    let (world, journal) = counting(Policy::new());
    world.store.put(held(&world, "busy", seconds(20)));
    world.store.put(ended(&world, "done", State::Succeeded));
    world.store.put(Record { state: State::Retrying, lease_until: None, ..held(&world, "retrying", seconds(0)) });
    let report = world.handle(["busy", "done", "retrying"].map(message)).await;
    assert_eq!(report.failures, returned(&["busy"]));
    let wait = world.queue.visibility("busy").expect("a wait");
    assert!((26..=27).contains(&wait), "the lease, the margin and a moment: {wait}");
    assert_eq!(journal.all(), ["retrying"]);
    assert_eq!(world.record("retrying").attempts, 2);
    assert_eq!(world.store.reads(), [0; 0]);
    assert_eq!(world.record("busy"), held(&world, "busy", seconds(20)), "untouched");
}

#[tokio::test(start_paused = true)]
async fn only_one_of_two_concurrent_claims_runs_the_job() {
    let (world, journal) = counting(Policy::new());
    let (store, other) = (world.store.clone(), held(&world, "a", seconds(30)));
    world.store.on_write(is_claim, 0..1, StoreFault::Meanwhile(Arc::new(move |_| store.put(other.clone()))));
    let report = world.handle([again("a")]).await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(journal.all(), [""; 0]);
    assert_eq!(world.record("a").owner.as_deref(), Some("another"));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_took_longer_than_its_lease_runs_nothing() {
    let (world, journal) = counting(Policy::new().lease(seconds(5)));
    world.store.on_write(is_claim, 0..1, StoreFault::Delay(seconds(6)));
    let report = world.deliver("a").await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(journal.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_took_all_the_time_costs_no_attempt() {
    let (world, journal) = counting(Policy::new());
    let world = world.lasting(seconds(15));
    world.store.on_write(is_claim, 0..1, StoreFault::Delay(seconds(13)));
    let report = world.deliver("a").await;
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(journal.all(), [""; 0]);
    let record = world.record("a");
    assert_eq!(record.state, State::Queued);
    assert_eq!(record.attempts, 0);
    assert_eq!(record.runs, 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_or_expired_before_it_started_does_not_run() {
    let (world, journal) = counting(Policy::new());
    let request = lifecycle::Request { id: "a".into(), name: "probe".into(), queue: QUEUE.into(), ..Default::default() };
    world.store.put(lifecycle::cancel(None, &request, &Policy::new(), world.clock.now()).expect("a tombstone"));
    let expired = with_body("b", json!({"name": "probe", "id": "b", "expires_at": "2026-05-04T11:59:59Z"}));
    let report = world.handle([message("a"), expired]).await;
    assert!(report.failures.is_empty());
    assert_eq!(journal.all(), [""; 0]);
    assert_eq!(world.states(&["a", "b"]), [State::Cancelled, State::Expired]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_makes_its_message_a_dead_letter() {
    let (world, _) = counting(Policy::new());
    world.store.on_read(.., StoreFault::Invalid);
    let report = world.handle([again("a")]).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.kind"], "unreadable_record");
}

#[tokio::test(start_paused = true)]
async fn a_write_refused_against_its_own_record_is_made_five_times() {
    let (world, journal) = counting(Policy::new());
    world.store.put(Record { state: State::Retrying, lease_until: None, ..held(&world, "a", seconds(0)) });
    let owner =
        |owner: &'static str| StoreFault::Meanwhile(Arc::new(move |store| store.change("a", |record| record.owner = Some(owner.into()))));
    world.store.on_write(is_claim, .., owner("third"));
    world.store.on_write(is_claim, .., StoreFault::Bare);
    world.store.on_read(1.., owner("another"));
    assert_eq!(world.handle([again("a")]).await.failures, returned(&["a"]));
    assert_eq!(world.store.writes().len(), 5);
    assert_eq!(journal.all(), [""; 0]);
}
