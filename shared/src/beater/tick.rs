//! One tick: everything that a beater does when it is woken.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::hand_over::{HandedOver, Ports, hand_over};
use crate::{clock::after, store::StoreError};

/// How long before its time a job is sent, with the rest as its delay.
const LOOK_AHEAD: Duration = Duration::from_mins(2);

/// What a tick did, as it is logged and answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// The instant that it stands for.
    pub(crate) tick: Timestamp,
    /// Jobs that were sent to their queues.
    pub(crate) sent: usize,
    /// Jobs that could not be; the next tick tries again.
    pub(crate) failed: usize,
}

/// Does what is due at `at`, and looks ahead; what is not done by `stop_at` is left to the next tick.
///
/// # Errors
///
/// When the table cannot be read.
pub(crate) async fn tick(ports: &Ports, at: Timestamp, stop_at: Instant) -> Result<Report, StoreError> {
    let HandedOver { sent, failed } = hand_over(ports, after(at, LOOK_AHEAD), stop_at).await?;
    tracing::info!(tick = %at, sent, failed, "tick");
    Ok(Report { tick: at, sent, failed })
}
