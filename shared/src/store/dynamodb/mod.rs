//! The table in DynamoDB: `BatchGetItem` for reads, PartiQL's `BatchExecuteStatement` for conditional writes, which
//! succeed or fail one by one.

mod stats;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    iter::repeat_with,
    sync::Arc,
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, ProvideErrorMetadata, SdkError},
    operation::{query::builders::QueryFluentBuilder, scan::builders::ScanFluentBuilder},
    types::{
        AttributeValue, BatchStatementErrorCodeEnum as Code, BatchStatementRequest, BatchStatementResponse, KeysAndAttributes, PutRequest,
        ReturnValuesOnConditionCheckFailure, WriteRequest,
    },
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Index, Listing, Store, StoreError, Write, Written, limit};
use crate::{
    Backoff, Clock,
    chain::Chain,
    clock::rfc3339,
    envelope::told,
    names::shard_name,
    record::{Dlq, Record, Version},
    retry::jitter,
    stats::{Counter, Kept, Share},
};

pub(crate) type Item = HashMap<String, AttributeValue>;

/// Statements in one `BatchExecuteStatement`.
const STATEMENTS: usize = 25;
/// Keys in one `BatchGetItem`.
const KEYS: usize = 100;
/// Requests of one call that are under way at the same time.
const AT_A_TIME: usize = 8;
/// Bytes of items in one request, well under what a request may have.
const REQUEST_BYTES: usize = 1 << 20;

/// The fewest parts in which a table is scanned, one a minute, and the most that DynamoDB takes.
pub(crate) const SEGMENTS: i32 = 60;
const MOST_SEGMENTS: i32 = 1_000_000;
/// How much of a large table one part is.
const PART_BYTES: i64 = 16 << 20;
/// The most pages, of a megabyte, that are read of one part.
const MOST_PAGES: usize = 32;

/// The index of what is due: hash key `due`, range key `run_at`, keys only.
pub(crate) const DUE_INDEX: &str = "due";

/// The index of what failed, and of what is listed on demand: hash key `listed`, range key `listed_at`, keys only.
pub(crate) const LIST_INDEX: &str = "listed";
/// What separates the list from the job's id in the id of an item that lists a job: no id of a job has it.
const SEPARATOR: char = '\u{1f}';
/// Items in one `BatchWriteItem`, and how often what it left out is written again.
const PUTS: usize = 25;
const TRIES: u32 = 5;
const BACKOFF: Backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1));

/// Records in a DynamoDB table with the hash key `id`.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    client: Client,
    table: String,
    counted: Option<Counted>,
}

/// What is counted, and when it is.
#[derive(Debug, Clone)]
struct Counted {
    counter: Arc<Counter>,
    clock: Clock,
}

