//! The command line.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use sqjobs::{State, setup};

use crate::time;

/// Enqueue, watch, explain and repair background jobs on SQS, Lambda and DynamoDB.
///
/// Credentials and region come from where the AWS CLI takes them. Exit status: 0 for done and yes; 1 for no, such as no
/// such job, or a job that failed; 2 for an error.
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
    /// The table of the records. Default: `jobs`, after the prefix.
    #[arg(long, global = true, env = "SQJOBS_TABLE", hide_env_values = true)]
    pub(crate) table: Option<String>,
    /// The table of the schedules. Default: `schedules`, after the prefix.
    #[arg(long, global = true, env = "SQJOBS_SCHEDULES_TABLE", hide_env_values = true)]
    pub(crate) schedules_table: Option<String>,
    /// The prefix of this environment: it precedes the names of its queues and, by default, of its tables. Queues of other
    /// environments are left out: their names begin with a longer prefix, which their tables have too.
    #[arg(long, global = true, env = "SQJOBS_PREFIX", default_value = "", hide_env_values = true)]
    pub(crate) prefix: String,
    /// The AWS region.
    #[arg(long, global = true)]
    pub(crate) region: Option<String>,
    /// The AWS profile.
    #[arg(long, global = true)]
    pub(crate) profile: Option<String>,
    /// The address of AWS, or of something that answers like it.
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
    /// Enqueue a job, or all of a file.
    Enqueue(Box<Enqueue>),
    /// Show the records of jobs.
    Get(Get),
    /// Find jobs: those that failed, unless told otherwise.
    List(List),
    /// Follow a job until it ends; its end is the exit status.
    Watch(Watch),
    /// Show the jobs that caused a job, and those that it caused.
    Tree(Tree),
    /// Say in plain sentences what has become of a job, and what happens next.
    ///
    /// A record does not know which duplicates of its job were discarded: the log of the function does, as `docs/deploy.md` shows.
    Explain(Explain),
    /// Call jobs off.
    Cancel(Cancel),
    /// Run a job again that has ended.
    Retry(Retry),
    /// Move a job that waits to another time.
    Move(Move),
    /// Show by queue and day how jobs ended, how long they waited and ran, and what failed most.
    Stats(Stats),
    /// The dead-letter queues.
    #[command(subcommand)]
    Dlq(Dlq),
    /// The schedules.
    #[command(subcommand)]
    Schedule(Schedule),
    /// The tables.
    #[command(subcommand)]
    Table(Table),
    /// The queues.
    #[command(subcommand)]
    Queue(Queue),
    /// The versions of functions.
    #[command(subcommand)]
    Function(Function),
    /// Look for what is wrong with a live system, say why it matters and what puts it right.
    Doctor(Doctor),
    /// Print an IAM policy of what someone needs.
    Permissions(Permissions),
    /// Bring the whole system up on this machine: a local stack, the functions of this workspace, and a live view.
    Dev(Dev),
    /// Print what completes commands in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Enqueue {
    /// The job's name.
    #[arg(required_unless_present = "from")]
    pub(crate) name: Option<String>,
    /// Its arguments, as JSON; @FILE reads them from a file, and - from standard input.
    #[arg(conflicts_with = "from")]
    pub(crate) args: Option<String>,
    /// Enqueue each line of a file; - is standard input. A line is a message such as {"name": "adder", "args": [1, 2], "id":
    /// "a"}.
    ///
    /// Beside the fields of the message, a line may have those that say how to send it: queue, delay (such as "5m"), group, dedup,
    /// recorded, listed, and objects (an array). An option of the command is for all lines, and counts where a line says
    /// otherwise. If each line has an id, an interrupted command can be run again: no job runs twice.
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pub(crate) from: Option<PathBuf>,
    /// Its id, and dedupe key.
    ///
    /// If the id has a record, the arguments are compared with those of the earlier job. A job whose message still waits in
    /// its queue has no record, unless it was enqueued with --recorded: then this one is sent too, the first that is delivered
    /// runs, and the other one is discarded. --wait says afterwards if other arguments ran.
    #[arg(long, conflicts_with = "from")]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Wait until it has ended, and print its record.
    #[arg(long, conflicts_with = "from")]
    pub(crate) wait: bool,
    /// Print answers as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What one may say of a job beside its name, its arguments and its id.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Options {
    /// Send it to another queue than the one that has its name.
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Run it after that time at the earliest, such as 5m.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, conflicts_with = "at")]
    pub(crate) delay: Option<Duration>,
    /// Run it at that instant at the earliest, such as 2026-05-04T12:00:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) at: Option<Timestamp>,
    /// Drop it where it has not started by then.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) expires: Option<Timestamp>,
    /// How many attempts it has.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_attempts: Option<u32>,
    /// A label; may be given several times.
    #[arg(long = "tag")]
    pub(crate) tags: Vec<String>,
    /// Data for its record; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) meta: Vec<(String, String)>,
    /// The message group: order on a FIFO queue, fairness on a standard one.
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// The deduplication id on a FIFO queue, where it is not to be the job's id.
    #[arg(long)]
    pub(crate) dedup: Option<String>,
    /// Write a record at once.
    #[arg(long)]
    pub(crate) recorded: bool,
    /// Write a record at once, and list the job by its name, its tags and its tree.
    #[arg(long)]
    pub(crate) listed: bool,
    /// List the job by something that it touches, such as order:17; may be given several times.
    #[arg(long = "object")]
    pub(crate) objects: Vec<String>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =; write key=value"))?;
    Ok((key.into(), value.into()))
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// The ids of jobs.
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
    /// Print records as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) by: By,
    /// Only those in this state.
    #[arg(long, value_parser = state)]
    pub(crate) state: Option<State>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print records as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// By what jobs are found.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct By {
    /// Those that failed for good.
    #[arg(long)]
    pub(crate) failed: bool,
    /// Those that wait for long.
    #[arg(long)]
    pub(crate) due: bool,
    /// Those of a name that were enqueued as listed.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Those of a tag that were enqueued as listed.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Those of the tree of this job that were enqueued as listed.
    #[arg(long, value_name = "ID")]
    pub(crate) root: Option<String>,
    /// Those that touch this object.
    #[arg(long)]
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
    pub(crate) id: String,
    /// Give up after that time.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, default_value = "1h")]
    pub(crate) within: Duration,
    /// Print each change as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Tree {
    /// The id of any job of the tree.
    pub(crate) id: String,
    /// Print records as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// The job's id.
    pub(crate) id: String,
    /// Print the sentences as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Cancel {
    /// The ids of jobs.
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
    /// Also cancel jobs without a record, such as one that still waits in its queue: its id is blocked for 30 days, and a
    /// function discards its message.
    #[arg(long)]
    pub(crate) unseen: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the outcomes as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Retry {
    /// The job's id.
    pub(crate) id: String,
    /// Its arguments, as JSON, since the record of a job that has ended does not keep them; @FILE reads them from a file,
    /// and - from standard input.
    pub(crate) args: String,
    /// The job's name, where its record has none: it was cancelled before any function saw it.
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Do not ask before a job that succeeded runs again.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Move {
    /// The job's id.
    pub(crate) id: String,
    /// To that instant, such as 2026-05-04T12:00:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant, required_unless_present = "delay", conflicts_with = "delay")]
    pub(crate) at: Option<Timestamp>,
    /// To that time from now, such as 5m.
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
        /// Print them as JSON, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Create a schedule, or change the one that has this id.
    ///
    /// If the code of a beater has a schedule of this id, the code wins: each process of that beater writes the schedules of its
    /// code when it starts, at the latest after the next deployment. Such a schedule is changed only after a yes. Once it is
    /// removed from the code, it stays as it was added here.
    Add(Box<AddSchedule>),
    /// Stop schedules until they are resumed.
    Pause {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Print them as JSON, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Let schedules fire again; what was due meanwhile is not made up for.
    Resume {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Print them as JSON, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Remove schedules. The code of a beater creates its own again.
    Remove {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        /// Print their ids as JSON, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Enqueue a schedule's job now, beside its fires.
    Run {
        /// The schedule's id.
        id: String,
        /// Print the ids of the job and its message as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let EventBridge wake the beater each minute, and give it what it needs for all queues that are there, by a policy of its
    /// role and by its variables.
    Beater {
        /// The function.
        function: String,
    },
    /// Show when a schedule fires: one of the table by its id, or an expression, without AWS.
    Preview(Preview),
}

#[derive(Debug, ClapArgs)]
#[command(group(ArgGroup::new("fires").args(["cron", "every", "from"]).required(true)))]
pub(crate) struct AddSchedule {
    /// The schedule's id.
    #[arg(required_unless_present = "from")]
    pub(crate) id: Option<String>,
    /// The name of the job that it enqueues.
    #[arg(required_unless_present = "from")]
    pub(crate) job: Option<String>,
    /// The job's arguments, as JSON; @FILE reads them from a file, and - from standard input.
    pub(crate) args: Option<String>,
    #[command(flatten)]
    pub(crate) when: When,
    /// Send its jobs to another queue than the one that has the job's name.
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// How many attempts each of its jobs has.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_attempts: Option<u32>,
    /// A label of its jobs; may be given several times.
    #[arg(long = "tag")]
    pub(crate) tags: Vec<String>,
    /// What becomes of the fires that no beater was there for.
    #[arg(long, value_name = "RULE", value_parser = ["one", "skip", "all"])]
    pub(crate) catch_up: Option<String>,
    /// Spread the schedules that fire together over that time.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) jitter: Option<Duration>,
    /// Add each line of a file, a schedule as `list --json` prints it; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "job"])]
    pub(crate) from: Option<PathBuf>,
    /// Do not ask before a schedule is replaced.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print what was added as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// When a schedule fires.
#[derive(Debug, ClapArgs)]
pub(crate) struct When {
    /// A cron expression, such as "30 2 * * *".
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: Option<String>,
    /// An interval, such as 5m.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) every: Option<Duration>,
    /// The time zone of the expression, such as Europe/Madrid.
    #[arg(long, alias = "tz", value_name = "ZONE", requires = "cron")]
    pub(crate) timezone: Option<String>,
    /// How much later than whole intervals it fires.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, requires = "every")]
    pub(crate) offset: Option<Duration>,
    /// Leave a fire out whose time the clocks leave out.
    #[arg(long, requires = "cron")]
    pub(crate) skip_gap: bool,
}

#[derive(Debug, ClapArgs)]
#[command(group(ArgGroup::new("fires").args(["id", "cron", "every"]).required(true)))]
pub(crate) struct Preview {
    /// The id of a schedule of the table.
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) when: When,
    /// From when on. Now, unless told otherwise.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) after: Option<Timestamp>,
    /// So many fires.
    #[arg(long, default_value_t = 5)]
    pub(crate) count: usize,
    /// Print a JSON array of instants.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Table {
    /// Make the tables of the records and of the schedules.
    Create,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Stats {
    /// The queue; all, unless told otherwise.
    pub(crate) queue: Option<String>,
    /// So many days, in UTC, of which today is the last.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) days: u16,
    /// Print them as JSON, a queue a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    /// The beater, to whose name the prefix is added. Without this option it is the function `beater`, or else the function with
    /// the variables of this environment that a rule of EventBridge wakes each minute.
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) beater: Option<String>,
    /// Print what is wrong as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Permissions {
    /// For whom: reader looks at everything, the doctor included; operator also changes jobs, schedules and dead letters, and pauses
    /// queues; deployer also makes tables, queues and functions, and releases versions; producer enqueues and reads results.
    #[arg(long = "for", value_name = "WHO", default_value = "operator")]
    pub(crate) audience: Audience,
    /// The number of the AWS account. Without it, the policy holds for any account that it is in.
    #[arg(long, value_name = "NUMBER")]
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
    /// Only the functions of these packages; otherwise those in the folder `functions` and `beater`, or, where there is no such
    /// folder, all that depend on sqjobs.
    #[arg(long = "package", short, value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    /// Build and deploy again whenever a file changes.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Keep tables and queues from one run to the next.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where the local stack listens, on loopback.
    #[arg(long, default_value_t = 4566)]
    pub(crate) port: u16,
    /// More arguments for `cargo build`, such as --release.
    #[arg(last = true, value_name = "CARGO ARGUMENT")]
    pub(crate) cargo: Vec<String>,
}

/// Which dead letters.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Letters {
    /// Those of this job.
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Those of jobs of this name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Those that failed with this kind of error, such as timeout.
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Those of jobs with this tag.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Those that are here for that time at least, such as 2d.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) older_than: Option<Duration>,
    /// Those that came here within that time, such as 1h.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(crate) newer_than: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// Show dead letters: which jobs, why, and what their records say now.
    List(ListLetters),
    /// Show dead letters whole.
    Show(ShowLetters),
    /// Send dead letters back to their queue. It may be interrupted and done again: no job runs twice.
    Redrive(Redrive),
    /// Delete dead letters.
    Purge(Purge),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListLetters {
    /// The queue whose dead letters are shown; those of all, unless told otherwise.
    pub(crate) queue: Option<String>,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print them as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowLetters {
    /// The queue that their messages came from.
    pub(crate) queue: String,
    /// The ids of jobs, or of messages.
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
    /// Print them as JSON, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Redrive {
    /// The queue that they go back to.
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// At most so many a second.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Show what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Purge {
    /// The queue whose dead letters are deleted.
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Show what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Show all queues: how full they are, and whether their functions take from them.
    List {
        /// Print them as JSON, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Stop feeding functions from queues, by their event source mappings.
    Pause {
        /// The queues.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Feed functions from queues again.
    Resume {
        /// The queues.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Delete all messages of a queue.
    Purge {
        /// The queue.
        name: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete a queue, its dead-letter queue, and the mapping by which it feeds a function. It refuses while they hold messages.
    Delete {
        /// The queue.
        name: String,
        /// Delete the messages as well.
        #[arg(long)]
        force: bool,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Make a queue, FIFO if its name says so, and its dead-letter queue.
    Create {
        /// The name, to which the prefix is added.
        name: String,
        /// How long the function may take: a new queue hides a message for six times as long. As long as --function may, or 30s.
        #[arg(long, value_name = "DURATION", value_parser = time::duration)]
        timeout: Option<Duration>,
        /// Let it feed this function, and give that what it needs, by a policy of its role and by its variables. Without
        /// --timeout, a queue that is there remains as it is.
        #[arg(long)]
        function: Option<String>,
        /// A queue to which the function enqueues jobs, by its name or its ARN; name all of them, one after the other.
        #[arg(long, value_name = "QUEUE", requires = "function")]
        enqueues_to: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Function {
    /// Show the versions of a function, the newest first, and which one runs.
    Versions {
        /// The function.
        name: String,
        /// Print them as JSON, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Run what was deployed last: publish it as a version, and point the alias `live` at it.
    Release {
        /// The function.
        name: String,
    },
    /// Run an earlier version: point the alias `live` at it.
    Rollback {
        /// The function.
        name: String,
        /// The version; by default the newest older version that differs from the one that runs.
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
    },
}
