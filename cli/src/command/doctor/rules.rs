//! What is wrong with a system, given what was read of it: why it matters, and what puts it right.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use sqjobs::{
    Record, Scheduled, State,
    lifecycle::SKEW,
    queue::{MAX_BYTES, is_fifo},
    setup::dlq_name,
};

use super::facts::{Beater, Mapping, Queue, System, Table};
use crate::{
    command::{
        beater::deploy,
        dlq::walk::ways_back,
        function::{self, Function},
        lookup::PARKED,
        queue::create_dlq,
        schedule::meant,
    },
    place::Place,
    sentence::shell,
    time::{brief, from_now},
};

/// The fewest receives after which SQS itself may give a message up: busy, held and throttled receives count too.
const FUSE: u64 = 100;
/// The shortest that a queue may keep messages: what waits is sent anew after two days.
const RETENTION: Duration = Duration::from_hours(4 * 24);
/// A visibility timeout is so many timeouts of the function.
const VISIBILITY: u64 = 6;
/// How late work is that should have been taken up.
const LATE: SignedDuration = SignedDuration::from_mins(5);
/// How late a lease is that neither its message nor a beater has taken up.
const LOST: SignedDuration = SignedDuration::from_hours(2);
/// The largest message that SQS takes by default, in bytes, and that the library sends.
const MESSAGE: u64 = MAX_BYTES as u64;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The rule that is broken.
    pub(super) rule: &'static str,
    /// What breaks it, such as a queue.
    pub(super) at: String,
    /// What is so.
    pub(super) what: String,
    /// Why that matters.
    pub(super) why: &'static str,
    /// What puts it right.
    pub(super) remedy: String,
}

/// Everything that is wrong.
pub(super) fn findings(system: &System) -> Vec<Finding> {
    let mut found = Findings { found: Vec::new(), place: &system.place };
    found.tables(&system.jobs, &system.schedules);
    found.shared(system);
    for queue in &system.queues {
        found.queue(queue);
        found.feed(queue, system);
    }
    found.beater(&system.beater, system);
    found.work(system);
    found.found
}

struct Findings<'a> {
    found: Vec<Finding>,
    /// The place that the commands of a remedy must name.
    place: &'a Place,
}

