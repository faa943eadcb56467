//! The policy of a job, as plain data.

use std::time::Duration;

use crate::Backoff;

/// Limits on the runs of a job, and on the data that is kept. Every field has a default.
///
/// ```
/// use std::time::Duration;
/// use sqjobs::{Backoff, Policy};
///
/// const POLICY: Policy = Policy::new()
///     .max_attempts(3)
///     .timeout(Duration::from_secs(20))
///     .backoff(Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60)));
/// assert_eq!(POLICY.max_attempts, 3);
/// assert_eq!(Policy::new().max_attempts, 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// Maximum number of attempts, including the first, before the job is `failed`. Default: 5.
    pub max_attempts: u32,
    /// The wait between attempts. Default: from 10 seconds, doubling, up to 12 hours.
    pub backoff: Backoff,
    /// Maximum duration of an attempt. Default: none; an attempt may take as long as the invocation. In a polling worker it may then
    /// take forever, so set it there.
    pub timeout: Option<Duration>,
    /// `true` to keep the output in the record. Otherwise the record shows only that the job succeeded. Default: true.
    pub keep_result: bool,
    /// Time for which a finished record is kept, at least 15 days: a queue may deliver a message for 14. Default: 30 days.
    pub retention: Duration,
    /// Maximum number of concurrent jobs of one batch, or of one polling worker. Default: 10.
    pub concurrency: usize,
    /// The action for a delivery that cannot be claimed because the store does not answer. Default: retry.
    pub on_store_failure: StoreFailure,
    /// Time for which a claim is valid without renewal; a running attempt renews it after each third of this time. A crash after the
    /// first renewal blocks the job for about this long. An earlier crash blocks it until the queue's visibility timeout has passed.
    /// Default: 30 seconds.
    pub lease: Duration,
    /// `true` to start again soon after a crash in the first third of the lease: when the lease is over, instead of after the visibility
    /// timeout of the queue. Each attempt then costs two more requests to SQS, and starts after the answer to the first of them.
    /// A [polling worker](crate::Worker) does not need it. Default: false.
    pub fast_recovery: bool,
    /// Maximum number of snoozes. Default: 100.
    pub max_snoozes: u32,
    /// Maximum number of starts, including interruptions and snoozes. Default: 1,000.
    pub max_runs: u32,
    /// When the record of the job is written. Default: always.
    pub recording: Recording,
}

/// The action for a delivery that cannot be claimed because the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailure {
    /// Return the message for a retry. No job is lost and none runs twice.
    Retry,
    /// Run the job without a record, if running late is worse than running twice.
    Run,
    /// Discard the message, if running twice is worse than not running.
    Skip,
}

/// When the record of a job is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recording {
    /// Before the first attempt starts, and when each attempt ends.
    Always,
    /// Only when something goes wrong: a first attempt that succeeds writes nothing, which saves both write units of the job. For many
    /// short, idempotent jobs whose results are not read.
    ///
    /// The first attempt writes the record in these cases:
    ///
    /// - It ends in any other way than success.
    /// - It calls [`checkpoint`](crate::Attempt::checkpoint) or [`progress`](crate::Attempt::progress).
    /// - It runs for a third of [`Policy::lease`].
    ///
    /// The record then also holds the message, if that has at most 100,000 bytes. From then on the job is treated as with
    /// [`Recording::Always`]. The following jobs are treated so from the start:
    ///
    /// - jobs whose message was received before
    /// - jobs of a schedule
    /// - jobs that were sent by [`Client::retry`](crate::Client::retry) or `sqjobs dlq redrive`
    /// - jobs that were sent after a wait of more than 15 minutes
    /// - jobs that were enqueued as [`recorded`](crate::Enqueue::recorded)
    ///
    /// You give up the following:
    ///
    /// - A job that succeeds unrecorded leaves no result and no record. It appears in no list and no tree, and you cannot wait
    ///   for it, unless it was enqueued as recorded or listed.
    /// - The first receive of a message does not read the table. A message that SQS delivers twice before anything is recorded
    ///   therefore runs twice, possibly at the same time. So does a second message with the same id, even after the
    ///   first has succeeded, and even if the id belongs to another job.
    /// - If such a second run fails and finds a record, the record stays: the run ends like one that lost its lease, and its message
    ///   returns after the queue's visibility timeout. If the second run succeeds, its message may be deleted while the
    ///   record is unfinished. A beater then sends the message from the record, and the job runs once more. A record without
    ///   a message ends as `lost`.
    /// - A job without a record cannot be cancelled, not even by its id in advance.
    /// - An attempt whose process dies before the record is written is not counted. Such a job may start once more than
    ///   [`Policy::max_attempts`] allows, and may kill the other jobs of its batch once more.
    /// - Statistics are written once a minute by a process that writes nothing else. A process that ends earlier loses its own.
    OnTrouble,
}

