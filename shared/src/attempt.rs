//! One run of a job, as the job and its middleware see it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

use crate::{Clock, JobError, clock::until, queue::Message, record::Record, traces::Span};

/// One run of a job: its identity, its origin, its remaining time, and its checkpoints.
#[derive(Debug)]
pub struct Attempt {
    record: Arc<Record>,
    /// Only for a job that waited for others.
    records: Option<Arc<dyn Records>>,
    message: Arc<Message>,
    origin: Origin,
    span: Span,
    clock: Clock,
    stop_at: Instant,
    /// The reason to stop, and the instant at which the attempt is stopped then. Channels would cost every attempt several allocations, and
    /// few attempts are asked to stop or save anything.
    stop: Mutex<Option<(&'static str, Instant)>>,
    stop_asked: Notify,
    saves: Mutex<Saves>,
    save_queued: Notify,
    progress: Mutex<Option<Value>>,
    progressed: Notify,
    /// The number of running pieces of [blocking](Attempt::blocking) work. It is not set before the first one starts.
    blocking: OnceLock<Arc<watch::Sender<usize>>>,
}

/// The checkpoints to write.
#[derive(Debug, Default)]
struct Saves {
    queue: VecDeque<Save>,
    /// `true` after the attempt has ended.
    closed: bool,
}

/// Reads the records of other jobs.
pub(crate) trait Records: fmt::Debug + Send + Sync {
    /// Reads records consistently. Records that do not exist are left out.
    fn read(&self, ids: Vec<String>) -> BoxFuture<'static, Result<Vec<Record>, String>>;
}

/// Fields of the envelope that the record does not store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) depth: u32,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
    pub(crate) run_at: Option<Timestamp>,
}

/// A checkpoint to write, and the channel for the result.
#[derive(Debug)]
pub(crate) struct Save {
    pub(crate) checkpoint: Value,
    pub(crate) saved: oneshot::Sender<Result<(), &'static str>>,
}

impl Attempt {
    pub(crate) fn new(
        record: Arc<Record>,
        records: Option<Arc<dyn Records>>,
        message: Arc<Message>,
        origin: Origin,
        span: Span,
        clock: Clock,
        stop_at: Instant,
    ) -> Arc<Self> {
        Arc::new(Self {
            record,
            records,
            message,
            origin,
            span,
            clock,
            stop_at,
            stop: Mutex::default(),
            stop_asked: Notify::new(),
            saves: Mutex::default(),
            save_queued: Notify::new(),
            progress: Mutex::default(),
            progressed: Notify::new(),
            blocking: OnceLock::new(),
        })
    }

    /// Returns the job's id. It is the same in every attempt: use it as the idempotency key of effects.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Returns the job's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Returns the number of this attempt, from 1 to [`Attempt::max_attempts`]. Snoozed and interrupted attempts do not count.
    pub fn attempt(&self) -> u32 {
        self.record.attempts
    }

    /// Returns the number of attempts after which the job fails permanently.
    pub fn max_attempts(&self) -> u32 {
        self.record.max_attempts
    }

