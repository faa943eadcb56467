//! The history of a job in plain sentences: the answer to "what happened to job X?".

use jiff::{SignedDuration, Timestamp};
use sqjobs::{
    Dlq, Envelope, Otherwise, Past, Record, State, When,
    lifecycle::{SKEW, is_awaited, key_name, waits_for_key},
    queue::is_fifo,
};

use crate::{
    output::{UNKNOWN_BUDGET, attempts},
    shell::{creation, shell},
    time::{brief, exact, from_now},
};

/// Said about an id for which other jobs wait, and which has no record of its own.
const UNRECEIVED: &str = "Other jobs wait for it, but no record shows a message with this id. Check that the id is right. A job that its policy \
                          records only on trouble leaves no record when it succeeds: enqueue such a job as recorded. If no function runs the \
                          job, for example because it is an approval, end it with `sqjobs complete`.";
/// The delay after which a job is called overdue.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// A part of the system that a job needs and that does not exist.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Missing {
    Nothing,
    /// The job's queue.
    Queue,
    /// A beater, which would send the job.
    Beater,
    /// The dead letter of a failed job.
    DeadLetter,
    /// The time to run the dead letter of a failed job: it has expired.
    Time,
    /// A retry that keeps the connections of a rejected job to other jobs.
    Retry,
}

/// Describes a job from its enqueue to its next step. `prefix` precedes the names of queues.
pub(crate) fn explain(record: &Record, prefix: &str, missing: Missing, now: Timestamp) -> Vec<String> {
    let story = Story { record, prefix, missing, now };
    let mut sentences = vec![story.enqueued()];
    sentences.extend(story.cause());
    if is_awaited(record) {
        return sentences;
    }
    sentences.push(story.attempts());
    sentences.extend(record.history.iter().map(past));
    sentences.push(story.now());
    sentences.extend(story.next());
    sentences
}

/// Returns the workflow whose job the other jobs wait for.
fn workflow_of(record: &Record) -> Option<&str> {
    let (workflow, _) = record.id.rsplit_once('/')?;
    record.dependents.iter().any(|dependent| is_in_workflow(dependent, &record.id)).then_some(workflow)
}

/// Returns `true` if `id` is that of a job in the same workflow as the job, or the node, `other`.
pub(crate) fn is_in_workflow(other: &str, id: &str) -> bool {
    let rest = id.rsplit_once('/').and_then(|(workflow, _)| other.strip_prefix(workflow));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '\u{1f}']))
}

struct Story<'a> {
    record: &'a Record,
    prefix: &'a str,
    missing: Missing,
    now: Timestamp,
}