impl Findings<'_> {
    fn add(&mut self, rule: &'static str, at: &str, what: impl Into<String>, why: &'static str, remedy: impl Into<String>) {
        let remedy = self.place.with_options(&remedy.into());
        self.found.push(Finding { rule, at: at.to_owned(), what: what.into(), why, remedy });
    }

    fn tables(&mut self, jobs: &Table, schedules: &Table) {
        for (table, indexes) in [(jobs, &["due", "listed"][..]), (schedules, &["due"])] {
            let at = format!("table {}", table.name);
            if table.arn.is_none() {
                let why = "without it no job is claimed, and no schedule is kept";
                self.add("table_missing", &at, "there is no such table", why, "`sqjobs table create`, or name another by --table");
                continue;
            }
            for index in indexes.iter().filter(|index| !table.indexes.iter().any(|own| own == *index)) {
                let why = "due jobs, failed jobs and due schedules are found by it";
                self.add(
                    "index_missing",
                    &at,
                    format!("it has no index {index}"),
                    why,
                    format!("add the index {index}, as `docs/settings.md` describes"),
                );
            }
        }
        if jobs.forgets == Some(false) {
            let remedy = format!(
                "`aws dynamodb update-time-to-live --table-name {} --time-to-live-specification Enabled=true,AttributeName=purge_at`",
                jobs.name
            );
            let at = format!("table {}", jobs.name);
            self.add(
                "ttl_off",
                &at,
                "its time to live is off",
                "records of ended jobs are never deleted, and their storage costs money",
                remedy,
            );
        }
    }

    /// Finds other environments that use the same tables.
    fn shared(&mut self, system: &System) {
        let why = "environments that share a table discard each other's jobs as duplicates, and fire each other's schedules";
        let remedy = "give each environment tables of its own: `docs/environments.md` says how to move";
        let [jobs, schedules, _] = system.place.settings();
        for table in [jobs.value, schedules.value] {
            let uses = |other: &&Function| Place::of(&other.environment).settings().iter().any(|own| own.value == table);
            if let Some(other) = system.others.iter().find(uses) {
                let what = format!("function {} of the prefix \"{}\" uses it too", other.name, Place::of(&other.environment).prefix);
                self.add("table_shared", &format!("table {table}"), what, why, remedy);
            }
        }
        if let Some(queue) = &system.foreign {
            let what = format!("it counts jobs of queue {queue}, which does not have the prefix \"{}\"", system.place.prefix);
            self.add("table_shared", &format!("table {}", system.jobs.name), what, why, remedy);
        }
    }

    fn queue(&mut self, queue: &Queue) {
        let at = format!("queue {}", queue.name);
        match (&queue.dlq, queue.max_receives) {
            (None, _) => {
                let why = "a message that always fails is received again and again until SQS deletes it";
                let dlq = dlq_name(&queue.name);
                let fifo = if is_fifo(&dlq) { ",FifoQueue=true" } else { "" };
                let remedy = format!(
                    "`aws sqs create-queue --queue-name {dlq} --attributes MessageRetentionPeriod={}{fifo}`, then {}",
                    queue.retention.as_secs(),
                    redrive_policy(queue, &queue.arn.replace(&queue.name, &dlq))
                );
                self.add("dlq_missing", &at, "it has no dead-letter queue", why, remedy);
            }
            (Some(dlq), receives) => {
                if receives.is_some_and(|receives| receives < FUSE) {
                    let what = format!("SQS moves a message to the dead-letter queue after {} receives", receives.unwrap_or_default());
                    let why = "receives without an attempt count too, so jobs that have attempts left become dead letters";
                    let remedy = format!("allow 1000 receives: {}", redrive_policy(queue, &dlq.arn));
                    self.add("redrive_early", &at, what, why, remedy);
                }
                if !dlq.exists {
                    let what = format!("its dead-letter queue {} cannot be read", dlq.name);
                    self.add(
                        "dlq_missing",
                        &at,
                        what,
                        "jobs that fail for good cannot be kept",
                        format!("{}, or look at --profile", create_dlq(&dlq.name)),
                    );
                } else if dlq.retention < queue.retention {
                    let what = format!(
                        "its dead-letter queue keeps messages for {}, the queue itself for {}",
                        brief(dlq.retention),
                        brief(queue.retention)
                    );
                    let why = "a message that SQS moves keeps its age, so SQS deletes it there at once";
                    let url = queue.url.replace(&queue.name, &dlq.name);
                    let remedy = set(&url, "MessageRetentionPeriod", &queue.retention.as_secs().to_string());
                    self.add("dlq_retention", &at, what, why, remedy);
                }
            }
        }
        let letters = queue.dlq.iter().filter(|dlq| dlq.exists);
        for (name, bytes) in [(&queue.name, queue.max_bytes)].into_iter().chain(letters.clone().map(|dlq| (&dlq.name, dlq.max_bytes))) {
            if bytes < MESSAGE {
                let what = format!("it takes messages of up to {bytes} bytes, and jobs have up to {MESSAGE}");
                let why = "SQS refuses a larger job, and cuts the reason of a dead letter that is larger";
                let url = queue.url.replace(&queue.name, name);
                self.add("message_size", &format!("queue {name}"), what, why, set(&url, "MaximumMessageSize", &MESSAGE.to_string()));
            }
        }
        for dlq in letters.filter(|dlq| dlq.count > 0) {
            let messages = if dlq.count == 1 { "1 message waits".into() } else { format!("{} messages wait", dlq.count) };
            let why = "each is a job that failed for good, or a message that is not a job; SQS deletes it when its retention is over";
            self.add(
                "dead_letters",
                &at,
                format!("{messages} in its dead-letter queue {}", dlq.name),
                why,
                ways_back(&queue.short, &queue.arn),
            );
        }
        if queue.retention < RETENTION {
            let what = format!("it keeps messages for {}", brief(queue.retention));
            let why = "a waiting message is sent again after two days, and must exist until then";
            self.add("retention_short", &at, what, why, set(&queue.url, "MessageRetentionPeriod", "1209600"));
        }
        if is_fifo(&queue.name) && !queue.delay.is_zero() {
            let what = format!("it delays each message by {}", brief(queue.delay));
            let why = "a message that comes back is delayed too, and holds back its group";
            self.add("fifo_delay", &at, what, why, set(&queue.url, "DelaySeconds", "0"));
        }
        if let Some(record) = queue.forgotten.as_ref() {
            let what = format!("the record of {} is deleted before SQS deletes its message", record.id);
            let why = "if SQS delivers the message again, the ended job runs again";
            self.add("retention_long", &at, what, why, "raise the `retention` of the job's policy, or shorten that of the queue");
        }
    }

    /// What takes from a queue.
    fn feed(&mut self, queue: &Queue, system: &System) {
        let at = format!("queue {}", queue.name);
        let Some(Mapping { id, state, reports, batch, window, function, qualifier }) = &queue.mapping else {
            if !system.knows_mappings {
                return;
            }
            let remedy = format!("deploy its function, then `sqjobs queue create {} --function FUNCTION`", queue.short);
            self.add("mapping_missing", &at, "it feeds no function", "its jobs wait until SQS deletes them", remedy);
            return;
        };
        if state != "Enabled" {
            let remedy = format!("`sqjobs queue resume {}`", queue.short);
            self.add(
                "mapping_disabled",
                &at,
                format!("its event source mapping to {function} is {}", state.to_lowercase()),
                "its jobs wait",
                remedy,
            );
        }
        if !reports {
            let why = "Lambda deletes all messages of a batch, also those that should be retried";
            let remedy = format!("`aws lambda update-event-source-mapping --uuid {id} --function-response-types ReportBatchItemFailures`");
            self.add("reports_missing", &at, "its mapping does not take partial batch failures", why, remedy);
        }
        let Some(known) = system.functions.get(function) else { return };
        let Some(function) = known else {
            let target = qualifier.iter().fold(function.clone(), |name, qualifier| format!("{name}:{qualifier}"));
            let remedy = format!("deploy it, then `sqjobs queue create {} --function {function}`", queue.short);
            self.add(
                "function_missing",
                &at,
                format!("it feeds {target}, which does not exist"),
                "its jobs wait until SQS deletes them",
                remedy,
            );
            return;
        };
        let least = function.timeout * u32::try_from(VISIBILITY).unwrap_or(1) + *window;
        if queue.visibility < least {
            let what = format!(
                "its visibility timeout is {}, and the timeout of {} is {}{}",
                brief(queue.visibility),
                function.name,
                brief(function.timeout),
                if window.is_zero() { String::new() } else { format!(", after a batching window of {}", brief(*window)) }
            );
            let why = "SQS delivers a message again while its batch still runs, or while Lambda retries it";
            self.add("visibility_short", &at, what, why, set(&queue.url, "VisibilityTimeout", &least.as_secs().to_string()));
        }
        if *window >= function.timeout && !window.is_zero() || *batch > 10 && window.is_zero() {
            let what = format!(
                "batches of {batch} are gathered for {}, and the timeout of {} is {}",
                brief(*window),
                function.name,
                brief(function.timeout)
            );
            let why = "jobs wait longer for their batch than they may run, or a batch never gets so large";
            let remedy = format!(
                "`aws lambda update-event-source-mapping --uuid {id} --batch-size 10 --maximum-batching-window-in-seconds 0`, or a window \
                 below the function's timeout"
            );
            self.add("batch_window", &at, what, why, remedy);
        }
        self.function(function, queue, system);
    }

    fn function(&mut self, function: &Function, queue: &Queue, system: &System) {
        let at = format!("function {}", function.name);
        if system.loops_end.contains(&function.name) {
            let remedy = format!("`aws lambda put-function-recursion-config --function-name {} --recursive-loop Allow`", function.name);
            let why = "Lambda ends a chain of jobs that enqueue jobs after about 16 jobs; the library allows 100";
            self.add("recursive_loop", &at, "the detection of recursive loops is on", why, remedy);
        }
        if let Some(runs) = system.unreleased.get(&function.name) {
            let what = format!("version {runs} runs, and newer code or settings are deployed");
            let why = "jobs do not use the newest deployment: it was not released, or it was rolled back";
            self.add("unreleased", &at, what, why, format!("`sqjobs function release {}`", function.name));
        }
        let equip = format!("`sqjobs queue create {} --function {}`, or `terraform apply`", queue.short, function.name);
        let equip = self.equip(function, equip);
        self.role(&at, &queue.lacks, &equip);
        let dlqs: Vec<_> = queue.dlq.iter().map(|dlq| &*dlq.name).collect();
        self.variables(function, &function::variables(&system.place, Some(&queue.name), &dlqs), &equip);
    }

    /// Whether a function finds its system. Of URLs, the names of queues are compared.
    fn variables(&mut self, function: &Function, expected: &[(&str, String)], equip: &str) {
        let own = Place::of(&function.environment);
        let at = format!("function {}", function.name);
        for (name, expected) in expected.iter().filter(|(name, expected)| !(expected.is_empty() && name.ends_with("_URL"))) {
            let named = own.settings().into_iter().find(|setting| setting.variable == *name).map(|setting| setting.value);
            let is_table = named.is_some() && *name != "SQJOBS_PREFIX";
            let url = || function.environment.get(*name).map(|value| value.rsplit(['/', ':']).next().unwrap_or(value).to_owned());
            let value = named.or_else(url);
            if value.as_ref() == Some(expected) {
                continue;
            }
            if let Some(table) = value.as_ref().filter(|table| is_table && !table.starts_with(&own.prefix)) {
                let what = format!("{name} is \"{table}\", without its prefix \"{}\"", own.prefix);
                let why =
                    "another environment may use the same table: each discards the other's jobs as duplicates, and fires its schedules";
                let option = name.trim_start_matches("SQJOBS_").to_lowercase().replace('_', "-");
                let remedy = format!(
                    "move to {expected} as `docs/environments.md` says: `sqjobs table create`, then {equip}; if no other environment uses {table}, keep it and \
                     name it to every command: --{option} {table}"
                );
                self.add("table_unprefixed", &at, what, why, remedy);
                continue;
            }
            let value = value.map_or("not set".into(), |value| format!("\"{value}\""));
            let why = "the function would use other queues or tables than this environment";
            self.add("environment", &at, format!("{name} is {value}, and must be \"{expected}\""), why, equip);
        }
    }

    /// Returns the remedy that equips a function; first its variables are to be judged where they name another environment.
    fn equip(&self, function: &Function, equip: String) -> String {
        match function.environment_other_than(self.place) {
            Some(_) => format!(
                "if the variables of the function are right, ask with the --prefix, the --table and the --schedules-table of its environment; else \
                 delete its variables SQJOBS_PREFIX, SQJOBS_TABLE and SQJOBS_SCHEDULES_TABLE, then {equip}"
            ),
            None => equip,
        }
    }

    fn role(&mut self, at: &str, lacks: &[String], equip: &str) {
        if let [first, others @ ..] = lacks {
            let more = match others.len() {
                0 => String::new(),
                1 => ", and 1 more right".to_owned(),
                more => format!(", and {more} more rights"),
            };
            let why = "without its rights the function cannot run jobs, or cannot record that they ran: they come back, or run again";
            self.add("role_denies", at, format!("its role does not allow {first}{more}"), why, equip);
        }
    }

    fn beater(&mut self, beater: &Beater, system: &System) {
        let at = format!("function {}", beater.name);
        let Some(known) = system.functions.get(&beater.name) else { return };
        let Some(function) = known else {
            let what = "there is no such function, and no rule wakes another beater of this environment each minute";
            let why = "without it schedules do not fire, and jobs that wait for more than 15 minutes are not sent";
            let name = &beater.name;
            let remedy = format!(
                "deploy it, such as by {}, then `sqjobs schedule beater {name}`; if it is deployed under another name: `sqjobs doctor --beater \
                 FUNCTION`",
                deploy(name)
            );
            self.add("beater_missing", &at, what, why, remedy);
            return;
        };
        let equip = self.equip(function, format!("`sqjobs schedule beater {}`, or `terraform apply`", beater.name));
        if !beater.is_woken {
            let why = "schedules do not fire, and jobs that wait for more than 15 minutes are not sent in time";
            self.add(
                "beater_asleep",
                &at,
                "no rule of EventBridge wakes it each minute, or the function does not allow that",
                why,
                &*equip,
            );
        }
        self.role(&at, &beater.lacks, &equip);
        self.variables(function, &function::variables(&system.place, None, &[]), &equip);
        let Some(listed) = &beater.listed else { return };
        let dlqs = function.environment.get("SQJOBS_DLQ_URL").map(String::as_str).unwrap_or_default();
        let named = dlqs.split_whitespace().filter_map(|url| url.rsplit('/').next());
        let seen: BTreeSet<_> = listed.iter().map(String::as_str).chain(named).collect();
        let missing: Vec<_> = system.fed().map(|(_, dlq)| dlq).filter(|dlq| !seen.contains(&*dlq.name)).collect();
        if let [first, ..] = missing[..] {
            let what = format!("it does not know {} of the dead-letter queues, such as {}", missing.len(), first.name);
            let why = "a message that SQS moves there gets no reason, and the record of its job stays unfinished";
            self.add("beater_dlqs", &at, what, why, equip);
        }
    }

    fn schedules(&mut self, system: &System) {
        let now = system.now;
        for (id, error) in &system.wrong_schedules {
            let remedy = format!("correct its row, or delete it by `sqjobs schedule remove {}`", shell(id));
            self.add("schedule_wrong", &format!("schedule {id}"), error.clone(), "no beater can fire it", remedy);
        }
        for schedule in system.schedules_due.iter().filter(|schedule| !schedule.unknown.is_empty()) {
            let id = schedule.entry.id();
            let meant: Vec<_> = schedule.unknown.iter().map(|field| format!("{field}: {}", meant(field))).collect();
            let what = format!("its row has unknown fields, which are ignored: {}", schedule.unknown.join(", "));
            let remedy = format!("correct the row, or add the schedule anew by `sqjobs schedule add`; {}", meant.join("; "));
            self.add("schedule_field", &format!("schedule {id}"), what, "it fires without what they were to say", remedy);
        }
        let (lost, kept): (Vec<_>, Vec<_>) = system.schedules_due.iter().partition(|schedule| {
            let queue = system.place.prefix.clone() + schedule.entry.queue_name();
            system.missing_queues.contains(&queue)
        });
        for entry in lost.into_iter().map(|schedule| &schedule.entry) {
            let (queue, at) = (entry.queue_name(), format!("schedule {}", entry.id()));
            let what = format!("its queue {}{queue} does not exist", system.place.prefix);
            let remedy = format!("`sqjobs queue create {queue}`, or add the schedule again with another --queue");
            self.add("schedule_queue_missing", &at, what, "the beater cannot enqueue its jobs, so it does not fire", remedy);
        }
        let late = |schedule: &&Scheduled| {
            schedule.next_fire.filter(|at| now.duration_since(*at) > LATE).map(|at| (schedule.entry.id().to_owned(), at))
        };
        let late: Vec<_> = kept.iter().filter_map(late).collect();
        if let [(id, at), ..] = &late[..] {
            let what = format!("{} schedules have not fired in time, such as {id}, due {}", late.len(), from_now(*at, now));
            let why = "the beater does not tick, or cannot write";
            self.add("schedule_overdue", "schedules", what, why, "look at the beater's log, and that it is woken each minute");
        }
        for (id, record) in &system.failing {
            let since = record.finished_at.map(|at| format!(" {}", from_now(at, now))).unwrap_or_default();
            let kind = record.error.as_ref().map(|error| format!(" with {}", error.kind)).unwrap_or_default();
            let what = format!("its job failed{since}{kind}, and none has succeeded since");
            let remedy = format!("`sqjobs explain {}` says why", shell(&record.id));
            self.add("schedule_fails", &format!("schedule {id}"), what, "the schedule fires, and its work is not done", remedy);
        }
    }

    fn work(&mut self, system: &System) {
        let now = system.now;
        let (lost, kept): (Vec<_>, Vec<_>) = system.due.iter().partition(|record| system.missing_queues.contains(&record.queue));
        let overdue: Vec<_> = kept.into_iter().filter(|record| record.run_at.is_some_and(|at| now.duration_since(at) > LATE)).collect();
        if let [first, ..] = overdue[..] {
            let since = first.run_at.map(|at| from_now(at, now)).unwrap_or_default();
            let what = format!("{} jobs of the due index are overdue, such as {}, due {since}", overdue.len(), first.id);
            let why = "a beater sends them within a minute of their time";
            self.add("due_overdue", "due index", what, why, "look at the beater's log, and that it is woken each minute");
        }
        let mut by_queue: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in lost {
            by_queue.entry(&*record.queue).or_default().push(&*record.id);
        }
        for (queue, ids) in by_queue {
            let jobs =
                if ids.len() == 1 { "1 job of the due index waits".into() } else { format!("{} jobs of the due index wait", ids.len()) };
            let what = format!("{jobs} to be sent to it, such as {}, and it does not exist", ids[0]);
            let short = shell(queue.strip_prefix(&*system.place.prefix).unwrap_or(queue));
            let remedy = format!(
                "`sqjobs queue create {short}`, and deploy its function; or cancel the jobs: `sqjobs list --due` shows them, and `sqjobs cancel \
                 {}` cancels this one",
                shell(ids[0])
            );
            self.add("due_queue_missing", &format!("queue {queue}"), what, "no beater can send them, so they never run", remedy);
        }
        self.schedules(system);
        let lapsed = |record: &&Record| record.state == State::Running && lapsed_at(record).is_some_and(|at| now.duration_since(at) > LOST);
        if let Some(first) = system.running.iter().find(lapsed) {
            let count = system.running.iter().filter(lapsed).count();
            let what =
                format!("{count} jobs are running according to their records, but their leases ran out hours ago, such as {}", first.id);
            let why = "SQS did not deliver their messages again, and no beater has found them";
            self.add(
                "lease_overdue",
                "records",
                what,
                why,
                format!("see that their functions run and the beater ticks; `sqjobs explain {}` tells more", shell(&first.id)),
            );
        }
        for (queue, parked) in &system.parked {
            for (kind, at) in parked.iter().filter(|(_, at)| now.duration_since(**at) < PARKED) {
                if let Some(field) = kind.strip_prefix("reserved_") {
                    let what = format!("a message used `{field}`, which this worker does not support, {}", from_now(*at, now));
                    let why = "the field is reserved: a message with it becomes a dead letter at once";
                    self.add(
                        "reserved_field",
                        &format!("queue {queue}"),
                        what,
                        why,
                        "do not send the field; enqueue the job again without it",
                    );
                    continue;
                }
                let (rule, asked) = match kind.as_str() {
                    "contract" => ("contract_old", "a newer contract, or a feature of one"),
                    _ => ("parked", "a job whose name it does not have"),
                };
                let what = format!("its function received, {}, {asked}", from_now(*at, now));
                let why = "such a message waits one day for another version of the function, and then becomes a dead letter";
                let remedy = "deploy a function that has the job; the log of this function names it";
                self.add(rule, &format!("queue {queue}"), what, why, remedy);
            }
        }
        for (queue, count) in &system.other_arguments {
            let what = match count {
                1 => "1 message since yesterday had the id of a job with other arguments".to_owned(),
                count => format!("{count} messages since yesterday had the id of a job with other arguments"),
            };
            let why = "such a message is discarded as a duplicate, and its arguments do not run";
            let remedy = "the function's log names the ids, in its warnings \"duplicate discarded; its arguments differ\". Let the producer give \
                          each job an id of its own. An id that begins with schedule: is a fire of a schedule whose arguments were changed: it \
                          ran once, and nothing is to be done";
            self.add("other_arguments", &format!("queue {queue}"), what, why, remedy);
        }
        for queue in &system.aborting {
            let why = "a job that panics ends the process, and each job of its batch loses an attempt";
            let remedy =
                "set `panic = \"unwind\"` under [profile.release] in the Cargo.toml of the workspace, and build and deploy it again";
            self.add("panic_abort", &format!("queue {queue}"), "its function was built with `panic = \"abort\"`", why, remedy);
        }
        if let Some(skew) = system.skew.filter(|skew| skew.unsigned_abs() > SKEW) {
            let what = format!(
                "its clock is {} {} that of AWS",
                brief(skew.unsigned_abs()),
                if skew.is_negative() { "behind" } else { "ahead of" }
            );
            let why = "the times of jobs enqueued here are wrong by that, and AWS refuses requests beyond 5 minutes";
            self.add("clock_skew", "this machine", what, why, "synchronize it with a time server");
        }
    }
}