/// The longest retention of an SQS queue, plus one day.
const MIN_RETENTION: Duration = Duration::from_hours(15 * 24);

impl Policy {
    /// Returns the defaults.
    pub const fn new() -> Self {
        Self {
            max_attempts: 5,
            backoff: Backoff::exponential(Duration::from_secs(10), Duration::from_hours(12)),
            timeout: None,
            keep_result: true,
            retention: Duration::from_hours(30 * 24),
            concurrency: 10,
            on_store_failure: StoreFailure::Retry,
            lease: Duration::from_secs(30),
            fast_recovery: false,
            max_snoozes: 100,
            max_runs: 1000,
            recording: Recording::Always,
        }
    }

    /// Returns the policy with every field within its bounds. Fields may also have been set directly.
    pub(crate) const fn bounded(self) -> Self {
        self.max_attempts(self.max_attempts)
            .retention(self.retention)
            .concurrency(self.concurrency)
            .lease(self.lease)
            .max_runs(self.max_runs)
    }

    /// Sets the maximum number of attempts, at least 1.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// Sets the wait between attempts.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets the maximum duration of an attempt.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Drops the output: the record then shows only that the job succeeded.
    #[must_use]
    pub const fn drop_result(mut self) -> Self {
        self.keep_result = false;
        self
    }

    /// Sets the retention of a finished record, at least 15 days.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = if retention.as_secs() < MIN_RETENTION.as_secs() { MIN_RETENTION } else { retention };
        self
    }

    /// Sets the maximum number of concurrent jobs of one batch, at least 1.
    #[must_use]
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = if jobs == 0 { 1 } else { jobs };
        self
    }

    /// Sets the action for a delivery that cannot be claimed because the store does not answer.
    #[must_use]
    pub const fn on_store_failure(mut self, choice: StoreFailure) -> Self {
        self.on_store_failure = choice;
        self
    }

    /// Sets the validity of a claim without renewal, from one second to 15 minutes.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        let seconds = lease.as_secs();
        self.lease = if seconds < 1 {
            Duration::from_secs(1)
        } else if seconds >= 900 {
            Duration::from_mins(15)
        } else {
            lease
        };
        self
    }

    /// Starts again soon after a crash in the first seconds of an attempt.
    #[must_use]
    pub const fn fast_recovery(mut self) -> Self {
        self.fast_recovery = true;
        self
    }

    /// Sets the maximum number of snoozes.
    #[must_use]
    pub const fn max_snoozes(mut self, snoozes: u32) -> Self {
        self.max_snoozes = snoozes;
        self
    }

    /// Sets the maximum number of starts, at least 1.
    #[must_use]
    pub const fn max_runs(mut self, runs: u32) -> Self {
        self.max_runs = if runs == 0 { 1 } else { runs };
        self
    }

    /// Sets when the record is written.
    #[must_use]
    pub const fn recording(mut self, recording: Recording) -> Self {
        self.recording = recording;
        self
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}
