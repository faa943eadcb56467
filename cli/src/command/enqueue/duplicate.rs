//! Compares a job with an earlier job of the same id.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqjobs::{
    Enqueued, Envelope, Otherwise, Priority, Record, State, When,
    envelope::Digest,
    lifecycle::{is_unclaimed, starts_at, waits_for_other_jobs, waits_for_other_time},
    queue::is_fifo,
    store::{DynamoDb, Store as _},
};

use crate::{aws::Aws, output::clean, shell::shell, time};

/// The arguments, the time and the dependencies of a job. A delay gives no time, because the same command gives another time later.
#[derive(PartialEq)]
pub(super) struct Asked {
    pub(super) digest: Digest,
    pub(super) run_at: Option<Timestamp>,
    depends_on: BTreeSet<String>,
    when: When,
    otherwise: Otherwise,
}

impl Asked {
    pub(super) fn by(envelope: &Envelope) -> Self {
        let Envelope { run_at, when, otherwise, .. } = *envelope;
        Self { digest: envelope.digest(), run_at, depends_on: envelope.depends_on.iter().cloned().collect(), when, otherwise }
    }

    /// Returns true if another job waits for the same jobs under the same conditions.
    pub(super) fn waits_like(&self, other: &Self) -> bool {
        (&self.depends_on, self.when, self.otherwise) == (&other.depends_on, other.when, other.otherwise)
    }

    /// Returns true if an earlier job with the same id waits for other jobs.
    fn waits_for_others(&self, first: &Record) -> bool {
        let depends_on: Vec<_> = self.depends_on.iter().cloned().collect();
        waits_for_other_jobs(first, &depends_on, self.when, self.otherwise)
    }

    /// Returns true if an earlier job with the same id waits for another time.
    fn is_at_other_time(&self, first: &Record) -> bool {
        self.run_at.is_some() && waits_for_other_time(first, self.run_at)
    }
}

/// Describes a record or a list entry that could not be written, another job with the same id, or the holder of the unique key.
pub(super) fn missing(sent: &Enqueued, asked: &Asked) -> Option<String> {
    let id = clean(&sent.id);
    if let Some(holder) = &sent.holder {
        let holder = clean(holder);
        return (!sent.replaced).then(|| format!("{id} is not enqueued: job {holder} holds its unique key"));
    }
    let unrecorded =
        sent.unrecorded.as_ref().map(|why| format!("its record could not be written ({why}). The first attempt writes the record"));
    let unlisted = sent.unlisted.as_ref().map(|why| {
        format!("it is missing from some lists ({why}). To list the job, enqueue it again with the id {id}. It does not run twice")
    });
    let other = sent.first.as_ref().and_then(|first| match first.run_at {
        _ if first.digest.is_some_and(|first| first != asked.digest) => {
            Some("another job with this id has other arguments, and only one of the two jobs runs".to_owned())
        }
        at if asked.is_at_other_time(first) => Some(format!(
            "an earlier job with this id already waits{}, and its time does not change",
            at.map(|at| format!(" until {}", time::exact(at))).unwrap_or_default()
        )),
        _ if asked.waits_for_others(first) => {
            Some("an earlier job with this id waits for different jobs (--after), and still waits for those".to_owned())
        }
        _ => None,
    });
    let missing: Vec<_> = [unrecorded, unlisted, other].into_iter().flatten().collect();
    (!missing.is_empty()).then(|| clean(&format!("{id} is enqueued, but {}", missing.join(". Also, "))))
}

/// Returns the records of jobs that were enqueued before. A producer may lack the right to read them.
pub(super) async fn firsts(aws: &Aws, ids: &[String]) -> Vec<Option<Record>> {
    let store = DynamoDb::new(aws.dynamodb(), aws.place.table());
    let read = store.read(ids).await;
    if let Some(error) = read.iter().find_map(|answer| answer.as_ref().err()) {
        note!("cannot check whether a job with this id was enqueued before: {}", clean(&error.to_string()));
    }
    read.into_iter().map(|answer| answer.ok().flatten()).collect()
}

/// Compares a job with the record of its id. Returns true if both are the same job, and a sentence about them. `None`: the message of this
/// job replaces the record.
pub(super) fn duplicate(first: &Record, envelope: &Envelope, queue: &str) -> Option<(bool, String)> {
    (!is_unclaimed(first)).then(|| compare(first, envelope, queue))
}

/// Compares a workflow with an earlier one of its id. Returns the same as [`duplicate`].
pub(super) async fn duplicate_workflow(aws: &Aws, first: &Record, envelope: &Envelope) -> Option<(bool, String)> {
    if is_unclaimed(first) {
        return None;
    }
    let state = describe(first);
    let refused = |why: &str| Some((false, format!("{state}, so nothing was enqueued. {why}")));
    match aws.client().workflow(&first.id).await {
        Ok(Some(earlier)) if earlier.workflow.workflow_digest() == envelope.workflow_digest() => {
            Some((true, format!("{state}, with the same jobs and arguments; the workflow does not run again")))
        }
        Ok(Some(_)) => refused("The id belongs to a workflow with other jobs or arguments. Give this workflow another id"),
        Ok(None) => refused("No workflow with this id is stored. Give this workflow another id"),
        Err(error) => refused(&format!("The earlier workflow cannot be read: {}", clean(&error.to_string()))),
    }
}

