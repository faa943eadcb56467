//! Fires schedules: records the jobs of what is due together with the next fire, then sends them.
//!
//! Who is first at that record and that cursor wins; the id of a job comes from its schedule and instant, so whatever is
//! done twice is known. A beater that dies before it has sent leaves a job that is due, which any beater hands over.

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
    entry::Entry,
    hand_over::send,
    plan::{before, from, plan},
    rows::{Changed, Found, Row},
    tick::{Ports, turn},
};
use crate::{
    Backoff, Error, Policy, Timetable,
    clock::rfc3339,
    lifecycle::{self, Request, SHARDS, is_sendable, shard},
    queue::{QueueError, is_fifo},
    record::{Record, State},
    retry::jitter,
    schedule::tzdata_version,
    store::{StoreError, Write, Written},
};

/// The most schedules of one shard in one tick; what is left is longer overdue in the next.
const MOST: usize = 5_000;
/// Schedules that are worked on at the same time.
const AT_A_TIME: usize = 16;
/// Jobs of one transaction, which takes a hundred items.
const JOBS: usize = 90;
/// How often a transaction is tried that met another.
const TRIES: u32 = 5;
const BACKOFF: Backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1));

/// What became of the schedules that were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fired {
    /// Jobs that were recorded.
    pub(crate) jobs: usize,
    /// Schedules that cannot be read or are wrong.
    pub(crate) wrong: usize,
    /// Jobs or schedules that could not be written or sent: the next tick tries again.
    pub(crate) failed: usize,
}

/// A tick: what it stands for, and how far it looks ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick {
    pub(super) at: Timestamp,
    pub(super) horizon: Timestamp,
    pub(super) stop_at: Instant,
}

/// Fires what is due until the horizon.
///
/// # Errors
///
/// When a shard cannot be read; the others are done all the same.
pub(super) async fn fire(ports: &Ports, tick: Tick) -> Result<Fired, StoreError> {
    let shards = stream::iter(0..SHARDS).map(|shard| ports.rows.due(shard, tick.horizon, MOST)).buffer_unordered(4);
    let (mut due, mut flaw) = (Vec::new(), None);
    for rows in shards.collect::<Vec<_>>().await {
        match rows {
            Ok(rows) => due.extend(rows),
            Err(error) => flaw = Some(error),
        }
    }
    match ports.rows.some(turn(tick.at)).await {
        Ok(rows) => due.extend(overlooked(rows, &due)),
        Err(error) => flaw = Some(error),
    }
    let missing = missing(ports, &due).await;
    let mut total = Fired::default();
    let mut queues: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let mut firings = stream::iter(due).map(|found| fire_one(ports, found, &missing, tick)).buffer_unordered(AT_A_TIME);
    while let Some(fired) = firings.next().await {
        match fired {
            Ok(jobs) => {
                total.jobs += jobs.len();
                for job in jobs {
                    queues.entry(job.queue.clone()).or_default().push(job);
                }
            }
            Err(Flaw::Wrong(_)) => total.wrong += 1,
            Err(Flaw::Store(_)) => total.failed += 1,
        }
    }
    for (queue, jobs) in queues {
        // What jitter puts off, and what is not due on a FIFO queue, waits in the index.
        let until = if is_fifo(&queue) { ports.due.clock.now() } else { tick.horizon };
        total.failed += send(&ports.due, &queue, jobs.into_iter().filter(|job| is_sendable(job, until)).collect()).await.failed;
    }
    flaw.map_or(Ok(total), Err)
}

/// The rows that the index does not tell of, though they ask for a look.
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

/// The queues of these schedules that do not exist, and what SQS says of them.
async fn missing(ports: &Ports, due: &[Found]) -> BTreeMap<String, String> {
    let firing = due.iter().flatten().filter(|row| !row.deleted && !row.paused);
    let queues: BTreeSet<_> = firing.map(|row| queue_of(ports, row)).collect();
    let looks = queues.into_iter().map(async |queue| match ports.due.queue.find(&queue).await {
        Err(QueueError::Refused(reason)) => Some((queue, reason)),
        Ok(()) | Err(QueueError::Unknown(_)) => None, // whether it is there is seen when something is sent
    });
    join_all(looks).await.into_iter().flatten().collect()
}

