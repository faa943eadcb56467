//! The counts of one queue on one day.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::spread::Spread;
use crate::{clock::rfc3339, lifecycle::Ending};

/// The names of the hours of a day.
const HOURS: [&str; 24] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21", "22", "23"];

/// Maximum number of kinds of failures that are counted separately.
const KINDS: usize = 8;

/// Maximum number of ids that are kept for each kind.
const IDS: usize = 32;

/// The kind of a discarded duplicate whose arguments differ from those of the job.
pub(crate) const OTHER_ARGUMENTS: &str = "other_arguments";

/// The name under which all further kinds are counted.
const OTHERS: &str = "others";

/// The counts of one queue on one day.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// Number of deliveries by ending, named as in logs.
    #[serde(default)]
    pub endings: BTreeMap<String, u64>,
    /// Number of jobs that ended, and of those that failed, by the hour of the day in UTC. Hours without endings are absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hours: BTreeMap<String, [u64; 2]>,
    /// Number of failures by kind, both of failed attempts and of jobs that failed permanently. `other_arguments` counts discarded
    /// duplicates whose arguments differ from those of the job.
    #[serde(default)]
    pub kinds: BTreeMap<String, u64>,
    /// The times that jobs waited for their first attempt after they were enqueued or due.
    #[serde(default)]
    pub wait: Spread,
    /// The times that attempts ran.
    #[serde(default)]
    pub run: Spread,
    /// The instant of the last start of a first attempt.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// The wait of that job in milliseconds, which was the age of the queue at that instant.
    #[serde(default)]
    pub last_waited_ms: u64,
    /// The instant of the last message that the function could not run, by kind. `contract`: it needs a newer contract or a feature of one.
    /// `parked`: its name is unknown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parked_at: BTreeMap<String, Timestamp>,
    /// Short hashes of the ids of parked messages, by kind as above, and of discarded duplicates, under `other_arguments`. At most 32 of
    /// each kind are kept. [`Tally::saw`] looks up an id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, BTreeSet<u32>>,
    /// The instant of the last ending in a program that was built with `panic = "abort"`.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub aborting_at: Option<Timestamp>,
}

/// One ended delivery, to be counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample<'a> {
    pub(crate) ending: &'a str,
    pub(crate) kind: Option<&'a str>,
    /// The id of the job, if the delivery ran no attempt. The record has the ids of attempts.
    pub(crate) id: Option<&'a str>,
    pub(crate) run: Option<Duration>,
    /// The wait of the job, and its start.
    pub(crate) wait: Option<(Duration, Timestamp)>,
}

impl Tally {
    pub(super) fn add(&mut self, now: Timestamp, sample: &Sample<'_>) {
        add(&mut self.endings, sample.ending);
        if is_end(sample.ending) {
            let hour = hour(now);
            if !self.hours.contains_key(hour) {
                self.hours.insert(hour.to_owned(), [0, 0]);
            }
            if let Some([ended, failed]) = self.hours.get_mut(hour) {
                *ended += 1;
                *failed += u64::from(sample.ending == Ending::Failed.as_str());
            }
        }
        let is_parked = sample.ending == Ending::Parked.as_str();
        if let Some(kind) = sample.kind.filter(|_| is_parked) {
            self.parked_at.insert(kind.to_owned(), now);
        }
        let is_looked_up = |kind: &str| is_parked || kind == OTHER_ARGUMENTS;
        if let Some((kind, id)) = sample.kind.filter(|kind| is_looked_up(kind)).zip(sample.id) {
            let ids = self.ids.entry(kind.to_owned()).or_default();
            if ids.len() < IDS {
                ids.insert(mark(id));
            }
        }
        // A parked message is not a failure.
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

    /// Removes an ending from the counts.
    pub(super) fn take_back(&mut self, now: Timestamp, ending: &str) {
        if let Some(count) = self.endings.get_mut(ending) {
            *count = count.saturating_sub(1);
            if let Some([ended, failed]) = self.hours.get_mut(hour(now)).filter(|_| is_end(ending)) {
                *ended = ended.saturating_sub(1);
                *failed = failed.saturating_sub(u64::from(ending == Ending::Failed.as_str()));
            }
        }
    }
}

/// Returns `true` if no attempt of the job follows.
fn is_end(ending: &str) -> bool {
    [Ending::Succeeded, Ending::Failed, Ending::Cancelled, Ending::Expired].iter().any(|end| end.as_str() == ending)
}

/// Returns the name of the hour of an instant.
fn hour(at: Timestamp) -> &'static str {
    HOURS[usize::try_from(at.as_second().div_euclid(3600).rem_euclid(24)).unwrap_or_default()]
}

// For the readers of statistics.
#[cfg(any(test, feature = "operator"))]
impl Tally {
    /// Returns `true` if the program that last started a first attempt was built with `panic = "abort"`.
    pub fn is_aborting(&self) -> bool {
        self.aborting_at.is_some() && self.last_at <= self.aborting_at
    }

    /// Returns `true` if a message of this kind had this id. Returns `None` if it may have had it, because not all ids were kept.
    pub fn saw(&self, kind: &str, id: &str) -> Option<bool> {
        let Some(ids) = self.ids.get(kind) else { return Some(false) };
        let is_known = ids.contains(&mark(id));
        (is_known || ids.len() < IDS).then_some(is_known)
    }

    /// Adds the counts of another process or another day.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in [(&mut self.endings, &other.endings), (&mut self.kinds, &other.kinds)] {
            for (name, count) in more {
                *own.entry(name.clone()).or_default() += count;
            }
        }
        for (hour, [ended, failed]) in &other.hours {
            let own = self.hours.entry(hour.clone()).or_default();
            *own = [own[0] + ended, own[1] + failed];
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

/// Returns the first four bytes of a hash, so that long ids do not enlarge the statistics.
fn mark(id: &str) -> u32 {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()).as_fields().0
}

fn add(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
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
    fn endings_and_failures_are_counted_by_the_hour_in_utc() {
        let (early, late) = (at("2026-05-04T00:59:59Z"), at("2026-05-04T23:00:00Z"));
        let ended = |ending| Sample { ending, ..Sample::default() };
        let (mut a, mut b) = (Tally::default(), Tally::default());
        a.add(early, &ended("succeeded"));
        a.add(late, &ended("failed"));
        a.add(late, &ended("failed"));
        a.take_back(late, "failed");
        b.add(late, &ended("retried"));
        b.add(late, &ended("expired"));
        a.merge(&b);
        assert_eq!(a.hours, BTreeMap::from([("0".to_owned(), [1, 0]), ("23".to_owned(), [2, 1])]), "a retry is no end");
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
        assert_eq!(a.endings["parked"], 3, "it is no failure");
        assert_eq!(a.kinds.len(), 0, "it is no failure");
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
        assert_eq!(tally.kinds.len(), KINDS + 1);
        assert_eq!(tally.kinds[OTHERS], 100 - KINDS as u64);
        assert_eq!(tally.endings["failed"], 100);
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
        assert_eq!(many.saw("parked", "job-0"), Some(true));
        assert_eq!(many.saw("parked", "another"), None);
        assert_eq!(tally("failed", "rejected", &ids).ids, BTreeMap::new(), "a dead letter has its id");
    }
}
