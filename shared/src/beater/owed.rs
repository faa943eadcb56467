//! Tells the dependents of jobs that have ended without a message.

use futures_util::future::join_all;
use jiff::Timestamp;

use super::part::{Due, Tally};
use crate::{
    links::Links,
    names::{SHARDS, owed_shard_name},
};

/// Maximum number of jobs of one shard in one tick. The next tick takes the remaining ones first.
const MOST: usize = 500;

/// Tells the dependents of the jobs that ended by `now` without a message. `done` counts these jobs.
pub(crate) async fn settle_owed(due: &Due, now: Timestamp) -> Tally {
    let links = Links { store: &*due.store, queue: &*due.queue, clock: &due.clock };
    let mut total = Tally::default();
    let shards = (0..SHARDS).map(owed_shard_name).collect::<Vec<_>>();
    for found in join_all(shards.iter().map(|shard| due.store.due(shard, now, MOST))).await {
        let ids = match found {
            Ok(ids) => ids,
            Err(error) => {
                tracing::error!(%error, "cannot look for ended jobs whose dependents wait");
                total.failed += 1;
                continue;
            }
        };
        for id in ids {
            match links.resolve(&id).await {
                Ok(()) => total.done += 1,
                Err(error) => {
                    tracing::error!(id, %error, "cannot tell the jobs that wait for this one");
                    total.failed += 1;
                }
            }
        }
    }
    total
}
