//! The live view: a table that is redrawn on a terminal, and otherwise a line for each change.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    path::Path,
};

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use sqjobs::{By, stats::Tally, store::DynamoDb};

use super::{
    deploy::ACCOUNT,
    stack::{Fault, Faults, Stack},
    workspace::{Example, Function, Workspace},
};
use crate::{
    aws::{Aws, LOCAL_KEY, LOCAL_REGION},
    command::{
        mapping::{self, Feed},
        queue::{self, Status},
    },
    failure::Failure,
    output::{DIM, Output, PLAIN, clean},
    time::exact,
};

/// Maximum number of failed jobs to show.
const FAILED: usize = 5;
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

pub(super) struct View<'a> {
    aws: &'a Aws,
    workspace: &'a Workspace,
    stack_log: String,
    python: String,
    is_terminal: bool,
    /// Reads the faults of functions.
    log: Faults,
    /// The last fault of each function.
    faults: BTreeMap<String, String>,
    /// The last message.
    message: String,
    /// True after the help was printed.
    has_helped: bool,
    /// The last line of each queue.
    printed: BTreeMap<String, String>,
}

impl<'a> View<'a> {
    pub(super) fn new(aws: &'a Aws, workspace: &'a Workspace, stack: &Stack) -> Result<Self, Failure> {
        let [stack_log, python] = [&stack.log, &stack.python].map(|path| from_here(path).display().to_string());
        let is_terminal = io::stdout().is_terminal();
        Ok(Self {
            aws,
            workspace,
            stack_log,
            python,
            is_terminal,
            log: Faults::new(stack)?,
            faults: BTreeMap::new(),
            message: String::new(),
            has_helped: false,
            printed: BTreeMap::new(),
        })
    }

