//! Group commit: the deliveries of a batch share requests to the store.
//!
//! Writes that become ready while requests are pending share the next request. The last write of an attempt waits up to [`GATHER`] for
//! running jobs, so that jobs that end at the same time are recorded together. No write waits longer for a slow neighbour.
//!
//! A request never contains two writes for one key. Usually the writes of a job follow one another. If two are ready at the same time,
//! the second is left for the next request.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::pending,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    future::{BoxFuture, FutureExt, join_all},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    Backoff,
    lifecycle::{Resolution, resolve},
    record::Record,
    retry::jitter,
    store::{Link, Linked, Store, StoreError, Write, Written},
};

/// Maximum time for which a finish waits for others.
const GATHER: Duration = Duration::from_millis(10);
/// Maximum number of concurrent write requests.
const UNDER_WAY: usize = 2;
/// Maximum attempts of a request that was throttled or whose answer was lost.
const TRIES: u32 = 5;
const BACKOFF: Backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1));

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Collects reads and writes into requests. Requests are sent only while [`Ledger::drive`] is polled.
pub(crate) struct Ledger<'a> {
    store: &'a dyn Store,
    /// The instant after which answers are too late.
    closes_at: Instant,
    queued: Mutex<Queued>,
    changed: Notify,
    running: AtomicUsize,
}

#[derive(Default)]
struct Queued {
    closed: bool,
    reads: Vec<(String, Answer<Option<Record>>)>,
    writes: Vec<Waiting>,
    links: Vec<(Link, Answer<Linked>)>,
}

/// A write that waits for its request.
struct Waiting {
    write: Write,
    /// The latest instant at which it must be sent.
    leave_by: Instant,
    asker: Answer<Written>,
}

/// Guard held while a body runs; the finishes of other jobs wait briefly for it.
pub(crate) struct Running<'a>(&'a Ledger<'a>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_one();
    }
}

