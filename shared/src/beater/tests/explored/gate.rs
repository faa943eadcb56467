//! The access of one actor to the tables and the queue. Every request that can affect the result waits until it is let through.
//!
//! The following requests cannot affect the result and do not wait, which keeps the exploration small:
//!
//! - reads of shards that can contain no fire of the schedule, and reads of no records: they never find anything;
//! - reads of the job index, except for the first shard that can contain a job: an index may lag, and the records that it
//!   shows are read again;
//! - reads of overlooked rows if the index has shown the row: their result is then not used;
//! - reads of jobs whose messages are gone: within minutes, no action follows from their result;
//! - an operator's read of the row: an edit is made if the row is unchanged, and otherwise begins again;
//! - checks that a queue exists: it does.
//!
//! A beater that dies at a read might as well die at its next write, and a read with a lost answer equals a refused read. So a
//! read is either let through or refused. Concurrent requests of one beater concern different jobs, and are answered in the
//! order of the requests.

use std::{
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
};

use futures_util::future::{BoxFuture, FutureExt, ready};
use tokio::sync::oneshot;

use super::{
    hub::{Asked, Fate, Hub, Kind},
    *,
};
use crate::{
    beater::rows::{Found, Rows},
    names::shard_name,
    queue::{Message, Outgoing, Queue, QueueError, Source, Visibility},
    store::{Index, Link, Linked, Listing, Store, StoreError, Write, Written},
};

/// The tables and the queue, as one actor reaches them.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) hub: Arc<Hub>,
    pub(super) who: usize,
}

impl Gate {
    pub(super) async fn ask(&self, kind: Kind, what: &'static str) -> Fate {
        let (reply, granted) = oneshot::channel();
        {
            let mut state = self.hub.state();
            if !state.is_explored {
                return Fate::Through;
            }
            state.asked.push(Asked { who: self.who, kind, what, reply });
        }
        granted.await.expect("the search lets each go its way")
    }

    /// Adds an answer to the knowledge of this actor.
    fn told<T: Debug>(&self, fate: Fate, answer: T) -> T {
        let mut state = self.hub.state();
        if state.is_explored {
            let text = state.named(&answer);
            let mut sum = DefaultHasher::new();
            (state.told[self.who], fate, text).hash(&mut sum);
            state.told[self.who] = sum.finish();
        }
        answer
    }

    fn learn(&self, writes: &[Write], row: Option<&Row>) {
        let (who, mut state) = (format!("actor {}, token ", self.who), self.hub.state());
        for write in writes {
            state.learn(&who, write.next.owner.as_deref());
        }
        state.learn(&who, row.and_then(|row| row.edit.as_deref()));
    }

    /// Makes a read: returns the result of `found` when it is let through.
    async fn read<T: Debug, E: Debug>(
        &self,
        what: &'static str,
        found: impl Future<Output = Result<T, E>> + Send,
        unread: impl FnOnce() -> E + Send,
    ) -> Result<T, E> {
        match self.ask(Kind::Read, what).await {
            Fate::Refused => self.told(Fate::Refused, Err(unread())),
            fate => self.told(fate, found.await),
        }
    }

    fn is_shard_of_schedule(shard: u8) -> bool {
        crate::names::shard(ID) == shard_name(shard)
    }

    /// Returns the rows that the index shows, unless the mutation hides or changes them.
    fn shown(&self, found: Vec<Found>) -> Vec<Found> {
        if !self.hub.is(Mutation::StaleIndex) {
            return found;
        }
        let mut state = self.hub.state();
        found.into_iter().map(|row| row.map(|row| state.shown.get_or_insert(row).clone())).collect()
    }
}

fn busy() -> StoreError {
    StoreError::Busy("refused".into())
}

fn unknown() -> StoreError {
    StoreError::unknown("lost")
}

fn unsent() -> QueueError {
    QueueError::unknown("lost")
}

