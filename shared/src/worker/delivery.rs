//! One message on its way through: decode, claim, run, record.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::future::FutureExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, sleep},
};
use tracing::Level;
use uuid::Uuid;

use super::{
    batch::Batch,
    executor::{Execution, Ran, call},
    ledger,
};
use crate::{
    Policy, Recording, StoreFailure,
    attempt::{Attempt, Origin},
    clock::{after, until},
    envelope::{Envelope, Reported, Unreadable, check_id, excerpt},
    job::{AnyJob, BoundJob, Hook},
    lifecycle::{self, Claim, Decision, Ending, Fate, Next, Outcome, Request},
    queue::{Message, attribute::ID},
    record::{Failure, Record, State},
    retry::jitter,
    stats::{OTHER_ARGUMENTS, RESERVED, Sample},
    store::{StoreError, Write, Written},
    telemetry::log_at,
};

/// How often a claim is decided anew because the record changed meanwhile.
const CLAIMS: usize = 5;
/// How long before its time a job is waited for instead of returned: a queue's delays are whole seconds.
const MOMENT: Duration = Duration::from_secs(1);

/// A message and what it asks for.
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    pub(crate) id: String,
    pub(crate) decoded: Result<Decoded, Box<Refused>>,
}

/// A message that cannot be run here.
pub(crate) struct Refused {
    ending: Ending,
    reason: Failure,
    /// The job's name; empty where the message cannot be read.
    name: String,
    /// The job, where it is known: its hook is called.
    job: Option<Arc<dyn AnyJob>>,
}

pub(crate) struct Decoded {
    pub(crate) request: Request,
    pub(crate) policy: Policy,
    known: Arc<dyn AnyJob>,
    work: Work,
}

/// A job with its arguments.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) job: Arc<dyn BoundJob>,
    pub(crate) origin: Origin,
}

impl Work {
    fn bind(envelope: &Envelope, known: &Arc<dyn AnyJob>) -> Result<Self, Unreadable> {
        // The types' own code: a panic in it is the message's failure.
        let bound = catch_unwind(AssertUnwindSafe(|| known.bind(envelope)));
        let job = bound.unwrap_or_else(|_| Err(Unreadable::args("reading them panicked")))?;
        Ok(Self { job, origin: Origin { depth: envelope.depth, traceparent: envelope.traceparent.clone(), run_at: envelope.run_at } })
    }
}

/// How a delivery ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    /// Why, where it is bound for the dead-letter queue.
    pub(crate) reason: Option<Failure>,
    /// The record that is to be marked once the dead-letter copy is made.
    pub(crate) record: Option<Arc<Record>>,
    /// Whether the due index holds the job now, in the place of its message.
    filed: bool,
    /// True for a duplicate whose arguments differ from those of the job.
    differs: bool,
    /// True for an ending of which the table knows nothing.
    pub(crate) unwritten: bool,
}

/// What a lane does next.
pub(crate) enum Step {
    Ended(Ended),
    /// Its last attempt was killed: it runs last, and alone.
    Suspect,
}

/// What came of asking for the right to run.
enum Claimed {
    Granted(Granted),
    Ended(Ended),
    Suspect,
}

/// The right to run.
pub(crate) struct Granted {
    pub(crate) record: Arc<Record>,
    pub(crate) stored: Stored,
    /// When the granting request was about to be sent.
    pub(crate) asked: Instant,
}

/// Whether the table holds the record of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Yes,
    /// Trouble writes it.
    NotYet,
    /// It was written, and no answer came.
    Unknown,
    /// The table did not answer, and the policy runs the job all the same.
    Never,
}

impl Stored {
    /// Returns what the next write of the record must find in the table.
    pub(crate) fn seen(self, record: &Arc<Record>) -> Option<Arc<Record>> {
        (self == Self::Yes).then(|| Arc::clone(record))
    }
}

impl From<Ending> for Ended {
    fn from(ending: Ending) -> Self {
        Self { ending, reason: None, record: None, filed: false, differs: false, unwritten: false }
    }
}

impl Ended {
    fn because(ending: Ending, kind: &str, reason: impl Into<String>, batch: &Batch<'_>) -> Self {
        let reason = Failure::new(kind, reason.into(), batch.engine.clock.now());
        Self { reason: Some(reason), ..ending.into() }
    }

