//! The worker that receives its messages itself, and runs anywhere.
//!
//! One task receives messages, runs their jobs, and deletes the messages of ended jobs. Each message is a batch of its own, so that a long
//! job delays no other; the messages of a FIFO group are one batch. All batches share one ledger, and thus their requests to the table.

#[cfg(not(unix))]
compile_error!("the feature `poll` of sqjobs needs the signals of Unix");

mod args;
mod health;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    process,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    future::{BoxFuture, FutureExt, join_all},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::{RwLock, watch},
    time::{Instant, interval, sleep_until},
};
use uuid::Uuid;

use self::{
    health::{Health, ReadyFile, memory_mib},
    turns::{Turn, Turns},
};
use super::{
    batch::Shared,
    engine::{Engine, Invocation, Jobs, Limits, Polling},
    lambda::{HOP, PARKS_FOR},
    thread,
};
use crate::{
    Error, Priority, config,
    queue::{MAX_VISIBILITY, Message, Queue, QueueError, Sqs, Visibility, is_fifo, name_of},
    stats::Counter,
    store::{DynamoDb, Store},
    telemetry::{self, Traces},
};

/// Default maximum number of jobs that run at the same time.
const CONCURRENCY: u16 = 10;
/// Default time after which a message whose worker has died is visible again.
const VISIBILITY: Duration = Duration::from_mins(1);
/// The minimum: the time is set anew after each third of it, and a request may take some seconds.
const MIN_VISIBILITY: Duration = Duration::from_secs(15);
/// The end of an invocation that does not end by itself.
const NEVER: Duration = Duration::from_hours(24 * 365 * 10);
/// Maximum grace, which is also the maximum visibility timeout.
const MAX_GRACE: Duration = MAX_VISIBILITY;
/// Grace of the other jobs if a job blocks its thread: shorter than the wait before the next attempt of that job usually is.
const BLOCKED_GRACE: Duration = Duration::from_secs(3);
/// Maximum number of requests that delete a message, and the wait between them.
const DELETE_TRIES: u32 = 5;
const DELETE_PAUSE: Duration = Duration::from_secs(2);
/// Maximum number of messages that one request deletes, and the time for which an ended job waits for others.
const DELETES: usize = 10;
const GATHER: Duration = Duration::from_millis(20);
/// Wait of a receive that looks whether a queue has no more messages. Without a wait, SQS asks only some of its servers.
const DRAIN_WAIT: Duration = Duration::from_secs(2);
/// Time between two exports of spans.
const EXPORT: Duration = Duration::from_secs(5);

/// The options of a worker that receives its messages itself. All of them have defaults.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// use sqjobs::{Arguments, Context, Job, JobError, Poll, Worker};
/// #
/// # #[derive(Serialize, Deserialize)]
/// # struct Greet { name: String }
/// #
/// # impl Arguments for Greet {
/// #     const NAME: &'static str = "greet";
/// # }
/// #
/// # impl Job for Greet {
/// #     type Output = ();
/// #
/// #     async fn run(&self, _: &Context) -> Result<(), JobError> {
/// #         Ok(())
/// #     }
/// # }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), sqjobs::Error> {
/// let poll = Poll::new().queue("mail").concurrency(5);
/// Worker::new(()).job::<Greet>().poll(poll).await
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is used by `Worker::poll`"]
pub struct Poll {
    /// The names or URLs of the queues, each with its weight.
    queues: Vec<(String, u32)>,
    order: QueueOrder,
    concurrency: u16,
    visibility: Duration,
    grace: Duration,
    drain: bool,
    max_jobs: Option<u64>,
    max_memory: Option<u64>,
    health: Option<SocketAddr>,
    ready_file: Option<PathBuf>,
}

/// The order in which a worker receives from several queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum QueueOrder {
    /// One after the other.
    #[default]
    RoundRobin,
    /// By their weights: a queue of weight 3 has three times as many turns as one of weight 1.
    Weighted,
    /// From a queue only while the queues before it have no visible messages. A busy queue can keep all later ones waiting.
    Strict,
}

