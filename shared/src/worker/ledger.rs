//! Group commit: the deliveries of a batch share requests to the store.
//!
//! What is ready while requests are under way shares the next one. A finish waits up to [`GATHER`] for the jobs that
//! still run, so that jobs that end together are recorded together; nothing waits longer for a slow neighbour.
//!
//! A job's writes follow one another, so a request never holds two for one key, and none is under way twice.

use std::{
    convert::Infallible,
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    future::{BoxFuture, FutureExt},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    Backoff,
    lifecycle::{Resolution, resolve},
    record::Record,
    retry::jitter,
    store::{Store, StoreError, Write, Written},
};

/// The longest that a finish waits for others.
const GATHER: Duration = Duration::from_millis(10);
/// Requests under way at the same time.
const UNDER_WAY: usize = 2;
/// How often a write is tried that met throttling or whose answer was lost.
const TRIES: u32 = 5;
const BACKOFF: Backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1));

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Collects reads and writes into requests. Nothing moves unless [`Ledger::drive`] is polled.
pub(crate) struct Ledger<'a> {
    store: &'a dyn Store,
    /// When an answer comes too late to be told.
    closes_at: Instant,
    queued: Mutex<Queued>,
    changed: Notify,
    running: AtomicUsize,
}

#[derive(Default)]
struct Queued {
    reads: Vec<(String, Answer<Option<Record>>)>,
    writes: Vec<Waiting>,
}

/// A write that waits for its request.
struct Waiting {
    write: Write,
    /// When it must leave at the latest.
    leave_by: Instant,
    asker: Answer<Written>,
}

/// That a body runs, for whose finish others wait a moment.
pub(crate) struct Running<'a>(&'a Ledger<'a>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_one();
    }
}

impl Queued {
    /// When the first of the writes must leave at the latest.
    fn leave_by(&self) -> Option<Instant> {
        self.writes.iter().map(|waiting| waiting.leave_by).min()
    }
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(store: &'a dyn Store, closes_at: Instant) -> Self {
        Self { store, closes_at, queued: Mutex::default(), changed: Notify::new(), running: AtomicUsize::new(0) }
    }

