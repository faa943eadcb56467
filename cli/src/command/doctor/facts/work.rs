//! Reads jobs, schedules and statistics.

use std::{iter::successors, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use sqjobs::{
    By, Record, Scheduled, State, setup,
    stats::Tally,
    store::{DynamoDb, Store as _},
};

use super::{Blocked, System, Table};
use crate::{
    aws::Aws,
    command::{queue::missing, stats},
    failure::{Failure, describe},
};

/// Maximum number of due jobs, and of failed jobs, to read.
const JOBS: usize = 1000;
/// Maximum number of jobs to read for which one blocked job waits.
const UNMET: usize = 20;
/// Maximum number of blocked jobs whose other jobs are read at the same time.
const AT_A_TIME: usize = 8;
/// Maximum number of fires after a failed one to read.
const FIRES: usize = 100;
/// Maximum number of pages, of one megabyte each, to scan for expired leases.
const PAGES: usize = 25;

impl System {
    pub(super) async fn work(&mut self, aws: &Aws) {
        let has = |table: &Table, index: &str| table.arn.is_some() && table.indexes.iter().any(|own| own == index);
        let message = |error: sqjobs::Error| error.to_string();
        if has(&self.jobs, "due") {
            let due = aws.client().list_all(By::Due, JOBS).await.map_err(message);
            let (due, unreadable) = self.note_error("due jobs", due).unwrap_or_default();
            self.due = due;
            self.unreadable.extend(unreadable.iter().map(ToString::to_string));
        }
        if has(&self.jobs, "due") {
            let blocked = aws.client().list_all(By::Blocked, JOBS).await.map_err(message);
            let (blocked, unreadable) = self.note_error("blocked jobs", blocked).unwrap_or_default();
            self.unreadable.extend(unreadable.iter().map(ToString::to_string));
            let read = stream::iter(blocked).map(|job| with_unmet(aws, job)).buffered(AT_A_TIME).try_collect().await;
            self.blocked = self.note_error("the jobs for which blocked jobs wait", read).unwrap_or_default();
        }
        let mut failed = Vec::new();
        if has(&self.jobs, "listed") {
            let dlqs = setup::dlqs(&aws.dynamodb(), &aws.place.table()).await.map_err(message);
            self.beater.listed = self.note_error("the list of dead-letter queues", dlqs);
            let listed = aws.client().list_all(By::Failed, JOBS).await.map_err(message);
            let (listed, unreadable) = self.note_error("failed jobs", listed).unwrap_or_default();
            failed = listed;
            self.unreadable.extend(unreadable.iter().map(ToString::to_string));
            for queue in &mut self.queues {
                let mut own = failed.iter().filter(|record| record.queue == queue.name);
                queue.deleted_early = own.find(|record| is_deleted_early(record, queue.retention)).cloned();
            }
            let mut tallies = self.note_error("statistics", stats::recent(aws, self.now).await).unwrap_or_default();
            self.foreign_queue = tallies.keys().find(|queue| !queue.starts_with(&aws.place.prefix)).cloned();
            tallies.retain(|queue, _| queue.starts_with(&aws.place.prefix));
            self.aborting = tallies.iter().filter(|(_, tally)| tally.is_aborting()).map(|(queue, _)| queue.clone()).collect();
            let other_arguments = |(queue, tally): (&String, &Tally)| Some((queue.clone(), *tally.kinds.get(stats::OTHER_ARGUMENTS)?));
            self.other_arguments = tallies.iter().filter_map(other_arguments).collect();
            self.parked = tallies.into_iter().map(|(queue, tally)| (queue, tally.parked_at)).collect();
        }
        if self.jobs.arn.is_some() {
            let found = suspects(aws).await;
            let found = self.note_error("running jobs", found).unwrap_or_default();
            (self.running, self.incomplete) = found.into_iter().partition(|record| record.state == State::Running);
        }
        if self.schedules.arn.is_some() {
            let schedules = aws.schedules().list_all().await.map_err(message);
            let (schedules, unreadable) = self.note_error("schedules", schedules).unwrap_or_default();
            self.wrong_schedules = unreadable;
            for schedule in schedules.into_iter().filter(|schedule| !schedule.paused) {
                match schedule.timetable(self.now) {
                    Ok(_) => self.schedules_due.push(schedule),
                    Err(error) => self.wrong_schedules.push((schedule.entry.id().to_owned(), error.to_string())),
                }
            }
            let failing = failing(aws, &self.schedules_due, &failed, self.now).await;
            self.failing = self.note_error("the jobs of schedules", failing).unwrap_or_default();
        }
        let of_schedules = self.schedules_due.iter().map(|schedule| aws.queue(&schedule.entry.queue_name()));
        let queues = of_schedules.chain(self.due.iter().map(|record| record.queue.clone())).collect();
        let missing = missing(aws, queues).await.map_err(Failure::into_message);
        self.missing_queues = self.note_error("the queues of schedules and of due jobs", missing).unwrap_or_default();
    }
}

/// Reads the first of the jobs for which a blocked job waits.
async fn with_unmet(aws: &Aws, job: Record) -> Result<Blocked, String> {
    let unmet = aws.client().unmet(&job, UNMET).await.map_err(|error| error.to_string())?;
    Ok(Blocked { job, unmet })
}

/// Returns the newest failed job of each schedule, unless a newer job has succeeded.
async fn failing(aws: &Aws, schedules: &[Scheduled], failed: &[Record], now: Timestamp) -> Result<Vec<(String, Record)>, String> {
    let (store, mut failing) = (DynamoDb::new(aws.dynamodb(), aws.place.table()), Vec::new());
    for schedule in schedules {
        let fires = failed.iter().filter_map(|record| Some((schedule.entry.fire_of(&record.id)?, record)));
        let Some((newest, record)) = fires.max_by_key(|(fire, _)| *fire) else { continue };
        let Ok(timetable) = schedule.timetable(now) else { continue };
        let later = successors(Some(newest), |fire| timetable.next(*fire)).skip(1).take_while(|fire| *fire <= now);
        let ids: Vec<_> = later.take(FIRES).map(|fire| schedule.entry.job_id(fire)).collect();
        let later = store.read(&ids).await.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        if !later.iter().flatten().any(|later| later.state == State::Succeeded) {
            failing.push((schedule.entry.id().to_owned(), record.clone()));
        }
    }
    Ok(failing)
}

/// Returns the records that a bounded scan finds: of running jobs, and of waiting jobs whose record lacks an attribute.
async fn suspects(aws: &Aws) -> Result<Vec<Record>, String> {
    let incomplete = "#state = :scheduled AND (attribute_not_exists(envelope) OR attribute_not_exists(due))";
    let filter = format!("attribute_not_exists(purge_at) AND (#state = :running OR {incomplete})");
    let scan = aws.dynamodb().scan().table_name(aws.place.table()).filter_expression(filter).expression_attribute_names("#state", "state");
    let scan = [State::Running, State::Scheduled].into_iter().fold(scan, |scan, state| {
        let name = state.as_str();
        scan.expression_attribute_values(format!(":{name}"), AttributeValue::S(name.into()))
    });
    let mut pages = scan.into_paginator().send();
    let mut ids = Vec::new();
    for _ in 0..PAGES {
        let Some(page) = pages.next().await else { break };
        let items = page.map_err(|error| describe(&error))?.items.unwrap_or_default();
        ids.extend(items.into_iter().filter_map(|item| item.get("id")?.as_s().ok().cloned()));
    }
    let records = DynamoDb::new(aws.dynamodb(), aws.place.table()).read(&ids).await;
    // The beater reports records that cannot be read.
    Ok(records.into_iter().filter_map(Result::ok).flatten().collect())
}

/// Returns true if the record of an ended job is deleted before its queue, which keeps messages for `retention`, deletes its message.
fn is_deleted_early(record: &Record, retention: Duration) -> bool {
    let kept = record.purge_at.zip(record.finished_at).map(|(purge, end)| purge - end.as_second());
    let needed = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX).saturating_add(86_400);
    kept.is_some_and(|kept| kept < needed)
}
