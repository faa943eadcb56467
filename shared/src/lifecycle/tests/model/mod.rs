//! Every order of events within small bounds: a model checker explores the decisions themselves, and no copy of them.
//!
//! The world is one job: its record, its messages, actors that are workers, beaters and clients in turn, and whatever
//! requests are on their way. Answers are lost, requests come late or twice, processes die between any two steps, clocks
//! differ by all that they may. What bounds it are budgets: so many crashes, lost answers, leaps of time. Within those,
//! each state is judged by each [`Invariant`], and from each a run without faults must lead to the job's end.
//!
//! A checker that finds nothing proves nothing. So each [`Mutation`] breaks one rule, and must be found out by name.

mod event;
mod explore;
mod judge;
mod world;

use super::*;

/// What must hold in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Invariant {
    /// While there is something to do, there is a message, or a record from which one will be sent.
    NoLoss,
    /// Never two valid leases on one job.
    OneRunner,
    /// Who lost the lease changes nothing, and no write is made twice.
    Fencing,
    /// What failed or was killed never exceeds the budget, nor what was started.
    Bounded,
    /// What did not run costs nothing.
    HonestAttempts,
    /// What is terminal stays so, and is remembered for long enough.
    OnceRemembered,
    /// The time of the record holds, and no mark undoes a move.
    RecordWins,
    /// What was called off does not run again.
    CalledOff,
    /// Without further faults the job comes to its end.
    Progress,
}

/// A rule that is broken on purpose: the real decisions, called or heeded in a wrong way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mutation {
    /// A write is made whatever stands there, if only the id is the same.
    NoOwnerCheck,
    /// The message goes as its ending is sent, not as it is confirmed.
    DeleteBeforeRecord,
    /// An attempt is counted as it ends, not as it is claimed.
    CountAtFinish,
    /// The due job is marked as sent, then sent.
    MarkBeforeSend,
    /// A refused write is taken for someone else's, without a look at whose it was.
    NoOwnSuccess,
    /// The lease is measured from the answer, not from before the request.
    LeaseFromAnswer,
    /// A job is taken over as soon as its lease has run out, whatever clocks may differ.
    NoSkewMargin,
    /// Given back, an attempt gives its generation back as well.
    GenerationFalls,
    /// A move keeps the token of what was filed before.
    MoveKeepsToken,
    /// A job claimed straight from the index forgets its message.
    ForgetEnvelope,
    /// The dead letter is not sent before its message goes.
    DeleteBeforeLetter,
    /// The time for which a job waits is not looked at.
    StartEarly,
    /// What was redriven runs again whatever its generation.
    RedriveAny,
    /// The request to cancel is not looked at as an attempt ends.
    IgnoreCancel,
    /// A record that has ended may be claimed again.
    ReopenEnded,
    /// The budget of attempts is not looked at.
    NoBudget,
    /// A filed job's message goes before the record holds it.
    DeleteBeforeFiled,
    /// What SQS has given up goes without a word.
    DropAbandoned,
    /// A beater files anew what may still be running.
    RepairAtOnce,
    /// Nobody looks for jobs whose message is gone.
    NoRepair,
    /// A job that fails forgets its message before its dead letter is sent.
    ForgetOwed,
    /// Nobody looks for dead letters that are owed.
    NoOwed,
    /// A record that is written on trouble does not hold the message.
    TroubleForgets,
    /// An attempt that succeeds is not recorded, though its record is there.
    SuccessUnwritten,
}

/// How an attempt may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    Success,
    Fails,
    Fatal,
    SnoozesShort,
    SnoozesLong,
    Resumes,
}

/// How often what may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Budget {
    /// A process dies.
    crashes: u8,
    /// An answer is lost, so that one must look.
    losses: u8,
    /// A request comes once more, or after its sender died.
    strays: u8,
    /// Time leaps to the next instant that makes a difference.
    leaps: u8,
    /// A message is delivered that was deleted.
    ghosts: u8,
    renewals: u8,
    cancels: u8,
    moves: u8,
    beats: u8,
    repairs: u8,
    redrives: u8,
    /// SQS itself moves a message to the dead-letter queue.
    fuses: u8,
}

/// What is explored.
#[derive(Debug, Clone)]
struct Bounds {
    name: &'static str,
    /// By how much the clock of each actor is off, in milliseconds.
    skews: &'static [i64],
    attempts: u32,
    /// The seconds until the job is due.
    due: Option<u64>,
    recording: Recording,
    endings: &'static [How],
    budget: Budget,
    /// What each check has time for.
    small: Budget,
}