impl Poll {
    /// Returns the defaults: the queue in `SQJOBS_QUEUE_URL`, or else the queues of the worker's jobs; 10 jobs at the same time.
    pub const fn new() -> Self {
        Self {
            queues: Vec::new(),
            order: QueueOrder::RoundRobin,
            concurrency: CONCURRENCY,
            visibility: VISIBILITY,
            grace: Duration::from_secs(25),
            drain: false,
            max_jobs: None,
            max_memory: None,
            health: None,
            ready_file: None,
        }
    }

    /// Adds a queue, by its name without `SQJOBS_PREFIX`, or by its URL.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        self.add(queue.into(), 1)
    }

    /// Adds a queue with a weight, and sets the order to [`QueueOrder::Weighted`].
    pub fn weighted_queue(self, queue: impl Into<String>, weight: u32) -> Self {
        Self { order: QueueOrder::Weighted, ..self.add(queue.into(), weight) }
    }

    fn add(mut self, queue: String, weight: u32) -> Self {
        self.queues.push((queue, weight));
        self
    }

    /// Sets the order of several queues.
    pub fn order(self, order: QueueOrder) -> Self {
        Self { order, ..self }
    }

    /// Sets the maximum number of jobs that run at the same time. [`Policy::concurrency`](crate::Policy::concurrency), by default 10,
    /// also limits the jobs of each name. A message that waits longer than the [visibility](Poll::visibility) returns to its queue.
    pub fn concurrency(self, concurrency: u16) -> Self {
        Self { concurrency, ..self }
    }

    /// Sets the time after which a message whose worker has died is visible again. Default: 1 minute; at least 15 seconds. It is set
    /// anew after each third of it while a job runs, which costs a request. The job can start again once its
    /// [lease](crate::Policy::lease) is over too.
    pub fn visibility(self, visibility: Duration) -> Self {
        Self { visibility, ..self }
    }

    /// Sets the time for running jobs to end after the first signal. Default: 25 seconds, within the 30 seconds that ECS and Kubernetes
    /// give.
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Ends when the queues have no visible messages and no job runs. Messages that are delayed, or that another worker has, are not
    /// waited for.
    pub fn drain(self) -> Self {
        Self { drain: true, ..self }
    }

    /// Ends after this number of messages, so that the platform starts a new process.
    pub fn max_jobs(self, messages: u64) -> Self {
        Self { max_jobs: Some(messages), ..self }
    }

    /// Ends when the process has more memory than this, in mebibytes, so that the platform starts a new process. The worker looks after
    /// each job and every five seconds. Linux only.
    pub fn max_memory(self, mebibytes: u64) -> Self {
        Self { max_memory: Some(mebibytes), ..self }
    }

    /// Answers health checks on this address: any HTTP request gets the status 200, or 503 after a signal to stop, or if no queue has
    /// answered for two minutes.
    pub fn health(self, address: SocketAddr) -> Self {
        Self { health: Some(address), ..self }
    }

    /// Creates a file when the worker begins to receive messages, and removes it when the worker stops.
    pub fn ready_file(self, path: impl Into<PathBuf>) -> Self {
        Self { ready_file: Some(path.into()), ..self }
    }

    fn check(&self) -> Result<(), Error> {
        if self.concurrency == 0 {
            return Err(Error::config("the concurrency is 0; set it to at least 1"));
        }
        if !(MIN_VISIBILITY..=MAX_VISIBILITY).contains(&self.visibility) {
            return Err(Error::config(format!("the visibility is {} s; set it to 15 s to 12 hours", self.visibility.as_secs_f64())));
        }
        if self.grace > MAX_GRACE {
            return Err(Error::config(format!("the grace is {} s; set it to at most 12 hours", self.grace.as_secs_f64())));
        }
        if let Some((queue, _)) = self.queues.iter().find(|(_, weight)| *weight == 0) {
            return Err(Error::config(format!("queue {queue} has the weight 0; set it to at least 1, or leave the queue out")));
        }
        self.max_memory.map_or(Ok(()), |_| memory_mib().map(drop))
    }
}

