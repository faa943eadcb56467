//! A reverse proxy in front of the stack. The referee judges each request; requests of functions are counted and can fail.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use hyper::{Request, Response, Uri, body::Bytes, header::DATE};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Notify, SetOnce};
use uuid::Uuid;

use crate::{
    http::{self, Hangup, Server},
    referee::{Referee, Violation},
    stack::dynamodb_local,
};

/// A request that passed: the operation, such as `DynamoDB_20120810.BatchExecuteStatement`, or the path; its body and method.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    pub(crate) operation: String,
    pub(crate) body: String,
    pub(crate) method: String,
}

impl Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excerpt: String = self.body.chars().take(400).collect();
        write!(f, "request: {} {excerpt}", self.operation)
    }
}

/// A fault that affects the first matching request.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    operation: &'static str,
    body: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Swallow,
    /// Returns this response without asking the stack.
    Answer(u16, String),
    Hold(Hold),
    /// Drops the request, as if the process had died.
    Cut,
    /// Delays the request.
    Delay(Duration),
    /// Sets the date of the response.
    Date(Timestamp),
}

/// Requests that wait in the proxy until they are released.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold {
    arrived: Arc<Notify>,
    released: Arc<SetOnce<()>>,
}

impl Hold {
    /// Waits until a request has arrived at the proxy.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Lets the requests continue.
    pub(crate) fn release(&self) {
        self.released.set(()).ok();
    }
}

impl Fault {
    /// Holds the request until it is released.
    pub(crate) fn hold(operation: &'static str, hold: &Hold) -> Self {
        Self { operation, body: String::new(), kind: Kind::Hold(hold.clone()) }
    }

    /// Forwards the request, but drops the response and closes the connection.
    pub(crate) fn swallow(operation: &'static str, body: impl Into<String>) -> Self {
        Self { operation, body: body.into(), kind: Kind::Swallow }
    }

    /// Sets the date in the response of the stack.
    pub(crate) fn date(operation: &'static str, date: Timestamp) -> Self {
        Self { operation, body: String::new(), kind: Kind::Date(date) }
    }

    /// Returns an internal error without asking the stack.
    pub(crate) fn refuse(operation: &'static str, body: impl Into<String>) -> Self {
        Self::answer(operation, body, 500, json!({"__type": "InternalServerError", "message": "armed"}).to_string())
    }

    /// Returns this response without asking the stack.
    pub(crate) fn answer(operation: &'static str, body: impl Into<String>, status: u16, answer: impl Into<String>) -> Self {
        Self { operation, body: body.into(), kind: Kind::Answer(status, answer.into()) }
    }

    fn fits(&self, request: &Passed) -> bool {
        request.operation.contains(self.operation) && request.body.contains(&self.body)
    }
}

/// The proxy of one world, with two addresses. It ends on drop.
pub(crate) struct Proxy {
    server: Server,
    /// The server without faults.
    calm: Server,
    traffic: Arc<Mutex<Traffic>>,
    backend: Arc<Backend>,
}

/// The servers behind the proxy.
struct Backend {
    stack: Uri,
    /// The server that answers requests to `DynamoDB` instead of the stack.
    table: Option<Uri>,
    violations: Mutex<BTreeSet<Violation>>,
}

#[derive(Default)]
struct Traffic {
    passed: Vec<Passed>,
    faults: Vec<Fault>,
    /// Number of requests that may still pass.
    left: Option<usize>,
    /// In a storm, one request of this many fails.
    storm: Option<u128>,
    /// Number of requests that failed in storms.
    wrong: usize,
}

impl Proxy {
    /// Starts a proxy in front of a stack, and of a separate server for the tables if one is given.
    pub(crate) async fn start(stack: &str, table: Option<&str>) -> Self {
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let address = |endpoint: &str| endpoint.parse().expect("the endpoint is an address");
        let backend = Arc::new(Backend { stack: address(stack), table: table.map(address), violations: Mutex::default() });
        let (shared, behind) = (Arc::clone(&traffic), Arc::clone(&backend));
        let server = Server::start(move |request| pass(request, Arc::clone(&behind), Arc::clone(&shared))).await;
        let behind = Arc::clone(&backend);
        let calm = Server::start(move |request| pass_calmly(request, Arc::clone(&behind))).await;
        Self { server, calm, traffic, backend }
    }

    /// Returns the address that replaces the stack's.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Returns the address without faults and without counting.
    pub(crate) fn calm_url(&self) -> String {
        self.calm.url()
    }

