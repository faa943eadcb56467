//! Every order of the requests of two ticks and an operator, within small budgets: the real beater and the real edits,
//! between which nothing is simplified, on the adapters in memory.
//!
//! Each request that can make a difference waits at a [gate](gate), and a depth-first search decides which goes next: that
//! it comes through, that it is made and its answer lost, that it is refused, or that its beater dies of it. A run cannot
//! be taken back, so each one starts anew and follows the path of its predecessor up to the last choice that has another
//! way. A state that was seen before, with the same budgets left, is not gone through again: a beater is a function of the
//! answers that it was given, so these and the tables are the whole state.
//!
//! After the part that is explored comes a calm one: a tick each minute and a worker, without faults, until the schedule
//! has ended. Then it counts which jobs ran. A search that finds nothing proves nothing, so each [`Mutation`] breaks one
//! rule of the ports, and must be found out by name.

mod gate;
mod hub;
mod judge;
mod run;
mod scenario;
mod search;

use super::*;
use crate::beater::rows::Row;

/// The schedule that is explored.
const ID: &str = "explored";

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Property {
    /// Each fire of the schedule as it stands runs, from its last edit on and from the first tick that saw that. What a
    /// resumed schedule had missed since it was resumed is made up for.
    NoFireLost,
    /// No fire runs twice.
    NoneDoubled,
    /// What runs is a fire of some version of the schedule, and was due no sooner than that version was written.
    NoneInvented,
    /// Nothing runs before its time.
    NoneEarly,
    /// Once a tick has seen a change, a pause or a deletion through, nothing runs as it was that is due after the latest
    /// tick until then.
    CalledOff,
    /// No beater undoes what an operator has written.
    EditsStand,
    /// No beater moves the next fire back.
    CursorForward,
    /// The fires made ahead are told once each, in order, and are fires of some version within the look-ahead.
    AheadBounded,
    /// In the end each job has ended, no message is left, and the row is out of the index or gone.
    AtRest,
}

/// A rule of the ports that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mutation {
    /// A row is changed whatever stands there.
    IgnoreCondition,
    /// A transaction moves the cursor and forgets the jobs.
    ForgetJobs,
    /// A transaction of which the answer is lost has changed the row alone.
    HalfCommit,
    /// A transaction writes its jobs over those that are known.
    Overwrite,
    /// What is sent is sent and marked as if it were due.
    SendAtOnce,
    /// A transaction files each job once more, as that of half a minute before.
    FileAnother,
    /// A changed row forgets what was sent ahead.
    ForgetAhead,
    /// A changed row is told again what was sent ahead.
    RepeatAhead,
    /// A changed row keeps a cursor of the hour before.
    MoveBack,
    /// A transaction forgets what it was to write in the place of jobs.
    ForgetReplaced,
    /// What is sent is confirmed, and not sent.
    ForgetMessages,
    /// The index shows each row as it was shown first.
    StaleIndex,
}

/// What an operator does, as [`Schedules`] has it.
#[derive(Debug, Clone, Copy)]
enum Edit {
    Put(fn() -> Entry),
    Pause,
    Resume,
    Delete,
}

/// How much is explored. Times are minutes after ten o'clock, when the schedule fires first.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// What the ticks stand for.
    ticks: &'static [i64],
    /// How often a beater dies, an answer is lost or a request refused, in all.
    faults: u8,
    /// How often time goes on by a minute, and a worker runs what has come. It does so at any moment.
    minutes: u8,
}

/// What is explored.
#[derive(Debug)]
struct Scenario {
    name: &'static str,
    /// The tick that was made before, if any, of a schedule that was written a second earlier.
    before: Option<i64>,
    /// The time as the exploration begins.
    now: i64,
    edits: &'static [Edit],
    bounds: Bounds,
    /// What each check has time for.
    small: Bounds,
}

/// At each even minute until six past ten.
fn even() -> Entry {
    told("0 0-6/2 10 4 5 ? 2026", "as first told")
}

/// The same with other arguments.
fn even_anew() -> Entry {
    told("0 0-6/2 10 4 5 ? 2026", "as told now")
}

/// At other minutes, one of which is an even one; and between them.
fn other() -> Entry {
    told("30 0,1,5 10 4 5 ? 2026", "as told now")
}

/// At all of them.
fn each() -> Entry {
    told("0 0-6 10 4 5 ? 2026", "as told now")
}

fn told(expression: &str, args: &str) -> Entry {
    Entry::named(ID, cron(expression, "UTC"), "note", json!(args)).catch_up(CatchUp::All)
}

fn minute(minute: i64) -> Timestamp {
    instant("2026-05-04T10:00:00Z") + jiff::SignedDuration::from_mins(minute)
}
