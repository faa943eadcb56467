//! Looks at limit keys, and sets their limits.

use std::collections::BTreeSet;

use super::Client;
use crate::{
    Error, Record, State,
    envelope::{LINK, MOST_PLACES, check_id},
    lifecycle::{self, Kind},
    links::Links,
    names::key_shards,
    outbox::token,
    store::{Link, Linked, Listing, StoreError},
};

/// The list of the keys whose limits an operator has set.
const LIMITS: &str = "limits";
/// Maximum number of keys in a list.
const MOST: usize = 10_000;

/// A limit key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// The key, as `limit_key` in a message has it.
    pub key: String,
    /// Maximum number of jobs that run at a time, as the jobs declare it. `None`: no job has started with this key yet.
    pub declared: Option<u32>,
    /// Maximum number of jobs that run at a time, as an operator has set it. It wins.
    pub set: Option<u32>,
    /// The ids of the jobs that have a place.
    pub holders: Vec<String>,
    /// The ids of the jobs that wait for a place, the oldest first, at most 10,000.
    pub waiting: Vec<String>,
}

/// The wait of a job for a key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KeyWait {
    /// The kind and the name of the key, such as `the limit key service`.
    pub name: String,
    /// Maximum number of jobs that hold the key.
    pub places: usize,
    /// The jobs that hold it, each with its record.
    pub holders: Vec<(String, Option<Record>)>,
    /// The number of jobs that wait before this one. `None`: the job is not listed yet, or is not among the first 10,000.
    pub ahead: Option<usize>,
}

impl Client {
    /// Returns the limit keys for which jobs wait, or whose limits were set, by name.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn limits(&self) -> Result<Vec<Limit>, Error> {
        let failed = |error| Error::store("cannot read the limit keys".to_owned(), error);
        let mut keys: BTreeSet<_> = self.store.listed(LIMITS, MOST).await.map_err(failed)?.into_iter().collect();
        for shard in key_shards() {
            let due = self.store.due(shard, self.clock.now(), MOST).await.map_err(failed)?;
            keys.extend(due.iter().filter_map(|id| limit_key(id)).map(str::to_owned));
        }
        let mut limits = Vec::new();
        for key in keys {
            limits.extend(self.limit(&key).await?.filter(|limit| limit.set.is_some() || !limit.waiting.is_empty()));
        }
        Ok(limits)
    }

    /// Returns the limit key with this name. Returns `None` if no job has used it and no operator has set its limit.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn limit(&self, key: &str) -> Result<Option<Limit>, Error> {
        let id = lifecycle::key_id(Kind::Limit, key);
        let failed = |error| Error::store(format!("cannot read the limit key {key:?}"), error);
        let Some(stored) = self.links().read(&id).await.map_err(failed)? else { return Ok(None) };
        let waiting = self.store.oldest(&lifecycle::waiting_list(&id), MOST).await.map_err(failed)?;
        let mut holders: Vec<_> = stored.holders.iter().map(|entry| lifecycle::job_of_entry(entry).to_owned()).collect();
        holders.sort_unstable();
        Ok(Some(Limit { key: key.to_owned(), declared: stored.limit, set: stored.fixed_limit, holders, waiting }))
    }

    /// Sets the limit of a limit key at once, whatever the jobs declare. 0: no job with this key starts. `None`: the limit is again the one that
    /// the jobs declare.
    ///
    /// Jobs that run go on. If the limit is higher than before, jobs that wait are sent.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn set_limit(&self, key: &str, limit: Option<u32>) -> Result<(), Error> {
        check_id(key).map_err(|flaw| Error::Invalid(format!("cannot set the limit of {key:?}: {flaw}")))?;
        let failed = |error| Error::store(format!("cannot set the limit of {key:?}"), error);
        let id = lifecycle::key_id(Kind::Limit, key);
        if limit.is_some_and(|limit| limit > MOST_PLACES) {
            return Err(Error::Invalid(format!("cannot set the limit of {key:?}: it must be from 0 to {MOST_PLACES}")));
        }
        let (now, links) = (self.clock.now(), self.links());
        let purge_at = lifecycle::key_kept_until(now);
        let set = || links.change(Link::Limit { id: id.clone(), fixed_limit: limit, purge_at });
        let mut changed = set().await.map_err(failed)?;
        if matches!(changed, Linked::Refused(_)) {
            links
                .insert(Record { id: id.clone(), purge_at: Some(purge_at), owner: Some(token()), ..Record::default() })
                .await
                .map_err(failed)?;
            changed = set().await.map_err(failed)?;
        }
        match changed {
            Linked::Done(key) if key.state == State::Blocked => drop(links.look_at_key(*key).await.map_err(failed)?),
            Linked::Done(_) => {}
            Linked::Refused(_) => return Err(failed(StoreError::Busy("its record was deleted in the meantime".into()))),
        }
        let listing = Listing { list: LIMITS.into(), id: key.to_owned(), at: now, purge_at };
        self.store.enlist(&[listing]).await.into_iter().collect::<Result<(), _>>().map_err(failed)
    }

    /// Describes the wait of a job for a key. Returns `None` if it waits for none.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn key_wait(&self, job: &Record) -> Result<Option<KeyWait>, Error> {
        let Some(id) = lifecycle::waits_for_key(job) else { return Ok(None) };
        let failed = |error| Error::store(format!("cannot read the key for which job {:?} waits", job.id), error);
        let key = self.links().read(id).await.map_err(failed)?.unwrap_or_default();
        let ids: Vec<_> = key.holders.iter().map(|entry| lifecycle::job_of_entry(entry).to_owned()).collect();
        let mut holders = Vec::new();
        for (id, job) in ids.iter().zip(self.store.read(&ids).await) {
            holders.push((id.clone(), job.map_err(failed)?));
        }
        let line = self.store.oldest(&lifecycle::waiting_list(id), MOST).await.map_err(failed)?;
        let ahead = line.iter().position(|waiting| *waiting == job.id);
        Ok(Some(KeyWait { name: lifecycle::key_name(id), places: lifecycle::places(&key), holders, ahead }))
    }

    pub(super) fn links(&self) -> Links<'_> {
        Links { store: &*self.store, queue: &*self.queue, clock: &self.clock }
    }
}

/// Returns the name of a limit key from the id of its record.
fn limit_key(id: &str) -> Option<&str> {
    let (key, _) = id.split_once(LINK)?;
    (lifecycle::key_id(Kind::Limit, key) == id).then_some(key)
}
