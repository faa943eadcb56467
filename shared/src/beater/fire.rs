//! Fires schedules: one transaction records the due jobs together with the next fire; afterwards the jobs are sent.
//!
//! The first beater to change the row and the record wins. The id of a job derives from its schedule and its instant, so
//! repetitions are detected. If a beater dies before it sends a recorded job, any other beater sends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{
    future::join_all,
    stream::{self, StreamExt},
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    part::{Due, Ports, Tally, Tick},
    plan::{before, from, plan},
    rows::{Changed, Found, Row},
};
use crate::{
    Backoff, Policy, Timetable,
    clock::{rfc3339, until},
    lifecycle::{self, Request, is_sendable},
    names::{SHARDS, is_fifo, shard},
    outbox::send,
    queue::QueueError,
    record::{Failure, Record, State},
    retry::jitter,
    schedule::tzdata_version,
    store::{StoreError, Write, record_bytes},
    traces::{Outcome, Span},
};

/// Maximum number of schedules of one shard in one tick. The next tick takes the remaining ones first.
const MOST: usize = 5_000;
/// Number of schedules processed concurrently.
const AT_A_TIME: usize = 16;
/// Maximum jobs of one transaction. DynamoDB allows a hundred items with 4 MB in all: `TransactWriteItems` in its API reference.
const JOBS: usize = 90;
/// Maximum bytes of the jobs in one transaction, with room for the row.
const BYTES: usize = 3 << 20;
/// The error kind in the record of a job that its schedule has cancelled.
const CALLED_OFF: &str = "called_off";
/// Maximum attempts of a transaction that conflicts with another.
const TRIES: u32 = 5;
const BACKOFF: Backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1));

/// Fires all schedules that are due by the horizon. `done` counts the recorded jobs.
///
/// # Errors
///
/// When a shard cannot be read. The other shards are still processed.
pub(super) async fn fire(ports: &Ports, tick: Tick) -> Result<Tally, StoreError> {
    let shards = stream::iter(0..SHARDS).map(|shard| ports.rows.due(shard, tick.horizon, MOST)).buffer_unordered(4);
    let (mut due, mut flaw) = (Vec::new(), None);
    for rows in shards.collect::<Vec<_>>().await {
        match rows {
            Ok(rows) => due.extend(rows),
            Err(error) => flaw = Some(error),
        }
    }
    match ports.rows.some(tick.turn()).await {
        Ok(rows) => due.extend(overlooked(rows, &due)),
        Err(error) => flaw = Some(error),
    }
    let missing = missing(ports, &due).await;
    let mut total = Tally::default();
    let mut queues: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let mut firings = stream::iter(due).map(|found| fire_one(ports, found, &missing, tick)).buffer_unordered(AT_A_TIME);
    while let Some(fired) = firings.next().await {
        match fired {
            Ok(jobs) => {
                total.done += jobs.len();
                for job in jobs {
                    let late_by = job.run_at.map_or(Duration::ZERO, |due| until(due, ports.due.clock.now()));
                    total.late_by = total.late_by.max(late_by);
                    queues.entry(job.queue.clone()).or_default().push(job);
                }
            }
            Err(Flaw::Wrong(_)) => total.wrong += 1,
            Err(Flaw::Store(_)) => total.failed += 1,
        }
    }
    for (queue, jobs) in queues {
        // Jobs stay in the index if their jitter delays them beyond the horizon, or if they are on a FIFO queue and not due yet.
        let until = if is_fifo(&queue) { ports.due.clock.now() } else { tick.horizon };
        let due = jobs.into_iter().filter(|job| is_sendable(job, until)).collect();
        let Due { queue: queues, store, clock } = &ports.due;
        total.failed += send(&**queues, &**store, &queue, due, clock.now()).await.failed();
    }
    flaw.map_or(Ok(total), Err)
}

/// Returns the rows that need a tick but are not in the index.
fn overlooked(rows: Vec<Found>, due: &[Found]) -> Vec<Found> {
    let ids: BTreeSet<_> = due.iter().map(id_of).collect();
    let asks = |found: &Found| found.as_ref().map_or(true, Row::is_overlooked) && !ids.contains(id_of(found));
    rows.into_iter().filter(asks).collect()
}

