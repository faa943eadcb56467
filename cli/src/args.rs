//! The command line: global options and commands.

use clap::{Parser, Subcommand};

use crate::{
    command::{
        cancel::Cancel,
        complete::Complete,
        dev::Dev,
        dlq::Dlq,
        doctor::Doctor,
        enqueue::Enqueue,
        explain::Explain,
        find::{Get, List},
        follow::Watch,
        limit::LimitCommand,
        mcp::Mcp,
        permissions::Permissions,
        queues::Queue,
        release,
        reschedule::Move,
        retry::Retry,
        schedule::Schedule,
        stats::Stats,
        table::Table,
        tag::Tag,
        tail::Tail,
        tree::Tree,
        ui::Ui,
    },
    place::Place,
};

/// Enqueue, watch, explain and repair background jobs on SQS, Lambda and DynamoDB.
///
/// Credentials and the region come from the same places as for the AWS CLI.
///
/// Exit status: 0 success; 1 the answer is no: there is no such job, the job failed, or a part of the work was not done; 2 error: the
/// command line is wrong, or AWS refused the request.
#[derive(Debug, Parser)]
#[command(name = "sqjobs", version, propagate_version = true, disable_help_subcommand = true, infer_long_args = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enqueue a job, or each job of a file.
    Enqueue(Box<Enqueue>),
    /// Show the records of jobs.
    Get(Get),
    /// Find jobs. Without options, the command finds the jobs that failed for good.
    List(List),
    /// Follow a job until it ends. Exit status: 0 if it succeeded, otherwise 1.
    ///
    /// The command reads the record of one job. `sqjobs tail` follows all jobs.
    Watch(Watch),
    /// Follow all queues: print a line for each attempt that ends, and for each message that is not run.
    ///
    /// The command reads the logs of the functions, so it needs the permission logs:FilterLogEvents. Jobs need no record. Endings are shown
    /// as soon as CloudWatch shows their log lines, usually after some seconds. If `RUST_LOG` hides a line of a function, the command does not
    /// show it: successes are at the level info. `sqjobs watch` follows one job by its record. Ctrl-C ends the command with exit status 0.
    Tail(Tail),
    /// Show the tree of a job: its ancestors, and the jobs that it enqueued.
    Tree(Tree),
    /// Explain what happened to a job, and what happens next.
    ///
    /// The record does not contain discarded duplicates. The log of the function does, as `docs/logs.md` shows.
    Explain(Explain),
    /// Cancel jobs.
    ///
    /// A waiting job is cancelled and does not run. A running job is asked to stop, but it may still succeed. A job that has ended does not
    /// change.
    Cancel(Cancel),
    /// Complete a job that no function runs, such as an approval for which other jobs wait.
    Complete(Complete),
    /// Run a job again after it has ended.
    ///
    /// The job keeps its id and its history, and gets all its attempts again. Give its arguments, because the record of an ended job does
    /// not contain them. The command deletes the dead letter of the job if it has the same arguments.
    Retry(Box<Retry>),
    /// Change the time at which a waiting job runs, or its priority.
    ///
    /// You can move jobs that are delayed by more than 15 minutes: they wait in the table. Jobs with a shorter delay wait in their queue, and
    /// cannot be moved.
    Move(Move),
    /// Add tags to a job, and remove others.
    ///
    /// `sqjobs list --tag` finds the job by each tag that was added, even if it was enqueued without --listed. The job may be in any state. If
    /// it is running, its next attempt gets the new tags. A job without a record does not change.
    Tag(Tag),
    /// Show limit keys and rate keys, and set their limits and rates.
    #[command(subcommand)]
    Limit(LimitCommand),
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
    Function(release::Command),
    /// Find faults of a live system. For each, print why it matters and how to correct it.
    Doctor(Doctor),
    /// Print the IAM policy for a reader, an operator, a deployer or a producer.
    Permissions(Permissions),
    /// Serve a page for operators, on the loopback address: queues, jobs, dead letters, schedules and statistics.
    ///
    /// The command prints the address with a secret token. The page has the rights of your credentials, and each view shows what it cost.
    Ui(Ui),
    /// Serve read-only tools for an assistant, by the Model Context Protocol on standard input and output.
    ///
    /// The tools are `explain`, `get`, `list`, `tree`, `stats`, `doctor` and `schedule_preview`. Each runs the command with the same name and
    /// answers with its JSON. No tool changes anything. The server ends when the assistant closes its standard input.
    Mcp(Mcp),
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
            ("tag a --add ''", "--add <TAG>"),
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
            let error = refusal(line);
            assert!(error.contains(&format!("invalid value '' for '{option}': it is empty")), "{line}: {error}");
        }
    }

    #[test]
    fn a_usage_shows_each_form_of_a_command() {
        let cases = [
            ("enqueue", &["enqueue [OPTIONS] <NAME> [ARGS]", "enqueue [OPTIONS] --from <FILE>"][..]),
            ("enqueue a --from x", &["enqueue [OPTIONS] <NAME> [ARGS]", "enqueue [OPTIONS] --from <FILE>"]),
            (
                "move a",
                &[
                    "move [OPTIONS] <ID> --at <INSTANT>",
                    "move [OPTIONS] <ID> --delay <DURATION>",
                    "move [OPTIONS] <ID> --priority <PRIORITY>",
                ],
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
            let error = refusal(line);
            assert!(forms.iter().all(|form| error.contains(form)), "{line}: {error}");
        }
    }
}
