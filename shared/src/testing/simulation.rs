//! Runs jobs under many faults, repeatably. The worker and the beater are those of production; the queues and the table are in
//! memory. The network loses, delays and repeats requests, processes die at any await, and clocks differ and jump. Time is
//! virtual, so a day takes a moment. All choices come from one seed, so a failed run can be repeated.

mod graph;
mod keyed;
mod network;
mod process;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fastrand::Rng;
use futures_util::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use tokio::{runtime, time::Instant};

pub use self::{
    graph::{connected, workflow},
    keyed::keyed,
};
use self::{
    graph::{declared, id_of, sent},
    keyed::replaces,
    process::{Beater, Cloud, Function, Operator, Producer},
    table::Table,
    watch::{Run, Step, Stop, Watch},
};
use crate::{
    Client, Clock, Dlq, Enqueue, Record, State, Worker,
    queue::{self, Message},
    store::{self, Index},
    worker::DLQ,
};

/// Maximum virtual duration of a run. Jobs that have not ended by then are stuck.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// The instant at which each run starts.
fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(56 * 8766)
}

/// One run: a seed and the possible faults. Equal seeds, faults and jobs give the same run.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sqjobs::{Arguments, Context, Enqueue, Job, JobError, Worker, testing::simulation::Simulation};
///
/// #[derive(Serialize, Deserialize)]
/// struct Greet(String);
///
/// impl Arguments for Greet {
///     const NAME: &'static str = "greet";
/// }
///
/// impl Job for Greet {
///     type Output = String;
///
///     async fn run(&self, _ctx: &Context) -> Result<String, JobError> {
///         Ok(format!("Hello, {}!", self.0))
///     }
/// }
///
/// let jobs = || ["Ada", "Grace"].map(|name| Enqueue::named("greet", name.into()).id(name));
/// for seed in 0..20 {
///     let ended = Simulation::new(seed).run(|| Worker::new(()).job::<Greet>(), jobs());
///     assert_eq!(ended.flaws(), Vec::<String>::new(), "seed {seed}");
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "nothing happens until it runs"]
pub struct Simulation {
    seed: u64,
    functions: usize,
    beaters: usize,
    changes: usize,
    longest: Duration,
    faults: Faults,
}

/// The probability of each fault, from 0 (never) to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Faults {
    /// A process dies at a random moment of an invocation.
    pub crash: f64,
    /// A message is delivered a second time while the first delivery is being handled.
    pub duplicate: f64,
    /// The delete of a message takes effect late: the message is delivered once more, up to an hour later.
    pub late_delete: f64,
    /// A request takes up to four seconds, longer than any client waits.
    pub delay: f64,
    /// A request is refused as throttled.
    pub throttle: f64,
    /// A request is executed, but its response is lost.
    pub lost_answer: f64,
    /// A request never arrives.
    pub lost_request: f64,
    /// Parts of a batch request are executed, and others are not.
    pub partial: f64,
    /// A request is executed again, up to a minute later.
    pub repeat: f64,
    /// A process loses its network for up to a minute.
    pub partition: f64,
    /// The clock of a process jumps, within the allowed difference of clocks.
    pub jump: f64,
}

impl Faults {
    /// No faults.
    pub const NONE: Self = Self {
        crash: 0.0,
        duplicate: 0.0,
        late_delete: 0.0,
        delay: 0.0,
        throttle: 0.0,
        lost_answer: 0.0,
        lost_request: 0.0,
        partial: 0.0,
        repeat: 0.0,
        partition: 0.0,
        jump: 0.0,
    };

    fn parts(&mut self) -> [&mut f64; 11] {
        let Self { crash, duplicate, late_delete, delay, throttle, lost_answer, lost_request, partial, repeat, partition, jump } = self;
        [crash, duplicate, late_delete, delay, throttle, lost_answer, lost_request, partial, repeat, partition, jump]
    }
}

impl Default for Faults {
    /// Returns far more faults than in any real week.
    fn default() -> Self {
        Self {
            crash: 0.15,
            duplicate: 0.2,
            late_delete: 0.2,
            delay: 0.02,
            throttle: 0.04,
            lost_answer: 0.03,
            lost_request: 0.02,
            partial: 0.03,
            repeat: 0.03,
            partition: 0.2,
            jump: 0.1,
        }
    }
}