    /// Returns the lines that explain how to enqueue a job.
    fn help(&self) -> Vec<String> {
        let url = self.aws.place.endpoint_url.as_deref().unwrap_or_default();
        let place = self.aws.place.settings().into_iter().filter(|setting| setting.value != setting.usual);
        let place = place.map(|setting| format!(" {}={}", setting.variable, setting.value)).collect::<Vec<_>>().concat();
        let functions: Vec<_> = self.workspace.functions.iter().map(|function| &*function.name).collect();
        let mut lines = vec![
            format!("sqjobs dev  {url}  {}", functions.join(", ")),
            format!("{DIM}the logs of the functions are in {}; Ctrl-C stops the stack{PLAIN}", self.stack_log),
            String::new(),
            "From another terminal:".into(),
            format!(
                "  export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={LOCAL_REGION} AWS_ACCESS_KEY_ID={LOCAL_KEY} \
                 AWS_SECRET_ACCESS_KEY={LOCAL_KEY}{place}"
            ),
        ];
        let mut fed = self.workspace.functions.iter().filter_map(|function| Some((function, function.queue.as_ref()?)));
        let mut is_example_missing = false;
        for (Function { name: function, example, .. }, queue) in fed.clone() {
            let (name, args) = match example {
                Some(Example { name, args }) => (name, quoted(&args.to_string())),
                None => (function, "ARGUMENTS".into()),
            };
            is_example_missing |= example.is_none();
            let elsewhere = if name == queue { String::new() } else { format!(" --queue {queue}") };
            lines.push(format!("  sqjobs enqueue {name} {args}{elsewhere} --wait"));
        }
        if is_example_missing {
            lines.push(format!(
                "{DIM}  Replace ARGUMENTS by the job's arguments as JSON, or add `example = {{ name = \"...\", args = ... }}` under \
                 [package.metadata.sqjobs]{PLAIN}"
            ));
        }
        let given = fed.clone().find_map(|(function, queue)| {
            let Example { name, args } = function.example.as_ref()?;
            Some((queue, json!({"name": name, "args": args}).to_string()))
        });
        // Without an example, the message becomes JSON when the user replaces ARGUMENTS.
        let bare = || fed.next().map(|(function, queue)| (queue, format!(r#"{{"name":{},"args":ARGUMENTS}}"#, json!(function.name))));
        if let Some((queue, message)) = given.or_else(bare) {
            let url = format!("{url}/{ACCOUNT}/{}", self.aws.queue(queue));
            let script = format!(
                "import boto3; boto3.client(\"sqs\").send_message(QueueUrl=\"{url}\", MessageBody={})",
                Value::from(message.clone())
            );
            lines.extend([
                format!("  aws sqs send-message --queue-url {url} --message-body {}", quoted(&message)),
                format!("  {} -c {}", self.python, quoted(&script)),
            ]);
        }
        lines.extend([
            "  sqjobs ui --write".into(),
            "  sqjobs tail".into(),
            String::new(),
            format!(
                "{DIM}succeeded, retried, failed: the attempts that ended today (UTC); `sqjobs list` shows the jobs that failed{PLAIN}"
            ),
            format!("{DIM}dead: the messages in the dead-letter queue, with or without a record; `sqjobs dlq list` shows them{PLAIN}"),
        ]);
        lines
    }

    /// Sets the message of the view.
    pub(super) fn say(&mut self, what: &str) {
        what.clone_into(&mut self.message);
        if !self.is_terminal {
            note!("{what}");
        }
    }

    /// Notes the new faults. Without a terminal, it prints each fault that differs from the last one of its function.
    fn note_faults(&mut self) -> Result<(), Failure> {
        for Fault { function, reason } in self.log.read()? {
            let fault = format!("function {} did not answer: {}; its log is in {}", clean(&function), clean(&reason), self.stack_log);
            if self.faults.get(&function) != Some(&fault) && !self.is_terminal {
                note!("{fault}");
            }
            self.faults.insert(function, fault);
        }
        Ok(())
    }

    pub(super) async fn draw(&mut self) -> Result<(), Failure> {
        self.note_faults()?;
        match self.look().await {
            Ok((queues, tallies)) if self.is_terminal => self.picture(&queues, &tallies).await,
            Ok((queues, tallies)) => self.lines(&queues, &tallies),
            // The stack may be busy: the next frame reads it again.
            Err(Failure::Message(flaw)) => {
                note!("{}", clean(&flaw));
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn look(&self) -> Result<(Vec<(Status, Feed)>, BTreeMap<String, Tally>), Failure> {
        let today = self.aws.clock.now().to_zoned(TimeZone::UTC).date();
        let tallies = DynamoDb::new(self.aws.dynamodb(), self.aws.place.table()).stats(today).await;
        let tallies = tallies
            .map_err(|error| Failure::because("cannot read the statistics", error))?
            .into_iter()
            .map(|(queue, tally)| (self.aws.short(&queue).to_owned(), tally));
        let queues = queue::all(self.aws).await?.statuses(self.aws);
        let feeds = mapping::feeds(self.aws, &queues).await?;
        Ok((queues.into_iter().zip(feeds).collect(), tallies.collect()))
    }

    async fn picture(&self, queues: &[(Status, Feed)], tallies: &BTreeMap<String, Tally>) -> Result<(), Failure> {
        let failed = self.aws.client().list(By::Failed, FAILED).await.unwrap_or_default();
        let mut output = Output::new();
        output.line(format!("{CLEAR}{}", self.help().join("\n")))?;
        output.line("")?;
        let rows = queues.iter().map(|(status, feed)| {
            let [name, waiting, in_flight, delayed, dead, function] = mapping::row(status, feed);
            let [succeeded, retried, failed] = counts(tallies.get(&name)).map(|count| count.to_string());
            [name, waiting, in_flight, delayed, succeeded, retried, failed, dead, function]
        });
        output.table(["queue", "waiting", "running", "delayed", "succeeded", "retried", "failed", "dead", "function"], rows)?;
        if !failed.is_empty() {
            output.line(format!("\n{DIM}failed jobs, the newest first; `sqjobs explain ID` shows more{PLAIN}"))?;
            output.jobs(&failed, self.aws.clock.now())?;
        }
        if !self.faults.is_empty() {
            output.line(format!("\n{DIM}invocations without an answer, the last one of each function{PLAIN}"))?;
            self.faults.values().try_for_each(|fault| output.line(fault))?;
        }
        if !self.message.is_empty() {
            let lines = self.message.lines().map(clean).collect::<Vec<_>>();
            output.line(format!("\n{}", lines.join("\n")))?;
        }
        Ok(())
    }

    /// Prints a line for each queue that has changed.
    fn lines(&mut self, queues: &[(Status, Feed)], tallies: &BTreeMap<String, Tally>) -> Result<(), Failure> {
        let mut output = Output::new();
        if !std::mem::replace(&mut self.has_helped, true) {
            self.help().iter().try_for_each(|line| output.line(line))?;
        }
        for (Status { name, depth, dead, .. }, _) in queues {
            let [succeeded, retried, failed] = counts(tallies.get(name));
            let line = format!(
                "{}: {} waiting, {} running, {} delayed, {succeeded} succeeded, {retried} retried, {failed} failed, {dead} dead",
                clean(name),
                depth.waiting,
                depth.in_flight,
                depth.delayed
            );
            if self.printed.get(name) != Some(&line) {
                output.line(format!("{}  {line}", exact(self.aws.clock.now())))?;
                self.printed.insert(name.clone(), line);
            }
        }
        Ok(())
    }
}

/// Quotes a text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns a path relative to the current folder, if it is inside.
fn from_here(path: &Path) -> &Path {
    std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

/// Returns the numbers of attempts that succeeded, that are retried, and that failed.
fn counts(tally: Option<&Tally>) -> [u64; 3] {
    ["succeeded", "retried", "failed"].map(|ending| tally.and_then(|tally| tally.endings.get(ending)).copied().unwrap_or(0))
}
