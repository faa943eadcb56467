//! Explores every order of the requests of two ticks and an operator, within small budgets. The beater and the edits are the
//! real ones, on the in-memory adapters.
//!
//! Each request that can affect the result waits at a [gate](gate), and a depth-first search decides the next step. A request
//! succeeds, succeeds with a lost answer, or is refused, or its beater dies at it. A run cannot be undone. Each run starts
//! from the beginning and follows the path of its predecessor up to the last choice with another option. A state that was seen
//! before with the same remaining budgets is not explored again. A beater is a function of its answers, so the answers and the
//! tables are the whole state.
//!
//! The explored part is followed by a calm one: a tick each minute and a worker, without faults, until the schedule has ended.
//! Then the runs of jobs are counted. A search without findings proves nothing, so each [`Mutation`] breaks one rule of the
//! ports and must be found by name.

mod gate;
mod hub;
mod judge;
mod run;
mod scenario;
mod search;

use super::*;
use crate::beater::rows::Row;

/// The id of the explored schedule.
const ID: &str = "explored";

/// A property that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Property {
    /// Each fire of the current schedule runs, from its last edit and from the first tick that saw the edit. A resumed schedule
    /// catches up with fires that it missed since it was resumed.
    NoFireLost,
    /// No fire runs twice.
    NoneDoubled,
    /// Each run is a fire of a version of the schedule, and was not due before that version was written.
    NoneInvented,
    /// No job runs before its time.
    NoneEarly,
    /// No job of the old schedule runs after a tick has fully processed a change, a pause or a deletion. Jobs that were due by the
    /// latest tick until then may run.
    CalledOff,
    /// No beater undoes an operator's edit.
    EditsStand,
    /// No beater moves the next fire back.
    CursorForward,
    /// Fires that were made ahead are listed once each, in order, and are fires of a version within the look-ahead.
    AheadBounded,
    /// At the end each job has ended, no message is left, and the row is out of the index or deleted.
    AtRest,
}

/// A rule of the ports that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mutation {
    /// A row is changed without its condition.
    IgnoreCondition,
    /// A transaction moves the cursor and omits the jobs.
    ForgetJobs,
    /// A transaction with a lost answer has changed only the row.
    HalfCommit,
    /// A transaction overwrites existing jobs.
    Overwrite,
    /// Jobs are sent and marked as if they were due.
    SendAtOnce,
    /// A transaction files each job twice: the second one is the job of half a minute before.
    FileAnother,
    /// A changed row loses its list of fires sent ahead.
    ForgetAhead,
    /// A changed row lists its fires sent ahead twice.
    RepeatAhead,
    /// A changed row keeps a cursor of the hour before.
    MoveBack,
    /// A transaction omits the writes that replace jobs.
    ForgetReplaced,
    /// A send succeeds, but the message is lost.
    ForgetMessages,
    /// The index always shows the first version of each row.
    StaleIndex,
}

/// An operator's action, as in [`Schedules`].
#[derive(Debug, Clone, Copy)]
enum Edit {
    Put(fn() -> Entry),
    Pause,
    Resume,
    Delete,
}

/// The bounds of the exploration. Times are minutes after ten o'clock, when the schedule fires first.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The minutes of the ticks.
    ticks: &'static [i64],
    /// Maximum number of faults in all: a beater dies, an answer is lost, or a request is refused.
    faults: u8,
    /// Maximum number of times that a minute passes and a worker runs the arrived jobs. This can happen at any moment.
    minutes: u8,
}

/// An explored scenario.
#[derive(Debug)]
struct Scenario {
    name: &'static str,
    /// The minute of an earlier tick, if any; the schedule was written a second before it.
    before: Option<i64>,
    /// The minute at which the exploration begins.
    now: i64,
    edits: &'static [Edit],
    bounds: Bounds,
    /// Bounds that fit into every run of the checks.
    small: Bounds,
}

/// Fires at each even minute until six past ten.
fn even() -> Entry {
    told("0 0-6/2 10 4 5 ? 2026", "as first told")
}

/// The same with other arguments.
fn even_anew() -> Entry {
    told("0 0-6/2 10 4 5 ? 2026", "as told now")
}

/// Fires half a minute after three minutes. One of these minutes is even.
fn other() -> Entry {
    told("30 0,1,5 10 4 5 ? 2026", "as told now")
}

/// Fires at each minute.
fn each() -> Entry {
    told("0 0-6 10 4 5 ? 2026", "as told now")
}

fn told(expression: &str, args: &str) -> Entry {
    Entry::named(ID, cron(expression, "UTC"), "note", json!(args)).catch_up(CatchUp::All)
}

fn minute(minute: i64) -> Timestamp {
    instant("2026-05-04T10:00:00Z") + jiff::SignedDuration::from_mins(minute)
}
