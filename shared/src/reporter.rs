//! Reports of failures to an error tracker.

#[cfg(feature = "sentry")]
mod sentry;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde_json::Value;

#[cfg(feature = "sentry")]
pub use self::sentry::Sentry;
use crate::{Failure, JobError, attempt::Attempt};

/// Reports failures of jobs to an error tracker. [`Worker::reporter`](crate::Worker::reporter) adds one.
///
/// The worker calls it after the failure is recorded and after the [hooks](crate::Job#hooks), for errors, panics, timeouts, jobs whose last
/// attempt was killed, and messages whose arguments cannot be deserialized. All reporters run at the same time, and have five seconds, or
/// less at the end of an invocation. The worker logs a reporter that fails, and continues. A process that dies may lose a report.
///
/// The feature `sentry` adds the reporter `Sentry`.
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
    /// Returns `true` if reports contain the arguments of the job. By default they do not, because arguments may be secret. The text of an
    /// error may quote them.
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

/// Calls all reporters at the same time. Only those that want the arguments get them. Logs each error and panic.
pub(crate) async fn report_to(reporters: &[Arc<dyn Reporter>], report: Report<'_>) {
    let reports = reporters.iter().map(async |reporter| {
        let arguments = report.arguments.filter(|_| reporter.wants_arguments());
        let report = Report { arguments, ..report.clone() };
        let error = match AssertUnwindSafe(async { reporter.report(&report).await }).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        tracing::warn!(id = report.id, error, "cannot report a failure");
    });
    join_all(reports).await;
}
