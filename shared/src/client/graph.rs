//! Reads, cancels and retries whole workflows.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::{Cancelled, Client, Enqueue};
use crate::{
    Envelope, Error, Record, State,
    lifecycle::{self, Expansion},
    links,
    outbox::token,
    store::{Write, Written},
};

/// Number of jobs of a workflow that are changed at the same time.
const AT_A_TIME: usize = 16;

/// A workflow and the records of its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Graph {
    /// The message of the workflow.
    pub workflow: Envelope,
    /// The jobs in the order of the message, and the closing job at the end.
    pub jobs: Vec<GraphJob>,
}

/// A job of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GraphJob {
    /// The id of its record.
    pub id: String,
    /// The ids of the records of the jobs that it waits for.
    pub depends_on: Vec<String>,
    /// Its record. `None`: no function has received its message yet, or the table has deleted the record.
    pub record: Option<Record>,
}

impl GraphJob {
    /// Returns the state of the job. A job without a record counts as queued.
    pub fn state(&self) -> State {
        self.record.as_ref().map_or(State::Queued, |record| record.state)
    }
}

impl Graph {
    /// Returns the number of jobs in each state, without the closing job.
    pub fn progress(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for job in &self.jobs[..self.jobs.len().saturating_sub(1)] {
            *counts.entry(job.state().as_str()).or_default() += 1;
        }
        counts
    }
}

/// The result of [`Client::cancel_workflow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CancelledJobs {
    /// Number of waiting jobs that were cancelled.
    pub cancelled: usize,
    /// Number of running jobs that were asked to stop.
    pub running: usize,
    /// Number of jobs that had ended before.
    pub ended: usize,
}

impl Client {
    /// Reads a workflow and the records of its jobs. Returns `None` if no workflow with this id was received, or if the table has deleted its
    /// message.
    ///
    /// This costs half a read unit for each 4 KB of the message, and for each record.
    ///
    /// # Errors
    ///
    /// When no job can have this id, or the table does not answer.
    pub async fn workflow(&self, id: &str) -> Result<Option<Graph>, Error> {
        let Some((workflow, _, _)) = self.plan(id).await? else { return Ok(None) };
        let full = |step: &str| lifecycle::step_id(id, step);
        let mut jobs: Vec<_> =
            workflow.jobs.iter().map(|step| (full(step.id()), step.job.depends_on.iter().map(|id| full(id)).collect())).collect();
        jobs.push((id.to_owned(), workflow.last_steps().into_iter().map(full).collect()));
        let ids: Vec<_> = jobs.iter().map(|(id, _)| id.clone()).collect();
        let records = self.records(&ids).await?;
        let jobs = jobs.into_iter().zip(records).map(|((id, depends_on), record)| GraphJob { id, depends_on, record }).collect();
        Ok(Some(Graph { workflow, jobs }))
    }

    /// Cancels the closing job of a workflow, and all its other jobs that have not ended. Returns `None` if no workflow with this id was
    /// received. In that case, functions discard a later message with this id, as after [`Client::cancel`].
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn cancel_workflow(&self, id: &str) -> Result<Option<CancelledJobs>, Error> {
        // The cancel comes before the read of the plan, because a worker writes the plan before it reads the record of the closing job.
        let closing = self.cancel(id).await?;
        let Some((workflow, _, _)) = self.plan(id).await? else { return Ok(None) };
        let mut outcomes = vec![closing];
        // The last jobs come first, because the cancel of a job may release the jobs that wait for it.
        for wave in waves(id, &workflow).into_iter().rev() {
            let steps = wave.into_iter().filter(|step| step != id);
            let cancelled = stream::iter(steps).map(async |id| self.cancel(&id).await).buffer_unordered(AT_A_TIME);
            outcomes.extend(cancelled.try_collect::<Vec<_>>().await?);
        }
        let mut counts = CancelledJobs::default();
        for outcome in outcomes {
            match outcome {
                Cancelled::Waiting | Cancelled::Unseen(_) => counts.cancelled += 1,
                Cancelled::Running => counts.running += 1,
                Cancelled::Ended => counts.ended += 1,
            }
        }
        Ok(Some(counts))
    }

