//! The table in DynamoDB: `BatchGetItem` for reads, PartiQL's `BatchExecuteStatement` for conditional writes, which
//! succeed or fail one by one.

use std::{collections::HashMap, fmt::Write as _, iter::repeat_with};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        AttributeValue, BatchStatementErrorCodeEnum as Code, BatchStatementRequest, BatchStatementResponse, KeysAndAttributes,
        ReturnValuesOnConditionCheckFailure,
    },
};
use futures_util::future::{BoxFuture, FutureExt, join_all};

use super::{Store, StoreError, Write, Written};
use crate::{
    error::Chain,
    record::{Dlq, Record, State, Version},
};

type Item = HashMap<String, AttributeValue>;

/// Statements in one `BatchExecuteStatement`.
const STATEMENTS: usize = 25;
/// Keys in one `BatchGetItem`.
const KEYS: usize = 100;
/// Bytes of items in one request, well under what a request may have.
const REQUEST_BYTES: usize = 1 << 20;
/// Bytes of one item: 400 KB, less a margin for how it is counted.
const ITEM_BYTES: usize = 390_000;

/// Bytes that an ending may add: an error in the record and in its history.
const ENDING_BYTES: usize = 10_000;
/// Levels of lists and maps in an attribute.
const DEPTH: usize = 31;

/// Records in a DynamoDB table with the hash key `id`.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    client: Client,
    table: String,
}

impl DynamoDb {
    /// The records in `table`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Reads up to a hundred records; refused whole, the ids are split in halves down to single ones.
    fn get<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        async move {
            match self.items(ids).await {
                Ok(items) => ids.iter().map(|id| items.get(id).cloned().map(record).transpose()).collect(),
                Err(StoreError::Invalid(_)) if ids.len() > 1 => {
                    let (left, right) = ids.split_at(ids.len() / 2);
                    [self.get(left).await, self.get(right).await].into_iter().flatten().collect()
                }
                Err(error) => all(ids.len(), &error),
            }
        }
        .boxed()
    }

    /// One `BatchGetItem`, and again for what it left out.
    async fn items(&self, ids: &[String]) -> Result<HashMap<String, Item>, StoreError> {
        let mut items = HashMap::new();
        let mut missing = ids.to_vec();
        missing.sort_unstable();
        missing.dedup();
        while !missing.is_empty() {
            let (found, rest) = self.get_once(&missing).await?;
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
        let answer = self.client.batch_get_item().request_items(&self.table, keys).send().await.map_err(failed)?;
        let found = answer.responses.into_iter().filter_map(|mut tables| tables.remove(&self.table)).flatten();
        let found = found.filter_map(|item| Some((id_of(&item)?, item))).collect();
        let rest = answer.unprocessed_keys.into_iter().flat_map(HashMap::into_values).flat_map(|keys| keys.keys().to_vec());
        Ok((found, rest.filter_map(|key| id_of(&key)).collect()))
    }

    /// One `BatchExecuteStatement`; refused whole, it is split in halves down to single writes.
    fn execute<'a>(&'a self, statements: &'a [BatchStatementRequest]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        async move {
            let request = self.client.batch_execute_statement().set_statements(Some(statements.to_vec()));
            match request.send().await.map_err(failed) {
                Ok(answer) => {
                    let answers = answer.responses.unwrap_or_default().into_iter().map(written);
                    answers.chain(repeat_with(|| Err(short()))).take(statements.len()).collect()
                }
                Err(StoreError::Invalid(_)) if statements.len() > 1 => {
                    let (left, right) = statements.split_at(statements.len() / 2);
                    [self.execute(left).await, self.execute(right).await].into_iter().flatten().collect()
                }
                Err(error) => all(statements.len(), &error),
            }
        }
        .boxed()
    }

    async fn write_all(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        let statements: Vec<_> = writes.iter().map(|write| self.statement(write)).collect();
        let fitting: Vec<_> = statements.iter().filter_map(|s| s.as_ref().ok().cloned()).collect();
        let answers = join_all(by_bytes(&fitting).into_iter().map(|chunk| self.execute(chunk))).await;
        let mut answers = answers.into_iter().flatten();
        statements.into_iter().map(|statement| statement.and_then(|_| answers.next().unwrap_or_else(|| Err(short())))).collect()
    }

    fn statement(&self, write: &Write) -> Result<BatchStatementRequest, StoreError> {
        let item = item(&write.next)?;
        let (text, parameters) = match &write.seen {
            None => insert(&self.table, item),
            Some(seen) => update(&self.table, item, seen),
        };
        BatchStatementRequest::builder()
            .statement(text)
            .set_parameters(Some(parameters))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| StoreError::Invalid(error.to_string()))
    }
}

