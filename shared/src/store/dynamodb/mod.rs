//! The table in DynamoDB.

mod error;
mod index;
mod item;
mod link;
mod list;
mod outbox;
mod read;
mod scan;
mod statement;
mod stats;
#[cfg(feature = "operator")]
mod tallies;
mod write;

use std::sync::Arc;

use aws_sdk_dynamodb::{
    Client,
    types::{BatchStatementResponse, TransactWriteItem},
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use jiff::Timestamp;

#[cfg(feature = "events")]
pub(crate) use self::item::record;
pub(crate) use self::{
    error::{failed, invalid},
    index::due_items,
    item::{Item, parse, text},
    scan::{SEGMENTS, segment_items},
    statement::version_condition,
};
#[cfg(feature = "operator")]
pub(crate) use self::{
    index::{DUE_INDEX, LIST_INDEX},
    list::listing_id,
};
use self::{
    item::id_of,
    read::KEYS,
    write::{Request, has_failed},
};
use super::{Index, Link, Linked, Listing, Store, StoreError, Write, Written};
use crate::{Clock, metrics::Requests, record::Record, stats::Counter};

/// Maximum number of concurrent requests of one call.
const AT_A_TIME: usize = 8;

/// Records in a DynamoDB table with the hash key `id`.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    client: Client,
    table: String,
    counted: Option<Counted>,
    requests: Option<Arc<Requests>>,
}

/// The statistics that are written along with records, and the clock for their time to live.
#[derive(Debug, Clone)]
struct Counted {
    counter: Arc<Counter>,
    clock: Clock,
}

impl DynamoDb {
    /// Creates a store for the records in `table`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), counted: None, requests: None }
    }

    /// Adds a counter, whose statistics are written along with records.
    #[cfg_attr(not(feature = "lambda"), expect(dead_code, reason = "only functions keep statistics"))]
    pub(crate) fn counting(self, counter: Arc<Counter>, clock: Clock) -> Self {
        Self { counted: Some(Counted { counter, clock }), ..self }
    }

    /// Adds the counter of requests, which gets the failed parts of successful answers.
    #[cfg_attr(not(feature = "lambda"), expect(dead_code, reason = "only functions write metrics"))]
    pub(crate) fn metered(self, requests: Option<Arc<Requests>>) -> Self {
        Self { requests, ..self }
    }

    fn count_failed(&self, answers: Option<&[BatchStatementResponse]>) {
        if let Some(requests) = &self.requests {
            requests.store_failed(answers.unwrap_or_default().iter().filter(|answer| has_failed(answer)).count());
        }
    }
}

impl Store for DynamoDb {
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>> {
        async move { join_all(ids.chunks(KEYS).map(|ids| self.get(ids))).await.into_iter().flatten().collect() }.boxed()
    }

    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>> {
        self.write_all(writes.iter(), self.counted.as_ref()).boxed()
    }

    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>> {
        self.link_all(links).boxed()
    }

    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        async move { Ok(self.list_items(list, true, limit).await?.iter().filter_map(id_of).collect()) }.boxed()
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        self.execute(Request::default(), self.counted.as_ref()).map(drop).boxed()
    }
}

impl Index for DynamoDb {
    fn transaction_parts(&self, record: &Record, listings: &[Listing]) -> Result<Vec<TransactWriteItem>, StoreError> {
        self.transaction_parts(record, listings)
    }

    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        async move {
            let query = self.client.query().table_name(&self.table).projection_expression("id");
            Ok(due_items(query, "run_at", shard, until, limit).await?.iter().filter_map(id_of).collect())
        }
        .boxed()
    }

    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>> {
        self.scan_unfinished(turn).boxed()
    }

    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        self.put_listings(listings).boxed()
    }

    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        async move { Ok(self.list_items(list, false, limit).await?.iter().filter_map(list::job_id).collect()) }.boxed()
    }
}
