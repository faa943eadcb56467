//! The parts of a running worker.

use std::{collections::BTreeMap, fmt, future::pending, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::{
    runtime::Handle,
    sync::{RwLock, watch},
    time::Instant,
};

use crate::{Clock, Record, attempt::Records, job::AnyJob, lifecycle, links, metrics::Metrics, queue::Queue, stats::Counter, store::Store};

/// Runs batches of messages against a store and a queue.
pub(crate) struct Engine {
    pub(crate) jobs: Jobs,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) queue: Arc<dyn Queue>,
    /// The prefix of this environment, which the names of its queues have.
    pub(crate) prefix: String,
    /// The name of the dead-letter queue.
    pub(crate) dlq: String,
    pub(crate) clock: Clock,
    /// The statistics of its deliveries.
    pub(crate) counter: Arc<Counter>,
    /// `None`: it writes no metrics.
    pub(crate) metrics: Option<Arc<Metrics>>,
    /// The runtime of the bodies, which may block. Everything else runs on another one.
    pub(crate) bodies: Handle,
    /// Maximum number of concurrent jobs of one name, even if the policy of the job allows more.
    pub(crate) max_concurrency: usize,
    /// Maximum wait by visibility timeout. For a longer wait, the message is received and returned several times.
    pub(crate) hop: Duration,
    /// `true` to record each job, regardless of its policy.
    pub(crate) records_always: bool,
    /// Maximum age of a message that this worker cannot run. Until then, the message waits for another worker.
    pub(crate) parks_for: Duration,
    /// `None`: the platform receives the messages and ends the invocation.
    pub(crate) polling: Option<Polling>,
}

/// The conditions of a worker that receives its messages itself, and handles many of them at the same time.
pub(crate) struct Polling {
    /// The dead-letter queue of each queue, by name.
    pub(crate) dlqs: BTreeMap<String, String>,
    /// Time for which a received message is invisible. While a message is handled, this time begins anew again and again.
    pub(crate) invisible_for: Duration,
    /// The limits of all attempts, once the worker has been told to stop.
    pub(crate) stop: watch::Receiver<Option<Limits>>,
    /// Held by each batch. A batch holds it alone while it runs a job that may kill the process.
    pub(crate) isolation: RwLock<()>,
}

/// The instants at which bodies are asked to stop, and are stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) ask_to_stop_at: Instant,
    pub(crate) stop_at: Instant,
}

/// The jobs of a worker, by name and alias.
#[derive(Clone, Default)]
pub(crate) struct Jobs(BTreeMap<&'static str, Arc<dyn AnyJob>>);

/// The invocation that delivers a batch.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    /// The instant at which the platform ends it.
    pub(crate) ends_at: Instant,
}

/// A rejected message.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) message_id: String,
    /// The id of its job.
    pub(crate) id: String,
    pub(crate) reason: String,
}

/// The result of a batch.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The ids of the messages to return as failed.
    pub(crate) failures: Vec<String>,
    pub(crate) rejected: Vec<Rejection>,
    /// `true` if a body still blocks its thread.
    #[cfg_attr(
        not(any(feature = "lambda", feature = "simulation")),
        expect(dead_code, reason = "only Lambda freezes a process between batches")
    )]
    pub(crate) stuck: bool,
}

impl Polling {
    /// Waits until the limits have changed since `stop` was cloned or last changed.
    pub(crate) async fn changed(stop: &mut watch::Receiver<Option<Limits>>) {
        if stop.changed().await.is_err() {
            pending::<()>().await; // the worker is never told
        }
    }
}

impl Engine {
    /// Returns the dead-letter queue of a queue.
    pub(super) fn dlq(&self, queue: &str) -> &str {
        self.polling.as_ref().and_then(|polling| polling.dlqs.get(queue)).unwrap_or(&self.dlq)
    }

    /// Returns a reader of records, if the job waited for others.
    pub(super) fn records(&self, record: &Record) -> Option<Arc<dyn Records>> {
        record.dependencies.as_ref().map(|_| Arc::new(TableRecords(Arc::clone(&self.store))) as _)
    }
}

impl Jobs {
    pub(crate) fn add(&mut self, job: Arc<dyn AnyJob>) {
        for alias in job.aliases() {
            self.0.insert(alias, Arc::clone(&job));
        }
        self.0.insert(job.name(), job);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn AnyJob>> {
        self.0.get(name)
    }

    /// Returns each job once, sorted by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<dyn AnyJob>> {
        self.0.iter().filter(|(name, job)| **name == job.name()).map(|(_, job)| job)
    }
}

/// Lists the names of the jobs for people.
impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.all().map(|job| job.name()).collect();
        f.write_str(&names.join(", "))
    }
}

/// The records of the table, for jobs that read those of their dependencies.
struct TableRecords(Arc<dyn Store>);

impl fmt::Debug for TableRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableRecords")
    }
}

impl Records for TableRecords {
    fn read(&self, ids: Vec<String>) -> BoxFuture<'static, Result<Vec<Record>, String>> {
        let store = Arc::clone(&self.0);
        async move {
            let members = |node: &Record| lifecycle::members(node).cloned().collect();
            let ids = links::without_nodes(&*store, ids, members).await.map_err(|error| error.to_string())?;
            let read = store.read(&ids).await.into_iter().filter_map(Result::transpose);
            read.collect::<Result<_, _>>().map_err(|error| error.to_string())
        }
        .boxed()
    }
}
