//! Simulated functions and beaters: processes that are invoked, work, and die at any moment.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Dice,
    graph::{id_of, is_held},
    network::Network,
    watch::Watch,
};
use crate::{
    Client, Clock, Enqueue, Envelope, State,
    beater::{Dlqs, Due, Ports, rows, tick},
    lifecycle::settled,
    queue::{self, Message, Outgoing, Queue, Source},
    record::{Dlq, Record},
    stats::Counter,
    store::{self, Index},
    worker::{DLQ, Engine, Invocation, Jobs},
};

/// Slightly less than half of the allowed difference between two clocks.
const SKEW: Duration = Duration::from_millis(2_400);
/// Timeout of a function, and visibility timeout of its messages.
const TIMEOUT: Duration = Duration::from_mins(1);
const VISIBILITY: Duration = Duration::from_mins(6);
/// Maximum delay of a delete.
const LATE: Duration = Duration::from_hours(1);
/// Maximum wait of an idle function between two polls.
const IDLE: Duration = Duration::from_mins(5);
/// For this number of minutes beaters are invoked every minute, then every fifth minute.
const QUIET: u64 = 5;
/// Time after which faults stop; everything must then be repaired.
const STORM: Duration = Duration::from_hours(48);

/// Maximum pauses of an operator between two changes. Short ones let changes meet each other.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_mins(10)];
/// Maximum duration of a change that is cut short. Most of its requests end within that time.
const CUT: Duration = Duration::from_millis(120);

/// The simulated AWS.
pub(super) struct Cloud {
    pub(super) since: Instant,
    pub(super) start: Timestamp,
    pub(super) dice: Dice,
    pub(super) queue: queue::Memory,
    pub(super) store: store::Memory,
    /// The same records, as processes reach them.
    pub(super) table: Arc<dyn Index>,
    /// Deleted messages, and the instant at which each is delivered again.
    pub(super) late: Mutex<Vec<(Instant, String, Message)>>,
    pub(super) watch: Watch,
}

impl Cloud {
    fn network(&self) -> Network {
        Network { dice: self.dice.clone(), since: self.since, store: Arc::clone(&self.table), queue: self.queue.clone(), cut: None }
    }

    /// Returns a network connection, which may be cut for a while.
    fn partitioned(&self) -> Network {
        let cut = self.dice.happens(|faults| faults.partition).then(|| {
            let from = Instant::now() + self.dice.between(Duration::ZERO, TIMEOUT / 6);
            (from, from + self.dice.between(Duration::from_secs(5), TIMEOUT))
        });
        Network { cut, ..self.network() }
    }

    /// Returns the clock of a process, which deviates a little.
    fn clock(&self) -> Clock {
        let slow = Clock::running(self.start - SignedDuration::try_from(SKEW).unwrap_or_default(), self.since);
        // Extreme deviations matter most, so they are chosen often.
        let share = self.dice.between(Duration::ZERO, 4 * SKEW).saturating_sub(SKEW);
        slow.advance(share.min(2 * SKEW));
        slow
    }

    /// Takes a deleted message that is due for another delivery.
    fn late(&self) -> Option<(String, Message)> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let due = late.iter().position(|(at, ..)| *at <= Instant::now())?;
        let (_, queue, message) = late.swap_remove(due);
        Some((queue, message))
    }

    /// Sends the jobs whose unique key another one holds as a producer without the library sends them: their functions decide.
    pub(super) async fn send_dropped(&self, jobs: &[Enqueue]) {
        for job in jobs {
            let is_dropped = |record: &Record| record.error.as_ref().is_some_and(|error| error.kind == "unique");
            if self.store.get(id_of(job)).as_ref().is_some_and(is_dropped) {
                self.store.delete(id_of(job));
                self.queue.send(job.name(), &[Outgoing::new(job.envelope().to_body())]).await;
            }
        }
    }

    /// Waits until every job has ended or is held by the failure of another, its dead letter was sent, and no message is left.
    pub(super) async fn ended(&self, jobs: &[Enqueue]) {
        loop {
            sleep(IDLE).await;
            if self.since.elapsed() > STORM {
                self.dice.fate().calm = true;
            }
            let is_unsent = |job: &Enqueue| {
                job.envelope().parent_id.as_ref().is_some_and(|whole| {
                    let closing = self.store.get(whole);
                    closing.is_some_and(|closing| closing.state == State::Cancelled) && !self.watch.was_blocked(whole)
                })
            };
            let is_ended = |job: &Enqueue| match self.store.get(id_of(job)) {
                _ if is_unsent(job) => true,
                None => self.watch.succeeded_unrecorded(id_of(job)),
                Some(record) if record.state == State::Blocked => is_held(&record, &|id| self.store.get(id)),
                Some(record) => record.state.is_terminal() && record.dlq != Some(Dlq::Pending) && settled(&record).is_none(),
            };
            if jobs.iter().all(is_ended) && self.messages().next().is_none() {
                return;
            }
        }
    }

    /// Returns the messages of jobs. The message of a held job remains while the job that it waits for has no room for a dependent.
    pub(super) fn messages(&self) -> impl Iterator<Item = Message> {
        let names = self.queue.names().into_iter().filter(|name| name != DLQ);
        let is_held = |message: &Message| {
            let id = Envelope::parse(&message.body).ok().and_then(|envelope| envelope.id);
            let record = id.and_then(|id| self.store.get(&id));
            record.is_some_and(|record| record.state == State::Blocked && is_held(&record, &|id| self.store.get(id)))
        };
        names.flat_map(|name| self.queue.messages(&name)).filter(move |message| !is_held(message))
    }
}

