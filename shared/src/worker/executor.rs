//! Runs one attempt. Its body runs as a separate task. On another thread, this module renews the lease, writes checkpoints and
//! watches the time.

use std::{any::Any, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    task::JoinError,
    time::{Instant, sleep_until, timeout},
};
use tracing::Instrument;

use super::{
    batch::{Batch, Task},
    decode::{Delivery, Work},
    engine::Polling,
};
use crate::{
    JobError, Policy,
    attempt::{Attempt, Save},
    clock::from_millis,
    job::{BoundJob, Hook},
    lifecycle::{Ending, FollowUp, Outcome, SKEW, renewed},
    queue::Visibility,
    record::{Failure, Record},
    store::{StoreError, Write, Written},
    traces::Span,
};

/// A granted claim.
pub(crate) struct Granted {
    pub(crate) record: Arc<Record>,
    pub(crate) stored: Stored,
    /// The instant just before the claim was sent.
    pub(crate) asked: Instant,
    /// The job to run, if its arguments were bound before the claim.
    pub(crate) work: Option<Box<Work>>,
    /// `true` if the record held the message of the job, and this delivery may be a late copy of a deleted message. No other delivery then
    /// tells the dependents of the job if this one dies, so the due index must list the job until they have been told. A copy that is
    /// delivered a second time, after its first attempt, does not count: if it dies too, a beater finds the dependents within an hour.
    pub(crate) is_owed: bool,
}

/// The state of an attempt's record in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Yes,
    /// It is not written yet. The first renewal, checkpoint or progress writes it. If there is none, an ending for which
    /// `Ending::is_trouble` is true writes it.
    NotYet,
    /// A write was sent, but its answer has not arrived or was lost.
    Unknown,
    /// The table did not answer, and the policy runs the job without a record.
    Never,
}

impl Stored {
    /// Returns the record that the next write must find in the table.
    pub(crate) fn seen(self, record: &Arc<Record>) -> Option<Arc<Record>> {
        (self == Self::Yes).then(|| Arc::clone(record))
    }
}

/// The end of an attempt's body.
pub(crate) enum Ran {
    Completed(Outcome),
    /// The lease is lost, so nothing may be written.
    Lost,
}

/// A running attempt.
pub(crate) struct Execution<'a> {
    job: Arc<dyn BoundJob>,
    attempt: Arc<Attempt>,
    batch: &'a Batch<'a>,
    receipt: &'a str,
    queue: &'a str,
    policy: &'a Policy,
    /// The stored record. If none is stored, the record that the claim would have written.
    pub(crate) record: Arc<Record>,
    /// The instant until which the lease is certainly held, on the monotonic clock.
    pub(crate) held_until: Instant,
    /// The state of the record in the table.
    pub(crate) stored: Stored,
    renew_at: Instant,
    timeout_at: Instant,
    checkpointed: bool,
    visibility_set: bool,
    /// A pending change of the message's visibility timeout.
    visibility: Option<BoxFuture<'a, ()>>,
}

type Joined = Result<Result<Value, JobError>, JoinError>;
type Body = Task<Result<Value, JobError>>;

/// A pending write of the running record.
struct Renewal<'a> {
    next: Arc<Record>,
    asked: Instant,
    save: Option<Save>,
    written: BoxFuture<'a, Result<Written, StoreError>>,
}

/// The lease of an attempt, as far as is known.
#[derive(Clone, Copy, PartialEq)]
enum Lease {
    Held,
    Lost,
}

/// The reason for stopping a body.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    Timeout,
    Deadline,
    Cancel,
    Lost,
}

