//! Takes and frees the keys that jobs share. A job that holds a key has a place among its holders.
//!
//! A job that finds a key full is blocked, and is listed under the key. The process that frees a place hands it to the oldest job of that
//! list. While jobs wait for a key, no other job takes a place, and a beater looks at the key each minute: it frees the places of jobs that
//! died, and hands over all free places. Every step can be repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::{
    clock::{after, until},
    envelope::Rate,
    lifecycle::{self, Kind, Needed, Replacement},
    links::{Links, unreadable},
    names::{is_fifo, key_shard},
    outbox::{self, token},
    queue::MAX_DELAY,
    record::{Record, State},
    store::{Link, Linked, StoreError, Write, Written},
};

/// Maximum number of tries to take a place in a key that others change at the same time.
const TRIES: usize = 8;
/// Maximum number of jobs that are handed a place together.
const PAGE: usize = 25;
/// Maximum time in which a beater sends the jobs that wait for one rate. It sends the others a minute later.
const LOOK: Duration = Duration::from_secs(10);
/// Number of the last jobs that were sent and that the index may still list.
const RECENT: usize = 200;
/// Maximum wait inside a function for the instant at which a rate allows a start. A longer wait needs a message.
const MOMENT: Duration = Duration::from_secs(1);
/// The waits for a job that the index does not list yet.
const LAGS: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(300)];
/// Age of a mark from which the index certainly lists the job.
const LAG: Duration = Duration::from_secs(5);

/// The answer to a job that needs a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Taken {
    /// It has the place.
    Yes,
    /// All places are held, or other jobs wait for one. Contains the record of the key.
    Full(Box<Record>),
}

