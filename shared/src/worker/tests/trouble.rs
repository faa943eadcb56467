//! Jobs that are recorded on trouble: their writes, and the effect of an existing record.

use super::*;
use crate::{Backoff, Recording};

const ON_TROUBLE: Policy = Policy::new().recording(Recording::OnTrouble);

type Ends = fn() -> Result<Value, JobError>;

/// Creates a world whose job ends as `ends` says, and the log of its runs.
fn ending(policy: Policy, ends: Ends) -> (TestWorker, Journal) {
    let journal = Journal::default();
    let runs = journal.clone();
    let world = TestWorker::with(policy, move |attempt| {
        runs.note(format!("{} {}", attempt.id(), attempt.attempt()));
        std::future::ready(ends())
    });
    (world, journal)
}

/// Creates a job that runs for `time` seconds, with a lease of 30.
fn taking(time: u64) -> TestWorker {
    TestWorker::with(ON_TROUBLE.lease(seconds(30)), move |_| async move {
        sleep(seconds(time)).await;
        Ok(7.into())
    })
}

#[tokio::test(start_paused = true)]
async fn ten_jobs_that_succeed_unrecorded_cost_no_request() {
    let (world, journal) = ending(ON_TROUBLE, || Ok(7.into()));
    let engine = world.engine();
    let report = engine.handle(TEN.map(message).into(), &world.invocation()).await;
    assert!(report.failures.is_empty(), "each message is deleted");
    assert_eq!(journal.all().len(), 10);
    assert_eq!(world.store.requests().len(), 0);
    assert_eq!(world.queue.calls(), vec![]);
    let tally = engine.counter.next(Instant::now()).expect("they are counted").tally;
    assert_eq!(tally.endings["succeeded"], 10);
    assert_eq!(tally.run.count, 10);
    assert_eq!(tally.wait.count, 10);
}

