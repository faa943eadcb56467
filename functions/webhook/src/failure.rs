//! The failure of a delivery and the next step.

use std::{error::Error, iter::successors, time::Duration};

use sqjobs::JobError;

use crate::address::AddressRefused;

/// A failed delivery.
///
/// Deliberately not an [`Error`]: otherwise `?` would turn every failure into a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) next: Next,
}

/// The next step after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// No retry, since it would fail again.
    GiveUp,
    /// Retry after the wait that the receiver requested, otherwise after the backoff of the policy.
    Retry(Option<Duration>),
}

impl Failure {
    /// Creates a failure that is not retried.
    pub(crate) fn for_good(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into(), next: Next::GiveUp }
    }

    /// Creates the failure of a request that `host` did not answer. The rest of the URL is omitted, since it may contain a token.
    pub(crate) fn unanswered(host: &str, error: reqwest::Error) -> Self {
        let error = error.without_url();
        if let Some(refused) = causes(&error).find_map(|cause| cause.downcast_ref::<AddressRefused>()) {
            return Self::for_good(AddressRefused::KIND, refused.to_string());
        }
        let kind = if error.is_timeout() { "response_timeout" } else { "unreachable" };
        Self { kind: kind.to_owned(), message: format!("no answer from {host}: {}", chain(&error)), next: Next::Retry(None) }
    }
}

impl From<Failure> for JobError {
    fn from(Failure { kind, message, next }: Failure) -> Self {
        let error = match next {
            Next::GiveUp => Self::fatal(message),
            Next::Retry(None) => Self::from(message),
            Next::Retry(Some(wait)) => Self::retry_in(wait, message),
        };
        error.kind(kind)
    }
}

/// Formats an error and its causes, outermost first.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}
