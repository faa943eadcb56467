//! A cron expression in a time zone: which instants its civil times are.
//!
//! A zone is walked segment by segment; inside one, its offset is constant and the civil times that match are found in
//! the expression's sets. Nothing is probed second by second, and no zone is special.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    expression::Expression,
    zone::{Change, Segment, second_after, second_before},
};

/// A fixed job whose civil time lies in a longer gap does not fire for it: such a gap is a day that the zone left out,
/// and not a change of clocks.
const LONGEST_GAP: SignedDuration = SignedDuration::from_hours(3);

/// No civil time matches outside the years 1970 to 2199, and no offset is as long as two days.
const FIRST: Timestamp = Timestamp::constant(-2 * 86_400, 0);
const LAST: Timestamp = Timestamp::constant(7_258_118_400 + 2 * 86_400, 0);

/// An expression, its zone, and what a gap does to fixed jobs.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    pub(super) expression: Expression,
    pub(super) zone: TimeZone,
    pub(super) skip_gap: bool,
}

impl Cron {
    /// The first fire after that instant.
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

    /// The last fire in `(after, until]`.
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

    /// The first fire in the segment, at or after `from`.
    fn first_in(&self, segment: &Segment, from: Timestamp) -> Option<Timestamp> {
        if segment.start.is_some_and(|start| start.at == from && self.fires_after_gap(start)) {
            return Some(from);
        }
        let civil = self.expression.from(segment.civil(from).max(self.first_shown(segment.start)))?;
        segment.instant(civil)
    }

    /// The last fire since the change `start`, at or before `until`.
    fn last_until(&self, until: Timestamp, start: Option<Change>) -> Option<Timestamp> {
        let offset = self.zone.to_offset(until);
        match self.expression.until(offset.to_datetime(until)).filter(|&civil| civil >= self.first_shown(start)) {
            Some(civil) => offset.to_timestamp(civil).ok(),
            None => start.filter(|&start| self.fires_after_gap(start)).map(|start| start.at),
        }
    }

    /// The civil time from which clocks count after a change. When they went back, a fixed job has already fired for what
    /// they show again.
    fn first_shown(&self, start: Option<Change>) -> DateTime {
        match start {
            None => DateTime::MIN,
            Some(start) if self.expression.interval => start.to(),
            Some(start) => start.to().max(start.from()),
        }
    }

    /// Whether this is a fixed job of which a civil time was left out by that change.
    fn fires_after_gap(&self, change: Change) -> bool {
        let counts = change.jump() <= LONGEST_GAP && !self.expression.interval && !self.skip_gap;
        // Where clocks went back, or stood, nothing is both at or after the one time and before the other.
        counts && self.expression.from(change.from()).is_some_and(|civil| civil < change.to())
    }
}

/// The whole second in which `at` lies.
fn floor(at: Timestamp) -> Timestamp {
    let before = i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(at.as_second() - before).unwrap_or(Timestamp::MIN)
}