    /// A job that has failed for good; its record says why.
    fn failed(record: Arc<Record>) -> Self {
        Self { reason: record.error.clone(), record: Some(record), ..Ending::Failed.into() }
    }

    /// Returns true where the statistics must hold it at once, for the doctor: a message that another version may be able to run,
    /// or a discarded duplicate with other arguments.
    pub(crate) fn is_noted(&self) -> bool {
        self.differs || self.ending == Ending::Parked || self.reason.as_ref().is_some_and(|reason| reason.kind.starts_with(RESERVED))
    }

    /// What becomes of the message.
    pub(crate) fn fate(&self) -> Fate {
        if self.filed { Fate::Delete } else { self.ending.fate() }
    }
}

impl Delivery {
    pub(crate) fn new(message: Message, batch: &Batch<'_>) -> Self {
        let (id, envelope) = message.open();
        let decoded = match envelope {
            Ok(envelope) => decode(&message, &id, envelope, batch),
            Err(error) => Err(Box::new(Refused::rejected(&error, "", None, batch))),
        };
        Self { message: Arc::new(message), id, decoded }
    }

    pub(crate) async fn process(&self, alone: bool, batch: &Batch<'_>) -> Step {
        match &self.decoded {
            Ok(decoded) => self.attempt(decoded, alone, batch).await,
            // Rare, and kept out of the future of every message.
            Err(refused) => self.refuse(refused, alone, batch).boxed().await,
        }
    }

    /// Ends a message that cannot be run here. A live record of its job ends with it: no other message would end it.
    async fn refuse(&self, refused: &Refused, alone: bool, batch: &Batch<'_>) -> Step {
        // The id of a message that has none is new.
        let has_record = self.id != self.message.id || self.message.receives > 1;
        let mut seen = match if has_record && check_id(&self.id).is_ok() { batch.ledger.read(&self.id).await } else { Ok(None) } {
            Ok(seen) => seen.map(Arc::new),
            // The message is no better for a record that cannot be read.
            Err(StoreError::Unreadable { .. }) => None,
            Err(error) => return Step::Ended(self.counted(self.returned(&error), batch)),
        };
        let owner = Uuid::new_v4().simple().to_string();
        let request = Request { name: refused.name.clone(), queue: self.message.queue.clone(), ..Request::default() };
        for _ in 0..CLAIMS {
            // A parked message may meet a worker that knows its job.
            let rejected = seen.as_deref().filter(|_| refused.ending == Ending::Rejected);
            if let Some(decoded) = self.decoded_from(rejected, &refused.name, batch) {
                return self.attempt(&decoded, alone, batch).await;
            }
            let now = batch.engine.clock.now();
            let ended = match lifecycle::refuse(seen.as_deref(), &request, &refused.ending, refused.reason.clone(), &owner, now) {
                Decision::End { next, ending } => {
                    let next = Arc::from(next);
                    match batch.ledger.write(Write { next: Arc::clone(&next), seen }).await {
                        Ok(Written::Done) if ending == Ending::Rejected => Ended { ending, ..Ended::failed(next) },
                        Ok(Written::Done) => ending.into(),
                        Ok(Written::Refused(stored)) => {
                            seen = stored.map(Arc::from);
                            continue;
                        }
                        Err(error) => self.returned(&error),
                    }
                }
                Decision::Leave(Ending::Rejected | Ending::Parked) | Decision::Run { .. } => {
                    Ended { reason: Some(refused.reason.clone()), ..refused.ending.clone().into() }
                }
                Decision::Leave(ending) => Self::left(ending, seen, batch),
            };
            self.tell(refused, &ended, batch).await;
            return Step::Ended(self.counted(ended, batch));
        }
        Step::Ended(self.counted(Ending::NotStarted.into(), batch)) // it changed at each look
    }

    /// The job as its record holds it, where that has other arguments than the message and can be run.
    fn decoded_from(&self, seen: Option<&Record>, name: &str, batch: &Batch<'_>) -> Option<Decoded> {
        // The record of another job that has the id says nothing of this message.
        let seen = seen.filter(|seen| seen.queue == self.message.queue && (name.is_empty() || seen.name == name))?;
        let body = seen.envelope.as_ref().filter(|body| **body != self.message.body)?;
        decode(&self.message, &self.id, Envelope::parse(body).ok()?, batch).ok()
    }