impl<'a> Execution<'a> {
    pub(crate) fn start(
        work: Work,
        delivery: &'a Delivery,
        policy: &'a Policy,
        granted: Granted,
        span: Span,
        batch: &'a Batch<'a>,
    ) -> Self {
        let timeout_at = policy.timeout.and_then(|timeout| Instant::now().checked_add(timeout)).unwrap_or(batch.limits().stop_at);
        let stop_at = timeout_at.min(batch.limits().stop_at);
        let (record, message) = (Arc::clone(&granted.record), Arc::clone(&delivery.message));
        let records = batch.engine.records(&record);
        let attempt = Attempt::new(record, records, message, work.origin, span, batch.engine.clock.clone(), stop_at);
        Self {
            job: work.job,
            attempt,
            batch,
            receipt: &delivery.message.receipt,
            queue: &delivery.message.queue,
            policy,
            record: granted.record,
            held_until: granted.asked + policy.lease,
            stored: granted.stored,
            renew_at: granted.asked + policy.lease / 3,
            timeout_at,
            checkpointed: false,
            visibility_set: false,
            visibility: None,
        }
    }

    /// Runs the body until it ends or is stopped.
    pub(crate) async fn run(&mut self) -> Ran {
        if let Some(ran) = self.too_late() {
            return ran;
        }
        if self.policy.fast_recovery && !self.is_polled() {
            self.keep_invisible(self.invisible_for());
            OptionFuture::from(self.visibility.take()).await;
        }
        let mut body = self.spawn();
        let mut renewal = None;
        let (mut outcome, mut lease, stop) = match self.watch(&mut body, &mut renewal).await {
            Ok(joined) => (self.outcome(joined), Lease::Held, Stop::Timeout),
            Err(stop) => (self.stop(&mut body, stop).await, stop.lease(), stop),
        };
        if !self.threads_end().await {
            outcome = self.blocked(stop);
        }
        if lease == Lease::Held {
            lease = self.settle_last(renewal).await.map_or(Lease::Held, Stop::lease);
        }
        match self.tear_down(lease).await {
            Lease::Held => Ran::Completed(outcome),
            Lease::Lost => Ran::Lost,
        }
    }

    /// Returns the end of the attempt if the claim took so long that no time is left.
    fn too_late(&self) -> Option<Ran> {
        let now = Instant::now();
        if self.is_fenced() && now >= self.held_until {
            return Some(Ran::Lost);
        }
        let failure = || self.failure("not_started", "no time was left to start it".into());
        (now >= self.batch.limits().ask_to_stop_at).then(|| Ran::Completed(Outcome::Failure(failure(), FollowUp::Return)))
    }

    /// Watches the body until it ends or must be stopped, and renews its lease.
    async fn watch(&mut self, body: &mut Body, renewal: &mut Option<Renewal<'a>>) -> Result<Joined, Stop> {
        let mut stop = self.batch.engine.polling.as_ref().map(|polling| polling.stop.clone());
        loop {
            tokio::select! { biased;
                joined = &mut *body => return Ok(joined),
                () = sleep_until(self.alarm(renewal.as_ref())) => self.act(renewal)?,
                Some(written) = OptionFuture::from(renewal.as_mut().map(|renewal| renewal.written.as_mut())) => {
                    if let Some(stop) = renewal.take().and_then(|renewal| self.settle(renewal, written)) {
                        return Err(stop);
                    }
                }
                Some(()) = OptionFuture::from(self.visibility.as_mut()) => self.visibility = None,
                Some(()) = OptionFuture::from(stop.as_mut().map(Polling::changed)) => {} // the alarm has changed
                () = self.attempt.progressed(), if renewal.is_none() && self.stored == Stored::NotYet => *renewal = Some(self.renew(None)),
                save = self.attempt.next_save(), if renewal.is_none() => {
                    if self.is_fenced() {
                        *renewal = Some(self.renew(Some(save)));
                    } else {
                        save.saved.send(Err("the job runs without a record, so the checkpoint cannot be stored")).ok();
                    }
                }
            }
        }
    }

