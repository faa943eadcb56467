//! Connects jobs that wait for each other. A blocked job is registered with each job that it waits for; a job that has ended is resolved:
//! its dependents learn of its end, and those that wait for nothing else are released.
//!
//! Every step can be repeated. The caller keeps the message of the job until the step is complete, or lists its record as owed.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Clock,
    lifecycle::{self, Effect, Progress, Release},
    outbox::{self, token},
    queue::Queue,
    record::{Record, State},
    store::{Link, Linked, Store, StoreError, Write, Written},
};

/// Maximum number of tries to register with jobs whose records are created at the same time.
const TRIES: usize = 3;

/// The ports that links need.
#[derive(Clone, Copy)]
pub(crate) struct Links<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) queue: &'a dyn Queue,
    pub(crate) clock: &'a Clock,
}

/// The state of a blocked job after its registration.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// It waits for other jobs, which know of it.
    Blocked,
    /// A job that it waits for has no room for another dependent. Try again later.
    Full,
    /// It is no longer blocked: it can be claimed, or it has ended, or another write was first.
    Changed(Box<Record>),
}

/// The answers of the dependencies of a job.
#[derive(Default)]
struct Found {
    /// The dependencies that have ended for the job, and their states.
    ended: Vec<(String, State)>,
    is_full: bool,
}

