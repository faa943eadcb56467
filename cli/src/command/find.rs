//! Shows jobs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;
use sqjobs::{By, Client, Record, State};

use super::{follow::is_unstarted, lookup, queue, stats};
use crate::{
    args::{Explain, Get, List, Tree},
    aws::Aws,
    failure::Failure,
    output::{Output, clean, colour, last, note},
    sentence,
};

/// A note about the jobs that lists by name, tag and tree contain.
const LISTED: &str = "Only jobs that were enqueued as listed are found by name, tag or tree (`sqjobs enqueue NAME ARGS --listed`, or `Enqueue::listed`); \
                      failed jobs are always found by `sqjobs list`, and any job by `sqjobs get ID`.";
/// Maximum number of jobs to show from a tree.
const TREE: usize = 1000;
/// The possible reasons why a job has no record.
const NO_ATTEMPT: &str = "So no attempt was started yet, or its record was deleted long after its end, or it succeeded and its function \
                           records it on trouble only, or its message was purged from its queue, or the id is wrong.";
/// Maximum number of ancestors of a job.
const DEPTH: usize = 100;

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
                return Err(Failure::said(format!(
                    "jobs that are {} are found among those that were enqueued as listed; {what}",
                    state.as_str()
                )));
            }
        },
    };
    // The filter by state makes room for other jobs. One job more than is shown tells whether there are more.
    let most = if wanted.state.is_some() { TREE.max(wanted.limit) } else { wanted.limit };
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
        let notes = notes.unwrap_or_else(|error| vec![format!("The messages in dead-letter queues are not counted: {}", error.told())]);
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

pub(super) async fn explain(aws: &Aws, wanted: Explain) -> Result<bool, Failure> {
    let (record, now) = (aws.client().get(&wanted.id).await?, aws.clock.now());
    let queue = match &record {
        Some(record) if !record.state.is_terminal() && !record.queue.is_empty() => Some(queue::url(aws, &record.queue).await),
        _ => None,
    };
    let is_queue_gone = matches!(queue, Some(Ok(None)));
    let mut sentences = match &record {
        Some(record) => sentence::explain(record, &aws.place.prefix, is_queue_gone, now),
        None => vec![format!("There is no record of {:?}.", wanted.id)],
    };
    if let Some(Err(unseen)) = queue {
        sentences.push(format!("Its queue cannot be looked at: {}.", unseen.told()));
    }
    let mut is_dead = false;
    if is_unstarted(record.as_ref()) && !is_queue_gone {
        match lookup::look(aws, &wanted.id, record.as_ref().map(|record| &*record.queue), None).await {
            Ok(known) => {
                is_dead = known.dead_letter.is_some();
                if record.is_none() && known.dead_letter.is_none() {
                    sentences.push(NO_ATTEMPT.into());
                }
                sentences.extend(known.sentences(&wanted.id, &aws.place.prefix, now));
            }
            Err(error) => {
                sentences.extend(record.is_none().then(|| NO_ATTEMPT.into()));
                sentences.push(format!("The queues cannot be looked at: {}.", error.told()));
            }
        }
    }
    if let Some(record) = &record {
        if !is_dead {
            sentences.extend(gone(aws, record, now).await);
            sentences.extend(lookup::other_letter(aws, record, now).await);
        }
        sentences.extend(discarded(aws, record, now).await);
    }
    let sentences: Vec<_> = sentences.iter().map(|sentence| aws.place.with_options(sentence)).collect();
    let mut output = Output::new();
    if wanted.json {
        output.json(&json!({"id": wanted.id, "state": record.as_ref().map(|record| record.state), "sentences": sentences}))?;
    } else {
        sentences.iter().try_for_each(|sentence| output.line(clean(sentence)))?;
    }
    Ok(record.is_some())
}

/// Warns that the message of a job may be gone, because its queue is empty, the job is overdue there, or its attempt has died.
async fn gone(aws: &Aws, record: &Record, now: Timestamp) -> Option<String> {
    let has_died = sentence::has_died(record, now);
    if !matches!(record.state, State::Queued | State::Retrying) && !has_died {
        return None;
    }
    // If the queue cannot be read, this was already reported.
    let (queue, next) = (queue::find(aws, &record.queue).await.ok()?, sentence::resend(record, &aws.place.prefix));
    match queue.depth.all() {
        0 => Some(format!(
            "SQS counts no message in queue {}. If it still counts none in a minute, the message is gone, such as by a purge of the queue: {next}.",
            record.queue
        )),
        count if has_died || sentence::is_overdue(record, now) => Some(format!(
            "Queue {} holds messages ({count}), and SQS does not say if that of this job is among them. If it was purged: {next}.",
            record.queue
        )),
        _ => None,
    }
}

/// Warns that a duplicate of a job with other arguments was discarded.
async fn discarded(aws: &Aws, record: &Record, now: Timestamp) -> Option<String> {
    let saw = match stats::recent(aws, now).await {
        Ok(tallies) => tallies.get(&record.queue)?.saw(stats::OTHER_ARGUMENTS, &record.id),
        Err(error) => return Some(format!("Whether duplicates with other arguments were discarded is not known: {error}.")),
    };
    let was = match saw {
        Some(true) => "was",
        Some(false) => return None,
        None => "may have been",
    };
    Some(format!(
        "A duplicate of it with other arguments {was} discarded since yesterday: those arguments did not run. The function's log says when \
         (warning \"duplicate discarded\" with this id)."
    ))
}

