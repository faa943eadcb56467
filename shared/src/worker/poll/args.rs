//! The options of `PROGRAM --poll`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, error::ErrorKind};
use jiff::SignedDuration;

use super::{Poll, QueueOrder};

/// Receives messages from SQS queues and runs their jobs, until SIGTERM or Ctrl-C.
///
/// The first signal ends the receives, asks running jobs to stop, and waits for them. A second signal interrupts them. An interrupted job
/// does not lose an attempt, and its message returns to its queue at once. Receives that are open take up to 10 seconds to end; a third
/// signal gives them up.
#[derive(Debug, Parser)]
#[command(next_line_help = true)]
struct Args {
    /// Receive messages from queues (required)
    #[arg(long, required = true)]
    poll: bool,
    /// Queue to receive from, by name or URL, with an optional weight. Repeat it for several queues. Default: `SQJOBS_QUEUE_URL`, or the
    /// queues of the jobs of this program
    #[arg(long = "queue", value_name = "NAME[=WEIGHT]", value_parser = weighted)]
    queues: Vec<(String, Option<u32>)>,
    /// Order of several queues: `strict` receives from a queue only while those before it are empty, `weighted` by the weights
    #[arg(long, value_name = "ORDER", value_enum)]
    order: Option<QueueOrder>,
    /// Maximum number of jobs that run at the same time
    #[arg(long, value_name = "COUNT", default_value_t = super::CONCURRENCY, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Time after which a message whose worker has died is visible again, such as 1m
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    visibility: Duration,
    /// Time for running jobs to end after the first signal, such as 25s
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = duration)]
    grace: Duration,
    /// End when the queues have no visible messages and no job runs
    #[arg(long)]
    drain: bool,
    /// End after this number of messages, so that the platform starts a new process
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    max_jobs: Option<u64>,
    /// End when the process has more memory than this, in mebibytes (Linux only)
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..))]
    max_memory: Option<u64>,
    /// Answer health checks on this address, such as 0.0.0.0:8080
    #[arg(long, value_name = "ADDRESS")]
    health: Option<SocketAddr>,
    /// Create this file when the worker receives messages, and remove it when it stops
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Poll {
    /// Reads the options of `PROGRAM --poll` from the arguments of this process. If they are wrong, or ask for help, ends the process.
    pub fn from_args() -> Self {
        Self::of(Args::parse()).unwrap_or_else(|error| error.exit())
    }

    fn of(args: Args) -> Result<Self, clap::Error> {
        let Args { poll: _, queues, order, concurrency, visibility, grace, drain, max_jobs, max_memory, health, ready_file } = args;
        let has_weight = queues.iter().any(|(_, weight)| weight.is_some());
        let order = order.unwrap_or(if has_weight { QueueOrder::Weighted } else { QueueOrder::RoundRobin });
        if has_weight && order != QueueOrder::Weighted {
            let message = "a queue has a weight, but the order is not `weighted`; leave out one of the two\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        let queues = queues.into_iter().map(|(queue, weight)| (queue, weight.unwrap_or(1))).collect();
        Ok(Self { queues, order, concurrency, visibility, grace, drain, max_jobs, max_memory, health, ready_file })
    }
}

fn weighted(text: &str) -> Result<(String, Option<u32>), String> {
    // A URL has no equals sign, and neither has the name of a queue.
    let (name, weight) = text.split_once('=').map_or((text, None), |(name, weight)| (name, Some(weight)));
    if name.is_empty() {
        return Err("it has no name".into());
    }
    let weight = weight.map(|weight| weight.parse().ok().filter(|weight| (1..=1_000).contains(weight)).ok_or(weight));
    let weight = weight.transpose().map_err(|weight| format!("the weight {weight:?} is not a number from 1 to 1000"))?;
    Ok((name.to_owned(), weight))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "write one such as 25s or 1m30s".into())
}

impl clap::ValueEnum for QueueOrder {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::RoundRobin, Self::Weighted, Self::Strict]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let name = match self {
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted",
            Self::Strict => "strict",
        };
        Some(clap::builder::PossibleValue::new(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &str) -> Result<Poll, String> {
        let args = ["program", "--poll"].into_iter().chain(args.split_whitespace());
        Args::try_parse_from(args).and_then(Poll::of).map_err(|error| error.to_string())
    }

    #[test]
    fn options_that_are_left_out_have_their_defaults() {
        let poll = read("").expect("no option is needed");
        assert_eq!(format!("{poll:?}"), format!("{:?}", Poll::new()));
    }

    #[test]
    fn a_weight_sets_the_order() {
        let poll = read("--queue a=3 --queue https://sqs.eu-west-1.amazonaws.com/1/b").expect("valid");
        assert_eq!(poll.order, QueueOrder::Weighted);
        assert_eq!(poll.queues, [("a".to_owned(), 3), ("https://sqs.eu-west-1.amazonaws.com/1/b".to_owned(), 1)]);
        assert_eq!(read("--queue a --queue b").expect("valid").order, QueueOrder::RoundRobin);
        assert_eq!(read("--queue a --queue b --order strict").expect("valid").order, QueueOrder::Strict);
    }

    #[test]
    fn a_wrong_option_says_what_would_be_right() {
        for (args, part) in [
            ("--queue a=0", "the weight \"0\" is not a number from 1 to 1000"),
            ("--queue =1", "it has no name"),
            ("--queue a=2 --order strict", "leave out one of the two"),
            ("--concurrency 0", "0 is not in 1..=65535"),
            ("--grace 25", "write one such as 25s"),
            ("--health 8080", "--health"),
            ("--drian", "'--drain'"),
        ] {
            let error = read(args).expect_err("it is wrong");
            assert!(error.contains(part), "{args}: {error}");
        }
        let error = Args::try_parse_from(["program"]).expect_err("it needs --poll").to_string();
        assert!(error.contains("--poll"), "{error}");
    }
}