impl DynamoDb {
    /// The records in `table`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), counted: None }
    }

    /// Writes what is counted along with other writes.
    #[cfg_attr(not(feature = "lambda"), expect(dead_code, reason = "only functions count"))]
    pub(crate) fn counting(self, counter: Arc<Counter>, clock: Clock) -> Self {
        Self { counted: Some(Counted { counter, clock }), ..self }
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
        let mut missing: Vec<_> = ids.iter().cloned().collect::<HashSet<_>>().into_iter().collect();
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
        let answer =
            self.client.batch_get_item().request_items(&self.table, keys).send().await.map_err(|error| failed(&self.table, error))?;
        let found = answer.responses.into_iter().filter_map(|mut tables| tables.remove(&self.table)).flatten();
        let found = found.filter_map(|item| Some((id_of(&item)?, item))).collect();
        let rest = answer.unprocessed_keys.into_iter().flat_map(HashMap::into_values).flat_map(|keys| keys.keys().to_vec());
        Ok((found, rest.filter_map(|key| id_of(&key)).collect()))
    }

    /// Makes writes, in as many requests as their sizes ask for.
    async fn write_all(&self, writes: &[Write], counted: Option<&Counted>) -> Vec<Result<Written, StoreError>> {
        let mut answers: Vec<_> = writes.iter().map(|_| Err(short())).collect();
        let mut parts = Vec::new();
        for (place, write) in writes.iter().enumerate() {
            match self.part(place, write) {
                Ok(part) => parts.push(part),
                Err(refusal) => answers[place] = Err(refusal),
            }
        }
        let mut chunks = by_bytes(parts).into_iter().map(async |chunk| {
            let (places, statements): (Vec<_>, Vec<_>) = chunk.into_iter().map(|part| (part.place, part.statement)).unzip();
            let written = self.execute(places.iter().map(|place| writes[*place].clone()).collect(), statements, counted).await;
            places.into_iter().zip(written)
        });
        while chunks.len() > 0 {
            for (place, answer) in join_all(chunks.by_ref().take(AT_A_TIME)).await.into_iter().flatten() {
                answers[place] = answer;
            }
        }
        answers
    }

    /// One `BatchExecuteStatement`, with what is counted where there is room. Refused whole, it is split in halves down to
    /// single writes.
    fn execute<'a>(
        &'a self,
        writes: Vec<Write>,
        mut statements: Vec<BatchStatementRequest>,
        stats: Option<&'a Counted>,
    ) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        async move {
            let (share, statement) = stats.filter(|_| statements.len() < STATEMENTS).and_then(|stats| self.share(stats)).unzip();
            statements.extend(statement);
            if statements.is_empty() {
                return Vec::new();
            }
            let answer = self
                .client
                .batch_execute_statement()
                .set_statements(Some(statements))
                .send()
                .await
                .map_err(|error| failed(&self.table, error));
            if let Some((counter, share)) = &share {
                let answers = answer.as_ref().ok().and_then(|answer| answer.responses.as_ref());
                counter.kept(share, stats::kept(answers.and_then(|answers| answers.get(writes.len()))));
            }
            match (answer, share) {
                (Ok(answer), _) => {
                    let answers = answer.responses.unwrap_or_default().into_iter().map(|answer| written(&self.table, answer));
                    answers.chain(repeat_with(|| Err(short()))).take(writes.len()).collect()
                }
                (Err(StoreError::Invalid(_)), Some((counter, share))) => {
                    let answers = self.write_all(&writes, None).await;
                    if answers.is_empty() || answers.iter().any(Result::is_ok) {
                        counter.kept(&share, Kept::Invalid);
                    }
                    answers
                }
                (Err(StoreError::Invalid(_)), None) if writes.len() > 1 => {
                    let (left, right) = writes.split_at(writes.len() / 2);
                    [self.write_all(left, None).await, self.write_all(right, None).await].into_iter().flatten().collect()
                }
                (Err(error), _) => all(writes.len(), &error),
            }
        }
        .boxed()
    }

    /// What is to be written of what is counted, if anything.
    fn share<'a>(&self, Counted { counter, clock }: &'a Counted) -> Option<((&'a Counter, Share), BatchStatementRequest)> {
        let share = counter.next(Instant::now())?;
        let statement = stats::statement(&self.table, &share, clock.now()).ok()?;
        Some(((counter, share), statement))
    }

    /// Puts listings with one `BatchWriteItem`, and again those that it left out or that were throttled; refused whole, they are
    /// split in halves down to single ones. Returns the errors by the ids of the items.
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
            items.into_keys().map(|id| (id, copy(&flaw))).collect()
        }
        .boxed()
    }

    /// One `BatchWriteItem`; the ids of those that it left out.
    async fn put_once(&self, items: &BTreeMap<String, &Listing>) -> Result<HashSet<String>, StoreError> {
        let puts = items.iter().map(|(id, listing)| PutRequest::builder().set_item(Some(listing_item(id, listing))).build());
        let puts = puts.map(|put| Ok(WriteRequest::builder().put_request(put?).build())).collect::<Result<Vec<_>, BuildError>>();
        let puts = puts.map_err(|error| StoreError::Invalid(error.to_string()))?;
        let request = self.client.batch_write_item().request_items(&self.table, puts);
        let answer = request.send().await.map_err(|error| failed(&self.table, error))?;
        let left = answer.unprocessed_items.into_iter().flat_map(HashMap::into_values).flatten();
        Ok(left.filter_map(|write| id_of(&write.put_request?.item)).collect())
    }

    /// The keys of what is in a list, the latest first.
    async fn list_items(&self, list: &str, limit: usize) -> Result<Vec<Item>, StoreError> {
        let query = self.client.query().table_name(&self.table).projection_expression("id").index_name(LIST_INDEX);
        let query = query.key_condition_expression("listed = :list").expression_attribute_values(":list", text(list));
        pages(query.scan_index_forward(false), limit).await
    }

    fn part(&self, place: usize, write: &Write) -> Result<Part, StoreError> {
        let bytes = limit::check(&write.next)?;
        let Statement { text, parameters } = match &write.seen {
            None => insert(&self.table, &write.next)?,
            Some(seen) => update(&self.table, seen, &write.next)?,
        };
        let bytes = bytes + text.len();
        let statement = BatchStatementRequest::builder()
            .statement(text)
            .set_parameters(Some(parameters))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| StoreError::Invalid(error.to_string()))?;
        Ok(Part { place, bytes, statement })
    }
}

