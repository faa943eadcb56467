//! The clock of the system: sends jobs when they are due.

mod hand_over;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "lambda")]
mod tick;

pub(crate) use self::hand_over::{Ports, hand_over};
use crate::Error;

/// The function that EventBridge wakes each minute. Any number may run at once, late, or twice.
///
/// What waits longer than a queue delays, such as a job with a `run_at` in a week or a retry in an hour, waits in the
/// table's due index; the beater sends it in time, to the second.
#[derive(Debug, Default)]
#[must_use = "a beater does nothing until it runs"]
pub struct Beater {}

impl Beater {
    /// A beater that sends what is due.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs as a Lambda function.
    ///
    /// # Errors
    ///
    /// When it does not run in Lambda, or a setting is wrong; the sentence names it.
    pub async fn run(self) -> Result<(), Error> {
        #[cfg(feature = "lambda")]
        if crate::config::in_lambda() {
            return lambda::serve().await;
        }
        Err(Error::config("a beater runs in Lambda, and jobs that run here need none: they skip all waiting"))
    }
}
