//! Statistics by queue and day: how deliveries ended, how long jobs waited and ran.
//!
//! Each process of a function counts for itself and writes what it has counted, whole, with the requests that it makes
//! anyway; only where a message is parked, or a duplicate has other arguments, with one of its own, and once a minute where jobs
//! succeed that are [recorded on trouble](crate::Recording::OnTrouble). So no counter is shared,
//! none is ever hot, and a write that is repeated or lost changes nothing. A request that records endings has one statement more, which costs a write unit; of a
//! process that makes many, one a second has it.
//!
//! The numbers are close, not exact: what a process had counted since it last wrote is lost when it ends, such as the last
//! second of a busy one, the last minute of one whose jobs succeed unrecorded, or the duplicates of one that saw nothing else; and an ending that was refused is counted all the same.

mod counter;
mod spread;
mod tally;

pub(crate) use self::{
    counter::{Counter, Kept, Share},
    tally::{OTHER_ARGUMENTS, RESERVED, Sample},
};
#[cfg(feature = "operator")]
pub use self::{spread::Spread, tally::Tally};
