//! Keys that jobs share, and the places in them. The record of a key lists its holders: one entry for each job that has a place.
//!
//! An entry alone does not hold the key. A job holds its place while its record names the entry, or for a short time after it took the
//! place, in which it writes its record. So no place outlives its job, and no place must be renewed. The exception is the place of a unique
//! key that is held for a certain time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::lease::{SKEW, free_from};
use crate::{
    clock::{after, from_millis},
    envelope::{Keys, LINK, OnConflict, Rate, UniqueFor, Until, excerpt},
    names::key_shard,
    record::{Place, Record, State},
};

/// Time for which a place is held without a record. A claim must be written in its first half.
pub(crate) const UNCLAIMED: Duration = Duration::from_secs(30);
/// Time for which a place is held for a job whose message was sent. Then another job may take it.
const HANDED: Duration = Duration::from_mins(5);
/// The remaining time with which a handed place can still be used: enough to record the claim.
const USABLE: Duration = Duration::from_secs(25);
/// Minimum time for which a key stays marked after the last job began to wait. The index that lists these jobs lags behind by less.
const MARKED: Duration = Duration::from_secs(30);
/// Time for which the record of an unused key is kept.
const KEPT: Duration = Duration::from_hours(400 * 24);
/// Separates the parts of an entry. No id contains it.
const SEPARATOR: char = '\u{1f}';
/// Precedes the instant in the entry of a job that holds a place until then, even if it has ended.
const WHATEVER: char = '=';
/// Length of the token in an entry.
const TOKEN: usize = 12;

/// A kind of key. Each kind has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Unique,
    Exclusive,
    Limit,
    Rate,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Unique, Self::Exclusive, Self::Limit, Self::Rate];

    /// Returns the kind as it is written in ids.
    fn as_str(self) -> &'static str {
        match self {
            Self::Unique => "unique",
            Self::Exclusive => "exclusive",
            Self::Limit => "limit",
            Self::Rate => "rate",
        }
    }

    pub(crate) fn of(id: &str) -> Option<Self> {
        let (_, rest) = id.split_once(LINK)?;
        Self::ALL.into_iter().find(|kind| kind.as_str() == rest)
    }

    /// Returns `true` if a job still holds its place, according to its record.
    fn is_kept(self, job: &Record, now: Timestamp) -> bool {
        match self {
            Self::Limit => job.state == State::Running && now <= free_from(job),
            Self::Unique | Self::Exclusive => !job.state.is_terminal(),
            Self::Rate => false, // nobody holds it
        }
    }
}

/// A key that a job must hold before it starts, or whose rate must allow the start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Needed {
    /// The id of the record of the key.
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// Maximum number of holders, as the job declares it.
    pub(crate) most: u32,
    /// The rate of a rate key, as the job declares it.
    pub(crate) rate: Option<Rate>,
    /// Time for which the place is held, whatever the record of the job says.
    pub(crate) time: Option<Duration>,
    /// `true` if the place is given back when the job starts.
    pub(crate) until_started: bool,
    pub(crate) on_conflict: OnConflict,
}

/// Returns the keys that a job needs, in the order in which it takes them.
pub(crate) fn needed(keys: &Keys) -> Vec<Needed> {
    let time = match keys.unique_for {
        Some(UniqueFor::Seconds(seconds)) => Some(Duration::from_secs_f64(seconds)),
        _ => None,
    };
    let until_started = keys.unique_for == Some(UniqueFor::Until(Until::Started));
    let key = |kind, key: &Option<String>, most| {
        let plain =
            Needed { id: String::new(), kind, most, rate: None, time: None, until_started: false, on_conflict: OnConflict::default() };
        key.as_ref().map(|key| Needed { id: key_id(kind, key), ..plain })
    };
    let unique = key(Kind::Unique, &keys.unique_key, 1);
    let unique = unique.map(|unique| Needed { time, until_started, on_conflict: keys.on_conflict.unwrap_or_default(), ..unique });
    let limit = key(Kind::Limit, &keys.limit_key, keys.limit.unwrap_or(1));
    // The rate comes last. Otherwise, a job would use it up and then wait for another key.
    let rate = key(Kind::Rate, &keys.rate_key, 0).map(|key| Needed { rate: keys.rate, ..key });
    unique.into_iter().chain(key(Kind::Exclusive, &keys.exclusive_key, 1)).chain(limit).chain(rate).collect()
}