impl Store for DynamoDb {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        async move { join_all(ids.chunks(KEYS).map(|ids| self.get(ids))).await.into_iter().flatten().collect() }.boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        self.write_all(writes, self.counted.as_ref()).boxed()
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        self.execute(Vec::new(), Vec::new(), self.counted.as_ref()).map(drop).boxed()
    }
}

impl Index for DynamoDb {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        async move {
            let query = self.client.query().table_name(&self.table).projection_expression("id");
            Ok(due_items(query, "run_at", shard, until, limit).await?.iter().filter_map(id_of).collect())
        }
        .boxed()
    }

    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        async move {
            let described =
                self.client.describe_table().table_name(&self.table).send().await.map_err(|error| failed(&self.table, error))?;
            let bytes = described.table.and_then(|table| table.table_size_bytes).unwrap_or(0);
            let scan = self.client.scan().table_name(&self.table);
            // Only records of jobs that have ended are to be purged.
            let scan = scan.filter_expression("attribute_not_exists(purge_at) OR dlq = :pending");
            let scan = scan.expression_attribute_values(":pending", text(Dlq::Pending.as_str()));
            Ok(segment_items(scan, turn, segments(bytes)).await?.into_iter().map(record).collect())
        }
        .boxed()
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        async move {
            // A request that has one key twice is refused whole: `BatchWriteItem` in the DynamoDB API reference.
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
            listings.iter().map(|listing| flaws.get(&listing_id(listing)).map_or(Ok(()), |flaw| Err(copy(flaw)))).collect()
        }
        .boxed()
    }

    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        async move {
            let items = self.list_items(list, limit).await?;
            let ids = items.iter().filter_map(id_of);
            Ok(ids.map(|id| id.rsplit_once(SEPARATOR).map(|(_, id)| id.to_owned()).unwrap_or(id)).collect())
        }
        .boxed()
    }
}

/// The id of the item that lists a job.
pub(crate) fn listing_id(Listing { list, id, .. }: &Listing) -> String {
    format!("{list}{SEPARATOR}{id}")
}

fn listing_item(id: &str, Listing { list, at, purge_at, .. }: &Listing) -> Item {
    Item::from([
        ("id".into(), text(id)),
        ("listed".into(), text(list)),
        ("listed_at".into(), text(&rfc3339::text(*at))),
        ("purge_at".into(), AttributeValue::N(purge_at.to_string())),
    ])
}

/// What a table's due index holds in one shard until that instant of the attribute `time`, the longest overdue first.
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

/// The first items that a query finds, at most `limit`.
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

/// Into how many parts a table of that size is scanned: a part is 16 MB, which is 2,048 read units.
fn segments(bytes: i64) -> i32 {
    i32::try_from(bytes / PART_BYTES).unwrap_or(MOST_SEGMENTS).clamp(SEGMENTS, MOST_SEGMENTS)
}

/// The part of a table whose turn it is.
pub(crate) async fn segment_items(scan: ScanFluentBuilder, turn: u64, segments: i32) -> Result<Vec<Item>, StoreError> {
    let segment = i32::try_from(turn % u64::from(segments.unsigned_abs())).unwrap_or(0);
    let table = scan.get_table_name().clone().unwrap_or_default();
    let scan = scan.segment(segment).total_segments(segments);
    let mut items = Vec::new();
    let mut from = None;
    for _ in 0..MOST_PAGES {
        let answer = scan.clone().set_exclusive_start_key(from).send().await.map_err(|error| failed(&table, error))?;
        items.extend(answer.items.unwrap_or_default());
        from = answer.last_evaluated_key;
        if from.is_none() {
            return Ok(items);
        }
    }
    tracing::warn!(
        segment,
        segments,
        "a part of the table is too large to be looked through; it is told anew within hours how large it is"
    );
    Ok(items)
}

/// One attribute of the records: its name, how it is written, and whether two records have it alike.
struct Attribute {
    name: &'static str,
    value: fn(&Record) -> Result<Option<AttributeValue>, StoreError>,
    is_same: fn(&Record, &Record) -> bool,
}

