//! Bodies that block their threads.

use std::{
    sync::{Condvar, PoisonError},
    time::Instant as Wall,
};

use super::*;
use crate::worker::thread;

/// Blocks bodies until the test is over.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

/// Opens the gate on drop, so that a failed test also ends.
struct Opens(Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        *lock(&self.0.0.0) = true;
        self.0.0.1.notify_all();
    }
}

impl Gate {
    fn block(&self) {
        let open = self.0.1.wait_while(lock(&self.0.0), |open| !*open);
        drop(open.unwrap_or_else(PoisonError::into_inner));
    }
}

fn world(
    policy: Policy,
    body: impl Fn(Gate, Arc<Attempt>) -> futures_util::future::BoxFuture<'static, Result<Value, JobError>> + Send + Sync + 'static,
) -> (TestWorker, Opens) {
    let gate = Gate::default();
    let opens = Opens(gate.clone());
    (TestWorker::with(policy, move |attempt| body(gate.clone(), attempt)), opens)
}

/// Drives the batch on the thread for batches.
async fn drive(world: &TestWorker, ids: &[&str]) -> Report {
    let (engine, invocation) = (world.engine(), world.invocation());
    let messages = ids.iter().map(|id| message(id)).collect();
    thread::run(async move || engine.handle(messages, &invocation).await).await.expect("a report")
}

fn blocks(gate: Gate, attempt: Arc<Attempt>) -> futures_util::future::BoxFuture<'static, Result<Value, JobError>> {
    Box::pin(async move {
        if attempt.id() != "done" {
            gate.block();
        }
        Ok(Value::Null)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_job_blocks_its_thread_all_are_recorded_and_the_process_ends() {
    let (world, _opens) = world(Policy::new().timeout(Duration::from_millis(100)), blocks);
    let world = world.lasting(seconds(3));
    let started = Wall::now();
    let report = drive(&world, &TEN).await;
    assert!(started.elapsed() < seconds(3), "{:?}", started.elapsed());
    assert!(report.stuck);
    assert_eq!(report.failures, returned(&TEN));
    for id in TEN {
        let record = world.record(id);
        assert_eq!(record.state, State::Retrying);
        assert_eq!(record.error.expect("an error").kind.as_str(), "timeout");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_block_until_the_invocation_ends_are_recorded_before() {
    for time in [Duration::from_millis(1500), seconds(3)] {
        let (world, _opens) = world(Policy::new(), blocks);
        let world = world.lasting(time);
        let started = Wall::now();
        let report = drive(&world, &TEN).await;
        assert!(started.elapsed() < time, "{:?} of {time:?}", started.elapsed());
        assert!(report.stuck);
        assert_eq!(world.states(&TEN), [State::Retrying; 10]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn completed_messages_are_deleted_before_the_process_exits() {
    let (world, _opens) = world(Policy::new().timeout(Duration::from_millis(100)), blocks);
    let world = world.lasting(seconds(3));
    let report = drive(&world, &["done", "a"]).await;
    assert!(report.stuck);
    assert_eq!(report.failures, returned(&["a"]));
    assert_eq!(world.queue.calls().last(), Some(&Call::Delete(vec![receipt_of("done")])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_ends_while_it_is_stopped_keeps_its_result() {
    let (world, _opens) = world(Policy::new().timeout(Duration::from_millis(100)), |_, attempt| {
        Box::pin(async move {
            // Blocks its thread until it is stopped, so that the abort finds it running.
            while !attempt.is_stopping() {
                std::thread::yield_now();
            }
            Ok(7.into())
        })
    });
    let world = world.lasting(seconds(3));
    let report = drive(&world, &["a"]).await;
    assert!(report.failures.is_empty() && !report.stuck);
    assert_eq!(world.record("a").result, Some(7.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_started_once_a_job_is_stuck() {
    let (world, _opens) = world(Policy::new().timeout(Duration::from_millis(100)).concurrency(1), blocks);
    let world = world.lasting(seconds(3));
    let report = drive(&world, &["a", "b", "c"]).await;
    assert_eq!(report.failures, returned(&["a", "b", "c"]));
    assert!(world.store.get("b").is_none() && world.store.get("c").is_none(), "untouched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_work_that_outlives_its_attempt_is_stuck() {
    let (world, _opens) = world(Policy::new().timeout(Duration::from_millis(100)), |gate, attempt| {
        Box::pin(async move { attempt.blocking(move || gate.block()).await.map(|()| Value::Null) })
    });
    let report = drive(&world.lasting(seconds(3)), &["a"]).await;
    assert!(report.stuck);
    assert_eq!(report.failures, returned(&["a"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_work_that_a_job_leaves_behind_is_stuck() {
    let (world, _opens) = world(Policy::new(), |gate, attempt| {
        Box::pin(async move {
            let work = attempt.blocking(move || gate.block());
            tokio::time::timeout(Duration::from_millis(50), work).await.ok();
            Ok(Value::Null)
        })
    });
    let world = world.lasting(seconds(3));
    let report = drive(&world, &["a"]).await;
    assert!(report.stuck);
    let record = world.record("a");
    assert_eq!(record.state, State::Retrying, "it has not ended");
    assert_eq!(record.error.expect("an error").kind.as_str(), "timeout", "it has not ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_work_that_ends_is_not_stuck_and_its_panic_is_an_error() {
    let (world, _opens) = world(Policy::new(), |_, attempt| {
        Box::pin(async move {
            let unlucky = attempt.id() == "b";
            let work = move || if unlucky { panic!("out of luck") } else { 7 };
            attempt.blocking(work).await.map(Value::from)
        })
    });
    let report = drive(&world, &["a", "b"]).await;
    assert!(!report.stuck);
    assert_eq!(world.record("a").result, Some(7.into()));
    assert_eq!(world.state("b"), State::Retrying);
}
