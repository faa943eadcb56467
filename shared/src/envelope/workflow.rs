//! The jobs of a workflow: one message that enqueues them all.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    CURRENT, DEPENDENCIES, Digest, Envelope, Otherwise, Unreadable, When, dependency, json::kind, keys, limit, mistake, output, priority,
};

/// The feature that a worker needs for a workflow.
const FEATURE: &str = "workflow";
/// Maximum number of jobs of a workflow.
pub(super) const MOST: usize = 2_000;
/// Maximum size of the body of a workflow, in bytes. The table must be able to store it.
const MOST_BYTES: usize = 380_000;

/// A job of a workflow. Its id and its `depends_on` are ids within the workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// The queue of the job, without the prefix of the environment. `None`: the queue with the name of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The job.
    #[serde(flatten)]
    pub job: Envelope,
}

impl Step {
    /// Creates a job of a workflow.
    pub fn new(job: Envelope) -> Self {
        Self { queue: None, job }
    }

    /// Returns the id of the job within its workflow.
    pub fn id(&self) -> &str {
        self.job.id.as_deref().unwrap_or_default()
    }
}

/// Reads the jobs of a workflow.
pub(super) fn read(value: Option<Value>) -> Result<Vec<Step>, Unreadable> {
    let flawed = |found: String| Unreadable::new("jobs", found, limit::remedy("jobs"));
    let jobs = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(jobs)) => jobs,
        Some(other) => return Err(flawed(format!("it is {}", kind(&other)))),
    };
    if jobs.len() > MOST {
        return Err(flawed(format!("it has {} jobs", jobs.len())));
    }
    let step = |(place, job): (usize, Value)| match job {
        Value::Object(job) => step(job).map_err(|flaw| flaw.within(&format!("jobs[{place}]"))),
        other => Err(flawed(format!("its entry {place} is {}", kind(&other)))),
    };
    jobs.into_iter().enumerate().map(step).collect()
}

fn step(mut job: Map<String, Value>) -> Result<Step, Unreadable> {
    let queue = match job.remove("queue") {
        None | Some(Value::Null) => None,
        Some(Value::String(queue)) if !queue.is_empty() => Some(queue),
        Some(_) => return Err(Unreadable::new("queue", "it is not the name of a queue", limit::remedy("queue"))),
    };
    for field in ["jobs", "dependents", "parent_id", "root_id", "depth"] {
        if job.get(field).is_some_and(|value| !value.is_null()) {
            return Err(Unreadable::new(field, "a job of a workflow cannot have it", "leave it out"));
        }
    }
    Envelope::fields(job).map(|job| Step { queue, job })
}

