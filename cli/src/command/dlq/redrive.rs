//! Decides for each dead letter whether a redrive sends it, deletes it or keeps it.

use std::collections::HashMap;

use jiff::Timestamp;
use sqjobs::{Letter, Redrive, envelope::Digest, queue::Outgoing};

use super::letter::DeadLetter;

/// Why a redrive deletes a dead letter without sending it.
pub(super) const DROPPED: &str = "the job has ended, or has another message";
/// Why a redrive neither sends nor deletes a dead letter.
pub(super) const KEPT: &str = "the message would not run";
/// Why a purge does not delete a dead letter.
pub(super) const NOT_PURGED: &str = "the job belongs to another queue";
const OTHER_ARGUMENTS: &str =
    "the job with this id has other arguments, so this message would be discarded; enqueue its arguments with another id, or purge it";
const EXPIRED: &str =
    "the job has expired and would not run; run it with these arguments by `sqjobs retry ID ARGS`, which deletes this dead letter";
const TOO_LARGE: &str = "a redrive must add the job's id to the message, which is too large for that; enqueue the job again";

/// The name and the arguments of a job.
type Job = (String, Digest);

/// Step that a redrive takes for a dead letter.
pub(super) enum Step {
    Send(Outgoing),
    Drop,
    /// Keeps it, for this reason.
    Keep(String),
}

/// The jobs whose dead letters were sent, by id. None: the message has no job that can be read.
#[derive(Default)]
pub(super) struct Sent(HashMap<String, Option<Job>>);

impl Sent {
    /// Returns the step for a dead letter, and remembers the jobs to send. The first dead letter of an id is sent: the function would
    /// discard a later one.
    pub(super) fn step(&mut self, dead: &DeadLetter, queue: &str, now: Timestamp) -> Step {
        if let Some(reason) = &dead.unreadable {
            return Step::Keep(reason.clone());
        }
        let (letter, job) = (&dead.letter, job(&dead.letter));
        if let Some(reason) = dead.of_other_queue(queue) {
            return Step::Keep(reason);
        }
        let step = match letter.redrive(dead.record.as_ref(), queue) {
            Redrive::Send(_) if dead.expires_at().is_some_and(|at| at <= now) => Step::Keep(EXPIRED.into()),
            Redrive::Send(message) => match self.0.get(&letter.id) {
                None => Step::Send(message),
                Some(first) if *first == job => Step::Drop,
                Some(_) => Step::Keep(OTHER_ARGUMENTS.into()),
            },
            Redrive::Drop => Step::Drop,
            Redrive::OtherArguments => Step::Keep(OTHER_ARGUMENTS.into()),
            Redrive::Stuck => Step::Keep(TOO_LARGE.into()),
        };
        if let Step::Send(_) = step {
            self.0.insert(letter.id.clone(), job);
        }
        step
    }

    /// Forgets a dead letter that SQS did not accept.
    pub(super) fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Returns true for a message that was sent and has failed again.
    pub(super) fn has_returned(&self, letter: &Letter) -> bool {
        self.0.get(&letter.id) == Some(&job(letter))
    }
}

/// Returns the job of a dead letter. None: its message cannot be read.
fn job(letter: &Letter) -> Option<Job> {
    letter.envelope.as_ref().ok().map(|envelope| (envelope.name.clone(), envelope.digest()))
}

#[cfg(test)]
mod tests {
    use sqjobs::queue::Message;

    use super::*;

    #[test]
    fn a_dead_letter_of_another_queue_is_kept() {
        let now = "2026-05-04T12:00:00Z".parse().expect("an instant");
        let record =
            serde_json::from_value(serde_json::json!({"id": "a", "name": "n", "queue": "n", "state": "failed"})).expect("a record");
        let dead = DeadLetter { record: Some(record), ..dead_letter("2026-05-05T12:00:00Z") };
        assert!(matches!(Sent::default().step(&dead, "n", now), Step::Send(_)));
        assert!(matches!(Sent::default().step(&dead, "other", now), Step::Keep(why) if why.starts_with("its job belongs to queue n")));
    }

    fn dead_letter(expires_at: &str) -> DeadLetter {
        let message = Message { body: format!(r#"{{"name": "n", "id": "a", "expires_at": "{expires_at}"}}"#), ..Message::default() };
        DeadLetter { letter: Letter::open(message), record: None, unreadable: None }
    }

    #[test]
    fn a_dead_letter_of_an_expired_job_is_kept() {
        let now = "2026-05-04T12:00:00Z".parse().expect("an instant");
        let step = |expires_at: &str| Sent::default().step(&dead_letter(expires_at), "n", now);
        assert!(matches!(step("2026-05-04T12:00:01Z"), Step::Send(_)));
        assert!(matches!(step("2026-05-04T12:00:00Z"), Step::Keep(why) if why == EXPIRED));
    }
}
