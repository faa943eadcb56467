use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Schedule, Timetable, at, fires};

const CREATED: &str = "2026-03-29T00:50:00Z";

fn every(seconds: u64, offset: u64) -> Timetable {
    Schedule::every(Duration::from_secs(seconds)).offset(Duration::from_secs(offset)).timetable(at(CREATED)).unwrap()
}

#[test]
fn an_interval_counts_elapsed_seconds_from_where_it_was_created() {
    let expected = ["2026-03-29T00:55:10Z", "2026-03-29T01:00:10Z", "2026-03-29T01:05:10Z"];
    assert_eq!(fires(&every(300, 10), "2026-03-29T00:50:10Z", 3), expected);
    assert_eq!(fires(&every(300, 10), "2026-03-29T00:55:09.999Z", 3), expected);
}

#[test]
fn an_interval_begins_at_its_creation_plus_its_offset() {
    assert_eq!(fires(&every(300, 0), "2026-03-29T00:49:59Z", 2), ["2026-03-29T00:50:00Z", "2026-03-29T00:55:00Z"]);
    assert_eq!(fires(&every(300, 0), CREATED, 1), ["2026-03-29T00:55:00Z"]);
    assert_eq!(fires(&every(300, 3600), CREATED, 2), ["2026-03-29T01:50:00Z", "2026-03-29T01:55:00Z"]);
    assert_eq!(fires(&every(300, 3600), "1900-01-01T00:00:00Z", 1), ["2026-03-29T01:50:00Z"]);
    assert_eq!(every(300, 3600).latest(Timestamp::MIN, at("2026-03-29T01:49:59Z")), None);
}

#[test]
fn an_interval_keeps_the_fraction_of_the_second_in_which_it_was_created() {
    let timetable = Schedule::every(Duration::from_mins(1)).timetable(at("2026-01-01T00:00:00.250Z")).unwrap();
    assert_eq!(fires(&timetable, "2026-01-01T00:01:00.249Z", 2), ["2026-01-01T00:01:00.25Z", "2026-01-01T00:02:00.25Z"]);
}

#[test]
fn an_interval_ends_before_the_year_2200() {
    let timetable = every(86_400, 0);
    assert_eq!(timetable.next(at("2199-12-30T12:00:00Z")), Some(at("2199-12-31T00:50:00Z")));
    assert_eq!(timetable.next(at("2199-12-31T12:00:00Z")), None);
    assert_eq!(timetable.next(Timestamp::MAX), None);
    assert_eq!(timetable.latest(at(CREATED), Timestamp::MAX), Some(at("2199-12-31T00:50:00Z")));
    let midnight = Schedule::every(Duration::from_hours(24)).timetable(at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(midnight.next(at("2199-12-31T00:00:00Z")), None);
    assert_eq!(midnight.latest(at(CREATED), at("2200-01-01T00:00:00Z")), Some(at("2199-12-31T00:00:00Z")));
    assert_eq!(every(u64::from(u32::MAX) * 1000, 0).next(at(CREATED)), None);
}

proptest! {
    #[test]
    fn an_interval_fires_at_created_and_offset_and_whole_steps(
        step in 1..2_000_000u64, offset in 0..2_000_000u64, after in 0..4_000_000_000i64,
    ) {
        let (timetable, origin) = (every(step, offset), at(CREATED).as_second() + i64::try_from(offset).unwrap());
        let after = Timestamp::from_second(after).unwrap();
        let next = timetable.next(after).unwrap();
        prop_assert!(next > after);
        prop_assert_eq!((next.as_second() - origin) % i64::try_from(step).unwrap(), 0);
        prop_assert!(next.as_second() >= origin);
        let previous = next.as_second() - i64::try_from(step).unwrap();
        prop_assert!(previous <= after.as_second() || previous < origin, "one is left out");
        let newest = (previous >= origin).then(|| Timestamp::from_second(previous).unwrap());
        prop_assert_eq!(timetable.latest(Timestamp::UNIX_EPOCH, Timestamp::from_second(next.as_second() - 1).unwrap()), newest);
        prop_assert_eq!(timetable.latest(after, next), Some(next));
        prop_assert_eq!(timetable.latest(next, next), None);
    }
}