/// The command that sets an attribute of the queue at that URL.
fn set(url: &str, attribute: &str, value: &str) -> String {
    format!("`aws sqs set-queue-attributes --queue-url {url} --attributes {attribute}={value}`")
}

/// The command that gives a queue its redrive policy.
fn redrive_policy(queue: &Queue, dlq_arn: &str) -> String {
    let policy = json!({"deadLetterTargetArn": dlq_arn, "maxReceiveCount": "1000"}).to_string();
    let attributes = json!({"RedrivePolicy": policy});
    format!("`aws sqs set-queue-attributes --queue-url {} --attributes '{attributes}'`", queue.url)
}

fn lapsed_at(record: &Record) -> Option<Timestamp> {
    Timestamp::from_millisecond(record.lease_until?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_is_printed_as_a_whole_command() {
        let queue = Queue { url: "https://sqs/1/adder".into(), ..Queue::default() };
        let attributes =
            r#"{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-west-1:1:adder-dlq\",\"maxReceiveCount\":\"1000\"}"}"#;
        assert_eq!(
            redrive_policy(&queue, "arn:aws:sqs:eu-west-1:1:adder-dlq"),
            format!("`aws sqs set-queue-attributes --queue-url https://sqs/1/adder --attributes '{attributes}'`")
        );
    }

    #[test]
    fn a_clock_that_is_off_is_found_and_one_that_is_nearly_right_is_not() {
        let rules = |skew_s| {
            let beater = Beater { is_woken: true, ..Beater::default() };
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
        assert_eq!((ahead.rule, behind.rule), ("clock_skew", "clock_skew"));
        assert!(ahead.what.contains("6m 40s ahead of") && behind.what.contains("6m 40s behind"), "{ahead:?} {behind:?}");
    }
}
