//! Describes a timetable in words. Common expressions get idiomatic sentences; all others list their values. A description is
//! always exact: only interval jobs, which keep their rhythm when clocks change, are described with "every".

use super::{
    cron::Cron,
    every::Every,
    expression::Expression,
    mask::Mask,
    phrase::{days, every_unit, joined, listed},
};

/// Maximum number of times of day that are listed one by one.
const SPELLED_OUT: u32 = 6;

const HOURS: Mask = Mask::span(0, 23);

/// Returns text such as `every 5 minutes`.
pub(super) fn every(every: &Every) -> String {
    match every.step.as_secs() {
        seconds if seconds % 3600 == 0 => every_unit(seconds / 3600, "hour"),
        seconds if seconds % 60 == 0 => every_unit(seconds / 60, "minute"),
        seconds => every_unit(seconds, "second"),
    }
}

/// Returns text such as `at 09:00 on Monday to Friday in America/New_York`.
pub(super) fn cron(cron: &Cron) -> String {
    let expression = &cron.expression;
    let (time, day) = (time(expression), days(expression));
    let any_hour = expression.interval && expression.hours == HOURS && day.is_empty();
    match cron.zone.iana_name().unwrap_or("UTC") {
        "UTC" if any_hour => time,
        zone => format!("{time}{day} in {zone}"),
    }
}

/// Describes the times of day: one by one if they are few, otherwise by hour.
fn time(expression: &Expression) -> String {
    let Expression { seconds, minutes, hours, .. } = expression;
    if seconds.count() * minutes.count() * hours.count() <= SPELLED_OUT {
        return format!("at {}", joined(&times(expression)));
    }
    if *seconds == Mask::one(0) { by_the_minute(expression) } else { by_the_second(expression) }
}

/// Returns text such as `every 5 minutes of hours 9 to 17`.
fn by_the_minute(expression: &Expression) -> String {
    let hour = restricted_hours(expression);
    match rhythm(expression, "minute", expression.minutes) {
        Some(rhythm) => format!("{rhythm}{}", hour.unwrap_or_default()),
        None if hour.is_none() && expression.minutes == Mask::one(0) => "every hour".to_owned(),
        None => format!("at {}{}", listed("minute", expression.minutes), hour.unwrap_or_else(|| " of every hour".to_owned())),
    }
}

/// Returns text such as `at second 30 of every minute of hour 2`.
fn by_the_second(expression: &Expression) -> String {
    let (hour, rhythm) = (restricted_hours(expression), rhythm(expression, "second", expression.seconds));
    let any_minute = expression.interval && expression.minutes == Mask::span(0, 59);
    let minute = match (any_minute, &rhythm) {
        (true, Some(_)) => String::new(),
        (true, None) => " of every minute".to_owned(),
        (false, _) => format!(" of {}", listed("minute", expression.minutes)),
    };
    let hour = hour.unwrap_or_else(|| if any_minute { String::new() } else { " of every hour".to_owned() });
    let second = rhythm.unwrap_or_else(|| format!("at {}", listed("second", expression.seconds)));
    format!("{second}{minute}{hour}")
}

/// Returns text such as ` of hours 9 to 17`, or `None` if a rhythm covers all hours.
fn restricted_hours(expression: &Expression) -> Option<String> {
    let all = expression.interval && expression.hours == HOURS;
    (!all).then(|| format!(" of {}", listed("hour", expression.hours)))
}

/// Returns text such as "every 5 minutes", if the values have that step from the start of the hour to its end.
fn rhythm(expression: &Expression, unit: &str, values: Mask) -> Option<String> {
    let step = values.from(1).unwrap_or(60);
    let even = 60 % step == 0 && step < 60 && values == stepped(step);
    (expression.interval && even).then(|| every_unit(i64::from(step), unit))
}

fn stepped(step: u32) -> Mask {
    (0..60).step_by(step as usize).fold(Mask::default(), |mask, value| mask.or(Mask::one(value)))
}

/// Lists the times of day one by one.
fn times(expression: &Expression) -> Vec<String> {
    let bare = expression.seconds == Mask::one(0);
    let mut times = Vec::new();
    for hour in expression.hours.values() {
        for minute in expression.minutes.values() {
            for second in expression.seconds.values() {
                times.push(if bare { format!("{hour:02}:{minute:02}") } else { format!("{hour:02}:{minute:02}:{second:02}") });
            }
        }
    }
    times
}
