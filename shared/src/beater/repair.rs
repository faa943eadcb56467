//! Finds and repairs, part by part, jobs whose messages are gone and failed jobs whose dead letters are missing.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::part::{Due, Tally};
use crate::{
    envelope::Envelope,
    lifecycle::{self, Repair},
    links::{Links, Waiting},
    outbox::message,
    record::{Record, State},
    store::{Write, Written},
};

/// Number of records that are written together.
const PAGE: usize = 100;

/// Examines this turn's unfinished jobs and missing dead letters. `done` counts jobs that were filed again, ended, or sent.
pub(super) async fn repair(due: &Due, turn: u64) -> Tally {
    let mut total = Tally::default();
    let found = match due.store.unfinished(turn).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "cannot look for jobs whose message is gone");
            return Tally { failed: 1, ..total };
        }
    };
    let (mut writes, mut owed) = (Vec::new(), Vec::new());
    for record in found {
        match record {
            Ok(record) => match look(due, &record) {
                Repair::Nothing => {}
                Repair::Overdue => {
                    let (state, queue) = (record.state.as_str(), &record.queue);
                    tracing::warn!(id = record.id, job = record.name, queue, state, "a job is overdue");
                    total.overdue += 1;
                }
                Repair::Send => owed.push(record),
                Repair::Dependencies => total += look_again(due, &record).await,
                Repair::Write(next) => writes.push(Write::replace(record, *next)),
            },
            Err(error) => {
                tracing::error!(id = error.record_id(), %error, "a record cannot be read");
                total.wrong += 1;
            }
        }
    }
    total += write_all(due, &writes).await;
    total += send_owed(due, owed).await;
    total
}

/// Ends the blocked jobs whose wait is over. `done` counts them.
pub(super) async fn end_waits(due: &Due, blocked: Vec<Record>) -> Tally {
    let mut writes = Vec::new();
    for record in blocked {
        if let Repair::Write(next) = look(due, &record) {
            writes.push(Write::replace(record, *next));
        }
    }
    write_all(due, &writes).await
}

async fn write_all(due: &Due, writes: &[Write]) -> Tally {
    let mut total = Tally::default();
    for writes in writes.chunks(PAGE) {
        for (write, answer) in writes.iter().zip(due.store.write(writes).await) {
            match answer {
                Ok(Written::Done) => {
                    let next = &write.next;
                    tracing::warn!(id = next.id, job = next.name, state = next.state.as_str(), "a job was repaired");
                    total.done += 1;
                }
                Ok(Written::Refused(_)) => {} // the job continues by itself
                Err(error) => {
                    tracing::error!(id = write.next.id, %error, "cannot repair a job");
                    total.failed += 1;
                }
            }
        }
    }
    total
}

/// Registers a blocked job again, in case a step of its registration or release was lost. `done` counts released jobs.
async fn look_again(due: &Due, blocked: &Record) -> Tally {
    let links = Links { store: &*due.store, queue: &*due.queue, clock: &due.clock };
    match links.look_again(blocked).await {
        Ok(Waiting::Changed(job)) if job.state == State::Blocked => {
            tracing::warn!(id = job.id, job = job.name, "a blocked job was ready, and is released");
            Tally { done: 1, ..Tally::default() }
        }
        Ok(_) => Tally::default(),
        Err(error) => {
            tracing::error!(id = blocked.id, %error, "cannot look at the dependencies of a blocked job");
            Tally { failed: 1, ..Tally::default() }
        }
    }
}

/// Sends the messages of failed jobs whose dead letters are missing. The workers that receive them create the dead letters.
async fn send_owed(due: &Due, owed: Vec<Record>) -> Tally {
    let mut total = Tally::default();
    let mut queues: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in owed {
        queues.entry(record.queue.clone()).or_default().push(record);
    }
    let now = due.clock.now();
    for (queue, records) in queues {
        let messages: Vec<_> = records.iter().map(|record| message(record, now)).collect();
        for (record, answer) in records.iter().zip(due.queue.send(&queue, &messages).await) {
            match answer {
                Ok(_) => {
                    tracing::warn!(
                        id = record.id,
                        job = record.name,
                        queue,
                        "the dead letter of a failed job was not sent; its message is sent again"
                    );
                    total.done += 1;
                }
                Err(error) => {
                    tracing::error!(id = record.id, job = record.name, queue, %error, "cannot send the message of a failed job again");
                    total.failed += 1;
                }
            }
        }
    }
    total
}

fn look(due: &Due, record: &Record) -> Repair {
    let body = record.envelope.as_ref().filter(|_| matches!(record.state, State::Scheduled | State::Blocked));
    let expires_at = body.and_then(|body| Envelope::parse(body).ok()?.expires_at);
    lifecycle::repair(record, expires_at, &Uuid::new_v4().simple().to_string(), due.clock.now())
}
