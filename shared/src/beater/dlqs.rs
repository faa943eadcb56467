//! The dead-letter queues that a beater looks through.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{Index, dlqs};

/// The list is read again after this time, or once a queue could not be looked through.
const KEPT: Duration = Duration::from_mins(10);

/// The dead-letter queues that the function's variables name, and those of the table's list.
#[derive(Debug, Default)]
pub(crate) struct Dlqs {
    named: Vec<String>,
    listed: Mutex<Option<Kept>>,
}

/// The list as it was read.
#[derive(Debug, Clone)]
struct Kept {
    names: Vec<String>,
    at: Instant,
}

impl Dlqs {
    /// These queues, and those of the list.
    pub(crate) fn new(named: Vec<String>) -> Self {
        Self { named, listed: Mutex::default() }
    }

    /// The names of the queues, those of the list as they were up to ten minutes ago. Where the list cannot be read, it is as it
    /// was.
    pub(super) async fn names(&self, store: &dyn Index) -> Vec<String> {
        let names: BTreeSet<_> = self.listed(store).await.into_iter().chain(self.named.iter().cloned()).collect();
        names.into_iter().collect()
    }

    async fn listed(&self, store: &dyn Index) -> Vec<String> {
        let kept = self.kept().clone();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.at.elapsed() < KEPT) {
            return kept.names.clone();
        }
        match dlqs(store).await {
            Ok(names) => {
                *self.kept() = Some(Kept { names: names.clone(), at: Instant::now() });
                names
            }
            Err(error) => {
                tracing::error!(%error, "cannot read the list of dead-letter queues");
                kept.map(|kept| kept.names).unwrap_or_default()
            }
        }
    }

    /// Has the list read again: a queue of it may have been deleted.
    pub(super) fn forget(&self) {
        *self.kept() = None;
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
