//! Two jobs that share a limit key, which one of them can hold at a time.

use std::sync::Arc;

use futures_util::future::FutureExt;

use super::{
    event::Laws,
    port::PART,
    scenario::{Broken, NONE, bounds, holds, missed},
    world::{World, index},
    *,
};
use crate::{
    Clock, Record, State,
    lifecycle::job_of_entry,
    queue::Message,
    store::{Link, Linked, Store},
    worker::Local,
};

impl Laws {
    /// Checks the change of the record of a job.
    pub(super) fn judge_key(world: &mut World, before: Option<&Record>, after: &Record) {
        let is_claimed = after.state == State::Running && before.is_none_or(|before| before.generation != after.generation);
        if is_claimed {
            world.ghost.starts[index(&after.id)] += 1;
            world.ghost.is_idle[index(&after.id)] = world.ghost.is_stray;
            let now = minute(world.now).as_millisecond();
            let runs = |record: &Record| {
                let is_valid = record.state == State::Running && record.lease_until.is_some_and(|until| now <= until);
                is_valid && !world.ghost.is_idle[index(&record.id)]
            };
            let mut others = [A, B].into_iter().filter(|id| *id != after.id).filter_map(|id| world.get(id));
            let holds = !runs(after) || !others.any(runs);
            world.ensure(holds, Property::OneHolder);
            world.ensure(!before.is_some_and(|before| before.state.is_terminal()), Property::OneRun);
        }
        let starts = world.ghost.starts[index(&after.id)];
        world.ensure(after.attempts <= u32::from(starts) || after.id == C, Property::NoAttemptSpent);
    }

    /// Returns the property that fails if both jobs must come to their end without further faults, or if both have ended and a third job must.
    pub(super) fn lacks_key(&self, world: &mut World) -> Option<Property> {
        let have_ended =
            |world: &World, ids: &[&str]| world.messages.is_empty() && ids.iter().all(|id| world.state(id).is_some_and(State::is_terminal));
        if !have_ended(world, &[A, B]) {
            return (!self.settles(world, |world| have_ended(world, &[A, B]))).then_some(Property::NoWaiterForgotten);
        }
        let local = Local::new(Clock::frozen(minute(world.now)));
        let enqueued = local.client().enqueue_one(self.job(C)).now_or_never().expect("memory answers at once");
        enqueued.expect("it is enqueued");
        for message in local.queue.names().iter().flat_map(|queue| local.queue.messages(queue)) {
            world.send(Message { sent_at: Some(minute(world.now)), ..message }, None);
        }
        (!self.settles(world, |world| have_ended(world, &[C]))).then_some(Property::NoSlotLeak)
    }

    /// Makes the change of a key as a broken rule makes it.
    pub(super) fn link_key(&self, world: &mut World, link: &Link) -> Linked {
        let stored = world.get(KEY).map(|key| key.holders.clone()).unwrap_or_default();
        let link = match link.clone() {
            Link::Take { id, holder, state, limit, fixed_limit, purge_at } if self.is(Mutation::TakeFull) => {
                Link::Take { id, holder, state, limit: limit + 1, fixed_limit, purge_at }
            }
            // It has no effect.
            Link::Await { id, .. } if self.is(Mutation::NoSecondLook) => Link::Give { id, holders: [].into() },
            Link::Give { id, holders } => {
                let is_freed = |entry: &&String| match self.mutation {
                    Some(Mutation::HastySweep) => holders.iter().any(|freed| *freed == hasty(entry)),
                    Some(Mutation::KeepForever) => holders.contains(*entry) && job_of_entry(entry) != B,
                    _ => holders.contains(*entry),
                };
                Link::Give { id, holders: stored.iter().filter(is_freed).cloned().collect() }
            }
            link => link,
        };
        let is_handed = matches!(&link, Link::Take { state: State::Blocked, .. }) && self.is(Mutation::HandNothing);
        let table = Self::table(world, KEY);
        let linked =
            table.link(std::slice::from_ref(&link)).now_or_never().and_then(|mut linked| linked.pop()).expect("memory answers at once");
        let mut linked = linked.expect("memory does not fail");
        if let (Linked::Done(key), false) = (&linked, is_handed) {
            self.put(world, KEY, &Arc::new(Record::clone(key)));
        }
        if let (Linked::Refused(Some(key)), true) = (&mut linked, self.is(Mutation::HastySweep)) {
            key.holders = key.holders.iter().map(|entry| hasty(entry)).collect();
        }
        linked
    }

