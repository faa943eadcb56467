//! Jobs that wait for each other: random graphs, and the guarantees for them.

use std::{collections::BTreeSet, time::Duration};

use fastrand::Rng;

use super::{Simulated, watch::Run};
use crate::{
    Enqueue, Otherwise, Record, State, When,
    lifecycle::{SKEW, unmet, waits_for},
};

/// The endings without success.
const UNSUCCESSFUL: &[State] = &[State::Failed, State::Cancelled, State::Expired];
/// Maximum time that a release takes, even with many faults.
const RELEASE: Duration = Duration::from_hours(2);

/// Makes jobs wait for each other: in a chain, for all others, for one, in layers, or at random. Some wait for failures or for any
/// ending, and some for a job that does not exist, but not for long. The order of the jobs is random.
///
/// A job that is [recorded on trouble](crate::Recording::OnTrouble) must be [recorded](Enqueue::recorded).
pub fn connected(seed: u64, jobs: Vec<Enqueue>) -> Vec<Enqueue> {
    let mut rng = Rng::with_seed(seed);
    let (shape, count) = (rng.u8(..6), jobs.len());
    let jobs = jobs.into_iter().enumerate().map(|(number, job)| {
        let id = job.envelope().id.clone().unwrap_or_else(|| format!("{}-{number}", job.name()));
        job.id(id)
    });
    let jobs: Vec<_> = jobs.collect();
    let ids: Vec<_> = jobs.iter().map(|job| id_of(job).to_owned()).collect();
    let mut connected = Vec::with_capacity(count);
    for (number, job) in jobs.into_iter().enumerate() {
        let earlier = match shape {
            0 => number.saturating_sub(1)..number,
            1 if number + 1 < count => 0..0,
            1 => number.saturating_sub(20)..number,
            2 => 0..number.min(1),
            3 => (number / 3 * 3).saturating_sub(3)..number / 3 * 3,
            _ => 0..0,
        };
        let mut after: BTreeSet<_> = ids[earlier].iter().cloned().collect();
        if shape > 3 && number > 0 {
            after.extend((0..rng.usize(..4)).map(|_| ids[rng.usize(..number)].clone()));
        }
        if !after.is_empty() && rng.u8(..12) == 0 && after.len() < 20 {
            after.insert(format!("missing-{number}"));
        }
        connected.push(if after.is_empty() { job } else { waiting(job, after, &mut rng) });
    }
    rng.shuffle(&mut connected);
    connected
}

/// Makes a job wait for others, with random conditions.
fn waiting(job: Enqueue, after: BTreeSet<String>, rng: &mut Rng) -> Enqueue {
    let when = [When::Succeeded, When::Succeeded, When::Succeeded, When::Ended, When::Failed][rng.usize(..5)];
    let otherwise = if when == When::Succeeded && rng.u8(..3) == 0 { Otherwise::Cancel } else { Otherwise::Hold };
    let is_short = rng.u8(..12) == 0 || after.iter().any(|id| id.starts_with("missing-"));
    let job = job.after(after).when(when).otherwise(otherwise);
    if is_short { job.max_blocked(Duration::from_mins(rng.u64(30..600))) } else { job }
}

/// Returns the id of an enqueued job.
pub(super) fn id_of(job: &Enqueue) -> &str {
    job.envelope().id.as_deref().unwrap_or_default()
}

/// Returns `true` if a blocked job waits for a job that has failed and can be retried, or for another such job, and knows the end of all
/// others.
pub(super) fn is_held(blocked: &Record, get: &dyn Fn(&str) -> Option<Record>) -> bool {
    fn search(blocked: &Record, get: &dyn Fn(&str) -> Option<Record>, seen: &mut BTreeSet<String>) -> bool {
        let waits_for_retry = waits_for(blocked).contains(&State::Failed);
        seen.insert(blocked.id.clone())
            && unmet(blocked).filter_map(|id| get(id)).any(|dependency| match dependency.state {
                State::Blocked => search(&dependency, get, seen),
                state => waits_for_retry && UNSUCCESSFUL.contains(&state),
            })
    }
    let is_told = unmet(blocked).filter_map(|id| get(id)).all(|dependency| waits_for(blocked).contains(&dependency.state));
    is_told && search(blocked, get, &mut BTreeSet::new())
}

impl Simulated {
    /// Adds the violated guarantees of a job that may wait for others.
    pub(super) fn judge_waiting(&self, job: &Enqueue, record: &Record, flaws: &mut Vec<String>) {
        let id = &record.id;
        let kind = record.error.as_ref().filter(|_| record.state.is_terminal()).map_or("", |error| &error.kind);
        let ended = self.steps.iter().rfind(|step| step.id == *id).map_or(self.took, |step| step.at);
        let was_run = self.runs.iter().any(|run| run.id == *id);
        let is_declared = match (record.state, kind, job.envelope().when) {
            (State::Cancelled, "dependency", When::Succeeded) => self.must_cancel(job, record, ended),
            (State::Cancelled, "not_needed", When::Failed) => self.have_all_succeeded(job, ended),
            (State::Cancelled, _, _) => was_run || self.cancelled.contains(id),
            _ => true,
        };
        if !is_declared {
            flaws.push(format!("{id} was cancelled ({kind}) without a cause"));
        }
        if job.envelope().depends_on.is_empty() {
            return;
        }
        if let Some(first) = self.runs.iter().filter(|run| run.id == *id).min_by_key(|run| run.started) {
            self.judge_start(job, first, flaws);
        }
        if kind == "blocked_too_long" {
            self.judge_timeout(job, ended, flaws);
        }
        if record.state == State::Blocked {
            self.judge_blocked(job, record, flaws);
        }
    }