/// A function that handles one batch at a time. After a crash, a new process continues.
pub(super) struct Function<'a> {
    world: &'a Cloud,
    jobs: &'a dyn Fn() -> Jobs,
    clock: Clock,
}

impl<'a> Function<'a> {
    pub(super) fn new(world: &'a Cloud, jobs: &'a dyn Fn() -> Jobs) -> Self {
        Self { world, jobs, clock: world.clock() }
    }

    pub(super) async fn live(mut self) {
        let mut engine = self.engine();
        loop {
            let (queue, messages) = self.batch().await;
            if self.world.dice.happens(|faults| faults.jump) {
                self.clock = self.world.clock();
                engine.clock = self.clock.clone();
            }
            let network = Arc::new(self.world.partitioned());
            (engine.store, engine.queue) = (Arc::clone(&network) as _, network);
            let taken = messages.clone();
            let invocation = Invocation { request_id: "simulated".into(), ends_at: Instant::now() + TIMEOUT };
            let work = engine.handle(messages, &invocation);
            let dies = self.world.dice.happens(|faults| faults.crash);
            let life = if dies { self.world.dice.between(Duration::ZERO, TIMEOUT / 4) } else { TIMEOUT };
            match timeout(life, work).await {
                Ok(report) if !report.stuck => {
                    let done: Vec<_> = taken.into_iter().filter(|message| !report.failures.contains(&message.id)).collect();
                    let receipts: Vec<_> = done.iter().map(|message| message.receipt.clone()).collect();
                    // A message that the platform fails to delete is delivered again.
                    self.world.network().delete(&queue, &receipts).await;
                    for message in done.into_iter().filter(|_| self.world.dice.happens(|faults| faults.late_delete)) {
                        let at = Instant::now() + self.world.dice.between(Duration::ZERO, LATE);
                        self.world.late.lock().unwrap_or_else(PoisonError::into_inner).push((at, queue.clone(), message));
                    }
                }
                _ => {
                    self.clock = self.world.clock();
                    engine = self.engine();
                }
            }
        }
    }

    fn engine(&self) -> Engine {
        let mut jobs = Jobs::default();
        for job in (self.jobs)().all() {
            jobs.add(self.world.watch.around(job));
        }
        let network = Arc::new(self.world.network());
        Engine {
            prefix: String::new(),
            jobs,
            store: Arc::clone(&network) as _,
            queue: network,
            dlq: DLQ.into(),
            clock: self.clock.clone(),
            counter: Arc::new(Counter::new("simulated")),
            metrics: None,
            bodies: Handle::current(),
            max_concurrency: usize::MAX,
            hop: queue::MAX_VISIBILITY,
            records_always: false,
            parks_for: Duration::from_hours(24),
            polling: None,
        }
    }

    /// Waits for messages.
    async fn batch(&self) -> (String, Vec<Message>) {
        loop {
            if let Some((queue, message)) = self.world.late() {
                return (queue, vec![message]);
            }
            let queues: Vec<_> = self.world.queue.names().into_iter().filter(|name| name != DLQ).collect();
            for queue in &queues {
                let size = 1 + self.world.dice.fate().rng.usize(..10);
                let messages = self.world.queue.receive(queue, size, VISIBILITY).await.unwrap_or_default();
                if messages.is_empty() {
                    continue;
                }
                let twice = messages.iter().filter(|_| self.world.dice.happens(|faults| faults.duplicate));
                // Another function receives them too.
                let again = |message: &Message| queue::Visibility { receipt: message.receipt.clone(), timeout: Duration::ZERO };
                self.world.queue.set_visibility(queue, &twice.map(again).collect::<Vec<_>>()).await;
                return (queue.clone(), messages);
            }
            sleep(self.world.dice.between(Duration::from_secs(1), IDLE / 10)).await;
        }
    }
}

/// A beater that is invoked each minute.
pub(super) struct Beater<'a> {
    world: &'a Cloud,
}

impl<'a> Beater<'a> {
    pub(super) fn new(world: &'a Cloud) -> Self {
        Self { world }
    }

