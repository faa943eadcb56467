//! Facts about a live system that the rules check.

mod beater;
mod functions;
mod queues;
mod tables;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use sqjobs::{Priority, Record, Scheduled, setup::dlq_name};

use self::queues::{queues, streams};
use crate::{
    aws::Aws,
    command::{function::Function, mapping::mappings, tables::environments},
    failure::Failure,
    place::Place,
};

/// The state of a live system.
#[derive(Debug, Default)]
pub(in crate::command::doctor) struct System {
    pub(in crate::command::doctor) now: Timestamp,
    pub(in crate::command::doctor) place: Place,
    pub(in crate::command::doctor) jobs: Table,
    pub(in crate::command::doctor) schedules: Table,
    pub(in crate::command::doctor) queues: Vec<Queue>,
    /// The event source mappings of the stream of the table of jobs that feed functions that publish events.
    pub(in crate::command::doctor) streams: Vec<Stream>,
    /// True if the event source mappings could be read.
    pub(in crate::command::doctor) knows_mappings: bool,
    /// The beater and the functions that queues feed, by name. None: there is no such function. Functions that cannot be read are missing.
    pub(in crate::command::doctor) functions: BTreeMap<String, Option<Function>>,
    /// The functions with a newer deployment than the version that runs, and that version.
    pub(in crate::command::doctor) unreleased: BTreeMap<String, String>,
    /// The functions with recursive loop detection.
    pub(in crate::command::doctor) loop_detection: BTreeSet<String>,
    /// The functions that queues of other environments feed.
    pub(in crate::command::doctor) others: Vec<Function>,
    /// A queue without this prefix that has statistics in the table.
    pub(in crate::command::doctor) foreign_queue: Option<String>,
    pub(in crate::command::doctor) beater: Beater,
    /// The jobs of the due index, the longest overdue first.
    pub(in crate::command::doctor) due: Vec<Record>,
    /// The schedules that are neither paused nor wrong.
    pub(in crate::command::doctor) schedules_due: Vec<Scheduled>,
    /// The jobs that wait for other jobs.
    pub(in crate::command::doctor) blocked: Vec<Blocked>,
    /// The schedules that no beater can fire, and why.
    pub(in crate::command::doctor) wrong_schedules: Vec<(String, String)>,
    /// The queues of schedules and due jobs that do not exist, by their full names.
    pub(in crate::command::doctor) missing_queues: BTreeSet<String>,
    /// Why records of due and failed jobs cannot be read.
    pub(in crate::command::doctor) unreadable: BTreeSet<String>,
    /// The records of waiting jobs that lack an attribute.
    pub(in crate::command::doctor) incomplete: Vec<Record>,
    /// The records of running jobs.
    pub(in crate::command::doctor) running: Vec<Record>,
    /// The failing schedules, each with its newest failed job.
    pub(in crate::command::doctor) failing: Vec<(String, Record)>,
    /// The last time at which a message was parked, by queue and reason.
    pub(in crate::command::doctor) parked: Vec<(String, BTreeMap<String, Timestamp>)>,
    /// The number of duplicates with other arguments that were discarded since yesterday, by queue.
    pub(in crate::command::doctor) other_arguments: Vec<(String, u64)>,
    /// The queues whose functions were built with `panic = "abort"`.
    pub(in crate::command::doctor) aborting: Vec<String>,
    /// The time by which this machine's clock is ahead of the clock of AWS.
    pub(in crate::command::doctor) skew: Option<SignedDuration>,
    /// Notes about facts that could not be read.
    pub(in crate::command::doctor) unread: Vec<String>,
}

#[derive(Debug, Default)]
pub(in crate::command::doctor) struct Table {
    pub(in crate::command::doctor) name: String,
    /// None: there is no such table.
    pub(in crate::command::doctor) arn: Option<String>,
    pub(in crate::command::doctor) indexes: Vec<String>,
    /// True if its time to live is on, for `purge_at`. None: unknown.
    pub(in crate::command::doctor) deletes_expired: Option<bool>,
}

#[derive(Debug, Default)]
pub(in crate::command::doctor) struct Queue {
    pub(in crate::command::doctor) name: String,
    /// The name without the prefix.
    pub(in crate::command::doctor) short: String,
    pub(in crate::command::doctor) url: String,
    pub(in crate::command::doctor) arn: String,
    pub(in crate::command::doctor) visibility: Duration,
    pub(in crate::command::doctor) retention: Duration,
    pub(in crate::command::doctor) delay: Duration,
    /// The size of the largest message that it accepts, in bytes.
    pub(in crate::command::doctor) max_bytes: u64,
    pub(in crate::command::doctor) max_receives: Option<u64>,
    pub(in crate::command::doctor) dlq: Option<DeadLetterQueue>,
    pub(in crate::command::doctor) mapping: Option<Mapping>,
    /// The rights that the role of its function lacks.
    pub(in crate::command::doctor) missing_rights: Vec<String>,
    /// The queues to which the role does not allow its function to send although jobs there wait for its jobs, each with such a job.
    pub(in crate::command::doctor) denied: BTreeMap<String, String>,
    /// A record that is deleted before its message.
    pub(in crate::command::doctor) deleted_early: Option<Record>,
}

impl Queue {
    /// Returns true for the queue of a priority: it has the dead-letter queue of the queue of the default priority.
    pub(in crate::command::doctor) fn shares_dlq(&self) -> bool {
        let base = Priority::Default.queue(&self.name);
        base != self.name && self.dlq.as_ref().is_some_and(|dlq| dlq.name == dlq_name(&base))
    }

