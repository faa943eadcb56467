//! The statistics of one process: its counts, and the part of them that is still to be written.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use tokio::time::Instant;

use super::tally::{Sample, Tally};
use crate::panics;

/// Number of successive requests that each carry statistics. After that, one request per second does.
const ROW: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Interval of requests for statistics alone, if a process has nothing else to write.
const LATE: Duration = Duration::from_mins(1);

/// The counts of a process.
#[derive(Debug)]
pub(crate) struct Counter {
    /// The name of this process.
    process: String,
    pages: Mutex<Vec<Page>>,
    /// `true` if the table does not accept statistics.
    stopped: AtomicBool,
    /// The instant until which the written shares would last at one per second.
    spent: Mutex<Option<Instant>>,
    /// The instant of the last request for statistics alone.
    late_since: Mutex<Option<Instant>>,
}

/// The tally of one queue on one day, and the part of it that is written.
#[derive(Debug)]
struct Page {
    queue: String,
    day: Date,
    tally: Tally,
    /// Number of changes so far, the number that was last sent, and `true` if the item exists.
    version: u64,
    sent: u64,
    exists: bool,
}

/// The part of a page that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Share {
    pub(crate) process: String,
    pub(crate) queue: String,
    pub(crate) day: Date,
    pub(crate) tally: Tally,
    /// A growing number. An item with a higher number is newer.
    pub(crate) version: u64,
    /// `true` if the item already exists.
    pub(crate) exists: bool,
}

/// The result of the write of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Done,
    /// The item existed unexpectedly.
    Exists,
    /// The table has a newer item, or none.
    Refused,
    /// The table will never accept the item.
    Invalid,
    Unknown,
}

impl Counter {
    pub(crate) fn new(process: impl Into<String>) -> Self {
        Self {
            process: process.into(),
            pages: Mutex::default(),
            stopped: AtomicBool::new(false),
            spent: Mutex::default(),
            late_since: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, queue: &str, now: Timestamp, sample: &Sample<'_>) {
        let day = day(now);
        let mut pages = self.pages();
        // A page of an earlier day is removed once it is written.
        pages.retain(|page| page.day >= day || page.sent < page.version);
        let place = pages.iter().position(|page| page.is_of(queue, day)).unwrap_or(pages.len());
        if place == pages.len() {
            pages.push(Page::new(queue, day));
        }
        let page = &mut pages[place];
        page.tally.add(now, sample);
        if panics::ABORT {
            page.tally.aborting_at = Some(now);
        }
        page.version += 1;
    }

    /// Removes an ending from the counts, because the delivery ended in another way.
    pub(crate) fn take_back(&self, queue: &str, now: Timestamp, ending: &str) {
        let mut pages = self.pages();
        if let Some(page) = pages.iter_mut().find(|page| page.is_of(queue, day(now))) {
            page.tally.take_back(now, ending);
        }
    }

    /// Stops writing. Counting continues.
    pub(crate) fn stop(&self) {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            tracing::error!("cannot write statistics: the table refuses them; this process writes no more of them");
        }
    }

    /// Returns a page that has changed since it was last sent, if one may be sent now.
    pub(crate) fn next(&self, now: Instant) -> Option<Share> {
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let mut pages = self.pages();
        let page = pages.iter_mut().find(|page| page.sent < page.version)?;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let until = spent.filter(|until| *until > now).unwrap_or(now);
        if until > now + PAUSE * (ROW - 1) {
            return None;
        }
        *spent = Some(until + PAUSE);
        page.sent = page.version;
        let (process, queue, tally) = (self.process.clone(), page.queue.clone(), page.tally.clone());
        Some(Share { process, queue, day: page.day, tally, version: page.version, exists: page.exists })
    }

    /// Returns `true` once a minute, for endings that no other request writes. The first call starts the first minute.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        let mut since = self.late_since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_late = now >= *since.get_or_insert(now) + LATE;
        if is_late {
            *since = Some(now);
        }
        is_late
    }

    /// Notes the result of the write of a share.
    pub(crate) fn kept(&self, share: &Share, kept: Kept) {
        if kept == Kept::Invalid {
            self.stop();
        }
        if let Some(page) = self.pages().iter_mut().find(|page| page.is_of(&share.queue, share.day)) {
            match kept {
                Kept::Done => page.exists = true,
                // The sent values may be missing in the item, so the next request sends them again.
                Kept::Exists => (page.exists, page.sent) = (true, 0),
                Kept::Refused | Kept::Invalid => {}
                Kept::Unknown => page.sent = 0,
            }
        }
    }

    fn pages(&self) -> MutexGuard<'_, Vec<Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    fn new(queue: &str, day: Date) -> Self {
        Self { queue: queue.to_owned(), day, tally: Tally::default(), version: 0, sent: 0, exists: false }
    }

    fn is_of(&self, queue: &str, day: Date) -> bool {
        self.day == day && self.queue == queue
    }
}