    /// Retries all jobs of a workflow that were needed and ended without success, including the closing job. Other jobs stay unchanged. If
    /// the workflow was cancelled before all its jobs were sent, sends the unsent jobs now. Returns the ids of the retried jobs, or `None`
    /// if no workflow with this id was received.
    ///
    /// # Errors
    ///
    /// When AWS does not answer, or the table has deleted the record of a job for which another one waits. The call can be repeated.
    pub async fn retry_workflow(&self, id: &str) -> Result<Option<Vec<String>>, Error> {
        let Some((workflow, Expansion { nodes, jobs, closing, .. }, is_old)) = self.plan(id).await? else { return Ok(None) };
        let waves = waves(id, &workflow);
        let queue = closing.name.clone();
        let jobs = jobs.into_iter().chain([(queue, closing)]).filter_map(|(queue, job)| Some((job.id.clone()?, (queue, job))));
        let mut jobs: BTreeMap<_, _> = jobs.collect();
        let ids: Vec<_> = jobs.keys().cloned().collect();
        let records: BTreeMap<_, _> = ids.iter().cloned().zip(self.records(&ids).await?).collect();
        let record = |id: &str| records.get(id).and_then(Option::as_ref);
        let now = self.clock.now();
        if is_old {
            let full = |step: &str| lifecycle::step_id(id, step);
            let again = workflow.jobs.iter().filter(|step| record(&full(step.id())).is_some_and(runs_again));
            let awaited = again.flat_map(|step| step.job.depends_on.iter().map(|id| full(id)));
            let last = workflow.last_steps().into_iter().map(full).filter(|_| record(id).is_some_and(runs_again));
            if let Some(gone) = awaited.chain(last).find(|id| record(id).is_none()) {
                return Err(Error::Conflict(format!(
                    "cannot run workflow {id:?} again: the table has deleted the record of its job {gone:?}, for which others wait; enqueue the \
                     workflow with another id"
                )));
            }
        }
        // A closing job that never waited was cancelled before all jobs were sent.
        if record(id).is_some_and(|closing| closing.dependencies.is_none()) {
            // A job that was sent may have written the record of one that was not.
            let unsent = jobs.iter().filter(|(id, _)| record(id).is_none_or(lifecycle::is_awaited));
            let unsent = unsent.map(|(_, (queue, job))| Enqueue::of(job.clone(), queue.clone())).collect();
            self.send_again(&nodes, unsent).await?;
        }
        self.reopen(nodes, &records).await?;
        let mut done = Vec::new();
        // In waves: a job that is retried before its failed dependency would end at once.
        for wave in waves {
            let again = wave.into_iter().filter(|id| record(id).is_some_and(runs_again));
            let again: Vec<_> = again.filter_map(|id| jobs.remove(&id).map(|job| (id, job))).collect();
            let retried = stream::iter(again).map(async |(id, (queue, mut job))| {
                let known = record(&id);
                let queue = known.map(|record| self.short(&record.queue)).filter(|queue| !queue.is_empty()).unwrap_or(queue);
                if let Some(record) = known.filter(|record| !record.name.is_empty()) {
                    job.name.clone_from(&record.name); // the message may have an alias
                }
                // A retried job runs even if it is late.
                job.expires_at = job.expires_at.filter(|at| *at > now);
                let is_retried = self.retry_one(Enqueue::of(job, queue)).await?;
                Ok::<_, Error>(Some(id).filter(|_| is_retried))
            });
            done.extend(retried.buffer_unordered(AT_A_TIME).try_collect::<Vec<_>>().await?.into_iter().flatten());
        }
        Ok(Some(done))
    }

