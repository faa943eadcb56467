//! Reads statistics.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::civil::Date;

use super::{
    DynamoDb,
    item::{Item, id_of},
    read::KEYS,
    stats::list,
};
use crate::{stats::Tally, store::StoreError};

/// The most processes of a day that are read.
const PROCESSES: usize = 100_000;

impl DynamoDb {
    /// What was counted on a day, by queue. It may lag behind a little.
    ///
    /// # Errors
    ///
    /// When the table does not answer, or someone has written another thing there.
    pub async fn stats(&self, day: Date) -> Result<BTreeMap<String, Tally>, StoreError> {
        let items = self.list_items(&list(day), PROCESSES).await?;
        let ids: Vec<_> = items.iter().filter_map(id_of).collect();
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for items in join_all(ids.chunks(KEYS).map(|ids| self.items(ids))).await {
            for (id, item) in items? {
                let queue = item.get("queue").and_then(|queue| queue.as_s().ok()).cloned().unwrap_or_default();
                tallies.entry(queue).or_default().merge(&tally(id, item)?);
            }
        }
        Ok(tallies)
    }
}

fn tally(id: String, item: Item) -> Result<Tally, StoreError> {
    serde_dynamo::from_item(item).map_err(|error| StoreError::Unreadable { id, flaw: error.to_string() })
}