/// Checks the fields and the ids of the jobs of a workflow, and that they form no cycle.
pub(super) fn check(whole: &Envelope) -> Result<(), Unreadable> {
    let refuse = |field: &str, flaw: String, remedy: &'static str| Err(Unreadable::new(field, flaw, remedy));
    if whole.jobs.len() > MOST {
        return refuse("jobs", format!("it has {} jobs", whole.jobs.len()), limit::remedy("jobs"));
    }
    if whole.depth >= limit::DEPTH {
        return refuse(
            "depth",
            format!("it is {}, and that of its jobs would be {}", whole.depth, whole.depth.saturating_add(1)),
            limit::remedy("depth"),
        );
    }
    let mut ids = BTreeSet::new();
    for (place, step) in whole.jobs.iter().enumerate() {
        let inside = |flaw: Unreadable| flaw.within(&format!("jobs[{place}]"));
        if step.job.v != CURRENT {
            return refuse("jobs", format!("its entry {place} has a version of its own"), "leave out its field `v`");
        }
        step.job.check_fields(MOST).map_err(inside)?;
        let flaw = match step.job.id.as_deref() {
            None => "it is missing",
            Some(id) if id.contains('/') => "it has a `/`",
            // The id of a message of SQS has 36 bytes.
            Some(id) if whole.id.as_ref().map_or(36, String::len) + 1 + id.len() > limit::ID_BYTES => {
                "it is too long, together with the id of the workflow"
            }
            Some(id) if !ids.insert(id) => "another job of the workflow has it",
            Some(_) => continue,
        };
        return refuse(
            &format!("jobs[{place}].id"),
            flaw.into(),
            "it must be a string without `/`, different for each job of the workflow",
        );
    }
    let known = "it must name jobs of the same workflow by their ids";
    for (place, step) in whole.jobs.iter().enumerate() {
        step.job.check_outputs(&step.job.depends_on).map_err(|flaw| flaw.within(&format!("jobs[{place}]")))?;
        if let Some(unknown) = step.job.depends_on.iter().find(|id| !ids.contains(id.as_str())) {
            let flaw = format!("the workflow has no job {}", super::excerpt(unknown));
            return refuse(&format!("jobs[{place}].depends_on"), flaw, known);
        }
    }
    if let Some(unknown) = whole.depends_on.iter().find(|id| !ids.contains(id.as_str())) {
        return refuse("depends_on", format!("the workflow has no job {}", super::excerpt(unknown)), known);
    }
    if let Some(id) = cycle(&whole.jobs) {
        let flaw = format!("the job {} waits for itself through other jobs", super::excerpt(id));
        return refuse("jobs", flaw, "remove one of the dependencies that form the cycle");
    }
    let mut wide: BTreeMap<&str, usize> = BTreeMap::new();
    let joins = whole.jobs.iter().map(|step| &step.job).chain([whole]).filter(|job| job.depends_on.len() > dependency::MOST);
    for id in joins.flat_map(|job| &job.depends_on) {
        *wide.entry(id).or_default() += 1;
    }
    let last: Vec<_> = whole.last_steps().into_iter().map(str::to_owned).collect();
    whole.check_outputs(&last)?;
    match wide.iter().find(|(_, joins)| **joins > limit::DEPENDENTS) {
        Some((id, joins)) => {
            let flaw = format!("{joins} jobs that wait for {} wait for more than 20 jobs each", super::excerpt(id));
            refuse("jobs", flaw, "at most 100 such jobs may wait for the same job; put a job in between")
        }
        None => Ok(()),
    }
}

/// Returns a job that waits for itself through other jobs.
fn cycle(steps: &[Step]) -> Option<&str> {
    let places: BTreeMap<&str, usize> = steps.iter().enumerate().map(|(place, step)| (step.id(), place)).collect();
    let mut waits: Vec<usize> = steps.iter().map(|step| step.job.depends_on.len()).collect();
    let mut dependents = vec![Vec::new(); steps.len()];
    for (place, step) in steps.iter().enumerate() {
        for dependency in step.job.depends_on.iter().filter_map(|id| places.get(id.as_str())) {
            dependents[*dependency].push(place);
        }
    }
    let mut ready: Vec<usize> = (0..steps.len()).filter(|place| waits[*place] == 0).collect();
    while let Some(place) = ready.pop() {
        for dependent in &dependents[place] {
            waits[*dependent] -= 1;
            if waits[*dependent] == 0 {
                ready.push(*dependent);
            }
        }
    }
    // Jobs that wait for a cycle are left over as well. Following the dependencies leads to a job of the cycle.
    let mut place = waits.iter().position(|waits| *waits > 0)?;
    for _ in steps {
        let before = steps[place].job.depends_on.iter().filter_map(|id| places.get(id.as_str())).find(|before| waits[**before] > 0);
        place = *before?;
    }
    Some(steps[place].id())
}