    /// Returns the instant at which a job began to wait, for the last time before `until`.
    fn blocked_since(&self, id: &str, until: Duration) -> Option<Duration> {
        let steps = self.steps.iter().filter(|step| step.id == id && step.state == State::Blocked && step.at <= until);
        steps.map(|step| step.at).max()
    }

    fn judge_start(&self, job: &Enqueue, first: &Run, flaws: &mut Vec<String>) {
        let id = id_of(job);
        let Some(since) = self.blocked_since(id, first.started) else {
            flaws.push(format!("{id} started before its condition was met, since it never waited: {first}"));
            return;
        };
        if !self.is_met(job, since, first.started) {
            flaws.push(format!("{id} started before its condition was met, blocked since {since:?}: {first}"));
        }
    }

    /// Judges a job that failed because it waited too long.
    fn judge_timeout(&self, job: &Enqueue, ended: Duration, flaws: &mut Vec<String>) {
        let id = id_of(job);
        let longest = job.envelope().max_blocked_s.map_or(Duration::ZERO, Duration::from_secs_f64);
        let since = self.blocked_since(id, ended).unwrap_or_default();
        // After a retry, the time counts from the retry.
        let first = self.steps.iter().find(|step| step.id == *id && step.state == State::Blocked).map_or(Duration::ZERO, |step| step.at);
        if ended + SKEW < first + longest {
            flaws.push(format!("{id} waited only from {first:?} to {ended:?}"));
        }
        let early = ended.saturating_sub(RELEASE);
        let is_steady = |id: &String| !self.steps.iter().any(|step| step.id == *id && step.at > early && step.at <= ended);
        if since < early && job.envelope().depends_on.iter().all(is_steady) && self.is_met(job, early, early) {
            flaws.push(format!("{id} was not released until {ended:?}, although its condition was met"));
        }
    }

    /// Judges a job that is blocked at the end.
    fn judge_blocked(&self, job: &Enqueue, record: &Record, flaws: &mut Vec<String>) {
        let id = &record.id;
        if !is_held(record, &|id| self.record(id).cloned()) {
            flaws.push(format!("{id} is stuck as blocked on {:?}", record.blocked_on));
        }
        let states = waits_for(record);
        for ended in unmet(record).filter_map(|id| self.record(id)).filter(|record| !states.contains(&record.state)) {
            flaws.push(format!("{id} is stuck as blocked on {}, which is {}", ended.id, ended.state.as_str()));
        }
        let since = self.blocked_since(id, self.took).unwrap_or_default();
        let is_met = |id: &&String| self.has_succeeded(id, since, self.took) || self.was(id, since, self.took, UNSUCCESSFUL);
        let mut met = job.envelope().depends_on.iter().filter(|id| !record.blocked_on.contains(*id));
        if let Some(wrong) = met.find(|id| !is_met(id)) {
            flaws.push(format!("{id} no longer waits for {wrong}, which has not ended"));
        }
    }

    /// Returns `true` if the condition of a job held at some instant of a period.
    fn is_met(&self, job: &Enqueue, from: Duration, until: Duration) -> bool {
        let mut dependencies = job.envelope().depends_on.iter();
        match job.envelope().when {
            When::Succeeded => dependencies.all(|id| self.has_succeeded(id, from, until)),
            When::Ended => dependencies.all(|id| self.has_succeeded(id, from, until) || self.was(id, from, until, UNSUCCESSFUL)),
            When::Failed => dependencies.any(|id| self.was(id, from, until, UNSUCCESSFUL)),
        }
    }

    fn have_all_succeeded(&self, job: &Enqueue, ended: Duration) -> bool {
        let since = self.blocked_since(id_of(job), ended).unwrap_or_default();
        job.envelope().depends_on.iter().all(|id| self.has_succeeded(id, since, ended))
    }

    /// Returns `true` if the job that the record names as the cause of a cancel did not succeed.
    fn must_cancel(&self, job: &Enqueue, record: &Record, ended: Duration) -> bool {
        let since = self.blocked_since(id_of(job), ended).unwrap_or_default();
        let reason = record.error.as_ref().map_or("", |error| &error.message);
        let is_named = |id: &&String| reason.starts_with(&format!("the job {id}, "));
        let mut named = job.envelope().depends_on.iter().filter(is_named);
        job.envelope().otherwise == Otherwise::Cancel && named.any(|id| self.was(id, since, ended, UNSUCCESSFUL))
    }

    /// Returns `true` if a job was recorded as succeeded in a period, and its body has succeeded too.
    fn has_succeeded(&self, id: &str, from: Duration, until: Duration) -> bool {
        self.was(id, from, until, &[State::Succeeded]) && self.runs.iter().any(|run| run.id == id && run.succeeded && run.ended <= until)
    }

    /// Returns `true` if a record had one of these states at some instant of a period.
    fn was(&self, id: &str, from: Duration, until: Duration, states: &[State]) -> bool {
        let steps = || self.steps.iter().filter(|step| step.id == id && step.at <= until);
        let first = steps().rfind(|step| step.at <= from);
        first.into_iter().chain(steps().filter(|step| step.at > from)).any(|step| states.contains(&step.state))
    }

    fn record(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.id == id)
    }
}
