//! Commands that the user has started in the page. They are kept to be shown.

use std::sync::{Arc, Mutex, PoisonError};

use super::form::Parameters;
use crate::command::runner::Run;

/// Number of runs that are kept.
const MOST: usize = 100;

/// The runs, the oldest first.
#[derive(Default)]
pub(super) struct Kept(Mutex<Runs>);

#[derive(Default)]
struct Runs {
    count: u64,
    runs: Vec<Arc<KeptRun>>,
}

/// A command that the user has started.
pub(super) struct KeptRun {
    pub(super) number: u64,
    pub(super) run: Arc<Run>,
    /// The form that asked for it, and the view to return to.
    pub(super) form: Parameters,
    pub(super) back: String,
}

impl Kept {
    /// Keeps a run, and returns its number.
    pub(super) fn keep(&self, run: Arc<Run>, form: Parameters, back: String) -> u64 {
        let Runs { count, runs } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = (runs.len() + 1).saturating_sub(MOST);
        let ended: Vec<_> = runs.iter().filter(|kept| kept.run.outcome().is_some()).take(excess).map(|kept| kept.number).collect();
        runs.retain(|kept| !ended.contains(&kept.number));
        let number = *count;
        *count += 1;
        runs.push(Arc::new(KeptRun { number, run, form, back }));
        number
    }

    pub(super) fn find(&self, number: u64) -> Option<Arc<KeptRun>> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.runs.iter().find(|kept| kept.number == number).cloned()
    }
}
