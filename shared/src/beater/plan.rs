//! Which fires a tick makes, as pure functions: a row, the instant of the tick and its horizon give the fires and the
//! next one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    entry::{CatchUp, Entry},
    rows::Row,
};
use crate::Timetable;

/// The most fires that [`CatchUp::Skip`] makes up for, however short the interval.
const MOST: usize = 100;

/// What a tick does about one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The fires to be made, oldest first.
    pub(super) fires: Vec<Timestamp>,
    /// The first one after them; none when the schedule has ended.
    pub(super) next: Option<Timestamp>,
}

/// The fires that are due by `horizon`, from `from` on; what lies before `at` was missed.
pub(super) fn plan(entry: &Entry, timetable: &Timetable, from: Timestamp, at: Timestamp, horizon: Timestamp) -> Plan {
    let seen = before(from);
    let (catch_up, grace, backlog) = entry.rule();
    let mut fires = match catch_up {
        CatchUp::One => newest(timetable, seen, at, 1),
        CatchUp::Skip => newest(timetable, seen.max(earlier(at, grace)), at, MOST),
        CatchUp::All => newest(timetable, seen, at, backlog),
    };
    let ahead = |after: &Timestamp| timetable.next(*after).filter(|fire| *fire <= horizon);
    fires.extend(std::iter::successors(ahead(&seen.max(at)), ahead));
    Plan { fires, next: timetable.next(seen.max(horizon)) }
}

/// The newest fires in `(after, until]`, oldest first.
fn newest(timetable: &Timetable, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
    let older = |fire: &Timestamp| timetable.latest(after, before(*fire));
    let mut fires: Vec<_> = std::iter::successors(timetable.latest(after, until), older).take(most).collect();
    fires.reverse();
    fires
}

pub(super) fn before(at: Timestamp) -> Timestamp {
    at.checked_sub(SignedDuration::from_millis(1)).unwrap_or(Timestamp::MIN)
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_sub(by).ok()).unwrap_or(Timestamp::MIN)
}

/// From when on a row fires. An entry that is new or was changed fires from the tick on that sees it first, but not for a
/// time before the change; new rules of its time zone hold at once, and what was missed is still made up for.
pub(super) fn from(row: &Row, at: Timestamp, now: Timestamp) -> Timestamp {
    match row.next_fire.as_deref().and_then(|text| text.parse().ok()) {
        Some(next) if row.is_current() => next,
        Some(next) if row.is_settled() => Timestamp::min(next, at),
        // A change names its time. Where one by hand did not, this is still the next fire of the entry as it was.
        Some(next) if row.settled.is_none() || next <= now => Timestamp::max(next, at),
        _ => at,
    }
}
