//! Where records are kept: the port and its two adapters.
//!
//! A store does three things: it reads records, it writes one if it is absent, and it replaces one if it is as it was
//! seen. It takes many at once, since that is what a request costs. One conformance suite runs on both adapters.

mod dynamodb;
mod limit;
mod memory;

use std::{error::Error as StdError, fmt, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;

#[cfg(feature = "operator")]
pub(crate) use self::dynamodb::{DUE_INDEX, LIST_INDEX, listing_id};
pub(crate) use self::dynamodb::{Item, SEGMENTS, due_items, failed, segment_items, text, version_condition};
pub(crate) use self::limit::bytes as record_bytes;
pub use self::{dynamodb::DynamoDb, memory::Memory};
use crate::{chain::Chain, record::Record};

/// Keeps records under their ids.
pub trait Store: Send + Sync {
    /// Reads records, consistently; one answer for each id, in order.
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>>;

    /// Makes conditional writes, each alone; one answer for each, in order. At most one for an id.
    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>>;

    /// Writes the statistics that no other write has taken along, where a store keeps any.
    fn flush(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

/// A store in which one also finds what is due. A worker need not.
pub trait Index: Store {
    /// The ids of the jobs of one shard of the due index whose time has come by `until`, the longest overdue first and at
    /// most `limit`. The index may lag behind the records: read those before you act.
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;

    /// Reads a part of the records that are unfinished or whose dead letter is owed. Successive values of `turn` cover every
    /// record, those of a small store within sixty. The answer may be stale.
    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>>;

    /// Puts jobs into lists; one answer for each listing, in order. To do it again changes nothing.
    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>>;

    /// The ids of the jobs in a list, the latest first and at most `limit`. It may lag behind.
    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>>;
}

/// The list of the dead-letter queues that beaters look through. No list of jobs has this name: theirs have a colon or a number.
pub(crate) const DLQS: &str = "dlqs";
/// The most dead-letter queues that are read.
const MOST_DLQS: usize = 100_000;

/// Returns the names in the list of dead-letter queues. It may lag behind.
pub(crate) async fn dlqs(store: &dyn Index) -> Result<Vec<String>, StoreError> {
    store.listed(DLQS, MOST_DLQS).await
}

/// The place of a job in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The list, such as `tag:urgent`.
    pub list: String,
    /// The job's id.
    pub id: String,
    /// By what the list is sorted.
    pub at: Timestamp,
    /// When the list may forget it, in seconds since the epoch.
    pub purge_at: i64,
}

/// A record to be written, if the stored one is as it was seen. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The record, whole.
    pub next: Arc<Record>,
    /// The record, whole, that must be stored now, as its [version](Record::version) tells. A store may write only what
    /// the two do not have alike. None: nothing is stored under this id.
    pub seen: Option<Arc<Record>>,
}

impl Write {
    /// Writes a record if there is none.
    pub fn insert(next: impl Into<Arc<Record>>) -> Self {
        Self { next: next.into(), seen: None }
    }

    /// Writes a record in the place of one that was seen.
    pub fn replace(seen: impl Into<Arc<Record>>, next: impl Into<Arc<Record>>) -> Self {
        Self { next: next.into(), seen: Some(seen.into()) }
    }
}

/// The answer to a conditional write. Losing a race is a value, not an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// Made.
    Done,
    /// Not made; with the record that stands there, where the answer carried it.
    Refused(Option<Box<Record>>),
}

/// The reason why a store did not execute a part of a request. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoreError {
    /// Not made, and worth trying again: throttled or in conflict with another write.
    Busy(String),
    /// It may have been made or not.
    Unknown(Arc<dyn StdError + Send + Sync>),
    /// Not made: the table is missing, or this caller may not use it.
    Unavailable(Arc<dyn StdError + Send + Sync>),
    /// Not made, and it never will be: no table holds such a record.
    Invalid(String),
    /// What is stored is not a record: someone has written to it by hand.
    #[non_exhaustive]
    Unreadable {
        /// The job's id.
        id: String,
        /// The attribute that is wrong, and how; quotes no text of it.
        flaw: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(reason) => write!(f, "the table is busy: {reason}"),
            Self::Unknown(error) => write!(f, "the table did not answer: {}", Chain(&**error)),
            Self::Unavailable(reason) => write!(f, "the table cannot be used: {}", Chain(&**reason)),
            Self::Invalid(reason) => write!(f, "the table cannot hold the record: {reason}"),
            Self::Unreadable { id, flaw } => {
                write!(f, "the record of {} cannot be read: {flaw}; correct it in the table", id.escape_debug())
            }
        }
    }
}

impl StoreError {
    /// Returns the error of a request that may have been executed.
    pub fn unknown(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unknown(reason.into().into())
    }

    /// Returns the error of a request to a table that this caller cannot use.
    pub fn unavailable(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable(reason.into().into())
    }

    /// The id of the record that cannot be read.
    pub(crate) fn record_id(&self) -> Option<&str> {
        match self {
            Self::Unreadable { id, .. } => Some(id),
            Self::Busy(_) | Self::Unknown(_) | Self::Unavailable(_) | Self::Invalid(_) => None,
        }
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unknown(error) | Self::Unavailable(error) => Some(&**error),
            Self::Busy(_) | Self::Invalid(_) | Self::Unreadable { .. } => None,
        }
    }
}