    /// Returns the message of this delivery.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// Returns the number of its claim.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn generation(&self) -> u64 {
        self.record.generation
    }

    /// Returns the name of the queue that delivered the job.
    pub fn queue(&self) -> &str {
        &self.record.queue
    }

    /// Returns the id of the job that enqueued this one.
    pub fn parent_id(&self) -> Option<&str> {
        self.record.parent_id.as_deref()
    }

    /// Returns the id of the first job of the chain; without a parent, the id of this job.
    pub fn root_id(&self) -> &str {
        self.record.root_id.as_deref().unwrap_or(&self.record.id)
    }

    /// Returns the number of jobs before this one in the chain.
    pub fn depth(&self) -> u32 {
        self.origin.depth
    }

    /// Returns the producer's labels.
    pub fn tags(&self) -> &[String] {
        &self.record.tags
    }

    /// Returns the producer's free data.
    pub fn meta(&self) -> &Map<String, Value> {
        &self.record.meta
    }

    /// Returns the instant for which the job was enqueued: the fire of its schedule, or its `run_at`.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.origin.run_at
    }

    /// Returns the delay between [`due_at`](Attempt::due_at) and the start of the attempt.
    pub fn late_by(&self) -> Option<Duration> {
        Some(until(self.origin.run_at?, self.record.started_at?))
    }

    /// Returns the producer's W3C trace context, as the message has it.
    pub fn traceparent(&self) -> Option<&str> {
        self.origin.traceparent.as_deref()
    }

    /// Returns the W3C `tracestate` of [`Attempt::traceparent`].
    pub fn tracestate(&self) -> Option<&str> {
        self.origin.tracestate.as_deref()
    }

    /// Returns the id of the SQS message of this delivery.
    pub fn message_id(&self) -> &str {
        &self.message.id
    }

    /// Returns the text attributes of the message.
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.message.attributes
    }

    /// Returns the instant at which the job was enqueued.
    pub fn enqueued_at(&self) -> Option<Timestamp> {
        self.record.enqueued_at
    }

    /// Returns the current time of the worker's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the time until this attempt is stopped.
    pub fn remaining(&self) -> Duration {
        let stop_at = locked(&self.stop).map_or(self.stop_at, |(_, at)| at.min(self.stop_at));
        stop_at.saturating_duration_since(Instant::now())
    }

    /// Returns `true` if the attempt has been asked to stop. Use it in loops that save no checkpoints.
    pub fn is_stopping(&self) -> bool {
        self.stop_reason().is_some()
    }

    /// Interrupts the job here if the attempt has been asked to stop. The interruption does not count as an attempt, and the job starts
    /// again from its last checkpoint, if it has one. Use it in loops where the job can safely stop.
    ///
    /// # Errors
    ///
    /// When the attempt has been asked to stop. Return the error with `?`.
    pub fn safe_point(&self) -> Result<(), JobError> {
        self.stop_reason().map_or(Ok(()), |reason| Err(JobError::interrupt(reason)))
    }

    /// Waits until the attempt is asked to stop. It is dropped soon after.
    pub async fn stopping(&self) {
        let asked = self.stop_asked.notified(); // made before the check, so that it misses no request
        if !self.is_stopping() {
            asked.await;
        }
    }

    /// Asks the body to stop.
    pub(crate) fn ask_to_stop(&self, reason: &'static str, stop_at: Instant) {
        *locked(&self.stop) = Some((reason, stop_at));
        self.stop_asked.notify_waiters();
    }

    fn stop_reason(&self) -> Option<&'static str> {
        locked(&self.stop).map(|(reason, _)| reason)
    }

    /// Records progress for observers. It is written with the next renewal of the lease, or when the attempt ends. The first progress of
    /// a job that is [recorded on trouble](crate::Recording::OnTrouble) writes its record.
    pub fn progress(&self, progress: impl Serialize) {
        if let Ok(value) = serde_json::to_value(progress) {
            *locked(&self.progress) = Some(value);
            self.progressed.notify_one();
        }
    }

    /// Waits until the job reports progress.
    pub(crate) async fn progressed(&self) {
        self.progressed.notified().await;
    }

    pub(crate) fn take_progress(&self) -> Option<Value> {
        locked(&self.progress).take()
    }

    /// Restores progress that could not be written, unless the job has reported newer progress.
    pub(crate) fn keep_progress(&self, progress: Option<&Value>) {
        if let Some(progress) = progress {
            locked(&self.progress).get_or_insert_with(|| progress.clone());
        }
    }

    /// Returns the records of the jobs that this one waited for, in the order of the message. [`Record::output`] has the result of each.
    ///
    /// A record that the table has deleted in the meantime is left out: by default, 30 days after the end of its job.
    ///
    /// ```
    /// use sqjobs::{Context, JobError};
    ///
    /// async fn sum(ctx: &Context) -> Result<i64, JobError> {
    ///     let mut sum = 0;
    ///     for job in ctx.dependencies().await? {
    ///         sum += job.output::<i64>()?.unwrap_or_default();
    ///     }
    ///     Ok(sum)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When DynamoDB does not answer. Return the error with `?`, and the job is retried.
    pub async fn dependencies(&self) -> Result<Vec<Record>, JobError> {
        let Some((dependencies, records)) = self.record.dependencies.as_ref().zip(self.records.as_ref()) else { return Ok(Vec::new()) };
        let read = records.read(dependencies.ids.clone()).await;
        read.map_err(|error| JobError::from(format!("cannot read the jobs that this one waited for: {error}")))
    }

    /// Saves the point from which a later attempt resumes. Returns once the checkpoint is stored.
    ///
    /// This is also a safe point: a job that is asked to stop is interrupted here. The interruption does not count as an attempt, and
    /// the job later resumes from this checkpoint.
    ///
    /// # Errors
    ///
    /// When the attempt must stop or has lost its lease. Return the error with `?`.
    pub async fn checkpoint(&self, checkpoint: impl Serialize) -> Result<(), JobError> {
        let checkpoint = serde_json::to_value(checkpoint)?;
        let (saved, answer) = oneshot::channel();
        self.save(Save { checkpoint, saved });
        match answer.await {
            Ok(Ok(())) => self.safe_point(),
            Ok(Err(reason)) => Err(JobError::from(reason)),
            Err(_) => Err(JobError::interrupt("the attempt has ended")),
        }
    }

    /// Queues a checkpoint. After the attempt has ended, the checkpoint is dropped with its channel, and the caller gets an error at once.
    pub(crate) fn save(&self, save: Save) {
        let mut saves = locked(&self.saves);
        if !saves.closed {
            saves.queue.push_back(save);
            self.save_queued.notify_one();
        }
    }

    /// Waits for a checkpoint to write.
    pub(crate) async fn next_save(&self) -> Save {
        loop {
            if let Some(save) = locked(&self.saves).queue.pop_front() {
                return save;
            }
            self.save_queued.notified().await;
        }
    }

    /// Drops all checkpoints from now on.
    pub(crate) fn close(&self) {
        *locked(&self.saves) = Saves { closed: true, ..Saves::default() };
    }

    /// Returns the last checkpoint of an earlier attempt, if any.
    ///
    /// # Errors
    ///
    /// When the checkpoint cannot be deserialized into `T`.
    pub fn last_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.record.checkpoint.clone().map(serde_json::from_value).transpose()
    }

    /// Runs blocking work on a separate thread and waits for it.
    ///
    /// If the work still blocks when the attempt has ended, the process exits, so that the work cannot leak into the next
    /// invocation. A job must itself join all other work that it starts, for example with `tokio::spawn`.
    ///
    /// # Errors
    ///
    /// When the work panicked.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JobError> {
        let (running, span) = (Blocking::start(self.blocking.get_or_init(Arc::default)), self.span.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _running = running;
            span.enter(work)
        });
        Ok(work.await?)
    }

    /// Waits until all work that [`Attempt::blocking`] started has ended.
    pub(crate) async fn threads_end(&self) {
        if let Some(running) = self.blocking.get() {
            running.subscribe().wait_for(|running| *running == 0).await.ok();
        }
    }

    /// Returns `true` if [`Attempt::blocking`] has started work, which may have ended.
    pub(crate) fn has_threads(&self) -> bool {
        self.blocking.get().is_some()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Blocking(Arc<watch::Sender<usize>>);

impl Blocking {
    fn start(running: &Arc<watch::Sender<usize>>) -> Self {
        running.send_modify(|running| *running += 1);
        Self(Arc::clone(running))
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

tokio::task_local! {
    /// The attempt whose code this task runs.
    static CURRENT: Arc<Attempt>;
}

/// Runs code of an attempt. Jobs that the code enqueues become children of the attempt's job, and spans those of its span.
pub(crate) fn within<F: Future>(attempt: Arc<Attempt>, code: F) -> impl Future<Output = F::Output> {
    let code = attempt.span.within(code);
    CURRENT.scope(attempt, code)
}

/// Returns the attempt whose code this task runs, if any.
pub(crate) fn current() -> Option<Arc<Attempt>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// The argument of a job's methods: the [`Attempt`] and the state that `main` created.
#[derive(Debug)]
pub struct Context<S = ()> {
    state: Arc<S>,
    attempt: Arc<Attempt>,
}

impl<S> Context<S> {
    pub(crate) fn new(state: Arc<S>, attempt: Arc<Attempt>) -> Self {
        Self { state, attempt }
    }

    /// Returns the state that `main` created at cold start.
    pub fn state(&self) -> &S {
        &self.state
    }
}

impl<S> Deref for Context<S> {
    type Target = Attempt;

    fn deref(&self) -> &Attempt {
        &self.attempt
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::poll_immediate;

    use super::*;

    #[tokio::test]
    async fn a_checkpoint_of_an_ended_attempt_fails_at_once() {
        let attempt =
            Attempt::new(Arc::default(), None, Arc::default(), Origin::default(), Span::default(), Clock::system(), Instant::now());
        let mut queued = pin!(attempt.checkpoint(1));
        assert!(poll_immediate(&mut queued).await.is_none(), "it waits for its write");
        attempt.close();
        assert!(queued.await.is_err());
        assert!(attempt.checkpoint(2).await.is_err());
    }
}
