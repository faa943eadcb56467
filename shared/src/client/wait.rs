//! Waits for what becomes of a job.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Client;
use crate::{Backoff, Error, Record, retry::jitter};

/// How long lies between two looks: short at first, for most jobs are.
const LOOKS: Backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5));

impl Client {
    /// Waits until a job has ended, and gives its record, by looking from time to time: soon at first, then every few
    /// seconds. Also a job that no function has seen yet is waited for. None: it has not ended within that time.
    ///
    /// # Errors
    ///
    /// When the table does not answer, or holds something else under this id.
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
