//! A store that fails on demand and counts its requests.

use std::{
    fmt,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, sleep};

use crate::{
    record::{Record, State},
    store::{Link, Linked, Memory, Store, StoreError, Write, Written},
};

/// In-memory records behind a connection that fails on demand.
#[derive(Debug, Clone, Default)]
pub(super) struct FaultyStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    memory: Memory,
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Request>>,
    links: Mutex<Vec<Vec<Link>>>,
}

/// A request to the store.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) at: Instant,
    pub(super) reads: Vec<String>,
    pub(super) writes: Vec<Write>,
}

/// A fault of a statement, or of its whole request.
#[derive(Clone)]
pub(super) enum StoreFault {
    /// The write is made, but the answer is lost.
    LoseAnswer,
    /// The write is throttled and not made.
    Busy,
    /// The write is not made, and the answer is lost.
    Unknown,
    /// The write is not made, and can never succeed.
    Invalid,
    /// The whole request is throttled: none of its statements is executed.
    Whole,
    /// The whole request is delayed before anything is executed.
    Delay(Duration),
    /// A refusal does not show the record.
    Bare,
    /// Another process writes first.
    Meanwhile(Arc<dyn Fn(&FaultyStore) + Send + Sync>),
}

impl fmt::Debug for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreFault")
    }
}

/// A fault and the statements that it affects.
struct Rule {
    of: Box<dyn Fn(Statement<'_>) -> bool + Send + Sync>,
    count: usize,
    from: usize,
    to: usize,
    fault: StoreFault,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("count", &self.count).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Statement<'a> {
    Read,
    Write(&'a Write),
    Link(&'a Link),
}

impl FaultyStore {
    /// Adds a fault for the writes that match `of` and whose number, counted from 0, is in `which`.
    pub(super) fn on_write(&self, of: impl Fn(&Write) -> bool + Send + Sync + 'static, which: impl RangeBounds<usize>, fault: StoreFault) {
        self.rule(which, fault, move |statement| matches!(statement, Statement::Write(write) if of(write)));
    }

    /// Adds a fault for the reads whose number, counted from 0, is in `which`.
    pub(super) fn on_read(&self, which: impl RangeBounds<usize>, fault: StoreFault) {
        self.rule(which, fault, |statement| matches!(statement, Statement::Read));
    }

    /// Adds a fault for the changes of links that match `of` and whose number, counted from 0, is in `which`.
    pub(super) fn on_link(&self, of: impl Fn(&Link) -> bool + Send + Sync + 'static, which: impl RangeBounds<usize>, fault: StoreFault) {
        self.rule(which, fault, move |statement| matches!(statement, Statement::Link(link) if of(link)));
    }

    /// Adds a fault for all requests.
    pub(super) fn on_all(&self, fault: StoreFault) {
        self.rule(.., fault, |_| true);
    }

    fn rule(&self, which: impl RangeBounds<usize>, fault: StoreFault, of: impl Fn(Statement<'_>) -> bool + Send + Sync + 'static) {
        let from = match which.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match which.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => usize::MAX,
        };
        lock(&self.0.rules).push(Rule { of: Box::new(of), count: 0, from, to, fault });
    }

    /// Removes all faults.
    pub(super) fn heal(&self) {
        lock(&self.0.rules).clear();
    }

    /// Returns the requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        lock(&self.0.requests).clone()
    }

    /// Returns the records, behind a connection without faults.
    pub(super) fn memory(&self) -> Memory {
        self.0.memory.clone()
    }

    /// Returns the number of changes in each request that changes links.
    pub(super) fn link_requests(&self) -> Vec<usize> {
        lock(&self.0.links).iter().map(Vec::len).collect()
    }

    /// Registers a job as a dependent of another, as another process would.
    pub(super) fn register(&self, id: &str, dependent: &str) {
        let states = &[State::Running, State::Queued];
        let link = Link::Register { id: id.into(), dependents: [dependent.to_owned()].into(), states };
        let answer = self.0.memory.link(&[link]).now_or_never().expect("memory answers at once").remove(0);
        assert!(matches!(answer, Ok(Linked::Done(_))), "{answer:?}");
    }

    /// Returns the statements of each write request so far.
    pub(super) fn writes(&self) -> Vec<Vec<Write>> {
        self.requests().into_iter().map(|request| request.writes).filter(|writes| !writes.is_empty()).collect()
    }

    /// Returns the number of keys in each read request.
    pub(super) fn reads(&self) -> Vec<usize> {
        self.requests().iter().map(|request| request.reads.len()).filter(|reads| *reads > 0).collect()
    }

    pub(super) fn get(&self, id: &str) -> Option<Record> {
        self.0.memory.get(id)
    }

    /// Stores a record, replacing an existing one.
    pub(super) fn put(&self, record: Record) {
        let seen = self.get(&record.id).map(Into::into);
        let written = self.0.memory.write(&[Write { next: record.into(), seen }]).now_or_never().expect("memory answers at once").remove(0);
        assert_eq!(written.expect("memory answers"), Written::Done);
    }

    /// Changes a record, as another process would.
    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut Record)) {
        let mut record = self.get(id).expect("there is a record");
        change(&mut record);
        self.put(record);
    }

