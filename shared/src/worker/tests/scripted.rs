//! A job with a given policy and body.

use std::{future::Future, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt, ready};
use serde_json::Value;

use crate::{
    JobError, Policy,
    attempt::Attempt,
    envelope::{Envelope, Unreadable},
    job::{AnyJob, BoundJob, Hook},
};

type Body = dyn Fn(Arc<Attempt>) -> BoxFuture<'static, Result<Value, JobError>> + Send + Sync;

#[derive(Clone)]
pub(super) struct Scripted {
    name: &'static str,
    policy: Policy,
    body: Arc<Body>,
}

impl Scripted {
    pub(super) fn new<F>(name: &'static str, policy: Policy, body: impl Fn(Arc<Attempt>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Value, JobError>> + Send + 'static,
    {
        Self { name, policy, body: Arc::new(move |attempt| body(attempt).boxed()) }
    }
}

impl AnyJob for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn queue(&self) -> &'static str {
        self.name
    }

    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn bind(&self, _: &Envelope) -> Result<Arc<dyn BoundJob>, Unreadable> {
        Ok(Arc::new(self.clone()))
    }

    fn rejected(&self, _: String) -> BoxFuture<'static, Result<(), JobError>> {
        ready(Ok(())).boxed()
    }

    fn report(&self, _: &str, _: &crate::Failure) -> BoxFuture<'static, Result<(), JobError>> {
        ready(Ok(())).boxed()
    }
}

impl BoundJob for Scripted {
    fn run(self: Arc<Self>, attempt: Arc<Attempt>) -> BoxFuture<'static, Result<Value, JobError>> {
        // A panic before the first await must also count as a panic of the body.
        async move { (self.body)(attempt).await }.boxed()
    }

    fn has(&self, _: &Hook) -> bool {
        true
    }

    fn hook(self: Arc<Self>, _: Arc<Attempt>, _: Hook) -> BoxFuture<'static, Result<(), JobError>> {
        ready(Ok(())).boxed()
    }
}