impl Story<'_> {
    fn at(&self, at: Timestamp) -> String {
        format!("{} ({})", exact(at), from_now(at, self.now))
    }

    fn enqueued(&self) -> String {
        let Record { name, queue, .. } = self.record;
        match (self.record.enqueued_at, name.is_empty()) {
            (_, true) if is_awaited(self.record) => match workflow_of(self.record) {
                Some(workflow) => format!("It is a job of workflow {workflow:?}. No function has started it yet."),
                None => UNRECEIVED.into(),
            },
            (_, true) if self.record.state == State::Failed => {
                "A message with this id was rejected. The name of its job cannot be read.".into()
            }
            (_, true) if self.record.state == State::Succeeded => "It was completed by a client, so no function runs it.".into(),
            (_, true) => "It was cancelled before any function received a message with this id.".into(),
            (Some(at), _) => format!("It is a {name:?} job, enqueued on queue {queue:?} at {}.", self.at(at)),
            (None, _) => format!("It is a {name:?} job of queue {queue:?}; the time of its enqueue is unknown."),
        }
    }

    fn cause(&self) -> Option<String> {
        let parent = self.record.parent_id.as_ref()?;
        let root = self.record.root_id.as_ref().filter(|root| *root != parent);
        let root = root.map(|root| format!(", in the tree that began with {root:?}")).unwrap_or_default();
        Some(format!("The job {parent:?} enqueued it{root}."))
    }

    fn attempts(&self) -> String {
        let Record { generation, snoozes, .. } = self.record;
        if *generation == 0 {
            return "No attempt has started.".into();
        }
        let uncounted = match generation.saturating_sub(u64::from(self.record.attempts)) {
            0 => String::new(),
            free => {
                let why = "because of a snooze, an interruption, or a later manual retry or redrive";
                format!(" {} not counted, {why}.", if free == 1 { "1 start is".into() } else { format!("{free} starts are") })
            }
        };
        let snoozed = if *snoozes == 0 { String::new() } else { format!(" The job snoozed {}.", times((*snoozes).into())) };
        let unknown =
            if self.record.max_attempts == 0 { format!(" The maximum number of attempts is {UNKNOWN_BUDGET}.") } else { String::new() };
        let used = attempts(self.record, " of ");
        format!("It was started {}, and has used {used} attempts.{uncounted}{snoozed}{unknown}", times(*generation))
    }

    fn now(&self) -> String {
        let Record { state, run_at, started_at, finished_at, error, dlq, .. } = self.record;
        let finished = finished_at.map(|at| format!(" at {}", self.at(at))).unwrap_or_default();
        let due = run_at.map(|at| format!(" until {}", self.at(at))).unwrap_or_default();
        match state {
            State::Scheduled if self.missing == Missing::Queue => format!("It waits in the due index{due}. {}", self.missing_queue()),
            State::Queued | State::Retrying if self.missing == Missing::Queue => {
                format!("According to its record, it waits in its queue{due}. {}", self.missing_queue())
            }
            State::Scheduled if let Some(missing) = missing_attribute(self.record) => {
                format!("It waits for its run time{due}. {}", incomplete(&self.record.id, missing))
            }
            State::Scheduled => match expires_unrun(self.record, self.now) {
                Some(at) => format!(
                    "It waits in the due index{due}, but expires at {}, so it does not run. To run it, move it to an earlier time: \
                     `sqjobs move {} --at INSTANT`.",
                    self.at(at),
                    shell(&self.record.id)
                ),
                None if self.missing == Missing::Beater => format!("It waits in the due index{due}."),
                None => format!("It waits in the due index{due}; a beater sends it in time."),
            },
            State::Blocked => {
                let until = self.record.dependencies.as_ref().and_then(|dependencies| dependencies.until);
                let until = until.map(|at| format!(". If it still waits at {}, it fails", self.at(at))).unwrap_or_default();
                let what = waits_for_key(self.record).map_or_else(|| "other jobs".to_owned(), |key| key_name(key));
                format!("It waits for {what}{until}.")
            }
            State::Queued => format!("According to its record, it waits in its queue{due}."),
            State::Running => {
                let since = started_at.map(|at| format!(" since {}", self.at(at))).unwrap_or_default();
                let asked = if self.record.cancel_requested { ", and has been asked to stop" } else { "" };
                format!("It has been running{since}{asked}.")
            }
            State::Retrying => {
                let next = run_at.map_or_else(|| "has not started".into(), |at| format!("is due at {}", self.at(at)));
                format!("Its last attempt failed, and the next one {next}.")
            }
            State::Succeeded => {
                let took = finished_at
                    .zip(*started_at)
                    .map(|(end, start)| format!(", {} after it was started", brief(end.duration_since(start).unsigned_abs())));
                format!("It succeeded{finished}{}.", took.unwrap_or_default())
            }
            State::Failed => {
                let last = self.record.history.last();
                let why = match error {
                    Some(error) if last.is_some_and(|last| (&last.kind, &last.message) == (&error.kind, &error.message)) => {
                        ", with the error of its last attempt".to_owned()
                    }
                    Some(error) => format!(" with {}: {}", error.kind, error.message.trim_end()),
                    None => String::new(),
                };
                let copy = match dlq {
                    Some(Dlq::Sent) if self.missing == Missing::DeadLetter => {
                        " A copy of its message was sent to the dead-letter queue, but is no longer there: it was deleted, or sent back to the \
                         queue."
                    }
                    Some(Dlq::Sent) => " A copy of its message was sent to the dead-letter queue.",
                    _ => " The copy of its message has not been sent to the dead-letter queue yet.",
                };
                format!("It failed for good{finished}{why}.{copy}")
            }
            State::Cancelled => {
                let why = error.as_ref().map(|error| error.message.trim_end()).filter(|why| !why.is_empty());
                format!("It was cancelled{finished}{}.", why.map(|why| format!(": {why}")).unwrap_or_default())
            }
            State::Expired => format!("It expired{finished}, before it could run."),
            other => format!("It is {}.", other.as_str()),
        }
    }

    /// Reports that the queue does not exist, with advice.
    fn missing_queue(&self) -> String {
        let Record { id, queue, state, .. } = self.record;
        let (create, id) = (creation(queue.strip_prefix(self.prefix).unwrap_or(queue)), shell(id));
        let (so, next) = match state {
            State::Scheduled => ("no beater can send the job", "a beater sends the job".to_owned()),
            _ => ("its message is lost", resend(self.record, self.prefix)),
        };
        format!(
            "But its queue {queue:?} does not exist, so {so}. Create the queue with {create}. After that, {next}. To \
             cancel the job: `sqjobs cancel {id}`."
        )
    }

    /// Returns the option that a retry of a job without a name needs.
    fn name_option(&self) -> &'static str {
        if self.record.name.is_empty() { " --name NAME" } else { "" }
    }

    /// Says how to run a failed job again.
    fn retry_advice(&self) -> String {
        let Record { id, queue, error, .. } = self.record;
        let queue = Some(&**queue).filter(|queue| !queue.is_empty()).unwrap_or("QUEUE");
        let (queue, id, name) = (shell(queue.strip_prefix(self.prefix).unwrap_or(queue)), shell(id), self.name_option());
        let kind = error.as_ref().map(|error| &*error.kind);
        if self.missing == Missing::DeadLetter {
            let remedy = match kind {
                Some("rejected") => "run the job again with valid arguments",
                Some("parked" | "contract") => "deploy a function that has the job, then run the job again",
                _ => "correct the cause, then run the job again",
            };
            return format!(
                "If the message was sent back, the job runs when the function receives the message. Otherwise, {remedy}: `sqjobs retry {id} \
                 ARGS{name}`."
            );
        }
        if self.missing == Missing::Queue {
            return format!(
                "Its queue {:?} does not exist, so its dead letter cannot be sent back. Create the queue with {}, then run the job: \
                 `sqjobs retry {id} ARGS{name}`.",
                self.record.queue,
                creation(self.record.queue.strip_prefix(self.prefix).unwrap_or(&self.record.queue))
            );
        }
        if self.missing == Missing::Time {
            return format!(
                "The job has expired, so a redrive would not run it. `sqjobs dlq show {queue} {id}` shows its arguments. To run it: `sqjobs \
                 retry {id} ARGS{name}`."
            );
        }
        if self.missing == Missing::Retry {
            return format!(
                "Its message connects it to other jobs. To see the message: `sqjobs dlq show {queue} {id}`. Correct the message, and send it \
                 again with the same id, for example with `sqjobs enqueue --from FILE`: then the job runs. Do not use `sqjobs retry`, which \
                 would run the job without the other jobs. Its dead letter stays until you delete it: `sqjobs dlq purge {queue} --id {id}`."
            );
        }
        match kind {
            // A worker would reject the same arguments again.
            Some("rejected") => format!(
                "To see its message: `sqjobs dlq show {queue} {id}`. Run it again with valid arguments: `sqjobs retry {id} ARGS{name}`. Its \
                 dead letter stays until you delete it: `sqjobs dlq purge {queue} --id {id}`."
            ),
            Some("parked" | "contract") => {
                format!("Deploy a function that has the job, then run the job again: `sqjobs dlq redrive {queue} --id {id}`.")
            }
            _ => format!(
                "Correct the cause, then run it again: `sqjobs dlq redrive {queue} --id {id}`. Or run it with other arguments: `sqjobs \
                 retry {id} ARGS{name}`, which keeps its dead letter."
            ),
        }
    }

    /// Describes the next step, and the options of an operator.
    fn next(&self) -> Option<String> {
        let Record { id, state, .. } = self.record;
        let overdue = is_overdue(self.record, self.now);
        match state {
            State::Scheduled | State::Queued | State::Retrying if self.missing == Missing::Queue => None,
            State::Running if self.missing == Missing::Queue && has_died(self.record, self.now) => {
                Some(format!("Its lease has expired, so the attempt has died. {}", self.missing_queue()))
            }
            State::Running => {
                let until = Timestamp::from_millisecond(self.record.lease_until?).ok()?;
                let free = free_from(until);
                Some(if free < self.now {
                    format!(
                        "Its lease expired at {}, so the attempt has died. If its message is still in the queue, the next delivery \
                         continues the job. SQS delivers the message at the latest when the visibility timeout of the queue ends.",
                        self.at(until)
                    )
                } else {
                    format!(
                        "Its lease ends at {}, unless the attempt renews it. If its process has died, the next delivery of its message \
                         continues the job after {}. SQS delivers the message at the latest when the visibility timeout of the queue ends.",
                        self.at(until),
                        exact(free)
                    )
                })
            }
            State::Scheduled if overdue && missing_attribute(self.record).is_none() => Some("It is overdue: check that the beater runs each minute, and read its log.".into()),
            State::Queued | State::Retrying if overdue => Some(
                "It is overdue: check that its function runs, that the event source mapping of its queue is enabled, and how many messages \
                 wait there."
                    .into(),
            ),
            State::Failed => Some(self.retry_advice()),
            State::Cancelled | State::Expired => {
                let name = self.name_option();
                let until = self.record.purge_at.and_then(|at| Timestamp::from_second(at).ok());
                let until = until.map(|at| format!("Until {}, functions discard messages with this id. ", self.at(at))).unwrap_or_default();
                Some(format!("{until}To run the job: `sqjobs retry {} ARGS{name}`.", shell(id)))
            }
            _ => None,
        }
    }
}

