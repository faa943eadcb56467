//! State shared by the actors: the tables and the queue, in which a rule may be broken, and the waiting requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{
    judge::{Judge, Told},
    *,
};
use crate::{
    beater::rows::Rows as _,
    queue::Outgoing,
    store::{Store as _, StoreError, Write},
};

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Through,
    /// It is made, but its answer is lost.
    Lost,
    /// It is not made.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// An operator's next edit, which begins when it is let through.
    Begin,
    Read,
    Write,
}

/// A waiting request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) who: usize,
    pub(super) kind: Kind,
    pub(super) what: &'static str,
    pub(super) reply: oneshot::Sender<Fate>,
}

/// The shared state.
pub(super) struct Hub {
    pub(super) world: TestBeater,
    pub(super) mutation: Option<Mutation>,
    /// The instant of each tick; `None` for an operator.
    pub(super) ticks: Vec<Option<Timestamp>>,
    /// The shards that can contain its jobs.
    pub(super) shards: BTreeSet<String>,
    state: Mutex<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// `true` if requests wait.
    pub(super) is_explored: bool,
    pub(super) asked: Vec<Asked>,
    /// A hash of the answers of each actor.
    pub(super) told: Vec<u64>,
    /// Random tokens by names that are the same in each run: the first actor with the token, and its number of earlier tokens.
    names: BTreeMap<String, String>,
    /// `true` for each actor to which the index has shown the row.
    pub(super) found: Vec<bool>,
    /// `true` for each actor that has begun to read the index of jobs.
    pub(super) indexed: Vec<bool>,
    /// The row as the index showed it first.
    pub(super) shown: Option<Row>,
    /// The instant of the calm ticks.
    calm: Option<Timestamp>,
    pub(super) judge: Judge,
}

