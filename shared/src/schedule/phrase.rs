//! The phrases of a description: days, lists and ranges.

use super::{
    day::{Dates, Days, Weekdays},
    expression::Expression,
    mask::Mask,
};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// Returns text such as ` on Monday to Friday in March`, or an empty text for every day.
pub(super) fn days(expression: &Expression) -> String {
    let Days { dates, weekdays, both } = &expression.days;
    let days = match (dates.text(), weekdays.text()) {
        (Some(date), Some(weekday)) if *both => format!(" on {date} if it is {weekday}"),
        (Some(date), Some(weekday)) => format!(" on {date} or {weekday}"),
        (Some(only), None) | (None, Some(only)) if *both => format!(" on {only}"),
        // If one match is enough and one field matches every day, the result is every day.
        _ => String::new(),
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
    /// Returns the text, or `None` for every day.
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
    /// Returns the text, or `None` for every day.
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

/// Returns texts such as `the second Friday of the month`.
fn ordinals(nth: &str, days: u8) -> Vec<String> {
    Mask(days.into()).values().map(|day| format!("the {nth} {} of the month", weekday(day))).collect()
}

fn weekday(day: u32) -> String {
    WEEKDAYS[day as usize % 7].to_owned()
}

fn month(month: u32) -> String {
    MONTHS[(month as usize + 11) % 12].to_owned()
}

pub(super) fn every_unit(count: i64, unit: &str) -> String {
    match count {
        1 => format!("every {unit}"),
        count => format!("every {count} {unit}s"),
    }
}

/// Returns text such as `minute 5` or `minutes 0 to 10 and 30`.
pub(super) fn listed(unit: &str, values: Mask) -> String {
    let plural = if values.count() == 1 { "" } else { "s" };
    format!("{unit}{plural} {}", ranges(values, |value| value.to_string()))
}

/// Lists values; runs of three or more become ranges.
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

/// Returns text such as `a, b and c`.
pub(super) fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
