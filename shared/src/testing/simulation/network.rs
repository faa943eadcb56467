//! The simulated network to the table and the queues, with all kinds of faults.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::Dice;
use crate::{
    queue::{self, Message, Outgoing, Queue, QueueError, Source, Visibility},
    record::Record,
    store::{Index, Link, Linked, Listing, Store, StoreError, Write, Written},
};

/// Maximum time for which a client waits for a response.
const PATIENCE: Duration = Duration::from_secs(3);

/// The outcome of a request in the network.
enum Way {
    Through,
    Throttled,
    LostBefore,
    LostAfter,
    Late(Duration),
    Partial,
    Repeated(Duration),
}

/// The table and the queues, as reached by one process.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) dice: Dice,
    pub(super) since: Instant,
    pub(super) store: Arc<dyn Index>,
    pub(super) queue: queue::Memory,
    /// The period without network.
    pub(super) cut: Option<(Instant, Instant)>,
}

impl Network {
    /// Chooses the outcome of a request, and waits for its delay.
    async fn way(&self, request: &str) -> Way {
        let dice = &self.dice;
        sleep(dice.between(Duration::from_millis(1), Duration::from_millis(20))).await;
        dice.note(request, Instant::now(), self.since);
        let minute = Duration::from_mins(1);
        if self.cut.is_some_and(|(from, until)| (from..until).contains(&Instant::now())) {
            sleep(PATIENCE).await;
            Way::LostBefore
        } else if dice.happens(|faults| faults.throttle) {
            Way::Throttled
        } else if dice.happens(|faults| faults.lost_request) {
            sleep(PATIENCE).await;
            Way::LostBefore
        } else if dice.happens(|faults| faults.lost_answer) {
            Way::LostAfter
        } else if dice.happens(|faults| faults.delay) {
            Way::Late(dice.between(Duration::ZERO, PATIENCE + Duration::from_secs(1)))
        } else if dice.happens(|faults| faults.partial) {
            Way::Partial
        } else if dice.happens(|faults| faults.repeat) {
            Way::Repeated(dice.between(Duration::ZERO, minute))
        } else {
            Way::Through
        }
    }

    async fn back(&self) {
        sleep(self.dice.between(Duration::from_millis(1), Duration::from_millis(10))).await;
    }

    /// Executes a request as its [`Way`] says. `done` executes it. `undone` is the result if it was not executed or if the outcome is
    /// unknown.
    async fn carry<T, F>(&self, request: &str, done: impl Fn() -> F + Send, undone: impl Fn(bool) -> T + Send) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let answer = match self.way(request).await {
            Way::Throttled => undone(true),
            Way::LostBefore => undone(false),
            Way::LostAfter => {
                done().await;
                sleep(PATIENCE).await;
                undone(false)
            }
            Way::Late(late) if late > PATIENCE => {
                let done = done();
                tokio::spawn(async move {
                    sleep(late).await;
                    done.await;
                });
                sleep(PATIENCE).await;
                undone(false)
            }
            Way::Late(late) => {
                sleep(late).await;
                done().await
            }
            Way::Repeated(later) => {
                let again = done();
                tokio::spawn(async move {
                    sleep(later).await;
                    again.await;
                });
                done().await
            }
            Way::Partial | Way::Through => done().await,
        };
        self.back().await;
        answer
    }

    /// Returns `true` if one part of a batch request is left out.
    fn leaves_out(&self) -> bool {
        self.dice.fate().rng.bool()
    }
}

fn busy() -> StoreError {
    StoreError::Busy("simulated".into())
}

fn unknown() -> StoreError {
    StoreError::unknown("simulated")
}

fn unanswered<T>(parts: usize, throttled: bool) -> Vec<Result<T, StoreError>> {
    (0..parts).map(|_| Err(if throttled { busy() } else { unknown() })).collect()
}

fn unsent<T>(parts: usize) -> Vec<Result<T, QueueError>> {
    (0..parts).map(|_| Err(QueueError::unknown("simulated"))).collect()
}