fn queue_of(ports: &Ports, row: &Row) -> String {
    ports.prefix.clone() + row.entry.queue_name()
}

/// One schedule: the jobs that were recorded. What is wrong with it is logged, and stops no other.
async fn fire_one(ports: &Ports, found: Found, missing: &BTreeMap<String, String>, tick: Tick) -> Result<Vec<Record>, Flaw> {
    if Instant::now() >= tick.stop_at {
        return Ok(Vec::new());
    }
    let row = found.map_err(|(id, error)| {
        tracing::error!(schedule = id, error, "a schedule cannot be read");
        Flaw::Wrong(Error::config(error))
    })?;
    let mut jobs = Vec::new();
    let queue = queue_of(ports, &row);
    let fired = match missing.get(&queue).filter(|_| !row.deleted && !row.paused) {
        Some(reason) => Err(Flaw::Wrong(Error::config(format!("its queue {queue:?} is not there: {reason}; create it, or name another")))),
        None => Firing { ports, tick, row: &row, queue }.run(&mut jobs).await,
    };
    match fired {
        Ok(()) => Ok(jobs),
        Err(Flaw::Wrong(error)) => {
            tracing::error!(schedule = row.entry.id(), %error, "a schedule is wrong");
            Err(Flaw::Wrong(error))
        }
        // What was recorded is sent all the same.
        Err(Flaw::Store(error)) if !jobs.is_empty() => {
            tracing::error!(schedule = row.entry.id(), %error, "a schedule was not fired to its end");
            Ok(jobs)
        }
        Err(Flaw::Store(error)) => {
            tracing::error!(schedule = row.entry.id(), %error, "a schedule could not be fired");
            Err(Flaw::Store(error))
        }
    }
}

/// Why a schedule was not fired.
enum Flaw {
    Wrong(Error),
    Store(StoreError),
}

impl From<StoreError> for Flaw {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
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
    /// Records the jobs of its fires, and adds them to `fired`.
    async fn run(&self, fired: &mut Vec<Record>) -> Result<(), Flaw> {
        if self.row.deleted || self.row.paused {
            self.call_off(None).await?;
            let next = (!self.row.deleted).then(|| Row { due: None, next_fire: None, ahead: Vec::new(), ..self.row.clone() });
            self.change(self.row, next.as_ref(), Vec::new()).await?;
            return Ok(());
        }
        let created = self.row.created_at.unwrap_or(self.tick.at);
        let timetable = self.row.entry.timetable(created).map_err(Flaw::Wrong)?;
        if !self.row.is_current() {
            self.call_off(Some(&timetable)).await?;
        }
        let from = from(self.row, self.tick.at, self.ports.due.clock.now());
        let plan = plan(&self.row.entry, &timetable, from, self.tick.at, self.tick.horizon);
        let mut rest = plan.fires.as_slice();
        let mut seen = self.row.clone();
        loop {
            let (now, later) = rest.split_at(rest.len().min(JOBS));
            let next = self.next(&seen, now, later.first().copied().or(plan.next), created);
            if next == seen {
                return Ok(()); // it has ended
            }
            let Some(jobs) = self.change(&seen, Some(&next), now.iter().map(|fire| self.job(*fire)).collect()).await? else {
                return Ok(()); // another beater was first, or the row was changed: the next tick looks
            };
            fired.extend(jobs);
            if later.is_empty() {
                return Ok(());
            }
            (rest, seen) = (later, next);
        }
    }

    /// The row after some of its fires.
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

