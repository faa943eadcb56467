//! Waits for the end of a job.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Client;
use crate::{Backoff, Error, Record, retry::jitter};

/// The pause between two reads. It starts short, because most jobs are.
const LOOKS: Backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5));

impl Client {
    /// Waits until a job has ended, and returns its record. Returns `None` if the job has not ended within that time. A job without a
    /// record is awaited too. The record is read often at first, then every few seconds.
    ///
    /// # Errors
    ///
    /// When the table does not answer, or has an unreadable item under this id.
    pub async fn wait(&self, id: &str, within: Duration) -> Result<Option<Record>, Error> {
        let started = Instant::now();
        for look in 1.. {
            let ended = self.get(id).await?.filter(|record| record.state.is_terminal());
            let rest = within.saturating_sub(started.elapsed());
            if ended.is_some() || rest.is_zero() {
                return Ok(ended);
            }
            sleep(LOOKS.delay(look, jitter()).min(rest)).await;
        }
        Ok(None)
    }
}