impl Default for Poll {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) async fn serve(jobs: Jobs, poll: Poll) -> Result<(), Error> {
    let traces = telemetry::in_lambda();
    poll.check()?;
    let metrics = config::metrics()?;
    let (max_concurrency, clock, bodies) = (config::max_concurrency()?, config::clock()?, Handle::current());
    let requests = metrics.as_ref().map(|metrics| metrics.requests());
    let sdk = config::sdk_that_counts(requests.clone()).await;
    let prefix = config::prefix();
    let [queue_url, dlq_url] = config::queue_urls();
    let candidates = candidates(&poll, &jobs, queue_url, &prefix)?;
    let urls = candidates.iter().map(|candidate| &candidate.queue).chain(dlq_url.as_ref()).filter(|queue| is_url(queue)).cloned();
    let sqs = Sqs::with_urls(aws_sdk_sqs::Client::new(&sdk), urls.collect::<Vec<_>>()).metered(requests.clone());
    let counter = Arc::new(Counter::new(Uuid::new_v4().simple().to_string()));
    let store = DynamoDb::new(aws_sdk_dynamodb::Client::new(&sdk), config::table()).metered(requests);
    let store = if config::stats()? { store.counting(Arc::clone(&counter), clock.clone()) } else { store };
    let (stop, limits) = watch::channel(None);
    let Queues { weighted: queues, dlqs } = found(candidates, dlq_url, &sqs, &store).await?;
    let engine = Engine {
        jobs,
        store: Arc::new(store),
        queue: Arc::new(sqs.clone()),
        prefix,
        dlq: String::new(), // each queue has its own
        clock,
        counter,
        metrics,
        bodies,
        max_concurrency,
        hop: HOP,
        records_always: false,
        parks_for: PARKS_FOR,
        polling: Some(Polling { dlqs, invisible_for: poll.visibility, stop: limits, isolation: RwLock::new(()) }),
    };
    let worker = Worker { poll, sqs, engine, queues, stop, traces, process: format!("{}-{}", config::host(), process::id()) };
    // This runs as a separate task: each wake-up of a future that runs directly in the runtime's `block_on` costs a system call.
    let ended = thread::run(async move || tokio::spawn(worker.run()).await).await?;
    match ended.map_err(|error| Error::process("the worker has ended", error))?? {
        Ended::Cleanly => Ok(()),
        // The blocked thread would keep the runtime of the program from ending.
        Ended::Stuck => process::exit(1),
    }
}

/// A queue to receive from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    /// Its name or URL.
    queue: String,
    weight: u32,
    /// `true` if it need not exist.
    is_optional: bool,
}

/// Returns the queues to receive from: those that are named, or else those that would feed the function, with its priorities.
fn candidates(poll: &Poll, jobs: &Jobs, url: Option<String>, prefix: &str) -> Result<Vec<Candidate>, Error> {
    let full = |queue: &String| if is_url(queue) { queue.clone() } else { format!("{prefix}{queue}") };
    let mut all: Vec<Candidate> = Vec::new();
    for (queue, weight) in &poll.queues {
        let queue = full(queue);
        if all.iter().any(|other| name_of(&other.queue) == name_of(&queue)) {
            return Err(Error::config(format!("queue {} is named twice", name_of(&queue))));
        }
        all.push(Candidate { queue, weight: *weight, is_optional: false });
    }
    if all.is_empty() {
        let own = || jobs.all().map(|job| format!("{prefix}{}", job.queue())).collect::<BTreeSet<_>>();
        for base in url.map_or_else(own, |url| BTreeSet::from([url])) {
            let name = name_of(&base);
            let start = base.strip_suffix(name).unwrap_or_default();
            for priority in [Priority::High, Priority::Default, Priority::Low] {
                let queue = format!("{start}{}", priority.queue(name));
                all.push(Candidate { is_optional: queue != base, queue, weight: 1 });
            }
        }
    }
    if all.is_empty() {
        return Err(Error::config("this worker has no jobs; add one by `Worker::job`"));
    }
    Ok(all)
}

fn is_url(queue: &str) -> bool {
    queue.contains("://")
}