/// The result of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Simulated {
    /// Every record, sorted by id.
    pub records: Vec<Record>,
    /// The messages in the dead-letter queue.
    pub letters: Vec<Message>,
    /// The virtual duration of the run.
    pub took: Duration,
    /// Number of faults that happened.
    pub faults: usize,
    /// A hash of all steps; equal runs have equal hashes.
    pub course: u64,
    jobs: Vec<Enqueue>,
    runs: Vec<Run>,
    steps: Vec<Step>,
    cancelled: BTreeSet<String>,
    retried: BTreeSet<String>,
    stops: Vec<Stop>,
    left: usize,
}

/// The random choices, shared by all parts of a run.
#[derive(Debug)]
struct Fate {
    rng: Rng,
    faults: Faults,
    happened: usize,
    course: u64,
    calm: bool,
}

/// A handle to the random choices; cheap to clone.
#[derive(Debug, Clone)]
struct Dice(Arc<Mutex<Fate>>);

impl Dice {
    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws a fault with this probability. Returns `true` if it happens.
    fn happens(&self, likely: impl Fn(&Faults) -> f64) -> bool {
        let mut fate = self.fate();
        let happens = fate.rng.f64() < likely(&fate.faults) && !fate.calm;
        fate.happened += usize::from(happens);
        happens
    }

    fn between(&self, least: Duration, most: Duration) -> Duration {
        let share = self.fate().rng.f64();
        least + (most.saturating_sub(least)).mul_f64(share)
    }

