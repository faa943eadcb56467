//! Inputs and reports that the parts of a tick share.

use std::{ops::AddAssign, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{dlqs::Dlqs, rows::Rows};
use crate::{Clock, queue::Source, store::Index};

/// The store of due jobs, their queues and the clock.
#[derive(Clone)]
pub(crate) struct Due {
    pub(crate) store: Arc<dyn Index>,
    pub(crate) queue: Arc<dyn Source>,
    pub(crate) clock: Clock,
}

/// The instant of a tick and its look-ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick {
    pub(super) at: Timestamp,
    pub(super) horizon: Timestamp,
    pub(super) stop_at: Instant,
}

impl Tick {
    /// Returns the number of the minute. Each turn examines another part of the tables.
    pub(super) fn turn(self) -> u64 {
        u64::try_from(self.at.as_second()).unwrap_or(0) / 60
    }
}

/// The tables and queues of a beater.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) due: Due,
    pub(crate) rows: Arc<dyn Rows>,
    /// The prefix of queue names in this environment.
    pub(crate) prefix: String,
    /// The dead-letter queues to examine.
    pub(crate) dlqs: Arc<Dlqs>,
}

/// The report of a part of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Completed items; each part says which.
    pub(crate) done: usize,
    /// Unreadable or wrong items, which a person must correct.
    pub(crate) wrong: usize,
    /// Overdue jobs that only a message can resume.
    pub(crate) overdue: usize,
    /// Items that could not be read, written or sent; the next tick tries again.
    pub(crate) failed: usize,
    /// The greatest lateness of a schedule that fired.
    pub(crate) late_by: Duration,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.wrong += other.wrong;
        self.overdue += other.overdue;
        self.failed += other.failed;
        self.late_by = self.late_by.max(other.late_by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minute_is_a_turn() {
        let turn = |at: &str| {
            let at = at.parse().expect("an instant");
            Tick { at, horizon: at, stop_at: Instant::now() }.turn()
        };
        assert_eq!(["1970-01-01T00:02:59Z", "1970-01-01T00:03:00Z"].map(turn), [2, 3]);
    }

    #[test]
    fn reports_are_added_field_by_field() {
        let mut total = Tally { done: 1, wrong: 2, overdue: 3, failed: 4, late_by: Duration::from_secs(5) };
        total += Tally { done: 10, wrong: 20, overdue: 30, failed: 40, late_by: Duration::from_secs(3) };
        assert_eq!(total, Tally { done: 11, wrong: 22, overdue: 33, failed: 44, late_by: Duration::from_secs(5) });
    }
}
