//! A model checker that explores every order of events within small bounds. It runs the real decisions, not a copy of them.
//!
//! The world is one job: its record, its messages, the requests in transit, and actors that are workers, beaters and clients in turn.
//! Answers are lost, requests arrive late or twice, processes die between any two steps, and clocks differ by the maximum. A [`Budget`]
//! limits the number of crashes, lost answers and other events. Each state is checked against each [`Invariant`]. From each state, a run
//! without faults must lead to the job's end.
//!
//! A checker that finds nothing proves nothing. So each [`Mutation`] breaks one rule, and the checker must detect it.

mod event;
mod explore;
mod judge;
mod world;

use super::*;

/// A property of every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Invariant {
    /// An unfinished job has a message, or a record from which one will be sent.
    NoLoss,
    /// A job never has two valid leases.
    OneRunner,
    /// An attempt without a lease changes nothing, and no write is made twice.
    Fencing,
    /// The numbers of failed, killed and started attempts never exceed their limits.
    Bounded,
    /// An attempt that did not run does not count.
    HonestAttempts,
    /// A terminal record stays terminal, and is kept for long enough.
    OnceRemembered,
    /// The run time in the record counts, and no mark undoes a move.
    RecordWins,
    /// A cancelled job does not run again.
    CalledOff,
    /// Without further faults, the job ends.
    Progress,
}

/// A rule that is broken on purpose. The decisions are real, but called or applied in a wrong way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mutation {
    /// A write is made without a comparison of the version.
    NoOwnerCheck,
    /// The message is deleted when its ending is sent, not when it is confirmed.
    DeleteBeforeRecord,
    /// An attempt is counted when it ends, not when it is claimed.
    CountAtFinish,
    /// A due job is marked as sent before it is sent.
    MarkBeforeSend,
    /// A refused write counts as lost, although the stored record may be its own.
    NoOwnSuccess,
    /// The lease counts from the answer, not from the send of the request.
    LeaseFromAnswer,
    /// A job is taken over as soon as its lease has expired, without a margin for different clocks.
    NoSkewMargin,
    /// An attempt that does not count also decreases the generation.
    GenerationFalls,
    /// A move keeps the token of the earlier filing.
    MoveKeepsToken,
    /// The record of a job claimed directly from the index loses its message.
    ForgetEnvelope,
    /// The message is deleted before the dead letter is sent.
    DeleteBeforeLetter,
    /// The run time is ignored.
    StartEarly,
    /// A redriven message runs again, whatever its generation.
    RedriveAny,
    /// The request to cancel is ignored when an attempt ends.
    IgnoreCancel,
    /// An ended record may be claimed again.
    ReopenEnded,
    /// The maximum number of attempts is ignored.
    NoBudget,
    /// The message of a filed job is deleted before the record holds it.
    DeleteBeforeFiled,
    /// A message that SQS has moved to the dead-letter queue is deleted without a record.
    DropAbandoned,
    /// A beater files a job again that may still be running.
    RepairAtOnce,
    /// No beater looks for jobs whose message is gone.
    NoRepair,
    /// The record of a failed job loses its message before the dead letter is sent.
    ForgetOwed,
    /// No beater looks for dead letters that are still to be sent.
    NoOwed,
    /// A record that is written on trouble does not store the message.
    TroubleForgets,
    /// A success is not recorded, although the job has a record.
    SuccessUnwritten,
}

/// The possible endings of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    Success,
    Fails,
    Fatal,
    SnoozesShort,
    SnoozesLong,
    Resumes,
}

/// The maximum number of each kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Budget {
    /// A process dies.
    crashes: u8,
    /// An answer is lost, so that the actor must read the record.
    losses: u8,
    /// A request arrives again, or after its sender died.
    strays: u8,
    /// The time advances to the next instant at which a decision changes.
    leaps: u8,
    /// A deleted message is delivered.
    ghosts: u8,
    renewals: u8,
    cancels: u8,
    moves: u8,
    beats: u8,
    repairs: u8,
    redrives: u8,
    /// SQS moves a message to the dead-letter queue.
    fuses: u8,
}

/// The bounds of one exploration.
#[derive(Debug, Clone)]
struct Bounds {
    name: &'static str,
    /// The difference of each actor's clock, in milliseconds.
    skews: &'static [i64],
    attempts: u32,
    /// The delay of the job, in seconds.
    due: Option<u64>,
    recording: Recording,
    endings: &'static [How],
    budget: Budget,
    /// The smaller budget of the regular check.
    small: Budget,
}
