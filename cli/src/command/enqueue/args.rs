//! Arguments of the command `enqueue`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use sqjobs::{Priority, Rate, UniqueFor, Until};

use crate::{
    time,
    value::{key_value, priority, rate, text},
};

#[derive(Debug, Args)]
#[command(override_usage = "sqjobs enqueue [OPTIONS] <NAME> [ARGS]\n       sqjobs enqueue [OPTIONS] --from <FILE>")]
pub(crate) struct Enqueue {
    /// The job's name.
    #[arg(required_unless_present = "from", value_parser = text)]
    pub(crate) name: Option<String>,
    /// The job's arguments as JSON. Use @FILE to read them from a file, or - to read them from standard input.
    #[arg(conflicts_with = "from")]
    pub(crate) args: Option<String>,
    /// Enqueue the jobs of a file, or of standard input with -. Each line is a message such as {"name": "adder", "args": [1, 2], "id":
    /// "a"}.
    ///
    /// A line may also have the fields queue, delay (such as "5m"), group, dedup, recorded, listed, and objects (an array). An option of the
    /// command applies to all lines, and overrides the field of a line. If each line has an id, you can run an interrupted command again: no
    /// job runs twice.
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pub(crate) from: Option<PathBuf>,
    /// The job's id. A second job with the same id is a duplicate and does not run.
    ///
    /// If an earlier job with this id has a record, the command compares both jobs. If the arguments, --at or --after differ, it enqueues
    /// nothing. An earlier job that still waits in its queue has no record, unless it was enqueued with --recorded. Without a record, both
    /// messages are in the queue: one of them runs, and the other is discarded. With --wait, the command warns you if the job that ran has
    /// other arguments.
    #[arg(long, conflicts_with = "from", value_parser = text)]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Wait until the job has ended, and print each change. Exit status: 0 if it succeeded, otherwise 1.
    #[arg(long, conflicts_with = "from")]
    pub(crate) wait: bool,
    /// Print each answer as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The endings of other jobs that release a job.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum When {
    /// All of them have succeeded.
    Succeeded,
    /// All of them have ended in any way.
    Ended,
    /// One of them has failed, was cancelled, or has expired.
    Failed,
}

/// The consequence if a job that must succeed first does not.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Otherwise {
    /// The job stays blocked until that job is retried and succeeds.
    Hold,
    /// The job is cancelled.
    Cancel,
}

impl From<When> for sqjobs::When {
    fn from(when: When) -> Self {
        match when {
            When::Succeeded => Self::Succeeded,
            When::Ended => Self::Ended,
            When::Failed => Self::Failed,
        }
    }
}

impl From<Otherwise> for sqjobs::Otherwise {
    fn from(otherwise: Otherwise) -> Self {
        match otherwise {
            Otherwise::Hold => Self::Hold,
            Otherwise::Cancel => Self::Cancel,
        }
    }
}

/// Reads the time for which a job holds its unique key.
fn unique_for(text: &str) -> Result<UniqueFor, String> {
    match text {
        "ended" => Ok(UniqueFor::Until(Until::Ended)),
        "started" => Ok(UniqueFor::Until(Until::Started)),
        _ => time::duration(text).map(|time| UniqueFor::Seconds(time.as_secs_f64())),
    }
}

/// The consequence for a job whose unique key another job holds.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnConflict {
    /// The job is cancelled.
    Drop,
    /// The other job gets the arguments of this one, if it has not started.
    Replace,
    /// The enqueue fails.
    Fail,
}

impl From<OnConflict> for sqjobs::OnConflict {
    fn from(on_conflict: OnConflict) -> Self {
        match on_conflict {
            OnConflict::Drop => Self::Drop,
            OnConflict::Replace => Self::Replace,
            OnConflict::Fail => Self::Fail,
        }
    }
}