    /// Changes a write as a broken rule for keys makes it.
    pub(super) fn bend_keys(&self, next: &mut Record, seen: Option<&mut Record>) {
        match self.mutation {
            Some(Mutation::ForgetPlaces) => {
                for record in [next].into_iter().chain(seen).filter(|record| record.state == State::Running) {
                    record.held.clear();
                }
            }
            Some(Mutation::ForgetWaiting) => {
                for record in [next].into_iter().chain(seen).filter(|record| record.state == State::Blocked) {
                    (record.listed, record.listed_at) = (None, None);
                }
            }
            Some(Mutation::SpendByWaiting) if next.blocked_on.contains(KEY) => next.attempts += 1,
            _ => {}
        }
    }
}

/// Returns the entry of a holder as if its time without a claim were over.
fn hasty(entry: &str) -> String {
    let mut parts: Vec<_> = entry.splitn(3, PART).collect();
    if parts.get(1).is_some_and(|until| !until.is_empty()) {
        parts[1] = "0";
    }
    parts.join("\u{1f}")
}

const fn keyed(name: &'static str, budget: Budget, small: Option<Budget>) -> Bounds {
    Bounds { has_key: true, leap: 1, results: &[How::Succeeds], ..bounds(name, budget, small) }
}

/// Returns the bounds with one process at a time in the regular check.
const fn one_by_one(bounds: Bounds) -> Bounds {
    Bounds { processes: 1, ..bounds }
}

const CRASH: Budget = Budget { crashes: 1, ..NONE };
const LATER: Budget = Budget { leaps: 1, beats: 1, ..CRASH };

/// A process dies, beside another one.
const DIES: Bounds = keyed("key: a process dies", LATER, Some(CRASH));
/// A process dies, and a minute passes. A claim that was not made no longer holds the key, and one that was made still does.
const MINUTE: Bounds = one_by_one(keyed("key: a minute passes", Budget { crashes: 2, ..LATER }, Some(LATER)));
/// A process dies, and an hour passes. Its lease is over.
const HOUR: Bounds = Bounds { leap: 60, name: "key: an hour passes", ..MINUTE };
/// A message is delivered twice.
const TWICE: Bounds = keyed("key: duplicates", Budget { doubles: 1, ..NONE }, None);
/// An answer is lost.
const LOST: Bounds =
    one_by_one(keyed("key: lost answers", Budget { losses: 1, beats: 1, leaps: 1, ..NONE }, Some(Budget { losses: 1, ..NONE })));
/// The last request of a dead process is made later.
const STRAY: Bounds = one_by_one(Bounds {
    results: &[How::Succeeds, How::Retries],
    ..keyed(
        "key: strays",
        Budget { crashes: 1, strays: 1, leaps: 2, beats: 1, ..NONE },
        Some(Budget { crashes: 1, strays: 1, leaps: 1, ..NONE }),
    )
});
/// An operator cancels A, which may wait, run or have ended.
const CANCELLED: Bounds =
    keyed("key: A is cancelled", Budget { cancels: [1, 0], beats: 1, ..CRASH }, Some(Budget { cancels: [1, 0], ..NONE }));

const ALL: &[Bounds] = &[DIES, MINUTE, HOUR, TWICE, LOST, STRAY, CANCELLED];

const BROKEN: &[Broken] = {
    use Mutation as M;
    use Property as P;
    const LATE: Bounds = Bounds { small: Some(Budget { crashes: 2, ..LATER }), ..HOUR };
    &[
        (M::TakeFull, DIES, &[P::OneHolder]),
        (M::NoSecondLook, DIES, &[P::NoWaiterForgotten]),
        (M::ForgetPlaces, MINUTE, &[P::OneHolder]),
        (M::ForgetWaiting, DIES, &[P::NoWaiterForgotten]),
        (M::HastySweep, DIES, &[P::OneHolder]),
        (M::GiveFirst, DIES, &[P::OneHolder]),
        (M::HandNothing, LATE, &[P::OneHolder]),
        (M::KeepForever, Bounds { first: &[A], ..DIES }, &[P::NoSlotLeak]),
        (M::SpendByWaiting, DIES, &[P::NoAttemptSpent]),
    ]
};

#[test]
fn one_of_two_jobs_holds_their_key_within_small_bounds() {
    ALL.iter().filter_map(|bounds| bounds.small()).for_each(holds);
}

/// Run by `./check --full`, optimized.
#[test]
#[ignore = "takes minutes, and gigabytes"]
fn one_of_two_jobs_holds_their_key_within_larger_bounds() {
    ALL.iter().copied().for_each(holds);
}

#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn each_broken_rule_for_the_key_of_two_jobs_is_found() {
    assert_eq!(missed(BROKEN), [], "broken rules that no exploration has found");
}
