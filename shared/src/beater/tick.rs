//! One tick: all actions of a beater in one invocation.

use std::time::Duration;

use futures_util::future::join;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{
    fire::fire,
    hand_over::hand_over,
    letters::explain,
    part::{Ports, Tick},
    repair::repair,
};
use crate::{clock::after, metrics, store::StoreError};

/// A job is sent at most this long before it is due. Its message is delayed by the time that is left.
const LOOK_AHEAD: Duration = Duration::from_mins(2);

/// The report of a tick, which is logged and returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// The instant of the tick.
    pub(crate) tick: Timestamp,
    /// Jobs of schedules that were recorded.
    pub(crate) fired: usize,
    /// Schedules and records that are unreadable or wrong.
    pub(crate) wrong: usize,
    /// Other due jobs that were sent to their queues, and ended jobs whose dependents were told.
    pub(crate) sent: usize,
    /// Unfinished jobs whose messages were gone, and that were filed again or ended.
    pub(crate) repaired: usize,
    /// Unfinished jobs that are long overdue, but whose messages may still arrive.
    pub(crate) overdue: usize,
    /// Messages in dead-letter queues that got their reason.
    pub(crate) explained: usize,
    /// Actions that failed; the next tick tries again.
    pub(crate) failed: usize,
    /// The greatest lateness of a schedule that fired.
    #[serde(skip)]
    pub(crate) late_by: Duration,
}

impl Report {
    /// Returns the figures for metrics.
    #[cfg_attr(not(any(feature = "lambda", test)), expect(dead_code, reason = "only functions write metrics"))]
    pub(crate) fn figures(&self) -> metrics::Tick {
        let Self { tick: _, fired, wrong, sent, repaired, overdue, explained, failed, late_by } = *self;
        metrics::Tick { fired, sent, repaired, overdue, explained, wrong, failed, late_by }
    }
}

/// Does all work that is due at `at`, and looks ahead. Work that is not finished by `stop_at` is left to the next tick.
///
/// # Errors
///
/// When a table cannot be read.
pub(crate) async fn tick(ports: &Ports, at: Timestamp, stop_at: Instant) -> Result<Report, StoreError> {
    let horizon = after(at, LOOK_AHEAD);
    let tick = Tick { at, horizon, stop_at };
    let fired = fire(ports, tick).await;
    // Waiting jobs do not depend on the schedules.
    let due = hand_over(&ports.due, horizon, stop_at).await;
    // The remaining time is used for repairs.
    let looked = join(repair(&ports.due, tick.turn()), explain(&ports.due, &ports.dlqs, tick.turn(), stop_at));
    let (repaired, explained) = timeout_at(stop_at, looked).await.unwrap_or_default();
    let (fired, due) = (fired?, due?);
    let mut all = fired;
    for part in [due, repaired, explained] {
        all += part;
    }
    let report = Report {
        tick: at,
        fired: fired.done,
        wrong: all.wrong,
        sent: due.done,
        repaired: repaired.done,
        overdue: all.overdue,
        explained: explained.done,
        failed: all.failed,
        late_by: fired.late_by,
    };
    tracing::info!(
        tick = %at,
        fired = report.fired,
        wrong = report.wrong,
        sent = report.sent,
        repaired = report.repaired,
        overdue = report.overdue,
        explained = report.explained,
        failed = report.failed,
        "tick"
    );
    Ok(report)
}
