//! The indexes of the table: due jobs, and jobs by list.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;

#[cfg(feature = "operator")]
use super::item::id_of;
use super::{
    DynamoDb,
    error::failed,
    item::{Item, text},
};
#[cfg(feature = "operator")]
use crate::names::{SHARDS, failed_shard_name};
use crate::{clock::rfc3339, names::shard_name, store::StoreError};
#[cfg(feature = "operator")]
use futures_util::future::join_all;

/// The index of due jobs: hash key `due`, range key `run_at`, keys only.
pub(crate) const DUE_INDEX: &str = "due";

/// The index of failed jobs and of list entries: hash key `listed`, range key `listed_at`, keys only.
pub(crate) const LIST_INDEX: &str = "listed";

impl DynamoDb {
    /// Reads the keys of the entries of a list, the oldest or the latest first.
    pub(super) async fn list_items(&self, list: &str, oldest_first: bool, limit: usize) -> Result<Vec<Item>, StoreError> {
        let query = self.list_query(list).key_condition_expression("listed = :list");
        pages(query.scan_index_forward(oldest_first), limit).await
    }

    fn list_query(&self, list: &str) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.table).projection_expression("id").index_name(LIST_INDEX);
        query.expression_attribute_values(":list", text(list))
    }

    /// Returns the ids of the jobs that failed for good at this instant or before, the latest first, at most `limit`. The index may lag
    /// behind, so read the records.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    #[cfg(feature = "operator")]
    pub async fn failed_until(&self, until: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
        let shards = (0..SHARDS).map(async |shard| {
            let query = self.list_query(&failed_shard_name(shard)).key_condition_expression("listed = :list AND listed_at <= :until");
            let query = query.expression_attribute_values(":until", text(&rfc3339::text(until)));
            pages(query.projection_expression("id, listed_at").scan_index_forward(false), limit).await
        });
        let shards = join_all(shards).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let at = |item: &Item| item.get("listed_at").and_then(|at| at.as_s().ok().cloned());
        let mut found: Vec<_> = shards.iter().flatten().filter_map(|item| Some((at(item), id_of(item)?))).collect();
        found.sort_by(|one, other| other.cmp(one));
        Ok(found.into_iter().map(|(_, id)| id).take(limit).collect())
    }
}

/// Reads the items of one shard of a table's due index whose attribute `time` is at most `until`, the longest overdue first.
pub(crate) async fn due_items(
    query: QueryFluentBuilder,
    time: &str,
    shard: u8,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    let query = query.index_name(DUE_INDEX).key_condition_expression(format!("due = :shard AND {time} <= :until"));
    let query = query.expression_attribute_values(":shard", text(&shard_name(shard)));
    let query = query.expression_attribute_values(":until", text(&rfc3339::text(until)));
    pages(query, limit).await
}

/// Reads the first items that a query finds, at most `limit`.
async fn pages(query: QueryFluentBuilder, limit: usize) -> Result<Vec<Item>, StoreError> {
    let table = query.get_table_name().clone().unwrap_or_default();
    let query = query.limit(i32::try_from(limit).unwrap_or(i32::MAX));
    let mut items = Vec::new();
    let mut from = None;
    loop {
        let answer = query.clone().set_exclusive_start_key(from).send().await.map_err(|error| failed(&table, error))?;
        items.extend(answer.items.unwrap_or_default());
        from = answer.last_evaluated_key;
        if from.is_none() || items.len() >= limit {
            items.truncate(limit);
            return Ok(items);
        }
    }
}
