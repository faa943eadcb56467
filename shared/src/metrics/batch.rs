//! The figures of one batch.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Process,
    emf::{Dimensions, Group, Line, VALUES},
};

/// The dimensions of the metrics of a queue.
const QUEUE: &[Dimensions] = &[&["queue"]];
/// The dimensions of the metrics of jobs.
const JOB: &[Dimensions] = &[&["queue"], &["queue", "name"]];

/// Collects the figures of a batch.
#[derive(Debug)]
pub(crate) struct BatchMeter {
    queue: String,
    at: Timestamp,
    figures: Mutex<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    messages: u64,
    age: u64,
    dead_letters: u64,
    duplicates: u64,
    parked: u64,
    /// The endings that are no metrics.
    others: BTreeMap<&'static str, u64>,
    /// The figures of each name. Most batches have one.
    jobs: Vec<Jobs>,
}

/// The figures of the jobs of one name.
#[derive(Debug, Default)]
struct Jobs {
    /// `None`: this worker has no job of that name. A producer can send any number of such names, and each would be billed.
    name: Option<&'static str>,
    succeeded: u64,
    failed: u64,
    retries: u64,
    killed: u64,
    run: Vec<u64>,
    wait: Vec<u64>,
}

/// The ending of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    Retried,
    Duplicate,
    Parked,
    /// Any other ending, by its name.
    Other(&'static str),
}

impl BatchMeter {
    /// Creates a meter for a batch that arrives at `at` from `queue`.
    pub(crate) fn new(queue: impl Into<String>, at: Timestamp) -> Self {
        Self { queue: queue.into(), at, figures: Mutex::default() }
    }

    /// Counts a message that was sent at this instant.
    pub(crate) fn message(&self, sent_at: Option<Timestamp>) {
        let age = sent_at.and_then(|sent| Duration::try_from(self.at.duration_since(sent)).ok()).map_or(0, millis);
        let mut figures = self.figures();
        figures.messages += 1;
        figures.age = figures.age.max(age);
    }

    /// Counts an attempt: the time that it ran, and the time that the job waited, if this is its first attempt.
    pub(crate) fn attempt(&self, name: &'static str, run: Duration, wait: Option<Duration>) {
        let mut figures = self.figures();
        let jobs = figures.of(Some(name));
        jobs.run.push(millis(run));
        jobs.wait.extend(wait.map(millis));
    }

    /// Counts an attempt whose process had died.
    pub(crate) fn killed(&self, name: &'static str) {
        self.figures().of(Some(name)).killed += 1;
    }

    /// Counts the ending of a delivery.
    pub(crate) fn ended(&self, name: Option<&'static str>, outcome: Outcome) {
        let mut figures = self.figures();
        let count = match outcome {
            Outcome::Succeeded => &mut figures.of(name).succeeded,
            Outcome::Failed => &mut figures.of(name).failed,
            Outcome::Retried => &mut figures.of(name).retries,
            Outcome::Duplicate => &mut figures.duplicates,
            Outcome::Parked => &mut figures.parked,
            Outcome::Other(ending) => figures.others.entry(ending).or_default(),
        };
        *count += 1;
    }

    /// Counts a message that was copied to the dead-letter queue.
    pub(crate) fn dead_letter(&self) {
        self.figures().dead_letters += 1;
    }

    /// Returns the lines of the batch. The first one has the figures of the queue and of the process.
    pub(super) fn lines<'a>(&'a self, process: &Process, request_id: &'a str) -> Vec<Line<'a>> {
        let figures = self.figures();
        let mut of_queue = Some((figures.queue(process), figures.others.iter().map(|(ending, count)| (*ending, *count)).collect()));
        let new = || Line::new(self.at, request_id).dimension("queue", &self.queue);
        let mut lines = Vec::new();
        for jobs in &figures.jobs {
            for group in jobs.groups() {
                let mut line = new();
                if let Some(name) = jobs.name {
                    line = line.dimension("name", name);
                }
                line = line.group(group);
                if let Some((group, others)) = of_queue.take() {
                    line = line.group(group).property("endings", others);
                }
                lines.push(line);
            }
        }
        lines.extend(of_queue.map(|(group, others)| new().group(group).property("endings", others)));
        lines
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    fn of(&mut self, name: Option<&'static str>) -> &mut Jobs {
        let at = self.jobs.iter().position(|jobs| jobs.name == name).unwrap_or_else(|| {
            self.jobs.push(Jobs { name, ..Jobs::default() });
            self.jobs.len() - 1
        });
        &mut self.jobs[at]
    }

    fn queue(&self, process: &Process) -> Group {
        let mut group = Group::of(QUEUE);
        group.count("BatchSize", self.messages);
        group.millis("Age", self.age);
        group.count("DeadLetters", self.dead_letters);
        group.count("Duplicates", self.duplicates);
        group.count("Parked", self.parked);
        process.add_to(&mut group);
        group
    }
}

impl Jobs {
    /// Returns the metrics of the jobs for each line: the counts with the first durations, then the remaining durations.
    fn groups(&self) -> Vec<Group> {
        let group = || Group::of(if self.name.is_some() { JOB } else { QUEUE });
        let mut first = group();
        first.count("Succeeded", self.succeeded);
        first.count("Failed", self.failed);
        first.count("Retries", self.retries);
        first.count("Killed", self.killed);
        let mut groups = vec![first];
        for (name, durations) in [("Run", &self.run), ("Wait", &self.wait)] {
            for (line, durations) in durations.chunks(VALUES).enumerate() {
                if line == groups.len() {
                    groups.push(group());
                }
                groups[line].all_millis(name, durations);
            }
        }
        groups
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
