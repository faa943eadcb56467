//! Jobs that share keys: random keys, and the guarantees for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fastrand::Rng;
use jiff::Timestamp;

use super::{Simulated, graph::id_of, start, watch::Run};
use crate::{
    Enqueue, Keys, OnConflict, Rate, Record, State,
    lifecycle::{Kind, Needed, UNCLAIMED, needed},
};

/// The data of a job that names the job from which it comes. A replacement moves it together with the arguments.
pub(super) const SOURCE: &str = "simulation.source";

/// Gives jobs keys that they share at random: limits of one to three jobs, rates, exclusive keys, and unique keys. Half of the jobs with a
/// unique key [replace](OnConflict::Replace) the arguments of the job that holds it; they are enqueued during the run.
///
/// A job that is [recorded on trouble](crate::Recording::OnTrouble) is always recorded.
pub fn keyed(seed: u64, jobs: Vec<Enqueue>) -> Vec<Enqueue> {
    let mut rng = Rng::with_seed(seed);
    let most = rng.u32(1..=3);
    let shares = [rng.u8(..10), rng.u8(..10), rng.u8(..6), rng.u8(..6)];
    let rate = Rate::new(1, Duration::from_secs(rng.u64(20..40)));
    let keys = |_| {
        let key = |kind: &str, number: u8| format!("{kind}-{number}");
        let mut keys = Keys::new();
        if rng.u8(..10) < shares[0] {
            keys = keys.limit("limit", most);
        }
        if rng.u8(..10) < shares[1] {
            keys = keys.exclusive(key("exclusive", rng.u8(..2)));
        }
        if rng.u8(..10) < shares[2] {
            keys = keys.unique(key("unique", rng.u8(..3)));
            if rng.bool() {
                keys = keys.on_conflict(OnConflict::Replace);
            }
        }
        if rng.u8(..10) < shares[3] {
            keys = keys.rate("rate", rate);
        }
        keys
    };
    let keys: Vec<_> = (0..jobs.len()).map(keys).collect();
    let named = |job: Enqueue| match job.envelope().id.clone() {
        Some(id) => job.meta(SOURCE, id),
        None => job,
    };
    jobs.into_iter().zip(keys).map(|(job, keys)| named(job.keys(keys))).collect()
}

/// Returns `true` for a job that replaces the arguments of the job that holds its unique key.
pub(super) fn replaces(job: &Enqueue) -> bool {
    let on_conflict = job.envelope().keys.as_ref().and_then(|keys| keys.on_conflict);
    on_conflict == Some(OnConflict::Replace) && job.envelope().id.is_some()
}

impl Simulated {
    /// Adds the violated guarantees of keys.
    pub(super) fn judge_keys(&self, flaws: &mut Vec<String>) {
        let mut keys: BTreeMap<String, (Needed, Vec<&str>)> = BTreeMap::new();
        for job in &self.jobs {
            for key in job.envelope().keys.iter().flat_map(|keys| needed(keys)) {
                keys.entry(key.id.clone()).or_insert_with(|| (key, Vec::new())).1.push(id_of(job));
            }
        }
        for (id, (key, ids)) in keys {
            let runs: Vec<_> = self.runs.iter().filter(|run| ids.contains(&&*run.id)).collect();
            match (key.kind, &key.rate) {
                (Kind::Limit, _) => judge_limit(&id, key.most, &runs, flaws),
                (_, Some(rate)) => judge_rate(&id, rate, &runs, flaws),
                _ => self.judge_exclusive(&id, &runs, flaws),
            }
            if key.kind == Kind::Unique {
                self.judge_replacements(&ids, flaws);
            }
        }
    }

    /// Judges the arguments with which the jobs of one unique key ran.
    fn judge_replacements(&self, ids: &[&str], flaws: &mut Vec<String>) {
        let replacing: BTreeSet<_> = self.jobs.iter().filter(|job| replaces(job)).map(id_of).filter(|id| ids.contains(id)).collect();
        for id in ids {
            let ended: Vec<_> = self.steps.iter().filter(|step| step.id == **id && step.state.is_terminal()).map(|step| step.at).collect();
            // A retry begins a new life.
            let life_of = |at: Duration| ended.iter().filter(|ended| **ended < at).count();
            let mut lives: BTreeMap<usize, (&str, &Run)> = BTreeMap::new();
            for run in self.runs.iter().filter(|run| run.id == **id) {
                let Some(source) = run.source.as_deref() else { continue };
                if source != *id && !replacing.contains(source) {
                    flaws.push(format!("{id} ran with the arguments of {source:?}, which does not replace them: {run}"));
                }
                let (first, other) = *lives.entry(life_of(run.started)).or_insert((source, run));
                if first != source {
                    flaws.push(format!("{id} ran with the arguments of {first} and of {source}: {other} and {run}"));
                }
            }
            for by in replacing.iter().filter(|by| *by != id) {
                let Some(answer) = self.records.iter().find(|record| record.id == **by).and_then(|record| answer(record, id)) else {
                    continue;
                };
                let at = self.steps.iter().rfind(|step| step.id == **by).map_or(Duration::ZERO, |step| step.at);
                if !answer {
                    self.judge_refused(id, by, at, flaws);
                } else if !ids.iter().any(|id| self.retried.contains(*id))
                    && let Some((source, run)) = lives.get(&life_of(at))
                    && self.enqueued(source) < self.enqueued(by)
                {
                    flaws.push(format!("{by} replaced the arguments of {id} at {at:?}, which ran with those of {source}: {run}"));
                }
            }
        }
    }

