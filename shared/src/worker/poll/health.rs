//! The health check and the file of readiness, for orchestrators.

use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{Response, StatusCode, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

use crate::Error;

/// A worker is unhealthy if no queue has answered for this time.
const SILENCE: Duration = Duration::from_mins(2);

/// Pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// The health of a worker.
#[derive(Debug)]
pub(super) struct Health {
    answered_at: Mutex<Instant>,
    running: AtomicUsize,
    is_stopping: AtomicBool,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { answered_at: Mutex::new(Instant::now()), running: AtomicUsize::new(0), is_stopping: AtomicBool::new(false) }
    }

    /// Notes that a queue has answered, or that the worker has not asked any.
    pub(super) fn answered(&self) {
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn set_running(&self, jobs: usize) {
        self.running.store(jobs, Ordering::Relaxed);
    }

    pub(super) fn stops(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Returns the answer to a health check: the status, and a JSON object.
    fn answer(&self) -> (StatusCode, String) {
        let silence = self.answered_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let (status, word) = match (self.is_stopping.load(Ordering::Relaxed), silence > SILENCE) {
            (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "no queue answers"),
            (false, false) => (StatusCode::OK, "ok"),
        };
        let answer = json!({"status": word, "running": self.running.load(Ordering::Relaxed), "answered_s_ago": silence.as_secs()});
        (status, format!("{answer}\n"))
    }
}

/// Answers each HTTP request with the health of the worker, until the runtime ends.
///
/// # Errors
///
/// When the address cannot be used.
pub(super) async fn serve(address: SocketAddr, health: Arc<Health>) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| Error::process(&format!("cannot answer health checks on {address}"), error))?;
    tokio::spawn(async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a health check");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let health = Arc::clone(&health);
            let answer = service_fn(move |_| {
                let (status, body) = health.answer();
                let response = Response::builder().status(status).header("content-type", "application/json");
                async move { response.body(http_body_util::Full::new(Bytes::from(body))) }
            });
            tokio::spawn(async move {
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer).await.ok()
            });
        }
    });
    Ok(())
}

/// A file that exists while the worker receives messages.
#[derive(Debug)]
pub(super) struct ReadyFile<'a>(Option<&'a Path>);

impl<'a> ReadyFile<'a> {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// When it cannot be created.
    pub(super) fn create(path: Option<&'a Path>) -> Result<Self, Error> {
        if let Some(path) = path {
            let failed = |error| Error::process(&format!("cannot create the file {}", path.display()), error);
            fs::write(path, "ready\n").map_err(failed)?;
        }
        Ok(Self(path))
    }

    /// Removes the file.
    pub(super) fn remove(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove the file of readiness");
        }
    }
}

impl Drop for ReadyFile<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Returns the memory of this process in mebibytes: the resident set.
///
/// # Errors
///
/// When the platform does not tell it.
pub(super) fn memory_mib() -> Result<u64, Error> {
    let missing = || Error::config("the memory of a process can be read on Linux only; leave out --max-memory");
    let status = fs::read_to_string("/proc/self/status").map_err(|_| missing())?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(resident.ok_or_else(missing)? / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_healthy_while_queues_answer_and_it_does_not_stop() {
        let health = Health::new();
        let status = || health.answer().0.as_u16();
        health.set_running(3);
        tokio::time::advance(SILENCE).await;
        assert_eq!(health.answer(), (StatusCode::OK, "{\"answered_s_ago\":120,\"running\":3,\"status\":\"ok\"}\n".to_owned()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(status(), 503);
        health.answered();
        assert_eq!(status(), 200);
        health.stops();
        assert_eq!(status(), 503);
    }
}
