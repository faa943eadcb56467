//! The record of a job.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    clock::rfc3339,
    envelope::{Digest, Otherwise, Rate, When},
};

/// The item of one job in the table, under its `id`.
///
/// Attributes are plain strings, numbers and maps. Instants are written in RFC 3339, in UTC, with milliseconds. Fields without a value
/// are not written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The job's identity and dedupe key.
    pub id: String,
    /// The job's name.
    pub name: String,
    /// The name of the queue that delivers it.
    pub queue: String,
    /// The current state.
    pub state: State,
    /// Number of attempts used. Snoozed and interrupted attempts do not count. A [retry](crate::Client::retry) resets it.
    #[serde(default)]
    pub attempts: u32,
    /// Maximum number of attempts before the job is `failed`. 0: not known yet, because no worker has started the job.
    #[serde(default)]
    pub max_attempts: u32,
    /// Number of claims so far, which is also the number of the last claim. It rejects writes of earlier claims.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// The random token of the last write that claimed or filed the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The instant at which the lease of the last claim ends, in milliseconds since the epoch. Renewals move it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
    /// A short digest of the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The instant at which the job was enqueued.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub enqueued_at: Option<Timestamp>,
    /// The job does not run, or run again, before this instant. For a blocked job, the instant at which its wait ends: the earlier one of
    /// [`Dependencies::until`] and its expiry.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// The instant at which the last attempt started.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The instant at which the job reached a terminal state.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The output of a job that succeeded, unless its policy discards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The error of the last failed attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The last ten entries, oldest first: attempts that did not succeed, and endings after which the job was run again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Past>,
    /// Number of snoozes. A retry resets it.
    #[serde(default, skip_serializing_if = "is_nought")]
    pub snoozes: u32,
    /// Number of starts, including snoozed and interrupted attempts. A retry resets it.
    #[serde(default, skip_serializing_if = "is_nought")]
    pub runs: u32,
    /// The producer's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The producer's free data.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// The id of the job that enqueued this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The id of the first job of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<String>,
    /// The progress that the job last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// The last checkpoint, from which the next attempt resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// The trace of the last ended attempt that has one, as 32 hexadecimal digits. Only functions with the feature `otel` have traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The status of the failed job's copy in the dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dlq: Option<Dlq>,
    /// `true` after a cancel of the running job.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel_requested: bool,
    /// The message body, while the record holds the arguments in place of a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<String>,
    /// The message group of that message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_group: Option<String>,
    /// The attributes of that message, without those of the library.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub message_attributes: BTreeMap<String, String>,
    /// The jobs that this one waits for, and the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Box<Dependencies>>,
    /// The jobs or the key that still block the job.
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub blocked_on: BTreeSet<String>,
    /// The ids of the jobs and nodes that wait for this one. The message of the job may name up to 100 of them, and others register
    /// themselves while the set has less than 20. Pages list the remaining ones; the set then also contains a mark.
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub dependents: BTreeSet<String>,
    /// The keys that the job holds, by the ids of their records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, Place>,
    /// In the record of a key: an entry for each job that holds the key.
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub holders: BTreeSet<String>,
    /// In the record of a key: maximum number of holders, as the jobs declare it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// In the record of a key: maximum number of holders, as an operator has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_limit: Option<u32>,
    /// In the record of a rate key: its rate, and how far it is used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Box<KeyRate>>,
    /// The shard of the due index that lists the job, such as `due#7`. It lists a blocked job under the end of its wait, and an ended job
    /// until its dependents know of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// The shard of the index of failed jobs that lists the job, such as `failed#7`. For a job that waits for a key: the list of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<String>,
    /// The sort key in that index: the instant of the failure, or of the enqueue of a job that waits for a key.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
    /// The instant after which the table deletes the record, in seconds since the epoch (the table's TTL). A job has it only in a terminal
    /// state. Nodes, pages, plans and keys always have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<i64>,
}

/// The jobs that a job waits for, and the conditions of its release.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Dependencies {
    /// The ids of those jobs, in the order of the message.
    pub ids: Vec<String>,
    /// The endings that release the job.
    #[serde(default, skip_serializing_if = "When::is_default")]
    pub when: When,
    /// The consequence if one of them does not succeed.
    #[serde(default, skip_serializing_if = "Otherwise::is_default")]
    pub otherwise: Otherwise,
    /// The instant at which the job fails if it is still blocked.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// While the job is blocked, the instant before which it does not run.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// `true` once the conditions were met. The job never waits for them again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub met: bool,
}

