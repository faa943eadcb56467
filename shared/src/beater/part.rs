//! Inputs and reports that the parts of a tick share.

use std::{ops::AddAssign, sync::Arc};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{dlqs::Dlqs, rows::Rows};
use crate::{Clock, queue::Source, store::Index};

/// The jobs that are due, and where they go.
#[derive(Clone)]
pub(crate) struct Due {
    pub(crate) store: Arc<dyn Index>,
    pub(crate) queue: Arc<dyn Source>,
    pub(crate) clock: Clock,
}

/// A tick: what it stands for, and how far it looks ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick {
    pub(super) at: Timestamp,
    pub(super) horizon: Timestamp,
    pub(super) stop_at: Instant,
}

impl Tick {
    /// The number of the minute: what is looked at part by part goes on with it.
    pub(super) fn turn(self) -> u64 {
        u64::try_from(self.at.as_second()).unwrap_or(0) / 60
    }
}

/// The tables and queues of a beater.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) due: Due,
    pub(crate) rows: Arc<dyn Rows>,
    /// The prefix of the names of queues in this environment.
    pub(crate) prefix: String,
    /// The dead-letter queues that are looked through.
    pub(crate) dlqs: Arc<Dlqs>,
}

/// The report of a part of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Done, as that part says.
    pub(crate) done: usize,
    /// Cannot be read or is wrong: a person must put it right.
    pub(crate) wrong: usize,
    /// Late, and only a message can bring it back.
    pub(crate) overdue: usize,
    /// Could not be read, written or sent: the next tick tries again.
    pub(crate) failed: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.wrong += other.wrong;
        self.overdue += other.overdue;
        self.failed += other.failed;
    }
}
