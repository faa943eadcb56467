//! The number of requests for a batch.

use std::time::Duration;

use super::*;

async fn succeed(_: Arc<Attempt>) -> Result<Value, JobError> {
    Ok(Value::Null)
}

/// Creates a world in which the ten jobs have already succeeded.
fn done() -> TestWorker {
    let world = TestWorker::with(Policy::new(), succeed);
    for id in TEN {
        world.store.put(ended(&world, id, State::Succeeded));
    }
    world
}

/// Returns the ids in each write request.
fn written(world: &TestWorker) -> Vec<Vec<String>> {
    world.store.writes().iter().map(|writes| writes.iter().map(|write| write.next.id.clone()).collect()).collect()
}

#[tokio::test(start_paused = true)]
async fn ten_new_jobs_that_succeed_together_cost_two_requests() {
    let world = TestWorker::with(Policy::new(), succeed);
    let report = world.handle(TEN.map(message)).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.store.requests().len(), 2);
    let writes = world.store.writes();
    assert!(writes[0].len() == 10 && writes[0].iter().all(|write| is_claim(write) && write.seen.is_none()), "ten inserts");
    assert!(writes[1].len() == 10 && writes[1].iter().all(is_finish), "ten finishes");
    assert_eq!(world.queue.calls(), [], "and nothing is asked of the queue");
    assert_eq!(world.states(&TEN), [State::Succeeded; 10]);
}

#[tokio::test(start_paused = true)]
async fn ten_duplicates_cost_one_request_where_the_refusal_shows_the_record() {
    let world = done();
    let report = world.handle(TEN.map(message)).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.store.requests().len(), 1);
    assert_eq!(world.queue.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn ten_duplicates_cost_two_requests_where_the_refusal_shows_nothing() {
    let world = done();
    world.store.on_write(|_| true, .., StoreFault::Bare);
    let report = world.handle(TEN.map(message)).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.store.writes().len(), 1);
    assert_eq!(world.store.reads(), vec![10]);
}

#[tokio::test(start_paused = true)]
async fn ten_duplicates_that_were_received_before_cost_one_read() {
    let world = done();
    let report = world.handle(TEN.map(again)).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.store.writes().len(), 0);
    assert_eq!(world.store.reads(), vec![10]);
}

