//! Follows a job until it ends.

use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use sqjobs::{Client, Record, State, lifecycle::starts_at};
use tokio::time::sleep;

use super::{dlq::letter, lookup, workflow};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, attempts, clean, colour, first_line},
    shell::shell,
    time::{self, brief, exact},
    value::text,
};

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// Stop watching after this time.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, default_value = "1h")]
    pub(crate) within: Duration,
    /// Watch a whole workflow: print the numbers of ended, failed and running jobs whenever they change.
    #[arg(long)]
    pub(crate) tree: bool,
    /// Print each change as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Default time to wait for a job.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_hours(1);
/// The first and the longest pause between two reads. A person waits, so the first reads follow quickly.
const FIRST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(3);
/// Time without a started attempt after which the dead-letter queues are searched.
const QUIET: Duration = Duration::from_secs(3);
/// Longest pause between two such searches.
const RARELY: Duration = Duration::from_mins(1);

/// Said about a job without a record.
const ON_TROUBLE: &str = "If the policy of the job records it only on trouble, a success leaves no record, and this command does not see it. \
                          `sqjobs enqueue --recorded` records such a job.";

pub(super) async fn watch(aws: &Aws, wanted: Watch) -> Result<bool, Failure> {
    if wanted.tree {
        return workflow::watch(aws, &wanted.id, wanted.within, wanted.json).await;
    }
    if !wanted.json {
        Output::new().line(clean(&wanted.id))?;
    }
    Follow { aws, id: &wanted.id, within: wanted.within, json: wanted.json, sent: None }.run().await
}

/// A job to follow, with the options.
pub(super) struct Follow<'a> {
    pub(super) aws: &'a Aws,
    pub(super) id: &'a str,
    pub(super) within: Duration,
    pub(super) json: bool,
    /// The message, if this command has sent it.
    pub(super) sent: Option<Sent>,
}

/// A message that was sent by this command.
pub(super) struct Sent {
    /// The full name of the queue.
    pub(super) queue: String,
    /// An instant before the send. Older dead letters are of other messages.
    pub(super) since: Timestamp,
    /// The record that a rejected message with the same id has left. This message replaces it.
    pub(super) rejected: Option<Record>,
}

impl Follow<'_> {
    /// Prints each change of a job. Returns `true` if the job succeeded.
    pub(super) async fn run(&self) -> Result<bool, Failure> {
        let (client, mut output, started) = (self.aws.client(), Output::new(), Instant::now());
        let (mut seen, mut pause): (Option<Record>, _) = (None, FIRST);
        let (mut search_at, mut printed) = (QUIET, Vec::new());
        loop {
            let record = self.record(&client).await?;
            if let Some(record) = record.filter(|record| seen.as_ref().is_none_or(|seen| has_changed(seen, record))) {
                if self.json {
                    output.json(&record)?;
                } else {
                    output.line(format!("{}  {}", when(seen.as_ref(), &record, self.aws.clock.now()), line(&record)))?;
                }
                if record.state.is_terminal() {
                    return Ok(record.state == State::Succeeded);
                }
                (seen, pause) = (Some(record), FIRST);
            }
            let rest = self.within.saturating_sub(started.elapsed());
            if is_unstarted(seen.as_ref()) && (rest.is_zero() || started.elapsed() >= search_at) {
                if self.has_dead_letter(&mut printed, &mut output).await? {
                    return Ok(false);
                }
                search_at = (started.elapsed() * 2).min(started.elapsed() + RARELY);
            }
            if rest.is_zero() {
                let state = seen.map_or("no attempt has started".into(), |record| format!("it is {}", record.state.as_str()));
                let (after, id) = (brief(self.within), shell(self.id));
                let message = format!(
                    "the job has not ended after {after}: {state}; `sqjobs explain {id}` shows why, and `sqjobs watch {id}` continues"
                );
                note!("{}", self.aws.place.with_options(&message));
                return Ok(false);
            }
            sleep(pause.min(rest)).await;
            pause = (pause * 3 / 2).min(MOST);
        }
    }

    /// Reads the record, unless an earlier message with the same id has left it.
    async fn record(&self, client: &Client) -> Result<Option<Record>, Failure> {
        let old = self.sent.as_ref().and_then(|sent| sent.rejected.as_ref());
        let is_old = |record: &Record| old.is_some_and(|old| (old.state, old.finished_at) == (record.state, record.finished_at));
        Ok(client.get(self.id).await?.filter(|record| !is_old(record)))
    }

    /// Looks for the dead letter of a job that no worker has started, and prints the facts. Returns `true` if there is one. `printed` holds
    /// the sentences that were printed before.
    async fn has_dead_letter(&self, printed: &mut Vec<String>, output: &mut Output) -> Result<bool, Failure> {
        let Self { aws, id, .. } = *self;
        let (queue, since) = self.sent.as_ref().map(|sent| (&*sent.queue, sent.since)).unzip();
        let facts = lookup::search_queues(aws, id, queue, since).await?;
        // A worker may have started it meanwhile. Then the record shows its ending.
        let record = self.record(&aws.client()).await?;
        if !is_unstarted(record.as_ref()) {
            return Ok(false);
        }
        let sentences = facts.sentences(id, &aws.place.prefix, aws.clock.now());
        if *printed != sentences {
            let future = if facts.dead_letter.is_some() { ", and none will start: its message is a dead letter" } else { " yet" };
            note!("no attempt of {} has started{future}", clean(id));
            for sentence in &sentences {
                note!("  {}", clean(&aws.place.with_options(sentence)));
            }
            if facts.dead_letter.is_none() {
                if record.is_none() {
                    note!("  {ON_TROUBLE}");
                }
                note!("  The command waits for the job. Ctrl-C stops the waiting, not the job.");
            }
            *printed = sentences;
        }
        match facts.dead_letter {
            Some(dead) if self.json => output.json(&letter::json(&dead.letter, &dead.queue)).map(|()| true),
            dead_letter => Ok(dead_letter.is_some()),
        }
    }
}

