//! Sends due jobs from the due index to their queues.

use std::collections::BTreeMap;

use super::{
    part::{Due, Tally},
    repair::end_waits,
};
use crate::{
    lifecycle::{is_sendable, key_name, settled},
    links::Links,
    names::{SHARDS, is_fifo, key_shards},
    outbox::send,
    record::{Record, State},
    store::StoreError,
};
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;

/// Number of jobs that are read, sent and marked together.
const PAGE: usize = 100;
/// Maximum number of jobs of one shard in one tick. The next tick takes the remaining ones first.
const MOST: usize = 5_000;
/// Number of shards processed concurrently.
const AT_A_TIME: usize = 4;

/// Works until `stop_at`: sends the jobs that are due by `horizon`, ends blocked jobs whose wait is over, tells the dependents of jobs that
/// ended without a message, and hands over free keys. `done` counts all of these jobs.
///
/// # Errors
///
/// When a shard cannot be read. The other shards are still processed.
pub(crate) async fn hand_over(due: &Due, horizon: Timestamp, stop_at: Instant) -> Result<Tally, StoreError> {
    let shards = stream::iter(0..SHARDS).map(|shard| hand_over_shard(due, shard, horizon, stop_at));
    let mut total = Tally::default();
    let mut flaw = None;
    let jobs = shards.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await;
    // Due jobs do not wait for the keys.
    let keys = stream::iter(key_shards()).map(|shard| look_at_keys(due, shard, stop_at));
    let keys = keys.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await;
    for done in jobs.into_iter().chain(keys) {
        match done {
            Ok(done) => total += done,
            Err(error) => flaw = Some(error),
        }
    }
    flaw.map_or(Ok(total), Err)
}

/// Looks at the keys of one shard for which jobs wait.
async fn look_at_keys(due: &Due, shard: u8, stop_at: Instant) -> Result<Tally, StoreError> {
    let mut total = Tally::default();
    let links = Links { store: &*due.store, queue: &*due.queue, clock: &due.clock };
    for ids in due.store.due(shard, due.clock.now(), MOST).await?.chunks(PAGE) {
        for (id, key) in ids.iter().zip(due.store.read(ids).await) {
            if Instant::now() >= stop_at {
                return Ok(total);
            }
            let looked = async {
                match key?.filter(|key| key.state == State::Blocked) {
                    Some(key) => links.look_at_key(key).await,
                    None => Ok(0), // no job waits any more
                }
            };
            match looked.await {
                Ok(released) => total.done += released,
                Err(error) => {
                    tracing::error!(key = key_name(id), %error, "cannot look at a key for which jobs wait");
                    total.failed += 1;
                }
            }
        }
    }
    Ok(total)
}

async fn hand_over_shard(due: &Due, shard: u8, horizon: Timestamp, stop_at: Instant) -> Result<Tally, StoreError> {
    let mut total = Tally::default();
    for ids in due.store.due(shard, horizon, MOST).await?.chunks(PAGE) {
        if Instant::now() >= stop_at {
            break;
        }
        total += hand_over_page(due, ids, horizon).await;
    }
    Ok(total)
}

/// Sends one page of jobs. The index may lag, so the records decide which jobs are still to be sent.
async fn hand_over_page(due: &Due, ids: &[String], horizon: Timestamp) -> Tally {
    let mut total = Tally::default();
    let mut queues: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let (mut ended, mut blocked) = (Vec::new(), Vec::new());
    let now = due.clock.now();
    for (id, stored) in ids.iter().zip(due.store.read(ids).await) {
        match stored {
            Ok(Some(record)) if is_sendable(&record, if is_fifo(&record.queue) { now } else { horizon }) => {
                queues.entry(record.queue.clone()).or_default().push(record);
            }
            Ok(Some(record)) if settled(&record).is_some() => ended.push(record.id),
            Ok(Some(record)) if record.state == State::Blocked => blocked.push(record),
            Ok(_) => {} // sent, moved or cancelled meanwhile
            Err(error) => {
                tracing::error!(id, %error, "cannot read a due job");
                total.failed += 1;
            }
        }
    }
    total += end_waits(due, blocked).await;
    let links = Links { store: &*due.store, queue: &*due.queue, clock: &due.clock };
    for id in ended {
        match links.resolve(&id).await {
            Ok(()) => total.done += 1,
            Err(error) => {
                tracing::error!(id, %error, "cannot tell the jobs that wait for this one");
                total.failed += 1;
            }
        }
    }
    for (queue, records) in queues {
        let sent = send(&*due.queue, &*due.store, &queue, records, now).await;
        total += Tally { done: sent.done, failed: sent.failed(), ..Tally::default() };
    }
    total
}
