//! The state that all deliveries of an invocation share: its time limits, its concurrency slots, and the ledger.

use std::{
    collections::BTreeMap,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering},
    task::{self, Poll},
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    engine::{Engine, Invocation, Limits, Polling},
    ledger::Ledger,
};
use crate::{
    JobError,
    job::HOOK,
    links::Links,
    metrics::BatchMeter,
    queue::{Message, QueueError, Visibility},
    traces::Span,
};

/// Minimum remaining time to start an attempt whose policy sets no timeout.
const MIN_RUN_TIME: Duration = Duration::from_secs(1);
/// Time for a stopped body to end.
const GRACE: Duration = Duration::from_millis(250);

/// The state of the batches that are handled at the same time. A Lambda function handles one batch at a time.
pub(crate) struct Shared<'a> {
    pub(crate) ledger: Ledger<'a>,
    slots: BTreeMap<&'static str, Semaphore>,
    stuck: AtomicBool,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(engine: &'a Engine, ends_at: Instant) -> Self {
        let most = engine.max_concurrency.min(Semaphore::MAX_PERMITS);
        let slots = engine.jobs.all().map(|job| (job.name(), Semaphore::new(job.policy().concurrency.min(most))));
        let Times { stop_at, reserve, .. } = Times::until(ends_at);
        Self { ledger: Ledger::new(&*engine.store, stop_at + reserve * 2 / 3), slots: slots.collect(), stuck: AtomicBool::new(false) }
    }
}

/// The division of the time until the end of an invocation.
struct Times {
    /// Time for bodies.
    time: Duration,
    stop_at: Instant,
    /// Time to record the bodies.
    reserve: Duration,
}

impl Times {
    fn until(ends_at: Instant) -> Self {
        let now = Instant::now();
        let total = ends_at.saturating_duration_since(now);
        let reserve = (total / 4).clamp(Duration::from_millis(500), Duration::from_secs(3));
        let time = total.saturating_sub(reserve);
        Self { time, stop_at: now + time, reserve }
    }
}

