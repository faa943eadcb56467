//! Processes one message: claim, run, record.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::{FutureExt, join_all};
use serde_json::Map;
use tokio::{sync::SemaphorePermit, time::Instant};
use uuid::Uuid;

use super::{
    batch::Batch,
    claim::{Claimed, Turn},
    decode::{Decoded, Delivery, Refused, Unusable, Work, decode},
    ending::{CLAIMS, Repeat, Running, Settlement, end, hooks_of, level, millis, unrecorded},
    executor::{Execution, Granted, Ran, Stored},
    metered,
};
use crate::{
    envelope::{Envelope, are_of_one_function, check_id},
    job::AnyJob,
    lifecycle::{self, Decision, Ending, FollowUp, Outcome, Request},
    record::{Failure, Record},
    store::{StoreError, Write, Written},
    telemetry::log_ending,
    traces::{self, Processed, Span},
};

/// The result of processing a message.
pub(crate) enum Step {
    Settle(Settlement),
    /// The process of the job's last attempt died: the job runs last, and alone.
    Suspect,
    /// The store cannot hold the record of the job.
    Refuse(Refused),
}

impl Delivery {
    pub(crate) async fn process(&self, turn: Turn, batch: &Batch<'_>) -> Step {
        let step = match &self.decoded {
            Ok(decoded) => match self.attempt(decoded, turn, batch).await {
                Step::Refuse(refused) => self.refuse(&refused, turn, batch).boxed().await,
                step => step,
            },
            // Boxed, since it is rare and would enlarge the future of every message.
            Err(refused) => self.refuse(refused, turn, batch).boxed().await,
        };
        match step {
            Step::Settle(settlement) => Step::Settle(self.resolved(settlement, batch).await),
            step => step,
        }
    }

    /// Settles a message that this worker cannot run. If the message is rejected, the unfinished record of its job ends too, since no
    /// other message would end it. A job without a record gets a failed one if a producer has given its id: other jobs may wait for it.
    async fn refuse(&self, refused: &Refused, turn: Turn, batch: &Batch<'_>) -> Step {
        // A message that has no id and arrives for the first time cannot have a record.
        let is_valid = check_id(&self.id).is_ok();
        let (is_given, is_again) = (is_valid && self.id != self.message.id, is_valid && self.message.receives > 1);
        let (mut seen, is_given) = match if is_given || is_again { batch.ledger.read(&self.id).await } else { Ok(None) } {
            Ok(seen) => (seen.map(Arc::new), is_given),
            // An unreadable record contains no message that can be run instead, and stays as it is.
            Err(StoreError::Unreadable { .. }) => (None, false),
            Err(error) => return Step::Settle(self.counted(self.returned(&error), batch)),
        };
        let owner = Uuid::new_v4().simple().to_string();
        let request = self.refused_request(refused, is_given);
        for _ in 0..CLAIMS {
            // The record of the job may hold another message. If this message is rejected and the other one can be run, the job runs from
            // the other one. A parked message may still reach a worker that knows its job.
            let rejected = seen.as_deref().filter(|_| refused.ending == Ending::Rejected && refused.reason.kind != lifecycle::UNSTORABLE);
            if let Some(decoded) = self.decoded_from(rejected, &refused.name, batch) {
                return self.attempt(&decoded, turn, batch).await;
            }
            let now = batch.engine.clock.now();
            let settlement = match lifecycle::refuse(seen.as_deref(), &request, &refused.ending, &refused.reason, &owner, now) {
                Decision::End { next, ending } => {
                    let next = Arc::from(next);
                    match batch.ledger.write(Write { next: Arc::clone(&next), seen }).await {
                        Ok(Written::Done) if ending == Ending::Rejected => {
                            Settlement { ending, ..Settlement::failed(Arc::clone(&next)) }.with_dependents_of(&next)
                        }
                        // Only its dependents were written.
                        Ok(Written::Done) if ending == Ending::Duplicate => {
                            seen = Some(next);
                            continue;
                        }
                        Ok(Written::Done) => Settlement::from(ending).with_dependents_of(&next),
                        Ok(Written::Refused(stored)) => {
                            seen = stored.map(Arc::from);
                            continue;
                        }
                        Err(StoreError::Invalid(_)) => Settlement { reason: Some(refused.reason.clone()), ..refused.ending.clone().into() },
                        Err(error) => self.returned(&error),
                    }
                }
                left => {
                    let settlement = match left {
                        Decision::Leave(ending) if !matches!(ending, Ending::Rejected | Ending::Parked) => {
                            Self::left(ending, seen.clone(), batch)
                        }
                        _ => Settlement { reason: Some(refused.reason.clone()), ..refused.ending.clone().into() },
                    };
                    // The process that has ended the job may have died before it told the dependents.
                    match &seen {
                        Some(seen) => settlement.with_dependents_of(seen),
                        None => settlement,
                    }
                }
            };
            let settlement = self.resolved(settlement, batch).await;
            self.tell(refused, &settlement, batch).await;
            return Step::Settle(self.counted(settlement, batch));
        }
        Step::Settle(self.counted(Ending::NotStarted.into(), batch)) // the record changed at each attempt
    }