#[tokio::test(start_paused = true)]
async fn statistics_of_unrecorded_jobs_are_written_once_a_minute() {
    let (world, _) = ending(ON_TROUBLE, || Ok(7.into()));
    let engine = world.engine();
    let mut requests = Vec::new();
    for pause in [0, 59, 1, 59, 2] {
        sleep(seconds(pause)).await;
        engine.handle(TEN.map(message).into(), &world.invocation()).await;
        requests.push(world.store.requests().len());
    }
    assert_eq!(requests, [0, 0, 1, 1, 2]);
    assert_eq!(world.store.reads().len(), 0, "of nothing else");
    assert_eq!(world.store.writes().len(), 0, "of nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_among_nine_costs_one_write() {
    let world =
        TestWorker::with(ON_TROUBLE, async |attempt: Arc<Attempt>| if attempt.id() == "d" { Err("no".into()) } else { Ok(7.into()) });
    assert_eq!(world.handle(TEN.map(message)).await.failures, returned(&["d"]));
    let requests = world.store.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].writes.len(), 1);
    let record = world.record("d");
    assert_eq!(record.state, State::Retrying);
    assert_eq!(record.attempts, 1);
    assert_eq!(record.generation, 1);
    assert_eq!(record.runs, 1);
    assert_eq!(record.history.len(), 1, "as if it had been claimed at its start");
    assert_eq!(record.lease_until, None, "as if it had been claimed at its start");
    assert!(world.queue.visibility("d").is_some_and(|wait| (1..=10).contains(&wait)));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_and_then_succeeds_counts_both_attempts() {
    let world =
        TestWorker::with(ON_TROUBLE.backoff(Backoff::constant(seconds(1))), async |attempt: Arc<Attempt>| match attempt.attempt() {
            1 => Err("no".into()),
            attempt => Ok(attempt.into()),
        });
    world.deliver("a").await;
    world.clock.advance(seconds(2));
    assert!(world.handle([again("a")]).await.failures.is_empty());
    let record = world.record("a");
    assert_eq!(record.state, State::Succeeded);
    assert_eq!(record.attempts, 2);
    assert_eq!(record.generation, 2);
    assert_eq!(record.result, Some(2.into()));
    assert_eq!(record.history.len(), 1, "the message is of no more use");
    assert_eq!(record.envelope, None, "the message is of no more use");
    assert_eq!(world.store.requests().len(), 4, "the failure; then a read, a claim and a finish");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_first_failure_is_recorded_before_its_dead_letter() {
    let (world, _) = ending(ON_TROUBLE, || Err(JobError::fatal("never")));
    assert!(world.deliver("a").await.failures.is_empty());
    let written: Vec<_> = world.store.writes().concat().iter().map(|write| (write.next.state, write.next.dlq)).collect();
    assert_eq!(written, [(State::Failed, Some(crate::Dlq::Pending)), (State::Failed, Some(crate::Dlq::Sent))]);
    assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.dead"], "1");
}

#[tokio::test(start_paused = true)]
async fn every_other_ending_of_a_first_attempt_costs_one_write() {
    let endings: [(Ends, State); 4] = [
        (|| Err(JobError::snooze(seconds(60))), State::Queued),
        (|| Err(JobError::snooze(seconds(3600))), State::Scheduled),
        (|| Err(JobError::cancel("no need")), State::Cancelled),
        (|| panic!("as planned"), State::Retrying),
    ];
    for (ends, state) in endings {
        let (world, _) = ending(ON_TROUBLE, ends);
        world.deliver("a").await;
        assert_eq!(world.state("a"), state);
        assert_eq!(world.store.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_received_before_or_is_marked_is_claimed() {
    let marked = Message { attributes: [("sqjobs.id".to_owned(), "b".to_owned())].into(), ..message("b") };
    let (world, _) = ending(ON_TROUBLE, || Ok(7.into()));
    assert!(world.handle([again("a"), marked]).await.failures.is_empty());
    assert_eq!(world.states(&["a", "b"]), [State::Succeeded; 2]);
    assert_eq!(world.store.reads(), vec![2]);
    assert_eq!(world.store.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_and_progress_are_stored_when_reported() {
    let world = TestWorker::new();
    let store = world.store.clone();
    let world = world.and("probe", ON_TROUBLE, move |attempt: Arc<Attempt>| {
        let store = store.clone();
        async move {
            if attempt.id() == "a" {
                attempt.checkpoint(4).await?;
            } else {
                attempt.progress(4);
                sleep(Duration::from_millis(1)).await;
            }
            let record = store.get(attempt.id()).expect("it is claimed");
            assert_eq!(record.state, State::Running);
            assert_eq!(record.attempts, 1);
            assert_eq!(record.checkpoint.or(record.progress), Some(4.into()));
            Ok(7.into())
        }
    });
    for id in ["a", "b"] {
        assert!(world.deliver(id).await.failures.is_empty());
        assert_eq!(world.state(id), State::Succeeded);
        assert_eq!(world.record(id).result, Some(7.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn progress_reported_at_the_end_is_recorded() {
    let world = TestWorker::with(ON_TROUBLE, async |attempt: Arc<Attempt>| {
        attempt.progress(1);
        Ok(Value::Null)
    });
    world.deliver("a").await;
    assert_eq!(world.state("a"), State::Succeeded);
    assert_eq!(world.record("a").progress, Some(1.into()));
    assert_eq!(world.store.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_attempt_is_claimed_after_a_third_of_its_lease() {
    let world = taking(9);
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.store.requests().len(), 0);
    let world = taking(25);
    world.tick();
    assert!(world.deliver("a").await.failures.is_empty());
    let times: Vec<_> = world.store.writes().concat().iter().map(|write| (write.seen.is_none(), write.next.state)).collect();
    assert_eq!(times, [(true, State::Running), (false, State::Running), (false, State::Succeeded)]);
    assert_eq!(world.record("a").attempts, 1);
    assert_eq!(world.record("a").generation, 1);
    assert_eq!(world.queue.visibility("a"), Some(880), "and its message is kept out of sight");
}

#[tokio::test(start_paused = true)]
async fn a_late_claim_whose_answer_was_lost_is_its_own() {
    for unread in [0, 5] {
        let world = taking(15);
        world.store.on_write(is_claim, 0..1, StoreFault::LoseAnswer);
        world.store.on_read(0..unread, StoreFault::Unknown);
        assert!(world.deliver("a").await.failures.is_empty(), "even where {unread} looks fail");
        assert_eq!(world.state("a"), State::Succeeded);
        assert_eq!(world.record("a").attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_after_a_claim_without_an_answer_is_written() {
    let world = taking(12);
    world.store.on_write(is_claim, .., StoreFault::Unknown);
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.state("a"), State::Succeeded, "a running record may be there");
    assert_eq!(world.record("a").attempts, 1, "a running record may be there");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_cannot_be_claimed_in_time_is_given_up() {
    let world = taking(60);
    world.store.on_all(StoreFault::Unknown);
    let started = Instant::now();
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(world.queue.calls(), vec![]);
}

#[tokio::test(start_paused = true)]
async fn an_existing_record_wins_over_an_unrecorded_failure() {
    let (world, journal) = ending(ON_TROUBLE, || Err("no".into()));
    let running = held(&world, "a", seconds(20));
    let (succeeded, foreign) = (ended(&world, "b", State::Succeeded), Record { name: "other".into(), ..ended(&world, "c", State::Failed) });
    for record in [&running, &succeeded, &foreign] {
        world.store.put(record.clone());
    }
    assert_eq!(world.handle(["a", "b", "c"].map(message)).await.failures, returned(&["a", "b", "c"]));
    assert_eq!(journal.all().len(), 3, "each ends like one that lost its lease");
    assert_eq!(world.queue.calls(), vec![], "each ends like one that lost its lease");
    assert_eq!([world.record("a"), world.record("b"), world.record("c")], [running, succeeded, foreign]);
    assert_eq!(world.handle(["a", "b", "c"].map(again)).await.failures, returned(&["a"]), "a duplicate, and an id in use");
    assert_eq!(journal.all().len(), 3);
    assert_eq!(world.queue.messages(DLQ).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_existing_record_stops_a_long_unrecorded_attempt() {
    let world = taking(60);
    let other = held(&world, "a", seconds(300));
    world.store.put(other.clone());
    let started = Instant::now();
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(started.elapsed().as_secs(), 10);
    assert_eq!(world.record("a"), other);
    assert_eq!(world.queue.calls(), [], "the message is left alone");
}

#[tokio::test(start_paused = true)]
async fn an_expired_job_is_recorded_and_an_early_one_waits() {
    let (world, journal) = ending(ON_TROUBLE, || Ok(7.into()));
    let expired = with_body("a", json!({"name": "probe", "id": "a", "expires_at": "2026-05-04T11:59:59Z"}));
    let early = with_body("b", json!({"name": "probe", "id": "b", "run_at": "2026-05-04T12:05:00Z"}));
    let later = with_body("c", json!({"name": "probe", "id": "c", "run_at": "2026-05-04T13:00:00Z"}));
    assert_eq!(world.handle([expired, early, later]).await.failures, returned(&["b"]));
    assert!(journal.all().is_empty());
    assert_eq!(world.states(&["a", "c"]), vec![State::Expired, State::Scheduled]);
    assert_eq!(world.store.get("b"), None);
}

#[tokio::test(start_paused = true)]
async fn an_unrecorded_attempt_without_time_to_start_writes_nothing() {
    let (world, _) = ending(ON_TROUBLE, || Ok(7.into()));
    let world = world.lasting(seconds(1));
    world.deliver("a").await;
    assert_eq!(world.store.requests().len(), 0);
}
