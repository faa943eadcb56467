//! Sends and receives messages: the port and its two adapters.
//!
//! Queues are identified by name. A name that ends in `.fifo` is a FIFO queue, whose messages have a group. One conformance
//! suite tests both adapters.

pub(crate) mod attribute;
mod memory;
mod sqs;

use std::{collections::BTreeMap, error::Error as StdError, fmt, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use self::attribute::{DEAD, ID, RESERVED};
#[cfg(feature = "lambda")]
pub(crate) use self::sqs::name_of;
pub use self::{memory::Memory, sqs::Sqs};
pub use crate::names::is_fifo;
use crate::{
    chain::Chain,
    envelope::{Envelope, Unreadable, check_id, is_sendable},
};

/// Maximum delay of a message in SQS.
pub const MAX_DELAY: Duration = Duration::from_mins(15);
/// Maximum visibility timeout in SQS.
pub const MAX_VISIBILITY: Duration = Duration::from_hours(12);
/// Maximum bytes of a message, including attributes.
pub const MAX_BYTES: usize = 1 << 20;
/// Maximum bytes of a message on a queue that was created before 2025-08, or with the default of that time.
pub(crate) const OLD_MAX_BYTES: usize = 256 << 10;
/// Maximum number of attributes of a message.
const ATTRIBUTES: usize = 10;
/// Maximum bytes of a message group or a deduplication id.
const IDENTIFIER_BYTES: usize = 128;
/// Maximum number of entries in an SQS request.
const ENTRIES: usize = 10;

/// Sends messages and sets their visibility. Each method returns one result per part, in order.
pub trait Queue: Send + Sync {
    /// Sends messages. Returns their ids.
    fn send<'a>(&'a self, queue: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>>;

    /// Sets the visibility timeout of received messages, counted from now.
    fn set_visibility<'a>(&'a self, queue: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>>;

    /// Checks that the queue exists. The default implementation is for queues that exist at their first use.
    fn find<'a>(&'a self, _queue: &'a str) -> BoxFuture<'a, Result<(), QueueError>> {
        ready(Ok(())).boxed()
    }

    /// Deletes received messages.
    fn delete<'a>(&'a self, queue: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>>;
}

/// A queue from which messages can also be received. A worker does not need this: Lambda passes it the messages.
pub trait Source: Queue {
    /// Receives at most `max` messages (up to ten) that stay invisible for `visibility`.
    fn receive<'a>(&'a self, queue: &'a str, max: usize, visibility: Duration) -> BoxFuture<'a, Result<Vec<Message>, QueueError>>;
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// The body.
    pub body: String,
    /// Text attributes, at most ten.
    pub attributes: BTreeMap<String, String>,
    /// Delay until it becomes visible, at most 15 minutes.
    pub delay: Duration,
    /// The message group: for the order on a FIFO queue, or for fair sharing on a standard queue.
    pub group: Option<String>,
    /// The deduplication id on a FIFO queue.
    pub dedup: Option<String>,
}

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The id assigned by the queue.
    pub id: String,
    /// The receipt handle of this receive.
    pub receipt: String,
    /// The name of the queue.
    pub queue: String,
    /// The body.
    pub body: String,
    /// Text attributes.
    pub attributes: BTreeMap<String, String>,
    /// Number of receives, including this one.
    pub receives: u32,
    /// The instant at which it was sent.
    pub sent_at: Option<Timestamp>,
    /// The message group.
    pub group: Option<String>,
    /// The queue from which SQS has moved it to this dead-letter queue.
    pub source: Option<String>,
    /// The trace header of X-Ray, which an instrumented producer sets.
    pub trace_header: Option<String>,
}

/// A change of the visibility timeout of a received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visibility {
    /// The receipt handle.
    pub receipt: String,
    /// The new timeout, counted from now, at most 12 hours.
    pub timeout: Duration,
}

/// The reason why a queue did not execute a part of a request. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum QueueError {
    /// It cannot succeed: the message exceeds a limit, or the receipt has expired.
    Refused(Arc<dyn StdError + Send + Sync>),
    /// It may or may not have been executed.
    Unknown(Arc<dyn StdError + Send + Sync>),
}

impl QueueError {
    /// Returns the error of a request that cannot succeed.
    pub fn refused(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Refused(reason.into().into())
    }