/// Returns the missing attribute without which no beater can find or send a waiting job.
pub(crate) fn missing_attribute(record: &Record) -> Option<&'static str> {
    match record.state {
        State::Scheduled if record.envelope.is_none() => Some("envelope"),
        State::Scheduled if record.due.is_none() => Some("due"),
        _ => None,
    }
}

/// Describes the effect of a missing attribute, with the remedy.
pub(crate) fn incomplete(id: &str, attribute: &str) -> String {
    let id = shell(id);
    if attribute == "envelope" {
        return format!(
            "Its record has no attribute `envelope`, which holds the message, so no beater can send the job. Cancel it with `sqjobs cancel \
             {id}`, then run it with its arguments: `sqjobs retry {id} ARGS`."
        );
    }
    format!(
        "Its record has no attribute `{attribute}`, so no beater finds the job in the due index. A beater corrects the record within about \
         a day. To correct it now: `sqjobs move {id} --at INSTANT`."
    )
}

fn free_from(lease_until: Timestamp) -> Timestamp {
    lease_until + SignedDuration::try_from(SKEW).unwrap_or_default()
}

/// Returns `true` if the attempt of a running job has died, because its lease has expired.
pub(crate) fn has_died(record: &Record, now: Timestamp) -> bool {
    let until = record.lease_until.and_then(|at| Timestamp::from_millisecond(at).ok());
    record.state == State::Running && until.is_some_and(|until| free_from(until) < now)
}

