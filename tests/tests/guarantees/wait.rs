//! Waits for a condition: checks it repeatedly until it holds or a deadline passes, and reports the last result.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, interval};

const PAUSE: Duration = Duration::from_millis(50);

/// Calls `look` until it succeeds, and returns its value.
///
/// # Panics
///
/// At the deadline, with the last `Err`.
pub(crate) async fn until<T, E: Display>(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + deadline;
    let mut pause = interval(PAUSE);
    loop {
        pause.tick().await;
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= end => panic!("waited {deadline:?} in vain until {what}; last seen: {seen}"),
            Err(_) => {}
        }
    }
}
