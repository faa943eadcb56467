//! Hands jobs over from the due index to their queues: sends first, then marks. A crash in between sends once more, and
//! the claim lets one of the messages run.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::tick::Tally;
use crate::{
    Clock,
    client::dedup,
    clock::until,
    letter::ID,
    lifecycle::{SHARDS, is_sendable, sent},
    queue::{MAX_BYTES, MAX_DELAY, Outgoing, Queue, Source, is_fifo},
    record::Record,
    store::{Index, Store, StoreError, Write, Written},
};
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;

/// Jobs that are read, sent and marked together.
const PAGE: usize = 100;
/// The most jobs of one shard in one tick; what is left is longer overdue in the next.
const MOST: usize = 5_000;
/// Shards that are worked on at the same time.
const AT_A_TIME: usize = 4;

/// The jobs that are due, and where they go.
#[derive(Clone)]
pub(crate) struct Due {
    pub(crate) store: Arc<dyn Index>,
    pub(crate) queue: Arc<dyn Source>,
    pub(crate) clock: Clock,
}

/// Sends what is due until `horizon`, and stops at `stop_at`. Done: sent and marked.
///
/// # Errors
///
/// When a shard cannot be read; the others are done all the same.
pub(crate) async fn hand_over(due: &Due, horizon: Timestamp, stop_at: Instant) -> Result<Tally, StoreError> {
    let shards = stream::iter(0..SHARDS).map(|shard| hand_over_shard(due, shard, horizon, stop_at));
    let mut total = Tally::default();
    let mut flaw = None;
    for done in shards.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await {
        match done {
            Ok(done) => total += done,
            Err(error) => flaw = Some(error),
        }
    }
    flaw.map_or(Ok(total), Err)
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

/// The index may lag: the records say what is still to be sent.
async fn hand_over_page(due: &Due, ids: &[String], horizon: Timestamp) -> Tally {
    let mut total = Tally::default();
    let mut queues: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let now = due.clock.now();
    for (id, stored) in ids.iter().zip(due.store.read(ids).await) {
        match stored {
            Ok(Some(record)) if is_sendable(&record, if is_fifo(&record.queue) { now } else { horizon }) => {
                queues.entry(record.queue.clone()).or_default().push(record);
            }
            Ok(_) => {} // sent, moved or called off meanwhile
            Err(error) => {
                tracing::error!(id, %error, "cannot read a due job");
                total.failed += 1;
            }
        }
    }
    for (queue, records) in queues {
        total += send(&*due.queue, &*due.store, &queue, records, now).await;
    }
    total
}

/// Sends the messages of filed jobs to their queue, and marks the records.
pub(crate) async fn send(to: &dyn Queue, store: &dyn Store, queue: &str, records: Vec<Record>, now: Timestamp) -> Tally {
    let messages: Vec<_> = records.iter().map(|record| message(record, now)).collect();
    let answers = to.send(queue, &messages).await;
    let mut failed = 0;
    let mut marks = Vec::with_capacity(records.len());
    for (record, answer) in records.into_iter().zip(answers) {
        match answer {
            Ok(_) => marks.push(Write::replace(record.clone(), sent(&record))),
            Err(error) => {
                tracing::error!(id = record.id, queue, %error, "cannot send a due job");
                failed += 1;
            }
        }
    }
    let mut done = Tally { failed, ..Tally::default() };
    for (mark, answer) in marks.iter().zip(store.write(&marks).await) {
        match answer {
            // Refused: claimed straight from the index, moved or called off; or another beater was first.
            Ok(Written::Done | Written::Refused(_)) => done.done += 1,
            Err(error) => {
                tracing::warn!(id = mark.next.id, %error, "a due job was sent and not marked; it is sent once more");
                done.failed += 1;
            }
        }
    }
    done
}

/// The message of a filed job, as it was received, with what remains of its time as the delay.
pub(super) fn message(record: &Record, now: Timestamp) -> Outgoing {
    let mut message = Outgoing::new(record.envelope.clone().unwrap_or_default());
    message.add_attribute(ID, &record.id, MAX_BYTES);
    for (name, value) in &record.message_attributes {
        message.add_attribute(name, value, MAX_BYTES);
    }
    message.group.clone_from(&record.message_group);
    if is_fifo(&record.queue) {
        message.group = message.group.or_else(|| Some(dedup(&record.id)));
        // A job that is filed once more has another owner: its message is no repetition.
        message.dedup = Some(dedup(&format!("{}:{}", record.id, record.owner.as_deref().unwrap_or_default())));
    } else {
        message.delay = delay(record.run_at.unwrap_or(now), now);
    }
    message
}

/// Whole seconds, rounded down: the function waits for the rest of the last one.
fn delay(run_at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_secs(until(now, run_at).as_secs()).min(MAX_DELAY)
}
