//! The traits that define a job: its arguments and name, its policy and its work.

use std::{
    future::Future,
    marker::PhantomData,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{self, Poll},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    Context, Failure, JobError, Policy,
    attempt::{Attempt, within},
    envelope::{Envelope, Keys, Unreadable},
    middleware::{Chain, Endpoint, Middleware},
    reporter::{Report, Reporter, report_to},
};

/// The arguments of a job, as they travel in its message. A producer needs only this trait.
///
/// Put them into a library that both the producer and the function depend on. [`Client::enqueue`](crate::Client::enqueue) needs
/// neither the work nor its state nor its dependencies.
pub trait Arguments: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stable wire name of the job. Write a literal, because messages outlive the name of the type.
    const NAME: &'static str;
    /// The name of the job's queue, without the prefix of the environment.
    const QUEUE: &'static str = Self::NAME;

    /// Returns the keys that the job shares with others. A key that the message declares wins over one of the same kind here.
    fn keys(&self) -> Keys {
        Keys::new()
    }
}

/// The work of a job, implemented for its [`Arguments`].
///
/// `S` is the state that `main` builds once per cold start and that all attempts share. A function with its own state type can also
/// implement `Job<State>` for arguments from another crate.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sqjobs::{Arguments, Context, Job, JobError, testing::Eager};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Adder(Vec<i64>);
///
/// impl Arguments for Adder {
///     const NAME: &'static str = "adder";
/// }
///
/// impl Job for Adder {
///     type Output = i64;
///
///     async fn run(&self, _ctx: &Context) -> Result<i64, JobError> {
///         Ok(self.0.iter().sum())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sqjobs::Error> {
/// let eager = Eager::new();
/// let job = eager.client().enqueue(&Adder(vec![1, 2, 3])).await?;
/// eager.run(&sqjobs::Worker::new(()).job::<Adder>()).await;
/// assert_eq!(eager.record(&job.id).unwrap().result, Some(6.into()));
/// # Ok(()) }
/// ```
///
/// # Hooks
///
/// The worker calls the other methods before or after [`run`](Job::run). If a hook fails, panics or takes longer than five seconds,
/// the worker logs that, and nothing else changes. These hooks follow an attempt:
///
/// | ending | hooks, in order |
/// |---|---|
/// | succeeded | [`tear_down`](Job::tear_down), [`on_success`](Job::on_success) |
/// | retried | `tear_down`, [`on_failure`](Job::on_failure), [`on_retry`](Job::on_retry) |
/// | failed for good | `tear_down`, `on_failure`, [`on_permanent_failure`](Job::on_permanent_failure) |
/// | killed in its last attempt | `on_failure`, `on_permanent_failure`, after a later delivery finds its lease expired |
/// | snoozed, interrupted, cancelled | `tear_down` |
/// | rejected: the arguments cannot be deserialized | [`on_rejected`](Job::on_rejected) only |
///
/// `tear_down` runs before the ending is recorded. The other hooks run afterwards, so that they report only recorded endings. The
/// [reporters](crate::Reporter) of the worker follow the hooks. A killed process calls no hooks.
pub trait Job<S = ()>: Arguments
where
    S: Send + Sync + 'static,
{
    /// Other names under which messages find this job, such as the class names of a system that it replaces.
    const ALIASES: &'static [&'static str] = &[];
    /// Limits on attempts and time, and on the data that is kept.
    const POLICY: Policy = Policy::new();
    /// The type of the output, which the record stores as its `result`.
    type Output: Serialize + Send + Sync + 'static;

    /// Does the work. It may run more than once: use [`Attempt::id`] as the idempotency key of its effects.
    ///
    /// # Errors
    ///
    /// Any error that `?` converts fails the attempt, and the job is retried. A [`JobError`] can choose another next step.
    fn run(&self, ctx: &Context<S>) -> impl Future<Output = Result<Self::Output, JobError>> + Send;

    /// Runs before each attempt.
    fn set_up(&self, _ctx: &Context<S>) -> impl Future<Output = Result<(), JobError>> + Send {
        NoHook
    }

    /// Runs after each attempt, whatever its result.
    fn tear_down(&self, _ctx: &Context<S>) -> impl Future<Output = Result<(), JobError>> + Send {
        NoHook
    }

    /// Runs after a success was recorded.
    fn on_success(&self, _ctx: &Context<S>, _output: &Self::Output) -> impl Future<Output = Result<(), JobError>> + Send {
        NoHook
    }

    /// Runs after a failed attempt was recorded, including the last one.
    fn on_failure(&self, _ctx: &Context<S>, _failure: &Failure) -> impl Future<Output = Result<(), JobError>> + Send {
        NoHook
    }

    /// Runs after a failed attempt was recorded, if another attempt follows.
    fn on_retry(&self, _ctx: &Context<S>, _failure: &Failure) -> impl Future<Output = Result<(), JobError>> + Send {
        NoHook
    }

    /// Runs after the job was recorded as `failed`.
    fn on_permanent_failure(&self, _ctx: &Context<S>, _failure: &Failure) -> impl Future<Output = Result<(), JobError>> + Send {
        NoHook
    }

    /// Runs after a message for this job was rejected because its arguments cannot be deserialized.
    fn on_rejected(_state: &S, _reason: &str) -> impl Future<Output = Result<(), JobError>> + Send {
        NoHook
    }
}

