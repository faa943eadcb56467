//! Cancels, retries and moves jobs.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqjobs::{Cancelled, Letter, Record, State};

use super::{
    dlq::{Pair, Walk},
    enqueue::job,
    lookup::{self, Known},
    queue::{self, DeadLetterQueues},
};
use crate::{
    args::{Cancel, Move, Retry},
    aws::Aws,
    failure::Failure,
    output::{Output, clean, confirmed},
    sentence::{expires_unrun, shell},
    time::exact,
};

pub(super) async fn cancel(aws: &Aws, wanted: Cancel) -> Result<bool, Failure> {
    let (client, mut output) = (aws.client(), Output::new());
    if wanted.ids.len() > 1 && !confirmed(&format!("Cancel {} jobs?", wanted.ids.len()), wanted.yes)? {
        return Ok(false);
    }
    let mut all = true;
    for id in &wanted.ids {
        let record = client.get(id).await?;
        let outcome = match (&record, wanted.unseen) {
            (None, false) => None,
            _ => Some(client.cancel(id).await?),
        };
        all &= outcome.is_some_and(|outcome| outcome != Cancelled::Ended);
        if wanted.json {
            output.json(&json!({"id": id, "outcome": word(outcome), "blocked_until": blocked_until(outcome)}))?;
        } else if outcome.is_some() {
            output.line(aws.place.with_options(&sentence(id, record.as_ref(), outcome)))?;
        } else {
            anstream::eprintln!("{}", aws.place.with_options(&sentence(id, None, None)));
        }
    }
    Ok(all)
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
            format!("{shown} is cancelled; it waited for its next attempt, and does not run again")
        }
        Some(Cancelled::Waiting) => format!("{shown} is cancelled before it ran"),
        Some(Cancelled::Running) => {
            format!("{shown} runs, and was asked to stop; it may still succeed, and `sqjobs watch {id}` shows how it ends")
        }
        Some(Cancelled::Unseen(until)) => format!(
            "{shown} is blocked until {}: there was no record of it, and a job of this id does not run before; `sqjobs retry {id} ARGS \
             --name NAME` runs it after all",
            exact(until)
        ),
        Some(_) => {
            let ended = record.map(ended).unwrap_or_default();
            format!("{shown} had ended before{ended}; nothing was changed")
        }
        None => format!(
            "there is no record of {shown}, and nothing was cancelled: the id is wrong, or the job still waits in its queue, for \
             which a job has no record before a function sees it. To cancel it there: `sqjobs cancel {id} --unseen` blocks the id for 30 days, \
             and a function discards its message when it receives it next, a parked one within five minutes"
        ),
    }
}

fn ended(record: &Record) -> String {
    let at = record.finished_at.map(|at| format!(" at {}", exact(at))).unwrap_or_default();
    format!(" ({}{at})", record.state.as_str())
}

pub(super) async fn retry(aws: &Aws, wanted: Retry) -> Result<bool, Failure> {
    let client = aws.client();
    let Some(record) = client.get(&wanted.id).await? else {
        return Err(no_record(aws, &wanted).await);
    };
    if let Some(queue) = &wanted.options.queue {
        DeadLetterQueues::read(aws).await.refuse(aws, queue).await?;
    }
    let queue = wanted.options.queue.as_deref().map(|queue| aws.queue(queue));
    let queue = queue.or_else(|| Some(record.queue.clone()).filter(|queue| !queue.is_empty()));
    if let Some(queue) = queue.filter(|_| record.state.is_terminal()) {
        queue::refuse_missing(aws, &format!("cannot run {} again", clean(&wanted.id)), &queue).await?;
    }
    if record.state == State::Succeeded {
        let at = record.finished_at.map(|at| format!(" at {}", exact(at))).unwrap_or_default();
        if !confirmed(&format!("{} succeeded{at}. Run it again?", clean(&wanted.id)), wanted.yes)? {
            return Ok(false);
        }
    }
    let name = match wanted.name.as_deref().unwrap_or(&record.name) {
        "" => {
            let why = "its record has no name, since it was cancelled before any function saw it; name the job by --name";
            return Err(Failure::said(format!("cannot run {:?} again: {why}", wanted.id)));
        }
        name => name,
    };
    let mut again = job(name, Some(&wanted.args), &wanted.options)?.id(&wanted.id);
    if wanted.options.queue.is_none() && !record.queue.is_empty() {
        again = again.queue(aws.short(&record.queue));
    }
    let has_letters = record.state.is_terminal() && !record.queue.is_empty();
    let pair = if has_letters { Pair::find(aws, aws.short(&record.queue)).await.map(Some) } else { Ok(None) };
    // The search comes before the retry, so that it finds no dead letter of the new run.
    let mut own = match &pair {
        Ok(Some(pair)) => DeadLetters::find(aws, pair, &wanted.id).await,
        _ => DeadLetters::none(),
    };
    let retried = client.retry(again).await;
    let deleted = if let Ok(true) = retried { own.delete().await } else { 0 };
    let left = own.end().await;
    let retried = retried.map_err(|error| Failure::of_queue(error, aws.short(&record.queue)))?;
    let mut output = Output::new();
    let shown = clean(&wanted.id);
    match (retried, deleted) {
        _ if wanted.json => output.json(&json!({"id": wanted.id, "retried": retried, "dead_letters_deleted": deleted}))?,
        (false, _) => output.line(format!("{shown} has not ended, and was left alone: it is {}", record.state.as_str()))?,
        (true, 0) => output.line(format!("{shown} runs again"))?,
        (true, _) => output.line(format!("{shown} runs again; its dead letter is deleted"))?,
    }
    let why = match pair {
        Err(error) => Some(error.told()),
        Ok(_) => left.filter(|_| record.dlq.is_some()),
    };
    if let Some(why) = why.filter(|_| retried && deleted == 0) {
        let (queue, id) = (shell(aws.short(&record.queue)), shell(&wanted.id));
        let said = format!("its dead letter was not deleted: {}; `sqjobs dlq purge {queue} --id {id}` does it", clean(&why));
        anstream::eprintln!("{}", aws.place.with_options(&said));
    }
    Ok(retried)
}