fn id_of(found: &Found) -> &str {
    match found {
        Ok(row) => row.entry.id(),
        Err((id, _)) => id,
    }
}

/// Returns the missing queues of these schedules, each with the error of SQS.
async fn missing(ports: &Ports, due: &[Found]) -> BTreeMap<String, String> {
    let firing = due.iter().flatten().filter(|row| !row.deleted && !row.paused);
    let queues: BTreeSet<_> = firing.map(|row| queue_of(ports, row)).collect();
    let looks = queues.into_iter().map(async |queue| match ports.due.queue.find(&queue).await {
        Err(QueueError::Refused(reason)) => Some((queue, reason.to_string())),
        Ok(()) | Err(QueueError::Unknown(_)) => None, // a later send shows if the queue exists
    });
    join_all(looks).await.into_iter().flatten().collect()
}

fn queue_of(ports: &Ports, row: &Row) -> String {
    ports.prefix.clone() + &row.entry.queue_name()
}

/// Fires one schedule and returns the recorded jobs. A flaw is logged and does not affect other schedules.
async fn fire_one(ports: &Ports, found: Found, missing: &BTreeMap<String, String>, tick: Tick) -> Result<Vec<Record>, Flaw> {
    if Instant::now() >= tick.stop_at {
        return Ok(Vec::new());
    }
    let row = found.map_err(|(id, error)| {
        tracing::error!(schedule = id, error, "cannot read a schedule");
        Flaw::Wrong(error)
    })?;
    let mut jobs = Vec::new();
    let queue = queue_of(ports, &row);
    let fired = match missing.get(&queue).filter(|_| !row.deleted && !row.paused) {
        Some(reason) => Err(Flaw::Wrong(format!("its queue {queue:?} cannot be used: {reason}; create it, or name another"))),
        None => Firing { ports, tick, row: &row, queue }.run(&mut jobs).await,
    };
    match fired {
        Ok(()) => Ok(jobs),
        Err(Flaw::Wrong(error)) => {
            tracing::error!(schedule = row.entry.id(), error, "a schedule is invalid");
            Err(Flaw::Wrong(error))
        }
        // The jobs recorded so far are still sent.
        Err(Flaw::Store(error)) if !jobs.is_empty() => {
            tracing::error!(schedule = row.entry.id(), %error, "cannot fire a schedule completely; the next tick continues");
            Ok(jobs)
        }
        Err(Flaw::Store(error)) => {
            tracing::error!(schedule = row.entry.id(), %error, "cannot fire a schedule; the next tick tries again");
            Err(Flaw::Store(error))
        }
    }
}

/// The reason why a schedule was not fired.
enum Flaw {
    Wrong(String),
    Store(StoreError),
}

impl From<StoreError> for Flaw {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Invalid(_) => Self::Wrong(error.to_string()),
            _ => Self::Store(error),
        }
    }
}

/// One schedule in one tick.
struct Firing<'a> {
    ports: &'a Ports,
    tick: Tick,
    row: &'a Row,
    queue: String,
}

