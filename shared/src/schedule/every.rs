//! An interval of elapsed seconds: no zone, no calendar, counted from where it began.

use jiff::{SignedDuration, Timestamp};

/// 2200-01-01T00:00:00Z: no schedule looks further.
const END: Timestamp = Timestamp::constant(7_258_118_400, 0);

/// The instants `origin + k * step`, for each `k` from 0.
#[derive(Debug, Clone)]
pub(super) struct Every {
    pub(super) origin: Timestamp,
    /// Whole seconds, at least one.
    pub(super) step: SignedDuration,
}

impl Every {
    /// The first fire after that instant.
    pub(super) fn after(&self, after: Timestamp) -> Option<Timestamp> {
        let next = if after < self.origin { Some(self.origin) } else { self.newest(after)?.checked_add(self.step).ok() };
        next.filter(|&next| next < END)
    }

    /// The last fire in `(after, until]`.
    pub(super) fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let newest = if until < END { self.newest(until) } else { self.newest(just_before(END)) };
        newest.filter(|&newest| newest > after)
    }

    /// The last fire at or before `at`, however many there were.
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
