//! Output: tables and lines for people, and JSON for programs, one value per line.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anstream::{AutoStream, adapter::strip_str};
use comfy_table::{ContentArrangement, Table, TableStyle};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sqjobs::{Letter, Record, State};

use crate::{
    failure::Failure,
    time::{brief, exact, from_now},
};

const BOLD: &str = "\u{1b}[1m";
pub(crate) const DIM: &str = "\u{1b}[2m";
pub(crate) const PLAIN: &str = "\u{1b}[0m";

/// Prints a line to standard error, with the arguments of `format!`.
macro_rules! note {
    ($($argument:tt)*) => { $crate::output::print_note(format_args!($($argument)*)) };
}

tokio::task_local! {
    /// Keeps the lines of a command that runs for the page of the operator, or for a tool.
    pub(crate) static PRINTED: Printed;
}

/// The lines that a command has printed.
#[derive(Clone, Default)]
pub(crate) struct Printed(Arc<Mutex<Lines>>);

#[derive(Clone, Default)]
pub(crate) struct Lines {
    /// On standard output, without colours.
    pub(crate) answers: Vec<String>,
    /// On standard error, without colours.
    pub(crate) notes: Vec<String>,
}

impl Printed {
    fn all(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lines so far.
    pub(crate) fn lines(&self) -> Lines {
        self.all().clone()
    }
}

/// Standard output. It has colours only on a terminal, and never if `NO_COLOR` is set.
pub(crate) enum Output {
    Standard(AutoStream<io::StdoutLock<'static>>),
    Kept(Printed),
}

impl Output {
    pub(crate) fn new() -> Self {
        PRINTED.try_with(Clone::clone).map_or_else(|_| Self::Standard(anstream::stdout().lock()), Self::Kept)
    }

    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        match self {
            Self::Standard(stream) => writeln!(stream, "{}", line.as_ref())?,
            Self::Kept(printed) => printed.all().answers.push(strip_str(line.as_ref()).to_string()),
        }
        Ok(())
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        match self {
            Self::Standard(stream) => {
                serde_json::to_writer(&mut *stream, value)?;
                writeln!(stream)?;
            }
            Self::Kept(printed) => printed.all().answers.push(serde_json::to_string(value)?),
        }
        Ok(())
    }

