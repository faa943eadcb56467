//! Records that are not jobs: nodes, pages and plans.
//!
//! A *node* connects a job to more than 20 dependencies. It waits for up to 20 jobs or nodes on behalf of its parent: a job or another node.
//! It has no message and does not run. When all its members have ended as required, it has succeeded, and the library tells its parent. A
//! *page* lists further dependents of a job whose own record is full. A *plan* keeps the message of a workflow.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    clock::after,
    envelope::{Digest, Envelope, LINK},
    record::{Dependencies, Failure, Record, State},
};

/// Maximum time to wait for other jobs, unless the message sets it.
pub(super) const MAX_BLOCKED: Duration = Duration::from_hours(30 * 24);
/// Delay after which the message of a job is certainly gone. A queue keeps messages for at most 14 days.
pub(super) const GONE: Duration = Duration::from_hours(15 * 24);
/// Maximum time from the first delivery of a workflow until all its jobs are sent. A delivery repeats what an earlier one has done, so one
/// that needs more time than its function has would never come to the end.
const EXPANSION: Duration = Duration::from_hours(24);
/// The kind of a workflow of which not all jobs could be sent.
pub(super) const UNEXPANDED: &str = "expansion";
/// Maximum number of members of a node.
pub(super) const WIDTH: usize = 20;
/// Maximum bytes of the ids of a node's members. A node then has less than 1 KB, so that each change costs one write unit.
const WIDTH_BYTES: usize = 380;
/// Time for which the table keeps a node, a page or a plan after the longest possible wait. A retry may need it.
const KEPT: Duration = Duration::from_hours(60 * 24);

/// Returns the time for which a job may wait for others.
pub(crate) fn max_wait(job: &Envelope) -> Duration {
    job.max_blocked_s.map_or(MAX_BLOCKED, Duration::from_secs_f64)
}

/// Returns `true` for the id of a job.
pub fn is_job(id: &str) -> bool {
    !id.contains(LINK)
}

/// Returns `true` for the id of a node.
pub fn is_node(id: &str) -> bool {
    id.split_once(LINK).is_some_and(|(_, rest)| rest.starts_with('n'))
}

/// Returns the id of the job to which a node, a page or a plan belongs.
pub(crate) fn job_of(id: &str) -> &str {
    id.split_once(LINK).map_or(id, |(job, _)| job)
}

/// Returns the id of the page of a job that lists a dependent. If this page is full, the page on the next level lists it. Level 0 is the
/// record of the job itself.
pub(crate) fn page(id: &str, dependent: &str, level: usize) -> String {
    if level == 0 {
        return id.to_owned();
    }
    // The last digits of such a digest differ most.
    let digits = String::from(Digest::of(dependent)).chars().rev().take(level).collect::<String>();
    format!("{id}{LINK}p{digits}")
}

/// Returns the ids of all pages that follow a page or a job.
pub(crate) fn pages(id: &str) -> impl Iterator<Item = String> {
    let mark = if is_job(id) { format!("{LINK}p") } else { String::new() };
    (0..16).map(move |digit| format!("{id}{mark}{digit:x}"))
}

/// Returns the id of the plan of a workflow.
pub fn plan_id(workflow: &str) -> String {
    format!("{workflow}{LINK}plan")
}

/// Returns the plan of a workflow: a record that keeps its message. `owner` is a new token, which distinguishes it from the plan of another
/// workflow with this id.
pub(crate) fn plan(workflow: &str, body: &str, digest: Option<Digest>, max_wait: Duration, owner: &str, now: Timestamp) -> Record {
    let purge_at = Some(kept_until(max_wait, now));
    let owner = Some(owner.to_owned());
    Record {
        envelope: Some(body.to_owned()),
        digest,
        owner,
        state: State::Blocked,
        enqueued_at: Some(now),
        purge_at,
        ..of(plan_id(workflow))
    }
}

