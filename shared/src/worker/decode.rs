//! Decodes a message into the job to run.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use super::batch::Batch;
use crate::{
    Policy, Recording, StoreFailure,
    attempt::Origin,
    clock::after,
    envelope::{Envelope, Keys, Reported, Unreadable, excerpt},
    job::{AnyJob, BoundJob},
    lifecycle::{self, Ending, Expansion, Request},
    queue::Message,
    record::Failure,
    store::StoreError,
    traces,
};

/// A message and its decoded job.
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    pub(crate) id: String,
    pub(crate) decoded: Result<Decoded, Box<Refused>>,
}

/// A message that this worker cannot run.
pub(crate) struct Refused {
    pub(super) ending: Ending,
    pub(super) reason: Failure,
    /// The name of the job; empty if it cannot be read.
    pub(super) name: String,
    /// The job, if it is known; its hook is called.
    pub(super) job: Option<Arc<dyn AnyJob>>,
}

impl Refused {
    /// Returns the refusal of a workflow of which not all jobs could be sent.
    pub(super) fn overdue(workflow: &Decoded, reason: Failure) -> Self {
        Self { ending: Ending::Rejected, reason, name: workflow.request.name.clone(), job: None }
    }
}

pub(crate) struct Decoded {
    pub(crate) request: Request,
    pub(crate) policy: Policy,
    pub(super) known: Arc<dyn AnyJob>,
    /// The job with its arguments. `None`: they refer to outputs of other jobs.
    pub(super) work: Option<Work>,
    /// The keys that the job shares with others. If `work` is `None`, those of its type are missing.
    pub(super) keys: Option<Box<Keys>>,
    /// The jobs of a workflow.
    pub(super) workflow: Option<Box<Expansion>>,
}

impl Decoded {
    /// Returns `true` if the job may share keys with others.
    pub(super) fn has_keys(&self) -> bool {
        self.keys.is_some() || self.work.is_none()
    }
}

/// A job with its arguments.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) job: Arc<dyn BoundJob>,
    /// The keys that the type of the job declares.
    pub(crate) keys: Option<Box<Keys>>,
    pub(crate) origin: Origin,
}

impl Work {
    pub(super) fn bind(envelope: &Envelope, known: &Arc<dyn AnyJob>) -> Result<Self, Unreadable> {
        // Deserializing runs the job's own code: a panic there rejects the message.
        let bound = catch_unwind(AssertUnwindSafe(|| known.bind(envelope).map(|job| (job.keys(), job))));
        let bound = bound.unwrap_or_else(|_| Err(Unreadable::args("reading them panicked")));
        let (keys, job) = bound.map_err(|flaw| envelope.explain_outputs(flaw))?;
        keys.check()?;
        let keys = keys.boxed();
        let (traceparent, tracestate) = (envelope.traceparent.clone(), envelope.tracestate.clone());
        Ok(Self { job, keys, origin: Origin { depth: envelope.depth, traceparent, tracestate, run_at: envelope.run_at } })
    }
}

/// The reason why the arguments of a job cannot be used.
pub(super) enum Unusable {
    /// They do not fit its type.
    Unreadable(Unreadable),
    /// The outputs to which they refer cannot be read.
    Unread(StoreError),
}

impl From<Unreadable> for Unusable {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        Self::Unread(error)
    }
}

impl Delivery {
    pub(crate) fn new(message: Message, batch: &Batch<'_>) -> Self {
        let (id, envelope) = message.open();
        let decoded = match envelope {
            Ok(envelope) => decode(&message, &id, envelope, batch),
            Err(error) => {
                let name = message.field("name").unwrap_or_default();
                let known = batch.engine.jobs.get(&name).map_or(&*name, |known| known.name());
                Err(Box::new(Refused::rejected(&error, known, None, batch)))
            }
        };
        Self { message: Arc::new(message), id, decoded }
    }
}

