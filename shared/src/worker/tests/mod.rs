//! The worker, driven batch by batch against a store and a queue that fail on demand.

mod batch;
mod claim;
mod dead_letter;
mod eager;
mod ending;
mod faulty;
mod fifo;
mod hook;
mod input;
mod keys;
mod lease;
mod links;
mod log;
mod metered;
mod middleware;
mod recorder;
mod request;
mod scripted;
mod stuck;
mod time;
mod trouble;
mod workflow;

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use self::{
    faulty::{FaultyStore, StoreFault, lock},
    log::Log,
    recorder::{Call, Recorder, receipt_of},
    scripted::Scripted,
};
use super::engine::{Engine, Invocation, Jobs, Report};
use crate::{Clock, JobError, Policy, Record, State, attempt::Attempt, metrics::Metrics, queue::Message, stats::Counter, store::Write};

const DLQ: &str = "dead";
const QUEUE: &str = "probe";

/// A worker and its environment.
struct TestWorker {
    clock: Clock,
    store: FaultyStore,
    queue: Recorder,
    jobs: Jobs,
    max_concurrency: usize,
    metrics: Option<Arc<Metrics>>,
    /// Maximum duration of an invocation.
    time: Duration,
}

impl TestWorker {
    fn new() -> Self {
        let clock = Clock::frozen("2026-05-04T12:00:00Z".parse().expect("an instant"));
        let queue = Recorder::new(clock.clone());
        Self {
            clock,
            store: FaultyStore::default(),
            queue,
            jobs: Jobs::default(),
            max_concurrency: usize::MAX,
            metrics: None,
            time: Duration::from_mins(15),
        }
    }

    /// Creates a worker with the single job `probe`.
    fn with<F>(policy: Policy, body: impl Fn(Arc<Attempt>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Value, JobError>> + Send + 'static,
    {
        Self::new().and(QUEUE, policy, body)
    }

    /// Adds a job.
    fn and<F>(mut self, name: &'static str, policy: Policy, body: impl Fn(Arc<Attempt>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Value, JobError>> + Send + 'static,
    {
        self.jobs.add(Arc::new(Scripted::new(name, policy, body)));
        self
    }

    fn lasting(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    fn engine(&self) -> Engine {
        Engine {
            prefix: String::new(),
            jobs: self.jobs.clone(),
            store: Arc::new(self.store.clone()),
            queue: Arc::new(self.queue.clone()),
            dlq: DLQ.into(),
            clock: self.clock.clone(),
            counter: Arc::new(Counter::new("test")),
            metrics: self.metrics.clone(),
            bodies: Handle::current(),
            max_concurrency: self.max_concurrency,
            hop: Duration::from_mins(15),
            records_always: false,
            parks_for: Duration::from_hours(24),
            polling: None,
        }
    }

    fn invocation(&self) -> Invocation {
        Invocation { request_id: "request".into(), ends_at: Instant::now() + self.time }
    }

    async fn handle(&self, messages: impl IntoIterator<Item = Message>) -> Report {
        self.engine().handle(messages.into_iter().collect(), &self.invocation()).await
    }

    /// Delivers one message for the job `id`.
    async fn deliver(&self, id: &str) -> Report {
        self.handle([message(id)]).await
    }

    fn record(&self, id: &str) -> Record {
        self.store.get(id).expect("there is a record")
    }

    fn state(&self, id: &str) -> State {
        self.record(id).state
    }

    fn states(&self, ids: &[&str]) -> Vec<State> {
        ids.iter().map(|id| self.state(id)).collect()
    }

    /// Advances the wall clock with the timers, a second at a time.
    fn tick(&self) {
        let clock = self.clock.clone();
        tokio::spawn(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                clock.advance(Duration::from_secs(1));
            }
        });
    }
}

/// An ordered log of events; clones share it.
#[derive(Debug, Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, what: impl Into<String>) {
        lock(&self.0).push(what.into());
    }

    fn all(&self) -> Vec<String> {
        lock(&self.0).clone()
    }
}

fn message(id: &str) -> Message {
    Message {
        id: format!("message-{id}"),
        receipt: receipt_of(id),
        queue: QUEUE.into(),
        body: json!({"name": "probe", "id": id}).to_string(),
        receives: 1,
        sent_at: Some("2026-05-04T11:59:58Z".parse().expect("an instant")),
        ..Message::default()
    }
}

/// Returns a message that was received before.
fn again(id: &str) -> Message {
    Message { receives: 2, ..message(id) }
}

#[expect(clippy::needless_pass_by_value, reason = "a body is made in place")]
fn with_body(id: &str, body: impl ToString) -> Message {
    Message { body: body.to_string(), ..message(id) }
}

fn grouped(id: &str, group: &str) -> Message {
    Message { queue: "probe.fifo".into(), group: Some(group.into()), ..message(id) }
}

/// Returns the message ids for a report of returned messages.
fn returned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| format!("message-{id}")).collect()
}

const TEN: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn is_claim(write: &Write) -> bool {
    write.next.state == State::Running && write.seen.as_ref().is_none_or(|seen| seen.generation < write.next.generation)
}

fn is_finish(write: &Write) -> bool {
    write.next.state != State::Running && write.next.dlq != Some(crate::Dlq::Sent)
}

fn is_renewal(write: &Write) -> bool {
    write.next.state == State::Running && !is_claim(write)
}

/// Returns a record whose first attempt another worker is running.
fn held(world: &TestWorker, id: &str, lease: Duration) -> Record {
    let now = world.clock.now();
    Record {
        id: id.into(),
        name: "probe".into(),
        queue: QUEUE.into(),
        state: State::Running,
        attempts: 1,
        max_attempts: 5,
        generation: 1,
        runs: 1,
        owner: Some("another".into()),
        started_at: Some(now),
        lease_until: Some(crate::clock::after(now, lease).as_millisecond()),
        ..Record::default()
    }
}

fn ended(world: &TestWorker, id: &str, state: State) -> Record {
    Record { state, lease_until: None, finished_at: Some(world.clock.now()), ..held(world, id, seconds(0)) }
}