/// Returns the id of the record of a key.
pub(crate) fn key_id(kind: Kind, key: &str) -> String {
    format!("{key}{LINK}{}", kind.as_str())
}

/// Returns the ids of the records of the keys with this name for which a job can wait.
pub(crate) fn waited_keys(key: &str) -> [String; 3] {
    [Kind::Limit, Kind::Rate, Kind::Exclusive].map(|kind| key_id(kind, key))
}

/// Returns `true` for the id of the record of a key.
fn is_key(id: &str) -> bool {
    Kind::of(id).is_some()
}

/// Returns the kind and the name of a key, for people.
pub fn key_name(id: &str) -> String {
    match (Kind::of(id), id.split_once(LINK)) {
        (Some(kind), Some((key, _))) => format!("the {} key {}", kind.as_str(), excerpt(key)),
        _ => excerpt(id),
    }
}

/// Returns the name of the list of the jobs that wait for a key.
pub(crate) fn waiting_list(key: &str) -> String {
    format!("key:{key}")
}

/// Returns a new record of a key, with its first holder.
pub(crate) fn new_key(key: &Needed, entry: &str, owner: &str, now: Timestamp) -> Record {
    Record {
        id: key.id.clone(),
        holders: [entry.to_owned()].into(),
        limit: Some(key.most),
        owner: Some(owner.to_owned()),
        purge_at: Some(key_kept_until(now)),
        ..Record::default()
    }
}

/// Returns the record of a key without holders, for which a job waits.
pub(crate) fn awaited_key(id: &str, owner: &str, now: Timestamp) -> Record {
    Record {
        id: id.to_owned(),
        state: State::Blocked,
        due: Some(key_shard(id)),
        run_at: Some(now),
        owner: Some(owner.to_owned()),
        purge_at: Some(key_kept_until(now)),
        ..Record::default()
    }
}

/// Returns the instant after which the table deletes the record of an unused key, in seconds since the epoch.
pub(crate) fn key_kept_until(now: Timestamp) -> i64 {
    after(now, KEPT).as_second()
}

/// Returns the maximum number of holders of a key.
pub(crate) fn places(key: &Record) -> usize {
    key.fixed_limit.or(key.limit).unwrap_or(1).try_into().unwrap_or(usize::MAX)
}

/// Returns a key for which no job waits any more. Returns `None` if a job may have come in the last minutes: the index may not list it yet.
pub(crate) fn unmarked(key: &Record, owner: &str, now: Timestamp) -> Option<Record> {
    let is_old = key.run_at.is_none_or(|at| after(at, MARKED) < now);
    let unmarked = Record { state: State::Queued, due: None, run_at: None, owner: Some(owner.to_owned()), ..key.clone() };
    (key.state == State::Blocked && is_old).then_some(unmarked)
}

/// Returns the place that a job takes for itself. `owner` is the token of the claim.
pub(crate) fn taken_place(key: &Needed, job: &str, owner: &str, now: Timestamp) -> Place {
    let until = after(now, key.time.unwrap_or(UNCLAIMED)).as_millisecond();
    let whatever = if key.time.is_some() { WHATEVER.to_string() } else { String::new() };
    Place { entry: format!("{}{SEPARATOR}{whatever}{until}{SEPARATOR}{job}", token(owner)), until: key.time.map(|_| until) }
}

/// Returns the place of an entry that is held until a certain instant.
pub(crate) fn timed_place(entry: &str) -> Option<Place> {
    let until = entry.split(SEPARATOR).nth(1)?.strip_prefix(WHATEVER)?.parse().ok()?;
    Some(Place { entry: entry.to_owned(), until: Some(until) })
}

/// Returns the entry of a blocked job that is handed a place. It is the same for all processes that hand it over.
pub(crate) fn handed_entry(blocked: &Record) -> String {
    format!("{}{SEPARATOR}{SEPARATOR}{}", token(blocked.owner.as_deref().unwrap_or_default()), blocked.id)
}

fn token(owner: &str) -> &str {
    &owner[..owner.floor_char_boundary(TOKEN)]
}

/// Returns the id of the job of an entry.
pub(crate) fn job_of_entry(entry: &str) -> &str {
    entry.splitn(3, SEPARATOR).nth(2).unwrap_or_default()
}

