//! One run of a job, as the job and its middleware see it.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::Instant,
};

use crate::{Clock, JobError, clock::until, queue::Message, record::Record};

/// One run of a job: who it is, where it came from, how long it has, and its way to save a checkpoint.
#[derive(Debug)]
pub struct Attempt {
    record: Arc<Record>,
    message: Arc<Message>,
    origin: Origin,
    clock: Clock,
    stop_at: Instant,
    stopping: watch::Receiver<Option<&'static str>>,
    checkpoints: mpsc::UnboundedSender<Save>,
    progress: Mutex<Option<Value>>,
    progressed: Notify,
    blocking: Arc<watch::Sender<usize>>,
}

/// What the producer said that no record keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) depth: u32,
    pub(crate) traceparent: Option<String>,
    pub(crate) run_at: Option<Timestamp>,
}

/// A checkpoint to be written, and where to say that it was.
pub(crate) struct Save {
    pub(crate) checkpoint: Value,
    pub(crate) saved: oneshot::Sender<Result<(), &'static str>>,
}

/// The executor's ends of an attempt's channels.
pub(crate) struct Controls {
    pub(crate) stop: watch::Sender<Option<&'static str>>,
    pub(crate) checkpoints: mpsc::UnboundedReceiver<Save>,
}

impl Attempt {
    pub(crate) fn new(record: Arc<Record>, message: Arc<Message>, origin: Origin, clock: Clock, stop_at: Instant) -> (Arc<Self>, Controls) {
        let (stop, stopping) = watch::channel(None);
        let (sender, checkpoints) = mpsc::unbounded_channel();
        let attempt = Self {
            record,
            message,
            origin,
            clock,
            stop_at,
            stopping,
            checkpoints: sender,
            progress: Mutex::new(None),
            progressed: Notify::new(),
            blocking: Arc::new(watch::Sender::new(0)),
        };
        (Arc::new(attempt), Controls { stop, checkpoints })
    }

    /// The job's id: the same in every attempt, so the key for idempotent effects.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The budget used, this attempt included: from 1 to [`Attempt::max_attempts`].
    pub fn attempt(&self) -> u32 {
        self.record.attempts
    }

    /// Attempts in all before the job fails for good.
    pub fn max_attempts(&self) -> u32 {
        self.record.max_attempts
    }