    /// The message of a job whose record could not be read or written.
    fn returned(&self, error: &StoreError) -> Ended {
        tracing::error!(id = self.id, %error, outcome = Ending::NotStarted.as_str(), "cannot end a message that cannot be run");
        Ending::NotStarted.into()
    }

    async fn tell(&self, refused: &Refused, ended: &Ended, batch: &Batch<'_>) {
        let reason = &refused.reason;
        log_at!(
            level(&ended.ending),
            id = self.id,
            job = Some(&refused.name).filter(|name| !name.is_empty()),
            outcome = ended.ending.as_str(),
            kind = reason.kind,
            reason = reason.message,
            message_id = self.message.id,
            request_id = batch.invocation.request_id,
            "message not run"
        );
        if let Some(job) = refused.job.as_ref().filter(|_| ended.ending == Ending::Rejected) {
            batch.hook("on_rejected", job.rejected(reason.message.clone())).await;
        }
    }

    async fn attempt(&self, decoded: &Decoded, alone: bool, batch: &Batch<'_>) -> Step {
        let Some(slot) = batch.slot(decoded).await else {
            return Step::Ended(self.counted(Ending::NotStarted.into(), batch));
        };
        match self.claim(decoded, alone, batch).await {
            Claimed::Granted(granted) => Step::Ended(self.run(decoded, granted, slot, batch).await),
            Claimed::Ended(ended) => Step::Ended(self.counted(ended, batch)),
            Claimed::Suspect => Step::Suspect,
        }
    }

    /// Counts a delivery that has ended without an attempt.
    fn counted(&self, ended: Ended, batch: &Batch<'_>) -> Ended {
        let is_told = ended.fate() == Fate::DeadLetter || matches!(ended.ending, Ending::Parked);
        let kind = ended.reason.as_ref().filter(|_| is_told).map(|reason| &*reason.kind);
        let kind = kind.or(ended.differs.then_some(OTHER_ARGUMENTS));
        let sample = Sample { ending: ended.ending.as_str(), kind, id: Some(&self.id), ..Sample::default() };
        batch.engine.counter.count(&self.message.queue, batch.engine.clock.now(), &sample);
        ended
    }

    /// Logs that this message is discarded as a duplicate: of the job that has this record, or of an earlier one of its batch.
    fn discarded(&self, first: Option<&Record>, differs: bool, batch: &Batch<'_>) {
        log_at!(
            if differs { Level::WARN } else { Level::INFO },
            id = self.id,
            outcome = Ending::Duplicate.as_str(),
            state = first.map(|first| first.state.as_str()),
            finished_at = first.and_then(|first| first.finished_at).map(tracing::field::display),
            message_id = self.message.id,
            request_id = batch.invocation.request_id,
            "{}",
            if differs { "duplicate discarded; its arguments differ, and did not run" } else { "duplicate discarded" }
        );
    }

    /// Discards a duplicate of an earlier message of the same batch. None: it cannot be read.
    pub(crate) fn repeats(&self, first: &Self, batch: &Batch<'_>) -> Option<Ended> {
        let (Ok(own), Ok(first)) = (&self.decoded, &first.decoded) else { return None };
        let differs = own.request.digest != first.request.digest;
        self.discarded(None, differs, batch);
        Some(self.counted(Ended { differs, ..Ending::Duplicate.into() }, batch))
    }

