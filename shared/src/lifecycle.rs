//! The protocol's decisions, as pure functions: a record, what happened and the time give the next record and what
//! becomes of the message. All I/O is thin around them.
//!
//! A record is always replaced with absolute values, on the condition that it is as it was seen
//! ([`Version`](crate::Version)). So a write that is repeated, or arrives late, changes nothing.

mod repair;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value};

pub use self::repair::{Abandoned, Repair, abandoned, refuse, repair};

use crate::{
    Policy, Recording,
    clock::{after, from_millis},
    envelope::{Digest, Envelope, excerpt},
    names::{failed_shard_name, is_fifo, shard, shard_of},
    outcome::Then,
    record::{Dlq, Failure, Past, Record, State},
};

/// How far the clocks of two machines may differ.
pub const SKEW: Duration = Duration::from_secs(5);
/// What waits longer than that is filed in the due index, not kept in a queue, unless its order would be lost.
pub const LONG: Duration = Duration::from_mins(15);
/// The largest message that a record holds which is [written on trouble](Recording::OnTrouble): it leaves room for the rest.
const KEPT_BYTES: usize = 100_000;
/// How many past attempts a record remembers.
const HISTORY: usize = 10;
/// The kind of an attempt that died.
const KILLED: &str = "killed";

/// What a delivery asks for, after decoding.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Request {
    /// The job's id.
    pub id: String,
    /// The job's name, aliases resolved.
    pub name: String,
    /// The queue that delivered it.
    pub queue: String,
    /// When the message was sent.
    pub sent_at: Option<Timestamp>,
    /// Not before.
    pub run_at: Option<Timestamp>,
    /// Not after.
    pub expires_at: Option<Timestamp>,
    /// Overrides the policy.
    pub max_attempts: Option<u32>,
    /// Labels.
    pub tags: Vec<String>,
    /// Free data.
    pub meta: Map<String, Value>,
    /// The job that enqueued it.
    pub parent_id: Option<String>,
    /// The first job of the chain.
    pub root_id: Option<String>,
    /// The [digest](Envelope::digest) of the arguments.
    pub digest: Option<Digest>,
    /// The message body as received.
    pub body: String,
    /// The generation that failed, on a message redriven from the dead-letter queue.
    pub dead: Option<u64>,
    /// The group of the message.
    pub message_group: Option<String>,
    /// The attributes of the message, those of the library excepted.
    pub message_attributes: BTreeMap<String, String>,
}

impl Request {
    /// What an envelope asks for; who reads it adds the id, the queue and what the message says.
    pub(crate) fn of(envelope: Envelope, body: String) -> Self {
        Self {
            digest: Some(envelope.digest()),
            name: envelope.name,
            run_at: envelope.run_at,
            expires_at: envelope.expires_at,
            max_attempts: envelope.max_attempts,
            tags: envelope.tags,
            meta: envelope.meta,
            parent_id: envelope.parent_id,
            root_id: envelope.root_id,
            body,
            ..Self::default()
        }
    }

    /// The bytes of the message.
    fn bytes(&self) -> usize {
        self.body.len() + self.message_attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// The claim that a worker would make: its token, and until when it would hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// A random token, fresh for each claim.
    pub owner: String,
    /// How long the lease is.
    pub lease: Duration,
}

/// What to do with a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Write this record; if that succeeds, run.
    Run {
        /// The record, `running`.
        next: Box<Record>,
        /// Whether its last attempt was killed: it must start alone.
        suspect: bool,
    },
    /// Write this record; if that succeeds, the delivery has ended so.
    End {
        /// The record, terminal; of an early delivery, filed.
        next: Box<Record>,
        /// How.
        ending: Ending,
    },
    /// Write nothing.
    Leave(Ending),
}

