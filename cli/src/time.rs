//! Reads and prints instants and durations in the forms that people use.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Timestamp, Unit};

/// Reads a duration such as `90s`, `1h 30m` or `2d`. A day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let signed = read.map_err(|_| format!("{text:?} is not a duration; write one such as 90s, 1h30m or 2d"))?;
    Duration::try_from(signed).map_err(|_| format!("{text:?} is negative; write a duration such as 5m"))
}

/// Reads an instant in RFC 3339.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("{text:?} is not a time with an offset; write one such as 2026-05-04T12:00:00Z"))
}

/// Returns a duration of less than a second in milliseconds, and a longer one as [`brief`] does.
pub(crate) fn fine(duration: Duration) -> String {
    if duration < Duration::from_secs(1) { format!("{:.0}ms", duration.as_secs_f64() * 1000.0) } else { brief(duration) }
}

/// Returns a number of milliseconds as [`fine`] does.
pub(crate) fn millis(ms: f64) -> String {
    fine(Duration::from_secs_f64(ms / 1000.0))
}

/// Returns a duration in its two largest units, such as `3m 20s`.
pub(crate) fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{:.1}s", duration.as_secs_f64()),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Returns an instant relative to now, such as `3m 20s ago` or `in 2h 5m`.
pub(crate) fn from_now(at: Timestamp, now: Timestamp) -> String {
    let signed = at.duration_since(now);
    let length = brief(signed.unsigned_abs());
    if signed.is_negative() { format!("{length} ago") } else { format!("in {length}") }
}

/// Returns an instant to the second.
pub(crate) fn exact(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let cases = [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1h 30m", 5400), ("PT2M", 120), ("2d", 172_800), ("1d 1h", 90_000)];
        for (text, seconds) in cases {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "-5m", "1mo", "soon"] {
            assert!(duration(text).is_err_and(|error| error.contains("write")), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_two_units() {
        let shown = [0, 9, 59, 61, 3600, 90_061].map(|seconds| brief(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0.0s", "9.0s", "59s", "1m 1s", "1h 0m", "1d 1h"]);
    }

    #[test]
    fn an_instant_lies_before_or_after_now() {
        let now = instant("2026-05-04T12:00:00Z").expect("an instant");
        assert_eq!(from_now(instant("2026-05-04T11:58:00Z").expect("an instant"), now), "2m 0s ago");
        assert_eq!(from_now(instant("2026-05-04T13:00:00+02:00").expect("an instant"), now), "1h 0m ago");
        assert_eq!(from_now(instant("2026-05-05T12:00:00Z").expect("an instant"), now), "in 1d 0h");
        assert!(instant("2026-05-04").is_err_and(|error| error.contains("offset")));
    }
}