/// Returns an error that a job without a record is not run again, with advice.
async fn no_record(aws: &Aws, wanted: &Retry) -> Failure {
    let (shown, id) = (clean(&wanted.id), shell(&wanted.id));
    let looked = match lookup::look(aws, &wanted.id, None, None).await {
        Ok(Known { dead_letter: Some(letter), .. }) => {
            let said = lookup::dead(&aws.place.prefix, &letter, &wanted.id, &shell(&wanted.args), aws.clock.now()).join(" ");
            return Failure::said(format!("cannot run {shown} again: there is no record of it, since it never started. {}", clean(&said)));
        }
        Ok(_) => "nor a dead letter in sight".to_owned(),
        Err(error) => format!("and the dead letters cannot be looked at ({})", clean(&error.told())),
    };
    let name = wanted.name.as_deref().map_or("NAME".into(), shell);
    Failure::said(format!(
        "cannot run {shown} again: there is no record of it, {looked}; `sqjobs explain {id}` looks further, and `sqjobs enqueue {name} {} \
         --id {id}` enqueues it",
        shell(&wanted.args)
    ))
}

/// The dead letters of a job that is to be run again.
struct DeadLetters<'a> {
    walk: Option<Walk<'a>>,
    found: Vec<Letter>,
    /// The reason why dead letters may remain.
    left: Option<String>,
}

impl<'a> DeadLetters<'a> {
    fn none() -> Self {
        Self { walk: None, found: Vec::new(), left: None }
    }

    async fn find(aws: &Aws, pair: &'a Pair, id: &str) -> Self {
        let mut walk = Walk::new(aws, pair);
        match walk.of(id, |_| false).await {
            Ok(mut found) => {
                // The others belong to another job, or to a message that was never this job's.
                found.retain(|letter| letter.id == id && letter.kind() != Some("id_in_use"));
                let left = found.is_empty().then(|| format!("it is not among the {} that {} showed", walk.seen(), pair.dlq));
                Self { walk: Some(walk), found, left }
            }
            Err(error) => Self { walk: Some(walk), found: Vec::new(), left: Some(error.told()) },
        }
    }

    /// Deletes the dead letters. Returns the number of deleted ones.
    async fn delete(&mut self) -> u64 {
        let Some(walk) = &mut self.walk else { return 0 };
        let failed = walk.delete(&self.found.iter().collect::<Vec<_>>()).await;
        if failed > 0 {
            self.left = Some("SQS did not delete it".into());
        }
        self.found.len() as u64 - failed
    }

    /// Makes the remaining dead letters visible again. Returns the reason why some remain.
    async fn end(self) -> Option<String> {
        if let Some(walk) = self.walk {
            walk.end().await;
        }
        self.left
    }
}

pub(super) async fn reschedule(aws: &Aws, wanted: Move) -> Result<bool, Failure> {
    let now = aws.clock.now();
    let later = wanted.delay.and_then(|delay| now.checked_add(SignedDuration::try_from(delay).ok()?).ok());
    let Some(at) = wanted.at.or(later) else {
        return Err(Failure::said("the delay is too long; name an instant up to the year 9999 by --at"));
    };
    let client = aws.client();
    let waits = client.get(&wanted.id).await?.filter(|record| record.state == State::Scheduled);
    if let Some(record) = waits {
        queue::refuse_missing(aws, &format!("cannot move {}", clean(&wanted.id)), &record.queue).await?;
    }
    let moved = client.reschedule(&wanted.id, at).await?;
    let mut output = Output::new();
    let record = client.get(&wanted.id).await?;
    if wanted.json {
        output.json(&json!({"id": wanted.id, "moved": moved, "run_at": moved.then_some(at.max(now))}))?;
    }
    let said = aws.place.with_options(&moved_to(&wanted.id, moved.then_some(at), record.as_ref(), now));
    match (moved, wanted.json) {
        (true, true) if record.as_ref().and_then(|record| expires_unrun(record, now)).is_none() => {}
        (true, false) => output.line(said)?,
        _ => anstream::eprintln!("{said}"),
    }
    Ok(moved)
}

