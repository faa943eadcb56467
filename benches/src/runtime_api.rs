//! The Lambda Runtime API for one bootstrap.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use sqjobs::Clock;
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use uuid::Uuid;

use crate::serve;

/// Maximum time for each step of the function.
const PATIENCE: Duration = Duration::from_mins(1);

/// The Runtime API for one process, which handles one event at a time.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Bytes>,
    news: mpsc::UnboundedReceiver<News>,
}

/// A finished invocation.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Time from sending the event to receiving the response.
    pub(crate) wall: Duration,
    pub(crate) responded: Instant,
    pub(crate) response: Bytes,
}

#[derive(Debug)]
enum News {
    Polled(Instant),
    Given(Instant),
    Responded(Instant, Bytes),
    Failed(Bytes),
}

#[derive(Clone)]
struct Shared {
    events: Arc<Mutex<mpsc::UnboundedReceiver<Bytes>>>,
    news: mpsc::UnboundedSender<News>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let (events, waiting) = mpsc::unbounded_channel();
        let (sender, news) = mpsc::unbounded_channel();
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(responded))
            .fallback(failed)
            .with_state(Shared { events: Arc::new(Mutex::new(waiting)), news: sender });
        Self { address: serve::start(router, None).await, events, news }
    }

    /// Returns the value of the variable `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Waits until the process requests an event. Returns the instant of that request.
    ///
    /// # Errors
    ///
    /// An error that the process reported, or a timeout.
    pub(crate) async fn polled(&mut self) -> Result<Instant, String> {
        match self.news().await? {
            News::Polled(at) => Ok(at),
            other => Err(format!("not a poll: {other:?}")),
        }
    }

    /// Sends an event to the process, which must have requested one, and waits until it requests the next.
    ///
    /// # Errors
    ///
    /// An error that the process reported instead of a response, or a timeout.
    pub(crate) async fn invoke(&mut self, event: Bytes) -> Result<Invocation, String> {
        self.events.send(event).map_err(|error| error.to_string())?;
        let News::Given(given) = self.news().await? else { return Err("the event was not fetched".into()) };
        let (responded, response) = match self.news().await? {
            News::Responded(at, response) => (at, response),
            other => return Err(format!("no response: {other:?}")),
        };
        self.polled().await?;
        Ok(Invocation { wall: responded - given, responded, response })
    }

    async fn news(&mut self) -> Result<News, String> {
        match timeout(PATIENCE, self.news.recv()).await {
            Ok(Some(News::Failed(error))) => Err(String::from_utf8_lossy(&error).into_owned()),
            Ok(Some(news)) => Ok(news),
            Ok(None) => Err("the server has ended".into()),
            Err(_) => Err(format!("nothing was heard for {} s", PATIENCE.as_secs())),
        }
    }
}

async fn next(State(shared): State<Shared>) -> Response {
    shared.news.send(News::Polled(Instant::now())).ok();
    let Some(event) = shared.events.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let deadline = Clock::system().now() + PATIENCE;
    let head = [
        ("lambda-runtime-aws-request-id", Uuid::new_v4().to_string()),
        ("lambda-runtime-deadline-ms", deadline.as_millisecond().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:subject".into()),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".into()),
        ("content-type", "application/json".into()),
    ];
    shared.news.send(News::Given(Instant::now())).ok();
    (head, event).into_response()
}

async fn responded(State(shared): State<Shared>, body: Bytes) -> StatusCode {
    shared.news.send(News::Responded(Instant::now(), body)).ok();
    StatusCode::ACCEPTED
}

/// Handles errors of the function or of its start, and all other requests that are no response.
async fn failed(State(shared): State<Shared>, uri: Uri, body: Bytes) -> StatusCode {
    let report = [uri.path().as_bytes(), b": ", &body].concat();
    shared.news.send(News::Failed(report.into())).ok();
    StatusCode::ACCEPTED
}
