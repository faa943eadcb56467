//! The fires of a schedule: a cron expression in a time zone, or an interval.
//!
//! A [`Schedule`] is plain data, as stored in a row. [`Schedule::timetable`] checks it and returns a [`Timetable`], which computes
//! the next and the last fire and describes the schedule in words.
//!
//! An expression has 5 fields (minute, hour, day-of-month, month, day-of-week), 6 with seconds first, or 7 with a year
//! (1970 to 2199) last. All fields accept `*`, lists, ranges, steps and names. The day fields also accept `?`, `L` (the last day),
//! `LW` (the last weekday) and `15W` (the weekday nearest to the 15th). `5#2` is the second Friday and `5L` the last Friday.
//! If both day fields are restricted, a day must match one of them. If either starts with `*`, a day must match both.
//!
//! # When clocks are changed
//!
//! A job is an *interval job* if its seconds, minute or hour field starts with `*`. Otherwise it is a *fixed job*.
//!
//! | | clocks go forward, a civil time is skipped | clocks go back, a civil time occurs twice |
//! |---|---|---|
//! | fixed, `30 2 * * *` | fires at the first instant after the gap; with [`Schedule::skip_gap`], or if the gap is longer than 3 hours, does not fire | fires the first time |
//! | interval, `*/15 * * * *` | does not fire for the skipped time | fires both times |
//!
//! So a nightly job runs once every night, and a heartbeat keeps its rhythm in real time. Two civil times in the same gap
//! give one fire.

mod cron;
mod day;
mod describe;
mod error;
mod every;
mod expression;
mod field;
mod mask;
mod phrase;
mod preview;
mod search;
mod seconds;
mod spelling;
#[cfg(test)]
mod tests;
mod timetable;
mod year;
mod zone;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::{cron::Cron, every::Every, expression::Expression, timetable::Rule};
pub use self::{
    error::ScheduleError,
    preview::{ClockChange, Fire},
    timetable::Timetable,
    zone::tzdata_version,
};

/// A stored schedule: a cron expression and its time zone, or an interval and its offset.
///
/// ```
/// use std::time::Duration;
/// use sqjobs::Schedule;
///
/// let nightly = Schedule::cron("1 0 * * *").timezone("Europe/Madrid").skip_gap();
/// let json = r#"{"cron":"1 0 * * *","timezone":"Europe/Madrid","dst_gap":"skip"}"#;
/// assert_eq!(serde_json::to_string(&nightly)?, json);
///
/// let often = Schedule::every(Duration::from_secs(300)).offset(Duration::from_secs(10));
/// assert_eq!(serde_json::to_string(&often)?, r#"{"every_s":300,"offset_s":10}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(default = "utc", skip_serializing_if = "is_utc")]
    timezone: String,
    #[serde(default, skip_serializing_if = "DstGap::is_default")]
    dst_gap: DstGap,
    #[serde(default, rename = "every_s", with = "seconds", skip_serializing_if = "Option::is_none")]
    every: Option<Duration>,
    #[serde(default, rename = "offset_s", with = "seconds", skip_serializing_if = "Option::is_none")]
    offset: Option<Duration>,
}

/// The behaviour of a fixed job whose civil time is skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DstGap {
    /// Fires after the gap.
    #[default]
    After,
    /// Does not fire.
    Skip,
}

impl Schedule {
    /// Creates a schedule that fires when the expression matches the clocks of UTC, or of another [zone](Self::timezone).
    pub fn cron(expression: impl Into<String>) -> Self {
        Self { cron: Some(expression.into()), ..Self::empty() }
    }

    /// Creates a schedule that fires each time this number of whole seconds has passed since its creation, regardless of clocks.
    pub fn every(interval: Duration) -> Self {
        Self { every: Some(interval), ..Self::empty() }
    }

    fn empty() -> Self {
        Self { cron: None, timezone: utc(), dst_gap: DstGap::After, every: None, offset: None }
    }

