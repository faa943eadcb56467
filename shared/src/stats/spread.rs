//! Distributions of durations: mean, deviation, and counts by power of two.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The distribution of durations, in milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// Number of durations.
    pub count: u64,
    /// The mean.
    pub mean_ms: f64,
    /// The sum of the squared differences from the mean.
    pub squares: f64,
    /// Number of durations in each [bucket](Spread::bucket).
    pub buckets: Vec<u64>,
}

impl Spread {
    /// Adds a duration, by the method of Welford.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 285,000 years")]
    pub(super) fn add(&mut self, duration: Duration) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - ms.leading_zeros()) as usize;
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        let off = ms as f64 - self.mean_ms;
        self.mean_ms += off / self.count as f64;
        self.squares += off * (ms as f64 - self.mean_ms);
    }
}

// For the readers of statistics.
#[cfg(any(test, feature = "operator"))]
impl Spread {
    /// Adds the durations of another process or another day.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (own, more) = (self.count as f64, other.count as f64);
        let off = other.mean_ms - self.mean_ms;
        self.mean_ms += off * more / (own + more);
        self.squares += other.squares + off * off * own * more / (own + more);
        self.count += other.count;
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += more;
        }
    }

    /// Returns the standard deviation.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn deviation_ms(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }

    /// Returns the bounds of a bucket in milliseconds: the first value in it and the first value after it. The buckets are 0, 1, 2 to 3,
    /// 4 to 7, and so on.
    pub fn bucket(number: usize) -> (u64, u64) {
        let power = |power: usize| u32::try_from(power).ok().and_then(|power| 1_u64.checked_shl(power)).unwrap_or(u64::MAX);
        match number {
            0 => (0, 1),
            number => (power(number - 1), power(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(all: &[u64]) -> Spread {
        let mut spread = Spread::default();
        for ms in all {
            spread.add(Duration::from_millis(*ms));
        }
        spread
    }

    #[test]
    fn a_spread_has_mean_deviation_and_buckets_however_it_was_gathered() {
        let all = [0, 1, 3, 4, 7, 1000, 1_000_000, 1_000_001];
        let whole = spread(&all);
        let mean = 2_001_016.0 / 8.0;
        let variance = all.iter().map(|ms| (Duration::from_millis(*ms).as_secs_f64() * 1e3 - mean).powi(2)).sum::<f64>() / 8.0;
        for split in 0..=all.len() {
            let mut parts = spread(&all[..split]);
            parts.merge(&spread(&all[split..]));
            assert_eq!(parts.count, 8, "{split}");
            assert_eq!(parts.buckets, whole.buckets, "{split}");
            assert!((parts.mean_ms - mean).abs() < 1e-6 && (parts.deviation_ms() - variance.sqrt()).abs() < 1e-6, "{split}: {parts:?}");
        }
        let filled: Vec<_> = whole.buckets.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(filled, [(0, &1), (1, &1), (2, &1), (3, &2), (10, &1), (20, &2)]);
        assert_eq!([0, 1, 2, 3, 10].map(Spread::bucket), [(0, 1), (1, 2), (2, 4), (4, 8), (512, 1024)]);
        assert_eq!(Spread::bucket(64), (1 << 63, u64::MAX));
        assert!(Spread::default().deviation_ms().abs() < f64::EPSILON);
    }
}