/// Describes the result of a move: the new time, or the reason for no move, with advice.
fn moved_to(id: &str, at: Option<Timestamp>, record: Option<&Record>, now: Timestamp) -> String {
    let (shown, id) = (clean(id), shell(id));
    let state = record.map(|record| (record.state, record));
    if let Some((at, expires)) = at.zip(record.and_then(|record| expires_unrun(record, now))) {
        let (at, expires) = (exact(at), exact(expires));
        return format!(
            "{shown} is moved to {at}, and expires at {expires}: it does not run. Move it to an earlier time, or enqueue it anew"
        );
    }
    let why = match (at, state) {
        (Some(at), _) if at <= now => {
            return format!("{shown} is due at once, for {} has passed; a beater sends it within a minute", exact(at));
        }
        (Some(at), _) => return format!("{shown} waits until {}", exact(at)),
        (None, None) => format!(
            "there is no record of it. The id is wrong, or the job still waits in its queue, where a job cannot be moved. `sqjobs explain {id}` looks further"
        ),
        (None, Some((state, record))) if state.is_terminal() => {
            format!("it has ended{}. `sqjobs retry {id} ARGS --at INSTANT` runs it again", ended(record))
        }
        (None, Some((State::Running, _))) => format!("it runs. `sqjobs cancel {id}` asks it to stop"),
        (None, Some((state, _))) => format!(
            "it is {} and waits in its queue. Only a job that waits in the table can be moved: one that waits for more than 15 minutes. To run it at another time, cancel \
             it and enqueue it again with another id: `sqjobs cancel {id}`",
            state.as_str()
        ),
    };
    format!("cannot move {shown}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_says_what_happened_and_what_to_do() {
        let now: Timestamp = "2026-05-04T12:00:00Z".parse().expect("an instant");
        let record = |state: &str| -> Record {
            serde_json::from_value(json!({"id": "a", "name": "n", "queue": "q", "state": state, "finished_at": "2026-05-04T11:00:00Z"}))
                .expect("a record")
        };
        let later = "2026-05-04T13:00:00Z".parse().expect("an instant");
        assert_eq!(moved_to("a", Some(later), None, now), "a waits until 2026-05-04T13:00:00Z");
        let past = moved_to("a", "2026-05-04T11:00:00Z".parse().ok(), None, now);
        assert_eq!(past, "a is due at once, for 2026-05-04T11:00:00Z has passed; a beater sends it within a minute");
        let mut expiring = record("scheduled");
        expiring.run_at = Some(later);
        expiring.envelope = Some(json!({"name": "n", "expires_at": "2026-05-04T12:30:00Z"}).to_string());
        let expires = moved_to("a", Some(later), Some(&expiring), now);
        assert!(
            expires.starts_with("a is moved to 2026-05-04T13:00:00Z, and expires at 2026-05-04T12:30:00Z: it does not run"),
            "{expires}"
        );
        let cases = [
            (None, "cannot move a: there is no record of it. The id is wrong, or"),
            (Some(record("succeeded")), "it has ended (succeeded at 2026-05-04T11:00:00Z). `sqjobs retry a ARGS"),
            (Some(record("running")), "it runs"),
            (Some(record("queued")), "it is queued and waits in its queue"),
            (Some(record("retrying")), "it is retrying and waits in its queue"),
        ];
        for (record, part) in cases {
            let said = moved_to("a", None, record.as_ref(), now);
            assert!(said.contains(part), "{said}");
        }
    }

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
            (Some(&new), Some(Cancelled::Waiting), "cancelled", "a is cancelled before it ran"),
            (Some(&tried), Some(Cancelled::Waiting), "cancelled", "it waited for its next attempt"),
            (Some(&tried), Some(Cancelled::Running), "asked_to_stop", "it may still succeed, and `sqjobs watch a` shows how it ends"),
            (None, Some(Cancelled::Unseen(until)), "blocked", "a is blocked until 2026-06-04T12:00:00Z"),
            (Some(&done), Some(Cancelled::Ended), "ended", "had ended before (succeeded at 2026-05-04T12:00:00Z)"),
            (None, None, "unknown", "`sqjobs cancel a --unseen`"),
        ];
        for (record, outcome, expected, part) in cases {
            assert_eq!(word(outcome), expected);
            let said = sentence("a", record, outcome);
            assert!(said.contains(part), "{said}");
        }
        assert_eq!([Some(Cancelled::Unseen(until)), Some(Cancelled::Running)].map(blocked_until), [Some(until), None]);
    }
}