/// Options of a job.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// The queue. Default: the queue with the job's name.
    #[arg(long, value_parser = text)]
    pub(crate) queue: Option<String>,
    /// The priority: it selects the queue, such as adder-high instead of adder.
    #[arg(long, value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// Run the job after this delay, such as 5m.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, conflicts_with = "at")]
    pub(crate) delay: Option<Duration>,
    /// Run the job at this time, such as 2026-05-04T12:00:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) at: Option<Timestamp>,
    /// Discard the job if it has not started by this time.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) expires: Option<Timestamp>,
    /// Wait for the job with this id. Repeat the option for more jobs, at most 20. They may be enqueued later.
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) after: Vec<String>,
    /// The endings of those jobs after which this job runs. Default: succeeded.
    #[arg(long, value_enum)]
    pub(crate) when: Option<When>,
    /// The consequence if one of those jobs does not succeed. Default: hold.
    #[arg(long, value_enum)]
    pub(crate) otherwise: Option<Otherwise>,
    /// The maximum time to wait for those jobs, such as 12h. After this time, the job fails. Default: 30 days.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) max_blocked: Option<Duration>,
    /// A key: at most --limit jobs with this key run at a time, in all functions and queues. The others wait, and use no attempt.
    #[arg(long, value_name = "KEY", value_parser = text)]
    pub(crate) limit_key: Option<String>,
    /// The maximum number of jobs with the --limit-key that run at a time, from 1 to 100.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<u32>,
    /// A key: attempts of jobs with this key start at most at the --rate, in all functions and queues. The others wait, and use no attempt.
    #[arg(long, value_name = "KEY", value_parser = text)]
    pub(crate) rate_key: Option<String>,
    /// The number of attempts with the --rate-key that start in a period, such as 5/1s or 100/1m. At most 100 a second.
    #[arg(long, value_name = "COUNT/DURATION", value_parser = rate)]
    pub(crate) rate: Option<Rate>,
    /// The maximum number of attempts with the --rate-key that start at once after a pause, from 1 to 1000. Default: 1.
    #[arg(long, value_name = "NUMBER", requires = "rate")]
    pub(crate) burst: Option<u32>,
    /// A key that one job holds from its first start until it has ended. Other jobs with this key wait.
    #[arg(long, value_name = "KEY", value_parser = text)]
    pub(crate) exclusive_key: Option<String>,
    /// A key that one job holds from its enqueue. If another job holds it, this one is not enqueued.
    #[arg(long, value_name = "KEY", value_parser = text)]
    pub(crate) unique_key: Option<String>,
    /// The time for which the job holds the --unique-key: until it has ended, until it has started, or a duration such as 1h. Default: ended.
    #[arg(long, value_name = "ended|started|DURATION", value_parser = unique_for)]
    pub(crate) unique_for: Option<UniqueFor>,
    /// The consequence if another job holds the --unique-key. Default: drop.
    #[arg(long, value_enum)]
    pub(crate) on_conflict: Option<OnConflict>,
    /// The maximum number of attempts. Default: the number in the job's policy.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_attempts: Option<u32>,
    /// A label. Repeat the option for more labels.
    #[arg(long = "tag", value_parser = text)]
    pub(crate) tags: Vec<String>,
    /// A key and a value for the record. Repeat the option for more.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) meta: Vec<(String, String)>,
    /// The message group. A FIFO queue keeps the order of a group; a standard queue serves groups fairly.
    #[arg(long, value_parser = text)]
    pub(crate) group: Option<String>,
    /// The deduplication id on a FIFO queue. Default: the job's id.
    #[arg(long, value_parser = text)]
    pub(crate) dedup: Option<String>,
    /// Write a record now, so that the job can be looked up before it starts.
    #[arg(long)]
    pub(crate) recorded: bool,
    /// Write a record now, and list the job by its name, its tags and its tree, for `sqjobs list`.
    #[arg(long)]
    pub(crate) listed: bool,
    /// Write a record now, and list the job by an object that it concerns, such as order:17. Repeat the option for more.
    #[arg(long = "object", value_parser = text)]
    pub(crate) objects: Vec<String>,
}

impl Options {
    /// Returns the time until the job runs, if it is delayed.
    pub(super) fn wait(&self, now: Timestamp) -> Option<SignedDuration> {
        let delay = self.delay.map(|delay| SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX));
        delay.or_else(|| Some(self.at?.duration_since(now))).filter(SignedDuration::is_positive)
    }
}
