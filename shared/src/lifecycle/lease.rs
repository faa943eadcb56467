//! The lease of an attempt: its renewal, and the instant after which another attempt may take over the job.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    clock::{after, from_millis},
    record::{Failure, Record},
};

/// Maximum difference between the clocks of two machines.
pub const SKEW: Duration = Duration::from_secs(5);

/// The kind of failure of an attempt whose process died.
pub(super) const KILLED: &str = "killed";

/// Extends the lease of an attempt. Each extension increases `lease_until`, which serves as the revision number in a generation.
pub(crate) fn renewed(running: &Record, lease: Duration, now: Timestamp) -> Record {
    let held = running.lease_until.unwrap_or(0);
    let lease_until = after(now, lease).as_millisecond().max(held.saturating_add(1));
    Record { lease_until: Some(lease_until), ..running.clone() }
}

/// Returns the instant after which another attempt may take over a running job.
pub(super) fn free_from(running: &Record) -> Timestamp {
    after(from_millis(running.lease_until.unwrap_or(0)), SKEW)
}

pub(super) fn was_killed(now: Timestamp) -> Failure {
    Failure::new(KILLED, "the process of the attempt ended without recording an ending, or its lease expired".into(), now)
}
