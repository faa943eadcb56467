//! Connects jobs that wait for each other.
//!
//! A blocked job is *registered* with each job that it waits for. A job that has ended is *resolved*: its dependents learn of its end, and
//! a dependent that waits for no other job is released.
//!
//! Every step can be repeated. Until the step is complete, the caller keeps the message of the job, or keeps its record in the due index.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Clock,
    lifecycle::{self, Effect, Progress, Release, is_job, is_node},
    names::MORE,
    outbox::{self, token},
    queue::Queue,
    record::{Record, State},
    store::{DEPENDENTS, Link, Linked, Store, StoreError, Write, Written},
};

/// Maximum number of rounds of a registration. It needs several rounds if a dependency has pages, or if another process creates the record
/// of a dependency at the same time.
const TRIES: usize = 8;

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
    /// It waits for other jobs, and is registered with them.
    Blocked,
    /// It is no longer blocked: it can be claimed, or it has ended, or another write was first.
    Changed(Box<Record>),
}

/// The facts about the dependencies that a registration has found.
#[derive(Default)]
struct Found {
    /// The dependencies that count as ended under the conditions of the job.
    ended: Vec<Record>,
    /// The registrations to make next.
    open: Vec<Target>,
    /// Ended nodes. They may have to wait again, because a member was retried.
    nodes: Vec<(Target, Record)>,
    /// Nodes that wait again. A process may have died before it registered them with their members.
    reopened: Vec<Record>,
    /// The number of earlier rounds.
    round: usize,
}

/// The record in which a job is registered with one of its dependencies: the dependency itself, or one of its pages.
#[derive(Clone, PartialEq)]
struct Target {
    dependency: String,
    /// The level of the page. 0: the dependency itself.
    level: usize,
    /// `true`: add the mark that the record has pages, instead of the job.
    is_mark: bool,
}

/// The consequences of an ending for the dependents.
#[derive(Default)]
struct Told {
    /// The ids of the dependents that have ended as a result and have dependents of their own.
    ended: Vec<String>,
    /// The nodes that have ended as a result. Their parents must be told next.
    nodes: Vec<Record>,
    /// The dependents that wait for no other job.
    released: Vec<Record>,
}

