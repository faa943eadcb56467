//! Previews future fires, so that users can verify a schedule.

use std::{fmt, iter};

use jiff::{
    Timestamp, Zoned,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::{Timetable, timetable::Rule, zone::Change};

/// One fire, with the clock change on its day, if any.
///
/// ```
/// use sqjobs::Schedule;
///
/// let timetable = Schedule::cron("30 2 * * *").timezone("Europe/Madrid").timetable(jiff::Timestamp::UNIX_EPOCH)?;
/// let mut fires = timetable.preview("2026-03-28T00:00:00Z".parse()?);
/// assert_eq!(fires.next().unwrap().to_string(), "2026-03-28 02:30:00+01:00");
/// assert_eq!(fires.next().unwrap().to_string(), "2026-03-29 03:00:00+02:00 (clocks go forward at 02:00)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Fire {
    /// The instant.
    pub at: Timestamp,
    /// The same instant in the schedule's zone; in UTC for an interval.
    pub local: Zoned,
    /// The clock change on that day, if any.
    pub change: Option<ClockChange>,
}

/// A change of clocks, forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockChange {
    /// The civil time at the change.
    pub from: DateTime,
    /// The civil time after the change.
    pub to: DateTime,
}

impl Timetable {
    /// Returns the fires after an instant, with the clock changes of their days.
    pub fn preview(&self, after: Timestamp) -> impl Iterator<Item = Fire> {
        let zone = match &self.rule {
            Rule::Cron(cron) => cron.zone.clone(),
            Rule::Every(_) => TimeZone::UTC,
        };
        iter::successors(self.next(after), |&fire| self.next(fire)).map(move |at| Fire::new(at, &zone))
    }
}

impl Fire {
    fn new(at: Timestamp, zone: &TimeZone) -> Self {
        let local = at.to_zoned(zone.clone());
        let change = ClockChange::on(local.date(), at, zone);
        Self { at, local, change }
    }
}

impl ClockChange {
    /// Returns the change that begins or ends on `day`, the local date of `at`.
    fn on(day: Date, at: Timestamp, zone: &TimeZone) -> Option<Self> {
        let second = Timestamp::from_second(at.as_second()).ok()?;
        let near = [Change::after(zone, second), Change::before(zone, second)];
        let changes = near.into_iter().flatten().filter(|change| !change.jump().is_zero());
        changes.map(|change| Self { from: change.from(), to: change.to() }).find(|change| change.is_on(day))
    }

    fn is_on(&self, day: Date) -> bool {
        self.from.date() == day || self.to.date() == day
    }
}

impl fmt::Display for Fire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.local.strftime("%Y-%m-%d %H:%M:%S%:z"))?;
        self.change.map_or(Ok(()), |change| write!(f, " ({change})"))
    }
}

impl fmt::Display for ClockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.to > self.from { "forward" } else { "back" };
        write!(f, "clocks go {way} at {}", self.from.strftime("%H:%M"))
    }
}