pub(super) async fn tree(aws: &Aws, wanted: Tree) -> Result<bool, Failure> {
    let client = aws.client();
    let Some(record) = client.get(&wanted.id).await? else {
        no_record(aws, &wanted.id);
        return Ok(false);
    };
    let records = family(&client, record).await?;
    let mut output = Output::new();
    if wanted.json {
        records.values().try_for_each(|record| output.json(record))?;
        anstream::eprintln!("{}", aws.place.with_options(LISTED));
        return Ok(true);
    }
    let now = aws.clock.now();
    for (depth, record) in branches(&records) {
        let mark = if record.id == wanted.id { "*" } else { " " };
        let state = format!("{}{}\u{1b}[0m", colour(record.state), record.state.as_str());
        let (id, name) = (clean(&record.id), clean(&record.name));
        output.line(format!("{mark} {:indent$}{id}  {name}  {state}  {}", "", last(record, now), indent = 2 * depth))?;
    }
    if records.len() >= TREE {
        anstream::eprintln!("the first {TREE} jobs of the tree");
    }
    let listed = aws.place.with_options(LISTED);
    anstream::eprintln!("Beside this job and its causes, only jobs of the tree that were enqueued as listed are shown. {listed}");
    Ok(true)
}

fn no_record(aws: &Aws, id: &str) {
    let (shown, id) = (clean(id), sentence::shell(id));
    let said = format!(
        "there is no record of {shown}: no attempt was started yet, or its record was deleted; `sqjobs explain {id}` looks further"
    );
    anstream::eprintln!("{}", aws.place.with_options(&said));
}

/// Returns the job, its ancestors, and the listed jobs of its tree.
async fn family(client: &Client, record: Record) -> Result<BTreeMap<String, Record>, Failure> {
    let root = record.root_id.clone().unwrap_or_else(|| record.id.clone());
    let listed = client.list(By::Root(&root), TREE).await?;
    let mut records: BTreeMap<_, _> = listed.into_iter().chain([record.clone()]).map(|record| (record.id.clone(), record)).collect();
    let mut parent = record.parent_id;
    for _ in 0..DEPTH {
        let Some(id) = parent else { break };
        let found = match records.get(&id) {
            Some(found) => Some(found.clone()),
            None => client.get(&id).await?,
        };
        parent = found.as_ref().and_then(|found| found.parent_id.clone());
        records.extend(found.map(|found| (id, found)));
    }
    Ok(records)
}

/// Returns the jobs in the order of the tree, each with its depth. A job whose parent is not among them is a root.
fn branches(records: &BTreeMap<String, Record>) -> Vec<(usize, &Record)> {
    let mut children: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    let mut roots = Vec::new();
    for record in records.values() {
        match record.parent_id.as_deref().filter(|parent| records.contains_key(*parent) && *parent != record.id) {
            Some(parent) => children.entry(parent).or_default().push(record),
            None => roots.push(record),
        }
    }
    let by_age = |of: &mut Vec<&Record>| of.sort_by_key(|record| (record.enqueued_at, &record.id));
    by_age(&mut roots);
    children.values_mut().for_each(by_age);
    let mut shown = Vec::new();
    let mut seen = BTreeSet::new();
    let mut rest: Vec<_> = roots.into_iter().rev().map(|root| (0, root)).collect();
    while let Some((depth, record)) = rest.pop() {
        if seen.insert(&record.id) {
            shown.push((depth, record));
            let below = children.remove(&*record.id).unwrap_or_default();
            rest.extend(below.into_iter().rev().map(|child| (depth + 1, child)));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(jobs: &[(&str, Option<&str>, u32)]) -> BTreeMap<String, Record> {
        let record = |(id, parent, minute): &(&str, Option<&str>, u32)| {
            let at = format!("2026-05-04T12:{minute:02}:00Z");
            let json = json!({"id": id, "name": "n", "queue": "q", "state": "queued", "parent_id": parent, "enqueued_at": at});
            ((*id).to_owned(), serde_json::from_value(json).expect("a record"))
        };
        jobs.iter().map(record).collect()
    }

    #[test]
    fn a_tree_shows_each_job_below_its_cause_the_oldest_first() {
        let records = records(&[("c", Some("a"), 3), ("b", Some("a"), 2), ("a", None, 1), ("d", Some("c"), 4), ("x", Some("gone"), 0)]);
        let shown: Vec<_> = branches(&records).into_iter().map(|(depth, record)| (depth, &*record.id)).collect();
        assert_eq!(shown, [(0, "x"), (0, "a"), (1, "b"), (1, "c"), (2, "d")]);
    }

    #[test]
    fn a_job_that_names_itself_as_its_cause_is_shown_once() {
        let records = records(&[("a", Some("a"), 1)]);
        assert_eq!(branches(&records).len(), 1);
    }
}
