//! The thread on which batches are driven.
//!
//! Timers and the protocol's writes must go on while every thread that runs bodies is blocked, so they have a thread
//! and a runtime of their own.

use std::{future::Future, thread};

use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

use super::engine::{Engine, Invocation, Report};
use crate::{Error, queue::Message};

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct Thread(mpsc::UnboundedSender<Task>);

struct Task {
    messages: Vec<Message>,
    invocation: Invocation,
    report: oneshot::Sender<Report>,
}

impl Thread {
    /// Starts the thread with the engine that `build` makes there. `stuck` is called when a batch has left a body
    /// behind that blocks its thread, after all is recorded.
    pub(crate) fn start<F>(build: impl FnOnce() -> F + Send + 'static, stuck: fn()) -> Result<Self, Error>
    where
        F: Future<Output = Engine>,
    {
        let (sender, mut tasks) = mpsc::unbounded_channel::<Task>();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::because("cannot start the runtime", error))?;
        let work = move || {
            runtime.block_on(async {
                let engine = build().await;
                while let Some(task) = tasks.recv().await {
                    let report = engine.handle(task.messages, &task.invocation).await;
                    if report.stuck {
                        stuck();
                    }
                    task.report.send(report).ok();
                }
            });
        };
        thread::Builder::new().name("sqjobs".into()).spawn(work).map_err(|error| Error::because("cannot start the thread", error))?;
        Ok(Self(sender))
    }

    pub(crate) async fn handle(&self, messages: Vec<Message>, invocation: Invocation) -> Result<Report, Error> {
        let (report, answer) = oneshot::channel();
        self.0.send(Task { messages, invocation, report }).ok();
        answer.await.map_err(|_| Error::config("the batch's thread has ended; see the panic before this line"))
    }
}
