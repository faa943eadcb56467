//! Expands the message of a workflow into its jobs.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::node::{WIDTH, is_job, max_wait, members, nodes};
use crate::{
    envelope::{Digest, Envelope, Step, step_id},
    record::{Dependencies, Record},
};

/// The jobs of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expansion {
    /// The nodes. They must be stored before a job is sent.
    pub(crate) nodes: Vec<Record>,
    /// The jobs to send, each with its queue, without the prefix of the environment.
    pub(crate) jobs: Vec<(String, Envelope)>,
    /// The closing job. It waits for some of these jobs.
    pub(crate) closing: Envelope,
    /// The digest of the whole workflow.
    pub(crate) digest: Digest,
}

/// Expands the workflow with this id into its jobs.
pub(crate) fn expand(workflow: &Envelope, id: &str, now: Timestamp) -> Expansion {
    let mut closing = Envelope { jobs: Vec::new(), ..workflow.clone() };
    closing.depends_on = workflow.last_steps().into_iter().map(str::to_owned).collect();
    let mut jobs: Vec<_> = workflow.jobs.iter().map(|step| (queue(step), inherited(step, workflow, id))).collect();
    let mut wires = Wires { nodes: Vec::new(), nodes_of: BTreeMap::new(), direct: BTreeMap::new(), now };
    for (_, job) in &mut jobs {
        wires.connect(job, id);
    }
    closing.id = Some(id.to_owned());
    closing = closing.with_renamed_outputs(|step| step_id(id, step));
    wires.connect(&mut closing, id);
    for (_, job) in &mut jobs {
        job.dependents = job.id.as_ref().map(|id| wires.dependents(id)).unwrap_or_default();
        job.add_needs();
    }
    Expansion { nodes: wires.nodes, jobs, closing, digest: workflow.workflow_digest() }
}

fn queue(step: &Step) -> String {
    step.job.priority.queue_for_job(step.queue.as_ref().unwrap_or(&step.job.name))
}

/// Returns a job with the id of its record, and with the fields that it inherits from its workflow.
fn inherited(step: &Step, workflow: &Envelope, id: &str) -> Envelope {
    let job = step.job.clone().with_renamed_outputs(|step| step_id(id, step));
    let waits = !job.depends_on.is_empty();
    let traced = if job.traceparent.is_some() { &job } else { workflow };
    let (traceparent, tracestate) = (traced.traceparent.clone(), traced.tracestate.clone());
    Envelope {
        id: Some(step_id(id, step.id())),
        run_at: job.run_at.or(workflow.run_at),
        expires_at: job.expires_at.or(workflow.expires_at),
        max_blocked_s: job.max_blocked_s.or(workflow.max_blocked_s).filter(|_| waits),
        traceparent,
        tracestate,
        parent_id: Some(id.to_owned()),
        root_id: Some(workflow.root_id.clone().unwrap_or_else(|| id.to_owned())),
        depth: workflow.depth.saturating_add(1),
        ..job
    }
}

/// The connections between the jobs of a workflow.
struct Wires {
    nodes: Vec<Record>,
    /// The nodes of which each job is a member.
    nodes_of: BTreeMap<String, Vec<String>>,
    /// The jobs that wait for each job directly.
    direct: BTreeMap<String, Vec<String>>,
    now: Timestamp,
}

impl Wires {
    /// Connects a job with those that it waits for: directly, or through nodes.
    fn connect(&mut self, job: &mut Envelope, workflow: &str) {
        let id = job.id.clone().unwrap_or_default();
        let awaited: Vec<_> = job.depends_on.iter().map(|step| step_id(workflow, step)).collect();
        if awaited.len() <= WIDTH {
            for member in &awaited {
                self.direct.entry(member.clone()).or_default().push(id.clone());
            }
            job.depends_on = awaited;
            return;
        }
        let conditions = Dependencies { when: job.when, otherwise: job.otherwise, ..Dependencies::default() };
        let (first, nodes) = nodes(&id, &awaited, &conditions, max_wait(job), self.now);
        for node in &nodes {
            for member in members(node).filter(|id| is_job(id)) {
                self.nodes_of.entry(member.clone()).or_default().push(node.id.clone());
            }
        }
        self.nodes.extend(nodes);
        job.depends_on = first;
    }

    /// Returns the dependents that the message of a job names: all its nodes, and the first of the jobs that wait for it directly.
    ///
    /// Jobs that wait directly also register themselves, so the list need not be complete. But it must not be empty, because a job without
    /// dependents may write no record.
    fn dependents(&mut self, id: &str) -> Vec<String> {
        let mut ids = self.nodes_of.remove(id).unwrap_or_default();
        let room = WIDTH.saturating_sub(ids.len());
        ids.extend(self.direct.remove(id).unwrap_or_default().into_iter().take(room));
        ids
    }
}
