//! The error type with which a job ends an attempt.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::chain::Chain;

type BoxError = Box<dyn StdError + Send + Sync>;

/// The reason why an attempt did not succeed, and the next step.
///
/// `?` converts any error into one that is retried by the policy. The constructors choose another next step. The type does not
/// implement [`std::error::Error`] itself, so that `?` can convert every error.
///
/// ```
/// use sqjobs::JobError;
///
/// fn parse(text: &str) -> Result<u8, JobError> {
///     if text.is_empty() {
///         return Err(JobError::fatal("nothing to parse"));
///     }
///     Ok(text.parse()?) // retried
/// }
/// assert_eq!(parse("").unwrap_err().to_string(), "nothing to parse");
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
///
/// Your own error type can choose the next step by implementing `From<Mine> for JobError`. It must then not implement
/// [`std::error::Error`], since such errors are always retried.
///
/// ```
/// use sqjobs::JobError;
///
/// enum Refusal { Gone, Busy }
///
/// impl From<Refusal> for JobError {
///     fn from(refusal: Refusal) -> Self {
///         match refusal {
///             Refusal::Gone => JobError::fatal("the account is gone").kind("gone"),
///             Refusal::Busy => JobError::retry_in(std::time::Duration::from_secs(60), "the account is busy"),
///         }
///     }
/// }
/// assert_eq!(JobError::from(Refusal::Gone).to_string(), "the account is gone");
/// # drop(Refusal::Busy);
/// ```
#[derive(Debug)]
pub struct JobError {
    pub(crate) follow_up: FollowUp,
    kind: Option<String>,
    source: BoxError,
}

/// The next step after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum FollowUp {
    /// Another attempt, after this wait instead of the policy's backoff.
    Retry(Option<Duration>),
    /// No other attempt.
    GiveUp,
    /// Another attempt after this wait; this one is not counted.
    Snooze(Duration),
    /// The end of the job, which is no failure.
    Cancel,
    /// Another attempt, which goes on from the checkpoint; this one is not counted.
    Resume,
    /// Another attempt; this one was claimed too late to start, and is not counted.
    Return,
}

impl JobError {
    /// Fails the job permanently: a retry would not help.
    pub fn fatal(error: impl Into<BoxError>) -> Self {
        Self::new(FollowUp::GiveUp, error)
    }

    /// Fails the attempt. The next one starts after `wait` instead of the policy's backoff.
    pub fn retry_in(wait: Duration, error: impl Into<BoxError>) -> Self {
        Self::new(FollowUp::Retry(Some(wait)), error)
    }

    /// Postpones the job: it runs again after `wait`. A snooze does not count as an attempt; it counts against
    /// [`Policy::max_snoozes`](crate::Policy::max_snoozes).
    pub fn snooze(wait: Duration) -> Self {
        Self::new(FollowUp::Snooze(wait), "snoozed")
    }

    /// Cancels the job: it ends as `cancelled`, which is not a failure.
    pub fn cancel(reason: impl Into<BoxError>) -> Self {
        Self::new(FollowUp::Cancel, reason)
    }

    /// Interrupts the attempt, which was asked to stop, at a safe point.
    pub(crate) fn interrupt(reason: &'static str) -> Self {
        Self::new(FollowUp::Resume, reason)
    }

    fn new(follow_up: FollowUp, error: impl Into<BoxError>) -> Self {
        Self { follow_up, kind: None, source: error.into() }
    }

    /// Sets the kind of the error in the record: a short, stable word for counting and searching.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Returns the kind for the record.
    pub(crate) fn kind_or_default(&self) -> &str {
        self.kind.as_deref().unwrap_or(match self.follow_up {
            FollowUp::Retry(_) => "error",
            FollowUp::GiveUp => "fatal",
            FollowUp::Snooze(_) => "snoozed",
            FollowUp::Cancel => "cancelled",
            FollowUp::Resume | FollowUp::Return => "interrupted",
        })
    }
}

impl<E: Into<BoxError>> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::new(FollowUp::Retry(None), error)
    }
}

/// Writes the error and its causes, outermost first.
impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(&*self.source).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_their_effects_and_are_not_repeated() {
        let cause = "x".parse::<u8>().expect_err("not a number");
        let effect = std::io::Error::other(cause);
        assert_eq!(JobError::from(effect).to_string(), "invalid digit found in string");
    }
}