    pub(super) async fn live(self) {
        for minute in 0.. {
            // Two beaters may be invoked for the same minute or for different ones.
            let late = self.world.dice.between(Duration::ZERO, Duration::from_secs(20));
            if minute > QUIET && !minute.is_multiple_of(5) {
                continue; // most ticks find nothing to do
            }
            sleep_until(self.world.since + Duration::from_mins(minute) + late).await;
            let network = Arc::new(self.world.network());
            let clock = self.world.clock();
            let due = Due { store: Arc::clone(&network) as _, queue: network, clock };
            let rows = Arc::new(rows::Memory::new(self.world.store.clone()));
            let ports = Ports { due, rows, prefix: String::new(), dlqs: Arc::new(Dlqs::new(vec![DLQ.into()])) };
            let at = self.world.start + SignedDuration::from_mins(i64::try_from(minute).unwrap_or(0));
            let dies = self.world.dice.happens(|faults| faults.crash);
            let life = if dies { self.world.dice.between(Duration::ZERO, Duration::from_secs(2)) } else { TIMEOUT };
            timeout(life, tick(&ports, at, Instant::now() + TIMEOUT)).await.ok();
        }
    }
}

/// A producer that enqueues jobs during the run, in order, with a client or as plain messages. It repeats what fails.
pub(super) struct Producer<'a> {
    pub(super) world: &'a Cloud,
    pub(super) jobs: Vec<Enqueue>,
}

impl Producer<'_> {
    pub(super) async fn live(self) {
        let dice = &self.world.dice;
        for job in &self.jobs {
            let longest = PAUSES[dice.fate().rng.usize(..PAUSES.len())];
            sleep(dice.between(Duration::ZERO, longest)).await;
            let has_client = dice.fate().rng.bool();
            while !self.enqueue(job, has_client).await {}
        }
    }

    async fn enqueue(&self, job: &Enqueue, has_client: bool) -> bool {
        let network = Arc::new(self.world.partitioned());
        if !has_client {
            return network.send(job.name(), &[Outgoing::new(job.envelope().to_body())]).await.iter().all(Result::is_ok);
        }
        let client = Client::new(Arc::clone(&network) as _, network, self.world.clock(), "");
        let dies = self.world.dice.happens(|faults| faults.crash);
        let life = if dies { self.world.dice.between(Duration::ZERO, CUT) } else { TIMEOUT };
        timeout(life, client.enqueue_one(job.clone())).await.is_ok_and(|answer| answer.is_ok())
    }
}

/// An operator who cancels and retries jobs with a client.
pub(super) struct Operator<'a> {
    pub(super) world: &'a Cloud,
    pub(super) jobs: &'a [Enqueue],
    /// The ids of workflows.
    pub(super) workflows: &'a [String],
    pub(super) changes: usize,
}

impl Operator<'_> {
    pub(super) async fn live(self) {
        let dice = &self.world.dice;
        for _ in 0..self.changes {
            let longest = PAUSES[dice.fate().rng.usize(..PAUSES.len())];
            sleep(dice.between(Duration::ZERO, longest)).await;
            let network = Arc::new(self.world.partitioned());
            let client = Client::new(Arc::clone(&network) as _, network, self.world.clock(), "");
            let dies = dice.happens(|faults| faults.crash);
            let life = if dies { dice.between(Duration::ZERO, CUT) } else { TIMEOUT };
            timeout(life, self.change(&client)).await.ok();
        }
    }

    /// Retries or cancels a workflow, or a job. Most retries are of jobs that have failed.
    async fn change(&self, client: &Client) {
        if let Some(workflow) = self.workflows.first().filter(|_| self.world.dice.fate().rng.bool()) {
            return self.change_workflow(client, workflow).await;
        }
        let has_failed = |job: &&Enqueue| {
            let state = self.world.store.get(id_of(job)).map(|record| record.state);
            state.is_some_and(|state| state.is_terminal() && state != State::Succeeded)
        };
        let failed: Vec<_> = self.jobs.iter().filter(has_failed).collect();
        let all: Vec<_> = self.jobs.iter().collect();
        let choice = self.world.dice.fate().rng.u8(..8);
        let jobs = if choice < 3 && !failed.is_empty() { &failed } else { &all };
        let Some(job) = jobs.get(self.world.dice.fate().rng.usize(..jobs.len().max(1))) else { return };
        // A lost answer is as good as any.
        if choice < 4 && !failed.is_empty() {
            self.world.watch.retries(id_of(job));
            client.retry((*job).clone()).await.ok();
        } else if self.workflows.iter().any(|workflow| workflow == id_of(job)) {
            self.cancel_workflow(client, id_of(job)).await;
        } else {
            self.world.watch.cancels(id_of(job));
            client.cancel(id_of(job)).await.ok();
        }
    }

    async fn change_workflow(&self, client: &Client, workflow: &str) {
        if self.world.dice.fate().rng.u8(..3) == 0 {
            return self.cancel_workflow(client, workflow).await;
        }
        for job in self.jobs {
            self.world.watch.retries(id_of(job));
        }
        client.retry_workflow(workflow).await.ok();
    }

    async fn cancel_workflow(&self, client: &Client, workflow: &str) {
        let ids: BTreeSet<_> = self.jobs.iter().map(|job| id_of(job).to_owned()).collect();
        for id in &ids {
            self.world.watch.cancels(id);
        }
        if client.cancel_workflow(workflow).await.is_ok() {
            self.world.watch.stopped(ids);
        }
    }
}
