//! Jobs that share keys: random keys, and the guarantees for them.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;

use super::{Simulated, graph::id_of, watch::Run};
use crate::{
    Enqueue, Keys, Rate, State,
    lifecycle::{Kind, Needed, UNCLAIMED, needed},
};

/// Gives jobs keys that they share at random: limits of one to three jobs, rates, exclusive keys, and unique keys.
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
        }
        if rng.u8(..10) < shares[3] {
            keys = keys.rate("rate", rate);
        }
        keys
    };
    let keys: Vec<_> = (0..jobs.len()).map(keys).collect();
    jobs.into_iter().zip(keys).map(|(job, keys)| job.keys(keys)).collect()
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
        }
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
