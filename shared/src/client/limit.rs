//! Shows keys for which jobs wait, and sets limits and rates.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Client;
use crate::{
    Error, Rate, Record, State,
    envelope::{LINK, MOST_PLACES, check_id},
    lifecycle::{self, Kind},
    links::Links,
    names::key_shards,
    outbox::token,
    record::KeyRate,
    store::{Link, Linked, Listing, StoreError, Write, Written},
};

/// The list of the limit keys whose limits an operator has set.
const LIMITS: &str = "limits";
/// The list of the rate keys whose rates an operator has set.
const RATES: &str = "rates";
/// Maximum number of keys in a list.
const MOST: usize = 10_000;
/// Maximum number of tries to change a key that others change at the same time.
const TRIES: usize = 8;

/// A limit key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// The key, as `limit_key` in a message has it.
    pub key: String,
    /// Maximum number of jobs that run at a time, as the jobs declare it. `None`: no job has used this key yet.
    pub declared: Option<u32>,
    /// Maximum number of jobs that run at a time, as an operator has set it. It overrides the declared one.
    pub set: Option<u32>,
    /// The ids of the jobs that hold the key.
    pub holders: Vec<String>,
    /// The ids of the jobs that wait for the key, the oldest first, at most 10,000.
    pub waiting: Vec<String>,
}

/// A rate key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RateLimit {
    /// The key, as `rate_key` in a message has it.
    pub key: String,
    /// The rate, as the jobs declare it. `None`: no job has used this key yet.
    pub declared: Option<Rate>,
    /// The rate, as an operator has set it. It overrides the declared one.
    pub set: Option<Rate>,
    /// The ids of the jobs that wait, the oldest first, at most 10,000.
    pub waiting: Vec<String>,
}

/// The jobs that wait for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// The kind and the name of the key, such as `the limit key service`.
    pub name: String,
    /// Number of jobs that wait, at most 10,000.
    pub jobs: usize,
    /// The instant at which the oldest of them was enqueued.
    pub since: Option<Timestamp>,
}

/// The wait of a job for a key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KeyWait {
    /// The kind and the name of the key, such as `the limit key service`.
    pub name: String,
    /// Maximum number of jobs that hold the key.
    pub places: usize,
    /// The rate, if this is a rate key. No job holds a rate key.
    pub rate: Option<Rate>,
    /// The jobs that hold it, each with its record.
    pub holders: Vec<(String, Option<Record>)>,
    /// The number of jobs that wait before this one. `None`: the job is not listed yet, or is not among the first 10,000.
    pub ahead: Option<usize>,
}