impl Store for DynamoDb {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        async move { join_all(ids.chunks(KEYS).map(|ids| self.get(ids))).await.into_iter().flatten().collect() }.boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        self.write_all(writes).boxed()
    }
}

/// The item of a record, if DynamoDB can hold it.
pub(super) fn item(record: &Record) -> Result<Item, StoreError> {
    let item: Item = serde_dynamo::to_item(record).map_err(|error| StoreError::Invalid(error.to_string()))?;
    let bytes: usize = item.iter().map(|(name, value)| name.len() + size(value)).sum();
    // A record that was claimed must have room left for how it ends.
    let most = if record.state == State::Running { ITEM_BYTES - ENDING_BYTES } else { ITEM_BYTES };
    if bytes > most {
        return Err(StoreError::Invalid(format!("it has {bytes} bytes; the record of a job holds {most}")));
    }
    item.iter().try_for_each(|(name, value)| check(name, value, DEPTH))?;
    Ok(item)
}

/// DynamoDB has no numbers beyond these, and nests no deeper.
fn check(name: &str, value: &AttributeValue, depth: usize) -> Result<(), StoreError> {
    let invalid = |reason: String| Err(StoreError::Invalid(format!("in {name}, {reason}")));
    match value {
        AttributeValue::L(_) | AttributeValue::M(_) if depth == 0 => invalid(format!("values nest deeper than {DEPTH} levels")),
        AttributeValue::L(list) => list.iter().try_for_each(|value| check(name, value, depth - 1)),
        AttributeValue::M(map) => map.values().try_for_each(|value| check(name, value, depth - 1)),
        AttributeValue::N(number) if !is_in_range(number) => invalid(format!("the number {number} is out of DynamoDB's range")),
        _ => Ok(()),
    }
}

fn is_in_range(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(|number| number == 0.0 || (1e-130..1e126).contains(&number.abs()))
}

/// Every attribute of a record but its key, in the order of statements.
const ATTRIBUTES: [&str; 28] = [
    "name",
    "queue",
    "state",
    "attempts",
    "max_attempts",
    "generation",
    "owner",
    "lease_until",
    "enqueued_at",
    "run_at",
    "started_at",
    "finished_at",
    "result",
    "error",
    "history",
    "snoozes",
    "runs",
    "tags",
    "meta",
    "parent_id",
    "root_id",
    "progress",
    "checkpoint",
    "dlq",
    "cancel_requested",
    "envelope",
    "due",
    "purge_at",
];

