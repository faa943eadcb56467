//! The indexes of the table: due jobs, and jobs by list.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;

use super::{
    DynamoDb,
    error::failed,
    item::{Item, text},
};
use crate::{clock::rfc3339, names::shard_name, store::StoreError};

/// The index of due jobs: hash key `due`, range key `run_at`, keys only.
pub(crate) const DUE_INDEX: &str = "due";

/// The index of failed jobs and of list entries: hash key `listed`, range key `listed_at`, keys only.
pub(crate) const LIST_INDEX: &str = "listed";

impl DynamoDb {
    /// Reads the keys of the entries of a list, the oldest or the latest first.
    pub(super) async fn list_items(&self, list: &str, oldest_first: bool, limit: usize) -> Result<Vec<Item>, StoreError> {
        let query = self.client.query().table_name(&self.table).projection_expression("id").index_name(LIST_INDEX);
        let query = query.key_condition_expression("listed = :list").expression_attribute_values(":list", text(list));
        pages(query.scan_index_forward(oldest_first), limit).await
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
