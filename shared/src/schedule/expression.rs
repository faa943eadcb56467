//! A parsed cron expression: the civil times that it matches.

use super::{
    ScheduleError,
    day::{Days, first_of, weekday_number},
    field,
    mask::Mask,
    year::Years,
};

/// The sets of an expression. A civil time matches if each of its parts is in its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) seconds: Mask,
    pub(super) minutes: Mask,
    pub(super) hours: Mask,
    pub(super) days: Days,
    pub(super) months: Mask,
    pub(super) years: Years,
    /// `true` if the seconds, minute or hour field starts with `*`: the job keeps its rhythm in real time. Otherwise civil time counts.
    pub(super) interval: bool,
}

const ALIASES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Expression {
    /// Parses 5 fields, 6 with seconds first, 7 with the year last, or an alias.
    ///
    /// # Errors
    ///
    /// When a field is invalid, or no day matches all fields.
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = unaliased(text.trim_ascii())?.split_ascii_whitespace().collect();
        let [second, minute, hour, day, month, weekday, year] = match *fields {
            [minute, hour, day, month, weekday] => ["0", minute, hour, day, month, weekday, "*"],
            [second, minute, hour, day, month, weekday] => [second, minute, hour, day, month, weekday, "*"],
            [second, minute, hour, day, month, weekday, year] => [second, minute, hour, day, month, weekday, year],
            _ => return Err(miscounted(fields.len())),
        };
        let expression = Self {
            seconds: field::SECOND.mask(second)?,
            minutes: field::MINUTE.mask(minute)?,
            hours: field::HOUR.mask(hour)?,
            days: Days::parse(day, weekday)?,
            months: field::MONTH.mask(month)?,
            years: Years::parse(year)?,
            interval: [second, minute, hour].iter().any(|field| field.starts_with('*')),
        };
        if expression.has_day() { Ok(expression) } else { Err(no_day(day, weekday, month, year)) }
    }

    /// Returns `true` if any day matches. The days of a year depend only on its first weekday and its length, so at most 14 years
    /// are checked.
    fn has_day(&self) -> bool {
        let mut seen = Mask::default();
        self.years.values().any(|year| {
            let calendar = calendar(year);
            let known = seen.has(calendar);
            seen = seen.or(Mask::one(calendar));
            !known && self.months.values().any(|month| first_of(year, month).is_some_and(|first| !self.days.of(first).is_empty()))
        })
    }
}

fn unaliased(text: &str) -> Result<&str, ScheduleError> {
    let remedy = "write five fields, or one of @yearly @annually @monthly @weekly @daily @midnight @hourly";
    match ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text)) {
        Some((_, fields)) => Ok(fields),
        None if text.eq_ignore_ascii_case("@reboot") => {
            Err(ScheduleError::new("cron", "nothing boots here, so @reboot never comes", remedy))
        }
        None if text.starts_with('@') => Err(ScheduleError::new("cron", format!("{text:?} is no known alias"), remedy)),
        None => Ok(text),
    }
}

fn miscounted(fields: usize) -> ScheduleError {
    let problem = if fields == 0 { "it is empty".to_owned() } else { format!("it has {fields} fields") };
    let remedy = "write 5 (minute hour day-of-month month day-of-week), 6 with seconds first, or 7 with the year last";
    ScheduleError::new("cron", problem, remedy)
}

fn no_day(day: &str, weekday: &str, month: &str, year: &str) -> ScheduleError {
    let year = if year == "*" { String::new() } else { format!(" year {year:?}") };
    let problem = format!("no day matches {day:?} in month {month:?}, day-of-week {weekday:?}{year}");
    ScheduleError::new(field::DAY.name, problem, "choose a day that the month has (L is its last)")
}

/// Returns a number below 14 that identifies the calendar of a year.
fn calendar(year: i16) -> u32 {
    first_of(year, 1).map_or(0, |first| weekday_number(first) + if first.in_leap_year() { 7 } else { 0 })
}