    /// Returns the instant of the next [`Execution::act`].
    fn alarm(&self, renewal: Option<&Renewal<'a>>) -> Instant {
        let held_until = Some(self.held_until).filter(|_| self.is_fenced());
        let renew_at = Some(self.renew_at).filter(|_| self.is_fenced() && renewal.is_none());
        let ask_to_stop_at = Some(self.batch.limits().ask_to_stop_at).filter(|_| !self.attempt.is_stopping());
        let first = [held_until, renew_at, ask_to_stop_at].into_iter().flatten().min();
        first.map_or(self.stop_at(), |first| first.min(self.stop_at()))
    }

    /// Takes the actions that are due: stops, asks to stop, or renews.
    fn act(&mut self, renewal: &mut Option<Renewal<'a>>) -> Result<(), Stop> {
        let now = Instant::now();
        // The clock of instants stands still while a machine sleeps, which a function never does.
        let has_slept = self.is_polled() && self.stored == Stored::Yes && lease_is_over(&self.record, self.batch.engine.clock.now());
        if self.is_fenced() && (now >= self.held_until || has_slept) {
            return Err(Stop::Lost);
        }
        if now >= self.stop_at() {
            return Err(if self.timeout_at < self.batch.limits().stop_at { Stop::Timeout } else { Stop::Deadline });
        }
        if now >= self.batch.limits().ask_to_stop_at {
            self.attempt.ask_to_stop(if self.is_polled() { "the worker stops" } else { "the invocation ends" }, self.stop_at());
        }
        if self.is_fenced() && renewal.is_none() && now >= self.renew_at {
            *renewal = Some(self.renew(None));
        }
        Ok(())
    }

    /// Returns `true` if the attempt has a record, or may still write one.
    fn is_fenced(&self) -> bool {
        self.stored != Stored::Never
    }

    /// Returns `true` if the worker receives its messages itself.
    fn is_polled(&self) -> bool {
        self.batch.engine.polling.is_some()
    }

    /// Returns the instant at which the body is stopped.
    fn stop_at(&self) -> Instant {
        self.timeout_at.min(self.batch.limits().stop_at)
    }

    fn spawn(&self) -> Body {
        let body = Arc::clone(&self.job).run(Arc::clone(&self.attempt));
        let span = tracing::info_span!("attempt", id = self.record.id, job = self.record.name, attempt = self.record.attempts);
        Task(self.batch.engine.bodies.spawn(body.instrument(span)))
    }

