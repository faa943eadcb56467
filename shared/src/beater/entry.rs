//! A scheduled job: what to enqueue, and when.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Arguments, Enqueue, Envelope, Error, Priority, Schedule, Timetable, clock::after, envelope::check_id};

/// A schedule with the job that it enqueues. It is stored as one row of the schedules' table.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sqjobs::{Arguments, CatchUp, Context, Entry, Job, JobError, Schedule};
///
/// #[derive(Serialize, Deserialize)]
/// struct Report { month: bool }
///
/// impl Arguments for Report {
///     const NAME: &'static str = "report";
/// }
///
/// impl Job for Report {
///     type Output = ();
///
///     async fn run(&self, ctx: &Context) -> Result<(), JobError> {
///         println!("for {:?}, {:?} late", ctx.due_at(), ctx.late_by());
///         Ok(())
///     }
/// }
///
/// let nightly = Schedule::cron("1 0 * * *").timezone("Europe/Madrid");
/// let entry = Entry::new("nightly-report", nightly, &Report { month: false })?.catch_up(CatchUp::Skip);
/// assert_eq!(entry.check()?.to_string(), "at 00:01 in Europe/Madrid");
/// # Ok::<(), sqjobs::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "it is enqueued by a Beater, or once it is put into the schedules' table"]
pub struct Entry {
    id: String,
    #[serde(flatten)]
    schedule: Schedule,
    job: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    args: Value,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    kwargs: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Priority::is_default")]
    priority: Priority,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    meta: Map<String, Value>,
    #[serde(default, skip_serializing_if = "CatchUp::is_default")]
    catch_up: CatchUp,
    #[serde(default = "grace", skip_serializing_if = "is_grace")]
    grace_s: u64,
    #[serde(default = "backlog", skip_serializing_if = "is_backlog")]
    backlog: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    jitter_s: u64,
}

/// The action for fires that were missed because no beater ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CatchUp {
    /// Catches up with the newest missed fire.
    #[default]
    One,
    /// Catches up with missed fires within the [grace](Entry::grace), and drops older ones.
    Skip,
    /// Catches up with all missed fires, at most the newest [`backlog`](Entry::backlog) ones.
    All,
}

/// Maximum bytes of a schedule's id. The ids of its jobs are longer, because they also contain the instant of the fire.
const ID_BYTES: usize = 256;
/// Prefix of the ids of jobs that a schedule has enqueued.
const PREFIX: &str = "schedule:";

impl Entry {
    /// The names of its fields, as they are stored and written as JSON.
    pub const FIELDS: [&'static str; 19] = [
        "id",
        "cron",
        "timezone",
        "dst_gap",
        "every_s",
        "offset_s",
        "job",
        "queue",
        "args",
        "kwargs",
        "max_attempts",
        "timeout_s",
        "priority",
        "tags",
        "meta",
        "catch_up",
        "grace_s",
        "backlog",
        "jitter_s",
    ];

    /// Creates an entry that enqueues `job` at each fire. The id names the schedule and must never change.
    ///
    /// # Errors
    ///
    /// When the arguments cannot be serialized as JSON.
    pub fn new<A: Arguments>(id: impl Into<String>, schedule: Schedule, arguments: &A) -> Result<Self, Error> {
        let json = serde_json::to_value(arguments);
        let json = json.map_err(|error| Error::Invalid(format!("cannot write the arguments of job {:?} as JSON: {error}", A::NAME)))?;
        let entry = Self::named(id, schedule, A::NAME, json);
        Ok(if A::QUEUE == A::NAME { entry } else { entry.queue(A::QUEUE) })
    }

    /// Creates an entry for a job whose type is not known here, by its name.
    pub fn named(id: impl Into<String>, schedule: Schedule, job: impl Into<String>, args: Value) -> Self {
        Self {
            id: id.into(),
            schedule,
            job: job.into(),
            queue: None,
            args,
            kwargs: Map::new(),
            max_attempts: None,
            timeout_s: None,
            priority: Priority::Default,
            tags: Vec::new(),
            meta: Map::new(),
            catch_up: CatchUp::One,
            grace_s: grace(),
            backlog: backlog(),
            jitter_s: 0,
        }
    }

