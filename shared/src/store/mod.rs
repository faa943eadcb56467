//! The store of records: the port and its two adapters.
//!
//! A store reads records, inserts a record if it is absent, and replaces a record if it is unchanged since it was read. One call takes
//! many records, because each request costs time. One conformance suite runs on both adapters.

mod dynamodb;
mod limit;
mod memory;

use std::{collections::BTreeSet, error::Error as StdError, fmt, sync::Arc};

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;

#[cfg(feature = "events")]
pub(crate) use self::dynamodb::record;
#[cfg(feature = "operator")]
pub(crate) use self::dynamodb::{DUE_INDEX, LIST_INDEX, listing_id};
pub(crate) use self::dynamodb::{Item, SEGMENTS, due_items, failed, invalid, parse, segment_items, text, version_condition};
pub(crate) use self::limit::bytes as record_bytes;
pub use self::{dynamodb::DynamoDb, memory::Memory};
use crate::{
    chain::Chain,
    names::MORE,
    record::{Record, State},
};

/// Keeps records under their ids.
pub trait Store: Send + Sync {
    /// Reads records consistently. Returns one answer for each id, in order.
    fn read<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Vec<Result<Option<Record>, StoreError>>>;

    /// Makes conditional writes, each independent of the others. Returns one answer for each, in order. Pass at most one write for an id.
    fn write<'a>(&'a self, writes: &'a [Write]) -> BoxFuture<'a, Vec<Result<Written, StoreError>>>;

    /// Changes the links between jobs, each independent of the others. Returns one answer for each, in order. Pass at most one change for an
    /// id. A repeated change has no effect.
    fn link<'a>(&'a self, links: &'a [Link]) -> BoxFuture<'a, Vec<Result<Linked, StoreError>>>;

    /// Returns the ids of the records in a list of the table: the oldest first, at most `limit`. The list may lag behind.
    fn oldest<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>>;

    /// Writes the statistics that no other write has included, if the store keeps any.
    fn flush(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

/// A store that also finds jobs: due, unfinished and listed ones. A worker does not need this.
pub trait Index: Store {
    /// Returns the ids of the jobs in one shard of the due index that are due by `until`: the longest overdue first, at most `limit`. The
    /// index may lag behind, so read the records before you act.
    fn due(&self, shard: u8, until: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;

    /// Reads a part of the records that are unfinished or whose dead letter is still to be sent. Successive values of `turn` cover every
    /// record; sixty values cover a small store. The answer may be stale.
    fn unfinished(&self, turn: u64) -> BoxFuture<'_, Result<Vec<Result<Record, StoreError>>, StoreError>>;

    /// Returns the parts of a transaction that create a record, if no job has its id, together with its listings. The default
    /// implementation is for stores without transactions.
    ///
    /// # Errors
    ///
    /// When the store has no transactions, or cannot write the record as an item.
    fn transaction_parts(&self, _record: &Record, _listings: &[Listing]) -> Result<Vec<TransactWriteItem>, StoreError> {
        Err(StoreError::Invalid("this store has no transactions; an outbox needs a table in DynamoDB".into()))
    }

    /// Puts jobs into lists. Returns one answer for each listing, in order. A second call changes nothing.
    fn enlist<'a>(&'a self, listings: &'a [Listing]) -> BoxFuture<'a, Vec<Result<(), StoreError>>>;

    /// Returns the ids of the jobs in a list: the latest first, at most `limit`. The list may lag behind.
    fn listed<'a>(&'a self, list: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>>;
}

/// The name of the list of dead-letter queues that beaters search. No other list has this name, because the names of all other lists
/// contain `:` or `#`.
pub(crate) const DLQS: &str = "dlqs";
/// Maximum number of dead-letter queues to read.
const MOST_DLQS: usize = 100_000;

/// Returns the names in the list of dead-letter queues. It may lag behind.
pub(crate) async fn dlqs(store: &dyn Index) -> Result<Vec<String>, StoreError> {
    store.listed(DLQS, MOST_DLQS).await
}

/// The entry of a job in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The list, such as `tag:urgent`.
    pub list: String,
    /// The job's id.
    pub id: String,
    /// The instant by which the list is sorted.
    pub at: Timestamp,
    /// The instant after which the entry is deleted, in seconds since the epoch.
    pub purge_at: i64,
}

/// A write of a record, on the condition that the stored one is unchanged since it was read. Clones are cheap.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The complete new record.
    pub next: Arc<Record>,
    /// The complete record as it was read. The stored record must have the same [version](Record::version). A store may write only the
    /// fields that differ. `None`: no record with this id may be stored.
    pub seen: Option<Arc<Record>>,
}

impl Write {
    /// Creates a write that inserts a record if it is absent.
    pub fn insert(next: impl Into<Arc<Record>>) -> Self {
        Self { next: next.into(), seen: None }
    }

