//! The guarantees of schedules, one file per group.

mod clocks;
mod croner;
mod data;
mod describe;
mod expression;
mod intervals;
mod latest;
mod oracle;
mod preview;
mod properties;
mod refusals;
mod vectors;

use jiff::{Timestamp, tz::TimeZoneDatabase};

use super::{Schedule, ScheduleError, Timetable};

fn at(instant: &str) -> Timestamp {
    instant.parse().unwrap()
}

fn parse(expression: &str, zone: &str) -> Result<Timetable, ScheduleError> {
    Schedule::cron(expression).timezone(zone).timetable(Timestamp::UNIX_EPOCH)
}

fn cron(expression: &str, zone: &str) -> Timetable {
    parse(expression, zone).unwrap_or_else(|error| panic!("{expression} in {zone}: {error}"))
}

/// Returns the fires after an instant, as texts.
fn fires(timetable: &Timetable, after: &str, count: usize) -> Vec<String> {
    let fires = std::iter::successors(timetable.next(at(after)), |&fire| timetable.next(fire));
    fires.take(count).map(|fire| fire.to_string()).collect()
}

/// Returns the fires in `(after, until]`.
fn between(timetable: &Timetable, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let fires = std::iter::successors(timetable.next(after), |&fire| timetable.next(fire));
    fires.take_while(|&fire| fire <= until).collect()
}

/// Returns every bundled zone.
fn zones() -> Vec<String> {
    TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
}
