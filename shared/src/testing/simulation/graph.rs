//! Jobs that wait for each other: random graphs, and the guarantees for them.

use std::{collections::BTreeSet, time::Duration};

use fastrand::Rng;
use jiff::Timestamp;

use super::{Simulated, watch::Run};
use crate::{
    Enqueue, Otherwise, Record, State, When, Workflow,
    lifecycle::{SKEW, closed, expand, is_node, job_of, members, step_id, unmet, waits_for},
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

/// Makes one workflow of jobs, in which they wait for each other at random. In one workflow of three, all others wait for the first job; in
/// one of three, one job waits for more than 20. The closing job needs an id, and the jobs must not have options that a workflow refuses.
///
/// # Panics
///
/// When a job has such an option.
pub fn workflow(seed: u64, closing: Enqueue, jobs: Vec<Enqueue>) -> Enqueue {
    let mut rng = Rng::with_seed(seed);
    let count = jobs.len();
    let (has_hub, ids) = (rng.u8(..3) == 0, (0..count).map(|number| format!("step-{number}")).collect::<Vec<_>>());
    let wide = if rng.u8(..3) == 0 && count > 21 { rng.usize(21..count) } else { count };
    let mut connected = Vec::with_capacity(count);
    for (number, job) in jobs.into_iter().enumerate() {
        let mut after: BTreeSet<_> = (0..rng.usize(..4).min(number)).map(|_| ids[rng.usize(..number)].clone()).collect();
        if number == wide {
            let first = rng.usize(..=number - 21);
            after.extend(ids[first..number].iter().cloned());
        }
        if has_hub && number > 0 {
            after.insert(ids[0].clone());
        }
        let job = job.id(ids[number].clone());
        connected.push(if after.is_empty() { job } else { waiting(job, after, &mut rng) });
    }
    rng.shuffle(&mut connected);
    let after = if rng.bool() { BTreeSet::new() } else { ids[rng.usize(..count)..].iter().cloned().collect() };
    let closing = waiting(closing, after, &mut rng);
    let workflow = connected.into_iter().fold(Workflow::new(closing), Workflow::job);
    workflow.build().expect("jobs that a workflow can have")
}

/// Returns the jobs that a message enqueues, the closing job at the end, as a worker sends them.
pub(super) fn sent(job: &Enqueue, now: Timestamp) -> Vec<Enqueue> {
    let whole = job.envelope();
    if whole.jobs.is_empty() {
        return vec![job.clone()];
    }
    let expansion = expand(whole, id_of(job), now);
    let closing = (whole.name.clone(), expansion.closing);
    let with = |(queue, envelope)| Enqueue::named("", serde_json::Value::Null).queue(queue).with(|it| *it = envelope);
    expansion.jobs.into_iter().chain([closing]).map(with).collect()
}

/// Returns the same jobs, each with all jobs that it waits for, as their producer declares them.
pub(super) fn declared(job: &Enqueue, now: Timestamp) -> Vec<Enqueue> {
    let whole = job.envelope();
    if whole.jobs.is_empty() {
        return vec![job.clone()];
    }
    let closing = whole.last_steps().into_iter().map(str::to_owned).collect();
    let awaited = whole.jobs.iter().map(|step| step.job.depends_on.clone()).chain([closing]);
    let full = |ids: Vec<String>| ids.iter().map(|step| step_id(id_of(job), step)).collect();
    sent(job, now).into_iter().zip(awaited).map(|(job, ids)| job.with(|envelope| envelope.depends_on = full(ids))).collect()
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
            && unmet(blocked).filter_map(|id| get(id)).map(ended_node).any(|dependency| match dependency.state {
                State::Blocked => search(&dependency, get, seen),
                state => waits_for_retry && UNSUCCESSFUL.contains(&state),
            })
    }
    fn is_told(blocked: &Record, get: &dyn Fn(&str) -> Option<Record>) -> bool {
        unmet(blocked).filter_map(|id| get(id)).map(ended_node).all(|dependency| {
            let waits = waits_for(blocked).contains(&dependency.state);
            waits && (!is_node(&dependency.id) || dependency.state != State::Blocked || is_told(&dependency, get))
        })
    }
    is_told(blocked, get) && search(blocked, get, &mut BTreeSet::new())
}

