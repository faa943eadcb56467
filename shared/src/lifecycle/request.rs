//! The request of a delivery.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::envelope::{Digest, Envelope};

/// The job that a delivery asks for, after decoding.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Request {
    /// The job's id.
    pub(crate) id: String,
    /// The job's name, aliases resolved.
    pub(crate) name: String,
    /// The queue that delivered it.
    pub(crate) queue: String,
    /// When the message was sent.
    pub(crate) sent_at: Option<Timestamp>,
    /// The earliest start.
    pub(crate) run_at: Option<Timestamp>,
    /// The latest start.
    pub(crate) expires_at: Option<Timestamp>,
    /// The limit of attempts that overrides the policy's.
    pub(crate) max_attempts: Option<u32>,
    /// Labels.
    pub(crate) tags: Vec<String>,
    /// Free data.
    pub(crate) meta: Map<String, Value>,
    /// The job that enqueued it.
    pub(crate) parent_id: Option<String>,
    /// The first job of the chain.
    pub(crate) root_id: Option<String>,
    /// The [digest](Envelope::digest) of the arguments.
    pub(crate) digest: Option<Digest>,
    /// The message body as received.
    pub(crate) body: String,
    /// The generation that failed, on a message redriven from the dead-letter queue.
    pub(crate) dead: Option<u64>,
    /// The group of the message.
    pub(crate) message_group: Option<String>,
    /// The attributes of the message, except those of the library.
    pub(crate) message_attributes: BTreeMap<String, String>,
}

impl Request {
    /// The request of an envelope. The caller adds the id, the queue, and the fields that come from the message.
    pub(crate) fn of(envelope: Envelope, body: String) -> Self {
        Self {
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

    /// The bytes of the message.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + self.message_attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}
