//! Searches the sets of an expression for the next or the last matching civil time.

use jiff::civil::{Date, DateTime, Time};

use super::{day::first_of, expression::Expression, mask::Mask};

impl Expression {
    /// Returns the first matching civil time at or after `start`.
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

    /// Returns the last matching civil time at or before `end`.
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

    /// Returns the matching days of the month that begins at `first`.
    fn days_of(&self, first: Date) -> Mask {
        let admitted = self.months.has(first.month().unsigned_abs().into()) && self.years.has(first.year());
        if admitted { self.days.of(first) } else { Mask::default() }
    }

    /// Returns the first matching day in a month after that of `date`.
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

    /// Returns the last matching day in a month before that of `date`.
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

    /// Returns the first matching time of a day at or after `start`.
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

    /// Returns the last matching time of a day at or before `end`.
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

/// Returns day `day` in the month of `date`.
fn on(date: Date, day: u32) -> Option<Date> {
    Date::new(date.year(), date.month(), i8::try_from(day).ok()?).ok()
}

fn time(hour: u32, minute: u32, second: u32) -> Option<Time> {
    let part = |part: u32| i8::try_from(part).ok();
    Time::new(part(hour)?, part(minute)?, part(second)?, 0).ok()
}
