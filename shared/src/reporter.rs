//! Reports of failures to an error tracker.

#[cfg(feature = "sentry")]
mod sentry;

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use serde_json::Value;

#[cfg(feature = "sentry")]
pub use self::sentry::Sentry;
use crate::{Failure, JobError, attempt::Attempt};

/// Reports failures of jobs to an error tracker. [`Worker::reporter`](crate::Worker::reporter) adds one.
///
/// The worker calls it once the failure is recorded, for errors, panics, timeouts, jobs whose last attempt was killed, and messages whose
/// arguments cannot be deserialized. Like a [hook](crate::Job#hooks), it has five seconds, and its own failure is logged and changes
/// nothing. The feature `sentry` adds the reporter `Sentry`.
///
/// ```
/// use sqjobs::{BoxFuture, JobError, Report, Reporter};
///
/// /// Writes permanent failures to the log of the on-call team.
/// struct OnCall;
///
/// impl Reporter for OnCall {
///     fn report<'a>(&'a self, report: &'a Report<'a>) -> BoxFuture<'a, Result<(), JobError>> {
///         Box::pin(async move {
///             if report.is_permanent {
///                 eprintln!("{} {} has failed: {}", report.name, report.id, report.failure.message);
///             }
///             Ok(())
///         })
///     }
/// }
/// # let _ = sqjobs::Worker::new(()).reporter(OnCall);
/// ```
pub trait Reporter: Send + Sync + 'static {
    /// Returns `true` if reports contain the arguments of the job. By default they do not, because arguments may be secret.
    fn wants_arguments(&self) -> bool {
        false
    }

    /// Reports a failure.
    ///
    /// # Errors
    ///
    /// The worker logs an error and continues.
    fn report<'a>(&'a self, report: &'a Report<'a>) -> BoxFuture<'a, Result<(), JobError>>;
}

/// A failure for a [`Reporter`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report<'a> {
    /// The id of the job.
    pub id: &'a str,
    /// The name of the job.
    pub name: &'a str,
    /// The kind and the text of the error.
    pub failure: &'a Failure,
    /// `true` if no attempt follows.
    pub is_permanent: bool,
    /// The failed attempt. `None` if the message was rejected.
    pub attempt: Option<&'a Attempt>,
    /// The arguments, if the reporter wants them and the message was not rejected.
    pub arguments: Option<&'a Value>,
}

/// Calls all reporters. Only those that want the arguments get them. Returns the first error.
pub(crate) async fn report_to(reporters: &[Arc<dyn Reporter>], report: Report<'_>) -> Result<(), JobError> {
    let reports = reporters.iter().map(async |reporter| {
        let arguments = report.arguments.filter(|_| reporter.wants_arguments());
        reporter.report(&Report { arguments, ..report.clone() }).await
    });
    join_all(reports).await.into_iter().collect()
}