    /// Sets the time zone of an expression by its IANA name, such as `Europe/Madrid`.
    #[must_use]
    pub fn timezone(mut self, name: impl Into<String>) -> Self {
        self.timezone = name.into();
        self
    }

    /// Makes a fixed job not fire if its civil time is skipped. By default it fires after the gap.
    #[must_use]
    pub fn skip_gap(mut self) -> Self {
        self.dst_gap = DstGap::Skip;
        self
    }

    /// Delays all fires of an interval by this number of whole seconds, including the first.
    #[must_use]
    pub fn offset(mut self, offset: Duration) -> Self {
        self.offset = Some(offset).filter(|offset| !offset.is_zero());
        self
    }

    /// Checks the schedule and returns its timetable. Intervals count from `created`: the first fire is at `created` plus the offset.
    /// Expressions do not depend on it.
    ///
    /// # Errors
    ///
    /// - There is not exactly one of `cron` and `every_s`, or it cannot be parsed.
    /// - The time zone is unknown.
    /// - No day of any year matches.
    /// - An interval or an offset is not in whole seconds.
    pub fn timetable(&self, created: Timestamp) -> Result<Timetable, ScheduleError> {
        let rule = match (&self.cron, self.every) {
            (Some(expression), None) => Rule::Cron(self.cron_rule(expression)?),
            (None, Some(interval)) => Rule::Every(self.interval_rule(interval, created)?),
            (None, None) => return Err(ScheduleError::new("cron", "the schedule does not say when", "give cron or every_s")),
            (Some(_), Some(_)) => return Err(ScheduleError::new("cron", "the schedule has every_s too", "give only one of them")),
        };
        Ok(Timetable { rule })
    }

    fn cron_rule(&self, expression: &str) -> Result<Cron, ScheduleError> {
        if self.offset.is_some() {
            let remedy = "leave it out, or give every_s instead of cron";
            return Err(ScheduleError::new("offset_s", "an expression has no offset", remedy));
        }
        let expression = Expression::parse(expression)?;
        Ok(Cron { expression, zone: zone::named(&self.timezone)?, skip_gap: self.dst_gap == DstGap::Skip })
    }

    fn interval_rule(&self, interval: Duration, created: Timestamp) -> Result<Every, ScheduleError> {
        if !is_utc(&self.timezone) {
            return Err(ScheduleError::new("timezone", "an interval has no zone", "leave it out, or give cron instead of every_s"));
        }
        if self.dst_gap != DstGap::After {
            return Err(ScheduleError::new("dst_gap", "an interval knows no gap", "leave it out, or give cron instead of every_s"));
        }
        let step = whole_seconds("every_s", interval)?;
        if step.is_zero() {
            return Err(ScheduleError::new("every_s", "0 seconds is no interval", "it must be a whole number from 1"));
        }
        let offset = whole_seconds("offset_s", self.offset.unwrap_or_default())?;
        match created.checked_add(offset) {
            Ok(origin) => Ok(Every { origin, step }),
            Err(_) => {
                Err(ScheduleError::new("offset_s", format!("{} seconds is past the end of time", offset.as_secs()), "make it shorter"))
            }
        }
    }
}

fn whole_seconds(field: &'static str, duration: Duration) -> Result<SignedDuration, ScheduleError> {
    if duration.subsec_nanos() != 0 {
        let problem = format!("{} is not a whole number of seconds", duration.as_secs_f64());
        return Err(ScheduleError::new(field, problem, "it must be without a fraction"));
    }
    SignedDuration::try_from(duration)
        .map_err(|_| ScheduleError::new(field, format!("{} seconds is out of range", duration.as_secs()), "make it shorter"))
}

fn utc() -> String {
    "UTC".to_owned()
}

fn is_utc(zone: &str) -> bool {
    zone == "UTC"
}

impl DstGap {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
    fn is_default(&self) -> bool {
        *self == Self::After
    }
}
