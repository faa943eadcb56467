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

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{clock::rfc3339, lifecycle::Ending, panics};

/// The most kinds of failures that are told apart.
const KINDS: usize = 8;
/// The most ids of a kind that are kept.
const IDS: usize = 32;
/// So many shares are written with as many requests in a row, and then one a second.
const ROW: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);
/// How often a request is made for statistics alone, where a process has nothing else to write.
const LATE: Duration = Duration::from_mins(1);
/// The kind of a duplicate whose arguments differ from those of the job.
pub(crate) const OTHER_ARGUMENTS: &str = "other_arguments";
/// The kind of a message with a reserved field is this and the field's name.
pub(crate) const RESERVED: &str = "reserved_";
/// What the others go by.
const OTHERS: &str = "others";

/// What was counted of one queue on one day.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// How deliveries ended, as logs spell the endings.
    #[serde(default)]
    pub endings: BTreeMap<String, u64>,
    /// The kinds of failures, of attempts that failed and of jobs that failed for good; and `other_arguments`, duplicates that
    /// were discarded though their arguments differ from those of the job.
    #[serde(default)]
    pub kinds: BTreeMap<String, u64>,
    /// How long jobs waited for their first attempt, from when they were enqueued or due.
    #[serde(default)]
    pub wait: Spread,
    /// How long attempts ran.
    #[serde(default)]
    pub run: Spread,
    /// When the last first attempt started.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// How long that job had waited, in milliseconds: the age of the queue at that time.
    #[serde(default)]
    pub last_waited_ms: u64,
    /// When a message last asked for something that the function does not have, by kind: `contract`, a newer contract or a
    /// feature of one; `parked`, an unknown name; `reserved_priority` and the like, a reserved field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parked_at: BTreeMap<String, Timestamp>,
    /// Short marks of the ids of parked messages, by kind as above, and of discarded duplicates, by `other_arguments`: at most 32 of
    /// each. [`Tally::saw`] looks an id up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, BTreeSet<u32>>,
    /// When a delivery ended last in a program that was built with `panic = "abort"`.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub aborting_at: Option<Timestamp>,
}

/// How durations are spread, in milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// The sum of the squares of how far each is from the mean.
    pub squares: f64,
    /// How many lie in each [bucket](Spread::bucket).
    pub buckets: Vec<u64>,
}

impl Spread {
    /// Adds one, by the method of Welford.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 285,000 years")]
    fn add(&mut self, duration: Duration) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - ms.leading_zeros()) as usize;
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        let off = ms as f64 - self.mean_ms;
        self.mean_ms += off / self.count as f64;
        self.squares += off * (ms as f64 - self.mean_ms);
    }

    /// Adds what another process, or another day, has counted.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (own, more) = (self.count as f64, other.count as f64);
        let off = other.mean_ms - self.mean_ms;
        self.mean_ms += off * more / (own + more);
        self.squares += other.squares + off * off * own * more / (own + more);
        self.count += other.count;
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += more;
        }
    }

    /// The standard deviation.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn deviation_ms(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }

    /// The milliseconds of a bucket, from the first on to before the second: none, one, two and three, four to seven, and so on.
    pub fn bucket(number: usize) -> (u64, u64) {
        let power = |power: usize| u32::try_from(power).ok().and_then(|power| 1_u64.checked_shl(power)).unwrap_or(u64::MAX);
        match number {
            0 => (0, 1),
            number => (power(number - 1), power(number)),
        }
    }
}

impl Tally {
    /// Returns true where the program that last started a job's first attempt was built with `panic = "abort"`.
    pub fn is_aborting(&self) -> bool {
        self.aborting_at.is_some() && self.last_at <= self.aborting_at
    }

    /// Returns whether a message of this kind had this id. None: more ids were seen than are kept, and this one may be among them.
    pub fn saw(&self, kind: &str, id: &str) -> Option<bool> {
        let Some(ids) = self.ids.get(kind) else { return Some(false) };
        let is_known = ids.contains(&mark(id));
        (is_known || ids.len() < IDS).then_some(is_known)
    }

