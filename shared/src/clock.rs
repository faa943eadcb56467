//! The only module that reads the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// Wall-clock time in milliseconds: the system's time, or a time that a test or eager mode sets.
///
/// Durations inside one process, such as leases and timeouts, are measured with the monotonic clock instead.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Base,
    ahead_ms: Arc<AtomicI64>,
}

#[derive(Debug, Clone, Copy)]
enum Base {
    System,
    Frozen(Timestamp),
    /// Advances from this time with the runtime's clock, which may be virtual.
    #[cfg(any(test, feature = "simulation"))]
    Running(Timestamp, tokio::time::Instant),
}

impl Clock {
    fn on(base: Base) -> Self {
        Self { base, ahead_ms: Arc::default() }
    }

    /// Returns the clock of the system.
    pub fn system() -> Self {
        Self::on(Base::System)
    }

    /// Returns a clock that showed `start` at `since` and advances with the runtime's time.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn running(start: Timestamp, since: tokio::time::Instant) -> Self {
        Self::on(Base::Running(start, since))
    }

    /// Returns a clock that stays at `start` until it is advanced.
    ///
    /// ```
    /// use std::time::Duration;
    /// let clock = sqjobs::Clock::frozen("2026-03-29T00:59:00Z".parse()?);
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(clock.now().to_string(), "2026-03-29T01:00:00Z");
    /// # Ok::<(), jiff::Error>(())
    /// ```
    pub fn frozen(start: Timestamp) -> Self {
        Self::on(Base::Frozen(start))
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        let base = match self.base {
            Base::System => system_time(),
            Base::Frozen(at) => at,
            #[cfg(any(test, feature = "simulation"))]
            Base::Running(start, since) => after(start, since.elapsed()),
        };
        let ahead = self.ahead_ms.load(Ordering::SeqCst);
        from_millis(base.as_millisecond().saturating_add(ahead))
    }

    /// Advances this clock and all its clones, by a duration that is rounded up to whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
        self.ahead_ms.fetch_add(by, Ordering::SeqCst);
    }
}

/// Returns `now` plus `later`. A result beyond the largest instant becomes that instant.
pub(crate) fn after(now: Timestamp, later: Duration) -> Timestamp {
    SignedDuration::try_from(later).ok().and_then(|later| now.checked_add(later).ok()).unwrap_or(Timestamp::MAX)
}

/// Returns the duration from `now` until `then`; zero if `then` has passed.
pub(crate) fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Returns the instant of this number of milliseconds since the epoch, limited to the representable range.
pub(crate) fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn system_time() -> Timestamp {
    from_millis(Timestamp::now().as_millisecond())
}

/// RFC 3339 in UTC, always with milliseconds, so that texts sort like instants.
pub(crate) mod rfc3339 {
    use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
    use serde::{Deserialize, Deserializer, Serializer};

    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

    pub(crate) fn text(at: Timestamp) -> String {
        PRINTER.timestamp_to_string(&at)
    }

    #[expect(clippy::ref_option, reason = "the shape that serde's `with` calls")]
    pub(crate) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.serialize_str(&text(*at)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Option::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_beyond_the_largest_becomes_the_largest() {
        assert_eq!(after(Timestamp::UNIX_EPOCH, Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_clock_that_is_advanced_until_an_instant_has_reached_it() {
        let clock = Clock::frozen(Timestamp::UNIX_EPOCH);
        let instant = after(Timestamp::UNIX_EPOCH, Duration::from_nanos(1_000_001));
        clock.advance(until(clock.now(), instant));
        assert!(clock.now() >= instant);
    }

    #[test]
    fn the_wait_for_a_past_instant_is_zero() {
        assert_eq!(until(Timestamp::MAX, Timestamp::UNIX_EPOCH), Duration::ZERO);
    }
}
