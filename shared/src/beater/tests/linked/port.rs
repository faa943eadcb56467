//! The ports of a process: they answer its requests from its log, and stop it at the first request without an answer.

use std::{
    collections::VecDeque,
    future::pending,
    hash::{Hash, Hasher},
    mem::{discriminant, replace},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{process::Kind, *};
use crate::{
    names::{key_shard, shard_name, shard_of},
    queue::{Message, Outgoing, Queue, QueueError, Source, Visibility},
    record::{Record, Version},
    store::{Index, Link, Linked, Listing, Store, StoreError, Write, Written},
};

/// Separates the parts of the entry of a holder.
pub(super) const PART: char = '\u{1f}';
/// Length of the token in an entry.
const TOKEN: usize = 12;

/// A request of a process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    Read(Vec<String>),
    Write(Vec<Write>),
    Link(Vec<Link>),
    /// Read the oldest jobs of a list.
    Oldest(String, usize),
    Send(String, Vec<Outgoing>),
    /// Delete the message of this process.
    Delete,
    /// Run the body of this job.
    Run(String),
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Read(Vec<Result<Option<Record>, StoreError>>),
    Written(Vec<Result<Written, StoreError>>),
    Linked(Vec<Linked>),
    Listed(Vec<String>),
    /// The messages were sent, or the message was deleted.
    Done,
    /// The result of the body.
    Ran(How),
    /// The request was made or not, and its answer was lost.
    Lost,
}

impl Answer {
    /// Returns the records in this answer.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let (mut read, mut written, mut linked) = (None, None, None);
        match self {
            Self::Read(answers) => read = Some(answers.iter().filter_map(|answer| answer.as_ref().ok()?.as_ref())),
            Self::Written(answers) => written = Some(answers.iter().filter_map(|answer| refused_with(answer.as_ref().ok()?))),
            Self::Linked(answers) => linked = Some(answers.iter().filter_map(linked_record)),
            Self::Listed(_) | Self::Done | Self::Ran(_) | Self::Lost => {}
        }
        read.into_iter().flatten().chain(written.into_iter().flatten()).chain(linked.into_iter().flatten())
    }
}

fn refused_with(written: &Written) -> Option<&Record> {
    if let Written::Refused(Some(record)) = written { Some(record) } else { None }
}

fn linked_record(linked: &Linked) -> Option<&Record> {
    match linked {
        Linked::Done(record) | Linked::Refused(Some(record)) => Some(record),
        Linked::Refused(None) => None,
    }
}

impl Hash for Answer {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        discriminant(self).hash(hasher);
        match self {
            Self::Read(answers) => answers.iter().for_each(|it| it.as_ref().ok().map(Option::is_some).hash(hasher)),
            Self::Written(answers) => answers.iter().for_each(|it| matches!(it, Ok(Written::Done)).hash(hasher)),
            Self::Linked(answers) => answers.iter().for_each(|it| matches!(it, Linked::Done(_)).hash(hasher)),
            Self::Listed(ids) => ids.hash(hasher),
            Self::Ran(how) => how.hash(hasher),
            Self::Done | Self::Lost => {}
        }
        self.records().for_each(|record| hash_record(record, hasher));
    }
}

/// Hashes all fields of a record that can change the further course.
pub(super) fn hash_record(record: &Record, hasher: &mut impl Hasher) {
    let Version { generation, owner, state, lease_until, dlq, cancel_requested } = record.version();
    (&record.id, generation, owner, state, lease_until, dlq.map(|dlq| dlq as u8), cancel_requested).hash(hasher);
    (&record.name, record.attempts, record.max_attempts, record.runs, &record.envelope, &record.due).hash(hasher);
    (&record.blocked_on, &record.dependents, record.purge_at).hash(hasher);
    [record.enqueued_at, record.run_at, record.started_at, record.finished_at].map(millis).hash(hasher);
    record.error.as_ref().map(|error| (&error.kind, &error.message)).hash(hasher);
    record.history.iter().for_each(|past| (past.generation, &past.kind, millis(past.started_at), millis(past.at)).hash(hasher));
    record.dependencies.as_ref().map(|it| (&it.ids, it.met, millis(it.until))).hash(hasher);
    record.held.iter().for_each(|(key, place)| (key, &place.entry, place.until).hash(hasher));
    (&record.holders, record.limit, &record.listed, millis(record.listed_at)).hash(hasher);
}

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millisecond)
}

/// The ports of one process during one replay.
///
/// A process creates random tokens. In its requests, names replace the tokens; the names are the same in each replay. In its answers, the
/// tokens replace the names again.
pub(super) struct Gate {
    kind: Arc<Kind>,
    /// The prefix of the names of its tokens.
    prefix: String,
    shared: Mutex<Shared>,
    stopped: Notify,
}

