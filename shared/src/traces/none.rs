//! The empty span.

use std::future::Future;

use super::{Outcome, Processed};
use crate::envelope::Envelope;

/// No span.
#[derive(Debug, Clone, Default)]
pub(crate) struct Span(());

#[expect(clippy::unused_self, reason = "the methods of a real span")]
impl Span {
    pub(crate) fn send(_: &mut Envelope, _is_own: bool, _queue: impl FnOnce(&Envelope) -> String) -> Self {
        Self(())
    }

    pub(crate) fn create(_schedule: &str, _queue: &str, _jobs: usize) -> Self {
        Self(())
    }

    pub(crate) fn put_into(&self, _: &mut Envelope) {}

    pub(crate) fn invocation(_queue: &str, _request_id: &str, _messages: usize) -> Self {
        Self(())
    }

    pub(crate) fn process<'a>(_parent: &Self, _processed: impl FnOnce() -> Processed<'a>) -> Self {
        Self(())
    }

    pub(crate) fn within<F: Future>(&self, code: F) -> F {
        code
    }

    pub(crate) fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        code()
    }

    pub(crate) fn trace_id(&self) -> Option<String> {
        None
    }

    pub(crate) fn set(&self, _outcome: impl FnOnce() -> Outcome) {}

    pub(crate) fn end(&self) {}

    pub(crate) fn ended(&self, _outcome: impl FnOnce() -> Outcome) {}
}

pub(crate) fn header(_body: &str) -> Option<String> {
    None
}

pub(crate) fn adopt(_: &mut Envelope, _header: Option<&str>) -> bool {
    false
}
