//! The state of the world.

use std::hash::{Hash, Hasher};

use super::*;
use crate::Version;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelState {
    /// Milliseconds since the start.
    pub(super) now: i64,
    pub(super) record: Option<Record>,
    pub(super) messages: Vec<Message>,
    pub(super) actors: Vec<Actor>,
    /// Requests that were sent and may arrive again.
    pub(super) strays: Vec<Sent>,
    /// The ending of each generation since the last redrive.
    pub(super) spent: Vec<(u64, Spent)>,
    /// `true` if an attempt without a record has succeeded.
    pub(super) done: bool,
    pub(super) left: Budget,
    pub(super) broken: Option<Invariant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Message {
    pub(super) dead: Option<u64>,
    pub(super) place: Place,
    /// `true` if the message was never received and does not say that its job has a record. Always `false` if that makes no difference.
    pub(super) fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Queue,
    /// The dead-letter queue, as SQS moved it there.
    Moved,
    /// The dead-letter queue, with the reason.
    Letter,
    Gone,
}

#[derive(Debug, Clone, PartialEq, Hash, Default)]
pub(super) struct Actor {
    pub(super) attempt: Option<Attempt>,
    pub(super) asks: Option<Asks>,
}

/// An attempt from the view of its worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub(super) message: usize,
    pub(super) record: Record,
    pub(super) held_until: i64,
    pub(super) body: bool,
    /// `true` if the table holds its record.
    pub(super) stored: bool,
}

/// A request in transit.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) struct Asks {
    pub(super) sent: Sent,
    pub(super) asked: i64,
    pub(super) then: Then,
    /// The result, once the request has arrived.
    pub(super) made: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) seen: Option<Record>,
    pub(super) next: Record,
    /// The record of an attempt whose claim was not written.
    pub(super) imagined: Option<Record>,
    /// The token of the attempt that sent it.
    pub(super) by: Option<String>,
    pub(super) dead: Option<u64>,
    /// `true` if the write was made.
    pub(super) made: bool,
}

/// The action of an actor once its write is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Then {
    Run(usize),
    Renewed,
    Settle(usize, Goes),
    Filed(usize),
    Marked(usize),
    /// Send the message, after a mark that was made too early.
    Send,
    Nothing,
}

/// The handling of a message after its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Goes {
    Delete,
    DeadLetter,
    Stay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Spent {
    Running,
    Failed,
    Killed,
    GivenBack,
    Ended,
}

impl From<Fate> for Goes {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Delete => Self::Delete,
            Fate::DeadLetter => Self::DeadLetter,
            Fate::Wait(_) | Fate::WaitAndBackoff(_) | Fate::Now | Fate::Backoff | Fate::LongBackoff | Fate::Leave => Self::Stay,
        }
    }
}

/// Hashes all fields of a record that can change the further course.
fn hash_record(record: &Record, hasher: &mut impl Hasher) {
    let Version { generation, owner, state, lease_until, dlq, cancel_requested } = record.version();
    (generation, owner, state, lease_until, dlq.map(|dlq| dlq as u8), cancel_requested).hash(hasher);
    (record.attempts, record.runs, record.snoozes, record.max_attempts, record.history.len()).hash(hasher);
    (record.run_at, record.started_at, record.finished_at, record.purge_at, &record.envelope, &record.due).hash(hasher);
    record.error.as_ref().map(|error| &error.kind).hash(hasher);
}

impl Hash for ModelState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        if let Some(record) = &self.record {
            hash_record(record, hasher);
        }
        (self.now, &self.messages, &self.actors, &self.strays, &self.spent, self.done, &self.left, self.broken).hash(hasher);
    }
}

impl Hash for Attempt {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hash_record(&self.record, hasher);
        (self.message, self.held_until, self.body, self.stored).hash(hasher);
    }
}

impl Hash for Sent {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for record in self.seen.iter().chain(&self.imagined).chain([&self.next]) {
            hash_record(record, hasher);
        }
        (self.seen.is_some(), self.imagined.is_some(), &self.by, self.dead, self.made).hash(hasher);
    }
}
