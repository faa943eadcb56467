//! A queue that records its calls in order.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::time::Instant;

use super::faulty::lock;
use crate::{
    Clock,
    queue::{Memory, Message, Outgoing, Queue, QueueError, Visibility},
};

/// In-memory queues that accept every change and record the calls.
#[derive(Debug, Clone)]
pub(super) struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Memory,
    calls: Mutex<Vec<(Instant, Call)>>,
    deaf: AtomicBool,
}

/// A recorded call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    /// The queue and the number of messages.
    Send(String, usize),
    /// The receipts, each with its timeout in seconds.
    Visibility(Vec<(String, u64)>),
    /// The receipts.
    Delete(Vec<String>),
}

impl Recorder {
    pub(super) fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { memory: Memory::new(clock), calls: Mutex::default(), deaf: AtomicBool::new(false) }))
    }

    /// Makes all sends fail, or succeed again.
    pub(super) fn refuse_sends(&self, refuse: bool) {
        self.0.deaf.store(refuse, Ordering::SeqCst);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        lock(&self.0.calls).iter().map(|(_, call)| call.clone()).collect()
    }

    /// Returns each call with its instant.
    pub(super) fn timed(&self) -> Vec<(Instant, Call)> {
        lock(&self.0.calls).clone()
    }

    /// Returns the last visibility timeout of a message in seconds.
    pub(super) fn visibility(&self, id: &str) -> Option<u64> {
        let calls = self.calls().into_iter().rev();
        let mut changes = calls.filter_map(|call| if let Call::Visibility(changes) = call { Some(changes) } else { None }).flatten();
        changes.find(|(receipt, _)| receipt == &receipt_of(id)).map(|(_, seconds)| seconds)
    }

    /// Returns the instant at which the next message of a queue becomes visible.
    pub(super) fn next_visible(&self, queue: &str) -> Option<jiff::Timestamp> {
        self.0.memory.next_visible(queue)
    }

    /// Returns the messages in a queue.
    pub(super) fn messages(&self, queue: &str) -> Vec<Message> {
        self.0.memory.messages(queue)
    }

    fn note(&self, call: Call) {
        lock(&self.0.calls).push((Instant::now(), call));
    }
}

/// Returns the receipt of the message with this id in these tests.
pub(super) fn receipt_of(id: &str) -> String {
    format!("receipt of {id}")
}

impl Queue for Recorder {
    fn send<'a>(&'a self, queue: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        self.note(Call::Send(queue.into(), messages.len()));
        if self.0.deaf.load(Ordering::SeqCst) {
            return ready(messages.iter().map(|_| Err(QueueError::unknown("no connection"))).collect()).boxed();
        }
        self.0.memory.send(queue, messages)
    }

    fn set_visibility<'a>(&'a self, _: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        let seconds = |change: &Visibility| (change.receipt.clone(), change.timeout.as_secs());
        self.note(Call::Visibility(changes.iter().map(seconds).collect()));
        ready(changes.iter().map(|_| Ok(())).collect()).boxed()
    }

    fn delete<'a>(&'a self, _: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        self.note(Call::Delete(receipts.to_vec()));
        ready(receipts.iter().map(|_| Ok(())).collect()).boxed()
    }
}
