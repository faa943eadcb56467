//! The table, as processes reach it.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use jiff::{SignedDuration, Timestamp};

use super::watch::Watch;
use crate::{
    lifecycle::unmet,
    queue,
    record::{Record, State},
    store::{self, Index, Link, Linked, Listing, Store, StoreError, Write, Written},
};

/// The records in memory. The table logs every new state.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) store: store::Memory,
    pub(super) queue: queue::Memory,
    pub(super) watch: Watch,
    pub(super) start: Timestamp,
    /// `true` if a scan shows no job that is still blocked, before the end of its wait. Beaters then cannot repair a lost ending of a
    /// dependency. A job that nothing blocks any more is shown: the message that its worker dies with may be one that was deleted before.
    pub(super) hides_blocked: bool,
}

/// The time after which the index lists a record.
const LAG: Duration = Duration::from_secs(20);

impl Store for Table {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        self.store.read(ids)
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        async move {
            let answers = self.store.write(writes).await;
            for (write, answer) in writes.iter().zip(&answers) {
                if matches!(answer, Ok(Written::Done)) {
                    self.watch.wrote(&write.next);
                }
            }
            answers
        }
        .boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        self.store.link(links)
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        async move {
            let mut ids = self.store.oldest(list, usize::MAX).await?;
            // The index lags.
            ids.retain(|id| self.watch.settled_for(id) >= LAG);
            ids.truncate(limit);
            Ok(ids)
        }
        .boxed()
    }
}

impl Index for Table {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.store.due(shard, until, limit)
    }

    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        async move {
            let mut found = self.store.unfinished(turn).await?;
            let now = self.start + SignedDuration::try_from(self.watch.since.elapsed()).unwrap_or(SignedDuration::MAX);
            let waits = |record: &Record| {
                let until = record.dependencies.as_ref().and_then(|dependencies| dependencies.until);
                record.state == State::Blocked && unmet(record).next().is_some() && until.is_some_and(|until| until > now)
            };
            found.retain(|record| !self.hides_blocked || !record.as_ref().is_ok_and(waits));
            Ok(found)
        }
        .boxed()
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        self.store.enlist(listings)
    }

    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.store.listed(list, limit)
    }
}
