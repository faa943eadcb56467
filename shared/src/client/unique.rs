//! Enqueues jobs with a unique key.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Client, Enqueue, Enqueued, enqueue::Prepared};
use crate::{
    Error, Record,
    clock::after,
    envelope::OnConflict,
    keys::Taken,
    lifecycle::{self, Needed, UNCLAIMED, UNKNOWN},
    outbox::{self, token},
    queue::MAX_DELAY,
    record::Place,
    store::{StoreError, Write, Written},
};

/// The waits of a client for the record of the job that holds a unique key.
const LOOKS: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

/// The job that holds a unique key.
enum Holder {
    Own,
    Other(String),
    /// The key is held, but its holder may still lose it.
    Unknown,
}

impl Client {
    /// Enqueues a job if no other job holds its unique key. Its record is written first, so that a beater sends the job if this process
    /// dies. Other jobs are therefore dropped only if the holder of the key runs.
    pub(super) async fn publish_unique(&self, job: &Enqueue, prepared: &Prepared, key: &Needed) -> Result<Enqueued, Error> {
        let failed = |error| Error::store(format!("cannot enqueue job {:?}", prepared.id), error);
        let request = job.request(&prepared.queue, self.clock.now());
        let unsent = lifecycle::unsent(&request, &token(), self.clock.now());
        let mut answer = Enqueued { id: prepared.id.clone(), ..Enqueued::default() };
        let unsent = match self.record_unsent(unsent).await? {
            Ok(unsent) => unsent,
            Err(first) => {
                answer.first = Some(Box::new(first));
                return Ok(answer);
            }
        };
        let write_by = Instant::now() + UNCLAIMED / 2;
        let place = lifecycle::taken_place(key, &prepared.id, &token(), self.clock.now());
        match self.holder(key, &place.entry).await.map_err(failed)? {
            // If it takes too long, the worker of the job takes the key.
            Holder::Own => drop(
                timeout_at(write_by, self.send_unique(unsent, key, place, &mut answer))
                    .await
                    .map_or(Ok(()), |sent| sent.map_err(failed))?,
            ),
            Holder::Unknown => {} // a beater sends this job, and its worker decides
            Holder::Other(holder) => {
                answer.replaced = key.on_conflict == OnConflict::Replace && self.links().replace(&holder, &unsent).await.map_err(failed)?;
                // No message was sent, so there is no dead letter to make.
                let dropped = Needed { on_conflict: OnConflict::Drop, ..key.clone() };
                let ended = lifecycle::in_conflict(&unsent, &dropped, &holder, answer.replaced, &UNKNOWN, self.clock.now());
                if self.links().write_one(Write::replace(unsent, ended)).await.map_err(failed)? != Written::Done {
                    return Ok(answer); // a beater has sent the job, and its worker decides about it
                }
                if key.on_conflict == OnConflict::Fail {
                    let key = lifecycle::key_name(&key.id);
                    return Err(Error::Invalid(format!("cannot enqueue job {:?}: job {holder:?} holds {key}", prepared.id)));
                }
                answer.holder = Some(holder);
            }
        }
        Ok(answer)
    }

    /// Records that a job holds its unique key, and sends its message if it is due soon. Otherwise, or if a step fails, a beater sends it.
    async fn send_unique(&self, unsent: Record, key: &Needed, place: Place, answer: &mut Enqueued) -> Result<(), StoreError> {
        let mut job = Record { owner: Some(token()), ..unsent.clone() };
        job.held.insert(key.id.clone(), place);
        if self.links().write_one(Write::replace(unsent, job.clone())).await? != Written::Done {
            return Ok(()); // a beater has sent the job in the meantime
        }
        let now = self.clock.now();
        if job.run_at.is_none_or(|at| at <= after(now, MAX_DELAY)) {
            let queue = job.queue.clone();
            let sent = outbox::send(&*self.queue, &*self.store, &queue, vec![job], now).await;
            answer.message_id = sent.message_ids.into_iter().next().unwrap_or_default();
        }
        Ok(())
    }

    /// Takes the key, or returns the job that holds it. Waits a moment for the record of a holder that is just being enqueued.
    async fn holder(&self, key: &Needed, entry: &str) -> Result<Holder, StoreError> {
        let own = lifecycle::job_of_entry(entry);
        for wait in LOOKS {
            let stored = match self.links().take(key, entry, false).await? {
                Taken::Yes => return Ok(Holder::Own),
                Taken::Full(stored) => stored,
            };
            let Some(first) = stored.holders.first() else { continue };
            let holder = lifecycle::job_of_entry(first);
            if holder == own {
                return Ok(Holder::Unknown); // a worker has received this job already, or an answer was lost
            }
            if lifecycle::is_backed(&key.id, first, self.links().read(holder).await?.as_ref()) {
                return Ok(Holder::Other(holder.to_owned()));
            }
            sleep(wait).await;
        }
        Ok(Holder::Unknown)
    }

    /// Writes the first record of a job. Returns the stored one if a job has this id.
    async fn record_unsent(&self, mut unsent: Record) -> Result<Result<Record, Record>, Error> {
        let failed = |error| Error::store("cannot enqueue a job".to_owned(), error);
        let mut seen: Option<Record> = None;
        for _ in LOOKS {
            let write = Write { next: unsent.clone().into(), seen: seen.take().map(Into::into) };
            let Written::Refused(stored) = self.links().write_one(write).await.map_err(failed)? else { return Ok(Ok(unsent)) };
            let stored = if stored.is_some() { stored.map(|stored| *stored) } else { self.get(&unsent.id).await? };
            match stored {
                Some(stored) if stored.owner == unsent.owner => return Ok(Ok(stored)), // the answer was lost
                // Others wait for this job, or a wrong message had its id.
                Some(stored) if lifecycle::is_unclaimed(&stored) => {
                    unsent.dependents.clone_from(&stored.dependents);
                    seen = Some(stored);
                }
                Some(stored) => return Ok(Err(stored)),
                None => {}
            }
        }
        Err(failed(StoreError::Busy("its record changed at each try".into())))
    }
}