impl Hub {
    pub(super) fn new(
        world: TestBeater,
        mutation: Option<Mutation>,
        ticks: Vec<Option<Timestamp>>,
        told: Vec<Arc<Told>>,
        shards: BTreeSet<String>,
    ) -> Self {
        let actors = ticks.len();
        let shared = Shared {
            is_explored: false,
            calm: None,
            asked: Vec::new(),
            told: vec![0; actors],
            names: BTreeMap::new(),
            found: vec![false; actors],
            indexed: vec![false; actors],
            shown: None,
            judge: Judge::new(told),
        };
        Self { world, mutation, ticks, shards, state: Mutex::new(shared) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Lets the first request of an actor proceed.
    pub(super) fn grant(&self, who: usize, fate: Fate) {
        let mut state = self.state();
        let first = state.asked.iter().position(|asked| asked.who == who).expect("it asks for something");
        let asked = state.asked.remove(first);
        drop(state);
        asked.reply.send(fate).expect("it waits for that");
    }

    /// Changes the row as an actor requests it, unless a rule is broken.
    pub(super) async fn change(
        &self,
        who: usize,
        seen: Option<&Row>,
        next: Option<&Row>,
        jobs: &[Write],
        fate: Fate,
    ) -> Result<Changed, StoreError> {
        let stands = self.world.rows.get(ID).await?.and_then(Result::ok);
        let seen = if self.is(Mutation::IgnoreCondition) { stands.as_ref() } else { seen };
        let jobs = self.bent_jobs(jobs, fate);
        let next = next.map(|next| self.bent_row(next, stands.as_ref(), who));
        if self.is(Mutation::Overwrite) {
            let known =
                jobs.iter().filter_map(|job| Some(Write::replace(self.world.local.store.get(&job.next.id)?, Arc::clone(&job.next))));
            self.world.local.store.write(&known.collect::<Vec<_>>()).await;
        }
        let is_new = |job: &&Write| !self.is(Mutation::Overwrite) || self.world.local.store.get(&job.next.id).is_none();
        let jobs: Vec<_> = jobs.iter().filter(is_new).cloned().collect();
        let changed = self.world.rows.change(ID, seen, next.as_ref(), &jobs).await;
        if matches!(changed, Ok(Changed::Done)) {
            let now = self.world.now();
            let mut state = self.state();
            let tick = self.ticks[who].map(|tick| state.calm.unwrap_or(tick));
            state.judge.changed(tick, stands.as_ref(), next.as_ref(), now);
        }
        changed
    }

    fn bent_jobs(&self, jobs: &[Write], fate: Fate) -> Vec<Write> {
        match self.mutation {
            Some(Mutation::ForgetJobs) => Vec::new(),
            Some(Mutation::ForgetReplaced) => jobs.iter().filter(|job| job.seen.is_none()).cloned().collect(),
            Some(Mutation::HalfCommit) if fate == Fate::Lost => Vec::new(),
            Some(Mutation::FileAnother) => {
                let before = |job: &Record| job.run_at.unwrap_or_default() - jiff::SignedDuration::from_secs(30);
                let other = |job: &Write| Write::insert(Record { id: even().job_id(before(&job.next)), ..Record::clone(&job.next) });
                jobs.iter().flat_map(|job| [job.clone(), other(job)]).collect()
            }
            _ => jobs.to_vec(),
        }
    }

    /// Returns a mark as it reaches the table.
    pub(super) fn bent_mark(&self, mark: &Write) -> Write {
        let now = self.is(Mutation::SendAtOnce).then(|| self.world.now());
        let next = Record { run_at: now.or(mark.next.run_at), ..Record::clone(&mark.next) };
        Write { next: Arc::new(next), seen: mark.seen.clone() }
    }

    /// Returns a message as it reaches the queue.
    pub(super) fn bent_message(&self, message: &Outgoing) -> Outgoing {
        let delay = if self.is(Mutation::SendAtOnce) { Duration::ZERO } else { message.delay };
        Outgoing { delay, ..message.clone() }
    }

    fn bent_row(&self, next: &Row, stands: Option<&Row>, who: usize) -> Row {
        let (mut bent, is_beater) = (next.clone(), self.ticks[who].is_some());
        match self.mutation {
            Some(Mutation::ForgetAhead) => bent.ahead.clear(),
            Some(Mutation::RepeatAhead) => bent.ahead.extend(stands.iter().flat_map(|row| &row.ahead)),
            Some(Mutation::MoveBack) if is_beater => bent.next_fire = bent.next_fire.map(|next| next.replace("T10", "T09")),
            _ => {}
        }
        bent
    }
}

impl Shared {
    /// Names a new token.
    pub(super) fn learn(&mut self, who: &str, token: Option<&str>) {
        let Some(token) = token.filter(|token| !self.names.contains_key(*token)) else { return };
        let had = self.names.values().filter(|name| name.starts_with(who)).count();
        self.names.insert(token.to_owned(), format!("{who}{had}"));
    }

    /// Returns the debug text of an answer, with names in place of tokens.
    pub(super) fn named(&self, told: &impl Debug) -> String {
        let mut text = format!("{told:?}");
        for (token, name) in &self.names {
            if text.contains(token.as_str()) {
                text = text.replace(token.as_str(), name);
            }
        }
        text
    }

    /// Returns `true` if an actor has received an answer.
    pub(super) fn was_told(&self, who: usize) -> bool {
        self.told[who] != 0
    }

    /// Makes requests wait from now on.
    pub(super) fn explore(&mut self) {
        (self.is_explored, self.calm) = (true, None);
        self.found.fill(false);
        self.indexed.fill(false);
    }

    /// Stops making requests wait, and sets the instant of further ticks.
    pub(super) fn calm_at(&mut self, at: Timestamp) {
        (self.is_explored, self.calm) = (false, Some(at));
    }

    /// Names the tokens that a worker has written.
    pub(super) fn learn_all(&mut self, who: &str, records: &[Record]) {
        for record in records {
            self.learn(who, record.owner.as_deref());
        }
    }
}
