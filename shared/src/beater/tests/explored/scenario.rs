//! The scenarios, and the rules that are broken in each.

use std::time::Instant as Began;

use super::{
    search::{Searched, search},
    *,
};

/// A schedule that no tick has seen.
const NEW: Scenario = Scenario {
    name: "new",
    before: None,
    now: 0,
    edits: &[],
    bounds: Bounds { ticks: &[0, 0], faults: 1, minutes: 1 },
    small: Bounds { ticks: &[0, 0], faults: 0, minutes: 1 },
};

/// Two beaters are invoked for the same minute.
const SAME_MINUTE: Scenario = Scenario {
    name: "same minute",
    before: Some(-2),
    now: 0,
    edits: &[],
    bounds: Bounds { ticks: &[0, 0], faults: 1, minutes: 1 },
    small: Bounds { ticks: &[0, 0], faults: 1, minutes: 0 },
};

/// The ticks of two minutes overlap.
const NEIGHBOURS: Scenario = Scenario {
    name: "neighbours",
    before: Some(-2),
    now: 1,
    edits: &[],
    bounds: Bounds { ticks: &[0, 1], faults: 1, minutes: 1 },
    small: Bounds { ticks: &[0, 1], faults: 0, minutes: 1 },
};

/// A tick is three minutes late.
const LATE: Scenario = Scenario {
    name: "late",
    before: Some(-2),
    now: 3,
    edits: &[],
    bounds: Bounds { ticks: &[0, 3], faults: 1, minutes: 1 },
    small: Bounds { ticks: &[0, 3], faults: 0, minutes: 1 },
};

const ARGUMENTS: Scenario = Scenario {
    name: "other arguments",
    before: Some(0),
    now: 1,
    edits: &[Edit::Put(even_anew)],
    bounds: Bounds { ticks: &[1, 1], faults: 1, minutes: 0 },
    small: Bounds { ticks: &[1, 1], faults: 0, minutes: 0 },
};

const TIMES: Scenario = Scenario {
    name: "other times",
    before: Some(0),
    now: 0,
    edits: &[Edit::Put(other)],
    bounds: Bounds { ticks: &[0, 1], faults: 1, minutes: 0 },
    small: Bounds { ticks: &[0, 1], faults: 0, minutes: 0 },
};

/// A late tick sees an edit that was made after its time.
const LATE_EDIT: Scenario = Scenario {
    name: "other times, late",
    before: Some(0),
    now: 3,
    edits: &[Edit::Put(each)],
    bounds: Bounds { ticks: &[0, 3], faults: 1, minutes: 0 },
    small: Bounds { ticks: &[0, 3], faults: 0, minutes: 0 },
};

/// The second edit restores what the first edit cancels.
const TIMES_AND_BACK: Scenario = Scenario {
    name: "other times and back",
    before: Some(0),
    now: 1,
    edits: &[Edit::Put(other), Edit::Put(even)],
    bounds: Bounds { ticks: &[1, 1], faults: 0, minutes: 1 },
    small: Bounds { ticks: &[1], faults: 1, minutes: 0 },
};

const ARGUMENTS_AND_BACK: Scenario = Scenario {
    name: "other arguments and back",
    before: Some(0),
    now: 1,
    edits: &[Edit::Put(even_anew), Edit::Put(even)],
    bounds: Bounds { ticks: &[1, 1], faults: 0, minutes: 0 },
    small: Bounds { ticks: &[1], faults: 1, minutes: 0 },
};

const PAUSED: Scenario = Scenario {
    name: "paused and resumed",
    before: Some(0),
    now: 1,
    edits: &[Edit::Pause, Edit::Resume],
    bounds: Bounds { ticks: &[1, 1], faults: 1, minutes: 1 },
    small: Bounds { ticks: &[1, 1], faults: 0, minutes: 0 },
};

/// The edit is made at the exact instant that the row names.
const SAME_INSTANT: Scenario = Scenario {
    name: "paused as it fires",
    before: Some(0),
    now: 2,
    edits: &[Edit::Pause],
    bounds: Bounds { ticks: &[1, 2], faults: 1, minutes: 1 },
    small: Bounds { ticks: &[1, 2], faults: 0, minutes: 0 },
};