    /// Creates a write that replaces the record that was read.
    pub fn replace(seen: impl Into<Arc<Record>>, next: impl Into<Arc<Record>>) -> Self {
        Self { next: next.into(), seen: Some(seen.into()) }
    }
}

/// Maximum number of dependents that can register in one record.
pub(crate) const DEPENDENTS: usize = 20;

/// Returns the maximum number of dependents of a job after these are added. The mark of its [pages](MORE) always fits.
fn capacity_for(added: &BTreeSet<String>) -> usize {
    if added.contains(MORE) { usize::MAX } else { DEPENDENTS }
}

/// Returns the maximum number of holders of a key. The value that an operator has set wins.
fn most_holders(limit: u32, fixed_limit: Option<u32>) -> usize {
    fixed_limit.unwrap_or(limit).try_into().unwrap_or(usize::MAX)
}

/// A change of the links between two jobs, of the holders of a key, or of the tags of a job, without a new [version](Record::version) of the
/// record.
///
/// A [`Write`] can also change links: it blocks a job on its dependencies, reopens a node, or adds the dependents that a message names. A
/// write that ends a job or changes its dependents is refused if the stored dependents differ from those that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Adds dependents to a job, if the job has one of these states, and if the sum of its dependents and the added ones is at most 20. The
    /// mark of its pages always fits.
    Register {
        /// The id of the job.
        id: String,
        /// The ids of the dependents.
        dependents: BTreeSet<String>,
        /// The states.
        states: &'static [State],
    },
    /// Removes dependencies from a job, if it is blocked.
    Remove {
        /// The id of the blocked job.
        id: String,
        /// The ids of the dependencies.
        dependencies: BTreeSet<String>,
    },
    /// Adds a holder to a key, if the key has this state and this limit, and if it is not full.
    Take {
        /// The id of the record of the key.
        id: String,
        /// The entry of the holder.
        holder: String,
        /// The state: [`State::Queued`] if no job may wait for the key, or [`State::Blocked`] if this job has waited.
        state: State,
        /// Maximum number of holders, as the job declares it.
        limit: u32,
        /// Maximum number of holders, as an operator has set it. The record must have the same value.
        fixed_limit: Option<u32>,
        /// The instant after which the record is deleted, in seconds since the epoch.
        purge_at: i64,
    },
    /// Removes holders from a key.
    Give {
        /// The id of the record of the key.
        id: String,
        /// The entries of the holders.
        holders: BTreeSet<String>,
    },
    /// Sets the maximum number of holders of a key, as an operator wants it.
    Limit {
        /// The id of the record of the key.
        id: String,
        /// The maximum number. `None`: as the jobs declare it.
        fixed_limit: Option<u32>,
        /// The instant after which the record is deleted, in seconds since the epoch.
        purge_at: i64,
    },
    /// Marks a key for which a job waits, and lists it in the due index.
    Await {
        /// The id of the record of the key.
        id: String,
        /// A new token.
        owner: String,
        /// The shard of the due index.
        due: String,
        /// Maximum number of holders, if the job declares it.
        limit: Option<u32>,
        /// The present instant.
        at: Timestamp,
        /// The instant after which the record is deleted, in seconds since the epoch.
        purge_at: i64,
    },
    /// Replaces the tags of a job, if the record has this name and these tags. An attempt that runs meanwhile neither loses a write nor undoes
    /// the change, because its writes leave the tags.
    Tag {
        /// The id of the job.
        id: String,
        /// The name of the job.
        name: String,
        /// The tags as they were read.
        seen: Vec<String>,
        /// The new tags.
        tags: Vec<String>,
    },
}