    /// Returns the request of a message that cannot be run, without its labels, which may be too large for a record. The id is empty if no
    /// producer has given one.
    fn refused_request(&self, refused: &Refused, is_given: bool) -> Request {
        let asked = Envelope::parse(&self.message.body).map(|envelope| {
            let never_waited = !envelope.jobs.is_empty(); // so that a retry of the workflow sends its other jobs
            let request = Request::of(envelope, String::new());
            Request { dependencies: request.dependencies.filter(|_| !never_waited), ..request }
        });
        let asked = asked.unwrap_or_default();
        Request {
            id: if is_given { self.id.clone() } else { String::new() },
            name: refused.name.clone(),
            queue: self.message.queue.clone(),
            sent_at: self.message.sent_at,
            dead: self.message.dead(),
            tags: Vec::new(),
            meta: Map::new(),
            ..asked
        }
    }

    /// Returns the job from its record, if the record stores another message that can be run.
    fn decoded_from(&self, seen: Option<&Record>, name: &str, batch: &Batch<'_>) -> Option<Decoded> {
        // The record of another job with the same id does not count.
        let seen = seen.filter(|seen| are_of_one_function(&seen.queue, &self.message.queue) && (name.is_empty() || seen.name == name))?;
        let body = seen.envelope.as_ref().filter(|body| **body != self.message.body)?;
        decode(&self.message, &self.id, Envelope::parse(body).ok()?, batch).ok()
    }

    /// Returns the ending of a message whose record could not be read or written.
    fn returned(&self, error: &StoreError) -> Settlement {
        tracing::error!(id = self.id, %error, outcome = Ending::NotStarted.as_str(), "cannot record the ending of a message that cannot be run");
        Ending::NotStarted.into()
    }

    async fn tell(&self, refused: &Refused, settlement: &Settlement, batch: &Batch<'_>) {
        let reason = &refused.reason;
        log_ending!(
            level(&settlement.ending),
            id = self.id,
            job = Some(&refused.name).filter(|name| !name.is_empty()),
            outcome = settlement.ending.as_str(),
            kind = reason.kind,
            reason = reason.message,
            message_id = self.message.id,
            request_id = batch.invocation.request_id,
            "message not run"
        );
        if let Some(job) = refused.job.as_ref().filter(|_| settlement.ending == Ending::Rejected) {
            self.tell_job(job, reason, batch).await;
        }
    }

    /// Calls the hook of a job whose message was rejected, and the reporters.
    pub(super) async fn tell_job(&self, job: &Arc<dyn AnyJob>, reason: &Failure, batch: &Batch<'_>) {
        batch.hook("on_rejected", job.rejected(reason.message.clone())).await;
        batch.hook("report", job.report(&self.id, reason)).await;
    }

    /// Tells the dependents of an ended job before anything slow.
    pub(super) async fn resolved(&self, settlement: Settlement, batch: &Batch<'_>) -> Settlement {
        if settlement.concerns_others() { self.resolve(settlement, batch).boxed().await } else { settlement }
    }

    async fn attempt(&self, decoded: &Decoded, turn: Turn, batch: &Batch<'_>) -> Step {
        let Some(slot) = batch.slot(&decoded.request.name, decoded.policy.timeout).await else {
            return Step::Settle(self.counted(Ending::NotStarted.into(), batch));
        };
        match self.claim(decoded, turn, batch).await {
            Claimed::Granted(granted) => Step::Settle(self.run(decoded, granted, slot, batch).await),
            Claimed::Settle(settlement) => Step::Settle(self.counted(settlement, batch)),
            Claimed::Suspect => Step::Suspect,
            Claimed::Refuse(refused) => Step::Refuse(refused),
        }
    }

    /// Discards a duplicate of an earlier message in the same batch. Returns `None` if the message cannot be read.
    pub(crate) fn repeats(&self, first: &Self, batch: &Batch<'_>) -> Option<Settlement> {
        let (Ok(own), Ok(first)) = (&self.decoded, &first.decoded) else { return None };
        let repeat = if own.request.digest == first.request.digest { Repeat::Same } else { Repeat::OtherArguments };
        Some(self.counted(self.discard(None, repeat, batch), batch))
    }

    /// Returns the job to run: from the message, or from the record if the record stores another message.
    pub(super) async fn work(&self, decoded: &Decoded, record: &Record, batch: &Batch<'_>) -> Result<Work, Unusable> {
        let other = record.envelope.as_ref().filter(|body| **body != decoded.request.body);
        match &decoded.work {
            Some(work) if other.is_none() => Ok(work.clone()),
            _ => self.bind(other.unwrap_or(&decoded.request.body), decoded, record, batch).boxed().await,
        }
    }