    /// Writes the right to run, unless the record says otherwise.
    async fn claim(&self, decoded: &Decoded, alone: bool, batch: &Batch<'_>) -> Claimed {
        let claim = Claim { owner: Uuid::new_v4().simple().to_string(), lease: decoded.policy.lease };
        let mut seen: Option<Arc<Record>> = None;
        // What the library itself has sent names its job, which has a record.
        let has_record = self.message.attributes.contains_key(ID);
        let unrecorded = lifecycle::starts_unrecorded(&decoded.policy, self.message.receives, has_record);
        if self.message.receives > 1 || has_record {
            match batch.ledger.read(&self.id).await {
                Ok(stored) => seen = stored.map(Arc::new),
                Err(error) => return self.unanswered(decoded, &error, true, batch),
            }
        }
        for look in 0..CLAIMS {
            let asked = Instant::now();
            let now = batch.engine.clock.now();
            let (next, ending) = match lifecycle::decide(seen.as_deref(), &decoded.request, &decoded.policy, &claim, now) {
                Decision::Leave(Ending::Early(due)) if look + 1 < CLAIMS && until(now, due) <= MOMENT => {
                    sleep(until(now, due)).await;
                    continue;
                }
                Decision::Leave(ending) => {
                    if let (Ending::Duplicate, Some(seen)) = (&ending, &seen) {
                        let differs = lifecycle::has_other_arguments(seen, &decoded.request);
                        self.discarded(Some(seen), differs, batch);
                        return Claimed::Ended(Ended { differs, ..Self::left(ending, None, batch) });
                    }
                    return Claimed::Ended(Self::left(ending, seen, batch));
                }
                Decision::Run { suspect: true, .. } if !alone => return Claimed::Suspect,
                Decision::Run { next, .. } if unrecorded && seen.is_none() => {
                    return Claimed::Granted(Granted { record: Arc::from(next), stored: Stored::NotYet, asked });
                }
                Decision::Run { next, .. } => (next, None),
                Decision::End { next, ending } => (next, Some(ending)),
            };
            let next = Arc::from(next);
            let write = Write { next: Arc::clone(&next), seen };
            match (batch.ledger.write(write).await, ending) {
                (Ok(Written::Done), None) => return Claimed::Granted(Granted { record: next, stored: Stored::Yes, asked }),
                (Ok(Written::Done), Some(ending)) => return Claimed::Ended(self.ended(decoded, ending, next, batch).await),
                // Granted after all, and called off since.
                (Ok(Written::Refused(Some(stored))), None) if stored.is_run_by(Some(&claim.owner)) => {
                    return Claimed::Granted(Granted { record: Arc::from(stored), stored: Stored::Yes, asked });
                }
                (Ok(Written::Refused(stored)), _) => seen = stored.map(Arc::from),
                // Too large for the index: the message waits.
                (Err(StoreError::Invalid(_)), Some(ending @ Ending::Early(_))) => return Claimed::Ended(ending.into()),
                (Err(error), ending) => return self.unanswered(decoded, &error, ending.is_none(), batch),
            }
        }
        Claimed::Ended(Ending::NotStarted.into()) // it changed at each look
    }

    /// A job that has ended without a run.
    async fn ended(&self, decoded: &Decoded, ending: Ending, record: Arc<Record>, batch: &Batch<'_>) -> Ended {
        let what = if record.state.is_terminal() { "job ended" } else { "job filed until it is due" };
        log_at!(
            level(&ending),
            id = self.id,
            job = record.name,
            outcome = ending.as_str(),
            kind = record.error.as_ref().map(|error| error.kind.as_str()),
            error = record.error.as_ref().map(|error| error.message.as_str()),
            request_id = batch.invocation.request_id,
            "{what}"
        );
        if ending != Ending::Failed {
            return Ended { filed: record.state == State::Scheduled, ..ending.into() };
        }
        let work = &decoded.work;
        let (attempt, _) =
            Attempt::new(Arc::clone(&record), Arc::clone(&self.message), work.origin.clone(), batch.engine.clock.clone(), batch.stop_at);
        for hook in hooks_of(&ending, record.error.clone()) {
            call(batch, &work.job, &attempt, hook).await;
        }
        Ended::failed(record)
    }

    /// An ending that writes nothing.
    fn left(ending: Ending, seen: Option<Arc<Record>>, batch: &Batch<'_>) -> Ended {
        match (&ending, seen) {
            (Ending::Failed, Some(record)) => Ended::failed(record),
            (Ending::Foreign, Some(record)) => {
                let reason = Some(lifecycle::id_in_use(&record, batch.engine.clock.now()));
                Ended { reason, ..Ending::Foreign.into() }
            }
            (Ending::Early(_), Some(record)) => Ended { filed: lifecycle::is_filed(&record, batch.engine.clock.now()), ..ending.into() },
            _ => ending.into(),
        }
    }

