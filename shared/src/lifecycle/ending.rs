//! The endings of deliveries, and what each does to the message.

use jiff::Timestamp;

/// The ending of a delivery. The list is closed; a table in `docs/life-of-a-job.md` says what each ending does to the attempt, the
/// record and the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Done.
    Succeeded,
    /// Failed, and tried again at that instant.
    Retried(Timestamp),
    /// Failed for good: attempts exhausted, a fatal error, or killed with none left. Owes a copy to the DLQ.
    Failed,
    /// Postponed by the job itself until that instant.
    Snoozed(Timestamp),
    /// Stopped at a safe point; the next attempt goes on from its checkpoint.
    Interrupted,
    /// No time or no slot was left to start it.
    NotStarted,
    /// Behind a message of its group that comes back.
    Held,
    /// Not due before that instant.
    Early(Timestamp),
    /// Another attempt holds it, at least until that instant.
    Busy(Timestamp),
    /// The attempt lost its lease, or does not know whether its ending was recorded.
    LeaseLost,
    /// The job had ended before.
    Duplicate,
    /// Cancelled.
    Cancelled,
    /// Its `expires_at` had passed.
    Expired,
    /// Its id belongs to a job of another name or queue.
    Foreign,
    /// The message or the record cannot be read.
    Rejected,
    /// Cannot be run by this worker; another version might.
    Parked,
    /// The store did not answer, and the policy drops the message.
    Skipped,
}

/// The function's action on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Deleted.
    Delete,
    /// Copied to the dead-letter queue, then deleted.
    DeadLetter,
    /// Returned, invisible until that instant.
    Wait(Timestamp),
    /// Returned, invisible until that instant and a backoff longer.
    WaitAndBackoff(Timestamp),
    /// Returned, visible at once.
    Now,
    /// Returned with a backoff that grows with the deliveries, up to a minute.
    Backoff,
    /// The same, up to five minutes.
    LongBackoff,
    /// Returned, its visibility left alone.
    Leave,
}

impl Ending {
    /// Returns the action on the message.
    pub(crate) fn fate(&self) -> Fate {
        match self {
            Self::Succeeded | Self::Duplicate | Self::Cancelled | Self::Expired | Self::Skipped => Fate::Delete,
            Self::Failed | Self::Foreign | Self::Rejected => Fate::DeadLetter,
            Self::Retried(at) | Self::Snoozed(at) | Self::Early(at) => Fate::Wait(*at),
            Self::Busy(at) => Fate::WaitAndBackoff(*at),
            Self::Interrupted | Self::Held => Fate::Now,
            Self::NotStarted => Fate::Backoff,
            Self::Parked => Fate::LongBackoff,
            Self::LeaseLost => Fate::Leave,
        }
    }

    /// Returns true if an attempt with this ending must write its record, if it has none yet.
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

    /// Returns the ending as logs spell it.
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
