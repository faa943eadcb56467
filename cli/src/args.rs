//! The command line.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use sqjobs::{State, setup};

use crate::time;

/// Enqueue, watch, explain and repair background jobs on SQS, Lambda and DynamoDB.
///
/// Credentials and the region come from the same places as for the AWS CLI.
///
/// Exit status: 0 success; 1 the answer is no, such as no such job, a job that failed, or a part that was not done; 2 error: the
/// command line is wrong, or AWS refused the request.
#[derive(Debug, Parser)]
#[command(name = "sqjobs", version, propagate_version = true, disable_help_subcommand = true, infer_long_args = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the jobs are.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "Where the jobs are")]
pub(crate) struct Place {
    /// The table of the records. Default: the prefix, then `jobs`.
    #[arg(long, global = true, env = "SQJOBS_TABLE", hide_env_values = true)]
    pub(crate) table: Option<String>,
    /// The table of the schedules. Default: the prefix, then `schedules`.
    #[arg(long, global = true, env = "SQJOBS_SCHEDULES_TABLE", hide_env_values = true)]
    pub(crate) schedules_table: Option<String>,
    /// The prefix of this environment, such as staging-. The names of its queues begin with it, and so do the default names of its
    /// tables. Give the names of queues without the prefix, and those of functions as AWS shows them. An environment with a longer
    /// prefix and tables of its own is another one: the command leaves its queues out.
    #[arg(long, global = true, env = "SQJOBS_PREFIX", default_value = "", hide_env_values = true)]
    pub(crate) prefix: String,
    /// The AWS region.
    #[arg(long, global = true)]
    pub(crate) region: Option<String>,
    /// The AWS profile.
    #[arg(long, global = true)]
    pub(crate) profile: Option<String>,
    /// The address of AWS, or of a local stack.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,
}

/// One of the things that a system is found by.
pub(crate) struct Setting {
    pub(crate) option: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) value: String,
    pub(crate) usual: String,
}

impl Place {
    /// Returns the place that a function with these variables uses.
    pub(crate) fn of(variables: &HashMap<String, String>) -> Self {
        let [table, schedules_table, prefix] =
            ["SQJOBS_TABLE", "SQJOBS_SCHEDULES_TABLE", "SQJOBS_PREFIX"].map(|name| variables.get(name).cloned());
        Self { table, schedules_table, prefix: prefix.unwrap_or_default(), ..Self::default() }
    }

    /// Returns the prefix of the environment; without one, that of its table.
    pub(crate) fn environment(&self) -> String {
        let table = self.table();
        let of_table = table.strip_suffix(&*setup::jobs_table("")).unwrap_or_default();
        if self.prefix.is_empty() { of_table.to_owned() } else { self.prefix.clone() }
    }

