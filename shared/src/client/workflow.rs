//! Builds workflows, and enqueues groups of any size.

use std::collections::{BTreeMap, BTreeSet};

use super::{Client, Enqueue, Enqueued};
use crate::{
    Dependencies, Error, Record, When,
    envelope::Step,
    lifecycle,
    store::{Write, Written},
};

/// Builds a workflow: jobs that are enqueued by one message, and a closing job that runs after them.
///
/// A job without an id gets its name as its id. These are ids within the workflow. The id of a record is `<id of the workflow>/<id>`.
///
/// ```
/// use serde_json::json;
/// use sqjobs::{Enqueue, Workflow, testing::Eager};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sqjobs::Error> {
/// let sizes = [200, 400, 800];
/// let publish = Enqueue::named("publish", json!(["podcast-7"])).id("podcast-7");
/// let workflow = Workflow::new(publish)
///     .then(Enqueue::named("fetch", json!(["https://example.com/7.jpg"])))
///     .group(sizes.map(|size| Enqueue::named("resize", json!([size])).id(format!("resize-{size}"))))
///     .on_failure(Enqueue::named("apology", json!(["podcast-7"])));
/// let client = Eager::new().client();
/// assert_eq!(client.enqueue_one(workflow.build()?).await?.id, "podcast-7");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is enqueued by Client::enqueue_one, after Workflow::build"]
pub struct Workflow {
    closing: Enqueue,
    jobs: Vec<Enqueue>,
    /// The ids of the jobs for which the next ones wait.
    last: Vec<String>,
    ids: BTreeSet<String>,
    /// The number of jobs without an id of their own, by name.
    unnamed: BTreeMap<String, usize>,
}

impl Workflow {
    /// Starts a workflow with its closing job. The id of the closing job is the id of the workflow.
    ///
    /// The closing job runs after the jobs that its [`after`](Enqueue::after) names. Without `after`, it runs after all jobs for which no
    /// other job waits. Failure handlers do not count.
    pub fn new(closing: Enqueue) -> Self {
        Self { closing, jobs: Vec::new(), last: Vec::new(), ids: BTreeSet::new(), unnamed: BTreeMap::new() }
    }

    /// Adds a job that waits only for the jobs that its [`after`](Enqueue::after) names.
    pub fn job(mut self, job: Enqueue) -> Self {
        self.add(job);
        self
    }

    /// Adds a job that waits for the jobs added just before, and for those that its `after` names. The jobs added next wait for it.
    pub fn then(self, job: Enqueue) -> Self {
        self.group([job])
    }

    /// Adds jobs, each of which waits for the one before.
    pub fn chain(self, jobs: impl IntoIterator<Item = Enqueue>) -> Self {
        jobs.into_iter().fold(self, Self::then)
    }

    /// Adds jobs that wait for the jobs added just before, and run at the same time. The jobs added next wait for all of them.
    pub fn group(mut self, jobs: impl IntoIterator<Item = Enqueue>) -> Self {
        let ids = jobs.into_iter().map(|job| self.add(job.after(self.last.clone()))).collect();
        self.last = ids;
        self
    }

    /// Adds a job that runs if one of the jobs added just before fails. Neither the jobs added next nor the closing job waits for it.
    pub fn on_failure(mut self, job: Enqueue) -> Self {
        self.add(job.after(self.last.clone()).when(When::Failed));
        self
    }

    /// Adds a job, and returns its id.
    fn add(&mut self, job: Enqueue) -> String {
        let id = job.envelope().id.clone().unwrap_or_else(|| self.new_id(job.name()));
        self.ids.insert(id.clone());
        self.jobs.push(job.id(id.clone()));
        id
    }

    /// Returns the name of a job as its id, with a number if other jobs have the same name.
    fn new_id(&mut self, name: &str) -> String {
        let number = self.unnamed.entry(name.to_owned()).or_default();
        loop {
            *number += 1;
            let id = if *number == 1 { name.to_owned() } else { format!("{name}-{number}") };
            if !self.ids.contains(&id) {
                return id;
            }
        }
    }

    /// Returns the job to enqueue.
    ///
    /// # Errors
    ///
    /// When a job has an option that a job of a workflow cannot have. [`Client::enqueue_one`](crate::Client::enqueue_one) checks the rest.
    pub fn build(self) -> Result<Enqueue, Error> {
        let steps = self.jobs.into_iter().map(Enqueue::into_step).collect::<Result<Vec<Step>, _>>()?;
        Ok(self.closing.with(|envelope| envelope.jobs = steps))
    }
}

