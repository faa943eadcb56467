//! The wait between a failed attempt and the next one.

use std::time::Duration;

/// Exponential backoff with jitter. The wait before attempt *n + 1* is between half and the whole of `base * 2^(n - 1)`, and never
/// longer than `max`.
///
/// The jitter spreads the retries of jobs that failed at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    /// Doubles from `base` up to `max`.
    ///
    /// ```
    /// use std::time::Duration;
    /// let backoff = sqjobs::Backoff::exponential(Duration::from_secs(2), Duration::from_secs(60));
    /// assert_eq!(backoff.delay(1, 1.0), Duration::from_secs(2));
    /// assert_eq!(backoff.delay(4, 0.0), Duration::from_secs(8)); // half of 16
    /// assert_eq!(backoff.delay(u32::MAX, 1.0), Duration::from_secs(60));
    /// ```
    pub const fn exponential(base: Duration, max: Duration) -> Self {
        Self { base, max }
    }

    /// Returns a backoff of about the same wait each time.
    pub const fn constant(wait: Duration) -> Self {
        Self { base: wait, max: wait }
    }

    /// Returns the wait after failed attempt number `attempt` (from 1), with a `jitter` between 0 and 1.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let full = self.base.saturating_mul(doubled).min(self.max);
        let half = full / 2;
        half + half.mul_f64(if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) })
    }
}

/// Returns the wait of a message that returns without a counted attempt: 2, 4, 8 … up to 60 seconds, with jitter.
pub(crate) fn free_return(returns: u32, jitter: f64) -> Duration {
    Backoff::exponential(Duration::from_secs(2), Duration::from_mins(1)).delay(returns, jitter)
}

/// Returns a random number from 0 to 1 for jitter.
pub(crate) fn jitter() -> f64 {
    fastrand::f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_delay_lies_between_half_and_the_whole_of_the_doubled_base(attempt in 1_u32.., base in 0_u64..=u64::MAX, max in 0_u64..1 << 40, jitter: f64) {
            let max = Duration::from_secs(max);
            let delay = Backoff::exponential(Duration::from_secs(base), max).delay(attempt, jitter);
            prop_assert!(delay <= max);
            let floor = Duration::from_secs(base).min(max) / 2;
            prop_assert!(delay.as_secs_f64() >= floor.as_secs_f64() * 0.999);
        }
    }

    #[test]
    fn jitter_stays_between_zero_and_one() {
        assert!((0..1000).map(|_| jitter()).all(|j| (0.0..=1.0).contains(&j)));
    }
}
