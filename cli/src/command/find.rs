//! Shows the records of jobs, and finds jobs.

use std::cmp::Reverse;

use clap::Args;
use jiff::Timestamp;
use sqjobs::{
    By, Record, State,
    store::{DynamoDb, Store as _, StoreError},
};

use super::{beater, queue};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, is_kept, print_notes},
    shell::shell,
    time,
    value::text,
};

/// A note about the jobs that lists by name, tag and tree contain.
pub(super) const LISTED: &str = "A search by name, tag or tree finds only jobs that were enqueued with `sqjobs enqueue NAME ARGS --listed` \
                                 or `Enqueue::listed`. `sqjobs list` finds all failed jobs, and `sqjobs get ID` finds any job that has a \
                                 record.";
/// Maximum number of jobs to read when a state filters them.
const MOST_FILTERED: usize = 1000;

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The ids of jobs.
    #[arg(required = true, value_parser = text)]
    pub(crate) ids: Vec<String>,
    /// Print each record as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) by: ListBy,
    /// Show only jobs in this state.
    #[arg(long, value_parser = state)]
    pub(crate) state: Option<State>,
    /// Show only jobs that failed at this time or before, such as 2026-05-04T12:00:00Z. Use the time of the last row to show the next rows.
    #[arg(long, value_name = "INSTANT", value_parser = time::instant, conflicts_with_all = ["due", "name", "tag", "root", "key", "object", "state"])]
    pub(crate) before: Option<Timestamp>,
    /// The maximum number of rows.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print each record as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// By what jobs are found.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct ListBy {
    /// Jobs that failed for good. This is the default.
    #[arg(long)]
    pub(crate) failed: bool,
    /// Waiting jobs with a delay of more than 15 minutes.
    #[arg(long)]
    pub(crate) due: bool,
    /// Jobs with this name that were enqueued with --listed.
    #[arg(long, value_parser = text)]
    pub(crate) name: Option<String>,
    /// Jobs with this tag that were enqueued with --listed, or that `sqjobs tag` has given the tag.
    #[arg(long, value_parser = text)]
    pub(crate) tag: Option<String>,
    /// Jobs that were enqueued with --listed in the tree that begins with this job.
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) root: Option<String>,
    /// Jobs that wait for this limit, rate or exclusive key.
    #[arg(long, value_parser = text)]
    pub(crate) key: Option<String>,
    /// Jobs that were enqueued with this --object.
    #[arg(long, value_parser = text)]
    pub(crate) object: Option<String>,
}

fn state(text: &str) -> Result<State, String> {
    serde_json::from_value(text.into()).map_err(|_| {
        format!("{text:?} is not a state; write scheduled, blocked, queued, running, retrying, succeeded, failed, cancelled or expired")
    })
}

pub(super) async fn get(aws: &Aws, wanted: Get) -> Result<bool, Failure> {
    let (client, mut output) = (aws.client(), Output::new());
    let (mut all, mut failed) = (true, 0);
    for id in &wanted.ids {
        let record = match client.get(id).await {
            Ok(record) => record,
            Err(error) if wanted.ids.len() == 1 => return Err(error.into()),
            Err(error) => {
                failed += 1;
                note!("{}", clean(&Failure::from(error).into_message()));
                continue;
            }
        };
        match record {
            Some(record) if wanted.json => output.json(&record)?,
            Some(record) => output.job(&record, aws.clock.now())?,
            None => {
                all = false;
                no_record(aws, id);
            }
        }
    }
    match failed {
        0 => Ok(all),
        _ => Err(Failure::new(format!("{failed} of {} records could not be read", wanted.ids.len()))),
    }
}

