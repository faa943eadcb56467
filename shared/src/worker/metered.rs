//! Passes the figures of a batch to its meter, if the worker writes metrics.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    batch::Batch,
    decode::{Decoded, Delivery},
    ending::waited,
};
use crate::{
    lifecycle::Ending,
    metrics::{BatchMeter, Outcome},
    queue::Message,
    record::{Record, State},
    store::{StoreError, Write, Written},
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

/// Counts the ending of a delivery.
pub(super) fn ended(meter: &BatchMeter, delivery: &Delivery, ending: &Ending, batch: &Batch<'_>) {
    meter.ended(delivery.known_name(batch), outcome(ending));
}

/// Returns the meter if the write takes over an attempt whose process has died.
pub(super) fn of_killed<'a>(write: &Write, batch: &'a Batch<'_>) -> Option<&'a BatchMeter> {
    batch.meter.as_ref().filter(|_| write.seen.as_ref().is_some_and(|seen| seen.state == State::Running))
}

/// Counts a killed attempt, once another delivery has taken over its job.
pub(super) fn count_killed(meter: Option<&BatchMeter>, written: &Result<Written, StoreError>, decoded: &Decoded) {
    if let (Some(meter), Ok(Written::Done)) = (meter, written) {
        meter.killed(decoded.known.name());
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