/// How a delivery ends. The list is closed: what each does to the attempt, the record and the message is the table
/// in the README.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Succeeded,
    /// Failed, and tried again at that instant.
    Retried(Timestamp),
    /// Failed for good: attempts exhausted, a fatal error, or killed with none left. Owes a copy to the DLQ.
    Failed,
    /// Put off by the job itself until that instant.
    Snoozed(Timestamp),
    /// Stopped at a safe point, to go on from its checkpoint.
    Interrupted,
    /// No time or no slot to start it.
    NotStarted,
    /// Behind a message of its group that comes back.
    Held,
    /// Not due before that instant.
    Early(Timestamp),
    /// Another attempt holds it, at least until that instant.
    Busy(Timestamp),
    /// The attempt lost its lease, or whether its ending was recorded is not known.
    LeaseLost,
    /// Had ended before.
    Duplicate,
    /// The same job as an earlier message of the batch; shares its fate.
    Repeated,
    /// Called off.
    Cancelled,
    /// Its time had passed.
    Expired,
    /// Its id belongs to a job of another name or queue.
    Foreign,
    /// The message or the record cannot be read.
    Rejected,
    /// Cannot be run by this worker; another version might.
    Parked,
    /// The store did not answer, and the policy drops the message.
    Skipped,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Deleted.
    Delete,
    /// Copied to the dead-letter queue, then deleted.
    DeadLetter,
    /// Returned, invisible until that instant.
    Wait(Timestamp),
    /// Returned, invisible until that instant and a backoff longer.
    WaitAndBackoff(Timestamp),
    /// Returned, at once.
    Now,
    /// Returned with a backoff that grows with the deliveries, up to a minute.
    Backoff,
    /// The same, up to five minutes.
    LongBackoff,
    /// Returned, its visibility left alone.
    Leave,
}

impl Ending {
    /// What becomes of the message.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Succeeded | Self::Duplicate | Self::Cancelled | Self::Expired | Self::Skipped => Fate::Delete,
            Self::Failed | Self::Foreign | Self::Rejected => Fate::DeadLetter,
            Self::Retried(at) | Self::Snoozed(at) | Self::Early(at) => Fate::Wait(*at),
            Self::Busy(at) => Fate::WaitAndBackoff(*at),
            Self::Interrupted | Self::Held => Fate::Now,
            Self::NotStarted => Fate::Backoff,
            Self::Parked => Fate::LongBackoff,
            Self::LeaseLost | Self::Repeated => Fate::Leave,
        }
    }

    /// Returns true where an attempt that ends so and has no record yet must write it.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Succeeded | Self::NotStarted => false,
            Self::Retried(_)
            | Self::Failed
            | Self::Snoozed(_)
            | Self::Interrupted
            | Self::Cancelled
            // No attempt ends in one of these.
            | Self::Held
            | Self::Early(_)
            | Self::Busy(_)
            | Self::LeaseLost
            | Self::Duplicate
            | Self::Repeated
            | Self::Expired
            | Self::Foreign
            | Self::Rejected
            | Self::Parked
            | Self::Skipped => true,
        }
    }

    /// The ending as logs spell it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Retried(_) => "retried",
            Self::Failed => "failed",
            Self::Snoozed(_) => "snoozed",
            Self::Interrupted => "interrupted",
            Self::NotStarted => "not_started",
            Self::Held => "held",
            Self::Early(_) => "early",
            Self::Busy(_) => "busy",
            Self::LeaseLost => "lease_lost",
            Self::Duplicate => "duplicate",
            Self::Repeated => "repeated",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Foreign => "foreign",
            Self::Rejected => "rejected",
            Self::Parked => "parked",
            Self::Skipped => "skipped",
        }
    }
}

/// Returns true where a delivery runs its attempt and writes no claim before: `receives` is how often its message was received,
/// this time included, and `has_record` whether the message says that its job has a record.
pub fn starts_unrecorded(policy: &Policy, receives: u32, has_record: bool) -> bool {
    match policy.recording {
        Recording::Always => false,
        Recording::OnTrouble => receives == 1 && !has_record,
    }
}

/// Decides what a delivery may do, given the record of its id as it is stored.
pub fn decide(seen: Option<&Record>, request: &Request, policy: &Policy, claim: &Claim, now: Timestamp) -> Decision {
    let Some(seen) = seen else {
        return start(created(request, policy), request, policy, claim, now);
    };
    if !is_of(seen, request) {
        return Decision::Leave(Ending::Foreign);
    }
    match seen.state {
        State::Failed if request.dead == Some(seen.generation) => start(redriven(seen), request, policy, claim, now),
        State::Failed if seen.dlq == Some(Dlq::Pending) => Decision::Leave(Ending::Failed),
        state if state.is_terminal() => Decision::Leave(Ending::Duplicate),
        State::Running => take_over(seen, request, policy, claim, now),
        State::Blocked => Decision::Leave(Ending::Parked),
        _ => start(budgeted(seen, request, policy), request, policy, claim, now),
    }
}

