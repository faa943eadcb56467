//! The scenarios, and the broken rules that must be detected.

use std::{collections::BTreeSet, time::Instant};

use stateright::{Checker, CheckerBuilder, HasDiscoveries, Model};

use super::{
    event::{Event, Laws},
    world::World,
    *,
};
use crate::State;

macro_rules! always {
    ($($property:ident),*) => {
        vec![$(stateright::Property::always(stringify!($property), |_, world: &World| world.broken != Some(Property::$property))),*]
    };
}

/// A property without which the exploration would prove nothing.
const REACHED: &str = "B ends";

impl Model for Laws {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        if world.broken.is_none() {
            events.extend(self.events(world));
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        Some(self.after(world, event))
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        let mut properties = always![NoEarlyRelease, NoLostRelease, OneRun, OwedOrGuarded, RightEnd];
        properties.extend(always![OneHolder, NoWaiterForgotten, NoSlotLeak, NoAttemptSpent]);
        let ends = |_: &Self, world: &World| world.state(B).is_some_and(State::is_terminal);
        properties.push(stateright::Property::sometimes(REACHED, ends));
        properties
    }
}

/// Returns the default bounds.
pub(super) const fn bounds(name: &'static str, budget: Budget, small: Option<Budget>) -> Bounds {
    Bounds {
        name,
        when: When::Ended,
        otherwise: Otherwise::Hold,
        processes: 2,
        results: &[How::Succeeds, How::Fails],
        recorded: false,
        fifo: false,
        has_node: false,
        has_key: false,
        leap: 60,
        has_a: true,
        max_blocked: 600,
        scans: false,
        budget,
        small,
        first: &[],
    }
}

const fn through_node(bounds: Bounds) -> Bounds {
    Bounds { has_node: true, ..bounds }
}

impl Bounds {
    /// Returns the bounds of the regular check.
    pub(super) fn small(self) -> Option<Self> {
        Some(Self { budget: self.small?, ..self })
    }
}

/// No event but the deliveries.
pub(super) const NONE: Budget =
    Budget { crashes: 0, losses: 0, strays: 0, doubles: 0, rejects: 0, fuses: 0, cancels: [0, 0], retries: [0, 0], beats: 0, leaps: 0 };
const CRASH: Budget = Budget { crashes: 1, ..NONE };
/// The larger budget of most scenarios.
const MORE: Budget = Budget { crashes: 2, ..NONE };

/// All conditions, with processes that die.
const SUCCEEDED: Bounds = Bounds { when: When::Succeeded, ..bounds("succeeded, hold", MORE, Some(CRASH)) };
const STRICT: Bounds = Bounds { when: When::Succeeded, otherwise: Otherwise::Cancel, ..bounds("succeeded, cancel", MORE, Some(CRASH)) };
const ENDED: Bounds = bounds("ended", MORE, Some(CRASH));
const FAILED: Bounds = Bounds { when: When::Failed, ..bounds("failed", MORE, Some(CRASH)) };

/// Answers are lost, and messages are delivered twice.
const LOST: Bounds = Bounds {
    results: &[How::Succeeds],
    ..bounds("lost answers", Budget { losses: 1, doubles: 1, ..NONE }, Some(Budget { losses: 1, ..NONE }))
};

/// Requests arrive after their sender has died.
const STRAYS: Bounds = Bounds {
    first: &[B],
    ..bounds("strays", Budget { crashes: 1, strays: 1, leaps: 1, ..NONE }, Some(Budget { crashes: 1, strays: 1, ..NONE }))
};

/// An operator cancels A, which may be unseen, waiting, running or ended.
const CANCELLED: Bounds = Bounds {
    first: &[B],
    ..bounds("A is cancelled", Budget { crashes: 1, cancels: [1, 0], beats: 2, ..NONE }, Some(Budget { cancels: [1, 0], beats: 1, ..NONE }))
};

/// An operator retries A.
const RETRIED: Bounds = Bounds {
    when: When::Succeeded,
    first: &[B],
    ..bounds("A is retried", Budget { crashes: 1, retries: [1, 0], beats: 1, ..NONE }, Some(Budget { retries: [1, 0], ..NONE }))
};
const RETRIED_STRICT: Bounds = Bounds { otherwise: Otherwise::Cancel, name: "A is retried, cancel", ..RETRIED };
const RETRIED_FAILED: Bounds = Bounds { when: When::Failed, name: "A is retried, failed", small: None, ..RETRIED };

/// An operator cancels B, and retries it with its dependencies.
const DEPENDENT: Bounds =
    Bounds { first: &[B], ..bounds("B is cancelled and retried", Budget { cancels: [0, 1], retries: [0, 1], beats: 1, ..NONE }, None) };
