//! Takes the keys that a job must hold before it starts. A job that holds a key has a place among its holders.

use std::{mem, sync::Arc};

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::{
    batch::Batch,
    decode::{Decoded, Delivery, Unusable, Work, both},
    ending::Settlement,
};
use crate::{
    envelope::{Envelope, Keys, OnConflict},
    keys::Taken,
    lifecycle::{self, Claim, Ending, Kind, Needed, UNCLAIMED},
    outbox::token,
    record::Record,
    store::{StoreError, Write, Written},
};

/// The places that a delivery has taken, and that no record names yet.
pub(super) struct Places {
    /// The places, as keys and entries.
    taken: Vec<(String, String)>,
    /// The instant by which a record must name them.
    write_by: Instant,
    /// The instant just before the claim is sent.
    pub(super) asked: Instant,
    /// The job, if its arguments had to be bound to find its keys.
    pub(super) work: Option<Box<Work>>,
}

impl Places {
    pub(super) fn none() -> Self {
        let now = Instant::now();
        Self { taken: Vec::new(), write_by: now + UNCLAIMED / 2, asked: now, work: None }
    }
}

/// The record of a job after it has asked for its places.
enum Placed {
    /// The job has all of them.
    Ready(Box<Record>),
    /// The job waits for a key.
    Blocked(Box<Record>),
    /// Another job holds its unique key, and this one ends.
    Conflict(Box<Record>, Ending),
    /// Another delivery of this job has a place. This one must come back.
    Later,
}

/// The reason why a delivery must come back.
pub(super) enum Unplaced {
    /// The store did not answer.
    Unanswered(StoreError),
    /// Another delivery of the job has a place, or the store refuses the place as invalid.
    Later,
}

impl Delivery {
    /// Takes the places that a job needs before `next` is written. Returns the record to write and its ending, or else the reason why
    /// the delivery must come back.
    pub(super) async fn place(
        &self,
        next: Box<Record>,
        ending: Option<Ending>,
        seen: Option<&Record>,
        claim: (&Decoded, &Claim),
        places: &mut Option<Places>,
        batch: &Batch<'_>,
    ) -> Result<(Box<Record>, Option<Ending>), Unplaced> {
        let places = places.get_or_insert_with(Places::none);
        if places.taken.is_empty() {
            places.write_by = Instant::now() + UNCLAIMED / 2;
        }
        match self.take_places(*next, ending.is_none(), seen, claim, places, batch).await {
            Ok(Placed::Ready(mut next)) => {
                if ending.is_none() {
                    // The lease begins now, not before the requests for the places.
                    places.asked = Instant::now();
                    lifecycle::lease_anew(&mut next, claim.1, batch.engine.clock.now());
                }
                Ok((next, ending))
            }
            Ok(Placed::Blocked(next)) => Ok((next, Some(Ending::Blocked))),
            Ok(Placed::Conflict(next, ending)) => Ok((next, Some(ending))),
            refused => {
                self.give_back(mem::take(&mut places.taken), batch).await;
                match refused {
                    Err(error @ StoreError::Invalid(_)) => tracing::error!(id = self.id, %error, "cannot take a key"),
                    Err(error) => return Err(Unplaced::Unanswered(error)),
                    Ok(_) => {}
                }
                Err(Unplaced::Later)
            }
        }
    }

    /// Writes a record before another job can take its places. Then frees the places that no record names.
    pub(super) async fn write_with_places(&self, write: Write, places: &mut Places, batch: &Batch<'_>) -> Result<Written, StoreError> {
        let (next, seen) = (Arc::clone(&write.next), write.seen.clone());
        let late = || Err(StoreError::unknown("the record was not written in time, and another job may get its keys"));
        let written = timeout_at(places.write_by, batch.ledger.write(write)).await.unwrap_or_else(|_| late())?;
        let mut freed = Vec::new();
        let record = match &written {
            Written::Done => {
                freed.extend(seen.iter().flat_map(|seen| lifecycle::freed(&seen.held, &next.held)));
                Some(&*next)
            }
            // The write may have been made, and the record may have changed since. It then still names the places.
            Written::Refused(stored) => stored.as_deref(),
        };
        let is_held =
            |(key, entry): &(String, String)| record.and_then(|record| record.held.get(key)).is_some_and(|place| place.entry == *entry);
        freed.extend(mem::take(&mut places.taken).into_iter().filter(|place| !is_held(place)));
        self.give_back(freed, batch).await;
        Ok(written)
    }

    /// Frees the places of a delivery that must come back.
    pub(super) async fn given_back(&self, places: Option<Places>, batch: &Batch<'_>) -> Settlement {
        self.give_back(places.map(|places| places.taken).unwrap_or_default(), batch).await;
        Ending::NotStarted.into()
    }

