//! A depth-first search over all choices, one run after the other.

use std::collections::HashSet;

use super::{judge::Told, run::Run, *};

/// A choice: the chosen option and the number of options.
struct Choice {
    taken: usize,
    of: usize,
}

/// The result of a search.
#[derive(Debug, Default)]
pub(super) struct Searched {
    pub(super) runs: usize,
    pub(super) states: usize,
    pub(super) ends: usize,
    pub(super) deepest: usize,
    /// The violated property, and the steps to it.
    pub(super) broken: Option<(Property, String)>,
}

pub(super) async fn search(scenario: &Scenario, bounds: Bounds, mutation: Option<Mutation>) -> Searched {
    let mut search =
        Search { scenario, bounds, mutation, entries: entries(scenario), seen: HashSet::new(), ends: HashSet::new(), path: Vec::new() };
    let mut searched = Searched::default();
    loop {
        searched.runs += 1;
        let (run, told) = search.follow().await;
        searched.deepest = searched.deepest.max(search.path.len());
        searched.broken = run.broken().map(|(property, why)| (property, format!("{why}\n    {}", told.join("\n    "))));
        if searched.broken.is_some() || !search.turn() {
            return Searched { states: search.seen.len(), ends: search.ends.len(), ..searched };
        }
    }
}

/// A search in progress.
struct Search<'a> {
    scenario: &'a Scenario,
    bounds: Bounds,
    mutation: Option<Mutation>,
    entries: Vec<Arc<Told>>,
    /// The states from which the search has continued.
    seen: HashSet<u64>,
    /// The checked final states, in which all actors were done.
    ends: HashSet<u64>,
    path: Vec<Choice>,
}

impl Search<'_> {
    /// Moves to the next path: the last choice that has another option takes it. Returns `false` if no choice is left.
    fn turn(&mut self) -> bool {
        while let Some(mut last) = self.path.pop() {
            last.taken += 1;
            if last.taken < last.of {
                self.path.push(last);
                return true;
            }
        }
        false
    }

    /// Follows the path, and then always the first option, until a known state or the end. Returns the run and its steps.
    async fn follow(&mut self) -> (Run, Vec<String>) {
        let mut run = Run::start(self.scenario, self.bounds, &self.entries, self.mutation).await;
        let mut told = Vec::new();
        for depth in 0.. {
            let is_new = depth >= self.path.len();
            if run.broken().is_some() || is_new && !self.seen.insert(run.sum().await) {
                return (run, told);
            }
            let steps = run.steps();
            if steps.is_empty() {
                break;
            }
            if is_new {
                self.path.push(Choice { taken: 0, of: steps.len() });
            }
            let step = steps[self.path[depth].taken];
            told.push(run.told(step));
            run.take(step).await;
        }
        if self.ends.insert(run.outcome().await) {
            run.end().await;
        }
        (run, told)
    }
}

/// Returns the successive entries of the schedule.
fn entries(scenario: &Scenario) -> Vec<Arc<Told>> {
    let puts = scenario.edits.iter().filter_map(|edit| match edit {
        Edit::Put(entry) => Some(Told::new(entry())),
        Edit::Pause | Edit::Resume | Edit::Delete => None,
    });
    std::iter::once(Told::new(even())).chain(puts).collect()
}