fn insert(table: &str, mut item: Item) -> (String, Vec<AttributeValue>) {
    let mut text = format!(r#"INSERT INTO "{table}" VALUE {{'id': ?"#);
    let mut parameters: Vec<_> = item.remove("id").into_iter().collect();
    for name in ATTRIBUTES {
        if let Some(value) = item.remove(name) {
            write!(text, ", '{name}': ?").ok();
            parameters.push(value);
        }
    }
    (text + "}", parameters)
}

fn update(table: &str, mut item: Item, seen: &Version) -> (String, Vec<AttributeValue>) {
    let mut text = format!(r#"UPDATE "{table}""#);
    let mut parameters = Vec::new();
    for name in ATTRIBUTES {
        match item.remove(name) {
            Some(value) => {
                write!(text, r#" SET "{name}"=?"#).ok();
                parameters.push(value);
            }
            None => write!(text, r#" REMOVE "{name}""#).unwrap_or_default(),
        }
    }
    text += r#" WHERE "id"=?"#;
    parameters.extend(item.remove("id"));
    for (name, value) in condition(seen) {
        match value {
            Some(value) => {
                write!(text, r#" AND "{name}"=?"#).ok();
                parameters.push(value);
            }
            None => write!(text, r#" AND "{name}" IS MISSING"#).unwrap_or_default(),
        }
    }
    (text, parameters)
}

/// What the stored item must show; an attribute without a value must be absent.
fn condition(seen: &Version) -> [(&'static str, Option<AttributeValue>); 6] {
    let text = |text: &str| AttributeValue::S(text.into());
    let dlq = |dlq| text(if dlq == Dlq::Pending { "pending" } else { "sent" });
    [
        ("state", Some(text(seen.state.as_str()))),
        ("owner", seen.owner.as_deref().map(text)),
        ("generation", (seen.generation > 0).then(|| AttributeValue::N(seen.generation.to_string()))),
        ("lease_until", seen.lease_until.map(|until| AttributeValue::N(until.to_string()))),
        ("dlq", seen.dlq.map(dlq)),
        ("cancel_requested", seen.cancel_requested.then_some(AttributeValue::Bool(true))),
    ]
}

/// Splits statements so that no request has too many or too large ones.
fn by_bytes(statements: &[BatchStatementRequest]) -> Vec<&[BatchStatementRequest]> {
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, statement) in statements.iter().enumerate() {
        let more = statement.statement.len() + statement.parameters.iter().flatten().map(size).sum::<usize>();
        if index > start && (index - start == STATEMENTS || bytes + more > REQUEST_BYTES) {
            chunks.push(&statements[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += more;
    }
    if start < statements.len() {
        chunks.push(&statements[start..]);
    }
    chunks
}

/// The size of a value as DynamoDB counts it, or a little more.
fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len() + 1,
        AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + size(value)).sum::<usize>(),
        AttributeValue::M(map) => 3 + map.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>(),
        _ => 1,
    }
}

fn written(answer: BatchStatementResponse) -> Result<Written, StoreError> {
    let Some(error) = answer.error else { return Ok(Written::Done) };
    let text = error.message.unwrap_or_else(|| format!("{:?}", error.code));
    match error.code {
        Some(Code::ConditionalCheckFailed | Code::DuplicateItem) => {
            let stored = error.item.filter(|item| !item.is_empty());
            Ok(Written::Refused(stored.map(record).transpose()?.map(Box::new)))
        }
        Some(Code::ProvisionedThroughputExceeded | Code::RequestLimitExceeded | Code::ThrottlingError | Code::TransactionConflict) => {
            Err(StoreError::Busy(text))
        }
        Some(Code::ValidationError | Code::ItemCollectionSizeLimitExceeded) => Err(StoreError::Invalid(text)),
        Some(Code::InternalServerError) | None => Err(StoreError::Unknown(text.into())),
        Some(_) => Err(StoreError::Unavailable(text)),
    }
}

/// Tells a request that was not made from one that may have been.
fn failed<E, R>(error: SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default().to_owned();
    match code {
        "ProvisionedThroughputExceededException" | "RequestLimitExceeded" | "ThrottlingException" => busy(&message),
        "ValidationException" => StoreError::Invalid(message),
        "ResourceNotFoundException" | "AccessDeniedException" | "UnrecognizedClientException" => {
            StoreError::Unavailable(format!("{code}: {message}"))
        }
        _ => match error {
            SdkError::ConstructionFailure(_) => StoreError::Unavailable(Chain(&error).to_string()),
            error => StoreError::Unknown(error.into()),
        },
    }
}

fn short() -> StoreError {
    StoreError::Unknown("the answer has fewer parts than the request".into())
}

fn busy(reason: &str) -> StoreError {
    StoreError::Busy(reason.into())
}

/// The same error for each part of a request.
fn all<T>(parts: usize, error: &StoreError) -> Vec<Result<T, StoreError>> {
    let copy = || match error {
        StoreError::Busy(reason) => StoreError::Busy(reason.clone()),
        StoreError::Unknown(error) => StoreError::Unknown(error.to_string().into()),
        StoreError::Unavailable(reason) => StoreError::Unavailable(reason.clone()),
        StoreError::Invalid(reason) => StoreError::Invalid(reason.clone()),
        StoreError::Unreadable(reason) => StoreError::Unreadable(reason.clone()),
    };
    (0..parts).map(|_| Err(copy())).collect()
}

fn record(item: Item) -> Result<Record, StoreError> {
    serde_dynamo::from_item(item).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn id_of(item: &Item) -> Option<String> {
    item.get("id")?.as_s().ok().cloned()
}
