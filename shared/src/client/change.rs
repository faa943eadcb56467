//! Cancels, reschedules and retries jobs.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::{Client, enqueue::Prepared, publish::refused};
use crate::{
    Enqueue, Error, Priority, Record,
    envelope::{Envelope, check_id},
    lifecycle::{self, Request},
    outbox::{send, token},
    store::{Write, Written},
    traces::Outcome,
};

/// Maximum number of tries to change a record that other writes change at the same time.
pub(super) const CHANGES: usize = 5;

/// The outcome of [`Client::cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancelled {
    /// The job was waiting. It never runs.
    Waiting,
    /// An attempt was running and is asked to stop. The job may still succeed.
    Running,
    /// There was no record: no function has received a message with this id, or none exists. A job with this id does not run before this
    /// instant.
    Unseen(Timestamp),
    /// The job had already ended. Nothing was changed.
    Ended,
}

impl Client {
    /// Cancels a job. A waiting job never runs, even if no function has received its message yet. A running job is asked to stop. The
    /// record of a cancelled job is kept for 30 days.
    ///
    /// An unknown id is blocked too, because its message may be on its way: see [`Cancelled::Unseen`].
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn cancel(&self, id: &str) -> Result<Cancelled, Error> {
        let now = self.clock.now();
        let unseen = Request { id: id.to_owned(), ..Request::default() };
        let cancelled = self.change(id, |record| Ok(lifecycle::cancel(record, &unseen, &lifecycle::UNKNOWN, now))).await?;
        if let Some(record) = &cancelled {
            self.resolve(record).await;
        }
        Ok(match cancelled {
            None => Cancelled::Ended,
            Some(record) if !record.state.is_terminal() => Cancelled::Running,
            Some(record) if record.name.is_empty() => {
                Cancelled::Unseen(record.purge_at.and_then(|at| Timestamp::from_second(at).ok()).unwrap_or(Timestamp::MAX))
            }
            Some(_) => Cancelled::Waiting,
        })
    }

    /// Completes a job that no function runs, such as an approval or the work of another system: it succeeds with this result. Jobs that
    /// [wait](Enqueue::after) for it continue. Returns `false` if a function runs the job, or if the job has already ended.
    ///
    /// Functions discard messages with this id. The record is kept for 30 days.
    ///
    /// # Errors
    ///
    /// When the id is invalid, the result cannot be serialized or stored, or the table does not answer.
    pub async fn complete(&self, id: &str, result: impl Serialize) -> Result<bool, Error> {
        check_id(id).map_err(|flaw| Error::Invalid(format!("cannot complete job {id:?}: {flaw}")))?;
        let result = serde_json::to_value(result).map_err(|error| Error::Invalid(format!("cannot complete job {id:?}: {error}")))?;
        let (now, owner) = (self.clock.now(), token());
        let completed = self.change(id, |record| Ok(lifecycle::completed(record, id, &result, &owner, now))).await?;
        if let Some(record) = &completed {
            self.resolve(record).await;
        }
        Ok(completed.is_some())
    }

    /// Tells the dependents of a job that has ended without a message.
    async fn resolve(&self, ended: &Record) {
        if !ended.state.is_terminal() || ended.dependents.is_empty() {
            return;
        }
        let links = self.links();
        if let Err(error) = links.resolve(&ended.id).await {
            tracing::warn!(id = ended.id, %error, "cannot tell the jobs that wait for this one; a beater does so within a minute");
        }
    }