    /// Returns the rules of AWS that requests violated.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        lock(&self.backend.violations).iter().cloned().collect()
    }

    /// Adds a fault that happens once.
    pub(crate) fn arm(&self, fault: Fault) {
        lock(&self.traffic).faults.push(fault);
    }

    /// Lets this number of requests pass and drops all others, as if the process had died there.
    pub(crate) fn cut_after(&self, requests: usize) {
        lock(&self.traffic).left = Some(requests);
    }

    /// Lets all requests pass again. Returns `true` if the limit was reached.
    pub(crate) fn mend(&self) -> bool {
        lock(&self.traffic).left.take() == Some(0)
    }

    /// Lets all requests pass again if the limit was reached, and returns `true` then.
    pub(crate) fn mend_if_cut(&self) -> bool {
        lock(&self.traffic).left.take_if(|left| *left == 0).is_some()
    }

    /// Makes one request of every `one_of` fail in various ways; `None` ends the storm.
    pub(crate) fn storm(&self, one_of: Option<u128>) {
        lock(&self.traffic).storm = one_of;
    }

    /// Returns the number of requests that failed in storms.
    pub(crate) fn wrong(&self) -> usize {
        lock(&self.traffic).wrong
    }

    /// Returns `true` if all armed faults have happened.
    pub(crate) fn is_spent(&self) -> bool {
        lock(&self.traffic).faults.is_empty()
    }

    /// Returns the requests so far whose operation contains `part`, oldest first.
    pub(crate) fn passed(&self, part: &str) -> Vec<Passed> {
        lock(&self.traffic).passed.iter().filter(|request| request.operation.contains(part)).cloned().collect()
    }

    /// Clears the list of requests.
    pub(crate) fn forget(&self) {
        lock(&self.traffic).passed.clear();
    }
}

async fn pass(request: Request<Bytes>, backend: Arc<Backend>, traffic: Arc<Mutex<Traffic>>) -> Result<Response<Bytes>, Hangup> {
    backend.judge(&request);
    match note(&request, &traffic) {
        None => backend.answer(request).await,
        Some(Kind::Swallow) => {
            backend.answer(request).await?;
            Err("the answer is swallowed".into())
        }
        Some(Kind::Cut) => Err("nobody asks any more".into()),
        Some(Kind::Delay(time)) => {
            tokio::time::sleep(time).await;
            backend.answer(request).await
        }
        Some(Kind::Date(date)) => {
            let mut answer = backend.answer(request).await?;
            let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            answer.headers_mut().insert(DATE, date.parse()?);
            Ok(answer)
        }
        Some(Kind::Hold(hold)) => {
            hold.arrived.notify_one();
            hold.released.wait().await;
            backend.answer(request).await
        }
        Some(Kind::Answer(status, answer)) => Ok(Response::builder().status(status).body(Bytes::from(answer))?),
    }
}

async fn pass_calmly(request: Request<Bytes>, backend: Arc<Backend>) -> Result<Response<Bytes>, Hangup> {
    backend.judge(&request);
    backend.answer(request).await
}

impl Backend {
    fn judge(&self, request: &Request<Bytes>) {
        lock(&self.violations).extend(Referee::shared().judge(request));
    }

    /// Forwards a request to the stack or to the separate server for tables.
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Hangup> {
        let is_of_table = request.headers().get("x-amz-target").is_some_and(|target| target.as_bytes().starts_with(b"DynamoDB_"));
        if let Some(table) = self.table.as_ref().filter(|_| is_of_table) {
            return dynamodb_local::answer(request, table).await;
        }
        let event = request.uri().path().ends_with("/invocations").then(|| request.body().clone());
        let answer = http::forward(request, &self.stack).await?;
        if let Some(event) = event {
            let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_default();
            lock(&self.violations).extend(Referee::judge_answer(&json(&event), &json(answer.body())));
        }
        Ok(answer)
    }
}

/// Records a request, and removes the fault that matches it.
fn note(request: &Request<Bytes>, traffic: &Mutex<Traffic>) -> Option<Kind> {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.unwrap_or(request.uri().path()).to_owned();
    let method = request.method().to_string();
    let passing = Passed { operation, body: String::from_utf8_lossy(request.body()).into_owned(), method };
    let mut traffic = lock(traffic);
    match &mut traffic.left {
        Some(0) => return Some(Kind::Cut),
        Some(left) => *left -= 1,
        None => {}
    }
    if let Some(fault) = traffic.storm.and_then(stormy) {
        traffic.wrong += 1;
        return Some(fault);
    }
    let met = traffic.faults.iter().position(|fault| fault.fits(&passing));
    traffic.passed.push(passing);
    met.map(|fault| traffic.faults.remove(fault).kind)
}

/// Returns a random fault for a request in a storm.
fn stormy(one_of: u128) -> Option<Kind> {
    let dice = Uuid::new_v4().as_u128() >> 80;
    dice.is_multiple_of(one_of).then(|| match dice / one_of % 5 {
        0 => Kind::Swallow,
        1 => Kind::Answer(500, json!({"__type": "InternalServerError", "message": "a storm"}).to_string()),
        2 => Kind::Cut,
        3 => Kind::Answer(400, json!({"__type": "ThrottlingException", "message": "a storm"}).to_string()),
        _ => Kind::Delay(Duration::from_millis(u64::try_from(dice % 3000).unwrap_or(0))),
    })
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("nobody panics with the lock")
}