impl Links<'_> {
    /// Takes a place for a job. Places whose jobs have died are freed first, unless a beater does that because jobs wait. `may_pass`: the job
    /// has waited for this key, and may pass others that wait.
    pub(crate) async fn take(&self, key: &Needed, entry: &str, may_pass: bool) -> Result<Taken, StoreError> {
        let (mut fixed_limit, mut swept, mut state) = (None, false, State::Queued);
        for _ in 0..TRIES {
            let purge_at = lifecycle::key_kept_until(self.clock.now());
            let (id, holder) = (key.id.clone(), entry.to_owned());
            let link = Link::Take { id, holder, state, limit: key.most, fixed_limit, purge_at };
            let stored = match self.change(link).await? {
                Linked::Done(_) => return Ok(Taken::Yes),
                Linked::Refused(Some(stored)) => *stored,
                Linked::Refused(None) => match self.read(&key.id).await? {
                    Some(stored) => stored,
                    None if self.insert(lifecycle::new_key(key, entry, &token(), self.clock.now())).await? => return Ok(Taken::Yes),
                    None => continue, // another job has created it
                },
            };
            if stored.holders.contains(entry) {
                return Ok(Taken::Yes); // the answer to an earlier try was lost
            }
            if stored.fixed_limit != fixed_limit {
                fixed_limit = stored.fixed_limit;
                continue;
            }
            let has_room = stored.holders.len() < fixed_limit.unwrap_or(key.most).try_into().unwrap_or(usize::MAX);
            let is_open = stored.state == State::Queued || may_pass;
            if is_open && has_room {
                state = stored.state; // it has changed in the meantime
                continue;
            }
            if has_room && self.unmark(&stored).await? {
                continue;
            }
            let job = lifecycle::job_of_entry(entry);
            let freed = match stored.state {
                _ if swept => None,
                State::Queued => self.sweep(&stored, |_| true).await?.0,
                // An earlier attempt of this job has died. Its place goes to a job that waits.
                _ => self.sweep(&stored, |holder| holder == job).await?.0,
            };
            swept = true;
            match freed {
                Some(stored) if stored.state == State::Queued || may_pass => {}
                Some(stored) => {
                    self.hand_over(stored, None).await?;
                    return Ok(Taken::Full(Box::new(self.read(&key.id).await?.unwrap_or_default())));
                }
                None => return Ok(Taken::Full(Box::new(stored))),
            }
        }
        Err(StoreError::Busy(format!("{} changed at each try", lifecycle::key_name(&key.id))))
    }

    /// Uses up a part of a rate for an attempt that starts now, or within a second. `may_pass`: the job has waited for this key. Returns
    /// `false` if the job must wait.
    pub(crate) async fn start(&self, key: &str, declared: &Rate, may_pass: bool) -> Result<bool, StoreError> {
        let give_up = Instant::now() + MOMENT;
        while Instant::now() <= give_up {
            let (now, owner) = (self.clock.now(), token());
            let stored = self.read(key).await?;
            let wait = match &stored {
                Some(stored) if stored.state == State::Blocked && !may_pass => {
                    if !self.unmark(stored).await? {
                        return Ok(false);
                    }
                    continue;
                }
                Some(stored) => lifecycle::started(stored, declared, &owner, now),
                None => lifecycle::started(&lifecycle::new_rate_key(key, now), declared, &owner, now),
            };
            let next = match wait {
                Ok(next) => next,
                Err(at) if Instant::now() + until(now, at) > give_up => return Ok(false),
                Err(at) => {
                    sleep(until(now, at)).await;
                    continue;
                }
            };
            // Refused: another job has changed the key in the meantime.
            if self.write_one(Write { next: next.into(), seen: stored.map(Into::into) }).await? == Written::Done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Frees places, given as keys and entries, and hands them to jobs that wait.
    pub(crate) async fn give(&self, places: Vec<(String, String)>) -> Result<(), StoreError> {
        let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, entry) in places {
            keys.entry(key).or_default().insert(entry);
        }
        let links: Vec<_> = keys.into_iter().map(|(id, holders)| Link::Give { id, holders }).collect();
        for given in self.store.link(&links).await {
            let Linked::Done(key) = given? else { continue };
            if key.state != State::Blocked {
                continue;
            }
            let is_new = key.run_at.is_some_and(|at| after(at, LAG) > self.clock.now());
            let mut handed = self.hand_over(Record::clone(&key), None).await?;
            for lag in LAGS {
                if handed > 0 || !is_new {
                    break;
                }
                sleep(lag).await;
                let Some(key) = self.read(&key.id).await?.filter(|key| key.state == State::Blocked) else { break };
                handed = self.hand_over(key, None).await?;
            }
        }
        Ok(())
    }

    /// Registers a blocked job with the key that it waits for. `declared` has the limit or the rate that the job declares. If a place has
    /// become free in the meantime, hands it to the oldest job that waits. Returns `true` if another process has already handed a place to
    /// this job. The message that is being handled may then be the one that was sent for this place.
    pub(crate) async fn line_up(&self, blocked: &Record, key: &str, declared: Option<&Needed>) -> Result<bool, StoreError> {
        let limit = declared.filter(|needed| needed.rate.is_none()).map(|needed| needed.most);
        for _ in 0..TRIES {
            let now = self.clock.now();
            let (id, owner, due, purge_at) = (key.to_owned(), token(), key_shard(key), lifecycle::key_kept_until(now));
            match self.change(Link::Await { id, owner, due, limit, at: now, purge_at }).await? {
                Linked::Done(key) if Kind::of(&key.id) == Some(Kind::Rate) => {
                    let rate = declared.and_then(|needed| needed.rate.as_ref());
                    return self.send_waiting(*key, rate, Some(&blocked.id)).await.map(|_| false);
                }
                Linked::Done(key) if key.holders.contains(&lifecycle::handed_entry(blocked)) => return Ok(true),
                Linked::Done(key) => return self.hand_over(*key, Some(&blocked.id)).await.map(|_| false),
                Linked::Refused(_) => self.insert(lifecycle::awaited_key(key, &token(), now)).await?,
            };
        }
        Err(StoreError::Busy(format!("{} changed at each try", lifecycle::key_name(key))))
    }

    /// Frees the places of jobs that have died in a key for which jobs wait, and hands over all free places. For a rate key, sends the jobs
    /// that can start. Returns the number of jobs that got a place or were sent.
    pub(crate) async fn look_at_key(&self, key: Record) -> Result<usize, StoreError> {
        if Kind::of(&key.id) == Some(Kind::Rate) {
            let sent = self.send_waiting(key.clone(), None, None).await?;
            if sent == 0 {
                self.unmark(&key).await?;
            }
            return Ok(sent);
        }
        let (freed, handed) = self.sweep(&key, |_| true).await?;
        let key = freed.unwrap_or(key);
        let mut released = handed.len();
        self.release(handed).await?;
        released += self.hand_over(key.clone(), None).await?;
        if released == 0 {
            self.unmark(&key).await?;
        }
        Ok(released)
    }

    /// Removes the mark of a key for which no job waits any more. Returns `false` if jobs may wait.
    async fn unmark(&self, key: &Record) -> Result<bool, StoreError> {
        let Some(unmarked) = lifecycle::unmarked(key, &token(), self.clock.now()) else { return Ok(false) };
        if !self.store.oldest(&lifecycle::waiting_list(&key.id), 1).await?.is_empty() {
            return Ok(false);
        }
        // Refused: another job has come.
        Ok(self.write_one(Write::replace(key.clone(), unmarked)).await? == Written::Done)
    }

    /// Frees the places that their jobs no longer hold. `is_meant` selects the jobs to check. Returns the record of the key if a place was
    /// freed, and the jobs that were handed a place but not released.
    async fn sweep(&self, key: &Record, is_meant: impl Fn(&str) -> bool) -> Result<(Option<Record>, Vec<Record>), StoreError> {
        let now = self.clock.now();
        let meant = || key.holders.iter().map(|entry| (entry, lifecycle::job_of_entry(entry))).filter(|(_, job)| is_meant(job));
        let ids: Vec<_> = meant().map(|(_, job)| job.to_owned()).collect::<BTreeSet<_>>().into_iter().collect();
        let mut jobs = BTreeMap::new();
        for (id, stored) in ids.iter().zip(self.store.read(&ids).await) {
            match stored {
                Ok(job) => drop(jobs.insert(id.clone(), job)),
                Err(error) => unreadable(error)?, // it keeps its place
            }
        }
        let (mut left, mut handed) = (BTreeSet::new(), Vec::new());
        for (entry, id) in meant() {
            let Some(job) = jobs.get(id) else { continue };
            if !lifecycle::is_held(&key.id, entry, job.as_ref(), now) {
                left.insert(entry.clone());
            }
            handed.extend(job.clone().filter(|job| lifecycle::is_handed(&key.id, entry, job)));
        }
        if left.is_empty() {
            return Ok((None, handed));
        }
        for entry in &left {
            tracing::warn!(
                key = lifecycle::key_name(&key.id),
                id = lifecycle::job_of_entry(entry),
                "freed a key that its job no longer holds"
            );
        }
        match self.change(Link::Give { id: key.id.clone(), holders: left }).await? {
            Linked::Done(key) => Ok((Some(*key), handed)),
            Linked::Refused(_) => Ok((None, handed)),
        }
    }

    /// Hands the free places of a key to the jobs that wait for it, the oldest first. `newcomer` is the id of a job that the index may not
    /// list yet. Returns the number of jobs that got a place.
    async fn hand_over(&self, mut key: Record, newcomer: Option<&str>) -> Result<usize, StoreError> {
        let list = lifecycle::waiting_list(&key.id);
        let (mut seen, mut released) = (BTreeSet::new(), 0);
        loop {
            let room = lifecycle::places(&key).saturating_sub(key.holders.len()).min(PAGE);
            if room == 0 {
                return Ok(released);
            }
            let mut ids = self.store.oldest(&list, room.saturating_add(seen.len())).await?;
            ids.extend(newcomer.map(str::to_owned));
            ids.retain(|id| seen.insert(id.clone()));
            if ids.is_empty() {
                return Ok(released);
            }
            let waiting = self.waiting_for(&key.id, &ids).await?;
            let mut handed = Vec::new();
            for job in waiting {
                let Some(changed) = self.hand(&key, &job).await? else {
                    released += handed.len();
                    self.release(handed).await?;
                    return Ok(released);
                };
                key = changed;
                handed.push(job);
            }
            released += handed.len();
            self.release(handed).await?;
        }
    }

    /// Adds a job that waits for a key to its holders. Returns the record of the key, or `None` if no place is free.
    async fn hand(&self, key: &Record, job: &Record) -> Result<Option<Record>, StoreError> {
        let (id, holder, purge_at) = (key.id.clone(), lifecycle::handed_entry(job), lifecycle::key_kept_until(self.clock.now()));
        let (limit, fixed_limit) = (key.limit.unwrap_or(1), key.fixed_limit);
        let link = Link::Take { id, holder: holder.clone(), state: State::Blocked, limit, fixed_limit, purge_at };
        let stored = match self.change(link).await? {
            Linked::Done(key) | Linked::Refused(Some(key)) => Some(*key),
            Linked::Refused(None) => self.read(&key.id).await?,
        };
        Ok(stored.filter(|key| key.holders.contains(&holder)))
    }

    /// Sends the messages of the jobs that wait for a rate, the oldest first, for the instants at which they can start. `newcomer` is the
    /// id of a job that has just begun to wait, and `declared` is its rate. With a newcomer, sends one page only; a beater sends the other
    /// jobs. Returns the number of jobs that were sent.
    async fn send_waiting(&self, mut key: Record, declared: Option<&Rate>, newcomer: Option<&str>) -> Result<usize, StoreError> {
        let list = lifecycle::waiting_list(&key.id);
        let stop_at = Instant::now() + LOOK;
        let (mut recent, mut sent, mut tries) = (Vec::new(), 0, 0);
        while tries < TRIES && Instant::now() < stop_at {
            let now = self.clock.now();
            let current = declared.map_or_else(|| key.clone(), |rate| lifecycle::with_declared(&key, rate, &token(), now));
            let (starts, _) = lifecycle::next_starts(&current, PAGE, &token(), now);
            if starts.is_empty() {
                return Ok(sent);
            }
            let mut ids = self.store.oldest(&list, starts.len().saturating_add(recent.len())).await?;
            ids.extend(newcomer.map(str::to_owned).filter(|id| !ids.contains(id)));
            ids.retain(|id| !recent.contains(id));
            let mut waiting = self.waiting_for(&key.id, &ids).await?;
            waiting.truncate(starts.len());
            if waiting.is_empty() {
                return Ok(sent);
            }
            let (starts, next) = lifecycle::next_starts(&current, waiting.len(), &token(), now);
            if self.write_one(Write::replace(key.clone(), next.clone())).await? != Written::Done {
                let Some(stored) = self.read(&key.id).await? else { return Ok(sent) };
                (key, tries) = (stored, tries + 1);
                continue;
            }
            recent.extend(waiting.iter().map(|job| job.id.clone()));
            recent.drain(..recent.len().saturating_sub(RECENT));
            tries = 0;
            sent += self.send_at(waiting.into_iter().zip(starts).collect()).await?;
            if newcomer.is_some() {
                return Ok(sent);
            }
            key = next;
        }
        Ok(sent)
    }

    /// Files blocked jobs for these instants, and sends their messages. Returns the number of jobs that were filed. A beater sends those
    /// whose message could not be sent.
    async fn send_at(&self, jobs: Vec<(Record, Timestamp)>) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let file = |(job, at): (Record, Timestamp)| {
            let filed = lifecycle::put_back(&job, &token(), lifecycle::starts_at(&job).unwrap_or(at).max(at), now);
            Write::replace(job, filed)
        };
        let writes: Vec<_> = jobs.into_iter().map(file).collect();
        let mut queues: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        let mut count = 0;
        for (write, written) in writes.iter().zip(self.store.write(&writes).await) {
            // Refused: another process was first, or the job was cancelled.
            if written? == Written::Done {
                count += 1;
                queues.entry(write.next.queue.clone()).or_default().push(Record::clone(&write.next));
            }
        }
        for (queue, jobs) in queues {
            // A message of a FIFO queue cannot be delayed, and would hold its group. A beater sends it when it is due.
            if !is_fifo(&queue) {
                outbox::send(self.queue, self.store, &queue, jobs, now).await;
            }
        }
        Ok(count)
    }

    /// Gives the arguments of `by` to `holder`, the job that holds its unique key, if that job has not started. Returns `false` if that job
    /// keeps its own arguments.
    pub(crate) async fn replace(&self, holder: &str, by: &Record) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let now = self.clock.now();
            let Some(seen) = self.read(holder).await? else { return Ok(false) };
            let next = match lifecycle::replaced(&seen, by, &token(), now) {
                Replacement::Write(next) => *next,
                Replacement::Done => return Ok(true),
                Replacement::Refused => return Ok(false),
            };
            match self.write_one(Write::replace(seen, next.clone())).await {
                Ok(Written::Done) => {}
                Ok(Written::Refused(_)) => continue,             // it may have started
                Err(StoreError::Invalid(_)) => return Ok(false), // too large
                Err(error) => return Err(error),
            }
            // A beater sends the others.
            if lifecycle::is_sendable(&next, after(now, MAX_DELAY)) {
                let queue = next.queue.clone();
                outbox::send(self.queue, self.store, &queue, vec![next], now).await;
            }
            return Ok(true);
        }
        Err(StoreError::Busy("the record of the job that holds the unique key changed at each try".into()))
    }

    /// Returns the jobs of a list that wait for a key, the oldest first.
    async fn waiting_for(&self, key: &str, ids: &[String]) -> Result<Vec<Record>, StoreError> {
        let mut waiting = Vec::new();
        for stored in self.store.read(ids).await {
            let job = stored.or_else(|error| unreadable(error).map(|()| None))?;
            waiting.extend(job.filter(|job| lifecycle::waits_for_key(job).is_some_and(|id| id == key)));
        }
        waiting.sort_by(|a, b| (a.listed_at, &a.id).cmp(&(b.listed_at, &b.id)));
        Ok(waiting)
    }

    pub(crate) async fn change(&self, link: Link) -> Result<Linked, StoreError> {
        self.store.link(&[link]).await.pop().unwrap_or(Ok(Linked::Refused(None)))
    }

    /// Inserts a record. Returns `false` if there is one already.
    pub(crate) async fn insert(&self, record: Record) -> Result<bool, StoreError> {
        Ok(self.write_one(Write::insert(record)).await? == Written::Done)
    }

    pub(crate) async fn write_one(&self, write: Write) -> Result<Written, StoreError> {
        self.store.write(&[write]).await.pop().unwrap_or(Ok(Written::Refused(None)))
    }
}
