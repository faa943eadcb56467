//! Moves a waiting job to another time or to another priority.

use std::time::Duration;

use clap::{ArgGroup, Args};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqjobs::{
    Priority, Record, State,
    lifecycle::{key_name, waits_for_key},
};

use super::{beater, environment::refuse_other_record, queue};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
    sentence::{ended, expires_unrun, incomplete, missing_attribute},
    shell::shell,
    time::{self, exact},
    value::{priority, text},
};

#[derive(Debug, Args)]
#[command(override_usage = "sqjobs move [OPTIONS] <ID> --at <INSTANT>\n       sqjobs move [OPTIONS] <ID> --delay <DURATION>\n       \
                            sqjobs move [OPTIONS] <ID> --priority <PRIORITY>")]
#[command(group(ArgGroup::new("time").args(["at", "delay"])))]
#[command(group(ArgGroup::new("change").args(["at", "delay", "priority"]).multiple(true).required(true)))]
pub(crate) struct Move {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// The new time, such as 2026-05-04T12:00:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant)]
    pub(crate) at: Option<Timestamp>,
    /// The new time, counted from now, such as 5m.
    #[arg(long, alias = "in", value_name = "DURATION", value_parser = time::duration)]
    pub(crate) delay: Option<Duration>,
    /// The new priority: the job is sent to the queue of this priority when its wait ends. This option also moves a job that waits for
    /// other jobs or for a key.
    #[arg(long, value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn reschedule(aws: &Aws, wanted: Move) -> Result<bool, Failure> {
    if let Some(priority) = wanted.priority {
        let is_moved = prioritize(aws, &wanted, priority).await?;
        if !is_moved || wanted.at.is_none() && wanted.delay.is_none() {
            return Ok(is_moved);
        }
    }
    let now = aws.clock.now();
    let later = wanted.delay.and_then(|delay| now.checked_add(SignedDuration::try_from(delay).ok()?).ok());
    let Some(at) = wanted.at.or(later) else {
        return Err(Failure::new("the delay is too long; give a time up to the year 9999 with --at"));
    };
    let client = aws.client();
    let waits = client.get(&wanted.id).await?.filter(|record| record.state == State::Scheduled);
    if let Some(record) = waits {
        refuse_other_record(aws, &record)?;
        queue::refuse_missing(aws, &format!("cannot move {}", clean(&wanted.id)), &record.queue).await?;
    }
    let moved = client.reschedule(&wanted.id, at).await?;
    let mut output = Output::new();
    let record = client.get(&wanted.id).await?;
    if wanted.json {
        output.json(&json!({"id": wanted.id, "moved": moved, "run_at": moved.then_some(at.max(now))}))?;
    }
    let message = aws.place.with_options(&moved_to(&wanted.id, moved.then_some(at), record.as_ref(), now));
    match (moved, wanted.json) {
        (true, true) if record.as_ref().and_then(|record| expires_unrun(record, now)).is_none() => {}
        (true, false) => output.line(message)?,
        _ => note!("{message}"),
    }
    if moved {
        beater::report_missing(aws).await;
    }
    Ok(moved)
}

/// Moves a waiting job to the queue of another priority.
async fn prioritize(aws: &Aws, wanted: &Move, priority: Priority) -> Result<bool, Failure> {
    let client = aws.client();
    if let Some(record) = client.get(&wanted.id).await?.filter(|record| record.envelope.is_some()) {
        refuse_other_record(aws, &record)?;
        queue::refuse_missing(aws, &format!("cannot move {}", clean(&wanted.id)), &priority.queue(&record.queue)).await?;
    }
    let is_moved = client.set_priority(&wanted.id, priority).await?;
    let record = client.get(&wanted.id).await?;
    let mut output = Output::new();
    let is_only = wanted.at.is_none() && wanted.delay.is_none();
    if wanted.json && (is_only || !is_moved) {
        let run_at = record.as_ref().filter(|_| is_moved).and_then(|record| record.run_at);
        output.json(&json!({"id": wanted.id, "moved": is_moved, "run_at": run_at}))?;
    }
    match &record {
        Some(_) if is_moved && wanted.json => {}
        Some(record) if is_moved => output.line(format!("{} waits for queue {}", clean(&wanted.id), record.queue))?,
        record => note!("{}", aws.place.with_options(&unprioritized(&wanted.id, record.as_ref()))),
    }
    if is_moved {
        beater::report_missing(aws).await;
    }
    Ok(is_moved)
}