    /// Returns the error of a request that may have been executed.
    pub fn unknown(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unknown(reason.into().into())
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "the queue refuses it: {reason}"),
            Self::Unknown(error) => write!(f, "the queue did not answer: {}", Chain(&**error)),
        }
    }
}

impl StdError for QueueError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unknown(error) | Self::Refused(error) => Some(&**error),
        }
    }
}

impl Message {
    /// Returns the id of its job and its envelope. The id is the one that the library wrote, otherwise the producer's, otherwise that
    /// of the message. The producer's id counts also if another field cannot be read, because other jobs may wait for it.
    pub(crate) fn open(&self) -> (String, Result<Envelope, Unreadable>) {
        let envelope = Envelope::parse(&self.body);
        let given = match &envelope {
            Ok(envelope) => envelope.id.clone(),
            Err(_) => self.field("id").filter(|id| check_id(id).is_ok()),
        };
        let id = self.attributes.get(ID).cloned().or(given).unwrap_or_else(|| self.id.clone());
        let checked = envelope.and_then(|envelope| check_id(&id).map(|()| envelope));
        (id, checked)
    }

    /// Returns a text field of a body that cannot be read as a whole.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        serde_json::from_str::<Value>(&self.body).ok()?.get(name)?.as_str().map(str::to_owned)
    }

    /// Returns the attributes that the library did not write.
    pub(crate) fn own_attributes(&self) -> BTreeMap<String, String> {
        if self.attributes.is_empty() {
            return BTreeMap::new();
        }
        let own = self.attributes.iter().filter(|(name, _)| !name.starts_with(RESERVED));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Returns the generation that failed, if the message was redriven from the dead-letter queue.
    pub(crate) fn dead(&self) -> Option<u64> {
        self.attributes.get(DEAD)?.parse().ok()
    }
}

impl Outgoing {
    /// Creates a message with this body.
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Returns the bytes that count against [`MAX_BYTES`]: the body, and the name, type and value of each attribute.
    pub fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len());
        self.body.len() + attributes.sum::<usize>()
    }

    /// Adds an attribute if the message then has at most `limit` bytes.
    pub(crate) fn add_attribute(&mut self, name: &str, value: &str, limit: usize) {
        if self.room(name, limit) >= value.len() {
            self.add_cut_attribute(name, value, limit);
        }
    }

    /// Adds an attribute, cut so that the message has at most `limit` bytes. Characters that SQS does not accept become spaces.
    pub(crate) fn add_cut_attribute(&mut self, name: &str, value: &str, limit: usize) {
        let value = &value[..value.floor_char_boundary(self.room(name, limit))];
        let value: String = value.chars().map(|char| if char.is_control() || !is_sendable(char) { ' ' } else { char }).collect();
        if !value.is_empty() && self.attributes.len() < ATTRIBUTES {
            self.attributes.insert(name.into(), value);
        }
    }

    fn room(&self, name: &str, limit: usize) -> usize {
        limit.saturating_sub(self.bytes() + name.len() + "String".len())
    }

    /// Checks the rules of SQS, so that the in-memory queue refuses the same messages.
    fn check(&self, queue: &str) -> Result<(), QueueError> {
        let refused = |reason: String| Err(QueueError::refused(reason));
        if self.bytes() > MAX_BYTES {
            return refused(format!("the message has {} bytes with its attributes; SQS takes {MAX_BYTES}", self.bytes()));
        }
        if self.body.is_empty() {
            return refused("the message is empty".into());
        }
        if self.delay > MAX_DELAY {
            return refused(format!("a delay of {} s; SQS takes 900, `run_at` takes any", self.delay.as_secs()));
        }
        if let Some((name, _)) = self.attributes.iter().find(|(name, value)| name.is_empty() || value.is_empty()) {
            return refused(format!("attribute {name:?} is empty; leave it out"));
        }
        if self.attributes.len() > ATTRIBUTES {
            return refused(format!("{} attributes; SQS takes {ATTRIBUTES}", self.attributes.len()));
        }
        if is_fifo(queue) && self.group.is_none() {
            return refused("a message for a FIFO queue needs a group".into());
        }
        for (field, id) in [("group", &self.group), ("deduplication id", &self.dedup)] {
            if !id.as_deref().is_none_or(is_identifier) {
                return refused(format!(
                    "the {field} must have 1 to {IDENTIFIER_BYTES} letters, digits and punctuation of ASCII, without spaces"
                ));
            }
        }
        if let Some(char) = self.body.chars().find(|char| !is_sendable(*char)) {
            return refused(format!("the body has the character U+{:04X}, which SQS does not take; JSON can escape it", u32::from(char)));
        }
        Ok(())
    }
}

