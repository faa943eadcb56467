//! Plans the fires of a tick with pure functions. They take a row, the instant of the tick and its horizon, and compute the fires of this
//! tick and the first fire after them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    entry::{CatchUp, Entry},
    rows::Row,
};
use crate::Timetable;

/// Maximum number of fires that [`CatchUp::Skip`] catches up with, for very short intervals.
const MOST: usize = 100;

/// The fires of one schedule in a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The fires to make, oldest first.
    pub(super) fires: Vec<Timestamp>,
    /// The first fire after them; `None` if the schedule has ended.
    pub(super) next: Option<Timestamp>,
}

/// Returns the fires from `from` to `horizon`. Fires before `at` were missed.
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

/// Returns the newest fires in `(after, until]`, oldest first.
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

/// Returns the instant from which a row fires. A new or changed entry fires from the first tick that sees it, but never for a
/// time before the change. New rules of its time zone take effect at once, and missed fires are still caught up with.
pub(super) fn from(row: &Row, at: Timestamp, now: Timestamp) -> Timestamp {
    match row.next_fire.as_deref().and_then(|text| text.parse().ok()) {
        Some(next) if row.is_current() => next,
        Some(next) if row.is_settled() => Timestamp::min(next, at),
        // A change through `Schedules` sets `next_fire` to the time of the change. A change by hand may leave the next fire of the old
        // entry there. That fire must not be used while it is in the future.
        Some(next) if row.settled.is_none() || next <= now => Timestamp::max(next, at),
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{Schedule, clock::rfc3339, schedule::tzdata_version};

    fn at(time: &str) -> Timestamp {
        format!("2026-05-04T{time}Z").parse().expect("an instant")
    }

    #[test]
    fn a_row_fires_from_its_next_fire_or_from_the_tick() {
        let entry = Entry::named("a", Schedule::cron("* * * * *").timezone("UTC"), "note", Value::Null);
        let (settled, zones) = (Some(entry.fingerprint()), Some(tzdata_version().to_owned()));
        let row = Row::new(entry, at("09:00:00"));
        let (old, other) = (Some("2019a".to_owned()), Some("another".to_owned()));
        for (settled, tzdata, next, expected) in [
            (&settled, &zones, "09:59:00", "09:59:00"),
            (&settled, &zones, "10:05:00", "10:05:00"),
            (&settled, &old, "09:59:00", "09:59:00"),
            (&settled, &old, "10:05:00", "10:00:00"),
            (&None, &None, "09:59:00", "10:00:00"),
            (&None, &None, "10:05:00", "10:05:00"),
            (&other, &zones, "09:59:00", "10:00:00"),
            (&other, &zones, "10:00:30", "10:00:30"),
            (&other, &zones, "10:05:00", "10:00:00"),
        ] {
            let next_fire = Some(rfc3339::text(at(next)));
            let row = Row { settled: settled.clone(), tzdata: tzdata.clone(), next_fire, ..row.clone() };
            assert_eq!(from(&row, at("10:00:00"), at("10:01:00")), at(expected), "{settled:?} {tzdata:?} {next}");
        }
    }
}
