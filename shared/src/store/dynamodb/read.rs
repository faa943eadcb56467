//! Consistent reads, with `BatchGetItem`.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::future::{BoxFuture, FutureExt};

use super::{
    DynamoDb,
    error::{busy, failed, repeated},
    item::{Item, id_of, record},
};
use crate::{record::Record, store::StoreError};

/// Maximum number of keys in one `BatchGetItem`.
pub(super) const KEYS: usize = 100;

impl DynamoDb {
    /// Reads up to a hundred records. If DynamoDB refuses the request as a whole, splits it in halves, down to single ids.
    pub(super) fn get<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        async move {
            match self.items(ids).await {
                Ok(items) => ids.iter().map(|id| items.get(id).cloned().map(record).transpose()).collect(),
                Err(StoreError::Invalid(_)) if ids.len() > 1 => {
                    let (left, right) = ids.split_at(ids.len() / 2);
                    [self.get(left).await, self.get(right).await].into_iter().flatten().collect()
                }
                Err(error) => repeated(ids.len(), &error),
            }
        }
        .boxed()
    }

    /// Reads items with `BatchGetItem`, and repeats the request for the keys that it left out.
    pub(super) async fn items(&self, ids: &[String]) -> Result<HashMap<String, Item>, StoreError> {
        let mut items = HashMap::new();
        let mut missing: Vec<_> = ids.iter().cloned().collect::<HashSet<_>>().into_iter().collect();
        while !missing.is_empty() {
            let (found, rest) = self.get_once(&missing).await?;
            if let Some(requests) = &self.requests {
                requests.store_failed(rest.len());
            }
            if rest.len() == missing.len() {
                return Err(busy("no key of a batch was read"));
            }
            items.extend(found);
            missing = rest;
        }
        Ok(items)
    }

    async fn get_once(&self, ids: &[String]) -> Result<(HashMap<String, Item>, Vec<String>), StoreError> {
        let keys = ids.iter().map(|id| HashMap::from([("id".into(), AttributeValue::S(id.clone()))])).collect();
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let keys = keys.map_err(|error| StoreError::Invalid(error.to_string()))?;
        let answer =
            self.client.batch_get_item().request_items(&self.table, keys).send().await.map_err(|error| failed(&self.table, error))?;
        let found = answer.responses.into_iter().filter_map(|mut tables| tables.remove(&self.table)).flatten();
        let found = found.filter_map(|item| Some((id_of(&item)?, item))).collect();
        let rest = answer.unprocessed_keys.into_iter().flat_map(HashMap::into_values).flat_map(|keys| keys.keys().to_vec());
        Ok((found, rest.filter_map(|key| id_of(&key)).collect()))
    }
}
