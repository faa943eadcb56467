//! Rules about jobs and schedules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sqjobs::{
    Record, Scheduled, State,
    lifecycle::{SKEW, starts_at},
};

use super::Findings;
use crate::{
    command::{
        doctor::facts::{Blocked, System},
        lookup::PARKED,
        schedule::suggestion,
    },
    sentence::{incomplete, missing_attribute},
    shell::{creation, shell},
    time::{brief, from_now},
};

/// Delay after which a job or a fire is overdue.
const LATE: SignedDuration = SignedDuration::from_mins(5);
/// Time after which a blocked job is reported.
const BLOCKED: SignedDuration = SignedDuration::from_hours(24);
/// Time after the end of a lease by which its message or a beater should have continued the job.
const LOST: SignedDuration = SignedDuration::from_hours(2);

impl Findings<'_> {
    fn due(&mut self, system: &System) {
        let now = system.now;
        let (lost, kept): (Vec<_>, Vec<_>) = system.due.iter().partition(|record| system.missing_queues.contains(&record.queue));
        let overdue: Vec<_> = kept.into_iter().filter(|record| record.run_at.is_some_and(|at| now.duration_since(at) > LATE)).collect();
        if let [first, ..] = overdue[..] {
            let since = first.run_at.map(|at| from_now(at, now)).unwrap_or_default();
            let what = match overdue.len() {
                1 => format!("1 job in the due index is overdue: {}, due {since}", first.id),
                count => format!("{count} jobs in the due index are overdue, such as {}, due {since}", first.id),
            };
            let why = "a beater should send each job within a minute after its due time";
            self.add("due_overdue", "due index", what, why, "read the beater's log, and check that EventBridge invokes it each minute");
        }
        let mut by_queue: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in lost {
            by_queue.entry(&*record.queue).or_default().push(&*record.id);
        }
        for (queue, ids) in by_queue {
            let jobs = match ids.len() {
                1 => format!("1 job in the due index waits to be sent to it: {}", ids[0]),
                count => format!("{count} jobs in the due index wait to be sent to it, such as {}", ids[0]),
            };
            let what = format!("this queue does not exist, but {jobs}");
            let remedy = format!(
                "create the queue with {}, and deploy its function. Or cancel the jobs: `sqjobs list --due` \
                 shows them, and `sqjobs cancel {}` cancels job {}",
                creation(queue.strip_prefix(&*system.place.prefix).unwrap_or(queue)),
                shell(ids[0]),
                ids[0]
            );
            self.add("due_queue_missing", &format!("queue {queue}"), what, "no beater can send them, so they never run", remedy);
        }
    }

    fn blocked(&mut self, system: &System) {
        let now = system.now;
        let (circular, open): (Vec<_>, Vec<_>) = {
            let circular = circular(&system.blocked);
            system.blocked.iter().partition(|blocked| circular.contains(&*blocked.job.id))
        };
        if let [first, ..] = circular[..] {
            let id = &first.job.id;
            let what = match circular.len() {
                1 => format!("1 blocked job waits for itself: {id}"),
                count => format!("{count} blocked jobs wait for each other in a circle, or for such jobs; for example, {id}"),
            };
            let remedy = format!("`sqjobs explain {}` shows which job closes the circle, and how to run it after another job", shell(id));
            self.add("blocked_cycle", "due index", what, "none of them runs, and each fails when its wait ends", remedy);
        }
        let (held, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|blocked| cause(blocked).is_some());
        if let [first, ..] = held[..]
            && let Some(ended) = cause(first)
        {
            let (held_id, id, state) = (&first.job.id, &ended.id, ended.state.as_str());
            let what = match held.len() {
                1 => format!("1 blocked job is held: {held_id} waits for {id}, which is {state}"),
                count => format!("{count} blocked jobs are held; for example, {held_id} waits for {id}, which is {state}"),
            };
            let why = "a held job runs only after a retry of the other job succeeds; if its wait ends first, it fails";
            let remedy = format!(
                "`sqjobs explain {}` shows how to run {id} again. Or cancel the held job: `sqjobs cancel {}`. `sqjobs list --state blocked` \
                 shows all blocked jobs",
                shell(id),
                shell(held_id)
            );
            self.add("blocked_held", "due index", what, why, remedy);
        }
        let long: Vec<_> = others
            .into_iter()
            .filter(|Blocked { job, .. }| job.enqueued_at.max(starts_at(job)).is_some_and(|since| now.duration_since(since) > BLOCKED))
            .collect();
        if let [first, ..] = long[..] {
            let ids: Vec<_> = first.unmet.iter().map(|(id, _)| id.as_str()).collect();
            let (id, ids) = (&first.job.id, ids.join(", "));
            let what = match long.len() {
                1 => format!("1 job is blocked for more than a day: {id} waits for {ids}"),
                count => format!("{count} jobs are blocked for more than a day; for example, {id} waits for {ids}"),
            };
            let why = "an id may be wrong, or a job may be recorded only on trouble, so that no record shows its success";
            self.add("blocked_long", "due index", what, why, format!("`sqjobs explain {}` names what the job waits for", shell(id)));
        }
    }

    pub(super) fn work(&mut self, system: &System) {
        let now = system.now;
        self.due(system);
        self.blocked(system);
        for error in &system.unreadable {
            let why = "functions and beaters neither run nor change this job, and its messages become dead letters";
            self.add(
                "record_unreadable",
                "records",
                error.clone(),
                why,
                "correct the item in the table, or delete it and enqueue the job again",
            );
        }
        for (record, missing) in system.incomplete.iter().filter_map(|record| Some((record, missing_attribute(record)?))) {
            let what = format!("job {} waits for its run time, but its record has no attribute `{missing}`", record.id);
            self.add("record_incomplete", "records", what, "no beater sends the job in time", incomplete(&record.id, missing));
        }
        self.schedules(system);
        let lapsed = |record: &&Record| record.state == State::Running && lapsed_at(record).is_some_and(|at| now.duration_since(at) > LOST);
        if let Some(first) = system.running.iter().find(lapsed) {
            let count = system.running.iter().filter(lapsed).count();
            let what = match count {
                1 => format!("according to its record, job {} is running, but its lease expired hours ago", first.id),
                count => format!(
                    "according to their records, {count} jobs are running, such as {}, but their leases expired hours ago",
                    first.id
                ),
            };
            let why = "SQS has not delivered the message of such a job again, and no beater has repaired the job";
            self.add(
                "lease_overdue",
                "records",
                what,
                why,
                format!("check that the function and the beater run; `sqjobs explain {}` shows more", shell(&first.id)),
            );
        }
        for (queue, parked) in &system.parked {
            for (kind, at) in parked.iter().filter(|(_, at)| now.duration_since(**at) < PARKED) {
                let (rule, asked) = match kind.as_str() {
                    "contract" => ("contract_old", "a message that needs a newer contract, or a feature of a newer contract"),
                    _ => ("parked", "a message for a job that the function does not have"),
                };
                let what = format!("{}, its function received {asked}", from_now(*at, now));
                let why = "such a message waits one day for another version of the function, then becomes a dead letter";
                let remedy = "deploy a function that has the job; the log of the current function shows the name of the job";
                self.add(rule, &format!("queue {queue}"), what, why, remedy);
            }
        }
        for (queue, count) in &system.other_arguments {
            let what = match count {
                1 => "since yesterday 1 message had the id of a job with other arguments".to_owned(),
                count => format!("since yesterday {count} messages had the id of a job with other arguments"),
            };
            let why = "such a message is discarded as a duplicate, and its arguments do not run";
            let remedy = "search the log of the function for the warning \"duplicate discarded; its arguments differ\", which contains the \
                          id. Change the producer so that each job has its own id. If the id starts with `schedule:`, the arguments of a \
                          schedule were changed; its job ran once, and you need not do anything";
            self.add("other_arguments", &format!("queue {queue}"), what, why, remedy);
        }
        for queue in &system.aborting {
            let why = "a job that panics ends the process, and each job of its batch loses one attempt";
            let remedy =
                "set `panic = \"unwind\"` under [profile.release] in the Cargo.toml of the workspace, and build and deploy it again";
            self.add("panic_abort", &format!("queue {queue}"), "its function was built with `panic = \"abort\"`", why, remedy);
        }
        if let Some(skew) = system.skew.filter(|skew| skew.unsigned_abs() > SKEW) {
            let what = format!(
                "its clock is {} {} the clock of AWS",
                brief(skew.unsigned_abs()),
                if skew.is_negative() { "behind" } else { "ahead of" }
            );
            let why = "the times of jobs enqueued here are wrong by this difference, and AWS refuses requests if the difference exceeds 5 minutes";
            self.add("clock_skew", "this machine", what, why, "synchronize the clock with a time server");
        }
    }

    fn schedules(&mut self, system: &System) {
        let now = system.now;
        for (id, error) in &system.wrong_schedules {
            let remedy = format!("correct its row, or delete it with `sqjobs schedule remove {}`", shell(id));
            self.add("schedule_wrong", &format!("schedule {id}"), error.clone(), "no beater can fire it", remedy);
        }
        for schedule in system.schedules_due.iter().filter(|schedule| !schedule.unknown.is_empty()) {
            let id = schedule.entry.id();
            let suggestion: Vec<_> = schedule.unknown.iter().map(|field| format!("{field}: {}", suggestion(field))).collect();
            let what = format!("its row has unknown fields, which have no effect: {}", schedule.unknown.join(", "));
            let remedy = format!("correct the row, or replace the schedule with `sqjobs schedule add`; {}", suggestion.join("; "));
            self.add(
                "schedule_field",
                &format!("schedule {id}"),
                what,
                "the schedule fires without the settings that these fields were meant to give",
                remedy,
            );
        }
        let (lost, kept): (Vec<_>, Vec<_>) = system.schedules_due.iter().partition(|schedule| {
            let queue = system.place.prefix.clone() + &schedule.entry.queue_name();
            system.missing_queues.contains(&queue)
        });
        for entry in lost.into_iter().map(|schedule| &schedule.entry) {
            let (queue, at) = (entry.queue_name(), format!("schedule {}", entry.id()));
            let what = format!("its queue {}{queue} does not exist", system.place.prefix);
            let remedy = format!("{}, or add the schedule again with another --queue or --priority", creation(&queue));
            self.add("schedule_queue_missing", &at, what, "the beater cannot enqueue its jobs, so the schedule does not fire", remedy);
        }
        let late = |schedule: &&Scheduled| {
            schedule.next_fire.filter(|at| now.duration_since(*at) > LATE).map(|at| (schedule.entry.id().to_owned(), at))
        };
        let late: Vec<_> = kept.iter().filter_map(late).collect();
        if let [(id, at), ..] = &late[..] {
            let what = match late.len() {
                1 => format!("schedule {id} has not fired, but was due {}", from_now(*at, now)),
                count => format!("{count} schedules have not fired on time, such as {id}, which was due {}", from_now(*at, now)),
            };
            let why = "the beater does not run, or cannot write to its tables";
            self.add(
                "schedule_overdue",
                "schedules",
                what,
                why,
                "read the beater's log, and check that EventBridge invokes it each minute",
            );
        }
        for (id, record) in &system.failing {
            let since = record.finished_at.map(|at| format!(" {}", from_now(at, now))).unwrap_or_default();
            let kind = record.error.as_ref().map(|error| format!(" with {}", error.kind)).unwrap_or_default();
            let what = format!("its job failed{since}{kind}, and no later job has succeeded");
            let remedy = format!("`sqjobs explain {}` shows why", shell(&record.id));
            self.add("schedule_fails", &format!("schedule {id}"), what, "the schedule fires, but its work is not done", remedy);
        }
    }
}

