//! Jobs to enqueue, with their options.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::list::{By, LISTED};
use crate::{
    Arguments, Error,
    attempt::{Attempt, current},
    clock::{after, until},
    envelope::{Envelope, Keys, Otherwise, Priority, Step, When},
    lifecycle::{self, Kind, Needed, Request},
    queue::{MAX_DELAY, Outgoing, attribute::ID, dedup, is_fifo},
    record::Record,
    store::Listing,
    traces::Span,
};

/// A job to enqueue, with its options. A job enqueued inside another job becomes its child, unless it is [`detached`](Self::detached).
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it is enqueued by Client::enqueue_many"]
pub struct Enqueue {
    queue: String,
    envelope: Envelope,
    delay: Duration,
    group: Option<String>,
    dedup: Option<String>,
    is_recorded: bool,
    is_listed: bool,
    objects: BTreeSet<String>,
    is_detached: bool,
    trace_of: TraceOf,
}

/// The owner of the trace context in the message of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TraceOf {
    Producer,
    /// The job that enqueues it.
    Parent,
}

/// A job that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) queue: String,
    pub(super) id: String,
    pub(super) message: Outgoing,
    /// The record, if the producer asked for one.
    pub(super) record: Option<Record>,
    /// The unique key, if the job has one.
    pub(super) unique: Option<Needed>,
    /// The entries in lists, if the producer asked for any.
    pub(super) listings: Vec<Listing>,
    pub(super) span: Span,
}

impl Enqueue {
    /// Creates a job from its arguments, on its own queue.
    ///
    /// # Errors
    ///
    /// When the arguments cannot be serialized as JSON.
    pub fn new<A: Arguments>(arguments: &A) -> Result<Self, Error> {
        let json = serde_json::to_value(arguments);
        let json = json.map_err(|error| Error::Invalid(format!("cannot write the arguments of job {:?} as JSON: {error}", A::NAME)))?;
        Ok(Self::named(A::NAME, json).queue(A::QUEUE).keys(arguments.keys()))
    }

    /// Creates a job from its name and its arguments, on the queue with that name. Use it if the type of the arguments is not available.
    pub fn named(name: &str, args: Value) -> Self {
        Self {
            queue: name.into(),
            envelope: Envelope::new(name, args),
            delay: Duration::ZERO,
            group: None,
            dedup: None,
            is_recorded: false,
            is_listed: false,
            objects: BTreeSet::new(),
            is_detached: false,
            trace_of: TraceOf::Producer,
        }
    }

    /// Creates a job from its whole message.
    pub(super) fn of(envelope: Envelope, queue: String) -> Self {
        Self { queue, ..Self::named("", Value::Null).with(|it| *it = envelope) }
    }

