//! The reason why a schedule is refused.

use std::{error, fmt};

/// An invalid schedule: the wrong field, its flaw, and the valid values.
///
/// ```
/// use sqjobs::Schedule;
///
/// let error = Schedule::cron("0 24 * * *").timetable(jiff::Timestamp::UNIX_EPOCH).unwrap_err();
/// assert_eq!(error.field(), "hour");
/// assert_eq!(error.to_string(), "hour: 24 is out of range; it must be 0 to 23");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleError {
    field: &'static str,
    problem: String,
    remedy: String,
}

impl ScheduleError {
    pub(super) fn new(field: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field, problem: problem.into(), remedy: remedy.into() }
    }

    /// Returns the wrong field of the expression (`minute`, `day-of-month`) or the wrong key of the schedule (`cron`, `timezone`).
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.remedy)
    }
}

impl error::Error for ScheduleError {}
