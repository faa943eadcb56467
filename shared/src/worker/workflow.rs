//! Sends the jobs of a workflow.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{batch::Batch, decode::Delivery};
use crate::{
    Envelope, Record,
    clock::until,
    lifecycle::{self, Expansion, Request, filed},
    outbox::token,
    queue::{MAX_DELAY, Outgoing, dedup, is_fifo},
    record::State,
    store::{StoreError, Write, Written},
};

/// The result of an expansion.
pub(super) enum Expanded {
    /// Each job of the workflow was sent, or is in the due index.
    Done,
    /// The workflow was cancelled before. Contains its record.
    Cancelled(Arc<Record>),
    /// The id belongs to another workflow.
    Foreign,
}

impl Delivery {
    /// Sends the jobs of a workflow. Each step can be repeated: a redelivery sends the jobs again, and they are duplicates.
    pub(super) async fn expand(&self, workflow: &Expansion, request: &Request, batch: &Batch<'_>) -> Result<Expanded, StoreError> {
        let now = batch.engine.clock.now();
        let plan = lifecycle::plan(&self.id, &self.message.body, request.digest, request.max_blocked, &token(), now);
        if let Written::Refused(stored) = batch.ledger.write(Write::insert(plan.clone())).await? {
            let stored = if stored.is_some() { stored.map(|stored| *stored) } else { batch.ledger.read(&plan.id).await? };
            if stored.is_some_and(|stored| stored.digest != plan.digest) {
                return Ok(Expanded::Foreign);
            }
        }
        // After the plan was written: whoever cancels a workflow writes its record first and then reads its plan.
        if let Some(record) = batch.ledger.read(&self.id).await?.filter(|record| record.state == State::Cancelled) {
            return Ok(Expanded::Cancelled(Arc::new(record)));
        }
        let nodes: Vec<_> = workflow.nodes.iter().cloned().map(Write::insert).collect();
        for written in batch.links().store.write(&nodes).await {
            written?; // one that is refused exists since an earlier delivery
        }
        let mut queues: BTreeMap<String, Vec<&Envelope>> = BTreeMap::new();
        for (queue, job) in &workflow.jobs {
            queues.entry(format!("{}{queue}", batch.engine.prefix)).or_default().push(job);
        }
        let mut unsent = Vec::new();
        for (queue, jobs) in queues {
            let messages: Vec<_> = jobs.iter().map(|job| message(job, &queue, now)).collect();
            for (job, answer) in jobs.into_iter().zip(batch.engine.queue.send(&queue, &messages).await) {
                if let Err(error) = answer {
                    tracing::error!(id = job.id, queue, %error, "cannot send a job of a workflow; a beater sends it");
                    unsent.push(Write::insert(to_send(job, &queue, now)));
                }
            }
        }
        for written in batch.links().store.write(&unsent).await {
            written?;
        }
        tracing::info!(
            id = self.id,
            jobs = workflow.jobs.len(),
            request_id = batch.invocation.request_id,
            "the jobs of a workflow were sent"
        );
        Ok(Expanded::Done)
    }
}

fn message(job: &Envelope, queue: &str, now: Timestamp) -> Outgoing {
    let mut message = Outgoing::new(job.to_body());
    let delay = job.run_at.map_or(Duration::ZERO, |at| until(now, at));
    if is_fifo(queue) {
        message.group = job.id.as_deref().map(dedup);
        message.dedup.clone_from(&message.group);
    } else if delay <= MAX_DELAY {
        message.delay = Duration::from_secs(delay.as_secs());
    }
    message
}

/// Returns the record of a job of a workflow whose message a beater sends.
fn to_send(job: &Envelope, queue: &str, now: Timestamp) -> Record {
    let id = job.id.clone().unwrap_or_default();
    let request = Request { id, queue: queue.into(), sent_at: Some(now), ..Request::of(job.clone(), job.to_body()) };
    let run_at = job.run_at.map_or(now, |at| at.max(now));
    filed(None, &request, &lifecycle::UNKNOWN, &token(), run_at)
}
