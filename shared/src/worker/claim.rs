//! Claims a job in the table before it runs.

use std::{sync::Arc, time::Duration};

use futures_util::future::FutureExt;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    batch::Batch,
    decode::{Decoded, Delivery, Refused},
    ending::{CLAIMS, Repeat, Settlement, hooks_of, level},
    executor::{Granted, Stored, call},
    metered,
    places::{Places, Unplaced},
    workflow::{Earlier, Expanded},
};
use crate::{
    StoreFailure,
    attempt::Attempt,
    clock::until,
    lifecycle::{self, Claim, Decision, Ending},
    links::Waiting,
    queue::attribute::ID,
    record::{Failure, Record, State},
    store::{StoreError, Write, Written},
    telemetry::log_ending,
};

/// Maximum wait inside the function for a job that is not due yet. Queues delay by whole seconds, so the function does not return a
/// message for a shorter wait.
const MOMENT: Duration = Duration::from_secs(1);

/// The way in which a delivery runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Beside other deliveries.
    Shared,
    /// After all others, since its last attempt was killed.
    Alone,
}

/// The result of a claim.
pub(super) enum Claimed {
    Granted(Granted),
    /// The delivery ends without an attempt.
    Settle(Settlement),
    Suspect,
    /// The store cannot hold the record of the job.
    Refuse(Refused),
}

impl Delivery {
    /// Claims the job, unless its record forbids it.
    pub(super) async fn claim(&self, decoded: &Decoded, turn: Turn, batch: &Batch<'_>) -> Claimed {
        let claim = Claim { owner: Uuid::new_v4().simple().to_string(), lease: decoded.policy.lease };
        let mut seen: Option<Arc<Record>> = None;
        // A message has the attribute `ID` if its job was enqueued with `Enqueue::recorded`, or if the library has sent the message again.
        // In both cases, the job may have a record.
        let has_record = self.message.attributes.contains_key(ID);
        let unrecorded = lifecycle::starts_unrecorded(&decoded.policy, self.message.receives, has_record);
        if self.message.receives > 1 || has_record {
            match batch.ledger.read(&self.id).await {
                Ok(stored) => seen = stored.map(Arc::new),
                Err(error) => return self.unanswered(decoded, &error, None, batch),
            }
        }
        if let Some(workflow) = &decoded.workflow {
            match self.earlier(workflow, batch).boxed().await {
                Ok(Earlier::Same) => {}
                Ok(Earlier::Other) => return Claimed::Settle(self.of_other_workflow(batch)),
                Ok(Earlier::Old(closing)) => seen = closing.map(Arc::from),
                Err(error) => return self.unanswered(decoded, &error, None, batch),
            }
        }
        let (mut expanded, mut places, mut is_owed) = (false, None, false);
        for look in 0..CLAIMS {
            let asked = Instant::now();
            let now = batch.engine.clock.now();
            is_owed |= seen.as_deref().is_some_and(|seen| lifecycle::is_kept(seen) && seen.owner.as_ref() != Some(&claim.owner));
            let (next, ending) = match lifecycle::decide(seen.as_deref(), &decoded.request, &decoded.policy, &claim, now) {
                Decision::Leave(Ending::Early(due)) if look + 1 < CLAIMS && until(now, due) <= MOMENT => {
                    sleep(until(now, due)).await;
                    continue;
                }
                Decision::Leave(Ending::Blocked) => {
                    match self.wait(seen, decoded, batch).boxed().await {
                        Ok(changed) => seen = Some(changed),
                        Err(settlement) => return Claimed::Settle(settlement),
                    }
                    continue;
                }
                Decision::Leave(ending) => {
                    if let (Ending::Duplicate, Some(seen)) = (&ending, &seen) {
                        let repeat =
                            if lifecycle::has_other_arguments(seen, &decoded.request) { Repeat::OtherArguments } else { Repeat::Same };
                        return Claimed::Settle(self.discard(Some(seen), repeat, batch).with_dependents_of(seen));
                    }
                    return Claimed::Settle(Self::left(ending, seen, batch));
                }
                Decision::Run { suspect: true, .. } if turn == Turn::Shared => return Claimed::Suspect,
                Decision::Run { next, .. } if unrecorded && seen.is_none() => {
                    return Claimed::Granted(Granted { record: Arc::from(next), stored: Stored::NotYet, asked, work: None, is_owed });
                }
                Decision::Run { next, .. } => (next, None),
                Decision::End { next, ending } if is_owed => (Box::new(lifecycle::owed(*next, now)), Some(ending)),
                Decision::End { next, ending } => (next, Some(ending)),
            };
            let (next, ending) = if decoded.has_keys() && !next.state.is_terminal() {
                let asked = self.place(next, ending, seen.as_deref(), (decoded, &claim), &mut places, batch);
                match asked.boxed().await {
                    Ok(next) => next,
                    Err(Unplaced::Unanswered(error)) => return self.unanswered(decoded, &error, None, batch),
                    Err(Unplaced::Later) => return Claimed::Settle(Ending::NotStarted.into()),
                }
            } else {
                (next, ending)
            };
            if let (Some(workflow), Some(Ending::Blocked)) = (&decoded.workflow, &ending)
                && !expanded
            {
                match self.expand(workflow, &decoded.request, seen.as_deref(), batch).boxed().await {
                    Ok(Expanded::Done) => expanded = true,
                    Ok(Expanded::Known(record)) => {
                        seen = record;
                        continue;
                    }
                    Ok(Expanded::Foreign) => return Claimed::Settle(self.of_other_workflow(batch)),
                    Ok(Expanded::Overdue(reason)) => return Claimed::Refuse(Refused::overdue(decoded, reason)),
                    Err(error) => return self.unanswered(decoded, &error, None, batch),
                }
            }
            let next: Arc<Record> = Arc::from(next);
            let asked = places.as_ref().map_or(asked, |places| places.asked.max(asked));
            let written = self.write(Write { next: Arc::clone(&next), seen }, decoded, &mut places, batch).await;
            match (written, ending) {
                (Ok(Written::Done), None) => {
                    let work = places.and_then(|places| places.work);
                    return Claimed::Granted(Granted { record: next, stored: Stored::Yes, asked, work, is_owed });
                }
                // The next round decides about the job again, now with its record.
                (Ok(Written::Done), Some(Ending::Blocked | Ending::Duplicate)) => seen = Some(next),
                (Ok(Written::Done), Some(ending)) => return Claimed::Settle(self.end_without_attempt(decoded, ending, next, batch).await),
                // The claim was written although its answer was lost, and the job was cancelled afterwards.
                (Ok(Written::Refused(Some(stored))), None) if stored.is_run_by(Some(&claim.owner)) => {
                    return Claimed::Granted(Granted { record: Arc::from(stored), stored: Stored::Yes, asked, work: None, is_owed });
                }
                (Ok(Written::Refused(stored)), _) => seen = stored.map(Arc::from),
                // Too large for the index: the message waits in the queue instead.
                (Err(StoreError::Invalid(_)), Some(ending @ Ending::Early(_))) => return Claimed::Settle(ending.into()),
                (Err(error), ending) => return self.unanswered(decoded, &error, ending.as_ref(), batch),
            }
        }
        Claimed::Settle(self.given_back(places, batch).boxed().await) // the record changed at each attempt
    }