/// The policy of a job whose own is not known here: its worker says how many attempts it has.
pub(crate) const UNKNOWN: Policy = Policy { max_attempts: 0, ..Policy::new() };

/// The record of a job that was enqueued and that no worker has seen.
pub(crate) fn announced(request: &Request) -> Record {
    created(request, &UNKNOWN)
}

/// A record that nothing is known of yet.
pub(crate) fn created(request: &Request, policy: &Policy) -> Record {
    Record {
        id: request.id.clone(),
        name: request.name.clone(),
        queue: request.queue.clone(),
        state: State::Queued,
        max_attempts: request.max_attempts.unwrap_or(policy.max_attempts),
        // A message redriven after its record was purged goes on counting.
        generation: request.dead.unwrap_or(0),
        digest: request.digest,
        enqueued_at: request.sent_at,
        run_at: request.run_at,
        tags: request.tags.clone(),
        meta: request.meta.clone(),
        parent_id: request.parent_id.clone(),
        root_id: request.root_id.clone(),
        ..Record::default()
    }
}

/// A record made by who does not know the job's policy.
fn budgeted(seen: &Record, request: &Request, policy: &Policy) -> Record {
    let max_attempts = if seen.max_attempts == 0 { request.max_attempts.unwrap_or(policy.max_attempts) } else { seen.max_attempts };
    Record { max_attempts, ..seen.clone() }
}

/// A failed record whose message came back from the dead-letter queue: the budget is full again.
fn redriven(seen: &Record) -> Record {
    Record { attempts: 0, runs: 0, snoozes: 0, ..reopened(seen) }
}

fn reopened(seen: &Record) -> Record {
    Record { dlq: None, ..unfinished(seen.clone()) }
}

/// Whatever a hand has written: the table must not forget what goes on.
fn unfinished(record: Record) -> Record {
    Record { finished_at: None, purge_at: None, listed: None, listed_at: None, ..record }
}

/// A job that waits: runs if it is due, neither called off nor too late, and has budget.
fn start(seen: Record, request: &Request, policy: &Policy, claim: &Claim, now: Timestamp) -> Decision {
    let owned = |seen: Record| Record { owner: Some(claim.owner.clone()), ..seen };
    if seen.cancel_requested {
        return end(cancelled(owned(seen)), Ending::Cancelled, policy, now);
    }
    if is_too_late(request, now) {
        let expired = Record { state: State::Expired, ..owned(seen) };
        return end(expired, Ending::Expired, policy, now);
    }
    if let Some(due) = seen.run_at.filter(|due| *due > now) {
        return early(&seen, request, policy, claim, due, now);
    }
    if seen.attempts >= seen.max_attempts {
        let killed = seen.error.clone().filter(|error| error.kind == KILLED);
        let spent = killed.unwrap_or_else(|| Failure::new("exhausted", "no attempt is left".into(), now));
        return give_up(owned(seen), spent, policy, now);
    }
    if seen.runs >= policy.max_runs {
        return give_up(owned(seen), too_often("max_runs", policy.max_runs, now), policy, now);
    }
    let suspect = seen.history.last().is_some_and(|last| last.kind == KILLED);
    grant(seen, request, policy, claim, suspect, now)
}

/// A job before its time. Where that is far off, the record takes over from the message.
fn early(seen: &Record, request: &Request, policy: &Policy, claim: &Claim, due: Timestamp, now: Timestamp) -> Decision {
    if !waits_long(seen, now) || is_filed(seen, now) {
        return Decision::Leave(Ending::Early(due));
    }
    Decision::End { next: Box::new(filed(Some(seen), request, policy, &claim.owner, due)), ending: Ending::Early(due) }
}