/// Returns the queues that exist, each with its weight, and their dead-letter queues. Thereby checks that the queues and the table answer.
async fn found(candidates: Vec<Candidate>, url: Option<String>, sqs: &Sqs, store: &dyn Store) -> Result<Queues, Error> {
    let set = url.map(|url| name_of(&url).to_owned());
    let looks = candidates.into_iter().map(async |Candidate { queue, weight, is_optional }| {
        let queue = name_of(&queue).to_owned();
        let dlq = match sqs.dlq_of(&queue).await {
            Err(QueueError::Refused(reason)) if is_optional => {
                tracing::info!(queue, %reason, "not polling the queue of another priority");
                return Ok(None);
            }
            answer => answer.map_err(|error| Error::queue(format!("cannot receive from queue {queue}"), error))?,
        };
        match set.clone().or(dlq) {
            Some(dlq) => Ok(Some((queue, weight, dlq))),
            None => Err(Error::config(format!(
                "queue {queue} has no dead-letter queue; add one by `sqjobs queue create {queue}`, or set SQJOBS_DLQ_URL"
            ))),
        }
    });
    let found = join_all(looks).await.into_iter().collect::<Result<Vec<_>, Error>>()?;
    let read = store.read(&["poll".to_owned()]).await.into_iter().collect::<Result<Vec<_>, _>>();
    read.map_err(|error| Error::store("cannot read the table", error))?;
    let mut queues = Queues::default();
    for (queue, weight, dlq) in found.into_iter().flatten() {
        queues.dlqs.insert(queue.clone(), dlq);
        queues.weighted.push((queue, weight));
    }
    Ok(queues)
}

/// The queues to receive from.
#[derive(Debug, Default)]
struct Queues {
    /// Their names, each with its weight.
    weighted: Vec<(String, u32)>,
    /// The dead-letter queue of each.
    dlqs: BTreeMap<String, String>,
}

/// The result of a worker that has ended.
enum Ended {
    Cleanly,
    /// A job still blocks a thread.
    Stuck,
}

/// A message, or the messages of a FIFO group, after they were handled.
struct Handled {
    queue: usize,
    /// The receipts of the messages to delete.
    done: Vec<String>,
    is_stuck: bool,
}

struct Worker {
    poll: Poll,
    sqs: Sqs,
    engine: Engine,
    /// The names of the queues, each with its weight.
    queues: Vec<(String, u32)>,
    stop: watch::Sender<Option<Limits>>,
    traces: Traces,
    /// Identifies this process in logs.
    process: String,
}

impl Worker {
    async fn run(self) -> Result<Ended, Error> {
        let signal = |kind| signal(kind).map_err(|error| Error::process("cannot listen to signals", error));
        let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let health = Arc::new(Health::new());
        if let Some(address) = self.poll.health {
            health::serve(address, Arc::clone(&health)).await?;
        }
        let mut ready = ReadyFile::create(self.poll.ready_file.as_deref())?;
        let names = self.queues.iter().map(|(queue, _)| &**queue).collect::<Vec<_>>().join(", ");
        tracing::info!(queues = names, concurrency = self.poll.concurrency, process = self.process, "polling");
        let shared = Shared::new(&self.engine, Instant::now() + NEVER);
        let mut state = State::new(&self, &shared);
        let mut exports = interval(EXPORT);
        let mut ledger = std::pin::pin!(shared.ledger.drive());
        loop {
            state.receive();
            state.delete();
            health.set_running(state.running.len());
            if state.has_ended() {
                break;
            }
            let wake_at = state.wake_at();
            tokio::select! { biased;
                never = &mut ledger => match never {},
                name = next_signal(&mut signals) => {
                    state.signalled(name);
                    health.stops();
                }
                Some(handled) = state.running.next() => state.handled(handled),
                Some((turn, received)) = state.receiving.next() => {
                    if received.is_ok() {
                        health.answered();
                    }
                    state.received(turn, received);
                }
                Some(()) = state.returning.next() => {}
                Some((queue, left)) = state.deleting.next() => state.delete_later(queue, left, DELETE_PAUSE),
                () = sleep_until(wake_at) => {}
                _ = exports.tick() => {
                    state.check_memory();
                    let traces = self.traces.clone();
                    tokio::spawn(async move { traces.flush(Instant::now() + EXPORT).await });
                }
            }
            if state.receiving.is_empty() {
                health.answered(); // all slots are taken, or the worker ends
            }
            if state.ending.is_some() {
                ready.remove();
            }
        }
        self.engine.store.flush().await;
        self.traces.flush(Instant::now() + EXPORT).await;
        tracing::info!(messages = state.taken, process = self.process, "stopped");
        Ok(if state.is_stuck { Ended::Stuck } else { Ended::Cleanly })
    }
}

/// Waits for a signal, and returns its name.
async fn next_signal([terminate, interrupt]: &mut [Signal; 2]) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

type Pending<'a, T> = FuturesUnordered<BoxFuture<'a, T>>;

