use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{at, cron};

#[test]
fn the_newest_of_many_missed_fires_is_found() {
    let daily = cron("30 2 * * *", "Europe/Madrid");
    assert_eq!(daily.latest(at("2025-01-01T00:00:00Z"), at("2026-07-01T00:29:59Z")), Some(at("2026-06-30T00:30:00Z")));
    assert_eq!(daily.latest(at("2025-01-01T00:00:00Z"), at("2026-07-01T00:30:00Z")), Some(at("2026-07-01T00:30:00Z")));
    let yearly = cron("0 0 29 2 *", "America/New_York");
    assert_eq!(yearly.latest(at("2000-01-01T00:00:00Z"), at("2027-07-01T00:00:00Z")), Some(at("2024-02-29T05:00:00Z")));
}

#[test]
fn the_start_is_excluded_and_the_end_included() {
    let hourly = cron("@hourly", "UTC");
    let (nine, ten) = (at("2026-01-01T09:00:00Z"), at("2026-01-01T10:00:00Z"));
    assert_eq!(hourly.latest(nine, ten), Some(ten));
    assert_eq!(hourly.latest(nine, at("2026-01-01T09:59:59.999Z")), None);
    assert_eq!(hourly.latest(at("2026-01-01T08:59:59.999Z"), at("2026-01-01T09:00:00.001Z")), Some(nine));
    assert_eq!(hourly.latest(nine, nine), None);
    assert_eq!(hourly.latest(ten, nine), None);
}

#[test]
fn the_newest_fire_may_be_the_end_of_a_gap_or_the_first_of_two() {
    let nightly = cron("30 2 * * *", "Europe/Madrid");
    assert_eq!(nightly.latest(at("2026-03-01T00:00:00Z"), at("2026-03-29T20:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
    assert_eq!(nightly.latest(at("2026-03-01T00:00:00Z"), at("2026-03-29T00:59:59Z")), Some(at("2026-03-28T01:30:00Z")));
    assert_eq!(nightly.latest(at("2026-10-01T00:00:00Z"), at("2026-10-25T20:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
    assert_eq!(nightly.latest(at("2026-10-25T00:30:00Z"), at("2026-10-25T20:00:00Z")), None);
}

#[test]
fn a_schedule_of_every_second_missed_for_a_year_is_caught_up_with_at_once() {
    let every_second = cron("* * * * * *", "Europe/Madrid");
    let took = (0..20).map(|_| {
        let start = Instant::now();
        let newest = every_second.latest(at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(newest, Some(at("2026-01-01T00:00:00Z")));
        start.elapsed()
    });
    assert!(took.min().unwrap() < Duration::from_millis(1));
}

#[test]
fn years_outside_1970_to_2199_have_no_fires() {
    let newyear = cron("0 0 1 1 *", "UTC");
    assert_eq!(newyear.next(Timestamp::MIN), Some(at("1970-01-01T00:00:00Z")));
    assert_eq!(newyear.next(at("1969-12-31T23:59:59.5Z")), Some(at("1970-01-01T00:00:00Z")));
    assert_eq!(newyear.next(at("2198-06-01T00:00:00Z")), Some(at("2199-01-01T00:00:00Z")));
    assert_eq!(newyear.next(at("2199-01-01T00:00:00Z")), None);
    assert_eq!(newyear.next(Timestamp::MAX), None);
    assert_eq!(newyear.latest(Timestamp::MIN, Timestamp::MAX), Some(at("2199-01-01T00:00:00Z")));
    assert_eq!(newyear.latest(Timestamp::MIN, at("1969-12-31T23:59:59Z")), None);
    assert_eq!(newyear.latest(Timestamp::MIN, Timestamp::MIN), None);
    // The year is that of the local clocks.
    let madrid = cron("0 0 0 1 1 * 2030", "Europe/Madrid");
    assert_eq!(madrid.next(at("2026-01-01T00:00:00Z")), Some(at("2029-12-31T23:00:00Z")));
    assert_eq!(madrid.next(at("2029-12-31T23:00:00Z")), None);
    assert_eq!(cron("* * * * *", "America/New_York").latest(Timestamp::MIN, Timestamp::MAX), Some(at("2200-01-01T04:59:00Z")));
    assert_eq!(cron("* * * * *", "Asia/Tokyo").next(Timestamp::MIN), Some(at("1969-12-31T15:00:00Z")));
}
