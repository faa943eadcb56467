use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;

use super::{Message, Outgoing, Queue, QueueError, Visibility, is_fifo};
use crate::clock::{self, Clock};

/// For how long a FIFO queue remembers a deduplication id.
const DEDUP_WINDOW: Duration = Duration::from_mins(5);

/// Queues in memory, for eager mode and tests; a queue exists once it is named. Clones share them.
#[derive(Debug, Clone)]
pub struct Memory {
    clock: Clock,
    queues: Arc<Mutex<BTreeMap<String, Vec<Stored>>>>,
}

#[derive(Debug, Clone)]
struct Stored {
    message: Message,
    dedup: Option<String>,
    visible_at: Timestamp,
    deleted: bool,
}

impl Memory {
    /// No queue yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, queues: Arc::default() }
    }

    fn with<T>(&self, queue: &str, work: impl FnOnce(&mut Vec<Stored>) -> T) -> T {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        work(queues.entry(queue.into()).or_default())
    }

    /// The names of the queues.
    pub fn names(&self) -> Vec<String> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The messages of a queue, in the order in which they were sent, invisible ones included.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        self.with(queue, |stored| live(stored).map(|stored| stored.message.clone()).collect())
    }

    /// When the next message of a queue can be received, if it holds any.
    pub fn next_visible(&self, queue: &str) -> Option<Timestamp> {
        let mut groups = HashSet::new();
        let mut is_head = |stored: &&Stored| !is_fifo(queue) || groups.insert(stored.message.group.clone());
        self.with(queue, |stored| live(stored).filter(|stored| is_head(stored)).map(|stored| stored.visible_at).min())
    }

    fn push(&self, queue: &str, outgoing: &Outgoing) -> Result<String, QueueError> {
        outgoing.check(queue)?;
        let now = self.clock.now();
        self.with(queue, |stored| {
            if let Some(first) = stored.iter().find(|first| repeats(first, outgoing, queue, now)) {
                return Ok(first.message.id.clone());
            }
            let message = Message {
                id: uuid::Uuid::new_v4().to_string(),
                queue: queue.into(),
                body: outgoing.body.clone(),
                attributes: outgoing.attributes.clone(),
                sent_at: Some(now),
                group: outgoing.group.clone(),
                ..Message::default()
            };
            let id = message.id.clone();
            let visible_at = clock::after(now, outgoing.delay);
            stored.push(Stored { message, dedup: outgoing.dedup.clone(), visible_at, deleted: false });
            Ok(id)
        })
    }

    fn change(&self, queue: &str, change: &Visibility) -> Result<(), QueueError> {
        change.check()?;
        let visible_at = clock::after(self.clock.now(), change.timeout);
        self.with(queue, |stored| received(stored, &change.receipt).map(|stored| stored.visible_at = visible_at))
    }
}

fn live(stored: &[Stored]) -> impl Iterator<Item = &Stored> {
    stored.iter().filter(|stored| !stored.deleted)
}

fn received<'a>(stored: &'a mut [Stored], receipt: &str) -> Result<&'a mut Stored, QueueError> {
    let found = stored.iter_mut().find(|stored| !stored.deleted && stored.message.receipt == receipt);
    found.ok_or_else(|| QueueError::Refused("the receipt handle has expired".into()))
}

fn repeats(first: &Stored, outgoing: &Outgoing, queue: &str, now: Timestamp) -> bool {
    let recent = first.message.sent_at.is_some_and(|sent| clock::after(sent, DEDUP_WINDOW) > now);
    is_fifo(queue) && recent && outgoing.dedup.is_some() && first.dedup == outgoing.dedup
}

/// What a receive takes: what is visible, and on a FIFO queue not behind an invisible message of its group.
fn take(stored: &mut [Stored], fifo: bool, max: usize, now: Timestamp, visible_at: Timestamp) -> Vec<Message> {
    let mut blocked = HashSet::new();
    let mut taken = Vec::new();
    for stored in stored.iter_mut().filter(|stored| !stored.deleted) {
        let group = stored.message.group.clone();
        if stored.visible_at > now {
            blocked.insert(group);
        } else if taken.len() < max && !(fifo && blocked.contains(&group)) {
            stored.visible_at = visible_at;
            stored.message.receives += 1;
            stored.message.receipt = uuid::Uuid::new_v4().to_string();
            taken.push(stored.message.clone());
        }
    }
    taken
}

impl Queue for Memory {
    fn send<'a>(&'a self, queue: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        ready(messages.iter().map(|message| self.push(queue, message)).collect()).boxed()
    }

    fn set_visibility<'a>(&'a self, queue: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        ready(changes.iter().map(|change| self.change(queue, change)).collect()).boxed()
    }

    fn receive<'a>(&'a self, queue: &'a str, max: usize, visibility: Duration) -> BoxFuture<'a, Result<Vec<Message>, QueueError>> {
        let now = self.clock.now();
        let visible_at = clock::after(now, visibility);
        ready(Ok(self.with(queue, |stored| take(stored, is_fifo(queue), max, now, visible_at)))).boxed()
    }

    fn delete<'a>(&'a self, queue: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        let delete = |receipt| {
            self.with(queue, |stored| {
                received(stored, receipt)?.deleted = true;
                // What has a deduplication id is remembered.
                stored.retain(|stored| !stored.deleted || stored.dedup.is_some());
                Ok(())
            })
        };
        ready(receipts.iter().map(|receipt| delete(receipt)).collect()).boxed()
    }
}
