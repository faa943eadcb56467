//! An interval of elapsed seconds, counted from its origin, without zone or calendar.

use jiff::{SignedDuration, Timestamp};

/// 2200-01-01T00:00:00Z, the end of all schedules.
const END: Timestamp = Timestamp::constant(7_258_118_400, 0);

/// The instants `origin + k * step`, for each `k` from 0.
#[derive(Debug, Clone)]
pub(super) struct Every {
    pub(super) origin: Timestamp,
    /// The step in whole seconds, at least one.
    pub(super) step: SignedDuration,
}

impl Every {
    /// Returns the first fire after an instant.
    pub(super) fn after(&self, after: Timestamp) -> Option<Timestamp> {
        let next = if after < self.origin { Some(self.origin) } else { self.newest(after)?.checked_add(self.step).ok() };
        next.filter(|&next| next < END)
    }

    /// Returns the last fire in `(after, until]`.
    pub(super) fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let newest = if until < END { self.newest(until) } else { self.newest(just_before(END)) };
        newest.filter(|&newest| newest > after)
    }

    /// Returns the last fire at or before `at`, without stepping through earlier fires.
    fn newest(&self, at: Timestamp) -> Option<Timestamp> {
        let elapsed = at.duration_since(self.origin);
        if elapsed.is_negative() {
            return None;
        }
        let since = elapsed.as_nanos() % self.step.as_nanos();
        at.checked_sub(SignedDuration::from_nanos_i128(since)).ok()
    }
}

fn just_before(at: Timestamp) -> Timestamp {
    at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at)
}