pub(super) async fn list(aws: &Aws, wanted: List) -> Result<bool, Failure> {
    let by = &wanted.by;
    let by = match (&by.name, &by.tag, &by.root, &by.object) {
        (Some(name), ..) => By::Name(name),
        (_, Some(tag), ..) => By::Tag(tag),
        (.., Some(root), _) => By::Root(root),
        (.., Some(object)) => By::Object(object),
        _ if let Some(key) = &by.key => By::Key(key),
        _ if by.due => By::Due,
        _ => match wanted.state {
            None | Some(State::Failed) => By::Failed,
            Some(State::Scheduled) => By::Due,
            Some(State::Blocked) => By::Blocked,
            Some(state) => {
                let what = "add --name, --tag, --root, --object or --key: without these options, the command finds only failed and blocked \
                            jobs, and jobs that are delayed by more than 15 minutes";
                return Err(Failure::new(format!("cannot list all jobs that are {}; {what}", state.as_str())));
            }
        },
    };
    // The filter by state makes room for other jobs. One job more than is shown tells whether there are more.
    let most = if wanted.state.is_some() { MOST_FILTERED.max(wanted.limit) } else { wanted.limit };
    let (mut records, unreadable) = match by {
        By::Failed => failed_until(aws, wanted.before.unwrap_or(Timestamp::MAX), most.saturating_add(1)).await?,
        _ => aws.client().list_all(by, most.saturating_add(1)).await?,
    };
    let is_cut = records.len() > most;
    records.retain(|record| wanted.state.is_none_or(|state| record.state == state));
    let is_cut = is_cut || records.len() > wanted.limit;
    records.truncate(wanted.limit);
    let mut output = Output::new();
    if wanted.json {
        records.iter().try_for_each(|record| output.json(record))?;
    } else if !records.is_empty() {
        output.jobs(&records, aws.clock.now())?;
    }
    for error in &unreadable {
        note!("left out: {}", clean(&error.to_string()));
    }
    if records.is_empty() {
        note!("none");
        if let By::Name(name) = by
            && matches!(queue::url(aws, &aws.queue(name)).await, Ok(None))
        {
            let message = format!("no queue has the name {}; check the name, unless the job is on another queue", clean(name));
            note!("{}", aws.place.with_options(&message));
        }
    }
    if is_cut {
        let searched = if wanted.state.is_some() { format!(", after a search of the first {most} jobs") } else { String::new() };
        note!("only the first {} are shown{searched}; --limit shows more", wanted.limit);
    }
    // The page of the operator has links to the other lists.
    if !(is_kept() && matches!(by, By::Failed)) {
        note!("{}", aws.place.with_options(scope_note(by)));
    }
    if matches!(by, By::Due | By::Blocked) && !records.is_empty() {
        beater::report_missing(aws).await;
    }
    if matches!(by, By::Failed) {
        let notes = queue::dead_letters(aws).await;
        let notes =
            notes.unwrap_or_else(|error| vec![format!("Cannot count the messages in dead-letter queues: {}", error.into_message())]);
        print_notes(&notes.iter().map(|note| aws.place.with_options(note)).collect::<Vec<_>>());
    }
    Ok(unreadable.is_empty())
}

/// Reads the jobs that failed at this instant or before, the latest first, and the errors of records that cannot be read.
async fn failed_until(aws: &Aws, until: Timestamp, limit: usize) -> Result<(Vec<Record>, Vec<StoreError>), Failure> {
    let store = DynamoDb::new(aws.dynamodb(), aws.place.table());
    let cannot = |error: StoreError| Failure::because("cannot list failed jobs", error);
    let ids = store.failed_until(until, limit).await.map_err(cannot)?;
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for found in store.read(&ids).await {
        match found {
            Ok(record) => {
                let is_meant = |record: &Record| record.state == State::Failed && record.listed_at.is_some_and(|at| at <= until);
                records.extend(record.filter(is_meant));
            }
            Err(error @ StoreError::Unreadable { .. }) => unreadable.push(error),
            Err(error) => return Err(cannot(error)),
        }
    }
    records.sort_by_key(|record| Reverse(record.listed_at));
    records.truncate(limit);
    Ok((records, unreadable))
}

/// Describes the jobs that a list contains, and how to find the others.
fn scope_note(by: By<'_>) -> &'static str {
    match by {
        By::Failed => {
            "The list contains the jobs that failed for good. To find other jobs: --due, --name, --tag, --root, --object, --key, or `sqjobs get ID`."
        }
        By::Due => {
            "The list contains the waiting jobs that are delayed by more than 15 minutes. Jobs with a shorter delay wait in their queues: \
             `sqjobs queue list` counts them."
        }
        By::Blocked => {
            "The list contains the jobs that wait for other jobs or for a key, sorted by the end of their wait. `sqjobs explain ID` names what \
             a job waits for."
        }
        By::Key(_) => "The list contains the jobs that wait for this key, the oldest first. `sqjobs limit show KEY` shows who holds it.",
        By::Object(_) => "The list contains the jobs that were enqueued with this object (--object, or `Enqueue::object`).",
        By::Tag(_) => {
            "A search by tag finds only jobs that were enqueued with `sqjobs enqueue NAME ARGS --listed` or `Enqueue::listed`, and jobs that got \
             the tag later, by `sqjobs tag` or `Client::tag`. `sqjobs get ID` finds any job that has a record."
        }
        _ => LISTED,
    }
}

pub(super) fn no_record(aws: &Aws, id: &str) {
    let (shown, id) = (clean(id), shell(id));
    let message =
        format!("{shown} has no record: no attempt has started yet, or its record was deleted; `sqjobs explain {id}` searches further");
    note!("{}", aws.place.with_options(&message));
}
