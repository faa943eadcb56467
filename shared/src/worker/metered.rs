//! Passes the figures of a batch to its meter, if the worker writes metrics.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    batch::Batch,
    decode::{Decoded, Delivery},
    ending::waited,
    settle::Entry,
};
use crate::{
    lifecycle::{Ending, Fate},
    metrics::{BatchMeter, Outcome},
    queue::Message,
    record::Record,
};

/// Returns the meter of a batch, unless the batch is empty.
pub(super) fn meter(messages: &[Message], now: Timestamp) -> Option<BatchMeter> {
    let meter = BatchMeter::new(&*messages.first()?.queue, now);
    for message in messages {
        meter.message(message.sent_at);
    }
    Some(meter)
}

/// Counts an attempt. An attempt that was too late to start has not run.
pub(super) fn attempt(meter: &BatchMeter, decoded: &Decoded, record: &Record, ending: &Ending, took: Duration) {
    if *ending != Ending::NotStarted {
        meter.attempt(decoded.known.name(), took, waited(record, decoded).map(|(wait, _)| wait));
    }
}

/// Counts the endings of a batch. The repeats of a message are duplicates if they are deleted with it.
pub(super) fn endings(meter: &BatchMeter, entries: &[&mut Entry<'_>], batch: &Batch<'_>) {
    for entry in entries {
        let Some(settlement) = &entry.settlement else { continue };
        meter.ended(entry.delivery.known_name(batch), outcome(&settlement.ending));
        if entry.fate == Fate::Delete {
            for _ in &entry.repeats {
                meter.ended(None, Outcome::Duplicate);
            }
        }
    }
}

impl Delivery {
    /// Returns the name of the job in the code of this worker.
    fn known_name(&self, batch: &Batch<'_>) -> Option<&'static str> {
        match &self.decoded {
            Ok(decoded) => Some(decoded.known.name()),
            Err(refused) => batch.engine.jobs.get(&refused.name).map(|known| known.name()),
        }
    }
}

fn outcome(ending: &Ending) -> Outcome {
    match ending {
        Ending::Succeeded => Outcome::Succeeded,
        Ending::Failed => Outcome::Failed,
        Ending::Retried(_) => Outcome::Retried,
        Ending::Duplicate => Outcome::Duplicate,
        Ending::Parked => Outcome::Parked,
        Ending::Snoozed(_)
        | Ending::Interrupted
        | Ending::NotStarted
        | Ending::Held
        | Ending::Early(_)
        | Ending::Blocked
        | Ending::Busy(_)
        | Ending::LeaseLost
        | Ending::Cancelled
        | Ending::Expired
        | Ending::Foreign
        | Ending::Rejected
        | Ending::Skipped => Outcome::Other(ending.as_str()),
    }
}
