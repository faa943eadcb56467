//! The state of the world.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    port::{Request, hash_record},
    process::{Kind, Process, digest_of},
    *,
};
use crate::{Record, State, queue::Message, store::Link};

#[derive(Debug, Clone)]
pub(super) struct World {
    /// Minutes since the start.
    pub(super) now: i64,
    pub(super) rows: BTreeMap<String, Row>,
    /// The ids of items that are no records.
    pub(super) phantoms: Vec<String>,
    pub(super) messages: Vec<Sent>,
    /// The deduplication ids that the queue remembers.
    pub(super) remembered: Vec<String>,
    pub(super) processes: Vec<Arc<Process>>,
    /// Requests of dead processes that may still be made.
    pub(super) strays: Vec<(Arc<Kind>, Request)>,
    pub(super) ghost: Ghost,
    pub(super) left: Budget,
    pub(super) broken: Option<Property>,
}

/// A stored record and its digest.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) record: Arc<Record>,
    digest: u64,
}

impl Row {
    pub(super) fn new(record: Arc<Record>) -> Self {
        let mut hasher = DefaultHasher::new();
        hash_record(&record, &mut hasher);
        Self { record, digest: hasher.finish() }
    }
}

/// A message in the queue.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) number: u8,
    /// The id of its job.
    pub(super) id: &'static str,
    pub(super) message: Arc<Message>,
    /// `true` if it was never received.
    pub(super) is_fresh: bool,
    /// `true` if SQS has moved it to the dead-letter queue.
    pub(super) is_moved: bool,
}

/// Facts about the past that the properties need, and that no process sees.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the run so far")]
#[derive(Debug, Clone, Hash, PartialEq, Default)]
pub(super) struct Ghost {
    /// `true` if A has succeeded since B began to wait.
    pub(super) has_succeeded: bool,
    /// `true` if A has ended in another way since B began to wait.
    pub(super) has_failed: bool,
    /// `true` if a worker has rejected the message of A and found no record. The job is then like one that was never enqueued.
    pub(super) is_unknown: bool,
    /// The numbers of starts of A and B since the last retry.
    pub(super) starts: [u8; 2],
    /// `true` for A and B while their last claim is one that a dead process had sent. It starts no body.
    pub(super) is_idle: [bool; 2],
    /// `true` while the request of a dead process is made.
    pub(super) is_stray: bool,
    /// The numbers of workers that died with a message of A or B since the last retry.
    pub(super) killed: [u8; 2],
}

/// Returns the index of a job in counters.
pub(super) fn index(id: &str) -> usize {
    usize::from(id == B)
}

/// Returns the static id of a job.
pub(super) fn static_id(id: &str) -> &'static str {
    [A, C].into_iter().find(|known| *known == id).unwrap_or(B)
}

/// Returns the tokens in a record: of its owner, and of the holders of keys.
pub(super) fn tokens(record: &Record) -> impl Iterator<Item = &str> {
    let held = record.held.values().map(|place| &*place.entry);
    record.owner.as_deref().into_iter().chain(held).chain(record.holders.iter().map(|entry| &**entry))
}

impl World {
    pub(super) fn get(&self, id: &str) -> Option<&Record> {
        self.rows.get(id).map(|row| &*row.record)
    }

    pub(super) fn state(&self, id: &str) -> Option<State> {
        self.get(id).map(|record| record.state)
    }

    pub(super) fn has_message(&self, id: &str) -> bool {
        self.messages.iter().any(|sent| sent.id == id)
    }

    /// Returns the first prefix that no token in use has, so that worlds that differ only in unused tokens are equal.
    pub(super) fn prefix(&self) -> String {
        let writes = self.strays.iter().filter_map(|(_, request)| if let Request::Write(writes) = request { Some(writes) } else { None });
        let written = writes.flatten().flat_map(|write| write.seen.iter().chain([&write.next]));
        let records = self.rows.values().map(|row| &row.record).chain(written);
        let mut used: Vec<&str> = records.flat_map(|record| tokens(record)).collect();
        let links = self.strays.iter().filter_map(|(_, request)| if let Request::Link(links) = request { Some(links) } else { None });
        for link in links.flatten() {
            match link {
                Link::Take { holder, .. } => used.push(holder),
                Link::Give { holders, .. } => used.extend(holders.iter().map(|holder| &**holder)),
                Link::Await { owner, .. } => used.push(owner),
                _ => {}
            }
        }
        used.extend(self.processes.iter().flat_map(|process| process.tokens.iter().chain([&process.prefix])).map(|token| &**token));
        used.extend(self.remembered.iter().map(|text| text.split_once(':').map_or("", |(_, token)| token)));
        let is_free = |prefix: &String| !used.iter().any(|token| token.starts_with(prefix.as_str()));
        (0..=used.len()).map(|number| format!("{number}{SEPARATOR}")).find(is_free).expect("one more than are used")
    }

    /// Adds a message. Returns `false` if the queue has deduplicated it.
    pub(super) fn send(&mut self, message: Message, dedup: Option<String>) -> bool {
        if let Some(dedup) = dedup {
            if self.remembered.contains(&dedup) {
                return false;
            }
            self.remembered.push(dedup);
            self.remembered.sort_unstable();
        }
        let is_used = |number: u8| self.is_held(number) || self.messages.iter().any(|sent| sent.number == number);
        let number = (0..u8::MAX).find(|number| !is_used(*number)).expect("there are few messages");
        let (id, _) = message.open();
        let sent = Sent { number, id: static_id(&id), message: Arc::new(message), is_fresh: true, is_moved: false };
        self.messages.push(sent);
        self.messages.sort_unstable_by_key(|sent| sent.number);
        true
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.hash_present(hasher);
        (&self.ghost, &self.left, self.broken).hash(hasher);
    }
}

impl World {
    /// Hashes all that can change the further course without faults.
    pub(super) fn hash_present(&self, hasher: &mut impl Hasher) {
        for (id, row) in &self.rows {
            (id, row.digest).hash(hasher);
        }
        for sent in &self.messages {
            (sent.number, sent.id, &sent.message.body, &sent.message.attributes, sent.is_fresh, sent.is_moved).hash(hasher);
        }
        // The order of the processes is without meaning.
        let mut processes: Vec<_> = self.processes.iter().map(|process| digest_of(&**process)).collect();
        processes.sort_unstable();
        let strays: Vec<_> = self.strays.iter().map(|(_, request)| digest_of(&format!("{request:?}"))).collect();
        (self.now, &self.phantoms, &self.remembered, processes, strays).hash(hasher);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        digest_of(self) == digest_of(other)
    }
}