    /// Returns the name, without the prefix, of the queue that `sqjobs queue create` takes for this queue.
    pub(in crate::command::doctor) fn base(&self) -> String {
        if self.shares_dlq() { Priority::Default.queue(&self.short) } else { self.short.clone() }
    }
}

/// A job that waits for other jobs.
#[derive(Debug)]
pub(in crate::command::doctor) struct Blocked {
    pub(in crate::command::doctor) job: Record,
    /// The first of the jobs that it still waits for, with their records.
    pub(in crate::command::doctor) unmet: Vec<(String, Option<Record>)>,
}

#[derive(Debug, Default)]
pub(in crate::command::doctor) struct DeadLetterQueue {
    pub(in crate::command::doctor) name: String,
    pub(in crate::command::doctor) arn: String,
    pub(in crate::command::doctor) exists: bool,
    pub(in crate::command::doctor) retention: Duration,
    pub(in crate::command::doctor) max_bytes: u64,
    /// The number of its messages, as SQS counts them.
    pub(in crate::command::doctor) count: u64,
}

/// An event source mapping.
#[derive(Debug, Default)]
pub(in crate::command::doctor) struct Mapping {
    pub(in crate::command::doctor) id: String,
    pub(in crate::command::doctor) state: String,
    pub(in crate::command::doctor) reports: bool,
    pub(in crate::command::doctor) batch: i32,
    pub(in crate::command::doctor) window: Duration,
    pub(in crate::command::doctor) function: String,
    /// The alias or version of the function that it feeds.
    pub(in crate::command::doctor) qualifier: Option<String>,
}

/// An event source mapping of a stream.
#[derive(Debug)]
pub(in crate::command::doctor) struct Stream {
    pub(in crate::command::doctor) id: String,
    pub(in crate::command::doctor) function: String,
    pub(in crate::command::doctor) state: String,
    /// The result of the last batch, as Lambda words it, such as `OK` or `PROBLEM: Function call failed`.
    pub(in crate::command::doctor) last_result: String,
}

#[derive(Debug, Default)]
pub(in crate::command::doctor) struct Beater {
    pub(in crate::command::doctor) name: String,
    /// The rights that its role lacks.
    pub(in crate::command::doctor) missing_rights: Vec<String>,
    /// True if an enabled rule invokes it each minute, and is allowed to.
    pub(in crate::command::doctor) is_invoked: bool,
    /// The names in the table's list of dead-letter queues. None: the list cannot be read.
    pub(in crate::command::doctor) listed: Option<Vec<String>>,
}

impl System {
    /// Reads a system, and notes the facts that cannot be read.
    pub(in crate::command::doctor) async fn read(aws: &Aws, beater: Option<&str>) -> Result<Self, Failure> {
        let mut system = Self { now: aws.clock.now(), place: aws.place.clone(), ..Self::default() };
        system.beater = Beater { name: system.beater_name(aws, beater).await, is_invoked: true, ..Beater::default() };
        let (jobs, skew) = system.table(aws, &aws.place.table()).await?;
        (system.schedules, _) = system.table(aws, &aws.place.schedules_table()).await?;
        (system.jobs, system.skew) = (jobs, skew);
        let mappings = system.note_error("the event source mappings", mappings(aws, None).await.map_err(Failure::into_message));
        system.knows_mappings = mappings.is_some();
        let mappings = mappings.unwrap_or_default();
        for stream in system.jobs.arn.iter().flat_map(|table| streams(&mappings, table)).collect::<Vec<_>>() {
            let function = Function::get(aws, &stream.function).await.map_err(Failure::into_message);
            let function = system.note_error(&format!("function {}", stream.function), function).flatten();
            if function.is_some_and(|function| function.environment.contains_key("SQJOBS_EVENT_BUS")) {
                system.streams.push(stream);
            }
        }
        system.queues = queues(aws, &mappings, &mut system.unread).await?;
        let fed = system.queues.iter().filter_map(|queue| queue.mapping.as_ref());
        let fed = fed.map(|mapping| (mapping.function.clone(), mapping.qualifier.clone()));
        for (name, qualifier) in [(system.beater.name.clone(), None)].into_iter().chain(fed).collect::<BTreeMap<_, _>>() {
            system.function(aws, name, qualifier.as_deref()).await;
        }
        let environments = environments(aws).await;
        let environments = system.note_error("the names of other environments", environments).unwrap_or_default();
        system.leave_others_out(&environments);
        system.rights(aws).await;
        system.work(aws).await;
        system.rights_to_send(aws).await;
        Ok(system)
    }

    /// Returns the name of the beater: the given one, the default one, or the one of a function that EventBridge invokes as a beater.
    async fn beater_name(&mut self, aws: &Aws, given: Option<&str>) -> String {
        if let Some(given) = given {
            return given.to_owned();
        }
        let usual = aws.queue("beater");
        if !matches!(Function::get(aws, &usual).await, Ok(None)) {
            return usual;
        }
        let find_beater = crate::command::beater::find(aws).await;
        self.note_error("the functions that EventBridge invokes each minute", find_beater).flatten().unwrap_or(usual)
    }

    /// Returns the value, or notes the error.
    fn note_error<T>(&mut self, what: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|error| self.unread.push(format!("{what}: {error}"))).ok()
    }

    /// Returns the queues, with their dead-letter queues, that the variables of their functions name. A beater watches these.
    pub(in crate::command::doctor) fn fed_queues(&self) -> impl Iterator<Item = (&Queue, &DeadLetterQueue)> {
        self.queues.iter().filter_map(|queue| {
            let function = self.functions.get(&queue.mapping.as_ref()?.function)?.as_ref()?;
            function.takes_from(&queue.name).then_some((queue, queue.dlq.as_ref()?))
        })
    }
}