/// Future of a hook that a job does not implement. Its type identifies such hooks without calling them.
struct NoHook;

impl Future for NoHook {
    type Output = Result<(), JobError>;

    fn poll(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

/// Returns `true` if the job implements the hook that the closure would call. The worker skips all other hooks, because hooks run on
/// the thread of the job bodies, and ten switches to that thread cost more than ten claims. `TypeId::of` cannot be used,
/// because the future of a hook borrows its arguments.
fn is_written<'a, A: 'a, F>(_: impl FnOnce(&'a A) -> F) -> bool {
    typeid::of::<F>() != typeid::of::<NoHook>()
}

/// Maximum duration of a hook.
pub(crate) const HOOK: Duration = Duration::from_secs(5);

/// A job type with its state and middleware, with the type erased.
pub(crate) trait AnyJob: Send + Sync {
    fn name(&self) -> &'static str;
    fn queue(&self) -> &'static str;
    fn aliases(&self) -> &'static [&'static str];
    fn policy(&self) -> &Policy;
    fn bind(&self, envelope: &Envelope) -> Result<Arc<dyn BoundJob>, Unreadable>;
    fn rejected(&self, reason: String) -> BoxFuture<'static, Result<(), JobError>>;
    /// Reports a rejected message.
    fn report(&self, id: &str, failure: &Failure) -> BoxFuture<'static, Result<(), JobError>>;
}

/// A job with its arguments, ready to run.
pub(crate) trait BoundJob: Send + Sync {
    fn keys(&self) -> Keys {
        Keys::new()
    }
    fn run(self: Arc<Self>, attempt: Arc<Attempt>) -> BoxFuture<'static, Result<Value, JobError>>;
    /// Returns `true` if the job implements that hook.
    fn has(&self, hook: &Hook) -> bool;
    fn hook(self: Arc<Self>, attempt: Arc<Attempt>, hook: Hook) -> BoxFuture<'static, Result<(), JobError>>;
}

/// The hooks that follow an attempt.
#[derive(Debug, Clone)]
pub(crate) enum Hook {
    TearDown,
    Success,
    Failure(Failure),
    Retry(Failure),
    PermanentFailure(Failure),
    /// Calls the reporters.
    Report {
        failure: Failure,
        /// `true` if no attempt follows.
        is_permanent: bool,
    },
}

impl Hook {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::TearDown => "tear_down",
            Self::Success => "on_success",
            Self::Failure(_) => "on_failure",
            Self::Retry(_) => "on_retry",
            Self::PermanentFailure(_) => "on_permanent_failure",
            Self::Report { .. } => "report",
        }
    }
}

/// One entry of a worker: the job type `J`, the shared state, the middleware around the job, and the reporters of its failures.
pub(crate) struct Registered<J, S> {
    pub(crate) state: Arc<S>,
    pub(crate) middleware: Arc<[Arc<dyn Middleware>]>,
    pub(crate) reporters: Arc<[Arc<dyn Reporter>]>,
    pub(crate) job: PhantomData<fn() -> J>,
}

impl<J: Job<S>, S: Send + Sync + 'static> AnyJob for Registered<J, S> {
    fn name(&self) -> &'static str {
        J::NAME
    }

    fn queue(&self) -> &'static str {
        J::QUEUE
    }

    fn aliases(&self) -> &'static [&'static str] {
        J::ALIASES
    }

    fn policy(&self) -> &Policy {
        const { &J::POLICY.bounded() }
    }

    fn bind(&self, envelope: &Envelope) -> Result<Arc<dyn BoundJob>, Unreadable> {
        Ok(Arc::new(Bound::<J, S> {
            job: envelope.bind()?,
            state: Arc::clone(&self.state),
            middleware: Arc::clone(&self.middleware),
            reporters: Arc::clone(&self.reporters),
            output: OnceLock::new(),
        }))
    }

    fn rejected(&self, reason: String) -> BoxFuture<'static, Result<(), JobError>> {
        let state = Arc::clone(&self.state);
        Box::pin(async move { J::on_rejected(&state, &reason).await })
    }

    fn report(&self, id: &str, failure: &Failure) -> BoxFuture<'static, Result<(), JobError>> {
        let (id, failure, reporters) = (id.to_owned(), failure.clone(), Arc::clone(&self.reporters));
        Box::pin(async move {
            let report = Report { id: &id, name: J::NAME, failure: &failure, is_permanent: true, attempt: None, arguments: None };
            report_to(&reporters, report).await;
            Ok(())
        })
    }
}

