//! Sends the messages of filed jobs. Each message is sent first, and its record is marked afterwards. After a crash in between, the
//! message is sent again, and the claim lets only one of the two run.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    clock::until,
    lifecycle::{sent, starts_at},
    names::is_fifo,
    queue::{MAX_BYTES, MAX_DELAY, Outgoing, Queue, attribute::ID, dedup},
    record::Record,
    store::{Store, Write, Written},
};

/// Counts of filed jobs by the result of sending.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sent {
    /// Sent and marked.
    pub(crate) done: usize,
    /// Sent, but not marked: a beater sends them again.
    pub(crate) unmarked: usize,
    /// Not sent.
    pub(crate) unsent: Vec<Record>,
    /// The ids of the messages that were sent.
    pub(crate) message_ids: Vec<String>,
}

impl Sent {
    /// Returns the number of jobs that a beater sends again.
    pub(crate) fn failed(&self) -> usize {
        self.unmarked + self.unsent.len()
    }
}

/// Sends the messages of filed jobs to their queue, and marks the records.
pub(crate) async fn send(to: &dyn Queue, store: &dyn Store, queue: &str, records: Vec<Record>, now: Timestamp) -> Sent {
    let messages: Vec<_> = records.iter().map(|record| message(record, now)).collect();
    let answers = to.send(queue, &messages).await;
    let mut done = Sent::default();
    let mut marks = Vec::with_capacity(records.len());
    for (record, answer) in records.into_iter().zip(answers) {
        match answer {
            Ok(message_id) => {
                marks.push(Write::replace(record.clone(), sent(&record, now)));
                done.message_ids.push(message_id);
            }
            Err(error) => {
                tracing::error!(id = record.id, queue, %error, "cannot send a due job");
                done.unsent.push(record);
            }
        }
    }
    for (mark, answer) in marks.iter().zip(store.write(&marks).await) {
        match answer {
            // Refused: the job was claimed directly from the index, moved or cancelled, or another beater was first.
            Ok(Written::Done | Written::Refused(_)) => done.done += 1,
            Err(error) => {
                tracing::warn!(id = mark.next.id, %error, "cannot mark a due job as sent; its message is sent again");
                done.unmarked += 1;
            }
        }
    }
    done
}

/// Returns the message of a filed job, as it was received, with the remaining wait as its delay.
pub(crate) fn message(record: &Record, now: Timestamp) -> Outgoing {
    let mut message = Outgoing::new(record.envelope.clone().unwrap_or_default());
    message.add_attribute(ID, &record.id, MAX_BYTES);
    for (name, value) in &record.message_attributes {
        message.add_attribute(name, value, MAX_BYTES);
    }
    message.group.clone_from(&record.message_group);
    if is_fifo(&record.queue) {
        message.group = message.group.or_else(|| Some(dedup(&record.id)));
        // A job that is filed again has another owner: its message is not a duplicate.
        message.dedup = Some(dedup(&format!("{}:{}", record.id, record.owner.as_deref().unwrap_or_default())));
    } else {
        message.delay = delay(starts_at(record).unwrap_or(now), now);
    }
    message
}

/// Returns whole seconds, rounded down. The function waits for the remaining fraction.
fn delay(run_at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_secs(until(now, run_at).as_secs()).min(MAX_DELAY)
}

/// Returns a new random token, for the owner of a record that is filed, blocked or ended.
pub(crate) fn token() -> String {
    Uuid::new_v4().simple().to_string()
}