    /// Takes the unique key of a job before anything is written, and its other keys before it starts.
    async fn take_places(
        &self,
        mut next: Record,
        is_start: bool,
        seen: Option<&Record>,
        claim: (&Decoded, &Claim),
        places: &mut Places,
        batch: &Batch<'_>,
    ) -> Result<Placed, StoreError> {
        let (decoded, Claim { owner, .. }) = claim;
        let keys = self.keys(decoded, &next, is_start, places, batch).await?;
        let has_started = seen.is_some_and(|seen| seen.generation > 0);
        let started_at = seen.and_then(|seen| seen.started_at);
        let blocked = |next: &Record, key: &str, now| {
            Placed::Blocked(Box::new(lifecycle::waiting(next, started_at, key, &decoded.request, &token(), now)))
        };
        let needed = keys.iter().flat_map(|keys| lifecycle::needed(keys)).collect::<Vec<_>>();
        for key in needed.iter().filter(|key| is_start || key.kind == Kind::Unique) {
            let now = batch.engine.clock.now();
            if let Some(rate) = &key.rate {
                let has_waited = next.held.remove(&key.id).is_some();
                if batch.links().start(&key.id, rate, has_waited).await? {
                    continue;
                }
                return Ok(blocked(&next, &key.id, now));
            }
            match next.held.get_mut(&key.id) {
                _ if key.until_started && has_started => continue,
                Some(place) if lifecycle::is_usable(key.kind, place, now) => {
                    if key.kind != Kind::Unique {
                        place.until = None;
                    }
                    continue;
                }
                _ => {}
            }
            let place = lifecycle::taken_place(key, &self.id, owner, now);
            match batch.links().take(key, &place.entry, next.held.contains_key(&key.id)).await? {
                Taken::Yes => {
                    places.taken.push((key.id.clone(), place.entry.clone()));
                    next.held.insert(key.id.clone(), place);
                }
                Taken::Full(stored) if let Some(own) = own_entry(&stored, &self.id) => {
                    // An earlier delivery has taken it, and may have died before the record held it.
                    let Some(place) = lifecycle::timed_place(&own) else { return Ok(Placed::Later) };
                    next.held.insert(key.id.clone(), place);
                }
                Taken::Full(stored) if key.kind == Kind::Unique => {
                    let Some(entry) = stored.holders.first() else { return Ok(Placed::Later) };
                    let holder = lifecycle::job_of_entry(entry);
                    if !lifecycle::is_backed(&key.id, entry, batch.ledger.read(holder).await?.as_ref()) {
                        return Ok(Placed::Later); // that job may not get the place
                    }
                    let replaced = key.on_conflict == OnConflict::Replace && !self.is_over(seen, batch).await? && {
                        let by = lifecycle::with_message(next.clone(), &decoded.request);
                        batch.links().replace(holder, &by).await?
                    };
                    return Ok(Self::conflict(&next, seen, key, (holder, replaced), claim, now));
                }
                Taken::Full(_) => return Ok(blocked(&next, &key.id, now)),
            }
        }
        // These places are freed as soon as the start is recorded.
        for key in needed.iter().filter(|key| key.until_started && is_start) {
            next.held.remove(&key.id);
        }
        Ok(Placed::Ready(Box::new(next)))
    }

    /// Returns `true` if the job has ended, so that this message is a duplicate. A message is first handled without a read of the record. Its
    /// arguments must not replace others before it is known to be no duplicate.
    async fn is_over(&self, seen: Option<&Record>, batch: &Batch<'_>) -> Result<bool, StoreError> {
        if seen.is_some() {
            return Ok(false); // the claim has checked it
        }
        Ok(batch.ledger.read(&self.id).await?.is_some_and(|stored| !lifecycle::is_unclaimed(&stored)))
    }

    /// Returns the keys of a job: those of the message with which it runs, and those that its type declares for its arguments.
    async fn keys(
        &self,
        decoded: &Decoded,
        next: &Record,
        is_start: bool,
        places: &mut Places,
        batch: &Batch<'_>,
    ) -> Result<Option<Box<Keys>>, StoreError> {
        let other = next.envelope.as_ref().filter(|body| **body != decoded.request.body);
        if decoded.work.is_some() && other.is_none() || !is_start && decoded.work.is_none() {
            return Ok(decoded.keys.clone());
        }
        let keys = other.and_then(|body| Envelope::parse(body).ok()).map_or_else(|| decoded.keys.clone(), |envelope| envelope.keys);
        match self.work(decoded, next, batch).await {
            Ok(work) => {
                let keys = both(keys, work.keys.clone());
                places.work = Some(Box::new(work)).filter(|_| is_start);
                Ok(keys)
            }
            Err(Unusable::Unread(error)) => Err(error),
            Err(Unusable::Unreadable(_)) => Ok(keys), // the attempt fails for the same reason
        }
    }

    fn conflict(
        next: &Record,
        seen: Option<&Record>,
        key: &Needed,
        (holder, replaced): (&str, bool),
        (decoded, Claim { owner, .. }): (&Decoded, &Claim),
        now: Timestamp,
    ) -> Placed {
        let seen = seen.filter(|seen| !lifecycle::is_unclaimed(seen)).cloned();
        let job = seen.unwrap_or_else(|| lifecycle::created(&decoded.request, &decoded.policy));
        let job = Record { owner: Some(owner.clone()), dependents: next.dependents.clone(), ..job };
        let ended = lifecycle::in_conflict(&job, key, holder, replaced, &decoded.policy, now);
        let ending = if key.on_conflict == OnConflict::Fail { Ending::Failed } else { Ending::Cancelled };
        Placed::Conflict(Box::new(ended), ending)
    }

    /// Frees places that no record names.
    pub(super) async fn give_back(&self, places: Vec<(String, String)>, batch: &Batch<'_>) {
        if places.is_empty() {
            return;
        }
        if let Err(error) = batch.links().give(places).await {
            tracing::warn!(id = self.id, %error, "cannot free the keys of a job; a beater or the next job with the key frees them");
        }
    }
}

/// Returns the entry of a job among the holders of a key.
fn own_entry(key: &Record, job: &str) -> Option<String> {
    key.holders.iter().find(|entry| lifecycle::job_of_entry(entry) == job).cloned()
}