/// The state of a worker: what it has received, and what it does with it.
struct State<'a> {
    worker: &'a Worker,
    shared: &'a Shared<'a>,
    turns: Turns,
    receiving: Pending<'a, (Turn, Result<Vec<Message>, QueueError>)>,
    running: Pending<'a, Handled>,
    /// Requests that return messages.
    returning: Pending<'a, ()>,
    /// Requests that delete messages. Each returns the messages to delete again.
    deleting: Pending<'a, (usize, Vec<Done>)>,
    /// The messages to delete, by the place of their queue.
    done: BTreeMap<usize, Vec<Done>>,
    delete_at: Option<Instant>,
    /// Number of slots that neither a job nor an open receive has.
    free: usize,
    /// Number of messages that open receives may bring.
    open: usize,
    /// Number of messages that were taken.
    taken: u64,
    /// The queues that had no messages since the last job ended.
    empty: BTreeSet<usize>,
    /// The reason why no more messages are taken.
    ending: Option<&'static str>,
    signals: u32,
    is_stuck: bool,
}

impl<'a> State<'a> {
    fn new(worker: &'a Worker, shared: &'a Shared<'a>) -> Self {
        Self {
            worker,
            shared,
            turns: Turns::new(worker.poll.order, worker.queues.iter().map(|(_, weight)| *weight)),
            receiving: Pending::new(),
            running: Pending::new(),
            returning: Pending::new(),
            deleting: Pending::new(),
            done: BTreeMap::new(),
            delete_at: None,
            free: usize::from(worker.poll.concurrency),
            open: 0,
            taken: 0,
            empty: BTreeSet::new(),
            ending: None,
            signals: 0,
            is_stuck: false,
        }
    }

