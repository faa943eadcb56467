//! The year field: 1970 to 2199.

use super::{ScheduleError, field::YEAR, mask::Mask};

const FIRST: i16 = 1970;
const COUNT: u32 = 230;

/// A set of years, 64 in each mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Years([Mask; 4]);

impl Years {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let mut years = Self(<[Mask; 4]>::default());
        for item in YEAR.items(text) {
            YEAR.each(item?, |year| years.add(year))?;
        }
        Ok(years)
    }

    fn add(&mut self, year: u32) {
        let (block, bit) = split(year - u32::from(FIRST.unsigned_abs()));
        self.0[block] = self.0[block].or(Mask::one(bit));
    }

    pub(super) fn has(&self, year: i16) -> bool {
        place(year).is_some_and(|at| self.holds(at))
    }

    pub(super) fn is_all(&self) -> bool {
        (0..COUNT).all(|at| self.holds(at))
    }

    /// Returns the first year of the set that is at least `low`.
    pub(super) fn from(&self, low: i16) -> Option<i16> {
        let low = u32::try_from(low.saturating_sub(FIRST)).unwrap_or(0);
        (low..COUNT).find(|&at| self.holds(at)).and_then(year)
    }

    /// Returns the last year of the set before `high`.
    pub(super) fn under(&self, high: i16) -> Option<i16> {
        let high = u32::try_from(high.saturating_sub(FIRST)).unwrap_or(0).min(COUNT);
        (0..high).rev().find(|&at| self.holds(at)).and_then(year)
    }

    /// Returns the years in ascending order.
    pub(super) fn values(&self) -> impl Iterator<Item = i16> {
        (0..COUNT).filter(|&at| self.holds(at)).filter_map(year)
    }

    fn holds(&self, at: u32) -> bool {
        let (block, bit) = split(at);
        self.0[block].has(bit)
    }
}

/// Returns the number of years since the first, if the year is in range.
fn place(year: i16) -> Option<u32> {
    u32::try_from(year.checked_sub(FIRST)?).ok().filter(|&at| at < COUNT)
}

fn year(at: u32) -> Option<i16> {
    i16::try_from(at).ok().map(|at| FIRST + at)
}

fn split(at: u32) -> (usize, u32) {
    ((at / 64) as usize, at % 64)
}
