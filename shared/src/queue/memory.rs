use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;

use super::{Message, Outgoing, Queue, QueueError, Source, Visibility, is_fifo};
use crate::clock::{self, Clock};

/// Time for which a FIFO queue remembers a deduplication id.
const DEDUP_WINDOW: Duration = Duration::from_mins(5);

/// Queues in memory, for eager mode and tests. A queue exists at its first use. Clones share the queues.
#[derive(Debug, Clone)]
pub struct Memory {
    clock: Clock,
    queues: Arc<Mutex<BTreeMap<String, Contents>>>,
}

/// The messages and deduplication ids of a queue.
#[derive(Debug, Default)]
struct Contents {
    /// Messages in the order in which they were sent.
    messages: BTreeMap<u64, Stored>,
    sent: u64,
    /// Messages by the handles of their last receives.
    receipts: HashMap<String, u64>,
    /// The message sent with each deduplication id, and its instant.
    dedups: HashMap<String, (String, Timestamp)>,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    visible_at: Timestamp,
}

impl Memory {
    /// Creates an empty set of queues.
    pub fn new(clock: Clock) -> Self {
        Self { clock, queues: Arc::default() }
    }

    fn with<T>(&self, queue: &str, work: impl FnOnce(&mut Contents) -> T) -> T {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        work(queues.entry(queue.into()).or_default())
    }

    /// Returns the names of the queues.
    pub fn names(&self) -> Vec<String> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Returns the messages of a queue in the order in which they were sent, including invisible ones.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        self.with(queue, |contents| contents.messages.values().map(|stored| stored.message.clone()).collect())
    }

    /// Returns the instant at which the next message of a queue can be received, if the queue has any.
    pub fn next_visible(&self, queue: &str) -> Option<Timestamp> {
        let mut groups = HashSet::new();
        let mut is_head = |stored: &&Stored| !is_fifo(queue) || groups.insert(stored.message.group.clone());
        self.with(queue, |contents| contents.messages.values().filter(|stored| is_head(stored)).map(|stored| stored.visible_at).min())
    }

    /// Marks the last message of every queue as moved there by SQS.
    #[cfg(test)]
    pub(crate) fn moved_from(&self, source: &str) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for mut last in queues.values_mut().filter_map(|contents| contents.messages.last_entry()) {
            last.get_mut().message.source = Some(source.into());
        }
    }

    fn push(&self, queue: &str, outgoing: &Outgoing) -> Result<String, QueueError> {
        outgoing.check(queue)?;
        let now = self.clock.now();
        let dedup = outgoing.dedup.as_ref().filter(|_| is_fifo(queue));
        self.with(queue, |contents| {
            let first = dedup.and_then(|dedup| contents.dedups.get(dedup));
            if let Some((id, _)) = first.filter(|(_, sent)| clock::after(*sent, DEDUP_WINDOW) > now) {
                return Ok(id.clone());
            }
            let id = uuid::Uuid::new_v4().to_string();
            if let Some(dedup) = dedup {
                contents.dedups.insert(dedup.clone(), (id.clone(), now));
            }
            let message = Message {
                id: id.clone(),
                queue: queue.into(),
                body: outgoing.body.clone(),
                attributes: outgoing.attributes.clone(),
                sent_at: Some(now),
                group: outgoing.group.clone(),
                ..Message::default()
            };
            contents.sent += 1;
            contents.messages.insert(contents.sent, Stored { message, visible_at: clock::after(now, outgoing.delay) });
            Ok(id)
        })
    }

    fn change(&self, queue: &str, change: &Visibility) -> Result<(), QueueError> {
        change.check()?;
        // SQS counts whole seconds.
        let visible_at = clock::after(self.clock.now(), Duration::from_secs(change.timeout.as_secs()));
        self.with(queue, |contents| {
            let place = contents.receipts.get(&change.receipt).ok_or_else(expired)?;
            contents.messages.get_mut(place).ok_or_else(expired)?.visible_at = visible_at;
            Ok(())
        })
    }
}

impl Contents {
    /// Returns the messages for a receive: visible, and on a FIFO queue not behind an invisible message of their group.
    fn take(&mut self, fifo: bool, max: usize, now: Timestamp, visible_at: Timestamp) -> Vec<Message> {
        let mut blocked = HashSet::new();
        let mut taken = Vec::new();
        for (place, stored) in &mut self.messages {
            if taken.len() == max {
                break;
            }
            if stored.visible_at > now {
                blocked.insert(stored.message.group.clone());
            } else if !(fifo && blocked.contains(&stored.message.group)) {
                stored.visible_at = visible_at;
                stored.message.receives += 1;
                self.receipts.remove(&stored.message.receipt);
                stored.message.receipt = uuid::Uuid::new_v4().to_string();
                self.receipts.insert(stored.message.receipt.clone(), *place);
                taken.push(stored.message.clone());
            }
        }
        taken
    }

    fn delete(&mut self, receipt: &str) -> Result<(), QueueError> {
        let place = self.receipts.remove(receipt).ok_or_else(expired)?;
        self.messages.remove(&place);
        Ok(())
    }
}

fn expired() -> QueueError {
    QueueError::refused("the receipt handle has expired")
}

impl Queue for Memory {
    fn send<'a>(&'a self, queue: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        ready(messages.iter().map(|message| self.push(queue, message)).collect()).boxed()
    }

    fn set_visibility<'a>(&'a self, queue: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        ready(changes.iter().map(|change| self.change(queue, change)).collect()).boxed()
    }

    fn delete<'a>(&'a self, queue: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        ready(self.with(queue, |contents| receipts.iter().map(|receipt| contents.delete(receipt)).collect())).boxed()
    }
}

impl Source for Memory {
    fn receive<'a>(&'a self, queue: &'a str, max: usize, visibility: Duration) -> BoxFuture<'a, Result<Vec<Message>, QueueError>> {
        let now = self.clock.now();
        let visible_at = clock::after(now, visibility);
        ready(Ok(self.with(queue, |contents| contents.take(is_fifo(queue), max, now, visible_at)))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deduplication_id_counts_for_five_minutes() {
        let clock = Clock::frozen("2026-05-04T12:00:00Z".parse().expect("an instant"));
        let queues = Memory::new(clock.clone());
        let message = Outgoing { group: Some("g".into()), dedup: Some("d".into()), ..Outgoing::new("{}") };
        for (wait, messages) in [(0, 1), (299, 1), (1, 2)] {
            clock.advance(Duration::from_secs(wait));
            queues.push("q.fifo", &message).expect("it is sent");
            assert_eq!(queues.messages("q.fifo").len(), messages);
        }
    }
}