    /// Adds a step to the hash of the run.
    fn note(&self, step: &str, at: Instant, since: Instant) {
        let mut fate = self.fate();
        let at = at.duration_since(since).as_millis();
        for byte in step.bytes().chain(at.to_le_bytes()) {
            fate.course = (fate.course ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Simulation {
    /// Creates a run with two functions, two beaters and many faults.
    pub fn new(seed: u64) -> Self {
        Self { seed, functions: 2, beaters: 2, changes: 0, longest: LONGEST, faults: Faults::default() }
    }

    /// Sets the faults and their probabilities.
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Sets the number of concurrent functions.
    pub fn functions(self, functions: usize) -> Self {
        Self { functions: functions.max(1), ..self }
    }

    /// Makes an operator cancel or retry jobs that many times, at random moments. Every job must have an id.
    pub fn changes(self, changes: usize) -> Self {
        Self { changes, ..self }
    }

    /// Enqueues the jobs and runs them until they end, or for thirty days of virtual time. `worker` creates the worker of one process. Jobs
    /// with an id that [replace](crate::OnConflict::Replace) the arguments of others are enqueued during the run. For repeatable runs, jobs must not start threads, and must not read other clocks or random numbers.
    ///
    /// In runs with even seeds, beaters do not look at jobs that others block, so that this cannot hide a lost release.
    ///
    /// # Panics
    ///
    /// When called inside a Tokio runtime, since it starts its own, or when a job cannot be enqueued.
    pub fn run<S: Send + Sync + 'static>(&self, worker: impl Fn() -> Worker<S>, jobs: impl IntoIterator<Item = Enqueue>) -> Simulated {
        self.run_on(|table| Arc::new(table), worker, jobs)
    }

    /// `reach` returns the table as processes reach it.
    fn run_on<S: Send + Sync + 'static>(
        &self,
        reach: impl FnOnce(Table) -> Arc<dyn Index>,
        worker: impl Fn() -> Worker<S>,
        jobs: impl IntoIterator<Item = Enqueue>,
    ) -> Simulated {
        fastrand::seed(self.seed);
        let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(self.course(reach, &|| worker().jobs().clone(), jobs.into_iter().collect()))
    }

    /// Shrinks a failed run: removes faults, changes and functions while it still `fails`.
    pub fn shrink(self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut smallest = self;
        for part in 0..smallest.faults.parts().len() {
            let mut smaller = smallest;
            *smaller.faults.parts()[part] = 0.0;
            if fails(&smaller) {
                smallest = smaller;
            }
        }
        let calmer = Self { changes: 0, ..smallest };
        if calmer != smallest && fails(&calmer) {
            smallest = calmer;
        }
        for smaller in [Self { functions: 1, ..smallest }, Self { beaters: 1, ..smallest }, Self { functions: 1, beaters: 1, ..smallest }] {
            if smaller != smallest && fails(&smaller) {
                smallest = smaller;
            }
        }
        smallest
    }

    async fn course(
        &self,
        reach: impl FnOnce(Table) -> Arc<dyn Index>,
        jobs: &dyn Fn() -> crate::worker::Jobs,
        enqueued: Vec<Enqueue>,
    ) -> Simulated {
        let start = start();
        let fate = Fate { rng: Rng::with_seed(self.seed), faults: self.faults, happened: 0, course: 0xcbf2_9ce4_8422_2325, calm: false };
        let since = Instant::now();
        let clock = Clock::running(start, since);
        let table = Table {
            store: store::Memory::new(),
            queue: queue::Memory::new(clock.clone()),
            watch: Watch::default(),
            start,
            hides_blocked: self.seed.is_multiple_of(2),
        };
        let world = Cloud {
            since,
            dice: Dice(Arc::new(Mutex::new(fate))),
            queue: table.queue.clone(),
            store: table.store.clone(),
            watch: table.watch.clone(),
            table: reach(table),
            late: Mutex::default(),
            start,
        };
        let client = Client::new(Arc::new(world.queue.clone()), Arc::new(world.store.clone()), clock, "");
        let (late, first): (Vec<_>, Vec<_>) = enqueued.into_iter().partition(replaces);
        let answers = client.enqueue_many(first.clone()).await;
        let given = first.into_iter().zip(answers);
        let mut enqueued: Vec<_> = given.map(|(job, answer)| job.id(answer.expect("a job that can be enqueued").id)).collect();
        world.send_dropped(&enqueued).await;
        enqueued.extend(late.iter().cloned());
        let workflows: Vec<_> = enqueued.iter().filter(|job| !job.envelope().jobs.is_empty()).map(|job| id_of(job).to_owned()).collect();
        let each = |of: fn(&Enqueue, Timestamp) -> Vec<Enqueue>| {
            // The same message may be enqueued twice.
            let mut ids = BTreeSet::new();
            enqueued.iter().flat_map(|job| of(job, start)).filter(|job| ids.insert(id_of(job).to_owned())).collect::<Vec<_>>()
        };
        let (sent, enqueued) = (each(sent), each(declared));
        let functions = (0..self.functions).map(|_| Function::new(&world, jobs));
        let beaters = (0..self.beaters).map(|_| Beater::new(&world));
        let operator = Operator { world: &world, jobs: &sent, workflows: &workflows, changes: self.changes };
        let producer = Producer { world: &world, jobs: late };
        let work = async {
            tokio::select! { biased;
                () = async { Box::pin(join(operator.live(), producer.live())).await; world.ended(&enqueued).await } => true,
                _ = join_all(functions.map(Function::live)) => false,
                _ = join_all(beaters.map(Beater::live)) => false,
            }
        };
        tokio::time::timeout(self.longest, Box::pin(work)).await.ok();
        let took = Instant::now().duration_since(world.since);
        let left = world.messages().count();
        let fate = world.dice.fate();
        Simulated {
            records: world.store.records(),
            letters: world.queue.messages(DLQ),
            took,
            faults: fate.happened,
            course: fate.course,
            runs: world.watch.runs(),
            steps: world.watch.steps(),
            cancelled: world.watch.cancelled(),
            retried: world.watch.retried(),
            stops: world.watch.stops(),
            jobs: enqueued,
            left,
        }
    }
}

impl Simulated {
    /// Returns all violated guarantees: jobs that are lost or stuck, that had two concurrent attempts, that ran after they had ended,
    /// that did not wait for the jobs that they depend on, that started although a key was full, or that ran with arguments that were
    /// replaced. The guarantees that
    /// [`Recording::OnTrouble`](crate::Recording::OnTrouble) gives up are not checked.
    pub fn flaws(&self) -> Vec<String> {
        let mut flaws = Vec::new();
        if self.left > 0 {
            flaws.push(format!("{} messages are left in the queues after {:?}", self.left, self.took));
        }
        for run in self.runs.iter().filter(|run| !self.jobs.iter().any(|job| id_of(job) == run.id)) {
            flaws.push(format!("{} ran, although nobody enqueued it: {run}", run.id));
        }
        for job in &self.jobs {
            let id = id_of(job);
            match self.records.iter().find(|record| record.id == id) {
                None if self.runs.iter().any(|run| run.id == id && run.succeeded && run.unrecorded) => {}
                _ if self.is_unsent(job) => {}
                None => flaws.push(format!("{id} is lost: there is no record of it")),
                Some(record) if !record.state.is_terminal() && record.state != State::Blocked => {
                    flaws.push(format!("{id} is stuck as {}", record.state.as_str()));
                }
                Some(record) => {
                    self.judge(record, &mut flaws);
                    self.judge_waiting(job, record, &mut flaws);
                }
            }
        }
        self.judge_keys(&mut flaws);
        flaws
    }

    /// Returns `true` for a job of a workflow whose closing job was cancelled before all jobs were sent.
    fn is_unsent(&self, job: &Enqueue) -> bool {
        let Some(whole) = &job.envelope().parent_id else { return false };
        let is_cancelled = self.records.iter().any(|record| record.id == *whole && record.state == State::Cancelled);
        is_cancelled && !self.steps.iter().any(|step| step.id == *whole && step.state == State::Blocked)
    }

    fn judge(&self, record: &Record, flaws: &mut Vec<String>) {
        let (unrecorded, runs): (Vec<_>, Vec<_>) = self.runs.iter().filter(|run| run.id == record.id).partition(|run| run.unrecorded);
        let id = &record.id;
        for (number, run) in runs.iter().enumerate() {
            if let Some(other) = runs[number + 1..].iter().find(|other| other.started < run.ended && run.started < other.ended) {
                flaws.push(format!("{id} had two runners at once: {run} and {other}"));
            }
            if let Some(other) = runs[number + 1..].iter().find(|other| other.generation == run.generation) {
                flaws.push(format!("{id} ran twice under one claim: {run} and {other}"));
            }
            if run.generation > record.generation {
                flaws.push(format!("{id} ran under a claim that was never made: {run}"));
            }
        }
        let finishes = |run: &Run| run.generation == record.generation && run.succeeded;
        let finishing = runs.iter().filter(|run| finishes(run)).count();
        // A run that started without a claim may have claimed later.
        let is_claimed_late = finishing == 0 && unrecorded.iter().any(|run| finishes(run));
        if record.state == State::Succeeded && finishing != 1 && !is_claimed_late {
            flaws.push(format!("{id} has succeeded by {finishing} runs"));
        }
        if let Some(late) = runs.iter().find(|run| run.generation != record.generation && run.started > self.last_of(record)) {
            flaws.push(format!("{id} ran after it had ended: {late}"));
        }
        if let Some(stop) = self.stops.iter().find(|stop| stop.ids.contains(id)) {
            let first = self.runs.iter().filter(|run| run.id == *id).map(|run| run.started).min();
            if let Some(first) = first.filter(|first| *first > stop.at && stop.until.is_none_or(|until| *first < until)) {
                flaws.push(format!("{id} ran at {first:?}, although its workflow was cancelled at {:?}", stop.at));
            }
        }
        if record.state == State::Failed && !self.letters.iter().any(|letter| letter.attributes.get("sqjobs.id") == Some(id)) {
            flaws.push(format!("{id} has failed and has no dead letter"));
        }
        if record.dlq == Some(Dlq::Pending) {
            flaws.push(format!("{id} has failed and still owes its dead letter"));
        }
    }

    /// Returns the start of the last claimed attempt of a job.
    fn last_of(&self, record: &Record) -> Duration {
        let last = self.runs.iter().filter(|run| run.id == record.id && run.generation == record.generation);
        last.map(|run| run.started).max().unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, functions, beaters, changes, faults, .. } = self;
        write!(f, "seed {seed}, {functions} functions, {beaters} beaters, {changes} changes, {faults:?}")
    }
}
