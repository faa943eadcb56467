use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Schedule, ScheduleError, parse};

fn refusal(expression: &str) -> String {
    parse(expression, "UTC").err().unwrap_or_else(|| panic!("{expression} is taken")).to_string()
}

fn refused(schedule: &Schedule) -> ScheduleError {
    schedule.timetable(Timestamp::UNIX_EPOCH).unwrap_err()
}

#[test]
fn a_malformed_field_is_named_with_what_to_write_instead() {
    for (expression, expected) in [
        ("5/15 * * * *", r#"minute: "5/15" has a step without a range; write 5-59/15"#),
        ("0 5/2 * * *", r#"hour: "5/2" has a step without a range; write 5-23/2"#),
        ("0 24 * * *", "hour: 24 is out of range; it must be 0 to 23"),
        ("60 * * * *", "minute: 60 is out of range; it must be 0 to 59"),
        ("60 0 * * * *", "second: 60 is out of range; it must be 0 to 59"),
        ("0 0 0 * *", "day-of-month: 0 is out of range; it must be 1 to 31"),
        ("0 0 * 13 *", "month: 13 is out of range; it must be 1 to 12 or JAN to DEC"),
        ("0 0 * * 8", "day-of-week: 8 is out of range; it must be 0 to 7 or SUN to SAT"),
        ("0 0 0 * * * 2200", "year: 2200 is out of range; it must be 1970 to 2199"),
        ("99999999999 * * * *", "minute: 99999999999 is out of range; it must be 0 to 59"),
        ("30-10 * * * *", "minute: the range 30-10 is reversed; write 10-30, or 30-59,0-10 to go past the end"),
        ("0 22-4 * * *", "hour: the range 22-4 is reversed; write 4-22, or 22-23,0-4 to go past the end"),
        ("0 0 * * FRI-MON", "day-of-week: the range FRI-MON is reversed; write 1-5, or 5-6,0-1 to go past the end"),
        ("0 0 * * 7-2", "day-of-week: the range 7-2 is reversed; write 0-2, for 7 and 0 are both Sunday"),
        (", * * * *", r#"minute: "," has an empty item; remove the comma that is too many"#),
        ("0 1,,2 * * *", r#"hour: "1,,2" has an empty item; remove the comma that is too many"#),
        ("0 0 1, * *", r#"day-of-month: "1," has an empty item; remove the comma that is too many"#),
        ("*/0 * * * *", r#"minute: "*/0" has the step 0; a step is a number from 1"#),
        ("*/90 * * * *", r#"minute: the step of "*/90" is larger than the field; write 0 alone, or an interval: every 90m"#),
        ("0 0-4/24 * * *", r#"hour: the step of "0-4/24" is larger than the field; write 0 alone, or an interval: every 24h"#),
        ("0 0 1 */12 *", r#"month: the step of "*/12" is larger than the field; write 1 alone, or a step up to 11"#),
        ("*/ * * * *", r#"minute: the step of "*/" is not a number; a step is a number from 1"#),
        ("*/+5 * * * *", r#"minute: the step of "*/+5" is not a number; a step is a number from 1"#),
        ("*/5/5 * * * *", r#"minute: the step of "*/5/5" is not a number; a step is a number from 1"#),
        ("-5 * * * *", r#"minute: "-5" is a range without an end; write both ends, such as 0-59"#),
        ("5- * * * *", r#"minute: "5-" is a range without an end; write both ends, such as 0-59"#),
        ("1-2-3 * * * *", r#"minute: "2-3" is not a number; it must be 0 to 59"#),
        ("1.5 * * * *", r#"minute: "1.5" is not a number; it must be 0 to 59"#),
        ("+5 * * * *", r#"minute: "+5" is not a number; it must be 0 to 59"#),
        ("MON * * * *", r#"minute: "MON" is not a number; it must be 0 to 59"#),
        ("0 0 * MON *", r#"month: "MON" is not a number or a name of this field; it must be 1 to 12 or JAN to DEC"#),
        ("0 0 * * JAN", r#"day-of-week: "JAN" is not a number or a name of this field; it must be 0 to 7 or SUN to SAT"#),
        ("0 ? * * *", r#"hour: "?" is not a number; it must be 0 to 23"#),
        ("0 0 ?,5 * *", "day-of-month: ? stands in a list; write it alone, or list the days"),
        ("0 0 * * ?,5", "day-of-week: ? stands in a list; write it alone, or list the days"),
        ("0 0 32W * *", "day-of-month: 32 is out of range; it must be 1 to 31"),
        ("0 0 L-3 * *", r#"day-of-month: "L" is not a number; it must be 1 to 31"#),
        ("0 0 * * MON#6", r#"day-of-week: "MON#6" is no occurrence in a month; it must be #1 to #5, or 5L for the last Friday"#),
        ("0 0 * * 1#0", r#"day-of-week: "1#0" is no occurrence in a month; it must be #1 to #5, or 5L for the last Friday"#),
        ("0 0 * * L", r#"day-of-week: "L" names no day; write which: 5L is the last Friday of the month"#),
    ] {
        assert_eq!(refusal(expression), expected, "{expression}");
    }
}

#[test]
fn text_that_is_not_an_expression_is_refused_as_a_whole() {
    let fields = "write 5 (minute hour day-of-month month day-of-week), 6 with seconds first, or 7 with the year last";
    assert_eq!(refusal(""), format!("cron: it is empty; {fields}"));
    assert_eq!(refusal(" \t "), format!("cron: it is empty; {fields}"));
    assert_eq!(refusal("* * * *"), format!("cron: it has 4 fields; {fields}"));
    assert_eq!(refusal("* * * * * * * *"), format!("cron: it has 8 fields; {fields}"));
    let aliases = "write five fields, or one of @yearly @annually @monthly @weekly @daily @midnight @hourly";
    assert_eq!(refusal("@reboot"), format!("cron: nothing boots here, so @reboot never comes; {aliases}"));
    assert_eq!(refusal("@fortnightly"), format!(r#"cron: "@fortnightly" is no known alias; {aliases}"#));
}

const NEVER: [&str; 8] = [
    "0 0 30 2 *",
    "0 0 31 2,4,6,9,11 *",
    "0 0 31W 4 *",
    "0 0 30 2 ?",
    "0 0 */30 2-2 2#2",
    "0 0 0 29 2 * 2025-2027",
    "0 0 0 29 2 * 2100",
    "0 0 0 29 2 1#1 2026",
];

#[test]
fn an_expression_that_no_day_matches_is_refused() {
    assert_eq!(
        refusal("0 0 30 2 *"),
        r#"day-of-month: no day matches "30" in month "2", day-of-week "*"; choose a day that the month has (L is its last)"#
    );
    for expression in &NEVER[..7] {
        assert!(refusal(expression).contains("no day matches"), "{expression}");
    }
    // A match once in 40 years is valid.
    for rare in ["0 0 29 2 *", "0 0 29 2 */7", "0 0 0 29 2 * 2096", "0 0 30 2 1", "0 0 31W 1,2 *"] {
        assert!(parse(rare, "UTC").is_ok(), "{rare}");
    }
}

#[test]
fn a_refusal_takes_less_than_a_millisecond() {
    for expression in NEVER.into_iter().chain(["5/15 * * * *", "@reboot", ""]) {
        // Take the best of several measurements, since other programs use the machine too.
        let took = (0..20).map(|_| {
            let start = Instant::now();
            let _ = super::super::expression::Expression::parse(expression);
            start.elapsed()
        });
        assert!(took.min().unwrap() < Duration::from_millis(1), "{expression}");
    }
}

#[test]
fn an_unknown_zone_is_answered_with_the_nearest_names() {
    let remedy = |zone: &str| parse("0 0 * * *", zone).unwrap_err().to_string().split_once("; ").unwrap().1.to_owned();
    assert_eq!(remedy("Madrid"), "perhaps Europe/Madrid");
    assert_eq!(remedy("europe/madird"), "perhaps Europe/Madrid");
    assert_eq!(remedy("New York"), "perhaps America/New_York");
    assert_eq!(remedy("Europe/Viena"), "perhaps Europe/Vienna");
    assert_eq!(remedy("+02:00"), "write one such as Europe/Madrid, or UTC");
    let error = parse("0 0 * * *", "Middle/Earth").unwrap_err();
    assert_eq!(error.field(), "timezone");
    assert!(error.to_string().starts_with(r#"timezone: "Middle/Earth" is no zone of tzdata 20"#), "{error}");
    assert!(parse("0 0 * * *", "").is_err());
    // jiff returns it as a zone without a clock.
    assert!(parse("0 0 * * *", "Etc/Unknown").is_err());
}

#[test]
fn no_more_than_three_names_are_offered() {
    let error = parse("0 0 * * *", "PST").unwrap_err().to_string();
    assert_eq!(error.matches(" or ").count(), 2, "{error}");
}

#[test]
fn an_interval_is_whole_seconds_from_one() {
    let every = |interval| refused(&Schedule::every(interval)).to_string();
    assert_eq!(every(Duration::ZERO), "every_s: 0 seconds is no interval; it must be a whole number from 1");
    assert_eq!(every(Duration::from_millis(500)), "every_s: 0.5 is not a whole number of seconds; it must be without a fraction");
    assert_eq!(every(Duration::from_millis(1500)), "every_s: 1.5 is not a whole number of seconds; it must be without a fraction");
    assert_eq!(refused(&Schedule::every(Duration::MAX)).field(), "every_s");
    let offset = |offset| refused(&Schedule::every(Duration::from_secs(5)).offset(offset));
    assert_eq!(
        offset(Duration::from_millis(20)).to_string(),
        "offset_s: 0.02 is not a whole number of seconds; it must be without a fraction"
    );
    assert_eq!(offset(Duration::from_secs(u64::MAX)).field(), "offset_s");
    assert_eq!(offset(Duration::from_secs(1 << 50)).field(), "offset_s");
}

#[test]
fn a_schedule_has_either_an_expression_or_an_interval() {
    let read = |json: &str| refused(&serde_json::from_str(json).unwrap()).to_string();
    assert_eq!(read("{}"), "cron: the schedule does not say when; give cron or every_s");
    assert_eq!(read(r#"{"cron": "@daily", "every_s": 5}"#), "cron: the schedule has every_s too; give only one of them");
    assert_eq!(
        read(r#"{"cron": "@daily", "offset_s": 5}"#),
        "offset_s: an expression has no offset; leave it out, or give every_s instead of cron"
    );
    let zoned = r#"{"every_s": 5, "timezone": "Europe/Madrid"}"#;
    assert_eq!(read(zoned), "timezone: an interval has no zone; leave it out, or give cron instead of every_s");
    let skipping = r#"{"every_s": 5, "dst_gap": "skip"}"#;
    assert_eq!(read(skipping), "dst_gap: an interval knows no gap; leave it out, or give cron instead of every_s");
}
