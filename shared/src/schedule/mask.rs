//! A set of small numbers: the allowed values of a field.

use std::iter;

/// A set of the numbers 0 to 63, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mask(pub(super) u64);

impl Mask {
    /// Returns the numbers from `low` to `high`, both included.
    pub(super) const fn span(low: u32, high: u32) -> Self {
        Self((u64::MAX << low) & (u64::MAX >> (63 - high)))
    }

    pub(super) const fn one(value: u32) -> Self {
        Self(1 << value)
    }

    pub(super) const fn has(self, value: u32) -> bool {
        self.0 >> value & 1 == 1
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the smallest value.
    pub(super) fn first(self) -> Option<u32> {
        (self.0 != 0).then(|| self.0.trailing_zeros())
    }

    /// Returns the largest value.
    pub(super) fn last(self) -> Option<u32> {
        self.0.checked_ilog2()
    }

    /// Returns the smallest value that is at least `low`; `None` for a `low` above 63.
    pub(super) fn from(self, low: u32) -> Option<u32> {
        Self(self.0 & u64::MAX.checked_shl(low).unwrap_or(0)).first()
    }

    /// Returns the largest value below `high`.
    pub(super) fn under(self, high: u32) -> Option<u32> {
        Self(self.0 & !u64::MAX.checked_shl(high).unwrap_or(0)).last()
    }

    /// Returns the values in ascending order.
    pub(super) fn values(self) -> impl Iterator<Item = u32> {
        iter::successors(self.first(), move |&value| self.from(value + 1))
    }
}
