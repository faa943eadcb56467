//! Parsers of the values of options.

use std::time::Duration;

use jiff::SignedDuration;
use sqjobs::{Priority, Rate};

use crate::time;

/// Reads a name, an id or a label. An empty one is usually an unset shell variable.
pub(crate) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty; check that your shell variable is set".into()) } else { Ok(text.into()) }
}

/// Reads a key and a value.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =; write key=value"))?;
    Ok((key.into(), value.into()))
}

/// Reads a priority.
pub(crate) fn priority(text: &str) -> Result<Priority, String> {
    let known = [Priority::High, Priority::Default, Priority::Low].into_iter().find(|priority| priority.as_str() == text);
    known.ok_or_else(|| format!("{text:?} is not a priority; write high, default or low"))
}

/// Reads a priority that has a queue of its own.
pub(crate) fn own_priority(text: &str) -> Result<Priority, String> {
    let known = priority(text).ok().filter(|priority| *priority != Priority::Default);
    known.ok_or_else(|| format!("{text:?} is not a priority with a queue of its own; write high or low"))
}

/// The limit of a limit key, or the rate of a rate key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    Jobs(u32),
    Rate(Rate),
}

/// Reads a number of jobs such as `5`, or a rate such as `5/1s`.
pub(crate) fn bound(text: &str) -> Result<Bound, String> {
    if text.contains('/') {
        return rate(text).map(Bound::Rate);
    }
    let number = text.parse().map_err(|_| format!("{text:?} is neither a number of jobs such as 5 nor a rate such as 5/1s"))?;
    Ok(Bound::Jobs(number))
}

/// Reads a rate such as `5/1s` or `100/1m`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let is_no_rate = || format!("{text:?} is not a rate; write the number of attempts and the period, such as 5/1s or 100/1m");
    let (count, period) = text.split_once('/').ok_or_else(is_no_rate)?;
    let count = count.parse().map_err(|_| is_no_rate())?;
    Ok(Rate::new(count, time::duration(period).map_err(|flaw| format!("{}: {flaw}", is_no_rate()))?))
}

/// Returns a rate as `rate` reads it, with its burst.
pub(crate) fn rate_text(rate: &Rate) -> String {
    let burst = if rate.burst == 1 { String::new() } else { format!(", burst {}", rate.burst) };
    format!("{}/{}{burst}", rate.limit, period(rate))
}

/// Returns the period of a rate, such as `1m`.
pub(crate) fn period(rate: &Rate) -> String {
    let period = Duration::try_from_secs_f64(rate.period_s).ok().and_then(|period| SignedDuration::try_from(period).ok());
    period.map_or_else(|| format!("{}s", rate.period_s), |period| format!("{period:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_printed() {
        for text in ["5/1s", "100/1m", "7/1h 30m", "1/24h", "3/250ms"] {
            assert_eq!(rate(text).map(|rate| rate_text(&rate)).as_deref(), Ok(text));
        }
        assert_eq!(bound("100/60s"), Ok(Bound::Rate(Rate::per_minute(100))));
        assert_eq!(bound("0"), Ok(Bound::Jobs(0)));
        assert_eq!(rate_text(&Rate::per_second(5).burst(20)), "5/1s, burst 20");
        for text in ["five", "-1", "5/", "/1s", "5/1", "5/-1s", "5.5/1s", ""] {
            assert!(bound(text).is_err_and(|error| error.contains("5/1s")), "{text}");
        }
        assert!(rate("5").is_err_and(|error| error.contains("5/1s")));
    }
}
