//! Arguments of the command `schedule`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;
use sqjobs::Priority;

use crate::{
    time,
    value::{priority, text},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Show all schedules.
    List {
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Create a schedule, or change the schedule with this id.
    ///
    /// If a schedule with this id is in the code of a beater, the command asks for a confirmation. The beater undoes the change when one of
    /// its processes starts, at the latest after the next deployment. To keep the change, make it in the code, or remove the schedule from
    /// the code.
    Add(Box<AddSchedule>),
    /// Pause schedules. They do not fire until they are resumed.
    Pause {
        /// The ids of the schedules.
        #[arg(required = true, value_parser = text)]
        ids: Vec<String>,
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Resume schedules. Fires that were missed during the pause are skipped.
    Resume {
        /// The ids of the schedules.
        #[arg(required = true, value_parser = text)]
        ids: Vec<String>,
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove schedules. A beater creates a removed schedule again if the schedule is in its code.
    Remove {
        /// The ids of the schedules.
        #[arg(required = true, value_parser = text)]
        ids: Vec<String>,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
        /// Print each id as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Enqueue the job of a schedule now. The schedule fires as before.
    Run {
        /// The schedule's id.
        #[arg(value_parser = text)]
        id: String,
        /// Print the ids of the job and its message as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a function the beater: EventBridge invokes it each minute. The command also sets the variables of the function, and gives its
    /// role the permissions for all existing queues.
    Beater {
        /// The name of the function, as AWS shows it.
        #[arg(value_parser = text)]
        function: String,
    },
    /// Show when a schedule fires. Give the id of a schedule, or an expression. An expression needs no AWS account.
    Preview(Preview),
}

#[derive(Debug, Args)]
#[command(override_usage = "sqjobs schedule add [OPTIONS] <ID> <JOB> [ARGS] --cron <EXPRESSION>
       sqjobs schedule add [OPTIONS] <ID> <JOB> [ARGS] --every <DURATION>
       sqjobs schedule add [OPTIONS] --from <FILE>")]
#[command(group(ArgGroup::new("fires").args(["cron", "every", "from"]).required(true)))]
pub(crate) struct AddSchedule {
    /// The schedule's id.
    #[arg(required_unless_present = "from", value_parser = text)]
    pub(crate) id: Option<String>,
    /// The name of the job that the schedule enqueues.
    #[arg(required_unless_present = "from", value_parser = text)]
    pub(crate) job: Option<String>,
    /// The job's arguments as JSON. Use @FILE to read them from a file, or - to read them from standard input.
    pub(crate) args: Option<String>,
    #[command(flatten)]
    pub(crate) when: When,
    /// The queue of its jobs. Default: the queue with the job's name.
    #[arg(long, value_parser = text)]
    pub(crate) queue: Option<String>,
    /// The priority of its jobs.
    #[arg(long, value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// The number of attempts of each job. Default: the number in the job's policy.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_attempts: Option<u32>,
    /// A label of its jobs. Repeat the option for more labels.
    #[arg(long = "tag", value_parser = text)]
    pub(crate) tags: Vec<String>,
    /// The missed fires that a beater enqueues after an outage: the newest (one), those of the last 5 minutes (skip), or the newest 100
    /// (all).
    #[arg(long, value_name = "RULE", value_parser = ["one", "skip", "all"])]
    pub(crate) catch_up: Option<String>,
    /// The maximum delay of a fire. Each schedule has its own constant delay, so that schedules of the same time do not fire together.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) jitter: Option<Duration>,
    /// Add the schedules of a file, or of standard input with -. Each line is a schedule in the form of `sqjobs schedule list --json`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "job"])]
    pub(crate) from: Option<PathBuf>,
    /// Do not ask for confirmation before a schedule is replaced.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print each added schedule as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The times at which a schedule fires.
#[derive(Debug, Args)]
pub(crate) struct When {
    /// A cron expression, such as "30 2 * * *".
    #[arg(long, value_name = "EXPRESSION", value_parser = text)]
    pub(crate) cron: Option<String>,
    /// An interval, such as 5m.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) every: Option<Duration>,
    /// The time zone of the expression, such as Europe/Madrid.
    #[arg(long, alias = "tz", value_name = "ZONE", requires = "cron", value_parser = text)]
    pub(crate) timezone: Option<String>,
    /// Delay each fire by this duration: --every 1h --offset 5m fires at five minutes past each hour.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, requires = "every")]
    pub(crate) offset: Option<Duration>,
    /// Skip a fire whose local time does not exist because the clocks go forward.
    #[arg(long, requires = "cron")]
    pub(crate) skip_gap: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "sqjobs schedule preview [OPTIONS] <ID>
       sqjobs schedule preview [OPTIONS] --cron <EXPRESSION>
       sqjobs schedule preview [OPTIONS] --every <DURATION>")]
#[command(group(ArgGroup::new("fires").args(["id", "cron", "every"]).required(true)))]
pub(crate) struct Preview {
    /// The id of a schedule.
    #[arg(value_parser = text)]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) when: When,
    /// Show fires after this time. Default: now.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) after: Option<Timestamp>,
    /// The number of fires to show, up to 1,000.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) count: u16,
    /// Print a JSON array of times.
    #[arg(long)]
    pub(crate) json: bool,
}
