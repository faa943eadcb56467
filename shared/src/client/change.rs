//! Changes jobs that were enqueued: calls them off, moves them, runs them again.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::Client;
use crate::{
    Enqueue, Error, Record,
    lifecycle::{self, Request},
    outbox::send,
    store::{Write, Written},
};

/// How often a record is changed anew that changed meanwhile.
const CHANGES: usize = 5;

/// The outcome of [`Client::cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancelled {
    /// The job waited. It never runs.
    Waiting,
    /// An attempt runs, and is asked to stop. The job may still succeed.
    Running,
    /// There was no record: no function has seen a message of this id, or there is none. A job of this id does not run
    /// before that instant.
    Unseen(Timestamp),
    /// The job had ended before. Nothing was changed.
    Ended,
}

impl Client {
    /// Cancels a job. One that waits never runs, also where no function has seen its message yet. One that runs is asked to
    /// stop. The record of a cancelled job is kept for 30 days.
    ///
    /// An id of which nothing is known is blocked as well, for its message may be on its way: see [`Cancelled::Unseen`].
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn cancel(&self, id: &str) -> Result<Cancelled, Error> {
        let now = self.clock.now();
        let unseen = Request { id: id.to_owned(), ..Request::default() };
        let cancelled = self.change(id, |record| Ok(lifecycle::cancel(record, &unseen, &lifecycle::UNKNOWN, now))).await?;
        Ok(match cancelled {
            None => Cancelled::Ended,
            Some(record) if !record.state.is_terminal() => Cancelled::Running,
            Some(record) if record.name.is_empty() => {
                Cancelled::Unseen(record.purge_at.and_then(|at| Timestamp::from_second(at).ok()).unwrap_or(Timestamp::MAX))
            }
            Some(_) => Cancelled::Waiting,
        })
    }

    /// Moves a job that waits in the due index to another time, also where its message is on its way already. False: it
    /// does not wait there.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn reschedule(&self, id: &str, run_at: Timestamp) -> Result<bool, Error> {
        // A job that is moved into the past is due now, and not overdue.
        let now = self.clock.now();
        let moved = |record: Option<&Record>| Ok(record.and_then(|record| lifecycle::moved(record, &token(), run_at.max(now))));
        Ok(self.change(id, moved).await?.is_some())
    }

    /// Runs a job again that has ended, whatever its end: its attempts begin anew, and that end, and the attempts that
    /// failed, stay in its history. Give it as it was enqueued, with its id, since the record of an ended job does not keep
    /// the arguments. Given tags and data replace those of the record. Returns false if the job has not ended or is unknown; an unknown
    /// job can be enqueued.
    ///
    /// The dead letter of a failed job stays in the dead-letter queue, and the alarm of that queue with it. `sqjobs retry`
    /// deletes it. A redrive deletes it too, once the job has ended otherwise.
    ///
    /// # Errors
    ///
    /// When it has no id, breaks a limit, or is of another name or queue than the record; when AWS does not answer, or takes
    /// the record and not the message or the lists. A beater then sends the message.
    pub async fn retry(&self, job: Enqueue) -> Result<bool, Error> {
        if job.envelope().id.is_none() {
            return Err(Error::Invalid("cannot run a job again without its id; name it by `id`".into()));
        }
        let (job, prepared) = self.prepare(job.detached())?;
        let now = self.clock.now();
        let request = job.request(&prepared.queue, now);
        let again = |record: Option<&Record>| match record {
            Some(record) if !lifecycle::is_of(record, &request) => Err(Error::Conflict(lifecycle::id_in_use(record, now).message)),
            Some(record) => Ok(lifecycle::retry(record, &request, &token(), now)),
            None => Ok(None),
        };
        let Some(filed) = self.change(&prepared.id, again).await? else { return Ok(false) };
        if lifecycle::is_sendable(&filed, now) {
            // What is not sent here is due, and sent by a beater.
            let sent = send(&*self.queue, &*self.store, &prepared.queue, vec![filed], now).await;
            if sent.failed > 0 {
                let (id, queue) = (&prepared.id, &prepared.queue);
                let reason = "a beater sends it within a minute, and the log says why it was not sent at once";
                return Err(Error::Process(format!(
                    "job {id:?} is filed to run again, but its message may not be in queue {queue}; {reason}"
                )));
            }
        }
        if let Some(error) = self.store.enlist(&prepared.listings).await.into_iter().find_map(Result::err) {
            let why = format!("job {:?} is filed to run again, but could not be listed", prepared.id);
            return Err(Error::store(why, error));
        }
        Ok(true)
    }

    /// Replaces a record by what `change` makes of it, as often as it changes meanwhile. None: nothing is to be changed.
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
                return Ok(Some(Arc::unwrap_or_clone(write.next)));
            }
        }
        Err(Error::Conflict(format!("cannot change job {id:?}: it changes all the time; try again")))
    }
}

/// A token of which no write knows yet.
fn token() -> String {
    Uuid::new_v4().simple().to_string()
}