/// Both jobs have ended, and an operator retries them, so that B waits a second time.
const BOTH: Bounds =
    Bounds { first: &[A, B], ..bounds("both are retried", Budget { retries: [1, 1], ..NONE }, Some(Budget { retries: [1, 1], ..NONE })) };
/// The queue deduplicates.
const FIFO: Bounds = Bounds { name: "FIFO", fifo: true, ..DEPENDENT };

/// A worker of another version rejects the message of A.
const REJECTED: Bounds =
    bounds("rejected", Budget { crashes: 1, rejects: 1, beats: 1, ..NONE }, Some(Budget { crashes: 1, rejects: 1, ..NONE }));

/// SQS moves a message to the dead-letter queue.
const MOVED: Bounds = Bounds { results: &[How::Succeeds], ..bounds("moved", Budget { beats: 1, ..FUSE }, Some(FUSE)) };
const FUSE: Budget = Budget { fuses: 1, ..CRASH };

/// The client has written the records of both jobs.
const RECORDED: Bounds = Bounds { recorded: true, ..bounds("recorded", MORE, Some(CRASH)) };

/// A is never enqueued. An operator may cancel it.
const MISSING: Bounds = Bounds {
    has_a: false,
    max_blocked: 90,
    ..bounds("A never comes", Budget { cancels: [1, 0], beats: 1, ..MORE }, Some(Budget { cancels: [1, 0], ..CRASH }))
};

/// The slow scan looks at blocked jobs too, and ends those that have waited too long.
const MISSING_SCANNED: Bounds = Bounds { name: "A never comes, with the scan", scans: true, ..MISSING };
const SCANNED: Bounds =
    Bounds { scans: true, first: &[B], ..bounds("with the scan", Budget { leaps: 1, ..CRASH }, Some(Budget { leaps: 1, ..NONE })) };

/// B waits for A through a node, under all conditions.
const NODE_HELD: Bounds = through_node(Bounds { name: "node: succeeded, hold", ..SUCCEEDED });
const NODE_STRICT: Bounds = through_node(Bounds { name: "node: succeeded, cancel", ..STRICT });
const NODE_ENDED: Bounds = through_node(Bounds { name: "node: ended", ..ENDED });
const NODE_FAILED: Bounds = through_node(Bounds { name: "node: failed", first: &[B], ..FAILED });
const NODE_LOST: Bounds =
    through_node(Bounds { name: "node: lost answers", first: &[B], small: Some(Budget { losses: 1, doubles: 1, ..NONE }), ..LOST });
/// An operator cancels A, often before its message arrives, so that the record of A does not name the node.
const NODE_CANCELLED: Bounds = through_node(Bounds { name: "node: A is cancelled", ..CANCELLED });
const NODE_RETRIED: Bounds = through_node(Bounds { name: "node: A is retried", ..RETRIED });
/// An operator cancels A and retries it, with a message that does not name the node.
const NODE_AGAIN: Bounds = through_node(Bounds {
    when: When::Succeeded,
    results: &[How::Succeeds],
    first: &[B],
    ..bounds(
        "node: A is cancelled and retried",
        Budget { crashes: 1, cancels: [1, 0], retries: [1, 0], ..NONE },
        Some(Budget { cancels: [1, 0], retries: [1, 0], ..NONE }),
    )
});
/// The message of a cancelled A is rejected, or SQS moves it to the dead-letter queue.
const NODE_REJECTED: Bounds = through_node(Bounds {
    first: &[B],
    ..bounds(
        "node: A is cancelled and rejected",
        Budget { crashes: 1, rejects: 1, cancels: [1, 0], ..NONE },
        Some(Budget { rejects: 1, cancels: [1, 0], ..NONE }),
    )
});
const NODE_MOVED: Bounds = through_node(Bounds {
    first: &[B],
    ..bounds(
        "node: A is cancelled and moved",
        Budget { crashes: 1, fuses: 1, cancels: [1, 0], ..NONE },
        Some(Budget { fuses: 1, cancels: [1, 0], ..NONE }),
    )
});

/// All scenarios.
const ALL: &[Bounds] = &[
    SUCCEEDED,
    STRICT,
    ENDED,
    FAILED,
    LOST,
    STRAYS,
    CANCELLED,
    RETRIED,
    RETRIED_STRICT,
    RETRIED_FAILED,
    DEPENDENT,
    BOTH,
    FIFO,
    REJECTED,
    MOVED,
    RECORDED,
    MISSING,
    MISSING_SCANNED,
    SCANNED,
    NODE_HELD,
    NODE_STRICT,
    NODE_ENDED,
    NODE_FAILED,
    NODE_LOST,
    NODE_CANCELLED,
    NODE_RETRIED,
    NODE_AGAIN,
    NODE_REJECTED,
    NODE_MOVED,
];

