//! A worker: a program made of job types, their state and middleware.

mod batch;
mod claim;
mod decode;
mod delivery;
mod eager;
mod ending;
mod engine;
mod executor;
#[cfg(feature = "lambda")]
pub(crate) mod lambda;
mod ledger;
mod local;
mod metered;
mod pipeline;
mod places;
#[cfg(feature = "poll")]
mod poll;
mod settle;
#[cfg(test)]
mod tests;
mod thread;
mod workflow;

use std::{fmt, marker::PhantomData, sync::Arc};

#[cfg(any(test, feature = "simulation"))]
pub(crate) use self::engine::Invocation;
#[cfg(feature = "lambda")]
pub(crate) use self::local::invocation;
#[cfg(feature = "poll")]
pub use self::poll::{Poll, QueueOrder};
pub(crate) use self::{
    engine::{Engine, Jobs},
    local::{DLQ, Local},
};
use crate::{Error, Job, Middleware, Reporter, job::Registered};

/// Runs one job type: the `main` of most functions.
///
/// In Lambda it handles SQS events. Outside Lambda it reads messages as JSON lines from standard input and runs them in process,
/// without real waits. It prints each job's final record as a JSON line and ends the process. Exit status: 0 if nothing failed,
/// 1 if a job failed, 2 if an input was rejected.
///
/// # Errors
///
/// When a setting is missing or wrong. The error names it.
pub async fn run<J: Job>() -> Result<(), Error> {
    Worker::new(()).job::<J>().run().await
}

/// A program with several job types, or with state or middleware.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use sqjobs::{Arguments, Context, Job, JobError, Worker, testing::Eager};
///
/// struct Greetings { word: String }
///
/// #[derive(Serialize, Deserialize)]
/// struct Greet { name: String }
///
/// impl Arguments for Greet {
///     const NAME: &'static str = "greet";
/// }
///
/// impl Job<Greetings> for Greet {
///     type Output = String;
///
///     async fn run(&self, ctx: &Context<Greetings>) -> Result<String, JobError> {
///         Ok(format!("{}, {}!", ctx.state().word, self.name))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sqjobs::Error> {
/// let worker = Worker::new(Greetings { word: "Hello".into() }).job::<Greet>();
/// let eager = Eager::new();
/// let job = eager.client().enqueue(&Greet { name: "Ada".into() }).await?;
/// eager.run(&worker).await;
/// assert_eq!(eager.record(&job.id).unwrap().result, Some("Hello, Ada!".into()));
/// # Ok(()) }
/// ```
#[must_use = "a worker does nothing until it runs"]
pub struct Worker<S = ()> {
    state: Arc<S>,
    middleware: Vec<Arc<dyn Middleware>>,
    reporters: Vec<Arc<dyn Reporter>>,
    jobs: Jobs,
}

/// The options of a registered job.
#[derive(Default)]
pub struct Registration {
    middleware: Vec<Arc<dyn Middleware>>,
}

impl Registration {
    /// Adds middleware around this job, inside the worker's middleware and inside earlier ones.
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("middleware", &self.middleware.len()).finish()
    }
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// Creates a worker without jobs. Its jobs share `state`, which is created once per cold start.
    pub fn new(state: S) -> Self {
        Self { state: Arc::new(state), middleware: Vec::new(), reporters: Vec::new(), jobs: Jobs::default() }
    }

    /// Adds middleware around the jobs that are added after it, inside earlier middleware.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Adds a reporter for the failures of the jobs that are added after it.
    pub fn reporter(mut self, reporter: impl Reporter) -> Self {
        self.reporters.push(Arc::new(reporter));
        self
    }

    /// Adds a job type.
    pub fn job<J: Job<S>>(self) -> Self {
        self.job_with::<J>(|job| job)
    }

    /// Adds a job type with its own middleware.
    pub fn job_with<J: Job<S>>(mut self, change: impl FnOnce(Registration) -> Registration) -> Self {
        let registration = change(Registration { middleware: self.middleware.clone() });
        self.jobs.add(Arc::new(Registered::<J, S> {
            state: Arc::clone(&self.state),
            middleware: registration.middleware.into(),
            reporters: self.reporters.clone().into(),
            job: PhantomData,
        }));
        self
    }

    /// Runs as a Lambda function, or in eager mode from standard input; see [`run`]. With the feature `poll`, `PROGRAM --poll` receives
    /// messages from queues.
    ///
    /// # Errors
    ///
    /// When a setting is missing or wrong. The error names it.
    pub async fn run(self) -> Result<(), Error> {
        #[cfg(feature = "lambda")]
        if crate::config::in_lambda() {
            return lambda::serve(self.jobs).await;
        }
        let polls = std::env::args_os().skip(1).any(|argument| argument == "--poll");
        #[cfg(feature = "poll")]
        if polls {
            return self.poll(Poll::from_args()).await;
        }
        if polls {
            return Err(Error::config("this program cannot poll, because it was built without the feature `poll` of sqjobs"));
        }
        eager::serve(self.jobs).await
    }

    /// Receives messages from queues and runs their jobs, until a signal ends it. Returns once all jobs have ended. If a job still blocks
    /// a thread then, ends the process with status 1. To drop the future does not stop the worker.
    ///
    /// Unlike a Lambda function, this is a process that you keep running: in a container, on a machine or at your desk. Records,
    /// messages and guarantees are the same, so both can serve one queue at the same time.
    ///
    /// # Errors
    ///
    /// When a setting is wrong, or a queue or the table cannot be reached at the start. The error names it.
    #[cfg(feature = "poll")]
    pub async fn poll(self, poll: Poll) -> Result<(), Error> {
        poll::serve(self.jobs, poll).await
    }

    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("jobs", &self.jobs.to_string()).finish_non_exhaustive()
    }
}
