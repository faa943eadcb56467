use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt, ready};

use jiff::Timestamp;

use super::{Index, Link, Linked, Listing, Store, StoreError, Write, Written, capacity_for, limit, most_holders};
use crate::{
    names::shard_name,
    record::{Dlq, Record, State},
};

/// The records by id, as the writes contain them.
type Records = BTreeMap<String, Arc<Record>>;

/// The jobs of each list, in the order of the list.
type Lists = BTreeMap<String, BTreeSet<(Timestamp, String)>>;

/// A store in memory, for eager mode and tests. Clones share the records.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    records: Arc<Mutex<Records>>,
    lists: Arc<Mutex<Lists>>,
}

impl Memory {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Records) -> T) -> T {
        work(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns all records, sorted by id.
    pub fn records(&self) -> Vec<Record> {
        self.with(|records| records.values().map(|record| Record::clone(record)).collect())
    }

    /// Returns the earliest run time of the filed jobs with these names.
    pub(crate) fn next_due(&self, is_wanted: impl Fn(&str) -> bool) -> Option<Timestamp> {
        let is_filed = |record: &&Arc<Record>| record.state == State::Scheduled && record.due.is_some() && is_wanted(&record.name);
        self.with(|records| records.values().filter(is_filed).filter_map(|record| record.run_at).min())
    }

    /// Returns the rate keys for which jobs may wait.
    pub(crate) fn marked_rates(&self) -> Vec<Record> {
        let is_marked = |record: &&Arc<Record>| record.state == State::Blocked && record.rate.is_some();
        self.with(|records| records.values().filter(is_marked).map(|key| Record::clone(key)).collect())
    }

    /// Returns `true` if a list has an entry.
    pub(crate) fn has_listed(&self, list: &str) -> bool {
        !self.list(list).is_empty()
    }

    /// Returns `true` if the due index has an entry.
    pub(crate) fn has_due(&self) -> bool {
        self.with(|records| records.values().any(|record| record.due.is_some()))
    }

    /// Returns the jobs in a list, the oldest first.
    fn list(&self, list: &str) -> BTreeSet<(Timestamp, String)> {
        let mut listed = self.lists.lock().unwrap_or_else(PoisonError::into_inner).get(list).cloned().unwrap_or_default();
        self.with(|records| {
            let those = records.values().filter(|record| record.listed.as_deref() == Some(list));
            listed.extend(those.filter_map(|record| Some((record.listed_at?, record.id.clone()))));
        });
        listed
    }

    /// Deletes a record, as the time to live of the table does.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn delete(&self, id: &str) {
        self.with(|records| records.remove(id));
    }

    /// Returns the record with this id.
    pub fn get(&self, id: &str) -> Option<Record> {
        self.with(|records| records.get(id).map(|record| Record::clone(record)))
    }
}

fn write(records: &mut Records, write: &Write) -> Result<Written, StoreError> {
    limit::check(&write.next)?; // refuses the same records as the table
    let stored = records.get(&write.next.id).map(|stored| &**stored);
    let is_other = stored.map(Record::version) != write.seen.as_deref().map(Record::version);
    let has_new_dependents = stored
        .zip(write.seen.as_deref())
        .is_some_and(|(stored, seen)| seen.needs_dependents_for(&write.next) && stored.dependents != seen.dependents);
    if is_other || has_new_dependents {
        return Ok(Written::Refused(stored.cloned().map(Box::new)));
    }
    let mut next = Arc::clone(&write.next);
    if let (Some(stored), Some(seen)) = (stored, &write.seen)
        && *stored != **seen
    {
        let mut seen = Record::clone(seen);
        adopt_unversioned(Arc::make_mut(&mut next), &mut seen, stored);
        debug_assert_eq!(*stored, seen, "a store writes only the fields that differ, so records of one version must be equal");
    }
    records.insert(next.id.clone(), next);
    Ok(Written::Done)
}

/// Gives `seen` the stored values of the fields that change without a new version: the links, the tags, and the entry of an ended job in the
/// due index. Gives `next` the stored value of each such field that the write does not change.
fn adopt_unversioned(next: &mut Record, seen: &mut Record, stored: &Record) {
    fn adopt<T: Clone + PartialEq>(next: &mut T, seen: &mut T, stored: &T) {
        if next == seen {
            next.clone_from(stored);
        }
        seen.clone_from(stored);
    }
    adopt(&mut next.blocked_on, &mut seen.blocked_on, &stored.blocked_on);
    adopt(&mut next.dependents, &mut seen.dependents, &stored.dependents);
    adopt(&mut next.holders, &mut seen.holders, &stored.holders);
    adopt(&mut next.limit, &mut seen.limit, &stored.limit);
    adopt(&mut next.fixed_limit, &mut seen.fixed_limit, &stored.fixed_limit);
    adopt(&mut next.purge_at, &mut seen.purge_at, &stored.purge_at);
    adopt(&mut next.tags, &mut seen.tags, &stored.tags);
    if stored.state.is_terminal() && next.state.is_terminal() {
        adopt(&mut next.due, &mut seen.due, &stored.due);
        adopt(&mut next.run_at, &mut seen.run_at, &stored.run_at);
    } else if stored.state.is_terminal() {
        // A job that runs again gets both.
        seen.due.clone_from(&stored.due);
        seen.run_at = stored.run_at;
    }
}