    /// Changes the row and inserts the jobs that are not there yet; gives those back. None: the row is not as it was seen.
    async fn change(&self, seen: &Row, next: Option<&Row>, mut jobs: Vec<Record>) -> Result<Option<Vec<Record>>, StoreError> {
        let mut known = Vec::new();
        for attempt in 1.. {
            match self.ports.rows.change(seen.entry.id(), Some(seen), next, &jobs).await {
                Ok(Changed::Done) if self.row.is_current() => return Ok(Some(jobs)),
                Ok(Changed::Done) => {
                    jobs.extend(self.reinstated(known).await?);
                    return Ok(Some(jobs));
                }
                Ok(Changed::Refused) => return Ok(None),
                Ok(Changed::Known(ids)) => known.extend(jobs.extract_if(.., |job| ids.contains(&job.id))),
                Err(StoreError::Busy(_)) if attempt < TRIES => sleep(BACKOFF.delay(attempt, jitter())).await,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Takes back what was sent ahead for the row as it was: where `timetable` has the same fire, its job becomes that of
    /// the row as it is, else it is called off. A message on its way finds the record so.
    async fn call_off(&self, timetable: Option<&Timetable>) -> Result<(), StoreError> {
        let ahead: Vec<_> = self.row.ahead.iter().copied().filter(|fire| *fire > self.tick.at).collect();
        let ids: Vec<_> = ahead.iter().map(|fire| self.row.entry.job_id(*fire)).collect();
        let mut writes = Vec::new();
        for (fire, stored) in ahead.into_iter().zip(self.ports.due.store.read(&ids).await) {
            let Some(record) = stored?.filter(|record| matches!(record.state, State::Scheduled | State::Queued)) else { continue };
            let stays = timetable.is_some_and(|timetable| timetable.next(before(fire)) == Some(fire));
            let next = if stays { Some(Record { generation: record.generation, ..self.job(fire) }) } else { self.cancelled(&record) };
            writes.extend(next.map(|next| Write::replace(record, next)));
        }
        for answer in self.ports.due.store.write(&writes).await {
            if let Written::Refused(Some(stored)) = answer? {
                tracing::warn!(id = stored.id, "a job of a schedule that was changed runs as it was");
            }
        }
        Ok(())
    }

    /// Puts the jobs in the place of those that an earlier change of the row called off; gives back for which it did.
    async fn reinstated(&self, jobs: Vec<Record>) -> Result<Vec<Record>, StoreError> {
        let ids: Vec<_> = jobs.iter().map(|job| job.id.clone()).collect();
        let mut writes = Vec::new();
        for (job, stored) in jobs.into_iter().zip(self.ports.due.store.read(&ids).await) {
            let called_off = stored?.filter(|record| record.state == State::Cancelled && record.generation == 0);
            writes.extend(called_off.map(|record| Write::replace(record, job)));
        }
        let answers = self.ports.due.store.write(&writes).await.into_iter();
        let done = writes.iter().zip(answers).filter(|(_, answer)| matches!(answer, Ok(Written::Done)));
        Ok(done.map(|(write, _)| Record::clone(&write.next)).collect())
    }

    fn cancelled(&self, record: &Record) -> Option<Record> {
        lifecycle::cancel(Some(record), &Request::default(), &Policy::new(), self.ports.due.clock.now())
    }

    /// The job of one fire, filed until it is due.
    fn job(&self, fire: Timestamp) -> Record {
        job(&self.row.entry, fire, self.queue.clone(), self.tick.at)
    }
}

fn job(entry: &Entry, fire: Timestamp, queue: String, now: Timestamp) -> Record {
    let envelope = entry.envelope(fire);
    let request = Request {
        id: entry.job_id(fire),
        name: envelope.name.clone(),
        queue,
        sent_at: Some(now),
        body: envelope.to_body(),
        max_attempts: envelope.max_attempts,
        tags: envelope.tags,
        meta: envelope.meta,
        ..Request::default()
    };
    // The job's own policy says how many attempts it has, once it is claimed.
    let unknown = Policy { max_attempts: 0, ..Policy::new() };
    lifecycle::filed(None, &request, &unknown, &Uuid::new_v4().simple().to_string(), entry.run_at(fire))
}