pub(super) fn decode(message: &Message, id: &str, mut envelope: Envelope, batch: &Batch<'_>) -> Result<Decoded, Box<Refused>> {
    static REPORTED: Reported = Reported::new();
    for (field, remedy) in REPORTED.new_in(&envelope) {
        tracing::warn!(
            id,
            job = envelope.name,
            field = excerpt(field),
            message_id = message.id,
            request_id = batch.invocation.request_id,
            "a field of the message is ignored: {remedy}; this process reports it once"
        );
    }
    if let Some(feature) = envelope.unsupported() {
        return Err(Box::new(parked(message, "contract", format!("it asks for {feature}"), &envelope.name, batch)));
    }
    let Some(known) = batch.engine.jobs.get(&envelope.name) else {
        let reason = format!("there is no job named \"{}\" here; this worker has {}", excerpt(&envelope.name), batch.engine.jobs);
        return Err(Box::new(parked(message, "parked", reason, &envelope.name, batch)));
    };
    // A job that waits in its record keeps the context too.
    let body = if traces::adopt(&mut envelope, message.trace_header.as_deref()) { envelope.to_body() } else { message.body.clone() };
    // The outputs of other jobs are read after the claim.
    let has_arguments = envelope.outputs().is_empty();
    let work = match has_arguments.then(|| Work::bind(&envelope, known)).transpose() {
        Ok(work) => work,
        Err(error) => return Err(Box::new(Refused::rejected(&error, known.name(), Some(Arc::clone(known)), batch))),
    };
    let mut policy = *known.policy();
    if batch.engine.records_always {
        policy.recording = Recording::Always;
    }
    if let Err(error) = envelope.check_size(message.body.len()) {
        return Err(Box::new(Refused::rejected(&error, known.name(), Some(Arc::clone(known)), batch)));
    }
    let workflow = (!envelope.jobs.is_empty()).then(|| Box::new(lifecycle::expand(&envelope, id, batch.engine.clock.now())));
    if let Some(Expansion { closing, .. }) = workflow.as_deref() {
        envelope = closing.clone();
    }
    if workflow.is_some() && work.as_ref().and_then(|work| work.keys.as_ref()).is_some_and(|keys| keys.unique_key.is_some()) {
        let flaw = Unreadable::new("unique_key", "the job of a workflow's message declares one", "give it to a job of the workflow");
        return Err(Box::new(Refused::rejected(&flaw, known.name(), Some(Arc::clone(known)), batch)));
    }
    let keys = both(envelope.keys.clone(), work.as_ref().and_then(|work| work.keys.clone()));
    if !envelope.depends_on.is_empty() || !envelope.dependents.is_empty() || keys.is_some() || work.is_none() {
        // Without its record, the job would not wait, or others would wait for it in vain. The keys of a job without arguments are unknown.
        (policy.recording, policy.on_store_failure) = (Recording::Always, StoreFailure::Retry);
    }
    policy.timeout = envelope.timeout_s.map(Duration::from_secs_f64).or(policy.timeout);
    known.name().clone_into(&mut envelope.name); // it may be an alias
    let request = Request {
        id: id.to_owned(),
        queue: message.queue.clone(),
        sent_at: message.sent_at,
        dead: message.dead(),
        is_unique: keys.as_ref().is_some_and(|keys| keys.unique_key.is_some()),
        message_group: message.group.clone(),
        message_attributes: message.own_attributes(),
        ..Request::of(envelope, body)
    };
    Ok(Decoded { request, policy, known: Arc::clone(known), work, keys, workflow })
}

/// Returns the keys of a message, and those that the type of its job declares.
pub(super) fn both(own: Option<Box<Keys>>, declared: Option<Box<Keys>>) -> Option<Box<Keys>> {
    match (own, declared) {
        (Some(own), Some(declared)) => Some(Box::new(own.or(*declared))),
        (own, declared) => own.or(declared),
    }
}

/// Parks a message that needs another worker. After a while it becomes a dead letter.
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