    /// Writes the record of a claim. Counts the attempt that a process left behind, if the write ends it.
    async fn write(&self, write: Write, decoded: &Decoded, places: &mut Option<Places>, batch: &Batch<'_>) -> Result<Written, StoreError> {
        let has_places = places.is_some() || write.seen.as_ref().is_some_and(|seen| !seen.held.is_empty());
        let killed = metered::of_killed(&write, batch);
        let written = if has_places {
            self.write_with_places(write, places.get_or_insert_with(Places::none), batch).boxed().await
        } else {
            batch.ledger.write(write).await
        };
        metered::count_killed(killed, &written, decoded);
        written
    }

    /// Registers a blocked job with the jobs that it waits for. Returns its record if it waits no longer, or else the end of the delivery.
    async fn wait(&self, blocked: Option<Arc<Record>>, decoded: &Decoded, batch: &Batch<'_>) -> Result<Arc<Record>, Settlement> {
        let Some(blocked) = blocked else { return Err(Ending::NotStarted.into()) };
        let waiting = match lifecycle::waits_for_key(&blocked) {
            Some(key) => {
                let needed = decoded.keys.iter().flat_map(|keys| lifecycle::needed(keys)).find(|needed| needed.id == *key);
                match batch.links().line_up(&blocked, key, needed.as_ref()).await {
                    Ok(false) => Ok(Waiting::Blocked),
                    // The message that released it may be this one, so it must not be deleted before the release is recorded.
                    Ok(true) => self.mark_released(&blocked, batch).await,
                    Err(error) => Err(error),
                }
            }
            None => batch.links().register(&blocked).await,
        };
        match waiting {
            Ok(Waiting::Blocked) => {
                tracing::info!(
                    id = self.id,
                    job = blocked.name,
                    outcome = Ending::Blocked.as_str(),
                    request_id = batch.invocation.request_id,
                    waits_for = lifecycle::waits_for_key(&blocked).map(|key| lifecycle::key_name(key)),
                    "job waits for other jobs"
                );
                Err(Ending::Blocked.into())
            }
            Ok(Waiting::Changed(record)) if record.state.is_terminal() => {
                let record = Arc::from(record);
                Err(self.end_without_attempt(decoded, Ending::Cancelled, record, batch).await)
            }
            Ok(Waiting::Changed(record)) => Ok(Arc::from(record)),
            Err(error) => {
                tracing::error!(id = self.id, %error, "cannot register with the jobs or the key that this one waits for; its message comes back");
                Err(Ending::NotStarted.into())
            }
        }
    }