/// Returns `true` if the job should have started long ago.
pub(crate) fn is_overdue(record: &Record, now: Timestamp) -> bool {
    // Its run time may have been in the past when it was enqueued.
    record.run_at.max(record.enqueued_at).is_some_and(|since| now.duration_since(since) > PATIENCE)
}

/// Returns the next step of a job whose message is gone, as a clause.
pub(crate) fn resend(record: &Record, prefix: &str) -> String {
    if record.envelope.is_some() {
        return "a beater sends the job again within about a day".into();
    }
    let to = record.queue.strip_prefix(prefix).unwrap_or(&record.queue);
    let to = if to == record.name { String::new() } else { format!(" --queue {}", shell(to)) };
    let [name, id] = [&record.name, &record.id].map(|text| shell(text));
    let fifo = match &record.message_group {
        _ if !is_fifo(&record.queue) => String::new(),
        group => {
            let group = group.as_ref().map_or_else(|| "GROUP".to_owned(), |group| shell(group));
            format!(" --group {group} --dedup NEW")
        }
    };
    let dependencies = record.dependencies.as_deref().filter(|dependencies| !dependencies.met);
    let after = dependencies.map(|own| after_options(&own.ids, own.when, own.otherwise)).unwrap_or_default();
    format!("enqueue the job again with the same arguments: `sqjobs enqueue {name} ARGS --id {id}{to}{fifo}{after}`")
}

