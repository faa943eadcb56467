//! Finds jobs.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::Client;
use crate::{
    Error, Record,
    names::{SHARDS, failed_shard_name},
};

/// For how long a list knows a job: until its record is gone, that waited for as long as a queue keeps it.
pub(super) const LISTED: Duration = Duration::from_hours(45 * 24);
/// The longest name of an object, in bytes; it is a part of a key.
const OBJECT_BYTES: usize = 512;

/// By what jobs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum By<'a> {
    /// What has failed for good, the latest first: all of it needs a person.
    Failed,
    /// What waits in the due index, the soonest first.
    Due,
    /// The job's name: those that were enqueued as [`listed`](crate::Enqueue::listed), the latest first. As are the next two.
    Name(&'a str),
    /// A tag.
    Tag(&'a str),
    /// The first job of the tree.
    Root(&'a str),
    /// What it was said to [touch](crate::Enqueue::object), the latest first.
    Object(&'a str),
}

impl By<'_> {
    /// The name of the list.
    pub(super) fn list(self) -> Result<String, Error> {
        match self {
            Self::Failed | Self::Due => Err(Error::Invalid("no list holds failed or due jobs; an index does".into())),
            Self::Name("") | Self::Tag("") | Self::Root("") => {
                Err(Error::Invalid("cannot list jobs by an empty name, tag or id; name one".into()))
            }
            Self::Name(name) => Ok(format!("name:{name}")),
            Self::Tag(tag) => Ok(format!("tag:{tag}")),
            Self::Root(root) => Ok(format!("root:{root}")),
            Self::Object(object) if object.is_empty() || object.len() > OBJECT_BYTES || object.contains(char::is_control) => {
                let bytes = object.len();
                Err(Error::Invalid(format!(
                    "cannot list a job by an object of {bytes} bytes; it must have 1 to {OBJECT_BYTES} and no control characters"
                )))
            }
            Self::Object(object) => Ok(format!("object:{object}")),
        }
    }

    /// The index may lag: the record says whether it is still so.
    fn holds(self, record: &Record) -> bool {
        match self {
            Self::Due => record.due.is_some(),
            Self::Failed => record.listed.is_some(),
            Self::Name(_) | Self::Tag(_) | Self::Root(_) | Self::Object(_) => true,
        }
    }
}

impl Client {
    /// Finds jobs, at most `limit`. A list may lag behind the jobs a little; their records do not.
    ///
    /// # Errors
    ///
    /// When the table does not answer, or a record cannot be read.
    pub async fn list(&self, by: By<'_>, limit: usize) -> Result<Vec<Record>, Error> {
        let ids = match by {
            By::Due => {
                let shards = (0..SHARDS).map(|shard| self.store.due(shard, Timestamp::MAX, limit));
                join_all(shards).await.into_iter().collect::<Result<Vec<_>, _>>().map(|ids| ids.concat())
            }
            By::Failed => {
                let shards = (0..SHARDS).map(async |shard| self.store.listed(&failed_shard_name(shard), limit).await);
                join_all(shards).await.into_iter().collect::<Result<Vec<_>, _>>().map(|ids| ids.concat())
            }
            _ => self.store.listed(&by.list()?, limit).await,
        };
        let ids = ids.map_err(|error| Error::store("cannot list jobs", error))?;
        let found = self.store.read(&ids).await.into_iter().collect::<Result<Vec<_>, _>>();
        let found = found.map_err(|error| Error::store("cannot read the record of a listed job", error))?;
        let mut records: Vec<_> = found.into_iter().flatten().filter(|record| by.holds(record)).collect();
        match by {
            By::Due => records.sort_by_key(|record| record.run_at),
            By::Failed => records.sort_by_key(|record| std::cmp::Reverse(record.finished_at)),
            _ => {}
        }
        records.truncate(limit);
        Ok(records)
    }
}