struct Bound<J: Job<S>, S: Send + Sync + 'static> {
    job: J,
    state: Arc<S>,
    middleware: Arc<[Arc<dyn Middleware>]>,
    reporters: Arc<[Arc<dyn Reporter>]>,
    output: OnceLock<J::Output>,
}

impl<J: Job<S>, S: Send + Sync + 'static> Bound<J, S> {
    async fn set_up(&self, attempt: &Arc<Attempt>) {
        let ctx = self.context(Arc::clone(attempt));
        let hook = AssertUnwindSafe(self.job.set_up(&ctx)).catch_unwind();
        let error = match timeout(HOOK, hook).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => "it panicked".to_owned(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(hook = "set_up", error, "a hook failed");
    }

    async fn report(&self, attempt: &Attempt, failure: &Failure, is_permanent: bool) {
        let (id, name) = (attempt.id(), attempt.name());
        let wants_arguments = self.reporters.iter().any(|reporter| reporter.wants_arguments());
        let arguments = wants_arguments.then(|| serde_json::to_value(&self.job)).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "a failure is reported without the arguments, which cannot be serialized");
            None
        });
        let report = Report { id, name, failure, is_permanent, attempt: Some(attempt), arguments: arguments.as_ref() };
        report_to(&self.reporters, report).await;
    }

    fn context(&self, attempt: Arc<Attempt>) -> Context<S> {
        Context::new(Arc::clone(&self.state), attempt)
    }
}

impl<J: Job<S>, S: Send + Sync + 'static> BoundJob for Bound<J, S> {
    fn keys(&self) -> Keys {
        self.job.keys()
    }

    fn run(self: Arc<Self>, attempt: Arc<Attempt>) -> BoxFuture<'static, Result<Value, JobError>> {
        Box::pin(within(Arc::clone(&attempt), async move {
            if is_written::<Context<S>, _>(|ctx| self.job.set_up(ctx)) {
                self.set_up(&attempt).await;
            }
            Chain::new(&self.middleware, &*self).run(&attempt).await
        }))
    }

    fn has(&self, hook: &Hook) -> bool {
        let job = &self.job;
        match hook {
            Hook::TearDown => is_written::<Context<S>, _>(|ctx| job.tear_down(ctx)),
            Hook::Success => is_written::<(Context<S>, J::Output), _>(|(ctx, output)| job.on_success(ctx, output)),
            Hook::Failure(_) => is_written::<(Context<S>, Failure), _>(|(ctx, failure)| job.on_failure(ctx, failure)),
            Hook::Retry(_) => is_written::<(Context<S>, Failure), _>(|(ctx, failure)| job.on_retry(ctx, failure)),
            Hook::PermanentFailure(_) => is_written::<(Context<S>, Failure), _>(|(ctx, failure)| job.on_permanent_failure(ctx, failure)),
            Hook::Report { .. } => !self.reporters.is_empty(),
        }
    }

    fn hook(self: Arc<Self>, attempt: Arc<Attempt>, hook: Hook) -> BoxFuture<'static, Result<(), JobError>> {
        Box::pin(within(Arc::clone(&attempt), async move {
            let ctx = self.context(Arc::clone(&attempt));
            match hook {
                Hook::TearDown => self.job.tear_down(&ctx).await,
                Hook::Success => match self.output.get() {
                    Some(output) => self.job.on_success(&ctx, output).await,
                    None => Ok(()), // middleware answered in the job's place
                },
                Hook::Failure(failure) => self.job.on_failure(&ctx, &failure).await,
                Hook::Retry(failure) => self.job.on_retry(&ctx, &failure).await,
                Hook::PermanentFailure(failure) => self.job.on_permanent_failure(&ctx, &failure).await,
                Hook::Report { failure, is_permanent } => {
                    self.report(&attempt, &failure, is_permanent).await;
                    Ok(())
                }
            }
        }))
    }
}

impl<J: Job<S>, S: Send + Sync + 'static> Endpoint for Bound<J, S> {
    fn call<'a>(&'a self, attempt: &'a Arc<Attempt>) -> BoxFuture<'a, Result<Value, JobError>> {
        Box::pin(async move {
            let ctx = self.context(Arc::clone(attempt));
            let output = self.job.run(&ctx).await?;
            let result = serde_json::to_value(&output).map_err(|error| JobError::fatal(error).kind("result"));
            self.output.set(output).ok();
            result
        })
    }
}