/// Returns `true` if no worker has started the job: it waits in its queue or has no record.
pub(super) fn is_unstarted(record: Option<&Record>) -> bool {
    record.is_none_or(|record| record.state == State::Queued && record.generation == 0)
}

/// Returns the instant of a change according to the record, or else the latest possible instant.
fn when(seen: Option<&Record>, record: &Record, now: Timestamp) -> String {
    let is_begun = |seen: &Record| (seen.state, seen.generation) != (record.state, record.generation);
    let at = match record.state {
        state if state.is_terminal() => record.finished_at,
        State::Running => record.started_at,
        State::Retrying => record.error.as_ref().and_then(|error| error.at),
        _ if record.generation == 0 && record.history.is_empty() => record.enqueued_at,
        _ => None,
    };
    at.filter(|_| seen.is_none_or(is_begun)).map_or_else(|| format!("by {}", exact(now)), exact)
}

/// Returns `true` if a change is worth a line. Renewals of the lease are not.
fn has_changed(seen: &Record, record: &Record) -> bool {
    let shown = |record: &Record| (record.state, record.attempts, record.generation, record.progress.clone(), record.cancel_requested);
    shown(seen) != shown(record)
}

fn line(record: &Record) -> String {
    let state = format!("{}{}\u{1b}[0m", colour(record.state), record.state.as_str());
    let details = match (record.state, &record.result, &record.error, &record.progress) {
        (State::Succeeded, Some(result), ..) => result.to_string(),
        (State::Failed | State::Retrying, _, Some(error), _) => format!("{}: {}", error.kind, first_line(&error.message)),
        (State::Running, .., Some(progress)) => progress.to_string(),
        _ => String::new(),
    };
    let attempt = if record.generation > 0 { format!(", attempt {}", attempts(record, " of ")) } else { String::new() };
    let due = starts_at(record).map(|at| format!(", due {}", exact(at))).unwrap_or_default();
    format!("{state}{attempt}{due}  {}", clean(&details)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(own: &Value) -> Record {
        let mut record = json!({"id": "a", "name": "n", "queue": "q", "enqueued_at": "2026-05-04T12:00:00Z"});
        record.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
        serde_json::from_value(record).expect("a record")
    }

    #[test]
    fn a_change_is_shown_with_the_time_at_which_it_happened() {
        let now: Timestamp = "2026-05-04T12:09:00Z".parse().expect("an instant");
        let running = json!({"state": "running", "generation": 1, "started_at": "2026-05-04T12:01:00Z"});
        let error = json!({"kind": "error", "message": "no", "at": "2026-05-04T12:02:00Z"});
        let cases = [
            (json!({"state": "queued"}), "2026-05-04T12:00:00Z"),
            (running.clone(), "2026-05-04T12:01:00Z"),
            (json!({"state": "retrying", "generation": 1, "error": error}), "2026-05-04T12:02:00Z"),
            (json!({"state": "succeeded", "generation": 2, "finished_at": "2026-05-04T12:03:00Z"}), "2026-05-04T12:03:00Z"),
            (json!({"state": "queued", "generation": 1}), "by 2026-05-04T12:09:00Z"),
        ];
        for (own, expected) in cases {
            assert_eq!(when(None, &record(&own), now), expected, "{own}");
        }
        let seen = record(&running);
        let mut further = running;
        further["progress"] = json!(7);
        assert_eq!(when(Some(&seen), &record(&further), now), "by 2026-05-04T12:09:00Z", "no record says when progress was reported");
    }

    #[test]
    fn an_attempt_is_shown_without_a_budget_that_no_worker_has_said() {
        let attempt = |most: u32| line(&record(&json!({"state": "running", "generation": 1, "attempts": 1, "max_attempts": most})));
        assert!(attempt(3).ends_with(", attempt 1 of 3"), "{}", attempt(3));
        assert!(attempt(0).ends_with(", attempt 1"), "{}", attempt(0));
    }
}
