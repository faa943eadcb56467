//! A model checker for two jobs. B waits for A, directly or through a node, or both share a limit key that one job can hold. It explores
//! every order of events within small bounds.
//!
//! Each process is real code of the library: a worker that handles a message, a beater that handles a due job, a blocked job or a moved
//! message, or a client that cancels or retries a job. A process is a function of its input and of the answers to its requests. So the
//! model keeps these, and repeats the process to find its next request. Each request is an event: it is made, its answer is lost, or its
//! process dies, and then it may arrive later. A [`Budget`] limits the number of faults. Each state is checked against each [`Property`].
//! From each state without processes, a run without faults must lead to the end of both jobs.
//!
//! The slow scan of blocked jobs would release a job whose release was lost, so it runs in only one of the scenarios.
//!
//! A checker that finds nothing proves nothing. So each [`Mutation`] breaks one rule, and the checker must detect it.

mod event;
mod judge;
mod keyed;
mod port;
mod process;
mod scenario;
mod table;
mod world;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::super::{Due, dlqs::Dlqs};
use crate::{Otherwise, When, clock::from_millis};

/// The job that the other one waits for.
const A: &str = "a";
/// The job that waits.
const B: &str = "b";
/// The node through which B waits for A in some of the scenarios.
const NODE: &str = "b\u{1f}\u{1f}n0";
/// The job that is enqueued after the others have ended, to see if it gets their key.
const C: &str = "c";
/// The key that the jobs share in some of the scenarios.
const KEY: &str = "k\u{1f}\u{1f}limit";
/// The name of all jobs.
const NAME: &str = "probe";
/// The dead-letter queue.
const DLQ: &str = "dead";
/// A character that only the names of tokens contain, and no token.
const SEPARATOR: char = '.';

/// Returns the instant that many minutes after a fixed start.
fn minute(minutes: i64) -> Timestamp {
    from_millis(1_767_225_600_000 + minutes * 60_000)
}

/// A property of every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Property {
    /// B starts only after A has ended as B requires.
    NoEarlyRelease,
    /// Without further faults, both jobs end, or B waits for a retry of A that releases it.
    NoLostRelease,
    /// A job starts once, and again only after a crash or a retry.
    OneRun,
    /// If A has ended and B must learn of it, then a message of A, a message of B, or an entry of A in the due index
    /// exists.
    OwedOrGuarded,
    /// B ends without a run only because of an end of A.
    RightEnd,
    /// Of the jobs that share a key, one runs at a time.
    OneHolder,
    /// Without further faults, all jobs that share a key end.
    NoWaiterForgotten,
    /// After the jobs that share a key have ended, another job gets the key.
    NoSlotLeak,
    /// A job that waits for a key uses no attempt.
    NoAttemptSpent,
}

/// A rule that is broken on purpose, in the ports of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mutation {
    /// B looks at A before its own record is inserted.
    ReadBeforeInsert,
    /// B registers with a job that has ended.
    RegisterWithEnded,
    /// The registration with a job without a record leaves an item that is no record.
    RegisterWithMissing,
    /// B is released although its set is not empty.
    ReleaseAnyway,
    /// The message of A is deleted before B learns of its end.
    DeleteBeforeResolving,
    /// The resolver reads A again, and uses the stored record as the end of A, whatever its state.
    ResolveByLaterReading,
    /// A job that ends without its message is not listed in the due index.
    NothingOwed,
    /// A write replaces the whole item, with the links that its writer saw.
    WholeItem,
    /// A writer that saw no dependents ends A although one has registered since.
    IgnoreDependents,
    /// A rejected message leaves the record of its job unchanged.
    SilentRejection,
    /// A retry that names the dependencies again keeps the release of the last run.
    RetryKeepsRelease,
    /// A live record without `met` starts.
    StartUnmet,
    /// A released job is marked before its message is sent.
    MarkBeforeSend,
    /// The queue deduplicates the messages of a job by its generation.
    DeduplicateByGeneration,
    /// A node counts as succeeded although it still waits.
    CloseEarly,
    /// A registration with a node whose members have all ended counts as a wait.
    RegisterWithClosed,
    /// The dependents that the message of A names are ignored if A has a record.
    IgnoreNamed,
    /// A resolver does not see that a node has already ended.
    SilentNode,
    /// A job takes a key that another one holds.
    TakeFull,
    /// A job that waits for a key does not look at it again.
    NoSecondLook,
    /// The record of a running job does not name its key.
    ForgetPlaces,
    /// A blocked job is not listed under its key.
    ForgetWaiting,
    /// A key is taken from a job whose claim may be on its way.
    HastySweep,
    /// A job frees its key before its ending is written.
    GiveFirst,
    /// A key is handed over without an entry for the job that gets it.
    HandNothing,
    /// B never frees its key.
    KeepForever,
    /// A job that begins to wait for a key uses an attempt.
    SpendByWaiting,
}

/// The results of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    Succeeds,
    Fails,
    /// The attempt fails, and the job is retried.
    Retries,
}

/// The maximum number of each kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Budget {
    /// A process dies.
    crashes: u8,
    /// An answer is lost.
    losses: u8,
    /// The last request of a dead process is made later.
    strays: u8,
    /// A message is delivered while a process has it.
    doubles: u8,
    /// A worker gets a message of a job that it does not know.
    rejects: u8,
    /// SQS moves a message to the dead-letter queue.
    fuses: u8,
    /// An operator cancels A, retries A, cancels B, or retries B.
    cancels: [u8; 2],
    retries: [u8; 2],
    /// A beater hands over a due job.
    beats: u8,
    /// Time passes while no process lives.
    leaps: u8,
}

/// The bounds of one exploration.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is another scenario")]
struct Bounds {
    name: &'static str,
    when: When,
    otherwise: Otherwise,
    /// The maximum number of concurrent processes.
    processes: usize,
    /// The possible results of the body of A.
    results: &'static [How],
    /// `true` if the client has written the records of both jobs.
    recorded: bool,
    /// `true` if the queue is a FIFO queue.
    fifo: bool,
    /// `true` if B waits for A through a node.
    has_node: bool,
    /// `true` if both jobs share a key, and B does not wait for A.
    has_key: bool,
    /// The number of minutes that pass in a leap.
    leap: i64,
    /// `false` if A is never enqueued.
    has_a: bool,
    /// Maximum time of B to wait, in minutes.
    max_blocked: u64,
    /// `true` if the beater looks at blocked jobs again.
    scans: bool,
    budget: Budget,
    /// The smaller budget of the regular check. `None`: the regular check leaves this scenario out.
    small: Option<Budget>,
    /// The messages that are delivered before the exploration of the regular check, without faults.
    first: &'static [&'static str],
}
