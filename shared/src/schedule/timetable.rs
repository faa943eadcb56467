//! A checked schedule that computes its fires.

use std::fmt;

use jiff::Timestamp;

use super::{cron::Cron, describe, every::Every};

/// A parsed [`Schedule`](super::Schedule): computes its fires and describes them.
///
/// Results depend only on the schedule, the given instant and the bundled time zones. `Display` writes a sentence:
///
/// ```
/// use sqjobs::Schedule;
///
/// let created = "2026-01-01T00:00:00Z".parse()?;
/// let timetable = Schedule::cron("0 9 * * MON-FRI").timezone("America/New_York").timetable(created)?;
/// assert_eq!(timetable.to_string(), "at 09:00 on Monday to Friday in America/New_York");
/// assert_eq!(timetable.next(created), Some("2026-01-01T14:00:00Z".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Timetable {
    pub(super) rule: Rule,
}

/// The rule of a schedule: cron expression or interval.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    Cron(Cron),
    Every(Every),
}

impl Timetable {
    /// Returns the first fire strictly after an instant, or `None` if there is none before the year 2200.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron) => cron.after(after),
            Rule::Every(every) => every.after(after),
        }
    }

    /// Returns the newest fire after `after` and not after `until`: the fire to catch up with after many were missed. Its run time does
    /// not depend on the number of missed fires.
    ///
    /// ```
    /// use sqjobs::Schedule;
    ///
    /// let created = "2026-01-01T00:00:00Z".parse()?;
    /// let timetable = Schedule::cron("*/5 * * * *").timetable(created)?;
    /// let newest = timetable.latest(created, "2026-06-01T12:34:56Z".parse()?);
    /// assert_eq!(newest, Some("2026-06-01T12:30:00Z".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron) => cron.latest(after, until),
            Rule::Every(every) => every.latest(after, until),
        }
    }
}

impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::Cron(cron) => f.write_str(&describe::cron(cron)),
            Rule::Every(every) => f.write_str(&describe::every(every)),
        }
    }
}
