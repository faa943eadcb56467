use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;

use super::{Changed, Found, Row, Rows};
use crate::{
    Record, Version,
    clock::rfc3339,
    names::shard_name,
    store::{self, Store, StoreError, Write, Written, record_bytes},
};

const TRANSACTION_BYTES: usize = 4 << 20;

/// Rows in memory, beside the records of jobs. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    rows: Arc<Mutex<BTreeMap<String, Row>>>,
    records: store::Memory,
}

impl Memory {
    /// Creates an empty set of rows; jobs are written into `records`.
    pub(crate) fn new(records: store::Memory) -> Self {
        Self { rows: Arc::default(), records }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a transaction of more than 4 MB, as DynamoDB does.
    fn check(jobs: &[Write]) -> Result<(), StoreError> {
        let bytes: usize = jobs.iter().map(|job| record_bytes(&job.next)).sum();
        if bytes > TRANSACTION_BYTES {
            return Err(StoreError::Invalid(format!("a transaction of {bytes} bytes is too large")));
        }
        Ok(())
    }

    async fn write(&self, jobs: &[Write]) -> Result<(), StoreError> {
        for answer in self.records.write(jobs).await {
            debug_assert_eq!(answer?, Written::Done, "looked at before");
        }
        Ok(())
    }
}

/// Returns the values of a record that a replacement of the whole item compares.
fn version(record: &Record) -> (Version<'_>, &BTreeSet<String>) {
    (record.version(), &record.dependents)
}

impl Rows for Memory {
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        let (shard, until) = (shard_name(shard), rfc3339::text(until));
        let is_due = |row: &&Row| row.due.as_deref() == Some(&*shard) && row.next_fire.as_ref().is_some_and(|next| *next <= until);
        let mut due: Vec<_> = self.rows().values().filter(is_due).cloned().collect();
        due.sort_by(|a, b| a.next_fire.cmp(&b.next_fire));
        due.truncate(limit);
        async move { Ok(due.into_iter().map(Ok).collect()) }.boxed()
    }

    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, StoreError>> {
        let row = self.rows().get(id).cloned();
        async move { Ok(row.map(Ok)) }.boxed()
    }

    fn some(&self, _turn: u64) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.all()
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        let rows: Vec<_> = self.rows().values().cloned().map(Ok).collect();
        async move { Ok(rows) }.boxed()
    }

    fn change<'a>(
        &'a self,
        id: &'a str,
        seen: Option<&'a Row>,
        next: Option<&'a Row>,
        jobs: &'a [Write],
    ) -> BoxFuture<'a, Result<Changed, StoreError>> {
        async move {
            Self::check(jobs)?;
            let is_as_seen = |job: &&Write| self.records.get(&job.next.id).as_ref().map(version) == job.seen.as_deref().map(version);
            let known: Vec<_> = jobs.iter().filter(|job| !is_as_seen(job)).map(|job| job.next.id.clone()).collect();
            {
                let mut rows = self.rows();
                if rows.get(id).map(Row::version) != seen.map(Row::version) {
                    return Ok(Changed::Refused);
                }
                if !known.is_empty() {
                    return Ok(Changed::Known(known));
                }
                match next {
                    Some(next) => rows.insert(id.to_owned(), next.clone()),
                    None => rows.remove(id),
                };
            }
            self.write(jobs).await.map(|()| Changed::Done)
        }
        .boxed()
    }

    fn overwrite<'a>(&'a self, next: &'a Row) -> BoxFuture<'a, Result<(), StoreError>> {
        self.rows().insert(next.entry.id().to_owned(), next.clone());
        async { Ok(()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_at_most_four_megabytes() {
        let record = |text: usize| Record { progress: Some("x".repeat(text).into()), ..Record::default() };
        let most = TRANSACTION_BYTES - record_bytes(&record(0));
        let check = |text| Memory::check(&[Write::insert(record(text))]);
        assert!(check(most).is_ok());
        assert!(matches!(check(most + 1), Err(StoreError::Invalid(_))));
    }
}
