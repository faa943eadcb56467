//! One tick: everything that a beater does when it is woken.

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
use crate::{clock::after, store::StoreError};

/// How long before its time a job is sent, with the rest as its delay.
const LOOK_AHEAD: Duration = Duration::from_mins(2);

/// What a tick did, as it is logged and answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// The instant that it stands for.
    pub(crate) tick: Timestamp,
    /// Jobs of schedules that were recorded.
    pub(crate) fired: usize,
    /// Schedules and records that cannot be read or are wrong.
    pub(crate) wrong: usize,
    /// Other due jobs that were sent to their queues.
    pub(crate) sent: usize,
    /// Unfinished jobs that were filed anew since their messages are gone, or ended.
    pub(crate) repaired: usize,
    /// Unfinished jobs that are long overdue, and whose messages may still come.
    pub(crate) overdue: usize,
    /// Messages that SQS itself had moved to a dead-letter queue, and that were given their reason.
    pub(crate) explained: usize,
    /// What could not be done; the next tick tries again.
    pub(crate) failed: usize,
}

/// Does what is due at `at`, and looks ahead; what is not done by `stop_at` is left to the next tick.
///
/// # Errors
///
/// When a table cannot be read.
pub(crate) async fn tick(ports: &Ports, at: Timestamp, stop_at: Instant) -> Result<Report, StoreError> {
    let horizon = after(at, LOOK_AHEAD);
    let tick = Tick { at, horizon, stop_at };
    let fired = fire(ports, tick).await;
    // The jobs that wait do not depend on the schedules.
    let due = hand_over(&ports.due, horizon, stop_at).await;
    // What time is left is for what has gone wrong.
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