/// Returns the options of a command that enqueues a job which waits for others.
pub(crate) fn after_options(ids: &[String], when: When, otherwise: Otherwise) -> String {
    let mut options = ids.iter().fold(String::new(), |options, id| options + " --after " + &shell(id));
    match when {
        When::Ended => options += " --when ended",
        When::Failed => options += " --when failed",
        _ => {}
    }
    if otherwise == Otherwise::Cancel {
        options += " --otherwise cancel";
    }
    options
}

/// Returns the expiry of a job that waits until after its expiry, and so never runs.
pub(crate) fn expires_unrun(record: &Record, now: Timestamp) -> Option<Timestamp> {
    let expires_at = Envelope::parse(record.envelope.as_ref()?).ok()?.expires_at?;
    let starts_at = record.run_at.map_or(now, |at| at.max(now));
    (expires_at <= starts_at).then_some(expires_at)
}

/// Returns the state and end of a record in parentheses.
pub(crate) fn ended(record: &Record) -> String {
    let at = record.finished_at.map(|at| format!(" at {}", exact(at))).unwrap_or_default();
    format!(" ({}{at})", record.state.as_str())
}

/// Describes an attempt that did not succeed, or an ending after which the job was run again.
fn past(past: &Past) -> String {
    let Past { generation, kind, message, at, started_at, .. } = past;
    if kind == "killed" {
        let began = started_at.map(|at| format!(" ({})", exact(at))).unwrap_or_default();
        let found = at.map(|at| format!(" This was detected at {}.", exact(at))).unwrap_or_default();
        return format!(
            "Start {generation}{began} was killed: its process ended before it recorded an outcome, or its lease expired.{found}"
        );
    }
    let when = at.map(|at| format!(" at {}", exact(at))).unwrap_or_default();
    let ending =
        [("succeeded", "succeeded"), ("cancelled", "was cancelled"), ("expired", "expired")].into_iter().find(|(word, _)| word == kind);
    if let Some((_, ended)) = ending {
        let why = if message.is_empty() { String::new() } else { format!(" ({})", message.trim_end()) };
        return format!("It {ended}{when}{why}, and was then enqueued again.");
    }
    let took = at.zip(*started_at).map(|(at, started)| format!(" after {}", brief(at.duration_since(started).unsigned_abs())));
    format!("Start {generation} ended{when}{} with {kind}: {}", took.unwrap_or_default(), message.trim_end())
}