fn link(records: &mut Records, link: &Link) -> Linked {
    let Some(record) = records.get_mut(link.id()).map(Arc::make_mut) else { return Linked::Refused(None) };
    match link {
        Link::Register { dependents, states, .. }
            if states.contains(&record.state) && record.dependents.len().saturating_add(dependents.len()) <= capacity_for(dependents) =>
        {
            record.dependents.extend(dependents.iter().cloned());
        }
        Link::Remove { dependencies, .. } if record.state == State::Blocked => record.blocked_on.retain(|id| !dependencies.contains(id)),
        Link::Take { holder, state, limit, fixed_limit, purge_at, .. }
            if record.state == *state
                && record.fixed_limit == *fixed_limit
                && record.holders.len() < most_holders(*limit, *fixed_limit) =>
        {
            record.holders.insert(holder.clone());
            record.limit = Some(*limit);
            record.purge_at = Some(*purge_at);
        }
        Link::Limit { fixed_limit, purge_at, .. } => (record.fixed_limit, record.purge_at) = (*fixed_limit, Some(*purge_at)),
        Link::Give { holders, .. } => record.holders.retain(|holder| !holders.contains(holder)),
        Link::Await { owner, due, limit, at, purge_at, .. } => {
            record.state = State::Blocked;
            (record.owner, record.due, record.run_at) = (Some(owner.clone()), Some(due.clone()), Some(*at));
            record.limit = limit.or(record.limit);
            record.purge_at = Some(*purge_at);
        }
        Link::Tag { name, seen, tags, .. } if record.name == *name && record.tags == *seen => record.tags.clone_from(tags),
        Link::Register { .. } | Link::Remove { .. } | Link::Take { .. } | Link::Tag { .. } => {
            return Linked::Refused(Some(Box::new(record.clone())));
        }
    }
    Linked::Done(Box::new(record.clone()))
}

impl Store for Memory {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        ready(ids.iter().map(|id| Ok(self.get(id))).collect()).boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        ready(self.with(|records| writes.iter().map(|w| write(records, w)).collect())).boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        ready(self.with(|records| links.iter().map(|l| Ok(link(records, l))).collect())).boxed()
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        ready(Ok(self.list(list).into_iter().map(|(_, id)| id).take(limit).collect())).boxed()
    }
}

impl Index for Memory {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let shard = shard_name(shard);
        let mut due: Vec<_> = self.with(|records| {
            let filed = records.values().filter(|record| record.due.as_deref() == Some(&*shard));
            filed.filter_map(|record| Some((record.run_at.filter(|at| *at <= until)?, record.id.clone()))).collect()
        });
        due.sort_unstable();
        ready(Ok(due.into_iter().map(|(_, id)| id).take(limit).collect())).boxed()
    }

    fn unfinished(&self, _turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        // Ended jobs, nodes, pages and plans have a `purge_at`.
        let is_asked_for = |record: &&Arc<Record>| record.purge_at.is_none() || record.dlq == Some(Dlq::Pending);
        ready(Ok(self.with(|records| records.values().filter(is_asked_for).map(|record| Ok(Record::clone(record))).collect()))).boxed()
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        for Listing { list, id, at, .. } in listings {
            let list = lists.entry(list.clone()).or_default();
            list.retain(|(_, other)| other != id);
            list.insert((*at, id.clone()));
        }
        ready(listings.iter().map(|_| Ok(())).collect()).boxed()
    }

    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        ready(Ok(self.list(list).into_iter().rev().map(|(_, id)| id).take(limit).collect())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_due_job_is_filed_and_has_a_wanted_name() {
        let store = Memory::new();
        let at = |second| Timestamp::from_second(second).ok();
        let filed = |id: &str, name: &str, second| Record {
            id: id.into(),
            name: name.into(),
            state: State::Scheduled,
            due: Some("due#0".into()),
            run_at: at(second),
            ..Record::default()
        };
        let records = [
            filed("a", "wanted", 5),
            filed("b", "wanted", 4),
            filed("c", "other", 3),
            Record { due: None, ..filed("d", "wanted", 2) },
            Record { state: State::Succeeded, ..filed("e", "wanted", 1) },
        ];
        store.with(|stored| stored.extend(records.into_iter().map(|record| (record.id.clone(), record.into()))));
        assert_eq!(store.next_due(|name| name == "wanted"), at(4));
    }
}