    fn name(&self, queue: usize) -> &'a str {
        &self.worker.queues[queue].0
    }

    /// Opens receives while slots are free.
    fn receive(&mut self) {
        let drains = self.worker.poll.drain;
        if drains && self.running.is_empty() && self.receiving.is_empty() && self.empty.len() == self.worker.queues.len() {
            self.end("the queues are empty");
        }
        while self.ending.is_none() && !self.is_isolating() {
            // The other queues are asked once more before the worker ends.
            if drains && self.running.is_empty() && !self.empty.is_empty() && !self.receiving.is_empty() {
                return;
            }
            let Some(turn) = self.turns.next(self.room(), Instant::now()) else { return };
            self.free -= turn.max;
            self.open += turn.max;
            let (sqs, queue, visibility) = (&self.worker.sqs, self.name(turn.queue), self.worker.poll.visibility);
            let wait = if drains { DRAIN_WAIT } else { turn.wait };
            let receive = async move { (turn, sqs.receive_within(queue, turn.max, visibility, wait).await) };
            self.receiving.push(receive.boxed());
        }
    }

    /// Returns `true` while a job runs alone, or waits for it.
    fn is_isolating(&self) -> bool {
        self.worker.engine.polling.as_ref().is_some_and(|polling| polling.isolation.try_read().is_err())
    }

    /// Returns the number of messages that may still be received.
    fn room(&self) -> usize {
        let left = self.worker.poll.max_jobs.map(|most| usize::try_from(most.saturating_sub(self.taken)).unwrap_or(usize::MAX));
        left.map_or(self.free, |left| self.free.min(left.saturating_sub(self.open)))
    }

    fn received(&mut self, turn: Turn, received: Result<Vec<Message>, QueueError>) {
        self.free += turn.max;
        self.open -= turn.max;
        let queue = self.name(turn.queue);
        match received {
            Ok(messages) => {
                self.turns.answered(turn.queue, messages.len());
                if messages.is_empty() {
                    self.empty.insert(turn.queue);
                } else if self.ending.is_some() {
                    self.give_back(queue, &messages);
                } else {
                    self.empty.clear();
                    self.take(turn.queue, messages);
                }
            }
            Err(error) => {
                let wait = self.turns.failed(turn.queue, Instant::now());
                tracing::error!(queue, %error, retry_in_s = wait.as_secs_f64(), "cannot receive messages");
            }
        }
    }

    /// Runs the jobs of messages.
    fn take(&mut self, queue: usize, messages: Vec<Message>) {
        self.taken += u64::try_from(messages.len()).unwrap_or(u64::MAX);
        let is_fifo = is_fifo(self.name(queue));
        let mut batches: Vec<Vec<Message>> = Vec::new();
        for message in messages {
            match batches.iter_mut().find(|batch| is_fifo && batch[0].group == message.group) {
                Some(batch) => batch.push(message),
                None => batches.push(vec![message]),
            }
        }
        for batch in batches {
            self.free -= 1;
            self.running.push(handle(self.worker, self.shared, queue, batch).boxed());
        }
        if self.worker.poll.max_jobs.is_some_and(|most| self.taken >= most) {
            self.end("the maximum number of jobs is reached");
        }
    }

    fn handled(&mut self, Handled { queue, done, is_stuck }: Handled) {
        self.free += 1;
        self.empty.clear();
        self.delete_later(queue, done.into_iter().map(|receipt| Done { receipt, tries: 0 }).collect(), GATHER);
        if is_stuck && !self.is_stuck {
            self.is_stuck = true;
            self.end("a job blocks its thread");
            self.limit(self.worker.poll.grace.min(BLOCKED_GRACE));
        }
        self.check_memory();
    }

    /// Ends if the process has too much memory, but not before it has taken a message.
    fn check_memory(&mut self) {
        if let Some(most) = self.worker.poll.max_memory
            && self.taken > 0
            && memory_mib().is_ok_and(|memory| memory > most)
        {
            self.end("the maximum memory is reached");
        }
    }

    fn delete_later(&mut self, queue: usize, done: Vec<Done>, wait: Duration) {
        if !done.is_empty() {
            self.done.entry(queue).or_default().extend(done);
            self.delete_at.get_or_insert_with(|| Instant::now() + wait);
        }
    }

    /// Deletes the messages of ended jobs, many in one request.
    fn delete(&mut self) {
        let is_time = self.delete_at.is_some_and(|at| at <= Instant::now());
        for (queue, done) in &mut self.done {
            while done.len() >= DELETES || is_time && !done.is_empty() {
                let done = done.split_off(done.len().saturating_sub(DELETES));
                self.deleting.push(delete(self.worker, *queue, done).boxed());
            }
        }
        self.done.retain(|_, done| !done.is_empty());
        if self.done.is_empty() {
            self.delete_at = None;
        }
    }

    /// Makes messages visible again that arrived after the end.
    fn give_back(&self, queue: &'a str, messages: &[Message]) {
        let change = |message: &Message| Visibility { receipt: message.receipt.clone(), timeout: Duration::ZERO };
        let changes: Vec<_> = messages.iter().map(change).collect();
        let (sqs, visibility) = (&self.worker.sqs, self.worker.poll.visibility);
        let give = async move {
            for error in sqs.set_visibility(queue, &changes).await.into_iter().filter_map(Result::err) {
                tracing::warn!(queue, %error, "cannot return a message; it is visible again within {} s", visibility.as_secs());
            }
        };
        self.returning.push(give.boxed());
    }

    /// Reacts to a signal: the first ends the receives, the second interrupts all jobs, the third gives up open receives.
    fn signalled(&mut self, signal: &'static str) {
        self.signals += 1;
        match self.signals {
            1 => {
                self.end(signal);
                self.limit(self.worker.poll.grace);
            }
            2 => {
                tracing::warn!(signal, running = self.running.len(), "interrupting all jobs");
                self.limit(Duration::ZERO);
            }
            _ => {
                let seconds = self.worker.poll.visibility.as_secs();
                tracing::warn!(signal, "giving up open receives: messages that they have taken are visible again in {seconds} s");
                self.receiving.clear();
            }
        }
    }

    /// Takes no more messages.
    fn end(&mut self, reason: &'static str) {
        if self.ending.is_none() {
            tracing::info!(reason, running = self.running.len(), process = self.worker.process, "stopping");
            self.ending = Some(reason);
        }
    }

    /// Asks all jobs to stop, and stops those that still run after this time.
    fn limit(&self, grace: Duration) {
        let now = Instant::now();
        let stop_at = self.worker.stop.borrow().map_or(now + grace, |earlier| earlier.stop_at.min(now + grace));
        self.worker.stop.send_replace(Some(Limits { ask_to_stop_at: now, stop_at }));
    }

    fn has_ended(&self) -> bool {
        let has_ended = self.running.is_empty() && self.receiving.is_empty() && self.returning.is_empty();
        self.ending.is_some() && has_ended && self.deleting.is_empty() && self.done.is_empty()
    }

    /// Returns the next instant at which there is something to do without an event.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        // A turn that is due has no free slot.
        let retry_at = self.turns.retry_at().filter(|at| *at > now);
        [self.delete_at, retry_at].into_iter().flatten().min().unwrap_or(now + EXPORT)
    }
}

