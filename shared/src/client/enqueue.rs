//! A job to be enqueued, with its options.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::list::{By, LISTED};
use crate::{
    Arguments, Error,
    attempt::{Attempt, current},
    clock::{after, until},
    envelope::Envelope,
    lifecycle::{self, Request},
    queue::{MAX_DELAY, Outgoing, attribute::ID, dedup, is_fifo},
    record::Record,
    store::Listing,
};

/// A job to be enqueued, with its options. Inside of a job it is that one's child, unless told otherwise.
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
}

/// A job as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) queue: String,
    pub(super) id: String,
    pub(super) message: Outgoing,
    /// The record, and its places in lists, where that is asked for.
    pub(super) record: Option<Record>,
    pub(super) listings: Vec<Listing>,
}

impl Enqueue {
    /// The job, on its own queue.
    ///
    /// # Errors
    ///
    /// When the arguments cannot be written as JSON.
    pub fn new<A: Arguments>(arguments: &A) -> Result<Self, Error> {
        let json = serde_json::to_value(arguments);
        let json = json.map_err(|error| Error::Invalid(format!("cannot write the arguments of job {:?} as JSON: {error}", A::NAME)))?;
        Ok(Self::named(A::NAME, json).queue(A::QUEUE))
    }

    /// A job of which only the name is known here, on the queue of that name.
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
        }
    }

    /// Sends it to another queue, such as one that a function of higher priority reads; the environment's prefix is put
    /// before the name.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Names the job: a second one of the same id is a duplicate and does not run. A generated id carries the name.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.envelope.id = Some(id.into());
        self
    }

    /// Lets it run after that time at the earliest, however long.
    pub fn delay(mut self, delay: Duration) -> Self {
        (self.delay, self.envelope.run_at) = (delay, None);
        self
    }

    /// Lets it run at that instant at the earliest, however far away.
    pub fn run_at(mut self, run_at: Timestamp) -> Self {
        (self.delay, self.envelope.run_at) = (Duration::ZERO, Some(run_at));
        self
    }

    /// Drops it where it has not started by then. A job that could not start before is refused when it is enqueued.
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.envelope.expires_at = Some(expires_at);
        self
    }

    /// Labels it.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.envelope.tags.push(tag.into());
        self
    }

    /// Keeps data in its record, for whoever reads that.
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.envelope.meta.insert(key.into(), value.into());
        self
    }

    /// Sets how many attempts it has. Else its policy says so.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.envelope.max_attempts = Some(attempts);
        self
    }

    /// The message group. On a FIFO queue, jobs of one group run in order, and a job without one is a group of its own. A
    /// standard queue serves its groups fairly: many jobs of one tenant do not make the others wait.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The deduplication id on a FIFO queue, where it is not to be the job's id: SQS drops what has the same within five
    /// minutes.
    pub fn dedup(mut self, dedup: impl Into<String>) -> Self {
        self.dedup = Some(dedup.into());
        self
    }

    /// Writes a record at once, so that the job can be looked up before its first attempt. It costs a write, and at the
    /// claim a read, and the message says so, so that a job that is [recorded on trouble](crate::Recording::OnTrouble) is recorded
    /// all the same. The name must be the job's own, and no alias.
    pub fn recorded(mut self) -> Self {
        self.is_recorded = true;
        self
    }

    /// Writes a record at once, and lists the job by its name, its tags and the first job of its tree, for
    /// [`Client::list`](crate::Client::list). Each list costs two small writes.
    pub fn listed(mut self) -> Self {
        self.is_listed = true;
        self.recorded()
    }

    /// Writes a record at once, and lists the job by something that it touches, such as `order:17`.
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.objects.insert(object.into());
        self.recorded()
    }

    /// Makes it the child of that attempt's job, where it is enqueued by a task that the job has spawned, which does not
    /// know by itself.
    pub fn caused_by(mut self, attempt: &Attempt) -> Self {
        let envelope = &mut self.envelope;
        envelope.parent_id = Some(attempt.id().into());
        envelope.root_id = Some(attempt.root_id().into());
        envelope.depth = attempt.depth().saturating_add(1);
        if envelope.traceparent.is_none() {
            envelope.traceparent = attempt.traceparent().map(Into::into);
        }
        self
    }

    /// Makes it a root of its own, also inside of a job. A job that enqueues its own successor for ever must do so, for a
    /// chain of children ends after 100.
    pub fn detached(mut self) -> Self {
        self.is_detached = true;
        self
    }

    /// Changes the other fields of the message.
    pub fn with(mut self, change: impl FnOnce(&mut Envelope)) -> Self {
        change(&mut self.envelope);
        self
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.envelope.name
    }

    /// What will be sent; a generated id is not yet in it.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// As it is sent from here and now.
    pub(super) fn settled(mut self, now: Timestamp) -> Self {
        if let Some(attempt) = current().filter(|_| !self.is_detached && self.envelope.parent_id.is_none()) {
            self = self.caused_by(&attempt);
        }
        let envelope = &mut self.envelope;
        envelope.id.get_or_insert_with(|| format!("{}-{}", envelope.name, Uuid::now_v7().simple()));
        if !self.delay.is_zero() {
            envelope.run_at = Some(after(now, self.delay));
        }
        self
    }

    /// The message, and what is written beside it.
    pub(super) fn prepared(&self, prefix: &str, now: Timestamp) -> Result<Prepared, Error> {
        let checked = self.envelope.check().and_then(|()| self.envelope.check_reserved());
        checked.map_err(|error| Error::Invalid(format!("cannot enqueue job {:?}: {error}", self.envelope.name)))?;
        self.check_names()?;
        self.check_expiry(now)?;
        let (queue, id) = (prefix.to_owned() + &self.queue, self.envelope.id.clone().unwrap_or_default());
        let mut message = Outgoing::new(self.envelope.to_body());
        message.group.clone_from(&self.group);
        if self.is_recorded {
            message.attributes.insert(ID.into(), id.clone()); // its function looks at the record, whatever its policy
        }
        let delay = self.envelope.run_at.map_or(Duration::ZERO, |at| until(now, at));
        if is_fifo(&queue) {
            message.group = message.group.or_else(|| Some(Uuid::new_v4().to_string()));
            message.dedup = Some(dedup(self.dedup.as_deref().unwrap_or(&id)));
        } else if delay <= MAX_DELAY {
            // The function waits for the rest of the last second. What waits longer is filed by it, the sooner the better.
            message.delay = Duration::from_secs(delay.as_secs());
        }
        let record = self.is_recorded.then(|| lifecycle::announced(&self.request(&queue, now)));
        Ok(Prepared { listings: self.listings(&id, now)?, queue, id, message, record })
    }

    /// Refuses an empty name beside the message, or an empty tag, which no list could have.
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
                "cannot enqueue job {name:?}: it expires at {expires_at}, and does not run before {run_at}; let it expire later, or run it earlier"
            ))),
            (Some(expires_at), _) if *expires_at <= now => Err(Error::Invalid(format!(
                "cannot enqueue job {name:?}: it has expired at {expires_at}, and now is {now}; let it expire later"
            ))),
            _ => Ok(()),
        }
    }

    /// What the job asks for, before any function has seen it.
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

    /// The places in the lists that the job is to be found in.
    fn listings(&self, id: &str, now: Timestamp) -> Result<Vec<Listing>, Error> {
        let root = self.envelope.root_id.as_deref().unwrap_or(id);
        let own = [By::Name(&self.envelope.name), By::Root(root)].into_iter().chain(self.envelope.tags.iter().map(|tag| By::Tag(tag)));
        let objects = self.objects.iter().map(|object| By::Object(object));
        let lists = own.filter(|_| self.is_listed).chain(objects);
        let purge_at = after(self.envelope.run_at.map_or(now, |at| at.max(now)), LISTED).as_second();
        lists.map(|by| Ok(Listing { list: by.list()?, id: id.into(), at: now, purge_at })).collect()
    }
}