impl Envelope {
    /// Checks the size of the message of a workflow.
    ///
    /// # Errors
    ///
    /// When the table cannot keep it.
    pub(crate) fn check_size(&self, bytes: usize) -> Result<(), Unreadable> {
        if self.jobs.is_empty() || bytes <= MOST_BYTES {
            return Ok(());
        }
        let remedy = "a workflow has at most 380000 bytes; pass large arguments by reference, or divide it";
        Err(Unreadable::new("jobs", format!("the message has {bytes} bytes"), remedy))
    }

    /// Returns the digest of all jobs of a workflow, including the closing job.
    #[expect(clippy::missing_panics_doc, reason = "it cannot: the keys are strings and JSON has a place for every value")]
    pub fn workflow_digest(&self) -> Digest {
        let parts = (&self.args, &self.kwargs, &self.jobs, &self.depends_on, self.when, self.otherwise);
        Digest::of(&serde_json::to_string(&parts).expect("an envelope has string keys and plain values only"))
    }

    /// Returns the ids of the jobs that the closing job waits for. If the message names none, these are all jobs for which no other job
    /// waits. Failure handlers do not count.
    pub(crate) fn last_steps(&self) -> Vec<&str> {
        if !self.depends_on.is_empty() {
            return self.depends_on.iter().map(String::as_str).collect();
        }
        let regular = || self.jobs.iter().filter(|step| step.job.when != When::Failed);
        let before: BTreeSet<&str> = regular().flat_map(|step| &step.job.depends_on).map(String::as_str).collect();
        regular().map(Step::id).filter(|id| !before.contains(id)).collect()
    }

    /// Returns the envelope to send after the dependencies have ended. It lacks the fields that connect the job to other jobs.
    pub(crate) fn without_links(&self) -> Self {
        let needs = self.needs.iter().filter(|need| ![DEPENDENCIES, FEATURE].contains(&need.as_str())).cloned().collect();
        let (when, otherwise) = (When::default(), Otherwise::default());
        let (depends_on, dependents, jobs) = (Vec::new(), Vec::new(), Vec::new());
        let max_blocked_s = self.max_blocked_s.filter(|_| self.keys.is_some());
        Self { depends_on, when, otherwise, max_blocked_s, jobs, dependents, needs, ..self.clone() }
    }

    /// Refuses a message that needs a feature, has a misspelled field of it, and not the right one. The job would run without the others.
    pub(super) fn check_needs(&self) -> Result<(), Unreadable> {
        let is_workflow = !self.jobs.is_empty() || !self.dependents.is_empty();
        let features = [
            (DEPENDENCIES, "depends_on", is_workflow || !self.depends_on.is_empty(), "perhaps `depends_on` is meant"),
            (FEATURE, "jobs", is_workflow, "perhaps `jobs` is meant"),
        ];
        let lacks = |(feature, _, has_field, _): &(&str, &str, bool, &str)| !has_field && self.needs.iter().any(|need| need == feature);
        for (feature, known, _, remedy) in features.into_iter().filter(lacks) {
            if let Some(field) = self.unknown.keys().find(|field| mistake::is_nearly(field, known)) {
                return Err(Unreadable::new(super::excerpt(field), format!("it is unknown, but `needs` has `{feature}`"), remedy));
            }
        }
        Ok(())
    }

    /// Adds the features that a worker must have for this message.
    pub(crate) fn add_needs(&mut self) {
        let is_workflow = !self.jobs.is_empty() || !self.dependents.is_empty();
        let needs = [
            (output::FEATURE, self.refers_to_dependencies()),
            (DEPENDENCIES, !self.depends_on.is_empty() && self.jobs.is_empty()),
            (FEATURE, is_workflow),
            (keys::FEATURE, self.keys.is_some()),
            (keys::RATES, self.keys.as_ref().is_some_and(|keys| keys.rate_key.is_some())),
            (priority::FEATURE, !self.priority.is_default()),
        ];
        for (feature, _) in needs.into_iter().filter(|(_, is_needed)| *is_needed) {
            if !self.needs.iter().any(|need| need == feature) {
                self.needs.push(feature.into());
            }
        }
    }
}
