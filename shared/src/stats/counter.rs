//! The statistics of one process: what it has counted, and which part of it is to be written.

use std::{
    collections::BTreeMap,
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

/// So many shares are written with as many requests in a row, and then one a second.
const ROW: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// How often a request is made for statistics alone, where a process has nothing else to write.
const LATE: Duration = Duration::from_mins(1);

/// What a process counts.
#[derive(Debug)]
pub(crate) struct Counter {
    /// The name of this process.
    process: String,
    pages: Mutex<BTreeMap<(String, Date), Page>>,
    /// That the table does not take it.
    stopped: AtomicBool,
    /// Until when the shares that were written would be one a second.
    spent: Mutex<Option<Instant>>,
    /// When a request was last made for endings that nothing else writes.
    late_since: Mutex<Option<Instant>>,
}

/// A tally, and how much of it is written.
#[derive(Debug, Default)]
struct Page {
    tally: Tally,
    /// How many changes it has seen; of those, up to which one it was sent, and whether its item is there.
    version: u64,
    sent: u64,
    exists: bool,
}

/// What is to be written of a page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Share {
    pub(crate) process: String,
    pub(crate) queue: String,
    pub(crate) day: Date,
    pub(crate) tally: Tally,
    /// Grows; an item with a higher one is newer.
    pub(crate) version: u64,
    /// Whether the item is there already.
    pub(crate) exists: bool,
}

/// What came of writing a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Done,
    /// The item was there, against expectation.
    Exists,
    /// A newer one stands there, or none.
    Refused,
    /// The table will never take it.
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
        // Yesterday's is done once it is written.
        pages.retain(|(_, of), page| *of >= day || page.sent < page.version);
        let page = pages.entry((queue.to_owned(), day)).or_default();
        page.tally.add(now, sample);
        if panics::ABORT {
            page.tally.aborting_at = Some(now);
        }
        page.version += 1;
    }

    /// Takes an ending back that came otherwise.
    pub(crate) fn take_back(&self, queue: &str, now: Timestamp, ending: &str) {
        let mut pages = self.pages();
        let page = pages.get_mut(&(queue.to_owned(), day(now)));
        if let Some(count) = page.and_then(|page| page.tally.endings.get_mut(ending)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Counts on, but writes no more.
    pub(crate) fn stop(&self) {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            tracing::error!("the table does not take statistics; this process writes no more of them");
        }
    }

    /// What has changed since it was sent last, if it is to be sent now.
    pub(crate) fn next(&self, now: Instant) -> Option<Share> {
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let mut pages = self.pages();
        let ((queue, day), page) = pages.iter_mut().find(|(_, page)| page.sent < page.version)?;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let until = spent.filter(|until| *until > now).unwrap_or(now);
        if until > now + PAUSE * (ROW - 1) {
            return None;
        }
        *spent = Some(until + PAUSE);
        page.sent = page.version;
        let (process, tally) = (self.process.clone(), page.tally.clone());
        Some(Share { process, queue: queue.clone(), day: *day, tally, version: page.version, exists: page.exists })
    }

    /// Returns true once a minute, where endings are counted that no request takes along. The first call starts the first minute.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        let mut since = self.late_since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_late = now >= *since.get_or_insert(now) + LATE;
        if is_late {
            *since = Some(now);
        }
        is_late
    }

    /// Notes what came of it.
    pub(crate) fn kept(&self, share: &Share, kept: Kept) {
        if kept == Kept::Invalid {
            self.stop();
        }
        if let Some(page) = self.pages().get_mut(&(share.queue.clone(), share.day)) {
            match kept {
                Kept::Done => page.exists = true,
                // Whatever was sent may not be there: it goes once more with the next request.
                Kept::Exists => (page.exists, page.sent) = (true, 0),
                Kept::Refused | Kept::Invalid => {}
                Kept::Unknown => page.sent = 0,
            }
        }
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<(String, Date), Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The day of an instant, in UTC.
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