    /// Starts a write that extends the lease, with a new checkpoint or progress. For an attempt that is not recorded yet, this write
    /// is the claim.
    fn renew(&mut self, save: Option<Save>) -> Renewal<'a> {
        let batch = self.batch;
        let asked = Instant::now();
        let mut next = renewed(&self.record, self.policy.lease, batch.engine.clock.now());
        next.progress = self.attempt.take_progress().or(next.progress);
        match &save {
            Some(save) => next.checkpoint = Some(save.checkpoint.clone()),
            // A checkpoint does not postpone the next renewal, since only renewals keep the message invisible.
            None => self.renew_at = asked + self.policy.lease / 3,
        }
        let next = Arc::new(next);
        let write = Write { next: Arc::clone(&next), seen: self.stored.seen(&self.record) };
        if self.stored == Stored::NotYet {
            self.stored = Stored::Unknown;
        }
        Renewal { next, asked, save, written: batch.ledger.write(write).boxed() }
    }

    /// Returns the time after which the message of a crashed attempt comes back, when its lease is over on every clock.
    fn invisible_for(&self) -> Duration {
        self.policy.lease + 2 * SKEW + Duration::from_secs(1)
    }

    /// Keeps the message invisible while the lease may be held. The attempt does not wait for the response.
    fn keep_invisible(&mut self, timeout: Duration) {
        let (batch, queue) = (self.batch, self.queue);
        let change = Visibility { receipt: self.receipt.into(), timeout };
        self.visibility = Some(async move { batch.set_visibility(queue, &[change]).await }.boxed());
        self.visibility_set = true;
    }

    /// Applies the result of a renewal. Returns the reason if the body must stop.
    fn settle(&mut self, renewal: Renewal<'a>, written: Result<Written, StoreError>) -> Option<Stop> {
        if !matches!(written, Ok(Written::Done)) {
            self.attempt.keep_progress(renewal.next.progress.as_ref());
        }
        let (saved, stop) = match written {
            Ok(Written::Done) => {
                (self.record, self.stored) = (renewal.next, Stored::Yes);
                self.held_until = renewal.asked + self.policy.lease;
                self.checkpointed |= renewal.save.is_some();
                if renewal.save.is_none() && !self.is_polled() {
                    self.keep_invisible(self.invisible_for());
                }
                (Ok(()), None)
            }
            Ok(Written::Refused(Some(stored))) if self.is_ours(&stored) && stored.cancel_requested => {
                (self.record, self.stored) = (Arc::from(stored), Stored::Yes);
                (Err("the job was cancelled"), Some(Stop::Cancel))
            }
            // An earlier renewal was written after all: renew again on top of it.
            Ok(Written::Refused(Some(stored))) if self.is_ours(&stored) => {
                (self.record, self.stored) = (Arc::from(stored), Stored::Yes);
                self.renew_at = Instant::now();
                renewal.save.into_iter().for_each(|save| self.attempt.save(save));
                return None;
            }
            Ok(Written::Refused(_)) => (Err("the attempt has lost its lease"), Some(Stop::Lost)),
            Err(error) => {
                tracing::warn!(id = self.record.id, %error, "cannot renew the lease");
                self.renew_at = Instant::now() + self.policy.lease / 10;
                (Err("the checkpoint could not be written"), None)
            }
        };
        if let Some(save) = renewal.save {
            save.saved.send(saved).ok();
        }
        stop
    }

    fn is_ours(&self, stored: &Record) -> bool {
        stored.is_run_by(self.record.owner.as_deref())
    }

    /// Waits for a pending write after the body has ended, since a record has one writer at a time.
    async fn settle_last(&mut self, renewal: Option<Renewal<'a>>) -> Option<Stop> {
        let mut renewal = renewal?;
        let written = renewal.written.as_mut().await;
        self.settle(renewal, written)
    }

    /// Stops the body. A body that neither ends nor yields within the grace period is left behind, and the process exits.
    async fn stop(&mut self, body: &mut Body, stop: Stop) -> Outcome {
        self.attempt.ask_to_stop(self.reason(stop), Instant::now());
        body.abort();
        match timeout(self.batch.grace, &mut *body).await {
            Ok(joined) if !is_aborted(&joined) => self.outcome(joined),
            Ok(_) => self.stopped(stop),
            Err(_) => {
                self.left_behind();
                self.blocked(stop)
            }
        }
    }

    /// Returns the outcome of an attempt whose thread is still blocked.
    fn blocked(&self, stop: Stop) -> Outcome {
        if stop == Stop::Deadline && self.is_polled() {
            // The attempt does not count. The process ends before the message is visible again.
            return Outcome::Failure(self.failure(stop.kind(), self.reason(stop).into()), FollowUp::Return);
        }
        self.stopped(Stop::Timeout)
    }

    /// Waits for the work that [`Attempt::blocking`] started. Returns `true` if it has ended.
    async fn threads_end(&mut self) -> bool {
        if !self.attempt.has_threads() {
            return true;
        }
        let in_time = timeout(self.batch.grace, self.attempt.threads_end()).await.is_ok();
        if !in_time {
            self.left_behind();
        }
        in_time
    }

    fn left_behind(&self) {
        tracing::error!(id = self.record.id, "the attempt has ended, but a thread of its job is still blocked");
        self.batch.mark_stuck();
    }

    /// A job that a worker interrupts because it stops has not failed. A job that takes longer than an invocation has, unless it saves
    /// checkpoints.
    fn stopped(&self, stop: Stop) -> Outcome {
        let resumes = stop == Stop::Deadline && (self.checkpointed || self.is_polled());
        let next = if resumes { FollowUp::Resume } else { FollowUp::Retry(None) };
        Outcome::Failure(self.failure(stop.kind(), self.reason(stop).into()), next)
    }

    fn reason(&self, stop: Stop) -> &'static str {
        match stop {
            Stop::Deadline if self.is_polled() => "the worker stopped before the attempt ended",
            stop => stop.reason(),
        }
    }

    fn outcome(&self, joined: Joined) -> Outcome {
        match joined {
            Ok(Ok(output)) => Outcome::Success(output),
            Ok(Err(error)) => Outcome::Failure(self.failure(error.kind_or_default(), error.to_string()), error.follow_up),
            Err(error) => {
                let panic = error.try_into_panic().map_or_else(|error| error.to_string(), |panic| panic_message(&*panic));
                Outcome::Failure(self.failure("panic", panic), FollowUp::Retry(None))
            }
        }
    }

    fn failure(&self, kind: &str, message: String) -> Failure {
        Failure::new(kind, message, self.batch.engine.clock.now())
    }

    /// Runs the hook that follows each attempt, and keeps the lease meanwhile. Returns the state of the lease.
    async fn tear_down(&mut self, mut lease: Lease) -> Lease {
        if !self.job.has(&Hook::TearDown) {
            return lease;
        }
        let (job, attempt) = (Arc::clone(&self.job), Arc::clone(&self.attempt));
        let mut hook = pin!(call(self.batch, &job, &attempt, Hook::TearDown));
        loop {
            let held = self.is_fenced() && lease == Lease::Held;
            tokio::select! { biased;
                () = &mut hook => return lease,
                () = sleep_until(self.held_until), if held => lease = Lease::Lost,
                () = sleep_until(self.renew_at), if held => {
                    let mut renewal = self.renew(None);
                    let written = renewal.written.as_mut().await;
                    lease = self.settle(renewal, written).map_or(Lease::Held, Stop::lease);
                }
            }
        }
    }

    /// Returns the progress that no renewal has written.
    pub(crate) fn last_progress(&self) -> Option<Value> {
        self.attempt.take_progress()
    }

    /// Sets the visibility timeout and calls the hooks, after the ending was recorded.
    pub(crate) async fn after(&mut self, ending: &Ending, hooks: Vec<Hook>) {
        if *ending == Ending::LeaseLost {
            return; // the message belongs to another worker
        }
        // The renewals shortened the visibility timeout; the message must not return while its neighbours still run.
        if self.visibility_set {
            self.keep_invisible(self.batch.invocation.ends_at.saturating_duration_since(Instant::now()) + SKEW);
        }
        if let Some(visibility) = self.visibility.take() {
            visibility.await;
        }
        for hook in hooks {
            call(self.batch, &self.job, &self.attempt, hook).await;
        }
        self.threads_end().await;
    }
}

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        self.attempt.close();
    }
}

/// Calls a hook, if the job has it. A failure is logged and changes nothing.
pub(crate) async fn call(batch: &Batch<'_>, job: &Arc<dyn BoundJob>, attempt: &Arc<Attempt>, hook: Hook) {
    if job.has(&hook) {
        batch.hook(hook.name(), Arc::clone(job).hook(Arc::clone(attempt), hook)).await;
    }
}

impl Stop {
    fn lease(self) -> Lease {
        if self == Self::Lost { Lease::Lost } else { Lease::Held }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Cancel => "cancelled",
            Self::Lost => "lease_lost",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "the attempt took longer than its timeout",
            Self::Deadline => "the invocation ended before the attempt did",
            Self::Cancel => "the job was cancelled",
            Self::Lost => "the attempt has lost its lease",
        }
    }
}

fn lease_is_over(record: &Record, now: Timestamp) -> bool {
    record.lease_until.is_some_and(|until| from_millis(until) <= now)
}

fn is_aborted<T>(joined: &Result<T, JoinError>) -> bool {
    joined.as_ref().is_err_and(JoinError::is_cancelled)
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".into())
}