/// Whether a job waits so long that it is filed. On a FIFO queue it keeps its place instead.
fn waits_long(record: &Record, now: Timestamp) -> bool {
    !is_fifo(&record.queue) && record.run_at.is_some_and(|at| at > after(now, LONG))
}

/// Whether the due index holds a job that waits long: its message is not needed.
pub fn is_filed(record: &Record, now: Timestamp) -> bool {
    record.state == State::Scheduled && waits_long(record, now)
}

/// Files what an attempt leaves waiting for long; anything else stays as it is.
pub fn put_off(next: Record, request: &Request, policy: &Policy, now: Timestamp) -> Record {
    match (next.state, next.run_at, next.owner.clone()) {
        // The token is fresh enough: before this claim, nothing was filed with it.
        (State::Queued | State::Retrying, Some(at), Some(owner)) if waits_long(&next, now) => {
            filed(Some(&next), request, policy, &owner, at)
        }
        _ => next,
    }
}

/// A job that someone holds: left alone while the lease may be valid, taken over afterwards.
fn take_over(seen: &Record, request: &Request, policy: &Policy, claim: &Claim, now: Timestamp) -> Decision {
    let free = free_from(seen);
    if now <= free {
        return Decision::Leave(Ending::Busy(free));
    }
    let killed = was_killed(now);
    let seen = remember(seen.clone(), killed.clone());
    let owned = Record { owner: Some(claim.owner.clone()), ..seen };
    if owned.cancel_requested {
        return end(cancelled(owned), Ending::Cancelled, policy, now);
    }
    if owned.attempts >= owned.max_attempts || owned.runs >= policy.max_runs {
        return give_up(owned, killed, policy, now);
    }
    if is_too_late(request, now) {
        return end(Record { state: State::Expired, error: Some(killed), ..owned }, Ending::Expired, policy, now);
    }
    grant(Record { error: Some(killed), ..owned }, request, policy, claim, true, now)
}

/// The digest of the arguments with which the job runs: those of its record, else those of the message.
fn digest(seen: &Record, request: &Request) -> Option<Digest> {
    request.digest.filter(|_| seen.envelope.is_none()).or(seen.digest)
}

/// Returns true where a message of the job has other arguments than its record; false where either is unknown.
pub fn has_other_arguments(seen: &Record, request: &Request) -> bool {
    seen.digest.is_some() && request.digest.is_some() && seen.digest != request.digest
}

/// Returns true where an earlier job of an id has other arguments than one that is announced now, or waits for another time.
pub(crate) fn differs(first: &Record, announced: &Record) -> bool {
    first.digest.is_some() && first.digest != announced.digest || waits_for_other_time(first, announced.run_at)
}

/// Returns true where a job that has not been started waits for another time than that.
pub fn waits_for_other_time(first: &Record, run_at: Option<Timestamp>) -> bool {
    let waits = first.generation == 0 && matches!(first.state, State::Queued | State::Scheduled);
    let differs = match (first.run_at, run_at) {
        (Some(first), Some(asked)) => first.duration_since(asked).unsigned_abs() > SKEW,
        (first, asked) => first != asked,
    };
    waits && differs
}

/// From when on a job that someone holds may be taken over.
fn free_from(running: &Record) -> Timestamp {
    after(from_millis(running.lease_until.unwrap_or(0)), SKEW)
}

fn was_killed(now: Timestamp) -> Failure {
    Failure::new(KILLED, "the attempt's process ended without recording it, or its lease ran out".into(), now)
}

/// Whether a message is of the job that has its id. Who calls a job off that no worker has seen knows its id alone.
pub(crate) fn is_of(seen: &Record, request: &Request) -> bool {
    let is_tombstone = seen.state == State::Cancelled && seen.name.is_empty();
    is_tombstone || seen.name == request.name && seen.queue == request.queue
}

/// Why a message is no message of the job that has its id.
pub(crate) fn id_in_use(seen: &Record, now: Timestamp) -> Failure {
    let [id, name, queue] = [&seen.id, &seen.name, &seen.queue].map(|text| excerpt(text));
    let reason = format!("id {id} belongs to job {name} on queue {queue}; send this one under an id of its own");
    Failure::new("id_in_use", reason, now)
}

