//! A timetable in words. Common forms read as one would say them; all others list their values. A sentence claims
//! nothing that its sets do not: "every" is said only of interval jobs, which keep their rhythm when clocks change.

use super::{
    cron::Cron,
    day::{Dates, Days, Weekdays},
    every::Every,
    expression::Expression,
    mask::Mask,
};

/// So many times of day are written out; more are given by their sets.
const SPELLED_OUT: u32 = 6;

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const HOURS: Mask = Mask::span(0, 23);
const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// "every 5 minutes"
pub(super) fn every(every: &Every) -> String {
    match every.step.as_secs() {
        seconds if seconds % 3600 == 0 => every_unit(seconds / 3600, "hour"),
        seconds if seconds % 60 == 0 => every_unit(seconds / 60, "minute"),
        seconds => every_unit(seconds, "second"),
    }
}

/// "at 09:00 on Monday to Friday in America/New_York"
pub(super) fn cron(cron: &Cron) -> String {
    let expression = &cron.expression;
    let (time, day) = (time(expression), day(expression));
    let any_hour = expression.interval && expression.hours == HOURS && day.is_empty();
    match cron.zone.iana_name().unwrap_or("UTC") {
        "UTC" if any_hour => time,
        zone => format!("{time}{day} in {zone}"),
    }
}

fn time(expression: &Expression) -> String {
    let Expression { seconds, minutes, hours, .. } = expression;
    if seconds.count() * minutes.count() * hours.count() <= SPELLED_OUT {
        return format!("at {}", joined(&times(expression)));
    }
    let (every_minute, every_hour) = (*minutes == Mask::span(0, 59), *hours == HOURS);
    let hour = match (every_hour, expression.interval) {
        (true, true) => String::new(),
        _ => format!(" of {}", listed("hour", *hours)),
    };
    if *seconds == Mask::one(0) {
        return match rhythm(expression, "minute", *minutes) {
            Some(rhythm) => format!("{rhythm}{hour}"),
            None if every_hour && expression.interval && *minutes == Mask::one(0) => "every hour".to_owned(),
            None if hour.is_empty() => format!("at {} of every hour", listed("minute", *minutes)),
            None => format!("at {}{hour}", listed("minute", *minutes)),
        };
    }
    let second = rhythm(expression, "second", *seconds);
    let minute = match (every_minute && expression.interval, second.is_some()) {
        (true, true) => String::new(),
        (true, false) => " of every minute".to_owned(),
        _ => format!(" of {}", listed("minute", *minutes)),
    };
    let hour = if hour.is_empty() && !every_minute { " of every hour".to_owned() } else { hour };
    format!("{}{minute}{hour}", second.unwrap_or_else(|| format!("at {}", listed("second", *seconds))))
}

/// "every 5 minutes", where the values are that, from the first of the hour to its end.
fn rhythm(expression: &Expression, unit: &str, values: Mask) -> Option<String> {
    let step = values.from(1).unwrap_or(60);
    let even = 60 % step == 0 && step < 60 && values == stepped(step);
    (expression.interval && even).then(|| every_unit(i64::from(step), unit))
}

fn stepped(step: u32) -> Mask {
    (0..60).step_by(step as usize).fold(Mask::default(), |mask, value| mask.or(Mask::one(value)))
}

/// The times of day, one by one.
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

/// " on Monday to Friday in March", or nothing when it is every day.
fn day(expression: &Expression) -> String {
    let Days { dates, weekdays, both } = &expression.days;
    let days = match (dates.text(), weekdays.text()) {
        (None, None) => String::new(),
        (Some(date), Some(weekday)) if *both => format!(" on {date} if it is {weekday}"),
        (Some(date), Some(weekday)) => format!(" on {date} or {weekday}"),
        // With one side open, "or" would be every day; with both, the open side does not count.
        (Some(only), None) | (None, Some(only)) if *both => format!(" on {only}"),
        (Some(_), None) | (None, Some(_)) => String::new(),
    };
    let months = (expression.months != Mask::span(1, 12)).then(|| format!(" in {}", ranges(expression.months, month)));
    let years = (!expression.years.is_all()).then(|| format!(" in {}", years(expression)));
    format!("{days}{}{}", months.unwrap_or_default(), years.unwrap_or_default())
}

fn years(expression: &Expression) -> String {
    let years: Vec<i16> = expression.years.values().collect();
    match years.as_slice() {
        [first, .., last] if years.len() > 2 && usize::from(last.abs_diff(*first)) + 1 == years.len() => format!("{first} to {last}"),
        years => joined(&years.iter().map(ToString::to_string).collect::<Vec<_>>()),
    }
}

impl Dates {
    /// None for every day.
    fn text(&self) -> Option<String> {
        if self.listed == Self::ALL {
            return None;
        }
        let listed = (!self.listed.is_empty()).then(|| listed("day", self.listed));
        let nearest = self.nearest.values().map(|day| format!("the weekday nearest to day {day}"));
        let last = self.last.then(|| "the last day".to_owned());
        let last_weekday = self.last_weekday.then(|| "the last weekday".to_owned());
        let parts: Vec<String> = listed.into_iter().chain(nearest).chain(last).chain(last_weekday).collect();
        Some(format!("{} of the month", joined(&parts)))
    }
}

impl Weekdays {
    /// None for every day.
    fn text(&self) -> Option<String> {
        let plain = self.nth.iter().fold(Self::ALL, |all, days| all & days);
        if plain == Self::ALL {
            return None;
        }
        let always = (plain != 0).then(|| ranges(Mask(plain.into()), weekday));
        let nth = NTH.iter().zip(self.nth).flat_map(|(nth, days)| ordinals(nth, days & !plain));
        let last = ordinals("last", self.last & !plain);
        let parts: Vec<String> = always.into_iter().chain(nth).chain(last).collect();
        Some(joined(&parts))
    }
}

/// "the second Friday of the month"
fn ordinals(nth: &str, days: u8) -> Vec<String> {
    Mask(days.into()).values().map(|day| format!("the {nth} {} of the month", weekday(day))).collect()
}

fn weekday(day: u32) -> String {
    WEEKDAYS[day as usize % 7].to_owned()
}

fn month(month: u32) -> String {
    MONTHS[(month as usize + 11) % 12].to_owned()
}

fn every_unit(count: i64, unit: &str) -> String {
    match count {
        1 => format!("every {unit}"),
        count => format!("every {count} {unit}s"),
    }
}

/// "minute 5", "minutes 0 to 10 and 30"
fn listed(unit: &str, values: Mask) -> String {
    let plural = if values.count() == 1 { "" } else { "s" };
    format!("{unit}{plural} {}", ranges(values, |value| value.to_string()))
}

/// Values with their runs of three and more drawn together.
fn ranges(values: Mask, name: impl Fn(u32) -> String) -> String {
    let (mut parts, mut next) = (Vec::new(), values.first());
    while let Some(from) = next {
        let to = (from..64).take_while(|&value| values.has(value)).last().unwrap_or(from);
        match to - from {
            0 => parts.push(name(from)),
            1 => parts.extend([name(from), name(to)]),
            _ => parts.push(format!("{} to {}", name(from), name(to))),
        }
        next = values.from(to + 1);
    }
    joined(&parts)
}

/// "a, b and c"
fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
