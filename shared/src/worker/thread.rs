//! The thread that drives batches.
//!
//! Timers and the writes of the protocol must continue while all threads for bodies are blocked, so they have their own thread
//! and runtime. All other code except bodies runs there as well: a task on a single thread never has to wake another thread.

use std::{future::Future, thread};

use tokio::{runtime, sync::oneshot};

use crate::Error;

/// Runs work on a separate thread with its own runtime, and waits until it ends.
///
/// # Errors
///
/// When the thread cannot be started, or has panicked.
pub(crate) async fn run<T: Send + 'static, F: Future<Output = T>>(work: impl FnOnce() -> F + Send + 'static) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::process("cannot start the runtime", error))?;
    let work = move || done.send(runtime.block_on(work())).ok();
    thread::Builder::new().name("sqjobs".into()).spawn(work).map_err(|error| Error::process("cannot start the thread", error))?;
    answer.await.map_err(|_| Error::Process("the worker thread has ended; see the panic before this line".into()))
}