#[tokio::test(start_paused = true)]
async fn ten_known_jobs_that_run_cost_a_read_and_two_writes() {
    let world = TestWorker::with(Policy::new(), succeed);
    let report = world.handle(TEN.map(again)).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.store.writes().len(), 2);
    assert_eq!(world.store.reads(), vec![10]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_neighbour_does_not_hold_the_finishes_of_the_others() {
    let world = TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| {
        if attempt.id() == "a" {
            sleep(seconds(5)).await;
        }
        Ok(Value::Null)
    });
    let started = Instant::now();
    world.handle(TEN.map(message)).await;
    let requests = world.store.requests();
    assert_eq!(requests.iter().map(|request| request.writes.len()).collect::<Vec<_>>(), [10, 9, 1]);
    assert!(requests[1].at - started < Duration::from_millis(20), "nine were recorded after {:?}", requests[1].at - started);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_end_within_moments_share_a_request() {
    let world = TestWorker::with(Policy::new(), async |attempt: Arc<Attempt>| {
        sleep(Duration::from_millis(if attempt.id() < "f" { 100 } else { 105 })).await;
        Ok(Value::Null)
    });
    world.handle(TEN.map(message)).await;
    assert_eq!(written(&world).iter().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_for_a_freed_slot_shares_a_request_with_the_finish_before_it() {
    let world = TestWorker::with(Policy::new().concurrency(5), succeed);
    world.handle(TEN.map(message)).await;
    let expected = [&TEN[..5], &TEN[..], &TEN[5..]];
    assert_eq!(written(&world), expected);
}

#[tokio::test(start_paused = true)]
async fn a_single_freed_slot_is_claimed_with_the_finish_that_freed_it() {
    let world = TestWorker::with(Policy::new().concurrency(2), async |attempt: Arc<Attempt>| {
        sleep(seconds(if attempt.id() == "a" { 1 } else { 3 })).await;
        Ok(Value::Null)
    });
    world.handle(["a", "b", "c"].map(message)).await;
    assert_eq!(written(&world), [vec!["a", "b"], vec!["a", "c"], vec!["b"], vec!["c"]]);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_started_together_renew_in_one_request() {
    let world = TestWorker::with(Policy::new().lease(seconds(30)), async |_| {
        sleep(seconds(15)).await;
        Ok(Value::Null)
    });
    world.handle(TEN.map(message)).await;
    assert_eq!(written(&world).iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test(start_paused = true)]
async fn no_request_holds_two_writes_for_one_key() {
    let world = TestWorker::with(Policy::new().concurrency(3).lease(seconds(3)), async |attempt: Arc<Attempt>| {
        attempt.checkpoint(1).await?;
        sleep(seconds(2)).await;
        Ok(Value::Null)
    });
    world.handle(TEN.map(message).into_iter().chain(TEN.map(message))).await;
    for ids in written(&world) {
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn statistics_that_the_doctor_reports_are_written_at_once() {
    let args = |id: &str, args: u8| with_body(id, json!({"name": "probe", "id": id, "args": args}));
    let cases = [
        (vec![args("a", 1)], 0),
        (vec![args("a", 2)], 1),
        (vec![args("b", 1), Message { id: "copy".into(), ..args("b", 1) }], 0),
        (vec![args("b", 1), Message { id: "copy".into(), ..args("b", 2) }], 1),
        (vec![with_body("b", json!({"name": "unknown", "id": "b"}))], 1),
        (vec![with_body("b", "not json")], 0),
    ];
    for (messages, flushes) in cases {
        let world = TestWorker::with(Policy::new(), succeed);
        world.handle([args("a", 1)]).await;
        let before = world.store.requests().len();
        world.handle(messages.clone()).await;
        let requests = world.store.requests().split_off(before);
        let flushed = requests.iter().filter(|request| request.reads.is_empty() && request.writes.is_empty()).count();
        assert_eq!(flushed, flushes, "{messages:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_store_that_is_down_is_made_five_times() {
    for fault in [StoreFault::Busy, StoreFault::Unknown] {
        let world = TestWorker::with(Policy::new(), succeed);
        world.store.on_all(fault.clone());
        let started = Instant::now();
        world.handle([again("a")]).await;
        assert_eq!(world.store.reads(), [1; 5]);
        assert!(started.elapsed() >= Duration::from_millis(25 + 50 + 100 + 200), "{:?}", started.elapsed());
    }
    let world = TestWorker::with(Policy::new(), succeed);
    world.store.on_all(StoreFault::Busy);
    world.deliver("a").await;
    assert_eq!(world.store.writes().len(), 5);
    let world = TestWorker::with(Policy::new(), succeed);
    world.store.on_write(|_| true, .., StoreFault::Unknown);
    world.deliver("a").await;
    assert_eq!(world.store.writes().len(), 5, "the record is read after each try but the last");
    assert_eq!(world.store.reads().len(), 4, "the record is read after each try but the last");
}

/// The statements that a store has executed, by their cost.
#[derive(Debug, PartialEq, Eq)]
struct Statements {
    writes: usize,
    reads: usize,
}

/// Returns the statements for two jobs with these fields, one after the other, or in one batch.
async fn statements(fields: &Value, together: bool) -> Statements {
    let world = TestWorker::with(Policy::new(), succeed);
    let body = |id: &str| {
        let mut body = json!({"name": "probe", "id": id});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        with_body(id, body)
    };
    // The first job creates the records of its keys.
    world.handle([body("first")]).await;
    let before = counted(&world);
    if together {
        world.handle([body("a"), body("b")]).await;
        world.deliver("b").await;
    } else {
        world.handle([body("a")]).await;
        world.handle([body("b")]).await;
    }
    assert_eq!(world.states(&["a", "b"]), [State::Succeeded; 2]);
    let after = counted(&world);
    Statements { writes: after.writes - before.writes, reads: after.reads - before.reads }
}

fn counted(world: &TestWorker) -> Statements {
    let writes: usize = world.store.writes().iter().map(Vec::len).sum();
    let links: usize = world.store.link_requests().iter().sum();
    Statements { writes: writes + links, reads: world.store.reads().iter().sum() }
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_key_costs_the_documented_statements() {
    for (fields, expected) in [
        (json!({}), Statements { writes: 4, reads: 0 }),
        (json!({"limit_key": "k", "limit": 2}), Statements { writes: 8, reads: 0 }),
        (json!({"exclusive_key": "k"}), Statements { writes: 8, reads: 0 }),
        (json!({"unique_key": "k"}), Statements { writes: 8, reads: 0 }),
        (json!({"rate_key": "k", "rate": {"limit": 1, "period_s": 1, "burst": 9}}), Statements { writes: 6, reads: 2 }),
    ] {
        assert_eq!(statements(&fields, false).await, expected, "{fields}");
    }
    let waits = statements(&json!({"limit_key": "k", "limit": 1}), true).await;
    assert_eq!(waits, Statements { writes: 13, reads: 5 });
}
