use std::time::Duration;

use super::{Schedule, at, cron};

fn preview(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    cron(expression, zone).preview(at(after)).take(count).map(|fire| fire.to_string()).collect()
}

#[test]
fn the_days_on_which_clocks_are_changed_are_marked() {
    assert_eq!(
        preview("30 2 * * *", "Europe/Madrid", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28 02:30:00+01:00", "2026-03-29 03:00:00+02:00 (clocks go forward at 02:00)", "2026-03-30 02:30:00+02:00"]
    );
    assert_eq!(
        preview("30 12 * * *", "America/New_York", "2026-10-31T12:00:00Z", 3),
        ["2026-10-31 12:30:00-04:00", "2026-11-01 12:30:00-05:00 (clocks go back at 02:00)", "2026-11-02 12:30:00-05:00"]
    );
}

#[test]
fn a_fire_before_the_change_is_marked_as_one_after_it() {
    assert_eq!(
        preview("0 0,12 * * *", "Europe/Madrid", "2026-10-24T20:00:00Z", 2),
        ["2026-10-25 00:00:00+02:00 (clocks go back at 03:00)", "2026-10-25 12:00:00+01:00 (clocks go back at 03:00)"]
    );
}

#[test]
fn a_change_over_midnight_marks_both_days() {
    // Nuuk's clocks go from 23:00 on the 28th to 00:00 on the 29th.
    let mark = "(clocks go forward at 23:00)";
    assert_eq!(
        preview("0 12 * * *", "America/Nuuk", "2026-03-27T00:00:00Z", 4),
        [
            "2026-03-27 12:00:00-02:00".to_owned(),
            format!("2026-03-28 12:00:00-02:00 {mark}"),
            format!("2026-03-29 12:00:00-01:00 {mark}"),
            "2026-03-30 12:00:00-01:00".to_owned(),
        ]
    );
}

#[test]
fn a_fire_carries_its_instant_and_its_change() {
    let fire = cron("30 2 * * *", "Europe/Madrid").preview(at("2026-03-28T12:00:00Z")).next().unwrap();
    assert_eq!(fire.at, at("2026-03-29T01:00:00Z"));
    assert_eq!(fire.local.timestamp(), fire.at);
    let change = fire.change.unwrap();
    assert_eq!(change.from.to_string(), "2026-03-29T02:00:00".to_owned());
    assert_eq!(change.to.to_string(), "2026-03-29T03:00:00".to_owned());
}

#[test]
fn an_interval_is_shown_in_utc() {
    let timetable = Schedule::every(Duration::from_hours(1)).timetable(at("2026-03-29T00:30:00Z")).unwrap();
    let fires: Vec<_> = timetable.preview(at("2026-03-29T00:30:00Z")).take(2).map(|fire| fire.to_string()).collect();
    assert_eq!(fires, ["2026-03-29 01:30:00+00:00", "2026-03-29 02:30:00+00:00"]);
}

#[test]
fn a_preview_ends_with_the_schedule() {
    assert_eq!(preview("0 0 0 1 1 * 2027-2028", "UTC", "2026-01-01T00:00:00Z", 9).len(), 2);
}