    fn add(&mut self, now: Timestamp, sample: &Sample<'_>) {
        add(&mut self.endings, sample.ending);
        let is_parked = sample.ending == Ending::Parked.as_str();
        if let Some(kind) = sample.kind.filter(|kind| is_parked || kind.starts_with(RESERVED)) {
            self.parked_at.insert(kind.to_owned(), now);
        }
        let is_looked_up = |kind: &str| is_parked || kind == OTHER_ARGUMENTS;
        if let Some((kind, id)) = sample.kind.filter(|kind| is_looked_up(kind)).zip(sample.id) {
            let ids = self.ids.entry(kind.to_owned()).or_default();
            if ids.len() < IDS {
                ids.insert(mark(id));
            }
        }
        // To be parked is no failure.
        if let Some(kind) = sample.kind.filter(|_| !is_parked) {
            let is_told = self.kinds.len() < KINDS || self.kinds.contains_key(kind);
            add(&mut self.kinds, if is_told { kind } else { OTHERS });
        }
        if let Some(run) = sample.run {
            self.run.add(run);
        }
        if let Some((wait, at)) = sample.wait {
            self.wait.add(wait);
            if self.last_at.is_none_or(|last| last <= at) {
                (self.last_at, self.last_waited_ms) = (Some(at), u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            }
        }
    }

    /// Adds what another process, or another day, has counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in [(&mut self.endings, &other.endings), (&mut self.kinds, &other.kinds)] {
            for (name, count) in more {
                *own.entry(name.clone()).or_default() += count;
            }
        }
        self.wait.merge(&other.wait);
        self.run.merge(&other.run);
        if self.last_at < other.last_at {
            (self.last_at, self.last_waited_ms) = (other.last_at, other.last_waited_ms);
        }
        for (kind, at) in &other.parked_at {
            let own = self.parked_at.entry(kind.clone()).or_insert(*at);
            *own = (*own).max(*at);
        }
        for (kind, ids) in &other.ids {
            self.ids.entry(kind.clone()).or_default().extend(ids);
        }
        self.aborting_at = self.aborting_at.max(other.aborting_at);
    }
}

/// The first four bytes of a hash: statistics stay small, whatever ids are.
fn mark(id: &str) -> u32 {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()).as_fields().0
}

