//! The figures of one tick of a beater.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Process,
    emf::{Dimensions, Group, Line},
};

/// The dimensions of the metrics of a beater.
const BEATER: &[Dimensions] = &[&["beater"]];

/// The figures of a tick that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tick {
    pub(crate) fired: usize,
    pub(crate) sent: usize,
    pub(crate) repaired: usize,
    pub(crate) overdue: usize,
    pub(crate) explained: usize,
    pub(crate) wrong: usize,
    pub(crate) failed: usize,
    /// The greatest lateness of a schedule that fired.
    pub(crate) late_by: Duration,
}

/// Returns the line of a tick. A tick that could not read a table is not counted in `Ticks`.
pub(super) fn line<'a>(name: &'a str, tick: Option<&Tick>, at: Timestamp, process: &Process, request_id: &'a str) -> Line<'a> {
    let mut group = Group::of(BEATER);
    match tick {
        None => group.count("FailedActions", 1),
        Some(tick) => {
            group.count("Ticks", 1);
            if tick.fired > 0 {
                group.millis("ScheduleLateness", u64::try_from(tick.late_by.as_millis()).unwrap_or(u64::MAX));
            }
            let counts = [
                ("Fired", tick.fired),
                ("Sent", tick.sent),
                ("Repaired", tick.repaired),
                ("Overdue", tick.overdue),
                ("Explained", tick.explained),
                ("Wrong", tick.wrong),
                ("FailedActions", tick.failed),
            ];
            for (name, count) in counts {
                group.count(name, count as u64);
            }
        }
    }
    process.add_to(&mut group);
    Line::new(at, request_id).dimension("beater", name).group(group)
}