impl Rows for Gate {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        if !Self::is_shard_of_schedule(shard) {
            return ready(Ok(Vec::new())).boxed();
        }
        let found = async move {
            let found = self.hub.world.rows.due(shard, until, limit).await?;
            self.hub.state().found[self.who] = !found.is_empty();
            Ok(self.shown(found))
        };
        self.read("reads what is due", found, busy).boxed()
    }

    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, StoreError>> {
        self.hub.world.rows.get(id)
    }

    fn some(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        let found = async move { self.hub.world.rows.some(turn).await.map(|found| self.shown(found)) };
        if self.hub.state().found[self.who] {
            return found.boxed();
        }
        self.read("looks at rows", found, busy).boxed()
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        unreachable!("neither ticks nor edits ask for all")
    }

    fn change<'a>(
        &'a self,
        _id: &'a str,
        seen: Option<&'a Row>,
        next: Option<&'a Row>,
        jobs: &'a [Write],
    ) -> BoxFuture<'a, Result<Changed, StoreError>> {
        async move {
            self.learn(jobs, next);
            match self.ask(Kind::Write, "changes the row").await {
                Fate::Refused => self.told(Fate::Refused, Err(busy())),
                Fate::Lost => {
                    self.hub.change(self.who, seen, next, jobs, Fate::Lost).await.ok();
                    self.told(Fate::Lost, Err(unknown()))
                }
                Fate::Through => self.told(Fate::Through, self.hub.change(self.who, seen, next, jobs, Fate::Through).await),
            }
        }
        .boxed()
    }

    fn overwrite<'a>(&'a self, _next: &'a Row) -> BoxFuture<'a, Result<(), StoreError>> {
        unreachable!("each row can be read")
    }
}

impl Store for Gate {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        async move {
            if ids.is_empty() {
                return Vec::new();
            }
            match self.ask(Kind::Read, "reads jobs").await {
                Fate::Refused => self.told(Fate::Refused, ids.iter().map(|_| Err(busy())).collect()),
                fate => self.told(fate, self.hub.world.local.store.read(ids).await),
            }
        }
        .boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        async move {
            if writes.is_empty() {
                return Vec::new();
            }
            self.learn(writes, None);
            let fate = self.ask(Kind::Write, "marks jobs").await;
            let marks: Vec<_> = writes.iter().map(|mark| self.hub.bent_mark(mark)).collect();
            match fate {
                Fate::Refused => self.told(fate, writes.iter().map(|_| Err(busy())).collect()),
                Fate::Lost => {
                    self.hub.world.local.store.write(&marks).await;
                    self.told(fate, writes.iter().map(|_| Err(unknown())).collect())
                }
                Fate::Through => self.told(fate, self.hub.world.local.store.write(&marks).await),
            }
        }
        .boxed()
    }

    fn link<'a>(&'a self, _links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        unreachable!("no job waits for another")
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.hub.world.local.store.oldest(list, limit)
    }
}

impl Index for Gate {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let due = self.hub.world.local.store.due(shard, until, limit);
        if !self.hub.shards.contains(&shard_name(shard)) || std::mem::replace(&mut self.hub.state().indexed[self.who], true) {
            return due;
        }
        self.read("reads which jobs are due", due, busy).boxed()
    }

    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        self.hub.world.local.store.unfinished(turn)
    }

    fn enlist<'a>(&'a self, _listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        unreachable!("a beater puts nothing into lists")
    }

    fn listed<'a>(&'a self, _list: &'a str, _limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        ready(Ok(Vec::new())).boxed() // no dead-letter queue is listed
    }
}

impl Queue for Gate {
    fn send<'a>(&'a self, name: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        async move {
            if messages.is_empty() {
                return Vec::new();
            }
            let fate = self.ask(Kind::Write, "sends").await;
            if self.hub.is(Mutation::ForgetMessages) {
                return messages.iter().map(|_| Ok(String::new())).collect();
            }
            if fate != Fate::Refused {
                let sent =
                    self.hub.world.local.queue.send(name, &messages.iter().map(|it| self.hub.bent_message(it)).collect::<Vec<_>>()).await;
                if fate == Fate::Through {
                    self.told(fate, sent.len());
                    return sent;
                }
            }
            self.told(fate, ());
            messages.iter().map(|_| Err(unsent())).collect()
        }
        .boxed()
    }

    fn set_visibility<'a>(&'a self, _name: &'a str, _changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        unreachable!("a beater without dead-letter queues receives nothing")
    }

    fn delete<'a>(&'a self, _name: &'a str, _receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        unreachable!("a beater without dead-letter queues receives nothing")
    }
}

impl Source for Gate {
    fn receive<'a>(&'a self, _name: &'a str, _max: usize, _for: Duration) -> BoxFuture<'a, Result<Vec<Message>, QueueError>> {
        unreachable!("a beater without dead-letter queues receives nothing")
    }
}
