//! Shows the records of jobs, and finds jobs.

use clap::Args;
use sqjobs::{By, State};

use super::queue;
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, note},
    sentence,
    value::text,
};

/// A note about the jobs that lists by name, tag and tree contain.
pub(super) const LISTED: &str = "Only jobs that were enqueued as listed are found by name, tag or tree (`sqjobs enqueue NAME ARGS --listed`, or `Enqueue::listed`); \
                      failed jobs are always found by `sqjobs list`, and any job by `sqjobs get ID`.";
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
    /// The most rows to show.
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
    /// Jobs that wait for more than 15 minutes.
    #[arg(long)]
    pub(crate) due: bool,
    /// Jobs of this name that were enqueued with --listed.
    #[arg(long, value_parser = text)]
    pub(crate) name: Option<String>,
    /// Jobs with this tag that were enqueued with --listed.
    #[arg(long, value_parser = text)]
    pub(crate) tag: Option<String>,
    /// Jobs of the tree of this job that were enqueued with --listed.
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) root: Option<String>,
    /// Jobs that were enqueued with this --object.
    #[arg(long, value_parser = text)]
    pub(crate) object: Option<String>,
}

fn state(text: &str) -> Result<State, String> {
    serde_json::from_value(text.into()).map_err(|_| {
        format!("{text:?} is no state; write scheduled, blocked, queued, running, retrying, succeeded, failed, cancelled or expired")
    })
}

pub(super) async fn get(aws: &Aws, wanted: Get) -> Result<bool, Failure> {
    let (client, mut output) = (aws.client(), Output::new());
    let mut all = true;
    for id in &wanted.ids {
        match client.get(id).await? {
            Some(record) if wanted.json => output.json(&record)?,
            Some(record) => output.job(&record, aws.clock.now())?,
            None => {
                all = false;
                no_record(aws, id);
            }
        }
    }
    Ok(all)
}

pub(super) async fn list(aws: &Aws, wanted: List) -> Result<bool, Failure> {
    let by = &wanted.by;
    let by = match (&by.name, &by.tag, &by.root, &by.object) {
        (Some(name), ..) => By::Name(name),
        (_, Some(tag), ..) => By::Tag(tag),
        (.., Some(root), _) => By::Root(root),
        (.., Some(object)) => By::Object(object),
        _ if by.due => By::Due,
        _ => match wanted.state {
            None | Some(State::Failed) => By::Failed,
            Some(State::Scheduled) => By::Due,
            Some(state) => {
                let what =
                    "add --name, --tag, --root or --object: of all jobs, only those that failed and those that wait for long are found";
                return Err(Failure::new(format!(
                    "jobs that are {} are found among those that were enqueued as listed; {what}",
                    state.as_str()
                )));
            }
        },
    };
    // The filter by state makes room for other jobs. One job more than is shown tells whether there are more.
    let most = if wanted.state.is_some() { MOST_FILTERED.max(wanted.limit) } else { wanted.limit };
    let mut records = aws.client().list(by, most.saturating_add(1)).await?;
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
    if records.is_empty() {
        anstream::eprintln!("none");
    }
    if is_cut {
        let looked = if wanted.state.is_some() { format!(" of the first {most} jobs of the list") } else { String::new() };
        anstream::eprintln!("only the first {}{looked} are shown; --limit shows more", wanted.limit);
    }
    anstream::eprintln!("{}", aws.place.with_options(covered(by)));
    if matches!(by, By::Failed) {
        let notes = queue::dead_letters(aws).await;
        let notes =
            notes.unwrap_or_else(|error| vec![format!("The messages in dead-letter queues are not counted: {}", error.into_message())]);
        note(&notes.iter().map(|note| aws.place.with_options(note)).collect::<Vec<_>>());
    }
    Ok(true)
}

/// Describes the jobs that a list contains, and how to find the others.
fn covered(by: By<'_>) -> &'static str {
    match by {
        By::Failed => "These are the jobs that failed for good; other jobs: --due, --name, --tag, --root, --object, or `sqjobs get ID`.",
        By::Due => {
            "These are the jobs that wait in the table, for more than 15 minutes; shorter waits stay in the queue: `sqjobs queue list`."
        }
        By::Object(_) => "These are the jobs that were enqueued with this object (--object, or `Enqueue::object`).",
        _ => LISTED,
    }
}

pub(super) fn no_record(aws: &Aws, id: &str) {
    let (shown, id) = (clean(id), sentence::shell(id));
    let message = format!(
        "there is no record of {shown}: no attempt was started yet, or its record was deleted; `sqjobs explain {id}` looks further"
    );
    anstream::eprintln!("{}", aws.place.with_options(&message));
}
