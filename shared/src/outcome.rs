//! How a job says what became of an attempt.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::chain::Chain;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Why an attempt did not succeed, and what is to happen next.
///
/// Made from any error by `?`, it means: retry by the policy. The constructors say otherwise. It does not implement
/// [`std::error::Error`] itself, which is what lets `?` take anything.
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
/// An error type of your own that knows what is to happen next implements `From<Mine> for JobError`. It must then not
/// implement [`std::error::Error`], for what does is retried.
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
    pub(crate) then: Then,
    kind: Option<String>,
    source: BoxError,
}

/// What is to happen next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Then {
    Retry(Option<Duration>),
    Fatal,
    Snooze(Duration),
    Cancel,
    Interrupt,
}

impl JobError {
    /// Fails the job for good: trying again would not help.
    pub fn fatal(error: impl Into<BoxError>) -> Self {
        Self::new(Then::Fatal, error)
    }

    /// Fails the attempt; the next one starts after `wait` instead of the policy's backoff.
    pub fn retry_in(wait: Duration, error: impl Into<BoxError>) -> Self {
        Self::new(Then::Retry(Some(wait)), error)
    }

    /// Not now: the attempt is given back and the job runs again after `wait`. Counted by
    /// [`Policy::max_snoozes`](crate::Policy::max_snoozes), not as an attempt.
    pub fn snooze(wait: Duration) -> Self {
        Self::new(Then::Snooze(wait), "snoozed")
    }

    /// Calls the job off: it ends as `cancelled`, and that is no failure.
    pub fn cancel(reason: impl Into<BoxError>) -> Self {
        Self::new(Then::Cancel, reason)
    }

    /// The attempt was asked to stop at a safe point.
    pub(crate) fn interrupt(reason: &'static str) -> Self {
        Self::new(Then::Interrupt, reason)
    }

    fn new(then: Then, error: impl Into<BoxError>) -> Self {
        Self { then, kind: None, source: error.into() }
    }

    /// Names the kind of error in the record, a short stable word to count and search by.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// The kind as the record shows it.
    pub(crate) fn kind_or_default(&self) -> &str {
        self.kind.as_deref().unwrap_or(match self.then {
            Then::Retry(_) => "error",
            Then::Fatal => "fatal",
            Then::Snooze(_) => "snoozed",
            Then::Cancel => "cancelled",
            Then::Interrupt => "interrupted",
        })
    }
}

impl<E: Into<BoxError>> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::new(Then::Retry(None), error)
    }
}

/// The error and its causes, outermost first.
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
