//! What is remembered of a job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{clock::rfc3339, envelope::Digest};

/// Everything the table holds about one job, under its `id`.
///
/// Attributes are plain strings, numbers and maps; instants are RFC 3339 UTC with milliseconds. What is absent is
/// not written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The job's identity and dedupe key.
    pub id: String,
    /// The job's name.
    pub name: String,
    /// The name of the queue that delivers it.
    pub queue: String,
    /// Where the job stands.
    pub state: State,
    /// The budget used: attempts started and not given back.
    #[serde(default)]
    pub attempts: u32,
    /// Attempts in all before the job is `failed`.
    #[serde(default)]
    pub max_attempts: u32,
    /// How often the job was claimed; the claim's number, which fences.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// The random token of the last claim or filing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Until when the last claim holds the job unless renewed, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<i64>,
    /// A short digest of the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// When the job was enqueued.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub enqueued_at: Option<Timestamp>,
    /// Before when it must not run (again).
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// When the last attempt started.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the job reached a terminal state.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The output of a job that succeeded, unless its policy drops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why the last attempt that failed did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The attempts that did not succeed, and the endings after which the job was run again: oldest first, at most the last ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Past>,
    /// How often it snoozed.
    #[serde(default, skip_serializing_if = "is_nought")]
    pub snoozes: u32,
    /// How often it was started, given-back attempts included.
    #[serde(default, skip_serializing_if = "is_nought")]
    pub runs: u32,
    /// Labels of the enqueuer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Free data of the enqueuer.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// The job that enqueued this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The first job of the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<String>,
    /// What the job last told of its progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// From where an interrupted job goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// Whether the copy in the dead-letter queue was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dlq: Option<Dlq>,
    /// That someone asked to cancel it while it ran.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel_requested: bool,
    /// The message body, where the record and not the message holds the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<String>,
    /// The group of that message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_group: Option<String>,
    /// The attributes of that message, those of the library excepted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub message_attributes: BTreeMap<String, String>,
    /// The shard of the due index that holds it, such as `due#7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// The part of the index of what failed that holds it, such as `failed#7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<String>,
    /// Its place there: when it failed.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
    /// When the table may forget it, in seconds since the epoch (the table's TTL); only in a terminal state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<i64>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Waits in the due index for its time.
    Scheduled,
    /// Waits for other jobs.
    Blocked,
    /// Waits in the queue.
    #[default]
    Queued,
    /// An attempt holds it.
    Running,
    /// An attempt failed; the next one waits.
    Retrying,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Called off.
    Cancelled,
    /// Its time had passed before it could run.
    Expired,
}

impl State {
    /// Whether nothing more will happen by itself.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired => true,
            Self::Scheduled | Self::Blocked | Self::Queued | Self::Running | Self::Retrying => false,
        }
    }

    /// The state as the record spells it.
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

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// A short stable word: `error`, `fatal`, `panic`, `timeout`, `deadline`, `killed`, or the job's own.
    pub kind: String,
    /// The error's text and its causes, at most 2,000 bytes.
    #[serde(default)]
    pub message: String,
    /// When.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Failure {
    /// A failure at `now`, its message cut to what a record holds.
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
    /// The claim's number.
    pub generation: u64,
    /// When it started.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// As in [`Failure`]; of an ending, the state, such as `succeeded`.
    pub kind: String,
    /// As in [`Failure`].
    #[serde(default)]
    pub message: String,
    /// When it ended.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Whether the copy in the dead-letter queue was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dlq {
    /// The copy is owed.
    Pending,
    /// The copy was made.
    Sent,
}

impl Dlq {
    /// As the record spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
        }
    }
}

/// What a conditional write compares: a record is replaced only as it was seen.
///
/// A delayed duplicate of any earlier write finds at least one of these changed: a claim changes the generation and
/// the owner, a renewal the lease, an ending the state.
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
    /// Returns the output of a job that succeeded, in its type. None: the job has not succeeded, or its policy drops results.
    ///
    /// ```
    /// # fn read(record: &sqjobs::Record) -> Result<(), Box<dyn std::error::Error>> {
    /// let sum: Option<i64> = record.output()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the [result](Self::result) is no value of that type.
    pub fn output<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.result.as_ref().map(T::deserialize).transpose()
    }

    /// Whether the attempt with this token runs it, by what is stored.
    pub(crate) fn is_run_by(&self, owner: Option<&str>) -> bool {
        self.state == State::Running && self.owner.as_deref() == owner
    }

    /// What the next write of this record is conditional on.
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
