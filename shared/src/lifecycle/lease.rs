//! The lease of an attempt: its renewal, and the instant from which another attempt may take the job over.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    clock::{after, from_millis},
    record::{Failure, Record},
};

/// The most by which the clocks of two machines may differ.
pub const SKEW: Duration = Duration::from_secs(5);

/// The kind of an attempt that died.
pub(super) const KILLED: &str = "killed";

/// Extends the lease of an attempt. The lease grows in every write of an attempt, so it is the revision number within a generation.
pub(crate) fn renewed(running: &Record, lease: Duration, now: Timestamp) -> Record {
    let held = running.lease_until.unwrap_or(0);
    let lease_until = after(now, lease).as_millisecond().max(held.saturating_add(1));
    Record { lease_until: Some(lease_until), ..running.clone() }
}

/// Returns the instant from which another attempt may take a running job over.
pub(super) fn free_from(running: &Record) -> Timestamp {
    after(from_millis(running.lease_until.unwrap_or(0)), SKEW)
}

pub(super) fn was_killed(now: Timestamp) -> Failure {
    Failure::new(KILLED, "the attempt's process ended without recording it, or its lease ran out".into(), now)
}