fn is_too_late(request: &Request, now: Timestamp) -> bool {
    request.expires_at.is_some_and(|at| at <= now)
}

fn grant(seen: Record, request: &Request, policy: &Policy, claim: &Claim, suspect: bool, now: Timestamp) -> Decision {
    let digest = digest(&seen, request);
    // A run that nobody recorded may delete the only message.
    let keeps = policy.recording == Recording::OnTrouble && seen.envelope.is_none() && request.bytes() <= KEPT_BYTES;
    let seen = if keeps { with_message(seen, request) } else { seen };
    let next = Record {
        digest,
        state: State::Running,
        attempts: seen.attempts.saturating_add(1),
        generation: seen.generation.saturating_add(1),
        runs: seen.runs.saturating_add(1),
        owner: Some(claim.owner.clone()),
        lease_until: Some(after(now, claim.lease).as_millisecond()),
        started_at: Some(now),
        run_at: None,
        due: None,
        // The envelope of a job that was ever filed stays until it ends: its message may be one that was to be deleted.
        ..unfinished(seen)
    };
    Decision::Run { next: Box::new(next), suspect }
}

fn end(next: Record, ending: Ending, policy: &Policy, now: Timestamp) -> Decision {
    Decision::End { next: Box::new(finished(next, policy, now)), ending }
}

fn give_up(seen: Record, failure: Failure, policy: &Policy, now: Timestamp) -> Decision {
    end(failed(seen, failure), Ending::Failed, policy, now)
}

/// What became of an attempt's body.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It returned this.
    Success(Value),
    /// It failed so, and asks for that.
    Failure(Failure, Next),
}

/// What an attempt that did not succeed asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// Another attempt, after this wait instead of the policy's backoff.
    Retry(Option<Duration>),
    /// None.
    GiveUp,
    /// To be put off.
    Snooze(Duration),
    /// To be called off.
    Cancel,
    /// To go on from its checkpoint.
    Resume,
    /// To be taken back: it was claimed too late to be started.
    Return,
}

impl From<Then> for Next {
    fn from(then: Then) -> Self {
        match then {
            Then::Retry(wait) => Self::Retry(wait),
            Then::Fatal => Self::GiveUp,
            Then::Snooze(wait) => Self::Snooze(wait),
            Then::Cancel => Self::Cancel,
            Then::Interrupt => Self::Resume,
        }
    }
}

/// Decides how an attempt ends, given its record while it ran.
pub fn finish(running: &Record, outcome: Outcome, policy: &Policy, jitter: f64, now: Timestamp) -> (Record, Ending) {
    let running = Record { lease_until: None, ..unfinished(running.clone()) };
    let (failure, next) = match outcome {
        Outcome::Success(output) => return (succeeded(running, output, policy, now), Ending::Succeeded),
        Outcome::Failure(failure, next) => (failure, next),
    };
    if running.cancel_requested || next == Next::Cancel {
        let cancelled = Record { error: Some(failure), ..cancelled(running) };
        return (finished(cancelled, policy, now), Ending::Cancelled);
    }
    match next {
        Next::Retry(wait) if running.attempts < running.max_attempts => {
            let wait = wait.unwrap_or_else(|| policy.backoff.delay(running.attempts, jitter));
            retried(running, failure, after(now, wait))
        }
        Next::Snooze(wait) if running.snoozes < policy.max_snoozes && running.runs < policy.max_runs => snoozed(running, after(now, wait)),
        Next::Resume if running.runs < policy.max_runs => (given_back(running), Ending::Interrupted),
        Next::Snooze(_) if running.runs < policy.max_runs => {
            gave_up(running, too_often("max_snoozes", policy.max_snoozes, now), policy, now)
        }
        Next::Return => (Record { runs: running.runs.saturating_sub(1), ..given_back(running) }, Ending::NotStarted),
        Next::Snooze(_) | Next::Resume => gave_up(running, too_often("max_runs", policy.max_runs, now), policy, now),
        Next::Retry(_) | Next::GiveUp | Next::Cancel => gave_up(running, failure, policy, now),
    }
}

