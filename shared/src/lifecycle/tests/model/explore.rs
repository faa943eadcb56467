//! The exploration: bounds, properties, and the broken rules that must be detected.

use std::collections::BTreeSet;

use stateright::{Checker, CheckerBuilder, HasDiscoveries, Model, Property};

use super::{
    event::{Event, Laws},
    world::ModelState,
    *,
};

macro_rules! always {
    ($($invariant:ident),*) => {
        vec![$(Property::always(stringify!($invariant), |_, world: &ModelState| world.broken != Some(Invariant::$invariant))),*]
    };
}

impl Model for Laws {
    type State = ModelState;
    type Action = Event;

    fn init_states(&self) -> Vec<ModelState> {
        vec![self.start()]
    }

    fn actions(&self, world: &ModelState, events: &mut Vec<Event>) {
        if world.broken.is_none() {
            events.extend(self.events(world));
        }
    }

    fn next_state(&self, world: &ModelState, event: Event) -> Option<ModelState> {
        self.after(world, event)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = always![NoLoss, OneRunner, Fencing, Bounded, HonestAttempts, OnceRemembered, RecordWins, CalledOff];
        properties.push(Property::always("Progress", |laws: &Self, world| world.broken.is_some() || laws.comes_to_its_end(world)));
        // Without this property, the exploration would prove nothing.
        properties.push(Property::sometimes("a job ends", |_, world: &ModelState| {
            world.record.as_ref().is_some_and(|record| matches!(record.state, State::Succeeded | State::Failed))
        }));
        properties
    }
}

/// Two clocks with the maximum difference.
const TWO: &[i64] = &[-2500, 2500];
const THREE: &[i64] = &[-2500, 0, 2500];

/// Returns the default bounds.
fn always() -> Bounds {
    let (budget, small) = (Budget::default(), Budget::default());
    Bounds { name: "", skews: TWO, attempts: 2, due: None, recording: Recording::Always, endings: &[How::Success], budget, small }
}

/// Two workers race for a job, processes die, and answers are lost.
fn claims() -> Bounds {
    let budget = Budget { crashes: 1, losses: 1, leaps: 2, ghosts: 1, ..Budget::default() };
    let small = Budget { crashes: 1, losses: 1, leaps: 1, ..Budget::default() };
    Bounds { name: "claims", attempts: 2, endings: &[How::Success, How::Fails], budget, small, ..always() }
}

/// Requests arrive late and twice while leases are renewed.
fn strays() -> Bounds {
    let budget = Budget { crashes: 1, strays: 1, leaps: 2, renewals: 1, ..Budget::default() };
    let small = Budget { strays: 1, leaps: 1, ..Budget::default() };
    Bounds { name: "strays", attempts: 2, endings: &[How::Success], budget, small, ..always() }
}

/// Three workers, and processes that die.
fn crowd() -> Bounds {
    let budget = Budget { crashes: 1, leaps: 1, ..Budget::default() };
    let small = Budget { leaps: 1, ..Budget::default() };
    Bounds { name: "crowd", skews: THREE, attempts: 2, endings: &[How::Success], budget, small, ..always() }
}

/// A job is cancelled at any moment.
fn called_off() -> Bounds {
    let budget = Budget { crashes: 1, leaps: 1, renewals: 1, cancels: 1, ..Budget::default() };
    let small = Budget { crashes: 1, leaps: 1, cancels: 1, ..Budget::default() };
    Bounds { name: "called off", attempts: 2, endings: &[How::Success, How::Fails], budget, small, ..always() }
}

/// Attempts that do not count.
fn given_back() -> Bounds {
    let budget = Budget { strays: 1, leaps: 2, ..Budget::default() };
    let endings = &[How::Success, How::SnoozesShort, How::Resumes];
    let small = Budget { leaps: 1, ..Budget::default() };
    Bounds { name: "given back", attempts: 1, endings, budget, small, ..always() }
}

/// A job in the due index, with two beaters.
fn waiting() -> Bounds {
    let budget = Budget { crashes: 1, leaps: 2, beats: 2, repairs: 1, ..Budget::default() };
    let small = Budget { crashes: 1, leaps: 1, beats: 2, ..Budget::default() };
    Bounds { name: "waiting", attempts: 2, due: Some(1800), endings: &[How::Success], budget, small, ..always() }
}

/// A waiting job is moved, even after it was sent ahead.
fn moved() -> Bounds {
    let budget = Budget { strays: 1, leaps: 2, moves: 1, beats: 1, ..Budget::default() };
    let small = Budget { strays: 1, leaps: 1, moves: 1, beats: 1, ..Budget::default() };
    Bounds { name: "moved", attempts: 2, due: Some(1800), endings: &[How::Success, How::SnoozesLong], budget, small, ..always() }
}

/// A job that fails, with dead letters and redrives.
fn letters() -> Bounds {
    let budget = Budget { crashes: 1, losses: 1, ghosts: 1, redrives: 2, ..Budget::default() };
    let small = Budget { crashes: 1, redrives: 1, ..Budget::default() };
    Bounds { name: "letters", attempts: 1, endings: &[How::Success, How::Fatal], budget, small, ..always() }
}

/// SQS moves messages to the dead-letter queue.
fn given_up() -> Bounds {
    let budget = Budget { crashes: 1, leaps: 1, redrives: 1, fuses: 1, ..Budget::default() };
    let small = Budget { crashes: 1, leaps: 1, fuses: 1, ..Budget::default() };
    Bounds { name: "given up", attempts: 2, endings: &[How::Success, How::Fails], budget, small, ..always() }
}