#[derive(Default)]
struct Shared {
    answers: VecDeque<Arc<Answer>>,
    asked: Option<Request>,
    /// The tokens of this replay and their names.
    tokens: Vec<(String, String)>,
    has_received: bool,
}

impl Gate {
    pub(super) fn new(kind: Arc<Kind>, prefix: String, answers: &[Arc<Answer>]) -> Self {
        let shared = Shared { answers: answers.iter().cloned().collect(), ..Shared::default() };
        Self { kind, prefix, shared: Mutex::new(shared), stopped: Notify::new() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first request without an answer, once the process has made it.
    pub(super) async fn stopped(&self) -> Request {
        self.stopped.notified().await;
        self.shared().asked.clone().expect("it was set before")
    }

    async fn ask(&self, request: impl FnOnce() -> Request) -> Answer {
        let answer = self.shared().answers.pop_front();
        if let Some(answer) = answer {
            // The names are given in the order of the requests, so an answered request must be looked at too.
            request();
            return Answer::clone(&answer);
        }
        let request = request();
        assert!(self.shared().asked.replace(request).is_none(), "a process makes one request at a time");
        self.stopped.notify_one();
        pending().await
    }

    /// Runs the body of a job.
    pub(super) async fn run(&self, id: &str) -> How {
        match self.ask(|| Request::Run(id.into())).await {
            Answer::Ran(how) => how,
            other => panic!("no result of a body: {other:?}"),
        }
    }

    /// Returns the name of a token. Entries contain only the beginning of a token.
    fn name_of(&self, token: &str) -> String {
        if token.contains(SEPARATOR) || token.is_empty() {
            return token.to_owned();
        }
        let mut shared = self.shared();
        let known = shared.tokens.iter_mut().find(|(known, _)| known.starts_with(token) || token.starts_with(&**known));
        if let Some((known, name)) = known {
            if token.len() > known.len() {
                token.clone_into(known);
            }
            return name.clone();
        }
        let name = format!("{}{}", self.prefix, shared.tokens.len());
        shared.tokens.push((token.to_owned(), name.clone()));
        name
    }

    /// Replaces the token at the beginning of the entry of a holder.
    fn named_entry(&self, entry: &str) -> String {
        let (token, rest) = entry.split_once(PART).unwrap_or((entry, ""));
        format!("{}{PART}{rest}", self.name_of(token))
    }

    /// Replaces the name at the beginning of the entry of a holder by the beginning of the token of this replay.
    fn unnamed_entry(&self, entry: &str) -> String {
        let (name, rest) = entry.split_once(PART).unwrap_or((entry, ""));
        let shared = self.shared();
        let token = shared.tokens.iter().find(|(_, known)| known == name).map_or(name, |(token, _)| &token[..token.len().min(TOKEN)]);
        format!("{token}{PART}{rest}")
    }

    /// Replaces the tokens of a record by their names.
    fn named(&self, record: &Record) -> Record {
        let owner = record.owner.as_ref().map(|token| self.name_of(token));
        let mut named = Record { owner, ..record.clone() };
        named.held.values_mut().for_each(|place| place.entry = self.named_entry(&place.entry));
        named.holders = record.holders.iter().map(|entry| self.named_entry(entry)).collect();
        named
    }

    /// Replaces the tokens of a change of links by their names.
    fn named_link(&self, link: &Link) -> Link {
        let mut link = link.clone();
        match &mut link {
            Link::Take { holder, .. } => *holder = self.named_entry(holder),
            Link::Give { holders, .. } => *holders = holders.iter().map(|entry| self.named_entry(entry)).collect(),
            Link::Await { owner, .. } => *owner = self.name_of(owner),
            Link::Register { .. } | Link::Remove { .. } | Link::Limit { .. } | Link::Tag { .. } => {}
        }
        link
    }

    /// Replaces the names of tokens of this process in a text.
    fn named_text(&self, text: &str) -> String {
        self.shared().tokens.iter().fold(text.to_owned(), |text, (token, name)| text.replace(token, name))
    }

    /// Replaces the name in a record by the token of this replay.
    fn unnamed(&self, record: Record) -> Record {
        let token = self.shared().tokens.iter().find(|(_, name)| Some(name) == record.owner.as_ref()).map(|(token, _)| token.clone());
        let mut unnamed = Record { owner: token.or(record.owner), ..record };
        unnamed.held.values_mut().for_each(|place| place.entry = self.unnamed_entry(&place.entry));
        unnamed.holders = unnamed.holders.iter().map(|entry| self.unnamed_entry(entry)).collect();
        unnamed
    }

    fn boxed(&self, record: Box<Record>) -> Box<Record> {
        Box::new(self.unnamed(*record))
    }
}

fn lost() -> StoreError {
    StoreError::unknown("the answer was lost")
}

impl Store for Gate {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        async move {
            if ids.is_empty() {
                return Vec::new();
            }
            match self.ask(|| Request::Read(ids.to_vec())).await {
                Answer::Read(read) => read.into_iter().map(|read| Ok(read?.map(|record| self.unnamed(record)))).collect(),
                _ => ids.iter().map(|_| Err(lost())).collect(),
            }
        }
        .boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        let named = || {
            let name = |write: &Write| Write {
                seen: write.seen.as_ref().map(|seen| Arc::new(self.named(seen))),
                next: Arc::new(self.named(&write.next)),
            };
            Request::Write(writes.iter().map(name).collect())
        };
        let unnamed = |written: Written| match written {
            Written::Refused(Some(record)) => Written::Refused(Some(self.boxed(record))),
            other => other,
        };
        async move {
            if writes.is_empty() {
                return Vec::new();
            }
            match self.ask(named).await {
                Answer::Written(written) => written.into_iter().map(|written| written.map(unnamed)).collect(),
                _ => writes.iter().map(|_| Err(lost())).collect(),
            }
        }
        .boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        let unnamed = |linked: Linked| match linked {
            Linked::Done(record) => Linked::Done(self.boxed(record)),
            Linked::Refused(record) => Linked::Refused(record.map(|record| self.boxed(record))),
        };
        async move {
            if links.is_empty() {
                return Vec::new();
            }
            match self.ask(|| Request::Link(links.iter().map(|link| self.named_link(link)).collect())).await {
                Answer::Linked(linked) => linked.into_iter().map(|linked| Ok(unnamed(linked))).collect(),
                _ => links.iter().map(|_| Err(lost())).collect(),
            }
        }
        .boxed()
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        async move {
            match self.ask(|| Request::Oldest(list.into(), limit)).await {
                Answer::Listed(ids) => Ok(ids),
                _ => Err(lost()),
            }
        }
        .boxed()
    }
}

impl Index for Gate {
    fn due(&self, shard: u8, _: Timestamp, _: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let due = match &*self.kind {
            Kind::Beat(id) if id == KEY && key_shard(id) == shard_name(shard) => vec![id.clone()],
            Kind::Beat(id) if id != KEY && shard_of(id) == shard => vec![id.clone()],
            _ => Vec::new(),
        };
        ready(Ok(due)).boxed()
    }