    /// Binds arguments after it has replaced the references to outputs of other jobs.
    async fn bind(&self, body: &str, decoded: &Decoded, record: &Record, batch: &Batch<'_>) -> Result<Work, Unusable> {
        let envelope = Envelope::parse(body)?;
        let depends_on = record.dependencies.as_ref().map_or(&[][..], |dependencies| &dependencies.ids);
        envelope.check_outputs(depends_on)?;
        let mut outputs = BTreeMap::new();
        for (id, stored) in join_all(envelope.outputs().into_iter().map(async |id| (id.to_owned(), batch.ledger.read(id).await))).await {
            outputs.extend(stored?.and_then(|job| job.result).map(|output| (id, output)));
        }
        Ok(Work::bind(&envelope.with_outputs(&outputs), &decoded.known)?)
    }

    async fn run(&self, decoded: &Decoded, mut granted: Granted, slot: SemaphorePermit<'_>, batch: &Batch<'_>) -> Settlement {
        let bound = match granted.work.take() {
            Some(work) => Ok(*work),
            None => self.work(decoded, &granted.record, batch).await,
        };
        let work = match bound {
            Ok(work) => work,
            Err(error) => return self.unusable(decoded, granted, error, batch).boxed().await,
        };
        let (body, is_owed) = (batch.ledger.running(), granted.is_owed);
        let started = Instant::now();
        let span = self.span(&work, &granted.record, batch);
        let mut execution = Execution::start(work, self, &decoded.policy, granted, span.clone(), batch);
        let ran = execution.run().await;
        let took = started.elapsed();
        drop(slot);
        let (settlement, failure) = match ran {
            Ran::Lost => (self.counted(Ending::LeaseLost.into(), batch), None),
            Ran::Completed(outcome) if execution.stored == Stored::Never => unrecorded(&execution.record, outcome, decoded, batch),
            Ran::Completed(outcome) => {
                let (record, stored) = (Arc::clone(&execution.record), execution.stored);
                let running =
                    Running { record, stored, progress: execution.last_progress(), ran: Some(took), is_owed, trace_id: span.trace_id() };
                end(running, outcome, decoded, execution.held_until, Some(body), batch).await
            }
        };
        // Before the hooks, which may take long.
        let settlement = self.resolved(settlement, batch).await;
        span.enter(|| self.log(&execution.record, &settlement, failure.as_ref(), millis(took), batch));
        span.set(|| traced(&settlement.ending, failure.as_ref()));
        if let Some(meter) = &batch.meter {
            metered::attempt(meter, decoded, &execution.record, &settlement.ending, took);
        }
        execution.after(&settlement.ending, hooks_of(&settlement.ending, failure)).await;
        span.end();
        settlement
    }

    /// Starts the span of an attempt.
    fn span(&self, work: &Work, record: &Record, batch: &Batch<'_>) -> Span {
        Span::process(&batch.span, || Processed {
            queue: &self.message.queue,
            message_id: &self.message.id,
            name: &record.name,
            id: &record.id,
            attempt: record.attempts,
            generation: record.generation,
            traceparent: work.origin.traceparent.as_deref(),
            tracestate: work.origin.tracestate.as_deref(),
        })
    }

    /// Ends a claim whose job has no arguments: it fails if they do not fit its type, and is returned if they cannot be read now.
    async fn unusable(&self, decoded: &Decoded, granted: Granted, error: Unusable, batch: &Batch<'_>) -> Settlement {
        let (kind, reason, follow_up) = match error {
            Unusable::Unreadable(error) => ("rejected", error.to_string(), FollowUp::GiveUp),
            Unusable::Unread(error) => ("not_started", format!("the outputs of other jobs cannot be read: {error}"), FollowUp::Return),
        };
        let outcome = Outcome::Failure(Failure::new(kind, reason, batch.engine.clock.now()), follow_up);
        let running =
            Running { record: granted.record, stored: granted.stored, progress: None, ran: None, is_owed: granted.is_owed, trace_id: None };
        let (settlement, failure) = end(running, outcome, decoded, granted.asked + decoded.policy.lease, None, batch).await;
        let settlement = self.resolved(settlement, batch).await;
        if let Some(failure) = failure.filter(|_| settlement.ending == Ending::Failed) {
            self.tell_job(&decoded.known, &failure, batch).await;
        }
        settlement
    }
}

/// Returns the outcome of an attempt for its span. A snoozed or interrupted attempt has not failed.
fn traced(ending: &Ending, failure: Option<&Failure>) -> traces::Outcome {
    let failed = failure.filter(|_| matches!(ending, Ending::Failed | Ending::Retried(_)));
    let error = match failed {
        Some(failure) => Some((failure.kind.clone(), failure.message.clone())),
        None if *ending == Ending::LeaseLost => Some((ending.as_str().to_owned(), "the attempt has lost its lease".to_owned())),
        None => None,
    };
    traces::Outcome { attribute: Some(("sqjobs.job.outcome", ending.as_str().to_owned())), error }
}
