//! A cron expression, parsed: the civil times that it matches.

use jiff::civil::{Date, DateTime, Time};

use super::{
    ScheduleError,
    day::{Days, weekday_number},
    field,
    mask::Mask,
    year::Years,
};

/// The sets of an expression. A civil time matches when each of its parts is in its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) seconds: Mask,
    pub(super) minutes: Mask,
    pub(super) hours: Mask,
    pub(super) days: Days,
    pub(super) months: Mask,
    pub(super) years: Years,
    /// The seconds, minute or hour field starts with `*`: the rhythm in real time counts. Else the civil time does.
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
    /// When a field cannot be read, or no day is in all of them.
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

    /// Whether any day matches. A year's days depend on its first weekday and its length alone, so no more than 14 years
    /// need be looked at.
    fn has_day(&self) -> bool {
        let mut seen = Mask::default();
        self.years.values().any(|year| {
            let calendar = calendar(year);
            let known = seen.has(calendar);
            seen = seen.or(Mask::one(calendar));
            !known && self.months.values().any(|month| first_of(year, month).is_some_and(|first| !self.days.of(first).is_empty()))
        })
    }

    /// The first civil time that matches, at or after `start`.
    pub(super) fn from(&self, start: DateTime) -> Option<DateTime> {
        let (date, days) = (start.date(), self.days_of(start.date().first_of_month()));
        if days.has(day(date))
            && let Some(time) = self.time_from(start.time())
        {
            return Some(date.to_datetime(time));
        }
        let next = match days.from(day(date) + 1) {
            Some(day) => on(date, day)?,
            None => self.first_day_after(date)?,
        };
        Some(next.to_datetime(self.first_time()))
    }

    /// The last civil time that matches, at or before `end`.
    pub(super) fn until(&self, end: DateTime) -> Option<DateTime> {
        let (date, days) = (end.date(), self.days_of(end.date().first_of_month()));
        if days.has(day(date))
            && let Some(time) = self.time_until(end.time())
        {
            return Some(date.to_datetime(time));
        }
        let previous = match days.under(day(date)) {
            Some(day) => on(date, day)?,
            None => self.last_day_before(date)?,
        };
        Some(previous.to_datetime(self.last_time()))
    }

    /// The days of one month, given its first.
    fn days_of(&self, first: Date) -> Mask {
        let admitted = self.months.has(first.month().unsigned_abs().into()) && self.years.has(first.year());
        if admitted { self.days.of(first) } else { Mask::default() }
    }

    /// The first day in any month after that of `date`.
    fn first_day_after(&self, date: Date) -> Option<Date> {
        let (mut year, mut month) = (date.year(), month(date));
        loop {
            (year, month) = match self.months.from(month + 1) {
                Some(month) if self.years.has(year) => (year, month),
                _ => (self.years.from(year + 1)?, self.months.first()?),
            };
            let first = first_of(year, month)?;
            if let Some(day) = self.days.of(first).first() {
                return on(first, day);
            }
        }
    }

    /// The last day in any month before that of `date`.
    fn last_day_before(&self, date: Date) -> Option<Date> {
        let (mut year, mut month) = (date.year(), month(date));
        loop {
            (year, month) = match self.months.under(month) {
                Some(month) if self.years.has(year) => (year, month),
                _ => (self.years.under(year)?, self.months.last()?),
            };
            let first = first_of(year, month)?;
            if let Some(day) = self.days.of(first).last() {
                return on(first, day);
            }
        }
    }

    /// The first time of a day that matches, at or after `start`.
    fn time_from(&self, start: Time) -> Option<Time> {
        let (hour, minute, second) = parts(start);
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.from(second)
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = self.minutes.from(minute + 1) {
                return time(hour, minute, self.seconds.first()?);
            }
        }
        time(self.hours.from(hour + 1)?, self.minutes.first()?, self.seconds.first()?)
    }

    /// The last time of a day that matches, at or before `end`.
    fn time_until(&self, end: Time) -> Option<Time> {
        let (hour, minute, second) = parts(end);
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.under(second + 1)
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = self.minutes.under(minute) {
                return time(hour, minute, self.seconds.last()?);
            }
        }
        time(self.hours.under(hour)?, self.minutes.last()?, self.seconds.last()?)
    }

    fn first_time(&self) -> Time {
        self.time_from(Time::MIN).unwrap_or(Time::MIN)
    }

    fn last_time(&self) -> Time {
        self.time_until(Time::MAX).unwrap_or(Time::MIN)
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

fn parts(time: Time) -> (u32, u32, u32) {
    let part = |part: i8| part.unsigned_abs().into();
    (part(time.hour()), part(time.minute()), part(time.second()))
}

fn day(date: Date) -> u32 {
    date.day().unsigned_abs().into()
}

fn month(date: Date) -> u32 {
    date.month().unsigned_abs().into()
}

/// A number for the calendar of a year, under 14.
fn calendar(year: i16) -> u32 {
    first_of(year, 1).map_or(0, |first| weekday_number(first) + if first.in_leap_year() { 7 } else { 0 })
}

fn first_of(year: i16, month: u32) -> Option<Date> {
    Date::new(year, i8::try_from(month).ok()?, 1).ok()
}

/// That day of the month of `date`.
fn on(date: Date, day: u32) -> Option<Date> {
    Date::new(date.year(), date.month(), i8::try_from(day).ok()?).ok()
}

fn time(hour: u32, minute: u32, second: u32) -> Option<Time> {
    let part = |part: u32| i8::try_from(part).ok();
    Time::new(part(hour)?, part(minute)?, part(second)?, 0).ok()
}
