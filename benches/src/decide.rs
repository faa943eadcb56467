//! Compares the computation of the next fire of ten thousand schedules with croner.

use std::{
    hint::black_box,
    str::FromStr,
    time::{Duration, Instant},
};

use croner::Cron;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use sqjobs::{Schedule, Timetable};

use crate::measure::median;

const SCHEDULES: usize = 10_000;
/// Number of measured rounds; each computes all schedules.
const ROUNDS: usize = 15;

const EXPRESSIONS: [&str; 10] = [
    "* * * * *",
    "*/5 * * * *",
    "30 * * * *",
    "1 0 * * *",
    "30 2 * * *",
    "0 9 * * MON-FRI",
    "0 0 1 * *",
    "0 12 L * *",
    "15 6 * * 1",
    "0 0 29 2 *",
];
const ZONES: [&str; 6] = ["UTC", "Europe/Madrid", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo"];

/// The median time of a round, and the median ratio of croner's time to ours.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) next: Duration,
    pub(crate) next_ratio: f64,
    pub(crate) parsed: Duration,
    pub(crate) parsed_ratio: f64,
}

/// One schedule, parsed by both libraries.
struct Both {
    after: Timestamp,
    expression: &'static str,
    zone: &'static str,
    timetable: Timetable,
    cron: Cron,
    zoned: Zoned,
}

/// Computes the next fire of each schedule with both libraries.
///
/// # Errors
///
/// When one of the two libraries cannot parse a schedule.
pub(crate) fn decide() -> Result<Decided, String> {
    let schedules = (0..SCHEDULES).map(both).collect::<Result<Vec<_>, _>>()?;
    let timed = |fires: &dyn Fn(&Both) -> bool| {
        let start = Instant::now();
        let firing = black_box(schedules.iter().filter(|both| fires(both)).count());
        assert_eq!(firing, SCHEDULES, "each fires again");
        start.elapsed()
    };
    let mut rounds: Vec<[Duration; 4]> = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push([
            timed(&|both| both.timetable.next(black_box(both.after)).is_some()),
            timed(&|both| both.cron.find_next_occurrence(black_box(&both.zoned), false).is_ok()),
            timed(&|both| timetable(both.expression, both.zone, both.after).is_ok_and(|it| it.next(both.after).is_some())),
            timed(&|both| Cron::from_str(both.expression).is_ok_and(|it| it.find_next_occurrence(&both.zoned, false).is_ok())),
        ]);
    }
    let ratio = |of: usize, to: usize| median(rounds.iter().map(|round| round[of].as_secs_f64() / round[to].as_secs_f64()).collect());
    let time = |which: usize| median(rounds.iter().map(|round| round[which]).collect());
    Ok(Decided { next: time(0), next_ratio: ratio(1, 0), parsed: time(2), parsed_ratio: ratio(3, 2) })
}

fn timetable(expression: &str, zone: &str, created: Timestamp) -> Result<Timetable, String> {
    Schedule::cron(expression).timezone(zone).timetable(created).map_err(|error| error.to_string())
}

fn both(number: usize) -> Result<Both, String> {
    let (expression, zone) = (EXPRESSIONS[number % EXPRESSIONS.len()], ZONES[number / EXPRESSIONS.len() % ZONES.len()]);
    // Spread the instants over a year.
    let seconds = 1_767_225_600 + i64::try_from(number).unwrap_or(0) * 3_153;
    let after = Timestamp::from_second(seconds).map_err(|error| error.to_string())?;
    let cron = Cron::from_str(expression).map_err(|error| error.to_string())?;
    let zoned = after.to_zoned(TimeZone::get(zone).map_err(|error| error.to_string())?);
    Ok(Both { after, expression, zone, timetable: timetable(expression, zone, after)?, cron, zoned })
}