/// Returns a job that holds a blocked job, because it has ended without success.
fn cause(blocked: &Blocked) -> Option<&Record> {
    let mut unmet = blocked.unmet.iter().filter_map(|(_, job)| job.as_ref());
    unmet.find(|job| job.state.is_terminal() && job.state != State::Succeeded)
}

/// Returns the ids of blocked jobs that wait for themselves by way of other blocked jobs, or for such a job.
fn circular(blocked: &[Blocked]) -> BTreeSet<&str> {
    let mut left: BTreeMap<&str, &Blocked> = blocked.iter().map(|blocked| (&*blocked.job.id, blocked)).collect();
    loop {
        let waits = |blocked: &&Blocked| blocked.unmet.iter().any(|(id, _)| left.contains_key(&**id));
        let kept: BTreeMap<_, _> = left.iter().filter(|(_, blocked)| waits(blocked)).map(|(id, blocked)| (*id, *blocked)).collect();
        if kept.len() == left.len() {
            return kept.into_keys().collect();
        }
        left = kept;
    }
}

fn lapsed_at(record: &Record) -> Option<Timestamp> {
    Timestamp::from_millisecond(record.lease_until?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::{
        facts::{Beater, Table},
        rules::findings,
    };

    #[test]
    fn a_clock_that_is_off_is_found_and_one_that_is_nearly_right_is_not() {
        let rules = |skew_s| {
            let beater = Beater { is_invoked: true, ..Beater::default() };
            let table = |indexes: &[&str]| Table {
                arn: Some(String::new()),
                indexes: indexes.iter().map(|index| (*index).to_owned()).collect(),
                ..Table::default()
            };
            let (jobs, schedules) = (table(&["due", "listed"]), table(&["due"]));
            findings(&System { jobs, schedules, beater, skew: Some(SignedDuration::from_secs(skew_s)), ..System::default() })
        };
        assert_eq!([rules(4), rules(-4)], [vec![], vec![]]);
        let [ahead, behind] = [rules(400), rules(-400)].map(|mut found| found.remove(0));
        assert_eq!(ahead.rule, "clock_skew");
        assert_eq!(behind.rule, "clock_skew");
        assert!(ahead.what.contains("6m 40s ahead of") && behind.what.contains("6m 40s behind"), "{ahead:?} {behind:?}");
    }
}