    fn faults(&self, statement: Statement<'_>) -> Vec<StoreFault> {
        let mut rules = lock(&self.0.rules);
        let hits = rules.iter_mut().filter(|rule| (rule.of)(statement)).filter_map(|rule| {
            rule.count += 1;
            (rule.from..rule.to).contains(&(rule.count - 1)).then(|| rule.fault.clone())
        });
        hits.collect()
    }

    async fn before(&self, faults: &[Vec<StoreFault>]) {
        for fault in faults.iter().flatten() {
            match fault {
                StoreFault::Delay(delay) => sleep(*delay).await,
                StoreFault::Meanwhile(act) => act(self),
                _ => {}
            }
        }
    }

    async fn write_one(&self, write: &Write, faults: &[StoreFault]) -> Result<Written, StoreError> {
        let has = |is: fn(&StoreFault) -> bool| faults.iter().any(is);
        if has(|fault| matches!(fault, StoreFault::Busy)) {
            return Err(StoreError::Busy("throttled".into()));
        }
        if has(|fault| matches!(fault, StoreFault::Unknown)) {
            return Err(StoreError::unknown("no connection"));
        }
        if has(|fault| matches!(fault, StoreFault::Invalid)) {
            return Err(StoreError::Invalid("it is too large".into()));
        }
        let written = self.0.memory.write(std::slice::from_ref(write)).await.remove(0)?;
        if has(|fault| matches!(fault, StoreFault::LoseAnswer)) {
            return Err(StoreError::unknown("the connection was lost"));
        }
        Ok(match written {
            Written::Refused(_) if has(|fault| matches!(fault, StoreFault::Bare)) => Written::Refused(None),
            written => written,
        })
    }
}

impl Store for FaultyStore {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        async move {
            lock(&self.0.requests).push(Request { at: Instant::now(), reads: ids.to_vec(), writes: Vec::new() });
            let faults: Vec<_> = ids.iter().map(|_| self.faults(Statement::Read)).collect();
            self.before(&faults).await;
            let records = self.0.memory.read(ids).await;
            let answers = records.into_iter().zip(faults).zip(ids).map(|((record, faults), id)| match faults.first() {
                Some(StoreFault::Busy | StoreFault::Whole) => Err(StoreError::Busy("throttled".into())),
                Some(StoreFault::Unknown | StoreFault::LoseAnswer) => Err(StoreError::unknown("no connection")),
                Some(StoreFault::Invalid) => Err(StoreError::Unreadable { id: id.clone(), flaw: "it is no record".into() }),
                Some(StoreFault::Delay(_) | StoreFault::Bare | StoreFault::Meanwhile(_)) | None => record,
            });
            answers.collect()
        }
        .boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        async move {
            lock(&self.0.requests).push(Request { at: Instant::now(), reads: Vec::new(), writes: writes.to_vec() });
            let faults: Vec<_> = writes.iter().map(|write| self.faults(Statement::Write(write))).collect();
            self.before(&faults).await;
            if faults.iter().flatten().any(|fault| matches!(fault, StoreFault::Whole)) {
                return writes.iter().map(|_| Err(StoreError::Busy("throttled".into()))).collect();
            }
            let mut answers = Vec::new();
            for (write, faults) in writes.iter().zip(&faults) {
                answers.push(self.write_one(write, faults).await);
            }
            answers
        }
        .boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        async move {
            lock(&self.0.links).push(links.to_vec());
            let faults: Vec<_> = links.iter().map(|link| self.faults(Statement::Link(link))).collect();
            self.before(&faults).await;
            let mut answers = Vec::new();
            for (link, faults) in links.iter().zip(&faults) {
                let has = |is: fn(&StoreFault) -> bool| faults.iter().any(is);
                if has(|fault| matches!(fault, StoreFault::Unknown)) {
                    answers.push(Err(StoreError::unknown("no connection")));
                    continue;
                }
                let answer = self.0.memory.link(std::slice::from_ref(link)).await.remove(0);
                answers.push(match answer {
                    _ if has(|fault| matches!(fault, StoreFault::LoseAnswer)) => Err(StoreError::unknown("the answer was lost")),
                    Ok(Linked::Refused(Some(_))) if has(|fault| matches!(fault, StoreFault::Bare)) => Ok(Linked::Refused(None)),
                    answer => answer,
                });
            }
            answers
        }
        .boxed()
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.0.memory.oldest(list, limit)
    }

    /// Records a request that only writes statistics.
    fn flush(&self) -> BoxFuture<'_, ()> {
        lock(&self.0.requests).push(Request { at: Instant::now(), reads: Vec::new(), writes: Vec::new() });
        async {}.boxed()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
