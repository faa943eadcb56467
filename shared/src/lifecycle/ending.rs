//! The endings of deliveries, and their actions on the message.

use jiff::Timestamp;

/// The ending of a delivery. This list is complete; `docs/life-of-a-job.md` describes their effects on the attempt, the record and the
/// message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The attempt succeeded.
    Succeeded,
    /// The attempt failed; the next one runs at this instant.
    Retried(Timestamp),
    /// The job failed permanently: no attempt is left, the error is fatal, or the last attempt was killed. Its message is copied to the
    /// dead-letter queue.
    Failed,
    /// The job postponed itself until this instant.
    Snoozed(Timestamp),
    /// The attempt stopped at a safe point. The next one resumes from its checkpoint.
    Interrupted,
    /// The batch had no time or no slot left to start the attempt.
    NotStarted,
    /// The message is returned, because an earlier message of its group was returned.
    Held,
    /// The job is not due before this instant.
    Early(Timestamp),
    /// The job waits for other jobs. Its record holds the message.
    Blocked,
    /// Another attempt holds the job, at least until this instant.
    Busy(Timestamp),
    /// The attempt lost its lease, or it is unknown if its ending was recorded.
    LeaseLost,
    /// The job had already ended.
    Duplicate,
    /// The job was cancelled.
    Cancelled,
    /// The job expired before it started.
    Expired,
    /// The id belongs to a job with another name or queue.
    Foreign,
    /// The message or the record is unreadable.
    Rejected,
    /// This worker cannot run the job, but another version might.
    Parked,
    /// The store did not answer, and the policy discards the message.
    Skipped,
}

/// The function's action on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Delete the message.
    Delete,
    /// Copy the message to the dead-letter queue, then delete it.
    DeadLetter,
    /// Return the message, invisible until this instant.
    Wait(Timestamp),
    /// Return the message, invisible until this instant plus a backoff.
    WaitAndBackoff(Timestamp),
    /// Return the message, visible at once.
    Now,
    /// Return the message with a backoff that grows with the number of deliveries, up to one minute.
    Backoff,
    /// Return the message with a backoff that grows with the number of deliveries, up to five minutes.
    LongBackoff,
    /// Return the message without a change of its visibility timeout.
    Leave,
}

impl Ending {
    /// Returns the action on the message.
    pub(crate) fn fate(&self) -> Fate {
        match self {
            Self::Succeeded | Self::Blocked | Self::Duplicate | Self::Cancelled | Self::Expired | Self::Skipped => Fate::Delete,
            Self::Failed | Self::Foreign | Self::Rejected => Fate::DeadLetter,
            Self::Retried(at) | Self::Snoozed(at) | Self::Early(at) => Fate::Wait(*at),
            Self::Busy(at) => Fate::WaitAndBackoff(*at),
            Self::Interrupted | Self::Held => Fate::Now,
            Self::NotStarted => Fate::Backoff,
            Self::Parked => Fate::LongBackoff,
            Self::LeaseLost => Fate::Leave,
        }
    }

    /// Returns `true` if an attempt without a record must write one for this ending.
    pub(crate) fn is_trouble(&self) -> bool {
        match self {
            Self::Succeeded | Self::NotStarted => false,
            Self::Retried(_)
            | Self::Failed
            | Self::Snoozed(_)
            | Self::Interrupted
            | Self::Cancelled
            // No attempt ends in one of these.
            | Self::Held
            | Self::Early(_)
            | Self::Blocked
            | Self::Busy(_)
            | Self::LeaseLost
            | Self::Duplicate
            | Self::Expired
            | Self::Foreign
            | Self::Rejected
            | Self::Parked
            | Self::Skipped => true,
        }
    }

    /// Returns the ending as it is written in logs.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Retried(_) => "retried",
            Self::Failed => "failed",
            Self::Snoozed(_) => "snoozed",
            Self::Interrupted => "interrupted",
            Self::NotStarted => "not_started",
            Self::Held => "held",
            Self::Early(_) => "early",
            Self::Blocked => "blocked",
            Self::Busy(_) => "busy",
            Self::LeaseLost => "lease_lost",
            Self::Duplicate => "duplicate",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Foreign => "foreign",
            Self::Rejected => "rejected",
            Self::Parked => "parked",
            Self::Skipped => "skipped",
        }
    }
}