impl Link {
    /// Adds the members of another change, if both do the same to the same record. Returns `false` if they do not.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Register { id, dependents, states }, Self::Register { id: other, dependents: more, states: same })
                if id == other && states == same && dependents.len() + more.len() <= DEPENDENTS && !dependents.contains(MORE) =>
            {
                dependents.extend(more.iter().cloned());
                true
            }
            (Self::Remove { id, dependencies }, Self::Remove { id: other, dependencies: more }) if id == other => {
                dependencies.extend(more.iter().cloned());
                true
            }
            (Self::Give { id, holders }, Self::Give { id: other, holders: more }) if id == other => {
                holders.extend(more.iter().cloned());
                true
            }
            // The later mark says the same.
            (Self::Await { id, .. }, Self::Await { id: other, .. }) => id == other,
            _ => false,
        }
    }

    /// Returns the id of the record that changes.
    pub fn id(&self) -> &str {
        match self {
            Self::Register { id, .. }
            | Self::Remove { id, .. }
            | Self::Take { id, .. }
            | Self::Give { id, .. }
            | Self::Limit { id, .. }
            | Self::Await { id, .. }
            | Self::Tag { id, .. } => id,
        }
    }
}

/// The answer to a change of links.
#[derive(Debug, Clone, PartialEq)]
pub enum Linked {
    /// The change was made. Contains the new record.
    Done(Box<Record>),
    /// The change was not made, because the record is missing or full, or its state or its tags forbid the change. Contains the stored
    /// record, if the answer had it.
    Refused(Option<Box<Record>>),
}

/// The answer to a conditional write. Losing a race is a value, not an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// The write was made.
    Done,
    /// The write was not made. Contains the stored record, if the answer had it.
    Refused(Option<Box<Record>>),
}

/// The reason why a store did not execute a part of a request. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoreError {
    /// The request was not made, because it was throttled or in conflict with another write. Try it again.
    Busy(String),
    /// It is unknown if the request was made.
    Unknown(Arc<dyn StdError + Send + Sync>),
    /// The request was not made, because the table is missing or the caller has no permission.
    Unavailable(Arc<dyn StdError + Send + Sync>),
    /// The request was not made and never will be, because a table cannot hold the record.
    Invalid(String),
    /// The stored item is not a valid record, for example because someone has edited it.
    #[non_exhaustive]
    Unreadable {
        /// The job's id.
        id: String,
        /// The invalid attribute and its flaw, without any of its text.
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

    /// Returns the id of the unreadable record.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn numbered(range: std::ops::Range<usize>) -> BTreeSet<String> {
        range.map(|number| number.to_string()).collect()
    }

    #[test]
    fn changes_of_one_record_are_merged_if_they_do_the_same() {
        const STATES: &[State] = &[State::Queued];
        const OTHERS: &[State] = &[State::Running];
        let register = |id: &str, dependents: BTreeSet<String>, states| Link::Register { id: id.into(), dependents, states };
        let remove = |id: &str, ids: &[&str]| Link::Remove { id: id.into(), dependencies: set(ids) };
        let merged = |mut first: Link, second: Link| first.merge(&second).then_some(first);
        let a = || register("a", set(&["x"]), STATES);
        assert_eq!(merged(a(), register("a", set(&["y"]), STATES)), Some(register("a", set(&["x", "y"]), STATES)));
        assert_eq!(merged(a(), register("b", set(&["y"]), STATES)), None);
        assert_eq!(merged(a(), register("a", set(&["y"]), OTHERS)), None);
        assert_eq!(merged(a(), register("b", set(&["y"]), OTHERS)), None);
        assert_eq!(merged(a(), remove("a", &["y"])), None);
        assert_eq!(merged(remove("a", &["x"]), remove("a", &["y"])), Some(remove("a", &["x", "y"])));
        assert_eq!(merged(remove("a", &["x"]), remove("b", &["y"])), None);
        let ten = || register("a", numbered(0..10), STATES);
        assert_eq!(merged(ten(), register("a", numbered(10..20), STATES)), Some(register("a", numbered(0..20), STATES)));
        assert_eq!(merged(ten(), register("a", numbered(10..21), STATES)), None);
    }

    #[test]
    fn an_error_tells_its_source_and_the_id_of_an_unreadable_record() {
        let unreadable = StoreError::Unreadable { id: "a".into(), flaw: "it is no record".into() };
        assert_eq!([unreadable.record_id(), StoreError::unknown("no connection").record_id()], [Some("a"), None]);
        assert!(unreadable.source().is_none());
        assert_eq!(StoreError::unknown("no connection").source().map(ToString::to_string).as_deref(), Some("no connection"));
    }
}