impl Queued {
    /// Returns the earliest `leave_by` of the queued writes.
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
        let mut tries = 0;
        loop {
            tries += 1;
            let (asker, answer) = oneshot::channel();
            self.queue(|queued| queued.reads.push((id.to_owned(), asker)));
            match answer.await.map_err(|_| closed())? {
                Err(StoreError::Busy(_) | StoreError::Unknown(_)) if tries < TRIES => self.pause(tries).await,
                answer => return answer,
            }
        }
    }

    /// Makes a conditional write without waiting for others.
    pub(crate) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        self.settle(write, Duration::ZERO, None).await
    }

    /// Makes the last write of an attempt, together with those of other attempts that end within moments.
    pub(crate) async fn finish(&self, write: Write, running: Option<Running<'_>>) -> Result<Written, StoreError> {
        self.settle(write, GATHER, running).await
    }

    /// Repeats a write until it is known to be made or refused. It reads the record if an answer was lost, or if an earlier attempt of
    /// the same write may have caused the refusal.
    async fn settle(&self, write: Write, wait: Duration, mut running: Option<Running<'_>>) -> Result<Written, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let stored = match self.submit(write.clone(), wait, running.take()).await? {
                Ok(Written::Refused(Some(stored))) => Some(*stored),
                Ok(Written::Refused(None)) => self.read(&write.next.id).await?,
                Err(StoreError::Unknown(_)) if tries < TRIES => self.read(&write.next.id).await?,
                Err(StoreError::Busy(_)) if tries < TRIES => {
                    self.pause(tries).await;
                    continue;
                }
                answer => return answer,
            };
            match resolve(&write.next, write.seen.as_deref(), stored) {
                Resolution::Ours => return Ok(Written::Done),
                Resolution::Open if tries < TRIES => self.pause(tries).await,
                Resolution::Open => {
                    return Err(StoreError::Busy("the write was refused at each try, although the record allows it".into()));
                }
                Resolution::Refused(stored) => return Ok(Written::Refused(stored)),
            }
        }
    }

    /// Changes a link. Repeats a change whose answer was lost. This is safe, because making the change twice has the same result as once.
    async fn link_one(&self, link: &Link) -> Result<Linked, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (asker, answer) = oneshot::channel();
            self.queue(|queued| queued.links.push((link.clone(), asker)));
            match answer.await.map_err(|_| closed())? {
                Err(StoreError::Busy(_) | StoreError::Unknown(_)) if tries < TRIES => self.pause(tries).await,
                answer => return answer,
            }
        }
    }

    /// Returns the answer of the store, or an error if the ledger closes first.
    async fn submit(&self, write: Write, wait: Duration, running: Option<Running<'_>>) -> Result<Result<Written, StoreError>, StoreError> {
        let (asker, answer) = oneshot::channel();
        let leave_by = Instant::now() + wait;
        self.queue(|queued| queued.writes.push(Waiting { write, leave_by, asker }));
        drop(running);
        answer.await.map_err(|_| closed())
    }

    async fn pause(&self, tries: u32) {
        sleep_until(self.closes_at.min(Instant::now() + BACKOFF.delay(tries, jitter()))).await;
    }

    /// Queues a request. After the ledger is closed, the request is dropped with its sender, and the caller gets an error at once.
    fn queue(&self, change: impl FnOnce(&mut Queued)) {
        let mut queued = self.queued();
        if !queued.closed {
            change(&mut queued);
            self.changed.notify_one();
        }
    }

    fn queued(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends requests until the ledger closes. Callers without an answer by then get an error.
    pub(crate) async fn drive(&self) -> Infallible {
        timeout_at(self.closes_at, self.send()).await.ok();
        *self.queued() = Queued { closed: true, ..Queued::default() };
        pending().await
    }

    async fn send(&self) -> Infallible {
        let (mut reads, mut links, mut under_way) = (FuturesUnordered::new(), FuturesUnordered::new(), FuturesUnordered::new());
        loop {
            reads.extend(self.next_read());
            while under_way.len() < UNDER_WAY
                && let Some(write) = self.next_write()
            {
                under_way.push(write);
            }
            links.extend(self.next_links());
            let leave_by = self.queue_leaves_by().filter(|_| under_way.len() < UNDER_WAY);
            tokio::select! { biased;
                Some(()) = under_way.next() => {}
                Some(()) = reads.next() => {}
                Some(()) = links.next() => {}
                () = self.changed.notified() => {}
                () = sleep_until(leave_by.unwrap_or_else(Instant::now)), if leave_by.is_some() => {}
            }
        }
    }

    fn queue_leaves_by(&self) -> Option<Instant> {
        self.queued().leave_by()
    }

    fn next_read(&self) -> Option<BoxFuture<'_, ()>> {
        let mut queued = self.queued();
        let reads = mem::take(&mut queued.reads);
        (!reads.is_empty()).then(|| self.read_all(reads).boxed())
    }

    fn next_write(&self) -> Option<BoxFuture<'_, ()>> {
        let mut queued = self.queued();
        queued.writes.retain(|waiting| !waiting.asker.is_closed()); // the caller has given up before the write was sent
        let leave_by = queued.leave_by()?;
        let ready = self.running.load(Ordering::SeqCst) == 0 || Instant::now() >= leave_by;
        ready.then(|| {
            let (now, later) = one_for_each_id(mem::take(&mut queued.writes));
            queued.writes = later;
            self.write_all(now).boxed()
        })
    }

    /// Returns a request with the queued changes of links. Changes of one record are merged or left for the next request, because a request
    /// must not have two for one key.
    fn next_links(&self) -> Option<BoxFuture<'_, ()>> {
        let mut queued = self.queued();
        let mut now: Vec<(Link, Vec<Answer<Linked>>)> = Vec::new();
        for (link, asker) in mem::take(&mut queued.links) {
            match now.iter_mut().find(|(first, _)| first.id() == link.id()) {
                None => now.push((link, vec![asker])),
                Some((first, askers)) => {
                    if first.merge(&link) {
                        askers.push(asker);
                    } else {
                        queued.links.push((link, asker));
                    }
                }
            }
        }
        (!now.is_empty()).then(|| self.link_all(now).boxed())
    }

    async fn link_all(&self, links: Vec<(Link, Vec<Answer<Linked>>)>) {
        let (links, senders): (Vec<_>, Vec<_>) = links.into_iter().unzip();
        for (answer, senders) in self.store.link(&links).await.into_iter().zip(senders) {
            for sender in senders {
                sender.send(answer.clone()).ok();
            }
        }
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

/// The ledger as a store for [`Links`](crate::links::Links).
impl Store for Ledger<'_> {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        join_all(ids.iter().map(|id| self.read(id))).boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        join_all(writes.iter().map(|write| self.write(write.clone()))).boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        join_all(links.iter().map(|link| self.link_one(link))).boxed()
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.store.oldest(list, limit)
    }
}

/// Separates the first write for each id from the others. Several jobs may create the record of one that they wait for, and a request must
/// not have two writes for one key.
fn one_for_each_id(writes: Vec<Waiting>) -> (Vec<Waiting>, Vec<Waiting>) {
    let mut ids = BTreeSet::new();
    if writes.iter().all(|waiting| ids.insert(&*waiting.write.next.id)) {
        return (writes, Vec::new()); // almost always
    }
    let mut ids = BTreeSet::new();
    writes.into_iter().partition(|waiting| ids.insert(waiting.write.next.id.clone()))
}

fn closed() -> StoreError {
    StoreError::unknown("the invocation ended before the answer")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::poll_immediate;

    use super::*;
    use crate::store::Memory;

    #[tokio::test]
    async fn an_abandoned_write_is_neither_sent_nor_waited_for() {
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
    #[tokio::test(start_paused = true)]
    async fn a_request_to_a_closed_ledger_fails_at_once() {
        let store = Memory::new();
        let ledger = Ledger::new(&store, Instant::now());
        assert!(poll_immediate(pin!(ledger.drive())).await.is_none(), "it closes");
        assert!(ledger.read("a").await.is_err());
    }
}
