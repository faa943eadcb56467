//! Decides the outcome of a delivery from the receiver's response.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::failure::Next;

/// The longest wait that a receiver may request. Longer waits are shortened to this.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Decides the outcome from the status and the `Retry-After` header of a response.
///
/// # Errors
///
/// The next step, if the status does not confirm the delivery. A redirect that was not followed is not retried: the URL is
/// wrong and must be corrected by the producer.
pub(crate) fn classify(status: u16, retry_after: Option<&str>, now: Timestamp) -> Result<(), Next> {
    match status {
        200..=299 => Ok(()),
        300..=407 | 409..=424 | 426..=428 | 430..=499 => Err(Next::GiveUp),
        _ => Err(Next::Retry(retry_after.and_then(|value| wait(value, now)))),
    }
}

/// Returns the wait of a `Retry-After` header in either of its formats: seconds, or an HTTP date.
/// Returns `None` if the header is malformed or the date has passed.
fn wait(value: &str, now: Timestamp) -> Option<Duration> {
    let wait = seconds(value).or_else(|| until(value, now))?;
    Some(wait.min(MAX_RETRY_AFTER)).filter(|wait| !wait.is_zero())
}

fn seconds(value: &str) -> Option<Duration> {
    let digits = value.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().map_or(Duration::MAX, Duration::from_secs)) // too many digits: a very long wait
}

fn until(value: &str, now: Timestamp) -> Option<Duration> {
    let then = httpdate::parse_http_date(value.trim()).ok()?;
    Some(then.duration_since(SystemTime::from(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16, retry_after: Option<&str>) -> Result<(), Next> {
        classify(status, retry_after, "2026-03-29T01:00:00Z".parse().unwrap())
    }

    fn later(seconds: u64) -> Result<(), Next> {
        Err(Next::Retry(Some(Duration::from_secs(seconds))))
    }

    #[test]
    fn every_2xx_is_a_delivery() {
        assert!([200, 201, 202, 204, 299].into_iter().all(|status| judge(status, Some("60")) == Ok(())));
    }

    #[test]
    fn permanent_errors_are_not_retried() {
        assert!([301, 302, 307, 308, 400, 401, 404, 410, 422].into_iter().all(|s| judge(s, None) == Err(Next::GiveUp)));
    }

    #[test]
    fn temporary_errors_are_retried() {
        assert!([101, 408, 425, 429, 500, 502, 503, 504, 599].into_iter().all(|s| judge(s, None) == Err(Next::Retry(None))));
    }

    #[test]
    fn retry_after_is_obeyed_in_seconds() {
        assert_eq!(judge(503, Some("120")), later(120));
        assert_eq!(judge(429, Some(" 7 ")), later(7));
    }

    #[test]
    fn retry_after_is_obeyed_as_a_date_in_all_three_forms() {
        for date in ["Sun, 29 Mar 2026 01:02:00 GMT", "Sunday, 29-Mar-26 01:02:00 GMT", "Sun Mar 29 01:02:00 2026"] {
            assert_eq!(judge(503, Some(date)), later(120), "{date}");
        }
    }

    #[test]
    fn retry_after_is_limited_to_a_day() {
        for value in ["86401", "99999999999999999999999999", "Sun, 29 Mar 2099 01:02:00 GMT"] {
            assert_eq!(judge(503, Some(value)), later(86_400), "{value}");
        }
    }

    #[test]
    fn an_invalid_retry_after_leaves_the_wait_to_the_job() {
        for value in ["", "soon", "-5", "+5", "1.5", "0", "Sun, 29 Mar 2020 01:02:00 GMT"] {
            assert_eq!(judge(503, Some(value)), Err(Next::Retry(None)), "{value}");
        }
    }
}