/// The rate of a key, and how far it is used up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyRate {
    /// The rate, as the jobs declare it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Rate>,
    /// The rate, as an operator has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Rate>,
    /// The instant until which the rate is used up if the attempts keep their interval, in microseconds since the epoch. Each start moves it
    /// by an interval. An attempt may start earlier by `burst` - 1 intervals.
    #[serde(default)]
    pub used_until: i64,
    /// The first instant for which no waiting job was sent yet, in microseconds since the epoch.
    #[serde(default)]
    pub sent_until: i64,
}

/// The hold of a job on a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Place {
    /// The entry of the job among the holders of the key.
    pub entry: String,
    /// The instant after which another job may take the key, in milliseconds since the epoch. `None`: the job holds the key as long as its
    /// record confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// The job waits in the due index for its run time.
    Scheduled,
    /// The job waits for other jobs or for a key.
    Blocked,
    /// The job waits in the queue.
    #[default]
    Queued,
    /// An attempt runs.
    Running,
    /// An attempt failed; the next one waits.
    Retrying,
    /// An attempt succeeded.
    Succeeded,
    /// The job failed permanently.
    Failed,
    /// The job was cancelled.
    Cancelled,
    /// The job expired before it could run.
    Expired,
}

impl State {
    /// Returns `true` if the job has ended: succeeded, failed, cancelled or expired.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired => true,
            Self::Scheduled | Self::Blocked | Self::Queued | Self::Running | Self::Retrying => false,
        }
    }

    /// Returns the state as it is written in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Blocked => "blocked",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

/// The error of a failed attempt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// A short stable word: `error`, `fatal`, `panic`, `timeout`, `deadline`, `killed`, or the job's own.
    pub kind: String,
    /// The text of the error and its causes, at most 2,000 bytes.
    #[serde(default)]
    pub message: String,
    /// The instant of the failure.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Failure {
    /// Creates a failure at `now`, and cuts its message to the length that a record can hold.
    pub(crate) fn new(kind: impl Into<String>, mut message: String, now: Timestamp) -> Self {
        let mut kind = kind.into();
        kind.truncate(kind.floor_char_boundary(64));
        message.truncate(message.floor_char_boundary(2000));
        Self { kind: if kind.is_empty() { "error".into() } else { kind }, message, at: Some(now) }
    }
}

/// One attempt that did not succeed, or an ending after which the job was run again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Past {
    /// The number of the claim.
    pub generation: u64,
    /// The instant at which the attempt started.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// For an attempt, the kind of its [`Failure`]. For an ending, the state, such as `succeeded`.
    pub kind: String,
    /// The text of the error and its causes, as in [`Failure`].
    #[serde(default)]
    pub message: String,
    /// The instant at which it ended.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// The status of a failed job's copy in the dead-letter queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dlq {
    /// The copy is still to be sent.
    Pending,
    /// The copy was sent.
    Sent,
}

impl Dlq {
    /// Returns the status as it is written in the record.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
        }
    }
}

/// The fields that a conditional write compares. A write replaces a record only if they are unchanged since it was read.
///
/// A delayed duplicate of an earlier write is refused, because at least one of them has changed since. A claim changes the generation and
/// the owner, a renewal changes the lease, and an ending changes the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    /// [`Record::generation`].
    pub generation: u64,
    /// [`Record::owner`].
    pub owner: Option<&'a str>,
    /// [`Record::state`].
    pub state: State,
    /// [`Record::lease_until`].
    pub lease_until: Option<i64>,
    /// [`Record::dlq`].
    pub dlq: Option<Dlq>,
    /// [`Record::cancel_requested`].
    pub cancel_requested: bool,
}

impl Record {
    /// Returns the output of a job that succeeded, as a `T`. `None`: the job has not succeeded, or its policy discards results.
    ///
    /// ```
    /// # fn read(record: &sqjobs::Record) -> Result<(), Box<dyn std::error::Error>> {
    /// let sum: Option<i64> = record.output()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the [result](Self::result) cannot be deserialized into `T`.
    pub fn output<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.result.as_ref().map(T::deserialize).transpose()
    }

    /// Returns `true` if, according to this record, the attempt with this token runs the job.
    pub(crate) fn is_run_by(&self, owner: Option<&str>) -> bool {
        self.state == State::Running && self.owner.as_deref() == owner
    }

    /// Returns `true` if the write of `next` ends a job or changes its dependents. A store refuses such a write if the job has other dependents
    /// by then. The write would drop these dependents, or its writer would not release them.
    pub(crate) fn needs_dependents_for(&self, next: &Self) -> bool {
        next.state.is_terminal() && !self.state.is_terminal() || self.dependents != next.dependents
    }

    /// Returns the version that the next write of this record compares.
    pub fn version(&self) -> Version<'_> {
        Version {
            generation: self.generation,
            owner: self.owner.as_deref(),
            state: self.state,
            lease_until: self.lease_until,
            dlq: self.dlq,
            cancel_requested: self.cancel_requested,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_nought(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}
