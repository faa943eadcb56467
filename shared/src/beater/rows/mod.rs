//! Where schedules are kept: the port and its two adapters.

mod dynamodb;
#[cfg(any(test, feature = "simulation"))]
mod memory;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use self::dynamodb::DynamoDb;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use self::memory::Memory;
use super::entry::Entry;
use crate::{
    clock::rfc3339,
    names::{SHARDS, shard, shard_name},
    schedule::tzdata_version,
    store::{StoreError, Write},
};

/// An entry, and how far it has fired.
#[expect(clippy::struct_excessive_bools, reason = "the fields of the stored item")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) entry: Entry,
    /// Fires nothing until it is resumed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) paused: bool,
    /// Is to go, once what was sent ahead is called off.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) deleted: bool,
    /// Comes from the code of a beater, and goes with it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) from_code: bool,
    /// Is no longer as the code of the beater has it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) overridden: bool,
    /// From when on intervals count.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<Timestamp>,
    /// The shard of the index that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<String>,
    /// The next fire, as it is stored. Whoever changes a row by hand sets it to `0`: the next tick then looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_fire: Option<String>,
    /// The fires that were made before their time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ahead: Vec<Timestamp>,
    /// A random token of the last change that was not a beater's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edit: Option<String>,
    /// The entry's fingerprint when it last fired, or was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<String>,
    /// The release of the time zones by which the next fire was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tzdata: Option<String>,
}

/// A row as it was found, or its id and why it cannot be read.
pub(crate) type Found = Result<Row, (String, String)>;

/// The answer to a conditional change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Made, with all jobs.
    Done,
    /// Not made: the row is not as it was seen.
    Refused,
    /// Not made: the records of these ids are not as they were seen, or there are some already.
    Known(Vec<String>),
}

/// Keeps rows under their ids.
pub(crate) trait Rows: Send + Sync {
    /// The rows of one shard that fire by `until`, the longest overdue first and at most `limit`. They may be stale.
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Found>, StoreError>>;

    /// One row as it is now.
    fn get<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Found>, StoreError>>;

    /// Some of the rows; whoever asks with sixty numbers, one after the other, sees each. They may be stale.
    fn some(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Found>, StoreError>>;

    /// Every row.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Found>, StoreError>>;

    /// Puts `next` in the place of the row that was `seen`, or deletes that, and writes the records of jobs: everything,
    /// or nothing.
    fn change<'a>(
        &'a self,
        id: &'a str,
        seen: Option<&'a Row>,
        next: Option<&'a Row>,
        jobs: &'a [Write],
    ) -> BoxFuture<'a, Result<Changed, StoreError>>;

    /// Puts `next` in the place of whatever is stored under its id.
    fn overwrite<'a>(&'a self, next: &'a Row) -> BoxFuture<'a, Result<(), StoreError>>;
}

impl Row {
    /// A row that the next tick looks at.
    pub(crate) fn new(entry: Entry, now: Timestamp) -> Self {
        let row = Self {
            entry,
            paused: false,
            deleted: false,
            from_code: false,
            overridden: false,
            created_at: Some(now),
            due: None,
            next_fire: None,
            ahead: Vec::new(),
            edit: None,
            settled: None,
            tzdata: None,
        };
        row.looked_at(now)
    }

    /// The row with that entry in its place, to be looked at by the next tick. In the place of one that is to go it is new,
    /// and knows what is still to be called off.
    pub(crate) fn put(self, entry: Entry, now: Timestamp) -> Self {
        let row = if self.deleted { Self { ahead: self.ahead, ..Self::new(entry, now) } } else { Self { entry, ..self } };
        row.looked_at(now)
    }

    /// The same, to be looked at by the next tick.
    pub(crate) fn looked_at(self, now: Timestamp) -> Self {
        let edit = Some(Uuid::new_v4().simple().to_string());
        Self { due: Some(shard(self.entry.id())), next_fire: Some(rfc3339::text(now)), edit, ..self }
    }

    /// Whether its entry is the one that was fired last.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.as_deref() == Some(&*self.entry.fingerprint())
    }

    /// The same, and by these rules of the time zones.
    pub(crate) fn is_current(&self) -> bool {
        self.is_settled() && self.tzdata.as_deref() == Some(tzdata_version())
    }

    /// Whether it asks for a look that the index does not tell of: it was changed by hand, or by new rules of its zone.
    pub(crate) fn is_overlooked(&self) -> bool {
        if self.paused && !self.deleted {
            return self.due.is_some();
        }
        let is_shard = |due: &String| (0..SHARDS).any(|shard| shard_name(shard) == *due);
        let indexed =
            self.due.as_ref().is_some_and(is_shard) && self.next_fire.as_ref().is_some_and(|next| next.parse::<Timestamp>().is_ok());
        let changed = self.settled.is_some() && !self.is_current();
        self.deleted || !indexed || changed
    }

    /// What a change of it is conditional on: a change by hand sets the next fire, any other one has its own token.
    fn version(&self) -> [(&'static str, Option<&str>); 3] {
        [("next_fire", self.next_fire.as_deref()), ("settled", self.settled.as_deref()), ("edit", self.edit.as_deref())]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}