fn add(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

/// One delivery that ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample<'a> {
    pub(crate) ending: &'a str,
    pub(crate) kind: Option<&'a str>,
    /// The id of the job; of an attempt none, for the record has it.
    pub(crate) id: Option<&'a str>,
    pub(crate) run: Option<Duration>,
    /// How long it waited, and when it started.
    pub(crate) wait: Option<(Duration, Timestamp)>,
}

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
pub(crate) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(all: &[u64]) -> Spread {
        let mut spread = Spread::default();
        for ms in all {
            spread.add(Duration::from_millis(*ms));
        }
        spread
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_spread_has_mean_deviation_and_buckets_however_it_was_gathered() {
        let all = [0, 1, 3, 4, 7, 1000, 1_000_000, 1_000_001];
        let whole = spread(&all);
        let mean = 2_001_016.0 / 8.0;
        let variance = all.iter().map(|ms| (Duration::from_millis(*ms).as_secs_f64() * 1e3 - mean).powi(2)).sum::<f64>() / 8.0;
        for split in 0..=all.len() {
            let mut parts = spread(&all[..split]);
            parts.merge(&spread(&all[split..]));
            assert_eq!((parts.count, &parts.buckets), (8, &whole.buckets), "{split}");
            assert!((parts.mean_ms - mean).abs() < 1e-6 && (parts.deviation_ms() - variance.sqrt()).abs() < 1e-6, "{split}: {parts:?}");
        }
        let filled: Vec<_> = whole.buckets.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(filled, [(0, &1), (1, &1), (2, &1), (3, &2), (10, &1), (20, &2)]);
        assert_eq!([0, 1, 2, 3, 10].map(Spread::bucket), [(0, 1), (1, 2), (2, 4), (4, 8), (512, 1024)]);
        assert_eq!(Spread::bucket(64), (1 << 63, u64::MAX));
        assert!(Spread::default().deviation_ms().abs() < f64::EPSILON);
    }

    #[test]
    fn the_wait_of_the_job_that_started_last_is_the_age_of_the_queue() {
        let one = Sample { wait: Some((Duration::from_secs(9), at("2026-05-04T12:00:01Z"))), ..Sample::default() };
        let two = Sample { wait: Some((Duration::from_secs(5), at("2026-05-04T12:00:00Z"))), ..Sample::default() };
        let (mut a, mut b) = (Tally::default(), Tally::default());
        let now = at("2026-05-04T12:00:00Z");
        a.add(now, &one);
        a.add(now, &two);
        b.add(now, &two);
        b.merge(&a);
        assert_eq!([a.last_waited_ms, b.last_waited_ms], [9000, 9000]);
        assert_eq!(b.wait.count, 3);
    }

    #[test]
    fn it_is_known_when_a_message_was_parked_last_and_why() {
        let parked = |kind| Sample { ending: "parked", kind: Some(kind), ..Sample::default() };
        let (noon, later) = (at("2026-05-04T12:00:00Z"), at("2026-05-04T12:05:00Z"));
        let (mut a, mut b) = (Tally::default(), Tally::default());
        a.add(later, &parked("contract"));
        b.add(noon, &parked("contract"));
        b.add(noon, &parked("parked"));
        a.merge(&b);
        assert_eq!(a.parked_at, BTreeMap::from([("contract".into(), later), ("parked".into(), noon)]));
        assert_eq!((a.endings["parked"], a.kinds.len()), (3, 0), "it is no failure");
    }

    #[test]
    fn a_program_that_aborts_is_known_until_one_that_unwinds_starts_a_job() {
        let (noon, later) = (at("2026-05-04T12:00:00Z"), at("2026-05-04T12:05:00Z"));
        let mut all = Tally { last_at: Some(noon), aborting_at: Some(noon), ..Tally::default() };
        all.merge(&Tally::default());
        assert!(all.is_aborting());
        all.merge(&Tally { last_at: Some(later), ..Tally::default() });
        assert!(!all.is_aborting());
        assert!(!Tally::default().is_aborting());
    }

    #[test]
    fn the_kinds_of_failures_are_bounded() {
        let mut tally = Tally::default();
        for kind in (0..100).map(|number| number.to_string()) {
            tally.add(at("2026-05-04T12:00:00Z"), &Sample { ending: "failed", kind: Some(&kind), ..Sample::default() });
        }
        assert_eq!((tally.kinds.len(), tally.kinds[OTHERS], tally.endings["failed"]), (KINDS + 1, 100 - KINDS as u64, 100));
    }

    #[test]
    fn what_is_counted_goes_with_the_next_request_whole() {
        let (counter, noon) = (Counter::new("p"), at("2026-05-04T12:00:00Z"));
        let count = |at| counter.count("q", at, &Sample { ending: "succeeded", ..Sample::default() });
        assert_eq!(counter.next(Instant::now()), None);
        count(noon);
        count(noon);
        let first = counter.next(Instant::now()).expect("there is something");
        assert_eq!(
            (first.tally.endings["succeeded"], first.version, first.exists, first.day.to_string()),
            (2, 2, false, "2026-05-04".into())
        );
        assert_eq!(counter.next(Instant::now()), None, "it is under way");
        counter.kept(&first, Kept::Done);
        assert_eq!(counter.next(Instant::now()), None);
        count(noon);
        let second = counter.next(Instant::now()).expect("there is something");
        assert_eq!((second.tally.endings["succeeded"], second.version, second.exists), (3, 3, true));
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

    #[test]
    fn ids_of_parked_messages_and_duplicates_are_known_up_to_a_limit() {
        let noon = at("2026-05-04T12:00:00Z");
        let tally = |ending, kind, ids: &[String]| {
            let mut tally = Tally::default();
            for id in ids {
                tally.add(noon, &Sample { ending, kind: Some(kind), id: Some(id), ..Sample::default() });
            }
            tally
        };
        let ids: Vec<_> = (0..=IDS).map(|number| format!("job-{number}")).collect();
        let mut few = tally("parked", "parked", &ids[..2]);
        few.merge(&tally("duplicate", OTHER_ARGUMENTS, &ids[2..3]));
        assert_eq!([few.saw("parked", "job-0"), few.saw("parked", "job-2")], [Some(true), Some(false)]);
        assert_eq!([few.saw(OTHER_ARGUMENTS, "job-2"), few.saw("contract", "job-2")], [Some(true), Some(false)]);
        let many = tally("parked", "parked", &ids);
        assert_eq!((many.saw("parked", "job-0"), many.saw("parked", "another")), (Some(true), None));
        assert_eq!(tally("failed", "rejected", &ids).ids, BTreeMap::new(), "a dead letter has its id");
    }
}