    /// Prints a table that fits the terminal.
    pub(crate) fn table<const N: usize>(&mut self, head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(head.map(str::to_uppercase));
        for row in rows {
            table.add_row(row.map(|cell| clean(&cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines = table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        lines.iter().try_for_each(|line| self.line(line))
    }

    /// Prints jobs, one per line.
    pub(crate) fn jobs(&mut self, records: &[Record], now: Timestamp) -> Result<(), Failure> {
        let rows = records.iter().map(|record| {
            let attempts = attempts(record, "/");
            let error = record.error.as_ref().map(|error| format!("{}: {}", error.kind, error.message)).unwrap_or_default();
            [record.id.clone(), record.name.clone(), record.state.as_str().into(), attempts, last_change(record, now), first_line(&error)]
        });
        self.table(["id", "name", "state", "attempts", "when", "error"], rows)
    }

    /// Prints one job with all fields of its record.
    pub(crate) fn job(&mut self, record: &Record, now: Timestamp) -> Result<(), Failure> {
        self.line(format!("{BOLD}{}{PLAIN}  {}{}{PLAIN}", clean(&record.id), colour(record.state), record.state.as_str()))?;
        let Value::Object(fields) = serde_json::to_value(record)? else { return Ok(()) };
        for (name, value) in fields.into_iter().filter(|(name, _)| !["id", "state"].contains(&name.as_str())) {
            let text = match (&value, name.as_str()) {
                (Value::String(text), _) => match text.parse::<Timestamp>() {
                    Ok(at) if name.ends_with("_at") => format!("{text}  {DIM}{}{PLAIN}", from_now(at, now)),
                    _ => clean(text),
                },
                (Value::Number(number), "lease_until") => instant(number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok()), now),
                (Value::Number(number), "max_attempts") if number.as_u64() == Some(0) => UNKNOWN_BUDGET.into(),
                (Value::Number(number), "purge_at") => instant(number.as_i64().and_then(|s| Timestamp::from_second(s).ok()), now),
                _ => clean(&value.to_string()),
            };
            self.line(format!("  {DIM}{name:<13}{PLAIN} {text}"))?;
        }
        Ok(())
    }

    /// Prints a dead letter with its job's name, the kind of its failure and the reason.
    pub(crate) fn letter(&mut self, letter: &Letter, [name, kind, reason]: [&str; 3], now: Timestamp) -> Result<(), Failure> {
        self.line(format!("{BOLD}{}{PLAIN}  {}{}{PLAIN}", clean(&letter.id), colour(State::Failed), clean(kind)))?;
        let since = letter.message.sent_at.map(|at| format!("{}  {DIM}{}{PLAIN}", exact(at), from_now(at, now)));
        let lines = [
            ("message_id", Some(clean(&letter.message.id))),
            ("name", Some(clean(name))),
            ("sent_at", since),
            ("reason", Some(clean(reason))),
            ("body", Some(clean(&letter.message.body))),
        ];
        lines
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)))
            .try_for_each(|(name, text)| self.line(format!("  {DIM}{name:<13}{PLAIN} {text}")))
    }
}

/// Shown as the maximum number of attempts if no worker has started the job yet. Only the worker knows the job's policy.
pub(crate) const UNKNOWN_BUDGET: &str = "unknown until the function starts the job";

/// Returns the number of used attempts and their maximum. Leaves out the maximum if it is not known yet.
pub(crate) fn attempts(record: &Record, of: &str) -> String {
    match record.max_attempts {
        0 => record.attempts.to_string(),
        most => format!("{}{of}{most}", record.attempts),
    }
}

fn instant(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or("no instant".into(), |at| format!("{}  {DIM}{}{PLAIN}", exact(at), from_now(at, now)))
}

/// Returns the time of the last or the next event of a job.
pub(crate) fn last_change(record: &Record, now: Timestamp) -> String {
    match (record.state, record.run_at, record.started_at, record.finished_at) {
        (State::Scheduled | State::Queued | State::Retrying, Some(at), ..) => format!("due {}", from_now(at, now)),
        (State::Running, _, Some(at), _) => format!("for {}", brief(now.duration_since(at).unsigned_abs())),
        (.., Some(at)) => from_now(at, now),
        _ => record.enqueued_at.map(|at| from_now(at, now)).unwrap_or_default(),
    }
}

pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Replaces all control characters that a terminal would interpret.
pub(crate) fn clean(text: &str) -> String {
    let obeyed = |char: char| {
        char.is_control()
            || matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|char| if obeyed(char) { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

pub(crate) fn colour(state: State) -> &'static str {
    match state {
        State::Succeeded => "\u{1b}[32m",
        State::Failed => "\u{1b}[31m",
        State::Running => "\u{1b}[36m",
        State::Retrying => "\u{1b}[33m",
        _ => DIM,
    }
}

/// Returns a progress bar, which is hidden unless standard error is a terminal.
pub(crate) fn progress(length: Option<u64>, what: &str) -> ProgressBar {
    if is_kept() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    match (length, what) {
        (Some(length), "") => ProgressBar::new(length).with_style(style("{bar:40} {percent}% {msg} {elapsed}, {eta} left")),
        (Some(length), what) => {
            ProgressBar::new(length).with_style(style("{bar:40} {pos}/{len} {msg} {elapsed}, {eta} left")).with_message(what.to_owned())
        }
        (None, _) => ProgressBar::new_spinner(),
    }
}

/// Returns true if the page of the operator or a tool keeps the lines of the command.
pub(crate) fn is_kept() -> bool {
    PRINTED.try_with(|_| ()).is_ok()
}

/// Prints a line to standard error. The macro `note!` calls it.
pub(crate) fn print_note(note: fmt::Arguments<'_>) {
    let kept = PRINTED.try_with(|printed| printed.all().notes.push(strip_str(&note.to_string()).to_string()));
    if kept.is_err() {
        anstream::eprintln!("{note}");
    }
}

/// Prints notes to standard error, one per line.
pub(crate) fn print_notes(notes: &[String]) {
    for note in notes {
        note!("{}", clean(note));
    }
}

/// Follows a question that nobody can answer.
pub(crate) const NO_TERMINAL: &str = " There is no terminal for the question; add --yes";

/// Asks a question on the terminal, and returns `true` if the answer is yes.
pub(crate) fn confirmed(question: &str, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if is_kept() || !io::stdin().is_terminal() {
        return Err(Failure::new(format!("{question}{NO_TERMINAL}")));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        assert_eq!(clean("a\u{1b}[31mb\u{7}\u{9b}c\u{202e}d\ne"), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(clean("a\u{2028}b\u{feff}c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(clean("é ✓ 日本"), "é ✓ 日本");
    }
}