    /// The table of the records.
    pub(crate) fn table(&self) -> String {
        self.table.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| setup::jobs_table(&self.prefix))
    }

    /// The table of the schedules.
    pub(crate) fn schedules_table(&self) -> String {
        self.schedules_table.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| setup::schedules_table(&self.prefix))
    }

    /// Adds to each `sqjobs` command that a text quotes the options by which it finds the same system.
    pub(crate) fn with_options(&self, text: &str) -> String {
        let (options, mut whole, mut rest) = (self.options(), String::new(), text);
        while let Some((before, after)) = rest.split_once("`sqjobs ") {
            let Some((command, behind)) = after.split_once('`') else { break };
            whole.extend([before, "`sqjobs ", command, &*options, "`"]);
            rest = behind;
        }
        whole + rest
    }

    /// The options by which another command finds the same system, where they are not the usual ones.
    fn options(&self) -> String {
        let settings = self.settings().map(|setting| (setting.option, Some(setting.value).filter(|value| *value != setting.usual)));
        let more = [("region", &self.region), ("profile", &self.profile), ("endpoint-url", &self.endpoint_url)];
        let named = settings.into_iter().chain(more.map(|(name, value)| (name, value.clone())));
        named.filter_map(|(name, value)| Some(format!(" --{name} {}", value?))).collect()
    }

    /// What functions and commands find the system by.
    pub(crate) fn settings(&self) -> [Setting; 3] {
        let setting = |option, variable, value, usual| Setting { option, variable, value, usual };
        [
            setting("table", "SQJOBS_TABLE", self.table(), setup::jobs_table(&self.prefix)),
            setting("schedules-table", "SQJOBS_SCHEDULES_TABLE", self.schedules_table(), setup::schedules_table(&self.prefix)),
            setting("prefix", "SQJOBS_PREFIX", self.prefix.clone(), String::new()),
        ]
    }
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enqueue a job, or each job of a file.
    Enqueue(Box<Enqueue>),
    /// Show the records of jobs.
    Get(Get),
    /// Find jobs: without options, those that failed for good.
    List(List),
    /// Follow a job until it ends. Exit status: 0 if it succeeded, otherwise 1.
    Watch(Watch),
    /// Show the tree of a job: the jobs that enqueued it, and the jobs that it enqueued.
    Tree(Tree),
    /// Explain what happened to a job, and what happens next.
    ///
    /// The log of the function names the duplicates that were discarded, as `docs/logs.md` shows. The record does not have them.
    Explain(Explain),
    /// Cancel jobs.
    ///
    /// A waiting job is cancelled and does not run. A running job is asked to stop; it may still succeed. A job that has ended stays
    /// as it is.
    Cancel(Cancel),
    /// Run a job again after it has ended.
    ///
    /// The job keeps its id and its history, and has all its attempts again. Give its arguments: the record of an ended job does
    /// not keep them. The dead letter of the job is deleted.
    Retry(Retry),
    /// Change the time at which a waiting job runs.
    ///
    /// This works for a job that waits for more than 15 minutes. A shorter wait stays in the queue, and cannot be changed.
    Move(Move),
    /// Show statistics by queue and day: how jobs ended, how long they waited and ran, and the most frequent errors.
    Stats(Stats),
    /// List dead letters, send them back, or delete them.
    #[command(subcommand)]
    Dlq(Dlq),
    /// List and change schedules.
    #[command(subcommand)]
    Schedule(Schedule),
    /// Create the tables.
    #[command(subcommand)]
    Table(Table),
    /// List, create, pause, empty and delete queues.
    #[command(subcommand)]
    Queue(Queue),
    /// Release and roll back versions of functions.
    #[command(subcommand)]
    Function(Function),
    /// Find faults of a live system, and print why each matters and how to correct it.
    Doctor(Doctor),
    /// Print the IAM policy of a reader, an operator, a deployer or a producer.
    Permissions(Permissions),
    /// Run the whole system on this machine: a local stack, the functions of this workspace, and a live view.
    Dev(Dev),
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, ClapArgs)]
#[command(override_usage = "sqjobs enqueue [OPTIONS] <NAME> [ARGS]\n       sqjobs enqueue [OPTIONS] --from <FILE>")]
pub(crate) struct Enqueue {
    /// The job's name.
    #[arg(required_unless_present = "from", value_parser = text)]
    pub(crate) name: Option<String>,
    /// The job's arguments as JSON. @FILE reads them from a file, and - from standard input.
    #[arg(conflicts_with = "from")]
    pub(crate) args: Option<String>,
    /// Enqueue each line of a file. - reads standard input. A line is a message such as {"name": "adder", "args": [1, 2], "id":
    /// "a"}.
    ///
    /// A line may also say how to send the message: queue, delay (such as "5m"), group, dedup, recorded, listed, and objects (an
    /// array). An option of the command applies to all lines, and overrides the field of a line. If each line has an id, an
    /// interrupted command can be run again: no job runs twice.
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pub(crate) from: Option<PathBuf>,
    /// The job's id. A second job of the same id is a duplicate and does not run.
    ///
    /// The command looks for a record of the id. If the arguments or the --at of the earlier job differ, nothing is enqueued.
    /// A job that still waits in its queue has no record, unless it was enqueued with --recorded. Both messages are then in
    /// the queue: the first that starts is the job, and the other one is discarded. --wait reports it if other arguments ran.
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

/// What one may say of a job beside its name, its arguments and its id.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Options {
    /// The queue. Default: the queue with the job's name.
    #[arg(long, value_parser = text)]
    pub(crate) queue: Option<String>,
    /// Run the job after this time at the earliest, such as 5m.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, conflicts_with = "at")]
    pub(crate) delay: Option<Duration>,
    /// Run the job at this instant at the earliest, such as 2026-05-04T12:00:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) at: Option<Timestamp>,
    /// Discard the job if it has not started by this instant.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) expires: Option<Timestamp>,
    /// The number of its attempts. Default: the number in the job's policy.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_attempts: Option<u32>,
    /// A label. Repeat the option for more labels.
    #[arg(long = "tag", value_parser = text)]
    pub(crate) tags: Vec<String>,
    /// Data for the record. Repeat the option for more data.
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

/// Reads a name, an id or a label. An empty one is mostly a shell variable that is not set.
fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty; is a variable of the shell not set?".into()) } else { Ok(text.into()) }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =; write key=value"))?;
    Ok((key.into(), value.into()))
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// The ids of jobs.
    #[arg(required = true, value_parser = text)]
    pub(crate) ids: Vec<String>,
    /// Print each record as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) by: By,
    /// Show only jobs in this state.
    #[arg(long, value_parser = state)]
    pub(crate) state: Option<State>,
    /// The most rows to show.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print each record as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// By what jobs are found.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct By {
    /// Jobs that failed for good. This is the default.
    #[arg(long)]
    pub(crate) failed: bool,
    /// Jobs that wait for more than 15 minutes.
    #[arg(long)]
    pub(crate) due: bool,
    /// Jobs of this name that were enqueued with --listed.
    #[arg(long, value_parser = text)]
    pub(crate) name: Option<String>,
    /// Jobs with this tag that were enqueued with --listed.
    #[arg(long, value_parser = text)]
    pub(crate) tag: Option<String>,
    /// Jobs of the tree of this job that were enqueued with --listed.
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) root: Option<String>,
    /// Jobs that were enqueued with this --object.
    #[arg(long, value_parser = text)]
    pub(crate) object: Option<String>,
}