impl Store for Network {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        let (store, parts) = (Arc::clone(&self.store), ids.to_vec());
        let read = move || {
            let (store, parts) = (Arc::clone(&store), parts.clone());
            async move { store.read(&parts).await }
        };
        self.carry("read", read, move |throttled| unanswered(ids.len(), throttled)).boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        async move {
            // Parts of a batch can fail although the request succeeds.
            let partial = writes.len() > 1 && self.dice.happens(|faults| faults.partial);
            let out: Vec<_> = writes.iter().map(|_| partial && self.leaves_out()).collect();
            let made: Vec<_> = writes.iter().zip(&out).filter(|(_, out)| !**out).map(|(write, _)| write.clone()).collect();
            let (store, parts) = (Arc::clone(&self.store), made.len());
            let write = move || {
                let (store, made) = (Arc::clone(&store), made.clone());
                async move { store.write(&made).await }
            };
            let mut answers = self.carry("write", write, move |throttled| unanswered(parts, throttled)).await.into_iter();
            out.into_iter().map(|out| if out { Err(busy()) } else { answers.next().unwrap_or_else(|| Err(unknown())) }).collect()
        }
        .boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        let (store, links, parts) = (Arc::clone(&self.store), links.to_vec(), links.len());
        let link = move || {
            let (store, links) = (Arc::clone(&store), links.clone());
            async move { store.link(&links).await }
        };
        self.carry("link", link, move |throttled| unanswered(parts, throttled)).boxed()
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        let (store, list) = (Arc::clone(&self.store), list.to_owned());
        let oldest = move || {
            let (store, list) = (Arc::clone(&store), list.clone());
            async move { store.oldest(&list, limit).await }
        };
        self.carry("oldest", oldest, |throttled| Err(if throttled { busy() } else { unknown() })).boxed()
    }
}

impl Index for Network {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let store = Arc::clone(&self.store);
        let due = move || {
            let store = Arc::clone(&store);
            async move { store.due(shard, until, limit).await }
        };
        self.carry("due", due, |throttled| Err(if throttled { busy() } else { unknown() })).boxed()
    }

    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        let store = Arc::clone(&self.store);
        let unfinished = move || {
            let store = Arc::clone(&store);
            async move { store.unfinished(turn).await }
        };
        self.carry("unfinished", unfinished, |throttled| Err(if throttled { busy() } else { unknown() })).boxed()
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        let (store, listings, parts) = (Arc::clone(&self.store), listings.to_vec(), listings.len());
        let enlist = move || {
            let (store, listings) = (Arc::clone(&store), listings.clone());
            async move { store.enlist(&listings).await }
        };
        self.carry("enlist", enlist, move |throttled| unanswered(parts, throttled)).boxed()
    }

    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        let (store, list) = (Arc::clone(&self.store), list.to_owned());
        let listed = move || {
            let (store, list) = (Arc::clone(&store), list.clone());
            async move { store.listed(&list, limit).await }
        };
        self.carry("listed", listed, |throttled| Err(if throttled { busy() } else { unknown() })).boxed()
    }
}

impl Queue for Network {
    fn send<'a>(&'a self, name: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        let (queue, name, outgoing) = (self.queue.clone(), name.to_owned(), messages.to_vec());
        let send = move || {
            let (queue, name, outgoing) = (queue.clone(), name.clone(), outgoing.clone());
            async move { queue.send(&name, &outgoing).await }
        };
        self.carry("send", send, |_| unsent(messages.len())).boxed()
    }

    fn set_visibility<'a>(&'a self, name: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        let (queue, name, set) = (self.queue.clone(), name.to_owned(), changes.to_vec());
        let set = move || {
            let (queue, name, set) = (queue.clone(), name.clone(), set.clone());
            async move { queue.set_visibility(&name, &set).await }
        };
        self.carry("set visibility", set, |_| unsent(changes.len())).boxed()
    }

    fn delete<'a>(&'a self, name: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        let (queue, name, gone) = (self.queue.clone(), name.to_owned(), receipts.to_vec());
        let delete = move || {
            let (queue, name, gone) = (queue.clone(), name.clone(), gone.clone());
            async move { queue.delete(&name, &gone).await }
        };
        self.carry("delete", delete, |_| unsent(receipts.len())).boxed()
    }
}

impl Source for Network {
    fn receive<'a>(&'a self, name: &'a str, max: usize, visibility: Duration) -> BoxFuture<'a, Result<Vec<Message>, QueueError>> {
        let (queue, name) = (self.queue.clone(), name.to_owned());
        let receive = move || {
            let (queue, name) = (queue.clone(), name.clone());
            async move { queue.receive(&name, max, visibility).await }
        };
        self.carry("receive", receive, |_| Err(QueueError::unknown("simulated"))).boxed()
    }
}
