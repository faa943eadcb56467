use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::ProvideErrorMetadata,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, CancellationReason, Delete, Put, TransactWriteItem},
};
use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;

use super::{Changed, Found, Row, Rows};
use crate::{
    Record,
    store::{Item, SEGMENTS, StoreError, Write, due_items, failed, invalid, parse, segment_items, text, version_condition},
};

/// Rows in a DynamoDB table with the hash key `id`, and the records of jobs in another.
#[derive(Debug, Clone)]
pub(crate) struct DynamoDb {
    client: Client,
    table: String,
    jobs: String,
}

impl DynamoDb {
    /// Uses the rows in the table `table` and the records in the table `jobs`.
    pub(crate) fn new(client: Client, table: impl Into<String>, jobs: impl Into<String>) -> Self {
        Self { client, table: table.into(), jobs: jobs.into() }
    }

    fn put_row(&self, seen: Option<&Row>, next: &Row) -> Result<TransactWriteItem, StoreError> {
        let (condition, values) = condition(seen);
        let put = Put::builder().table_name(&self.table).set_item(Some(row_item(next)?)).condition_expression(condition);
        let put = put.set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()));
        Ok(TransactWriteItem::builder().put(put.build().map_err(invalid)?).build())
    }

    fn delete_row(&self, id: &str, seen: Option<&Row>) -> Result<TransactWriteItem, StoreError> {
        let (condition, values) = condition(seen);
        let delete = Delete::builder().table_name(&self.table).key("id", text(id)).condition_expression(condition);
        let delete = delete.set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()));
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(invalid)?).build())
    }

    fn put_job(&self, job: &Write) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder().table_name(&self.jobs).set_item(Some(item(&*job.next)?));
        let put = match &job.seen {
            None => put.condition_expression("attribute_not_exists(id)"),
            Some(seen) => {
                let (condition, names, values) = same_version(seen);
                let put = put.condition_expression(condition).set_expression_attribute_names(Some(names));
                put.set_expression_attribute_values(Some(values))
            }
        };
        Ok(TransactWriteItem::builder().put(put.build().map_err(invalid)?).build())
    }

    async fn change_all(&self, id: &str, seen: Option<&Row>, next: Option<&Row>, jobs: &[Write]) -> Result<Changed, StoreError> {
        let row = match next {
            Some(next) => self.put_row(seen, next)?,
            None => self.delete_row(id, seen)?,
        };
        let parts = std::iter::once(Ok(row)).chain(jobs.iter().map(|job| self.put_job(job))).collect::<Result<_, _>>()?;
        match self.client.transact_write_items().set_transact_items(Some(parts)).send().await {
            Ok(_) => Ok(Changed::Done),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    outcome(cancelled.cancellation_reasons(), jobs, error.message())
                }
                _ => Err(failed(&format!("{} or {}", self.table, self.jobs), error)),
            },
        }
    }
}

/// Evaluates the reasons of a cancelled transaction; the first reason is that of the row.
fn outcome(reasons: &[CancellationReason], jobs: &[Write], message: Option<&str>) -> Result<Changed, StoreError> {
    let is_refused = |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
    let code = |reason: &CancellationReason| reason.code().filter(|code| *code != "None").map(str::to_owned);
    match reasons.split_first() {
        Some((row, _)) if is_refused(row) => Ok(Changed::Refused),
        Some((_, of_jobs)) if of_jobs.iter().any(is_refused) => {
            let known = jobs.iter().zip(of_jobs).filter(|(_, reason)| is_refused(reason));
            Ok(Changed::Known(known.map(|(job, _)| job.next.id.clone()).collect()))
        }
        _ => match reasons.iter().find_map(code).as_deref() {
            Some("ValidationError" | "ItemCollectionSizeLimitExceeded") => Err(StoreError::Invalid(message.unwrap_or_default().into())),
            code => Err(StoreError::Busy(code.unwrap_or("the transaction was cancelled").into())),
        },
    }
}

