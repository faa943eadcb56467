//! Shows the tree of a job.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use sqjobs::{By, Client, Record};

use super::{
    find::{LISTED, no_record},
    workflow,
};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, colour, last_change},
    value::text,
};

/// Maximum number of jobs to show from a tree.
const TREE: usize = 1000;
/// Maximum number of ancestors of a job.
const DEPTH: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// The id of any job in the tree, or of a workflow or one of its jobs.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// Print each record as a line of JSON; for a workflow, each job with its record.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn tree(aws: &Aws, wanted: Tree) -> Result<bool, Failure> {
    if let Some((workflow, graph)) = workflow::find(aws, &wanted.id).await? {
        return workflow::draw(aws, &wanted.id, &workflow, &graph, wanted.json);
    }
    let client = aws.client();
    let Some(record) = client.get(&wanted.id).await? else {
        no_record(aws, &wanted.id);
        return Ok(false);
    };
    let records = family(&client, record).await?;
    let mut output = Output::new();
    if wanted.json {
        records.values().try_for_each(|record| output.json(record))?;
        note!("{}", aws.place.with_options(LISTED));
        return Ok(true);
    }
    let now = aws.clock.now();
    for (depth, record) in branches(&records) {
        let mark = if record.id == wanted.id { "*" } else { " " };
        let state = format!("{}{}\u{1b}[0m", colour(record.state), record.state.as_str());
        let (id, name) = (clean(&record.id), clean(&record.name));
        output.line(format!("{mark} {:indent$}{id}  {name}  {state}  {}", "", last_change(record, now), indent = 2 * depth))?;
    }
    if records.len() >= TREE {
        note!("only the first {TREE} jobs of the tree are shown");
    }
    let listed = aws.place.with_options(LISTED);
    note!("The tree shows this job, its ancestors, and the listed jobs of the same tree. {listed}");
    Ok(true)
}

/// Returns the job, its ancestors, and the listed jobs of its tree.
async fn family(client: &Client, record: Record) -> Result<BTreeMap<String, Record>, Failure> {
    let root = record.root_id.clone().unwrap_or_else(|| record.id.clone());
    let (listed, unreadable) = client.list_all(By::Root(&root), TREE).await?;
    for error in &unreadable {
        note!("left out: {}", clean(&error.to_string()));
    }
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
    use serde_json::json;

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