/// Returns a record with its state, which that of a node does not store if its members have ended as required.
fn ended_node(record: Record) -> Record {
    closed(&record).unwrap_or(record)
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
            (State::Cancelled, "unique", _) => self.is_dropped_for(id, record.error.as_ref().map_or("", |error| &error.message)),
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

    /// Returns the instant at which a job, or a node in its place, began to wait for another job, for the last time before `until`.
    fn waited_since(&self, id: &str, dependency: &str, until: Duration) -> Duration {
        let has_member = |node: &&Record| is_node(&node.id) && job_of(&node.id) == id && members(node).any(|member| member == dependency);
        let node = self.records.iter().find(has_member);
        self.blocked_since(node.map_or(id, |node| &node.id), until).unwrap_or_default()
    }

    /// Returns the jobs that block a job, or a node, and those that block its nodes.
    fn blocking(&self, blocked: &Record) -> BTreeSet<String> {
        let through = |id: &String| match self.record(id).filter(|_| is_node(id)) {
            Some(node) => self.blocking(node),
            None => [id.clone()].into(),
        };
        unmet(blocked).flat_map(through).collect()
    }

    fn judge_start(&self, job: &Enqueue, first: &Run, flaws: &mut Vec<String>) {
        let id = id_of(job);
        let Some(since) = self.blocked_since(id, first.started) else {
            flaws.push(format!("{id} started before its condition was met, since it never waited: {first}"));
            return;
        };
        // After its dependencies, the job may have waited for a key.
        let earliest = self.steps.iter().find(|step| step.id == *id && step.state == State::Blocked).map(|step| step.at);
        let earliest = earliest.filter(|_| job.envelope().keys.is_some());
        let from = |dependency: &str| earliest.unwrap_or_else(|| self.waited_since(id, dependency, first.started));
        if !self.is_met(job, &from, first.started) {
            flaws.push(format!("{id} started before its condition was met, blocked since {since:?}: {first}"));
        }
    }

    /// Judges a job that failed because it waited too long.
    fn judge_timeout(&self, job: &Enqueue, ended: Duration, flaws: &mut Vec<String>) {
        let id = id_of(job);
        let max_wait = job.envelope().max_blocked_s.map_or(Duration::ZERO, Duration::from_secs_f64);
        let since = self.blocked_since(id, ended).unwrap_or_default();
        // After a retry, the time counts from the retry.
        let first = self.steps.iter().find(|step| step.id == *id && step.state == State::Blocked).map_or(Duration::ZERO, |step| step.at);
        if ended + SKEW < first + max_wait {
            flaws.push(format!("{id} waited only from {first:?} to {ended:?}"));
        }
        let early = ended.saturating_sub(RELEASE);
        let is_steady = |id: &String| !self.steps.iter().any(|step| step.id == *id && step.at > early && step.at <= ended);
        if since < early && job.envelope().depends_on.iter().all(is_steady) && self.is_met(job, &|_| early, early) {
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
        let unmet = unmet(record).filter_map(|id| self.record(id).cloned()).map(ended_node);
        for ended in unmet.filter(|record| !states.contains(&record.state)) {
            flaws.push(format!("{id} is stuck as blocked on {}, which is {}", ended.id, ended.state.as_str()));
        }
        let is_met = |dependency: &&String| {
            let since = self.waited_since(id, dependency, self.took);
            self.has_succeeded(dependency, since, self.took) || self.was(dependency, since, self.took, UNSUCCESSFUL)
        };
        let blocking = self.blocking(record);
        let mut met = job.envelope().depends_on.iter().filter(|id| !blocking.contains(*id));
        if let Some(wrong) = met.find(|id| !is_met(id)) {
            flaws.push(format!("{id} no longer waits for {wrong}, which has not ended"));
        }
    }

    /// Returns `true` if the condition of a job held at some instant of a period, which begins at another instant for each dependency.
    fn is_met(&self, job: &Enqueue, from: &dyn Fn(&str) -> Duration, until: Duration) -> bool {
        let mut dependencies = job.envelope().depends_on.iter();
        let has_succeeded = |id: &String| self.has_succeeded(id, from(id), until);
        let has_failed = |id: &String| self.was(id, from(id), until, UNSUCCESSFUL);
        match job.envelope().when {
            When::Succeeded => dependencies.all(has_succeeded),
            When::Ended => dependencies.all(|id| has_succeeded(id) || has_failed(id)),
            When::Failed => dependencies.any(has_failed),
        }
    }

    fn have_all_succeeded(&self, job: &Enqueue, ended: Duration) -> bool {
        let since = |dependency: &str| self.waited_since(id_of(job), dependency, ended);
        job.envelope().depends_on.iter().all(|id| self.has_succeeded(id, since(id), ended))
    }

    /// Returns `true` if the job that the record names as the cause of a cancel did not succeed.
    fn must_cancel(&self, job: &Enqueue, record: &Record, ended: Duration) -> bool {
        let since = |dependency: &str| self.waited_since(id_of(job), dependency, ended);
        let reason = record.error.as_ref().map_or("", |error| &error.message);
        let is_named = |id: &&String| reason.starts_with(&format!("the job {id}, "));
        let mut named = job.envelope().depends_on.iter().filter(is_named);
        job.envelope().otherwise == Otherwise::Cancel && named.any(|id| self.was(id, since(id), ended, UNSUCCESSFUL))
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