/// A batch that is being handled.
pub(crate) struct Batch<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) invocation: &'a Invocation,
    pub(crate) ledger: &'a Ledger<'a>,
    /// `None`: the worker writes no metrics.
    pub(crate) meter: Option<BatchMeter>,
    /// The span of the invocation.
    pub(crate) span: Span,
    /// Early enough to record the bodies before the invocation ends.
    limits: Limits,
    /// Time for a stopped body or hook to end.
    pub(crate) grace: Duration,
    /// The instant at which the response must be sent, even if requests are still open.
    pub(crate) answer_by: Instant,
    time: Duration,
    shared: &'a Shared<'a>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(engine: &'a Engine, invocation: &'a Invocation, shared: &'a Shared<'a>) -> Self {
        let Times { time, stop_at, reserve } = Times::until(invocation.ends_at);
        let ask_to_stop_at = stop_at.checked_sub((time / 10).min(Duration::from_secs(1))).unwrap_or(stop_at);
        Self {
            engine,
            invocation,
            meter: None,
            span: Span::default(),
            ledger: &shared.ledger,
            limits: Limits { ask_to_stop_at, stop_at },
            grace: GRACE.min(reserve / 3),
            answer_by: stop_at + reserve * 9 / 10,
            time,
            shared,
        }
    }

    /// Returns the instants at which bodies are asked to stop, and are stopped.
    pub(crate) fn limits(&self) -> Limits {
        self.engine.polling.as_ref().and_then(|polling| *polling.stop.borrow()).unwrap_or(self.limits)
    }

    /// Waits for a slot to run in. Returns `None` if there is no slot in time, or if the process is about to exit.
    pub(crate) async fn slot(&self, job: &str, timeout: Option<Duration>) -> Option<SemaphorePermit<'_>> {
        let needed = timeout.unwrap_or(MIN_RUN_TIME).min(self.time * 3 / 4);
        let start_by = self.limits.stop_at.checked_sub(needed)?;
        let slots = self.shared.slots.get(job)?;
        let slot = match &self.engine.polling {
            None => timeout_at(start_by, slots.acquire()).await.ok()?,
            Some(Polling { stop, invisible_for, .. }) => {
                let mut stop = stop.clone();
                if stop.borrow_and_update().is_some() {
                    return None;
                }
                // A message that waits longer returns to its queue, where other workers find it.
                tokio::select! { biased;
                    () = Polling::changed(&mut stop) => return None,
                    slot = timeout_at(Instant::now() + *invisible_for, slots.acquire()) => slot.ok()?,
                }
            }
        };
        // `timeout_at` returns a free slot even after the deadline.
        (Instant::now() < start_by && !self.is_stuck()).then_some(slot.ok()?)
    }

    pub(super) fn links(&self) -> Links<'_> {
        Links { store: self.ledger, queue: &*self.engine.queue, clock: &self.engine.clock }
    }

    pub(crate) fn mark_stuck(&self) {
        self.shared.stuck.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.shared.stuck.load(Ordering::SeqCst)
    }

    /// Runs a hook on the runtime of the bodies, if there is time. A failure is logged and changes nothing.
    pub(crate) async fn hook(&self, hook: &'static str, work: BoxFuture<'static, Result<(), JobError>>) {
        // If one thread is blocked, all threads may be blocked, and then no hook can run. The wait for the hook is short in that case.
        let longest = if self.is_stuck() { self.grace } else { HOOK };
        let end_by = (self.limits().stop_at + self.grace).min(Instant::now() + longest);
        if Instant::now() >= end_by {
            tracing::warn!(hook, "a hook is not called, because no time is left");
            return;
        }
        let mut running = Task(self.engine.bodies.spawn(work));
        let error = match timeout_at(end_by, &mut running).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                running.abort();
                if timeout(self.grace, &mut running).await.is_err() {
                    self.mark_stuck();
                }
                "it took too long".to_owned()
            }
        };
        tracing::warn!(hook, error, "a hook failed");
    }

    /// Does work on messages, and keeps them invisible meanwhile if nobody else does.
    pub(super) async fn keep_invisible(&self, messages: impl Iterator<Item = &Message>, work: impl Future<Output = ()>) {
        let Some(Polling { invisible_for, .. }) = self.engine.polling.as_ref() else { return work.await };
        let mut changes: BTreeMap<&str, Vec<Visibility>> = BTreeMap::new();
        for message in messages {
            let change = Visibility { receipt: message.receipt.clone(), timeout: *invisible_for };
            changes.entry(&message.queue).or_default().push(change);
        }
        let mut work = pin!(work);
        loop {
            tokio::select! { biased;
                () = &mut work => return,
                () = sleep(*invisible_for / 3) => {}
            }
            let change = join_all(changes.iter().map(|(queue, changes)| self.engine.queue.set_visibility(queue, changes)));
            let (mut change, mut is_over) = (pin!(change), false);
            // The change must not overtake the one that the end of the work makes.
            let answers = loop {
                tokio::select! { biased;
                    answers = &mut change => break answers,
                    () = &mut work, if !is_over => is_over = true,
                }
            };
            if is_over {
                return;
            }
            for error in answers.into_iter().flatten().filter_map(Result::err) {
                if let QueueError::Unknown(_) = error {
                    tracing::warn!(%error, "cannot keep a message invisible; the worker tries again");
                    continue;
                }
                // SQS makes each message visible after 12 hours.
                tracing::warn!(%error, "a message is visible although its job runs: another worker finds the lease and waits");
                return work.await;
            }
        }
    }

    /// Sets visibility timeouts. A refused change does not fail the job: the message returns after the queue's own timeout.
    pub(crate) async fn set_visibility(&self, queue: &str, changes: &[Visibility]) {
        for error in self.engine.queue.set_visibility(queue, changes).await.into_iter().filter_map(Result::err) {
            tracing::warn!(queue, %error, "cannot set the visibility of a message");
        }
    }
}

/// A task that is aborted on drop.
pub(crate) struct Task<T>(pub(crate) JoinHandle<T>);

impl<T> Task<T> {
    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
