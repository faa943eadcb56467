//! Answers like DynamoDB and SQS after a fixed latency, and counts the requests. It is also a collector of spans, which counts nothing.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    clockwork::Clockwork,
    serve,
    table::{Refusal, Table},
    tls::Tls,
};

/// A server in place of AWS. It ends with the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Answerer {
    address: SocketAddr,
    secure: bool,
    shared: Shared,
}

/// One answered request.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) operation: String,
    pub(crate) bytes: usize,
    /// Number of entries in an SQS batch.
    pub(crate) entries: usize,
    came: Instant,
    left: Instant,
}

#[derive(Debug, Clone)]
struct Shared {
    latency: Duration,
    state: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    table: Table,
    clockwork: Clockwork,
    exchanges: Vec<Exchange>,
}

impl Answerer {
    /// Starts a server on a free port of loopback, over HTTPS if `tls` is given.
    pub(crate) async fn start(latency: Duration, tls: Option<&Tls>) -> Self {
        let shared = Shared { latency, state: Arc::default() };
        let router = Router::new().route("/v1/traces", post(async || StatusCode::OK)).fallback(answer).with_state(shared.clone());
        Self { address: serve::start(router, tls).await, secure: tls.is_some(), shared }
    }

    pub(crate) fn url(&self) -> String {
        let (scheme, port) = (if self.secure { "https" } else { "http" }, self.address.port());
        format!("{scheme}://localhost:{port}")
    }

    /// Installs due jobs and schedules.
    pub(crate) fn wind(&self, clockwork: Clockwork) {
        self.shared.seen().clockwork = clockwork;
    }

    /// Returns the requests since the last call.
    pub(crate) fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.shared.seen().exchanges)
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn dynamodb(&mut self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        let due = self.clockwork.answer(operation, request);
        due.map_or_else(|| self.table.answer(operation, request), Ok)
    }
}

/// Returns the length of the longest chain of sequential requests, which no concurrency could have shortened.
pub(crate) fn depth(exchanges: &[Exchange]) -> usize {
    let mut by_end: Vec<_> = exchanges.iter().collect();
    by_end.sort_by_key(|exchange| exchange.left);
    let mut depth = 0;
    let mut last = None;
    for exchange in by_end {
        if last.is_none_or(|last| exchange.came >= last) {
            depth += 1;
            last = Some(exchange.left);
        }
    }
    depth
}

async fn answer(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let (came, bytes) = (Instant::now(), body.len());
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let is_sqs = target.starts_with("AmazonSQS");
    let answer = if is_sqs { Ok(sqs(&operation, &request)) } else { shared.seen().dynamodb(&operation, &request) };
    let (status, answer) = match answer {
        Ok(answer) => (StatusCode::OK, answer),
        Err(refusal) => {
            let kind = format!("com.amazonaws.dynamodb.v20120810#{}", refusal.kind);
            (StatusCode::BAD_REQUEST, json!({"__type": kind, "message": "refused", "Item": refusal.item}))
        }
    };
    if !shared.latency.is_zero() {
        sleep(shared.latency.saturating_sub(came.elapsed())).await;
    }
    let entries = request["Entries"].as_array().map_or(0, Vec::len);
    shared.seen().exchanges.push(Exchange { operation, bytes, entries, came, left: Instant::now() });
    (status, [("content-type", "application/x-amz-json-1.0")], answer.to_string()).into_response()
}

/// Answers an SQS request: every queue exists, and every batch entry succeeds.
fn sqs(operation: &str, request: &Value) -> Value {
    if operation == "GetQueueUrl" {
        return json!({"QueueUrl": format!("http://localhost/000000000000/{}", request["QueueName"].as_str().unwrap_or_default())});
    }
    let entries = request["Entries"].as_array().into_iter().flatten();
    let done = entries.map(|entry| match operation {
        "SendMessageBatch" => json!({"Id": entry["Id"], "MessageId": uuid::Uuid::new_v4().to_string(), "MD5OfMessageBody": "0"}),
        _ => json!({"Id": entry["Id"]}),
    });
    json!({"Successful": done.collect::<Vec<_>>(), "Failed": []})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_requests_have_a_depth_of_one() {
        let start = Instant::now();
        let exchange = |came, left| Exchange {
            operation: String::new(),
            bytes: 0,
            entries: 0,
            came: start + Duration::from_millis(came),
            left: start + Duration::from_millis(left),
        };
        assert_eq!(depth(&[]), 0);
        assert_eq!(depth(&[exchange(0, 5), exchange(1, 6), exchange(2, 4)]), 1);
        assert_eq!(depth(&[exchange(0, 5), exchange(5, 9), exchange(1, 6), exchange(10, 12)]), 3);
    }
}
