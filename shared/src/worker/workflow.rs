//! Sends the jobs of a workflow.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use jiff::Timestamp;

use super::{batch::Batch, decode::Delivery};
use crate::{
    Envelope, Record,
    clock::{after, until},
    lifecycle::{self, Expansion, Request, filed},
    outbox::token,
    queue::{MAX_DELAY, Outgoing, attribute::ID, dedup, is_fifo},
    record::{Dependencies, Failure},
    store::{StoreError, Write, Written},
};

/// The result of an expansion.
pub(super) enum Expanded {
    /// Each job of the workflow was sent, or is in the due index.
    Done,
    /// Nothing was sent, because another process has written or deleted the record of the closing job. Contains the stored record.
    Known(Option<Arc<Record>>),
    /// The id belongs to another workflow.
    Foreign,
    /// Earlier deliveries have tried to send the jobs for too long.
    Overdue(Failure),
}

/// The use of the id of a workflow before this delivery.
pub(super) enum Earlier {
    /// None, or the same workflow.
    Same,
    /// Another workflow.
    Other,
    /// A workflow whose message is certainly gone. Its jobs may still wait: if it still has its closing job, which is this record, its plan
    /// must stay.
    Old(Option<Box<Record>>),
}

impl Delivery {
    /// Compares a workflow with the stored plan of its id.
    pub(super) async fn earlier(&self, workflow: &Expansion, batch: &Batch<'_>) -> Result<Earlier, StoreError> {
        let plan = batch.ledger.read(&lifecycle::plan_id(&self.id)).await?;
        Ok(match plan {
            Some(plan) if lifecycle::is_left_over(&plan, batch.engine.clock.now()) => {
                Earlier::Old(batch.ledger.read(&self.id).await?.map(Box::new))
            }
            Some(plan) if plan.digest != Some(workflow.digest) => Earlier::Other,
            _ => Earlier::Same,
        })
    }

    /// Sends the jobs of a workflow, unless the record of its closing job differs from `seen`. Each step can be repeated: a redelivery sends
    /// the jobs again, and these messages are duplicates.
    pub(super) async fn expand(
        &self,
        workflow: &Expansion,
        request: &Request,
        seen: Option<&Record>,
        batch: &Batch<'_>,
    ) -> Result<Expanded, StoreError> {
        let now = batch.engine.clock.now();
        let plan = lifecycle::plan(&self.id, &self.message.body, Some(workflow.digest), request.max_blocked, &token(), now);
        match self.insert(plan, batch).await? {
            Some(stored) if stored.digest != Some(workflow.digest) => return Ok(Expanded::Foreign),
            Some(stored) => {
                if let Some(reason) = lifecycle::overdue_expansion(&stored, self.message.sent_at, now) {
                    return Ok(Expanded::Overdue(reason));
                }
            }
            None => {}
        }
        // This read comes after the write of the plan, because a cancel writes the record of the closing job before it reads the plan.
        let stored = batch.ledger.read(&self.id).await?;
        if stored.as_ref().map(Record::version) != seen.map(Record::version) {
            return Ok(Expanded::Known(stored.map(Arc::new)));
        }
        for written in join_all(workflow.nodes.iter().map(|node| self.insert(node.clone(), batch))).await {
            written?; // a refused node exists since an earlier delivery
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
                    unsent.push(self.file(filed_job(job, &queue, now), batch));
                }
            }
        }
        for filed in join_all(unsent).await {
            filed?;
        }
        tracing::info!(
            id = self.id,
            jobs = workflow.jobs.len(),
            request_id = batch.invocation.request_id,
            "the jobs of a workflow were sent"
        );
        Ok(Expanded::Done)
    }

    /// Inserts a plan or a node. If an earlier delivery has inserted it, returns the stored record. Replaces a record of an earlier workflow
    /// with the same id.
    async fn insert(&self, next: Record, batch: &Batch<'_>) -> Result<Option<Record>, StoreError> {
        let Written::Refused(stored) = batch.ledger.write(Write::insert(next.clone())).await? else { return Ok(None) };
        let Some(stored) = stored.map(|stored| *stored) else {
            return Err(StoreError::Busy("the record of a workflow was deleted in the meantime".into()));
        };
        if !lifecycle::is_left_over(&stored, batch.engine.clock.now()) {
            return Ok(Some(stored));
        }
        match batch.ledger.write(Write::replace(stored, next)).await? {
            Written::Done => Ok(None),
            Written::Refused(_) => Err(StoreError::Busy("the record of a workflow changed in the meantime".into())),
        }
    }

    /// Files a job that could not be sent, so that a beater sends it. Replaces the placeholder that a waiting job may have written for this
    /// job. Any other record means that an earlier delivery has sent the job.
    async fn file(&self, job: Record, batch: &Batch<'_>) -> Result<(), StoreError> {
        let Written::Refused(stored) = batch.ledger.write(Write::insert(job.clone())).await? else { return Ok(()) };
        let Some(stored) = stored.map(|stored| *stored).filter(lifecycle::is_unclaimed) else { return Ok(()) };
        let dependents = stored.dependents.union(&job.dependents).cloned().collect();
        match batch.ledger.write(Write::replace(stored, Record { dependents, ..job })).await? {
            Written::Done => Ok(()),
            Written::Refused(_) => Err(StoreError::Busy("the record of a job changed in the meantime".into())),
        }
    }
}

fn message(job: &Envelope, queue: &str, now: Timestamp) -> Outgoing {
    let mut message = Outgoing::new(job.to_body());
    if let Some(id) = job.id.as_ref().filter(|_| job.dependents.is_empty() && job.depends_on.is_empty()) {
        message.attributes.insert(ID.into(), id.clone()); // so that the job is recorded, whatever its policy
    }
    let delay = job.run_at.map_or(Duration::ZERO, |at| until(now, at));
    if is_fifo(queue) {
        message.group = job.id.as_deref().map(dedup);
        message.dedup.clone_from(&message.group);
    } else if delay <= MAX_DELAY {
        message.delay = Duration::from_secs(delay.as_secs());
    }
    message
}

/// Returns the record of a job that could not be sent. A beater sends its message.
fn filed_job(job: &Envelope, queue: &str, now: Timestamp) -> Record {
    let id = job.id.clone().unwrap_or_default();
    let request = Request { id, queue: queue.into(), sent_at: Some(now), ..Request::of(job.clone(), job.to_body()) };
    let run_at = job.run_at.map_or(now, |at| at.max(now));
    let filed = filed(None, &request, &lifecycle::UNKNOWN, &token(), run_at);
    // The message that is sent does not say how long the job may wait for others.
    let until = Some(after(run_at, request.max_blocked));
    let dependencies = filed.dependencies.map(|dependencies| Box::new(Dependencies { until, ..*dependencies }));
    Record { dependencies, ..filed }
}