    pub(crate) fn running(&'a self) -> Running<'a> {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(self)
    }

    /// Reads a record.
    pub(crate) async fn read(&self, id: &str) -> Result<Option<Record>, StoreError> {
        timeout_at(self.closes_at, self.look(id)).await.unwrap_or_else(|_| Err(closed()))
    }

    async fn look(&self, id: &str) -> Result<Option<Record>, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (sender, answer) = oneshot::channel();
            self.queue(|queued| queued.reads.push((id.to_owned(), sender)));
            match answer.await.unwrap_or_else(|_| Err(dropped())) {
                Err(StoreError::Busy(_) | StoreError::Unknown(_)) if tries < TRIES => pause(tries).await,
                answer => return answer,
            }
        }
    }

    /// Makes a conditional write now.
    pub(crate) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        self.settle_in_time(write, Duration::ZERO, None).await
    }

    /// Makes the last write of an attempt, together with those of others that end within moments.
    pub(crate) async fn finish(&self, write: Write, running: Option<Running<'_>>) -> Result<Written, StoreError> {
        self.settle_in_time(write, GATHER, running).await
    }

    async fn settle_in_time(&self, write: Write, wait: Duration, running: Option<Running<'_>>) -> Result<Written, StoreError> {
        timeout_at(self.closes_at, self.settle(write, wait, running)).await.unwrap_or_else(|_| Err(closed()))
    }

    /// Repeats a write until it is known to be made or refused. An answer that was lost, or a refusal that may be of
    /// an earlier try, is resolved by looking.
    async fn settle(&self, write: Write, wait: Duration, mut running: Option<Running<'_>>) -> Result<Written, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let stored = match self.submit(write.clone(), wait, running.take()).await {
                Ok(Written::Refused(Some(stored))) => Some(*stored),
                Ok(Written::Refused(None)) => self.look(&write.next.id).await?,
                Err(StoreError::Unknown(_)) if tries < TRIES => self.look(&write.next.id).await?,
                Err(StoreError::Busy(_)) if tries < TRIES => {
                    pause(tries).await;
                    continue;
                }
                answer => return answer,
            };
            match resolve(&write.next, write.seen.as_deref(), stored) {
                Resolution::Ours => return Ok(Written::Done),
                Resolution::Open if tries < TRIES => pause(tries).await,
                Resolution::Open => return Err(StoreError::Busy("the write was refused and then possible, again and again".into())),
                Resolution::Refused(stored) => return Ok(Written::Refused(stored)),
            }
        }
    }

    async fn submit(&self, write: Write, wait: Duration, running: Option<Running<'_>>) -> Result<Written, StoreError> {
        let (asker, answer) = oneshot::channel();
        let leave_by = Instant::now() + wait;
        self.queue(|queued| queued.writes.push(Waiting { write, leave_by, asker }));
        drop(running);
        answer.await.unwrap_or_else(|_| Err(dropped()))
    }

    fn queue<T>(&self, change: impl FnOnce(&mut Queued) -> T) -> T {
        let changed = change(&mut self.queued.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
        changed
    }

    /// Sends what is ready, for ever.
    pub(crate) async fn drive(&self) -> Infallible {
        let (mut reads, mut under_way) = (FuturesUnordered::new(), FuturesUnordered::new());
        loop {
            reads.extend(self.next_read());
            while under_way.len() < UNDER_WAY
                && let Some(write) = self.next_write()
            {
                under_way.push(write);
            }
            let leave_by = self.queue_leaves_by().filter(|_| under_way.len() < UNDER_WAY);
            tokio::select! { biased;
                Some(()) = under_way.next() => {}
                Some(()) = reads.next() => {}
                () = self.changed.notified() => {}
                () = sleep_until(leave_by.unwrap_or_else(Instant::now)), if leave_by.is_some() => {}
            }
        }
    }

    fn queue_leaves_by(&self) -> Option<Instant> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner).leave_by()
    }

    fn next_read(&self) -> Option<BoxFuture<'_, ()>> {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = mem::take(&mut queued.reads);
        (!reads.is_empty()).then(|| self.read_all(reads).boxed())
    }

    fn next_write(&self) -> Option<BoxFuture<'_, ()>> {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        queued.writes.retain(|waiting| !waiting.asker.is_closed()); // given up before it was sent
        let leave_by = queued.leave_by()?;
        let ready = self.running.load(Ordering::SeqCst) == 0 || Instant::now() >= leave_by;
        ready.then(|| self.write_all(mem::take(&mut queued.writes)).boxed())
    }

    async fn read_all(&self, reads: Vec<(String, Answer<Option<Record>>)>) {
        let (ids, senders): (Vec<_>, Vec<_>) = reads.into_iter().unzip();
        for (answer, sender) in self.store.read(&ids).await.into_iter().zip(senders) {
            sender.send(answer).ok();
        }
    }

    async fn write_all(&self, writes: Vec<Waiting>) {
        let (writes, senders): (Vec<_>, Vec<_>) = writes.into_iter().map(|waiting| (waiting.write, waiting.asker)).unzip();
        for (answer, sender) in self.store.write(&writes).await.into_iter().zip(senders) {
            sender.send(answer).ok();
        }
    }
}

async fn pause(tries: u32) {
    sleep(BACKOFF.delay(tries, jitter())).await;
}

fn closed() -> StoreError {
    StoreError::Unknown("the invocation ends".into())
}

fn dropped() -> StoreError {
    StoreError::Unknown("the request was given up".into())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::poll_immediate;

    use super::*;
    use crate::store::Memory;

    #[tokio::test]
    async fn a_write_that_was_given_up_is_not_sent_and_not_waited_for() {
        let store = Memory::new();
        let ledger = Ledger::new(&store, Instant::now() + Duration::from_mins(1));
        let write = Write::insert(Record { id: "a".into(), ..Record::default() });
        {
            let given_up = pin!(ledger.write(write));
            assert!(poll_immediate(given_up).await.is_none(), "it is queued");
        }
        assert!(ledger.queue_leaves_by().is_some());
        assert!(ledger.next_write().is_none(), "nothing is sent");
        assert!(ledger.queue_leaves_by().is_none(), "nothing is waited for");
    }
}