    /// Sends the jobs to this queue. Default: the queue with the name of the job.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Sets the maximum attempts of its jobs. Default: the job's policy.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets the timeout of an attempt. Default: the job's policy.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_s = Some(timeout.as_secs_f64());
        self
    }

    /// Sends the jobs to the queue of a priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Adds a label to its jobs.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Sets the action for fires that were missed because no beater ran. Default: [`CatchUp::One`].
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// Sets the maximum age of a missed fire that [`CatchUp::Skip`] catches up with, in whole seconds. Default: five minutes.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_s = grace.as_secs();
        self
    }

    /// Sets the maximum number of missed fires that [`CatchUp::All`] catches up with. Default: 100.
    pub fn backlog(mut self, fires: usize) -> Self {
        self.backlog = fires;
        self
    }

    /// Spreads schedules with the same fires over this time, in whole seconds. The delay of a schedule is always the same.
    pub fn jitter(mut self, spread: Duration) -> Self {
        self.jitter_s = spread.as_secs();
        self
    }

    /// Returns the name of the schedule.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name of the enqueued job.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Returns the schedule of its jobs.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Checks all fields and returns the timetable. Intervals count from the beginning of 1970.
    ///
    /// # Errors
    ///
    /// Names the wrong field and its valid values.
    pub fn check(&self) -> Result<Timetable, Error> {
        self.timetable(Timestamp::UNIX_EPOCH)
    }

    pub(super) fn timetable(&self, created: Timestamp) -> Result<Timetable, Error> {
        let wrong = |why: &dyn std::fmt::Display| Error::Invalid(format!("schedule {:?} is invalid: {why}", self.id));
        check_id(&self.id).map_err(|error| wrong(&error))?;
        if self.id.len() > ID_BYTES {
            return Err(wrong(&format!("id: it has {} bytes; it must have 1 to {ID_BYTES}", self.id.len())));
        }
        self.envelope(created).check().map_err(|error| wrong(&error))?;
        self.schedule.timetable(created).map_err(|error| wrong(&error))
    }

    pub(super) fn rule(&self) -> (CatchUp, Duration, usize) {
        (self.catch_up, Duration::from_secs(self.grace_s), self.backlog)
    }

    /// Returns the name of the queue of its jobs, without the prefix of the environment. It depends on their priority.
    pub fn queue_name(&self) -> Cow<'_, str> {
        let queue = self.queue.as_deref().unwrap_or(&self.job);
        if self.priority.is_default() { queue.into() } else { self.priority.queue(queue).into() }
    }

    /// Returns the id of the job of one fire.
    pub fn job_id(&self, fire: Timestamp) -> String {
        format!("{PREFIX}{}:{fire}", self.id)
    }

    /// Returns the fire whose job has this id, or `None` if the id is not one of this schedule.
    pub fn fire_of(&self, job_id: &str) -> Option<Timestamp> {
        job_id.strip_prefix(PREFIX)?.strip_prefix(&*self.id)?.strip_prefix(':')?.parse().ok()
    }

    /// Returns the instant at which the job of a fire is sent: the fire plus the schedule's own jitter.
    pub(super) fn run_at(&self, fire: Timestamp) -> Timestamp {
        let share = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.id.as_bytes()).as_u128() % u128::from(self.jitter_s.max(1));
        after(fire, Duration::from_secs(u64::try_from(share).unwrap_or(0)))
    }

    /// Returns the message of one fire.
    pub(super) fn envelope(&self, fire: Timestamp) -> Envelope {
        let mut envelope = Envelope::new(&self.job, self.args.clone());
        envelope.id = Some(self.job_id(fire));
        envelope.run_at = Some(fire);
        envelope.kwargs.clone_from(&self.kwargs);
        envelope.max_attempts = self.max_attempts;
        envelope.timeout_s = self.timeout_s;
        envelope.priority = self.priority;
        envelope.tags.clone_from(&self.tags);
        envelope.meta.clone_from(&self.meta);
        envelope
    }

    /// Returns a job to enqueue now, in addition to the jobs of the fires.
    pub(super) fn now(&self) -> Enqueue {
        let mut envelope = self.envelope(Timestamp::UNIX_EPOCH);
        (envelope.run_at, envelope.id) = (None, Some(format!("{PREFIX}{}:{}", self.id, Uuid::now_v7().simple())));
        Enqueue::named(&self.job, Value::Null).queue(self.queue_name()).with(|message| *message = envelope)
    }

    /// Returns a value that changes with every field of the entry.
    pub(super) fn fingerprint(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).simple().to_string()
    }
}

impl CatchUp {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
    fn is_default(&self) -> bool {
        *self == Self::One
    }
}

fn grace() -> u64 {
    300
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_grace(seconds: &u64) -> bool {
    *seconds == grace()
}

fn backlog() -> usize {
    100
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_backlog(fires: &usize) -> bool {
    *fires == backlog()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_stored_without_its_defaults() {
        let plain = json!({"id": "a", "cron": "* * * * *", "job": "note"});
        let entry: Entry = serde_json::from_value(plain.clone()).expect("an entry");
        assert_eq!(entry.rule(), (CatchUp::One, Duration::from_mins(5), 100));
        assert_eq!(serde_json::to_value(&entry).expect("JSON"), plain);
        let changed = entry.catch_up(CatchUp::Skip).grace(Duration::from_secs(1)).backlog(1).jitter(Duration::from_secs(1));
        let mut expected = plain;
        expected.as_object_mut().expect("an object").extend(
            [("catch_up", json!("skip")), ("grace_s", json!(1)), ("backlog", json!(1)), ("jitter_s", json!(1))]
                .map(|(name, value)| (name.to_owned(), value)),
        );
        assert_eq!(serde_json::to_value(changed).expect("JSON"), expected);
    }

    #[test]
    fn the_id_of_a_schedule_has_at_most_256_bytes() {
        let check = |bytes| Entry::named("x".repeat(bytes), Schedule::cron("* * * * *").timezone("UTC"), "note", Value::Null).check();
        assert!(check(256).is_ok());
        assert!(check(257).expect_err("refused").to_string().contains("id: it has 257 bytes; it must have 1 to 256"));
    }

    #[test]
    fn the_id_of_a_job_tells_its_fire() {
        let entry = Entry::named("a", Schedule::cron("* * * * *").timezone("UTC"), "note", Value::Null);
        let fire: Timestamp = "2026-05-04T10:00:00Z".parse().expect("an instant");
        assert_eq!(entry.job(), "note");
        assert_eq!(entry.fire_of(&entry.job_id(fire)), Some(fire));
        assert_eq!(["schedule:b:2026-05-04T10:00:00Z", "schedule:a:now", "a"].map(|id| entry.fire_of(id)), [None; 3]);
    }
}