impl Links<'_> {
    /// Registers a blocked job with the jobs that it waits for, and applies the endings of those that have ended.
    pub(crate) async fn register(&self, blocked: &Record) -> Result<Waiting, StoreError> {
        let found = self.register_all(blocked).await?;
        let now = self.clock.now();
        let mut removed = BTreeSet::new();
        for (id, state) in &found.ended {
            match lifecycle::effect(blocked, id, *state, &token(), now) {
                Effect::Remove(ids) => removed.extend(ids),
                Effect::Hold => {}
                Effect::End(next) => return Ok(Waiting::Changed(Box::new(self.end(blocked, *next).await?))),
            }
        }
        if !removed.is_empty() || lifecycle::unmet(blocked).next().is_none() {
            let job = self.remove(blocked, removed).await?;
            match lifecycle::progress(&job, &token(), now) {
                Progress::Release => return Ok(Waiting::Changed(Box::new(job))),
                Progress::End(next) => return Ok(Waiting::Changed(Box::new(self.end(&job, *next).await?))),
                Progress::Waits if job.state != State::Blocked => return Ok(Waiting::Changed(Box::new(job))),
                Progress::Waits => {}
            }
        }
        Ok(if found.is_full { Waiting::Full } else { Waiting::Blocked })
    }

    async fn register_all(&self, blocked: &Record) -> Result<Found, StoreError> {
        let states = lifecycle::waits_for(blocked);
        let mut found = Found::default();
        let mut open: Vec<String> = lifecycle::unmet(blocked).cloned().collect();
        for _ in 0..TRIES {
            let register = |id: &String| Link::Register { id: id.clone(), dependents: [blocked.id.clone()].into(), states };
            let links: Vec<_> = open.iter().map(register).collect();
            let (mut unknown, mut missing) = (Vec::new(), Vec::new());
            for (id, answer) in open.drain(..).zip(self.store.link(&links).await) {
                match answer {
                    Ok(Linked::Done(_)) => {}
                    Ok(Linked::Refused(Some(job))) => found.look(&job, blocked, states),
                    Ok(Linked::Refused(None)) => unknown.push(id),
                    Err(error) => unreadable(error)?,
                }
            }
            for (id, stored) in unknown.iter().zip(self.store.read(&unknown).await) {
                match stored {
                    Ok(Some(job)) => found.look(&job, blocked, states),
                    Ok(None) => missing.push(Write::insert(lifecycle::awaited(id, &blocked.id, &token(), self.clock.now()))),
                    Err(error) => unreadable(error)?,
                }
            }
            for (write, written) in missing.iter().zip(self.store.write(&missing).await) {
                match written? {
                    Written::Done => {}
                    Written::Refused(_) => open.push(write.next.id.clone()), // it exists by now
                }
            }
            if open.is_empty() {
                return Ok(found);
            }
        }
        Err(StoreError::Busy("the records of dependencies changed at each try".into()))
    }

    /// Removes dependencies from a blocked job, and returns its record.
    async fn remove(&self, blocked: &Record, dependencies: BTreeSet<String>) -> Result<Record, StoreError> {
        if dependencies.is_empty() {
            return Ok(blocked.clone());
        }
        let link = Link::Remove { id: blocked.id.clone(), dependencies };
        match self.store.link(&[link]).await.pop().unwrap_or(Ok(Linked::Refused(None)))? {
            Linked::Done(job) | Linked::Refused(Some(job)) => Ok(*job),
            Linked::Refused(None) => Ok(self.read(&blocked.id).await?.unwrap_or_else(|| blocked.clone())),
        }
    }

    /// Writes the end of a blocked job that does not run. Returns its stored record. The caller tells its dependents.
    async fn end(&self, blocked: &Record, next: Record) -> Result<Record, StoreError> {
        let write = Write::replace(blocked.clone(), next.clone());
        match self.store.write(&[write]).await.pop().unwrap_or(Ok(Written::Refused(None)))? {
            Written::Done => Ok(next),
            Written::Refused(_) => Ok(self.read(&blocked.id).await?.unwrap_or(next)),
        }
    }

    /// Tells the dependents of an ended job, and releases those that wait for nothing else. Jobs that end thereby are resolved too.
    pub(crate) async fn resolve(&self, id: &str) -> Result<(), StoreError> {
        let mut ended = vec![id.to_owned()];
        while let Some(id) = ended.pop() {
            // Others may have registered since the end was written, or the job may run again.
            let Some(job) = self.read(&id).await?.filter(|job| job.state.is_terminal()) else { continue };
            ended.extend(self.resolve_one(&job).await?);
            if let Some(settled) = lifecycle::settled(&job) {
                // This write is refused if the job has been retried in the meantime, and that is no error.
                self.store.write(&[Write::replace(job, settled)]).await.pop().transpose()?;
            }
        }
        Ok(())
    }

    /// Tells the dependents of an ended job. Returns the ids of those that have ended thereby and have dependents themselves.
    async fn resolve_one(&self, job: &Record) -> Result<Vec<String>, StoreError> {
        let dependents: Vec<_> = job.dependents.iter().cloned().collect();
        let (mut removals, mut released, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        if job.state == State::Succeeded {
            // A success never ends a dependent by itself, so their records need not be read first.
            let remove = |id: String| Link::Remove { id, dependencies: [job.id.clone()].into() };
            removals.extend(dependents.into_iter().map(remove));
        } else {
            for (id, stored) in dependents.iter().zip(self.store.read(&dependents).await) {
                let Some(dependent) = stored.or_else(|error| unreadable(error).map(|()| None))? else { continue };
                if dependent.state != State::Blocked {
                    ended.extend(owes(&dependent));
                    continue;
                }
                match lifecycle::effect(&dependent, &job.id, job.state, &token(), self.clock.now()) {
                    Effect::Remove(dependencies) => removals.push(Link::Remove { id: id.clone(), dependencies }),
                    // An earlier success has met its condition, but its release was lost.
                    Effect::Hold if dependent.blocked_on.is_empty() => released.push(dependent),
                    Effect::Hold => {}
                    Effect::End(next) => ended.extend(self.end_dependent(&dependent, *next).await?),
                }
            }
        }
        for (link, answer) in removals.iter().zip(self.store.link(&removals).await) {
            let dependent = match answer {
                Ok(Linked::Done(dependent)) => *dependent,
                Ok(Linked::Refused(Some(dependent))) => {
                    ended.extend(owes(&dependent));
                    continue;
                }
                Ok(Linked::Refused(None)) => {
                    ended.extend(self.read(link.id()).await?.as_ref().and_then(owes));
                    continue;
                }
                Err(error) => {
                    unreadable(error)?;
                    continue;
                }
            };
            match lifecycle::progress(&dependent, &token(), self.clock.now()) {
                Progress::Waits => {}
                Progress::Release => released.push(dependent),
                Progress::End(next) => ended.extend(self.end_dependent(&dependent, *next).await?),
            }
        }
        self.release(released).await?;
        Ok(ended)
    }

    async fn end_dependent(&self, blocked: &Record, next: Record) -> Result<Option<String>, StoreError> {
        let (id, kind) = (next.id.clone(), next.error.as_ref().map(|error| error.kind.clone()));
        let ended = self.end(blocked, next).await?;
        if ended.state.is_terminal() {
            tracing::info!(id, job = ended.name, outcome = ended.state.as_str(), kind, "a job that waited for others does not run");
        }
        Ok(owes(&ended))
    }

    /// Sends the messages of blocked jobs that wait for nothing any more.
    pub(crate) async fn release(&self, jobs: Vec<Record>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut queues: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        let mut filed = Vec::new();
        for job in jobs {
            match lifecycle::release(&job, &token(), now) {
                Release::Send => queues.entry(job.queue.clone()).or_default().push(job),
                Release::File(next) => filed.push(Write::replace(job, *next)),
            }
        }
        for (queue, jobs) in queues {
            for unsent in outbox::send(self.queue, self.store, &queue, jobs, now).await.unsent {
                let next = lifecycle::put_back(&unsent, &token(), now.max(unsent.run_at.unwrap_or(now)));
                filed.push(Write::replace(unsent, next));
            }
        }
        // Refused: another process was first.
        self.store.write(&filed).await.into_iter().try_for_each(|written| written.map(drop))
    }

    async fn read(&self, id: &str) -> Result<Option<Record>, StoreError> {
        self.store.read(&[id.to_owned()]).await.pop().unwrap_or(Ok(None))
    }
}

impl Found {
    /// Notes a job that refused a registration.
    fn look(&mut self, job: &Record, blocked: &Record, states: &[State]) {
        if !states.contains(&job.state) {
            self.ended.push((job.id.clone(), job.state));
        } else if !job.dependents.contains(&blocked.id) {
            self.is_full = true;
        }
    }
}

/// Returns the id of a job that has ended without telling its dependents.
fn owes(job: &Record) -> Option<String> {
    lifecycle::settled(job).map(|_| job.id.clone())
}

/// Logs an unreadable record, which a beater looks at again once it is corrected. Returns any other error.
fn unreadable(error: StoreError) -> Result<(), StoreError> {
    match error {
        StoreError::Unreadable { .. } => {
            tracing::error!(%error, "cannot look at a dependency or a dependent");
            Ok(())
        }
        error => Err(error),
    }
}
