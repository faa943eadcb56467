//! Entries of lists, written with `BatchWriteItem`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    iter::repeat_with,
    time::Duration,
};

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::time::sleep;

use super::{
    AT_A_TIME, DynamoDb,
    error::{busy, failed, invalid},
    item::{Item, id_of, text},
};
use crate::{
    Backoff,
    clock::rfc3339,
    retry::jitter,
    store::{Listing, StoreError},
};

/// Separates the list from the job's id in the id of a list entry. No job id contains it.
pub(super) const SEPARATOR: char = '\u{1f}';

/// Maximum number of items in one `BatchWriteItem`.
const PUTS: usize = 25;
/// Maximum number of tries to write the items that `BatchWriteItem` leaves out.
const TRIES: u32 = 5;
const BACKOFF: Backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1));

impl DynamoDb {
    /// Writes list entries. Returns one answer for each, in order.
    pub(super) async fn put_listings(&self, listings: &[Listing]) -> Vec<Result<(), StoreError>> {
        // DynamoDB refuses a request that has a key twice (`BatchWriteItem` in the API reference), so duplicates are removed.
        let items: BTreeMap<_, _> = listings.iter().map(|listing| (listing_id(listing), listing)).collect();
        let mut items = items.into_iter().peekable();
        let mut flaws = HashMap::new();
        while items.peek().is_some() {
            let parts: Vec<_> = repeat_with(|| items.by_ref().take(PUTS).collect::<BTreeMap<_, _>>())
                .take(AT_A_TIME)
                .take_while(|part| !part.is_empty())
                .collect();
            flaws.extend(join_all(parts.into_iter().map(|part| self.put_all(part))).await.into_iter().flatten());
        }
        listings.iter().map(|listing| flaws.get(&listing_id(listing)).map_or(Ok(()), |flaw| Err(flaw.clone()))).collect()
    }

    /// Writes items with one `BatchWriteItem`, and repeats those that were left out or throttled. If DynamoDB refuses the request as a
    /// whole, splits it in halves, down to single items. Returns the errors by the ids of the items.
    fn put_all<'a>(&'a self, mut items: BTreeMap<String, &'a Listing>) -> BoxFuture<'a, HashMap<String, StoreError>> {
        async move {
            let mut flaw = busy("not all of a batch was written");
            for attempt in 1..=TRIES {
                match self.put_once(&items).await {
                    Ok(left) => items.retain(|id, _| left.contains(id)),
                    Err(StoreError::Invalid(_)) if items.len() > 1 => {
                        let middle = items.keys().nth(items.len() / 2).cloned().unwrap_or_default();
                        let upper = items.split_off(&middle);
                        return self.put_all(items).await.into_iter().chain(self.put_all(upper).await).collect();
                    }
                    Err(error) => {
                        let is_final = !matches!(error, StoreError::Busy(_));
                        flaw = error;
                        if is_final {
                            break;
                        }
                    }
                }
                if items.is_empty() {
                    break;
                }
                sleep(BACKOFF.delay(attempt, jitter())).await;
            }
            items.into_keys().map(|id| (id, flaw.clone())).collect()
        }
        .boxed()
    }

    /// Sends one `BatchWriteItem`. Returns the ids of the items that it left out.
    async fn put_once(&self, items: &BTreeMap<String, &Listing>) -> Result<HashSet<String>, StoreError> {
        let puts = items.iter().map(|(id, listing)| PutRequest::builder().set_item(Some(listing_item(id, listing))).build());
        let puts = puts.map(|put| Ok(WriteRequest::builder().put_request(put?).build())).collect::<Result<Vec<_>, BuildError>>();
        let puts = puts.map_err(invalid)?;
        let request = self.client.batch_write_item().request_items(&self.table, puts);
        let answer = request.send().await.map_err(|error| failed(&self.table, error))?;
        let left = answer.unprocessed_items.into_iter().flat_map(HashMap::into_values).flatten();
        Ok(left.filter_map(|write| id_of(&write.put_request?.item)).collect())
    }
}

/// Returns the id of the item of a list entry.
pub(crate) fn listing_id(Listing { list, id, .. }: &Listing) -> String {
    format!("{list}{SEPARATOR}{id}")
}

/// Returns the id of the job of a record or a list entry.
pub(super) fn job_id(item: &Item) -> Option<String> {
    let id = id_of(item)?;
    Some(id.rsplit_once(SEPARATOR).map(|(_, id)| id.to_owned()).unwrap_or(id))
}

pub(super) fn listing_item(id: &str, Listing { list, at, purge_at, .. }: &Listing) -> Item {
    Item::from([
        ("id".into(), text(id)),
        ("listed".into(), text(list)),
        ("listed_at".into(), text(&rfc3339::text(*at))),
        ("purge_at".into(), AttributeValue::N(purge_at.to_string())),
    ])
}