/// A message to delete.
struct Done {
    receipt: String,
    /// Number of requests so far.
    tries: u32,
}

/// Deletes messages with one request. Returns those to delete again.
async fn delete(worker: &Worker, queue: usize, done: Vec<Done>) -> (usize, Vec<Done>) {
    let receipts: Vec<_> = done.iter().map(|done| done.receipt.clone()).collect();
    let name = &*worker.queues[queue].0;
    let mut left = Vec::new();
    for (answer, Done { receipt, tries }) in worker.sqs.delete(name, &receipts).await.into_iter().zip(done) {
        match answer {
            Ok(()) => {}
            Err(QueueError::Unknown(_)) if tries + 1 < DELETE_TRIES => left.push(Done { receipt, tries: tries + 1 }),
            Err(error) => {
                let outcome = "it comes back, and is discarded if the job has a record";
                tracing::warn!(queue = name, %error, "cannot delete the message of an ended job; {outcome}");
            }
        }
    }
    (queue, left)
}

/// Handles a batch.
async fn handle(worker: &Worker, shared: &Shared<'_>, queue: usize, messages: Vec<Message>) -> Handled {
    let receipts: Vec<_> = messages.iter().map(|message| (message.id.clone(), message.receipt.clone())).collect();
    let invocation = Invocation { request_id: worker.process.clone(), ends_at: Instant::now() + NEVER };
    let report = worker.engine.handle_beside_others(messages, &invocation, shared).await;
    let is_done = |id: &String| !report.stuck && !report.failures.contains(id); // a stuck worker has deleted them
    let done = receipts.into_iter().filter(|(id, _)| is_done(id)).map(|(_, receipt)| receipt).collect();
    Handled { queue, done, is_stuck: report.stuck }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(poll: &Poll, url: Option<&str>) -> Result<Vec<(String, bool)>, String> {
        let found = candidates(poll, &Jobs::default(), url.map(str::to_owned), "live-").map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|candidate| (candidate.queue, candidate.is_optional)).collect())
    }

    #[test]
    fn named_queues_have_the_prefix_and_must_exist() {
        let poll = Poll::new().queue("a").queue("https://sqs.eu-west-1.amazonaws.com/1/b");
        let expected = [("live-a", false), ("https://sqs.eu-west-1.amazonaws.com/1/b", false)].map(|(name, is)| (name.to_owned(), is));
        assert_eq!(queues(&poll, Some("https://sqs.eu-west-1.amazonaws.com/1/c")), Ok(expected.to_vec()));
        let twice = Poll::new().queue("a").queue("https://sqs.eu-west-1.amazonaws.com/1/live-a");
        assert_eq!(queues(&twice, None), Err("queue live-a is named twice".to_owned()));
    }

    #[test]
    fn without_names_a_worker_has_the_queues_of_its_function() {
        let url = |name: &str| format!("https://sqs.eu-west-1.amazonaws.com/1/{name}");
        let expected = [("live-c-high", true), ("live-c", false), ("live-c-low", true)].map(|(name, is)| (url(name), is));
        assert_eq!(queues(&Poll::new(), Some(&url("live-c"))), Ok(expected.to_vec()));
        assert!(queues(&Poll::new(), None).expect_err("no jobs").contains("`Worker::job`"));
    }

    #[test]
    fn a_setting_out_of_its_range_is_refused_with_its_range() {
        let refused = |poll: Poll| poll.check().expect_err("it is refused").to_string();
        assert!(refused(Poll::new().concurrency(0)).contains("at least 1"));
        assert!(refused(Poll::new().weighted_queue("a", 0)).contains("queue a has the weight 0"));
        assert!(refused(Poll::new().visibility(Duration::from_secs(14))).contains("15 s to 12 hours"));
        assert!(refused(Poll::new().grace(Duration::MAX)).contains("at most 12 hours"));
        assert!(Poll::new().check().is_ok());
    }
}