/// Names the fields of a record, and what is written of each, if anything.
macro_rules! attributes {
    ($record:ident => $($field:ident: $value:expr),* $(,)?) => {
        /// Every attribute but the key, in the order of statements.
        const ATTRIBUTES: &[Attribute] = &[$(Attribute {
            name: stringify!($field),
            value: |$record| $value.map(written_value).transpose(),
            is_same: |a, b| a.$field == b.$field,
        }),*];
    };
}

attributes! { record =>
    name: Some(&record.name),
    queue: Some(&record.queue),
    state: Some(record.state),
    attempts: Some(record.attempts),
    max_attempts: Some(record.max_attempts),
    generation: Some(record.generation).filter(|generation| *generation > 0),
    owner: record.owner.as_ref(),
    lease_until: record.lease_until,
    digest: record.digest,
    enqueued_at: record.enqueued_at.map(rfc3339::text),
    run_at: record.run_at.map(rfc3339::text),
    started_at: record.started_at.map(rfc3339::text),
    finished_at: record.finished_at.map(rfc3339::text),
    result: record.result.as_ref(),
    error: record.error.as_ref(),
    history: Some(&record.history).filter(|history| !history.is_empty()),
    snoozes: Some(record.snoozes).filter(|snoozes| *snoozes > 0),
    runs: Some(record.runs).filter(|runs| *runs > 0),
    tags: Some(&record.tags).filter(|tags| !tags.is_empty()),
    meta: Some(&record.meta).filter(|meta| !meta.is_empty()),
    parent_id: record.parent_id.as_ref(),
    root_id: record.root_id.as_ref(),
    progress: record.progress.as_ref(),
    checkpoint: record.checkpoint.as_ref(),
    dlq: record.dlq,
    cancel_requested: Some(record.cancel_requested).filter(|requested| *requested),
    envelope: record.envelope.as_ref(),
    message_group: record.message_group.as_ref(),
    message_attributes: Some(&record.message_attributes).filter(|attributes| !attributes.is_empty()),
    due: record.due.as_ref(),
    listed: record.listed.as_ref(),
    listed_at: record.listed_at.map(rfc3339::text),
    purge_at: record.purge_at,
}

fn written_value(value: impl Serialize) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(|error| StoreError::Invalid(error.to_string()))
}

pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A statement and what it holds.
struct Statement {
    text: String,
    parameters: Vec<AttributeValue>,
}

impl Statement {
    fn new(text: String) -> Self {
        // Enough for almost all, for growing is what costs.
        let mut statement = Self { text, parameters: Vec::with_capacity(24) };
        statement.text.reserve(512);
        statement
    }

    fn add(&mut self, texts: [&str; 3], value: Option<AttributeValue>) {
        self.text.extend(texts);
        self.parameters.extend(value);
    }
}