    /// Returns the jobs that block a job, at most `limit`, with their records.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn unmet(&self, blocked: &Record, limit: usize) -> Result<Vec<(String, Option<Record>)>, Error> {
        let ids = lifecycle::unmet(blocked).cloned().collect();
        let of = |node: &Record| lifecycle::unmet(node).cloned().collect();
        let jobs = links::without_nodes(&*self.store, ids, of).await;
        let mut ids = jobs.map_err(|error| Error::store("cannot read the jobs that block a job", error))?;
        ids.truncate(limit);
        let records = self.records(&ids).await?;
        Ok(ids.into_iter().zip(records).collect())
    }

    /// Returns the jobs that wait for a job, or have waited for it, at most `limit`, with their records.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn dependents(&self, job: &Record, limit: usize) -> Result<Vec<(String, Option<Record>)>, Error> {
        let links = self.links();
        let dependents = links.dependents(job).await.map_err(|error| Error::store("cannot read the jobs that wait for a job", error))?;
        let ids: BTreeSet<_> = dependents.iter().map(|id| lifecycle::job_of(id).to_owned()).collect();
        let ids: Vec<_> = ids.into_iter().take(limit).collect();
        let records = self.records(&ids).await?;
        Ok(ids.into_iter().zip(records).collect())
    }

    /// Writes the nodes, and then sends the jobs that may never have been sent. The messages of jobs that were sent are duplicates.
    async fn send_again(&self, nodes: &[Record], unsent: Vec<Enqueue>) -> Result<(), Error> {
        let inserts: Vec<_> = nodes.iter().cloned().map(Write::insert).collect();
        for written in self.store.write(&inserts).await {
            written.map_err(|error| Error::store("cannot run a workflow again", error))?; // a refused node exists already
        }
        self.enqueue_many(unsent).await.into_iter().try_for_each(|sent| sent.map(drop))
    }

    /// Reopens the nodes of jobs that run again. A node then waits for the members that also run again.
    async fn reopen(&self, nodes: Vec<Record>, records: &BTreeMap<String, Option<Record>>) -> Result<(), Error> {
        let fails = |id: &str| records.get(id).and_then(Option::as_ref).is_some_and(runs_again);
        let ids: Vec<_> = nodes.into_iter().map(|node| node.id).filter(|id| fails(lifecycle::job_of(id))).collect();
        let mut stored: BTreeMap<_, _> = ids.iter().cloned().zip(self.records(&ids).await?).collect();
        let mut writes = Vec::new();
        // The lowest level comes first: nodes with jobs as members, and then nodes with nodes as members.
        for id in ids {
            let is_open = |member: &String| match stored.get(member) {
                Some(node) => node.as_ref().is_some_and(|node| lifecycle::closed(node).is_none()),
                None => fails(member) || records.get(member).and_then(Option::as_ref).is_none_or(|record| !record.state.is_terminal()),
            };
            let Some(Some(node)) = stored.get(&id) else { continue };
            if node.state.is_terminal() || lifecycle::members(node).any(|member| is_open(member) && !node.blocked_on.contains(member)) {
                let open = lifecycle::reopened(node, is_open, &token(), self.clock.now());
                writes.push(Write::replace(node.clone(), open.clone()));
                stored.insert(id, Some(open));
            }
        }
        for written in self.store.write(&writes).await {
            match written.map_err(|error| Error::store("cannot run a workflow again", error))? {
                Written::Done => {}
                Written::Refused(_) => {
                    return Err(Error::Conflict(
                        "cannot run a workflow again: another command changed it at the same time; try again".into(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Reads the plan of a workflow: its message and its jobs. The last value is `true` if none of their messages can still be in a queue.
    async fn plan(&self, id: &str) -> Result<Option<(Envelope, Expansion, bool)>, Error> {
        Self::check(id)?;
        let plan = self.records(&[lifecycle::plan_id(id)]).await?.pop().flatten();
        let is_old = plan.as_ref().is_some_and(|plan| lifecycle::is_left_over(plan, self.clock.now()));
        let Some(body) = plan.and_then(|plan| plan.envelope) else { return Ok(None) };
        let workflow =
            Envelope::parse(&body).map_err(|flaw| Error::Conflict(format!("cannot read the plan of workflow {id:?}: {flaw}")))?;
        let expansion = lifecycle::expand(&workflow, id, self.clock.now());
        Ok(Some((workflow, expansion, is_old)))
    }

    pub(super) async fn records(&self, ids: &[String]) -> Result<Vec<Option<Record>>, Error> {
        let answers = self.store.read(ids).await;
        answers.into_iter().collect::<Result<_, _>>().map_err(|error| Error::store("cannot read the records of a workflow", error))
    }
}

/// Returns `true` for a job that was needed and has ended without success.
fn runs_again(record: &Record) -> bool {
    let is_needed = record.error.as_ref().is_none_or(|error| error.kind != "not_needed");
    record.state.is_terminal() && record.state != State::Succeeded && is_needed
}

/// Returns the ids of the jobs of a workflow in waves: each job comes in a later wave than its dependencies. The closing job is the last.
fn waves(id: &str, workflow: &Envelope) -> Vec<Vec<String>> {
    let mut rest: BTreeMap<&str, &[String]> = workflow.jobs.iter().map(|step| (step.id(), &*step.job.depends_on)).collect();
    let mut waves = Vec::new();
    while !rest.is_empty() {
        let is_ready = |after: &[String]| !after.iter().any(|id| rest.contains_key(id.as_str()));
        let ready: BTreeSet<&str> = rest.iter().filter(|(_, after)| is_ready(after)).map(|(id, _)| *id).collect();
        if ready.is_empty() {
            break; // a cycle, which no workflow has
        }
        rest.retain(|id, _| !ready.contains(id));
        waves.push(ready.into_iter().map(|step| lifecycle::step_id(id, step)).collect());
    }
    waves.push(vec![id.to_owned()]);
    waves
}