fn succeeded(running: Record, output: Value, policy: &Policy, now: Timestamp) -> Record {
    let result = (policy.keep_result && !output.is_null()).then_some(output);
    let done = Record { state: State::Succeeded, result, error: None, checkpoint: None, ..running };
    finished(done, policy, now)
}

fn retried(running: Record, failure: Failure, at: Timestamp) -> (Record, Ending) {
    let next = remember(running, failure.clone());
    let next = Record { state: State::Retrying, error: Some(failure), run_at: Some(at), ..next };
    (next, Ending::Retried(at))
}

fn snoozed(running: Record, at: Timestamp) -> (Record, Ending) {
    let snoozes = running.snoozes.saturating_add(1);
    (Record { snoozes, run_at: Some(at), ..given_back(running) }, Ending::Snoozed(at))
}

/// The attempt costs nothing; the generation stays, for it fences.
fn given_back(running: Record) -> Record {
    Record { state: State::Queued, attempts: running.attempts.saturating_sub(1), ..running }
}

fn gave_up(running: Record, failure: Failure, policy: &Policy, now: Timestamp) -> (Record, Ending) {
    let remembered = remember(running, failure.clone());
    (finished(failed(remembered, failure), policy, now), Ending::Failed)
}

fn failed(seen: Record, failure: Failure) -> Record {
    Record {
        state: State::Failed,
        error: Some(failure),
        dlq: Some(Dlq::Pending),
        listed: Some(failed_shard_name(shard_of(&seen.id))),
        ..seen
    }
}

fn cancelled(seen: Record) -> Record {
    Record { state: State::Cancelled, cancel_requested: false, ..seen }
}

/// What every terminal record has in common.
fn finished(terminal: Record, policy: &Policy, now: Timestamp) -> Record {
    Record {
        finished_at: Some(now),
        listed_at: terminal.listed.as_ref().map(|_| now),
        purge_at: Some(after(now, policy.retention).as_second()),
        lease_until: None,
        run_at: None,
        due: None,
        ..if terminal.dlq == Some(Dlq::Pending) { terminal } else { without_message(terminal) }
    }
}

/// The record without the message that it holds. A dead letter that is owed is made of it, where no message is left.
fn without_message(record: Record) -> Record {
    Record { envelope: None, message_group: None, message_attributes: BTreeMap::new(), ..record }
}

fn remember(mut record: Record, failure: Failure) -> Record {
    let Failure { kind, message, at } = failure;
    record.history.push(Past { generation: record.generation, started_at: record.started_at, kind, message, at });
    let surplus = record.history.len().saturating_sub(HISTORY);
    record.history.drain(..surplus);
    record
}

fn too_often(limit: &str, times: u32, now: Timestamp) -> Failure {
    Failure::new(limit, format!("the policy's {limit} of {times} is used up"), now)
}

impl Failure {
    /// A failure at `now`, its message cut to what a record holds.
    pub(crate) fn new(kind: impl Into<String>, mut message: String, now: Timestamp) -> Self {
        let mut kind = kind.into();
        kind.truncate(kind.floor_char_boundary(64));
        message.truncate(message.floor_char_boundary(2000));
        Self { kind: if kind.is_empty() { "error".into() } else { kind }, message, at: Some(now) }
    }
}

/// The same attempt with its lease extended. The lease grows in every write of an attempt, which makes it the
/// revision number within a generation.
pub fn renewed(running: &Record, lease: Duration, now: Timestamp) -> Record {
    let held = running.lease_until.unwrap_or(0);
    let lease_until = after(now, lease).as_millisecond().max(held.saturating_add(1));
    Record { lease_until: Some(lease_until), ..running.clone() }
}

/// Marks that the dead letter was sent.
pub fn dead_lettered(failed: &Record) -> Record {
    Record { dlq: Some(Dlq::Sent), ..without_message(failed.clone()) }
}

/// Files a job in the due index, or moves it there: the record holds its message until `run_at`. `owner` is a fresh
/// token, without which a mark of what was filed before would undo the move.
pub fn filed(seen: Option<&Record>, request: &Request, policy: &Policy, owner: &str, run_at: Timestamp) -> Record {
    let base = seen.cloned().unwrap_or_else(|| created(request, policy));
    let digest = digest(&base, request);
    let base = if base.envelope.is_some() { base } else { with_message(base, request) };
    Record {
        digest,
        state: State::Scheduled,
        run_at: Some(run_at),
        due: Some(shard(&request.id)),
        owner: Some(owner.into()),
        ..unfinished(base)
    }
}

