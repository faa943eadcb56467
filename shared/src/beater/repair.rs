//! Looks, part by part, for jobs that no message will bring back, and puts right what it can.

use uuid::Uuid;

use super::{hand_over::Due, tick::Tally};
use crate::{
    envelope::Envelope,
    lifecycle::{self, Repair},
    record::{Record, State},
    store::{Write, Written},
};

/// Records that are written together.
const PAGE: usize = 100;

/// Looks at the unfinished jobs whose turn it is. Done: filed anew, or ended.
pub(super) async fn repair(due: &Due, turn: u64) -> Tally {
    let mut total = Tally::default();
    let found = match due.store.unfinished(turn).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "cannot look for jobs that no message will bring back");
            return Tally { failed: 1, ..total };
        }
    };
    let mut writes = Vec::new();
    for record in found {
        match record {
            Ok(record) => writes.extend(look(due, record, &mut total)),
            Err(error) => {
                tracing::error!(id = error.record_id(), %error, "a record cannot be read");
                total.wrong += 1;
            }
        }
    }
    for writes in writes.chunks(PAGE) {
        for (write, answer) in writes.iter().zip(due.store.write(writes).await) {
            match answer {
                Ok(Written::Done) => {
                    let next = &write.next;
                    tracing::warn!(id = next.id, job = next.name, state = next.state.as_str(), "a job was put right");
                    total.done += 1;
                }
                Ok(Written::Refused(_)) => {} // it goes on by itself
                Err(error) => {
                    tracing::error!(id = write.next.id, %error, "a job could not be put right");
                    total.failed += 1;
                }
            }
        }
    }
    total
}

fn look(due: &Due, record: Record, total: &mut Tally) -> Option<Write> {
    let body = record.envelope.as_ref().filter(|_| record.state == State::Scheduled);
    let expires_at = body.and_then(|body| Envelope::parse(body).ok()?.expires_at);
    match lifecycle::repair(&record, expires_at, &Uuid::new_v4().simple().to_string(), due.clock.now()) {
        Repair::Nothing => None,
        Repair::Overdue => {
            tracing::warn!(id = record.id, job = record.name, queue = record.queue, state = record.state.as_str(), "a job is overdue");
            total.overdue += 1;
            None
        }
        Repair::Write(next) => Some(Write::replace(record, *next)),
    }
}