impl Links<'_> {
    /// Registers a blocked job with the jobs that it waits for. Applies the endings of those that have already ended.
    pub(crate) async fn register(&self, blocked: &Record) -> Result<Waiting, StoreError> {
        let found = self.register_all(blocked).await?;
        let now = self.clock.now();
        let mut removed = BTreeSet::new();
        for ended in &found.ended {
            match lifecycle::effect(blocked, ended, &token(), now) {
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
        Ok(Waiting::Blocked)
    }

    /// Registers a blocked job again, and the nodes through which it waits, in case a step of a registration or a release was lost.
    pub(crate) fn register_again<'a>(&'a self, blocked: &'a Record) -> BoxFuture<'a, Result<Waiting, StoreError>> {
        async move {
            let nodes: Vec<_> = lifecycle::unmet(blocked).filter(|id| is_node(id)).cloned().collect();
            for node in self.store.read(&nodes).await {
                if let Some(node) = node?.filter(|node| node.state == State::Blocked && !node.blocked_on.is_empty()) {
                    self.register_again(&node).await?;
                }
            }
            self.register(blocked).await
        }
        .boxed()
    }

    /// [Registers a blocked job again](Links::register_again), and releases it if it is ready. If it waits for a key, looks at that key.
    pub(crate) async fn look_again(&self, blocked: &Record) -> Result<Waiting, StoreError> {
        if let Some(key) = lifecycle::waits_for_key(blocked) {
            return self.line_up(blocked, key, None).await.map(|_| Waiting::Blocked);
        }
        let waiting = self.register_again(blocked).await?;
        if let Waiting::Changed(job) = &waiting
            && job.state == State::Blocked
        {
            self.release(vec![Record::clone(job)]).await?;
        }
        Ok(waiting)
    }

    async fn register_all(&self, blocked: &Record) -> Result<Found, StoreError> {
        let states = lifecycle::waits_for(blocked);
        let target = |id: &String| Target { dependency: id.clone(), level: 0, is_mark: false };
        let mut found = Found { open: lifecycle::unmet(blocked).map(target).collect(), ..Found::default() };
        let mut paged = BTreeSet::new();
        for round in 0..TRIES {
            found.round = round;
            let targets = mem::take(&mut found.open);
            let links: Vec<_> = targets.iter().map(|target| target.registration(&blocked.id, states)).collect();
            let (mut unknown, mut missing) = (Vec::new(), Vec::new());
            for (target, answer) in targets.into_iter().zip(self.store.link(&links).await) {
                if target.level > 0 {
                    paged.insert(target.dependency.clone());
                }
                match answer {
                    Ok(Linked::Done(job)) if target.is_mark => found.open.push(target.next(&job)),
                    Ok(Linked::Done(job)) if lifecycle::is_reopened(&job) => found.reopened.push(*job),
                    Ok(Linked::Done(job)) => found.ended.extend(lifecycle::closed(&job)),
                    Ok(Linked::Refused(Some(job))) => found.note(target, *job, blocked, states),
                    Ok(Linked::Refused(None)) => unknown.push(target),
                    Err(error) => unreadable(error)?,
                }
            }
            let ids: Vec<_> = unknown.iter().map(|target| target.id(&blocked.id)).collect();
            for ((target, id), stored) in unknown.into_iter().zip(&ids).zip(self.store.read(&ids).await) {
                match stored {
                    Ok(Some(job)) => found.note(target, job, blocked, states),
                    // A node is written before its parent is sent, and deleted long after.
                    Ok(None) if is_node(id) => tracing::error!(id, job = blocked.id, "a group of jobs that this one waits for is missing"),
                    Ok(None) => {
                        let insert = Write::insert(lifecycle::awaited(id, &blocked.id, &token(), self.clock.now()));
                        missing.push((target, insert));
                    }
                    Err(error) => unreadable(error)?,
                }
            }
            let (targets, writes): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
            for (target, written) in targets.into_iter().zip(self.store.write(&writes).await) {
                match written? {
                    Written::Done => {}
                    Written::Refused(_) => found.open.push(target), // it exists by now
                }
            }
            for node in mem::take(&mut found.reopened) {
                if let Waiting::Changed(node) = self.register_node(&node).await? {
                    found.ended.extend(if node.state.is_terminal() { Some(*node) } else { lifecycle::closed(&node) });
                }
            }
            for (target, node) in mem::take(&mut found.nodes) {
                let node = self.reopen(node).await?;
                if node.state.is_terminal() {
                    found.ended.push(node);
                } else {
                    found.open.push(target);
                }
            }
            if found.open.is_empty() {
                return self.look_back(paged, found, states).await;
            }
        }
        Err(StoreError::Busy("the records of dependencies changed at each try".into()))
    }

    fn register_node<'a>(&'a self, node: &'a Record) -> BoxFuture<'a, Result<Waiting, StoreError>> {
        self.register(node).boxed()
    }

    /// Makes an ended node wait again for its members, and registers it with them. Returns the node. It has ended again if a member has
    /// ended without success and was not retried.
    async fn reopen(&self, node: Record) -> Result<Record, StoreError> {
        let open = lifecycle::reopened(&node, |_| true, &token(), self.clock.now());
        match self.write_one(Write::replace(node, open.clone())).await? {
            Written::Refused(_) => Err(StoreError::Busy("a group of jobs changed in the meantime".into())),
            Written::Done => match self.register_node(&open).await? {
                Waiting::Changed(node) => Ok(*node),
                Waiting::Blocked => Ok(open),
            },
        }
    }

    /// Reads the dependencies again that list the dependent on a page. Such a dependency may have ended, and its pages may have been read,
    /// before the registration on the page was made. A registration in the record of the dependency itself would have been refused.
    async fn look_back(&self, paged: BTreeSet<String>, mut found: Found, states: &[State]) -> Result<Found, StoreError> {
        let ids: Vec<_> = paged.into_iter().collect();
        for stored in self.store.read(&ids).await {
            let ended = stored.or_else(|error| unreadable(error).map(|()| None))?.filter(|job| !states.contains(&job.state));
            found.ended.extend(ended);
        }
        Ok(found)
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
        if self.write_one(write).await? == Written::Done {
            return Ok(next);
        }
        match self.read(&blocked.id).await? {
            Some(stored) if stored.version() == blocked.version() => {
                Err(StoreError::Busy("a job registered with a job that ends, at the same time".into()))
            }
            stored => Ok(stored.unwrap_or(next)),
        }
    }

    /// Resolves the ended job with this id: tells its dependents, and releases those that wait for no other job. Also resolves the jobs that
    /// end as a result.
    pub(crate) async fn resolve(&self, id: &str) -> Result<(), StoreError> {
        self.resolve_all(vec![id.to_owned()]).await
    }

    /// [Resolves](Links::resolve) the ended job with this record.
    pub(crate) async fn resolve_ended(&self, job: Record) -> Result<(), StoreError> {
        let ended = self.resolve_one(job).await?;
        self.resolve_all(ended).await
    }

    async fn resolve_all(&self, mut ended: Vec<String>) -> Result<(), StoreError> {
        while let Some(id) = ended.pop() {
            // Others may have registered since the end was written, or the job may run again.
            let Some(job) = self.read(&id).await?.filter(|job| job.state.is_terminal()) else { continue };
            ended.extend(self.resolve_one(job).await?);
        }
        Ok(())
    }

    /// Tells the dependents of an ended job. Returns the ids of those that have ended as a result and have dependents of their own.
    async fn resolve_one(&self, job: Record) -> Result<Vec<String>, StoreError> {
        let settled = lifecycle::settled(&job).map(|settled| Write::replace(job.clone(), settled));
        let (mut next, mut ended) = (vec![job], Vec::new());
        while let Some(job) = next.pop() {
            let told = self.tell(&job).await?;
            self.release(told.released).await?;
            ended.extend(told.ended);
            next.extend(told.nodes);
        }
        // A refusal is no error: the job has been retried in the meantime.
        self.store.write(&settled.into_iter().collect::<Vec<_>>()).await.pop().transpose()?;
        Ok(ended)
    }

    /// Returns the ids of the dependents of a job, including those on its pages. Some may be ids of nodes.
    pub(crate) async fn dependents(&self, job: &Record) -> Result<Vec<String>, StoreError> {
        let mut dependents = job.dependents.clone();
        let mut full = Vec::new();
        full.extend(dependents.remove(MORE).then(|| job.id.clone()));
        while !full.is_empty() {
            let ids: Vec<_> = full.iter().flat_map(|id| lifecycle::pages(id)).collect();
            full.clear();
            for page in self.store.read(&ids).await {
                let Some(mut page) = page? else { continue };
                full.extend(page.dependents.remove(MORE).then_some(page.id));
                dependents.extend(page.dependents);
            }
        }
        Ok(dependents.into_iter().collect())
    }

    /// Tells the dependents of an ended job or node.
    async fn tell(&self, job: &Record) -> Result<Told, StoreError> {
        let dependents = self.dependents(job).await?;
        let (mut removals, mut told) = (Vec::new(), Told::default());
        if job.state == State::Succeeded {
            // A success never ends a dependent by itself, so their records need not be read first.
            let remove = |id: String| Link::Remove { id, dependencies: [job.id.clone()].into() };
            removals.extend(dependents.into_iter().map(remove));
        } else {
            for (id, stored) in dependents.iter().zip(self.store.read(&dependents).await) {
                let Some(dependent) = stored.or_else(|error| unreadable(error).map(|()| None))? else { continue };
                if !lifecycle::waits_for_jobs(&dependent) {
                    told.note(dependent);
                    continue;
                }
                match lifecycle::effect(&dependent, job, &token(), self.clock.now()) {
                    // The condition of a handler was met before, but its release was lost. DynamoDB takes no empty set.
                    Effect::Remove(dependencies) if dependencies.is_empty() => self.proceed(dependent, &mut told).await?,
                    Effect::Remove(dependencies) => removals.push(Link::Remove { id: id.clone(), dependencies }),
                    // An earlier success has met its condition, but its release was lost.
                    Effect::Hold if dependent.blocked_on.is_empty() => self.proceed(dependent, &mut told).await?,
                    Effect::Hold => {}
                    Effect::End(next) => told.note(self.end_dependent(&dependent, *next).await?),
                }
            }
        }
        for (link, answer) in removals.iter().zip(self.store.link(&removals).await) {
            match answer {
                Ok(Linked::Done(dependent)) => self.proceed(*dependent, &mut told).await?,
                Ok(Linked::Refused(Some(dependent))) => told.note(*dependent),
                Ok(Linked::Refused(None)) => {
                    if let Some(dependent) = self.read(link.id()).await? {
                        told.note(dependent);
                    }
                }
                Err(error) => unreadable(error)?,
            }
        }
        Ok(told)
    }

    /// Decides about a dependent that no longer waits for an ended job.
    async fn proceed(&self, dependent: Record, told: &mut Told) -> Result<(), StoreError> {
        if let Some(closed) = lifecycle::closed(&dependent) {
            told.nodes.push(closed);
            return Ok(());
        }
        match lifecycle::progress(&dependent, &token(), self.clock.now()) {
            Progress::Waits => {}
            Progress::Release => told.released.push(dependent),
            Progress::End(next) => told.note(self.end_dependent(&dependent, *next).await?),
        }
        Ok(())
    }

    async fn end_dependent(&self, blocked: &Record, next: Record) -> Result<Record, StoreError> {
        let (id, kind) = (next.id.clone(), next.error.as_ref().map(|error| error.kind.clone()));
        let ended = self.end(blocked, next).await?;
        if ended.state.is_terminal() && is_job(&id) {
            tracing::info!(id, job = ended.name, outcome = ended.state.as_str(), kind, "a job that waited for others does not run");
        }
        Ok(ended)
    }

    /// Sends the messages of blocked jobs that no longer wait for other jobs.
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
                let next = lifecycle::put_back(&unsent, &token(), now.max(lifecycle::starts_at(&unsent).unwrap_or(now)), now);
                filed.push(Write::replace(unsent, next));
            }
        }
        // A refusal means that another process was first.
        self.store.write(&filed).await.into_iter().try_for_each(|written| written.map(drop))
    }

    pub(crate) async fn read(&self, id: &str) -> Result<Option<Record>, StoreError> {
        self.store.read(&[id.to_owned()]).await.pop().unwrap_or(Ok(None))
    }
}