/// Returns `true` if SQS accepts this text as a message group or a deduplication id.
///
/// Source: `MessageGroupId` and `MessageDeduplicationId` in the SQS API reference, `SendMessage`.
pub(crate) fn is_identifier(text: &str) -> bool {
    (1..=IDENTIFIER_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns a message group or deduplication id for a text: the text itself if SQS accepts it, otherwise a derived one.
pub(crate) fn dedup(text: &str) -> String {
    if is_identifier(text) {
        return text.into();
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).to_string()
}

impl Visibility {
    fn check(&self) -> Result<(), QueueError> {
        if self.timeout > MAX_VISIBILITY {
            return Err(QueueError::refused(format!("a visibility of {} s; SQS takes 43200", self.timeout.as_secs())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<(), QueueError>) -> String {
        result.expect_err("must be refused").to_string()
    }

    #[test]
    fn a_delay_over_fifteen_minutes_is_refused_before_it_is_sent() {
        let message = Outgoing { delay: Duration::from_secs(901), ..Outgoing::new("{}") };
        assert!(refusal(message.check("q")).contains("run_at"));
        assert!(Outgoing { delay: MAX_DELAY, ..message }.check("q").is_ok());
    }

    #[test]
    fn a_visibility_over_twelve_hours_is_refused_before_it_is_sent() {
        let change = Visibility { receipt: "r".into(), timeout: MAX_VISIBILITY + Duration::from_secs(1) };
        assert!(refusal(change.check()).contains("43201"));
        assert!(Visibility { timeout: MAX_VISIBILITY, ..change }.check().is_ok());
    }

    #[test]
    fn attributes_count_against_the_size_of_a_message() {
        let mut message = Outgoing::new("x".repeat(MAX_BYTES - 10));
        assert!(message.check("q").is_ok());
        message.attributes.insert("a".into(), "1234".into());
        assert_eq!(message.bytes(), MAX_BYTES + 1);
        assert!(refusal(message.check("q")).contains("1048577"));
    }

    #[test]
    fn an_attribute_without_a_name_or_a_value_is_refused() {
        for (name, value) in [("", "v"), ("n", "")] {
            let message = Outgoing { attributes: [(name.into(), value.into())].into(), ..Outgoing::new("{}") };
            assert!(refusal(message.check("q")).contains(&format!("attribute {name:?} is empty")), "{name:?}");
        }
    }

    #[test]
    fn a_fifo_message_without_a_group_is_refused() {
        assert!(refusal(Outgoing::new("{}").check("q.fifo")).contains("group"));
    }

    #[test]
    fn a_group_that_sqs_does_not_take_is_refused_by_its_name() {
        let message = |group: &str| Outgoing { group: Some(group.into()), ..Outgoing::new("{}") };
        for group in ["", "a b", "é", &"x".repeat(129)] {
            assert!(refusal(message(group).check("q")).contains("the group must have 1 to 128 letters"), "{group:?}");
        }
        assert!(message(&"!~".repeat(64)).check("q").is_ok());
        let twice = Outgoing { dedup: Some("a b".into()), ..message("g") };
        assert!(refusal(twice.check("q.fifo")).contains("the deduplication id must have"));
    }

    #[test]
    fn a_character_that_sqs_does_not_take_is_refused_by_its_number() {
        for (body, number) in [("a\u{0}", "U+0000"), ("a\u{1f}", "U+001F"), ("\u{fffe}", "U+FFFE"), ("\u{ffff}", "U+FFFF")] {
            assert!(refusal(Outgoing::new(body).check("q")).contains(number), "{body:?}");
        }
        assert!(Outgoing::new("\t\n\r \u{7f}\u{fffd}\u{10000}").check("q").is_ok());
    }
    #[test]
    fn a_message_of_exactly_the_largest_size_is_accepted() {
        let message = |bytes| Outgoing::new("x".repeat(bytes)).check("q");
        assert!(message(MAX_BYTES).is_ok());
        assert!(refusal(message(MAX_BYTES + 1)).contains("1048577"));
    }

    #[test]
    fn an_error_of_a_queue_tells_its_source() {
        for error in [QueueError::unknown("no connection"), QueueError::refused("no connection")] {
            assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("no connection"));
        }
    }
}