/// A job in the due index fails, while its message is deleted and delivered again, and processes die.
fn owed() -> Bounds {
    let budget = Budget { crashes: 2, leaps: 2, ghosts: 1, beats: 1, repairs: 1, redrives: 1, ..Budget::default() };
    let small = Budget { crashes: 1, leaps: 1, ghosts: 1, ..Budget::default() };
    Bounds { name: "owed", attempts: 1, due: Some(1800), endings: &[How::Success, How::Fatal], budget, small, ..always() }
}

/// A job that is recorded on trouble.
fn on_trouble() -> Bounds {
    let budget = Budget { crashes: 1, losses: 1, strays: 1, leaps: 1, ghosts: 1, renewals: 1, repairs: 1, ..Budget::default() };
    let small = Budget { crashes: 1, leaps: 1, renewals: 1, ..Budget::default() };
    let (recording, endings) = (Recording::OnTrouble, &[How::Success, How::Fails]);
    Bounds { name: "on trouble", attempts: 2, recording, endings, budget, small, ..always() }
}

const ALL: [fn() -> Bounds; 11] = [claims, strays, crowd, called_off, given_back, waiting, moved, letters, given_up, owed, on_trouble];

/// A broken rule, the bounds of its exploration, and the invariants of which at least one must fail.
type Broken = (Mutation, fn() -> Bounds, &'static [Invariant]);

/// All broken rules.
const BROKEN: [Broken; 24] = {
    use Invariant as I;
    use Mutation as M;
    [
        (M::NoOwnerCheck, claims, &[I::Fencing]),
        (M::DeleteBeforeRecord, claims, &[I::NoLoss]),
        (M::CountAtFinish, claims, &[I::HonestAttempts]),
        (M::MarkBeforeSend, waiting, &[I::NoLoss, I::Progress]),
        (M::NoOwnSuccess, claims, &[I::HonestAttempts]),
        (M::LeaseFromAnswer, claims, &[I::OneRunner]),
        (M::NoSkewMargin, claims, &[I::OneRunner]),
        (M::GenerationFalls, given_back, &[I::Fencing]),
        (M::MoveKeepsToken, moved, &[I::Fencing, I::RecordWins]),
        (M::ForgetEnvelope, waiting, &[I::NoLoss, I::Progress]),
        (M::DeleteBeforeLetter, letters, &[I::NoLoss]),
        (M::StartEarly, waiting, &[I::RecordWins]),
        (M::RedriveAny, letters, &[I::OnceRemembered]),
        (M::IgnoreCancel, called_off, &[I::CalledOff]),
        (M::ReopenEnded, claims, &[I::OnceRemembered]),
        (M::NoBudget, claims, &[I::Bounded]),
        (M::DeleteBeforeFiled, waiting, &[I::NoLoss]),
        (M::DropAbandoned, given_up, &[I::NoLoss, I::Progress]),
        (M::RepairAtOnce, waiting, &[I::OneRunner, I::Fencing]),
        (M::NoRepair, waiting, &[I::Progress]),
        (M::ForgetOwed, owed, &[I::NoLoss]),
        (M::NoOwed, owed, &[I::Progress]),
        (M::TroubleForgets, on_trouble, &[I::NoLoss]),
        (M::SuccessUnwritten, on_trouble, &[I::HonestAttempts]),
    ]
};

/// A number of states that no exploration reaches.
const MOST: usize = 100_000_000;

fn checker(bounds: Bounds, mutation: Option<Mutation>) -> CheckerBuilder<Laws> {
    Laws { bounds, mutation }.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).target_state_count(MOST)
}

/// Returns the properties that do not hold.
fn failed(checker: &impl Checker<Laws>) -> BTreeSet<&'static str> {
    checker.discoveries().into_keys().filter(|name| *name != "a job ends").collect()
}

/// Explores all states, depth first, which needs less memory.
fn holds(bounds: Bounds) {
    let name = bounds.name;
    let checker = checker(bounds, None).spawn_dfs().join();
    let (states, depth, failed) = (checker.unique_state_count(), checker.max_depth(), failed(&checker));
    println!("{name}: {states} states, {depth} deep");
    for (name, path) in checker.discoveries().into_iter().filter(|(name, _)| failed.contains(name)) {
        eprintln!("{name} does not hold: {:#?}\n{:#?}", path.clone().into_actions(), path.last_state());
    }
    assert!(failed.is_empty(), "{name}: {failed:?}");
    assert!(checker.state_count() < MOST, "{name} is not explored to its end");
}

#[test]
fn no_order_of_events_within_small_bounds_breaks_an_invariant() {
    for bounds in ALL {
        let bounds = bounds();
        holds(Bounds { budget: bounds.small, ..bounds });
    }
}

/// Run by `./check --full`, optimized.
#[test]
#[ignore = "takes minutes, and gigabytes"]
fn no_order_of_events_within_larger_bounds_breaks_an_invariant() {
    for bounds in ALL {
        holds(bounds());
    }
}

#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn each_broken_rule_is_found_out() {
    let mut missed = Vec::new();
    for (mutation, bounds, invariants) in BROKEN {
        // Breadth first, so that the counterexample is short.
        let checker = checker(bounds(), Some(mutation)).spawn_bfs().join();
        let (states, depth, failed) = (checker.unique_state_count(), checker.max_depth(), failed(&checker));
        println!("{mutation:?}: {failed:?} within {states} states, {depth} deep");
        if !invariants.iter().any(|invariant| failed.contains(format!("{invariant:?}").as_str())) {
            missed.push((mutation, bounds().name, failed));
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