impl Target {
    /// Returns the id of the record in which the job is registered.
    fn id(&self, blocked: &str) -> String {
        lifecycle::page(&self.dependency, blocked, self.level)
    }

    fn registration(&self, blocked: &str, states: &'static [State]) -> Link {
        let dependent = if self.is_mark { MORE } else { blocked };
        Link::Register { id: self.id(blocked), dependents: [dependent.to_owned()].into(), states }
    }

    /// Returns the next registration after the record of a job or a page was full.
    fn next(self, full: &Record) -> Self {
        if full.dependents.contains(MORE) { Self { level: self.level + 1, is_mark: false, ..self } } else { Self { is_mark: true, ..self } }
    }
}

impl Found {
    /// Notes a job that refused a registration.
    fn note(&mut self, target: Target, job: Record, blocked: &Record, states: &[State]) {
        if !states.contains(&job.state) && is_node(&job.id) {
            self.nodes.push((target, job));
        } else if !states.contains(&job.state) {
            self.ended.push(job);
        } else if !job.dependents.contains(&blocked.id) {
            // The record may still have room: it changed after the refusal, or the registrations of a batch did not all fit.
            let has_room = job.dependents.len() < DEPENDENTS && self.round < 2;
            self.open.push(if has_room { target } else { target.next(&job) });
        }
    }
}