fn with_message(record: Record, request: &Request) -> Record {
    Record {
        envelope: Some(request.body.clone()),
        message_group: request.message_group.clone(),
        message_attributes: request.message_attributes.clone(),
        ..record
    }
}

/// Moves a job that waits and whose message its record holds. None: it does not wait so. `owner` is a fresh token.
pub fn moved(seen: &Record, owner: &str, run_at: Timestamp) -> Option<Record> {
    let waits = matches!(seen.state, State::Scheduled | State::Queued | State::Retrying) && seen.envelope.is_some();
    let request = Request { id: seen.id.clone(), ..Request::default() };
    waits.then(|| filed(Some(seen), &request, &UNKNOWN, owner, run_at))
}

/// Runs a job anew that has ended: files it with the message that is given, and keeps its ending in the history. None: it
/// has not ended. `owner` is a fresh token.
pub fn retry(seen: &Record, request: &Request, owner: &str, now: Timestamp) -> Option<Record> {
    if !seen.state.is_terminal() {
        return None;
    }
    let again = Record {
        name: request.name.clone(), // a job that was called off before it was seen has none
        queue: request.queue.clone(),
        max_attempts: request.max_attempts.unwrap_or(seen.max_attempts),
        tags: if request.tags.is_empty() { seen.tags.clone() } else { request.tags.clone() },
        meta: if request.meta.is_empty() { seen.meta.clone() } else { request.meta.clone() },
        result: None,
        error: None,
        progress: None,
        checkpoint: None,
        ..without_message(redriven(&remember_ending(seen.clone())))
    };
    Some(filed(Some(&again), request, &UNKNOWN, owner, request.run_at.unwrap_or(now)))
}

/// Adds the ending of a job to its history, unless the failed attempt that it ended with is there already.
fn remember_ending(ended: Record) -> Record {
    let failure = ended.error.clone().unwrap_or_default();
    let kind = if ended.state == State::Failed { failure.kind } else { ended.state.as_str().to_owned() };
    if ended.history.last().is_some_and(|last| (last.generation, &last.kind) == (ended.generation, &kind)) {
        return ended;
    }
    let at = ended.finished_at;
    remember(ended, Failure { kind, message: failure.message, at })
}

/// Whether the message of a filed job is to be sent by then.
pub fn is_sendable(record: &Record, until: Timestamp) -> bool {
    record.state == State::Scheduled && record.envelope.is_some() && record.run_at.is_some_and(|at| at <= until)
}

/// The mark that a due job's message was sent.
pub fn sent(scheduled: &Record) -> Record {
    Record { state: State::Queued, due: None, ..scheduled.clone() }
}

/// Calls a job off: a terminal record where it does not run, the request where it does. None: it has ended.
pub fn cancel(seen: Option<&Record>, request: &Request, policy: &Policy, now: Timestamp) -> Option<Record> {
    let Some(seen) = seen else {
        return Some(finished(cancelled(created(request, policy)), policy, now));
    };
    match seen.state {
        state if state.is_terminal() => None,
        State::Running => Some(Record { cancel_requested: true, ..seen.clone() }),
        _ => Some(finished(cancelled(seen.clone()), policy, now)),
    }
}

/// What a look at the store says about a write whose answer was lost or refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// It was made: the record is as this write leaves it.
    Ours,
    /// It was not made, and can be.
    Open,
    /// Someone else was first.
    Refused(Option<Box<Record>>),
}

/// Resolves a write from `seen` to `next` by what is `stored`.
pub fn resolve(next: &Record, seen: Option<&Record>, stored: Option<Record>) -> Resolution {
    let version = stored.as_ref().map(Record::version);
    if version == Some(next.version()) {
        Resolution::Ours
    } else if version == seen.map(Record::version) {
        Resolution::Open
    } else {
        Resolution::Refused(stored.map(Box::new))
    }
}