const DELETED: Scenario = Scenario {
    name: "deleted",
    before: Some(0),
    now: 1,
    edits: &[Edit::Delete],
    bounds: Bounds { ticks: &[1, 1], faults: 1, minutes: 1 },
    small: Bounds { ticks: &[1, 1], faults: 0, minutes: 0 },
};

const PUT_AGAIN: Scenario = Scenario {
    name: "deleted and put again",
    before: Some(0),
    now: 1,
    edits: &[Edit::Delete, Edit::Put(even)],
    bounds: Bounds { ticks: &[1, 1], faults: 1, minutes: 0 },
    small: Bounds { ticks: &[1], faults: 1, minutes: 1 },
};

const ALL: [&Scenario; 13] = [
    &NEW,
    &SAME_MINUTE,
    &NEIGHBOURS,
    &LATE,
    &ARGUMENTS,
    &TIMES,
    &LATE_EDIT,
    &TIMES_AND_BACK,
    &ARGUMENTS_AND_BACK,
    &PAUSED,
    &SAME_INSTANT,
    &DELETED,
    &PUT_AGAIN,
];

/// A broken rule, its scenario, and the properties that may detect it.
type Broken = (Mutation, &'static Scenario, &'static [Property]);

const BROKEN: [Broken; 12] = {
    use Mutation as M;
    use Property as P;
    [
        (M::IgnoreCondition, &PAUSED, &[P::EditsStand]),
        (M::ForgetJobs, &SAME_MINUTE, &[P::NoFireLost]),
        (M::HalfCommit, &SAME_MINUTE, &[P::NoFireLost]),
        (M::Overwrite, &PAUSED, &[P::NoneDoubled]),
        (M::SendAtOnce, &SAME_MINUTE, &[P::NoneEarly]),
        (M::FileAnother, &SAME_MINUTE, &[P::NoneInvented]),
        (M::ForgetAhead, &ARGUMENTS, &[P::CalledOff]),
        (M::RepeatAhead, &SAME_MINUTE, &[P::AheadBounded]),
        (M::MoveBack, &SAME_MINUTE, &[P::CursorForward]),
        (M::ForgetReplaced, &ARGUMENTS, &[P::CalledOff]),
        (M::ForgetMessages, &SAME_MINUTE, &[P::AtRest]),
        (M::StaleIndex, &SAME_MINUTE, &[P::NoFireLost, P::AtRest]),
    ]
};

/// Explores scenarios completely and reports violated properties.
async fn hold(bounds: fn(&Scenario) -> Bounds) {
    let mut all = Vec::new();
    for scenario in ALL {
        let began = Began::now();
        let Searched { runs, states, ends, deepest, broken } = search(scenario, bounds(scenario), None).await;
        println!("{}: {runs} runs, {states} states, {ends} ends, {deepest} deep, {:.1?}", scenario.name, began.elapsed());
        all.extend(broken.map(|(property, why)| format!("{}: {property:?} does not hold: {why}", scenario.name)));
    }
    assert!(all.is_empty(), "{}", all.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn no_order_of_ticks_and_edits_within_small_bounds_breaks_a_property() {
    hold(|scenario| scenario.small).await;
}

/// Run by `./check --full`, optimized.
#[tokio::test(start_paused = true)]
#[ignore = "takes minutes"]
async fn no_order_of_ticks_and_edits_within_larger_bounds_breaks_a_property() {
    hold(|scenario| scenario.bounds).await;
}

#[tokio::test(start_paused = true)]
async fn each_broken_rule_of_the_ports_is_detected() {
    let mut missed = Vec::new();
    for (mutation, scenario, properties) in BROKEN {
        let found = search(scenario, scenario.bounds, Some(mutation)).await;
        let told = found.broken.as_ref().map(|(property, _)| *property);
        println!("{mutation:?}: {told:?} within {} runs", found.runs);
        if !told.is_some_and(|told| properties.contains(&told)) {
            missed.push((mutation, scenario.name, found));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
