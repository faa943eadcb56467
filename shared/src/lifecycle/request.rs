//! The request of a delivery.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{node::max_wait, workflow::expand};
use crate::{
    envelope::{Digest, Envelope},
    record::Dependencies,
};

/// The request of a delivery, after decoding.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Request {
    /// The job's id.
    pub(crate) id: String,
    /// The job's name, never an alias.
    pub(crate) name: String,
    /// The queue that delivered the message.
    pub(crate) queue: String,
    /// The instant at which the message was sent.
    pub(crate) sent_at: Option<Timestamp>,
    /// The earliest instant to start the job.
    pub(crate) run_at: Option<Timestamp>,
    /// The instant from which the job must not start.
    pub(crate) expires_at: Option<Timestamp>,
    /// Maximum number of attempts. `None`: the one of the policy.
    pub(crate) max_attempts: Option<u32>,
    /// The producer's labels.
    pub(crate) tags: Vec<String>,
    /// The producer's free data.
    pub(crate) meta: Map<String, Value>,
    /// The id of the job that enqueued this one.
    pub(crate) parent_id: Option<String>,
    /// The id of the first job of the tree.
    pub(crate) root_id: Option<String>,
    /// The jobs that this one waits for.
    pub(crate) dependencies: Option<Box<Dependencies>>,
    /// Maximum time to wait for them.
    pub(crate) max_blocked: Duration,
    /// The jobs and nodes that wait for this job, if the sender of the message knows them.
    pub(crate) dependents: BTreeSet<String>,
    /// `true` if the job holds a unique key while it waits to be due.
    pub(crate) is_unique: bool,
    /// The [digest](Envelope::digest) of the arguments.
    pub(crate) digest: Option<Digest>,
    /// The message body as received, but without the fields that make the job wait for others.
    pub(crate) body: String,
    /// The generation that failed, if the message was redriven from the dead-letter queue.
    pub(crate) dead: Option<u64>,
    /// The message group.
    pub(crate) message_group: Option<String>,
    /// The attributes of the message, without those of the library.
    pub(crate) message_attributes: BTreeMap<String, String>,
}

impl Request {
    /// Creates a request from an envelope. The caller adds the id, the queue, and the fields that come from the message.
    pub(crate) fn of(envelope: Envelope, body: String) -> Self {
        if !envelope.jobs.is_empty() {
            let id = envelope.id.clone().unwrap_or_default();
            return Self::of(expand(&envelope, &id, Timestamp::UNIX_EPOCH).closing, body);
        }
        // The message that is sent after the wait has no dependencies.
        let body = if envelope.depends_on.is_empty() { body } else { envelope.without_links().to_body() };
        let Envelope { when, otherwise, .. } = envelope;
        let dependencies = (!envelope.depends_on.is_empty())
            .then(|| Box::new(Dependencies { ids: envelope.depends_on.clone(), when, otherwise, ..Dependencies::default() }));
        Self {
            dependencies,
            dependents: envelope.dependents.iter().cloned().collect(),
            max_blocked: max_wait(&envelope),
            is_unique: envelope.keys.as_ref().is_some_and(|keys| keys.unique_key.is_some()),
            digest: Some(envelope.digest()),
            name: envelope.name,
            run_at: envelope.run_at,
            expires_at: envelope.expires_at,
            max_attempts: envelope.max_attempts,
            tags: envelope.tags,
            meta: envelope.meta,
            parent_id: envelope.parent_id,
            root_id: envelope.root_id,
            body,
            ..Self::default()
        }
    }

    /// Returns the size of the message in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + self.message_attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}
