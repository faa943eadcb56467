//! The table and the queue: make the requests of processes, and break the rule of a mutation.

use std::sync::Arc;

use futures_util::future::FutureExt;

use super::{
    event::Laws,
    port::{Answer, Request},
    process::{Kind, Process},
    world::{Row, World},
    *,
};
use crate::{
    Record, State,
    queue::{Message, Outgoing, is_fifo},
    store::{Link, Linked, Memory, Store, StoreError, Write, Written},
};

impl Laws {
    /// Makes a request.
    pub(super) fn make(&self, world: &mut World, kind: &Kind, request: &Request) -> Answer {
        match request {
            Request::Read(ids) => {
                let is_rejecting = matches!(kind, Kind::Deliver { knows: false, .. });
                world.ghost.is_unknown |= is_rejecting && !world.rows.contains_key(A);
                if is_rejecting && self.is(Mutation::SilentRejection) {
                    return Answer::Read(ids.iter().map(|_| Ok(None)).collect());
                }
                Answer::Read(ids.iter().map(|id| Self::read(world, id)).collect())
            }
            Request::Write(writes) => Answer::Written(writes.iter().map(|write| self.write(world, write)).collect()),
            Request::Link(links) => Answer::Linked(links.iter().map(|link| self.link(world, link)).collect()),
            Request::Oldest(list, limit) => {
                let listed = world.rows.values().map(|row| &row.record).filter(|record| record.listed.as_ref() == Some(list));
                let mut ids: Vec<_> = listed.map(|record| (record.listed_at, record.id.clone())).collect();
                ids.sort();
                Answer::Listed(ids.into_iter().map(|(_, id)| id).take(*limit).collect())
            }
            Request::Send(queue, messages) => {
                for message in messages {
                    self.send(world, queue, message);
                }
                Answer::Done
            }
            Request::Delete => {
                if let Kind::Explain(message) = kind {
                    world.messages.retain(|sent| sent.number.to_string() != message.receipt);
                }
                Answer::Done
            }
            Request::Run(_) => Answer::Ran(How::Succeeds),
        }
    }

    fn read(world: &World, id: &str) -> Result<Option<Record>, StoreError> {
        if world.phantoms.iter().any(|phantom| phantom == id) {
            return Err(StoreError::Unreadable { id: id.into(), flaw: "it is no record".into() });
        }
        Ok(world.get(id).cloned())
    }

    /// Returns a table in memory with this record.
    pub(super) fn table(world: &World, id: &str) -> Memory {
        let table = Memory::new();
        if let Some(row) = world.rows.get(id) {
            table.write(&[Write::insert(Arc::clone(&row.record))]).now_or_never();
        }
        table
    }

    fn write(&self, world: &mut World, write: &Write) -> Result<Written, StoreError> {
        let id = &*write.next.id;
        if world.phantoms.iter().any(|phantom| phantom == id) {
            return Ok(Written::Refused(None));
        }
        let write = self.bent(world, write);
        if self.is(Mutation::WholeItem) && world.get(id).map(Record::version) == write.seen.as_deref().map(Record::version) {
            self.put(world, id, &write.next);
            return Ok(Written::Done);
        }
        let table = Self::table(world, id);
        let written = table.write(&[write]).now_or_never().and_then(|mut written| written.pop()).expect("memory answers at once");
        if let (Ok(Written::Done), Some(record)) = (&written, table.get(id)) {
            self.put(world, id, &Arc::new(record));
        }
        written
    }

    /// Returns the write as a broken rule makes it.
    fn bent(&self, world: &World, write: &Write) -> Write {
        let (mut next, mut seen) = (Record::clone(&write.next), write.seen.as_deref().cloned());
        self.bend_keys(&mut next, seen.as_mut());
        match (self.mutation, &mut seen) {
            (Some(Mutation::NothingOwed), _) if next.state.is_terminal() => (next.due, next.run_at) = (None, None),
            (Some(Mutation::IgnoreDependents), Some(seen)) if seen.needs_dependents_for(&next) => {
                let stored = world.get(&next.id).map(|stored| stored.dependents.clone()).unwrap_or_default();
                next.dependents.clone_from(&stored);
                seen.dependents = stored;
            }
            (Some(Mutation::RetryKeepsRelease | Mutation::StartUnmet), Some(seen)) => {
                // The writer saw another `met` than the stored one.
                let stored = world.get(&next.id).filter(|stored| stored.version() == seen.version());
                let was_met = stored.and_then(|stored| Some(stored.dependencies.as_ref()?.met));
                if let (Some(seen), Some(was_met)) = (seen.dependencies.as_mut(), was_met) {
                    seen.met = was_met;
                }
                if let (Some(next), Some(true)) = (next.dependencies.as_mut(), was_met) {
                    next.met |= self.is(Mutation::RetryKeepsRelease);
                }
            }
            _ => {}
        }
        Write { next: Arc::new(next), seen: seen.map(Arc::new) }
    }

