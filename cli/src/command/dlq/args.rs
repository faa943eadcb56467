//! Arguments of the command `dlq`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::{time, value::text};

/// Options that select dead letters.
#[derive(Debug, Clone, Args)]
pub(crate) struct Filter {
    /// Dead letters of this job.
    #[arg(long, value_parser = text)]
    pub(crate) id: Option<String>,
    /// Dead letters of jobs with this name.
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

/// Options of the commands that change dead letters.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Choices {
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
pub(crate) enum Dlq {
    /// List dead letters, with their jobs, their reasons, and the states of the jobs.
    List(List),
    /// Show dead letters with their messages and the records of their jobs.
    Show(Show),
    /// Send dead letters back to their queue. You can run an interrupted command again: no job runs twice.
    Redrive(Redrive),
    /// Delete dead letters.
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The queue whose dead letters are shown. Default: all queues.
    #[arg(value_parser = text)]
    pub(crate) queue: Option<String>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// The maximum number of rows.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print each one as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The queue of the dead letters.
    #[arg(value_parser = text)]
    pub(crate) queue: String,
    /// The ids of jobs or of messages.
    #[arg(required = true, value_parser = text)]
    pub(crate) ids: Vec<String>,
    /// Print each one as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Redrive {
    /// The queue whose dead letters are sent back.
    #[arg(value_parser = text)]
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// The maximum number of dead letters to send per second.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    #[command(flatten)]
    pub(crate) choices: Choices,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// The queue whose dead letters are deleted.
    #[arg(value_parser = text)]
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) filter: Filter,
    #[command(flatten)]
    pub(crate) choices: Choices,
}