fn times(number: u64) -> String {
    match number {
        1 => "once".into(),
        2 => "twice".into(),
        number => format!("{number} times"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn explained(record: Value) -> String {
        let record: Record = serde_json::from_value(record).expect("a record");
        explain(&record, "test-", Missing::Nothing, "2026-05-04T12:00:00Z".parse().expect("an instant")).join("\n")
    }

    #[test]
    fn a_job_that_failed_tells_its_attempts_its_reason_and_the_remedy() {
        let past = |generation, minute| {
            json!({"generation": generation, "kind": "error", "message": "no route to host", "started_at": format!("2026-05-04T11:{minute}:00Z"),
                   "at": format!("2026-05-04T11:{minute}:30Z")})
        };
        let text = explained(json!({
            "id": "invoice-7", "name": "invoice", "queue": "test-invoice", "state": "failed", "attempts": 2, "max_attempts": 2, "generation": 3,
            "enqueued_at": "2026-05-04T11:00:00Z", "finished_at": "2026-05-04T11:40:30Z", "parent_id": "order-1", "root_id": "cart-9",
            "error": {"kind": "error", "message": "no route to host"}, "history": [past(1, 20), past(3, 40)], "dlq": "sent", "snoozes": 1,
        }));
        assert_eq!(
            text,
            "It is a \"invoice\" job, enqueued on queue \"test-invoice\" at 2026-05-04T11:00:00Z (1h 0m ago).\n\
             The job \"order-1\" enqueued it, in the tree that began with \"cart-9\".\n\
             It was started 3 times, and has used 2 of 2 attempts. 1 start is not counted, because of a snooze, an interruption, or a \
             later manual retry or redrive. The job snoozed once.\n\
             Start 1 ended at 2026-05-04T11:20:30Z after 30s with error: no route to host\n\
             Start 3 ended at 2026-05-04T11:40:30Z after 30s with error: no route to host\n\
             It failed for good at 2026-05-04T11:40:30Z (19m 30s ago), with the error of its last attempt. A copy of its message was sent \
             to the dead-letter queue.\n\
             Correct the cause, then run it again: `sqjobs dlq redrive invoice --id invoice-7`. Or run it with other arguments: `sqjobs \
             retry invoice-7 ARGS`, which keeps its dead letter."
        );
    }

    #[test]
    fn a_job_whose_process_died_is_told_from_one_that_runs() {
        let running = |lease_until: &str| {
            let until: Timestamp = lease_until.parse().expect("an instant");
            explained(json!({
                "id": "a", "name": "n", "queue": "q", "state": "running", "attempts": 1, "max_attempts": 5, "generation": 1,
                "started_at": "2026-05-04T11:59:00Z", "lease_until": until.as_millisecond(),
            }))
        };
        let lives = running("2026-05-04T12:00:20Z");
        assert!(
            lives.contains("It has been running since") && lives.contains("Its lease ends at 2026-05-04T12:00:20Z (in 20s)"),
            "{lives}"
        );
        assert!(lives.contains("continues the job after 2026-05-04T12:00:25Z"), "{lives}");
        let died = running("2026-05-04T11:59:30Z");
        assert!(died.contains("the attempt has died"), "{died}");
    }

    #[test]
    fn a_killed_attempt_says_when_it_began_and_when_its_death_was_found() {
        let killed = |started_at: Value| {
            let past = json!({"generation": 1, "kind": "killed", "message": "…", "started_at": started_at, "at": "2026-05-04T11:58:00Z"});
            explained(json!({"id": "a", "name": "n", "queue": "q", "state": "running", "attempts": 2, "generation": 2, "history": [past]}))
        };
        let text = killed("2026-05-04T11:55:00Z".into());
        let sentence = text.lines().find(|line| line.starts_with("Start 1")).expect("its attempt");
        assert_eq!(
            sentence,
            "Start 1 (2026-05-04T11:55:00Z) was killed: its process ended before it recorded an outcome, or its lease expired. This was \
             detected at 2026-05-04T11:58:00Z."
        );
        assert!(killed(Value::Null).contains("Start 1 was killed: "));
    }

    #[test]
    fn what_waits_says_until_when_and_what_is_late_what_to_look_at() {
        let waiting = |state: &str, run_at: &str| {
            explained(json!({
                "id": "a", "name": "n", "queue": "q", "state": state, "attempts": 0, "max_attempts": 5, "run_at": run_at, "due": "due#1",
                "envelope": r#"{"name": "n"}"#,
            }))
        };
        let waits = waiting("scheduled", "2026-05-05T12:00:00Z");
        assert!(waits.contains("No attempt has started.") && waits.contains("until 2026-05-05T12:00:00Z (in 1d 0h); a beater"), "{waits}");
        let expiring = explained(json!({
            "id": "a", "name": "n", "queue": "q", "state": "scheduled", "attempts": 0, "run_at": "2026-05-05T12:00:00Z", "due": "due#1",
            "envelope": json!({"name": "n", "expires_at": "2026-05-05T11:00:00Z"}).to_string(),
        }));
        assert!(expiring.contains("but expires at 2026-05-05T11:00:00Z (in 23h 0m), so it does not run."), "{expiring}");
        assert!(expiring.contains("`sqjobs move a --at INSTANT`") && !expiring.contains("in time"), "{expiring}");
        assert!(waiting("scheduled", "2026-05-04T11:00:00Z").contains("check that the beater runs"));
        assert!(waiting("retrying", "2026-05-04T11:00:00Z").contains("event source mapping"));
        assert!(!waiting("retrying", "2026-05-04T11:58:00Z").contains("overdue"), "it may take a moment");
        let late = |enqueued_at: &str| {
            explained(json!({
                "id": "a", "name": "n", "queue": "q", "state": "queued", "attempts": 0, "max_attempts": 5, "enqueued_at": enqueued_at,
                "run_at": "2020-05-04T11:00:00Z",
            }))
        };
        assert!(late("2026-05-04T11:00:00Z").contains("overdue"));
        assert!(!late("2026-05-04T11:59:59Z").contains("overdue"), "it was just enqueued");
    }

    #[test]
    fn a_job_whose_queue_is_gone_is_told_so_and_nothing_else_of_its_message() {
        let gone = |own: Value| {
            let mut record = json!({"id": "a", "name": "n", "queue": "test-q", "attempts": 0, "run_at": "2026-05-04T11:00:00Z"});
            record.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
            let record = serde_json::from_value(record).expect("a record");
            explain(&record, "test-", Missing::Queue, "2026-05-04T12:00:00Z".parse().expect("an instant")).join("\n")
        };
        let remedy = |so: &str, next: &str| {
            format!(
                "But its queue \"test-q\" does not exist, so {so}. Create the queue with `sqjobs queue create q`. After that, {next}. To \
                 cancel the job: `sqjobs cancel a`."
            )
        };
        let filed = gone(json!({"state": "scheduled"}));
        assert!(filed.contains(&remedy("no beater can send the job", "a beater sends the job")), "{filed}");
        assert!(!filed.contains("a beater sends it") && !filed.contains("overdue"), "{filed}");
        let again = "enqueue the job again with the same arguments: `sqjobs enqueue n ARGS --id a --queue q`";
        let waits = gone(json!({"state": "queued"}));
        assert!(waits.contains(&remedy("its message is lost", again)) && !waits.contains("overdue"), "{waits}");
        let died = gone(json!({"state": "running", "generation": 1, "lease_until": 1_700_000_000_000_u64}));
        assert!(died.contains(&format!("the attempt has died. {}", remedy("its message is lost", again))), "{died}");
        let held = gone(json!({"state": "retrying", "envelope": "{}"}));
        assert!(held.contains(&remedy("its message is lost", "a beater sends the job again within about a day")), "{held}");
    }

    #[test]
    fn what_was_called_off_unseen_has_no_name() {
        let purge_at = "2026-06-03T11:00:00Z".parse::<Timestamp>().expect("an instant").as_second();
        let text = explained(json!({
            "id": "a", "name": "", "queue": "", "state": "cancelled", "finished_at": "2026-05-04T11:00:00Z", "purge_at": purge_at,
        }));
        assert!(
            text.starts_with("It was cancelled before any function received a message with this id.\n")
                && text.contains(
                    "Until 2026-06-03T11:00:00Z (in 29d 23h), functions discard messages with this id. To run the job: `sqjobs retry a \
                     ARGS --name NAME`"
                ),
            "{text}"
        );
    }

    #[test]
    fn a_cancelled_job_that_is_enqueued_again_has_no_budget_yet() {
        let past = json!({"generation": 1, "kind": "cancelled", "message": "", "at": "2026-05-04T11:00:00Z"});
        let text = explained(json!({
            "id": "a", "name": "n", "queue": "q", "state": "queued", "attempts": 0, "max_attempts": 0, "generation": 1, "history": [past],
        }));
        assert!(text.contains("has used 0 attempts. 1 start is not counted, because of a snooze,"), "{text}");
        assert!(text.contains(" The maximum number of attempts is unknown until the function starts the job.\n"), "{text}");
        assert!(text.contains("It was cancelled at 2026-05-04T11:00:00Z, and was then enqueued again.\n"), "{text}");
    }

    #[test]
    fn what_is_to_be_copied_into_a_shell_says_nothing_else_there() {
        assert_eq!(["invoice-7", "", "a b", "$(rm x)", "it's"].map(shell), ["invoice-7", "''", "'a b'", "'$(rm x)'", r"'it'\''s'"]);
    }
}
