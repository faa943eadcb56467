//! Code around every attempt of a job.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{JobError, attempt::Attempt};

/// Code that surrounds attempts, such as metrics, a rate limit or the conversion of errors.
///
/// The first middleware is the outermost. Claiming and recording happen outside of all middleware, so a middleware can neither lose
/// a job nor run one without a claim:
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
    /// Runs the inner code with `next.run().await`, or returns its own result.
    fn handle<'a>(&'a self, attempt: &'a Attempt, next: Next<'a>) -> BoxFuture<'a, Result<Value, JobError>>;
}

/// The code inside a middleware: the inner middleware and the job.
pub struct Next<'a> {
    inner: Chain<'a>,
    attempt: &'a Arc<Attempt>,
}

impl Next<'_> {
    /// Runs the inner code.
    ///
    /// # Errors
    ///
    /// The error of the job or of an inner middleware.
    pub async fn run(self) -> Result<Value, JobError> {
        self.inner.run(self.attempt).await
    }
}

impl std::fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").field("middleware", &self.inner.rest.len()).finish_non_exhaustive()
    }
}

/// The innermost code: the job itself.
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