    /// The store did not answer, or cannot: the policy says what then. `may_run`: nothing that is known speaks against.
    fn unanswered(&self, decoded: &Decoded, error: &StoreError, may_run: bool, batch: &Batch<'_>) -> Claimed {
        let ended = match (error, decoded.policy.on_store_failure) {
            (StoreError::Unreadable { .. }, _) => Ended::because(Ending::Rejected, "unreadable_record", error.to_string(), batch),
            (StoreError::Invalid(_), _) => Ended::because(Ending::Rejected, "unstorable", error.to_string(), batch),
            (_, StoreFailure::Run) if may_run => {
                tracing::warn!(id = self.id, %error, "runs without a record");
                let record = Arc::new(imagined(decoded, batch));
                return Claimed::Granted(Granted { record, stored: Stored::Never, asked: Instant::now() });
            }
            (_, StoreFailure::Skip) => Ending::Skipped.into(),
            (_, StoreFailure::Run | StoreFailure::Retry) => Ending::NotStarted.into(),
        };
        tracing::error!(id = self.id, %error, outcome = ended.ending.as_str(), "cannot claim");
        Claimed::Ended(ended)
    }

    /// What to run: from the message, or from the record where it holds other arguments.
    fn work(decoded: &Decoded, record: &Record) -> Result<Work, Unreadable> {
        match &record.envelope {
            None => Ok(decoded.work.clone()),
            Some(body) if *body == decoded.request.body => Ok(decoded.work.clone()),
            Some(body) => Work::bind(&Envelope::parse(body)?, &decoded.known),
        }
    }

    async fn run(&self, decoded: &Decoded, granted: Granted, slot: SemaphorePermit<'_>, batch: &Batch<'_>) -> Ended {
        let work = match Self::work(decoded, &granted.record) {
            Ok(work) => work,
            Err(error) => return self.unreadable(decoded, granted, &error, batch).await,
        };
        let body = batch.ledger.running();
        let started = Instant::now();
        let mut execution = Execution::start(work, self, &decoded.policy, granted, batch);
        let ran = execution.run().await;
        let took = started.elapsed();
        drop(slot);
        let (ended, failure) = match ran {
            Ran::Lost => (self.counted(Ending::LeaseLost.into(), batch), None),
            Ran::Ended(outcome) if execution.stored == Stored::Never => unrecorded(&execution.record, outcome, decoded, batch),
            Ran::Ended(outcome) => {
                let (record, stored) = (Arc::clone(&execution.record), execution.stored);
                let running = Running { record, stored, progress: execution.last_progress(), ran: Some(took) };
                self::record(running, outcome, decoded, execution.held_until, Some(body), batch).await
            }
        };
        self.log(&execution.record, &ended, failure.as_ref(), millis(took), batch);
        execution.after(&ended.ending, hooks_of(&ended.ending, failure)).await;
        ended
    }

    /// The arguments that the record holds do not fit the job.
    async fn unreadable(&self, decoded: &Decoded, granted: Granted, error: &Unreadable, batch: &Batch<'_>) -> Ended {
        let failure = Failure::new("rejected", error.to_string(), batch.engine.clock.now());
        let outcome = Outcome::Failure(failure, Next::GiveUp);
        let running = Running { record: granted.record, stored: granted.stored, progress: None, ran: None };
        record(running, outcome, decoded, granted.asked + decoded.policy.lease, None, batch).await.0
    }

    fn log(&self, record: &Record, ended: &Ended, failure: Option<&Failure>, run_ms: u64, batch: &Batch<'_>) {
        log_at!(
            level(&ended.ending),
            id = self.id,
            job = record.name,
            attempt = record.attempts,
            generation = record.generation,
            outcome = ended.ending.as_str(),
            kind = failure.map(|failure| failure.kind.as_str()),
            error = failure.map(|failure| failure.message.as_str()),
            run_ms,
            waited_ms = record.enqueued_at.zip(record.started_at).map(|(sent, started)| millis(until(sent, started))),
            request_id = batch.invocation.request_id,
            "job ended"
        );
    }
}