impl Firing<'_> {
    /// Records the jobs of its fires and adds them to `fired`.
    async fn run(&self, fired: &mut Vec<Record>) -> Result<(), Flaw> {
        if self.row.deleted || self.row.paused {
            if let Some(seen) = self.call_off(None).await? {
                let next = (!self.row.deleted).then(|| Row { due: None, next_fire: None, ahead: Vec::new(), ..seen.clone() });
                self.change(&seen, next.as_ref(), Vec::new()).await?;
            }
            return Ok(());
        }
        let created = self.row.created_at.unwrap_or(self.tick.at);
        let timetable = self.row.entry.timetable(created).map_err(|error| Flaw::Wrong(error.to_string()))?;
        let seen = if self.row.is_current() { Some(self.row.clone()) } else { self.call_off(Some(&timetable)).await? };
        let Some(mut seen) = seen else { return Ok(()) };
        let from = from(self.row, self.tick.at, self.ports.due.clock.now());
        let plan = plan(&self.row.entry, &timetable, from, self.tick.at, self.tick.horizon);
        let mut rest = plan.fires.as_slice();
        let most = self.most_jobs();
        loop {
            let (now, later) = rest.split_at(rest.len().min(most));
            let next = self.next(&seen, now, later.first().copied().or(plan.next), created);
            if next == seen {
                return Ok(()); // the schedule has ended
            }
            let span = if now.is_empty() { Span::default() } else { Span::create(self.row.entry.id(), &self.queue, now.len()) };
            let created = self.change(&seen, Some(&next), now.iter().map(|fire| self.job(*fire, &span)).collect()).await;
            span.ended(|| traced(&created));
            let Some(jobs) = created? else {
                return Ok(()); // another beater was first, or the row was changed: the next tick continues
            };
            fired.extend(jobs);
            if later.is_empty() {
                return Ok(());
            }
            (rest, seen) = (later, next);
        }
    }

    /// Returns the maximum number of jobs in one transaction.
    fn most_jobs(&self) -> usize {
        (BYTES / record_bytes(&self.job(self.tick.at, &Span::default()))).clamp(1, JOBS)
    }

    /// Returns the row after these fires.
    fn next(&self, seen: &Row, fires: &[Timestamp], next: Option<Timestamp>, created: Timestamp) -> Row {
        let still_ahead: BTreeSet<_> = seen.ahead.iter().chain(fires).copied().filter(|fire| *fire > self.tick.at).collect();
        Row {
            ahead: still_ahead.into_iter().collect(),
            due: next.map(|_| shard(self.row.entry.id())),
            next_fire: next.map(rfc3339::text),
            created_at: Some(created),
            settled: Some(self.row.entry.fingerprint()),
            tzdata: Some(tzdata_version().into()),
            ..self.row.clone()
        }
    }

    /// Changes the row and files the jobs that do not exist yet or that an earlier change of the row cancelled. Returns the filed
    /// jobs, or `None` if the row differs from `seen`.
    async fn change(&self, seen: &Row, next: Option<&Row>, jobs: Vec<Record>) -> Result<Option<Vec<Record>>, StoreError> {
        let writes = jobs.into_iter().map(Write::insert).collect();
        let made = self.transact(seen, next, writes, async |writes, known| self.without_known(writes, &known).await).await?;
        Ok(made.map(|writes| writes.into_iter().map(|write| Record::clone(&write.next)).collect()))
    }

    /// Changes the row together with jobs, and returns the written records. If records of jobs differ from their expected state,
    /// `again` computes the writes again. Returns `None` if the row differs from `seen`.
    async fn transact(
        &self,
        seen: &Row,
        next: Option<&Row>,
        mut writes: Vec<Write>,
        again: impl AsyncFn(Vec<Write>, Vec<String>) -> Result<Vec<Write>, StoreError>,
    ) -> Result<Option<Vec<Write>>, StoreError> {
        for attempt in 1.. {
            match self.ports.rows.change(seen.entry.id(), Some(seen), next, &writes).await {
                Ok(Changed::Done) => return Ok(Some(writes)),
                Ok(Changed::Refused) => return Ok(None),
                Ok(Changed::Known(ids)) if attempt < TRIES => writes = again(writes, ids).await?,
                Ok(Changed::Known(_)) => return Err(StoreError::Busy("its jobs changed at each try".into())),
                Err(StoreError::Busy(_)) if attempt < TRIES => sleep(BACKOFF.delay(attempt, jitter())).await,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Removes the writes of existing jobs. A job that was cancelled before it ever ran is filed again. A record for which only other jobs
    /// wait is no job.
    async fn without_known(&self, mut writes: Vec<Write>, known: &[String]) -> Result<Vec<Write>, StoreError> {
        let mut left: Vec<_> = writes.extract_if(.., |write| !known.contains(&write.next.id)).collect();
        let ids: Vec<_> = writes.iter().map(|write| write.next.id.clone()).collect();
        for (write, stored) in writes.into_iter().zip(self.ports.due.store.read(&ids).await) {
            match stored? {
                Some(record) if is_called_off(&record) || lifecycle::is_awaited(&record) => {
                    let next = Record { dependents: record.dependents.clone(), ..Record::clone(&write.next) };
                    left.push(Write::replace(record, next));
                }
                Some(_) => {}
                None => left.push(Write::insert(write.next)),
            }
        }
        Ok(left)
    }

    /// Updates the jobs that were sent ahead for the old row. If `timetable` has the same fire, the job gets the new row's
    /// content; otherwise it is cancelled. The worker that receives its message then finds the changed record. Each write
    /// requires an unchanged row: if a user restores the old row meanwhile, its jobs stay as they are. Returns the row after the
    /// change, or `None` if somebody else changed it first.
    async fn call_off(&self, timetable: Option<&Timetable>) -> Result<Option<Row>, StoreError> {
        let ahead: Vec<_> = self.row.ahead.iter().copied().filter(|fire| *fire > self.tick.at).collect();
        // An empty fingerprint replaces that of the old entry, and no entry has it. A user may restore the old entry before this tick ends. The
        // next tick must still see a change then, so that it files the cancelled jobs again. Without any fingerprint, the row would count as
        // new, and would not fire before its `next_fire`, which is later than those jobs.
        let mark = |settled: String| if self.row.is_settled() { settled } else { String::new() };
        let unsettled = Row { settled: self.row.settled.clone().map(mark), ..self.row.clone() };
        let mut seen = self.row.clone();
        for fires in ahead.chunks(self.most_jobs()) {
            let writes = self.taken_back(fires, timetable).await?;
            // Another beater has marked a job as sent, or the job has started.
            let again = async |_, _| self.taken_back(fires, timetable).await;
            if self.transact(&seen, Some(&unsettled), writes, again).await?.is_none() {
                return Ok(None);
            }
            seen = unsettled.clone();
        }
        Ok(Some(seen))
    }

    /// Returns the writes that update or cancel the jobs of these fires, for one transaction.
    async fn taken_back(&self, fires: &[Timestamp], timetable: Option<&Timetable>) -> Result<Vec<Write>, StoreError> {
        let ids: Vec<_> = fires.iter().map(|fire| self.row.entry.job_id(*fire)).collect();
        let mut writes = Vec::new();
        for (fire, stored) in fires.iter().zip(self.ports.due.store.read(&ids).await) {
            let Some(record) = stored? else { continue };
            if record.state == State::Running {
                tracing::warn!(id = record.id, "a job of a changed schedule already runs, without the change");
            }
            if matches!(record.state, State::Scheduled | State::Queued) {
                let stays = timetable.is_some_and(|timetable| timetable.next(before(*fire)) == Some(*fire));
                let again = || self.job(*fire, &Span::default());
                let again = || Record { generation: record.generation, dependents: record.dependents.clone(), ..again() };
                let next = if stays { Some(again()) } else { self.cancelled(&record) };
                writes.extend(next.map(|next| Write::replace(record, next)));
            }
        }
        Ok(writes)
    }

    fn cancelled(&self, record: &Record) -> Option<Record> {
        let now = self.ports.due.clock.now();
        let reason = Failure::new(CALLED_OFF, "its schedule was changed, paused or deleted".into(), now);
        let cancelled = lifecycle::cancel(Some(record), &Request::default(), &Policy::new(), now)?;
        Some(Record { error: Some(reason), ..cancelled })
    }

    /// Returns the job of one fire, filed until it is due.
    fn job(&self, fire: Timestamp, span: &Span) -> Record {
        let entry = &self.row.entry;
        let mut envelope = entry.envelope(fire);
        span.put_into(&mut envelope);
        let body = envelope.to_body();
        let (id, queue) = (entry.job_id(fire), self.queue.clone());
        let request = Request { id, queue, sent_at: Some(self.tick.at), ..Request::of(envelope, body) };
        lifecycle::filed(None, &request, &lifecycle::UNKNOWN, &Uuid::new_v4().simple().to_string(), entry.run_at(fire))
    }
}

/// Returns `true` if the schedule cancelled the job before it ever ran. A job that a user cancelled stays cancelled.
fn is_called_off(record: &Record) -> bool {
    let reason = record.error.as_ref().map(|error| &*error.kind);
    record.state == State::Cancelled && record.generation == 0 && reason == Some(CALLED_OFF)
}

/// Returns the outcome of the span in which jobs were created.
fn traced(created: &Result<Option<Vec<Record>>, StoreError>) -> Outcome {
    let error = match created {
        Ok(Some(_)) => None,
        Ok(None) => Some(("conflict".to_owned(), "another beater was first, or the schedule was changed".to_owned())),
        Err(error) => Some(("store".to_owned(), error.to_string())),
    };
    Outcome { attribute: None, error }
}
