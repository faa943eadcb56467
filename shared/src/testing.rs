//! Runs jobs in process, to test your own jobs.

pub mod conformance;
#[cfg(feature = "operator")]
pub mod decisions;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use jiff::Timestamp;
use tokio::runtime::Handle;

use crate::{
    Client, Clock, Envelope, Record, Worker,
    lifecycle::is_job,
    metrics::Metrics,
    panics,
    queue::Queue as _,
    worker::{DLQ, Engine, Local},
};
#[cfg(feature = "lambda")]
use crate::{
    Error,
    worker::{invocation, lambda},
};

/// Queues, records and a clock in memory: enqueue jobs, run them, advance the clock, and inspect the records.
///
/// The worker is the same as in Lambda; only its queues, table and clock are in memory.
///
/// ```
/// use std::time::Duration;
/// use serde::{Deserialize, Serialize};
/// use sqjobs::{Arguments, Context, Job, JobError, State, Worker, testing::Eager};
///
/// #[derive(Serialize, Deserialize)]
/// struct Flaky;
///
/// impl Arguments for Flaky {
///     const NAME: &'static str = "flaky";
/// }
///
/// impl Job for Flaky {
///     type Output = ();
///
///     async fn run(&self, ctx: &Context) -> Result<(), JobError> {
///         match ctx.attempt() {
///             1 => Err(JobError::retry_in(Duration::from_secs(600), "not yet")),
///             _ => Ok(()),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sqjobs::Error> {
/// let (eager, worker) = (Eager::new(), Worker::new(()).job::<Flaky>());
/// let job = eager.client().enqueue(&Flaky).await?;
/// assert_eq!(eager.enqueued("flaky")[0].name, "flaky");
///
/// eager.run_due(&worker).await;
/// assert_eq!(eager.record(&job.id).unwrap().state, State::Retrying);
///
/// eager.advance(Duration::from_secs(600));
/// eager.run_due(&worker).await;
/// assert_eq!(eager.record(&job.id).unwrap().state, State::Succeeded);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Eager {
    local: Local,
}

impl Default for Eager {
    fn default() -> Self {
        Self::new()
    }
}

impl Eager {
    /// Creates an empty instance whose clock shows the start of the year 2026.
    pub fn new() -> Self {
        Self::at(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(56 * 8766))
    }

    /// Creates an empty instance whose clock shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { local: Local::new(Clock::frozen(start)) }
    }

    /// Sets the maximum batch size; default: 10. SQS allows up to 10,000.
    #[must_use]
    pub fn batch_size(mut self, messages: usize) -> Self {
        self.local.batch = messages;
        self
    }

    /// Passes each line of [metrics](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format.html)
    /// to `write`. Without this, workers write none.
    #[must_use]
    pub fn with_metrics(mut self, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.local.metrics = Some(Arc::new(Metrics::new(write)));
        self
    }

    /// Returns a client that enqueues to these queues.
    pub fn client(&self) -> Client {
        self.local.client()
    }

    /// Runs until the worker's queues are empty, and advances the clock to each waiting job: a retry in an hour takes no time.
    ///
    /// The worker receives from the queues of its own jobs, and from any queue that contains a message for one of them. Jobs that it
    /// enqueues for another function stay in their queue, for [`enqueued`](Self::enqueued) or for a run of that function's worker.
    pub async fn run<S: Send + Sync + 'static>(&self, worker: &Worker<S>) {
        self.local.run_all(&self.engine(worker)).await.ok();
    }

    /// Runs only the messages that are due now in the worker's queues. [`run`](Self::run) describes these queues.
    pub async fn run_due<S: Send + Sync + 'static>(&self, worker: &Worker<S>) {
        self.local.run_due(&self.engine(worker)).await.ok();
    }

    fn engine<S: Send + Sync + 'static>(&self, worker: &Worker<S>) -> Engine {
        static WARNING: Once = Once::new();
        if panics::ABORT {
            // A test has no log subscriber.
            WARNING.call_once(|| eprintln!("error: {}", panics::WARNING));
        }
        self.local.engine(worker.jobs().clone(), Handle::current(), usize::MAX)
    }

    /// Handles an SQS event like the deployed function and returns its response. `batchItemFailures` in the response names the
    /// messages for a retry.
    ///
    /// # Errors
    ///
    /// When the value is not an SQS event.
    #[cfg(feature = "lambda")]
    pub async fn handle<S: Send + Sync + 'static>(&self, worker: &Worker<S>, event: serde_json::Value) -> Result<serde_json::Value, Error> {
        let event = serde_json::from_value(event).map_err(|error| Error::Invalid(format!("the event is not an event of SQS: {error}")))?;
        let report = self.engine(worker).handle(lambda::messages(event)?, &invocation()).await;
        serde_json::to_value(lambda::response(report)).map_err(|error| Error::process("cannot serialize the answer", error))
    }

    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        self.local.clock.advance(by);
    }

    /// Returns the current time of the clock.
    pub fn now(&self) -> Timestamp {
        self.local.clock.now()
    }

    /// Returns the record of a job.
    pub fn record(&self, id: &str) -> Option<Record> {
        self.local.store.get(id)
    }

    /// Returns the record of every job, sorted by id.
    pub fn records(&self) -> Vec<Record> {
        self.local.store.records().into_iter().filter(|record| is_job(&record.id)).collect()
    }

    /// Returns the messages in a queue, oldest first, without those that cannot be read.
    pub fn enqueued(&self, queue: &str) -> Vec<Envelope> {
        self.local.queue.messages(queue).iter().filter_map(|message| Envelope::parse(&message.body).ok()).collect()
    }

    /// Returns the messages in the dead-letter queue, with their reasons in the attribute `sqjobs.reason`.
    pub fn dead_letters(&self) -> Vec<crate::queue::Message> {
        self.local.queue.messages(DLQ)
    }

    /// Sends a message with any body to a queue.
    pub async fn send(&self, queue: &str, body: impl Into<String>) {
        self.local.queue.send(queue, &[crate::queue::Outgoing::new(body)]).await;
    }
}
