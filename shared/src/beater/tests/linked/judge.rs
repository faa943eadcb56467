//! The checks of every write and of every state.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
};

use super::{
    event::Laws,
    world::{World, index},
    *,
};
use crate::{
    Record, State,
    lifecycle::{is_reopened, is_unclaimed},
    names::MORE,
};

/// Maximum number of hours without a fault until both jobs must have ended.
const CALM: usize = 8;

impl World {
    /// Notes the first broken property.
    pub(super) fn ensure(&mut self, holds: bool, property: Property) {
        if !holds && self.broken.is_none() {
            self.broken = Some(property);
        }
    }
}

impl Laws {
    /// Checks the change of a record.
    pub(super) fn judge(&self, world: &mut World, before: Option<&Record>, after: &Record) {
        if after.id == NODE || after.id == KEY {
            return;
        }
        if self.bounds.has_key {
            Self::judge_key(world, before, after);
            return;
        }
        let is_b = after.id == B;
        let was_ended = before.is_some_and(|before| before.state.is_terminal());
        if was_ended && !after.state.is_terminal() {
            let index = index(&after.id);
            (world.ghost.starts[index], world.ghost.killed[index]) = (0, 0);
            if is_b && after.dependencies.as_ref().is_some_and(|it| !it.met || self.is(Mutation::RetryKeepsRelease)) {
                let state = world.state(A).filter(|state| state.is_terminal());
                world.ghost.has_succeeded = state == Some(State::Succeeded);
                world.ghost.has_failed = state.is_some_and(|state| state != State::Succeeded);
            }
        }
        if after.id == A && after.state.is_terminal() && !was_ended {
            world.ghost.has_succeeded |= after.state == State::Succeeded;
            world.ghost.has_failed |= after.state != State::Succeeded;
        }
        let is_claimed = after.state == State::Running && before.is_none_or(|before| before.generation != after.generation);
        if is_claimed {
            let index = index(&after.id);
            world.ghost.starts[index] += 1;
            let is_first = world.ghost.starts[index] <= 1 + world.ghost.killed[index];
            // A message that can be run replaces the record of a rejected one.
            let is_over = was_ended && !before.is_some_and(is_unclaimed);
            world.ensure(is_first && !is_over, Property::OneRun);
        }
        let (has_succeeded, has_failed) = (world.ghost.has_succeeded, world.ghost.has_failed);
        if is_b && is_claimed {
            let is_met = match self.bounds.when {
                When::Succeeded => has_succeeded,
                When::Ended => has_succeeded || has_failed,
                When::Failed => has_failed,
            };
            world.ensure(is_met, Property::NoEarlyRelease);
        }
        if is_b && after.state.is_terminal() && !was_ended {
            match after.error.as_ref().map(|error| &*error.kind) {
                Some("dependency") => {
                    let is_right = has_failed && (self.bounds.when, self.bounds.otherwise) == (When::Succeeded, Otherwise::Cancel);
                    world.ensure(is_right, Property::RightEnd);
                }
                Some("not_needed") => world.ensure(has_succeeded && self.bounds.when == When::Failed, Property::RightEnd),
                _ => {}
            }
        }
    }

    /// Returns `true` if the end of A changes nothing for B until A is retried.
    fn is_held(&self, a: State) -> bool {
        a != State::Succeeded && (self.bounds.when, self.bounds.otherwise) == (When::Succeeded, Otherwise::Hold)
    }

    /// Checks that something will tell B of the end of A, even if all processes die.
    pub(super) fn owed_or_guarded(&self, world: &mut World) {
        let (Some(a), Some(State::Blocked)) = (world.get(A), world.state(B)) else { return };
        if a.state.is_terminal() && !self.is_held(a.state) {
            // B asks only the node, and the node learns of the end from A. If the node was reopened, B registers it again.
            let is_known = world.get(NODE).is_none_or(|node| !waits_for_a(node) || is_reopened(node));
            let holds = a.due.is_some() || world.has_message(A) || is_known && world.has_message(B);
            world.ensure(holds || self.bounds.scans, Property::OwedOrGuarded);
        }
    }

    /// Returns the property that fails if all jobs must come to their end without further faults.
    pub(super) fn lacks(&self, world: &World) -> Option<Property> {
        let mut hasher = DefaultHasher::new();
        world.hash_present(&mut hasher);
        world.ghost.is_unknown.hash(&mut hasher);
        self.calms.get(hasher.finish(), || {
            let mut world = world.clone();
            world.left = Budget::default();
            if self.bounds.has_key {
                return self.lacks_key(&mut world);
            }
            (!self.settles(&mut world, |world| self.is_settled(world))).then_some(Property::NoLostRelease)
        })
    }

    /// Lets hours pass until `is_settled`. Returns `false` if that does not come.
    pub(super) fn settles(&self, world: &mut World, is_settled: impl Fn(&World) -> bool) -> bool {
        (0..CALM).any(|_| {
            let is_settled = is_settled(world);
            self.calm_hour(world);
            is_settled
        })
    }

    fn is_settled(&self, world: &World) -> bool {
        // The due index also lists blocked jobs, at the end of their wait.
        let is_owed = |record: &Record| record.due.is_some() && record.state != State::Blocked;
        if !world.messages.is_empty() || world.rows.values().any(|row| is_owed(&row.record)) {
            return false;
        }
        let Some(b) = world.get(B) else { return false };
        let Some(a) = world.get(A) else { return b.state.is_terminal() && world.ghost.is_unknown };
        let is_awaited = a.name.is_empty() && !a.state.is_terminal();
        let never_comes = is_awaited && (!self.bounds.has_a || world.ghost.is_unknown);
        if b.state.is_terminal() && (a.state.is_terminal() || never_comes) {
            return true;
        }
        let never_comes = never_comes && self.bounds.max_blocked >= CALM as u64 * 60;
        let waits = a.state.is_terminal() && self.is_held(a.state) || never_comes;
        b.state == State::Blocked && waits && is_registered(world, a)
    }
}

/// Returns `true` for a node that waits for A.
fn waits_for_a(node: &Record) -> bool {
    node.state == State::Blocked && node.blocked_on.contains(A)
}

/// Returns `true` if B is registered with A, directly, on one of its pages, or through the node.
fn is_registered(world: &World, a: &Record) -> bool {
    if let Some(node) = world.get(NODE) {
        return a.dependents.contains(NODE) && waits_for_a(node) && node.dependents.contains(B);
    }
    let is_on_page = || world.rows.values().any(|row| row.record.id != A && row.record.dependents.contains(B));
    a.dependents.contains(B) || a.dependents.contains(MORE) && is_on_page()
}