/// Returns the reason why no delivery of a message that was sent at `sent_at` sends the jobs of a workflow any more. `plan` is the plan that
/// an earlier delivery has stored. A redriven message is a new one.
pub(crate) fn overdue_expansion(plan: &Record, sent_at: Option<Timestamp>, now: Timestamp) -> Option<Failure> {
    let is_old = |at: Option<Timestamp>| at.is_some_and(|at| after(at, EXPANSION) < now);
    let reason = "not all jobs of the workflow were sent within 24 hours; the logs of its function show why. Redrive this message, or send \
                  the other jobs with `sqjobs retry --tree`";
    (is_old(plan.enqueued_at) && is_old(sent_at)).then(|| Failure::new(UNEXPANDED, reason.to_owned(), now))
}

/// Returns `true` for a node or a plan of an earlier workflow with the same id, whose message is certainly gone.
pub(crate) fn is_left_over(record: &Record, now: Timestamp) -> bool {
    record.enqueued_at.is_some_and(|at| after(at, GONE) < now)
}

/// Returns the instant after which the table deletes a node, a page or a plan, in seconds since the epoch.
pub(super) fn kept_until(max_wait: Duration, now: Timestamp) -> i64 {
    after(after(now, max_wait), KEPT).as_second()
}

fn of(id: String) -> Record {
    Record { id, ..Record::default() }
}

/// Returns `true` for a node that waits again. It may still have to be registered with its members.
pub(crate) fn is_reopened(node: &Record) -> bool {
    is_node(&node.id) && node.generation > 0 && !node.blocked_on.is_empty()
}

/// Returns the members of a node, in their order.
pub(crate) fn members(node: &Record) -> impl Iterator<Item = &String> {
    node.dependencies.iter().flat_map(|dependencies| &dependencies.ids)
}

/// Makes a node wait again for those of its members that are open. `owner` is a new token.
pub(crate) fn reopened(node: &Record, is_open: impl Fn(&String) -> bool, owner: &str, now: Timestamp) -> Record {
    let blocked_on = members(node).filter(|id| is_open(id)).cloned().collect();
    let purge_at = Some(kept_until(MAX_BLOCKED, now));
    let generation = node.generation.saturating_add(1);
    Record {
        state: State::Blocked,
        blocked_on,
        error: None,
        finished_at: None,
        purge_at,
        generation,
        owner: Some(owner.to_owned()),
        ..node.clone()
    }
}

/// Builds the nodes through which `parent` waits for `members`. Returns the ids that the parent itself waits for, at most 20, and the nodes.
/// The nodes that wait for the members come first, in the order of the members.
pub(crate) fn nodes(
    parent: &str,
    members: &[String],
    conditions: &Dependencies,
    max_wait: Duration,
    now: Timestamp,
) -> (Vec<String>, Vec<Record>) {
    let mut nodes: Vec<Record> = Vec::new();
    let (mut level, mut first) = (members.to_vec(), 0);
    while level.len() > WIDTH {
        let mut next = Vec::new();
        for ids in chunks(&level) {
            let id = format!("{parent}{LINK}n{}", nodes.len());
            for child in nodes[..first].iter_mut().filter(|child| ids.contains(&child.id)) {
                child.dependents = [id.clone()].into();
            }
            next.push(id.clone());
            nodes.push(Record {
                state: State::Blocked,
                enqueued_at: Some(now),
                // The token distinguishes the nodes of two expansions.
                owner: Some(now.as_nanosecond().to_string()),
                dependencies: Some(Box::new(Dependencies { ids: ids.to_vec(), until: None, met: false, ..*conditions })),
                blocked_on: ids.iter().cloned().collect(),
                dependents: [parent.to_owned()].into(),
                purge_at: Some(kept_until(max_wait, now)),
                ..of(id)
            });
        }
        first = nodes.len();
        level = next;
    }
    (level, nodes)
}

/// Divides ids into groups that fit into one node each.
fn chunks(ids: &[String]) -> Vec<&[String]> {
    let (mut chunks, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, id) in ids.iter().enumerate() {
        // A group has at least two ids. Otherwise, the next level would not be smaller.
        if at - from >= 2 && (at - from == WIDTH || bytes + id.len() > WIDTH_BYTES) {
            chunks.push(&ids[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += id.len();
    }
    chunks.extend(Some(&ids[from..]).filter(|rest| !rest.is_empty()));
    chunks
}
