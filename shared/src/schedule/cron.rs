//! A cron expression in a time zone: the instants of its civil times.
//!
//! The search walks through a zone segment by segment. Inside a segment the offset is constant, and the matching civil times come
//! from the expression's sets. It never tests each second, and treats all zones alike.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    expression::Expression,
    zone::{Change, Segment, second_after, second_before},
};

/// A fixed job whose civil time is inside a longer gap does not fire for it. A longer gap is a day that the zone skipped, and not
/// a clock change.
const LONGEST_GAP: SignedDuration = SignedDuration::from_hours(3);

/// No civil time matches outside the years 1970 to 2199, and no offset is as long as two days.
const FIRST: Timestamp = Timestamp::constant(-2 * 86_400, 0);
const LAST: Timestamp = Timestamp::constant(7_258_118_400 + 2 * 86_400, 0);

/// An expression, its zone, and the behaviour of fixed jobs in a gap.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    pub(super) expression: Expression,
    pub(super) zone: TimeZone,
    pub(super) skip_gap: bool,
}

impl Cron {
    /// Returns the first fire after an instant.
    pub(super) fn after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = second_after(floor(after))?.max(FIRST);
        while from <= LAST {
            let segment = Segment::at(&self.zone, from);
            if let Some(fire) = self.first_in(&segment, from) {
                return Some(fire);
            }
            from = segment.end?;
        }
        None
    }

    /// Returns the last fire in `(after, until]`.
    pub(super) fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut until = floor(until).min(LAST);
        while until > after {
            let start = Change::before(&self.zone, until);
            if let Some(fire) = self.last_until(until, start) {
                return Some(fire).filter(|&fire| fire > after);
            }
            until = second_before(start?.at)?;
        }
        None
    }

    /// Returns the first fire in the segment, at or after `from`.
    fn first_in(&self, segment: &Segment, from: Timestamp) -> Option<Timestamp> {
        if segment.start.is_some_and(|start| start.at == from && self.fires_after_gap(start)) {
            return Some(from);
        }
        let civil = self.expression.from(segment.civil(from).max(self.first_shown(segment.start)))?;
        segment.instant(civil)
    }

    /// Returns the last fire since the change `start`, at or before `until`.
    fn last_until(&self, until: Timestamp, start: Option<Change>) -> Option<Timestamp> {
        let offset = self.zone.to_offset(until);
        match self.expression.until(offset.to_datetime(until)).filter(|&civil| civil >= self.first_shown(start)) {
            Some(civil) => offset.to_timestamp(civil).ok(),
            None => start.filter(|&start| self.fires_after_gap(start)).map(|start| start.at),
        }
    }

    /// Returns the first civil time that counts after a change. If clocks went back, a fixed job has already fired for the repeated
    /// civil times.
    fn first_shown(&self, start: Option<Change>) -> DateTime {
        match start {
            None => DateTime::MIN,
            Some(start) if self.expression.interval => start.to(),
            Some(start) => start.to().max(start.from()),
        }
    }

    /// Returns `true` if this is a fixed job and the change skipped one of its civil times.
    fn fires_after_gap(&self, change: Change) -> bool {
        let counts = change.jump() <= LONGEST_GAP && !self.expression.interval && !self.skip_gap;
        // If clocks went back or stood still, no civil time is at or after the first bound and before the second.
        counts && self.expression.from(change.from()).is_some_and(|civil| civil < change.to())
    }
}

/// Returns `at`, rounded down to a whole second.
fn floor(at: Timestamp) -> Timestamp {
    let before = i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(at.as_second() - before).unwrap_or(Timestamp::MIN)
}