/// Returns `true` if the place of this entry is held. `job` is the record of its job.
pub(crate) fn is_held(key: &str, entry: &str, job: Option<&Record>, now: Timestamp) -> bool {
    let until = entry.split(SEPARATOR).nth(1).unwrap_or_default();
    let is_running = |until: &str| until.parse().is_ok_and(|until| now <= after(from_millis(until), SKEW));
    if let Some(until) = until.strip_prefix(WHATEVER) {
        return is_running(until);
    }
    let (Some(job), Some(kind)) = (job, Kind::of(key)) else { return is_running(until) };
    if is_handed(key, entry, job) {
        return true;
    }
    // An ended job takes no place any more. A failed one may have been redriven.
    let has_ended = job.state.is_terminal() && job.state != State::Failed;
    match job.held.get(key).filter(|place| place.entry == entry) {
        Some(_) if job.state.is_terminal() => false,
        Some(Place { until: Some(until), .. }) => now <= after(from_millis(*until), SKEW),
        Some(Place { until: None, .. }) => kind.is_kept(job, now),
        None => is_running(until) && !has_ended, // its claim may be on its way
    }
}

/// Returns `true` if the job of this place has a record that confirms the place. Only then may other jobs be dropped.
pub(crate) fn is_backed(key: &str, entry: &str, job: Option<&Record>) -> bool {
    let is_whatever = entry.split(SEPARATOR).nth(1).is_some_and(|until| until.starts_with(WHATEVER));
    job.is_some_and(|job| is_whatever || !job.state.is_terminal() && job.held.get(key).is_some_and(|place| place.entry == entry))
}

/// Returns `true` if a job was handed this place and is not released yet.
pub(crate) fn is_handed(key: &str, entry: &str, job: &Record) -> bool {
    job.state == State::Blocked && job.blocked_on.contains(key) && handed_entry(job) == entry
}

/// Returns `true` if a job can start with this place, which its record names.
pub(crate) fn is_usable(kind: Kind, place: &Place, now: Timestamp) -> bool {
    match (kind, place.until) {
        (Kind::Unique, _) | (Kind::Exclusive, None) => true,
        (Kind::Limit, None) | (Kind::Rate, _) => false,
        (Kind::Exclusive | Kind::Limit, Some(until)) => after(now, USABLE) <= from_millis(until),
    }
}

/// Returns the key that a job waits for.
pub fn waits_for_key(job: &Record) -> Option<&String> {
    job.blocked_on.iter().find(|id| job.state == State::Blocked && is_key(id))
}

/// Gives a blocked job the place that it was handed, if it waited for a key.
pub(super) fn with_handed_place(blocked: Record, now: Timestamp) -> Record {
    let Some(key) = waits_for_key(&blocked).cloned() else { return blocked };
    let place = Place { entry: handed_entry(&blocked), until: Some(after(now, HANDED).as_millisecond()) };
    let mut job = Record { listed: None, listed_at: None, blocked_on: BTreeSet::new(), ..blocked };
    job.held.insert(key, place);
    job
}

/// Returns `true` if a job has waited for a rate and was sent to start.
pub(super) fn has_turn(job: &Record) -> bool {
    job.held.keys().any(|key| Kind::of(key) == Some(Kind::Rate))
}

/// Removes the limit key that a job frees at the end of each attempt and of each try to start.
pub(super) fn without_limit(mut job: Record) -> Record {
    job.held.retain(|key, _| Kind::of(key) != Some(Kind::Limit));
    job
}

/// Returns the places of `before` that are not in `next` and must be freed, as keys and entries.
pub(crate) fn freed(before: &BTreeMap<String, Place>, next: &BTreeMap<String, Place>) -> Vec<(String, String)> {
    // A place that is held for a certain time is not given back, and nobody holds a rate.
    let is_kept = |key: &str, place: &Place| match Kind::of(key) {
        Some(Kind::Unique) => place.until.is_some(),
        kind => kind == Some(Kind::Rate),
    };
    let is_freed = |(key, place): &(&String, &Place)| !is_kept(key, place) && next.get(*key).is_none_or(|kept| kept.entry != place.entry);
    before.iter().filter(is_freed).map(|(key, place)| (key.clone(), place.entry.clone())).collect()
}
