//! A dead letter: the job, the kind of error, and the reason.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqjobs::{Letter, Priority, Record};

use super::args::Filter;

/// The reason of a dead letter that a producer sent, until a beater has examined it.
const DIRECTLY: &str = "a producer sent the message directly to the dead-letter queue";

/// A dead letter and the record of its job.
pub(super) struct DeadLetter {
    pub(super) letter: Letter,
    pub(super) record: Option<Record>,
    /// Why the record cannot be read.
    pub(super) unreadable: Option<String>,
}

impl DeadLetter {
    pub(super) fn name(&self) -> &str {
        let named = self.letter.envelope.as_ref().ok().map(|envelope| &*envelope.name);
        named.or_else(|| self.record.as_ref().map(|record| &*record.name)).unwrap_or_default()
    }

    /// Returns when the job expires.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.letter.envelope.as_ref().ok()?.expires_at
    }

    /// Returns the reason to keep it, if its job belongs to another queue.
    pub(super) fn of_other_queue(&self, queue: &str) -> Option<String> {
        let own = self.record.as_ref().filter(|own| own.name == self.name() && !own.queue.is_empty())?;
        // The jobs of all priorities share a dead-letter queue.
        if Priority::Default.queue(&own.queue) == Priority::Default.queue(queue) {
            return None;
        }
        Some(format!("its job belongs to queue {}; send the message there, or run the job by `sqjobs retry ID ARGS`", own.queue))
    }

    pub(super) fn kind(&self) -> &str {
        kind(&self.letter)
    }

    pub(super) fn reason(&self) -> String {
        let failed = || self.record.as_ref()?.error.as_ref().map(|error| error.message.clone());
        let moved = || "SQS moved the message after too many receives; a beater adds the reason within a minute".to_owned();
        match self.letter.reason() {
            Some(reason) => reason.to_owned(),
            None if self.letter.is_misdirected() => DIRECTLY.to_owned(),
            None => failed().unwrap_or_else(moved),
        }
    }

    pub(super) fn tags(&self) -> &[String] {
        let own = self.letter.envelope.as_ref().ok().map(|envelope| &envelope.tags[..]);
        own.or_else(|| self.record.as_ref().map(|record| &record.tags[..])).unwrap_or_default()
    }

    pub(super) fn json(&self, queue: &str) -> Value {
        json!({
            "queue": queue,
            "message_id": self.letter.message.id,
            "id": self.letter.id,
            "name": self.name(),
            "kind": self.kind(),
            "reason": self.reason(),
            "tags": self.tags(),
            "sent_at": self.letter.message.sent_at,
            "body": self.letter.message.body,
            "record": self.record,
        })
    }
}

impl Filter {
    /// Returns true for a dead letter that the options select.
    pub(super) fn selects(&self, dead: &DeadLetter, now: Timestamp) -> bool {
        let age = dead.letter.message.sent_at.map(|at| now.duration_since(at)).unwrap_or_default();
        let is = |wanted: &Option<String>, own: &str| wanted.as_ref().is_none_or(|wanted| wanted == own);
        let limit = |limit: Duration| SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        self.id.as_ref().is_none_or(|id| dead.letter.has_id(id))
            && is(&self.name, dead.name())
            && is(&self.kind, dead.kind())
            && self.tag.as_ref().is_none_or(|tag| dead.tags().contains(tag))
            && self.older_than.is_none_or(|least| age >= limit(least))
            && self.newer_than.is_none_or(|most| age < limit(most))
    }
}

/// Returns the kind and the reason of a dead letter, as far as they are known.
pub(in crate::command) fn reason(letter: &Letter) -> String {
    match (letter.kind(), letter.reason()) {
        (Some(kind), Some(reason)) => format!("{kind}: {reason}"),
        (Some(kind), None) => kind.into(),
        (None, _) if letter.is_misdirected() => format!("{}: {DIRECTLY}", kind(letter)),
        (None, _) => "moved by SQS after too many receives".into(),
    }
}

/// Returns the kind of a dead letter, also before a beater has set one.
fn kind(letter: &Letter) -> &str {
    letter.kind().unwrap_or(if letter.is_misdirected() { "misdirected" } else { "moved_by_sqs" })
}

/// Returns a dead letter of a job without a record as JSON.
pub(in crate::command) fn json(letter: &Letter, queue: &str) -> Value {
    DeadLetter { letter: letter.clone(), record: None, unreadable: None }.json(queue)
}