    /// Moves a job in the due index to another time, even if its message has already been sent. Returns `false` if the job is not in the
    /// due index.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn reschedule(&self, id: &str, run_at: Timestamp) -> Result<bool, Error> {
        // A job that is moved into the past becomes due now, not overdue.
        let now = self.clock.now();
        let moved = |record: Option<&Record>| Ok(record.and_then(|record| lifecycle::moved(record, &token(), run_at.max(now))));
        Ok(self.change(id, moved).await?.is_some())
    }

    /// Moves a waiting job to the queue of another priority, if its record holds its message: a job in the due index, or a job that waits for
    /// other jobs or for a key. Returns `false` for any other job: no message in a queue can be moved.
    ///
    /// If the message has already been sent, the job may still start from the earlier queue. It runs once.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn set_priority(&self, id: &str, priority: Priority) -> Result<bool, Error> {
        let now = self.clock.now();
        let moved = |record: Option<&Record>| Ok(record.and_then(|record| lifecycle::prioritized(record, &token(), priority, now)));
        Ok(self.change(id, moved).await?.is_some())
    }

    /// Runs an ended job again, whatever its ending. Its attempts count from zero again. Its history keeps the ending and the failures.
    /// Returns `false` if the job has not ended or is unknown. Enqueue an unknown job instead.
    ///
    /// Pass the job as it was enqueued, with its id, because the record of an ended job does not keep the arguments. Tags and data, if
    /// given, replace those of the record.
    ///
    /// The dead letter of a failed job stays in the dead-letter queue and keeps its alarm on. `sqjobs retry` deletes the dead letter. A
    /// redrive also deletes it, once the job has ended in another way.
    ///
    /// # Errors
    ///
    /// When the job has no id, breaks a limit, or differs from the record in name or queue. When AWS does not answer, or accepts the record
    /// but not the message or the lists. A beater then sends the message.
    pub async fn retry(&self, job: Enqueue) -> Result<bool, Error> {
        if job.envelope().id.is_none() {
            return Err(Error::Invalid("cannot run a job again without its id; set it with `Enqueue::id`".into()));
        }
        if !job.envelope().jobs.is_empty() {
            return Err(Error::Invalid("cannot run a whole workflow again by one of its messages; use `Client::retry_workflow`".into()));
        }
        self.refuse_unsent_workflow(job.envelope()).await?;
        self.retry_one(job).await
    }

    /// Runs an ended job again, even if it closes a workflow of which not all jobs were sent.
    pub(super) async fn retry_one(&self, job: Enqueue) -> Result<bool, Error> {
        let (job, prepared) = self.prepare(job.detached())?;
        let span = prepared.span.clone();
        let retried = self.retry_prepared(&job, prepared).await;
        span.ended(|| retried.as_ref().err().map_or_else(Outcome::default, refused));
        retried
    }

    async fn retry_prepared(&self, job: &Enqueue, prepared: Prepared) -> Result<bool, Error> {
        let now = self.clock.now();
        let request = job.request(&prepared.queue, now);
        let again = |record: Option<&Record>| match record {
            Some(record) if !lifecycle::is_of(record, &request) => Err(Error::Conflict(lifecycle::id_in_use(record, now).message)),
            Some(record) => Ok(lifecycle::retry(record, &request, &token(), now)),
            None => Ok(None),
        };
        let Some(filed) = self.change(&prepared.id, again).await? else { return Ok(false) };
        if lifecycle::is_sendable(&filed, now) {
            // A job that cannot be sent here is due, and a beater sends it.
            let sent = send(&*self.queue, &*self.store, &prepared.queue, vec![filed], now).await;
            if sent.failed() > 0 {
                let (id, queue) = (&prepared.id, &prepared.queue);
                let reason = "a beater sends it within a minute, and the log shows the cause";
                return Err(Error::Process(format!(
                    "job {id:?} will run again, but its message may not have reached queue {queue}; {reason}"
                )));
            }
        }
        if let Some(error) = self.store.enlist(&prepared.listings).await.into_iter().find_map(Result::err) {
            let why = format!("job {:?} runs again, but is missing in some lists", prepared.id);
            return Err(Error::store(why, error));
        }
        Ok(true)
    }

    /// Replaces a record by the result of `change`, and tries again if the record changes meanwhile. Returns `None` if `change` does.
    async fn change(
        &self,
        id: &str,
        change: impl Fn(Option<&Record>) -> Result<Option<Record>, Error> + Send + Sync,
    ) -> Result<Option<Record>, Error> {
        for _ in 0..CHANGES {
            let seen = self.get(id).await?;
            let Some(next) = change(seen.as_ref())? else { return Ok(None) };
            let write = Write { next: Arc::new(next), seen: seen.map(Arc::new) };
            let written = self.store.write(std::slice::from_ref(&write)).await.pop().transpose();
            let written = written.map_err(|error| Error::store(format!("cannot write the record of job {id:?}"), error))?;
            if let Some(Written::Done) = written {
                self.give_places(&write).await;
                return Ok(Some(Arc::unwrap_or_clone(write.next)));
            }
        }
        Err(Error::Conflict(format!("cannot change job {id:?}: its record changed {CHANGES} times meanwhile; try again")))
    }

    /// Refuses to retry the closing job of a workflow that was cancelled before all its jobs were sent: it would wait for jobs that never
    /// come, or run without them.
    async fn refuse_unsent_workflow(&self, job: &Envelope) -> Result<(), Error> {
        let id = job.id.as_deref().unwrap_or_default();
        let is_unsent = |closing: &Record| closing.state.is_terminal() && closing.dependencies.is_none();
        if !self.get(id).await?.as_ref().is_some_and(is_unsent) {
            return Ok(());
        }
        let step = lifecycle::step_id(id, "");
        let names_steps = job.depends_on.iter().any(|other| other.starts_with(&step) || lifecycle::is_node(other));
        let plan = self.records(&[lifecycle::plan_id(id)]).await?.pop().flatten();
        if names_steps || plan.is_some_and(|plan| !lifecycle::is_left_over(&plan, self.clock.now())) {
            return Err(Error::Conflict(format!(
                "cannot run job {id:?} again: it closes a workflow of which not all jobs were sent; run the workflow again, by \
                 `Client::retry_workflow` or `sqjobs retry --tree`, or send its message again"
            )));
        }
        Ok(())
    }

    /// Frees the keys that a job no longer holds after this write.
    async fn give_places(&self, write: &Write) {
        let freed = write.seen.as_ref().map(|seen| lifecycle::freed(&seen.held, &write.next.held)).unwrap_or_default();
        if freed.is_empty() {
            return;
        }
        if let Err(error) = self.links().give(freed).await {
            tracing::warn!(id = write.next.id, %error, "cannot free the keys of a job; a beater or the next job with the key frees them");
        }
    }
}
