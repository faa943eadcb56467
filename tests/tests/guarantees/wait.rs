//! Waiting for a condition: asked again and again until it holds, with a deadline, and a report of what was seen last.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, interval};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks `look` until it returns what was waited for.
///
/// # Panics
///
/// At the deadline, with the last `Err` as what was seen last.
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