impl Told {
    /// Notes a dependent that is no longer blocked. If it has ended, its own dependents may still have to be told.
    fn note(&mut self, dependent: Record) {
        if is_node(&dependent.id) && dependent.state.is_terminal() {
            self.nodes.push(dependent);
        } else if lifecycle::settled(&dependent).is_some() {
            self.ended.push(dependent.id);
        }
    }
}

/// Replaces each id of a node in a list by the ids of the jobs below the node, and keeps the order. `of` returns the ids directly below a
/// node.
pub(crate) async fn without_nodes(
    store: &dyn Store,
    mut ids: Vec<String>,
    of: impl Fn(&Record) -> Vec<String> + Send,
) -> Result<Vec<String>, StoreError> {
    while ids.iter().any(|id| is_node(id)) {
        let nodes: Vec<_> = ids.iter().filter(|id| is_node(id)).cloned().collect();
        let mut members = BTreeMap::new();
        for (id, stored) in nodes.iter().zip(store.read(&nodes).await) {
            let gone = || StoreError::Invalid(format!("the list of the jobs that job {} waits for was deleted", lifecycle::job_of(id)));
            members.insert(id, of(&stored?.ok_or_else(gone)?));
        }
        ids = ids.iter().flat_map(|id| members.get(id).cloned().unwrap_or_else(|| vec![id.clone()])).collect();
    }
    Ok(ids)
}

/// Logs an unreadable record. A beater examines it again once it is corrected. Returns any other error.
pub(crate) fn unreadable(error: StoreError) -> Result<(), StoreError> {
    match error {
        StoreError::Unreadable { .. } => {
            tracing::error!(%error, "cannot look at a job that waits, or for which others wait");
            Ok(())
        }
        error => Err(error),
    }
}
