//! Compares with croner, an independent implementation. Each known difference has a name and a reason here; any other difference
//! fails.

use std::{collections::BTreeSet, str::FromStr};

use croner::Cron;
use jiff::{Timestamp, tz::TimeZone};

use super::{super::zone, at, cron, parse};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// croner treats a fixed job with several times of day (`0 2,14`) as an interval job; by S5 it is fixed.
    SeveralTimes,
    /// croner treats `*/2` in a day field as restricted, so that one matching day field is enough; by S3 both must match.
    StepInDayField,
    /// croner drops a fire that a gap over midnight moves to a day outside the expression. By S5 the skipped civil time counts, and
    /// not the day of the fire.
    GapOverMidnight,
    /// croner finds no fire in a gap of more than two hours; by S5 the job fires.
    LongGap,
}

const ALL: [Known; 4] = [Known::SeveralTimes, Known::StepInDayField, Known::GapOverMidnight, Known::LongGap];

const TIMES: [&str; 22] = [
    "* *", "*/5 *", "*/7 *", "*/15 2", "0 *", "30 *", "30 */2", "0 */6", "0-29 *", "5,35 *", "0 0", "1 0", "30 0", "30 1", "59 1", "0 2",
    "30 2", "45 2", "0 3", "30 23", "0,30 2", "0 2,14",
];
const DAYS: [&str; 18] = [
    "* * *",
    "* * 1-5",
    "* * SAT",
    "1 * *",
    "31 * *",
    "29 2 *",
    "L * *",
    "LW * *",
    "15W * *",
    "1W,31W * *",
    "* * 1#1",
    "* * 5L",
    "13 * 5",
    "*/2 * 1",
    "1-7 * MON,TUE",
    "* MAR,OCT ?",
    "? * 7",
    "L,15W * *",
];
const ZONES: [&str; 20] = [
    "UTC",
    "Europe/Madrid",
    "Europe/Dublin",
    "Europe/Moscow",
    "America/New_York",
    "America/Nuuk",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Pyongyang",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Chatham",
];
/// Instants before and between the clock changes of many zones, and in leap years.
const INSTANTS: [&str; 9] = [
    "2011-12-29T12:00:00Z",
    "2018-05-04T12:34:56Z",
    "2018-11-03T20:00:00Z",
    "2024-02-28T23:59:59Z",
    "2026-03-28T20:00:00Z",
    "2026-03-29T00:30:00Z",
    "2026-10-03T12:00:00Z",
    "2026-10-25T00:15:00Z",
    "2026-11-01T05:15:00Z",
];

/// One input with the answers of both implementations.
struct Case<'a> {
    time: &'a str,
    day: &'a str,
    zone: &'a TimeZone,
    after: Timestamp,
    ours: Option<Timestamp>,
    theirs: Option<Timestamp>,
}

impl Case<'_> {
    fn is(&self, known: Known) -> bool {
        let fixed = !self.time.contains('*');
        match known {
            Known::SeveralTimes => fixed && self.time.contains([',', '-']) && self.is_near_a_change(),
            Known::StepInDayField => self.day == "*/2 * 1",
            Known::GapOverMidnight => fixed && self.ours.is_some_and(|ours| self.is_gap_over_midnight(ours)),
            Known::LongGap => self.theirs.is_none() && self.ours.is_some_and(|ours| self.hours_left_out_until(ours) > 2),
        }
    }

    /// Returns `true` if clocks change within three hours of either answer.
    fn is_near_a_change(&self) -> bool {
        let near = |at: Timestamp| {
            let from = Timestamp::from_second(at.as_second() - 3 * 3600).unwrap();
            self.zone.following(from).next().is_some_and(|change| change.timestamp().as_second() <= at.as_second() + 3 * 3600)
        };
        self.ours.is_some_and(near) || self.theirs.is_some_and(near)
    }

    fn is_gap_over_midnight(&self, ours: Timestamp) -> bool {
        let before = self.zone.to_datetime(Timestamp::from_second(ours.as_second() - 1).unwrap());
        let change = self.zone.following(Timestamp::from_second(ours.as_second() - 1).unwrap()).next();
        change.is_some_and(|change| change.timestamp() == ours) && before.date() != self.zone.to_datetime(ours).date()
    }

    fn hours_left_out_until(&self, ours: Timestamp) -> i32 {
        let (now, then) = (self.zone.to_offset(self.after), self.zone.to_offset(ours));
        (then.seconds() - now.seconds()) / 3600
    }
}

/// Calls `see` with every case and croner's answers.
fn ask(mut see: impl FnMut(&Case)) {
    for time in TIMES {
        for day in DAYS {
            let theirs = Cron::from_str(&format!("{time} {day}")).unwrap();
            for name in ZONES {
                let (ours, zone) = (cron(&format!("{time} {day}"), name), zone::named(name).unwrap());
                for after in INSTANTS.map(at) {
                    let theirs = theirs.find_next_occurrence(&after.to_zoned(zone.clone()), false).ok();
                    let (ours, theirs) = (ours.next(after), theirs.map(|theirs| theirs.timestamp()));
                    see(&Case { time, day, zone: &zone, after, ours, theirs });
                }
            }
        }
    }
}

#[test]
fn croner_gives_the_same_answers_but_for_known_differences() {
    let (mut asked, mut same, mut seen) = (0, 0, BTreeSet::new());
    ask(|case| {
        asked += 1;
        if case.ours == case.theirs {
            same += 1;
            return;
        }
        let known: Vec<_> = ALL.into_iter().filter(|&known| case.is(known)).collect();
        let Case { time, day, zone, after, ours, theirs } = case;
        assert!(!known.is_empty(), "{time} {day} in {} after {after}: {ours:?}, croner {theirs:?}", zone.iana_name().unwrap());
        seen.extend(known);
    });
    // Remove a difference that no longer occurs from the table.
    assert_eq!(seen, BTreeSet::from(ALL));
    assert!(same * 100 > asked * 85, "only {same} of {asked} are the same");
}

/// Expressions that croner accepts and S2 refuses, and the reverse.
#[test]
fn croner_reads_the_same_expressions_but_for_known_differences() {
    for refused in [", * * * *", "0 0 30 2 *", "MON * * * *", "0 0 0 1 1 * 3000", "0 0 ?/2 * *"] {
        assert!(parse(refused, "UTC").is_err(), "{refused} is taken");
        assert!(Cron::from_str(refused).is_ok(), "croner refuses {refused} now");
    }
    for taken in ["0 0 * * FRI-SUN", "0 0 * * *,1"] {
        assert!(parse(taken, "UTC").is_ok(), "{taken} is refused");
    }
    for both in
        ["", "5/15 * * * *", "*/0 * * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 8", "@reboot", "5-1 * * * *"]
    {
        assert!(parse(both, "UTC").is_err(), "{both} is taken");
        assert!(Cron::from_str(both).is_err(), "croner takes {both} now");
    }
}