    /// The message of this delivery.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// The number of its claim.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn generation(&self) -> u64 {
        self.record.generation
    }

    /// The name of the queue it came from.
    pub fn queue(&self) -> &str {
        &self.record.queue
    }

    /// The job that enqueued this one.
    pub fn parent_id(&self) -> Option<&str> {
        self.record.parent_id.as_deref()
    }

    /// The first job of the chain; this one where nothing else is said.
    pub fn root_id(&self) -> &str {
        self.record.root_id.as_deref().unwrap_or(&self.record.id)
    }

    /// How many jobs of the chain lie before this one.
    pub fn depth(&self) -> u32 {
        self.origin.depth
    }

    /// Labels of the enqueuer.
    pub fn tags(&self) -> &[String] {
        &self.record.tags
    }

    /// Free data of the enqueuer.
    pub fn meta(&self) -> &Map<String, Value> {
        &self.record.meta
    }

    /// The instant for which it was enqueued: the fire of its schedule, or its `run_at`.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.origin.run_at
    }

    /// How much later than that the attempt started.
    pub fn late_by(&self) -> Option<Duration> {
        Some(until(self.origin.run_at?, self.record.started_at?))
    }

    /// The W3C trace context of the enqueuer.
    pub fn traceparent(&self) -> Option<&str> {
        self.origin.traceparent.as_deref()
    }

    /// The id of the SQS message of this delivery.
    pub fn message_id(&self) -> &str {
        &self.message.id
    }

    /// The text attributes of the message.
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.message.attributes
    }

    /// When the job was enqueued.
    pub fn enqueued_at(&self) -> Option<Timestamp> {
        self.record.enqueued_at
    }

    /// The time now, by the worker's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long until this attempt is stopped.
    pub fn remaining(&self) -> Duration {
        self.stop_at.saturating_duration_since(Instant::now())
    }

    /// Whether the attempt has been asked to stop; a loop without a checkpoint looks here.
    pub fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Waits until the attempt is asked to stop. It is dropped soon after.
    pub async fn stopping(&self) {
        let mut stopping = self.stopping.clone();
        if stopping.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Notes how far the job is, for whoever watches; written with the next renewal of the lease, or with the ending. Of a job that is
    /// [recorded on trouble](crate::Recording::OnTrouble), the first note writes the record.
    pub fn progress(&self, progress: impl Serialize) {
        if let (Ok(value), Ok(mut slot)) = (serde_json::to_value(progress), self.progress.lock()) {
            *slot = Some(value);
            self.progressed.notify_one();
        }
    }

    /// Waits until the job has told of its progress.
    pub(crate) async fn progressed(&self) {
        self.progressed.notified().await;
    }

    pub(crate) fn take_progress(&self) -> Option<Value> {
        self.progress.lock().ok().and_then(|mut slot| slot.take())
    }

    /// Keeps what was taken and not written, unless the job has told of newer progress since.
    pub(crate) fn keep_progress(&self, progress: Option<&Value>) {
        if let (Some(progress), Ok(mut slot)) = (progress, self.progress.lock()) {
            slot.get_or_insert_with(|| progress.clone());
        }
    }

    /// Saves from where to go on. Returns once it is stored, so it is also a safe point: a job that is asked to stop
    /// is interrupted here, its attempt given back, and starts again from what it saved.
    ///
    /// # Errors
    ///
    /// When the attempt is to stop or has lost its lease; pass it on by `?`.
    pub async fn checkpoint(&self, checkpoint: impl Serialize) -> Result<(), JobError> {
        let checkpoint = serde_json::to_value(checkpoint)?;
        let (saved, answer) = oneshot::channel();
        self.checkpoints.send(Save { checkpoint, saved }).ok();
        match answer.await {
            Ok(Ok(())) => match *self.stopping.borrow() {
                Some(reason) => Err(JobError::interrupt(reason)),
                None => Ok(()),
            },
            Ok(Err(reason)) => Err(JobError::from(reason)),
            Err(_) => Err(JobError::interrupt("the attempt has ended")),
        }
    }

    /// Puts a checkpoint that was not written back into the line.
    pub(crate) fn save_again(&self, save: Save) {
        self.checkpoints.send(save).ok();
    }

    /// What an earlier attempt saved, if anything.
    ///
    /// # Errors
    ///
    /// When it does not fit the type.
    pub fn last_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.record.checkpoint.clone().map(serde_json::from_value).transpose()
    }

    /// Runs work that blocks its thread, on a thread for that, and waits for it. Work that is still blocked when the
    /// attempt has ended ends the process, so that it cannot run on into the next invocation. What a job starts by
    /// other means, such as `tokio::spawn`, is its own to join.
    ///
    /// # Errors
    ///
    /// When the work panicked.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JobError> {
        let running = Blocking::start(&self.blocking);
        let work = tokio::task::spawn_blocking(move || {
            let _running = running;
            work()
        });
        Ok(work.await?)
    }

    /// Waits until nothing that [`Attempt::blocking`] started runs any more.
    pub(crate) async fn threads_end(&self) {
        let mut running = self.blocking.subscribe();
        running.wait_for(|running| *running == 0).await.ok();
    }
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

/// Runs code of that attempt: what it enqueues are its children.
pub(crate) fn within<F: Future>(attempt: Arc<Attempt>, code: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(attempt, code)
}

/// The attempt whose code this task runs, if it does.
pub(crate) fn current() -> Option<Arc<Attempt>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// What a job's methods are given: the [`Attempt`] and the state that `main` built.
#[derive(Debug)]
pub struct Context<S = ()> {
    state: Arc<S>,
    attempt: Arc<Attempt>,
}

impl<S> Context<S> {
    pub(crate) fn new(state: Arc<S>, attempt: Arc<Attempt>) -> Self {
        Self { state, attempt }
    }

    /// What `main` built once at cold start.
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