impl Client {
    /// Returns the limit keys for which jobs wait, or whose limits were set, in the order of their names.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn limits(&self) -> Result<Vec<Limit>, Error> {
        let failed = |error| Error::store("cannot read the limit keys".to_owned(), error);
        let keys = self.keys(Kind::Limit, LIMITS).await.map_err(failed)?;
        let mut limits = Vec::new();
        for key in keys {
            limits.extend(self.limit(&key).await?.filter(|limit| limit.set.is_some() || !limit.waiting.is_empty()));
        }
        Ok(limits)
    }

    /// Returns the rate keys for which jobs wait, or whose rates were set, in the order of their names.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn rates(&self) -> Result<Vec<RateLimit>, Error> {
        let failed = |error| Error::store("cannot read the rate keys".to_owned(), error);
        let keys = self.keys(Kind::Rate, RATES).await.map_err(failed)?;
        let mut rates = Vec::new();
        for key in keys {
            rates.extend(self.rate(&key).await?.filter(|rate| rate.set.is_some() || !rate.waiting.is_empty()));
        }
        Ok(rates)
    }

    /// Returns the keys for which jobs wait, of all kinds.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn waits(&self) -> Result<Vec<Waits>, Error> {
        let failed = |error| Error::store("cannot read the keys".to_owned(), error);
        let mut waits = Vec::new();
        for id in self.marked_keys().await.map_err(failed)? {
            let jobs = self.store.oldest(&lifecycle::waiting_list(&id), MOST).await.map_err(failed)?;
            let Some(oldest) = jobs.first() else { continue };
            let since = self.links().read(oldest).await.map_err(failed)?.and_then(|job| job.listed_at);
            waits.push(Waits { name: lifecycle::key_name(&id), jobs: jobs.len(), since });
        }
        Ok(waits)
    }

    /// Returns the names of the keys of a kind for which jobs may wait, and of those in a list.
    async fn keys(&self, kind: Kind, list: &str) -> Result<BTreeSet<String>, StoreError> {
        let mut keys: BTreeSet<_> = self.store.listed(list, MOST).await?.into_iter().collect();
        keys.extend(self.marked_keys().await?.iter().filter_map(|id| key_of(kind, id)).map(str::to_owned));
        Ok(keys)
    }

    /// Returns the ids of the keys for which jobs may wait.
    async fn marked_keys(&self) -> Result<Vec<String>, StoreError> {
        let mut ids = Vec::new();
        for shard in key_shards() {
            ids.extend(self.store.due(shard, self.clock.now(), MOST).await?);
        }
        Ok(ids)
    }

    /// Returns the rate key with this name. Returns `None` if no job has used it and no operator has set its rate.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn rate(&self, key: &str) -> Result<Option<RateLimit>, Error> {
        let id = lifecycle::key_id(Kind::Rate, key);
        let failed = |error| Error::store(format!("cannot read the rate key {key:?}"), error);
        let Some(stored) = self.links().read(&id).await.map_err(failed)? else { return Ok(None) };
        let waiting = self.store.oldest(&lifecycle::waiting_list(&id), MOST).await.map_err(failed)?;
        let KeyRate { declared, fixed: set, .. } = stored.rate.map(|rate| *rate).unwrap_or_default();
        Ok(Some(RateLimit { key: key.to_owned(), declared, set, waiting }))
    }

    /// Sets the rate of a rate key. It overrides the rate that the jobs declare. `None`: the declared rate applies again. The change takes
    /// effect at once for new jobs, and within two minutes for waiting jobs.
    ///
    /// # Errors
    ///
    /// When the table does not answer, or the key or the rate is invalid.
    pub async fn set_rate(&self, key: &str, rate: Option<Rate>) -> Result<(), Error> {
        let invalid = |flaw| Error::Invalid(format!("cannot set the rate of {key:?}: {flaw}"));
        check_id(key).map_err(invalid)?;
        rate.iter().try_for_each(Rate::check).map_err(invalid)?;
        let failed = |error| Error::store(format!("cannot set the rate of {key:?}"), error);
        let (id, links) = (lifecycle::key_id(Kind::Rate, key), self.links());
        for _ in 0..TRIES {
            let now = self.clock.now();
            let seen = links.read(&id).await.map_err(failed)?;
            let stored = seen.clone().unwrap_or_else(|| lifecycle::new_rate_key(&id, now));
            let next = lifecycle::with_fixed_rate(&stored, rate, &token(), now);
            let purge_at = lifecycle::key_kept_until(now);
            if links.write_one(Write { next: next.clone().into(), seen: seen.map(Into::into) }).await.map_err(failed)? != Written::Done {
                continue;
            }
            if next.state == State::Blocked {
                links.look_at_key(next).await.map_err(failed)?;
            }
            let listing = Listing { list: RATES.into(), id: key.to_owned(), at: now, purge_at };
            return self.store.enlist(&[listing]).await.into_iter().collect::<Result<(), _>>().map_err(failed);
        }
        Err(failed(StoreError::Busy("its record changed at each try".into())))
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

    /// Sets the limit of a limit key at once. It overrides the limit that the jobs declare. 0: no job with this key starts. `None`: the
    /// declared limit applies again.
    ///
    /// Running jobs continue. If the new limit is higher, waiting jobs are sent.
    ///
    /// # Errors
    ///
    /// When the table does not answer, the key is invalid, or the limit is above 100.
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
        let rate = (Kind::of(id) == Some(Kind::Rate)).then(|| key.rate.as_deref().cloned().unwrap_or_default().current());
        Ok(Some(KeyWait { name: lifecycle::key_name(id), places: lifecycle::places(&key), rate, holders, ahead }))
    }

    pub(super) fn links(&self) -> Links<'_> {
        Links { store: &*self.store, queue: &*self.queue, clock: &self.clock }
    }
}

/// Returns the name of a key of this kind from the id of its record.
fn key_of(kind: Kind, id: &str) -> Option<&str> {
    let (key, _) = id.split_once(LINK)?;
    (Kind::of(id) == Some(kind)).then_some(key)
}
