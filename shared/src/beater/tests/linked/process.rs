//! A process: its kind, and the answers that it has got so far. They determine its next request.

use std::{
    collections::{BTreeSet, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::runtime::{self, Handle, Runtime};

use super::{
    super::super::{letters::explain, repair::repair},
    port::{Answer, Gate, Request},
    world::tokens,
    *,
};
use crate::{
    Arguments, Client, Clock, Context, Enqueue, Job, JobError, Policy, Record, Worker,
    queue::{MAX_VISIBILITY, Message},
    stats::Counter,
    worker::{Engine, Invocation, Jobs},
};

/// Lease of an attempt. It is longer than the time for which a key is held without a claim.
const LEASE: Duration = Duration::from_mins(5);
/// Maximum duration of a process.
const LONGEST: Duration = Duration::from_mins(15);

/// A process, and its input.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A worker gets a message. `knows` is `false` if it is of a version that does not know the job.
    Deliver { number: u8, message: Message, knows: bool },
    /// A beater finds this job in the due index.
    Beat(String),
    /// A beater finds this record in its slow scan.
    Scan(Box<Record>),
    /// A beater finds this message, which SQS has moved to the dead-letter queue.
    Explain(Message),
    /// An operator cancels this job.
    Cancel(String),
    /// An operator runs a job again, with or without its dependencies.
    Retry(Box<Enqueue>),
}

/// The next step of a process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Asks(Request),
    /// It has ended. `deletes` is `true` if the message that it got is deleted.
    Ends {
        deletes: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) kind: Arc<Kind>,
    /// The prefix of its tokens. No other token has it.
    pub(super) prefix: String,
    /// The minute of its start.
    at: i64,
    answers: Vec<Arc<Answer>>,
    digest: u64,
    /// The tokens that it has seen.
    pub(super) tokens: BTreeSet<String>,
    pub(super) step: Arc<Step>,
    /// The requests that a broken rule holds back.
    pub(super) held: Option<Request>,
    /// `true` if the held request is next.
    pub(super) is_due: bool,
    /// `true` if A had ended when it started, or if it has written the end of A.
    pub(super) has_ended: bool,
}

impl Process {
    pub(super) fn start(kind: Kind, prefix: String, at: i64, replays: &Replays) -> Self {
        let digest = digest_of(&(&prefix, at, format!("{kind:?}")));
        let tokens = if let Kind::Scan(record) = &kind { tokens(record).map(str::to_owned).collect() } else { BTreeSet::new() };
        let (kind, step) = (Arc::new(kind), Arc::new(Step::Ends { deletes: false }));
        let process = Self { kind, prefix, at, answers: Vec::new(), digest, tokens, step, held: None, is_due: false, has_ended: false };
        process.next(replays)
    }

    /// Continues with an answer.
    pub(super) fn answered(mut self, answer: Answer, replays: &Replays) -> Self {
        self.digest = digest_of(&(self.digest, &answer));
        self.tokens.extend(answer.records().flat_map(tokens).map(str::to_owned));
        self.answers.push(Arc::new(answer));
        self.next(replays)
    }

    fn next(self, replays: &Replays) -> Self {
        thread_local! {
            static RUNTIME: Runtime =
                runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        }
        let step = replays.get(self.digest, || Arc::new(RUNTIME.with(|runtime| runtime.block_on(self.run()))));
        Self { step, ..self }
    }

    async fn run(&self) -> Step {
        let gate = Arc::new(Gate::new(Arc::clone(&self.kind), self.prefix.clone(), &self.answers));
        tokio::select! { biased;
            deletes = act(&self.kind, &gate, Clock::frozen(minute(self.at))) => Step::Ends { deletes },
            request = gate.stopped() => Step::Asks(request),
        }
    }
}

impl Hash for Process {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.digest, self.held.is_some(), self.is_due, self.has_ended).hash(hasher);
    }
}

/// Hashes a value.
pub(super) fn digest_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Acts as the process until its end. Returns `true` if the message is deleted.
async fn act(kind: &Kind, gate: &Arc<Gate>, clock: Clock) -> bool {
    let due = || Due { store: Arc::clone(gate) as _, queue: Arc::clone(gate) as _, clock: clock.clone() };
    let client = || Client::new(Arc::clone(gate) as _, Arc::clone(gate) as _, clock.clone(), "");
    let stop_at = Instant::now() + LONGEST;
    match kind {
        Kind::Deliver { message, knows, .. } => {
            let worker = Worker::new(Arc::clone(gate));
            let jobs = if *knows { worker.job::<Probe>().jobs().clone() } else { Jobs::default() };
            let engine = Engine {
                jobs,
                store: Arc::clone(gate) as _,
                queue: Arc::clone(gate) as _,
                prefix: String::new(),
                dlq: DLQ.into(),
                clock,
                counter: Arc::new(Counter::new("")),
                metrics: None,
                bodies: Handle::current(),
                max_concurrency: usize::MAX,
                hop: MAX_VISIBILITY,
                records_always: false,
                parks_for: Duration::ZERO, // a message that it cannot run is rejected at once
                polling: None,
            };
            let invocation = Invocation { request_id: String::new(), ends_at: stop_at };
            return engine.handle(vec![message.clone()], &invocation).await.failures.is_empty();
        }
        Kind::Beat(_) => drop(super::super::super::hand_over(&due(), clock.now(), stop_at).await),
        Kind::Scan(_) => drop(repair(&due(), 0).await),
        Kind::Explain(_) => drop(explain(&due(), &Dlqs::new(vec![DLQ.into()]), 0, stop_at).await),
        // The operator sees an error, and a beater does the rest.
        Kind::Cancel(id) => drop(client().cancel(id).await),
        Kind::Retry(job) => drop(client().retry(Enqueue::clone(job)).await),
    }
    false
}

/// The job of the model.
#[derive(Debug, Serialize, Deserialize)]
struct Probe;

impl Arguments for Probe {
    const NAME: &'static str = NAME;
}

impl Job<Arc<Gate>> for Probe {
    const POLICY: Policy = Policy::new().lease(LEASE);
    type Output = ();

    async fn run(&self, ctx: &Context<Arc<Gate>>) -> Result<(), JobError> {
        match ctx.state().run(ctx.id()).await {
            How::Succeeds => Ok(()),
            How::Fails => Err(JobError::fatal("as planned")),
            How::Retries => Err("as planned".into()),
        }
    }
}

/// Results by the digest of their input.
pub(super) struct Known<T>(Mutex<HashMap<u64, T>>);

/// The next steps of processes. Most states of the world share the states of their processes.
pub(super) type Replays = Known<Arc<Step>>;

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Known<T> {
    fn results(&self) -> MutexGuard<'_, HashMap<u64, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the known result, or computes it.
    pub(super) fn get(&self, digest: u64, find: impl FnOnce() -> T) -> T {
        if let Some(known) = self.results().get(&digest) {
            return known.clone();
        }
        let found = find();
        self.results().insert(digest, found.clone());
        found
    }

    pub(super) fn len(&self) -> usize {
        self.results().len()
    }
}
