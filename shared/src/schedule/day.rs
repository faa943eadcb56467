//! The days on which an expression fires, from its two day fields.

use jiff::civil::Date;

use super::{
    ScheduleError,
    field::{DAY, WEEKDAY},
    mask::Mask,
};

/// Both day fields, as sets that are converted to days for each month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) dates: Dates,
    pub(super) weekdays: Weekdays,
    /// `true` if either field starts with `*` or is `?`: a day must match both fields. Otherwise one match is enough.
    pub(super) both: bool,
}

/// The day-of-month field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) listed: Mask,
    /// The days whose nearest weekday matches: `15W`.
    pub(super) nearest: Mask,
    /// `L`
    pub(super) last: bool,
    /// `LW`
    pub(super) last_weekday: bool,
}

/// The day-of-week field. Bit 0 of each set is Sunday.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Weekdays {
    /// The weekdays that match at their first, second, ... occurrence in the month. A plain weekday is in all five.
    pub(super) nth: [u8; 5],
    /// The weekdays that match at their last occurrence in the month: `5L`.
    pub(super) last: u8,
}

/// The layout of one month.
#[derive(Clone, Copy)]
struct Month {
    /// The weekday of day 1; 0 is Sunday.
    first: u32,
    length: u32,
}

impl Days {
    pub(super) fn parse(dates: &str, weekdays: &str) -> Result<Self, ScheduleError> {
        let open = |text: &str| text.starts_with('*') || text == "?";
        let both = open(dates) || open(weekdays);
        Ok(Self { dates: Dates::parse(dates)?, weekdays: Weekdays::parse(weekdays)?, both })
    }

    /// Returns the matching days of the month that begins at `first`.
    pub(super) fn of(&self, first: Date) -> Mask {
        let month = Month { first: weekday_number(first), length: first.days_in_month().unsigned_abs().into() };
        let (dates, weekdays) = (self.dates.of(month), self.weekdays.of(month));
        if self.both { dates.and(weekdays) } else { dates.or(weekdays) }
    }
}

impl Dates {
    pub(super) const ALL: Mask = Mask::span(1, 31);

    fn parse(text: &str) -> Result<Self, ScheduleError> {
        let mut dates = Self::default();
        for item in DAY.items(if text == "?" { "*" } else { text }) {
            dates.add(item?)?;
        }
        Ok(dates)
    }

    fn add(&mut self, item: &str) -> Result<(), ScheduleError> {
        let upper = item.to_ascii_uppercase();
        match upper.strip_suffix('W') {
            _ if upper == "L" => self.last = true,
            Some("L") => self.last_weekday = true,
            Some(day) => self.nearest = self.nearest.or(Mask::one(DAY.value(day)?)),
            None if item == "?" => return Err(lone_question_mark(DAY.name)),
            None => DAY.each(item, |day| self.listed = self.listed.or(Mask::one(day)))?,
        }
        Ok(())
    }

    fn of(&self, month: Month) -> Mask {
        let nearest = self.nearest.values().filter(|&day| day <= month.length).map(|day| month.nearest_weekday(day));
        let last = self.last.then_some(month.length);
        let last_weekday = self.last_weekday.then(|| month.nearest_weekday(month.length));
        let found = nearest.chain(last).chain(last_weekday).fold(self.listed, |found, day| found.or(Mask::one(day)));
        found.and(month.days())
    }
}

impl Weekdays {
    pub(super) const ALL: u8 = 0x7f;

    fn parse(text: &str) -> Result<Self, ScheduleError> {
        let mut weekdays = Self::default();
        for item in WEEKDAY.items(if text == "?" { "*" } else { text }) {
            weekdays.add(item?)?;
        }
        Ok(weekdays)
    }

    fn add(&mut self, item: &str) -> Result<(), ScheduleError> {
        if let Some((day, nth)) = item.split_once('#') {
            let bit = weekday_bit(WEEKDAY.value(day)?);
            self.nth[occurrence(item, nth)?] |= bit;
        } else if let Some(day) = item.strip_suffix(['L', 'l']) {
            self.last |= weekday_bit(last_of(item, day)?);
        } else if item == "?" {
            return Err(lone_question_mark(WEEKDAY.name));
        } else {
            WEEKDAY.each(item, |day| self.nth.iter_mut().for_each(|days| *days |= weekday_bit(day)))?;
        }
        Ok(())
    }

    fn of(&self, month: Month) -> Mask {
        let weeks = (1..).step_by(7).zip(self.nth).map(|(day, days)| month.week(day, days));
        let last = month.week(month.length - 6, self.last);
        weeks.fold(last, Mask::or).and(month.days())
    }
}

impl Month {
    fn days(self) -> Mask {
        Mask::span(1, self.length)
    }

    fn weekday(self, day: u32) -> u32 {
        (self.first + day - 1) % 7
    }

    /// Returns those of the seven days from `day` that fall on `weekdays`.
    fn week(self, day: u32, weekdays: u8) -> Mask {
        let (weekdays, turn) = (u64::from(weekdays), self.weekday(day));
        Mask(((weekdays >> turn | weekdays << (7 - turn)) & u64::from(Weekdays::ALL)) << day)
    }

    /// Returns the day from Monday to Friday that is at or nearest to `day`, within the month.
    fn nearest_weekday(self, day: u32) -> u32 {
        match self.weekday(day) {
            6 if day == 1 => 3,
            6 => day - 1,
            0 if day == self.length => day - 2,
            0 => day + 1,
            _ => day,
        }
    }
}

/// Returns the number of the weekday; 0 is Sunday.
pub(super) fn weekday_number(date: Date) -> u32 {
    date.weekday().to_sunday_zero_offset().unsigned_abs().into()
}

/// Returns the bit of a weekday; 0 and 7 are both Sunday.
fn weekday_bit(weekday: u32) -> u8 {
    1 << (weekday % 7)
}

/// Returns the `n` of `5#n`, counted from zero.
fn occurrence(item: &str, text: &str) -> Result<usize, ScheduleError> {
    match text {
        "1" => Ok(0),
        "2" => Ok(1),
        "3" => Ok(2),
        "4" => Ok(3),
        "5" => Ok(4),
        _ => Err(WEEKDAY.refuse(format!("{item:?} is no occurrence in a month"), "it must be #1 to #5, or 5L for the last Friday")),
    }
}

fn last_of(item: &str, day: &str) -> Result<u32, ScheduleError> {
    if day.is_empty() {
        let remedy = "write which: 5L is the last Friday of the month";
        return Err(WEEKDAY.refuse(format!("{item:?} names no day"), remedy));
    }
    WEEKDAY.value(day)
}

fn lone_question_mark(field: &'static str) -> ScheduleError {
    ScheduleError::new(field, "? stands in a list", "write it alone, or list the days")
}

/// Returns the first day of a month.
pub(super) fn first_of(year: i16, month: u32) -> Option<Date> {
    Date::new(year, i8::try_from(month).ok()?, 1).ok()
}