    /// Sends the job to another queue. The prefix of the environment is added. A [priority](Self::priority) changes the name of this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Sets the id of the job. A second job with the same id is a duplicate and does not run. Default: the name and a random part.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.envelope.id = Some(id.into());
        self
    }

    /// Delays the job by at least this time, which may be of any length.
    pub fn delay(mut self, delay: Duration) -> Self {
        (self.delay, self.envelope.run_at) = (delay, None);
        self
    }

    /// Sets the earliest instant at which the job runs, however distant.
    pub fn run_at(mut self, run_at: Timestamp) -> Self {
        (self.delay, self.envelope.run_at) = (Duration::ZERO, Some(run_at));
        self
    }

    /// Sends the job to the queue of a priority, such as `invoice-high` instead of `invoice`. The queue must exist: `sqjobs queue create
    /// invoice --priority high` creates it, and so does Terraform.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.envelope.priority = priority;
        self
    }

    /// Discards the job if it has not started by this instant. The enqueue fails if the job could not start in time.
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.envelope.expires_at = Some(expires_at);
        self
    }

    /// Adds a label.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.envelope.tags.push(tag.into());
        self
    }

    /// Stores data in the record of the job.
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.envelope.meta.insert(key.into(), value.into());
        self
    }

    /// Sets the maximum number of attempts. Default: the one of the job's policy.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.envelope.max_attempts = Some(attempts);
        self
    }

    /// Sets the message group. On a FIFO queue, the jobs of one group run in order, and a job without a group is its own group. On a
    /// standard queue, SQS serves all groups fairly: many jobs of one tenant do not delay those of others.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets the deduplication id on a FIFO queue. SQS discards another message with the same id within five minutes. Default: the id of
    /// the job.
    pub fn dedup(mut self, dedup: impl Into<String>) -> Self {
        self.dedup = Some(dedup.into());
        self
    }

    /// Writes a record at once, so that a lookup finds the job before its first attempt. This costs one write, and one read at the claim.
    /// A job that is [recorded on trouble](crate::Recording::OnTrouble) is then always recorded. The name must not be an alias.
    pub fn recorded(mut self) -> Self {
        self.is_recorded = true;
        self
    }

    /// Writes a record at once, and lists the job for [`Client::list`](crate::Client::list): by its name, by each tag, and by the first job
    /// of its tree. Each list costs two small writes.
    pub fn listed(mut self) -> Self {
        self.is_listed = true;
        self.recorded()
    }

    /// Writes a record at once, and lists the job by an object that it concerns, such as `order:17`.
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.objects.insert(object.into());
        self.recorded()
    }

    /// Makes the job wait for other jobs, at most 20: it runs after all of them have succeeded. [`Enqueue::when`] and
    /// [`Enqueue::otherwise`] change that.
    ///
    /// The ids may be enqueued later. A job that is [recorded on trouble](crate::Recording::OnTrouble) must be enqueued as
    /// [recorded](Enqueue::recorded), since nothing else tells of its success.
    pub fn after<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.envelope.depends_on.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Sets the endings of the other jobs after which the job runs.
    pub fn when(mut self, when: When) -> Self {
        self.envelope.when = when;
        self
    }

    /// Sets the consequence if one of the other jobs does not succeed.
    pub fn otherwise(mut self, otherwise: Otherwise) -> Self {
        self.envelope.otherwise = otherwise;
        self
    }

    /// Makes the job fail if it still waits for others after this time. The default is 30 days.
    pub fn max_blocked(mut self, max_wait: Duration) -> Self {
        self.envelope.max_blocked_s = Some(max_wait.as_secs_f64());
        self
    }

    /// Sets the keys that the job shares with others. A kind that is missing here remains as the type of the arguments
    /// [declares](Arguments::keys) it.
    pub fn keys(mut self, keys: Keys) -> Self {
        let others = self.envelope.keys.take().map(|keys| *keys).unwrap_or_default();
        self.envelope.keys = Some(Box::new(keys.or(others))).filter(|keys| **keys != Keys::default());
        self
    }

    /// Makes the job a child of the attempt's job. Use it in tasks that a job has spawned: they are not associated with the attempt.
    pub fn caused_by(mut self, attempt: &Attempt) -> Self {
        let envelope = &mut self.envelope;
        envelope.parent_id = Some(attempt.id().into());
        envelope.root_id = Some(attempt.root_id().into());
        envelope.depth = attempt.depth().saturating_add(1);
        if envelope.traceparent.is_none() {
            envelope.traceparent = attempt.traceparent().map(Into::into);
            envelope.tracestate = attempt.tracestate().map(Into::into);
            self.trace_of = TraceOf::Parent;
        }
        self
    }

    /// Makes the job the first of a new tree, even inside another job. A job that enqueues its own successor forever needs this, because
    /// a chain of children ends after 100.
    pub fn detached(mut self) -> Self {
        self.is_detached = true;
        self
    }

    /// Changes other fields of the message.
    pub fn with(mut self, change: impl FnOnce(&mut Envelope)) -> Self {
        let inherited = (self.trace_of == TraceOf::Parent).then(|| self.envelope.traceparent.clone());
        change(&mut self.envelope);
        if inherited.is_some_and(|inherited| inherited != self.envelope.traceparent) {
            self.trace_of = TraceOf::Producer;
        }
        self
    }

    /// Returns the job as a job of a workflow.
    pub(super) fn into_step(self) -> Result<Step, Error> {
        let options = [
            ("delay", !self.delay.is_zero()),
            ("group", self.group.is_some()),
            ("dedup", self.dedup.is_some()),
            ("recorded", self.is_recorded),
            ("caused_by", self.envelope.parent_id.is_some()),
        ];
        if let Some((option, _)) = options.into_iter().find(|(_, is_set)| *is_set) {
            let name = &self.envelope.name;
            return Err(Error::Invalid(format!(
                "cannot build a workflow: its job {name:?} has the option `{option}`, which only a job outside of a workflow can have; leave it out"
            )));
        }
        let queue = Some(self.queue).filter(|queue| *queue != self.envelope.name);
        let mut job = self.envelope;
        job.add_needs();
        Ok(Step { queue, job })
    }

    /// Returns `true` if it has a deduplication id of its own.
    pub(super) fn has_dedup(&self) -> bool {
        self.dedup.is_some()
    }

    /// Returns the job's name.
    pub fn name(&self) -> &str {
        &self.envelope.name
    }

    /// Returns the envelope that will be sent. It does not yet have the generated id.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Completes the envelope: parent, generated id, and run time from the delay.
    pub(super) fn settled(mut self, now: Timestamp) -> Self {
        if let Some(attempt) = current().filter(|_| !self.is_detached && self.envelope.parent_id.is_none()) {
            self = self.caused_by(&attempt);
        }
        let envelope = &mut self.envelope;
        envelope.add_needs(); // a worker of an older version must not ignore links
        envelope.id.get_or_insert_with(|| format!("{}-{}", envelope.name, Uuid::now_v7().simple()));
        if !self.delay.is_zero() {
            envelope.run_at = Some(after(now, self.delay));
        }
        self
    }

    /// Starts the span of the enqueue, and puts its context into the message, unless the producer has set one.
    pub(super) fn traced(mut self, prefix: &str) -> (Self, Span) {
        let is_own = self.envelope.traceparent.is_none() || self.trace_of == TraceOf::Parent;
        let queue = |job: &Envelope| prefix.to_owned() + &job.priority.queue_for_job(&self.queue);
        let span = Span::send(&mut self.envelope, is_own, queue);
        (self, span)
    }

    /// Returns the message, and the record and the listings to write with it.
    pub(super) fn prepared(&self, prefix: &str, now: Timestamp) -> Result<Prepared, Error> {
        let checked = self.envelope.check().and_then(|()| self.envelope.check_sendable());
        checked.map_err(|error| Error::Invalid(format!("cannot enqueue job {:?}: {error}", self.envelope.name)))?;
        self.check_names()?;
        self.check_expiry(now)?;
        let (queue, id) =
            (prefix.to_owned() + &self.envelope.priority.queue_for_job(&self.queue), self.envelope.id.clone().unwrap_or_default());
        let mut message = Outgoing::new(self.envelope.to_body());
        let size = self.envelope.check_size(message.body.len());
        size.map_err(|error| Error::Invalid(format!("cannot enqueue job {:?}: {error}", self.envelope.name)))?;
        message.group.clone_from(&self.group);
        if self.is_recorded {
            message.attributes.insert(ID.into(), id.clone()); // makes the function read the record, whatever the policy
        }
        let delay = self.envelope.run_at.map_or(Duration::ZERO, |at| until(now, at));
        if is_fifo(&queue) {
            message.group = message.group.or_else(|| Some(Uuid::new_v4().to_string()));
            message.dedup = Some(dedup(self.dedup.as_deref().unwrap_or(&id)));
        } else if delay <= MAX_DELAY {
            // The function waits for the remaining fraction of a second. It files jobs with longer delays, so send those at once.
            message.delay = Duration::from_secs(delay.as_secs());
        }
        let record = self.is_recorded.then(|| lifecycle::announced(&self.request(&queue, now)));
        let unique = self.envelope.keys.iter().flat_map(|keys| lifecycle::needed(keys)).find(|key| key.kind == Kind::Unique);
        Ok(Prepared { listings: self.listings(&id, now)?, queue, id, message, record, unique, span: Span::default() })
    }

    /// Refuses an empty queue, group, deduplication id or tag.
    fn check_names(&self) -> Result<(), Error> {
        let tags = self.envelope.tags.iter().map(|tag| ("tag", Some(tag)));
        let names = [("queue", Some(&self.queue)), ("group", self.group.as_ref()), ("dedup", self.dedup.as_ref())];
        match names.into_iter().chain(tags).find(|(_, name)| name.is_some_and(String::is_empty)) {
            Some((what, _)) => {
                let name = &self.envelope.name;
                Err(Error::Invalid(format!("cannot enqueue job {name:?}: its {what} is empty; name one, or leave it out")))
            }
            None => Ok(()),
        }
    }

    /// Refuses a job that cannot start before it expires.
    fn check_expiry(&self, now: Timestamp) -> Result<(), Error> {
        let Envelope { name, run_at, expires_at, .. } = &self.envelope;
        match (expires_at, run_at) {
            (Some(expires_at), Some(run_at)) if expires_at <= run_at => Err(Error::Invalid(format!(
                "cannot enqueue job {name:?}: it expires at {expires_at}, but cannot run before {run_at}; set a later expiry or an earlier run time"
            ))),
            (Some(expires_at), _) if *expires_at <= now => Err(Error::Invalid(format!(
                "cannot enqueue job {name:?}: it expired at {expires_at}, and it is {now} now; set a later expiry"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the request of the job, as its function will read it from the message.
    pub(super) fn request(&self, queue: &str, now: Timestamp) -> Request {
        let id = self.envelope.id.clone().unwrap_or_default();
        let message_group = self.group.clone();
        Request {
            id,
            queue: queue.into(),
            sent_at: Some(now),
            message_group,
            ..Request::of(self.envelope.clone(), self.envelope.to_body())
        }
    }

    /// Returns the entries of the job in the lists that the producer asked for.
    fn listings(&self, id: &str, now: Timestamp) -> Result<Vec<Listing>, Error> {
        let root = self.envelope.root_id.as_deref().unwrap_or(id);
        let own = [By::Name(&self.envelope.name), By::Root(root)].into_iter().chain(self.envelope.tags.iter().map(|tag| By::Tag(tag)));
        let objects = self.objects.iter().map(|object| By::Object(object));
        let lists = own.filter(|_| self.is_listed).chain(objects);
        let purge_at = after(self.envelope.run_at.map_or(now, |at| at.max(now)), LISTED).as_second();
        lists.map(|by| Ok(Listing { list: by.list()?, id: id.into(), at: now, purge_at })).collect()
    }
}