    /// Records that a job was released, if the process that sent its message has not done so yet.
    async fn mark_released(&self, blocked: &Arc<Record>, batch: &Batch<'_>) -> Result<Waiting, StoreError> {
        let released = Arc::new(lifecycle::sent(blocked, batch.engine.clock.now()));
        match batch.ledger.write(Write::replace(Arc::clone(blocked), Arc::clone(&released))).await? {
            Written::Done => Ok(Waiting::Changed(Box::new(Record::clone(&released)))),
            Written::Refused(Some(stored)) => Ok(Waiting::Changed(stored)),
            Written::Refused(None) => Err(StoreError::Busy("the record has changed".into())),
        }
    }

    /// Logs a job that has ended without a run, and calls its hooks.
    async fn end_without_attempt(&self, decoded: &Decoded, ending: Ending, record: Arc<Record>, batch: &Batch<'_>) -> Settlement {
        let what = if record.state.is_terminal() { "job ended" } else { "job filed until it is due" };
        log_ending!(
            level(&ending),
            id = self.id,
            job = record.name,
            outcome = ending.as_str(),
            kind = record.error.as_ref().map(|error| error.kind.as_str()),
            error = record.error.as_ref().map(|error| error.message.as_str()),
            request_id = batch.invocation.request_id,
            "{what}"
        );
        if ending != Ending::Failed {
            return Settlement { filed: record.state == State::Scheduled, ..ending.into() }.with_dependents_of(&record);
        }
        let settlement = self.resolved(Settlement::failed(Arc::clone(&record)).with_dependents_of(&record), batch).await;
        let Ok(work) = self.work(decoded, &record, batch).await else {
            tracing::warn!(id = self.id, job = record.name, "the hooks of the job are not called, because its arguments cannot be read");
            if let Some(failure) = &record.error {
                batch.hook("report", decoded.known.report(&self.id, failure)).await;
            }
            return settlement;
        };
        let attempt = Attempt::new(
            Arc::clone(&record),
            batch.engine.records(&record),
            Arc::clone(&self.message),
            work.origin.clone(),
            batch.span.clone(),
            batch.engine.clock.clone(),
            batch.limits().stop_at,
        );
        attempt.close();
        for hook in hooks_of(&ending, record.error.clone()) {
            call(batch, &work.job, &attempt, hook).await;
        }
        settlement
    }

    /// Returns the settlement of a workflow whose id belongs to another one.
    fn of_other_workflow(&self, batch: &Batch<'_>) -> Settlement {
        Settlement { reason: Some(lifecycle::other_workflow(&self.id, batch.engine.clock.now())), ..Ending::Foreign.into() }
    }

    /// Returns the settlement of a delivery that writes nothing to the table.
    pub(super) fn left(ending: Ending, seen: Option<Arc<Record>>, batch: &Batch<'_>) -> Settlement {
        match (&ending, seen) {
            (Ending::Failed, Some(record)) => Settlement::failed(Arc::clone(&record)).with_dependents_of(&record),
            (Ending::Foreign, Some(record)) => {
                let reason = Some(lifecycle::id_in_use(&record, batch.engine.clock.now()));
                Settlement { reason, ..Ending::Foreign.into() }
            }
            (Ending::Early(_), Some(record)) => {
                Settlement { filed: lifecycle::is_filed(&record, batch.engine.clock.now()), ..ending.into() }
            }
            _ => ending.into(),
        }
    }

    /// Applies the policy when the store refused the request or did not answer. `ending` is the ending that the write would have recorded,
    /// if any.
    pub(super) fn unanswered(&self, decoded: &Decoded, error: &StoreError, ending: Option<&Ending>, batch: &Batch<'_>) -> Claimed {
        let settlement = match (error, decoded.policy.on_store_failure) {
            (StoreError::Unreadable { .. }, _) => Settlement::because(Ending::Rejected, "unreadable_record", error.to_string(), batch),
            (StoreError::Invalid(_), _) => {
                let reason = Failure::new(lifecycle::UNSTORABLE, error.to_string(), batch.engine.clock.now());
                return Claimed::Refuse(Refused { ending: Ending::Rejected, reason, name: decoded.request.name.clone(), job: None });
            }
            (_, StoreFailure::Run) if ending.is_none() => {
                tracing::warn!(id = self.id, %error, "the job runs without a record");
                let record = Arc::new(imagined(decoded, batch));
                return Claimed::Granted(Granted { record, stored: Stored::Never, asked: Instant::now(), work: None, is_owed: false });
            }
            (_, StoreFailure::Skip) => Ending::Skipped.into(),
            (_, StoreFailure::Run | StoreFailure::Retry) => Ending::NotStarted.into(),
        };
        tracing::error!(id = self.id, %error, outcome = settlement.ending.as_str(), "cannot claim");
        Claimed::Settle(settlement)
    }
}

/// Returns the record that the job would have.
fn imagined(decoded: &Decoded, batch: &Batch<'_>) -> Record {
    let now = batch.engine.clock.now();
    Record { state: State::Running, attempts: 1, started_at: Some(now), ..lifecycle::created(&decoded.request, &decoded.policy) }
}
