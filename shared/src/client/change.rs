//! Changes jobs that were enqueued: calls them off, moves them, runs them again.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::Client;
use crate::{
    Enqueue, Error, Policy, Record,
    beater::send,
    lifecycle::{self, Request},
    store::{Write, Written},
};

/// How often a record is changed anew that changed meanwhile.
const CHANGES: usize = 5;

impl Client {
    /// Calls a job off: one that waits never runs, also where no function has seen its message yet; one that runs is told,
    /// and may still succeed. Its record is then kept for 30 days. False: it has ended.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn cancel(&self, id: &str) -> Result<bool, Error> {
        let now = self.clock.now();
        let unseen = Request { id: id.to_owned(), ..Request::default() };
        Ok(self.change(id, |record| Ok(lifecycle::cancel(record, &unseen, &Policy::new(), now))).await?.is_some())
    }

    /// Moves a job that waits in the due index to another time, also where its message is on its way already. False: it
    /// does not wait there.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn reschedule(&self, id: &str, run_at: Timestamp) -> Result<bool, Error> {
        let moved = |record: Option<&Record>| Ok(record.and_then(|record| lifecycle::moved(record, &token(), run_at)));
        Ok(self.change(id, moved).await?.is_some())
    }

    /// Runs a job again that has ended, whatever its end: its attempts begin anew, and what it has left behind stays in
    /// its history. It is given once more as it was enqueued, with its id, for a record does not keep the arguments of
    /// what has ended. False: it has not ended, or nothing is known of it; then it can be enqueued.
    ///
    /// What failed has a copy in the dead-letter queue, which can be redriven as well; who of both comes second is a
    /// duplicate.
    ///
    /// # Errors
    ///
    /// When it has no id, breaks a limit, or is of another name or queue than the record; when AWS does not answer. The
    /// record may be written then, and a beater sends the message.
    pub async fn retry(&self, job: Enqueue) -> Result<bool, Error> {
        if job.envelope().id.is_none() {
            return Err(Error::config("cannot run a job again without its id; name it by `id`"));
        }
        let (job, prepared) = self.prepare(job.detached())?;
        let now = self.clock.now();
        let request = job.request(&prepared.queue, now);
        let again = |record: Option<&Record>| match record {
            Some(record) if !lifecycle::is_of(record, &request) => Err(Error::config(lifecycle::id_in_use(record, now).message)),
            Some(record) => Ok(lifecycle::retry(record, &request, &token(), now)),
            None => Ok(None),
        };
        let Some(filed) = self.change(&prepared.id, again).await? else { return Ok(false) };
        if lifecycle::is_sendable(&filed, now) {
            // What is not sent here is due, and sent by a beater.
            send(&*self.queue, &*self.store, &prepared.queue, vec![filed], now).await;
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
            if let Some(Written::Done) = self.store.write(std::slice::from_ref(&write)).await.pop().transpose()? {
                return Ok(Some(Arc::unwrap_or_clone(write.next)));
            }
        }
        Err(Error::config(format!("job {id:?} changes all the time; try again")))
    }
}

/// A token of which no write knows yet.
fn token() -> String {
    Uuid::new_v4().simple().to_string()
}
