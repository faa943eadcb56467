//! A cron expression in a time zone: which instants its civil times are.
//!
//! A zone is walked segment by segment; inside one, its offset is constant and the civil times that match are found in
//! the expression's sets. Nothing is probed second by second, and no zone is special.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    expression::Expression,
    zone::{Segment, second_after, second_before},
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
        let mut segment = Segment::at(&self.zone, from);
        while from <= LAST {
            if let Some(fire) = self.first_in(&segment, from) {
                return Some(fire);
            }
            segment = segment.next(&self.zone)?;
            from = segment.start;
        }
        None
    }

    /// The last fire in `(after, until]`.
    pub(super) fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut until = floor(until).min(LAST);
        let mut segment = Segment::at(&self.zone, until);
        while until > after {
            if let Some(fire) = self.last_in(&segment, until) {
                return Some(fire).filter(|&fire| fire > after);
            }
            until = second_before(segment.start)?;
            segment = segment.previous(&self.zone)?;
        }
        None
    }

    /// The first fire in the segment, at or after `from`.
    fn first_in(&self, segment: &Segment, from: Timestamp) -> Option<Timestamp> {
        if from == segment.start && self.fires_after_gap(segment) {
            return Some(from);
        }
        let civil = self.expression.from(segment.civil(from).max(self.new_from(segment)))?;
        segment.instant(civil)
    }

    /// The last fire in the segment, at or before `until`.
    fn last_in(&self, segment: &Segment, until: Timestamp) -> Option<Timestamp> {
        let civil = self.expression.until(segment.civil(until)).filter(|&civil| civil >= self.new_from(segment));
        match civil {
            Some(civil) => segment.instant(civil),
            None => self.fires_after_gap(segment).then_some(segment.start),
        }
    }

    /// The civil time from which the segment counts. When clocks went back at its start, a fixed job has already fired
    /// for what they show again.
    fn new_from(&self, segment: &Segment) -> DateTime {
        if self.expression.interval { segment.new_start() } else { segment.new_start().max(segment.old_start()) }
    }

    /// Whether a fixed job's civil time was left out when clocks went forward at the segment's start.
    fn fires_after_gap(&self, segment: &Segment) -> bool {
        let gap = SignedDuration::from_secs(segment.jump().into());
        let counts = gap.is_positive() && gap <= LONGEST_GAP && !self.expression.interval && !self.skip_gap;
        counts && self.expression.from(segment.old_start()).is_some_and(|civil| civil < segment.new_start())
    }
}

/// The whole second in which `at` lies.
fn floor(at: Timestamp) -> Timestamp {
    let before = i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(at.as_second() - before).unwrap_or(Timestamp::MIN)
}