/// The level at which an ending is logged: failures for good are errors, and whatever is tried again is a warning.
fn level(ending: &Ending) -> Level {
    match ending {
        Ending::Failed | Ending::Foreign | Ending::Rejected => Level::ERROR,
        Ending::Retried(_) | Ending::Expired | Ending::LeaseLost | Ending::Parked | Ending::Skipped => Level::WARN,
        Ending::Succeeded
        | Ending::Snoozed(_)
        | Ending::Interrupted
        | Ending::NotStarted
        | Ending::Held
        | Ending::Early(_)
        | Ending::Busy(_)
        | Ending::Duplicate
        | Ending::Repeated
        | Ending::Cancelled => Level::INFO,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The record that there would be.
fn imagined(decoded: &Decoded, batch: &Batch<'_>) -> Record {
    let now = batch.engine.clock.now();
    Record { state: State::Running, attempts: 1, started_at: Some(now), ..lifecycle::created(&decoded.request, &decoded.policy) }
}

/// How an attempt ends that runs without a record.
fn unrecorded(running: &Record, outcome: Outcome, decoded: &Decoded, batch: &Batch<'_>) -> (Ended, Option<Failure>) {
    let (record, ending) = lifecycle::finish(running, outcome, &decoded.policy, jitter(), batch.engine.clock.now());
    (Ended { reason: record.error.clone(), ..ending.into() }, record.error)
}

/// The hooks that an ending calls, in order.
fn hooks_of(ending: &Ending, failure: Option<Failure>) -> Vec<Hook> {
    let failure = failure.unwrap_or_default();
    match ending {
        Ending::Succeeded => vec![Hook::Success],
        Ending::Retried(_) => vec![Hook::Failure(failure.clone()), Hook::Retry(failure)],
        Ending::Failed => vec![Hook::Failure(failure.clone()), Hook::PermanentFailure(failure)],
        _ => Vec::new(),
    }
}

/// An attempt that is to be recorded: its record as it is stored, or would be, and the progress that is not.
struct Running {
    record: Arc<Record>,
    stored: Stored,
    progress: Option<Value>,
    /// How long its body ran, until that is counted.
    ran: Option<Duration>,
}

impl Running {
    /// The record with everything that is known.
    fn whole(&self) -> Cow<'_, Record> {
        match &self.progress {
            None => Cow::Borrowed(&self.record),
            Some(progress) => Cow::Owned(Record { progress: Some(progress.clone()), ..Record::clone(&self.record) }),
        }
    }
}

/// Writes how an attempt ended, if it still has the right to.
async fn record(
    mut running: Running,
    mut outcome: Outcome,
    decoded: &Decoded,
    held_until: Instant,
    mut body: Option<ledger::Running<'_>>,
    batch: &Batch<'_>,
) -> (Ended, Option<Failure>) {
    let (mut fits, mut files) = (true, true);
    let mut counted = false;
    for _ in 0..CLAIMS {
        if Instant::now() >= held_until {
            break;
        }
        let now = batch.engine.clock.now();
        let (mut next, ending) = lifecycle::finish(&running.whole(), outcome.clone(), &decoded.policy, jitter(), now);
        if files {
            next = lifecycle::put_off(next, &decoded.request, &decoded.policy, now);
        }
        if !fits {
            (next.progress, next.checkpoint) = (None, None);
        }
        if !counted {
            count(&running, &next, &ending, decoded, now, batch);
            counted = true;
        }
        if running.stored == Stored::NotYet && running.progress.is_none() && !ending.is_trouble() {
            return (Ended { unwritten: true, ..ending.into() }, None);
        }
        let next = Arc::new(next);
        let write = Write { next: Arc::clone(&next), seen: running.stored.seen(&running.record) };
        match batch.ledger.finish(write, body.take()).await {
            Ok(Written::Done) => return recorded(ending, next),
            // A renewal or a request to cancel came between.
            Ok(Written::Refused(Some(stored))) if stored.is_run_by(running.record.owner.as_deref()) => {
                (running.record, running.stored) = (Arc::from(stored), Stored::Yes);
            }
            Ok(Written::Refused(_)) => break,
            // Too large for the index: the message waits.
            Err(StoreError::Invalid(_)) if files && next.state == State::Scheduled => files = false,
            Err(StoreError::Invalid(reason)) => {
                batch.engine.counter.take_back(&running.record.queue, now, ending.as_str());
                (fits, counted, running.ran) = (false, false, None);
                let failure = Failure::new("result", format!("the result cannot be stored: {reason}"), now);
                outcome = Outcome::Failure(failure, Next::GiveUp);
            }
            Err(error) => {
                tracing::error!(id = running.record.id, %error, "cannot record how the attempt ended");
                break;
            }
        }
    }
    (Ending::LeaseLost.into(), None)
}

/// Counts an attempt, before the request that records it: they go together.
fn count(running: &Running, next: &Record, ending: &Ending, decoded: &Decoded, now: Timestamp, batch: &Batch<'_>) {
    let Running { record, ran, .. } = running;
    let due = record.enqueued_at.max(decoded.request.run_at);
    let kind = next.error.as_ref().filter(|_| matches!(ending, Ending::Failed | Ending::Retried(_))).map(|error| &*error.kind);
    let is_first = record.generation == 1 && ran.is_some();
    let wait = due.zip(record.started_at).filter(|_| is_first).map(|(due, started)| (until(due, started), started));
    batch.engine.counter.count(&record.queue, now, &Sample { ending: ending.as_str(), kind, id: None, run: *ran, wait });
}

fn recorded(ending: Ending, record: Arc<Record>) -> (Ended, Option<Failure>) {
    let failure = record.error.clone();
    match ending {
        Ending::Failed => (Ended::failed(record), failure),
        ending => (Ended { filed: record.state == State::Scheduled, ..ending.into() }, failure),
    }
}

fn decode(message: &Message, id: &str, envelope: Envelope, batch: &Batch<'_>) -> Result<Decoded, Box<Refused>> {
    static REPORTED: Reported = Reported::new();
    for (field, remedy) in REPORTED.new_in(&envelope) {
        tracing::warn!(
            id,
            job = envelope.name,
            field,
            message_id = message.id,
            request_id = batch.invocation.request_id,
            "unknown field ignored, which is no field of a message: {remedy}; this process reports it once"
        );
    }
    if let Some(feature) = envelope.unsupported() {
        return Err(Box::new(parked(message, "contract", format!("it asks for {feature}"), &envelope.name, batch)));
    }
    if let Some(field) = envelope.reserved() {
        let flaw = envelope.check_reserved().err().map(|flaw| flaw.to_string()).unwrap_or_default();
        let reason = Failure::new(format!("{RESERVED}{field}"), flaw, batch.engine.clock.now());
        return Err(Box::new(Refused { ending: Ending::Rejected, reason, name: envelope.name, job: None }));
    }
    let Some(known) = batch.engine.jobs.get(&envelope.name) else {
        let reason = format!("there is no job named \"{}\" here; this worker has {}", excerpt(&envelope.name), batch.engine.jobs);
        return Err(Box::new(parked(message, "parked", reason, &envelope.name, batch)));
    };
    let work = match Work::bind(&envelope, known) {
        Ok(work) => work,
        Err(error) => return Err(Box::new(Refused::rejected(&error, known.name(), Some(Arc::clone(known)), batch))),
    };
    let mut policy = *known.policy();
    if batch.engine.records_always {
        policy.recording = Recording::Always;
    }
    policy.timeout = envelope.timeout_s.map(Duration::from_secs_f64).or(policy.timeout);
    let request = Request {
        id: id.to_owned(),
        name: known.name().to_owned(),
        queue: message.queue.clone(),
        sent_at: message.sent_at,
        dead: message.dead(),
        message_group: message.group.clone(),
        message_attributes: message.own_attributes(),
        ..Request::of(envelope, message.body.clone())
    };
    Ok(Decoded { request, policy, known: Arc::clone(known), work })
}

/// A message for a worker that this one is not: it waits for such a one, then it is a dead letter.
fn parked(message: &Message, kind: &str, reason: String, name: &str, batch: &Batch<'_>) -> Refused {
    let now = batch.engine.clock.now();
    let too_long = message.sent_at.is_some_and(|sent| after(sent, batch.engine.parks_for) <= now);
    let ending = if too_long { Ending::Rejected } else { Ending::Parked };
    Refused { ending, reason: Failure::new(kind, reason, now), name: name.into(), job: None }
}

impl Refused {
    fn rejected(flaw: &Unreadable, name: &str, job: Option<Arc<dyn AnyJob>>, batch: &Batch<'_>) -> Self {
        let reason = Failure::new("rejected", flaw.to_string(), batch.engine.clock.now());
        Self { ending: Ending::Rejected, reason, name: name.into(), job }
    }
}
