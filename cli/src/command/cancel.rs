//! Cancels jobs.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use sqjobs::{Cancelled, Client, Record};

use super::{environment::refuse_other_record, workflow};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed},
    sentence::ended,
    shell::shell,
    time::exact,
    value::text,
};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(crate) struct Cancel {
    /// The ids of jobs.
    #[arg(required = true, value_parser = text)]
    pub(crate) ids: Vec<String>,
    /// Also cancel a job that has no record, because its message still waits in the queue. The command blocks the id for 30 days, and the
    /// function discards the message at the next delivery. A message that the function does not understand is parked: SQS delivers it every
    /// five minutes. Some policies write no record if the first attempt succeeds (`Recording::OnTrouble`). The command cannot stop such a
    /// job, unless it was enqueued as recorded.
    #[arg(long)]
    pub(crate) unseen: bool,
    /// Cancel all jobs of a workflow that have not ended.
    #[arg(long, conflicts_with = "unseen")]
    pub(crate) tree: bool,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print each outcome as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn cancel(aws: &Aws, wanted: Cancel) -> Result<bool, Failure> {
    if wanted.tree {
        let [id] = &*wanted.ids else { return Err(Failure::new("cannot cancel several workflows at once; name one")) };
        return workflow::cancel(aws, id, wanted.yes, wanted.json).await;
    }
    let (client, mut output) = (aws.client(), Output::new());
    if wanted.ids.len() > 1 && !confirmed(&format!("Cancel {} jobs?", wanted.ids.len()), wanted.yes)? {
        return Ok(false);
    }
    let (mut all, mut failed) = (true, 0);
    for id in &wanted.ids {
        let (record, outcome) = match one(aws, &client, id, wanted.unseen).await {
            Ok(cancelled) => cancelled,
            Err(error) if wanted.ids.len() == 1 => return Err(error),
            Err(error) => {
                failed += 1;
                note!("{}", clean(&aws.place.with_options(&error.into_message())));
                continue;
            }
        };
        all &= outcome.is_some_and(|outcome| outcome != Cancelled::Ended);
        if wanted.json {
            output.json(&json!({"id": id, "outcome": word(outcome), "blocked_until": blocked_until(outcome)}))?;
        } else if outcome.is_some() {
            output.line(aws.place.with_options(&sentence(id, record.as_ref(), outcome)))?;
        } else {
            note!("{}", aws.place.with_options(&sentence(id, None, None)));
        }
    }
    match failed {
        0 => Ok(all),
        _ => Err(Failure::new(format!("{failed} of {} jobs could not be cancelled", wanted.ids.len()))),
    }
}

/// Cancels one job. Returns its record from before, and the outcome, unless nothing was tried.
async fn one(aws: &Aws, client: &Client, id: &str, unseen: bool) -> Result<(Option<Record>, Option<Cancelled>), Failure> {
    let record = client.get(id).await?;
    if let Some(record) = &record {
        refuse_other_record(aws, record)?;
    }
    let outcome = if record.is_none() && !unseen { None } else { Some(client.cancel(id).await?) };
    Ok((record, outcome))
}

fn blocked_until(outcome: Option<Cancelled>) -> Option<Timestamp> {
    match outcome {
        Some(Cancelled::Unseen(until)) => Some(until),
        _ => None,
    }
}

/// Returns the outcome of a cancel in one word. `None` is the outcome if nothing was tried.
fn word(outcome: Option<Cancelled>) -> &'static str {
    match outcome {
        Some(Cancelled::Waiting) => "cancelled",
        Some(Cancelled::Running) => "asked_to_stop",
        Some(Cancelled::Unseen(_)) => "blocked",
        Some(_) => "ended",
        None => "unknown",
    }
}

/// Returns the outcome of a cancel in a sentence, given the record before it.
fn sentence(id: &str, record: Option<&Record>, outcome: Option<Cancelled>) -> String {
    let (shown, id) = (clean(id), shell(id));
    match outcome {
        Some(Cancelled::Waiting) if record.is_some_and(|record| record.generation > 0) => {
            format!("{shown} is cancelled; it was waiting for its next attempt, and does not run again")
        }
        Some(Cancelled::Waiting) => format!("{shown} was cancelled before it ran"),
        Some(Cancelled::Running) => {
            format!("{shown} is running and was asked to stop, but may still succeed; `sqjobs watch {id}` shows the outcome")
        }
        Some(Cancelled::Unseen(until)) => format!(
            "{shown} is blocked until {}: until then, functions discard messages with this id. This does not stop a job whose policy \
             writes no record if the first attempt succeeds (`Recording::OnTrouble`), unless it was enqueued as recorded. To run the job: \
             `sqjobs retry {id} ARGS --name NAME`",
            exact(until)
        ),
        Some(_) => {
            let ended = record.map(ended).unwrap_or_default();
            format!("{shown} had already ended{ended}, so nothing was changed")
        }
        None => format!(
            "{shown} has no record, so nothing was cancelled. Either the id is wrong, or the job still waits in its queue: a job has no \
             record until a function receives its message. To cancel a job in its queue: `sqjobs cancel {id} --unseen`. That command \
             blocks the id for 30 days, and the function discards the message at the next delivery. A message that the function does \
             not understand is parked: SQS delivers it every five minutes"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_says_which_of_its_outcomes_it_had() {
        let until: Timestamp = "2026-06-04T12:00:00Z".parse().expect("an instant");
        let record = |generation, finished_at: Option<&str>| -> Record {
            let json =
                json!({"id": "a", "name": "n", "queue": "q", "state": "succeeded", "generation": generation, "finished_at": finished_at});
            serde_json::from_value(json).expect("a record")
        };
        let (new, tried, done) = (record(0, None), record(1, None), record(1, Some("2026-05-04T12:00:00Z")));
        let cases = [
            (Some(&new), Some(Cancelled::Waiting), "cancelled", "a was cancelled before it ran"),
            (Some(&tried), Some(Cancelled::Waiting), "cancelled", "it was waiting for its next attempt"),
            (Some(&tried), Some(Cancelled::Running), "asked_to_stop", "may still succeed; `sqjobs watch a` shows the outcome"),
            (None, Some(Cancelled::Unseen(until)), "blocked", "a is blocked until 2026-06-04T12:00:00Z"),
            (Some(&done), Some(Cancelled::Ended), "ended", "had already ended (succeeded at 2026-05-04T12:00:00Z)"),
            (None, None, "unknown", "`sqjobs cancel a --unseen`"),
        ];
        for (record, outcome, expected, part) in cases {
            assert_eq!(word(outcome), expected);
            let message = sentence("a", record, outcome);
            assert!(message.contains(part), "{message}");
        }
        assert_eq!([Some(Cancelled::Unseen(until)), Some(Cancelled::Running)].map(blocked_until), [Some(until), None]);
    }
}