    /// Judges that the job that holds a unique key keeps its arguments only if it has started or ended, or if it is another kind of job.
    fn judge_refused(&self, holder: &str, by: &str, at: Duration, flaws: &mut Vec<String>) {
        let job = |id: &str| self.jobs.iter().find(|job| id_of(job) == id);
        let (Some(held), Some(other)) = (job(holder), job(by)) else { return };
        let is_other = held.name() != other.name() || [held, other].iter().any(|job| !job.envelope().depends_on.is_empty());
        let has_started = |state: State| state == State::Running || state.is_terminal();
        let was_started = self.steps.iter().any(|step| step.id == holder && step.at <= at && has_started(step.state));
        if !is_other && !was_started && !self.cancelled.contains(holder) {
            flaws.push(format!("{by} was dropped at {at:?}, and {holder} kept its arguments although it had not started"));
        }
    }

    /// Returns the instant of the enqueue of a job, as its producer saw it. A replacement moves the instant in the record of a job that was
    /// enqueued at the start.
    fn enqueued(&self, id: &str) -> Option<Timestamp> {
        let is_late = self.jobs.iter().any(|job| id_of(job) == id && replaces(job));
        if is_late { self.steps.iter().filter(|step| step.id == id).find_map(|step| step.enqueued_at) } else { Some(start()) }
    }

    /// Judges that no job starts while another one has started and not ended.
    fn judge_exclusive(&self, key: &str, runs: &[&Run], flaws: &mut Vec<String>) {
        for run in runs {
            let others = runs.iter().filter(|other| other.id != run.id && other.started < run.started);
            let mut last: BTreeMap<&str, Duration> = BTreeMap::new();
            for other in others {
                let started = last.entry(&other.id).or_default();
                *started = other.started.max(*started);
            }
            let has_ended = |id: &str, since: Duration| {
                let mut steps = self.steps.iter().filter(|step| step.id == id && step.at >= since && step.at <= run.started);
                steps.any(|step| step.state.is_terminal())
            };
            if let Some((id, since)) = last.into_iter().find(|(id, since)| !has_ended(id, *since)) {
                flaws.push(format!("{key:?} had two holders: {id} since {since:?}, and {} {run}", run.id));
            }
        }
    }

    /// Returns `true` if the job that holds the unique key of a dropped job exists and is another one.
    pub(super) fn is_dropped_for(&self, id: &str, reason: &str) -> bool {
        let holder = reason.split(' ').nth(1).unwrap_or_default();
        let was_live = self.steps.iter().any(|step| step.id == holder && step.state != State::Cancelled);
        // The client has written the first record of a holder before the run.
        let was_enqueued =
            self.records.iter().any(|record| record.id == holder && record.error.as_ref().is_none_or(|error| error.kind != "unique"));
        holder != id && (was_live || was_enqueued)
    }
}

/// Returns `true` if the record of a dropped job says that `holder` got its arguments, and `false` if it says that the holder kept its own.
fn answer(dropped: &Record, holder: &str) -> Option<bool> {
    let error = dropped.error.as_ref().filter(|error| dropped.state == State::Cancelled && error.kind == "unique")?;
    error.message.starts_with(&format!("job {holder} ")).then(|| error.message.contains("has the arguments of this one"))
}

/// Judges that no more jobs than the limit run at any instant.
fn judge_limit(key: &str, most: u32, runs: &[&Run], flaws: &mut Vec<String>) {
    for run in runs {
        let beside = runs.iter().filter(|other| other.started <= run.started && run.started < other.ended).count();
        if beside > most as usize {
            flaws.push(format!("{key:?} had {beside} holders, and its limit is {most}: {} {run}", run.id));
        }
    }
}

/// Judges that no more attempts start in any time than the rate allows. An attempt may start later than it has used up the rate, by a slow
/// claim, and clocks differ.
fn judge_rate(key: &str, rate: &Rate, runs: &[&Run], flaws: &mut Vec<String>) {
    let mut starts: Vec<_> = runs.iter().map(|run| run.started).collect();
    starts.sort_unstable();
    for (first, earlier) in starts.iter().enumerate() {
        for (count, later) in (0_u32..).zip(&starts[first..]) {
            if rate.interval() * count > later.saturating_sub(*earlier) + UNCLAIMED {
                flaws.push(format!(
                    "{key:?} allows one start in {:?}, and {} were between {earlier:?} and {later:?}",
                    rate.interval(),
                    count + 1
                ));
                return;
            }
        }
    }
}
