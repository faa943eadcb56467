//! The dead-letter queues that a beater examines.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{Index, dlqs};

/// Maximum age of the list. It is also read again if a queue could not be examined.
const KEPT: Duration = Duration::from_mins(10);

/// The dead-letter queues from the function's variables and from the list in the table.
#[derive(Debug, Default)]
pub(crate) struct Dlqs {
    named: Vec<String>,
    listed: Mutex<Option<Kept>>,
}

/// The list from the last read.
#[derive(Debug, Clone)]
struct Kept {
    names: Vec<String>,
    at: Instant,
}

impl Dlqs {
    /// Creates the set of these queues and of those in the list of the table.
    pub(crate) fn new(named: Vec<String>) -> Self {
        Self { named, listed: Mutex::default() }
    }

    /// Returns the names of the queues. The list may be up to ten minutes old. If it cannot be read, the last known list is used.
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

    /// Makes the next call read the list again, since one of its queues may have been deleted.
    pub(super) fn forget(&self) {
        *self.kept() = None;
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DLQS, Listing, Memory};

    async fn enlist(store: &Memory, id: &str) {
        let at = jiff::Timestamp::UNIX_EPOCH;
        store.enlist(&[Listing { list: DLQS.into(), id: id.into(), at, purge_at: 4_000_000_000 }]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_is_read_every_ten_minutes_and_after_a_failure() {
        let (store, dlqs) = (Memory::new(), Dlqs::new(vec!["a".into()]));
        assert_eq!(dlqs.names(&store).await, ["a"]);
        enlist(&store, "b").await;
        tokio::time::advance(KEPT.checked_sub(Duration::from_millis(1)).expect("it is longer")).await;
        assert_eq!(dlqs.names(&store).await, ["a"], "the list is kept");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(dlqs.names(&store).await, ["a", "b"]);
        enlist(&store, "c").await;
        assert_eq!(dlqs.names(&store).await, ["a", "b"]);
        dlqs.forget();
        assert_eq!(dlqs.names(&store).await, ["a", "b", "c"]);
    }
}
