//! The thread on which batches are driven.
//!
//! Timers and the protocol's writes must go on while every thread that runs bodies is blocked, so they have a thread
//! and a runtime of their own. Everything else that is not a body lives there too: what stays on one thread wakes no
//! other.

use std::{future::Future, thread};

use tokio::{runtime, sync::oneshot};

use crate::Error;

/// Does work on a thread with a runtime of its own, and waits for its end.
///
/// # Errors
///
/// When the thread cannot be started, or has panicked.
pub(crate) async fn run<T: Send + 'static, F: Future<Output = T>>(work: impl FnOnce() -> F + Send + 'static) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::because("cannot start the runtime", error))?;
    let work = move || done.send(runtime.block_on(work())).ok();
    thread::Builder::new().name("sqjobs".into()).spawn(work).map_err(|error| Error::because("cannot start the thread", error))?;
    answer.await.map_err(|_| Error::config("the thread of the batches has ended; see the panic before this line"))
}