fn state(text: &str) -> Result<State, String> {
    serde_json::from_value(text.into()).map_err(|_| {
        format!("{text:?} is no state; write scheduled, blocked, queued, running, retrying, succeeded, failed, cancelled or expired")
    })
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Watch {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// Stop watching after this time.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, default_value = "1h")]
    pub(crate) within: Duration,
    /// Print each change as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Tree {
    /// The id of any job of the tree.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// Print each record as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// Print the sentences as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Cancel {
    /// The ids of jobs.
    #[arg(required = true, value_parser = text)]
    pub(crate) ids: Vec<String>,
    /// Also cancel jobs without a record, such as a job that still waits in its queue, or is parked there. The command blocks the id
    /// for 30 days, and the function discards the message when it receives it next. It receives a parked message every five minutes.
    #[arg(long)]
    pub(crate) unseen: bool,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print each outcome as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Retry {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// The job's arguments as JSON. @FILE reads them from a file, and - from standard input.
    pub(crate) args: String,
    /// The job's name. It is needed only for a job that was cancelled before any function saw it.
    #[arg(long, value_parser = text)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Do not ask for confirmation before a job that succeeded runs again.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(override_usage = "sqjobs move [OPTIONS] <ID> --at <INSTANT>\n       sqjobs move [OPTIONS] <ID> --delay <DURATION>")]
#[command(group(ArgGroup::new("time").args(["at", "delay"]).required(true)))]
pub(crate) struct Move {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// The new time, such as 2026-05-04T12:00:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) at: Option<Timestamp>,
    /// The new time, counted from now, such as 5m.
    #[arg(long, alias = "in", value_name = "DURATION", value_parser = time::duration)]
    pub(crate) delay: Option<Duration>,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Show all schedules.
    List {
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Create a schedule, or change the one that has this id.
    ///
    /// A beater whose code has a schedule of this id restores it when a process of the beater starts, at the latest after the
    /// next deployment. The command asks before it changes such a schedule. If the schedule is removed from the code, the change
    /// made here stays.
    Add(Box<AddSchedule>),
    /// Stop schedules until they are resumed.
    Pause {
        /// The ids of the schedules.
        #[arg(required = true, value_parser = text)]
        ids: Vec<String>,
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let schedules fire again. Fires that were missed during the pause are skipped.
    Resume {
        /// The ids of the schedules.
        #[arg(required = true, value_parser = text)]
        ids: Vec<String>,
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove schedules. A schedule that is in the code of a beater is created again.
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
    /// Make a function the beater: EventBridge wakes it each minute. The command also sets the policy of its role and its variables
    /// for all queues that exist.
    Beater {
        /// The name of the function, as AWS shows it.
        #[arg(value_parser = text)]
        function: String,
    },
    /// Show when a schedule fires. Give the id of a schedule, or an expression, which needs no AWS account.
    Preview(Preview),
}

#[derive(Debug, ClapArgs)]
#[command(override_usage = "sqjobs schedule add [OPTIONS] <ID> <JOB> [ARGS] --cron <EXPRESSION>
       sqjobs schedule add [OPTIONS] <ID> <JOB> [ARGS] --every <DURATION>
       sqjobs schedule add [OPTIONS] --from <FILE>")]
#[command(group(ArgGroup::new("fires").args(["cron", "every", "from"]).required(true)))]
pub(crate) struct AddSchedule {
    /// The schedule's id.
    #[arg(required_unless_present = "from", value_parser = text)]
    pub(crate) id: Option<String>,
    /// The name of the job that it enqueues.
    #[arg(required_unless_present = "from", value_parser = text)]
    pub(crate) job: Option<String>,
    /// The job's arguments as JSON. @FILE reads them from a file, and - from standard input.
    pub(crate) args: Option<String>,
    #[command(flatten)]
    pub(crate) when: When,
    /// The queue of its jobs. Default: the queue with the job's name.
    #[arg(long, value_parser = text)]
    pub(crate) queue: Option<String>,
    /// The number of attempts of each job. Default: the number in the job's policy.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_attempts: Option<u32>,
    /// A label of its jobs. Repeat the option for more labels.
    #[arg(long = "tag", value_parser = text)]
    pub(crate) tags: Vec<String>,
    /// The rule for fires that were missed while no beater ran: one makes up for the newest, skip for none, all for each.
    #[arg(long, value_name = "RULE", value_parser = ["one", "skip", "all"])]
    pub(crate) catch_up: Option<String>,
    /// Spread schedules that fire together over this time.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) jitter: Option<Duration>,
    /// Add each line of a file: a schedule as `sqjobs schedule list --json` prints it. - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "job"])]
    pub(crate) from: Option<PathBuf>,
    /// Do not ask for confirmation before a schedule is replaced.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print each added schedule as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// When a schedule fires.
#[derive(Debug, ClapArgs)]
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
    /// Fire this much later: --every 1h --offset 5m fires at five minutes past each hour.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, requires = "every")]
    pub(crate) offset: Option<Duration>,
    /// Skip a fire whose local time does not exist, because the clocks are put forward then.
    #[arg(long, requires = "cron")]
    pub(crate) skip_gap: bool,
}

#[derive(Debug, ClapArgs)]
#[command(override_usage = "sqjobs schedule preview [OPTIONS] <ID>
       sqjobs schedule preview [OPTIONS] --cron <EXPRESSION>
       sqjobs schedule preview [OPTIONS] --every <DURATION>")]
#[command(group(ArgGroup::new("fires").args(["id", "cron", "every"]).required(true)))]
pub(crate) struct Preview {
    /// The id of a schedule of the table.
    #[arg(value_parser = text)]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) when: When,
    /// Show fires after this instant. Default: now.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) after: Option<Timestamp>,
    /// The number of fires to show.
    #[arg(long, default_value_t = 5)]
    pub(crate) count: usize,
    /// Print a JSON array of instants.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Table {
    /// Create the tables of the records and of the schedules.
    Create,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Stats {
    /// The queue. Default: all queues.
    #[arg(value_parser = text)]
    pub(crate) queue: Option<String>,
    /// The number of days, in UTC, up to today.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) days: u16,
    /// Print each queue as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    /// The name of the beater, as AWS shows it. Default: the prefix and `beater`, or else the function with the variables of this
    /// environment that a rule of EventBridge wakes each minute.
    #[arg(long, value_name = "FUNCTION", value_parser = text)]
    pub(crate) beater: Option<String>,
    /// Print each fault as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Permissions {
    /// The user of the policy. A reader looks at everything and runs the doctor. An operator also changes jobs, schedules and dead
    /// letters, and pauses queues. A deployer also creates tables, queues and functions, and releases versions. A producer
    /// enqueues jobs and reads results.
    #[arg(long = "for", value_name = "WHO", default_value = "operator")]
    pub(crate) audience: Audience,
    /// The number of the AWS account. Default: any account.
    #[arg(long, value_name = "NUMBER", value_parser = text)]
    pub(crate) account: Option<String>,
}

/// Whom a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Audience {
    Reader,
    Operator,
    Deployer,
    Producer,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Dev {
    /// Run only the functions of these packages. Default: those in the folders `functions` and `beater`; without these folders,
    /// all packages that depend on sqjobs. Packages are left out that depend on it with `default-features = false`, as producers may,
    /// or have `queues = []` under [package.metadata.sqjobs].
    #[arg(long = "package", short, value_name = "PACKAGE", value_parser = text)]
    pub(crate) packages: Vec<String>,
    /// Build and deploy again whenever a file changes.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Keep tables and queues from one run to the next.
    #[arg(long)]
    pub(crate) keep: bool,
    /// The port of the local stack, on the loopback address.
    #[arg(long, default_value_t = 4566)]
    pub(crate) port: u16,
    /// More arguments for `cargo build`, such as --release.
    #[arg(last = true, value_name = "CARGO ARGUMENT")]
    pub(crate) cargo: Vec<String>,
}

/// Which dead letters.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Letters {
    /// Dead letters of this job.
    #[arg(long, value_parser = text)]
    pub(crate) id: Option<String>,
    /// Dead letters of jobs of this name.
    #[arg(long, value_parser = text)]
    pub(crate) name: Option<String>,
    /// Dead letters with this kind of error, such as timeout.
    #[arg(long, value_parser = text)]
    pub(crate) kind: Option<String>,
    /// Dead letters of jobs with this tag.
    #[arg(long, value_parser = text)]
    pub(crate) tag: Option<String>,
    /// Dead letters that are older than this time, such as 2d.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) older_than: Option<Duration>,
    /// Dead letters that are newer than this time, such as 1h.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) newer_than: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// List dead letters: their jobs, the reasons, and the present states of the jobs.
    List(ListLetters),
    /// Show dead letters with all that is known of them.
    Show(ShowLetters),
    /// Send dead letters back to their queue. An interrupted command can be run again: no job runs twice.
    Redrive(Redrive),
    /// Delete dead letters.
    Purge(Purge),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListLetters {
    /// The queue whose dead letters are shown. Default: all queues.
    #[arg(value_parser = text)]
    pub(crate) queue: Option<String>,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// The most rows to show.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print each one as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowLetters {
    /// The queue that their messages came from.
    #[arg(value_parser = text)]
    pub(crate) queue: String,
    /// The ids of jobs or of messages.
    #[arg(required = true, value_parser = text)]
    pub(crate) ids: Vec<String>,
    /// Print each one as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Redrive {
    /// The queue that they go back to.
    #[arg(value_parser = text)]
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// The most dead letters to send in a second.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Show what the command would do, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Purge {
    /// The queue whose dead letters are deleted.
    #[arg(value_parser = text)]
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Show what the command would do, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List queues: how many messages they hold, and whether functions take from them.
    List {
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop queues from feeding their functions: their event source mappings are disabled.
    Pause {
        /// The queues.
        #[arg(required = true, value_parser = text)]
        names: Vec<String>,
    },
    /// Let queues feed their functions again.
    Resume {
        /// The queues.
        #[arg(required = true, value_parser = text)]
        names: Vec<String>,
    },
    /// Delete all messages of a queue.
    Purge {
        /// The queue.
        #[arg(value_parser = text)]
        name: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete a queue, its dead-letter queue and its event source mapping. The command refuses if the queues hold messages.
    Delete {
        /// The queue.
        #[arg(value_parser = text)]
        name: String,
        /// Delete the queues even if they hold messages.
        #[arg(long)]
        force: bool,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
    /// Create a queue and its dead-letter queue. A name that ends in .fifo makes a FIFO queue.
    Create {
        /// The name of the queue, without the prefix.
        #[arg(value_parser = text)]
        name: String,
        /// The timeout of the function. The visibility timeout of a new queue is six times as long. Default: the timeout of
        /// --function, or 30s.
        #[arg(long, value_name = "DURATION", value_parser = time::duration)]
        timeout: Option<Duration>,
        /// The name of the function that the queue feeds, as AWS shows it. The command sets the policy of its role and its
        /// variables. It changes no setting of a queue that exists.
        #[arg(long, value_parser = text)]
        function: Option<String>,
        /// A queue to which the function enqueues jobs, by its name without the prefix, or by its ARN. Repeat the option for each
        /// queue.
        #[arg(long, value_name = "QUEUE", requires = "function", value_parser = text)]
        enqueues_to: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Function {
    /// List the versions of a function, the newest first, and the one that runs.
    Versions {
        /// The name of the function, as AWS shows it.
        #[arg(value_parser = text)]
        name: String,
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run the code that was deployed last. The command publishes it as a version, and points the alias `live` at it.
    Release {
        /// The name of the function, as AWS shows it.
        #[arg(value_parser = text)]
        name: String,
    },
    /// Run an earlier version. The command points the alias `live` at it.
    Rollback {
        /// The name of the function, as AWS shows it.
        #[arg(value_parser = text)]
        name: String,
        /// The version. Default: the newest older version that differs from the one that runs.
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> String {
        let words = line.split(' ').map(|word| if word == "''" { "" } else { word });
        Args::try_parse_from([&["sqjobs"], &words.collect::<Vec<_>>()[..]].concat()).map(drop).expect_err("it is refused").to_string()
    }

    #[test]
    fn an_empty_name_or_id_is_refused_by_the_name_of_its_option() {
        let cases = [
            ("enqueue n [1] --id ''", "--id <ID>"),
            ("enqueue n [1] --queue ''", "--queue <QUEUE>"),
            ("enqueue n [1] --tag ''", "--tag <TAGS>"),
            ("enqueue n [1] --group ''", "--group <GROUP>"),
            ("enqueue n [1] --dedup ''", "--dedup <DEDUP>"),
            ("enqueue n [1] --object ''", "--object <OBJECTS>"),
            ("enqueue ''", "[NAME]"),
            ("get a ''", "<IDS>..."),
            ("list --name ''", "--name <NAME>"),
            ("watch ''", "<ID>"),
            ("cancel ''", "<IDS>..."),
            ("retry '' [1]", "<ID>"),
            ("move '' --delay 5m", "<ID>"),
            ("schedule add '' n --every 5m", "[ID]"),
            ("schedule pause ''", "<IDS>..."),
            ("schedule beater ''", "<FUNCTION>"),
            ("dlq redrive q --id ''", "--id <ID>"),
            ("dlq show q ''", "<IDS>..."),
            ("queue create q --function ''", "--function <FUNCTION>"),
            ("function release ''", "<NAME>"),
            ("doctor --beater ''", "--beater <FUNCTION>"),
        ];
        for (line, option) in cases {
            let said = refusal(line);
            assert!(said.contains(&format!("invalid value '' for '{option}': it is empty")), "{line}: {said}");
        }
    }

    #[test]
    fn a_usage_shows_each_form_of_a_command() {
        let cases = [
            ("enqueue", &["enqueue [OPTIONS] <NAME> [ARGS]", "enqueue [OPTIONS] --from <FILE>"][..]),
            ("enqueue a --from x", &["enqueue [OPTIONS] <NAME> [ARGS]", "enqueue [OPTIONS] --from <FILE>"]),
            (
                "move a",
                &["move [OPTIONS] <ID> --at <INSTANT>", "move [OPTIONS] <ID> --delay <DURATION>", "<--at <INSTANT>|--delay <DURATION>>"],
            ),
            (
                "schedule add x",
                &["<ID> <JOB> [ARGS] --cron <EXPRESSION>", "<ID> <JOB> [ARGS] --every <DURATION>", "add [OPTIONS] --from <FILE>"],
            ),
            (
                "schedule preview",
                &["preview [OPTIONS] <ID>", "preview [OPTIONS] --cron <EXPRESSION>", "preview [OPTIONS] --every <DURATION>"],
            ),
        ];
        for (line, forms) in cases {
            let said = refusal(line);
            assert!(forms.iter().all(|form| said.contains(form)), "{line}: {said}");
        }
    }
}
