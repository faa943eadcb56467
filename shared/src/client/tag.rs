//! Adds and removes tags of jobs.

use super::{
    Client,
    change::CHANGES,
    list::{By, LISTED},
};
use crate::{
    Error, Record,
    clock::after,
    envelope::check_tags,
    lifecycle,
    store::{Link, Linked, Listing},
};

impl Client {
    /// Adds tags to a job, and removes others. Returns the tags that it has then. [`Client::list`] finds the job by each tag that was added,
    /// even if it was not enqueued as [`listed`](crate::Enqueue::listed).
    ///
    /// Returns `None` if the job has no record, because no function has received its message yet, or because the table has deleted the record.
    /// Nothing is changed then. To tag a job before it starts, enqueue it as [`recorded`](crate::Enqueue::recorded).
    ///
    /// A job may be tagged in every state. If an attempt is running, the next attempt gets the new tags. The message of the job does not
    /// change: if the table has deleted the record, a message that comes back from the dead-letter queue has the tags of the enqueue.
    ///
    /// ```
    /// use sqjobs::{By, Enqueue, testing::Eager};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sqjobs::Error> {
    /// let client = Eager::new().client();
    /// client.enqueue_one(Enqueue::named("adder", serde_json::json!([1, 2])).id("sum").tag("new").recorded()).await?;
    /// assert_eq!(client.tag("sum", &["urgent"], &["new"]).await?, Some(vec!["urgent".to_owned()]));
    /// assert_eq!(client.list(By::Tag("urgent"), 10).await?[0].id, "sum");
    /// assert_eq!(client.tag("unknown", &["urgent"], &[]).await?, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When a tag is empty, is both added and removed, or breaks a limit: a job has at most 32 tags of at most 128 bytes. When the table does
    /// not answer. The call can be repeated.
    pub async fn tag(&self, id: &str, add: &[&str], remove: &[&str]) -> Result<Option<Vec<String>>, Error> {
        let refuse = |flaw: &str| Err(Error::Invalid(format!("cannot tag job {id:?}: {flaw}")));
        if add.iter().chain(remove).any(|tag| tag.is_empty()) {
            return refuse("a tag is empty; name one");
        }
        if let Some(both) = add.iter().find(|tag| remove.contains(tag)) {
            return refuse(&format!("tag {both:?} is both added and removed; leave out one of the two"));
        }
        for _ in 0..CHANGES {
            let Some(record) = self.get(id).await?.filter(|record| !lifecycle::is_awaited(record)) else { return Ok(None) };
            let tags = changed(&record, add, remove);
            if let Err(flaw) = check_tags(&tags) {
                return refuse(&flaw.to_string());
            }
            self.list_by_tags(&record, add).await?;
            if tags == record.tags {
                return Ok(Some(tags));
            }
            let change = Link::Tag { id: id.to_owned(), name: record.name, seen: record.tags, tags };
            let changed = self.links().change(change).await;
            let changed = changed.map_err(|error| Error::store(format!("cannot write the tags of job {id:?}"), error))?;
            if let Linked::Done(record) = changed {
                return Ok(Some(record.tags));
            }
        }
        Err(Error::Conflict(format!("cannot tag job {id:?}: its tags changed {CHANGES} times meanwhile; try again")))
    }

    /// Lists a job by tags. The list shows the job once its record has the tag, so this is done first.
    async fn list_by_tags(&self, record: &Record, tags: &[&str]) -> Result<(), Error> {
        let now = self.clock.now();
        let purge_at = after(lifecycle::starts_at(record).map_or(now, |at| at.max(now)), LISTED).as_second();
        let at = record.enqueued_at.unwrap_or(now);
        let listing = |tag: &&str| Ok(Listing { list: By::Tag(tag).list()?, id: record.id.clone(), at, purge_at });
        let listings = tags.iter().map(listing).collect::<Result<Vec<_>, Error>>()?;
        let enlisted = self.store.enlist(&listings).await.into_iter().collect::<Result<(), _>>();
        enlisted.map_err(|error| Error::store(format!("cannot list job {:?} by its tags", record.id), error))
    }
}

/// Returns the tags of a job after a change, without repetitions of those that are added.
fn changed(record: &Record, add: &[&str], remove: &[&str]) -> Vec<String> {
    let mut tags: Vec<_> = record.tags.iter().filter(|tag| !remove.contains(&tag.as_str())).cloned().collect();
    for tag in add {
        if !tags.iter().any(|own| own == tag) {
            tags.push((*tag).to_owned());
        }
    }
    tags
}
