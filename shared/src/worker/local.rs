//! Queues and records in memory, and the loop that delivers batches from them like the event source.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use super::engine::{Engine, Invocation, Jobs, Rejection};
use crate::{
    Client, Clock, Error,
    beater::{Due, hand_over},
    clock::until,
    envelope::Envelope,
    lifecycle::{next_look, waiting_list},
    metrics::Metrics,
    queue::{self, Queue, Source},
    stats::Counter,
    store,
};

/// The dead-letter queue of all local queues.
pub(crate) const DLQ: &str = "dead-letters";
/// Maximum duration of a Lambda invocation.
const INVOCATION: Duration = Duration::from_mins(15);
/// Default number of messages in a batch.
const BATCH: usize = 10;

/// AWS in memory.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) clock: Clock,
    pub(crate) queue: queue::Memory,
    pub(crate) store: store::Memory,
    /// Maximum number of messages in a batch.
    pub(crate) batch: usize,
    /// `None`: its workers write no metrics.
    pub(crate) metrics: Option<Arc<Metrics>>,
}

impl Local {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { queue: queue::Memory::new(clock.clone()), store: store::Memory::new(), clock, batch: BATCH, metrics: None }
    }

    /// Returns a client of these queues and records.
    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::new(self.queue.clone()), Arc::new(self.store.clone()), self.clock.clone(), "")
    }

    pub(crate) fn engine(&self, jobs: Jobs, bodies: Handle, max_concurrency: usize) -> Engine {
        Engine {
            jobs,
            store: Arc::new(self.store.clone()),
            queue: Arc::new(self.queue.clone()),
            prefix: String::new(),
            dlq: DLQ.into(),
            clock: self.clock.clone(),
            counter: Arc::new(Counter::new("")),
            metrics: self.metrics.clone(),
            bodies,
            max_concurrency,
            hop: queue::MAX_VISIBILITY,
            records_always: false,
            parks_for: Duration::ZERO, // there is no other worker
            polling: None,
        }
    }

    /// Returns the queues from which a worker receives: those of its jobs, and others that contain a message for one of its jobs.
    fn sources(&self, jobs: &Jobs) -> impl Iterator<Item = String> {
        let names_own = |message: &queue::Message| Envelope::parse(&message.body).is_ok_and(|envelope| jobs.get(&envelope.name).is_some());
        let is_own = move |queue: &String| jobs.all().any(|job| job.queue() == queue) || self.queue.messages(queue).iter().any(names_own);
        self.queue.names().into_iter().filter(|queue| queue != DLQ).filter(is_own)
    }

    pub(crate) fn due(&self) -> Due {
        Due { store: Arc::new(self.store.clone()), queue: Arc::new(self.queue.clone()), clock: self.clock.clone() }
    }

    /// Delivers due jobs and visible messages, batch by batch, until none is left. Returns the rejected messages.
    pub(crate) async fn run_due(&self, engine: &Engine) -> Result<Vec<Rejection>, Error> {
        if self.store.has_due() {
            let handed = hand_over(&self.due(), self.clock.now(), Instant::now() + INVOCATION).await;
            handed.map_err(|error| Error::store("cannot send due jobs", error))?;
        }
        let mut rejected = Vec::new();
        let mut idle = false;
        while !idle {
            idle = true;
            for queue in self.sources(&engine.jobs) {
                let messages = self.queue.receive(&queue, self.batch, INVOCATION + Duration::from_mins(1)).await;
                let messages = messages.map_err(|error| Error::queue(format!("cannot receive from queue {queue}"), error))?;
                if messages.is_empty() {
                    continue;
                }
                idle = false;
                let taken: Vec<_> = messages.iter().map(|message| (message.id.clone(), message.receipt.clone())).collect();
                let report = engine.handle(messages, &invocation()).await;
                let failures: HashSet<_> = report.failures.into_iter().collect();
                let done = taken.into_iter().filter(|(id, _)| !failures.contains(id)).map(|(_, receipt)| receipt);
                self.queue.delete(&queue, &done.collect::<Vec<_>>()).await;
                rejected.extend(report.rejected);
            }
        }
        Ok(rejected)
    }

    /// Does the same as [`Local::run_due`], and advances the clock to each waiting job or message, until none is left.
    pub(crate) async fn run_all(&self, engine: &Engine) -> Result<Vec<Rejection>, Error> {
        let mut rejected = self.run_due(engine).await?;
        let jobs = &engine.jobs;
        let next = || {
            let visible = self.sources(jobs).filter_map(|queue| self.queue.next_visible(&queue));
            let due = self.store.next_due(|name| jobs.get(name).is_some());
            let rates = self.store.marked_rates().into_iter().filter(|key| self.store.has_listed(&waiting_list(&key.id)));
            visible.chain(due).chain(rates.filter_map(|key| next_look(&key))).min()
        };
        while let Some(next) = next() {
            self.clock.advance(until(self.clock.now(), next));
            rejected.extend(self.run_due(engine).await?);
        }
        Ok(rejected)
    }
}

pub(crate) fn invocation() -> Invocation {
    Invocation { request_id: "eager".into(), ends_at: Instant::now() + INVOCATION }
}
