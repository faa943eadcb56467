use std::time::Duration;

use jiff::Timestamp;

use super::{Schedule, cron};

#[test]
fn a_common_schedule_is_described_in_natural_words() {
    for (expression, zone, expected) in [
        ("1 0 * * *", "Europe/Madrid", "at 00:01 in Europe/Madrid"),
        ("0 9 * * MON-FRI", "America/New_York", "at 09:00 on Monday to Friday in America/New_York"),
        ("* * * * *", "UTC", "every minute"),
        ("*/5 * * * *", "UTC", "every 5 minutes"),
        ("0,30 * * * *", "UTC", "every 30 minutes"),
        ("*/5 * * * *", "Asia/Kathmandu", "every 5 minutes in Asia/Kathmandu"),
        ("* * * * * *", "UTC", "every second"),
        ("*/10 * * * * *", "UTC", "every 10 seconds"),
        ("@hourly", "UTC", "every hour"),
        ("30 * * * *", "UTC", "at minute 30 of every hour"),
        ("5,35 * * * *", "UTC", "at minutes 5 and 35 of every hour"),
        ("@daily", "UTC", "at 00:00 in UTC"),
        ("@weekly", "UTC", "at 00:00 on Sunday in UTC"),
        ("@monthly", "UTC", "at 00:00 on day 1 of the month in UTC"),
        ("@yearly", "UTC", "at 00:00 on day 1 of the month in January in UTC"),
        ("0 */6 * * *", "UTC", "at 00:00, 06:00, 12:00 and 18:00 in UTC"),
        ("0,30 2 * * *", "UTC", "at 02:00 and 02:30 in UTC"),
        ("30 0 12 * * *", "UTC", "at 12:00:30 in UTC"),
        ("*/15 9-17 * * 1-5", "UTC", "every 15 minutes of hours 9 to 17 on Monday to Friday in UTC"),
        ("0 0 L * *", "UTC", "at 00:00 on the last day of the month in UTC"),
        ("0 0 LW * *", "UTC", "at 00:00 on the last weekday of the month in UTC"),
        ("0 0 15W * *", "UTC", "at 00:00 on the weekday nearest to day 15 of the month in UTC"),
        ("0 0 * * 1#1", "UTC", "at 00:00 on the first Monday of the month in UTC"),
        ("0 0 * * 5L", "UTC", "at 00:00 on the last Friday of the month in UTC"),
        ("0 0 13 * 5", "UTC", "at 00:00 on day 13 of the month or Friday in UTC"),
        ("0 0 1-7 * ?", "UTC", "at 00:00 on days 1 to 7 of the month in UTC"),
        ("0 0 0 1 JUN-AUG * 2026-2030", "UTC", "at 00:00 on day 1 of the month in June to August in 2026 to 2030 in UTC"),
    ] {
        assert_eq!(cron(expression, zone).to_string(), expected, "{expression}");
    }
}

#[test]
fn any_other_schedule_is_described_by_its_values() {
    for (expression, expected) in [
        ("1,31 2-8 * * *", "at minutes 1 and 31 of hours 2 to 8 in UTC"),
        ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("5-59/15 * * * *", "at minutes 5, 20, 35 and 50 of every hour"),
        ("30 * * * * *", "at second 30 of every minute"),
        ("30 */30 * * * *", "at second 30 of minutes 0 and 30 of every hour"),
        ("* 5 * * * *", "every second of minute 5 of every hour"),
        ("* * 2 * * *", "every second of hour 2 in UTC"),
        ("0 0 * * 0,6", "at 00:00 on Sunday and Saturday in UTC"),
        (
            "0 0 */2 * 1",
            "at 00:00 on days 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 and 31 of the month if it is Monday in UTC",
        ),
        ("0 0 1,15W,L * *", "at 00:00 on day 1, the weekday nearest to day 15 and the last day of the month in UTC"),
        ("0 0 0 1 1 * 2026,2028", "at 00:00 on day 1 of the month in January in 2026 and 2028 in UTC"),
    ] {
        assert_eq!(cron(expression, "UTC").to_string(), expected, "{expression}");
    }
}

#[test]
fn only_interval_jobs_are_described_with_a_rhythm() {
    assert_eq!(cron("0-59 0-23 * * *", "Europe/Madrid").to_string(), "at minutes 0 to 59 of hours 0 to 23 in Europe/Madrid");
    assert_eq!(cron("0-59/30 0-23 * * *", "UTC").to_string(), "at minutes 0 and 30 of hours 0 to 23 in UTC");
    assert_eq!(cron("0-59 0-59 0-23 * * *", "UTC").to_string(), "at seconds 0 to 59 of minutes 0 to 59 of hours 0 to 23 in UTC");
}

#[test]
fn a_restriction_that_restricts_nothing_is_not_mentioned() {
    assert_eq!(cron("0 0 1-31 * 5", "UTC").to_string(), "at 00:00 in UTC");
    assert_eq!(cron("0 0 * 1-12 0-7", "UTC").to_string(), "at 00:00 in UTC");
    assert_eq!(cron("0 0 * * 5,5#2,5L", "UTC").to_string(), "at 00:00 on Friday in UTC");
}

#[test]
fn an_interval_reads_in_its_greatest_unit() {
    let every = |seconds| Schedule::every(Duration::from_secs(seconds)).timetable(Timestamp::UNIX_EPOCH).unwrap().to_string();
    assert_eq!(every(1), "every second");
    assert_eq!(every(90), "every 90 seconds");
    assert_eq!(every(300), "every 5 minutes");
    assert_eq!(every(3600), "every hour");
    assert_eq!(every(172_800), "every 48 hours");
}