impl Rows for DynamoDb {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        async move {
            let query = self.client.query().table_name(&self.table);
            Ok(due_items(query, "next_fire", shard, until, limit).await?.into_iter().map(row).collect())
        }
        .boxed()
    }

    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, StoreError>> {
        async move {
            let get = self.client.get_item().table_name(&self.table).key("id", text(id)).consistent_read(true);
            Ok(get.send().await.map_err(|error| failed(&self.table, error))?.item.map(row))
        }
        .boxed()
    }

    fn some(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        async move {
            let scan = self.client.scan().table_name(&self.table);
            Ok(segment_items(scan, turn, SEGMENTS).await?.into_iter().map(row).collect())
        }
        .boxed()
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        async move {
            let mut rows = Vec::new();
            let mut from = None;
            loop {
                let scan = self.client.scan().table_name(&self.table).consistent_read(true).set_exclusive_start_key(from);
                let answer = scan.send().await.map_err(|error| failed(&self.table, error))?;
                rows.extend(answer.items.unwrap_or_default().into_iter().map(row));
                from = answer.last_evaluated_key;
                if from.is_none() {
                    return Ok(rows);
                }
            }
        }
        .boxed()
    }

    fn change<'a>(
        &'a self,
        id: &'a str,
        seen: Option<&'a Row>,
        next: Option<&'a Row>,
        jobs: &'a [Write],
    ) -> BoxFuture<'a, Result<Changed, StoreError>> {
        self.change_all(id, seen, next, jobs).boxed()
    }

    fn overwrite<'a>(&'a self, next: &'a Row) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let put = self.client.put_item().table_name(&self.table).set_item(Some(row_item(next)?));
            put.send().await.map(drop).map_err(|error| failed(&self.table, error))
        }
        .boxed()
    }
}

/// Returns the condition that the stored row has the version of `seen`.
fn condition(seen: Option<&Row>) -> (String, Item) {
    let Some(seen) = seen else {
        return ("attribute_not_exists(id)".into(), Item::new());
    };
    let mut values = Item::new();
    let mut tests = vec!["attribute_exists(id)".to_owned()];
    for (name, value) in seen.version() {
        match value {
            Some(value) => {
                tests.push(format!("{name} = :{name}"));
                values.insert(format!(":{name}"), text(value));
            }
            None => tests.push(format!("attribute_not_exists({name})")),
        }
    }
    (tests.join(" AND "), values)
}

/// Returns the condition that the stored record has the version and the dependents of `seen`, since the write replaces the whole item. It
/// uses placeholders for names, because several attribute names are reserved words of DynamoDB.
fn same_version(seen: &Record) -> (String, HashMap<String, String>, Item) {
    let (mut tests, mut names, mut values) = (Vec::new(), HashMap::new(), Item::new());
    let dependents = Some(AttributeValue::Ss(seen.dependents.iter().cloned().collect())).filter(|_| !seen.dependents.is_empty());
    for (name, value) in version_condition(&seen.version()).into_iter().chain([("dependents", dependents)]) {
        names.insert(format!("#{name}"), name.to_owned());
        match value {
            Some(value) => {
                tests.push(format!("#{name} = :{name}"));
                values.insert(format!(":{name}"), value);
            }
            None => tests.push(format!("attribute_not_exists(#{name})")),
        }
    }
    (tests.join(" AND "), names, values)
}

fn row(item: Item) -> Found {
    let id = item.get("id").and_then(|id| id.as_s().ok()).cloned().unwrap_or_default();
    let unknown = item.iter().filter(|(name, _)| !Row::has_field(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    match parse::<Row>(item) {
        Ok(row) => Ok(Row { unknown, ..row }),
        Err(flaw) => Err((id, flaw)),
    }
}

fn row_item(row: &Row) -> Result<Item, StoreError> {
    let mut item = item(row)?;
    item.extend(row.unknown.clone());
    Ok(item)
}

fn item(value: &impl serde::Serialize) -> Result<Item, StoreError> {
    serde_dynamo::to_item(value).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the outcome of a transaction of a row and two jobs, cancelled for these reasons.
    fn cancelled(codes: [&str; 3]) -> Result<Changed, StoreError> {
        let reasons = codes.map(|code| CancellationReason::builder().code(code).build());
        let jobs = ["a", "b"].map(|id| Write::insert(Record { id: id.into(), ..Record::default() }));
        outcome(&reasons, &jobs, Some("an item is too large"))
    }

    #[test]
    fn the_reasons_of_a_cancelled_transaction_say_whether_to_try_again() {
        let refused = "ConditionalCheckFailed";
        assert_eq!(cancelled([refused, "None", refused]).expect("no error"), Changed::Refused);
        assert_eq!(cancelled(["None", "None", refused]).expect("no error"), Changed::Known(vec!["b".into()]));
        for code in ["ValidationError", "ItemCollectionSizeLimitExceeded"] {
            let error = cancelled(["None", code, "None"]).expect_err("not written");
            assert!(matches!(&error, StoreError::Invalid(why) if why == "an item is too large"), "{error}");
        }
        let error = cancelled(["None", "None", "TransactionConflict"]).expect_err("not written");
        assert!(matches!(&error, StoreError::Busy(why) if why == "TransactionConflict"), "{error}");
        assert!(matches!(cancelled(["None"; 3]), Err(StoreError::Busy(_))));
    }
}