fn insert(table: &str, next: &Record) -> Result<Statement, StoreError> {
    let mut statement = Statement::new(format!(r#"INSERT INTO "{table}" VALUE {{"#));
    statement.add(["'", "id", "': ?"], Some(text(&next.id)));
    for attribute in ATTRIBUTES {
        if let Some(value) = (attribute.value)(next)? {
            statement.add([", '", attribute.name, "': ?"], Some(value));
        }
    }
    statement.text += "}";
    Ok(statement)
}

/// What differs is written, on the condition that the stored record has the version of the one that was seen. The state is
/// written in any case, for a statement must write something.
fn update(table: &str, seen: &Record, next: &Record) -> Result<Statement, StoreError> {
    let mut statement = Statement::new(format!(r#"UPDATE "{table}""#));
    for attribute in ATTRIBUTES.iter().filter(|attribute| !(attribute.is_same)(seen, next) || attribute.name == "state") {
        match (attribute.value)(next)? {
            Some(value) => statement.add([r#" SET ""#, attribute.name, r#""=?"#], Some(value)),
            None => statement.add([r#" REMOVE ""#, attribute.name, r#"""#], None),
        }
    }
    statement.add([r#" WHERE ""#, "id", r#""=?"#], Some(text(&next.id)));
    for (name, value) in version_condition(&seen.version()) {
        let test = if value.is_some() { r#""=?"# } else { r#"" IS MISSING"# };
        statement.add([r#" AND ""#, name, test], value);
    }
    Ok(statement)
}

/// What the stored item must show; an attribute without a value must be absent.
pub(crate) fn version_condition(seen: &Version<'_>) -> [(&'static str, Option<AttributeValue>); 6] {
    let number = |number: i128| AttributeValue::N(number.to_string());
    [
        ("state", Some(text(seen.state.as_str()))),
        ("owner", seen.owner.map(text)),
        ("generation", (seen.generation > 0).then(|| number(seen.generation.into()))),
        ("lease_until", seen.lease_until.map(|until| number(until.into()))),
        ("dlq", seen.dlq.map(|dlq| text(dlq.as_str()))),
        ("cancel_requested", seen.cancel_requested.then_some(AttributeValue::Bool(true))),
    ]
}

/// A statement, how large it is at most, and the place of its write.
struct Part {
    place: usize,
    bytes: usize,
    statement: BatchStatementRequest,
}

/// Splits statements so that no request has too many or too large ones.
fn by_bytes(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut chunks: Vec<Vec<_>> = Vec::new();
    let mut bytes = 0;
    for part in parts {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < STATEMENTS && bytes + part.bytes <= REQUEST_BYTES => {
                bytes += part.bytes;
                chunk.push(part);
            }
            _ => {
                bytes = part.bytes;
                chunks.push(vec![part]);
            }
        }
    }
    chunks
}

fn written(table: &str, answer: BatchStatementResponse) -> Result<Written, StoreError> {
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
        Some(_) => Err(StoreError::Unavailable(format!("{table}: {text}"))),
    }
}

/// Tells a request to a table that was not made from one that may have been.
pub(crate) fn failed<E, R>(table: &str, error: SdkError<E, R>) -> StoreError
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
            StoreError::Unavailable(format!("{table}: {code}: {message}"))
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
    (0..parts).map(|_| Err(copy(error))).collect()
}

fn copy(error: &StoreError) -> StoreError {
    match error {
        StoreError::Busy(reason) => StoreError::Busy(reason.clone()),
        StoreError::Unknown(error) => StoreError::Unknown(Chain(&**error).to_string().into()),
        StoreError::Unavailable(reason) => StoreError::Unavailable(reason.clone()),
        StoreError::Invalid(reason) => StoreError::Invalid(reason.clone()),
        StoreError::Unreadable { id, flaw } => StoreError::Unreadable { id: id.clone(), flaw: flaw.clone() },
    }
}

fn record(item: Item) -> Result<Record, StoreError> {
    let id = id_of(&item).unwrap_or_default();
    if let Some(name) = spelled_out(&item) {
        return Err(StoreError::Unreadable { id, flaw: format!("{name}: it says what its absence says; remove it") });
    }
    let item = serde_dynamo::AttributeValue::M(serde_dynamo::Item::from(item).into());
    let read = serde_path_to_error::deserialize(serde_dynamo::Deserializer::from_attribute_value(item));
    read.map_err(|error| StoreError::Unreadable { id, flaw: flaw(&error) })
}

/// An attribute that writes are conditional on, and that is there where it should be absent: a condition asks whether it
/// is missing, so that no write would ever be made.
fn spelled_out(item: &Item) -> Option<&'static str> {
    let says_nothing = |name: &str| match item.get(name) {
        Some(AttributeValue::Null(_)) => true,
        Some(AttributeValue::N(number)) => name == "generation" && number == "0",
        Some(AttributeValue::Bool(is_set)) => name == "cancel_requested" && !is_set,
        _ => false,
    };
    ["owner", "generation", "lease_until", "dlq", "cancel_requested"].into_iter().find(|name| says_nothing(name))
}

/// Where an item is no record, and how; without any text of it, which may be a result.
fn flaw(error: &serde_path_to_error::Error<serde_dynamo::Error>) -> String {
    let words = error.inner().to_string();
    // The sentences of `serde_dynamo`, which quote no more than a number.
    let is_harmless = words.starts_with("Expected ") || words.starts_with("Failed to parse '");
    let words = if is_harmless { words.to_lowercase() } else { told(&words).unwrap_or_else(|| "it is of another form".into()) };
    match error.path().to_string().as_str() {
        "." => words,
        path => format!("{path}: {words}"),
    }
}

fn id_of(item: &Item) -> Option<String> {
    item.get("id")?.as_s().ok().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dlq, Failure, Past, State};

    fn full() -> Record {
        let (at, text) = (Some(crate::clock::from_millis(1)), || Some("x".to_owned()));
        let failure = Failure { kind: "error".into(), message: "it broke".into(), at };
        Record {
            id: "a".into(),
            generation: 1,
            owner: text(),
            lease_until: Some(1),
            digest: Some(crate::Envelope::new("adder", 1.into()).digest()),
            enqueued_at: at,
            run_at: at,
            started_at: at,
            finished_at: at,
            result: Some(1.into()),
            error: Some(failure),
            history: vec![Past { kind: "error".into(), message: "it broke".into(), at, ..Past::default() }],
            snoozes: 1,
            runs: 1,
            tags: vec!["x".into()],
            meta: [("x".to_owned(), 1.into())].into_iter().collect(),
            parent_id: text(),
            root_id: text(),
            progress: Some(1.into()),
            checkpoint: Some(1.into()),
            dlq: Some(Dlq::Pending),
            cancel_requested: true,
            envelope: text(),
            message_group: text(),
            message_attributes: [("x".to_owned(), "y".to_owned())].into(),
            due: text(),
            listed: text(),
            listed_at: at,
            purge_at: Some(1),
            ..Record::default()
        }
    }

    #[test]
    fn an_item_has_what_serde_makes_of_the_record() {
        for record in [full(), Record { id: "a".into(), ..Record::default() }] {
            let mut expected: Item = serde_dynamo::to_item(&record).expect("an item");
            assert_eq!(expected.remove("id"), Some(text("a")));
            let values = ATTRIBUTES.iter().map(|attribute| (attribute.name, (attribute.value)(&record).expect("a value")));
            let written: Item = values.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
            assert_eq!(written, expected);
        }
    }

    fn refusal(name: &str, value: AttributeValue) -> String {
        let mut item: Item = serde_dynamo::to_item(full()).expect("an item");
        item.insert(name.into(), value);
        record(item).expect_err("it is no record").to_string()
    }

    #[test]
    fn an_unreadable_item_is_reported_with_its_id_and_without_its_text() {
        let number = |number: &str| AttributeValue::N(number.into());
        let secret = || text("s3cr3t");
        let words = [
            ("state", secret(), "state: unknown variant, expected one of `scheduled`"),
            ("attempts", secret(), "attempts: expected num"),
            ("attempts", number("-1"), "attempts: failed to parse '-1' as an integer"),
            ("lease_until", AttributeValue::L(vec![secret()]), "lease_until: expected num"),
            ("history", AttributeValue::L(vec![secret()]), "history[0]: "),
            ("run_at", secret(), "run_at: it is of another form"),
            ("meta", secret(), "meta: "),
            ("error", AttributeValue::M(HashMap::new()), "error: missing field `kind`"),
        ];
        for (name, value, words) in words {
            let refusal = refusal(name, value);
            assert!(refusal.starts_with(&format!("the record of a cannot be read: {words}")), "{refusal}");
            assert!(!refusal.contains("s3cr3t"), "{refusal}");
        }
    }

    #[test]
    fn an_item_that_spells_out_what_should_be_absent_is_no_record() {
        let nothing = || AttributeValue::Null(true);
        let idle = [
            ("owner", nothing()),
            ("lease_until", nothing()),
            ("dlq", nothing()),
            ("generation", nothing()),
            ("generation", AttributeValue::N("0".into())),
            ("cancel_requested", AttributeValue::Bool(false)),
        ];
        for (name, value) in idle {
            assert!(refusal(name, value).contains(&format!("{name}: it says what its absence says")), "{name}");
        }
        let unfenced = [("run_at", nothing()), ("attempts", AttributeValue::N("0".into()))];
        let item: Item = serde_dynamo::to_item(full()).expect("an item");
        assert!(record(item.into_iter().chain(unfenced.map(|(name, value)| (name.to_owned(), value))).collect()).is_ok());
    }

    #[test]
    fn an_update_writes_what_differs() {
        let seen = Record { id: "a".into(), state: State::Running, lease_until: Some(5), ..Record::default() };
        let next = Record { state: State::Succeeded, lease_until: None, result: Some(6.into()), ..seen.clone() };
        let Statement { text: statement, parameters } = update("jobs", &seen, &next).expect("a statement");
        let expected = concat!(
            r#"UPDATE "jobs" SET "state"=? REMOVE "lease_until" SET "result"=? WHERE "id"=? AND "state"=? AND "owner" IS MISSING"#,
            r#" AND "generation" IS MISSING AND "lease_until"=? AND "dlq" IS MISSING AND "cancel_requested" IS MISSING"#
        );
        assert_eq!(statement, expected);
        let number = |number: &str| AttributeValue::N(number.into());
        assert_eq!(parameters, [text("succeeded"), number("6"), text("a"), text("running"), number("5")]);
    }
}
