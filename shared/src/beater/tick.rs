//! One tick: everything that a beater does when it is woken.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    fire::{Tick, fire},
    hand_over::{Due, hand_over},
    rows::Rows,
};
use crate::{clock::after, store::StoreError};

/// How long before its time a job is sent, with the rest as its delay.
const LOOK_AHEAD: Duration = Duration::from_mins(2);

/// What a beater works with.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) due: Due,
    pub(crate) rows: Arc<dyn Rows>,
    /// What precedes the names of queues in this environment.
    pub(crate) prefix: String,
}

/// What a tick did, as it is logged and answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// The instant that it stands for.
    pub(crate) tick: Timestamp,
    /// Jobs of schedules that were recorded.
    pub(crate) fired: usize,
    /// Schedules that cannot be read or are wrong.
    pub(crate) wrong: usize,
    /// Other due jobs that were sent to their queues.
    pub(crate) sent: usize,
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
    let fired = fire(ports, Tick { at, horizon, stop_at }).await;
    // The jobs that wait do not depend on the schedules.
    let due = hand_over(&ports.due, horizon, stop_at).await?;
    let fired = fired?;
    let report = Report { tick: at, fired: fired.jobs, wrong: fired.wrong, sent: due.sent, failed: fired.failed + due.failed };
    tracing::info!(tick = %at, fired = report.fired, wrong = report.wrong, sent = report.sent, failed = report.failed, "tick");
    Ok(report)
}
