//! How a job is treated, as plain data.

use std::time::Duration;

use crate::Backoff;

/// How often a job may run, for how long, and what is kept of it. Every field has a default.
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
    /// Attempts in all, the first included, before the job is `failed`. 5.
    pub max_attempts: u32,
    /// The wait between attempts. From 10 seconds, doubling, to 12 hours.
    pub backoff: Backoff,
    /// The longest an attempt may take. None: as long as the invocation lasts.
    pub timeout: Option<Duration>,
    /// Whether the output is kept in the record. Without it, only that the job succeeded. True.
    pub keep_result: bool,
    /// How long a finished record is kept, at least 15 days: a queue may deliver a message for 14. 30 days.
    pub retention: Duration,
    /// How many jobs of one batch run at the same time. 10.
    pub concurrency: usize,
    /// What to do with a delivery that cannot be claimed because the store does not answer. Retry.
    pub on_store_failure: StoreFailure,
    /// For how long an attempt holds its job without renewing; renewed while it runs, each third of this time. A crash
    /// after the first renewal blocks the job for about this long, one before it until the queue's visibility timeout
    /// has passed. 30 seconds.
    pub lease: Duration,
    /// How often the job may snooze. 100.
    pub max_snoozes: u32,
    /// How often the job may be started, interruptions and snoozes included. 1,000.
    pub max_runs: u32,
    /// When the table of the records gets to know the job. Always.
    pub recording: Recording,
}

/// What to do with a delivery that cannot be claimed because the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailure {
    /// Return the message; it is tried again. Nothing is lost, nothing runs twice.
    Retry,
    /// Run the job without a record: for work where late is worse than twice.
    Run,
    /// Drop the message: for work where twice is worse than never.
    Skip,
}

/// The moment at which the record of a job is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recording {
    /// Before its first attempt starts, and as each attempt ends.
    Always,
    /// Once something goes wrong: a first attempt that succeeds writes nothing, which saves both write units of a job. For jobs
    /// that are many, short and idempotent, and whose results nobody reads.
    ///
    /// The first attempt writes the record when it ends in any other way than success, when it calls
    /// [`checkpoint`](crate::Attempt::checkpoint) or [`progress`](crate::Attempt::progress), and after a third of
    /// [`Policy::lease`]. The record then holds the message too, if that has at most 100,000 bytes. From there on the job is
    /// treated as with [`Recording::Always`], and so it is from the start if its message was received before, or if it was fired by
    /// a schedule, sent by [`Client::retry`](crate::Client::retry) or `sqjobs dlq redrive`, sent after a wait of more than 15
    /// minutes, or enqueued as [`recorded`](crate::Enqueue::recorded).
    ///
    /// What is given up:
    ///
    /// - A job that succeeds unrecorded leaves no result and no record. It is in no list and no tree, and nobody can wait for
    ///   it, unless it was enqueued as recorded or listed.
    /// - A message that is received for the first time does not look at the table. So one that SQS delivers twice, before
    ///   anything is recorded, runs twice, possibly at the same time. So does a second message of the same id, even after the
    ///   first has succeeded, and even if the id belongs to another job.
    /// - Where such a second run goes wrong and finds a record, the record stands: the run ends like one that lost its lease,
    ///   and its message comes back after the queue's visibility timeout. Where it succeeds, the message may be deleted while the
    ///   record is unfinished: a beater sends the message that the record holds, and the job runs once more. A record that holds
    ///   none ends as `lost`.
    /// - A job without a record cannot be cancelled, not even by its id in advance.
    /// - An attempt whose process dies before the record is written is not counted: such a job may start once more than
    ///   [`Policy::max_attempts`] says, and may end the other jobs of its batch once more.
    /// - Statistics are written once a minute by a process that writes nothing else. A process that ends earlier loses its own.
    OnTrouble,
}

/// The longest retention of an SQS queue, and a day.
const MIN_RETENTION: Duration = Duration::from_hours(15 * 24);

impl Policy {
    /// The defaults.
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
            max_snoozes: 100,
            max_runs: 1000,
            recording: Recording::Always,
        }
    }

    /// The policy with every field within its bounds, however it was made.
    pub(crate) const fn bounded(self) -> Self {
        self.max_attempts(self.max_attempts)
            .retention(self.retention)
            .concurrency(self.concurrency)
            .lease(self.lease)
            .max_runs(self.max_runs)
    }

    /// Sets the attempts in all, at least 1.
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

    /// Sets the longest an attempt may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Drops the output: the record then only says that the job succeeded.
    #[must_use]
    pub const fn drop_result(mut self) -> Self {
        self.keep_result = false;
        self
    }

    /// Sets how long a finished record is kept; less than 15 days is taken as 15.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = if retention.as_secs() < MIN_RETENTION.as_secs() { MIN_RETENTION } else { retention };
        self
    }

    /// Sets how many jobs of one batch run at the same time, at least 1.
    #[must_use]
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = if jobs == 0 { 1 } else { jobs };
        self
    }

    /// Sets what happens when the store does not answer.
    #[must_use]
    pub const fn on_store_failure(mut self, choice: StoreFailure) -> Self {
        self.on_store_failure = choice;
        self
    }

    /// Sets for how long an attempt holds its job without renewing, from one second to 15 minutes.
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

    /// Sets how often the job may snooze.
    #[must_use]
    pub const fn max_snoozes(mut self, snoozes: u32) -> Self {
        self.max_snoozes = snoozes;
        self
    }

    /// Sets how often the job may be started, at least once.
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