impl Client {
    /// Enqueues any number of jobs, and a closing job that runs after all of them. The [`when`](Enqueue::when) and
    /// [`otherwise`](Enqueue::otherwise) of the closing job set its conditions. For up to 2,000 jobs, a [`Workflow`] needs only one message.
    ///
    /// The closing job needs an id. A job without an id gets `<id of the closing job>/<number>`. Returns one answer for each job. The last
    /// answer is that of the closing job. If the call fails, or some jobs could not be sent, repeat the call with the same jobs: each runs
    /// once.
    ///
    /// # Errors
    ///
    /// When the closing job has no id, or has dependencies of its own; when another group has its id; or when the table does not answer.
    pub async fn enqueue_group(
        &self,
        closing: Enqueue,
        jobs: impl IntoIterator<Item = Enqueue>,
    ) -> Result<Vec<Result<Enqueued, Error>>, Error> {
        let refuse = |why: &str| Err(Error::Invalid(format!("cannot enqueue a group: {why}")));
        let Some(id) = closing.envelope().id.clone() else { return refuse("its closing job has no id; set it with `Enqueue::id`") };
        if !closing.envelope().depends_on.is_empty() {
            return refuse("its closing job has `after`; leave it out, because the closing job waits for all jobs of the group");
        }
        let with_id = |(number, job): (usize, Enqueue)| match job.envelope().id {
            Some(_) => job,
            None => job.id(format!("{id}/{number}")),
        };
        let mut jobs: Vec<_> = jobs.into_iter().enumerate().map(with_id).collect();
        let members: Vec<_> = jobs.iter().filter_map(|job| job.envelope().id.clone()).collect();
        let envelope = closing.envelope();
        let conditions = Dependencies { when: envelope.when, otherwise: envelope.otherwise, ..Dependencies::default() };
        let max_wait = lifecycle::max_wait(envelope);
        let (first, nodes) = lifecycle::nodes(&id, &members, &conditions, max_wait, self.clock.now());
        let writes: Vec<_> = nodes.iter().cloned().map(Write::insert).collect();
        for (write, written) in writes.iter().zip(self.store.write(&writes).await) {
            match written.map_err(|error| Error::store(format!("cannot enqueue group {id:?}"), error))? {
                Written::Done => {}
                Written::Refused(_) => self.compare(&id, &write.next).await?,
            }
        }
        let nodes_of: BTreeMap<_, _> =
            nodes.iter().flat_map(|node| lifecycle::members(node).map(|member| (member.clone(), node.id.clone()))).collect();
        for job in &mut jobs {
            let node = job.envelope().id.as_ref().and_then(|id| nodes_of.get(id)).cloned();
            // Without a dependent, a member might leave no record.
            let dependent = node.unwrap_or_else(|| id.clone());
            *job = job.clone().with(|envelope| envelope.dependents.push(dependent));
        }
        let closing = closing.after(first);
        Ok(self.enqueue_many(jobs.into_iter().chain([closing]).collect::<Vec<_>>()).await)
    }

    /// Compares a node of a group with the stored node. Replaces the stored node if it belongs to an earlier group with the same id.
    async fn compare(&self, group: &str, node: &Record) -> Result<(), Error> {
        let write = match self.records(std::slice::from_ref(&node.id)).await?.pop().flatten() {
            None => Write::insert(node.clone()),
            // The jobs of an earlier group may still wait.
            Some(stored)
                if lifecycle::is_left_over(&stored, self.clock.now())
                    && self.get(group).await?.is_none_or(|closing| lifecycle::is_unclaimed(&closing)) =>
            {
                Write::replace(stored, node.clone())
            }
            Some(stored) if lifecycle::members(&stored).eq(lifecycle::members(node)) => return Ok(()),
            Some(_) => {
                return Err(Error::Conflict(format!("cannot enqueue group {group:?}: another group has this id; use another one")));
            }
        };
        let written = self.store.write(&[write]).await.pop().transpose();
        written.map(drop).map_err(|error| Error::store(format!("cannot enqueue group {group:?}"), error))
    }
}
