//! Lists of jobs by name, tag, tree or object, and of failed and due jobs.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::Client;
use crate::{
    Error, Record, lifecycle,
    names::{SHARDS, failed_shard_name},
    record::State,
    store::StoreError,
};

/// Time for which a list keeps a job: the 14 days that a queue keeps a message, the default retention of the record, and a margin.
pub(super) const LISTED: Duration = Duration::from_hours(45 * 24);
/// Maximum length of an object's name in bytes. The name is part of a key.
const OBJECT_BYTES: usize = 512;

/// Number of entries of each shard of the due index that a list of due or blocked jobs reads at least.
const SEARCHED: usize = 1_000;

/// The property by which jobs are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum By<'a> {
    /// Jobs that failed permanently, the latest first. All are listed, because each needs an operator.
    Failed,
    /// Jobs that the due index holds until their run time, the earliest first.
    Due,
    /// Jobs that wait for other jobs, sorted by the end of their wait.
    Blocked,
    /// Jobs that wait for this limit or exclusive key, the oldest first.
    Key(&'a str),
    /// Jobs with this name that were enqueued as [`listed`](crate::Enqueue::listed), the latest first.
    Name(&'a str),
    /// Jobs with this tag that were enqueued as listed, or that got the tag [later](Client::tag), the latest first.
    Tag(&'a str),
    /// Jobs of the tree with this first job that were enqueued as listed, the latest first.
    Root(&'a str),
    /// Jobs that were enqueued with this [object](crate::Enqueue::object), the latest first.
    Object(&'a str),
}

impl By<'_> {
    /// Returns the name of the list.
    pub(super) fn list(self) -> Result<String, Error> {
        match self {
            Self::Failed | Self::Due | Self::Blocked | Self::Key(_) => {
                Err(Error::Invalid("cannot list a job by failed, due, blocked or key: these are kept in indexes".into()))
            }
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

    /// Returns `true` if the record still belongs to the list. The index of failed or due jobs may lag behind, and a tag may be removed.
    fn holds(self, record: &Record) -> bool {
        match self {
            Self::Due => record.due.is_some() && !record.state.is_terminal() && record.state != State::Blocked,
            Self::Blocked => record.due.is_some() && record.state == State::Blocked,
            Self::Failed => record.state == State::Failed && record.listed.is_some(),
            Self::Key(key) => lifecycle::waits_for_key(record).is_some_and(|id| lifecycle::waited_keys(key).contains(id)),
            Self::Tag(tag) => record.tags.iter().any(|own| own == tag),
            Self::Name(_) | Self::Root(_) | Self::Object(_) => true,
        }
    }
}

impl Client {
    /// Returns the records of the listed jobs, at most `limit`. A list may lag slightly behind; the records are current. Leaves out and
    /// logs records that cannot be read.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn list(&self, by: By<'_>, limit: usize) -> Result<Vec<Record>, Error> {
        let (records, unreadable) = self.list_all(by, limit).await?;
        for error in unreadable {
            tracing::error!(%error, "a listed job is left out");
        }
        Ok(records)
    }

    /// Returns the records of the listed jobs, at most `limit`, and the errors of those that cannot be read.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn list_all(&self, by: By<'_>, limit: usize) -> Result<(Vec<Record>, Vec<StoreError>), Error> {
        let mut searched = limit;
        let (mut records, unreadable) = loop {
            let (found, (records, unreadable)) = self.search(by, searched).await?;
            // The entries of jobs that have lost the tag make no room for others.
            let lacks_more = matches!(by, By::Tag(_)) && records.len() < limit && found >= searched;
            if !lacks_more {
                break (records, unreadable);
            }
            searched = searched.saturating_mul(4);
        };
        match by {
            By::Due | By::Blocked => records.sort_by_key(|record| record.run_at),
            By::Failed => records.sort_by_key(|record| std::cmp::Reverse(record.finished_at)),
            By::Key(_) => records.sort_by_key(|record| record.listed_at),
            _ => {}
        }
        records.truncate(limit);
        Ok((records, unreadable))
    }

    /// Reads `limit` entries of a list. Returns their number, the records that still belong to the list, and the errors of those that cannot
    /// be read.
    async fn search(&self, by: By<'_>, limit: usize) -> Result<(usize, (Vec<Record>, Vec<StoreError>)), Error> {
        let ids = match by {
            By::Due | By::Blocked => {
                // The index holds both kinds.
                let shards = (0..SHARDS).map(|shard| self.store.due(shard, Timestamp::MAX, limit.max(SEARCHED)));
                join_all(shards).await.into_iter().collect::<Result<Vec<_>, _>>().map(|ids| ids.concat())
            }
            By::Failed => {
                let shards = (0..SHARDS).map(async |shard| self.store.listed(&failed_shard_name(shard), limit).await);
                join_all(shards).await.into_iter().collect::<Result<Vec<_>, _>>().map(|ids| ids.concat())
            }
            By::Key(key) => {
                let lists = lifecycle::waited_keys(key).map(|id| lifecycle::waiting_list(&id));
                let oldest = lists.iter().map(|list| self.store.oldest(list, limit));
                join_all(oldest).await.into_iter().collect::<Result<Vec<_>, _>>().map(|ids| ids.concat())
            }
            _ => self.store.listed(&by.list()?, limit).await,
        };
        let ids = ids.map_err(|error| Error::store("cannot list jobs", error))?;
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for found in self.store.read(&ids).await {
            match found {
                Ok(record) => records.extend(record.filter(|record| by.holds(record))),
                Err(error @ StoreError::Unreadable { .. }) => unreadable.push(error),
                Err(error) => return Err(Error::store("cannot read the record of a listed job", error)),
            }
        }
        Ok((ids.len(), (records, unreadable)))
    }
}