/// Returns the reason why a job does not get another priority, with advice.
fn unprioritized(id: &str, record: Option<&Record>) -> String {
    match record {
        Some(record) if record.state.is_terminal() => {
            let (shown, id) = (clean(id), shell(id));
            format!("cannot move {shown}: it has ended{}. `sqjobs retry {id} ARGS --priority PRIORITY` runs it again", ended(record))
        }
        Some(record) if record.state == State::Blocked => {
            format!("cannot move {}: its record does not hold its message yet; try again when its function has received it", clean(id))
        }
        record => moved_to(id, None, record, Timestamp::UNIX_EPOCH),
    }
}

/// Describes the result of a move: the new time, or the reason for no move, with advice.
fn moved_to(id: &str, at: Option<Timestamp>, record: Option<&Record>, now: Timestamp) -> String {
    let (shown, id) = (clean(id), shell(id));
    let state = record.map(|record| (record.state, record));
    if let Some((at, expires)) = at.zip(record.and_then(|record| expires_unrun(record, now))) {
        let (at, expires) = (exact(at), exact(expires));
        return format!(
            "{shown} is moved to {at}, but expires at {expires}, so it does not run. Move it to an earlier time, or enqueue it again \
             with a later expiry"
        );
    }
    let why = match (at, state) {
        (Some(at), _) if at <= now => {
            return format!("{shown} is due now, because {} is in the past; a beater sends it within a minute", exact(at));
        }
        (Some(at), _) => return format!("{shown} waits until {}", exact(at)),
        (None, None) => format!(
            "it has no record. Either the id is wrong, or the job still waits in its queue, where it cannot be moved. `sqjobs explain \
             {id}` searches further"
        ),
        (None, Some((state, record))) if state.is_terminal() => {
            format!("it has ended{}. `sqjobs retry {id} ARGS --at INSTANT` runs it again", ended(record))
        }
        (None, Some((State::Scheduled, record))) if let Some(missing) = missing_attribute(record) => incomplete(&record.id, missing),
        (None, Some((State::Running, _))) => format!("it is running. `sqjobs cancel {id}` asks it to stop"),
        (None, Some((State::Blocked, record))) if let Some(key) = waits_for_key(record) => format!(
            "it waits for {}, and starts as soon as the key allows it. To run it at another time, cancel it with `sqjobs cancel {id}`, \
             then `sqjobs retry {id} ARGS --at INSTANT`",
            key_name(key)
        ),
        (None, Some((State::Blocked, _))) => format!(
            "it waits for other jobs, and is sent when they have ended. To run it at another time, cancel it with `sqjobs cancel {id}`, then \
             `sqjobs retry {id} ARGS --at INSTANT`, which waits for the same jobs"
        ),
        (None, Some((state, _))) => format!(
            "it is {} and waits in its queue. Only jobs that are delayed by more than 15 minutes can be moved: they wait in the table. To \
             run this job at another time, cancel it with `sqjobs cancel {id}`, and enqueue it with another id",
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
        let blocked = moved_to("a", None, Some(&record("blocked")), now);
        assert!(blocked.contains("it waits for other jobs") && !blocked.contains("its queue"), "{blocked}");
        let mut keyed = record("blocked");
        keyed.blocked_on.insert("service\u{1f}\u{1f}limit".into());
        let keyed = moved_to("a", None, Some(&keyed), now);
        assert!(keyed.contains("it waits for the limit key service") && !keyed.contains("other jobs"), "{keyed}");
        assert_eq!(moved_to("a", Some(later), None, now), "a waits until 2026-05-04T13:00:00Z");
        let past = moved_to("a", "2026-05-04T11:00:00Z".parse().ok(), None, now);
        assert_eq!(past, "a is due now, because 2026-05-04T11:00:00Z is in the past; a beater sends it within a minute");
        let mut expiring = record("scheduled");
        expiring.run_at = Some(later);
        expiring.envelope = Some(json!({"name": "n", "expires_at": "2026-05-04T12:30:00Z"}).to_string());
        let expires = moved_to("a", Some(later), Some(&expiring), now);
        assert!(
            expires.starts_with("a is moved to 2026-05-04T13:00:00Z, but expires at 2026-05-04T12:30:00Z, so it does not run"),
            "{expires}"
        );
        let cases = [
            (None, "cannot move a: it has no record. Either the id is wrong, or"),
            (Some(record("succeeded")), "it has ended (succeeded at 2026-05-04T11:00:00Z). `sqjobs retry a ARGS"),
            (Some(record("running")), "it is running"),
            (Some(record("queued")), "it is queued and waits in its queue"),
            (Some(record("retrying")), "it is retrying and waits in its queue"),
        ];
        for (record, part) in cases {
            let message = moved_to("a", None, record.as_ref(), now);
            assert!(message.contains(part), "{message}");
        }
    }
}
