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

/// Maximum number of items to read for a day.
const PROCESSES: usize = 100_000;

impl DynamoDb {
    /// Returns the statistics of a day, by queue. They may lag slightly behind.
    ///
    /// # Errors
    ///
    /// When the table does not answer, or an item of the statistics is unreadable.
    pub async fn stats(&self, day: Date) -> Result<BTreeMap<String, Tally>, StoreError> {
        let items = self.list_items(&list(day), false, PROCESSES).await?;
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