/// Describes the state of an earlier job.
fn describe(first: &Record) -> String {
    let at = first.finished_at.map(|at| format!(" at {}", time::exact(at))).unwrap_or_default();
    let id = clean(&first.id);
    match first.state {
        State::Cancelled if first.name.is_empty() => format!("{id} was cancelled{at} before any function received it"),
        state if state.is_terminal() => format!("{id} already ended{at} ({})", state.as_str()),
        state => {
            let due = starts_at(first).map(|at| format!(", due at {}", time::exact(at))).unwrap_or_default();
            format!("{id} is already {}{due}", state.as_str())
        }
    }
}

fn compare(first: &Record, envelope: &Envelope, queue: &str) -> (bool, String) {
    let state = describe(first);
    let asked = Asked::by(envelope);
    let differs = match &first.digest {
        _ if first.name.is_empty() => {
            format!("To run the job: `sqjobs retry {} ARGS --name {}`", shell(&first.id), shell(&envelope.name))
        }
        // The queues of all priorities belong to one function.
        _ if Priority::Default.queue(&first.queue) != Priority::Default.queue(queue) => {
            format!("The id belongs to a {} job on queue {}", clean(&first.name), clean(&first.queue))
        }
        Some(digest) if *digest == asked.digest && asked.is_at_other_time(first) => {
            return (
                false,
                format!("{state}, and keeps its time, so nothing was enqueued; to run a job at another time, give it another id"),
            );
        }
        Some(digest) if *digest == asked.digest && asked.waits_for_others(first) => {
            let own = first.dependencies.as_deref().map(|own| own.ids.join(", "));
            let own = own.map_or_else(|| "waits for no other job".to_owned(), |ids| format!("waits for {}", clean(&ids)));
            let why = "this command gives other values for --after, --when or --otherwise, so nothing was enqueued";
            return (false, format!("{state}, and {own} under its own conditions; {why}. Give this job another id"));
        }
        Some(digest) if *digest == asked.digest => {
            let once = match first.state {
                state if state.is_terminal() => "it does not run again",
                State::Queued if is_fifo(queue) => {
                    "it runs only once. If the first message was purged, give another --dedup: SQS discards a message with the same \
                     deduplication id for five minutes"
                }
                _ => "it runs only once",
            };
            return (true, format!("{state}, with the same arguments; {once}"));
        }
        Some(_) => "The earlier job has other arguments".into(),
        None => "It is unknown whether the earlier job has the same arguments".into(),
    };
    (false, format!("{state}, so nothing was enqueued, and these arguments did not run. {differs}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_duplicate_says_how_the_first_job_ended_and_what_differs() {
        let envelope = Envelope::new("n", json!([1]));
        let first = |change: Value| -> Record {
            let mut record = json!({
                "id": "a", "name": "n", "queue": "q", "state": "succeeded", "finished_at": "2026-05-04T12:00:00Z",
                "digest": serde_json::to_value(envelope.digest()).expect("plain data"),
            });
            record.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            serde_json::from_value(record).expect("a record")
        };
        let other = serde_json::to_value(Envelope::new("n", json!([2])).digest()).expect("plain data");
        let cases = [
            (json!({}), true, "a already ended at 2026-05-04T12:00:00Z (succeeded), with the same arguments"),
            (json!({"state": "queued", "finished_at": null}), true, "a is already queued, with the same arguments; it runs only once"),
            (
                json!({"digest": other}),
                false,
                "so nothing was enqueued, and these arguments did not run. The earlier job has other arguments",
            ),
            (json!({"digest": null}), false, "It is unknown whether the earlier job has the same arguments"),
            (
                json!({"queue": "p", "state": "running", "finished_at": null}),
                false,
                "a is already running, so nothing was enqueued, and these arguments did not run",
            ),
            (
                json!({"state": "queued", "run_at": "2026-05-04T13:00:00Z"}),
                true,
                "a is already queued, due at 2026-05-04T13:00:00Z, with the same arguments",
            ),
            (json!({"dependencies": {"ids": ["b"]}}), false, "and waits for b under its own conditions; this command gives other values"),
            (json!({"queue": "p"}), false, "The id belongs to a n job on queue p"),
            (json!({"name": "", "state": "cancelled"}), false, "a was cancelled at 2026-05-04T12:00:00Z before any function received it"),
            (json!({"name": ""}), false, "To run the job: `sqjobs retry a ARGS --name n`"),
        ];
        for (change, is_same, part) in cases {
            let (same, message) = compare(&first(change), &envelope, "q");
            assert!(same == is_same && message.contains(part), "{message}");
        }
        let first = first(json!({"state": "queued", "run_at": "2026-05-04T13:00:00Z"}));
        for (run_at, is_same) in [("2026-05-04T13:00:00Z", true), ("2026-05-04T14:00:00Z", false)] {
            let mut envelope = envelope.clone();
            envelope.run_at = run_at.parse().ok();
            let (same, message) = compare(&first, &envelope, "q");
            assert!(
                same == is_same && same != message.contains("due at 2026-05-04T13:00:00Z, and keeps its time, so nothing was enqueued"),
                "{message}"
            );
        }
    }
}