    fn link(&self, world: &mut World, link: &Link) -> Linked {
        let id = link.id();
        if id == KEY {
            return self.link_key(world, link);
        }
        let is_missing = !world.rows.contains_key(id);
        let link = match link {
            Link::Register { .. } if self.is(Mutation::RegisterWithMissing) && is_missing => {
                if !world.phantoms.iter().any(|phantom| phantom == id) {
                    world.phantoms.push(id.into());
                }
                let phantom = Record { id: id.into(), ..Record::default() };
                return Linked::Done(Box::new(phantom));
            }
            Link::Register { id, dependents, .. } if self.is(Mutation::RegisterWithEnded) => {
                const ALL: &[State] = &[
                    State::Scheduled,
                    State::Blocked,
                    State::Queued,
                    State::Running,
                    State::Retrying,
                    State::Succeeded,
                    State::Failed,
                    State::Cancelled,
                    State::Expired,
                ];
                Link::Register { id: id.clone(), dependents: dependents.clone(), states: ALL }
            }
            other => other.clone(),
        };
        let is_registration = matches!(link, Link::Register { .. });
        let table = Self::table(world, id);
        let linked = table.link(&[link]).now_or_never().and_then(|mut linked| linked.pop()).expect("memory answers at once");
        match linked.expect("memory does not fail") {
            Linked::Done(mut record) => {
                self.put(world, id, &Arc::new(Record::clone(&record)));
                let is_node = id == NODE;
                if self.is(Mutation::ReleaseAnyway) || self.is(Mutation::CloseEarly) && is_node {
                    record.blocked_on.clear();
                }
                if self.is(Mutation::RegisterWithClosed) && is_node && is_registration {
                    record.blocked_on.insert(A.into());
                }
                Linked::Done(record)
            }
            refused @ Linked::Refused(_) => refused,
        }
    }

    pub(super) fn put(&self, world: &mut World, id: &str, record: &Arc<Record>) {
        let before = world.rows.insert(id.into(), Row::new(Arc::clone(record)));
        self.judge(world, before.as_ref().map(|row| &*row.record), record);
    }

    fn send(&self, world: &mut World, queue: &str, sent: &Outgoing) {
        let message = Message {
            queue: queue.into(),
            body: sent.body.clone(),
            attributes: sent.attributes.clone(),
            group: sent.group.clone(),
            sent_at: Some(minute(world.now)),
            ..Message::default()
        };
        let mut dedup = sent.dedup.clone().filter(|_| is_fifo(queue));
        if self.is(Mutation::DeduplicateByGeneration) {
            let (id, _) = message.open();
            let generation = world.get(&id).map_or(0, |record| record.generation);
            dedup = dedup.map(|_| format!("{id}:{generation}"));
        }
        world.send(message, dedup);
    }

    /// Returns the answer as a broken rule gives it to a process.
    pub(super) fn shown(&self, process: &Process, mut answer: Answer) -> Answer {
        let is_worker = matches!(*process.kind, Kind::Deliver { .. });
        if let Answer::Read(read) = &mut answer {
            let is_ended_node = |read: &Result<Option<Record>, StoreError>| matches!(read, Ok(Some(record)) if record.id == NODE && record.state.is_terminal());
            for read in read.iter_mut().filter(|read| self.is(Mutation::SilentNode) && is_ended_node(read)) {
                *read = Ok(None);
            }
            for record in read.iter_mut().filter_map(|read| read.as_mut().ok()?.as_mut()) {
                match self.mutation {
                    Some(Mutation::ResolveByLaterReading) if process.has_ended && record.id == A && !record.state.is_terminal() => {
                        record.state = State::Expired;
                    }
                    Some(Mutation::StartUnmet) if is_worker => start_unmet(record),
                    _ => {}
                }
            }
        }
        if let Answer::Written(written) = &mut answer {
            for record in
                written.iter_mut().filter_map(|written| if let Ok(Written::Refused(Some(it))) = written { Some(it) } else { None })
            {
                if is_worker && self.is(Mutation::StartUnmet) {
                    start_unmet(record);
                }
            }
        }
        answer
    }
}

fn start_unmet(record: &mut Record) {
    let is_live = !record.state.is_terminal() && record.state != State::Blocked;
    if let Some(dependencies) = record.dependencies.as_mut().filter(|_| is_live) {
        dependencies.met = true;
    }
}