    fn unfinished(&self, _: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        let found = match &*self.kind {
            Kind::Scan(record) => vec![Ok(Record::clone(record))],
            _ => Vec::new(),
        };
        ready(Ok(found)).boxed()
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        ready(listings.iter().map(|_| Ok(())).collect()).boxed()
    }

    fn listed<'a>(&'a self, _: &'a str, _: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }
}

impl Queue for Gate {
    fn send<'a>(&'a self, queue: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        let named = || {
            let name = |message: &Outgoing| Outgoing { dedup: message.dedup.as_ref().map(|it| self.named_text(it)), ..message.clone() };
            Request::Send(queue.into(), messages.iter().map(name).collect())
        };
        async move {
            // This model leaves out dead letters. The model of one job has them.
            if messages.is_empty() || queue == DLQ {
                return messages.iter().map(|_| Ok(String::new())).collect();
            }
            let answer = self.ask(named).await;
            let sent = |_| if let Answer::Done = answer { Ok(String::new()) } else { Err(QueueError::unknown("the answer was lost")) };
            messages.iter().map(sent).collect()
        }
        .boxed()
    }

    fn set_visibility<'a>(&'a self, _: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        ready(changes.iter().map(|_| Ok(())).collect()).boxed()
    }

    fn delete<'a>(&'a self, _: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        async move {
            if !receipts.is_empty() {
                self.ask(|| Request::Delete).await;
            }
            receipts.iter().map(|_| Ok(())).collect()
        }
        .boxed()
    }
}

impl Source for Gate {
    fn receive<'a>(&'a self, _: &'a str, _: usize, _: Duration) -> BoxFuture<'a, Result<Vec<Message>, QueueError>> {
        let is_first = !replace(&mut self.shared().has_received, true);
        let received = match &*self.kind {
            Kind::Explain(message) if is_first => vec![message.clone()],
            _ => Vec::new(),
        };
        ready(Ok(received)).boxed()
    }
}
