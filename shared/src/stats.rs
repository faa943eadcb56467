//! Statistics by queue and day: the endings of deliveries, and the times that jobs waited and ran.
//!
//! Each process of a function keeps its own counts, and writes them as whole values along with its other writes. So no counter is shared,
//! no item is hot, and a repeated or lost write changes no count. The additional statement costs one write unit; a busy process adds it
//! to one request per second.
//!
//! A process makes a request for statistics alone in three cases: it parks a message, it discards a duplicate with other arguments, or
//! its jobs are [recorded on trouble](crate::Recording::OnTrouble) and succeed. The last case makes at most one request per minute.
//!
//! The numbers are close, not exact. When a process ends, its counts since the last write are lost: up to a second of a busy process, up to
//! a minute of unrecorded successes, or the duplicates of a process without other work. An ending is counted even if its write is refused.

mod counter;
mod spread;
mod tally;

pub(crate) use self::{
    counter::{Counter, Kept, Share},
    tally::{OTHER_ARGUMENTS, Sample},
};
#[cfg(feature = "operator")]
pub use self::{spread::Spread, tally::Tally};