/// A broken rule, the bounds of its exploration, and the properties of which at least one must fail.
pub(super) type Broken = (Mutation, Bounds, &'static [Property]);

/// All broken rules.
const BROKEN: &[Broken] = {
    use Mutation as M;
    use Property as P;
    const LOST_RELEASE: &[Property] = &[P::NoLostRelease, P::OwedOrGuarded];
    &[
        (M::ReadBeforeInsert, ENDED, LOST_RELEASE),
        (M::RegisterWithEnded, ENDED, LOST_RELEASE),
        (M::RegisterWithMissing, ENDED, LOST_RELEASE),
        (M::ReleaseAnyway, FAILED, &[P::NoEarlyRelease]),
        (M::DeleteBeforeResolving, ENDED, LOST_RELEASE),
        (M::ResolveByLaterReading, RETRIED_FAILED, &[P::NoEarlyRelease]),
        (M::NothingOwed, MISSING, LOST_RELEASE),
        (M::WholeItem, RECORDED, LOST_RELEASE),
        (M::IgnoreDependents, ENDED, LOST_RELEASE),
        (M::SilentRejection, REJECTED, LOST_RELEASE),
        (M::RetryKeepsRelease, BOTH, &[P::NoEarlyRelease]),
        (M::StartUnmet, RECORDED, &[P::NoEarlyRelease]),
        (M::MarkBeforeSend, ENDED, LOST_RELEASE),
        (M::DeduplicateByGeneration, FIFO, LOST_RELEASE),
        (M::CloseEarly, NODE_ENDED, &[P::NoEarlyRelease]),
        (M::RegisterWithClosed, NODE_ENDED, LOST_RELEASE),
        (M::IgnoreNamed, NODE_CANCELLED, LOST_RELEASE),
        (M::SilentNode, NODE_STRICT, LOST_RELEASE),
    ]
};

/// A number of states that no exploration reaches.
const MOST: usize = 100_000_000;

fn checker(bounds: Bounds, mutation: Option<Mutation>) -> CheckerBuilder<Laws> {
    Laws::new(bounds, mutation).checker().threads(2).finish_when(HasDiscoveries::AnyFailures).target_state_count(MOST)
}

/// Returns the properties that do not hold.
fn failed(checker: &impl Checker<Laws>) -> BTreeSet<&'static str> {
    checker.discoveries().into_keys().filter(|name| *name != REACHED).collect()
}

/// Explores all states.
pub(super) fn holds(bounds: Bounds) {
    let start = Instant::now();
    let checker = checker(bounds, None).spawn_bfs().join();
    let (states, depth, failed) = (checker.unique_state_count(), checker.max_depth(), failed(&checker));
    let steps = checker.model().replays.len();
    println!("{}: {states} states, {depth} deep, {steps} steps of processes, {:.1} s", bounds.name, start.elapsed().as_secs_f32());
    for (name, path) in checker.discoveries().into_iter().filter(|(name, _)| failed.contains(name)) {
        eprintln!("{name} does not hold: {:#?}\n{:#?}", path.clone().into_actions(), path.last_state());
    }
    assert!(failed.is_empty(), "{}: {failed:?}", bounds.name);
    assert!(checker.state_count() < MOST, "{} is not explored to its end", bounds.name);
}

#[test]
fn two_jobs_keep_their_order_within_small_bounds() {
    for bounds in ALL {
        if let Some(bounds) = bounds.small() {
            holds(bounds);
        }
    }
}

/// Run by `./check --full`, optimized.
#[test]
#[ignore = "takes minutes, and gigabytes"]
fn two_jobs_keep_their_order_within_larger_bounds() {
    for bounds in ALL {
        holds(Bounds { first: &[], ..*bounds });
    }
}

#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn each_broken_rule_for_two_jobs_is_found() {
    assert_eq!(missed(BROKEN), [], "broken rules that no exploration has found");
}

/// Returns the broken rules of which no named property fails, with those that fail.
pub(super) fn missed(broken: &[Broken]) -> Vec<(Mutation, BTreeSet<&'static str>)> {
    let mut missed = Vec::new();
    for (mutation, bounds, properties) in broken {
        let checker = checker(bounds.small().unwrap_or(*bounds), Some(*mutation)).spawn_bfs().join();
        let (states, depth, failed) = (checker.unique_state_count(), checker.max_depth(), failed(&checker));
        println!("{mutation:?}: {failed:?} in \"{}\" within {states} states, {depth} deep", bounds.name);
        if !properties.iter().any(|property| failed.contains(format!("{property:?}").as_str())) {
            missed.push((*mutation, failed));
        }
    }
    missed
}