/// Returns the day of an instant, in UTC.
fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn what_is_counted_goes_with_the_next_request_whole() {
        let (counter, noon) = (Counter::new("p"), at("2026-05-04T12:00:00Z"));
        let count = |at| counter.count("q", at, &Sample { ending: "succeeded", ..Sample::default() });
        assert_eq!(counter.next(Instant::now()), None);
        count(noon);
        count(noon);
        let first = counter.next(Instant::now()).expect("there is something");
        assert_eq!(first.tally.endings["succeeded"], 2);
        assert_eq!(first.version, 2);
        assert!(!first.exists);
        assert_eq!(first.day.to_string(), "2026-05-04");
        assert_eq!(counter.next(Instant::now()), None, "it is under way");
        counter.kept(&first, Kept::Done);
        assert_eq!(counter.next(Instant::now()), None);
        count(noon);
        let second = counter.next(Instant::now()).expect("there is something");
        assert_eq!(second.tally.endings["succeeded"], 3);
        assert_eq!(second.version, 3);
        assert!(second.exists);
        counter.kept(&second, Kept::Unknown);
        assert_eq!(counter.next(Instant::now()), Some(second), "its answer was lost");
    }

    #[test]
    fn who_finds_the_item_there_writes_it_anew() {
        let (counter, noon) = (Counter::new("p"), at("2026-05-04T12:00:00Z"));
        counter.count("q", noon, &Sample::default());
        let one = counter.next(Instant::now()).expect("there is something");
        counter.count("q", noon, &Sample::default());
        let two = counter.next(Instant::now()).expect("there is something");
        assert!(!two.exists, "nobody has answered yet");
        counter.kept(&one, Kept::Done);
        counter.kept(&two, Kept::Exists);
        assert_eq!(counter.next(Instant::now()), Some(Share { exists: true, ..two }));
    }

    #[test]
    fn a_busy_process_writes_thirty_in_a_row_and_then_one_a_second() {
        let (counter, noon, start) = (Counter::new("p"), at("2026-05-04T12:00:00Z"), Instant::now());
        let written = |now| {
            counter.count("q", noon, &Sample::default());
            counter.next(now).map(|share| share.version)
        };
        let row: Vec<_> = (0..40).filter_map(|_| written(start)).collect();
        assert_eq!(row, (1..=30).collect::<Vec<_>>());
        assert_eq!(written(start + PAUSE / 2), None);
        assert_eq!(written(start + PAUSE), Some(42), "with all that was counted meanwhile");
        assert_eq!(written(start + PAUSE), None);
        let later = start + PAUSE * 100;
        assert_eq!((0..40).filter(|_| written(later).is_some()).count(), 30, "after a rest again");
    }

    #[test]
    fn what_no_request_takes_along_is_late_once_a_minute() {
        let (counter, start) = (Counter::new("p"), Instant::now());
        let late: Vec<_> = (0..=180).filter(|seconds| counter.is_late(start + Duration::from_secs(*seconds))).collect();
        assert_eq!(late, [60, 120, 180]);
    }

    #[test]
    fn what_the_table_will_never_take_is_not_sent_again() {
        let (counter, noon) = (Counter::new("p"), at("2026-05-04T12:00:00Z"));
        counter.count("q", noon, &Sample::default());
        let share = counter.next(Instant::now()).expect("there is something");
        counter.kept(&share, Kept::Invalid);
        counter.count("q", noon, &Sample::default());
        assert_eq!(counter.next(Instant::now()), None);
    }

    #[test]
    fn an_ending_that_came_otherwise_is_taken_back() {
        let (counter, noon) = (Counter::new("p"), at("2026-05-04T12:00:00Z"));
        for ending in ["succeeded", "succeeded"] {
            counter.count("q", noon, &Sample { ending, ..Sample::default() });
        }
        counter.take_back("q", noon, "succeeded");
        counter.take_back("r", noon, "succeeded");
        assert_eq!(counter.next(Instant::now()).map(|share| share.tally.endings["succeeded"]), Some(1));
    }

    #[test]
    fn each_queue_and_each_day_is_a_page_of_its_own() {
        let counter = Counter::new("p");
        counter.count("q", at("2026-05-04T23:59:59Z"), &Sample::default());
        counter.count("q", at("2026-05-05T00:00:00Z"), &Sample::default());
        counter.count("r", at("2026-05-05T00:00:00Z"), &Sample::default());
        let mut shares: Vec<_> =
            std::iter::from_fn(|| counter.next(Instant::now())).map(|share| (share.queue, share.day.to_string())).collect();
        shares.sort();
        assert_eq!(shares, [("q", "2026-05-04"), ("q", "2026-05-05"), ("r", "2026-05-05")].map(|(q, d)| (q.to_owned(), d.to_owned())));
        counter.count("r", at("2026-05-05T00:00:01Z"), &Sample::default());
        assert_eq!(counter.pages().len(), 2, "yesterday is forgotten");
    }
}
