//! Code around every attempt of a job.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{JobError, attempt::Attempt};

/// One concern that surrounds attempts: metrics, a rate limit, a translation of errors.
///
/// The first added is the outermost. The claim and the recording lie outside of all middleware, so none can lose a
/// job or run one without the right to:
///
/// ```text
/// claim ( worker's first ( worker's second ( job's own ( run ) ) ) ) record
/// ```
///
/// ```
/// use sqjobs::{Attempt, BoxFuture, JobError, Middleware, Next, serde_json::Value};
///
/// /// Puts off attempts while a switch is off.
/// struct Switch(std::sync::atomic::AtomicBool);
///
/// impl Middleware for Switch {
///     fn handle<'a>(&'a self, attempt: &'a Attempt, next: Next<'a>) -> BoxFuture<'a, Result<Value, JobError>> {
///         Box::pin(async move {
///             if !self.0.load(std::sync::atomic::Ordering::Relaxed) {
///                 return Err(JobError::snooze(std::time::Duration::from_secs(60)));
///             }
///             next.run().await
///         })
///     }
/// }
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Runs the rest by `next.run().await`, or answers in its place.
    fn handle<'a>(&'a self, attempt: &'a Attempt, next: Next<'a>) -> BoxFuture<'a, Result<Value, JobError>>;
}

/// What lies inside of a middleware: the inner ones and the job.
pub struct Next<'a> {
    inner: Chain<'a>,
    attempt: &'a Arc<Attempt>,
}

impl Next<'_> {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// What the job, or a middleware further in, returned.
    pub async fn run(self) -> Result<Value, JobError> {
        self.inner.run(self.attempt).await
    }
}

impl std::fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").field("middleware", &self.inner.rest.len()).finish_non_exhaustive()
    }
}

/// The innermost: the job itself.
pub(crate) trait Endpoint: Send + Sync {
    fn call<'a>(&'a self, attempt: &'a Arc<Attempt>) -> BoxFuture<'a, Result<Value, JobError>>;
}

#[derive(Clone, Copy)]
pub(crate) struct Chain<'a> {
    rest: &'a [Arc<dyn Middleware>],
    endpoint: &'a dyn Endpoint,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(rest: &'a [Arc<dyn Middleware>], endpoint: &'a dyn Endpoint) -> Self {
        Self { rest, endpoint }
    }

    pub(crate) fn run(self, attempt: &'a Arc<Attempt>) -> BoxFuture<'a, Result<Value, JobError>> {
        match self.rest.split_first() {
            Some((first, rest)) => first.handle(attempt, Next { inner: Chain { rest, ..self }, attempt }),
            None => self.endpoint.call(attempt),
        }
    }
}
